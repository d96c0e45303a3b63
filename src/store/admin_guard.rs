//! The admin guard: who administers the root team of a tenant, and through which groups.
//!
//! It is one item. Every change that grants or takes the role writes it, on condition that it is still
//! in the version that was read. So two changes that each leave one administrator cannot both happen.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Store;
use super::error::{Refusal, StoreError};
use super::expression::Expression;
use super::item::{Item, get_ids, get_number, id_set, must_text, number, text};
use super::keys::{self, TenantId, parse_id};
use super::transaction::Action;
use crate::limits::MAX_ACTIONS_PER_TX;
use crate::scim::resource_type::Kind;

/// The role of the root team that administers the tenant.
pub const ADMIN: &str = "admin";

/// Why a user is an administrator of the root team.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminGrant {
    /// The groups that grant the role, of which the user is a member.
    pub groups: BTreeSet<Uuid>,
    /// Whether the user is active. The role of an inactive user does not count.
    pub active: bool,
}

/// The administrators of a tenant: the item `T#t#ADMIN`/`ADMIN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminGuard {
    /// The version, which is the number of changes.
    pub version: u64,
    /// The root team.
    pub root: Uuid,
    /// The groups whose members have the role.
    pub granting: BTreeSet<Uuid>,
    /// The users in those groups.
    pub admins: BTreeMap<Uuid, AdminGrant>,
}

impl AdminGuard {
    /// The guard of a new tenant, whose root team has these administrators.
    pub fn new(root: Uuid, admins: &[Uuid]) -> Self {
        let mut guard = Self { version: 0, root, granting: BTreeSet::from([root]), admins: BTreeMap::new() };
        for user in admins {
            guard.join(root, *user, true);
        }
        guard
    }

    /// Reads the item.
    ///
    /// # Errors
    /// [`StoreError::Broken`] when the item is not what [`AdminGuard::action`] writes.
    pub fn from_item(item: &Item) -> Result<Self, StoreError> {
        let broken = || StoreError::Broken("the guard of the root team cannot be read".to_owned());
        Ok(Self {
            version: get_number(item, "ver").ok_or_else(broken)?,
            root: parse_id(must_text(item, "root")?).ok_or_else(broken)?,
            granting: get_ids(item, "granting"),
            admins: serde_json::from_str(must_text(item, "admins")?).map_err(|_| broken())?,
        })
    }

    /// The action that writes the guard as its next version. It is refused as [`Refusal::Changed`] if the
    /// guard is not in the version that was read.
    pub fn action(&self, tenant: &TenantId) -> Action {
        let admins = serde_json::to_string(&self.admins).unwrap_or_default();
        let mut item = Item::from([
            number("ver", self.version + 1),
            text("root", self.root.to_string()),
            text("admins", &admins),
        ]);
        if !self.granting.is_empty() {
            item.insert("granting".to_owned(), id_set(&self.granting));
        }
        let unchanged = Expression::version_is_or_absent(self.version);
        Action::put(keys::admin_guard(tenant), item).only_if(unchanged, Refusal::Changed)
    }

    /// The active administrators.
    pub fn active(&self) -> impl Iterator<Item = Uuid> {
        self.admins.iter().filter(|(_, grant)| grant.active).map(|(id, _)| *id)
    }

    /// Whether the root team has an active administrator now, and would have none by `after`.
    pub fn is_emptied_by(&self, after: &Self) -> bool {
        self.active().next().is_some() && after.active().next().is_none()
    }

    /// Adds a user who has become a member of a group that grants the role.
    pub fn join(&mut self, group: Uuid, user: Uuid, active: bool) {
        let grant = self.admins.entry(user).or_insert_with(|| AdminGrant { groups: BTreeSet::new(), active });
        grant.groups.insert(group);
        grant.active = active;
    }

    /// Removes a user who is no longer a member of such a group.
    pub fn leave(&mut self, group: Uuid, user: Uuid) {
        if let Some(grant) = self.admins.get_mut(&user) {
            grant.groups.remove(&group);
        }
        self.admins.retain(|_, grant| !grant.groups.is_empty());
    }

    /// Removes a group that no longer grants the role.
    pub fn forget_group(&mut self, group: Uuid) {
        self.granting.remove(&group);
        for grant in self.admins.values_mut() {
            grant.groups.remove(&group);
        }
        self.admins.retain(|_, grant| !grant.groups.is_empty());
    }

    /// Removes a user who is deleted.
    pub fn forget_user(&mut self, user: Uuid) {
        self.admins.remove(&user);
    }

    /// Notes that a user is deactivated or reactivated.
    pub fn set_active(&mut self, user: Uuid, active: bool) {
        if let Some(grant) = self.admins.get_mut(&user) {
            grant.active = active;
        }
    }
}

/// The admin guard of a tenant in the table.
#[derive(Clone, Copy, Debug)]
pub struct AdminGuardHandle<'a> {
    store: &'a Store,
}

impl Store {
    /// The tenant's admin guard.
    pub fn admin_guard(&self) -> AdminGuardHandle<'_> {
        AdminGuardHandle { store: self }
    }
}

impl AdminGuardHandle<'_> {
    /// Reads the guard. `None` for a tenant without a root team, where the rule does not apply.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn fetch(self) -> Result<Option<AdminGuard>, StoreError> {
        let item = self.store.table.get(&keys::admin_guard(&self.store.tenant)).await?;
        item.as_ref().map(AdminGuard::from_item).transpose()
    }

    /// Marks users before they are written into the guard. From now on, each transaction that
    /// deactivates, reactivates or deletes one of them also writes the guard. A mark of a user that is
    /// not in the guard costs one read more, and nothing else.
    ///
    /// # Errors
    /// [`StoreError::Refused`] with [`Refusal::Member`] if one of them does not exist.
    pub async fn mark_users(self, users: &[Uuid]) -> Result<(), StoreError> {
        for some in users.chunks(MAX_ACTIONS_PER_TX) {
            self.mark_together(some).await?;
        }
        Ok(())
    }

    /// Marks some users. If they are too large for one transaction, each half is marked in its own.
    async fn mark_together(self, some: &[Uuid]) -> Result<(), StoreError> {
        let marked = self
            .store
            .table
            .transact(|| {
                let mark = |user: &Uuid| {
                    let set = Expression::update().set("guarded", AttributeValue::Bool(true));
                    Action::update(keys::resource(&self.store.tenant, Kind::User, *user), set)
                        .only_if(Expression::exists(), Refusal::Member(*user))
                };
                some.iter().map(mark).collect()
            })
            .await;
        match marked {
            Err(StoreError::TransactionTooLarge) if some.len() > 1 => {
                let (first, second) = some.split_at(some.len() / 2);
                Box::pin(self.mark_together(first)).await?;
                Box::pin(self.mark_together(second)).await
            }
            outcome => outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::transaction::ActionKind;

    fn ids() -> [Uuid; 4] {
        [1, 2, 3, 4].map(Uuid::from_u128)
    }

    #[test]
    fn a_user_is_an_administrator_through_any_of_its_groups() {
        let [root, other, user, second] = ids();
        let mut guard = AdminGuard::new(root, &[user]);
        let before = guard.clone();
        guard.granting.insert(other);
        guard.join(other, user, true);
        guard.leave(root, user);
        assert!(!before.is_emptied_by(&guard));
        guard.leave(other, user);
        assert!(before.is_emptied_by(&guard));
        guard.join(other, second, false);
        assert!(before.is_emptied_by(&guard), "asleep");
        guard.set_active(second, true);
        assert!(!before.is_emptied_by(&guard));
        guard.forget_group(other);
        assert!(guard.admins.is_empty() && before.is_emptied_by(&guard));
        assert!(!guard.is_emptied_by(&guard), "what is empty cannot be emptied");
    }

    #[test]
    fn a_guard_reads_back_as_its_next_version() {
        let [root, other, user, _] = ids();
        let mut guard = AdminGuard::new(root, &[user]);
        guard.granting.insert(other);
        guard.join(other, user, false);
        let action = guard.action(&"acme".parse().expect("a tenant"));
        let ActionKind::Put(item) = action.kind else { unreachable!() };
        assert_eq!(
            AdminGuard::from_item(&Item::from_iter(item)).expect("whole"),
            AdminGuard { version: 1, ..guard }
        );
        assert!(AdminGuard::from_item(&Item::new()).is_err());
    }
}
