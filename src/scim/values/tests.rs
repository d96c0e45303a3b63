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

const MANAGER: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager";

type Outcome = Result<Option<Value>, ErrorKind>;

fn bad() -> Outcome {
    Err(InvalidValue)
}

fn is(value: Value) -> Outcome {
    Ok(Some(value))
}

/// A path, a value for it, and the value that is stored under [`STANDARD`] and under [`STRICT`].
fn assert_values<const N: usize>(rows: [(&str, Value, Outcome, Outcome); N]) {
    for (path, value, tolerant, strict) in rows {
        assert_eq!(read(&STANDARD, path, &value), tolerant, "{path} {value}");
        assert_eq!(read(&STRICT, path, &value), strict, "strict: {path} {value}");
    }
}

#[test]
fn single_values() {
    assert_values([
        ("active", json!("False"), is(json!(false)), bad()),
        ("active", json!("yes"), bad(), bad()),
        ("active", json!(0), bad(), bad()),
        ("active", json!(null), Ok(None), Ok(None)),
        ("title", json!("True"), is(json!("True")), is(json!("True"))),
        ("title", json!(true), bad(), bad()),
        ("title", json!(["a"]), bad(), bad()),
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
        ("name", json!("J"), bad(), bad()),
    ]);
}

#[test]
fn emails_and_other_elements() {
    assert_values([
        ("emails", json!({ "value": "a" }), is(json!([{ "value": "a" }])), bad()),
        ("emails", json!("a"), bad(), bad()),
        (
            "emails",
            json!([null, {}, { "value": "a" }, { "value": "a" }]),
            is(json!([{ "value": "a" }])),
            is(json!([{ "value": "a" }])),
        ),
        (
            "emails",
            json!([{ "value": "a", "primary": true }, { "value": "b", "primary": "true" }]),
            bad(),
            bad(),
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
            bad(),
        ),
        ("emails", json!([]), Ok(None), Ok(None)),
        (
            "emails",
            json!(["A@x", { "value": "a@x", "display": "A" }, null]),
            is(json!([{ "value": "A@x", "display": "A" }])),
            bad(),
        ),
        ("emails", json!([7]), bad(), bad()),
        ("x509Certificates", json!(["?"]), bad(), bad()),
        ("addresses", json!(["Street 1"]), bad(), bad()),
        (
            "roles",
            json!([
                { "value": "r", "primary": true },
                { "value": "R", "primary": "True" },
                { "value": "r", "type": "t" },
            ]),
            is(json!([{ "value": "r", "primary": true }, { "value": "r", "type": "t" }])),
            bad(),
        ),
    ]);
}

/// Microsoft Entra ID's older form of single values.
#[test]
fn arrays_of_one_for_single_values() {
    assert_values([
        ("title", json!([{ "$ref": null, "value": "t" }]), is(json!("t")), bad()),
        ("title", json!([{ "value": "t" }]), is(json!("t")), bad()),
        ("title", json!([{ "VALUE": null }]), Ok(None), bad()),
        ("title", json!([{ "value": "t", "type": "x" }]), bad(), bad()),
        ("title", json!([{ "value": "t" }, { "value": "u" }]), bad(), bad()),
        ("title", json!({ "value": "t" }), bad(), bad()),
        ("active", json!([{ "$ref": null, "value": "False" }]), is(json!(false)), bad()),
        (
            "name",
            json!([{ "$ref": null, "value": { "givenName": "J" } }]),
            is(json!({ "givenName": "J" })),
            bad(),
        ),
        (
            "name",
            json!({ "givenName": [{ "$ref": null, "value": "J" }] }),
            is(json!({ "givenName": "J" })),
            bad(),
        ),
    ]);
}

#[test]
fn managers() {
    assert_values([
        (MANAGER, json!([{ "$ref": null, "value": "m" }]), is(json!({ "value": "m" })), bad()),
        (MANAGER, json!("m"), is(json!({ "value": "m" })), bad()),
        (MANAGER, json!([{ "value": "m" }]), is(json!({ "value": "m" })), bad()),
        (MANAGER, json!([{ "value": "m" }, { "value": "n" }]), bad(), bad()),
        (MANAGER, json!({ "value": "m" }), is(json!({ "value": "m" })), is(json!({ "value": "m" }))),
        (MANAGER, json!({ "value": "m", "displayName": "M" }), is(json!({ "value": "m" })), Err(Mutability)),
        (MANAGER, json!(""), Ok(None), bad()),
        (MANAGER, json!({ "value": "" }), Ok(None), is(json!({ "value": "" }))),
        (MANAGER, json!(null), Ok(None), Ok(None)),
        (MANAGER, json!(7), bad(), bad()),
    ]);
}

#[test]
fn members_certificates_and_lengths() {
    assert_values([
        ("members", json!("m"), is(json!([{ "value": "m" }])), bad()),
        ("members", json!(["m", { "value": "n" }]), is(json!([{ "value": "m" }, { "value": "n" }])), bad()),
        (
            "x509Certificates",
            json!([{ "value": "aGk=" }]),
            is(json!([{ "value": "aGk=" }])),
            is(json!([{ "value": "aGk=" }])),
        ),
        ("x509Certificates", json!([{ "value": "?" }]), bad(), bad()),
        ("userName", json!("u".repeat(1024)), is(json!("u".repeat(1024))), is(json!("u".repeat(1024)))),
        ("userName", json!("u".repeat(1025)), bad(), bad()),
        ("title", json!("u".repeat(65_537)), bad(), bad()),
    ]);
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
