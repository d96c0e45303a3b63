//! A running `rollcall dev`: the table, the demo tenant with a key that works, the gateway, and their end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::backend::{Backend, Connection};
use super::data_dir::DataDir;
use super::embedded::Embedded;
use super::gateway::authorization::Authorization;
use super::gateway::front;
use super::gateway::lambda::{Clock, Lambda};
use super::seed::{SeedOutcome, Size};
use super::template::api::{Environment, TABLE};
use super::template::facts::{ApiFacts, Throttle};
use super::template::read::{TEMPLATE, TemplateFacts};
use crate::limits::{CALLS_AT_ONCE_PER_PROCESSOR, DEV_STREAM_INTERVAL, MAX_TURN_WAIT, WORKER_INTERVAL};
use crate::oauth::metadata::TOKEN_PATH;
use crate::scim::policy::Policy;

/// The name under which an application key is saved. No tenant has it.
const APPLICATION: &str = "@application";

/// How requests are limited.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RateLimit {
    /// As the template says.
    Template,
    /// The requests of each tenant in a minute. They may come at once. After that they are spread over a minute.
    PerMinute(u32),
    /// Not at all, the throttles of the stage and of its methods included.
    Off,
}

impl RateLimit {
    /// Changes the limits of the API for identity providers, and of the other APIs.
    fn apply(self, api: &mut ApiFacts, others: [&mut ApiFacts; 2]) {
        match self {
            Self::Template => {}
            Self::PerMinute(many) => {
                let many = f64::from(many);
                let throttle = Throttle { rate: many / 60.0, burst: many };
                (api.usage_plan, api.high_usage_plan) = (Some(throttle), Some(throttle));
            }
            Self::Off => {
                for api in others.into_iter().chain([api]) {
                    (api.usage_plan, api.high_usage_plan, api.stage) = (None, None, None);
                    api.methods.clear();
                }
            }
        }
    }
}

/// What is asked of a session.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The port of the embedded DynamoDB; 0: any.
    pub dynamodb_port: u16,
    /// The tenant.
    pub tenant: String,
    /// The tenant's policy, if one is asked for.
    pub policy: Option<&'static Policy>,
    /// The limits.
    pub rate_limit: RateLimit,
    /// For how many seconds the authorizer's answers are kept, if not as the template says.
    pub authorizer_ttl: Option<u32>,
    /// Where every change is sent to, as a webhook.
    pub forward_to: Option<String>,
    /// What the tenant is filled with.
    pub seed: Size,
}

/// The webhook of `--forward-to`.
#[derive(Clone, Debug)]
pub struct ForwardedTo {
    /// Where every change is sent to.
    pub url: String,
    /// The secret that signs the messages.
    pub secret: String,
}

/// A session that answers.
pub struct Session {
    /// Where clients send their requests: `http://127.0.0.1:3000/scim/v2`.
    pub base_url: String,
    /// Where applications send theirs: `http://127.0.0.1:3000/app/v1`.
    pub app_url: String,
    /// Where clients of OAuth get access tokens: `http://127.0.0.1:3000/oauth2/token`.
    pub token_url: String,
    /// A key of the tenant.
    pub key: String,
    /// An application key with the scope `manage`.
    pub application_key: String,
    /// The tenant.
    pub tenant: String,
    /// The tenant's policy.
    pub policy: &'static Policy,
    /// Where the embedded DynamoDB answers.
    pub dynamodb_endpoint: String,
    /// Where every change is sent to, and the secret that signs it.
    pub webhook: Option<ForwardedTo>,
    /// The table.
    pub table: &'static str,
    stop: oneshot::Sender<()>,
    front: JoinHandle<std::io::Result<()>>,
    workers: Option<[JoinHandle<()>; 2]>,
    embedded: Embedded,
    _data_dir: Option<DataDir>,
}

impl Session {
    /// Starts everything, with the code that `connect` makes of a connection.
    ///
    /// # Errors
    /// One line that says what cannot be started, and which option may help.
    pub async fn start(
        options: SessionOptions,
        data_dir: Option<DataDir>,
        connect: impl FnOnce(Connection) -> Backend,
    ) -> Result<Self, String> {
        let TemplateFacts { table, api, app_api, oauth_api, environment } = read_template(&options)?;
        // The port first: a second session fails before it has touched anything.
        let no_listener = |error| {
            format!(
                "cannot listen on {}: {error} (--port chooses the port; 0 takes a free one)",
                options.listen
            )
        };
        let listener = TcpListener::bind(options.listen).await.map_err(no_listener)?;
        let address = listener.local_addr().map_err(no_listener)?;

        let file = data_dir.as_ref().map(DataDir::database).transpose()?;
        let embedded = Embedded::start(file.as_deref(), options.dynamodb_port).await?;
        embedded.ensure_table(TABLE, &table).await?;
        let app_url = format!("http://{}{}", reachable_address(address), app_api.base_path());
        let backend = connect(connection(&embedded, environment, app_url.clone()));
        let policy = backend.tenants.ensure(&options.tenant, options.policy).await?;
        if options.seed != Size::default()
            && let seed = backend.tenants.seed(&options.tenant, policy, options.seed)
            && seed.await? == SeedOutcome::Present
        {
            eprintln!("the tenant {} has the users of a seed already: nothing was seeded", options.tenant);
        }
        let webhook = forward(&backend, options.forward_to).await?;
        let make = backend.tenants.create_key(&options.tenant);
        let key = demo_key(&backend.authorizer, data_dir.as_ref(), &options.tenant, make).await?;
        let make = backend.tenants.create_application();
        let application_key = demo_key(&backend.app.authorizer, data_dir.as_ref(), APPLICATION, make).await?;

        let base_url = format!("http://{}{}", reachable_address(address), api.base_path());
        let token_url = format!("http://{}{TOKEN_PATH}", reachable_address(address));
        let backend = Backend { function: bounded(backend.function), ..backend };
        let gateways = vec![
            backend.gateway(api, Clock::system()),
            backend.gateway(oauth_api, Clock::system()),
            backend.app.gateway(app_api, Clock::system(), bounded),
        ];
        let (stop, stopped) = oneshot::channel::<()>();
        let front = tokio::spawn(front::serve(listener, gateways, async {
            // A sender that is gone means the end as well.
            stopped.await.unwrap_or_default();
        }));
        let workers = backend.worker.map(|worker| {
            [tokio::spawn(run_worker(worker.clone())), tokio::spawn(run_stream(worker, backend.written))]
        });
        Ok(Self {
            base_url,
            app_url,
            token_url,
            key,
            application_key,
            tenant: options.tenant,
            policy,
            dynamodb_endpoint: embedded.endpoint.clone(),
            webhook,
            table: TABLE,
            stop,
            front,
            workers,
            embedded,
            _data_dir: data_dir,
        })
    }

    /// The session for a program, on one line.
    pub fn json(&self) -> String {
        let mut line = json!({
            "base_url": self.base_url,
            "app_url": self.app_url,
            "token_url": self.token_url,
            "key": self.key,
            "application_key": self.application_key,
            "tenant": self.tenant,
            "dynamodb_endpoint": self.dynamodb_endpoint,
            "table": self.table,
        });
        if let Some(webhook) = &self.webhook {
            line["webhook_secret"] = webhook.secret.as_str().into();
        }
        line.to_string()
    }

    /// The session for a reader.
    pub fn text(&self) -> String {
        let Self { base_url, app_url, token_url, key, application_key, tenant, .. } = self;
        let Self { dynamodb_endpoint, table, .. } = self;
        let webhook = self.webhook.as_ref();
        let webhook = webhook.map(|to| format!("Webhook   {} (secret {})\n", to.url, to.secret));
        let webhook = webhook.unwrap_or_default();
        format!(
            "SCIM      {base_url}\nKey       {key}\nTenant    {tenant} (policy {})\n\
             \u{20}         It holds the break-glass account and the root team from the start: lists and totals show both.\n\
             App       {app_url}\nApp key   {application_key}\n\
             Tokens    {token_url} (for clients: rollcall client create {tenant} --name NAME)\n\
             DynamoDB  {dynamodb_endpoint} (table {table})\n\
             Tool      rollcall tenant list --table {table} --endpoint-url {dynamodb_endpoint}\n\
             \u{20}         On this machine `rollcall tenant list` is enough.\n{webhook}\n\
             export BASE={base_url} KEY={key} APP={app_url} APP_KEY={application_key}\n\
             curl -H 'Authorization: Bearer {key}' {base_url}/Users\n\
             curl -H 'Authorization: Bearer {application_key}' {app_url}/changes\n",
            self.policy.name
        )
    }

    /// Ends the session: no new requests, running ones end within a bound, then the database closes.
    pub async fn stop(self) {
        drop(self.stop);
        self.workers.iter().flatten().for_each(JoinHandle::abort);
        match self.front.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the gateway ended"),
            Err(_) => tracing::error!("the gateway crashed"),
        }
        self.embedded.stop().await;
    }
}

/// Makes the webhook of `--forward-to`.
async fn forward(backend: &Backend, url: Option<String>) -> Result<Option<ForwardedTo>, String> {
    let Some(url) = url else { return Ok(None) };
    let secret = backend.tenants.forward(&url).await?;
    Ok(Some(ForwardedTo { url, secret }))
}

/// What the template declares, with these limits. An error is one line.
fn read_template(options: &SessionOptions) -> Result<TemplateFacts, String> {
    let mut facts = TemplateFacts::parse(TEMPLATE).map_err(|error| error.to_string())?;
    options.rate_limit.apply(&mut facts.api, [&mut facts.app_api, &mut facts.oauth_api]);
    if let Some(seconds) = options.authorizer_ttl {
        let authorizers = [&mut facts.api, &mut facts.app_api].map(|api| &mut api.authorizer);
        for authorizer in authorizers.into_iter().flatten() {
            authorizer.ttl = Duration::from_secs(seconds.into());
        }
    }
    Ok(facts)
}

/// What the code of the deployment is built from.
fn connection(embedded: &Embedded, environment: Environment, app_url: String) -> Connection {
    let (client, loader) = (embedded.client.clone(), Some(embedded.loader(TABLE)));
    Connection { client, loader, table: TABLE.to_owned(), environment, app_url }
}

/// A key that the authorizer takes: the one that was saved under `name`, or another, which `make` makes. A key
/// that was made and not saved when the process died is thus followed by a new one.
async fn demo_key(
    authorizer: &Lambda,
    data_dir: Option<&DataDir>,
    name: &str,
    make: BoxFuture<'_, Result<String, String>>,
) -> Result<String, String> {
    if let Some(saved) = data_dir.map_or(Ok(None), |data_dir| data_dir.key(name))?
        && is_good(authorizer, &saved).await?
    {
        return Ok(saved);
    }
    let key = make.await?;
    if let Some(data_dir) = data_dir {
        data_dir.save_key(name, &key)?;
    }
    Ok(key)
}

/// Whether the authorizer allows this key what a deployment's clients do.
async fn is_good(authorizer: &Lambda, key: &str) -> Result<bool, String> {
    let arn = "arn:aws:execute-api:us-east-1:000000000000:local/local/GET/scim/v2/Users";
    let event = json!({ "type": "TOKEN", "authorizationToken": format!("Bearer {key}"), "methodArn": arn });
    match authorizer.invoke(event).await {
        Ok(answer) => Ok(Authorization::read(&answer).is_some_and(|found| found.policy.allows(arn))),
        Err(super::gateway::lambda::Fault::Error(text)) if text == "Unauthorized" => Ok(false),
        Err(fault) => Err(format!("the authorizer failed: {fault:?}")),
    }
}

/// A function of which not more calls run at once than the machine can take.
fn bounded(function: Lambda) -> Lambda {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    function.at_most(processors * CALLS_AT_ONCE_PER_PROCESSOR, MAX_TURN_WAIT)
}

/// The address that a client on this machine can use.
fn reachable_address(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Invokes the worker every minute.
async fn run_worker(worker: Lambda) {
    let mut every_minute = tokio::time::interval(WORKER_INTERVAL);
    every_minute.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every_minute.tick().await;
        invoke_worker(&worker, json!({})).await;
    }
}

/// Invokes the worker as the table's stream does, each time that something may have been written: after a
/// request that is not a GET, and every second for the writes of other processes.
async fn run_stream(worker: Lambda, written: Arc<Notify>) {
    let mut every_second = tokio::time::interval(DEV_STREAM_INTERVAL);
    every_second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = every_second.tick() => {}
            () = written.notified() => {}
        }
        invoke_worker(&worker, json!({ "Records": [] })).await;
    }
}

async fn invoke_worker(worker: &Lambda, event: Value) {
    if let Err(fault) = worker.invoke(event).await {
        tracing::error!(?fault, "the worker failed");
    }
}

#[cfg(test)]
mod tests;
