//! The authorizer over a real table: from API Gateway's event to its answer.
#![allow(clippy::expect_used)]

use std::time::Instant;

use aws_sdk_dynamodb::config::{Credentials, Region, SharedCredentialsProvider};
use aws_sdk_dynamodb::types::AttributeValue;
use rollcall::admin::error::AdminError;
use rollcall::admin::key::{NewKey, create, list, revoke};
use rollcall::admin::tenant::{self, NewTenant};
use rollcall::auth::authorizer::{Authorizer, Decision, Reason, authorize};
use rollcall::auth::key::BearerKey;
use rollcall::auth::key_use::mark_used;
use rollcall::auth::record::{KeyRecord, Scope, Status};
use rollcall::clock;
use rollcall::config::CallSettings;
use rollcall::http::event::ProxyEvent;
use rollcall::http::response::Transfer;
use rollcall::limits::AUTHORIZER_ATTEMPT;
use rollcall::scim::policy::{STANDARD, VEZA};
use rollcall::scim::resource_type::Kind;
use rollcall::sdk;
use rollcall::store::call::Table;
use rollcall::store::item::text;
use rollcall::store::keys::{self, TenantId};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::support;
use crate::support::client::Client as SuiteClient;

const ARN: &str = "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod/GET/scim/v2/Users";
const STAGE: &str = "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod/*";

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

fn tenant_id(name: &str) -> TenantId {
    name.parse().expect("a tenant")
}

fn new_key(tenant: &str) -> NewKey {
    NewKey {
        tenant: tenant_id(tenant),
        name: "Okta".to_owned(),
        scope: Scope::Provision,
        expires: None,
        user: None,
    }
}

async fn with_tenant() -> Table {
    let table = support::embedded().await;
    tenant::create(&table, &NewTenant::new(&tenant_id("acme"), &VEZA, &"u".repeat(40)), now())
        .await
        .expect("a tenant");
    table
}

async fn key(table: &Table, new: NewKey) -> (BearerKey, KeyRecord) {
    create(table, new, now()).await.expect("a key")
}

async fn answer(table: &Table, header: &str) -> Value {
    let event = json!({ "type": "TOKEN", "authorizationToken": header, "methodArn": ARN });
    Authorizer::new(table.clone()).invoke(event).await.expect("an answer")
}

async fn reason(table: &Table, header: &str) -> Option<Reason> {
    match authorize(table, header, now()).await.expect("a decision") {
        Decision::Allow(_) => None,
        Decision::Deny(reason, _) => Some(reason),
    }
}

#[tokio::test]
async fn a_valid_key_passes_as_its_tenant_in_one_round() {
    let table = with_tenant().await;
    let (key, record) = key(&table, NewKey { scope: Scope::Read, ..new_key("acme") }).await;
    let answer = answer(&table, &format!("bearer  {}", key.reveal())).await;
    let expected = json!({
        "principalId": format!("acme/{}", record.key_id),
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [{ "Action": "execute-api:Invoke", "Effect": "Allow", "Resource": STAGE }],
        },
        "context": {
            "tenantId": "acme",
            "keyId": record.key_id,
            "scope": "read",
            "policy": "veza",
            "retentionDays": "30",
        },
        "usageIdentifierKey": "u".repeat(40),
    });
    assert_eq!(answer, expected);

    let table = table.fresh();
    assert_eq!(reason(&table, &format!("Bearer {}", key.reveal())).await, None);
    let usage = table.usage();
    assert_eq!((usage.calls, usage.rounds, usage.read_units), (2, 1, 2.0));
}

/// API Gateway caches the answer of the authorizer for longer than the key may live.
#[tokio::test]
async fn a_key_ends_at_its_time_whatever_the_gateway_has_cached() {
    let table = with_tenant().await;
    let end = now() + Duration::days(1);
    let (key, _) = key(&table, NewKey { expires: Some(end), ..new_key("acme") }).await;
    let context = answer(&table, &format!("Bearer {}", key.reveal())).await["context"].clone();
    assert_eq!(context["expires"], clock::text(end));
    let client = SuiteClient::new(table, "standard").await;
    for (expires, status) in [
        (json!(clock::text(now() + Duration::seconds(60))), 200),
        (json!(clock::text(now() - Duration::seconds(1))), 401),
        (json!("tomorrow"), 401),
        (json!(0), 401),
    ] {
        for (method, path) in [("GET", "/Users"), ("GET", "/Me"), ("POST", "/Bulk"), ("GET", "/Schemas")] {
            let mut event = client.event(method, path, None, &[]);
            event["requestContext"]["authorizer"]["expires"] = expires.clone();
            let ProxyEvent(request) = serde_json::from_value(event).expect("an event");
            let (response, line) = client.function.answer_with_line(request, Transfer::Buffered).await;
            let answered = response.status().as_u16();
            assert_eq!(line.tenant.as_deref(), Some("acme"));
            assert_eq!(line.source.as_deref() == Some("expired"), status == 401);
            assert_eq!(answered == 401, status == 401, "{method} {path} with {expires}: {answered}");
        }
    }
}

#[tokio::test]
async fn every_other_key_is_denied_without_saying_why() {
    let table = with_tenant().await;
    let acme = tenant_id("acme");
    let (revoked, record) = key(&table, new_key("acme")).await;
    assert!(revoke(&table, &acme, &record.key_id, now()).await.expect("revoked"));
    let soon = now() + Duration::milliseconds(300);
    let (expired, _) = key(&table, NewKey { expires: Some(soon), ..new_key("acme") }).await;
    tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    let unknown = BearerKey::generate(&acme).expect("randomness");
    let no_tenant = BearerKey::generate(&tenant_id("globex")).expect("randomness");
    // The text says one tenant, the table another: only a hand in the table can do that.
    let stolen = BearerKey::generate(&acme).expect("randomness");
    let record = KeyRecord { hash: stolen.sha256(), tenant: tenant_id("globex"), ..record };
    let record = KeyRecord { status: Status::Active, ..record };
    table.put(&keys::bearer(record.hash.as_str()), record.to_item()).await.expect("written");
    // The tenant was removed by hand.
    let orphan = BearerKey::generate(&tenant_id("initech")).expect("randomness");
    let record = KeyRecord { hash: orphan.sha256(), tenant: tenant_id("initech"), ..record };
    table.put(&keys::bearer(record.hash.as_str()), record.to_item()).await.expect("written");

    let denied = answer(&table, "").await;
    assert_eq!(denied["policyDocument"]["Statement"][0]["Effect"], "Deny");
    assert_eq!(denied["policyDocument"]["Statement"][0]["Resource"], STAGE);
    assert_eq!(denied["context"], json!({}));
    for (key, expected, calls) in [
        (revoked.reveal(), Reason::Revoked, 2),
        (expired.reveal(), Reason::Expired, 2),
        (unknown.reveal(), Reason::Unknown, 2),
        (no_tenant.reveal(), Reason::Unknown, 2),
        (stolen.reveal(), Reason::OtherTenant, 2),
        (orphan.reveal(), Reason::NoTenant, 2),
        ("rc_acme_0", Reason::Malformed, 0),
        ("", Reason::Malformed, 0),
    ] {
        let (table, header) = (table.fresh(), format!("Bearer {key}"));
        assert_eq!(reason(&table, &header).await, Some(expected));
        assert_eq!((table.usage().calls, table.usage().rounds), (calls, calls.min(1)), "{expected:?}");
        assert_eq!(answer(&table, &header).await, denied, "{expected:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_decided_is_an_error() {
    let key = BearerKey::generate(&tenant_id("acme")).expect("randomness");
    let header = format!("Bearer {}", key.reveal());
    let closed = support::client("http://127.0.0.1:1");
    let event = |arn: &str| json!({ "authorizationToken": header, "methodArn": arn });
    let unreachable = Authorizer::new(Table::new(closed, support::TABLE));
    let text = unreachable.invoke(event(ARN)).await.expect_err("no table").to_string();
    assert!(!text.contains(key.reveal()) && !text.contains(key.sha256().as_str()), "{text}");
    let authorizer = Authorizer::new(with_tenant().await);
    for event in
        [event("arn:aws:execute-api"), json!({ "authorizationToken": header }), json!(null), json!([])]
    {
        assert!(authorizer.invoke(event).await.is_err());
    }
}

#[tokio::test]
async fn keys_are_listed_and_revoked_with_their_events() {
    let table = with_tenant().await;
    let acme = tenant_id("acme");
    let (first, record) = key(&table, new_key("acme")).await;
    let (_, other) = key(&table, NewKey { name: " Entra ".to_owned(), ..new_key("acme") }).await;
    for day in ["2026-06-02", "2026-06-02", "2026-06-01"] {
        mark_used(&table, &keys::bearer_use(&acme, &record.key_id), day).await.expect("noted");
    }
    mark_used(&table, &keys::bearer_use(&acme, "key_gone"), "2026-06-02").await.expect("nothing to note");
    assert!(revoke(&table, &acme, &other.key_id, now()).await.expect("revoked"));
    assert!(!revoke(&table, &acme, &other.key_id, now()).await.expect("revoked already"));

    let listed = list(&table, &acme).await.expect("a list");
    let seen: Vec<_> = listed
        .iter()
        .map(|key| (key.record.name.as_str(), key.record.status, key.last_used.as_deref()))
        .collect();
    let expected = [("Okta", Status::Active, Some("2026-06-02")), ("Entra", Status::Revoked, None)];
    assert!(expected.iter().all(|row| seen.contains(row)) && seen.len() == 2, "{seen:?}");

    let mut types = Vec::new();
    for change in support::feed::changes_of(&table, "acme").await {
        assert_eq!(change["actor"], "operator");
        assert!(change["attributes"].as_array().is_some_and(|names| !names.is_empty()), "{change:?}");
        types.push(change["type"].as_str().unwrap_or_default().to_owned());
    }
    types.sort();
    assert_eq!(
        types,
        ["group.created", "key.created", "key.created", "key.revoked", "tenant.created", "user.created"]
    );
    let all = table.client().scan().table_name(support::TABLE).send().await.expect("everything");
    assert!(!format!("{:?}", all.items()).contains(first.reveal()));
}

#[tokio::test]
async fn an_operator_is_told_what_is_wrong() {
    let table = with_tenant().await;
    let acme = tenant_id("acme");
    let again = tenant::create(&table, &NewTenant::new(&acme, &STANDARD, &"v".repeat(40)), now()).await;
    assert!(matches!(again, Err(AdminError::Exists(_))));
    assert_eq!(tenant::get(&table, &acme).await.expect("the first").policy, &VEZA);
    let short =
        tenant::create(&table, &NewTenant::new(&tenant_id("globex"), &STANDARD, "short"), now()).await;
    assert!(matches!(short, Err(AdminError::UsageKey(_))));
    assert_eq!(tenant::list(&table).await.expect("a list").len(), 1);

    let user = Uuid::now_v7();
    let bound = || NewKey { user: Some(user), ..new_key("acme") };
    assert!(matches!(create(&table, new_key("globex"), now()).await, Err(AdminError::NoTenant(_))));
    assert!(matches!(create(&table, bound(), now()).await, Err(AdminError::NoUser(_, id)) if id == user));
    let unnamed = NewKey { name: " ".to_owned(), ..new_key("acme") };
    assert!(matches!(create(&table, unnamed, now()).await, Err(AdminError::Input(_))));
    let past = NewKey { expires: Some(now()), ..new_key("acme") };
    assert!(matches!(create(&table, past, now()).await, Err(AdminError::Input(_))));
    assert!(list(&table, &acme).await.expect("a list").is_empty(), "nothing refused was written");
    for id in ["key_1", "x", ""] {
        assert!(matches!(revoke(&table, &acme, id, now()).await, Err(AdminError::NoKey(..))), "{id}");
    }

    // A user of another tenant is no user of this one.
    let item = || [text("doc", "{}")].into_iter().collect();
    let elsewhere = keys::resource(&tenant_id("globex"), Kind::User, user);
    table.put(&elsewhere, item()).await.expect("written");
    assert!(matches!(create(&table, bound(), now()).await, Err(AdminError::NoUser(..))));
    table.put(&keys::resource(&acme, Kind::User, user), item()).await.expect("written");
    let (key, _) = key(&table, bound()).await;
    let allowed = answer(&table, &format!("Bearer {}", key.reveal())).await;
    assert_eq!(allowed["context"]["userId"], user.to_string());
}

#[tokio::test]
async fn a_key_that_cannot_be_read_whole_opens_nothing() {
    let table = with_tenant().await;
    let (key, record) = key(&table, new_key("acme")).await;
    let mut item = record.to_item();
    item.insert("expires".to_owned(), AttributeValue::Null(true));
    table.put(&keys::bearer(record.hash.as_str()), item).await.expect("written");
    assert!(authorize(&table, &format!("Bearer {}", key.reveal()), now()).await.is_err());
}

/// A server before the table whose first connection gets the beginning of an answer, and never the rest of it.
async fn hang_first_connection(endpoint: &str, begun: &'static str) -> String {
    let upstream = endpoint.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let (mut hung, _) = listener.accept().await.expect("a connection");
        let _ = hung.read(&mut [0; 16_384]).await.expect("a request");
        hung.write_all(begun.as_bytes()).await.expect("written");
        while let Ok((mut stream, _)) = listener.accept().await {
            let upstream = upstream.clone();
            tokio::spawn(async move {
                let mut table = TcpStream::connect(&upstream).await.expect("the table");
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut table).await;
            });
        }
        drop(hung);
    });
    format!("http://{address}")
}

#[tokio::test]
async fn a_connection_that_hangs_is_followed_by_another_before_the_function_ends() {
    let embedded = support::serve().await;
    let new = NewTenant::new(&tenant_id("acme"), &VEZA, &"u".repeat(40));
    tenant::create(&embedded.table, &new, now()).await.expect("a tenant");
    let (key, _) = key(&embedded.table, new_key("acme")).await;
    for begun in ["", "HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{\"Item\": {"] {
        let endpoint = hang_first_connection(&embedded.endpoint, begun).await;
        let credentials = Credentials::new("local", "local", None, None, "test");
        let config = CallSettings::of_authorizer()
            .sdk_config()
            .endpoint_url(endpoint)
            .region(Region::from_static("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials));
        let table = Table::new(sdk::client(&config.build()), support::TABLE);
        let began = Instant::now();
        let answer = answer(&table, &format!("Bearer {}", key.reveal())).await;
        assert_eq!(answer["policyDocument"]["Statement"][0]["Effect"], "Allow");
        let took = began.elapsed();
        assert!(took >= AUTHORIZER_ATTEMPT, "the first connection hung: {took:?}");
        // The default of AuthorizerTimeout in the template.
        assert!(took < std::time::Duration::from_secs(5), "{took:?}");
    }
}
