//! Frames in another shape: long and wide, ranked, repeated, cut to the extremes.

use crate::frames::Taken;
use crate::group::groups;
use crate::value::columns;
use crate::{Env, Prim, Value, call, frames};
use ochre_core::{Column, Error, Frame, Kind, Result};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

pub const SHAPES: &[Prim] = &[
    call(
        "pivot",
        &["frame", "index", "column", "value"],
        pivot,
        "One row per index, one column per value of a column; of several values the first.",
    ),
    call("melt", &["frame", "id_vars", "value_vars", "var_name", "value_name", "skip_na"], melt, "One row per value: columns become rows."),
    call(
        "rank_within_groupby",
        &["frame", "groupby_cols", "sort_cols", "sort_orders", "new_colname", "sort_cols_order"],
        rank_within,
        "The rank of each row within its group, from 1; missing where a sorted value is.",
    ),
    call("ddply", &["frame", "by", "function"], ddply, "Calls a function on the rows of each group."),
    call("topn", &["frame", "column", "percent", "top"], top, "The largest or smallest values of a column, with their row numbers."),
    call(
        "grouped_permute",
        &["frame", "column", "by", "way", "amount"],
        grouped_permute,
        "Within each group, every row that comes in (D) with every other that goes out, and their summed amounts.",
    ),
    call("rep_len", &["x", "length"], rep_len, "A number, a column or the columns of a frame, repeated up to a length."),
    call(
        "isax",
        &["frame", "words", "cardinality", "optimize"],
        isax,
        "Symbolic aggregate approximation of series, one in each row: words of letters, and each with the number of letters.",
    ),
    call("seq", &["from", "to", "by"], seq, "Numbers at even steps."),
    call("seq_len", &["length"], |e, a| numbered(e, 1.0, 1.0, count(&a[0], "length")?), "Whole numbers from 1."),
];

/// Series of numbers as short words (Shieh and Keogh 2008, iSAX). The mean of each part of a series, as far from the mean of
/// all parts as their spread within allows, falls between two quantiles of the normal distribution: its letter.
///
/// As in the reference, part i takes its columns from i to 2 i + step, so that later parts overlap.
fn isax(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let (words, letters, optimize) = (count(&args[1], "words")?, count(&args[2], "cardinality")?, args[3].truth()?);
    let (rows, width) = (frame.rows(), frame.width());
    if words == 0 || words > width {
        return Err(Error::invalid(format!("a series of {width} columns has 1 to {width} words, not {words}")));
    }
    if letters == 0 {
        return Err(Error::invalid("the cardinality must be at least 1, but is 0"));
    }
    if let Some(i) = frame.columns().iter().position(|c| !c.is_number()) {
        return Err(Error::invalid(format!("isax takes numeric columns, but '{}' is none", frame.names()[i])));
    }
    let normal = statrs::distribution::Normal::standard();
    let bounds: Vec<f64> =
        (1..letters).map(|i| statrs::distribution::ContinuousCDF::inverse_cdf(&normal, i as f64 / letters as f64)).collect();
    let _room = env.node.ledger.reserve("series", 8 * (rows * width) as u64)?;
    let values = frame.columns().iter().map(Column::to_f64).collect::<Result<Vec<_>>>()?;
    let step = width / words;
    let parts: Vec<&[Vec<f64>]> = (0..words).map(|w| &values[w * step..(2 * w * step + step).min(width)]).collect();
    let mut codes = vec![vec![0.0; rows]; words];
    for r in 0..rows {
        let means: Vec<f64> = parts.iter().map(|p| p.iter().map(|c| c[r]).sum::<f64>() / p.len() as f64).collect();
        let n: usize = parts.iter().map(|p| p.len()).sum();
        let mean = parts.iter().zip(&means).map(|(p, m)| m * p.len() as f64).sum::<f64>() / n as f64;
        let within: f64 = parts.iter().zip(&means).map(|(p, m)| p.iter().map(|c| (c[r] - m).powi(2)).sum::<f64>()).sum();
        let spread = (within / (n - 1) as f64).sqrt();
        for (w, m) in means.iter().enumerate() {
            let z = (m - mean) / spread;
            codes[w][r] = if z.is_nan() { 0.0 } else { bounds.partition_point(|b| *b < z) as f64 };
        }
    }
    // Only the letters that a word has, when asked for.
    let sizes: Vec<usize> = codes
        .iter_mut()
        .map(|codes| {
            if !optimize {
                return letters;
            }
            let mut used = codes.clone();
            used.sort_by(f64::total_cmp);
            used.dedup();
            codes.iter_mut().for_each(|c| *c = used.partition_point(|u| u < c) as f64);
            used.len()
        })
        .collect();
    let word = |r: usize| Some(codes.iter().zip(&sizes).map(|(c, n)| format!("{}^{n}", c[r])).collect::<Vec<_>>().join("_"));
    let mut out = vec![Column::from_texts(&env.node.ledger, &(0..rows).map(word).collect::<Vec<_>>())?];
    for c in &codes {
        out.push(Column::from_f64(&env.node.ledger, c)?);
    }
    Value::new_frame(std::iter::once("iSax_index".to_string()).chain((0..words).map(|w| format!("c{w}"))).collect(), out)
}

/// The one column that a selector names.
fn one_column(frame: &Frame, selector: &Value, what: &str) -> Result<usize> {
    match columns(frame, selector, false)?.as_slice() {
        [c] => Ok(*c),
        other => Err(Error::invalid(format!("{what} is one column, but {} were given", other.len()))),
    }
}

fn pivot(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let index = one_column(&frame, &args[1], "the index")?;
    let heads = one_column(&frame, &args[2], "the column to spread")?;
    let values = one_column(&frame, &args[3], "the value")?;
    for (c, what) in [(index, "Index"), (heads, "Pivot")] {
        let missing = frame.column(c).rollup()?.missing;
        if missing > 0 {
            return Err(Error::invalid(format!(
                "{what} column '{}' has {missing} missing values; fill or omit them first",
                frame.names()[c]
            )));
        }
    }
    if matches!(frame.column(values).kind, Kind::Text | Kind::Uuid) {
        return Err(Error::invalid(format!(
            "the value column '{}' holds texts; only numbers and categories can be spread",
            frame.names()[values]
        )));
    }
    let (rows, cols) = (groups(&[frame.column(index)])?, groups(&[frame.column(heads)])?);
    let cells = rows.first.len() as u64 * cols.first.len() as u64;
    if cols.first.len() > 100_000 {
        return Err(Error::invalid(format!(
            "the column '{}' has {} distinct values; at most 100000 become columns",
            frame.names()[heads],
            cols.first.len()
        )));
    }
    let ledger = &env.node.ledger;
    let _room = ledger.reserve("the cells of a pivot", 8 * cells)?;
    let mut table = vec![vec![f64::NAN; rows.first.len()]; cols.first.len()];
    let mut filled = vec![vec![false; rows.first.len()]; cols.first.len()];
    for ((v, r), c) in frame.column(values).numbers()?.iter().copied().zip(&rows.of_row).zip(&cols.of_row) {
        let (r, c) = (*r as usize, *c as usize);
        if !std::mem::replace(&mut filled[c][r], true) {
            table[c][r] = v;
        }
    }
    let at = |first: &[usize]| first.iter().map(|r| *r as u64).collect::<Vec<_>>();
    let mut names = vec![frame.names()[index].clone()];
    names.extend(frame.column(heads).take(ledger, &at(&cols.first))?.to_texts()?.into_iter().map(Option::unwrap_or_default));
    let mut out = vec![frame.column(index).take(ledger, &at(&rows.first))?];
    for cells in table {
        out.push(Column::numeric(ledger, frame.column(values).kind.clone(), &cells)?);
    }
    Value::new_frame(names, out)
}

fn melt(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let named = |v: &Value| -> Result<Vec<usize>> {
        v.texts()?
            .iter()
            .map(|n| frame.find(n).ok_or_else(|| Error::invalid(format!("Column {n} not found in the frame to melt"))))
            .collect()
    };
    let ids = named(&args[1])?;
    let mut melted = named(&args[2])?;
    if melted.is_empty() {
        melted = (0..frame.width()).filter(|c| !ids.contains(c)).collect();
    }
    if let Some(&c) = melted.iter().find(|c| !frame.column(**c).is_number()) {
        return Err(Error::invalid(format!("melt gathers numbers, but the column '{}' holds other values", frame.names()[c])));
    }
    let skip_missing = args[5].truth()?;
    let total = (frame.rows() * melted.len()) as u64;
    let _room = env.node.ledger.reserve("the rows of a melted frame", 24 * total)?;
    let sources = melted.iter().map(|&c| frame.column(c).numbers()).collect::<Result<Vec<_>>>()?;
    let (mut index, mut which, mut values) = (vec![], vec![], vec![]);
    for r in 0..frame.rows() {
        for (k, source) in sources.iter().enumerate() {
            if skip_missing && source[r].is_nan() {
                continue;
            }
            index.push(r as u64);
            which.push(k as f64);
            values.push(source[r]);
        }
    }
    let ledger = &env.node.ledger;
    let mut names: Vec<String> = ids.iter().map(|&c| frame.names()[c].clone()).collect();
    let kept = Taken::new(ledger, frame.rows(), index)?;
    let mut out = ids.iter().map(|&c| kept.column(frame.column(c))).collect::<Result<Vec<_>>>()?;
    // Categories are sorted, as everywhere.
    let mut order: Vec<usize> = (0..melted.len()).collect();
    order.sort_by_key(|k| &frame.names()[melted[*k]]);
    let mut code = vec![0.0; melted.len()];
    order.iter().enumerate().for_each(|(new, old)| code[*old] = new as f64);
    let domain = order.iter().map(|k| frame.names()[melted[*k]].clone()).collect();
    which.iter_mut().for_each(|k| *k = code[*k as usize]);
    names.extend([args[3].text()?.to_string(), args[4].text()?.to_string()]);
    out.push(Column::numeric(ledger, Kind::Enum(Arc::new(domain)), &which)?);
    out.push(Column::from_f64(ledger, &values)?);
    Value::new_frame(names, out)
}

fn rank_within(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let (by, sorted) = (columns(&frame, &args[1], false)?, columns(&frame, &args[2], false)?);
    let directions = args[3].nums()?;
    let name = args[4].text()?.to_string();
    let only_sorted = args[5].truth()?;
    let within: Vec<(usize, bool)> = sorted.iter().enumerate().map(|(i, &c)| (c, directions.get(i).is_none_or(|d| *d >= 0.0))).collect();
    let groups_of: Vec<(usize, bool)> = by.iter().map(|&c| (c, true)).collect();
    // By the ranked columns alone, rows that are equal there are in the order of their groups.
    let order_by = if only_sorted { [within, groups_of].concat() } else { [groups_of, within].concat() };
    let index = crate::group::sorted_index(&frame, &order_by)?;
    let frame = frames::take(env, &frame, index)?;
    let g = groups(&by.iter().map(|&c| frame.column(c)).collect::<Vec<_>>())?;
    let missing = sorted.iter().map(|&c| frame.column(c).numbers()).collect::<Result<Vec<_>>>()?;
    let mut seen = vec![0.0; g.first.len()];
    let ranks: Vec<f64> = g
        .of_row
        .iter()
        .enumerate()
        .map(|(r, id)| {
            if missing.iter().any(|c| c[r].is_nan()) {
                return f64::NAN;
            }
            seen[*id as usize] += 1.0;
            seen[*id as usize]
        })
        .collect();
    let (mut names, mut out) = (frame.names().to_vec(), frame.columns().to_vec());
    names.push(name);
    out.push(Column::from_f64(&env.node.ledger, &ranks)?);
    Value::new_frame(names, out)
}

fn ddply(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let by = columns(&frame, &args[1], false)?;
    if by.is_empty() {
        return Err(Error::invalid("ddply needs at least one column to group by"));
    }
    let by_columns: Vec<&Column> = by.iter().map(|&c| frame.column(c)).collect();
    let g = groups(&by_columns)?;
    let mut rows: Vec<Vec<u64>> = vec![vec![]; g.first.len()];
    g.of_row.iter().enumerate().for_each(|(r, id)| rows[*id as usize].push(r as u64));
    let mut answers: Vec<Vec<f64>> = vec![];
    for index in rows {
        let part = Value::Frame(Arc::new(frames::take(env, &frame, index)?));
        answers.push(match env.call(&args[2], vec![part])? {
            Value::Frame(f) if f.rows() == 1 => f.columns().iter().map(|c| c.value(0)).collect::<Result<_>>()?,
            Value::Frame(f) => return Err(Error::invalid(format!("ddply must return a 1-row (many column) frame, found {}", f.rows()))),
            other => other.nums()?,
        });
    }
    let width = answers.first().map_or(0, Vec::len);
    if let Some(other) = answers.iter().find(|a| a.len() != width) {
        return Err(Error::invalid(format!("the function of ddply answered {width} values for one group and {} for another", other.len())));
    }
    let index: Vec<u64> = g.first.iter().map(|r| *r as u64).collect();
    let mut names: Vec<String> = by.iter().map(|&c| frame.names()[c].clone()).collect();
    let heads = Taken::new(&env.node.ledger, frame.rows(), index)?;
    let mut out = by_columns.iter().map(|c| heads.column(c)).collect::<Result<Vec<_>>>()?;
    for k in 0..width {
        names.push(format!("ddply_C{}", k + 1));
        out.push(Column::from_f64(&env.node.ledger, &answers.iter().map(|a| a[k]).collect::<Vec<_>>())?);
    }
    Value::new_frame(names, out)
}

fn top(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let c = one_column(&frame, &args[1], "the column to look into")?;
    let percent = args[2].num()?;
    if !(0.0..=100.0).contains(&percent) {
        return Err(Error::invalid(format!("the percentage must lie between 0 and 100, but is {percent}")));
    }
    if !frame.column(c).is_number() {
        return Err(Error::invalid(format!("the largest values are looked for in a numeric column, but '{}' is none", frame.names()[c])));
    }
    let largest = args[3].num()? > 0.0;
    let mut pairs: Vec<(f64, u64)> =
        frame.column(c).numbers()?.iter().copied().enumerate().filter(|(_, v)| !v.is_nan()).map(|(r, v)| (v, r as u64)).collect();
    let n = ((frame.rows() as f64 * percent / 100.0).round() as usize).min(pairs.len());
    pairs.par_sort_by(|a, b| if largest { b.0.total_cmp(&a.0) } else { a.0.total_cmp(&b.0) });
    pairs.truncate(n);
    let ledger = &env.node.ledger;
    let rows: Vec<f64> = pairs.iter().map(|p| p.1 as f64).collect();
    let values: Vec<f64> = pairs.iter().map(|p| p.0).collect();
    let names = vec!["Original_Row_Indices".into(), frame.names()[c].clone()];
    Value::new_frame(names, vec![Column::from_f64(ledger, &rows)?, Column::numeric(ledger, frame.column(c).kind.clone(), &values)?])
}

fn grouped_permute(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let who = one_column(&frame, &args[1], "the column to pair")?;
    let by = one_column(&frame, &args[2], "the group")?;
    let way = one_column(&frame, &args[3], "the column that says which way")?;
    let amount = one_column(&frame, &args[4], "the amount")?;
    let ways = frame.column(way).domain().cloned().ok_or_else(|| {
        Error::invalid(format!("the column '{}' has to be categorical, with D for rows that come in", frame.names()[way]))
    })?;
    let g = groups(&[frame.column(by)])?;
    let (ids, amounts, codes) = (frame.column(who).numbers()?, frame.column(amount).numbers()?, frame.column(way).numbers()?);
    // Per group and way: amounts by who, summed.
    let mut sides: Vec<[BTreeMap<u64, (f64, f64)>; 2]> = (0..g.first.len()).map(|_| Default::default()).collect();
    for (r, id) in g.of_row.iter().enumerate().filter(|(r, _)| !codes[*r].is_nan() && !ids[*r].is_nan()) {
        let out = usize::from(ways[codes[r] as usize] != "D");
        let key = crate::group::ordered(ids[r]) as u64 ^ (1 << 63);
        sides[*id as usize][out].entry(key).or_insert((ids[r], 0.0)).1 += amounts[r];
    }
    let mut out: [Vec<f64>; 4] = Default::default();
    let mut index = vec![];
    for (id, [ins, outs]) in sides.iter().enumerate() {
        for (a, x) in ins.values() {
            for (b, y) in outs.values().filter(|(b, _)| b != a) {
                index.push(g.first[id] as u64);
                [*a, *b, *x, *y].iter().zip(&mut out).for_each(|(v, column)| column.push(*v));
            }
        }
    }
    let ledger = &env.node.ledger;
    let mut made = vec![Taken::new(ledger, frame.rows(), index)?.column(frame.column(by))?];
    for column in &out {
        made.push(Column::from_f64(ledger, column)?);
    }
    let names = [frame.names()[by].as_str(), "In", "Out", "InAmnt", "OutAmnt"].map(str::to_string).to_vec();
    Value::new_frame(names, made)
}

/// A length: whole and not too large.
fn count(v: &Value, what: &str) -> Result<usize> {
    let n = v.num()?;
    if n.is_nan() || n < 1.0 || n > 1e12 {
        return Err(Error::invalid(format!("the {what} must be at least 1, but is {n}")));
    }
    Ok(n as usize)
}

fn rep_len(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let n = count(&args[1], "length")?;
    match &args[0] {
        Value::Frame(f) if f.width() == 1 => {
            if f.rows() == 0 {
                return Err(Error::invalid("a column without rows cannot be repeated"));
            }
            let rows = f.rows() as u64;
            let _room = env.node.ledger.reserve("row numbers", (n as u64).saturating_mul(8))?;
            let index: Vec<u64> = (0..n as u64).map(|i| i % rows).collect();
            Value::one("C1", Taken::new(&env.node.ledger, f.rows(), index)?.column(f.column(0))?)
        }
        Value::Frame(f) => {
            let _room = env.node.ledger.reserve(&format!("{n} columns"), (n as u64).saturating_mul(256))?;
            let columns: Vec<Column> = (0..n).map(|i| f.column(i % f.width()).clone()).collect();
            Value::new_frame((1..=n).map(|i| format!("C{i}")).collect(), columns)
        }
        v => numbered(env, v.num()?, 0.0, n),
    }
}

fn numbered(env: &mut Env<'_>, from: f64, by: f64, n: usize) -> Result<Value> {
    let _room = env.node.ledger.reserve(&format!("{n} numbers"), (n as u64).saturating_mul(8))?;
    let column =
        Column::generate(&env.node.ledger, Kind::Real, n, |first, len| (first..first + len).map(|i| from + i as f64 * by).collect())?;
    Value::one("C1", column)
}

fn seq(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let (from, to, by) = (args[0].num()?, args[1].num()?, args[2].num()?);
    let steps = (to - from) / by;
    if !steps.is_finite() || steps < 0.0 {
        return Err(Error::invalid(format!("wrong sign in 'by' argument: steps of {by} do not lead from {from} to {to}")));
    }
    numbered(env, from, by, (steps + 1e-10) as usize + 1)
}
