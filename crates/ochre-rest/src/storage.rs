//! What clients keep on a node: texts by category and name, such as notebooks. They lie as files under the node's own directory
//! and outlive the server.

use crate::route::{Ask, Reply, delete, get, post};
use crate::wire::{Storage, StorageEntry};
use crate::{App, Failure};
use ochre_core::Error;
use ochre_schema::{Value, Wire};
use std::path::{Path, PathBuf};

const IO: (&str, &str) = ("NodePersistentStorageV3", "NodePersistentStorageV3");

pub const ROUTES: &[crate::Route] = &[
    get("/3/NodePersistentStorage/configured", "npsEnabled", IO, configured, "Is there a place to keep things?"),
    get("/3/NodePersistentStorage/categories/{category}/exists", "npsExistsCategory", IO, category_exists, "Is there such a category?"),
    get("/3/NodePersistentStorage/categories/{category}/names/{name}/exists", "npsContains", IO, exists, "Is there such a thing?"),
    get("/3/NodePersistentStorage/{category}", "npsKeys", IO, list, "What is kept in a category."),
    get("/3/NodePersistentStorage/{category}/{name}", "npsGet", IO, fetch, "What is kept under a name."),
    post("/3/NodePersistentStorage/{category}", "npsCreateCategory", IO, put_fresh, "Keeps a text under a name that is made up."),
    post("/3/NodePersistentStorage/{category}/{name}", "npsPut", IO, put, "Keeps a text under a name."),
    delete("/3/NodePersistentStorage/{category}/{name}", "npsRemove", IO, remove, "Removes what is kept."),
];

/// Bytes of one text.
const TEXT_MAX: usize = 64 << 20;

/// A name as a file's: what might leave the directory is escaped.
fn file_name(name: &str) -> Result<String, Failure> {
    if name.is_empty() || name.len() > 200 {
        return Err(Failure::precondition(format!("a name of 1 to 200 bytes is needed, but this one has {}", name.len())));
    }
    Ok(name
        .bytes()
        .map(|b| if b.is_ascii_alphanumeric() || b == b'-' || b == b'_' { char::from(b).to_string() } else { format!("%{b:02x}") })
        .collect())
}

fn plain_name(file: &str) -> String {
    percent_encoding::percent_decode_str(file).decode_utf8_lossy().into_owned()
}

fn place(app: &App, category: &str) -> Result<PathBuf, Failure> {
    Ok(app.config.ice_root.join("kept").join(file_name(category)?))
}

fn at(app: &App, ask: &Ask) -> Result<PathBuf, Failure> {
    Ok(place(app, ask.path_param("category"))?.join(file_name(ask.path_param("name"))?))
}

fn fail(path: &Path, e: std::io::Error) -> Failure {
    Error::io(path.display(), e).into()
}

fn told(ask: &Ask) -> Storage {
    let given = |name: &str| Some(ask.path_param(name).to_string()).filter(|v| !v.is_empty());
    Storage { category: given("category"), name: given("name"), ..Storage::default() }
}

fn configured(_: &App, _: &Ask) -> Result<Reply, Failure> {
    Reply::schema(&Storage { configured: true, ..Storage::default() })
}

fn category_exists(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    Reply::schema(&Storage { exists: place(app, ask.path_param("category"))?.is_dir(), ..told(ask) })
}

fn exists(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    Reply::schema(&Storage { exists: at(app, ask)?.is_file(), ..told(ask) })
}

fn list(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let (category, dir) = (ask.path_param("category"), place(app, ask.path_param("category"))?);
    let mut entries: Vec<StorageEntry> = vec![];
    for file in dir.read_dir().into_iter().flatten().flatten() {
        let Ok(about) = file.metadata() else { continue };
        let written = about.modified().ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
        entries.push(StorageEntry {
            category: Some(category.into()),
            name: Some(plain_name(&file.file_name().to_string_lossy())),
            size: about.len() as i64,
            timestamp_millis: written.map_or(0, |t| t.as_millis() as i64),
        });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Reply::schema(&Storage { entries: Value::Array(entries.iter().map(Wire::to_json).collect()), ..told(ask) })
}

fn fetch(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let path = at(app, ask)?;
    if !path.is_file() {
        let (category, name) = (ask.path_param("category"), ask.path_param("name"));
        return Err(Failure::not_found(format!("nothing is kept in category '{category}' under the name '{name}'")));
    }
    let text = std::fs::read_to_string(&path).map_err(|e| fail(&path, e))?;
    Reply::schema(&Storage { value: Some(text), ..told(ask) })
}

fn keep(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let text = ask.param("value").unwrap_or_default();
    if text.len() > TEXT_MAX {
        return Err(Failure::precondition(format!("{} bytes are more than the {TEXT_MAX} that are kept under one name", text.len())));
    }
    let path = at(app, ask)?;
    let dir = path.parent().expect("it lies in a category");
    std::fs::create_dir_all(dir).map_err(|e| fail(dir, e))?;
    // Whole or not at all: a reader never sees half a text.
    let half = dir.join(format!(".{:x}", ochre_core::Rng::fresh_seed()));
    std::fs::write(&half, text).and_then(|()| std::fs::rename(&half, &path)).map_err(|e| fail(&path, e))?;
    Reply::schema(&Storage { value: Some(text.into()), ..told(ask) })
}

fn put(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    keep(app, ask)
}

fn put_fresh(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let name = ochre_core::current_task().map_or_else(|| ochre_core::Rng::fresh_seed() as u64, |t| t.next_name());
    let mut named = ask.clone();
    named.path_params.push(("name".into(), format!("{name:016x}")));
    keep(app, &named)
}

fn remove(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let path = at(app, ask)?;
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(fail(&path, e)),
        _ => Reply::schema(&told(ask)),
    }
}
