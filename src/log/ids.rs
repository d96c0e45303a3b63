//! The ids by which a log line is found.

use serde_json::Value;

tokio::task_local! {
    /// The ids of the request that this task answers.
    static CURRENT: RequestIds;
}

/// The ids of a request. An empty one is unknown, and no line has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestIds {
    /// API Gateway's `requestId`, which the answer carries as `x-amzn-RequestId`. A caller can choose it.
    pub request: String,
    /// API Gateway's `extendedRequestId`, which the answer carries as `x-amz-apigw-id`. A caller cannot choose it.
    pub extended: String,
    /// Lambda's id of the invocation. A caller cannot choose it.
    pub lambda: String,
}

impl RequestIds {
    /// The ids of an invocation that did not come through API Gateway.
    pub fn of_invocation(id: &str) -> Self {
        Self { lambda: id.to_owned(), ..Self::default() }
    }

    /// The ids of the request that this task answers.
    pub fn current() -> Self {
        CURRENT.try_with(Self::clone).unwrap_or_default()
    }

    /// Runs a task that answers this request: its lines carry these ids.
    pub async fn scope<F: Future>(self, task: F) -> F::Output {
        CURRENT.scope(self, task).await
    }

    /// Adds the ids to a line.
    pub fn add_to(&self, line: &mut Value) {
        let ids = [
            ("request_id", &self.request),
            ("extended_request_id", &self.extended),
            ("lambda_request_id", &self.lambda),
        ];
        for (name, id) in ids.into_iter().filter(|(_, id)| !id.is_empty()) {
            line[name] = id.as_str().into();
        }
    }
}
