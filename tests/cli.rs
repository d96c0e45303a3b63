//! `rollcall tenant` and `rollcall key` as an operator runs them: output, one-line errors, exit codes.
#![allow(clippy::expect_used)]

use std::process::Command;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use rollcall::auth::key::BearerKey;
use serde_json::Value;

use crate::support;

/// Exit code, stdout, stderr.
type Done = (Option<i32>, String, String);

async fn rollcall(arguments: &[&str]) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollcall"));
    command.args(arguments).env_clear().env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", "/nonexistent");
    let output =
        tokio::task::spawn_blocking(move || command.output()).await.expect("a task").expect("a process");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_makes_a_tenant_and_rotates_its_key() {
    let endpoint = support::serve().await.endpoint;
    let at = ["--table", support::TABLE, "--endpoint-url", &endpoint, "--json"];
    let run = async |arguments: &[&str]| -> Value {
        let (code, out, err) = rollcall(&[arguments, &at[..]].concat()).await;
        assert_eq!((code, err.as_str()), (Some(0), ""), "{arguments:?}");
        serde_json::from_str(&out).expect("JSON")
    };
    let tenant = run(&["tenant", "create", "acme"]).await;
    assert_eq!((&tenant["tenant"], &tenant["policy"]), (&Value::from("acme"), &Value::from("veza")));
    assert!(tenant["usageKey"].as_str().is_some_and(|key| key.len() == 40));
    run(&["tenant", "create", "globex", "--policy", "strict"]).await;
    let names: Vec<_> = run(&["tenant", "list"]).await.as_array().expect("rows").clone();
    assert_eq!(names.iter().map(|row| &row["tenant"]).collect::<Vec<_>>(), ["acme", "globex"]);
    assert_eq!(run(&["tenant", "show", "globex"]).await["policy"], "strict");

    let key = run(&["key", "create", "acme", "--name", "Okta", "--scope", "read", "--expires", "30d"]).await;
    let text = key["key"].as_str().expect("the key");
    assert!(BearerKey::parse(text).is_ok());
    let id = key["keyId"].as_str().expect("an id");
    let listed = run(&["key", "list", "acme"]).await;
    assert_eq!((&listed[0]["keyId"], &listed[0]["scope"]), (&Value::from(id), &Value::from("read")));
    assert!(!listed.to_string().contains(text));
    assert_eq!(run(&["key", "revoke", "acme", id]).await["status"], "revoked");
    assert_eq!(run(&["key", "list", "acme"]).await[0]["status"], "revoked");
    let (_, table, _) = rollcall(&[&["key", "list", "acme"], &at[..4]].concat()).await;
    assert!(table.starts_with("KEY ID ") && table.lines().count() == 2, "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_one_line_that_says_what_to_do() {
    let served = support::serve().await;
    let key =
        KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build().expect("a key");
    let id = AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S);
    let client = served.table.client();
    let other = client.create_table().table_name("other").billing_mode(BillingMode::PayPerRequest);
    let other = other.key_schema(key).attribute_definitions(id.build().expect("an attribute"));
    other.send().await.expect("a table");
    let here = served.endpoint.as_str();
    let rows: &[(&[&str], i32, &str)] = &[
        (&["tenant", "list"], 1, "pass --table or set ROLLCALL_TABLE"),
        (&["tenant", "list", "--table", "gone", "--endpoint-url", here], 1, "it does not exist"),
        (&["tenant", "list", "--table", "other", "--endpoint-url", here], 1, "pk and sk"),
        (&["tenant", "create", "acme", "--table", "other", "--endpoint-url", here], 1, "pk and sk"),
        (
            &["key", "create", "acme", "--name", "x", "--table", "other", "--endpoint-url", here],
            1,
            "pk and sk",
        ),
        (&["tenant", "list", "--table", "t", "--endpoint-url", "http://127.0.0.1:1"], 1, "cannot be reached"),
        (&["tenant", "list", "--table", "t", "--region", "eu-west-1"], 1, "no AWS credentials"),
        (
            &["tenant", "list", "--table", "t", "--region", "eu-west-1", "--profile", "nobody"],
            1,
            "the profile nobody gave no credentials",
        ),
        (
            &["tenant", "show", "acme", "--table", "rollcall", "--endpoint-url", here],
            1,
            "rollcall tenant list",
        ),
        (
            &["key", "create", "acme", "--name", "x", "--table", "rollcall", "--endpoint-url", here],
            1,
            "rollcall tenant create acme",
        ),
        (&["key", "list", "acme", "--table", "rollcall", "--endpoint-url", here], 1, "no tenant acme"),
        (&["tenant", "create", "Acme"], 2, "2 to 31 characters"),
        (&["tenant", "create", "acme", "--policy", "lax"], 2, "veza, standard, strict"),
        (&["tenant", "create", "acme", "--usage-plan", "a", "--usage-key-id", "b"], 2, "cannot be used with"),
        (&["key", "create", "acme"], 2, "--name"),
        (&["key", "create", "acme", "--name", "x", "--expires", "soon"], 2, "RFC 3339"),
        (&["key", "create", "acme", "--name", "x", "--expires", "2020-01-01"], 2, "has passed"),
        (&["key", "create", "acme", "--name", "x", "--scope", "write"], 2, "provision, read"),
    ];
    let mut wrong = Vec::new();
    for (arguments, code, part) in rows {
        let (exit, out, err) = rollcall(arguments).await;
        if exit != Some(*code) || !out.is_empty() || !err.contains(part) || err.lines().count() != 1 {
            wrong.push(format!("{arguments:?}: {exit:?} {out}{err}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
