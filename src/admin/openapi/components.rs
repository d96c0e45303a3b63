//! Parameters and responses that operations share.

use serde_json::{Map, Value, json};

use crate::http::response::SCIM_JSON;
use crate::limits::MAX_RESULTS;

/// The parameters of paths, queries and headers, by the names that operations refer to.
pub(super) fn parameters() -> Value {
    let names = |name: &str, text: &str| {
        json!({
            "name": name, "in": "query", "description": text, "style": "form", "explode": false,
            "schema": { "type": "array", "items": { "type": "string" } },
        })
    };
    let query = |name: &str, schema: Value, text: &str| json!({ "name": name, "in": "query", "description": text, "schema": schema });
    let path = |name: &str, text: &str, example: &str| {
        json!({
            "name": name, "in": "path", "required": true, "description": text,
            "schema": { "type": "string", "minLength": 1 }, "examples": { "one": { "value": example } },
        })
    };
    let header = |name: &str, text: &str| json!({ "name": name, "in": "header", "description": text, "schema": { "type": "string" }, "examples": { "any": { "value": "*" } } });
    let mut filter = query(
        "filter",
        json!({ "type": "string" }),
        "Which resources to answer (RFC 7644 §3.4.2.2): the whole grammar.",
    );
    filter["examples"] = json!({
        "name": { "value": "userName eq \"bjensen@example.com\"" },
        "group": { "value": "displayName sw \"Tour\" or members pr" },
    });
    let mut sort =
        query("sortBy", json!({ "type": "string" }), "The attribute to sort by (RFC 7644 §3.4.2.3).");
    sort["examples"] = json!({ "one": { "value": "displayName" } });
    let most = format!(
        "The most resources to answer; a negative number is 0, more than {MAX_RESULTS} is {MAX_RESULTS}."
    );
    json!({
        "id": path("id", "The identifier of the resource.", "01890a5d-ac96-774b-bcce-b302099a8057"),
        "name": path("name", "The name of the resource type.", "User"),
        "urn": path("urn", "The URN of the schema, in any case.", crate::scim::urn::USER),
        "filter": filter,
        "sortBy": sort,
        "sortOrder": query(
            "sortOrder",
            json!({ "type": "string", "enum": ["ascending", "descending"], "default": "ascending" }),
            "The direction of the sort.",
        ),
        "startIndex": query(
            "startIndex",
            json!({ "type": "integer", "default": 1 }),
            "The 1-based index of the first resource to answer; a smaller number is 1. Not with cursor. \
             The spelling start_index is understood too.",
        ),
        "count": query("count", json!({ "type": "integer", "default": MAX_RESULTS }), &most),
        "cursor": query(
            "cursor",
            json!({ "type": "string" }),
            "Pages by cursor (RFC 9865): empty for the first page, then the nextCursor of the last answer.",
        ),
        "attributes": names("attributes", "The only attributes to answer, with those that are always answered (RFC 7644 §3.9)."),
        "excludedAttributes": names("excludedAttributes", "Attributes to leave out of the answer. Not with attributes."),
        "If-Match": header("If-Match", "Entity tags: the resource is changed, or answered, only in one of these versions (RFC 7644 §3.14)."),
        "If-None-Match": header("If-None-Match", "Entity tags: a read is 304, and a change 412, if the resource is in one of these versions."),
    })
}

/// Statuses that refuse, each with the component's name and what it means.
pub(super) const REFUSALS: &[(u16, &str, &str)] = &[
    (400, "BadRequest", "The request is not as it must be; scimType says in which way."),
    (401, "Unauthorized", "No key, or one that is unknown, expired or revoked."),
    (403, "Forbidden", "The key's scope does not cover the operation, or what was asked is not done here."),
    (404, "NotFound", "There is no such resource."),
    (405, "MethodNotAllowed", "The path does not answer this method."),
    (
        409,
        "Conflict",
        "A value that must be unique is taken (scimType uniqueness), or a concurrent change won.",
    ),
    (412, "PreconditionFailed", "The resource is in another version than If-Match names."),
    (413, "PayloadTooLarge", "The body is too large."),
    (415, "UnsupportedMediaType", "The body is of a media type that is not JSON."),
    (429, "TooManyRequests", "More requests than the tenant's rate allows."),
    (500, "Internal", "A fault of the server."),
    (501, "NotImplemented", "The key is bound to no user, for whom /Me could stand."),
    (502, "BadGateway", "A fault of the server."),
    (
        503,
        "Unavailable",
        "The table did not answer in time, what was read kept changing, or a large change of the same group is under way. Sending the request again is safe.",
    ),
    (504, "GatewayTimeout", "The server did not answer in time."),
];

/// The refusals as components: every body is a SCIM error (RFC 7644 §3.12).
pub(super) fn responses() -> Value {
    let responses = REFUSALS.iter().map(|(status, name, text)| {
        let schema = json!({ "allOf": [
            { "$ref": "#/components/schemas/Error" },
            { "properties": { "status": { "const": status.to_string() } } },
        ] });
        let mut response = json!({ "description": text, "content": { SCIM_JSON: { "schema": schema } } });
        let header = match status {
            401 => Some(("WWW-Authenticate", "The scheme to authenticate with (RFC 6750 §3).")),
            405 => Some(("Allow", "The methods that the path answers.")),
            429 | 503 => Some(("Retry-After", "Seconds to wait before the next request.")),
            _ => None,
        };
        if let Some((name, text)) = header {
            // API Gateway may answer 503 by itself.
            let is_required = *status != 503;
            response["headers"] =
                json!({ name: { "description": text, "required": is_required, "schema": { "type": "string" } } });
        }
        ((*name).to_owned(), response)
    });
    Value::Object(responses.collect::<Map<_, _>>())
}
