//! ARFF: attributes with types, then rows as in CSV.

use crate::setup::{ColumnType, Format, ParseSetup, Wishes};
use ochre_core::{Error, Result};

/// What stands before the rows.
pub struct Header {
    pub attributes: Vec<(String, String)>,
    /// First byte after the line `@data`.
    pub data: usize,
}

/// The header, when the bytes begin with one; remarks and empty lines may stand before it.
pub fn header(bytes: &[u8]) -> Option<Header> {
    let (mut at, mut begun, mut attributes) = (0, false, vec![]);
    while at < bytes.len() {
        let end = memchr::memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |i| at + i);
        let line = String::from_utf8_lossy(&bytes[at..end]);
        let line = line.trim();
        at = end + 1;
        if line.is_empty() || line.starts_with('%') {
            continue;
        }
        let (word, rest) = line.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((line, ""));
        match word.to_ascii_lowercase().as_str() {
            "@relation" => begun = true,
            "@attribute" if begun => attributes.push(attribute(rest.trim())),
            "@data" if begun => return Some(Header { attributes, data: at.min(bytes.len()) }),
            _ => return None,
        }
    }
    None
}

/// Name and type; a name with spaces stands in quotes.
fn attribute(text: &str) -> (String, String) {
    for quote in ['\'', '"'] {
        if let Some((name, kind)) = text.strip_prefix(quote).and_then(|t| t.split_once(quote)) {
            return (name.to_string(), kind.trim().to_string());
        }
    }
    let (name, kind) = text.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((text, ""));
    (name.to_string(), kind.trim().to_string())
}

pub fn setup(header: &Header, data: &[u8], wishes: &Wishes) -> Result<ParseSetup> {
    let types = header
        .attributes
        .iter()
        .map(|(name, kind)| {
            let word = kind.split_ascii_whitespace().next().unwrap_or_default().to_ascii_lowercase();
            Ok(match word.as_str() {
                "numeric" | "real" | "integer" | "int" => ColumnType::Numeric,
                "string" => ColumnType::Text,
                "date" => ColumnType::Time,
                "uuid" => ColumnType::Uuid,
                "enum" | "categorical" => ColumnType::Enum,
                _ if kind.starts_with('{') => ColumnType::Enum,
                _ => return Err(Error::invalid(format!("the ARFF attribute '{name}' has the unknown type '{kind}'"))),
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let first = data.split(|b| *b == b'\n').find(|l| !l.trim_ascii().is_empty() && l[0] != b'%').unwrap_or_default();
    let has = |c: u8| first.contains(&c);
    // Rows are separated by commas, or else by blanks.
    let separator = if has(b',') {
        b','
    } else if has(b'\t') {
        b'\t'
    } else if has(b';') {
        b';'
    } else {
        b' '
    };
    let single = data.iter().take(1 << 16).filter(|b| **b == b'\'').count() > 1 && !data.iter().take(1 << 16).any(|b| *b == b'"');
    let mut names: Vec<String> = header.attributes.iter().map(|a| a.0.clone()).collect();
    for (slot, given) in names.iter_mut().zip(wishes.names.iter().flatten()) {
        slot.clone_from(given);
    }
    let mut na_strings = wishes.na_strings.clone();
    na_strings.resize(names.len(), vec![]);
    na_strings.iter_mut().for_each(|n| n.push("?".into()));
    let lines = data.split(|b| *b == b'\n').filter(|l| !l.trim_ascii().is_empty()).take(10);
    let preview = lines.map(|l| String::from_utf8_lossy(l).trim().split(separator as char).map(str::to_string).collect()).collect();
    Ok(ParseSetup {
        format: Format::Arff,
        separator: wishes.separator.filter(|s| *s != 0).unwrap_or(separator),
        single_quotes: wishes.single_quotes || single,
        escape: wishes.escape,
        header: -1,
        reasons: header.attributes.iter().map(|a| format!("the header says {}", a.1)).collect(),
        names,
        types,
        na_strings,
        skipped: vec![],
        preview,
        partitions: vec![],
    })
}
