//! The operations, each on a tenant of some size.

use std::time::Instant;

use rollcall::dev::seed::{group_id, user_id, user_name};
use rollcall::store::meter::Usage;
use serde_json::{Value, json};

use crate::client::{Client, Reply, user};

/// What an operation is measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// The users of the tenant.
    Users,
    /// The members of the group.
    Members,
}

/// An operation. In the order of a round: later ones use what earlier ones made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Post,
    Get,
    FilterByName,
    FilterByExternalId,
    Patch,
    Count,
    FirstPage,
    NextPage,
    NextByCursor,
    GetGroup,
    AddMember,
    IsMember,
    RemoveMember,
    DeleteMember,
    Delete,
    Jump,
    Walk,
    WholeGroup,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Post,
        Self::Get,
        Self::FilterByName,
        Self::FilterByExternalId,
        Self::Patch,
        Self::Count,
        Self::FirstPage,
        Self::NextPage,
        Self::NextByCursor,
        Self::GetGroup,
        Self::AddMember,
        Self::IsMember,
        Self::RemoveMember,
        Self::DeleteMember,
        Self::Delete,
        Self::Jump,
        Self::Walk,
        Self::WholeGroup,
    ];

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Post => "POST a user",
            Self::Get => "GET a user",
            Self::FilterByName => "filter by userName",
            Self::FilterByExternalId => "filter by externalId",
            Self::Patch => "PATCH a user",
            Self::Count => "totalResults alone",
            Self::FirstPage => "first page of 100",
            Self::NextPage => "next page, by startIndex",
            Self::NextByCursor => "next page, by cursor",
            Self::GetGroup => "GET a group without members",
            Self::AddMember => "add one member",
            Self::IsMember => "is this user in this group",
            Self::RemoveMember => "remove one member",
            Self::DeleteMember => "DELETE a user in the group",
            Self::Delete => "DELETE a user",
            Self::Jump => "jump to the last page",
            Self::Walk => "filter that nothing looks up",
            Self::WholeGroup => "GET a group with its members",
        }
    }

    /// What it could grow with.
    pub const fn axis(self) -> Axis {
        match self {
            Self::GetGroup
            | Self::AddMember
            | Self::IsMember
            | Self::RemoveMember
            | Self::DeleteMember
            | Self::WholeGroup => Axis::Members,
            _ => Axis::Users,
        }
    }

    /// Whether it must grow, since it reads what there is.
    pub const fn grows(self) -> bool {
        matches!(self, Self::Jump | Self::Walk | Self::WholeGroup)
    }
}

/// A tenant.
pub struct Site {
    pub client: Client,
    pub users: usize,
    pub members: usize,
    round: usize,
    made: String,
    cursor: String,
}

/// What one request took.
pub struct Sample {
    pub seconds: f64,
    pub usage: Usage,
    /// It was answered `tooMany`: there is more than its time is enough for.
    pub refused: bool,
}

/// The path of the page of 100 users that begins at `start`.
fn page(start: usize) -> String {
    format!("/Users?startIndex={start}&count=100&excludedAttributes=groups")
}

fn add_member(id: &str) -> Value {
    json!([{ "op": "add", "path": "members", "value": [{ "value": id }] }])
}

fn remove_member(id: &str) -> Value {
    json!([{ "op": "remove", "path": format!("members[value eq \"{id}\"]") }])
}

impl Site {
    /// A tenant that is seeded.
    pub fn new(client: Client, users: usize, members: usize) -> Self {
        Self { client, users, members, round: 0, made: String::new(), cursor: String::new() }
    }

    /// How large it is along an axis.
    pub fn size(&self, axis: Axis) -> usize {
        match axis {
            Axis::Users => self.users,
            Axis::Members => self.members,
        }
    }

    /// Runs an operation once. What has to be prepared for it is not measured.
    pub async fn run(&mut self, operation: Operation) -> Sample {
        let group = format!("/Groups/{}?excludedAttributes=members", group_id());
        let made = format!("/Users/{}", self.made);
        match operation {
            Operation::Post => self.create_user().await,
            Operation::Get => self.get(&made).await.0,
            Operation::FilterByName => {
                self.get(&format!("/Users?filter=userName eq \"new-{}@example.com\"", self.round)).await.0
            }
            Operation::FilterByExternalId => {
                self.get(&format!("/Users?filter=externalId eq \"ext-new-{}\"", self.round)).await.0
            }
            Operation::Patch => {
                let title = json!([{ "op": "replace", "path": "title", "value": "Engineer" }]);
                self.patch(&made, title).await
            }
            Operation::Count => self.get("/Users?count=0").await.0,
            Operation::FirstPage => self.get(&page(1)).await.0,
            Operation::NextPage => self.read_page_after_page().await,
            Operation::NextByCursor => self.read_page_by_cursor().await,
            Operation::GetGroup => self.get(&group).await.0,
            Operation::AddMember => {
                // The function changed the group before, as usual. It has forgotten it with the last deletion.
                self.patch(&group, add_member(&self.made)).await;
                self.patch(&group, remove_member(&self.made)).await;
                self.patch(&group, add_member(&self.made)).await
            }
            Operation::IsMember => {
                let filter = format!("id eq \"{}\" and members eq \"{}\"", group_id(), self.made);
                self.get(&format!("/Groups?filter={filter}&excludedAttributes=members")).await.0
            }
            Operation::RemoveMember => self.patch(&group, remove_member(&self.made)).await,
            Operation::DeleteMember => self.delete_member(&group).await,
            Operation::Delete => self.send("DELETE", &made, None, 204).await.0,
            // A read of the last page writes no checkpoint, so each read has to search.
            Operation::Jump => self.get(&page(self.users - 99)).await.0,
            Operation::Walk => self.find_user_by_scan().await,
            Operation::WholeGroup => {
                let (sample, reply) = self.get(&format!("/Groups/{}", group_id())).await;
                let members = reply.body["members"].as_array().map(Vec::len);
                assert_eq!(members, Some(self.members));
                sample
            }
        }
    }

    async fn create_user(&mut self) -> Sample {
        self.round += 1;
        let body = user(&format!("new-{}", self.round));
        let (sample, reply) = self.send("POST", "/Users", Some(body), 201).await;
        self.made = reply.id();
        sample
    }

    /// Reads a page in the middle, and measures the next one.
    async fn read_page_after_page(&self) -> Sample {
        let middle = self.users / 2 + 1;
        self.get(&page(middle)).await;
        self.get(&page(middle + 100)).await.0
    }

    async fn read_page_by_cursor(&mut self) -> Sample {
        if self.cursor.is_empty() {
            let (_, first) = self.get("/Users?cursor&count=100&excludedAttributes=groups").await;
            self.cursor = first.body["nextCursor"].as_str().expect("a cursor").to_owned();
        }
        self.get(&format!("/Users?cursor={}&count=100&excludedAttributes=groups", self.cursor)).await.0
    }

    /// Creates a user, adds it to the group, and measures its deletion.
    async fn delete_member(&self, group: &str) -> Sample {
        let reply = self.client.post("/Users", user(&format!("member-{}", self.round))).await;
        let member = reply.expect(201).id();
        self.patch(group, add_member(&member)).await;
        self.send("DELETE", &format!("/Users/{member}"), None, 204).await.0
    }

    /// Finds the user in the middle by a filter that no index serves.
    async fn find_user_by_scan(&self) -> Sample {
        let name = user_name(self.users / 2);
        let (sample, reply) =
            self.get(&format!("/Users?filter=userName co \"{name}\"&attributes=userName")).await;
        if !sample.refused {
            assert_eq!(reply.body["totalResults"], 1);
            assert_eq!(reply.body["Resources"][0]["id"], user_id(self.users / 2).to_string());
        }
        sample
    }

    async fn get(&self, path: &str) -> (Sample, Reply) {
        self.send("GET", path, None, 200).await
    }

    async fn patch(&self, path: &str, operations: Value) -> Sample {
        let schemas = ["urn:ietf:params:scim:api:messages:2.0:PatchOp"];
        let body = json!({ "schemas": schemas, "Operations": operations });
        self.send("PATCH", path, Some(body), 200).await.0
    }

    async fn send(&self, method: &str, path: &str, body: Option<Value>, status: u16) -> (Sample, Reply) {
        let began = Instant::now();
        let reply = self.client.send(method, path, body, &[("Accept-Encoding", "gzip")]).await;
        let seconds = began.elapsed().as_secs_f64();
        let refused = reply.body["scimType"] == "tooMany";
        let reply = reply.expect(if refused { 400 } else { status });
        (Sample { seconds, usage: reply.line.usage, refused }, reply)
    }
}
