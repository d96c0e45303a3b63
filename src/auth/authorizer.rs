//! The Lambda authorizer: may this key pass, and as whom.
//!
//! API Gateway asks once for a key and caches the answer under the key's text, whatever the path;
//! so an answer speaks of the whole stage. A refusal is a Deny, which is cached and which the
//! gateway response turns into 401 (RFC 6750 §3.1); an error would be neither.

use std::time::Instant;

use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::key::BearerKey;
use super::record::{KeyRecord, Scope, Status};
use super::tenant::TenantRecord;
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
pub struct Grant {
    /// Whose data.
    pub tenant: TenantId,
    /// The key, by its public name.
    pub key_id: String,
    /// What the key may do.
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
}

/// Why a request may not pass. The client learns none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No `Bearer` credentials, or none that have the form of a key.
    Malformed,
    /// No such key.
    Unknown,
    /// The key belongs to another tenant than its text says.
    OtherTenant,
    /// The key was revoked.
    Revoked,
    /// The key has expired.
    Expired,
    /// The tenant is gone.
    NoTenant,
}

/// Whether a request may pass.
#[derive(Clone, PartialEq, Eq)]
pub enum Decision {
    /// It may.
    Allow(Grant),
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
            Self::NoTenant => "no_tenant",
        }
    }
}

/// Decides on a well-formed key by what the table holds under its hash and for the tenant that its
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
    if record.expires.is_some_and(|expires| expires <= now) {
        return deny(Reason::Expired);
    }
    let Some(tenant) = tenant.filter(|tenant| tenant.id == record.tenant) else {
        return deny(Reason::NoTenant);
    };
    Decision::Allow(Grant {
        tenant: tenant.id.clone(),
        key_id: record.key_id.clone(),
        scope: record.scope,
        policy: tenant.policy.name,
        retention_days: tenant.settings.retention_days,
        breaker: tenant.settings.limit(),
        root_team_protected: tenant.settings.root_team_protected,
        usage_key: tenant.usage_key.clone(),
        user: record.user,
    })
}

/// The key in an `Authorization` header: `"Bearer" 1*SP key`, the scheme in any case (RFC 6750
/// §2.1, RFC 9110 §11.1).
fn bearer(header: &str) -> Option<BearerKey> {
    let (scheme, rest) = header.split_once(' ')?;
    let key = rest.trim_start_matches(' ');
    scheme.eq_ignore_ascii_case("Bearer").then(|| BearerKey::parse(key).ok()).flatten()
}

/// Decides on an `Authorization` header. What has not the form of a key costs no call; what has
/// costs two, side by side.
///
/// # Errors
/// When the table does not answer, or holds what cannot be read.
pub async fn authorize(table: &Table, header: &str, now: OffsetDateTime) -> Result<Decision, StoreError> {
    let Some(key) = bearer(header) else {
        return Ok(Decision::Deny(Reason::Malformed, None));
    };
    let hash = key.sha256();
    let (record, tenant) = (keys::bearer(hash.as_str()), keys::tenant(key.tenant()));
    let (record, tenant) = tokio::try_join!(table.get(&record), table.get(&tenant))?;
    let record = record.as_ref().map(KeyRecord::from_item).transpose()?;
    // Without a key of that hash the tenant is no matter, not even when it cannot be read.
    let tenant = tenant.as_ref().filter(|_| record.is_some()).map(TenantRecord::from_item).transpose()?;
    Ok(decide(&key, record.as_ref(), tenant.as_ref(), now))
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

/// The answer that API Gateway expects of a Lambda authorizer. Context values are texts: API
/// Gateway would make them so, and the emulators would not.
fn answer(decision: &Decision, resource: &str) -> Value {
    let policy = |effect: &str| {
        json!({
            "Version": "2012-10-17",
            "Statement": [{ "Action": "execute-api:Invoke", "Effect": effect, "Resource": resource }],
        })
    };
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
            json!({
                "principalId": format!("{}/{}", grant.tenant, grant.key_id),
                "policyDocument": policy("Allow"),
                "context": context,
                "usageIdentifierKey": grant.usage_key,
            })
        }
        Decision::Deny(..) => {
            json!({ "principalId": "unknown", "policyDocument": policy("Deny"), "context": {} })
        }
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
    /// When the table does not answer, or the event is none of API Gateway's: API Gateway then
    /// answers 500 and caches nothing.
    pub async fn invoke(&self, event: Value) -> Result<Value, lambda_runtime::Error> {
        let started = Instant::now();
        let resource = event
            .get("methodArn")
            .and_then(Value::as_str)
            .and_then(whole_stage)
            .ok_or("the event has no method ARN of a stage: is this function called by API Gateway?")?;
        let header = event.get("authorizationToken").and_then(Value::as_str).unwrap_or_default();
        let decision = authorize(&self.table.fresh(), header, OffsetDateTime::now_utc()).await;
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
            tracing::info!(decision = "allow", tenant, key_id, scope = grant.scope.name(), duration_ms);
        }
        Ok(Decision::Deny(reason, Some((tenant, key_id)))) => {
            let (tenant, reason) = (tenant.as_str(), reason.name());
            tracing::info!(decision = "deny", reason, tenant, key_id, duration_ms);
        }
        Ok(Decision::Deny(reason, None)) => {
            tracing::info!(decision = "deny", reason = reason.name(), duration_ms);
        }
        Err(error) => tracing::error!(decision = "error", reason = %error, duration_ms),
    }
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use time::macros::datetime;

    use super::*;
    use crate::auth::key::KeyHash;
    use crate::auth::tenant::Settings;
    use crate::scim::policy::VEZA;

    const NOW: OffsetDateTime = datetime!(2026-06-01 12:00 UTC);

    fn parts() -> (BearerKey, KeyRecord, TenantRecord) {
        let tenant: TenantId = "acme".parse().expect("a tenant");
        let key = BearerKey::generate(&tenant).expect("randomness");
        let record = KeyRecord {
            hash: key.sha256(),
            tenant: tenant.clone(),
            key_id: "key_1".to_owned(),
            name: "Okta".to_owned(),
            scope: Scope::Provision,
            status: Status::Active,
            created: NOW,
            expires: None,
            user: None,
            version: 1,
        };
        let tenant = TenantRecord {
            id: tenant,
            policy: &VEZA,
            usage_key: "u".repeat(40),
            created: NOW,
            root_team: None,
            settings: Settings::default(),
            version: 1,
        };
        (key, record, tenant)
    }

    fn reason(decision: &Decision) -> Option<Reason> {
        match decision {
            Decision::Allow(_) => None,
            Decision::Deny(reason, _) => Some(*reason),
        }
    }

    #[test]
    fn the_decision_table() {
        type Change = fn(&mut KeyRecord, &mut TenantRecord);
        let rows: &[(Change, Option<Reason>)] = &[
            (|_, _| {}, None),
            (|key, _| key.scope = Scope::Read, None),
            (|key, _| key.expires = Some(NOW + Duration::SECOND), None),
            (|key, _| key.expires = Some(NOW), Some(Reason::Expired)),
            (|key, _| key.expires = Some(NOW - Duration::SECOND), Some(Reason::Expired)),
            (|key, _| key.status = Status::Revoked, Some(Reason::Revoked)),
            (|key, _| key.hash = KeyHash::stored("00"), Some(Reason::Unknown)),
            (|key, _| key.tenant = "other".parse().expect("a tenant"), Some(Reason::OtherTenant)),
            (|_, tenant| tenant.id = "other".parse().expect("a tenant"), Some(Reason::NoTenant)),
        ];
        for (at, (change, expected)) in rows.iter().enumerate() {
            let (key, mut record, mut tenant) = parts();
            change(&mut record, &mut tenant);
            let decision = decide(&key, Some(&record), Some(&tenant), NOW);
            assert_eq!(reason(&decision), *expected, "row {at}");
        }
        let (key, record, tenant) = parts();
        assert_eq!(reason(&decide(&key, None, Some(&tenant), NOW)), Some(Reason::Unknown));
        assert_eq!(reason(&decide(&key, Some(&record), None, NOW)), Some(Reason::NoTenant));
        assert_eq!(reason(&decide(&key, None, None, NOW)), Some(Reason::Unknown));
    }

    #[test]
    fn the_scheme_has_any_case_and_spaces() {
        let (key, ..) = parts();
        let key = key.reveal();
        for good in ["Bearer ", "bearer ", "BEARER   "] {
            assert!(bearer(&format!("{good}{key}")).is_some(), "{good:?}");
        }
        for bad in ["", "Bearer", "Bearer\t", " Bearer ", "Basic ", "Bearer Bearer ", "Bearer: "] {
            assert!(bearer(&format!("{bad}{key}")).is_none(), "{bad:?}");
        }
        for bad in ["", " ", "Bearer", "Bearer "] {
            assert!(bearer(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn an_arn_becomes_its_whole_stage() {
        let stage = "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod/*";
        for tail in ["", "/", "/GET/scim/v2/Users", "/GET/scim/v2/Schemas/urn:ietf:params:*", "/POST/x?y=é"]
        {
            let arn = format!("arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod{tail}");
            assert_eq!(whole_stage(&arn).as_deref(), Some(stage), "{arn}");
        }
        let other = "arn:aws-us-gov:execute-api:us-gov-west-1:1:a/test-invoke-stage/GET/";
        assert!(whole_stage(other).is_some_and(|stage| stage.starts_with("arn:aws-us-gov:")));
        for bad in [
            "",
            "arn",
            "arn:aws:execute-api:eu-west-1:1",
            "arn:aws:execute-api:eu-west-1:1:",
            "arn:aws:execute-api:eu-west-1:1:api",
            "arn:aws:execute-api:eu-west-1:1:api/",
            "arn:aws:execute-api:eu-west-1:1:*/prod/GET/",
            "arn:aws:execute-api:eu-west-1:1:api/*/GET/",
            "arn:aws:execute-api:eu-west-1:1:api/pr?d/GET/",
            "arn:aws:s3:eu-west-1:1:api/prod/GET/",
        ] {
            assert_eq!(whole_stage(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_allow_names_the_tenant_and_its_usage_key_in_texts() {
        let (key, mut record, tenant) = parts();
        record.user = Uuid::try_parse("01890a5d-ac96-774b-bcce-b302099a8057").ok();
        let allowed = answer(&decide(&key, Some(&record), Some(&tenant), NOW), "arn/*");
        let expected = json!({
            "principalId": "acme/key_1",
            "policyDocument": {
                "Version": "2012-10-17",
                "Statement": [{ "Action": "execute-api:Invoke", "Effect": "Allow", "Resource": "arn/*" }],
            },
            "context": {
                "tenantId": "acme", "keyId": "key_1", "scope": "provision", "policy": "veza",
                "retentionDays": "30",
                "userId": "01890a5d-ac96-774b-bcce-b302099a8057",
            },
            "usageIdentifierKey": "u".repeat(40),
        });
        assert_eq!(allowed, expected);
    }

    #[test]
    fn every_deny_looks_the_same() {
        let (key, mut record, tenant) = parts();
        record.status = Status::Revoked;
        let revoked = answer(&decide(&key, Some(&record), Some(&tenant), NOW), "arn/*");
        assert_eq!(revoked, answer(&Decision::Deny(Reason::Malformed, None), "arn/*"));
        assert_eq!(revoked["policyDocument"]["Statement"][0]["Effect"], "Deny");
        assert_eq!(revoked["context"], json!({}));
        assert_eq!(revoked.get("usageIdentifierKey"), None);
    }
}
