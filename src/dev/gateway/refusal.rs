//! What the gateway answers by itself (API Gateway: gateway responses).

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use super::super::template::gateway_response::{GatewayResponse, Piece, Variable};
use super::event::Context;

/// Why the gateway answers by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewayRefusal {
    /// No token, or one of another form.
    Unauthorized,
    /// The authorizer denies.
    AccessDenied,
    /// The authorizer failed.
    AuthorizerFailure,
    /// The authorizer's answer is malformed.
    AuthorizerConfigurationError,
    /// The route requires a usage key, and the request has no valid one.
    InvalidApiKey,
    /// Too many requests.
    Throttled,
    /// No such route.
    MissingAuthenticationToken,
    /// No such route, and an `Authorization` header that is no AWS signature.
    InvalidSignature,
    /// The body, or the request line with the headers, is too large.
    RequestTooLarge,
    /// The body could not be read to its end.
    BadRequestBody,
    /// The function failed or gave a malformed answer; this has no type of its own.
    FunctionFault,
    /// The function took too long.
    IntegrationTimeout,
}

impl GatewayRefusal {
    /// The type, the status unless customised, and the message (API Gateway: gateway response types).
    pub const fn wire(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::Unauthorized => ("UNAUTHORIZED", 401, "Unauthorized"),
            Self::AccessDenied => ("ACCESS_DENIED", 403, "User is not authorized to access this resource"),
            Self::AuthorizerFailure => ("AUTHORIZER_FAILURE", 500, "Internal server error"),
            Self::AuthorizerConfigurationError => {
                ("AUTHORIZER_CONFIGURATION_ERROR", 500, "Internal server error")
            }
            Self::InvalidApiKey => ("INVALID_API_KEY", 403, "Forbidden"),
            Self::Throttled => ("THROTTLED", 429, "Too Many Requests"),
            Self::MissingAuthenticationToken => {
                ("MISSING_AUTHENTICATION_TOKEN", 403, "Missing Authentication Token")
            }
            Self::InvalidSignature => ("INVALID_SIGNATURE", 403, "Invalid signature"),
            Self::RequestTooLarge => ("REQUEST_TOO_LARGE", 413, "Request Too Long"),
            Self::BadRequestBody => ("BAD_REQUEST_BODY", 400, "Invalid request body"),
            Self::FunctionFault => ("DEFAULT_5XX", 502, "Internal server error"),
            Self::IntegrationTimeout => ("INTEGRATION_TIMEOUT", 504, "Endpoint request timed out"),
        }
    }
}

/// The gateway responses of an API.
pub struct GatewayResponses(BTreeMap<String, GatewayResponse>);

impl GatewayResponses {
    /// The gateway responses that the template customises.
    pub fn new(customised: BTreeMap<String, GatewayResponse>) -> Self {
        Self(customised)
    }

    /// The answer to a request that is refused: customised for its type, else as the default of its class, else
    /// as API Gateway has it.
    pub fn answer(&self, refusal: GatewayRefusal, context: &Context) -> Response<Bytes> {
        let (kind, own_status, _) = refusal.wire();
        let class = if own_status < 500 { "DEFAULT_4XX" } else { "DEFAULT_5XX" };
        let default = GatewayResponse::default();
        let customised = self.0.get(kind).or_else(|| self.0.get(class)).unwrap_or(&default);

        let status = customised.status.and_then(|status| StatusCode::from_u16(status).ok());
        let own_status = StatusCode::from_u16(own_status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let (media_type, body) = match body_for(customised, &context.accept) {
            Some((media_type, pieces)) => (media_type, render(pieces, refusal, context)),
            None => ("application/json", render(&fallback_body(), refusal, context)),
        };
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_str(media_type) {
            headers.insert(header::CONTENT_TYPE, value);
        }
        for (name, pieces) in &customised.headers {
            let value = HeaderValue::from_str(&render(pieces, refusal, context));
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), value) {
                headers.insert(name, value);
            }
        }
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = status.unwrap_or(own_status);
        *response.headers_mut() = headers;
        response
    }
}

/// The body of the media type that the client accepts first, else the JSON one, else any.
fn body_for<'a>(response: &'a GatewayResponse, accept: &str) -> Option<(&'a str, &'a [Piece])> {
    let accepted = accept.split(',').map(|range| range.split(';').next().unwrap_or_default().trim());
    accepted
        .chain(["application/json"])
        .find_map(|media_type| response.bodies.get_key_value(media_type))
        .or_else(|| response.bodies.first_key_value())
        .map(|(media_type, pieces)| (media_type.as_str(), pieces.as_slice()))
}

/// `{"message":$context.error.messageString}`
fn fallback_body() -> [Piece; 3] {
    let literal = |text: &str| Piece::Literal(text.to_owned());
    [literal("{\"message\":"), Piece::Variable(Variable::MessageString), literal("}")]
}

fn render(pieces: &[Piece], refusal: GatewayRefusal, context: &Context) -> String {
    let (kind, _, message) = refusal.wire();
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Literal(literal) => text.push_str(literal),
            Piece::Variable(variable) => match variable {
                Variable::RequestId => text.push_str(&context.request_id),
                Variable::ExtendedRequestId => text.push_str(&context.extended_request_id),
                Variable::Message => text.push_str(message),
                Variable::MessageString => text.push_str(&serde_json::Value::from(message).to_string()),
                Variable::ResponseType => text.push_str(kind),
                Variable::HttpMethod => text.push_str(&context.method),
                Variable::Path => text.push_str(&context.path),
                Variable::Stage => text.push_str(super::event::STAGE),
                Variable::Authorizer(name) => {
                    let authorization = context.authorization.as_ref();
                    text.push_str(authorization.and_then(|a| a.context.get(name)).map_or("", String::as_str));
                }
            },
        }
    }
    text
}
