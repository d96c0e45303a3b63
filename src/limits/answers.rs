//! Limits on what answers and log lines tell.

/// The time after which a client is to send a request again that was answered 503, in seconds.
pub const RETRY_AFTER_SECONDS: u64 = 2;

/// The most administrators that a refusal names.
pub const MAX_ADMINS_NAMED: usize = 3;

/// The most unknown members that a refusal names.
pub const MAX_MEMBERS_NAMED: usize = 100;

/// The most characters of a malformed id that a refusal repeats.
pub const MAX_CHARACTERS_OF_ID_SHOWN: usize = 64;

/// The most faults of a request that its refusal names. It counts the others.
pub const MAX_FAULTS_NAMED: usize = 10;

/// The most faults of a request that are gathered, and so counted.
pub const MAX_FAULTS_GATHERED: usize = 100;

/// The most notes of a request in its log line.
pub const MAX_NOTES: usize = 20;

/// The longest name of an attribute in a note, in bytes. The URN of the enterprise user with its longest path has 86.
pub const MAX_NOTE_NAME_BYTES: usize = 100;

/// The longest text of a client in a log line for people, in characters.
pub const MAX_READABLE_CHARS: usize = 4_000;
