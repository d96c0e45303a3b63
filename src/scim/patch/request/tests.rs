use serde_json::json;

use super::*;
use crate::scim::error::ErrorKind::{self, InvalidPath, InvalidSyntax, InvalidValue, Mutability, NoTarget};
use crate::scim::policy::{STANDARD, STRICT};
use crate::scim::resource_type::Model;
use crate::scim::urn::{ENTERPRISE_USER, PATCH_OP, USER};

fn read(policy: &'static Policy, body: &Value) -> Result<Vec<String>, ErrorKind> {
    let model = Model::new(policy, &[]).expect("a model");
    let body = body.as_object().expect("an object");
    let steps =
        parse(body, model.of(Kind::User), policy, &WorkBudget::of_body()).map_err(|error| error.kind)?;
    Ok(steps.iter().map(|step| format!("{:?} {step}", step.op)).collect())
}

/// An operation, its steps under [`STANDARD`], and whether [`STRICT`] accepts it.
fn assert_steps<const N: usize>(rows: [(Value, &[&str], bool); N]) {
    for (operation, steps, strict) in rows {
        let body = json!({ "schemas": [PATCH_OP], "Operations": [operation] });
        let expected = steps.iter().map(|step| (*step).to_owned()).collect();
        assert_eq!(read(&STANDARD, &body), Ok(expected), "{operation}");
        assert_eq!(read(&STRICT, &body).is_ok(), strict, "strict: {operation}");
    }
}

#[test]
fn operations_with_a_path_become_steps() {
    let manager = format!("{ENTERPRISE_USER}:manager");
    assert_steps([
        (json!({ "op": "Replace", "path": "USERNAME", "value": "a" }), &["Replace userName"], true),
        (json!({ "OP": "ADD", "Path": "name.GIVENNAME", "VALUE": "a" }), &["Add name.givenName"], true),
        (json!({ "op": "remove", "path": "title" }), &["Remove title"], true),
        (json!({ "op": "remove", "path": format!("{USER}:emails.value") }), &["Remove emails.value"], true),
        (
            json!({ "op": "remove", "path": "emails[type eq \"work\"].VALUE" }),
            &["Remove emails[type eq \"work\"].value"],
            true,
        ),
        (
            json!({ "op": "remove", "path": manager }),
            &["Remove urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager"],
            true,
        ),
        (
            json!({ "op": "remove", "path": ENTERPRISE_USER }),
            &["Remove urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"],
            true,
        ),
        (
            json!({ "op": "add", "path": ENTERPRISE_USER, "value": { "department": "d" } }),
            &["Add urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department"],
            true,
        ),
    ]);
}

#[test]
fn operations_without_a_path_become_steps() {
    assert_steps([
        (
            json!({ "op": "replace", "value": {
                "name.givenName": "J",
                "emails[type eq \"work\"].value": "a@x",
                ENTERPRISE_USER: { "department": "d" },
                format!("{ENTERPRISE_USER}:employeeNumber"): "1",
            } }),
            &[
                "Replace name.givenName",
                "Replace emails[type eq \"work\"].value",
                "Replace urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department",
                "Replace urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:employeeNumber",
            ],
            true,
        ),
        (json!({ "op": "replace", "value": { USER: { "title": "t" } } }), &["Replace title"], true),
        (json!({ "op": "replace", "value": { "shoe": 1, "a b": 2, "title": 3 } }), &["Replace title"], false),
        (json!({ "op": "replace", "path": "", "value": { "title": 3 } }), &["Replace title"], false),
        (json!({ "op": "add", "path": null, "value": {} }), &[], true),
    ]);
}

#[test]
fn refusals() {
    for (operation, expected) in [
        (json!({ "op": "upsert", "path": "title", "value": 1 }), InvalidSyntax),
        (json!({ "path": "title", "value": 1 }), InvalidSyntax),
        (json!({ "op": 3 }), InvalidSyntax),
        (json!({ "op": "add", "OP": "add", "value": {} }), InvalidSyntax),
        (json!(3), InvalidSyntax),
        (json!({ "op": "add", "path": "title" }), InvalidValue),
        (json!({ "op": "replace", "path": "title" }), InvalidValue),
        (json!({ "op": "replace", "value": [] }), InvalidValue),
        (json!({ "op": "replace", "value": null }), InvalidValue),
        (json!({ "op": "remove" }), NoTarget),
        (json!({ "op": "remove", "value": { "title": 1 } }), NoTarget),
        (json!({ "op": "remove", "path": 3 }), InvalidPath),
        (json!({ "op": "remove", "path": "shoe" }), InvalidPath),
        (json!({ "op": "remove", "path": "name.shoe" }), InvalidPath),
        (json!({ "op": "remove", "path": "urn:x:y:title" }), InvalidPath),
        (json!({ "op": "remove", "path": "emails[shoe eq 1]" }), InvalidPath),
        (json!({ "op": "remove", "path": "emails[type eq \"work\"].shoe" }), InvalidPath),
        (json!({ "op": "remove", "path": "emails[type" }), InvalidPath),
        (json!({ "op": "remove", "path": "name[givenName eq \"J\"]" }), InvalidPath),
        (json!({ "op": "remove", "path": "title[value eq \"J\"]" }), InvalidPath),
        (json!({ "op": "remove", "path": format!("schemas[value eq \"{ENTERPRISE_USER}\"]") }), InvalidPath),
        (json!({ "op": "add", "value": { "emails[type": 1 } }), InvalidPath),
        // A name stands once, however it is spelled (RFC 7643 §2.1).
        (json!({ "op": "replace", "value": { "active": true, "ACTIVE": false } }), InvalidSyntax),
        (json!({ "op": "add", "value": { "title": "a", (format!("{USER}:title")): "b" } }), InvalidSyntax),
        (json!({ "op": "add", "value": { "title": "a", USER: { "Title": "b" } } }), InvalidSyntax),
        (json!({ "op": "add", "path": USER, "value": { "title": "a", "TITLE": "b" } }), InvalidSyntax),
        (
            json!({ "op": "add", "value": { "emails[type eq \"work\"].value": "a", "emails[TYPE eq \"work\"].value": "b" } }),
            InvalidSyntax,
        ),
        (json!({ "op": "remove", "path": USER }), Mutability),
        (json!({ "op": "replace", "path": "password", "value": "x" }), Mutability),
        (json!({ "op": "remove", "path": format!("{USER}:PASSWORD") }), Mutability),
        (json!({ "op": "add", "value": { "Password": "x" } }), Mutability),
        (json!({ "op": "add", "value": { USER: { "password": "x" } } }), Mutability),
    ] {
        let body = json!({ "schemas": [PATCH_OP], "Operations": [operation] });
        for policy in [&STANDARD, &STRICT] {
            assert_eq!(read(policy, &body), Err(expected), "{} {operation}", policy.name);
        }
    }
}

#[test]
fn the_message_around_the_operations() {
    let one = json!([{ "op": "remove", "path": "title" }]);
    for (body, tolerant, strict) in [
        (json!({ "schemas": [PATCH_OP], "operations": one }), true, true),
        (json!({ "Operations": one }), true, false),
        (json!({ "schemas": [USER], "Operations": one }), false, false),
        (json!({ "schemas": [], "Operations": one }), true, false),
        (json!({ "schemas": null, "Operations": one }), true, false),
        (json!({ "schemas": ["urn:scim:schemas:core:1.0"], "Operations": one }), false, false),
        (json!({ "schemas": [PATCH_OP], "Operations": [] }), false, false),
        (json!({ "schemas": [PATCH_OP], "Operations": {} }), false, false),
        (json!({ "schemas": [PATCH_OP] }), false, false),
        (json!({ "schemas": [PATCH_OP], "Operations": one, "operations": one }), false, false),
    ] {
        let check = |good: bool| if good { Ok(vec!["Remove title".to_owned()]) } else { Err(InvalidSyntax) };
        assert_eq!(read(&STANDARD, &body), check(tolerant), "{body}");
        assert_eq!(read(&STRICT, &body), check(strict), "strict: {body}");
    }
}
