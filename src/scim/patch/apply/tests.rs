use serde_json::json;

use super::*;
use crate::scim::error::ErrorKind::{self, InvalidSyntax, InvalidValue, Mutability};
use crate::scim::patch::request::parse;
use crate::scim::policy::{STANDARD, STRICT, VEZA};
use crate::scim::resource_type::Model;
use crate::scim::schema::Schema;
use crate::scim::urn::{ENTERPRISE_USER, PATCH_OP, ROLLCALL_USER, USER};

/// The attribute at `path` after the operations, which must leave all others alone.
pub fn patched(
    policy: &'static Policy,
    resource: &Value,
    operations: &Value,
    key: &str,
) -> Result<Value, ErrorKind> {
    patched_in(&Model::new(policy, &[]).expect("a model"), resource, operations, key)
}

/// As [`patched`], under a policy with extensions.
pub fn patched_in(
    model: &Model,
    resource: &Value,
    operations: &Value,
    key: &str,
) -> Result<Value, ErrorKind> {
    let (users, policy) = (model.of(Kind::User), model.policy);
    let body = json!({ "schemas": [PATCH_OP], "Operations": operations });
    let mut found = resource.as_object().cloned().expect("an object");
    let steps = parse(body.as_object().expect("an object"), users, policy, &WorkBudget::of_body())
        .map_err(|e| e.kind)?;
    apply(&mut found, &steps, users, policy, &WorkBudget::of_body()).map_err(|e| e.kind)?;
    let value = found.shift_remove(key).unwrap_or(Value::Null);
    let mut others = resource.as_object().cloned().expect("an object");
    others.shift_remove(key);
    assert_eq!(found, others, "{operations} changed more than {key}");
    Ok(value)
}

fn user() -> Value {
    json!({
        "schemas": [USER, ENTERPRISE_USER, ROLLCALL_USER],
        "id": "u1",
        "userName": "a@x",
        "name": { "givenName": "A", "familyName": "X" },
        "displayName": "A X",
        "active": true,
        "emails": [{ "value": "a@x", "type": "work", "primary": true }],
        "groups": [{ "value": "g" }],
        ENTERPRISE_USER: { "department": "d", "manager": { "value": "m", "$ref": "../Users/m" } },
        ROLLCALL_USER: { "account": "sso" },
        "meta": {
            "resourceType": "User",
            "created": "2026-01-02T03:04:05.000Z",
            "lastModified": "2026-03-02T03:04:05.000Z",
            "location": "https://x/Users/u1",
            "version": "W/\"3\"",
        },
    })
}

/// An operation on [`user`], the attribute that it changes, and its value afterwards under [`STANDARD`] and under
/// [`STRICT`].
type Row<'a> = (Value, &'a str, Result<Value, ErrorKind>, Result<Value, ErrorKind>);

fn assert_rows<const N: usize>(rows: [Row<'_>; N]) {
    for (operation, key, tolerant, strict) in rows {
        assert_eq!(patched(&STANDARD, &user(), &json!([operation]), key), tolerant, "{operation}");
        assert_eq!(patched(&STRICT, &user(), &json!([operation]), key), strict, "strict: {operation}");
    }
}

fn set(path: &str, value: Value) -> Value {
    json!({ "op": "replace", "path": path, "value": value })
}

fn gone(path: &str) -> Value {
    json!({ "op": "remove", "path": path })
}

#[test]
fn values_of_single_attributes() {
    assert_rows([
        (set("active", json!("False")), "active", Ok(json!(false)), Err(InvalidValue)),
        (
            json!({ "op": "Add", "path": "ACTIVE", "value": false }),
            "active",
            Ok(json!(false)),
            Ok(json!(false)),
        ),
        (
            json!({ "op": "replace", "value": { "active": false } }),
            "active",
            Ok(json!(false)),
            Ok(json!(false)),
        ),
        (
            json!({ "op": "add", "path": "displayName", "value": "B" }),
            "displayName",
            Ok(json!("B")),
            Ok(json!("B")),
        ),
        (set("title", json!("t")), "title", Ok(json!("t")), Ok(json!("t"))),
        (set("title", json!("")), "title", Ok(json!("")), Ok(json!(""))),
        (set("title", json!(true)), "title", Err(InvalidValue), Err(InvalidValue)),
        (set("displayName", json!(null)), "displayName", Ok(json!(null)), Ok(json!(null))),
        (gone("displayName"), "displayName", Ok(json!(null)), Ok(json!(null))),
        (gone("title"), "title", Ok(json!(null)), Ok(json!(null))),
        (gone("active"), "active", Ok(json!(null)), Ok(json!(null))),
        (gone("userName"), "userName", Err(Mutability), Err(Mutability)),
        (set("userName", json!(null)), "userName", Err(Mutability), Err(Mutability)),
    ]);
}

#[test]
fn complex_values_merge_one_level() {
    assert_rows([
        (
            set("name", json!({ "familyName": "Y" })),
            "name",
            Ok(json!({ "givenName": "A", "familyName": "Y" })),
            Ok(json!({ "givenName": "A", "familyName": "Y" })),
        ),
        (
            json!({ "op": "add", "path": "name", "value": { "givenname": null, "middleName": "M" } }),
            "name",
            Ok(json!({ "familyName": "X", "middleName": "M" })),
            Ok(json!({ "familyName": "X", "middleName": "M" })),
        ),
        (
            set("name.givenName", json!("B")),
            "name",
            Ok(json!({ "givenName": "B", "familyName": "X" })),
            Ok(json!({ "givenName": "B", "familyName": "X" })),
        ),
        (
            set("name.givenName", json!(null)),
            "name",
            Ok(json!({ "familyName": "X" })),
            Ok(json!({ "familyName": "X" })),
        ),
        (gone("name.givenName"), "name", Ok(json!({ "familyName": "X" })), Ok(json!({ "familyName": "X" }))),
        (gone("name.middleName"), "name", Ok(user()["name"].clone()), Ok(user()["name"].clone())),
        (gone("name"), "name", Ok(json!(null)), Ok(json!(null))),
        (set("name", json!({})), "name", Ok(user()["name"].clone()), Ok(user()["name"].clone())),
        (set("name", json!("B")), "name", Err(InvalidValue), Err(InvalidValue)),
        (set("name", json!({ "shoe": 1 })), "name", Ok(user()["name"].clone()), Err(InvalidSyntax)),
    ]);
}

#[test]
fn extensions_whole_and_in_part() {
    let e = ENTERPRISE_USER;
    assert_rows([
        (
            set(&format!("{e}:department"), json!("x")),
            e,
            Ok(json!({ "department": "x", "manager": { "value": "m", "$ref": "../Users/m" } })),
            Ok(json!({ "department": "x", "manager": { "value": "m", "$ref": "../Users/m" } })),
        ),
        (set(e, json!({ "department": null, "manager": null })), e, Ok(json!(null)), Ok(json!(null))),
        (
            json!({ "op": "add", "value": { e: { "department": "y", "manager": null } } }),
            e,
            Ok(json!({ "department": "y" })),
            Ok(json!({ "department": "y" })),
        ),
        (gone(e), e, Ok(json!(null)), Ok(json!(null))),
        (set(e, json!(null)), e, Ok(json!(null)), Ok(json!(null))),
        (gone(ROLLCALL_USER), ROLLCALL_USER, Err(Mutability), Err(Mutability)),
    ]);
}

const MANAGER: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager";

fn manager(manager: Value) -> Result<Value, ErrorKind> {
    Ok(json!({ "department": "d", "manager": manager }))
}

#[test]
fn managers_as_entra_sends_them() {
    let e = ENTERPRISE_USER;
    let same = Ok(user()[e].clone());
    let no_manager = Ok(json!({ "department": "d" }));
    assert_rows([
        (set(MANAGER, json!("n")), e, manager(json!({ "value": "n" })), Err(InvalidValue)),
        (
            json!({ "op": "Add", "path": MANAGER, "value": [{ "value": "n" }] }),
            e,
            manager(json!({ "value": "n" })),
            Err(InvalidValue),
        ),
        (
            set(MANAGER, json!({ "value": "n" })),
            e,
            manager(json!({ "value": "n" })),
            manager(json!({ "value": "n" })),
        ),
        (set(MANAGER, json!({ "value": "m" })), e, same.clone(), same.clone()),
        (
            set(&format!("{MANAGER}.value"), json!("n")),
            e,
            manager(json!({ "value": "n" })),
            manager(json!({ "value": "n" })),
        ),
        (set(MANAGER, json!("")), e, no_manager.clone(), Err(InvalidValue)),
        (set(MANAGER, json!(null)), e, no_manager.clone(), no_manager.clone()),
        (set(&format!("{MANAGER}.value"), json!("")), e, no_manager.clone(), manager(json!({ "value": "" }))),
        (gone(&format!("{MANAGER}.value")), e, no_manager.clone(), no_manager.clone()),
        (set(&format!("{MANAGER}.displayName"), json!("M")), e, Err(Mutability), Err(Mutability)),
        (
            json!({ "op": "replace", "value": { MANAGER: "n" } }),
            e,
            manager(json!({ "value": "n" })),
            Err(InvalidValue),
        ),
    ]);
}

/// Operations on what only the server writes, and whether they change nothing. The others are refused.
fn assert_repeated<const N: usize>(rows: [(Value, bool); N]) {
    for (operation, good) in rows {
        for policy in [&VEZA, &STANDARD, &STRICT] {
            let expected = if good { Ok(json!(null)) } else { Err(Mutability) };
            assert_eq!(patched(policy, &user(), &json!([operation]), "x"), expected, "{operation}");
        }
    }
}

#[test]
fn id_meta_and_account_may_be_repeated() {
    assert_repeated([
        (json!({ "op": "replace", "value": { "id": "u1" } }), true),
        (set("id", json!("u1")), true),
        (set("id", json!("U1")), false),
        (json!({ "op": "remove", "path": "id" }), false),
        (set("meta", user()["meta"].clone()), true),
        (set("meta", json!({ "RESOURCETYPE": "User" })), true),
        (set("meta", json!({ "resourceType": "Group" })), false),
        (set("meta.version", json!("W/\"1\"")), true),
        (set(ROLLCALL_USER, json!({ "account": "sso" })), true),
        (set(ROLLCALL_USER, json!(null)), true),
        (json!({ "op": "remove", "path": ROLLCALL_USER }), false),
        (set(ROLLCALL_USER, json!({ "account": "local" })), false),
        (set("id", json!(null)), true),
        (set("meta", json!(null)), true),
        (set("meta.version", json!(null)), true),
        (set("meta", json!({ "location": null, "shoe": null })), true),
        (set("meta", json!({ "shoe": 1 })), false),
    ]);
}

#[test]
fn what_was_true_when_it_was_read_may_be_repeated() {
    assert_repeated([
        (set("meta", json!({ "version": "W/\"1\"", "lastModified": "2026-01-02T03:04:05.000Z" })), true),
        (set("meta", json!({ "version": "W/\"3\"", "lastModified": "2026-03-02T03:04:05Z" })), true),
        (set("meta", json!({ "version": "\"2\"", "lastModified": "2026-02-01T00:00:00+02:00" })), true),
        (set("meta.version", json!("W/\"4\"")), false),
        (set("meta.version", json!("W/\"0\"")), false),
        (set("meta.version", json!("3")), false),
        (set("meta", json!({ "lastModified": "2026-03-02T03:04:05.001Z" })), false),
        (set("meta", json!({ "lastModified": "2026-01-02T03:04:04Z" })), false),
        (set("meta", json!({ "created": "2026-01-02T04:04:05+01:00" })), true),
        (set("meta", json!({ "created": "2026-01-02T03:04:06Z" })), false),
        // At another host, behind another stage.
        (set("meta", json!({ "location": "https://y/prod/scim/v2/Users/u1" })), true),
        (set("meta", json!({ "location": "https://x/Users/u2" })), false),
        (set("meta", json!({ "location": "https://x/Groups/u1" })), false),
        (set("meta", json!({ "location": "" })), false),
        (json!({ "op": "add", "value": { "meta": { "version": "W/\"2\"" }, "id": null } }), true),
        (json!({ "op": "remove", "path": "meta" }), false),
    ]);
}

#[test]
fn a_password_may_only_be_unassigned() {
    assert_repeated([
        (set("password", json!(null)), true),
        (json!({ "op": "add", "value": { "password": null } }), true),
        (set("password", json!("")), false),
        (json!({ "op": "remove", "path": "password" }), false),
        (set(ROLLCALL_USER, json!({ "account": null, "roles": [] })), true),
    ]);
}

#[test]
fn groups_may_be_repeated() {
    assert_repeated([
        (set("groups", json!([{ "value": "g", "display": "G", "$ref": "https://x/Groups/g" }])), true),
        (set("groups", json!({ "VALUE": "g" })), true),
        (set("groups", json!(["g", "g"])), true),
        (set("groups", json!(null)), true),
        (set("groups", json!([{ "value": "h" }])), false),
        (set("groups", json!([{ "value": "g" }, { "value": "h" }])), false),
        (set("groups", json!([{ "display": "G" }])), false),
        (set("groups", json!([])), false),
        (json!({ "op": "add", "path": "groups", "value": [] }), true),
        (json!({ "op": "add", "path": "groups", "value": { "value": "g" } }), true),
        (json!({ "op": "add", "path": "groups", "value": ["h"] }), false),
        (json!({ "op": "remove", "path": "groups[value eq \"g\"]" }), false),
        (json!({ "op": "remove", "path": "groups" }), false),
        (json!({ "op": "replace", "value": { "groups": [] } }), false),
        (json!({ "op": "replace", "value": { "groups": [{ "value": "g" }] } }), true),
        (set("groups.display", json!("G")), false),
    ]);
}

#[test]
fn schemas_may_be_repeated() {
    assert_repeated([
        (set("schemas", json!([USER])), true),
        (json!({ "op": "add", "path": "schemas", "value": ENTERPRISE_USER }), true),
        (json!({ "op": "remove", "path": "schemas", "value": [ENTERPRISE_USER] }), true),
        (json!({ "op": "remove", "path": "schemas" }), false),
    ]);
    for (urns, tolerant) in [
        (json!([USER, "urn:x"]), true),
        (json!(["urn:scim:schemas:core:1.0"]), true),
        (json!([]), true),
        (json!(null), true),
        (json!(["urn:x"]), false),
        (json!([3]), false),
    ] {
        let expected = if tolerant { Ok(json!(null)) } else { Err(InvalidSyntax) };
        let operations = json!([set("schemas", urns)]);
        assert_eq!(patched(&STANDARD, &user(), &operations, "x"), expected, "{operations}");
        assert_eq!(patched(&STRICT, &user(), &operations, "x"), Err(InvalidSyntax), "{operations}");
    }
}

#[test]
fn a_whole_resource_sent_back_changes_nothing() {
    let mut alone = user();
    alone.as_object_mut().expect("an object").shift_remove("groups");
    let mut with_groups = alone.clone();
    with_groups["groups"] = json!([]);
    with_groups["password"] = json!(null);
    for (resource, sent) in [(user(), user()), (alone, with_groups)] {
        for op in ["replace", "add"] {
            let operations = json!([{ "op": op, "value": sent }]);
            for policy in [&VEZA, &STANDARD] {
                assert_eq!(patched(policy, &resource, &operations, "x"), Ok(json!(null)), "{operations}");
            }
        }
    }
}

#[test]
fn required_values_cannot_be_removed() {
    for path in ["userName", "displayName", "name", "name.givenName", "emails"] {
        let operations = json!([{ "op": "remove", "path": path }]);
        assert_eq!(patched(&VEZA, &user(), &operations, "x"), Err(Mutability), "{path}");
    }
    // The rules on the final state refuse this one.
    let operations = json!([{ "op": "remove", "path": "emails[type eq \"work\"]" }]);
    assert_eq!(patched(&VEZA, &user(), &operations, "emails"), Ok(json!(null)));
}

/// To take an extension away takes its parts away.
#[test]
fn an_extension_with_an_immutable_part_cannot_be_removed() {
    const URN: &str = "urn:x:2.0:User";
    let text = |name: &str, mutability: &str| json!({ "name": name, "type": "string", "multiValued": false, "mutability": mutability });
    let complex = |name: &str, multi: bool| json!({ "name": name, "type": "complex", "multiValued": multi, "subAttributes": [text("room", "immutable"), text("note", "readWrite")] });
    let attributes = [complex("desk", false), complex("desks", true)];
    let schema: Schema = serde_json::from_value(json!({ "id": URN, "name": "X", "attributes": attributes }))
        .expect("a schema");
    for (own, goes) in [
        (json!({ "desk": { "room": "a" } }), false),
        (json!({ "desk": { "note": "n" } }), true),
        (json!({ "desks": [{ "room": "a" }] }), true),
    ] {
        let user = json!({ "userName": "a", URN: own });
        for operation in
            [gone(URN), set(URN, json!(null)), json!({ "op": "replace", "value": { URN: null } })]
        {
            let model = Model::new(&STANDARD, &[(Kind::User, schema.clone())]).expect("a model");
            let expected = if goes { Ok(json!(null)) } else { Err(Mutability) };
            assert_eq!(patched_in(&model, &user, &json!([operation]), URN), expected, "{own} {operation}");
        }
    }
}

/// Values that the schema holds to be equal are the same, and stay as they were written first.
#[test]
fn what_cannot_change_is_compared_by_its_schema() {
    const URN: &str = "urn:x:2.0:User";
    let attribute = |name: &str, kind: &str, mutability: &str, exact: bool| json!({ "name": name, "type": kind, "multiValued": false, "mutability": mutability, "caseExact": exact });
    let schema: Schema = serde_json::from_value(json!({ "id": URN, "name": "X", "attributes": [
        attribute("badge", "string", "immutable", false),
        attribute("code", "string", "immutable", true),
        attribute("since", "dateTime", "immutable", false),
        attribute("origin", "string", "readOnly", false),
        attribute("serial", "string", "readOnly", true),
        attribute("seen", "dateTime", "readOnly", false),
        { "name": "desk", "type": "complex", "multiValued": false, "subAttributes": [
            attribute("room", "string", "immutable", false),
            attribute("note", "string", "readWrite", false),
        ] },
        { "name": "teams", "type": "complex", "multiValued": true, "mutability": "readOnly", "subAttributes": [
            attribute("value", "string", "readOnly", false),
            attribute("display", "string", "readOnly", false),
        ] },
    ] }))
    .expect("a schema");
    let own = json!({
        "badge": "a", "code": "a", "since": "2024-01-01T00:00:00Z",
        "origin": "a", "serial": "1", "seen": "2024-01-01T00:00:00Z",
        "desk": { "room": "a" }, "teams": [{ "value": "a", "display": "A" }, { "value": "b" }],
    });
    let user = json!({ "userName": "a", URN: own });
    for (name, value, good) in [
        ("badge", json!("A"), true),
        ("badge", json!("b"), false),
        ("badge", json!(null), false),
        ("code", json!("A"), false),
        ("since", json!("2024-01-01T01:00:00+01:00"), true),
        ("since", json!("2024-01-01T01:00:00Z"), false),
        ("origin", json!("A"), true),
        ("origin", json!("b"), false),
        ("serial", json!("1"), true),
        ("serial", json!(1), false),
        ("seen", json!("2023-12-31T24:00:00Z"), true),
        ("seen", json!("2023-12-31T00:00:00Z"), false),
        ("desk", json!({ "room": "A" }), true),
        ("desk.room", json!("A"), true),
        ("desk.room", json!("b"), false),
        ("desk", json!({ "room": "b" }), false),
        ("teams", json!([{ "VALUE": "A", "display": "a" }, { "value": "B" }]), true),
        ("teams", json!([{ "value": "B" }, { "value": "A" }]), true),
        ("teams", json!([{ "value": "B" }, { "value": "c" }]), false),
        ("teams", json!([{ "value": "B" }]), false),
    ] {
        for policy in [&STANDARD, &STRICT] {
            let model = Model::new(policy, &[(Kind::User, schema.clone())]).expect("a model");
            let operations = json!([{ "op": "replace", "path": format!("{URN}:{name}"), "value": value }]);
            let expected = if good { Ok(json!(own)) } else { Err(Mutability) };
            assert_eq!(patched_in(&model, &user, &operations, URN), expected, "{operations}");
        }
    }
}

#[test]
fn a_refusal_names_the_part_that_cannot_change() {
    let room = json!({ "name": "room", "type": "string", "multiValued": false, "mutability": "immutable" });
    let desk = json!({ "name": "desk", "type": "complex", "multiValued": false, "subAttributes": [room] });
    let schema = serde_json::from_value(json!({ "id": "urn:x:2.0:User", "name": "X", "attributes": [desk] }));
    let model = Model::new(&STANDARD, &[(Kind::User, schema.expect("a schema"))]).expect("a model");
    let (users, work) = (model.of(Kind::User), WorkBudget::of_body());
    let operations = json!([{ "op": "replace", "path": "urn:x:2.0:User:desk", "value": { "room": "b" } }]);
    let body = json!({ "schemas": [PATCH_OP], "Operations": operations });
    let steps = parse(body.as_object().expect("an object"), users, &STANDARD, &work).expect("steps");
    let mut user = json!({ "userName": "a", "urn:x:2.0:User": { "desk": { "room": "a" } } });
    let user = user.as_object_mut().expect("an object");
    let refused = apply(user, &steps, users, &STANDARD, &work).expect_err("a change");
    assert!(refused.detail.starts_with("Attribute urn:x:2.0:User:desk.room is"), "{}", refused.detail);
}
