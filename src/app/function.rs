//! The function of the application's side: a REST proxy event in, a proxy response out.

use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;
use http::Method;
use http::header::ACCEPT_ENCODING;
use lambda_http::{Body, Error, Request, Response};
use serde_json::Value;

use super::APP_BASE_PATH;
use super::caller::AppCaller;
use super::handler::handle;
use super::problem::ProblemDetails;
use super::request::{AppRequest, Managing};
use super::router::{AppRoute, route};
use crate::auth::application::ApplicationScope;
use crate::auth::authorizer::Reason;
use crate::auth::key_use::KeyUses;
use crate::clock;
use crate::http::caller::RequestLocation;
use crate::http::event::GatewayContext;
use crate::http::log::{Line, OperationClass};
use crate::http::response::{self, Transfer};
use crate::http::service::{HttpFunction, invoke_with_event};
use crate::scim::error::ScimError;
use crate::scim::resource_type::{Kind, Model};
use crate::scim::schema::Schema;
use crate::store::call::Table;
use crate::store::cursor::CursorKeys;
use crate::store::keys::{self, TenantId};
use crate::tenants::actor::Actor;

/// As API Gateway answers for a key that the authorizer refuses (`ACCESS_DENIED` in `template.yaml`).
const EXPIRED: &str =
    "This application key is unknown, expired or revoked. Have a new one made (rollcall application create).";

/// Everything that outlives a request.
pub struct AppFunction {
    table: Table,
    models: Vec<Model>,
    /// What the function that manages has; `None` in the one that only reads.
    managing: Option<Managing>,
    cursor_keys: CursorKeys,
    used: KeyUses,
}

impl AppFunction {
    /// A function over a table, with extension schemas of the operator's own. Without `managing` it only
    /// reads.
    ///
    /// # Errors
    /// As [`Model::new`].
    pub fn new(
        table: Table,
        extensions: &[(Kind, Schema)],
        managing: Option<Managing>,
    ) -> Result<Self, ScimError> {
        let (models, cursor_keys) = (Model::all(extensions)?, CursorKeys::default());
        Ok(Self { table, models, managing, cursor_keys, used: KeyUses::default() })
    }

    /// Answers one request, with what there is to log of it.
    pub async fn answer_with_line(&self, request: Request, transfer: Transfer) -> (Response<Body>, Line) {
        let began = Instant::now();
        let table = self.table.fresh();
        let mut line = Line { class: OperationClass::App, ..Line::of_request(&request) };
        let accept = request.headers().get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
        let ids = line.ids.clone();
        // Its type is erased, so that the compiler can check what nests it.
        let answer = ids.scope(self.outcome(&request, &table, &mut line).boxed()).await;
        let mut response = match answer {
            Ok(response) => fit(response, accept, transfer),
            Err(problem) => {
                line.scim_type = problem.kind;
                line.source.clone_from(&problem.source);
                line.detail = Some(problem.detail.clone());
                problem.response()
            }
        };
        response::protect(&mut response);
        line.status = response.status().as_u16();
        line.duration_ms = began.elapsed().as_secs_f64() * 1000.0;
        line.usage = table.usage();
        line.refusals = table.refusals();
        (response, line)
    }

    async fn outcome(
        &self,
        request: &Request,
        table: &Table,
        line: &mut Line,
    ) -> Result<Response<Body>, ProblemDetails> {
        let caller = AppCaller::read(request)?;
        line.key_id = Some(caller.key_id.clone());
        if GatewayContext::of(request).is_some_and(|context| context.has_expired(clock::now())) {
            let source = Some(Reason::Expired.name().to_owned());
            return Err(ProblemDetails { source, ..ProblemDetails::new(401, EXPIRED) });
        }
        let place = RequestLocation::below(APP_BASE_PATH, request, None);
        let (operation, segments) = match route(request.method(), &place.path) {
            AppRoute::To(operation, segments) => (operation, segments),
            AppRoute::Methods(methods) if request.method() == Method::OPTIONS => {
                return Ok(response::options(&methods));
            }
            AppRoute::Methods(methods) => {
                return Err(ProblemDetails::method_not_allowed(methods, request.method(), &place.path));
            }
            AppRoute::Nowhere => {
                let advice = "There is no such endpoint. A path below /app/v1 begins with /changes, /status, /tenants or /webhooks.";
                return Err(ProblemDetails::new(404, advice));
            }
        };
        line.operation = operation.name();
        if operation.scope() == ApplicationScope::Manage && caller.scope == ApplicationScope::Read {
            let detail = "The key's scope is read; this operation needs a key with the scope manage.";
            return Err(ProblemDetails::new(403, detail));
        }
        let noted = keys::application_use(&caller.key_id);
        let noted = self.used.note(&self.table, &caller.key_id, &noted);
        let actor = Actor { id: caller.key_id.clone(), request_id: line.ids.lambda.clone() };
        let app = AppRequest {
            table,
            models: &self.models,
            managing: self.managing.as_ref(),
            cursor_keys: &self.cursor_keys,
            base_url: place.base_url,
            actor,
            request,
        };
        if let Some(tenant) = segments.first() {
            line.tenant = tenant.parse().ok().map(|tenant: TenantId| tenant.to_string());
        }
        let (handled, ()) = futures_util::future::join(handle(&app, operation, &segments), noted).await;
        match request.method() {
            &Method::GET | &Method::HEAD => handled.map_err(ProblemDetails::of_read),
            _ => handled,
        }
    }

    /// Answers a raw event with a raw proxy response, by the same way as in Lambda.
    ///
    /// # Errors
    /// An event that is no REST proxy event.
    pub async fn invoke(self: Arc<Self>, event: Value) -> Result<Value, Error> {
        invoke_with_event(self, event).await
    }
}

/// The answer as it can be passed on: packed where the client takes that, refused where it is too large.
fn fit(response: Response<Body>, accept: Option<&str>, transfer: Transfer) -> Response<Body> {
    let status = response.status();
    let fitted = response::fit_into_transfer(response, accept, transfer, &Method::GET);
    if fitted.status() == status {
        return fitted;
    }
    let detail = "The answer is larger than what can be passed on. Send Accept-Encoding: gzip, or ask for less: excludedAttributes=members, or a smaller count or limit.";
    ProblemDetails::typed(400, "tooMany", detail).response()
}

impl HttpFunction for AppFunction {
    async fn answer(&self, request: Request, transfer: Transfer) -> Response<Body> {
        let (response, line) = self.answer_with_line(request, transfer).await;
        line.write();
        response
    }
}
