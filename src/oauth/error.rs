//! Refusals of the token endpoint (RFC 6749 §5.2).

use std::borrow::Cow;

use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use lambda_http::{Body, Response};
use serde_json::{Value, json};

use crate::auth::assertion::AssertionRefusal;
use crate::store::error::StoreError;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenErrorKind {
    /// A parameter is missing, repeated or malformed, or the client has authenticated in two ways.
    InvalidRequest,
    /// Unknown client, no proof, or a wrong one.
    InvalidClient,
    /// Another grant than client credentials.
    UnsupportedGrantType,
    /// A scope that is unknown, or that the client may not have.
    InvalidScope,
    /// Another path.
    NotFound,
    /// Another method than POST.
    MethodNotAllowed,
    /// The body is too large.
    TooLarge,
    /// The table does not answer.
    Unavailable,
    /// The issuer of the assertion does not answer, which is no fault of this service.
    IssuerDown,
    /// A fault of this service.
    Internal,
}

impl TokenErrorKind {
    /// The HTTP status and the value of `error`. RFC 6749 defines the values for 400 and 401. Those for other statuses
    /// are of its §4.1.2.1, or the nearest.
    pub const fn wire(self) -> (u16, &'static str) {
        match self {
            Self::InvalidRequest => (400, "invalid_request"),
            Self::InvalidClient => (401, "invalid_client"),
            Self::UnsupportedGrantType => (400, "unsupported_grant_type"),
            Self::InvalidScope => (400, "invalid_scope"),
            Self::NotFound => (404, "invalid_request"),
            Self::MethodNotAllowed => (405, "invalid_request"),
            Self::TooLarge => (413, "invalid_request"),
            Self::Unavailable | Self::IssuerDown => (503, "temporarily_unavailable"),
            Self::Internal => (500, "server_error"),
        }
    }
}

/// A refusal.
#[derive(Clone, Debug)]
pub struct TokenError {
    /// What is wrong.
    pub kind: TokenErrorKind,
    /// For the client: ASCII without quotes and backslashes.
    pub description: Cow<'static, str>,
    /// The methods that there are, for 405.
    pub allow: Option<&'static str>,
    /// For the log.
    pub source: Option<String>,
}

/// What a client is told that is unknown or has no proof. It is the same for both.
const UNKNOWN: &str = "The client is unknown, or its secret is wrong, revoked or expired. Enter client_id and client_secret as rollcall client create has shown them.";

/// What a client is told that does not authenticate.
const NO_PROOF: &str = "The request does not authenticate the client: send client_id and client_secret, or client_assertion, or the header Authorization with Basic.";

/// What a client is told whose header cannot be read. It says nothing about the client.
const BAD_HEADER: &str = "The header Authorization cannot be read: send Basic and the base64 of client_id:client_secret, or send both as parameters in the body.";

impl TokenError {
    /// A refusal.
    pub const fn new(kind: TokenErrorKind, description: &'static str) -> Self {
        Self { kind, description: Cow::Borrowed(description), allow: None, source: None }
    }

    /// 400 for a request that cannot be read.
    pub const fn invalid_request(description: &'static str) -> Self {
        Self::new(TokenErrorKind::InvalidRequest, description)
    }

    /// 401 for a client that has not proved who it is. The reason is for the log alone.
    pub fn invalid_client(reason: &str) -> Self {
        Self { source: Some(reason.to_owned()), ..Self::new(TokenErrorKind::InvalidClient, UNKNOWN) }
    }

    /// 405.
    pub fn method_not_allowed(allow: &'static str, sent: &Method) -> Self {
        // Any token may be a method (RFC 9110 §9.1).
        let sent = if sent.as_str().bytes().all(|byte| byte.is_ascii_uppercase()) {
            sent.as_str()
        } else {
            "another"
        };
        let description = Cow::Owned(format!("This endpoint answers {allow}; {sent} was sent."));
        Self { allow: Some(allow), description, ..Self::new(TokenErrorKind::MethodNotAllowed, "") }
    }

    /// 400 for a parameter that is given twice (RFC 6749 §3.2).
    pub fn repeated(name: &str) -> Self {
        let is_plain = name.len() <= 40 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let description = match is_plain {
            true => Cow::Owned(format!("The parameter {name} is given more than once.")),
            false => Cow::Borrowed("A parameter is given more than once."),
        };
        Self { description, ..Self::invalid_request("") }
    }

    /// 401 for a request without client authentication (RFC 6749 §5.2).
    pub fn no_proof() -> Self {
        Self { source: Some("no proof".to_owned()), ..Self::new(TokenErrorKind::InvalidClient, NO_PROOF) }
    }

    /// 401 for a header `Authorization` that is not of the form of Basic.
    pub fn unreadable_header() -> Self {
        Self { source: Some("header".to_owned()), ..Self::new(TokenErrorKind::InvalidClient, BAD_HEADER) }
    }

    /// The refusal as a response. 401 names a scheme, as HTTP demands (RFC 9110 §15.5.2).
    pub fn response(&self) -> Response<Body> {
        let (status, error) = self.kind.wire();
        let body = json!({ "error": error, "error_description": self.description.as_ref() });
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = answer(status, &body);
        let headers = response.headers_mut();
        if let Some(methods) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(methods));
        }
        if self.kind == TokenErrorKind::InvalidClient {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"token\""));
        }
        if matches!(self.kind, TokenErrorKind::Unavailable | TokenErrorKind::IssuerDown) {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("30"));
        }
        response
    }
}

/// An answer of the token endpoint, which no cache keeps (RFC 6749 §5.1).
pub fn answer(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::Text(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(HeaderName::from_static("pragma"), HeaderValue::from_static("no-cache"));
    response
}

impl From<AssertionRefusal> for TokenError {
    fn from(refusal: AssertionRefusal) -> Self {
        let kind = match refusal {
            AssertionRefusal::IssuerDown => TokenErrorKind::IssuerDown,
            _ => TokenErrorKind::InvalidClient,
        };
        let source = Some(format!("assertion: {}", refusal.name()));
        Self { source, ..Self::new(kind, refusal.description()) }
    }
}

impl From<StoreError> for TokenError {
    fn from(error: StoreError) -> Self {
        let kind = match error {
            StoreError::Broken(_) => TokenErrorKind::Internal,
            _ => TokenErrorKind::Unavailable,
        };
        let description = "The service cannot answer just now. Send the request again.";
        Self { source: Some(error.to_string()), ..Self::new(kind, description) }
    }
}
