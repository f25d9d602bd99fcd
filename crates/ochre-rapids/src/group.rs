//! Grouping, counting and sorting. Groups are numbered by their sorted keys, so results do not depend on threads.

use crate::frames::{self, Taken};
use crate::ranges::{self, Cuts, Key};
use crate::value::columns;
use crate::{Env, Prim, Value, call, shuffle};
use arrow_array::cast::AsArray;
use ochre_core::{CHUNK_ROWS, Column, Error, Frame, Kind, Ledger, Result, Team, f64s, quantile};
use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

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
    if matches!(c.kind, Kind::Text) {
        return text_keys(c);
    }
    if matches!(c.kind, Kind::Uuid) {
        let texts = c.to_texts()?;
        let mut distinct: Vec<&String> = texts.iter().flatten().collect();
        distinct.par_sort_unstable();
        distinct.dedup();
        return Ok(texts.iter().map(|t| t.as_ref().map_or(i64::MIN, |t| distinct.binary_search(&t).expect("there") as i64)).collect());
    }
    Ok(c.numbers()?.par_iter().copied().map(ordered).collect())
}

/// Ranks of texts.
fn text_keys(c: &Column) -> Result<Vec<i64>> {
    let arrays = c.chunks().par_iter().map(|c| c.data()).collect::<Result<Vec<_>>>()?;
    let texts: Vec<&arrow_array::StringArray> = arrays.iter().map(|a| a.as_string::<i32>()).collect();
    let mut numbers: FxHashMap<&str, u32> = FxHashMap::default();
    let mut of_row: Vec<u32> = Vec::with_capacity(c.rows());
    for t in texts.iter().flat_map(|a| a.iter()) {
        of_row.push(match t {
            Some(t) => {
                let next = numbers.len() as u32;
                *numbers.entry(t).or_insert(next)
            }
            None => u32::MAX,
        });
    }
    let mut sorted: Vec<(&str, u32)> = numbers.into_iter().collect();
    sorted.par_sort_unstable();
    let mut rank = vec![0i64; sorted.len()];
    sorted.iter().enumerate().for_each(|(r, (_, n))| rank[*n as usize] = r as i64);
    Ok(of_row.into_par_iter().map(|n| if n == u32::MAX { i64::MIN } else { rank[n as usize] }).collect())
}

/// Groups of equal keys: the group of each row (of a team's: the rows that are this node's own), and the first row of each
/// group, groups in key order.
pub struct Groups {
    pub of_row: Vec<u32>,
    pub first: Vec<usize>,
}

/// A number per row that orders like its value, 0 for missing values; and how many numbers there may be.
struct Codes {
    of_row: Vec<u64>,
    count: u64,
}

/// Codes up to this many are looked up in a table instead of a hash map.
fn table_size(rows: usize) -> u64 {
    (4 * rows as u64).max(65_536)
}

fn codes(team: &Team, c: &Column) -> Result<Codes> {
    let rows = c.rows();
    let (base, count) = match &c.kind {
        Kind::Enum(d) => (0.0, d.len() as u64),
        Kind::Real | Kind::Time => {
            let r = c.rollup()?;
            let few = r.whole && r.max - r.min < table_size(rows) as f64;
            if few { (r.min, (r.max - r.min) as u64 + 1) } else { (f64::NAN, 0) }
        }
        Kind::Missing => (0.0, 0),
        Kind::Text | Kind::Uuid => (f64::NAN, 0),
    };
    if base.is_nan() {
        let keys = if team.is_alone() { keys(c)? } else { c.team_f64(team)?.into_par_iter().map(ordered).collect() };
        return renumber(team, Codes { of_row: keys.into_par_iter().map(|k| (k as u64) ^ (1 << 63)).collect(), count: u64::MAX });
    }
    let mut of_row = vec![0u64; team.rows(rows).len()];
    of_row.par_chunks_mut(CHUNK_ROWS).zip(c.chunks()[team.mine(c.chunks().len())].par_iter()).try_for_each(|(slot, chunk)| {
        let data = chunk.data()?;
        slot.iter_mut().zip(f64s(&data).iter()).for_each(|(s, v)| *s = if v.is_nan() { 0 } else { (v - base) as u64 + 1 });
        Ok::<(), Error>(())
    })?;
    Ok(Codes { of_row, count: count + 1 })
}

/// Rows looked at to learn whether values repeat.
const SAMPLE: usize = 16_384;

/// The same order in consecutive numbers, missing values keeping 0 for themselves.
fn renumber(team: &Team, mut codes: Codes) -> Result<Codes> {
    let rows = codes.of_row.len();
    let step = rows.div_ceil(SAMPLE).max(1);
    let sampled = rows.div_ceil(step);
    let distinct = codes.of_row.iter().step_by(step).collect::<FxHashSet<_>>().len();
    if team.gather(2 * distinct > sampled && sampled > 1)?.contains(&true) {
        if !team.is_alone() {
            // Nearly as many values as rows: every node numbers all rows, and keeps its own.
            let before = team.gather(codes.of_row)?;
            let start = before[..team.rank()].iter().map(Vec::len).sum();
            let mut all = renumber(&Team::alone(), Codes { of_row: before.concat(), count: codes.count })?;
            all.of_row = all.of_row[start..start + rows].to_vec();
            return Ok(all);
        }
        // Mostly different: sorted with their rows, each then told its place.
        let mut pairs: Vec<(u64, u32)> = codes.of_row.par_iter().enumerate().map(|(r, c)| (*c, r as u32)).collect();
        pairs.par_sort_unstable();
        let mut number = u64::from(pairs.first().is_some_and(|p| p.0 != 0));
        for (i, (code, row)) in pairs.iter().enumerate() {
            number += u64::from(i > 0 && pairs[i - 1].0 != *code);
            codes.of_row[*row as usize] = number;
        }
        return Ok(Codes { count: number + 1, of_row: codes.of_row });
    }
    let own = |part: &[u64]| part.iter().copied().collect::<FxHashSet<u64>>().into_iter().collect::<Vec<u64>>();
    let united = |parts: Vec<Vec<u64>>| {
        let mut distinct = parts.concat();
        distinct.par_sort_unstable();
        distinct.dedup();
        distinct
    };
    let distinct = united(team.gather(united(codes.of_row.par_chunks(CHUNK_ROWS).map(own).collect()))?);
    let shift = u64::from(distinct.first() != Some(&0));
    let map: FxHashMap<u64, u64> = distinct.iter().enumerate().map(|(i, k)| (*k, i as u64 + shift)).collect();
    codes.of_row.par_iter_mut().for_each(|k| *k = map[k]);
    Ok(Codes { of_row: codes.of_row, count: distinct.len() as u64 + shift })
}

/// The groups of all rows.
pub fn groups(by: &[&Column]) -> Result<Groups> {
    team_groups(&Team::alone(), by)
}

/// The groups of a team's rows, each member numbering its own.
fn team_groups(team: &Team, by: &[&Column]) -> Result<Groups> {
    let rows = by.first().map_or(0, |c| c.rows());
    let own = team.rows(rows);
    let mut all = Codes { of_row: vec![0; own.len()], count: 1 };
    for c in by {
        let mut next = codes(team, c)?;
        if all.count.checked_mul(next.count).is_none() {
            (all, next) = (renumber(team, all)?, renumber(team, next)?);
        }
        all.of_row.par_iter_mut().zip(&next.of_row).for_each(|(a, b)| *a = *a * next.count + b);
        all.count *= next.count;
    }
    if all.count > table_size(rows) {
        all = renumber(team, all)?;
    }
    // The first row of each code; whichever thread comes first, the smallest row wins.
    let first: Vec<AtomicU32> = (0..all.count).map(|_| AtomicU32::new(u32::MAX)).collect();
    all.of_row.par_chunks(CHUNK_ROWS).enumerate().for_each(|(k, part)| {
        for (i, code) in part.iter().enumerate() {
            let (row, slot) = ((own.start + k * CHUNK_ROWS + i) as u32, &first[*code as usize]);
            if slot.load(Relaxed) > row {
                slot.fetch_min(row, Relaxed);
            }
        }
    });
    if !team.is_alone() {
        let found = first.iter().enumerate().map(|(code, row)| (code as u32, row.load(Relaxed))).filter(|(_, row)| *row != u32::MAX);
        for (code, row) in team.gather(found.collect::<Vec<_>>())?.into_iter().flatten() {
            first[code as usize].fetch_min(row, Relaxed);
        }
    }
    let mut place = vec![0u32; first.len()];
    let mut present = vec![];
    for (slot, first) in place.iter_mut().zip(first).filter(|(_, f)| f.load(Relaxed) != u32::MAX) {
        *slot = present.len() as u32;
        present.push(first.into_inner() as usize);
    }
    Ok(Groups { of_row: all.of_row.into_par_iter().map(|code| place[code as usize]).collect(), first: present })
}

/// Rows in blocks, whose sums are added up in their order: the same bits on any number of threads and nodes. How many blocks
/// there are depends on the data alone; a node adds up those that begin in its own chunks.
struct Blocks<'a> {
    team: Team,
    groups: usize,
    /// Chunks of a block.
    per_block: usize,
    /// Chunks that this node adds up, and the groups of their rows.
    mine: Range<usize>,
    of_row: std::borrow::Cow<'a, [u32]>,
}

impl Blocks<'_> {
    fn new<'a>(team: &Team, g: &'a Groups, rows: usize) -> Result<Blocks<'a>> {
        let (groups, chunks) = (g.first.len(), rows.div_ceil(CHUNK_ROWS));
        let per_block = (4 * groups).max(rows / 64).max(CHUNK_ROWS).div_ceil(CHUNK_ROWS);
        let whole = Blocks { team: Team::alone(), groups, per_block, mine: 0..chunks, of_row: (&g.of_row).into() };
        if team.is_alone() {
            return Ok(whole);
        }
        if chunks.div_ceil(per_block) < team.size() {
            // Too few to share: sending sums of so many groups would take longer than adding them up.
            return Ok(Blocks { of_row: team.gather(g.of_row.clone())?.concat().into(), ..whole });
        }
        // Rows before my first block belong to a block of the member before me.
        let own = team.mine(chunks);
        let begins = (own.start.next_multiple_of(per_block)).min(own.end);
        let given = ((begins - own.start) * CHUNK_ROWS).min(g.of_row.len());
        let taken: Vec<u32> = team.gather(g.of_row[..given].to_vec())?.into_iter().skip(team.rank() + 1).flatten().collect();
        let ends = if begins == own.end { begins } else { own.end.next_multiple_of(per_block).min(chunks) };
        let rows_taken = (ends * CHUNK_ROWS).min(rows).saturating_sub((own.end * CHUNK_ROWS).min(rows));
        let of_row = [&g.of_row[given..], &taken[..rows_taken]].concat();
        Ok(Blocks { team: team.clone(), groups, per_block, mine: begins..ends, of_row: of_row.into() })
    }

    fn map<T: Default + Send + Serialize + DeserializeOwned>(
        &self,
        c: &Column,
        add: impl Fn(&[f64], &[u32], &mut T) + Sync,
    ) -> Result<Vec<T>> {
        let own = c.chunks()[self.mine.clone()]
            .par_chunks(self.per_block)
            .zip(self.of_row.par_chunks(self.per_block * CHUNK_ROWS))
            .map(|(chunks, ids)| {
                let mut part = T::default();
                for (chunk, ids) in chunks.iter().zip(ids.chunks(CHUNK_ROWS)) {
                    let data = chunk.data()?;
                    add(&f64s(&data), ids, &mut part);
                }
                Ok(part)
            })
            .collect::<Result<Vec<T>>>()?;
        Ok(self.team.gather(own)?.into_iter().flatten().collect())
    }
}

/// What the aggregates of one column need to know of each group.
#[derive(Default, Serialize, Deserialize)]
struct Sums {
    n: Vec<u32>,
    sum: Vec<f64>,
    squares: Vec<f64>,
    min: Vec<f64>,
    max: Vec<f64>,
    /// Sum of squared deviations from the group's mean.
    m2: Vec<f64>,
}

/// Sums over the rows of each group.
fn sums(c: &Column, blocks: &Blocks<'_>, wanted: &[&str]) -> Result<Sums> {
    let count = blocks.groups;
    let any = |names: &[&str]| wanted.iter().any(|w| names.contains(w));
    let (squares, extremes) = (any(&["sumSquares", "ss"]), any(&["min", "max"]));
    let mut out = blocks
        .map(c, |values, ids, part: &mut Sums| {
            if part.n.is_empty() {
                part.n = vec![0; count];
                part.sum = vec![0.0; count];
                if squares {
                    part.squares = vec![0.0; count];
                }
                if extremes {
                    (part.min, part.max) = (vec![f64::INFINITY; count], vec![f64::NEG_INFINITY; count]);
                }
            }
            for (v, id) in values.iter().zip(ids).filter(|(v, _)| !v.is_nan()) {
                part.n[*id as usize] += 1;
                part.sum[*id as usize] += v;
            }
            if squares {
                values.iter().zip(ids).filter(|(v, _)| !v.is_nan()).for_each(|(v, id)| part.squares[*id as usize] += v * v);
            }
            if extremes {
                for (v, id) in values.iter().zip(ids).filter(|(v, _)| !v.is_nan()) {
                    let id = *id as usize;
                    (part.min[id], part.max[id]) = (part.min[id].min(*v), part.max[id].max(*v));
                }
            }
        })?
        .into_iter()
        .reduce(|mut a, b| {
            a.n.iter_mut().zip(b.n).for_each(|(x, y)| *x += y);
            a.sum.iter_mut().zip(b.sum).for_each(|(x, y)| *x += y);
            a.squares.iter_mut().zip(b.squares).for_each(|(x, y)| *x += y);
            a.min.iter_mut().zip(b.min).for_each(|(x, y)| *x = x.min(y));
            a.max.iter_mut().zip(b.max).for_each(|(x, y)| *x = x.max(y));
            a
        })
        .unwrap_or_default();
    if any(&["var", "sdev"]) {
        let means: Vec<f64> = out.sum.iter().zip(&out.n).map(|(s, n)| s / f64::from(*n)).collect();
        let parts = blocks.map(c, |values, ids, part: &mut Vec<f64>| {
            part.resize(count, 0.0);
            for (v, id) in values.iter().zip(ids).filter(|(v, _)| !v.is_nan()) {
                let d = v - means[*id as usize];
                part[*id as usize] += d * d;
            }
        })?;
        out.m2 = vec![0.0; count];
        for part in parts {
            out.m2.iter_mut().zip(part).for_each(|(x, y)| *x += y);
        }
    }
    Ok(out)
}

/// The present values of each group, sorted.
fn sorted_values(c: &Column, g: &Groups) -> Result<(Vec<f64>, Vec<usize>)> {
    let values = c.numbers()?;
    let mut starts = vec![0usize; g.first.len() + 1];
    values.iter().zip(&g.of_row).filter(|(v, _)| !v.is_nan()).for_each(|(_, id)| starts[*id as usize + 1] += 1);
    for i in 0..g.first.len() {
        starts[i + 1] += starts[i];
    }
    let (mut next, mut out) = (starts.clone(), vec![0.0; starts[g.first.len()]]);
    for (v, id) in values.iter().zip(&g.of_row).filter(|(v, _)| !v.is_nan()) {
        out[next[*id as usize]] = *v;
        next[*id as usize] += 1;
    }
    let mut runs: Vec<&mut [f64]> = vec![];
    let mut rest = out.as_mut_slice();
    for w in starts.windows(2) {
        let (run, after) = rest.split_at_mut(w[1] - w[0]);
        runs.push(run);
        rest = after;
    }
    runs.par_iter_mut().for_each(|r| r.sort_unstable_by(f64::total_cmp));
    Ok((out, starts))
}

fn group_by(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let by = columns(&frame, &args[1], false)?;
    if by.is_empty() {
        return Err(Error::invalid("GB needs at least one column to group by"));
    }
    let mut specs: Vec<Spec> = vec![];
    for spec in args[2..].chunks(3) {
        let [f, column, na] = spec else { return Err(Error::invalid("GB takes aggregates as triples: name, column, NA mode")) };
        let f = match f {
            Value::Prim(p) => p.name.to_string(),
            Value::Str(s) => s.clone(),
            other => return Err(Error::invalid(format!("an aggregate is named, not given as {}", other.kind()))),
        };
        if !AGGREGATES.contains(&f.as_str()) {
            return Err(Error::invalid(format!("unknown aggregate '{f}'; use {}", AGGREGATES.join(", "))));
        }
        let c = columns(&frame, column, false)?.first().copied().ok_or_else(|| Error::invalid("an aggregate needs a column"))?;
        let column = frame.column(c);
        if !matches!(f.as_str(), "nrow" | "count") && !column.is_number() && !column.is_enum() {
            return Err(Error::invalid(format!("{f} is not defined for the column '{}', which holds texts", frame.names()[c])));
        }
        specs.push((f, c, na.text()?.to_lowercase()));
    }
    let ledger = &env.node.ledger;
    let used: Vec<usize> = by.iter().copied().chain(specs.iter().map(|s| s.1)).collect();
    let sorted = specs.iter().any(|s| matches!(s.0.as_str(), "median" | "mode"));
    let ranges = ranges::count(ledger, (GROUP_BYTES + if sorted { 16 } else { 0 }) * frame.rows() as u64);
    if ranges == 1 {
        return Ok(Value::Frame(Arc::new(grouped(ledger, &frame, &by, &specs)?)));
    }
    // Only the columns that are asked for go through the ranges.
    let keys: Vec<Key<'_>> = by.iter().map(|&c| Key::new(frame.column(c))).collect();
    let asked = frame.select(&used);
    let own_by: Vec<usize> = (0..by.len()).collect();
    let own_specs: Vec<Spec> = specs.iter().enumerate().map(|(i, s)| (s.0.clone(), by.len() + i, s.2.clone())).collect();
    let mut answers = vec![];
    for part in Cuts::new(&Team::alone(), &[&keys], ranges, false)?.deal(ledger, &asked, &keys)? {
        if part.rows() > 0 {
            answers.push(Arc::new(grouped(ledger, &part, &own_by, &own_specs)?));
        }
    }
    Ok(Value::Frame(Arc::new(ochre_core::stack(ledger, &answers)?)))
}

/// An aggregate, the column it is of, and what missing values do to it.
type Spec = (String, usize, String);

/// Scratch of a group-by for each row, beside the sorted values of medians and modes.
const GROUP_BYTES: u64 = 32;

fn grouped(ledger: &Arc<Ledger>, frame: &Frame, by: &[usize], specs: &[Spec]) -> Result<Frame> {
    let _room = ledger.reserve("the groups of a frame", GROUP_BYTES * frame.rows() as u64)?;
    let by_columns: Vec<&Column> = by.iter().map(|&c| frame.column(c)).collect();
    // Texts are ranked, and medians taken, of all rows at once.
    let whole = by_columns.iter().any(|c| matches!(c.kind, Kind::Text | Kind::Uuid))
        || specs.iter().any(|s| matches!(s.0.as_str(), "median" | "mode"));
    let team = if whole { Team::alone() } else { Team::for_rows(frame.rows()) };
    let g = team_groups(&team, &by_columns)?;
    let index: Vec<u64> = g.first.iter().map(|r| *r as u64).collect();
    let mut members = vec![0i64; g.first.len()];
    g.of_row.iter().for_each(|id| members[*id as usize] += 1);
    team.sum_i64(&mut members)?;
    let blocks = Blocks::new(&team, &g, frame.rows())?;
    let mut names: Vec<String> = by.iter().map(|&c| frame.names()[c].clone()).collect();
    let heads = Taken::new(ledger, frame.rows(), index)?;
    let mut out: Vec<Column> = by_columns.iter().map(|c| heads.column(c)).collect::<Result<_>>()?;
    let mut done: FxHashMap<usize, Sums> = FxHashMap::default();
    for (f, c, mode) in specs {
        let (column, name) = (frame.column(*c), &frame.names()[*c]);
        let values: Vec<f64> = match f.as_str() {
            "median" | "mode" => {
                let (sorted, starts) = sorted_values(column, &g)?;
                (0..g.first.len())
                    .into_par_iter()
                    .map(|id| {
                        let of_group = &sorted[starts[id]..starts[id + 1]];
                        if (of_group.len() as i64) < members[id] && mode == "all" {
                            f64::NAN
                        } else if f == "median" {
                            quantile(of_group, 0.5, "interpolate")
                        } else {
                            most_frequent(of_group)
                        }
                    })
                    .collect()
            }
            "nrow" | "count" if mode == "all" || matches!(column.kind, Kind::Text | Kind::Uuid) => {
                members.iter().map(|n| *n as f64).collect()
            }
            _ => {
                if let std::collections::hash_map::Entry::Vacant(e) = done.entry(*c) {
                    let wanted: Vec<&str> = specs.iter().filter(|s| s.1 == *c).map(|s| s.0.as_str()).collect();
                    e.insert(sums(column, &blocks, &wanted)?);
                }
                let s = &done[c];
                (0..g.first.len()).map(|id| aggregate(f, mode, s, id, members[id] as f64)).collect()
            }
        };
        let shown = match f.as_str() {
            "nrow" => "nrow".to_string(),
            "ss" => format!("sumSquares_{name}"),
            f => format!("{f}_{name}"),
        };
        names.push(shown);
        out.push(Column::from_f64(ledger, &values)?);
    }
    Frame::new(ochre_core::unique_names(names), out)
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

const AGGREGATES: [&str; 12] = ["nrow", "count", "mean", "sum", "min", "max", "var", "sdev", "sumSquares", "ss", "median", "mode"];

/// `mode`: "all" lets a missing value make the result missing, "rm" leaves it out, "ignore" leaves it out of sums but
/// counts its row, as if it were 0.
fn aggregate(f: &str, mode: &str, s: &Sums, id: usize, rows: f64) -> f64 {
    let n = f64::from(s.n[id]);
    if mode == "all" && n < rows {
        return f64::NAN;
    }
    let counted = if mode == "ignore" { rows } else { n };
    let some = |v: f64| if n == 0.0 { f64::NAN } else { v };
    match f {
        "nrow" | "count" => n,
        "sum" => s.sum[id],
        "sumSquares" | "ss" => s.squares[id],
        "mean" => s.sum[id] / counted,
        "min" => some(s.min[id]),
        "max" => some(s.max[id]),
        _ => {
            // Sample variance; the counted rows beyond the present values are zeros.
            let (mean, own) = (s.sum[id] / counted, s.sum[id] / n);
            let zeros = if counted > n && n > 0.0 { n * own * own - counted * mean * mean } else { 0.0 };
            let variance = if counted > 1.0 { (s.m2[id] + zeros) / (counted - 1.0) } else { f64::NAN };
            if f == "var" { variance } else { variance.sqrt() }
        }
    }
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
        if matches!(c.kind, Kind::Text | Kind::Uuid) {
            return Err(Error::invalid("table takes categorical or numeric columns; convert texts with asfactor()"));
        }
    }
    let keep = complete(&both)?;
    let both = if keep.len() == both.rows() { both } else { frames::take(env, &both, keep)? };
    let columns: Vec<&Column> = both.columns().iter().collect();
    let g = groups(&columns)?;
    let mut counts = vec![0.0; g.first.len()];
    g.of_row.iter().for_each(|i| counts[*i as usize] += 1.0);
    let index: Vec<u64> = g.first.iter().map(|r| *r as u64).collect();
    let ledger = &env.node.ledger;
    // Times are listed as numbers.
    let values = |c: usize, rows: &[u64]| -> Result<Column> {
        let c = both.column(c).take(ledger, rows)?;
        Ok(if matches!(c.kind, Kind::Time) { c.with_kind(Kind::Real) } else { c })
    };
    if both.width() == 1 {
        let count = if both.type_name(0)? == "int" || both.column(0).is_enum() { "Count" } else { "Counts" };
        return Value::new_frame(vec![both.names()[0].clone(), count.into()], vec![values(0, &index)?, Column::from_f64(ledger, &counts)?]);
    }
    if dense {
        let mut out = vec![values(0, &index)?, values(1, &index)?];
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
    let heads = values(1, &heads)?;
    let mut names = vec![both.names()[0].clone()];
    match heads.is_enum() {
        true => names.extend(heads.to_texts()?.into_iter().flatten()),
        false => names.extend(heads.to_f64()?.iter().map(|v| format!("{v:?}"))),
    }
    let mut out = vec![values(0, &rows)?];
    for c in cells {
        out.push(Column::from_f64(ledger, &c)?);
    }
    Value::new_frame(names, out)
}

/// Rows without a missing value.
fn complete(frame: &Frame) -> Result<Vec<u64>> {
    let values = frame.columns().iter().map(|c| c.numbers()).collect::<Result<Vec<_>>>()?;
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
    Value::one("C1", Taken::new(&env.node.ledger, c.rows(), index)?.column(c)?)
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
    let (ledger, team) = (env.node.ledger.clone(), Team::for_rows(frame.rows()));
    let keys: Vec<Key<'_>> = by.iter().map(|&(c, ascending)| Key { ascending, ..Key::new(frame.column(c)) }).collect();
    if !team.is_alone() && !by.is_empty() {
        return Ok(Value::Frame(Arc::new(shuffle::sorted(&team, &ledger, &keys, frame.rows())?.frame(&frame)?)));
    }
    let sorted = |frame: &Frame| {
        let _room = ledger.reserve("the order of rows", sort_bytes(by.len()) * frame.rows() as u64)?;
        frames::take(env, frame, sorted_index(frame, &by)?)
    };
    let ranges = ranges::count(&ledger, sort_bytes(by.len()) * frame.rows() as u64);
    if ranges == 1 {
        return Ok(Value::Frame(Arc::new(sorted(&frame)?)));
    }
    let mut answers = vec![];
    for part in Cuts::new(&Team::alone(), &[&keys], ranges, true)?.deal(&ledger, &frame, &keys)? {
        answers.push(Arc::new(sorted(&part)?));
    }
    Ok(Value::Frame(Arc::new(ochre_core::stack(&ledger, &answers)?)))
}

/// Scratch of a sort for each row: its keys twice, a pair of key and row, its place in the order, and the column whose rows
/// are being put in order.
fn sort_bytes(keys: usize) -> u64 {
    16 * keys as u64 + 16 + 12 + 16
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
    let mut order: Vec<u32> = (0..frame.rows() as u32).collect();
    sort_runs(&sort_keys.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut order);
    Ok(order.into_par_iter().map(u64::from).collect())
}

/// Orders rows by the first key, then each run of equal ones by the next. Equal rows stay as they stood.
pub fn sort_runs(keys: &[&[i64]], rows: &mut [u32]) {
    let Some((key, rest)) = keys.split_first() else { return };
    let mut pairs: Vec<(i64, u32)> = if rows.len() > CHUNK_ROWS {
        rows.par_iter().map(|r| (key[*r as usize], *r)).collect()
    } else {
        rows.iter().map(|r| (key[*r as usize], *r)).collect()
    };
    if rows.len() > CHUNK_ROWS {
        pairs.par_sort_unstable()
    } else {
        pairs.sort_unstable()
    }
    rows.iter_mut().zip(&pairs).for_each(|(r, p)| *r = p.1);
    if rest.is_empty() {
        return;
    }
    let mut runs: Vec<&mut [u32]> = vec![];
    let (mut left, mut at) = (rows, 0);
    while at < pairs.len() {
        let end = at + pairs[at..].iter().take_while(|p| p.0 == pairs[at].0).count();
        let (run, after) = std::mem::take(&mut left).split_at_mut(end - at);
        if run.len() > 1 {
            runs.push(run);
        }
        (left, at) = (after, end);
    }
    if runs.len() > 1 {
        runs.par_iter_mut().for_each(|run| sort_runs(rest, run))
    } else {
        runs.into_iter().for_each(|run| sort_runs(rest, run))
    }
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
    Ok(Value::Frame(Arc::new(frames::take(env, &frame, index)?)))
}
