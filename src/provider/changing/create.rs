//! `POST /Users`, `POST /Groups` (RFC 7644 §3.3).

use std::time::Instant;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::Changing;
use super::staged_change::still_changing;
use crate::clock;
use crate::limits::{
    CREATION_RETRIES, MAX_APPLYING_IN_REQUEST, MAX_MEMBER_CHANGES_PER_TX, MAX_TRYING_IN_REQUEST,
};
use crate::provider::answer::{Answer, Relations};
use crate::provider::failure::{Failure, may_succeed_on_retry, too_many_conflicts};
use crate::scim::document_rules::{activate_by_default, gather_faults_of_user, gather_missing};
use crate::scim::error::ScimError;
use crate::scim::faults::Faults;
use crate::scim::members::{self, MEMBERS, Member};
use crate::scim::note_texts::{NoteKind, Rule};
use crate::scim::policy::Policy;
use crate::scim::projection::Projection;
use crate::scim::resource::has_extension_attribute;
use crate::scim::resource_type::Kind;
use crate::scim::validate::{groups_in_body, groups_named, read_and_gather};
use crate::store::digest::MembershipDigest;
use crate::store::error::{Refusal, StoreError};
use crate::store::index;
use crate::store::large_change::detach::DoneDetachment;
use crate::store::members::view::Candidates;
use crate::store::membership::Membership;
use crate::store::record::Record;
use crate::store::resource::ResourceCreation;
use crate::store::retry::Attempts;
use crate::store::tombstone::Tombstone;

/// What a creation came to.
enum Created {
    /// The resource is stored, with these members.
    New(Record, Vec<Membership>),
    /// A deactivated account came back under its old id.
    Back(Record),
}

impl Changing<'_> {
    /// Creates a resource. Where a user's name is that of a deactivated account, that account comes
    /// back instead: the old id and time of creation with the new document.
    ///
    /// # Errors
    /// 400 for the body, 409 for a unique value that is taken.
    pub async fn create(
        &self,
        kind: Kind,
        body: &Map<String, Value>,
        projection: &Projection,
    ) -> Result<Answer, Failure> {
        let (ty, policy) = (self.provider.ty(kind), self.provider.model.policy);
        let work = &self.provider.work;
        let mut faults = Faults::default();
        let mut doc = read_and_gather(body, ty, policy, work, &mut faults)?;
        let mut wanted = Vec::new();
        if kind == Kind::Group {
            let taken = members::take(&mut doc, policy);
            wanted = faults.keep_of(MEMBERS, taken)?.unwrap_or_default();
        }
        gather_missing(&doc, ty, &mut faults)?;
        if kind == Kind::User {
            gather_faults_of_user(&doc, policy, &mut faults)?;
            faults.keep(refuse_groups(body, policy, None))?;
        }
        faults.keep(index::check(ty, &doc, work))?;
        faults.finish()?;
        if kind == Kind::User {
            activate_by_default(&mut doc);
        }
        let record = Record::new(kind, Uuid::now_v7(), doc, &clock::timestamp());
        let (record, members) = match self.store_new(record, &wanted).await? {
            Created::New(record, members) => {
                self.note_written(None, &record, 0);
                (record, members)
            }
            Created::Back(record) => {
                work.notes.add(NoteKind::Reactivated, kind.name());
                (record, Vec::new())
            }
        };
        let relations = Relations { members: Some(&members), ..Relations::default() };
        let projection =
            projection.showing_written(ty, |urn, name| has_extension_attribute(&record.doc, urn, name));
        let body = self.provider.write_projected(&record, &relations, &projection);
        Ok(self.provider.answer(&record, Some(body)))
    }

    /// Stores a new resource with the members that a client wants in it. Begins anew where a name's
    /// holder changed meanwhile, or where a member was deleted while the members were written down.
    async fn store_new(&self, mut record: Record, wanted: &[Member]) -> Result<Created, Failure> {
        let until = Instant::now() + MAX_APPLYING_IN_REQUEST;
        let mut takes_over = None;
        let mut attempts = Attempts::within(CREATION_RETRIES, MAX_TRYING_IN_REQUEST);
        while attempts.start_next().await {
            let members = match wanted.len() > MAX_MEMBER_CHANGES_PER_TX {
                true => self.assume_new_members(wanted.to_vec(), Candidates::default()).await?,
                false => self.resolve_new_members(wanted.to_vec(), Candidates::default()).await?,
            };
            record.digest = MembershipDigest::of(members.iter().map(|member| member.id));
            let refused = match self.try_to_store(record, members, takes_over, until).await? {
                Ok(created) => return Ok(created),
                Err(refused) => refused,
            };
            match self.find_former_holder(&refused).await? {
                Returning::Account(old) => {
                    if let Some(back) = self.bring_back(&refused.record, &old).await? {
                        return Ok(Created::Back(back));
                    }
                }
                Returning::Expired(id) => takes_over = Some(id),
                // A member that was deleted meanwhile is reported as unknown at the next attempt.
                Returning::Nobody if may_succeed_on_retry(&refused.refusals) => {}
                Returning::Nobody => return Err(StoreError::Refused(refused.refusals).into()),
            }
            // The next attempt stages the members anew.
            record = Record { change: None, parts: 0, ..refused.record };
        }
        Err(too_many_conflicts().into())
    }

    /// Tries once to store a new resource. What refused it comes back as the inner error.
    async fn try_to_store(
        &self,
        mut record: Record,
        mut members: Vec<Membership>,
        takes_over: Option<Uuid>,
        until: Instant,
    ) -> Result<Result<Created, Refused>, Failure> {
        let ty = self.provider.ty(record.kind);
        let names: Vec<Uuid> = members.iter().map(|member| member.id).collect();
        let event = self.provider.store.event_of_creation(&record, names);
        let mut stored = Err(StoreError::TransactionTooLarge);
        if members.len() <= MAX_MEMBER_CHANGES_PER_TX {
            let creation =
                ResourceCreation { record: &record, members: &members, ty, event: &event, takes_over };
            stored = self.provider.store.create(&creation).await;
        }
        // Too many for a transaction, or too large.
        if members.len() > 1 && matches!(stored, Err(StoreError::TransactionTooLarge)) {
            let pending = self.stage(&mut record, &mut members, &[]).await?;
            let event = event.of_commit(pending.parts);
            let creation =
                ResourceCreation { record: &record, members: &[], ty, event: &event, takes_over: None };
            let made = self.provider.store.create(&creation).await;
            stored = self.finish_commit(pending, made, until).await;
        }
        match stored {
            Ok(()) => Ok(Ok(Created::New(record, members))),
            Err(StoreError::Refused(refusals)) => Ok(Err(Refused { record, refusals })),
            // Only the table knows whether the write took effect. The id is new: if it is there, we wrote it.
            Err(unknown) if unknown.may_have_taken_effect() => {
                match self.provider.store.exists(&record).await {
                    Ok(true) => Ok(Ok(Created::New(record, members))),
                    Ok(false) | Err(_) => Err(unknown.into()),
                }
            }
            Err(failed) => Err(failed.into()),
        }
    }

    /// Looks for the deactivated account that holds the name of a new resource.
    ///
    /// # Errors
    /// 503 if the table does not answer; 409 if the account keeps changing; 500 if an item cannot be read.
    async fn find_former_holder(&self, refused: &Refused) -> Result<Returning, Failure> {
        let taken = refused.refusals.iter().any(|refusal| matches!(refusal, Refusal::Taken(_)));
        let Some(entry) = refused.record.claim(self.provider.ty(refused.record.kind)).filter(|_| taken)
        else {
            return Ok(Returning::Nobody);
        };
        let Some(holder) = self.provider.store.fetch_claim(&entry).await?.filter(|holder| holder.gone) else {
            return Ok(Returning::Nobody);
        };
        let mut old = self.provider.store.tombstones().fetch_kept(holder.id).await?;
        if old.is_none() {
            old = self.provider.store.tombstones().fetch_kept_at_rest(holder.id).await?;
        }
        // After its retention an account has no name, although the claim is still stored.
        Ok(old.map_or(Returning::Expired(holder.id), |old| Returning::Account(Box::new(old))))
    }

    /// Brings a deactivated account back with the document of a new one. `None` where someone else
    /// was faster: what there is now decides.
    async fn bring_back(&self, new: &Record, old: &Tombstone) -> Result<Option<Record>, Failure> {
        let was = &old.record;
        let back =
            Record { id: was.id, created: was.created.clone(), version: was.version + 1, ..new.clone() };
        // What the account had before and has no longer is changed, too.
        let removed = was.doc.keys().filter(|name| !back.doc.contains_key(*name));
        let attributes = back.doc.keys().chain(removed).cloned();
        let event = self.provider.store.event("user.reactivated", &back).attributes(attributes);
        // The items of a transaction become visible one by one: wait until this one is.
        if let Some(detachment) = old.detachment {
            self.provider.store.large_changes().fetch_at_rest(detachment).await?;
        }
        // Groups that it has not left yet would take it back.
        if !self
            .provider
            .store
            .large_changes()
            .detach_from_groups(back.id, DoneDetachment::Delete, Instant::now() + MAX_APPLYING_IN_REQUEST)
            .await?
        {
            return Err(still_changing().into());
        }
        match self
            .provider
            .store
            .tombstones()
            .reactivate(old, &back, self.provider.ty(back.kind), &event)
            .await
        {
            Ok(()) => Ok(Some(back)),
            Err(StoreError::Refused(_)) => Ok(None),
            Err(unknown) if unknown.may_have_taken_effect() => {
                match self.provider.store.took_effect(&back).await {
                    Ok(true) => Ok(Some(back)),
                    Ok(false) | Err(_) => Err(unknown.into()),
                }
            }
            Err(failed) => Err(failed.into()),
        }
    }
}

/// Under policies that ask for it, a `groups` value in the body of a user's POST or PUT must change nothing.
///
/// # Errors
/// `mutability`.
pub fn refuse_groups(
    body: &Map<String, Value>,
    policy: &Policy,
    current: Option<&Record>,
) -> Result<(), ScimError> {
    if !policy.refuses_groups_in_user {
        return Ok(());
    }
    let Some(groups) = groups_in_body(body) else { return Ok(()) };
    let unchanged = groups_named(groups).is_some_and(|named| {
        named.is_empty() || current.is_some_and(|record| record.groups.iter().map(Uuid::to_string).eq(named))
    });
    if unchanged {
        return Ok(());
    }
    let detail = "Attribute groups cannot be set on a user: change the members of the groups instead.";
    Err(ScimError::mutability(detail).by(Rule::GroupsOfUser, "groups"))
}

/// A creation that conditions refused: what was to be stored, and why it was not.
struct Refused {
    record: Record,
    refusals: Vec<Refusal>,
}

/// Who has the name of a new resource.
enum Returning {
    /// A deactivated account that can come back.
    Account(Box<Tombstone>),
    /// A deactivated account whose time has passed.
    Expired(Uuid),
    /// No deactivated account.
    Nobody,
}
