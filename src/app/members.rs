//! `GET /tenants/{t}/Groups/{id}/members`: the members of a group, page by page.

use http::StatusCode;
use lambda_http::{Body, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use super::problem::ProblemDetails;
use super::request::{AppRequest, json, resource_id};
use crate::limits::MEMBERS_PER_PAGE;
use crate::provider::answer::not_found;
use crate::scim::resource_type::Kind;
use crate::store::keys::parse_id;

/// Answers some members, in the order of their ids. Pending changes count as applied.
///
/// # Errors
/// 400 for a cursor that was not answered here; 404.
pub async fn list(app: &AppRequest<'_>, tenant: &str, id: &str) -> Result<Response<Body>, ProblemDetails> {
    let tenant = app.tenant(tenant).await?;
    let id = resource_id(Kind::Group, id)?;
    let after: Option<Uuid> = match app.parameter("cursor") {
        None => None,
        Some(cursor) => Some(parse_id(&cursor).ok_or_else(|| {
            ProblemDetails::typed(400, "invalidCursor", "cursor must be next of an earlier answer.")
        })?),
    };
    let limit = app.limit(MEMBERS_PER_PAGE)?;
    let store = app.store(&tenant.id);
    let page = store.members().fetch_page(id, after, limit).await?;
    let page = page.ok_or_else(|| ProblemDetails::from(not_found(Kind::Group)))?;
    let members: Vec<Value> =
        page.members.iter().map(|member| Value::Object(member.member().element())).collect();
    let mut body = json!({ "version": page.version, "members": members });
    if let Some(next) = page.next {
        body["next"] = next.to_string().into();
    }
    Ok(json(StatusCode::OK, &body))
}
