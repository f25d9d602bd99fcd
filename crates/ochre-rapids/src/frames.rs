//! Taking frames apart and putting them together. Columns that do not change are shared, never copied.

use crate::value::columns;
use crate::{Env, Prim, Value, call};
use ochre_core::{Column, ColumnBuilder, Error, Frame, Kind, Ledger, Numbers, Picks, Result, Rng, Team, unique_names};
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;

pub const FRAMES: &[Prim] = &[
    call("cols", &["frame", "columns"], |_, a| cols(a, false), "Some columns; negative numbers drop columns."),
    call("cols_py", &["frame", "columns"], |_, a| cols(a, true), "Some columns; negative numbers count from the end."),
    call("rows", &["frame", "rows"], rows, "Some rows, by number or by a column of true and false."),
    call("cbind", &["..."], cbind, "Columns side by side."),
    call("rbind", &["..."], rbind, "Rows one below the other."),
    call("append", &["frame", "..."], append, "Adds or replaces a named column."),
    call(":=", &["frame", "source", "columns", "rows"], assign_cells, "A frame with some cells replaced."),
    call("colnames=", &["frame", "columns", "names"], rename, "Renames columns."),
    call("as.factor", &["frame"], as_factor, "Makes columns categorical."),
    call("as.numeric", &["frame"], as_numeric, "Makes columns numeric."),
    call("as.character", &["frame"], as_character, "Makes columns texts."),
    call("is.na", &["frame"], is_na, "1 where a value is missing."),
    call("na.omit", &["frame"], na_omit, "The rows without missing values."),
    call("ifelse", &["test", "yes", "no"], ifelse, "One value or another, by a test."),
    call("flatten", &["frame"], flatten, "The one cell of a frame as a number or text."),
    call("getrow", &["frame"], getrow, "The one row of a frame as numbers."),
    call("h2o.runif", &["frame", "seed"], runif, "Uniform random numbers, one a row, reproducible by seed and row."),
    call("kfold_column", &["frame", "nfolds", "seed"], kfold, "Random fold numbers, reproducible by seed and row."),
    call("modulo_kfold_column", &["frame", "nfolds"], modulo_kfold, "Fold numbers by row number."),
    call("which", &["frame"], which, "Row numbers where a column is true."),
    call("scale", &["frame", "center", "scale"], scale, "Columns centred and scaled."),
    call("scale_inplace", &["frame", "center", "scale"], scale_in_place, "Columns of a named frame centred and scaled where they stand."),
    call("x", &["left", "right"], product, "Matrix product."),
    call("apply", &["frame", "margin", "function"], apply, "Calls a function on each column (margin 2)."),
    call("t", &["frame"], transpose, "Rows as columns."),
    call("cut", &["frame", "breaks", "labels", "include_lowest", "right", "digits"], cut, "Numbers into intervals."),
    call(
        "h2o.impute",
        &["frame", "column", "method", "combine", "by", "by_frame", "values"],
        impute,
        "Fills missing values of a column in place.",
    ),
    call("match", &["frame", "table", "nomatch", "start"], match_table, "Position of each value in a list."),
];

fn cols(args: Vec<Value>, from_end: bool) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let picked = columns(&frame, &args[1], from_end)?;
    let frame = frame.select(&picked);
    // A column that is asked for twice gets another name.
    let names = unique_names(frame.names().to_vec());
    Ok(Value::Frame(Arc::new(if names == frame.names() { frame } else { frame.with_names(names)? })))
}

/// Row numbers that a selector names.
fn row_numbers(frame: &Frame, selector: &Value) -> Result<Vec<u64>> {
    let rows = frame.rows();
    match selector {
        Value::Nothing => Ok((0..rows as u64).collect()),
        Value::Frame(test) => {
            if test.width() != 1 {
                return Err(Error::invalid(format!("rows are selected by one column, found {}", test.width())));
            }
            let values = test.column(0).numbers()?;
            if test.rows() == rows {
                return Ok(values.iter().enumerate().filter(|(_, v)| **v != 0.0 && !v.is_nan()).map(|(i, _)| i as u64).collect());
            }
            Ok(values.iter().filter(|v| !v.is_nan()).map(|v| *v as u64).collect())
        }
        _ => {
            let v = selector.nums()?;
            if !v.is_empty() && v.iter().all(|i| *i < 0.0) {
                let mut keep = vec![true; rows];
                for i in v {
                    if let Some(k) = keep.get_mut((-i - 1.0) as usize) {
                        *k = false;
                    }
                }
                return Ok((0..rows as u64).filter(|i| keep[*i as usize]).collect());
            }
            match v.iter().find(|i| **i < 0.0) {
                Some(i) => Err(Error::invalid(format!("Row {i} is out of range: the frame has {rows} rows"))),
                // A list may run over the end, but has to begin before it.
                None => match v.first() {
                    Some(i) if *i >= rows as f64 => {
                        Err(Error::invalid(format!("Row must be an integer from 0 to {}, but is {i}", rows - 1)))
                    }
                    _ => Ok(v.iter().filter(|i| **i < rows as f64).map(|i| *i as u64).collect()),
                },
            }
        }
    }
}

/// Rows to be taken from columns that have so many: by this node alone, or by all nodes together.
pub enum Taken {
    Alone(Arc<Ledger>, Vec<u64>),
    Together(Picks),
}

impl Taken {
    pub fn new(ledger: &Arc<Ledger>, rows: usize, index: Vec<u64>) -> Result<Taken> {
        let team = Team::for_rows(index.len());
        if team.is_alone() {
            return Ok(Taken::Alone(ledger.clone(), index));
        }
        Ok(Taken::Together(Picks::known(ledger, &team, rows, &index)?))
    }

    pub fn column(&self, column: &Column) -> Result<Column> {
        match self {
            Taken::Alone(ledger, index) => column.take(ledger, index),
            Taken::Together(picks) => picks.column(column),
        }
    }

    pub fn frame(&self, frame: &Frame) -> Result<Frame> {
        let columns = if ochre_core::current_task().is_some() {
            // The nodes of a cluster have to make their columns in the same order.
            frame.columns().iter().map(|c| self.column(c)).collect::<Result<Vec<_>>>()?
        } else {
            frame.columns().par_iter().map(|c| self.column(c)).collect::<Result<Vec<_>>>()?
        };
        Frame::new(frame.names().to_vec(), columns)
    }
}

/// The rows of a frame at `index`, in that order.
pub fn take(env: &Env<'_>, frame: &Frame, index: Vec<u64>) -> Result<Frame> {
    Taken::new(&env.node.ledger, frame.rows(), index)?.frame(frame)
}

fn rows(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    if let Value::Num(i) = args[1]
        && i >= frame.rows() as f64
    {
        return beyond(env, &frame);
    }
    let index = row_numbers(&frame, &args[1])?;
    Ok(Value::Frame(Arc::new(take(env, &frame, index)?)))
}

/// The row behind the last: a value is missing in each column.
fn beyond(env: &Env<'_>, frame: &Frame) -> Result<Value> {
    let ledger = &env.node.ledger;
    let missing = |c: &Column| match &c.kind {
        Kind::Text | Kind::Uuid => Column::from_texts::<String>(ledger, &[None]),
        kind => Column::numeric(ledger, kind.clone(), &[f64::NAN]),
    };
    Value::new_frame(frame.names().to_vec(), frame.columns().iter().map(missing).collect::<Result<Vec<_>>>()?)
}

/// A constant column.
fn constant(env: &Env<'_>, v: &Value, rows: usize) -> Result<Column> {
    match v {
        Value::Num(x) => Column::from_f64(&env.node.ledger, &vec![*x; rows]),
        Value::Str(s) => Column::numeric(&env.node.ledger, Kind::Enum(Arc::new(vec![s.clone()])), &vec![0.0; rows]),
        other => Err(Error::invalid(format!("{} cannot fill a column", other.kind()))),
    }
}

fn cbind(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let rows = args.iter().find_map(|a| if let Value::Frame(f) = a { Some(f.rows()) } else { None }).unwrap_or(1);
    let (mut names, mut out) = (vec![], vec![]);
    for a in &args {
        match a {
            Value::Frame(f) => {
                if f.rows() != rows {
                    return Err(Error::invalid(format!("cbind frames must have all the same rows, found {rows} and {} rows.", f.rows())));
                }
                names.extend_from_slice(f.names());
                out.extend_from_slice(f.columns());
            }
            Value::Num(v) => {
                names.push(format!("{v:?}"));
                out.push(constant(env, a, rows)?);
            }
            Value::Str(s) => {
                names.push(s.clone());
                out.push(constant(env, a, rows)?);
            }
            other => return Err(Error::invalid(format!("cbind takes frames, numbers and texts, not {}", other.kind()))),
        }
    }
    Value::new_frame(unique_names(names), out)
}

fn rbind(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frames = args.into_iter().map(Value::frame).collect::<Result<Vec<_>>>()?;
    let Some(first) = frames.first() else { return Err(Error::invalid("rbind needs at least one frame")) };
    for f in &frames {
        if f.width() != first.width() {
            return Err(Error::invalid(format!(
                "rbind frames must have all the same columns, found {} and {} columns.",
                first.width(),
                f.width()
            )));
        }
        if f.names() != first.names() {
            return Err(Error::invalid(format!(
                "rbind frames must have all the same column names, found [{}] and [{}]",
                first.names().join(", "),
                f.names().join(", ")
            )));
        }
    }
    Ok(Value::Frame(Arc::new(ochre_core::stack(&env.node.ledger, &frames)?)))
}

fn append(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let (mut names, mut out) = (frame.names().to_vec(), frame.columns().to_vec());
    for pair in args[1..].chunks(2) {
        let [source, name] = pair else { return Err(Error::invalid("append takes columns and names in pairs")) };
        let name = name.text()?;
        let column = match source {
            Value::Frame(f) if f.width() == 1 && f.rows() == frame.rows() => f.column(0).clone(),
            Value::Frame(f) => {
                return Err(Error::invalid(format!(
                    "Can only append one column of {} rows, found {} columns of {} rows",
                    frame.rows(),
                    f.width(),
                    f.rows()
                )));
            }
            // A text that is added stays a text.
            Value::Str(s) => Column::from_texts(&env.node.ledger, &vec![Some(s.clone()); frame.rows()])?,
            v => constant(env, v, frame.rows())?,
        };
        match names.iter().position(|n| n == name) {
            Some(i) => out[i] = column,
            None => {
                names.push(name.into());
                out.push(column);
            }
        }
    }
    Value::new_frame(names, out)
}

fn assign_cells(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let picked = match &args[2] {
        Value::Nums(v) if v.is_empty() => (0..frame.width()).collect(),
        Value::Num(v) if *v == frame.width() as f64 => vec![frame.width()],
        Value::Nums(v) if v.len() == 1 && v[0] == frame.width() as f64 => vec![frame.width()],
        s => columns(&frame, s, false)?,
    };
    let (mut names, mut out) = (frame.names().to_vec(), frame.columns().to_vec());
    let every = matches!(&args[3], Value::Nothing) || matches!(&args[3], Value::Nums(v) if v.is_empty());
    let index = if every { vec![] } else { row_numbers(&frame, &args[3])? };
    let fills = every || index.len() == frame.rows() && index.iter().enumerate().all(|(i, r)| i as u64 == *r);
    let listed = matches!(&args[3], Value::Nums(_) | Value::Num(_));
    for (place, &c) in picked.iter().enumerate() {
        let fresh = c == names.len();
        if fresh {
            names.push(format!("C{}", c + 1));
            out.push(constant(env, &Value::Num(f64::NAN), frame.rows())?);
        }
        let source = match &args[1] {
            Value::Frame(f) => {
                let column = f.column(if f.width() == 1 { 0 } else { place.min(f.width() - 1) }).clone();
                if every && f.rows() == frame.rows() {
                    out[c] = column;
                    continue;
                }
                let wanted = if every { frame.rows() } else { index.len() };
                if f.rows() != wanted && (listed || f.rows() != 1 && f.rows() != frame.rows()) {
                    return Err(Error::invalid(format!(
                        "Requires same count of rows in the number-list ({wanted}) as in the source ({})",
                        f.rows()
                    )));
                }
                Value::one("v", column)?
            }
            v => v.clone(),
        };
        if fills && !matches!(source, Value::Frame(_)) {
            out[c] = if fresh { constant(env, &source, frame.rows())? } else { fill(env, &out[c], &source)? };
            continue;
        }
        let rows: Vec<u64> = if every { (0..frame.rows() as u64).collect() } else { index.clone() };
        out[c] = scatter(env, &out[c], &source, &rows, &names[c])?;
    }
    Value::new_frame(names, out)
}

/// One value in every row: a number makes any column one of numbers, a text has to suit the column.
fn fill(env: &Env<'_>, old: &Column, v: &Value) -> Result<Column> {
    let ledger = &env.node.ledger;
    match (v, &old.kind) {
        (Value::Num(x), Kind::Enum(_)) if x.is_nan() => Column::numeric(ledger, old.kind.clone(), &vec![f64::NAN; old.rows()]),
        (Value::Str(s), Kind::Text) => Column::from_texts(ledger, &vec![Some(s.clone()); old.rows()]),
        (Value::Str(s), Kind::Enum(d)) => Column::numeric(ledger, old.kind.clone(), &vec![level(d, s)?; old.rows()]),
        (Value::Str(s), kind) => Err(unsuited(s, kind)),
        (v, _) => constant(env, v, old.rows()),
    }
}

fn unsuited(value: &str, kind: &Kind) -> Error {
    let kind = match kind {
        Kind::Enum(_) => "Enum",
        Kind::Text => "String",
        Kind::Time => "Time",
        Kind::Uuid => "UUID",
        Kind::Real => "Numeric",
        Kind::Missing => "Bad",
    };
    Error::invalid(format!("Cannot assign value {value} into a vector of type {kind}."))
}

/// The code of a category that a column has.
fn level(domain: &Arc<Vec<String>>, text: &str) -> Result<f64> {
    domain.iter().position(|d| d == text).map(|i| i as f64).ok_or_else(|| unsuited(text, &Kind::Enum(domain.clone())))
}

/// A column with the cells at `rows` replaced.
fn scatter(env: &Env<'_>, old: &Column, source: &Value, rows: &[u64], name: &str) -> Result<Column> {
    let ledger = &env.node.ledger;
    let source_column = match source {
        Value::Frame(f) => Some(f.column(0).clone()),
        _ => None,
    };
    let texts = matches!(old.kind, Kind::Text) || source_column.as_ref().is_some_and(|c| matches!(c.kind, Kind::Text));
    if texts {
        let mut values = old.to_texts()?;
        let new: Vec<Option<String>> = match (source, &source_column) {
            (_, Some(c)) => c.to_texts()?,
            (Value::Str(s), _) => vec![Some(s.clone())],
            (Value::Num(v), _) if v.is_nan() => vec![None],
            (Value::Num(v), _) => return Err(unsuited(&ochre_core::number_text(*v), &old.kind)),
            (other, _) => return Err(Error::invalid(format!("{} cannot be assigned to the text column '{name}'", other.kind()))),
        };
        for (i, &r) in rows.iter().enumerate() {
            values[r as usize] = pick(&new, rows.len(), i, r).clone();
        }
        return Column::from_texts(ledger, &values);
    }
    let mut values = old.numbers()?;
    let mut kind = old.kind.clone();
    let mut code = |label: &str| -> f64 {
        if let Kind::Enum(d) = &mut kind {
            if let Some(i) = d.iter().position(|t| t == label) {
                return i as f64;
            }
            Arc::make_mut(d).push(label.to_string());
            return (d.len() - 1) as f64;
        }
        f64::NAN
    };
    let new: Numbers = match (source, &source_column) {
        (_, Some(c)) if c.is_enum() => c.to_texts()?.iter().map(|t| t.as_deref().map_or(f64::NAN, &mut code)).collect::<Vec<_>>().into(),
        (_, Some(c)) => c.numbers()?,
        (Value::Str(s), _) => match &old.kind {
            Kind::Enum(d) => vec![level(d, s)?].into(),
            other => return Err(unsuited(s, other)),
        },
        (Value::Num(v), _) if old.is_enum() && !v.is_nan() => return Err(unsuited(&ochre_core::number_text(*v), &old.kind)),
        (Value::Num(v), _) => vec![*v].into(),
        (other, _) => return Err(Error::invalid(format!("{} cannot be assigned to the column '{name}'", other.kind()))),
    };
    for (i, &r) in rows.iter().enumerate() {
        values[r as usize] = *pick(&new, rows.len(), i, r);
    }
    if matches!(kind, Kind::Missing) {
        kind = Kind::Real;
    }
    Column::numeric(ledger, kind, &values)
}

/// The new value of the i-th of some cells: of one value, always that; of as many as cells, the i-th; otherwise that of the
/// same row.
fn pick<T>(new: &[T], cells: usize, i: usize, row: u64) -> &T {
    match new.len() {
        1 => &new[0],
        n if n == cells => &new[i],
        _ => &new[row as usize],
    }
}

fn rename(_: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let picked = columns(&frame, &args[1], false)?;
    let new = args[2].texts()?;
    if picked.len() != new.len() {
        return Err(Error::invalid(format!(
            "Must have the same number of columns as names: {} columns, {} names",
            picked.len(),
            new.len()
        )));
    }
    let mut names = frame.names().to_vec();
    for (i, n) in picked.into_iter().zip(new) {
        names[i] = n;
    }
    Ok(Value::Frame(Arc::new(frame.with_names(names)?)))
}

/// A categorical column from texts, its categories sorted.
pub fn to_enum(env: &Env<'_>, texts: &[Option<String>]) -> Result<Column> {
    let mut domain: Vec<String> = texts.iter().flatten().cloned().collect::<std::collections::HashSet<_>>().into_iter().collect();
    domain.sort();
    to_levels(env, texts, domain)
}

/// Texts as categories, all of which are among these.
fn to_levels(env: &Env<'_>, texts: &[Option<String>], domain: Vec<String>) -> Result<Column> {
    let codes: HashMap<&str, usize> = domain.iter().enumerate().map(|(i, t)| (t.as_str(), i)).collect();
    let values: Vec<f64> = texts.iter().map(|t| t.as_deref().map_or(f64::NAN, |t| codes[t] as f64)).collect();
    drop(codes);
    Column::numeric(&env.node.ledger, Kind::Enum(Arc::new(domain)), &values)
}

fn each_column(args: Vec<Value>, f: impl Fn(&Column) -> Result<Column>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    Value::new_frame(frame.names().to_vec(), frame.columns().iter().map(f).collect::<Result<Vec<_>>>()?)
}

fn as_factor(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let env = &*env;
    each_column(args, |c| match &c.kind {
        Kind::Enum(_) => Ok(c.clone()),
        Kind::Text => to_enum(env, &c.to_texts()?),
        Kind::Uuid => Err(Error::invalid("asfactor() is not defined for UUIDs")),
        _ => {
            let values = c.numbers()?;
            let mut distinct: Vec<f64> = values.clone();
            distinct.retain(|v| !v.is_nan());
            distinct.par_sort_unstable_by(f64::total_cmp);
            distinct.dedup();
            if distinct.len() > 10_000_000 {
                return Err(Error::invalid(format!("a column with {} distinct values cannot become categorical", distinct.len())));
            }
            let codes: Vec<f64> =
                values.par_iter().map(|v| distinct.binary_search_by(|d| d.total_cmp(v)).map_or(f64::NAN, |i| i as f64)).collect();
            // Labels of a column with fractions have a point, also where the value is whole.
            let whole = distinct.iter().all(|v| *v == v.trunc());
            let domain = distinct.iter().map(|v| if whole { ochre_core::number_text(*v) } else { format!("{v:?}") }).collect();
            Column::numeric(&env.node.ledger, Kind::Enum(Arc::new(domain)), &codes)
        }
    })
}

fn as_numeric(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let env = &*env;
    each_column(args, |c| match &c.kind {
        // Categories that are numbers become those numbers, others their codes.
        Kind::Enum(d) => match d.first().map(|t| t.parse::<i64>().is_ok()) {
            Some(true) => {
                let numbers: Vec<f64> = d.iter().map(|t| t.parse().unwrap_or(f64::NAN)).collect();
                let values: Vec<f64> = c.numbers()?.iter().copied().map(|v| if v.is_nan() { v } else { numbers[v as usize] }).collect();
                Column::from_f64(&env.node.ledger, &values)
            }
            _ => Ok(c.with_kind(Kind::Real)),
        },
        Kind::Text => {
            let values: Vec<f64> =
                c.to_texts()?.iter().map(|t| t.as_deref().and_then(|t| t.trim().parse().ok()).unwrap_or(f64::NAN)).collect();
            Column::from_f64(&env.node.ledger, &values)
        }
        Kind::Time => Ok(c.with_kind(Kind::Real)),
        _ => Ok(c.clone()),
    })
}

fn as_character(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let env = &*env;
    each_column(args, |c| if matches!(c.kind, Kind::Text) { Ok(c.clone()) } else { Column::from_texts(&env.node.ledger, &c.to_texts()?) })
}

fn missing(c: &Column) -> Result<Vec<f64>> {
    Ok(match c.kind {
        Kind::Text | Kind::Uuid => c.to_texts()?.iter().map(|t| f64::from(t.is_none())).collect(),
        _ => c.numbers()?.par_iter().copied().map(|v| f64::from(v.is_nan())).collect(),
    })
}

fn is_na(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = match &args[0] {
        Value::Num(v) => return Ok(Value::Num(f64::from(v.is_nan()))),
        v => v.clone().frame()?,
    };
    let out = frame.columns().iter().map(|c| Column::from_f64(&env.node.ledger, &missing(c)?)).collect::<Result<Vec<_>>>()?;
    Value::new_frame(frame.names().iter().map(|n| format!("isNA({n})")).collect(), out)
}

fn na_omit(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let mut bad = vec![false; frame.rows()];
    for c in frame.columns() {
        if c.rollup()?.missing > 0 {
            missing(c)?.iter().enumerate().filter(|(_, m)| **m == 1.0).for_each(|(i, _)| bad[i] = true);
        }
    }
    let index: Vec<u64> = (0..frame.rows() as u64).filter(|i| !bad[*i as usize]).collect();
    Ok(Value::Frame(Arc::new(take(env, &frame, index)?)))
}

fn ifelse(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let test = match &args[0] {
        Value::Num(v) if v.is_nan() => return Ok(Value::Num(f64::NAN)),
        Value::Num(v) => return Ok(args[if *v != 0.0 { 1 } else { 2 }].clone()),
        v => v.clone().frame()?,
    };
    let rows = test.rows();
    let mut out = vec![];
    for (i, t) in test.columns().iter().enumerate() {
        let side = |v: &Value| -> Result<Value> {
            match v {
                Value::Frame(f) if f.rows() == rows || f.rows() == 1 => Value::one("v", f.column(i.min(f.width() - 1)).clone()),
                Value::Frame(f) => Err(Error::invalid(format!("ifelse needs frames of {rows} rows, found {}", f.rows()))),
                v => Ok(v.clone()),
            }
        };
        let (yes, no) = (side(&args[1])?, side(&args[2])?);
        let words = |v: &Value| {
            matches!(v, Value::Str(_)) || matches!(v, Value::Frame(f) if f.column(0).is_enum() || matches!(f.column(0).kind, Kind::Text))
        };
        let tests = t.numbers()?;
        if words(&yes) || words(&no) {
            let texts = |v: &Value| -> Result<Vec<Option<String>>> {
                match v {
                    Value::Frame(f) => f.column(0).to_texts(),
                    Value::Str(s) => Ok(vec![Some(s.clone())]),
                    Value::Num(x) => Ok(vec![(!x.is_nan()).then(|| ochre_core::number_text(*x))]),
                    other => Err(Error::invalid(format!("ifelse cannot answer {}", other.kind()))),
                }
            };
            let (y, n) = (texts(&yes)?, texts(&no)?);
            let values: Vec<Option<String>> = tests
                .iter()
                .enumerate()
                .map(|(r, t)| {
                    if t.is_nan() {
                        None
                    } else if *t != 0.0 {
                        y[r.min(y.len() - 1)].clone()
                    } else {
                        n[r.min(n.len() - 1)].clone()
                    }
                })
                .collect();
            out.push(match (&yes, &no) {
                // Of two texts, the one for no is the first category.
                (Value::Str(y), Value::Str(n)) if y < n && [y, n].iter().all(|t| values.iter().flatten().any(|v| v == *t)) => {
                    to_levels(env, &values, vec![n.clone(), y.clone()])?
                }
                _ => to_enum(env, &values)?,
            });
        } else {
            let numbers = |v: &Value| -> Result<Numbers> {
                match v {
                    Value::Frame(f) => f.column(0).numbers(),
                    v => v.nums().map(Numbers::from),
                }
            };
            let (y, n) = (numbers(&yes)?, numbers(&no)?);
            let values: Vec<f64> = tests
                .par_iter()
                .enumerate()
                .map(|(r, t)| {
                    if t.is_nan() {
                        f64::NAN
                    } else if *t != 0.0 {
                        y[r.min(y.len() - 1)]
                    } else {
                        n[r.min(n.len() - 1)]
                    }
                })
                .collect();
            out.push(Column::from_f64(&env.node.ledger, &values)?);
        }
    }
    Value::new_frame((1..=out.len()).map(|i| format!("C{i}")).collect(), out)
}

fn flatten(_: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let Value::Frame(f) = &args[0] else { return Ok(args[0].clone()) };
    if f.rows() != 1 || f.width() != 1 {
        return Ok(args[0].clone());
    }
    let c = f.column(0);
    match c.kind {
        Kind::Enum(_) | Kind::Text | Kind::Uuid => Ok(Value::Str(c.to_texts()?[0].clone().unwrap_or_else(|| "NA".into()))),
        _ => Ok(Value::Num(c.value(0)?)),
    }
}

fn getrow(_: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let f = args[0].clone().frame()?;
    if f.rows() != 1 {
        return Err(Error::invalid(format!("getrow works only for frames with a single row, found {} rows", f.rows())));
    }
    f.columns().iter().map(|c| if c.is_number() { c.value(0) } else { Ok(f64::NAN) }).collect::<Result<Vec<_>>>().map(Value::Nums)
}

pub fn seed(v: &Value) -> Result<i64> {
    let s = v.num()?;
    Ok(if s == -1.0 { Rng::fresh_seed() } else { s as i64 })
}

fn runif(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let rows = args[0].clone().frame()?.rows();
    let seed = seed(&args[1])?;
    let column = Column::generate(&env.node.ledger, Kind::Real, rows, |first, n| {
        let mut rng = Rng::new(0);
        (first..first + n)
            .map(|i| {
                rng.set_seed(seed.wrapping_add(i as i64));
                f64::from(rng.next_f32())
            })
            .collect()
    })?;
    Value::one("rnd", column)
}

fn kfold(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let rows = args[0].clone().frame()?.rows();
    let (n, seed) = (args[1].num()?, seed(&args[2])?);
    if !(1.0..=1e9).contains(&n) {
        return Err(Error::invalid(format!("the number of folds must be at least 1, but is {n}")));
    }
    let values: Vec<f64> =
        (0..rows).map(|i| f64::from((Rng::new(seed.wrapping_add(i as i64)).next_u32() as i32).unsigned_abs() % n as u32)).collect();
    Value::one("C1", Column::from_f64(&env.node.ledger, &values)?)
}

fn modulo_kfold(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let rows = args[0].clone().frame()?.rows();
    let n = args[1].num()?.max(1.0);
    Value::one("C1", Column::from_f64(&env.node.ledger, &(0..rows).map(|i| i as f64 % n).collect::<Vec<_>>())?)
}

fn which(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let f = args[0].clone().frame()?;
    if f.width() != 1 && f.rows() != 1 {
        return Err(Error::invalid("which requires a single column"));
    }
    let values: Numbers = if f.rows() == 1 && f.width() > 1 {
        f.columns().iter().map(|c| c.value(0)).collect::<Result<Vec<_>>>()?.into()
    } else {
        f.column(0).numbers()?
    };
    let found: Vec<f64> = values.iter().enumerate().filter(|(_, v)| **v != 0.0 && !v.is_nan()).map(|(i, _)| i as f64).collect();
    Value::one("C1", Column::from_f64(&env.node.ledger, &found)?)
}

fn scale(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let wide = |v: &Value| -> Result<Option<Vec<f64>>> {
        match v {
            Value::Nums(v) if v.len() == frame.width() => Ok(Some(v.clone())),
            Value::Num(_) => Ok(None),
            v => Err(Error::invalid(format!("scale takes true, false or one number per column ({}), not {}", frame.width(), v.kind()))),
        }
    };
    let (centers, scales) = (wide(&args[1])?, wide(&args[2])?);
    let (center, by_sigma) = (matches!(&args[1], Value::Num(v) if *v != 0.0), matches!(&args[2], Value::Num(v) if *v != 0.0));
    let mut out = vec![];
    for (i, c) in frame.columns().iter().enumerate() {
        if !c.is_number() {
            out.push(c.clone());
            continue;
        }
        let r = c.rollup()?;
        let m = centers.as_ref().map_or(if center { r.mean } else { 0.0 }, |v| v[i]);
        // As in the reference, numbers given multiply, where the deviation divides.
        let s = scales.as_ref().map_or(if by_sigma && r.sigma > 0.0 { 1.0 / r.sigma } else { 1.0 }, |v| v[i]);
        out.push(Column::map_chunks(&env.node.ledger, Kind::Real, &[c], |v| v[0].iter().map(|v| (v - m) * s).collect())?);
    }
    Value::new_frame(frame.names().to_vec(), out)
}

fn scale_in_place(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let scaled = scale(env, args)?.frame()?;
    replace_columns(env, &frame, &scaled)?;
    Ok(Value::Frame(scaled))
}

/// Puts changed columns into every stored frame that has the old ones.
fn replace_columns(env: &Env<'_>, old: &Frame, new: &Frame) -> Result<()> {
    for (key, f) in env.node.store.all::<Frame>() {
        let place = |c: &Column| old.columns().iter().position(|o| o.is_same(c));
        if f.columns().iter().any(|c| place(c).is_some()) {
            let columns = f.columns().iter().map(|c| place(c).map_or_else(|| c.clone(), |i| new.column(i).clone())).collect();
            env.node.store.put_shared(&key, Arc::new(Frame::new(f.names().to_vec(), columns)?))?;
        }
    }
    Ok(())
}

fn product(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let (left, right) = (args[0].clone().frame()?, args[1].clone().frame()?);
    if left.width() != right.rows() {
        return Err(Error::invalid(format!(
            "a matrix of {} by {} cannot be multiplied by one of {} by {}: the inner sizes differ",
            left.rows(),
            left.width(),
            right.rows(),
            right.width()
        )));
    }
    if !left.columns().iter().chain(right.columns()).all(Column::is_number) {
        return Err(Error::invalid("a matrix product is taken of numeric columns only"));
    }
    let inputs: Vec<&Column> = left.columns().iter().collect();
    let mut out = vec![];
    for c in right.columns() {
        let weights = c.numbers()?;
        out.push(Column::map_chunks(&env.node.ledger, Kind::Real, &inputs, |v| {
            (0..v[0].len()).map(|r| v.iter().zip(&weights).map(|(c, w)| c[r] * w).sum()).collect()
        })?);
    }
    Value::new_frame((1..=out.len()).map(|i| format!("C{i}")).collect(), out)
}

fn apply(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let f = &args[2];
    if args[1].num()? == 1.0 {
        // By row: each row as a frame of one row, its categories as their codes.
        if let Some(i) = frame.columns().iter().position(|c| matches!(c.kind, Kind::Text | Kind::Uuid)) {
            return Err(Error::invalid(format!("a row of numbers is needed, but the column '{}' holds texts", frame.names()[i])));
        }
        let number = |c: &Column| if c.is_enum() { c.with_kind(Kind::Real) } else { c.clone() };
        let numbers = Frame::new(frame.names().to_vec(), frame.columns().iter().map(number).collect())?;
        let mut out: Vec<Vec<f64>> = vec![];
        for r in 0..frame.rows() {
            let row = take(env, &numbers, vec![r as u64])?;
            let outer = std::mem::replace(&mut env.by_row, true);
            let answer = env.call(f, vec![Value::Frame(Arc::new(row))]);
            env.by_row = outer;
            out.push(match answer? {
                Value::Frame(f) => f.columns().iter().map(|c| c.value(0)).collect::<Result<Vec<_>>>()?,
                v => v.nums()?,
            });
        }
        let width = out.first().map_or(0, Vec::len);
        let columns = (0..width)
            .map(|c| Column::from_f64(&env.node.ledger, &out.iter().map(|r| r[c]).collect::<Vec<_>>()))
            .collect::<Result<Vec<_>>>()?;
        return Value::new_frame((1..=width).map(|i| format!("C{i}")).collect(), columns);
    }
    let (mut names, mut columns) = (vec![], vec![]);
    for (i, n) in frame.names().iter().enumerate() {
        let one = Value::Frame(Arc::new(frame.select(&[i])));
        match env.call(f, vec![one])? {
            // A column that comes back as it went in is a copy: what changes the one where it stands leaves the other alone.
            Value::Frame(f) if f.column(0).is_same(frame.column(i)) => columns.push(f.column(0).apart()),
            Value::Frame(f) => columns.push(f.column(0).clone()),
            v => columns.push(Column::from_f64(&env.node.ledger, &v.nums()?)?),
        }
        names.push(n.clone());
    }
    Value::new_frame(names, columns)
}

fn transpose(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    if frame.rows() > 100_000 {
        return Err(Error::invalid(format!("transposing {} rows would make as many columns; at most 100000 are allowed", frame.rows())));
    }
    if let Some(i) = frame.columns().iter().position(|c| !c.is_number()) {
        return Err(Error::invalid(format!("only numeric columns can be transposed, but '{}' is none", frame.names()[i])));
    }
    let values = frame.columns().iter().map(|c| c.numbers()).collect::<Result<Vec<_>>>()?;
    let columns = (0..frame.rows())
        .map(|r| Column::from_f64(&env.node.ledger, &values.iter().map(|c| c[r]).collect::<Vec<_>>()))
        .collect::<Result<Vec<_>>>()?;
    Value::new_frame((1..=frame.rows()).map(|i| format!("C{i}")).collect(), columns)
}

fn cut(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    if frame.width() != 1 || !frame.column(0).is_number() {
        return Err(Error::invalid("cut applies to a single numeric column"));
    }
    let c = frame.column(0);
    let r = c.rollup()?;
    let mut breaks = args[1].nums()?;
    let digits = args[5].num()? as i32;
    if breaks.len() == 1 {
        let n = breaks[0];
        if !(2.0..=1e6).contains(&n) {
            return Err(Error::invalid(format!("the number of intervals must be from 2 to 1000000, but is {n}")));
        }
        let width = (r.max - r.min) / n;
        breaks = (0..=n as usize).map(|i| r.min + i as f64 * width).collect();
        breaks[0] -= 1e-3 * (r.max - r.min);
        let last = breaks.len() - 1;
        breaks[last] += 1e-3 * (r.max - r.min);
    }
    breaks.sort_by(f64::total_cmp);
    let (lowest, right) = (args[3].truth()?, args[4].truth()?);
    let given = args[2].texts()?;
    let show = |v: f64| {
        let rounded: f64 = format!("{v:.*}", digits.max(0) as usize).parse().unwrap_or(v);
        format!("{rounded:?}")
    };
    let labels: Vec<String> = if given.is_empty() {
        breaks
            .windows(2)
            .enumerate()
            .map(|(i, w)| {
                let closed = if !right || (lowest && i == 0) { '[' } else { '(' };
                format!("{closed}{},{}{}", show(w[0]), show(w[1]), if right { ']' } else { ')' })
            })
            .collect()
    } else {
        given
    };
    if labels.len() + 1 != breaks.len() {
        return Err(Error::invalid(format!(
            "`labels` vector does not match the number of cuts: {} labels, {} intervals",
            labels.len(),
            breaks.len() - 1
        )));
    }
    let n = breaks.len();
    let values: Vec<f64> = c
        .numbers()?
        .par_iter()
        .copied()
        .map(|v| {
            if v.is_nan() || v < breaks[0] || v > breaks[n - 1] {
                return f64::NAN;
            }
            // The least break belongs to the first interval when asked for, the greatest to the last only where intervals end so.
            if v == breaks[0] {
                return if lowest { 0.0 } else { f64::NAN };
            }
            let below = breaks.partition_point(|b| if right { *b < v } else { *b <= v });
            if below < n { (below - 1) as f64 } else { f64::NAN }
        })
        .collect();
    Value::one(&frame.names()[0], Column::numeric(&env.node.ledger, Kind::Enum(Arc::new(labels)), &values)?)
}

fn impute(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let method = args[2].text()?.to_lowercase();
    let combine = args[3].text().unwrap_or("interpolate").to_lowercase();
    let picked: Vec<usize> = match args[1].num() {
        Ok(-1.0) => (0..frame.width()).collect(),
        _ => columns(&frame, &args[1], false)?,
    };
    // The client writes what is not given as a name or as a text.
    let given = |v: &Value| match v {
        Value::Nothing => false,
        Value::Nums(n) => !n.is_empty(),
        Value::Str(s) => s != "_",
        _ => true,
    };
    if given(&args[4]) {
        return impute_by_group(env, &frame, &picked, &method, &combine, &args[4]);
    }
    let values: Vec<f64> = match &args[6] {
        v if given(v) => v.nums()?,
        _ => vec![],
    };
    let mut used = vec![f64::NAN; frame.width()];
    let mut out = frame.columns().to_vec();
    for i in picked {
        let c = &frame.columns()[i];
        let v = match values.get(i) {
            Some(v) => *v,
            None => stand_in(c, &method, &combine)?,
        };
        used[i] = v;
        if c.rollup()?.missing > 0 && !v.is_nan() {
            let fill = |x: &f64| if x.is_nan() { v } else { *x };
            let kind = if matches!(c.kind, Kind::Missing) { Kind::Real } else { c.kind.clone() };
            out[i] = Column::map_chunks(&env.node.ledger, kind, &[c], |v| v[0].iter().map(fill).collect())?;
        }
    }
    // The frame is changed where it stands: under its name in the store.
    replace_columns(env, &frame, &Frame::new(frame.names().to_vec(), out)?)?;
    Ok(Value::Nums(used))
}

/// What stands in for the missing values of a column.
fn stand_in(c: &Column, method: &str, combine: &str) -> Result<f64> {
    Ok(match (&c.kind, method) {
        (Kind::Enum(_), _) => mode_code(c)?,
        (Kind::Text | Kind::Uuid, _) => f64::NAN,
        (_, "mean") => c.rollup()?.mean,
        (_, "median") => {
            let mut s = c.numbers()?;
            s.retain(|v| !v.is_nan());
            s.par_sort_unstable_by(f64::total_cmp);
            ochre_core::quantile(&s, 0.5, combine)
        }
        (_, "mode") => most_frequent(c.numbers()?),
        (_, m) => return Err(Error::invalid(format!("unknown method '{m}'; use mean, median or mode"))),
    })
}

/// Fills each group with its own mean, median or mode; answers one row per group.
fn impute_by_group(env: &Env<'_>, frame: &Frame, picked: &[usize], method: &str, combine: &str, by: &Value) -> Result<Value> {
    let by = columns(frame, by, false)?;
    let by_columns: Vec<&Column> = by.iter().map(|&c| frame.column(c)).collect();
    let g = crate::group::groups(&by_columns)?;
    let ledger = &env.node.ledger;
    let first: Vec<u64> = g.first.iter().map(|r| *r as u64).collect();
    let mut names: Vec<String> = by.iter().map(|&c| frame.names()[c].clone()).collect();
    let heads = Taken::new(ledger, frame.rows(), first)?;
    let mut table = by_columns.iter().map(|c| heads.column(c)).collect::<Result<Vec<_>>>()?;
    let mut out = frame.columns().to_vec();
    for &i in picked.iter().filter(|i| !by.contains(i)) {
        let c = frame.column(i);
        if matches!(c.kind, Kind::Text | Kind::Uuid) {
            return Err(Error::invalid(format!("the text column '{}' cannot be imputed", frame.names()[i])));
        }
        let mut values = c.numbers()?;
        let mut members: Vec<Vec<f64>> = vec![vec![]; g.first.len()];
        values.iter().zip(&g.of_row).filter(|(v, _)| !v.is_nan()).for_each(|(v, id)| members[*id as usize].push(*v));
        let fill = members
            .iter()
            .map(|m| if m.is_empty() { Ok(f64::NAN) } else { stand_in(&Column::numeric(ledger, c.kind.clone(), m)?, method, combine) })
            .collect::<Result<Vec<f64>>>()?;
        values.iter_mut().zip(&g.of_row).filter(|(v, _)| v.is_nan()).for_each(|(v, id)| *v = fill[*id as usize]);
        out[i] = Column::numeric(ledger, c.kind.clone(), &values)?;
        names.push(format!("{method}_{}", frame.names()[i]));
        table.push(Column::numeric(ledger, c.kind.clone(), &fill)?);
    }
    replace_columns(env, frame, &Frame::new(frame.names().to_vec(), out)?)?;
    Value::new_frame(names, table)
}

/// The value that stands most often, the least of several.
fn most_frequent(mut values: Numbers) -> f64 {
    values.retain(|v| !v.is_nan());
    values.par_sort_unstable_by(f64::total_cmp);
    let runs = values.chunk_by(|a, b| a == b);
    runs.fold((0, f64::NAN), |best, run| if run.len() > best.0 { (run.len(), run[0]) } else { best }).1
}

fn mode_code(c: &Column) -> Result<f64> {
    let mut counts = vec![0usize; c.domain().map_or(0, |d| d.len())];
    c.numbers()?.iter().filter(|v| !v.is_nan()).for_each(|v| counts[*v as usize] += 1);
    let top = counts.iter().copied().max().unwrap_or(0);
    Ok(counts.iter().position(|n| *n == top).map_or(f64::NAN, |i| i as f64))
}

fn match_table(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    if frame.width() != 1 {
        return Err(Error::invalid("match applies to a single column"));
    }
    let (nomatch, start) = (args[2].num().unwrap_or(f64::NAN), args[3].num().unwrap_or(1.0));
    let c = frame.column(0);
    let at = |i: Option<usize>| i.map_or(nomatch, |i| i as f64 + start);
    let values: Vec<f64> = match &args[1] {
        Value::Strs(_) | Value::Str(_) => {
            let table = args[1].texts()?;
            c.to_texts()?.iter().map(|t| at(t.as_ref().and_then(|t| table.iter().position(|x| x == t)))).collect()
        }
        v => {
            let table = v.nums()?;
            c.numbers()?.iter().map(|x| at(table.iter().position(|y| y == x))).collect()
        }
    };
    let mut b = ColumnBuilder::new(&env.node.ledger, Kind::Real);
    for part in values.chunks(ochre_core::CHUNK_ROWS) {
        b.push(ochre_core::pack_f64(part))?;
    }
    Value::one("C1", b.finish())
}
