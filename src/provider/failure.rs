//! Why an operation failed: a rule refused it, or the table did.

use crate::limits::{MAX_CHARACTERS_OF_ID_SHOWN, MAX_MEMBERS_NAMED};
use crate::scim::error::{ErrorKind, ScimError};
use crate::scim::note_texts::Rule;
use crate::scim::notes::Notes;
use crate::scim::policy::Policy;
use crate::store::error::{Refusal, StoreError};

/// A failed operation: the error for the client, and its cause for the log.
#[derive(Debug)]
pub struct Failure {
    /// For the client.
    pub error: ScimError,
    /// For the log: what the table said.
    pub source: Option<String>,
}

impl Failure {
    /// The failure of an operation that only reads. Nothing is wrong with a read that other changes got in the way of, so
    /// the client is told to send it again: 503 instead of 409.
    #[must_use]
    pub fn of_read(self) -> Self {
        match self.error.kind {
            ErrorKind::Conflict => Self { error: kept_changing(), ..self },
            _ => self,
        }
    }

    /// Notes which rules refused, and adds to the error what to change at the identity provider.
    pub fn explain(&mut self, policy: &Policy, notes: &Notes) {
        for note in self.error.notes(policy) {
            notes.push(note);
        }
        self.error = self.error.with_advice(policy);
    }
}

impl From<ScimError> for Failure {
    fn from(error: ScimError) -> Self {
        Self { error, source: None }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let source = Some(error.to_string());
        let error = match error {
            StoreError::Refused(refusals) => explain_refusals(&refusals),
            StoreError::Conflict => too_many_conflicts(),
            StoreError::Unavailable(_) | StoreError::Throttled => ScimError::new(
                ErrorKind::Unavailable,
                "The table did not answer in time. Send the same request again.",
            ),
            StoreError::TransactionTooLarge | StoreError::Broken(_) => ScimError::new(
                ErrorKind::Internal,
                "The server failed. The log tells why, under the request id of this answer.",
            ),
        };
        Self { error, source }
    }
}

/// What a cancelled transaction means to the client, when the operation does not try again.
fn explain_refusals(refusals: &[Refusal]) -> ScimError {
    for refusal in refusals {
        match refusal {
            Refusal::Taken(attribute) => return taken(attribute),
            Refusal::Member(id) => return no_such_members(&[id.to_string()]),
            Refusal::Changed | Refusal::Membership | Refusal::Stays(_) | Refusal::Exists | Refusal::Gone => {}
        }
    }
    too_many_conflicts()
}

/// A unique value belongs to another resource (RFC 7644 §3.12).
pub fn taken(attribute: &str) -> ScimError {
    let rule = if attribute == "userName" { Rule::UserName } else { Rule::GroupName };
    ScimError::uniqueness(format!(
        "Another resource has this {attribute}, compared without regard to case. Choose another value."
    ))
    .by(rule, attribute)
}

/// Members that do not exist in the tenant: the first hundred by their ids, and how many more.
pub fn no_such_members(ids: &[impl AsRef<str>]) -> ScimError {
    // What stands in the place of an id can be of any length.
    let shown = |id: &str| match id.char_indices().nth(MAX_CHARACTERS_OF_ID_SHOWN) {
        Some((end, _)) => format!("{}…", &id[..end]),
        None => id.to_owned(),
    };
    let named: Vec<String> = ids.iter().take(MAX_MEMBERS_NAMED).map(|id| shown(id.as_ref())).collect();
    let more = match ids.len().saturating_sub(MAX_MEMBERS_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    ScimError::invalid_value(format!(
        "members names resources that do not exist here: {}{more}. Provision them first.",
        named.join(", ")
    ))
    .by(Rule::Members, "members")
}

/// Whether every reason for which the table refused a write may be gone when the operation starts over.
pub(super) fn may_succeed_on_retry(refusals: &[Refusal]) -> bool {
    let may_change =
        |refusal: &Refusal| matches!(refusal, Refusal::Changed | Refusal::Membership | Refusal::Member(_));
    refusals.iter().all(may_change)
}

/// Changes kept coming in between.
pub fn too_many_conflicts() -> ScimError {
    ScimError::new(
        ErrorKind::Conflict,
        "Other changes of the same resource kept coming in between; nothing was changed. Send the request again.",
    )
}

/// Changes kept coming in between while something was read.
pub fn kept_changing() -> ScimError {
    ScimError::new(
        ErrorKind::Busy,
        "What was asked for kept changing while it was read. Send the same request again.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_exist_is_named_within_bounds() {
        let ids: Vec<String> = (0..105).map(|at| format!("id{at}")).collect();
        let detail = no_such_members(&ids).detail;
        assert!(detail.contains("id0, id1,") && detail.contains("id99 and 5 more."), "{detail}");
        assert!(!detail.contains("id100"), "{detail}");
        let detail = no_such_members(&["ä".repeat(4_000_000)]).detail;
        assert!(
            detail.contains(&format!(": {}….", "ä".repeat(MAX_CHARACTERS_OF_ID_SHOWN))),
            "{}",
            detail.len()
        );
    }
}
