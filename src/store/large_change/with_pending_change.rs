//! A group's members as a pending change makes them, before the change is applied.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::chunk::Chunk;
use crate::store::membership::Membership;
use crate::store::side::Side;

/// Returns the members as they are once every chunk is applied, in the order of their ids.
///
/// It does not matter which of the chunks are applied. A change is net, so no member is both added and
/// removed. To add or remove a member twice changes nothing. So it is safe to read the members first and
/// the chunks after them.
pub fn with_pending_change(members: Vec<Membership>, chunks: &[Chunk]) -> Vec<Membership> {
    if chunks.is_empty() {
        return members;
    }
    let mut all: BTreeMap<Uuid, Membership> = members.into_iter().map(|m| (m.id, m)).collect();
    for chunk in chunks {
        for member in &chunk.members {
            let is_gone = chunk.gone.contains(&member.id);
            match chunk.side {
                Side::Add if !is_gone => {
                    all.entry(member.id).or_insert_with(|| member.clone());
                }
                Side::Add | Side::Remove => {
                    all.remove(&member.id);
                }
            }
        }
    }
    all.into_values().collect()
}

/// Returns the members without those that are deleted.
pub fn without_deleted(members: Vec<Membership>, deleted: &BTreeSet<Uuid>) -> Vec<Membership> {
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

    fn chunk(side: Side, members: &[u128], gone: &[u128]) -> Chunk {
        Chunk {
            key: Key { pk: String::new(), sk: String::new() },
            side,
            members: members.iter().map(|n| member(*n)).collect(),
            part: 1,
            done: false,
            gone: gone.iter().map(|n| Uuid::from_u128(*n)).collect(),
        }
    }

    #[test]
    fn every_state_of_application_shows_the_same() {
        let chunks = [
            chunk(Side::Add, &[4, 5], &[]),
            chunk(Side::Add, &[6, 7], &[7]),
            chunk(Side::Remove, &[1, 2], &[]),
        ];
        let expected: Vec<_> = [3, 4, 5, 6].map(member).into();
        // Nothing applied, some of it, all of it.
        for now in [&[1, 2, 3][..], &[2, 3, 4], &[1, 2, 3, 4, 5], &[3, 4, 5, 6]] {
            let members = now.iter().map(|n| member(*n)).collect();
            assert_eq!(with_pending_change(members, &chunks), expected, "{now:?}");
        }
    }

    #[test]
    fn who_is_deleted_is_not_shown() {
        let deleted = BTreeSet::from([Uuid::from_u128(2)]);
        assert_eq!(without_deleted([1, 2, 3].map(member).into(), &deleted), [1, 3].map(member));
    }
}
