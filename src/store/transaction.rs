//! The actions of a TransactWriteItems. Each knows what it means that its condition is not fulfilled.

use aws_sdk_dynamodb::types::AttributeValue;

use super::dynamodb_json::JsonText;
use super::error::{Refusal, StoreError};
use super::expression;
pub use super::expression::Expression;
use super::item::Attributes;
use super::keys::Key;

/// What to do to one item.
#[derive(Clone, Debug)]
pub enum ActionKind {
    /// Write the whole item. Holds the attributes without the key.
    Put(Attributes),
    /// Change attributes of the item, or create it.
    Update(Expression),
    /// Remove the item.
    Delete,
    /// Only check the condition.
    Check,
}

/// One action.
#[derive(Clone, Debug)]
pub struct Action {
    /// The key of the item.
    pub key: Key,
    /// What to do.
    pub kind: ActionKind,
    /// The condition; `None` for no condition.
    pub condition: Option<Expression>,
    /// What it means that the condition is not fulfilled.
    pub meaning: Option<Refusal>,
}

impl Action {
    /// Writes an item, in place of an item that is there.
    pub fn put(key: Key, attributes: impl IntoIterator<Item = (String, AttributeValue)>) -> Self {
        // An item that was read has its key among its attributes.
        let attributes = attributes.into_iter().filter(|(name, _)| !matches!(&**name, "pk" | "sk"));
        let kind = ActionKind::Put(attributes.collect());
        Self { key, kind, condition: None, meaning: None }
    }

    /// Changes an item, or creates it.
    pub fn update(key: Key, update: Expression) -> Self {
        Self { key, kind: ActionKind::Update(update), condition: None, meaning: None }
    }

    /// Deletes an item. Succeeds if the item does not exist.
    pub fn delete(key: Key) -> Self {
        Self { key, kind: ActionKind::Delete, condition: None, meaning: None }
    }

    /// Checks a condition on an item and changes nothing. `meaning` is what it means that the condition is
    /// not fulfilled.
    pub fn check(key: Key, condition: Expression, meaning: Refusal) -> Self {
        Self { key, kind: ActionKind::Check, condition: Some(condition), meaning: Some(meaning) }
    }

    /// Adds a condition. `meaning` is what it means that the condition is not fulfilled.
    pub fn only_if(mut self, condition: Expression, meaning: Refusal) -> Self {
        self.condition = Some(condition);
        self.meaning = Some(meaning);
        self
    }

    /// The action without its condition.
    pub(super) fn without_condition(mut self) -> Self {
        (self.condition, self.meaning) = (None, None);
        self
    }

    /// Writes the action as TransactWriteItems takes it.
    ///
    /// # Errors
    /// As [`JsonText::value`].
    fn write(&self, json: &mut JsonText, table: &str) -> Result<(), StoreError> {
        json.raw(match &self.kind {
            ActionKind::Put(_) => "{\"Put\":{\"TableName\":",
            ActionKind::Update(_) => "{\"Update\":{\"TableName\":",
            ActionKind::Delete => "{\"Delete\":{\"TableName\":",
            ActionKind::Check => "{\"ConditionCheck\":{\"TableName\":",
        });
        json.text(table);
        json.raw(if matches!(self.kind, ActionKind::Put(_)) { ",\"Item\":{" } else { ",\"Key\":{" });
        json.raw("\"pk\":{\"S\":");
        json.text(&self.key.pk);
        json.raw("},\"sk\":{\"S\":");
        json.text(&self.key.sk);
        json.raw("}");
        if let ActionKind::Put(attributes) = &self.kind {
            json.attributes(attributes.iter().map(|(name, value)| (name, value)))?;
        }
        json.raw("}");
        let update = match &self.kind {
            ActionKind::Update(update) => Some(update),
            _ => None,
        };
        if let Some(update) = update {
            json.raw(",\"UpdateExpression\":");
            json.text(&update.text());
        }
        if let Some(condition) = &self.condition {
            json.raw(",\"ConditionExpression\":");
            json.text(&condition.text());
        }
        expression::write_bindings(json, self.condition.as_ref(), update)?;
        json.raw("}}");
        Ok(())
    }
}

/// How many bytes the creation of a user has, and some more.
const USUAL_LENGTH: usize = 8192;

/// The body of TransactWriteItems. `table` is the name of the table.
///
/// # Errors
/// [`StoreError::Broken`] if an attribute is of an unknown kind.
pub fn body(actions: &[Action], table: &str, token: &str) -> Result<Vec<u8>, StoreError> {
    let mut json = JsonText::with_capacity(USUAL_LENGTH);
    json.raw("{\"TransactItems\":[");
    for action in actions {
        json.separate();
        action.write(&mut json, table)?;
    }
    json.raw("],\"ReturnConsumedCapacity\":\"TOTAL\",\"ClientRequestToken\":");
    json.text(token);
    json.raw("}");
    Ok(json.into_bytes())
}
