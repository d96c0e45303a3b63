//! The AWS SDK's client of HTTP without TLS: for a table on this machine, and where no server can be trusted.

use aws_sdk_dynamodb::config::SharedHttpClient;
use aws_smithy_http_client::{Builder, Connector};

/// A client that refuses https URLs. Unlike the SDK's own, it needs no CA certificates.
pub fn plain_http() -> SharedHttpClient {
    Builder::new().build_with_connector_fn(|settings, components| {
        let mut builder = Connector::builder();
        builder.set_connector_settings(settings.cloned());
        builder.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        builder.build_http()
    })
}
