//! Reading a template as the facts that the local ends are built from.

use super::api::{Environment, read_api};
use super::facts::{ApiFacts, TableFacts};
use super::node::{Template, TemplateError};
use super::table::read_table;

/// The template that deploys this version, as text.
pub const TEMPLATE: &str = include_str!("../../../template.yaml");

/// Everything that is read of the template.
pub struct TemplateFacts {
    /// The table.
    pub table: TableFacts,
    /// The REST API in front of the function.
    pub api: ApiFacts,
    /// The function's environment. A variable whose value exists only in AWS keeps an error instead.
    pub environment: Environment,
}

impl TemplateFacts {
    /// Reads a template's text.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let template = Template::parse(text)?;
        let root = template.root();
        let (api, environment) = read_api(&root)?;
        Ok(Self { table: read_table(&root)?, api, environment })
    }
}
