//! Transactions as AWS shows them: a layer before the embedded table that makes the items of one
//! transaction visible one by one.
//!
//! What DynamoDB's developer guide says ("DynamoDB Transactions: How it works"):
//!
//! - `GetItem` is serializable with a transaction, but several reads are not: a read of item A may show the
//!   transaction while a later read of item B does not yet. `BatchGetItem`, `Query` and `Scan` are
//!   read-committed. Only `TransactGetItems` shows all of a transaction or nothing.
//! - A write of an item that is part of an ongoing transaction fails: `PutItem`, `UpdateItem` and
//!   `DeleteItem` with `TransactionConflictException`, transactions with `TransactionCanceledException`. So
//!   does `TransactGetItems`. The items of a `ConditionCheck` are part of their transaction, too.
//! - A plain read never fails because of a transaction.
//! - The model of `BatchWriteItem` has no `TransactionConflictException`, and the guide isolates each of its
//!   writes like a single one. So a write that meets a transaction is left in `UnprocessedItems`.
//! - A second call with the token of an ongoing transaction fails with `TransactionInProgressException`.
//!
//! When `TransactWriteItems` answers is in "Distributed Transactions at Scale in Amazon DynamoDB" (USENIX
//! ATC 2023, Listing 2): after every item is committed. Each item is committed by a message of its own, and
//! can be read and written from then on. So a writer that has its answer sees all that it wrote
//! ([`Answering::AfterAll`]). Other clients, and those that never got the answer, see the tear.
//! [`Answering::AtCommit`] is more than AWS permits itself: it shows what relies on the answer.
//!
//! How it works: the embedded database has the table twice. Writes and `TransactGetItems` go to the table
//! itself, plain reads to its copy. After a transaction the layer copies its items one by one. A single
//! write is copied before it is answered. The engine evaluates every expression and page on the copy.
//!
//! Nothing is torn before [`Torn::tear`], so that a table is filled quickly. That call copies what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, RwLock};
use tokio::time::Instant;

use super::faults::{Message, error, forward, message, read, redirect, transaction_cancelled};

/// How the copy of a table is named.
const COPY: &str = "-as-plain-reads-see-it";
/// The calls that read from the copy.
const PLAIN_READS: [&str; 4] = ["GetItem", "BatchGetItem", "Query", "Scan"];
/// What a call says that meets a transaction.
const ONGOING: &str = "Transaction is ongoing for the item";

/// When a transaction is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answering {
    /// When all of its items are visible, as AWS does.
    AfterAll,
    /// When it is committed, before any of its items is visible.
    AtCommit,
}

/// How long tears are, between nothing and the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TearLengths {
    /// Every length is as probable as any other.
    Even,
    /// Most are short and a few are very long: a microsecond to two is as probable as a second to two.
    MostlyShort,
}

/// How transactions are torn.
#[derive(Clone, Copy, Debug)]
pub struct Tearing {
    /// Of the orders and delays.
    pub seed: u64,
    /// From the commit of a transaction until its last item is visible, at most. Every item becomes
    /// visible at a random time within a random part of it. Zero: one right after the other.
    pub longest: Duration,
    /// How long the tears are.
    pub lengths: TearLengths,
    /// When a transaction is answered.
    pub answering: Answering,
}

impl Tearing {
    /// Tears of up to some milliseconds, answered as AWS does.
    pub fn short(seed: u64) -> Self {
        Self {
            seed,
            longest: Duration::from_millis(12),
            lengths: TearLengths::Even,
            answering: Answering::AfterAll,
        }
    }
}

/// An item's table, partition key and sort key.
type ItemKey = [String; 3];

/// Who writes an item now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    /// A transaction: others that name the item fail.
    Transaction,
    /// A single write: others wait.
    Single,
}

/// What is known of a transaction's token.
enum Begun {
    /// It is new.
    First,
    /// Its transaction is not over.
    Ongoing,
    /// Its transaction took effect, and takes none again.
    Committed,
}

/// What is under way.
#[derive(Default)]
struct State {
    writers: BTreeMap<ItemKey, Writer>,
    /// The tokens of transactions that are not answered yet.
    ongoing: BTreeSet<String>,
    /// The tokens of committed transactions.
    committed: BTreeSet<String>,
    /// The tables that were made before anything was torn, with the heads of the calls that made them.
    tables: BTreeMap<String, String>,
    /// The sort keys of the items that became visible, in this order.
    shown: Vec<String>,
}

/// The layer.
#[derive(Clone)]
pub struct Torn {
    /// Where it answers.
    pub endpoint: String,
    inner: Arc<Inner>,
}

struct Inner {
    upstream: String,
    /// Locked by every call while it runs. `None` before anything is torn.
    tearing: RwLock<Option<Tearing>>,
    dice: Mutex<u64>,
    /// What partition keys contain of items that are not shown.
    held: Mutex<Option<String>>,
    state: Mutex<State>,
    /// An item has become free, or a transaction is over.
    changed: Notify,
    conflicts: AtomicUsize,
    torn: AtomicUsize,
}

impl Torn {
    /// A layer before this endpoint, that tears nothing yet. Tables are to be made through it.
    pub async fn before(endpoint: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let endpoint_of_layer = format!("http://{}", listener.local_addr().expect("an address"));
        let inner = Arc::new(Inner {
            upstream: endpoint.trim_start_matches("http://").to_owned(),
            tearing: RwLock::default(),
            dice: Mutex::new(0),
            held: Mutex::default(),
            state: Mutex::default(),
            changed: Notify::new(),
            conflicts: AtomicUsize::new(0),
            torn: AtomicUsize::new(0),
        });
        let accepting = inner.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let inner = accepting.clone();
                // A client may go away at any time.
                tokio::spawn(async move {
                    let _ = serve(stream, inner).await;
                });
            }
        });
        Self { endpoint: endpoint_of_layer, inner }
    }

    /// Tears transactions from now on, or tears them otherwise. Waits for calls that are under way.
    pub async fn tear(&self, tearing: Tearing) {
        let mut now = self.inner.tearing.write().await;
        *self.inner.dice.lock().expect("a lock") = tearing.seed;
        if now.replace(tearing).is_none() {
            let tables = std::mem::take(&mut self.inner.state.lock().expect("a lock").tables);
            let mut connection = Connection::new(&self.inner.upstream).await.expect("the table");
            for (table, head) in tables {
                connection.copy_table(&table, &head).await.expect("the table answers");
            }
        }
    }

    /// Waits until every committed item is visible.
    pub async fn settled(&self) {
        loop {
            let changed = self.inner.changed.notified();
            if self.inner.state.lock().expect("a lock").writers.is_empty() {
                return;
            }
            changed.await;
        }
    }

    /// How many items are committed or being written, and not visible yet.
    pub fn hidden(&self) -> usize {
        self.inner.state.lock().expect("a lock").writers.len()
    }

    /// How many calls met a transaction until now.
    pub fn conflicts(&self) -> usize {
        self.inner.conflicts.load(Ordering::SeqCst)
    }

    /// How many transactions of several items were torn until now.
    pub fn torn(&self) -> usize {
        self.inner.torn.load(Ordering::SeqCst)
    }

    /// Keeps the items of committed transactions hidden whose partition key contains this text, until
    /// [`Torn::release`]. After `|`, the text may name the whole sort key. The other items become visible before them.
    pub fn hold(&self, partition: &str) {
        *self.inner.held.lock().expect("a lock") = Some(partition.to_owned());
    }

    /// Shows what was held, and holds nothing from now on.
    pub fn release(&self) {
        *self.inner.held.lock().expect("a lock") = None;
        self.inner.changed.notify_waiters();
    }

    /// Waits until nothing is hidden but what is held, and something is.
    pub async fn held(&self) {
        loop {
            let changed = self.inner.changed.notified();
            let hidden: Vec<ItemKey> =
                self.inner.state.lock().expect("a lock").writers.keys().cloned().collect();
            if !hidden.is_empty() && hidden.iter().all(|key| self.inner.is_held(key)) {
                return;
            }
            changed.await;
        }
    }

    /// The sort keys of items that transactions wrote, as they became visible.
    pub fn shown(&self) -> Vec<String> {
        self.inner.state.lock().expect("a lock").shown.clone()
    }
}

async fn serve(mut stream: TcpStream, inner: Arc<Inner>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut connection = Connection::new(&inner.upstream).await?;
    loop {
        let request = read(&mut BufReader::with_capacity(1 << 16, &mut stream)).await?;
        let call = inner.clone().answer(request, connection);
        // What has begun takes effect, whether or not the client waits for it.
        let (answer, same) = tokio::spawn(call).await.expect("an answer")?;
        connection = same;
        stream.write_all(&answer).await?;
    }
}

/// A connection to the embedded table.
struct Connection(TcpStream);

impl Connection {
    async fn new(upstream: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(upstream).await?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    /// Sends a call as a client did, with another operation and body.
    async fn call(&mut self, head: &str, operation: &str, body: &Value) -> std::io::Result<Message> {
        let body = body.to_string();
        forward(&mut self.0, &redirect(head, Some(operation), body.len()), body.as_bytes()).await
    }
}

impl Connection {
    /// Copies all that a table has to its copy, which is empty.
    async fn copy_table(&mut self, table: &str, head: &str) -> std::io::Result<()> {
        let copy = format!("{table}{COPY}");
        let mut scan = json!({ "TableName": table, "ConsistentRead": true });
        loop {
            let page = self.call(head, "Scan", &scan).await?.json();
            for items in page["Items"].as_array().expect("items").chunks(25) {
                let put = |item: &Value| json!({ "PutRequest": { "Item": item } });
                let writes: Vec<Value> = items.iter().map(put).collect();
                let batch = json!({ "RequestItems": { &copy: writes } });
                let answer = self.call(head, "BatchWriteItem", &batch).await?;
                assert!(answer.is_success(), "items are not copied: {}", answer.json());
            }
            match page.get("LastEvaluatedKey") {
                Some(last) => scan["ExclusiveStartKey"] = last.clone(),
                None => return Ok(()),
            }
        }
    }
}

impl Inner {
    async fn answer(
        self: Arc<Self>,
        request: Message,
        mut connection: Connection,
    ) -> std::io::Result<(Vec<u8>, Connection)> {
        let (body, head, operation) = (request.json(), request.head.as_str(), request.operation());
        let layer = self.clone();
        let tearing = layer.tearing.read().await;
        if operation == "CreateTable" && tearing.is_none() {
            let table = body["TableName"].as_str().unwrap_or_default().to_owned();
            self.state.lock().expect("a lock").tables.insert(table, head.to_owned());
        }
        let is_of_items = PLAIN_READS.contains(&operation.as_str()) || operation.contains("Item");
        if is_of_items && tearing.is_none() {
            let answer = forward(&mut connection.0, head, &request.body).await?.bytes();
            return Ok((answer, connection));
        }
        let answer = match (operation.as_str(), *tearing) {
            ("TransactWriteItems", Some(tearing)) => {
                return self.transact(request, body, tearing, connection).await;
            }
            ("TransactGetItems", _) => self.read_together(&request, &body, &mut connection).await?,
            ("PutItem" | "UpdateItem" | "DeleteItem", _) => {
                self.write(&request, &body, &mut connection).await?
            }
            ("BatchWriteItem", _) => self.write_batch(head, body, &mut connection).await?,
            ("CreateTable" | "DeleteTable" | "UpdateTimeToLive", _) => {
                connection.call(head, &operation, &of_copy(&body)).await?;
                forward(&mut connection.0, head, &request.body).await?.bytes()
            }
            (read, _) if PLAIN_READS.contains(&read) => {
                let answer = connection.call(head, &operation, &of_copy(&body)).await?;
                of_table(&answer)
            }
            _ => forward(&mut connection.0, head, &request.body).await?.bytes(),
        };
        Ok((answer, connection))
    }

    /// A number below a bound, the next one of the seed.
    fn below(&self, bound: usize) -> usize {
        let mut dice = self.dice.lock().expect("a lock");
        // SplitMix64, which differs at once for seeds that are close.
        *dice = dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *dice;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from(mixed >> 33).unwrap_or(0) % bound.max(1)
    }

    fn is_held(&self, [_, pk, sk]: &ItemKey) -> bool {
        let is_part = |part: &String| match part.split_once('|') {
            Some((partition, sort)) => pk.contains(partition) && sk == sort,
            None => pk.contains(part),
        };
        self.held.lock().expect("a lock").as_ref().is_some_and(is_part)
    }

    /// Takes all of these items for a writer, after single writes of them are over.
    ///
    /// # Errors
    /// Which of them are part of a transaction, by their places.
    async fn take(&self, keys: &[ItemKey], writer: Writer) -> Result<(), Vec<bool>> {
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.state.lock().expect("a lock");
                let held: Vec<bool> =
                    keys.iter().map(|key| state.writers.get(key) == Some(&Writer::Transaction)).collect();
                if held.contains(&true) {
                    self.conflicts.fetch_add(1, Ordering::SeqCst);
                    return Err(held);
                }
                if !keys.iter().any(|key| state.writers.contains_key(key)) {
                    state.writers.extend(keys.iter().map(|key| (key.clone(), writer)));
                    return Ok(());
                }
            }
            changed.await;
        }
    }

    fn free(&self, keys: &[ItemKey]) {
        let mut state = self.state.lock().expect("a lock");
        for key in keys {
            state.writers.remove(key);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Reads items as they are now. Those that do not exist are left out.
    async fn fetch(
        &self,
        head: &str,
        keys: &[ItemKey],
        connection: &mut Connection,
    ) -> std::io::Result<BTreeMap<ItemKey, Value>> {
        let (mut found, mut open) = (BTreeMap::new(), serde_json::Map::new());
        for [table, pk, sk] in keys {
            let keys = open.entry(table).or_insert_with(|| json!({ "Keys": [], "ConsistentRead": true }));
            let key = json!({ "pk": { "S": pk }, "sk": { "S": sk } });
            keys["Keys"].as_array_mut().expect("keys").push(key);
        }
        while !open.is_empty() {
            let answer = connection.call(head, "BatchGetItem", &json!({ "RequestItems": open })).await?;
            assert!(answer.is_success(), "items are not read: {}", answer.json());
            let mut answer = answer.json();
            for (table, items) in answer["Responses"].as_object().expect("tables") {
                for item in items.as_array().expect("items") {
                    found.insert(key_of(&json!({ "TableName": table, "Key": item })), item.clone());
                }
            }
            open = answer["UnprocessedKeys"].as_object_mut().map(std::mem::take).unwrap_or_default();
        }
        Ok(found)
    }

    /// Makes an item visible as it is now, or its absence.
    async fn copy(
        &self,
        head: &str,
        key: &ItemKey,
        item: Option<&Value>,
        connection: &mut Connection,
    ) -> std::io::Result<()> {
        let [table, pk, sk] = key;
        let copy = format!("{table}{COPY}");
        let key = json!({ "pk": { "S": pk }, "sk": { "S": sk } });
        let answer = match item {
            Some(item) => {
                connection.call(head, "PutItem", &json!({ "TableName": copy, "Item": item })).await?
            }
            None => connection.call(head, "DeleteItem", &json!({ "TableName": copy, "Key": key })).await?,
        };
        assert!(answer.is_success(), "an item is not copied: {}", answer.json());
        Ok(())
    }

    /// Notes that a transaction with this token begins, if it is the first one.
    fn begin(&self, token: Option<&str>) -> Begun {
        let mut state = self.state.lock().expect("a lock");
        let Some(token) = token else { return Begun::First };
        if state.committed.contains(token) {
            return Begun::Committed;
        }
        if state.ongoing.insert(token.to_owned()) { Begun::First } else { Begun::Ongoing }
    }

    async fn transact(
        self: Arc<Self>,
        request: Message,
        body: Value,
        tearing: Tearing,
        mut connection: Connection,
    ) -> std::io::Result<(Vec<u8>, Connection)> {
        let token = body["ClientRequestToken"].as_str().map(str::to_owned);
        match self.begin(token.as_deref()) {
            Begun::First => {}
            Begun::Ongoing => {
                let words = "The transaction with the given request token is already in progress";
                let answer = error(400, "TransactionInProgressException", json!({ "message": words }));
                return Ok((answer, connection));
            }
            Begun::Committed => {
                let answer = forward(&mut connection.0, &request.head, &request.body).await?;
                return Ok((answer.bytes(), connection));
            }
        }
        let actions: Vec<(ItemKey, bool)> = actions(&body);
        let keys: Vec<ItemKey> = actions.iter().map(|(key, _)| key.clone()).collect();
        let (answer, is_committed) = match self.take(&keys, Writer::Transaction).await {
            Err(held) => (transaction_cancelled(&held, "TransactionConflict", ONGOING), false),
            Ok(()) => {
                let answer = forward(&mut connection.0, &request.head, &request.body).await?;
                let is_committed = answer.is_success();
                if !is_committed {
                    self.free(&keys);
                }
                (answer.bytes(), is_committed)
            }
        };
        if !is_committed {
            self.finish(token, false);
            return Ok((answer, connection));
        }
        let layer = self.clone();
        let mut own = Connection::new(&self.upstream).await?;
        let showing = tokio::spawn(async move {
            layer.show(&request.head, actions, tearing, &mut own).await.expect("the table answers");
            layer.finish(token, true);
        });
        if tearing.answering == Answering::AfterAll {
            showing.await.expect("all is visible");
        }
        Ok((answer, connection))
    }

    fn finish(&self, token: Option<String>, is_committed: bool) {
        if let Some(token) = token {
            let mut state = self.state.lock().expect("a lock");
            state.ongoing.remove(&token);
            if is_committed {
                state.committed.insert(token);
            }
        }
        self.changed.notify_waiters();
    }

    /// Makes the items of a committed transaction visible one by one.
    async fn show(
        &self,
        head: &str,
        actions: Vec<(ItemKey, bool)>,
        tearing: Tearing,
        connection: &mut Connection,
    ) -> std::io::Result<()> {
        let written: Vec<ItemKey> =
            actions.iter().filter(|(_, is_write)| *is_write).map(|(key, _)| key.clone()).collect();
        let found = self.fetch(head, &written, connection).await?;
        let start = Instant::now();
        let part = self.length_of_tear(tearing);
        let mut shown: Vec<(usize, usize, (ItemKey, bool))> = actions
            .into_iter()
            .map(|action| (self.below(part + 1), self.below(usize::MAX), action))
            .collect();
        shown.sort_unstable();
        self.torn.fetch_add(usize::from(shown.len() > 1), Ordering::SeqCst);
        shown.sort_by_key(|(.., (key, _))| self.is_held(key));
        for (micros, _, (key, is_write)) in shown {
            if micros > 0 {
                tokio::time::sleep_until(start + Duration::from_micros(micros as u64)).await;
            }
            loop {
                let changed = self.changed.notified();
                if !self.is_held(&key) {
                    break;
                }
                changed.await;
            }
            if is_write {
                self.copy(head, &key, found.get(&key), connection).await?;
                self.state.lock().expect("a lock").shown.push(key[2].clone());
            }
            self.free(&[key]);
        }
        Ok(())
    }

    /// The length of the next tear, in microseconds.
    fn length_of_tear(&self, tearing: Tearing) -> usize {
        let longest = usize::try_from(tearing.longest.as_micros()).unwrap_or(usize::MAX);
        match tearing.lengths {
            TearLengths::Even => self.below(longest + 1),
            TearLengths::MostlyShort => {
                let exponent = self.below(1_001) as f64 / 1_000.0;
                (longest as f64).powf(exponent) as usize
            }
        }
    }

    async fn read_together(
        &self,
        request: &Message,
        body: &Value,
        connection: &mut Connection,
    ) -> std::io::Result<Vec<u8>> {
        let keys: Vec<ItemKey> = actions(body).into_iter().map(|(key, _)| key).collect();
        // Nothing else begins while it reads.
        if let Err(held) = self.take(&keys, Writer::Single).await {
            return Ok(transaction_cancelled(&held, "TransactionConflict", ONGOING));
        }
        let answer = forward(&mut connection.0, &request.head, &request.body).await;
        self.free(&keys);
        Ok(answer?.bytes())
    }

    async fn write(
        &self,
        request: &Message,
        body: &Value,
        connection: &mut Connection,
    ) -> std::io::Result<Vec<u8>> {
        let keys = [key_of(body)];
        if self.take(&keys, Writer::Single).await.is_err() {
            return Ok(error(400, "TransactionConflictException", json!({ "message": ONGOING })));
        }
        let written = async {
            let answer = forward(&mut connection.0, &request.head, &request.body).await?;
            if answer.is_success() {
                let found = self.fetch(&request.head, &keys, connection).await?;
                self.copy(&request.head, &keys[0], found.get(&keys[0]), connection).await?;
            }
            Ok(answer.bytes())
        }
        .await;
        self.free(&keys);
        written
    }

    /// Writes those of a batch that meet no transaction.
    async fn write_batch(
        &self,
        head: &str,
        mut body: Value,
        connection: &mut Connection,
    ) -> std::io::Result<Vec<u8>> {
        let (mut taken, mut left) = (Vec::new(), serde_json::Map::new());
        for (table, writes) in body["RequestItems"].as_object_mut().into_iter().flatten() {
            for write in std::mem::take(writes.as_array_mut().expect("writes")) {
                let request = write.get("PutRequest").or(write.get("DeleteRequest")).expect("a write");
                let mut request = request.clone();
                request["TableName"] = json!(table);
                let key = key_of(&request);
                let open = if self.take(std::slice::from_ref(&key), Writer::Single).await.is_ok() {
                    taken.push(key);
                    &mut *writes
                } else {
                    left.entry(table.clone()).or_insert_with(|| json!([]))
                };
                open.as_array_mut().expect("writes").push(write);
            }
        }
        let written = async {
            if taken.is_empty() {
                return Ok(message(200, &json!({ "UnprocessedItems": left })));
            }
            let written = connection.call(head, "BatchWriteItem", &body).await?;
            if !written.is_success() {
                return Ok(written.bytes());
            }
            let found = self.fetch(head, &taken, connection).await?;
            for key in &taken {
                self.copy(head, key, found.get(key), connection).await?;
            }
            let mut written = written.json();
            written["UnprocessedItems"] = json!(left);
            Ok(message(200, &written))
        }
        .await;
        self.free(&taken);
        written
    }
}

/// The items that a transaction names, and whether it writes each.
fn actions(body: &Value) -> Vec<(ItemKey, bool)> {
    let actions = body["TransactItems"].as_array().into_iter().flatten();
    let actions = actions.filter_map(|action| action.as_object()?.iter().next());
    actions.map(|(verb, action)| (key_of(action), verb != "ConditionCheck" && verb != "Get")).collect()
}

/// The item that a call or an action names.
fn key_of(action: &Value) -> ItemKey {
    let key = action.get("Key").or(action.get("Item")).unwrap_or(&Value::Null);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    [text(&action["TableName"]), text(&key["pk"]["S"]), text(&key["sk"]["S"])]
}

/// The same call for the copy of its table.
fn of_copy(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(Value::String(table)) = body.get_mut("TableName") {
        table.push_str(COPY);
    }
    if let Some(Value::Object(requests)) = body.get_mut("RequestItems") {
        *requests = std::mem::take(requests)
            .into_iter()
            .map(|(table, request)| (format!("{table}{COPY}"), request))
            .collect();
    }
    body
}

/// An answer about a copy as one about its table.
fn of_table(answer: &Message) -> Vec<u8> {
    let text = String::from_utf8_lossy(&answer.body).replace(&format!("{COPY}\""), "\"");
    Message { head: redirect(&answer.head, None, text.len()), body: text.into_bytes() }.bytes()
}
