//! What the environment says, read once at the start.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{
    BehaviorVersion, Credentials, Region, SharedCredentialsProvider, StalledStreamProtectionConfig,
};
use aws_types::{SdkConfig, sdk_config};
use tracing_subscriber::filter::{LevelFilter, Targets};

use crate::limits::{
    AUTHORIZER_ATTEMPT, AUTHORIZER_ATTEMPTS, AUTHORIZER_BACKOFF, AUTHORIZER_CALL,
    DEFAULT_CHANGE_RETENTION_DAYS, MAX_CHANGE_RETENTION_DAYS, MIN_CHANGE_RETENTION_DAYS,
};
use crate::scim::extension;
use crate::scim::resource_type::Kind;
use crate::scim::schema::Schema;
use crate::sdk;

/// The table's name.
pub const TABLE: &str = "ROLLCALL_TABLE";
/// The URL that locations begin with, where it is not what the request says.
pub const PUBLIC_URL: &str = "ROLLCALL_PUBLIC_URL";
/// The least important level that is logged.
pub const LOG: &str = "ROLLCALL_LOG";
/// The same, as Lambda sets it for functions with its JSON log format. It counts where [`LOG`] is not set.
pub const LAMBDA_LOG: &str = "AWS_LAMBDA_LOG_LEVEL";
/// The name of the stack, which is a dimension of all metrics. Without it no metric is written.
pub const STACK: &str = "ROLLCALL_STACK";
/// Whether the line of each request carries metrics. Without it, it does.
pub const REQUEST_METRICS: &str = "ROLLCALL_REQUEST_METRICS";
/// The name of the function, as Lambda sets it.
pub const FUNCTION_NAME: &str = "AWS_LAMBDA_FUNCTION_NAME";

/// The folder with extension schemas of the operator's own.
pub const EXTENSIONS: &str = "ROLLCALL_EXTENSIONS";

/// Whether answers are streamed (docs/streaming.md).
pub const RESPONSE_STREAMING: &str = "ROLLCALL_RESPONSE_STREAMING";

/// Which look-ups of email addresses are written: `all` or `unclaimed` ([`EmailLookups`]).
pub const EMAIL_LOOKUPS: &str = "ROLLCALL_EMAIL_LOOKUPS";

/// For how many days changes stay in the feed.
pub const CHANGE_RETENTION_DAYS: &str = "ROLLCALL_CHANGE_RETENTION_DAYS";

/// The value of the usage key by which the application's side is counted.
pub const APP_USAGE_KEY: &str = "ROLLCALL_APP_USAGE_KEY";

/// The URL of the application's side, without a slash at its end.
pub const APP_URL: &str = "ROLLCALL_APP_URL";

/// The id of the usage plan of the tenants.
pub const USAGE_PLAN: &str = "ROLLCALL_USAGE_PLAN";

/// The id of the usage plan of the tenants with the plan `high`.
pub const HIGH_USAGE_PLAN: &str = "ROLLCALL_HIGH_USAGE_PLAN";

/// The name of the event bus. Without it, there is no bus.
pub const EVENT_BUS: &str = "ROLLCALL_EVENT_BUS";

/// The ARN of the function that the probe tries, with a version or an alias.
pub const PROBED_FUNCTION: &str = "ROLLCALL_PROBED_FUNCTION";

/// Where Lambda answers.
pub const LAMBDA_URL: &str = "ROLLCALL_LAMBDA_URL";

/// Where CodeDeploy answers.
pub const CODEDEPLOY_URL: &str = "ROLLCALL_CODEDEPLOY_URL";

/// The region, as Lambda sets it.
pub const REGION: &str = "AWS_REGION";

/// The table's service, as it is called in variables.
const DYNAMODB: &str = "DYNAMODB";

/// The levels that [`LOG`] may name.
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Which look-ups of email addresses are written. A filter finds people under both, so a table may hold users of both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EmailLookups {
    /// All of them. Releases up to 0.1.0 find only users that are written like this.
    #[default]
    All,
    /// All but that of the address which is the `userName` too. The claim on the `userName` finds that user.
    Unclaimed,
}

impl EmailLookups {
    /// Reads `all` or `unclaimed`.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "all" => Some(Self::All),
            "unclaimed" => Some(Self::Unclaimed),
            _ => None,
        }
    }
}

/// A function's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The table's name.
    pub table: String,
    /// The URL that locations begin with, up to and with the base path, without a slash at its end.
    pub public_url: Option<String>,
    /// The folder with extension schemas, if there is one.
    pub extensions: Option<String>,
    /// The log level.
    pub log: &'static str,
    /// Whether answers are streamed.
    pub response_streaming: bool,
    /// The name of the event bus, if there is one.
    pub event_bus: Option<String>,
    /// Which look-ups of email addresses are written.
    pub email_lookups: EmailLookups,
    /// For how many days changes stay in the feed.
    pub change_retention_days: u64,
}

/// A variable that is missing or cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    variable: &'static str,
    problem: &'static str,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.variable, self.problem)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads the environment.
    ///
    /// # Errors
    /// [`ConfigError`], which names the variable.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// Reads variables; an empty one counts as none.
    ///
    /// # Errors
    /// [`ConfigError`], which names the variable.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let get = |name| get(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let table = get(TABLE).ok_or(ConfigError { variable: TABLE, problem: "must name the table" })?;
        let public_url = get(PUBLIC_URL).map(|url| url.trim_end_matches('/').to_owned());
        if public_url.as_deref().is_some_and(|url| !is_base_url(url)) {
            let problem = "must be an http or https URL without query and fragment";
            return Err(ConfigError { variable: PUBLIC_URL, problem });
        }
        let log = match get(LOG) {
            None => get(LAMBDA_LOG).as_deref().map_or("info", lambda_level),
            Some(level) => level_named(&level)
                .ok_or(ConfigError { variable: LOG, problem: "must be error, warn, info, debug or trace" })?,
        };
        let flag = |variable, default| match get(variable).as_deref() {
            None => Ok(default),
            Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(ConfigError { variable, problem: "must be true or false" }),
        };
        let response_streaming = flag(RESPONSE_STREAMING, false)?;
        // The log reads it by itself, since it begins before.
        flag(REQUEST_METRICS, true)?;
        let (extensions, event_bus) = (get(EXTENSIONS), get(EVENT_BUS));
        let email_lookups = match get(EMAIL_LOOKUPS) {
            None => EmailLookups::default(),
            Some(name) => EmailLookups::named(&name)
                .ok_or(ConfigError { variable: EMAIL_LOOKUPS, problem: "must be all or unclaimed" })?,
        };
        let change_retention_days = match get(CHANGE_RETENTION_DAYS) {
            None => DEFAULT_CHANGE_RETENTION_DAYS,
            Some(days) => retention_days(&days).ok_or(ConfigError {
                variable: CHANGE_RETENTION_DAYS,
                problem: "must be a whole number of days from 7 to 3650",
            })?,
        };
        Ok(Self {
            table,
            public_url,
            extensions,
            log,
            response_streaming,
            event_bus,
            email_lookups,
            change_retention_days,
        })
    }
}

/// Reads a variable that only some functions have.
///
/// # Errors
/// [`ConfigError`] if it is absent or empty.
pub fn required(variable: &'static str) -> Result<String, ConfigError> {
    let value = std::env::var(variable).ok().map(|value| value.trim().to_owned());
    value.filter(|value| !value.is_empty()).ok_or(ConfigError { variable, problem: "must be set" })
}

fn is_base_url(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        !rest.is_empty() && !rest.starts_with('/') && !rest.contains(['?', '#', ' ', '"', '\\'])
    })
}

fn retention_days(text: &str) -> Option<u64> {
    let days = text.parse::<u64>().ok()?;
    (MIN_CHANGE_RETENTION_DAYS..=MAX_CHANGE_RETENTION_DAYS).contains(&days).then_some(days)
}

/// What Lambda's levels are called here. It has one more, `FATAL`.
fn lambda_level(name: &str) -> &'static str {
    if name.eq_ignore_ascii_case("fatal") { "error" } else { level_named(name).unwrap_or("info") }
}

fn level_named(name: &str) -> Option<&'static str> {
    LEVELS.into_iter().find(|level| level.eq_ignore_ascii_case(name))
}

/// The extension schemas in a folder: every file that ends in `.json`, in the order of their
/// names. A folder that is not there holds none.
///
/// # Errors
/// One line that names the file.
pub fn extensions(folder: &Path) -> Result<Vec<(Kind, Schema)>, String> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let unread = |error: std::io::Error| format!("{}: {error}", folder.display());
    let files = std::fs::read_dir(folder).map_err(unread)?;
    let files: Result<Vec<_>, _> = files.map(|file| file.map(|file| file.path())).collect();
    let mut files = files.map_err(unread)?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let read = files.iter().map(|file| {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        extension::read(&text).map_err(|error| format!("{}: {}", file.display(), error.detail))
    });
    read.collect()
}

/// How often a call to AWS is tried, and how long it may take.
#[derive(Clone, Debug)]
pub struct CallSettings {
    /// The attempts.
    pub retries: RetryConfig,
    /// The limits of time.
    pub timeouts: TimeoutConfig,
}

impl CallSettings {
    /// Three attempts, and none that hangs.
    pub fn of_function() -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(1))
            .operation_attempt_timeout(Duration::from_secs(4))
            .operation_timeout(Duration::from_secs(12))
            .build();
        Self { retries: RetryConfig::standard().with_max_attempts(3), timeouts }
    }

    /// Those of the authorizers. They have five seconds (`AuthorizerTimeout`), so an attempt has one: a connection that
    /// hangs is followed by others.
    pub fn of_authorizer() -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(AUTHORIZER_ATTEMPT)
            .operation_attempt_timeout(AUTHORIZER_ATTEMPT)
            .operation_timeout(AUTHORIZER_CALL)
            .build();
        let retries = RetryConfig::standard()
            .with_max_attempts(AUTHORIZER_ATTEMPTS)
            .with_initial_backoff(AUTHORIZER_BACKOFF);
        Self { retries, timeouts }
    }

    /// The configuration of the SDK with these settings, still without region, credentials and endpoint.
    ///
    /// It has no guard against streams that stall: the limit of an attempt's time ends one that hangs, with its body.
    pub fn sdk_config(self) -> sdk_config::Builder {
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .retry_config(self.retries)
            .timeout_config(self.timeouts)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
    }

    /// How a function speaks to a service of AWS, from the variables that Lambda sets. `aws-config`, which the operator's
    /// tool uses, would also look for files and for other sources of credentials. Lambda has none of them.
    ///
    /// `AWS_ENDPOINT_URL_<SERVICE>` and `AWS_ENDPOINT_URL` count as for all SDKs, and so do the variables for FIPS and
    /// dual-stack endpoints.
    ///
    /// # Errors
    /// [`ConfigError`] if there is no region or no credentials.
    pub fn in_lambda(self, service: &str) -> Result<SdkConfig, ConfigError> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let is_true = |name| variable(name).map(|value| value.eq_ignore_ascii_case("true"));
        let endpoint =
            variable(&format!("AWS_ENDPOINT_URL_{service}")).or_else(|| variable("AWS_ENDPOINT_URL"));
        let mut config = self
            .sdk_config()
            .region(Region::new(required(REGION)?))
            .credentials_provider(SharedCredentialsProvider::new(credentials()?));
        config.set_endpoint_url(endpoint);
        config.set_use_fips(is_true("AWS_USE_FIPS_ENDPOINT"));
        config.set_use_dual_stack(is_true("AWS_USE_DUALSTACK_ENDPOINT"));
        Ok(config.build())
    }
}

/// The credentials of the function's role, which Lambda puts into the environment. They are good for as long as the
/// process is.
///
/// # Errors
/// [`ConfigError`], which names the missing variable.
pub fn credentials() -> Result<Credentials, ConfigError> {
    let token = std::env::var("AWS_SESSION_TOKEN").ok().filter(|token| !token.is_empty());
    let (id, secret) = (required("AWS_ACCESS_KEY_ID")?, required("AWS_SECRET_ACCESS_KEY")?);
    Ok(Credentials::new(id, secret, token, None, "environment"))
}

/// The client of the table in a function. To be made once.
///
/// # Errors
/// [`ConfigError`] if there is no region or no credentials.
pub fn client() -> Result<Client, ConfigError> {
    Ok(sdk::client(&CallSettings::of_function().in_lambda(DYNAMODB)?))
}

/// The client of the table in an authorizer. To be made once.
///
/// # Errors
/// [`ConfigError`] if there is no region or no credentials.
pub fn client_of_authorizer() -> Result<Client, ConfigError> {
    Ok(sdk::client(&CallSettings::of_authorizer().in_lambda(DYNAMODB)?))
}

/// What a function logs: this service from the level on that [`LOG`] or [`LAMBDA_LOG`] names, and everything else from
/// `warn` on, because the SDK's own lines can quote requests.
pub fn log_filter() -> Targets {
    let variable = |name| std::env::var(name).ok().map(|value: String| value.trim().to_owned());
    let own = variable(LOG).and_then(|name| level_named(&name));
    let level = own.unwrap_or_else(|| variable(LAMBDA_LOG).as_deref().map_or("info", lambda_level));
    let others = if level == "error" { LevelFilter::ERROR } else { LevelFilter::WARN };
    let own: LevelFilter = level.parse().unwrap_or(LevelFilter::INFO);
    Targets::new().with_default(others).with_target("rollcall", own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, String> {
        let get =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Config::read(get).map_err(|e| e.to_string())
    }

    #[test]
    fn variables_are_read_and_errors_name_them() {
        let config = read(&[(TABLE, "rollcall")]).expect("enough");
        assert_eq!(
            config,
            Config {
                table: "rollcall".to_owned(),
                public_url: None,
                extensions: None,
                log: "info",
                response_streaming: false,
                event_bus: None,
                email_lookups: EmailLookups::All,
                change_retention_days: 90,
            }
        );
        for (value, streams) in [("true", true), ("false", false), ("", false)] {
            let config = read(&[(TABLE, "t"), (RESPONSE_STREAMING, value)]).expect("good");
            assert_eq!(config.response_streaming, streams, "{value:?}");
        }
        let config = read(&[(TABLE, "t"), (EMAIL_LOOKUPS, "unclaimed")]).expect("good");
        assert_eq!(config.email_lookups, EmailLookups::Unclaimed);
        for (value, days) in [("7", 7), ("365", 365), ("3650", 3_650), ("", 90)] {
            let config = read(&[(TABLE, "t"), (CHANGE_RETENTION_DAYS, value)]).expect("good");
            assert_eq!(config.change_retention_days, days, "{value:?}");
        }
        let config = read(&[(TABLE, "t"), (PUBLIC_URL, "https://id.example.com/scim/v2/"), (LOG, "DEBUG")])
            .expect("good");
        assert_eq!(config.public_url.as_deref(), Some("https://id.example.com/scim/v2"));
        assert_eq!(config.log, "debug");
        for (lambda, own, level) in
            [("DEBUG", "", "debug"), ("FATAL", "", "error"), ("WARN", "trace", "trace"), ("LOUD", "", "info")]
        {
            let config = read(&[(TABLE, "t"), (LAMBDA_LOG, lambda), (LOG, own)]).expect("good");
            assert_eq!(config.log, level, "{lambda} and {own:?}");
        }
        for (variables, name) in [
            (&[][..], TABLE),
            (&[(TABLE, " ")], TABLE),
            (&[(TABLE, "t"), (LOG, "loud")], LOG),
            (&[(TABLE, "t"), (PUBLIC_URL, "id.example.com")], PUBLIC_URL),
            (&[(TABLE, "t"), (PUBLIC_URL, "https://")], PUBLIC_URL),
            (&[(TABLE, "t"), (PUBLIC_URL, "https://x/?a=b")], PUBLIC_URL),
            (&[(TABLE, "t"), (RESPONSE_STREAMING, "yes")], RESPONSE_STREAMING),
            (&[(TABLE, "t"), (REQUEST_METRICS, "off")], REQUEST_METRICS),
            (&[(TABLE, "t"), (EMAIL_LOOKUPS, "none")], EMAIL_LOOKUPS),
            (&[(TABLE, "t"), (CHANGE_RETENTION_DAYS, "6")], CHANGE_RETENTION_DAYS),
            (&[(TABLE, "t"), (CHANGE_RETENTION_DAYS, "3651")], CHANGE_RETENTION_DAYS),
            (&[(TABLE, "t"), (CHANGE_RETENTION_DAYS, "7.5")], CHANGE_RETENTION_DAYS),
            (&[(TABLE, "t"), (CHANGE_RETENTION_DAYS, "ninety")], CHANGE_RETENTION_DAYS),
        ] {
            let error = read(variables).expect_err("not good");
            assert!(error.starts_with(name), "{error}");
        }
    }
}
