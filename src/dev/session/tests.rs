//! Sessions with stubs that keep tenants and keys in the table, as the deployed code does.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::backend::{AppBackend, Tenants};
use super::*;
use crate::scim::policy::{STRICT, VEZA};

/// Tenants and keys as bare items.
#[derive(Clone)]
struct Items(Client);

impl Items {
    async fn text(&self, pk: &str) -> Option<String> {
        let get = self.0.get_item().table_name(TABLE).key("pk", text(pk)).key("sk", text("x"));
        let item = get.send().await.unwrap().item?;
        item["value"].as_s().ok().cloned()
    }

    async fn put(&self, pk: &str, value: &str) {
        let put = self.0.put_item().table_name(TABLE).item("pk", text(pk)).item("sk", text("x"));
        put.item("value", text(value)).send().await.unwrap();
    }
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

impl Tenants for Items {
    fn ensure<'a>(
        &'a self,
        tenant: &'a str,
        policy: Option<&'static Policy>,
    ) -> BoxFuture<'a, Result<&'static Policy, String>> {
        async move {
            let pk = format!("TENANT#{tenant}");
            let Some(present) = self.text(&pk).await else {
                let policy = policy.unwrap_or(&VEZA);
                self.put(&pk, policy.name).await;
                return Ok(policy);
            };
            let present = Policy::named(&present).unwrap();
            match policy {
                Some(policy) if policy != present => {
                    Err(format!("the tenant {tenant} has the policy {}", present.name))
                }
                _ => Ok(present),
            }
        }
        .boxed()
    }

    fn create_key<'a>(&'a self, tenant: &'a str) -> BoxFuture<'a, Result<String, String>> {
        async move {
            let key = format!("rc_{tenant}_00000000000{}_abcdef", uuid::Uuid::now_v7().simple());
            self.put(&format!("K#Bearer {key}"), tenant).await;
            Ok(key)
        }
        .boxed()
    }

    fn create_application(&self) -> BoxFuture<'_, Result<String, String>> {
        async move {
            let key = format!("rca_00000000000{}_abcdef", uuid::Uuid::now_v7().simple());
            self.put(&format!("K#Bearer {key}"), "").await;
            Ok(key)
        }
        .boxed()
    }

    fn forward<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<String, String>> {
        async { Ok(String::new()) }.boxed()
    }

    fn seed<'a>(
        &'a self,
        _: &'a str,
        _: &'static Policy,
        _: Size,
    ) -> BoxFuture<'a, Result<SeedOutcome, String>> {
        async { Ok(SeedOutcome::Seeded) }.boxed()
    }
}

fn stubs(connection: Connection) -> Backend {
    let items = Items(connection.client);
    let known = items.clone();
    let authorizer = Lambda::new(move |event: Value| {
        let items = known.clone();
        async move {
            let token = event["authorizationToken"].as_str().unwrap_or_default();
            let effect = if items.text(&format!("K#{token}")).await.is_some() { "Allow" } else { "Deny" };
            let statement = json!({ "Effect": effect, "Action": "execute-api:Invoke", "Resource": "*" });
            Ok::<_, String>(json!({
                "principalId": "k",
                "policyDocument": { "Statement": [statement] },
                "usageIdentifierKey": "a-usage-key-of-the-tenant",
            }))
        }
    });
    let function =
        Lambda::new(|_: Value| async { Ok::<_, String>(json!({ "statusCode": 200, "body": "{}" })) });
    let app = AppBackend { read: function.clone(), manage: function.clone(), authorizer: authorizer.clone() };
    let token = function.clone();
    Backend {
        function,
        authorizer,
        token,
        app,
        worker: None,
        written: Arc::default(),
        tenants: Box::new(items),
    }
}

fn options() -> SessionOptions {
    SessionOptions {
        listen: "127.0.0.1:0".parse().unwrap(),
        dynamodb_port: 0,
        tenant: "demo".to_owned(),
        policy: None,
        rate_limit: RateLimit::Template,
        authorizer_ttl: None,
        forward_to: None,
        seed: Size::default(),
    }
}

fn folder() -> PathBuf {
    std::env::temp_dir().join(format!("rollcall-session-{}", uuid::Uuid::now_v7()))
}

async fn start(options: SessionOptions, folder: &Path) -> Result<Session, String> {
    Session::start(options, Some(DataDir::open(folder)?), stubs).await
}

async fn status(session: &Session, key: &str) -> u16 {
    let address = session.base_url.strip_prefix("http://").unwrap().strip_suffix("/scim/v2").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /scim/v2/Users HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_session_shows_a_key_that_works() {
    let options = SessionOptions { rate_limit: RateLimit::PerMinute(2), ..options() };
    let session = Session::start(options, None, stubs).await.unwrap();
    let shown: Value = serde_json::from_str(&session.json()).unwrap();
    assert_eq!(shown["base_url"], session.base_url);
    assert_eq!((&shown["tenant"], &shown["table"]), (&json!("demo"), &json!("rollcall")));
    assert!(session.text().contains(&format!("curl -H 'Authorization: Bearer {}' http://", session.key)));
    assert!(
        session.text().contains(&format!("export BASE={} KEY={} APP=http://", session.base_url, session.key))
    );
    let key = session.key.clone();
    for expected in [200, 200, 429] {
        assert_eq!(status(&session, &key).await, expected);
    }
    session.stop().await;
}

#[tokio::test]
async fn a_folder_keeps_the_tenant_and_its_key() {
    let folder = folder();
    let first = start(SessionOptions { policy: Some(&STRICT), ..options() }, &folder).await.unwrap();
    let key = first.key.clone();
    first.stop().await;

    let again = start(options(), &folder).await.unwrap();
    assert_eq!((again.key.as_str(), again.policy.name), (key.as_str(), "strict"));
    assert_eq!(status(&again, &key).await, 200);
    again.stop().await;

    let error =
        start(SessionOptions { policy: Some(&VEZA), ..options() }, &folder).await.map(|_| ()).unwrap_err();
    assert_eq!(error, "the tenant demo has the policy strict");

    // Made but not saved, or saved but not known: another one is made.
    for saved in ["", "rc_demo_gone"] {
        std::fs::write(folder.join("demo-key-demo"), saved).unwrap();
        let healed = start(options(), &folder).await.unwrap();
        assert_ne!(healed.key, key);
        let key = healed.key.clone();
        assert_eq!(status(&healed, &key).await, 200);
        assert_eq!(std::fs::read_to_string(folder.join("demo-key-demo")).unwrap().trim(), key);
        healed.stop().await;
    }
    let other = start(SessionOptions { tenant: "other".to_owned(), ..options() }, &folder).await.unwrap();
    assert!(other.key.starts_with("rc_other_"));
    other.stop().await;
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_port_in_use_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let held = std::net::TcpListener::bind(taken).unwrap();
    let error = Session::start(SessionOptions { listen: taken, ..options() }, None, stubs)
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(error.starts_with(&format!("cannot listen on {taken}: ")), "{error}");
    let options = SessionOptions { dynamodb_port: taken.port(), ..options() };
    let error = Session::start(options, None, stubs).await.map(|_| ()).unwrap_err();
    assert!(error.starts_with(&format!("cannot listen on {taken} for DynamoDB: ")), "{error}");
    drop(held);
}

#[tokio::test]
async fn an_open_connection_does_not_hold_the_end_up() {
    let session = Session::start(options(), None, stubs).await.unwrap();
    let address = session.base_url.strip_prefix("http://").unwrap().split('/').next().unwrap().to_owned();
    let _idle = tokio::net::TcpStream::connect(&address).await.unwrap();
    let mut half = tokio::net::TcpStream::connect(&address).await.unwrap();
    half.write_all(b"POST /scim/v2/Users HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    tokio::time::timeout(Duration::from_secs(8), session.stop()).await.unwrap();
}
