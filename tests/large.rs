//! A group of 45,000 members: answered whole, or with an error that says what to ask instead.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::collections::BTreeSet;

use rollcall::scim::resource_type::Kind;
use rollcall::store::item::number;
use rollcall::store::keys;
use serde_json::json;

use crate::support;
use crate::support::client::Client;

/// More than fits into 6 MB.
const MEMBERS: usize = 45_000;

#[tokio::test]
async fn a_group_of_45_000_members() {
    let client = Client::new(support::embedded().await, "standard").await;
    let known = client.user("known").await;
    let group = client.group("Everyone", std::slice::from_ref(&known)).await;
    support::fill(&client, &group, 1, MEMBERS).await;

    let path = format!("/Groups/{group}");
    let whole = client.send("GET", &path, None, &[("Accept-Encoding", "gzip")]).await.expect(200);
    assert_eq!(whole.headers["content-encoding"], "gzip");
    let members = whole.body["members"].as_array().expect("members");
    let ids: BTreeSet<&str> = members.iter().filter_map(|member| member["value"].as_str()).collect();
    assert_eq!((members.len(), ids.len()), (MEMBERS, MEMBERS));

    let refused = client.get(&path).await.expect(400);
    assert_eq!(refused.body["scimType"], "tooMany");
    assert!(refused.body["detail"].as_str().unwrap().contains("excludedAttributes=members"));

    let without = client.get(&format!("{path}?excludedAttributes=members")).await.expect(200);
    assert_eq!((without.line.usage.rounds, without.line.usage.read_units), (1, 1.0));
    let filter =
        format!("/Groups?filter=id eq \"{group}\" and members eq \"{known}\"&excludedAttributes=members");
    let found = client.get(&filter).await.expect(200);
    assert_eq!(found.body["totalResults"], 1);
    assert_eq!((found.line.usage.rounds, found.line.usage.read_units), (2, 3.0));

    // Together with others of its kind it would be more than any answer holds: nothing is read.
    let (tenant, id) = (client.tenant.parse().unwrap(), group.parse().unwrap());
    let key = keys::resource(&tenant, Kind::Group, id);
    let item = client.table.get(&key).await.unwrap().expect("the group");
    let mut larger = item.clone();
    larger.extend([number("memberCount", 200_001)]);
    client.table.put(&key, larger).await.unwrap();
    let refused = client.get("/Groups").await.expect(400);
    assert_eq!(refused.body["scimType"], "tooMany");
    assert!(refused.body["detail"].as_str().unwrap().contains("excludedAttributes=members"));
    assert!(refused.line.usage.read_units <= 5.0, "{:?}", refused.line.usage);
    client.get("/Groups?excludedAttributes=members").await.expect(200);
    client.table.put(&key, item).await.unwrap();

    let newcomer = client.user("newcomer").await;
    let add = json!([{ "op": "add", "path": "members", "value": [{ "value": newcomer }] }]);
    let added = client.patch(&path, add).await.expect(204);
    // The function knows the group from before it was filled beside it. So it writes, reads and writes.
    assert_eq!((added.line.usage.rounds, added.line.usage.write_units), (3, 8.0));
}
