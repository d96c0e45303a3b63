//! What a Lambda authorizer answers about a token.

use std::collections::BTreeMap;

use serde_json::Value;

use super::policy_document::PolicyDocument;

/// An authorizer's answer about a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// `principalId`
    pub principal: String,
    /// `context`, every value a string, as API Gateway makes them.
    pub context: BTreeMap<String, String>,
    /// `usageIdentifierKey`
    pub usage_key: Option<String>,
    /// `policyDocument`
    pub policy: PolicyDocument,
}

impl Authorization {
    /// Reads an answer; none if API Gateway would not take it.
    pub fn read(answer: &Value) -> Option<Self> {
        let principal = answer.get("principalId")?.as_str()?.to_owned();
        let policy = PolicyDocument::read(answer.get("policyDocument")?)?;
        let mut context = BTreeMap::new();
        match answer.get("context") {
            None | Some(Value::Null) => {}
            Some(Value::Object(values)) => {
                for (name, value) in values {
                    let text = match value {
                        Value::String(text) => text.clone(),
                        Value::Bool(_) | Value::Number(_) => value.to_string(),
                        Value::Null => continue,
                        Value::Array(_) | Value::Object(_) => return None,
                    };
                    context.insert(name.clone(), text);
                }
            }
            Some(_) => return None,
        }
        let usage_key = answer.get("usageIdentifierKey").and_then(Value::as_str).map(str::to_owned);
        Some(Self { principal, context, usage_key, policy })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn context_values_become_strings() {
        let mut answer = json!({
            "principalId": "k1",
            "policyDocument": { "Statement": [] },
            "context": { "tenantId": "acme", "n": 1, "b": true, "none": null },
            "usageIdentifierKey": "usage-key",
        });
        let authorization = Authorization::read(&answer).unwrap();
        let context: Vec<_> = authorization.context.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(context, [("b", "true"), ("n", "1"), ("tenantId", "acme")]);
        assert_eq!(authorization.usage_key.as_deref(), Some("usage-key"));
        answer["context"]["list"] = json!([]);
        assert_eq!(Authorization::read(&answer), None);
        assert_eq!(Authorization::read(&json!({ "principalId": "k1" })), None);
    }
}
