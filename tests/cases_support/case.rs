//! A case as it stands in its file. A file that could not fail is refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

/// The names of the policies, which a case may choose from.
pub const POLICIES: &[&str] = &["veza", "standard", "strict"];

/// One behaviour.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it is about, with the section or the client.
    pub about: String,
    /// Under which policies it is played.
    #[serde(default = "all_policies")]
    pub policies: Vec<String>,
    /// Whether a whole list is compared, so that nothing else may be there: here nothing is, and
    /// `tests/conformance/play.py` skips the case.
    #[allow(dead_code)]
    #[serde(default, rename = "empty")]
    pub needs_empty_tenant: bool,
    /// What is there before the first step.
    #[serde(default)]
    pub setup: Vec<Setup>,
    /// Requests with their answers.
    pub steps: Vec<Step>,
}

/// A resource that a case begins with.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// A user of this name, complete under every policy; its id is captured as the name.
    pub user: Option<String>,
    /// A group of this name; its id is captured as the name.
    pub group: Option<String>,
    /// Attributes to add or, with null, to leave out.
    #[serde(default)]
    pub with: Map<String, Value>,
}

/// A request and what must come back.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    pub request: Request,
    pub response: Response,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub method: String,
    /// Below the base URL, as it goes over the wire.
    pub path: String,
    /// Parameters, which are encoded and appended to the path.
    #[serde(default)]
    pub query: Map<String, Value>,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// `provision` (as if left out), `read`, `none`, `user:<name>` or the text of a key.
    pub key: Option<String>,
    pub body: Option<Value>,
    /// A body that is no JSON, or is sent just as it stands.
    pub raw: Option<String>,
    /// The number of spaces that are sent after the body.
    #[serde(default)]
    pub padding: usize,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Response {
    pub status: u16,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    pub body: Option<Value>,
    /// The codes in the log line, in any order. Without it they are not compared.
    pub notes: Option<Vec<String>>,
    /// A text that `detail` must hold: what to change at the identity provider.
    pub hint: Option<String>,
}

fn all_policies() -> Vec<String> {
    POLICIES.iter().map(|name| (*name).to_owned()).collect()
}

impl Case {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        let case: Self = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        case.check()?;
        Ok(case)
    }

    fn check(&self) -> Result<(), String> {
        if self.about.trim().len() < 10 {
            return Err("about must say what the case is about".to_owned());
        }
        if self.policies.is_empty() || self.policies.iter().any(|name| !POLICIES.contains(&name.as_str())) {
            return Err(format!("policies must be some of {}", POLICIES.join(", ")));
        }
        if self.steps.is_empty() {
            return Err("without steps nothing is asserted".to_owned());
        }
        if self.setup.iter().any(|setup| setup.user.is_some() == setup.group.is_some()) {
            return Err("setup makes one user or one group each".to_owned());
        }
        for (index, Step { request, response }) in self.steps.iter().enumerate() {
            let wrong = |what: &str| Err(format!("step {}: {what}", index + 1));
            if request.body.is_some() && request.raw.is_some() {
                return wrong("body and raw exclude one another");
            }
            if !request.path.starts_with('/') {
                return wrong("the path begins with a slash");
            }
            match response.body.as_ref() {
                None => return wrong("the whole expected body must be given, or \"absent\""),
                Some(Value::String(text)) if text != "absent" => {
                    return wrong("a body of any text asserts nothing");
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// Every file below a folder, in order.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "json") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
