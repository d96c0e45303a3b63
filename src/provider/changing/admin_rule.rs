//! The rule of the last administrator: no change leaves the root team without an active one.

use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;

use super::Changing;
use crate::limits::{MAX_ADMINS, MAX_ADMINS_NAMED};
use crate::provider::failure::Failure;
use crate::scim::error::ScimError;
use crate::scim::note_texts::Rule;
use crate::scim::resource_type::Kind;
use crate::store::Store;
use crate::store::admin_guard::AdminGuard;
use crate::store::membership::Membership;
use crate::store::record::{Account, Record};
use crate::store::transaction::Action;

/// The attributes by which a product knows who somebody is.
const IDENTITY: [&str; 3] = ["userName", "emails", "externalId"];

impl Changing<'_> {
    /// What the guard must become where members come to a group or leave it.
    ///
    /// # Errors
    /// 400 `mutability` where the last active administrator would go.
    /// 400 `invalidValue` for an added user that does not exist, and for more than [`MAX_ADMINS`].
    pub(super) async fn guard_members(
        &self,
        group: &Record,
        add: &[Membership],
        remove: &[Membership],
    ) -> Result<Option<Action>, Failure> {
        if !group.guarded || (add.is_empty() && remove.is_empty()) {
            return Ok(None);
        }
        let users = |members: &[Membership]| -> Vec<Uuid> {
            members.iter().filter(|member| member.kind == Kind::User).map(|member| member.id).collect()
        };
        // An assignment of the role to the group meanwhile raises the group's version, so this write fails.
        if self
            .provider
            .store
            .admin_guard()
            .fetch()
            .await?
            .is_none_or(|guard| !guard.granting.contains(&group.id))
        {
            return Ok(None);
        }
        let Some((before, mut after)) = read_guard_for(&self.provider.store, &users(add)).await? else {
            return Ok(None);
        };
        for user in self.provider.store.fetch_activity(&users(add)).await? {
            after.join(group.id, user.id, user.is_active);
        }
        for user in users(remove) {
            after.leave(group.id, user);
        }
        if before.admins != after.admins {
            self.refuse_if_protected("Who is in this group decides who administers the tenant")?;
        }
        Ok(Some(guard_write(&self.provider.store, &before, &after).await?))
    }

    /// What the guard must become where a user changes; `None` of `after` is its deletion.
    ///
    /// # Errors
    /// 400 `mutability` where the last active administrator would go.
    pub(super) async fn guard_user(
        &self,
        before: &Record,
        after: Option<&Record>,
    ) -> Result<Option<Action>, Failure> {
        let same = after.is_some_and(|after| after.is_active() == before.is_active());
        if before.kind != Kind::User || !before.guarded || same {
            return Ok(None);
        }
        let Some(guard) = self.provider.store.admin_guard().fetch().await? else { return Ok(None) };
        let mut changed = guard.clone();
        match after {
            Some(after) => changed.set_active(before.id, after.is_active()),
            None => changed.forget_user(before.id),
        }
        Ok(Some(guard_write(&self.provider.store, &guard, &changed).await?))
    }

    /// Enforces the setting that keeps identity providers away from the root team. It refuses every change
    /// of the break-glass account. It refuses a change by which an administrator would be another person:
    /// a deletion, or another name, address or activity. `None` of `after` is the deletion. Only marked
    /// users cost a read.
    ///
    /// # Errors
    /// 400 `mutability`.
    pub(super) async fn refuse_protected_user(
        &self,
        before: &Record,
        after: Option<&Record>,
    ) -> Result<(), Failure> {
        if !self.provider.root_team_protected || before.kind != Kind::User || !before.guarded {
            return Ok(());
        }
        let guard = self.provider.store.admin_guard().fetch().await?;
        if !guard.is_some_and(|guard| guard.admins.contains_key(&before.id)) {
            return Ok(());
        }
        if before.account == Account::Local {
            self.refuse_if_protected("This is the local account of an administrator")?;
        }
        let same_person = after.is_some_and(|after| {
            after.is_active() == before.is_active()
                && IDENTITY.iter().all(|name| before.doc.get(*name) == after.doc.get(*name))
        });
        if !same_person {
            self.refuse_if_protected("This user administers the tenant")?;
        }
        Ok(())
    }

    /// # Errors
    /// 400 `mutability` where the tenant keeps identity providers away from its root team.
    fn refuse_if_protected(&self, why: &str) -> Result<(), ScimError> {
        if !self.provider.root_team_protected {
            return Ok(());
        }
        self.provider.store.table.note_admin_rule_refusal();
        Err(ScimError::mutability(format!(
            "{why}, and the tenant keeps identity providers away from that: nothing was changed. Let the operator do it, or lift the protection with: rollcall tenant set {} --protect-root-team false",
            self.provider.store.tenant
        ))
        .by(Rule::RootTeam, ""))
    }

    /// What the guard must become where a group is deleted.
    ///
    /// # Errors
    /// 400 `mutability` for the root team, and where the last active administrator would go.
    pub(super) async fn guard_group_deleted(&self, group: &Record) -> Result<Option<Action>, Failure> {
        if group.kind != Kind::Group || !group.guarded {
            return Ok(None);
        }
        let Some(guard) = self.provider.store.admin_guard().fetch().await? else { return Ok(None) };
        if guard.root == group.id {
            self.provider.store.table.note_admin_rule_refusal();
            return Err(ScimError::mutability(
                "This is the root team, whose administrators administer the tenant: it cannot be deleted. It can be renamed.",
            )
            .by(Rule::RootTeam, "")
            .into());
        }
        if guard.granting.contains(&group.id) {
            self.refuse_if_protected("The members of this group administer the tenant")?;
        }
        let mut changed = guard.clone();
        changed.forget_group(group.id);
        Ok(Some(guard_write(&self.provider.store, &guard, &changed).await?))
    }
}

/// Marks users as guarded, and then reads the guard: once to compare with, once to change. A later change
/// of whether a marked user is active writes the guard too. `None` if the tenant has no guard.
///
/// # Errors
/// 400 `invalidValue` for more users than the guard holds, none of whom is marked then, and for one
/// that does not exist.
pub async fn read_guard_for(
    store: &Store,
    users: &[Uuid],
) -> Result<Option<(AdminGuard, AdminGuard)>, Failure> {
    if users.len() > MAX_ADMINS {
        return Err(too_many().into());
    }
    store.admin_guard().mark_users(users).await?;
    Ok(store.admin_guard().fetch().await?.map(|guard| (guard.clone(), guard)))
}

fn too_many() -> ScimError {
    ScimError::invalid_value(format!(
        "The root team can have {MAX_ADMINS} administrators at most, through all groups that grant the role."
    ))
}

/// Makes the action that writes the guard after a change of the administrators.
///
/// # Errors
/// `mutability` if no active administrator would be left: it names the last ones. `invalidValue` for more
/// administrators than the guard holds.
pub async fn guard_write(store: &Store, before: &AdminGuard, after: &AdminGuard) -> Result<Action, Failure> {
    if after.admins.len() > MAX_ADMINS && after.admins.len() > before.admins.len() {
        return Err(too_many().into());
    }
    if before.is_emptied_by(after) {
        store.table.note_admin_rule_refusal();
        let last: Vec<Uuid> = before.active().take(MAX_ADMINS_NAMED).collect();
        let found = store.fetch_many(Kind::User, &last).await?;
        let names: BTreeMap<Uuid, &str> = found
            .iter()
            .filter_map(|user| Some((user.id, user.doc.get("userName").and_then(Value::as_str)?)))
            .collect();
        let named: Vec<&str> = last.iter().filter_map(|id| names.get(id).copied()).collect();
        let more = if before.active().count() > MAX_ADMINS_NAMED { " and others" } else { "" };
        return Err(ScimError::mutability(format!(
            "This would leave the root team without an active administrator; {}{more} would be the last to go. Make another active user an administrator first.",
            named.join(", ")
        ))
        .by(Rule::LastAdmin, "")
        .into());
    }
    Ok(after.action(&store.tenant))
}
