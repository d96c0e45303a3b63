use serde_json::json;

use super::*;
use crate::scim::attr_path::AttrPath;
use crate::scim::error::ErrorKind::{self, InvalidSyntax, InvalidValue, Mutability};
use crate::scim::policy::{STANDARD, STRICT};
use crate::scim::resource_type::{Kind, Model, Resolved};

fn read(policy: &'static Policy, path: &str, value: &Value) -> Result<Option<Value>, ErrorKind> {
    let model = Model::new(policy, &[]).expect("a model");
    let kind = if path == "members" { Kind::Group } else { Kind::User };
    let path = AttrPath::parse(path).expect("a path");
    let Some(Resolved::Attribute(target)) = model.of(kind).resolve(&path) else {
        unreachable!("{path} is an attribute")
    };
    let work = WorkBudget::of_body();
    ValueReader::of_patch(policy, &work).value(target.leaf(), &target.path(), value).map_err(|e| e.kind)
}

#[test]
fn values_by_type_and_policy() {
    const MANAGER: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager";
    let bad = Err(InvalidValue);
    let is = |value: Value| Ok(Some(value));
    for (path, value, tolerant, strict) in [
        ("active", json!("False"), is(json!(false)), bad.clone()),
        ("active", json!("yes"), bad.clone(), bad.clone()),
        ("active", json!(0), bad.clone(), bad.clone()),
        ("active", json!(null), Ok(None), Ok(None)),
        ("title", json!("True"), is(json!("True")), is(json!("True"))),
        ("title", json!(true), bad.clone(), bad.clone()),
        ("title", json!(["a"]), bad.clone(), bad.clone()),
        ("title", json!([]), Ok(None), Ok(None)),
        ("active", json!([]), Ok(None), Ok(None)),
        ("name", json!([]), Ok(None), Ok(None)),
        (
            "name",
            json!({ "givenName": [], "familyName": "F" }),
            is(json!({ "familyName": "F" })),
            is(json!({ "familyName": "F" })),
        ),
        (MANAGER, json!([]), Ok(None), Ok(None)),
        (MANAGER, json!({ "value": [] }), Ok(None), Ok(None)),
        ("title", json!(""), is(json!("")), is(json!(""))),
        ("name", json!({}), Ok(None), Ok(None)),
        (
            "name",
            json!({ "givenname": "J", "formatted": null }),
            is(json!({ "givenName": "J" })),
            is(json!({ "givenName": "J" })),
        ),
        ("name", json!({ "givenName": "J", "givenname": "K" }), Err(InvalidSyntax), Err(InvalidSyntax)),
        ("name", json!({ "nick": "J" }), Ok(None), Err(InvalidSyntax)),
        ("name", json!("J"), bad.clone(), bad.clone()),
        ("emails", json!({ "value": "a" }), is(json!([{ "value": "a" }])), bad.clone()),
        ("emails", json!("a"), bad.clone(), bad.clone()),
        (
            "emails",
            json!([null, {}, { "value": "a" }, { "value": "a" }]),
            is(json!([{ "value": "a" }])),
            is(json!([{ "value": "a" }])),
        ),
        (
            "emails",
            json!([{ "value": "a", "primary": true }, { "value": "b", "primary": "true" }]),
            bad.clone(),
            bad.clone(),
        ),
        (
            "emails",
            json!([{ "value": "a", "type": "WORK" }]),
            is(json!([{ "value": "a", "type": "WORK" }])),
            is(json!([{ "value": "a", "type": "WORK" }])),
        ),
        (
            "emails",
            json!([{ "value": "a", "type": "desk" }]),
            is(json!([{ "value": "a", "type": "desk" }])),
            bad.clone(),
        ),
        ("emails", json!([]), Ok(None), Ok(None)),
        (
            "emails",
            json!(["A@x", { "value": "a@x", "display": "A" }, null]),
            is(json!([{ "value": "A@x", "display": "A" }])),
            bad.clone(),
        ),
        ("emails", json!([7]), bad.clone(), bad.clone()),
        ("x509Certificates", json!(["?"]), bad.clone(), bad.clone()),
        ("addresses", json!(["Street 1"]), bad.clone(), bad.clone()),
        (
            "roles",
            json!([
                { "value": "r", "primary": true },
                { "value": "R", "primary": "True" },
                { "value": "r", "type": "t" },
            ]),
            is(json!([{ "value": "r", "primary": true }, { "value": "r", "type": "t" }])),
            bad.clone(),
        ),
        // Microsoft Entra ID's older form of single values.
        ("title", json!([{ "$ref": null, "value": "t" }]), is(json!("t")), bad.clone()),
        ("title", json!([{ "value": "t" }]), is(json!("t")), bad.clone()),
        ("title", json!([{ "VALUE": null }]), Ok(None), bad.clone()),
        ("title", json!([{ "value": "t", "type": "x" }]), bad.clone(), bad.clone()),
        ("title", json!([{ "value": "t" }, { "value": "u" }]), bad.clone(), bad.clone()),
        ("title", json!({ "value": "t" }), bad.clone(), bad.clone()),
        ("active", json!([{ "$ref": null, "value": "False" }]), is(json!(false)), bad.clone()),
        (
            "name",
            json!([{ "$ref": null, "value": { "givenName": "J" } }]),
            is(json!({ "givenName": "J" })),
            bad.clone(),
        ),
        (
            "name",
            json!({ "givenName": [{ "$ref": null, "value": "J" }] }),
            is(json!({ "givenName": "J" })),
            bad.clone(),
        ),
        (MANAGER, json!([{ "$ref": null, "value": "m" }]), is(json!({ "value": "m" })), bad.clone()),
        (MANAGER, json!("m"), is(json!({ "value": "m" })), bad.clone()),
        (MANAGER, json!([{ "value": "m" }]), is(json!({ "value": "m" })), bad.clone()),
        (MANAGER, json!([{ "value": "m" }, { "value": "n" }]), bad.clone(), bad.clone()),
        (MANAGER, json!({ "value": "m" }), is(json!({ "value": "m" })), is(json!({ "value": "m" }))),
        (MANAGER, json!({ "value": "m", "displayName": "M" }), is(json!({ "value": "m" })), Err(Mutability)),
        (MANAGER, json!(""), Ok(None), bad.clone()),
        (MANAGER, json!({ "value": "" }), Ok(None), is(json!({ "value": "" }))),
        (MANAGER, json!(null), Ok(None), Ok(None)),
        (MANAGER, json!(7), bad.clone(), bad.clone()),
        ("members", json!("m"), is(json!([{ "value": "m" }])), bad.clone()),
        (
            "members",
            json!(["m", { "value": "n" }]),
            is(json!([{ "value": "m" }, { "value": "n" }])),
            bad.clone(),
        ),
        (
            "x509Certificates",
            json!([{ "value": "aGk=" }]),
            is(json!([{ "value": "aGk=" }])),
            is(json!([{ "value": "aGk=" }])),
        ),
        ("x509Certificates", json!([{ "value": "?" }]), bad.clone(), bad.clone()),
        ("userName", json!("u".repeat(1024)), is(json!("u".repeat(1024))), is(json!("u".repeat(1024)))),
        ("userName", json!("u".repeat(1025)), bad.clone(), bad.clone()),
        ("title", json!("u".repeat(65_537)), bad.clone(), bad.clone()),
    ] {
        assert_eq!(read(&STANDARD, path, &value), tolerant, "{path} {value}");
        assert_eq!(read(&STRICT, path, &value), strict, "strict: {path} {value}");
    }
}

#[test]
fn several_simple_values() {
    let attribute: Attribute = serde_json::from_value(
        json!({ "name": "x", "type": "string", "multiValued": true, "caseExact": false }),
    )
    .expect("an attribute");
    for (value, tolerant, strict) in [
        (json!(["a", "b", "A"]), Some(json!(["a", "b"])), true),
        (json!("a"), Some(json!(["a"])), false),
        (json!([{ "value": "a" }, "b"]), Some(json!(["a", "b"])), false),
        (json!({ "VALUE": "a", "primary": false }), Some(json!(["a"])), false),
        (json!([{ "value": "a", "type": "t" }, { "value": null }]), Some(json!(["a"])), false),
        (json!([{ "display": "a" }]), None, false),
        (json!([{ "value": 1 }]), None, false),
        (json!([["a"]]), None, false),
    ] {
        let work = WorkBudget::of_body();
        let read = |policy| ValueReader::of_body(policy, &work).value(&attribute, "x", &value).ok().flatten();
        assert_eq!(read(&STANDARD), tolerant, "{value}");
        assert_eq!(read(&STRICT), tolerant.filter(|_| strict), "strict: {value}");
    }
}

#[test]
fn numbers_and_times_of_further_schemas() {
    let attribute = |kind: &str| -> Attribute {
        serde_json::from_value(json!({ "name": "x", "type": kind, "multiValued": false }))
            .expect("an attribute")
    };
    for (kind, value, good) in [
        ("integer", json!(3), true),
        ("integer", json!(-3), true),
        ("integer", json!(3.5), false),
        ("integer", json!("3"), false),
        ("decimal", json!(3.5), true),
        ("decimal", json!(3), true),
        ("dateTime", json!("2011-05-13T04:42:34Z"), true),
        ("dateTime", json!("yesterday"), false),
        ("reference", json!("https://x"), true),
        ("reference", json!(1), false),
        ("boolean", json!("tRUE"), true),
    ] {
        let work = WorkBudget::of_body();
        let read = ValueReader::of_body(&STANDARD, &work).value(&attribute(kind), "x", &value);
        assert_eq!(read.is_ok(), good, "{kind} {value}");
    }
}
