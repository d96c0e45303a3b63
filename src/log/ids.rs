//! The ids by which a log line is found.

use serde::Serialize;

tokio::task_local! {
    /// The ids of the request that this task answers.
    static CURRENT: RequestIds;
}

/// The ids of a request. An empty one is unknown, and no line has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RequestIds {
    /// API Gateway's `requestId`, which the answer carries as `x-amzn-RequestId`. A caller can choose it.
    #[serde(rename = "request_id", skip_serializing_if = "String::is_empty")]
    pub request: String,
    /// API Gateway's `extendedRequestId`, which the answer carries as `x-amz-apigw-id`. A caller cannot choose it.
    #[serde(rename = "extended_request_id", skip_serializing_if = "String::is_empty")]
    pub extended: String,
    /// Lambda's id of the invocation. A caller cannot choose it.
    #[serde(rename = "lambda_request_id", skip_serializing_if = "String::is_empty")]
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
}
