//! `POST /Users`, `POST /Groups` (RFC 7644 §3.3).

use std::time::Instant;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::answer::{Answer, Provider, Relations};
use super::failure::{Failure, conflict};
use super::large::{APPLYING, still_changing};
use crate::clock;
use crate::scim::error::{ErrorKind, ScimError};
use crate::scim::members;
use crate::scim::projection::Projection;
use crate::scim::resource_type::Kind;
use crate::scim::rules::{activate_by_default, required, user_rules};
use crate::scim::validate::{groups_in_body, groups_named, read};
use crate::store::error::StoreError;
use crate::store::event::Event;
use crate::store::index;
use crate::store::membership::{Membership, WINDOW};
use crate::store::record::Record;
use crate::store::tally::Tally;

/// How often a creation is tried again because the name's holder changed meanwhile.
const ATTEMPTS: usize = 5;

impl Provider<'_> {
    /// Creates a resource.
    ///
    /// # Errors
    /// 400 for the body, 409 for a unique value that is taken.
    pub async fn create(
        &self,
        kind: Kind,
        body: &Map<String, Value>,
        projection: &Projection,
    ) -> Result<Answer, Failure> {
        let (ty, policy) = (self.ty(kind), self.model.policy);
        let mut doc = read(body, ty, policy)?;
        required(&doc, ty)?;
        index::check(ty, &doc)?;
        let mut wanted = Vec::new();
        match kind {
            Kind::User => {
                user_rules(&doc, policy)?;
                activate_by_default(&mut doc);
                self.refuse_groups(body, None)?;
            }
            Kind::Group => wanted = members::take(&mut doc, ty, policy)?,
        }
        let mut record = Record::new(kind, Uuid::now_v7(), doc, &clock::timestamp());
        let large = wanted.len() > WINDOW;
        let mut members = self.coming(wanted, Default::default(), large).await?;
        record.tally = Tally::of(members.iter().map(|member| member.id));
        let names: Vec<String> = members.iter().map(|member| member.id.to_string()).collect();
        let event_type = match kind {
            Kind::User => "user.created",
            Kind::Group => "group.created",
        };
        let event = self.store.event(event_type, &record);
        let event = event.attributes(record.doc.keys().cloned()).members(names, Vec::new());
        let mut stored = None;
        if !large {
            let new = self.store_new(&record, &members, &event).await;
            // Few, but so large that they fit no transaction together.
            let is_internal = |failure: &Failure| failure.error.kind == ErrorKind::Internal;
            let apart = members.len() > 1 && new.as_ref().is_err_and(is_internal);
            stored = if apart { None } else { Some(new?) };
        }
        match stored {
            Some(back) => record = back.unwrap_or(record),
            None => {
                let until = Instant::now() + APPLYING;
                let staged = self.stage(&mut record, &mut members, &[]).await?;
                let event = event.of_change(staged.id);
                let made = self.store.create(&record, &[], ty, &event, None).await;
                self.committed(staged, made, (), until).await?;
            }
        }
        let relations = Relations { members: Some(&members), ..Relations::default() };
        let body = self.project(&record, &relations, projection);
        Ok(self.answer(&record, Some(body)))
    }

    /// Stores a new resource. Where its name is that of a deactivated account, that account comes
    /// back instead, as returned: the old id and time of creation with the new document.
    async fn store_new(
        &self,
        record: &Record,
        members: &[Membership],
        event: &Event,
    ) -> Result<Option<Record>, Failure> {
        let ty = self.ty(record.kind);
        let mut takes_over = None;
        for _ in 0..ATTEMPTS {
            let refused = match self.store.create(record, members, ty, event, takes_over).await {
                Ok(()) => return Ok(None),
                Err(StoreError::Refused(refusals)) => StoreError::Refused(refusals),
                Err(failed) => return Err(failed.into()),
            };
            let holder = match record.claim(ty) {
                Some(entry) => self.store.holder(&entry).await?,
                None => None,
            };
            let Some(holder) = holder.filter(|holder| holder.gone) else { return Err(refused.into()) };
            let Some(old) = self.store.tombstone(holder.id).await? else {
                // Its time has passed: nobody's name any more, though the claim still stands.
                takes_over = Some(holder.id);
                continue;
            };
            let back = Record {
                id: old.id,
                created: old.created.clone(),
                version: old.version + 1,
                ..record.clone()
            };
            let event = self.store.event("user.reactivated", &back).attributes(back.doc.keys().cloned());
            // Groups that it has not left yet would take it back.
            if !self.store.finish_leaving(back.id, true, Instant::now() + APPLYING).await? {
                return Err(still_changing().into());
            }
            match self.store.reactivate(&old, &back, ty, &event).await {
                Ok(()) => return Ok(Some(back)),
                // Someone else was faster; what there is now decides.
                Err(StoreError::Refused(_)) => {}
                Err(failed) => return Err(failed.into()),
            }
        }
        Err(conflict().into())
    }

    /// Under policies that ask for it, a `groups` value in the body of a user's POST or PUT must
    /// change nothing.
    pub(super) fn refuse_groups(
        &self,
        body: &Map<String, Value>,
        current: Option<&Record>,
    ) -> Result<(), ScimError> {
        let (true, Some(groups)) = (self.model.policy.refuses_groups_in_user, groups_in_body(body)) else {
            return Ok(());
        };
        let unchanged = groups_named(groups).is_some_and(|named| {
            named.is_empty()
                || current.is_some_and(|record| record.groups.iter().map(String::as_str).eq(named))
        });
        if unchanged {
            return Ok(());
        }
        Err(ScimError::mutability(
            "Attribute groups cannot be set on a user: change the members of the groups instead.",
        ))
    }
}
