//! Where a seed is written to.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use dynoxide::{Database, ImportOptions};

use crate::store::call::Table;
use crate::store::item::Item;

/// The table of a seed, and the embedded database that it is in, if that is in this process.
#[derive(Clone, Copy)]
pub struct SeedTarget<'a> {
    /// The table.
    pub table: &'a Table,
    /// Writes items below the wire, which is many times faster.
    pub loader: Option<&'a BulkLoader>,
}

/// Writes many items into a table of an embedded database, in one transaction each time.
#[derive(Clone)]
pub struct BulkLoader {
    database: Database,
    table: String,
}

impl BulkLoader {
    /// For the table of this name.
    pub fn new(database: Database, table: &str) -> Self {
        Self { database, table: table.to_owned() }
    }

    async fn put(&self, items: Vec<Item>) -> Result<(), String> {
        let Self { database, table } = self.clone();
        let written = tokio::task::spawn_blocking(move || {
            let items = items.into_iter().map(convert_item).collect::<Result<Vec<_>, _>>()?;
            let imported = database.import_items(&table, items, ImportOptions::default());
            imported.map(drop).map_err(|error| format!("the embedded table cannot be filled: {error}"))
        });
        written.await.map_err(|error| error.to_string())?
    }
}

impl<'a> SeedTarget<'a> {
    /// A table that is filled over the wire.
    pub fn over_the_wire(table: &'a Table) -> Self {
        Self { table, loader: None }
    }

    /// Writes items without conditions.
    ///
    /// # Errors
    /// One line of text. Over the wire, some of the items may be written then.
    pub(super) async fn put(&self, items: Vec<Item>) -> Result<(), String> {
        match self.loader {
            Some(loader) => loader.put(items).await,
            None => self.table.batch_put(items).await.map_err(|error| format!("cannot seed: {error}")),
        }
    }
}

fn convert_item(item: Item) -> Result<dynoxide::Item, String> {
    item.into_iter().map(|(name, value)| Ok((name, convert(value)?))).collect()
}

/// The same value as the embedded database has it.
fn convert(value: AttributeValue) -> Result<dynoxide::AttributeValue, String> {
    use dynoxide::AttributeValue as To;
    Ok(match value {
        AttributeValue::S(text) => To::S(text),
        AttributeValue::N(number) => To::N(number),
        AttributeValue::B(bytes) => To::B(bytes.into_inner()),
        AttributeValue::Bool(bool) => To::BOOL(bool),
        AttributeValue::Null(null) => To::NULL(null),
        AttributeValue::Ss(texts) => To::SS(texts),
        AttributeValue::Ns(numbers) => To::NS(numbers),
        AttributeValue::Bs(all) => To::BS(all.into_iter().map(|bytes| bytes.into_inner()).collect()),
        AttributeValue::L(values) => To::L(values.into_iter().map(convert).collect::<Result<_, _>>()?),
        AttributeValue::M(values) => {
            let values = values.into_iter().map(|(name, value)| Ok((name, convert(value)?)));
            To::M(values.collect::<Result<HashMap<_, _>, String>>()?)
        }
        other => return Err(format!("a value of this kind cannot be written: {other:?}")),
    })
}
