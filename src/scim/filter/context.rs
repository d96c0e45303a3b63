//! What the evaluation of a filter carries along: the steps that it spent and the forms of texts that
//! it made.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::scim::comparison::Comparison;
use crate::scim::error::ScimError;
use crate::scim::work::WorkBudget;

/// The steps that are counted before they are taken from the budget.
const STEPS_AT_ONCE: u64 = 1_024;

/// What the evaluation of one filter on one resource has spent and made so far.
pub(super) struct EvaluationContext<'w> {
    work: &'w WorkBudget,
    /// Steps that the budget has not been told of.
    steps: u64,
    /// Forms of texts, by the address of the text: that of a value which many terms ask about is
    /// made once.
    forms: HashMap<usize, String>,
}

impl<'w> EvaluationContext<'w> {
    /// A context that has spent nothing.
    pub(super) fn new(work: &'w WorkBudget) -> Self {
        Self { work, steps: 0, forms: HashMap::new() }
    }

    /// Counts steps. They are taken from the budget many at a time.
    ///
    /// # Errors
    /// The error of [`WorkBudget::spend`]: 413 or `tooMany`.
    pub(super) fn spend(&mut self, steps: u64) -> Result<(), ScimError> {
        self.steps += steps;
        if self.steps < STEPS_AT_ONCE {
            return Ok(());
        }
        self.work.spend(std::mem::take(&mut self.steps))
    }

    /// Spends what it takes to look at a text once.
    ///
    /// # Errors
    /// The error of [`WorkBudget::spend`]: 413 or `tooMany`.
    pub(super) fn look_at(&mut self, text: &str) -> Result<(), ScimError> {
        self.spend(WorkBudget::steps_of_text(text.len()))
    }

    /// Returns the form in which a text of the resource compares.
    ///
    /// # Errors
    /// The error of [`WorkBudget::spend`]: 413 or `tooMany`.
    pub(super) fn form(&mut self, text: &str, comparison: Comparison) -> Result<&str, ScimError> {
        // The resource stays where it is as long as it is looked at, so an address stands for a text
        // of one attribute.
        match self.forms.entry(text.as_ptr().addr()) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => Ok(entry.insert(comparison.form_within(text, self.work)?.into_owned())),
        }
    }

    /// Tells the budget of the steps that it does not know of yet.
    ///
    /// # Errors
    /// The error of [`WorkBudget::spend`]: 413 or `tooMany`.
    pub(super) fn finish(self) -> Result<(), ScimError> {
        self.work.spend(self.steps)
    }
}
