//! A change as the feed tells it: flat JSON, with names of attributes and never their values.

use serde::{Deserialize, Serialize};

use crate::store::error::StoreError;

/// One change. Empty fields are left out of the JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FeedChange {
    /// Its number: 1, 2, 3 … over the whole deployment. 0 until it is in the feed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub seq: u64,
    /// Its own id.
    pub id: String,
    /// What happened: `user.created`, `group.updated`, `key.revoked`, …
    #[serde(rename = "type")]
    pub event_type: String,
    /// The name of the tenant.
    pub tenant: String,
    /// Tells a tenant from an earlier one of the same name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub incarnation: String,
    /// `User`, `Group`, `Key` or `Tenant`.
    pub resource_type: String,
    /// The id of the resource.
    pub resource_id: String,
    /// The version of the resource after the change.
    pub version: u64,
    /// Of a large change: 0 for its commit, 1 to `parts` for its parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<u32>,
    /// Of a large change: how many parts follow the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<u32>,
    /// When, in RFC 3339.
    pub time: String,
    /// Who did it: the id of a key, `operator`, or `worker`.
    pub actor: String,
    /// The request that it was part of: Lambda's id of the invocation, which no caller can choose.
    pub request_id: String,
    /// The names of the changed attributes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<String>,
    /// The ids of members that it added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<String>,
    /// The ids of members that it removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
    /// How many members it added, named or not.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub added_count: u64,
    /// How many members it removed, named or not.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub removed_count: u64,
    /// What an operator should look at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

impl FeedChange {
    /// The change as JSON. `resource`, if given, is JSON too: the state of the resource.
    ///
    /// # Errors
    /// [`StoreError::Broken`] if the change cannot be written.
    pub fn json(&self, resource: Option<&str>) -> Result<String, StoreError> {
        let mut text = serde_json::to_string(self).map_err(|e| StoreError::Broken(e.to_string()))?;
        if let Some(resource) = resource {
            text.pop();
            text.push_str(",\"resource\":");
            text.push_str(resource);
            text.push('}');
        }
        Ok(text)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands references")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}
