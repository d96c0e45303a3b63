//! Who calls, and where the service stands: read from what API Gateway says of the request.

use http::HeaderMap;
use http::header::HOST;
use http::uri::Authority;
use lambda_http::{Request, RequestExt as _};
use serde_json::Value;
use uuid::Uuid;

use super::event::{GatewayContext, X_FORWARDED_PROTO};
use crate::limits::DEFAULT_RETENTION_DAYS;
use crate::scim::error::{ErrorKind, ScimError};
use crate::scim::policy::Policy;
use crate::store::deactivations::DeactivationLimit;
use crate::store::keys::{TenantId, parse_id};

/// The path below which everything is served.
pub const BASE_PATH: &str = "/scim/v2";

/// What the authorizer says of the caller.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Whose resources.
    pub tenant: TenantId,
    /// The bearer key's id.
    pub key_id: String,
    /// Whether the key may change anything.
    pub provisions: bool,
    /// The tenant's policy.
    pub policy: &'static Policy,
    /// The user that the key is bound to.
    pub user: Option<Uuid>,
    /// How many days a deactivated account is kept.
    pub retention_days: u32,
    /// How many users may be deactivated within an hour, if the tenant limits it.
    pub breaker: Option<DeactivationLimit>,
    /// Whether no bearer key changes who administers the root team.
    pub root_team_protected: bool,
}

impl Caller {
    /// Reads the authorizer's context. API Gateway makes every value a string. Local emulations may keep other
    /// types.
    ///
    /// # Errors
    /// 401 if the context is absent or not complete. Then the request did not pass the authorizer.
    pub fn read(request: &Request) -> Result<Self, ScimError> {
        let refused = || {
            ScimError::new(
                ErrorKind::Unauthorized,
                "The request carries no authorizer context. Send it through the API, with a bearer key.",
            )
        };
        let fields = GatewayContext::of(request).and_then(|context| context.authorizer.as_ref());
        let fields = fields.ok_or_else(refused)?;
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        let tenant = text("tenantId").and_then(|t| t.parse().ok()).ok_or_else(refused)?;
        let key_id = text("keyId").filter(|id| !id.is_empty()).ok_or_else(refused)?;
        let policy = text("policy").and_then(Policy::named).ok_or_else(refused)?;
        let provisions = match text("scope") {
            Some("provision") => true,
            Some("read") => false,
            _ => return Err(refused()),
        };
        let user = text("userId").filter(|id| !id.is_empty()).map(|id| parse_id(id).ok_or_else(refused));
        let number = |name: &str| {
            let value = fields.get(name)?;
            value.as_str().map_or_else(|| value.as_u64(), |text| text.parse().ok())
        };
        let days = number("retentionDays");
        let retention_days = days.and_then(|days| u32::try_from(days).ok()).unwrap_or(DEFAULT_RETENTION_DAYS);
        let percent = number("breakerPercent").and_then(|percent| u8::try_from(percent).ok());
        let lifted_until = number("breakerLiftedUntil").unwrap_or(0);
        Ok(Self {
            tenant,
            key_id: key_id.to_owned(),
            provisions,
            policy,
            user: user.transpose()?,
            retention_days,
            breaker: percent.map(|percent| DeactivationLimit { percent, lifted_until }),
            // Anything but a plain no protects: a value that cannot be read must not open anything.
            root_team_protected: fields.get("rootTeamProtected").is_some_and(|value| {
                !matches!(value.as_str(), Some("false" | "")) && *value != Value::Bool(false)
            }),
        })
    }
}

/// Where a request went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestLocation {
    /// The SCIM base URL as the client sees it, without a slash at its end.
    pub base_url: String,
    /// The path below it, still percent-encoded.
    pub path: String,
}

impl RequestLocation {
    /// Returns the base URL of locations: `public_url` if it is configured. Otherwise it is made of the request's
    /// host and of API Gateway's own path, which has the stage and the base path. A host or a scheme of which no URL can
    /// be made does not count.
    pub fn read(request: &Request, public_url: Option<&str>) -> Self {
        Self::below(BASE_PATH, request, public_url)
    }

    /// The same for an API below another base path.
    pub fn below(base: &str, request: &Request, public_url: Option<&str>) -> Self {
        let raw = request.raw_http_path();
        let split = |path| split(path, base);
        let (_, path) = split(raw).unwrap_or(("", raw));
        let path = path.to_owned();
        if let Some(url) = public_url {
            return Self { base_url: url.trim_end_matches('/').to_owned(), path };
        }
        let context = GatewayContext::of(request);
        let whole = context.and_then(|context| context.path.as_deref());
        let domain = context.and_then(|context| context.domain_name.as_deref());
        let prefix = whole.and_then(split).or_else(|| split(raw)).map_or("", |(prefix, _)| prefix);
        let header = |name| text(request.headers(), name);
        let is_host = |text: &&str| text.parse::<Authority>().is_ok();
        let host = header(HOST.as_str()).filter(is_host).or(domain.filter(is_host)).unwrap_or("localhost");
        let is_scheme = |text: &&str| matches!(*text, "http" | "https");
        let scheme = header(X_FORWARDED_PROTO.as_str()).filter(is_scheme).unwrap_or("https");
        Self { base_url: [scheme, "://", host, prefix, base].concat(), path }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).filter(|value| !value.is_empty())
}

/// Splits a path around the base path, which begins with a slash.
fn split<'p>(path: &'p str, base: &str) -> Option<(&'p str, &'p str)> {
    path.match_indices('/').find_map(|(at, _)| {
        let (before, from) = path.split_at(at);
        let below = from.strip_prefix(base)?;
        (below.is_empty() || below.starts_with('/')).then_some((before, below))
    })
}

#[cfg(test)]
mod tests {
    use super::{BASE_PATH, split};

    #[test]
    fn the_base_path_is_found_behind_any_stage() {
        for (path, expected) in [
            ("/scim/v2/Users", Some(("", "/Users"))),
            ("/prod/scim/v2/Users/1", Some(("/prod", "/Users/1"))),
            ("/scim/v2", Some(("", ""))),
            ("/scim/v2x/scim/v2/Me", Some(("/scim/v2x", "/Me"))),
            ("/Users", None),
        ] {
            assert_eq!(split(path, BASE_PATH), expected, "{path}");
        }
    }
}
