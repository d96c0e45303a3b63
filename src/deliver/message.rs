//! The messages to webhooks.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};

use crate::limits::{MAX_WEBHOOK_BODY_BYTES, MAX_WEBHOOK_CHANGES};
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
    /// Its state now. `null` if it is gone or hidden.
    State(Value),
}

/// Reads the resources of changes.
pub trait ResourceReader: Send + Sync {
    /// Reads the resource of each change, in the order of the changes. No state is older than its change.
    fn read<'r>(
        &'r self,
        changes: &'r [FeedChange],
    ) -> BoxFuture<'r, Result<Vec<ChangedResource>, StoreError>>;
}

/// Leaves out all resources.
#[derive(Clone, Copy, Debug)]
pub struct NoResources;

impl ResourceReader for NoResources {
    fn read<'r>(
        &'r self,
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

/// The body of a message. Resources that would make it too large are left out, the last ones first.
///
/// # Errors
/// [`StoreError::Broken`] if a change cannot be written as JSON.
pub fn body(
    changes: &[FeedChange],
    resources: Vec<ChangedResource>,
    next: &FeedPosition,
) -> Result<Bytes, StoreError> {
    let broken = |failed: serde_json::Error| StoreError::Broken(failed.to_string());
    let mut bytes = ENVELOPE_BYTES + changes.iter().map(|change| json_bytes(change) + 1).sum::<usize>();
    let mut resources = resources.into_iter();
    let mut rows = Vec::with_capacity(changes.len());
    for change in changes {
        let mut row: Map<String, Value> = match serde_json::to_value(change).map_err(broken)? {
            Value::Object(row) => row,
            _ => Map::new(),
        };
        if let Some(ChangedResource::State(state)) = resources.next() {
            let size = json_bytes(&state) + r#","resource":"#.len();
            if bytes + size <= MAX_WEBHOOK_BODY_BYTES {
                bytes += size;
                row.insert("resource".to_owned(), state);
            }
        }
        rows.push(Value::Object(row));
    }
    let message = json!({
        "type": CHANGES,
        "timestamp": changes.last().map(|change| change.time.as_str()),
        "data": { "changes": rows, "next": next.to_text() },
    });
    Ok(serde_json::to_vec(&message).map_err(broken)?.into())
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
            let large = ChangedResource::State(json!({ "x": "x".repeat(20_000) }));
            let body = body(&all[..fitting], vec![large; fitting], &next).expect("a body");
            assert!(body.len() <= MAX_WEBHOOK_BODY_BYTES || bytes > MAX_WEBHOOK_BODY_BYTES);
        }
    }

    #[test]
    fn resources_that_are_too_large_are_left_out() {
        let all = changes(3, 1);
        let next = FeedPosition { feed: "0123456789abcdef".to_owned(), seq: 3 };
        let state = |size| ChangedResource::State(json!("x".repeat(size)));
        let resources = vec![state(10), state(300_000), ChangedResource::State(Value::Null)];
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
