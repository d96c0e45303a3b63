//! Attribute paths (RFC 7644 §3.10): `emails.value`, `urn:…:User:manager.displayName`.

use std::fmt;

/// A text that does not parse: where, and what would have been right there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Byte offset.
    pub at: usize,
    /// What was expected at that offset.
    pub expected: &'static str,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {}", self.expected, self.at)
    }
}

/// A path to an attribute or sub-attribute.
///
/// ```abnf
/// attrPath  = [URI ":"] ATTRNAME *1subAttr
/// subAttr   = "." ATTRNAME
/// ATTRNAME  = ALPHA *(nameChar) / "$ref"
/// nameChar  = "-" / "_" / DIGIT / ALPHA
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AttrPath {
    /// The schema's URN, without the colon that ends it.
    pub urn: Option<String>,
    /// The attribute. Empty where the path is a URN whose last part cannot be a name.
    pub attribute: String,
    /// The sub-attribute.
    pub sub: Option<String>,
}

impl AttrPath {
    /// Reads a whole text as a path (RFC 7644 §3.10). The URN may be left out.
    ///
    /// ```
    /// use rollcall::scim::attr_path::AttrPath;
    ///
    /// let path = AttrPath::parse("urn:ietf:params:scim:schemas:core:2.0:User:name.givenName")?;
    /// assert_eq!(path.urn.as_deref(), Some("urn:ietf:params:scim:schemas:core:2.0:User"));
    /// assert_eq!((path.attribute.as_str(), path.sub.as_deref()), ("name", Some("givenName")));
    /// # Ok::<(), rollcall::scim::attr_path::ParseError>(())
    /// ```
    ///
    /// # Errors
    /// [`ParseError`] with the offset of the first byte that cannot be part of a path.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if is_urn(text) {
            if let Some(at) = text.bytes().position(|b| !is_urn_byte(b)) {
                return Err(ParseError { at, expected: "expected a character of a URN" });
            }
            let colon = text.rfind(':').unwrap_or(3);
            let rest = &text[colon + 1..];
            return match names(rest, colon + 1) {
                Ok((attribute, sub)) if colon > 3 => {
                    Ok(Self { urn: Some(text[..colon].to_owned()), attribute, sub })
                }
                // A URN such as urn:example:ext:2.0, which can only name a schema.
                _ if !rest.is_empty() => {
                    Ok(Self { urn: Some(text.to_owned()), attribute: String::new(), sub: None })
                }
                _ => Err(ParseError { at: text.len(), expected: "expected an attribute name" }),
            };
        }
        let (attribute, sub) = names(text, 0)?;
        Ok(Self { urn: None, attribute, sub })
    }

    /// The path as the URN of a schema, if that is what it might be.
    pub fn schema_urn(&self) -> Option<String> {
        self.urn.as_ref().map(|_| self.to_string())
    }
}

/// How many bytes at the start of a text can belong to a path: where a path stands before an
/// operator or a bracket, this is its end.
pub fn path_length(text: &str) -> usize {
    let belongs = if is_urn(text) { is_urn_byte } else { is_path_byte };
    text.bytes().position(|byte| !belongs(byte)).unwrap_or(text.len())
}

fn is_urn(text: &str) -> bool {
    text.as_bytes().get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"urn:"))
}

const fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'$' | b'.' | b':')
}

const fn is_urn_byte(byte: u8) -> bool {
    is_path_byte(byte) || matches!(byte, b'/' | b'+' | b'~' | b'%' | b'@' | b'=' | b'!' | b'*' | b',' | b';')
}

fn names(text: &str, offset: usize) -> Result<(String, Option<String>), ParseError> {
    let (attribute, sub) = match text.split_once('.') {
        Some((attribute, sub)) => (attribute, Some(sub)),
        None => (text, None),
    };
    name(attribute, offset)?;
    if let Some(sub) = sub {
        name(sub, offset + attribute.len() + 1)?;
    }
    Ok((attribute.to_owned(), sub.map(ToOwned::to_owned)))
}

fn name(text: &str, offset: usize) -> Result<(), ParseError> {
    if text.eq_ignore_ascii_case("$ref") {
        return Ok(());
    }
    let bytes = text.as_bytes();
    if !bytes.first().is_some_and(u8::is_ascii_alphabetic) {
        return Err(ParseError { at: offset, expected: "expected an attribute name" });
    }
    match bytes.iter().position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))) {
        Some(at) => {
            Err(ParseError { at: offset + at, expected: "expected a character of an attribute name" })
        }
        None => Ok(()),
    }
}

impl fmt::Display for AttrPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_attribute(f, self.urn.as_deref(), &self.attribute)?;
        write_sub_attribute(f, self.sub.as_deref())
    }
}

/// Writes a URN and an attribute as a path names them. The attribute is empty where the URN names a schema.
pub(super) fn write_attribute(f: &mut fmt::Formatter<'_>, urn: Option<&str>, attribute: &str) -> fmt::Result {
    match urn {
        Some(urn) if attribute.is_empty() => f.write_str(urn),
        Some(urn) => write!(f, "{urn}:{attribute}"),
        None => f.write_str(attribute),
    }
}

/// Writes the sub-attribute at the end of a path, if there is one.
pub(super) fn write_sub_attribute(f: &mut fmt::Formatter<'_>, sub: Option<&str>) -> fmt::Result {
    match sub {
        Some(sub) => write!(f, ".{sub}"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_prints() {
        for (text, urn, attribute, sub) in [
            ("userName", None, "userName", None),
            ("name.familyName", None, "name", Some("familyName")),
            ("members.$ref", None, "members", Some("$ref")),
            ("urn:a:2.0:User:manager.value", Some("urn:a:2.0:User"), "manager", Some("value")),
            ("URN:a:2.0:User", Some("URN:a:2.0"), "User", None),
            ("urn:a:ext:2.0", Some("urn:a:ext:2.0"), "", None),
        ] {
            let path = AttrPath::parse(text).expect(text);
            assert_eq!(
                (path.urn.as_deref(), path.attribute.as_str(), path.sub.as_deref()),
                (urn, attribute, sub)
            );
            assert_eq!(path.to_string(), text);
        }
    }

    #[test]
    fn a_path_ends_where_its_bytes_do() {
        for (text, length) in
            [("", 0), ("a.b eq", 3), ("emails[a pr]", 6), ("urn:a/b,c:d eq", 11), ("a/b", 1), ("é", 0)]
        {
            assert_eq!(path_length(text), length, "{text:?}");
        }
    }

    #[test]
    fn says_where_a_text_stops_being_a_path() {
        for (text, at) in [
            ("", 0),
            ("1a", 0),
            ("a b", 1),
            ("a.", 2),
            ("a.b.c", 3),
            ("ä", 0),
            ("a.ü", 2),
            ("urn:", 4),
            ("urn:a:", 6),
            ("urn:a b", 5),
        ] {
            assert_eq!(AttrPath::parse(text).map_err(|e| e.at), Err(at), "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_path_prints_as_it_is_and_its_canonical_spelling_names_the_same(
            text in "(urn:ietf:params:scim:schemas:(core|extension:enterprise):2.0:[Uu]ser:?|urn:|.{0,2})?(name|emails|MANAGER|members|id|[a-z]{0,3})?([.](\\$ref|value|formatted|.{0,3}))?.{0,2}",
        ) {
            use crate::scim::resource_type::{Model, Resolved};
            proptest::prop_assert!(text.is_char_boundary(path_length(&text)));
            let model = Model::new(&crate::scim::policy::STANDARD, &[]).expect("a model");
            match AttrPath::parse(&text) {
                Ok(path) => {
                    proptest::prop_assert_eq!(path.to_string(), text);
                    for resource_type in model.types() {
                        if let Some(Resolved::Attribute(target)) = resource_type.resolve(&path) {
                            let canonical = AttrPath::parse(&target.path()).expect("a path");
                            proptest::prop_assert_eq!(
                                resource_type.resolve(&canonical),
                                Some(Resolved::Attribute(target))
                            );
                        }
                    }
                }
                Err(error) => proptest::prop_assert!(error.at <= text.len(), "{}", error),
            }
        }
    }
}
