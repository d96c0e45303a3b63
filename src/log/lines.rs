//! What the code logs with `tracing`, as flat JSON lines.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::ids::RequestIds;
use crate::clock;

/// Starts to write what `filter` lets pass. Does nothing if someone else logs already, as in a test.
pub fn start<W>(writer: W, filter: Targets)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().event_format(JsonLines).with_writer(writer);
    drop(tracing_subscriber::registry().with(layer).with(filter).try_init());
}

/// One line for each event: `timestamp`, `level`, the fields of the event, and the ids of the request.
struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'l> LookupSpan<'l>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = event.metadata().level().as_str();
        let mut fields = LineFields::default();
        event.record(&mut fields);
        let line = EventLine { timestamp: clock::timestamp(), level, fields, ids: RequestIds::current() };
        writeln!(writer, "{}", serde_json::to_string(&line).map_err(|_| fmt::Error)?)
    }
}

/// The line of an event, whose message is one of its fields.
#[derive(Serialize)]
struct EventLine {
    timestamp: String,
    level: &'static str,
    #[serde(flatten)]
    fields: LineFields,
    #[serde(flatten)]
    ids: RequestIds,
}

/// The fields of an event.
#[derive(Default, Serialize)]
struct LineFields(Map<String, Value>);

impl Visit for LineFields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use serde_json::json;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("a lock").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_has_a_timestamp_a_level_its_fields_and_the_ids() {
        let written = Written::default();
        let writer = written.clone();
        let layer =
            tracing_subscriber::fmt::layer().event_format(JsonLines).with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(layer);
        let ids = RequestIds {
            request: "chosen".to_owned(),
            extended: "e=".to_owned(),
            lambda: "00000000-0000-4000-8000-000000000000".to_owned(),
        };
        let task = ids.scope(async {
            let (key_id, none) = ("key_1", None::<&str>);
            tracing::warn!(count = 3_u64, error = %"it \"broke\"", key_id, none, fast = true, "a failure");
        });
        tracing::subscriber::with_default(subscriber, || futures_util::FutureExt::now_or_never(task))
            .expect("no pause");
        let text = String::from_utf8(written.0.lock().expect("a lock").clone()).expect("UTF-8");
        let mut line: Value = serde_json::from_str(&text).expect("one JSON line");
        let timestamp = line["timestamp"].take();
        assert!(timestamp.as_str().is_some_and(|time| time.ends_with('Z')), "{timestamp}");
        let expected = json!({
            "timestamp": null, "level": "WARN", "message": "a failure", "count": 3, "error": "it \"broke\"",
            "key_id": "key_1", "fast": true, "request_id": "chosen", "extended_request_id": "e=",
            "lambda_request_id": "00000000-0000-4000-8000-000000000000"
        });
        assert_eq!(line, expected);
    }
}
