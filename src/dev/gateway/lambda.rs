//! A function as the gateway sees it: an event in, an answer out, and the ways in which that fails.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::Value;

use crate::limits::INTEGRATION_TIMEOUT;

type Invocation = Pin<Box<dyn Future<Output = Result<Value, String>> + Send>>;

/// Why a function gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It ended with this error text.
    Error(String),
    /// It panicked.
    Crashed,
    /// It took longer than API Gateway waits.
    TimedOut,
}

/// A Lambda function's code in this process.
#[derive(Clone)]
pub struct Lambda(Arc<dyn Fn(Value) -> Invocation + Send + Sync>);

impl Lambda {
    /// Wraps the code of a function.
    pub fn new<Code, Answer, Error>(code: Code) -> Self
    where
        Code: Fn(Value) -> Answer + Send + Sync + 'static,
        Answer: Future<Output = Result<Value, Error>> + Send + 'static,
        Error: Display,
    {
        Self(Arc::new(move |event| {
            let answer = code(event);
            Box::pin(async move { answer.await.map_err(|error| error.to_string()) })
        }))
    }

    /// Runs the code in a task of its own, so that a panic ends the call and not the server.
    /// As on AWS, a call that takes too long goes on without anyone waiting for it.
    pub async fn invoke(&self, event: Value) -> Result<Value, Fault> {
        let code = Arc::clone(&self.0);
        let task = tokio::spawn(async move { code(event).await });
        match tokio::time::timeout(INTEGRATION_TIMEOUT, task).await {
            Ok(Ok(answer)) => answer.map_err(Fault::Error),
            Ok(Err(_)) => Err(Fault::Crashed),
            Err(_) => Err(Fault::TimedOut),
        }
    }
}

/// Where the gateway reads the time.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    /// The clock of the machine.
    pub fn system() -> Self {
        Self::new(SystemTime::now)
    }

    /// A clock that shows what this function says.
    pub fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time.
    pub fn now(&self) -> SystemTime {
        (self.0)()
    }
}
