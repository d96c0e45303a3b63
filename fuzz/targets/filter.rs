//! A filter that parses prints to a text that parses to the same filter, and is answered for every
//! resource. The input is a filter and, after a line feed, a resource as JSON.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rollcall::scim::attr_path::AttrPath;
use rollcall::scim::filter::bind::{bind, bind_element};
use rollcall::scim::filter::parse::parse;
use rollcall::scim::policy::STANDARD;
use rollcall::scim::resource_type::{Kind, Model, Resolved};
use rollcall::scim::sort;
use rollcall::scim::work::WorkBudget;
use serde_json::{Map, Value};

static MODEL: LazyLock<Model> = LazyLock::new(|| Model::new(&STANDARD, &[]).expect("a model"));

fuzz_target!(|input: &str| {
    let (text, resource) = input.split_once('\n').unwrap_or((input, "{}"));
    let filter = match parse(text) {
        Ok(filter) => filter,
        Err(error) => return assert!(error.at <= text.len(), "{error}"),
    };
    let printed = filter.to_string();
    assert_eq!(parse(&printed).as_ref(), Ok(&filter), "{printed}");

    let resource: Map<String, Value> = serde_json::from_str(resource).unwrap_or_default();
    let (users, groups) = (MODEL.of(Kind::User), MODEL.of(Kind::Group));
    for (resource_type, other) in [(users, groups), (groups, users)] {
        for coerce in [false, true] {
            if let Ok(bound) = bind(&filter, resource_type, &[other], coerce) {
                let _ = bound.matches(&resource, &WorkBudget::of_query());
                bound.equalities();
                bound.canonical();
            }
        }
    }
    let path = AttrPath::parse("emails").expect("a path");
    let Some(Resolved::Attribute(emails)) = users.resolve(&path) else { unreachable!("emails") };
    if let Ok(bound) = bind_element(&filter, users, emails, true) {
        let _ = bound.matches_element(&Value::Object(resource.clone()), &WorkBudget::of_query());
    }
    if let Ok(by) = sort::resolve(text, &MODEL.types()) {
        if let Ok(key) = by.key(Kind::User.name(), &resource, &WorkBudget::of_query()) {
            assert_eq!(sort::SortKey::from_value(&key.to_value()), Some(key));
        }
    }
});
