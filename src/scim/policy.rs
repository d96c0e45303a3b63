//! The rules in which tenants differ, as data: one struct, one preset per name.
//!
//! A policy is chosen with the tenant. Nothing else in the crate asks for a policy's name.

/// What a DELETE of a user means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteUser {
    /// The account is kept as a tombstone; a later POST of the same `userName` brings it back.
    Deactivate,
    /// The account is gone.
    Delete,
}

/// One set of rules.
#[derive(Debug, PartialEq, Eq)]
pub struct Policy {
    /// The name in the authorizer's context and on the command line.
    pub name: &'static str,
    /// `userName` equals the primary email, compared without regard to case.
    pub user_name_is_primary_email: bool,
    /// One email must be marked primary.
    pub primary_email_required: bool,
    /// Attribute paths without which a user is refused.
    pub required_of_user: &'static [&'static str],
    /// A `groups` value in the body of a user's POST or PUT is refused unless it changes nothing;
    /// otherwise it is ignored as any read-only attribute is.
    pub refuses_groups_in_user: bool,
    /// What a DELETE of a user means.
    pub delete_user: DeleteUser,
    /// An accepted update of a local account makes it an SSO account.
    pub converts_local_accounts: bool,
    /// The only attributes that a PUT or PATCH of a group may write, or none for any writable one.
    pub group_attributes: Option<&'static [&'static str]>,
    /// A group's `displayName` is unique without regard to case.
    pub unique_group_name: bool,
    /// A PATCH `replace` on a value path that selects nothing creates the element (RFC 7644
    /// §3.5.2.3 asks for `noTarget`; Microsoft Entra ID depends on the element being made).
    pub replace_creates: bool,
    /// The known deviations of identity providers are accepted where the RFC says error.
    pub tolerant: bool,
}

/// The access-governance product's own rules; the default.
pub const VEZA: Policy = Policy {
    name: "veza",
    user_name_is_primary_email: true,
    primary_email_required: true,
    required_of_user: &["userName", "name.givenName", "name.familyName", "displayName", "emails"],
    refuses_groups_in_user: true,
    delete_user: DeleteUser::Deactivate,
    converts_local_accounts: true,
    group_attributes: Some(&["displayName", "members", "externalId"]),
    unique_group_name: true,
    replace_creates: true,
    tolerant: true,
};

/// RFC behaviour with the tolerance that real identity providers need.
pub const STANDARD: Policy = Policy {
    name: "standard",
    user_name_is_primary_email: false,
    primary_email_required: false,
    required_of_user: &["userName"],
    refuses_groups_in_user: false,
    delete_user: DeleteUser::Delete,
    converts_local_accounts: true,
    group_attributes: None,
    unique_group_name: true,
    replace_creates: true,
    tolerant: true,
};

/// The letter of the RFC.
pub const STRICT: Policy =
    Policy { name: "strict", unique_group_name: false, replace_creates: false, tolerant: false, ..STANDARD };

/// Every policy, the default first.
pub const POLICIES: &[&Policy] = &[&VEZA, &STANDARD, &STRICT];

impl Policy {
    /// The policy of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        POLICIES.iter().copied().find(|policy| policy.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_is_found_by_its_name() {
        for policy in POLICIES {
            assert_eq!(Policy::named(policy.name), Some(*policy));
        }
        assert_eq!(Policy::named("VEZA"), None);
    }
}
