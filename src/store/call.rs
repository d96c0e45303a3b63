//! The calls to DynamoDB, one method for each. Every call is metered, and every read is strongly
//! consistent. Calls about many items are in `batch.rs`.
//!
//! Each call is boxed. The SDK's state of a call has 5 KB. Without the box, each state that waits for it would hold and
//! copy these, too.

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConsumedCapacity, Get, ReturnConsumedCapacity, Select, TransactGetItem,
};
use futures_util::FutureExt as _;
use uuid::Uuid;

use super::error::{self, Refusal, StoreError};
use super::item::{Item, get_text, must_text, with_key};
use super::keys::Key;
use super::meter::{Direction, Meter, RuleRefusals, Usage};
use super::retry::Attempts;
use super::transaction::{self, Action};
use crate::config::EmailLookups;
use crate::limits::{CONNECT_AT_START, MAX_ACTIONS_PER_TX, TRANSACTION_RETRIES};
use crate::sdk;

/// The table as one request sees it.
#[derive(Clone, Debug)]
pub struct Table {
    pub(super) client: Client,
    pub(super) name: Arc<str>,
    pub(super) meter: Arc<Meter>,
    /// Which look-ups of email addresses are written.
    pub email_lookups: EmailLookups,
}

/// Which items of a partition a query reads.
#[derive(Clone, Debug, Default)]
pub struct Range {
    /// The prefix of the sort keys.
    pub prefix: Option<String>,
    /// Only sort keys after this one; before it if `backwards`.
    pub after: Option<String>,
    /// Only sort keys up to this one. Ignored if there is a `prefix`.
    pub through: Option<String>,
    /// The most items of one call. A call also ends after 1 MB.
    pub limit: Option<i32>,
    /// Whether to read from the last sort key to the first.
    pub backwards: bool,
}

/// One page of a query.
#[derive(Debug)]
pub struct Page {
    /// The items.
    pub items: Vec<Item>,
    /// The sort key to go on after; `None` at the end.
    pub next: Option<String>,
}

/// The number of items in one page of a query.
#[derive(Clone, Debug)]
pub struct CountPage {
    /// How many items the page has.
    pub count: u64,
    /// The sort key to go on after; `None` at the end.
    pub next: Option<String>,
}

/// One of the equal parts of the table that can be scanned side by side.
#[derive(Clone, Copy, Debug)]
pub struct ScanSegment {
    /// The number of the part, from 0.
    pub number: i32,
    /// How many parts there are.
    pub total: i32,
}

impl ScanSegment {
    /// The whole table.
    pub const WHOLE: Self = Self { number: 0, total: 1 };
}

/// One page of a scan.
#[derive(Debug)]
pub struct ScanPage<T> {
    /// What was found.
    pub found: Vec<T>,
    /// The key to go on after; `None` at the end.
    pub next: Option<Item>,
}

/// The answer of [`Table::try_get_together`].
#[derive(Clone, Debug)]
pub enum ReadTogether {
    /// The items, in the order of the keys.
    Items(Vec<Option<Item>>),
    /// Whether a transaction is under way on each item, in the order of the keys.
    Conflicts(Vec<bool>),
}

impl Table {
    /// The table by its name, with a meter of its own.
    pub fn new(client: Client, name: &str) -> Self {
        Self { client, name: name.into(), meter: Arc::default(), email_lookups: EmailLookups::default() }
    }

    /// The same table with a new meter, for another request.
    pub fn fresh(&self) -> Self {
        Self { meter: Arc::default(), ..self.clone() }
    }

    /// The table's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The SDK client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Opens the connection to the table and fetches the credentials, so that the first request need not. It reads a
    /// key that has no item. A table that does not answer is not an error: the first request finds that out.
    pub async fn connect(&self, key: &Key) {
        let table = self.fresh();
        if !matches!(tokio::time::timeout(CONNECT_AT_START, table.get(key)).await, Ok(Ok(_))) {
            tracing::warn!("the table did not answer at the start");
        }
    }

    /// What the request has cost until now.
    pub fn usage(&self) -> Usage {
        self.meter.usage()
    }

    /// Counts a change that a rule about who administers the tenant refused.
    pub fn note_admin_rule_refusal(&self) {
        self.meter.add_refusals(RuleRefusals { admin_rule: 1, ..RuleRefusals::default() });
    }

    /// Counts a change that the deactivation limit refused.
    pub fn note_deactivation_limit_refusal(&self) {
        self.meter.add_refusals(RuleRefusals { deactivation_limit: 1, ..RuleRefusals::default() });
    }

    /// The changes that rules of the tenant refused until now.
    pub fn refusals(&self) -> RuleRefusals {
        self.meter.refusals()
    }

    pub(super) fn spent<'a>(
        &self,
        round: u32,
        direction: Direction,
        consumed: impl IntoIterator<Item = &'a ConsumedCapacity>,
    ) {
        let units = consumed.into_iter().filter_map(ConsumedCapacity::capacity_units).sum();
        self.meter.end(round, direction, units);
    }

    /// Reads one item. `None` if it does not exist.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        let round = self.meter.begin();
        let answer = self
            .client
            .get_item()
            .table_name(&*self.name)
            .set_key(Some(with_key(key)))
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .boxed()
            .await
            .map_err(error::read)?;
        self.spent(round, Direction::Read, answer.consumed_capacity());
        Ok(answer.item)
    }

    /// Reads at most 100 items as of one moment, in the order of `keys`. It is tried again while a
    /// transaction on one of them is under way. So no such transaction changes the items afterwards.
    ///
    /// # Errors
    /// - [`StoreError::Conflict`] if a transaction was under way at every attempt.
    /// - [`StoreError::Throttled`] if the table throttled the last attempt.
    /// - [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn get_together(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, StoreError> {
        let mut last = StoreError::Conflict;
        let mut attempts = Attempts::new(TRANSACTION_RETRIES);
        while attempts.start_next().await {
            match self.try_get_together(keys).await {
                Ok(ReadTogether::Items(items)) => return Ok(items),
                Ok(ReadTogether::Conflicts(_)) => last = StoreError::Conflict,
                Err(StoreError::Throttled) => last = StoreError::Throttled,
                Err(failed) => return Err(failed),
            }
        }
        Err(last)
    }

    /// Reads items, each at a moment when no transaction on it is under way. In the order of the keys: `None`
    /// for an item on which one is under way, `Some(None)` for an item that does not exist.
    ///
    /// # Errors
    /// [`StoreError::Throttled`], [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn get_resting(&self, keys: &[Key]) -> Result<Vec<Option<Option<Item>>>, StoreError> {
        let mut found = vec![None; keys.len()];
        for (chunk, first) in keys.chunks(MAX_ACTIONS_PER_TX).zip((0..).step_by(MAX_ACTIONS_PER_TX)) {
            let mut open: Vec<usize> = (0..chunk.len()).collect();
            while !open.is_empty() {
                let wanted: Vec<Key> = open.iter().map(|at| chunk[*at].clone()).collect();
                match self.try_get_together(&wanted).await? {
                    ReadTogether::Items(items) => {
                        for (at, item) in open.drain(..).zip(items) {
                            found[first + at] = Some(item);
                        }
                    }
                    ReadTogether::Conflicts(conflicts) => {
                        let mut conflicts = conflicts.into_iter();
                        open.retain(|_| conflicts.next() != Some(true));
                    }
                }
            }
        }
        Ok(found)
    }

    /// Reads at most 100 items as of one moment, once. If transactions on some of them are under way, it
    /// reads none, and says which items these are.
    ///
    /// # Errors
    /// [`StoreError::Throttled`], [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn try_get_together(&self, keys: &[Key]) -> Result<ReadTogether, StoreError> {
        let mut items = Vec::with_capacity(keys.len());
        for key in keys {
            let get = Get::builder().table_name(&*self.name).set_key(Some(with_key(key))).build();
            let get = get.map_err(|e| StoreError::Broken(e.to_string()))?;
            items.push(TransactGetItem::builder().get(get).build());
        }
        let round = self.meter.begin();
        let answer = self
            .client
            .transact_get_items()
            .set_transact_items(Some(items))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .boxed()
            .await;
        match answer {
            Ok(answer) => {
                self.spent(round, Direction::Read, answer.consumed_capacity());
                let items = answer.responses.unwrap_or_default().into_iter().map(|r| r.item);
                Ok(ReadTogether::Items(items.collect()))
            }
            Err(failed) => {
                self.meter.end(round, Direction::Read, 0.0);
                match error::read_conflicts(&failed) {
                    Some(conflicts) => Ok(ReadTogether::Conflicts(conflicts)),
                    None => Err(error::read_together(failed)),
                }
            }
        }
    }

    /// Reads one page of a partition.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn query(&self, pk: &str, range: &Range) -> Result<Page, StoreError> {
        let (answer, next) = self.query_page(pk, range, None).await?;
        Ok(Page { items: answer.items.unwrap_or_default(), next })
    }

    async fn query_page(
        &self,
        pk: &str,
        range: &Range,
        select: Option<Select>,
    ) -> Result<(QueryOutput, Option<String>), StoreError> {
        let mut query = self
            .client
            .query()
            .table_name(&*self.name)
            .expression_attribute_values(":pk", AttributeValue::S(pk.to_owned()))
            .set_limit(range.limit)
            .set_select(select)
            .scan_index_forward(!range.backwards)
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        query = match (&range.prefix, &range.through) {
            (Some(prefix), _) => query
                .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
                .expression_attribute_values(":prefix", AttributeValue::S(prefix.clone())),
            (None, Some(last)) => query
                .key_condition_expression("pk = :pk AND sk <= :last")
                .expression_attribute_values(":last", AttributeValue::S(last.clone())),
            (None, None) => query.key_condition_expression("pk = :pk"),
        };
        if let Some(after) = &range.after {
            // The key to start after need not exist any more.
            let start = with_key(&Key { pk: pk.to_owned(), sk: after.clone() });
            query = query.set_exclusive_start_key(Some(start));
        }
        let round = self.meter.begin();
        let answer = query.send().boxed().await.map_err(error::read)?;
        self.spent(round, Direction::Read, answer.consumed_capacity());
        let next = answer.last_evaluated_key().and_then(|key| get_text(key, "sk").map(str::to_owned));
        Ok((answer, next))
    }

    /// Reads every item of a partition.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn query_all(&self, pk: &str, prefix: Option<&str>) -> Result<Vec<Item>, StoreError> {
        let mut range = Range { prefix: prefix.map(str::to_owned), ..Range::default() };
        let mut items = Vec::new();
        loop {
            let page = self.query(pk, &range).await?;
            items.extend(page.items);
            match page.next {
                Some(next) => range.after = Some(next),
                None => return Ok(items),
            }
        }
    }

    /// Reads one page of a segment of the table: the keys whose partition begins with `prefix`. `start` is
    /// the `next` of the page before; `None` for the first page.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn scan_page(
        &self,
        prefix: &str,
        start: Option<Item>,
        segment: ScanSegment,
    ) -> Result<ScanPage<Key>, StoreError> {
        let page = self.scan_items(&[prefix], start, segment, Some("pk, sk")).await?;
        let mut keys = Vec::with_capacity(page.found.len());
        for item in page.found {
            keys.push(Key { pk: must_text(&item, "pk")?.to_owned(), sk: must_text(&item, "sk")?.to_owned() });
        }
        Ok(ScanPage { found: keys, next: page.next })
    }

    /// Reads one page of a segment of the table: the items whose partition begins with one of `prefixes`.
    /// `projection` names the attributes to read; `None` for all. `start` is as in [`Table::scan_page`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn scan_items(
        &self,
        prefixes: &[&str],
        start: Option<Item>,
        segment: ScanSegment,
        projection: Option<&str>,
    ) -> Result<ScanPage<Item>, StoreError> {
        let filter: Vec<String> = (0..prefixes.len()).map(|at| format!("begins_with(pk, :p{at})")).collect();
        let value =
            |(at, prefix): (usize, &&str)| (format!(":p{at}"), AttributeValue::S((*prefix).to_owned()));
        let round = self.meter.begin();
        let answer = self
            .client
            .scan()
            .table_name(&*self.name)
            .filter_expression(filter.join(" OR "))
            .set_expression_attribute_values(Some(prefixes.iter().enumerate().map(value).collect()))
            .set_projection_expression(projection.map(str::to_owned))
            .segment(segment.number)
            .total_segments(segment.total)
            .set_exclusive_start_key(start)
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .boxed()
            .await
            .map_err(error::read)?;
        self.spent(round, Direction::Read, answer.consumed_capacity());
        Ok(ScanPage { found: answer.items.unwrap_or_default(), next: answer.last_evaluated_key })
    }

    /// Counts the items in a partition, without fetching them.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn count(&self, pk: &str) -> Result<u64, StoreError> {
        let (mut total, mut range) = (0, Range::default());
        loop {
            let page = self.count_page(pk, &range).await?;
            total += page.count;
            range.after = page.next;
            if range.after.is_none() {
                return Ok(total);
            }
        }
    }

    /// Counts the items in one page of a partition, without fetching them.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn count_page(&self, pk: &str, range: &Range) -> Result<CountPage, StoreError> {
        let (answer, next) = self.query_page(pk, range, Some(Select::Count)).await?;
        Ok(CountPage { count: u64::try_from(answer.count).unwrap_or(0), next })
    }

    /// Writes one item without a condition, in place of an item that is there. Only for items that may be
    /// lost or written twice, such as page checkpoints.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if a transaction on the item was under way at every attempt;
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn put(&self, key: &Key, attributes: Item) -> Result<(), StoreError> {
        let mut item = with_key(key);
        item.extend(attributes);
        let mut attempts = Attempts::new(TRANSACTION_RETRIES);
        while attempts.start_next().await {
            match self.put_once(item.clone()).await {
                Err(StoreError::Conflict) => {}
                outcome => return outcome,
            }
        }
        Err(StoreError::Conflict)
    }

    async fn put_once(&self, item: Item) -> Result<(), StoreError> {
        let round = self.meter.begin();
        let answer = self
            .client
            .put_item()
            .table_name(&*self.name)
            .set_item(Some(item))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .boxed()
            .await
            .map_err(error::read)?;
        self.spent(round, Direction::Write, answer.consumed_capacity());
        Ok(())
    }

    /// Writes all actions in one transaction, or none of them. There are at most 100.
    ///
    /// `actions` makes the actions of each attempt. So an attempt after a conflict can take another counter
    /// shard. If an answer is lost, the SDK sends the same request and token again, and DynamoDB applies
    /// the transaction once.
    ///
    /// # Errors
    /// - [`StoreError::Refused`] with the meaning of each failed condition.
    /// - [`StoreError::Conflict`] or [`StoreError::Throttled`] if every attempt was cancelled.
    /// - [`StoreError::TransactionTooLarge`], [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn transact(&self, actions: impl Fn() -> Vec<Action> + Send) -> Result<(), StoreError> {
        let mut last = StoreError::Conflict;
        let mut attempts = Attempts::new(TRANSACTION_RETRIES);
        while attempts.start_next().await {
            match self.transact_once(actions()).await {
                Err(passing @ (StoreError::Conflict | StoreError::Throttled)) => last = passing,
                outcome => return outcome,
            }
        }
        Err(last)
    }

    /// Writes items in one transaction, and does not try again.
    ///
    /// # Errors
    /// As [`Table::transact`].
    pub async fn transact_once(&self, actions: Vec<Action>) -> Result<(), StoreError> {
        if actions.len() > MAX_ACTIONS_PER_TX {
            return Err(StoreError::Broken(format!("{} actions in one transaction", actions.len())));
        }
        let meaning: Vec<Option<Refusal>> = actions.iter().map(|action| action.meaning.clone()).collect();
        let body = transaction::body(&actions, &self.name, &Uuid::now_v7().to_string())?;
        drop(actions);
        let round = self.meter.begin();
        // With a token here, the SDK does not make one: the body has its own.
        let call = self.client.transact_write_items().client_request_token(String::new()).send().boxed();
        let answer = sdk::with_body(body, call).await;
        match answer {
            Ok(answer) => {
                self.spent(round, Direction::Write, answer.consumed_capacity());
                Ok(())
            }
            Err(failed) => {
                self.meter.end(round, Direction::Write, 0.0);
                Err(error::read_transaction(failed, &meaning))
            }
        }
    }
}
