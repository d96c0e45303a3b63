//! Panics. A panic is logged as its place in the code. Its text is not logged, because it may hold a value.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

use futures_util::FutureExt as _;
use serde_json::{Value, json};

use super::ids::RequestIds;
use super::metrics::{LineMetrics, Metric};
use super::output;
use crate::clock;

tokio::task_local! {
    /// Where the task panicked whose panics [`catch`] catches.
    static CAUGHT: RefCell<Option<String>>;
}

/// Has panics logged from now on.
pub fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| std::panic::set_hook(Box::new(note)));
}

/// Notes the place for [`catch`], whose caller logs it. Logs a panic that ends the task or the process.
fn note(info: &PanicHookInfo<'_>) {
    let place = info.location().map_or_else(|| "unknown".to_owned(), ToString::to_string);
    let is_caught =
        cfg!(panic = "unwind") && CAUGHT.try_with(|caught| caught.replace(Some(place.clone()))).is_ok();
    if !is_caught {
        output::write(&line(&place, output::stack(), output::function()));
    }
}

/// The line of a panic that no request catches.
fn line(place: &str, stack: Option<&str>, function: &str) -> Value {
    let (timestamp, level) = (clock::timestamp(), "ERROR");
    let mut line = json!({ "timestamp": timestamp, "level": level, "message": "panic", "panic": place });
    RequestIds::current().add_to(&mut line);
    if let Some(stack) = stack {
        count(LineMetrics::new(stack), function).add_to(&mut line);
    }
    line
}

/// Counts a panic of a function.
#[must_use]
pub fn count(metrics: LineMetrics, function: &str) -> LineMetrics {
    metrics.add(&[("Function", function)], &[(Metric::Panics, 1.0)])
}

/// Runs a task to its end. If it panics, the error is the place.
///
/// # Errors
/// The place in the code where the task panicked.
pub async fn catch<F: Future>(task: F) -> Result<F::Output, String> {
    let caught = async {
        let outcome = AssertUnwindSafe(task).catch_unwind().await;
        outcome.map_err(|_| CAUGHT.with(RefCell::take).unwrap_or_else(|| "unknown".to_owned()))
    };
    CAUGHT.scope(RefCell::default(), caught).await
}
