//! Changes resources: create, replace, modify, delete.
//!
//! # The loop of a change (`change`)
//!
//! 0. A change of a few members of a group that this process knows is written without a read
//!    (`unread_change`). If that succeeds, the change is done.
//! 1. Read the resource, and what the change must know of its members (`new_members`).
//! 2. Check the preconditions. Finish a large change of the resource that is still being applied.
//! 3. Compute the new document (`computed_change`). This step is pure: [`replace`] and [`modify`] differ only in it.
//!    Then compute which members come and go. If an operation asks by `type` what the members are that an earlier one
//!    adds, they are looked for before (`new_members`).
//! 4. Add what the tenant's rules demand to the transaction ([`admin_rule`], `deactivation_rule`).
//! 5. Write, on the condition that the resource still has the version that was read. More members than fit
//!    one transaction are staged first (`staged_change`).
//! 6. If the condition fails, start over. If only the group was changed, and not the members that the change
//!    is about, only the group is read again.
//!
//! A deletion runs the same loop without step 3. A creation starts with step 3.

pub mod admin_rule;
pub mod assignments;
mod change;
mod computed_change;
pub mod create;
mod deactivation_rule;
pub mod definitions;
pub mod delete;
pub mod modify;
mod new_members;
pub mod replace;
mod staged_change;
mod unread_change;

use super::Provider;

/// The operations that change resources.
#[derive(Clone, Copy, Debug)]
pub struct Changing<'p> {
    provider: &'p Provider<'p>,
}

impl<'p> Provider<'p> {
    /// The operations that change resources.
    pub fn changing(&'p self) -> Changing<'p> {
        Changing { provider: self }
    }
}
