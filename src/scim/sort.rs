//! Sorting (RFC 7644 §3.4.2.3): what `sortBy` names, and the key that it gives a resource.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value, json};

use super::absent::counts_as;
use super::attr_path::AttrPath;
use super::comparison::Comparison;
use super::error::ScimError;
use super::order::{instant, numbers};
use super::refusal::shorten_text;
use super::resource_type::{Resolved, ResourceType};
use super::schema::{Returned, Type};
use super::values::is_primary;
use super::work::WorkBudget;

/// What resources are sorted by (RFC 7644 §3.4.2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortBy {
    extension: Option<String>,
    attribute: String,
    sub: Option<String>,
    kind: Type,
    comparison: Comparison,
    /// What an absent boolean counts as, and on which kind of resource.
    absent: Option<(&'static str, bool)>,
}

/// Finds what `sortBy` names in the first of the types that defines it: a search at the root sorts
/// all types at once. Of a complex attribute it is the sub-attribute `value`.
///
/// # Errors
/// `invalidValue` for a text that is not a path, for a name that no type defines, and for a complex attribute
/// without `value`.
pub fn resolve(sort_by: &str, types: &[&ResourceType]) -> Result<SortBy, ScimError> {
    let refuse =
        |why: &str| Err(ScimError::invalid_value(format!("sortBy {}: {why}.", shorten_text(sort_by))));
    let path = match AttrPath::parse(sort_by) {
        Ok(path) => path,
        Err(error) => return refuse(&error.to_string()),
    };
    let found = types.iter().find_map(|ty| Some((*ty, ty.resolve(&path)?)));
    let (owner, target) = match found {
        Some((ty, Resolved::Attribute(target))) => (ty, target),
        Some((_, Resolved::Schema(_))) => return refuse("a schema has no order; name one of its attributes"),
        None => return refuse("no schema defines this attribute"),
    };
    let (sub, leaf) = match (target.sub, target.attribute.sub_attribute("value")) {
        (Some(sub), _) | (None, Some(sub)) => (Some(sub), sub),
        (None, None) => (None, target.attribute),
    };
    if target.is_never_returned() || leaf.returned == Returned::Never {
        return refuse("the attribute is never returned, so its order is not shown");
    }
    if leaf.kind == Type::Complex {
        return refuse("a complex attribute has no order; name one of its sub-attributes");
    }
    Ok(SortBy {
        extension: target.extension.map(ToOwned::to_owned),
        attribute: target.attribute.name.clone(),
        sub: sub.map(|sub| sub.name.clone()),
        kind: leaf.kind,
        comparison: leaf.comparison(),
        absent: counts_as(owner.kind, &target).map(|counted| (owner.name, counted)),
    })
}

impl SortBy {
    /// Whether it sorts by this core attribute, or by an attribute of the extension with this URN.
    pub fn mentions(&self, name: &str) -> bool {
        self.extension.as_ref().unwrap_or(&self.attribute) == name
    }

    /// The place of a resource, which is complete and in canonical names. Of several values the
    /// primary one counts, or else the first.
    ///
    /// # Errors
    /// The error of [`WorkBudget::spend`], if a text needs more steps than are left.
    pub fn key(
        &self,
        type_name: &str,
        resource: &Map<String, Value>,
        work: &WorkBudget,
    ) -> Result<SortKey, ScimError> {
        let absent = match self.absent {
            Some((owner, counted)) if owner == type_name => SortKey::Boolean(counted),
            _ => SortKey::Missing,
        };
        let Some(element) = self.element(resource, work)? else {
            return Ok(if self.sub.is_none() { absent } else { SortKey::Missing });
        };
        let value = match &self.sub {
            None => Some(element),
            // Of a sub-attribute with several values the first one counts.
            Some(sub) => match element.get(sub) {
                Some(Value::Array(values)) => values.first(),
                value => value,
            },
        };
        match value.filter(|value| !value.is_null()) {
            None => Ok(absent),
            Some(value) => self.typed_key(value, work),
        }
    }

    fn element<'a>(
        &self,
        resource: &'a Map<String, Value>,
        work: &WorkBudget,
    ) -> Result<Option<&'a Value>, ScimError> {
        let value = match &self.extension {
            None => resource.get(&self.attribute),
            Some(urn) => resource.get(urn).and_then(|holder| holder.get(&self.attribute)),
        };
        let Some(Value::Array(elements)) = value else { return Ok(value) };
        let primary = elements.iter().position(is_primary);
        work.spend(1 + primary.unwrap_or(elements.len()) as u64)?;
        Ok(elements.get(primary.unwrap_or(0)))
    }

    fn typed_key(&self, value: &Value, work: &WorkBudget) -> Result<SortKey, ScimError> {
        work.spend(1)?;
        Ok(match (self.kind, value) {
            (Type::Boolean, Value::Bool(value)) => SortKey::Boolean(*value),
            (Type::Integer | Type::Decimal, Value::Number(number)) => SortKey::Number(number.clone()),
            (Type::DateTime, Value::String(text)) => match instant(text) {
                Some(instant) => SortKey::Instant(instant.unix_timestamp(), instant.nanosecond()),
                None => SortKey::Missing,
            },
            (Type::String | Type::Reference | Type::Binary, Value::String(text)) if !text.is_empty() => {
                SortKey::Text(self.comparison.form_within(text, work)?.into_owned())
            }
            _ => SortKey::Missing,
        })
    }
}

/// Where a resource stands among others (RFC 7644 §3.4.2.3): texts by code points, in
/// the form in which they compare; `false` before `true`; resources without a value last. Descending
/// order is the exact reverse.
#[derive(Clone, Debug)]
pub enum SortKey {
    /// Of a boolean.
    Boolean(bool),
    /// Of an integer or decimal.
    Number(Number),
    /// Of a dateTime: seconds since 1970 and nanoseconds.
    Instant(i64, u32),
    /// Of everything that is text.
    Text(String),
    /// No value, or none of the attribute's type.
    Missing,
}

impl SortKey {
    /// A compact value that [`SortKey::from_value`] reads: a cursor holds it.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Boolean(value) => Value::Bool(*value),
            Self::Number(number) => Value::Number(number.clone()),
            Self::Instant(seconds, nanoseconds) => json!([seconds, nanoseconds]),
            Self::Text(text) => Value::String(text.clone()),
            Self::Missing => Value::Null,
        }
    }

    /// The key that [`SortKey::to_value`] wrote; `None` for what it cannot have written.
    pub fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(Self::Boolean(*value)),
            Value::Number(number) => Some(Self::Number(number.clone())),
            Value::String(text) => Some(Self::Text(text.clone())),
            Value::Null => Some(Self::Missing),
            Value::Array(parts) => match parts.as_slice() {
                [seconds, nanoseconds] => {
                    let nanoseconds = u32::try_from(nanoseconds.as_u64()?).ok()?;
                    (nanoseconds < 1_000_000_000).then_some(Self::Instant(seconds.as_i64()?, nanoseconds))
                }
                _ => None,
            },
            Value::Object(_) => None,
        }
    }

    /// How many bytes it holds beside its own size.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            _ => 0,
        }
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Boolean(_) => 0,
            Self::Number(_) => 1,
            Self::Instant(..) => 2,
            Self::Text(_) => 3,
            Self::Missing => 4,
        }
    }
}

impl Ord for SortKey {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Boolean(a), Self::Boolean(b)) => a.cmp(b),
            (Self::Number(a), Self::Number(b)) => numbers(a, b),
            (Self::Instant(a, i), Self::Instant(b, j)) => (a, i).cmp(&(b, j)),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }
}

impl PartialOrd for SortKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for SortKey {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for SortKey {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::error::ErrorKind;
    use crate::scim::policy::STANDARD;
    use crate::scim::resource_type::Kind;
    use crate::scim::resource_type::Model;
    use crate::scim::schema::Schema;
    use crate::scim::urn::ENTERPRISE_USER;

    const OWN: &str = "urn:x:2.0:User";

    fn model() -> Model {
        let schema: Schema = serde_json::from_value(json!({ "id": OWN, "name": "X", "attributes": [
            { "name": "level", "type": "decimal", "multiValued": false },
            { "name": "places", "type": "complex", "multiValued": true, "subAttributes": [
                { "name": "codes", "type": "string", "multiValued": true },
            ] },
        ]}))
        .expect("a schema");
        Model::new(&STANDARD, &[(Kind::User, schema)]).expect("a model")
    }

    fn key(sort_by: &str, resource: &Value) -> SortKey {
        let resource = resource.as_object().expect("an object");
        let by = resolve(sort_by, &model().types()).expect(sort_by);
        by.key("User", resource, &WorkBudget::of_query()).expect("little work")
    }

    #[test]
    fn keys_by_type() {
        let text = |text: &str| SortKey::Text(text.to_owned());
        let emails = json!({ "emails": [{ "value": "Z" }, { "value": "A", "primary": true, "type": "T" }] });
        for (sort_by, resource, expected) in [
            ("USERNAME", json!({ "userName": "ÀB" }), text("àb")),
            ("id", json!({ "id": "aB" }), text("aB")),
            ("name.familyName", json!({ "name": { "familyName": "X" } }), text("x")),
            ("emails", emails.clone(), text("a")),
            ("emails.type", emails, text("t")),
            ("emails", json!({ "emails": [{ "value": "Z" }, { "value": "A" }] }), text("z")),
            ("emails", json!({ "emails": { "value": "Z" } }), text("z")),
            ("emails", json!({ "emails": [] }), SortKey::Missing),
            ("schemas", json!({ "schemas": ["urn:B", "urn:a"] }), text("urn:B")),
            ("active", json!({ "active": true }), SortKey::Boolean(true)),
            ("active", json!({ "active": "true" }), SortKey::Missing),
            ("active", json!({}), SortKey::Boolean(true)),
            ("emails.primary", json!({ "emails": [{ "value": "Z" }] }), SortKey::Boolean(false)),
            ("emails.primary", json!({}), SortKey::Missing),
            ("title", json!({ "title": "" }), SortKey::Missing),
            ("title", json!({ "title": null }), SortKey::Missing),
            ("title", json!({}), SortKey::Missing),
            (
                "urn:x:2.0:User:level",
                json!({ OWN: { "level": 1.5 } }),
                SortKey::from_value(&json!(1.5)).expect("a key"),
            ),
            (
                "urn:x:2.0:User:places.codes",
                json!({ OWN: { "places": [{ "codes": ["Q", "b"] }] } }),
                text("q"),
            ),
            (
                "urn:x:2.0:User:places.codes",
                json!({ OWN: { "places": [{ "codes": [] }] } }),
                SortKey::Missing,
            ),
            ("members", json!({ "members": [{ "value": "B" }] }), text("B")),
            (
                &format!("{ENTERPRISE_USER}:manager"),
                json!({ ENTERPRISE_USER: { "manager": { "value": "M" } } }),
                text("M"),
            ),
            (
                "meta.created",
                json!({ "meta": { "created": "1970-01-01T01:00:01.5+01:00" } }),
                SortKey::Instant(1, 500_000_000),
            ),
            ("meta.created", json!({ "meta": { "created": "soon" } }), SortKey::Missing),
        ] {
            assert_eq!(key(sort_by, &resource), expected, "{sort_by} {resource}");
        }
    }

    #[test]
    fn a_group_is_not_active() {
        let by = resolve("active", &model().types()).expect("an attribute");
        let key = by.key("Group", &Map::new(), &WorkBudget::of_query());
        assert_eq!(key, Ok(SortKey::Missing));
    }

    #[test]
    fn what_has_no_order_is_refused_by_name() {
        for (sort_by, detail) in [
            ("", "sortBy : expected an attribute name at offset 0."),
            ("user name", "sortBy user name: expected a character of an attribute name at offset 4."),
            ("nick", "sortBy nick: no schema defines this attribute."),
            ("emails.nick", "sortBy emails.nick: no schema defines this attribute."),
            ("name", "sortBy name: a complex attribute has no order; name one of its sub-attributes."),
            (OWN, "sortBy urn:x:2.0:User: a schema has no order; name one of its attributes."),
        ] {
            let error = resolve(sort_by, &model().types()).expect_err(sort_by);
            assert_eq!((error.kind, error.detail.as_str()), (ErrorKind::InvalidValue, detail));
        }
        assert!(resolve("members", &[model().of(Kind::User)]).is_err());
    }

    #[test]
    fn keys_are_in_order_and_survive_a_cursor() {
        let ordered = [
            json!(false),
            json!(true),
            json!(-1.5),
            json!(0),
            json!(u64::MAX),
            json!([-1, 999_999_999]),
            json!([0, 0]),
            json!([0, 1]),
            json!(""),
            json!("a"),
            json!("é"),
            json!(null),
        ];
        let keys: Vec<SortKey> =
            ordered.iter().map(|value| SortKey::from_value(value).expect("a key")).collect();
        for (i, (key, value)) in keys.iter().zip(&ordered).enumerate() {
            assert_eq!(&key.to_value(), value);
            for (j, other) in keys.iter().enumerate() {
                assert_eq!(key.cmp(other), i.cmp(&j), "{key:?} and {other:?}");
            }
        }
        assert_eq!(SortKey::from_value(&json!(1)), SortKey::from_value(&json!(1.0)));
        for value in
            [json!([]), json!([1]), json!([1, -1]), json!([1, 1_000_000_000]), json!(["1", 1]), json!({})]
        {
            assert_eq!(SortKey::from_value(&value), None, "{value}");
        }
    }
}
