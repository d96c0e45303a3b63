//! The document as a whole.

use serde_json::{Map, Value, json};

use super::components::{parameters, responses};
use super::oauth;
use super::operations::operation;
use super::schemas::schemas;
use crate::http::caller::BASE_PATH;
use crate::http::router::{Operation, ROUTES};
use crate::scim::resource_type::Model;

/// The OpenAPI document of the API under one policy.
pub fn document(model: &Model) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for (method, route, action) in ROUTES {
        let (path, segment) = template(route, *action);
        let item = paths.entry(path).or_insert_with(|| match segment {
            Some(segment) => {
                json!({ "parameters": [{ "$ref": format!("#/components/parameters/{segment}") }] })
            }
            None => json!({}),
        });
        item[method.as_str().to_ascii_lowercase()] = operation(*action, model);
    }
    paths.extend(oauth::paths().map(|(path, item)| (path.to_owned(), item)));
    let mut schemas = schemas(model);
    if let Some(all) = schemas.as_object_mut() {
        all.extend(oauth::schemas());
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Rollcall",
            "summary": "SCIM 2.0 provisioning of users and groups",
            "description": format!(
                "SCIM 2.0 (RFC 7643, RFC 7644) with cursor paging (RFC 9865), for a tenant under the policy \
                 `{}`. Names of attributes and query options compare in any case; a media type may carry \
                 parameters. Where a path answers other methods, the answer is 405 with `Allow`; `HEAD` \
                 answers as `GET` without the body, `OPTIONS` answers 204 with `Allow`.",
                model.policy.name
            ),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            "version": env!("CARGO_PKG_VERSION"),
        },
        "servers": [{
            "url": format!("https://{{host}}{BASE_PATH}"),
            "variables": { "host": { "default": "scim.example.com", "description": "Host, with the stage where there is one." } },
        }],
        "security": [{ "bearer": [] }, { "client": ["scim"] }],
        "tags": [
            { "name": "User" }, { "name": "Group" }, { "name": "Me" }, { "name": "Search" },
            { "name": "Bulk" }, { "name": "Discovery" }, { "name": "Token" },
        ],
        "paths": paths,
        "components": {
            "securitySchemes": security_schemes(),
            "parameters": parameters(),
            "responses": responses(),
            "schemas": schemas,
        },
    })
}

/// Keys, access tokens, and the secret of a client.
fn security_schemes() -> Value {
    json!({
        "bearer": {
            "type": "http", "scheme": "bearer",
            "description": "A key of the tenant, or an access token of one of its clients. One with the scope `read` may only read and search.",
        },
        (oauth::CLIENT_SECRET): {
            "type": "http", "scheme": "basic",
            "description": "The id and the secret of a client, both form-encoded before (RFC 6749 §2.3.1). For the token endpoint alone.",
        },
        // The URL is relative to that of the server, as with a domain of the stack.
        "client": {
            "type": "oauth2",
            "description": "Access tokens of a client of the tenant. The client authenticates with its secret (in the body or by Basic) or with an assertion (RFC 7523). The output TokenUrl of the stack has the URL. docs/oauth.md describes it.",
            "flows": { "clientCredentials": { "tokenUrl": "../oauth2/token", "scopes": {
                "scim": "Everything that the client may do.",
                "scim.read": "Reading and searching.",
                "scim.readwrite": "Everything, for a client with the scope `provision`.",
            } } },
        },
    })
}

/// A route with a name for its segment.
fn template(route: &str, operation: Operation) -> (String, Option<&'static str>) {
    if !route.contains("{}") {
        return (route.to_owned(), None);
    }
    let segment = match operation {
        Operation::ResourceType => "name",
        Operation::Schema => "urn",
        _ => "id",
    };
    (route.replace("{}", &format!("{{{segment}}}")), Some(segment))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::oauth::metadata::{METADATA_PATH, TOKEN_PATH};
    use crate::scim::policy::{POLICIES, STANDARD};

    /// Every `$ref` in a value leads somewhere.
    pub fn resolves(value: &Value, document: &Value) {
        match value {
            Value::Object(object) => {
                if let Some(Value::String(reference)) = object.get("$ref") {
                    let pointer = reference.strip_prefix('#').expect("a local reference");
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                }
                object.values().for_each(|value| resolves(value, document));
            }
            Value::Array(values) => values.iter().for_each(|value| resolves(value, document)),
            _ => {}
        }
    }

    #[test]
    fn every_route_is_described_and_every_reference_resolves() {
        for policy in POLICIES {
            let document = document(&Model::new(policy, &[]).expect("a model"));
            resolves(&document, &document);
            for (method, route, operation) in ROUTES {
                let (path, _) = template(route, *operation);
                let described = &document["paths"][path.as_str()][method.as_str().to_ascii_lowercase()];
                assert_eq!(described["operationId"], operation.name());
                assert!(described["summary"].is_string(), "{} is not described", operation.name());
            }
            let token = &document["paths"][TOKEN_PATH]["post"];
            let answers: Vec<&String> = token["responses"].as_object().expect("answers").keys().collect();
            assert_eq!(answers, ["200", "400", "401", "403", "405", "413", "429", "500", "503", "504"]);
            assert!(document["paths"][METADATA_PATH]["get"]["summary"].is_string());
        }
    }

    #[test]
    fn requirements_are_the_policys() {
        let document = document(&Model::new(&STANDARD, &[]).expect("a model"));
        assert_eq!(
            document["components"]["schemas"]["UserRequest"]["required"],
            json!(["schemas", "userName"])
        );
    }
}
