//! Trying again after a conflict: the one loop for every attempt that may succeed the next time.

use std::time::{Duration, Instant};

use super::error::StoreError;
use crate::limits::{BUSY_RETRIES, RetryLimit};

/// The attempts at one piece of work that a conflict may refuse. The body of the loop is one attempt: it
/// returns when it is done or has failed for good, and `continue`s after a conflict. What follows the
/// loop is the error after the last attempt.
///
/// ```ignore
/// let mut attempts = Attempts::new(LARGE_CHANGE_RETRIES);
/// while attempts.start_next().await {
///     let record = self.fetch(kind, id).await?;
///     match self.write(&record).await {
///         Err(StoreError::Refused(_)) => continue,
///         outcome => return outcome,
///     }
/// }
/// Err(StoreError::Conflict)
/// ```
///
/// The loop is the caller's. A function that takes the attempt as an `async` closure does not compile yet:
/// request handlers need a `Send` future, and the compiler cannot prove that of such a closure.
#[derive(Debug)]
pub struct Attempts {
    limit: RetryLimit,
    started: u32,
    /// No further attempt begins after this.
    end: Option<Instant>,
}

impl Attempts {
    /// As many attempts, with such pauses, as `limit` says.
    pub const fn new(limit: RetryLimit) -> Self {
        Self { limit, started: 0, end: None }
    }

    /// The same, but after `time` from now no further attempt begins. So a request is refused before the client stops
    /// waiting for its answer.
    pub fn within(limit: RetryLimit, time: Duration) -> Self {
        Self { end: Some(Instant::now() + time), ..Self::new(limit) }
    }

    /// Starts the next attempt, after a pause if one is due. Returns whether there is one; `false` means
    /// that all attempts were made.
    pub async fn start_next(&mut self) -> bool {
        if self.started >= self.limit.attempts {
            return false;
        }
        if self.started > 0 {
            pause_after(self.limit, self.started).await;
            if self.end.is_some_and(|end| Instant::now() > end) {
                return false;
            }
        }
        self.started += 1;
        true
    }

    /// How many attempts were started, the current one included.
    pub const fn started(&self) -> u32 {
        self.started
    }
}

/// Runs a write again for as long as the table is busy, at most until `until`. Returns whether the
/// write succeeded; `false` means that there was no time left.
///
/// # Errors
/// The errors of the write that waiting does not help against: all but [`StoreError::Conflict`],
/// [`StoreError::Throttled`] and [`StoreError::Unavailable`].
pub(super) async fn retry_while_busy<F>(until: Instant, write: impl Fn() -> F) -> Result<bool, StoreError>
where
    F: Future<Output = Result<(), StoreError>>,
{
    let mut attempts = Attempts::new(BUSY_RETRIES);
    while attempts.start_next().await && Instant::now() < until {
        match write().await {
            Err(StoreError::Conflict | StoreError::Throttled | StoreError::Unavailable(_)) => {}
            outcome => return outcome.map(|()| true),
        }
    }
    Ok(false)
}

/// Waits after `made` attempts, at least 1, before the next one. The time is random, so that writers
/// which met once do not meet again: at most [`RetryLimit::longest_pause_ms`].
pub(super) async fn pause_after(limit: RetryLimit, made: u32) {
    let most = limit.longest_pause_ms(made);
    if most > 0 {
        tokio::time::sleep(Duration::from_millis(random_below(most))).await;
    }
}

/// A random number below `bound`, for pauses and shards.
pub fn random_below(bound: u64) -> u64 {
    rand::random_range(0..bound.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn there_are_as_many_attempts_as_the_limit_says() {
        let mut attempts = Attempts::new(RetryLimit::without_pauses(3));
        let mut made = 0;
        while attempts.start_next().await {
            made += 1;
            assert_eq!(attempts.started(), made);
        }
        assert_eq!(made, 3);
        assert!(!attempts.start_next().await);
    }

    #[tokio::test]
    async fn no_attempt_begins_when_the_time_is_over() {
        let mut attempts = Attempts::within(RetryLimit::without_pauses(3), Duration::ZERO);
        assert!(attempts.start_next().await, "there is always one");
        assert!(!attempts.start_next().await);
    }

    #[test]
    fn a_pause_doubles_up_to_half_a_second() {
        let limit = RetryLimit { attempts: 12, attempts_before_pause: 2, first_pause_ms: 40 };
        let pauses: Vec<u64> = [1, 2, 3, 4, 5, 6, 90].map(|made| limit.longest_pause_ms(made)).into();
        assert_eq!(pauses, [0, 40, 80, 160, 320, 500, 500]);
        assert_eq!(RetryLimit::without_pauses(3).longest_pause_ms(2), 0);
    }
}
