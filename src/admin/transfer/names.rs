//! By what a resource of a file is recognised in the tenant: its name, or for the root team what the export says.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::import::{Import, RowName, Stopped};
use super::rows::Row;
use crate::admin::error::AdminError;
use crate::limits::IMPORTS_AT_ONCE;
use crate::scim::resource_type::Kind;
use crate::store::claim::NameClaim;
use crate::store::index::{self, Entry, Index};
use crate::store::item::key_of;
use crate::store::keys::{self, Key};

impl Import<'_> {
    /// Finds those of the file that the tenant has already: unique names together, others side by side.
    ///
    /// # Errors
    /// [`AdminError::Table`] if a call fails.
    pub(super) async fn look_up(&self, rows: &[Row]) -> Result<(), AdminError> {
        let store = &self.provider.store;
        let failed = AdminError::table(self.table.name());
        let resources = || rows.iter().filter_map(|row| row.resource.as_ref().ok());
        let mut found: HashMap<RowName, Vec<Uuid>> = HashMap::new();
        let (mut claims, mut lookups) = (BTreeMap::new(), BTreeMap::new());
        for (kind, body) in resources() {
            match self.name(*kind, body) {
                Some((Index::Claim, entry)) => {
                    let key = keys::claim(&store.tenant, entry.attribute, &entry.value);
                    claims.insert(key, (*kind, entry.value));
                }
                Some((Index::Lookup, entry)) => {
                    lookups.insert((*kind, entry.value.clone()), entry);
                }
                None => {}
            }
        }
        let places: Vec<Key> = claims.keys().cloned().collect();
        for item in self.table.batch_get(&places).await.map_err(&failed)? {
            let holder = NameClaim::from_item(&item).filter(|claim| !claim.gone);
            let name = key_of(&item).and_then(|key| claims.get(&key));
            if let (Some(holder), Some(name)) = (holder, name) {
                found.insert(name.clone(), vec![holder.id]);
            }
        }
        let finds = lookups.into_iter().map(|((kind, value), entry)| async move {
            Ok(((kind, value), store.find(kind, Index::Lookup, &entry).await?))
        });
        let more: Vec<_> =
            stream::iter(finds).buffered(IMPORTS_AT_ONCE).try_collect().await.map_err(&failed)?;
        found.extend(more);
        *self.found() = found;
        for (kind, body) in resources() {
            let old = body.get("id").and_then(Value::as_str);
            let name = self.name(*kind, body).map(|(_, entry)| (*kind, entry.value));
            if let Ok(Some(one)) = self.find(old, name.as_ref(), body) {
                self.note_id(old, one, *kind);
            }
        }
        Ok(())
    }

    /// The rows, of which those are refused that have the name of an earlier one with another id. They are different
    /// resources in the tenant that was exported, and would be one here.
    pub(super) fn without_namesakes<'r>(&self, rows: &'r [Row]) -> Cow<'r, [Row]> {
        let mut first: HashMap<RowName, (&str, usize)> = HashMap::new();
        let mut rows_read = Cow::Borrowed(rows);
        for (at, row) in rows.iter().enumerate() {
            let (Ok((kind, body)), Some(name)) = (&row.resource, self.name_of(row)) else { continue };
            let Some(id) = body.get("id").and_then(Value::as_str) else { continue };
            let (earlier, line) = *first.entry(name).or_insert((id, row.line));
            if earlier != id {
                let (what, name) = (name_path(*kind), name_text(*kind, body).unwrap_or_default());
                rows_read.to_mut()[at].resource = Err(format!(
                    "line {line} has the {what} {name} too, under another id: rename one of them"
                ));
            }
        }
        rows_read
    }

    /// The last line of each name, of those that were not refused.
    pub(super) fn last_lines<'r>(&self, rows: impl Iterator<Item = &'r Row>) -> HashMap<RowName, usize> {
        rows.filter_map(|row| Some((self.name_of(row)?, row.line))).collect()
    }

    /// The name by which a row is recognised. `None` for the root team of the file.
    pub(super) fn name_of(&self, row: &Row) -> Option<RowName> {
        let (kind, body) = row.resource.as_ref().ok()?;
        let id = body.get("id").and_then(Value::as_str);
        if self.root_team.is_some() && self.root_team == id {
            return None;
        }
        self.name(*kind, body).map(|(_, entry)| (*kind, entry.value))
    }

    /// What a resource of the file is recognised by.
    pub(super) fn name(&self, kind: Kind, body: &Map<String, Value>) -> Option<(Index, Entry)> {
        index::entry(self.provider.ty(kind), name_path(kind), name_text(kind, body)?)
    }

    /// The resource that the tenant has for one of the file. `old` is its id in the file.
    ///
    /// # Errors
    /// [`Stopped::Refused`] if there are several, and if it is the root team though the file does not say so.
    pub(super) fn find(
        &self,
        old: Option<&str>,
        name: Option<&RowName>,
        body: &Map<String, Value>,
    ) -> Result<Option<Uuid>, Stopped> {
        let own_root = self.tenant.root_team;
        if self.root_team.is_some() && self.root_team == old && own_root.is_some() {
            return Ok(own_root);
        }
        let Some(name) = name else { return Ok(None) };
        let text = || name_text(name.0, body).unwrap_or_default();
        match self.found().get(name).map_or(&[][..], Vec::as_slice) {
            [] => Ok(None),
            // Its members would become administrators.
            [one] if own_root == Some(*one) => Err(Stopped::Refused(format!(
                "the root team of the tenant is called {}, and only the last line of an export says which group is the root team: rename this group",
                text()
            ))),
            [one] => Ok(Some(*one)),
            _ => Err(Stopped::Refused(format!("several groups are called {}", text()))),
        }
    }
}

/// The attribute by which a resource of the file is recognised.
const fn name_path(kind: Kind) -> &'static str {
    match kind {
        Kind::User => "userName",
        Kind::Group => "displayName",
    }
}

fn name_text(kind: Kind, body: &Map<String, Value>) -> Option<&str> {
    let path = name_path(kind);
    body.iter().find(|(key, _)| key.eq_ignore_ascii_case(path)).and_then(|(_, value)| value.as_str())
}
