//! Why a tenant or a key was not made or changed.

use uuid::Uuid;

use crate::store::error::StoreError;
use crate::store::keys::TenantId;

/// A refused or failed change of a tenant or a key.
#[derive(Debug)]
pub enum TenantError {
    /// There is a tenant of this name.
    Exists(TenantId),
    /// There is no tenant of this name.
    NoTenant(TenantId),
    /// A tenant of this name was deleted not long ago: in so many seconds the name can be given again.
    NameRests(TenantId, u64),
    /// The tenant has no key of this id.
    NoKey(TenantId, String),
    /// The tenant has no client of this id.
    NoClient(TenantId, String),
    /// There is no application key of this id.
    NoApplication(String),
    /// The tenant has no such user.
    NoUser(TenantId, Uuid),
    /// The key or client of this id is revoked or expired, so it can have no successor.
    KeyEnded(String),
    /// Something given cannot be used.
    Input(String),
    /// The usage plan or its API key cannot be used.
    UsageKey(String),
    /// The table failed.
    Table(StoreError),
}

impl From<StoreError> for TenantError {
    fn from(error: StoreError) -> Self {
        Self::Table(error)
    }
}

impl From<getrandom::Error> for TenantError {
    fn from(error: getrandom::Error) -> Self {
        Self::Input(format!("the operating system gives no randomness: {error}"))
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
