//! What every line has: a timestamp, a level, a message and the ids of the request.

use serde::Serialize;

use super::ids::RequestIds;
use crate::clock;

/// A line with these fields of its own. As JSON it is one flat object.
#[derive(Debug, Serialize)]
pub struct LogLine<'l, F> {
    timestamp: String,
    level: &'static str,
    message: &'l str,
    #[serde(flatten)]
    ids: RequestIds,
    #[serde(flatten)]
    fields: F,
}

impl<'l, F: Serialize> LogLine<'l, F> {
    /// A line of this moment.
    pub fn new(level: &'static str, message: &'l str, ids: RequestIds, fields: F) -> Self {
        Self { timestamp: clock::timestamp(), level, message, ids, fields }
    }
}
