//! The function of the token endpoint: a REST proxy event in, a proxy response out.

use std::time::Instant;

use futures_util::FutureExt as _;
use http::{Method, StatusCode};
use lambda_http::{Body, Request, RequestExt as _, Response};

use super::error::{TokenError, TokenErrorKind, answer};
use super::grant::grant;
use super::metadata::{METADATA_PATH, TOKEN_RESOURCE, document};
use crate::auth::jwks::IssuerKeys;
use crate::http::log::{Line, OperationClass};
use crate::http::response::{self, Transfer};
use crate::http::service::HttpFunction;
use crate::outbound::client::OutboundClient;
use crate::outbound::target::TargetRule;
use crate::store::call::Table;

/// Everything that outlives a request.
pub struct TokenFunction {
    table: Table,
    public_url: Option<String>,
    issuers: IssuerKeys,
}

impl TokenFunction {
    /// A function over a table. `public_url` is the SCIM base URL, if requests do not show it. The keys of issuers are
    /// read from URLs that the rule allows.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn new(table: Table, public_url: Option<String>, rule: TargetRule) -> Result<Self, String> {
        let issuers = IssuerKeys::new(OutboundClient::new(rule)?);
        Ok(Self { table, public_url, issuers })
    }

    /// Answers one request, with what there is to log of it. No line holds a secret, an assertion or a token.
    pub async fn answer_with_line(&self, request: Request) -> (Response<Body>, Line) {
        let began = Instant::now();
        let table = self.table.fresh();
        let mut line = Line { class: OperationClass::Token, ..Line::of_request(&request) };
        let ids = line.ids.clone();
        let outcome = ids.scope(self.outcome(&request, &table, &mut line).boxed()).await;
        let mut response = match outcome {
            Ok(response) => response,
            Err(refusal) => {
                line.scim_type = Some(refusal.kind.wire().1);
                line.is_excused = refusal.kind == TokenErrorKind::IssuerDown;
                line.source.clone_from(&refusal.source);
                refusal.response()
            }
        };
        response::protect(&mut response);
        line.status = response.status().as_u16();
        line.duration_ms = began.elapsed().as_secs_f64() * 1000.0;
        line.usage = table.usage();
        (response, line)
    }

    async fn outcome(
        &self,
        request: &Request,
        table: &Table,
        line: &mut Line,
    ) -> Result<Response<Body>, TokenError> {
        let path = request.raw_http_path().trim_end_matches('/');
        let (is_token, method) = (path.ends_with(TOKEN_RESOURCE), request.method());
        let methods = if is_token { "POST, OPTIONS" } else { "GET, HEAD, OPTIONS" };
        if !is_token && !path.ends_with(METADATA_PATH) {
            let description = "There is no such endpoint. The token endpoint is /oauth2/token.";
            return Err(TokenError::new(TokenErrorKind::NotFound, description));
        }
        if *method == Method::OPTIONS {
            return Ok(response::options(methods));
        }
        match (is_token, method) {
            (true, &Method::POST) => {
                line.operation = "oauth.token";
                grant(table, &self.issuers, request, line).await
            }
            (false, &Method::GET | &Method::HEAD) => {
                line.operation = "oauth.metadata";
                Ok(answer(StatusCode::OK, &document(request, self.public_url.as_deref())))
            }
            _ => Err(TokenError::method_not_allowed(methods, request.method())),
        }
    }
}

impl HttpFunction for TokenFunction {
    async fn answer(&self, request: Request, _: Transfer) -> Response<Body> {
        let (response, line) = self.answer_with_line(request).await;
        line.write();
        response
    }
}
