//! Logs of the tool: on stderr, as JSON where a program reads them.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::http::log::{self, LogFormat};

/// What is logged unless `ROLLCALL_LOG` says otherwise. The embedded DynamoDB would log every condition that does
/// not hold as a warning; the code above it says what is wrong.
/// The authorizer's decisions stand in the lines of the requests.
const FILTER: &str = "warn,rollcall=info,rollcall::auth=warn,dynoxide=error";

/// Starts logging. `ROLLCALL_LOG` sets what is logged, as for the functions; a second start does nothing.
pub fn start(json: bool) {
    log::init(if json { LogFormat::Json } else { LogFormat::Text });
    let filter = EnvFilter::try_from_env("ROLLCALL_LOG").unwrap_or_else(|_| EnvFilter::new(FILTER));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match json {
        true => builder.json().flatten_event(true).try_init(),
        false => builder.with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init(),
    };
    // Someone else's subscriber, as in tests, stays.
    started.unwrap_or_default();
}
