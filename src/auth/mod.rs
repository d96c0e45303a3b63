//! Bearer keys and application keys: their text, what the table knows of them, and whether a request may
//! pass.

pub mod app_authorizer;
pub mod application;
pub mod authorizer;
pub mod key;
pub mod key_use;
pub mod plan;
pub mod record;
pub mod tenant;
