//! A group's members in two numbers: the membership digest.
//!
//! A group and its memberships are read page by page, and the pages are not isolated against
//! transactions. If the members that were read have the digest in the group's item, they are exactly
//! its members in that version.

use aws_sdk_dynamodb::types::AttributeValue;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::expression::Expression;
use super::item::{Item, get_number, number};
use super::trail::Departure;

/// The number of a group's members, and the sum of their hashes.
///
/// It is practically impossible that two different sets of members have the same sum. Each change of
/// members adds and subtracts its own hashes. A hash is below 2^64, and a DynamoDB number holds 38
/// digits exactly, so no group is too large.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MembershipDigest {
    /// The number of members.
    pub count: u64,
    /// The sum of their hashes.
    pub sum: i128,
}

impl MembershipDigest {
    /// The digest of these members.
    pub fn of(members: impl IntoIterator<Item = Uuid>) -> Self {
        Self::default().with(members)
    }

    /// The digest after these members were added.
    pub fn with(self, members: impl IntoIterator<Item = Uuid>) -> Self {
        let add = |digest: Self, id| Self { count: digest.count + 1, sum: digest.sum + member_hash(id) };
        members.into_iter().fold(self, add)
    }

    /// The digest after these members were removed.
    pub fn without(self, members: impl IntoIterator<Item = Uuid>) -> Self {
        let remove = |digest: Self, id| Self {
            count: digest.count.saturating_sub(1),
            sum: digest.sum - member_hash(id),
        };
        members.into_iter().fold(self, remove)
    }

    /// Reads the digest from a group's item. Without the attributes it is that of no members.
    pub fn from_item(item: &Item) -> Self {
        Self {
            count: get_number(item, "memberCount").unwrap_or(0),
            sum: get_number(item, "memberSum").unwrap_or(0),
        }
    }

    /// The attributes of a group's item that hold the digest.
    pub fn attributes(self) -> [(String, AttributeValue); 2] {
        [number("memberCount", self.count), number("memberSum", self.sum)]
    }

    /// The update after which a group counts one member less, in any version of the group. It raises the
    /// version of the group, and lists the departure as the change of that version.
    pub fn subtract_member(departure: &Departure) -> Expression {
        let member = departure.member;
        let minus = |by: i128| AttributeValue::N((-by).to_string());
        Self::note_departure(departure)
            .add("memberCount", minus(1))
            .add("memberSum", minus(member_hash(member)))
    }

    /// The update that lists a departure as the change of a new version of a group, whose digest counts the
    /// member as removed already.
    pub fn note_departure(departure: &Departure) -> Expression {
        let update =
            Expression::update().increment("ver").set("modified", AttributeValue::S(departure.time.clone()));
        departure.append_to(update)
    }
}

/// The hash of one member: the first 64 bits of the SHA-256 of its id.
fn member_hash(id: Uuid) -> i128 {
    let digest = Sha256::digest(id.as_bytes());
    let bits = digest.iter().take(8).fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    i128::from(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_and_goes_is_added_and_subtracted() {
        let ids: Vec<Uuid> = (1..=100).map(Uuid::from_u128).collect();
        let all = MembershipDigest::of(ids.iter().copied());
        assert_eq!(all.count, 100);
        let half = all.without(ids[50..].iter().copied());
        assert_eq!(half, MembershipDigest::of(ids[..50].iter().rev().copied()));
        assert_eq!(half.with(ids[50..].iter().copied()), all);
        assert_eq!(all.without(ids.iter().copied()), MembershipDigest::default());
        // Who is exchanged for another does not change the count alone.
        assert_ne!(half.without([ids[0]]).with([ids[99]]), half);
        assert_eq!(MembershipDigest::from_item(&Item::from(all.attributes())), all);
    }
}
