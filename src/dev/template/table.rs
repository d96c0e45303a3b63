//! The table: keys, TTL.

use super::facts::{AttributeType, TableFacts};
use super::node::{TemplateError, TemplateNode};

/// Reads the one `AWS::DynamoDB::Table`.
///
/// # Errors
/// One line that names the path in the template.
pub fn read_table(root: &TemplateNode<'_>) -> Result<TableFacts, TemplateError> {
    let mut tables = root.resources("AWS::DynamoDB::Table")?;
    let Some((_, table)) = tables.pop().filter(|_| tables.is_empty()) else {
        return Err(TemplateError::new("Resources", "does not hold exactly one AWS::DynamoDB::Table"));
    };
    for unknown in ["GlobalSecondaryIndexes", "LocalSecondaryIndexes"] {
        if let Some(indexes) = table.get(unknown)? {
            return Err(indexes.error("indexes are not understood"));
        }
    }
    let mut types = Vec::new();
    for definition in table.required("AttributeDefinitions")?.items()? {
        let kind = definition.required("AttributeType")?;
        let kind = match kind.text()?.as_str() {
            "S" => AttributeType::Text,
            "N" => AttributeType::Number,
            "B" => AttributeType::Binary,
            _ => return Err(kind.not_understood()),
        };
        types.push((definition.required("AttributeName")?.text()?, kind));
    }
    let (mut hash, mut range) = (None, None);
    for key in table.required("KeySchema")?.items()? {
        let name = key.required("AttributeName")?;
        let text = name.text()?;
        let defined = types.iter().find(|(defined, _)| *defined == text).cloned();
        let defined = defined.ok_or_else(|| name.error(format!("{text} is not in AttributeDefinitions")))?;
        let role = key.required("KeyType")?;
        match role.text()?.as_str() {
            "HASH" => hash = Some(defined),
            "RANGE" => range = Some(defined),
            _ => return Err(role.not_understood()),
        }
    }
    let hash = match hash {
        Some(hash) => hash,
        None => return Err(table.required("KeySchema")?.error("has no HASH key")),
    };
    Ok(TableFacts { hash, range, ttl: ttl(&table)? })
}

fn ttl(table: &TemplateNode<'_>) -> Result<Option<String>, TemplateError> {
    let Some(ttl) = table.get("TimeToLiveSpecification")? else { return Ok(None) };
    let name = ttl.required("AttributeName")?.text()?;
    Ok(ttl.required("Enabled")?.boolean()?.then_some(name))
}

#[cfg(test)]
mod tests {
    use super::super::node::Template;
    use super::*;

    const TEXT: &str = "
Resources:
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      TableName: !Sub '${AWS::StackName}-table'
      AttributeDefinitions:
        - { AttributeName: pk, AttributeType: S }
        - { AttributeName: sk, AttributeType: S }
      KeySchema:
        - { AttributeName: pk, KeyType: HASH }
        - { AttributeName: sk, KeyType: RANGE }
      TimeToLiveSpecification: { AttributeName: ttl, Enabled: true }
      StreamSpecification: { StreamViewType: NEW_AND_OLD_IMAGES }
";

    fn read(text: &str) -> Result<TableFacts, TemplateError> {
        read_table(&Template::parse(text).unwrap().root())
    }

    #[test]
    fn the_table_is_read() {
        let facts = read(TEXT).unwrap();
        assert_eq!(facts.hash, ("pk".to_owned(), AttributeType::Text));
        assert_eq!(facts.range, Some(("sk".to_owned(), AttributeType::Text)));
        assert_eq!(facts.ttl.as_deref(), Some("ttl"));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (from, to, expected) in [
            (
                "pk, KeyType",
                "!Sub '${P}', KeyType",
                "Resources.Table.Properties.KeySchema[0].AttributeName: !Sub is not understood here",
            ),
            (
                "sk, KeyType",
                "other, KeyType",
                "Resources.Table.Properties.KeySchema[1].AttributeName: other is not in AttributeDefinitions",
            ),
            (
                "RANGE",
                "SORT",
                "Resources.Table.Properties.KeySchema[1].KeyType: \"SORT\" is not understood here",
            ),
            ("KeyType: HASH", "KeyType: RANGE", "Resources.Table.Properties.KeySchema: has no HASH key"),
            (
                "Enabled: true",
                "Enabled: !If [a, b, c]",
                "Resources.Table.Properties.TimeToLiveSpecification.Enabled: !If is not understood here",
            ),
            (
                "StreamSpecification:",
                "GlobalSecondaryIndexes:",
                "Resources.Table.Properties.GlobalSecondaryIndexes: indexes are not understood",
            ),
        ] {
            let error = read(&TEXT.replace(from, to)).unwrap_err();
            assert_eq!(error.to_string(), format!("template.yaml: {expected}"));
        }
    }
}
