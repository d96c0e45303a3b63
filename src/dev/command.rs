//! The command line of `rollcall dev`.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use super::backend::{Backend, Connection};
use super::data_dir::DataDir;
use super::logging;
use super::seed::Size;
use super::session::{RateLimit, Session, SessionOptions};
use super::wiring;
use crate::admin::cli::complete::words;
use crate::admin::cli::parse::{policy, whole_number};
use crate::admin::cli::runtime::WRONG_USAGE;
use crate::admin::output;
use crate::admin::running_dev::{DevFile, RunningDev};
use crate::config;
use crate::outbound::target::{TargetRule, TargetUrl};
use crate::scim::policy::{Policy, VEZA};
use crate::scim::resource_type::{Kind, Model};
use crate::scim::schema::Schema;

/// Serve SCIM on this machine: the deployed code, an embedded DynamoDB, a demo tenant and a key.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  rollcall dev
  rollcall dev --port 3000 --policy standard
  rollcall dev --in-memory --seed-users 10000 --seed-members 500")]
pub struct DevArgs {
    /// Port to listen on; 0 takes any that is free
    #[arg(long, default_value_t = 3000, value_parser = whole_number::<u16>(PORTS))]
    pub port: u16,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1", value_parser = host)]
    pub host: IpAddr,
    /// Folder that keeps everything, the key included; without it everything is in memory
    #[arg(long, value_name = "DIR", conflicts_with = "in_memory")]
    pub data_dir: Option<PathBuf>,
    /// Keep everything in memory (the default)
    #[arg(long)]
    pub in_memory: bool,
    /// Policy of the tenant; the default is veza
    #[arg(long, value_parser = policy())]
    pub policy: Option<&'static Policy>,
    /// Requests a minute for each tenant, off, or template: the limits of a deployment
    #[arg(long, value_name = "template|N|off", default_value = "off", value_parser = rate_limit, add = words(&RATE_LIMITS))]
    pub rate_limit: RateLimit,
    /// Tenant to make and to show a key of
    #[arg(long, default_value = "demo", value_parser = tenant)]
    pub tenant: String,
    /// Port of the embedded DynamoDB; 0 takes any that is free
    #[arg(long, value_name = "PORT", default_value_t = 0, value_parser = whole_number::<u16>(PORTS))]
    pub dynamodb_port: u16,
    /// Folder with extension schemas of your own, one JSON file each
    #[arg(long, value_name = "DIR", env = crate::config::EXTENSIONS)]
    pub extensions: Option<PathBuf>,
    /// Fill the tenant with N users before it answers
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = whole_number::<usize>(0..=u64::MAX))]
    pub seed_users: usize,
    /// ... and with a group of the first N of them
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = whole_number::<usize>(0..=u64::MAX))]
    pub seed_members: usize,
    /// For how many seconds a key works after it is revoked, 0 to 3600; the default is that of a deployment, 60
    #[arg(long, value_name = "SECONDS", value_parser = whole_number::<u32>(0..=3_600))]
    pub authorizer_ttl: Option<u32>,
    /// Send every change to this URL as a webhook, and print its secret
    #[arg(long, value_name = "URL", value_parser = forward_to)]
    pub forward_to: Option<String>,
    /// Print one line of JSON once it answers; log as JSON
    #[arg(long)]
    pub json: bool,
}

/// The ports that can be asked for.
const PORTS: RangeInclusive<u64> = 0..=65_535;
/// What a shell offers for `--rate-limit`, besides a number.
const RATE_LIMITS: [&str; 2] = ["off", "template"];

fn host(text: &str) -> Result<IpAddr, String> {
    if text == "localhost" {
        return Ok(Ipv4Addr::LOCALHOST.into());
    }
    text.parse().map_err(|_| "give an IP address, such as 127.0.0.1 or 0.0.0.0, or localhost".to_owned())
}

/// Reads a URL to which changes can be sent, before anything is started.
fn forward_to(text: &str) -> Result<String, String> {
    let is_web =
        |uri: http::Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some();
    if !text.parse().is_ok_and(is_web) {
        let problem = "write the URL as http://127.0.0.1:8000/hook or https://app.example.com/hook";
        return Err(problem.to_owned());
    }
    let target = TargetUrl::parse(text, TargetRule::PublicOrLoopback);
    target.map(|_| text.to_owned()).map_err(str::to_owned)
}

fn rate_limit(text: &str) -> Result<RateLimit, String> {
    match text {
        "off" => Ok(RateLimit::Off),
        "template" => Ok(RateLimit::Template),
        number => {
            let number = number.parse().ok().filter(|number| *number > 0);
            let problem = "is not a number above zero, off or template";
            number.map(RateLimit::PerMinute).ok_or_else(|| problem.to_owned())
        }
    }
}

fn tenant(text: &str) -> Result<String, String> {
    let mut bytes = text.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_lowercase());
    let rest = bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    match first && rest && (2..=31).contains(&text.len()) {
        true => Ok(text.to_owned()),
        false => Err("is not a tenant: 2 to 31 of a-z, 0-9 and -, a letter first".to_owned()),
    }
}

/// Runs until Ctrl-C or SIGTERM. What cannot be done is one line on stderr and exit status 1, or 2 if the command line
/// cannot be used.
pub fn run(args: DevArgs) -> ExitCode {
    logging::start(args.json);
    let seed = Size { users: args.seed_users, members: args.seed_members }.check();
    let seed = match seed.and_then(|seed| check_folder(args.extensions.as_deref()).map(|()| seed)) {
        Ok(seed) => seed,
        Err(error) => {
            print_refusal(&error);
            return ExitCode::from(WRONG_USAGE);
        }
    };
    let extensions = match args.extensions.as_deref().map(extensions).transpose() {
        Ok(extensions) => extensions.unwrap_or_default(),
        Err(error) => return print_refusal(&error),
    };
    let connect = |connection: Connection| wiring::connect(connection, &extensions);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return print_refusal(&error.to_string()),
    };
    let ended = runtime.block_on(serve(args, seed, connect));
    runtime.shutdown_timeout(Duration::from_secs(1));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => print_refusal(&error),
    }
}

/// A folder that was named must exist.
fn check_folder(folder: Option<&Path>) -> Result<(), String> {
    match folder.filter(|folder| !folder.is_dir()) {
        Some(folder) => Err(format!("--extensions {}: is not a folder", folder.display())),
        None => Ok(()),
    }
}

/// Reads the extension schemas in the folder.
fn extensions(folder: &Path) -> Result<Vec<(Kind, Schema)>, String> {
    let extensions = config::extensions(folder)?;
    Model::new(&VEZA, &extensions).map_err(|error| error.detail)?;
    Ok(extensions)
}

fn print_refusal(error: &str) -> ExitCode {
    output::note(&format!("error: {}", error.replace('\n', " ")));
    ExitCode::FAILURE
}

async fn serve(args: DevArgs, seed: Size, connect: impl FnOnce(Connection) -> Backend) -> Result<(), String> {
    // From here on a signal means an orderly end, even one that comes while this starts.
    let mut end = std::pin::pin!(signals()?);
    let options = SessionOptions {
        listen: SocketAddr::new(args.host, args.port),
        dynamodb_port: args.dynamodb_port,
        tenant: args.tenant,
        policy: args.policy,
        rate_limit: args.rate_limit,
        authorizer_ttl: args.authorizer_ttl,
        forward_to: args.forward_to,
        seed,
    };
    let data_dir = args.data_dir.as_deref().map(DataDir::open).transpose()?;
    let session = tokio::select! {
        session = Session::start(options, data_dir, connect) => session?,
        () = &mut end => return Ok(()),
    };
    let dev_file = announce(&session);
    let line = if args.json { format!("{}\n", session.json()) } else { session.text() };
    let mut stdout = std::io::stdout();
    // A reader that has gone does not end the session.
    if let Err(error) = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()) {
        tracing::warn!(%error, "stdout");
    }
    end.await;
    drop(dev_file);
    session.stop().await;
    Ok(())
}

/// Lets the tool find the table as long as the result is kept. `None` if there is no place for the file.
fn announce(session: &Session) -> Option<DevFile> {
    let dev = RunningDev {
        pid: std::process::id(),
        table: session.table.to_owned(),
        endpoint: session.dynamodb_endpoint.clone(),
        tenant: session.tenant.clone(),
    };
    let file = DevFile::write(&dev);
    file.inspect_err(|error| tracing::debug!(%error, "the tool does not find this process by itself")).ok()
}

/// Resolves at Ctrl-C or SIGTERM.
fn signals() -> Result<impl Future<Output = ()>, String> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error: std::io::Error| format!("cannot listen for signals: {error}");
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked() {
        for (text, expected) in [
            ("off", Some(RateLimit::Off)),
            ("template", Some(RateLimit::Template)),
            ("200", Some(RateLimit::PerMinute(200))),
            ("0", None),
            ("-1", None),
            ("x", None),
        ] {
            assert_eq!(rate_limit(text).ok(), expected, "{text}");
        }
        for (text, good) in [
            ("demo", true),
            ("a-1", true),
            ("a", false),
            ("1a", false),
            ("Demo", false),
            ("a/b", false),
            ("é", false),
        ] {
            assert_eq!(tenant(text).is_ok(), good, "{text}");
        }
        assert!(host("localhost").is_ok() && host("::1").is_ok() && host("example.com").is_err());
        for (text, problem) in [
            ("http://127.0.0.1:8000/hook", ""),
            ("https://app.example.com/hook", ""),
            ("ftp://x", "http://127.0.0.1:8000/hook"),
            ("app.example.com", "http://127.0.0.1:8000/hook"),
            ("http://app.example.com/hook", "this machine only"),
            ("https://10.0.0.1/hook", "not public"),
        ] {
            let found = forward_to(text).err().unwrap_or_default();
            assert!(found.contains(problem) && found.is_empty() == problem.is_empty(), "{text}: {found}");
        }
    }
}
