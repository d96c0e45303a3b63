//! `/tenants/{t}/keys`: the bearer keys of a tenant.

use http::StatusCode;
use lambda_http::{Body, Response};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::body::BodyFields;
use super::problem::ProblemDetails;
use super::request::{AppRequest, json, tenant_id};
use crate::auth::record::{KeyRecord, Scope};
use crate::clock;
use crate::http::response::empty;
use crate::limits::{DEFAULT_OVERLAP_SECONDS, MAX_OVERLAP_SECONDS};
use crate::store::keys::parse_id;
use crate::tenants::key::{self, NewKey};

/// Lists the keys of a tenant, the oldest first; never their texts.
///
/// # Errors
/// 404 if there is no such tenant; 503 if the table does not answer.
pub async fn list(app: &AppRequest<'_>, tenant: &str) -> Result<Response<Body>, ProblemDetails> {
    let now = clock::now();
    let listed = key::list(app.table, &tenant_id(tenant)?).await?;
    let rows = listed.iter().map(|listed| {
        let mut row = key_json(&listed.record, now);
        row["lastUsed"] = listed.last_used.clone().into();
        row
    });
    Ok(json(StatusCode::OK, &json!({ "keys": rows.collect::<Vec<_>>() })))
}

/// Makes a key: 201 with its text, which is shown only here.
///
/// # Errors
/// 400, 404; 409 while the tenant is being deleted.
pub async fn create(app: &AppRequest<'_>, tenant: &str) -> Result<Response<Body>, ProblemDetails> {
    let tenant = tenant_id(tenant)?;
    let mut body = BodyFields::read(app.request)?;
    let name = body.required_text("name")?;
    let scope = match body.text("scope")? {
        None => Scope::Provision,
        Some(scope) => {
            let advice = "scope must be provision or read.";
            Scope::named(&scope).ok_or_else(|| ProblemDetails::invalid(advice))?
        }
    };
    let expires = body.time("expires")?;
    let user = match body.text("user")? {
        None => None,
        Some(id) => {
            let advice = "user must be the SCIM id of a user.";
            Some(parse_id(&id).ok_or_else(|| ProblemDetails::invalid(advice))?)
        }
    };
    body.finish()?;
    let now = clock::now();
    let new = NewKey { tenant, name, scope, expires, user };
    let (key, record) = key::create(app.table, &app.actor, new, now).await?;
    let mut made = key_json(&record, now);
    made["key"] = key.reveal().into();
    Ok(json(StatusCode::CREATED, &made))
}

/// Makes the successor of a key: 201 with its text. The old key works until the overlap ends.
///
/// # Errors
/// 400, 404; 409 for a key that is revoked or expired, and while the tenant is being deleted.
pub async fn rotate(app: &AppRequest<'_>, tenant: &str, id: &str) -> Result<Response<Body>, ProblemDetails> {
    let tenant = tenant_id(tenant)?;
    let mut body = BodyFields::read_optional(app.request)?;
    let overlap = body.number("overlapSeconds", 0..=MAX_OVERLAP_SECONDS)?.unwrap_or(DEFAULT_OVERLAP_SECONDS);
    body.finish()?;
    let overlap = Duration::seconds(i64::try_from(overlap).unwrap_or(0));
    let now = clock::now();
    let (key, record, until) = key::rotate(app.table, &app.actor, (&tenant, id), overlap, now).await?;
    let mut made = key_json(&record, now);
    made["key"] = key.reveal().into();
    made["replaces"] = id.into();
    made["oldKeyExpires"] = clock::text(until).into();
    Ok(json(StatusCode::CREATED, &made))
}

/// Revokes a key: 204, also if it was revoked before.
///
/// # Errors
/// 404 if there is no such key; 503 if the table does not answer.
pub async fn revoke(app: &AppRequest<'_>, tenant: &str, id: &str) -> Result<Response<Body>, ProblemDetails> {
    let tenant = tenant_id(tenant)?;
    key::revoke(app.table, &app.actor, (&tenant, id), clock::now()).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

fn key_json(record: &KeyRecord, now: OffsetDateTime) -> Value {
    json!({
        "id": record.key_id,
        "name": record.name,
        "scope": record.scope.name(),
        "status": record.status.shown(record.is_expired(now)),
        "version": record.version,
        "created": clock::text(record.created),
        "expires": record.expires.map(clock::text),
        "user": record.user.map(|user| user.to_string()),
    })
}
