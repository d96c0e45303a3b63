//! What holds for every filter and every resource.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Number, Value};

use super::ast::{CompareOp, Filter};
use super::bind::{Bound, bind, bind_element};
use super::parse::parse;
use crate::scim::attr_path::AttrPath;
use crate::scim::patch::path::PatchPath;
use crate::scim::policy::STANDARD;
use crate::scim::resource_type::{Kind, Model, Resolved};
use crate::scim::sort;
use crate::scim::work::WorkBudget;

const NAMES: [&str; 14] = [
    "id",
    "userName",
    "active",
    "emails",
    "emails.value",
    "emails.primary",
    "name",
    "meta.created",
    "schemas",
    "value",
    "type",
    "primary",
    "not",
    "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager",
];

fn path() -> impl Strategy<Value = AttrPath> {
    prop_oneof![
        prop::sample::select(&NAMES[..]).prop_map(ToOwned::to_owned),
        "(urn:[a-z:0-9./]{0,8}:)?[a-zA-Z][a-zA-Z0-9_-]{0,6}([.]([a-z]{1,4}|[$]ref))?",
    ]
    .prop_filter_map("a path", |text| AttrPath::parse(&text).ok())
}

fn literal() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter_map("a number", Number::from_f64).prop_map(Value::Number),
        ".{0,8}".prop_map(Value::from),
        Just(Value::from("2024-01-01T00:00:00Z")),
    ]
}

fn term() -> impl Strategy<Value = Filter> {
    prop_oneof![
        path().prop_map(Filter::Present),
        (path(), prop::sample::select(&CompareOp::ALL[..]), literal())
            .prop_map(|(path, op, value)| Filter::Compare(path, op, value)),
    ]
}

fn tree(term: impl Strategy<Value = Filter> + 'static) -> impl Strategy<Value = Filter> {
    term.prop_recursive(5, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 2..4).prop_map(Filter::And),
            vec(inner.clone(), 2..4).prop_map(Filter::Or),
            inner.prop_map(|filter| Filter::Not(Box::new(filter))),
        ]
    })
}

fn filter() -> impl Strategy<Value = Filter> {
    let brackets =
        (path(), tree(term())).prop_map(|(path, filter)| Filter::ValuePath(path, Box::new(filter)));
    tree(prop_oneof![3 => term(), 1 => brackets])
}

/// A key that filters ask about, or another.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![6 => prop::sample::select(&NAMES[..]).prop_map(ToOwned::to_owned), 1 => "[a-z]{1,5}"]
}

/// JSON of any shape.
fn json() -> impl Strategy<Value = Value> {
    literal().prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::Array),
            vec((key(), inner), 0..4).prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

fn object() -> impl Strategy<Value = Map<String, Value>> {
    vec((key(), json()), 0..8).prop_map(|entries| entries.into_iter().collect())
}

/// Almost a filter.
fn noise() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        prop::sample::select(&NAMES[..]).prop_map(ToOwned::to_owned),
        prop::sample::select(
            &[
                "(", ")", "[", "]", " ", "\"", "\\", "\\u", ".", "not", "and", "or", "pr", "eq", "1", "-",
                "é", "\"x\""
            ][..]
        )
        .prop_map(ToOwned::to_owned),
        ".{0,3}",
    ];
    vec(token, 0..40).prop_map(|tokens| tokens.concat())
}

proptest! {
    #[test]
    fn what_is_printed_parses_back(filter in filter()) {
        let text = filter.to_string();
        prop_assert_eq!(parse(&text), Ok(filter), "{}", text);
    }

    #[test]
    fn patch_paths_parse_back(
        attribute in path(),
        filter in option::of(tree(term())),
        sub in option::of("[a-z]{1,5}"),
    ) {
        let sub = sub.filter(|_| filter.is_some());
        let path = PatchPath { attribute, filter, sub };
        let text = path.to_string();
        prop_assert_eq!(PatchPath::parse(&text), Ok(path), "{}", text);
    }

    #[test]
    fn every_text_is_answered(text in prop_oneof![".*", noise()]) {
        for error in [parse(&text).err(), PatchPath::parse(&text).err()].into_iter().flatten() {
            prop_assert!(error.at <= text.len(), "{error}");
        }
        if let Ok(filter) = parse(&text) {
            prop_assert_eq!(parse(&filter.to_string()), Ok(filter));
        }
    }

    #[test]
    fn every_resource_is_answered(filter in filter(), object in object()) {
        let model = Model::new(&STANDARD, &[]).expect("a model");
        let [users, groups] = model.types();
        if let Ok(bound) = bind(&filter, users, &[groups], true) {
            prop_assert!(bound.matches(&object, &WorkBudget::of_query()).is_ok());
            bound.equalities();
            bound.canonical();
        }
        let path = AttrPath::parse("emails").expect("a path");
        let Some(Resolved::Attribute(emails)) = users.resolve(&path) else { unreachable!("emails") };
        if let Ok(bound) = bind_element(&filter, users, emails, false) {
            let element = Value::Object(object.clone());
            prop_assert!(bound.matches_element(&element, &WorkBudget::of_query()).is_ok());
        }
        for name in NAMES {
            if let Ok(by) = sort::resolve(name, &model.types()) {
                let key = by.key("User", &object, &WorkBudget::of_query()).expect("little work");
                prop_assert_eq!(sort::SortKey::from_value(&key.to_value()), Some(key));
            }
        }
    }

    #[test]
    fn a_filter_or_its_opposite_selects(filter in filter(), object in object()) {
        let model = Model::new(&STANDARD, &[]).expect("a model");
        let opposite = Filter::Not(Box::new(filter.clone()));
        if let Ok(bound) = bind(&filter, model.of(Kind::User), &[], false) {
            let opposite = bind(&opposite, model.of(Kind::User), &[], false).expect("the opposite");
            let work = WorkBudget::of_query();
            let selects = |bound: &Bound| bound.matches(&object, &work).expect("little work");
            prop_assert_ne!(selects(&bound), selects(&opposite));
        }
    }
}
