//! Logs of the tool: on stderr, as JSON where a program reads them.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config;
use crate::log::{self, LogFormat, lines};

/// What is logged unless `ROLLCALL_LOG` says otherwise. The embedded DynamoDB would log every condition that does
/// not hold as a warning; the code above it says what is wrong.
/// The authorizer's decisions stand in the lines of the requests.
const FILTER: &str = "warn,rollcall=info,rollcall::auth=warn,dynoxide=error";

/// Starts logging. `ROLLCALL_LOG` sets what is logged, as for the functions; a second start does nothing.
pub fn start(json: bool) {
    log::init(if json { LogFormat::Json } else { LogFormat::Text });
    let filter = std::env::var(config::LOG).unwrap_or_else(|_| FILTER.to_owned());
    if json {
        lines::start(std::io::stderr, &filter);
        return;
    }
    let builder =
        tracing_subscriber::fmt().with_env_filter(EnvFilter::new(filter)).with_writer(std::io::stderr);
    // Someone else's subscriber, as in tests, stays.
    drop(builder.with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init());
}
