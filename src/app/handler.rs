//! Handlers: one arm for each operation.

use lambda_http::{Body, Response};

use super::problem::ProblemDetails;
use super::request::AppRequest;
use super::router::{AppOperation, ClientOperation, DefinitionOperation, WebhookOperation};
use super::{
    assignments, changes, clients, definitions, keys, members, resources, status, tenants, webhooks,
};
use crate::scim::resource_type::DefinedKind;

/// Does an operation. `segments` are the tenant and the ids in the path, or the id of a webhook.
///
/// # Errors
/// The refusals of the operation. If the tenant or the webhook does not exist, 404 comes before 400, 413 and 415.
pub async fn handle(
    app: &AppRequest<'_>,
    operation: AppOperation,
    segments: &[String],
) -> Result<Response<Body>, ProblemDetails> {
    let answer = match app.check_parameters(operation) {
        Ok(()) => dispatch(app, operation, segments).await,
        Err(refusal) => Err(refusal),
    };
    match answer {
        Err(refusal) if matches!(refusal.status, 400 | 413 | 415) => {
            Err(find_missing(app, operation, segments).await.unwrap_or(refusal))
        }
        answer => answer,
    }
}

/// The 404 of a tenant or a webhook that is not there. Only refused requests pay for the read.
async fn find_missing(
    app: &AppRequest<'_>,
    operation: AppOperation,
    segments: &[String],
) -> Option<ProblemDetails> {
    let first = segments.first()?;
    let found = match operation {
        AppOperation::Webhook(_) => webhooks::retrieve(app, first).await.map(drop),
        _ => app.tenant(first).await.map(drop),
    };
    found.err().filter(|problem| problem.status == 404)
}

async fn dispatch(
    app: &AppRequest<'_>,
    operation: AppOperation,
    segments: &[String],
) -> Result<Response<Body>, ProblemDetails> {
    let segment = |at: usize| segments.get(at).map(String::as_str).unwrap_or_default();
    let (tenant, id) = (segment(0), segment(1));
    match operation {
        AppOperation::ListChanges => changes::list(app).await,
        AppOperation::Status => status::status(app).await,
        AppOperation::ListTenants => tenants::list(app).await,
        AppOperation::CreateTenant => tenants::create(app).await,
        AppOperation::RetrieveTenant => tenants::retrieve(app, tenant).await,
        AppOperation::UpdateTenant => tenants::update(app, tenant).await,
        AppOperation::Query(kind) => resources::query(app, tenant, kind).await,
        AppOperation::Retrieve(kind) => resources::retrieve(app, tenant, (kind, id)).await,
        AppOperation::ListMembers => members::list(app, tenant, id).await,
        AppOperation::ReplaceAssignments => assignments::replace(app, tenant, id).await,
        AppOperation::ListKeys => keys::list(app, tenant).await,
        AppOperation::CreateKey => keys::create(app, tenant).await,
        AppOperation::RotateKey => keys::rotate(app, tenant, id).await,
        AppOperation::RevokeKey => keys::revoke(app, tenant, id).await,
        AppOperation::Client(operation) => handle_client(app, operation, (tenant, id)).await,
        AppOperation::Definition(kind, operation) => {
            handle_definition(app, (kind, operation), tenant, id).await
        }
        AppOperation::Webhook(operation) => handle_webhook(app, operation, segment(0)).await,
    }
}

async fn handle_client(
    app: &AppRequest<'_>,
    operation: ClientOperation,
    (tenant, id): (&str, &str),
) -> Result<Response<Body>, ProblemDetails> {
    match operation {
        ClientOperation::List => clients::list(app, tenant).await,
        ClientOperation::Create => clients::create(app, tenant).await,
        ClientOperation::Rotate => clients::rotate(app, tenant, id).await,
        ClientOperation::Revoke => clients::revoke(app, tenant, id).await,
    }
}

async fn handle_definition(
    app: &AppRequest<'_>,
    (kind, operation): (DefinedKind, DefinitionOperation),
    tenant: &str,
    id: &str,
) -> Result<Response<Body>, ProblemDetails> {
    match operation {
        DefinitionOperation::List => definitions::list(app, tenant, kind).await,
        DefinitionOperation::Create => definitions::create(app, tenant, kind).await,
        DefinitionOperation::Retrieve => definitions::retrieve(app, tenant, (kind, id)).await,
        DefinitionOperation::Update => definitions::update(app, tenant, (kind, id)).await,
        DefinitionOperation::Delete => definitions::delete(app, tenant, (kind, id)).await,
    }
}

async fn handle_webhook(
    app: &AppRequest<'_>,
    operation: WebhookOperation,
    id: &str,
) -> Result<Response<Body>, ProblemDetails> {
    match operation {
        WebhookOperation::List => webhooks::list(app).await,
        WebhookOperation::Create => webhooks::create(app).await,
        WebhookOperation::Retrieve => webhooks::retrieve(app, id).await,
        WebhookOperation::Update => webhooks::update(app, id).await,
        WebhookOperation::Delete => webhooks::delete(app, id).await,
        WebhookOperation::Test => webhooks::test(app, id).await,
        WebhookOperation::Rotate => webhooks::rotate(app, id).await,
    }
}
