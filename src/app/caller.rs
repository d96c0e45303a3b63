//! Who calls: read from what the authorizer says.

use lambda_http::Request;
use serde_json::Value;

use super::problem::ProblemDetails;
use crate::auth::application::ApplicationScope;
use crate::http::event::GatewayContext;

/// What the authorizer says of the application.
#[derive(Clone, Debug)]
pub struct AppCaller {
    /// The id of its key.
    pub key_id: String,
    /// What it may do.
    pub scope: ApplicationScope,
}

impl AppCaller {
    /// Reads the authorizer's context.
    ///
    /// # Errors
    /// 401 without a whole context: the request did not come through the authorizer.
    pub fn read(request: &Request) -> Result<Self, ProblemDetails> {
        let refused = || {
            ProblemDetails::new(
                401,
                "The request carries no authorizer context. Send it through the API, with an application key.",
            )
        };
        let fields = GatewayContext::of(request).and_then(|context| context.authorizer.as_ref());
        let fields = fields.ok_or_else(refused)?;
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        let key_id = text("keyId").filter(|id| id.starts_with("app_")).ok_or_else(refused)?;
        let scope = text("scope").and_then(ApplicationScope::named).ok_or_else(refused)?;
        Ok(Self { key_id: key_id.to_owned(), scope })
    }
}
