//! The operations that are measured, and where.

use std::sync::Arc;

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider};
use lambda_http::{Context, LambdaEvent, Service};
use rollcall::config::CallSettings;
use rollcall::http::event::ProxyEvent;
use rollcall::http::service::LambdaService;
use rollcall::sdk;
use rollcall::store::call::Table;
use rollcall::store::keys::hash;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::TABLE;
use crate::bare::BareCall;
use crate::client::{Client, user};
use crate::record::{Recorder, Sent, again};

/// How often one operation is done in a turn.
pub const REPEATS: usize = 20;
/// How many users there are at the start.
const USERS: usize = 100;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// GET of a user.
    Get,
    /// A filter by userName.
    Filter,
    /// POST of a user.
    Create,
    /// PATCH of one attribute of a user.
    Patch,
    /// A page of 100 users.
    Page,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Get, Self::Filter, Self::Create, Self::Patch, Self::Page];

    /// What the table calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET a user",
            Self::Filter => "filter by userName",
            Self::Create => "POST a user",
            Self::Patch => "PATCH a user",
            Self::Page => "page of 100",
        }
    }

    /// The request, about the user of this name and id.
    fn request(self, name: &str, id: &str) -> (&'static str, String, Option<Value>) {
        let title = json!([{ "op": "replace", "path": "title", "value": "Engineer" }]);
        let schemas = json!(["urn:ietf:params:scim:api:messages:2.0:PatchOp"]);
        match self {
            Self::Get => ("GET", format!("/Users/{id}"), None),
            Self::Filter => ("GET", format!("/Users?filter=userName eq \"{name}@example.com\""), None),
            Self::Create => ("POST", "/Users".to_owned(), Some(user(name))),
            Self::Patch => {
                let body = json!({ "schemas": schemas, "Operations": title });
                ("PATCH", format!("/Users/{id}"), Some(body))
            }
            Self::Page => ("GET", "/Users?count=100".to_owned(), None),
        }
    }
}

/// A tenant with some users, the function over it, and bare calls to it.
pub struct Site {
    client: Client,
    bare: aws_sdk_dynamodb::Client,
    recorder: Recorder,
    recording: Client,
    /// How many users were named until now.
    named: usize,
}

impl Site {
    /// Fills a tenant.
    pub async fn new(endpoint: &str) -> Self {
        let recorder = Recorder::before(endpoint).await;
        let client = Client::new(Table::new(connect(endpoint), TABLE), "standard").await;
        let recording = Client::new(Table::new(connect(&recorder.endpoint), TABLE), "standard").await;
        let mut site = Self { client, bare: connect_bare(endpoint), recorder, recording, named: 0 };
        for _ in 0..USERS {
            let name = site.name();
            site.client.user(&name).await;
        }
        site
    }

    /// A name that no other user has. All are of one length, so that one replaces another within a longer text.
    fn name(&mut self) -> String {
        self.named += 1;
        format!("person{:06}", self.named)
    }

    /// The events of one turn of the function, as API Gateway sends them.
    pub async fn events(&mut self, operation: Operation) -> Vec<String> {
        let mut events = Vec::new();
        for _ in 0..REPEATS {
            let (name, id) = self.someone(operation).await;
            let (method, path, body) = operation.request(&name, &id);
            let mut event = self.client.event(method, &path, body, &HEADERS);
            // The event names each header twice.
            let all = event["multiValueHeaders"].as_object().into_iter().flatten();
            event["headers"] = all.map(|(name, values)| (name.clone(), values[0].clone())).collect();
            events.push(event.to_string());
        }
        events
    }

    /// Answers an event as Lambda's runtime does: from text to text.
    pub async fn answer(&self, event: &str) {
        let event: ProxyEvent = serde_json::from_str(event).expect("an event");
        let context = Context::default();
        let response =
            LambdaService::new(Arc::clone(&self.client.function)).call(LambdaEvent::new(event, context));
        let answer = serde_json::to_vec(&response.await.expect("an answer")).expect("JSON");
        assert!(answer.starts_with(b"{\"statusCode\":20"), "{}", String::from_utf8_lossy(&answer));
    }

    /// The bare calls of one turn: those that the function makes for as many operations.
    pub async fn calls(&mut self, operation: Operation) -> Vec<BareCall> {
        let (name, id) = self.someone(operation).await;
        self.recorder.take();
        let (method, path, body) = operation.request(&name, &id);
        let reply = self.recording.send(method, &path, body, &[]).await;
        assert!(reply.status < 300, "{}", reply.body);
        let id = if operation == Operation::Create { reply.id() } else { id };
        let sent: Vec<Sent> = self.recorder.take();
        let mut calls = Vec::new();
        for _ in 0..REPEATS {
            let (other, other_id) = match operation {
                Operation::Create => (self.name(), Uuid::now_v7().to_string()),
                _ => self.someone(operation).await,
            };
            // Keys hold hashes of the values that a user is found by.
            let values = |name: &str| [format!("{name}@example.com"), format!("ext-{name}")];
            let hashes = values(&name).into_iter().zip(values(&other));
            let mut renamed: Vec<_> = hashes.map(|(from, to)| (hash(&from), hash(&to))).collect();
            renamed.extend([(name.clone(), other), (id.clone(), other_id)]);
            calls.extend(again(&self.bare, &sent, &renamed));
        }
        calls
    }

    /// A user who can be asked for, or changed, and who was not changed yet. For a creation: nobody yet.
    async fn someone(&mut self, operation: Operation) -> (String, String) {
        let name = self.name();
        let id = match operation {
            Operation::Create | Operation::Page => String::new(),
            _ => self.client.user(&name).await,
        };
        (name, id)
    }
}

/// A client as the function has it.
fn connect(endpoint: &str) -> aws_sdk_dynamodb::Client {
    let config = CallSettings::of_function()
        .sdk_config()
        .endpoint_url(endpoint)
        .region(REGION)
        .credentials_provider(SharedCredentialsProvider::new(credentials()));
    sdk::client(&config.build())
}

/// A client with the attempts and limits of time of the function, and else with what the SDK does by itself.
fn connect_bare(endpoint: &str) -> aws_sdk_dynamodb::Client {
    let CallSettings { retries, timeouts } = CallSettings::of_function();
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(REGION)
        .credentials_provider(credentials())
        .retry_config(retries)
        .timeout_config(timeouts);
    aws_sdk_dynamodb::Client::from_conf(config.build())
}

/// What a client sends with a request, and what a regional API adds.
const HEADERS: [(&str, &str); 8] = [
    ("Accept", "application/scim+json"),
    ("Accept-Encoding", "gzip, deflate"),
    ("Authorization", "Bearer rc_acme_0123456789012345678901234567890123456789"),
    ("User-Agent", "Okta SCIM Client 1.0.0"),
    ("X-Amzn-Trace-Id", "Root=1-65000000-0123456789abcdef01234567"),
    ("X-Forwarded-For", "192.0.2.7"),
    ("X-Forwarded-Port", "443"),
    ("X-Forwarded-Proto", "https"),
];

/// The region that calls are signed for.
const REGION: Region = Region::from_static("eu-west-1");

fn credentials() -> Credentials {
    Credentials::new("local", "local", None, None, "bench")
}
