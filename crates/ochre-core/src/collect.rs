//! Columns put together from rows of other columns, in pieces of any length.

use crate::{CHUNK_ROWS, Column, ColumnBuilder, Data, Error, Frame, Kind, Ledger, Result, f64s, pack_f64};
use arrow_array::builder::{FixedSizeBinaryBuilder, StringBuilder};
use arrow_array::{Array, FixedSizeBinaryArray, StringArray, cast::AsArray};
use arrow_schema::DataType;
use rustc_hash::FxHashMap;
use std::borrow::Cow;
use std::sync::Arc;

/// Values of a chunk, ready to be read row by row.
pub enum Values<'a> {
    Numbers(Cow<'a, [f64]>),
    Texts(&'a StringArray),
    Uuids(&'a FixedSizeBinaryArray),
}

impl<'a> Values<'a> {
    pub fn of(kind: &Kind, data: &'a Data) -> Values<'a> {
        match kind {
            Kind::Text => Values::Texts(data.as_string::<i32>()),
            Kind::Uuid => Values::Uuids(data.as_any().downcast_ref().expect("uuid storage")),
            _ => Values::Numbers(f64s(data)),
        }
    }
    pub fn len(&self) -> usize {
        match self {
            Values::Numbers(v) => v.len(),
            Values::Texts(a) => a.len(),
            Values::Uuids(a) => a.len(),
        }
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Values of an unfinished chunk.
pub(crate) enum Pending {
    Numbers(Vec<f64>),
    Texts(StringBuilder),
    Uuids(FixedSizeBinaryBuilder),
}

impl Pending {
    pub(crate) fn of(kind: &Kind) -> Pending {
        match kind {
            Kind::Text => Pending::Texts(StringBuilder::new()),
            Kind::Uuid => Pending::Uuids(FixedSizeBinaryBuilder::new(16)),
            _ => Pending::Numbers(vec![]),
        }
    }

    pub(crate) fn push(&mut self, values: &Values<'_>, i: usize) -> Result<()> {
        match (self, values) {
            (Pending::Numbers(to), Values::Numbers(from)) => to.push(from[i]),
            (Pending::Texts(to), Values::Texts(from)) => to.append_option(from.is_valid(i).then(|| from.value(i))),
            (Pending::Uuids(to), Values::Uuids(from)) if from.is_valid(i) => to.append_value(from.value(i)).expect("16 bytes"),
            (Pending::Uuids(to), Values::Uuids(_)) => to.append_null(),
            _ => return Err(Error::Internal("rows of another type than their column".into())),
        }
        Ok(())
    }

    pub(crate) fn push_missing(&mut self) {
        match self {
            Pending::Numbers(to) => to.push(f64::NAN),
            Pending::Texts(to) => to.append_null(),
            Pending::Uuids(to) => to.append_null(),
        }
    }

    /// The chunk's data; what is pushed next begins another one.
    pub(crate) fn finish(&mut self) -> Data {
        match self {
            Pending::Numbers(v) => {
                let packed = pack_f64(v);
                v.clear();
                packed
            }
            Pending::Texts(b) => Arc::new(b.finish()),
            Pending::Uuids(b) => Arc::new(b.finish()),
        }
    }
}

/// Takes rows in as they come and cuts them into chunks of the prescribed length. Holds one unfinished chunk in memory.
pub struct Collector {
    builder: ColumnBuilder,
    pending: Pending,
    rows: usize,
}

impl Collector {
    /// Memory of an unfinished chunk of numbers, which whoever holds many collectors should reserve.
    pub const BYTES: u64 = 8 * CHUNK_ROWS as u64;

    pub fn new(ledger: &Arc<Ledger>, kind: Kind) -> Collector {
        let pending = Pending::of(&kind);
        Collector { builder: ColumnBuilder::new(ledger, kind), pending, rows: 0 }
    }

    /// Takes in the values at these places.
    pub fn push(&mut self, values: &Values<'_>, places: impl IntoIterator<Item = usize>) -> Result<()> {
        for i in places {
            self.pending.push(values, i)?;
            self.rows += 1;
            if self.rows == CHUNK_ROWS {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.rows = 0;
        self.builder.push(self.pending.finish())
    }

    pub fn finish(mut self) -> Result<Column> {
        if self.rows > 0 {
            self.flush()?;
        }
        Ok(self.builder.finish())
    }
}

/// In which order the categories of stacked columns are.
#[derive(Clone, Copy, PartialEq)]
pub enum Levels {
    /// Those of the first column, then new ones as they appear.
    Appearing,
    Sorted,
}

/// Columns of one kind, one after the other.
pub struct Stack {
    kind: Kind,
    collector: Collector,
    /// Code of each category seen so far; empty until a column brings categories of its own.
    codes: FxHashMap<String, u32>,
}

impl Stack {
    pub fn new(ledger: &Arc<Ledger>, kind: Kind) -> Stack {
        Stack { collector: Collector::new(ledger, kind.clone()), kind, codes: FxHashMap::default() }
    }

    pub fn push(&mut self, column: &Column) -> Result<()> {
        let new_codes = self.new_codes(column);
        for chunk in column.chunks() {
            let mut data = chunk.data()?;
            match self.kind {
                Kind::Text if matches!(column.kind, Kind::Missing) => data = arrow_array::new_null_array(&DataType::Utf8, data.len()),
                Kind::Uuid if matches!(column.kind, Kind::Missing) => {
                    data = arrow_array::new_null_array(&DataType::FixedSizeBinary(16), data.len());
                }
                _ => {}
            }
            let mut values = Values::of(&self.kind, &data);
            if let (Values::Numbers(v), Some(codes)) = (&mut values, &new_codes) {
                v.to_mut().iter_mut().filter(|v| !v.is_nan()).for_each(|v| *v = f64::from(codes[*v as usize]));
            }
            self.collector.push(&values, 0..values.len())?;
        }
        Ok(())
    }

    /// The codes of a column's categories among those of all columns, unless they are the same.
    fn new_codes(&mut self, column: &Column) -> Option<Vec<u32>> {
        let (Kind::Enum(own), Some(levels)) = (&mut self.kind, column.domain()) else { return None };
        if own == levels {
            return None;
        }
        if self.codes.is_empty() {
            self.codes = own.iter().cloned().zip(0..).collect();
        }
        let own = Arc::make_mut(own);
        let code = |t: &String| {
            if let Some(code) = self.codes.get(t) {
                return *code;
            }
            own.push(t.clone());
            self.codes.insert(t.clone(), own.len() as u32 - 1);
            own.len() as u32 - 1
        };
        Some(levels.iter().map(code).collect())
    }

    pub fn finish(self, levels: Levels) -> Result<Column> {
        let ledger = self.collector.builder.ledger().clone();
        let column = self.collector.finish()?;
        let Kind::Enum(domain) = self.kind else { return Ok(column) };
        if levels == Levels::Appearing || domain.is_sorted() {
            return Ok(column.with_kind(Kind::Enum(domain)));
        }
        let mut order: Vec<u32> = (0..domain.len() as u32).collect();
        order.sort_unstable_by_key(|c| domain[*c as usize].as_str());
        let mut place = vec![0.0; order.len()];
        order.iter().enumerate().for_each(|(to, from)| place[*from as usize] = to as f64);
        let sorted = order.iter().map(|c| domain[*c as usize].clone()).collect();
        Column::map_chunks(&ledger, Kind::Enum(Arc::new(sorted)), &[&column], |values| {
            values[0].iter().map(|v| if v.is_nan() { *v } else { place[*v as usize] }).collect()
        })
    }
}

/// Frames of the same columns, one after the other. A column that is missing throughout goes with any other.
pub fn stack(ledger: &Arc<Ledger>, frames: &[Arc<Frame>]) -> Result<Frame> {
    let first = frames.first().ok_or_else(|| Error::invalid("rbind needs at least one frame"))?;
    let mut columns = vec![];
    for (i, name) in first.names().iter().enumerate() {
        let known = || frames.iter().map(|f| &f.column(i).kind).filter(|k| !matches!(k, Kind::Missing));
        let kind = known().next().unwrap_or(&Kind::Real).clone();
        if known().any(|k| std::mem::discriminant(k) != std::mem::discriminant(&kind)) {
            return Err(Error::invalid(format!("rbind columns '{name}' must have the same type")));
        }
        let mut out = Stack::new(ledger, kind);
        frames.iter().try_for_each(|f| out.push(f.column(i)))?;
        columns.push(out.finish(Levels::Appearing)?);
    }
    Frame::new(first.names().to_vec(), columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_length_become_chunks_of_the_prescribed_one() {
        let ledger = Ledger::new(1 << 30, &std::env::temp_dir()).unwrap();
        let values: Vec<f64> = (0..CHUNK_ROWS + 100).map(|i| if i % 7 == 0 { f64::NAN } else { i as f64 }).collect();
        let source = Column::from_f64(&ledger, &values).unwrap();
        let mut out = Collector::new(&ledger, Kind::Real);
        let data = source.chunks().iter().map(|c| c.data().unwrap()).collect::<Vec<_>>();
        let [first, last] = [0, 1].map(|k| Values::of(&Kind::Real, &data[k]));
        out.push(&last, 0..100).unwrap();
        out.push(&first, (0..CHUNK_ROWS).rev()).unwrap();
        let made = out.finish().unwrap();
        assert_eq!(made.chunks().iter().map(|c| c.len()).collect::<Vec<_>>(), [CHUNK_ROWS, 100]);
        let back = made.to_f64().unwrap();
        let expect = values[CHUNK_ROWS..].iter().chain(values[..CHUNK_ROWS].iter().rev());
        assert!(back.iter().zip(expect).all(|(a, b)| a == b || (a.is_nan() && b.is_nan())));
        let of = |values: &[f64], levels: &[&str]| {
            let kind = Kind::Enum(Arc::new(levels.iter().map(|t| t.to_string()).collect()));
            Column::numeric(&ledger, kind, values).unwrap()
        };
        let (a, b) = (of(&[0.0, 1.0], &["x", "b"]), of(&[1.0, f64::NAN, 0.0], &["x", "a"]));
        for (levels, domain) in [(Levels::Appearing, ["x", "b", "a"]), (Levels::Sorted, ["a", "b", "x"])] {
            let mut all = Stack::new(&ledger, a.kind.clone());
            [&a, &b].into_iter().for_each(|c| all.push(c).unwrap());
            let all = all.finish(levels).unwrap();
            assert_eq!(all.domain().unwrap().as_slice(), domain);
            assert_eq!(
                all.to_texts().unwrap().iter().map(|t| t.as_deref()).collect::<Vec<_>>(),
                [Some("x"), Some("b"), Some("a"), None, Some("x")]
            );
        }
        let texts = Column::from_texts(&ledger, &[Some("a"), None, Some("")]).unwrap();
        let mut out = Collector::new(&ledger, Kind::Text);
        let data = texts.chunks()[0].data().unwrap();
        out.push(&Values::of(&Kind::Text, &data), [2, 1, 0]).unwrap();
        assert_eq!(out.finish().unwrap().to_texts().unwrap(), [Some(String::new()), None, Some("a".into())]);
    }
}
