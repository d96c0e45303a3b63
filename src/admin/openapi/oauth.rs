//! The paths of the token endpoint and of its metadata (RFC 6749, RFC 8414).

use serde_json::{Map, Value, json};

use crate::limits::MAX_TOKEN_BODY_BYTES;
use crate::oauth::error::TokenErrorKind;
use crate::oauth::metadata::{METADATA_PATH, TOKEN_PATH};

/// The name of the security scheme of a client with a secret.
pub(super) const CLIENT_SECRET: &str = "clientSecret";

/// What each status of the token endpoint means. Those of the gateway are among them.
const REFUSALS: &[(u16, &str)] = &[
    (
        400,
        "A parameter is missing, repeated or malformed, the grant is not client credentials, or the scope is not one that the client may have.",
    ),
    (
        401,
        "The client is unknown, or what it sends proves nothing: a wrong secret, a refused assertion, or none of both. API Gateway renames the header `WWW-Authenticate` of this answer to `x-amzn-remapped-www-authenticate`.",
    ),
    (403, "A firewall in front of the service refused the request."),
    (405, "Another method than POST."),
    (413, "The body is too large."),
    (429, "More token requests than the service takes."),
    (500, "A fault of the server."),
    (503, "The table or the issuer of the assertion does not answer. Send the request again."),
    (504, "The server did not answer in time."),
];

/// The two paths.
pub(super) fn paths() -> [(&'static str, Value); 2] {
    [(TOKEN_PATH, token_path()), (METADATA_PATH, metadata_path())]
}

/// The schemas that the paths refer to.
pub(super) fn schemas() -> Map<String, Value> {
    use TokenErrorKind::{
        Internal, InvalidClient, InvalidRequest, InvalidScope, Unavailable, UnsupportedGrantType,
    };
    let kinds = [InvalidRequest, InvalidClient, UnsupportedGrantType, InvalidScope, Unavailable, Internal];
    // The last one is the firewall's.
    let errors: Vec<&str> = kinds.iter().map(|kind| kind.wire().1).chain(["access_denied"]).collect();
    let schema = |name: &str, schema: Value| (name.to_owned(), schema);
    Map::from_iter([
        schema("TokenRequest", token_request()),
        schema("AccessToken", access_token()),
        schema("TokenError", token_error(&errors)),
        schema("AuthorizationServer", authorization_server()),
    ])
}

fn access_token() -> Value {
    json!({
        "type": "object", "required": ["access_token", "token_type", "expires_in", "scope"],
        "properties": {
            "access_token": {
                "type": "string",
                "description": "Opaque. It goes into the header `Authorization: Bearer …`.",
                "pattern": "^rct_[a-z][a-z0-9-]{1,30}_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}$",
            },
            "token_type": { "const": "Bearer" },
            "expires_in": { "type": "integer", "description": "Seconds.", "minimum": 1 },
            "scope": { "type": "string", "description": "What was granted." },
        },
        "additionalProperties": false,
    })
}

fn token_error(errors: &[&str]) -> Value {
    json!({
        "type": "object", "description": "A refusal (RFC 6749 §5.2).",
        "required": ["error", "error_description"],
        "properties": {
            "error": { "type": "string", "enum": errors },
            "error_description": { "type": "string", "description": "What to change." },
        },
        "additionalProperties": false,
    })
}

fn token_request() -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    json!({
        "type": "object", "required": ["grant_type"],
        "description": "A client authenticates in one way: by Basic, by `client_secret`, or by `client_assertion` with its type. Without Basic, `client_id` is required. Other parameters are ignored. A repeated one is refused.",
        "properties": {
            "grant_type": { "type": "string", "enum": ["client_credentials"] },
            "client_id": text("The id of the client."),
            "client_secret": text("The secret of the client."),
            "client_assertion_type": { "type": "string", "enum": ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"] },
            "client_assertion": text("A JWT that the issuer of a federated client has signed (RFC 7523 §2.2). It can be used once."),
            "scope": text("`scim`: all that the client may do. `scim.read`: reading. `scim.readwrite`: both. Several have a blank between them. Without it: `scim`."),
        },
    })
}

fn authorization_server() -> Value {
    let texts = json!({ "type": "array", "items": { "type": "string" } });
    json!({
        "type": "object", "description": "RFC 8414 §2.",
        "required": ["issuer", "token_endpoint", "response_types_supported", "grant_types_supported"],
        "properties": {
            "issuer": { "type": "string", "description": "The base URL without `/scim/v2`." },
            "token_endpoint": { "type": "string" },
            "scopes_supported": texts,
            "response_types_supported": texts,
            "grant_types_supported": texts,
            "token_endpoint_auth_methods_supported": texts,
            "token_endpoint_auth_signing_alg_values_supported": texts,
        },
    })
}

fn token_path() -> Value {
    let client = "client_4fK2mQ9sXb1Z";
    let jwt_bearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let examples = json!({
        "secret": { "value": { "grant_type": "client_credentials", "client_id": client, "client_secret": "rcs_…" } },
        "basic": { "summary": "With the header Authorization: Basic", "value": { "grant_type": "client_credentials" } },
        "assertion": { "value": {
            "grant_type": "client_credentials", "client_id": client,
            "client_assertion_type": jwt_bearer, "client_assertion": "eyJ…", "scope": "scim",
        } },
    });
    let mut answers = Map::from_iter([(
        "200".to_owned(),
        json!({ "description": "An access token.", "content": content("AccessToken") }),
    )]);
    answers.extend(REFUSALS.iter().map(|(status, text)| (status.to_string(), refusal(*status, text))));
    json!({
        "servers": [{
            "url": "{server}",
            "description": "The output TokenUrl of the stack without the path of this operation.",
            "variables": { "server": { "default": "https://scim.example.com" } },
        }],
        "post": {
            "operationId": "token",
            "summary": "Get an access token (RFC 6749 §4.4)",
            "description": format!("A body has at most {MAX_TOKEN_BODY_BYTES} bytes. No cache keeps an answer."),
            "tags": ["Token"],
            // Without the scheme, the client authenticates in the body.
            "security": [{ CLIENT_SECRET: [] }, {}],
            "requestBody": {
                "required": true,
                "content": { "application/x-www-form-urlencoded": {
                    "schema": { "$ref": "#/components/schemas/TokenRequest" }, "examples": examples,
                } },
            },
            "responses": answers,
        },
    })
}

fn metadata_path() -> Value {
    let mut answers = Map::from_iter([(
        "200".to_owned(),
        json!({ "description": "The document.", "content": content("AuthorizationServer") }),
    )]);
    answers.insert("405".to_owned(), refusal(405, "Another method than GET."));
    // API Gateway answers these by itself. They have the form of the API that the path belongs to.
    for (status, name) in [
        ("403", "Forbidden"),
        ("429", "TooManyRequests"),
        ("500", "Internal"),
        ("502", "BadGateway"),
        ("504", "GatewayTimeout"),
    ] {
        answers.insert(status.to_owned(), json!({ "$ref": format!("#/components/responses/{name}") }));
    }
    json!({ "get": {
        "operationId": "token.metadata",
        "summary": "Read what the token endpoint does (RFC 8414)",
        "description": "With a domain of the stack, it is at the root of the host too.",
        "tags": ["Token"],
        "security": [],
        "responses": answers,
    } })
}

fn content(schema: &str) -> Value {
    json!({ "application/json": { "schema": { "$ref": format!("#/components/schemas/{schema}") } } })
}

fn refusal(status: u16, text: &str) -> Value {
    let mut response = json!({ "description": text, "content": content("TokenError") });
    let header = match status {
        405 => Some(("Allow", "The methods that the path answers.")),
        429 | 503 => Some(("Retry-After", "Seconds to wait before the next request.")),
        _ => None,
    };
    if let Some((name, text)) = header {
        response["headers"] =
            json!({ name: { "description": text, "required": true, "schema": { "type": "string" } } });
    }
    response
}
