//! One TransactWriteItems under construction: actions with what their conditions mean.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{ConditionCheck, Delete, Put, TransactWriteItem, Update};

use super::error::Refusal;
pub use super::expression::Expression;
use super::item::{Item, with_key};
use super::keys::Key;

/// What to do to one item.
#[derive(Clone, Debug)]
pub enum ActionKind {
    /// Write the whole item; attributes besides the key.
    Put(Item),
    /// Change attributes; the update expression shares names and values with the condition.
    Update(Expression),
    /// Remove the item.
    Delete,
    /// Only check the condition.
    Check,
}

/// One action.
#[derive(Clone, Debug)]
pub struct Action {
    /// The item.
    pub key: Key,
    /// What to do.
    pub kind: ActionKind,
    /// When.
    pub condition: Option<Expression>,
    /// What a failed condition means.
    pub meaning: Option<Refusal>,
}

impl Action {
    /// Writes an item whatever was there.
    pub fn put(key: Key, attributes: Item) -> Self {
        Self { key, kind: ActionKind::Put(attributes), condition: None, meaning: None }
    }

    /// Changes an item, or makes it.
    pub fn update(key: Key, update: Expression) -> Self {
        Self { key, kind: ActionKind::Update(update), condition: None, meaning: None }
    }

    /// Removes an item if it is there.
    pub fn delete(key: Key) -> Self {
        Self { key, kind: ActionKind::Delete, condition: None, meaning: None }
    }

    /// Checks an item.
    pub fn check(key: Key, condition: Expression, meaning: Refusal) -> Self {
        Self { key, kind: ActionKind::Check, condition: Some(condition), meaning: Some(meaning) }
    }

    /// The action happens only under a condition, whose failure means `meaning`.
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

    /// The SDK's form.
    ///
    /// # Errors
    /// Never for actions made here; the SDK's builders check what the types cannot.
    pub fn build(self, table: &str) -> Result<TransactWriteItem, aws_sdk_dynamodb::error::BuildError> {
        let Self { key, kind, condition, .. } = self;
        let (mut text, mut names, mut values) = (None, HashMap::new(), Item::new());
        if let Some(condition) = condition.map(Expression::render) {
            text = Some(condition.text);
            names.extend(condition.names);
            values.extend(condition.values);
        }
        let some = |map: Item| (!map.is_empty()).then_some(map);
        let item = TransactWriteItem::builder();
        Ok(match kind {
            ActionKind::Put(attributes) => {
                let mut all = with_key(&key);
                all.extend(attributes);
                item.put(
                    Put::builder()
                        .table_name(table)
                        .set_item(Some(all))
                        .set_condition_expression(text)
                        .set_expression_attribute_names((!names.is_empty()).then_some(names))
                        .set_expression_attribute_values(some(values))
                        .build()?,
                )
            }
            ActionKind::Update(update) => {
                let update = update.render();
                names.extend(update.names);
                values.extend(update.values);
                item.update(
                    Update::builder()
                        .table_name(table)
                        .set_key(Some(with_key(&key)))
                        .update_expression(update.text)
                        .set_condition_expression(text)
                        .set_expression_attribute_names((!names.is_empty()).then_some(names))
                        .set_expression_attribute_values(some(values))
                        .build()?,
                )
            }
            ActionKind::Delete => item.delete(
                Delete::builder()
                    .table_name(table)
                    .set_key(Some(with_key(&key)))
                    .set_condition_expression(text)
                    .set_expression_attribute_names((!names.is_empty()).then_some(names))
                    .set_expression_attribute_values(some(values))
                    .build()?,
            ),
            ActionKind::Check => item.condition_check(
                ConditionCheck::builder()
                    .table_name(table)
                    .set_key(Some(with_key(&key)))
                    .condition_expression(text.unwrap_or_default())
                    .set_expression_attribute_names((!names.is_empty()).then_some(names))
                    .set_expression_attribute_values(some(values))
                    .build()?,
            ),
        }
        .build())
    }
}
