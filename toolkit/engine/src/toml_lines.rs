//! Where each key of a TOML text stands, so that an error about a value can name its line.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::{Error, Result};

/// Every key, dotted (`workloads.call.sizes`; an element of a list by its number from 0), with the
/// line on which it first stands, from 1. Tables are keys too.
///
/// # Errors
/// The line at which the text is not TOML.
pub fn toml_key_lines(text: &str) -> Result<Vec<(String, u64)>> {
    let table = DeTable::parse(text).map_err(|error| {
        let message = format!("not TOML: {}", error.message());
        match error.span() {
            Some(span) => Error::at_line(line_of(text, span.start), message),
            None => Error::input(message),
        }
    })?;
    let mut found = Vec::new();
    walk_table(table.get_ref(), "", text, &mut found);
    found.sort_by_key(|(_, line)| *line);
    Ok(found)
}

fn walk_table(table: &DeTable<'_>, prefix: &str, text: &str, found: &mut Vec<(String, u64)>) {
    for (name, value) in table {
        let key = format!("{prefix}{}", name.get_ref());
        found.push((key.clone(), line_of(text, name.span().start)));
        walk_value(value, &key, text, found);
    }
}

fn walk_value(value: &Spanned<DeValue<'_>>, key: &str, text: &str, found: &mut Vec<(String, u64)>) {
    match value.get_ref() {
        DeValue::Table(table) => walk_table(table, &format!("{key}."), text, found),
        DeValue::Array(items) => {
            for (position, item) in items.iter().enumerate() {
                let key = format!("{key}.{position}");
                found.push((key.clone(), line_of(text, item.span().start)));
                walk_value(item, &key, text, found);
            }
        }
        _ => {}
    }
}

fn line_of(text: &str, position: usize) -> u64 {
    let before = text.bytes().take(position);
    before.filter(|byte| *byte == b'\n').count() as u64 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<(String, u64)> {
        toml_key_lines(text).expect("TOML")
    }

    #[test]
    fn keys_are_found_at_their_lines_in_every_notation() {
        let text = "# a\nname = 1\n[subject.env]\nA = \"\"\"\nx = 2\n\"\"\"\n\
            [[list]]\nx = 1\n[[list]]\nx.y = {z = [1,\n 2]}\n";
        let expected = [
            ("name", 2),
            ("subject", 3),
            ("subject.env", 3),
            ("subject.env.A", 4),
            ("list", 7),
            ("list.0", 7),
            ("list.0.x", 8),
            ("list.1", 9),
            ("list.1.x", 10),
            ("list.1.x.y", 10),
            ("list.1.x.y.z", 10),
            ("list.1.x.y.z.0", 10),
            ("list.1.x.y.z.1", 11),
        ];
        let found = lines(text);
        for (key, line) in expected {
            assert!(
                found.contains(&(key.to_owned(), line)),
                "{key} {line}: {found:?}"
            );
        }
        assert_eq!(found.len(), expected.len());
    }

    #[test]
    fn what_is_not_toml_is_refused_with_its_line() {
        let refused = toml_key_lines("a = 1\nb = \n")
            .expect_err("refused")
            .to_string();
        assert!(refused.starts_with("line 2: not TOML"), "{refused}");
    }
}
