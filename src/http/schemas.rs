//! The answers to `GET /Schemas` (RFC 7643 §7). They have some 40 KB, and depend on the policy, the
//! base URL and the kinds of resource that the tenant has. So a process makes each once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::limits::MAX_KEPT_SCHEMAS;
use crate::scim::discovery::{self, DefinedTypes};
use crate::scim::resource_type::Model;

/// The answers that this process has made.
#[derive(Debug, Default)]
pub struct SchemaAnswers {
    /// By the name of the policy, the kinds that are defined, and the base URL.
    kept: Mutex<HashMap<(&'static str, DefinedTypes, String), String>>,
}

impl SchemaAnswers {
    /// The answer as JSON.
    pub fn text(&self, model: &Model, defined: DefinedTypes, base_url: &str) -> String {
        let key = (model.policy.name, defined, base_url.to_owned());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = kept.get(&key) {
            return text.clone();
        }
        let text = discovery::schemas(model, defined, base_url).to_string();
        // The base URL comes from the request where no PublicUrl is set.
        if kept.len() >= MAX_KEPT_SCHEMAS {
            kept.clear();
        }
        kept.insert(key, text.clone());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_that_of_its_policy_and_base_url_and_few_are_kept() {
        let answers = SchemaAnswers::default();
        let models = Model::all(&[]).expect("models");
        for at in 0..3 * MAX_KEPT_SCHEMAS {
            let base_url = format!("https://{at}.example.com/scim/v2");
            for model in &models {
                for defined in [DefinedTypes::default(), DefinedTypes { roles: true, entitlements: false }] {
                    let fresh = discovery::schemas(model, defined, &base_url).to_string();
                    for _ in 0..2 {
                        assert_eq!(answers.text(model, defined, &base_url), fresh);
                    }
                }
            }
        }
        assert!(answers.kept.lock().expect("a lock").len() <= MAX_KEPT_SCHEMAS);
    }
}
