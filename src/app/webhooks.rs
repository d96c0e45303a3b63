//! `/webhooks`: where every change of the deployment is sent to.

use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use lambda_http::{Body, Response};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::body::BodyFields;
use super::problem::ProblemDetails;
use super::request::{AppRequest, json};
use crate::clock;
use crate::deliver::registry::{Registry, RegistryError, WebhookUpdate};
use crate::http::response::empty;
use crate::limits::{DEFAULT_OVERLAP_SECONDS, MAX_OVERLAP_SECONDS, MAX_WEBHOOKS};
use crate::store::feed::consumer::ConsumerState;
use crate::store::webhook::Webhook;
use crate::store::webhook_test::WebhookTest;

/// Lists webhooks, page by page, without their secrets.
///
/// # Errors
/// 400 for a cursor that was not answered here.
pub async fn list(app: &AppRequest<'_>) -> Result<Response<Body>, ProblemDetails> {
    let after = app.parameter("cursor");
    if after.as_deref().is_some_and(|after| !Webhook::is_id(after)) {
        let advice = "cursor must be next of an earlier answer.";
        return Err(ProblemDetails::typed(400, "invalidCursor", advice));
    }
    let limit = i32::try_from(app.limit(MAX_WEBHOOKS)?).unwrap_or(1);
    let ((webhooks, next), consumers, tests) = tokio::try_join!(
        Webhook::page(app.table, after, limit),
        ConsumerState::list(app.table),
        WebhookTest::list(app.table),
    )?;
    let rows = webhooks.iter().map(|webhook| {
        let consumer = consumers.iter().find(|consumer| consumer.name == webhook.id);
        let test = tests.iter().find(|test| test.webhook == webhook.id);
        webhook_json(webhook, consumer, test)
    });
    let mut body = json!({ "webhooks": rows.collect::<Vec<_>>() });
    if let Some(next) = next {
        body["next"] = next.into();
    }
    Ok(json(StatusCode::OK, &body))
}

/// Answers one webhook.
///
/// # Errors
/// 404 if there is no such webhook; 503 if the table does not answer.
pub async fn retrieve(app: &AppRequest<'_>, id: &str) -> Result<Response<Body>, ProblemDetails> {
    let webhook = match Webhook::is_id(id) {
        true => Webhook::fetch(app.table, id).await?,
        false => None,
    };
    let webhook = webhook.ok_or_else(|| RegistryError::Unknown(id.to_owned()))?;
    Ok(json(StatusCode::OK, &describe(app, &webhook).await?))
}

/// Makes a webhook: 201 with its secret, which is shown only here.
///
/// # Errors
/// 400 for a URL that is not allowed, and if there are too many webhooks.
pub async fn create(app: &AppRequest<'_>) -> Result<Response<Body>, ProblemDetails> {
    let mut body = BodyFields::read(app.request)?;
    let url = body.required_text("url")?;
    let include_resource = body.flag("includeResource")?.unwrap_or(false);
    body.finish()?;
    let (webhook, secret) = registry(app)?.create(&url, include_resource).await?;
    let mut made = describe(app, &webhook).await?;
    made["secret"] = secret.reveal().into();
    Ok(at(app, &webhook.id, json(StatusCode::CREATED, &made)))
}

/// Changes a webhook. A member that is absent stays as it is. The next attempt is made within a minute.
///
/// # Errors
/// 400, 404; 409 if it was changed at the same time.
pub async fn update(app: &AppRequest<'_>, id: &str) -> Result<Response<Body>, ProblemDetails> {
    let mut body = BodyFields::read(app.request)?;
    let (url, include_resource) = (body.lasting_text("url")?, body.flag("includeResource")?);
    let update = WebhookUpdate { url, include_resource, enabled: body.flag("enabled")? };
    body.finish()?;
    let webhook = registry(app)?.update(id, update).await?;
    Ok(json(StatusCode::OK, &describe(app, &webhook).await?))
}

/// Deletes a webhook with its position and its secrets: 204.
///
/// # Errors
/// 404; 409 if it was changed at the same time.
pub async fn delete(app: &AppRequest<'_>, id: &str) -> Result<Response<Body>, ProblemDetails> {
    registry(app)?.delete(id).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// Gives a webhook a new secret, which is shown only here. The old one signs too until the overlap ends.
///
/// # Errors
/// 400, 404; 409 if it was changed at the same time.
pub async fn rotate(app: &AppRequest<'_>, id: &str) -> Result<Response<Body>, ProblemDetails> {
    let mut body = BodyFields::read_optional(app.request)?;
    let overlap = body.number("overlapSeconds", 0..=MAX_OVERLAP_SECONDS)?.unwrap_or(DEFAULT_OVERLAP_SECONDS);
    body.finish()?;
    let (webhook, secret) = registry(app)?.rotate(id, overlap).await?;
    let mut rotated = describe(app, &webhook).await?;
    rotated["secret"] = secret.reveal().into();
    rotated["oldSecretUntil"] = moment(webhook.old_secret_until).into();
    Ok(json(StatusCode::OK, &rotated))
}

/// Asks the worker to send a message without changes: 202. `Location` is the webhook, which shows what came of it.
///
/// # Errors
/// 404 if there is no such webhook; 503 if the table does not answer.
pub async fn test(app: &AppRequest<'_>, id: &str) -> Result<Response<Body>, ProblemDetails> {
    BodyFields::read_optional(app.request)?.finish()?;
    let test = registry(app)?.request_test(id).await?;
    Ok(at(app, id, json(StatusCode::ACCEPTED, &test_json(&test))))
}

fn registry<'a>(app: &'a AppRequest<'_>) -> Result<Registry<'a>, ProblemDetails> {
    let rule = app.managing()?.target_rule;
    Ok(Registry { table: app.table, actor: &app.actor.id, request_id: &app.actor.request_id, rule })
}

/// The response with the URL of a webhook as `Location`.
fn at(app: &AppRequest<'_>, id: &str, mut response: Response<Body>) -> Response<Body> {
    if let Ok(location) = HeaderValue::from_str(&format!("{}/webhooks/{id}", app.base_url)) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// A webhook with its position and its last test.
async fn describe(app: &AppRequest<'_>, webhook: &Webhook) -> Result<Value, ProblemDetails> {
    let (consumer, test) = tokio::try_join!(
        ConsumerState::fetch(app.table, &webhook.id),
        WebhookTest::fetch(app.table, &webhook.id),
    )?;
    Ok(webhook_json(webhook, consumer.as_ref(), test.as_ref()))
}

fn webhook_json(webhook: &Webhook, consumer: Option<&ConsumerState>, test: Option<&WebhookTest>) -> Value {
    let retry_at = consumer.map_or(0, |consumer| consumer.retry_at);
    json!({
        "id": webhook.id,
        "version": webhook.version,
        "url": webhook.url,
        "includeResource": webhook.include_resource,
        "enabled": webhook.disabled.is_none(),
        "disabledReason": webhook.disabled,
        "created": webhook.created,
        "seq": consumer.map(|consumer| consumer.position.seq),
        "lastSuccess": consumer.and_then(|consumer| consumer.last_success.as_deref()),
        "lastError": consumer.and_then(ConsumerState::problem),
        "failedAttempts": consumer.map_or(0, |consumer| consumer.attempts),
        "nextAttempt": if retry_at > 0 && webhook.disabled.is_none() { moment(retry_at) } else { None },
        "test": test.map(test_json),
    })
}

fn test_json(test: &WebhookTest) -> Value {
    let result = test.result.as_ref();
    let error = result.and_then(|result| result.error.as_deref());
    json!({
        "id": test.id,
        "state": match (result, error) {
            (None, _) => "pending",
            (Some(_), None) => "taken",
            (Some(_), Some(_)) => "failed",
        },
        "requested": test.requested,
        "finished": result.map(|result| result.finished.as_str()),
        "status": result.and_then(|result| result.status),
        "error": error,
    })
}

/// A time in seconds since 1970, in RFC 3339.
fn moment(seconds: u64) -> Option<String> {
    let seconds = i64::try_from(seconds).ok()?;
    OffsetDateTime::from_unix_timestamp(seconds).ok().map(clock::text)
}
