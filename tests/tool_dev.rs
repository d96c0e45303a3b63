//! The tool beside a `rollcall dev` of the same machine: it finds the table by itself.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::dev::{Dev, TOOL, folder};

/// Runs the tool as a user whose runtime directory this is: exit code, stdout, stderr.
fn run(runtime: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(TOOL);
    command.args(arguments).env_clear().env("HOME", "/nonexistent").env("XDG_RUNTIME_DIR", runtime);
    command.env("AWS_EC2_METADATA_DISABLED", "true").envs(variables.iter().copied());
    let output = command.output().expect("a process");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn start(runtime: &Path) -> Dev {
    Dev::start_in(&[], &[("XDG_RUNTIME_DIR", runtime.to_str().unwrap())])
}

/// What the tool prints as JSON, once it has succeeded.
fn done(runtime: &Path, arguments: &[&str]) -> Value {
    let (code, out, err) = run(runtime, &[], &[arguments, &["--json"]].concat());
    assert_eq!(code, Some(0), "{arguments:?}: {err}");
    serde_json::from_str(&out).expect("JSON")
}

#[test]
fn it_uses_the_one_dev_that_runs() {
    let runtime = folder();
    let dev = start(&runtime);
    let endpoint = dev.shown["dynamodb_endpoint"].as_str().unwrap().to_owned();
    let (code, out, err) = run(&runtime, &[], &["tenant", "list", "--json"]);
    let tenants: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &tenants[0]["tenant"]), (Some(0), &Value::from("demo")));
    assert!(err.starts_with("table rollcall of rollcall dev") && err.contains(&endpoint), "{err}");

    // What is named wins.
    let (code, _, err) = run(&runtime, &[("ROLLCALL_TABLE", "other")], &["tenant", "list"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("table other: "), "{err}");
    let (code, _, err) = run(&runtime, &[("AWS_PROFILE", "prod")], &["tenant", "list"]);
    assert!(code == Some(1) && err.contains("AWS_PROFILE is set") && err.contains(&endpoint), "{err}");
    let variables = [("ROLLCALL_TABLE", "rollcall"), ("ROLLCALL_ENDPOINT_URL", endpoint.as_str())];
    let (code, out, err) = run(&runtime, &variables, &["tenant", "list"]);
    assert_eq!((code, out.lines().count(), err.as_str()), (Some(0), 2, ""));
    let (code, _, err) = run(&runtime, &variables, &["tenant", "list", "--verbose"]);
    assert!(code == Some(0) && err.contains("2 calls to DynamoDB"), "{err}");

    // Two of them: nothing is guessed.
    let second = start(&runtime);
    let (code, _, err) = run(&runtime, &[], &["tenant", "list"]);
    let other = second.shown["dynamodb_endpoint"].as_str().unwrap();
    assert!(code == Some(1) && err.contains(&endpoint) && err.contains(other), "{err}");
    assert_eq!(second.end().0, Some(0));
    assert_eq!(run(&runtime, &[], &["tenant", "list"]).0, Some(0));

    dev.kill();
    let (code, _, err) = run(&runtime, &[], &["tenant", "list"]);
    assert!(code == Some(1) && err.contains("has ended") && err.lines().count() == 1, "{err}");
    let third = start(&runtime);
    assert_eq!(std::fs::read_dir(runtime.join("rollcall")).unwrap().count(), 1);
    third.end();
    assert_eq!(std::fs::read_dir(runtime.join("rollcall")).unwrap().count(), 0);
    std::fs::remove_dir_all(runtime).unwrap();
}

#[test]
fn a_variable_is_named_in_what_is_said_about_it() {
    let runtime = folder();
    let dev = start(&runtime);
    for name in ["ROLLCALL_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL"] {
        let (code, _, err) = run(&runtime, &[(name, "http://127.0.0.1:9")], &["tenant", "list"]);
        assert!(code == Some(1) && err.contains(&format!("{name} is set")), "{err}");
        let expected =
            format!("{name} is 127.0.0.1:8000: give a URL with its scheme, such as http://127.0.0.1:8000");
        for table in [&[] as &[&str], &["--table", "rollcall"]] {
            let arguments = [&["tenant", "list"], table].concat();
            let (code, _, err) = run(&runtime, &[(name, "127.0.0.1:8000")], &arguments);
            assert!(code == Some(2) && err.contains(&expected) && err.lines().count() == 1, "{err}");
        }
    }
    let variables = [("ROLLCALL_TABLE", "t"), ("AWS_PROFILE", "nobody"), ("AWS_REGION", "eu-west-1")];
    let (code, _, err) = run(&runtime, &variables, &["tenant", "list"]);
    assert!(code == Some(1) && err.contains("table t: the profile nobody gave no credentials"), "{err}");
    drop(dev);
    std::fs::remove_dir_all(runtime).unwrap();
}

#[test]
fn a_name_may_look_like_an_id() {
    let runtime = folder();
    let dev = start(&runtime);
    let done = |arguments: &[&str]| done(&runtime, arguments);
    for name in ["okta_productionkey", "key_productionkey"] {
        let key = done(&["key", "create", "demo", "--name", name]);
        assert_eq!(
            done(&["key", "rotate", "demo", key["keyId"].as_str().unwrap()])["replaces"],
            key["keyId"]
        );
        assert_eq!(done(&["key", "revoke", "demo", key["keyId"].as_str().unwrap()])["status"], "revoked");
        // The successor is the one in force.
        let revoked = done(&["key", "revoke", "demo", name]);
        assert!(revoked["status"] == "revoked" && revoked["keyId"] != key["keyId"], "{revoked}");

        let client = done(&["client", "create", "demo", "--name", &name.replace("key_", "client_")]);
        let shown = done(&["client", "show", "demo", &name.replace("key_", "client_")]);
        assert_eq!(shown["clientId"], client["clientId"]);
        let application = name.replace("key_", "app_");
        done(&["application", "create", &application, "--scope", "read"]);
        assert_eq!(done(&["application", "revoke", &application])["status"], "revoked");

        let arguments = ["audit", "demo", "--resource", client["name"].as_str().unwrap(), "--json"];
        let until = Instant::now() + Duration::from_secs(30);
        let out = loop {
            let (code, out, err) = run(&runtime, &[], &arguments);
            assert_eq!(code, Some(0), "{err}");
            if !out.is_empty() || Instant::now() > until {
                break out;
            }
        };
        let change: Value = serde_json::from_str(out.lines().next().unwrap_or_default()).unwrap_or_default();
        assert_eq!(change["resourceId"], client["clientId"], "{out}");
    }
    let (code, _, err) = run(&runtime, &[], &["key", "revoke", "demo", "key_4fK2mQ9sXb1Z"]);
    assert!(code == Some(1) && err.contains("rollcall key list demo"), "{err}");
    // An id of the past is looked for in the changes as it is.
    let (code, out, err) = run(&runtime, &[], &["audit", "demo", "--actor", "key_4fK2mQ9sXb1Z", "--json"]);
    assert_eq!((code, out.as_str()), (Some(0), ""), "{err}");
    drop(dev);
    std::fs::remove_dir_all(runtime).unwrap();
}

#[test]
fn names_do_where_ids_are_asked() {
    let runtime = folder();
    let dev = start(&runtime);
    let done = |arguments: &[&str]| done(&runtime, arguments);
    let refused = |arguments: &[&str], part: &str| {
        let (code, _, err) = run(&runtime, &[], arguments);
        assert!(code == Some(1) && err.contains(part), "{arguments:?}: {code:?} {err}");
    };
    let name = ["--given-name", "Ada", "--family-name", "L"];
    let made = done(&[&["user", "create", "demo", "--email", "ada@x.example"], &name[..]].concat());
    assert_eq!(done(&["user", "list", "demo"]).as_array().unwrap().len(), 2);
    assert_eq!(done(&["user", "list", "demo", "--limit", "1"]).as_array().unwrap().len(), 1);
    let shown = done(&["user", "show", "demo", "ADA@x.example"]);
    assert_eq!((&shown["id"], &shown["version"], &shown["active"]), (&made["id"], &1.into(), &true.into()));
    let root = done(&["user", "show", "demo", "break-glass@demo.invalid"]);
    assert_eq!(root["groups"][0]["displayName"], "Root");
    refused(&["user", "show", "demo", "nobody"], "rollcall user list demo");

    let key = done(&["key", "create", "demo", "--name", "Okta", "--user", "ada@x.example"]);
    assert_eq!(key["user"], made["id"]);
    assert_eq!(done(&["key", "rotate", "demo", "Okta"])["replaces"], key["keyId"]);
    refused(&["key", "revoke", "demo", "Okta"], key["keyId"].as_str().unwrap());
    refused(&["key", "revoke", "demo", "Entra"], "rollcall key list demo");
    done(&["application", "create", "portal", "--scope", "read"]);
    assert_eq!(done(&["application", "revoke", "portal"])["status"], "revoked");

    assert_eq!(
        done(&["group", "assign", "demo", "root", "--team", "Root", "--role", "x"])["displayName"],
        "Root"
    );
    refused(&["group", "assign", "demo", "Rot", "--role", "x"], "rollcall group list demo");
    // `rollcall dev` looks once a second for changes that it did not make.
    let until = Instant::now() + Duration::from_secs(30);
    let out = loop {
        let (_, out, _) = run(&runtime, &[], &["audit", "demo", "--resource", "ada@x.example", "--json"]);
        if !out.is_empty() || Instant::now() > until {
            break out;
        }
    };
    let change: Value = serde_json::from_str(out.lines().next().unwrap_or_default()).unwrap_or_default();
    assert_eq!((&change["type"], &change["resourceId"]), (&Value::from("user.created"), &made["id"]));

    let url = "http://127.0.0.1:9/hook";
    done(&["webhook", "create", url]);
    let updated = done(&["webhook", "update", url, "--enabled", "false", "--include-resource", "true"]);
    assert_eq!((&updated["status"], &updated["includeResource"]), (&"disabled".into(), &true.into()));
    let moved = done(&["webhook", "update", url, "--url", "http://127.0.0.1:9/other"]);
    assert_eq!(moved["url"], "http://127.0.0.1:9/other");
    refused(&["webhook", "delete", url], "no webhook with the URL");

    assert_eq!(dev.send("DELETE", &format!("/Users/{}", made["id"].as_str().unwrap()), &[], b"").status, 204);
    assert_eq!(done(&["user", "restore", "demo", "ada@x.example"])["id"], made["id"]);
    std::fs::remove_dir_all(runtime).unwrap();
}

#[test]
fn names_do_for_clients_roles_and_entitlements() {
    let runtime = folder();
    let dev = start(&runtime);
    let done = |arguments: &[&str]| done(&runtime, arguments);
    let refused = |arguments: &[&str], part: &str| {
        let (code, _, err) = run(&runtime, &[], arguments);
        // 2 if the command line cannot be used.
        let is_refused = code == Some(if part.starts_with("--") { 2 } else { 1 });
        assert!(is_refused && err.contains(part), "{arguments:?}: {code:?} {err}");
    };
    let root = done(&["user", "show", "demo", "break-glass@demo.invalid"]);
    let client = done(&["client", "create", "demo", "--name", "entra"]);
    assert_eq!(done(&["client", "show", "demo", "entra"])["clientId"], client["clientId"]);
    assert_eq!(done(&["client", "rotate", "demo", "entra"])["clientId"], client["clientId"]);
    assert_eq!(done(&["client", "revoke", "demo", "entra"])["clientId"], client["clientId"]);
    refused(&["client", "revoke", "demo", "okta"], "rollcall client list demo");
    for _ in 0..2 {
        done(&["client", "create", "demo", "--name", "twin"]);
    }
    refused(&["client", "show", "demo", "twin"], "2 clients are called twin: give one of their ids: client_");

    let role = ["role", "create", "demo", "billing", "--name", "Bills", "--grants", "Root:x,root:y"];
    let billing = done(&role);
    let root = root["groups"][0]["id"].as_str().unwrap();
    assert_eq!(billing["grants"], format!("{root}:x, {root}:y"));
    refused(&["role", "update", "demo", "Bills", "--grants", "Nobodies:x"], "rollcall group list demo");
    refused(&["role", "update", "demo", "Bills", "--grants", "Root"], "--grants: Root is no grant");
    assert_eq!(done(&["role", "update", "demo", "Bills", "--description", "d"])["id"], "billing");
    // An id is meant before a name.
    done(&["role", "create", "demo", "Bills", "--name", "Others"]);
    assert_eq!(done(&["role", "show", "demo", "Bills"])["name"], "Others");
    assert_eq!(done(&["role", "delete", "demo", "Others"])["id"], "Bills");
    assert_eq!(done(&["role", "delete", "demo", "Bills"])["id"], "billing");
    refused(&["role", "delete", "demo", "Bills"], "rollcall role list demo");
    for id in ["seat-1", "seat-2"] {
        done(&["entitlement", "create", "demo", id, "--name", "Seat"]);
    }
    refused(&["entitlement", "show", "demo", "Seat"], "give one of their ids: seat-1, seat-2");
    done(&["entitlement", "delete", "demo", "seat-2"]);
    assert_eq!(done(&["entitlement", "show", "demo", "Seat"])["id"], "seat-1");
    drop(dev);
    std::fs::remove_dir_all(runtime).unwrap();
}

#[test]
fn a_reader_that_stops_is_not_an_error() {
    let runtime = folder();
    let dev = start(&runtime);
    for arguments in [&["tenant", "list"][..], &["export", "demo"], &["audit", "demo"], &["--help"]] {
        let mut command = Command::new(TOOL);
        command.args(arguments).env_clear().env("HOME", "/nonexistent").env("XDG_RUNTIME_DIR", &runtime);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a process");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("its end");
        let err = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {err}");
        assert!(!err.contains("error") && !err.contains("panic"), "{arguments:?}: {err}");
    }
    drop(dev);
    std::fs::remove_dir_all(runtime).unwrap();
}

#[test]
fn changes_that_cannot_be_written_are_an_error() {
    // Every write to this file fails, as to a full disk. Only Linux has it.
    let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else { return };
    let runtime = folder();
    let dev = start(&runtime);
    let mut command = Command::new(TOOL);
    command.args(["audit", "demo"]).env_clear().env("HOME", "/nonexistent").env("XDG_RUNTIME_DIR", &runtime);
    let output = command.stdout(full).output().expect("a process");
    let err = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("the changes cannot be written"), "{err}");
    drop(dev);
    std::fs::remove_dir_all(runtime).unwrap();
}

/// What a shell is offered for the last of these words.
fn offered_to(runtime: &Path, words: &[&str]) -> Vec<String> {
    let index = (words.len() - 1).to_string();
    let variables = [("COMPLETE", "bash"), ("_CLAP_COMPLETE_INDEX", &*index), ("_CLAP_IFS", "\n")];
    let (code, out, err) = run(runtime, &variables, &[&["--"], words].concat());
    assert_eq!((code, err.as_str()), (Some(0), ""), "{words:?}");
    out.lines().map(str::to_owned).collect()
}

#[test]
fn a_shell_is_offered_who_and_what_the_feed_tells_of() {
    let runtime = folder();
    let dev = start(&runtime);
    for arguments in [
        &["client", "create", "demo", "--name", "entra"][..],
        &["webhook", "create", "http://127.0.0.1:9/hook"],
    ] {
        assert_eq!(run(&runtime, &[], arguments).0, Some(0));
    }
    let endpoint = dev.shown["dynamodb_endpoint"].as_str().unwrap().to_owned();
    // The table is named behind a flag, and no `rollcall dev` is found.
    let elsewhere = folder();
    for (tenant, option, begun) in [
        ("demo", "--actor", "key_"),
        ("demo", "--actor", "client_"),
        ("demo", "--actor", "app_"),
        ("demo", "--resource", "entra"),
        ("deployment", "--actor", "app_"),
        ("deployment", "--resource", "wh_"),
    ] {
        let place = ["--follow", "--table", "rollcall", "--endpoint-url", &endpoint];
        let words = [&["rollcall", "audit", tenant][..], &place, &[option, begun]].concat();
        let found = offered_to(&elsewhere, &words);
        assert!(
            !found.is_empty() && found.iter().all(|value| value.starts_with(begun)),
            "{words:?}: {found:?}"
        );
    }
    drop(dev);
    std::fs::remove_dir_all(runtime).unwrap();
    std::fs::remove_dir_all(elsewhere).unwrap();
}

#[test]
fn a_shell_is_offered_what_the_table_holds() {
    let runtime = folder();
    let dev = start(&runtime);
    let offered = |words: &[&str]| offered_to(&runtime, words);
    assert_eq!(offered(&["rollcall", "tenant", "show", "d"]), ["demo"]);
    assert_eq!(offered(&["rollcall", "tenant", "create", "x", "--policy", "st"]), ["standard", "strict"]);
    assert_eq!(offered(&["rollcall", "key", "create", "x", "--scope", "re"]), ["read"]);
    assert_eq!(offered(&["rollcall", "tenant", "create", "x", "--plan", "h"]), ["high"]);
    assert_eq!(offered(&["rollcall", "client", "create", "x", "--scope", "p"]), ["provision"]);
    assert_eq!(offered(&["rollcall", "dev", "--rate-limit", ""]), ["off", "template"]);
    for (arguments, prefix) in [
        (&["client", "create", "demo", "--name", "entra"][..], "client_"),
        (&["role", "create", "demo", "billing", "--name", "Bills"], "billing"),
        (&["entitlement", "create", "demo", "seat", "--name", "Seats"], "seat"),
        (&["application", "create", "portal", "--scope", "read"], "app_"),
        (&["webhook", "create", "http://127.0.0.1:9/hook"], "wh_"),
    ] {
        let (code, _, err) = run(&runtime, &[], arguments);
        assert_eq!(code, Some(0), "{err}");
        let verb = if arguments[2] == "demo" { &["demo"][..] } else { &[] };
        let words = |verb_name: &'static str, begun: &'static str| {
            [&["rollcall", arguments[0], verb_name], verb, &[begun]].concat()
        };
        let verbs: &[&'static str] = match arguments[0] {
            "client" => &["show", "rotate", "revoke"],
            "role" | "entitlement" => &["show", "update", "delete"],
            "application" => &["rotate", "revoke"],
            _ => &["test", "rotate", "update", "enable", "delete"],
        };
        for verb_name in verbs {
            let found = offered(&words(verb_name, prefix));
            // A new `rollcall dev` has an application key of its own.
            assert!(
                !found.is_empty() && found.iter().all(|id| id.starts_with(prefix)),
                "{arguments:?}: {found:?}"
            );
        }
    }
    assert_eq!(offered(&["rollcall", "role", "show", "demo", "Bi"]), ["Bills"]);
    for command in ["client", "role", "entitlement", "key", "user", "group"] {
        assert_eq!(offered(&["rollcall", command, "list", "d"]), ["demo"]);
    }
    assert_eq!(offered(&["rollcall", "tenant", "usage-key", "d"]), ["demo"]);
    let keys = offered(&["rollcall", "key", "revoke", "demo", "key_"]);
    assert!(keys.len() == 1 && keys[0].starts_with("key_"), "{keys:?}");
    drop(dev);
    assert_eq!(offered(&["rollcall", "tenant", "show", "d"]), [] as [&str; 0]);
    let (code, script, _) = run(&runtime, &[], &["completions", "zsh"]);
    assert!(code == Some(0) && script.contains("COMPLETE"), "{script}");
    std::fs::remove_dir_all(runtime).unwrap();
}

#[test]
fn a_machine_without_certificates_serves_and_says_what_tls_needs() {
    let runtime = folder();
    let empty = runtime.join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    for file in ["/nonexistent", empty.to_str().unwrap()] {
        let variables = [("SSL_CERT_FILE", file), ("SSL_CERT_DIR", "/nonexistent")];
        let places = [("XDG_RUNTIME_DIR", runtime.to_str().unwrap())];
        let dev = Dev::start_in(&[], &[&variables[..], &places].concat());
        assert_eq!(dev.get("/Users").status, 200);
        let (code, out, err) = run(&runtime, &variables, &["tenant", "list"]);
        assert!(code == Some(0) && out.contains("demo"), "{err}");
        let (status, log) = dev.end();
        assert!(status == Some(0) && !log.contains("panic"), "{log}");

        let keys = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b"), ("AWS_REGION", "eu-west-1")];
        let aws = [&variables[..], &keys].concat();
        for arguments in [
            &["tenant", "list", "--table", "t"][..],
            &["tenant", "list", "--table", "t", "--endpoint-url", "https://127.0.0.1:9"],
        ] {
            let (code, _, err) = run(&runtime, &aws, arguments);
            assert!(code == Some(1) && err.contains("install the package ca-certificates"), "{err}");
            assert!(!err.contains("panic"), "{err}");
        }
    }
    std::fs::remove_dir_all(runtime).unwrap();
}

/// The option asks for the changes at this URL. So a webhook that was disabled is enabled.
#[test]
fn a_webhook_that_dev_finds_is_enabled() {
    let (runtime, data) = (folder(), folder());
    let start = || {
        let arguments = ["--data-dir", data.to_str().unwrap(), "--forward-to", "http://127.0.0.1:9/hook"];
        Dev::start_in(&arguments, &[("XDG_RUNTIME_DIR", runtime.to_str().unwrap())])
    };
    let listed = || done(&runtime, &["webhook", "list"])[0].clone();
    let dev = start();
    let secret = dev.shown["webhook_secret"].clone();
    let id = listed()["id"].as_str().expect("an id").to_owned();
    done(&runtime, &["webhook", "update", &id, "--enabled", "false"]);
    assert_eq!(listed()["status"], "disabled");
    drop(dev);
    let dev = start();
    let found = listed();
    assert_eq!(
        (&found["id"], &found["status"], &dev.shown["webhook_secret"]),
        (&id.into(), &"enabled".into(), &secret)
    );
    drop(dev);
    for folder in [runtime, data] {
        std::fs::remove_dir_all(folder).unwrap();
    }
}

fn user_line(name: &str) -> String {
    serde_json::json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": name })
        .to_string()
}

#[test]
fn an_import_destroys_no_file_and_says_what_to_change() {
    let runtime = folder();
    let dev = start(&runtime);
    let path = |name: &str| runtime.join(name).to_str().unwrap().to_owned();
    let write = |name: &str, text: &[u8]| std::fs::write(runtime.join(name), text).unwrap();
    write("people.csv", b"userName,displayName\nann@x.y,Ann\n");
    write("old.jsonl", b"an older report\n");
    std::os::unix::fs::symlink(path("people.csv"), path("link.csv")).unwrap();
    for report in ["people.csv", "link.csv"] {
        let arguments = ["import", "demo", &path("people.csv"), "--report", &path(report)];
        let (code, _, err) = run(&runtime, &[], &arguments);
        assert!(code == Some(1) && err.contains("would replace the file"), "{err}");
    }
    let arguments = ["import", "nobody", &path("people.csv"), "--report", &path("old.jsonl")];
    assert_eq!(run(&runtime, &[], &arguments).0, Some(1));
    assert_eq!(std::fs::read(path("old.jsonl")).unwrap(), b"an older report\n");
    let arguments = ["import", "demo", &path("people.csv"), "--report", &path("old.jsonl")];
    assert_eq!(run(&runtime, &[], &arguments).0, Some(3), "veza wants more of a user");
    assert!(std::fs::read_to_string(path("old.jsonl")).unwrap().starts_with("{\"line\":2,"));

    write("latin.csv", b"userName,title\na,b\nm\xfcller,c\n");
    write("table.txt", b"userName,title\na,b\n");
    write("open.csv", b"userName,title\na,\"b\nc,d\n");
    write("list.json", b"[{\"userName\":\"a\"},\n{}]\n");
    for (name, problem) in [
        ("list.json", "line 1: "),
        ("latin.csv", "line 3 is not UTF-8"),
        ("table.txt", "must end in .csv"),
        ("open.csv", "line 2: a cell begins with a quote"),
    ] {
        let (code, _, err) = run(&runtime, &[], &["import", "demo", &path(name)]);
        assert!(code != Some(0) && err.contains(problem), "{err}");
        assert!(name != "list.json" || !err.contains(".csv"), "{err}");
    }
    // One line that is not JSON is refused alone.
    let good = user_line("bo");
    write("mixed.jsonl", format!("userName,title\n{good}\n").as_bytes());
    let (code, out, err) =
        run(&runtime, &[], &["import", "demo", &path("mixed.jsonl"), "--dry-run", "--json"]);
    let counts: Value = serde_json::from_str(&out).expect("JSON");
    assert!(
        code == Some(3) && counts["refused"] == 2 && err.contains("line 1: the line is not JSON"),
        "{err}"
    );
    // A byte order mark is no part of the first line.
    write("marked.jsonl", format!("\u{feff}{}\n", user_line("a")).as_bytes());
    let (code, _, err) = run(&runtime, &[], &["import", "demo", &path("marked.jsonl")]);
    assert!(code == Some(3) && err.contains("displayName") && !err.contains("JSON"), "{err}");
    drop(dev);
    std::fs::remove_dir_all(runtime).unwrap();
}

#[test]
fn an_export_or_import_that_is_interrupted_leaves_no_file() {
    let (runtime, input) = (folder(), folder());
    let slow = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", slow.local_addr().unwrap());
    let lines = input.join("in.jsonl");
    std::fs::write(&lines, user_line("a")).unwrap();
    let files = || std::fs::read_dir(&runtime).unwrap().count();
    let commands =
        [vec!["export", "demo", "--to"], vec!["import", "demo", lines.to_str().unwrap(), "--report"]];
    for (command, signal) in commands.iter().flat_map(|command| ["TERM", "INT"].map(|one| (command, one))) {
        let mut tool = Command::new(TOOL);
        tool.env_clear().env("AWS_ACCESS_KEY_ID", "a").env("AWS_SECRET_ACCESS_KEY", "s");
        tool.env("AWS_REGION", "eu-west-1").stderr(Stdio::piped());
        tool.args(command).arg(runtime.join("out.jsonl"));
        let child = tool.args(["--table", "rollcall", "--endpoint-url", &endpoint]).spawn().unwrap();
        // The table takes the call and never answers.
        let _waiting = slow.accept().unwrap();
        assert_eq!(files(), 1, "it has begun");
        assert!(
            Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap().success()
        );
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(1) && err.contains("was interrupted"),
            "{command:?} {signal}: {err}"
        );
        assert_eq!(files(), 0, "{command:?} {signal}");
    }
    std::fs::remove_dir_all(runtime).unwrap();
    std::fs::remove_dir_all(input).unwrap();
}

#[test]
fn one_folder_for_both_kinds_of_files_is_searched_once() {
    let runtime = folder();
    let dev = start(&runtime);
    let variables = [("XDG_STATE_HOME", runtime.to_str().unwrap())];
    let (code, _, err) = run(&runtime, &variables, &["tenant", "list"]);
    assert_eq!(code, Some(0), "{err}");
    drop(dev);
    std::fs::remove_dir_all(runtime).unwrap();
}
