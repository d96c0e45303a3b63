//! A mirror that an application keeps by the API: a snapshot, and then the feed. And the mirrors of the clients.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::dev::{Answer, Dev};

/// How long a change may take until it is in the feed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends a request to the application's side.
pub fn ask(dev: &Dev, path: &str) -> Answer {
    let key = dev.shown["application_key"].as_str().expect("a key");
    let url = dev.shown["app_url"].as_str().expect("a URL");
    let host = url.trim_start_matches("http://").trim_end_matches("/app/v1");
    let request = format!(
        "GET /app/v1{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\r\n"
    );
    dev.raw(request.as_bytes())
}

fn good(dev: &Dev, path: &str) -> Value {
    let answer = ask(dev, path);
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.body
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}")).to_owned()
}

/// What an application keeps of a tenant: names and versions of users, members of groups, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirrored {
    users: BTreeMap<String, (String, String)>,
    groups: BTreeMap<String, BTreeSet<String>>,
}

impl Mirrored {
    /// Reads all of a tenant.
    pub fn read(dev: &Dev, tenant: &str) -> Self {
        let mut found = Self::default();
        let users = good(dev, &format!("/tenants/{tenant}/Users?count=200"));
        for user in users["Resources"].as_array().expect("users") {
            found.users.insert(text(user, "id"), named(user));
        }
        let groups = good(dev, &format!("/tenants/{tenant}/Groups?count=200&attributes=members"));
        for group in groups["Resources"].as_array().expect("groups") {
            let members = group["members"].as_array().into_iter().flatten();
            found.groups.insert(text(group, "id"), members.map(|member| text(member, "value")).collect());
        }
        found
    }

    fn apply(&mut self, change: &Value) {
        let (id, resource) = (text(change, "resourceId"), &change["resource"]);
        match change["resourceType"].as_str() {
            Some("User") if resource.is_null() => {
                self.users.remove(&id);
            }
            Some("User") => {
                self.users.insert(id, named(resource));
            }
            Some("Group") if resource.is_null() => {
                self.groups.remove(&id);
            }
            Some("Group") => {
                let members = self.groups.entry(id).or_default();
                let named = |name: &str| change[name].as_array().cloned().unwrap_or_default();
                members.extend(named("added").iter().map(|id| id.as_str().expect("an id").to_owned()));
                for id in named("removed") {
                    members.remove(id.as_str().expect("an id"));
                }
            }
            _ => {}
        }
    }

    /// What the application shows: memberships of users who exist.
    fn shown(mut self) -> Self {
        let Self { users, groups } = &mut self;
        groups.values_mut().for_each(|members| members.retain(|id| users.contains_key(id)));
        self
    }
}

fn named(user: &Value) -> (String, String) {
    (text(user, "displayName"), text(&user["meta"], "version"))
}

/// A mirror of one tenant.
pub struct Mirror {
    tenant: String,
    /// Its position in the feed.
    pub position: String,
    kept: Mirrored,
    /// The highest number of a `tenant.resync` for which it has taken a snapshot.
    resynced: u64,
    /// How many snapshots it took.
    pub snapshots: usize,
}

impl Mirror {
    /// Takes a snapshot.
    pub fn start(dev: &Dev, tenant: &str) -> Self {
        let (tenant, kept) = (tenant.to_owned(), Mirrored::default());
        let mut mirror = Self { tenant, position: String::new(), kept, resynced: 0, snapshots: 0 };
        mirror.take_snapshot(dev);
        mirror
    }

    fn take_snapshot(&mut self, dev: &Dev) {
        self.position = text(&good(dev, "/status"), "snapshot");
        self.kept = Mirrored::read(dev, &self.tenant);
        self.snapshots += 1;
    }

    /// Follows the feed to its end. A lost position (410) is followed by a snapshot. Returns whether there was one.
    pub fn follow(&mut self, dev: &Dev) -> bool {
        let mut was_lost = false;
        loop {
            let path = format!(
                "/changes?tenant={}&include=resource&after={}",
                self.tenant,
                self.position.replace('+', "%2B")
            );
            let page = ask(dev, &path);
            if page.status == 410 {
                assert_eq!(page.body["type"], "urn:rollcall:problem:lostPosition", "{page:?}");
                self.take_snapshot(dev);
                was_lost = true;
                continue;
            }
            assert_eq!(page.status, 200, "{page:?}");
            for change in page.body["changes"].as_array().expect("changes") {
                let seq = change["seq"].as_u64().expect("a number");
                if change["type"] == "tenant.resync" && seq > self.resynced {
                    self.resynced = seq;
                    self.kept = Mirrored::read(dev, &self.tenant);
                }
                self.kept.apply(change);
            }
            self.position = text(&page.body, "next");
            if page.body["more"] != true {
                return was_lost;
            }
        }
    }

    /// Follows the feed until the mirror equals what the application reads. Returns whether its position was lost.
    pub fn converge(&mut self, dev: &Dev) -> bool {
        let (began, mut was_lost) = (Instant::now(), false);
        loop {
            was_lost |= self.follow(dev);
            let (kept, truth) = (self.kept.clone().shown(), Mirrored::read(dev, &self.tenant).shown());
            if kept == truth {
                return was_lost;
            }
            assert!(began.elapsed() < PATIENCE, "the mirror has\n{kept:#?}\nand the tenant\n{truth:#?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// The mirrors of the clients, which FEED_MIRRORS names. Each is a command that takes the path of a database.
pub struct ClientMirrors {
    mirrors: Vec<(String, PathBuf)>,
}

impl ClientMirrors {
    /// Those of the environment. None without the variable, because a client needs Python or Node.js.
    pub fn from_env() -> Self {
        let commands = std::env::var("FEED_MIRRORS").unwrap_or_default();
        let commands = commands.split(';').map(str::trim).filter(|command| !command.is_empty());
        let database = || std::env::temp_dir().join(format!("rollcall-mirror-{}.db", uuid::Uuid::now_v7()));
        Self { mirrors: commands.map(|command| (command.to_owned(), database())).collect() }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.mirrors.len()
    }

    /// Lets each catch up, and asserts that it has the tenant's users with their versions.
    pub fn catch_up(&self, dev: &Dev, tenant: &str) {
        let shown = |name: &str| dev.shown[name].as_str().expect("a text").to_owned();
        let users = Mirrored::read(dev, tenant).users;
        let users: BTreeMap<&str, u64> = users
            .iter()
            .map(|(id, (_, version))| {
                let number = version.trim_matches(['W', '/', '"']).parse().expect("a number");
                (id.as_str(), number)
            })
            .collect();
        for (command, database) in &self.mirrors {
            let began = Instant::now();
            loop {
                let mut words = command.split_whitespace();
                let mut process = Command::new(words.next().expect("a program"));
                process.args(words).arg(database).args(["--once", "--dump"]);
                process.env("ROLLCALL_APP_URL", shown("app_url"));
                process.env("ROLLCALL_APPLICATION_KEY", shown("application_key"));
                let output = process.output().expect("a client");
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{command}: {said}");
                let dump: Value = serde_json::from_slice(&output.stdout).expect("JSON");
                let kept = dump["tenants"][tenant]["users"].as_object().cloned().unwrap_or_default();
                let kept: BTreeMap<&str, u64> = kept
                    .iter()
                    .map(|(id, user)| (id.as_str(), user["version"].as_u64().unwrap_or(0)))
                    .collect();
                if kept == users {
                    break;
                }
                assert!(began.elapsed() < PATIENCE, "{command} has {}", json!(kept));
            }
        }
    }
}

impl Drop for ClientMirrors {
    fn drop(&mut self) {
        for (_, database) in &self.mirrors {
            // A mirror that never ran has none.
            let _ = std::fs::remove_file(database);
        }
    }
}
