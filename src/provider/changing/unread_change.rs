//! A change of a few members of a group that this process knows (`store/known_groups.rs`): it is written without
//! reading the group.
//!
//! The transaction has all the conditions that a change has which was read: the version of the group, that
//! those to add exist and are not members, and that those to remove are members. So it succeeds only if a read
//! would have found the same. If it fails, or if anything else speaks against it, nothing was written, and the
//! change starts with a read. Only that tells the client what is wrong.

use serde_json::{Map, Value};

use super::Changing;
use super::new_members::SeenMembers;
use crate::provider::ResourceRequest;
use crate::provider::failure::Failure;
use crate::scim::error::ScimError;
use crate::scim::patch::members::MemberChange;
use crate::scim::resource_type::Kind;
use crate::store::error::{Refusal, StoreError};
use crate::store::known_groups::GroupTurn;
use crate::store::record::Record;
use crate::store::resource::ResourceUpdate;

/// What became of a change that was written without a read.
pub(super) enum UnreadChange {
    /// The group is as the change leaves it.
    Written(Box<Record>),
    /// Nothing was written. What is known of the members, if nothing contradicts it.
    Refused(Option<SeenMembers>),
}

impl Changing<'_> {
    /// Notes a resource that was written, for the next change of it.
    pub(super) fn note_written(&self, turn: Option<&mut GroupTurn>, after: &Record, before: u64) {
        match turn {
            Some(turn) => turn.note(after, before),
            None => self.provider.known_groups.note(&self.provider.store.tenant, after),
        }
    }

    /// Writes a change of a few members, if this process probably knows the group. `assumed` is what the
    /// change assumes of the members.
    ///
    /// # Errors
    /// 503 or 500 if it is unknown whether the write took effect.
    pub(super) async fn change_unread(
        &self,
        request: &ResourceRequest<'_>,
        (members, assumed): (&MemberChange<'_>, SeenMembers),
        turn: &mut GroupTurn,
        compute: &impl Fn(&Record, &Map<String, Value>) -> Result<Map<String, Value>, ScimError>,
    ) -> Result<UnreadChange, Failure> {
        let nothing = UnreadChange::Refused(None);
        let Some(before) = turn.recall().cloned() else { return Ok(nothing) };
        if request.preconditions.check(before.version).is_err() {
            return Ok(nothing);
        }
        let view = assumed.clone().into_view(before);
        let Ok(mut change) = self.compute_change(view, Some(members), compute).await else {
            return Ok(nothing);
        };
        if change.after.doc != change.before.doc || change.members.is_empty() {
            return Ok(nothing);
        }
        change.raise_version();
        let update = ResourceUpdate {
            before: &change.before,
            is_recalled: true,
            after: &change.after,
            members: change.members.as_changes(),
            ty: self.provider.ty(Kind::Group),
            event: &self.change_event(&change),
            // No rule is about a group that the admin guard does not know.
            extra_actions: &[],
        };
        let written = self.provider.store.try_update(&update).await;
        if written.is_err() {
            turn.miss();
        }
        let after = match written {
            Ok(()) => change.after,
            Err(StoreError::Refused(refusals)) => {
                let is_of_group = refusals.iter().all(|refusal| *refusal == Refusal::Changed);
                return Ok(UnreadChange::Refused(is_of_group.then_some(assumed)));
            }
            Err(StoreError::Conflict | StoreError::Throttled) => {
                return Ok(UnreadChange::Refused(Some(assumed)));
            }
            Err(StoreError::TransactionTooLarge) => return Ok(nothing),
            Err(unknown) => self.unless_lost(change.after, unknown).await?,
        };
        turn.note(&after, change.before.version);
        Ok(UnreadChange::Written(Box::new(after)))
    }
}
