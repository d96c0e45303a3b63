//! The grammar of filters (RFC 7644 §3.4.2.2, Figure 1).

use std::sync::LazyLock;

use super::ast::{CompareOp, Filter};
use super::literal;
use crate::limits::{MAX_FILTER_BYTES, MAX_FILTER_DEPTH, MAX_FILTER_TERMS};
use crate::scim::attr_path::{AttrPath, ParseError, path_length};

/// Reads a filter (RFC 7644 §3.4.2.2).
///
/// ```abnf
/// FILTER    = attrExp / logExp / valuePath / *1"not" "(" FILTER ")"
/// valuePath = attrPath "[" valFilter "]"
/// valFilter = attrExp / logExp / *1"not" "(" valFilter ")"
/// attrExp   = (attrPath SP "pr") / (attrPath SP compareOp SP compValue)
/// logExp    = FILTER SP ("and" / "or") SP FILTER
/// compValue = false / null / true / number / string   ; JSON, RFC 7159
/// compareOp = "eq" / "ne" / "co" / "sw" / "ew" / "gt" / "lt" / "ge" / "le"
/// ```
///
/// `not` binds before `and`, and `and` before `or`. Beyond the grammar, any white space may replace one space.
/// Microsoft Entra ID's `emails[type eq "work"].value eq "x"` means `emails[type eq "work" and value eq "x"]`.
///
/// The result is a tree of paths and values. [`bind`](super::bind::bind) looks the paths up in the schemas.
///
/// ```
/// use rollcall::scim::filter::parse::parse;
///
/// let filter = parse(r#"userName SW "b" and emails[type eq "work"].value pr"#)?;
/// assert_eq!(filter.to_string(), r#"userName sw "b" and emails[type eq "work" and value pr]"#);
///
/// let error = parse("userName eq").unwrap_err();
/// assert_eq!(error.to_string(), "expected a space and a value at offset 11");
/// # Ok::<(), rollcall::scim::attr_path::ParseError>(())
/// ```
///
/// # Errors
/// [`ParseError`] with the offset of the first byte that is not as expected, or of a limit that is exceeded.
pub fn parse(text: &str) -> Result<Filter, ParseError> {
    let mut parser = Parser::new(text)?;
    parser.space();
    let filter = parser.or(false)?;
    parser.space();
    parser.end("expected and, or, or the end of the filter")?;
    Ok(filter)
}

/// A position in the text of a filter or of a PATCH path.
#[derive(Debug)]
pub(in crate::scim) struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    terms: usize,
}

impl<'a> Parser<'a> {
    /// At the start of a text.
    pub(in crate::scim) fn new(text: &'a str) -> Result<Self, ParseError> {
        if text.len() > MAX_FILTER_BYTES {
            return Err(ParseError { at: MAX_FILTER_BYTES, expected: &TOO_LONG });
        }
        Ok(Self { text, at: 0, depth: 0, terms: 0 })
    }

    /// An attribute path.
    pub(in crate::scim) fn attr_path(&mut self) -> Result<AttrPath, ParseError> {
        let word = self.word();
        let path = AttrPath::parse(word)
            .map_err(|error| ParseError { at: self.at + error.at, expected: error.expected })?;
        self.at += word.len();
        Ok(path)
    }

    /// What stands in brackets after an attribute path, if brackets stand there.
    pub(in crate::scim) fn brackets(&mut self) -> Result<Option<Filter>, ParseError> {
        if !self.take(b'[') {
            return Ok(None);
        }
        let filter = self.nested(b']', true)?;
        Ok(Some(filter))
    }

    /// What follows brackets: `.` and the name of a sub-attribute.
    pub(in crate::scim) fn sub_attribute(&mut self) -> Result<Option<String>, ParseError> {
        if !self.take(b'.') {
            return Ok(None);
        }
        let start = self.at;
        let path = self.attr_path()?;
        match path {
            AttrPath { urn: None, attribute, sub: None } => Ok(Some(attribute)),
            _ => Err(ParseError { at: start, expected: "expected the name of a sub-attribute" }),
        }
    }

    /// That nothing is left.
    pub(in crate::scim) fn end(&self, expected: &'static str) -> Result<(), ParseError> {
        if self.rest().is_empty() { Ok(()) } else { Err(self.expected(expected)) }
    }

    fn or(&mut self, in_brackets: bool) -> Result<Filter, ParseError> {
        self.chain("or", Filter::Or, |parser| {
            parser.chain("and", Filter::And, |parser| parser.term(in_brackets))
        })
    }

    /// One or more filters, joined by a word.
    fn chain(
        &mut self,
        word: &str,
        join: fn(Vec<Filter>) -> Filter,
        mut next: impl FnMut(&mut Self) -> Result<Filter, ParseError>,
    ) -> Result<Filter, ParseError> {
        let first = next(self)?;
        if !self.joined_by(word)? {
            return Ok(first);
        }
        let mut filters = vec![first, next(self)?];
        while self.joined_by(word)? {
            filters.push(next(self)?);
        }
        Ok(join(filters))
    }

    /// Passes over `SP word SP`, if it stands here.
    fn joined_by(&mut self, word: &str) -> Result<bool, ParseError> {
        let start = self.at;
        let spaced = self.space();
        if !self.word().eq_ignore_ascii_case(word) {
            self.at = start;
            return Ok(false);
        }
        if !spaced {
            return Err(self.expected("expected a space"));
        }
        self.at += word.len();
        self.need_space()?;
        Ok(true)
    }

    /// A comparison, a value path, or a filter in parentheses.
    fn term(&mut self, in_brackets: bool) -> Result<Filter, ParseError> {
        if self.take(b'(') {
            return self.nested(b')', in_brackets);
        }
        if self.word().eq_ignore_ascii_case("not") && self.negates()? {
            let filter = self.nested(b')', in_brackets)?;
            return Ok(Filter::Not(Box::new(filter)));
        }
        let start = self.at;
        let path = self.attr_path()?;
        if self.peek() != Some(b'[') {
            return self.comparison(path);
        }
        if in_brackets {
            return Err(self.expected("expected no brackets within brackets"));
        }
        let Some(filter) = self.brackets()? else { return Err(self.expected("expected a bracket")) };
        let filter = match self.sub_attribute()? {
            None => filter,
            Some(attribute) => {
                let path = AttrPath { urn: None, attribute, sub: None };
                let more = self.comparison(path)?;
                let mut all = match filter {
                    Filter::And(filters) => filters,
                    // Its canonical form stands in parentheses.
                    Filter::Or(_) if self.depth + 2 > MAX_FILTER_DEPTH => {
                        return Err(ParseError { at: start, expected: &TOO_DEEP });
                    }
                    one => vec![one],
                };
                all.push(more);
                Filter::And(all)
            }
        };
        Ok(Filter::ValuePath(path, Box::new(filter)))
    }

    /// Whether `not` is the operator here, rather than an attribute that has this name. Passes over
    /// it and the parenthesis that it needs.
    fn negates(&mut self) -> Result<bool, ParseError> {
        let start = self.at;
        self.at += "not".len();
        self.space();
        if self.take(b'(') {
            return Ok(true);
        }
        let word = self.word();
        let compares = word.eq_ignore_ascii_case("pr") || CompareOp::named(word).is_some();
        if compares || self.peek() == Some(b'[') {
            self.at = start;
            return Ok(false);
        }
        Err(self.expected("expected a parenthesis after not"))
    }

    /// A filter and what closes it.
    fn nested(&mut self, close: u8, in_brackets: bool) -> Result<Filter, ParseError> {
        if self.depth == MAX_FILTER_DEPTH {
            return Err(ParseError { at: self.at.saturating_sub(1), expected: &TOO_DEEP });
        }
        self.depth += 1;
        self.space();
        let filter = self.or(in_brackets)?;
        self.space();
        if !self.take(close) {
            return Err(self.expected(match (close, self.rest().is_empty()) {
                (b']', true) => "expected a square bracket",
                (b']', false) => "expected and, or, or a square bracket",
                (_, true) => "expected a bracket",
                (_, false) => "expected and, or, or a bracket",
            }));
        }
        self.depth -= 1;
        Ok(filter)
    }

    /// What follows the path in an `attrExp`.
    fn comparison(&mut self, path: AttrPath) -> Result<Filter, ParseError> {
        self.terms += 1;
        if self.terms > MAX_FILTER_TERMS {
            return Err(self.expected(&TOO_MANY_TERMS));
        }
        if !self.space() {
            return Err(self.expected(AN_OPERATOR));
        }
        let word = self.word();
        if word.eq_ignore_ascii_case("pr") {
            self.at += word.len();
            return Ok(Filter::Present(path));
        }
        let Some(op) = CompareOp::named(word) else { return Err(self.expected(AN_OPERATOR)) };
        self.at += word.len();
        if !self.space() {
            return Err(self.expected("expected a space and a value"));
        }
        let (value, length) = literal::read(self.rest())
            .map_err(|error| ParseError { at: self.at + error.at, expected: error.expected })?;
        self.at += length;
        Ok(Filter::Compare(path, op, value))
    }

    fn need_space(&mut self) -> Result<(), ParseError> {
        if self.space() { Ok(()) } else { Err(self.expected("expected a space")) }
    }

    /// Passes over white space; whether there was any.
    fn space(&mut self) -> bool {
        let rest = self.rest();
        let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        self.at += rest.len() - trimmed.len();
        trimmed.len() < rest.len()
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn word(&self) -> &'a str {
        let rest = self.rest();
        &rest[..path_length(rest)]
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    const fn expected(&self, expected: &'static str) -> ParseError {
        ParseError { at: self.at, expected }
    }
}

const AN_OPERATOR: &str = "expected an operator (eq, ne, co, sw, ew, gt, ge, lt, le, pr)";

static TOO_LONG: LazyLock<String> = LazyLock::new(|| format!("expected at most {MAX_FILTER_BYTES} bytes"));
static TOO_DEEP: LazyLock<String> =
    LazyLock::new(|| format!("expected at most {MAX_FILTER_DEPTH} brackets within one another"));
static TOO_MANY_TERMS: LazyLock<String> =
    LazyLock::new(|| format!("expected at most {MAX_FILTER_TERMS} comparisons"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_filter_means() {
        for (text, meaning) in [
            (r#"userName Eq "john""#, r#"userName eq "john""#),
            (" title  PR\tand userType eq \"E\" ", r#"title pr and userType eq "E""#),
            ("a pr or b pr and c pr", "a pr or b pr and c pr"),
            ("(a pr or b pr) AND not(c pr)", "(a pr or b pr) and not (c pr)"),
            ("((a pr))", "a pr"),
            ("not ( not (a pr) )", "not (not (a pr))"),
            ("not pr and not eq 1", "not pr and not eq 1"),
            ("(a pr and b pr) and c pr", "(a pr and b pr) and c pr"),
            (
                r#"emails[ not (type eq "work") and (value co "a" or primary eq true) ]"#,
                r#"emails[not (type eq "work") and (value co "a" or primary eq true)]"#,
            ),
            (r#"emails[type eq "work"].value eq "x""#, r#"emails[type eq "work" and value eq "x"]"#),
            ("emails[a pr and b pr].c pr and d pr", "emails[a pr and b pr and c pr] and d pr"),
            ("emails[a pr or b pr].c pr", "emails[(a pr or b pr) and c pr]"),
            ("urn:x:2.0:User:a.b eq null", "urn:x:2.0:User:a.b eq null"),
            ("urn:x:2.0:User:a[$ref pr]", "urn:x:2.0:User:a[$ref pr]"),
            (r#"a eq "\ud83d\ude00\u0041\/\"\\\n""#, r#"a eq "😀A/\"\\\n""#),
            ("a eq -1.5e2", "a eq -150.0"),
            ("a eq -0", "a eq -0.0"),
            ("a eq 18446744073709551615", "a eq 18446744073709551615"),
            ("(a eq 1)", "a eq 1"),
            (r#"a eq """#, r#"a eq """#),
            (r#"a eq "é] and (""#, r#"a eq "é] and (""#),
        ] {
            let filter = parse(text).expect(text);
            assert_eq!(filter.to_string(), meaning, "{text:?}");
            assert_eq!(parse(meaning), Ok(filter), "{meaning:?}");
        }
    }

    #[test]
    fn where_a_text_stops_being_a_filter() {
        const NAME: &str = "expected an attribute name";
        const OPERATOR: &str = super::AN_OPERATOR;
        const SPACE: &str = "expected a space";
        const REST: &str = "expected and, or, or the end of the filter";
        const VALUE: &str = "expected a text in double quotation marks, a number, true, false or null";
        for (text, at, expected) in [
            ("", 0, NAME),
            ("()", 1, NAME),
            ("userName", 8, OPERATOR),
            ("userName is 1", 9, OPERATOR),
            ("a[", 2, NAME),
            ("a[]", 2, NAME),
            ("a[b pr", 6, "expected a square bracket"),
            ("a[b pr)", 6, "expected and, or, or a square bracket"),
            ("a[b[c pr]]", 3, "expected no brackets within brackets"),
            ("a[b pr] pr", 8, REST),
            ("a[b pr].c", 9, OPERATOR),
            ("a[b pr].c.d pr", 8, "expected the name of a sub-attribute"),
            ("(a pr", 5, "expected a bracket"),
            ("(a pr b pr)", 6, "expected and, or, or a bracket"),
            ("a pr)", 4, REST),
            ("a pr and", 8, SPACE),
            ("a pr and ", 9, NAME),
            ("(a pr)and (b pr)", 6, SPACE),
            ("not a pr", 4, "expected a parenthesis after not"),
            ("a eq", 4, "expected a space and a value"),
            ("a eq ", 5, VALUE),
            ("a eq\"x\"", 4, "expected a space and a value"),
            ("a eq \"x\"and b pr", 8, SPACE),
            ("a eq \"\\a\"", 7, "expected an escape as JSON writes it"),
            ("é pr", 0, NAME),
        ] {
            assert_eq!(parse(text), Err(ParseError { at, expected }), "{text:?}");
        }
    }

    #[test]
    fn limits_hold() {
        let nested = |depth: usize| format!("{}a pr{}", "(".repeat(depth), ")".repeat(depth));
        assert!(parse(&nested(MAX_FILTER_DEPTH)).is_ok());
        assert_eq!(
            parse(&nested(MAX_FILTER_DEPTH + 1)),
            Err(ParseError { at: MAX_FILTER_DEPTH, expected: &TOO_DEEP })
        );
        let deepest = |inner: &str| format!("{}{inner}{}", "(".repeat(31), ")".repeat(31));
        assert!(parse(&deepest("a[b pr].c pr")).is_ok());
        assert!(parse(&deepest("a[b pr or c pr].d pr")).is_err());

        let chain = |terms: usize| vec!["a pr"; terms].join(" and ");
        assert!(parse(&chain(MAX_FILTER_TERMS)).is_ok());
        assert!(parse(&chain(MAX_FILTER_TERMS + 1)).is_err());
        let long = format!("a eq \"{}\"", "x".repeat(MAX_FILTER_BYTES));
        assert_eq!(parse(&long).map_err(|error| error.at), Err(MAX_FILTER_BYTES));
    }
}
