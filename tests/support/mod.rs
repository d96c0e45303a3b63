//! What integration tests share: a table of their own in an embedded DynamoDB.
#![allow(dead_code, clippy::expect_used)]

pub mod client;
pub mod dev;
pub mod faults;
pub mod feed;
pub mod lambda;
pub mod pending;
pub mod racing;
pub mod receiver;
pub mod restored;
pub mod stage;
pub mod torn;

use std::net::Ipv4Addr;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use rollcall::config::EmailLookups;
use rollcall::scim::resource_type::Kind;
use rollcall::store::call::Table;
use rollcall::store::digest::MembershipDigest;
use rollcall::store::item::{Item, text, with_key};
use rollcall::store::keys;
use torn::{Tearing, Torn};
use uuid::Uuid;

/// The table's name.
pub const TABLE: &str = "rollcall";

/// An embedded DynamoDB.
pub struct Embedded {
    /// The table.
    pub table: Table,
    /// Where it answers.
    pub endpoint: String,
    /// The layer that tears transactions, if there is one.
    pub torn: Option<Torn>,
}

impl Embedded {
    /// Tears transactions from now on, where there is a layer for that.
    pub async fn tear(&self, tearing: Tearing) {
        if let Some(torn) = &self.torn {
            torn.tear(tearing).await;
        }
    }
}

/// A new table, empty and in memory, in an embedded DynamoDB of this test's own: it lives as long
/// as the test's runtime.
pub async fn embedded() -> Table {
    serve().await.table
}

/// The same, with the address.
pub async fn serve() -> Embedded {
    create_table(run_database().await, None).await
}

/// The same, where transactions are torn: from the beginning, or after [`Embedded::tear`].
pub async fn serve_torn(tearing: Option<Tearing>) -> Embedded {
    let torn = Torn::before(&run_database().await).await;
    let embedded = create_table(torn.endpoint.clone(), Some(torn)).await;
    if let Some(tearing) = tearing {
        embedded.tear(tearing).await;
    }
    embedded
}

/// Runs an embedded DynamoDB; where it answers.
async fn run_database() -> String {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let database = dynoxide::Database::memory().expect("memory");
    tokio::spawn(dynoxide::server::serve_with_shutdown(listener, database, std::future::pending()));
    endpoint
}

/// Makes the table in the embedded DynamoDB that answers there: without TTL, and without a stream.
pub async fn create_table(endpoint: String, torn: Option<Torn>) -> Embedded {
    let client = client(&endpoint);
    let key = |name: &str, key_type: KeyType| {
        KeySchemaElement::builder().attribute_name(name).key_type(key_type).build().expect("a key")
    };
    let text = |name: &str| {
        let definition = AttributeDefinition::builder().attribute_name(name);
        definition.attribute_type(ScalarAttributeType::S).build().expect("an attribute")
    };
    client
        .create_table()
        .table_name(TABLE)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key("pk", KeyType::Hash))
        .key_schema(key("sk", KeyType::Range))
        .attribute_definitions(text("pk"))
        .attribute_definitions(text("sk"))
        .send()
        .await
        .expect("a table");
    let mut table = Table::new(client, TABLE);
    // The form that takes the fewest units.
    table.email_lookups = EmailLookups::Unclaimed;
    Embedded { table, endpoint, torn }
}

/// A client of what answers there.
pub fn client(endpoint: &str) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        // As by default, but that tests do not wait as long as a busy table would like.
        .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(5)))
        .endpoint_url(endpoint);
    Client::from_conf(rollcall::sdk::lean(config).build())
}

/// A client of an event bus that answers there.
pub fn bus_client(endpoint: &str) -> aws_sdk_eventbridge::Client {
    use aws_sdk_eventbridge::config::{BehaviorVersion, Config, Credentials, Region};
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .endpoint_url(endpoint);
    aws_sdk_eventbridge::Client::from_conf(config.build())
}

/// A small generator, so that a run can be repeated by its seed.
pub struct Dice(pub u64);

impl Dice {
    /// A number below a bound.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % bound.max(1)
    }
}

/// A table behind a proxy: the proxy, a client that is served through it, and one that is served without it.
pub async fn scene(policy: &'static str) -> (faults::Proxy, client::Client, client::Client) {
    let embedded = serve().await;
    let proxy = faults::Proxy::before(&embedded.endpoint).await;
    let honest = client::Client::new(embedded.table, policy).await;
    let table = rollcall::store::call::Table::new(client(&proxy.endpoint), TABLE);
    (proxy, client::Client::new(table, policy).await, honest)
}

/// A client of a tenant as the tool makes it in this table, with the ids of its root team and administrator.
pub async fn tenant_of(
    table: rollcall::store::call::Table,
    policy: &'static str,
) -> (client::Client, String, String) {
    let new = rollcall::admin::tenant::NewTenant::new(
        &client::TENANT.parse().expect("a name"),
        rollcall::scim::policy::Policy::named(policy).expect("a policy"),
        &"u".repeat(40),
    );
    let made = rollcall::admin::tenant::create(&table, &new, time::OffsetDateTime::now_utc())
        .await
        .expect("a tenant");
    let client = client::Client::new(table, policy).await;
    let users = client.get("/Users").await.expect(200).body;
    assert_eq!(users["totalResults"], 1);
    let admin = users["Resources"][0]["id"].as_str().expect("an id").to_owned();
    (client, made.root_team.expect("a root team").to_string(), admin)
}

/// Lets the worker run until nothing is left: what requests had no time for on a slow machine.
pub async fn work(client: &client::Client) {
    for _ in 0..50 {
        let report = rollcall::store::worker::round(&client.table.fresh()).await.expect("a round");
        assert_eq!(report.failures, Vec::<String>::new());
        if report.left == 0 {
            return;
        }
    }
    unreachable!("something is left after 50 rounds");
}

/// Asserts that everything that the tenant of a client has adds up, with nothing left pending.
pub async fn assert_consistent(client: &client::Client) {
    let report = check(client, false).await;
    let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{}", findings.join("\n"));
    assert_eq!(report.pending, 0, "changes are pending");
}

/// Checks the tenant of a client.
pub async fn check(client: &client::Client, repair: bool) -> rollcall::admin::check::report::CheckReport {
    let models = rollcall::scim::resource_type::Model::all(&[]).expect("the models");
    let model = models.iter().find(|model| model.policy.name == client.policy).expect("a policy");
    let tenant = client.tenant.parse().expect("a tenant");
    rollcall::admin::check::run::check(&client.table.fresh(), &tenant, model, repair).await.expect("a check")
}

/// Adds members to a group that has `there` members, until it has `members` of them. They are written as the
/// service writes them, but many at a time.
pub async fn fill(client: &client::Client, group: &str, there: usize, members: usize) {
    let (tenant, id) = (client.tenant.parse().expect("a tenant"), group.parse().expect("an id"));
    let ids: Vec<Uuid> = (there..members).map(|_| Uuid::now_v7()).collect();
    let membership = |member: &Uuid| {
        let mut item = with_key(&keys::membership(&tenant, id, *member));
        item.extend(Item::from([text("type", "User"), text("since", "2026-01-01T00:00:00.000Z")]));
        item
    };
    client.table.batch_put(ids.iter().map(membership).collect()).await.expect("memberships");
    let key = keys::resource(&tenant, Kind::Group, id);
    let mut item = client.table.get(&key).await.expect("a table").expect("the group");
    item.extend(MembershipDigest::from_item(&item).with(ids).attributes());
    client.table.put(&key, item).await.expect("the group");
}

/// Fills the tenant of a client.
pub async fn seed(
    client: &client::Client,
    size: rollcall::dev::seed::Size,
) -> Result<rollcall::dev::seed::SeedOutcome, String> {
    let policy = rollcall::scim::policy::Policy::named(client.policy).expect("a policy");
    let tenant = client.tenant.parse().expect("a tenant");
    let table = client.table.fresh();
    let target = rollcall::dev::seed::target::SeedTarget::over_the_wire(&table);
    rollcall::dev::seed::seed(&target, &tenant, policy, size, |_| {}).await
}

/// How many seconds there are from a time until this hour, in UTC, begins.
pub fn seconds_until(now: time::OffsetDateTime, hour: u8) -> i64 {
    let since_midnight = now.time() - time::Time::MIDNIGHT;
    (i64::from(hour) * 3_600 - since_midnight.whole_seconds()).rem_euclid(86_400) + 1
}
