//! A tenant with many users and a large group, made fast: exactly what creations one by one would leave in the table
//! and in the feed, written in batches.
//!
//! - `target`: where the items are written to: the embedded table itself, or any table over the wire.
//! - `items`: the items of users and of the group.
//! - `changes`: the changes of the feed.
//! - `names`: ids, names and bodies of what is seeded.

mod changes;
mod items;
mod names;
pub mod target;

use std::sync::Arc;
use std::time::Instant;

use futures_util::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use self::changes::{CHANGES_PER_PAGE, Changes};
use self::items::Seeding;
use self::names::FIRST_MILLIS;
pub use self::names::{GROUP_NAME, group_id, user, user_id, user_name};
use self::target::SeedTarget;
use crate::clock;
use crate::limits::APPLY_TIMEOUT;
use crate::scim::policy::Policy;
use crate::scim::resource_type::{Kind, Model};
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::feed::sequencer::Sequencer;
use crate::store::feed::state::FeedState;
use crate::store::index::{self, Index};
use crate::store::item::Item;
use crate::store::keys::{self, TenantId};
use crate::store::list::IdPage;
use crate::store::record::Record;
use crate::tenants::error::TenantError;
use crate::tenants::record;

/// The users whose items are written together: those of ten pages of the feed.
const LOT: usize = 10 * CHANGES_PER_PAGE;
/// The lots that are made while one is written.
const AT_ONCE: usize = 2;
/// A tenant with at most so many users is searched for names of a seed by its users, and not name by name.
const FEW_USERS: usize = 100;

/// How much to make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Users.
    pub users: usize,
    /// Members of the one group, the first of the users; no group for 0.
    pub members: usize,
}

impl Size {
    /// Only users can be members.
    ///
    /// # Errors
    /// For more members than users, on one line.
    pub fn check(self) -> Result<Self, String> {
        match self.members <= self.users {
            true => Ok(self),
            false => Err(format!(
                "--seed-members {}: there are only {} seeded users; --seed-users must be as many",
                self.members, self.users
            )),
        }
    }
}

/// What became of a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeedOutcome {
    /// Everything was written.
    Seeded,
    /// The tenant has users of a seed already: nothing was written.
    Present,
}

/// Fills a tenant with users and a group, unless it has them already. `progress` is called with the number of
/// users that are written. Nothing else may write to the table at the same time.
///
/// # Errors
/// One line of text if the size is wrong, if the tenant has part of another seed, if a name is taken, or if a
/// call fails.
pub async fn seed(
    target: &SeedTarget<'_>,
    tenant: &TenantId,
    policy: &'static Policy,
    size: Size,
    progress: impl Fn(usize),
) -> Result<SeedOutcome, String> {
    let Size { users, members } = size.check()?;
    let store = Store {
        table: target.table.clone(),
        tenant: tenant.clone(),
        actor: "operator".to_owned(),
        request_id: Uuid::now_v7().to_string(),
    };
    let incarnation = match record::get(target.table, tenant).await {
        Ok(record) => record.incarnation(),
        Err(TenantError::NoTenant(_)) => String::new(),
        Err(TenantError::Table(error)) => return Err(failed(tenant)(error)),
        Err(_) => return Err(format!("the tenant {tenant} cannot be read")),
    };
    let model = Model::new(policy, &[]).map_err(|error| error.detail)?;
    let now = clock::timestamp();
    let seeding = Seeding { store, model, users, members, now, incarnation };
    // The list entry of the first user is written last, with the counters.
    let first = seeding.store.list_page(Kind::User, Some(group_id()), 1).await.map_err(failed(tenant))?;
    match first.ids.first().and_then(number) {
        Some(1) => return Ok(SeedOutcome::Present),
        Some(_) => {
            return Err(format!(
                "the tenant {tenant} has a part of the users of a seed, which was cut short or which has been worked with: take a new --tenant or --data-dir"
            ));
        }
        None if users == 0 => return Ok(SeedOutcome::Seeded),
        None => refuse_taken(&seeding).await?,
    }
    write(target, Arc::new(seeding), progress).await?;
    Ok(SeedOutcome::Seeded)
}

fn failed(tenant: &TenantId) -> impl Fn(StoreError) -> String {
    let tenant = tenant.clone();
    move |error| format!("cannot seed the tenant {tenant}: {error}")
}

/// Writes the users, then their changes, and at the end what makes the seed whole.
async fn write(
    target: &SeedTarget<'_>,
    seeding: Arc<Seeding>,
    progress: impl Fn(usize),
) -> Result<(), String> {
    let (tenant, users) = (seeding.store.tenant.clone(), seeding.users);
    let failed = failed(&tenant);
    // Earlier changes, such as that of the tenant itself, are in the feed before those of the seed.
    Sequencer::new(target.table).run(Instant::now() + APPLY_TIMEOUT).await.map_err(&failed)?;
    let state = FeedState::fetch(target.table).await.map_err(&failed)?;
    let (next, kept) = (state.find_end(target.table).await.map_err(&failed)?.next, state.kept);
    let lots = (1..=users).step_by(LOT).map(|from| from..=users.min(from + LOT - 1));
    let made = stream::iter(lots).map(|lot| {
        let seeding = Arc::clone(&seeding);
        let made = tokio::task::spawn_blocking(move || {
            let many = lot.clone().count();
            let first = next + *lot.start() as u64 - 1;
            let pages = Changes(&seeding, kept).of_users(first, lot.clone())?;
            Ok::<_, String>((many, seeding.items_of_users(lot)?, pages))
        });
        async { made.await.map_err(|error| error.to_string())? }
    });
    let mut pages: Vec<Item> = Vec::new();
    let mut written = 0;
    let mut made = made.buffered(AT_ONCE);
    while let Some((many, items, some)) = made.try_next().await? {
        pages.extend(some);
        target.put(items).await?;
        written += many;
        progress(written);
    }
    let end = next + users as u64;
    let (of_group, end) = Changes(&seeding, kept).of_group(end)?;
    pages.extend(of_group);
    target.put(pages).await?;
    target.table.transact(|| seeding.last(next, end)).await.map_err(&failed)
}

/// Refuses the seed if another user or a deactivated account has a name that it needs.
async fn refuse_taken(seeding: &Seeding) -> Result<(), String> {
    let (tenant, table) = (&seeding.store.tenant, &seeding.store.table);
    let failed = failed(tenant);
    let mut claims = Vec::new();
    let group = seeding.group().claim(seeding.model.of(Kind::Group)).filter(|_| seeding.members > 0);
    claims.extend(group.map(|entry| keys::claim(tenant, entry.attribute, &entry.value)));
    let few = few_users(seeding).await.map_err(&failed)?;
    let form = |name: &str| match index::entry(seeding.model.of(Kind::User), "userName", name) {
        Some((Index::Claim, entry)) => Some(entry),
        _ => None,
    };
    for number in 1..=seeding.users {
        let name = user_name(number);
        // The names of a seed are written in their compared form.
        if few.as_ref().is_some_and(|few| !few.contains(&name)) {
            continue;
        }
        claims.extend(form(&name).map(|entry| keys::claim(tenant, entry.attribute, &entry.value)));
    }
    match table.batch_get(&claims).await.map_err(&failed)?.len() {
        0 => Ok(()),
        taken => Err(format!(
            "the tenant {tenant} has {taken} of the names of a seed ({} … or {GROUP_NAME}): take a new --tenant or --data-dir",
            user_name(1)
        )),
    }
}

/// The compared forms of the user names of a tenant with few users and no deactivated account. `None` for any other.
async fn few_users(seeding: &Seeding) -> Result<Option<Vec<String>>, StoreError> {
    let Store { table, tenant, .. } = &seeding.store;
    let kept = table.query_all(&keys::tombstones(tenant), None).await?;
    let IdPage { ids, has_more } = seeding.store.list_page(Kind::User, None, FEW_USERS).await?;
    if has_more || !kept.is_empty() {
        return Ok(None);
    }
    let users = seeding.store.fetch_many(Kind::User, &ids).await?;
    let ty = seeding.model.of(Kind::User);
    Ok(Some(users.iter().filter_map(|user: &Record| user.claim(ty)).map(|entry| entry.value).collect()))
}

/// The number of a seeded user.
fn number(found: &Uuid) -> Option<usize> {
    let millis = found.get_timestamp()?.to_unix();
    let millis = millis.0 * 1_000 + u64::from(millis.1 / 1_000_000);
    let number = usize::try_from(millis.checked_sub(FIRST_MILLIS)?).ok()?;
    (number > 0 && user_id(number) == *found).then_some(number)
}
