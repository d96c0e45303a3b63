//! One table of method and path.

use http::Method;
use percent_encoding::percent_decode_str;

use crate::auth::application::ApplicationScope;
use crate::scim::resource_type::DefinedKind::{self, Entitlement, Role};
use crate::scim::resource_type::Kind::{self, Group, User};

/// What a route does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppOperation {
    /// The change feed, from a position on.
    ListChanges,
    /// Where the feed stands.
    Status,
    /// The tenants, page by page.
    ListTenants,
    /// A new tenant.
    CreateTenant,
    /// One tenant.
    RetrieveTenant,
    /// The settings of a tenant.
    UpdateTenant,
    /// A SCIM query (RFC 7644 §3.4.2).
    Query(Kind),
    /// A SCIM retrieval (RFC 7644 §3.4.1).
    Retrieve(Kind),
    /// The members of a group, page by page.
    ListMembers,
    /// Which roles a group grants.
    ReplaceAssignments,
    /// The bearer keys of a tenant.
    ListKeys,
    /// A new bearer key.
    CreateKey,
    /// The successor of a bearer key.
    RotateKey,
    /// The end of a bearer key.
    RevokeKey,
    /// What is done with OAuth clients.
    Client(ClientOperation),
    /// What is done with roles or entitlements.
    Definition(DefinedKind, DefinitionOperation),
    /// What is done with webhooks.
    Webhook(WebhookOperation),
}

/// What a route of OAuth clients does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientOperation {
    /// The clients of a tenant.
    List,
    /// A new client.
    Create,
    /// A new secret.
    Rotate,
    /// The end of a client.
    Revoke,
}

impl ClientOperation {
    const fn name(self) -> &'static str {
        match self {
            Self::List => "app.listClients",
            Self::Create => "app.createClient",
            Self::Rotate => "app.rotateClient",
            Self::Revoke => "app.revokeClient",
        }
    }

    const fn scope(self) -> ApplicationScope {
        match self {
            Self::List => ApplicationScope::Read,
            Self::Create | Self::Rotate | Self::Revoke => ApplicationScope::Manage,
        }
    }
}

/// What a route of roles or entitlements does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefinitionOperation {
    /// The roles or entitlements, page by page.
    List,
    /// A new one.
    Create,
    /// One of them.
    Retrieve,
    /// Another name, description, type or other grants.
    Update,
    /// The end of it.
    Delete,
}

impl DefinitionOperation {
    const fn name(self, kind: DefinedKind) -> &'static str {
        match (self, kind) {
            (Self::List, Role) => "app.listRoles",
            (Self::List, Entitlement) => "app.listEntitlements",
            (Self::Create, Role) => "app.createRole",
            (Self::Create, Entitlement) => "app.createEntitlement",
            (Self::Retrieve, Role) => "app.retrieveRole",
            (Self::Retrieve, Entitlement) => "app.retrieveEntitlement",
            (Self::Update, Role) => "app.updateRole",
            (Self::Update, Entitlement) => "app.updateEntitlement",
            (Self::Delete, Role) => "app.deleteRole",
            (Self::Delete, Entitlement) => "app.deleteEntitlement",
        }
    }

    const fn scope(self) -> ApplicationScope {
        match self {
            Self::List | Self::Retrieve => ApplicationScope::Read,
            Self::Create | Self::Update | Self::Delete => ApplicationScope::Manage,
        }
    }
}

/// What a route of webhooks does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookOperation {
    /// The webhooks, page by page.
    List,
    /// A new webhook.
    Create,
    /// One webhook.
    Retrieve,
    /// Another URL, other messages, or a disabled webhook that is enabled again.
    Update,
    /// The end of a webhook.
    Delete,
    /// A message without changes.
    Test,
    /// A new secret.
    Rotate,
}

impl WebhookOperation {
    const fn name(self) -> &'static str {
        match self {
            Self::List => "app.listWebhooks",
            Self::Create => "app.createWebhook",
            Self::Retrieve => "app.retrieveWebhook",
            Self::Update => "app.updateWebhook",
            Self::Delete => "app.deleteWebhook",
            Self::Test => "app.testWebhook",
            Self::Rotate => "app.rotateWebhook",
        }
    }

    const fn scope(self) -> ApplicationScope {
        match self {
            Self::List | Self::Retrieve => ApplicationScope::Read,
            Self::Create | Self::Update | Self::Delete | Self::Test | Self::Rotate => {
                ApplicationScope::Manage
            }
        }
    }
}

impl AppOperation {
    /// The name in logs and in the OpenAPI document.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ListChanges => "app.listChanges",
            Self::Status => "app.status",
            Self::ListTenants => "app.listTenants",
            Self::CreateTenant => "app.createTenant",
            Self::RetrieveTenant => "app.retrieveTenant",
            Self::UpdateTenant => "app.updateTenant",
            Self::Query(User) => "app.queryUsers",
            Self::Query(Group) => "app.queryGroups",
            Self::Retrieve(User) => "app.retrieveUser",
            Self::Retrieve(Group) => "app.retrieveGroup",
            Self::ListMembers => "app.listMembers",
            Self::ReplaceAssignments => "app.replaceAssignments",
            Self::ListKeys => "app.listKeys",
            Self::CreateKey => "app.createKey",
            Self::RotateKey => "app.rotateKey",
            Self::RevokeKey => "app.revokeKey",
            Self::Client(operation) => operation.name(),
            Self::Definition(kind, operation) => operation.name(kind),
            Self::Webhook(operation) => operation.name(),
        }
    }

    /// The query parameters that it takes.
    pub const fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::ListChanges => &["after", "limit", "tenant", "include"],
            Self::ListTenants
            | Self::ListMembers
            | Self::Definition(_, DefinitionOperation::List)
            | Self::Webhook(WebhookOperation::List) => &["cursor", "limit"],
            Self::Query(_) => &[
                "filter",
                "sortBy",
                "sortOrder",
                "startIndex",
                "start_index",
                "count",
                "cursor",
                "attributes",
                "excludedAttributes",
            ],
            Self::Retrieve(_) => &["attributes", "excludedAttributes"],
            _ => &[],
        }
    }

    /// The scope that a key needs for it. `manage` covers `read`.
    pub const fn scope(self) -> ApplicationScope {
        match self {
            Self::ListChanges
            | Self::Status
            | Self::ListTenants
            | Self::RetrieveTenant
            | Self::Query(_)
            | Self::Retrieve(_)
            | Self::ListMembers
            | Self::ListKeys => ApplicationScope::Read,
            Self::CreateTenant
            | Self::UpdateTenant
            | Self::ReplaceAssignments
            | Self::CreateKey
            | Self::RotateKey
            | Self::RevokeKey => ApplicationScope::Manage,
            Self::Client(operation) => operation.scope(),
            Self::Definition(_, operation) => operation.scope(),
            Self::Webhook(operation) => operation.scope(),
        }
    }
}

/// Every route. `{}` is one segment.
pub const APP_ROUTES: &[(Method, &str, AppOperation)] = &[
    (Method::GET, "/changes", AppOperation::ListChanges),
    (Method::GET, "/status", AppOperation::Status),
    (Method::GET, "/tenants", AppOperation::ListTenants),
    (Method::POST, "/tenants", AppOperation::CreateTenant),
    (Method::GET, "/tenants/{}", AppOperation::RetrieveTenant),
    (Method::PATCH, "/tenants/{}", AppOperation::UpdateTenant),
    (Method::GET, "/tenants/{}/Users", AppOperation::Query(User)),
    (Method::GET, "/tenants/{}/Users/{}", AppOperation::Retrieve(User)),
    (Method::GET, "/tenants/{}/Groups", AppOperation::Query(Group)),
    (Method::GET, "/tenants/{}/Groups/{}", AppOperation::Retrieve(Group)),
    (Method::GET, "/tenants/{}/Groups/{}/members", AppOperation::ListMembers),
    (Method::PUT, "/tenants/{}/Groups/{}/assignments", AppOperation::ReplaceAssignments),
    (Method::GET, "/tenants/{}/keys", AppOperation::ListKeys),
    (Method::POST, "/tenants/{}/keys", AppOperation::CreateKey),
    (Method::DELETE, "/tenants/{}/keys/{}", AppOperation::RevokeKey),
    (Method::POST, "/tenants/{}/keys/{}/rotate", AppOperation::RotateKey),
    (Method::GET, "/tenants/{}/clients", AppOperation::Client(ClientOperation::List)),
    (Method::POST, "/tenants/{}/clients", AppOperation::Client(ClientOperation::Create)),
    (Method::DELETE, "/tenants/{}/clients/{}", AppOperation::Client(ClientOperation::Revoke)),
    (Method::POST, "/tenants/{}/clients/{}/rotate", AppOperation::Client(ClientOperation::Rotate)),
    (Method::GET, "/tenants/{}/roles", AppOperation::Definition(Role, DefinitionOperation::List)),
    (Method::POST, "/tenants/{}/roles", AppOperation::Definition(Role, DefinitionOperation::Create)),
    (Method::GET, "/tenants/{}/roles/{}", AppOperation::Definition(Role, DefinitionOperation::Retrieve)),
    (Method::PATCH, "/tenants/{}/roles/{}", AppOperation::Definition(Role, DefinitionOperation::Update)),
    (Method::DELETE, "/tenants/{}/roles/{}", AppOperation::Definition(Role, DefinitionOperation::Delete)),
    (
        Method::GET,
        "/tenants/{}/entitlements",
        AppOperation::Definition(Entitlement, DefinitionOperation::List),
    ),
    (
        Method::POST,
        "/tenants/{}/entitlements",
        AppOperation::Definition(Entitlement, DefinitionOperation::Create),
    ),
    (
        Method::GET,
        "/tenants/{}/entitlements/{}",
        AppOperation::Definition(Entitlement, DefinitionOperation::Retrieve),
    ),
    (
        Method::PATCH,
        "/tenants/{}/entitlements/{}",
        AppOperation::Definition(Entitlement, DefinitionOperation::Update),
    ),
    (
        Method::DELETE,
        "/tenants/{}/entitlements/{}",
        AppOperation::Definition(Entitlement, DefinitionOperation::Delete),
    ),
    (Method::GET, "/webhooks", AppOperation::Webhook(WebhookOperation::List)),
    (Method::POST, "/webhooks", AppOperation::Webhook(WebhookOperation::Create)),
    (Method::GET, "/webhooks/{}", AppOperation::Webhook(WebhookOperation::Retrieve)),
    (Method::PATCH, "/webhooks/{}", AppOperation::Webhook(WebhookOperation::Update)),
    (Method::DELETE, "/webhooks/{}", AppOperation::Webhook(WebhookOperation::Delete)),
    (Method::POST, "/webhooks/{}/test", AppOperation::Webhook(WebhookOperation::Test)),
    (Method::POST, "/webhooks/{}/rotate", AppOperation::Webhook(WebhookOperation::Rotate)),
];

/// Where a request leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppRoute {
    /// To an operation, with the decoded segments that `{}` stands for.
    To(AppOperation, Vec<String>),
    /// The path exists, with these methods.
    Methods(String),
    /// Nowhere.
    Nowhere,
}

/// Finds the route of a method and a path below the base URL. The path may be percent-encoded and may end in
/// a slash; HEAD leads where GET does.
pub fn route(method: &Method, path: &str) -> AppRoute {
    let path = path.strip_suffix('/').unwrap_or(path);
    let wanted = if method == Method::HEAD { &Method::GET } else { method };
    let mut methods: Vec<&str> = Vec::new();
    for (allowed, route, operation) in APP_ROUTES {
        let Some(segments) = matches(route, path) else { continue };
        if allowed == wanted {
            return AppRoute::To(*operation, segments);
        }
        methods.push(allowed.as_str());
    }
    if methods.is_empty() {
        return AppRoute::Nowhere;
    }
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    methods.push("OPTIONS");
    AppRoute::Methods(methods.join(", "))
}

/// What stands for each `{}`, if the path fits the route.
fn matches(route: &str, path: &str) -> Option<Vec<String>> {
    let (mut wanted, mut given) = (route.split('/'), path.split('/'));
    let mut segments = Vec::new();
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(segments),
            (Some("{}"), Some(segment)) => {
                let segment = decoded(segment).filter(|segment| !segment.is_empty())?;
                segments.push(segment);
            }
            (Some(literal), Some(segment)) if decoded(segment)? == literal => {}
            _ => return None,
        }
    }
}

fn decoded(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_operations() {
        let to = |operation, segments: &[&str]| {
            AppRoute::To(operation, segments.iter().map(|segment| (*segment).to_owned()).collect())
        };
        let methods = |text: &str| AppRoute::Methods(text.to_owned());
        for (method, path, expected) in [
            ("GET", "/changes", to(AppOperation::ListChanges, &[])),
            ("HEAD", "/status/", to(AppOperation::Status, &[])),
            ("GET", "/tenants/acme", to(AppOperation::RetrieveTenant, &["acme"])),
            ("GET", "/tenants/acme/Users", to(AppOperation::Query(User), &["acme"])),
            ("GET", "/tenants/a%2Fb/Groups/1", to(AppOperation::Retrieve(Group), &["a/b", "1"])),
            ("POST", "/tenants/acme/keys/key_1/rotate", to(AppOperation::RotateKey, &["acme", "key_1"])),
            (
                "DELETE",
                "/tenants/acme/roles/billing",
                to(AppOperation::Definition(Role, DefinitionOperation::Delete), &["acme", "billing"]),
            ),
            ("PUT", "/tenants/acme/entitlements", methods("GET, POST, HEAD, OPTIONS")),
            ("DELETE", "/tenants", methods("GET, POST, HEAD, OPTIONS")),
            ("POST", "/tenants/acme/Users", methods("GET, HEAD, OPTIONS")),
            ("GET", "/tenants/acme/keys/key_1", methods("DELETE, OPTIONS")),
            ("GET", "", AppRoute::Nowhere),
            ("GET", "/", AppRoute::Nowhere),
            ("GET", "/tenants//Users", AppRoute::Nowhere),
            ("GET", "/tenants/acme/users", AppRoute::Nowhere),
            ("GET", "/tenants/%ff", AppRoute::Nowhere),
            ("GET", "/applications", AppRoute::Nowhere),
        ] {
            let method = method.parse().expect("a method");
            assert_eq!(route(&method, path), expected, "{method} {path}");
        }
    }
}
