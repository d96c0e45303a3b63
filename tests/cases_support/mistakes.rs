//! Typical mistakes and their answers: plays `tests/mistakes.json`, and holds `docs/errors.md` to it.
//!
//! `WRITE=1 cargo test --features cli --test cases page` writes the page.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use futures_util::StreamExt;
use rollcall::scim::note_texts::{NoteKind, RULE_TEXTS};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::case::{Case, Request, Response, Setup, Step};
use super::stack::{Stack, user};

const ERROR: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// All mistakes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mistakes {
    requests: Vec<MistakeGroup>,
    tool: Vec<ToolMistake>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MistakeGroup {
    title: String,
    mistakes: Vec<Mistake>,
}

/// A wrong request and its answer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mistake {
    about: String,
    #[serde(default = "default_policy")]
    policy: String,
    #[serde(default)]
    setup: Vec<Setup>,
    request: Request,
    /// The body is a complete user with these attributes; null leaves one out.
    with: Option<Map<String, Value>>,
    answer: ErrorAnswer,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ErrorAnswer {
    status: u16,
    scim_type: Option<String>,
    detail: String,
}

/// A wrong command line of `rollcall`, and a text on its stderr. Its exit status is 2.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToolMistake {
    about: String,
    args: Vec<String>,
    answer: String,
}

fn default_policy() -> String {
    "veza".to_owned()
}

fn read() -> Mistakes {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes.json");
    let text = std::fs::read_to_string(path).expect("tests/mistakes.json");
    serde_json::from_str(&text).expect("mistakes")
}

impl Mistake {
    /// The mistake as a case: the whole answer is compared.
    fn case(&self) -> Case {
        let mut request = self.request.clone();
        if let Some(with) = &self.with {
            let mut body = user("bob");
            for (key, value) in with {
                match value {
                    Value::Null => body.shift_remove(key),
                    value => body.insert(key.clone(), value.clone()),
                };
            }
            request.body = Some(Value::Object(body));
        }
        let ErrorAnswer { status, scim_type, detail } = &self.answer;
        let mut body = json!({ "schemas": [ERROR], "status": status.to_string(), "detail": detail });
        if let Some(scim_type) = scim_type {
            body["scimType"] = scim_type.as_str().into();
        }
        let response = Response {
            status: *status,
            headers: Default::default(),
            body: Some(body),
            notes: None,
            hint: None,
        };
        Case {
            about: self.about.clone(),
            policies: vec![self.policy.clone()],
            needs_empty_tenant: false,
            setup: self.setup.clone(),
            steps: vec![Step { request, response }],
        }
    }

    /// The request as the page shows it.
    fn shown(&self) -> String {
        let Request { method, path, query, headers, key, body, raw, .. } = &self.request;
        let mut text = format!("{method} {path}");
        for (at, (name, value)) in query.iter().enumerate() {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            write!(text, "{}{name}={value}", if at == 0 { '?' } else { '&' }).expect("a text");
        }
        for (name, value) in headers.iter().filter(|(_, value)| *value != "application/scim+json") {
            write!(text, " ⏎ {name}: {value}").expect("a text");
        }
        match (key.as_deref(), headers.contains_key("authorization")) {
            (None, _) | (Some("none"), true) => {}
            (Some("none"), false) => text.push_str(" ⏎ no authorization"),
            (Some("read"), _) => text.push_str(" ⏎ a key with the scope read"),
            (Some(key), _) => write!(text, " ⏎ authorization: Bearer {key}").expect("a text"),
        }
        match (&self.with, body, raw) {
            (Some(with), ..) if with.is_empty() => {}
            (Some(with), ..) => write!(text, " ⏎ a user with {}", json!(with)).expect("a text"),
            (_, Some(body), _) => write!(text, " ⏎ {}", without_schemas(body)).expect("a text"),
            (_, _, Some(raw)) if !raw.is_empty() => write!(text, " ⏎ {raw}").expect("a text"),
            _ => {}
        }
        text
    }
}

/// A message without its usual `schemas`.
fn without_schemas(body: &Value) -> Value {
    let mut body = body.clone();
    if let Value::Object(object) = &mut body
        && object.contains_key("Operations")
    {
        object.shift_remove("schemas");
    }
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mistake_gets_its_answer() {
    let stack = Stack::start().await;
    let mistakes: Vec<Mistake> = read().requests.into_iter().flat_map(|group| group.mistakes).collect();
    assert!(mistakes.len() >= 60, "{}", mistakes.len());
    let results: Vec<Option<String>> = futures_util::stream::iter(mistakes.iter().enumerate())
        .map(|(number, mistake)| {
            let stack = &stack;
            async move {
                let played = stack.play(&mistake.case(), &mistake.policy, number).await;
                played.err().map(|failed| format!("{}: {failed}", mistake.about))
            }
        })
        .buffered(8)
        .collect()
        .await;
    let failures: Vec<String> = results.into_iter().flatten().collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn each_wrong_command_line_gets_its_answer() {
    for ToolMistake { about, args, answer } in read().tool {
        let output =
            Command::new(env!("CARGO_BIN_EXE_rollcall")).args(&args).output().expect("the tool runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{about}: {stderr}");
        assert!(stderr.contains(&answer), "{about}: {stderr}");
    }
}

#[test]
fn the_page_shows_all_mistakes_and_notes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors.md");
    let page = page();
    if std::env::var_os("WRITE").is_some() {
        std::fs::write(&path, &page).expect("the page");
    }
    let stored = std::fs::read_to_string(&path).expect("docs/errors.md");
    assert!(stored == page, "docs/errors.md is not current: make errors");
}

const INTRODUCTION: &str = "# Errors and notes

This page is made of `tests/mistakes.json` and `src/scim/note_texts.rs` (`make errors`). A test plays each request.

- [Errors](#errors): typical mistakes and their answers
- [Notes](#notes): what the log tells about a request
- [Hints](#hints): what to change at the identity provider

## Errors

Each error is a SCIM error (RFC 7644 §3.12). `detail` says what is wrong and what to change. If several things are
wrong with a body, one answer names them: the first ten, and how many more there are. The tenants of this page have the
policy `veza` where no other is named. `{alice}` is the id of a user who is there, `{team}` that of a group.

";

const NOTES: &str = "## Notes

The log line of a request tells what the service made of it. On AWS it holds codes (`notes`), in `rollcall dev` words.
A code names an attribute, and never holds a value. A name that does not look like one is `?`. A request has 20 notes at
most.

| code | meaning |
| --- | --- |
";

const HINTS: &str = "
## Hints

A refusal by a rule leaves the note `refused:RULE:ATTRIBUTE`. If the policy of the tenant asks for the rule, the name of
the policy comes first: `refused:veza.required:displayName`. The `detail` of the answer ends with the hint.

| rule | meaning | hint |
| --- | --- | --- |
";

/// The page as it must be.
fn page() -> String {
    let cell = |text: &str| text.replace('|', "\\|");
    let code = |text: &str| format!("`{}`", cell(text).replace('`', "'"));
    let mut page = INTRODUCTION.to_owned();
    let mistakes = read();
    for group in &mistakes.requests {
        write!(page, "### {}\n\n| mistake | request | answer |\n| --- | --- | --- |\n", group.title)
            .expect("a text");
        for mistake in &group.mistakes {
            let ErrorAnswer { status, scim_type, detail } = &mistake.answer;
            let scim_type = scim_type.as_ref().map(|kind| format!(" `{kind}`")).unwrap_or_default();
            let policy =
                if mistake.policy == "veza" { String::new() } else { format!(" (`{}`)", mistake.policy) };
            let shown: Vec<String> = mistake.shown().split(" ⏎ ").map(&code).collect();
            writeln!(
                page,
                "| {}{policy} | {} | **{status}**{scim_type} {} |",
                cell(&mistake.about),
                shown.join("<br>"),
                cell(&escape(detail)),
            )
            .expect("a text");
        }
        page.push('\n');
    }
    page.push_str("### The tool\n\n| mistake | command | answer |\n| --- | --- | --- |\n");
    for ToolMistake { about, args, answer } in &mistakes.tool {
        let command = code(&format!("rollcall {}", args.join(" ")));
        writeln!(page, "| {about} | {command} | {} |", cell(&escape(answer))).expect("a text");
    }
    page.push('\n');
    page.push_str(NOTES);
    for kind in NoteKind::ALL {
        let (name, words) = kind.texts();
        let subject = if words.contains("{}") { ":NAME" } else { "" };
        let name = match kind {
            NoteKind::Password => code("ignored:password"),
            _ => code(&format!("{name}{subject}")),
        };
        writeln!(page, "| {name} | {} |", words.replace("{}", "NAME")).expect("a text");
    }
    page.push_str("| `refused:RULE:NAME` | a rule refused the request: see below |\n");
    page.push_str(HINTS);
    let mut seen = Vec::new();
    for (_, name, words, hint) in RULE_TEXTS {
        if !seen.contains(&name) {
            // Two rules may have one code: the first one stands for both.
            let hint = hint.replace("{mappings}", "…");
            writeln!(page, "| {} | {} | {} |", code(name), words.replace("{}", "NAME"), cell(&escape(&hint)))
                .expect("a text");
            seen.push(name);
        }
    }
    page.push_str("\n`…` stands for the pages on which attributes are mapped. Okta: Provisioning > To App > Attribute\nMappings. Entra ID: Provisioning > Mappings.\n");
    page
}

/// A text of an answer as Markdown.
fn escape(text: &str) -> String {
    text.replace('<', "&lt;").replace('[', "\\[").replace('*', "\\*").replace('_', "\\_")
}
