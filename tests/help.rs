//! The tool as someone meets it who has never used it.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::process::Command;

fn rollcall(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollcall"));
    command.args(arguments).env_clear().env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", "/nonexistent");
    let output = command.output().expect("a process");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The subcommands that a help page lists.
fn below(help: &str) -> Vec<String> {
    let list = help.split("Commands:\n").nth(1).unwrap_or_default();
    let lines = list.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn every_command_has_a_page_with_an_example() {
    let mut open: Vec<Vec<String>> = vec![Vec::new()];
    let mut pages = 0;
    while let Some(path) = open.pop() {
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        arguments.push("--help");
        let (code, out, _) = rollcall(&arguments);
        assert_eq!(code, Some(0), "{path:?}");
        let commands = below(&out);
        if commands.is_empty() {
            assert!(out.contains("Example"), "{path:?} has no example:\n{out}");
            assert!(out.contains(&format!("\n  rollcall {}", path.join(" "))), "{path:?}: another's example");
            pages += 1;
        }
        open.extend(commands.into_iter().map(|name| [path.clone(), vec![name]].concat()));
    }
    assert!(pages >= 20, "{pages}");
}

#[test]
fn wrong_usage_is_one_line_and_two() {
    for arguments in [
        &["nonsense"][..],
        &["tenant", "create", "UPPER"],
        &["tenant", "create", "acme", "--policy", "lax"],
        &["tenant", "breaker", "acme", "--percent", "101"],
        &["tenant", "breaker", "acme", "--percent", "5", "--off"],
        &["key", "create", "acme"],
        &["key", "create", "acme", "--name", "x", "--expires", "yesterday"],
        &["application", "create", "portal"],
        &["application", "create", "portal", "--scope", "provision"],
        &["group", "assign", "acme", "--role", "admin"],
        &["tenant", "list", "--endpoint-url", "127.0.0.1:8000"],
        &["tenant", "create", "acme", "--admin-email", "nobody"],
        &["tenant", "update", "acme"],
        &["user", "create", "acme", "--email", "nobody", "--given-name", "A", "--family-name", "B"],
        &["audit", "acme", "--type", "nosuch"],
        &["webhook", "update", "wh_1"],
        &["group", "assign", "acme", "01890a5d-ac96-774b-bcce-b302099a8057", "--role", "Big Boss"],
        &["import", "acme"],
        &["export", "acme", "--output", "yaml"],
    ] {
        let (code, out, err) = rollcall(arguments);
        assert_eq!(
            (code, out.as_str(), err.trim().lines().count()),
            (Some(2), "", 1),
            "{arguments:?}: {err}"
        );
    }
}

#[test]
fn a_wrong_value_says_what_to_give() {
    let port = "give a whole number from 0 to 65535";
    for (arguments, expected) in [
        (&["dev", "--port", "abc"][..], port),
        (&["dev", "--port", "99999"], port),
        (&["dev", "--dynamodb-port", "99999"], port),
        (&["dev", "--host", "example.com"], "give an IP address, such as 127.0.0.1 or 0.0.0.0, or localhost"),
        (
            &["dev", "--forward-to", "ftp://x"],
            "write the URL as http://127.0.0.1:8000/hook or https://app.example.com/hook",
        ),
        (&["tenant", "list", "--endpoint-url", "127.0.0.1:8000"], "such as http://127.0.0.1:8000"),
    ] {
        let (code, out, err) = rollcall(arguments);
        assert_eq!(
            (code, out.as_str(), err.trim().lines().count()),
            (Some(2), "", 1),
            "{arguments:?}: {err}"
        );
        assert!(err.contains(expected), "{arguments:?}: {err}");
    }
}

#[test]
fn what_is_missing_is_said_in_one_line() {
    let local = ["--table", "rollcall", "--endpoint-url", "http://127.0.0.1:1"];
    let group = "01890a5d-ac96-774b-bcce-b302099a8057";
    for (arguments, expected) in [
        (&["group", "list", "acme"][..], "ROLLCALL_TABLE"),
        (&["export", "acme"], "ROLLCALL_TABLE"),
        (&["user", "list-deactivated", "acme", "--table", "t"], "credentials"),
        (&["check", "acme", "--table", "t", "--region", "eu-west-1"], "credentials"),
        (&[&["audit", "acme"][..], &local].concat(), "cannot be reached"),
        (&[&["group", "assign", "acme", group, "--role", "x"][..], &local].concat(), "cannot be reached"),
        (&[&["import", "acme", "/nonexistent.jsonl"][..], &local].concat(), "/nonexistent.jsonl"),
    ] {
        let (code, out, err) = rollcall(arguments);
        assert_eq!(
            (code, out.as_str(), err.trim().lines().count()),
            (Some(1), "", 1),
            "{arguments:?}: {err}"
        );
        assert!(err.contains(expected), "{arguments:?}: {err}");
    }
}

/// The commands that have no subcommands, with their help pages.
fn pages() -> Vec<(String, String)> {
    let mut open: Vec<Vec<String>> = vec![Vec::new()];
    let mut pages = Vec::new();
    while let Some(path) = open.pop() {
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        arguments.push("--help");
        let (_, out, _) = rollcall(&arguments);
        let commands = below(&out);
        if commands.is_empty() {
            pages.push((path.join(" "), out));
        }
        open.extend(commands.into_iter().map(|name| [path.clone(), vec![name]].concat()));
    }
    pages
}

#[test]
fn the_page_of_the_tool_has_every_command_and_no_other_option() {
    let page = |name: &str| {
        std::fs::read_to_string(format!("{}/docs/{name}", env!("CARGO_MANIFEST_DIR"))).expect("a page")
    };
    let (tool, webhooks) = (page("tool.md"), page("webhooks.md"));
    let pages = pages();
    let mut wrong = Vec::new();
    for (command, _) in &pages {
        let named = format!("rollcall {command}");
        let is_webhook = command.starts_with("webhook ");
        let found = [' ', '`'].iter().any(|end| {
            let text = format!("{named}{end}");
            tool.contains(&text) || (is_webhook && webhooks.contains(&text))
        });
        if !found {
            wrong.push(format!("{named} is on no page"));
        }
    }
    let mut shown = 0;
    for line in tool.split('`').skip(1).step_by(2).filter(|code| code.starts_with("rollcall ")) {
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        let is_of = |command: &str| {
            let parts: Vec<&str> = command.split(' ').collect();
            words.starts_with(&parts)
        };
        let Some((_, help)) = pages.iter().find(|(command, _)| is_of(command)) else {
            if words.len() > 1 {
                wrong.push(format!("{line}: there is no such command"));
            }
            continue;
        };
        shown += 1;
        for option in words.iter().filter(|word| word.starts_with("--")) {
            let name = option.split('=').next().unwrap_or_default();
            if !help.split(|c: char| c.is_whitespace() || c == ',').any(|word| word == name) {
                wrong.push(format!("{line}: there is no {name}"));
            }
        }
    }
    assert!(shown > 30, "the page is not read: {shown}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
