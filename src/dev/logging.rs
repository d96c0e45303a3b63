//! Logs of the tool: on stderr, as JSON where a program reads them.

use std::io::IsTerminal;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config;
use crate::log::{self, LogFormat, lines};

/// What is logged unless `ROLLCALL_LOG` says otherwise. The embedded DynamoDB would log every condition that does
/// not hold as a warning; the code above it says what is wrong.
/// The authorizer's decisions stand in the lines of the requests.
const FILTER: &str = "warn,rollcall=info,rollcall::auth=warn,dynoxide=error";

/// Starts logging. `ROLLCALL_LOG` sets what is logged, as for the functions; a second start does nothing.
pub fn start(json: bool) {
    log::init(if json { LogFormat::Json } else { LogFormat::Text });
    let chosen = std::env::var(config::LOG).ok().and_then(|text| text.parse::<Targets>().ok());
    let filter = chosen.or_else(|| FILTER.parse().ok()).unwrap_or_default();
    if json {
        lines::start(std::io::stderr, filter);
        return;
    }
    let layer = layer().with_writer(std::io::stderr).with_target(false);
    let subscriber = tracing_subscriber::registry().with(layer.with_ansi(std::io::stderr().is_terminal()));
    // Someone else's subscriber, as in tests, stays.
    drop(subscriber.with(filter).try_init());
}
