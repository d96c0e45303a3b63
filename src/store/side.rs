//! The two sides of a change of members.

/// What a change does to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The change adds the member.
    Add,
    /// The change removes the member.
    Remove,
}

impl Side {
    /// Both sides.
    pub const ALL: [Self; 2] = [Self::Add, Self::Remove];
}
