//! `If-Match` and `If-None-Match` (RFC 7644 §3.14, RFC 9110 §13.1).

use crate::scim::error::{ErrorKind, ScimError};

/// A list of entity tags. Only their opaque values are compared: a client may send `W/"3"` back as `"3"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntityTags {
    /// `*`: any version.
    Any,
    /// These versions.
    Some(Vec<String>),
}

impl EntityTags {
    /// Reads a header. Text that is no entity tag matches nothing.
    pub fn parse(header: &str) -> Self {
        if header.trim() == "*" {
            return Self::Any;
        }
        let mut tags = Vec::new();
        let mut rest = header;
        loop {
            rest = rest.trim_start_matches([',', ' ', '\t']);
            if rest.is_empty() {
                return Self::Some(tags);
            }
            let tag = rest.strip_prefix("W/").or_else(|| rest.strip_prefix("w/")).unwrap_or(rest);
            rest = match tag.strip_prefix('"') {
                Some(open) => match open.split_once('"') {
                    Some((opaque, after)) => {
                        tags.push(opaque.to_owned());
                        after
                    }
                    None => "",
                },
                // Some clients leave the quotes out.
                None => {
                    let (bare, after) = tag.split_once(',').unwrap_or((tag, ""));
                    tags.push(bare.trim().to_owned());
                    after
                }
            };
        }
    }

    /// Whether a version is among them.
    pub fn contains(&self, version: u64) -> bool {
        match self {
            Self::Any => true,
            Self::Some(tags) => tags.iter().any(|tag| *tag == version.to_string()),
        }
    }
}

/// The preconditions of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preconditions {
    /// The resource is changed, or answered, only in one of these versions.
    pub if_match: Option<EntityTags>,
    /// The answer has a body, and a change happens, only if the version is not among these.
    pub if_none_match: Option<EntityTags>,
}

impl Preconditions {
    /// Checks a version that is about to be changed.
    ///
    /// # Errors
    /// 412 when `If-Match` names other versions, or `If-None-Match` this one.
    pub fn check(&self, version: u64) -> Result<(), ScimError> {
        match self.wants(version)? {
            true => Ok(()),
            false => Err(ScimError::new(
                ErrorKind::PreconditionFailed,
                format!(
                    "The resource is in version W/\"{version}\", which If-None-Match excludes. Leave the header out of a change."
                ),
            )),
        }
    }

    /// Whether a version that is about to be answered is new to the client. If not, the answer to a read has no body.
    ///
    /// # Errors
    /// 412 when `If-Match` names other versions.
    pub fn wants(&self, version: u64) -> Result<bool, ScimError> {
        if self.if_match.as_ref().is_some_and(|tags| !tags.contains(version)) {
            return Err(ScimError::new(
                ErrorKind::PreconditionFailed,
                format!(
                    "The resource is in version W/\"{version}\", and the request asks for another (If-Match, or version in Bulk). Read it again."
                ),
            ));
        }
        Ok(!self.if_none_match.as_ref().is_some_and(|tags| tags.contains(version)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_compare_by_opaque_value() {
        for (header, has) in [
            ("W/\"3\"", true),
            ("\"3\"", true),
            ("3", true),
            ("*", true),
            ("\"1\", W/\"3\"", true),
            ("\"a,3\"", false),
            ("\"2\"", false),
            ("", false),
            ("W/\"3", false),
            ("1, 3", true),
        ] {
            assert_eq!(EntityTags::parse(header).contains(3), has, "{header:?}");
        }
    }
}
