//! The one place where local development meets the deployed code.

use std::fmt::Display;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use super::backend::{AppBackend, Backend, Connection, Tenants};
use super::gateway::lambda::Lambda;
use super::seed::target::{BulkLoader, SeedTarget};
use super::seed::{self, SeedOutcome, Size};
use crate::admin::error::AdminError;
use crate::admin::key::NewKey;
use crate::admin::output;
use crate::admin::progress::Progress;
use crate::admin::{key, tenant, usage_key};
use crate::app::function::AppFunction;
use crate::app::request::Managing;
use crate::auth::app_authorizer::AppAuthorizer;
use crate::auth::application::ApplicationScope;
use crate::auth::authorizer::Authorizer;
use crate::auth::plan::RatePlan;
use crate::auth::record::Scope;
use crate::clock;
use crate::config::{EMAIL_LOOKUPS, EmailLookups};
use crate::deliver::registry::{Registry, RegistryError, WebhookUpdate};
use crate::deliver::sender::MessageSender;
use crate::deliver::worker::Worker;
use crate::http::function::Function;
use crate::http::service::{HttpFunction, invoke_with_event};
use crate::limits::DEFAULT_CHANGE_RETENTION_DAYS;
use crate::monitor::Monitor;
use crate::oauth::function::TokenFunction;
use crate::outbound::target::TargetRule;
use crate::scim::policy::{Policy, VEZA};
use crate::scim::resource_type::Kind;
use crate::scim::schema::Schema;
use crate::store::call::Table;
use crate::store::keys::TenantId;
use crate::tenants::actor::Actor;
use crate::tenants::application::{self, NewApplication};
use crate::tenants::message_resources::MessageResources;
use crate::tenants::usage::GeneratedUsageKeys;

/// The name of the key that `rollcall dev` makes.
const KEY_NAME: &str = "rollcall dev";
/// The usage key of the applications.
const APP_USAGE_KEY: &str = "rollcall-application-local";
/// The users after which a seed reports its progress.
const TOLD_EVERY: usize = 10_000;

/// The function, with further extension schemas, the authorizer, the worker and the tenants on
/// this connection.
pub fn connect(connection: Connection, extensions: &[(Kind, Schema)]) -> Backend {
    let Connection { client, loader, table, environment, app_url } = connection;
    let table = Table::new(client, &table);
    let mut scim_table = table.fresh();
    let email_lookups = environment.get(EMAIL_LOOKUPS).and_then(|form| form.as_ref().ok());
    scim_table.email_lookups = email_lookups.and_then(|form| EmailLookups::named(form)).unwrap_or_default();
    let public_url = environment.get(crate::config::PUBLIC_URL).and_then(|url| url.as_ref().ok());
    let public_url = public_url.filter(|url| !url.is_empty()).cloned();
    let written = Arc::new(Notify::new());
    let token = TokenFunction::new(table.fresh(), public_url.clone(), TargetRule::PublicOrLoopback);
    let token = run_function(token, &Arc::default());
    let function = Function::with_extensions(scim_table, public_url, extensions);
    let function = run_function(function, &written);
    let authorizer = Arc::new(Authorizer::new(table.fresh()));
    let authorizer = Lambda::new(move |event| {
        let authorizer = authorizer.clone();
        async move { authorizer.invoke(event).await }
    });
    let app = connect_app(&table, extensions, &written);
    let pending = table.fresh();
    let worker = local_worker(extensions, app_url);
    let monitor = Arc::new(Monitor::new(false));
    let worker = Lambda::new(move |event| {
        let (table, worker, monitor) = (pending.fresh(), worker.clone(), monitor.clone());
        async move {
            let outcome = worker?.invoke(&table, &event).await;
            monitor.measure_after(&table.fresh(), &event).await;
            outcome
        }
    });
    let tenants = Box::new(Local { table, loader });
    Backend { function, authorizer, token, app, worker: Some(worker), written, tenants }
}

/// A function in this process. Each request that may have written is told to `written`. If the function could not
/// be made, each request fails with the reason.
fn run_function<F: HttpFunction>(made: Result<F, impl Display>, written: &Arc<Notify>) -> Lambda {
    let made = made.map(Arc::new).map_err(|reason| reason.to_string());
    let written = written.clone();
    Lambda::new(move |event| {
        let (made, written) = (made.clone(), written.clone());
        let may_write = event["httpMethod"] != "GET";
        async move {
            let answer = invoke_with_event(made?, event).await.map_err(|error| error.to_string());
            if may_write {
                written.notify_one();
            }
            answer
        }
    })
}

/// The worker, which may send to this machine. An error is one line.
fn local_worker(extensions: &[(Kind, Schema)], app_url: String) -> Result<Worker, String> {
    let sender = MessageSender::new(TargetRule::PublicOrLoopback)?;
    let resources = MessageResources::new(extensions, app_url).map_err(|error| error.detail)?;
    let retention_days = DEFAULT_CHANGE_RETENTION_DAYS;
    Ok(Worker { bus: None, sender, resources: Arc::new(resources), retention_days })
}

/// The application's side on this table.
fn connect_app(table: &Table, extensions: &[(Kind, Schema)], written: &Arc<Notify>) -> AppBackend {
    let function = |managing: Option<Managing>| {
        run_function(AppFunction::new(table.fresh(), extensions, managing), written)
    };
    let authorizer = Arc::new(AppAuthorizer::new(table.fresh(), APP_USAGE_KEY.to_owned()));
    AppBackend {
        read: function(None),
        manage: function(Some(Managing {
            usage_keys: Box::new(GeneratedUsageKeys),
            target_rule: TargetRule::PublicOrLoopback,
        })),
        authorizer: Lambda::new(move |event| {
            let authorizer = authorizer.clone();
            async move { authorizer.invoke(event).await }
        }),
    }
}

/// The tenants of the local table.
struct Local {
    table: Table,
    loader: Option<BulkLoader>,
}

impl Local {
    async fn tenant(&self, id: &str, policy: Option<&'static Policy>) -> Result<&'static Policy, String> {
        let id: TenantId = id.parse().map_err(|e| format!("--tenant: {e}"))?;
        let found = match tenant::get(&self.table, &id).await {
            Ok(found) => found,
            Err(AdminError::NoTenant(_)) => {
                let usage_key = usage_key::generate(RatePlan::Default).map_err(|e| e.to_string())?;
                let policy = policy.unwrap_or(&VEZA);
                let now = clock::now();
                let new = tenant::NewTenant::new(&id, policy, &usage_key);
                tenant::create(&self.table, &new, now).await.map_err(|e| e.to_string())?
            }
            Err(failed) => return Err(failed.to_string()),
        };
        match policy {
            Some(wanted) if wanted != found.policy => Err(format!(
                "--policy {}: the tenant {id} has the policy {}, which cannot change; choose another --tenant or --data-dir",
                wanted.name, found.policy.name
            )),
            _ => Ok(found.policy),
        }
    }

    async fn key(&self, id: &str) -> Result<String, String> {
        let new = NewKey {
            tenant: id.parse().map_err(|e| format!("--tenant: {e}"))?,
            name: KEY_NAME.to_owned(),
            scope: Scope::Provision,
            expires: None,
            user: None,
        };
        let made = key::create(&self.table, new, clock::now()).await;
        made.map(|(key, _)| key.reveal().to_owned()).map_err(|e| e.to_string())
    }

    async fn application(&self) -> Result<String, String> {
        let new =
            NewApplication { name: KEY_NAME.to_owned(), scope: ApplicationScope::Manage, expires: None };
        let made = application::create(&self.table, &Actor::operator(), new, clock::now()).await;
        let made = made.map_err(AdminError::of(&self.table));
        made.map(|(key, _)| key.reveal().to_owned()).map_err(|e| e.to_string())
    }

    async fn fill(&self, id: &str, policy: &'static Policy, size: Size) -> Result<SeedOutcome, String> {
        let id: TenantId = id.parse().map_err(|e| format!("--tenant: {e}"))?;
        let is_terminal = std::io::stderr().is_terminal();
        let bar = Progress::shown();
        bar.begin(Some(size.users as u64), "users seeded");
        let told = AtomicUsize::new(0);
        let progress = |written: usize| {
            bar.set(written as u64);
            let step = written / TOLD_EVERY;
            if step > told.fetch_max(step, Ordering::Relaxed) && !is_terminal {
                output::note(&format!("seeded {written} of {} users", size.users));
            }
        };
        let target = SeedTarget { table: &self.table, loader: self.loader.as_ref() };
        seed::seed(&target, &id, policy, size, progress).await
    }

    async fn forward_to(&self, url: &str) -> Result<String, String> {
        let rule = TargetRule::PublicOrLoopback;
        let registry = Registry { table: &self.table, actor: KEY_NAME, request_id: KEY_NAME, rule };
        let problem = |error: RegistryError| format!("--forward-to: {error}");
        for listed in registry.list().await.map_err(problem)? {
            if listed.webhook.url == url {
                // It may be disabled, or pause after a failure.
                let enable = WebhookUpdate { enabled: Some(true), ..WebhookUpdate::default() };
                registry.update(&listed.webhook.id, enable).await.map_err(problem)?;
                let now = clock::now().unix_timestamp().unsigned_abs();
                let secrets = listed.webhook.read_secrets(&self.table, now).await;
                return secrets
                    .map(|secrets| secrets.into_iter().next().unwrap_or_default())
                    .map_err(|error| error.to_string());
            }
        }
        let (_, secret) = registry.create(url, false).await.map_err(problem)?;
        Ok(secret.reveal())
    }
}

impl Tenants for Local {
    fn ensure<'a>(
        &'a self,
        tenant: &'a str,
        policy: Option<&'static Policy>,
    ) -> BoxFuture<'a, Result<&'static Policy, String>> {
        self.tenant(tenant, policy).boxed()
    }

    fn create_key<'a>(&'a self, tenant: &'a str) -> BoxFuture<'a, Result<String, String>> {
        self.key(tenant).boxed()
    }

    fn create_application(&self) -> BoxFuture<'_, Result<String, String>> {
        self.application().boxed()
    }

    fn forward<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<String, String>> {
        self.forward_to(url).boxed()
    }

    fn seed<'a>(
        &'a self,
        tenant: &'a str,
        policy: &'static Policy,
        size: Size,
    ) -> BoxFuture<'a, Result<SeedOutcome, String>> {
        self.fill(tenant, policy, size).boxed()
    }
}
