//! Files of records that bring their own types, beside Parquet: ORC and Avro. Each is read as batches of Arrow, in one go.

use crate::setup::Format;
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use ochre_core::{Error, Result};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

pub type Batches = Box<dyn Iterator<Item = std::result::Result<RecordBatch, String>>>;

/// The format that a file's first bytes tell; `None` for what is not of this kind.
pub fn format_of(head: &[u8]) -> Option<Format> {
    match head {
        h if h.starts_with(b"ORC") => Some(Format::Orc),
        h if h.starts_with(b"Obj\x01") => Some(Format::Avro),
        _ => None,
    }
}

fn damaged(path: &Path, format: Format, e: &dyn std::fmt::Display) -> Error {
    Error::invalid(format!("{} begins like a file of {}, but is damaged or cut short: {e}", path.display(), format.name()))
}

/// Columns and batches of a file, of at most so many rows each.
pub fn open(path: &Path, format: Format, rows: usize) -> Result<(SchemaRef, Batches)> {
    let file = File::open(path).map_err(|e| Error::io(path.display(), e))?;
    // Readers of damaged files may panic; that must not end more than the request.
    let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| open_file(file, format, rows)));
    let (schema, batches) = opened.unwrap_or_else(|_| Err("its reader gave up".into())).map_err(|e| damaged(path, format, &e))?;
    Ok((schema, batches))
}

fn open_file(file: File, format: Format, rows: usize) -> std::result::Result<(SchemaRef, Batches), String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    match format {
        Format::Orc => {
            let builder = orc_rust::ArrowReaderBuilder::try_new(file).map_err(|e| text(&e))?.with_batch_size(rows);
            let reader = builder.build();
            Ok((arrow_array::RecordBatchReader::schema(&reader), Box::new(reader.map(|b| b.map_err(|e| e.to_string())))))
        }
        _ => {
            let reader =
                arrow_avro::reader::ReaderBuilder::new().with_batch_size(rows).build(BufReader::new(file)).map_err(|e| text(&e))?;
            Ok((reader.schema(), Box::new(reader.map(|b| b.map_err(|e| e.to_string())))))
        }
    }
}

/// Bytes that the values of a file may take once unpacked: what such files commonly grow by.
pub fn unpacked_bytes(path: &Path, format: Format) -> Result<u64> {
    let bytes = std::fs::metadata(path).map_err(|e| Error::io(path.display(), e))?.len();
    Ok(bytes.saturating_mul(if format == Format::Orc { 10 } else { 6 }))
}
