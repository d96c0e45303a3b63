//! One operation of the document: what it takes, what it answers.

use serde_json::{Map, Value, json};

use super::components::REFUSALS;
use crate::http::response::SCIM_JSON;
use crate::http::router::Operation;
use crate::scim::policy::DeleteUser;
use crate::scim::resource_type::Model;
use crate::scim::urn;

/// What every operation may answer.
const EVERYWHERE: [u16; 9] = [400, 401, 403, 405, 429, 500, 502, 503, 504];
const PAGING: [&str; 6] = ["filter", "sortBy", "sortOrder", "startIndex", "count", "cursor"];
const PROJECTION: [&str; 2] = ["attributes", "excludedAttributes"];

/// An operation while it is described.
#[derive(Default)]
struct Description {
    summary: String,
    tag: &'static str,
    parameters: Vec<&'static str>,
    /// The schema of the body, and an example.
    body: Option<(String, Value)>,
    answers: Map<String, Value>,
    refusals: Vec<u16>,
}

/// Describes an operation. Its name in the routes says what it does, and to what.
pub(super) fn operation(operation: Operation, model: &Model) -> Value {
    let (verb, kind) = operation.name().split_once('.').unwrap_or((operation.name(), ""));
    let mut it = match (verb, kind) {
        ("bulk", _) => bulk(),
        ("search", _) => search(kind),
        (_, "ServiceProviderConfig" | "ResourceType" | "Schema") => discovery(verb, kind),
        _ => resource(verb, kind, model),
    };
    it.refusals.extend(EVERYWHERE);
    it.refusals.sort_unstable();
    it.refusals.dedup();
    for (status, name, _) in REFUSALS.iter().filter(|(status, ..)| it.refusals.contains(status)) {
        it.answers.insert(status.to_string(), json!({ "$ref": format!("#/components/responses/{name}") }));
    }
    let mut value = json!({
        "operationId": operation.name(), "summary": it.summary, "tags": [it.tag], "responses": it.answers,
    });
    if !it.parameters.is_empty() {
        let parameters = it.parameters.iter().map(|name| reference("parameters", name));
        value["parameters"] = parameters.collect();
    }
    if let Some((schema, example)) = it.body {
        let media =
            json!({ "schema": reference("schemas", &schema), "examples": { "one": { "value": example } } });
        value["requestBody"] = json!({
            "required": true,
            "content": { SCIM_JSON: media, "application/json": media },
        });
    }
    value
}

/// The operations on users and groups, and on `/Me`, which is a user.
fn resource(verb: &str, kind: &str, model: &Model) -> Description {
    let (schema, tag) = match kind {
        "Group" => ("Group", "Group"),
        "Me" => ("User", "Me"),
        "Role" => ("Role", "Role"),
        "Entitlement" => ("Entitlement", "Entitlement"),
        _ => ("User", "User"),
    };
    let what = match kind {
        "Me" => "the key's own user".to_owned(),
        "Entitlement" => "an entitlement".to_owned(),
        _ => format!("a {}", schema.to_lowercase()),
    };
    let mut it = Description { tag, ..Description::default() };
    add_refusals(&mut it, verb, kind);
    if verb != "delete" {
        it.parameters.extend(PROJECTION);
    }
    match verb {
        "create" => {
            it.summary = format!("Create {what} (RFC 7644 §3.3)");
            it.body = Some((format!("{schema}Request"), example(schema)));
            it.answers.insert("201".to_owned(), created_response(schema));
        }
        "retrieve" => {
            it.summary = format!("Read {what} (RFC 7644 §3.4.1)");
            it.answers.insert("200".to_owned(), with_etag(content("The resource.", schema)));
            let unchanged = json!({ "description": "The client has this version already." });
            it.answers.insert("304".to_owned(), with_etag(unchanged));
        }
        "query" => {
            it.summary = format!("List {}s (RFC 7644 §3.4.2)", schema.to_lowercase());
            it.parameters.extend(PAGING);
            let page = content("A page of the resources.", &format!("{schema}List"));
            it.answers.insert("200".to_owned(), page);
        }
        "replace" => {
            it.summary = format!("Replace {what} (RFC 7644 §3.5.1)");
            it.body = Some((format!("{schema}Request"), example(schema)));
            it.answers.extend(change_answers(schema));
        }
        "modify" => {
            it.summary = format!("Change {what} (RFC 7644 §3.5.2)");
            it.body = Some(("PatchOp".to_owned(), patch(schema)));
            it.answers.extend(change_answers(schema));
        }
        "delete" => {
            let kept = schema == "User" && model.policy.delete_user == DeleteUser::Deactivate;
            let verb = if kept { "Deactivate" } else { "Delete" };
            it.summary = format!("{verb} {what} (RFC 7644 §3.6)");
            it.answers.insert("204".to_owned(), json!({ "description": "Gone." }));
        }
        // A route that is not described has no summary. A test finds that.
        _ => {}
    }
    it
}

/// Adds the statuses of the errors that an operation on a resource may answer, and the preconditions.
fn add_refusals(it: &mut Description, verb: &str, kind: &str) {
    if kind == "Me" {
        it.refusals.push(501);
    }
    if verb != "create" && verb != "query" {
        it.parameters.extend(["If-Match", "If-None-Match"]);
        it.refusals.extend([404, 412]);
    }
    if matches!(verb, "create" | "replace" | "modify") {
        it.refusals.extend([409, 413, 415]);
    }
    if matches!(verb, "replace" | "modify" | "delete") {
        it.refusals.push(409);
    }
}

fn search(kind: &str) -> Description {
    let list = if kind.is_empty() { "Resource" } else { kind };
    let body =
        json!({ "schemas": [urn::SEARCH_REQUEST], "filter": "displayName pr", "startIndex": 1, "count": 10 });
    Description {
        summary: format!(
            "Search {} (RFC 7644 §3.4.3)",
            match kind {
                "" => "all resources".to_owned(),
                kind => format!("{}s", kind.to_lowercase()),
            }
        ),
        tag: "Search",
        body: Some(("SearchRequest".to_owned(), body)),
        answers: answer("200", content("A page of the resources.", &format!("{list}List"))),
        refusals: vec![413, 415],
        ..Description::default()
    }
}

fn bulk() -> Description {
    let create = json!({ "method": "POST", "path": "/Users", "bulkId": "a", "data": example("User") });
    let body = json!({ "schemas": [urn::BULK_REQUEST], "failOnErrors": 1, "Operations": [create] });
    Description {
        summary: "Send many operations at once (RFC 7644 §3.7)".to_owned(),
        tag: "Bulk",
        body: Some(("BulkRequest".to_owned(), body)),
        answers: answer("200", content("The outcome of every operation that was tried.", "BulkResponse")),
        refusals: vec![409, 413, 415],
        ..Description::default()
    }
}

fn discovery(verb: &str, kind: &str) -> Description {
    let (schema, what) = match verb {
        "query" => (format!("{kind}List"), "all of them".to_owned()),
        _ => (kind.to_owned(), "one".to_owned()),
    };
    let one = kind == "ServiceProviderConfig";
    Description {
        summary: if one {
            "Read what the service does (RFC 7644 §4)".to_owned()
        } else {
            format!("Read {kind}: {what} (RFC 7644 §4)")
        },
        tag: "Discovery",
        answers: answer("200", content("The document.", &schema)),
        refusals: if verb == "retrieve" && !one { vec![404] } else { Vec::new() },
        ..Description::default()
    }
}

fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

fn answer(status: &str, response: Value) -> Map<String, Value> {
    Map::from_iter([(status.to_owned(), response)])
}

fn content(description: &str, schema: &str) -> Value {
    json!({ "description": description, "content": { SCIM_JSON: { "schema": reference("schemas", schema) } } })
}

fn header(description: &str) -> Value {
    json!({ "description": description, "required": true, "schema": { "type": "string" } })
}

fn with_etag(mut response: Value) -> Value {
    response["headers"]["ETag"] = header("The version, as in meta.version.");
    response
}

fn created_response(schema: &str) -> Value {
    let mut response = with_etag(content("The resource as it is stored.", schema));
    response["headers"]["Location"] = header("Where it is, as in meta.location.");
    let link = |verb: &str| json!({ "operationId": format!("{verb}.{schema}"), "parameters": { "id": "$response.body#/id" } });
    response["links"] = ["retrieve", "replace", "modify", "delete"]
        .iter()
        .map(|verb| ((*verb).to_owned(), link(verb)))
        .collect();
    response
}

fn change_answers(schema: &str) -> Map<String, Value> {
    let mut answers = answer("200", with_etag(content("The resource after the change.", schema)));
    let text = match schema {
        "Group" => "Done. A group with many members is answered only where attributes asks for it.",
        _ => "Done, but what the answer shows besides could not be read. Seldom.",
    };
    answers.insert("204".to_owned(), with_etag(json!({ "description": text })));
    answers
}

fn example(schema: &str) -> Value {
    match schema {
        "Group" => json!({ "schemas": [urn::GROUP], "displayName": "Tour Guides" }),
        _ => json!({
            "schemas": [urn::USER],
            "userName": "bjensen@example.com",
            "name": { "familyName": "Jensen", "givenName": "Barbara" },
            "displayName": "Babs Jensen",
            "emails": [{ "value": "bjensen@example.com", "type": "work", "primary": true }],
            "active": true,
        }),
    }
}

fn patch(schema: &str) -> Value {
    let operation = match schema {
        "Group" => json!({ "op": "replace", "path": "displayName", "value": "Guides" }),
        _ => json!({ "op": "replace", "path": "active", "value": false }),
    };
    json!({ "schemas": [urn::PATCH_OP], "Operations": [operation] })
}
