//! The calls that an operation of the function makes, as they were sent.

use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::bare::BareCall;
use crate::faults::{Fate, Proxy};

/// A call as it was sent: the operation and the body.
pub type Sent = (String, Value);

/// The calls that pass a proxy.
pub struct Recorder {
    sent: Arc<Mutex<Vec<Sent>>>,
    /// Where the function finds the table.
    pub endpoint: String,
}

impl Recorder {
    /// A recorder before this table.
    pub async fn before(endpoint: &str) -> Self {
        let proxy = Proxy::before(endpoint).await;
        let sent: Arc<Mutex<Vec<Sent>>> = Arc::default();
        let noting = sent.clone();
        proxy.decide(move |call| {
            noting.lock().expect("a lock").push((call.operation.clone(), call.body.clone()));
            Fate::Pass
        });
        Self { sent, endpoint: proxy.endpoint }
    }

    /// What was sent since the last time.
    pub fn take(&self) -> Vec<Sent> {
        std::mem::take(&mut self.sent.lock().expect("a lock"))
    }
}

/// Makes a recorded call again for another resource: each text that was said of the one becomes that of the other.
pub fn again(client: &aws_sdk_dynamodb::Client, sent: &[Sent], other: &[(String, String)]) -> Vec<BareCall> {
    let other = other.iter().filter(|(from, _)| !from.is_empty());
    let renamed = |body: &Value| {
        let text = other.clone().fold(body.to_string(), |text, (from, to)| text.replace(from.as_str(), to));
        serde_json::from_str(&text).expect("JSON")
    };
    sent.iter().map(|(operation, body)| BareCall::new(client, operation, renamed(body))).collect()
}
