//! The REST API: routes, authorizer, throttles, gateway responses, and the function behind it.

use std::collections::BTreeMap;
use std::time::Duration;

use regex::Regex;

use super::facts::{ApiFacts, AuthorizerFacts, KeySource, RouteFacts, Throttle};
use super::gateway_response::GatewayResponse;
use super::node::{TemplateError, TemplateNode};

/// The name that the table has locally, and that a `Ref` to it stands for.
pub const TABLE: &str = "rollcall";

/// Settings that change what clients see and that nothing here imitates.
const REFUSED: &[&str] = &["DefinitionBody", "DefinitionUri", "Cors", "Models", "CanarySetting"];

/// A function's environment. A variable that has a value in AWS only keeps its refusal.
pub type Environment = BTreeMap<String, Result<String, TemplateError>>;

/// The logical names of the APIs.
const APIS: [&str; 3] = [SCIM_API, APP_API, OAUTH_API];
/// The logical name of the API for identity providers.
pub const SCIM_API: &str = "ScimApi";
/// The logical name of the API for applications.
pub const APP_API: &str = "AppApi";
/// The logical name of the API of the token endpoint.
pub const OAUTH_API: &str = "OAuthApi";

/// Reads the `AWS::Serverless::Api` of this logical name, what stands before it and the environment of the
/// first function behind it.
///
/// # Errors
/// One line that names the path in the template.
pub fn read_api(root: &TemplateNode<'_>, name: &str) -> Result<(ApiFacts, Environment), TemplateError> {
    if let Some(globals) = root.get("Globals")? {
        return Err(globals.not_understood());
    }
    let apis = root.resources("AWS::Serverless::Api")?;
    if let Some((_, other)) = apis.iter().find(|(other, _)| !APIS.contains(other)) {
        return Err(other.error("a further API is not understood"));
    }
    let Some((_, api)) = apis.into_iter().find(|(found, _)| *found == name) else {
        return Err(TemplateError::new("Resources", format!("has no AWS::Serverless::Api {name}")));
    };
    for refused in REFUSED {
        if let Some(node) = api.get(refused)? {
            return Err(node.error("is not understood"));
        }
    }
    let (authorizer, key_required) = match api.get("Auth")? {
        Some(auth) => read_auth(&auth)?,
        None => (None, false),
    };
    let of_routes = RouteDefaults { authorized: authorizer.is_some(), key_required };
    let (routes, environment) = routes(root, name, of_routes)?;
    let (stage, methods) = throttles(&api)?;
    let (usage_plan, high_usage_plan) = (usage_plan(root, name, false)?, usage_plan(root, name, true)?);
    let facts = ApiFacts {
        routes,
        mapping: mapping(root, name)?,
        authorizer,
        stage,
        methods,
        usage_plan,
        high_usage_plan,
        key_source: key_source(&api)?,
        gateway_responses: gateway_responses(&api)?,
        binary_media_types: media_types(&api)?,
    };
    Ok((facts, environment))
}

/// What stands before a route that says nothing of it.
#[derive(Clone, Copy)]
struct RouteDefaults {
    authorized: bool,
    key_required: bool,
}

/// The authorizer, and whether the routes need a usage key.
fn read_auth(auth: &TemplateNode<'_>) -> Result<(Option<AuthorizerFacts>, bool), TemplateError> {
    if let Some(plan) = auth.get("UsagePlan")? {
        return Err(plan.not_understood());
    }
    let key_required = auth.get("ApiKeyRequired")?.map(|flag| flag.boolean()).transpose()?.unwrap_or(false);
    Ok((Some(authorizer(auth)?), key_required))
}

/// The path of the API below its domain. An API without a mapping has the root.
fn mapping(root: &TemplateNode<'_>, api: &str) -> Result<String, TemplateError> {
    for (_, mapping) in root.resources("AWS::ApiGateway::BasePathMapping")? {
        if mapping.required("RestApiId")?.reference() == Some(api) {
            let base_path = mapping.get("BasePath")?.map(|path| path.text()).transpose()?;
            return Ok(base_path.map(|path| format!("/{path}")).unwrap_or_default());
        }
    }
    Ok(String::new())
}

/// The routes are the `Api` events for this API, of any function.
fn routes(
    root: &TemplateNode<'_>,
    api: &str,
    defaults: RouteDefaults,
) -> Result<(Vec<RouteFacts>, Environment), TemplateError> {
    let (mut routes, mut first) = (Vec::new(), None);
    for (name, function) in root.resources("AWS::Serverless::Function")? {
        for (_, event) in function.get("Events")?.map_or(Ok(Vec::new()), |events| events.entries())? {
            if event.required("Type")?.text()? != "Api" {
                continue;
            }
            let properties = event.required("Properties")?;
            let of = properties.required("RestApiId")?;
            match of.reference() {
                Some(reference) if reference == api => {
                    routes.push(route(&properties, name, defaults)?);
                    first.get_or_insert_with(|| function.clone());
                }
                Some(other) if APIS.contains(&other) => {}
                _ => return Err(of.not_understood()),
            }
        }
    }
    let none =
        || TemplateError::new("Resources", format!("no AWS::Serverless::Function has an event of {api}"));
    let environment = environment(root, &first.ok_or_else(none)?)?;
    Ok((routes, environment))
}

fn route(
    event: &TemplateNode<'_>,
    function: &str,
    defaults: RouteDefaults,
) -> Result<RouteFacts, TemplateError> {
    let mut route = RouteFacts {
        method: event.required("Method")?.text()?.to_ascii_uppercase(),
        path: event.required("Path")?.text()?,
        function: function.to_owned(),
        authorized: defaults.authorized,
        key_required: defaults.key_required,
    };
    if let Some(auth) = event.get("Auth")? {
        if let Some(flag) = auth.get("ApiKeyRequired")? {
            route.key_required = flag.boolean()?;
        }
        if let Some(authorizer) = auth.get("Authorizer")? {
            match authorizer.text()?.as_str() {
                "NONE" => route.authorized = false,
                _ => return Err(authorizer.not_understood()),
            }
        }
    }
    Ok(route)
}

fn environment(root: &TemplateNode<'_>, function: &TemplateNode<'_>) -> Result<Environment, TemplateError> {
    let tables = root.resources("AWS::DynamoDB::Table")?;
    let Some(variables) = function.find(&["Environment", "Variables"])? else { return Ok(BTreeMap::new()) };
    let is_table = |node: &TemplateNode<'_>| {
        node.reference().is_some_and(|name| tables.iter().any(|(table, _)| *table == name))
    };
    // A stack serves the table that it makes, unless it is given one.
    let value = |node: &TemplateNode<'_>| match node.first_choice() {
        Some(made) if is_table(&made) => Ok(TABLE.to_owned()),
        _ if is_table(node) => Ok(TABLE.to_owned()),
        _ => node.text(),
    };
    Ok(variables.entries()?.iter().map(|(name, node)| ((*name).to_owned(), value(node))).collect())
}

fn authorizer(auth: &TemplateNode<'_>) -> Result<AuthorizerFacts, TemplateError> {
    let default = auth.required("DefaultAuthorizer")?.text()?;
    let authorizer = auth.required("Authorizers")?.required(&default)?;
    if let Some(kind) = authorizer.get("FunctionPayloadType")?
        && kind.text()? != "TOKEN"
    {
        return Err(kind.not_understood());
    }
    let mut facts = AuthorizerFacts {
        header: "Authorization".to_owned(),
        expression: None,
        ttl: Duration::from_secs(300), // what API Gateway does when nothing is said
    };
    let Some(identity) = authorizer.get("Identity")? else { return Ok(facts) };
    if let Some(header) = identity.get("Header")? {
        facts.header = header.text()?;
    }
    if let Some(seconds) = identity.get("ReauthorizeEvery")? {
        facts.ttl = Duration::from_secs(u64::from(seconds.integer()?));
    }
    if let Some(expression) = identity.get("ValidationExpression")? {
        let pattern = format!("^(?:{})$", expression.text()?); // the whole token must match
        let parsed = Regex::new(&pattern).map_err(|error| expression.error(error.to_string()))?;
        facts.expression = Some(parsed);
    }
    Ok(facts)
}

/// The throttle of every method, and those of single methods: the method settings.
type Throttles = (Option<Throttle>, BTreeMap<(String, String), Throttle>);

fn throttles(api: &TemplateNode<'_>) -> Result<Throttles, TemplateError> {
    let (mut stage, mut methods) = (None, BTreeMap::new());
    for setting in api.get("MethodSettings")?.map_or(Ok(Vec::new()), |settings| settings.items())? {
        let (rate, burst) = (setting.get("ThrottlingRateLimit")?, setting.get("ThrottlingBurstLimit")?);
        let (Some(rate), Some(burst)) = (rate, burst) else { continue };
        let throttle = Throttle { rate: rate.number()?, burst: burst.number()? };
        let (path, method) = (setting.required("ResourcePath")?, setting.required("HttpMethod")?);
        match (path.text()?.as_str(), method.text()?.as_str()) {
            ("/*", "*") => stage = Some(throttle),
            (_, "*") => return Err(method.not_understood()),
            ("/*", _) => return Err(path.not_understood()),
            (path, method) => {
                let path = path.strip_prefix('/').unwrap_or(path).replace("~1", "/").replace("~0", "~");
                methods.insert((path, method.to_ascii_uppercase()), throttle);
            }
        }
    }
    Ok((stage, methods))
}

/// The logical name of the usage plan `high`.
const HIGH_USAGE_PLAN: &str = "HighUsagePlan";

/// The throttle of the usage plan whose one stage is that of this API: of the plan `high`, or of the other one.
fn usage_plan(root: &TemplateNode<'_>, api: &str, is_high: bool) -> Result<Option<Throttle>, TemplateError> {
    let mut found = None;
    let plans = root.resources("AWS::ApiGateway::UsagePlan")?.into_iter();
    for (_, plan) in plans.filter(|(name, _)| (*name == HIGH_USAGE_PLAN) == is_high) {
        let mut of_api = false;
        for stage in plan.required("ApiStages")?.items()? {
            of_api |= stage.required("ApiId")?.reference() == Some(api);
        }
        if of_api && found.is_some() {
            return Err(plan.error("a second usage plan of an API is not understood"));
        }
        if of_api {
            found = Some(plan);
        }
    }
    let Some(plan) = found else { return Ok(None) };
    if let Some(quota) = plan.get("Quota")? {
        return Err(quota.not_understood());
    }
    let Some(throttle) = plan.get("Throttle")? else { return Ok(None) };
    let rate = throttle.required("RateLimit")?.number()?;
    Ok(Some(Throttle { rate, burst: throttle.required("BurstLimit")?.number()? }))
}

fn key_source(api: &TemplateNode<'_>) -> Result<KeySource, TemplateError> {
    let Some(source) = api.get("ApiKeySourceType")? else { return Ok(KeySource::Header) };
    match source.text()?.as_str() {
        "HEADER" => Ok(KeySource::Header),
        "AUTHORIZER" => Ok(KeySource::Authorizer),
        _ => Err(source.not_understood()),
    }
}

fn gateway_responses(api: &TemplateNode<'_>) -> Result<BTreeMap<String, GatewayResponse>, TemplateError> {
    let Some(responses) = api.get("GatewayResponses")? else { return Ok(BTreeMap::new()) };
    let read = |(kind, node): (&str, TemplateNode<'_>)| Ok((kind.to_owned(), GatewayResponse::read(&node)?));
    responses.entries()?.into_iter().map(read).collect()
}

/// Slashes are written as `~1` there, as in a JSON pointer.
fn media_types(api: &TemplateNode<'_>) -> Result<Vec<String>, TemplateError> {
    let Some(types) = api.get("BinaryMediaTypes")? else { return Ok(Vec::new()) };
    types.items()?.iter().map(|item| Ok(item.text()?.replace("~1", "/").to_ascii_lowercase())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::read::{TEMPLATE, TemplateFacts};
    use super::*;

    #[test]
    fn the_template_that_deploys_is_understood() {
        let facts = TemplateFacts::parse(TEMPLATE).unwrap();
        let api = &facts.api;
        assert_eq!(api.base_path(), "/scim/v2");
        let (scim, open): (Vec<_>, Vec<_>) = api.routes.iter().partition(|route| route.authorized);
        assert!(scim.iter().all(|route| route.key_required && route.function == "ScimFunction"));
        let methods: Vec<&str> = scim.iter().map(|route| route.method.as_str()).collect();
        assert_eq!(methods, ["ANY", "GET", "ANY"], "reading has a throttle of its own");
        assert!(open.iter().all(|route| !route.key_required && route.function == "TokenFunction"));
        let paths: Vec<_> = open.iter().map(|route| (route.method.as_str(), route.path.as_str())).collect();
        let metadata = "/.well-known/oauth-authorization-server";
        let below = "/scim/v2/.well-known/oauth-authorization-server";
        assert_eq!(paths, [("ANY", metadata), ("ANY", below)]);
        assert_eq!(api.methods.len(), 1);
        assert_eq!(api.usage_plan, Some(Throttle { rate: 3.3333, burst: 200.0 }));
        assert_eq!(api.high_usage_plan, Some(Throttle { rate: 30.0, burst: 60.0 }));
        assert!(api.stage.is_some());
        assert_eq!(api.key_source, KeySource::Authorizer);
        let authorizer = api.authorizer.as_ref().unwrap();
        assert_eq!(authorizer.header, "Authorization");
        assert_eq!(authorizer.ttl, Duration::from_secs(60));
        assert_eq!(api.gateway_responses["THROTTLED"].status, Some(429));
        let app = &facts.app_api;
        assert_eq!(app.base_path(), "/app/v1");
        let functions: Vec<_> =
            app.routes.iter().map(|route| (route.method.as_str(), route.function.as_str())).collect();
        let expected =
            [("GET", "AppReadFunction"), ("HEAD", "AppReadFunction"), ("ANY", "AppManageFunction")];
        assert_eq!(functions, expected);
        assert_eq!(app.usage_plan, Some(Throttle { rate: 50.0, burst: 200.0 }));
        assert_eq!(app.gateway_responses["THROTTLED"].status, Some(429));
        let oauth = &facts.oauth_api;
        assert_eq!(oauth.base_path(), "/oauth2");
        let route = RouteFacts {
            method: "ANY".to_owned(),
            path: "/token".to_owned(),
            function: "TokenFunction".to_owned(),
            authorized: false,
            key_required: false,
        };
        assert_eq!(oauth.routes, [route]);
        assert_eq!(oauth.stage, Some(Throttle { rate: 50.0, burst: 100.0 }));
        assert!(oauth.authorizer.is_none() && oauth.methods.is_empty() && oauth.usage_plan.is_none());
        assert_eq!(oauth.gateway_responses["THROTTLED"].status, Some(429));
        assert_eq!(facts.environment["ROLLCALL_TABLE"], Ok(TABLE.to_owned()));
        assert_eq!(facts.environment["ROLLCALL_PUBLIC_URL"], Ok(String::new()));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (from, to, expected) in [
            (
                "ReauthorizeEvery: !Ref AuthorizerTtl",
                "ReauthorizeEvery: !If [A, 1, 2]",
                "Resources.ScimApi.Properties.Auth.Authorizers.BearerKey.Identity.ReauthorizeEvery: !If is not understood here",
            ),
            (
                "ThrottlingBurstLimit: !Ref StageBurstLimit",
                "ThrottlingBurstLimit: many",
                "Resources.ScimApi.Properties.MethodSettings[0].ThrottlingBurstLimit: many is not a number of zero or more",
            ),
            (
                "BurstLimit: !Ref TenantBurstLimit",
                "BurstLimit: 1\n      Quota: { Limit: 5, Period: DAY }",
                "Resources.UsagePlan.Properties.Quota: a mapping is not understood here",
            ),
            (
                "FunctionPayloadType: TOKEN",
                "FunctionPayloadType: REQUEST",
                "Resources.ScimApi.Properties.Auth.Authorizers.BearerKey.FunctionPayloadType: \"REQUEST\" is not understood here",
            ),
            (
                "Path: /scim/v2,",
                "Path: !Sub '/${X}',",
                "Resources.ScimFunction.Properties.Events.Base.Properties.Path: !Sub is not understood here",
            ),
            (
                "ApiKeySourceType: AUTHORIZER",
                "ApiKeySourceType: QUERY",
                "Resources.ScimApi.Properties.ApiKeySourceType: \"QUERY\" is not understood here",
            ),
            (
                "ApiKeySourceType: AUTHORIZER",
                "Cors: \"'*'\"",
                "Resources.ScimApi.Properties.Cors: is not understood",
            ),
        ] {
            assert!(TEMPLATE.contains(from), "{from}");
            let error = TemplateFacts::parse(&TEMPLATE.replace(from, to)).map(|_| ()).unwrap_err();
            assert_eq!(error.to_string(), format!("template.yaml: {expected}"));
        }
    }
}
