//! What can go wrong for an operator, in one line that says what to do about it.

use std::fmt;

use uuid::Uuid;

use crate::store::call::Table;
use crate::store::error::StoreError;
use crate::store::keys::TenantId;
use crate::tenants::error::TenantError;

/// A refused or failed command.
#[derive(Debug)]
pub enum AdminError {
    /// There is a tenant of this name.
    Exists(TenantId),
    /// There is no tenant of this name.
    NoTenant(TenantId),
    /// A tenant of this name was deleted not long ago: in so many seconds the name can be given again.
    NameRests(TenantId, u64),
    /// The tenant has no key of this id.
    NoKey(TenantId, String),
    /// There is no application key of this id.
    NoApplication(String),
    /// The tenant has no such user.
    NoUser(TenantId, Uuid),
    /// Something given cannot be used.
    Input(String),
    /// The usage plan or its API key cannot be used.
    UsageKey(String),
    /// The table: its name and what happened.
    Table(String, StoreError),
}

impl AdminError {
    /// A failed call to the table of this name.
    pub fn table(name: &str) -> impl Fn(StoreError) -> Self {
        let name = name.to_owned();
        move |error| Self::Table(name.clone(), error)
    }

    /// A refused or failed change of a tenant or a key.
    pub fn of(table: &Table) -> impl Fn(TenantError) -> Self {
        let name = table.name().to_owned();
        move |error| match error {
            TenantError::Exists(tenant) => Self::Exists(tenant),
            TenantError::NoTenant(tenant) => Self::NoTenant(tenant),
            TenantError::NameRests(tenant, seconds) => Self::NameRests(tenant, seconds),
            TenantError::NoKey(tenant, key) => Self::NoKey(tenant, key),
            TenantError::NoApplication(id) => Self::NoApplication(id),
            TenantError::NoUser(tenant, user) => Self::NoUser(tenant, user),
            TenantError::KeyEnded(key) => Self::Input(ended(&key)),
            TenantError::Input(problem) => Self::Input(problem),
            TenantError::UsageKey(problem) => Self::UsageKey(problem),
            TenantError::Table(error) => Self::Table(name.clone(), error),
        }
    }
}

fn ended(key: &str) -> String {
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
            Self::NoApplication(id) => {
                write!(f, "there is no application key {id}: see `rollcall application list`")
            }
            Self::NoUser(tenant, user) => {
                write!(f, "tenant {tenant} has no user {user}: --user takes the SCIM id of a user")
            }
            Self::Input(problem) | Self::UsageKey(problem) => f.write_str(problem),
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

/// What an operator can do about an AWS error, recognised by its code or by the SDK's words.
pub fn explain(source: &str) -> Option<&'static str> {
    let rows: &[(&[&str], &str)] = &[
        (
            &["ResourceNotFoundException"],
            "it does not exist in this account and region; deploy the template, or name another with --table, --region or --profile",
        ),
        (
            &[
                "The provided key element does not match the schema",
                "Query condition missed key schema",
                "ValidationError",
            ],
            "it has another shape; Rollcall needs a table with the string keys pk and sk, as its template makes it",
        ),
        (
            &["AccessDenied", "not authorized to perform"],
            "these credentials may not do that; use an operator's role",
        ),
        (
            &[
                "UnrecognizedClient",
                "InvalidSignature",
                "ExpiredToken",
                "InvalidClientTokenId",
                "InvalidAccessKeyId",
            ],
            "AWS does not accept these credentials; sign in again, or choose others with --profile",
        ),
        (
            &["Missing Region", "A region must be set", "MissingRegion"],
            "no AWS region is set; pass --region or set AWS_REGION",
        ),
        (
            &["no providers in chain provided credentials", "CredentialsNotLoaded", "could not find profile"],
            "no AWS credentials were found; sign in, set AWS_PROFILE or pass --profile, or for a local table --endpoint-url",
        ),
        (
            &["ConnectorError", "ConnectTimeout", "dispatch failure"],
            "DynamoDB cannot be reached; check the network, --region and --endpoint-url",
        ),
    ];
    rows.iter().find(|(marks, _)| marks.iter().any(|mark| source.contains(mark))).map(|(_, advice)| *advice)
}

/// The first line, and not too much of it.
pub fn one_line(source: &str) -> String {
    source.lines().next().unwrap_or_default().chars().take(300).collect()
}
