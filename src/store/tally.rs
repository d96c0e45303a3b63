//! A group's members in two numbers, by which a reader knows that it has seen them all and nobody
//! else: pages of a partition are read one after the other, and not isolated against transactions.

use aws_sdk_dynamodb::types::AttributeValue;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::expression::Expression;
use super::item::{Item, get_number, number};

/// How many members there are, and the sum of a number drawn from each one's id. Two different
/// sets with the same sum are as good as impossible. Each change of members adds and subtracts
/// its own; a DynamoDB number holds 38 digits, which are more than any group needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// The sum of their numbers.
    pub sum: i128,
}

impl Tally {
    /// Of these members.
    pub fn of(members: impl IntoIterator<Item = Uuid>) -> Self {
        Self::default().with(members)
    }

    /// With these members more.
    pub fn with(self, members: impl IntoIterator<Item = Uuid>) -> Self {
        let more = |tally: Self, id| Self { count: tally.count + 1, sum: tally.sum + share(id) };
        members.into_iter().fold(self, more)
    }

    /// Without these.
    pub fn without(self, members: impl IntoIterator<Item = Uuid>) -> Self {
        let less =
            |tally: Self, id| Self { count: tally.count.saturating_sub(1), sum: tally.sum - share(id) };
        members.into_iter().fold(self, less)
    }

    /// Reads it from a group's item.
    pub fn from_item(item: &Item) -> Self {
        Self {
            count: get_number(item, "memberCount").unwrap_or(0),
            sum: get_number(item, "memberSum").unwrap_or(0),
        }
    }

    /// As the attributes of a group's item.
    pub fn attributes(self) -> [(String, AttributeValue); 2] {
        [number("memberCount", self.count), number("memberSum", self.sum)]
    }

    /// The update by which a group has one member less, who is in this version of it or a later one.
    pub fn one_less(member: Uuid, now: &str) -> Expression {
        let less = |by: i128| AttributeValue::N((-by).to_string());
        Expression::update()
            .increment("ver")
            .set("modified", AttributeValue::S(now.to_owned()))
            .add("memberCount", less(1))
            .add("memberSum", less(share(member)))
    }
}

/// The number of one member: 64 bits of the SHA-256 of its id.
fn share(id: Uuid) -> i128 {
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
        let all = Tally::of(ids.iter().copied());
        assert_eq!(all.count, 100);
        let half = all.without(ids[50..].iter().copied());
        assert_eq!(half, Tally::of(ids[..50].iter().rev().copied()));
        assert_eq!(half.with(ids[50..].iter().copied()), all);
        assert_eq!(all.without(ids.iter().copied()), Tally::default());
        // Who is exchanged for another does not change the count alone.
        assert_ne!(half.without([ids[0]]).with([ids[99]]), half);
        assert_eq!(Tally::from_item(&Item::from(all.attributes())), all);
    }
}
