use serde_json::json;

use super::*;
use crate::scim::policy::STANDARD;
use crate::scim::resource_type::Model;
use crate::scim::urn::{ENTERPRISE_USER, GROUP, USER};

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

fn model() -> Model {
    let schema = serde_json::from_value(json!({ "id": "urn:x:User", "name": "X", "attributes": [
        { "name": "mentor", "type": "reference", "multiValued": false, "referenceTypes": ["User"] },
        { "name": "site", "type": "reference", "multiValued": false, "referenceTypes": ["external"] },
        { "name": "desk", "type": "complex", "multiValued": false, "subAttributes": [
            { "name": "value", "type": "string", "multiValued": false },
            { "name": "owner", "type": "reference", "multiValued": false, "referenceTypes": ["Group"] },
        ] },
    ] }))
    .expect("a schema");
    Model::new(&STANDARD, &[(Kind::User, schema)]).expect("a model")
}

fn check(kind: Kind, form: BulkDataForm, cases: Vec<(Value, &str, Value)>) {
    let model = model();
    let subject = BulkSubject { resource_type: model.of(kind), form };
    let find = |name: &str| {
        (name != "?").then(|| Referent { id: format!("<{name}>"), location: format!("https://x/{name}") })
    };
    for (data, names, resolved) in cases {
        let mut data = object(data);
        let found = super::names(&data, subject).into_iter().collect::<Vec<_>>().join(",");
        assert_eq!(found, names, "{resolved}");
        resolve(&mut data, subject, &find);
        assert_eq!(Value::Object(data), resolved);
    }
}

#[test]
fn references_in_groups() {
    let same = |value: Value| (value.clone(), "", value);
    let cases = vec![
        (json!({ "members": [{ "value": "bulkId:a" }] }), "a", json!({ "members": [{ "value": "<a>" }] })),
        (json!({ "MEMBERS": { "VALUE": "bulkId:a" } }), "a", json!({ "MEMBERS": { "VALUE": "<a>" } })),
        (json!({ "members": ["bulkId:a b", "c"] }), "a b", json!({ "members": ["<a b>", "c"] })),
        (json!({ "members": "bulkId:a" }), "a", json!({ "members": "<a>" })),
        (json!({ GROUP: { "members": ["bulkId:a"] } }), "a", json!({ GROUP: { "members": ["<a>"] } })),
        (
            json!({ format!("{GROUP}:members"): ["bulkId:a"] }),
            "a",
            json!({ format!("{GROUP}:members"): ["<a>"] }),
        ),
        (
            json!({ "members": [{ "$ref": "bulkId:a" }] }),
            "a",
            json!({ "members": [{ "$ref": "https://x/a" }] }),
        ),
        (
            json!({ "members": [{ "$REF": "https://y/Users/bulkId:a/" }] }),
            "a",
            json!({ "members": [{ "$REF": "https://y/Users/<a>/" }] }),
        ),
        (json!({ "members": ["bulkId:?"] }), "?", json!({ "members": ["bulkId:?"] })),
        same(json!({ "members": [{ "value": "x", "display": "bulkId:a", "type": "bulkId:b" }] })),
        same(json!({ "members": ["bulkId:", "see bulkId:a", "x/bulkId:a"] })),
        same(json!({ "displayName": "bulkId:a", "externalId": "bulkId:b", "bulkId:a": "bulkId:c" })),
        same(json!({ "displayName": "https://x/Groups/bulkId:a", "schemas": ["bulkId:a"] })),
    ];
    check(Kind::Group, BulkDataForm::Resource, cases);
}

#[test]
fn references_in_users() {
    let e = ENTERPRISE_USER;
    let same = |value: Value| (value.clone(), "", value);
    let manager = |value: Value| json!({ e: { "manager": value, "department": "bulkId:d" } });
    let cases = vec![
        (manager(json!({ "value": "bulkId:a" })), "a", manager(json!({ "value": "<a>" }))),
        (manager(json!("bulkId:a")), "a", manager(json!("<a>"))),
        (
            manager(json!([{ "$ref": null, "value": "bulkId:a" }])),
            "a",
            manager(json!([{ "$ref": null, "value": "<a>" }])),
        ),
        (json!({ format!("{e}:manager"): "bulkId:a" }), "a", json!({ format!("{e}:manager"): "<a>" })),
        (
            json!({ "urn:x:User": { "mentor": "bulkId:a", "site": "bulkId:b",
                "desk": { "value": "bulkId:c", "owner": "../bulkId:d" } } }),
            "a,d",
            json!({ "urn:x:User": { "mentor": "https://x/a", "site": "bulkId:b",
                "desk": { "value": "bulkId:c", "owner": "../<d>" } } }),
        ),
        same(manager(json!({ "displayName": "bulkId:a" }))),
        // POST and PUT know no paths in the object of a schema.
        same(json!({ e: { "manager.value": "bulkId:a" } })),
        same(json!({ "userName": "bulkId:a", "title": "bulkId:b", "name": { "givenName": "bulkId:c" } })),
        same(json!({ "emails": [{ "value": "bulkId:a" }], "roles": ["bulkId:b"] })),
        same(json!({ "profileUrl": "bulkId:a", USER: { "displayName": "bulkId:a" } })),
    ];
    check(Kind::User, BulkDataForm::Resource, cases);
}

#[test]
fn references_in_patches() {
    let of = |operation: Value| json!({ "schemas": ["bulkId:s"], "operations": [operation] });
    let op = |path: &str, value: Value| of(json!({ "op": "add", "PATH": path, "Value": value }));
    let same = |value: Value| (value.clone(), "", value);
    let groups = vec![
        (op("members", json!("bulkId:a")), "a", op("members", json!("<a>"))),
        (op("members.value", json!("bulkId:a")), "a", op("members.value", json!("<a>"))),
        (
            op("members[value eq \"bulkId:a\" or value eq \"bulkId:b\"]", json!(null)),
            "a,b",
            op("members[value eq \"<a>\" or value eq \"<b>\"]", json!(null)),
        ),
        (
            op("members[$ref eq \"https://y/Users/bulkId:a\"]", json!(null)),
            "a",
            op("members[$ref eq \"https://y/Users/<a>\"]", json!(null)),
        ),
        (
            of(json!({ "op": "add", "value": { "members": ["bulkId:a"], "displayName": "bulkId:d" } })),
            "a",
            of(json!({ "op": "add", "value": { "members": ["<a>"], "displayName": "bulkId:d" } })),
        ),
        same(op("members[display eq \"bulkId:a\"]", json!(null))),
        same(op("members[value eq \"x\"].display", json!("bulkId:a"))),
        same(op("displayName", json!("bulkId:a"))),
        same(op("shoe", json!({ "value": "bulkId:a" }))),
        same(of(json!({ "op": "bulkId:a", "value": "bulkId:b" }))),
    ];
    check(Kind::Group, BulkDataForm::Patch, groups);
    let e = ENTERPRISE_USER;
    // The keys in a schema's object are paths, too.
    let under =
        |schema: &str, key: &str, text: &str| of(json!({ "op": "add", "value": { schema: { key: text } } }));
    let at = |key: &str, text: &str| op(e, json!({ key: text }));
    let paths = vec![
        (under(e, "manager.value", "bulkId:m"), "m", under(e, "manager.value", "<m>")),
        (under(e, "MANAGER.$ref", "bulkId:m"), "m", under(e, "MANAGER.$ref", "https://x/m")),
        (at("manager.value", "bulkId:m"), "m", at("manager.value", "<m>")),
        (at("manager", "bulkId:m"), "m", at("manager", "<m>")),
        (
            under("urn:x:User", "desk.owner", "bulkId:d"),
            "d",
            under("urn:x:User", "desk.owner", "https://x/d"),
        ),
        same(under(e, "manager.displayName", "bulkId:m")),
        same(under(e, "department", "bulkId:m")),
        same(under(USER, "name.givenName", "bulkId:m")),
        same(at("shoe.value", "bulkId:m")),
    ];
    check(Kind::User, BulkDataForm::Patch, paths);
    let users = vec![
        (op(&format!("{e}:manager"), json!("bulkId:a")), "a", op(&format!("{e}:manager"), json!("<a>"))),
        (op(e, json!({ "manager": "bulkId:a" })), "a", op(e, json!({ "manager": "<a>" }))),
        same(op("title", json!("bulkId:a"))),
        same(op("emails[value eq \"bulkId:a\"].value", json!("bulkId:b"))),
        same(op(USER, json!({ "title": "bulkId:a" }))),
    ];
    check(Kind::User, BulkDataForm::Patch, users);
}

#[test]
fn what_waits_is_set_apart() {
    let urn = ENTERPRISE_USER;
    let open = BTreeSet::from(["b".to_owned()]);
    for (kind, data, now, later) in [
        (
            Kind::Group,
            json!({ "displayName": "A", "members": [{ "value": "bulkId:a" }, { "value": "bulkId:b" }] }),
            json!({ "displayName": "A", "members": [{ "value": "bulkId:a" }] }),
            json!({ "members": [{ "value": "bulkId:b" }] }),
        ),
        (Kind::Group, json!({ "members": ["bulkId:b"] }), json!({}), json!({ "members": ["bulkId:b"] })),
        (
            Kind::User,
            json!({ urn: { "manager": { "value": "bulkId:b", "displayName": "B" }, "department": "d" } }),
            json!({ urn: { "department": "d" } }),
            json!({ urn: { "manager": { "value": "bulkId:b", "displayName": "B" } } }),
        ),
        (
            Kind::User,
            json!({ "userName": "bulkId:b", "title": "bulkId:b" }),
            json!({ "userName": "bulkId:b", "title": "bulkId:b" }),
            json!({}),
        ),
    ] {
        let (first, second) = divide(&object(data), model().of(kind), &open);
        assert_eq!((Value::Object(first), Value::Object(second)), (now, later));
    }
}
