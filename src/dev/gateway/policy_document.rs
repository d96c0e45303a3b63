//! The IAM policy in an authorizer's answer, as API Gateway evaluates it.

use serde_json::Value;

/// Statements that allow or deny invoking methods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyDocument(Vec<Statement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Statement {
    allows: bool,
    resources: Vec<String>,
}

impl PolicyDocument {
    /// Reads a policy; none if it is not one, or holds what is not evaluated here (such as conditions).
    pub fn read(document: &Value) -> Option<Self> {
        let statements = match document.get("Statement")? {
            Value::Array(statements) => statements.iter().collect(),
            statement => vec![statement],
        };
        statements
            .into_iter()
            .map(Statement::read)
            .collect::<Option<Vec<_>>>()
            .map(|all| Self(all.into_iter().flatten().collect()))
    }

    /// Whether a method may be invoked: some statement allows it and none denies it.
    pub fn allows(&self, arn: &str) -> bool {
        let mut matching = self.0.iter().filter(|statement| statement.covers(arn)).peekable();
        matching.peek().is_some() && matching.all(|statement| statement.allows)
    }
}

impl Statement {
    /// A statement about another action than invoking counts for nothing.
    fn read(statement: &Value) -> Option<Option<Self>> {
        let allows = match statement.get("Effect")?.as_str()? {
            "Allow" => true,
            "Deny" => false,
            _ => return None,
        };
        for unknown in ["Condition", "NotAction", "NotResource"] {
            if statement.get(unknown).is_some() {
                return None;
            }
        }
        let actions = read_texts(statement.get("Action")?)?;
        let invokes = |action: &String| matches(&action.to_ascii_lowercase(), "execute-api:invoke");
        let resources = read_texts(statement.get("Resource")?)?;
        Some(actions.iter().any(invokes).then_some(Self { allows, resources }))
    }

    fn covers(&self, arn: &str) -> bool {
        self.resources.iter().any(|resource| matches(resource, arn))
    }
}

fn read_texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

/// Whether the pattern, in which `*` stands for any text and `?` for any character, covers the whole text.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ARN: &str = "arn:aws:execute-api:us-east-1:000000000000:local/local/GET/scim/v2/Users";

    fn policy(statements: Value) -> Option<PolicyDocument> {
        PolicyDocument::read(&json!({ "Version": "2012-10-17", "Statement": statements }))
    }

    #[test]
    fn wildcards_cover_the_whole_text() {
        for (pattern, expected) in [
            ("*", true),
            (ARN, true),
            ("arn:aws:execute-api:*:*:local/local/*/*", true),
            ("arn:aws:execute-api:us-east-1:000000000000:local/local/GET/*", true),
            ("arn:aws:execute-api:us-east-1:000000000000:local/local/P?T/*", false),
            ("arn:*/G?T/*Users", true),
            ("arn:*/GET/scim/v2", false),
            ("", false),
        ] {
            let document =
                policy(json!({ "Effect": "Allow", "Action": "execute-api:Invoke", "Resource": pattern }));
            assert_eq!(document.unwrap().allows(ARN), expected, "{pattern}");
        }
    }

    #[test]
    fn a_deny_wins_and_nothing_is_no() {
        let allow = json!({ "Effect": "Allow", "Action": ["execute-api:*"], "Resource": ["*"] });
        let deny = json!({ "Effect": "Deny", "Action": "execute-api:Invoke", "Resource": "*" });
        let other = json!({ "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*" });
        assert!(policy(json!([allow])).unwrap().allows(ARN));
        assert!(!policy(json!([allow, deny])).unwrap().allows(ARN));
        assert!(!policy(json!([other])).unwrap().allows(ARN));
        assert!(!policy(json!([])).unwrap().allows(ARN));
    }

    #[test]
    fn what_is_not_a_policy_is_none() {
        assert_eq!(PolicyDocument::read(&json!({})), None);
        assert_eq!(policy(json!({ "Effect": "Maybe", "Action": "*", "Resource": "*" })), None);
        assert_eq!(policy(json!({ "Effect": "Allow", "Action": "*", "Resource": 1 })), None);
        assert_eq!(
            policy(json!({ "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {} })),
            None
        );
    }
}
