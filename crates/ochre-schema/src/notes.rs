//! What is wrong with a user's parameters: many notes, each on a field, with a severity.

use crate::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warn,
    Info,
}

#[derive(Clone, Debug)]
pub struct Note {
    pub severity: Severity,
    pub field: String,
    pub message: String,
}

/// The notes of one check. All are reported; nothing stops at the first.
#[derive(Clone, Debug, Default)]
pub struct Notes(pub Vec<Note>);

impl Notes {
    fn push(&mut self, severity: Severity, field: &str, message: String) {
        self.0.push(Note { severity, field: field.to_string(), message });
    }
    pub fn error(&mut self, field: &str, message: impl Into<String>) {
        self.push(Severity::Error, field, message.into());
    }
    pub fn warn(&mut self, field: &str, message: impl Into<String>) {
        self.push(Severity::Warn, field, message.into());
    }
    pub fn info(&mut self, field: &str, message: impl Into<String>) {
        self.push(Severity::Info, field, message.into());
    }
    pub fn errors(&self) -> impl Iterator<Item = &Note> {
        self.0.iter().filter(|n| n.severity == Severity::Error)
    }
    pub fn has_errors(&self) -> bool {
        self.errors().next().is_some()
    }
}

/// Is `value` inside a declared range such as `(0, 1]`, `[1, )` or `(0, )`?
pub fn in_range(range: &str, value: f64) -> bool {
    let open_low = range.starts_with('(');
    let open_high = range.ends_with(')');
    let inner = &range[1..range.len() - 1];
    let (low, high) = inner.split_once(',').expect("a range has two ends");
    let bound = |t: &str| t.trim().parse::<f64>().ok();
    let above = bound(low).is_none_or(|l| if open_low { value > l } else { value >= l });
    let below = bound(high).is_none_or(|h| if open_high { value < h } else { value <= h });
    above && below
}

/// The place of an option among those declared. Clients spell options in any case, and with or without underscores.
pub fn option_of(text: &str, options: &[&str]) -> Result<usize, String> {
    let text = text.trim().trim_matches('"');
    let plain = |s: &str| s.chars().filter(|c| *c != '_').flat_map(char::to_lowercase).collect::<String>();
    let asked = plain(text);
    options.iter().position(|o| plain(o) == asked).ok_or_else(|| format!("'{text}' is not one of: {}", options.join(", ")))
}

/// An option as it was declared; nothing stays nothing.
pub fn one_of(text: &str, options: &[&str]) -> Result<String, String> {
    match text.trim().trim_matches('"') {
        "" | "null" => Ok(text.to_string()),
        given => option_of(given, options).map(|i| options[i].to_string()),
    }
}

/// Notes an error when a number lies outside its declared range.
pub fn check_range(field: &str, range: &str, value: Option<f64>, notes: &mut Notes) {
    if let Some(v) = value
        && !in_range(range, v)
    {
        notes.error(field, format!("{field} must be in the range {range}, but is {v}"));
    }
}

/// Refuses, by name, a parameter that is declared but not built yet and was given another value than its default.
pub fn check_supported(field: &str, value: Value, default: Value, notes: &mut Notes) {
    let empty = matches!(&value, Value::Null) || value.as_array().is_some_and(|a| a.is_empty());
    if value != default && !(empty && default.is_null()) {
        notes.error(field, format!("{field} is not supported by this version of ochre; leave it at its default ({default})"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_follow_their_brackets() {
        assert!(in_range("(0, 1]", 1.0) && !in_range("(0, 1]", 0.0));
        assert!(in_range("[1, )", 1e300) && !in_range("[1, )", 0.5));
        assert!(!in_range("(0, 1]", f64::NAN));
    }
}
