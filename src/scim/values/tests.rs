use serde_json::json;

use super::*;
use crate::scim::attr_path::AttrPath;
use crate::scim::document_rules::check_required;
use crate::scim::error::ErrorKind::{self, InvalidSyntax, InvalidValue, Mutability};
use crate::scim::patch::apply::apply;
use crate::scim::patch::request::parse;
use crate::scim::policy::{STRICT, VEZA};
use crate::scim::resource_type::{Kind, Model, Resolved};
use crate::scim::schema::Schema;
use crate::scim::urn::{ENTERPRISE_USER, GROUP, PATCH_OP, USER};
use crate::scim::validate;

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

/// Under `strict` alone, and as the texts of the attribute compare.
#[test]
fn canonical_values_compare_as_the_attribute_does() {
    for (exact, text, good) in
        [(true, "A", true), (true, "a", false), (false, "a", true), (false, "A", true), (false, "c", false)]
    {
        let attribute: Attribute = serde_json::from_value(json!({
            "name": "x", "type": "string", "multiValued": false, "caseExact": exact, "canonicalValues": ["A", "b"]
        }))
        .expect("an attribute");
        let work = WorkBudget::of_body();
        let read = |policy| ValueReader::of_body(policy, &work).value(&attribute, "x", &json!(text));
        assert_eq!(read(&STRICT).is_ok(), good, "{exact} {text}");
        assert!(read(&STANDARD).is_ok(), "{exact} {text}");
    }
}

#[test]
fn a_number_that_no_integer_holds_is_refused_with_the_limits() {
    let attribute: Attribute =
        serde_json::from_value(json!({ "name": "x", "type": "integer", "multiValued": false }))
            .expect("an attribute");
    let limits = "Attribute x must be a whole number from -9223372036854775808 to 18446744073709551615; a number beyond these limits was sent.";
    let plain = "Attribute x must be a whole number; a number was sent.";
    for (text, refused) in [
        ("18446744073709551615", None),
        ("-9223372036854775808", None),
        ("18446744073709551616", Some(limits)),
        ("-9223372036854775809", Some(limits)),
        ("1e300", Some(limits)),
        ("1.5", Some(plain)),
        ("1e3", Some(plain)),
    ] {
        let work = WorkBudget::of_body();
        let value: Value = serde_json::from_str(text).expect(text);
        for policy in [&STANDARD, &STRICT] {
            let read = ValueReader::of_body(policy, &work).value(&attribute, "x", &value);
            assert_eq!(read.err().map(|error| error.detail).as_deref(), refused, "{text}");
        }
    }
}

const FURTHER: &str = "urn:x:2.0:User";

/// What a request is answered under a policy, as far as the core knows: the attributes of a POST, or one operation of a
/// PATCH.
fn play(policy: &'static Policy, request: &Value) -> Result<(), ScimError> {
    let schema: Schema = serde_json::from_value(json!({ "id": FURTHER, "name": "X", "attributes": [
        { "name": "tags", "type": "string", "multiValued": true },
        { "name": "once", "type": "string", "multiValued": true, "mutability": "immutable" },
    ]}))
    .expect("a schema");
    let model = Model::new(policy, &[(Kind::User, schema)]).expect("a model");
    let (users, work) = (model.of(Kind::User), WorkBudget::of_body());
    let object = |value: &Value| value.as_object().cloned().expect("an object");
    if request.get("op").is_some() {
        let body = object(&json!({ "schemas": [PATCH_OP], "Operations": [request] }));
        let steps = parse(&body, users, policy, &work)?;
        let mut user = object(&json!({
            "userName": "a", "emails": [{ "value": "a@x", "type": "work" }], FURTHER: { "once": ["a"] }
        }));
        return apply(&mut user, &steps, users, policy, &work);
    }
    let mut body = object(&json!({ "schemas": [USER], "userName": "a" }));
    body.extend(object(request));
    let document = validate::read(&body, users, policy, &work)?;
    check_required(&document, users)
}

/// Requests that `strict` refuses. Its text promises that the policy standard takes a request if that is so.
fn assert_promises(standard_takes: bool, requests: &[Value]) {
    for request in requests {
        assert_eq!(play(&STANDARD, request).is_ok(), standard_takes, "standard: {request}");
        let refused = play(&STRICT, request).expect_err("a refusal");
        let detail = refused.with_advice(&STRICT).detail;
        let promise = "A tenant with the policy standard takes it";
        assert_eq!(detail.contains(promise), standard_takes, "{request}: {detail}");
        let rule = "of the tenant's policy strict.";
        assert_eq!(detail.contains(rule), standard_takes, "{request}: {detail}");
    }
}

fn operation(op: &str, path: &str, value: Value) -> Value {
    json!({ "op": op, "path": path, "value": value })
}

#[test]
fn strict_names_the_policy_that_takes_what_it_refuses() {
    let wrapped = |value: Value| json!([{ "$ref": null, "value": value }]);
    assert_promises(
        true,
        &[
            json!({ "active": "False" }),
            json!({ "active": wrapped(json!("False")) }),
            json!({ "title": wrapped(json!("x")) }),
            json!({ "name": wrapped(json!({ "givenName": "x" })) }),
            json!({ "name": { "givenName": wrapped(json!("x")) } }),
            json!({ "roles": ["Admin"] }),
            json!({ "emails": { "value": "x" } }),
            json!({ "emails": [{ "value": "x", "type": "desk" }] }),
            json!({ "nikName": "x" }),
            json!({ ENTERPRISE_USER: { "manager": "m" } }),
            json!({ FURTHER: { "tags": [{ "value": "a" }] } }),
            json!({ FURTHER: { "tags": "a" } }),
            json!({ "schemas": ["urn:scim:schemas:core:1.0"] }),
            json!({ "schemas": [USER, "urn:x:y"] }),
            operation("replace", "roles", json!(["Admin"])),
            operation("replace", "photos[type eq \"zz\"].value", json!("https://x")),
            operation("replace", "phoneNumbers[type eq \"a\" and primary eq true].value", json!("1")),
            operation("replace", "emails[type eq \"zz\"].value", json!(null)),
            operation("remove", "emails[type eq \"zz\" or value sw \"b\"]", json!(null)),
            operation("remove", &format!("{FURTHER}:once[value eq \"b\"]"), json!(null)),
        ],
    );
}

#[test]
fn strict_names_no_policy_for_what_each_policy_refuses() {
    let two = "phoneNumbers[type eq \"work\" and type eq \"home\"].value";
    assert_promises(
        false,
        &[
            json!({ "active": ["False"] }),
            json!({ "active": "no" }),
            json!({ "title": ["x"] }),
            json!({ "title": { "value": "x" } }),
            json!({ "title": [{ "value": 5 }] }),
            json!({ "title": ["x"], "active": "False" }),
            json!({ "userName": [{ "value": null }] }),
            json!({ "name": [{ "givenName": "x" }] }),
            json!({ "emails": [{ "value": ["x"] }] }),
            json!({ "emails": "x" }),
            json!({ "emails": 5 }),
            json!({ "emails": [{ "value": "x", "primary": true }, { "value": "y", "primary": "True" }] }),
            json!({ "roles": 5 }),
            json!({ ENTERPRISE_USER: { "manager": [5] } }),
            json!({ FURTHER: { "tags": [{ "value": 5 }] } }),
            json!({ FURTHER: { "tags": [{ "display": "a" }] } }),
            json!({ "schemas": [GROUP] }),
            operation("replace", "active", json!(["False"])),
            operation("replace", "title", json!(["x"])),
            operation("replace", "name", json!([{ "givenName": "x" }])),
            operation("replace", "emails[type eq \"work\"].value", json!(["x"])),
            operation("replace", MANAGER, json!([5])),
            operation("replace", "roles", json!(5)),
            operation("replace", "emails", json!(5)),
            operation("replace", &format!("{FURTHER}:tags"), json!([{ "value": 5 }])),
            operation("add", "phoneNumbers[type eq \"work\" or type eq \"home\"].value", json!("1")),
            operation("add", "phoneNumbers[type ne \"work\"].value", json!("1")),
            operation("add", "phoneNumbers[value pr].value", json!("1")),
            operation("add", two, json!("1")),
            operation("replace", two, json!("1")),
            operation("replace", "photos[type eq \"zz\"].value", json!(5)),
            operation("replace", &format!("{FURTHER}:once[value eq \"b\"]"), json!("c")),
            operation("remove", "emails[type eq \"zz\"]", json!(5)),
        ],
    );
    for policy in [&VEZA, &STANDARD, &STRICT] {
        let refused = play(policy, &operation("add", two, json!("1"))).expect_err("a refusal");
        let detail = refused.with_advice(policy).detail;
        assert!(detail.contains("An element is created only if the filter says what it is"), "{detail}");
        assert!(!detail.contains("policies"), "{detail}");
    }
    let refused = play(&STRICT, &operation("replace", "photos[type eq \"zz\"].value", json!(5)));
    let refused = refused.expect_err("a refusal");
    let expected = "The path photos[type eq \"zz\"].value selects nothing. Attribute photos.value must be a text that holds a URI; a number was sent.";
    assert_eq!((refused.kind, refused.detail.as_str()), (ErrorKind::NoTarget, expected));
}

#[test]
fn what_another_policy_would_read_leaves_no_note() {
    let model = Model::new(&STRICT, &[]).expect("a model");
    let roles = model.of(Kind::User).core_attribute("roles").expect("an attribute");
    let work = WorkBudget::of_body();
    let read = ValueReader::of_body(&STRICT, &work).value(roles, "roles", &json!(["Admin"]));
    assert_eq!(read.map_err(|error| error.rule()), Err(Some(Rule::ExactType)));
    assert!(work.notes.take().is_empty());
}
