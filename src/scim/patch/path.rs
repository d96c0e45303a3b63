//! The path of a PATCH operation (RFC 7644 §3.5.2).

use std::fmt;

use crate::scim::attr_path::{AttrPath, ParseError, write_sub_attribute};
use crate::scim::filter::ast::Filter;
use crate::scim::filter::parse::Parser;

/// What a PATCH operation is about (RFC 7644 §3.5.2, Figure 7).
///
/// ```abnf
/// PATH = attrPath / valuePath [subAttr]
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PatchPath {
    /// The attribute; the sub-attribute too, where no filter stands between them.
    pub attribute: AttrPath,
    /// What stands in the brackets: selects elements of the attribute.
    pub filter: Option<Filter>,
    /// The sub-attribute that follows the brackets.
    pub sub: Option<String>,
}

impl PatchPath {
    /// Reads a whole text as a path. The limits are those of a filter.
    ///
    /// # Errors
    /// The first byte that is not as expected, or a limit that is exceeded.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut parser = Parser::new(text)?;
        let attribute = parser.attr_path()?;
        let filter = parser.brackets()?;
        let sub = if filter.is_some() { parser.sub_attribute()? } else { None };
        let expected = match (&filter, &sub) {
            (None, _) => "expected a bracket or the end of the path",
            (Some(_), None) => "expected a sub-attribute or the end of the path",
            (Some(_), Some(_)) => "expected the end of the path",
        };
        parser.end(expected)?;
        Ok(Self { attribute, filter, sub })
    }
}

/// The canonical form, which parses back to the same path.
impl fmt::Display for PatchPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.attribute)?;
        write_selection(f, self.filter.as_ref(), self.sub.as_deref())
    }
}

/// Writes what follows the attribute in a path: the filter in brackets and the sub-attribute.
pub(super) fn write_selection(
    f: &mut fmt::Formatter<'_>,
    filter: Option<&Filter>,
    sub: Option<&str>,
) -> fmt::Result {
    if let Some(filter) = filter {
        write!(f, "[{filter}]")?;
    }
    write_sub_attribute(f, sub)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_path_means() {
        for (text, attribute, filter, sub) in [
            ("active", "active", None, None),
            ("name.familyName", "name.familyName", None, None),
            ("urn:x:2.0:User", "urn:x:2.0:User", None, None),
            ("urn:x:2.0:User:manager.value", "urn:x:2.0:User:manager.value", None, None),
            (r#"members[value EQ "1"]"#, "members", Some(r#"value eq "1""#), None),
            (
                r#"emails[ type eq "work" and not(primary eq true) ].value"#,
                "emails",
                Some(r#"type eq "work" and not (primary eq true)"#),
                Some("value"),
            ),
            ("members[value pr].$ref", "members", Some("value pr"), Some("$ref")),
            ("urn:x:2.0:User:a[b pr].c", "urn:x:2.0:User:a", Some("b pr"), Some("c")),
        ] {
            let path = PatchPath::parse(text).expect(text);
            assert_eq!(path.attribute.to_string(), attribute, "{text:?}");
            assert_eq!(path.filter.as_ref().map(ToString::to_string).as_deref(), filter, "{text:?}");
            assert_eq!(path.sub.as_deref(), sub, "{text:?}");
            assert_eq!(PatchPath::parse(&path.to_string()), Ok(path), "{text:?}");
        }
    }

    #[test]
    fn where_a_text_stops_being_a_path() {
        for (text, at, expected) in [
            ("", 0, "expected an attribute name"),
            ("emails[]", 7, "expected an attribute name"),
            ("emails[type eq \"work\"", 21, "expected a square bracket"),
            ("emails[type eq \"work\"]value", 22, "expected a sub-attribute or the end of the path"),
            ("emails[type pr].", 16, "expected an attribute name"),
            ("emails[type pr].value.x", 16, "expected the name of a sub-attribute"),
            ("emails[type pr].value eq 1", 21, "expected the end of the path"),
            ("emails eq 1", 6, "expected a bracket or the end of the path"),
            ("emails[a[b pr]]", 8, "expected no brackets within brackets"),
            ("a.b.c", 3, "expected a character of an attribute name"),
        ] {
            assert_eq!(PatchPath::parse(text), Err(ParseError { at, expected }), "{text:?}");
        }
    }
}
