//! Names that stand for values: `{base}`, `{unique}` and the values that a case has captured.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Names that stand for a form instead of a value; they are left for the comparison.
pub const FORMS: &[&str] = &["any", "text", "id", "time", "version", "unordered", "holds", "each"];

/// The values of the names of one case.
#[derive(Clone, Debug, Default)]
pub struct Names(pub BTreeMap<String, Value>);

impl Names {
    /// Gives a name its value.
    pub fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// A text with all names filled in. Forms stay.
    ///
    /// # Errors
    /// A name without a value.
    pub fn text(&self, text: &str) -> Result<String, String> {
        let (mut filled, mut rest) = (String::new(), text);
        while let Some(open) = rest.find('{') {
            filled.push_str(&rest[..open]);
            let tail = &rest[open..];
            let Some(name) = placeholder(tail) else {
                filled.push('{');
                rest = &tail[1..];
                continue;
            };
            let whole = &tail[..name.len() + 2];
            if FORMS.contains(&name.split(':').next().unwrap_or_default()) {
                filled.push_str(whole);
            } else {
                match self.0.get(name) {
                    Some(Value::String(value)) => filled.push_str(value),
                    Some(value) => filled.push_str(&value.to_string()),
                    None => return Err(format!("nothing was captured as {whole}")),
                }
            }
            rest = &tail[whole.len()..];
        }
        filled.push_str(rest);
        Ok(filled)
    }

    /// A value with all names filled in, in keys too. A text that is one name alone becomes its value.
    ///
    /// # Errors
    /// As [`Names::text`].
    pub fn value(&self, value: &Value) -> Result<Value, String> {
        Ok(match value {
            Value::String(text) => {
                let alone = placeholder(text).filter(|name| name.len() + 2 == text.len());
                match alone.and_then(|name| self.0.get(name)) {
                    Some(value) => value.clone(),
                    None => Value::String(self.text(text)?),
                }
            }
            Value::Array(elements) => {
                Value::Array(elements.iter().map(|element| self.value(element)).collect::<Result<_, _>>()?)
            }
            Value::Object(object) => {
                let mut filled = Map::new();
                for (key, value) in object {
                    filled.insert(self.text(key)?, self.value(value)?);
                }
                Value::Object(filled)
            }
            other => other.clone(),
        })
    }
}

/// The name inside the braces that a text begins with.
pub fn placeholder(text: &str) -> Option<&str> {
    let end = text.strip_prefix('{')?.find('}')?;
    let name = &text[1..=end];
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'.');
    (name.as_bytes().first().is_some_and(u8::is_ascii_lowercase) && name.bytes().all(good)).then_some(name)
}
