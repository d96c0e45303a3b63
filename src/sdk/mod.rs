//! What Rollcall's clients of DynamoDB do otherwise than the SDK: the same requests for less work.

mod ready_body;
mod user_agent;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Builder;
use aws_types::SdkConfig;

use self::ready_body::ReadyBody;
pub use self::ready_body::with_body;
use self::user_agent::OneUserAgent;

/// The configuration of a client of DynamoDB, with what all clients of Rollcall have.
pub fn lean(config: Builder) -> Builder {
    config.interceptor(OneUserAgent::default()).interceptor(ReadyBody)
}

/// A client of DynamoDB with this configuration.
pub fn client(config: &SdkConfig) -> Client {
    Client::from_conf(lean(Builder::from(config)).build())
}
