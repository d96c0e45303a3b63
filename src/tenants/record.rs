//! Tenants: make, change, read.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::actor::Actor;
use super::error::TenantError;
use super::usage::UsageKeys;
use crate::auth::plan::RatePlan;
use crate::auth::tenant::{Settings, TenantRecord, UsageKey, UsagePlanRef, is_usage_key};
use crate::clock;
use crate::limits::{SETTING_RETRIES, TENANTS_PER_PAGE, USAGE_KEY_CHARS, USAGE_KEY_SETTLE_SECONDS};
use crate::scim::error::ScimError;
use crate::scim::policy::Policy;
use crate::scim::resource_type::{Kind, Model};
use crate::scim::work::WorkBudget;
use crate::scim::{document_rules, urn, username, validate};
use crate::store::Store;
use crate::store::admin_guard::{ADMIN, AdminGuard};
use crate::store::call::{Range, Table};
use crate::store::claim::is_free;
use crate::store::digest::MembershipDigest;
use crate::store::error::{Refusal, StoreError};
use crate::store::event::{self, Event};
use crate::store::item::must_text;
use crate::store::keys::{self, Key, TenantId};
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
    /// The id of the usage plan, if the key was made in it for this tenant.
    pub usage_plan: Option<String>,
    /// Its rate.
    pub plan: RatePlan,
    /// The email address, and `userName`, of its break-glass administrator.
    pub admin: String,
    /// What is set for it from the start.
    pub settings: Settings,
    /// What tells the request of an application from another one for the same name.
    pub request: Option<String>,
}

impl NewTenant {
    /// A tenant whose break-glass administrator has an address that no mail can reach.
    pub fn new(id: &TenantId, policy: &'static Policy, usage_key: &str) -> Self {
        let admin = format!("break-glass@{id}.invalid");
        let settings = Settings::default();
        let usage_key = usage_key.to_owned();
        Self {
            id: id.clone(),
            policy,
            usage_key,
            usage_plan: None,
            plan: RatePlan::default(),
            admin,
            settings,
            request: None,
        }
    }

    fn to_record(&self, table: &Table, root_team: Uuid, now: OffsetDateTime) -> TenantRecord {
        let in_plan = |id| UsagePlanRef { id, table: table.name().to_owned() };
        TenantRecord {
            id: self.id.clone(),
            policy: self.policy,
            usage_key: self.usage_key.clone(),
            usage_plan: self.usage_plan.clone().map(in_plan),
            usable_from: 0,
            plan: self.plan,
            other_key: None,
            created: now,
            root_team: Some(root_team),
            settings: self.settings.clone(),
            request: self.request.clone(),
            version: 1,
            is_being_deleted: false,
        }
    }
}

/// Whether a text has the form of an email address.
pub fn is_address(text: &str) -> bool {
    let (name, domain) = text.rsplit_once('@').unwrap_or_default();
    !name.is_empty() && !domain.is_empty() && text.len() <= 254 && !text.contains(char::is_whitespace)
}

/// Checks what a new tenant is to have, apart from its usage key.
///
/// # Errors
/// [`TenantError::Input`]: the name is reserved, or the administrator's address is not an email address.
pub fn check(new: &NewTenant) -> Result<(), TenantError> {
    if [TenantId::deployment(), TenantId::probe()].contains(&new.id) {
        return Err(TenantError::Input(format!("the name {} is reserved: choose another", new.id)));
    }
    RootTeam::new(new.policy, &new.admin, OffsetDateTime::UNIX_EPOCH).map(drop)
}

/// Makes a tenant with its root team and the local break-glass administrator in it, their events
/// and that of the tenant, in one transaction.
///
/// `name_is_free` is the action which makes sure that the name can be given.
///
/// # Errors
/// - [`TenantError::Exists`]: there is a tenant of this name, or `name_is_free` is refused.
/// - [`TenantError::UsageKey`]: API Gateway would refuse the usage key.
/// - [`TenantError::Input`]: the administrator's address is not an email address.
pub async fn create(
    table: &Table,
    by: &Actor,
    new: &NewTenant,
    name_is_free: &Action,
    now: OffsetDateTime,
) -> Result<TenantRecord, TenantError> {
    let NewTenant { id, policy, usage_key, admin, .. } = new;
    check(new)?;
    if !is_usage_key(usage_key) {
        let (least, most) = (USAGE_KEY_CHARS.start(), USAGE_KEY_CHARS.end());
        return Err(TenantError::UsageKey(format!(
            "a usage key has {least} to {most} visible ASCII characters, as API Gateway wants them"
        )));
    }
    let RootTeam { root, mut user, guard } = RootTeam::new(policy, admin, now)?;
    let record = new.to_record(table, root.id, now);
    let item = record.to_item()?;
    let model = model(policy)?;
    let store = Store {
        table: table.clone(),
        tenant: id.clone(),
        actor: by.id.clone(),
        request_id: by.request_id.clone(),
    };
    let event = by.event("tenant.created", record.subject(record.version), now);
    let event = event.attributes(["policy", "settings", "usageKey"]);
    let incarnation = record.incarnation();
    user.groups.insert(root.id);
    let of_user = store.event_of_creation(&user, Vec::new());
    let of_root = store.event_of_creation(&root, vec![user.id]);
    let [event, of_user, of_root] =
        [event, of_user, of_root].map(|event| Event { incarnation: incarnation.clone(), ..event });
    let actions = || {
        let mut actions = vec![
            event::action(id, &event),
            Action::put(keys::tenant(id), item.clone()).only_if(Expression::absent(), Refusal::Exists),
            Action::put(keys::tenant_listing(id), []),
            name_is_free.clone(),
            guard.action(id),
            event::action(id, &of_user),
            event::action(id, &of_root),
        ];
        let form = table.email_lookups;
        for resource in [&user, &root] {
            actions.extend(create_resource(id, resource, model.of(resource.kind), &is_free(), form));
        }
        let member = Membership { id: user.id, kind: Kind::User, display: None };
        actions.push(put_membership(id, root.id, &member, &root.created));
        actions
    };
    match table.transact(actions).await {
        Ok(()) => Ok(record),
        Err(StoreError::Refused(_)) => Err(TenantError::Exists(id.clone())),
        Err(error) => Err(error.into()),
    }
}

/// The resource types under a policy, as an operator's commands need them.
///
/// # Errors
/// Never for the built-in types.
pub fn model(policy: &'static Policy) -> Result<Model, TenantError> {
    Model::new(policy, &[]).map_err(|error| TenantError::Input(error.detail))
}

/// Changes what is set for a tenant; the event `tenant.updated` goes with it.
///
/// # Errors
/// [`TenantError::NoTenant`], [`TenantError::BeingDeleted`]; [`TenantError::Table`] if a call fails.
pub async fn set(
    table: &Table,
    by: &Actor,
    id: &TenantId,
    now: OffsetDateTime,
    change: impl Fn(&mut Settings),
) -> Result<TenantRecord, TenantError> {
    let mut attempts = Attempts::new(SETTING_RETRIES);
    while attempts.start_next().await {
        let before = get_lasting(table, id).await?;
        let mut after = before.clone();
        change(&mut after.settings);
        if after.settings == before.settings {
            return Ok(before);
        }
        after.version += 1;
        let event = by.event("tenant.updated", after.subject(after.version), now);
        let event = event.attributes(["settings"]);
        let settings = |record: &TenantRecord| -> Result<AttributeValue, TenantError> {
            let item = record.to_item()?;
            Ok(item.get("settings").cloned().unwrap_or(AttributeValue::Null(true)))
        };
        let (was, to) = (settings(&before)?, settings(&after)?);
        let actions = || {
            let update = Expression::update()
                .set("settings", to.clone())
                .set("ver", AttributeValue::N(after.version.to_string()));
            let unchanged = Expression::equals("settings", was.clone()).and(before.is_unchanged());
            let unchanged = unchanged.and(Expression::lacks("deleting"));
            vec![
                Action::update(keys::tenant(id), update).only_if(unchanged, Refusal::Changed),
                event::action(id, &event),
            ]
        };
        match table.transact(actions).await {
            Ok(()) => return Ok(after),
            Err(StoreError::Refused(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Conflict.into())
}

/// Moves a tenant to another plan; the event `tenant.updated` goes with it. Requests go on: [`crate::auth::plan`] says
/// how. A usage key is made by `usage_keys` if the tenant never had this plan.
///
/// # Errors
/// [`TenantError::NoTenant`], [`TenantError::BeingDeleted`]; [`TenantError::UsageKey`] if the key cannot be made;
/// [`TenantError::Table`] if a call fails.
pub async fn set_plan(
    table: &Table,
    by: &Actor,
    id: &TenantId,
    plan: RatePlan,
    usage_keys: &dyn UsageKeys,
) -> Result<TenantRecord, TenantError> {
    let mut attempts = Attempts::new(SETTING_RETRIES);
    while attempts.start_next().await {
        let before = get_lasting(table, id).await?;
        if before.plan == plan {
            return Ok(before);
        }
        // A key whose usage plan went with an earlier stack counts nothing in this one.
        let is_usable = |key: &UsageKey| match (usage_keys.usage_plan(plan), &key.usage_plan) {
            (Some(here), Some(its)) => here == its.id,
            _ => true,
        };
        let key = match before.other_key.clone().filter(is_usable) {
            Some(other) => other,
            None => {
                let made = usage_keys.make(id, plan).await?;
                let ready = clock::epoch_seconds() + USAGE_KEY_SETTLE_SECONDS;
                let usable_from = if made.plan.is_some() { ready } else { 0 };
                let in_plan = |plan| UsagePlanRef { id: plan, table: table.name().to_owned() };
                UsageKey { value: made.value, usage_plan: made.plan.map(in_plan), usable_from }
            }
        };
        let after = before.with_plan(plan, key);
        if replace(table, by, (&before, &after), "plan").await? {
            return Ok(after);
        }
    }
    Err(StoreError::Conflict.into())
}

/// Notes in which usage plan the tenant's API key of a plan is now; the event `tenant.updated` goes with it. Nothing is
/// written if the table says so already, or if that key is no longer the one with this value.
///
/// # Errors
/// [`TenantError::NoTenant`]; [`TenantError::Table`] if a call fails.
pub async fn note_usage_plan(
    table: &Table,
    by: &Actor,
    id: &TenantId,
    (plan, value): (RatePlan, &str),
    usage_plan: &str,
) -> Result<TenantRecord, TenantError> {
    let usage_plan = UsagePlanRef { id: usage_plan.to_owned(), table: table.name().to_owned() };
    let mut attempts = Attempts::new(SETTING_RETRIES);
    while attempts.start_next().await {
        let before = get(table, id).await?;
        let key = before.key_in(plan).filter(|key| key.value == value);
        if key.is_none_or(|key| key.usage_plan.as_ref() == Some(&usage_plan)) {
            return Ok(before);
        }
        let after = before.with_usage_plan(plan, usage_plan.clone());
        if replace(table, by, (&before, &after), "usageKey").await? {
            return Ok(after);
        }
    }
    Err(StoreError::Conflict.into())
}

/// Writes a tenant if it is as it was before, and not being deleted; the event `tenant.updated` goes with it. Returns
/// whether it was so.
async fn replace(
    table: &Table,
    by: &Actor,
    (before, after): (&TenantRecord, &TenantRecord),
    attribute: &str,
) -> Result<bool, TenantError> {
    let id = &after.id;
    let event = by.event("tenant.updated", after.subject(after.version), clock::now());
    let event = event.attributes([attribute]);
    let item = after.to_item()?;
    let actions = || {
        let unchanged = before.is_unchanged().and(Expression::lacks("deleting"));
        vec![
            Action::put(keys::tenant(id), item.clone()).only_if(unchanged, Refusal::Changed),
            event::action(id, &event),
        ]
    };
    match table.transact(actions).await {
        Ok(()) => Ok(true),
        Err(StoreError::Refused(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Tells mirrors to take the snapshot of a tenant again: the event `tenant.resync`, with the next version of the
/// tenant. `also` is written in the same transaction.
///
/// # Errors
/// - [`TenantError::NoTenant`].
/// - [`StoreError::Refused`] if an action of `also` is refused.
/// - [`TenantError::Table`] if a call fails.
pub async fn resync(
    table: &Table,
    by: &Actor,
    id: &TenantId,
    now: OffsetDateTime,
    also: &[Action],
) -> Result<TenantRecord, TenantError> {
    let mut attempts = Attempts::new(SETTING_RETRIES);
    let mut last = StoreError::Conflict;
    while attempts.start_next().await {
        let before = get(table, id).await?;
        let after = TenantRecord { version: before.version + 1, ..before.clone() };
        let event = by.event("tenant.resync", after.subject(after.version), now);
        let actions = || {
            let update = Expression::update().set("ver", AttributeValue::N(after.version.to_string()));
            let mut actions = vec![
                Action::update(keys::tenant(id), update).only_if(before.is_unchanged(), Refusal::Changed),
                event::action(id, &event),
            ];
            actions.extend(also.iter().cloned());
            actions
        };
        match table.transact(actions).await {
            Ok(()) => return Ok(after),
            Err(refused @ StoreError::Refused(_)) => last = refused,
            Err(error) => return Err(error.into()),
        }
    }
    Err(last.into())
}

/// A root team with its first administrator.
struct RootTeam {
    root: Record,
    user: Record,
    guard: AdminGuard,
}

impl RootTeam {
    fn new(policy: &'static Policy, admin: &str, now: OffsetDateTime) -> Result<Self, TenantError> {
        if !is_address(admin) {
            let problem = "the administrator's email must be an address such as name@example.com";
            return Err(TenantError::Input(problem.to_owned()));
        }
        let model = model(policy)?;
        let document = |kind: Kind, body: Value| -> Result<_, TenantError> {
            let body = body.as_object().cloned().unwrap_or_default();
            let refused = |error: ScimError| TenantError::Input(error.detail);
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
/// [`TenantError::NoTenant`]; [`TenantError::Table`] if a call fails.
pub async fn get(table: &Table, id: &TenantId) -> Result<TenantRecord, TenantError> {
    let item = table.get(&keys::tenant(id)).await?;
    let item = item.ok_or_else(|| TenantError::NoTenant(id.clone()))?;
    Ok(TenantRecord::from_item(&item)?)
}

/// The same, for a change that makes or sets something in the tenant.
///
/// # Errors
/// As [`get`]; [`TenantError::BeingDeleted`].
pub async fn get_lasting(table: &Table, id: &TenantId) -> Result<TenantRecord, TenantError> {
    let tenant = get(table, id).await?;
    if tenant.is_being_deleted { Err(TenantError::BeingDeleted(id.clone())) } else { Ok(tenant) }
}

/// Why something was not made in a tenant that must be there, and must last.
pub(super) async fn why_not_made(table: &Table, id: &TenantId) -> TenantError {
    match get_lasting(table, id).await {
        Err(why) => why,
        // It was gone a moment ago, and is made again.
        Ok(_) => StoreError::Conflict.into(),
    }
}

/// Some tenants, by name: those after `after`, at most `limit`, and whether there are more.
///
/// # Errors
/// [`TenantError::Table`] if a call fails.
pub async fn page(
    table: &Table,
    after: Option<&str>,
    limit: i32,
) -> Result<(Vec<TenantRecord>, Option<String>), TenantError> {
    let range = Range { after: after.map(str::to_owned), limit: Some(limit), ..Range::default() };
    let listed = table.query(keys::TENANTS, &range).await?;
    let mut places = Vec::with_capacity(listed.items.len());
    for entry in &listed.items {
        let name = must_text(entry, "sk")?;
        let id: TenantId = name
            .parse()
            .map_err(|_| StoreError::Broken("the list of tenants holds what is no name".to_owned()))?;
        places.push(keys::tenant(&id));
    }
    Ok((fetch_all(table, &places).await?, listed.next))
}

/// The tenants at these keys that there are, by name.
async fn fetch_all(table: &Table, places: &[Key]) -> Result<Vec<TenantRecord>, TenantError> {
    let items = table.batch_get(places).await?;
    let mut records = items.iter().map(TenantRecord::from_item).collect::<Result<Vec<_>, _>>()?;
    records.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(records)
}

/// Every tenant, by name.
///
/// # Errors
/// [`TenantError::Table`] if a call fails.
pub async fn list(table: &Table) -> Result<Vec<TenantRecord>, TenantError> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let (some, next) = page(table, after.as_deref(), TENANTS_PER_PAGE).await?;
        all.extend(some);
        match next {
            Some(next) => after = Some(next),
            None => return Ok(all),
        }
    }
}
