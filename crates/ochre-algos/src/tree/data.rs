//! Columns as the grower reads them: codes of their distinct values, or plain numbers when there are too many.

use super::strip::{Source, Strips};
use ochre_core::{CHUNK_ROWS, Column, Error, Ledger, Node, Reservation, Result, Team};
use rayon::prelude::*;
use std::sync::Arc;

/// Columns with more distinct values than this are binned value by value.
const CODED_MAX: usize = 1 << 14;

pub enum Values {
    /// Codes into `distinct`; the code `distinct.len()` means missing.
    Coded {
        codes: Vec<u16>,
        distinct: Vec<f64>,
    },
    Plain(Vec<f64>),
}

pub struct TreeColumn {
    pub values: Values,
    /// 0: real, 1: whole numbers, 2: categories.
    pub level: u8,
    pub levels: usize,
    pub min: f64,
    pub max: f64,
    pub has_missing: bool,
    pub constant: bool,
}

impl TreeColumn {
    fn source(&self) -> Option<Source<'_>> {
        match &self.values {
            Values::Coded { codes, distinct } => Some(Source::Words(codes, distinct.len())),
            Values::Plain(_) => None,
        }
    }
    #[inline]
    pub fn value(&self, row: usize) -> f64 {
        match &self.values {
            Values::Coded { codes, distinct } => distinct.get(codes[row] as usize).copied().unwrap_or(f64::NAN),
            Values::Plain(v) => v[row],
        }
    }
}

/// Training columns, and the memory they were given.
pub struct TreeData {
    pub columns: Vec<TreeColumn>,
    pub strips: Strips,
    /// Rows that this node holds, and rows of all nodes.
    pub rows: usize,
    pub all_rows: usize,
    pub team: Team,
    /// Which member adds up the counts of each column.
    pub owner: Vec<usize>,
    _held: Reservation,
    /// What histograms are asked of.
    pub ledger: Arc<Ledger>,
}

impl TreeData {
    pub fn new(node: &Node, columns: &[Column]) -> Result<TreeData> {
        let all_rows = columns.first().map_or(0, Column::rows);
        let team = Team::for_rows(all_rows);
        let rows = team.rows(all_rows).len();
        // Codes take 2 bytes a value, plain numbers 8; scratch rows (index, residual) about 32 more.
        let needed = columns.len() * rows * 8 + rows * 48;
        let mut held = node.ledger.reserve(&format!("training trees on {rows} rows and {} columns", columns.len()), needed as u64)?;
        // Everybody needs the same codes: the distinct values of all rows.
        let distinct = columns.par_iter().map(|c| distinct_values(c, &team)).collect::<Result<Vec<_>>>()?;
        let distinct = if team.is_alone() { distinct } else { united(team.gather(distinct)?) };
        let built = columns.par_iter().zip(distinct).map(|(c, d)| column(c, d, &team)).collect::<Result<Vec<_>>>()?;
        let used: usize = built.iter().map(|c| rows * if matches!(c.values, Values::Plain(_)) { 8 } else { 2 }).sum();
        held.shrink((used + rows * 48) as u64);
        let strips = Strips::new(node, &built.iter().map(TreeColumn::source).collect::<Vec<_>>(), rows);
        let owner = owners(&built, team.size());
        Ok(TreeData { columns: built, strips, rows, all_rows, team, owner, _held: held, ledger: node.ledger.clone() })
    }
}

/// Columns dealt out to members so that each has about as many bins to add up: those of numbers are few below the first levels.
fn owners(columns: &[TreeColumn], members: usize) -> Vec<usize> {
    let size = |c: &TreeColumn| if c.level == 2 { c.levels.min(1024) + 1 } else { 64 };
    let mut order: Vec<usize> = (0..columns.len()).collect();
    order.sort_by_key(|c| std::cmp::Reverse(size(&columns[*c])));
    let (mut load, mut owner) = (vec![0; members], vec![0; columns.len()]);
    for c in order {
        let least = (0..members).min_by_key(|m| load[*m]).unwrap_or(0);
        owner[c] = least;
        load[least] += size(&columns[c]);
    }
    owner
}

/// The distinct values that the nodes found, column by column; none where there are too many.
fn united(all: Vec<Vec<Option<Vec<f64>>>>) -> Vec<Option<Vec<f64>>> {
    let width = all.first().map_or(0, Vec::len);
    (0..width)
        .map(|c| {
            let mut values = vec![];
            for node in &all {
                values.extend_from_slice(node[c].as_ref()?);
            }
            values.sort_unstable_by(f64::total_cmp);
            values.dedup();
            (values.len() <= CODED_MAX).then_some(values)
        })
        .collect()
}

fn column(c: &Column, distinct: Option<Vec<f64>>, team: &Team) -> Result<TreeColumn> {
    let r = c.rollup()?;
    let levels = c.domain().map_or(0, |d| d.len());
    let level = if c.is_enum() { 2 } else { u8::from(r.whole) };
    let constant = r.is_constant();
    let coded_enum = c.is_enum() && levels <= CODED_MAX;
    let values = if coded_enum {
        let distinct: Vec<f64> = (0..levels).map(|i| i as f64).collect();
        let codes = map_codes(c, team, |v| if v.is_nan() { levels as u16 } else { v as u16 })?;
        Values::Coded { codes, distinct }
    } else {
        match distinct {
            Some(distinct) => {
                let n = distinct.len() as u16;
                let whole = r.whole && r.max - r.min < MARKED_MAX;
                // Whole numbers in a short range are looked up, others searched for.
                let table: Vec<u16> = if whole {
                    let mut t = vec![n; (r.max - r.min) as usize + 1];
                    for (i, v) in distinct.iter().enumerate() {
                        t[(v - r.min) as usize] = i as u16;
                    }
                    t
                } else {
                    vec![]
                };
                let low = r.min;
                let codes = map_codes(c, team, |v| {
                    if v.is_nan() {
                        n
                    } else if whole {
                        table[(v - low) as usize]
                    } else {
                        distinct.binary_search_by(|d| d.total_cmp(&(v + 0.0))).map_or(n, |i| i as u16)
                    }
                })?;
                Values::Coded { codes, distinct }
            }
            None => Values::Plain(c.team_f64(team)?),
        }
    };
    Ok(TreeColumn { values, level, levels, min: r.min, max: r.max, has_missing: r.missing > 0, constant })
}

fn map_codes(c: &Column, team: &Team, code: impl Fn(f64) -> u16 + Sync) -> Result<Vec<u16>> {
    let mut out = vec![0u16; team.rows(c.rows()).len()];
    out.par_chunks_mut(CHUNK_ROWS).zip(c.chunks()[team.mine(c.chunks().len())].par_iter()).try_for_each(|(slot, chunk)| {
        let data = chunk.data()?;
        for (s, v) in slot.iter_mut().zip(ochre_core::f64s(&data).iter()) {
            *s = code(*v);
        }
        Ok::<(), Error>(())
    })?;
    Ok(out)
}

/// Whole numbers in a range of at most this many are found by marking, not by sorting.
const MARKED_MAX: f64 = (1u32 << 20) as f64;

/// The distinct values in order, unless there are too many.
fn distinct_values(c: &Column, team: &Team) -> Result<Option<Vec<f64>>> {
    if c.domain().is_some_and(|d| d.len() <= CODED_MAX) {
        return Ok(None);
    }
    let r = c.rollup()?;
    let own = team.mine(c.chunks().len());
    if r.whole && r.max - r.min < MARKED_MAX {
        let mut seen = vec![false; (r.max - r.min) as usize + 1];
        for chunk in &c.chunks()[own.clone()] {
            let data = chunk.data()?;
            for v in ochre_core::f64s(&data).iter().filter(|v| !v.is_nan()) {
                seen[(v - r.min) as usize] = true;
            }
        }
        let out: Vec<f64> = (0..seen.len()).filter(|i| seen[*i]).map(|i| r.min + i as f64).collect();
        return Ok((out.len() <= CODED_MAX).then_some(out));
    }
    let mut seen: std::collections::HashSet<u64> = std::collections::HashSet::new();
    for chunk in &c.chunks()[own] {
        let data = chunk.data()?;
        let mut values = ochre_core::f64s(&data).into_owned();
        values.retain(|v| !v.is_nan());
        values.sort_unstable_by(f64::total_cmp);
        values.dedup();
        if values.len() > CODED_MAX {
            return Ok(None);
        }
        // Adding 0 turns -0 into 0, which is the same value.
        seen.extend(values.iter().map(|v| (v + 0.0).to_bits()));
        if seen.len() > CODED_MAX {
            return Ok(None);
        }
    }
    let mut out: Vec<f64> = seen.into_iter().map(f64::from_bits).collect();
    out.sort_unstable_by(f64::total_cmp);
    Ok(Some(out))
}
