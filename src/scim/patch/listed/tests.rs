use serde_json::json;

use super::*;
use crate::scim::error::ErrorKind::{
    self, InvalidFilter, InvalidPath, InvalidSyntax, InvalidValue, NoTarget,
};
use crate::scim::patch::apply::tests::patched_in;
use crate::scim::policy::{POLICIES, STANDARD, STRICT, VEZA};
use crate::scim::resource_type::{Kind, Model};
use crate::scim::schema::Schema;

const URN: &str = "urn:x:2.0:User";

/// A schema with every kind of multi-valued attribute.
pub fn extension() -> Schema {
    let text = |name: &str, multi: bool, exact: bool| json!({ "name": name, "type": "string", "multiValued": multi, "caseExact": exact });
    serde_json::from_value(json!({ "id": URN, "name": "X", "attributes": [
        { "name": "profile", "type": "complex", "multiValued": false, "subAttributes": [
            text("langs", true, false), text("label", false, false)] },
        { "name": "sites", "type": "complex", "multiValued": true, "subAttributes": [
            text("value", false, true), text("type", false, false), text("tags", true, true)] },
        text("assurance", true, false),
        text("codes", true, true),
    ] }))
    .expect("a schema")
}

/// A user's attribute after one operation, under the policy and with the extension.
fn patched(
    policy: &'static crate::scim::policy::Policy,
    user: &Value,
    operation: &Value,
    key: &str,
) -> Result<Value, ErrorKind> {
    let model = Model::new(policy, &[(Kind::User, extension())]).expect("a model");
    patched_in(&model, user, &json!([operation]), key)
}

#[test]
fn listed_elements_go() {
    let roles = json!([
        { "value": "Admin", "type": "T", "display": "A" },
        { "value": "Reader", "primary": true },
        { "display": "D" },
    ]);
    let user = json!({ "userName": "a", "roles": roles, "x509Certificates": [{ "value": "aGk=" }] });
    let without = |place: usize| {
        let mut roles = roles.clone();
        roles.as_array_mut().expect("an array").remove(place);
        Ok(roles)
    };
    let same = || Ok(roles.clone());
    let (unknown, wrong) = (|| Err(InvalidSyntax), || Err(InvalidValue));
    for (value, tolerant, strict) in [
        // What Microsoft Entra ID added is what it removes.
        (
            json!([{ "value": "Admin", "type": "T", "displayName": "Admin", "primary": false }]),
            without(0),
            unknown(),
        ),
        (json!([{ "value": "admin", "type": "t" }]), without(0), without(0)),
        (json!([{ "VALUE": "Admin", "primary": "False" }]), without(0), wrong()),
        (json!([{ "value": "Admin", "primary": false, "display": null }]), without(0), without(0)),
        (json!({ "value": "Admin" }), without(0), without(0)),
        (json!([{ "type": "T" }]), without(0), without(0)),
        (json!(["ADMIN"]), without(0), wrong()),
        (json!("Admin"), without(0), wrong()),
        (json!(["Nobody", { "value": "Reader", "primary": true }, null]), without(1), wrong()),
        (json!([{ "display": "d" }]), without(2), without(2)),
        (json!([{ "value": "Reader" }]), without(1), without(1)),
        // What is said must be so.
        (json!([{ "value": "Reader", "primary": false }]), same(), same()),
        (json!([{ "value": "Admin", "primary": true }]), same(), same()),
        (json!([{ "value": "Admin", "type": "U" }]), same(), same()),
        (json!([{ "value": "Reader", "type": "T" }]), same(), same()),
        (json!([{ "shoe": 1 }]), same(), unknown()),
        (json!([{}]), same(), same()),
        (json!([]), same(), same()),
        (json!([{ "value": 1 }]), wrong(), wrong()),
        (
            json!([{ "value": "Admin" }, { "value": "READER" }]),
            Ok(json!([{ "display": "D" }])),
            Ok(json!([{ "display": "D" }])),
        ),
        (json!(null), Ok(json!(null)), Ok(json!(null))),
    ] {
        let operation = json!({ "op": "Remove", "path": "roles", "value": value });
        assert_eq!(patched(&STANDARD, &user, &operation, "roles"), tolerant, "{operation}");
        assert_eq!(patched(&VEZA, &user, &operation, "roles"), tolerant, "{operation}");
        assert_eq!(patched(&STRICT, &user, &operation, "roles"), strict, "strict: {operation}");
    }
    for (value, expected) in [("aGk=", json!(null)), ("AGK=", json!([{ "value": "aGk=" }]))] {
        let operation = json!({ "op": "remove", "path": "x509Certificates", "value": [{ "value": value }] });
        for policy in POLICIES {
            assert_eq!(
                patched(policy, &user, &operation, "x509Certificates"),
                Ok(expected.clone()),
                "{operation}"
            );
        }
    }
}

type Outcome = Result<Value, ErrorKind>;

/// A user with values of the extension.
fn extended_user() -> Value {
    json!({
        URN: {
            "profile": { "langs": ["x", "y"], "label": "L" },
            "sites": [{ "value": "a", "tags": ["1", "2"] }, { "value": "b" }],
            "assurance": ["low", "mid"],
            "codes": ["A", "a"],
        },
        "userName": "u",
    })
}

/// The extension of [`extended_user`] with another value of one attribute.
fn now(attribute: &str, value: Value) -> Outcome {
    let mut all = extended_user()[URN].clone();
    match value {
        Value::Null => drop(all.as_object_mut().expect("an object").remove(attribute)),
        value => all[attribute] = value,
    }
    Ok(all)
}

fn same() -> Outcome {
    Ok(extended_user()[URN].clone())
}

fn langs(langs: &[&str]) -> Outcome {
    now("profile", json!({ "langs": langs, "label": "L" }))
}

fn tags(tags: &[&str]) -> Outcome {
    now("sites", json!([{ "value": "a", "tags": tags }, { "value": "b" }]))
}

fn low() -> Outcome {
    now("assurance", json!(["low"]))
}

fn op(op: &str, path: &str, value: Value) -> Value {
    json!({ "op": op, "path": format!("{URN}:{path}"), "value": value })
}

/// An operation on [`extended_user`], and its extension afterwards under [`STANDARD`] and under [`STRICT`].
fn assert_extension<const N: usize>(rows: [(Value, Outcome, Outcome); N]) {
    for (operation, tolerant, strict) in rows {
        assert_eq!(patched(&STANDARD, &extended_user(), &operation, URN), tolerant, "{operation}");
        assert_eq!(patched(&STRICT, &extended_user(), &operation, URN), strict, "strict: {operation}");
    }
}

#[test]
fn values_of_a_complex_attribute() {
    let xyz = || langs(&["x", "y", "z"]);
    let bare = |op: &str, value: Value| json!({ "op": op, "value": { URN: value } });
    assert_extension([
        (op("add", "profile.langs", json!(["z"])), xyz(), xyz()),
        (op("add", "profile.langs", json!(["Y", "z"])), xyz(), xyz()),
        (op("add", "profile.langs", json!("z")), xyz(), xyz()),
        (op("add", "profile.langs", json!([{ "value": "z" }])), xyz(), Err(InvalidValue)),
        (op("add", "profile", json!({ "langs": ["z"] })), xyz(), xyz()),
        (
            op("add", "profile", json!([{ "$ref": null, "value": { "langs": ["z"] } }])),
            xyz(),
            Err(InvalidValue),
        ),
        (bare("add", json!({ "profile": { "langs": ["z"] } })), xyz(), xyz()),
        (json!({ "op": "add", "value": { format!("{URN}:profile.langs"): ["z"] } }), xyz(), xyz()),
        (op("add", "profile.langs", json!([])), same(), same()),
        (op("add", "profile.langs", json!(null)), same(), same()),
        (op("add", "profile", json!({ "langs": null })), same(), same()),
        (op("add", "profile", json!({ "langs": [], "label": "L" })), same(), same()),
        (op("replace", "profile.langs", json!(["z"])), langs(&["z"]), langs(&["z"])),
        (
            op("replace", "profile.langs", json!([])),
            now("profile", json!({ "label": "L" })),
            now("profile", json!({ "label": "L" })),
        ),
        (op("replace", "profile", json!({ "langs": ["z"] })), langs(&["z"]), langs(&["z"])),
        (op("remove", "profile.langs", json!(["X"])), langs(&["y"]), langs(&["y"])),
        (op("remove", "profile.langs", json!([{ "value": "x" }])), langs(&["y"]), Err(InvalidValue)),
        (op("remove", "profile.langs", json!(["q"])), same(), same()),
        (
            op("remove", "profile.langs", json!(["x", "y"])),
            now("profile", json!({ "label": "L" })),
            now("profile", json!({ "label": "L" })),
        ),
        (
            json!({ "op": "remove", "path": format!("{URN}:profile.langs") }),
            now("profile", json!({ "label": "L" })),
            now("profile", json!({ "label": "L" })),
        ),
    ]);
}

#[test]
fn values_within_elements() {
    assert_extension([
        (
            op("add", "sites[value eq \"a\"].tags", json!(["3"])),
            tags(&["1", "2", "3"]),
            tags(&["1", "2", "3"]),
        ),
        (op("add", "sites[value eq \"a\"].tags", json!("2")), same(), same()),
        (op("add", "sites[value eq \"a\"].tags", json!([])), same(), same()),
        (
            op("add", "sites[value eq \"a\"]", json!({ "tags": ["3"] })),
            tags(&["1", "2", "3"]),
            tags(&["1", "2", "3"]),
        ),
        (
            op("add", "sites", json!([{ "value": "a", "tags": ["2", "3"] }])),
            tags(&["1", "2", "3"]),
            tags(&["1", "2", "3"]),
        ),
        (
            op("add", "sites", json!({ "value": "a", "tags": ["3"] })),
            tags(&["1", "2", "3"]),
            tags(&["1", "2", "3"]),
        ),
        (op("replace", "sites[value eq \"a\"].tags", json!(["3"])), tags(&["3"]), tags(&["3"])),
        (op("remove", "sites[value eq \"a\"].tags", json!(["1"])), tags(&["2"]), tags(&["2"])),
        (op("remove", "sites.tags", json!(["1"])), tags(&["2"]), tags(&["2"])),
        (
            op("remove", "sites", json!([{ "value": "a", "tags": ["2"] }])),
            now("sites", json!([{ "value": "b" }])),
            now("sites", json!([{ "value": "b" }])),
        ),
        (op("remove", "sites", json!([{ "value": "a", "tags": ["2", "3"] }])), same(), same()),
        (op("remove", "sites", json!([{ "value": "A" }])), same(), same()),
    ]);
}

#[test]
fn simple_values() {
    assert_extension([
        (
            op("add", "assurance", json!(["MID", "high"])),
            now("assurance", json!(["low", "mid", "high"])),
            now("assurance", json!(["low", "mid", "high"])),
        ),
        (
            op("add", "assurance", json!("high")),
            now("assurance", json!(["low", "mid", "high"])),
            now("assurance", json!(["low", "mid", "high"])),
        ),
        (op("add", "assurance", json!([{ "value": "mid" }])), same(), Err(InvalidValue)),
        (op("add", "assurance", json!(null)), same(), same()),
        (op("add", "assurance", json!([])), same(), same()),
        (op("replace", "assurance", json!([{ "value": "low" }])), low(), Err(InvalidValue)),
        (op("remove", "assurance", json!([{ "value": "MID" }])), low(), Err(InvalidValue)),
        (op("remove", "assurance", json!(["mid"])), low(), low()),
        (op("remove", "codes", json!(["A"])), now("codes", json!(["a"])), now("codes", json!(["a"]))),
    ]);
}

#[test]
fn simple_values_by_a_filter() {
    assert_extension([
        (json!({ "op": "remove", "path": format!("{URN}:assurance[value eq \"Mid\"]") }), low(), low()),
        (
            json!({ "op": "remove", "path": format!("{URN}:assurance[value sw \"l\" or value pr]") }),
            now("assurance", json!(null)),
            now("assurance", json!(null)),
        ),
        (
            json!({ "op": "remove", "path": format!("{URN}:assurance[value eq \"none\"]") }),
            same(),
            Err(NoTarget),
        ),
        (
            json!({ "op": "remove", "path": format!("{URN}:assurance[display eq \"x\"]") }),
            Err(InvalidPath),
            Err(InvalidPath),
        ),
        (
            json!({ "op": "remove", "path": format!("{URN}:assurance[value eq 1]") }),
            Err(InvalidFilter),
            Err(InvalidFilter),
        ),
        (
            op("replace", "assurance[value eq \"mid\"]", json!("high")),
            now("assurance", json!(["low", "high"])),
            now("assurance", json!(["low", "high"])),
        ),
        (op("replace", "assurance[value eq \"mid\"]", json!("LOW")), low(), low()),
        (
            op("replace", "assurance[value eq \"mid\"]", json!([{ "value": "high" }])),
            now("assurance", json!(["low", "high"])),
            Err(InvalidValue),
        ),
        (
            op("add", "assurance[value eq \"high\"]", json!("high")),
            now("assurance", json!(["low", "mid", "high"])),
            now("assurance", json!(["low", "mid", "high"])),
        ),
    ]);
}

#[test]
fn names_within_brackets_may_have_their_urn() {
    assert_extension([
        (
            json!({ "op": "remove", "path": format!("{URN}:assurance[{URN}:assurance.value eq \"mid\"]") }),
            low(),
            low(),
        ),
        (
            json!({ "op": "remove", "path": format!("{URN}:sites[{URN}:sites.tags eq \"1\"]") }),
            now("sites", json!([{ "value": "b" }])),
            now("sites", json!([{ "value": "b" }])),
        ),
        (
            json!({ "op": "remove", "path": format!("{URN}:sites[{URN}:value eq \"a\"]") }),
            now("sites", json!([{ "value": "b" }])),
            now("sites", json!([{ "value": "b" }])),
        ),
        (
            json!({ "op": "remove", "path": format!("{URN}:sites[{URN}:assurance.value eq \"a\"]") }),
            Err(InvalidPath),
            Err(InvalidPath),
        ),
        (
            json!({ "op": "remove", "path": format!("{URN}:sites[urn:y:User:value eq \"a\"]") }),
            Err(InvalidPath),
            Err(InvalidPath),
        ),
    ]);
}

#[test]
fn core_attributes_within_brackets() {
    const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
    let user = json!({ "userName": "u", "emails": [{ "value": "a@x", "type": "work" }, { "value": "b@x" }] });
    let path = |name: &str| format!("emails[{name} eq \"Work\"].value");
    for (path, good) in [
        (path("type"), true),
        (path(&format!("{USER}:emails.type")), true),
        (path(&format!("{}:EMAILS.TYPE", USER.to_uppercase())), true),
        (path(&format!("{USER}:type")), true),
        (path("emails.type"), false),
        (path(&format!("{USER}:phoneNumbers.type")), false),
        (path(&format!("{USER}:emails")), false),
    ] {
        let operation = json!({ "op": "replace", "path": path, "value": "c@x" });
        let expected = json!([{ "value": "c@x", "type": "work" }, { "value": "b@x" }]);
        for policy in POLICIES {
            let expected = if good { Ok(expected.clone()) } else { Err(InvalidPath) };
            assert_eq!(patched(policy, &user, &operation, "emails"), expected, "{operation}");
        }
    }
}
