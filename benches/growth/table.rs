//! The rows as Markdown.

use std::fmt::Write;

use crate::operation::Axis;
use crate::{Found, Row};

/// One table for the users, one for the members, one for what must grow.
pub fn markdown(rows: &[Row]) -> String {
    let mut text = String::new();
    part(&mut text, "with the users of the tenant", rows, |row| row.is(Axis::Users, false));
    part(&mut text, "with the members of the group", rows, |row| row.is(Axis::Members, false));
    part(&mut text, "grows with the users, as it must", rows, |row| row.is(Axis::Users, true));
    part(&mut text, "grows with the members, as it must", rows, |row| row.is(Axis::Members, true));
    text
}

impl Row {
    /// Whether it belongs there.
    pub fn is(&self, axis: Axis, grows: bool) -> bool {
        self.operation.axis() == axis && self.operation.grows() == grows
    }

    /// Its times as ratios to that at the smallest size, with the sizes.
    pub fn ratios(&self) -> Vec<(usize, f64)> {
        let first = self.found.first().map_or(1.0, |found| found.seconds);
        self.found.iter().map(|found| (found.size, found.seconds / first)).collect()
    }
}

fn part(text: &mut String, title: &str, rows: &[Row], wanted: impl Fn(&Row) -> bool) {
    let rows: Vec<&Row> = rows.iter().filter(|row| wanted(row)).collect();
    let Some(first) = rows.first() else { return };
    let sizes: Vec<String> = first.found.iter().map(|found| thousands(found.size)).collect();
    let _ = writeln!(text, "| {title} | rounds | read units | write units | {} |", sizes.join(" | "));
    let _ = writeln!(text, "| --- | --- | --- | --- |{}", " --- |".repeat(sizes.len()));
    for row in rows {
        let ratios: Vec<String> = row.ratios().iter().map(|(_, ratio)| short(*ratio)).collect();
        let rounds = all(row, |found| f64::from(found.usage.rounds));
        let (read, write) = (all(row, |f| f.usage.read_units), all(row, |f| f.usage.write_units));
        let name = row.operation.name();
        let _ = writeln!(text, "| {name} | {rounds} | {read} | {write} | {} |", ratios.join(" | "));
    }
    text.push('\n');
}

/// The one value, or each where they differ.
fn all(row: &Row, value: impl Fn(&Found) -> f64) -> String {
    let mut values: Vec<String> =
        row.found.iter().map(|found| thousands(value(found).ceil() as usize)).collect();
    values.dedup();
    values.join(" · ")
}

/// Two digits where there is a point, none where there are many before it.
pub fn short(ratio: f64) -> String {
    if ratio.is_infinite() {
        return "`tooMany`".to_owned();
    }
    if ratio < 10.0 { format!("{ratio:.2}") } else { thousands(ratio.round() as usize) }
}

/// `12345` as `12,345`.
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
