//! A group's members on their way in: they must exist.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::answer::Provider;
use super::failure::{Failure, no_such_members};
use crate::scim::error::ScimError;
use crate::scim::members::Member;
use crate::scim::resource_type::Kind;
use crate::store::keys::parse_id;
use crate::store::membership::{MAX_GROUPS, Membership};

impl Provider<'_> {
    /// Members that a client wants added, as memberships.
    ///
    /// # Errors
    /// One `invalidValue` that names all that do not exist.
    pub(super) async fn new_members(&self, wanted: Vec<Member>) -> Result<Vec<Membership>, Failure> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<Uuid> = wanted.iter().filter_map(|member| parse_id(&member.id)).collect();
        let existing = self.store.identify(&ids).await?;
        Ok(memberships(wanted, &existing)?)
    }
}

/// Pairs wanted members with what they are.
///
/// # Errors
/// One `invalidValue` that names all that do not exist, or a member of too many groups.
pub fn memberships(
    wanted: Vec<Member>,
    existing: &BTreeMap<Uuid, (Kind, usize)>,
) -> Result<Vec<Membership>, ScimError> {
    let (mut members, mut unknown) = (Vec::with_capacity(wanted.len()), Vec::new());
    for member in wanted {
        let found = parse_id(&member.id).and_then(|id| existing.get(&id).map(|found| (id, *found)));
        match found {
            Some((_, (_, groups))) if groups >= MAX_GROUPS => {
                return Err(ScimError::invalid_value(format!(
                    "{} is in {MAX_GROUPS} groups already, which is the most that one resource can be in.",
                    member.id
                )));
            }
            Some((id, (kind, _))) => members.push(Membership { id, kind, display: member.display }),
            None => unknown.push(member.id),
        }
    }
    if unknown.is_empty() { Ok(members) } else { Err(no_such_members(unknown.iter().map(String::as_str))) }
}
