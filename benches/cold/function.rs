//! The functions that are measured: what each is handed, and one run of one.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::runtime_api::{Moment, RuntimeApi};
use crate::share::ProcessorShare;
use crate::table::{TABLE, TlsTable};

/// The user of the events in `events`.
const USER_OF_EVENTS: &str = "019aaf5c-8b40-7c3e-9d52-6f1b2a3c4d5e";
/// How long a new process waits before it becomes the function, so that it has the whole share of a period.
const BEFORE_START: Duration = Duration::from_millis(60);

/// The bare function, which the others are compared with.
pub const BARE: &str = "bare_function";

/// A function, the file in `events` that it is handed, and what its answer must begin with or have in it.
const EVENTS: [(&str, &str, &str); 8] = [
    (BARE, "users-read", "\"statusCode\":200"),
    ("scim", "users-read", "\"statusCode\":200"),
    ("app_read", "app-read-users-filter", "\"statusCode\":"),
    ("app_manage", "app-manage-key-create", "\"statusCode\":404"),
    ("authorizer", "authorizer-unknown-key", "Deny"),
    ("app_authorizer", "app-authorizer-unknown-key", "Deny"),
    ("token", "token-unknown-client", "\"statusCode\":401"),
    ("worker", "worker-minute", "{"),
];

/// A built function.
pub struct BuiltFunction {
    /// The name of its folder: that of the function, and after a dash that of a variant.
    pub name: String,
    program: PathBuf,
    event: String,
    expected: &'static str,
}

/// What one run found.
pub struct Times {
    /// From the start of the process until it asks for an event.
    pub first_poll: Duration,
    /// Processor time until then.
    pub first_poll_processor: Duration,
    /// From the start of the process until it has answered one.
    pub first_answer: Duration,
    /// Processor time until then.
    pub first_answer_processor: Duration,
    /// The median of the time from an event to its answer, once the process is warm.
    pub warm: Duration,
}

impl BuiltFunction {
    /// Those in a folder, `NAME/bootstrap` or `NAME-VARIANT/bootstrap`, the bare one first.
    ///
    /// # Errors
    /// One line, if there are none, or no bare one.
    pub fn all(folder: &Path, table: &TlsTable) -> Result<Vec<Self>, String> {
        let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort_unstable();
        let mut found: Vec<Self> =
            names.into_iter().filter_map(|name| Self::named(folder, name, table)).collect();
        found.sort_by_key(|function| function.name != BARE);
        if found.first().is_none_or(|first| first.name != BARE) {
            return Err(format!("{} has no {BARE}/bootstrap: run make bench-cold", folder.display()));
        }
        Ok(found)
    }

    fn named(folder: &Path, name: String, table: &TlsTable) -> Option<Self> {
        let program = folder.join(&name).join("bootstrap");
        let function = name.split('-').next()?;
        let (_, file, expected) = EVENTS.into_iter().find(|(known, ..)| *known == function)?;
        program.exists().then(|| Self { program, event: event(file, table), expected, name })
    }

    /// The size of the binary in bytes.
    pub fn size(&self) -> u64 {
        std::fs::metadata(&self.program).expect("a binary").len()
    }

    /// Starts the function, hands it events, and ends it.
    pub async fn run(&self, table: &TlsTable, share: Option<&ProcessorShare>) -> Times {
        let api = RuntimeApi::start(&self.event).await;
        // The shell enters the group and waits. The function takes its place, so it is in the group from its start on.
        let script = "if [ -n \"$0\" ]; then echo $$ > \"$0\"; fi; read go; exec \"$1\"";
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).arg(share.map(ProcessorShare::processes).unwrap_or_default());
        command.arg(&self.program).env_clear().envs(self.variables(&api.address, table));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).kill_on_drop(true);
        let mut process = command.spawn().expect("a shell");
        let mut input = process.stdin.take().expect("its input");
        tokio::time::sleep(BEFORE_START).await;
        let process_id = process.id().expect("a process that runs");
        api.watch(process_id);
        let started = Moment::of_process(process_id);
        input.write_all(b"go\n").await.expect("a shell that waits");
        let seen = api.seen().await;
        process.kill().await.expect("an end");
        assert!(seen.answer.contains(self.expected), "{} answered {}", self.name, seen.answer);
        let mut warm = seen.warm;
        warm.sort_unstable();
        Times {
            first_poll: seen.first_poll.at - started.at,
            first_poll_processor: seen.first_poll.processor - started.processor,
            first_answer: seen.first_answer.at - started.at,
            first_answer_processor: seen.first_answer.processor - started.processor,
            warm: warm[warm.len() / 2],
        }
    }

    /// What Lambda and the template set.
    fn variables(&self, api: &str, table: &TlsTable) -> Vec<(&'static str, String)> {
        let certificates = table.certificates.to_str().expect("a path of text");
        [
            ("AWS_LAMBDA_RUNTIME_API", api),
            ("AWS_LAMBDA_FUNCTION_NAME", &self.name),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "local"),
            ("AWS_SECRET_ACCESS_KEY", "local"),
            ("AWS_SESSION_TOKEN", "local"),
            ("AWS_ENDPOINT_URL_DYNAMODB", &table.endpoint),
            ("SSL_CERT_FILE", certificates),
            ("ROLLCALL_TABLE", TABLE),
            ("ROLLCALL_STACK", "cold"),
            ("ROLLCALL_APP_URL", "https://app.example.com/app/v1"),
            ("ROLLCALL_APP_USAGE_KEY", "usage-key-of-the-applications"),
            ("ROLLCALL_USAGE_PLAN", "default"),
            ("ROLLCALL_HIGH_USAGE_PLAN", "high"),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .into()
    }
}

/// An event, about the tenant and the user that the table has.
fn event(name: &str, table: &TlsTable) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("events").join(format!("{name}.json"));
    let text = std::fs::read_to_string(&file).expect("an event").replace(USER_OF_EVENTS, &table.user);
    let mut event: Value = serde_json::from_str(&text).expect("JSON");
    if let Some(tenant) = event.pointer_mut("/requestContext/authorizer/tenantId") {
        *tenant = table.tenant.clone().into();
    }
    event.to_string()
}
