//! Reading bodies: JSON objects with members that are known by name.

use lambda_http::{Body, Request};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::problem::ProblemDetails;
use crate::clock;
use crate::http::request;
use crate::limits::MAX_BODY_BYTES;
use crate::scim::refusal::shorten_text;

/// The members of a body that were not read yet.
#[derive(Debug, Default)]
pub(super) struct BodyFields(Map<String, Value>);

impl BodyFields {
    /// Reads the body.
    ///
    /// # Errors
    /// 413, 415, and 400 for anything but an object.
    pub fn read(request: &Request) -> Result<Self, ProblemDetails> {
        Ok(Self(request::object(request, MAX_BODY_BYTES)?))
    }

    /// Reads a body that may be absent.
    ///
    /// # Errors
    /// As [`BodyFields::read`].
    pub fn read_optional(request: &Request) -> Result<Self, ProblemDetails> {
        match request.body() {
            Body::Empty => Ok(Self::default()),
            body if body.is_empty() => Ok(Self::default()),
            _ => Self::read(request),
        }
    }

    /// Takes a member. `None` if it is absent; JSON's null stays.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// Whether a member is there and is JSON's null.
    pub fn is_null(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(Value::is_null)
    }

    /// Takes a text. `None` if it is absent or null.
    ///
    /// # Errors
    /// 400 for a value of another type.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, ProblemDetails> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(ProblemDetails::invalid(format!("{name} must be a text."))),
        }
    }

    /// Takes a text that stays as it is if it is left out, and cannot be removed.
    ///
    /// # Errors
    /// 400 for null, and for a value of another type.
    pub fn lasting_text(&mut self, name: &str) -> Result<Option<String>, ProblemDetails> {
        match self.is_null(name) {
            true => Err(ProblemDetails::invalid(format!("{name} must be a text, not null."))),
            false => self.text(name),
        }
    }

    /// Takes a text that can be removed. `None` if it is absent, `Some(None)` if it is null.
    ///
    /// # Errors
    /// 400 for a value of another type.
    pub fn removable_text(&mut self, name: &str) -> Result<Option<Option<String>>, ProblemDetails> {
        match self.is_null(name) {
            true => Ok(self.0.remove(name).map(|_| None)),
            false => Ok(self.text(name)?.map(Some)),
        }
    }

    /// Takes a text that must be there.
    ///
    /// # Errors
    /// 400 if it is absent or of another type.
    pub fn required_text(&mut self, name: &str) -> Result<String, ProblemDetails> {
        self.text(name)?.ok_or_else(|| {
            // A misspelled member is the usual reason.
            let others: Vec<String> = self.0.keys().take(5).map(|other| shorten_text(other)).collect();
            let others = if others.is_empty() {
                String::new()
            } else {
                format!("; the body has {}", others.join(", "))
            };
            ProblemDetails::invalid(format!("{name} is required{others}."))
        })
    }

    /// Takes a time in RFC 3339.
    ///
    /// # Errors
    /// 400 for anything else.
    pub fn time(&mut self, name: &str) -> Result<Option<OffsetDateTime>, ProblemDetails> {
        let problem = || {
            ProblemDetails::invalid(format!(
                "{name} must be a time before the year 10000, such as 2027-01-31T18:00:00Z."
            ))
        };
        let text = self.text(name)?;
        text.map(|text| clock::parse(&text).ok_or_else(problem)).transpose()
    }

    /// Takes a whole number within a range.
    ///
    /// # Errors
    /// 400 for anything else.
    pub fn number(
        &mut self,
        name: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>, ProblemDetails> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                value.as_u64().filter(|number| range.contains(number)).map(Some).ok_or_else(|| {
                    let (least, most) = (range.start(), range.end());
                    ProblemDetails::invalid(format!("{name} must be a whole number from {least} to {most}."))
                })
            }
        }
    }

    /// Takes true or false. `None` if it is absent.
    ///
    /// # Errors
    /// 400 for anything else.
    pub fn flag(&mut self, name: &str) -> Result<Option<bool>, ProblemDetails> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(ProblemDetails::invalid(format!("{name} must be true or false."))),
        }
    }

    /// Makes sure that every member was read.
    ///
    /// # Errors
    /// 400 that names a member which the operation does not know.
    pub fn finish(self) -> Result<(), ProblemDetails> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(ProblemDetails::invalid(format!(
                "The body has an unknown member: {}.",
                shorten_text(name)
            ))),
        }
    }
}
