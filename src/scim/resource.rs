//! The resource as it is answered: the stored document and what the server adds (RFC 7643 §3).

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::members::MEMBERS;
use super::resource_type::{Kind, ResourceType};

/// What the server knows about a resource (RFC 7643 §3.1). As JSON it is the value of `meta`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta<'r> {
    /// The name of the resource type.
    pub resource_type: &'static str,
    /// When it was made, as a dateTime.
    pub created: &'r str,
    /// When it was last changed, as a dateTime.
    pub last_modified: &'r str,
    /// Where it is.
    pub location: String,
    /// How often it was changed.
    #[serde(serialize_with = "serialize_etag")]
    pub version: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands references")]
fn serialize_etag<S: Serializer>(version: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    etag(*version).serialize(serializer)
}

/// The entity tag of a version, weak since two answers of one version may differ in projection
/// (RFC 7644 §3.14).
pub fn etag(version: u64) -> String {
    format!("W/\"{version}\"")
}

/// What the location of every resource of a kind begins with. Its id follows. The base URL may end in a slash.
pub fn location_prefix(base_url: &str, kind: Kind) -> String {
    location_below(base_url, kind.endpoint(), "")
}

/// Where a resource is. The base URL may end in a slash.
pub fn location(base_url: &str, kind: Kind, id: &str) -> String {
    location_below(base_url, kind.endpoint(), id)
}

/// Where the resource with this id below an endpoint is. The base URL may end in a slash.
pub fn location_below(base_url: &str, endpoint: &str, id: &str) -> String {
    [base_url.trim_end_matches('/'), endpoint, "/", id].concat()
}

/// Makes the whole resource of a document. `schemas` names the core schema and the extensions that have values.
/// `extra` are the attributes that are not in the document: `members`, `groups`, the server's own extension.
/// Empty ones are left out. An object is merged with the document's object of that name.
pub fn assemble(
    document: Map<String, Value>,
    resource_type: &ResourceType,
    id: &str,
    meta: &Meta<'_>,
    extra: Vec<(String, Value)>,
) -> Map<String, Value> {
    let mut values = document;
    for (key, value) in extra {
        match (values.get_mut(&key), value) {
            (Some(Value::Object(present)), Value::Object(more)) => present.extend(more),
            (_, value) => {
                values.insert(key, value);
            }
        }
    }
    values.retain(|_, value| match value {
        Value::Null => false,
        Value::Array(elements) => !elements.is_empty(),
        Value::Object(object) => !object.is_empty(),
        _ => true,
    });
    let extensions = resource_type.extensions.iter().map(|schema| &schema.id);
    let mut schemas = vec![resource_type.schema.id.clone()];
    schemas.extend(extensions.clone().filter(|urn| values.contains_key(*urn)).cloned());

    let mut resource = Map::with_capacity(values.len() + 3);
    resource.insert("schemas".to_owned(), schemas.into());
    resource.insert("id".to_owned(), id.into());
    let mut last = Vec::new();
    for urn in extensions {
        last.extend(values.shift_remove_entry(urn));
    }
    last.push(("meta".to_owned(), json!(meta)));
    if let Some(entry) = values.shift_remove_entry("externalId") {
        resource.extend([entry]);
    }
    resource.extend(values);
    resource.extend(last);
    resource
}

/// The document of a whole resource: what a client wrote, without what [`assemble`] adds.
pub fn document(resource: &Map<String, Value>, resource_type: &ResourceType) -> Map<String, Value> {
    let mut document = resource.clone();
    document.retain(|key, value| {
        if let Some(extension) = resource_type.extensions.iter().find(|schema| schema.id == *key) {
            if let Value::Object(object) = value {
                object.retain(|name, _| extension.attribute(name).is_some_and(|own| !own.is_read_only()));
            }
            return value.as_object().is_some_and(|object| !object.is_empty());
        }
        let own = resource_type.core_attribute(key).is_some_and(|attribute| !attribute.is_read_only());
        own && key != "schemas" && key != MEMBERS
    });
    document
}

/// Whether a document has this attribute of an extension. Both are spelled as the schema spells them.
pub fn has_extension_attribute(document: &Map<String, Value>, urn: &str, name: &str) -> bool {
    document.get(urn).is_some_and(|extension| extension.get(name).is_some())
}

/// Copies what is stored and no schema defines from the document before a change into the one after it. Such data is
/// of an extension schema that this process was started without. No request can name it, and none may lose it.
pub fn keep_undefined(
    before: &Map<String, Value>,
    after: &mut Map<String, Value>,
    resource_type: &ResourceType,
) {
    for (key, value) in before {
        let extension = resource_type.extensions.iter().find(|schema| schema.id == *key);
        match (extension, value) {
            (Some(extension), Value::Object(object)) => {
                let undefined: Vec<_> =
                    object.iter().filter(|(name, _)| extension.attribute(name).is_none()).collect();
                if undefined.is_empty() {
                    continue;
                }
                let after = after.entry(key.clone()).or_insert_with(|| Value::Object(Map::new()));
                for (name, value) in undefined {
                    after[name.as_str()] = value.clone();
                }
            }
            (None, _) if resource_type.core_attribute(key).is_none() => {
                after.insert(key.clone(), value.clone());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::policy::STANDARD;
    use crate::scim::resource_type::Model;
    use crate::scim::urn::{ENTERPRISE_USER, ROLLCALL_USER, USER};

    #[test]
    fn a_resource_is_complete_and_in_order() {
        let model = Model::new(&STANDARD, &[]).expect("a model");
        let meta = Meta {
            resource_type: Kind::User.name(),
            created: "2026-01-01T00:00:00.000Z",
            last_modified: "2026-01-02T00:00:00.000Z",
            location: location("https://x/scim/v2/", Kind::User, "1"),
            version: 3,
        };
        let document = json!({ "userName": "a", ENTERPRISE_USER: { "department": "d" }, "externalId": "e" });
        let document = document.as_object().expect("an object");
        let extra =
            vec![("groups".to_owned(), json!([])), (ROLLCALL_USER.to_owned(), json!({ "account": "sso" }))];
        let resource = assemble(document.clone(), model.of(Kind::User), "1", &meta, extra);
        assert_eq!(super::document(&resource, model.of(Kind::User)), *document);
        let expected = json!({
            "schemas": [USER, ENTERPRISE_USER, ROLLCALL_USER],
            "id": "1",
            "externalId": "e",
            "userName": "a",
            ENTERPRISE_USER: { "department": "d" },
            ROLLCALL_USER: { "account": "sso" },
            "meta": {
                "resourceType": "User",
                "created": "2026-01-01T00:00:00.000Z",
                "lastModified": "2026-01-02T00:00:00.000Z",
                "location": "https://x/scim/v2/Users/1",
                "version": "W/\"3\"",
            },
        });
        assert_eq!(Value::Object(resource).to_string(), expected.to_string());
    }
}
