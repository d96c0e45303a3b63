//! The OpenAPI document of the application's side.

use serde_json::{Map, Value, json};

use super::app_schemas::schemas;
use crate::app::APP_BASE_PATH;
use crate::app::router::{APP_ROUTES, AppOperation, ClientOperation, DefinitionOperation, WebhookOperation};
use crate::auth::application::ApplicationScope;
use crate::limits::{DEFINITIONS_PER_PAGE, MAX_WEBHOOKS};
use crate::scim::resource_type::{DefinedKind, Kind, Model};

/// The document of the API for applications. Resources are those of a tenant under one policy.
pub fn app_document(model: &Model) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for (method, route, operation) in APP_ROUTES {
        let (path, parameters) = template(route);
        let item = paths.entry(path).or_insert_with(|| json!({ "parameters": parameters }));
        item[method.as_str().to_ascii_lowercase()] = describe(*operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Rollcall: the application's side",
            "summary": "Users, groups and changes of every tenant, for the product behind",
            "description": "For the product's own backend, with one application key for all tenants. Refusals are \
                `application/problem+json` (RFC 9457). Where a path answers other methods, the answer is 405 with \
                `Allow`; `HEAD` answers as `GET` without the body, `OPTIONS` answers 204 with `Allow`.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            "version": env!("CARGO_PKG_VERSION"),
        },
        "servers": [{
            "url": format!("https://{{host}}{APP_BASE_PATH}"),
            "variables": { "host": { "default": "app.example.com", "description": "Host, with the stage where there is one." } },
        }],
        "security": [{ "application": [] }],
        "tags": [
            { "name": "Feed" }, { "name": "Tenants" }, { "name": "Resources" }, { "name": "Keys" },
            { "name": "Clients" },
            { "name": "Roles" }, { "name": "Entitlements" }, { "name": "Webhooks" },
        ],
        "paths": paths,
        "components": {
            "securitySchemes": { "application": {
                "type": "http", "scheme": "bearer",
                "description": "An application key (rollcall application create). One with the scope `read` may only read.",
            } },
            "parameters": path_parameters(),
            "responses": { "Problem": {
                "description": "A refusal.",
                "content": { "application/problem+json": { "schema": reference("Problem") } },
            } },
            "schemas": schemas(model),
        },
    })
}

/// A route with names for its segments, and references to their parameters.
fn template(route: &str) -> (String, Vec<Value>) {
    let (mut path, mut parameters) = (String::new(), Vec::new());
    let mut before = "";
    for segment in route.split('/').skip(1) {
        let name = match (segment, before) {
            ("{}", "tenants") => "tenant",
            ("{}", "keys") => "key",
            ("{}", "clients") => "client",
            ("{}", "roles") => "role",
            ("{}", "entitlements") => "entitlement",
            ("{}", "webhooks") => "webhook",
            ("{}", _) => "id",
            (literal, _) => {
                path.push_str(&format!("/{literal}"));
                before = literal;
                continue;
            }
        };
        path.push_str(&format!("/{{{name}}}"));
        parameters.push(json!({ "$ref": format!("#/components/parameters/{name}") }));
    }
    (path, parameters)
}

fn path_parameters() -> Value {
    let parameter = |name: &str, description: &str| {
        json!({
            "name": name, "in": "path", "required": true, "description": description,
            "schema": { "type": "string" },
        })
    };
    json!({
        "tenant": parameter("tenant", "The name of the tenant."),
        "id": parameter("id", "The id of the user or group."),
        "key": parameter("key", "The id of the key: key_…"),
        "client": parameter("client", "The id of the client: client_…"),
        "role": parameter("role", "The id of the role."),
        "entitlement": parameter("entitlement", "The id of the entitlement."),
        "webhook": parameter("webhook", "The id of the webhook: wh_…"),
    })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// What an operation is, besides its name.
struct OperationText {
    tag: &'static str,
    summary: &'static str,
    query: Value,
    /// The schema of the body, and whether it is required.
    body: Option<(&'static str, bool)>,
    /// The status and the schema of each answer that is not a refusal.
    answers: &'static [(u16, &'static str)],
}

fn query(name: &str, schema: &Value, description: &str) -> Value {
    json!({ "name": name, "in": "query", "schema": schema, "description": description })
}

fn text() -> Value {
    json!({ "type": "string" })
}

/// The parameters of a SCIM query.
fn scim_query() -> Value {
    let number = json!({ "type": "integer" });
    let order = json!({ "type": "string", "enum": ["ascending", "descending"] });
    json!([
        query("filter", &text(), "A filter (RFC 7644 §3.4.2.2)."),
        query("sortBy", &text(), "The attribute to sort by."),
        query("sortOrder", &order, "The order."),
        query("startIndex", &number, "The index of the first resource, from 1."),
        query("count", &number, "The most resources of the answer, at most 200."),
        query("cursor", &text(), "Empty for the first page, then nextCursor of the page before (RFC 9865)."),
        query("attributes", &text(), "Only these attributes, and the service's own extension."),
        query("excludedAttributes", &text(), "All but these attributes."),
    ])
}

fn projection() -> Value {
    json!([
        query("attributes", &text(), "Only these attributes, and the service's own extension."),
        query("excludedAttributes", &text(), "All but these attributes."),
    ])
}

fn pages(most: usize) -> Value {
    let limit = json!({ "type": "integer", "minimum": 1, "maximum": most });
    json!([
        query("cursor", &text(), "next of the page before."),
        query("limit", &limit, "The most entries of the answer."),
    ])
}

fn feed_query() -> Value {
    let limit = json!({ "type": "integer", "minimum": 1, "maximum": 500 });
    let include = json!({ "type": "string", "enum": ["resource"] });
    json!([
        query("after", &text(), "A position. Without it the answer begins with the oldest change."),
        query("limit", &limit, "The most changes of the answer."),
        query("tenant", &text(), "Only changes of this tenant."),
        query("include", &include, "Adds the state of users and groups as it is now."),
    ])
}

/// The text of an operation that reads.
fn get(
    tag: &'static str,
    summary: &'static str,
    query: Value,
    answers: &'static [(u16, &'static str)],
) -> OperationText {
    OperationText { tag, summary, query, body: None, answers }
}

fn description(operation: AppOperation) -> OperationText {
    let write = |tag, summary, body, answers| OperationText { tag, summary, query: json!([]), body, answers };
    match operation {
        AppOperation::ListChanges => {
            get("Feed", "Changes after a position", feed_query(), &[(200, "Changes")])
        }
        AppOperation::Status => get("Feed", "Where the feed stands", json!([]), &[(200, "Status")]),
        AppOperation::ListTenants => get("Tenants", "Tenants by name", pages(100), &[(200, "TenantPage")]),
        AppOperation::RetrieveTenant => get("Tenants", "A tenant", json!([]), &[(200, "Tenant")]),
        AppOperation::CreateTenant => write(
            "Tenants",
            "Makes a tenant; the same request again answers the same tenant",
            Some(("NewTenant", true)),
            &[(201, "Tenant"), (200, "Tenant")],
        ),
        AppOperation::UpdateTenant => {
            write("Tenants", "Changes settings or plan", Some(("TenantChange", true)), &[(200, "Tenant")])
        }
        AppOperation::Query(Kind::User) => get("Resources", "Users", scim_query(), &[(200, "UserList")]),
        AppOperation::Query(Kind::Group) => get("Resources", "Groups", scim_query(), &[(200, "GroupList")]),
        AppOperation::Retrieve(Kind::User) => {
            get("Resources", "A user", projection(), &[(200, "User"), (304, "")])
        }
        AppOperation::Retrieve(Kind::Group) => {
            get("Resources", "A group", projection(), &[(200, "Group"), (304, "")])
        }
        AppOperation::ListMembers => {
            get("Resources", "The members of a group by id", pages(1_000), &[(200, "MemberPage")])
        }
        AppOperation::ReplaceAssignments => write(
            "Resources",
            "Replaces the roles that a group grants; the root team keeps an active administrator",
            Some(("NewAssignments", true)),
            &[(200, "Assignments")],
        ),
        AppOperation::ListKeys => {
            get("Keys", "The keys of a tenant, without their texts", json!([]), &[(200, "KeyList")])
        }
        AppOperation::CreateKey => write(
            "Keys",
            "Makes a key; only this answer shows its text",
            Some(("NewKey", true)),
            &[(201, "MadeKey")],
        ),
        AppOperation::RotateKey => write(
            "Keys",
            "Makes the successor of a key; the old key works until the overlap ends",
            Some(("Rotation", false)),
            &[(201, "RotatedKey")],
        ),
        AppOperation::RevokeKey => write("Keys", "Revokes a key", None, &[(204, "")]),
        AppOperation::Client(operation) => client_description(operation),
        AppOperation::Definition(kind, operation) => definition_description(kind, operation),
        AppOperation::Webhook(operation) => webhook_description(operation),
    }
}

fn client_description(operation: ClientOperation) -> OperationText {
    let (summary, body, answers): (_, _, &'static [_]) = match operation {
        ClientOperation::List => {
            ("The OAuth clients of a tenant, without their secrets", None, &[(200, "ClientList")])
        }
        ClientOperation::Create => (
            "Makes an OAuth client; only this answer shows its secret",
            Some(("NewClient", true)),
            &[(201, "MadeClient")],
        ),
        ClientOperation::Rotate => (
            "Gives a client a new secret; the others work until the overlap ends, and are revoked without one",
            Some(("Rotation", false)),
            &[(201, "RotatedClient")],
        ),
        ClientOperation::Revoke => ("Revokes a client with its access tokens", None, &[(204, "")]),
    };
    OperationText { tag: "Clients", summary, query: json!([]), body, answers }
}

fn definition_description(kind: DefinedKind, operation: DefinitionOperation) -> OperationText {
    let is_role = kind == DefinedKind::Role;
    let pick = |role, entitlement| if is_role { role } else { entitlement };
    let answered = |role: &'static [(u16, &'static str)], entitlement: &'static [(u16, &'static str)]| {
        if is_role { role } else { entitlement }
    };
    let one = answered(&[(200, "Role")], &[(200, "Entitlement")]);
    let (summary, body, answers) = match operation {
        DefinitionOperation::List => (
            pick("Roles by id, with what they grant", "Entitlements by id"),
            None,
            answered(&[(200, "RolePage")], &[(200, "EntitlementPage")]),
        ),
        DefinitionOperation::Retrieve => (pick("A role", "An entitlement"), None, one),
        DefinitionOperation::Create => (
            pick("Makes a role", "Makes an entitlement"),
            Some((pick("NewRole", "NewEntitlement"), true)),
            answered(&[(201, "Role")], &[(201, "Entitlement")]),
        ),
        DefinitionOperation::Update => (
            pick("Changes a role and what its users are granted", "Changes an entitlement"),
            Some((pick("RoleChange", "EntitlementChange"), true)),
            one,
        ),
        DefinitionOperation::Delete => (
            pick("Deletes a role; users keep its value, which grants nothing then", "Deletes an entitlement"),
            None,
            answered(&[(204, "")], &[(204, "")]),
        ),
    };
    let is_list = operation == DefinitionOperation::List;
    let query = if is_list { pages(DEFINITIONS_PER_PAGE) } else { json!([]) };
    OperationText { tag: pick("Roles", "Entitlements"), summary, query, body, answers }
}

fn webhook_description(operation: WebhookOperation) -> OperationText {
    let (summary, body, answers): (_, _, &'static [_]) = match operation {
        WebhookOperation::List => ("Webhooks, without their secrets", None, &[(200, "WebhookPage")]),
        WebhookOperation::Retrieve => {
            ("A webhook, how far it is, and its last test", None, &[(200, "Webhook")])
        }
        WebhookOperation::Create => (
            "Makes a webhook; only this answer shows its secret",
            Some(("NewWebhook", true)),
            &[(201, "MadeWebhook")],
        ),
        WebhookOperation::Update => {
            ("Changes a webhook, or enables it again", Some(("WebhookSettings", true)), &[(200, "Webhook")])
        }
        WebhookOperation::Delete => ("Deletes a webhook with its secrets", None, &[(204, "")]),
        WebhookOperation::Test => (
            "Sends a message without changes; the webhook shows what came of it",
            None,
            &[(202, "WebhookTest")],
        ),
        WebhookOperation::Rotate => (
            "Gives a webhook a new secret; the old one signs too until the overlap ends",
            Some(("Rotation", false)),
            &[(200, "RotatedWebhook")],
        ),
    };
    let query = if operation == WebhookOperation::List { pages(MAX_WEBHOOKS) } else { json!([]) };
    OperationText { tag: "Webhooks", summary, query, body, answers }
}

fn describe(operation: AppOperation) -> Value {
    let OperationText { tag, summary, query, body, answers } = description(operation);
    let mut responses = Map::new();
    for (status, schema) in answers {
        let mut answer =
            json!({ "description": if *status == 304 { "The client has this version." } else { "Done." } });
        if !schema.is_empty() {
            answer["content"] = json!({ "application/json": { "schema": reference(schema) } });
        }
        responses.insert(status.to_string(), answer);
    }
    if operation == AppOperation::ListChanges {
        responses.insert(
            "410".to_owned(),
            json!({
                "description": "The position is not in the feed: take a snapshot.",
                "content": { "application/problem+json": { "schema": reference("Problem") } },
            }),
        );
    }
    responses.insert("default".to_owned(), json!({ "$ref": "#/components/responses/Problem" }));
    let mut described = json!({
        "operationId": operation.name(),
        "tags": [tag],
        "summary": summary,
        "x-scope": ApplicationScope::name(operation.scope()),
        "parameters": query,
        "responses": responses,
    });
    if let Some((schema, is_required)) = body {
        described["requestBody"] = json!({
            "required": is_required,
            "content": { "application/json": { "schema": reference(schema) } },
        });
    }
    described
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::resolves;
    use super::*;
    use crate::scim::policy::POLICIES;

    #[test]
    fn every_route_is_described_and_every_reference_resolves() {
        for policy in POLICIES {
            let document = app_document(&Model::new(policy, &[]).expect("a model"));
            resolves(&document, &document);
            for (method, route, operation) in APP_ROUTES {
                let (path, _) = template(route);
                let described = &document["paths"][path.as_str()][method.as_str().to_ascii_lowercase()];
                assert_eq!(described["operationId"], operation.name());
                assert!(described["summary"].is_string(), "{} is not described", operation.name());
            }
        }
    }
}
