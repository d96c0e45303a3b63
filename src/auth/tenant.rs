//! What the table knows of a tenant: the item `TENANT#t`/`TENANT`.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::plan::RatePlan;
use super::record::moment;
use crate::clock;
use crate::limits::{DEFAULT_RETENTION_DAYS, TENANT_NAME_GRACE_SECONDS, USAGE_KEY_CHARS};
use crate::scim::policy::Policy;
use crate::store::deactivations::DeactivationLimit;
use crate::store::error::StoreError;
use crate::store::event::{Subject, SubjectId};
use crate::store::expression::Expression;
use crate::store::item::{Item, get_number, get_text, must_text, number, text};
use crate::store::keys::{self, TenantId, parse_id};

/// A tenant.
#[derive(Clone, PartialEq, Eq)]
pub struct TenantRecord {
    /// Its name.
    pub id: TenantId,
    /// The rules that it runs under.
    pub policy: &'static Policy,
    /// The value of its API key in the usage plan, by which API Gateway counts its requests.
    pub usage_key: String,
    /// The usage plan in which that key was made for this tenant. `None` if it was not made for it.
    pub usage_plan: Option<UsagePlanRef>,
    /// From when on API Gateway accepts that key, in seconds since 1970. Until then the other one counts.
    pub usable_from: u64,
    /// Its rate.
    pub plan: RatePlan,
    /// Its key in the plan that it had before.
    pub other_key: Option<UsageKey>,
    /// When it was made.
    pub created: OffsetDateTime,
    /// The team whose administrators administer the tenant.
    pub root_team: Option<Uuid>,
    /// What may be set for it.
    pub settings: Settings,
    /// What tells the request of an application that made it from another one for the same name.
    pub request: Option<String>,
    /// Counts its changes.
    pub version: u64,
    /// Whether its deletion has begun. If that was interrupted, it must be run again.
    pub is_being_deleted: bool,
}

/// A usage plan, and the table whose tenants have their keys in it. A copy of that table has the same items, but must not
/// delete these keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsagePlanRef {
    /// The id of the usage plan.
    pub id: String,
    /// The name of the table.
    pub table: String,
}

/// A usage key of a tenant.
#[derive(Clone, PartialEq, Eq)]
pub struct UsageKey {
    /// Its value.
    pub value: String,
    /// The usage plan in which it was made for this tenant. `None` if it was not made for it.
    pub usage_plan: Option<UsagePlanRef>,
    /// From when on API Gateway accepts it, in seconds since 1970.
    pub usable_from: u64,
}

/// That a tenant was deleted: the item `TENANT#t`/`DELETED`. It stays until the name is given again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// When, in seconds since 1970.
    pub at: u64,
    /// Tells the tenant from another one of the same name.
    pub incarnation: String,
    /// The version of the tenant after its deletion.
    pub version: u64,
}

impl Deletion {
    /// The item's attributes besides its key.
    pub fn to_item(&self) -> Item {
        Item::from([
            number("deleted", self.at),
            text("incarnation", &self.incarnation),
            number("version", self.version),
        ])
    }

    /// Reads the item back. What cannot be read was deleted just now.
    pub fn from_item(item: &Item, now: u64) -> Self {
        let incarnation = get_text(item, "incarnation").unwrap_or_default().to_owned();
        Self {
            at: get_number(item, "deleted").unwrap_or(now),
            incarnation,
            version: get_number(item, "version").unwrap_or(0),
        }
    }

    /// How many seconds from `now` on the name still rests; 0 when it can be given again.
    pub fn grace_seconds_left(&self, now: u64) -> u64 {
        (self.at + TENANT_NAME_GRACE_SECONDS).saturating_sub(now)
    }
}

/// What may be set for a tenant. A setting that an older version did not know has its default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Settings {
    /// How many days a deactivated account is kept.
    pub retention_days: u32,
    /// Whether no bearer key changes who administers the root team, or the break-glass account.
    pub root_team_protected: bool,
    /// How many percent of the active users may be deactivated or deleted within an hour. `None` is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaker_percent: Option<u8>,
    /// Until when that limit is lifted, in seconds since 1970.
    pub breaker_lifted_until: u64,
}

impl Settings {
    /// The limit of deactivations.
    pub fn limit(&self) -> Option<DeactivationLimit> {
        let lifted_until = self.breaker_lifted_until;
        self.breaker_percent.map(|percent| DeactivationLimit { percent, lifted_until })
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retention_days: DEFAULT_RETENTION_DAYS,
            root_team_protected: false,
            breaker_percent: None,
            breaker_lifted_until: 0,
        }
    }
}

/// Whether API Gateway takes a text for an API key's value.
pub fn is_usage_key(text: &str) -> bool {
    USAGE_KEY_CHARS.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl TenantRecord {
    /// Condition: the tenant is still in the version that was read. Tenants of 0.1.0 have none.
    pub fn is_unchanged(&self) -> Expression {
        let unchanged = Expression::version_is(self.version);
        if self.version == 1 {
            unchanged.or(Expression::exists().and(Expression::lacks("ver")))
        } else {
            unchanged
        }
    }

    /// The value by which API Gateway counts a request now.
    pub fn usage_key_at(&self, now: u64) -> &str {
        match &self.other_key {
            Some(other) if now < self.usable_from => &other.value,
            _ => &self.usage_key,
        }
    }

    /// Its usage key in a plan. `None` if it never had the plan.
    pub fn key_in(&self, plan: RatePlan) -> Option<UsageKey> {
        if self.plan != plan {
            return self.other_key.clone();
        }
        Some(UsageKey {
            value: self.usage_key.clone(),
            usage_plan: self.usage_plan.clone(),
            usable_from: self.usable_from,
        })
    }

    /// The tenant whose usage key in a plan is in this usage plan now.
    #[must_use]
    pub fn with_usage_plan(&self, plan: RatePlan, usage_plan: UsagePlanRef) -> Self {
        let mut after = Self { version: self.version + 1, ..self.clone() };
        match &mut after.other_key {
            Some(other) if self.plan != plan => other.usage_plan = Some(usage_plan),
            _ => after.usage_plan = Some(usage_plan),
        }
        after
    }

    /// The tenant with another plan, whose usage key this is. Its own key waits for the way back.
    #[must_use]
    pub fn with_plan(&self, plan: RatePlan, key: UsageKey) -> Self {
        let other_key = self.key_in(self.plan);
        Self {
            plan,
            usage_key: key.value,
            usage_plan: key.usage_plan,
            usable_from: key.usable_from,
            other_key,
            version: self.version + 1,
            ..self.clone()
        }
    }

    /// Tells the tenant from an earlier or later one of the same name.
    pub fn incarnation(&self) -> String {
        keys::incarnation(&self.id, &clock::text(self.created))
    }

    /// The tenant as the subject of an event, in this version of it.
    pub fn subject(&self, version: u64) -> Subject {
        Subject { id: SubjectId::Tenant(self.id.clone()), version }
    }

    /// The item's attributes, without its key.
    ///
    /// # Errors
    /// [`StoreError::Broken`] when the settings have no JSON form.
    pub fn to_item(&self) -> Result<Item, StoreError> {
        let settings =
            serde_json::to_string(&self.settings).map_err(|e| StoreError::Broken(e.to_string()))?;
        let mut item = Item::from([
            text("tenant", self.id.as_str()),
            text("policy", self.policy.name),
            text("usageKey", &self.usage_key),
            text("created", clock::text(self.created)),
            text("settings", &settings),
            number("ver", self.version),
        ]);
        item.extend(self.root_team.map(|id| text("rootTeam", id.to_string())));
        if let Some(plan) = &self.usage_plan {
            item.extend([text("usagePlan", &plan.id), text("usagePlanTable", &plan.table)]);
        }
        if self.usable_from > 0 {
            item.extend([number("usageKeyFrom", self.usable_from)]);
        }
        if self.plan != RatePlan::default() {
            item.extend([text("plan", self.plan.name())]);
        }
        if let Some(other) = &self.other_key {
            item.extend([text("otherKey", &other.value), number("otherKeyFrom", other.usable_from)]);
            if let Some(plan) = &other.usage_plan {
                item.extend([text("otherPlan", &plan.id), text("otherPlanTable", &plan.table)]);
            }
        }
        item.extend(self.request.as_deref().map(|request| text("request", request)));
        Ok(item)
    }

    /// Reads the item back.
    ///
    /// # Errors
    /// [`StoreError::Broken`] when an attribute is missing or not of its form.
    pub fn from_item(item: &Item) -> Result<Self, StoreError> {
        let broken = |name: &str| StoreError::Broken(format!("a tenant's {name} cannot be read"));
        let usage_key = must_text(item, "usageKey")?;
        Ok(Self {
            id: must_text(item, "tenant")?.parse().map_err(|_| broken("name"))?,
            policy: Policy::named(must_text(item, "policy")?).ok_or_else(|| broken("policy"))?,
            usage_key: is_usage_key(usage_key)
                .then(|| usage_key.to_owned())
                .ok_or_else(|| broken("usage key"))?,
            usage_plan: usage_plan_of(item, "usagePlan", "usagePlanTable"),
            usable_from: get_number(item, "usageKeyFrom").unwrap_or(0),
            plan: match get_text(item, "plan") {
                Some(name) => RatePlan::named(name).ok_or_else(|| broken("plan"))?,
                None => RatePlan::default(),
            },
            other_key: get_text(item, "otherKey").map(|value| UsageKey {
                value: value.to_owned(),
                usage_plan: usage_plan_of(item, "otherPlan", "otherPlanTable"),
                usable_from: get_number(item, "otherKeyFrom").unwrap_or(0),
            }),
            created: moment(must_text(item, "created")?).ok_or_else(|| broken("creation time"))?,
            root_team: match get_text(item, "rootTeam") {
                Some(id) => Some(parse_id(id).ok_or_else(|| broken("root team"))?),
                None => None,
            },
            settings: serde_json::from_str(must_text(item, "settings")?).map_err(|_| broken("settings"))?,
            request: get_text(item, "request").map(str::to_owned),
            // Tenants of version 0.1.0 have none.
            version: get_number(item, "ver").unwrap_or(1),
            is_being_deleted: item.contains_key("deleting"),
        })
    }
}

fn usage_plan_of(item: &Item, id: &str, table: &str) -> Option<UsagePlanRef> {
    let found = get_text(item, id).zip(get_text(item, table));
    found.map(|(id, table)| UsagePlanRef { id: id.to_owned(), table: table.to_owned() })
}

/// Without the usage key, which is worth a request when it is known.
impl fmt::Debug for TenantRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantRecord")
            .field("id", &self.id)
            .field("policy", &self.policy.name)
            .field("created", &self.created)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::scim::policy::STANDARD;

    fn record() -> TenantRecord {
        TenantRecord {
            id: "acme".parse().expect("a tenant"),
            policy: &STANDARD,
            usage_key: "u".repeat(20),
            usage_plan: Some(UsagePlanRef { id: "a1b2c3".to_owned(), table: "rollcall".to_owned() }),
            usable_from: 0,
            plan: RatePlan::Default,
            other_key: None,
            created: datetime!(2026-01-02 03:04:05 UTC),
            root_team: parse_id("01890a5d-ac96-774b-bcce-b302099a8057"),
            settings: Settings::default(),
            request: Some("r".to_owned()),
            version: 2,
            is_being_deleted: false,
        }
    }

    #[test]
    fn a_record_reads_back_and_hides_its_usage_key() {
        let item = record().to_item().expect("an item");
        assert_eq!(TenantRecord::from_item(&item).expect("whole"), record());
        assert!(!format!("{:?}", record()).contains(&record().usage_key));
    }

    #[test]
    fn another_plan_counts_by_its_own_key_once_that_is_usable() {
        let key =
            |value: &str, usable_from| UsageKey { value: value.repeat(20), usage_plan: None, usable_from };
        let high = record().with_plan(RatePlan::High, key("h", 1_000));
        assert_eq!((high.usage_key_at(999), high.usage_key_at(1_000)), (&*"u".repeat(20), &*"h".repeat(20)));
        let item = high.to_item().expect("an item");
        assert_eq!(TenantRecord::from_item(&item).expect("whole"), high);
        // Back before the new key is usable: the old one counts at once.
        let back = high.with_plan(RatePlan::Default, high.other_key.clone().expect("a key"));
        assert_eq!((back.usage_key_at(0), back.usage_key_at(2_000)), (&*"u".repeat(20), &*"u".repeat(20)));
        // And forth again: the new key is as young as before.
        let again = back.with_plan(RatePlan::High, back.other_key.clone().expect("a key"));
        assert_eq!(
            (again.usage_key_at(999), again.usage_key_at(1_000)),
            (&*"u".repeat(20), &*"h".repeat(20))
        );
    }

    #[test]
    fn what_cannot_be_read_is_no_tenant() {
        for name in ["tenant", "policy", "usageKey", "created", "settings"] {
            let mut item = record().to_item().expect("an item");
            item.insert(name.to_owned(), text(name, "?").1);
            assert!(TenantRecord::from_item(&item).is_err(), "another {name}");
            item.remove(name);
            assert!(TenantRecord::from_item(&item).is_err(), "without {name}");
        }
    }

    #[test]
    fn settings_of_an_older_version_have_defaults() {
        assert_eq!(serde_json::from_str::<Settings>("{}").expect("settings"), Settings::default());
    }

    #[test]
    fn a_deleted_name_rests_whatever_the_clocks_say() {
        let deletion = Deletion { at: 1_000_000, incarnation: "i".to_owned(), version: 3 };
        assert_eq!(Deletion::from_item(&deletion.to_item(), 7), deletion);
        assert_eq!(Deletion::from_item(&Item::new(), 7).at, 7);
        for (now, rests) in
            [(1_000_000, 3_929), (1_003_928, 1), (1_003_929, 0), (2_000_000, 0), (999_000, 4_929)]
        {
            assert_eq!(deletion.grace_seconds_left(now), rests, "{now}");
        }
    }
}
