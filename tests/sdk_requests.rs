//! The requests of Rollcall's clients of DynamoDB, beside those of the SDK alone.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, Put, ReturnConsumedCapacity, TransactWriteItem, Update,
};
use axum::extract::State;
use axum::http::HeaderMap;
use rollcall::sdk;
use rollcall::store::call::Table;
use rollcall::store::error::Refusal;
use rollcall::store::keys::Key;
use rollcall::store::transaction::{Action, Expression};
use serde_json::Value;

/// The headers and the body of each request that came, without the token.
type Came = Arc<Mutex<Vec<(HeaderMap, Value)>>>;

/// A table that takes everything, the SDK's client of it, and Rollcall's.
async fn listen() -> (Came, Client, Client) {
    let came = Came::default();
    let routes = axum::Router::new().fallback(take).with_state(Arc::clone(&came));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async { axum::serve(listener, routes).await });
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .endpoint_url(endpoint);
    (came, Client::from_conf(config.clone().build()), Client::from_conf(sdk::lean(config).build()))
}

async fn take(State(came): State<Came>, headers: HeaderMap, body: String) -> &'static str {
    let mut body: Value = serde_json::from_str(&body).expect("JSON");
    let token = body.as_object_mut().expect("an object").remove("ClientRequestToken");
    assert_eq!(token.expect("a token").as_str().expect("a text").len(), 36);
    came.lock().expect("a lock").push((headers, body));
    "{}"
}

/// A value of each kind, with texts that JSON writes in another way.
fn values() -> Vec<(String, AttributeValue)> {
    let texts = || vec!["plain".to_owned(), "\"\\\n\u{1}\u{7f}é\u{2028}😀".to_owned(), String::new()];
    let text = |at: usize| AttributeValue::S(texts()[at].clone());
    let nested = HashMap::from([(texts()[1].clone(), AttributeValue::L(vec![text(0), text(1)]))]);
    [
        AttributeValue::S(texts()[1].clone()),
        AttributeValue::N("-1.5e10".to_owned()),
        AttributeValue::B(Blob::new([0, 255, 16])),
        AttributeValue::Bool(true),
        AttributeValue::Bool(false),
        AttributeValue::Null(true),
        AttributeValue::Ss(texts()),
        AttributeValue::Ns(vec!["1".to_owned(), "2".to_owned()]),
        AttributeValue::Bs(vec![Blob::new([1]), Blob::new([])]),
        AttributeValue::L(Vec::new()),
        AttributeValue::L(vec![text(2), AttributeValue::M(HashMap::new())]),
        AttributeValue::M(nested),
    ]
    .into_iter()
    .enumerate()
    .map(|(at, value)| (format!("a{at}\"é"), value))
    .collect()
}

fn key(n: u32) -> Key {
    Key { pk: format!("p\"{n}"), sk: format!("s{n}") }
}

fn key_item(n: u32) -> HashMap<String, AttributeValue> {
    let Key { pk, sk } = key(n);
    HashMap::from([("pk".to_owned(), AttributeValue::S(pk)), ("sk".to_owned(), AttributeValue::S(sk))])
}

/// Actions of each kind, with and without a condition.
fn actions() -> Vec<Action> {
    let change = Expression::update()
        .set("ver", AttributeValue::N("2".to_owned()))
        .append("log", AttributeValue::S("x".to_owned()))
        .remove("old");
    vec![
        Action::put(key(1), values().into_iter().chain(key_item(1))),
        Action::put(key(2), HashMap::new()).only_if(Expression::absent(), Refusal::Exists),
        Action::update(key(3), change.clone()),
        Action::update(key(4), change).only_if(Expression::version_is(1), Refusal::Changed),
        Action::delete(key(5)),
        Action::delete(key(6)).only_if(Expression::version_is(1), Refusal::Changed),
        Action::check(key(7), Expression::exists(), Refusal::Changed),
    ]
}

/// The same as the SDK's types.
fn items() -> Vec<TransactWriteItem> {
    let table = "a \"table\"";
    let names = |names: &[&str]| names.iter().map(|name| (format!("#{name}"), (*name).to_owned())).collect();
    let number = |n: &str| AttributeValue::N(n.to_owned());
    let of_update = || {
        HashMap::from([
            (":set_ver".to_owned(), number("2")),
            (":none_log".to_owned(), AttributeValue::L(Vec::new())),
            (":append_log".to_owned(), AttributeValue::L(vec![AttributeValue::S("x".to_owned())])),
        ])
    };
    let update = |n| {
        let text = "SET #ver = :set_ver, #log = list_append(if_not_exists(#log, :none_log), :append_log) REMOVE #old";
        let update = Update::builder().table_name(table).set_key(Some(key_item(n))).update_expression(text);
        update
            .set_expression_attribute_names(Some(names(&["ver", "log", "old"])))
            .set_expression_attribute_values(Some(of_update()))
    };
    let put = |n| Put::builder().table_name(table).set_item(Some(key_item(n)));
    let delete = |n| Delete::builder().table_name(table).set_key(Some(key_item(n)));
    let item = TransactWriteItem::builder;
    let values = values().into_iter().fold(put(1), |put, (name, value)| put.item(name, value));
    let new = put(2).condition_expression("attribute_not_exists(pk)");
    let changed =
        update(4).condition_expression("#ver = :is_ver").expression_attribute_values(":is_ver", number("1"));
    let gone = delete(6)
        .condition_expression("#ver = :is_ver")
        .set_expression_attribute_names(Some(names(&["ver"])))
        .expression_attribute_values(":is_ver", number("1"));
    let check = ConditionCheck::builder().table_name(table).set_key(Some(key_item(7)));
    let check = check.condition_expression("attribute_exists(pk)");
    vec![
        item().put(values.build().expect("an item")).build(),
        item().put(new.build().expect("an item")).build(),
        item().update(update(3).build().expect("an update")).build(),
        item().update(changed.build().expect("an update")).build(),
        item().delete(delete(5).build().expect("a key")).build(),
        item().delete(gone.build().expect("a key")).build(),
        item().condition_check(check.build().expect("a key")).build(),
    ]
}

#[tokio::test]
async fn a_transaction_is_sent_as_the_sdk_sends_it() {
    let (came, plain, lean) = listen().await;
    let sent = plain
        .transact_write_items()
        .set_transact_items(Some(items()))
        .return_consumed_capacity(ReturnConsumedCapacity::Total)
        .send();
    sent.await.expect("an answer");
    Table::new(lean, "a \"table\"").transact_once(actions()).await.expect("an answer");
    let came = came.lock().expect("a lock");
    let [(headers_of_sdk, body_of_sdk), (headers, body)] = &came[..] else { unreachable!("{came:?}") };
    assert_eq!(body, body_of_sdk);
    assert_eq!(headers.len(), headers_of_sdk.len());
    for name in ["content-type", "x-amz-target"] {
        assert_eq!(headers[name], headers_of_sdk[name]);
    }
    assert!(
        headers["authorization"]
            .to_str()
            .expect("a text")
            .contains("content-type;host;x-amz-date;x-amz-target")
    );
}

#[tokio::test]
async fn transactions_at_the_same_moment_have_their_own_bodies() {
    let (came, _, lean) = listen().await;
    let table = &Table::new(lean, "t");
    let put = |n: u32| async move {
        table.transact_once(vec![Action::put(key(n), HashMap::new())]).await.expect("an answer")
    };
    futures_util::future::join_all((0..50).map(put)).await;
    let mut keys: Vec<String> = came
        .lock()
        .expect("a lock")
        .iter()
        .map(|(_, body)| {
            body["TransactItems"][0]["Put"]["Item"]["sk"]["S"].as_str().expect("a key").to_owned()
        })
        .collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 50);
}

#[tokio::test]
async fn all_requests_have_the_user_agent_of_the_first() {
    let (came, _, lean) = listen().await;
    for n in 0..3 {
        let put = lean.transact_write_items().transact_items(items().remove(n)).send();
        put.await.expect("an answer");
    }
    let came = came.lock().expect("a lock");
    let agent = |at: usize| came[at].0["user-agent"].to_str().expect("a text");
    assert!(agent(0).starts_with("aws-sdk-rust/") && agent(0).contains("api/dynamodb"), "{}", agent(0));
    assert_eq!((agent(1), agent(2)), (agent(0), agent(0)));
    assert!(came[2].0.get("x-amz-user-agent").is_none(), "it says the same");
}
