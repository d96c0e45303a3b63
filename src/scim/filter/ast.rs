//! The tree of a filter (RFC 7644 §3.4.2.2) and its canonical form.

use std::fmt;

use serde_json::Value;

use crate::scim::attr_path::AttrPath;

/// An operator that compares an attribute with a value (RFC 7644 §3.4.2.2, Table 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CompareOp {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Contains.
    Co,
    /// Starts with.
    Sw,
    /// Ends with.
    Ew,
    /// Greater than.
    Gt,
    /// Greater than or equal to.
    Ge,
    /// Less than.
    Lt,
    /// Less than or equal to.
    Le,
}

impl CompareOp {
    /// Every operator, in the order of Table 3.
    pub const ALL: [Self; 9] =
        [Self::Eq, Self::Ne, Self::Co, Self::Sw, Self::Ew, Self::Gt, Self::Ge, Self::Lt, Self::Le];

    /// The operator's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Ne => "ne",
            Self::Co => "co",
            Self::Sw => "sw",
            Self::Ew => "ew",
            Self::Gt => "gt",
            Self::Ge => "ge",
            Self::Lt => "lt",
            Self::Le => "le",
        }
    }

    /// The operator of this name, in any case.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|op| op.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for CompareOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A filter as it was written: names unresolved, values untyped (RFC 7644 §3.4.2.2).
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// `attrPath SP "pr"`
    Present(AttrPath),
    /// `attrPath SP compareOp SP compValue`. The value is never an array or an object.
    Compare(AttrPath, CompareOp, Value),
    /// `attrPath "[" valFilter "]"`. Paths within are relative to the attribute.
    ValuePath(AttrPath, Box<Filter>),
    /// Two or more filters joined by `and`.
    And(Vec<Filter>),
    /// Two or more filters joined by `or`.
    Or(Vec<Filter>),
    /// `"not" "(" FILTER ")"`
    Not(Box<Filter>),
}

/// The canonical form: lower-case operators, single spaces, the fewest parentheses. It parses back
/// to the same tree.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present(path) => write!(f, "{path} pr"),
            Self::Compare(path, op, value) => write!(f, "{path} {op} {value}"),
            Self::ValuePath(path, filter) => write!(f, "{path}[{filter}]"),
            Self::And(filters) => {
                write_joined(f, filters, " and ", |filter| matches!(filter, Self::And(_) | Self::Or(_)))
            }
            Self::Or(filters) => write_joined(f, filters, " or ", |filter| matches!(filter, Self::Or(_))),
            Self::Not(filter) => write!(f, "not ({filter})"),
        }
    }
}

fn write_joined(
    f: &mut fmt::Formatter<'_>,
    filters: &[Filter],
    word: &str,
    needs_parentheses: impl Fn(&Filter) -> bool,
) -> fmt::Result {
    for (index, filter) in filters.iter().enumerate() {
        if index > 0 {
            f.write_str(word)?;
        }
        if needs_parentheses(filter) {
            write!(f, "({filter})")?;
        } else {
            write!(f, "{filter}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_have_their_names_in_any_case() {
        for op in CompareOp::ALL {
            assert_eq!(CompareOp::named(&op.name().to_uppercase()), Some(op));
        }
        assert_eq!(CompareOp::named("pr"), None);
    }

    #[test]
    fn parentheses_stand_where_precedence_asks_for_them() {
        let present =
            |name: &str| Filter::Present(AttrPath { urn: None, attribute: name.to_owned(), sub: None });
        let (a, b, c) = (present("a"), present("b"), present("c"));
        let and = Filter::And(vec![a.clone(), b.clone()]);
        let or = Filter::Or(vec![a, b]);
        for (filter, text) in [
            (Filter::Or(vec![and.clone(), c.clone()]), "a pr and b pr or c pr"),
            (Filter::And(vec![or.clone(), c.clone()]), "(a pr or b pr) and c pr"),
            (Filter::And(vec![and.clone(), c.clone()]), "(a pr and b pr) and c pr"),
            (Filter::Or(vec![or.clone(), c]), "(a pr or b pr) or c pr"),
            (Filter::Not(Box::new(or)), "not (a pr or b pr)"),
        ] {
            assert_eq!(filter.to_string(), text);
        }
    }
}
