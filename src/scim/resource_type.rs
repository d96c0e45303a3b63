//! Resource types (RFC 7643 §6): a core schema, its extensions, and the attributes that every
//! resource has. All of them are rows of one table, `TYPES`.

use std::sync::LazyLock;

use super::attr_path::AttrPath;
use super::error::ScimError;
use super::policy::{POLICIES, Policy};
use super::schema::{Attribute, Mutability, Returned, Schema, Type, Uniqueness, find, set_paths};

/// The kinds of resource that a client provisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An account.
    User,
    /// A team.
    Group,
}

impl Kind {
    /// Every kind, in the order of a root search.
    pub const ALL: [Self; 2] = [Self::User, Self::Group];

    /// The one that it is not.
    pub const fn other(self) -> Self {
        match self {
            Self::User => Self::Group,
            Self::Group => Self::User,
        }
    }

    /// The resource type's name, as in `meta.resourceType`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Group => "Group",
        }
    }

    /// The endpoint below the base URL.
    pub const fn endpoint(self) -> &'static str {
        match self {
            Self::User => "/Users",
            Self::Group => "/Groups",
        }
    }
}

/// The kinds of resource that the operator and the application define. A client only reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DefinedKind {
    /// What a user is given by `roles`.
    Role,
    /// What a user is given by `entitlements`.
    Entitlement,
}

impl DefinedKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Role, Self::Entitlement];

    /// The resource type's name, as in `meta.resourceType`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Role => "Role",
            Self::Entitlement => "Entitlement",
        }
    }

    /// The kind with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A row of the table of resource types.
struct TypeRow {
    name: &'static str,
    /// The kind, if clients provision resources of this type. `None` if they only read them.
    kind: Option<Kind>,
    endpoint: &'static str,
    description: &'static str,
    schema: &'static str,
    extensions: &'static [&'static str],
}

/// Every resource type. The order is that of `/ResourceTypes`.
const TYPES: [TypeRow; 4] = [
    TypeRow {
        name: Kind::User.name(),
        kind: Some(Kind::User),
        endpoint: Kind::User.endpoint(),
        description: "User Account",
        schema: include_str!("schemas/user.json"),
        extensions: &[
            include_str!("schemas/enterprise_user.json"),
            include_str!("schemas/rollcall_user.json"),
        ],
    },
    TypeRow {
        name: Kind::Group.name(),
        kind: Some(Kind::Group),
        endpoint: Kind::Group.endpoint(),
        description: "Group",
        schema: include_str!("schemas/group.json"),
        extensions: &[include_str!("schemas/rollcall_group.json")],
    },
    TypeRow {
        name: DefinedKind::Role.name(),
        kind: None,
        endpoint: "/Roles",
        description: "Role that a user can have",
        schema: include_str!("schemas/okta_role.json"),
        extensions: &[include_str!("schemas/ietf_role.json")],
    },
    TypeRow {
        name: DefinedKind::Entitlement.name(),
        kind: None,
        endpoint: "/Entitlements",
        description: "Entitlement that a user can have",
        schema: include_str!("schemas/okta_entitlement.json"),
        extensions: &[include_str!("schemas/ietf_entitlement.json")],
    },
];

/// One resource type with everything that a rule asks of it.
#[derive(Clone, Debug)]
pub struct ResourceType {
    /// Its name, as in `meta.resourceType`.
    pub name: &'static str,
    /// The kind, if clients provision resources of this type. `None` if they only read them.
    pub kind: Option<Kind>,
    /// The endpoint below the base URL.
    pub endpoint: &'static str,
    /// For people.
    pub description: &'static str,
    /// The core schema.
    pub schema: Schema,
    /// The extensions; none is required.
    pub extensions: Vec<Schema>,
}

impl From<&TypeRow> for ResourceType {
    fn from(row: &TypeRow) -> Self {
        Self {
            name: row.name,
            kind: row.kind,
            endpoint: row.endpoint,
            description: row.description,
            schema: built_in(row.schema),
            extensions: row.extensions.iter().copied().map(built_in).collect(),
        }
    }
}

/// What an attribute path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolved<'a> {
    /// A whole schema, by its URN alone: the core schema or an extension's object.
    Schema(&'a Schema),
    /// An attribute, or a sub-attribute of it.
    Attribute(AttributeTarget<'a>),
}

/// An attribute or sub-attribute and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttributeTarget<'a> {
    /// The URN of the extension whose object holds it; `None` for core and common attributes.
    pub extension: Option<&'a str>,
    /// The attribute.
    pub attribute: &'a Attribute,
    /// The sub-attribute, where the path names one.
    pub sub: Option<&'a Attribute>,
}

impl<'a> AttributeTarget<'a> {
    /// The definition that the path ends at.
    pub fn leaf(&self) -> &'a Attribute {
        self.sub.unwrap_or(self.attribute)
    }

    /// Whether no answer holds it.
    pub fn is_never_returned(&self) -> bool {
        self.attribute.returned == Returned::Never || self.leaf().returned == Returned::Never
    }

    /// The canonical spelling of the path, URN-qualified inside an extension.
    pub fn path(&self) -> String {
        self.leaf().path.clone()
    }
}

impl ResourceType {
    /// What the path names; `None` if no schema of this type defines it. Names compare in any case.
    pub fn resolve(&self, path: &AttrPath) -> Option<Resolved<'_>> {
        if let Some(schema) = path.schema_urn().and_then(|urn| self.schema_of(&urn)) {
            return Some(Resolved::Schema(schema));
        }
        let (extension, attribute) = match &path.urn {
            None => (None, self.core_attribute(&path.attribute)?),
            Some(urn) if urn.eq_ignore_ascii_case(&self.schema.id) => {
                (None, self.core_attribute(&path.attribute)?)
            }
            Some(urn) => {
                let schema = self.extensions.iter().find(|s| s.id.eq_ignore_ascii_case(urn))?;
                (Some(schema.id.as_str()), schema.attribute(&path.attribute)?)
            }
        };
        let sub = match &path.sub {
            None => None,
            Some(name) => Some(attribute.sub_attribute(name)?),
        };
        Some(Resolved::Attribute(AttributeTarget { extension, attribute, sub }))
    }

    /// The core schema or extension with this URN, in any case.
    pub fn schema_of(&self, urn: &str) -> Option<&Schema> {
        std::iter::once(&self.schema)
            .chain(&self.extensions)
            .find(|schema| schema.id.eq_ignore_ascii_case(urn))
    }

    /// A core or common attribute, in any case.
    pub fn core_attribute(&self, name: &str) -> Option<&Attribute> {
        self.schema.attribute(name).or_else(|| find(&COMMON, name))
    }
}

/// The resource types as one policy has them. Built once; a request borrows its tenant's.
#[derive(Debug)]
pub struct Model {
    /// The policy.
    pub policy: &'static Policy,
    /// In the order of [`TYPES`]: users, groups, roles, entitlements.
    types: [ResourceType; 4],
}

impl Model {
    /// Makes the built-in resource types as a policy changes them. `more` are further extensions, each with the
    /// type that it extends.
    ///
    /// ```
    /// use rollcall::scim::policy::{STRICT, VEZA};
    /// use rollcall::scim::resource_type::{Kind, Model};
    ///
    /// let requires_emails = |policy| -> Result<bool, rollcall::scim::error::ScimError> {
    ///     let model = Model::new(policy, &[])?;
    ///     Ok(model.of(Kind::User).core_attribute("emails").is_some_and(|emails| emails.required))
    /// };
    /// assert!(requires_emails(&VEZA)?);
    /// assert!(!requires_emails(&STRICT)?);
    /// # Ok::<(), rollcall::scim::error::ScimError>(())
    /// ```
    ///
    /// # Errors
    /// `invalidValue` if a URN is defined twice.
    pub fn new(policy: &'static Policy, more: &[(Kind, Schema)]) -> Result<Self, ScimError> {
        let mut types = TYPES.each_ref().map(ResourceType::from);
        let [users, groups, ..] = &mut types;
        if let Some(name) = users.schema.attribute_mut("userName") {
            name.holds_user_names = true;
        }
        for path in policy.required_of_user {
            for prefix in prefixes(path) {
                if let Some(attribute) = users.schema.attribute_mut(prefix) {
                    attribute.required = true;
                }
            }
        }
        if !policy.unique_group_name
            && let Some(name) = groups.schema.attribute_mut("displayName")
        {
            name.uniqueness = Uniqueness::None;
        }
        for (kind, schema) in more {
            let owner = match kind {
                Kind::User => &mut *users,
                Kind::Group => &mut *groups,
            };
            if owner.schema_of(&schema.id).is_some() {
                return Err(ScimError::invalid_value(format!("the schema {} is defined twice", schema.id)));
            }
            owner.extensions.push(schema.clone());
        }
        for resource_type in &mut types {
            resource_type.schema.complete(false);
            resource_type.extensions.iter_mut().for_each(|extension| extension.complete(true));
        }
        Ok(Self { policy, types })
    }

    /// The built-in types under every policy, in the order of [`POLICIES`].
    ///
    /// # Errors
    /// As [`Model::new`].
    pub fn all(more: &[(Kind, Schema)]) -> Result<Vec<Self>, ScimError> {
        POLICIES.iter().map(|policy| Self::new(policy, more)).collect()
    }

    /// The resource type of a kind.
    pub const fn of(&self, kind: Kind) -> &ResourceType {
        let [users, groups, ..] = &self.types;
        match kind {
            Kind::User => users,
            Kind::Group => groups,
        }
    }

    /// The resource type of a kind that clients only read.
    pub const fn defined(&self, kind: DefinedKind) -> &ResourceType {
        let [_, _, roles, entitlements] = &self.types;
        match kind {
            DefinedKind::Role => roles,
            DefinedKind::Entitlement => entitlements,
        }
    }

    /// The resource types that clients provision.
    pub const fn types(&self) -> [&ResourceType; 2] {
        let [users, groups, ..] = &self.types;
        [users, groups]
    }
}

/// `a.b` gives `a` and `a.b`: a required sub-attribute makes its attribute required.
fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('.').map(|(at, _)| &path[..at]).chain([path])
}

fn built_in(text: &str) -> Schema {
    serde_json::from_str(text).expect("the built-in schemas are well formed: a test reads each")
}

/// The attributes of every resource (RFC 7643 §3.1). They belong to no schema and are not in
/// `/Schemas`.
pub static COMMON: LazyLock<Vec<Attribute>> = LazyLock::new(|| {
    let attribute = |name: &str, kind, mutability, returned, case_exact| Attribute {
        name: name.to_owned(),
        kind,
        multi_valued: false,
        description: String::new(),
        required: false,
        canonical_values: Vec::new(),
        case_exact: Some(case_exact),
        mutability,
        returned,
        uniqueness: Uniqueness::None,
        reference_types: Vec::new(),
        sub_attributes: Vec::new(),
        holds_user_names: false,
        path: String::new(),
    };
    let read_only = |name, kind| attribute(name, kind, Mutability::ReadOnly, Returned::Default, true);
    let mut schemas = attribute("schemas", Type::Reference, Mutability::ReadWrite, Returned::Always, true);
    schemas.multi_valued = true;
    let mut id = attribute("id", Type::String, Mutability::ReadOnly, Returned::Always, true);
    id.uniqueness = Uniqueness::Server;
    let mut meta = read_only("meta", Type::Complex);
    meta.sub_attributes = vec![
        read_only("resourceType", Type::String),
        read_only("created", Type::DateTime),
        read_only("lastModified", Type::DateTime),
        read_only("location", Type::Reference),
        read_only("version", Type::String),
    ];
    let external_id = attribute("externalId", Type::String, Mutability::ReadWrite, Returned::Default, true);
    let mut common = vec![schemas, id, external_id, meta];
    set_paths(&mut common, "");
    common
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::policy::{STANDARD, STRICT, VEZA};
    use crate::scim::urn;

    fn resolve(model: &Model, kind: Kind, path: &str) -> Option<String> {
        let path = AttrPath::parse(path).expect("a path");
        model.of(kind).resolve(&path).map(|resolved| match resolved {
            Resolved::Schema(schema) => schema.id.clone(),
            Resolved::Attribute(target) => target.path(),
        })
    }

    #[test]
    fn names_resolve_in_any_case_and_with_their_urn() {
        let model = Model::new(&STANDARD, &[]).expect("a model");
        for (path, expected) in [
            ("USERNAME", "userName"),
            ("urn:ietf:params:scim:schemas:core:2.0:User:name.FAMILYNAME", "name.familyName"),
            (
                "URN:ietf:params:scim:schemas:extension:enterprise:2.0:user:manager.value",
                "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value",
            ),
            (urn::ENTERPRISE_USER, urn::ENTERPRISE_USER),
            (urn::USER, urn::USER),
            ("meta.lastmodified", "meta.lastModified"),
            ("members.$ref", ""),
        ] {
            let found = resolve(&model, Kind::User, path);
            assert_eq!(found.as_deref().unwrap_or(""), expected, "{path}");
        }
        assert_eq!(resolve(&model, Kind::Group, "members.$REF").as_deref(), Some("members.$ref"));
        assert_eq!(resolve(&model, Kind::Group, "userName"), None);
    }

    #[test]
    fn required_and_uniqueness_are_the_policys() {
        let required = |policy| {
            let model = Model::new(policy, &[]).expect("a model");
            let user = &model.of(Kind::User).schema;
            let mut names: Vec<String> = Vec::new();
            for attribute in &user.attributes {
                if attribute.required {
                    names.push(attribute.name.clone());
                    names.extend(
                        attribute.sub_attributes.iter().filter(|s| s.required).map(|s| s.name.clone()),
                    );
                }
            }
            names
        };
        assert_eq!(required(&VEZA), ["userName", "name", "familyName", "givenName", "displayName", "emails"]);
        assert_eq!(required(&STANDARD), ["userName"]);
        let unique = |policy| {
            let model = Model::new(policy, &[]).expect("a model");
            model.of(Kind::Group).schema.attribute("displayName").map(|a| a.uniqueness)
        };
        assert_eq!(unique(&VEZA), Some(Uniqueness::Server));
        assert_eq!(unique(&STRICT), Some(Uniqueness::None));
    }
}
