//! Names or ids: an argument that says which user, group, key, client, role, entitlement or webhook is meant takes
//! either.

use uuid::Uuid;

use crate::admin::actor::ACTOR;
use crate::admin::error::AdminError;
use crate::admin::{key, tenant, user};
use crate::auth::application::ApplicationRecord;
use crate::auth::client::ClientRecord;
use crate::auth::record::{KeyRecord, Status};
use crate::auth::tenant::TenantRecord;
use crate::clock;
use crate::scim::resource_type::{Kind, Model};
use crate::store::Store;
use crate::store::call::Table;
use crate::store::definition::Definition;
use crate::store::index;
use crate::store::keys::{self, Key, TenantId, parse_id};
use crate::store::webhook::Webhook;
use crate::tenants::{application, client};

/// What an argument means that is no id: a resource of a tenant by its name.
pub(in crate::admin) struct Resolver<'t> {
    table: &'t Table,
    tenant: TenantRecord,
    model: Model,
}

/// The id in a text, in capital letters too.
pub(super) fn read_id(text: &str) -> Option<Uuid> {
    parse_id(&text.to_ascii_lowercase())
}

/// How the id of a bearer key begins.
const KEY_PREFIX: &str = "key_";
/// How the id of a client begins.
const CLIENT_PREFIX: &str = "client_";
/// How the id of an application key begins.
const APPLICATION_PREFIX: &str = "app_";
/// How the ids of bearer keys, clients, application keys and webhooks begin.
pub(super) const ID_PREFIXES: [&str; 4] = [KEY_PREFIX, CLIENT_PREFIX, APPLICATION_PREFIX, "wh_"];

/// Whether a text has the form of an id that begins with `prefix`: `key_4fK2mQ9sXb1Z`. It may still be a name.
pub(super) fn has_form_of_id(prefix: &str, text: &str) -> bool {
    let rest = text.strip_prefix(prefix).unwrap_or_default();
    rest.len() >= 12 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Whether a key or client stands in its list. It is looked up alone before all are read, so that nothing about another
/// one hinders a revocation.
async fn is_listed(table: &Table, place: &Key) -> Result<bool, AdminError> {
    Ok(table.get(place).await.map_err(AdminError::table(table.name()))?.is_some())
}

/// A key or client that a text may mean.
#[derive(Clone, Debug)]
pub(super) struct NamedCredential {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) is_active: bool,
}

/// The bearer keys of a tenant.
pub(super) async fn bearer_keys(
    table: &Table,
    tenant: &TenantId,
) -> Result<Vec<NamedCredential>, AdminError> {
    let listed = key::list(table, tenant).await?.into_iter().map(|listed| listed.record);
    let now = clock::now();
    let named = |record: KeyRecord| NamedCredential {
        is_active: record.status == Status::Active && !record.is_expired(now),
        id: record.key_id,
        name: record.name,
    };
    Ok(listed.map(named).collect())
}

/// The clients of a tenant.
pub(super) async fn clients(table: &Table, tenant: &TenantId) -> Result<Vec<NamedCredential>, AdminError> {
    let listed = client::list(table, tenant).await.map_err(AdminError::of(table))?;
    let now = clock::now();
    let named = |record: ClientRecord| NamedCredential {
        is_active: record.status == Status::Active && !record.is_expired(now),
        id: record.id,
        name: record.name,
    };
    Ok(listed.into_iter().map(|listed| named(listed.record)).collect())
}

/// The application keys.
pub(super) async fn applications(table: &Table) -> Result<Vec<NamedCredential>, AdminError> {
    let listed = application::list(table).await.map_err(AdminError::of(table))?;
    let now = clock::now();
    let named = |record: ApplicationRecord| NamedCredential {
        is_active: record.status == Status::Active && !record.is_expired(now),
        id: record.id,
        name: record.name,
    };
    Ok(listed.into_iter().map(|listed| named(listed.record)).collect())
}

impl<'t> Resolver<'t> {
    /// For the resources of a tenant.
    ///
    /// # Errors
    /// [`AdminError::NoTenant`]; [`AdminError::Table`] if a call fails.
    pub async fn of(table: &'t Table, tenant: &TenantId) -> Result<Self, AdminError> {
        let tenant = tenant::get(table, tenant).await?;
        let model = tenant::model(tenant.policy)?;
        Ok(Self { table, tenant, model })
    }

    async fn find(&self, kind: Kind, path: &str, name: &str) -> Result<Vec<Uuid>, AdminError> {
        let store = Store {
            table: self.table.clone(),
            tenant: self.tenant.id.clone(),
            actor: ACTOR.to_owned(),
            request_id: String::new(),
        };
        let Some((index, entry)) = index::entry(self.model.of(kind), path, name) else {
            return Ok(Vec::new());
        };
        store.find(kind, index, &entry).await.map_err(AdminError::table(self.table.name()))
    }

    /// The user with this id or `userName`.
    ///
    /// # Errors
    /// [`AdminError::Input`] if no user has this name.
    pub async fn user(&self, text: &str) -> Result<Uuid, AdminError> {
        if let Some(id) = read_id(text) {
            return Ok(id);
        }
        let id = &self.tenant.id;
        self.find(Kind::User, "userName", text).await?.first().copied().ok_or_else(|| {
            AdminError::Input(format!(
                "tenant {id} has no user {text}: give an id or a userName, as `rollcall user list {id}` shows them"
            ))
        })
    }

    /// The group with this id or `displayName`.
    ///
    /// # Errors
    /// [`AdminError::Input`] if no group, or more than one, has this name.
    pub async fn group(&self, text: &str) -> Result<Uuid, AdminError> {
        if let Some(id) = read_id(text) {
            return Ok(id);
        }
        let id = &self.tenant.id;
        match self.find(Kind::Group, "displayName", text).await?.as_slice() {
            [one] => Ok(*one),
            [] => Err(AdminError::Input(format!(
                "tenant {id} has no group {text}: give an id or a displayName, as `rollcall group list {id}` shows them"
            ))),
            several => Err(AdminError::Input(several_have("groups", text, several))),
        }
    }

    /// The deactivated account with this id or `userName`.
    ///
    /// # Errors
    /// [`AdminError::Input`] if no account, or more than one, has this name.
    pub async fn deactivated(&self, text: &str) -> Result<Uuid, AdminError> {
        if let Some(id) = read_id(text) {
            return Ok(id);
        }
        let id = &self.tenant.id;
        let ty = self.model.of(Kind::User);
        let form = |name: &str| index::entry(ty, "userName", name).map(|(_, entry)| entry.value);
        let wanted = form(text);
        let kept = user::list_deactivated(self.table, id).await?;
        let has_name = |record: &crate::store::record::Record| {
            record.doc.get("userName").and_then(|name| name.as_str()).and_then(form) == wanted
        };
        let found: Vec<Uuid> =
            kept.iter().filter(|(record, _)| has_name(record)).map(|(record, _)| record.id).collect();
        match found.as_slice() {
            [one] => Ok(*one),
            [] => Err(AdminError::Input(format!(
                "tenant {id} keeps no deactivated account {text}: see `rollcall user list-deactivated {id}`"
            ))),
            several => Err(AdminError::Input(several_have("deactivated accounts", text, several))),
        }
    }

    /// The user with this `userName`, or the group with this `displayName`.
    ///
    /// # Errors
    /// [`AdminError::Input`] if several groups have this name.
    pub(super) async fn user_or_group(&self, text: &str) -> Result<Option<Uuid>, AdminError> {
        if let Some(user) = self.find(Kind::User, "userName", text).await?.first() {
            return Ok(Some(*user));
        }
        match self.find(Kind::Group, "displayName", text).await?.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(*one)),
            several => Err(AdminError::Input(several_have("groups", text, several))),
        }
    }
}

/// The id of the bearer key of a tenant with this id or name.
///
/// # Errors
/// [`AdminError::NoKey`]; [`AdminError::Input`] if several keys have this name.
pub(in crate::admin) async fn key_id(
    table: &Table,
    tenant: &TenantId,
    text: &str,
) -> Result<String, AdminError> {
    if has_form_of_id(KEY_PREFIX, text) && is_listed(table, &keys::bearer_listing(tenant, text)).await? {
        return Ok(text.to_owned());
    }
    let chosen = choose("keys", &bearer_keys(table, tenant).await?, text)?;
    chosen.ok_or_else(|| AdminError::NoKey(tenant.clone(), text.to_owned()))
}

/// The id of the application key with this id or name.
///
/// # Errors
/// [`AdminError::NoApplication`]; [`AdminError::Input`] if several keys have this name.
pub(in crate::admin) async fn application_id(table: &Table, text: &str) -> Result<String, AdminError> {
    if has_form_of_id(APPLICATION_PREFIX, text) && is_listed(table, &keys::application_listing(text)).await? {
        return Ok(text.to_owned());
    }
    let chosen = choose("keys", &applications(table).await?, text)?;
    chosen.ok_or_else(|| AdminError::NoApplication(text.to_owned()))
}

/// The id of the client of a tenant with this id or name.
///
/// # Errors
/// [`AdminError::NoClient`]; [`AdminError::Input`] if several clients have this name.
pub(super) async fn client_id(table: &Table, tenant: &TenantId, text: &str) -> Result<String, AdminError> {
    let place = keys::oauth::client_listing(tenant, text);
    if has_form_of_id(CLIENT_PREFIX, text) && is_listed(table, &place).await? {
        return Ok(text.to_owned());
    }
    let chosen = choose("clients", &clients(table, tenant).await?, text)?;
    chosen.ok_or_else(|| AdminError::NoClient(tenant.clone(), text.to_owned()))
}

/// The id of the role or entitlement with this id or name, among those of a tenant. A text that is neither stays as it is.
///
/// # Errors
/// [`AdminError::Input`] if several have this name.
pub(in crate::admin) fn definition_id(all: &[Definition], text: &str) -> Result<String, AdminError> {
    let named: Vec<&Definition> = all.iter().filter(|definition| definition.text.name == text).collect();
    match named.as_slice() {
        _ if all.iter().any(|definition| definition.id == text) => Ok(text.to_owned()),
        [] => Ok(text.to_owned()),
        [one] => Ok(one.id.clone()),
        [first, ..] => {
            let what = format!("{}s", first.kind.name().to_lowercase());
            Err(AdminError::Input(several_have(&what, text, named.iter().map(|definition| &definition.id))))
        }
    }
}

/// The id of the key or client that a text means. One with this id goes first. Then comes the one in force of this name,
/// and then the only one of this name. `None` if there is none.
pub(super) fn choose(what: &str, all: &[NamedCredential], text: &str) -> Result<Option<String>, AdminError> {
    if all.iter().any(|one| one.id == text) {
        return Ok(Some(text.to_owned()));
    }
    let named: Vec<&NamedCredential> = all.iter().filter(|one| one.name == text).collect();
    let active: Vec<&NamedCredential> = named.iter().copied().filter(|one| one.is_active).collect();
    match (active.as_slice(), named.as_slice()) {
        ([one], _) | ([], [one]) => Ok(Some(one.id.clone())),
        ([], []) => Ok(None),
        ([], several) | (several, _) => {
            Err(AdminError::Input(several_have(what, text, several.iter().map(|one| &one.id))))
        }
    }
}

/// The id of the webhook with this id or URL.
///
/// # Errors
/// [`AdminError::Input`] if several webhooks have this URL.
pub(super) async fn webhook_id(table: &Table, text: &str) -> Result<String, AdminError> {
    if !text.contains("://") {
        return Ok(text.to_owned());
    }
    let webhooks = Webhook::list(table).await.map_err(AdminError::table(table.name()))?;
    let ids: Vec<String> =
        webhooks.into_iter().filter(|webhook| webhook.url == text).map(|webhook| webhook.id).collect();
    match ids.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(AdminError::Input(format!(
            "there is no webhook with the URL {text}: see `rollcall webhook list`"
        ))),
        several => Err(AdminError::Input(several_have("webhooks", text, several))),
    }
}

fn several_have(what: &str, name: &str, ids: impl IntoIterator<Item = impl ToString>) -> String {
    let ids: Vec<String> = ids.into_iter().map(|id| id.to_string()).collect();
    format!("{} {what} are called {name}: give one of their ids: {}", ids.len(), ids.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_told_from_a_name() {
        for (prefix, text, is_id) in [
            ("key_", "key_4fK2mQ9sXb1Z", true),
            ("app_", "app_4fK2mQ9sXb1Z", true),
            ("wh_", "wh_019ac3d0a0b07f0f8a3d6b3b5c1d2e3f", true),
            ("key_", "app_4fK2mQ9sXb1Z", false),
            ("key_", "okta_productionkey", false),
            ("key_", "key_", false),
            ("key_", "key_for_production", false),
            ("key_", "4fK2mQ9sXb1Z", false),
        ] {
            assert_eq!(has_form_of_id(prefix, text), is_id, "{text}");
        }
    }

    #[test]
    fn the_key_in_force_is_meant() {
        let key = |id: &str, is_active: bool| NamedCredential {
            id: id.to_owned(),
            name: "x".to_owned(),
            is_active,
        };
        let chosen = |keys: &[NamedCredential]| choose("keys", keys, "x").map_err(|error| error.to_string());
        assert_eq!(chosen(&[key("a", false), key("b", true)]), Ok(Some("b".to_owned())));
        assert_eq!(chosen(&[key("a", false)]), Ok(Some("a".to_owned())));
        assert_eq!(chosen(&[key("a", true), key("x", false)]), Ok(Some("x".to_owned())), "an id goes first");
        assert_eq!(chosen(&[]), Ok(None));
        for several in [[key("a", true), key("b", true)], [key("a", false), key("b", false)]] {
            assert!(chosen(&several).is_err_and(|error| error.contains("a, b")));
        }
    }
}
