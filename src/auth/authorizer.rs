//! The Lambda authorizer: may this key or access token pass, and as whom.
//!
//! API Gateway asks once for a key and caches the answer for all paths. So an answer covers the whole stage. A
//! refusal is a Deny: API Gateway caches it and answers 401 (RFC 6750 §3.1). API Gateway caches no error, and
//! answers 500.

use std::time::Instant;

use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::access_token::{AccessToken, TokenRecord};
use super::client::ClientRecord;
use super::key::BearerKey;
use super::record::{KeyRecord, Scope, Status};
use super::tenant::TenantRecord;
use crate::clock;
use crate::store::call::Table;
use crate::store::deactivations::DeactivationLimit;
use crate::store::error::StoreError;
use crate::store::keys::{self, TenantId};

/// The authorizer over a table.
#[derive(Clone, Debug)]
pub struct Authorizer {
    table: Table,
}

/// What may be done, by whom.
#[derive(Clone, PartialEq, Eq)]
pub struct GrantedAccess {
    /// Whose data.
    pub tenant: TenantId,
    /// The key, or the client of the token, by its public name.
    pub key_id: String,
    /// What the key or the token may do.
    pub scope: Scope,
    /// The name of the tenant's policy.
    pub policy: &'static str,
    /// How many days the tenant keeps deactivated accounts.
    pub retention_days: u32,
    /// How many users may be deactivated within an hour, if the tenant limits it.
    pub breaker: Option<DeactivationLimit>,
    /// Whether no bearer key changes who administers the root team.
    pub root_team_protected: bool,
    /// The value by which the usage plan counts.
    pub usage_key: String,
    /// The user that `/Me` stands for.
    pub user: Option<Uuid>,
    /// From when on the key or the token is refused.
    pub expires: Option<OffsetDateTime>,
}

/// Why a request may not pass. The client learns none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No `Bearer` credentials, or none that have the form of a key or a token.
    Malformed,
    /// No such key or token.
    Unknown,
    /// The key or token belongs to another tenant than its text says.
    OtherTenant,
    /// The key, the client of the token, or its secret was revoked.
    Revoked,
    /// The key or token has expired.
    Expired,
    /// The client of the token is gone.
    NoClient,
    /// The tenant is gone.
    NoTenant,
}

/// Whether a request may pass.
#[derive(Clone, PartialEq, Eq)]
pub enum Decision {
    /// It may.
    Allow(GrantedAccess),
    /// It may not; the key, where one is known, for the log.
    Deny(Reason, Option<(TenantId, String)>),
}

impl Reason {
    /// The word in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::OtherTenant => "other_tenant",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::NoClient => "no_client",
            Self::NoTenant => "no_tenant",
        }
    }
}

/// Decides on a well-formed key. `record` is the item of its hash, and `tenant` the item of the tenant that its
/// text names.
pub fn decide(
    key: &BearerKey,
    record: Option<&KeyRecord>,
    tenant: Option<&TenantRecord>,
    now: OffsetDateTime,
) -> Decision {
    let Some(record) = record.filter(|record| record.hash == key.sha256()) else {
        return Decision::Deny(Reason::Unknown, None);
    };
    let deny = |reason| Decision::Deny(reason, Some((record.tenant.clone(), record.key_id.clone())));
    if record.tenant != *key.tenant() {
        return deny(Reason::OtherTenant);
    }
    if record.status == Status::Revoked {
        return deny(Reason::Revoked);
    }
    if record.is_expired(now) {
        return deny(Reason::Expired);
    }
    let Some(tenant) = tenant.filter(|tenant| tenant.id == record.tenant) else {
        return deny(Reason::NoTenant);
    };
    let grant = grant(tenant, &record.key_id, record.scope, now);
    Decision::Allow(GrantedAccess { user: record.user, expires: record.expires, ..grant })
}

/// Decides on a well-formed access token. `record` is the item of its hash, `client` the item of the client that the
/// record names, and `tenant` the item of the tenant that the token's text names.
pub fn decide_token(
    token: &AccessToken,
    record: Option<&TokenRecord>,
    client: Option<&ClientRecord>,
    tenant: Option<&TenantRecord>,
    now: OffsetDateTime,
) -> Decision {
    let Some(record) = record.filter(|record| record.hash == token.sha256()) else {
        return Decision::Deny(Reason::Unknown, None);
    };
    let deny = |reason| Decision::Deny(reason, Some((record.tenant.clone(), record.client.clone())));
    if record.tenant != *token.tenant() {
        return deny(Reason::OtherTenant);
    }
    if record.expires <= now {
        return deny(Reason::Expired);
    }
    let is_own = |client: &&ClientRecord| client.id == record.client && client.tenant == record.tenant;
    let Some(client) = client.filter(is_own) else {
        return deny(Reason::NoClient);
    };
    if client.status == Status::Revoked || !client.allows_token_of(record.secret.as_deref()) {
        return deny(Reason::Revoked);
    }
    let Some(tenant) = tenant.filter(|tenant| tenant.id == record.tenant) else {
        return deny(Reason::NoTenant);
    };
    let grant = grant(tenant, &record.client, record.scope, now);
    Decision::Allow(GrantedAccess { expires: Some(record.expires), ..grant })
}

fn grant(tenant: &TenantRecord, key_id: &str, scope: Scope, now: OffsetDateTime) -> GrantedAccess {
    GrantedAccess {
        tenant: tenant.id.clone(),
        key_id: key_id.to_owned(),
        scope,
        policy: tenant.policy.name,
        retention_days: tenant.settings.retention_days,
        breaker: tenant.settings.limit(),
        root_team_protected: tenant.settings.root_team_protected,
        usage_key: tenant.usage_key_at(now.unix_timestamp().unsigned_abs()).to_owned(),
        user: None,
        expires: None,
    }
}

/// The text of the key in an `Authorization` header: `"Bearer" 1*SP key`, the scheme in any case (RFC 6750
/// §2.1, RFC 9110 §11.1).
pub(super) fn bearer_text(header: &str) -> Option<&str> {
    let (scheme, rest) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| rest.trim_start_matches(' '))
}

/// What an `Authorization` header holds.
enum BearerCredential {
    Key(BearerKey),
    Token(AccessToken),
}

fn bearer(header: &str) -> Option<BearerCredential> {
    let text = bearer_text(header)?;
    let key = BearerKey::parse(text).map(BearerCredential::Key);
    key.or_else(|_| AccessToken::parse(text).map(BearerCredential::Token)).ok()
}

/// Decides on an `Authorization` header. Text that is neither a key nor a token costs no call. A key costs two
/// reads, side by side. A token costs one more, after them: that of its client.
///
/// # Errors
/// [`StoreError`] if a read fails, or if an item cannot be understood.
pub async fn authorize(table: &Table, header: &str, now: OffsetDateTime) -> Result<Decision, StoreError> {
    match bearer(header) {
        None => Ok(Decision::Deny(Reason::Malformed, None)),
        Some(BearerCredential::Key(key)) => authorize_key(table, &key, now).await,
        Some(BearerCredential::Token(token)) => authorize_token(table, &token, now).await,
    }
}

async fn authorize_key(table: &Table, key: &BearerKey, now: OffsetDateTime) -> Result<Decision, StoreError> {
    let hash = key.sha256();
    let (record, tenant) = (keys::bearer(hash.as_str()), keys::tenant(key.tenant()));
    let (record, tenant) = tokio::try_join!(table.get(&record), table.get(&tenant))?;
    let record = record.as_ref().map(KeyRecord::from_item).transpose()?;
    // If no key has this hash, the tenant's item is ignored, even if it is malformed.
    let tenant = tenant.as_ref().filter(|_| record.is_some()).map(TenantRecord::from_item).transpose()?;
    Ok(decide(key, record.as_ref(), tenant.as_ref(), now))
}

async fn authorize_token(
    table: &Table,
    token: &AccessToken,
    now: OffsetDateTime,
) -> Result<Decision, StoreError> {
    let place = keys::oauth::access_token(token.sha256().as_str());
    let tenant = keys::tenant(token.tenant());
    let (record, tenant) = tokio::try_join!(table.get(&place), table.get(&tenant))?;
    let record = record.as_ref().map(TokenRecord::from_item).transpose()?;
    let tenant = tenant.as_ref().filter(|_| record.is_some()).map(TenantRecord::from_item).transpose()?;
    // Not for a token that is refused without its client.
    let named = record.as_ref().filter(|record| record.expires > now && record.tenant == *token.tenant());
    let client = match named {
        Some(record) => table.get(&keys::oauth::client(&record.client)).await?,
        None => None,
    };
    let client = client.as_ref().map(ClientRecord::from_item).transpose()?;
    Ok(decide_token(token, record.as_ref(), client.as_ref(), tenant.as_ref(), now))
}

/// Every method and path of the stage that a method's ARN is in.
///
/// ```text
/// arn:{partition}:execute-api:{region}:{account}:{api}/{stage}/{method}/{path}
/// ```
fn whole_stage(method_arn: &str) -> Option<String> {
    // A wildcard in these would reach further than the stage.
    let plain = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_$".contains(&byte))
    };
    let mut parts = method_arn.splitn(6, ':');
    let (arn, partition, service) = (parts.next()?, parts.next()?, parts.next()?);
    let (region, account, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let mut path = rest.split('/');
    let (api, stage) = (path.next()?, path.next()?);
    let good = arn == "arn"
        && service == "execute-api"
        && [partition, region, account, api, stage].into_iter().all(plain);
    good.then(|| format!("arn:{partition}:execute-api:{region}:{account}:{api}/{stage}/*"))
}

/// What a `TOKEN` authorizer event asks: the resource that the answer speaks of, and the `Authorization`
/// header.
///
/// # Errors
/// An event that is none of API Gateway's.
pub(super) fn read_event(event: &Value) -> Result<(String, &str), &'static str> {
    let resource = event
        .get("methodArn")
        .and_then(Value::as_str)
        .and_then(whole_stage)
        .ok_or("the event has no method ARN of a stage: is this function called by API Gateway?")?;
    Ok((resource, event.get("authorizationToken").and_then(Value::as_str).unwrap_or_default()))
}

/// The policy that allows or denies every request to `resource`.
pub(super) fn policy_document(effect: &str, resource: &str) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{ "Action": "execute-api:Invoke", "Effect": effect, "Resource": resource }],
    })
}

/// The answer for a key that may not pass.
pub(super) fn deny(resource: &str) -> Value {
    json!({ "principalId": "unknown", "policyDocument": policy_document("Deny", resource), "context": {} })
}

/// The answer that API Gateway expects of a Lambda authorizer. Context values are texts: API
/// Gateway would make them so, and the emulators would not.
fn answer(decision: &Decision, resource: &str) -> Value {
    match decision {
        Decision::Allow(grant) => {
            let mut context = json!({
                "tenantId": grant.tenant.as_str(),
                "keyId": grant.key_id,
                "scope": grant.scope.name(),
                "policy": grant.policy,
                "retentionDays": grant.retention_days.to_string(),
            });
            if let Some(limit) = grant.breaker {
                context["breakerPercent"] = limit.percent.to_string().into();
                context["breakerLiftedUntil"] = limit.lifted_until.to_string().into();
            }
            if grant.root_team_protected {
                context["rootTeamProtected"] = "true".into();
            }
            if let Some(user) = grant.user {
                context["userId"] = Value::String(user.to_string());
            }
            // API Gateway may cache the answer for longer. So the function looks at the end, too.
            if let Some(expires) = grant.expires {
                context["expires"] = clock::text(expires).into();
            }
            json!({
                "principalId": format!("{}/{}", grant.tenant, grant.key_id),
                "policyDocument": policy_document("Allow", resource),
                "context": context,
                "usageIdentifierKey": grant.usage_key,
            })
        }
        Decision::Deny(..) => deny(resource),
    }
}

impl Authorizer {
    /// An authorizer over a table.
    pub fn new(table: Table) -> Self {
        Self { table }
    }

    /// Answers one `TOKEN` authorizer event, and logs one line.
    ///
    /// # Errors
    /// An error if the table does not answer, or if API Gateway did not make the event. API Gateway then answers
    /// 500 and caches nothing.
    pub async fn invoke(&self, event: Value) -> Result<Value, lambda_runtime::Error> {
        let started = Instant::now();
        let (resource, header) = read_event(&event)?;
        let decision = authorize(&self.table.fresh(), header, clock::now()).await;
        log(&decision, started);
        Ok(answer(&decision?, &resource))
    }
}

/// One line a decision: never a key or its hash, nor a tenant that only a text named.
fn log(decision: &Result<Decision, StoreError>, started: Instant) {
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    match decision {
        Ok(Decision::Allow(grant)) => {
            let (tenant, key_id) = (grant.tenant.as_str(), grant.key_id.as_str());
            tracing::info!(
                decision = "allow",
                tenant,
                key_id,
                scope = grant.scope.name(),
                duration_ms,
                "authorization"
            );
        }
        Ok(Decision::Deny(reason, Some((tenant, key_id)))) => {
            let (tenant, reason) = (tenant.as_str(), reason.name());
            tracing::info!(decision = "deny", reason, tenant, key_id, duration_ms, "authorization");
        }
        Ok(Decision::Deny(reason, None)) => {
            tracing::info!(decision = "deny", reason = reason.name(), duration_ms, "authorization");
        }
        Err(error) => tracing::error!(decision = "error", reason = %error, duration_ms, "authorization"),
    }
}

#[cfg(test)]
mod tests;
