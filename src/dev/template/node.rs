//! A place in the template: a YAML value, its path, and the parameters that a `Ref` may name.

use std::fmt;

use yaml_serde::{Mapping, Value};

/// Why the template cannot be used: where, and what stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    path: String,
    problem: String,
}

impl TemplateError {
    /// A problem at this path.
    pub fn new(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { path: path.into(), problem: problem.into() }
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "template.yaml: {}: {}", self.path, self.problem)
    }
}

impl std::error::Error for TemplateError {}

/// A template that has been parsed as YAML.
pub struct Template(Value);

impl Template {
    /// Reads the YAML text.
    ///
    /// # Errors
    /// One line of the YAML parser.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        yaml_serde::from_str(text)
            .map(Self)
            .map_err(|error| TemplateError::new("(whole file)", format!("is not YAML: {error}")))
    }

    /// The top of the document.
    pub fn root(&self) -> TemplateNode<'_> {
        TemplateNode { root: &self.0, value: &self.0, path: String::new() }
    }
}

/// A value in the template and the way to it.
#[derive(Clone)]
pub struct TemplateNode<'a> {
    root: &'a Value,
    value: &'a Value,
    path: String,
}

impl<'a> TemplateNode<'a> {
    /// The path, as `Resources.Table.Properties.KeySchema[0]`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// A problem at this place.
    pub fn error(&self, problem: impl Into<String>) -> TemplateError {
        TemplateError::new(self.path.clone(), problem)
    }

    /// The error for a value that this code does not understand.
    pub fn not_understood(&self) -> TemplateError {
        self.error(format!("{} is not understood here", describe(self.value)))
    }

    fn child(&self, value: &'a Value, step: &str) -> Self {
        let path = if self.path.is_empty() { step.to_owned() } else { format!("{}.{step}", self.path) };
        Self { root: self.root, value, path }
    }

    fn mapping(&self) -> Result<&'a Mapping, TemplateError> {
        match self.value {
            Value::Mapping(mapping) => Ok(mapping),
            _ => Err(self.not_understood()),
        }
    }

    /// The value under this key, if the mapping has one that is not null.
    ///
    /// # Errors
    /// One line that names the path in the template.
    pub fn get(&self, key: &str) -> Result<Option<Self>, TemplateError> {
        let found = self.mapping()?.get(key).filter(|value| !matches!(value, Value::Null));
        Ok(found.map(|value| self.child(value, key)))
    }

    /// The value under this key, which must be there.
    ///
    /// # Errors
    /// One line that names the path in the template.
    pub fn required(&self, key: &str) -> Result<Self, TemplateError> {
        self.get(key)?.ok_or_else(|| self.error(format!("has no {key}")))
    }

    /// The value at the end of these keys, if every mapping on the way has it.
    ///
    /// # Errors
    /// One line that names the path in the template.
    pub fn find(&self, keys: &[&str]) -> Result<Option<Self>, TemplateError> {
        let mut node = self.clone();
        for key in keys {
            match node.get(key)? {
                Some(next) => node = next,
                None => return Ok(None),
            }
        }
        Ok(Some(node))
    }

    /// Every key and value of a mapping.
    ///
    /// # Errors
    /// One line that names the path in the template.
    pub fn entries(&self) -> Result<Vec<(&'a str, Self)>, TemplateError> {
        self.mapping()?
            .iter()
            .map(|(key, value)| match key {
                Value::String(key) => Ok((key.as_str(), self.child(value, key))),
                _ => Err(self.error(format!("the key {} is not text", describe(key)))),
            })
            .collect()
    }

    /// Every item of a list.
    ///
    /// # Errors
    /// One line that names the path in the template.
    pub fn items(&self) -> Result<Vec<Self>, TemplateError> {
        let Value::Sequence(items) = self.value else { return Err(self.not_understood()) };
        let item = |(index, value)| Self { root: self.root, value, path: format!("{}[{index}]", self.path) };
        Ok(items.iter().enumerate().map(item).collect())
    }

    /// The name in a `!Ref` or `Ref:`, if that is what stands here.
    pub fn reference(&self) -> Option<&'a str> {
        match self.value {
            Value::Tagged(tagged) if tagged.tag == "Ref" => tagged.value.as_str(),
            Value::Mapping(mapping) if mapping.len() == 1 => mapping.get("Ref").and_then(Value::as_str),
            _ => None,
        }
    }

    /// What an `!If` chooses when its condition holds, if an `!If` stands here.
    pub fn first_choice(&self) -> Option<Self> {
        let Value::Tagged(tagged) = self.value else { return None };
        if tagged.tag != "If" {
            return None;
        }
        tagged.value.as_sequence()?.get(1).map(|value| self.child(value, "If"))
    }

    /// The scalar: a literal, or the default of the parameter that a `Ref` names.
    fn scalar(&self) -> Result<&'a Value, TemplateError> {
        let Some(name) = self.reference() else {
            return match self.value {
                Value::String(_) | Value::Number(_) | Value::Bool(_) => Ok(self.value),
                _ => Err(self.not_understood()),
            };
        };
        let parameter = self.root.get("Parameters").and_then(|parameters| parameters.get(name));
        match parameter.and_then(|parameter| parameter.get("Default")) {
            Some(default @ (Value::String(_) | Value::Number(_) | Value::Bool(_))) => Ok(default),
            _ => Err(self.error(format!("!Ref {name} does not name a parameter with a default"))),
        }
    }

    /// A text; numbers and booleans as CloudFormation writes them.
    ///
    /// # Errors
    /// One line that names the path in the template.
    pub fn text(&self) -> Result<String, TemplateError> {
        Ok(match self.scalar()? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            _ => return Err(self.not_understood()),
        })
    }

    /// A number, or a text that is one.
    ///
    /// # Errors
    /// One line that names the path in the template.
    pub fn number(&self) -> Result<f64, TemplateError> {
        let text = self.text()?;
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
        number.ok_or_else(|| self.error(format!("{text} is not a number of zero or more")))
    }

    /// A whole number, or a text that is one.
    ///
    /// # Errors
    /// One line that names the path in the template.
    pub fn integer(&self) -> Result<u32, TemplateError> {
        let text = self.text()?;
        text.parse().map_err(|_| self.error(format!("{text} is not a whole number")))
    }

    /// A boolean, or a text that is one.
    ///
    /// # Errors
    /// One line that names the path in the template.
    pub fn boolean(&self) -> Result<bool, TemplateError> {
        let text = self.text()?;
        text.parse().map_err(|_| self.error(format!("{text} is not true or false")))
    }

    /// The resources of this type, each with its name and its `Properties` (absent: none).
    ///
    /// # Errors
    /// One line that names the path in the template.
    pub fn resources(&self, kind: &str) -> Result<Vec<(&'a str, Self)>, TemplateError> {
        let mut found = Vec::new();
        for (name, resource) in self.required("Resources")?.entries()? {
            if resource.required("Type")?.text()? == kind {
                found.push((name, resource.required("Properties")?));
            }
        }
        Ok(found)
    }
}

/// What stands at a place, in a few words.
fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("{text:?}"),
        Value::Sequence(_) => "a list".to_owned(),
        Value::Mapping(mapping) => match mapping.keys().next().and_then(Value::as_str) {
            Some(key) if mapping.len() == 1 && (key == "Ref" || key.starts_with("Fn::")) => key.to_owned(),
            _ => "a mapping".to_owned(),
        },
        Value::Tagged(tagged) => tagged.tag.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
Parameters:
  Ttl: { Type: Number, Default: 60 }
  Name: { Type: String }
Resources:
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      Literal: 3.5
      Short: !Ref Ttl
      Long: { Ref: Ttl }
      NoDefault: !Ref Name
      Resource: !Ref Table
      Sub: !Sub '${Ttl}-x'
      If: { Fn::If: [a, b, c] }
      List: [{ Name: pk }, { Name: !GetAtt Table.Arn }]
      Empty:
";

    fn at<'a>(template: &'a Template, key: &str) -> TemplateNode<'a> {
        let table = template.root().resources("AWS::DynamoDB::Table").unwrap().remove(0).1;
        table.required(key).unwrap()
    }

    #[test]
    fn literals_and_references_to_defaults_are_read() {
        let template = Template::parse(TEXT).unwrap();
        assert_eq!(at(&template, "Literal").number(), Ok(3.5));
        assert_eq!(at(&template, "Short").integer(), Ok(60));
        assert_eq!(at(&template, "Long").text(), Ok("60".to_owned()));
        assert!(at(&template, "Short").boolean().is_err());
        assert_eq!(
            at(&template, "List").items().unwrap()[0].required("Name").unwrap().text(),
            Ok("pk".to_owned())
        );
    }

    #[test]
    fn everything_else_is_refused_by_its_path() {
        let template = Template::parse(TEXT).unwrap();
        for (key, expected) in [
            ("Sub", "Resources.Table.Properties.Sub: !Sub is not understood here"),
            ("If", "Resources.Table.Properties.If: Fn::If is not understood here"),
            ("List", "Resources.Table.Properties.List: a list is not understood here"),
            (
                "NoDefault",
                "Resources.Table.Properties.NoDefault: !Ref Name does not name a parameter with a default",
            ),
            (
                "Resource",
                "Resources.Table.Properties.Resource: !Ref Table does not name a parameter with a default",
            ),
        ] {
            let error = at(&template, key).text().unwrap_err();
            assert_eq!(error.to_string(), format!("template.yaml: {expected}"));
        }
        let item = at(&template, "List").items().unwrap().remove(1).required("Name").unwrap();
        assert_eq!(
            item.text().unwrap_err().to_string(),
            "template.yaml: Resources.Table.Properties.List[1].Name: !GetAtt is not understood here"
        );
        let table = template.root().resources("AWS::DynamoDB::Table").unwrap().remove(0).1;
        assert_eq!(table.required("Empty").map(|_| ()).unwrap_err().problem, "has no Empty");
        assert!(Template::parse("a: [").is_err());
    }
}
