//! Repairs what is safe to repair. Each repair is one transaction, which fails if an item has changed since
//! it was read.

use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use super::inventory::Inventory;
use super::pending;
use super::recount;
use super::report::{Finding, Problem};
use crate::scim::resource_type::Kind;
use crate::store::Store;
use crate::store::definition::DefinitionIndex;
use crate::store::error::{Refusal, StoreError};
use crate::store::item::{Item, get_text, number, text};
use crate::store::keys::{self, Key, parse_id};
use crate::store::tombstone::Tombstone;
use crate::store::transaction::{Action, Expression};

/// Repairs a finding. Returns `false` if that is not safe, or if the items have changed since they were read.
///
/// # Errors
/// [`StoreError`], if a call fails.
pub async fn repair(store: &Store, all: &Inventory, finding: &Finding) -> Result<bool, StoreError> {
    let repair = Repair { store, all, key: &finding.key, other: finding.other.as_ref() };
    match finding.problem {
        Problem::ChangeLeft => return pending::clear(store, all, &finding.key).await,
        Problem::OrphanChunks => return repair.delete_chunks().await,
        _ => {}
    }
    let actions = repair.actions(finding.problem).await?;
    if actions.is_empty() {
        return Ok(false);
    }
    match store.table.transact(|| actions.clone()).await {
        Ok(()) => Ok(true),
        Err(StoreError::Refused(_)) => Ok(false),
        Err(failed) => Err(failed),
    }
}

/// The items of one finding, and the table as it was read.
struct Repair<'a> {
    store: &'a Store,
    all: &'a Inventory,
    key: &'a Key,
    other: Option<&'a Key>,
}

impl Repair<'_> {
    /// The actions of the transaction that repairs the problem. None if a person has to look.
    async fn actions(&self, problem: Problem) -> Result<Vec<Action>, StoreError> {
        let (store, key) = (self.store, self.key);
        let actions = match problem {
            // A person has to look.
            Problem::Unknown | Problem::Unreadable | Problem::MoveOpen => None,
            Problem::ChangeGone => pending::forget(store, self.all, key),
            Problem::ChangeStaged => pending::commit(store, self.all, key),
            Problem::ChangeUnknown => pending::give_up(store, self.all, key),
            // What is wrong with the feed is not in the inventory.
            Problem::ChangeMissing
            | Problem::ChangeOrder
            | Problem::ResourceBehind
            | Problem::ResourceGone
            | Problem::FeedState
            | Problem::PageMissing
            | Problem::PageOverlap
            | Problem::PageBroken
            | Problem::OutboxBroken
            | Problem::OutboxOld
            | Problem::OutboxRepeated
            | Problem::ConsumerLost
            | Problem::ConsumerUnknown => None,
            // Not repaired by one transaction.
            Problem::ChangeLeft | Problem::OrphanChunks => None,
            Problem::OrphanClaim => self.delete_claim(),
            Problem::OrphanLookup | Problem::OrphanListEntry => self.delete_entry(),
            Problem::KeyUnlisted => self.list_key(),
            Problem::TenantUnlisted => self.list_tenant(),
            Problem::NoExpiry => Some(schedule(store, key).await?),
            Problem::TombstoneLeft => Some(self.delete_tombstone().await?),
            Problem::MissingClaim => match self.other.filter(|key| is_tombstone(store, key)) {
                Some(tombstone) => Some(claim_of_kept(store, tombstone, key.clone()).await?),
                None => self.put_claim(),
            },
            Problem::MissingLookup | Problem::MissingListEntry => self.put_entry(),
            Problem::Guard => Some(recount::guard(store, self.all).await?),
            Problem::Unguarded => Some(self.mark_guarded()),
            Problem::DefinitionIndex => Some(vec![self.index_definitions()?]),
            Problem::Counter => Some(recount::counter(store, key).await?.into_iter().collect()),
            Problem::MemberCount => match self.resource_id(key) {
                Some(id) => Some(recount::digest(store, id).await?),
                None => None,
            },
            Problem::MemberUnaware => self.add_group_to_member(),
            Problem::GroupUnaware => self.remove_group_from_resource(),
            Problem::MemberGone => self.delete_membership_without_member(),
            Problem::GroupGone => Some(self.delete_membership_without_group()),
        };
        Ok(actions.unwrap_or_default())
    }

    /// The id in the key of a resource that exists.
    fn resource_id(&self, key: &Key) -> Option<Uuid> {
        let id = parse_id(key.pk.rsplit('#').next()?)?;
        self.all.resources.contains_key(&id).then_some(id)
    }

    /// Writes the index of the roles and entitlements as these are.
    fn index_definitions(&self) -> Result<Action, StoreError> {
        let version = self.all.definition_index.as_ref().map_or(0, |index| index.version);
        DefinitionIndex::of(version, &self.all.definitions).action(&self.store.tenant)
    }

    async fn delete_chunks(&self) -> Result<bool, StoreError> {
        let pk = &self.key.pk;
        let chunks = self.store.table.query_all(pk, None).await?;
        let chunk = |item: &Item| Some(Key { pk: pk.clone(), sk: get_text(item, "sk")?.to_owned() });
        self.store.table.batch_delete(chunks.iter().filter_map(chunk)).await?;
        Ok(true)
    }

    fn delete_claim(&self) -> Option<Vec<Action>> {
        let id = self.all.claims.get(self.key)?.id?;
        let same_id = Expression::new("id = :id").value(":id", AttributeValue::S(id.to_string()));
        Some(vec![
            Action::delete(self.key.clone()).only_if(same_id, Refusal::Changed),
            self.unchanged_or_absent(Kind::User, id),
        ])
    }

    /// Deletes a look-up or a list entry that leads to nothing.
    fn delete_entry(&self) -> Option<Vec<Action>> {
        let id = parse_id(&self.key.sk)?;
        let kind = self.all.listed.get(&id).copied().unwrap_or(Kind::User);
        Some(vec![Action::delete(self.key.clone()), self.unchanged_or_absent(kind, id)])
    }

    fn unchanged_or_absent(&self, kind: Kind, id: Uuid) -> Action {
        let missing = keys::resource(&self.store.tenant, kind, id);
        check_unchanged(self.all, id).unwrap_or_else(|| check_absent(missing))
    }

    fn list_tenant(&self) -> Option<Vec<Action>> {
        let is_there = Action::check(self.other?.clone(), Expression::exists(), Refusal::Changed);
        Some(vec![Action::put(self.key.clone(), []), is_there])
    }

    fn list_key(&self) -> Option<Vec<Action>> {
        let listing = self.other?.clone();
        let entry = match self.key.pk.starts_with(keys::oauth::CLIENTS) {
            true => Item::new(),
            false => self.all.bearers.get(self.key)?.to_listing(),
        };
        Some(vec![Action::put(listing, entry).only_if(Expression::absent(), Refusal::Exists)])
    }

    fn put_claim(&self) -> Option<Vec<Action>> {
        let id = self.resource_id(self.other?)?;
        let claim = Action::put(self.key.clone(), Item::from([text("id", id.to_string())]));
        let mut actions = vec![claim.only_if(Expression::absent(), Refusal::Changed)];
        actions.extend(check_unchanged(self.all, id));
        Some(actions)
    }

    /// Puts a missing look-up or list entry.
    fn put_entry(&self) -> Option<Vec<Action>> {
        let id = self.resource_id(self.other?)?;
        let mut actions = vec![Action::put(self.key.clone(), [])];
        actions.extend(check_unchanged(self.all, id));
        Some(actions)
    }

    /// Deletes the tombstone of a user that exists. The worker deletes its date of erasure.
    async fn delete_tombstone(&self) -> Result<Vec<Action>, StoreError> {
        let Some(found) = read_tombstone(self.store, self.key).await? else { return Ok(Vec::new()) };
        let unchanged = Expression::version_is(found.record.version);
        let mut actions = vec![Action::delete(self.key.clone()).only_if(unchanged, Refusal::Changed)];
        actions.extend(check_unchanged(self.all, found.record.id));
        Ok(actions)
    }

    fn mark_guarded(&self) -> Vec<Action> {
        let set = Expression::new("SET guarded = :true").value(":true", AttributeValue::Bool(true));
        vec![Action::update(self.key.clone(), set).only_if(Expression::exists(), Refusal::Changed)]
    }

    fn add_group_to_member(&self) -> Option<Vec<Action>> {
        let member = self.other?.clone();
        Some(vec![
            Action::check(self.key.clone(), Expression::exists(), Refusal::Changed),
            groups_of(member, "ADD", self.key).only_if(Expression::exists(), Refusal::Changed),
        ])
    }

    fn remove_group_from_resource(&self) -> Option<Vec<Action>> {
        let membership = self.other?.clone();
        let update = groups_of(self.key.clone(), "DELETE", &membership);
        Some(vec![update.only_if(Expression::exists(), Refusal::Changed), check_absent(membership)])
    }

    fn delete_membership_without_member(&self) -> Option<Vec<Action>> {
        let member = self.key.sk.strip_prefix(keys::MEMBERSHIP).and_then(parse_id)?;
        let mut actions = vec![Action::delete(self.key.clone())];
        actions.extend(Kind::ALL.map(|kind| check_absent(keys::resource(&self.store.tenant, kind, member))));
        Some(actions)
    }

    fn delete_membership_without_group(&self) -> Vec<Action> {
        let mut actions = vec![check_absent(Key { pk: self.key.pk.clone(), sk: keys::GROUP.to_owned() })];
        if let Some(member) = self.other.filter(|member| self.resource_id(member).is_some()) {
            let update = groups_of(member.clone(), "DELETE", self.key);
            actions.push(update.only_if(Expression::exists(), Refusal::Changed));
        }
        actions.push(Action::delete(self.key.clone()));
        actions
    }
}

fn is_tombstone(store: &Store, key: &Key) -> bool {
    key.pk == keys::tombstones(&store.tenant)
}

async fn read_tombstone(store: &Store, tombstone: &Key) -> Result<Option<Tombstone>, StoreError> {
    match parse_id(&tombstone.sk) {
        Some(id) => store.tombstones().fetch(id).await,
        None => Ok(None),
    }
}

/// A deactivated account is as it was read.
fn update_tombstone(kept: &Tombstone, key: Key, set: Expression) -> Action {
    Action::update(key, set).only_if(Expression::version_is(kept.record.version), Refusal::Changed)
}

/// Has a deactivated account erased at its time: by the worker, no longer by the table.
async fn schedule(store: &Store, tombstone: &Key) -> Result<Vec<Action>, StoreError> {
    let Some(found) = read_tombstone(store, tombstone).await? else { return Ok(Vec::new()) };
    let until = AttributeValue::N(found.kept_until.to_string());
    let set = Expression::new("SET keptUntil = :until REMOVE #ttl").name("ttl").value(":until", until);
    let expiry = keys::expiry(&store.tenant, found.kept_until, found.record.id);
    Ok(vec![update_tombstone(&found, tombstone.clone(), set), Action::put(expiry, [])])
}

/// Puts the claim of a deactivated account on its name, which is free.
async fn claim_of_kept(store: &Store, tombstone: &Key, claim: Key) -> Result<Vec<Action>, StoreError> {
    let Some(found) = read_tombstone(store, tombstone).await? else { return Ok(Vec::new()) };
    let item = Item::from([
        text("id", found.record.id.to_string()),
        ("gone".to_owned(), AttributeValue::Bool(true)),
        number("keptUntil", found.kept_until),
    ]);
    let unchanged =
        Action::check(tombstone.clone(), Expression::version_is(found.record.version), Refusal::Changed);
    Ok(vec![Action::put(claim, item).only_if(Expression::absent(), Refusal::Changed), unchanged])
}

/// The resource is still in the version that was read; `None` for one that does not exist.
fn check_unchanged(all: &Inventory, id: Uuid) -> Option<Action> {
    let resource = all.resources.get(&id)?;
    let ver = Expression::new("ver = :ver").value(":ver", AttributeValue::N(resource.version.to_string()));
    let tenant = all.tenant.as_ref()?;
    Some(Action::check(keys::resource(tenant, resource.kind, id), ver, Refusal::Changed))
}

fn check_absent(key: Key) -> Action {
    Action::check(key, Expression::absent(), Refusal::Changed)
}

/// Adds the group of a membership to a member's groups, or takes it away.
fn groups_of(member: Key, verb: &str, membership: &Key) -> Action {
    let group = membership.pk.rsplit('#').next().unwrap_or_default().to_owned();
    let update = Expression::new(format!("{verb} #groups :group"))
        .name("groups")
        .value(":group", AttributeValue::Ss(vec![group]));
    Action::update(member, update)
}
