//! `/tenants/{t}/roles` and `/entitlements`: what identity providers can give to users.

use http::header::ETAG;
use http::{HeaderValue, StatusCode};
use lambda_http::{Body, Response};
use serde_json::{Value, json};

use super::assignments::read_roles;
use super::body::BodyFields;
use super::problem::ProblemDetails;
use super::request::{AppRequest, json};
use crate::auth::tenant::TenantRecord;
use crate::http::request;
use crate::http::response::empty;
use crate::limits::DEFINITIONS_PER_PAGE;
use crate::provider::answer::not_found_of;
use crate::provider::changing::definitions::{self, DefinitionTarget, NewDefinition, is_definition_id};
use crate::provider::precondition::Preconditions;
use crate::scim::resource::etag;
use crate::scim::resource_type::DefinedKind;
use crate::store::Store;
use crate::store::definition::Definition;
use crate::tenants::definition::definition_json;

/// Lists roles or entitlements by id, page by page.
///
/// # Errors
/// 400 for a cursor that was not answered here; 404.
pub async fn list(
    app: &AppRequest<'_>,
    tenant: &str,
    kind: DefinedKind,
) -> Result<Response<Body>, ProblemDetails> {
    let tenant = app.tenant(tenant).await?;
    let after = app.parameter("cursor");
    if after.as_ref().is_some_and(|after| !is_definition_id(after)) {
        let advice = "cursor must be next of an earlier answer.";
        return Err(ProblemDetails::typed(400, "invalidCursor", advice));
    }
    let limit = i32::try_from(app.limit(DEFINITIONS_PER_PAGE)?).ok();
    let store = app.store(&tenant.id);
    let page = store.definitions().page(kind, after.as_deref(), limit).await?;
    let rows: Vec<Value> = page.definitions.iter().map(definition_json).collect();
    let mut body = json!({ plural(kind): rows });
    if let Some(next) = page.next {
        body["next"] = next.into();
    }
    Ok(json(StatusCode::OK, &body))
}

/// Answers one role or entitlement.
///
/// # Errors
/// 404 if there is no such role or entitlement; 503 if the table does not answer.
pub async fn retrieve(
    app: &AppRequest<'_>,
    tenant: &str,
    (kind, id): (DefinedKind, &str),
) -> Result<Response<Body>, ProblemDetails> {
    let tenant = app.tenant(tenant).await?;
    check_id(kind, id)?;
    let found = app.store(&tenant.id).definitions().fetch(kind, id).await?;
    Ok(answer(StatusCode::OK, &found.ok_or_else(|| not_found_of(kind.name()))?))
}

/// Makes a role or an entitlement: 201.
///
/// # Errors
/// 400, 404; 409 if there is one with this id, or while the tenant is being deleted.
pub async fn create(
    app: &AppRequest<'_>,
    tenant: &str,
    kind: DefinedKind,
) -> Result<Response<Body>, ProblemDetails> {
    let tenant = app.lasting_tenant(tenant).await?;
    let mut body = BodyFields::read(app.request)?;
    let id = body.required_text("id")?;
    let name = body.required_text("displayName")?;
    let new = NewDefinition { name: Some(name), ..read_new(kind, body)? };
    let (store, preconditions) = (app.store(&tenant.id), Preconditions::default());
    let made = definitions::create(&target(&store, &tenant, (kind, &id), &preconditions), &new).await?;
    Ok(answer(StatusCode::CREATED, &made))
}

/// Changes a role or an entitlement. A member that is absent stays as it is.
///
/// # Errors
/// 400, 404, 412; 409 while the tenant is being deleted.
pub async fn update(
    app: &AppRequest<'_>,
    tenant: &str,
    (kind, id): (DefinedKind, &str),
) -> Result<Response<Body>, ProblemDetails> {
    let tenant = app.lasting_tenant(tenant).await?;
    check_id(kind, id)?;
    let new = read_new(kind, BodyFields::read(app.request)?)?;
    let (store, preconditions) = (app.store(&tenant.id), request::preconditions(app.request));
    let changed = definitions::update(&target(&store, &tenant, (kind, id), &preconditions), &new).await?;
    Ok(answer(StatusCode::OK, &changed))
}

/// Deletes a role or an entitlement: 204. Users keep its value, which names nothing then.
///
/// # Errors
/// 404, 412; 409 while the tenant is being deleted.
pub async fn delete(
    app: &AppRequest<'_>,
    tenant: &str,
    (kind, id): (DefinedKind, &str),
) -> Result<Response<Body>, ProblemDetails> {
    let tenant = app.lasting_tenant(tenant).await?;
    check_id(kind, id)?;
    let (store, preconditions) = (app.store(&tenant.id), request::preconditions(app.request));
    definitions::delete(&target(&store, &tenant, (kind, id), &preconditions)).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

fn target<'a>(
    store: &'a Store,
    tenant: &TenantRecord,
    (kind, id): (DefinedKind, &'a str),
    preconditions: &'a Preconditions,
) -> DefinitionTarget<'a> {
    DefinitionTarget { store, kind, id, root_team: tenant.root_team, preconditions }
}

/// Refuses a text that is no id of a role or entitlement.
///
/// # Errors
/// 404.
fn check_id(kind: DefinedKind, id: &str) -> Result<(), ProblemDetails> {
    if is_definition_id(id) { Ok(()) } else { Err(not_found_of(kind.name()).into()) }
}

/// Reads what a body sets.
fn read_new(kind: DefinedKind, mut body: BodyFields) -> Result<NewDefinition, ProblemDetails> {
    let (name, description) = (body.lasting_text("displayName")?, body.removable_text("description")?);
    let (mut label, mut grants) = (None, None);
    match kind {
        DefinedKind::Role => {
            let wanted = body.take("grants");
            grants = wanted.map(|wanted| read_roles("grants", Some(wanted))).transpose()?;
        }
        DefinedKind::Entitlement => label = body.removable_text("type")?,
    }
    body.finish()?;
    Ok(NewDefinition { name, description, label, grants })
}

fn answer(status: StatusCode, definition: &Definition) -> Response<Body> {
    let mut response = json(status, &definition_json(definition));
    if let Ok(tag) = HeaderValue::from_str(&etag(definition.version)) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

const fn plural(kind: DefinedKind) -> &'static str {
    match kind {
        DefinedKind::Role => "roles",
        DefinedKind::Entitlement => "entitlements",
    }
}
