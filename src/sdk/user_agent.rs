//! One user agent for all requests of a client.

use std::sync::OnceLock;

use aws_runtime::user_agent::UserAgentInterceptor;
use aws_sdk_dynamodb::config::interceptors::{
    BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
    BeforeTransmitInterceptorContextRef,
};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_runtime_api::client::interceptors::{disable_interceptor, dyn_dispatch_hint};

const USER_AGENT: &str = "user-agent";

/// Keeps the user agent that the SDK gives to the first request, and gives it to all others. The SDK would put it
/// together anew for each, from parts that never change, in two headers. That is a twentieth of what a call takes.
#[derive(Debug, Default)]
pub struct OneUserAgent {
    kept: OnceLock<String>,
}

#[dyn_dispatch_hint]
impl Intercept for OneUserAgent {
    fn name(&self) -> &'static str {
        "OneUserAgent"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if self.kept.get().is_some() {
            let disabled = disable_interceptor::<UserAgentInterceptor>("the user agent is known");
            config.interceptor_state().store_put(disabled);
        }
        Ok(())
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(kept) = self.kept.get() {
            context.request_mut().headers_mut().insert(USER_AGENT, kept.clone());
        }
        Ok(())
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if self.kept.get().is_none()
            && let Some(sent) = context.request().headers().get(USER_AGENT)
        {
            // Another request at the same moment may have been first. Its user agent is the same.
            let _ = self.kept.set(sent.to_owned());
        }
        Ok(())
    }
}
