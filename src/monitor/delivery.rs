//! How far the feed, the event bus and the webhooks are behind.

use crate::log::metrics::Metric;
use crate::store::call::Table;
use crate::store::error::StoreError;
use crate::store::feed::consumer::{BUS, ConsumerState};
use crate::store::feed::lag::{consumer_seconds_behind, seconds_behind};
use crate::store::feed::reader::FeedReader;
use crate::store::webhook::Webhook;

/// Measures the feed and its consumers. A deployment without a bus or without webhooks has no metric of them: each one
/// costs.
///
/// # Errors
/// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`], [`StoreError::Broken`].
pub async fn measure(table: &Table, has_bus: bool) -> Result<Vec<(Metric, f64)>, StoreError> {
    let reader = FeedReader::open(table).await?;
    let (feed, consumers, webhooks) =
        tokio::try_join!(seconds_behind(table), ConsumerState::list(table), Webhook::list(table))?;
    let mut measured = vec![(Metric::FeedLagSeconds, feed as f64)];
    if has_bus {
        let position = consumers.iter().find(|consumer| consumer.name == BUS).map(|bus| bus.position.clone());
        let lag = consumer_seconds_behind(&reader, &position.unwrap_or_else(|| reader.oldest())).await?;
        measured.push((Metric::BusLagSeconds, lag as f64));
    }
    if !webhooks.is_empty() {
        let (disabled, enabled): (Vec<_>, Vec<_>) =
            webhooks.iter().partition(|webhook| webhook.disabled.is_some());
        let mut slowest = 0;
        for consumer in &consumers {
            if enabled.iter().any(|webhook| webhook.id == consumer.name) {
                slowest = slowest.max(consumer_seconds_behind(&reader, &consumer.position).await?);
            }
        }
        measured.push((Metric::WebhookLagSeconds, slowest as f64));
        measured.push((Metric::DisabledWebhooks, disabled.len() as f64));
    }
    Ok(measured)
}
