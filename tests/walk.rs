//! Queries that read more than their time is enough for: an answer that says so, never a part of one.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::time::Duration;

use rollcall::dev::seed::{Size, user_name};
use rollcall::limits::MAX_SCAN_TIME;
use rollcall::provider::Provider;
use rollcall::provider::reading::query::Query;
use rollcall::scim::error::ErrorKind;
use rollcall::scim::policy::STANDARD;
use rollcall::scim::projection::Projection;
use rollcall::scim::resource_type::{Kind, Model};

use crate::support;
use crate::support::client::Client;

const USERS: usize = 2_000;

/// What a query finds in time, or why it finds nothing.
async fn find(client: &Client, query: &Query, max_scan_time: Duration) -> Result<u64, ErrorKind> {
    let model = Model::new(&STANDARD, &[]).expect("a model");
    let provider = Provider {
        store: client.store(),
        model: &model,
        base_url: "https://scim.example.com/scim/v2".to_owned(),
        bound_user: None,
        retention_days: 30,
        max_scan_time,
        breaker: None,
        root_team_protected: false,
        converts_local_accounts: true,
        cursor_keys: rollcall::store::cursor::CursorKeys::default(),
        recent_checkpoints: rollcall::store::list::RecentCheckpoints::default(),
        known_groups: rollcall::store::known_groups::KnownGroups::default(),
        work: rollcall::scim::work::WorkBudget::of_query(),
    };
    let list = provider.reading().query(&[Kind::User], query, &Projection::default()).await;
    list.map(|list| list.total).map_err(|failure| failure.error.kind)
}

#[tokio::test]
async fn a_walk_that_takes_too_long_is_too_many() {
    let client = Client::new(support::embedded().await, "standard").await;
    support::seed(&client, Size { users: USERS, members: 0 }).await.expect("a seed");
    let filter = |text: &str| Query { filter: Some(text.to_owned()), count: Some(1), ..Query::default() };
    let one = filter(&format!("userName eq \"{}\"", user_name(USERS)));
    let walked = filter(&format!("userName ew \"{}\"", user_name(USERS)));
    let sorted = Query { sort_by: Some("userName".to_owned()), count: Some(1), ..Query::default() };
    let jump = Query { start_index: Some(1_000), count: Some(1), ..Query::default() };
    let first = Query { count: Some(1), ..Query::default() };
    for (query, total, in_no_time) in [
        (&one, 1, Ok(1)),
        (&walked, 1, Err(ErrorKind::TooMany)),
        (&sorted, 2_000, Err(ErrorKind::TooMany)),
        (&jump, 2_000, Err(ErrorKind::TooMany)),
        (&first, 2_000, Ok(2_000)),
    ] {
        assert_eq!(find(&client, query, MAX_SCAN_TIME).await, Ok(total), "{query:?}");
        assert_eq!(find(&client, query, Duration::ZERO).await, in_no_time, "{query:?}");
    }
}
