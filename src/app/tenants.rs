//! `/tenants`: list, make, read, set.

use http::StatusCode;
use lambda_http::{Body, Response};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::body::BodyFields;
use super::problem::ProblemDetails;
use super::request::{AppRequest, json, tenant_id};
use crate::auth::plan::RatePlan;
use crate::auth::tenant::{Settings, TenantRecord};
use crate::clock;
use crate::limits::{MAX_RETENTION_DAYS, TENANTS_PER_PAGE};
use crate::scim::policy::{POLICIES, Policy};
use crate::store::error::Refusal;
use crate::store::keys::{self, TenantId};
use crate::store::transaction::{Action, Expression};
use crate::tenants::error::TenantError;
use crate::tenants::record::{self, NewTenant};

/// Lists tenants by name, page by page.
///
/// # Errors
/// 400 for a cursor that was not answered here.
pub async fn list(app: &AppRequest<'_>) -> Result<Response<Body>, ProblemDetails> {
    let after: Option<TenantId> = match app.parameter("cursor") {
        None => None,
        Some(cursor) => Some(cursor.parse().map_err(|_| {
            ProblemDetails::typed(400, "invalidCursor", "cursor must be next of an earlier answer.")
        })?),
    };
    let most = usize::try_from(TENANTS_PER_PAGE).unwrap_or(1);
    let limit = i32::try_from(app.limit(most)?).unwrap_or(TENANTS_PER_PAGE);
    let (records, next) = record::page(app.table, after.as_ref().map(TenantId::as_str), limit).await?;
    let records: Vec<Value> = records.iter().map(tenant_json).collect();
    let mut body = json!({ "tenants": records });
    if let Some(next) = next {
        body["next"] = next.into();
    }
    Ok(json(StatusCode::OK, &body))
}

/// Answers one tenant.
///
/// # Errors
/// 404 if there is no such tenant; 503 if the table does not answer.
pub async fn retrieve(app: &AppRequest<'_>, name: &str) -> Result<Response<Body>, ProblemDetails> {
    Ok(json(StatusCode::OK, &tenant_json(&app.tenant(name).await?)))
}

/// Makes a tenant: 201. If the same request has made it before: 200.
///
/// # Errors
/// 400, 409; 503 if its usage key could not be made.
pub async fn create(app: &AppRequest<'_>) -> Result<Response<Body>, ProblemDetails> {
    let mut new = read_new(app)?;
    if let Some(answer) = answer_existing(app, &new).await? {
        return Ok(answer);
    }
    record::check(&new)?;
    let now = clock::now();
    let free = free_name(app, &new.id).await?;
    let made = app.managing()?.usage_keys.make(&new.id, new.plan).await?;
    (new.usage_key, new.usage_plan) = (made.value, made.plan);
    match record::create(app.table, &app.actor, &new, &free, now).await {
        Ok(record) => Ok(json(StatusCode::CREATED, &tenant_json(&record))),
        // The same request may have come twice at once.
        Err(TenantError::Exists(id)) => {
            answer_existing(app, &new).await?.ok_or_else(|| TenantError::Exists(id).into())
        }
        Err(error) => Err(error.into()),
    }
}

fn read_new(app: &AppRequest<'_>) -> Result<NewTenant, ProblemDetails> {
    let mut body = BodyFields::read(app.request)?;
    let id: TenantId = body.required_text("tenant")?.parse().map_err(|_| {
        ProblemDetails::invalid(
            "tenant must have 2 to 31 characters: a lower-case letter, then letters, digits or hyphens.",
        )
    })?;
    let policy = match body.text("policy")? {
        None => POLICIES[0],
        Some(name) => Policy::named(&name).ok_or_else(|| {
            let names: Vec<&str> = POLICIES.iter().map(|policy| policy.name).collect();
            ProblemDetails::invalid(format!("policy must be one of {}.", names.join(", ")))
        })?,
    };
    let plan = read_plan(&mut body)?.unwrap_or_default();
    let admin = body.text("adminEmail")?;
    body.finish()?;
    let mut new = NewTenant::new(&id, policy, "");
    new.admin = admin.unwrap_or(new.admin);
    new.plan = plan;
    new.request = Some(keys::hash(&json!([policy.name, plan.name(), new.admin]).to_string()));
    Ok(new)
}

fn read_plan(body: &mut BodyFields) -> Result<Option<RatePlan>, ProblemDetails> {
    let Some(name) = body.text("plan")? else { return Ok(None) };
    let names = || RatePlan::ALL.map(RatePlan::name).join(", ");
    let plan = RatePlan::named(&name);
    plan.map(Some).ok_or_else(|| ProblemDetails::invalid(format!("plan must be one of {}.", names())))
}

/// The answer if there is a tenant of this name: 200 if the same request has made it.
async fn answer_existing(
    app: &AppRequest<'_>,
    new: &NewTenant,
) -> Result<Option<Response<Body>>, ProblemDetails> {
    match record::get(app.table, &new.id).await {
        Ok(record) if record.is_being_deleted => Err(TenantError::BeingDeleted(record.id).into()),
        Ok(record) if record.request == new.request => Ok(Some(json(StatusCode::OK, &tenant_json(&record)))),
        Ok(record) => Err(TenantError::Exists(record.id).into()),
        Err(TenantError::NoTenant(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The action which makes sure that the name was never given. The name of a deleted tenant is given again by
/// the operator, whose tool looks through the whole table for what was left.
async fn free_name(app: &AppRequest<'_>, id: &TenantId) -> Result<Action, ProblemDetails> {
    let key = keys::tenant_deleted(id);
    if app.table.get(&key).await?.is_none() {
        return Ok(Action::check(key, Expression::absent(), Refusal::Exists));
    }
    let detail = "A tenant of this name was deleted. Only the operator can give the name again (rollcall tenant create): choose another name.";
    Err(ProblemDetails::typed(409, "nameRests", detail))
}

/// Changes the settings of a tenant. A member that is absent stays as it is.
///
/// # Errors
/// 400, 404; 409 while it is being deleted; 503 if the usage key of another plan could not be made.
pub async fn update(app: &AppRequest<'_>, name: &str) -> Result<Response<Body>, ProblemDetails> {
    let id = tenant_id(name)?;
    let mut body = BodyFields::read(app.request)?;
    if let Some(name) = ["plan", "retentionDays"].into_iter().find(|name| body.is_null(name)) {
        return Err(ProblemDetails::invalid(format!("{name} cannot be null. Leave it out to keep it.")));
    }
    let plan = read_plan(&mut body)?;
    if body.take("policy").is_some() {
        return Err(ProblemDetails::invalid(
            "The policy of a tenant cannot be changed. Make another tenant.",
        ));
    }
    if body.take("settings").is_some() {
        let advice = "Send the settings as members of the body, such as {\"retentionDays\": 30}, and not within settings.";
        return Err(ProblemDetails::invalid(advice));
    }
    let days = body.number("retentionDays", 0..=u64::from(MAX_RETENTION_DAYS))?;
    let protected = body.flag("rootTeamProtected")?;
    let is_unlimited = body.is_null("breakerPercent");
    let percent = body.number("breakerPercent", 0..=100)?;
    let is_in_force = body.is_null("breakerLiftedUntil");
    let lifted = body.time("breakerLiftedUntil")?;
    body.finish()?;
    let change = |settings: &mut Settings| {
        let days = days.and_then(|days| u32::try_from(days).ok());
        settings.retention_days = days.unwrap_or(settings.retention_days);
        settings.root_team_protected = protected.unwrap_or(settings.root_team_protected);
        let percent = percent.and_then(|percent| u8::try_from(percent).ok());
        settings.breaker_percent = if is_unlimited { None } else { percent.or(settings.breaker_percent) };
        let lifted = lifted.map(|time| u64::try_from(time.unix_timestamp()).unwrap_or(0));
        settings.breaker_lifted_until =
            if is_in_force { 0 } else { lifted.unwrap_or(settings.breaker_lifted_until) };
    };
    // The plan comes first: if its usage key cannot be made, nothing is changed.
    if let Some(plan) = plan {
        let usage_keys = app.managing()?.usage_keys.as_ref();
        record::set_plan(app.table, &app.actor, &id, plan, usage_keys).await?;
    }
    let record = record::set(app.table, &app.actor, &id, clock::now(), change).await?;
    Ok(json(StatusCode::OK, &tenant_json(&record)))
}

/// A tenant as it is answered, without its usage key.
fn tenant_json(record: &TenantRecord) -> Value {
    let settings = &record.settings;
    let lifted = i64::try_from(settings.breaker_lifted_until).ok().filter(|at| *at > 0);
    let lifted = lifted.and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok()).map(clock::text);
    json!({
        "tenant": record.id.as_str(),
        "status": if record.is_being_deleted { "beingDeleted" } else { "active" },
        "incarnation": record.incarnation(),
        "version": record.version,
        "policy": record.policy.name,
        "plan": record.plan.name(),
        "created": clock::text(record.created),
        "rootTeam": record.root_team.map(|id| id.to_string()),
        "settings": {
            "retentionDays": settings.retention_days,
            "rootTeamProtected": settings.root_team_protected,
            "breakerPercent": settings.breaker_percent,
            "breakerLiftedUntil": lifted,
        },
    })
}
