//! A consumer of the feed with a copy of all tenants.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rollcall::admin::error::AdminError;
use rollcall::admin::tenant;
use rollcall::scim::resource_type::{DefinedKind, Kind};
use rollcall::store::Store;
use rollcall::store::call::Table;
use rollcall::store::feed::change::FeedChange;
use rollcall::store::feed::reader::{ChangeQuery, FeedReader};
use uuid::Uuid;

use super::{Dice, tenants};

/// How far a snapshot lies back here: longer than any tear and the difference of two clocks together. Pages note
/// whole seconds.
pub const DISTANCE: Duration = Duration::from_secs(8);

/// What a mirror keeps of a tenant: who there is, and who is a member of what, without foreign keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MirroredTenant {
    incarnation: String,
    users: BTreeSet<String>,
    groups: BTreeMap<String, BTreeSet<String>>,
    /// Roles and entitlements with their versions.
    defined: BTreeMap<(String, String), u64>,
}

impl MirroredTenant {
    fn apply(&mut self, change: &FeedChange) {
        let id = &change.resource_id;
        match change.event_type.as_str() {
            "user.created" | "user.reactivated" => {
                self.users.insert(id.clone());
            }
            // One that names attributes is a change of `active`. The account is not hidden.
            "user.deactivated" if !change.attributes.is_empty() => {}
            "user.deleted" | "user.purged" | "user.deactivated" => {
                self.users.remove(id);
            }
            "group.deleted" => {
                self.groups.remove(id);
            }
            "role.deleted" | "entitlement.deleted" => {
                self.defined.remove(&(change.resource_type.clone(), id.clone()));
            }
            _ if DefinedKind::named(&change.resource_type).is_some() => {
                self.defined.insert((change.resource_type.clone(), id.clone()), change.version);
            }
            _ if change.resource_type == "Group" => {
                let members = self.groups.entry(id.clone()).or_default();
                members.extend(change.added.iter().cloned());
                for member in &change.removed {
                    members.remove(member);
                }
            }
            _ => {}
        }
    }

    /// What the product sees: memberships of those who exist.
    fn visible(&self) -> Self {
        let exists = |id: &String| self.users.contains(id) || self.groups.contains_key(id);
        let groups = self.groups.iter().map(|(id, members)| {
            (id.clone(), members.iter().filter(|member| exists(member)).cloned().collect())
        });
        Self { groups: groups.collect(), ..self.clone() }
    }

    /// Reads a tenant by plain reads: the list of its users, and then its groups, one after another. `None` if
    /// there is no such tenant, or if it was deleted meanwhile.
    async fn read(table: &Table, name: &str) -> Option<Self> {
        let before = incarnation(table, name).await?;
        let store = store_of(table, name);
        let users = store.list_page(Kind::User, None, 1_000).await.expect("the users").ids;
        let groups = store.list_page(Kind::Group, None, 1_000).await.expect("the groups").ids;
        let users = users.iter().map(Uuid::to_string).collect();
        let mut found = Self { incarnation: before, users, ..Self::default() };
        for kind in DefinedKind::ALL {
            let defined = store.definitions().list(kind).await.expect("roles and entitlements");
            let defined = defined.into_iter();
            found.defined.extend(defined.map(|one| ((kind.name().to_owned(), one.id), one.version)));
        }
        for id in groups {
            // A group that changes all the time is read again.
            let group = loop {
                if let Ok(group) = store.members().fetch_group(id).await {
                    break group;
                }
            };
            let members =
                group.map(|group| group.members.iter().map(|member| member.id.to_string()).collect());
            found.groups.extend(members.map(|members| (id.to_string(), members)));
        }
        let after = incarnation(table, name).await;
        after.is_some_and(|after| after == found.incarnation).then_some(found)
    }
}

/// A tenant's store.
pub fn store_of(table: &Table, name: &str) -> Store {
    Store {
        table: table.fresh(),
        tenant: name.parse().unwrap(),
        actor: "mirror".to_owned(),
        request_id: "mirror".to_owned(),
    }
}

/// Which tenant of this name there is.
async fn incarnation(table: &Table, name: &str) -> Option<String> {
    match tenant::get(&table.fresh(), &name.parse().unwrap()).await {
        Ok(record) => Some(record.incarnation()),
        Err(AdminError::NoTenant(_)) => None,
        Err(error) => unreachable!("{error}"),
    }
}

/// A consumer of the feed with a copy of all tenants.
pub struct Mirror {
    table: Table,
    tenants: BTreeMap<String, MirroredTenant>,
    /// The last change that it applied.
    pub seq: u64,
    /// Where it began.
    pub start: u64,
}

impl Mirror {
    /// A mirror that knows nothing and begins after this change.
    pub fn empty(table: &Table, seq: u64) -> Self {
        Self { table: table.fresh(), tenants: BTreeMap::new(), seq, start: seq }
    }

    /// Takes a snapshot while others write.
    pub async fn start(table: &Table, dice: &mut Dice) -> Self {
        let reader = FeedReader::open(table).await.expect("a feed");
        let position = reader.snapshot(DISTANCE).await.expect("a position");
        let mut mirror = Self::empty(table, position.seq);
        for name in dice.shuffle_tenants() {
            let read = MirroredTenant::read(table, name).await;
            mirror.tenants.extend(read.map(|tenant| (name.to_owned(), tenant)));
        }
        mirror
    }

    /// Takes the state of all tenants, with nothing beside it.
    pub async fn of_tables(table: &Table) -> Self {
        let mut mirror = Self::empty(table, 0);
        for name in tenants().iter().copied() {
            let read = MirroredTenant::read(table, name).await.expect("a tenant");
            mirror.tenants.insert(name.to_owned(), read);
        }
        mirror
    }

    /// Applies a change. One that was applied before is ignored.
    pub fn apply(&mut self, change: &FeedChange) {
        if change.seq <= self.seq {
            return;
        }
        assert_eq!(change.seq, self.seq + 1, "a change is missing");
        self.seq = change.seq;
        // Nothing says that `tenant.created` comes first: there is no order between resources. If there is another
        // incarnation of the tenant already, a snapshot has it, and it came later.
        let tenant = self.tenants.entry(change.tenant.clone()).or_insert_with(|| MirroredTenant {
            incarnation: change.incarnation.clone(),
            ..MirroredTenant::default()
        });
        if tenant.incarnation != change.incarnation {
            return;
        }
        if change.event_type == "tenant.deleted" {
            self.tenants.remove(&change.tenant);
        } else {
            tenant.apply(change);
        }
    }

    /// Applies what is new. Returns whether there is more.
    pub async fn follow(&mut self, limit: usize) -> bool {
        let reader = FeedReader::open(&self.table).await.expect("a feed");
        let query = ChangeQuery { limit, tenant: None };
        let list = reader.read(&reader.at(self.seq), query).await.expect("the table").expect("a position");
        list.changes.iter().for_each(|change| self.apply(change));
        list.more
    }

    /// What the product would see differently in another mirror, a line for each user, group, member, role and
    /// entitlement.
    pub fn differences(&self, expected: &Self) -> Vec<String> {
        let (found, expected) = (self.lines(), expected.lines());
        let only = |lines: &BTreeSet<String>, others: &BTreeSet<String>, word: &str| -> Vec<String> {
            lines.difference(others).map(|line| format!("{word} {line}")).collect()
        };
        [only(&found, &expected, "too much:"), only(&expected, &found, "missing:")].concat()
    }

    /// What the product sees of all tenants, a line for each thing that there is.
    fn lines(&self) -> BTreeSet<String> {
        let mut lines = BTreeSet::new();
        let tenants = self.tenants.iter().filter(|(name, _)| tenants().contains(&name.as_str()));
        for (name, tenant) in tenants {
            let tenant = tenant.visible();
            let mut line = |text: String| lines.insert(format!("{name} {text}"));
            line(format!("incarnation {}", tenant.incarnation));
            for user in &tenant.users {
                line(format!("user {user}"));
            }
            for (group, members) in &tenant.groups {
                line(format!("group {group}"));
                for member in members {
                    line(format!("member {member} of {group}"));
                }
            }
            for ((kind, id), version) in &tenant.defined {
                line(format!("{kind} {id}, version {version}"));
            }
        }
        lines
    }
}
