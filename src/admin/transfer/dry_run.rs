//! What an import would do.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::import::{Fate, Import, PlannedResource, ResolvedRow, RowName, Stopped};
use crate::provider::changing::create::refuse_groups;
use crate::provider::failure::Failure;
use crate::scim::error::ScimError;
use crate::scim::members::{self, Member};
use crate::scim::refusal::shorten_text;
use crate::scim::resource_type::Kind;
use crate::scim::validate::read;
use crate::scim::{document_rules, username};
use crate::store::error::StoreError;
use crate::store::index;
use crate::store::keys::parse_id;
use crate::store::members::WholeGroup;
use crate::store::record::Record;

impl Import<'_> {
    /// What would become of a row, but for the rule of the last administrator.
    ///
    /// # Errors
    /// [`Stopped::Refused`] for what an import would refuse; [`Stopped::Failed`] if the table does not answer.
    pub(super) async fn plan_row(&self, row: &ResolvedRow) -> Result<Fate, Stopped> {
        let (before, stored) = match row.found {
            Some(id) => self.read_before(row.kind, id).await.map_err(Failure::from)?,
            None => (None, None),
        };
        let (document, wanted) = self.check_row(row, before.as_ref()).map_err(Failure::from)?;
        self.check_members(&wanted).await?;
        let stored_roles = stored.as_ref().and_then(|stored| stored.roles.clone()).unwrap_or_default();
        let roles = row.roles.as_ref();
        let roles = roles.map(|roles| self.roles_after(roles, row.found.unwrap_or_default(), &stored_roles));
        let members = wanted.into_iter().map(|member| member.id).collect();
        let wanted = PlannedResource { document, members, roles };
        if let Some(root) = stored.as_ref().filter(|_| row.found == self.tenant.root_team) {
            // It keeps its own administrators: others only come.
            let has_roles = wanted.roles.is_none_or(|roles| root.roles == Some(roles));
            let is_same = has_roles && wanted.members.is_subset(&root.members);
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
    ///
    /// # Errors
    /// Those of the policy, as a PUT has them.
    pub(super) fn check_row(
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
                refuse_groups(&row.body, policy, before)?;
                document_rules::check_username_and_email(&doc, policy)?;
                username::check_change(before.map(|before| &before.doc), &doc)?;
                Ok((doc, Vec::new()))
            }
            Kind::Group => members::take(&mut doc, policy).map(|members| (doc, members)),
        }
    }

    /// Refuses members that neither the tenant nor the file has.
    ///
    /// # Errors
    /// [`Stopped::Refused`]; [`Stopped::Failed`] if the table does not answer.
    pub(super) async fn check_members(&self, wanted: &[Member]) -> Result<(), Stopped> {
        let unknown: Vec<&Member> = {
            let ids = self.ids();
            wanted.iter().filter(|member| ids.kind_of(&member.id).is_none()).collect()
        };
        let places = unknown.iter().filter_map(|member| Some((parse_id(&member.id)?, member.taken_for())));
        let existing = self.provider.store.members().identify(&places.collect::<Vec<_>>()).await;
        let existing = existing.map_err(Failure::from)?;
        let exists = |member: &Member| parse_id(&member.id).is_some_and(|id| existing.contains_key(&id));
        match unknown.iter().find(|member| !exists(member)) {
            Some(missing) => {
                Err(Stopped::Refused(format!("there is no member {}", shorten_text(&missing.id))))
            }
            None => Ok(()),
        }
    }

    /// Whether an earlier row of this name was planned.
    pub(super) fn is_planned(&self, name: Option<&RowName>) -> bool {
        let planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
        name.is_some_and(|name| planned.contains_key(name))
    }

    /// Notes what a row would leave, and compares it with what an earlier row of the name would leave, or with what is
    /// stored.
    fn plan(&self, row: &ResolvedRow, mut after: PlannedResource, stored: Option<PlannedResource>) -> Fate {
        let mut planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
        let name: Option<&RowName> = row.name.as_ref();
        let before = name.and_then(|name| planned.get(name)).cloned().or(stored);
        if row.kind == Kind::User {
            if let Some(before) = &before {
                document_rules::keep_active(&before.document, &mut after.document);
            }
            after.document.entry("active").or_insert(Value::Bool(true));
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
