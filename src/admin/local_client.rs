//! A client of an embedded table.

use aws_sdk_dynamodb::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;

/// The token of a transaction as the SDK writes it: in the last field.
const TOKEN: &str = ",\"ClientRequestToken\":\"";

/// Leaves the idempotency tokens out of transactions. The embedded table keeps the tokens of ten minutes, and looks
/// at all of them in each transaction, so a transaction would take the longer the more there were. On the loopback
/// interface no answer is lost, so nothing needs a token.
#[derive(Debug)]
pub struct WithoutTokens;

impl Intercept for WithoutTokens {
    fn name(&self) -> &'static str {
        "WithoutTokens"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        let body = request.body().bytes().and_then(|body| std::str::from_utf8(body).ok());
        if let Some(body) = body.and_then(without_token) {
            request.headers_mut().insert("content-length", body.len().to_string());
            *request.body_mut() = body.into();
        }
        Ok(())
    }
}

/// The request without its token. `None` if it has none.
fn without_token(body: &str) -> Option<String> {
    let (before, token) = body.rsplit_once(TOKEN)?;
    let (token, after) = token.split_once('"')?;
    let is_token = token.len() == 36 && token.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    is_token.then(|| format!("{before}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_of_the_request_is_left_out() {
        let token = "0f8fad5b-d9cb-469f-a165-70867728950e";
        let sent = format!("{{\"TransactItems\":[]{TOKEN}{token}\"}}");
        assert_eq!(without_token(&sent).as_deref(), Some("{\"TransactItems\":[]}"));
        // In a value the quotes are escaped.
        let value = serde_json::json!({ "a": format!("{TOKEN}{token}\"") }).to_string();
        assert_eq!(without_token(&value), None);
        assert_eq!(without_token("{}"), None);
    }
}
