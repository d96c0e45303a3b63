//! What the worker measures for the metrics of the stack: every minute how far the feed and its consumers are behind,
//! and once a day how many keys end soon.

pub mod delivery;
pub mod expiring_keys;

use std::sync::Mutex;
use std::sync::PoisonError;

use serde_json::Value;
use time::Date;

use crate::clock;
use crate::limits::{EXPIRING_KEYS_HOUR, EXPIRING_KEYS_MINUTES};
use crate::log;
use crate::log::metrics::{self, Metric};
use crate::store::call::Table;
use crate::store::error::StoreError;

/// What measures. It is made once in a process.
#[derive(Debug)]
pub struct Monitor {
    has_bus: bool,
    /// The day on which this process last counted the keys that end soon.
    counted: Mutex<Option<Date>>,
}

impl Monitor {
    /// What measures a deployment with or without an event bus.
    pub fn new(has_bus: bool) -> Self {
        Self { has_bus, counted: Mutex::default() }
    }

    /// Measures after a run of the worker, if the run was that of a minute and the log carries metrics. A measurement
    /// that fails is logged, and does not fail the run.
    pub async fn measure_after(&self, table: &Table, event: &Value) {
        if event.get("Records").is_some() || log::stack().is_none() {
            return;
        }
        match self.measure(table).await {
            Ok(measured) => metrics::write("worker", &measured),
            Err(failed) => tracing::error!(error = %failed, "the metrics of the worker were not measured"),
        }
    }

    /// The metrics of this minute.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn measure(&self, table: &Table) -> Result<Vec<(Metric, f64)>, StoreError> {
        let mut measured = delivery::measure(table, self.has_bus).await?;
        let now = clock::now();
        let is_time = now.hour() == EXPIRING_KEYS_HOUR && now.minute() < EXPIRING_KEYS_MINUTES;
        if is_time && *self.counted.lock().unwrap_or_else(PoisonError::into_inner) != Some(now.date()) {
            match expiring_keys::count(table, now).await {
                Ok(keys) => {
                    measured.push((Metric::ExpiringKeys, keys as f64));
                    *self.counted.lock().unwrap_or_else(PoisonError::into_inner) = Some(now.date());
                }
                // The alarms on the other metrics must not miss them.
                Err(failed) => tracing::error!(error = %failed, "the keys that end soon were not counted"),
            }
        }
        Ok(measured)
    }
}
