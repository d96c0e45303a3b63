//! Bodies that are made to be expensive: each is done within the request's budget, or refused. What
//! is counted is steps, never time.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::apply::apply;
use super::members::MemberChange;
use super::request::parse;
use crate::limits::MAX_STEPS_PER_REQUEST;
use crate::scim::error::{ErrorKind, ScimError};
use crate::scim::members::Member;
use crate::scim::policy::STANDARD;
use crate::scim::resource_type::{Kind, Model};
use crate::scim::schema::Schema;
use crate::scim::urn::{PATCH_OP, USER};
use crate::scim::validate;
use crate::scim::work::WorkBudget;

const URN: &str = "urn:x:2.0:User";

fn model() -> Model {
    let schema: Schema = serde_json::from_value(json!({ "id": URN, "name": "X", "attributes": [
        { "name": "sites", "type": "complex", "multiValued": true, "subAttributes": [
            { "name": "value", "type": "string", "multiValued": false },
            { "name": "tags", "type": "string", "multiValued": true },
        ] },
        { "name": "codes", "type": "string", "multiValued": true },
    ] }))
    .expect("a schema");
    Model::new(&STANDARD, &[(Kind::User, schema)]).expect("a model")
}

/// Whether the bodies have the size that a client could give them, and the test prints what they take:
/// `cargo test --release … bounds -- --nocapture`.
const IS_MEASURED: bool = !cfg!(debug_assertions);

/// Bodies that must be refused are so much smaller than a client could make them, and the budget with them.
const SCALE: usize = if IS_MEASURED { 1 } else { 50 };

/// The steps that a PATCH takes.
fn steps(user: &Value, operations: Vec<Value>) -> Result<u64, ErrorKind> {
    let work = WorkBudget::of_body();
    patched(user, operations, &work)?;
    Ok(MAX_STEPS_PER_REQUEST - work.left())
}

/// Whether a PATCH of `count` operations is refused for the work that it would cause.
fn is_refused(user: &Value, count: usize, operation: impl Fn(usize) -> Value) -> bool {
    let work = WorkBudget::new(MAX_STEPS_PER_REQUEST / SCALE as u64, ErrorKind::PayloadTooLarge);
    let operations = repeat(count.div_ceil(SCALE), operation);
    patched(user, operations, &work) == Err(ErrorKind::PayloadTooLarge) && work.left() == 0
}

fn patched(user: &Value, operations: Vec<Value>, work: &WorkBudget) -> Result<(), ErrorKind> {
    let model = model();
    let users = model.of(Kind::User);
    let body = json!({ "schemas": [PATCH_OP], "Operations": operations });
    let mut user = user.as_object().cloned().expect("an object");
    let before = work.left();
    let began = std::time::Instant::now();
    let done = parse(body.as_object().expect("an object"), users, &STANDARD, &WorkBudget::of_body())
        .and_then(|steps| apply(&mut user, &steps, users, &STANDARD, work))
        .map_err(|error: ScimError| error.kind);
    if IS_MEASURED {
        println!("{:>9} steps in {:>5} ms: {done:?}", before - work.left(), began.elapsed().as_millis());
    }
    done
}

fn elements(count: usize, make: impl Fn(usize) -> Value) -> Value {
    (0..count).map(make).collect()
}

fn roles(count: usize) -> Value {
    json!({ "userName": "a", "roles": elements(count, |n| json!({ "value": format!("role-{n:05}"), "type": "t" })) })
}

fn repeat(count: usize, make: impl Fn(usize) -> Value) -> Vec<Value> {
    (0..count).map(make).collect()
}

#[test]
fn many_operations_on_many_elements() {
    let user = roles(5000);
    let one = |n: usize| json!({ "op": "replace", "path": format!("roles[value eq \"role-{:05}\"].display", n % 5000), "value": "D" });
    assert!(is_refused(&user, 10_000, one));
    assert!(steps(&user, repeat(100, one)).is_ok_and(|steps| steps < 5_000_000));
    // Where there are few elements, as many operations as a request may hold are done.
    let few = |n: usize| one(n % 50);
    assert!(steps(&roles(50), repeat(2_000, few)).is_ok());
    let add = |n: usize| json!({ "op": "add", "path": "roles", "value": [{ "value": format!("new-{n}") }] });
    assert_eq!(steps(&roles(4990), repeat(10_000, add)), Err(ErrorKind::InvalidValue));
    let same = |n: usize| json!({ "op": "add", "path": "roles", "value": [{ "value": format!("role-{:05}", n % 5000), "type": "T" }] });
    assert!(steps(&user, repeat(100, same)).is_ok());
    let all = |_: usize| json!({ "op": "replace", "path": "roles.display", "value": "D" });
    assert!(is_refused(&user, 10_000, all));
    assert!(steps(&user, repeat(5, all)).is_ok());
    let primary = |n: usize| json!({ "op": "replace", "path": format!("roles[value eq \"role-{:05}\"].primary", n % 5000), "value": true });
    assert!(is_refused(&user, 10_000, primary));
    let thin = |n: usize| json!({ "op": "remove", "path": if n.is_multiple_of(2) { "roles.display" } else { "roles.type" } });
    assert!(is_refused(&user, 10_000, thin));
}

#[test]
fn many_terms() {
    let terms = |n: usize| {
        let terms: Vec<String> = (0..250).map(|t| format!("value eq \"x{n}-{t}\"")).collect();
        json!({ "op": "remove", "path": format!("roles[{}]", terms.join(" or ")) })
    };
    assert!(is_refused(&roles(5000), 300, terms));
    assert!(steps(&roles(20), repeat(100, terms)).is_ok());
}

#[test]
fn texts_that_grow_when_they_are_folded() {
    let long = "\u{fdfa}".repeat(20_000);
    let user = json!({ "userName": "a", "roles": elements(5, |n| json!({ "value": format!("{n}{long}") })) });
    let look = |n: usize| json!({ "op": "remove", "path": format!("roles[value eq \"{n}\"]") });
    assert!(is_refused(&user, 2_000, look));
    let add =
        |n: usize| json!({ "op": "add", "path": "roles", "value": { "value": format!("{}{long}", n % 5) } });
    assert!(is_refused(&user, 60, add));
}

/// One long text is compared with thousands of short ones. It is folded once.
#[test]
fn one_long_text_among_short_elements() {
    const ONCE: u64 = 3_000_000;
    let long = "\u{fdfa}".repeat(21_000);
    let takes = |user: &Value, operation: Value| {
        let steps = steps(user, vec![operation]);
        assert!(steps.is_ok_and(|steps| steps < ONCE), "{steps:?}");
    };
    let user = roles(4990);
    takes(&user, json!({ "op": "add", "path": "roles", "value": { "value": long, "type": "t" } }));
    takes(&user, json!({ "op": "add", "path": "roles", "value": [{ "value": long }, { "value": "a" }] }));
    takes(&user, json!({ "op": "replace", "path": "roles[value eq \"role-00001\"].value", "value": long }));
    // Without `value`, elements are the same if they are equal in everything.
    let user =
        json!({ "userName": "a", "addresses": elements(4999, |n| json!({ "locality": n.to_string() })) });
    takes(&user, json!({ "op": "add", "path": "addresses", "value": { "streetAddress": long } }));
    takes(
        &user,
        json!({ "op": "replace", "path": "addresses[locality eq \"1\"].streetAddress", "value": long }),
    );
    let user = json!({ "userName": "a", URN: { "codes": elements(4999, |n| json!(n.to_string())) } });
    takes(&user, json!({ "op": "add", "path": format!("{URN}:codes"), "value": long }));
    // As many as would take seconds are refused.
    let add = |n: usize| json!({ "op": "add", "path": "roles", "value": { "value": format!("{n}{long}"), "type": "t" } });
    assert!(is_refused(&roles(4000), 100, add));
}

/// POST, PUT and a `replace` of all elements fold what they bring, within the budget.
#[test]
fn bodies_of_texts_that_grow() {
    let long = "\u{fdfa}".repeat(20_000);
    let texts = |count: usize| elements(count, |n| json!({ "value": format!("{n}{long}") }));
    let model = model();
    let read = |count: usize| {
        let body = json!({ "schemas": [USER], "userName": "a", "roles": texts(count) });
        let work = WorkBudget::new(MAX_STEPS_PER_REQUEST / SCALE as u64, ErrorKind::PayloadTooLarge);
        let body = body.as_object().expect("an object");
        let refused = validate::read(body, model.of(Kind::User), &STANDARD, &work).err();
        (refused.map(|error| error.kind), work.left())
    };
    // A single element is compared with nothing.
    assert_eq!(read(1), (None, MAX_STEPS_PER_REQUEST / SCALE as u64));
    assert_eq!(read(64_usize.div_ceil(SCALE)), (Some(ErrorKind::PayloadTooLarge), 0));
    let replace = |_: usize| json!({ "op": "replace", "path": "roles", "value": texts(2) });
    let user = json!({ "userName": "a" });
    assert!(steps(&user, repeat(1, replace)).is_ok_and(|steps| steps > 1_500_000));
    assert!(is_refused(&user, 30, replace));
}

#[test]
fn lists_of_what_is_to_go() {
    let user = roles(5000);
    let list = |n: usize| json!({ "op": "remove", "path": "roles", "value": elements(5000, |m| json!({ "value": format!("x{n}-{m}") })) });
    assert!(steps(&user, repeat(5, list)).is_ok_and(|steps| steps < 1_000_000));
    // Every element of the list names other sub-attributes.
    let sites =
        json!({ "userName": "a", "addresses": elements(5000, |n| json!({ "locality": n.to_string() })) });
    let names = ["formatted", "streetAddress", "locality", "region", "postalCode", "country", "type"];
    let mixed = |n: usize| {
        let named = names.iter().enumerate().filter(|(bit, _)| (n + 1) >> bit & 1 == 1);
        Value::Object(named.map(|(_, name)| ((*name).to_owned(), json!(n.to_string()))).collect())
    };
    let list = |_: usize| json!({ "op": "remove", "path": "addresses", "value": elements(127, mixed) });
    assert!(steps(&sites, repeat(1, list)).is_ok());
    assert!(is_refused(&sites, 20, list));
    // The same value with ever other tags, of which none is there.
    let tags = |n: usize| json!({ "value": "s", "tags": [n.to_string(), "t"] });
    let tagged = json!({ "userName": "a", URN: { "sites": [tags(100_000)] } });
    let list =
        |_: usize| json!({ "op": "remove", "path": format!("{URN}:sites"), "value": elements(5000, tags) });
    assert!(steps(&tagged, repeat(2, list)).is_ok());
}

/// An operation that names nothing to remove does not look at the elements.
#[test]
fn lists_of_nothing() {
    let user = roles(5000);
    for value in [json!([]), json!([null]), json!([{ "shoe": 1 }])] {
        let none = |_: usize| json!({ "op": "remove", "path": "roles", "value": value });
        assert!(steps(&user, repeat(10_000, none)).is_ok_and(|steps| steps < 1_000_000), "{value}");
    }
}

#[test]
fn groups_that_are_named_again() {
    let groups = |count: usize| json!({ "userName": "a", "groups": elements(count, |n| json!({ "value": n.to_string() })) });
    let none = |_: usize| json!({ "op": "add", "path": "groups", "value": null });
    assert!(is_refused(&groups(1_000), 10_000, none));
    assert!(steps(&groups(1_000), repeat(100, none)).is_ok());
    assert!(steps(&groups(10), repeat(10_000, none)).is_ok());
}

#[test]
fn values_that_are_copied_into_every_element() {
    let user =
        json!({ "userName": "a", URN: { "sites": elements(5000, |n| json!({ "value": n.to_string() })) } });
    let text = "x".repeat(60_000);
    let copy = json!({ "op": "replace", "path": "roles.display", "value": text });
    assert_eq!(steps(&roles(5000), vec![copy.clone()]), Err(ErrorKind::InvalidValue));
    assert!(steps(&roles(1), vec![copy]).is_ok());
    let tag = |n: usize| json!({ "op": "add", "path": format!("{URN}:sites.tags"), "value": n.to_string() });
    assert!(is_refused(&user, 10_000, tag));
    let code = |n: usize| json!({ "op": "add", "path": format!("{URN}:codes"), "value": n.to_string() });
    assert!(steps(&json!({ "userName": "a" }), repeat(1_000, code)).is_ok());
}

#[test]
fn attributes_of_one_operation() {
    let many: Map<String, Value> =
        (0..20_000).map(|n| (format!("emails[type eq \"{n}\"].value"), json!("x"))).collect();
    let operations = vec![json!({ "op": "replace", "value": many })];
    assert_eq!(steps(&json!({ "userName": "a" }), operations), Err(ErrorKind::InvalidSyntax));
}

#[test]
fn members_that_filters_look_for() {
    let model = model();
    let groups = model.of(Kind::Group);
    let current: BTreeMap<String, Member> =
        (0..10_000).map(|n| (n.to_string(), Member::of_id(n.to_string()))).collect();
    for (count, good) in [(5, true), (1_000 / SCALE, false)] {
        let operations =
            repeat(count, |n| json!({ "op": "remove", "path": format!("members[display eq \"{n}\"]") }));
        let body = json!({ "schemas": [PATCH_OP], "Operations": operations });
        let steps = parse(body.as_object().expect("an object"), groups, &STANDARD, &WorkBudget::of_body())
            .expect("steps");
        let work = WorkBudget::new(MAX_STEPS_PER_REQUEST / SCALE as u64, ErrorKind::PayloadTooLarge);
        let began = std::time::Instant::now();
        let net = MemberChange::read(&steps, groups, &STANDARD, &work)
            .and_then(|change| change.net(&current, &BTreeMap::new(), &work));
        if IS_MEASURED {
            println!("{} steps left after {} ms", work.left(), began.elapsed().as_millis());
        }
        let expected = if good { None } else { Some(ErrorKind::PayloadTooLarge) };
        assert_eq!(net.err().map(|error| error.kind), expected);
    }
}
