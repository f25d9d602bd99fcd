//! Grouping, counting and sorting. Groups are numbered by their sorted keys, so results do not depend on threads.

use crate::value::columns;
use crate::{Env, Prim, Value, call, frames};
use ochre_core::{Column, Error, Frame, Kind, Result, quantile};
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::sync::Arc;

pub const GROUPS: &[Prim] = &[
    call("GB", &["frame", "by", "..."], group_by, "Aggregates by groups: (GB frame [columns] aggregate column na_mode ...)."),
    call("table", &["x", "y?", "dense?"], table, "Counts of values, or of pairs of values."),
    call("unique", &["frame", "include_nas?"], unique, "The distinct values of a column."),
    call("sort", &["frame", "columns", "ascending?"], sort, "Rows in the order of some columns, missing values first."),
    call("dropdup", &["frame", "columns", "keep"], dropdup, "The first or last row of each group."),
];

/// A key that orders missing values first and numbers as numbers.
pub fn ordered(v: f64) -> i64 {
    if v.is_nan() {
        return i64::MIN;
    }
    let b = (v + 0.0).to_bits() as i64;
    if b < 0 { b ^ i64::MAX } else { b }
}

/// Sort keys of a column: numbers, codes, or ranks of texts.
fn keys(c: &Column) -> Result<Vec<i64>> {
    if matches!(c.kind, Kind::Text | Kind::Uuid) {
        let texts = c.to_texts()?;
        let mut distinct: Vec<&String> = texts.iter().flatten().collect();
        distinct.par_sort_unstable();
        distinct.dedup();
        return Ok(texts.iter().map(|t| t.as_ref().map_or(i64::MIN, |t| distinct.binary_search(&t).expect("there") as i64)).collect());
    }
    Ok(c.to_f64()?.into_par_iter().map(ordered).collect())
}

/// Groups of equal keys: the group of each row, and a first row of each group, groups in key order.
pub struct Groups {
    pub of_row: Vec<u32>,
    pub first: Vec<usize>,
}

pub fn groups(by: &[&Column]) -> Result<Groups> {
    let keys: Vec<Vec<i64>> = by.iter().map(|c| keys(c)).collect::<Result<_>>()?;
    let rows = keys.first().map_or(0, Vec::len);
    let mut ids = vec![0u32; rows];
    let mut first: Vec<usize> = vec![];
    if let [only] = keys.as_slice() {
        let mut map: FxHashMap<i64, u32> = FxHashMap::default();
        for (r, id) in ids.iter_mut().enumerate() {
            *id = *map.entry(only[r]).or_insert_with(|| {
                first.push(r);
                first.len() as u32 - 1
            });
        }
    } else {
        let mut map: FxHashMap<Vec<i64>, u32> = FxHashMap::default();
        let mut key = vec![0; keys.len()];
        for (r, id) in ids.iter_mut().enumerate() {
            for (k, column) in key.iter_mut().zip(&keys) {
                *k = column[r];
            }
            *id = match map.get(&key) {
                Some(id) => *id,
                None => {
                    first.push(r);
                    map.insert(key.clone(), first.len() as u32 - 1);
                    first.len() as u32 - 1
                }
            };
        }
    }
    let mut order: Vec<usize> = (0..first.len()).collect();
    order.par_sort_by(|a, b| keys.iter().map(|k| k[first[*a]].cmp(&k[first[*b]])).find(|o| o.is_ne()).unwrap_or(std::cmp::Ordering::Equal));
    let mut place = vec![0u32; order.len()];
    for (new, old) in order.iter().enumerate() {
        place[*old] = new as u32;
    }
    ids.par_iter_mut().for_each(|id| *id = place[*id as usize]);
    Ok(Groups { of_row: ids, first: order.into_iter().map(|o| first[o]).collect() })
}

/// Running sums of one group and column.
#[derive(Clone, Copy)]
struct Sums {
    n: f64,
    missing: f64,
    sum: f64,
    squares: f64,
    mean: f64,
    m2: f64,
    min: f64,
    max: f64,
}

const NONE: Sums = Sums { n: 0.0, missing: 0.0, sum: 0.0, squares: 0.0, mean: 0.0, m2: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY };

impl Sums {
    fn push(&mut self, v: f64) {
        if v.is_nan() {
            self.missing += 1.0;
            return;
        }
        self.n += 1.0;
        self.sum += v;
        self.squares += v * v;
        // Welford (1962).
        let d = v - self.mean;
        self.mean += d / self.n;
        self.m2 += d * (v - self.mean);
        self.min = self.min.min(v);
        self.max = self.max.max(v);
    }
}

fn group_by(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let by = columns(&frame, &args[1], false)?;
    if by.is_empty() {
        return Err(Error::invalid("GB needs at least one column to group by"));
    }
    let by_columns: Vec<&Column> = by.iter().map(|&c| frame.column(c)).collect();
    let g = groups(&by_columns)?;
    let count = g.first.len();
    let index: Vec<u64> = g.first.iter().map(|r| *r as u64).collect();
    let mut names: Vec<String> = by.iter().map(|&c| frame.names()[c].clone()).collect();
    let mut out: Vec<Column> = by_columns.iter().map(|c| c.take(&env.node.ledger, &index)).collect::<Result<_>>()?;
    let mut done: FxHashMap<usize, Vec<Sums>> = FxHashMap::default();
    for spec in args[2..].chunks(3) {
        let [f, column, na] = spec else { return Err(Error::invalid("GB takes aggregates as triples: name, column, NA mode")) };
        let f = match f {
            Value::Prim(p) => p.name.to_string(),
            Value::Str(s) => s.clone(),
            other => return Err(Error::invalid(format!("an aggregate is named, not given as {}", other.kind()))),
        };
        let c = columns(&frame, column, false)?.first().copied().ok_or_else(|| Error::invalid("an aggregate needs a column"))?;
        let mode = na.text()?.to_lowercase();
        let column = frame.column(c);
        if f != "nrow" && f != "mode" && !column.is_number() && !column.is_enum() {
            return Err(Error::invalid(format!("{f} is not defined for the column '{}'", frame.names()[c])));
        }
        let name = &frame.names()[c];
        let values: Vec<f64> = match f.as_str() {
            "median" | "mode" => {
                let mut lists: Vec<Vec<f64>> = vec![vec![]; count];
                let mut missing = vec![false; count];
                for (v, g) in column.to_f64()?.iter().zip(&g.of_row) {
                    if v.is_nan() { missing[*g as usize] = true } else { lists[*g as usize].push(*v) }
                }
                lists
                    .par_iter_mut()
                    .zip(missing)
                    .map(|(l, missing)| {
                        l.sort_unstable_by(f64::total_cmp);
                        if missing && mode == "all" {
                            f64::NAN
                        } else if f == "median" {
                            quantile(l, 0.5, "interpolate")
                        } else {
                            most_frequent(l)
                        }
                    })
                    .collect()
            }
            _ => {
                if let std::collections::hash_map::Entry::Vacant(e) = done.entry(c) {
                    let mut sums = vec![NONE; count];
                    let texts = matches!(column.kind, Kind::Text | Kind::Uuid);
                    let values = if texts { vec![0.0; frame.rows()] } else { column.to_f64()? };
                    for (v, g) in values.iter().zip(&g.of_row) {
                        sums[*g as usize].push(*v);
                    }
                    e.insert(sums);
                }
                done[&c].iter().map(|s| aggregate(&f, &mode, s)).collect::<Result<Vec<_>>>()?
            }
        };
        let shown = match f.as_str() {
            "nrow" => "nrow".to_string(),
            "sumSquares" | "ss" => format!("sumSquares_{name}"),
            f => format!("{f}_{name}"),
        };
        names.push(shown);
        out.push(Column::from_f64(&env.node.ledger, &values)?);
    }
    Value::new_frame(ochre_core::unique_names(names), out)
}

fn most_frequent(sorted: &[f64]) -> f64 {
    let (mut best, mut top, mut at) = (f64::NAN, 0, 0);
    while at < sorted.len() {
        let end = at + sorted[at..].partition_point(|v| *v <= sorted[at]);
        if end - at > top {
            (best, top) = (sorted[at], end - at);
        }
        at = end;
    }
    best
}

/// `mode`: "all" lets a missing value make the result missing, "rm" leaves it out, "ignore" leaves it out of sums but
/// counts its row.
fn aggregate(f: &str, mode: &str, s: &Sums) -> Result<f64> {
    let spoiled = mode == "all" && s.missing > 0.0;
    let rows = if mode == "ignore" { s.n + s.missing } else { s.n };
    let v = match f {
        "nrow" | "count" => return Ok(if mode == "rm" { s.n } else { s.n + s.missing }),
        "sum" => s.sum,
        "sumSquares" | "ss" => s.squares,
        "mean" => s.sum / rows,
        "min" => {
            if s.n == 0.0 {
                f64::NAN
            } else {
                s.min
            }
        }
        "max" => {
            if s.n == 0.0 {
                f64::NAN
            } else {
                s.max
            }
        }
        "var" => variance(s, rows),
        "sdev" => variance(s, rows).sqrt(),
        _ => {
            return Err(Error::invalid(format!(
                "unknown aggregate '{f}'; use nrow, mean, sum, min, max, var, sdev, sumSquares, median or mode"
            )));
        }
    };
    Ok(if spoiled { f64::NAN } else { v })
}

/// Sample variance; rows beyond the present values (mode "ignore") count as zeros.
fn variance(s: &Sums, rows: f64) -> f64 {
    if rows <= 1.0 {
        return f64::NAN;
    }
    let mean = s.sum / rows;
    let zeros = if rows > s.n { s.n * s.mean * s.mean - rows * mean * mean } else { 0.0 };
    (s.m2 + zeros) / (rows - 1.0)
}

fn table(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let x = args[0].clone().frame()?;
    let mut dense = true;
    let mut both = x.as_ref().clone();
    for a in &args[1..] {
        match a {
            Value::Frame(y) => {
                both = Frame::new(
                    ochre_core::unique_names(x.names().iter().chain(y.names()).cloned().collect()),
                    x.columns().iter().chain(y.columns()).cloned().collect(),
                )?;
            }
            v => dense = v.truth()?,
        }
    }
    if both.width() > 2 || both.width() == 0 {
        return Err(Error::invalid(format!("table takes one or two columns, found {}", both.width())));
    }
    for c in both.columns() {
        if matches!(c.kind, Kind::Text | Kind::Uuid) || !(c.is_enum() || c.rollup()?.whole) {
            return Err(Error::invalid("table takes categorical or whole-number columns"));
        }
    }
    let keep = complete(&both)?;
    let both = if keep.len() == both.rows() { both } else { frames::take(env, &both, &keep)? };
    let columns: Vec<&Column> = both.columns().iter().collect();
    let g = groups(&columns)?;
    let mut counts = vec![0.0; g.first.len()];
    g.of_row.iter().for_each(|i| counts[*i as usize] += 1.0);
    let index: Vec<u64> = g.first.iter().map(|r| *r as u64).collect();
    let ledger = &env.node.ledger;
    if both.width() == 1 {
        let c = both.column(0).take(ledger, &index)?;
        return Value::new_frame(vec![both.names()[0].clone(), "Count".into()], vec![c, Column::from_f64(ledger, &counts)?]);
    }
    if dense {
        let mut out: Vec<Column> = columns.iter().map(|c| c.take(ledger, &index)).collect::<Result<_>>()?;
        out.push(Column::from_f64(ledger, &counts)?);
        return Value::new_frame(vec![both.names()[0].clone(), both.names()[1].clone(), "Counts".into()], out);
    }
    // One row per value of the first column, one column per value of the second.
    let (a, b) = (groups(&columns[..1])?, groups(&columns[1..])?);
    let mut cells = vec![vec![0.0; a.first.len()]; b.first.len()];
    for (i, j) in a.of_row.iter().zip(&b.of_row) {
        cells[*j as usize][*i as usize] += 1.0;
    }
    let rows: Vec<u64> = a.first.iter().map(|r| *r as u64).collect();
    let heads: Vec<u64> = b.first.iter().map(|r| *r as u64).collect();
    let heads = columns[1].take(ledger, &heads)?.to_texts()?;
    let mut names = vec![both.names()[0].clone()];
    names.extend(heads.into_iter().map(|t| t.unwrap_or_else(|| "NA".into())));
    let mut out = vec![columns[0].take(ledger, &rows)?];
    for c in cells {
        out.push(Column::from_f64(ledger, &c)?);
    }
    Value::new_frame(names, out)
}

/// Rows without a missing value.
fn complete(frame: &Frame) -> Result<Vec<u64>> {
    let values = frame.columns().iter().map(|c| c.to_f64()).collect::<Result<Vec<_>>>()?;
    Ok((0..frame.rows()).filter(|r| values.iter().all(|c| !c[*r].is_nan())).map(|r| r as u64).collect())
}

fn unique(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    if frame.width() != 1 {
        return Err(Error::invalid(format!("Unique applies to a single column only. Got: {} columns", frame.width())));
    }
    let include_missing = args.get(1).map_or(Ok(false), Value::truth)?;
    let c = frame.column(0);
    let g = groups(&[c])?;
    let missing = c.rollup()?.missing > 0;
    // Missing values sort first; they are listed only when asked for, and then last.
    let mut index: Vec<u64> = g.first.iter().skip(usize::from(missing)).map(|r| *r as u64).collect();
    if missing && include_missing {
        index.push(g.first[0] as u64);
    }
    Value::one("C1", c.take(&env.node.ledger, &index)?)
}

fn sort(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let by = columns(&frame, &args[1], false)?;
    let directions = match args.get(2) {
        Some(v) => v.nums()?,
        None => vec![],
    };
    for &c in &by {
        if matches!(frame.column(c).kind, Kind::Text | Kind::Uuid) {
            return Err(Error::invalid(format!("sort cannot use the text column '{}'; make it categorical first", frame.names()[c])));
        }
    }
    let by: Vec<(usize, bool)> = by.iter().enumerate().map(|(i, &c)| (c, directions.get(i).is_none_or(|d| *d >= 0.0))).collect();
    let index = sorted_index(&frame, &by)?;
    Ok(Value::Frame(Arc::new(frames::take(env, &frame, &index)?)))
}

/// Row numbers in the order of some columns, ascending or not; missing values first either way, equal rows as they stood.
pub fn sorted_index(frame: &Frame, by: &[(usize, bool)]) -> Result<Vec<u64>> {
    let mut sort_keys = vec![];
    for &(c, up) in by {
        let mut k = keys(frame.column(c))?;
        if !up {
            k.par_iter_mut().filter(|k| **k != i64::MIN).for_each(|k| *k = !*k);
        }
        sort_keys.push(k);
    }
    let mut index: Vec<u64> = (0..frame.rows() as u64).collect();
    if let [only] = sort_keys.as_slice() {
        let mut pairs: Vec<(i64, u32)> = only.par_iter().enumerate().map(|(r, k)| (*k, r as u32)).collect();
        pairs.par_sort_unstable();
        return Ok(pairs.into_par_iter().map(|p| u64::from(p.1)).collect());
    }
    index.par_sort_by(|a, b| {
        sort_keys.iter().map(|k| k[*a as usize].cmp(&k[*b as usize])).find(|o| o.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
    });
    Ok(index)
}

fn dropdup(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let by = columns(&frame, &args[1], false)?;
    let by: Vec<&Column> = by.iter().map(|&c| frame.column(c)).collect();
    let g = groups(&by)?;
    let mut chosen: Vec<Option<usize>> = vec![None; g.first.len()];
    let last = args[2].text()? == "last";
    for (r, id) in g.of_row.iter().enumerate() {
        let slot = &mut chosen[*id as usize];
        if last || slot.is_none() {
            *slot = Some(r);
        }
    }
    let mut index: Vec<u64> = chosen.into_iter().flatten().map(|r| r as u64).collect();
    index.sort_unstable();
    Ok(Value::Frame(Arc::new(frames::take(env, &frame, &index)?)))
}
