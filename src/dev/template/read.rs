//! Reading a template as the facts that the local ends are built from.

use super::api::{APP_API, Environment, OAUTH_API, SCIM_API, read_api};
use super::facts::{ApiFacts, TableFacts};
use super::node::{Template, TemplateError};
use super::table::read_table;

/// The template that deploys this version, as text.
pub const TEMPLATE: &str = include_str!("../../../template.yaml");

/// Everything that is read of the template.
pub struct TemplateFacts {
    /// The table.
    pub table: TableFacts,
    /// The REST API for identity providers.
    pub api: ApiFacts,
    /// The REST API for applications.
    pub app_api: ApiFacts,
    /// The REST API of the token endpoint.
    pub oauth_api: ApiFacts,
    /// The function's environment. A variable whose value exists only in AWS keeps an error instead.
    pub environment: Environment,
}

impl TemplateFacts {
    /// Reads a template's text.
    ///
    /// # Errors
    /// One line that names the path in the template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let template = Template::parse(text)?;
        let root = template.root();
        let (api, environment) = read_api(&root, SCIM_API)?;
        let (app_api, _) = read_api(&root, APP_API)?;
        let (oauth_api, _) = read_api(&root, OAUTH_API)?;
        Ok(Self { table: read_table(&root)?, api, app_api, oauth_api, environment })
    }
}
