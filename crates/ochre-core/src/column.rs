//! Columns: immutable Arrow arrays in the narrowest physical type, cut into chunks by row count alone.

use crate::exchange::{NOWHERE, Place};
use crate::{Error, Ledger, Reservation, Result, Rollup, Team};
use arrow_array::{Array, ArrayRef, FixedSizeBinaryArray, Float64Array, NullArray, RecordBatch, StringArray, cast::AsArray, types::*};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field, Schema};
use parking_lot::Mutex;
use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// Rows of a full chunk. A constant, so that chunk boundaries depend on the number of rows and on nothing else.
pub const CHUNK_ROWS: usize = 32_768;

/// Lengths of the chunks of a column with `rows` rows.
pub fn chunk_lengths(rows: usize) -> Vec<usize> {
    let mut out = vec![CHUNK_ROWS; rows / CHUNK_ROWS];
    if !rows.is_multiple_of(CHUNK_ROWS) {
        out.push(rows % CHUNK_ROWS);
    }
    out
}

/// What a column means, apart from how it is stored.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Numbers; whether they are all whole is known from the rollups.
    Real,
    /// Milliseconds since 1970-01-01 UTC.
    Time,
    /// Codes into a domain that columns share.
    Enum(Arc<Vec<String>>),
    Text,
    Uuid,
    /// Every value is missing.
    Missing,
}

/// One chunk's values. Missing values are nulls (and NaN in floats read from computations).
pub type Data = ArrayRef;

enum State {
    /// The values, the memory they hold on to, and the file that has them already, if there is one: values never change, so
    /// that a file once written serves every time that they have to leave.
    Resident(Data, #[expect(dead_code, reason = "held for its drop")] Reservation, Option<PathBuf>),
    Spilled(PathBuf),
    /// On another node: a chunk of a column that all nodes know by this name.
    Elsewhere(Place),
    /// A copy of what another node holds, kept while there is room.
    Borrowed(Data, #[expect(dead_code, reason = "held for its drop")] Reservation, Place),
}

/// A run of rows of one column. Lives in memory or, when cold and memory is short, in an Arrow IPC file.
pub struct Chunk {
    len: usize,
    /// Memory that the values hold on to; 0 while they are elsewhere.
    bytes: AtomicU64,
    state: Mutex<State>,
    last_used: AtomicU64,
    ledger: Arc<Ledger>,
}

impl Chunk {
    pub fn new(data: Data, reservation: Reservation, ledger: &Arc<Ledger>) -> Arc<Chunk> {
        let bytes = reservation.bytes();
        let chunk = Arc::new(Chunk {
            len: data.len(),
            bytes: AtomicU64::new(bytes),
            state: Mutex::new(State::Resident(data, reservation, None)),
            last_used: AtomicU64::new(ledger.clock.fetch_add(1, Relaxed)),
            ledger: ledger.clone(),
        });
        ledger.watch(&chunk);
        chunk
    }

    /// The place of a chunk whose values other nodes hold.
    pub fn elsewhere(len: usize, ledger: &Arc<Ledger>) -> Arc<Chunk> {
        let chunk = Arc::new(Chunk {
            len,
            bytes: AtomicU64::new(0),
            state: Mutex::new(State::Elsewhere(NOWHERE)),
            last_used: AtomicU64::new(0),
            ledger: ledger.clone(),
        });
        // Copies that it may come to hold are the first to go.
        ledger.watch(&chunk);
        chunk
    }

    /// Does this node hold the values?
    pub fn is_here(&self) -> bool {
        !matches!(*self.state.lock(), State::Elsewhere(..) | State::Borrowed(..))
    }

    pub fn len(&self) -> usize {
        self.len
    }
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }
    /// Where the values are, when other nodes hold them.
    pub(crate) fn place(&self) -> Option<Place> {
        match *self.state.lock() {
            State::Elsewhere(place) | State::Borrowed(_, _, place) => Some(place),
            _ => None,
        }
    }
    /// Gives the place of values held elsewhere its name, unless it has one.
    pub(crate) fn name_place(&self, place: Place) {
        let mut state = self.state.lock();
        if matches!(*state, State::Elsewhere(NOWHERE)) {
            *state = State::Elsewhere(place);
        }
    }
    /// Takes in values that were held elsewhere.
    pub(crate) fn take_in(&self, data: Data) -> Result<()> {
        let reservation = self.ledger.reserve("copies of chunks", data_bytes(&data))?;
        let mut state = self.state.lock();
        if let State::Elsewhere(..) | State::Borrowed(..) = *state {
            self.bytes.store(reservation.bytes(), Relaxed);
            *state = State::Resident(data, reservation, None);
        }
        Ok(())
    }
    pub(crate) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }
    pub(crate) fn last_used(&self) -> u64 {
        self.last_used.load(Relaxed)
    }

    /// The values, read back from disk when they were spilled.
    pub fn data(&self) -> Result<Data> {
        self.last_used.store(self.ledger.clock.fetch_add(1, Relaxed), Relaxed);
        if let State::Resident(data, ..) | State::Borrowed(data, ..) = &*self.state.lock() {
            return Ok(data.clone());
        }
        if let Some(place) = self.place() {
            let data = crate::exchange::fetch(&self.ledger, place, self.len)?;
            if let Ok(room) = self.ledger.reserve("copies of other nodes' chunks", data_bytes(&data)) {
                let mut state = self.state.lock();
                if let State::Elsewhere(place) = *state {
                    *state = State::Borrowed(data.clone(), room, place);
                }
            }
            return Ok(data);
        }
        // Room is made before the chunk is locked: making room may lock other chunks.
        let reservation = self.ledger.reserve("a chunk coming back from disk", self.bytes())?;
        let mut state = self.state.lock();
        let path = match &*state {
            State::Resident(data, ..) => return Ok(data.clone()),
            State::Spilled(path) => path.clone(),
            State::Elsewhere(..) | State::Borrowed(..) => return Err(Error::Internal("a chunk that was here is elsewhere".into())),
        };
        let fail = |e: &dyn std::fmt::Display| Error::io(path.display(), e);
        let file = std::fs::File::open(&path).map_err(|e| fail(&e))?;
        let mut reader = arrow_ipc::reader::FileReader::try_new(file, None).map_err(|e| fail(&e))?;
        let batch = reader.next().ok_or_else(|| fail(&"the file holds no batch"))?.map_err(|e| fail(&e))?;
        let data = batch.column(0).clone();
        self.ledger.note_spilled(-(self.bytes() as i64));
        *state = State::Resident(data.clone(), reservation, Some(path));
        Ok(data)
    }

    /// Writes the values to disk and gives their memory back; returns the bytes freed.
    pub(crate) fn spill(&self, ledger: &Ledger) -> Result<u64> {
        let Some(mut state) = self.state.try_lock() else { return Ok(0) };
        if let State::Borrowed(data, _, place) = &*state {
            let (bytes, place) = (data_bytes(data), *place);
            *state = State::Elsewhere(place);
            return Ok(bytes);
        }
        let State::Resident(data, _, written) = &*state else { return Ok(0) };
        // Somebody is working on these values: writing them out would free nothing.
        if Arc::strong_count(data) > 1 || self.bytes() == 0 {
            return Ok(0);
        }
        if let Some(path) = written {
            *state = State::Spilled(path.clone());
            ledger.note_spilled(self.bytes() as i64);
            return Ok(self.bytes());
        }
        let path = ledger.spill_path()?;
        let fail = |e: &dyn std::fmt::Display| Error::io(path.display(), e);
        let schema = Arc::new(Schema::new(vec![Field::new("v", data.data_type().clone(), true)]));
        let batch = RecordBatch::try_new(schema.clone(), vec![data.clone()]).map_err(|e| fail(&e))?;
        let file = std::fs::File::create(&path).map_err(|e| fail(&e))?;
        let mut writer = arrow_ipc::writer::FileWriter::try_new(std::io::BufWriter::new(file), &schema).map_err(|e| fail(&e))?;
        writer.write(&batch).map_err(|e| fail(&e))?;
        writer.finish().map_err(|e| fail(&e))?;
        *state = State::Spilled(path);
        ledger.note_spilled(self.bytes() as i64);
        Ok(self.bytes())
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        match &*self.state.lock() {
            State::Spilled(path) => {
                let _ = std::fs::remove_file(path);
                self.ledger.note_spilled(-(self.bytes() as i64));
            }
            State::Resident(_, _, Some(path)) => {
                let _ = std::fs::remove_file(path);
            }
            _ => {}
        }
    }
}

/// A column: a kind and its chunks. Cloning shares everything.
#[derive(Clone)]
pub struct Column {
    pub kind: Kind,
    chunks: Arc<Vec<Arc<Chunk>>>,
    rows: usize,
    rollup: Arc<OnceLock<Rollup>>,
}

/// The values of a column, and the memory they take.
pub struct Numbers {
    values: Vec<f64>,
    _room: Option<Reservation>,
}

/// Numbers that are no column's, in memory that their maker has asked for.
impl From<Vec<f64>> for Numbers {
    fn from(values: Vec<f64>) -> Self {
        Numbers { values, _room: None }
    }
}

impl std::ops::Deref for Numbers {
    type Target = Vec<f64>;
    fn deref(&self) -> &Vec<f64> {
        &self.values
    }
}

impl<'a> IntoIterator for &'a Numbers {
    type Item = &'a f64;
    type IntoIter = std::slice::Iter<'a, f64>;
    fn into_iter(self) -> Self::IntoIter {
        self.values.iter()
    }
}

impl Numbers {
    /// The values alone, for what is small by now or asks for its own memory.
    pub fn into_vec(self) -> Vec<f64> {
        self.values
    }
}

impl std::ops::DerefMut for Numbers {
    fn deref_mut(&mut self) -> &mut Vec<f64> {
        &mut self.values
    }
}

impl Column {
    pub fn from_chunks(kind: Kind, chunks: Vec<Arc<Chunk>>) -> Column {
        let rows = chunks.iter().map(|c| c.len()).sum();
        debug_assert_eq!(chunks.iter().map(|c| c.len()).collect::<Vec<_>>(), chunk_lengths(rows));
        Column { kind, chunks: crate::exchange::share(chunks, rows), rows, rollup: Arc::default() }
    }

    /// A column made value by value from others of the same rows: `f` gets the values of one chunk of each input. On a
    /// cluster each node makes the chunks that it keeps.
    pub fn map_chunks(
        ledger: &Arc<Ledger>,
        kind: Kind,
        inputs: &[&Column],
        f: impl Fn(&[Cow<'_, [f64]>]) -> Vec<f64> + Sync,
    ) -> Result<Column> {
        use rayon::prelude::*;
        let lengths = chunk_lengths(inputs[0].rows);
        let kept = crate::exchange::kept(inputs[0].rows);
        let chunks = (0..lengths.len())
            .into_par_iter()
            .map(|k| {
                if !kept.contains(&k) {
                    return Ok(Chunk::elsewhere(lengths[k], ledger));
                }
                let data = inputs.iter().map(|c| c.chunks[k].data()).collect::<Result<Vec<_>>>()?;
                let values: Vec<Cow<'_, [f64]>> = data.iter().map(f64s).collect();
                store_data(ledger, pack_f64(&f(&values)))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Column::from_chunks(kind, chunks))
    }

    /// A column made row by row, as `map_chunks`: `f` gets the first row of a chunk and its length.
    pub fn generate(ledger: &Arc<Ledger>, kind: Kind, rows: usize, f: impl Fn(usize, usize) -> Vec<f64> + Sync) -> Result<Column> {
        use rayon::prelude::*;
        let lengths = chunk_lengths(rows);
        let kept = crate::exchange::kept(rows);
        let chunks = (0..lengths.len())
            .into_par_iter()
            .map(|k| {
                if kept.contains(&k) {
                    store_data(ledger, pack_f64(&f(k * CHUNK_ROWS, lengths[k])))
                } else {
                    Ok(Chunk::elsewhere(lengths[k], ledger))
                }
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Column::from_chunks(kind, chunks))
    }

    /// A column of which this node brings the rows that are its own.
    pub fn of_team(ledger: &Arc<Ledger>, kind: Kind, team: &Team, rows: usize, mine: &[f64]) -> Result<Column> {
        use rayon::prelude::*;
        let lengths = chunk_lengths(rows);
        let own = team.mine(lengths.len());
        let chunks = (0..lengths.len())
            .into_par_iter()
            .map(|k| {
                if !own.contains(&k) {
                    return Ok(Chunk::elsewhere(lengths[k], ledger));
                }
                let at = (k - own.start) * CHUNK_ROWS;
                store_data(ledger, pack_f64(&mine[at..at + lengths[k]]))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Column::from_chunks(kind, chunks))
    }

    /// The values of a member's own rows as numbers, NaN for missing.
    pub fn team_f64(&self, team: &Team) -> Result<Vec<f64>> {
        if team.is_alone() {
            return self.to_f64();
        }
        let own = team.mine(self.chunks.len());
        let mut out = Vec::with_capacity(own.len() * CHUNK_ROWS);
        for chunk in &self.chunks[own] {
            out.extend_from_slice(&f64s(&chunk.data()?));
        }
        Ok(out)
    }

    /// A real column from values, NaN meaning missing.
    pub fn from_f64(ledger: &Arc<Ledger>, values: &[f64]) -> Result<Column> {
        Self::numeric(ledger, Kind::Real, values)
    }

    /// A column of any numeric kind (real, time, enum codes) from values, NaN meaning missing.
    pub fn numeric(ledger: &Arc<Ledger>, kind: Kind, values: &[f64]) -> Result<Column> {
        use rayon::prelude::*;
        let chunks = values.par_chunks(CHUNK_ROWS).map(|c| store_data(ledger, pack_f64(c))).collect::<Result<Vec<_>>>()?;
        Ok(Column::from_chunks(kind, chunks))
    }

    pub fn from_texts<S: AsRef<str>>(ledger: &Arc<Ledger>, values: &[Option<S>]) -> Result<Column> {
        let mut builder = ColumnBuilder::new(ledger, Kind::Text);
        for chunk in values.chunks(CHUNK_ROWS) {
            builder.push(Arc::new(chunk.iter().map(|v| v.as_ref().map(AsRef::as_ref)).collect::<StringArray>()))?;
        }
        Ok(builder.finish())
    }

    /// The same values under a name of their own: `is_same` tells it from this column, though no value is copied.
    pub fn apart(&self) -> Column {
        Column { chunks: Arc::new(self.chunks.to_vec()), ..self.clone() }
    }

    /// Do both share their values?
    pub fn is_same(&self, other: &Column) -> bool {
        Arc::ptr_eq(&self.chunks, &other.chunks) && self.kind == other.kind
    }
    pub fn rows(&self) -> usize {
        self.rows
    }
    pub fn chunks(&self) -> &[Arc<Chunk>] {
        &self.chunks
    }
    pub fn bytes(&self) -> u64 {
        self.chunks.iter().map(|c| c.bytes()).sum()
    }
    pub fn domain(&self) -> Option<&Arc<Vec<String>>> {
        match &self.kind {
            Kind::Enum(d) => Some(d),
            _ => None,
        }
    }
    pub fn is_enum(&self) -> bool {
        matches!(self.kind, Kind::Enum(_))
    }
    /// Can its values be read as numbers?
    pub fn is_number(&self) -> bool {
        matches!(self.kind, Kind::Real | Kind::Time | Kind::Missing)
    }

    /// The same values under another meaning (a relabelled domain, a time as a number).
    pub fn with_kind(&self, kind: Kind) -> Column {
        Column { kind, chunks: self.chunks.clone(), rows: self.rows, rollup: Arc::default() }
    }

    /// Minimum, maximum, mean and the rest, computed once when first asked for.
    pub fn rollup(&self) -> Result<&Rollup> {
        if let Some(r) = self.rollup.get() {
            return Ok(r);
        }
        let computed = Rollup::compute(self)?;
        Ok(self.rollup.get_or_init(|| computed))
    }

    /// All values as numbers, NaN for missing, for callers that have asked for the memory; others take `numbers`.
    pub fn to_f64(&self) -> Result<Vec<f64>> {
        use rayon::prelude::*;
        let mut out = vec![0.0; self.rows];
        out.par_chunks_mut(CHUNK_ROWS).zip(self.chunks.par_iter()).try_for_each(|(slot, chunk)| {
            slot.copy_from_slice(&f64s(&chunk.data()?));
            Ok::<(), Error>(())
        })?;
        Ok(out)
    }

    /// All values as numbers, NaN for missing, in memory that the ledger gave for as long as they are used.
    pub fn numbers(&self) -> Result<Numbers> {
        let room = self.chunks.first().map(|c| c.ledger.reserve("a column as numbers", 8 * self.rows as u64)).transpose()?;
        Ok(Numbers { values: self.to_f64()?, _room: room })
    }

    /// All values as text; numbers as the clients print them, enum codes as their labels.
    pub fn to_texts(&self) -> Result<Vec<Option<String>>> {
        let mut out = Vec::with_capacity(self.rows);
        for chunk in self.chunks.iter() {
            let data = chunk.data()?;
            match &self.kind {
                Kind::Text => out.extend(data.as_string::<i32>().iter().map(|v| v.map(str::to_string))),
                Kind::Uuid => {
                    let a = data.as_any().downcast_ref::<FixedSizeBinaryArray>().expect("uuid storage");
                    out.extend((0..a.len()).map(|i| a.is_valid(i).then(|| uuid_text(a.value(i)))));
                }
                Kind::Enum(domain) => {
                    out.extend(f64s(&data).iter().map(|v| if v.is_nan() { None } else { domain.get(*v as usize).cloned() }));
                }
                Kind::Missing => out.extend(std::iter::repeat_n(None, data.len())),
                _ => out.extend(f64s(&data).iter().map(|v| if v.is_nan() { None } else { Some(number_text(*v)) })),
            }
        }
        Ok(out)
    }

    pub fn value(&self, row: usize) -> Result<f64> {
        let data = self.chunks[row / CHUNK_ROWS].data()?;
        Ok(f64s(&data.slice(row % CHUNK_ROWS, 1))[0])
    }
}

/// One value of a chunk as a number, NaN for missing.
pub fn number_at(data: &Data, i: usize) -> f64 {
    if data.is_null(i) {
        return f64::NAN;
    }
    match data.data_type() {
        DataType::Int8 => f64::from(data.as_primitive::<Int8Type>().value(i)),
        DataType::Int16 => f64::from(data.as_primitive::<Int16Type>().value(i)),
        DataType::Int32 => f64::from(data.as_primitive::<Int32Type>().value(i)),
        DataType::UInt8 => f64::from(data.as_primitive::<UInt8Type>().value(i)),
        DataType::UInt16 => f64::from(data.as_primitive::<UInt16Type>().value(i)),
        DataType::Float32 => f64::from(data.as_primitive::<Float32Type>().value(i)),
        DataType::Float64 => data.as_primitive::<Float64Type>().value(i),
        _ => f64s(&data.slice(i, 1))[0],
    }
}

/// A number as the clients print it: whole numbers without a point.
pub fn number_text(v: f64) -> String {
    if v == v.trunc() && v.abs() < 1e15 { format!("{}", v as i64) } else { format!("{v}") }
}

pub fn uuid_text(bytes: &[u8]) -> String {
    let h: String = bytes.iter().map(|b| format!("{b:02X}")).collect();
    format!("{}-{}-{}-{}-{}", &h[0..8], &h[8..12], &h[12..16], &h[16..20], &h[20..32])
}

/// Values of a chunk as numbers, NaN for missing. Borrows when the storage is already so.
pub fn f64s(data: &Data) -> Cow<'_, [f64]> {
    fn widen<T: ArrowPrimitiveType>(data: &Data, to: impl Fn(T::Native) -> f64) -> Vec<f64> {
        let a = data.as_primitive::<T>();
        match a.nulls() {
            None => a.values().iter().map(|v| to(*v)).collect(),
            Some(n) => a.values().iter().zip(n.iter()).map(|(v, ok)| if ok { to(*v) } else { f64::NAN }).collect(),
        }
    }
    match data.data_type() {
        DataType::Float64 if data.null_count() == 0 => Cow::Borrowed(data.as_primitive::<Float64Type>().values()),
        DataType::Float64 => Cow::Owned(widen::<Float64Type>(data, |v| v)),
        DataType::Float32 => Cow::Owned(widen::<Float32Type>(data, f64::from)),
        DataType::Int8 => Cow::Owned(widen::<Int8Type>(data, f64::from)),
        DataType::Int16 => Cow::Owned(widen::<Int16Type>(data, f64::from)),
        DataType::Int32 => Cow::Owned(widen::<Int32Type>(data, f64::from)),
        DataType::Int64 => Cow::Owned(widen::<Int64Type>(data, |v| v as f64)),
        DataType::UInt8 => Cow::Owned(widen::<UInt8Type>(data, f64::from)),
        DataType::UInt16 => Cow::Owned(widen::<UInt16Type>(data, f64::from)),
        DataType::UInt32 => Cow::Owned(widen::<UInt32Type>(data, f64::from)),
        _ => Cow::Owned(vec![f64::NAN; data.len()]),
    }
}

/// Has a number no fraction? Infinite ones have none.
#[inline(always)]
pub fn is_whole(v: f64) -> bool {
    // Adding this rounds to whole numbers below 2^51; all from 2^52 on are whole.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    if v.abs() < 2_251_799_813_685_248.0 { (v + ROUND) - ROUND == v } else { v == v.trunc() }
}

/// Numbers in the narrowest Arrow type that holds each of them exactly; NaN becomes null.
pub fn pack_f64(values: &[f64]) -> Data {
    let (mut low, mut high, mut whole, mut missing, mut single) = (f64::INFINITY, f64::NEG_INFINITY, true, 0usize, true);
    for &v in values {
        if v.is_nan() {
            missing += 1;
            continue;
        }
        low = if v < low { v } else { low };
        high = if v > high { v } else { high };
        whole &= is_whole(v) && v.abs() < 9.0e15 && v.to_bits() != (-0.0f64).to_bits();
        single &= f64::from(v as f32) == v;
    }
    if missing == values.len() {
        return Arc::new(NullArray::new(values.len()));
    }
    let nulls = (missing > 0).then(|| NullBuffer::from_iter(values.iter().map(|v| !v.is_nan())));
    macro_rules! narrow {
        ($t:ty, $n:ty) => {
            Arc::new(arrow_array::PrimitiveArray::<$t>::new(values.iter().map(|v| *v as $n).collect::<Vec<$n>>().into(), nulls))
        };
    }
    if whole && low.is_finite() && high.is_finite() {
        let fits = |a: f64, b: f64| low >= a && high <= b;
        return if fits(-128.0, 127.0) {
            narrow!(Int8Type, i8)
        } else if fits(-32768.0, 32767.0) {
            narrow!(Int16Type, i16)
        } else if fits(f64::from(i32::MIN), f64::from(i32::MAX)) {
            narrow!(Int32Type, i32)
        } else {
            narrow!(Int64Type, i64)
        };
    }
    if single {
        return narrow!(Float32Type, f32);
    }
    Arc::new(Float64Array::new(values.to_vec().into(), nulls))
}

/// Bytes that an array holds on to.
pub fn data_bytes(data: &Data) -> u64 {
    data.get_buffer_memory_size() as u64
}

/// Reserves memory for `data` and makes a chunk of it.
pub fn store_data(ledger: &Arc<Ledger>, data: Data) -> Result<Arc<Chunk>> {
    let reservation = ledger.reserve("frame data", data_bytes(&data))?;
    Ok(Chunk::new(data, reservation, ledger))
}

/// Builds a column from chunks of exactly the prescribed length, in order.
pub struct ColumnBuilder {
    ledger: Arc<Ledger>,
    kind: Kind,
    chunks: Vec<Arc<Chunk>>,
}

impl ColumnBuilder {
    pub fn new(ledger: &Arc<Ledger>, kind: Kind) -> Self {
        ColumnBuilder { ledger: ledger.clone(), kind, chunks: vec![] }
    }
    pub(crate) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }
    pub fn push(&mut self, data: Data) -> Result<()> {
        assert!(data.len() <= CHUNK_ROWS && self.chunks.last().is_none_or(|c| c.len() == CHUNK_ROWS), "chunk boundaries are fixed");
        self.chunks.push(store_data(&self.ledger, data)?);
        Ok(())
    }
    pub fn finish(self) -> Column {
        Column::from_chunks(self.kind, self.chunks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_packing_in_the_narrowest_type() {
        for (values, expect) in [
            (vec![1.0, -3.0, f64::NAN], DataType::Int8),
            (vec![1000.0], DataType::Int16),
            (vec![1e9], DataType::Int32),
            (vec![1e12], DataType::Int64),
            (vec![0.5, 0.25], DataType::Float32),
            (vec![0.1, f64::INFINITY], DataType::Float64),
            (vec![-0.0], DataType::Float32),
            (vec![f64::NAN], DataType::Null),
        ] {
            let data = pack_f64(&values);
            assert_eq!(*data.data_type(), expect, "{values:?}");
            let back = f64s(&data);
            assert!(values.iter().zip(back.iter()).all(|(a, b)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())));
        }
    }

    #[test]
    fn cold_chunks_go_to_disk_and_come_back() {
        let dir = std::env::temp_dir().join(format!("ochre-spill-test-{}", std::process::id()));
        let ledger = Ledger::new(3 * 8 * CHUNK_ROWS as u64 + 4096, &dir).unwrap();
        let values: Vec<f64> = (0..6 * CHUNK_ROWS).map(|i| i as f64 + 0.1).collect();
        let column = Column::from_f64(&ledger, &values).unwrap();
        assert!(ledger.spilled() > 0, "six chunks do not fit a budget of three");
        for (i, chunk) in column.chunks().iter().enumerate() {
            let data = chunk.data().unwrap();
            assert_eq!(f64s(&data)[7], values[i * CHUNK_ROWS + 7]);
        }
        let error = ledger.reserve("a test", 1 << 40).err().unwrap();
        assert!(error.to_string().contains("1099511627776 bytes are needed"), "{error}");
        drop(column);
        assert_eq!((ledger.used(), ledger.spilled()), (0, 0));
    }
}
