//! Texts, one at a time.

use crate::{Env, Prim, Value, call};
use ochre_core::{Column, Error, Kind, Result};
use std::sync::Arc;

pub const TEXT: &[Prim] = &[
    call("toupper", &["frame"], |e, a| map(e, a, |t| t.to_uppercase()), "In capitals."),
    call("tolower", &["frame"], |e, a| map(e, a, |t| t.to_lowercase()), "In small letters."),
    call("trim", &["frame"], |e, a| map(e, a, |t| t.trim().to_string()), "Without space at the ends."),
    call(
        "replaceall",
        &["frame", "pattern", "replacement", "ignore_case"],
        |e, a| replace(e, a, true),
        "Every occurrence of a text replaced.",
    ),
    call(
        "replacefirst",
        &["frame", "pattern", "replacement", "ignore_case"],
        |e, a| replace(e, a, false),
        "The first occurrence of a text replaced.",
    ),
    call("strlen", &["frame"], length, "Number of characters."),
];

fn map(env: &mut Env<'_>, args: Vec<Value>, f: impl Fn(&str) -> String) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let mut out = vec![];
    for c in frame.columns() {
        out.push(match &c.kind {
            Kind::Text => Column::from_texts(&env.node.ledger, &c.to_texts()?.iter().map(|t| t.as_deref().map(&f)).collect::<Vec<_>>())?,
            Kind::Enum(d) => {
                let new: Vec<String> = d.iter().map(|t| f(t)).collect();
                let distinct: std::collections::HashSet<&String> = new.iter().collect();
                if distinct.len() == new.len() {
                    c.with_kind(Kind::Enum(Arc::new(new)))
                } else {
                    // Categories that became the same are joined.
                    crate::frames::to_enum(env, &c.to_texts()?.iter().map(|t| t.as_deref().map(&f)).collect::<Vec<_>>())?
                }
            }
            _ => return Err(Error::invalid("this function requires a string or categorical column, but a numeric one was given")),
        });
    }
    let names = if frame.width() == 1 { vec!["C1".into()] } else { frame.names().to_vec() };
    Value::new_frame(names, out)
}

/// Plain texts only: a pattern with special characters is refused rather than misread.
fn replace(env: &mut Env<'_>, args: Vec<Value>, all: bool) -> Result<Value> {
    let (pattern, with) = (args[1].text()?.to_string(), args[2].text()?.to_string());
    if pattern.contains(|c: char| r"\.[]{}()*+?^$|".contains(c)) || args[3].truth()? {
        return Err(Error::Unsupported(format!(
            "pattern '{pattern}': regular expressions and ignore_case are not supported by this version of ochre; use a plain text"
        )));
    }
    map(env, args, move |t| if all { t.replace(&pattern, &with) } else { t.replacen(&pattern, &with, 1) })
}

fn length(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let mut out = vec![];
    for c in frame.columns() {
        if !matches!(c.kind, Kind::Text | Kind::Enum(_)) {
            return Err(Error::invalid("strlen() requires a string or categorical column"));
        }
        let values: Vec<f64> = c.to_texts()?.iter().map(|t| t.as_ref().map_or(f64::NAN, |t| t.chars().count() as f64)).collect();
        out.push(Column::from_f64(&env.node.ledger, &values)?);
    }
    Value::new_frame(frame.names().to_vec(), out)
}
