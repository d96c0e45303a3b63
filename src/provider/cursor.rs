//! Cursors (RFC 9865 §2): a place in a walk, opaque to the client, bound to the query, and without
//! anything that tells the tenant.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock;
use crate::scim::discovery::CURSOR_TIMEOUT;
use crate::scim::error::{ErrorKind, ScimError};
use crate::store::list::Position;

/// What a cursor says.
#[derive(Clone, Debug, PartialEq)]
pub struct Cursor {
    /// The last resource of the page before.
    pub after: Position,
    /// That resource's key in a sorted walk.
    pub sort_key: Option<Value>,
    /// How many resources the walk's first page found.
    pub total: u64,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    q: String,
    a: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    k: Option<Value>,
    t: u64,
    e: u64,
}

impl Cursor {
    /// The text for the client; `query` is the hash of the query that it belongs to.
    pub fn text(&self, query: &str) -> String {
        let wire = Wire {
            q: query.to_owned(),
            a: self.after.text(),
            k: self.sort_key.clone(),
            t: self.total,
            e: clock::epoch_seconds() + CURSOR_TIMEOUT,
        };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&wire).unwrap_or_default())
    }

    /// Reads a text that a client sent back with a query of this hash.
    ///
    /// # Errors
    /// `invalidCursor`, `expiredCursor` (RFC 9865 §2.1).
    pub fn parse(text: &str, query: &str) -> Result<Self, ScimError> {
        let invalid = |detail: &str| ScimError::new(ErrorKind::InvalidCursor, detail);
        let unknown =
            || invalid("The cursor is not one that this service made. Begin again without a cursor.");
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| unknown())?;
        let wire: Wire = serde_json::from_slice(&bytes).map_err(|_| unknown())?;
        let after = Position::parse(&wire.a).ok_or_else(unknown)?;
        if wire.q != query {
            return Err(invalid(
                "The cursor belongs to another query. Keep endpoint, filter and sorting the same on every page.",
            ));
        }
        if wire.e < clock::epoch_seconds() {
            return Err(ScimError::new(
                ErrorKind::ExpiredCursor,
                format!("The cursor is older than {CURSOR_TIMEOUT} seconds. Begin again without a cursor."),
            ));
        }
        Ok(Self { after, sort_key: wire.k, total: wire.t })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::resource_type::Kind;

    #[test]
    fn a_cursor_returns_and_belongs_to_its_query() {
        let after = Position { kind: Kind::User, id: uuid::Uuid::now_v7() };
        let cursor = Cursor { after, sort_key: Some("k".into()), total: 7 };
        let text = cursor.text("q1");
        assert_eq!(Cursor::parse(&text, "q1"), Ok(cursor));
        let kind = |text: &str, query| Cursor::parse(text, query).map_err(|e| e.kind);
        assert_eq!(kind(&text, "q2"), Err(ErrorKind::InvalidCursor));
        for bad in ["", "x", "e30", "%%%", &text[1..]] {
            assert_eq!(kind(bad, "q1"), Err(ErrorKind::InvalidCursor), "{bad}");
        }
        let old = Wire { q: "q1".to_owned(), a: after.text(), k: None, t: 1, e: 1 };
        let old = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&old).expect("JSON"));
        assert_eq!(kind(&old, "q1"), Err(ErrorKind::ExpiredCursor));
    }
}
