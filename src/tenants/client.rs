//! OAuth clients: make, list, rotate, revoke. A client has several secrets, so that a rotation overlaps, or it is
//! federated: then another issuer's assertions stand for a secret.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use time::{Duration, OffsetDateTime};

use super::actor::Actor;
use super::error::TenantError;
use super::key::check_name;
use crate::auth::access_token::SecretText;
use crate::auth::client::{ClientProof, ClientRecord, ClientSecret, Federation};
use crate::auth::key::random_base62;
use crate::auth::record::{Scope, Status};
use crate::limits::{
    CHANGE_RETRIES, MAX_CLIENT_SECRETS, MAX_FEDERATION_TEXT_BYTES, MAX_KEPT_CLIENT_SECRETS, SECRET_YEARS,
    TOKEN_HOURS,
};
use crate::outbound::target::{TargetRule, TargetUrl};
use crate::store::call::Table;
use crate::store::error::{Refusal, StoreError};
use crate::store::event::{self, Event};
use crate::store::item::{Item, get_text, must_text};
use crate::store::keys::{self, Key, TenantId};
use crate::store::retry::Attempts;
use crate::store::transaction::{Action, Expression};

/// A client to be made.
#[derive(Clone, Debug)]
pub struct NewClient {
    /// Whose data its tokens open.
    pub tenant: TenantId,
    /// What the operator calls it.
    pub name: String,
    /// What its tokens may do at most.
    pub scope: Scope,
    /// How many hours a token of it lives.
    pub token_hours: u64,
    /// How it will prove who it is.
    pub proof: NewProof,
}

/// How a client to be made will prove who it is.
#[derive(Clone, Debug)]
pub enum NewProof {
    /// By a secret, which lives for so many years.
    Secret(u64),
    /// By assertions. The URL of the keys must be allowed by the rule.
    Federated(Federation, TargetRule),
}

/// A client in a list.
#[derive(Clone, Debug)]
pub struct ListedClient {
    /// The client.
    pub record: ClientRecord,
    /// The day of its last request, `yyyy-mm-dd`.
    pub last_used: Option<String>,
}

/// Makes a client: its item, its place in the tenant's list and the event `client.created`, in one transaction. The
/// text of its secret is returned and kept nowhere.
///
/// # Errors
/// [`TenantError::NoTenant`]; [`TenantError::Input`] for a value that cannot be used.
pub async fn create(
    table: &Table,
    by: &Actor,
    new: NewClient,
    now: OffsetDateTime,
) -> Result<(Option<SecretText>, ClientRecord), TenantError> {
    let name = check_name(&new.name, None, now)?;
    check_range("a token lives for", new.token_hours, &TOKEN_HOURS, "hours")?;
    let (secret, proof) = match new.proof {
        NewProof::Secret(years) => {
            check_range("a secret lives for", years, &SECRET_YEARS, "years")?;
            let (text, secret) = make_secret(years, now)?;
            (Some(text), ClientProof::Secrets { secrets: vec![secret], years })
        }
        NewProof::Federated(federation, rule) => {
            check_federation(&federation, rule)?;
            (None, ClientProof::Federated(federation))
        }
    };
    let record = ClientRecord {
        id: format!("client_{}", random_base62(12)?),
        tenant: new.tenant,
        name,
        scope: new.scope,
        status: Status::Active,
        created: now,
        token_hours: new.token_hours,
        proof,
        version: 1,
    };
    let (tenant, item) = (&record.tenant, record.to_item()?);
    let event = client_event("client.created", &record, by, now);
    let event = event.attributes(["name", "scope", "tokenHours", record.proof.name()]);
    let actions = || {
        let there = Expression::new("attribute_exists(pk) AND attribute_not_exists(deleting)");
        let new = |key, item| Action::put(key, item).only_if(Expression::absent(), Refusal::Exists);
        vec![
            Action::check(keys::tenant(tenant), there, Refusal::Changed),
            new(keys::oauth::client(&record.id), item.clone()),
            new(keys::oauth::client_listing(tenant, &record.id), Item::new()),
            event::action(tenant, &event),
        ]
    };
    match table.transact(actions).await {
        Ok(()) => Ok((secret, record)),
        Err(StoreError::Refused(why)) if why.contains(&Refusal::Changed) => {
            Err(super::record::why_not_made(table, &record.tenant).await)
        }
        Err(error) => Err(error.into()),
    }
}

fn check_range(
    what: &str,
    value: u64,
    range: &std::ops::RangeInclusive<u64>,
    unit: &str,
) -> Result<(), TenantError> {
    if range.contains(&value) {
        return Ok(());
    }
    let (least, most) = (range.start(), range.end());
    Err(TenantError::Input(format!("{what} {least} to {most} {unit}")))
}

fn check_federation(federation: &Federation, rule: TargetRule) -> Result<(), TenantError> {
    let Federation { issuer, subject, audience, jwks_url, directory } = federation;
    let texts = [("issuer", issuer), ("subject", subject), ("audience", audience)];
    let directory = directory.as_ref().map(|directory| ("directory", directory));
    for (name, text) in texts.into_iter().chain(directory) {
        let is_good = (1..=MAX_FEDERATION_TEXT_BYTES).contains(&text.len())
            && !text.chars().any(|c| c.is_control() || c.is_whitespace());
        if !is_good {
            return Err(TenantError::Input(format!(
                "the {name} of a client has 1 to {MAX_FEDERATION_TEXT_BYTES} bytes without blanks"
            )));
        }
    }
    if directory.is_some_and(|(_, id)| keys::parse_id(id).is_none()) {
        let problem = "the directory id of Entra ID is a lower-case UUID with hyphens";
        return Err(TenantError::Input(problem.to_owned()));
    }
    let wrong = |problem| TenantError::Input(format!("the JWKS URL cannot be used: {problem}"));
    TargetUrl::parse(jwks_url, rule).map(drop).map_err(wrong)
}

fn make_secret(years: u64, now: OffsetDateTime) -> Result<(SecretText, ClientSecret), TenantError> {
    let text = SecretText::generate()?;
    let life = Duration::days(365).saturating_mul(i32::try_from(years).unwrap_or(1));
    let expires = now.checked_add(life).unwrap_or(now);
    let id = format!("secret_{}", random_base62(12)?);
    let secret = ClientSecret { id, hash: text.sha256(), created: now, expires };
    Ok((text, secret))
}

/// A client of a tenant.
///
/// # Errors
/// [`TenantError::NoClient`]; [`TenantError::Table`] if a call fails.
pub async fn get(table: &Table, tenant: &TenantId, id: &str) -> Result<ClientRecord, TenantError> {
    let unknown = || TenantError::NoClient(tenant.clone(), id.to_owned());
    if !ClientRecord::is_id(id) {
        return Err(unknown());
    }
    let item = table.get(&keys::oauth::client(id)).await?.ok_or_else(unknown)?;
    let record = ClientRecord::from_item(&item)?;
    if record.tenant == *tenant { Ok(record) } else { Err(unknown()) }
}

/// A tenant's clients, the oldest first; never their secrets.
///
/// # Errors
/// [`TenantError::NoTenant`]; [`TenantError::Table`] if a call fails.
pub async fn list(table: &Table, tenant: &TenantId) -> Result<Vec<ListedClient>, TenantError> {
    super::record::get(table, tenant).await?;
    let uses = table.query_all(&keys::bearer_uses(tenant), None).await?;
    let prefix = keys::oauth::CLIENT_LISTING;
    let listed = table.query_all(&keys::tenant_partition(tenant), Some(prefix)).await?;
    let mut places: Vec<Key> = Vec::with_capacity(listed.len());
    for entry in &listed {
        let id = must_text(entry, "sk")?.strip_prefix(prefix).unwrap_or_default();
        places.push(keys::oauth::client(id));
    }
    let items = table.batch_get(&places).await?;
    let mut records = items.iter().map(ClientRecord::from_item).collect::<Result<Vec<_>, _>>()?;
    records.retain(|record| record.tenant == *tenant);
    records.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
    let used: HashMap<&str, &str> =
        uses.iter().filter_map(|item| Some((get_text(item, "sk")?, get_text(item, "lastUsed")?))).collect();
    let listed = |record: ClientRecord| {
        let last_used = used.get(record.id.as_str()).map(|day| (*day).to_owned());
        ListedClient { record, last_used }
    };
    Ok(records.into_iter().map(listed).collect())
}

/// The new secret of a rotation.
#[derive(Clone, Debug)]
pub struct RotatedSecret {
    /// The client with it.
    pub record: ClientRecord,
    /// Its text.
    pub text: SecretText,
    /// Its id.
    pub id: String,
    /// When the other secrets end, unless they end earlier.
    pub others_until: OffsetDateTime,
}

/// Gives a client a new secret, and lets the others expire after the overlap (or when they would have anyway), with
/// the event `client.updated`. Without an overlap the others are revoked.
///
/// # Errors
/// - [`TenantError::NoTenant`], [`TenantError::BeingDeleted`], [`TenantError::NoClient`]; [`TenantError::KeyEnded`] for a
///   client that is revoked.
/// - [`TenantError::Input`] for a federated client, for too many secrets, and for an overlap that no date can name.
pub async fn rotate(
    table: &Table,
    by: &Actor,
    which: (&TenantId, &str),
    overlap: Duration,
    now: OffsetDateTime,
) -> Result<RotatedSecret, TenantError> {
    let until = super::key::end_of_overlap(None, overlap, now)?;
    super::record::get_lasting(table, which.0).await?;
    let mut made = None;
    let record = change(table, by, which, now, |record| {
        let (life, hours) = (record.token_life(), record.token_hours);
        let ClientProof::Secrets { secrets, years } = &mut record.proof else {
            let problem = "a federated client has no secret: the keys of its issuer rotate by themselves";
            return Err(TenantError::Input(problem.to_owned()));
        };
        // Forgets secrets of which no token works any more.
        secrets.retain(|secret| secret.expires + life > now);
        if overlap.is_positive() {
            secrets.iter_mut().for_each(|secret| secret.expires = secret.expires.min(until));
        } else {
            secrets.clear();
        }
        if secrets.iter().filter(|secret| secret.expires > now).count() >= MAX_CLIENT_SECRETS {
            return Err(TenantError::Input(format!(
                "a client has at most {MAX_CLIENT_SECRETS} secrets: revoke one first, or rotate without an overlap"
            )));
        }
        if secrets.len() >= MAX_KEPT_CLIENT_SECRETS {
            return Err(TenantError::Input(format!(
                "the tokens of {MAX_KEPT_CLIENT_SECRETS} secrets of this client still work: wait {hours} h, or rotate without an overlap, which ends them"
            )));
        }
        let (text, secret) = make_secret(*years, now)?;
        made = Some((text, secret.id.clone()));
        secrets.push(secret);
        Ok(true)
    })
    .await?;
    let (text, id) = made.ok_or_else(|| TenantError::KeyEnded(which.1.to_owned()))?;
    Ok(RotatedSecret { record: record.0, text, id, others_until: until })
}

/// Takes one secret back for good, with the tokens that were given for it, and with the event `client.updated`. Says
/// whether the client had it.
///
/// # Errors
/// [`TenantError::NoClient`]; [`TenantError::KeyEnded`] for a client that is revoked.
pub async fn revoke_secret(
    table: &Table,
    by: &Actor,
    which: (&TenantId, &str),
    secret: &str,
    now: OffsetDateTime,
) -> Result<bool, TenantError> {
    let changed = change(table, by, which, now, |record| {
        let ClientProof::Secrets { secrets, .. } = &mut record.proof else { return Ok(false) };
        let before = secrets.len();
        secrets.retain(|own| own.id != secret);
        Ok(secrets.len() < before)
    });
    Ok(changed.await?.1)
}

/// Takes a client back for good, with all its tokens, and with the event `client.revoked`. It acts as soon as the
/// authorizer's cache has forgotten its tokens. Says whether the client was in force until now.
///
/// # Errors
/// [`TenantError::NoClient`]; [`TenantError::Table`] if a call fails.
pub async fn revoke(
    table: &Table,
    by: &Actor,
    (tenant, id): (&TenantId, &str),
    now: OffsetDateTime,
) -> Result<bool, TenantError> {
    let mut attempts = Attempts::new(CHANGE_RETRIES);
    while attempts.start_next().await {
        let before = get(table, tenant, id).await?;
        if before.status == Status::Revoked {
            return Ok(false);
        }
        let after = ClientRecord { status: Status::Revoked, version: before.version + 1, ..before.clone() };
        let event = client_event("client.revoked", &after, by, now).attributes(["status"]);
        if write(table, &before, &after, &event).await? {
            return Ok(true);
        }
    }
    Err(StoreError::Conflict.into())
}

/// Changes the secrets of a client that is in force. Returns the client and whether it was changed.
async fn change(
    table: &Table,
    by: &Actor,
    (tenant, id): (&TenantId, &str),
    now: OffsetDateTime,
    mut apply: impl FnMut(&mut ClientRecord) -> Result<bool, TenantError>,
) -> Result<(ClientRecord, bool), TenantError> {
    let mut attempts = Attempts::new(CHANGE_RETRIES);
    while attempts.start_next().await {
        let before = get(table, tenant, id).await?;
        if before.status == Status::Revoked {
            return Err(TenantError::KeyEnded(id.to_owned()));
        }
        let mut after = before.clone();
        if !apply(&mut after)? {
            return Ok((before, false));
        }
        after.version += 1;
        let event = client_event("client.updated", &after, by, now).attributes(["secrets"]);
        if write(table, &before, &after, &event).await? {
            return Ok((after, true));
        }
    }
    Err(StoreError::Conflict.into())
}

/// Writes the next version of a client with its event. `false`: another change was faster.
async fn write(
    table: &Table,
    before: &ClientRecord,
    after: &ClientRecord,
    event: &Event,
) -> Result<bool, TenantError> {
    let item = after.to_item()?;
    let actions = || {
        let active = AttributeValue::S(Status::Active.name().to_owned());
        let unchanged = Expression::equals("status", active).and(Expression::version_is(before.version));
        let put = Action::put(keys::oauth::client(&before.id), item.clone());
        vec![put.only_if(unchanged, Refusal::Changed), event::action(&before.tenant, event)]
    };
    match table.transact(actions).await {
        Ok(()) => Ok(true),
        Err(StoreError::Refused(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn client_event(what: &'static str, record: &ClientRecord, by: &Actor, now: OffsetDateTime) -> Event {
    by.event(what, record.subject(), now)
}
