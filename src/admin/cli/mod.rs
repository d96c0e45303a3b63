//! The command line: the options of every command, how a command runs, and the commands on tenants, on
//! bearer keys, on clients and on application keys. The other commands are in the files of `admin` that they call.

pub mod application;
pub mod client;
pub mod key;
pub mod options;
mod parse;
pub(super) mod runtime;
pub mod tenant;
pub mod webhook;

pub use options::GlobalOptions;
pub(super) use runtime::{CommandOutput, finish};
