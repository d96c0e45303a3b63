//! Tries a version of the scim function with two requests, without API Gateway and without a key.
//!
//! - `requests` makes the events, as API Gateway makes them, and judges the answers.
//! - `signed_call` sends one call to Lambda or CodeDeploy, signed.
//! - `prober` invokes the function and reports.
//!
//! Two functions run this code. The hook tries a new version before CodeDeploy moves requests to it. The probe of every
//! minute tries the version that serves requests.

pub mod prober;
pub mod requests;
pub mod signed_call;
