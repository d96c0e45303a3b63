//! Ids, names and bodies of what is seeded.

use serde_json::{Value, json};
use uuid::{Builder, Uuid};

/// The name of the group.
pub const GROUP_NAME: &str = "Seeded group";
/// Ids are UUIDv7 of this moment and the milliseconds after it (2020-01-01T00:00:00Z), so that the
/// seeded users stand before all others in the list and are recognised.
pub(super) const FIRST_MILLIS: u64 = 1_577_836_800_000;

/// The id of a seeded user, counted from 1; 0 is the group's.
fn id(number: usize) -> Uuid {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&(number as u64).to_be_bytes());
    Builder::from_unix_timestamp_millis(FIRST_MILLIS + number as u64, &random).into_uuid()
}

/// The id of a seeded user, counted from 1.
pub fn user_id(number: usize) -> Uuid {
    id(number)
}

/// The id of the seeded group.
pub fn group_id() -> Uuid {
    id(0)
}

/// The `userName` of a seeded user, counted from 1.
pub fn user_name(number: usize) -> String {
    format!("seed-{number:07}@example.com")
}

/// The body that would create a seeded user, complete under every policy.
pub fn user(number: usize) -> Value {
    let email = user_name(number);
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": email,
        "externalId": format!("seed-{number:07}"),
        "name": { "givenName": "Seed", "familyName": format!("User {number:07}") },
        "displayName": format!("Seed User {number:07}"),
        "active": true,
        "emails": [{ "value": email, "type": "work", "primary": true }]
    })
}
