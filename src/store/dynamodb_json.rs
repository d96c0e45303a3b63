//! Items as the JSON in which DynamoDB takes them.

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::error::StoreError;

/// JSON that is being written.
#[derive(Debug)]
pub struct JsonText(Vec<u8>);

impl JsonText {
    /// Nothing yet, with room for this many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// The bytes that were written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Adds what is JSON already.
    pub fn raw(&mut self, json: &str) {
        self.0.extend_from_slice(json.as_bytes());
    }

    /// Adds a text in quotes.
    pub fn text(&mut self, text: &str) {
        // Every byte is looked at, so that the processor can look at many at once.
        let special = |byte: u8| u8::from(byte == b'"') | u8::from(byte == b'\\') | u8::from(byte < 0x20);
        if text.bytes().fold(0, |found, byte| found | special(byte)) == 0 {
            self.0.push(b'"');
            self.raw(text);
            self.0.push(b'"');
        } else {
            // Writing to memory does not fail.
            let _ = serde_json::to_writer(&mut self.0, text);
        }
    }

    /// Adds the name of a member, after a comma unless it is the first of its object.
    pub fn name(&mut self, name: &str) {
        self.separate();
        self.text(name);
        self.0.push(b':');
    }

    /// Adds a comma, unless nothing is before it in its list or object.
    pub fn separate(&mut self) {
        if !matches!(self.0.last(), None | Some(b'{' | b'[')) {
            self.0.push(b',');
        }
    }

    /// Adds attributes to the object that was begun.
    ///
    /// # Errors
    /// As [`JsonText::value`].
    pub fn attributes<'a>(
        &mut self,
        attributes: impl IntoIterator<Item = (&'a String, &'a AttributeValue)>,
    ) -> Result<(), StoreError> {
        for (name, value) in attributes {
            self.name(name);
            self.value(value)?;
        }
        Ok(())
    }

    /// Adds the value of an attribute.
    ///
    /// # Errors
    /// [`StoreError::Broken`] if its kind is unknown.
    pub fn value(&mut self, value: &AttributeValue) -> Result<(), StoreError> {
        match value {
            AttributeValue::S(text) => self.one("{\"S\":", text),
            AttributeValue::N(number) => self.one("{\"N\":", number),
            AttributeValue::B(bytes) => self.one("{\"B\":", &BASE64.encode(bytes)),
            AttributeValue::Bool(flag) => self.raw(if *flag { "{\"BOOL\":true" } else { "{\"BOOL\":false" }),
            AttributeValue::Null(flag) => self.raw(if *flag { "{\"NULL\":true" } else { "{\"NULL\":false" }),
            AttributeValue::Ss(texts) => self.each("{\"SS\":[", texts, |json, text| json.text(text)),
            AttributeValue::Ns(numbers) => self.each("{\"NS\":[", numbers, |json, number| json.text(number)),
            AttributeValue::Bs(all) => {
                self.each("{\"BS\":[", all, |json, bytes| json.text(&BASE64.encode(bytes)));
            }
            AttributeValue::L(values) => {
                self.raw("{\"L\":[");
                for value in values {
                    self.separate();
                    self.value(value)?;
                }
                self.raw("]");
            }
            AttributeValue::M(map) => {
                self.raw("{\"M\":{");
                self.attributes(map)?;
                self.raw("}");
            }
            _ => return Err(StoreError::Broken("an attribute of an unknown kind".to_owned())),
        }
        self.raw("}");
        Ok(())
    }

    fn one(&mut self, before: &str, text: &str) {
        self.raw(before);
        self.text(text);
    }

    fn each<T>(&mut self, before: &str, elements: &[T], write: impl Fn(&mut Self, &T)) {
        self.raw(before);
        for element in elements {
            self.separate();
            write(self, element);
        }
        self.raw("]");
    }
}
