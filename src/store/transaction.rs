//! The actions of a TransactWriteItems. Each knows what it means that its condition is not fulfilled.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{ConditionCheck, Delete, Put, TransactWriteItem, Update};

use super::error::Refusal;
pub use super::expression::Expression;
use super::item::{Item, key_attributes};
use super::keys::Key;

/// What to do to one item.
#[derive(Clone, Debug)]
pub enum ActionKind {
    /// Write the whole item. Holds the attributes without the key.
    Put(Item),
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
    pub fn put(key: Key, attributes: Item) -> Self {
        Self { key, kind: ActionKind::Put(attributes), condition: None, meaning: None }
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

    /// Builds the action for the SDK. `table` is the name of the table.
    ///
    /// # Errors
    /// The error of the SDK's builder if a part is missing. That does not happen for actions made here.
    pub fn build(self, table: &str) -> Result<TransactWriteItem, aws_sdk_dynamodb::error::BuildError> {
        let Self { key, kind, condition, .. } = self;
        let (text, mut names, mut values) = match condition.map(Expression::render) {
            Some(condition) => (Some(condition.text), condition.names, condition.values),
            None => Default::default(),
        };
        // The SDK's type has 1 KB: its parts are set in place, since its builder would move it each time.
        let mut item = TransactWriteItem::builder().build();
        match kind {
            ActionKind::Put(mut all) => {
                all.extend(key_attributes(key));
                let put = Put::builder()
                    .table_name(table)
                    .set_item(Some(all))
                    .set_condition_expression(text)
                    .set_expression_attribute_names(some(names))
                    .set_expression_attribute_values(some(values));
                item.put = Some(put.build()?);
            }
            ActionKind::Update(update) => {
                let update = update.render();
                names.extend(update.names);
                values.extend(update.values);
                let update = Update::builder()
                    .table_name(table)
                    .set_key(Some(Item::from(key_attributes(key))))
                    .update_expression(update.text)
                    .set_condition_expression(text)
                    .set_expression_attribute_names(some(names))
                    .set_expression_attribute_values(some(values));
                item.update = Some(update.build()?);
            }
            ActionKind::Delete => {
                let delete = Delete::builder()
                    .table_name(table)
                    .set_key(Some(Item::from(key_attributes(key))))
                    .set_condition_expression(text)
                    .set_expression_attribute_names(some(names))
                    .set_expression_attribute_values(some(values));
                item.delete = Some(delete.build()?);
            }
            ActionKind::Check => {
                let check = ConditionCheck::builder()
                    .table_name(table)
                    .set_key(Some(Item::from(key_attributes(key))))
                    .condition_expression(text.unwrap_or_default())
                    .set_expression_attribute_names(some(names))
                    .set_expression_attribute_values(some(values));
                item.condition_check = Some(check.build()?);
            }
        }
        Ok(item)
    }
}

/// Builds actions for the SDK, in their order. `table` is the name of the table.
///
/// # Errors
/// As [`Action::build`].
pub fn build(
    actions: Vec<Action>,
    table: &str,
) -> Result<Vec<TransactWriteItem>, aws_sdk_dynamodb::error::BuildError> {
    let mut items = Vec::with_capacity(actions.len());
    for action in actions {
        items.push(action.build(table)?);
    }
    Ok(items)
}

/// The map, unless it is empty: DynamoDB takes no empty one.
fn some<V>(map: HashMap<String, V>) -> Option<HashMap<String, V>> {
    (!map.is_empty()).then_some(map)
}
