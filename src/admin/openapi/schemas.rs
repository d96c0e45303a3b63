//! SCIM schemas (RFC 7643 §7) and messages (RFC 7644 §8.2) as JSON Schema.

use serde_json::{Map, Value, json};

use crate::http::router::ROUTES;
use crate::limits::{MAX_BULK_OPERATIONS, MAX_PATCH_OPERATIONS};
use crate::scim::discovery::{self, DefinedTypes};
use crate::scim::error::ErrorKind;
use crate::scim::resource_type::{COMMON, DefinedKind, Model, ResourceType};
use crate::scim::schema::{Attribute, Mutability, Returned, Schema, Type};
use crate::scim::urn;

/// Whether a schema describes what is sent or what is answered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Request,
    Answer,
}

/// Every component schema.
pub(super) fn schemas(model: &Model) -> Value {
    let mut all = Map::new();
    let mut put = |name: &str, schema: Value| {
        all.insert(name.to_owned(), schema);
    };
    for resource_type in model.types() {
        let name = resource_type.name;
        put(&format!("{name}Request"), resource(resource_type, Way::Request));
        put(name, resource(resource_type, Way::Answer));
        put(&format!("{name}List"), list(&reference(name)));
    }
    for kind in DefinedKind::ALL {
        put(kind.name(), resource(model.defined(kind), Way::Answer));
        put(&format!("{}List", kind.name()), list(&reference(kind.name())));
    }
    let any: Vec<Value> = model.types().iter().map(|ty| reference(ty.name)).collect();
    put("ResourceList", list(&json!({ "anyOf": any })));
    for (urn, listed) in
        [(urn::SERVICE_PROVIDER_CONFIG, false), (urn::RESOURCE_TYPE, true), (urn::SCHEMA, true)]
    {
        if let Some(schema) = service(model, urn) {
            put(&schema.name, document(&schema));
            if listed {
                put(&format!("{}List", schema.name), list(&reference(&schema.name)));
            }
        }
    }
    put("PatchOp", patch_op());
    put("SearchRequest", search_request());
    if ROUTES.iter().any(|(_, path, _)| *path == "/Bulk") {
        put("BulkRequest", bulk_request());
        put("BulkResponse", bulk_response());
    }
    put("Error", error());
    Value::Object(all)
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// A tenant that defines both: then all is announced.
const ALL_DEFINED: DefinedTypes = DefinedTypes { roles: true, entitlements: true };

/// The schema of one of the documents about the service itself.
fn service(model: &Model, urn: &str) -> Option<Schema> {
    serde_json::from_value(discovery::schema(model, ALL_DEFINED, urn, "")?).ok()
}

fn schemas_property(own: &str) -> Value {
    json!({
        "type": "array", "items": { "type": "string" }, "contains": { "const": own },
        "description": format!("The URNs of the schemas, {own} among them."),
    })
}

/// A resource as it is sent or answered. What is sent may hold more: names compare in any case, and
/// read-only attributes are ignored. What is answered may hold less: `attributes` picks.
fn resource(resource_type: &ResourceType, way: Way) -> Value {
    let core = resource_type.schema.attributes.iter();
    let mut schema = object(COMMON.iter().chain(core), way);
    schema["description"] = resource_type.description.into();
    let properties = &mut schema["properties"];
    properties["schemas"] = schemas_property(&resource_type.schema.id);
    properties["id"]["description"] = "The identifier that the server gave.".into();
    properties["externalId"]["description"] = "The identifier that the client gave.".into();
    properties["meta"]["description"] = "What the server knows about the resource.".into();
    for extension in &resource_type.extensions {
        let mut inner = object(extension.attributes.iter(), way);
        inner["description"] = extension.description.as_str().into();
        properties[extension.id.as_str()] = inner;
    }
    match (way, &mut schema["required"]) {
        (Way::Request, Value::Array(required)) => required.insert(0, "schemas".into()),
        (Way::Request, _) => schema["required"] = json!(["schemas"]),
        (Way::Answer, _) => schema["additionalProperties"] = false.into(),
    }
    schema
}

/// An object with these attributes.
fn object<'a>(attributes: impl Iterator<Item = &'a Attribute>, way: Way) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for attribute in attributes {
        let sent = !attribute.is_read_only();
        if match way {
            Way::Request => attribute.required && sent,
            Way::Answer => attribute.returned == Returned::Always,
        } {
            required.push(Value::from(attribute.name.as_str()));
        }
        if way == Way::Request || attribute.returned != Returned::Never {
            properties.insert(attribute.name.clone(), property(attribute, way));
        }
    }
    let mut object = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        object["required"] = required.into();
    }
    if way == Way::Answer {
        object["additionalProperties"] = false.into();
    }
    object
}

/// One attribute with its characteristics (RFC 7643 §7). Canonical values are
/// listed, but not enforced.
fn property(attribute: &Attribute, way: Way) -> Value {
    let mut one = match attribute.kind {
        Type::String => json!({ "type": "string" }),
        Type::Boolean => json!({ "type": "boolean" }),
        Type::Decimal => json!({ "type": "number" }),
        Type::Integer => json!({ "type": "integer" }),
        Type::DateTime => json!({ "type": "string", "format": "date-time" }),
        // What clients send as a URI is kept as it is.
        Type::Reference if attribute.is_read_only() => json!({ "type": "string", "format": "uri-reference" }),
        Type::Reference => json!({ "type": "string" }),
        Type::Binary => json!({ "type": "string", "contentEncoding": "base64" }),
        Type::Complex => object(attribute.sub_attributes.iter(), way),
    };
    let text = matches!(attribute.kind, Type::String | Type::Reference | Type::Binary | Type::DateTime);
    if text && attribute.required && way == Way::Request {
        // A blank text is no value.
        one["pattern"] = r"\S".into();
    }
    let mut value = if attribute.multi_valued { json!({ "type": "array", "items": one }) } else { one };
    if attribute.multi_valued && attribute.required && way == Way::Request {
        value["minItems"] = 1.into();
    }
    let mut description = attribute.description.clone();
    if !attribute.canonical_values.is_empty() {
        let values = attribute.canonical_values.join(", ");
        description = format!("{description} Suggested values: {values}.").trim_start().to_owned();
    }
    if !description.is_empty() {
        value["description"] = description.into();
    }
    match attribute.mutability {
        Mutability::ReadOnly => value["readOnly"] = true.into(),
        Mutability::WriteOnly => value["writeOnly"] = true.into(),
        Mutability::ReadWrite | Mutability::Immutable => {}
    }
    let mut scim = Map::from_iter([
        ("mutability".to_owned(), json!(attribute.mutability)),
        ("returned".to_owned(), json!(attribute.returned)),
        ("uniqueness".to_owned(), json!(attribute.uniqueness)),
    ]);
    if let Some(case_exact) = attribute.case_exact {
        scim.insert("caseExact".to_owned(), case_exact.into());
    }
    if !attribute.reference_types.is_empty() {
        scim.insert("referenceTypes".to_owned(), attribute.reference_types.clone().into());
    }
    value["x-scim"] = Value::Object(scim);
    value
}

/// A document about the service itself. It is the same for every client.
fn document(schema: &Schema) -> Value {
    let mut value = object(schema.attributes.iter(), Way::Answer);
    let mut required: Vec<&str> = vec!["schemas", "meta"];
    required.extend(schema.attributes.iter().filter(|a| a.required).map(|a| a.name.as_str()));
    value["required"] = json!(required);
    value["description"] = schema.description.as_str().into();
    value["properties"]["schemas"] = schemas_property(&schema.id);
    value["properties"]["meta"] = json!({
        "type": "object", "readOnly": true, "required": ["resourceType", "location"],
        "properties": {
            "resourceType": { "const": schema.name },
            "location": { "type": "string", "format": "uri" },
        },
    });
    // An attribute of a schema holds attributes: one level more than the schema of schemas tells.
    if schema.id == urn::SCHEMA {
        let sub = &mut value["properties"]["attributes"]["items"]["properties"]["subAttributes"];
        sub["items"]["properties"]["subAttributes"] =
            json!({ "type": "array", "items": { "type": "object" } });
    }
    value
}

/// RFC 7644 §3.4.2, RFC 9865 §2.
fn list(item: &Value) -> Value {
    json!({
        "type": "object",
        "description": "Answer to a query.",
        "properties": {
            "schemas": schemas_property(urn::LIST_RESPONSE),
            "totalResults": { "type": "integer", "minimum": 0, "description": "How many resources match." },
            "itemsPerPage": { "type": "integer", "minimum": 0, "description": "How many are in this answer." },
            "startIndex": { "type": "integer", "minimum": 1, "description": "The index of the first; not when paging by cursor." },
            "nextCursor": { "type": "string", "description": "Asks for the next page, when paging by cursor; absent on the last." },
            "Resources": { "type": "array", "items": item },
        },
        "required": ["schemas", "totalResults", "itemsPerPage", "Resources"],
        "additionalProperties": false,
    })
}

/// RFC 7644 §3.5.2.
fn patch_op() -> Value {
    json!({
        "type": "object",
        "description": "Changes of a resource, all of them or none.",
        "properties": {
            "schemas": schemas_property(urn::PATCH_OP),
            "Operations": {
                "type": "array", "minItems": 1, "maxItems": MAX_PATCH_OPERATIONS,
                "items": {
                    "type": "object",
                    "properties": {
                        "op": { "type": "string", "enum": ["add", "remove", "replace"], "description": "In any case." },
                        "path": { "type": "string", "description": "What to change: an attribute, or elements of it: emails[type eq \"work\"].value. Absent, the value's keys are paths; remove needs it." },
                        "value": { "description": "The value; null unassigns. With remove, the elements to remove." },
                    },
                    "required": ["op"],
                },
            },
        },
        "required": ["schemas", "Operations"],
    })
}

/// RFC 7644 §3.4.3.
fn search_request() -> Value {
    let names = || json!({ "type": "array", "items": { "type": "string" } });
    json!({
        "type": "object",
        "description": "A query in a body; the members mean what the query options of the same name mean.",
        "properties": {
            "schemas": schemas_property(urn::SEARCH_REQUEST),
            "attributes": names(),
            "excludedAttributes": names(),
            "filter": { "type": "string" },
            "sortBy": { "type": "string" },
            "sortOrder": { "type": "string", "enum": ["ascending", "descending"] },
            "startIndex": { "type": "integer" },
            "count": { "type": "integer" },
            "cursor": { "type": "string" },
        },
        "required": ["schemas"],
    })
}

/// RFC 7644 §3.7.
fn bulk_request() -> Value {
    json!({
        "type": "object",
        "description": "Many operations in one request.",
        "properties": {
            "schemas": schemas_property(urn::BULK_REQUEST),
            "failOnErrors": { "type": "integer", "description": "How many errors end the request." },
            "Operations": {
                "type": "array", "maxItems": MAX_BULK_OPERATIONS,
                "items": {
                    "type": "object",
                    "properties": {
                        "method": { "type": "string", "enum": ["POST", "PUT", "PATCH", "DELETE"] },
                        "bulkId": { "type": "string", "description": "Stands for the id of what a POST creates: bulkId:<this>." },
                        "version": { "type": "string", "description": "The version to change, as If-Match has it." },
                        "path": { "type": "string" },
                        "data": { "type": "object" },
                    },
                    "required": ["method", "path"],
                },
            },
        },
        "required": ["schemas", "Operations"],
    })
}

fn bulk_response() -> Value {
    json!({
        "type": "object",
        "description": "Outcomes in the order of the operations; those after the last allowed error are missing.",
        "properties": {
            "schemas": schemas_property(urn::BULK_RESPONSE),
            "Operations": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "method": { "type": "string", "description": "As sent; absent where the operation has none." },
                        "bulkId": { "type": "string" },
                        "version": { "type": "string" },
                        "location": { "type": "string" },
                        "status": { "type": "string", "pattern": "^[1-5][0-9]{2}$" },
                        "response": { "type": "object", "description": "The error, where the status is one." },
                    },
                    "required": ["status"],
                },
            },
        },
        "required": ["schemas", "Operations"],
    })
}

/// Kinds of refusal with a `scimType`.
const TYPED: [ErrorKind; 11] = [
    ErrorKind::InvalidFilter,
    ErrorKind::TooMany,
    ErrorKind::Uniqueness,
    ErrorKind::Mutability,
    ErrorKind::InvalidSyntax,
    ErrorKind::InvalidPath,
    ErrorKind::NoTarget,
    ErrorKind::InvalidValue,
    ErrorKind::InvalidCursor,
    ErrorKind::ExpiredCursor,
    ErrorKind::InvalidCount,
];

/// RFC 7644 §3.12.
fn error() -> Value {
    let types: Vec<&str> = TYPED.iter().filter_map(|kind| kind.wire().1).collect();
    json!({
        "type": "object",
        "description": "A refusal.",
        "properties": {
            "schemas": schemas_property(urn::ERROR),
            "status": { "type": "string", "pattern": "^[45][0-9]{2}$", "description": "The HTTP status." },
            "scimType": { "type": "string", "enum": types },
            "detail": { "type": "string", "description": "What to change." },
        },
        "required": ["schemas", "status", "detail"],
    })
}
