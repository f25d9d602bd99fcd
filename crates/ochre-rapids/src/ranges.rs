//! Sorting, grouping and joining what does not fit in memory: rows are dealt out to ranges of keys, one pass over the data;
//! each range is a frame of its own that the plain code works on, and the answers follow each other in the order of the
//! ranges. Chunks of ranges go to disk like any others.
//!
//! Cost: every value is read twice and written twice. A range's answer for a group-by is summed over other blocks of rows
//! than that of a frame in memory, so that sums of fractions may differ from it in the last bit.

use crate::group::ordered;
use crate::join::NO_KEY;
use ochre_core::{CHUNK_ROWS, Chunk, Collector, Column, Frame, Ledger, Result, Team, Values, f64s, store_data};
use rayon::prelude::*;
use std::sync::Arc;

/// Most ranges: their numbers are kept in a byte.
const RANGES_MAX: u64 = 120;
/// Rows looked at for each range, to cut ranges of equal size.
const SAMPLES: usize = 64;

/// Into how many ranges rows have to be dealt so that work that takes `bytes` on all of them fits; 1 where it does.
pub fn count(ledger: &Ledger, bytes: u64) -> usize {
    let budget = ledger.budget();
    // On a cluster all nodes have to make the same columns; their budgets may differ.
    if bytes <= budget / 2 || ochre_core::current_task().is_some() {
        return 1;
    }
    // A range is worked on in a quarter of the budget, and what is collected for all ranges at once takes an eighth.
    (4 * bytes / budget + 1).min(budget / (8 * Collector::BYTES)).clamp(2, RANGES_MAX) as usize
}

/// How one column of a key orders rows: what a value is told apart by, chunk by chunk.
pub struct Key<'a> {
    pub column: &'a Column,
    pub ascending: bool,
    pub numbers: Numbers,
}

/// What stands for the number of a value.
pub enum Numbers {
    /// One that orders as the value does.
    Ordered,
    /// The value itself, which is whole: close values are close numbers.
    Whole,
    /// Another one for each code of a category, where two frames have different ones.
    Codes(Vec<i64>),
}

impl<'a> Key<'a> {
    pub fn new(column: &'a Column) -> Key<'a> {
        Key { column, ascending: true, numbers: Numbers::Ordered }
    }

    /// Numbers that order like the values of a chunk, missing ones first. Texts are told apart by their first eight bytes,
    /// which keeps equal ones together.
    pub fn of_chunk(&self, k: usize) -> Result<Vec<i64>> {
        let data = self.column.chunks()[k].data()?;
        let prefix = |bytes: &[u8]| {
            let mut word = [0u8; 8];
            let n = bytes.len().min(8);
            word[..n].copy_from_slice(&bytes[..n]);
            (u64::from_be_bytes(word) ^ (1 << 63)) as i64
        };
        let mut keys: Vec<i64> = match Values::of(&self.column.kind, &data) {
            Values::Texts(a) => a.iter().map(|t| t.map_or(NO_KEY, |t| prefix(t.as_bytes()))).collect(),
            Values::Uuids(a) => a.iter().map(|u| u.map_or(NO_KEY, prefix)).collect(),
            Values::Numbers(v) => match &self.numbers {
                Numbers::Ordered => v.iter().map(|v| ordered(*v)).collect(),
                Numbers::Whole => v.iter().map(|v| if v.is_nan() { NO_KEY } else { *v as i64 }).collect(),
                Numbers::Codes(codes) => v.iter().map(|v| if v.is_nan() { NO_KEY } else { codes[*v as usize] }).collect(),
            },
        };
        if !self.ascending {
            keys.iter_mut().filter(|k| **k != NO_KEY).for_each(|k| *k = !*k);
        }
        Ok(keys)
    }

    /// The numbers of all rows.
    pub fn of_all(&self) -> Result<Vec<i64>> {
        Ok((0..self.column.chunks().len()).into_par_iter().map(|k| self.of_chunk(k)).collect::<Result<Vec<_>>>()?.concat())
    }
}

/// Keys at which ranges end, and whether rows with equal keys may be parted by their row number.
pub struct Cuts {
    at: Vec<Vec<i64>>,
    by_row: bool,
}

impl Cuts {
    /// Cuts the keys of one or two frames into ranges of about equal size, which all members of a team know.
    pub fn new(team: &Team, sides: &[&[Key<'_>]], ranges: usize, by_row: bool) -> Result<Cuts> {
        let mut sample: Vec<Vec<i64>> = vec![];
        for keys in sides {
            let chunks = keys[0].column.chunks();
            let per_chunk = (SAMPLES * ranges).div_ceil(chunks.len().max(1)).min(CHUNK_ROWS);
            let parts = team.mine(chunks.len()).into_par_iter().map(|k| {
                let columns = keys.iter().map(|key| key.of_chunk(k)).collect::<Result<Vec<_>>>()?;
                let rows = chunks[k].len();
                Ok((0..per_chunk.min(rows))
                    .map(|i| i * rows / per_chunk.min(rows))
                    .map(|i| tuple(&columns, i, k, by_row).collect())
                    .collect::<Vec<_>>())
            });
            sample.extend(parts.collect::<Result<Vec<_>>>()?.into_iter().flatten());
        }
        let mut sample = team.gather(sample)?.concat();
        sample.par_sort_unstable();
        let mut at: Vec<Vec<i64>> = (1..ranges).filter_map(|r| sample.get(r * sample.len() / ranges).cloned()).collect();
        at.dedup();
        Ok(Cuts { at, by_row })
    }

    /// The range of a row, whose keys stand at `i` of a chunk's.
    pub fn range(&self, columns: &[Vec<i64>], i: usize, chunk: usize) -> usize {
        self.at.partition_point(|cut| cut.iter().copied().le(tuple(columns, i, chunk, self.by_row)))
    }

    /// The rows of a frame by their ranges.
    pub fn deal(&self, ledger: &Arc<Ledger>, frame: &Frame, keys: &[Key<'_>]) -> Result<Vec<Frame>> {
        let ranges = self.at.len() + 1;
        let chunks = keys[0].column.chunks();
        let places = (0..chunks.len())
            .into_par_iter()
            .map(|k| {
                let columns = keys.iter().map(|key| key.of_chunk(k)).collect::<Result<Vec<_>>>()?;
                let places: Vec<i8> = (0..chunks[k].len()).map(|i| self.range(&columns, i, k) as i8).collect();
                store_data(ledger, Arc::new(arrow_array::Int8Array::from(places)))
            })
            .collect::<Result<Vec<Arc<Chunk>>>>()?;
        let columns = frame.columns().par_iter().map(|c| dealt(ledger, c, &places, ranges)).collect::<Result<Vec<_>>>()?;
        (0..ranges).map(|r| Frame::new(frame.names().to_vec(), columns.iter().map(|c| c[r].clone()).collect())).collect()
    }
}

/// The key of a row: the numbers of its columns, and its own where rows with equal ones are told apart.
fn tuple(columns: &[Vec<i64>], i: usize, chunk: usize, by_row: bool) -> impl Iterator<Item = i64> {
    let row = by_row.then_some((chunk * CHUNK_ROWS + i) as i64);
    columns.iter().map(move |c| c[i]).chain(row)
}

fn dealt(ledger: &Arc<Ledger>, column: &Column, places: &[Arc<Chunk>], ranges: usize) -> Result<Vec<Column>> {
    let _room = ledger.reserve("rows by ranges of their keys", ranges as u64 * Collector::BYTES)?;
    let mut to: Vec<Collector> = (0..ranges).map(|_| Collector::new(ledger, column.kind.clone())).collect();
    let mut rows: Vec<Vec<u32>> = vec![vec![]; ranges];
    for (chunk, places) in column.chunks().iter().zip(places) {
        let (data, places) = (chunk.data()?, places.data()?);
        f64s(&places).iter().enumerate().for_each(|(i, r)| rows[*r as usize].push(i as u32));
        let values = Values::of(&column.kind, &data);
        for (to, rows) in to.iter_mut().zip(&mut rows) {
            to.push(&values, rows.drain(..).map(|i| i as usize))?;
        }
    }
    to.into_iter().map(Collector::finish).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_dealt_by_ranges_are_all_there_and_in_their_range() {
        let ledger = Ledger::new(1 << 30, &std::env::temp_dir()).unwrap();
        let rows = 2 * CHUNK_ROWS + 5;
        let value = |i: usize| if i % 11 == 0 { f64::NAN } else { ((i * 7919) % 1000) as f64 };
        let column = Column::from_f64(&ledger, &(0..rows).map(value).collect::<Vec<_>>()).unwrap();
        let frame = Frame::new(vec!["a".into()], vec![column.clone()]).unwrap();
        for by_row in [false, true] {
            let keys = [Key::new(&column)];
            let parts = Cuts::new(&Team::alone(), &[&keys], 7, by_row).unwrap().deal(&ledger, &frame, &keys).unwrap();
            assert_eq!(parts.iter().map(Frame::rows).sum::<usize>(), rows);
            let ends: Vec<(f64, f64)> = parts
                .iter()
                .map(|p| {
                    let v = p.column(0).to_f64().unwrap();
                    let missing_low = |v: &f64| if v.is_nan() { -1.0 } else { *v };
                    (v.iter().map(missing_low).fold(f64::MAX, f64::min), v.iter().map(missing_low).fold(-1.0, f64::max))
                })
                .collect();
            assert!(ends.windows(2).all(|w| if by_row { w[0].1 <= w[1].0 } else { w[0].1 < w[1].0 }), "{ends:?}");
        }
    }
}
