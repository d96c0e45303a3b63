//! The document of a resource: parsed, where rules look into it, or the text as it is stored, where it is only
//! copied into an answer.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::scim::json::push_text;

/// A document that can be written into an answer.
pub trait Document {
    /// The attributes, in their order.
    fn attributes(&self) -> impl Iterator<Item = (&str, AttributeText<'_>)>;

    /// The value of one attribute.
    fn value(&self, name: &str) -> Option<Cow<'_, Value>>;
}

/// The value of an attribute, as it is at hand.
#[derive(Clone, Copy, Debug)]
pub enum AttributeText<'d> {
    /// Compact JSON.
    Raw(&'d str),
    /// Parsed.
    Parsed(&'d Value),
}

impl AttributeText<'_> {
    /// Whether it is no value: null, an empty array or an empty object (RFC 7643 §2.5).
    pub fn is_unassigned(self) -> bool {
        match self {
            Self::Raw(text) => matches!(text, "null" | "[]" | "{}"),
            Self::Parsed(Value::Null) => true,
            Self::Parsed(Value::Array(elements)) => elements.is_empty(),
            Self::Parsed(Value::Object(object)) => object.is_empty(),
            Self::Parsed(_) => false,
        }
    }

    /// The value, parsed.
    pub fn to_value(self) -> Value {
        match self {
            Self::Raw(text) => serde_json::from_str(text).unwrap_or_default(),
            Self::Parsed(value) => value.clone(),
        }
    }

    /// Writes it as compact JSON.
    pub fn write(self, out: &mut String) {
        match self {
            Self::Raw(text) => out.push_str(text),
            Self::Parsed(Value::String(text)) => push_text(out, text),
            Self::Parsed(value) => out.push_str(&serde_json::to_string(value).unwrap_or_default()),
        }
    }
}

impl Document for Map<String, Value> {
    fn attributes(&self) -> impl Iterator<Item = (&str, AttributeText<'_>)> {
        self.iter().map(|(name, value)| (name.as_str(), AttributeText::Parsed(value)))
    }

    fn value(&self, name: &str) -> Option<Cow<'_, Value>> {
        self.get(name).map(Cow::Borrowed)
    }
}

/// A stored document of which only the names are parsed.
#[derive(Clone, Debug)]
pub struct RawDocument<'t>(Vec<(Cow<'t, str>, &'t RawValue)>);

impl Document for RawDocument<'_> {
    fn attributes(&self) -> impl Iterator<Item = (&str, AttributeText<'_>)> {
        self.0.iter().map(|(name, value)| (&**name, AttributeText::Raw(value.get())))
    }

    fn value(&self, name: &str) -> Option<Cow<'_, Value>> {
        let found = self.attributes().find(|(own, _)| *own == name);
        found.map(|(_, value)| Cow::Owned(value.to_value()))
    }
}

impl<'de: 't, 't> Deserialize<'de> for RawDocument<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RawDocumentVisitor).map(RawDocument)
    }
}

struct RawDocumentVisitor;

impl<'de> Visitor<'de> for RawDocumentVisitor {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a document")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut read = Vec::with_capacity(24);
        while let Some((AttributeName(name), value)) = members.next_entry()? {
            read.push((name, value));
        }
        Ok(read)
    }
}

#[derive(serde::Deserialize)]
struct AttributeName<'t>(#[serde(borrow)] Cow<'t, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let text = r#"{"userName":"a\"é","name":{"givenName":"J","x":[1.50,null]},"emails":[],"n":null,"o":{},"t":"{}"}"#;
        let parsed: Map<String, Value> = serde_json::from_str(text).expect("a document");
        let raw: RawDocument<'_> = serde_json::from_str(text).expect("a document");
        let written = |value: AttributeText<'_>| {
            let mut out = String::new();
            value.write(&mut out);
            (out, value.is_unassigned())
        };
        let of_parsed: Vec<_> = parsed.attributes().map(|(name, value)| (name, written(value).1)).collect();
        let of_raw: Vec<_> = raw.attributes().map(|(name, value)| (name, written(value).1)).collect();
        assert_eq!(of_parsed, of_raw);
        for (name, value) in raw.attributes() {
            let (text, _) = written(value);
            assert_eq!(serde_json::from_str::<Value>(&text).ok().as_ref(), parsed.get(name), "{name}");
            assert_eq!(raw.value(name).as_deref(), parsed.get(name), "{name}");
        }
        assert!(raw.value("title").is_none());
        for broken in ["", "[]", "{", "{\"a\":}", "{\"a\":1}}"] {
            assert!(serde_json::from_str::<RawDocument<'_>>(broken).is_err(), "{broken}");
        }
    }
}
