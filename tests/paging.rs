//! Walkers of both kinds over a list that changes under them, against a model of what must hold.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::client::Client;
use crate::support::stage::{Stage, play};
use crate::support::{Dice, assert_consistent};

/// A list and those who were in it all the time since a walk began.
struct List {
    client: Client,
    dice: Dice,
    there: Vec<String>,
    made: usize,
    throughout: BTreeSet<String>,
}

impl List {
    async fn new(seed: u64, size: usize, stage: Stage) -> Self {
        let embedded = stage.serve().await;
        let client = Client::new(embedded.table.clone(), "standard").await;
        let mut list =
            Self { client, dice: Dice(seed), there: Vec::new(), made: 0, throughout: BTreeSet::new() };
        for _ in 0..size {
            list.insert().await;
        }
        embedded.tear(stage.tearing()).await;
        list
    }

    async fn insert(&mut self) {
        self.made += 1;
        self.there.push(self.client.user(&format!("user{}", self.made)).await);
    }

    async fn disturb(&mut self) {
        for _ in 0..self.dice.below(4) {
            if self.dice.below(2) == 0 || self.there.is_empty() {
                self.insert().await;
            } else {
                let gone = self.dice.below(self.there.len());
                let gone = self.there.swap_remove(gone);
                self.client.delete(&format!("/Users/{gone}")).await.expect(204);
                self.throughout.remove(&gone);
            }
        }
    }

    fn begin(&mut self) {
        self.throughout = self.there.iter().cloned().collect();
    }

    /// No user is seen twice, and every user that existed all the time is seen.
    fn hold(&self, seen: &[String], what: &str) {
        let set: BTreeSet<&String> = seen.iter().collect();
        assert_eq!(set.len(), seen.len(), "{what}: somebody twice");
        let skipped: Vec<_> = self.throughout.iter().filter(|id| !set.contains(id)).collect();
        assert!(skipped.is_empty(), "{what}: skipped {skipped:?}");
    }
}

fn ids(page: &Value) -> Vec<String> {
    let resources = page["Resources"].as_array().unwrap();
    resources.iter().map(|resource| resource["id"].as_str().unwrap().to_owned()).collect()
}

const QUERIES: [&str; 2] = ["", "&filter=active eq true"];

async fn a_walk_by_index_neither_skips_nor_repeats(stage: Stage) {
    for seed in 0..stage.runs() {
        let mut list = List::new(seed, 40, stage).await;
        for query in QUERIES {
            let count = 1 + list.dice.below(9);
            list.begin();
            let (mut seen, mut total) = (Vec::new(), None);
            loop {
                let start = seen.len() + 1;
                let path = format!("/Users?startIndex={start}&count={count}{query}");
                let page = list.client.get(&path).await.expect(200).body;
                let here = ids(&page);
                let walked = *total.get_or_insert(page["totalResults"].as_u64().unwrap());
                // A page that nothing follows leaves no mark: who asks for more begins anew.
                if seen.len() < 15 {
                    assert_eq!(page["totalResults"], walked, "seed {seed}: the total is that of the start");
                }
                let (last, full) = (here.len() < count, here.len() == count);
                seen.extend(here);
                assert!(full || last);
                if last {
                    break;
                }
                list.disturb().await;
            }
            list.hold(&seen, &format!("seed {seed}, count {count}, {query:?}"));
        }
        assert_consistent(&list.client).await;
    }
}

async fn any_number_of_walks_by_cursor_neither_skip_nor_repeat(stage: Stage) {
    for seed in 100..100 + stage.runs() {
        let mut list = List::new(seed, 40, stage).await;
        for query in ["", "&filter=active eq true", "&sortBy=userName"] {
            list.begin();
            let mut walks: Vec<(usize, Option<String>, Vec<String>)> =
                (0..3).map(|_| (1 + list.dice.below(9), Some(String::new()), Vec::new())).collect();
            while walks.iter().any(|(_, cursor, _)| cursor.is_some()) {
                for (count, cursor, seen) in &mut walks {
                    let Some(at) = cursor.take() else { continue };
                    let path = format!("/Users?cursor={at}&count={count}{query}");
                    let page = list.client.get(&path).await.expect(200).body;
                    let here = ids(&page);
                    *cursor = page["nextCursor"].as_str().map(str::to_owned);
                    assert!(here.len() == *count || cursor.is_none(), "seed {seed}: a page that is not full");
                    seen.extend(here);
                }
                list.disturb().await;
            }
            for (count, _, seen) in &walks {
                list.hold(seen, &format!("seed {seed}, count {count}, {query:?}"));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jump_lands_where_a_walk_would() {
    let mut list = List::new(7, 60, Stage::Whole).await;
    let all = ids(&list.client.get("/Users").await.expect(200).body);
    for _ in 0..40 {
        let (start, count) = (list.dice.below(70) + 1, list.dice.below(20));
        let page =
            list.client.get(&format!("/Users?startIndex={start}&count={count}")).await.expect(200).body;
        let expected: Vec<String> = all.iter().skip(start - 1).take(count).cloned().collect();
        assert_eq!((ids(&page), &page["totalResults"]), (expected, &Value::from(60)), "{start} {count}");
    }
}

play!(
    #[tokio::test(flavor = "multi_thread")]
    a_walk_by_index_neither_skips_nor_repeats,
    any_number_of_walks_by_cursor_neither_skip_nor_repeat
);
