//! A group as a pending change makes it, before the change is applied.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::chunk::Chunk;
use super::membership::Membership;

/// The members as they are once every chunk is applied, in the order of their ids. It does not
/// matter which of the chunks are: a change is net, so nobody is both added and removed, and
/// adding or removing once more changes nothing. That is what makes it safe to read the members
/// and the chunks one after the other.
pub fn overlay(members: Vec<Membership>, chunks: &[Chunk]) -> Vec<Membership> {
    if chunks.is_empty() {
        return members;
    }
    let mut all: BTreeMap<Uuid, Membership> = members.into_iter().map(|m| (m.id, m)).collect();
    for chunk in chunks {
        for member in &chunk.members {
            if chunk.adds && !chunk.gone.contains(&member.id.to_string()) {
                all.entry(member.id).or_insert_with(|| member.clone());
            } else {
                all.remove(&member.id);
            }
        }
    }
    all.into_values().collect()
}

/// The members without those that are deleted and have not left yet.
pub fn without(members: Vec<Membership>, deleted: &BTreeSet<Uuid>) -> Vec<Membership> {
    if deleted.is_empty() {
        return members;
    }
    members.into_iter().filter(|member| !deleted.contains(&member.id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::resource_type::Kind;
    use crate::store::keys::Key;

    fn member(n: u128) -> Membership {
        Membership { id: Uuid::from_u128(n), kind: Kind::User, display: None }
    }

    fn chunk(adds: bool, members: &[u128], gone: &[u128]) -> Chunk {
        Chunk {
            key: Key { pk: String::new(), sk: String::new() },
            adds,
            members: members.iter().map(|n| member(*n)).collect(),
            done: false,
            gone: gone.iter().map(|n| Uuid::from_u128(*n).to_string()).collect(),
        }
    }

    #[test]
    fn every_state_of_application_shows_the_same() {
        let chunks = [chunk(true, &[4, 5], &[]), chunk(true, &[6, 7], &[7]), chunk(false, &[1, 2], &[])];
        let expected: Vec<_> = [3, 4, 5, 6].map(member).into();
        // Nothing applied, some of it, all of it.
        for now in [&[1, 2, 3][..], &[2, 3, 4], &[1, 2, 3, 4, 5], &[3, 4, 5, 6]] {
            let members = now.iter().map(|n| member(*n)).collect();
            assert_eq!(overlay(members, &chunks), expected, "{now:?}");
        }
    }

    #[test]
    fn who_is_deleted_is_not_shown() {
        let deleted = BTreeSet::from([Uuid::from_u128(2)]);
        assert_eq!(without([1, 2, 3].map(member).into(), &deleted), [1, 3].map(member));
    }
}
