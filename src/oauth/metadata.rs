//! `/.well-known/oauth-authorization-server`: what the token endpoint can do (RFC 8414 §2).

use lambda_http::Request;
use serde_json::{Value, json};

use super::grant::SCOPES;
use crate::auth::jwks::ALGORITHMS;
use crate::http::caller::{BASE_PATH, RequestLocation};

/// The path of the token endpoint, below the root of the API.
pub(super) const TOKEN_PATH: &str = "/oauth2/token";
/// The path of the metadata, below the root of the API and below the SCIM base URL.
pub(super) const METADATA_PATH: &str = "/.well-known/oauth-authorization-server";

/// The document. The issuer is the root of the API: the SCIM base URL without `/scim/v2`.
pub(super) fn document(request: &Request, public_url: Option<&str>) -> Value {
    let issuer = root(request, public_url);
    let algorithms: Vec<&str> = ALGORITHMS.iter().map(|(_, name)| *name).collect();
    json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}{TOKEN_PATH}"),
        "scopes_supported": SCOPES,
        "response_types_supported": [],
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": algorithms,
    })
}

fn root(request: &Request, public_url: Option<&str>) -> String {
    if let Some(root) = public_url.and_then(|url| url.strip_suffix(BASE_PATH)) {
        return root.to_owned();
    }
    let mut url = RequestLocation::below(METADATA_PATH, request, None).base_url;
    for end in [METADATA_PATH, BASE_PATH] {
        if let Some(rest) = url.strip_suffix(end) {
            url.truncate(rest.len());
        }
    }
    url
}
