//! Why a tenant or a key was not made or changed.

use uuid::Uuid;

use crate::outbound::NO_CA_CERTIFICATES;
use crate::store::error::StoreError;
use crate::store::keys::TenantId;

/// A refused or failed change of a tenant or a key.
#[derive(Debug)]
pub enum TenantError {
    /// There is a tenant of this name.
    Exists(TenantId),
    /// There is no tenant of this name.
    NoTenant(TenantId),
    /// The tenant is being deleted, so nothing is made or set in it.
    BeingDeleted(TenantId),
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
    /// The key of this id is bound to a user who is gone, so it can have no successor.
    UserGone(String),
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

/// What to do if the metadata service of EC2 gave no credentials.
const METADATA_REFUSED: &str = "the metadata service of this machine refused to give credentials (403); attach a role to the machine, or set AWS_PROFILE or pass --profile";
/// What to do if the service that gives a container its credentials gave none.
const CONTAINER_REFUSED: &str = "the service that gives this container its credentials refused; check the role of the task or pod, or pass --profile";
/// What to do if there are no credentials anywhere.
const NOTHING_FOUND: &str = "no AWS credentials were found; sign in, set AWS_PROFILE or pass --profile, or for a local table --endpoint-url";

/// Texts in the errors of AWS and of its SDK, and what an operator can do about each. The first one that is found
/// counts.
const ADVICE: &[(&[&str], &str)] = &[
    (&["scheme is not http"], NO_CA_CERTIFICATES),
    (
        &["invalid peer certificate"],
        "this machine does not trust the server's certificate; if a proxy reads TLS, add its CA to those of the system, or name a file of certificates in SSL_CERT_FILE",
    ),
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
        &["failed to apply endpoint", "MissingScheme", "endpoint must contain scheme"],
        "the endpoint is no URL; give it with its scheme, as http://127.0.0.1:8000, in --endpoint-url, AWS_ENDPOINT_URL_DYNAMODB or the profile",
    ),
    (
        &["was not defined", "could not find profile"],
        "no AWS credentials were found; the profile, or the source_profile that it names, is not in the AWS configuration: choose another with --profile",
    ),
    (
        &["external process"],
        "the credential_process of the profile gave no credentials; run its command by hand, or choose another with --profile",
    ),
    (
        &["IMDS is disabled or the caller has insufficient permissions", "TokenError { kind: Forbidden }"],
        METADATA_REFUSED,
    ),
    (
        &["sso/cache", "SsoTokenProvider", "SSO token", "sso session"],
        "the sign-in of the profile has ended or has not been made; run `aws sso login`, or choose another with --profile",
    ),
    (&["HTTP credential provider"], CONTAINER_REFUSED),
    (
        &["credentials provider was not properly configured"],
        "the AWS configuration has no whole credentials for the profile; complete it, or choose another with --profile",
    ),
    (&["no providers in chain provided credentials", "CredentialsNotLoaded"], NOTHING_FOUND),
    (
        &["an error occurred while loading credentials"],
        "no AWS credentials could be loaded; sign in again, or choose others with --profile (--verbose tells more)",
    ),
    (
        &["TimeoutError"],
        "no answer in time; check the network, --region and --endpoint-url, and how credentials are loaded (--profile)",
    ),
    (
        &["no answer: no message"],
        "what answers is not DynamoDB; check --endpoint-url, and whether a proxy is between",
    ),
    (
        &["ConnectorError", "ConnectTimeout", "dispatch failure"],
        "DynamoDB cannot be reached; check the network, --region and --endpoint-url",
    ),
];

/// What an operator can do about an AWS error, recognised by its code or by the SDK's words.
pub fn explain(source: &str) -> Option<&'static str> {
    ADVICE.iter().find(|(marks, _)| marks.iter().any(|mark| source.contains(mark))).map(|(_, advice)| *advice)
}

/// What to do about a text of the SDK if the command names a profile of the AWS configuration. `None` if the profile is
/// not to blame.
///
/// The SDK asks a container's service and the metadata service only after a profile that is missing or empty, and then
/// its error tells of the last one that it asked.
pub fn explain_profile(source: &str, profile: &str) -> Option<String> {
    let advice = explain(source)?;
    let is_missing = source.contains(&format!("profile `{profile}` was not defined"));
    let is_last = source.contains("IMDS");
    let is_passed_over = [METADATA_REFUSED, CONTAINER_REFUSED, NOTHING_FOUND].contains(&advice);
    (is_missing || is_last || is_passed_over).then(|| {
        format!(
            "the profile {profile} gave no credentials: check that the AWS configuration has it (aws configure list-profiles), or choose another with --profile"
        )
    })
}

/// The first line, and not too much of it.
pub fn one_line(source: &str) -> String {
    source.lines().next().unwrap_or_default().chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts of the SDK, shortened.
    #[test]
    fn credentials_are_not_blamed_on_the_network() {
        let dispatch =
            |text: &str| format!("dispatch failure: other: {text} (DispatchFailure(ConnectorError {{ }}))");
        let loading = |text: &str| dispatch(&format!("an error occurred while loading credentials: {text}"));
        for (source, part) in [
            (
                loading("Error retrieving credentials: external process exited with code 1"),
                "credential_process",
            ),
            (
                loading("Error retrieving credentials from external process, could not parse"),
                "credential_process",
            ),
            (
                loading(
                    "failed to load IMDS session token: service error: request forbidden: IMDS is disabled or the caller has insufficient permissions.",
                ),
                "metadata service",
            ),
            (loading("failed to read `/home/a/.aws/sso/cache/e8be.json`: No such file"), "aws sso login"),
            (loading("Non-success status from HTTP credential provider: StatusCode(403)"), "container"),
            (loading("No such file or directory (os error 2)"), "no AWS credentials could be loaded"),
            (
                dispatch("the credentials provider was not properly configured: profile missing"),
                "complete it",
            ),
            (dispatch("failed to apply endpoint `127.0.0.1:99`: endpoint must contain scheme"), "scheme"),
            (dispatch("profile `nowhere` was not defined (CredentialsNotLoaded)"), "source_profile"),
            (
                dispatch("no credentials found in chain (CredentialsNotLoaded)"),
                "no AWS credentials were found",
            ),
            ("operation timeout (TimeoutError(MaybeTimeoutError))".to_owned(), "no answer in time"),
            ("no answer: no message".to_owned(), "is not DynamoDB"),
            (dispatch("io error: client error (Connect): dns error"), "check the network"),
            (
                dispatch("io error: client error (Connect): invalid URL, scheme is not http"),
                "ca-certificates",
            ),
            (loading("dispatch failure: invalid URL, scheme is not http"), "ca-certificates"),
            (dispatch("client error (Connect): invalid peer certificate: UnknownIssuer"), "does not trust"),
        ] {
            let advice = explain(&source).unwrap_or_default();
            assert!(advice.contains(part), "{source}: {advice}");
        }
    }

    #[test]
    fn a_profile_without_credentials_is_named() {
        let nothing = "no providers in chain provided credentials (CredentialsNotLoaded)";
        let refused =
            "failed to load IMDS session token: IMDS is disabled or the caller has insufficient permissions.";
        let missing = "profile `ghost` was not defined: could not find source profile (CredentialsNotLoaded)";
        let slow = "failed to load IMDS session token: dispatch failure: timeout (TimeoutError)";
        let container = "Non-success status from HTTP credential provider";
        for source in [nothing, refused, slow, container, missing] {
            let advice = explain_profile(source, "ghost").unwrap_or_default();
            assert!(advice.starts_with("the profile ghost gave no credentials"), "{source}: {advice}");
        }
        let other =
            "profile `base` was not defined: could not find source profile base referenced from ghost";
        for source in
            [other, "external process exited with code 1", "client error (Connect): dns error", "odd"]
        {
            assert_eq!(explain_profile(source, "ghost"), None, "{source}");
        }
    }
}
