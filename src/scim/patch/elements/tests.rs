use serde_json::json;

use crate::scim::error::ErrorKind::{InvalidFilter, InvalidValue, NoTarget};
use crate::scim::patch::apply::tests::patched;
use crate::scim::policy::{STANDARD, STRICT};

#[test]
fn emails() {
    let work = json!({ "value": "w@x", "type": "work", "primary": true });
    let home = json!({ "value": "h@x", "type": "home" });
    let user = json!({ "userName": "a", "emails": [work, home] });
    let unmarked = json!({ "value": "w@x", "type": "work", "primary": false });
    let is = |elements: &[&serde_json::Value]| Ok(json!(elements));
    let same = is(&[&work, &home]);
    let new = json!({ "value": "n@x" });
    let other = json!({ "type": "other", "value": "n@x" });
    let op =
        |op: &str, path: &str, value: serde_json::Value| json!({ "op": op, "path": path, "value": value });
    let gone = |path: &str| json!({ "op": "remove", "path": path });
    for (operation, tolerant, strict) in [
        // add (RFC 7644 §3.5.2.1)
        (op("add", "emails", json!([new])), is(&[&work, &home, &new]), is(&[&work, &home, &new])),
        (op("add", "emails", json!([new, new])), is(&[&work, &home, &new]), is(&[&work, &home, &new])),
        (op("add", "emails", new.clone()), is(&[&work, &home, &new]), is(&[&work, &home, &new])),
        (op("add", "emails", json!("n@x")), is(&[&work, &home, &new]), Err(InvalidValue)),
        (op("add", "emails", json!(["n@x"])), is(&[&work, &home, &new]), Err(InvalidValue)),
        (op("replace", "emails", new.clone()), is(&[&new]), Err(InvalidValue)),
        (op("replace", "emails", json!("n@x")), Err(InvalidValue), Err(InvalidValue)),
        // The same value and type by the schema, whatever the case (RFC 7643 §2.4).
        (
            op("add", "emails", json!([{ "value": "W@X", "type": "Work", "display": "W" }])),
            is(&[&json!({ "value": "w@x", "type": "work", "primary": true, "display": "W" }), &home]),
            is(&[&json!({ "value": "w@x", "type": "work", "primary": true, "display": "W" }), &home]),
        ),
        (
            op("add", "emails", json!([{ "value": "H@x", "type": "home", "primary": false }])),
            is(&[&work, &json!({ "value": "h@x", "type": "home", "primary": false })]),
            is(&[&work, &json!({ "value": "h@x", "type": "home", "primary": false })]),
        ),
        (
            op(
                "replace",
                "emails[type eq \"home\"]",
                json!({ "value": "W@x", "type": "WORK", "display": "D" }),
            ),
            is(&[&json!({ "value": "w@x", "type": "work", "primary": true, "display": "D" })]),
            is(&[&json!({ "value": "w@x", "type": "work", "primary": true, "display": "D" })]),
        ),
        (op("add", "emails", json!([home, work])), same.clone(), same.clone()),
        (op("add", "emails", json!(null)), same.clone(), same.clone()),
        (
            op("add", "emails", json!([{ "value": "n@x", "primary": true }])),
            is(&[&unmarked, &home, &json!({ "value": "n@x", "primary": true })]),
            is(&[&unmarked, &home, &json!({ "value": "n@x", "primary": true })]),
        ),
        (
            op("add", "emails", json!([{ "value": "h@x", "type": "home", "display": "H" }])),
            is(&[&work, &json!({ "value": "h@x", "type": "home", "display": "H" })]),
            is(&[&work, &json!({ "value": "h@x", "type": "home", "display": "H" })]),
        ),
        (
            op(
                "add",
                "emails",
                json!([{ "value": "1", "primary": true }, { "value": "2", "primary": true }]),
            ),
            Err(InvalidValue),
            Err(InvalidValue),
        ),
        (
            op("add", "emails[type eq \"other\"].value", json!("n@x")),
            is(&[&work, &home, &other]),
            is(&[&work, &home, &other]),
        ),
        (
            op("add", "emails[type eq \"other\"]", new.clone()),
            is(&[&work, &home, &other]),
            is(&[&work, &home, &other]),
        ),
        (
            op("add", "emails[type eq \"home\"]", json!({ "display": "H" })),
            is(&[&work, &json!({ "value": "h@x", "type": "home", "display": "H" })]),
            is(&[&work, &json!({ "value": "h@x", "type": "home", "display": "H" })]),
        ),
        (
            op("add", "emails[type eq \"other\" or type eq \"fax\"].value", json!("n@x")),
            Err(NoTarget),
            Err(NoTarget),
        ),
        // replace (RFC 7644 §3.5.2.3)
        (op("replace", "emails", json!([new])), is(&[&new]), is(&[&new])),
        (op("replace", "emails", json!([])), Ok(json!(null)), Ok(json!(null))),
        (
            op("replace", "emails[type eq \"home\"].value", json!("n@x")),
            is(&[&work, &json!({ "value": "n@x", "type": "home" })]),
            is(&[&work, &json!({ "value": "n@x", "type": "home" })]),
        ),
        (
            op("replace", "emails[TYPE EQ \"HOME\"].value", json!("n@x")),
            is(&[&work, &json!({ "value": "n@x", "type": "home" })]),
            is(&[&work, &json!({ "value": "n@x", "type": "home" })]),
        ),
        (
            op("replace", "emails[type eq \"other\"].value", json!("n@x")),
            is(&[&work, &home, &other]),
            Err(NoTarget),
        ),
        (
            op("replace", "emails[type eq \"other\" and primary eq \"True\"].value", json!("n@x")),
            is(&[&unmarked, &home, &json!({ "type": "other", "primary": true, "value": "n@x" })]),
            Err(InvalidFilter),
        ),
        (
            op("replace", "emails[type eq \"home\"]", json!({ "value": "n@x" })),
            is(&[&work, &json!({ "type": "home", "value": "n@x" })]),
            is(&[&work, &new]),
        ),
        (op("replace", "emails[type eq \"home\"]", json!(null)), is(&[&work]), is(&[&work])),
        // remove: of those that the filter selects, only what is listed goes.
        (op("remove", "emails[value pr]", json!([{ "value": "H@X" }])), is(&[&work]), is(&[&work])),
        (op("remove", "emails[value pr]", json!({ "type": "HOME" })), is(&[&work]), is(&[&work])),
        (op("remove", "emails[type eq \"home\"]", json!([{ "value": "w@x" }])), same.clone(), same.clone()),
        (op("remove", "emails[type eq \"home\"]", json!([])), is(&[&work]), is(&[&work])),
        (
            op("remove", "emails.type", json!(["HOME"])),
            is(&[&work, &json!({ "value": "h@x" })]),
            is(&[&work, &json!({ "value": "h@x" })]),
        ),
        (
            op("remove", "emails[type eq \"home\"].type", json!("other")),
            is(&[&work, &json!({ "value": "h@x" })]),
            is(&[&work, &json!({ "value": "h@x" })]),
        ),
        (
            op("replace", "emails[type eq \"home\"].type", json!(null)),
            is(&[&work, &json!({ "value": "h@x" })]),
            is(&[&work, &json!({ "value": "h@x" })]),
        ),
        (
            op("replace", "emails[type eq \"home\"].primary", json!(true)),
            is(&[&unmarked, &json!({ "value": "h@x", "type": "home", "primary": true })]),
            is(&[&unmarked, &json!({ "value": "h@x", "type": "home", "primary": true })]),
        ),
        (op("replace", "emails[type pr].primary", json!(true)), Err(InvalidValue), Err(InvalidValue)),
        (
            op("replace", "emails[primary eq true].value", json!("n@x")),
            is(&[&json!({ "value": "n@x", "type": "work", "primary": true }), &home]),
            is(&[&json!({ "value": "n@x", "type": "work", "primary": true }), &home]),
        ),
        (
            op("replace", "emails.display", json!("D")),
            is(&[
                &json!({ "value": "w@x", "type": "work", "primary": true, "display": "D" }),
                &json!({ "value": "h@x", "type": "home", "display": "D" }),
            ]),
            is(&[
                &json!({ "value": "w@x", "type": "work", "primary": true, "display": "D" }),
                &json!({ "value": "h@x", "type": "home", "display": "D" }),
            ]),
        ),
        (op("replace", "phoneNumbers[type eq \"mobile\"].value", json!("1")), same.clone(), Err(NoTarget)),
        (op("replace", "emails[type eq \"home\"].value", json!(1)), Err(InvalidValue), Err(InvalidValue)),
        (
            op("replace", "emails[type eq \"home\"]", json!("n@x")),
            is(&[&work, &json!({ "type": "home", "value": "n@x" })]),
            Err(InvalidValue),
        ),
        // remove (RFC 7644 §3.5.2.2)
        (gone("emails"), Ok(json!(null)), Ok(json!(null))),
        (gone("emails[type eq \"home\"]"), is(&[&work]), is(&[&work])),
        (gone("emails[type eq \"home\" and value co \"h@\"]"), is(&[&work]), is(&[&work])),
        (gone("emails[type eq \"fax\"]"), same.clone(), Err(NoTarget)),
        (
            gone("emails[type eq \"home\"].type"),
            is(&[&work, &json!({ "value": "h@x" })]),
            is(&[&work, &json!({ "value": "h@x" })]),
        ),
        (
            gone("emails.type"),
            is(&[&json!({ "value": "w@x", "primary": true }), &json!({ "value": "h@x" })]),
            is(&[&json!({ "value": "w@x", "primary": true }), &json!({ "value": "h@x" })]),
        ),
        (op("remove", "emails", json!([{ "value": "h@x" }])), is(&[&work]), is(&[&work])),
        (op("remove", "emails", json!("h@x")), is(&[&work]), Err(InvalidValue)),
        (op("remove", "emails", json!([{}])), same.clone(), same.clone()),
    ] {
        let key = if operation["path"].as_str().is_some_and(|path| path.starts_with("phone")) {
            "phoneNumbers"
        } else {
            "emails"
        };
        let created = Ok(json!([{ "type": "mobile", "value": "1" }]));
        let tolerant = if key == "phoneNumbers" { created } else { tolerant };
        let operations = json!([operation]);
        assert_eq!(patched(&STANDARD, &user, &operations, key), tolerant, "{operation}");
        assert_eq!(patched(&STRICT, &user, &operations, key), strict, "strict: {operation}");
    }
}

#[test]
fn the_first_element() {
    let user = json!({ "userName": "a" });
    for (path, value, key, expected) in [
        ("emails.value", json!("a@x"), "emails", json!([{ "value": "a@x" }])),
        (
            "addresses[type eq \"work\"].formatted",
            json!("Street 1"),
            "addresses",
            json!([{ "type": "work", "formatted": "Street 1" }]),
        ),
        (
            "roles[primary eq \"True\"].value",
            json!("admin"),
            "roles",
            json!([{ "primary": true, "value": "admin" }]),
        ),
    ] {
        for op in ["Add", "Replace"] {
            let operations = json!([{ "op": op, "path": path, "value": value }]);
            assert_eq!(patched(&STANDARD, &user, &operations, key), Ok(expected.clone()), "{operations}");
            let pathless = json!([{ "op": op, "value": { path: value } }]);
            assert_eq!(patched(&STANDARD, &user, &pathless, key), Ok(expected.clone()), "{pathless}");
        }
    }
}

#[test]
fn figures_of_the_rfc() {
    let address =
        json!({ "type": "work", "streetAddress": "911 Universal City Plaza", "locality": "Hollywood" });
    let user =
        json!({ "userName": "b", "addresses": [{ "type": "work", "locality": "L", "country": "US" }] });
    for policy in [&STANDARD, &STRICT] {
        let operations =
            json!([{ "op": "replace", "path": "addresses[type eq \"work\"]", "value": address }]);
        assert_eq!(patched(policy, &user, &operations, "addresses"), Ok(json!([address])));
        let operations = json!([
            { "op": "replace", "path": "addresses[type eq \"work\"].streetAddress", "value": "1010 Broadway Ave" }
        ]);
        let expected = json!([{ "type": "work", "locality": "L", "country": "US", "streetAddress": "1010 Broadway Ave" }]);
        assert_eq!(patched(policy, &user, &operations, "addresses"), Ok(expected));
        let mixed = json!([
            { "op": "remove", "path": "addresses[type eq \"work\"]" },
            { "op": "add", "path": "addresses", "value": [{ "type": "home", "locality": "M" }] },
        ]);
        let expected = json!([{ "type": "home", "locality": "M" }]);
        assert_eq!(patched(policy, &user, &mixed, "addresses"), Ok(expected));
    }
}
