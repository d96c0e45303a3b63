//! Condition and update expressions, built from parts.
//!
//! The builders name every attribute by a placeholder, because some names are reserved words. The values of
//! conditions and of updates have different placeholders. So the condition and the update of one action can
//! be sent together.

use std::borrow::Cow;

use aws_sdk_dynamodb::types::AttributeValue;

use super::dynamodb_json::JsonText;
use super::error::StoreError;

/// A condition expression, or an update expression, with its placeholders.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expression {
    /// A condition, or an update that was given as text.
    text: String,
    set: Vec<String>,
    remove: Vec<String>,
    add: Vec<String>,
    delete: Vec<String>,
    /// The attributes that have a placeholder, each once.
    names: Vec<String>,
    /// The values by their placeholders, each once.
    values: Vec<(String, AttributeValue)>,
}

/// The parts that both kinds of expressions have.
impl Expression {
    /// An expression from its text. Bind its placeholders with [`Expression::name`] and
    /// [`Expression::value`].
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// Binds the placeholder `:name` to a value.
    #[must_use]
    pub fn value(mut self, name: &str, value: AttributeValue) -> Self {
        self.bind(name.to_owned(), value);
        self
    }

    fn bind(&mut self, name: String, value: AttributeValue) {
        match self.values.iter().find(|(bound, _)| *bound == name) {
            Some((_, bound)) => debug_assert!(*bound == value, "{name} twice"),
            None => self.values.push((name, value)),
        }
    }

    /// Binds the placeholder `#attribute` to that attribute.
    #[must_use]
    pub fn name(mut self, attribute: &str) -> Self {
        if !self.names.iter().any(|name| name == attribute) {
            self.names.push(attribute.to_owned());
        }
        self
    }

    /// The text with its placeholders.
    pub(super) fn text(&self) -> Cow<'_, str> {
        let clauses =
            [("SET ", &self.set), ("REMOVE ", &self.remove), ("ADD ", &self.add), ("DELETE ", &self.delete)];
        let mut text = Cow::Borrowed(self.text.as_str());
        for (verb, clause) in clauses.into_iter().filter(|(_, clause)| !clause.is_empty()) {
            let text = text.to_mut();
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(verb);
            for (at, part) in clause.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { ", " });
                text.push_str(part);
            }
        }
        text
    }
}

/// Writes what the placeholders of an action's condition and update stand for. Both may name an attribute.
///
/// # Errors
/// As [`JsonText::value`].
pub(super) fn write_bindings(
    json: &mut JsonText,
    condition: Option<&Expression>,
    update: Option<&Expression>,
) -> Result<(), StoreError> {
    let both = || condition.into_iter().chain(update);
    if both().any(|expression| !expression.names.is_empty()) {
        json.raw(",\"ExpressionAttributeNames\":{");
        let of_condition = condition.map_or(&[][..], |condition| &condition.names);
        let of_update = update.into_iter().flat_map(|update| &update.names);
        for attribute in of_condition.iter().chain(of_update.filter(|name| !of_condition.contains(name))) {
            json.name(&["#", attribute].concat());
            json.text(attribute);
        }
        json.raw("}");
    }
    if both().any(|expression| !expression.values.is_empty()) {
        json.raw(",\"ExpressionAttributeValues\":{");
        let of_condition = condition.map_or(&[][..], |condition| &condition.values);
        let of_update = update.map_or(&[][..], |update| &update.values);
        debug_assert!(
            !of_update.iter().any(|(name, _)| of_condition.iter().any(|(own, _)| own == name)),
            "a placeholder has two values"
        );
        json.attributes(of_condition.iter().chain(of_update).map(|(name, value)| (name, value)))?;
        json.raw("}");
    }
    Ok(())
}

/// Conditions.
impl Expression {
    /// The item exists.
    pub fn exists() -> Self {
        Self::new("attribute_exists(pk)")
    }

    /// The item does not exist.
    pub fn absent() -> Self {
        Self::new("attribute_not_exists(pk)")
    }

    /// The item does not have the attribute.
    pub fn lacks(attribute: &str) -> Self {
        Self::new(format!("attribute_not_exists(#{attribute})")).name(attribute)
    }

    /// The attribute has this value.
    pub fn equals(attribute: &str, value: AttributeValue) -> Self {
        Self::new(format!("#{attribute} = :is_{attribute}"))
            .name(attribute)
            .value(&format!(":is_{attribute}"), value)
    }

    /// The string set in the attribute does not have this element. An item without the attribute
    /// fulfils it.
    pub fn set_lacks(attribute: &str, element: &str) -> Self {
        Self::new(format!("NOT contains(#{attribute}, :in_{attribute})"))
            .name(attribute)
            .value(&format!(":in_{attribute}"), AttributeValue::S(element.to_owned()))
    }

    /// The set or list in the attribute has fewer elements than this. An item without the attribute fulfils it.
    pub fn has_fewer(attribute: &str, bound: usize) -> Self {
        let size = Self::new(format!("size(#{attribute}) < :below_{attribute}"))
            .name(attribute)
            .value(&format!(":below_{attribute}"), AttributeValue::N(bound.to_string()));
        Self::lacks(attribute).or(size)
    }

    /// The item is in this version.
    pub fn version_is(version: u64) -> Self {
        Self::equals("ver", AttributeValue::N(version.to_string()))
    }

    /// The item is still in the version that was read; 0 stands for an item that did not exist.
    pub fn version_is_or_absent(version: u64) -> Self {
        if version == 0 { Self::absent() } else { Self::version_is(version) }
    }

    /// Both conditions are fulfilled.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.join("AND", " OR ", other)
    }

    /// One of the conditions is fulfilled, or both.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        self.join("OR", " AND ", other)
    }

    /// Joins two conditions; a side with the other operator is put in parentheses.
    fn join(mut self, operator: &str, other_operator: &str, other: Self) -> Self {
        let grouped = |text: &str| match text.contains(other_operator) {
            true => format!("({text})"),
            false => text.to_owned(),
        };
        self.text = format!("{} {operator} {}", grouped(&self.text), grouped(&other.text));
        for name in other.names {
            self = self.name(&name);
        }
        for (name, value) in other.values {
            self.bind(name, value);
        }
        self
    }
}

/// Updates.
impl Expression {
    /// An update that changes nothing yet.
    pub fn update() -> Self {
        Self::default()
    }

    /// Sets an attribute.
    #[must_use]
    pub fn set(mut self, attribute: &str, value: AttributeValue) -> Self {
        let placeholder = [":set_", attribute].concat();
        self.set.push(["#", attribute, " = ", &*placeholder].concat());
        self.bind(placeholder, value);
        self.name(attribute)
    }

    /// Raises a number by one. The update fails if the item does not have it.
    #[must_use]
    pub fn increment(mut self, attribute: &str) -> Self {
        self.set.push(format!("#{attribute} = #{attribute} + :plus_{attribute}"));
        self.name(attribute).value(&format!(":plus_{attribute}"), AttributeValue::N("1".to_owned()))
    }

    /// Appends an element to a list. DynamoDB creates the attribute if the item does not have it.
    #[must_use]
    pub fn append(mut self, attribute: &str, element: AttributeValue) -> Self {
        self.set.push(format!(
            "#{attribute} = list_append(if_not_exists(#{attribute}, :none_{attribute}), :append_{attribute})"
        ));
        self.name(attribute)
            .value(&format!(":none_{attribute}"), AttributeValue::L(Vec::new()))
            .value(&format!(":append_{attribute}"), AttributeValue::L(vec![element]))
    }

    /// Removes an attribute.
    #[must_use]
    pub fn remove(mut self, attribute: &str) -> Self {
        self.remove.push(format!("#{attribute}"));
        self.name(attribute)
    }

    /// Adds to a number, or adds elements to a set. DynamoDB creates the attribute if the item does not have
    /// it.
    #[must_use]
    pub fn add(mut self, attribute: &str, value: AttributeValue) -> Self {
        let placeholder = [":add_", attribute].concat();
        self.add.push(["#", attribute, " ", &*placeholder].concat());
        self.bind(placeholder, value);
        self.name(attribute)
    }

    /// Removes elements from a set.
    #[must_use]
    pub fn delete(mut self, attribute: &str, value: AttributeValue) -> Self {
        self.delete.push(format!("#{attribute} :delete_{attribute}"));
        self.name(attribute).value(&format!(":delete_{attribute}"), value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(n: u32) -> AttributeValue {
        AttributeValue::N(n.to_string())
    }

    #[test]
    fn conditions_keep_their_meaning_when_they_are_joined() {
        let change = Expression::lacks("change").or(Expression::equals("change", number(1)));
        let both = Expression::exists().and(change);
        assert_eq!(
            both.text(),
            "attribute_exists(pk) AND (attribute_not_exists(#change) OR #change = :is_change)"
        );
        assert_eq!(both.names, ["change"]);
        assert_eq!(both.values, [(":is_change".to_owned(), number(1))]);
        let one = Expression::equals("gone", number(1)).and(Expression::version_is(2));
        assert_eq!(
            Expression::absent().or(one).text(),
            "attribute_not_exists(pk) OR (#gone = :is_gone AND #ver = :is_ver)"
        );
    }

    #[test]
    fn an_attribute_of_the_condition_and_of_the_update_is_named_once() {
        let (condition, update) = (Expression::version_is(1), Expression::update().set("ver", number(2)));
        let mut json = JsonText::with_capacity(0);
        write_bindings(&mut json, Some(&condition), Some(&update)).expect("JSON");
        let written = String::from_utf8(json.into_bytes()).expect("a text");
        let expected = r##","ExpressionAttributeNames":{"#ver":"ver"},"ExpressionAttributeValues":{":is_ver":{"N":"1"},":set_ver":{"N":"2"}}"##;
        assert_eq!(written, expected);
    }

    #[test]
    fn an_update_names_each_verb_once() {
        let update = Expression::update()
            .add("count", number(1))
            .set("a", number(2))
            .increment("ver")
            .remove("b")
            .delete("c", number(3));
        assert_eq!(
            update.text(),
            "SET #a = :set_a, #ver = #ver + :plus_ver REMOVE #b ADD #count :add_count DELETE #c :delete_c"
        );
    }
}
