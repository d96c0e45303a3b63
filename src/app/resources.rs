//! `/tenants/{t}/Users` and `/Groups`: SCIM's query and retrieval (RFC 7644 §3.4).

use http::StatusCode;
use lambda_http::{Body, Response};

use super::problem::ProblemDetails;
use super::request::{AppRequest, as_json, resource_id};
use crate::http::{request, response};
use crate::provider::ResourceRequest;
use crate::scim::resource_type::Kind;
use crate::tenants::provider::with_own_extensions;

/// Answers a query: filters, sorting, pages, projection.
///
/// # Errors
/// 404 for the tenant; those of the query.
pub async fn query(app: &AppRequest<'_>, tenant: &str, kind: Kind) -> Result<Response<Body>, ProblemDetails> {
    let provider = app.provider(&app.tenant(tenant).await?)?;
    let query = request::query(app.request)?;
    let projection = with_own_extensions(request::projection(app.request, &[provider.ty(kind)])?);
    Ok(as_json(response::list(provider.reading().query(&[kind], &query, &projection).await?)))
}

/// Answers one user or group; 304 if the client has this version.
///
/// # Errors
/// 404 if there is no such user or group; 503 if the table does not answer.
pub async fn retrieve(
    app: &AppRequest<'_>,
    tenant: &str,
    (kind, id): (Kind, &str),
) -> Result<Response<Body>, ProblemDetails> {
    let provider = app.provider(&app.tenant(tenant).await?)?;
    let id = resource_id(kind, id)?;
    let projection = with_own_extensions(request::projection(app.request, &[provider.ty(kind)])?);
    let preconditions = request::preconditions(app.request);
    let asked = ResourceRequest { kind, id, projection: &projection, preconditions: &preconditions };
    let answer = provider.reading().retrieve(&asked).await?;
    Ok(match answer.body {
        Some(_) => as_json(response::resource(StatusCode::OK, answer)),
        None => response::not_modified(&answer),
    })
}
