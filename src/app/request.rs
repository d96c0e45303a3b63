//! A request of an application, and what every operation needs of it.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use lambda_http::{Body, Request, RequestExt as _, Response};
use serde_json::Value;
use uuid::Uuid;

use super::problem::ProblemDetails;
use super::router::AppOperation;
use crate::auth::tenant::TenantRecord;
use crate::http::request::parameter;
use crate::outbound::target::TargetRule;
use crate::provider::Provider;
use crate::provider::answer::not_found;
use crate::scim::refusal::shorten_text;
use crate::scim::resource_type::{Kind, Model};
use crate::store::Store;
use crate::store::call::Table;
use crate::store::cursor::CursorKeys;
use crate::store::keys::{TenantId, parse_id};
use crate::tenants::actor::Actor;
use crate::tenants::provider::TenantProviders;
use crate::tenants::record;
use crate::tenants::usage::UsageKeys;

/// What only the function that manages has.
pub struct Managing {
    /// What makes usage keys.
    pub usage_keys: Box<dyn UsageKeys>,
    /// Which URLs webhooks may have.
    pub target_rule: TargetRule,
}

/// A request of an application, and what its operation works with.
pub struct AppRequest<'a> {
    /// The table as this request sees it.
    pub table: &'a Table,
    /// The resource types under each policy.
    pub models: &'a [Model],
    /// What the function that manages has; `None` in the one that only reads.
    pub managing: Option<&'a Managing>,
    /// The keys that sign cursors, as far as this process knows them.
    pub cursor_keys: &'a CursorKeys,
    /// The URL of the API, without a slash at its end.
    pub base_url: String,
    /// The application, for events.
    pub actor: Actor,
    /// The request.
    pub request: &'a Request,
}

impl AppRequest<'_> {
    /// One query parameter, if it is not empty.
    pub fn parameter(&self, name: &str) -> Option<String> {
        parameter(self.request, name).filter(|text| !text.is_empty())
    }

    /// Refuses query parameters that the operation does not take: what is misspelled would not act.
    ///
    /// # Errors
    /// 400.
    pub fn check_parameters(&self, operation: AppOperation) -> Result<(), ProblemDetails> {
        let known = operation.parameters();
        let Some(sent) = self.request.query_string_parameters_ref() else { return Ok(()) };
        // A SCIM list of names may be repeated (RFC 7644 §3.9).
        let is_list = |name: &str| ["attributes", "excludedAttributes"].contains(&name);
        let repeated =
            known.iter().find(|name| !is_list(name) && sent.all(name).is_some_and(|all| all.len() > 1));
        if let Some(repeated) = repeated {
            let detail = format!("The query parameter {repeated} is given more than once.");
            return Err(ProblemDetails::invalid(detail));
        }
        let Some((unknown, _)) = sent.iter().find(|(name, _)| !known.contains(name)) else { return Ok(()) };
        let takes = match known {
            [] => "takes none".to_owned(),
            known => format!("takes {}", known.join(", ")),
        };
        Err(ProblemDetails::invalid(format!(
            "There is no query parameter {}; this endpoint {takes}.",
            shorten_text(unknown)
        )))
    }

    /// What the function that manages has.
    ///
    /// # Errors
    /// 501 in the function that only reads.
    pub fn managing(&self) -> Result<&Managing, ProblemDetails> {
        self.managing.ok_or_else(|| ProblemDetails::new(501, "This function only reads."))
    }

    /// A number in the query, within 1 and `most`.
    ///
    /// # Errors
    /// 400 for anything else.
    pub fn limit(&self, most: usize) -> Result<usize, ProblemDetails> {
        let Some(text) = self.parameter("limit") else { return Ok(most) };
        // The parser would also take a sign.
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        let limit = text.parse().ok().filter(|limit| is_number && (1..=most).contains(limit));
        limit
            .ok_or_else(|| ProblemDetails::invalid(format!("limit must be a whole number from 1 to {most}.")))
    }

    /// The tenant in the path.
    ///
    /// # Errors
    /// 404 if there is no such tenant; 503 if the table does not answer.
    pub async fn tenant(&self, name: &str) -> Result<TenantRecord, ProblemDetails> {
        Ok(record::get(self.table, &tenant_id(name)?).await?)
    }

    /// The tenant of this name, for a change in it.
    ///
    /// # Errors
    /// 404; 409 while it is being deleted.
    pub async fn lasting_tenant(&self, name: &str) -> Result<TenantRecord, ProblemDetails> {
        Ok(record::get_lasting(self.table, &tenant_id(name)?).await?)
    }

    /// What reads and changes the resources of a tenant.
    ///
    /// # Errors
    /// 500 for a tenant of a policy that this build does not know.
    pub fn provider(&self, tenant: &TenantRecord) -> Result<Provider<'_>, ProblemDetails> {
        Ok(self.providers().of(tenant)?)
    }

    /// What reads and changes the resources of any tenant.
    pub fn providers(&self) -> TenantProviders<'_> {
        let Self { table, models, cursor_keys, base_url, actor, .. } = self;
        TenantProviders { table, models, cursor_keys, base_url, actor }
    }

    /// The table as this request of this tenant sees it.
    pub fn store(&self, tenant: &TenantId) -> Store {
        self.providers().store(tenant)
    }
}

/// Reads the name of a tenant in a path.
///
/// # Errors
/// 404 for a text that is no name of a tenant.
pub fn tenant_id(name: &str) -> Result<TenantId, ProblemDetails> {
    name.parse().map_err(|_| ProblemDetails::no_tenant())
}

/// Reads the id of a user or group in a path.
///
/// # Errors
/// 404 for a text that is no id.
pub fn resource_id(kind: Kind, id: &str) -> Result<Uuid, ProblemDetails> {
    parse_id(id).ok_or_else(|| not_found(kind).into())
}

/// A response with a JSON body.
pub fn json(status: StatusCode, body: &Value) -> Response<Body> {
    json_text(status, body.to_string())
}

/// A response whose body is JSON already.
pub fn json_text(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::Text(body));
    *response.status_mut() = status;
    as_json(response)
}

/// The same response with the media type of this API.
pub fn as_json(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
