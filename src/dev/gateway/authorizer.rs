//! The call of the Lambda authorizer, and how long its answer is kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::super::template::facts::AuthorizerFacts;
use super::authorization::Authorization;
use super::lambda::{Clock, Fault, Lambda};
use super::refusal::GatewayRefusal;
use crate::limits::MAX_CACHED_AUTHORIZATIONS;

/// The authorizer before the routes.
pub struct GatewayAuthorizer {
    facts: AuthorizerFacts,
    lambda: Lambda,
    clock: Clock,
    kept: Mutex<HashMap<String, (SystemTime, Arc<Authorization>)>>,
}

impl GatewayAuthorizer {
    /// The authorizer as the template declares it, answered by this function.
    pub fn new(facts: AuthorizerFacts, lambda: Lambda, clock: Clock) -> Self {
        Self { facts, lambda, clock, kept: Mutex::default() }
    }

    /// The header that carries the token.
    pub fn header(&self) -> &str {
        &self.facts.header
    }

    /// What the authorizer says of this token. A token of another form is refused without asking; an answer,
    /// Allow or Deny, is kept for the time that the template says; an error is not kept.
    ///
    /// # Errors
    /// The refusal that the gateway answers with.
    pub async fn authorize(
        &self,
        token: Option<&str>,
        method_arn: &str,
    ) -> Result<Arc<Authorization>, GatewayRefusal> {
        let token = token.filter(|token| !token.is_empty()).ok_or(GatewayRefusal::Unauthorized)?;
        if self.facts.expression.as_ref().is_some_and(|expression| !expression.is_match(token)) {
            return Err(GatewayRefusal::Unauthorized);
        }
        if let Some(kept) = self.find_cached(token) {
            return Ok(kept);
        }
        let event = json!({ "type": "TOKEN", "authorizationToken": token, "methodArn": method_arn });
        let answer = match self.lambda.invoke(event).await {
            Ok(answer) => answer,
            Err(Fault::Error(text)) if text == "Unauthorized" => return Err(GatewayRefusal::Unauthorized),
            Err(fault) => {
                tracing::error!(?fault, "the authorizer failed");
                return Err(GatewayRefusal::AuthorizerFailure);
            }
        };
        let Some(authorization) = Authorization::read(&answer).map(Arc::new) else {
            tracing::error!("the authorizer's answer is not one that API Gateway takes");
            return Err(GatewayRefusal::AuthorizerConfigurationError);
        };
        self.cache(token, &authorization);
        Ok(authorization)
    }

    fn find_cached(&self, token: &str) -> Option<Arc<Authorization>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, authorization) = kept.get(token)?;
        (self.clock.now() < *until).then(|| Arc::clone(authorization))
    }

    fn cache(&self, token: &str, authorization: &Arc<Authorization>) {
        if self.facts.ttl == Duration::ZERO {
            return;
        }
        let now = self.clock.now();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_CACHED_AUTHORIZATIONS {
            kept.retain(|_, (until, _)| now < *until);
        }
        if kept.len() >= MAX_CACHED_AUTHORIZATIONS {
            let oldest = kept.iter().min_by_key(|(_, (until, _))| *until).map(|(token, _)| token.clone());
            oldest.map(|token| kept.remove(&token));
        }
        kept.insert(token.to_owned(), (now + self.facts.ttl, Arc::clone(authorization)));
    }
}
