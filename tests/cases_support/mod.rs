//! The little language of `tests/cases`: reading a case, filling in its names, comparing answers.
//! `tests/cases/README.md` describes it.

pub mod case;
pub mod expected;
mod mistakes;
pub mod names;
pub mod stack;
