//! Tenants: make, show, list.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::actor::ACTOR;
use super::error::AdminError;
use super::sweep::{EventRetention, sweep};
use crate::auth::tenant::{Deletion, Settings, TenantRecord, is_usage_key};
use crate::clock;
use crate::limits::{SETTING_RETRIES, USAGE_KEY_CHARS};
use crate::scim::error::ScimError;
use crate::scim::policy::Policy;
use crate::scim::resource_type::{Kind, Model};
use crate::scim::work::WorkBudget;
use crate::scim::{document_rules, urn, username, validate};
use crate::store::Store;
use crate::store::admin_guard::{ADMIN, AdminGuard};
use crate::store::call::Table;
use crate::store::claim::is_free;
use crate::store::digest::MembershipDigest;
use crate::store::error::{Refusal, StoreError};
use crate::store::event::{self, Event};
use crate::store::item::Item;
use crate::store::keys::{self, TenantId};
use crate::store::membership::{Membership, put_membership};
use crate::store::record::{Account, Record, Role};
use crate::store::resource_actions::create_resource;
use crate::store::retry::Attempts;
use crate::store::transaction::{Action, Expression};

/// What the root team is called at first.
const ROOT: &str = "Root";
/// A tenant to make.
#[derive(Clone, Debug)]
pub struct NewTenant {
    /// Its name.
    pub id: TenantId,
    /// The rules that it runs under.
    pub policy: &'static Policy,
    /// The value of its API key in the usage plan.
    pub usage_key: String,
    /// The email address, and `userName`, of its break-glass administrator.
    pub admin: String,
    /// What is set for it from the start.
    pub settings: Settings,
}

impl NewTenant {
    /// A tenant whose break-glass administrator has an address that no mail can reach.
    pub fn new(id: &TenantId, policy: &'static Policy, usage_key: &str) -> Self {
        let admin = format!("break-glass@{id}.invalid");
        Self { id: id.clone(), policy, usage_key: usage_key.to_owned(), admin, settings: Settings::default() }
    }
}

/// Makes a tenant with its root team and the local break-glass administrator in it, their events
/// and that of the tenant, in one transaction.
///
/// What came into the table for a deleted tenant of this name, after it was emptied, is removed first.
///
/// # Errors
/// - [`AdminError::Exists`]: there is a tenant of this name.
/// - [`AdminError::NameRests`]: a tenant of this name was deleted not long ago.
/// - [`AdminError::UsageKey`]: API Gateway would refuse the usage key.
/// - [`AdminError::Input`]: the administrator's address is not an email address.
pub async fn create(table: &Table, new: &NewTenant, now: OffsetDateTime) -> Result<TenantRecord, AdminError> {
    let NewTenant { id, policy, usage_key, admin, settings } = new;
    if !is_usage_key(usage_key) {
        let (least, most) = (USAGE_KEY_CHARS.start(), USAGE_KEY_CHARS.end());
        return Err(AdminError::UsageKey(format!(
            "a usage key has {least} to {most} visible ASCII characters, as API Gateway wants them"
        )));
    }
    let failed = AdminError::table(table.name());
    let free = free_name(table, id, now).await?;
    let RootTeam { root, mut user, guard } = RootTeam::new(policy, admin, now)?;
    let record = TenantRecord {
        id: id.clone(),
        policy,
        usage_key: usage_key.clone(),
        created: now,
        root_team: Some(root.id),
        settings: settings.clone(),
        version: 1,
    };
    let item = record.to_item().map_err(&failed)?;
    let model = model(policy)?;
    let store = Store {
        table: table.clone(),
        tenant: id.clone(),
        actor: ACTOR.to_owned(),
        request_id: Uuid::now_v7().to_string(),
    };
    let event = Event::new("tenant.created", record.subject(record.version), ACTOR, &store.request_id, now);
    let event = event.attributes(["policy", "settings", "usageKey"]);
    user.groups.insert(root.id);
    let of_user = store.event("user.created", &user).attributes(user.doc.keys().cloned());
    let of_root = store.event("group.created", &root).attributes(["displayName", "members"]);
    let of_root = of_root.members(vec![user.id], Vec::new());
    let actions = || {
        let mut actions = vec![
            event::action(id, &event),
            Action::put(keys::tenant(id), item.clone()).only_if(Expression::absent(), Refusal::Exists),
            Action::put(keys::tenant_listing(id), Item::new()),
            free.clone(),
            guard.action(id),
            event::action(id, &of_user),
            event::action(id, &of_root),
        ];
        for resource in [&user, &root] {
            actions.extend(create_resource(id, resource, model.of(resource.kind), &is_free()));
        }
        let member = Membership { id: user.id, kind: Kind::User, display: None };
        actions.push(put_membership(id, root.id, &member, &root.created));
        actions
    };
    match table.transact(actions).await {
        Ok(()) => Ok(record),
        Err(StoreError::Refused(_)) => Err(AdminError::Exists(id.clone())),
        Err(error) => Err(failed(error)),
    }
}

/// Makes sure that a name can be given: that no tenant of this name was deleted so lately that a
/// request let in for it may still be under way. Returns the action that the new tenant is made with,
/// which holds only if that is still so.
async fn free_name(table: &Table, id: &TenantId, now: OffsetDateTime) -> Result<Action, AdminError> {
    let failed = AdminError::table(table.name());
    let key = keys::tenant_deleted(id);
    let Some(item) = table.get(&key).await.map_err(&failed)? else {
        return Ok(Action::check(key, Expression::absent(), Refusal::Exists));
    };
    let now = now.unix_timestamp().unsigned_abs();
    let deletion = Deletion::from_item(&item, now);
    let rests = deletion.rests(now);
    if rests > 0 {
        return Err(AdminError::NameRests(id.clone(), rests));
    }
    sweep(table, id, EventRetention::Kept).await.map_err(&failed)?;
    let same = Expression::new("deleted = :at").value(":at", AttributeValue::N(deletion.at.to_string()));
    Ok(Action::delete(key).only_if(same, Refusal::Exists))
}

/// The resource types under a policy, as an operator's commands need them.
///
/// # Errors
/// Never for the built-in types.
pub fn model(policy: &'static Policy) -> Result<Model, AdminError> {
    Model::new(policy, &[]).map_err(|error| AdminError::Input(error.detail))
}

/// Changes what is set for a tenant; the event `tenant.updated` goes with it.
///
/// # Errors
/// [`AdminError::NoTenant`]; as every call.
pub async fn set(
    table: &Table,
    id: &TenantId,
    now: OffsetDateTime,
    change: impl Fn(&mut Settings),
) -> Result<TenantRecord, AdminError> {
    let failed = AdminError::table(table.name());
    let mut attempts = Attempts::new(SETTING_RETRIES);
    while attempts.start_next().await {
        let before = get(table, id).await?;
        let mut after = before.clone();
        change(&mut after.settings);
        after.version += 1;
        let request = Uuid::now_v7().to_string();
        let event = Event::new("tenant.updated", after.subject(after.version), ACTOR, &request, now);
        let event = event.attributes(["settings"]);
        let settings = |record: &TenantRecord| -> Result<AttributeValue, AdminError> {
            let item = record.to_item().map_err(AdminError::table(table.name()))?;
            Ok(item.get("settings").cloned().unwrap_or(AttributeValue::Null(true)))
        };
        let (was, to) = (settings(&before)?, settings(&after)?);
        let actions = || {
            let update = Expression::new("SET settings = :to, ver = :ver")
                .value(":to", to.clone())
                .value(":ver", AttributeValue::N(after.version.to_string()));
            let unchanged = Expression::new("settings = :was").value(":was", was.clone());
            vec![
                Action::update(keys::tenant(id), update).only_if(unchanged, Refusal::Changed),
                event::action(id, &event),
            ]
        };
        match table.transact(actions).await {
            Ok(()) => return Ok(after),
            Err(StoreError::Refused(_)) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Err(failed(StoreError::Conflict))
}

/// A root team with its first administrator.
struct RootTeam {
    root: Record,
    user: Record,
    guard: AdminGuard,
}

impl RootTeam {
    fn new(policy: &'static Policy, admin: &str, now: OffsetDateTime) -> Result<Self, AdminError> {
        let is_address = |text: &str| {
            let (name, domain) = text.rsplit_once('@').unwrap_or_default();
            !name.is_empty() && !domain.is_empty() && text.len() <= 254 && !text.contains(char::is_whitespace)
        };
        if !is_address(admin) {
            return Err(AdminError::Input(format!(
                "{admin} is no email address: give one as name@example.com"
            )));
        }
        let model = model(policy)?;
        let document = |kind: Kind, body: Value| -> Result<_, AdminError> {
            let body = body.as_object().cloned().unwrap_or_default();
            let refused = |error: ScimError| AdminError::Input(error.detail);
            let doc =
                validate::read(&body, model.of(kind), policy, &WorkBudget::of_body()).map_err(refused)?;
            document_rules::check_required(&doc, model.of(kind)).map_err(refused)?;
            username::check_change(None, &doc).map_err(refused)?;
            Ok(doc)
        };
        let user = document(
            Kind::User,
            json!({
                "schemas": [urn::USER],
                "userName": admin,
                "name": { "givenName": "Break-glass", "familyName": "Administrator" },
                "displayName": "Break-glass administrator",
                "active": true,
                "emails": [{ "value": admin, "type": "work", "primary": true }],
            }),
        )?;
        let root = document(Kind::Group, json!({ "schemas": [urn::GROUP], "displayName": ROOT }))?;
        let now = clock::text(now);
        let mut user = Record::new(Kind::User, Uuid::now_v7(), user, &now);
        let mut root = Record::new(Kind::Group, Uuid::now_v7(), root, &now);
        (user.account, user.guarded) = (Account::Local, true);
        (root.digest, root.guarded) = (MembershipDigest::of([user.id]), true);
        root.roles = Some(BTreeSet::from([Role { team: root.id, role: ADMIN.to_owned() }]));
        let guard = AdminGuard::new(root.id, &[user.id]);
        Ok(Self { root, user, guard })
    }
}

/// A tenant.
///
/// # Errors
/// [`AdminError::NoTenant`]; as every call.
pub async fn get(table: &Table, id: &TenantId) -> Result<TenantRecord, AdminError> {
    let failed = AdminError::table(table.name());
    let item = table.get(&keys::tenant(id)).await.map_err(&failed)?;
    let item = item.ok_or_else(|| AdminError::NoTenant(id.clone()))?;
    TenantRecord::from_item(&item).map_err(&failed)
}

/// Every tenant, by name.
///
/// # Errors
/// As every call.
pub async fn list(table: &Table) -> Result<Vec<TenantRecord>, AdminError> {
    let failed = AdminError::table(table.name());
    let listing = table.query_all(keys::TENANTS, None).await.map_err(&failed)?;
    let mut keys = Vec::with_capacity(listing.len());
    for entry in &listing {
        let name = crate::store::item::must_text(entry, "sk").map_err(&failed)?;
        let id: TenantId = name.parse().map_err(|_| {
            failed(StoreError::Broken("the list of tenants holds what is no name".to_owned()))
        })?;
        keys.push(keys::tenant(&id));
    }
    let items = table.batch_get(&keys).await.map_err(&failed)?;
    let records: Result<Vec<_>, _> = items.iter().map(TenantRecord::from_item).collect();
    let mut records = records.map_err(&failed)?;
    records.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(records)
}
