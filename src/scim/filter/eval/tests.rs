use serde_json::json;

use super::*;
use crate::scim::attr_path::AttrPath;
use crate::scim::error::ErrorKind;
use crate::scim::filter::bind::{bind, bind_element};
use crate::scim::filter::parse::parse;
use crate::scim::policy::STANDARD;
use crate::scim::resource_type::{Kind, Model, Resolved};
use crate::scim::urn::ENTERPRISE_USER;

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().expect("an object")
}

fn check(resource: &Value, cases: &[(&str, bool)]) {
    let model = Model::new(&STANDARD, &[]).expect("a model");
    for (text, expected) in cases {
        let filter = parse(text).expect(text);
        let bound = bind(&filter, model.of(Kind::User), &[], false).expect(text);
        let found = bound.matches(object(resource), &WorkBudget::of_query());
        assert_eq!(found, Ok(*expected), "{text}");
    }
}

#[test]
fn texts() {
    let user = json!({
        "id": "aB", "userName": "BJensen", "displayName": "Straße É", "title": "", "nickName": null,
        "profileUrl": "https://X/a",
    });
    check(
        &user,
        &[
            (r#"userName eq "bjENSEN""#, true),
            (r#"userName eq "bjensen ""#, false),
            (r#"userName ne "bjensen""#, false),
            (r#"userName ne "x""#, true),
            (r#"userName co "JEN""#, true),
            (r#"userName co """#, true),
            (r#"userName co "jem""#, false),
            (r#"userName co "bjensenbjensen""#, false),
            (r#"userName sw "bJ""#, true),
            (r#"userName ew "SEN""#, true),
            (r#"userName ew "xxbjensen""#, false),
            (r#"userName gt "BJENSEM""#, true),
            (r#"userName gt "bjensen""#, false),
            (r#"userName ge "bjensen""#, true),
            (r#"userName lt "BJENSENS""#, true),
            (r#"userName le "a""#, false),
            (r#"displayName eq "STRASSE é""#, true),
            (r#"displayName co "SSE""#, true),
            (r#"displayName ew "é""#, true),
            (r#"displayName sw "é""#, false),
            (r#"id eq "aB""#, true),
            (r#"id eq "ab""#, false),
            (r#"id sw "a""#, true),
            (r#"id ew "b""#, false),
            (r#"profileUrl co "x""#, false),
            ("title pr", false),
            (r#"title eq """#, true),
            ("nickName pr", false),
            ("nickName eq null", true),
            (r#"nickName ne "x""#, true),
            (r#"locale ne "x""#, true),
            (r#"locale eq "x""#, false),
            (r#"locale lt "x""#, false),
            ("locale ne null", false),
            (r#"not (locale eq "x")"#, true),
            (r#"userName pr and (title pr or id pr)"#, true),
            (r#"userName pr and title pr or nickName pr"#, false),
        ],
    );
    let long = json!({ "displayName": "a".repeat(300) + "B" });
    check(&long, &[(r#"displayName co "AB""#, true), (r#"displayName co "ba""#, false)]);
}

#[test]
fn several_values() {
    let user = json!({
        "schemas": ["urn:a", "urn:b"],
        "emails": [
            { "value": "a@Work", "type": "work", "primary": true },
            { "value": "a@home", "type": "home" },
            { "value": "a@none", "primary": false },
        ],
        "addresses": [{ "region": "" }],
        "phoneNumbers": [],
        "name": { "givenName": "Al" },
    });
    check(
        &user,
        &[
            (r#"emails co "HOME""#, true),
            (r#"emails.value eq "a@work""#, true),
            (r#"emails.type eq "work" and emails.value eq "a@home""#, true),
            (r#"emails[type eq "work" and value eq "a@home"]"#, false),
            (r#"emails[type eq "work" and value eq "a@work"]"#, true),
            (r#"emails[type eq "work"].value eq "a@work""#, true),
            (r#"emails[not (type pr)]"#, true),
            (r#"emails[type ne "work" and type ne "home"]"#, true),
            (r#"emails.type ne "work""#, true),
            (r#"not (emails.type eq "work")"#, false),
            (r#"emails[primary eq null and value sw "a"]"#, true),
            ("emails.primary eq false", true),
            ("emails[primary ne true and value eq \"a@work\"]", false),
            ("emails pr", true),
            ("emails eq null", false),
            ("addresses pr", false),
            ("phoneNumbers pr", false),
            (r#"phoneNumbers ne "1""#, true),
            (r#"phoneNumbers[value ne "1"]"#, false),
            (r#"schemas eq "urn:b""#, true),
            (r#"schemas eq "URN:b""#, false),
            (r#"name[givenName eq "al"]"#, true),
            (r#"name.givenName eq "al""#, true),
            ("name pr", true),
            ("name.familyName pr", false),
        ],
    );
}

#[test]
fn instants_booleans_and_extensions() {
    let user = json!({
        "active": false,
        "meta": { "created": "2024-01-01T00:00:00.000Z", "lastModified": "2024-01-01T01:00:00+02:00" },
        ENTERPRISE_USER: { "department": "D", "manager": { "value": "M" } },
    });
    let extension = |rest: &str| format!("{ENTERPRISE_USER}{rest}");
    check(
        &user,
        &[
            ("active eq false", true),
            ("active ne false", false),
            ("active ne true", true),
            ("active pr", true),
            (r#"meta.created eq "2024-01-01T00:00:00Z""#, true),
            (r#"meta.created gt "2023-12-31T23:59:59.999""#, true),
            (r#"meta.lastModified lt "2024-01-01T00:00:00Z""#, true),
            (r#"meta.lastModified ge "2024-01-01T00:00:00Z""#, false),
            (r#"meta.created sw "2024-""#, true),
            (&extension(r#":department eq "d""#), true),
            (&extension(r#":manager eq "M""#), true),
            (&extension(r#":manager.value eq "m""#), false),
            (&extension(r#":manager[value eq "M"]"#), true),
            (&extension(" pr"), true),
            ("urn:ietf:params:scim:schemas:extension:rollcall:2.0:User pr", false),
        ],
    );
    check(&json!({ ENTERPRISE_USER: {} }), &[(&extension(" pr"), false)]);
}

#[test]
fn any_json_is_answered() {
    for user in [
        json!({ "emails": { "value": "x" }, "active": "no", "meta": [1] }),
        json!({ "emails": "x", "active": 1, "meta": { "created": 1 } }),
        json!({ "emails": [[], null, { "value": ["x"] }], "active": "no", ENTERPRISE_USER: 3 }),
    ] {
        check(
            &user,
            &[
                (r#"emails.value eq "y""#, false),
                ("active eq true", false),
                ("active ne true", true),
                (r#"meta.created gt "2024-01-01T00:00:00Z""#, false),
                (&format!("{ENTERPRISE_USER}:department pr"), false),
            ],
        );
    }
    check(&json!({ "emails": { "value": "x" } }), &[(r#"emails[value eq "x"]"#, true)]);
}

#[test]
fn an_element_on_its_own() {
    let model = Model::new(&STANDARD, &[]).expect("a model");
    let groups = model.of(Kind::Group);
    let path = AttrPath::parse("members").expect("a path");
    let Some(Resolved::Attribute(members)) = groups.resolve(&path) else { unreachable!("members") };
    let work = WorkBudget::of_query();
    let filter = parse(r#"value eq "u" and type ne "Group""#).expect("a filter");
    let bound = bind_element(&filter, groups, members, true).expect("a filter on members");
    for (element, selected) in [
        (json!({ "value": "u", "type": "User" }), true),
        (json!({ "value": "u" }), true),
        (json!({ "value": "u", "type": "Group" }), false),
    ] {
        assert_eq!(bound.matches_element(&element, &work), Ok(selected), "{element}");
    }
    let other = parse("userName pr").expect("a filter");
    let error = bind_element(&other, groups, members, true).expect_err("not a member's");
    assert_eq!(error.detail, "No schema defines the attribute members.userName.");
}

#[test]
fn a_boolean_that_is_absent_counts_as_the_schema_says() {
    let user = json!({
        "emails": [{ "value": "a", "primary": true }, { "value": "b" }, { "value": "c", "primary": null }],
        "roles": [{ "value": "r" }],
    });
    check(
        &user,
        &[
            ("active eq true", true),
            ("active eq false", false),
            ("active ne true", false),
            ("active ne false", true),
            ("not (active eq false)", true),
            ("active pr", false),
            ("active eq null", true),
            ("roles.primary eq false", true),
            ("roles.primary eq true", false),
            ("roles.primary ne true", true),
            ("roles.primary ne false", false),
            ("roles.primary pr", false),
            ("roles[primary eq false]", true),
            ("roles[primary ne false]", false),
            ("roles[primary pr]", false),
            (r#"emails[primary eq false and value eq "b"]"#, true),
            (r#"emails[primary eq false and value eq "c"]"#, true),
            (r#"emails[primary eq false and value eq "a"]"#, false),
            (r#"emails[not (primary eq true) and value eq "a"]"#, false),
            ("phoneNumbers.primary eq false", false),
            ("phoneNumbers.primary ne false", true),
            ("phoneNumbers[primary eq false]", false),
        ],
    );
}

#[test]
fn a_text_that_many_terms_ask_about_is_folded_once() {
    let model = Model::new(&STANDARD, &[]).expect("a model");
    // Each character becomes eighteen.
    let user = json!({ "title": "\u{fdfa}".repeat(20_000) });
    let steps = |terms: usize| {
        let text = vec![r#"title co "x""#; terms].join(" or ");
        let bound = bind(&parse(&text).expect("a filter"), model.of(Kind::User), &[], false);
        let work = WorkBudget::of_query();
        assert_eq!(bound.expect("a filter").matches(object(&user), &work), Ok(false));
        WorkBudget::of_query().left() - work.left()
    };
    assert!(steps(256) < 2 * steps(1), "{} and {}", steps(1), steps(256));
    let bound = bind(&parse(r#"title co "x""#).expect("a filter"), model.of(Kind::User), &[], false);
    let little = WorkBudget::new(1_000, ErrorKind::TooMany);
    let refused = bound.expect("a filter").matches(object(&user), &little);
    assert_eq!(refused.map_err(|error| error.kind), Err(ErrorKind::TooMany));
}
