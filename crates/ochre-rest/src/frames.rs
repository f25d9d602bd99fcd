//! Frames: list, look into, summarise, download, remove.

use crate::percentiles::percentiles;
use crate::places::Place;
use crate::route::{Ask, Body, Reply, TempFile, delete, get, post};
use crate::wire::{Col, Frame as FrameSchema, FrameChunk, FrameChunks, FrameLoad, FrameSave, FrameSynopsis, Frames, FramesList, Remove};
use crate::{App, Failure, jobs};
use ochre_core::{CHUNK_ROWS, Column, Error, Frame, Kind, Node, PERCENTILES, Result as CoreResult, chunk_lengths, f64s, histogram};
use ochre_io::{RawFile, export};
use ochre_model::Model;
use ochre_schema::{AnyKey, Cell, FrameKey, Table, Value, Wire};
use rayon::prelude::*;
use std::sync::Arc;

pub const ROUTES: &[crate::Route] = &[
    get("/3/Frames", "frames", ("FramesV3", "FramesListV3"), list, "All frames."),
    get("/3/Frames/{frame_id}", "frame", ("FramesV3", "FramesV3"), fetch, "One frame, with a window of its rows."),
    get("/3/Frames/{frame_id}/light", "lightFrame", ("FramesV3", "FramesV3"), light, "One frame without its storage tables."),
    get("/3/Frames/{frame_id}/summary", "frameSummary", ("FramesV3", "FramesV3"), summary, "One frame with histograms and percentiles."),
    get("/3/Frames/{frame_id}/columns", "frameColumns", ("FramesV3", "FramesV3"), fetch, "The columns of a frame."),
    get("/3/Frames/{frame_id}/columns/{column}", "frameColumn", ("FramesV3", "FramesV3"), column, "One column."),
    get("/3/Frames/{frame_id}/columns/{column}/domain", "frameColumnDomain", ("FramesV3", "FramesV3"), domain, "Categories of a column."),
    get(
        "/3/Frames/{frame_id}/columns/{column}/summary",
        "frameColumnSummary",
        ("FramesV3", "FramesV3"),
        column_summary,
        "One column with histogram and percentiles.",
    ),
    get("/3/FrameChunks/{frame_id}", "frameChunks", ("FrameChunksV3", "FrameChunksV3"), chunks, "How a frame's rows are cut into chunks."),
    post("/3/Frames/{frame_id}/export", "exportFrame", ("FramesV3", "FramesV3"), export_frame, "Writes a frame to CSV or Parquet files."),
    post("/3/Frames/load", "loadFrame", ("FrameLoadV3", "FrameLoadV3"), load_frame, "Reads a frame that was saved, in a job."),
    post("/3/Frames/{frame_id}/save", "saveFrame", ("FrameSaveV3", "FrameSaveV3"), save_frame, "Saves a frame to a directory, in a job."),
    delete("/3/Frames/{frame_id}", "deleteFrame", ("FramesV3", "FramesV3"), remove, "Removes a frame."),
    delete("/3/Frames", "deleteAllFrames", ("FramesV3", "FramesV3"), remove_all_frames, "Removes all frames."),
    get("/3/DownloadDataset", "downloadDataset", ("DownloadDataV3", "DownloadDataV3"), download, "A frame as CSV."),
    get("/3/DownloadDataset.bin", "downloadDataset_fetch", ("DownloadDataV3", "DownloadDataV3"), download, "A frame as CSV."),
    delete("/3/DKV/{key}", "removeFromDKV", ("RemoveV3", "RemoveV3"), remove_key, "Removes a key of any kind."),
    delete("/3/DKV", "removeAllFromDKV", ("RemoveAllV3", "RemoveAllV3"), remove_all, "Removes all keys, but those to be retained."),
];

/// A frame asked for by its address; missing frames and keys of another kind are told as the reference tells them.
pub fn frame_at(app: &App, key: &str) -> Result<Arc<Frame>, Failure> {
    match app.node.store.frame(key) {
        Err(Error::KeyNotFound { .. }) => Err(Failure::Missing { key: key.into(), argument: "key" }),
        Err(Error::WrongType { found: "Frame", .. }) => Err(Error::invalid(format!("'{key}' is a file that was not parsed yet")).into()),
        other => Ok(other?),
    }
}

/// What of a frame is shown.
#[derive(Clone, Copy)]
struct Window {
    row_offset: usize,
    rows: usize,
    column_offset: usize,
    columns: usize,
    full_columns: usize,
    tables: bool,
    statistics: bool,
}

/// Rows shown when the client does not say, and columns with their values.
const ROWS_SHOWN: usize = 100;

fn window(a: &Frames, f: &Frame, tables: bool, statistics: bool) -> Window {
    let count = |asked: i32, default: usize| if asked <= 0 { default } else { asked as usize };
    let row_offset = (a.row_offset.max(0) as usize).min(f.rows());
    let column_offset = (a.column_offset.max(0) as usize).min(f.width());
    let columns = count(a.column_count, f.width()).min(f.width() - column_offset);
    Window {
        row_offset,
        rows: count(a.row_count, ROWS_SHOWN).min(f.rows() - row_offset),
        column_offset,
        columns,
        full_columns: count(a.full_column_count, columns).min(columns),
        tables,
        statistics,
    }
}

/// Values of some rows of a column.
fn slice(c: &Column, from: usize, n: usize) -> CoreResult<(Vec<f64>, Option<Vec<Option<String>>>)> {
    let texts = matches!(c.kind, Kind::Text | Kind::Uuid);
    let (mut numbers, mut words) = (vec![], vec![]);
    let mut at = from;
    while at < from + n {
        let (k, i) = (at / CHUNK_ROWS, at % CHUNK_ROWS);
        let take = (CHUNK_ROWS - i).min(from + n - at);
        let data = c.chunks()[k].data()?.slice(i, take.min(c.chunks()[k].len() - i));
        if texts {
            use arrow_array::{Array, cast::AsArray};
            if matches!(c.kind, Kind::Text) {
                words.extend(data.as_string::<i32>().iter().map(|t| t.map(str::to_string)));
            } else {
                let a = data.as_fixed_size_binary();
                words.extend((0..a.len()).map(|j| a.is_valid(j).then(|| ochre_core::uuid_text(a.value(j)))));
            }
        } else {
            numbers.extend_from_slice(&f64s(&data));
        }
        at += take;
    }
    Ok((numbers, texts.then_some(words)))
}

fn column_schema(node: &Node, f: &Frame, i: usize, w: Window) -> CoreResult<Col> {
    let c = f.column(i);
    let r = c.rollup()?;
    let (data, string_data) = if i - w.column_offset < w.full_columns { slice(c, w.row_offset, w.rows)? } else { (vec![], None) };
    // Five extremes; what a column with fewer distinct values lacks is padded as the reference pads.
    let pad = |v: &[f64]| {
        let mut out = v.to_vec();
        out.resize(5, f64::NAN);
        out
    };
    let mut col = Col {
        label: Some(f.names()[i].clone()),
        missing_count: r.missing as i64,
        zero_count: r.zeros as i64,
        positive_infinity_count: r.positive_infinities as i64,
        negative_infinity_count: r.negative_infinities as i64,
        mins: Some(pad(&r.mins)),
        maxs: Some(pad(&r.maxs)),
        mean: r.mean,
        sigma: r.sigma,
        r#type: Some(f.type_name(i)?.into()),
        domain: c.domain().map(|d| d.to_vec()),
        domain_cardinality: c.domain().map_or(0, |d| d.len() as i32),
        data: string_data.is_none().then_some(data),
        string_data,
        precision: -1,
        ..Col::default()
    };
    if w.statistics && (c.is_number() || c.is_enum()) && r.missing < r.rows {
        let (base, stride, bins) = histogram(c)?;
        col.histogram_base = base;
        col.histogram_stride = stride;
        col.histogram_bins = Some(bins);
        if c.is_number() {
            col.percentiles = Some(percentiles(node, c, &PERCENTILES)?);
        }
    }
    Ok(col)
}

fn size_text(bytes: f64) -> String {
    let units = [" B", "KB", "MB", "GB", "TB"];
    let mut v = bytes;
    let mut i = 0;
    while v >= 1024.0 && i < 4 {
        v /= 1024.0;
        i += 1;
    }
    if i == 0 { format!("{v:7.0} {}", units[0]) } else { format!("{v:7.1} {}", units[i]) }
}

/// How the chunks of a frame are stored, by physical type.
fn chunk_table(f: &Frame) -> CoreResult<Table> {
    let mut kinds: Vec<(String, usize, u64)> = vec![];
    for chunk in f.columns().iter().flat_map(|c| c.chunks()) {
        let name = chunk.data()?.data_type().to_string();
        match kinds.iter_mut().find(|k| k.0 == name) {
            Some(k) => {
                k.1 += 1;
                k.2 += chunk.bytes();
            }
            None => kinds.push((name, 1, chunk.bytes())),
        }
    }
    let (n, bytes) = (kinds.iter().map(|k| k.1).sum::<usize>().max(1) as f64, kinds.iter().map(|k| k.2).sum::<u64>().max(1) as f64);
    Ok(Table::new("Chunk compression summary", "")
        .column("Chunk Type", "string", "%8s", kinds.iter().map(|k| Cell::Text(k.0.clone())).collect())
        .column("Chunk Name", "string", "%s", kinds.iter().map(|k| Cell::Text(format!("Arrow {}", k.0))).collect())
        .column("Count", "int", "%10d", kinds.iter().map(|k| Cell::from(k.1)).collect())
        .column("Count Percentage", "float", "%10.3f %%", kinds.iter().map(|k| Cell::Double(100.0 * k.1 as f64 / n)).collect())
        .column("Size", "string", "%10s", kinds.iter().map(|k| Cell::Text(size_text(k.2 as f64))).collect())
        .column("Size Percentage", "float", "%10.3f %%", kinds.iter().map(|k| Cell::Double(100.0 * k.2 as f64 / bytes)).collect()))
}

/// How the frame lies on the nodes: one node holds all.
fn distribution_table(app: &App, f: &Frame) -> Table {
    let node = format!("{}:{}", app.config.ip, app.config.port);
    let labels = [node.as_str(), "mean", "min", "max", "stddev", "total"];
    let per_column = chunk_lengths(f.rows()).len() as f64;
    let row = |v: f64| labels.iter().map(|l| Cell::Double(if *l == "stddev" { 0.0 } else { v })).collect::<Vec<_>>();
    Table::new("Frame distribution summary", "")
        .row_labels(labels.iter().map(|l| Cell::from(*l)).collect())
        .column(
            "Size",
            "string",
            "%s",
            labels.iter().map(|l| Cell::Text(size_text(if *l == "stddev" { 0.0 } else { f.bytes() as f64 }))).collect(),
        )
        .column("Number of Rows", "float", "%f", row(f.rows() as f64))
        .column("Number of Chunks per Column", "float", "%f", row(per_column))
        .column("Number of Chunks", "float", "%f", row(per_column * f.width() as f64))
}

fn frame_schema(app: &App, key: &str, f: &Frame, w: Window) -> Result<Value, Failure> {
    let columns = app.node.runner.install(|| {
        (w.column_offset..w.column_offset + w.columns)
            .into_par_iter()
            .map(|i| column_schema(&app.node, f, i, w))
            .collect::<CoreResult<Vec<_>>>()
    })?;
    let s = FrameSchema {
        row_offset: w.row_offset as i64,
        row_count: w.rows as i32,
        column_offset: w.column_offset as i32,
        column_count: w.columns as i32,
        full_column_count: w.full_columns as i32,
        total_column_count: f.width() as i32,
        checksum: if w.tables { f.checksum()? } else { 0 },
        rows: f.rows() as i64,
        num_columns: f.width() as i64,
        default_percentiles: Some(PERCENTILES.to_vec()),
        columns: Value::Array(columns.iter().map(Wire::to_json).collect()),
        chunk_summary: if w.tables { Some(chunk_table(f)?) } else { None },
        distribution_summary: w.tables.then(|| distribution_table(app, f)),
        frame_id: Some(FrameKey(key.into())),
        byte_size: f.bytes() as i64,
        ..FrameSchema::default()
    };
    Ok(s.to_json())
}

fn show(app: &App, ask: &Ask, tables: bool, statistics: bool) -> Result<Reply, Failure> {
    let a: Frames = ask.decode()?;
    let key = ask.path_param("frame_id").to_string();
    // A file that was uploaded and is not parsed is shown as a frame without rows.
    let file = app.node.store.get::<ochre_io::source::RawFile>(&key).is_ok();
    let f = if file { Arc::new(Frame::new(vec![], vec![])?) } else { frame_at(app, &key)? };
    let w = window(&a, &f, tables, statistics);
    let frame = frame_schema(app, &key, &f, w)?;
    Reply::schema(&Frames { frames: Value::Array(vec![frame]), ..a })
}

pub fn fetch(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    show(app, ask, true, false)
}

fn light(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    show(app, ask, false, false)
}

fn summary(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    show(app, ask, true, true)
}

fn one_column(app: &App, ask: &Ask) -> Result<(Frames, Frame), Failure> {
    let a: Frames = ask.decode()?;
    let key = ask.path_param("frame_id");
    let f = frame_at(app, key)?;
    let name = ask.path_param("column");
    let i = f.find(name).ok_or_else(|| Error::ColumnNotFound { column: name.into(), frame: key.into() })?;
    Ok((a, f.select(&[i])))
}

fn column_reply(app: &App, ask: &Ask, statistics: bool) -> Result<Reply, Failure> {
    let (a, f) = one_column(app, ask)?;
    let w = window(&a, &f, true, statistics);
    let frame = frame_schema(app, ask.path_param("frame_id"), &f, w)?;
    Reply::schema(&Frames { frames: Value::Array(vec![frame]), ..a })
}

fn column(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    column_reply(app, ask, false)
}

fn column_summary(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    column_reply(app, ask, true)
}

fn domain(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let (a, f) = one_column(app, ask)?;
    Reply::schema(&Frames { domain: Some(vec![f.column(0).domain().map(|d| d.to_vec())]), ..a })
}

fn list(app: &App, _: &Ask) -> Result<Reply, Failure> {
    let mut out = vec![];
    for (key, f) in app.node.store.all::<Frame>() {
        out.push(
            FrameSynopsis {
                rows: f.rows() as i64,
                columns: f.width() as i64,
                frame_id: Some(FrameKey(key)),
                byte_size: f.bytes() as i64,
                is_text: false,
            }
            .to_json(),
        );
    }
    for (key, r) in app.node.store.all::<RawFile>() {
        out.push(
            FrameSynopsis { rows: r.bytes as i64, columns: 1, frame_id: Some(FrameKey(key)), byte_size: r.bytes as i64, is_text: true }
                .to_json(),
        );
    }
    Reply::schema(&FramesList { frames: Value::Array(out), ..FramesList::default() })
}

fn chunks(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let key = ask.path_param("frame_id");
    let f = frame_at(app, key)?;
    let chunks = chunk_lengths(f.rows())
        .into_iter()
        .enumerate()
        .map(|(i, n)| FrameChunk { chunk_id: i as i32, row_count: n as i32, node_idx: 0 }.to_json())
        .collect();
    Reply::schema(&FrameChunks { frame_id: Some(FrameKey(key.into())), chunks: Value::Array(chunks) })
}

fn remove(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let key = ask.path_param("frame_id");
    if app.node.store.type_of(key) != Some("Frame") {
        frame_at(app, key)?;
    }
    app.node.store.remove(key)?;
    Reply::schema(&Frames::default())
}

fn remove_all_frames(app: &App, _: &Ask) -> Result<Reply, Failure> {
    for key in app.node.store.keys() {
        if app.node.store.type_of(&key) == Some("Frame") {
            app.node.store.remove(&key)?;
        }
    }
    Reply::schema(&Frames::default())
}

/// A file for what is to be streamed to a client.
pub fn scratch_file(app: &App, ending: &str) -> Result<std::path::PathBuf, Failure> {
    Ok(app.node.ledger.scratch.file(ending)?)
}

/// Writes a frame to a file of its own, to be streamed.
fn csv_file(app: &App, f: &Frame, separator: u8, header: bool, quote_header: bool) -> Result<std::path::PathBuf, Failure> {
    let path = scratch_file(app, "csv")?;
    let fail = |e: std::io::Error| Failure::from(Error::io(path.display(), e));
    let mut out = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(&path).map_err(fail)?);
    export::csv(f, separator, header, quote_header, &mut out)?;
    std::io::Write::flush(&mut out).map_err(fail)?;
    Ok(path)
}

fn download(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let key = ask.param("frame_id").unwrap_or("").to_string();
    let f = frame_at(app, &key)?;
    let path = csv_file(app, &f, b',', true, true)?;
    let name: String = key.chars().map(|c| if c.is_alphanumeric() || c == '.' || c == '_' || c == '-' { c } else { '_' }).collect();
    Ok(Reply {
        status: 200,
        content_type: "application/octet-stream",
        headers: vec![("Content-Disposition", format!("attachment; filename={name}.csv"))],
        body: Body::File(TempFile(path)),
    })
}

fn export_frame(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: Frames = ask.decode()?;
    let key = ask.path_param("frame_id").to_string();
    let f = frame_at(app, &key)?;
    let path = a.path.clone().filter(|p| !p.is_empty()).ok_or_else(|| Error::invalid("path is required: the file to write"))?;
    let parquet = match a.format.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None | Some("" | "csv") => false,
        Some("parquet") => true,
        Some(format) => return Err(Error::Unsupported(format!("this version of ochre exports csv and parquet, not {format}")).into()),
    };
    let gzip = match a.compression.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None | Some("" | "none") => false,
        Some("snappy") if parquet => false,
        Some("gzip") => true,
        Some(other) => {
            return Err(Error::Unsupported(format!("compression {other} is not supported by this version of ochre; use gzip")).into());
        }
    };
    let place = Place::of(app, &path)?;
    let how = export::Export {
        path: place.path().to_path_buf(),
        separator: if a.separator == 0 { b',' } else { a.separator as u8 },
        header: a.header,
        quote_header: a.quote_header,
        gzip,
        parquet,
        parts: match a.num_parts {
            -1 => 0,
            n => n.max(1) as usize,
        },
    };
    let full = |there: &std::path::Path| there.is_dir() && there.read_dir().is_ok_and(|mut d| d.next().is_some());
    let taken = |there: &std::path::Path| if how.parts == 1 { there.exists() } else { full(there) || there.is_file() };
    if !a.force && place.is_taken(taken)? {
        return Err(Failure::precondition(format!("File {path} already exists; give force=True to overwrite it")));
    }
    let node = app.node.clone();
    let job = app.node.jobs.start("Export dataset", AnyKey::Frame(FrameKey(key)), move |_| {
        node.runner.install(|| export::to_files(&f, &how))?;
        place.finish()
    })?;
    Reply::schema(&Frames { job: jobs::started(&job), ..a })
}

/// The file of a frame in a directory.
pub fn frame_file(dir: &std::path::Path, key: &str) -> std::path::PathBuf {
    let name: String = key.chars().map(|c| if c.is_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect();
    dir.join(format!("{name}.arrow"))
}

/// Where a frame with this key is saved: an Arrow IPC stream.
fn saved_at(dir: &Option<String>, key: &str) -> Result<String, Failure> {
    let dir = dir.as_deref().filter(|d| !d.is_empty()).ok_or_else(|| Error::invalid("dir is required: the directory of saved frames"))?;
    Ok(frame_file(std::path::Path::new(dir), key).display().to_string())
}

fn save_frame(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: FrameSave = ask.decode()?;
    let key = ask.path_param("frame_id").to_string();
    let f = frame_at(app, &key)?;
    let path = saved_at(&a.dir, &key)?;
    let place = Place::of(app, &path)?;
    if !a.force && place.is_taken(std::path::Path::exists)? {
        return Err(Failure::precondition(format!("File {path} already exists; give force=True to overwrite it")));
    }
    let node = app.node.clone();
    let job = app.node.jobs.start("Save frame", AnyKey::Frame(FrameKey(key.clone())), move |_| {
        if let Some(dir) = place.path().parent() {
            std::fs::create_dir_all(dir).map_err(|e| Error::io(dir.display(), e))?;
        }
        node.runner.install(|| export::arrow(&f, place.path()))?;
        place.finish()
    })?;
    Reply::schema(&FrameSave { frame_id: Some(FrameKey(key)), job: jobs::started(&job), ..a })
}

fn load_frame(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: FrameLoad = ask.decode()?;
    let key =
        a.frame_id.clone().filter(|k| !k.0.is_empty()).ok_or_else(|| Error::invalid("frame_id is required: the key of the saved frame"))?;
    let path = saved_at(&a.dir, &key.0)?;
    let place = Place::fetched(app, &path)?;
    if !place.path().exists() {
        return Err(Failure::not_found(format!("File {path} does not exist: no frame '{}' was saved there", key.0)));
    }
    if app.node.store.contains(&key.0) && !a.force {
        return Err(Failure::precondition(format!("There is a frame '{}' already; give force=True to replace it", key.0)));
    }
    let (node, name) = (app.node.clone(), key.0.clone());
    let job = app.node.jobs.start("Load frame", AnyKey::Frame(key.clone()), move |_| {
        let frame = node.runner.install(|| ochre_io::columnar::arrow_frame(place.path(), &node.ledger))?;
        node.store.put(&name, frame).map(|_| ())
    })?;
    Reply::schema(&FrameLoad { job: jobs::started(&job), ..a })
}

fn remove_key(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let key = ask.path_param("key");
    // Models and predictions of folds, baseline hazards and the like go with their model.
    ochre_model::remove_whole(&app.node.store, key)?;
    Reply::schema(&Remove { key: Some(AnyKey::Other(key.into())), cascade: false })
}

fn remove_all(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let retained: Vec<String> = match ask.param("retained_keys") {
        None => vec![],
        Some(t) => Vec::<AnyKey>::from_text(t).map_err(Error::invalid)?.iter().map(|k| k.text().to_string()).collect(),
    };
    // A model that stays keeps the frame it was trained on.
    let mut keep = retained.clone();
    for (key, m) in app.node.store.all::<Model>() {
        if retained.contains(&key) {
            keep.extend(m.training_frame.clone());
        }
    }
    for job in app.node.jobs.all().iter().filter(|_| retained.is_empty()) {
        job.cancel();
    }
    app.node.store.clear(&keep);
    app.sessions.clear();
    Reply::json(
        &serde_json::json!({"__meta": {"schema_version": 3, "schema_name": "RemoveAllV3", "schema_type": "Iced"}, "retained_keys": retained}),
    )
}
