//! All texts of notes and hints.

/// Where the administrator of an identity provider maps attributes.
pub const MAPPINGS: &str =
    "Okta: Provisioning > To App > Attribute Mappings; Entra ID: Provisioning > Mappings";

/// What the core can note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteKind {
    /// A value was read that came in another form than the schema has.
    Coerced,
    /// A password was left out.
    Password,
    /// A read-only attribute was left out.
    ReadOnly,
    /// An attribute was left out that no schema defines, or that the policy does not store.
    Unknown,
    /// `userName` or the primary email was changed with the other.
    Followed,
    /// Resources were found by the key of this attribute.
    LookedUp,
    /// All resources of this type were read.
    Scanned,
    /// The request changed nothing, so that nothing was written.
    Unchanged,
    /// A POST brought a deactivated account back.
    Reactivated,
    /// A local account is managed by the identity provider from now on.
    Converted,
    /// A rule refused the request.
    Refused(Rule),
    /// There were more notes than a request may have.
    More,
}

impl NoteKind {
    /// Every kind that is not a refusal.
    pub const ALL: [Self; 11] = [
        Self::Coerced,
        Self::Password,
        Self::ReadOnly,
        Self::Unknown,
        Self::Followed,
        Self::LookedUp,
        Self::Scanned,
        Self::Unchanged,
        Self::Reactivated,
        Self::Converted,
        Self::More,
    ];

    /// The code in the log, and the words for people. `{}` stands for the name of the attribute or type.
    pub const fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::Coerced => ("coerced", "{} came in another form and was read as the schema has it"),
            Self::Password => ("ignored", "{} was left out: no password is stored"),
            Self::ReadOnly => ("ignored", "{} was left out: only the server writes it"),
            Self::Unknown => {
                ("ignored", "{} was left out: no schema defines it, or the policy does not store it")
            }
            Self::Followed => {
                ("followed", "{} was changed too, so that userName and the primary email stay equal")
            }
            Self::LookedUp => ("lookup", "looked up by {}"),
            Self::Scanned => {
                ("scan", "each {} was read, because the filter names no attribute with a look-up")
            }
            Self::Unchanged => ("unchanged", "nothing to change, so nothing was written"),
            Self::Reactivated => ("reactivated", "the deactivated {} was brought back under its id"),
            Self::Converted => {
                ("converted", "the local account is managed by the identity provider from now on")
            }
            Self::Refused(rule) => ("refused", rule.texts().1),
            Self::More => ("more", "and more"),
        }
    }
}

/// A rule that refuses what a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// An attribute must have a value.
    Required,
    /// An attribute of a user must have a value. The policies differ in which.
    RequiredOfUser,
    /// One email must be primary.
    PrimaryEmail,
    /// `userName` equals the primary email.
    UserNameIsEmail,
    /// A user's body cannot set `groups`.
    GroupsOfUser,
    /// Only some attributes of a group can be changed.
    GroupAttributes,
    /// A group's name is unique.
    GroupName,
    /// An attribute must be known.
    KnownAttribute,
    /// A member of a message must be known.
    KnownMember,
    /// `schemas` must be there, with known URNs.
    Schemas,
    /// `schemas` must name the resource's own schema. No policy accepts another one.
    OwnSchema,
    /// A value must have the JSON type that the schema names.
    ExactType,
    /// A boolean must not come as a text.
    ExactBoolean,
    /// A value must be one of the canonical ones.
    CanonicalValue,
    /// A value path must select an element.
    Target,
    /// A value path that selects nothing must say which element to create. Under no policy another filter creates one.
    TargetFilter,
    /// The path of an operation must name what a schema defines.
    PatchPath,
    /// A value must fit its attribute.
    Type,
    /// A user's name is unique.
    UserName,
    /// A `userName` holds only characters that can be compared.
    UserNameCharacters,
    /// Members must exist.
    Members,
    /// A password is not accepted.
    Password,
    /// Only the server writes the attribute.
    ReadOnly,
    /// The root team keeps an administrator.
    LastAdmin,
    /// Identity providers do not change the root team.
    RootTeam,
    /// Only so many users may be deactivated within an hour.
    DeactivationLimit,
}

/// For each rule, in the order of [`Rule`]: the code in the log, the words for people, and what to change at the
/// identity provider, which is empty where the refusal says so itself. `{}` stands for the name of the attribute,
/// `{mappings}` for the pages on which attributes are mapped.
pub const RULE_TEXTS: [(Rule, &str, &str, &str); 26] = [
    (Rule::Required, "required", "{} must have a value", "Map it at the identity provider ({mappings})."),
    (
        Rule::RequiredOfUser,
        "required",
        "{} must have a value",
        "Map it at the identity provider ({mappings}).",
    ),
    (
        Rule::PrimaryEmail,
        "primary_email",
        "one of {} must be primary",
        "Send the address that the person signs in with as the primary email ({mappings}).",
    ),
    (
        Rule::UserNameIsEmail,
        "user_name_is_primary_email",
        "{} must be the primary email",
        "Map userName and the primary email from the same attribute ({mappings}).",
    ),
    (
        Rule::GroupsOfUser,
        "groups_of_user",
        "{} cannot be set on a user",
        "Send groups as groups (Okta: Push Groups; Entra ID: Provisioning > Mappings > Groups).",
    ),
    (
        Rule::GroupAttributes,
        "group_attributes",
        "{} of a group cannot be changed",
        "Remove it from the mapping of groups ({mappings}).",
    ),
    (
        Rule::GroupName,
        "group_name",
        "{} of a group must be unique",
        "Rename one of the groups, or let the identity provider take over the group that exists (Okta: Push Groups > Link Group; Entra ID: Provisioning > Mappings, matching by displayName).",
    ),
    (
        Rule::KnownAttribute,
        "known_attribute",
        "no schema defines {}",
        "Remove it from the mapping ({mappings}), or send only what /Schemas lists.",
    ),
    (Rule::KnownMember, "known_member", "a message has no member {}", "Leave it out."),
    (
        Rule::Schemas,
        "schemas",
        "{} must name the schemas that the body has",
        "Send schemas as /Schemas lists them.",
    ),
    (
        Rule::OwnSchema,
        "schemas",
        "{} must name the schemas that the body has",
        "Send schemas as /Schemas lists them.",
    ),
    (
        Rule::ExactType,
        "exact_type",
        "{} must have the JSON type that its schema names",
        "Correct its mapping ({mappings}).",
    ),
    (
        Rule::ExactBoolean,
        "exact_type",
        "{} must have the JSON type that its schema names",
        "Entra ID: add ?aadOptscim062020 to the Tenant URL, so that it sends booleans as booleans.",
    ),
    (
        Rule::CanonicalValue,
        "canonical_value",
        "{} must be one of the canonical values",
        "Change the mapping to one of them ({mappings}).",
    ),
    (
        Rule::Target,
        "target",
        "the path to {} selects nothing",
        "Under the policies veza and standard, replace creates the element that a filter of eq joined by and selects, as Entra ID expects of emails[type eq \"work\"].value, and remove may select nothing.",
    ),
    (
        Rule::TargetFilter,
        "target",
        "the path to {} selects nothing",
        "An element is created only if the filter says what it is: eq joined by and, with one value for each sub-attribute, as in emails[type eq \"work\"].value.",
    ),
    (
        Rule::PatchPath,
        "path",
        "no schema defines the path {}",
        "Correct the target of its mapping ({mappings}): /Schemas lists the attributes.",
    ),
    (Rule::Type, "type", "{} has a value that does not fit", "Correct its mapping ({mappings})."),
    (
        Rule::UserName,
        "user_name",
        "{} must be unique",
        "If it is the same person, match the account instead of creating it (Okta: Provisioning > Import; Entra ID: Provisioning > Mappings, matching by userName).",
    ),
    (Rule::UserNameCharacters, "user_name_characters", "{} holds a character that cannot be compared", ""),
    (
        Rule::Members,
        "members",
        "{} names someone who is not there",
        "Assign the people to the app as well as the group (Okta: Assignments; Entra ID: Users and groups).",
    ),
    (
        Rule::Password,
        "password",
        "{} is not accepted",
        "Turn it off (Okta: Provisioning > To App > Sync Password; Entra ID: remove it in Provisioning > Mappings).",
    ),
    (Rule::ReadOnly, "read_only", "only the server writes {}", "Remove it from the mapping ({mappings})."),
    (Rule::LastAdmin, "last_admin", "the root team would have no administrator", ""),
    (Rule::RootTeam, "root_team", "identity providers do not change the root team of this tenant", ""),
    (Rule::DeactivationLimit, "deactivation_limit", "too many users would be deactivated within an hour", ""),
];

impl Rule {
    /// The code in the log, the words for people, and what to change at the identity provider ([`RULE_TEXTS`]).
    pub const fn texts(self) -> (&'static str, &'static str, &'static str) {
        let (_, code, words, fix) = RULE_TEXTS[self as usize];
        (code, words, fix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_has_the_texts_of_its_row() {
        for (at, (rule, code, words, _)) in RULE_TEXTS.into_iter().enumerate() {
            assert_eq!(rule as usize, at, "{rule:?}");
            assert_eq!(rule.texts().0, code);
            assert!(!code.is_empty() && !words.is_empty());
        }
    }
}
