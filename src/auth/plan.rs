//! The rates that a tenant can have, and the usage keys by which API Gateway counts.
//!
//! An API key of API Gateway can be in one usage plan of a stage only. Taking it out of one plan and putting it into
//! another would refuse requests in between. So a tenant has one API key for each plan that it ever had, and a change of
//! the plan only changes which one the authorizer names:
//!
//! 1. A key is made in the other plan. API Gateway needs a moment until it accepts a new key.
//! 2. The tenant's item names both keys, and from when on the new one is used.
//! 3. Until then, and as long as API Gateway remembers the authorizer's answer, requests count by the old key. It stays
//!    in its plan, so none of them is refused.
//!
//! A tenant that goes back needs no new key.

/// The rate of a tenant. The numbers are parameters of the template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RatePlan {
    /// 200 requests a minute.
    #[default]
    Default,
    /// 30 requests a second.
    High,
}

impl RatePlan {
    /// Every plan.
    pub const ALL: [Self; 2] = [Self::Default, Self::High];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::High => "high",
        }
    }

    /// The plan of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|plan| plan.name() == name)
    }
}
