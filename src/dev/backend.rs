//! The deployed code, as `rollcall dev` is given it: what stands behind the gateway, and who makes tenants.

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use super::gateway::lambda::Lambda;
use super::seed::{SeedOutcome, Size};
use super::template::api::Environment;
use crate::scim::policy::Policy;

/// What the code is built from.
pub struct Connection {
    /// A client of the embedded DynamoDB.
    pub client: Client,
    /// The table.
    pub table: String,
    /// The function's environment as the template has it.
    pub environment: Environment,
}

/// The code of a deployment in this process.
pub struct Backend {
    /// The function: a REST proxy event in, a proxy answer out.
    pub function: Lambda,
    /// The authorizer: a TOKEN event in, its answer out.
    pub authorizer: Lambda,
    /// What runs every minute on an event without content, and after writes on one of the stream.
    pub worker: Option<Lambda>,
    /// Is notified when the function may have written.
    pub written: Arc<Notify>,
    /// Tenants and keys.
    pub tenants: Box<dyn Tenants>,
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
