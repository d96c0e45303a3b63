//! The options that every command has, and the clients that they lead to.

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, Region};
use aws_sdk_dynamodb::{Client, config};
use clap::Args;

use crate::admin::error::AdminError;
use crate::admin::output::Format;
use crate::config::CallSettings;
use crate::store::call::Table;

/// Options of every command: which deployment, and how to print.
#[derive(Args, Clone, Debug, Default)]
pub struct GlobalOptions {
    /// The table of the deployment
    #[arg(long, global = true, env = "ROLLCALL_TABLE", value_name = "NAME")]
    pub table: Option<String>,
    /// Where DynamoDB answers, for a local table
    #[arg(long, global = true, value_name = "URL")]
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
}

impl GlobalOptions {
    /// How to print.
    pub fn format(&self) -> Format {
        if self.json { Format::Json } else { self.output }
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
        loader.load().await
    }

    /// Whether the table is on this machine.
    pub(super) fn is_local(&self) -> bool {
        let host = self.endpoint_url.as_deref().and_then(|url| url.split("://").nth(1)).unwrap_or_default();
        let host = host.split('/').next().unwrap_or_default();
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        self.profile.is_none() && ["localhost", "127.0.0.1", "[::1]"].contains(&host)
    }

    /// The deployment's table.
    ///
    /// # Errors
    /// [`AdminError::Input`] when nothing says which.
    pub async fn open(&self) -> Result<Table, AdminError> {
        let missing = "which table? pass --table or set ROLLCALL_TABLE (the stack's output names it)";
        let name = self.table.as_deref().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| AdminError::Input(missing.to_owned()))?;
        let mut aws = config::Builder::from(&self.aws().await);
        aws.set_endpoint_url(self.endpoint_url.clone());
        Ok(Table::new(Client::from_conf(aws.build()), name))
    }

    /// API Gateway's client, with the same region and profile.
    pub(super) async fn gateway(&self) -> aws_sdk_apigateway::Client {
        aws_sdk_apigateway::Client::new(&self.aws().await)
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
}
