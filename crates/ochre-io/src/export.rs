//! Writing a frame as CSV, Parquet or an Arrow stream.

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use ochre_core::{CHUNK_ROWS, Error, Frame, Kind, Result, f64s, uuid_text};
use rayon::prelude::*;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where and how a frame is written.
pub struct Export {
    pub path: PathBuf,
    pub separator: u8,
    pub header: bool,
    pub quote_header: bool,
    pub gzip: bool,
    /// Write Parquet, not CSV.
    pub parquet: bool,
    /// Number of files in a directory; 1 for one file, 0 for as many as there are nodes' worth of data.
    pub parts: usize,
}

/// Rows of a part when the number of parts is left open.
const PART_CHUNKS: usize = 64;

/// Writes a frame to one file, or to several in a directory, each with a header.
pub fn to_files(frame: &Frame, how: &Export) -> Result<()> {
    let chunks = frame.rows().div_ceil(CHUNK_ROWS);
    // Parquet goes into a directory unless the path is that of a file, as the reference has it.
    let directory = how.parquet && how.path.extension().is_none_or(|e| e != "parquet");
    if how.parts == 1 && !directory {
        return to_file(frame, how, &how.path, 0..chunks);
    }
    let parts = if how.parts == 0 { chunks.div_ceil(PART_CHUNKS) } else { how.parts.min(chunks) }.max(1);
    std::fs::create_dir_all(&how.path).map_err(|e| Error::io(how.path.display(), e))?;
    let ending = match (how.parquet, how.gzip) {
        (true, _) => ".parquet",
        (_, true) => ".gz",
        _ => "",
    };
    (0..parts).into_par_iter().try_for_each(|p| {
        let path = how.path.join(format!("part-m-{p:05}{ending}"));
        to_file(frame, how, &path, p * chunks / parts..(p + 1) * chunks / parts)
    })
}

fn to_file(frame: &Frame, how: &Export, path: &Path, chunks: Range<usize>) -> Result<()> {
    let fail = |e: std::io::Error| Error::io(path.display(), e);
    let file = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(path).map_err(fail)?);
    if how.parquet {
        return parquet(frame, how.gzip, chunks, file).map_err(|e| Error::io(path.display(), e));
    }
    if how.gzip {
        let mut out = flate2::write::GzEncoder::new(file, flate2::Compression::default());
        rows(frame, how.separator, how.header, how.quote_header, chunks, &mut out)?;
        return out.finish().and_then(|mut f| f.flush()).map_err(fail);
    }
    let mut out = file;
    rows(frame, how.separator, how.header, how.quote_header, chunks, &mut out)?;
    out.flush().map_err(fail)
}

/// Rows of a row group.
const GROUP_ROWS: usize = 16 * CHUNK_ROWS;

/// Whole numbers as integers, times as timestamps, categories as dictionaries of texts. The kind of column that each
/// was stands in its metadata.
///
/// Unless `narrow`, numbers are told as floating-point ones even where all are whole.
fn schema_of(frame: &Frame, narrow: bool) -> Result<SchemaRef> {
    let mut fields = vec![];
    for (name, column) in frame.names().iter().zip(frame.columns()) {
        let rollup = column.rollup()?;
        let (kind, was) = match &column.kind {
            Kind::Real if narrow && rollup.whole && rollup.min.abs().max(rollup.max.abs()) < 9e15 => (DataType::Int64, "number"),
            Kind::Real | Kind::Missing => (DataType::Float64, "number"),
            Kind::Time => (DataType::Timestamp(TimeUnit::Millisecond, None), "time"),
            Kind::Enum(_) => (DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)), "category"),
            Kind::Text => (DataType::Utf8, "text"),
            Kind::Uuid => (DataType::Utf8, "uuid"),
        };
        fields.push(Field::new(name, kind, true).with_metadata([("ochre.kind".to_string(), was.to_string())].into()));
    }
    Ok(Arc::new(Schema::new(fields)))
}

fn batch(frame: &Frame, schema: &SchemaRef, k: usize) -> std::result::Result<RecordBatch, Box<dyn std::error::Error>> {
    let arrays = frame
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(c, field)| Ok(exported(&c.kind, &c.chunks()[k].data()?, field.data_type())))
        .collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(schema.clone(), arrays)?)
}

fn parquet(
    frame: &Frame,
    gzip: bool,
    chunks: Range<usize>,
    file: impl Write + Send,
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    use parquet::basic::{Compression, GzipLevel};
    let schema = schema_of(frame, true)?;
    let compression = if gzip { Compression::GZIP(GzipLevel::default()) } else { Compression::SNAPPY };
    let properties =
        parquet::file::properties::WriterProperties::builder().set_max_row_group_row_count(Some(GROUP_ROWS)).set_compression(compression);
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, schema.clone(), Some(properties.build()))?;
    for k in chunks {
        writer.write(&batch(frame, &schema, k)?)?;
    }
    writer.close()?;
    Ok(())
}

/// Writes a frame as an Arrow IPC stream, a batch for each chunk.
pub fn arrow(frame: &Frame, path: &Path) -> Result<()> {
    let write = || -> std::result::Result<(), Box<dyn std::error::Error>> {
        let schema = schema_of(frame, true)?;
        let file = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(path)?);
        let mut writer = arrow_ipc::writer::StreamWriter::try_new(file, &schema)?;
        for k in 0..frame.rows().div_ceil(CHUNK_ROWS) {
            writer.write(&batch(frame, &schema, k)?)?;
        }
        writer.into_inner()?.flush()?;
        Ok(())
    };
    write().map_err(|e| Error::io(path.display(), e))
}

fn exported(kind: &Kind, data: &ochre_core::Data, to: &DataType) -> ArrayRef {
    use arrow_array::cast::AsArray;
    use arrow_array::{DictionaryArray, Float64Array, Int32Array, Int64Array, StringArray, TimestampMillisecondArray};
    let present = |v: &f64| (!v.is_nan()).then_some(*v);
    match kind {
        Kind::Text => data.clone(),
        Kind::Uuid => Arc::new(data.as_fixed_size_binary().iter().map(|v| v.map(uuid_text)).collect::<StringArray>()),
        Kind::Enum(domain) => {
            let keys: Int32Array = f64s(data).iter().map(|v| present(v).map(|v| v as i32)).collect();
            Arc::new(DictionaryArray::new(keys, Arc::new(StringArray::from_iter_values(domain.iter()))))
        }
        Kind::Time => Arc::new(f64s(data).iter().map(|v| present(v).map(|v| v as i64)).collect::<TimestampMillisecondArray>()),
        _ if *to == DataType::Int64 => Arc::new(f64s(data).iter().map(|v| present(v).map(|v| v as i64)).collect::<Int64Array>()),
        _ => Arc::new(f64s(data).iter().map(present).collect::<Float64Array>()),
    }
}

/// Writes a frame as CSV, chunk by chunk: texts and labels quoted, times as milliseconds, missing as nothing.
pub fn csv(frame: &Frame, separator: u8, header: bool, quote_header: bool, out: &mut dyn Write) -> Result<()> {
    rows(frame, separator, header, quote_header, 0..frame.rows().div_ceil(CHUNK_ROWS), out)
}

/// Frames of the same columns, one after the other, written as one file.
pub enum Series {
    /// The first frame is still to come.
    Fresh(SeriesFormat, Box<dyn Write + Send>),
    Csv(Box<dyn Write + Send>),
    Parquet(Box<parquet::arrow::ArrowWriter<Box<dyn Write + Send>>>, SchemaRef),
    Arrow(Box<arrow_ipc::writer::StreamWriter<Box<dyn Write + Send>>>, SchemaRef),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesFormat {
    Csv,
    Parquet,
    /// An Arrow IPC stream.
    Arrow,
}

impl SeriesFormat {
    /// The format that a file's name asks for.
    pub fn of(path: &Path) -> SeriesFormat {
        match path.extension().and_then(|e| e.to_str()) {
            Some("parquet") => SeriesFormat::Parquet,
            Some("arrow" | "arrows" | "ipc") => SeriesFormat::Arrow,
            _ => SeriesFormat::Csv,
        }
    }
}

impl Series {
    pub fn new(format: SeriesFormat, out: Box<dyn Write + Send>) -> Series {
        Series::Fresh(format, out)
    }

    /// Writes the rows of a frame after those before.
    pub fn write(self, frame: &Frame) -> Result<Series> {
        let fail = |e: &dyn std::fmt::Display| Error::io("the output", e);
        let mut series = match self {
            Series::Fresh(SeriesFormat::Csv, mut out) => {
                csv(frame, b',', true, false, &mut out)?;
                return Ok(Series::Csv(out));
            }
            Series::Fresh(SeriesFormat::Parquet, out) => {
                let schema = schema_of(frame, false)?;
                let properties = parquet::file::properties::WriterProperties::builder()
                    .set_max_row_group_row_count(Some(GROUP_ROWS))
                    .set_compression(parquet::basic::Compression::SNAPPY);
                let writer = parquet::arrow::ArrowWriter::try_new(out, schema.clone(), Some(properties.build())).map_err(|e| fail(&e))?;
                Series::Parquet(Box::new(writer), schema)
            }
            Series::Fresh(SeriesFormat::Arrow, out) => {
                let schema = schema_of(frame, false)?;
                let writer = arrow_ipc::writer::StreamWriter::try_new(out, &schema).map_err(|e| fail(&e))?;
                Series::Arrow(Box::new(writer), schema)
            }
            begun => begun,
        };
        for k in 0..frame.rows().div_ceil(CHUNK_ROWS) {
            match &mut series {
                Series::Csv(out) => rows(frame, b',', false, false, k..k + 1, out)?,
                Series::Parquet(writer, schema) => {
                    writer.write(&batch(frame, schema, k).map_err(|e| fail(&e))?).map_err(|e| fail(&e))?;
                }
                Series::Arrow(writer, schema) => {
                    writer.write(&batch(frame, schema, k).map_err(|e| fail(&e))?).map_err(|e| fail(&e))?;
                }
                Series::Fresh(..) => unreachable!("begun above"),
            }
        }
        Ok(series)
    }

    /// Ends the file.
    pub fn finish(self) -> Result<()> {
        let fail = |e: &dyn std::fmt::Display| Error::io("the output", e);
        match self {
            Series::Fresh(_, mut out) | Series::Csv(mut out) => out.flush().map_err(|e| fail(&e)),
            Series::Parquet(writer, _) => writer.into_inner().map_err(|e| fail(&e))?.flush().map_err(|e| fail(&e)),
            Series::Arrow(writer, _) => writer.into_inner().map_err(|e| fail(&e))?.flush().map_err(|e| fail(&e)),
        }
    }
}

fn rows(frame: &Frame, separator: u8, header: bool, quote_header: bool, chunks: Range<usize>, out: &mut dyn Write) -> Result<()> {
    let fail = |e: std::io::Error| ochre_core::Error::io("the output", e);
    let sep = [separator];
    if header {
        for (i, n) in frame.names().iter().enumerate() {
            if i > 0 {
                out.write_all(&sep).map_err(fail)?;
            }
            if quote_header { quoted(out, n).map_err(fail)? } else { out.write_all(n.as_bytes()).map_err(fail)? }
        }
        out.write_all(b"\n").map_err(fail)?;
    }
    let mut buffer = Vec::new();
    for k in chunks {
        let data = frame.columns().iter().map(|c| c.chunks()[k].data()).collect::<Result<Vec<_>>>()?;
        let mut texts: Vec<Cells<'_>> = vec![];
        for (c, d) in frame.columns().iter().zip(&data) {
            texts.push(Cells::new(&c.kind, d, matches!(c.kind, Kind::Real) && !c.rollup()?.whole));
        }
        let rows = data.first().map_or(0, |d| d.len());
        for r in 0..rows {
            for (i, cell) in texts.iter().enumerate() {
                if i > 0 {
                    buffer.push(separator);
                }
                cell.write(r, &mut buffer);
            }
            buffer.push(b'\n');
        }
        out.write_all(&buffer).map_err(fail)?;
        buffer.clear();
    }
    Ok(())
}

fn quoted(out: &mut dyn Write, text: &str) -> std::io::Result<()> {
    out.write_all(b"\"")?;
    out.write_all(text.replace('"', "\"\"").as_bytes())?;
    out.write_all(b"\"")
}

enum Cells<'a> {
    /// Values, and whether whole ones are written with a point because the column holds fractions.
    Numbers(std::borrow::Cow<'a, [f64]>, bool),
    Labels(std::borrow::Cow<'a, [f64]>, &'a [String]),
    Texts(&'a arrow_array::StringArray),
    Uuids(&'a arrow_array::FixedSizeBinaryArray),
}

impl<'a> Cells<'a> {
    fn new(kind: &'a Kind, data: &'a ochre_core::Data, fractions: bool) -> Self {
        use arrow_array::cast::AsArray;
        match kind {
            Kind::Enum(d) => Cells::Labels(f64s(data), d),
            Kind::Text => Cells::Texts(data.as_string()),
            Kind::Uuid => Cells::Uuids(data.as_fixed_size_binary()),
            _ => Cells::Numbers(f64s(data), fractions),
        }
    }

    fn write(&self, r: usize, out: &mut Vec<u8>) {
        use arrow_array::Array;
        match self {
            Cells::Numbers(v, fractions) => {
                if !v[r].is_nan() {
                    let _ = if v[r].is_infinite() {
                        write!(out, "{}", if v[r] > 0.0 { "Infinity" } else { "-Infinity" })
                    } else if v[r] == v[r].trunc() && v[r].abs() < 1e15 {
                        write!(out, "{}{}", v[r] as i64, if *fractions { ".0" } else { "" })
                    } else if v[r].abs() >= 1e15 || v[r].abs() < 1e-5 {
                        write!(out, "{:e}", v[r])
                    } else {
                        write!(out, "{}", v[r])
                    };
                }
            }
            Cells::Labels(v, d) => {
                if !v[r].is_nan()
                    && let Some(t) = d.get(v[r] as usize)
                {
                    let _ = quoted(out, t);
                }
            }
            Cells::Texts(a) => {
                if a.is_valid(r) {
                    let _ = quoted(out, a.value(r));
                }
            }
            Cells::Uuids(a) => {
                if a.is_valid(r) {
                    out.extend_from_slice(uuid_text(a.value(r)).as_bytes());
                }
            }
        }
    }
}
