//! The drill of a restore (`make restore-drill`): the steps of docs/runbook.md on this machine. A deployment with a
//! mirror runs on a folder. Its table is copied as point-in-time recovery does, while a transaction is under way. The
//! tool repairs the copy, a deployment serves it, the mirror finds its way back, and an identity provider goes on.
//!
//! Then the steps of a stack that is deleted and made again on the kept table.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rollcall::store::item::Item;
use serde_json::{Value, json};

use crate::drill_support::Tool;
use crate::drill_support::identity_provider::Directory;
use crate::drill_support::mirror::{ClientMirrors, Mirror, ask};
use crate::drill_support::plan::PlanOfStack;
use crate::drill_support::served::Served;
use crate::support;
use crate::support::dev::{Dev, folder};
use crate::support::receiver::{Message, Receiver};
use crate::support::restored::{difference, read_all, tear};

const TENANT: &str = "acme";
const RUNBOOK: &str = include_str!("../docs/runbook.md");

/// Goes through the steps of the runbook, one after another.
struct Steps {
    titles: Vec<String>,
    done: usize,
}

impl Steps {
    /// The titles of the steps in a section.
    fn of(section: &str) -> Self {
        let begin = RUNBOOK.find(&format!("\n### {section}\n")).expect("the section") + 5;
        let text = &RUNBOOK[begin..];
        let text = &text[..text.find("\n### ").unwrap_or(text.len())];
        let title = |line: &str| {
            let (number, rest) = line.split_once(". **")?;
            number.parse::<u32>().ok()?;
            Some(rest.split_once(".**")?.0.to_owned())
        };
        Self { titles: text.lines().filter_map(title).collect(), done: 0 }
    }

    /// Begins a step, which must be the next one of the runbook.
    #[track_caller]
    fn begin(&mut self, title: &str) {
        let expected = self.titles.get(self.done).map(String::as_str);
        assert_eq!(expected, Some(title), "docs/runbook.md has another step {}", self.done + 1);
        self.done += 1;
        println!("\n{}. {title}", self.done);
    }

    fn end(self) {
        assert_eq!(self.done, self.titles.len(), "docs/runbook.md has more steps");
    }
}

/// Says what a step has shown.
fn proved(text: &str) {
    println!("    {text}");
}

/// What the drill works with.
struct Scene {
    old_folder: PathBuf,
    old: Dev,
    hook: Receiver,
    directory: Directory,
    mirror: Mirror,
    clients: ClientMirrors,
    /// A key that is revoked after the backup, and its id.
    stolen: (String, String),
    /// The id of a deactivated account that is erased after the backup.
    erased: String,
    /// When the backup is taken.
    moment: String,
    /// The items of the backup.
    backup: Vec<Item>,
}

fn start(folder: &Path, hook: &Receiver) -> Dev {
    Dev::start(&["--data-dir", folder.to_str().unwrap(), "--tenant", TENANT, "--forward-to", &hook.url])
}

fn tool(endpoint: &str) -> Tool {
    Tool { endpoint: endpoint.to_owned() }
}

fn status_with(dev: &Dev, key: &str) -> u16 {
    dev.send("GET", "/Users?count=1", &[("Authorization", &format!("Bearer {key}"))], b"").status
}

/// A deployment in use, a backup of it in the middle of a transaction, and what happens after that.
async fn scene() -> Scene {
    println!("\nA deployment in use");
    let (old_folder, hook) = (folder(), Receiver::start().await);
    let old = start(&old_folder, &hook);
    let endpoint = old.shown["dynamodb_endpoint"].as_str().unwrap().to_owned();
    let mut directory = Directory::default();
    directory.hire("sales", 4);
    directory.hire("support", 60);
    directory.users.insert("leaver".to_owned(), "leaver".to_owned());
    directory.send_everything(&old);
    let found = old.get("/Users?filter=userName%20eq%20%22leaver@example.com%22").body;
    let erased = found["Resources"][0]["id"].as_str().unwrap().to_owned();
    directory.dismiss("leaver");
    directory.send_everything(&old);
    let made = tool(&endpoint).run("key create acme --name stolen --json").json();
    let stolen = ["key", "keyId"].map(|name| made[name].as_str().unwrap().to_owned());
    tool(&endpoint).run("tenant create gone").good();
    let mut mirror = Mirror::start(&old, TENANT);
    let clients = ClientMirrors::from_env();
    mirror.converge(&old);
    clients.catch_up(&old, TENANT);

    let table = rollcall::store::call::Table::new(support::client(&endpoint), support::TABLE);
    let moment = rollcall::clock::timestamp();
    let before = read_all(&table).await;
    directory.dismiss("sales1");
    directory.send_everything(&old);
    let after = read_all(&table).await;
    let backup = tear(&before, &after, 1);
    let torn = difference(&before, &after).len();
    assert!(torn > 5, "the transaction is not seen");
    proved(&format!("a backup is taken while {torn} items are being written: it has some of them"));

    directory.hire("new", 50);
    directory.users.insert("sales2".to_owned(), "Another Name".to_owned());
    directory.send_everything(&old);
    let tool = tool(&endpoint);
    tool.run(&format!("key revoke acme {}", stolen[1])).good();
    tool.run(&format!("user purge acme {erased} --yes")).good();
    tool.run("tenant delete gone --yes").good();
    // `rollcall dev` looks once a second for changes that it did not make.
    let until = Instant::now() + Duration::from_secs(30);
    for (tenant, last) in [("acme", "user.purged"), ("gone", "tenant.deleted")] {
        while !tool.run(&format!("audit {tenant} --json")).good().contains(last) {
            assert!(Instant::now() < until, "the feed has no {last}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    mirror.converge(&old);
    clients.catch_up(&old, TENANT);
    proved("the mirror has followed the feed beyond the backup");
    let [key, id] = stolen;
    let stolen = (key, id);
    Scene { old_folder, old, hook, directory, mirror, clients, stolen, erased, moment, backup }
}

/// Steps 1 to 4. Returns the copy, and the key of the old deployment.
async fn restore(scene: Scene, steps: &mut Steps, new_folder: &Path) -> (Served, After) {
    steps.begin("Restore the table (AWS)");
    let restored = Served::restore(new_folder, scene.backup).await;
    assert!(!restored.has_ttl().await && !restored.has_stream().await);
    proved("the copy has neither TTL nor a stream");

    steps.begin("Switch on what a restore leaves out (AWS)");
    restored.switch_ttl_on().await;
    assert!(restored.has_ttl().await);
    proved("the copy has a TTL; rollcall dev needs no stream");

    steps.begin("Stop the worker (AWS)");
    let key = scene.old.key().to_owned();
    let (status, log) = scene.old.end();
    assert_eq!(status, Some(0), "{log}");
    proved("the old deployment is stopped");

    steps.begin("Write down what the restored table lacks");
    let old = Served::open(&scene.old_folder).await;
    let lost = tool(&old.endpoint).run(&format!("audit acme --since {} --json", scene.moment)).good();
    let tenants = |endpoint: &str| {
        let list = tool(endpoint).run("tenant list --json").json();
        let names =
            list.as_array().unwrap().iter().map(|tenant| tenant["tenant"].as_str().unwrap().to_owned());
        names.collect::<BTreeSet<_>>()
    };
    let (there, here) = (tenants(&old.endpoint), tenants(&restored.endpoint));
    assert_eq!(here.difference(&there).collect::<Vec<_>>(), ["gone"], "{there:?} {here:?}");
    let gone = tool(&old.endpoint).run("audit gone --type tenant.deleted --json").good();
    assert_eq!(gone.lines().count(), 1, "{gone}");
    old.close().await;
    let lost: Vec<Value> = lost.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let about = |kind: &str| {
        let found = lost.iter().find(|change| change["type"] == kind);
        found.unwrap_or_else(|| panic!("no {kind}"))["resourceId"].as_str().unwrap().to_owned()
    };
    assert_eq!((about("key.revoked"), about("user.purged")), (scene.stolen.1.clone(), scene.erased.clone()));
    proved(&format!(
        "{} changes are lost, among them a revoked key and an erased person; a deleted tenant came back",
        lost.len()
    ));
    // Where `rollcall dev` keeps the texts of its keys.
    for entry in std::fs::read_dir(&scene.old_folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().starts_with("demo-key-") {
            std::fs::copy(entry.path(), new_folder.join(entry.file_name())).unwrap();
        }
    }
    std::fs::remove_dir_all(&scene.old_folder).unwrap();
    let Scene { hook, directory, mirror, clients, stolen, erased, .. } = scene;
    (restored, After { hook, directory, mirror, clients, stolen, erased, key })
}

/// What the drill works with after the restore.
struct After {
    hook: Receiver,
    directory: Directory,
    mirror: Mirror,
    clients: ClientMirrors,
    stolen: (String, String),
    erased: String,
    key: String,
}

/// Steps 5 to 8.
fn repair(tool: &Tool, after: &After, steps: &mut Steps) {
    steps.begin("Look at the feed");
    let looked = tool.run("check --feed --json");
    assert!(matches!(looked.code, Some(0 | 3)), "{}", looked.err);
    let looked: Value = serde_json::from_str(&looked.out).unwrap();
    proved(&format!("{} findings in the feed", looked["findings"].as_array().unwrap().len()));

    steps.begin("Give the feed a new id");
    let renewed = tool.run("feed renew --yes --json").json();
    assert_eq!((&renewed["tenants"], &renewed["consumers"]), (&json!(2), &json!(1)), "{renewed}");
    proved(&format!("the next change has the number {}", renewed["nextChange"]));

    steps.begin("Repair");
    tool.run("check --feed").good();
    let broken = tool.run("check acme --json");
    assert_eq!(broken.code, Some(3), "the copy is whole: {}", broken.out);
    let repaired = tool.run("check acme --repair --json").json();
    let count = repaired["repaired"].as_array().unwrap().len();
    assert!(count > 0, "{repaired}");
    tool.run("check acme").good();
    proved(&format!("{count} findings are repaired, and none is left"));

    steps.begin("Revoke, erase and delete again");
    let keys = tool.run("key list acme --json").json();
    let status = |keys: &Value| {
        let key = keys.as_array().unwrap().iter().find(|key| key["keyId"] == after.stolen.1.as_str());
        key.expect("the key")["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(status(&keys), "active", "it came back with the restore");
    tool.run(&format!("key revoke acme {}", after.stolen.1)).good();
    assert_eq!(status(&tool.run("key list acme --json").json()), "revoked");
    tool.run(&format!("user purge acme {} --yes", after.erased)).good();
    let kept = tool.run("user list-deactivated acme --json").good();
    assert!(!kept.contains(&after.erased), "{kept}");
    tool.run("tenant delete gone --yes").good();
    proved("the key is revoked again, the person is erased again, and the tenant is deleted again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_restored_table_is_served_and_everybody_goes_on() {
    let scene = Box::pin(scene()).await;
    let mut steps = Steps::of("Restore");
    let new_folder = folder();
    let (restored, mut after) = Box::pin(restore(scene, &mut steps, &new_folder)).await;
    repair(&tool(&restored.endpoint), &after, &mut steps);

    steps.begin("Let the stack serve it (AWS)");
    restored.close().await;
    let heard = after.hook.received().len();
    let new = start(&new_folder, &after.hook);
    assert_eq!(new.key(), after.key, "the key of the identity provider works");
    assert_eq!((status_with(&new, &after.key), status_with(&new, &after.stolen.0)), (200, 401));
    proved("rollcall dev serves the copy: the tenant's key works, and the revoked one does not");

    steps.begin("Start the worker again (AWS)");
    assert!(after.mirror.converge(&new), "its position must be lost");
    assert_eq!(after.mirror.snapshots, 2);
    proved("the mirror of the old feed got 410, took a snapshot, and equals the tenant");
    after.clients.catch_up(&new, TENANT);
    proved(&format!("so did the mirrors of {} clients", after.clients.count()));
    // The backup may have the lease of a delivery, which lasts 40 seconds.
    let messages = wait_for_messages(&after.hook, heard + 1);
    let told = messages[heard..].iter().any(|message| {
        let changes = message.json()["data"]["changes"].as_array().cloned().unwrap_or_default();
        changes.iter().any(|change| change["type"] == "tenant.resync")
    });
    assert!(told, "the webhook is not told to read the tenant again");
    proved("the webhook is told to read the tenant again");

    steps.begin("Let identity providers send everything again");
    let changes = after.directory.send_everything(&new);
    assert!(changes > 50, "what was lost is sent again");
    assert_eq!(Directory::read(&new), after.directory);
    assert_eq!(after.directory.send_everything(&new), 0);
    assert!(!after.mirror.converge(&new), "the new position holds");
    after.clients.catch_up(&new, TENANT);
    proved(&format!(
        "{changes} requests brought the tenant to the state of its directory; the mirror follows"
    ));

    steps.begin("Check at the end");
    let tool = tool(new.shown["dynamodb_endpoint"].as_str().unwrap());
    tool.run("check --feed").good();
    tool.run("check acme").good();
    proved("the checker finds nothing");
    steps.end();
    let (status, log) = new.end();
    assert_eq!(status, Some(0), "{log}");
    std::fs::remove_dir_all(&new_folder).unwrap();
}

/// A deployment whose stack is deleted; its table is kept. What is pending then, a new deployment finishes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stack_is_made_again_on_the_kept_table() {
    let (kept, hook) = (folder(), Receiver::start().await);
    let old = start(&kept, &hook);
    let mut directory = Directory::default();
    directory.hire("sales", 4);
    directory.send_everything(&old);
    let mut mirror = Mirror::start(&old, TENANT);
    mirror.converge(&old);
    let mut steps = Steps::of("A stack that is made again");

    steps.begin("Write down what the new stack needs (AWS)");
    let (key, application_key) = (old.key().to_owned(), old.shown["application_key"].clone());
    proved("the table is the one in the folder");

    steps.begin("Delete the stack (AWS)");
    let (status, log) = old.end();
    assert_eq!(status, Some(0), "{log}");
    // What the worker of the old stack did not come to: changes in the outbox.
    let table = Served::open(&kept).await;
    let made = tool(&table.endpoint)
        .run("user create acme --email late@example.com --given-name La --family-name Te --json")
        .json();
    let waiting = tool(&table.endpoint).run("check --feed --json").json()["outbox"].as_u64().unwrap();
    assert!(waiting > 0, "nothing waits in the outbox");
    table.close().await;
    proved(&format!("the table is kept, with {waiting} changes that are not in the feed"));

    steps.begin("Make the stack again (AWS)");
    let position = mirror.position.clone();
    let new = start(&kept, &hook);
    let endpoint = new.shown["dynamodb_endpoint"].as_str().unwrap().to_owned();
    assert_eq!((new.key(), &new.shown["application_key"]), (key.as_str(), &application_key));
    proved("the tenant's key and the application's key work");

    steps.begin("Put tenants into the usage plan");
    put_into_plan(&endpoint).await;
    proved("the new plan has the keys of both tenants, with the values that the authorizer names");

    steps.begin("Check");
    assert!(!mirror.converge(&new), "its position must hold");
    assert_eq!((mirror.snapshots, position == mirror.position), (1, false));
    let late = made["id"].as_str().unwrap();
    assert_eq!(new.get(&format!("/Users/{late}")).status, 200);
    tool(&endpoint).run("check --feed").good();
    tool(&endpoint).run("check acme").good();
    directory.users.insert("sales1".to_owned(), "Another Name".to_owned());
    directory.users.insert("late".to_owned(), "La Te".to_owned());
    assert_eq!(directory.send_everything(&new), 1);
    assert!(!mirror.converge(&new), "its position must hold");
    let numbers = deliveries(&hook, &new);
    assert!(numbers.windows(2).all(|pair| pair[1] <= pair[0] + 1), "a number is missing: {numbers:?}");
    proved("the feed goes on: no position is lost, and the webhook has every number in order");

    steps.begin("Tell the new URLs (AWS)");
    steps.end();
    let (status, log) = new.end();
    assert_eq!(status, Some(0), "{log}");
    std::fs::remove_dir_all(&kept).unwrap();
}

/// Puts two tenants into the usage plan of the new stack. The key of one is left from the old stack.
async fn put_into_plan(endpoint: &str) {
    let (gateway, plan) = PlanOfStack::start().await;
    let shown = tool(endpoint).run("tenant show acme --json").json();
    plan.keep(shown["usageKey"].as_str().unwrap());
    // A tenant whose key went with the old stack, as that of the first tenant does.
    let first = tool(endpoint).run("tenant create first --json").json();
    for _ in 0..2 {
        let variables = [("AWS_ENDPOINT_URL_API_GATEWAY", gateway.as_str())];
        let put = tool(endpoint).run_with("tenant usage-key --usage-plan new --json", &variables).json();
        assert_eq!(put["tenants"], 2, "{put}");
    }
    let values = [&shown, &first].map(|tenant| tenant["usageKey"].as_str().unwrap().to_owned());
    assert_eq!(plan.values(), values);
    assert!(plan.names().iter().all(|name| name.starts_with("rollcall-")), "{:?}", plan.names());
}

/// Waits until so many messages have come.
fn wait_for_messages(hook: &Receiver, count: usize) -> Vec<Message> {
    for _ in 0..1_800 {
        if hook.received().len() >= count {
            return hook.received();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("the webhook has only {} messages", hook.received().len());
}

/// The numbers of the changes that the webhook has got, when it has the newest one.
fn deliveries(hook: &Receiver, dev: &Dev) -> Vec<u64> {
    for _ in 0..1_800 {
        let newest = ask(dev, "/status").body["newest"]["seq"].as_u64();
        let numbers = hook.numbers();
        if newest.is_none() || numbers.last().copied() == newest {
            return numbers;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("the webhook has only {:?}", hook.numbers());
}
