//! What an attribute is compared with, and how values of its type compare (RFC 7644 §3.4.2.2,
//! Table 3).

use std::cmp::Ordering;

use serde_json::{Number, Value};
use time::OffsetDateTime;

use super::ast::CompareOp;
use super::context::EvaluationContext;
use crate::scim::comparison::Comparison;
use crate::scim::error::ScimError;
use crate::scim::order::{instant, numbers};
use crate::scim::schema::{Attribute, Type};
use crate::scim::values::boolean;

/// What a value is compared with.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand {
    /// The form of the text, and how it was made.
    Text {
        form: String,
        comparison: Comparison,
    },
    Instant(OffsetDateTime),
    Boolean(bool),
    Number(Number),
}

impl Operand {
    /// What the value is for an attribute of this type, or why it cannot be compared. With
    /// `coerce`, a boolean may stand in quotation marks.
    ///
    /// Neither order nor parts of booleans can be asked for, no order of binary values and no parts
    /// of numbers. Parts of dates are those of their texts.
    pub(super) fn read(
        attribute: &Attribute,
        op: CompareOp,
        value: &Value,
        coerce: bool,
    ) -> Result<Self, String> {
        use CompareOp::{Co, Eq, Ew, Ge, Gt, Le, Lt, Ne, Sw};
        let partial = matches!(op, Co | Sw | Ew);
        let (description, operators) = match attribute.kind {
            Type::Complex => return Err("is complex: compare one of its sub-attributes".to_owned()),
            Type::Boolean if !matches!(op, Eq | Ne) => ("a boolean", "eq, ne or pr"),
            Type::Integer | Type::Decimal if partial => ("a number", "eq, ne, gt, ge, lt, le or pr"),
            Type::Binary if matches!(op, Gt | Ge | Lt | Le) => ("binary", "eq, ne, co, sw, ew or pr"),
            _ if value.is_null() => return Err(format!("is compared with null, which {op} cannot do")),
            _ => {
                return Self::of_type(attribute, partial, value, coerce)
                    .map_err(|expected| format!("must be compared with {expected}"));
            }
        };
        Err(format!("is {description}, to which {op} does not apply: use {operators}"))
    }

    fn of_type(
        attribute: &Attribute,
        partial: bool,
        value: &Value,
        coerce: bool,
    ) -> Result<Self, &'static str> {
        match (attribute.kind, value) {
            (Type::Boolean, Value::Bool(value)) => Ok(Self::Boolean(*value)),
            (Type::Boolean, Value::String(text)) if coerce => {
                boolean(text).map(Self::Boolean).ok_or("true or false")
            }
            (Type::Boolean, _) => Err("true or false, without quotation marks"),
            (Type::Integer | Type::Decimal, Value::Number(number)) => Ok(Self::Number(number.clone())),
            (Type::Integer | Type::Decimal, _) => Err("a number"),
            (Type::DateTime, Value::String(text)) if !partial => {
                instant(text).map(Self::Instant).ok_or("a date and time such as \"2011-05-13T04:42:34Z\"")
            }
            (_, Value::String(text)) => {
                let comparison = attribute.comparison();
                Ok(Self::Text { form: comparison.form(text).into_owned(), comparison })
            }
            _ => Err("a text in double quotation marks"),
        }
    }

    /// Whether the value stands in this relation to the operand. A value of another type never
    /// does.
    pub(super) fn is(
        &self,
        op: CompareOp,
        value: &Value,
        evaluation: &mut EvaluationContext<'_>,
    ) -> Result<bool, ScimError> {
        Ok(match (self, value) {
            (Self::Text { form, comparison: Comparison::Exact }, Value::String(text)) => {
                evaluation.look_at(text)?;
                matches_text(op, text, form)
            }
            (Self::Text { form, comparison }, Value::String(text)) => {
                evaluation.look_at(text)?;
                match any_case(op, text, form) {
                    Some(is) => is,
                    None => matches_text(op, evaluation.form(text, *comparison)?, form),
                }
            }
            (Self::Instant(operand), Value::String(text)) => {
                evaluation.look_at(text)?;
                instant(text).is_some_and(|instant| matches_order(op, instant.cmp(operand)))
            }
            (Self::Boolean(_), Value::Bool(value)) => self.is_boolean(op, *value),
            (Self::Number(operand), Value::Number(value)) => matches_order(op, numbers(value, operand)),
            _ => false,
        })
    }

    /// The same for a boolean.
    pub(super) fn is_boolean(&self, op: CompareOp, value: bool) -> bool {
        matches!(self, Self::Boolean(operand) if matches_order(op, value.cmp(operand)))
    }
}

fn matches_order(op: CompareOp, ordering: Ordering) -> bool {
    match op {
        CompareOp::Eq => ordering.is_eq(),
        CompareOp::Ne => ordering.is_ne(),
        CompareOp::Gt => ordering.is_gt(),
        CompareOp::Ge => ordering.is_ge(),
        CompareOp::Lt => ordering.is_lt(),
        CompareOp::Le => ordering.is_le(),
        CompareOp::Co | CompareOp::Sw | CompareOp::Ew => false,
    }
}

fn matches_text(op: CompareOp, text: &str, operand: &str) -> bool {
    match op {
        CompareOp::Co => text.contains(operand),
        CompareOp::Sw => text.starts_with(operand),
        CompareOp::Ew => text.ends_with(operand),
        op => matches_order(op, text.cmp(operand)),
    }
}

/// Texts beyond this many bytes are brought into their form and then searched, which takes a copy but time in
/// proportion to their length.
const SHORT: usize = 32;

/// Compares a text with the form of an operand, without a copy: of ASCII texts every form but the
/// exact one is lower case. `None` for what must be brought into its form
/// first: a text that is not ASCII, and a longer one that is searched.
fn any_case(op: CompareOp, text: &str, form: &str) -> Option<bool> {
    if !text.is_ascii() || (op == CompareOp::Co && text.len() > SHORT) {
        return None;
    }
    let (text, form) = (text.as_bytes(), form.as_bytes());
    let length = form.len();
    let same = |part: &[u8]| part.eq_ignore_ascii_case(form);
    Some(match op {
        CompareOp::Eq => same(text),
        CompareOp::Ne => !same(text),
        CompareOp::Co => length == 0 || text.windows(length).any(same),
        CompareOp::Sw => text.get(..length).is_some_and(same),
        CompareOp::Ew => text.len().checked_sub(length).and_then(|at| text.get(at..)).is_some_and(same),
        op => matches_order(op, text.iter().map(u8::to_ascii_lowercase).cmp(form.iter().copied())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_without_a_copy_compares_as_its_form_does() {
        let texts = ["", "a", "A", "ab", "aB", "BA", "b", "~", "_", "Z", "é", "É", "ß", "ss", "aß"];
        let long = "xY".repeat(SHORT);
        for text in texts.into_iter().chain([long.as_str()]) {
            for operand in texts.into_iter().chain(["xyxy", "yxyy"]) {
                for op in CompareOp::ALL {
                    for comparison in [Comparison::Folded, Comparison::UserName] {
                        let form = comparison.form(operand);
                        let Some(found) = any_case(op, text, &form) else { continue };
                        let expected = matches_text(op, &comparison.form(text), &form);
                        assert_eq!(found, expected, "{text:?} {op} {operand:?}");
                    }
                }
            }
        }
    }
}
