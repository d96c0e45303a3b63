//! OAuth clients by the application's side and by the operator's tool: made, listed, rotated, revoked.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use rollcall::admin::check::run::check;
use rollcall::admin::cli::GlobalOptions;
use rollcall::admin::cli::client::{ClientArgs, run_client};
use rollcall::auth::record::Scope;
use rollcall::scim::resource_type::Model;
use rollcall::store::keys::{self, TenantId};
use rollcall::tenants::actor::Actor;
use rollcall::tenants::client::{NewClient, NewProof, create};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use clap::{Args as _, FromArgMatches as _};

use crate::app_support::App;
use crate::support;

/// An id of a directory of Entra ID.
const DIRECTORY: &str = "3b2c1d0e-0000-4000-8000-00000000acde";

#[tokio::test]
async fn an_application_makes_rotates_and_revokes_clients() {
    let app = App::start().await;
    app.tenant("veza").await;
    let path = "/tenants/acme/clients";
    let new = json!({ "name": " Entra ", "tokenHours": 6, "secretYears": 3 });
    let made = app.send("POST", path, Some(new)).await.expect(201);
    assert_eq!(
        (&made["name"], &made["scope"], &made["tokenHours"]),
        (&json!("Entra"), &json!("provision"), &json!(6))
    );
    assert!(made["id"].as_str().unwrap().starts_with("client_"));
    let secret = made["clientSecret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("rcs_"));
    let (created, expires) =
        (made["secrets"][0]["created"].as_str().unwrap(), made["secrets"][0]["expires"].as_str().unwrap());
    let year = |text: &str| text[..4].parse::<i32>().unwrap();
    assert_eq!(year(expires) - year(created), 3);

    let own = format!("{path}/{}", made["id"].as_str().unwrap());
    let rotated = app.send("POST", &format!("{own}/rotate"), None).await.expect(201);
    assert_eq!((rotated["secrets"].as_array().unwrap().len(), &rotated["version"]), (2, &json!(2)));
    assert_ne!(rotated["clientSecret"], made["clientSecret"]);
    let alone =
        app.send("POST", &format!("{own}/rotate"), Some(json!({ "overlapSeconds": 0 }))).await.expect(201);
    assert_eq!(alone["secrets"].as_array().unwrap().len(), 1);
    assert_eq!(alone["secrets"][0]["id"], alone["secretId"]);

    let federation = json!({ "subject": "s", "audience": "api://a", "entraDirectory": DIRECTORY });
    let federated = json!({ "name": "WIF", "scope": "read", "federation": federation });
    let federated = app.send("POST", path, Some(federated)).await.expect(201);
    assert_eq!((federated.get("clientSecret"), &federated["secrets"]), (None, &json!([])));
    assert_eq!(
        federated["federation"]["issuer"],
        format!("https://login.microsoftonline.com/{DIRECTORY}/v2.0")
    );
    let jwks = format!("https://login.microsoftonline.com/{DIRECTORY}/discovery/v2.0/keys");
    assert_eq!(federated["federation"]["jwksUrl"], jwks);
    let other = format!("{path}/{}/rotate", federated["id"].as_str().unwrap());
    app.send("POST", &other, None).await.problem(400, "invalidValue");

    app.send("DELETE", &own, None).await.expect(204);
    app.send("DELETE", &own, None).await.expect(204);
    app.send("POST", &format!("{own}/rotate"), None).await.problem(409, "keyEnded");
    let listed = app.get(path).await.expect(200);
    let rows: Vec<_> =
        listed["clients"].as_array().unwrap().iter().map(|row| (&row["name"], &row["status"])).collect();
    assert_eq!(rows, [(&json!("Entra"), &json!("revoked")), (&json!("WIF"), &json!("active"))]);
    assert!(!listed.to_string().contains("rcs_"));
    app.with_key(&app.reader, "GET", path).await.expect(200);
    app.with_key(&app.reader, "POST", path).await.problem(403, "");
}

#[tokio::test]
async fn odd_clients_are_problems() {
    let app = App::start().await;
    app.tenant("veza").await;
    let path = "/tenants/acme/clients";
    let federation = |change: Value| {
        let mut federation = json!({ "issuer": "i", "subject": "s", "audience": "a", "jwksUrl": "https://login.example/keys" });
        for (name, value) in change.as_object().unwrap() {
            federation[name] = value.clone();
        }
        json!({ "name": "x", "federation": federation })
    };
    for odd in [
        json!({}),
        json!({ "name": "" }),
        json!({ "name": "a\nb" }),
        json!({ "name": "x", "scope": "admin" }),
        json!({ "name": "x", "tokenHours": 0 }),
        json!({ "name": "x", "tokenHours": 7 }),
        json!({ "name": "x", "secretYears": 4 }),
        json!({ "name": "x", "unknown": 1 }),
        json!({ "name": "x", "federation": {} }),
        json!({ "name": "x", "federation": "y" }),
        json!({ "name": "x", "secretYears": 1, "federation": { "subject": "s", "audience": "a", "entraDirectory": DIRECTORY } }),
        federation(json!({ "issuer": "" })),
        federation(json!({ "subject": "a b" })),
        federation(json!({ "audience": "x".repeat(1_025) })),
        federation(json!({ "jwksUrl": "ftp://login.example/keys" })),
        federation(json!({ "jwksUrl": "https://10.0.0.1/keys" })),
        federation(json!({ "jwksUrl": 1 })),
        federation(json!({ "entraDirectory": "common" })),
        federation(json!({ "entraDirectory": DIRECTORY.to_uppercase() })),
        federation(json!({ "other": "x" })),
    ] {
        app.send("POST", path, Some(odd.clone())).await.problem(400, "invalidValue");
    }
    app.send("POST", "/tenants/globex/clients", Some(json!({ "name": "x" }))).await.problem(404, "");
    app.send("POST", "/tenants", Some(json!({ "tenant": "globex" }))).await.expect(201);
    let made = app.send("POST", path, Some(json!({ "name": "x" }))).await.expect(201);
    let id = made["id"].as_str().unwrap();
    for foreign in ["client_1", "key_1", "client_a%23b", "", id] {
        let path = format!("/tenants/globex/clients/{foreign}");
        app.send("DELETE", &path, None).await.problem(if foreign.is_empty() { 405 } else { 404 }, "");
    }
}

/// Runs `rollcall client …` on a table.
async fn run(endpoint: &str, arguments: &[&str]) -> Result<Value, String> {
    let command = ClientArgs::augment_args(clap::Command::new("client"));
    let options = ["--table", support::TABLE, "--endpoint-url", endpoint, "--json"];
    let all = ["client"].iter().chain(arguments).chain(&options);
    let matches = command.try_get_matches_from(all).map_err(|error| error.to_string())?;
    let args = ClientArgs::from_arg_matches(&matches).unwrap();
    let (options, command): (GlobalOptions, _) = args.into_parts();
    let text = run_client(&options, command).await.map_err(|error| error.to_string())?;
    let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    Ok(serde_json::from_str(&text).unwrap_or(Value::Array(lines)))
}

#[tokio::test]
async fn the_tool_makes_shows_and_ends_clients() {
    let embedded = support::serve().await;
    let app = App::over(&embedded.endpoint, embedded.table.fresh(), |_| {}).await;
    app.tenant("veza").await;
    let tool = async |arguments: &[&str]| run(&embedded.endpoint, arguments).await;
    let made = tool(&["create", "acme", "--name", "entra"]).await.unwrap();
    let id = made["clientId"].as_str().unwrap();
    assert!(made["clientSecret"].as_str().unwrap().starts_with("rcs_"), "{made}");
    let rotated = tool(&["rotate", "acme", id, "--overlap", "7d"]).await.unwrap();
    assert_ne!(rotated["clientSecret"], made["clientSecret"]);
    let shown = tool(&["show", "acme", id]).await.unwrap();
    assert!(!shown.to_string().contains("rcs_"));
    let secrets = shown["secrets"].as_str().unwrap();
    assert!(secrets.contains(rotated["secretId"].as_str().unwrap()) && secrets.matches("until").count() == 2);
    let secret = rotated["secretId"].as_str().unwrap();
    let mistyped = tool(&["revoke", "acme", id, "--secret", "secret_1"]).await.unwrap_err();
    assert!(mistyped.contains("no secret of the id secret_1") && mistyped.contains(secret), "{mistyped}");
    tool(&["revoke", "acme", id, "--secret", secret]).await.unwrap();
    let federated = ["create", "acme", "--name", "wif", "--federated", "--subject", "s", "--audience", "a"];
    let missing = tool(&federated).await.unwrap_err();
    assert!(missing.contains("--issuer") && missing.contains("--entra-directory"), "{missing}");
    let wif = tool(&[&federated[..], &["--entra-directory", DIRECTORY]].concat()).await.unwrap();
    assert_eq!((wif.get("clientSecret"), &wif["proof"]), (None, &json!("federated")));
    for (arguments, word) in [
        (vec!["create", "acme", "--name", "x", "--token-hours", "7"], "from 1 to 6"),
        (vec!["create", "acme", "--name", "x", "--secret-years", "0"], "from 1 to 3"),
        (vec!["create", "globex", "--name", "x"], "tenant globex"),
        (vec!["create", "acme", "--name", "x", "--issuer", "i"], "--federated"),
        (vec!["show", "acme", "client_1"], "rollcall client list acme"),
    ] {
        let refused = tool(&arguments).await.unwrap_err();
        assert!(refused.contains(word), "{refused}");
    }
    tool(&["revoke", "acme", id]).await.unwrap();
    let ended = tool(&["rotate", "acme", id]).await.unwrap_err();
    assert!(ended.contains("rollcall client create"), "{ended}");
    let listed = tool(&["list", "acme"]).await.unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
    assert!(!listed.to_string().contains("rcs_"));
}

#[tokio::test]
async fn a_client_whose_secrets_have_expired_is_shown_so() {
    let embedded = support::serve().await;
    let app = App::over(&embedded.endpoint, embedded.table.fresh(), |_| {}).await;
    app.tenant("veza").await;
    let new = NewClient {
        tenant: "acme".parse().unwrap(),
        name: "old".to_owned(),
        scope: Scope::Provision,
        token_hours: 1,
        proof: NewProof::Secret(1),
    };
    let then = OffsetDateTime::now_utc() - Duration::days(366);
    let (_, old) = create(&app.table, &Actor::operator(), new, then).await.unwrap();
    let statuses = async || {
        let listed = app.get("/tenants/acme/clients").await.expect(200);
        let of_tool = run(&embedded.endpoint, &["list", "acme"]).await.unwrap();
        (listed["clients"][0]["status"].clone(), of_tool[0]["status"].clone())
    };
    assert_eq!(statuses().await, (json!("expired"), json!("expired")));
    app.send("DELETE", &format!("/tenants/acme/clients/{}", old.id), None).await.expect(204);
    assert_eq!(statuses().await, (json!("revoked"), json!("revoked")));
}

#[tokio::test]
async fn the_checker_compares_clients_with_their_changes() {
    let app = App::start().await;
    app.tenant("veza").await;
    let made = app.send("POST", "/tenants/acme/clients", Some(json!({ "name": "x" }))).await.expect(201);
    let own = format!("/tenants/acme/clients/{}", made["id"].as_str().unwrap());
    app.send("POST", &format!("{own}/rotate"), None).await.expect(201);
    app.sequence().await;
    let tenant: TenantId = "acme".parse().unwrap();
    let models = Model::all(&[]).unwrap();
    let model = models.iter().find(|model| model.policy.name == "veza").unwrap();
    let findings = async |repair| {
        let report = check(&app.table.fresh(), &tenant, model, repair).await.unwrap();
        report.findings.iter().map(|finding| format!("{:?}", finding.problem)).collect::<Vec<_>>()
    };
    assert_eq!(findings(false).await, [""; 0]);
    // The list forgets the client, and a repair lists it again.
    let id = made["id"].as_str().unwrap();
    app.table.batch_delete([keys::oauth::client_listing(&tenant, id)]).await.unwrap();
    assert_eq!(findings(false).await, ["KeyUnlisted"]);
    assert_eq!(findings(true).await, [""; 0]);
    let listed = app.get("/tenants/acme/clients").await.expect(200);
    assert_eq!(listed["clients"].as_array().unwrap().len(), 1);
    // A version without a change.
    let key = keys::oauth::client(id);
    let mut item = app.table.get(&key).await.unwrap().unwrap();
    item.extend([rollcall::store::item::number("ver", 3)]);
    app.table.put(&key, item).await.unwrap();
    assert_eq!(findings(false).await, ["ChangeMissing"]);
}
