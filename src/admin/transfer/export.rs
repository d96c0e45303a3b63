//! Exports a tenant, one resource in a line. Users come first, so that an import knows every member.

use std::io::Write;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::admin::actor::ACTOR;
use crate::admin::error::AdminError;
use crate::admin::tenant;
use crate::limits::RESOURCES_PER_READ;
use crate::scim::resource_type::{Kind, Model};
use crate::scim::urn;
use crate::store::Store;
use crate::store::call::Table;
use crate::store::keys::TenantId;
use crate::store::list::IdPage;
use crate::store::record::Record;

/// Writes every user and group of a tenant as a SCIM resource in one line of JSON, with its id, and
/// tells `progress` after every page how many there were. Returns how many. Each resource is whole
/// and of one moment; the tenant as a whole is as of the time that it takes.
///
/// # Errors
/// [`AdminError::NoTenant`]; [`AdminError::Input`] when `to` cannot be written; [`AdminError::Table`] if a call fails.
pub async fn export(
    table: &Table,
    id: &TenantId,
    to: &mut (dyn Write + Send),
    progress: &(dyn Fn(u64) + Sync),
) -> Result<u64, AdminError> {
    let failed = AdminError::table(table.name());
    let model = tenant::model(tenant::get(table, id).await?.policy)?;
    let store = Store {
        table: table.clone(),
        tenant: id.clone(),
        actor: ACTOR.to_owned(),
        request_id: Uuid::now_v7().to_string(),
    };
    let mut count = 0;
    for kind in Kind::ALL {
        let mut after = None;
        loop {
            let IdPage { ids, has_more } =
                store.list_page(kind, after, RESOURCES_PER_READ).await.map_err(&failed)?;
            for mut record in store.fetch_many(kind, &ids).await.map_err(&failed)? {
                let mut members = Vec::new();
                if kind == Kind::Group {
                    // Deleted since the page was read.
                    let Some(found) = store.members().fetch_group(record.id).await.map_err(&failed)? else {
                        continue;
                    };
                    record = found.record;
                    members = found.members.iter().map(|member| member.member().element().into()).collect();
                }
                let line = Value::Object(resource(&record, members, &model));
                writeln!(to, "{line}")
                    .map_err(|error| AdminError::Input(format!("the export cannot be written: {error}")))?;
                count += 1;
            }
            progress(count);
            match ids.last() {
                Some(last) if has_more => after = Some(*last),
                _ => break,
            }
        }
    }
    Ok(count)
}

/// A resource as it can be created again, with its id and what the operator decided about it.
fn resource(record: &Record, members: Vec<Value>, model: &Model) -> Map<String, Value> {
    let ty = model.of(record.kind);
    let mut schemas = vec![json!(ty.schema.id)];
    let extensions = ty.extensions.iter().filter(|extension| record.doc.contains_key(&extension.id));
    schemas.extend(extensions.map(|extension| json!(extension.id)));
    let (own, value) = match record.kind {
        Kind::User => (urn::ROLLCALL_USER, json!({ "account": record.account.as_str() })),
        Kind::Group => {
            let role = |role: &crate::store::record::Role| json!({ "team": role.team.to_string(), "role": role.role });
            let roles: Vec<Value> = record.assignments().iter().map(role).collect();
            (urn::ROLLCALL_GROUP, json!({ "assignments": roles }))
        }
    };
    schemas.push(json!(own));
    let mut line = Map::new();
    line.insert("schemas".to_owned(), schemas.into());
    line.insert("id".to_owned(), json!(record.id.to_string()));
    line.extend(record.doc.clone());
    if !members.is_empty() {
        line.insert("members".to_owned(), members.into());
    }
    line.insert(own.to_owned(), value);
    line
}
