//! The tests of the application's side: keys, clients and tokens, the feed of changes, the event bus and webhooks.

mod app;
mod app_dev;
mod app_mirror;
mod app_status;
mod app_support;
mod app_tenants;
mod app_torn;
mod app_webhooks;
mod applications;
mod authorizer;
mod breaker;
mod bus;
mod deliver;
mod feed;
mod feed_torn;
mod key_rotation;
mod oauth;
mod oauth_federated;
mod oauth_support;
mod support;
mod usage_key;
mod webhook_changes;
