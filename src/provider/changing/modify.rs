//! `PATCH /Users/{id}`, `PATCH /Groups/{id}` (RFC 7644 §3.5.2).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Changing;
use super::new_members::SeenMembers;
use crate::provider::ResourceRequest;
use crate::provider::answer::{Answer, Relations, not_found};
use crate::provider::failure::Failure;
use crate::scim::document_rules::{check_required_after, check_size, check_username_and_email_after};
use crate::scim::patch::apply::apply;
use crate::scim::patch::group_attributes::check_group_attributes;
use crate::scim::patch::request::PatchStep;
use crate::scim::patch::steps::PatchSteps;
use crate::scim::patch::sync_username_and_email::sync_username_and_email;
use crate::scim::resource::{document, keep_undefined};
use crate::scim::resource_type::Kind;
use crate::scim::urn;
use crate::store::resource::Team;
use crate::store::role_grants::RoleGrants;

impl Changing<'_> {
    /// Modifies a resource.
    ///
    /// # Errors
    /// 400 for the body and its operations, 404, 409 for a unique value that is taken, 412.
    pub async fn modify(
        &self,
        request: &ResourceRequest<'_>,
        body: &Map<String, Value>,
    ) -> Result<Answer, Failure> {
        let (kind, id) = (request.kind, request.id);
        let (ty, policy) = (self.provider.ty(kind), self.provider.model.policy);
        let work = &self.provider.work;
        let PatchSteps { members, others: steps } = PatchSteps::read(body, ty, policy, work)?;
        let is_written = |urn: &str, name: &str| {
            steps.iter().any(|step| step.extension.as_deref() == Some(urn) && step.attribute == name)
        };
        let projection = request.projection.showing_written(ty, is_written);
        let request = &ResourceRequest { projection: &projection, ..*request };
        let granted = self.read_granted(kind, id, &steps).await?;
        let names_groups = kind == Kind::User && steps.iter().any(|step| step.attribute() == Some("groups"));
        let alone = members.as_ref().filter(|_| steps.is_empty());
        let assumed = alone.and_then(|members| SeenMembers::assumed(id, members));
        self.change_stored(request, members, assumed, |record, whole| {
            let mut after = match &granted {
                Some((teams, grants)) => {
                    let relations = Relations { teams: Some(teams), grants: Some(grants), members: None };
                    self.provider.represent(record, &relations)
                }
                None => whole.clone(),
            };
            if names_groups {
                let groups: Value = record.groups.iter().map(|id| json!({ "value": id })).collect();
                after.insert("groups".to_owned(), groups);
            }
            apply(&mut after, &steps, ty, policy, work)?;
            check_group_attributes(whole, &after, ty, policy)?;
            if kind == Kind::User {
                sync_username_and_email(whole, &mut after, (ty, policy), work)?;
            }
            let mut doc = document(&after, ty);
            keep_undefined(&record.doc, &mut doc, ty);
            if doc != record.doc {
                check_required_after(&record.doc, &doc, ty)?;
                if kind == Kind::User {
                    check_username_and_email_after(&record.doc, &doc, policy)?;
                }
                check_size(&doc)?;
            }
            Ok(doc)
        })
        .await
    }

    /// What decides the effective roles of a user, if a step names them, so that a client may send back the roles
    /// that it has read. No other step needs it.
    async fn read_granted(
        &self,
        kind: Kind,
        id: Uuid,
        steps: &[PatchStep],
    ) -> Result<Option<(BTreeMap<Uuid, Team>, RoleGrants)>, Failure> {
        let is_of_roles = |step: &PatchStep| {
            step.extension.as_deref() == Some(urn::ROLLCALL_USER) && step.attribute == "roles"
        };
        if kind != Kind::User || !steps.iter().any(is_of_roles) {
            return Ok(None);
        }
        let record = self.provider.store.fetch(kind, id).await?.ok_or_else(|| not_found(kind))?;
        Ok(Some(self.provider.read_granted(&record, true).await?))
    }
}
