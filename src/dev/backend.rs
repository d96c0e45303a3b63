//! The deployed code, as `rollcall dev` is given it: what stands behind the gateway, and who makes tenants.

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use super::gateway::lambda::{Clock, Lambda};
use super::gateway::rest_api::Gateway;
use super::seed::target::BulkLoader;
use super::seed::{SeedOutcome, Size};
use super::template::api::Environment;
use super::template::facts::ApiFacts;
use crate::scim::policy::Policy;

/// What the code is built from.
pub struct Connection {
    /// A client of the embedded DynamoDB.
    pub client: Client,
    /// Fills the table below the wire, if it is in this process.
    pub loader: Option<BulkLoader>,
    /// The table.
    pub table: String,
    /// The function's environment as the template has it.
    pub environment: Environment,
    /// The URL of the application's side, without a slash at its end.
    pub app_url: String,
}

/// The code of a deployment in this process.
pub struct Backend {
    /// The function: a REST proxy event in, a proxy answer out.
    pub function: Lambda,
    /// The authorizer: a TOKEN event in, its answer out.
    pub authorizer: Lambda,
    /// The function of the token endpoint.
    pub token: Lambda,
    /// The application's side.
    pub app: AppBackend,
    /// What runs every minute on an event without content, and after writes on one of the stream.
    pub worker: Option<Lambda>,
    /// Is notified when the function may have written.
    pub written: Arc<Notify>,
    /// Tenants and keys.
    pub tenants: Box<dyn Tenants>,
}

/// The logical name of the function of the token endpoint.
const TOKEN_FUNCTION: &str = "TokenFunction";

impl Backend {
    /// The API for identity providers or that of the token endpoint, with these functions behind it.
    pub fn gateway(&self, facts: ApiFacts, clock: Clock) -> Gateway {
        let function =
            |name: &str| if name == TOKEN_FUNCTION { self.token.clone() } else { self.function.clone() };
        Gateway::with_functions(facts, function, self.authorizer.clone(), clock)
    }
}

/// The code of the application's side.
pub struct AppBackend {
    /// The function that only reads.
    pub read: Lambda,
    /// The function that makes tenants and keys.
    pub manage: Lambda,
    /// The authorizer of application keys.
    pub authorizer: Lambda,
}

/// The logical name of the function that only reads.
const APP_READ_FUNCTION: &str = "AppReadFunction";

impl AppBackend {
    /// The API for applications, with these functions behind it.
    pub fn gateway(self, facts: ApiFacts, clock: Clock, bounded: impl Fn(Lambda) -> Lambda) -> Gateway {
        let Self { read, manage, authorizer } = self;
        let (read, manage) = (bounded(read), bounded(manage));
        let function = |name: &str| if name == APP_READ_FUNCTION { read.clone() } else { manage.clone() };
        Gateway::with_functions(facts, function, authorizer, clock)
    }
}

/// The part of the operator's tool that makes the demo tenant.
pub trait Tenants: Send + Sync {
    /// Creates the tenant, unless it exists. A policy that is given must be the policy of an existing tenant.
    /// Without one, a new tenant gets the default policy. Returns the tenant's policy.
    fn ensure<'a>(
        &'a self,
        tenant: &'a str,
        policy: Option<&'static Policy>,
    ) -> BoxFuture<'a, Result<&'static Policy, String>>;

    /// Makes a key with the scope `provision` and shows its text.
    fn create_key<'a>(&'a self, tenant: &'a str) -> BoxFuture<'a, Result<String, String>>;

    /// Makes an application key with the scope `manage` and shows its text.
    fn create_application(&self) -> BoxFuture<'_, Result<String, String>>;

    /// Makes a webhook that leads to the URL, unless there is one. The answer is its secret.
    fn forward<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<String, String>>;

    /// Fills the tenant, unless it is.
    fn seed<'a>(
        &'a self,
        tenant: &'a str,
        policy: &'static Policy,
        size: Size,
    ) -> BoxFuture<'a, Result<SeedOutcome, String>>;
}
