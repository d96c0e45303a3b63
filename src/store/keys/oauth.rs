//! The keys of OAuth clients, access tokens and used assertions.

use super::{Key, TenantId, hash, tenant_partition};

/// A client, by its id.
pub fn client(id: &str) -> Key {
    Key::new(format!("{CLIENTS}{id}"), "CLIENT")
}

/// The prefix of the partitions of clients.
pub const CLIENTS: &str = "C#";

/// The prefix of the sort keys of a tenant's list of clients, in [`tenant_partition`].
pub const CLIENT_LISTING: &str = "CLIENT#";

/// The entry of a client in its tenant's list.
pub fn client_listing(tenant: &TenantId, id: &str) -> Key {
    Key::new(tenant_partition(tenant), format!("{CLIENT_LISTING}{id}"))
}

/// An access token, by the lower-case hexadecimal SHA-256 of its text.
pub fn access_token(sha256: &str) -> Key {
    Key::new(format!("{ACCESS_TOKENS}{sha256}"), "TOKEN")
}

/// The prefix of the partitions of access tokens.
pub const ACCESS_TOKENS: &str = "O#";

/// The id of an assertion that a client has used.
pub fn used_assertion(client: &str, id: &str) -> Key {
    Key::new(format!("J#{}", hash(&format!("{client}#{id}"))), "USED")
}
