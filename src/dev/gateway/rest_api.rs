//! One request, in the order in which API Gateway goes about it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, header};

use super::super::template::facts::{ApiFacts, KeySource, RouteFacts};
use super::answer;
use super::authorizer::GatewayAuthorizer;
use super::event::{Context, Target, text};
use super::lambda::{Clock, Fault, Lambda};
use super::refusal::{GatewayRefusal, GatewayResponses};
use super::usage_plan::UsagePlan;
use crate::http::log::Line;
use crate::limits::{MAX_GATEWAY_HEAD_BYTES, USAGE_KEY_CHARS};
use crate::log::readable::describe_request;
use crate::tenants::usage::HIGH_PREFIX;

/// A REST API: routes, what stands before them, and the function behind.
pub struct Gateway {
    routes: Vec<RouteFacts>,
    /// If a route needs one.
    authorizer: Option<GatewayAuthorizer>,
    stage: Option<UsagePlan>,
    methods: Vec<((String, String), UsagePlan)>,
    usage_plan: Option<UsagePlan>,
    /// The plan of generated usage keys that name it.
    high_usage_plan: Option<UsagePlan>,
    key_source: KeySource,
    responses: GatewayResponses,
    binary_media_types: Vec<String>,
    /// By the logical name.
    functions: BTreeMap<String, Lambda>,
    /// The path of the API below its domain. Routes are below it.
    mapping: String,
    base_path: String,
    clock: Clock,
}

impl Gateway {
    /// The API that the template declares, with this function and this authorizer.
    pub fn new(facts: ApiFacts, function: Lambda, authorizer: Lambda, clock: Clock) -> Self {
        Self::with_functions(facts, |_| function.clone(), authorizer, clock)
    }

    /// The API that the template declares, with the functions of these logical names.
    pub fn with_functions(
        facts: ApiFacts,
        function: impl Fn(&str) -> Lambda,
        authorizer: Lambda,
        clock: Clock,
    ) -> Self {
        let named = facts.routes.iter().map(|route| (route.function.clone(), function(&route.function)));
        Self {
            functions: named.collect(),
            base_path: facts.base_path(),
            mapping: facts.mapping,
            routes: facts.routes,
            authorizer: facts
                .authorizer
                .map(|facts| GatewayAuthorizer::new(facts, authorizer, clock.clone())),
            stage: facts.stage.map(UsagePlan::new),
            methods: facts
                .methods
                .into_iter()
                .map(|(method, throttle)| (method, UsagePlan::new(throttle)))
                .collect(),
            usage_plan: facts.usage_plan.map(UsagePlan::new),
            high_usage_plan: facts.high_usage_plan.map(UsagePlan::new),
            key_source: facts.key_source,
            responses: GatewayResponses::new(facts.gateway_responses),
            binary_media_types: facts.binary_media_types,
            clock,
        }
    }

    /// Whether a path is below the path of this API.
    pub fn serves(&self, path: &str) -> bool {
        path.strip_prefix(&self.base_path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Answers a request that came from `peer` on `local`. The body is what could be read of it.
    pub async fn answer(
        &self,
        parts: &Parts,
        body: Result<Bytes, GatewayRefusal>,
        peer: SocketAddr,
        local: SocketAddr,
    ) -> Response<Bytes> {
        let started = Instant::now();
        let mut context = Context::new(parts, peer, local, self.clock.now());
        let found = self.route(&context.method, &context.path);
        let answer = match &found {
            Some((route, proxy)) => {
                let admitted = self.admit(parts, route, &mut context).await;
                match (admitted, body) {
                    (Ok(()), Ok(body)) => {
                        let target = Target { path: &route.path, proxy: proxy.as_deref() };
                        match self.functions.get(&route.function) {
                            Some(function) => self.invoke(function, (parts, &body), &target, &context).await,
                            None => Err(GatewayRefusal::FunctionFault),
                        }
                    }
                    (Err(refusal), _) | (Ok(()), Err(refusal)) => Err(refusal),
                }
            }
            None if parts.headers.contains_key(header::AUTHORIZATION) => {
                Err(GatewayRefusal::InvalidSignature)
            }
            None => Err(GatewayRefusal::MissingAuthenticationToken),
        };
        let refused = answer.is_err();
        let mut response = answer.unwrap_or_else(|refusal| self.responses.answer(refusal, &context));
        let ids =
            [("x-amzn-requestid", &context.request_id), ("x-amz-apigw-id", &context.extended_request_id)];
        for (name, id) in ids {
            if let Ok(id) = HeaderValue::from_str(id) {
                response.headers_mut().insert(name, id);
            }
        }
        if parts.method == Method::HEAD {
            let length = response.body().len();
            if length > 0 {
                response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
            }
            *response.body_mut() = Bytes::new();
        }
        if refused {
            // The function logs what it answers; what it never saw is logged here, in the same form.
            let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap_or_default();
            Line {
                request: describe_request(&context.method, parts.uri.path(), parts.uri.query()),
                detail: body["detail"].as_str().or(body["error_description"].as_str()).map(str::to_owned),
                ids: context.ids(),
                source_ip: Some(context.source_ip()),
                operation: "gateway",
                status: response.status().as_u16(),
                duration_ms: started.elapsed().as_secs_f64() * 1000.0,
                ..Line::default()
            }
            .write();
        }
        response
    }

    /// Asks the throttle of the method, the authorizer and the usage plan. Puts the authorizer's answer into
    /// the context.
    async fn admit(
        &self,
        parts: &Parts,
        route: &RouteFacts,
        context: &mut Context,
    ) -> Result<(), GatewayRefusal> {
        if head_size(parts) > MAX_GATEWAY_HEAD_BYTES {
            return Err(GatewayRefusal::RequestTooLarge);
        }
        if self.throttle(route).is_some_and(|throttle| !throttle.admits("", self.clock.now())) {
            return Err(GatewayRefusal::Throttled);
        }
        if route.authorized {
            let authorizer = self.authorizer.as_ref().ok_or(GatewayRefusal::AuthorizerConfigurationError)?;
            let token = parts.headers.get(authorizer.header()).map(text);
            let arn = context.method_arn();
            let authorization = authorizer.authorize(token.as_deref(), &arn).await?;
            let allows = authorization.policy.allows(&arn);
            context.authorization = Some(authorization);
            if !allows {
                return Err(GatewayRefusal::AccessDenied);
            }
        }
        if route.key_required {
            let key =
                self.usage_key(&parts.headers, context).filter(|key| USAGE_KEY_CHARS.contains(&key.len()));
            let key = key.ok_or(GatewayRefusal::InvalidApiKey)?;
            let plan = match key.starts_with(HIGH_PREFIX) {
                true => self.high_usage_plan.as_ref(),
                false => self.usage_plan.as_ref(),
            };
            if plan.is_some_and(|plan| !plan.admits(&key, self.clock.now())) {
                return Err(GatewayRefusal::Throttled);
            }
        }
        Ok(())
    }

    /// Invokes the function and reads its answer.
    async fn invoke(
        &self,
        function: &Lambda,
        (parts, body): (&Parts, &Bytes),
        target: &Target<'_>,
        context: &Context,
    ) -> Result<Response<Bytes>, GatewayRefusal> {
        let binary = self.is_binary(parts.headers.get(header::CONTENT_TYPE));
        let event = context.event(parts, body, target, binary);
        let answer = function.invoke(event).await.map_err(|fault| {
            tracing::error!(?fault, request_id = context.request_id, "the function gave no answer");
            match fault {
                Fault::TimedOut => GatewayRefusal::IntegrationTimeout,
                Fault::Busy => GatewayRefusal::Throttled,
                Fault::Error(_) | Fault::Crashed => GatewayRefusal::FunctionFault,
            }
        })?;
        answer::read(&answer, self.is_binary(parts.headers.get(header::ACCEPT))).map_err(|problem| {
            tracing::error!(request_id = context.request_id, "the function's answer {problem}");
            GatewayRefusal::FunctionFault
        })
    }

    /// The route for this method and path, and what its `{proxy+}` stands for. Exact paths come first, and the
    /// method itself before `ANY`; a slash at the end counts for nothing.
    fn route(&self, method: &str, path: &str) -> Option<(&RouteFacts, Option<String>)> {
        let path = path.strip_prefix(self.mapping.as_str())?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let own = self.routes.iter().filter(|route| route.method == method);
        let served: Vec<&RouteFacts> =
            own.chain(self.routes.iter().filter(|route| route.method == "ANY")).collect();
        if let Some(route) = served.iter().find(|route| route.path == path) {
            return Some((route, None));
        }
        served.into_iter().find_map(|route| {
            let prefix = route.path.strip_suffix("{proxy+}")?;
            let proxy = path.strip_prefix(prefix).filter(|proxy| !proxy.is_empty())?;
            Some((route, Some(proxy.to_owned())))
        })
    }

    /// What bounds a method for all callers together: before anybody is asked who calls.
    fn throttle(&self, route: &RouteFacts) -> Option<&UsagePlan> {
        let own =
            self.methods.iter().find(|((path, method), _)| *path == route.path && *method == route.method);
        own.map(|(_, throttle)| throttle).or(self.stage.as_ref())
    }

    fn usage_key(&self, headers: &HeaderMap, context: &Context) -> Option<String> {
        match self.key_source {
            KeySource::Header => headers.get("x-api-key").map(text),
            KeySource::Authorizer => context.authorization.as_ref()?.usage_key.clone(),
        }
    }

    /// Whether the first media type in this header is one that the API declares as binary.
    fn is_binary(&self, value: Option<&HeaderValue>) -> bool {
        let first = value.map(text).unwrap_or_default().to_ascii_lowercase();
        let first = first.split([',', ';']).next().unwrap_or_default().trim();
        self.binary_media_types.iter().any(|declared| declared == "*/*" || declared == first)
    }
}

/// The bytes of the request line and the headers.
fn head_size(parts: &Parts) -> usize {
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    let headers: usize = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    parts.method.as_str().len() + target + headers
}
