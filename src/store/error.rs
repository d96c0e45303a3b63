//! What can go wrong at the table. Only this file reads the SDK's errors.

use std::fmt;

use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::transact_get_items::TransactGetItemsError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::CancellationReason;
use uuid::Uuid;

/// What it means that a condition of a transaction is not fulfilled. Each action carries its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The value of this unique attribute belongs to another resource.
    Taken(&'static str),
    /// The resource is no longer in the version that was read, or is gone.
    Changed,
    /// The member with this id does not exist, or is in as many groups as it may be.
    Member(Uuid),
    /// The membership exists and should not, or does not exist and should.
    Membership,
    /// A deleted member cannot leave the group with this id now: the group is gone, has another pending change, or
    /// lists as many departures as it may.
    Stays(Uuid),
    /// Something with this key exists already.
    Exists,
    /// The item does not exist any more.
    Gone,
}

impl Refusal {
    /// The id in [`Refusal::Member`]; `None` for any other refusal.
    pub const fn member(&self) -> Option<Uuid> {
        match self {
            Self::Member(id) => Some(*id),
            Self::Taken(_)
            | Self::Changed
            | Self::Membership
            | Self::Stays(_)
            | Self::Exists
            | Self::Gone => None,
        }
    }

    /// The id in [`Refusal::Stays`]; `None` for any other refusal.
    pub const fn group(&self) -> Option<Uuid> {
        match self {
            Self::Stays(id) => Some(*id),
            _ => None,
        }
    }
}

/// A failed call.
#[derive(Debug)]
pub enum StoreError {
    /// The transaction was cancelled by conditions: nothing was written.
    Refused(Vec<Refusal>),
    /// Another transaction wrote the same items at every attempt. Nothing was written, except perhaps other
    /// items of a batch.
    Conflict,
    /// The table throttled every attempt of a transaction. Nothing was written.
    Throttled,
    /// The items of a transaction are more than 4 MB together. Nothing was written. The caller can write
    /// them in several transactions.
    TransactionTooLarge,
    /// The table did not answer, or throttles. It is unknown whether a write took effect. The client may
    /// send the request again.
    Unavailable(String),
    /// The table refused the call, or an item cannot be read.
    Broken(String),
}

impl StoreError {
    /// Whether a write that failed with this error may have taken effect all the same. It has not if
    /// DynamoDB itself says that it cancelled the transaction. Any other error may have come from
    /// something between the table and this process.
    pub const fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Broken(_) => true,
            Self::Refused(_) | Self::Conflict | Self::Throttled | Self::TransactionTooLarge => false,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusals) => write!(f, "refused: {refusals:?}"),
            Self::Conflict => f.write_str("other transactions kept winning"),
            Self::Throttled => f.write_str("the table throttles transactions"),
            Self::TransactionTooLarge => {
                f.write_str("the items of a transaction are more than 4 MB together")
            }
            Self::Unavailable(source) => write!(f, "the table is unavailable: {source}"),
            Self::Broken(source) => write!(f, "the table refused: {source}"),
        }
    }
}

impl std::error::Error for StoreError {}

/// The codes of errors after which the same call may succeed later.
const TRANSIENT: &[&str] = &[
    "InternalServerError",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "ThrottlingException",
    "TransactionInProgressException",
];

/// The code of a single write that met a transaction on its item. Nothing was written.
const CONFLICT: &str = "TransactionConflictException";

/// Converts the SDK's error of any call.
pub fn read<E, R>(error: SdkError<E, R>) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: fmt::Debug + Send + Sync + 'static,
{
    let transient = match &error {
        SdkError::ServiceError(service) => service.err().code().is_none_or(|code| TRANSIENT.contains(&code)),
        SdkError::ConstructionFailure(_) => false,
        _ => true,
    };
    let code = error.code().unwrap_or("no answer").to_owned();
    // The message of a service error can quote keys; only connection errors are worth the context.
    let source = match &error {
        SdkError::ServiceError(service) => {
            format!("{code}: {}", service.err().message().unwrap_or("no message"))
        }
        _ => DisplayErrorContext(&error).to_string(),
    };
    if code == CONFLICT {
        return StoreError::Conflict;
    }
    if transient { StoreError::Unavailable(source) } else { StoreError::Broken(source) }
}

/// Converts the SDK's error of a transaction. `meaning` holds the refusal of each action, in their order.
pub fn read_transaction<R>(
    error: SdkError<TransactWriteItemsError, R>,
    meaning: &[Option<Refusal>],
) -> StoreError
where
    R: fmt::Debug + Send + Sync + 'static,
{
    if let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error() {
        return read_reasons(cancelled.cancellation_reasons(), meaning);
    }
    if says_too_large(error.code(), error.message()) {
        return StoreError::TransactionTooLarge;
    }
    read(error)
}

/// Whether DynamoDB says that the items of a transaction are more than 4 MB together. Its error has
/// no code of its own: it is a validation error, of the call or of a cancelled action, whose message
/// speaks of a size. An item of more than 400 KB is not meant, because a smaller transaction does not
/// help it.
fn says_too_large(code: Option<&str>, message: Option<&str>) -> bool {
    let message = message.unwrap_or_default().to_ascii_lowercase();
    let of_transaction = ["4 mb", "4mb", "4194304", "aggregate", "transaction"];
    matches!(code, Some("ValidationException" | "ValidationError"))
        && !message.starts_with("item size")
        && of_transaction.iter().any(|words| message.contains(words))
        && ["size", "large", "exceed"].iter().any(|words| message.contains(words))
}

/// Converts the SDK's error of a read of several items as of one moment.
pub fn read_together<R>(error: SdkError<TransactGetItemsError, R>) -> StoreError
where
    R: fmt::Debug + Send + Sync + 'static,
{
    match error.as_service_error() {
        Some(TransactGetItemsError::TransactionCanceledException(cancelled)) => {
            read_reasons(cancelled.cancellation_reasons(), &[])
        }
        _ => read(error),
    }
}

/// On which items of a read as of one moment a transaction is under way, in the order of the read. `None` if
/// the read failed for another reason.
pub(super) fn read_conflicts<R>(error: &SdkError<TransactGetItemsError, R>) -> Option<Vec<bool>> {
    let Some(TransactGetItemsError::TransactionCanceledException(cancelled)) = error.as_service_error()
    else {
        return None;
    };
    let reasons = cancelled.cancellation_reasons().iter();
    let conflicts: Vec<bool> = reasons.map(|reason| reason.code() == Some("TransactionConflict")).collect();
    conflicts.contains(&true).then_some(conflicts)
}

fn read_reasons(reasons: &[CancellationReason], meaning: &[Option<Refusal>]) -> StoreError {
    let mut refusals = Vec::new();
    let (mut conflict, mut throttled, mut too_large, mut other) = (false, false, false, None);
    for (at, reason) in reasons.iter().enumerate() {
        match reason.code() {
            None | Some("None") => {}
            Some("ConditionalCheckFailed") => {
                refusals.push(meaning.get(at).cloned().flatten().unwrap_or(Refusal::Changed));
            }
            Some("TransactionConflict") => conflict = true,
            Some("ThrottlingError" | "ProvisionedThroughputExceeded") => throttled = true,
            code if says_too_large(code, reason.message()) => too_large = true,
            Some(code) => other = Some(format!("action {at}: {code}")),
        }
    }
    match other {
        None if too_large => StoreError::TransactionTooLarge,
        Some(other) => StoreError::Broken(other),
        None if !refusals.is_empty() => StoreError::Refused(refusals),
        None if conflict => StoreError::Conflict,
        None if throttled => StoreError::Throttled,
        None => StoreError::Broken("a transaction was cancelled without a reason".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_that_is_too_large_is_told_from_one_that_is_wrong() {
        const VALIDATION: Option<&str> = Some("ValidationException");
        for (code, message, expected) in [
            (VALIDATION, "The aggregate size of the items in the transaction exceeds 4 MB", true),
            (VALIDATION, "Transaction request size cannot exceed 4194304 bytes", true),
            (Some("ValidationError"), "Total transaction size is too large", true),
            (Some("ValidationError"), "Item size has exceeded the maximum allowed size", false),
            (VALIDATION, "Item size to update has exceeded the maximum allowed size", false),
            (VALIDATION, "Transaction request cannot include multiple operations on one item", false),
            (VALIDATION, "Invalid UpdateExpression: Syntax error", false),
            (Some("AccessDeniedException"), "transaction size 4 MB exceeded", false),
            (None, "4 MB exceeded", false),
        ] {
            assert_eq!(says_too_large(code, Some(message)), expected, "{message}");
        }
        assert!(!says_too_large(VALIDATION, None));
        let reason =
            |code: &str, message: &str| CancellationReason::builder().code(code).message(message).build();
        let too_large =
            [reason("None", ""), reason("ValidationError", "the transaction exceeds 4 MB in size")];
        assert!(matches!(read_reasons(&too_large, &[]), StoreError::TransactionTooLarge));
        let wrong = [reason("ValidationError", "One or more parameter values were invalid")];
        assert!(matches!(read_reasons(&wrong, &[]), StoreError::Broken(_)));
    }

    #[test]
    fn only_what_the_table_says_itself_is_known_to_have_no_effect() {
        assert!(StoreError::Unavailable(String::new()).may_have_taken_effect());
        assert!(StoreError::Broken(String::new()).may_have_taken_effect());
        for none in [
            StoreError::Refused(Vec::new()),
            StoreError::Conflict,
            StoreError::Throttled,
            StoreError::TransactionTooLarge,
        ] {
            assert!(!none.may_have_taken_effect(), "{none}");
        }
    }
}
