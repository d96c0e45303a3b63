//! Mending what is safe to mend: each by a transaction that holds only if all is still as found.

use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use super::inventory::{Inventory, Resource};
use super::recount;
use super::report::{Finding, Problem};
use crate::scim::resource_type::Kind;
use crate::store::Store;
use crate::store::error::{Refusal, StoreError};
use crate::store::item::{Item, number, text};
use crate::store::keys::{self, Key, parse_id};
use crate::store::tombstone::Tombstone;
use crate::store::transaction::{Action, Expression};

/// Mends a finding. `false` where that is not safe, or something changed meanwhile.
///
/// # Errors
/// As every call.
pub async fn repair(store: &Store, all: &Inventory, finding: &Finding) -> Result<bool, StoreError> {
    let key = finding.key.clone();
    let resource = |key: &Key| -> Option<(Uuid, &Resource)> {
        let id = parse_id(key.pk.rsplit('#').next()?)?;
        Some((id, all.resources.get(&id)?))
    };
    let actions = match finding.problem {
        // Two holders of one value, a change that lost its group, or what nobody knows: someone
        // has to look.
        Problem::ChangeGone | Problem::ChangeUnknown | Problem::Unknown => return Ok(false),
        Problem::ChangeLeft => {
            let Some(change) = all.pending.iter().find(|change| change.key() == key) else {
                return Ok(false);
            };
            return store.abort(change).await;
        }
        Problem::OrphanChunks => {
            let chunks = store.table.query_all(&key.pk, None).await?;
            let chunk = |item: &Item| {
                Some(Key { pk: key.pk.clone(), sk: crate::store::item::get_text(item, "sk")?.to_owned() })
            };
            store.table.batch_delete(chunks.iter().filter_map(chunk)).await?;
            return Ok(true);
        }
        Problem::OrphanClaim => {
            let Some(id) = all.claims.get(&key).and_then(|claim| claim.id) else { return Ok(false) };
            let mut actions = vec![Action::delete(key).only_if(
                Expression::new("id = :id").value(":id", AttributeValue::S(id.to_string())),
                Refusal::Changed,
            )];
            let holder = keys::resource(&store.tenant, Kind::User, id);
            actions.push(unchanged(all, id).unwrap_or_else(|| absent(holder)));
            actions
        }
        Problem::OrphanLookup | Problem::OrphanListEntry => {
            let Some(id) = parse_id(&key.sk) else { return Ok(false) };
            let listed = all.listed.get(&id).copied().unwrap_or(Kind::User);
            let missing = keys::resource(&store.tenant, listed, id);
            vec![Action::delete(key), unchanged(all, id).unwrap_or_else(|| absent(missing))]
        }
        Problem::KeyUnlisted => {
            let (Some(listing), Some(bearer)) = (finding.other.clone(), all.bearers.get(&key)) else {
                return Ok(false);
            };
            vec![Action::put(listing, bearer.to_listing()).only_if(Expression::absent(), Refusal::Exists)]
        }
        Problem::NoExpiry => schedule(store, &key).await?,
        Problem::MissingClaim if is_tombstone(store, finding.other.as_ref()) => {
            let Some(tombstone) = finding.other.clone() else { return Ok(false) };
            claim_of_kept(store, &tombstone, key).await?
        }
        Problem::MissingClaim => {
            let Some((id, _)) = finding.other.as_ref().and_then(resource) else { return Ok(false) };
            let claim = Item::from([text("id", &id.to_string())]);
            let mut actions = vec![Action::put(key, claim).only_if(Expression::absent(), Refusal::Changed)];
            actions.extend(unchanged(all, id));
            actions
        }
        Problem::MissingLookup | Problem::MissingListEntry => {
            let Some((id, _)) = finding.other.as_ref().and_then(resource) else { return Ok(false) };
            let mut actions = vec![Action::put(key, Item::new())];
            actions.extend(unchanged(all, id));
            actions
        }
        Problem::Guard => recount::guard(store, all).await?.into_iter().collect(),
        Problem::Unguarded => {
            let set = Expression::new("SET guarded = :true").value(":true", AttributeValue::Bool(true));
            vec![Action::update(key, set).only_if(Expression::exists(), Refusal::Changed)]
        }
        Problem::Counter => recount::counter(store, &key).await?.into_iter().collect(),
        Problem::MemberCount => {
            let Some((id, _)) = resource(&key) else { return Ok(false) };
            recount::tally(store, id).await?.into_iter().collect()
        }
        Problem::MemberUnaware => {
            let Some(member) = finding.other.clone() else { return Ok(false) };
            vec![
                Action::check(key.clone(), Expression::exists(), Refusal::Changed),
                groups_of(member, "ADD", &key).only_if(Expression::exists(), Refusal::Changed),
            ]
        }
        Problem::GroupUnaware => {
            let Some(membership) = finding.other.clone() else { return Ok(false) };
            vec![
                groups_of(key, "DELETE", &membership).only_if(Expression::exists(), Refusal::Changed),
                absent(membership),
            ]
        }
        Problem::MemberGone => {
            let Some(member) = key.sk.strip_prefix(keys::MEMBERSHIP).and_then(parse_id) else {
                return Ok(false);
            };
            let mut actions = vec![Action::delete(key)];
            actions.extend(Kind::ALL.map(|kind| absent(keys::resource(&store.tenant, kind, member))));
            actions
        }
        Problem::GroupGone => {
            let group = Key { pk: key.pk.clone(), sk: keys::GROUP.to_owned() };
            let mut actions = vec![absent(group)];
            if let Some(member) = finding.other.clone().filter(|member| resource(member).is_some()) {
                actions
                    .push(groups_of(member, "DELETE", &key).only_if(Expression::exists(), Refusal::Changed));
            }
            actions.push(Action::delete(key));
            actions
        }
    };
    if actions.is_empty() {
        return Ok(false);
    }
    match store.table.transact(|| actions.clone()).await {
        Ok(()) => Ok(true),
        Err(StoreError::Refused(_)) => Ok(false),
        Err(failed) => Err(failed),
    }
}

fn is_tombstone(store: &Store, key: Option<&Key>) -> bool {
    key.is_some_and(|key| key.pk == keys::tombstones(&store.tenant))
}

async fn read_tombstone(store: &Store, tombstone: &Key) -> Result<Option<Tombstone>, StoreError> {
    match parse_id(&tombstone.sk) {
        Some(id) => store.any_tombstone(id).await,
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
    let set =
        Expression::new("SET keptUntil = :until REMOVE #ttl").name("#ttl", "ttl").value(":until", until);
    let expiry = keys::expiry(&store.tenant, found.kept_until, found.record.id);
    Ok(vec![update_tombstone(&found, tombstone.clone(), set), Action::put(expiry, Item::new())])
}

/// Gives a deactivated account the claim on its name, which nobody has.
async fn claim_of_kept(store: &Store, tombstone: &Key, claim: Key) -> Result<Vec<Action>, StoreError> {
    let Some(found) = read_tombstone(store, tombstone).await? else { return Ok(Vec::new()) };
    let item = Item::from([
        text("id", &found.record.id.to_string()),
        ("gone".to_owned(), AttributeValue::Bool(true)),
        number("keptUntil", found.kept_until),
    ]);
    let unchanged =
        Action::check(tombstone.clone(), Expression::version_is(found.record.version), Refusal::Changed);
    Ok(vec![Action::put(claim, item).only_if(Expression::absent(), Refusal::Changed), unchanged])
}

/// The resource is still in the version that was read; `None` for one that does not exist.
fn unchanged(all: &Inventory, id: Uuid) -> Option<Action> {
    let resource = all.resources.get(&id)?;
    let ver = Expression::new("ver = :ver").value(":ver", AttributeValue::N(resource.version.to_string()));
    let tenant = all.tenant.as_ref()?;
    Some(Action::check(keys::resource(tenant, resource.kind, id), ver, Refusal::Changed))
}

fn absent(key: Key) -> Action {
    Action::check(key, Expression::absent(), Refusal::Changed)
}

/// Adds the group of a membership to a member's groups, or takes it away.
fn groups_of(member: Key, verb: &str, membership: &Key) -> Action {
    let group = membership.pk.rsplit('#').next().unwrap_or_default().to_owned();
    let update = Expression::new(format!("{verb} #groups :group"))
        .name("#groups", "groups")
        .value(":group", AttributeValue::Ss(vec![group]));
    Action::update(member, update)
}
