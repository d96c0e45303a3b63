//! `GET /Users/{id}`, `GET /Groups/{id}` (RFC 7644 §3.4.1).

use uuid::Uuid;

use super::Reading;
use crate::provider::ResourceRequest;
use crate::provider::answer::{Answer, Relations, check_answerable, not_found};
use crate::provider::failure::Failure;
use crate::scim::error::{ErrorKind, ScimError};
use crate::scim::members::MEMBERS;
use crate::scim::resource_type::Kind;
use crate::store::members::WholeGroup;
use crate::store::record::Record;

impl Reading<'_> {
    /// Reads one resource. No body when the client has this version already (304).
    ///
    /// # Errors
    /// 404; 412 when `If-Match` names other versions.
    pub async fn retrieve(&self, request: &ResourceRequest<'_>) -> Result<Answer, Failure> {
        let ResourceRequest { kind, id, projection, preconditions } = *request;
        if kind == Kind::Group && projection.wants(self.provider.ty(kind), MEMBERS) {
            let Some(WholeGroup { record, members }) = self.provider.store.members().fetch_group(id).await?
            else {
                return Err(not_found(kind).into());
            };
            check_answerable(members.len() as u64)?;
            let relations = Relations { members: Some(&members), ..Relations::default() };
            let body = preconditions
                .wants(record.version)?
                .then(|| self.provider.write_projected(&record, &relations, projection));
            return Ok(self.provider.answer(&record, body));
        }
        let item = self.provider.store.fetch_item(kind, id).await?.ok_or_else(|| not_found(kind))?;
        let record = Record::raw_from_item(&item)?.ok_or_else(|| not_found(kind))?;
        if !preconditions.wants(record.version)? {
            return Ok(self.provider.answer(&record, None));
        }
        self.provider.answer_user(&record, projection).await
    }

    /// A body is refused before the table is asked; where the resource does not exist either, that
    /// is the first thing to tell. Only a refusal costs this look.
    ///
    /// # Errors
    /// The outcome's, or 404.
    pub async fn unless_missing<T>(
        &self,
        kind: Kind,
        id: Uuid,
        outcome: Result<T, Failure>,
    ) -> Result<T, Failure> {
        if let Err(failure) = &outcome
            && matches!(failure.error.kind.wire().0, 400 | 413 | 415)
            && self.provider.store.fetch(kind, id).await?.is_none()
        {
            return Err(not_found(kind).into());
        }
        outcome
    }

    /// `GET /Me`: the id of the user that the key is bound to.
    ///
    /// # Errors
    /// 501 for a key that is bound to no user.
    pub fn bound_user_id(&self) -> Result<Uuid, ScimError> {
        self.provider.bound_user.ok_or_else(|| {
            ScimError::new(
                ErrorKind::NotImplemented,
                "/Me works with a key that is bound to a user; this one is not. Make one with rollcall key create --user.",
            )
        })
    }
}
