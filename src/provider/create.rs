//! `POST /Users`, `POST /Groups` (RFC 7644 §3.3).

use serde_json::{Map, Value};
use uuid::Uuid;

use super::answer::{Answer, Provider, Relations};
use super::failure::Failure;
use crate::clock;
use crate::scim::error::ScimError;
use crate::scim::members;
use crate::scim::projection::Projection;
use crate::scim::resource_type::Kind;
use crate::scim::rules::{required, user_rules};
use crate::scim::validate::{groups_in_body, read};
use crate::store::membership::WINDOW;
use crate::store::record::Record;

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
        let mut wanted = Vec::new();
        match kind {
            Kind::User => {
                user_rules(&doc, policy)?;
                self.refuse_groups(body, None)?;
            }
            Kind::Group => wanted = members::take(&mut doc, ty, policy)?,
        }
        let mut record = Record::new(kind, Uuid::now_v7(), doc, &clock::timestamp());
        let members = self.new_members(wanted).await?;
        let first = &members[..members.len().min(WINDOW)];
        record.member_count = first.len() as u64;
        let names = |members: &[crate::store::membership::Membership]| {
            members.iter().map(|member| member.id.to_string()).collect::<Vec<_>>()
        };
        let event_type = match kind {
            Kind::User => "user.created",
            Kind::Group => "group.created",
        };
        let event = self.store.event(event_type, &record);
        let event = event.attributes(record.doc.keys().cloned()).members(names(first), Vec::new());
        self.store.create(&record, first, ty, &event).await?;
        if members.len() > first.len() {
            record = self.change_members(record, &members[first.len()..], &[]).await?;
        }
        let relations = Relations { members: Some(&members), ..Relations::default() };
        let body = self.project(&record, &relations, projection);
        Ok(self.answer(&record, Some(body)))
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
        let elements = match groups {
            Value::Null => return Ok(()),
            Value::Array(elements) => elements.as_slice(),
            other => std::slice::from_ref(other),
        };
        let named: Option<Vec<&str>> =
            elements.iter().map(|element| element.get("value").unwrap_or(element).as_str()).collect();
        let unchanged = named.is_some_and(|named| {
            named.is_empty()
                || current.is_some_and(|record| {
                    named.iter().all(|id| record.groups.contains(*id))
                        && record.groups.iter().all(|id| named.contains(&id.as_str()))
                })
        });
        if unchanged {
            return Ok(());
        }
        Err(ScimError::mutability(
            "Attribute groups cannot be set on a user: change the members of the groups instead.",
        ))
    }
}
