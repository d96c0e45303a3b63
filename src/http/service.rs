//! A function as Lambda's runtime calls it: an event in, a proxy response out.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use futures_util::stream::{self, Iter};
use lambda_http::aws_lambda_events::apigw::ApiGatewayProxyResponse;
use lambda_http::{Body, Context, Error, LambdaEvent, Request, RequestExt as _, Response, Service};
use lambda_runtime::{MetadataPrelude, StreamResponse};
use serde_json::Value;
use uuid::Uuid;

use super::event::ProxyEvent;
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
    let event: ProxyEvent = serde_json::from_value(event)?;
    let mut context = Context::default();
    context.request_id = Uuid::now_v7().to_string();
    let response = LambdaService::new(function).call(LambdaEvent::new(event, context));
    Ok(serde_json::to_value(response.await?)?)
}

/// The answer to come of a function that never fails: every refusal is an answer.
type Answering<R> = Pin<Box<dyn Future<Output = Result<R, Infallible>> + Send>>;

/// A function as a service of REST proxy events, whose answers leave in one piece.
#[derive(Debug)]
pub struct LambdaService<F>(Arc<F>);

impl<F: HttpFunction> LambdaService<F> {
    /// Wraps a function.
    pub const fn new(function: Arc<F>) -> Self {
        Self(function)
    }
}

impl<F: HttpFunction> Service<LambdaEvent<ProxyEvent>> for LambdaService<F> {
    type Response = ApiGatewayProxyResponse;
    type Error = Infallible;
    type Future = Answering<Self::Response>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, event: LambdaEvent<ProxyEvent>) -> Self::Future {
        let function = Arc::clone(&self.0);
        let request = request_of(event);
        Box::pin(async move { Ok(in_one_piece(function.answer(request, Transfer::Buffered).await)) })
    }
}

/// The body of a streamed answer. It is there as a whole, so it is one chunk, or none if it is empty.
type OneChunk = Iter<std::option::IntoIter<Result<Bytes, Infallible>>>;

/// A function as a service of REST proxy events, whose answers are streamed.
#[derive(Debug)]
pub struct StreamingLambdaService<F>(Arc<F>);

impl<F: HttpFunction> StreamingLambdaService<F> {
    /// Wraps a function.
    pub const fn new(function: Arc<F>) -> Self {
        Self(function)
    }
}

impl<F: HttpFunction> Service<LambdaEvent<ProxyEvent>> for StreamingLambdaService<F> {
    type Response = StreamResponse<OneChunk>;
    type Error = Infallible;
    type Future = Answering<Self::Response>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, event: LambdaEvent<ProxyEvent>) -> Self::Future {
        let function = Arc::clone(&self.0);
        let request = request_of(event);
        Box::pin(async move { Ok(as_stream(function.answer(request, Transfer::Streamed).await)) })
    }
}

fn request_of(event: LambdaEvent<ProxyEvent>) -> Request {
    let LambdaEvent { payload: ProxyEvent(request), context } = event;
    request.with_lambda_context(context)
}

/// The proxy response. All headers are among those that may have several values: API Gateway adds the two kinds up.
fn in_one_piece(response: Response<Body>) -> ApiGatewayProxyResponse {
    let (parts, body) = response.into_parts();
    let mut answer = ApiGatewayProxyResponse::default();
    answer.status_code = parts.status.as_u16().into();
    answer.multi_value_headers = parts.headers;
    answer.is_base64_encoded = matches!(body, Body::Binary(_));
    answer.body = Some(body).filter(|body| !matches!(body, Body::Empty));
    answer
}

fn as_stream(response: Response<Body>) -> StreamResponse<OneChunk> {
    let (parts, body) = response.into_parts();
    let body = match body {
        Body::Text(text) => Bytes::from(text),
        Body::Binary(bytes) => Bytes::from(bytes),
        _ => Bytes::new(),
    };
    let chunk = Some(body).filter(|body| !body.is_empty()).map(Ok);
    StreamResponse {
        metadata_prelude: MetadataPrelude {
            headers: parts.headers,
            status_code: parts.status,
            cookies: Vec::new(),
        },
        stream: stream::iter(chunk),
    }
}
