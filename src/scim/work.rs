//! A limit on what one request may compute in the core.
//!
//! The core has no clock. It counts steps instead, and the caller passes in a budget of steps. Most requests use a
//! millionth of it. Only a request that is made to be expensive exceeds it.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value};

use super::error::{ErrorKind, ScimError};
use super::notes::Notes;
use crate::limits::MAX_STEPS_PER_REQUEST;

/// How many bytes of a text are looked at in one step.
const BYTES_PER_STEP: usize = 32;

/// The steps that it takes to fold one byte of a text that is not ASCII, beside one step for each byte
/// of the result. Measured with slow texts: ligatures that become eighteen characters, and Hangul in
/// parts.
const STEPS_PER_FOLDED_BYTE: u64 = 2;

/// How many bytes of the result we assume for one byte of a text that is not folded yet. A few texts
/// grow elevenfold.
const ASSUMED_GROWTH: u64 = 3;

/// An estimate of the steps that it takes to compare a text, or to fold it.
pub fn text_steps(text: &str) -> u64 {
    let bytes = text.len() as u64;
    if text.is_ascii() {
        bytes / BYTES_PER_STEP as u64
    } else {
        bytes * (STEPS_PER_FOLDED_BYTE + ASSUMED_GROWTH)
    }
}

/// The steps that it takes to read, copy or write a document once.
pub fn document_steps(document: &Map<String, Value>) -> u64 {
    fn steps(value: &Value) -> u64 {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 1,
            Value::String(text) => WorkBudget::steps_of_text(text.len()),
            Value::Array(elements) => 1 + elements.iter().map(steps).sum::<u64>(),
            Value::Object(object) => document_steps(object),
        }
    }
    1 + document.values().map(steps).sum::<u64>()
}

/// The steps that it takes to look at a value and at all in it.
pub fn value_steps(value: &Value) -> u64 {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
        Value::String(text) => 1 + text_steps(text),
        Value::Array(elements) => 1 + elements.iter().map(value_steps).sum::<u64>(),
        Value::Object(object) => 1 + object.values().map(value_steps).sum::<u64>(),
    }
}

/// The steps that it takes to put one comparison to each of these elements.
pub fn scan_steps(elements: &[Value]) -> u64 {
    fn element_steps(value: &Value) -> u64 {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => text_steps(text),
            Value::Array(elements) => elements.iter().map(element_steps).sum(),
            Value::Object(object) => object.values().map(element_steps).sum(),
        }
    }
    elements.iter().map(|element| 1 + element_steps(element)).sum()
}

/// The steps that are left to one request, and the notes that its work leaves.
#[derive(Debug)]
pub struct WorkBudget {
    left: AtomicU64,
    refusal: ErrorKind,
    /// What the core tells of the request.
    pub notes: Notes,
}

impl WorkBudget {
    /// The budget of a request that only asks: beyond it the answer is 400 `tooMany`.
    pub const fn of_query() -> Self {
        Self::new(MAX_STEPS_PER_REQUEST, ErrorKind::TooMany)
    }

    /// The budget of a request whose body is to be stored: beyond it the answer is 413.
    pub const fn of_body() -> Self {
        Self::new(MAX_STEPS_PER_REQUEST, ErrorKind::PayloadTooLarge)
    }

    /// A budget of this many steps, whose end is answered by this kind of error.
    pub const fn new(steps: u64, refusal: ErrorKind) -> Self {
        Self { left: AtomicU64::new(steps), refusal, notes: Notes::new() }
    }

    /// Takes steps from the budget, before they are taken.
    ///
    /// # Errors
    /// `tooMany` or 413 when fewer are left.
    pub fn spend(&self, steps: u64) -> Result<(), ScimError> {
        let take = |left: u64| left.checked_sub(steps);
        match self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Ok(()),
            Err(_) => Err(self.exhausted()),
        }
    }

    /// Takes the steps that it costs to look at a text of this many bytes once.
    ///
    /// # Errors
    /// As [`WorkBudget::spend`].
    pub fn spend_on_text(&self, bytes: usize) -> Result<(), ScimError> {
        self.spend(Self::steps_of_text(bytes))
    }

    /// Folds a text and takes the steps that this costs: some before, and some for the result.
    ///
    /// # Errors
    /// As [`WorkBudget::spend`].
    pub fn fold<'t>(
        &self,
        text: &'t str,
        fold: impl FnOnce(&'t str) -> Cow<'t, str>,
    ) -> Result<Cow<'t, str>, ScimError> {
        if text.is_ascii() {
            self.spend_on_text(text.len())?;
            return Ok(fold(text));
        }
        self.spend(text.len() as u64 * STEPS_PER_FOLDED_BYTE)?;
        let folded = fold(text);
        self.spend(folded.len() as u64)?;
        Ok(folded)
    }

    /// The steps that it costs to look at a text of this many bytes once.
    pub const fn steps_of_text(bytes: usize) -> u64 {
        1 + (bytes / BYTES_PER_STEP) as u64
    }

    /// Does work whose result may be thrown away. Its steps are taken from this budget, and it leaves no notes.
    ///
    /// # Errors
    /// The errors of `work`.
    pub fn try_out<T>(&self, work: impl FnOnce(&Self) -> Result<T, ScimError>) -> Result<T, ScimError> {
        let before = self.left();
        let trial = Self::new(before, self.refusal);
        let result = work(&trial);
        self.spend(before - trial.left())?;
        result
    }

    /// How many steps are left.
    pub fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    fn exhausted(&self) -> ScimError {
        // Nothing more is done for this request, however little it would be.
        self.left.store(0, Ordering::Relaxed);
        ScimError::new(
            self.refusal,
            match self.refusal {
                ErrorKind::TooMany => {
                    "The query needs more work than one request may cause. Use fewer terms in the filter, or filter by an attribute that is looked up: id, userName, externalId, emails.value or displayName with eq."
                }
                _ => {
                    "The body needs more work than one request may cause. Send fewer operations, shorter filters or shorter lists in each request."
                }
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::note_texts::NoteKind;

    #[test]
    fn a_budget_ends_once_and_for_all() {
        let budget = WorkBudget::new(10, ErrorKind::TooMany);
        assert!(budget.spend(4).is_ok());
        assert!(budget.spend_on_text(64).is_ok());
        assert_eq!(budget.left(), 3);
        assert_eq!(budget.spend(4).map_err(|error| error.kind), Err(ErrorKind::TooMany));
        assert!(budget.spend(1).is_err(), "what is over stays over");
        let folds = WorkBudget::new(100, ErrorKind::TooMany);
        assert!(folds.fold("\u{fdfa}", |text| Cow::Owned(text.repeat(2))).is_ok());
        assert_eq!(folds.left(), 88, "two steps for each of three bytes, and six bytes of the result");
        assert!(folds.fold("ascii", Cow::Borrowed).is_ok());
        assert_eq!(folds.left(), 87);
        let body = WorkBudget::new(0, ErrorKind::PayloadTooLarge);
        assert_eq!(body.spend(1).map_err(|error| error.kind.wire().0), Err(413));
    }

    #[test]
    fn a_trial_is_paid_for_and_leaves_no_notes() {
        let budget = WorkBudget::new(10, ErrorKind::PayloadTooLarge);
        let tried = budget.try_out(|trial| {
            trial.notes.add(NoteKind::Coerced, "title");
            trial.spend(4)
        });
        assert_eq!((tried, budget.left()), (Ok(()), 6));
        assert!(budget.notes.take().is_empty());
        let refused = budget.try_out(|_| Err::<(), _>(ScimError::invalid_value("no")));
        assert_eq!((refused, budget.left()), (Err(ScimError::invalid_value("no")), 6));
        let ended = budget.try_out(|trial| trial.spend(7));
        assert_eq!(ended.map_err(|error| error.kind), Err(ErrorKind::PayloadTooLarge));
        assert_eq!(budget.left(), 0);
    }
}
