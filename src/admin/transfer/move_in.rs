//! `rollcall import --keep-ids`: moves a tenant from another deployment into an empty one. Ids, versions, times
//! and deactivated accounts stay as they were.
//!
//! 1. The root team and the break-glass administrator of the new tenant are deleted. The tenant names the root team
//!    of the file from now on. Until the end it has no admin guard, which tells that the import has begun.
//! 2. Users, groups, members and deactivated accounts are written. None of them has a change in the feed: their
//!    versions were not made here.
//! 3. The admin guard is written in the transaction that ends the import with the change `tenant.resync`.
//!
//! An import that was interrupted begins again at step 2, and finds what it has written.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::{StreamExt, stream};
use uuid::Uuid;

use super::definitions::{self, DefinitionLine, move_definition_in};
use super::import::{Fate, ImportedLine, Stopped};
use super::kept_file::{KeptAccount, KeptFile, KeptGroup, KeptResource};
use crate::admin::actor::ACTOR;
use crate::admin::error::AdminError;
use crate::admin::tenant;
use crate::auth::tenant::TenantRecord;
use crate::clock;
use crate::limits::{IMPORTS_AT_ONCE, MAX_MEMBER_CHANGES_PER_TX};
use crate::scim::resource_type::{Kind, Model};
use crate::store::Store;
use crate::store::admin_guard::AdminGuard;
use crate::store::call::Table;
use crate::store::claim::is_free;
use crate::store::delete::{Detachment, ResourceDeletion};
use crate::store::error::{Refusal, StoreError};
use crate::store::event;
use crate::store::item::Item;
use crate::store::keys::{self, TenantId};
use crate::store::large_change::settle::SettledChanges;
use crate::store::list::IdPage;
use crate::store::membership::{Membership, move_members_in};
use crate::store::record::Record;
use crate::store::resource_actions::create_resource;
use crate::store::tombstone::{ErasedAccount, Tombstone, move_tombstone_in};
use crate::store::transaction::{Action, Expression};
use crate::tenants::actor::Actor;
use crate::tenants::record::resync;

/// A move on its way.
struct MoveIn<'a> {
    store: Store,
    tenant: TenantRecord,
    model: &'a Model,
    file: &'a KeptFile,
}

/// How far an earlier run came.
enum MoveState {
    /// The tenant is new. It has this admin guard.
    New(AdminGuard),
    /// An import of this file has begun.
    Begun,
}

/// What is written together. Each stage needs those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MoveStage {
    /// Users.
    Users,
    /// Groups without members.
    Groups,
    /// The members of groups.
    Members,
    /// Deactivated and erased accounts.
    Kept,
}

impl KeptResource {
    const fn stage(&self) -> MoveStage {
        match self {
            Self::User(_) => MoveStage::Users,
            Self::Group(_) => MoveStage::Groups,
            Self::Deactivated(_) | Self::Erased(_) => MoveStage::Kept,
        }
    }
}

/// Moves the tenant of a file into an empty tenant, and tells `progress` after each line how many there were. With
/// `dry_run` nothing is written.
///
/// If lines are refused, the others are written, and the import does not end. It ends with a run that refuses
/// none.
///
/// # Errors
/// - [`AdminError::NoTenant`], [`AdminError::BeingDeleted`].
/// - [`AdminError::Input`] if the file is not whole or of another policy, and if the tenant is not empty.
/// - [`AdminError::Table`] if a call fails.
pub async fn move_in(
    table: &Table,
    id: &TenantId,
    text: &str,
    dry_run: bool,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vec<ImportedLine>, AdminError> {
    let tenant = tenant::get_lasting(table, id).await?;
    let model = tenant::model(tenant.policy)?;
    let file = KeptFile::read(text, &tenant, &model)?;
    let store = Store {
        table: table.clone(),
        tenant: id.clone(),
        actor: ACTOR.to_owned(),
        request_id: Uuid::now_v7().to_string(),
    };
    let mut moved = MoveIn { store, tenant, model: &model, file: &file };
    let state = moved.read_state().await?;
    if dry_run {
        return Ok(moved.plan());
    }
    if let MoveState::New(guard) = state {
        moved.begin(&guard).await.map_err(AdminError::table(table.name()))?;
    }
    let mut outcomes = moved.write_lines(progress).await?;
    outcomes.extend(moved.write_definitions().await?);
    outcomes.sort_by_key(|outcome| outcome.line);
    if outcomes.iter().all(|outcome| outcome.fate != Fate::Refused) {
        let ends = [file.admin_guard().action(id), Action::delete(keys::move_mark(id))];
        let ended = resync(table, &Actor::operator(), id, clock::now(), &ends).await;
        ended.map_err(AdminError::of(table))?;
    }
    Ok(outcomes)
}

impl MoveIn<'_> {
    /// Reads how far an earlier run came.
    async fn read_state(&self) -> Result<MoveState, AdminError> {
        let failed = AdminError::table(self.store.table.name());
        let guard = self.store.admin_guard().fetch().await.map_err(&failed)?;
        let has_begun = self.tenant.root_team == Some(self.file.root_team);
        let id = &self.tenant.id;
        match guard {
            None if has_begun => Ok(MoveState::Begun),
            Some(_) if has_begun => Err(AdminError::Input(format!(
                "tenant {id} has the root team of the file: the import has ended already, and nothing is left to do"
            ))),
            Some(guard) if self.is_empty(&guard).await.map_err(&failed)? => Ok(MoveState::New(guard)),
            _ => Err(AdminError::Input(format!(
                "tenant {id} is not empty: make a new tenant with `rollcall tenant create` and import into that"
            ))),
        }
    }

    /// Whether the tenant has nothing but the root team and its administrator.
    async fn is_empty(&self, guard: &AdminGuard) -> Result<bool, StoreError> {
        let IdPage { ids: users, .. } = self.store.list_page(Kind::User, None, 2).await?;
        let IdPage { ids: groups, .. } = self.store.list_page(Kind::Group, None, 2).await?;
        let tombstones = self.store.table.count(&keys::tombstones(&self.store.tenant)).await?;
        let defined = self.store.definitions().index().await?;
        let is_own = defined.version == 0
            && users.len() < 2
            && users.iter().all(|user| guard.admins.contains_key(user));
        Ok(is_own && groups == [guard.root] && tombstones == 0)
    }

    /// Deletes what the tenant was made with. From now on it names the root team of the file, and it has what was
    /// set for the tenant of the file.
    async fn begin(&mut self, guard: &AdminGuard) -> Result<(), StoreError> {
        for user in guard.admins.keys() {
            if let Some(user) = self.store.fetch(Kind::User, *user).await? {
                self.delete(&user, &[], "user.deleted", &[]).await?;
            }
        }
        let Some(root) = self.store.members().fetch_group(guard.root).await? else {
            return Err(StoreError::Refused(vec![Refusal::Changed]));
        };
        let mut after = self.tenant.clone();
        after.root_team = Some(self.file.root_team);
        after.settings = self.file.settings.clone();
        after.version += 1;
        let changed = Actor { id: ACTOR.to_owned(), request_id: self.store.request_id.clone() };
        let now = clock::now();
        let changed = changed.event("tenant.updated", after.subject(after.version), now);
        let changed = changed.attributes(["settings", "rootTeam"]);
        let settings = after.to_item()?.remove("settings").unwrap_or(AttributeValue::Null(true));
        let update = Expression::update()
            .set("rootTeam", AttributeValue::S(self.file.root_team.to_string()))
            .set("settings", settings)
            .set("ver", AttributeValue::N(after.version.to_string()));
        let actions = [
            Action::delete(keys::admin_guard(&self.store.tenant))
                .only_if(Expression::version_is(guard.version), Refusal::Changed),
            Action::put(keys::move_mark(&self.store.tenant), []),
            Action::update(keys::tenant(&self.store.tenant), update)
                .only_if(self.tenant.is_unchanged(), Refusal::Changed),
            event::action(&self.store.tenant, &changed),
        ];
        self.delete(&root.record, &root.members, "group.deleted", &actions).await?;
        self.tenant = after;
        Ok(())
    }

    async fn delete(
        &self,
        record: &Record,
        members: &[Membership],
        event_type: &'static str,
        extra_actions: &[Action],
    ) -> Result<(), StoreError> {
        let deletion = ResourceDeletion {
            record,
            members: Some(members),
            groups: Detachment::Now,
            settled: &SettledChanges::default(),
            ty: self.model.of(record.kind),
            event: &self.store.event_of_version(event_type, record, record.version + 1),
            tombstone_until: None,
            extra_actions,
        };
        self.store.delete(&deletion).await.map(drop)
    }

    /// What would become of the lines.
    fn plan(&self) -> Vec<ImportedLine> {
        let plan = self.file.lines.iter().map(|line| match &line.resource {
            Ok(resource) => outcome(line.line, Some(resource.id()), Ok(Fate::Created)),
            Err(problem) => outcome(line.line, None, Err(problem.clone())),
        });
        let definitions = self.file.definitions.iter().map(|line| match &line.definition {
            Ok(definition) => definitions::outcome(line.line, Some(&definition.id), Ok(Fate::Created)),
            Err(problem) => definitions::outcome(line.line, None, Err(problem.clone())),
        });
        plan.chain(definitions).collect()
    }

    /// Writes roles and entitlements, one after another: all of them are in one index.
    async fn write_definitions(&self) -> Result<Vec<ImportedLine>, AdminError> {
        let failed = AdminError::table(self.store.table.name());
        let mut outcomes = Vec::with_capacity(self.file.definitions.len());
        for DefinitionLine { line, definition } in &self.file.definitions {
            let definition = match definition {
                Ok(definition) => definition,
                Err(problem) => {
                    outcomes.push(definitions::outcome(*line, None, Err(problem.clone())));
                    continue;
                }
            };
            let id = definition.id.as_str();
            let fate = match move_definition_in(&self.store, definition).await.map_err(&failed)? {
                Fate::Refused => {
                    Err(format!("the tenant has {id} with other content: import into a new tenant"))
                }
                fate => Ok(fate),
            };
            outcomes.push(definitions::outcome(*line, Some(id), fate));
        }
        Ok(outcomes)
    }

    /// Writes all lines.
    async fn write_lines(&self, progress: &(dyn Fn(usize) + Sync)) -> Result<Vec<ImportedLine>, AdminError> {
        let mut done = BTreeMap::new();
        for stage in [MoveStage::Users, MoveStage::Groups, MoveStage::Members, MoveStage::Kept] {
            self.write_stage(stage, &mut done, progress).await?;
        }
        let outcomes = self.file.lines.iter().map(|line| match &line.resource {
            Ok(resource) => outcome(
                line.line,
                Some(resource.id()),
                done.remove(&line.line).unwrap_or(Ok(Fate::Unchanged)),
            ),
            Err(problem) => outcome(line.line, None, Err(problem.clone())),
        });
        Ok(outcomes.collect())
    }

    /// Writes the lines of one stage side by side.
    async fn write_stage(
        &self,
        stage: MoveStage,
        done: &mut BTreeMap<usize, Result<Fate, String>>,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<(), AdminError> {
        let is_due = |line: usize, resource: &KeptResource| match stage {
            // A group that was refused gets no members.
            MoveStage::Members => {
                matches!(done.get(&line), Some(Ok(_))) && resource.stage() == MoveStage::Groups
            }
            stage => resource.stage() == stage,
        };
        let lines = self.file.lines.iter().filter_map(|line| Some((line.line, line.resource.as_ref().ok()?)));
        let due: Vec<_> = lines.filter(|(line, resource)| is_due(*line, resource)).collect();
        let writes = due.into_iter().map(|(line, resource)| async move {
            let written = match resource {
                KeptResource::User(record) => self.write_record(record).await,
                KeptResource::Group(group) if stage == MoveStage::Groups => {
                    self.write_record(&group.record).await
                }
                KeptResource::Group(group) => self.write_members(group).await,
                KeptResource::Deactivated(account) => self.write_tombstone(account).await,
                KeptResource::Erased(erased) => self.write_erased(erased).await,
            };
            (line, written)
        });
        let mut writes = stream::iter(writes).buffer_unordered(IMPORTS_AT_ONCE);
        while let Some((line, written)) = writes.next().await {
            let fate = match written {
                Ok(Fate::Unchanged) if matches!(done.get(&line), Some(Ok(_))) => continue,
                Ok(fate) => Ok(fate),
                Err(Stopped::Refused(problem) | Stopped::Busy(problem)) => Err(problem),
                Err(Stopped::Failed(error)) => return Err(error),
            };
            done.insert(line, fate);
            progress(done.len());
        }
        Ok(())
    }

    fn failed(&self, error: StoreError) -> Stopped {
        Stopped::Failed(AdminError::table(self.store.table.name())(error))
    }

    /// Writes a user, or a group without members, if the tenant does not have it.
    async fn write_record(&self, record: &Record) -> Result<Fate, Stopped> {
        let (tenant, ty) = (&self.store.tenant, self.model.of(record.kind));
        let form = self.store.table.email_lookups;
        let created =
            self.store.table.transact(|| create_resource(tenant, record, ty, &is_free(), form)).await;
        match created {
            Ok(()) => return Ok(Fate::Created),
            Err(StoreError::Refused(_)) => {}
            Err(error) => return Err(self.failed(error)),
        }
        let found = self.store.fetch(record.kind, record.id).await.map_err(|error| self.failed(error))?;
        match found {
            Some(found) if is_same(&found, record) => Ok(Fate::Unchanged),
            Some(_) => Err(other_content(record.id)),
            None => Err(Stopped::Refused("another resource of the tenant has this name".to_owned())),
        }
    }

    /// Gives a group those of its members that it does not have.
    async fn write_members(&self, group: &KeptGroup) -> Result<Fate, Stopped> {
        let id = group.record.id;
        let found = self.store.members().fetch_group(id).await.map_err(|error| self.failed(error))?;
        let Some(mut found) = found else { return Err(other_content(id)) };
        let there: BTreeSet<Uuid> = found.members.iter().map(|member| member.id).collect();
        let wanted: BTreeSet<Uuid> = group.members.iter().map(|member| member.id).collect();
        if !there.is_subset(&wanted) {
            return Err(other_content(id));
        }
        let missing: Vec<Membership> =
            group.members.iter().filter(|member| !there.contains(&member.id)).cloned().collect();
        for some in missing.chunks(MAX_MEMBER_CHANGES_PER_TX) {
            self.add_members(&mut found.record, some).await?;
        }
        Ok(if missing.is_empty() { Fate::Unchanged } else { Fate::Created })
    }

    /// Adds some members. If they are too large for one transaction, each half is added in its own.
    async fn add_members(&self, group: &mut Record, some: &[Membership]) -> Result<(), Stopped> {
        let tenant = &self.store.tenant;
        match self.store.table.transact(|| move_members_in(tenant, group, some)).await {
            Ok(()) => {
                group.digest = group.digest.with(some.iter().map(|member| member.id));
                Ok(())
            }
            Err(StoreError::TransactionTooLarge) if some.len() > 1 => {
                let (first, second) = some.split_at(some.len() / 2);
                Box::pin(self.add_members(group, first)).await?;
                Box::pin(self.add_members(group, second)).await
            }
            Err(StoreError::Refused(why)) => {
                let missing = why.iter().find_map(Refusal::member);
                Err(missing.map_or_else(
                    || other_content(group.id),
                    |member| Stopped::Refused(format!("the tenant has no member {member}")),
                ))
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    async fn write_tombstone(&self, account: &KeptAccount) -> Result<Fate, Stopped> {
        let (tenant, ty) = (&self.store.tenant, self.model.of(Kind::User));
        let KeptAccount { tombstone, holds_name } = account;
        let actions = || move_tombstone_in(tenant, tombstone, ty, *holds_name);
        match self.store.table.transact(actions).await {
            Ok(()) => return Ok(Fate::Created),
            Err(StoreError::Refused(_)) => {}
            Err(error) => return Err(self.failed(error)),
        }
        let wanted = &tombstone.record;
        let Some(item) = self.fetch_tombstone(wanted.id).await? else {
            return Err(Stopped::Refused("another resource of the tenant has this name".to_owned()));
        };
        // Its retention may have ended since an earlier run.
        let is_erased = ErasedAccount::from_item(&item).is_some_and(|erased| erased.version > wanted.version);
        let found = Tombstone::from_item(tenant, item).map_err(|error| self.failed(error))?;
        let is_there = found
            .is_some_and(|found| is_same(&found.record, wanted) && found.kept_until == tombstone.kept_until);
        if is_there || is_erased { Ok(Fate::Unchanged) } else { Err(other_content(wanted.id)) }
    }

    async fn write_erased(&self, erased: &ErasedAccount) -> Result<Fate, Stopped> {
        match self.store.table.transact(|| vec![erased.move_in(&self.store.tenant)]).await {
            Ok(()) => return Ok(Fate::Created),
            Err(StoreError::Refused(_)) => {}
            Err(error) => return Err(self.failed(error)),
        }
        let found = self.fetch_tombstone(erased.id).await?;
        let is_there = found.as_ref().and_then(ErasedAccount::from_item).as_ref() == Some(erased);
        if is_there { Ok(Fate::Unchanged) } else { Err(other_content(erased.id)) }
    }

    async fn fetch_tombstone(&self, id: Uuid) -> Result<Option<Item>, Stopped> {
        let key = keys::tombstone(&self.store.tenant, id);
        self.store.table.get(&key).await.map_err(|error| self.failed(error))
    }
}

fn outcome(line: usize, id: Option<Uuid>, fate: Result<Fate, String>) -> ImportedLine {
    let id = id.map(|id| id.to_string());
    match fate {
        Ok(fate) => ImportedLine { line, fate, id, error: None },
        Err(problem) => ImportedLine { line, fate: Fate::Refused, id, error: Some(problem) },
    }
}

fn other_content(id: Uuid) -> Stopped {
    Stopped::Refused(format!("the tenant has {id} with other content: import into a new tenant"))
}

/// Whether the table has a resource as the file does, apart from a group's members.
fn is_same(found: &Record, wanted: &Record) -> bool {
    found.version == wanted.version
        && (&found.created, &found.modified) == (&wanted.created, &wanted.modified)
        && found.doc == wanted.doc
        && found.account == wanted.account
        && found.assignments() == wanted.assignments()
}
