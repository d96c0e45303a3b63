//! The command line: the options of every command, how a command runs, and the commands on tenants, on
//! bearer keys, on clients, on application keys, on webhooks and on users. The other commands are in the files of `admin`
//! that they call.

pub mod application;
pub mod client;
pub(crate) mod complete;
pub mod key;
pub mod options;
pub(crate) mod parse;
pub(super) mod resolve;
pub(super) mod resolve_change;
pub(crate) mod runtime;
pub mod tenant;
pub mod user;
pub mod webhook;

pub use options::GlobalOptions;
pub(super) use runtime::{CommandOutput, finish};
