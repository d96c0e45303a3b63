//! `PUT /Users/{id}`, `PUT /Groups/{id}` (RFC 7644 §3.5.1).

use serde_json::{Map, Value};
use uuid::Uuid;

use super::answer::{Answer, Provider};
use super::failure::Failure;
use super::precondition::Preconditions;
use crate::scim::document_rules::{check_required, check_username_and_email, keep_immutable};
use crate::scim::members;
use crate::scim::patch::group_attributes::keep_group_attributes;
use crate::scim::patch::members::MemberChange;
use crate::scim::projection::Projection;
use crate::scim::resource_type::Kind;
use crate::scim::validate::read;

impl Provider<'_> {
    /// Replaces a resource. A PUT that leaves `active` out keeps its value: clients that replace
    /// whole users do not mean to bring leavers back.
    ///
    /// # Errors
    /// 400 for the body, 404, 409 for a unique value that is taken, 412.
    pub async fn replace(
        &self,
        kind: Kind,
        id: Uuid,
        body: &Map<String, Value>,
        projection: &Projection,
        preconditions: &Preconditions,
    ) -> Result<Answer, Failure> {
        let (ty, policy) = (self.ty(kind), self.model.policy);
        let mut replacement = read(body, ty, policy, &self.work)?;
        let mut members = None;
        if kind == Kind::Group {
            let wanted = members::take(&mut replacement, ty, policy, &self.work)?;
            keep_group_attributes(&mut replacement, ty, policy);
            members = Some(MemberChange::replace(wanted, ty, policy));
        }
        check_required(&replacement, ty)?;
        if kind == Kind::User {
            check_username_and_email(&replacement, policy)?;
        }
        self.change(kind, id, members, projection, preconditions, |record, _| {
            let mut doc = replacement.clone();
            if kind == Kind::User {
                self.refuse_groups(body, Some(record))?;
                if let (false, Some(active)) = (doc.contains_key("active"), record.doc.get("active")) {
                    doc.insert("active".to_owned(), active.clone());
                }
            }
            keep_immutable(&record.doc, &mut doc, ty, &self.work)?;
            Ok(doc)
        })
        .await
    }
}
