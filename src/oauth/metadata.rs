//! `/.well-known/oauth-authorization-server`: what the token endpoint can do (RFC 8414 §2).

use lambda_http::{Request, RequestExt as _};
use serde_json::{Value, json};

use super::grant::SCOPES;
use crate::auth::jwks::ALGORITHMS;
use crate::http::caller::{BASE_PATH, RequestLocation};

/// The path of the token endpoint in its API, which stands at `/oauth2`.
pub(super) const TOKEN_RESOURCE: &str = "/token";
/// The path of the token endpoint beside the SCIM base URL.
pub const TOKEN_PATH: &str = "/oauth2/token";
/// The variable of the stage that has the URL of the token endpoint.
const TOKEN_URL: &str = "tokenUrl";
/// The path of the metadata, below the root of the SCIM API and below its base URL.
pub const METADATA_PATH: &str = "/.well-known/oauth-authorization-server";

/// The document. The issuer is the root of the SCIM API: its base URL without `/scim/v2`. The token endpoint has an API of
/// its own. Its URL is a variable of the stage. Without one, as in local development, it is beside the base URL.
pub(super) fn document(request: &Request, public_url: Option<&str>) -> Value {
    let issuer = root(request, public_url);
    let variables = request.stage_variables_ref();
    let token_url = variables.and_then(|variables| variables.first(TOKEN_URL));
    let token_url = token_url.map_or_else(|| format!("{issuer}{TOKEN_PATH}"), str::to_owned);
    let algorithms: Vec<&str> = ALGORITHMS.iter().map(|(_, name)| *name).collect();
    json!({
        "issuer": issuer,
        "token_endpoint": token_url,
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
