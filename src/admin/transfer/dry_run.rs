//! What an import would do.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::import::{Fate, Import, PlannedResource, ResolvedRow, RowName, Stopped};
use crate::provider::failure::Failure;
use crate::scim::error::ScimError;
use crate::scim::members::{self, Member};
use crate::scim::resource_type::Kind;
use crate::scim::validate::read;
use crate::scim::{document_rules, username};
use crate::store::error::StoreError;
use crate::store::index;
use crate::store::keys::parse_id;
use crate::store::members::WholeGroup;
use crate::store::record::{Record, Role};

impl Import<'_> {
    /// What would become of a row.
    pub(super) async fn plan_row(&self, row: &ResolvedRow) -> Result<Fate, Stopped> {
        let (before, stored) = match row.found {
            Some(id) => self.read_before(row.kind, id).await.map_err(Failure::from)?,
            None => (None, None),
        };
        let (document, wanted) = self.check_row(row, before.as_ref()).map_err(Failure::from)?;
        self.check_members(&wanted).await?;
        let roles = row.roles.as_ref().map(|roles| roles.of(row.found.unwrap_or_default()));
        let members = wanted.into_iter().map(|member| member.id).collect();
        let wanted = PlannedResource { document, members, roles };
        if let Some(root) = stored.as_ref().filter(|_| row.found == self.tenant.root_team) {
            // It keeps its own administrators and roles: others only come.
            let has_roles =
                |wanted: &BTreeSet<Role>| root.roles.as_ref().is_some_and(|own| wanted.is_subset(own));
            let is_same =
                wanted.members.is_subset(&root.members) && wanted.roles.as_ref().is_none_or(has_roles);
            return Ok(if is_same { Fate::Unchanged } else { Fate::Updated });
        }
        Ok(self.plan(row, wanted, stored))
    }

    /// What the tenant has: the record, and what an import can change of it.
    async fn read_before(
        &self,
        kind: Kind,
        id: Uuid,
    ) -> Result<(Option<Record>, Option<PlannedResource>), StoreError> {
        let store = &self.provider.store;
        let (record, members) = match kind {
            Kind::User => (store.fetch(kind, id).await?, BTreeSet::new()),
            Kind::Group => match store.members().fetch_group(id).await? {
                Some(WholeGroup { record, members }) => {
                    (Some(record), members.iter().map(|member| member.id.to_string()).collect())
                }
                None => (None, BTreeSet::new()),
            },
        };
        let stored = record.as_ref().map(|record| PlannedResource {
            document: record.doc.clone(),
            members,
            roles: (kind == Kind::Group).then(|| record.assignments()),
        });
        Ok((record, stored))
    }

    /// Holds a row to the rules that do not need the table. Returns its document and its members.
    fn check_row(
        &self,
        row: &ResolvedRow,
        before: Option<&Record>,
    ) -> Result<(Map<String, Value>, Vec<Member>), ScimError> {
        let (ty, policy) = (self.provider.ty(row.kind), self.tenant.policy);
        let mut doc = read(&row.body, ty, policy, &self.provider.work)?;
        document_rules::check_required(&doc, ty)?;
        index::check(ty, &doc, &self.provider.work)?;
        match row.kind {
            Kind::User => {
                document_rules::check_username_and_email(&doc, policy)?;
                username::check_change(before.map(|before| &before.doc), &doc)?;
                Ok((doc, Vec::new()))
            }
            Kind::Group => members::take(&mut doc, policy).map(|members| (doc, members)),
        }
    }

    /// Refuses members that neither the tenant nor the file has.
    async fn check_members(&self, wanted: &[Member]) -> Result<(), Stopped> {
        let unknown: Vec<(Uuid, Kind)> = {
            let ids = self.ids();
            let unknown =
                wanted.iter().filter(|member| !ids.is_in_tenant(&member.id) && !ids.is_later(&member.id));
            unknown.filter_map(|member| Some((parse_id(&member.id)?, member.taken_for()))).collect()
        };
        let existing = self.provider.store.members().identify(&unknown).await.map_err(Failure::from)?;
        match unknown.iter().find(|(id, _)| !existing.contains_key(id)) {
            Some((missing, _)) => Err(Stopped::Refused(format!("there is no member {missing}"))),
            None => Ok(()),
        }
    }

    /// Notes what a row would leave, and compares it with what an earlier row of the name would leave, or with what is
    /// stored.
    fn plan(&self, row: &ResolvedRow, mut after: PlannedResource, stored: Option<PlannedResource>) -> Fate {
        let mut planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
        let name: Option<&RowName> = row.name.as_ref();
        let before = name.and_then(|name| planned.get(name)).cloned().or(stored);
        if row.kind == Kind::User {
            // A line without `active` keeps it.
            let kept = before.as_ref().and_then(|before| before.document.get("active")).cloned();
            after.document.entry("active").or_insert(kept.unwrap_or(Value::Bool(true)));
        }
        if after.roles.is_none() {
            after.roles = before.as_ref().and_then(|before| before.roles.clone());
        }
        let fate = match before {
            None => Fate::Created,
            Some(before) if before == after => Fate::Unchanged,
            Some(_) => Fate::Updated,
        };
        if let Some(name) = name {
            planned.insert(name.clone(), after);
        }
        fate
    }
}
