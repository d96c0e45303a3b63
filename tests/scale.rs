//! The cost of an operation does not grow with the tenant: it takes exactly the same rounds and units at 1,000 and
//! at 20,000 users. `make test-long` compares with 100,000 users (SCALE_USERS=100000), and changes as many members
//! as a body holds. The numbers are those of the table of budgets in docs/architecture/costs.md.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use rollcall::dev::seed::{Size, group_id, user_id, user_name};
use rollcall::limits::MAX_BODY_BYTES;

use rollcall::store::meter::Usage;
use serde_json::{Value, json};

use crate::support;
use crate::support::client::{Client, user};

/// What one operation cost.
#[derive(Clone, Debug, PartialEq)]
struct Cost {
    what: &'static str,
    rounds: u32,
    read_units: f64,
    write_units: f64,
}

impl Cost {
    const fn new(what: &'static str, rounds: u32, read_units: f64, write_units: f64) -> Self {
        Self { what, rounds, read_units, write_units }
    }

    fn of(what: &'static str, usage: Usage) -> Self {
        Self::new(what, usage.rounds, usage.read_units, usage.write_units)
    }
}

/// The budgets.
const BUDGETS: &[Cost] = &[
    Cost::new("filter by userName", 2, 2.0, 0.0),
    Cost::new("filter by userName, in one group", 3, 3.0, 0.0),
    Cost::new("filter by externalId", 2, 2.0, 0.0),
    Cost::new("GET a user in no group", 1, 1.0, 0.0),
    Cost::new("GET a user in one group", 2, 2.0, 0.0),
    Cost::new("page, first", 2, 103.0, 1.0),
    Cost::new("page, second", 2, 103.0, 1.0),
    Cost::new("page, third", 2, 103.0, 1.0),
    Cost::new("page, by cursor", 2, 102.0, 0.0),
    Cost::new("totalResults alone", 1, 1.0, 0.0),
    Cost::new("POST a user", 1, 0.0, 12.0),
    Cost::new("PATCH a user", 2, 1.0, 4.0),
    Cost::new("rename a user", 3, 1.0, 12.0),
    Cost::new("add one member", 2, 3.0, 8.0),
    Cost::new("is this user in this group", 2, 3.0, 0.0),
    Cost::new("remove one member", 1, 0.0, 8.0),
    Cost::new("GET a group without members", 1, 1.0, 0.0),
    Cost::new("DELETE a user in no group", 2, 2.0, 14.0),
    Cost::new("DELETE a user in one group", 2, 2.0, 18.0),
];

/// A client of a tenant of this size.
async fn seeded(users: usize, members: usize) -> Client {
    let client = Client::new(support::embedded().await, "standard").await;
    support::seed(&client, Size { users, members }).await.expect("a seed");
    client
}

/// Every operation once, on a tenant with at least 301 users and a group of at least two.
async fn costs(client: &Client) -> Vec<Cost> {
    let mut costs = Vec::new();
    let mut note = |what, usage| costs.push(Cost::of(what, usage));
    let path = |number: usize| format!("/Users/{}", user_id(number));
    let (made, loose) = (client.user("made").await, client.user("loose").await);

    let filter = |text: String| async move {
        let found = client.get(&format!("/Users?filter={text}")).await.expect(200);
        assert_eq!(found.body["totalResults"], 1, "{text}");
        found.line.usage
    };
    note("filter by userName", filter("userName eq \"made@example.com\"".to_owned()).await);
    let member = filter(format!("userName eq \"{}\"", user_name(2))).await;
    note("filter by userName, in one group", member);
    note("filter by externalId", filter("externalId eq \"ext-made\"".to_owned()).await);
    note("GET a user in no group", client.get(&format!("/Users/{made}")).await.expect(200).line.usage);
    note("GET a user in one group", client.get(&path(2)).await.expect(200).line.usage);

    // A page with `groups` costs one more unit for each group. These pages leave `groups` out.
    for (what, start) in [("page, first", 1), ("page, second", 101), ("page, third", 201)] {
        let query = format!("/Users?startIndex={start}&count=100&excludedAttributes=groups");
        let page = client.get(&query).await.expect(200);
        assert_eq!(page.body["Resources"][99]["id"], user_id(start + 99).to_string(), "{start}");
        note(what, page.line.usage);
    }
    let first = client.get("/Users?cursor&count=100&excludedAttributes=groups").await.expect(200);
    let cursor = first.body["nextCursor"].as_str().expect("a cursor");
    let query = format!("/Users?cursor={cursor}&count=100&excludedAttributes=groups");
    note("page, by cursor", client.get(&query).await.expect(200).line.usage);
    note("totalResults alone", client.get("/Users?count=0").await.expect(200).line.usage);

    let new = client.post("/Users", user("new")).await.expect(201);
    note("POST a user", new.line.usage);
    let new = format!("/Users/{}", new.id());
    let patch = async |op: Value| client.patch(&new, json!([op])).await;
    let title = json!({ "op": "replace", "path": "title", "value": "Engineer" });
    note("PATCH a user", patch(title).await.expect(200).line.usage);
    let name = json!({ "op": "replace", "path": "userName", "value": "another@example.com" });
    note("rename a user", patch(name).await.expect(200).line.usage);

    let group = format!("/Groups/{}?excludedAttributes=members", group_id());
    let add = json!([{ "op": "add", "path": "members", "value": [{ "value": made }] }]);
    note("add one member", client.patch(&group, add).await.expect(200).line.usage);
    let asked = format!(
        "/Groups?filter=id eq \"{}\" and members eq \"{made}\"&excludedAttributes=members",
        group_id()
    );
    let found = client.get(&asked).await.expect(200);
    assert_eq!(found.body["totalResults"], 1);
    note("is this user in this group", found.line.usage);
    let remove = json!([{ "op": "remove", "path": format!("members[value eq \"{made}\"]") }]);
    note("remove one member", client.patch(&group, remove).await.expect(200).line.usage);
    note("GET a group without members", client.get(&group).await.expect(200).line.usage);
    let gone = client.delete(&format!("/Users/{loose}")).await.expect(204);
    note("DELETE a user in no group", gone.line.usage);
    note("DELETE a user in one group", client.delete(&path(1)).await.expect(204).line.usage);
    costs
}

#[tokio::test]
async fn what_an_operation_costs_does_not_grow() {
    let small = costs(&seeded(1_000, 10).await).await;
    assert_eq!(small, BUDGETS);
    let asked = std::env::var("SCALE_USERS").ok();
    let users = asked.map_or(20_000, |text| text.parse().expect("SCALE_USERS is a number"));
    let client = seeded(users, users).await;
    assert_eq!(costs(&client).await, small, "at {users} users as at 1,000");
    // These members must exist.
    if users >= 100_000 {
        as_many_members_as_a_body_holds(&client).await;
    }
}

/// A PATCH of as many members as 4 MB hold is one change. With one member more it is 413.
async fn as_many_members_as_a_body_holds(client: &Client) {
    let group = client.group("Everyone", &[]).await;
    let path = format!("/Groups/{group}");
    let body = |count: usize| {
        let members: Vec<Value> =
            (2..count + 2).map(|number| json!({ "value": user_id(number).to_string() })).collect();
        json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{ "op": "add", "path": "members", "value": members }]
        })
    };
    let one = body(2).to_string().len() - body(1).to_string().len();
    let count = (MAX_BODY_BYTES - body(0).to_string().len()) / one;
    assert!(body(count).to_string().len() <= MAX_BODY_BYTES && count > 80_000, "{count} members");

    let refused = client.send("PATCH", &path, Some(body(count + 1)), &[]).await.expect(413);
    assert_eq!(refused.line.usage.write_units, 0.0);
    let done = client.send("PATCH", &path, Some(body(count)), &[]).await.expect(204);
    // Each member is read once, when it is staged. An empty group has no memberships to read.
    let each = done.line.usage.read_units / f64::from(u32::try_from(count).unwrap());
    assert!(each <= 1.02, "{:?}", done.line.usage);
    // Applied or not yet, all of them are members at once.
    for number in [2, count / 2, count + 1] {
        let asked = format!("/Groups?filter=id eq \"{group}\" and members eq \"{}\"", user_id(number));
        let found = client.get(&format!("{asked}&excludedAttributes=members")).await.expect(200);
        assert_eq!(found.body["totalResults"], 1, "{number}");
    }
}
