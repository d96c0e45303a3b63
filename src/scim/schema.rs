//! Schemas as data (RFC 7643 §7): what `/Schemas` serves is what the rules enforce.

use serde::{Deserialize, Serialize};

use super::comparison::Comparison;

/// Data type of an attribute (RFC 7643 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Type {
    /// Unicode text.
    String,
    /// `true` or `false`.
    Boolean,
    /// A number with a fraction.
    Decimal,
    /// A whole number.
    Integer,
    /// An `xsd:dateTime` (RFC 7643 §2.3.5).
    DateTime,
    /// A URI (RFC 7643 §2.3.7).
    Reference,
    /// base64 (RFC 7643 §2.3.6).
    Binary,
    /// An object with sub-attributes.
    Complex,
}

/// When a value can be written (RFC 7643 §2.2, §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mutability {
    /// By the server alone.
    ReadOnly,
    /// At any time.
    ReadWrite,
    /// Once, when the resource (or the element that holds it) is made.
    Immutable,
    /// At any time, but never returned.
    WriteOnly,
}

/// When a value is returned (RFC 7643 §2.2, §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Returned {
    /// In every answer. A projection does not remove it.
    Always,
    /// Never.
    Never,
    /// Unless excluded.
    Default,
    /// Only when asked for.
    Request,
}

/// Where a value is unique (RFC 7643 §2.2, §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Uniqueness {
    /// Nowhere.
    None,
    /// Within the tenant.
    Server,
    /// Everywhere.
    Global,
}

/// One attribute and its characteristics (RFC 7643 §7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attribute {
    /// Canonical spelling.
    pub name: String,
    /// Data type.
    #[serde(rename = "type")]
    pub kind: Type,
    /// Whether the value is an array.
    pub multi_valued: bool,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// Whether a resource without it is refused.
    #[serde(default)]
    pub required: bool,
    /// Suggested values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub canonical_values: Vec<String>,
    /// Whether values that differ only in case differ, as the schema says. Serialized for texts only.
    /// [`Attribute::is_case_exact`] says what holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case_exact: Option<bool>,
    /// When it can be written.
    #[serde(default = "read_write")]
    pub mutability: Mutability,
    /// When it is returned.
    #[serde(default = "by_default")]
    pub returned: Returned,
    /// Where it is unique.
    #[serde(default = "no_uniqueness")]
    pub uniqueness: Uniqueness,
    /// What a reference points to: resource type names, `external` or `uri`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reference_types: Vec<String>,
    /// Of a complex attribute.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sub_attributes: Vec<Attribute>,
    /// Whether its texts compare as user names do (RFC 7644 §5). No schema's JSON can say so.
    #[serde(skip)]
    pub holds_user_names: bool,
    /// Its path within its resource type: `emails.value`, or `urn:…:User:manager.value` in an extension.
    /// [`Schema::complete`] sets it.
    #[serde(skip)]
    pub path: String,
}

const fn read_write() -> Mutability {
    Mutability::ReadWrite
}

const fn by_default() -> Returned {
    Returned::Default
}

const fn no_uniqueness() -> Uniqueness {
    Uniqueness::None
}

impl Attribute {
    /// The sub-attribute of this name, in any case (RFC 7643 §2.1).
    pub fn sub_attribute(&self, name: &str) -> Option<&Self> {
        find(&self.sub_attributes, name)
    }

    /// Whether values that differ only in case are different. `false` unless declared (RFC 7643 §2.2). A binary and a
    /// reference are always case-exact, also if the schema declares otherwise (RFC 7643 §2.3.6, §2.3.7).
    pub fn is_case_exact(&self) -> bool {
        self.is_of_exact_type() || self.case_exact.unwrap_or(false)
    }

    fn is_of_exact_type(&self) -> bool {
        matches!(self.kind, Type::Binary | Type::Reference)
    }

    /// How its texts compare.
    pub fn comparison(&self) -> Comparison {
        if self.is_case_exact() {
            Comparison::Exact
        } else if self.holds_user_names {
            Comparison::UserName
        } else {
            Comparison::Folded
        }
    }

    /// Whether it has several values, and each is a simple one rather than an object.
    pub fn is_list_of_simple_values(&self) -> bool {
        self.multi_valued && self.kind != Type::Complex
    }

    /// Whether an answer that nothing was asked for shows all of it.
    pub fn is_shown_by_default(&self) -> bool {
        matches!(self.returned, Returned::Default | Returned::Always)
            && self.sub_attributes.iter().all(Self::is_shown_by_default)
    }

    /// Whether only the server writes it.
    pub fn is_read_only(&self) -> bool {
        self.mutability == Mutability::ReadOnly
    }
}

/// A schema: a URN and the attributes that it defines (RFC 7643 §7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// The URN.
    pub id: String,
    /// Short name.
    pub name: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// The attributes.
    pub attributes: Vec<Attribute>,
    /// Whether an answer that nothing was asked for shows all of it. [`Schema::complete`] finds it out.
    #[serde(skip)]
    pub is_shown_by_default: bool,
}

impl Schema {
    /// The attribute of this name, in any case.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        find(&self.attributes, name)
    }

    /// Sets what no schema's JSON says: the paths of attributes and sub-attributes, which begin with the URN in an
    /// extension, and whether all of the schema is shown by default. Sets `caseExact` of the types for which the RFC
    /// decides it.
    pub fn complete(&mut self, is_extension: bool) {
        let prefix = if is_extension { format!("{}:", self.id) } else { String::new() };
        set_paths(&mut self.attributes, &prefix);
        announce_exact_types(&mut self.attributes);
        self.is_shown_by_default = self.attributes.iter().all(Attribute::is_shown_by_default);
    }

    /// The attribute or sub-attribute at a dotted path, to be changed.
    pub fn attribute_mut(&mut self, path: &str) -> Option<&mut Attribute> {
        let mut attributes = &mut self.attributes;
        let mut names = path.split('.').peekable();
        while let Some(name) = names.next() {
            let attribute = attributes.iter_mut().find(|a| a.name.eq_ignore_ascii_case(name))?;
            if names.peek().is_none() {
                return Some(attribute);
            }
            attributes = &mut attribute.sub_attributes;
        }
        None
    }
}

/// Tells attributes and their sub-attributes their paths, which begin with `prefix`.
pub fn set_paths(attributes: &mut [Attribute], prefix: &str) {
    for attribute in attributes {
        attribute.path = format!("{prefix}{}", attribute.name);
        let prefix = format!("{}.", attribute.path);
        set_paths(&mut attribute.sub_attributes, &prefix);
    }
}

/// Lets attributes of the types binary and reference announce that they are case-exact.
fn announce_exact_types(attributes: &mut [Attribute]) {
    for attribute in attributes {
        if attribute.is_of_exact_type() {
            attribute.case_exact = Some(true);
        }
        announce_exact_types(&mut attribute.sub_attributes);
    }
}

/// The attribute of this name, in any case.
pub fn find<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a Attribute> {
    attributes.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name))
}
