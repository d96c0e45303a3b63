use serde_json::{Value, json};

use crate::scim::error::ErrorKind::{self, InvalidFilter, InvalidValue, NoTarget};
use crate::scim::patch::apply::tests::patched;
use crate::scim::policy::{STANDARD, STRICT};

type Outcome = Result<Value, ErrorKind>;

fn work() -> Value {
    json!({ "value": "w@x", "type": "work", "primary": true })
}

/// [`work`], after another email has become the primary one.
fn unmarked() -> Value {
    json!({ "value": "w@x", "type": "work", "primary": false })
}

fn home() -> Value {
    json!({ "value": "h@x", "type": "home" })
}

fn new() -> Value {
    json!({ "value": "n@x" })
}

fn other() -> Value {
    json!({ "type": "other", "value": "n@x" })
}

fn is(elements: &[&Value]) -> Outcome {
    Ok(json!(elements))
}

fn same() -> Outcome {
    is(&[&work(), &home()])
}

fn op(op: &str, path: &str, value: Value) -> Value {
    json!({ "op": op, "path": path, "value": value })
}

fn gone(path: &str) -> Value {
    json!({ "op": "remove", "path": path })
}

/// An operation on a user with the emails [`work`] and [`home`], and the emails afterwards under [`STANDARD`] and
/// under [`STRICT`].
fn assert_emails<const N: usize>(rows: [(Value, Outcome, Outcome); N]) {
    let user = json!({ "userName": "a", "emails": [work(), home()] });
    for (operation, tolerant, strict) in rows {
        let operations = json!([operation]);
        assert_eq!(patched(&STANDARD, &user, &operations, "emails"), tolerant, "{operation}");
        assert_eq!(patched(&STRICT, &user, &operations, "emails"), strict, "strict: {operation}");
    }
}

/// RFC 7644 §3.5.2.1.
#[test]
fn emails_are_added() {
    assert_emails([
        (
            op("add", "emails", json!([new()])),
            is(&[&work(), &home(), &new()]),
            is(&[&work(), &home(), &new()]),
        ),
        (
            op("add", "emails", json!([new(), new()])),
            is(&[&work(), &home(), &new()]),
            is(&[&work(), &home(), &new()]),
        ),
        (op("add", "emails", new()), is(&[&work(), &home(), &new()]), is(&[&work(), &home(), &new()])),
        (op("add", "emails", json!("n@x")), is(&[&work(), &home(), &new()]), Err(InvalidValue)),
        (op("add", "emails", json!(["n@x"])), is(&[&work(), &home(), &new()]), Err(InvalidValue)),
        (op("replace", "emails", new()), is(&[&new()]), Err(InvalidValue)),
        (op("replace", "emails", json!("n@x")), Err(InvalidValue), Err(InvalidValue)),
    ]);
}

/// RFC 7643 §2.4.
#[test]
fn equal_emails_become_one() {
    assert_emails([
        // By the schema, letter case does not count.
        (
            op("add", "emails", json!([{ "value": "W@X", "type": "Work", "display": "W" }])),
            is(&[&json!({ "value": "w@x", "type": "work", "primary": true, "display": "W" }), &home()]),
            is(&[&json!({ "value": "w@x", "type": "work", "primary": true, "display": "W" }), &home()]),
        ),
        (
            op("add", "emails", json!([{ "value": "H@x", "type": "home", "primary": false }])),
            is(&[&work(), &json!({ "value": "h@x", "type": "home", "primary": false })]),
            is(&[&work(), &json!({ "value": "h@x", "type": "home", "primary": false })]),
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
        (op("add", "emails", json!([home(), work()])), same(), same()),
        (op("add", "emails", json!(null)), same(), same()),
    ]);
}

#[test]
fn added_emails_may_be_primary() {
    assert_emails([
        (
            op("add", "emails", json!([{ "value": "n@x", "primary": true }])),
            is(&[&unmarked(), &home(), &json!({ "value": "n@x", "primary": true })]),
            is(&[&unmarked(), &home(), &json!({ "value": "n@x", "primary": true })]),
        ),
        (
            op("add", "emails", json!([{ "value": "h@x", "type": "home", "display": "H" }])),
            is(&[&work(), &json!({ "value": "h@x", "type": "home", "display": "H" })]),
            is(&[&work(), &json!({ "value": "h@x", "type": "home", "display": "H" })]),
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
    ]);
}

#[test]
fn emails_are_added_by_a_filter() {
    assert_emails([
        (
            op("add", "emails[type eq \"other\"].value", json!("n@x")),
            is(&[&work(), &home(), &other()]),
            is(&[&work(), &home(), &other()]),
        ),
        (
            op("add", "emails[type eq \"other\"]", new()),
            is(&[&work(), &home(), &other()]),
            is(&[&work(), &home(), &other()]),
        ),
        (
            op("add", "emails[type eq \"home\"]", json!({ "display": "H" })),
            is(&[&work(), &json!({ "value": "h@x", "type": "home", "display": "H" })]),
            is(&[&work(), &json!({ "value": "h@x", "type": "home", "display": "H" })]),
        ),
        (
            op("add", "emails[type eq \"other\" or type eq \"fax\"].value", json!("n@x")),
            Err(NoTarget),
            Err(NoTarget),
        ),
    ]);
}

/// RFC 7644 §3.5.2.3.
#[test]
fn emails_are_replaced() {
    assert_emails([
        (op("replace", "emails", json!([new()])), is(&[&new()]), is(&[&new()])),
        (op("replace", "emails", json!([])), Ok(json!(null)), Ok(json!(null))),
        (
            op("replace", "emails[type eq \"home\"].value", json!("n@x")),
            is(&[&work(), &json!({ "value": "n@x", "type": "home" })]),
            is(&[&work(), &json!({ "value": "n@x", "type": "home" })]),
        ),
        (
            op("replace", "emails[TYPE EQ \"HOME\"].value", json!("n@x")),
            is(&[&work(), &json!({ "value": "n@x", "type": "home" })]),
            is(&[&work(), &json!({ "value": "n@x", "type": "home" })]),
        ),
        (
            op("replace", "emails[type eq \"other\"].value", json!("n@x")),
            is(&[&work(), &home(), &other()]),
            Err(NoTarget),
        ),
        (
            op("replace", "emails[type eq \"other\" and primary eq \"True\"].value", json!("n@x")),
            is(&[&unmarked(), &home(), &json!({ "type": "other", "primary": true, "value": "n@x" })]),
            Err(InvalidFilter),
        ),
        (
            op("replace", "emails[type eq \"home\"]", json!({ "value": "n@x" })),
            is(&[&work(), &json!({ "type": "home", "value": "n@x" })]),
            is(&[&work(), &new()]),
        ),
        (op("replace", "emails[type eq \"home\"]", json!(null)), is(&[&work()]), is(&[&work()])),
    ]);
}

#[test]
fn of_the_selected_emails_the_listed_are_removed() {
    assert_emails([
        // remove: of those that the filter selects, only what is listed goes.
        (op("remove", "emails[value pr]", json!([{ "value": "H@X" }])), is(&[&work()]), is(&[&work()])),
        (op("remove", "emails[value pr]", json!({ "type": "HOME" })), is(&[&work()]), is(&[&work()])),
        (op("remove", "emails[type eq \"home\"]", json!([{ "value": "w@x" }])), same(), same()),
        (op("remove", "emails[type eq \"home\"]", json!([])), is(&[&work()]), is(&[&work()])),
        (
            op("remove", "emails.type", json!(["HOME"])),
            is(&[&work(), &json!({ "value": "h@x" })]),
            is(&[&work(), &json!({ "value": "h@x" })]),
        ),
        (
            op("remove", "emails[type eq \"home\"].type", json!("other")),
            is(&[&work(), &json!({ "value": "h@x" })]),
            is(&[&work(), &json!({ "value": "h@x" })]),
        ),
    ]);
}

#[test]
fn parts_of_emails_are_replaced() {
    assert_emails([
        (
            op("replace", "emails[type eq \"home\"].type", json!(null)),
            is(&[&work(), &json!({ "value": "h@x" })]),
            is(&[&work(), &json!({ "value": "h@x" })]),
        ),
        (
            op("replace", "emails[type eq \"home\"].primary", json!(true)),
            is(&[&unmarked(), &json!({ "value": "h@x", "type": "home", "primary": true })]),
            is(&[&unmarked(), &json!({ "value": "h@x", "type": "home", "primary": true })]),
        ),
        (op("replace", "emails[type pr].primary", json!(true)), Err(InvalidValue), Err(InvalidValue)),
        (
            op("replace", "emails[primary eq true].value", json!("n@x")),
            is(&[&json!({ "value": "n@x", "type": "work", "primary": true }), &home()]),
            is(&[&json!({ "value": "n@x", "type": "work", "primary": true }), &home()]),
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
        (op("replace", "emails[type eq \"home\"].value", json!(1)), Err(InvalidValue), Err(InvalidValue)),
        (
            op("replace", "emails[type eq \"home\"]", json!("n@x")),
            is(&[&work(), &json!({ "type": "home", "value": "n@x" })]),
            Err(InvalidValue),
        ),
    ]);
}

/// RFC 7644 §3.5.2.2.
#[test]
fn emails_are_removed() {
    assert_emails([
        (gone("emails"), Ok(json!(null)), Ok(json!(null))),
        (gone("emails[type eq \"home\"]"), is(&[&work()]), is(&[&work()])),
        (gone("emails[type eq \"home\" and value co \"h@\"]"), is(&[&work()]), is(&[&work()])),
        (gone("emails[type eq \"fax\"]"), same(), Err(NoTarget)),
        (
            gone("emails[type eq \"home\"].type"),
            is(&[&work(), &json!({ "value": "h@x" })]),
            is(&[&work(), &json!({ "value": "h@x" })]),
        ),
        (
            gone("emails.type"),
            is(&[&json!({ "value": "w@x", "primary": true }), &json!({ "value": "h@x" })]),
            is(&[&json!({ "value": "w@x", "primary": true }), &json!({ "value": "h@x" })]),
        ),
        (op("remove", "emails", json!([{ "value": "h@x" }])), is(&[&work()]), is(&[&work()])),
        (op("remove", "emails", json!("h@x")), is(&[&work()]), Err(InvalidValue)),
        (op("remove", "emails", json!([{}])), same(), same()),
    ]);
}

#[test]
fn a_filter_on_no_elements_makes_one_under_tolerance() {
    let user = json!({ "userName": "a", "emails": [work()] });
    let operations = json!([op("replace", "phoneNumbers[type eq \"mobile\"].value", json!("1"))]);
    let made = Ok(json!([{ "type": "mobile", "value": "1" }]));
    assert_eq!(patched(&STANDARD, &user, &operations, "phoneNumbers"), made);
    assert_eq!(patched(&STRICT, &user, &operations, "phoneNumbers"), Err(NoTarget));
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

/// An address that is there is not added again, with or without `primary` (RFC 7643 §2.4, RFC 7644 §3.5.2.1). It has no
/// `value`, so all its other sub-attributes tell it apart.
#[test]
fn equal_elements_without_value_become_one() {
    let work = || json!({ "type": "work", "locality": "L", "primary": true });
    let unmarked = || json!({ "type": "work", "locality": "L", "primary": false });
    let home = || json!({ "type": "home", "locality": "L" });
    let marked = || json!({ "type": "home", "locality": "L", "primary": true });
    let new = || json!({ "type": "other", "locality": "N", "primary": true });
    let user = json!({ "userName": "a", "addresses": [work(), home()] });
    let same = || json!([work(), home()]);
    let at_home = "addresses[type eq \"home\"]";
    for (operations, expected) in [
        (json!([op("add", "addresses", json!([work()]))]), same()),
        (json!([op("add", "addresses", work())]), same()),
        (json!([{ "op": "add", "value": { "addresses": [work()] } }]), same()),
        (json!([op("add", "addresses", json!([work()])), op("add", "addresses", json!([work()]))]), same()),
        (json!([op("add", "addresses", json!([work(), work()]))]), same()),
        (json!([op("add", "addresses", json!([home(), work()]))]), same()),
        // What the element leaves out of `primary` stays, and letter case does not count.
        (json!([op("add", "addresses", json!([{ "type": "WORK", "locality": "l" }]))]), same()),
        (
            json!([op("add", "addresses", json!([{ "type": "home", "locality": "L", "primary": false }]))]),
            same(),
        ),
        (json!([op("add", "addresses", json!([unmarked()]))]), json!([unmarked(), home()])),
        // The mark moves to an element that is there.
        (json!([op("add", "addresses", json!([marked()]))]), json!([unmarked(), marked()])),
        (json!([op("add", "addresses", json!([work(), marked()]))]), json!(null)),
        (
            json!([op("add", "addresses", json!([{ "type": "work", "locality": "L" }, marked()]))]),
            json!([unmarked(), marked()]),
        ),
        (json!([op("add", "addresses", json!([home(), marked()]))]), json!([unmarked(), marked()])),
        (json!([op("add", "addresses", json!([new()]))]), json!([unmarked(), home(), new()])),
        (
            json!([op("add", "addresses", json!([new()])), op("add", "addresses", json!([work()]))]),
            json!([work(), home(), { "type": "other", "locality": "N", "primary": false }]),
        ),
        // An element becomes equal to another one.
        (json!([op("replace", at_home, work())]), json!([work()])),
        (json!([op("replace", &format!("{at_home}.type"), json!("work"))]), json!([work()])),
        (json!([op("add", "addresses[locality eq \"M\"]", work())]), same()),
        (
            json!([op("replace", "addresses", json!([work(), { "type": "work", "locality": "L" }]))]),
            json!([work()]),
        ),
    ] {
        for policy in [&STANDARD, &STRICT] {
            let found = patched(policy, &user, &operations, "addresses");
            let expected = if expected.is_null() { Err(InvalidValue) } else { Ok(expected.clone()) };
            assert_eq!(found, expected, "{} {operations}", policy.name);
        }
    }
}
