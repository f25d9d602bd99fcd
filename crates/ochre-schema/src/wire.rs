//! How values are written to JSON and read from form fields, as the clients spell them.

use crate::{Value, table::Table};

/// A value that can stand in a field.
pub trait Wire: Sized {
    /// Published type: `int`, `string[]`, `Key<Frame>`.
    fn type_name() -> String;
    fn schema_name() -> Option<String> {
        None
    }
    fn choice_name() -> Option<String> {
        None
    }
    fn values() -> &'static [&'static str] {
        &[]
    }
    fn to_json(&self) -> Value;
    fn from_text(_text: &str) -> Result<Self, String> {
        Err("cannot be given in a request".into())
    }
    /// The value as a number, for range checks.
    fn number(&self) -> Option<f64> {
        None
    }
}

/// JSON has no NaN or infinities; the clients read them as these strings.
pub fn number_json(v: f64) -> Value {
    if v.is_nan() {
        Value::String("NaN".into())
    } else if v.is_infinite() {
        Value::String(if v > 0.0 { "Infinity" } else { "-Infinity" }.into())
    } else {
        Value::from(v)
    }
}

fn clean(text: &str) -> &str {
    text.trim().trim_matches('"')
}

macro_rules! integer {
    ($($t:ty => $name:literal),*) => {$(
        impl Wire for $t {
            fn type_name() -> String { $name.into() }
            fn to_json(&self) -> Value { Value::from(*self) }
            fn from_text(text: &str) -> Result<Self, String> {
                let t = clean(text);
                // Clients in R send whole numbers as 10.0 or 1e6.
                t.parse::<$t>().ok().or_else(|| t.parse::<f64>().ok().filter(|f| f.fract() == 0.0 && f.abs() < 9.2e18
                        && *f >= <$t>::MIN as f64 && *f <= <$t>::MAX as f64).map(|f| f as $t))
                    .ok_or_else(|| format!("cannot convert \"{t}\" to type {}", $name))
            }
            fn number(&self) -> Option<f64> { Some(*self as f64) }
        }
    )*};
}
integer!(i8 => "byte", i32 => "int", i64 => "long");

impl Wire for f64 {
    fn type_name() -> String {
        "double".into()
    }
    fn to_json(&self) -> Value {
        number_json(*self)
    }
    fn from_text(text: &str) -> Result<Self, String> {
        let t = clean(text);
        match t.to_ascii_lowercase().as_str() {
            "infinity" | "inf" => Ok(f64::INFINITY),
            "-infinity" | "-inf" => Ok(f64::NEG_INFINITY),
            _ => t.parse().map_err(|_| format!("cannot convert \"{t}\" to type double")),
        }
    }
    fn number(&self) -> Option<f64> {
        Some(*self)
    }
}

impl Wire for f32 {
    fn type_name() -> String {
        "float".into()
    }
    fn to_json(&self) -> Value {
        // The shortest text that reads back as this f32, not its widened digits.
        number_json(self.to_string().parse().unwrap_or(f64::NAN))
    }
    fn from_text(text: &str) -> Result<Self, String> {
        f64::from_text(text).map(|v| v as f32).map_err(|e| e.replace("double", "float"))
    }
    fn number(&self) -> Option<f64> {
        Some(f64::from(*self))
    }
}

impl Wire for bool {
    fn type_name() -> String {
        "boolean".into()
    }
    fn to_json(&self) -> Value {
        Value::Bool(*self)
    }
    fn from_text(text: &str) -> Result<Self, String> {
        match clean(text).to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            other => Err(format!("cannot convert \"{other}\" to type boolean")),
        }
    }
}

impl Wire for String {
    fn type_name() -> String {
        "string".into()
    }
    fn to_json(&self) -> Value {
        Value::String(self.clone())
    }
    fn from_text(text: &str) -> Result<Self, String> {
        Ok(unquote(text))
    }
}

fn unquote(text: &str) -> String {
    if text.len() >= 2 && text.starts_with('"') && text.ends_with('"') {
        serde_json::from_str(text).unwrap_or_else(|_| text[1..text.len() - 1].to_string())
    } else {
        text.to_string()
    }
}

impl<T: Wire> Wire for Option<T> {
    fn type_name() -> String {
        T::type_name()
    }
    fn schema_name() -> Option<String> {
        T::schema_name()
    }
    fn choice_name() -> Option<String> {
        T::choice_name()
    }
    fn values() -> &'static [&'static str] {
        T::values()
    }
    fn to_json(&self) -> Value {
        self.as_ref().map_or(Value::Null, Wire::to_json)
    }
    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() || text == "null" || text == "None" { Ok(None) } else { T::from_text(text).map(Some) }
    }
    fn number(&self) -> Option<f64> {
        self.as_ref().and_then(Wire::number)
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn type_name() -> String {
        format!("{}[]", T::type_name())
    }
    fn schema_name() -> Option<String> {
        T::schema_name()
    }
    fn choice_name() -> Option<String> {
        T::choice_name()
    }
    fn values() -> &'static [&'static str] {
        T::values()
    }
    fn to_json(&self) -> Value {
        Value::Array(self.iter().map(Wire::to_json).collect())
    }
    fn from_text(text: &str) -> Result<Self, String> {
        parse_list(text)?.iter().map(|t| T::from_text(t)).collect()
    }
}

impl<T: Wire> Wire for Box<T> {
    fn type_name() -> String {
        T::type_name()
    }
    fn schema_name() -> Option<String> {
        T::schema_name()
    }
    fn to_json(&self) -> Value {
        (**self).to_json()
    }
}

impl Wire for Value {
    fn type_name() -> String {
        "Polymorphic".into()
    }
    fn to_json(&self) -> Value {
        self.clone()
    }
    fn from_text(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).or_else(|e| loose(text).ok_or_else(|| format!("not JSON: {e}")))
    }
}

/// Reads JSON as the Python client writes it: words in single quotes, as in `[{'key': 'AGE', 'value': 1}]`, or in none,
/// as in `[{a: AGE,b: PSA}]`.
fn loose(text: &str) -> Option<Value> {
    let text = text.trim();
    let inside = |open, close| text.strip_prefix(open).and_then(|t| t.strip_suffix(close));
    if let Some(members) = inside('{', '}') {
        let pairs = split(members)?.into_iter().map(|pair| {
            let parts = pieces(pair, ':')?;
            let [key, value] = parts[..] else { return None };
            Some((loose(key)?.as_str()?.to_string(), loose(value)?))
        });
        return pairs.collect::<Option<serde_json::Map<_, _>>>().map(Value::Object);
    }
    if inside('[', ']').is_some() {
        return split(inside('[', ']')?)?.into_iter().map(loose).collect::<Option<Vec<_>>>().map(Value::Array);
    }
    if let Some(word) = inside('\'', '\'') {
        return Some(Value::String(word.replace("\\'", "'").replace("\\\\", "\\")));
    }
    match text {
        "" => None,
        "None" => Some(Value::Null),
        "True" => Some(Value::Bool(true)),
        "False" => Some(Value::Bool(false)),
        _ => serde_json::from_str(text).ok().or_else(|| Some(Value::String(text.to_string()))),
    }
}

/// The members of a list or an object; `None` when a quote or bracket stays open.
fn split(inner: &str) -> Option<Vec<&str>> {
    if inner.trim().is_empty() { Some(vec![]) } else { pieces(inner, ',') }
}

impl Wire for Table {
    fn type_name() -> String {
        "TwoDimTable".into()
    }
    fn schema_name() -> Option<String> {
        Some("TwoDimTableV3".into())
    }
    fn to_json(&self) -> Value {
        self.json()
    }
}

/// Splits a list as clients write it: `["a","b"]`, `[a, b]`, `[1.0, 2]`, nested `[["a"],null]`, or a bare single value.
pub fn parse_list(text: &str) -> Result<Vec<String>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(vec![]);
    }
    let Some(inner) = text.strip_prefix('[') else {
        return Ok(vec![text.to_string()]);
    };
    let inner = inner.strip_suffix(']').ok_or_else(|| format!("the list {text} is not closed by ']'"))?;
    let mut out = pieces(inner, ',').ok_or_else(|| format!("the list {text} has an open quote or bracket"))?;
    if out == [""] {
        out.clear();
    }
    Ok(out.into_iter().map(str::to_string).collect())
}

/// Cuts text at a separator that stands outside of quotes and brackets; `None` when one of these stays open. A single
/// quote opens only at the start of a word, so that `it's` stays one.
fn pieces(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut out, mut depth, mut quote, mut escaped, mut start) = (vec![], 0i32, None, false, 0);
    for (i, c) in text.char_indices() {
        if let Some(open) = quote {
            if escaped {
                escaped = false;
            } else if c == '\\' {
                escaped = true;
            } else if c == open {
                quote = None;
            }
            continue;
        }
        let word_starts = text[start..i].trim_end().is_empty() || text[..i].trim_end().ends_with(['{', '[', ',', ':']);
        match c {
            '"' => quote = Some('"'),
            '\'' if word_starts => quote = Some('\''),
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            _ if c == separator && depth == 0 => {
                out.push(text[start..i].trim());
                start = i + c.len_utf8();
            }
            _ => {}
        }
    }
    out.push(text[start..].trim());
    (quote.is_none() && depth == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_as_clients_write_them() {
        assert_eq!(Vec::<String>::from_text(r#"["a,b","c\"d"]"#).unwrap(), ["a,b", "c\"d"]);
        assert_eq!(Vec::<String>::from_text("[/a/b.csv]").unwrap(), ["/a/b.csv"]);
        assert_eq!(Vec::<Option<Vec<String>>>::from_text(r#"[["x"],null]"#).unwrap(), [Some(vec!["x".to_string()]), None]);
        assert_eq!(Vec::<f64>::from_text("[0.5]").unwrap(), [0.5]);
        assert_eq!(Vec::<f64>::from_text("0.5").unwrap(), [0.5]);
        assert!(Vec::<f64>::from_text("[").is_err());
        assert_eq!(Vec::<String>::from_text("[it's, that's]").unwrap(), ["it's", "that's"]);
        let pairs = serde_json::json!([{"key": "A, G", "value": 1}, {"key": "B", "value": -1}]);
        assert_eq!(Value::from_text("[{'key': 'A, G', 'value': 1}, {'key': 'B', 'value': -1}]").unwrap(), pairs);
        assert_eq!(Value::from_text("[{a: AGE,b: PSA}]").unwrap(), serde_json::json!([{"a": "AGE", "b": "PSA"}]));
    }
}
