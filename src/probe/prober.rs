//! Invokes the function with the requests of the probe, and reports how it went.

use bytes::Bytes;
use serde_json::{Value, json};

use super::requests::ProbeRequest;
use super::signed_call::{AwsCaller, CONTENT_TYPE_AWS_JSON, CONTENT_TYPE_JSON, Call, CallAnswer};
use crate::config;
use crate::limits::PROBE_TIME;

/// The header with which Lambda tells that the function failed: it ended, or it took too long.
const FUNCTION_ERROR: &str = "x-amz-function-error";

/// A version or an alias of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionRef {
    name: String,
    qualifier: String,
}

impl FunctionRef {
    /// Reads `arn:{partition}:lambda:{region}:{account}:function:{name}:{qualifier}`.
    ///
    /// # Errors
    /// One line, if it is no such ARN.
    pub fn parse(arn: &str) -> Result<Self, String> {
        let parts: Vec<&str> = arn.split(':').collect();
        let is_word = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_$".contains(&byte))
        };
        match parts[..] {
            ["arn", _, "lambda", _, _, "function", name, qualifier]
                if is_word(name) && is_word(qualifier) =>
            {
                Ok(Self { name: name.to_owned(), qualifier: qualifier.to_owned() })
            }
            _ => Err(format!(
                "{} must be the ARN of a function with a version or an alias",
                config::PROBED_FUNCTION
            )),
        }
    }
}

/// What CodeDeploy says of a deployment when it runs the hook.
struct HookRun {
    deployment: String,
    execution: String,
}

impl HookRun {
    fn read(event: &Value) -> Option<Self> {
        let text = |name: &str| event.get(name)?.as_str().map(str::to_owned);
        Some(Self { deployment: text("DeploymentId")?, execution: text("LifecycleEventHookExecutionId")? })
    }
}

/// Handles an event: that of CodeDeploy, or one of a schedule.
///
/// # Errors
/// One line. For CodeDeploy: if the status could not be put. CodeDeploy then fails the deployment. For a schedule: if the
/// function did not answer as it should. Lambda counts it as an error of the probe.
pub async fn handle(event: &Value) -> Result<(), String> {
    let caller = AwsCaller::from_env()?;
    match HookRun::read(event) {
        Some(run) => {
            let outcome = probe(&caller).await;
            log(&outcome);
            report(&caller, &run, outcome.is_ok()).await
        }
        None if event.get("DeploymentId").is_some() => {
            Err("the event of CodeDeploy has no LifecycleEventHookExecutionId".to_owned())
        }
        None => {
            let outcome = probe(&caller).await;
            log(&outcome);
            outcome
        }
    }
}

fn log(outcome: &Result<(), String>) {
    match outcome {
        Ok(()) => tracing::info!("the function answers as it should"),
        Err(why) => tracing::error!(why, "the function does not answer as it should"),
    }
}

/// Tries the function.
///
/// # Errors
/// One line about the first request that failed.
async fn probe(caller: &AwsCaller) -> Result<(), String> {
    let required = |name| config::required(name).map_err(|missing| missing.to_string());
    let function = FunctionRef::parse(&required(config::PROBED_FUNCTION)?)?;
    let url = required(config::LAMBDA_URL)?;
    let all = async {
        for request in ProbeRequest::all() {
            invoke(caller, &url, &function, &request).await?;
        }
        Ok(())
    };
    match tokio::time::timeout(PROBE_TIME, all).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("not finished within {} seconds", PROBE_TIME.as_secs())),
    }
}

async fn invoke(
    caller: &AwsCaller,
    url: &str,
    function: &FunctionRef,
    request: &ProbeRequest,
) -> Result<(), String> {
    let path =
        format!("/2015-03-31/functions/{}/invocations?Qualifier={}", function.name, function.qualifier);
    let call = Call {
        service: "lambda",
        url,
        path: &path,
        headers: &[CONTENT_TYPE_JSON],
        body: Bytes::from(request.event.to_string()),
    };
    let name = request.name;
    let answer = caller.send(&call).await.map_err(|why| format!("{name}: Lambda gave {why}"))?;
    if !answer.status.is_success() {
        return Err(format!("{name}: {}", refusal("Lambda", &answer)));
    }
    if answer.headers.contains_key(FUNCTION_ERROR) {
        return Err(format!("{name}: the function ended without an answer"));
    }
    request.judge(&answer.body)
}

/// Tells CodeDeploy whether it may move requests to the new version.
async fn report(caller: &AwsCaller, run: &HookRun, has_succeeded: bool) -> Result<(), String> {
    let url = config::required(config::CODEDEPLOY_URL).map_err(|missing| missing.to_string())?;
    let body = json!({
        "deploymentId": run.deployment,
        "lifecycleEventHookExecutionId": run.execution,
        "status": if has_succeeded { "Succeeded" } else { "Failed" },
    });
    let call = Call {
        service: "codedeploy",
        url: &url,
        path: "/",
        headers: &[
            CONTENT_TYPE_AWS_JSON,
            ("x-amz-target", "CodeDeploy_20141006.PutLifecycleEventHookExecutionStatus"),
        ],
        body: Bytes::from(body.to_string()),
    };
    let answer = caller.send(&call).await.map_err(|why| format!("CodeDeploy gave {why}"))?;
    if answer.status.is_success() { Ok(()) } else { Err(refusal("CodeDeploy", &answer)) }
}

/// What a service said instead of doing it: the status, and the name of the error.
fn refusal(service: &str, answer: &CallAnswer) -> String {
    let header = answer.headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let member = body.as_ref().and_then(|body| body.get("__type")?.as_str());
    let name = header.or(member).unwrap_or_default();
    format!("{service} answered {} {name}", answer.status.as_u16()).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_named_with_a_version_or_an_alias() {
        let good = "arn:aws:lambda:eu-west-1:123456789012:function:stack-ScimFunction-1A:7";
        let function = FunctionRef { name: "stack-ScimFunction-1A".to_owned(), qualifier: "7".to_owned() };
        assert_eq!(FunctionRef::parse(good), Ok(function));
        for bad in
            ["", "scim", "arn:aws:lambda:eu-west-1:123456789012:function:scim", &format!("{good}/../x")]
        {
            assert!(FunctionRef::parse(bad).is_err(), "{bad}");
        }
    }
}
