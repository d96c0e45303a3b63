//! Refusals as `application/problem+json` (RFC 9457).

use http::header::{ALLOW, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use lambda_http::{Body, Response};
use serde_json::json;

use crate::deliver::registry::RegistryError;
use crate::provider::failure::{Failure, kept_changing};
use crate::scim::error::{ErrorKind, ScimError};
use crate::store::error::StoreError;
use crate::store::feed::reader::LostPosition;
use crate::tenants::error::TenantError;

/// The media type of a refusal.
pub const PROBLEM_JSON: &str = "application/problem+json";
/// What the types of problems begin with.
const TYPES: &str = "urn:rollcall:problem:";

/// A refusal.
#[derive(Debug)]
pub struct ProblemDetails {
    /// The HTTP status.
    pub status: u16,
    /// The end of its type. `None`: the status says all (`about:blank`).
    pub kind: Option<&'static str>,
    /// For the client: what to change.
    pub detail: String,
    /// The methods that there are, for 405.
    pub allow: Option<String>,
    /// For the log: what the table said.
    pub source: Option<String>,
}

impl ProblemDetails {
    /// A refusal whose status says all.
    pub fn new(status: u16, detail: impl Into<String>) -> Self {
        Self { status, kind: None, detail: detail.into(), allow: None, source: None }
    }

    /// A refusal of a type that clients may want to tell from others.
    pub fn typed(status: u16, kind: &'static str, detail: impl Into<String>) -> Self {
        Self { kind: Some(kind), ..Self::new(status, detail) }
    }

    /// 400 for a value that cannot be used.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::typed(400, "invalidValue", detail)
    }

    /// 404 for a tenant that there is not.
    pub fn no_tenant() -> Self {
        Self::new(404, "There is no tenant of this name. GET /tenants lists those that there are.")
    }

    /// 405 with the methods that there are.
    pub fn method_not_allowed(methods: String, sent: &Method, path: &str) -> Self {
        let mut detail = format!("This endpoint answers {methods}; {sent} was sent.");
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        match segments.as_slice() {
            ["tenants", name] if sent == Method::DELETE => {
                detail.push_str(&format!(" The operator deletes a tenant: rollcall tenant delete {name}."));
            }
            ["tenants", _, "Users" | "Groups", ..] => {
                detail.push_str(" Identity providers write users and groups by SCIM.");
            }
            _ => {}
        }
        Self { allow: Some(methods), ..Self::new(405, detail) }
    }

    /// The refusal of a request that only reads: 503 instead of 409, since nothing is wrong with a read that other changes
    /// got in the way of.
    #[must_use]
    pub fn of_read(self) -> Self {
        match self.status {
            409 => Self { source: self.source, ..kept_changing().into() },
            _ => self,
        }
    }

    /// The refusal as a response.
    pub fn response(&self) -> Response<Body> {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let reason = status.canonical_reason().unwrap_or("Error");
        let body = json!({
            "type": self.kind.map_or_else(|| "about:blank".to_owned(), |kind| format!("{TYPES}{kind}")),
            "title": self.kind.map_or_else(|| reason.to_owned(), |kind| title(kind, reason)),
            "status": self.status,
            "detail": self.detail,
        });
        let mut response = Response::new(Body::Text(body.to_string()));
        *response.status_mut() = status;
        set(&mut response, CONTENT_TYPE, PROBLEM_JSON);
        if let Some(methods) = &self.allow {
            set(&mut response, ALLOW, methods);
        }
        if self.status == 401 {
            set(&mut response, WWW_AUTHENTICATE, "Bearer realm=\"app\"");
        }
        response
    }
}

fn set(response: &mut Response<Body>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// What a type of problem is called for people.
fn title(kind: &str, reason: &str) -> String {
    let title = match kind {
        "lostPosition" => "The position is not in the feed",
        "tenantExists" => "The tenant exists with other content",
        "nameRests" => "Only the operator can give the name again",
        "keyEnded" => "The key or client can have no successor",
        "usageKey" => "The usage key could not be made",
        "invalidValue" => "A value cannot be used",
        "tooMany" => "The answer would be too large",
        "invalidFilter" => "The filter cannot be read",
        "mutability" => "The change is not allowed",
        "invalidCursor" | "expiredCursor" => "The cursor cannot be used",
        _ => reason,
    };
    title.to_owned()
}

impl From<ScimError> for ProblemDetails {
    fn from(error: ScimError) -> Self {
        let (status, scim_type) = error.kind.wire();
        // The advice about media types for SCIM clients is not true here.
        let detail = match error.kind {
            ErrorKind::UnsupportedMediaType => error.detail.replace("application/scim+json or ", ""),
            _ => error.detail,
        };
        Self { kind: scim_type, ..Self::new(status, detail) }
    }
}

impl From<Failure> for ProblemDetails {
    fn from(failure: Failure) -> Self {
        Self { source: failure.source, ..Self::from(failure.error) }
    }
}

impl From<StoreError> for ProblemDetails {
    fn from(error: StoreError) -> Self {
        Failure::from(error).into()
    }
}

impl From<RegistryError> for ProblemDetails {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Input(problem) => Self::invalid(sentence(&problem)),
            RegistryError::Unknown(_) => {
                Self::new(404, "There is no webhook of this id. GET /webhooks lists those that there are.")
            }
            RegistryError::Changed => {
                Self::new(409, "The webhook was changed at the same time. Send the request again.")
            }
            RegistryError::Store(error) => error.into(),
        }
    }
}

impl From<TenantError> for ProblemDetails {
    fn from(error: TenantError) -> Self {
        match error {
            TenantError::Exists(_) => Self::typed(
                409,
                "tenantExists",
                "There is a tenant of this name, which another request made, or the operator. Choose another name, or read the tenant.",
            ),
            TenantError::NoTenant(_) => Self::no_tenant(),
            TenantError::BeingDeleted(id) => Self::typed(
                409,
                "tenantBeingDeleted",
                format!(
                    "The tenant is being deleted, so nothing is made or set in it. If this stays so, its deletion was interrupted: the operator ends it with rollcall tenant delete {id}."
                ),
            ),
            TenantError::NoKey(..) | TenantError::NoApplication(_) => {
                Self::new(404, "The tenant has no key of this id. GET …/keys lists those that there are.")
            }
            TenantError::NoClient(..) => Self::new(
                404,
                "The tenant has no client of this id. GET …/clients lists those that there are.",
            ),
            TenantError::NoUser(..) => {
                Self::invalid("The tenant has no user of this id: user takes the SCIM id of a user.")
            }
            TenantError::KeyEnded(id) if id.starts_with("client_") => {
                let detail = "The client is revoked. Make a new one with POST …/clients.";
                Self::typed(409, "keyEnded", detail)
            }
            TenantError::KeyEnded(_) => Self::typed(
                409,
                "keyEnded",
                "The key is revoked or expired, so nothing is left to hand over. Make a new one with POST …/keys.",
            ),
            TenantError::UserGone(_) => Self::typed(
                409,
                "keyEnded",
                "The key is bound to a user who is deleted or deactivated. Make a new key with POST …/keys, then revoke this one.",
            ),
            TenantError::Input(problem) => Self::invalid(sentence(&problem)),
            TenantError::UsageKey(problem) => Self {
                source: Some(problem),
                ..Self::typed(
                    503,
                    "usageKey",
                    "The usage key of the tenant could not be made, so nothing was changed. Send the request again; if it goes on, look at the log of the managing function.",
                )
            },
            TenantError::Table(error) => error.into(),
        }
    }
}

/// A problem in one line, as a sentence.
fn sentence(problem: &str) -> String {
    let mut characters = problem.chars();
    let first = characters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", characters.as_str().trim_end_matches('.'))
}

/// 410 for a position at which the feed cannot be read.
pub fn lost_position(lost: LostPosition) -> ProblemDetails {
    let why = match lost {
        LostPosition::OtherFeed => {
            "The position belongs to another feed: the table was restored from a backup."
        }
        LostPosition::TooOld => "The changes after this position are no longer kept.",
        LostPosition::BeyondEnd => "The position lies beyond the end of the feed.",
    };
    let advice = "Take a snapshot: read snapshot from GET /status, then all tenants, users, groups and members, then the changes after that position.";
    ProblemDetails::typed(410, "lostPosition", format!("{why} {advice}"))
}
