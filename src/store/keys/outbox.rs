//! The keys of the outbox, and what its sort keys say.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Key, TenantId};
use crate::limits::OUTBOX_SHARDS;

/// One partition of the outbox. `shard` is below [`OUTBOX_SHARDS`].
pub fn outbox_shard(shard: u8) -> String {
    format!("{OUTBOX}{shard}")
}

/// The prefix of the partitions of the outbox.
pub const OUTBOX: &str = "OUTBOX#";

/// The prefix of the sort keys of a tenant's changes in the outbox.
pub fn outbox_prefix(tenant: &TenantId) -> String {
    format!("{tenant}#")
}

/// A sort key after those of all changes of a tenant in the outbox, and before those of the next tenant.
pub fn outbox_end(tenant: &TenantId) -> String {
    format!("{tenant}#~")
}

/// Which change an item of the outbox is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutboxName {
    /// The tenant.
    pub tenant: TenantId,
    /// The id of the resource.
    pub resource: String,
    /// The version of the resource after the change. [`NOTE_VERSION`] for a note that is not a change.
    pub version: u64,
    /// The number of the part. 0 for a change that is not a part of a large one.
    pub part: u32,
}

/// The version in the names of notes: after those of all changes.
pub const NOTE_VERSION: u64 = 9_999_999_999_999_999;

impl OutboxName {
    /// The key of the item.
    pub fn key(&self) -> Key {
        let Self { tenant, resource, version, part } = self;
        outbox_key(tenant, resource, &[&*padded(*version, 16), "#", &*padded((*part).into(), 6)].concat())
    }
}

/// A note in the outbox about a resource: which groups it has left, or that it was left.
pub fn outbox_note(tenant: &TenantId, resource: Uuid, note: &str) -> Key {
    outbox_key(tenant, &resource.to_string(), &format!("{NOTE_VERSION}#{note}"))
}

/// The partition of the changes of a resource in the outbox, and the prefix of their sort keys.
pub fn outbox_changes(tenant: &TenantId, resource: &str) -> Key {
    outbox_key(tenant, resource, "")
}

/// The changes of one resource are in one shard, in their order.
fn outbox_key(tenant: &TenantId, resource: &str, rest: &str) -> Key {
    let mut name = [tenant.as_str(), "#", resource].concat();
    let shard = Sha256::digest(name.as_bytes())[0] % OUTBOX_SHARDS;
    name.extend(["#", rest]);
    Key::new(outbox_shard(shard), name)
}

/// Reads the sort key of an item of the outbox. `None` for any other text.
pub fn parse_outbox(sk: &str) -> Option<OutboxName> {
    let mut parts = sk.split('#');
    let (tenant, resource, version) = (parts.next()?, parts.next()?, parts.next()?);
    let version = version.parse().ok()?;
    let part = parts.next()?.parse();
    let part = if version == NOTE_VERSION { 0 } else { part.ok()? };
    Some(OutboxName { tenant: tenant.parse().ok()?, resource: resource.to_owned(), version, part })
}

/// A number with zeros before it, so that such texts sort as the numbers do.
fn padded(number: u64, digits: usize) -> String {
    let text = number.to_string();
    ["0".repeat(digits.saturating_sub(text.len())), text].concat()
}
