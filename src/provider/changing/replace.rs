//! `PUT /Users/{id}`, `PUT /Groups/{id}` (RFC 7644 §3.5.1).

use serde_json::{Map, Value};

use super::Changing;
use super::create::refuse_groups;
use crate::provider::ResourceRequest;
use crate::provider::answer::Answer;
use crate::provider::failure::Failure;
use crate::scim::document_rules::{check_username_and_email, gather_missing, keep_active, keep_immutable};
use crate::scim::faults::Faults;
use crate::scim::members::{self, MEMBERS};
use crate::scim::patch::group_attributes::keep_group_attributes;
use crate::scim::patch::members::MemberChange;
use crate::scim::resource::{has_extension_attribute, keep_undefined};
use crate::scim::resource_type::Kind;
use crate::scim::validate::read_and_gather;

impl Changing<'_> {
    /// Replaces a resource. A PUT that leaves `active` out keeps its value: clients that replace
    /// whole users do not mean to bring leavers back.
    ///
    /// # Errors
    /// 400 for the body, 404, 409 for a unique value that is taken, 412.
    pub async fn replace(
        &self,
        request: &ResourceRequest<'_>,
        body: &Map<String, Value>,
    ) -> Result<Answer, Failure> {
        let kind = request.kind;
        let (ty, policy) = (self.provider.ty(kind), self.provider.model.policy);
        let work = &self.provider.work;
        let mut faults = Faults::default();
        let mut replacement = read_and_gather(body, ty, policy, work, &mut faults)?;
        let mut members = None;
        if kind == Kind::Group {
            let wanted = members::take(&mut replacement, policy);
            let wanted = faults.keep_of(MEMBERS, wanted)?.unwrap_or_default();
            keep_group_attributes(&mut replacement, ty, policy, &work.notes);
            members = Some(MemberChange::replace(wanted, ty, policy));
        }
        gather_missing(&replacement, ty, &mut faults)?;
        if kind == Kind::User && !faults.is_unread("emails") && !faults.is_unread("userName") {
            faults.keep(check_username_and_email(&replacement, policy))?;
        }
        faults.finish()?;
        let projection = request
            .projection
            .showing_written(ty, |urn, name| has_extension_attribute(&replacement, urn, name));
        let request = &ResourceRequest { projection: &projection, ..*request };
        self.change_stored(request, members, None, |record, _| {
            let mut doc = replacement.clone();
            if kind == Kind::User {
                refuse_groups(body, policy, Some(record))?;
                keep_active(&record.doc, &mut doc);
            }
            keep_immutable(&record.doc, &mut doc, ty, work)?;
            keep_undefined(&record.doc, &mut doc, ty);
            Ok(doc)
        })
        .await
    }
}
