//! A gateway response: a status, headers and bodies with simple `$context` substitution.

use std::collections::BTreeMap;

use super::node::{TemplateError, TemplateNode};

/// A variable that a gateway response may show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    /// `$context.requestId`
    RequestId,
    /// `$context.extendedRequestId`
    ExtendedRequestId,
    /// `$context.error.message`
    Message,
    /// `$context.error.messageString`: the message as a JSON string.
    MessageString,
    /// `$context.error.responseType`
    ResponseType,
    /// `$context.httpMethod`
    HttpMethod,
    /// `$context.path`
    Path,
    /// `$context.stage`
    Stage,
    /// `$context.authorizer.<name>`
    Authorizer(String),
}

impl Variable {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "requestId" => Self::RequestId,
            "extendedRequestId" => Self::ExtendedRequestId,
            "error.message" => Self::Message,
            "error.messageString" => Self::MessageString,
            "error.responseType" => Self::ResponseType,
            "httpMethod" => Self::HttpMethod,
            "path" => Self::Path,
            "stage" => Self::Stage,
            _ => Self::Authorizer(
                name.strip_prefix("authorizer.").filter(|name| !name.contains('.'))?.to_owned(),
            ),
        })
    }
}

/// A piece of a body or header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Stands as it is.
    Literal(String),
    /// Is replaced.
    Variable(Variable),
}

/// A customised gateway response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayResponse {
    /// The status, if it is not the type's own.
    pub status: Option<u16>,
    /// Headers by name.
    pub headers: BTreeMap<String, Vec<Piece>>,
    /// Bodies by media type.
    pub bodies: BTreeMap<String, Vec<Piece>>,
}

impl GatewayResponse {
    /// Reads one. In SAM's form (`GatewayResponses` of a `AWS::Serverless::Api`) the headers stand under
    /// `ResponseParameters.Headers` by their names; in CloudFormation's they are
    /// `gatewayresponse.header.<name>`.
    ///
    /// # Errors
    /// One line that names the path in the template.
    pub fn read(node: &TemplateNode<'_>) -> Result<Self, TemplateError> {
        let mut response = Self::default();
        if let Some(status) = node.get("StatusCode")? {
            let code = u16::try_from(status.integer()?).ok().filter(|code| (100..600).contains(code));
            response.status = Some(code.ok_or_else(|| status.not_understood())?);
        }
        if let Some(parameters) = node.get("ResponseParameters")? {
            for (name, value) in parameters.entries()? {
                match name.strip_prefix("gatewayresponse.header.") {
                    Some(header) => drop(response.headers.insert(header.to_owned(), header_value(&value)?)),
                    None if name == "Headers" => {
                        for (header, value) in value.entries()? {
                            response.headers.insert(header.to_owned(), header_value(&value)?);
                        }
                    }
                    None => return Err(value.error("only headers are understood here")),
                }
            }
        }
        if let Some(templates) = node.get("ResponseTemplates")? {
            for (media_type, body) in templates.entries()? {
                response.bodies.insert(media_type.to_owned(), pieces(&body, &body.text()?)?);
            }
        }
        Ok(response)
    }
}

/// `'text'`, or `context.<name>`.
fn header_value(node: &TemplateNode<'_>) -> Result<Vec<Piece>, TemplateError> {
    let text = node.text()?;
    let quoted = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
    if let Some(literal) = quoted {
        return Ok(vec![Piece::Literal(literal.to_owned())]);
    }
    let variable = text.strip_prefix("context.").and_then(Variable::named);
    variable.map(|variable| vec![Piece::Variable(variable)]).ok_or_else(|| node.not_understood())
}

/// Splits a body at its `$context` variables.
fn pieces(node: &TemplateNode<'_>, text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        let (before, after) = rest.split_at(dollar);
        literal.push_str(before);
        let end = after[1..].find(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_'));
        let (name, tail) = after[1..].split_at(end.unwrap_or(after.len() - 1));
        let trimmed = name.trim_end_matches('.');
        match trimmed.strip_prefix("context.").and_then(Variable::named) {
            Some(variable) => {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                pieces.push(Piece::Variable(variable));
                literal.push_str(&name[trimmed.len()..]);
            }
            None => return Err(node.error(format!("${trimmed} is not understood here"))),
        }
        rest = tail;
    }
    literal.push_str(rest);
    pieces.push(Piece::Literal(literal));
    pieces.retain(|piece| *piece != Piece::Literal(String::new()));
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::super::node::Template;
    use super::*;

    fn read(text: &str) -> Result<GatewayResponse, TemplateError> {
        GatewayResponse::read(&Template::parse(text).unwrap().root())
    }

    #[test]
    fn both_forms_are_read() {
        let sam = read(
            "
StatusCode: 401
ResponseParameters: { Headers: { WWW-Authenticate: \"'Bearer'\", X-Id: context.requestId } }
ResponseTemplates: { application/json: '{\"detail\":$context.error.messageString,\"id\":\"$context.requestId.\"}' }
",
        );
        let cloudformation = read(
            "
StatusCode: '401'
ResponseParameters:
  gatewayresponse.header.WWW-Authenticate: \"'Bearer'\"
  gatewayresponse.header.X-Id: context.requestId
ResponseTemplates: { application/json: '{\"detail\":$context.error.messageString,\"id\":\"$context.requestId.\"}' }
",
        );
        let response = sam.unwrap();
        assert_eq!(Ok(&response), cloudformation.as_ref());
        assert_eq!(response.status, Some(401));
        assert_eq!(
            response.bodies["application/json"],
            [
                Piece::Literal("{\"detail\":".to_owned()),
                Piece::Variable(Variable::MessageString),
                Piece::Literal(",\"id\":\"".to_owned()),
                Piece::Variable(Variable::RequestId),
                Piece::Literal(".\"}".to_owned()),
            ]
        );
    }

    #[test]
    fn anything_beyond_simple_substitution_is_refused() {
        for (text, expected) in [
            (
                "ResponseTemplates: { application/json: '$input.body' }",
                "ResponseTemplates.application/json: $input.body is not understood here",
            ),
            (
                "ResponseTemplates: { application/json: '${context.path}' }",
                "ResponseTemplates.application/json: $ is not understood here",
            ),
            (
                "ResponseTemplates: { application/json: !Sub x }",
                "ResponseTemplates.application/json: !Sub is not understood here",
            ),
            (
                "ResponseParameters: { Headers: { A: method.request.header.B } }",
                "ResponseParameters.Headers.A: \"method.request.header.B\" is not understood here",
            ),
            (
                "ResponseParameters: { Paths: { A: \"'b'\" } }",
                "ResponseParameters.Paths: only headers are understood here",
            ),
            ("StatusCode: 1000", "StatusCode: 1000 is not understood here"),
        ] {
            assert_eq!(read(text).unwrap_err().to_string(), format!("template.yaml: {expected}"));
        }
    }
}
