//! One table of method and path (RFC 7644 §3.2, Table 2).

use http::Method;
use percent_encoding::percent_decode_str;

use super::caller::BASE_PATH;
use super::log::OperationClass;
use crate::scim::error::{ErrorKind, ScimError};
use crate::scim::resource_type::DefinedKind::{self, Entitlement, Role};
use crate::scim::resource_type::Kind::{self, Group, User};

/// What a route does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// RFC 7644 §3.3.
    Create(Kind),
    /// RFC 7644 §3.4.1.
    Retrieve(Kind),
    /// RFC 7644 §3.4.2.
    Query(Kind),
    /// RFC 7644 §3.4.3.
    Search(Kind),
    /// RFC 7644 §3.4.3, at the root: across all types.
    SearchAll,
    /// RFC 7644 §3.5.1.
    Replace(Kind),
    /// RFC 7644 §3.5.2.
    Modify(Kind),
    /// RFC 7644 §3.6.
    Delete(Kind),
    /// RFC 7644 §3.7.
    Bulk,
    /// RFC 7644 §3.11.
    RetrieveMe,
    /// RFC 7644 §3.11.
    ReplaceMe,
    /// RFC 7644 §3.11.
    ModifyMe,
    /// RFC 7644 §3.11.
    DeleteMe,
    /// RFC 7644 §3.4.1, of what clients only read.
    RetrieveDefined(DefinedKind),
    /// RFC 7644 §3.4.2, of what clients only read.
    QueryDefined(DefinedKind),
    /// RFC 7644 §3.4.3, of what clients only read.
    SearchDefined(DefinedKind),
    /// RFC 7644 §4.
    ServiceProviderConfig,
    /// RFC 7644 §4.
    ResourceTypes,
    /// RFC 7644 §4.
    ResourceType,
    /// RFC 7644 §4.
    Schemas,
    /// RFC 7644 §4.
    Schema,
}

impl Operation {
    /// The name in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create(User) => "create.User",
            Self::Create(Group) => "create.Group",
            Self::Retrieve(User) => "retrieve.User",
            Self::Retrieve(Group) => "retrieve.Group",
            Self::Query(User) => "query.User",
            Self::Query(Group) => "query.Group",
            Self::Search(User) => "search.User",
            Self::Search(Group) => "search.Group",
            Self::SearchAll => "search",
            Self::Replace(User) => "replace.User",
            Self::Replace(Group) => "replace.Group",
            Self::Modify(User) => "modify.User",
            Self::Modify(Group) => "modify.Group",
            Self::Delete(User) => "delete.User",
            Self::Delete(Group) => "delete.Group",
            Self::RetrieveDefined(Role) => "retrieve.Role",
            Self::RetrieveDefined(Entitlement) => "retrieve.Entitlement",
            Self::QueryDefined(Role) => "query.Role",
            Self::QueryDefined(Entitlement) => "query.Entitlement",
            Self::SearchDefined(Role) => "search.Role",
            Self::SearchDefined(Entitlement) => "search.Entitlement",
            Self::Bulk => "bulk",
            Self::RetrieveMe => "retrieve.Me",
            Self::ReplaceMe => "replace.Me",
            Self::ModifyMe => "modify.Me",
            Self::DeleteMe => "delete.Me",
            Self::ServiceProviderConfig => "retrieve.ServiceProviderConfig",
            Self::ResourceTypes => "query.ResourceType",
            Self::ResourceType => "retrieve.ResourceType",
            Self::Schemas => "query.Schema",
            Self::Schema => "retrieve.Schema",
        }
    }

    /// What kind of work it is, for the metrics.
    pub const fn class(self) -> OperationClass {
        match self {
            Self::Retrieve(_) | Self::RetrieveMe | Self::RetrieveDefined(_) => OperationClass::Read,
            Self::Query(_)
            | Self::Search(_)
            | Self::SearchAll
            | Self::QueryDefined(_)
            | Self::SearchDefined(_) => OperationClass::Query,
            Self::Create(_)
            | Self::Replace(_)
            | Self::Modify(_)
            | Self::Delete(_)
            | Self::ReplaceMe
            | Self::ModifyMe
            | Self::DeleteMe => OperationClass::Write,
            Self::Bulk => OperationClass::Bulk,
            Self::ServiceProviderConfig
            | Self::ResourceTypes
            | Self::ResourceType
            | Self::Schemas
            | Self::Schema => OperationClass::Discovery,
        }
    }

    /// Whether it is about the user that the key stands for.
    pub const fn is_of_me(self) -> bool {
        matches!(self, Self::RetrieveMe | Self::ReplaceMe | Self::ModifyMe | Self::DeleteMe)
    }

    /// Whether it changes nothing, so that a key with the scope `read` may ask for it.
    pub const fn reads(self) -> bool {
        match self {
            Self::Retrieve(_)
            | Self::Query(_)
            | Self::Search(_)
            | Self::SearchAll
            | Self::RetrieveMe
            | Self::RetrieveDefined(_)
            | Self::QueryDefined(_)
            | Self::SearchDefined(_)
            | Self::ServiceProviderConfig
            | Self::ResourceTypes
            | Self::ResourceType
            | Self::Schemas
            | Self::Schema => true,
            Self::Create(_)
            | Self::Replace(_)
            | Self::Modify(_)
            | Self::Delete(_)
            | Self::Bulk
            | Self::ReplaceMe
            | Self::ModifyMe
            | Self::DeleteMe => false,
        }
    }
}

/// Every route. `{}` is one segment.
pub const ROUTES: &[(Method, &str, Operation)] = &[
    (Method::POST, "/Users", Operation::Create(User)),
    (Method::GET, "/Users", Operation::Query(User)),
    (Method::POST, "/Users/.search", Operation::Search(User)),
    (Method::GET, "/Users/{}", Operation::Retrieve(User)),
    (Method::PUT, "/Users/{}", Operation::Replace(User)),
    (Method::PATCH, "/Users/{}", Operation::Modify(User)),
    (Method::DELETE, "/Users/{}", Operation::Delete(User)),
    (Method::POST, "/Groups", Operation::Create(Group)),
    (Method::GET, "/Groups", Operation::Query(Group)),
    (Method::POST, "/Groups/.search", Operation::Search(Group)),
    (Method::GET, "/Groups/{}", Operation::Retrieve(Group)),
    (Method::PUT, "/Groups/{}", Operation::Replace(Group)),
    (Method::PATCH, "/Groups/{}", Operation::Modify(Group)),
    (Method::DELETE, "/Groups/{}", Operation::Delete(Group)),
    (Method::POST, "/.search", Operation::SearchAll),
    (Method::POST, "/Bulk", Operation::Bulk),
    (Method::GET, "/Me", Operation::RetrieveMe),
    (Method::PUT, "/Me", Operation::ReplaceMe),
    (Method::PATCH, "/Me", Operation::ModifyMe),
    (Method::DELETE, "/Me", Operation::DeleteMe),
    (Method::GET, "/Roles", Operation::QueryDefined(Role)),
    (Method::POST, "/Roles/.search", Operation::SearchDefined(Role)),
    (Method::GET, "/Roles/{}", Operation::RetrieveDefined(Role)),
    (Method::GET, "/Entitlements", Operation::QueryDefined(Entitlement)),
    (Method::POST, "/Entitlements/.search", Operation::SearchDefined(Entitlement)),
    (Method::GET, "/Entitlements/{}", Operation::RetrieveDefined(Entitlement)),
    (Method::GET, "/ServiceProviderConfig", Operation::ServiceProviderConfig),
    (Method::GET, "/ResourceTypes", Operation::ResourceTypes),
    (Method::GET, "/ResourceTypes/{}", Operation::ResourceType),
    (Method::GET, "/Schemas", Operation::Schemas),
    (Method::GET, "/Schemas/{}", Operation::Schema),
];

/// Where a request leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// To an operation, with the decoded segment that `{}` stands for.
    To(Operation, String),
    /// The path exists, with these methods.
    Methods(String),
    /// Nowhere.
    Nowhere,
}

/// Finds the route of a method and a path below the base URL. The path may be percent-encoded and may end in a
/// slash. HEAD has the routes of GET.
pub fn route(method: &Method, path: &str) -> Route {
    let path = path.strip_suffix('/').unwrap_or(path);
    let wanted = if method == Method::HEAD { &Method::GET } else { method };
    let mut methods: Vec<&str> = Vec::new();
    // A literal segment wins over `{}`: the table lists it first.
    let mut pattern = None;
    for (allowed, route, operation) in ROUTES {
        let Some(segment) = matches(route, path) else { continue };
        if *pattern.get_or_insert(route) != route {
            continue;
        }
        if allowed == wanted {
            return Route::To(*operation, segment);
        }
        methods.push(allowed.as_str());
    }
    if methods.is_empty() {
        return Route::Nowhere;
    }
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    methods.push("OPTIONS");
    Route::Methods(methods.join(", "))
}

/// The refusal of a method at a path. Where the method is served one segment further down, the id is missing.
pub fn refuse_method(method: &Method, path: &str, methods: &str) -> ScimError {
    let path = path.strip_suffix('/').unwrap_or(path);
    let is_served = |path: &str| matches!(route(method, path), Route::To(..));
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    let mut detail = String::new();
    if is_served(&format!("{path}/x")) {
        detail = format!("The id is missing: send {method} {path}/<id>. ");
    } else if method == Method::POST && is_served(parent) {
        detail = format!("To create a resource, send POST {parent}. To change one, send PUT or PATCH. ");
    }
    ScimError::new(
        ErrorKind::MethodNotAllowed,
        format!("{detail}This endpoint answers {methods}; {method} was sent."),
    )
}

/// The refusal of a path that no route has. It names the endpoint that was meant, where the path shows it.
pub fn refuse_path(path: &str) -> ScimError {
    let path = path.strip_suffix('/').unwrap_or(path);
    let first = path.strip_prefix(BASE_PATH).unwrap_or(path).split('/').nth(1).unwrap_or_default();
    let meant = ROUTES.iter().map(|(_, route, _)| *route).find(|route| {
        let name = route.split('/').nth(1).unwrap_or_default();
        let singular = name.strip_suffix('s').unwrap_or(name);
        !first.is_empty() && (first.eq_ignore_ascii_case(name) || first.eq_ignore_ascii_case(singular))
    });
    let hint = match meant {
        _ if path.contains("//") => {
            "The path has two slashes in a row: enter the base URL without a slash at its end.".to_owned()
        }
        _ if path.is_empty() => "This is the base URL: add an endpoint, such as /Users.".to_owned(),
        _ if path.starts_with(BASE_PATH) => format!("The path holds {BASE_PATH} twice: write it once."),
        Some(route) => {
            format!("The endpoint that this resembles is /{}.", route.split('/').nth(1).unwrap_or_default())
        }
        None => "See /ResourceTypes for those that there are.".to_owned(),
    };
    ScimError::not_found(format!("There is no such endpoint. {hint}"))
}

/// Whether a path fits a route, and what stands for `{}`.
fn matches(route: &str, path: &str) -> Option<String> {
    match route.strip_suffix("{}") {
        None => decode_segment(path).filter(|path| path == route).map(|_| String::new()),
        Some(prefix) => {
            let at = path.rfind('/')? + 1;
            let segment = decode_segment(&path[at..]).filter(|segment| !segment.is_empty())?;
            (decode_segment(&path[..at])? == prefix).then_some(segment)
        }
    }
}

fn decode_segment(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_operations() {
        let to = |operation, segment: &str| Route::To(operation, segment.to_owned());
        for (method, path, expected) in [
            ("POST", "/Users", to(Operation::Create(User), "")),
            ("GET", "/Users/", to(Operation::Query(User), "")),
            ("HEAD", "/Users/1", to(Operation::Retrieve(User), "1")),
            ("POST", "/Users/.search", to(Operation::Search(User), "")),
            ("GET", "/Schemas/urn%3Aietf:x", to(Operation::Schema, "urn:ietf:x")),
            ("GET", "/Users/a%2Fb", to(Operation::Retrieve(User), "a/b")),
            ("POST", "/.search/", to(Operation::SearchAll, "")),
            ("POST", "/Bulk", to(Operation::Bulk, "")),
            ("GET", "/Bulk", Route::Methods("POST, OPTIONS".to_owned())),
            ("PUT", "/Users", Route::Methods("POST, GET, HEAD, OPTIONS".to_owned())),
            ("GET", "/Users/.search", Route::Methods("POST, OPTIONS".to_owned())),
            ("GET", "/Roles/billing:read", to(Operation::RetrieveDefined(Role), "billing:read")),
            ("GET", "/Entitlements", to(Operation::QueryDefined(Entitlement), "")),
            ("POST", "/Roles", Route::Methods("GET, HEAD, OPTIONS".to_owned())),
            ("POST", "/Roles/.search", to(Operation::SearchDefined(Role), "")),
            ("DELETE", "/Roles/.search", Route::Methods("POST, OPTIONS".to_owned())),
            ("DELETE", "/Entitlements/x", Route::Methods("GET, HEAD, OPTIONS".to_owned())),
            ("POST", "/Schemas", Route::Methods("GET, HEAD, OPTIONS".to_owned())),
            ("GET", "", Route::Nowhere),
            ("GET", "/", Route::Nowhere),
            ("GET", "/users", Route::Nowhere),
            ("GET", "/Users/1/2", Route::Nowhere),
            ("GET", "/Users//", Route::Nowhere),
            ("GET", "/Users/%ff", Route::Nowhere),
        ] {
            let method = method.parse().expect("a method");
            assert_eq!(route(&method, path), expected, "{method} {path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_refused_path_answers_the_methods_that_it_names(
            method in "GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|[A-Z]{1,5}",
            path in "(/(Users|Groups|Roles|Entitlements|Me|Schemas|ResourceTypes|[.]search|[a-z0-9:.]{0,3}|%[0-9a-f]{2}|.)){0,3}/?",
        ) {
            let method: Method = method.parse().expect("a method");
            if let Route::Methods(methods) = route(&method, &path) {
                for known in methods.split(", ").filter(|known| *known != "OPTIONS") {
                    proptest::prop_assert_ne!(known, method.as_str());
                    let known = known.parse().expect("a method");
                    proptest::prop_assert!(matches!(route(&known, &path), Route::To(..)), "{} {}", known, path);
                }
            }
        }
    }
}
