//! A mirror that hears of changes by a webhook.

use std::sync::{Arc, Mutex};

use rollcall::deliver::registry::Registry;
use rollcall::outbound::target::TargetRule;
use rollcall::store::call::Table;
use rollcall::store::feed::change::FeedChange;

use super::Dice;
use super::mirror::Mirror;
use crate::support::receiver::{Message, Reaction, Receiver};

/// Makes a webhook, and a mirror that applies what comes. A fifth of the messages comes twice. Now and then the
/// receiver applies a message and says nothing, so that it comes again.
pub async fn start_hooked_mirror(table: &Table, mut dice: Dice) -> Arc<Mutex<Mirror>> {
    let receiver = Receiver::start().await;
    let mirror = Arc::new(Mutex::new(Mirror::empty(table, 0)));
    let (own, dice) = (mirror.clone(), Mutex::new(dice.split()));
    receiver.always(move |message| {
        let mut dice = dice.lock().unwrap();
        let mut mirror = own.lock().unwrap();
        let times = if dice.roll(5) == 0 { 2 } else { 1 };
        for _ in 0..times {
            changes(message).iter().for_each(|change| mirror.apply(change));
        }
        if dice.roll(40) == 0 { Reaction::Vanish } else { Reaction::status(204) }
    });
    let registry =
        Registry { table, actor: "operator", request_id: "model", rule: TargetRule::PublicOrLoopback };
    registry.create(&receiver.url, false).await.expect("a webhook");
    mirror
}

fn changes(message: &Message) -> Vec<FeedChange> {
    let changes = message.json()["data"]["changes"].clone();
    serde_json::from_value(changes).expect("changes")
}
