//! The layer that tears transactions apart does what AWS does, and no more.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{AttributeValue, DeleteRequest, PutRequest, WriteRequest};
use rollcall::store::call::{Range, Table};
use rollcall::store::error::{Refusal, StoreError};
use rollcall::store::expression::Expression;
use rollcall::store::item::{Item, get_text, text, with_key};
use rollcall::store::keys::Key;
use rollcall::store::transaction::Action;
use tokio::task::JoinHandle;

use crate::support::faults::{Call, Fate, Proxy};
use crate::support::torn::{Answering, Tearing, Torn};
use crate::support::{TABLE, client, serve_torn};

fn key(sk: &str) -> Key {
    Key { pk: "P".to_owned(), sk: sk.to_owned() }
}

fn put(sk: &str, value: &str) -> Action {
    Action::put(key(sk), Item::from([text("value", value)]))
}

fn slow(seed: u64, answering: Answering) -> Tearing {
    Tearing { longest: Duration::from_millis(400), answering, ..Tearing::short(seed) }
}

/// Tears a transaction that sets items to a value; does not wait for its answer.
fn write(table: &Table, names: &[&str], value: &str) -> JoinHandle<Result<(), StoreError>> {
    let (table, value) = (table.fresh(), value.to_owned());
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    tokio::spawn(async move { table.transact(|| names.iter().map(|name| put(name, &value)).collect()).await })
}

/// What a plain read of each item shows.
async fn seen(table: &Table, names: &[&str]) -> Vec<Option<String>> {
    let mut all = Vec::new();
    for name in names {
        let item = table.get(&key(name)).await.unwrap();
        all.push(item.and_then(|item| get_text(&item, "value").map(str::to_owned)));
    }
    all
}

fn values<const N: usize>(values: [&str; N]) -> Vec<Option<String>> {
    values.map(|value| Some(value.to_owned())).into()
}

/// Waits until some items of a transaction are visible, and some are not.
async fn tear(torn: &Torn, items: usize) {
    let until = Instant::now() + Duration::from_secs(5);
    while !(1..items).contains(&torn.hidden()) {
        assert!(Instant::now() < until, "no tear");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn plain_reads_see_the_items_of_a_transaction_one_by_one() {
    let names = ["a", "b", "c", "d"];
    let (mut orders, mut tears) = (BTreeSet::new(), 0);
    for seed in 0..4 {
        let embedded = serve_torn(Some(Tearing::short(seed))).await;
        let torn = embedded.torn.clone().expect("a layer");
        let table = embedded.table;
        write(&table, &names, "old").await.unwrap().unwrap();
        assert_eq!(seen(&table, &names).await, values(["old"; 4]), "what is answered is visible");
        torn.tear(slow(seed, Answering::AfterAll)).await;
        let writing = write(&table, &names, "new");
        let mut states = Vec::new();
        while !writing.is_finished() {
            let page = table.query("P", &Range::default()).await.unwrap();
            let new: BTreeSet<String> = page
                .items
                .iter()
                .filter(|item| get_text(item, "value") == Some("new"))
                .map(|item| get_text(item, "sk").unwrap().to_owned())
                .collect();
            states.push(new);
            states.dedup();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        writing.await.unwrap().unwrap();
        tears += states.iter().filter(|new| (1..4).contains(&new.len())).count();
        assert!(states.windows(2).all(|pair| pair[0].is_subset(&pair[1])), "{states:?}");
        assert_eq!(seen(&table, &names).await, values(["new"; 4]));
        orders.insert(torn.shown()[4..].to_vec());
    }
    assert!(tears > 4, "a query sees some of the items: {tears}");
    assert!(orders.len() > 1, "the order is always the same: {orders:?}");
}

/// A transaction of which some items are visible, and stay the only ones for a while.
struct HalfVisible {
    table: Table,
    writing: JoinHandle<Result<(), StoreError>>,
    /// An item that is not visible yet.
    old: &'static str,
    /// An item that is visible.
    new: &'static str,
}

impl HalfVisible {
    async fn start() -> Self {
        let names = ["a", "b", "c", "d"];
        let embedded = serve_torn(Some(Tearing::short(1))).await;
        let torn = embedded.torn.clone().expect("a layer");
        let table = embedded.table;
        write(&table, &names, "old").await.unwrap().unwrap();
        table.put(&key("e"), Item::from([text("value", "old")])).await.unwrap();
        torn.tear(Tearing { longest: Duration::from_secs(20), ..slow(5, Answering::AfterAll) }).await;
        let writing = write(&table, &names, "new");
        tear(&torn, 4).await;
        let now = seen(&table, &names).await;
        let [old, new] = ["old", "new"].map(|value| {
            names[now.iter().position(|found| found.as_deref() == Some(value)).expect("one of each")]
        });
        Self { table, writing, old, new }
    }

    /// Ends the transaction, which is still under way.
    fn end(self) {
        assert!(!self.writing.is_finished());
        self.writing.abort();
    }
}

#[tokio::test]
async fn transactional_reads_of_a_torn_transaction_are_refused() {
    let scene = HalfVisible::start().await;
    let (old, new) = (scene.old, scene.new);
    // Of the SDK's errors: the layer speaks as DynamoDB does.
    let sdk = scene.table.client();
    let get = |sk: &str| {
        let get = aws_sdk_dynamodb::types::Get::builder().table_name(TABLE);
        let get = get.set_key(Some(with_key(&key(sk)))).build().unwrap();
        aws_sdk_dynamodb::types::TransactGetItem::builder().get(get).build()
    };
    let read = async |names: &[&str]| {
        let items = names.iter().map(|name| get(name)).collect();
        sdk.transact_get_items().set_transact_items(Some(items)).send().await
    };
    let refused = read(&[new, old]).await.unwrap_err().into_service_error();
    let aws_sdk_dynamodb::operation::transact_get_items::TransactGetItemsError::TransactionCanceledException(
        cancelled,
    ) = refused
    else {
        panic!("{refused}");
    };
    let codes: Vec<_> =
        cancelled.cancellation_reasons().iter().map(|reason| reason.code().unwrap()).collect();
    assert_eq!(codes, ["None", "TransactionConflict"]);
    assert!(cancelled.message().unwrap().ends_with("[None, TransactionConflict]"));
    let visible = read(&[new, "e"]).await.unwrap();
    assert_eq!(get_text(visible.responses()[0].item().unwrap(), "value"), Some("new"));
    scene.end();
}

#[tokio::test]
async fn writes_to_a_torn_transaction_are_refused() {
    let scene = HalfVisible::start().await;
    let (table, old, new) = (&scene.table, scene.old, scene.new);
    let sdk = table.client();
    let item = |sk: &str| {
        let mut item = with_key(&key(sk));
        item.extend([text("value", "newer")]);
        item
    };
    let conflict = Some("TransactionConflictException");
    let refused = sdk.put_item().table_name(TABLE).set_item(Some(item(old))).send().await.unwrap_err();
    assert_eq!(refused.code(), conflict);
    let refused = sdk.delete_item().table_name(TABLE).set_key(Some(with_key(&key(old)))).send().await;
    assert_eq!(refused.unwrap_err().code(), conflict);
    let refused = sdk
        .update_item()
        .table_name(TABLE)
        .set_key(Some(with_key(&key(old))))
        .update_expression("SET x = :x")
        .expression_attribute_values(":x", AttributeValue::Bool(true))
        .send()
        .await;
    assert_eq!(refused.unwrap_err().code(), conflict);
    let put = PutRequest::builder().set_item(Some(item(old))).build().unwrap();
    let put = WriteRequest::builder().put_request(put).build();
    let delete = DeleteRequest::builder().set_key(Some(with_key(&key("e")))).build().unwrap();
    let delete = WriteRequest::builder().delete_request(delete).build();
    let done = sdk.batch_write_item().request_items(TABLE, vec![put.clone(), delete]).send().await.unwrap();
    assert_eq!(done.unprocessed_items().unwrap()[TABLE], [put]);
    assert!(table.get(&key("e")).await.unwrap().is_none());
    // A condition on an item that is not visible yet, and a write of one that is.
    let check = || {
        let absent = Action::put(key("e"), Item::new());
        vec![Action::check(key(old), Expression::exists(), Refusal::Changed), absent]
    };
    assert!(matches!(table.transact(check).await, Err(StoreError::Conflict)));
    table.put(&key(new), Item::from([text("value", "newer")])).await.unwrap();
    assert_eq!(seen(table, &[new]).await, values(["newer"]));
    scene.end();
}

#[tokio::test]
async fn transactions_on_the_same_items_follow_one_another() {
    let embedded =
        serve_torn(Some(Tearing { longest: Duration::from_millis(40), ..Tearing::short(9) })).await;
    let torn = embedded.torn.clone().expect("a layer");
    let table = embedded.table;
    let count = || {
        let one = AttributeValue::N("1".to_owned());
        let add = |sk: &str| Action::update(key(sk), Expression::update().add("n", one.clone()));
        vec![add("a"), add("b"), add("c")]
    };
    let writers = (0..8).map(|_| {
        let table = table.fresh();
        tokio::spawn(async move {
            let mut done = 0;
            while done < 5 {
                match table.transact(count).await {
                    Ok(()) => done += 1,
                    Err(StoreError::Conflict) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let number = |item: Option<Item>| {
        item.and_then(|item| item["n"].as_n().ok().and_then(|n| n.parse::<u64>().ok())).unwrap_or(0)
    };
    let (mut before, mut tears, mut rounds) = (vec![0; 3], 0, 0);
    while !writers.iter().all(JoinHandle::is_finished) {
        let mut now = Vec::new();
        for sk in ["a", "b", "c"] {
            now.push(number(table.get(&key(sk)).await.unwrap()));
        }
        assert!(before.iter().zip(&now).all(|(before, now)| before <= now), "{before:?}, then {now:?}");
        // Read later, and older.
        tears += usize::from(now[0] > now[1] || now[1] > now[2]);
        before = now;
        rounds += 1;
        if rounds % 20 > 0 {
            continue;
        }
        if let Ok(items) = table.get_together(&["a", "b", "c"].map(key)).await {
            let numbers: BTreeSet<u64> = items.into_iter().map(number).collect();
            assert_eq!(numbers.len(), 1, "{numbers:?}");
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(tears > 0 && torn.conflicts() > 0);
    for sk in ["a", "b", "c"] {
        assert_eq!(number(table.get(&key(sk)).await.unwrap()), 40);
    }
}

/// The answer is lost, and the same call is sent again while its first attempt is under way.
#[tokio::test]
async fn a_transaction_whose_client_is_gone_takes_effect_once() {
    let embedded = serve_torn(Some(Tearing::short(1))).await;
    let torn = embedded.torn.clone().expect("a layer");
    let proxy = Proxy::before(&embedded.endpoint).await;
    let table = Table::new(client(&proxy.endpoint), TABLE);
    torn.tear(slow(2, Answering::AfterAll)).await;
    let mut is_first = true;
    proxy.decide(move |call: &Call| {
        let is_abandoned = call.operation == "TransactWriteItems" && std::mem::take(&mut is_first);
        if is_abandoned { Fate::Abandoned } else { Fate::Pass }
    });
    let one = || AttributeValue::N("1".to_owned());
    let add = |sk: &str| Action::update(key(sk), Expression::update().add("n", one()));
    let outcome = table.transact(|| vec![add("a"), add("b")]).await;
    assert!(matches!(outcome, Ok(()) | Err(StoreError::Unavailable(_))), "{outcome:?}");
    torn.settled().await;
    for sk in ["a", "b"] {
        let item = embedded.table.get(&key(sk)).await.unwrap().expect("an item");
        assert_eq!(item["n"], one());
    }
}

/// What relies on the answer can be shown: a tear that outlives it.
#[tokio::test]
async fn an_answer_can_come_before_anything_is_visible() {
    let embedded = serve_torn(Some(slow(3, Answering::AtCommit))).await;
    let torn = embedded.torn.clone().expect("a layer");
    let table = embedded.table;
    write(&table, &["a", "b", "c"], "new").await.unwrap().unwrap();
    assert!(torn.hidden() > 0);
    torn.settled().await;
    assert_eq!(seen(&table, &["a", "b", "c"]).await, values(["new"; 3]));
    table.transact(|| vec![Action::delete(key("a")), Action::delete(key("b"))]).await.unwrap();
    torn.settled().await;
    assert_eq!(seen(&table, &["a", "b"]).await, [None, None]);
}

/// What calls cost, and the names in their answers, are those of the table.
#[tokio::test]
async fn answers_speak_of_the_table() {
    let embedded = serve_torn(Some(Tearing::short(1))).await;
    let table = embedded.table;
    write(&table, &["a", "b"], &"x".repeat(5_000)).await.unwrap().unwrap();
    let fresh = table.fresh();
    assert_eq!(fresh.batch_get(&["a", "b", "c"].map(key)).await.unwrap().len(), 2);
    assert_eq!(fresh.query_all("P", None).await.unwrap().len(), 2);
    // Two items of two units and an absent one; two items of 10 KB together.
    assert!((fresh.usage().read_units - 8.0).abs() < f64::EPSILON, "{:?}", fresh.usage());
    let spent = table.client().get_item().table_name(TABLE).set_key(Some(with_key(&key("a"))));
    let spent = spent.return_consumed_capacity("TOTAL".into()).send().await.unwrap();
    assert_eq!(spent.consumed_capacity().unwrap().table_name(), Some(TABLE));
}
