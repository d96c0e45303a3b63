//! Every key of the table. Only this file and its folder make keys.
//!
//! Tenants and ids are parsed before a key is built from them. Other values are only hashes in keys: keys
//! are limited to 2,048 and 1,024 bytes, and they appear in the logs of AWS.

pub mod definition;
pub mod oauth;
pub mod outbox;

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::side::Side;
use crate::limits::{EXPIRY_SHARDS, FEED_BUCKET, PENDING_CHANGE_SHARDS};
use crate::scim::resource_type::Kind;

/// A tenant's name: `[a-z][a-z0-9-]{1,30}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(String);

/// The text is not a tenant's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotATenant;

impl fmt::Display for NotATenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a tenant's name has 2 to 31 characters: a lower-case letter, then letters, digits or hyphens",
        )
    }
}

impl std::error::Error for NotATenant {}

impl FromStr for TenantId {
    type Err = NotATenant;

    fn from_str(text: &str) -> Result<Self, NotATenant> {
        let bytes = text.as_bytes();
        let tail = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
        let good =
            (2..=31).contains(&bytes.len()) && bytes[0].is_ascii_lowercase() && bytes[1..].iter().all(tail);
        if good { Ok(Self(text.to_owned())) } else { Err(NotATenant) }
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TenantId {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name that stands in changes of what belongs to no tenant, such as application keys. No tenant
    /// can be given it.
    pub fn deployment() -> Self {
        Self("deployment".to_owned())
    }

    /// The name under which the probe tries a function. No tenant can be given it, so the probe finds no resource.
    pub fn probe() -> Self {
        Self("rollcall-probe".to_owned())
    }
}

/// A resource id in its one canonical form: a lower-case hyphenated UUID. Any other text is no id.
pub fn parse_id(text: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(text).ok()?;
    let mut buffer = Uuid::encode_buffer();
    (id.hyphenated().encode_lower(&mut buffer) == text).then_some(id)
}

/// A primary key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Partition key.
    pub pk: String,
    /// Sort key.
    pub sk: String,
}

impl Key {
    fn new(pk: String, sk: impl Into<String>) -> Self {
        Self { pk, sk: sk.into() }
    }
}

/// A partition with data of a tenant, by the parts of its name. They are joined, since a creation makes a dozen names and
/// `format!` takes longer.
fn of_tenant(tenant: &TenantId, parts: &[&str]) -> String {
    let mut name = String::with_capacity(128);
    name.extend(["T#", tenant.as_str(), "#"]);
    name.extend(parts.iter().copied());
    name
}

/// base64url of the SHA-256 of a text that is folded already, or exact.
pub fn hash(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(text.as_bytes()))
}

/// A tenant's settings.
pub fn tenant(tenant: &TenantId) -> Key {
    Key::new(tenant_partition(tenant), "TENANT")
}

/// The partition of what only the operator's tool writes of a tenant: its settings, the lists of its
/// keys and clients, and when it was deleted.
pub fn tenant_partition(tenant: &TenantId) -> String {
    format!("TENANT#{tenant}")
}

/// The item that tells when a tenant was deleted. Its name can be used again some time later.
pub fn tenant_deleted(tenant: &TenantId) -> Key {
    Key::new(tenant_partition(tenant), "DELETED")
}

/// Tells a tenant from an earlier or later one of the same name, by the time of its creation in RFC 3339.
pub fn incarnation(tenant: &TenantId, created: &str) -> String {
    hash(&format!("{tenant}#{created}"))[..16].to_owned()
}

/// The partition that lists every tenant.
pub const TENANTS: &str = "TENANTS";

/// The entry of a tenant in the list of tenants.
pub fn tenant_listing(tenant: &TenantId) -> Key {
    Key::new(TENANTS.to_owned(), tenant.as_str())
}

/// A bearer key, by the lower-case hexadecimal SHA-256 of its text.
pub fn bearer(sha256: &str) -> Key {
    Key::new(format!("{BEARERS}{sha256}"), "KEY")
}

/// The prefix of the partitions of bearer keys.
pub const BEARERS: &str = "K#";

/// The prefix of the sort keys of a tenant's list of bearer keys, in [`tenant_partition`].
pub const BEARER_LISTING: &str = "KEY#";

/// The entry of a bearer key in its tenant's list.
pub fn bearer_listing(tenant: &TenantId, key_id: &str) -> Key {
    Key::new(tenant_partition(tenant), format!("{BEARER_LISTING}{key_id}"))
}

/// An application key, by the lower-case hexadecimal SHA-256 of its text.
pub fn application(sha256: &str) -> Key {
    Key::new(format!("{APPLICATION_KEYS}{sha256}"), "KEY")
}

/// The prefix of the partitions of application keys.
pub const APPLICATION_KEYS: &str = "A#";

/// The partition that lists every application key.
pub const APPLICATIONS: &str = "APPS";

/// The entry of an application key in the list.
pub fn application_listing(id: &str) -> Key {
    Key::new(APPLICATIONS.to_owned(), id)
}

/// The partition that tells when a tenant's bearer keys were used. Version 0.1.0 kept the list of
/// the keys there, too.
pub fn bearer_uses(tenant: &TenantId) -> String {
    of_tenant(tenant, &["K"])
}

/// When a bearer key was last used.
pub fn bearer_use(tenant: &TenantId, key_id: &str) -> Key {
    Key::new(bearer_uses(tenant), key_id)
}

/// The partition that tells when application keys were used.
pub const APPLICATION_USES: &str = "APPUSES";

/// When an application key was last used.
pub fn application_use(id: &str) -> Key {
    Key::new(APPLICATION_USES.to_owned(), id)
}

/// The sort key of a group's own item; it stands before every membership.
pub const GROUP: &str = "GROUP";
/// The sort key of a user's item.
pub const USER: &str = "USER";
/// The prefix of the sort key of a membership.
pub const MEMBERSHIP: &str = "M#";

/// A user or group.
pub fn resource(tenant: &TenantId, kind: Kind, id: Uuid) -> Key {
    match kind {
        Kind::User => Key::new(of_tenant(tenant, &["U#", &id.to_string()]), USER),
        Kind::Group => Key::new(group(tenant, id), GROUP),
    }
}

/// The partition of a group and its memberships.
pub fn group(tenant: &TenantId, id: Uuid) -> String {
    of_tenant(tenant, &["G#", &id.to_string()])
}

/// One membership.
pub fn membership(tenant: &TenantId, group_id: Uuid, member: Uuid) -> Key {
    Key::new(group(tenant, group_id), format!("{MEMBERSHIP}{member}"))
}

/// The partition of the list entries of a kind.
pub fn list(tenant: &TenantId, kind: Kind) -> String {
    of_tenant(tenant, &["L#", kind.name()])
}

/// A resource's entry in the list.
pub fn list_entry(tenant: &TenantId, kind: Kind, id: Uuid) -> Key {
    Key::new(list(tenant, kind), id.to_string())
}

/// The claim on a unique value, folded.
pub fn claim(tenant: &TenantId, attribute: &str, folded: &str) -> Key {
    Key::new(of_tenant(tenant, &["Q#", attribute, "#", &hash(folded)]), "CLAIM")
}

/// The partition of the resources that have a value: `attribute` is its path, the value is
/// folded unless the attribute is case-exact.
pub fn lookups(tenant: &TenantId, kind: Kind, attribute: &str, folded: &str) -> String {
    of_tenant(tenant, &["X#", kind.name(), "#", attribute, "#", &hash(folded)])
}

/// One resource that has a value.
pub fn lookup(tenant: &TenantId, kind: Kind, attribute: &str, folded: &str, id: Uuid) -> Key {
    Key::new(lookups(tenant, kind, attribute, folded), id.to_string())
}

/// The partition of a tenant's counters.
pub fn counters(tenant: &TenantId) -> String {
    of_tenant(tenant, &["N"])
}

/// One shard of the counter of a kind.
pub fn counter(tenant: &TenantId, kind: Kind, shard: u8) -> Key {
    Key::new(counters(tenant), format!("{}#{shard}", kind.name()))
}

/// One shard of the counter of users that are not active.
pub fn inactive_counter(tenant: &TenantId, shard: u8) -> Key {
    Key::new(counters(tenant), format!("{INACTIVE}{shard}"))
}

/// The prefix of the sort keys of those counters.
pub const INACTIVE: &str = "Inactive#";

/// The admin guard: who administers the root team.
pub fn admin_guard(tenant: &TenantId) -> Key {
    Key::new(of_tenant(tenant, &["ADMIN"]), "ADMIN")
}

/// Says that users and groups are being moved in under their own ids, so that there is no admin guard yet.
pub fn move_mark(tenant: &TenantId) -> Key {
    Key::new(of_tenant(tenant, &["ADMIN"]), "MOVE")
}

/// How many users were deactivated within the last hour.
pub fn deactivations(tenant: &TenantId) -> Key {
    Key::new(of_tenant(tenant, &["B"]), "BREAKER")
}

/// A page checkpoint, by the bearer key, the query and the `startIndex` of the page.
pub fn page_mark(tenant: &TenantId, key_id: &str, query: &str, start_index: u64) -> Key {
    Key::new(of_tenant(tenant, &["P"]), format!("{key_id}#{query}#{start_index}"))
}

/// The sort key at which a sorted list continues, by the id in the cursor.
pub fn sort_mark(tenant: &TenantId, id: Uuid) -> Key {
    Key::new(of_tenant(tenant, &["P"]), format!("SORT#{id}"))
}

/// The secret that signs a tenant's cursors.
pub fn cursor_key(tenant: &TenantId) -> Key {
    Key::new(of_tenant(tenant, &["S"]), "CURSOR")
}

/// The tombstone of a deactivated user.
pub fn tombstone(tenant: &TenantId, id: Uuid) -> Key {
    Key::new(tombstones(tenant), id.to_string())
}

/// The partition of a tenant's deactivated accounts.
pub fn tombstones(tenant: &TenantId) -> String {
    of_tenant(tenant, &["D"])
}

/// One partition of the accounts that are to be erased, the next one first.
pub fn expiry_partition(shard: u8) -> String {
    format!("WORK#EXPIRY#{shard}")
}

/// When a deactivated account is to be erased, in seconds since 1970.
pub fn expiry(tenant: &TenantId, kept_until: u64, id: Uuid) -> Key {
    let shard = Sha256::digest(tenant.as_str().as_bytes())[0] % EXPIRY_SHARDS;
    Key::new(expiry_partition(shard), format!("{kept_until:012}#{tenant}#{id}"))
}

/// The sort key after those of all accounts that are to be erased by `now`, in seconds since 1970.
pub fn expiry_until(now: u64) -> String {
    format!("{:012}", now + 1)
}

/// The erasure date of a deactivated account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The tenant of the account.
    pub tenant: TenantId,
    /// The id of the account.
    pub id: Uuid,
    /// When the account is to be erased, in seconds since 1970.
    pub kept_until: u64,
}

/// Reads the sort key of [`expiry`]. `None` for any other text.
pub fn parse_expiry(sk: &str) -> Option<Expiry> {
    let mut parts = sk.split('#');
    let (until, tenant, id) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Expiry { tenant: tenant.parse().ok()?, id: parse_id(id)?, kept_until: until.parse().ok()? })
}

/// The prefix of the partitions with everything that a tenant holds.
pub fn data(tenant: &TenantId) -> String {
    of_tenant(tenant, &[])
}

/// The item that describes the feed.
pub fn feed_state() -> Key {
    Key::new("FEED".to_owned(), "STATE")
}

/// The partition of a page of the feed, by the number of its first change.
pub fn feed_bucket(first: u64) -> String {
    format!("{FEED}{:012}", first / FEED_BUCKET)
}

/// The prefix of the partitions of the feed.
pub const FEED: &str = "FEED#";

/// A page of the feed, by the number of its first change.
pub fn feed_page(first: u64) -> Key {
    Key::new(feed_bucket(first), format!("{first:016}"))
}

/// The partition that lists the consumers of the feed.
pub const CONSUMERS: &str = "CONSUMERS";

/// A consumer of the feed.
pub fn consumer(name: &str) -> Key {
    Key::new(CONSUMERS.to_owned(), name)
}

/// The partition that lists the webhooks.
pub const WEBHOOKS: &str = "WEBHOOKS";

/// A webhook.
pub fn webhook(id: &str) -> Key {
    Key::new(WEBHOOKS.to_owned(), id)
}

/// The item that names the webhook which was made last. It stands in the list, and is no webhook.
pub fn last_webhook() -> Key {
    Key::new(WEBHOOKS.to_owned(), "LAST")
}

/// The partition that lists the tests of webhooks.
pub const WEBHOOK_TESTS: &str = "HOOKTESTS";

/// The test of a webhook that was asked for last.
pub fn webhook_test(id: &str) -> Key {
    Key::new(WEBHOOK_TESTS.to_owned(), id)
}

/// The secret of a webhook that has this number.
pub fn webhook_secret(id: &str, number: u64) -> Key {
    Key::new(format!("HOOKSECRET#{id}"), format!("{number:06}"))
}

/// A key without an item, which every function that serves requests may read.
pub fn connection_probe() -> Key {
    Key::new(pending_changes_shard(0), "-".to_owned())
}

/// One of the partitions that hold the pending changes of all tenants. `shard` is below
/// [`PENDING_CHANGE_SHARDS`].
pub fn pending_changes_shard(shard: u8) -> String {
    format!("WORK#{shard}")
}

/// The partition that holds a tenant's pending changes. Other tenants may share it.
pub fn pending_changes(tenant: &TenantId) -> String {
    pending_changes_shard(Sha256::digest(tenant.as_str().as_bytes())[0] % PENDING_CHANGE_SHARDS)
}

/// The prefix of the sort keys of a tenant's pending changes, in [`pending_changes`].
pub fn pending_change_prefix(tenant: &TenantId) -> String {
    format!("{tenant}#")
}

/// A pending change.
pub fn pending_change(tenant: &TenantId, change: Uuid) -> Key {
    Key::new(pending_changes(tenant), format!("{}{change}", pending_change_prefix(tenant)))
}

/// The prefix of the sort keys of a side's chunks.
pub const fn chunk_prefix(side: Side) -> &'static str {
    match side {
        Side::Add => "A#",
        Side::Remove => "R#",
    }
}

/// The side of the chunk with this key.
pub fn side_of_chunk(key: &Key) -> Side {
    if key.sk.starts_with(chunk_prefix(Side::Add)) { Side::Add } else { Side::Remove }
}

/// The partition of a change's chunks.
pub fn chunks(tenant: &TenantId, change: Uuid) -> String {
    format!("T#{tenant}#C#{change}")
}

/// One chunk, by its first member.
pub fn chunk(tenant: &TenantId, change: Uuid, side: Side, first: Uuid) -> Key {
    Key::new(chunks(tenant, change), format!("{}{first}", chunk_prefix(side)))
}

#[cfg(test)]
mod tests;
