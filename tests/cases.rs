//! Plays every file below `tests/cases` through the whole stack, and says which differ and how. The functions call
//! the table with the rights of their roles in the template.
//!
//! `CASES=okta/ cargo test …` plays those whose path has this text in it, `POLICY=veza` those under one policy.
#![allow(clippy::expect_used, clippy::panic)]

mod cases_support;
mod roles_support;
mod support;

use std::path::Path;

use cases_support::case::{Case, files};
use cases_support::stack::Stack;
use futures_util::StreamExt;

/// How many cases are played at once.
const AT_ONCE: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn cases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let wanted = std::env::var("CASES").unwrap_or_default();
    let only = std::env::var("POLICY").unwrap_or_default();
    let stack = Stack::start().await;
    let (mut plays, mut failures, mut count) = (Vec::new(), Vec::new(), 0);
    for file in files(&folder) {
        let name = file.strip_prefix(&folder).expect("below the folder").display().to_string();
        if !name.contains(&wanted) {
            continue;
        }
        count += 1;
        match Case::read(&file) {
            Ok(case) => {
                let policies = case.policies.clone().into_iter().filter(|name| name.contains(&only));
                plays.extend(policies.map(|policy| (name.clone(), count, policy, case.clone())));
            }
            Err(wrong) => failures.push(format!("{name}: {wrong}")),
        }
    }
    let played = plays.len();
    let results: Vec<Option<String>> = futures_util::stream::iter(plays)
        .map(|(name, number, policy, case)| {
            let stack = &stack;
            async move {
                let result = stack.play(&case, &policy, number).await;
                result.err().map(|failed| format!("{name} [{policy}] {failed}"))
            }
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    failures.extend(results.into_iter().flatten());
    println!("{count} cases, played {played} times");
    assert!(count > 0, "there is no case");
    for failure in &failures {
        println!("\nFAILED {failure}");
    }
    assert!(failures.is_empty(), "{} failed, see above", failures.len());
}

#[test]
fn a_case_that_cannot_fail_is_refused() {
    let read = |text: &str| {
        let path = std::env::temp_dir().join(format!("rollcall-case-{}.json", uuid::Uuid::now_v7()));
        std::fs::write(&path, text).expect("a file");
        let read = Case::read(&path).map(|_| ());
        std::fs::remove_file(path).expect("a file");
        read
    };
    let about = "\"about\": \"a user is read\"";
    for (text, accepted) in [
        (format!("{{ {about}, \"steps\": [] }}"), false),
        (format!("{{ {about}, \"step\": [] }}"), false),
        (step(about, "\"status\": 200"), false),
        (step(about, "\"body\": {}"), false),
        (step(about, "\"status\": 200, \"body\": \"{any}\""), false),
        (step(about, "\"status\": 200, \"bodies\": \"absent\""), false),
        (step("\"about\": \"\"", "\"status\": 204, \"body\": \"absent\""), false),
        (step(about, "\"status\": 204, \"body\": \"absent\""), true),
    ] {
        assert_eq!(read(&text).is_ok(), accepted, "{text}");
    }
}

fn step(about: &str, response: &str) -> String {
    let request = "{ \"method\": \"GET\", \"path\": \"/Users\" }";
    format!("{{ {about}, \"steps\": [{{ \"request\": {request}, \"response\": {{ {response} }} }}] }}")
}
