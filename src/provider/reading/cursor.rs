//! Cursors (RFC 9865 §2): a place in a walk, opaque to the client, bound to the tenant and the query,
//! signed, and without any value of an attribute.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use uuid::Uuid;

use crate::clock;
use crate::limits::CURSOR_TIMEOUT_SECONDS;
use crate::scim::error::{ErrorKind, ScimError};
use crate::scim::resource_type::Kind;
use crate::store::cursor::CursorKey;
use crate::store::keys::TenantId;
use crate::store::list::Position;

/// The first byte of the cursor of users and groups; another form has another.
const FORM: u8 = 1;
/// The first byte of the cursor of roles and entitlements.
const FORM_OF_DEFINITIONS: u8 = 2;
/// What is signed begins with this, so that the key signs nothing else.
const PURPOSE: &[u8] = b"rollcall cursor";
/// The bytes of the HMAC-SHA256 at the end of a cursor.
const MAC: usize = 32;

/// What a cursor says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The last resource of the page before.
    pub after: Position,
    /// Under which id the table keeps that resource's sort key, in a sorted walk.
    pub sort_mark: Option<Uuid>,
    /// How many resources the walk's first page found.
    pub total: u64,
}

/// What a cursor is bound to.
#[derive(Clone, Copy, Debug)]
pub struct Seal<'a> {
    /// The tenant's secret.
    pub key: &'a CursorKey,
    /// The tenant.
    pub tenant: &'a TenantId,
    /// The hash of the query.
    pub query: &'a str,
}

impl Seal<'_> {
    fn mac(&self, content: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key).ok()?;
        // No tenant's name and no query's hash holds a zero byte, so no two inputs are the same.
        for part in [PURPOSE, self.tenant.as_str().as_bytes(), self.query.as_bytes()] {
            mac.update(part);
            mac.update(&[0]);
        }
        mac.update(content);
        Some(mac)
    }
}

impl Cursor {
    /// The text for the client.
    pub fn text(&self, seal: &Seal<'_>) -> String {
        self.text_until(seal, clock::epoch_seconds() + CURSOR_TIMEOUT_SECONDS)
    }

    /// The place is kind and id of the resource, and the id of the sort key.
    fn text_until(&self, seal: &Seal<'_>, expires: u64) -> String {
        let mut place = vec![match self.after.kind {
            Kind::User => b'U',
            Kind::Group => b'G',
        }];
        place.extend(self.after.id.as_bytes());
        place.extend(self.sort_mark.iter().flat_map(|id| *id.as_bytes()));
        Content { form: FORM, expires, total: self.total, place: &place }.seal(seal)
    }

    /// Reads a text that a client sent back with a query.
    ///
    /// # Errors
    /// `invalidCursor`, `expiredCursor` (RFC 9865 §2.1).
    pub fn parse(text: &str, seal: &Seal<'_>) -> Result<Self, ScimError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| unknown_cursor())?;
        let content = Content::open(&bytes, FORM, seal)?;
        Self::read(&content).ok_or_else(unknown_cursor)
    }

    fn read(content: &Content<'_>) -> Option<Self> {
        let (kind, rest) = content.place.split_first()?;
        let (id, rest) = rest.split_first_chunk()?;
        let kind = match kind {
            b'U' => Kind::User,
            b'G' => Kind::Group,
            _ => return None,
        };
        let sort_mark = match rest {
            [] => None,
            id => Some(Uuid::from_slice(id).ok()?),
        };
        let after = Position { kind, id: Uuid::from_bytes(*id) };
        Some(Self { after, sort_mark, total: content.total })
    }
}

/// The cursor of the page after a role or an entitlement.
pub fn definition_cursor(id: &str, seal: &Seal<'_>) -> String {
    let expires = clock::epoch_seconds() + CURSOR_TIMEOUT_SECONDS;
    Content { form: FORM_OF_DEFINITIONS, expires, total: 0, place: id.as_bytes() }.seal(seal)
}

/// Reads the id in a cursor that [`definition_cursor`] made.
///
/// # Errors
/// `invalidCursor`, `expiredCursor` (RFC 9865 §2.1).
pub fn parse_definition_cursor(text: &str, seal: &Seal<'_>) -> Result<String, ScimError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| unknown_cursor())?;
    let content = Content::open(&bytes, FORM_OF_DEFINITIONS, seal)?;
    String::from_utf8(content.place.to_vec()).map_err(|_| unknown_cursor())
}

/// What is signed of a cursor, beside the query.
struct Content<'a> {
    form: u8,
    /// In seconds since 1970.
    expires: u64,
    total: u64,
    /// Where the next page begins.
    place: &'a [u8],
}

impl<'a> Content<'a> {
    /// Form, expiry, total, hash of the query with its length, place, MAC.
    fn seal(&self, seal: &Seal<'_>) -> String {
        let mut bytes = vec![self.form];
        bytes.extend(self.expires.to_be_bytes());
        bytes.extend(self.total.to_be_bytes());
        bytes.push(u8::try_from(seal.query.len()).unwrap_or(u8::MAX));
        bytes.extend(seal.query.as_bytes());
        bytes.extend(self.place);
        let mac = seal.mac(&bytes).map(|mac| mac.finalize().into_bytes());
        bytes.extend(mac.into_iter().flatten());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn open(bytes: &'a [u8], form: u8, seal: &Seal<'_>) -> Result<Self, ScimError> {
        let (signed, mac) = bytes.split_last_chunk::<MAC>().ok_or_else(unknown_cursor)?;
        let (content, query) = Self::read(signed).ok_or_else(unknown_cursor)?;
        if content.form != form {
            return Err(unknown_cursor());
        }
        // The hash tells a client that changed its query from one that made a cursor up.
        if query != seal.query.as_bytes() {
            return Err(ScimError::new(
                ErrorKind::InvalidCursor,
                "The cursor belongs to another query. Keep endpoint, filter and sorting the same on every page.",
            ));
        }
        let expected = seal.mac(signed).ok_or_else(unknown_cursor)?;
        expected.verify_slice(mac).map_err(|_| unknown_cursor())?;
        if content.expires < clock::epoch_seconds() {
            return Err(expired_cursor());
        }
        Ok(content)
    }

    fn read(signed: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (form, rest) = signed.split_first()?;
        let (expires, rest) = rest.split_first_chunk()?;
        let (total, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first()?;
        let (query, place) = rest.split_at_checked(usize::from(*length))?;
        let (expires, total) = (u64::from_be_bytes(*expires), u64::from_be_bytes(*total));
        Some((Self { form: *form, expires, total, place }, query))
    }
}

/// The text is no cursor of this tenant's.
pub fn unknown_cursor() -> ScimError {
    ScimError::new(
        ErrorKind::InvalidCursor,
        "The cursor is not one that this service made. Begin again without a cursor.",
    )
}

/// The cursor was one.
pub fn expired_cursor() -> ScimError {
    ScimError::new(
        ErrorKind::ExpiredCursor,
        format!("The cursor is older than {CURSOR_TIMEOUT_SECONDS} seconds. Begin again without a cursor."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        name.parse().expect("a tenant")
    }

    #[test]
    fn a_cursor_returns_and_belongs_to_its_query() {
        let (key, tenant) = ([7; 32], tenant("acme"));
        let seal = |query| Seal { key: &key, tenant: &tenant, query };
        let after = Position { kind: Kind::User, id: Uuid::now_v7() };
        for sort_mark in [None, Some(Uuid::now_v7())] {
            let cursor = Cursor { after, sort_mark, total: 7 };
            let text = cursor.text(&seal("q1"));
            assert!(text.len() < 200, "{text}");
            assert_eq!(Cursor::parse(&text, &seal("q1")), Ok(cursor.clone()));
            let kind = |text: &str, query| Cursor::parse(text, &seal(query)).map_err(|e| e.kind);
            assert_eq!(kind(&text, "q2"), Err(ErrorKind::InvalidCursor));
            for bad in ["", "x", "e30", "%%%", &text[1..], &text[..text.len() - 1], &"A".repeat(100_000)] {
                assert_eq!(kind(bad, "q1"), Err(ErrorKind::InvalidCursor), "{bad}");
            }
            assert_eq!(kind(&cursor.text_until(&seal("q1"), 1), "q1"), Err(ErrorKind::ExpiredCursor));
        }
    }

    #[test]
    fn nobody_makes_or_changes_a_cursor_without_the_key() {
        let (key, acme) = ([7; 32], tenant("acme"));
        let seal = Seal { key: &key, tenant: &acme, query: "q1" };
        let after = Position { kind: Kind::Group, id: Uuid::now_v7() };
        let text = Cursor { after, sort_mark: Some(Uuid::now_v7()), total: 7 }.text(&seal);
        let invalid = Err(ErrorKind::InvalidCursor);
        let other_key = Seal { key: &[8; 32], ..seal };
        let other_tenant = tenant("acme2");
        let other_tenant = Seal { tenant: &other_tenant, ..seal };
        for seal in [other_key, other_tenant] {
            assert_eq!(Cursor::parse(&text, &seal).map_err(|e| e.kind), invalid);
        }
        let bytes = URL_SAFE_NO_PAD.decode(&text).expect("base64");
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let changed = URL_SAFE_NO_PAD.encode(changed);
            assert_eq!(Cursor::parse(&changed, &seal).map_err(|e| e.kind), invalid, "byte {at}");
        }
        // The id of the sort key cannot be cut off.
        let mut shorter = bytes.clone();
        shorter.drain(bytes.len() - MAC - 16..bytes.len() - MAC);
        assert_eq!(Cursor::parse(&URL_SAFE_NO_PAD.encode(shorter), &seal).map_err(|e| e.kind), invalid);
    }
}
