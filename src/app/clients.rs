//! `/tenants/{t}/clients`: the OAuth clients of a tenant.

use http::StatusCode;
use lambda_http::{Body, Response};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::body::BodyFields;
use super::problem::ProblemDetails;
use super::request::{AppRequest, json, tenant_id};
use crate::auth::client::{ClientProof, ClientRecord, Federation};
use crate::auth::record::Scope;
use crate::clock;
use crate::http::response::empty;
use crate::limits::{DEFAULT_OVERLAP_SECONDS, MAX_OVERLAP_SECONDS, SECRET_YEARS, TOKEN_HOURS};
use crate::tenants::client::{self, NewClient, NewProof};

/// Lists the clients of a tenant, the oldest first; never their secrets.
///
/// # Errors
/// 404 if there is no such tenant; 503 if the table does not answer.
pub async fn list(app: &AppRequest<'_>, tenant: &str) -> Result<Response<Body>, ProblemDetails> {
    let now = clock::now();
    let listed = client::list(app.table, &tenant_id(tenant)?).await?;
    let rows = listed.iter().map(|listed| {
        let mut row = client_json(&listed.record, now);
        row["lastUsed"] = listed.last_used.clone().into();
        row
    });
    Ok(json(StatusCode::OK, &json!({ "clients": rows.collect::<Vec<_>>() })))
}

/// Makes a client: 201 with its secret, which is shown only here. A federated one has no secret.
///
/// # Errors
/// 400, 404.
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
    let token_hours = body.number("tokenHours", TOKEN_HOURS)?.unwrap_or(*TOKEN_HOURS.start());
    let years = body.number("secretYears", SECRET_YEARS)?;
    let federation = read_federation(body.take("federation"))?;
    body.finish()?;
    let proof = match (federation, years) {
        (Some(_), Some(_)) => {
            let advice =
                "A client has secretYears or federation, not both: a federated client has no secret.";
            return Err(ProblemDetails::invalid(advice));
        }
        (Some(federation), None) => NewProof::Federated(federation, app.managing()?.target_rule),
        (None, years) => NewProof::Secret(years.unwrap_or(*SECRET_YEARS.start())),
    };
    let now = clock::now();
    let new = NewClient { tenant, name, scope, token_hours, proof };
    let (secret, record) = client::create(app.table, &app.actor, new, now).await?;
    let mut made = client_json(&record, now);
    if let Some(secret) = secret {
        made["clientSecret"] = secret.reveal().into();
    }
    Ok(json(StatusCode::CREATED, &made))
}

fn read_federation(value: Option<Value>) -> Result<Option<Federation>, ProblemDetails> {
    let advice = "federation must be an object with the texts subject and audience, and either entraDirectory or issuer and jwksUrl.";
    let members = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(members)) => members,
        Some(_) => return Err(ProblemDetails::invalid(advice)),
    };
    let known = ["issuer", "subject", "audience", "jwksUrl", "entraDirectory"];
    if members.iter().any(|(name, value)| !known.contains(&name.as_str()) || !value.is_string()) {
        return Err(ProblemDetails::invalid(advice));
    }
    let text = |name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned);
    let directory = text("entraDirectory");
    let (issuer, jwks_url) = directory.as_deref().map(Federation::entra_urls).unzip();
    let wrong = || ProblemDetails::invalid(advice);
    Ok(Some(Federation {
        issuer: text("issuer").or(issuer).ok_or_else(wrong)?,
        subject: text("subject").ok_or_else(wrong)?,
        audience: text("audience").ok_or_else(wrong)?,
        jwks_url: text("jwksUrl").or(jwks_url).ok_or_else(wrong)?,
        directory,
    }))
}

/// Gives a client a new secret: 201 with its text. The others work until the overlap ends. Without an overlap they are
/// revoked.
///
/// # Errors
/// 400, 404; 409 for a client that is revoked.
pub async fn rotate(app: &AppRequest<'_>, tenant: &str, id: &str) -> Result<Response<Body>, ProblemDetails> {
    let tenant = tenant_id(tenant)?;
    let mut body = BodyFields::read_optional(app.request)?;
    let overlap = body.number("overlapSeconds", 0..=MAX_OVERLAP_SECONDS)?.unwrap_or(DEFAULT_OVERLAP_SECONDS);
    body.finish()?;
    let overlap = Duration::seconds(i64::try_from(overlap).unwrap_or(0));
    let now = clock::now();
    let rotated = client::rotate(app.table, &app.actor, (&tenant, id), overlap, now).await?;
    let mut made = client_json(&rotated.record, now);
    made["clientSecret"] = rotated.text.reveal().into();
    made["secretId"] = rotated.id.into();
    made["otherSecretsExpire"] = clock::text(rotated.others_until).into();
    Ok(json(StatusCode::CREATED, &made))
}

/// Revokes a client with its tokens: 204, also if it was revoked before.
///
/// # Errors
/// 404 if there is no such client; 503 if the table does not answer.
pub async fn revoke(app: &AppRequest<'_>, tenant: &str, id: &str) -> Result<Response<Body>, ProblemDetails> {
    let tenant = tenant_id(tenant)?;
    client::revoke(app.table, &app.actor, (&tenant, id), clock::now()).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

fn client_json(record: &ClientRecord, now: OffsetDateTime) -> Value {
    let live = record.proof.secrets().iter().filter(|secret| secret.expires > now);
    let secrets = live.map(|secret| {
        json!({
            "id": secret.id,
            "created": clock::text(secret.created),
            "expires": clock::text(secret.expires),
        })
    });
    let federation = match &record.proof {
        ClientProof::Secrets { .. } => None,
        ClientProof::Federated(federation) => Some(json!({
            "issuer": federation.issuer,
            "subject": federation.subject,
            "audience": federation.audience,
            "jwksUrl": federation.jwks_url,
            "entraDirectory": federation.directory,
        })),
    };
    json!({
        "id": record.id,
        "name": record.name,
        "scope": record.scope.name(),
        "status": record.status.shown(record.is_expired(now)),
        "version": record.version,
        "created": clock::text(record.created),
        "tokenHours": record.token_hours,
        "secrets": secrets.collect::<Vec<_>>(),
        "federation": federation,
    })
}
