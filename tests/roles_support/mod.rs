//! The roles in the template, and what IAM is asked for a call.
#![allow(dead_code, clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;

use serde_json::Value;
use yaml_serde::Value as Yaml;

use crate::support;
use crate::support::faults::{Call, Fate, Proxy};

const TEMPLATE: &str = include_str!("../../template.yaml");

/// One call as IAM sees it: the action, and the partition keys that it names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    pub action: String,
    pub keys: Vec<String>,
}

impl Request {
    pub fn new(action: &str, keys: &[&str]) -> Self {
        Self {
            action: format!("dynamodb:{action}"),
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        }
    }
}

/// What IAM is asked for one call to DynamoDB. The calls of a transaction have no permission of their
/// own: those of its actions count.
pub fn requests(call: &Call) -> Vec<Request> {
    let body = &call.body;
    let key = |value: &Value| value["pk"]["S"].as_str().expect("a partition key").to_owned();
    let one = |action: &str, key: String| Request::new(action, &[&key]);
    match call.operation.as_str() {
        "GetItem" | "UpdateItem" | "DeleteItem" => vec![one(&call.operation, key(&body["Key"]))],
        "PutItem" => vec![one("PutItem", key(&body["Item"]))],
        "Query" => {
            vec![one("Query", body["ExpressionAttributeValues"][":pk"]["S"].as_str().unwrap().to_owned())]
        }
        "BatchGetItem" | "BatchWriteItem" => {
            let mut keys = Vec::new();
            for items in body["RequestItems"].as_object().unwrap().values() {
                let items = items.as_array().or_else(|| items["Keys"].as_array()).unwrap();
                for item in items {
                    let put = item.get("PutRequest").map(|put| &put["Item"]);
                    let delete = item.get("DeleteRequest").map(|delete| &delete["Key"]);
                    keys.push(key(put.or(delete).unwrap_or(item)));
                }
            }
            vec![Request { action: format!("dynamodb:{}", call.operation), keys }]
        }
        "TransactWriteItems" | "TransactGetItems" => {
            let actions = body["TransactItems"].as_array().unwrap().iter();
            let of = |action: &Value| {
                let (verb, action) = action.as_object().unwrap().iter().next().unwrap();
                let verb = if verb == "ConditionCheck" { "ConditionCheck" } else { verb };
                one(&format!("{verb}Item"), key(action.get("Key").unwrap_or(&action["Item"])))
            };
            actions.map(of).collect()
        }
        other => panic!("no role allows {other}"),
    }
}

/// A statement of a role.
#[derive(Clone, Debug)]
pub struct Statement {
    sid: String,
    allows: bool,
    actions: Vec<String>,
    /// Whether every key of a request must be like one of the patterns, or any.
    all: bool,
    patterns: Vec<String>,
}

/// Whether a statement is about items of the table.
pub fn is_of_table(statement: &Yaml) -> bool {
    let condition = &statement["Condition"];
    ["ForAllValues:StringLike", "ForAnyValue:StringLike"]
        .iter()
        .any(|kind| !condition[*kind]["dynamodb:LeadingKeys"].is_null())
}

/// The texts of a value that may be one or a list.
pub fn texts(value: &Yaml) -> Vec<String> {
    match value {
        Yaml::Sequence(all) => all.iter().flat_map(texts).collect(),
        one => vec![one.as_str().expect("a text").to_owned()],
    }
}

/// The template.
pub fn template() -> Yaml {
    yaml_serde::from_str(TEMPLATE).expect("YAML")
}

/// The statements of a role in the template. Those that depend on a condition are among them.
pub fn statements(role: &Yaml) -> Vec<Yaml> {
    let policies = role["Properties"]["Policies"].as_sequence().expect("policies").iter();
    let statements = policies
        .flat_map(|policy| policy["PolicyDocument"]["Statement"].as_sequence().expect("statements").clone());
    let plain = |statement: Yaml| match statement {
        // !If: the condition, the statement, and nothing.
        Yaml::Tagged(tagged) => tagged.value[1].clone(),
        plain => plain,
    };
    statements.map(plain).collect()
}

/// The statements about the table of a role in the template.
pub fn role(name: &str) -> Vec<Statement> {
    let statements = statements(&template()["Resources"][name]);
    let read = |statement: &Yaml| {
        let condition = &statement["Condition"];
        let (all, any) = (&condition["ForAllValues:StringLike"], &condition["ForAnyValue:StringLike"]);
        let patterns = if all.is_null() { any } else { all };
        // `ForAllValues` holds for no key at all as well.
        assert!(all.is_null() || condition["Null"]["dynamodb:LeadingKeys"].as_str() == Some("false"));
        Statement {
            sid: statement["Sid"].as_str().unwrap().to_owned(),
            allows: statement["Effect"].as_str() == Some("Allow"),
            actions: texts(&statement["Action"]),
            all: !all.is_null(),
            patterns: texts(&patterns["dynamodb:LeadingKeys"]),
        }
    };
    statements.iter().filter(|statement| is_of_table(statement)).map(read).collect()
}

/// Whether a text is like a pattern in which `*` stands for any text.
pub fn is_like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            let mut tails = text.char_indices().map(|(at, _)| &text[at..]).chain([""]);
            tails.any(|tail| is_like(rest, tail))
        }),
    }
}

impl Statement {
    fn covers(&self, request: &Request) -> bool {
        let known = |key: &String| self.patterns.iter().any(|pattern| is_like(pattern, key));
        let keys = match self.all {
            true => !request.keys.is_empty() && request.keys.iter().all(known),
            false => request.keys.iter().any(known),
        };
        self.actions.contains(&request.action) && keys
    }
}

pub fn is_allowed(role: &[Statement], request: &Request) -> bool {
    let covering: Vec<bool> =
        role.iter().filter(|statement| statement.covers(request)).map(|statement| statement.allows).collect();
    !covering.is_empty() && covering.iter().all(|allows| *allows)
}

/// A client of the table that may do what a role allows. It is refused anything else.
pub async fn client_with_role(endpoint: &str, name: &str) -> aws_sdk_dynamodb::Client {
    let proxy = Proxy::before(endpoint).await;
    let role = role(name);
    proxy.decide(move |call: &Call| {
        let is_refused = |request: &Request| !is_allowed(&role, request);
        if requests(call).iter().any(is_refused) { Fate::Denied } else { Fate::Pass }
    });
    support::client(&proxy.endpoint)
}

/// Asserts that a role allows all requests, and that each of its permissions is needed by one.
pub fn assert_fits(name: &str, requests: &BTreeSet<Request>) {
    let role = role(name);
    for request in requests {
        assert!(is_allowed(&role, request), "{name} refuses {request:?}");
    }
    for statement in role.iter().filter(|statement| statement.allows) {
        let used = |of: &dyn Fn(&Request) -> bool| requests.iter().any(|r| statement.covers(r) && of(r));
        for action in &statement.actions {
            assert!(
                used(&|request| request.action == *action),
                "{name}: nobody needs {action} ({})",
                statement.sid
            );
        }
        for pattern in &statement.patterns {
            let like = |request: &Request| request.keys.iter().any(|key| is_like(pattern, key));
            assert!(used(&like), "{name}: nobody needs {pattern} ({})", statement.sid);
        }
    }
}
