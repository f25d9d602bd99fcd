//! Parquet, ORC and Avro: column types from the schema; values of Parquet a row group at a time. Arrow IPC streams and files: the same, with the
//! columns as they are.

use crate::csv;
use crate::parse::{Block, Buffer, Levels, MISSING};
use crate::records;
use crate::setup::{ColumnType, Counts, Format, ParseSetup, Wishes};
use crate::timetext;
use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef, FixedSizeBinaryArray, RecordBatch};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use ochre_core::{CHUNK_ROWS, Column, ColumnBuilder, Error, Frame, Kind, Ledger, Result, number_text};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use rustc_hash::FxHashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// Rows that are looked at to tell categories from other texts.
const PREVIEW_ROWS: usize = 5_000;
const SHOWN_ROWS: usize = 10;
const BATCH_ROWS: usize = 1 << 16;
const DAY_MS: f64 = 86_400_000.0;

fn open(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let file = File::open(path).map_err(|e| Error::io(path.display(), e))?;
    ParquetRecordBatchReaderBuilder::try_new(file)
        .map_err(|e| Error::invalid(format!("{} begins like a Parquet file, but is damaged or cut short: {e}", path.display())))
}

/// The same, with texts of categorical columns as the dictionaries that they mostly are in the file.
fn open_as(path: &Path, setup: &ParseSetup) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let plain = open(path)?;
    let texts = |kind: &DataType| matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let coded = |i: usize| setup.types.get(i) == Some(&ColumnType::Enum);
    let fields: Vec<_> = plain
        .schema()
        .fields()
        .iter()
        .enumerate()
        .map(|(i, f)| {
            if texts(f.data_type()) && coded(i) {
                let kind = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
                Arc::new(Field::new(f.name(), kind, f.is_nullable()))
            } else {
                f.clone()
            }
        })
        .collect();
    let options = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(fields)));
    let file = File::open(path).map_err(|e| Error::io(path.display(), e))?;
    // A file whose texts cannot be had so is read as it is.
    Ok(ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).unwrap_or(plain))
}

/// One value of a column, as far as the parser tells them apart.
enum Cell<'a> {
    Missing,
    Number(f64),
    /// Milliseconds since 1970.
    Time(f64),
    Text(&'a str),
    Flag(bool),
}

/// Hands the values of an array to `f`, one by one; says no when the array is of a kind that has no place in a column.
fn each(array: &ArrayRef, f: &mut dyn FnMut(Cell<'_>)) -> bool {
    macro_rules! numbers {
        ($t:ty) => {
            array.as_primitive::<$t>().iter().for_each(|v| f(v.map_or(Cell::Missing, |v| Cell::Number(v as f64))))
        };
    }
    macro_rules! times {
        ($t:ty, $scale:expr) => {
            array.as_primitive::<$t>().iter().for_each(|v| f(v.map_or(Cell::Missing, |v| Cell::Time((v as f64 * $scale).floor()))))
        };
    }
    macro_rules! texts {
        ($a:expr) => {
            $a.iter().for_each(|v| f(v.map_or(Cell::Missing, Cell::Text)))
        };
    }
    match array.data_type() {
        DataType::Null => (0..array.len()).for_each(|_| f(Cell::Missing)),
        DataType::Boolean => array.as_boolean().iter().for_each(|v| f(v.map_or(Cell::Missing, Cell::Flag))),
        DataType::Int8 => numbers!(Int8Type),
        DataType::Int16 => numbers!(Int16Type),
        DataType::Int32 => numbers!(Int32Type),
        DataType::Int64 => numbers!(Int64Type),
        DataType::UInt8 => numbers!(UInt8Type),
        DataType::UInt16 => numbers!(UInt16Type),
        DataType::UInt32 => numbers!(UInt32Type),
        DataType::UInt64 => numbers!(UInt64Type),
        DataType::Float16 => {
            array.as_primitive::<Float16Type>().iter().for_each(|v| f(v.map_or(Cell::Missing, |v| Cell::Number(v.to_f64()))))
        }
        DataType::Float32 => numbers!(Float32Type),
        DataType::Float64 => numbers!(Float64Type),
        DataType::Decimal128(_, scale) => {
            let by = 10f64.powi(i32::from(*scale));
            array.as_primitive::<Decimal128Type>().iter().for_each(|v| f(v.map_or(Cell::Missing, |v| Cell::Number(v as f64 / by))));
        }
        DataType::Decimal32(_, scale) => {
            let by = 10f64.powi(i32::from(*scale));
            array.as_primitive::<Decimal32Type>().iter().for_each(|v| f(v.map_or(Cell::Missing, |v| Cell::Number(f64::from(v) / by))));
        }
        DataType::Decimal64(_, scale) => {
            let by = 10f64.powi(i32::from(*scale));
            array.as_primitive::<Decimal64Type>().iter().for_each(|v| f(v.map_or(Cell::Missing, |v| Cell::Number(v as f64 / by))));
        }
        DataType::Date32 => times!(Date32Type, DAY_MS),
        DataType::Date64 => times!(Date64Type, 1.0),
        DataType::Time32(TimeUnit::Second) => numbers!(Time32SecondType),
        DataType::Time32(_) => numbers!(Time32MillisecondType),
        DataType::Time64(TimeUnit::Microsecond) => numbers!(Time64MicrosecondType),
        DataType::Time64(_) => numbers!(Time64NanosecondType),
        DataType::Timestamp(TimeUnit::Second, _) => times!(TimestampSecondType, 1000.0),
        DataType::Timestamp(TimeUnit::Millisecond, _) => times!(TimestampMillisecondType, 1.0),
        DataType::Timestamp(TimeUnit::Microsecond, _) => times!(TimestampMicrosecondType, 1e-3),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => times!(TimestampNanosecondType, 1e-6),
        DataType::Utf8 => texts!(array.as_string::<i32>()),
        DataType::LargeUtf8 => texts!(array.as_string::<i64>()),
        DataType::Utf8View => texts!(array.as_string_view()),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            let bytes = |v: Option<&[u8]>, f: &mut dyn FnMut(Cell<'_>)| match v {
                None => f(Cell::Missing),
                Some(v) => f(Cell::Text(&String::from_utf8_lossy(v))),
            };
            match array.data_type() {
                DataType::Binary => array.as_binary::<i32>().iter().for_each(|v| bytes(v, f)),
                DataType::LargeBinary => array.as_binary::<i64>().iter().for_each(|v| bytes(v, f)),
                _ => array.as_binary_view().iter().for_each(|v| bytes(v, f)),
            }
        }
        DataType::Dictionary(_, _) => {
            let any = array.as_any_dictionary();
            let mut values: Vec<Option<String>> = vec![];
            let fine = each(any.values(), &mut |c| {
                values.push(match c {
                    Cell::Text(t) => Some(t.to_string()),
                    Cell::Number(v) | Cell::Time(v) => Some(number_text(v)),
                    Cell::Flag(b) => Some(flag_text(b).into()),
                    Cell::Missing => None,
                });
            });
            let keys = any.normalized_keys();
            for (i, k) in keys.into_iter().enumerate() {
                let value = if array.is_null(i) { None } else { values.get(k).and_then(|v| v.as_deref()) };
                f(value.map_or(Cell::Missing, Cell::Text));
            }
            return fine;
        }
        _ => return false,
    }
    true
}

fn flag_text(b: bool) -> &'static str {
    if b { "True" } else { "False" }
}

/// The type that the file's schema gives a column; `None` for texts, which are looked at.
fn declared(kind: &DataType) -> Option<ColumnType> {
    match kind {
        DataType::Boolean => Some(ColumnType::Enum),
        DataType::Dictionary(_, _) => Some(ColumnType::Enum),
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, _) => Some(ColumnType::Time),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Binary | DataType::LargeBinary | DataType::BinaryView => None,
        _ => Some(ColumnType::Numeric),
    }
}

/// Is a column of this kind nested, and therefore no column of a frame?
fn nested(kind: &DataType) -> bool {
    kind.is_nested() || matches!(kind, DataType::Interval(_) | DataType::Duration(_))
}

/// Which columns of a Parquet file hold texts, by its schema.
pub fn text_columns(path: &Path) -> Result<Vec<bool>> {
    Ok(open(path)?.schema().fields().iter().map(|f| declared(f.data_type()).is_none()).collect())
}

pub fn guess(path: &Path, wishes: &Wishes) -> Result<ParseSetup> {
    let builder = open(path)?;
    let schema = builder.schema().clone();
    let fail = |e: &dyn std::fmt::Display| Error::invalid(format!("{} cannot be read: {e}", path.display()));
    let reader = builder.with_batch_size(PREVIEW_ROWS).with_limit(PREVIEW_ROWS).build().map_err(|e| fail(&e))?;
    let batches = reader.map(|b| b.map_err(|e| e.to_string()));
    guess_batches(path, Format::Parquet, &schema, Box::new(batches), wishes)
}

/// The same for a file of ORC or Avro.
pub fn guess_records(path: &Path, format: Format, wishes: &Wishes) -> Result<ParseSetup> {
    let (schema, batches) = records::open(path, format, PREVIEW_ROWS)?;
    guess_batches(path, format, &schema, Box::new(batches.take(1)), wishes)
}

fn guess_batches(path: &Path, format: Format, schema: &Schema, batches: records::Batches, wishes: &Wishes) -> Result<ParseSetup> {
    let fail = |e: &dyn std::fmt::Display| Error::invalid(format!("{} cannot be read: {e}", path.display()));
    let mut setup = ParseSetup { format, separator: b'|', header: 1, ..ParseSetup::default() };
    let mut counts: Vec<Counts> = schema.fields().iter().map(|_| Counts::default()).collect();
    for batch in batches {
        let batch = batch.map_err(|e| fail(&e))?;
        for (c, array) in batch.columns().iter().enumerate() {
            each(array, &mut |cell| match cell {
                Cell::Text(t) => counts[c].add(Some(&csv::Field { text: t.as_bytes().into(), quoted: false }), &[]),
                _ => counts[c].add(None, &[]),
            });
        }
        let shown = batch.num_rows().min(SHOWN_ROWS.saturating_sub(setup.preview.len()));
        let mut rows = vec![vec![]; shown];
        for array in batch.columns() {
            let part = array.slice(0, shown);
            let mut r = 0;
            each(&part, &mut |cell| {
                rows[r].push(match cell {
                    Cell::Missing => String::new(),
                    Cell::Number(v) | Cell::Time(v) => number_text(v),
                    Cell::Text(t) => t.to_string(),
                    Cell::Flag(b) => flag_text(b).to_string(),
                });
                r += 1;
            });
        }
        setup.preview.extend(rows);
    }
    for (i, (field, counts)) in schema.fields().iter().zip(&counts).enumerate() {
        let given = wishes.names.as_ref().and_then(|n| n.get(i)).cloned();
        setup.names.push(given.unwrap_or_else(|| field.name().clone()));
        let kind = field.data_type();
        let (t, why) = match declared(kind) {
            Some(t) => (t, format!("the file's schema says {kind}")),
            None => {
                let (t, why, _) = counts.decide();
                // Nothing but missing values and words for them in sight: later rows may hold any text.
                match t {
                    ColumnType::Numeric if !counts.has_numbers() => (ColumnType::Enum, "texts, missing as far as was looked at".into()),
                    _ => (t, why),
                }
            }
        };
        setup.types.push(t);
        setup.reasons.push(why);
    }
    let width = setup.names.len();
    setup.na_strings = wishes.na_strings.clone();
    setup.na_strings.resize(width, vec![]);
    Ok(setup)
}

/// Bytes, unpacked, of each row group of a file; these can be read side by side.
pub fn row_groups(path: &Path) -> Result<Vec<u64>> {
    Ok(open(path)?.metadata().row_groups().iter().map(|g| g.total_byte_size().max(0) as u64).collect())
}

/// The values of a whole file of ORC or Avro.
pub fn read_records(path: &Path, setup: &ParseSetup) -> Result<Block<'static>> {
    let (schema, batches) = records::open(path, setup.format, BATCH_ROWS)?;
    let kept = kept_columns(path, schema.fields(), setup)?;
    let mut block = Block::empty(setup);
    for batch in batches {
        let batch = batch.map_err(|e| Error::invalid(format!("{} cannot be read: {e}", path.display())))?;
        block.rows += batch.num_rows();
        for &c in &kept {
            let array = batch.column(c);
            push(array, &mut block.buffers[c], setup.types[c] == ColumnType::Time, &setup.na_strings[c], &mut block.bad_numbers[c]);
        }
    }
    Ok(block)
}

/// Which of a file's columns the setup wants; all of them have to have a place in a frame.
fn kept_columns(path: &Path, fields: &arrow_schema::Fields, setup: &ParseSetup) -> Result<Vec<usize>> {
    if fields.len() != setup.names.len() {
        return Err(Error::invalid(format!(
            "{} has {} columns where the parse setup has {}; import files of one format at a time",
            path.display(),
            fields.len(),
            setup.names.len()
        )));
    }
    let kept: Vec<usize> = (0..fields.len()).filter(|c| !setup.skipped.contains(c)).collect();
    if let Some(&c) = kept.iter().find(|&&c| nested(fields[c].data_type())) {
        return Err(Error::Unsupported(format!(
            "{}: column '{}' is of the type {}, which has no place in a frame; name it in skipped_columns",
            path.display(),
            fields[c].name(),
            fields[c].data_type()
        )));
    }
    Ok(kept)
}

/// The values of one row group.
pub fn read(path: &Path, group: usize, setup: &ParseSetup) -> Result<Block<'static>> {
    let builder = open_as(path, setup)?;
    let kept = kept_columns(path, builder.schema().fields(), setup)?;
    let fail = |e: &dyn std::fmt::Display| Error::invalid(format!("{} cannot be read: {e}", path.display()));
    let mask = ProjectionMask::roots(builder.parquet_schema(), kept.iter().copied());
    let reader = builder.with_row_groups(vec![group]).with_projection(mask).with_batch_size(BATCH_ROWS).build().map_err(|e| fail(&e))?;
    let mut block = Block::empty(setup);
    for batch in reader {
        let batch: RecordBatch = batch.map_err(|e| fail(&e))?;
        block.rows += batch.num_rows();
        for (array, &c) in batch.columns().iter().zip(&kept) {
            push(array, &mut block.buffers[c], setup.types[c] == ColumnType::Time, &setup.na_strings[c], &mut block.bad_numbers[c]);
        }
    }
    Ok(block)
}

/// Adds an array to a buffer, which is of the type that the user or the guess decided on.
fn push(array: &ArrayRef, buffer: &mut Buffer<'static>, time: bool, na: &[String], bad: &mut usize) {
    let absent = |t: &str| na.iter().any(|n| n == t);
    match buffer {
        Buffer::Skipped => {}
        Buffer::Numbers(values) => {
            // The common case at full speed.
            if let Some(plain) = array.as_primitive_opt::<Float64Type>().filter(|a| a.null_count() == 0) {
                values.extend_from_slice(plain.values());
                return;
            }
            each(array, &mut |cell| {
                values.push(match cell {
                    Cell::Missing => f64::NAN,
                    Cell::Number(v) | Cell::Time(v) => v,
                    Cell::Flag(b) => f64::from(b),
                    Cell::Text(t) if absent(t) => f64::NAN,
                    Cell::Text(t) => {
                        let t = t.trim().as_bytes();
                        let v = if time { timetext::parse(t) } else { None };
                        v.or_else(|| csv::number(t)).unwrap_or_else(|| {
                            *bad += usize::from(!t.is_empty());
                            f64::NAN
                        })
                    }
                });
            });
        }
        Buffer::Codes { codes, levels } => {
            let code = |t: &str, levels: &mut Levels<'static>| levels.code_of(t.as_bytes());
            if let DataType::Dictionary(_, _) = array.data_type() {
                // Each text is looked up once, and each row takes the code of its key.
                let any = array.as_any_dictionary();
                let mut known = vec![];
                each(any.values(), &mut |cell| {
                    known.push(match cell {
                        Cell::Text(t) if !absent(t) => code(t, levels),
                        Cell::Number(v) | Cell::Time(v) => code(&number_text(v), levels),
                        Cell::Flag(b) => code(flag_text(b), levels),
                        _ => MISSING,
                    });
                });
                let keys = any.normalized_keys();
                codes.extend(keys.into_iter().enumerate().map(|(i, k)| if array.is_null(i) { MISSING } else { known[k] }));
                return;
            }
            each(array, &mut |cell| {
                codes.push(match cell {
                    Cell::Missing => MISSING,
                    Cell::Text(t) if absent(t) => MISSING,
                    Cell::Text(t) => code(t, levels),
                    Cell::Flag(b) => code(flag_text(b), levels),
                    Cell::Number(v) | Cell::Time(v) => code(&number_text(v), levels),
                });
            });
        }
        Buffer::Texts { ends, bytes, valid } => {
            each(array, &mut |cell| {
                let made;
                let text = match cell {
                    Cell::Missing => None,
                    Cell::Text(t) if absent(t) => None,
                    Cell::Text(t) => Some(t),
                    Cell::Flag(b) => Some(flag_text(b)),
                    Cell::Number(v) | Cell::Time(v) => {
                        made = number_text(v);
                        Some(made.as_str())
                    }
                };
                bytes.extend_from_slice(text.unwrap_or_default().as_bytes());
                ends.push(bytes.len() as u32);
                valid.push(text.is_some());
            });
        }
        Buffer::Uuids(values) => {
            each(array, &mut |cell| {
                values.push(match cell {
                    Cell::Text(t) => crate::setup::uuid(t.trim().as_bytes()),
                    _ => None,
                });
            });
        }
    }
}

/// A column of a stream, as it grows.
enum Growing {
    Numbers(Vec<f64>, Kind),
    Codes(Vec<f64>, Vec<String>, FxHashMap<String, usize>),
    Texts(Vec<Option<String>>),
    Uuids(Vec<Option<[u8; 16]>>),
}

impl Growing {
    fn new(field: &Field) -> Growing {
        match (declared(field.data_type()), field.metadata().get("ochre.kind").map(String::as_str)) {
            (Some(ColumnType::Enum), _) => Growing::Codes(vec![], vec![], FxHashMap::default()),
            (Some(ColumnType::Time), _) => Growing::Numbers(vec![], Kind::Time),
            (Some(_), _) => Growing::Numbers(vec![], Kind::Real),
            (None, Some("uuid")) => Growing::Uuids(vec![]),
            (None, _) => Growing::Texts(vec![]),
        }
    }

    fn push(&mut self, array: &ArrayRef) {
        let code = |t: &str, levels: &mut Vec<String>, known: &mut FxHashMap<String, usize>| match known.get(t) {
            Some(c) => *c as f64,
            None => {
                known.insert(t.to_string(), levels.len());
                levels.push(t.to_string());
                (levels.len() - 1) as f64
            }
        };
        match self {
            Growing::Numbers(values, _) => {
                each(array, &mut |c| {
                    values.push(match c {
                        Cell::Number(v) | Cell::Time(v) => v,
                        _ => f64::NAN,
                    })
                });
            }
            Growing::Codes(codes, levels, known) => {
                // Levels keep the order of the dictionary, also those that no row has.
                if let DataType::Dictionary(_, _) = array.data_type() {
                    each(array.as_any_dictionary().values(), &mut |c| {
                        if let Cell::Text(t) = c {
                            code(t, levels, known);
                        }
                    });
                } else {
                    for flag in [false, true] {
                        code(flag_text(flag), levels, known);
                    }
                }
                each(array, &mut |c| {
                    codes.push(match c {
                        Cell::Text(t) => code(t, levels, known),
                        Cell::Flag(b) => code(flag_text(b), levels, known),
                        Cell::Number(v) | Cell::Time(v) => code(&number_text(v), levels, known),
                        Cell::Missing => f64::NAN,
                    })
                });
            }
            Growing::Texts(texts) => {
                each(array, &mut |c| {
                    texts.push(match c {
                        Cell::Text(t) => Some(t.to_string()),
                        _ => None,
                    })
                });
            }
            Growing::Uuids(values) => {
                each(array, &mut |c| {
                    values.push(match c {
                        Cell::Text(t) => crate::setup::uuid(t.as_bytes()),
                        _ => None,
                    })
                });
            }
        }
    }

    fn finish(self, ledger: &Arc<Ledger>) -> Result<Column> {
        match self {
            Growing::Numbers(values, kind) => Column::numeric(ledger, kind, &values),
            Growing::Codes(codes, levels, _) => Column::numeric(ledger, Kind::Enum(Arc::new(levels)), &codes),
            Growing::Texts(texts) => Column::from_texts(ledger, &texts),
            Growing::Uuids(values) => {
                let mut column = ColumnBuilder::new(ledger, Kind::Uuid);
                for part in values.chunks(CHUNK_ROWS) {
                    let parts = part.iter().map(|v| v.as_ref());
                    column.push(Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(parts, 16).expect("16 bytes")))?;
                }
                Ok(column.finish())
            }
        }
    }
}

type Batches = Box<dyn Iterator<Item = std::result::Result<RecordBatch, arrow_schema::ArrowError>>>;

/// Does a file begin as Arrow IPC does, as a file or as a stream?
pub fn is_arrow(path: &Path) -> bool {
    let mut magic = [0; 6];
    let read = File::open(path).and_then(|mut f| std::io::Read::read_exact(&mut f, &mut magic));
    read.is_ok() && (&magic == b"ARROW1" || magic[..4] == [0xff; 4])
}

/// The batches of an Arrow IPC stream or file.
fn arrow_batches(path: &Path) -> Result<(arrow_schema::SchemaRef, Batches)> {
    let fail = |e: arrow_schema::ArrowError| unreadable_arrow(path, &e);
    let open = || File::open(path).map_err(|e| Error::io(path.display(), e));
    let mut file = open()?;
    let mut magic = [0; 6];
    let is_file = std::io::Read::read_exact(&mut file, &mut magic).is_ok() && &magic == b"ARROW1";
    let (schema, batches): (_, Batches) = if is_file {
        let reader = arrow_ipc::reader::FileReader::try_new_buffered(open()?, None).map_err(fail)?;
        (reader.schema(), Box::new(reader))
    } else {
        let reader = arrow_ipc::reader::StreamReader::try_new_buffered(open()?, None).map_err(fail)?;
        (reader.schema(), Box::new(reader))
    };
    if let Some(f) = schema.fields().iter().find(|f| nested(f.data_type())) {
        let (name, kind) = (f.name(), f.data_type());
        return Err(Error::Unsupported(format!("column '{name}' is of the type {kind}, which has no place in a frame; leave it out")));
    }
    Ok((schema, batches))
}

fn unreadable_arrow(path: &Path, e: &dyn std::fmt::Display) -> Error {
    Error::invalid(format!("{} is no Arrow IPC stream or file, or it is damaged or cut short: {e}", path.display()))
}

fn grown(schema: &Schema, columns: Vec<Growing>, ledger: &Arc<Ledger>) -> Result<Frame> {
    let names = ochre_core::unique_names(schema.fields().iter().map(|f| f.name().clone()).collect());
    Frame::new(names, columns.into_iter().map(|c| c.finish(ledger)).collect::<Result<Vec<_>>>()?)
}

/// The frame in an Arrow IPC stream or file. Dictionaries become categories, in their order; texts stay texts.
pub fn arrow_frame(path: &Path, ledger: &Arc<Ledger>) -> Result<Frame> {
    let (schema, batches) = arrow_batches(path)?;
    let bytes = std::fs::metadata(path).map_err(|e| Error::io(path.display(), e))?.len();
    // Codes and narrow numbers are widened on the way.
    let _room = ledger.reserve(&format!("the Arrow data of {}", path.display()), bytes.saturating_mul(3))?;
    let mut columns: Vec<Growing> = schema.fields().iter().map(|f| Growing::new(f)).collect();
    for batch in batches {
        let batch = batch.map_err(|e| unreadable_arrow(path, &e))?;
        columns.iter_mut().zip(batch.columns()).for_each(|(c, array)| c.push(array));
    }
    grown(&schema, columns, ledger)
}

/// Hands the batches of an Arrow IPC stream or file to `take`, each as a frame. There is always a first one.
pub fn arrow_pieces(path: &Path, ledger: &Arc<Ledger>, take: &mut dyn FnMut(Frame) -> Result<()>) -> Result<()> {
    let (schema, batches) = arrow_batches(path)?;
    let fresh = || schema.fields().iter().map(|f| Growing::new(f)).collect::<Vec<_>>();
    let mut any = false;
    for batch in batches {
        let batch = batch.map_err(|e| unreadable_arrow(path, &e))?;
        any = true;
        let _room = ledger.reserve(&format!("the Arrow data of {}", path.display()), batch.get_array_memory_size() as u64 * 3)?;
        let mut columns = fresh();
        columns.iter_mut().zip(batch.columns()).for_each(|(c, array)| c.push(array));
        take(grown(&schema, columns, ledger)?)?;
    }
    if any { Ok(()) } else { take(grown(&schema, fresh(), ledger)?) }
}
