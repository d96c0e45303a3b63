//! Handlers: read, do, answer.

use http::StatusCode;
use lambda_http::{Body, Request, Response};
use uuid::Uuid;

use super::request;
use super::response;
use super::router::Operation;
use super::schemas::SchemaAnswers;
use crate::limits::{MAX_BODY_BYTES, MAX_BULK_BODY_BYTES};
use crate::provider::answer::not_found;
use crate::provider::bulk::run::Budget;
use crate::provider::failure::Failure;
use crate::provider::{Provider, ResourceRequest};
use crate::scim::bulk;
use crate::scim::discovery::{self, Features};
use crate::scim::error::{ErrorKind, ScimError};
use crate::scim::resource_type::{DefinedKind, Kind};
use crate::store::keys::parse_id;

/// What this build serves beyond the operations that are always there.
pub const FEATURES: Features = Features { bulk: true, cursor: true };

/// Runs an operation and makes its response. `segment` is the id, name or URN in the path. `schemas` are the answers
/// to `GET /Schemas` that are made already.
///
/// # Errors
/// The error of the operation, which becomes the response.
pub async fn handle(
    provider: &Provider<'_>,
    operation: Operation,
    segment: &str,
    request: &Request,
    schemas: &SchemaAnswers,
) -> Result<Response<Body>, Failure> {
    match operation {
        Operation::Create(kind) => create(provider, kind, request).await,
        Operation::Retrieve(kind) => retrieve(provider, kind, id(kind, segment)?, request).await,
        Operation::Query(kind) => query(provider, kind, request).await,
        Operation::Search(kind) => search(provider, &[kind], request).await,
        Operation::SearchAll => search(provider, &Kind::ALL, request).await,
        Operation::Replace(kind) => {
            change(provider, BodyChange::Replace, (kind, id(kind, segment)?), request).await
        }
        Operation::Modify(kind) => {
            change(provider, BodyChange::Modify, (kind, id(kind, segment)?), request).await
        }
        Operation::Delete(kind) => delete(provider, kind, id(kind, segment)?, request).await,
        Operation::Bulk => bulk(provider, request).await,
        Operation::RetrieveMe => {
            retrieve(provider, Kind::User, provider.reading().bound_user_id()?, request).await
        }
        Operation::ReplaceMe => {
            change(provider, BodyChange::Replace, (Kind::User, provider.reading().bound_user_id()?), request)
                .await
        }
        Operation::ModifyMe => {
            change(provider, BodyChange::Modify, (Kind::User, provider.reading().bound_user_id()?), request)
                .await
        }
        Operation::DeleteMe => {
            delete(provider, Kind::User, provider.reading().bound_user_id()?, request).await
        }
        Operation::RetrieveDefined(kind) => retrieve_definition(provider, (kind, segment), request).await,
        Operation::QueryDefined(kind) => query_definitions(provider, kind, request).await,
        Operation::SearchDefined(kind) => search_definitions(provider, kind, request).await,
        Operation::ServiceProviderConfig
        | Operation::ResourceTypes
        | Operation::ResourceType
        | Operation::Schemas
        | Operation::Schema => discover(provider, operation, segment, request, schemas).await,
    }
}

/// Answers a discovery endpoint: what the service does for this tenant.
async fn discover(
    provider: &Provider<'_>,
    operation: Operation,
    segment: &str,
    request: &Request,
    schemas: &SchemaAnswers,
) -> Result<Response<Body>, Failure> {
    refuse_filter(request)?;
    let defined = provider.reading().defined_types().await?;
    let (model, base_url) = (provider.model, &provider.base_url);
    let body = match operation {
        Operation::ResourceTypes => Some(discovery::resource_types(model, defined, base_url)),
        Operation::ResourceType => discovery::resource_type(model, defined, segment, base_url),
        Operation::Schemas => {
            return Ok(response::text(StatusCode::OK, schemas.text(model, defined, base_url)));
        }
        Operation::Schema => discovery::schema(model, defined, segment, base_url),
        _ => Some(discovery::service_provider_config(FEATURES, defined, base_url)),
    };
    let body = body.ok_or_else(|| ScimError::not_found("There is no such schema or resource type."))?;
    Ok(response::json(StatusCode::OK, &body))
}

/// Reads an id in a path. A malformed id is 404, as an unknown one.
fn id(kind: Kind, segment: &str) -> Result<Uuid, ScimError> {
    parse_id(segment).ok_or_else(|| not_found(kind))
}

async fn create(provider: &Provider<'_>, kind: Kind, request: &Request) -> Result<Response<Body>, Failure> {
    let body = request::object(request, MAX_BODY_BYTES)?;
    let projection = request::projection(request, &[provider.ty(kind)])?;
    let answer = provider.changing().create(kind, &body, &projection).await?;
    Ok(response::resource(StatusCode::CREATED, answer))
}

async fn retrieve(
    provider: &Provider<'_>,
    kind: Kind,
    id: Uuid,
    request: &Request,
) -> Result<Response<Body>, Failure> {
    let projection = match request::projection(request, &[provider.ty(kind)]) {
        Ok(projection) => projection,
        Err(refused) => return provider.reading().unless_missing(kind, id, Err(refused.into())).await,
    };
    let preconditions = request::preconditions(request);
    let asked = ResourceRequest { kind, id, projection: &projection, preconditions: &preconditions };
    let answer = provider.reading().retrieve(&asked).await?;
    Ok(match answer.body {
        Some(_) => response::resource(StatusCode::OK, answer),
        None => response::not_modified(&answer),
    })
}

async fn query(provider: &Provider<'_>, kind: Kind, request: &Request) -> Result<Response<Body>, Failure> {
    let query = request::query(request)?;
    let projection = request::projection(request, &[provider.ty(kind)])?;
    Ok(response::list(provider.reading().query(&[kind], &query, &projection).await?))
}

async fn retrieve_definition(
    provider: &Provider<'_>,
    (kind, id): (DefinedKind, &str),
    request: &Request,
) -> Result<Response<Body>, Failure> {
    let projection = match request::projection(request, &[provider.model.defined(kind)]) {
        Ok(projection) => projection,
        Err(refused) => {
            provider.reading().find_definition(kind, id).await?;
            return Err(refused.into());
        }
    };
    let preconditions = request::preconditions(request);
    let answer = provider.reading().retrieve_definition((kind, id), &projection, &preconditions).await?;
    Ok(match answer.body {
        Some(_) => response::resource(StatusCode::OK, answer),
        None => response::not_modified(&answer),
    })
}

async fn query_definitions(
    provider: &Provider<'_>,
    kind: DefinedKind,
    request: &Request,
) -> Result<Response<Body>, Failure> {
    let query = request::query(request)?;
    let projection = request::projection(request, &[provider.model.defined(kind)])?;
    Ok(response::list(provider.reading().query_definitions(kind, &query, &projection).await?))
}

async fn search(
    provider: &Provider<'_>,
    kinds: &[Kind],
    request: &Request,
) -> Result<Response<Body>, Failure> {
    let body = request::object(request, MAX_BODY_BYTES)?;
    let types: Vec<_> = kinds.iter().map(|kind| provider.ty(*kind)).collect();
    let (query, projection) = request::search(&body, provider.model.policy, &types)?;
    Ok(response::list(provider.reading().query(kinds, &query, &projection).await?))
}

async fn search_definitions(
    provider: &Provider<'_>,
    kind: DefinedKind,
    request: &Request,
) -> Result<Response<Body>, Failure> {
    let body = request::object(request, MAX_BODY_BYTES)?;
    let types = [provider.model.defined(kind)];
    let (query, projection) = request::search(&body, provider.model.policy, &types)?;
    Ok(response::list(provider.reading().query_definitions(kind, &query, &projection).await?))
}

/// How a body changes a stored resource.
#[derive(Clone, Copy)]
enum BodyChange {
    Replace,
    Modify,
}

/// Reads a request that changes a stored resource, changes it, and answers with the resource.
///
/// # Errors
/// Those of the request and of the operation. 404 comes first if there is no such resource.
async fn change(
    provider: &Provider<'_>,
    how: BodyChange,
    (kind, id): (Kind, Uuid),
    request: &Request,
) -> Result<Response<Body>, Failure> {
    let projection = request::projection(request, &[provider.ty(kind)]);
    let preconditions = request::preconditions(request);
    let outcome = async {
        let body = request::object(request, MAX_BODY_BYTES)?;
        let projection = &projection?;
        let target = ResourceRequest { kind, id, projection, preconditions: &preconditions };
        let answer = match how {
            BodyChange::Replace => provider.changing().replace(&target, &body).await?,
            BodyChange::Modify => provider.changing().modify(&target, &body).await?,
        };
        Ok(response::resource(StatusCode::OK, answer))
    };
    provider.reading().unless_missing(kind, id, outcome.await).await
}

async fn delete(
    provider: &Provider<'_>,
    kind: Kind,
    id: Uuid,
    request: &Request,
) -> Result<Response<Body>, Failure> {
    provider.changing().delete(kind, id, &request::preconditions(request)).await?;
    Ok(response::empty(StatusCode::NO_CONTENT))
}

async fn bulk(provider: &Provider<'_>, request: &Request) -> Result<Response<Body>, Failure> {
    let body = request::object(request, MAX_BULK_BODY_BYTES)?;
    let bulk = bulk::request::read(&body, provider.model.policy)?;
    Ok(response::json(StatusCode::OK, &provider.bulk().run(&bulk, Budget::default()).await?))
}

/// Refuses a filter at a discovery endpoint, since a client could take the whole answer for a filtered one
/// (RFC 7644 §4).
fn refuse_filter(request: &Request) -> Result<(), ScimError> {
    if request::parameter(request, "filter").is_none() {
        return Ok(());
    }
    Err(ScimError::new(ErrorKind::Forbidden, "Discovery endpoints answer whole, without filter."))
}
