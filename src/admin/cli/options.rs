//! The options that every command has, and the clients that they lead to.

use std::sync::OnceLock;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, Region};
use aws_sdk_dynamodb::{Client, config};
use clap::Args;

use super::parse::read_endpoint;
use crate::admin::error::AdminError;
use crate::admin::local_client::WithoutTokens;
use crate::admin::output::{self, Format};
use crate::admin::plain_http::plain_http;
use crate::admin::running_dev::{self, FoundDevs, RunningDev};
use crate::config::CallSettings;
use crate::outbound::tls::system_roots;
use crate::sdk;
use crate::store::call::Table;

/// The variables that name the endpoint of DynamoDB. The first one that is set counts.
const ENDPOINT_VARIABLES: [&str; 3] =
    ["ROLLCALL_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL"];
/// The other variables that name another place than a `rollcall dev` on this machine.
const PLACE_VARIABLES: [&str; 2] = ["AWS_PROFILE", "AWS_ACCESS_KEY_ID"];

/// The help of `--endpoint-url`. Clap does not read the variable: it would name the option in an error about it.
const ENDPOINT_HELP: &str = "Where DynamoDB answers, for a local table [env: ROLLCALL_ENDPOINT_URL]";

/// Options of every command: which deployment, and how to print.
#[derive(Args, Clone, Debug, Default)]
pub struct GlobalOptions {
    /// The table of the deployment; without it, that of the `rollcall dev` on this machine
    #[arg(long, global = true, env = "ROLLCALL_TABLE", value_name = "NAME")]
    pub table: Option<String>,
    /// Where DynamoDB answers, for a local table.
    #[arg(long, global = true, value_name = "URL", value_parser = read_endpoint, help = ENDPOINT_HELP)]
    pub endpoint_url: Option<String>,
    /// AWS region, else as the AWS CLI finds it
    #[arg(long, global = true)]
    pub region: Option<String>,
    /// Profile in the AWS configuration
    #[arg(long, global = true)]
    pub profile: Option<String>,
    /// How to print
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: Format,
    /// Short for --output json
    #[arg(long, global = true, conflicts_with = "output")]
    pub json: bool,
    /// Say on stderr which table is used, what the calls cost, and the whole text of an error
    #[arg(long, short, global = true)]
    pub verbose: bool,
    /// Where the table is, once it was found.
    #[arg(skip)]
    place: OnceLock<TablePlace>,
    /// The table, once it was opened.
    #[arg(skip)]
    opened: OnceLock<Table>,
}

/// A table, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TablePlace {
    name: String,
    /// `None`: AWS.
    endpoint: Option<String>,
    /// The `rollcall dev` that it belongs to, if that was found by its file.
    dev: Option<RunningDev>,
}

impl GlobalOptions {
    /// How to print.
    pub fn format(&self) -> Format {
        if self.json { Format::Json } else { self.output }
    }

    /// Finds the table: the options and variables come first, then a `rollcall dev` on this machine.
    fn find_table(&self) -> Result<&TablePlace, AdminError> {
        if let Some(place) = self.place.get() {
            return Ok(place);
        }
        let endpoint = self.check_endpoint()?;
        let place = match self.table.as_deref().filter(|name| !name.is_empty()) {
            Some(name) => TablePlace { name: name.to_owned(), endpoint, dev: None },
            None => choose_dev(self.other_place().as_deref(), &running_dev::find())?,
        };
        Ok(self.place.get_or_init(|| place))
    }

    /// The option or variable that names an endpoint, and the endpoint.
    fn endpoint(&self) -> Option<(&'static str, String)> {
        let named = self.endpoint_url.clone().filter(|url| !url.is_empty());
        let variables = || ENDPOINT_VARIABLES.into_iter().find_map(|name| Some((name, variable(name)?)));
        named.map(|url| ("--endpoint-url", url)).or_else(variables)
    }

    /// The endpoint that an option or a variable names, which must be a URL.
    fn check_endpoint(&self) -> Result<Option<String>, AdminError> {
        let Some((name, endpoint)) = self.endpoint() else { return Ok(None) };
        match read_endpoint(&endpoint) {
            Ok(endpoint) => Ok(Some(endpoint)),
            Err(problem) => Err(AdminError::Usage(format!("{name} is {endpoint}: {problem}"))),
        }
    }

    /// The profile of the AWS configuration that an option or a variable names.
    pub(super) fn aws_profile(&self) -> Option<String> {
        self.profile.clone().filter(|name| !name.is_empty()).or_else(|| variable("AWS_PROFILE"))
    }

    /// The option or variable that names another place than a `rollcall dev` on this machine.
    fn other_place(&self) -> Option<String> {
        let options = [
            ("--endpoint-url", &self.endpoint_url),
            ("--region", &self.region),
            ("--profile", &self.profile),
        ];
        let is_set = |value: &Option<String>| value.as_deref().is_some_and(|value| !value.is_empty());
        let option = options.into_iter().find(|(_, value)| is_set(value)).map(|(name, _)| name);
        let mut variables = ENDPOINT_VARIABLES.into_iter().chain(PLACE_VARIABLES);
        let variable = || variables.find(|name| variable(name).is_some());
        option.or_else(variable).map(str::to_owned)
    }

    async fn aws(&self) -> SdkConfig {
        let CallSettings { retries, timeouts } = CallSettings::of_function();
        let loader = aws_config::defaults(BehaviorVersion::latest());
        let mut loader = loader.retry_config(retries).timeout_config(timeouts);
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if self.is_local() {
            // A table on this machine asks for some credentials and region, whichever.
            loader = loader.credentials_provider(Credentials::new("local", "local", None, None, "rollcall"));
            if self.region.is_none() {
                loader = loader.region(Region::from_static("us-east-1"));
            }
        }
        // Without certificates, the SDK's own client does not start, not even for an http URL.
        if self.is_local() || system_roots().is_empty() {
            loader = loader.http_client(plain_http());
        }
        loader.load().await
    }

    /// Whether the table is on this machine.
    pub(super) fn is_local(&self) -> bool {
        let named = || self.endpoint().map(|(_, endpoint)| endpoint);
        let found = self.place.get().map_or_else(named, |place| place.endpoint.clone());
        let host = found.as_deref().and_then(|url| url.split("://").nth(1)).unwrap_or_default();
        let host = host.split('/').next().unwrap_or_default();
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        self.profile.is_none() && ["localhost", "127.0.0.1", "[::1]"].contains(&host)
    }

    /// The options that are set by the environment before the command line is read.
    pub(super) fn from_environment() -> Self {
        Self { table: variable("ROLLCALL_TABLE"), ..Self::default() }
    }

    /// The deployment's table. Says on stderr which one, if a `rollcall dev` was found or if `--verbose` asks for
    /// it.
    ///
    /// # Errors
    /// [`AdminError::Input`] when nothing says which.
    pub async fn open(&self) -> Result<Table, AdminError> {
        let TablePlace { name, endpoint, dev } = self.find_table()?;
        if let Some(dev) = dev {
            output::note(&format!("table {name} of rollcall dev (process {}, {})", dev.pid, dev.endpoint));
        } else if self.verbose {
            let endpoint = endpoint.as_deref().unwrap_or("AWS");
            let aws = self.aws().await;
            let region = aws.region().map_or("none", |region| region.as_ref());
            let profile =
                self.profile.as_deref().map_or_else(String::new, |name| format!(", profile {name}"));
            output::note(&format!("table {name} at {endpoint}, region {region}{profile}"));
        }
        let table = self.connect().await?;
        Ok(self.opened.get_or_init(|| table).clone())
    }

    /// The deployment's table.
    ///
    /// # Errors
    /// [`AdminError::Input`] when nothing says which.
    pub(super) async fn connect(&self) -> Result<Table, AdminError> {
        let place = self.find_table()?;
        let mut config = config::Builder::from(&self.aws().await);
        if let Some(endpoint) = &place.endpoint {
            config.set_endpoint_url(Some(endpoint.clone()));
        }
        if self.is_local() {
            config = config.interceptor(WithoutTokens);
        }
        Ok(Table::new(Client::from_conf(sdk::lean(config).build()), &place.name))
    }

    /// The table, if the command has opened it.
    pub(super) fn opened(&self) -> Option<&Table> {
        self.opened.get()
    }

    /// API Gateway's client, with the same region and profile.
    pub(super) async fn gateway(&self) -> aws_sdk_apigateway::Client {
        aws_sdk_apigateway::Client::new(&self.aws().await)
    }
}

/// A variable that is set to some text.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The table of the one `rollcall dev` that runs, unless `other`, an option or variable, names another place.
fn choose_dev(other: Option<&str>, found: &FoundDevs) -> Result<TablePlace, AdminError> {
    let missing = "which table? pass --table or set ROLLCALL_TABLE (the stack's output names it)";
    let options = |dev: &RunningDev| format!("--table {} --endpoint-url {}", dev.table, dev.endpoint);
    match (found.running.as_slice(), other) {
        ([], _) => Err(AdminError::Input(match found.ended.first() {
            Some(dev) => format!("{missing}; the rollcall dev that had the process id {} has ended", dev.pid),
            None => missing.to_owned(),
        })),
        ([dev, ..], Some(other)) => Err(AdminError::Input(format!(
            "{missing}; {other} is set, so the rollcall dev on this machine is not used: for that, pass {}",
            options(dev)
        ))),
        ([dev], None) => {
            let (name, endpoint) = (dev.table.clone(), Some(dev.endpoint.clone()));
            Ok(TablePlace { name, endpoint, dev: Some(dev.clone()) })
        }
        (several, None) => {
            let each = several
                .iter()
                .map(|dev| format!("{} (process {}, tenant {})", options(dev), dev.pid, dev.tenant));
            let each: Vec<_> = each.collect();
            Err(AdminError::Input(format!(
                "which table? {} rollcall dev run on this machine: pass {}",
                several.len(),
                each.join(", or ")
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_endpoint_needs_no_credentials() {
        let at = |url: &str| GlobalOptions { endpoint_url: Some(url.to_owned()), ..GlobalOptions::default() };
        for url in
            ["http://127.0.0.1:8000", "http://localhost:8000/", "http://localhost", "http://[::1]:8000"]
        {
            assert!(at(url).is_local(), "{url}");
        }
        for url in ["", "https://dynamodb.eu-west-1.amazonaws.com", "http://localhost.example.com"] {
            assert!(!at(url).is_local(), "{url}");
        }
        let profile = GlobalOptions { profile: Some("prod".to_owned()), ..at("http://127.0.0.1:8000") };
        assert!(!profile.is_local());
    }

    #[test]
    fn the_one_dev_that_runs_is_used_unless_another_place_is_named() {
        let dev = |pid: u32| RunningDev {
            pid,
            table: "rollcall".to_owned(),
            endpoint: format!("http://127.0.0.1:{pid}"),
            tenant: "demo".to_owned(),
        };
        let found = |running: &[u32], ended: &[u32]| FoundDevs {
            running: running.iter().copied().map(dev).collect(),
            ended: ended.iter().copied().map(dev).collect(),
        };
        let chosen = choose_dev(None, &found(&[7], &[5])).expect("a table");
        assert_eq!((chosen.name.as_str(), chosen.dev), ("rollcall", Some(dev(7))));
        for (other, found, parts) in [
            (None, found(&[], &[]), vec!["--table", "ROLLCALL_TABLE"]),
            (None, found(&[], &[5]), vec!["ROLLCALL_TABLE", "process id 5 has ended"]),
            (
                None,
                found(&[6, 7], &[]),
                vec!["http://127.0.0.1:6 (process 6", "http://127.0.0.1:7 (process 7"],
            ),
            (
                Some("AWS_PROFILE"),
                found(&[7], &[]),
                vec!["AWS_PROFILE is set", "--endpoint-url http://127.0.0.1:7"],
            ),
        ] {
            let error = choose_dev(other, &found).expect_err("no table").to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
    }
}
