//! How the resources that a bound filter selects can be found: the keys to look up, the attributes to read, and
//! a canonical text of the filter.

use std::fmt;

use serde_json::Value;

use super::ast::CompareOp;
use super::bind::{Bound, FilterNode};
use super::operand::Operand;
use super::place::ValueLocation;

/// An `eq` with a text that every selected resource satisfies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equality {
    /// The canonical path: `userName`, `emails.value`, URN-qualified in an extension.
    pub path: String,
    /// The operand, in the form in which the attribute's texts compare.
    pub value: String,
}

impl Bound {
    /// The `eq` comparisons with a text that must all hold: those of the conjunction at the top,
    /// and of the conjunctions in its value paths.
    pub fn equalities(&self) -> Vec<Equality> {
        let mut equalities = Vec::new();
        collect(&self.root, None, &mut equalities);
        equalities
    }

    /// Whether the answer depends on a core attribute, or on an extension, by its canonical name.
    pub fn mentions(&self, attribute: &str) -> bool {
        mentions(&self.root, attribute)
    }

    /// Whether no resource of the type can be selected, since the filter asks for what only other
    /// types have.
    pub fn is_never(&self) -> bool {
        self.root == FilterNode::Known(false)
    }

    /// Returns a canonical text. It is the same for filters that differ only in spaces, in redundant parentheses,
    /// and in letter case where that does not count.
    pub fn canonical(&self) -> String {
        self.root.to_string()
    }
}

fn collect(node: &FilterNode, holder: Option<&ValueLocation>, equalities: &mut Vec<Equality>) {
    match node {
        FilterNode::And(nodes) => {
            for node in nodes {
                collect(node, holder, equalities);
            }
        }
        FilterNode::Compare(place, CompareOp::Eq, Operand::Text { form, .. }) => {
            let path = match holder {
                None => place.to_string(),
                Some(holder) if place.is_element => holder.to_string(),
                Some(holder) => format!("{holder}.{place}"),
            };
            equalities.push(Equality { path, value: form.clone() });
        }
        FilterNode::Elements(place, node) => collect(node, Some(place), equalities),
        _ => {}
    }
}

fn mentions(node: &FilterNode, attribute: &str) -> bool {
    match node {
        FilterNode::Known(_) => false,
        FilterNode::Present(place) | FilterNode::Compare(place, ..) | FilterNode::Elements(place, _) => {
            place.extension.as_ref().unwrap_or(&place.attribute) == attribute
        }
        FilterNode::And(nodes) | FilterNode::Or(nodes) => nodes.iter().any(|node| mentions(node, attribute)),
        FilterNode::Not(node) => mentions(node, attribute),
    }
}

impl fmt::Display for ValueLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(urn) = &self.extension {
            write!(f, "{urn}:")?;
        }
        f.write_str(&self.attribute)?;
        match &self.sub {
            Some(sub) => write!(f, ".{sub}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text { form, .. } => write!(f, "{}", Value::from(form.as_str())),
            Self::Instant(instant) => write!(f, "{}", instant.unix_timestamp_nanos()),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

impl fmt::Display for FilterNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(known) => write!(f, "{known}"),
            Self::Present(place) => write!(f, "{place} pr"),
            Self::Compare(place, op, operand) => write!(f, "{place} {op} {operand}"),
            Self::Elements(place, node) => write!(f, "{place}[{node}]"),
            Self::And(nodes) => write_joined(f, nodes, " and "),
            Self::Or(nodes) => write_joined(f, nodes, " or "),
            Self::Not(node) => write!(f, "not ({node})"),
        }
    }
}

fn write_joined(f: &mut fmt::Formatter<'_>, nodes: &[FilterNode], word: &str) -> fmt::Result {
    for (index, node) in nodes.iter().enumerate() {
        if index > 0 {
            f.write_str(word)?;
        }
        match node {
            FilterNode::And(_) | FilterNode::Or(_) => write!(f, "({node})")?,
            node => write!(f, "{node}")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::filter::bind::bind;
    use crate::scim::filter::parse::parse;
    use crate::scim::policy::STANDARD;
    use crate::scim::resource_type::{Kind, Model};
    use crate::scim::urn::{ENTERPRISE_USER, ROLLCALL_USER};

    fn bound(kind: Kind, text: &str) -> Bound {
        let model = Model::new(&STANDARD, &[]).expect("a model");
        let others: Vec<_> = model.types().into_iter().filter(|other| other.kind != Some(kind)).collect();
        bind(&parse(text).expect(text), model.of(kind), &others, false).expect(text)
    }

    #[test]
    fn equalities_that_must_hold() {
        let manager = format!("{ENTERPRISE_USER}:manager.value");
        for (kind, text, expected) in [
            (Kind::User, r#"USERNAME eq "A@X""#, vec![("userName", "a@x")]),
            (
                Kind::User,
                r#"id eq "1" and (externalId eq "2" and title pr)"#,
                vec![("id", "1"), ("externalId", "2")],
            ),
            (Kind::User, r#"id eq "1" or externalId eq "2""#, vec![]),
            (Kind::User, r#"not (id eq "1")"#, vec![]),
            (Kind::User, r#"id ne "1" and id sw "2""#, vec![]),
            (Kind::User, "active eq true and title eq null", vec![]),
            (Kind::User, r#"emails eq "a""#, vec![("emails.value", "a")]),
            (
                Kind::User,
                r#"emails[type eq "work"].value eq "A""#,
                vec![("emails.type", "work"), ("emails.value", "a")],
            ),
            (Kind::User, r#"emails[type eq "work" or value eq "A"]"#, vec![]),
            (Kind::User, r#"groups.value eq "g""#, vec![("groups.value", "g")]),
            (
                Kind::User,
                &format!(r#"{ENTERPRISE_USER}:manager[value eq "m"]"#),
                vec![(manager.as_str(), "m")],
            ),
            (Kind::Group, r#"id eq "g" and members eq "u""#, vec![("id", "g"), ("members.value", "u")]),
            (Kind::Group, r#"members[value eq "u"]"#, vec![("members.value", "u")]),
            (Kind::Group, r#"userName eq "a""#, vec![]),
        ] {
            let equalities = bound(kind, text).equalities();
            let equalities: Vec<_> =
                equalities.iter().map(|each| (each.path.as_str(), each.value.as_str())).collect();
            assert_eq!(equalities, expected, "{text}");
        }
    }

    #[test]
    fn what_must_be_read() {
        let filter = bound(Kind::User, r#"groups.value eq "g" or not (emails[type pr])"#);
        for (attribute, expected) in
            [("groups", true), ("emails", true), ("meta", false), ("type", false), ("value", false)]
        {
            assert_eq!(filter.mentions(attribute), expected, "{attribute}");
        }
        for text in [&format!("{ROLLCALL_USER}:account pr"), &format!("{ROLLCALL_USER} pr")] {
            assert!(bound(Kind::User, text).mentions(ROLLCALL_USER), "{text}");
            assert!(!bound(Kind::User, text).mentions("account"), "{text}");
        }
        assert!(!bound(Kind::User, "members pr or title pr").mentions("members"));
        assert!(bound(Kind::User, "members pr and title pr").is_never());
        assert!(!bound(Kind::User, "title pr").is_never());
    }

    #[test]
    fn one_text_for_one_meaning() {
        for (a, b, same) in [
            (r#"userName eq "A""#, r#"( USERNAME  EQ "a" )"#, true),
            (r#"id eq "A""#, r#"id eq "a""#, false),
            ("(title pr and id pr) and active pr", "title pr and id pr and active pr", true),
            ("title pr and (id pr or active pr)", "title pr and id pr or active pr", false),
            (
                r#"meta.created gt "2024-01-01T00:00:00Z""#,
                r#"meta.created gt "2024-01-01T01:00:00+01:00""#,
                true,
            ),
            (r#"title eq "a\" or id pr""#, r#"title eq "a" or id pr"#, false),
        ] {
            let (one, other) = (bound(Kind::User, a).canonical(), bound(Kind::User, b).canonical());
            assert_eq!(one == other, same, "{one} and {other}");
        }
    }
}
