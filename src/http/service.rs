//! A function as Lambda's runtime calls it: an event in, a proxy response out.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use http::HeaderValue;
use lambda_http::aws_lambda_events::apigw::ApiGatewayProxyRequest;
use lambda_http::request::LambdaRequest;
use lambda_http::{Adapter, Body, Error, LambdaEvent, Request, Response, Service, StreamAdapter};
use serde_json::Value;
use uuid::Uuid;

use super::response::Transfer;

/// What answers requests that came through API Gateway.
pub trait HttpFunction: Send + Sync + 'static {
    /// Answers one request, and logs it.
    fn answer(&self, request: Request, transfer: Transfer) -> impl Future<Output = Response<Body>> + Send;
}

/// Answers a raw event with a raw proxy response, by the same way as in Lambda. It has an id as Lambda gives one.
///
/// # Errors
/// An event that is no REST proxy event.
pub async fn invoke_with_event<F: HttpFunction>(function: Arc<F>, event: Value) -> Result<Value, Error> {
    let event: ApiGatewayProxyRequest = serde_json::from_value(event)?;
    let mut context = lambda_http::Context::default();
    context.request_id = Uuid::now_v7().to_string();
    let response = LambdaService::new(function).call(LambdaEvent::new(event, context));
    Ok(serde_json::to_value(response.await?)?)
}

/// A function as a service of requests.
#[derive(Debug)]
pub struct RequestService<F> {
    function: Arc<F>,
    transfer: Transfer,
}

impl<F> Clone for RequestService<F> {
    fn clone(&self) -> Self {
        Self { function: self.function.clone(), transfer: self.transfer }
    }
}

impl<F: HttpFunction> Service<Request> for RequestService<F> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Self { function, transfer } = self.clone();
        Box::pin(async move { Ok(function.answer(request, transfer).await) })
    }
}

/// The function as a service of REST proxy events, which are parsed as such at once. lambda_http makes a URL out of
/// the host and the scheme in the event and panics where it cannot; this layer takes such texts out first.
#[derive(Clone)]
pub struct LambdaService<A>(A);

impl<F: HttpFunction> LambdaService<Adapter<'static, Response<Body>, RequestService<F>>> {
    /// Wraps a function whose answers leave in one piece.
    pub fn new(function: Arc<F>) -> Self {
        Self(Adapter::from(RequestService { function, transfer: Transfer::Buffered }))
    }
}

impl<F: HttpFunction> LambdaService<StreamAdapter<'static, RequestService<F>, Body>> {
    /// Wraps a function whose answers are streamed.
    pub fn streaming(function: Arc<F>) -> Self {
        Self(StreamAdapter::from(RequestService { function, transfer: Transfer::Streamed }))
    }
}

impl<A: Service<LambdaEvent<LambdaRequest>>> Service<LambdaEvent<ApiGatewayProxyRequest>>
    for LambdaService<A>
{
    type Response = A::Response;
    type Error = A::Error;
    type Future = A::Future;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), A::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, event: LambdaEvent<ApiGatewayProxyRequest>) -> Self::Future {
        let LambdaEvent { payload: mut request, context } = event;
        let authority = |value: &HeaderValue| {
            value.to_str().is_ok_and(|text| text.parse::<http::uri::Authority>().is_ok())
        };
        let scheme = |value: &HeaderValue| matches!(value.as_bytes(), b"http" | b"https");
        for headers in [&mut request.headers, &mut request.multi_value_headers] {
            if headers.get("host").is_some_and(|value| !authority(value)) {
                headers.remove("host");
            }
            if headers.get("x-forwarded-proto").is_some_and(|value| !scheme(value)) {
                headers.remove("x-forwarded-proto");
            }
        }
        let domain = request.request_context.domain_name.as_deref();
        if domain.is_some_and(|domain| domain.parse::<http::uri::Authority>().is_err()) {
            request.request_context.domain_name = None;
        }
        self.0.call(LambdaEvent::new(LambdaRequest::ApiGatewayV1(request), context))
    }
}
