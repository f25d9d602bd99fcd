//! Chunks that other nodes hold: what is kept here, what is asked for, and what is answered.

use crate::rollup::Part;
use crate::team::{self, ColumnId, Layout};
use crate::{CHUNK_ROWS, Chunk, Column, Data, Error, Kind, Ledger, Result};
use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a node that is asked for a column waits until its own copy of the command has made it.
const MADE_SOON: Duration = Duration::from_secs(60);

/// Where the values of a chunk are known: column, place in it, and the column's number of chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub column: ColumnId,
    pub index: usize,
    pub chunks: usize,
}

pub(crate) const NOWHERE: Place = Place { column: ColumnId(0, 0), index: 0, chunks: 0 };

#[derive(Serialize, Deserialize)]
enum Question {
    Chunk(Place),
    /// What some chunks contribute to the rollup of their column.
    Parts {
        column: ColumnId,
        kind: Meaning,
        chunks: Range<usize>,
    },
}

/// A kind without the texts of its domain.
#[derive(Serialize, Deserialize)]
enum Meaning {
    Number,
    Enum(usize),
    Text,
    Uuid,
    Missing,
}

impl Meaning {
    fn of(kind: &Kind) -> Meaning {
        match kind {
            Kind::Real | Kind::Time => Meaning::Number,
            Kind::Enum(d) => Meaning::Enum(d.len()),
            Kind::Text => Meaning::Text,
            Kind::Uuid => Meaning::Uuid,
            Kind::Missing => Meaning::Missing,
        }
    }
    fn kind(&self) -> Kind {
        match self {
            Meaning::Number => Kind::Real,
            Meaning::Enum(n) => Kind::Enum(Arc::new(vec![String::new(); *n])),
            Meaning::Text => Kind::Text,
            Meaning::Uuid => Kind::Uuid,
            Meaning::Missing => Kind::Missing,
        }
    }
}

/// Chunks that this node keeps of a column with so many rows: all of them, unless the rows are shared out.
pub fn kept(rows: usize) -> Range<usize> {
    match team::current() {
        None => 0..rows.div_ceil(CHUNK_ROWS),
        Some(task) => kept_by(&task.layout, task.layout.me, rows),
    }
}

/// Chunks that a node keeps of a column with so many rows.
pub(crate) fn kept_by(layout: &Layout, slot: usize, rows: usize) -> Range<usize> {
    let chunks = rows.div_ceil(CHUNK_ROWS);
    if rows <= team::WHOLE_ROWS_MAX {
        return 0..chunks;
    }
    let here = |c: &usize| layout.keeps(slot, *c, chunks);
    let first = (0..chunks).find(here).unwrap_or(0);
    let end = (0..chunks).rev().find(here).map_or(first, |c| c + 1);
    first..end
}

/// Drops the chunks that this node does not keep, and makes the others known under a name that all nodes share.
pub(crate) fn share(mut chunks: Vec<Arc<Chunk>>, rows: usize) -> Arc<Vec<Arc<Chunk>>> {
    let Some(task) = team::current().filter(|_| rows > team::WHOLE_ROWS_MAX) else { return Arc::new(chunks) };
    let id = task.next_column();
    let keep = kept(rows);
    let n = chunks.len();
    for (i, slot) in chunks.iter_mut().enumerate() {
        if !keep.contains(&i) && slot.is_here() {
            *slot = Chunk::elsewhere(slot.len(), slot.ledger());
        }
        slot.name_place(Place { column: id, index: i, chunks: n });
    }
    let chunks = Arc::new(chunks);
    if let Some(first) = chunks.first() {
        let mut shared = first.ledger().shared.lock();
        if shared.len() == shared.capacity() {
            shared.retain(|_, c| c.strong_count() > 0);
        }
        shared.insert(id, Arc::downgrade(&chunks));
    }
    task.keep(chunks.clone());
    chunks
}

fn layout(ledger: &Ledger) -> Result<Layout> {
    match (team::current(), ledger.carrier()) {
        (Some(task), _) => Ok(task.layout.clone()),
        (None, Some(carrier)) => Ok(carrier.layout()),
        (None, None) => Err(Error::Internal("a chunk is on another node, but there are no other nodes".into())),
    }
}

fn ask(ledger: &Ledger, slot: usize, question: &Question) -> Result<Vec<u8>> {
    let carrier = ledger.carrier().ok_or_else(|| Error::Internal("there are no other nodes to ask".into()))?;
    let bytes = postcard::to_allocvec(question).map_err(|e| Error::Internal(e.to_string()))?;
    carrier.ask(slot, &bytes)
}

pub(crate) fn fetch(ledger: &Arc<Ledger>, place: Place, len: usize) -> Result<Data> {
    let _room = ledger.reserve("a chunk from another node", (len * 8) as u64)?;
    let owner = layout(ledger)?.owner(place.index, place.chunks);
    let bytes = ask(ledger, owner, &Question::Chunk(place))?;
    let mut data = read_data(&bytes).map_err(|e| Error::Internal(format!("a chunk from node {owner} cannot be read: {e}")))?;
    data.pop().ok_or_else(|| Error::Internal(format!("node {owner} answered without a chunk")))
}

/// Data of chunks as bytes: each as an Arrow stream of its own (their types may differ), after its length.
pub(crate) fn write_data(data: &[Data]) -> Result<Vec<u8>> {
    let fail = |e: arrow_schema::ArrowError| Error::Internal(format!("rows cannot be written: {e}"));
    let mut out = vec![];
    for data in data {
        let start = out.len();
        out.extend_from_slice(&[0; 8]);
        let schema = Arc::new(Schema::new(vec![Field::new("v", data.data_type().clone(), true)]));
        let batch = RecordBatch::try_new(schema.clone(), vec![data.clone()]).map_err(fail)?;
        let mut writer = arrow_ipc::writer::StreamWriter::try_new(&mut out, &schema).map_err(fail)?;
        writer.write(&batch).map_err(fail)?;
        writer.finish().map_err(fail)?;
        drop(writer);
        let len = (out.len() - start - 8) as u64;
        out[start..start + 8].copy_from_slice(&len.to_le_bytes());
    }
    Ok(out)
}

pub(crate) fn read_data(mut bytes: &[u8]) -> Result<Vec<Data>, String> {
    let mut out = vec![];
    while let Some((len, rest)) = bytes.split_first_chunk::<8>() {
        let (stream, rest) = rest.split_at_checked(u64::from_le_bytes(*len) as usize).ok_or("it ends too soon")?;
        let mut reader = arrow_ipc::reader::StreamReader::try_new(stream, None).map_err(|e| e.to_string())?;
        let batch = reader.next().ok_or("it is empty")?.map_err(|e| e.to_string())?;
        out.push(batch.column(0).clone());
        bytes = rest;
    }
    Ok(out)
}

pub(crate) fn bytes_of_u32(values: &[u32]) -> Vec<u8> {
    let mut out = vec![0; 4 * values.len()];
    out.chunks_exact_mut(4).zip(values).for_each(|(b, v)| b.copy_from_slice(&v.to_le_bytes()));
    out
}
pub(crate) fn u32_of_bytes(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().expect("four bytes")))
}

/// Contributions to a rollup of the chunks that are not here, asked of the nodes that own them.
pub(crate) fn parts(column: &Column) -> Result<Vec<(usize, Part)>> {
    let away: Vec<(usize, Place)> = column.chunks().iter().enumerate().filter_map(|(i, c)| Some((i, c.place()?))).collect();
    let Some(ledger) = column.chunks().first().map(|c| c.ledger()) else { return Ok(vec![]) };
    let mut out = vec![];
    let mut at = 0;
    while at < away.len() {
        // A run of chunks of one column with one owner is asked for at once.
        let (first, place) = away[at];
        let layout = layout(ledger)?;
        let owner = layout.owner(place.index, place.chunks);
        let mut end = at + 1;
        while end < away.len()
            && away[end].1.column == place.column
            && away[end].1.index == place.index + (end - at)
            && layout.owner(away[end].1.index, place.chunks) == owner
        {
            end += 1;
        }
        let question =
            Question::Parts { column: place.column, kind: Meaning::of(&column.kind), chunks: place.index..place.index + (end - at) };
        let parts: Vec<Part> =
            postcard::from_bytes(&ask(ledger, owner, &question)?).map_err(|e| Error::Internal(format!("node {owner}: {e}")))?;
        out.extend(parts.into_iter().enumerate().map(|(i, p)| (first + i, p)));
        at = end;
    }
    Ok(out)
}

/// Answers what [`fetch`] and [`parts`] ask on another node.
pub fn answer(ledger: &Arc<Ledger>, question: &[u8]) -> Result<Vec<u8>> {
    let question: Question = postcard::from_bytes(question).map_err(|e| Error::invalid(format!("the question cannot be read: {e}")))?;
    let (Question::Chunk(Place { column, .. }) | Question::Parts { column, .. }) = &question;
    let patience = Instant::now() + MADE_SOON;
    let chunks = loop {
        if let Some(c) = ledger.shared.lock().get(column).and_then(std::sync::Weak::upgrade) {
            break c;
        }
        if Instant::now() > patience {
            return Err(Error::NotFound(format!("column {column:?} is not known here")));
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let here = |i: usize| -> Result<Data> {
        let chunk = chunks.get(i).ok_or_else(|| Error::Internal(format!("column {column:?} has no chunk {i}")))?;
        if !chunk.is_here() {
            return Err(Error::NotFound(format!("chunk {i} of a frame was lost with the nodes that held it; import the data again")));
        }
        chunk.data()
    };
    match &question {
        Question::Chunk(place) => write_data(&[here(place.index)?]),
        Question::Parts { kind, chunks: wanted, .. } => {
            let kind = kind.kind();
            let parts = wanted.clone().map(|i| Ok(crate::rollup::part(&kind, &here(i)?))).collect::<Result<Vec<Part>>>()?;
            postcard::to_allocvec(&parts).map_err(|e| Error::Internal(e.to_string()))
        }
    }
}

/// Brings copies of the chunks that this node has to keep since other nodes were lost; answers how many rows came.
pub fn heal(column: &Column, layout: &Layout) -> Result<usize> {
    if column.rows() <= team::WHOLE_ROWS_MAX {
        return Ok(0);
    }
    let mut rows = 0;
    for (i, chunk) in column.chunks().iter().enumerate() {
        let Some(place) = chunk.place() else { continue };
        if layout.keeps(layout.me, i, column.chunks().len()) {
            chunk.take_in(fetch(chunk.ledger(), place, chunk.len())?)?;
            rows += chunk.len();
        }
    }
    Ok(rows)
}
