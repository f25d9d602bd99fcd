//! Bringing data in: import, upload, parse setup, parse, file name completion.

use crate::frames::{fetch, frame_at, scratch_file};
use crate::jobs;
use crate::route::{Ask, Body, Reply, TempFile, delete, get, post};
use crate::wire::{
    CreateFrame, ImportFiles, ImportFilesMulti, ImportSqlTable, InteractionRequest, MissingInserter, Parse, ParseSetup as SetupSchema,
    ParseSvmLight, S3Credentials, Typeahead,
};
use crate::{App, Failure};
use ochre_core::{Error, Frame};
use ochre_io::setup::{self, Wishes};
use ochre_io::sql::{Query, What};
use ochre_io::{ColumnType, Format, ParseSetup, RawFile, columnar, export, objects, remote, source};
use ochre_schema::{AnyKey, FrameKey, Value};
use std::path::Path;
use std::sync::Arc;

pub const ROUTES: &[crate::Route] = &[
    get("/3/ImportFiles", "importFiles_deprecated", ("ImportFilesV3", "ImportFilesV3"), import, "Makes files known by path."),
    post("/3/ImportFiles", "importFiles", ("ImportFilesV3", "ImportFilesV3"), import, "Makes files known by path."),
    post(
        "/3/ImportFilesMulti",
        "importFilesMulti",
        ("ImportFilesMultiV3", "ImportFilesMultiV3"),
        import_multi,
        "Makes files known by several paths.",
    ),
    post("/3/PostFile", "postFile", ("PostFileV3", "PostFileV3"), post_file, "Uploads a file."),
    post("/3/ParseSetup", "guessSetup", ("ParseSetupV3", "ParseSetupV3"), guess, "Proposes how to parse files."),
    post("/3/Parse", "parse", ("ParseV3", "ParseV3"), parse, "Parses files into a frame."),
    post(
        "/3/ParseSVMLight",
        "parseSvmLight",
        ("ParseSVMLightV3", "JobV3"),
        parse_svmlight,
        "Parses files of sparse rows into a frame, in a job.",
    ),
    post("/3/CreateFrame", "createFrame", ("CreateFrameV3", "JobV3"), create_frame, "Makes a frame of random data."),
    post("/3/Interaction", "generateInteractions", ("InteractionV3", "JobV3"), interaction, "Combines categorical columns, in a job."),
    post(
        "/3/MissingInserter",
        "_missingInserter_run",
        ("MissingInserterV3", "JobV3"),
        insert_missing,
        "Takes values of a frame away, in a job.",
    ),
    post(
        "/99/ImportSQLTable",
        "importSqlTable",
        ("ImportSQLTableV99", "JobV3"),
        import_sql,
        "Reads a table or a query of a database into a frame, in a job.",
    ),
    post("/3/PersistS3", "set_s3_credentials", ("PersistS3CredentialsV3", "PersistS3CredentialsV3"), set_s3, "Sets keys for S3."),
    delete(
        "/3/PersistS3",
        "remove_s3_credentials",
        ("PersistS3CredentialsV3", "PersistS3CredentialsV3"),
        forget_s3,
        "Goes back to the server's own keys for S3.",
    ),
    get("/3/Typeahead/files", "typeaheadFileSuggestions", ("TypeaheadV3", "TypeaheadV3"), typeahead, "Completes a file name."),
];

/// Uploads of what is not data, such as models: the reference serves these beside its routes.
pub const UPLOADS: &[crate::Route] = &[
    post("/3/PostFile.bin", "postFileBinary", ("PostFileV3", "PostFileV3"), post_file, "Uploads a file that is not data."),
    post("/3/PutKey", "putKey", ("PutKeyV3", "PutKeyV3"), put_key, "Puts the bytes of a file under a key."),
    post("/3/PutKey.bin", "putKeyBinary", ("PutKeyV3", "PutKeyV3"), put_key, "Puts the bytes of a file under a key."),
];

/// Frames as Arrow, which is ochre's own: there and back without a detour over text.
pub const ARROW: &[crate::Route] = &[
    get("/3/Frames/{frame_id}.arrow", "frameAsArrow", ("FramesV3", "FramesV3"), as_arrow, "A frame as an Arrow IPC stream."),
    post(
        "/3/PostFrame.arrow",
        "postFrameAsArrow",
        ("PostFileV3", "PostFileV3"),
        post_arrow,
        "Makes a frame of an Arrow IPC stream or file.",
    ),
];

/// Largest upload that is kept as a value; data are uploaded as files.
const BLOB_MAX: u64 = 64 << 20;

/// Makes the files of some paths known; answers files, keys and what could not be found.
fn import_paths(app: &App, paths: &[String], pattern: Option<&str>) -> Result<(Vec<String>, Vec<String>, Vec<String>), Failure> {
    let (mut files, mut keys, mut fails) = (vec![], vec![], vec![]);
    for path in paths {
        if remote::is_remote(path) {
            match remote::fetch(path, &scratch_file(app, "remote")?) {
                Ok(file) => {
                    app.node.store.put(path, file)?;
                    files.push(path.clone());
                    keys.push(path.clone());
                }
                Err(Error::FileNotFound { path }) => fails.push(path),
                Err(e) => return Err(e.into()),
            }
            continue;
        }
        if objects::is_object(path) {
            match app.objects.list(path, pattern) {
                Ok(found) => {
                    for url in found {
                        app.node.store.put(&url, app.objects.fetch(&url, &scratch_file(app, "object")?)?)?;
                        files.push(url.clone());
                        keys.push(url);
                    }
                }
                Err(Error::FileNotFound { path }) => fails.push(path),
                Err(e) => return Err(e.into()),
            }
            continue;
        }
        match source::list(path, pattern) {
            Ok(found) => {
                for file in found {
                    let key = source::key_of(&file);
                    app.node.store.put(&key, RawFile::open(&file)?)?;
                    files.push(file.display().to_string());
                    keys.push(key);
                }
            }
            Err(Error::FileNotFound { path }) => fails.push(path),
            Err(e) => return Err(e.into()),
        }
    }
    if files.is_empty() {
        return Err(Failure::not_found(format!("File {} does not exist", fails.join(", "))));
    }
    Ok((files, keys, fails))
}

fn import(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: ImportFiles = ask.decode()?;
    let path = a.path.clone().ok_or_else(|| Error::invalid("path is required: the file or directory to import"))?;
    let (files, keys, fails) = import_paths(app, &[path], a.pattern.as_deref())?;
    Reply::schema(&ImportFiles { files: Some(files), destination_frames: Some(keys), fails: Some(fails), dels: Some(vec![]), ..a })
}

fn import_multi(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: ImportFilesMulti = ask.decode()?;
    let paths = a.paths.clone().unwrap_or_default();
    if paths.is_empty() {
        return Err(Error::invalid("paths is required: the files or directories to import").into());
    }
    let (files, keys, fails) = import_paths(app, &paths, a.pattern.as_deref())?;
    Reply::schema(&ImportFilesMulti { files: Some(files), destination_frames: Some(keys), fails: Some(fails), dels: Some(vec![]), ..a })
}

fn post_file(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let path = ask.upload.clone().ok_or_else(|| Error::invalid("the request has no file"))?;
    let named = ask.param("destination_frame").filter(|n| !n.is_empty()).map(str::to_string);
    let name = named.unwrap_or_else(|| format!("upload_{:032x}", ochre_core::Rng::fresh_seed()));
    let raw = RawFile::made(&path, Ok(()))?;
    let bytes = raw.bytes;
    app.node.store.put(&name, raw)?;
    Reply::json(&serde_json::json!({"destination_frame": name, "total_bytes": bytes}))
}

fn as_arrow(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let key = ask.path_param("frame_id");
    // A frame may be named so itself.
    let named = format!("{key}.arrow");
    if app.node.store.type_of(&named) == Some("Frame") {
        return fetch(app, &ask.at("frame_id", &named));
    }
    let frame = frame_at(app, key)?;
    let path = scratch_file(app, "arrow")?;
    export::arrow(&frame, &path)?;
    Ok(Reply { status: 200, content_type: "application/vnd.apache.arrow.stream", headers: vec![], body: Body::File(TempFile(path)) })
}

fn post_arrow(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let path = ask.upload.clone().ok_or_else(|| Error::invalid("the request has no Arrow data"))?;
    let named = ask.param("destination_frame").filter(|n| !n.is_empty()).map(str::to_string);
    let key = named.unwrap_or_else(|| format!("arrow_{:032x}", ochre_core::Rng::fresh_seed()));
    let read = app.node.runner.install(|| columnar::arrow_frame(&path, &app.node.ledger));
    let _ = std::fs::remove_file(&path);
    let frame = read?;
    let rows = frame.rows();
    app.node.store.put(&key, frame)?;
    Reply::json(&serde_json::json!({"destination_frame": key, "rows": rows}))
}

/// Puts what was uploaded under a key as it is, for parts of the server that read bytes, such as custom functions.
fn put_key(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let path = ask.upload.clone().ok_or_else(|| Error::invalid("the request has no file"))?;
    let raw = RawFile::made(&path, Ok(()))?;
    let named = ask.param("destination_key").filter(|n| !n.is_empty()).map(str::to_string);
    let key = named.unwrap_or_else(|| format!("func__{:032x}", ochre_core::Rng::fresh_seed()));
    if raw.bytes > BLOB_MAX {
        return Err(Error::invalid(format!("{} bytes are too many for the key '{key}'; the most is {BLOB_MAX}", raw.bytes)).into());
    }
    let overwrite = ask.param("overwrite").is_none_or(|o| !o.eq_ignore_ascii_case("false"));
    if !overwrite && app.node.store.contains(&key) {
        return Reply::json(&serde_json::json!({"destination_key": key, "total_bytes": -1}));
    }
    let bytes = std::fs::read(&raw.path).map_err(|e| Error::invalid(format!("the upload cannot be read: {e}")))?;
    app.node.store.put(&key, ochre_core::Blob(bytes))?;
    Reply::json(&serde_json::json!({"destination_key": key, "total_bytes": raw.bytes}))
}

fn raw_files(app: &App, keys: &Option<Vec<FrameKey>>) -> Result<Vec<Arc<RawFile>>, Failure> {
    let keys = keys.as_deref().unwrap_or_default();
    if keys.is_empty() {
        return Err(Error::invalid("source_frames is required: the keys of imported or uploaded files").into());
    }
    keys.iter()
        .map(|k| app.node.store.get::<RawFile>(&k.0).map_err(|_| Error::invalid(format!("Key not loaded: Key<Frame> {k}")).into()))
        .collect()
}

/// The frame key proposed for a file: its name with `.hex`, numbered until it is free.
fn proposed_name(app: &App, key: &str) -> String {
    let file = key.rsplit('/').next().unwrap_or(key);
    let stem = file.trim_end_matches(".gz").trim_end_matches(".zip");
    let stem = stem.strip_suffix(".csv").or_else(|| stem.strip_suffix(".txt")).unwrap_or(stem.split('.').next().unwrap_or(stem));
    let mut plain: String = stem.chars().map(|c| if c.is_alphanumeric() || c == '_' { c } else { '_' }).collect();
    if plain.starts_with(|c: char| c.is_ascii_digit()) {
        plain.insert(0, 'X');
    }
    if plain.starts_with("upload_") {
        plain.insert_str(0, "Key_Frame__");
    }
    let mut name = format!("{plain}.hex");
    let mut i = 1;
    while app.node.store.contains(&name) {
        name = format!("{plain}{i}.hex");
        i += 1;
    }
    name
}

/// The escape character of a text file; 0 for none.
fn escape(code: i8) -> Result<u8, Failure> {
    match u8::try_from(code) {
        Ok(c) if !matches!(c, b'\n' | b'\r' | b'"' | b'\'') && !c.is_ascii_alphanumeric() => Ok(c),
        _ => Err(Error::invalid(format!(
            "escapechar must be the code of a sign that is no letter, digit, quote or line end, or 0 for none, but is {code}"
        ))
        .into()),
    }
}

fn refuse(given: bool, field: &str) -> Result<(), Failure> {
    if given { Err(Error::Unsupported(format!("{field} is not supported by this version of ochre")).into()) } else { Ok(()) }
}

fn guess(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: SetupSchema = ask.decode()?;
    refuse(!a.decrypt_tool.is_null(), "decrypt_tool")?;
    let escape = escape(a.escapechar)?;
    refuse(a.tz_adjust_to_local, "tz_adjust_to_local")?;
    refuse(a.custom_non_data_line_markers.as_ref().is_some_and(|m| !m.is_empty() && m != "#"), "custom_non_data_line_markers")?;
    let format = Format::from_name(a.parse_type.as_deref().unwrap_or_default())?;
    let files = raw_files(app, &a.source_frames)?;
    let na: Vec<Vec<String>> = a.na_strings.clone().unwrap_or_default().into_iter().map(Option::unwrap_or_default).collect();
    let wishes = Wishes {
        separator: (a.separator != 0).then_some(a.separator as u8),
        header: a.check_header,
        single_quotes: a.single_quotes,
        escape,
        names: a.column_names.clone().filter(|n| !n.is_empty()),
        na_strings: na,
        format,
    };
    let s = setup::guess(&files, &wishes, &app.node.ledger)?;
    let width = s.names.len();
    let mut types: Vec<&str> = s.types.iter().map(|t| t.name()).collect();
    for (slot, asked) in types.iter_mut().zip(a.column_types.iter().flatten()) {
        if !asked.is_empty() {
            *slot = ColumnType::from_name(asked)?.name();
        }
    }
    let first = a.source_frames.as_ref().and_then(|k| k.first()).map_or(String::new(), |k| k.0.clone());
    let destination = a.destination_frame.clone().filter(|d| !d.is_empty()).unwrap_or_else(|| proposed_name(app, &first));
    let na_given = s.na_strings.iter().any(|n| !n.is_empty());
    let reply = SetupSchema {
        parse_type: Some(s.format.told().into()),
        separator: s.separator as i8,
        single_quotes: s.single_quotes,
        check_header: s.header,
        column_names: Some(s.names),
        column_types: Some(types.into_iter().map(str::to_string).collect()),
        na_strings: na_given.then(|| s.na_strings.into_iter().map(|n| (!n.is_empty()).then_some(n)).collect()),
        destination_frame: Some(destination),
        number_columns: width as i32,
        data: Some(s.preview.into_iter().map(Some).collect()),
        total_filtered_column_count: width as i32,
        ..a
    };
    let mut json = ochre_schema::object(&reply);
    // Beside what the reference answers: why each type was chosen.
    json["column_type_reasons"] = Value::Array(s.reasons.into_iter().map(Value::String).collect());
    Reply::json(&json)
}

fn parse(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: Parse = ask.decode()?;
    refuse(!a.decrypt_tool.is_null(), "decrypt_tool")?;
    let escape = escape(a.escapechar)?;
    refuse(a.tz_adjust_to_local, "tz_adjust_to_local")?;
    refuse(a.domains.as_ref().is_some_and(|d| d.iter().any(Option::is_some)), "domains")?;
    let files = raw_files(app, &a.source_frames)?;
    let destination = a
        .destination_frame
        .clone()
        .filter(|k| !k.0.is_empty())
        .ok_or_else(|| Error::invalid("destination_frame is required: the key of the frame to make"))?;
    let types = a.column_types.iter().flatten().map(|t| ColumnType::from_name(t)).collect::<Result<Vec<_>, _>>()?;
    let width = (a.number_columns.max(0) as usize).max(types.len());
    let names = match a.column_names.clone().filter(|n| !n.is_empty()) {
        Some(n) => n,
        None => (1..=width).map(|i| format!("C{i}")).collect(),
    };
    if names.len() != types.len() {
        return Err(Error::invalid(format!("{} column names were given for {} column types", names.len(), types.len())).into());
    }
    let mut na: Vec<Vec<String>> = a.na_strings.clone().unwrap_or_default().into_iter().map(Option::unwrap_or_default).collect();
    na.resize(names.len(), vec![]);
    let mut setup = ParseSetup {
        format: match Format::from_name(a.parse_type.as_deref().unwrap_or_default())? {
            Some(format) => format,
            None => files.first().and_then(|f| Format::by_magic(&f.path)).unwrap_or_default(),
        },
        separator: if a.separator == 0 { b',' } else { a.separator as u8 },
        single_quotes: a.single_quotes,
        escape,
        header: if a.check_header == 0 { -1 } else { a.check_header },
        reasons: vec![],
        types,
        names,
        na_strings: na,
        skipped: a.skipped_columns.iter().flatten().filter(|c| **c >= 0).map(|c| *c as usize).collect(),
        preview: vec![],
        partitions: vec![],
    };
    setup.partition_by(a.partition_by.as_deref().unwrap_or_default(), &files)?;
    let mut seen = std::collections::HashSet::new();
    if let Some((_, n)) = setup.names.iter().enumerate().find(|(i, n)| !setup.skipped.contains(i) && !seen.insert(n.as_str())) {
        return Err(Error::invalid(format!("Found duplicate column name {n}")).into());
    }
    let skipped = |c: usize| setup.skipped.contains(&c);
    if !setup.skipped.is_empty() && matches!(setup.format, Format::SvmLight | Format::Avro) {
        return Err(Failure::precondition("Parser: skipped_columns are not supported for SVMlight or Avro parsers."));
    }
    if !setup.names.is_empty() && (0..setup.names.len()).all(skipped) {
        return Err(Failure::precondition("Parser: all columns in the file are skipped and no H2OFrame can be returned."));
    }
    if let Some(c) = setup.skipped.iter().find(|c| **c >= setup.names.len()) {
        return Err(
            Error::invalid(format!("skipped_columns names column {c}, but the file has {} (0 is the first)", setup.names.len())).into()
        );
    }
    let sources = a.source_frames.clone().unwrap_or_default();
    let job = start_parse(app, files, setup, &destination, if a.delete_on_done { sources } else { vec![] })?;
    if a.blocking {
        job.wait(std::time::Duration::from_secs(86_400));
    }
    let reply = Parse { job: jobs::started(&job), destination_frame: Some(destination), ..a };
    Reply::schema(&reply)
}

/// Parses in a job; sources that are named go when it is done.
fn start_parse(
    app: &App,
    files: Vec<Arc<RawFile>>,
    setup: ParseSetup,
    destination: &FrameKey,
    gone: Vec<FrameKey>,
) -> Result<Arc<ochre_core::Job>, Failure> {
    let (node, key) = (app.node.clone(), destination.0.clone());
    let job = app.node.jobs.start("Parse", AnyKey::Frame(destination.clone()), move |job| {
        let frame: Frame = ochre_io::parse::parse(&node, job, &files, &setup)?;
        node.store.put(&key, frame)?;
        for s in &gone {
            node.store.remove(&s.0)?;
        }
        Ok(())
    })?;
    Ok(job)
}

fn import_sql(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: ImportSqlTable = ask.decode()?;
    if app.cluster.is_some() {
        let why = "SQL import is not supported on a cluster yet: its nodes would each ask, and might be told different rows";
        return Err(Error::Unsupported(why.into()).into());
    }
    let given = |t: Option<String>| t.map(|t| t.trim().to_string()).filter(|t| !t.is_empty());
    let missing = |field: &str| Error::invalid(format!("{field} is required"));
    let (table, select) = (given(a.table), given(a.select_query));
    let columns = given(a.columns).filter(|c| c != "*").unwrap_or_default();
    let (name, what) = match (table, select) {
        (Some(name), None) => {
            let columns = columns.split(',').map(str::trim).filter(|c| !c.is_empty()).map(str::to_string).collect();
            (name.clone(), What::Table { name, columns })
        }
        (None, Some(select)) => (
            given(a.temp_table_name).unwrap_or_else(|| format!("query_{:08x}", ochre_core::Rng::fresh_seed() as u32)),
            What::Select(select),
        ),
        _ => return Err(Error::invalid("either table or select_query has to be given, and not both").into()),
    };
    let query = Query {
        connection: given(a.connection_url).ok_or_else(|| missing("connection_url"))?,
        user: given(a.username).unwrap_or_default(),
        password: a.password.unwrap_or_default(),
        what,
    };
    let dest = FrameKey(format!("{name}_sql_to_hex"));
    let (node, key, known, path) = (app.node.clone(), dest.0.clone(), app.config.sql.clone(), scratch_file(app, "csv")?);
    let job = app.node.jobs.start("Import SQL Table", AnyKey::Frame(dest), move |job| {
        let _gone = TempFile(path.clone());
        query.run(&known, &path)?;
        job.set_progress(0.5);
        let files = [Arc::new(RawFile::open(&path)?)];
        let wishes = Wishes { separator: Some(b','), header: 1, format: Some(Format::Csv), ..Wishes::default() };
        let setup = setup::guess(&files, &wishes, &node.ledger)?;
        node.store.put(&key, ochre_io::parse::parse(&node, job, &files, &setup)?)?;
        Ok(())
    })?;
    Reply::json(&jobs::started(&job))
}

fn parse_svmlight(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: ParseSvmLight = ask.decode()?;
    let files = raw_files(app, &a.source_frames)?;
    let wishes = Wishes {
        separator: None,
        header: 0,
        single_quotes: false,
        escape: 0,
        names: None,
        na_strings: vec![],
        format: Format::from_name("SVMLight")?,
    };
    let setup = setup::guess(&files, &wishes, &app.node.ledger)?;
    let sources = a.source_frames.clone().unwrap_or_default();
    let first = sources.first().map_or("", |k| k.0.as_str());
    let destination = a.destination_frame.filter(|k| !k.0.is_empty()).unwrap_or_else(|| FrameKey(proposed_name(app, first)));
    let job = start_parse(app, files, setup, &destination, sources)?;
    Reply::json(&jobs::started(&job))
}

fn interaction(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: InteractionRequest = ask.decode()?;
    let source = app.node.store.frame(&a.source_frame.clone().unwrap_or_default().0)?;
    let wanted = ochre_io::remade::Interaction {
        columns: a.factor_columns.clone().unwrap_or_default().into_iter().map(|c| c.trim_matches('"').to_string()).collect(),
        pairwise: a.pairwise,
        max_levels: a.max_factors.max(1) as usize,
        min_rows: a.min_occurrence.max(0) as usize,
    };
    let dest = a.dest.filter(|k| !k.0.is_empty());
    let dest = dest.unwrap_or_else(|| FrameKey(format!("interaction_{:016x}", ochre_core::Rng::fresh_seed())));
    let (node, key) = (app.node.clone(), dest.0.clone());
    let job = app.node.jobs.start("InteractionV3", AnyKey::Frame(dest), move |job| {
        let frame = node.runner.install(|| ochre_io::remade::interaction(&node, job, &source, &wanted))?;
        node.store.put(&key, frame)?;
        Ok(())
    })?;
    Reply::json(&jobs::started(&job))
}

fn insert_missing(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: MissingInserter = ask.decode()?;
    let dest = a.dataset.clone().unwrap_or_default();
    let source = app.node.store.frame(&dest.0)?;
    let (node, key) = (app.node.clone(), dest.0.clone());
    let seed = if a.seed == -1 { ochre_core::Rng::fresh_seed() } else { a.seed };
    let job = app.node.jobs.start("MissingValueInserter", AnyKey::Frame(dest), move |job| {
        let frame = node.runner.install(|| ochre_io::remade::with_missing(&node, job, &source, a.fraction, seed))?;
        node.store.put(&key, frame)?;
        Ok(())
    })?;
    Reply::json(&jobs::started(&job))
}

fn create_frame(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: CreateFrame = ask.decode()?;
    let fresh = |seed: i64| if seed == -1 { ochre_core::Rng::fresh_seed() } else { seed };
    let size = |n: i64| n.max(0) as usize;
    let recipe = ochre_io::synthetic::Recipe {
        rows: size(a.rows),
        cols: size(a.cols.into()),
        seed: fresh(a.seed),
        type_seed: fresh(a.seed_for_column_types),
        randomize: a.randomize,
        value: a.value as f64,
        real_range: a.real_range as f64,
        integer_range: a.integer_range,
        factors: size(a.factors.into()),
        categorical: a.categorical_fraction,
        integer: a.integer_fraction,
        binary: a.binary_fraction,
        time: a.time_fraction,
        string: a.string_fraction,
        binary_ones: a.binary_ones_fraction,
        missing: a.missing_fraction,
        response: a.has_response,
        response_factors: size(a.response_factors.into()),
        positive_response: a.positive_response,
    };
    recipe.check()?;
    let named = a.dest.filter(|k| !k.0.is_empty());
    let dest = named.unwrap_or_else(|| FrameKey(format!("createframe_{:016x}", ochre_core::Rng::fresh_seed())));
    let (node, key) = (app.node.clone(), dest.0.clone());
    let job = app.node.jobs.start("CreateFrame", AnyKey::Frame(dest), move |job| {
        let frame = ochre_io::synthetic::create(&node, job, &recipe)?;
        node.store.put(&key, frame)?;
        Ok(())
    })?;
    Reply::json(&jobs::started(&job))
}

/// Keys for S3 that a client gives; the server keeps them in memory only.
fn set_s3(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: S3Credentials = ask.decode()?;
    let given = |field: &str, value: Option<String>| {
        value.filter(|v| !v.is_empty()).ok_or_else(|| Error::invalid(format!("{field} is required: half of a pair of keys for S3")))
    };
    app.objects.set_credentials(Some(objects::Credentials {
        key_id: given("secret_key_id", a.secret_key_id)?,
        secret: given("secret_access_key", a.secret_access_key)?,
        token: a.session_token.filter(|t| !t.is_empty()),
    }));
    Reply::schema(&S3Credentials::default())
}

fn forget_s3(app: &App, _: &Ask) -> Result<Reply, Failure> {
    app.objects.set_credentials(None);
    Reply::schema(&S3Credentials::default())
}

fn typeahead(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: Typeahead = ask.decode()?;
    let src = a.src.clone().unwrap_or_default();
    if objects::is_object(&src) {
        let matches = app.objects.complete(&src, if a.limit > 0 { a.limit as usize } else { usize::MAX })?;
        return Reply::schema(&Typeahead { matches: Some(matches), ..a });
    }
    let (dir, prefix) = if src.ends_with('/') || Path::new(&src).is_dir() {
        (src.clone(), String::new())
    } else {
        let p = Path::new(&src);
        (
            p.parent().map_or("/".into(), |d| d.display().to_string()),
            p.file_name().map_or(String::new(), |n| n.to_string_lossy().into_owned()),
        )
    };
    let mut matches: Vec<String> = std::fs::read_dir(if dir.is_empty() { "." } else { &dir })
        .map(|entries| {
            entries
                .flatten()
                .filter(|e| e.file_name().to_string_lossy().starts_with(&prefix))
                .map(|e| e.path().display().to_string())
                .collect()
        })
        .unwrap_or_default();
    matches.sort();
    if a.limit > 0 {
        matches.truncate(a.limit as usize);
    }
    Reply::schema(&Typeahead { matches: Some(matches), ..a })
}
