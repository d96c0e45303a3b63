//! The Lambda function: a REST proxy event in, a proxy response out.

use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;
use http::Method;
use http::header::ACCEPT_ENCODING;
use lambda_http::{Body, Error, Request, Response};
use serde_json::Value;

use super::caller::{Caller, RequestLocation};
use super::event::GatewayContext;
use super::handler::handle;
use super::log::Line;
use super::response::{self, Transfer};
use super::router::{Operation, Route, refuse_method, refuse_path, route};
use super::schemas::SchemaAnswers;
use super::service::{HttpFunction, invoke_with_event};
use crate::auth::authorizer::Reason;
use crate::auth::key_use::KeyUses;
use crate::clock;
use crate::limits::MAX_SCAN_TIME;
use crate::provider::Provider;
use crate::provider::failure::Failure;
use crate::scim::error::{ErrorKind, ScimError};
use crate::scim::resource::location;
use crate::scim::resource_type::{Kind, Model};
use crate::scim::schema::Schema;
use crate::scim::work::WorkBudget;
use crate::store::Store;
use crate::store::call::Table;
use crate::store::cursor::CursorKeys;
use crate::store::keys::{self, TenantId};
use crate::store::known_groups::KnownGroups;
use crate::store::list::RecentCheckpoints;

/// As API Gateway answers for a key that the authorizer refuses (`ACCESS_DENIED` in `template.yaml`).
const EXPIRED: &str = "This key or access token is unknown, expired or revoked. Have a new key made (rollcall key create) and enter it at the identity provider, or ask for a new access token.";

/// Everything that outlives a request.
#[derive(Debug)]
pub struct Function {
    table: Table,
    models: Vec<Model>,
    public_url: Option<String>,
    used: KeyUses,
    cursor_keys: CursorKeys,
    recent_checkpoints: RecentCheckpoints,
    known_groups: KnownGroups,
    schemas: SchemaAnswers,
}

/// The outcome of a request, for the log.
struct RequestOutcome {
    response: Response<Body>,
    source: Option<String>,
    scim_type: Option<&'static str>,
    detail: Option<String>,
    is_excused: bool,
}

impl From<Response<Body>> for RequestOutcome {
    fn from(response: Response<Body>) -> Self {
        Self { response, source: None, scim_type: None, detail: None, is_excused: false }
    }
}

impl From<Failure> for RequestOutcome {
    fn from(failure: Failure) -> Self {
        let scim_type = failure.error.kind.wire().1;
        let response = response::error(&failure.error);
        let is_excused = failure.error.kind.is_excused();
        Self { response, source: failure.source, scim_type, detail: Some(failure.error.detail), is_excused }
    }
}

impl From<ScimError> for RequestOutcome {
    fn from(error: ScimError) -> Self {
        Failure::from(error).into()
    }
}

/// The refusal of a key or token that has expired since the authorizer was asked.
fn refuse_expired(request: &Request) -> Option<RequestOutcome> {
    GatewayContext::of(request).filter(|context| context.has_expired(clock::now()))?;
    let source = Some(Reason::Expired.name().to_owned());
    Some(RequestOutcome { source, ..ScimError::new(ErrorKind::Unauthorized, EXPIRED).into() })
}

impl Function {
    /// Makes a function over a table. `public_url` is the SCIM base URL, if requests do not show it.
    ///
    /// # Errors
    /// The errors of [`Model::new`].
    pub fn new(table: Table, public_url: Option<String>) -> Result<Self, ScimError> {
        Self::with_extensions(table, public_url, &[])
    }

    /// Makes a function over a table, with the operator's own extension schemas.
    ///
    /// # Errors
    /// The errors of [`Model::new`].
    pub fn with_extensions(
        table: Table,
        public_url: Option<String>,
        extensions: &[(Kind, Schema)],
    ) -> Result<Self, ScimError> {
        Ok(Self {
            table,
            models: Model::all(extensions)?,
            public_url,
            used: KeyUses::default(),
            cursor_keys: CursorKeys::default(),
            recent_checkpoints: RecentCheckpoints::default(),
            known_groups: KnownGroups::default(),
            schemas: SchemaAnswers::default(),
        })
    }

    /// Answers one request. Returns the answer and its log line, which the caller writes.
    pub async fn answer_with_line(&self, request: Request, transfer: Transfer) -> (Response<Body>, Line) {
        let began = Instant::now();
        let table = self.table.fresh();
        let mut line = Line::of_request(&request);
        let ids = line.ids.clone();
        // Its type is erased, so that the compiler can check what nests it.
        let mut outcome = ids.scope(self.outcome(&request, &table, &mut line).boxed()).await;
        let accept = request.headers().get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
        outcome.response = response::fit_into_transfer(outcome.response, accept, transfer, request.method());
        response::protect(&mut outcome.response);
        line.status = outcome.response.status().as_u16();
        line.is_excused = outcome.is_excused;
        line.scim_type = outcome.scim_type;
        line.source = outcome.source;
        line.detail = outcome.detail;
        line.duration_ms = began.elapsed().as_secs_f64() * 1000.0;
        line.usage = table.usage();
        line.refusals = table.refusals();
        (outcome.response, line)
    }

    async fn outcome(&self, request: &Request, table: &Table, line: &mut Line) -> RequestOutcome {
        let caller = match Caller::read(request) {
            Ok(caller) => caller,
            Err(refused) => return refused.into(),
        };
        line.tenant = Some(caller.tenant.to_string());
        line.key_id = Some(caller.key_id.clone());
        if let Some(refused) = refuse_expired(request) {
            return refused;
        }
        let place = RequestLocation::read(request, self.public_url.as_deref());
        let (operation, segment) = match route(request.method(), &place.path) {
            Route::To(operation, segment) => (operation, segment),
            elsewhere => return answer_elsewhere(request.method(), &place.path, elsewhere),
        };
        line.operation = operation.name();
        line.class = operation.class();
        if !caller.provisions && !operation.reads() {
            let detail = "The key's scope is read; this operation needs a key with the scope provision.";
            return ScimError::new(ErrorKind::Forbidden, detail).into();
        }
        let Some(model) = self.models.iter().find(|model| model.policy == caller.policy) else {
            return ScimError::new(ErrorKind::Internal, "The tenant's policy is not known here.").into();
        };
        let store = Store {
            table: table.clone(),
            tenant: caller.tenant.clone(),
            actor: caller.key_id.clone(),
            request_id: line.ids.lambda.clone(),
        };
        let provider = Provider {
            store,
            model,
            base_url: place.base_url,
            bound_user: caller.user,
            retention_days: caller.retention_days,
            max_scan_time: MAX_SCAN_TIME,
            breaker: caller.breaker,
            root_team_protected: caller.root_team_protected,
            converts_local_accounts: true,
            cursor_keys: self.cursor_keys.clone(),
            recent_checkpoints: self.recent_checkpoints.clone(),
            known_groups: self.known_groups.clone(),
            work: if operation.reads() { WorkBudget::of_query() } else { WorkBudget::of_body() },
        };
        // Boxed: the operations' states are large, and every caller would carry them on its stack.
        let handled = Box::pin(handle(&provider, operation, &segment, request, &self.schemas));
        let (handled, ()) = futures_util::future::join(handled, self.note_use(&caller)).await;
        let mut outcome = match handled {
            Ok(response) => response.into(),
            Err(failure) => refusal(failure, operation, &provider),
        };
        if let (true, Some(user)) = (operation.is_of_me(), provider.bound_user) {
            let location = location(&provider.base_url, Kind::User, &user.to_string());
            response::locate(&mut outcome.response, &location);
        }
        line.notes = provider.work.notes.take();
        outcome
    }

    /// Notes the day on which the key was used.
    async fn note_use(&self, caller: &Caller) {
        // The probe has no key, and leaves nothing in the table.
        if caller.tenant != TenantId::probe() {
            let place = keys::bearer_use(&caller.tenant, &caller.key_id);
            self.used.note(&self.table, &caller.key_id, &place).await;
        }
    }

    /// Answers a raw event with a raw proxy response, as Lambda does.
    ///
    /// # Errors
    /// An error if the event is not a REST proxy event.
    pub async fn invoke(self: Arc<Self>, event: Value) -> Result<Value, Error> {
        invoke_with_event(self, event).await
    }
}

/// The outcome of an operation that failed.
fn refusal(failure: Failure, operation: Operation, provider: &Provider<'_>) -> RequestOutcome {
    let mut failure = if operation.reads() { failure.of_read() } else { failure };
    failure.explain(provider.model.policy, &provider.work.notes);
    failure.into()
}

/// Answers a request that no operation answers.
fn answer_elsewhere(method: &Method, path: &str, route: Route) -> RequestOutcome {
    match route {
        Route::Methods(methods) if method == Method::OPTIONS => response::options(&methods).into(),
        Route::Methods(methods) => {
            let error = refuse_method(method, path, &methods);
            let response = response::method_not_allowed(&error, &methods);
            RequestOutcome { response, ..error.into() }
        }
        Route::Nowhere | Route::To(..) => refuse_path(path).into(),
    }
}

impl HttpFunction for Function {
    /// Answers one request, and logs it.
    async fn answer(&self, request: Request, transfer: Transfer) -> Response<Body> {
        let (response, line) = self.answer_with_line(request, transfer).await;
        line.write();
        response
    }
}
