//! How user names compare: the profile UsernameCaseMapped (RFC 8265 §3.3, as RFC 7644 §5 asks).
//!
//! One function serves claims, look-ups, filters and renames: what a filter finds is what a claim
//! holds. It is narrower than the folding of other texts: `straße@x` and `strasse@x` are two people.

use std::borrow::Cow;

use icu_normalizer::ComposingNormalizer;
use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};
use serde_json::{Map, Value};

use super::error::ScimError;
use super::note_texts::Rule;

/// The form in which user names compare: full-width and half-width characters as the ordinary ones
/// (RFC 8265 §3.3.1), lower case, NFC. Doing it twice changes nothing.
pub fn canonical(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let nfkc = ComposingNormalizer::new_nfkc();
    let mut ordinary = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            // The block of full-width and half-width forms, and the ideographic space.
            '\u{ff01}'..='\u{ffee}' | '\u{3000}' => {
                ordinary.push_str(&nfkc.normalize(character.encode_utf8(&mut [0; 4])));
            }
            other => ordinary.push(other),
        }
    }
    ComposingNormalizer::new_nfc().normalize(&ordinary.to_lowercase()).into_owned()
}

/// Checks the user name of a document where a change sets it anew. A name that stays as it is may be
/// older than this rule. `before` is the document before the change; `None` for a new resource.
///
/// # Errors
/// `invalidValue` that names the first character which a user name cannot hold (RFC 8265 §3.3,
/// RFC 8264 §4.2).
pub fn check_change(
    before: Option<&Map<String, Value>>,
    after: &Map<String, Value>,
) -> Result<(), ScimError> {
    fn name(doc: &Map<String, Value>) -> Option<&str> {
        doc.get("userName").and_then(Value::as_str)
    }
    let Some(new) = name(after) else { return Ok(()) };
    if before.and_then(name) == Some(new) {
        return Ok(());
    }
    match first_refused(new) {
        None => Ok(()),
        Some((character, why)) => Err(ScimError::invalid_value(format!(
            "Attribute userName holds the character U+{:04X}, {why}. Leave it out, or send the name in ordinary characters.",
            u32::from(character)
        ))
        .by(Rule::UserNameCharacters, "userName")),
    }
}

/// The first character of a name that no user name can hold, and why. Spaces are accepted, which the
/// profile refuses, since identity providers send them; so are texts that run from right to left.
fn first_refused(name: &str) -> Option<(char, &'static str)> {
    if name.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return None;
    }
    // Each character as it compares, by the name of the one that was sent.
    name.chars().find_map(|sent| {
        let compared = canonical(sent.encode_utf8(&mut [0; 4]));
        compared.chars().find_map(refusal).map(|why| (sent, why))
    })
}

fn refusal(character: char) -> Option<&'static str> {
    use GeneralCategory as Category;
    if CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(character) {
        return Some("which is not visible");
    }
    let nfkc = ComposingNormalizer::new_nfkc();
    match CodePointMapData::<Category>::new().get(character) {
        Category::Control => Some("a control character"),
        Category::Format => Some("which is not visible, or changes the direction of the text"),
        Category::Unassigned => Some("which is not assigned"),
        Category::PrivateUse | Category::Surrogate => Some("which has no meaning of its own"),
        Category::LineSeparator | Category::ParagraphSeparator => Some("a line break"),
        Category::SpaceSeparator if character != ' ' => Some("a space of another kind"),
        // Compared by its own form it could be taken for the ordinary character.
        _ if nfkc.normalize(character.encode_utf8(&mut [0; 4])) != Cow::Borrowed(&*character.to_string()) => {
            Some("a variant of another character")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_that_are_the_same_and_names_that_are_not() {
        for (a, b, same) in [
            ("ALICE@X.COM", "alice@x.com", true),
            ("Ａlice@x", "alice@x", true),
            ("É@x", "e\u{301}@x", true),
            ("ΣΊΣΥΦΟΣ", "σίσυφος", true),
            ("ﾊﾞ", "バ", true),
            ("a\u{3000}b", "a b", true),
            ("ẞ@x", "ß@x", true),
            ("straße@x", "strasse@x", false),
            ("ﬁn@x", "fin@x", false),
            ("σίσυφος", "σίσυφοσ", false),
            ("ı@x", "i@x", false),
            ("a@x", "а@x", false),
        ] {
            assert_eq!(canonical(a) == canonical(b), same, "{a} and {b}");
        }
    }

    #[test]
    fn a_name_holds_ordinary_characters() {
        for good in [
            "alice@x.com",
            "alice example",
            "a+b'c@x",
            "straße@x",
            "Ａlice@x",
            "ﾊﾞ@x",
            "עברית@x",
            "عربي",
            "日本語",
            "ñ@x",
            "n\u{303}@x",
            "☃@x",
            "😀",
            "a·b",
            "İ@x",
        ] {
            assert_eq!(first_refused(good), None, "{good}");
        }
        for (bad, character) in [
            ("a\0b", '\0'),
            ("a\tb", '\t'),
            ("a\u{7f}", '\u{7f}'),
            ("a\u{85}", '\u{85}'),
            ("a\u{200b}b", '\u{200b}'),
            ("a\u{200d}b", '\u{200d}'),
            ("a\u{ad}b", '\u{ad}'),
            ("a\u{feff}", '\u{feff}'),
            ("\u{202e}a", '\u{202e}'),
            ("a\u{2066}b", '\u{2066}'),
            ("a\u{fe0f}", '\u{fe0f}'),
            ("\u{3164}", '\u{3164}'),
            ("\u{ffa0}", '\u{ffa0}'),
            ("\u{1c4}", '\u{1c4}'),
            ("\u{2163}", '\u{2163}'),
            ("a\u{a0}b", '\u{a0}'),
            ("a\u{2003}b", '\u{2003}'),
            ("a\u{2028}b", '\u{2028}'),
            ("ﬁn", 'ﬁ'),
            ("a²", '²'),
            ("ſ", 'ſ'),
            ("①", '①'),
            ("𝐀lice", '𝐀'),
            ("a\u{378}", '\u{378}'),
            ("a\u{ffff}", '\u{ffff}'),
            ("a\u{e000}", '\u{e000}'),
        ] {
            assert_eq!(first_refused(bad).map(|(c, _)| c), Some(character), "{bad:?}");
        }
    }

    #[test]
    fn only_a_name_that_is_set_anew_is_checked() {
        let user = |name: &str| json!({ "userName": name }).as_object().cloned().expect("an object");
        let (old, new) = (user("ﬁn@x"), user("ﬁN@x"));
        assert!(check_change(Some(&old), &old).is_ok(), "it is older than the rule");
        let refused = check_change(Some(&old), &new).expect_err("a new name");
        assert!(refused.detail.contains("U+FB01"), "{}", refused.detail);
        assert!(check_change(None, &old).is_err());
        assert!(check_change(Some(&old), &user("fin@x")).is_ok());
        assert!(check_change(None, &Map::new()).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn the_form_is_one_and_the_same_as_others_see_it(text in "\\PC{0,8}|.{0,8}") {
            let once = canonical(&text);
            proptest::prop_assert_eq!(canonical(&once), once.clone());
            // What is the same here is the same to the folding of other texts, too.
            proptest::prop_assert_eq!(crate::scim::fold::fold(&once), crate::scim::fold::fold(&text));
        }
    }
}
