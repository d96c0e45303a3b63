//! Who does what the operator's commands do.

/// The actor in the events of these commands.
pub(super) const ACTOR: &str = "operator";
