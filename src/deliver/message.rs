//! The messages to webhooks.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use crate::limits::{MAX_WEBHOOK_BODY_BYTES, MAX_WEBHOOK_CHANGES};
use crate::store::call::Table;
use crate::store::error::StoreError;
use crate::store::feed::change::FeedChange;
use crate::store::feed::reader::FeedPosition;

/// The type of a message with changes.
const CHANGES: &str = "rollcall.changes";
/// The bytes of a body that are not changes.
const ENVELOPE_BYTES: usize = 256;

/// The resource of a change.
#[derive(Clone, Debug, PartialEq)]
pub enum ChangedResource {
    /// It is not to be in the message.
    LeftOut,
    /// Its state now, as JSON. `null` if it is gone or hidden.
    State(String),
}

/// Reads the resources of changes.
pub trait ResourceReader: Send + Sync {
    /// Reads the resource of each change, in the order of the changes. No state is older than its change.
    fn read<'r>(
        &'r self,
        table: &'r Table,
        changes: &'r [FeedChange],
    ) -> BoxFuture<'r, Result<Vec<ChangedResource>, StoreError>>;
}

/// Leaves out all resources.
#[derive(Clone, Copy, Debug)]
pub struct NoResources;

impl ResourceReader for NoResources {
    fn read<'r>(
        &'r self,
        _: &'r Table,
        changes: &'r [FeedChange],
    ) -> BoxFuture<'r, Result<Vec<ChangedResource>, StoreError>> {
        Box::pin(async { Ok(vec![ChangedResource::LeftOut; changes.len()]) })
    }
}

/// How many of these changes go into one message.
pub fn count_fitting(changes: &[FeedChange]) -> usize {
    let mut bytes = ENVELOPE_BYTES;
    let fits = |change: &&FeedChange| {
        bytes += json_bytes(change) + 1;
        bytes <= MAX_WEBHOOK_BODY_BYTES
    };
    changes.iter().take(MAX_WEBHOOK_CHANGES).take_while(fits).count().max(1)
}

fn json_bytes(value: &impl serde::Serialize) -> usize {
    serde_json::to_vec(value).map_or(0, |json| json.len())
}

/// The id of the message with these changes. It has no dot, since dots separate the parts of the signed text.
pub fn message_id(webhook: &str, feed: &str, changes: &[FeedChange]) -> String {
    let number = |change: Option<&FeedChange>| change.map_or(0, |change| change.seq);
    format!("msg_{webhook}_{feed}_{}_{}", number(changes.first()), number(changes.last()))
}

/// The body of a message. A resource that would make it too large is left out.
///
/// # Errors
/// [`StoreError::Broken`] if a change cannot be written as JSON.
pub fn body(
    changes: &[FeedChange],
    resources: Vec<ChangedResource>,
    next: &FeedPosition,
) -> Result<Bytes, StoreError> {
    let sizes = changes.iter().map(|change| json_bytes(change) + 1);
    let mut bytes = ENVELOPE_BYTES + sizes.sum::<usize>();
    let mut resources = resources.into_iter();
    let mut rows = Vec::with_capacity(changes.len());
    for change in changes {
        let state = match resources.next() {
            Some(ChangedResource::State(state)) => Some(state),
            Some(ChangedResource::LeftOut) | None => None,
        };
        let size = state.as_ref().map_or(0, |state| state.len() + r#","resource":"#.len());
        let state = state.filter(|_| bytes + size <= MAX_WEBHOOK_BODY_BYTES);
        bytes += state.as_ref().map_or(0, |_| size);
        rows.push(change.json(state.as_deref())?);
    }
    let timestamp = Value::from(changes.last().map(|change| change.time.as_str()));
    let next = Value::from(next.to_text());
    let data = format!(r#"{{"changes":[{}],"next":{next}}}"#, rows.join(","));
    Ok(format!(r#"{{"type":"{CHANGES}","timestamp":{timestamp},"data":{data}}}"#).into())
}

/// The body of a message that only shows whether the receiver answers.
pub fn test_body(time: &str) -> Bytes {
    json!({ "type": "rollcall.test", "timestamp": time, "data": {} }).to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(count: u64, attribute_bytes: usize) -> Vec<FeedChange> {
        let attributes = vec!["x".repeat(attribute_bytes)];
        let change = |seq| FeedChange { seq, attributes: attributes.clone(), ..FeedChange::default() };
        (1..=count).map(change).collect()
    }

    #[test]
    fn a_message_has_at_most_100_changes_and_256_kb() {
        for (count, bytes, expected) in [(3, 10, 3), (150, 10, 100), (100, 10_000, 25), (2, 300_000, 1)] {
            let all = changes(count, bytes);
            let fitting = count_fitting(&all);
            assert_eq!(fitting, expected, "{count} changes of {bytes} bytes");
            let next = FeedPosition { feed: "f".repeat(16), seq: fitting as u64 };
            let large = ChangedResource::State(json!("x".repeat(20_000)).to_string());
            let body = body(&all[..fitting], vec![large; fitting], &next).expect("a body");
            assert!(body.len() <= MAX_WEBHOOK_BODY_BYTES || bytes > MAX_WEBHOOK_BODY_BYTES);
        }
    }

    #[test]
    fn resources_that_are_too_large_are_left_out() {
        let all = changes(3, 1);
        let next = FeedPosition { feed: "0123456789abcdef".to_owned(), seq: 3 };
        let state = |size| ChangedResource::State(json!("x".repeat(size)).to_string());
        let resources = vec![state(10), state(300_000), ChangedResource::State("null".to_owned())];
        let body: Value =
            serde_json::from_slice(&body(&all, resources, &next).expect("a body")).expect("JSON");
        let rows = body["data"]["changes"].as_array().expect("rows");
        assert_eq!(rows[0]["resource"], "xxxxxxxxxx");
        assert!(rows[1].get("resource").is_none());
        assert_eq!(rows[2].get("resource"), Some(&Value::Null));
        assert_eq!(body["data"]["next"], "0123456789abcdef-3");
        assert!(!message_id("wh_1", "0123", &all).contains('.'));
    }
}
