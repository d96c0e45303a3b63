//! What the roles in the template allow besides the items of the table. Each statement is needed by a call that a
//! test observes, or it is in a short list with its reason. tests/roles.rs plays the calls to the table.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use aws_sdk_apigateway::Client;
use aws_sdk_apigateway::config::{BehaviorVersion, Config, Credentials, Region};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use rollcall::auth::plan::RatePlan;
use rollcall::tenants::usage::UsageKeys;
use rollcall::tenants::usage_key::{PlanUsageKeys, StackUsageKeys};
use serde_json::json;
use yaml_serde::Value as Yaml;

use crate::roles_support::{is_like, is_of_table, statements, template, texts};

/// The roles that tests/roles.rs and tests/pre_traffic.rs play, and whether their functions write to the table.
const ROLES: [(&str, bool); 9] = [
    ("ScimRole", true),
    ("AuthorizerRole", false),
    ("TokenRole", true),
    ("AppReadRole", true),
    ("AppManageRole", true),
    ("AppAuthorizerRole", false),
    ("WorkerRole", true),
    ("PreTrafficRole", false),
    ("ProbeRole", false),
];

/// Statements whose calls a test observes.
const OBSERVED: [(&str, &str, &str); 5] = [
    ("WorkerRole", "Bus", "tests/roles.rs: the worker sends PutEvents to a receiver"),
    ("AppManageRole", "UsageKeys", "below: the function makes a usage key"),
    ("PreTrafficRole", "NewVersion", "tests/pre_traffic.rs: the hook invokes the version"),
    ("PreTrafficRole", "Deployment", "tests/pre_traffic.rs: the hook tells CodeDeploy the outcome"),
    ("ProbeRole", "ScimFunction", "tests/pre_traffic.rs: the probe invokes the function"),
];

/// Statements that no code of Rollcall needs, but AWS in its name.
const NEEDED_BY_AWS: [(&str, &[&str], &str); 5] = [
    ("Logs", &["logs:CreateLogStream", "logs:PutLogEvents"], "Lambda writes what the function prints"),
    ("Traces", &["xray:PutTraceSegments", "xray:PutTelemetryRecords"], "Lambda sends its own traces"),
    (
        "Stream",
        &["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"],
        "Lambda reads the table's stream in the name of the worker",
    ),
    ("Streams", &["dynamodb:ListStreams"], "Lambda looks for the stream; the action has no resource"),
    (
        "TableKey",
        &["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"],
        "DynamoDB uses a key of the customer in the name of the caller; one that only reads needs the first two",
    ),
];

fn is_role_of_function(resource: &Yaml) -> bool {
    resource["Type"].as_str() == Some("AWS::IAM::Role")
        && resource["Properties"]["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]["Service"].as_str()
            == Some("lambda.amazonaws.com")
}

#[test]
fn every_role_of_a_function_is_played() {
    let template = template();
    let resources = template["Resources"].as_mapping().expect("resources");
    let found = resources.iter().filter(|(_, resource)| is_role_of_function(resource));
    let found: BTreeSet<&str> = found.map(|(name, _)| name.as_str().unwrap()).collect();
    assert_eq!(
        found,
        ROLES.iter().map(|(name, _)| *name).collect(),
        "add the role here and to tests/roles.rs"
    );
    for (name, resource) in resources.iter() {
        if resource["Type"].as_str() == Some("AWS::Serverless::Function") {
            let Yaml::Tagged(role) = &resource["Properties"]["Role"] else { panic!("{name:?} has no role") };
            let role = role.value.as_str().unwrap().trim_end_matches(".Arn");
            assert!(found.contains(role), "{name:?} has the role {role}");
        }
    }
}

#[test]
fn every_statement_is_about_the_table_or_observed_or_has_a_reason() {
    let template = template();
    let mut unused: BTreeSet<&str> = OBSERVED.iter().map(|(_, sid, _)| *sid).collect();
    unused.extend(NEEDED_BY_AWS.iter().map(|(sid, _, _)| *sid));
    for (role, writes) in ROLES {
        let mut sids = BTreeSet::new();
        for statement in statements(&template["Resources"][role]) {
            let sid = statement["Sid"].as_str().expect("a name").to_owned();
            assert_eq!(statement["Effect"].as_str(), Some("Allow"), "{role} {sid}");
            assert!(sids.insert(sid.clone()), "{role} has two statements {sid}");
            if is_of_table(&statement)
                || OBSERVED.iter().any(|(name, known, _)| (*name, *known) == (role, &*sid))
            {
                unused.remove(sid.as_str());
                continue;
            }
            let known = NEEDED_BY_AWS.iter().find(|(known, _, _)| *known == sid);
            let (name, actions, _) =
                known.unwrap_or_else(|| panic!("{role}: nobody needs the statement {sid}"));
            let expected = if sid == "TableKey" && !writes { &actions[..2] } else { actions };
            assert_eq!(texts(&statement["Action"]), expected, "{role} {sid}");
            unused.remove(name);
        }
    }
    assert!(unused.is_empty(), "no role has {unused:?}");
}

/// The calls to API Gateway's control plane, and the plans with a key.
#[derive(Clone, Default)]
struct Control {
    calls: Arc<Mutex<Vec<(String, String)>>>,
    /// The plans that have a key.
    attached: Arc<Mutex<BTreeSet<String>>>,
}

async fn answer(State(control): State<Control>, request: Request) -> Response {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    control.calls.lock().unwrap().push((method.clone(), path.clone()));
    let key = json!({ "id": "id0", "name": "rollcall-acme", "value": "v".repeat(40), "enabled": true });
    match (method.as_str(), path.as_str()) {
        ("GET", "/apikeys") => json!({ "item": [] }).to_string().into_response(),
        ("POST", "/apikeys") => (StatusCode::CREATED, key.to_string()).into_response(),
        ("POST", "/usageplans/plan/keys" | "/usageplans/high/keys") => {
            if control.attached.lock().unwrap().insert(path) {
                return (StatusCode::CREATED, key.to_string()).into_response();
            }
            let mut headers = HeaderMap::new();
            headers.insert("x-amzn-errortype", "ConflictException".parse().unwrap());
            (StatusCode::CONFLICT, headers, json!({ "message": "there" }).to_string()).into_response()
        }
        ("GET", "/usageplans/plan/keys/id0" | "/usageplans/high/keys/id0") => key.to_string().into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn control_plane() -> (Client, Control) {
    let control = Control::default();
    let routes = axum::Router::new().fallback(answer).with_state(control.clone());
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async { axum::serve(listener, routes).await });
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .endpoint_url(endpoint);
    (Client::from_conf(config.build()), control)
}

#[tokio::test]
async fn the_function_that_makes_usage_keys_has_what_it_needs_and_no_more() {
    let (client, control) = control_plane().await;
    let keys = |plan: &str| PlanUsageKeys { client: client.clone(), plan: plan.to_owned() };
    let keys = StackUsageKeys { default: keys("plan"), high: keys("high") };
    // The second time the key is in the plan already.
    for plan in [RatePlan::Default, RatePlan::High, RatePlan::Default, RatePlan::High] {
        keys.make(&"acme".parse().unwrap(), plan).await.unwrap_or_else(|_| panic!("a usage key"));
    }
    let calls = control.calls.lock().unwrap().clone();
    let template = template();
    let all = statements(&template["Resources"]["AppManageRole"]);
    let statement = all.iter().find(|statement| statement["Sid"].as_str() == Some("UsageKeys")).unwrap();
    let actions = texts(&statement["Action"]);
    let resource = |resource: &Yaml| {
        let Yaml::Tagged(text) = resource else { panic!("{resource:?} is no !Sub") };
        let (_, path) = text.value.as_str().unwrap().rsplit_once("::").unwrap();
        path.replace("${UsagePlan}", "plan").replace("${HighUsagePlan}", "high")
    };
    let resources: Vec<String> = statement["Resource"].as_sequence().unwrap().iter().map(resource).collect();
    for (method, path) in &calls {
        let allowed = actions.contains(&format!("apigateway:{method}"))
            && resources.iter().any(|pattern| is_like(pattern, path));
        assert!(allowed, "AppManageRole refuses {method} {path}");
    }
    for action in &actions {
        let used = calls.iter().any(|(method, _)| *action == format!("apigateway:{method}"));
        assert!(used, "AppManageRole: nobody needs {action}");
    }
    for pattern in &resources {
        assert!(calls.iter().any(|(_, path)| is_like(pattern, path)), "nobody needs {pattern}: {calls:?}");
    }
}
