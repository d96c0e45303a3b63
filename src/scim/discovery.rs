//! What the service says about itself (RFC 7644 §4, RFC 7643 §5–7, RFC 9865 §4), made from the
//! same model that the rules read.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::resource_type::{DefinedKind, Model, ResourceType};
use super::schema::{Attribute, Schema};
use super::urn;
use crate::limits::{CURSOR_TIMEOUT_SECONDS, MAX_BULK_BODY_BYTES, MAX_BULK_OPERATIONS, MAX_RESULTS};

/// What the server does beyond the operations that it always serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// `POST /Bulk` (RFC 7644 §3.7).
    pub bulk: bool,
    /// Paging by cursor (RFC 9865).
    pub cursor: bool,
}

/// Which kinds of resource are defined in a tenant. The others are not announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DefinedTypes {
    /// Whether the tenant has a role.
    pub roles: bool,
    /// Whether the tenant has an entitlement.
    pub entitlements: bool,
}

impl DefinedTypes {
    const fn has(self, kind: DefinedKind) -> bool {
        match kind {
            DefinedKind::Role => self.roles,
            DefinedKind::Entitlement => self.entitlements,
        }
    }

    const fn is_none(self) -> bool {
        !self.roles && !self.entitlements
    }
}

/// The attribute of `/ServiceProviderConfig` by draft-ietf-scim-roles-entitlements.
const ROLES_AND_ENTITLEMENTS: &str = "RolesAndEntitlements";

/// The answer to `GET /ServiceProviderConfig` (RFC 7643 §5, RFC 9865 §4).
pub fn service_provider_config(features: Features, defined: DefinedTypes, base_url: &str) -> Value {
    let mut pagination = json!({
        "cursor": features.cursor,
        "index": true,
        "defaultPaginationMethod": "index",
        "defaultPageSize": MAX_RESULTS,
        "maxPageSize": MAX_RESULTS,
    });
    if features.cursor {
        pagination["cursorTimeout"] = CURSOR_TIMEOUT_SECONDS.into();
    }
    // Limits are required sub-attributes: 0 where nothing is served.
    let (operations, payload) =
        if features.bulk { (MAX_BULK_OPERATIONS, MAX_BULK_BODY_BYTES) } else { (0, 0) };
    let mut config = json!({
        "schemas": [urn::SERVICE_PROVIDER_CONFIG],
        "patch": { "supported": true },
        "bulk": { "supported": features.bulk, "maxOperations": operations, "maxPayloadSize": payload },
        "filter": { "supported": true, "maxResults": MAX_RESULTS },
        "changePassword": { "supported": false },
        "sort": { "supported": true },
        "etag": { "supported": true },
        "pagination": pagination,
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "OAuth Bearer Token",
            "description": "A key of the tenant, or an access token of one of its clients, sent as: Authorization: Bearer <key or token>",
            "specUri": "https://www.rfc-editor.org/info/rfc6750",
            "primary": true,
        }, {
            "type": "oauth2",
            "name": "OAuth 2.0 Client Credentials",
            "description": "A client of the tenant gets access tokens at POST /oauth2/token, beside /scim/v2, with a secret or an assertion",
            "specUri": "https://www.rfc-editor.org/info/rfc6749",
            "primary": false,
        }],
        "meta": {
            "resourceType": "ServiceProviderConfig",
            "location": format!("{}/ServiceProviderConfig", base_url.trim_end_matches('/')),
        },
    });
    if !defined.is_none() {
        config[ROLES_AND_ENTITLEMENTS] = roles_and_entitlements(defined);
    }
    config
}

/// What is supported of roles and entitlements. A user has both attributes whole, so all parts of them are.
fn roles_and_entitlements(defined: DefinedTypes) -> Value {
    json!({
        "roles": {
            "supported": defined.roles,
            "multipleRolesSupported": true,
            "primarySupported": true,
            "typeSupported": true,
        },
        "entitlements": {
            "supported": defined.entitlements,
            "multipleEntitlementsSupported": true,
            "primarySupported": true,
            "typeSupported": true,
        },
    })
}

/// The resource types of a tenant, in the order of `/ResourceTypes`.
fn announced(model: &Model, defined: DefinedTypes) -> Vec<&ResourceType> {
    let kinds = DefinedKind::ALL.into_iter().filter(|kind| defined.has(*kind));
    model.types().into_iter().chain(kinds.map(|kind| model.defined(kind))).collect()
}

/// The answer to `GET /ResourceTypes` (RFC 7643 §6).
pub fn resource_types(model: &Model, defined: DefinedTypes, base_url: &str) -> Value {
    let types = announced(model, defined).into_iter();
    list(types.map(|resource_type| resource_type_value(resource_type, base_url)).collect())
}

/// The answer to `GET /ResourceTypes/{name}`.
pub fn resource_type(model: &Model, defined: DefinedTypes, name: &str, base_url: &str) -> Option<Value> {
    let found = announced(model, defined).into_iter().find(|resource_type| resource_type.name == name)?;
    Some(resource_type_value(found, base_url))
}

fn resource_type_value(resource_type: &ResourceType, base_url: &str) -> Value {
    let name = resource_type.name;
    // Clients take what stands here for what they may write; an extension that only the server
    // writes is in /Schemas alone. Of a type that they only read, all are there.
    let is_provisioned = resource_type.kind.is_some();
    let shown = |schema: &&Schema| {
        !is_provisioned || schema.attributes.iter().any(|attribute| !attribute.is_read_only())
    };
    let extensions: Vec<Value> = resource_type
        .extensions
        .iter()
        .filter(shown)
        .map(|schema| json!({ "schema": schema.id, "required": false }))
        .collect();
    json!({
        "schemas": [urn::RESOURCE_TYPE],
        "id": name,
        "name": name,
        "description": resource_type.description,
        "endpoint": resource_type.endpoint,
        "schema": resource_type.schema.id,
        "schemaExtensions": extensions,
        "meta": {
            "resourceType": "ResourceType",
            "location": format!("{}/ResourceTypes/{name}", base_url.trim_end_matches('/')),
        },
    })
}

/// The answer to `GET /Schemas` (RFC 7643 §7).
pub fn schemas(model: &Model, defined: DefinedTypes, base_url: &str) -> Value {
    let schemas = every_schema(model, defined).into_iter();
    list(schemas.map(|schema| schema_value(schema, defined, base_url)).collect())
}

/// The answer to `GET /Schemas/{urn}`. URNs compare in any case.
pub fn schema(model: &Model, defined: DefinedTypes, urn: &str, base_url: &str) -> Option<Value> {
    let schemas = every_schema(model, defined);
    let found = schemas.into_iter().find(|schema| schema.id.eq_ignore_ascii_case(urn))?;
    Some(schema_value(found, defined, base_url))
}

/// The schemas of resources, then those of the documents about the service itself.
fn every_schema(model: &Model, defined: DefinedTypes) -> Vec<&Schema> {
    let mut schemas: Vec<&Schema> = Vec::new();
    let types = announced(model, defined);
    let core = types.iter().map(|resource_type| &resource_type.schema);
    let extensions = types.iter().flat_map(|resource_type| &resource_type.extensions);
    for schema in core.chain(extensions).chain(SERVICE.iter()) {
        if !schemas.iter().any(|known| known.id.eq_ignore_ascii_case(&schema.id)) {
            schemas.push(schema);
        }
    }
    schemas
}

static SERVICE: LazyLock<[Schema; 3]> = LazyLock::new(|| {
    [
        include_str!("schemas/service_provider_config.json"),
        include_str!("schemas/resource_type.json"),
        include_str!("schemas/schema.json"),
    ]
    .map(|text| serde_json::from_str(text).expect("the built-in schemas are well formed: a test reads each"))
});

fn schema_value(schema: &Schema, defined: DefinedTypes, base_url: &str) -> Value {
    let mut value = Map::from_iter([("schemas".to_owned(), json!([urn::SCHEMA]))]);
    let is_announced = |attribute: &Attribute| !defined.is_none() || attribute.name != ROLES_AND_ENTITLEMENTS;
    let mut schema = schema.clone();
    schema.attributes.retain(is_announced);
    if let Ok(Value::Object(own)) = serde_json::to_value(&schema) {
        value.extend(own);
    }
    let location = format!("{}/Schemas/{}", base_url.trim_end_matches('/'), schema.id);
    value.insert("meta".to_owned(), json!({ "resourceType": "Schema", "location": location }));
    Value::Object(value)
}

/// All of a collection in one answer: these endpoints do not page (RFC 7644 §4).
fn list(resources: Vec<Value>) -> Value {
    json!({
        "schemas": [urn::LIST_RESPONSE],
        "totalResults": resources.len(),
        "startIndex": 1,
        "itemsPerPage": resources.len(),
        "Resources": resources,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::policy::{STANDARD, VEZA};
    use crate::scim::schema::{Type, find};

    const BASE: &str = "https://x/scim/v2";
    const NONE: DefinedTypes = DefinedTypes { roles: false, entitlements: false };
    const BOTH: DefinedTypes = DefinedTypes { roles: true, entitlements: true };

    /// Every name in a value is defined, every value of the defined type, no required one missing.
    fn conforms(value: &Map<String, Value>, attributes: &[Attribute], at: &str) {
        for attribute in attributes.iter().filter(|attribute| attribute.required) {
            assert!(value.contains_key(&attribute.name), "{at}: {} is missing", attribute.name);
        }
        for (key, value) in value {
            if at.is_empty() && ["schemas", "meta", "id"].contains(&key.as_str()) {
                continue;
            }
            if key == "subAttributes" && at.ends_with("subAttributes") {
                continue; // The schema of schemas describes itself, two levels down.
            }
            let attribute = find(attributes, key).expect(key);
            let values = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
            assert_eq!(attribute.multi_valued, value.is_array(), "{at}.{key}");
            for value in values {
                let right = match attribute.kind {
                    Type::Boolean => value.is_boolean(),
                    Type::Integer => value.is_u64(),
                    Type::Complex => value.is_object(),
                    _ => value.is_string(),
                };
                assert!(right, "{at}.{key} is {value}");
                if let Value::Object(object) = value {
                    conforms(&object, &attribute.sub_attributes, &format!("{at}.{key}"));
                }
            }
        }
    }

    #[test]
    fn every_document_conforms_to_its_own_schema() {
        let model = Model::new(&VEZA, &[]).expect("a model");
        let mut documents = vec![
            service_provider_config(Features { bulk: true, cursor: true }, NONE, BASE),
            service_provider_config(Features { bulk: true, cursor: true }, BOTH, BASE),
            service_provider_config(Features { bulk: false, cursor: false }, NONE, BASE),
        ];
        for answer in [resource_types(&model, BOTH, BASE), schemas(&model, BOTH, BASE)] {
            documents.extend(answer["Resources"].as_array().cloned().expect("resources"));
        }
        for document in documents {
            let urn = document["schemas"][0].as_str().expect("a URN");
            let schema = every_schema(&model, BOTH).into_iter().find(|schema| schema.id == urn).expect(urn);
            conforms(document.as_object().expect("an object"), &schema.attributes, "");
        }
    }

    #[test]
    fn lists_and_single_documents() {
        let model = Model::new(&STANDARD, &[]).expect("a model");
        let all = schemas(&model, NONE, BASE);
        let ids: Vec<&str> =
            all["Resources"].as_array().expect("resources").iter().filter_map(|s| s["id"].as_str()).collect();
        assert_eq!(
            ids,
            [
                urn::USER,
                urn::GROUP,
                urn::ENTERPRISE_USER,
                urn::ROLLCALL_USER,
                urn::ROLLCALL_GROUP,
                urn::SERVICE_PROVIDER_CONFIG,
                urn::RESOURCE_TYPE,
                urn::SCHEMA
            ]
        );
        assert_eq!(all["totalResults"], 8);
        let user = schema(&model, NONE, &urn::USER.to_uppercase(), BASE).expect("the schema");
        assert_eq!(user["meta"]["location"], format!("{BASE}/Schemas/{}", urn::USER));
        assert!(schema(&model, NONE, "urn:x:y", BASE).is_none());
        assert!(!user.to_string().contains("password"));
        let group = resource_type(&model, NONE, "Group", "https://x/scim/v2/").expect("the type");
        assert_eq!(group["meta"]["location"], "https://x/scim/v2/ResourceTypes/Group");
    }

    #[test]
    fn a_type_without_resources_is_not_announced() {
        let model = Model::new(&STANDARD, &[]).expect("a model");
        let roles = DefinedTypes { roles: true, entitlements: false };
        for (defined, name, is_there) in [
            (NONE, "Role", false),
            (NONE, "Entitlement", false),
            (roles, "Role", true),
            (roles, "Entitlement", false),
            (BOTH, "Entitlement", true),
        ] {
            assert_eq!(resource_type(&model, defined, name, BASE).is_some(), is_there, "{name}");
            let okta = format!("urn:okta:scim:schemas:core:1.0:{name}");
            let ietf = format!("urn:ietf:params:scim:schemas:core:2.0:{name}");
            for urn in [okta, ietf] {
                assert_eq!(schema(&model, defined, &urn, BASE).is_some(), is_there, "{urn}");
            }
        }
        let none = Value::from(vec![
            service_provider_config(Features { bulk: true, cursor: true }, NONE, BASE),
            resource_types(&model, NONE, BASE),
            schemas(&model, NONE, BASE),
        ]);
        for word in ["RolesAndEntitlements", "okta", "2.0:Role", "/Roles", "/Entitlements"] {
            assert!(!none.to_string().contains(word), "{word}");
        }
        let role = resource_type(&model, roles, "Role", BASE).expect("the type");
        assert_eq!(role["schema"], urn::OKTA_ROLE);
        assert_eq!(role["schemaExtensions"], json!([{ "schema": urn::IETF_ROLE, "required": false }]));
    }

    #[test]
    fn required_and_uniqueness_are_the_tenants() {
        let required = |policy| {
            let model = Model::new(policy, &[]).expect("a model");
            let user = schema(&model, NONE, urn::USER, BASE).expect("the schema");
            let attributes = user["attributes"].as_array().cloned().expect("attributes");
            attributes.iter().filter(|a| a["required"] == true).count()
        };
        assert_eq!((required(&VEZA), required(&STANDARD)), (4, 1));
    }
}
