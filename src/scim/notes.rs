//! What the core made of a request, told beside the answer: what it read in another form, left out, looked up or
//! refused, and what to change at the identity provider.
//!
//! A note is a code with the name of an attribute. It never holds a value. All texts of notes and hints are in
//! [`note_texts`](super::note_texts).

use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::note_texts::{MAPPINGS, NoteKind, Rule};
use super::policy::{Policy, STANDARD, STRICT, VEZA};
use crate::limits::{MAX_NOTE_NAME_BYTES, MAX_NOTES};

impl Rule {
    /// Whether the policy asks for this of an attribute; `None` for a rule that no policy decides.
    pub(super) fn asked_by(self, policy: &Policy, attribute: &str) -> Option<bool> {
        let root = attribute.split('.').next().unwrap_or(attribute);
        Some(match self {
            Self::RequiredOfUser => policy.required_of_user.iter().any(|path| {
                *path == attribute
                    || *path == root
                    || (attribute == root && path.split('.').next() == Some(root))
            }),
            Self::PrimaryEmail => policy.primary_email_required,
            Self::UserNameIsEmail => policy.user_name_is_primary_email,
            Self::GroupsOfUser => policy.refuses_groups_in_user,
            Self::GroupAttributes => policy.group_attributes.is_some(),
            Self::GroupName => policy.unique_group_name,
            Self::KnownAttribute
            | Self::KnownMember
            | Self::Schemas
            | Self::ExactType
            | Self::ExactBoolean
            | Self::CanonicalValue => !policy.tolerant,
            Self::Target => !policy.replace_creates,
            _ => return None,
        })
    }

    /// The code, behind the name of the policy if it is the policy that asks.
    fn code(self, policy: &Policy, attribute: &str) -> String {
        let (code, _, _) = self.texts();
        match self.asked_by(policy, attribute) {
            Some(true) => format!("{}.{code}", policy.name),
            _ => code.to_owned(),
        }
    }
}

/// What to change about faults: which of them the policy asks for, how an identity provider is set up, and which policy
/// takes the request. `faults` are rules that refused attributes. `are_all` says that there are no other faults.
pub fn advise(policy: &Policy, faults: &[(Rule, &str)], are_all: bool) -> String {
    let mut sentences = Vec::new();
    let is_asked = |(rule, attribute): &&(Rule, &str)| rule.asked_by(policy, attribute) == Some(true);
    let asked: Vec<_> = faults.iter().filter(is_asked).collect();
    match asked.as_slice() {
        [] => {}
        [(first, _), ..] if are_all && asked.len() == faults.len() => {
            let is_one = asked.iter().all(|(rule, _)| rule == first);
            let rules = if is_one { "This is a rule" } else { "These are rules" };
            sentences.push(format!("{rules} of the tenant's policy {}.", policy.name));
        }
        some => {
            let names: Vec<_> = some.iter().map(|(_, attribute)| *attribute).collect();
            sentences.push(format!("The tenant's policy {} refuses {}.", policy.name, names.join(", ")));
        }
    }
    let mut named_mappings = false;
    for (at, (rule, _)) in faults.iter().enumerate() {
        let (_, _, fix) = rule.texts();
        if fix.is_empty() || faults[..at].iter().any(|(earlier, _)| earlier.texts().2 == fix) {
            continue;
        }
        // Where mappings are is said once.
        let fix = if named_mappings {
            fix.replace(" ({mappings})", "")
        } else {
            fix.replace("{mappings}", MAPPINGS)
        };
        named_mappings = named_mappings || fix.contains(MAPPINGS);
        sentences.push(fix);
    }
    let takes_all = |other: &&&Policy| {
        are_all && faults.iter().all(|(rule, attribute)| rule.asked_by(other, attribute) == Some(false))
    };
    // The one that differs least from what was asked for comes first.
    if let Some(other) = [&STANDARD, &VEZA, &STRICT].iter().find(takes_all).filter(|_| !asked.is_empty()) {
        sentences.push(format!(
            "A tenant with the policy {0} takes it (rollcall tenant create TENANT --policy {0}).",
            other.name
        ));
    }
    sentences.join(" ")
}

/// One note: what happened, and to which attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    kind: NoteKind,
    /// The name of an attribute or resource type, or empty.
    name: String,
    /// The code of the rule, where one refused.
    rule: Option<String>,
}

impl Note {
    /// A note about an attribute or type.
    pub fn new(kind: NoteKind, name: &str) -> Self {
        Self { kind, name: loggable_name(name), rule: None }
    }

    /// The note of a rule that refused.
    pub fn refused(rule: Rule, policy: &Policy, attribute: &str) -> Self {
        let code = rule.code(policy, attribute);
        Self { rule: Some(code), ..Self::new(NoteKind::Refused(rule), attribute) }
    }

    /// The note in words.
    pub fn words(&self) -> String {
        let words = self.kind.texts().1.replace("{}", &self.name);
        match &self.rule {
            Some(rule) => format!("refused by {rule}: {words}"),
            None => words,
        }
    }
}

/// The code: `ignored:password`, `refused:veza.required:displayName`.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.texts().0)?;
        let rest = [self.rule.as_deref().unwrap_or_default(), &self.name];
        rest.into_iter().filter(|part| !part.is_empty()).try_for_each(|part| write!(f, ":{part}"))
    }
}

/// The notes of one request: each once, [`MAX_NOTES`] at most.
#[derive(Debug, Default)]
pub struct Notes(Mutex<Vec<Note>>);

impl Notes {
    /// No notes.
    pub const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Adds a note about an attribute or type.
    pub fn add(&self, kind: NoteKind, name: &str) {
        self.push(Note::new(kind, name));
    }

    /// Adds a note.
    pub fn push(&self, note: Note) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if notes.len() > MAX_NOTES || notes.contains(&note) {
            return;
        }
        let full = notes.len() == MAX_NOTES;
        notes.push(if full { Note::new(NoteKind::More, "") } else { note });
    }

    /// Takes all notes out.
    pub fn take(&self) -> Vec<Note> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A name as it may stand in a log. A client chooses the names of attributes that no schema defines. What does not
/// look like the name of an attribute could be a value, and is left out.
fn loggable_name(name: &str) -> String {
    // The filter in a path holds values.
    let (path, selection) = name.split_once('[').unwrap_or((name, ""));
    let sub = selection.rsplit_once("].").map(|(_, sub)| sub);
    let is_name = |text: &str| {
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b':' | b'_' | b'-' | b'$');
        text.bytes().next().is_none_or(|b| b.is_ascii_alphabetic() || b == b'$') && text.bytes().all(good)
    };
    let whole = match sub {
        Some(sub) => format!("{path}.{sub}"),
        None => path.to_owned(),
    };
    let short = whole.len() <= MAX_NOTE_NAME_BYTES && !looks_secret(&whole);
    if short && is_name(&whole) { whole } else { "?".to_owned() }
}

/// What bearer keys, application keys, client secrets, access tokens and webhook secrets begin with.
const SECRET_HEADS: [&str; 5] = ["rc_", "rca_", "rcs_", "rct_", "whsec_"];

/// Whether a text holds the beginning of a key, a token or a secret, also within a word.
pub fn may_hold_secret(text: &str) -> bool {
    SECRET_HEADS.iter().any(|head| text.contains(head))
}

/// Whether a text that a client chose holds what looks like a key, a token or a secret. No log may have it.
pub fn looks_secret(text: &str) -> bool {
    let begins = |at: usize| !text[..at].ends_with(|before: char| before.is_ascii_alphanumeric());
    SECRET_HEADS.iter().any(|head| text.match_indices(head).any(|(at, _)| begins(at)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::policy::POLICIES;

    #[test]
    fn codes_hold_names_and_never_values() {
        for (name, expected) in [
            ("password", "ignored:password"),
            ("urn:x:y:2.0:User:badge", "ignored:urn:x:y:2.0:User:badge"),
            ("emails[type eq \"a@example.com\"].value", "ignored:emails.value"),
            ("members[value eq \"u\"]", "ignored:members"),
            ("a@example.com", "ignored:?"),
            ("Jane Doe", "ignored:?"),
            ("7", "ignored:?"),
            ("rc_acme_abc", "ignored:?"),
            ("name.rct_acme_abc", "ignored:?"),
            ("urn:x:y:2.0:User:rca_abc", "ignored:?"),
            ("emails[type eq \"work\"].rcs_acme_abc", "ignored:?"),
            ("x-whsec_abc", "ignored:?"),
            ("src_system", "ignored:src_system"),
            (&"x".repeat(101), "ignored:?"),
            ("é", "ignored:?"),
            ("", "ignored"),
        ] {
            assert_eq!(Note::new(NoteKind::Unknown, name).to_string(), expected, "{name}");
        }
        let refused = Note::refused(Rule::RequiredOfUser, &VEZA, "name.givenName");
        assert_eq!(refused.to_string(), "refused:veza.required:name.givenName");
        assert_eq!(refused.words(), "refused by veza.required: name.givenName must have a value");
        assert_eq!(
            Note::refused(Rule::UserName, &VEZA, "userName").to_string(),
            "refused:user_name:userName"
        );
    }

    #[test]
    fn a_request_has_few_notes_and_each_once() {
        let notes = Notes::new();
        for at in 0..3 * MAX_NOTES {
            notes.add(NoteKind::Unknown, &format!("a{}", at / 2));
        }
        let codes: Vec<String> = notes.take().iter().map(ToString::to_string).collect();
        assert_eq!(codes.len(), MAX_NOTES + 1);
        assert_eq!((codes[0].as_str(), codes[MAX_NOTES].as_str()), ("ignored:a0", "more"));
        assert!(notes.take().is_empty());
    }

    #[test]
    fn advice_names_the_policy_that_asks_and_one_that_does_not() {
        for (rule, policy, attribute, names) in [
            (Rule::RequiredOfUser, &VEZA, "name.givenName", Some("standard")),
            (Rule::RequiredOfUser, &VEZA, "emails.value", Some("standard")),
            (Rule::RequiredOfUser, &VEZA, "userName", None),
            (Rule::UserNameIsEmail, &VEZA, "userName", Some("standard")),
            (Rule::KnownAttribute, &STRICT, "shoe", Some("standard")),
            (Rule::GroupName, &STANDARD, "displayName", Some("strict")),
        ] {
            let advice = advise(policy, &[(rule, attribute)], true);
            let rule = format!("This is a rule of the tenant's policy {}. ", policy.name);
            assert!(advice.starts_with(&rule), "{advice}");
            let other = names.map(|name| format!("rollcall tenant create TENANT --policy {name})"));
            assert_eq!(advice.contains("A tenant with"), other.is_some(), "{advice}");
            assert!(other.is_none_or(|other| advice.contains(&other)), "{advice}");
        }
        for policy in POLICIES {
            assert!(!advise(policy, &[(Rule::Type, "title")], true).contains("policy"));
        }
    }

    #[test]
    fn advice_on_several_faults_says_each_thing_once() {
        let missing = (Rule::RequiredOfUser, "name.givenName");
        let all = advise(&VEZA, &[missing, (Rule::UserNameIsEmail, "userName")], true);
        assert!(all.starts_with("These are rules of the tenant's policy veza. "), "{all}");
        assert!(all.contains("A tenant with the policy standard takes it"), "{all}");
        assert_eq!(all.matches(MAPPINGS).count(), 1, "{all}");
        // No policy takes a user without userName, or a value of a wrong type.
        for other in [(Rule::RequiredOfUser, "userName"), (Rule::Type, "title")] {
            let some = advise(&VEZA, &[missing, other], true);
            assert!(!some.contains("A tenant with"), "{some}");
        }
        let some = advise(&STRICT, &[(Rule::ExactType, "title"), (Rule::Type, "nickName")], true);
        assert!(some.starts_with("The tenant's policy strict refuses title. Correct its mapping"), "{some}");
        assert_eq!(some.matches("Correct its mapping").count(), 1, "{some}");
        assert!(!advise(&VEZA, &[missing], false).contains("A tenant with"));
    }
}
