//! Workbooks (XLS, XLSX, XLSB, ODS): the first sheet that has cells, told as CSV, so that everything that holds for text
//! holds for it.

use crate::source::Bytes;
use calamine::{Data, Reader};
use ochre_core::{Error, Ledger, Result, number_text};
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

/// Is the archive a workbook?
pub fn is_workbook(bytes: &[u8]) -> bool {
    zip::ZipArchive::new(Cursor::new(bytes)).is_ok_and(|a| a.file_names().any(|n| n.starts_with("xl/") || n == "content.xml"))
}

/// Is the file a workbook?
pub fn is_sheet(path: &Path) -> bool {
    use std::io::Read;
    let mut head = [0u8; 4];
    let Ok(mut file) = std::fs::File::open(path) else { return false };
    if file.read_exact(&mut head).is_err() {
        return false;
    }
    head == [0xd0, 0xcf, 0x11, 0xe0] || (&head == b"PK\x03\x04" && std::fs::read(path).is_ok_and(|b| is_workbook(&b)))
}

pub fn as_csv(path: &Path, bytes: &[u8], ledger: &Arc<Ledger>) -> Result<Bytes> {
    let fail = |e: &dyn std::fmt::Display| Error::invalid(format!("{} is a workbook that cannot be read: {e}", path.display()));
    // Cells are kept with their types while the sheet is read.
    let room = ledger.reserve(&format!("reading {}", path.display()), bytes.len() as u64 * 16)?;
    let mut book = calamine::open_workbook_auto_from_rs(Cursor::new(bytes)).map_err(|e| fail(&e))?;
    let names = book.sheet_names();
    let mut out = vec![];
    for name in names {
        let range = book.worksheet_range(&name).map_err(|e| fail(&e))?;
        if range.is_empty() {
            continue;
        }
        for row in range.rows() {
            for (i, cell) in row.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                field(cell, &mut out);
            }
            out.push(b'\n');
        }
        break;
    }
    let held = ledger.reserve(&format!("the text of {}", path.display()), out.len() as u64)?;
    drop(room);
    Ok(Bytes::Unpacked(out, vec![held]))
}

fn field(cell: &Data, out: &mut Vec<u8>) {
    match cell {
        Data::Empty | Data::Error(_) => {}
        Data::Int(v) => out.extend(v.to_string().bytes()),
        Data::Float(v) => out.extend(number_text(*v).bytes()),
        Data::Bool(b) => out.extend(if *b { b"True".iter() } else { b"False".iter() }),
        Data::DateTime(t) => {
            // Days since 1899-12-30.
            let (date, rest) = (t.as_f64().floor(), t.as_f64().fract());
            let ms = (date - 25_569.0) * 86_400_000.0 + (rest * 86_400_000.0).round();
            out.extend(ochre_core::time::stamp(ms as i64).bytes());
        }
        Data::DateTimeIso(t) | Data::DurationIso(t) | Data::String(t) => {
            out.push(b'"');
            out.extend(t.replace('"', "\"\"").bytes().map(|b| if b == b'\n' || b == b'\r' { b' ' } else { b }));
            out.push(b'"');
        }
    }
}
