use serde_json::json;

use super::*;
use crate::scim::error::ErrorKind;
use crate::scim::policy::STANDARD;
use crate::scim::resource_type::Kind;
use crate::scim::resource_type::Model;
use crate::scim::schema::Schema;
use crate::scim::urn::{ENTERPRISE_USER, USER};

fn resource() -> Map<String, Value> {
    let value = json!({
        "schemas": [USER, ENTERPRISE_USER], "id": "1", "externalId": "e", "userName": "a",
        "name": { "givenName": "A", "familyName": "B" },
        "emails": [{ "value": "a@x", "type": "work" }, { "value": "b@x" }],
        ENTERPRISE_USER: { "department": "d", "manager": { "value": "m", "$ref": "r" } },
        "meta": { "resourceType": "User", "location": "l" }
    });
    value.as_object().cloned().expect("an object")
}

#[test]
fn projections() {
    let model = Model::new(&STANDARD, &[]).expect("a model");
    let user = model.of(Kind::User);
    let schemas = json!([USER, ENTERPRISE_USER]);
    for (attributes, excluded, expected) in [
        ("userName", "", json!({ "userName": "a" })),
        (" USERNAME , nonsense,,", "", json!({ "userName": "a" })),
        ("nonsense,1,urn:x:y", "", json!({})),
        ("schemas,id", "", json!({})),
        (
            "urn:ietf:params:scim:schemas:core:2.0:user:name.FAMILYNAME",
            "",
            json!({ "name": { "familyName": "B" } }),
        ),
        ("emails.type", "", json!({ "emails": [{ "type": "work" }] })),
        ("emails.display", "", json!({})),
        (
            "emails.type,emails",
            "",
            json!({ "emails": [{ "value": "a@x", "type": "work" }, { "value": "b@x" }] }),
        ),
        ("meta.location", "", json!({ "meta": { "location": "l" } })),
        (
            ENTERPRISE_USER,
            "",
            json!({ ENTERPRISE_USER: { "department": "d", "manager": { "value": "m", "$ref": "r" } } }),
        ),
        (
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value",
            "",
            json!({ ENTERPRISE_USER: { "manager": { "value": "m" } } }),
        ),
        (
            USER,
            "",
            json!({ "externalId": "e", "userName": "a", "name": { "givenName": "A", "familyName": "B" },
                "emails": [{ "value": "a@x", "type": "work" }, { "value": "b@x" }] }),
        ),
        (
            "",
            "id,schemas,meta,emails,name.givenName,urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
            json!({ "externalId": "e", "userName": "a", "name": { "familyName": "B" } }),
        ),
        (
            "",
            "urn:ietf:params:scim:schemas:core:2.0:User,meta,urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager",
            json!({ ENTERPRISE_USER: { "department": "d" } }),
        ),
    ] {
        let projection = Projection::parse(&[attributes], &[excluded], &[user]).expect("a projection");
        let mut found = resource();
        projection.apply(&mut found, user);
        assert_eq!(found.remove("schemas"), Some(schemas.clone()), "{attributes} {excluded}");
        assert_eq!(found.remove("id"), Some(json!("1")), "{attributes} {excluded}");
        assert_eq!(Value::Object(found), expected, "{attributes} {excluded}");
    }
    let mut found = resource();
    Projection::parse(&[], &[" "], &[user]).expect("a projection").apply(&mut found, user);
    assert_eq!(found, resource());
    assert!(Projection::parse(&["a"], &["b"], &[user]).is_err());
}

#[test]
fn names_are_bounded() {
    let model = Model::new(&STANDARD, &[]).expect("a model");
    let list = |names: usize| vec!["emails"; names].join(",");
    for (attributes, excluded) in [(MAX_PROJECTION_NAMES, 0), (0, MAX_PROJECTION_NAMES)] {
        assert!(Projection::parse(&[&list(attributes)], &[&list(excluded)], &model.types()).is_ok());
    }
    let many = vec!["emails"; 400_000];
    for (attributes, excluded) in [(many.as_slice(), &[][..]), (&[][..], many.as_slice())] {
        let refused = Projection::parse(attributes, excluded, &model.types());
        assert_eq!(refused.map_err(|error| error.kind), Err(ErrorKind::TooMany));
    }
}

#[test]
fn wishes_are_known_before_anything_is_read() {
    let model = Model::new(&STANDARD, &[]).expect("a model");
    for (attributes, excluded, wants, explicitly) in [
        ("", "", true, false),
        ("displayName", "", false, false),
        ("members", "", true, true),
        ("MEMBERS.value", "", true, true),
        ("urn:ietf:params:scim:schemas:core:2.0:Group", "", true, true),
        ("", "members", false, false),
        ("", "members.display", true, false),
        ("", "urn:ietf:params:scim:schemas:core:2.0:Group:members", false, false),
    ] {
        let found = Projection::parse(&[attributes], &[excluded], &model.types()).expect("a projection");
        assert_eq!(
            (found.wants(model.of(Kind::Group), "members"), found.names_attribute("members")),
            (wants, explicitly),
            "{attributes} {excluded}"
        );
        assert_eq!(found.is_default(), attributes.is_empty() && excluded.is_empty());
    }
}

#[test]
fn the_returned_characteristic() {
    let attribute = |name: &str, returned: &str| json!({ "name": name, "type": "string", "multiValued": false, "returned": returned });
    let all = || ["always", "never", "default", "request"].map(|returned| attribute(returned, returned));
    let mut attributes = all().to_vec();
    attributes.push(json!({ "name": "c", "type": "complex", "multiValued": false, "subAttributes": all() }));
    let schema: Schema =
        serde_json::from_value(json!({ "id": "urn:x:t", "name": "T", "attributes": attributes }))
            .expect("a schema");
    let model = Model::new(&STANDARD, &[(Kind::User, schema)]).expect("a model");
    let user = model.of(Kind::User);
    let values = || json!({ "always": 1, "never": 1, "default": 1, "request": 1 });
    for (attributes, excluded, expected) in [
        ("", "", json!({ "always": 1, "default": 1, "c": { "always": 1, "default": 1 } })),
        ("urn:x:t:request", "", json!({ "always": 1, "request": 1 })),
        ("urn:x:t:never", "", json!({ "always": 1 })),
        ("urn:x:t", "", json!({ "always": 1, "default": 1, "c": { "always": 1, "default": 1 } })),
        ("urn:x:t:c.request", "", json!({ "always": 1, "c": { "always": 1, "request": 1 } })),
        ("urn:x:t:c.default", "", json!({ "always": 1, "c": { "always": 1, "default": 1 } })),
        (
            "",
            "urn:x:t:always,urn:x:t:default,urn:x:t:c.always",
            json!({ "always": 1, "c": { "always": 1, "default": 1 } }),
        ),
    ] {
        let mut extension = values();
        extension["c"] = values();
        let mut found = Map::from_iter([("urn:x:t".to_owned(), extension)]);
        Projection::parse(&[attributes], &[excluded], &[user]).expect("a projection").apply(&mut found, user);
        assert_eq!(found.get("urn:x:t"), Some(&expected), "{attributes} {excluded}");
    }
}
