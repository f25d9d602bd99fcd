//! Texts, one at a time.

use crate::{Env, Prim, Value, call};
use ochre_core::{Column, Error, Kind, Result};
use regex::{Regex, RegexBuilder};
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
    call("lstrip", &["frame", "set"], |e, a| strip(e, a, true), "Without the characters of a set at the beginning."),
    call("rstrip", &["frame", "set"], |e, a| strip(e, a, false), "Without the characters of a set at the end."),
    call("substring", &["frame", "start", "end?"], substring, "Characters from one place up to another."),
    call("strsplit", &["frame", "pattern"], split, "Pieces between matches of a regular expression, one column each."),
    call("countmatches", &["frame", "pattern"], count_matches, "How often texts occur."),
    call("entropy", &["frame"], |e, a| measure(e, a, "entropy", entropy), "Shannon entropy of the characters, in bits."),
    call("grep", &["frame", "pattern", "ignore_case", "invert", "output_logical"], grep, "Rows that a regular expression is found in."),
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

pub fn pattern(text: &str, ignore_case: bool) -> Result<Regex> {
    RegexBuilder::new(text)
        .case_insensitive(ignore_case)
        .build()
        .map_err(|e| Error::invalid(format!("'{text}' is not a regular expression that ochre reads: {e}")))
}

fn replace(env: &mut Env<'_>, args: Vec<Value>, all: bool) -> Result<Value> {
    let re = pattern(args[1].text()?, args[3].truth()?)?;
    // `$1x` means group 1 and a letter, as in Java.
    let with = Regex::new(r"\$(\d)").expect("a valid expression").replace_all(args[2].text()?, "$${$1}").into_owned();
    let names = args[0].clone().frame()?.names().to_vec();
    let out = map(env, args, move |t| if all { re.replace_all(t, with.as_str()) } else { re.replace(t, with.as_str()) }.into_owned())?;
    // The reference renames the column in one case and not in the other.
    if all { Ok(out) } else { Ok(Value::Frame(Arc::new(out.frame()?.with_names(names)?))) }
}

fn strip(env: &mut Env<'_>, args: Vec<Value>, left: bool) -> Result<Value> {
    let set: Vec<char> = args[1].text()?.chars().collect();
    map(env, args, move |t| if left { t.trim_start_matches(&set[..]) } else { t.trim_end_matches(&set[..]) }.to_string())
}

fn substring(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let start = args[1].num()?.max(0.0) as usize;
    let end = match args.get(2) {
        Some(Value::Num(v)) if !v.is_nan() => v.max(0.0) as usize,
        _ => usize::MAX,
    };
    map(env, args, move |t| t.chars().skip(start).take(end.saturating_sub(start)).collect())
}

/// The texts of a column of texts or categories.
fn texts(c: &Column, what: &str) -> Result<Vec<Option<String>>> {
    match c.kind {
        Kind::Text | Kind::Enum(_) => c.to_texts(),
        _ => Err(Error::invalid(format!("{what}() requires a string or categorical column"))),
    }
}

fn split(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let (frame, re) = (args[0].clone().frame()?, pattern(args[1].text()?, false)?);
    let mut out: Vec<Column> = vec![];
    for c in frame.columns() {
        let pieces: Vec<Option<Vec<String>>> = texts(c, "strsplit")?
            .into_iter()
            .map(|t| {
                t.map(|t| {
                    let mut pieces: Vec<String> = re.split(&t).map(str::to_string).collect();
                    // Empty pieces at the end do not count, unless nothing was parted.
                    while !t.is_empty() && pieces.last().is_some_and(String::is_empty) {
                        pieces.pop();
                    }
                    pieces
                })
            })
            .collect();
        let most = pieces.iter().flatten().map(Vec::len).max().unwrap_or(1).max(1);
        for k in 0..most {
            let column: Vec<Option<String>> = pieces.iter().map(|p| p.as_ref().and_then(|p| p.get(k).cloned())).collect();
            out.push(if c.is_enum() { pieces_as_enum(env, c, &column)? } else { Column::from_texts(&env.node.ledger, &column)? });
        }
    }
    let names = (1..=out.len()).map(|i| format!("C{i}")).collect();
    Value::new_frame(names, out)
}

/// Pieces of categories: categories in the order in which those they come from stand.
fn pieces_as_enum(env: &Env<'_>, whole: &Column, pieces: &[Option<String>]) -> Result<Column> {
    let codes = whole.numbers()?;
    let mut of_code: Vec<Option<&String>> = vec![None; whole.domain().map_or(0, |d| d.len())];
    codes.iter().zip(pieces).filter(|(v, _)| !v.is_nan()).for_each(|(v, p)| of_code[*v as usize] = p.as_ref());
    let mut domain: Vec<String> = vec![];
    for p in of_code.into_iter().flatten() {
        if !domain.contains(p) {
            domain.push(p.clone());
        }
    }
    let values: Vec<f64> =
        pieces.iter().map(|p| p.as_ref().and_then(|p| domain.iter().position(|d| d == p)).map_or(f64::NAN, |i| i as f64)).collect();
    Column::numeric(&env.node.ledger, Kind::Enum(Arc::new(domain)), &values)
}

/// A number of each text.
fn measure(env: &mut Env<'_>, args: Vec<Value>, what: &str, f: impl Fn(&str) -> f64) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let mut out = vec![];
    for c in frame.columns() {
        let values: Vec<f64> = texts(c, what)?.iter().map(|t| t.as_deref().map_or(f64::NAN, &f)).collect();
        out.push(Column::from_f64(&env.node.ledger, &values)?);
    }
    let names = (1..=out.len()).map(|i| format!("C{i}")).collect();
    Value::new_frame(names, out)
}

fn count_matches(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let patterns = args[1].texts()?;
    measure(env, args, "countmatches", |t| patterns.iter().map(|p| t.matches(p.as_str()).count() as f64).sum())
}

fn entropy(t: &str) -> f64 {
    let mut counts = std::collections::BTreeMap::new();
    for c in t.chars() {
        *counts.entry(c).or_insert(0.0) += 1.0;
    }
    let n: f64 = counts.values().sum();
    counts.values().map(|k: &f64| -(k / n) * (k / n).log2()).sum::<f64>() + 0.0
}

fn grep(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    if frame.width() != 1 {
        return Err(Error::invalid(format!("grep looks into one column, but {} were given", frame.width())));
    }
    let (re, invert) = (pattern(args[1].text()?, args[2].truth()?)?, args[3].truth()?);
    let found: Vec<bool> = texts(frame.column(0), "grep")?.iter().map(|t| t.as_deref().is_some_and(|t| re.is_match(t)) != invert).collect();
    let values: Vec<f64> = if args[4].truth()? {
        found.iter().map(|f| f64::from(*f)).collect()
    } else {
        (0..found.len()).filter(|i| found[*i]).map(|i| i as f64).collect()
    };
    Value::one("C1", Column::from_f64(&env.node.ledger, &values)?)
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
    Value::new_frame((1..=out.len()).map(|i| format!("C{i}")).collect(), out)
}
