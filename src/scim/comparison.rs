//! How the texts of an attribute compare. Filters, look-ups, claims, sorting and PATCH all ask here:
//! what a filter finds is exactly what a claim holds.

use std::borrow::Cow;

use super::error::ScimError;
use super::fold::fold;
use super::username::canonical;
use super::work::WorkBudget;

/// How the texts of an attribute compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Byte by byte (`caseExact`, RFC 7643 §2.2).
    Exact,
    /// Letter case and compatibility forms do not count: [`fold`].
    Folded,
    /// As user names (RFC 7644 §5): [`canonical`].
    UserName,
}

impl Comparison {
    /// The form of a text that is the same for all texts which compare as equal. Texts are ordered by
    /// it, too. Taking the form of a form changes nothing.
    pub fn form(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Exact => Cow::Borrowed(text),
            Self::Folded => Cow::Owned(fold(text)),
            Self::UserName => Cow::Owned(canonical(text)),
        }
    }

    /// [`Self::form`], charged to a budget: a text can grow elevenfold.
    ///
    /// # Errors
    /// The error of [`WorkBudget::spend`]: 413 or `tooMany`.
    pub fn form_within<'t>(self, text: &'t str, work: &WorkBudget) -> Result<Cow<'t, str>, ScimError> {
        if self == Self::Exact {
            work.spend_on_text(text.len())?;
            return Ok(Cow::Borrowed(text));
        }
        work.fold(text, |text| self.form(text))
    }
}

#[cfg(test)]
mod tests {
    use super::Comparison::{Exact, Folded, UserName};

    #[test]
    fn each_kind_of_text_has_its_own_equality() {
        for (a, b, equal) in [
            ("a", "a", &[Exact, Folded, UserName][..]),
            ("a", "A", &[Folded, UserName]),
            ("Ａ", "a", &[Folded, UserName]),
            ("é", "E\u{301}", &[Folded, UserName]),
            ("straße", "STRASSE", &[Folded]),
            ("a", "b", &[]),
        ] {
            for comparison in [Exact, Folded, UserName] {
                let expected = equal.contains(&comparison);
                assert_eq!(comparison.form(a) == comparison.form(b), expected, "{a} {b} {comparison:?}");
            }
        }
    }
}
