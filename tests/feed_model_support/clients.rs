//! The mirrors of the clients in `clients/`: processes of their own, which are killed at random moments.
//!
//! FEED_MIRRORS names their commands, with `;` between two of them. Each takes the path of a database as its last
//! argument. Without it no such mirror plays along, because a client needs Python or Node.js.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::process::Command;

use super::ending::Ending;
use super::{Dice, MOVED, tenants};
use crate::app_support::App;

/// The command of a client, and its database.
pub struct ClientMirror {
    command: String,
    database: PathBuf,
    app_url: String,
    key: String,
}

impl ClientMirror {
    /// Two mirrors of each client that FEED_MIRRORS names.
    pub async fn all(app: &App, endpoint: &str) -> Vec<Self> {
        let commands = std::env::var("FEED_MIRRORS").unwrap_or_default();
        let commands: Vec<&str> = commands.split(';').map(str::trim).filter(|one| !one.is_empty()).collect();
        if commands.is_empty() {
            return Vec::new();
        }
        let app_url = App::listen(endpoint).await;
        let mirror = |command: &&str| Self {
            command: (*command).to_owned(),
            database: std::env::temp_dir().join(format!("rollcall-mirror-{}.db", uuid::Uuid::now_v7())),
            app_url: app_url.clone(),
            key: app.reader.clone(),
        };
        commands.iter().chain(&commands).map(mirror).collect()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut words = self.command.split_whitespace();
        let mut command = Command::new(words.next().expect("a program"));
        command
            .args(words)
            .arg(&self.database)
            .args(arguments)
            .kill_on_drop(true)
            .envs([("ROLLCALL_APP_URL", &self.app_url), ("ROLLCALL_APPLICATION_KEY", &self.key)]);
        command
    }

    /// Lets the mirror follow the feed. It starts somewhere in the work, and is killed again and again.
    pub async fn follow(&self, ending: Ending, mut dice: Dice, killed: Arc<AtomicUsize>) {
        let seconds = ending.shortest_rest().as_secs();
        let rest = dice.roll(1 + usize::try_from(seconds / 2).unwrap());
        // A start takes most of a second of the processor, so in a long play they live longer.
        let longest = 4_000.max(usize::try_from(seconds).unwrap() * 100);
        tokio::time::sleep(Duration::from_secs(rest as u64)).await;
        while !ending.is_over() {
            let mut process = self.command(&[]).stdout(Stdio::null()).spawn().expect("a client");
            tokio::time::sleep(Duration::from_millis(300 + dice.roll(longest) as u64)).await;
            process.kill().await.expect("it runs until it is killed");
            killed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lets the mirror catch up, and asserts that it equals what the server says of the tenants.
    pub async fn assert_equals(&self, expected: &Value, seed: u64) {
        let output = self.command(&["--once", "--dump"]).output().await.expect("a client");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "seed {seed}, {}: {said}", self.command);
        let dump: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        for name in tenants().iter().copied().chain([MOVED]) {
            let (found, expected) = (&dump["tenants"][name], &expected[name]);
            for part in ["incarnation", "users", "groups", "members", "roles", "defined"] {
                let (found, expected) = (&found[part], &expected[part]);
                assert_eq!(found, expected, "seed {seed}, {name}, {part}, {}", self.command);
            }
        }
        std::fs::remove_file(&self.database).expect("the database is there");
    }
}

/// What the server says of each tenant, in the form in which the clients print their mirrors.
pub async fn state_by_api(app: &App) -> Value {
    let mut state = Map::new();
    for name in tenants().iter().copied().chain([MOVED]) {
        let tenant = app.get(&format!("/tenants/{name}")).await.expect(200);
        let (mut users, mut roles) = (Map::new(), Map::new());
        for user in list(app, name, "Users").await {
            let id = user["id"].as_str().expect("an id").to_owned();
            let extension = &user["urn:ietf:params:scim:schemas:extension:rollcall:2.0:User"];
            let active = user["active"] != false;
            let mut granted: Vec<[&str; 2]> = extension["roles"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|role| ["team", "role"].map(|part| role[part].as_str().expect("a text")))
                .collect();
            granted.sort_unstable();
            if active && !granted.is_empty() {
                roles.insert(id.clone(), json!(granted));
            }
            let version = version(&user);
            users.insert(id, json!({ "userName": user["userName"], "active": active, "version": version }));
        }
        let (mut groups, mut members) = (Map::new(), Map::new());
        for group in list(app, name, "Groups").await {
            let id = group["id"].as_str().expect("an id").to_owned();
            let path = format!("/tenants/{name}/Groups/{id}/members");
            let page = app.get(&path).await.expect(200);
            assert!(page.get("next").is_none(), "a group has more members than a page");
            let mut ids: Vec<&str> = page["members"]
                .as_array()
                .expect("members")
                .iter()
                .map(|member| member["value"].as_str().expect("an id"))
                .collect();
            ids.sort_unstable();
            members.insert(id.clone(), json!(ids));
            groups.insert(id, json!({ "displayName": group["displayName"], "version": version(&group) }));
        }
        let mut defined = Map::new();
        for (kind, list) in [("Role", "roles"), ("Entitlement", "entitlements")] {
            let page = app.get(&format!("/tenants/{name}/{list}")).await.expect(200);
            for one in page[list].as_array().expect("a list") {
                let shown = json!({ "displayName": one["displayName"], "version": one["version"] });
                defined.insert(format!("{kind} {}", one["id"].as_str().expect("an id")), shown);
            }
        }
        let parts = BTreeMap::from([
            ("users", users),
            ("groups", groups),
            ("members", members),
            ("roles", roles),
            ("defined", defined),
        ]);
        let mut parts = json!(parts);
        parts["incarnation"] = tenant["incarnation"].clone();
        state.insert(name.to_owned(), parts);
    }
    state.into()
}

fn version(resource: &Value) -> u64 {
    let tag = resource["meta"]["version"].as_str().expect("a version");
    tag.trim_matches(['W', '/', '"']).parse().expect("a number")
}

/// All resources of a kind, by cursor.
async fn list(app: &App, tenant: &str, kind: &str) -> Vec<Value> {
    let (mut found, mut cursor) = (Vec::new(), Some(String::new()));
    while let Some(at) = cursor {
        let path = format!("/tenants/{tenant}/{kind}?count=200&excludedAttributes=members&cursor={at}");
        let page = app.get(&path).await.expect(200);
        found.extend(page["Resources"].as_array().expect("resources").iter().cloned());
        cursor = page["nextCursor"].as_str().map(str::to_owned);
    }
    found
}
