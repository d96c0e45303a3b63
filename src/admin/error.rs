//! What can go wrong for an operator, in one line that says what to do about it.

use std::fmt;

use uuid::Uuid;

use crate::store::call::Table;
use crate::store::error::StoreError;
use crate::store::keys::TenantId;
use crate::tenants::error::{TenantError, explain, explain_profile, one_line};

/// A refused or failed command.
#[derive(Debug)]
pub enum AdminError {
    /// There is a tenant of this name.
    Exists(TenantId),
    /// A tenant of this name is being deleted.
    BeingDeleted(TenantId),
    /// There is no tenant of this name.
    NoTenant(TenantId),
    /// A tenant of this name was deleted not long ago. The name can be given again after this many seconds.
    NameRests(TenantId, u64),
    /// The tenant has no key of this id.
    NoKey(TenantId, String),
    /// The tenant has no client of this id.
    NoClient(TenantId, String),
    /// There is no application key of this id.
    NoApplication(String),
    /// The tenant has no such user.
    NoUser(TenantId, Uuid),
    /// Something given cannot be used.
    Input(String),
    /// The command line does not say what to do: exit code 2.
    Usage(String),
    /// The reader of the standard output has gone, such as `| head`. The command ends, and did not fail.
    ReaderGone,
    /// The usage plan or its API key cannot be used.
    UsageKey(String),
    /// The table: its name and what happened.
    Table(String, StoreError),
}

impl AdminError {
    /// A failed call to the table of this name.
    pub fn table(name: &str) -> impl Fn(StoreError) -> Self + use<> {
        let name = name.to_owned();
        move |error| Self::Table(name.clone(), error)
    }

    /// An output that cannot be written. `what` is its name.
    pub fn output(what: &str) -> impl Fn(std::io::Error) -> Self + use<> {
        let what = what.to_owned();
        move |error| match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => Self::Input(format!("{what} cannot be written: {error}")),
        }
    }

    /// A refused or failed change of a tenant or a key.
    pub fn of(table: &Table) -> impl Fn(TenantError) -> Self {
        let name = table.name().to_owned();
        move |error| match error {
            TenantError::Exists(tenant) => Self::Exists(tenant),
            TenantError::NoTenant(tenant) => Self::NoTenant(tenant),
            TenantError::BeingDeleted(tenant) => Self::BeingDeleted(tenant),
            TenantError::NoKey(tenant, key) => Self::NoKey(tenant, key),
            TenantError::NoClient(tenant, id) => Self::NoClient(tenant, id),
            TenantError::NoApplication(id) => Self::NoApplication(id),
            TenantError::NoUser(tenant, user) => Self::NoUser(tenant, user),
            TenantError::KeyEnded(key) => Self::Input(ended(&key)),
            TenantError::UserGone(key) => Self::Input(format!(
                "the key {key} is bound to a user who is deleted or deactivated: make a new key, then revoke this one"
            )),
            TenantError::Input(problem) => Self::Input(problem),
            TenantError::UsageKey(problem) => Self::UsageKey(problem),
            TenantError::Table(error) => Self::Table(name.clone(), error),
        }
    }
}

impl AdminError {
    /// The error in one line, for a command that names this profile of the AWS configuration, if any.
    pub fn in_line(&self, profile: Option<&str>) -> String {
        let advice = self.source_text().zip(profile);
        match (self, advice.and_then(|(source, profile)| explain_profile(source, profile))) {
            (Self::Table(name, _), Some(advice)) => format!("table {name}: {advice}"),
            _ => self.to_string(),
        }
    }

    /// The whole text of the error, with what the SDK says.
    pub fn in_full(&self, profile: Option<&str>) -> String {
        let line = self.in_line(profile);
        match self.source_text() {
            Some(source) => format!("{line}\n{}", without_request(source)),
            None => line,
        }
    }

    /// What the SDK says.
    fn source_text(&self) -> Option<&str> {
        match self {
            Self::Table(_, StoreError::Broken(source) | StoreError::Unavailable(source)) => Some(source),
            _ => None,
        }
    }
}

/// What the SDK says, without the parts that may repeat the request: a request holds names and attributes.
fn without_request(source: &str) -> &str {
    let ends = [
        " to request `",
        " (DispatchFailure(",
        " (TimeoutError(",
        " (ConstructionFailure(",
        " (ResponseError(",
    ];
    let end = ends.iter().filter_map(|mark| source.find(mark)).min();
    source[..end.unwrap_or(source.len())].trim_end()
}

fn ended(key: &str) -> String {
    if key.starts_with("client_") {
        return format!("client {key} is revoked: make a new one with `rollcall client create`");
    }
    let command = if key.starts_with("app_") { "application" } else { "key" };
    format!(
        "key {key} is revoked or expired, so nothing is left to hand over: make a new one with `rollcall {command} create`"
    )
}

impl std::error::Error for AdminError {}

impl From<getrandom::Error> for AdminError {
    fn from(error: getrandom::Error) -> Self {
        Self::Input(format!("the operating system gives no randomness: {error}"))
    }
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(tenant) => {
                write!(f, "tenant {tenant} exists already: see `rollcall tenant show {tenant}`")
            }
            Self::BeingDeleted(tenant) => write!(
                f,
                "tenant {tenant} is being deleted: wait for that `rollcall tenant delete {tenant}`, or run it again if it was interrupted, then make the tenant again"
            ),
            Self::NoTenant(tenant) => write!(
                f,
                "there is no tenant {tenant}: see `rollcall tenant list`, or make it with `rollcall tenant create {tenant}`"
            ),
            Self::NameRests(tenant, seconds) => write!(
                f,
                "a tenant {tenant} was deleted not long ago, and a request for it may still be under way: make it again in {} minutes, or take another name",
                seconds.div_ceil(60)
            ),
            Self::NoKey(tenant, key) => {
                write!(f, "tenant {tenant} has no key {key}: see `rollcall key list {tenant}`")
            }
            Self::NoClient(tenant, id) => {
                write!(f, "tenant {tenant} has no client {id}: see `rollcall client list {tenant}`")
            }
            Self::NoApplication(id) => {
                write!(f, "there is no application key {id}: see `rollcall application list`")
            }
            Self::NoUser(tenant, user) => {
                write!(f, "tenant {tenant} has no user {user}: see `rollcall user list {tenant}`")
            }
            Self::Input(problem) | Self::Usage(problem) | Self::UsageKey(problem) => f.write_str(problem),
            Self::ReaderGone => f.write_str("nothing reads the output any more"),
            Self::Table(name, StoreError::Broken(source) | StoreError::Unavailable(source)) => {
                match explain(source) {
                    Some(advice) => write!(f, "table {name}: {advice}"),
                    None => write!(f, "table {name}: {}", one_line(source)),
                }
            }
            Self::Table(name, error) => write!(f, "table {name}: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_text_repeats_no_request() {
        let secret = r#"failed to apply endpoint `a:1` to request `Request { body: {"S":"ada@x"} }`: scheme"#;
        let source = format!("dispatch failure: other: {secret} (DispatchFailure(Request {{ ada@x }}))");
        let error = AdminError::Table("t".to_owned(), StoreError::Broken(source));
        assert!(error.in_full(None).contains("failed to apply endpoint `a:1`"));
        assert!(!error.in_full(None).contains("ada@x"));
    }

    #[test]
    fn a_profile_is_blamed_where_it_is_known() {
        let source = "no providers in chain provided credentials".to_owned();
        let error = AdminError::Table("t".to_owned(), StoreError::Unavailable(source));
        assert!(error.in_line(Some("ghost")).starts_with("table t: the profile ghost gave no credentials"));
        assert!(error.in_full(Some("ghost")).lines().count() == 2);
        assert_eq!(error.in_line(None), error.to_string());
    }
}
