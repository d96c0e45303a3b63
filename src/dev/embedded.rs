//! The embedded DynamoDB: served on loopback, so that the real SDK talks to it, in memory or in a file.

use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddr};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_dynamodb::error::DisplayErrorContext;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    TimeToLiveSpecification, TimeToLiveStatus,
};
use dynoxide::Database;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::seed::target::BulkLoader;
use super::template::facts::{AttributeType, TableFacts};
use crate::admin::local_client::WithoutTokens;
use crate::admin::plain_http::plain_http;
use crate::limits::{EXPIRY_INTERVAL, TABLE_STOP_TIMEOUT};
use crate::sdk;

/// A running embedded DynamoDB.
pub struct Embedded {
    /// Where it answers.
    pub endpoint: String,
    /// A client of it.
    pub client: Client,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), String>>,
    sweeper: JoinHandle<()>,
    database: Database,
}

impl Embedded {
    /// Opens the database in this file, or in memory, and serves it on this port of the loopback address
    /// (0: any that is free).
    ///
    /// # Errors
    /// One line: the database cannot be opened, or the port cannot be listened on.
    pub async fn start(file: Option<&str>, port: u16) -> Result<Self, String> {
        let database =
            match file {
                Some(file) => Database::new(file)
                    .map_err(|error| format!("cannot open the database {file}: {error} (delete the folder to begin anew, or name another by --data-dir)"))?,
                None => Database::memory()
                    .map_err(|error| format!("cannot make a database in memory: {error}"))?,
            };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let no_listener = |error| {
            format!(
                "cannot listen on {address} for DynamoDB: {error} (--dynamodb-port chooses the port; 0 takes a free one)"
            )
        };
        let listener = TcpListener::bind(address).await.map_err(no_listener)?;
        let endpoint = format!("http://{}", listener.local_addr().map_err(no_listener)?);
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(dynoxide::server::serve_with_shutdown(listener, database.clone(), async {
            // A sender that is gone means the end as well.
            stopped.await.unwrap_or_default();
        }));
        let client = client(&endpoint);
        let sweeper = tokio::spawn(sweep(database.clone()));
        Ok(Self { endpoint, client, stop, server, sweeper, database })
    }

    /// What fills the table of this name below the wire.
    pub fn loader(&self, table: &str) -> BulkLoader {
        BulkLoader::new(self.database.clone(), table)
    }

    /// Creates the table as the template declares it. A table that exists must be the same. The table has no
    /// stream, since nothing reads it here and the embedded table slows down with it.
    ///
    /// # Errors
    /// One line that names the table.
    pub async fn ensure_table(&self, name: &str, facts: &TableFacts) -> Result<(), String> {
        let failed = |what: &'static str| {
            move |error: &dyn Display| format!("cannot {what} the table {name}: {error}")
        };
        let described = self.client.describe_table().table_name(name).send().await;
        match described {
            Ok(found) => {
                let declared: Vec<_> = keys(facts).map(|(name, kind, _)| (name.to_owned(), kind)).collect();
                let schema = found.table.and_then(|table| table.key_schema).unwrap_or_default();
                let present: Vec<_> =
                    schema.into_iter().map(|key| (key.attribute_name, key.key_type)).collect();
                if declared != present {
                    return Err(format!(
                        "the table {name} has other keys than the template: start on a new folder"
                    ));
                }
            }
            Err(error)
                if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) =>
            {
                self.create_table(name, facts).await?;
            }
            Err(error) => return Err(failed("describe")(&DisplayErrorContext(&error))),
        }
        let Some(attribute) = &facts.ttl else { return Ok(()) };
        let ttl = self.client.describe_time_to_live().table_name(name).send().await;
        let ttl = ttl.map_err(|error| failed("describe")(&DisplayErrorContext(&error)))?;
        let status = ttl.time_to_live_description.and_then(|description| description.time_to_live_status);
        if status == Some(TimeToLiveStatus::Enabled) {
            return Ok(());
        }
        let specification =
            TimeToLiveSpecification::builder().enabled(true).attribute_name(attribute).build();
        let specification = specification.map_err(|error| failed("set the TTL of")(&error))?;
        let set =
            self.client.update_time_to_live().table_name(name).time_to_live_specification(specification);
        set.send().await.map_err(|error| failed("set the TTL of")(&DisplayErrorContext(&error)))?;
        Ok(())
    }

    async fn create_table(&self, name: &str, facts: &TableFacts) -> Result<(), String> {
        let failed = |error: &dyn Display| format!("cannot create the table {name}: {error}");
        let mut create = self.client.create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
        for (attribute, key_type, scalar) in keys(facts) {
            let key = KeySchemaElement::builder().attribute_name(attribute).key_type(key_type).build();
            let definition =
                AttributeDefinition::builder().attribute_name(attribute).attribute_type(scalar).build();
            create = create
                .key_schema(key.map_err(|error| failed(&error))?)
                .attribute_definitions(definition.map_err(|error| failed(&error))?);
        }
        create.send().await.map_err(|error| failed(&DisplayErrorContext(&error)))?;
        Ok(())
    }

    /// Stops serving; running requests may end within a bound.
    pub async fn stop(self) {
        self.sweeper.abort();
        drop((self.stop, self.database));
        if tokio::time::timeout(TABLE_STOP_TIMEOUT, self.server).await.is_err() {
            tracing::debug!("the embedded DynamoDB still had requests");
        }
    }
}

fn keys(facts: &TableFacts) -> impl Iterator<Item = (&str, KeyType, ScalarAttributeType)> {
    let range = facts.range.iter().map(|range| (range, KeyType::Range));
    std::iter::once((&facts.hash, KeyType::Hash)).chain(range).map(|((name, kind), key_type)| {
        let scalar = match kind {
            AttributeType::Text => ScalarAttributeType::S,
            AttributeType::Number => ScalarAttributeType::N,
            AttributeType::Binary => ScalarAttributeType::B,
        };
        (name.as_str(), key_type, scalar)
    })
}

/// A client with credentials that mean nothing.
fn client(endpoint: &str) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "rollcall dev"))
        .interceptor(WithoutTokens)
        .http_client(plain_http())
        .endpoint_url(endpoint);
    Client::from_conf(sdk::lean(config).build())
}

/// Removes expired items now and then, as DynamoDB does.
async fn sweep(database: Database) {
    let mut tick = tokio::time::interval(EXPIRY_INTERVAL);
    loop {
        tick.tick().await;
        let database = database.clone();
        match tokio::task::spawn_blocking(move || database.sweep_ttl()).await {
            Ok(Ok(removed)) => tracing::debug!(removed, "expired items"),
            Ok(Err(error)) => tracing::warn!(%error, "expired items could not be removed"),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::template::read::{TEMPLATE, TemplateFacts};
    use super::*;

    #[tokio::test]
    async fn the_table_is_made_once_as_the_template_says() {
        let embedded = Embedded::start(None, 0).await.unwrap();
        let facts = TemplateFacts::parse(TEMPLATE).unwrap().table;
        embedded.ensure_table("rollcall", &facts).await.unwrap();
        embedded.ensure_table("rollcall", &facts).await.unwrap();
        let table = embedded.client.describe_table().table_name("rollcall").send().await.unwrap();
        assert!(table.table.unwrap().stream_specification.is_none_or(|stream| !stream.stream_enabled));
        let ttl = embedded.client.describe_time_to_live().table_name("rollcall").send().await.unwrap();
        assert_eq!(ttl.time_to_live_description.unwrap().attribute_name.as_deref(), Some("ttl"));
        let other = TableFacts { range: None, ..facts };
        assert!(embedded.ensure_table("rollcall", &other).await.unwrap_err().contains("other keys"));
        embedded.stop().await;
    }
}
