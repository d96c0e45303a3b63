//! What a rule answers when it refuses, and how that looks on the wire (RFC 7644 §3.12).

use std::fmt;

use serde_json::{Value, json};

use super::note_texts::Rule;
use super::notes::{Note, advise};
use super::policy::Policy;
use super::urn;
use crate::limits::{MAX_FAULTS_GATHERED, MAX_FAULTS_NAMED};

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The filter is malformed, or compares what cannot be compared.
    InvalidFilter,
    /// The filter or the result is larger than the server processes.
    TooMany,
    /// A value that must be unique is taken.
    Uniqueness,
    /// The change is not compatible with the attribute's mutability.
    Mutability,
    /// The body is not what the operation's grammar asks for.
    InvalidSyntax,
    /// The PATCH path is malformed or names something unknown.
    InvalidPath,
    /// The PATCH path selects nothing.
    NoTarget,
    /// A value is missing, of the wrong type, or not acceptable.
    InvalidValue,
    /// The cursor was not made by this server for this query (RFC 9865 §2.1).
    InvalidCursor,
    /// The cursor is too old (RFC 9865 §2.1).
    ExpiredCursor,
    /// The count cannot be used with a cursor (RFC 9865 §2.1).
    InvalidCount,
    /// The tenant's own limit forbids it for now.
    Limited,
    /// No key, or one that is not valid.
    Unauthorized,
    /// The key is valid but its scope does not cover the operation.
    Forbidden,
    /// No such resource or endpoint.
    NotFound,
    /// The endpoint exists but not with this method.
    MethodNotAllowed,
    /// A concurrent change won; the same request may succeed when sent again.
    Conflict,
    /// The resource is not in the version that the client asked for.
    PreconditionFailed,
    /// The body is larger than the limit.
    PayloadTooLarge,
    /// The body is of a media type that is not JSON.
    UnsupportedMediaType,
    /// More requests than the plan allows.
    TooManyRequests,
    /// The server does not do this.
    NotImplemented,
    /// A fault of the server.
    Internal,
    /// The table did not answer in time; sending the request again is safe.
    Unavailable,
    /// Other requests change the same resource all the time; sending the request again is safe.
    Busy,
}

impl ErrorKind {
    /// The HTTP status and `scimType` on the wire (RFC 7644 §3.12, Tables 8 and 9; RFC 9865 §2.1).
    pub const fn wire(self) -> (u16, Option<&'static str>) {
        match self {
            Self::InvalidFilter => (400, Some("invalidFilter")),
            Self::TooMany => (400, Some("tooMany")),
            Self::Uniqueness => (409, Some("uniqueness")),
            Self::Mutability => (400, Some("mutability")),
            Self::InvalidSyntax => (400, Some("invalidSyntax")),
            Self::InvalidPath => (400, Some("invalidPath")),
            Self::NoTarget => (400, Some("noTarget")),
            Self::InvalidValue => (400, Some("invalidValue")),
            Self::InvalidCursor => (400, Some("invalidCursor")),
            Self::ExpiredCursor => (400, Some("expiredCursor")),
            Self::InvalidCount => (400, Some("invalidCount")),
            Self::Limited => (400, None),
            Self::Unauthorized => (401, None),
            Self::Forbidden => (403, None),
            Self::NotFound => (404, None),
            Self::MethodNotAllowed => (405, None),
            Self::Conflict => (409, None),
            Self::PreconditionFailed => (412, None),
            Self::PayloadTooLarge => (413, None),
            Self::UnsupportedMediaType => (415, None),
            Self::TooManyRequests => (429, None),
            Self::NotImplemented => (501, None),
            Self::Internal => (500, None),
            Self::Unavailable | Self::Busy => (503, None),
        }
    }

    /// Whether an answer from 500 on is no fault of the service: clients alone can cause it.
    pub const fn is_excused(self) -> bool {
        matches!(self, Self::NotImplemented | Self::Busy)
    }
}

/// A refusal: its kind, and a sentence that tells the operator what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScimError {
    /// Why.
    pub kind: ErrorKind,
    /// For the client: names attributes and expectations, never another tenant's data.
    pub detail: String,
    /// What is wrong, if a rule refused it, or if it is more than one thing.
    faults: Vec<NamedFault>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
struct NamedFault {
    sentence: String,
    /// The rule that refused it, and the attribute.
    rule: Option<(Rule, String)>,
}

impl ScimError {
    /// A refusal of this kind with this sentence.
    pub fn new(kind: ErrorKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), faults: Vec::new() }
    }

    /// The same refusal, with the rule that refused this attribute.
    #[must_use]
    pub fn by(mut self, rule: Rule, attribute: &str) -> Self {
        let rule = Some((rule, attribute.to_owned()));
        self.faults = vec![NamedFault { sentence: self.detail.clone(), rule }];
        self
    }

    /// The rule that refused first, if one did.
    pub fn rule(&self) -> Option<Rule> {
        self.faults.first().and_then(|fault| fault.rule.as_ref()).map(|(rule, _)| *rule)
    }

    /// Whether it ends the reading of a request: the request takes too much work, or the server failed. Other faults are
    /// gathered.
    pub const fn is_final(&self) -> bool {
        self.kind.wire().0 != 400 || matches!(self.kind, ErrorKind::TooMany)
    }

    /// Whether only rules of a tenant's policy refused, and this other policy has none of them.
    pub fn is_accepted_by(&self, policy: &Policy) -> bool {
        let accepts = |rule: &(Rule, String)| rule.0.asked_by(policy, &rule.1) == Some(false);
        !self.faults.is_empty() && self.faults.iter().all(|fault| fault.rule.as_ref().is_some_and(accepts))
    }

    /// Adds the faults of another refusal. The kind stays. `detail` names the first [`MAX_FAULTS_NAMED`] faults, and
    /// says how many more there are.
    pub fn join(&mut self, other: Self) {
        let own = std::mem::take(&mut self.faults);
        let own =
            if own.is_empty() { vec![NamedFault { sentence: self.detail.clone(), rule: None }] } else { own };
        self.faults = own;
        let more = if other.faults.is_empty() {
            vec![NamedFault { sentence: other.detail, rule: None }]
        } else {
            other.faults
        };
        for fault in more {
            if self.faults.len() < MAX_FAULTS_GATHERED && !self.faults.contains(&fault) {
                self.faults.push(fault);
            }
        }
        let named = self.faults.iter().take(MAX_FAULTS_NAMED).map(|fault| as_sentence(&fault.sentence));
        self.detail = named.collect::<Vec<_>>().join(" ");
        match self.faults.len().saturating_sub(MAX_FAULTS_NAMED) {
            0 => {}
            1 => self.detail.push_str(" There is 1 more fault."),
            more => self.detail.push_str(&format!(" There are {more} more faults.")),
        }
    }

    /// The same refusal, with what to change at the identity provider.
    #[must_use]
    pub fn with_advice(&self, policy: &Policy) -> Self {
        let named = self.faults.iter().take(MAX_FAULTS_NAMED).filter_map(|fault| fault.rule.as_ref());
        let named: Vec<(Rule, &str)> = named.map(|(rule, attribute)| (*rule, attribute.as_str())).collect();
        let advice = advise(policy, &named, named.len() == self.faults.len());
        let mut explained = self.clone();
        if !advice.is_empty() {
            explained.detail = format!("{} {advice}", as_sentence(&self.detail));
        }
        explained
    }

    /// The notes of the rules that refused.
    pub fn notes<'e>(&'e self, policy: &'e Policy) -> impl Iterator<Item = Note> + 'e {
        let rules = self.faults.iter().filter_map(|fault| fault.rule.as_ref());
        rules.map(|(rule, attribute)| Note::refused(*rule, policy, attribute))
    }

    /// The error body (RFC 7644 §3.12): `status` is a string.
    pub fn body(&self) -> Value {
        let (status, scim_type) = self.kind.wire();
        let mut body = json!({ "schemas": [urn::ERROR], "status": status.to_string() });
        if let Some(scim_type) = scim_type {
            body["scimType"] = scim_type.into();
        }
        body["detail"] = self.detail.as_str().into();
        body
    }
}

impl fmt::Display for ScimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (status, scim_type) = self.kind.wire();
        write!(f, "{status} {}: {}", scim_type.unwrap_or("error"), self.detail)
    }
}

impl std::error::Error for ScimError {}

/// A text that further sentences can follow.
fn as_sentence(text: &str) -> String {
    if text.ends_with(['.', '!', '?', ')']) { text.to_owned() } else { format!("{text}.") }
}

macro_rules! constructors {
    ($($name:ident => $kind:ident),* $(,)?) => {
        impl ScimError {
            $(
                #[doc = concat!("A refusal of kind [`ErrorKind::", stringify!($kind), "`].")]
                pub fn $name(detail: impl Into<String>) -> Self {
                    Self::new(ErrorKind::$kind, detail)
                }
            )*
        }
    };
}

constructors! {
    invalid_filter => InvalidFilter,
    too_many => TooMany,
    uniqueness => Uniqueness,
    mutability => Mutability,
    invalid_syntax => InvalidSyntax,
    invalid_path => InvalidPath,
    no_target => NoTarget,
    invalid_value => InvalidValue,
    not_found => NotFound,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_a_string_and_the_type_comes_from_the_table() {
        let body = ScimError::uniqueness("userName is taken").body();
        assert_eq!(
            body,
            json!({ "schemas": [urn::ERROR], "status": "409", "scimType": "uniqueness", "detail": "userName is taken" })
        );
        assert!(ScimError::not_found("no such user").body().get("scimType").is_none());
    }
}
