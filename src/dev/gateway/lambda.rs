//! A function as the gateway sees it: an event in, an answer out, and the ways in which that fails.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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
    /// Too many calls were running, and none of them ended soon enough.
    Busy,
}

/// A Lambda function's code in this process.
#[derive(Clone)]
pub struct Lambda {
    code: Arc<dyn Fn(Value) -> Invocation + Send + Sync>,
    /// The calls that may run at once; `None` for any number.
    turns: Option<Turns>,
}

/// The turns of the calls of a function, and how long a call waits for one.
#[derive(Clone)]
struct Turns {
    free: Arc<Semaphore>,
    wait: Duration,
}

impl Turns {
    async fn take(&self) -> Result<OwnedSemaphorePermit, Fault> {
        let turn = tokio::time::timeout(self.wait, Arc::clone(&self.free).acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or(Fault::Busy)
    }
}

impl Lambda {
    /// Wraps the code of a function.
    pub fn new<Code, Answer, Error>(code: Code) -> Self
    where
        Code: Fn(Value) -> Answer + Send + Sync + 'static,
        Answer: Future<Output = Result<Value, Error>> + Send + 'static,
        Error: Display,
    {
        let code = move |event| -> Invocation {
            let answer = code(event);
            Box::pin(async move { answer.await.map_err(|error| error.to_string()) })
        };
        Self { code: Arc::new(code), turns: None }
    }

    /// The same function, of which at most so many calls run at once. The others wait so long for their turn.
    #[must_use]
    pub fn at_most(self, calls: usize, wait: Duration) -> Self {
        let free = Arc::new(Semaphore::new(calls));
        Self { turns: Some(Turns { free, wait }), ..self }
    }

    /// Runs the code in a task of its own, so that a panic ends the call and not the server.
    /// As on AWS, a call that takes too long goes on without anyone waiting for it.
    ///
    /// # Errors
    /// [`Fault`]: how the call failed.
    pub async fn invoke(&self, event: Value) -> Result<Value, Fault> {
        let turn = match &self.turns {
            Some(turns) => Some(turns.take().await?),
            None => None,
        };
        let code = Arc::clone(&self.code);
        let task = tokio::spawn(async move {
            let answer = code(event).await;
            // A call that nobody waits for any more takes its turn until it ends.
            drop(turn);
            answer
        });
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use serde_json::json;

    use super::*;

    /// A function whose calls end when the gate has a permit for each, and the most calls that ran at once.
    fn gated(gate: &Arc<Semaphore>) -> (Lambda, Arc<AtomicUsize>) {
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (gate, seen) = (gate.clone(), most.clone());
        let lambda = Lambda::new(move |event: Value| {
            let (gate, running, seen) = (gate.clone(), running.clone(), seen.clone());
            async move {
                seen.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                gate.acquire().await.map_err(|error| error.to_string())?.forget();
                running.fetch_sub(1, Ordering::SeqCst);
                Ok::<_, String>(event)
            }
        });
        (lambda, most)
    }

    #[tokio::test]
    async fn calls_wait_for_their_turn() {
        let gate = Arc::new(Semaphore::new(0));
        let (lambda, most) = gated(&gate);
        let lambda = lambda.at_most(2, Duration::from_secs(60));
        let calls = join_all((0..8).map(|n| lambda.invoke(json!(n))));
        let opened = async {
            for _ in 0..8 {
                tokio::time::sleep(Duration::from_millis(2)).await;
                gate.add_permits(1);
            }
        };
        let (answers, ()) = tokio::join!(calls, opened);
        assert!(answers.iter().all(Result::is_ok));
        assert_eq!(most.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn calls_do_not_wait_for_ever() {
        let gate = Arc::new(Semaphore::new(0));
        let (lambda, _) = gated(&gate);
        let lambda = lambda.at_most(2, Duration::from_millis(20));
        let held: Vec<_> = (0..2)
            .map(|n| {
                let lambda = lambda.clone();
                tokio::spawn(async move { lambda.invoke(json!(n)).await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert_eq!(lambda.invoke(json!(3)).await, Err(Fault::Busy));
        gate.add_permits(3);
        for call in held {
            assert!(call.await.unwrap().is_ok());
        }
        assert!(lambda.invoke(json!(4)).await.is_ok(), "the turns are free again");
    }
}
