//! Items as attribute maps: building them and reading them back.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use super::error::StoreError;
use super::keys::{Key, parse_id};

/// An item as the SDK has it: its attributes by name.
pub type Item = HashMap<String, AttributeValue>;

/// The attributes of an item that is only written: each name once, and nothing is looked up.
pub type Attributes = Vec<(String, AttributeValue)>;

/// Begins an item with its key.
pub fn with_key(key: &Key) -> Item {
    Item::from(key_attributes(key.clone()))
}

/// The two attributes of a key.
pub fn key_attributes(key: Key) -> [(String, AttributeValue); 2] {
    [("pk".to_owned(), AttributeValue::S(key.pk)), ("sk".to_owned(), AttributeValue::S(key.sk))]
}

/// The key of an item; `None` if the item lacks one of its two attributes.
pub fn key_of(item: &Item) -> Option<Key> {
    Some(Key { pk: get_text(item, "pk")?.to_owned(), sk: get_text(item, "sk")?.to_owned() })
}

/// A text attribute.
pub fn text(name: &str, value: impl Into<String>) -> (String, AttributeValue) {
    (name.to_owned(), AttributeValue::S(value.into()))
}

/// A number attribute.
pub fn number(name: &str, value: impl ToString) -> (String, AttributeValue) {
    (name.to_owned(), AttributeValue::N(value.to_string()))
}

/// The text of an attribute, if it is one.
pub fn get_text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name).and_then(|value| value.as_s().ok()).map(String::as_str)
}

/// The text of an attribute that every item of its kind has.
///
/// # Errors
/// [`StoreError::Broken`] when it is missing.
pub fn must_text<'a>(item: &'a Item, name: &str) -> Result<&'a str, StoreError> {
    get_text(item, name).ok_or_else(|| StoreError::Broken(format!("an item lacks its {name}")))
}

/// The number of an attribute, if it is one.
pub fn get_number<T: std::str::FromStr>(item: &Item, name: &str) -> Option<T> {
    item.get(name).and_then(|value| value.as_n().ok()).and_then(|text| text.parse().ok())
}

/// The texts of a string set; empty if the item has none.
pub fn get_set(item: &Item, name: &str) -> BTreeSet<String> {
    match item.get(name) {
        Some(AttributeValue::Ss(values)) => values.iter().cloned().collect(),
        _ => BTreeSet::new(),
    }
}

/// The ids in a string set; empty if the item has none. Texts that are not ids are left out.
pub fn get_ids(item: &Item, name: &str) -> BTreeSet<Uuid> {
    match item.get(name) {
        Some(AttributeValue::Ss(values)) => values.iter().filter_map(|id| parse_id(id)).collect(),
        _ => BTreeSet::new(),
    }
}

/// A string set of these ids. DynamoDB has no empty set, so there must be at least one id.
pub fn id_set<'a>(ids: impl IntoIterator<Item = &'a Uuid>) -> AttributeValue {
    AttributeValue::Ss(ids.into_iter().map(Uuid::to_string).collect())
}
