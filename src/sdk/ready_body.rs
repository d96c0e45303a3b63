//! Requests whose body is ready. The SDK takes the items of a transaction as values of its own types, and writes them
//! with a writer that is made for any shape. A caller who has the JSON needs neither.

use std::cell::Cell;

use aws_sdk_dynamodb::config::interceptors::BeforeSerializationInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept};
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::Input;
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::ser_de::{SerializeRequest, SharedRequestSerializer};
use bytes::Bytes;

tokio::task_local! {
    /// The body of the request that is being sent, on its way past the SDK's types.
    static READY: Cell<Option<Bytes>>;
}

/// Sends a request of a client of [`super::lean`] with this body, which is that of TransactWriteItems. `call` is the
/// same request without its items. A client that is not lean sends it without them, and DynamoDB refuses it.
pub async fn with_body<C: Future>(body: Vec<u8>, call: C) -> C::Output {
    READY.scope(Cell::new(Some(body.into())), call).await
}

/// Gives a request the body that is ready for it.
#[derive(Debug)]
pub struct ReadyBody;

#[dyn_dispatch_hint]
impl Intercept for ReadyBody {
    fn name(&self) -> &'static str {
        "ReadyBody"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Ok(Some(body)) = READY.try_with(Cell::take) {
            config.interceptor_state().store_put(SharedRequestSerializer::new(ReadySerializer(body)));
        }
        Ok(())
    }
}

/// Makes the request around a body as the SDK does.
#[derive(Debug)]
struct ReadySerializer(Bytes);

impl SerializeRequest for ReadySerializer {
    fn serialize_input(&self, _: Input, _: &mut ConfigBag) -> Result<HttpRequest, BoxError> {
        let mut request = HttpRequest::new(self.0.clone().into());
        request.set_method("POST")?;
        request.set_uri("/")?;
        let headers = request.headers_mut();
        headers.insert("content-type", "application/x-amz-json-1.0");
        headers.insert("x-amz-target", "DynamoDB_20120810.TransactWriteItems");
        headers.insert("content-length", self.0.len().to_string());
        Ok(request)
    }
}
