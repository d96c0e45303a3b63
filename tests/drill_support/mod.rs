//! What the drills share: an identity provider, a mirror of the application, and the tool.
#![allow(dead_code, clippy::expect_used, clippy::unwrap_used, clippy::panic)]

pub mod alarms;
pub mod identity_provider;
pub mod mirror;
pub mod plan;
pub mod served;

use std::process::Command;

use serde_json::Value;

use crate::support::dev::TOOL;

/// What a command of the tool printed, and its exit status.
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Asserts that the command succeeded; what it printed.
    #[track_caller]
    pub fn good(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self.out
    }

    /// The same as JSON.
    #[track_caller]
    pub fn json(self) -> Value {
        serde_json::from_str(&self.good()).expect("JSON")
    }
}

/// The operator's tool on a table of this machine.
pub struct Tool {
    pub endpoint: String,
}

impl Tool {
    /// Runs the tool. The words of the command are separated by spaces.
    pub fn run(&self, command: &str) -> Ran {
        self.run_with(command, &[])
    }

    /// The same with these variables.
    pub fn run_with(&self, command: &str, variables: &[(&str, &str)]) -> Ran {
        let mut tool = Command::new(TOOL);
        tool.envs(variables.iter().copied());
        tool.args(command.split(' '));
        tool.args(["--table", crate::support::TABLE, "--endpoint-url", &self.endpoint]);
        let output = tool.env("AWS_EC2_METADATA_DISABLED", "true").output().expect("the tool");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        println!("    $ rollcall {command}");
        Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}
