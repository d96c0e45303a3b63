//! `GET /status`: where the feed stands.

use futures_util::future::try_join_all;
use http::StatusCode;
use lambda_http::{Body, Response};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::problem::ProblemDetails;
use super::request::{AppRequest, json};
use crate::clock;
use crate::limits::{OUTBOX_ITEMS_FOR_LAG, OUTBOX_SHARDS, SNAPSHOT_DISTANCE};
use crate::store::call::{Range, Table};
use crate::store::error::StoreError;
use crate::store::feed::consumer::ConsumerState;
use crate::store::feed::outbox::QueuedChange;
use crate::store::feed::reader::FeedReader;
use crate::store::keys;

/// Answers the position for a snapshot, the newest and the oldest change, and how far the feed is behind.
///
/// # Errors
/// Those of the table.
pub async fn status(app: &AppRequest<'_>) -> Result<Response<Body>, ProblemDetails> {
    let reader = FeedReader::open(app.table).await?;
    let (snapshot, end, lag, consumers) = tokio::try_join!(
        reader.snapshot(SNAPSHOT_DISTANCE),
        reader.end(),
        seconds_behind(app.table),
        ConsumerState::list(app.table),
    )?;
    let deliveries = consumers.iter().map(|consumer| describe_delivery(consumer, end.next - 1));
    let deliveries: Vec<Value> = deliveries.collect();
    let newest = match reader.last_page(end).await? {
        Some(page) => page.changes()?.pop(),
        None => None,
    };
    let body = json!({
        "snapshot": snapshot.to_text(),
        "newest": newest.map(|change| json!({
            "seq": change.seq, "time": change.time, "position": reader.at(change.seq).to_text(),
        })),
        "oldest": { "seq": reader.state.floor, "position": reader.oldest().to_text() },
        "lagSeconds": lag,
        "deliveries": deliveries,
    });
    Ok(json(StatusCode::OK, &body))
}

/// How far the bus or a webhook is, and why it failed last. `last` is the number of the newest change.
fn describe_delivery(consumer: &ConsumerState, last: u64) -> Value {
    json!({
        "name": consumer.name,
        "seq": consumer.position.seq,
        "changesBehind": last.saturating_sub(consumer.position.seq),
        "lastSuccess": consumer.last_success,
        "lastError": consumer.last_error,
    })
}

/// The age of the oldest change that is not in the feed yet, among the first ones of each part of the outbox;
/// 0 if there is none.
async fn seconds_behind(table: &Table) -> Result<u64, StoreError> {
    let range = Range { limit: Some(OUTBOX_ITEMS_FOR_LAG), ..Range::default() };
    let shards: Vec<String> = (0..OUTBOX_SHARDS).map(keys::outbox_shard).collect();
    let pages = try_join_all(shards.iter().map(|shard| table.query(shard, &range))).await?;
    let mut oldest: Option<OffsetDateTime> = None;
    for item in pages.iter().flat_map(|page| &page.items) {
        let change = QueuedChange::from_item(item)?.change;
        let time = change.and_then(|change| OffsetDateTime::parse(&change.time, &Rfc3339).ok());
        oldest = [oldest, time].into_iter().flatten().min();
    }
    let age = oldest.map(|time| (clock::now() - time).whole_seconds());
    Ok(age.and_then(|age| u64::try_from(age).ok()).unwrap_or(0))
}
