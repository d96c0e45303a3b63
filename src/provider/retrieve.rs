//! `GET /Users/{id}`, `GET /Groups/{id}` (RFC 7644 §3.4.1).

use uuid::Uuid;

use super::answer::{Answer, Provider, Relations, check_answerable, not_found};
use super::failure::Failure;
use super::precondition::Preconditions;
use crate::scim::projection::Projection;
use crate::scim::resource_type::Kind;
use crate::store::members::WholeGroup;

impl Provider<'_> {
    /// Reads one resource. No body when the client has this version already (304).
    ///
    /// # Errors
    /// 404.
    pub async fn retrieve(
        &self,
        kind: Kind,
        id: Uuid,
        projection: &Projection,
        preconditions: &Preconditions,
    ) -> Result<Answer, Failure> {
        if kind == Kind::Group && projection.wants("members") {
            let Some(WholeGroup { record, members }) = self.store.members().fetch_group(id).await? else {
                return Err(not_found(kind).into());
            };
            check_answerable(members.len() as u64)?;
            let relations = Relations { members: Some(&members), ..Relations::default() };
            let body = (!preconditions.not_modified(record.version))
                .then(|| self.project(&record, &relations, projection));
            return Ok(self.answer(&record, body));
        }
        let record = self.store.fetch(kind, id).await?.ok_or_else(|| not_found(kind))?;
        if preconditions.not_modified(record.version) {
            return Ok(self.answer(&record, None));
        }
        self.answer_user(&record, projection).await
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
            && self.store.fetch(kind, id).await?.is_none()
        {
            return Err(not_found(kind).into());
        }
        outcome
    }
}
