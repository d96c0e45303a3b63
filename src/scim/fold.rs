//! One way to make texts equal that differ only in case or in compatibility form.
//!
//! The same function serves filters, claims and renames: what a filter finds is exactly what a
//! claim holds.

use icu_casemap::CaseMapper;
use icu_normalizer::ComposingNormalizer;

use super::error::ScimError;
use super::work::WorkBudget;

/// The steps that it takes to fold a byte of a text that is not ASCII, beside one for each byte that it
/// becomes. Measured with what is slow: ligatures that become eighteen characters, and Hangul in parts.
const STEPS_PER_BYTE: usize = 2;

/// NFKC, full case folding, and NFKC again, since folding can leave a text that is not normal
/// (Unicode §3.13, D146 asks for the same).
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let nfkc = ComposingNormalizer::new_nfkc();
    let normal = nfkc.normalize(text);
    nfkc.normalize(&CaseMapper::new().fold_string(&normal)).into_owned()
}

/// [`fold`], charged to a budget: a text can grow elevenfold.
///
/// # Errors
/// That of the budget.
pub fn fold_within(text: &str, work: &WorkBudget) -> Result<String, ScimError> {
    if text.is_ascii() {
        work.spend_on_text(text.len())?;
        return Ok(fold(text));
    }
    work.spend((text.len() * STEPS_PER_BYTE) as u64)?;
    let folded = fold(text);
    work.spend(folded.len() as u64)?;
    Ok(folded)
}

#[cfg(test)]
mod tests {
    use super::fold;

    #[test]
    fn equal_whatever_the_case_or_the_form() {
        for (a, b) in [
            ("ALICE@X.COM", "alice@x.com"),
            ("Straße", "STRASSE"),
            ("ﬁn", "FIN"),
            ("É", "e\u{301}"),
            ("ΣΊΣΥΦΟΣ", "σίσυφος"),
            ("Ａ", "a"),
        ] {
            assert_eq!(fold(a), fold(b), "{a:?} and {b:?}");
        }
        assert_ne!(fold("a"), fold("b"));
    }

    #[test]
    fn folding_twice_changes_nothing() {
        for text in ["ẞ", "İ", "ŉ", "\u{345}", "ǰ", "ΐ"] {
            assert_eq!(fold(&fold(text)), fold(text), "{text:?}");
        }
    }
}
