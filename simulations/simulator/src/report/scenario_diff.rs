//! What two scenarios have different, field by field.

use std::collections::BTreeMap;

use super::html::{self, Cell};
use super::numbers::NONE;
use crate::record::Record;

/// The part of the page.
pub(super) fn section(a: &Record, b: &Record) -> String {
    let differences = differences(&a.scenario, &b.scenario);
    let body = if differences.is_empty() {
        html::paragraph("There is no difference between the two scenarios.")
    } else {
        let cell = |value: &Option<String>| Cell::words(value.as_deref().unwrap_or(NONE));
        let row = |(field, a, b): &(String, Option<String>, Option<String>)| {
            vec![Cell::words(field.clone()), cell(a), cell(b)]
        };
        let rows: Vec<Vec<Cell>> = differences.iter().map(row).collect();
        let note = "Fields that differ, every default filled in. A dash stands for a field that is not there.";
        html::table(&["Field", "A", "B"], &rows) + &html::paragraph(note)
    };
    html::section("scenarios", "What the scenarios have different", &body)
}

/// Fields by their dotted path, with their value on either side, where these differ.
fn differences(a: &str, b: &str) -> Vec<(String, Option<String>, Option<String>)> {
    let (a, b) = (fields(a), fields(b));
    let mut names: Vec<&String> = a.keys().chain(b.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let differ = names.into_iter().filter(|name| a.get(*name) != b.get(*name));
    differ.map(|name| (name.clone(), a.get(name).cloned(), b.get(name).cloned())).collect()
}

/// Every field of a scenario by its dotted path, such as `room.0.servers`. What is no TOML counts as one field.
fn fields(text: &str) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let parsed: Result<toml::Table, toml::de::Error> = toml::from_str(text);
    match parsed {
        Ok(table) => {
            for (name, value) in &table {
                flatten(name, value, &mut fields);
            }
        }
        Err(_) => drop(fields.insert("(not TOML)".to_owned(), text.to_owned())),
    }
    fields
}

fn flatten(path: &str, value: &toml::Value, fields: &mut BTreeMap<String, String>) {
    match value {
        toml::Value::Table(table) => {
            for (name, value) in table {
                flatten(&format!("{path}.{name}"), value, fields);
            }
        }
        toml::Value::Array(list) if list.iter().any(toml::Value::is_table) => {
            for (at, value) in list.iter().enumerate() {
                flatten(&format!("{path}.{at}"), value, fields);
            }
        }
        value => drop(fields.insert(path.to_owned(), value.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_differ_are_named_by_their_path() {
        let a = "title = \"x\"\n[network]\nregions = [\"lan\"]\n[[room]]\nservers = 3\n[[room]]\nservers = 4\n";
        let b =
            "title = \"x\"\n[network]\nregions = [\"lan\"]\nloss = 0.1\n[[room]]\nservers = 3\n[[room]]\nservers = 5\n";
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            differences(a, b),
            [("network.loss".to_owned(), None, some("0.1")), ("room.1.servers".to_owned(), some("4"), some("5")),]
        );
        assert!(differences(a, a).is_empty());
        assert_eq!(differences("no [ toml", a).len(), 5);
    }
}
