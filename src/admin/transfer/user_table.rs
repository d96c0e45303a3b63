//! A table of users, whose first line names the columns.

use std::io::Read as _;

use serde_json::{Map, Value, json};

use super::rows::Row;
use crate::admin::error::AdminError;
use crate::scim::attr_path::AttrPath;
use crate::scim::refusal::shorten_text;
use crate::scim::resource_type::{AttributeTarget, Kind, Resolved, ResourceType};
use crate::scim::schema::Type;
use crate::scim::urn;

/// A column: its heading, and what the cells below it are.
struct Column<'a> {
    heading: String,
    target: AttributeTarget<'a>,
}

/// Reads a table of users. A heading is the path of an attribute of `users`, the type of users, in any case:
/// `userName`, `name.givenName`, `urn:…:User:department`. An attribute with a sub-attribute `value` needs no more than its
/// own name, and `emails` is the primary address. Empty cells are left out.
///
/// # Errors
/// [`AdminError::Input`]:
/// - for headings that cannot be read, that no schema has, or that exclude one another
/// - for a quote that is never closed, since it hides the lines below it
pub fn user_table(text: &str, users: &ResourceType) -> Result<Vec<Row>, AdminError> {
    let lines = text.as_bytes().chain(LAST_LINE);
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(lines);
    let headings = reader
        .headers()
        .map_err(|error| AdminError::Input(format!("the headings cannot be read: {error}")))?;
    if text.trim().is_empty() {
        return Err(AdminError::Input(NO_HEADINGS.to_owned()));
    }
    if headings.len() == 1 && headings[0].contains([';', '\t']) {
        let problem =
            "the columns must be separated by commas, as in userName,title; the first line has no comma";
        return Err(AdminError::Input(problem.to_owned()));
    }
    let columns = headings.iter().map(|heading| column(heading, users)).collect::<Result<Vec<_>, _>>();
    let columns = columns.map_err(AdminError::Input)?;
    check_columns(&columns).map_err(AdminError::Input)?;
    let mut lines = LineNumbers { text: text.as_bytes(), at: 0, line: 1 };
    let mut rows = Vec::new();
    for record in reader.records() {
        let record =
            record.map_err(|error| AdminError::Input(format!("the table cannot be read: {error}")))?;
        let line = lines.line_of(record.position());
        rows.push(Row { line, resource: user(&columns, &record).map(|user| (Kind::User, user)) });
    }
    let last = rows.pop().map_or(1, |row| row.line);
    if lines.at == text.len() {
        return Ok(rows);
    }
    Err(AdminError::Input(format!(
        "line {last}: a cell begins with a quote (\") that is never closed, so all below belongs to it; close the quote. Nothing was imported"
    )))
}

/// A line that is read behind the table. If the last row begins before it, a quote is still open.
const LAST_LINE: &[u8] = b"\n.";

const NO_HEADINGS: &str = "the first line must name the columns, userName among them";

/// Counts the lines up to each row.
struct LineNumbers<'t> {
    text: &'t [u8],
    /// Where the count stands.
    at: usize,
    /// The number of the line there, from 1.
    line: usize,
}

impl LineNumbers<'_> {
    /// The line in which the row at this position begins. The reader puts a row before the empty lines above it, and before
    /// the second byte of a line end of two bytes.
    fn line_of(&mut self, position: Option<&csv::Position>) -> usize {
        let from = position.and_then(|position| usize::try_from(position.byte()).ok()).unwrap_or(self.at);
        let is_line_end = |byte: &&u8| matches!(byte, b'\r' | b'\n');
        let ends = self.text.iter().skip(from).take_while(is_line_end).count();
        let to = (from + ends).clamp(self.at, self.text.len());
        self.line += self.text[self.at..to].iter().filter(|byte| **byte == b'\n').count();
        self.at = to;
        self.line
    }
}

fn column<'a>(heading: &str, users: &'a ResourceType) -> Result<Column<'a>, String> {
    let path = AttrPath::parse(heading).ok();
    let Some(Resolved::Attribute(target)) = path.and_then(|path| users.resolve(&path)) else {
        return Err(format!(
            "the column {:?} is no attribute of a user; write its name as in SCIM, such as userName",
            shorten_text(heading)
        ));
    };
    // Rows name their manager by the id of the file. An import may make local accounts.
    let is_carried = target.path() == "id" || target.path() == [urn::ROLLCALL_USER, ":account"].concat();
    if !is_carried && (target.attribute.is_read_only() || target.path() == "schemas") {
        return Err(format!("the column {heading} is written by the service alone; remove it"));
    }
    if target.leaf().kind == Type::Complex && target.leaf().sub_attribute("value").is_none() {
        let path = target.path();
        let example = target.leaf().sub_attributes.first().map_or("value", |sub| &sub.name);
        return Err(format!("the column {heading} must name a part of {path}, such as {path}.{example}"));
    }
    Ok(Column { heading: heading.to_owned(), target })
}

/// Refuses a table without `userName`, and two columns for one value.
fn check_columns(columns: &[Column<'_>]) -> Result<(), String> {
    let mut is_named = false;
    for (at, column) in columns.iter().enumerate() {
        is_named |= column.target.path() == "userName";
        let other = columns[..at].iter().find(|other| {
            let is_same_attribute = other.target.attribute.path == column.target.attribute.path;
            is_same_attribute && (other.part() == column.part() || other.is_whole() || column.is_whole())
        });
        if let Some(other) = other {
            let (one, two) = (&other.heading, &column.heading);
            return Err(format!("the columns {one} and {two} exclude one another; keep one of them"));
        }
    }
    if is_named { Ok(()) } else { Err(NO_HEADINGS.to_owned()) }
}

impl Column<'_> {
    /// The sub-attribute that the cells are.
    fn part(&self) -> Option<&str> {
        let sub = self.target.sub.map(|sub| sub.name.as_str());
        sub.or_else(|| (self.target.attribute.kind == Type::Complex).then_some("value"))
    }

    /// Whether the column is all that the table has of its attribute: `emails` also says the type.
    fn is_whole(&self) -> bool {
        self.target.sub.is_none()
    }

    /// Puts a cell into a user.
    fn put(&self, cell: &str, user: &mut Map<String, Value>) {
        let attribute = self.target.attribute;
        let value = match cell.to_ascii_lowercase().as_str() {
            "true" if self.target.leaf().kind == Type::Boolean => json!(true),
            "false" if self.target.leaf().kind == Type::Boolean => json!(false),
            _ => json!(cell),
        };
        let holder = match self.target.extension {
            Some(urn) => user.entry(urn).or_insert_with(|| json!({})).as_object_mut(),
            None => Some(user),
        };
        let Some(holder) = holder else { return };
        let Some(part) = self.part() else {
            holder.insert(attribute.name.clone(), value);
            return;
        };
        let empty = if attribute.multi_valued { json!([{}]) } else { json!({}) };
        let object = match holder.entry(attribute.name.clone()).or_insert(empty) {
            Value::Array(all) => all.first_mut().and_then(Value::as_object_mut),
            one => one.as_object_mut(),
        };
        let Some(object) = object else { return };
        object.insert(part.to_owned(), value);
        if self.is_whole() && attribute.path == "emails" {
            object.extend([("type".to_owned(), json!("work")), ("primary".to_owned(), json!(true))]);
        }
    }
}

/// # Errors
/// What is wrong with the row.
fn user(columns: &[Column<'_>], record: &csv::StringRecord) -> Result<Map<String, Value>, String> {
    let (cells, headings) = (record.len(), columns.len());
    if cells != headings {
        return Err(format!("the row has {cells} cells, and the first line names {headings} columns"));
    }
    let mut user = Map::new();
    user.insert("schemas".to_owned(), json!([urn::USER]));
    for (column, cell) in columns.iter().zip(record).filter(|(_, cell)| !cell.is_empty()) {
        column.put(cell, &mut user);
    }
    Ok(user)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::policy::STANDARD;
    use crate::scim::resource_type::Model;

    fn read(text: &str) -> Result<Vec<Row>, String> {
        let model = Model::new(&STANDARD, &[]).expect("the built-in types");
        user_table(text, model.of(Kind::User)).map_err(|error| error.to_string())
    }

    fn first(text: &str) -> Value {
        Value::Object(read(text).expect("rows")[0].resource.clone().expect("a user").1)
    }

    #[test]
    fn a_table_becomes_users() {
        let rows = read(
            "userName, name.givenName, emails, active\na@x.y,Ada,a@x.y,FALSE\nb@x.y,,,\nc\n\"d\n\",D,,\n",
        );
        let rows = rows.expect("rows");
        let (kind, user) = rows[0].resource.clone().expect("a user");
        assert_eq!((rows[0].line, kind), (2, Kind::User));
        let expected = json!({
            "schemas": [urn::USER], "userName": "a@x.y", "name": { "givenName": "Ada" },
            "emails": [{ "value": "a@x.y", "type": "work", "primary": true }], "active": false
        });
        assert_eq!(Value::Object(user), expected);
        assert_eq!(rows[1].resource.clone().expect("a user").1["userName"], "b@x.y");
        let few = rows[2].resource.clone().expect_err("too few cells");
        assert_eq!(few, "the row has 1 cells, and the first line names 4 columns");
        assert_eq!(rows[3].resource.clone().expect("a user").1["userName"], "d", "a cell of two lines");
        assert_eq!(rows.len(), 4);
    }

    #[test]
    fn a_row_has_the_number_of_its_line_whatever_ends_the_lines() {
        for end in ["\n", "\r\n"] {
            let text = ["userName,title", "a,x", "", "b,\"one", "two\"", "c", "", "d,y"].join(end);
            for text in [text.clone(), format!("{text}{end}"), format!("{text}{end}{end}")] {
                let rows = read(&text).expect("rows");
                let lines: Vec<_> = rows.iter().map(|row| row.line).collect();
                assert_eq!(lines, [2, 4, 6, 8], "{text:?}");
                assert!(rows[2].resource.is_err());
            }
        }
    }

    #[test]
    fn a_quote_that_is_never_closed_is_refused() {
        for (text, line) in [
            ("userName,title\na,\"b\nc,d\ne,f\n", "line 2:"),
            ("userName,title\r\nx,y\r\na,\"b\r\n", "line 3:"),
            ("userName,title\na,\"", "line 2:"),
            ("userName\na\n\"\n", "line 3:"),
            ("userName\na\n\"", "line 3:"),
            ("userName\n\n\n\"  \n\n", "line 4:"),
        ] {
            let refused = read(text).expect_err(text);
            assert!(refused.starts_with(line) && refused.contains("never closed"), "{refused}");
        }
        assert_eq!(read("userName,title\na,\"b\"").expect("rows").len(), 1);
        for empty in ["userName", "userName\n", "userName\r\n\r\n", "userName\n\n\n"] {
            assert_eq!(read(empty).expect("no rows"), [], "{empty:?}");
        }
    }

    #[test]
    fn a_heading_is_any_path_of_a_user() {
        const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
        let text = format!(
            "USERNAME,emails.value,emails.primary,phoneNumbers,{ENTERPRISE}:department,{ENTERPRISE}:manager,title\n\
             a,a@x.y,true,+1,R&D,7,true\n"
        );
        let expected = json!({
            "schemas": [urn::USER], "userName": "a", "emails": [{ "value": "a@x.y", "primary": true }],
            "phoneNumbers": [{ "value": "+1" }], "title": "true",
            ENTERPRISE: { "department": "R&D", "manager": { "value": "7" } }
        });
        assert_eq!(first(&text), expected);
        // What only an import may say, and what other directories export with the manager.
        let text = format!(
            "userName,{0}:account,{ENTERPRISE}:manager.value,{ENTERPRISE}:manager.displayName\na,local,7,Boss\n",
            urn::ROLLCALL_USER
        );
        let expected = json!({
            "schemas": [urn::USER], "userName": "a", urn::ROLLCALL_USER: { "account": "local" },
            ENTERPRISE: { "manager": { "value": "7", "displayName": "Boss" } }
        });
        assert_eq!(first(&text), expected);
    }

    #[test]
    fn headings_that_cannot_be_read_are_refused_with_what_to_change() {
        for (headings, problem) in [
            ("title", "the first line must name the columns, userName among them"),
            ("", "the first line must name the columns, userName among them"),
            ("\n\r\n", "the first line must name the columns, userName among them"),
            ("userName;title", "the columns must be separated by commas"),
            ("userName\ttitle", "the columns must be separated by commas"),
            ("userName,nmae", "the column \"nmae\" is no attribute of a user"),
            ("userName,", "the column \"\" is no attribute of a user"),
            ("userName,name", "the column name must name a part of name, such as name.formatted"),
            ("userName,name,name.givenName", "the column name must name a part of name"),
            ("userName,emails,emails.type", "the columns emails and emails.type exclude one another"),
            ("userName,emails.value,Emails", "the columns emails.value and Emails exclude one another"),
            ("userName,username", "the columns userName and username exclude one another"),
            ("userName,groups", "the column groups is written by the service alone"),
            ("userName,meta.created", "the column meta.created is written by the service alone"),
            ("userName,schemas", "the column schemas is written by the service alone"),
            ("userName,\"title", "the column \"title"),
        ] {
            let rows = if headings.trim().is_empty() { "" } else { "\na,b,c\n" };
            let refused = read(&format!("{headings}{rows}")).expect_err(headings);
            assert!(refused.contains(problem), "{headings}: {refused}");
        }
    }
}
