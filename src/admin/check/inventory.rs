//! What a tenant's part of the table holds, reduced to what the rules compare: keys, ids, counts.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use uuid::Uuid;

use super::ledger::SubjectState;
use crate::admin::progress::Progress;
use crate::admin::wipe::count_resources;
use crate::auth::client::ClientRecord;
use crate::auth::record::{KeyListing, KeyRecord};
use crate::clock;
use crate::limits::SCAN_SEGMENTS;
use crate::scim::resource_type::{Kind, Model};
use crate::store::Store;
use crate::store::admin_guard::AdminGuard;
use crate::store::call::{ScanPage, ScanSegment};
use crate::store::definition::{Definition, DefinitionIndex};
use crate::store::digest::MembershipDigest;
use crate::store::error::StoreError;
use crate::store::feed::subject::unique_name;
use crate::store::item::{Item, get_number, get_text, key_of, must_text};
use crate::store::keys::{self, Key, TenantId, parse_id};
use crate::store::large_change::pending_change::PendingChange;
use crate::store::record::{Record, Role};
use crate::store::tombstone::{Tombstone, kept_until};

/// A user or group.
#[derive(Clone, Debug)]
pub struct Resource {
    /// User or group.
    pub kind: Kind,
    /// Its version.
    pub version: u64,
    /// The groups that it says it is in.
    pub groups: BTreeSet<Uuid>,
    /// Its members, as it counts them.
    pub digest: MembershipDigest,
    /// The pending change that it names.
    pub change: Option<Uuid>,
    /// Whether it is an active user.
    pub active: bool,
    /// Whether it says that the guard of the root team knows it.
    pub guarded: bool,
    /// The roles that its members have, if it is a group.
    pub roles: BTreeSet<Role>,
    /// The claim that it must have.
    pub claim: Option<Key>,
    /// The look-ups that it must have.
    pub lookups: BTreeSet<Key>,
    /// The look-ups that it may have: those, and that of an address which is its `userName` too.
    pub possible_lookups: BTreeSet<Key>,
}

/// A claim.
#[derive(Clone, Debug)]
pub struct ClaimItem {
    /// The holder.
    pub id: Option<Uuid>,
    /// Whether it says that the holder is deactivated.
    pub gone: bool,
    /// Whether its time has passed, so that it counts as absent.
    pub expired: bool,
}

/// What is kept of an account that is deactivated or erased.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// The item that will have it erased. `None` once it is erased.
    pub expiry: Option<Key>,
    /// Whether that item is there.
    pub scheduled: bool,
    /// The claim that it must have, unless another resource took its name.
    pub claim: Option<Key>,
}

/// What has changes in the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedSubject {
    /// `User`, `Group`, `Key`, `Client`, `Tenant`, `Application`, `Webhook`, `Role` or `Entitlement`.
    pub resource_type: &'static str,
    /// Its state in the table.
    pub state: SubjectState,
}

/// Everything of one tenant.
#[derive(Debug, Default)]
pub struct Inventory {
    /// Whose.
    pub tenant: Option<TenantId>,
    /// Users and groups.
    pub resources: BTreeMap<Uuid, Resource>,
    /// Entries of the lists.
    pub listed: BTreeMap<Uuid, Kind>,
    /// Claims by key.
    pub claims: BTreeMap<Key, ClaimItem>,
    /// Look-ups, with the ids that they lead to.
    pub lookups: BTreeMap<Key, Option<Uuid>>,
    /// Group and member, one pair a membership.
    pub memberships: BTreeSet<(Uuid, Uuid)>,
    /// The sum of each kind's counters.
    pub counted: BTreeMap<Kind, i64>,
    /// The sum of the counters of inactive users.
    pub counted_inactive: i64,
    /// The root team that the tenant's settings name.
    pub root_team: Option<Uuid>,
    /// Whether the tenant has settings, and is not in the list of tenants.
    pub is_unlisted: bool,
    /// The guard of the root team.
    pub guard: Option<AdminGuard>,
    /// Whether an import under the old ids has not ended.
    pub is_moving_in: bool,
    /// Accounts that are deactivated, or erased.
    pub tombstones: BTreeMap<Uuid, Kept>,
    /// Bearer keys, by the key of their item.
    pub bearers: BTreeMap<Key, KeyRecord>,
    /// The ids of the bearer keys that are in the tenant's list.
    pub listed_keys: BTreeSet<String>,
    /// The ids of the clients.
    pub clients: BTreeSet<String>,
    /// The ids of the clients that are in the tenant's list.
    pub listed_clients: BTreeSet<String>,
    /// Roles and entitlements, deleted ones too.
    pub definitions: Vec<Definition>,
    /// Their index.
    pub definition_index: Option<DefinitionIndex>,
    /// Changes that there are chunks of.
    pub chunked: BTreeSet<Uuid>,
    /// PendingChange changes.
    pub pending: Vec<PendingChange>,
    /// What has changes in the feed, by its name.
    pub subjects: BTreeMap<String, CheckedSubject>,
    /// Keys of items that cannot be read.
    pub unreadable: Vec<Key>,
    /// Keys of items that no rule knows.
    pub unknown: Vec<Key>,
    /// How many items were read.
    pub items: u64,
}

impl Inventory {
    /// Reads it: a scan of the whole table, of which the tenant's part is looked at.
    ///
    /// # Errors
    /// [`StoreError`] if a call fails.
    pub async fn read(store: &Store, model: &Model, progress: &Progress) -> Result<Self, StoreError> {
        progress.begin(Some(count_resources(store).await?), "users and groups read");
        let parts = (0..SCAN_SEGMENTS).map(|segment| part(store, model, segment, progress));
        let mut whole = Self {
            tenant: Some(store.tenant.clone()),
            pending: store.large_changes().list().await?,
            ..Self::default()
        };
        if let Some(tenant) = store.table.get(&keys::tenant(&store.tenant)).await? {
            whole.root_team = get_text(&tenant, "rootTeam").and_then(parse_id);
            whole.is_unlisted = store.table.get(&keys::tenant_listing(&store.tenant)).await?.is_none();
        }
        for part in try_join_all(parts).await? {
            whole.resources.extend(part.resources);
            whole.listed.extend(part.listed);
            whole.claims.extend(part.claims);
            whole.lookups.extend(part.lookups);
            whole.memberships.extend(part.memberships);
            for (kind, count) in part.counted {
                *whole.counted.entry(kind).or_default() += count;
            }
            whole.counted_inactive += part.counted_inactive;
            whole.guard = part.guard.or(whole.guard);
            whole.is_moving_in |= part.is_moving_in;
            whole.tombstones.extend(part.tombstones);
            whole.definitions.extend(part.definitions);
            whole.definition_index = part.definition_index.or(whole.definition_index);
            whole.bearers.extend(part.bearers);
            whole.clients.extend(part.clients);
            whole.chunked.extend(part.chunked);
            whole.subjects.extend(part.subjects);
            whole.unreadable.extend(part.unreadable);
            whole.unknown.extend(part.unknown);
            whole.items += part.items;
        }
        let expiries: Vec<Key> = whole.tombstones.values().filter_map(|kept| kept.expiry.clone()).collect();
        let mut there = BTreeSet::new();
        for item in store.table.batch_get_some(&expiries, &["pk", "sk"]).await? {
            there.insert(Key {
                pk: must_text(&item, "pk")?.to_owned(),
                sk: must_text(&item, "sk")?.to_owned(),
            });
        }
        for kept in whole.tombstones.values_mut() {
            kept.scheduled = kept.expiry.as_ref().is_none_or(|key| there.contains(key));
        }
        let partition = keys::tenant_partition(&store.tenant);
        for item in store.table.query_all(&partition, Some(keys::BEARER_LISTING)).await? {
            match KeyListing::from_item(&item) {
                Ok(listing) => drop(whole.listed_keys.insert(listing.key_id)),
                Err(StoreError::Broken(_)) => whole.unreadable.extend(key_of(&item)),
                Err(failed) => return Err(failed),
            }
        }
        let prefix = keys::oauth::CLIENT_LISTING;
        for item in store.table.query_all(&partition, Some(prefix)).await? {
            whole.listed_clients.extend(must_text(&item, "sk")?.strip_prefix(prefix).map(str::to_owned));
        }
        Ok(whole)
    }

    fn add_subject(&mut self, resource_type: &'static str, id: &str, item: &Item) {
        let state = SubjectState::from_item(item);
        self.subjects.insert(unique_name(resource_type, id), CheckedSubject { resource_type, state });
    }

    fn tombstone(&mut self, store: &Store, model: &Model, item: &Item) -> Result<(), StoreError> {
        let Some(id) = get_text(item, "sk").and_then(parse_id) else { return Ok(()) };
        let mut kept = Kept::default();
        if let Some(found) = Tombstone::from_item(&store.tenant, item.clone())? {
            kept.expiry = Some(keys::expiry(&store.tenant, found.kept_until, id));
            let claim = found.record.claim(model.of(Kind::User));
            kept.claim = claim.map(|entry| keys::claim(&store.tenant, entry.attribute, &entry.value));
        }
        self.tombstones.insert(id, kept);
        self.add_subject("User", &id.to_string(), item);
        Ok(())
    }

    /// A bearer key, of whichever tenant.
    fn bearer(&mut self, store: &Store, item: &Item) -> Result<(), StoreError> {
        if get_text(item, "tenant") != Some(store.tenant.as_str()) {
            return Ok(());
        }
        let record = KeyRecord::from_item(item)?;
        self.add_subject("Key", &record.key_id, item);
        self.bearers.insert(keys::bearer(record.hash.as_str()), record);
        Ok(())
    }

    /// A client, of whichever tenant.
    fn client(&mut self, store: &Store, item: &Item) -> Result<(), StoreError> {
        if get_text(item, "tenant") != Some(store.tenant.as_str()) {
            return Ok(());
        }
        let record = ClientRecord::from_item(item)?;
        self.add_subject("Client", &record.id, item);
        self.clients.insert(record.id);
        Ok(())
    }

    /// A role, an entitlement, or the index of them.
    fn definition(&mut self, key: Key, sk: &str, item: &Item) -> Result<(), StoreError> {
        if sk == "INDEX" {
            self.definition_index = Some(DefinitionIndex::from_item(item)?);
            return Ok(());
        }
        match Definition::from_item(item)? {
            Some(definition) => {
                self.add_subject(definition.kind.name(), &definition.id, item);
                self.definitions.push(definition);
            }
            None => self.unknown.push(key),
        }
        Ok(())
    }

    /// Takes an item. One that cannot be read must not hide what is wrong with the others.
    fn take(&mut self, store: &Store, model: &Model, item: &Item) -> Result<(), StoreError> {
        match self.take_readable(store, model, item) {
            Err(StoreError::Broken(_)) => {
                self.unreadable.extend(key_of(item));
                Ok(())
            }
            taken => taken,
        }
    }

    fn take_readable(&mut self, store: &Store, model: &Model, item: &Item) -> Result<(), StoreError> {
        let (pk, sk) = (must_text(item, "pk")?, must_text(item, "sk")?);
        let key = Key { pk: pk.to_owned(), sk: sk.to_owned() };
        if pk.starts_with(keys::BEARERS) {
            return self.bearer(store, item);
        }
        if pk.starts_with(keys::oauth::CLIENTS) {
            return self.client(store, item);
        }
        let data = keys::data(&store.tenant);
        let path: Vec<&str> = pk.strip_prefix(&data).unwrap_or_default().split('#').collect();
        self.items += 1;
        match (path.as_slice(), sk) {
            (["U" | "G", _], keys::USER | keys::GROUP) => self.resource(store, model, item)?,
            (["G", group], sk) if sk.starts_with(keys::MEMBERSHIP) => {
                let member = sk.strip_prefix(keys::MEMBERSHIP).and_then(parse_id);
                match (parse_id(group), member) {
                    (Some(group), Some(member)) => {
                        self.memberships.insert((group, member));
                    }
                    _ => self.unknown.push(key),
                }
            }
            (["L", kind], sk) => match (kind_named(kind), parse_id(sk)) {
                (Some(kind), Some(id)) => {
                    self.listed.insert(id, kind);
                }
                _ => self.unknown.push(key),
            },
            (["Q", ..], _) => {
                let gone = item.get("gone").and_then(|gone| gone.as_bool().ok()).copied() == Some(true);
                let expired = kept_until(item).is_some_and(|until| until <= clock::epoch_seconds());
                let id = get_text(item, "id").and_then(parse_id);
                self.claims.insert(key, ClaimItem { id, gone, expired });
            }
            (["X", ..], sk) => {
                self.lookups.insert(key.clone(), parse_id(sk));
            }
            (["N"], sk) if sk.starts_with(keys::INACTIVE) => {
                self.counted_inactive += get_number::<i64>(item, "n").unwrap_or(0);
            }
            (["ADMIN"], "MOVE") => self.is_moving_in = true,
            (["ADMIN"], _) => self.guard = Some(AdminGuard::from_item(item)?),
            (["N"], sk) => match sk.split_once('#').and_then(|(kind, _)| kind_named(kind)) {
                Some(kind) => {
                    *self.counted.entry(kind).or_default() += get_number::<i64>(item, "n").unwrap_or(0);
                }
                None => self.unknown.push(key),
            },
            (["R"], sk) => self.definition(key, sk, item)?,
            (["D"], _) => self.tombstone(store, model, item)?,
            (["C", change], _) => self.chunked.extend(parse_id(change)),
            // Page marks, events, keys, the count of deactivations, the secret of cursors.
            (["P" | "E" | "K" | "B" | "S", ..], _) => {}
            _ => self.unknown.push(key),
        }
        Ok(())
    }

    fn resource(&mut self, store: &Store, model: &Model, item: &Item) -> Result<(), StoreError> {
        let Some(record) = Record::from_item(item)? else { return Ok(()) };
        let ty = model.of(record.kind);
        let lookup = |entry: &crate::store::index::Entry| {
            keys::lookup(&store.tenant, record.kind, entry.attribute, &entry.value, record.id)
        };
        let resource = Resource {
            kind: record.kind,
            version: record.version,
            groups: record.groups.clone(),
            digest: record.digest,
            change: record.change,
            active: record.is_active(),
            guarded: record.guarded,
            roles: if record.kind == Kind::Group { record.assignments() } else { BTreeSet::new() },
            claim: record.claim(ty).map(|e| keys::claim(&store.tenant, e.attribute, &e.value)),
            lookups: record.required_lookups(ty).iter().map(lookup).collect(),
            possible_lookups: record.lookups(ty).iter().map(lookup).collect(),
        };
        self.add_subject(record.kind.name(), &record.id.to_string(), item);
        self.resources.insert(record.id, resource);
        Ok(())
    }
}

async fn part(
    store: &Store,
    model: &Model,
    segment: i32,
    progress: &Progress,
) -> Result<Inventory, StoreError> {
    let (mut found, mut start) = (Inventory::default(), None);
    let prefix = keys::data(&store.tenant);
    let prefixes = [prefix.as_str(), keys::BEARERS, keys::oauth::CLIENTS];
    loop {
        let segment = ScanSegment { number: segment, total: SCAN_SEGMENTS };
        let ScanPage { found: items, next } = store.table.scan_items(&prefixes, start, segment, None).await?;
        let before = found.resources.len();
        for item in &items {
            found.take(store, model, item)?;
        }
        progress.advance((found.resources.len() - before) as u64);
        match next {
            Some(next) => start = Some(next),
            None => return Ok(found),
        }
    }
}

fn kind_named(name: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.name() == name)
}
