//! `GET /status`: where the feed stands.

use http::StatusCode;
use lambda_http::{Body, Response};
use serde_json::{Value, json};

use super::problem::ProblemDetails;
use super::request::{AppRequest, json};
use crate::limits::{RENEWED_FEED_STEP, SNAPSHOT_DISTANCE};
use crate::store::feed::consumer::ConsumerState;
use crate::store::feed::lag::seconds_behind;
use crate::store::feed::reader::FeedReader;

/// Answers the position for a snapshot, the newest and the oldest change, and how far the feed is behind.
///
/// # Errors
/// 503 if the table does not answer; 500 if an item cannot be read.
pub async fn status(app: &AppRequest<'_>) -> Result<Response<Body>, ProblemDetails> {
    let reader = FeedReader::open(app.table).await?;
    let (snapshot, end, lag, consumers) = tokio::try_join!(
        reader.snapshot(SNAPSHOT_DISTANCE),
        reader.end(),
        seconds_behind(app.table),
        ConsumerState::list(app.table),
    )?;
    let deliveries = consumers.iter().map(|consumer| describe_delivery(consumer, end.next));
    let deliveries: Vec<Value> = deliveries.collect();
    // The table may still have a page whose retention has ended.
    let newest = match reader.last_page(end).await?.filter(|page| page.last >= reader.state.floor) {
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

/// How far the bus or a webhook is, and why it failed last. `next` is the number of the next change. A renewal of the feed
/// leaves out numbers, so changes from before the last one are not counted.
fn describe_delivery(consumer: &ConsumerState, next: u64) -> Value {
    let first = (next - next % RENEWED_FEED_STEP).max(1);
    json!({
        "name": consumer.name,
        "seq": consumer.position.seq,
        "changesBehind": next.saturating_sub(consumer.position.seq.max(first - 1) + 1),
        "lastSuccess": consumer.last_success,
        "lastError": consumer.problem(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::feed::reader::FeedPosition;

    #[test]
    fn numbers_that_a_renewal_left_out_are_not_behind() {
        const STEP: u64 = RENEWED_FEED_STEP;
        for (taken, next, behind) in [
            (0, 1, 0),
            (0, 8, 7),
            (5, 8, 2),
            (7, 8, 0),
            (7, STEP, 0),
            (7, STEP + 2, 2),
            (STEP, STEP + 2, 1),
            (STEP + 5, 3 * STEP + 1, 1),
        ] {
            let position = FeedPosition { feed: "f".to_owned(), seq: taken };
            let shown = describe_delivery(&ConsumerState::new("bus", position), next);
            assert_eq!(shown["changesBehind"], behind, "{taken} {next}");
        }
    }
}
