//! The table in the folder of `rollcall dev --data-dir`, while no process serves it.

use std::net::Ipv4Addr;
use std::path::Path;

use aws_sdk_dynamodb::types::{TimeToLiveSpecification, TimeToLiveStatus};
use rollcall::store::call::Table;
use rollcall::store::item::Item;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::support;

/// A served table.
pub struct Served {
    pub table: Table,
    pub endpoint: String,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), String>>,
}

impl Served {
    /// Serves the database in the folder.
    pub async fn open(folder: &Path) -> Self {
        let file = folder.join("dynamodb.sqlite");
        let database = dynoxide::Database::new(file.to_str().expect("UTF-8")).expect("a database");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(dynoxide::server::serve_with_shutdown(listener, database, async {
            // A sender that is gone means the end as well.
            stopped.await.unwrap_or_default();
        }));
        let table = Table::new(support::client(&endpoint), support::TABLE);
        Self { table, endpoint, stop, server }
    }

    /// Makes the table in an empty folder as a restore does, with these items.
    pub async fn restore(folder: &Path, items: Vec<Item>) -> Self {
        let served = Self::open(folder).await;
        support::create_table(served.endpoint.clone(), None).await;
        served.table.batch_put(items).await.expect("a restore");
        served
    }

    /// Whether the table deletes items by their TTL.
    pub async fn has_ttl(&self) -> bool {
        let described = self.table.client().describe_time_to_live().table_name(support::TABLE).send().await;
        let described = described.expect("an answer").time_to_live_description;
        described.and_then(|found| found.time_to_live_status) == Some(TimeToLiveStatus::Enabled)
    }

    /// Whether the table has a stream.
    pub async fn has_stream(&self) -> bool {
        let described = self.table.client().describe_table().table_name(support::TABLE).send().await;
        let stream = described.expect("an answer").table.and_then(|table| table.stream_specification);
        stream.is_some_and(|stream| stream.stream_enabled)
    }

    /// Lets the table delete items by their TTL.
    pub async fn switch_ttl_on(&self) {
        let ttl = TimeToLiveSpecification::builder().enabled(true).attribute_name("ttl");
        let update = self.table.client().update_time_to_live().table_name(support::TABLE);
        let update = update.time_to_live_specification(ttl.build().expect("a specification"));
        update.send().await.expect("an answer");
    }

    /// Ends, so that a process can open the folder.
    pub async fn close(self) {
        drop((self.stop, self.table));
        let ended = tokio::time::timeout(std::time::Duration::from_secs(5), self.server).await;
        ended.expect("it ends").expect("a task").expect("a server");
    }
}
