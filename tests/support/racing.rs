//! Requests at once.
#![allow(dead_code, clippy::expect_used)]

use std::time::Duration;

use tokio::task::JoinSet;

/// How often each race is run. Twelve rounds have each order and delay once. `make test-long` sets RACE_ROUNDS=200.
pub fn rounds() -> usize {
    let asked = std::env::var("RACE_ROUNDS").ok();
    asked.map_or(60, |text| text.parse().expect("RACE_ROUNDS is a number"))
}

/// The statuses of the answers, in order.
pub async fn statuses(tasks: JoinSet<u16>) -> Vec<u16> {
    let mut statuses = tasks.join_all().await;
    statuses.sort_unstable();
    statuses
}

/// Sends two requests. By turns one is some milliseconds ahead, both start at once, or one is answered before the
/// other is sent. So both orders occur, also on a slow machine.
pub async fn race<T>(round: usize, one: impl Future<Output = T>, other: impl Future<Output = T>) -> (T, T) {
    let one_is_first = !round.is_multiple_of(2);
    // Boxed, since requests are large and tests have little stack.
    let (one, other) = (Box::pin(one), Box::pin(other));
    let Some(ahead) = [Some(0), Some(0), Some(1), Some(2), Some(4), None][round / 2 % 6] else {
        if one_is_first {
            let first = one.await;
            return (first, other.await);
        }
        let first = other.await;
        return (one.await, first);
    };
    let late = async |is_late: bool| {
        if is_late && ahead > 0 {
            tokio::time::sleep(Duration::from_millis(ahead)).await;
        }
    };
    let one = async {
        late(!one_is_first).await;
        one.await
    };
    let other = async {
        late(one_is_first).await;
        other.await
    };
    tokio::join!(one, other)
}
