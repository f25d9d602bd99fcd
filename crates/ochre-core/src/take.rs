//! Rows of columns in any order.
//!
//! [`Column::take`] works by itself: what lies on other nodes is fetched chunk by chunk. [`Picks`] is the same for all nodes of a
//! cluster together: each makes the chunks of the answer that it keeps, and gets from the others the values that these lack. A value
//! travels once to each node that keeps it; a column takes one exchange.

use crate::collect::Pending;
use crate::exchange::{self, kept, kept_by, read_data, write_data};
use crate::{CHUNK_ROWS, Chunk, Column, Data, Error, Frame, Kind, Ledger, Reservation, Result, Team, Values, WHOLE_ROWS_MAX};
use crate::{chunk_lengths, f64s, number_at, pack_f64, store_data};
use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Int8Type, Int16Type, Int32Type};
use arrow_array::{Array, FixedSizeBinaryArray, PrimitiveArray, StringArray};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

impl Column {
    /// The rows at `index`, in that order; rows past the end are missing.
    pub fn take(&self, ledger: &Arc<Ledger>, index: &[u64]) -> Result<Column> {
        let kept = kept(index.len());
        if kept.len() < index.len().div_ceil(CHUNK_ROWS) && index.is_sorted() && !matches!(self.kind, Kind::Text | Kind::Uuid) {
            return self.take_kept(ledger, index, kept);
        }
        let source = Source::new(ledger, self, 0..self.chunks().len(), Some(index))?;
        let chunks = index.par_chunks(CHUNK_ROWS).map(|part| store_data(ledger, source.pick(part.iter().copied())));
        Ok(Column::from_chunks(self.kind.clone(), chunks.collect::<Result<Vec<_>>>()?))
    }

    /// Rows in ascending order: each node makes the chunks that it keeps, from the few chunks that these come from.
    fn take_kept(&self, ledger: &Arc<Ledger>, index: &[u64], kept: Range<usize>) -> Result<Column> {
        let lengths = chunk_lengths(index.len());
        let chunks = (0..lengths.len())
            .into_par_iter()
            .map(|k| {
                if !kept.contains(&k) {
                    return Ok(Chunk::elsewhere(lengths[k], ledger));
                }
                let part = &index[k * CHUNK_ROWS..k * CHUNK_ROWS + lengths[k]];
                let (mut at, mut values, mut out) = (usize::MAX, vec![], Vec::with_capacity(part.len()));
                for &r in part {
                    let (c, i) = (r as usize / CHUNK_ROWS, r as usize % CHUNK_ROWS);
                    if r >= self.rows() as u64 {
                        out.push(f64::NAN);
                        continue;
                    }
                    if c != at {
                        values = f64s(&self.chunks()[c].data()?).into_owned();
                        at = c;
                    }
                    out.push(values[i]);
                }
                store_data(ledger, pack_f64(&out))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Column::from_chunks(self.kind.clone(), chunks))
    }
}

/// Values of a run of chunks, to be looked up by row.
struct Source {
    rows: Range<u64>,
    values: Laid,
    _room: Option<Reservation>,
}

enum Laid {
    /// One array in the narrowest type that all chunks have in common.
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Reals(Vec<f64>),
    /// As they lie, those chunks that rows are wanted of; numbers so where only a few are.
    Numbers(Vec<Option<Data>>),
    Texts(Vec<Option<Data>>),
    Uuids(Vec<Option<Data>>),
}

impl Source {
    /// The values of a run of chunks, of which these rows will be picked; without any, they may be any that are there.
    fn new(ledger: &Arc<Ledger>, column: &Column, chunks: Range<usize>, index: Option<&[u64]>) -> Result<Source> {
        let run = &column.chunks()[chunks.clone()];
        let begin = (chunks.start * CHUNK_ROWS) as u64;
        let len = run.iter().map(|c| c.len()).sum::<usize>();
        let rows = begin..begin + len as u64;
        let plain = |values| Ok(Source { rows: rows.clone(), values, _room: None });
        let number = !matches!(column.kind, Kind::Text | Kind::Uuid);
        if !number || index.is_some_and(|i| i.len() < len / 8) {
            let mut wanted = vec![index.is_none(); run.len()];
            for r in index.unwrap_or_default().iter().filter(|r| rows.contains(r)) {
                wanted[(r - begin) as usize / CHUNK_ROWS] = true;
            }
            let some = run.par_iter().zip(wanted).map(|(c, wanted)| wanted.then(|| c.data()).transpose());
            let some = some.collect::<Result<Vec<Option<Data>>>>()?;
            return plain(match column.kind {
                Kind::Text => Laid::Texts(some),
                Kind::Uuid => Laid::Uuids(some),
                _ => Laid::Numbers(some),
            });
        }
        let arrays = run.par_iter().map(|c| c.data()).collect::<Result<Vec<_>>>()?;
        if index.is_none_or(|i| i.par_iter().all(|r| rows.contains(r))) {
            if let Some(values) = concatenated::<Int8Type>(&arrays) {
                return plain(Laid::Int8(values));
            }
            if let Some(values) = concatenated::<Int16Type>(&arrays) {
                return plain(Laid::Int16(values));
            }
            if let Some(values) = concatenated::<Int32Type>(&arrays) {
                return plain(Laid::Int32(values));
            }
        }
        let room = ledger.reserve("the values of a column", 8 * len as u64)?;
        let mut values = vec![0.0; len];
        values.par_chunks_mut(CHUNK_ROWS).zip(arrays.par_iter()).for_each(|(slot, a)| slot.copy_from_slice(&f64s(a)));
        Ok(Source { rows, values: Laid::Reals(values), _room: Some(room) })
    }

    /// A chunk's worth of rows, as data of a column.
    fn pick(&self, index: impl Iterator<Item = u64>) -> Data {
        fn whole<T: ArrowPrimitiveType>(values: &[T::Native], index: impl Iterator<Item = usize>) -> Data {
            Arc::new(PrimitiveArray::<T>::new(index.map(|r| values[r]).collect::<Vec<_>>().into(), None))
        }
        let start = self.rows.start;
        let index = index.map(|r| r.wrapping_sub(start) as usize);
        // The chunk of a row, and its place there, if it is there.
        fn place(chunks: &[Option<Data>], r: usize) -> Option<(&Data, usize)> {
            let data = chunks.get(r / CHUNK_ROWS)?.as_ref()?;
            (r % CHUNK_ROWS < data.len()).then_some((data, r % CHUNK_ROWS))
        }
        match &self.values {
            Laid::Int8(v) => whole::<Int8Type>(v, index),
            Laid::Int16(v) => whole::<Int16Type>(v, index),
            Laid::Int32(v) => whole::<Int32Type>(v, index),
            Laid::Reals(v) => pack_f64(&index.map(|r| v.get(r).copied().unwrap_or(f64::NAN)).collect::<Vec<_>>()),
            Laid::Numbers(c) => pack_f64(&index.map(|r| place(c, r).map_or(f64::NAN, |(a, i)| number_at(a, i))).collect::<Vec<_>>()),
            Laid::Texts(c) => {
                let one = |r| place(c, r).filter(|(a, i)| a.is_valid(*i)).map(|(a, i)| a.as_string::<i32>().value(i));
                Arc::new(index.map(one).collect::<StringArray>())
            }
            Laid::Uuids(c) => {
                let one = |r| place(c, r).filter(|(a, i)| a.is_valid(*i)).map(|(a, i)| a.as_fixed_size_binary().value(i));
                Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(index.map(one), 16).expect("16 bytes"))
            }
        }
    }
}

/// All values in one vector, when every chunk is of this type and complete.
fn concatenated<T: ArrowPrimitiveType>(arrays: &[Data]) -> Option<Vec<T::Native>> {
    if arrays.is_empty() || arrays.iter().any(|a| *a.data_type() != T::DATA_TYPE || a.null_count() > 0) {
        return None;
    }
    let mut out = Vec::with_capacity(arrays.iter().map(|a| a.len()).sum());
    arrays.iter().for_each(|a| out.extend_from_slice(a.as_primitive::<T>().values()));
    Some(out)
}

/// Stands for a row that is not there.
const NO_ROW: u32 = u32::MAX;

/// Which row of a source stands where in an answer. Every member of a team calls the same functions in the same order.
pub struct Picks {
    team: Team,
    ledger: Arc<Ledger>,
    /// Rows of the answer, and the chunks of it that this node keeps.
    rows: usize,
    kept: Range<usize>,
    /// Chunks of the source that lie here.
    here: Range<usize>,
    /// By row of the kept chunks: its place among the values that lie here, followed by those that come, member by member.
    slots: Vec<u32>,
    /// By member: rows that it gets from here.
    given: Vec<Vec<u32>>,
    /// Whether values travel at all.
    shared: bool,
    _room: Reservation,
}

impl Picks {
    /// Rows of a source that every member knows; numbers past the end stand for missing rows.
    pub fn known(ledger: &Arc<Ledger>, team: &Team, source_rows: usize, index: &[u64]) -> Result<Picks> {
        let kept = kept(index.len());
        let own = &index[(kept.start * CHUNK_ROWS).min(index.len())..(kept.end * CHUNK_ROWS).min(index.len())];
        let narrow = |r: &u64| if *r < source_rows as u64 { *r as u32 } else { NO_ROW };
        Picks::new(ledger, team, source_rows, index.len(), own.par_iter().map(narrow).collect())
    }

    /// Each member brings a stretch of the answer's rows; they follow each other in the order of the members.
    pub fn stretches(ledger: &Arc<Ledger>, team: &Team, source_rows: usize, own: &[u32]) -> Result<Picks> {
        let lengths = team.gather(own.len() as u64)?;
        let (rows, start) = (lengths.iter().sum::<u64>() as usize, lengths[..team.rank()].iter().sum::<u64>() as usize);
        let Some(task) = team.task() else { return Picks::new(ledger, team, source_rows, rows, own.to_vec()) };
        let _room = ledger.reserve("row numbers for other nodes", 8 * own.len() as u64)?;
        let parcels = task.members().iter().map(|slot| {
            let chunks = kept_by(&task.layout, *slot, rows);
            let inside = |chunk: usize| (chunk * CHUNK_ROWS).clamp(start, start + own.len()) - start;
            exchange::bytes_of_u32(&own[inside(chunks.start)..inside(chunks.end)])
        });
        let got = team.exchange(parcels.collect())?;
        Picks::new(ledger, team, source_rows, rows, got.iter().flat_map(|b| exchange::u32_of_bytes(b)).collect())
    }

    fn new(ledger: &Arc<Ledger>, team: &Team, source_rows: usize, rows: usize, index: Vec<u32>) -> Result<Picks> {
        let room = ledger.reserve("rows and where they come from", 12 * index.len() as u64)?;
        let (members, me, kept) = (team.size(), team.rank(), kept(rows));
        let shared = !team.is_alone() && source_rows > WHOLE_ROWS_MAX;
        let (chunks, here) = (source_rows.div_ceil(CHUNK_ROWS), exchange::kept(source_rows));
        // The member that each chunk is asked of.
        let whence: Vec<usize> = match team.task().filter(|_| shared) {
            None => vec![me; chunks],
            Some(task) => {
                let rank = |slot| task.members().iter().position(|s| *s == slot).unwrap_or(me);
                (0..chunks).map(|c| if here.contains(&c) { me } else { rank(task.layout.owner(c, chunks)) }).collect()
            }
        };
        let member = |r: &u32| whence.get(*r as usize / CHUNK_ROWS).copied().unwrap_or(me);
        let mut wanted: Vec<Vec<u32>> = vec![vec![]; members];
        index.iter().filter(|r| member(r) != me).for_each(|r| wanted[member(r)].push(*r));
        // Places where the values of each member begin; missing rows come last.
        let (first, own) = (here.start * CHUNK_ROWS, (here.end * CHUNK_ROWS).min(source_rows) - here.start * CHUNK_ROWS);
        let mut next = vec![own];
        wanted.iter().for_each(|w| next.push(next[next.len() - 1] + w.len()));
        let missing = next[members];
        if missing >= NO_ROW as usize {
            return Err(Error::invalid(format!("{missing} rows are more than one node can put in order")));
        }
        let slot = |r: u32| {
            if r == NO_ROW {
                return missing as u32;
            }
            match member(&r) {
                m if m == me => r - first as u32,
                m => {
                    next[m] += 1;
                    next[m] as u32 - 1
                }
            }
        };
        let slots = index.into_iter().map(slot).collect();
        let mut given = vec![vec![]; members];
        if shared {
            let asked = team.exchange(wanted.iter().map(|w| exchange::bytes_of_u32(w)).collect())?;
            for (m, bytes) in asked.iter().enumerate().filter(|(m, _)| *m != me) {
                given[m] = exchange::u32_of_bytes(bytes).collect();
            }
        }
        Ok(Picks { team: team.clone(), ledger: ledger.clone(), rows, kept, here, slots, given, shared, _room: room })
    }

    /// The picked rows of a column of the source.
    pub fn column(&self, column: &Column) -> Result<Column> {
        let (me, ledger) = (self.team.rank(), &self.ledger);
        let given: usize = self.given.iter().map(Vec::len).sum();
        let width = (column.bytes() / column.rows().max(1) as u64).max(8);
        let _room = ledger.reserve("rows that travel between nodes", width * (given + 3 * self.slots.len()) as u64)?;
        let source = Source::new(ledger, column, self.here.clone(), None)?;
        let mut got: Vec<Vec<Data>> = vec![vec![]; self.given.len()];
        if self.shared {
            let parcel = |rows: &Vec<u32>| -> Result<Vec<u8>> {
                let pieces = rows.par_chunks(CHUNK_ROWS).map(|part| source.pick(part.iter().map(|r| u64::from(*r))));
                write_data(&pieces.collect::<Vec<Data>>())
            };
            let parcels = self.given.iter().map(parcel).collect::<Result<Vec<_>>>()?;
            for (m, bytes) in self.team.exchange(parcels)?.iter().enumerate().filter(|(m, _)| *m != me) {
                got[m] = read_data(bytes).map_err(|e| Error::Internal(format!("rows from node {m} cannot be read: {e}")))?;
            }
        }
        let mut made = self.made(column, source, &got)?.into_iter();
        let lengths = chunk_lengths(self.rows);
        let chunks = lengths.iter().enumerate().map(|(k, len)| match self.kept.contains(&k).then(|| made.next()).flatten() {
            Some(chunk) => chunk,
            None => Chunk::elsewhere(*len, ledger),
        });
        Ok(Column::from_chunks(column.kind.clone(), chunks.collect()))
    }

    /// The chunks that this node keeps, from its own values and those that came.
    fn made(&self, column: &Column, source: Source, got: &[Vec<Data>]) -> Result<Vec<Arc<Chunk>>> {
        let came = || got.iter().flatten();
        fn alike<'a, T: ArrowPrimitiveType>(came: impl Iterator<Item = &'a Data>, values: &mut Vec<T::Native>) -> bool {
            for data in came {
                if *data.data_type() != T::DATA_TYPE || data.null_count() > 0 {
                    return false;
                }
                values.extend_from_slice(data.as_primitive::<T>().values());
            }
            true
        }
        let widen = |own: usize, mut values: Vec<f64>| {
            values.truncate(own);
            came().for_each(|d| values.extend_from_slice(&f64s(d)));
            values.push(f64::NAN);
            self.chunks_of(|slots| pack_f64(&slots.iter().map(|s| values[*s as usize]).collect::<Vec<_>>()))
        };
        // In the narrowest type, where all parts have it in common and none is missing.
        macro_rules! narrow {
            ($type:ty, $values:ident) => {{
                let own = $values.len();
                let whole = alike::<$type>(came(), &mut $values) && !self.slots.par_iter().any(|s| *s as usize == $values.len());
                if !whole {
                    return widen(own, $values.into_par_iter().map(f64::from).collect());
                }
                self.chunks_of(|slots| {
                    let values: Vec<_> = slots.iter().map(|s| $values[*s as usize]).collect();
                    Arc::new(PrimitiveArray::<$type>::new(values.into(), None)) as Data
                })
            }};
        }
        match source.values {
            Laid::Int8(mut values) => narrow!(Int8Type, values),
            Laid::Int16(mut values) => narrow!(Int16Type, values),
            Laid::Int32(mut values) => narrow!(Int32Type, values),
            Laid::Reals(values) => widen(values.len(), values),
            Laid::Numbers(own) | Laid::Texts(own) | Laid::Uuids(own) => self.pieced(&column.kind, &own, got),
        }
    }

    fn chunks_of(&self, data: impl Fn(&[u32]) -> Data + Sync) -> Result<Vec<Arc<Chunk>>> {
        self.slots.par_chunks(CHUNK_ROWS).map(|slots| store_data(&self.ledger, data(slots))).collect()
    }

    /// As `made`, of values that stay in their chunks.
    fn pieced(&self, kind: &Kind, own: &[Option<Data>], got: &[Vec<Data>]) -> Result<Vec<Arc<Chunk>>> {
        let pieces: Vec<(usize, Option<Values<'_>>)> = {
            let mut at = 0;
            let all = own.iter().map(Option::as_ref).chain(got.iter().flatten().map(Some));
            all.map(|d| {
                at += d.map_or(CHUNK_ROWS, |d| d.len());
                (at, d.map(|d| Values::of(kind, d)))
            })
            .collect()
        };
        let one = |slots: &[u32]| -> Result<Arc<Chunk>> {
            let mut out = Pending::of(kind);
            for s in slots {
                // The piece that a place lies in, by where pieces end.
                let k = pieces.partition_point(|p| p.0 <= *s as usize);
                match pieces.get(k) {
                    Some((end, Some(values))) => out.push(values, *s as usize + values.len() - end)?,
                    _ => out.push_missing(),
                }
            }
            store_data(&self.ledger, out.finish())
        };
        self.slots.par_chunks(CHUNK_ROWS).map(one).collect()
    }

    /// The picked rows of a frame.
    pub fn frame(&self, frame: &Frame) -> Result<Frame> {
        Frame::new(frame.names().to_vec(), frame.columns().iter().map(|c| self.column(c)).collect::<Result<Vec<_>>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::team::{Carrier, Layout, Task};
    use crate::{Node, WHOLE_ROWS_MAX};
    use parking_lot::{Condvar, Mutex};
    use std::collections::HashMap;

    /// Nodes that are threads of this process.
    #[derive(Default)]
    struct Post {
        parcels: Mutex<HashMap<(u64, usize, usize), Vec<u8>>>,
        arrived: Condvar,
    }

    struct Line(Arc<Post>, Layout);

    impl Carrier for Line {
        fn gather(&self, task: &Task, step: u64, mine: Vec<u8>) -> Result<Vec<Arc<Vec<u8>>>> {
            self.exchange(task, step, vec![mine; task.members().len()])
        }
        fn exchange(&self, task: &Task, step: u64, parcels: Vec<Vec<u8>>) -> Result<Vec<Arc<Vec<u8>>>> {
            let me = task.rank();
            let mut all = self.0.parcels.lock();
            parcels.into_iter().enumerate().for_each(|(to, p)| drop(all.insert((step, me, to), p)));
            self.0.arrived.notify_all();
            Ok((0..task.members().len())
                .map(|from| {
                    while !all.contains_key(&(step, from, me)) {
                        self.0.arrived.wait(&mut all);
                    }
                    Arc::new(all[&(step, from, me)].clone())
                })
                .collect())
        }
        fn ask(&self, _: usize, _: &[u8]) -> Result<Vec<u8>> {
            panic!("nothing has to be fetched")
        }
        fn layout(&self) -> Layout {
            self.1.clone()
        }
    }

    #[test]
    fn nodes_pick_together_what_one_picks_alone() {
        let rows = WHOLE_ROWS_MAX + 3 * CHUNK_ROWS + 17;
        let reals: Vec<f64> = (0..rows).map(|i| if i % 97 == 0 { f64::NAN } else { (i as f64).sqrt() }).collect();
        let texts: Vec<Option<String>> = (0..rows).map(|i| (i % 5 != 0).then(|| format!("t{}", i % 1000))).collect();
        let frame = |ledger: &Arc<Ledger>, rows: usize| {
            let small: Vec<f64> = (0..rows).map(|i| (i % 100) as f64).collect();
            let columns = vec![
                Column::from_f64(ledger, &reals[..rows]).unwrap(),
                Column::from_f64(ledger, &small).unwrap(),
                Column::from_texts(ledger, &texts[..rows]).unwrap(),
            ];
            Frame::new(vec!["a".into(), "b".into(), "c".into()], columns).unwrap()
        };
        let far = |i: usize| ((i * 7919 + 13) % (rows + 50)) as u64;
        let indices: [Vec<u64>; 4] =
            [(0..rows + 5).map(far).collect(), (0..300).map(far).collect(), (0..rows as u64).rev().collect(), vec![]];
        let alone = Node::for_tests(2);
        for (members, replicas, source) in [(1, 1, rows), (2, 1, rows), (3, 2, rows), (3, 2, 1000)] {
            let post = Arc::new(Post::default());
            std::thread::scope(|s| {
                for me in 0..members {
                    let (post, indices, frame, alone) = (post.clone(), &indices, &frame, &alone);
                    s.spawn(move || {
                        let layout = Layout { me, slots: members, replicas, alive: (0..members).collect() };
                        let task = Task::new(1, 1, layout.clone(), 0, 1, Arc::new(Line(post, layout)));
                        let node = Node::for_tests(1);
                        task.enter(|| {
                            let (team, shared) = (Team::everybody(), frame(&node.ledger, source));
                            for index in indices {
                                let whole = std::thread::scope(|s| {
                                    s.spawn(|| {
                                        let f = frame(&alone.ledger, source);
                                        let take = |c: &Column| c.take(&alone.ledger, index).unwrap();
                                        Frame::new(f.names().to_vec(), f.columns().iter().map(take).collect()).unwrap()
                                    })
                                    .join()
                                    .unwrap()
                                });
                                let n = index.len();
                                let own: Vec<u32> = index[n * me / members..n * (me + 1) / members]
                                    .iter()
                                    .map(|r| if *r < source as u64 { *r as u32 } else { u32::MAX })
                                    .collect();
                                for picks in [
                                    Picks::known(&node.ledger, &team, source, index).unwrap(),
                                    Picks::stretches(&node.ledger, &team, source, &own).unwrap(),
                                ] {
                                    let made = picks.frame(&shared).unwrap();
                                    assert_eq!(made.rows(), n);
                                    for (a, b) in made.columns().iter().zip(whole.columns()) {
                                        for k in kept(n) {
                                            let (x, y) = (a.chunks()[k].data().unwrap(), b.chunks()[k].data().unwrap());
                                            match a.kind {
                                                Kind::Text => assert_eq!(&x, &y),
                                                _ => assert!(f64s(&x).iter().zip(f64s(&y).iter()).all(|(x, y)| x.to_bits() == y.to_bits())),
                                            }
                                        }
                                    }
                                }
                            }
                        });
                    });
                }
            });
        }
    }
}
