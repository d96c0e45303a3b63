//! What a command prints: rows for people, or the same as JSON.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use serde_json::{Map, Value};

use super::error::AdminError;

/// How a command prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Columns, or a line per field.
    #[default]
    Table,
    /// JSON.
    Json,
}

/// Asks on a terminal for a text to be typed, before something is done for good. `what` is what will be
/// done, as a sentence without its end; `name` is what the text is.
///
/// # Errors
/// [`AdminError::Input`] if there is no terminal, or if another text was typed.
pub fn confirm(what: &str, name: &str, expected: &str) -> Result<(), AdminError> {
    let nobody = || AdminError::Input(format!("{what}: pass --yes to go on"));
    if !std::io::stdin().is_terminal() {
        return Err(nobody());
    }
    let mut err = std::io::stderr();
    let question = format!("{what}. Type {name}: ");
    err.write_all(question.as_bytes()).and_then(|()| err.flush()).map_err(|_| nobody())?;
    let mut typed = String::new();
    std::io::stdin().lock().read_line(&mut typed).map_err(|_| nobody())?;
    if typed.trim() == expected {
        return Ok(());
    }
    Err(AdminError::Input(format!("that is not {name}: nothing was done")))
}

/// Says something on stderr that is not part of the output.
pub fn note(text: &str) {
    // A terminal that has gone is no reason to stop.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// One thing: a line per field, or an object.
pub fn show_fields(format: Format, fields: &Map<String, Value>) -> String {
    match format {
        Format::Json => pretty(&Value::Object(fields.clone())),
        Format::Table => {
            let width = fields.keys().map(|name| label(name).chars().count()).max().unwrap_or(0);
            let line =
                |(name, value): (&String, &Value)| format!("{:width$}  {}\n", label(name), cell(value));
            fields.iter().map(line).collect()
        }
    }
}

/// Many things: columns under their names, or an array of objects. `columns` says which and in what
/// order; JSON has them all.
pub fn show_rows(format: Format, columns: &[&str], rows: &[Map<String, Value>]) -> String {
    if format == Format::Json {
        return pretty(&Value::Array(rows.iter().cloned().map(Value::Object).collect()));
    }
    let mut lines: Vec<Vec<String>> = vec![columns.iter().map(|name| label(name).to_uppercase()).collect()];
    lines.extend(
        rows.iter()
            .map(|row| columns.iter().map(|name| cell(row.get(*name).unwrap_or(&Value::Null))).collect()),
    );
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// `usageKey` reads `usage key`.
fn label(name: &str) -> String {
    let mut text = String::new();
    for character in name.chars() {
        if character.is_uppercase() {
            text.push(' ');
        }
        text.extend(character.to_lowercase());
    }
    text
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        // A name may hold what moves the cursor.
        Value::String(text) => text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect(),
        other => other.to_string(),
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// The fields of a JSON object, to be printed.
pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn rows_stand_in_columns_and_lines() {
        let rows =
            [row(json!({ "keyId": "key_1", "name": "Okta" })), row(json!({ "keyId": "k", "name": null }))];
        assert_eq!(
            show_rows(Format::Table, &["keyId", "name"], &rows),
            "KEY ID  NAME\nkey_1   Okta\nk       -\n"
        );
        assert_eq!(show_fields(Format::Table, &rows[0]), "key id  key_1\nname    Okta\n");
        assert_eq!(show_rows(Format::Json, &["keyId"], &[]), "[]\n");
        assert_eq!(show_fields(Format::Json, &row(json!({ "a": 1 }))), "{\n  \"a\": 1\n}\n");
    }
}
