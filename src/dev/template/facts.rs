//! The facts that the local ends are built from: the table, the API in front of the function.

use std::collections::BTreeMap;
use std::time::Duration;

use regex::Regex;

use super::gateway_response::GatewayResponse;

/// The type of a key attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributeType {
    /// `S`
    Text,
    /// `N`
    Number,
    /// `B`
    Binary,
}

/// The table as the template declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFacts {
    /// The partition key.
    pub hash: (String, AttributeType),
    /// The sort key.
    pub range: Option<(String, AttributeType)>,
    /// The attribute that holds an item's expiry.
    pub ttl: Option<String>,
}

/// A token bucket: filled at a rate, holding no more than a burst.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Throttle {
    /// Requests a second.
    pub rate: f64,
    /// Requests at once.
    pub burst: f64,
}

/// Where API Gateway takes the usage key from (`ApiKeySourceType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// The `X-API-Key` header.
    Header,
    /// The authorizer's `usageIdentifierKey`.
    Authorizer,
}

/// One method on one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteFacts {
    /// An HTTP method, or `ANY`.
    pub method: String,
    /// The resource path, such as `/scim/v2/{proxy+}`.
    pub path: String,
    /// The logical name of the function behind it.
    pub function: String,
    /// Whether the authorizer of the API stands before it.
    pub authorized: bool,
    /// Whether the usage plan stands before it.
    pub key_required: bool,
}

/// The Lambda authorizer's settings.
#[derive(Clone, Debug)]
pub struct AuthorizerFacts {
    /// The header that carries the token.
    pub header: String,
    /// What a token must look like (`IdentityValidationExpression`).
    pub expression: Option<Regex>,
    /// How long an answer is kept for the same token; zero: not at all.
    pub ttl: Duration,
}

/// The REST API as the template declares it.
#[derive(Debug)]
pub struct ApiFacts {
    /// The routes, in the template's order.
    pub routes: Vec<RouteFacts>,
    /// The path of the API below its domain: empty, or `/` and the base path of its mapping.
    pub mapping: String,
    /// The authorizer, if the API has one.
    pub authorizer: Option<AuthorizerFacts>,
    /// The throttle of every method that has none of its own.
    pub stage: Option<Throttle>,
    /// The throttles of single methods, by their path and method.
    pub methods: BTreeMap<(String, String), Throttle>,
    /// The throttle of each usage key.
    pub usage_plan: Option<Throttle>,
    /// The throttle of each usage key of the plan `high`.
    pub high_usage_plan: Option<Throttle>,
    /// Where the usage key comes from.
    pub key_source: KeySource,
    /// The customised gateway responses by type.
    pub gateway_responses: BTreeMap<String, GatewayResponse>,
    /// Media types whose bodies travel as base64.
    pub binary_media_types: Vec<String>,
}

impl ApiFacts {
    /// The path below the domain under which the API serves, such as `/scim/v2`: that of its mapping and that of the
    /// greedy route.
    pub fn base_path(&self) -> String {
        let greedy = self.routes.iter().find_map(|route| route.path.strip_suffix("/{proxy+}"));
        format!("{}{}", self.mapping, greedy.unwrap_or_default())
    }
}
