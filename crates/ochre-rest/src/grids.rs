//! Grids: search hyper-parameters, look at what was found, write to a directory and read back.

use crate::frames::frame_file;
use crate::models::builder_of;
use crate::route::{Ask, Reply, get, post};
use crate::wire::{GridExport, GridImport, GridKeySchema, GridSchema, Grids, Resume};
use crate::{App, Failure, jobs};
use ochre_core::Error;
use ochre_model::grid::{Criteria, Grid, Strategy};
use ochre_model::{Model, check_local};
use ochre_schema::{AnyKey, ModelKey, Value};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub const ROUTES: &[crate::Route] = &[
    post("/99/Grid/{algo}", "grid_search", ("GridSearchSchema", "GridSearchSchema"), search, "Trains a model for each combination."),
    post(
        "/99/Grid/{algo}/resume",
        "resume_grid_search",
        ("GridSearchSchema", "GridSearchSchema"),
        resume,
        "Goes on with a grid that was interrupted.",
    ),
    get("/99/Grids", "grids", ("GridsV99", "GridsV99"), list, "All grids."),
    get("/99/Grids/{grid_id}", "grid", ("GridSchemaV99", "GridSchemaV99"), fetch, "One grid, its models in the order of a metric."),
    post(
        "/3/Grid.bin/{grid_id}/export",
        "exportGrid",
        ("GridExportV3", "GridKeyV3"),
        export,
        "Writes a grid and its models to a directory.",
    ),
    post(
        "/3/Recovery/resume",
        "recovery_resume",
        ("ResumeV3", "ResumeV3"),
        recover,
        "Goes on with a search that the end of a server interrupted.",
    ),
    post("/3/Grid.bin/import", "importGrid", ("GridImportV3", "GridKeyV3"), import, "Reads a grid and its models from a directory."),
];

/// What belongs to the search and not to the models.
const OF_SEARCH: [&str; 5] = ["hyper_parameters", "search_criteria", "grid_id", "parallelism", "recovery_dir"];

fn key_json(key: &str) -> Value {
    serde_json::json!({"__meta": {"schema_version": 3, "schema_name": "GridKeyV3", "schema_type": "Key<Grid>"}, "name": key,
        "type": "Key<Grid>", "URL": null})
}

fn search(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let builder = builder_of(app, ask, "POST")?;
    let form: Vec<(String, String)> = ask.params.iter().filter(|(n, _)| !OF_SEARCH.contains(&n.as_str())).cloned().collect();
    let key = ask.param("grid_id").filter(|k| !k.is_empty()).map_or_else(
        || {
            let n = ochre_core::current_task().map_or_else(|| app.node.store.len() as u64 + 1, |t| t.next_name());
            format!("Grid_{}_{}_{n}", builder.info().stem, ochre_core::shared_now_ms())
        },
        str::to_string,
    );
    if let Some(given) = ask.param("parallelism").filter(|p| p.parse::<f64>().is_ok_and(|p| p < 0.0)) {
        return Err(Error::invalid(format!("parallelism must be 0 (as many as fit) or more, but is {given}")).into());
    }
    let criteria = Criteria::read(ask.param("search_criteria"))?;
    let mut grid = Grid::read(builder, form, key, ask.param("hyper_parameters").unwrap_or("{}"), criteria).map_err(|e| match e {
        Error::Invalid(m) => Failure::precondition(m),
        e => e.into(),
    })?;
    if let Ok(old) = app.node.store.get::<Grid>(&grid.key) {
        if old.algorithm != grid.algorithm {
            return Err(Failure::precondition(format!(
                "grid {} is of {}; give a grid of {} another id",
                old.key, old.algorithm, grid.algorithm
            )));
        }
        grid.take_over(&old, builder)?;
    }
    begin(app, builder, grid, recovery_dir(ask)?)
}

/// Where a search keeps what it needs to go on after the server's end.
fn recovery_dir(ask: &Ask) -> Result<Option<PathBuf>, Failure> {
    let dir = ask.param("recovery_dir").filter(|d| !d.is_empty() && *d != "None");
    dir.map_or(Ok(()), |d| check_local("recovery_dir", d))?;
    Ok(dir.map(PathBuf::from))
}

fn resume(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let key = ask.param("grid_id").unwrap_or_default();
    let grid = grid_at(app, key)?;
    begin(app, builder_of(app, ask, "POST")?, grid.as_ref().clone(), recovery_dir(ask)?)
}

/// The frames that a search refers to.
fn frames_of(app: &App, grid: &Grid) -> Vec<String> {
    let named = grid.form.iter().map(|(_, v)| v.trim_matches('"').to_string());
    let mut out: Vec<String> = named.filter(|v| app.node.store.type_of(v) == Some("Frame")).collect();
    out.sort();
    out.dedup();
    out
}

/// The list of frames that lie beside a grid.
const FRAMES: &str = "frames.json";
/// What a search that may have to go on was.
const RECOVERY: &str = "recovery.json";

fn save_frames(app: &App, dir: &Path, keys: &[String]) -> Result<(), Failure> {
    for key in keys {
        ochre_io::export::arrow(app.node.store.frame(key)?.as_ref(), &frame_file(dir, key))?;
    }
    let text = serde_json::to_vec(keys).map_err(|e| Error::Internal(e.to_string()))?;
    let path = dir.join(FRAMES);
    std::fs::write(&path, text).map_err(|e| Error::io(path.display(), e))?;
    Ok(())
}

/// Reads the frames beside a grid that are not there any more.
fn load_frames(app: &App, dir: &Path) -> Result<(), Failure> {
    let path = dir.join(FRAMES);
    let text = std::fs::read(&path).map_err(|e| Error::io(path.display(), e))?;
    let keys: Vec<String> =
        serde_json::from_slice(&text).map_err(|e| Error::invalid(format!("{} is no list of frames: {e}", path.display())))?;
    for key in keys.iter().filter(|k| !app.node.store.contains(k)) {
        let frame = ochre_io::columnar::arrow_frame(&frame_file(dir, key), &app.node.ledger)?;
        app.node.store.put(key, frame)?;
    }
    Ok(())
}

/// Writes a grid, whole or not at all.
fn write_grid(dir: &Path, grid: &Grid) -> ochre_core::Result<()> {
    let (path, half) = (dir.join(&grid.key), dir.join(format!(".{}", grid.key)));
    let text = serde_json::to_vec(grid).map_err(|e| Error::Internal(e.to_string()))?;
    std::fs::write(&half, text).and_then(|()| std::fs::rename(&half, &path)).map_err(|e| Error::io(path.display(), e))
}

fn begin(app: &App, builder: &'static dyn ochre_model::Builder, grid: Grid, recovery: Option<PathBuf>) -> Result<Reply, Failure> {
    let (node, key, criteria) = (app.node.clone(), grid.key.clone(), grid.criteria.clone());
    // The combinations are checked when their turn comes; what all of them need is checked now.
    if !grid.form.iter().any(|(n, v)| n == "training_frame" && !v.is_empty()) {
        return Err(Failure::precondition("a grid needs a training_frame"));
    }
    let parameters = builder.decoded(&grid.form)?.0;
    let frames = frames_of(app, &grid);
    if let Some(dir) = &recovery {
        std::fs::create_dir_all(dir).map_err(|e| Error::io(dir.display(), e))?;
        save_frames(app, dir, &frames)?;
        write_grid(dir, &grid)?;
        let about = serde_json::json!({"grid": grid.key, "algorithm": grid.algorithm});
        let path = dir.join(RECOVERY);
        std::fs::write(&path, about.to_string()).map_err(|e| Error::io(path.display(), e))?;
    }
    // Beside the models that go to a directory, the grid itself, so that it can be read from there.
    let checkpoints = grid.form.iter().find(|(n, v)| n == "export_checkpoints_dir" && !v.is_empty() && v != "None");
    let checkpoints = checkpoints.map(|(_, v)| PathBuf::from(v.trim_matches('"')));
    let told_dir = recovery.as_ref().map(|d| d.display().to_string());
    let job = app.node.jobs.start(&format!("{} Grid Search", builder.info().stem), AnyKey::Other(key.clone()), move |job| {
        // A later attempt goes on where an earlier one was interrupted.
        let grid =
            node.store.get::<Grid>(&grid.key).ok().filter(|g| g.hyper == grid.hyper).map_or_else(|| grid.clone(), |g| g.as_ref().clone());
        match &recovery {
            None => grid.train(builder, &node, job, &|grid, _| checkpoints.as_ref().map_or(Ok(()), |dir| write_grid(dir, grid))),
            Some(dir) => {
                let key = grid.key.clone();
                grid.train(builder, &node, job, &|grid, model| {
                    model.save_to(&dir.join(&model.key), true)?;
                    write_grid(dir, grid)
                })?;
                // All is trained: there is nothing left to go on with.
                let kept = node.store.get::<Grid>(&key)?;
                let models = kept.models.iter().map(|m| dir.join(&m.model));
                let own = [RECOVERY, FRAMES, &kept.key].map(|n| dir.join(n));
                for file in models.chain(frames.iter().map(|k| frame_file(dir, k))).chain(own) {
                    let _ = std::fs::remove_file(file);
                }
                Ok(())
            }
        }
    })?;
    let strategy = match criteria.strategy {
        Strategy::Cartesian => serde_json::json!({"__meta": {"schema_version": 99, "schema_name": "CartesianSearchCriteriaV99",
            "schema_type": "CartesianSearchCriteria"}, "strategy": "Cartesian"}),
        s => {
            let name = if s == Strategy::Sequential { "Sequential" } else { "RandomDiscrete" };
            let schema = if s == Strategy::Sequential { "SequentialSearchCriteria" } else { "RandomDiscreteValueSearchCriteria" };
            serde_json::json!({"__meta": {"schema_version": 99, "schema_name": format!("{schema}V99"), "schema_type": schema},
                "strategy": name, "seed": criteria.seed, "max_models": criteria.max_models, "max_runtime_secs": criteria.max_runtime_secs,
                "stopping_rounds": criteria.stopping_rounds, "stopping_metric": criteria.stopping_metric,
                "stopping_tolerance": criteria.stopping_tolerance})
        }
    };
    Reply::json(&serde_json::json!({
        "__meta": {"schema_version": -1, "schema_name": "GridSearchSchema", "schema_type": "Grid"},
        "parameters": parameters, "hyper_parameters": null, "grid_id": key_json(&key), "search_criteria": strategy,
        "parallelism": 1, "recovery_dir": told_dir, "job_id": null, "total_models": 0, "job": jobs::started(&job),
    }))
}

fn grid_at(app: &App, key: &str) -> Result<Arc<Grid>, Failure> {
    app.node.store.get::<Grid>(key).map_err(|e| match e {
        Error::KeyNotFound { .. } => Failure::Missing { key: key.into(), argument: "grid_id" },
        e => e.into(),
    })
}

fn shown(app: &App, grid: &Grid, by: Option<&str>, decreasing: bool) -> Result<GridSchema, Failure> {
    let sorted = grid.sorted(&app.node, by, decreasing)?;
    let of = |pick: &dyn Fn(&Model) -> Value| Value::Array(sorted.models.iter().map(|m| pick(m)).collect());
    let output = |name: &'static str| of(&|m| m.output.get(name).cloned().unwrap_or(Value::Null));
    let failed_parameters = grid.failures.iter().map(|f| {
        let mut map = ochre_schema::Map::new();
        for ((name, _), v) in grid.hyper.iter().zip(&f.values) {
            map.insert(name.clone(), v.clone());
        }
        Value::Object(map)
    });
    let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_string);
    Ok(GridSchema {
        grid_id: key_json(&grid.key),
        sort_by: sorted.metric.clone(),
        decreasing: sorted.decreasing,
        model_ids: Some(sorted.models.iter().map(|m| ModelKey(m.key.clone())).collect()),
        hyper_names: Some(grid.names()),
        failed_params: Value::Array(failed_parameters.collect()),
        warning_details: Some(grid.warnings.clone()),
        failure_details: Some(grid.failures.iter().map(|f| f.message.clone()).collect()),
        failure_stack_traces: Some(grid.failures.iter().map(|f| f.message.clone()).collect()),
        failed_raw_params: Some(grid.failures.iter().map(|f| Some(f.values.iter().map(text).collect())).collect()),
        training_metrics: output("training_metrics"),
        validation_metrics: output("validation_metrics"),
        cross_validation_metrics: output("cross_validation_metrics"),
        cross_validation_metrics_summary: output("cross_validation_metrics_summary"),
        export_checkpoints_dir: None,
        summary_table: Some(sorted.summary),
        scoring_history: Some(sorted.history),
    })
}

fn fetch(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let grid = grid_at(app, ask.path_param("grid_id"))?;
    let by = ask.param("sort_by").filter(|s| !s.is_empty() && *s != "None");
    let decreasing = ask.param("decreasing").is_some_and(|d| d.eq_ignore_ascii_case("true"));
    Reply::schema(&shown(app, &grid, by, decreasing)?)
}

fn list(app: &App, _: &Ask) -> Result<Reply, Failure> {
    let mut out = vec![];
    for (_, g) in app.node.store.all::<Grid>() {
        out.push(ochre_schema::object(&shown(app, &g, None, false)?));
    }
    Reply::schema(&Grids { grids: Value::Array(out) })
}

fn export(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: GridExport = ask.decode()?;
    let grid = grid_at(app, ask.path_param("grid_id"))?;
    let dir = PathBuf::from(a.grid_directory.filter(|d| !d.is_empty()).ok_or_else(|| Error::invalid("grid_directory is required"))?);
    check_local("grid_directory", &dir.display().to_string())?;
    let fail = |path: &Path, e: std::io::Error| Error::io(path.display(), e);
    std::fs::create_dir_all(&dir).map_err(|e| fail(&dir, e))?;
    for entry in &grid.models {
        let model = app.node.store.get::<Model>(&entry.model)?;
        crate::models::save_with_frames(app, &model, &dir.join(&entry.model), true, a.export_cross_validation_predictions)?;
    }
    write_grid(&dir, &grid)?;
    if a.save_params_references {
        save_frames(app, &dir, &frames_of(app, &grid))?;
    }
    Reply::schema(&GridKeySchema { name: Some(grid.key.clone()), r#type: Some("Key<Grid>".into()), url: None })
}

fn import(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: GridImport = ask.decode()?;
    let path = PathBuf::from(a.grid_path.filter(|p| !p.is_empty()).ok_or_else(|| Error::invalid("grid_path is required"))?);
    check_local("grid_path", &path.display().to_string())?;
    if a.load_params_references {
        load_frames(app, path.parent().unwrap_or(Path::new(".")))?;
    }
    let grid = read_grid(app, &path)?;
    let key = grid.key.clone();
    app.node.store.put(&key, grid)?;
    Reply::schema(&GridKeySchema { name: Some(key), r#type: Some("Key<Grid>".into()), url: None })
}

/// A grid that was written, its models put where they were.
fn read_grid(app: &App, path: &Path) -> Result<Grid, Failure> {
    let text = std::fs::read(path).map_err(|e| Error::io(path.display(), e))?;
    let grid: Grid =
        serde_json::from_slice(&text).map_err(|e| Error::invalid(format!("{} is not a grid exported by ochre: {e}", path.display())))?;
    let dir = path.parent().unwrap_or(Path::new("."));
    for entry in &grid.models {
        let mut model = crate::models::load_from(app, &dir.join(&entry.model))?;
        model.key.clone_from(&entry.model);
        model.keep(&app.node)?;
    }
    Ok(grid)
}

/// Goes on with a search that the end of a server interrupted.
fn recover(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: Resume = ask.decode()?;
    let dir = a.recovery_dir.clone().filter(|d| !d.is_empty()).map(PathBuf::from);
    let dir = dir.ok_or_else(|| Error::invalid("recovery_dir is required: the directory that the search was started with"))?;
    let path = dir.join(RECOVERY);
    let text = match std::fs::read(&path) {
        Ok(t) => t,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(Failure::not_found(format!(
                "{} holds nothing to go on with: the search ended, or was never started there",
                dir.display()
            )));
        }
        Err(e) => return Err(Error::io(path.display(), e).into()),
    };
    let about: Value =
        serde_json::from_slice(&text).map_err(|e| Error::invalid(format!("{} was not written by a search: {e}", path.display())))?;
    let (key, algorithm) = (about["grid"].as_str().unwrap_or_default(), about["algorithm"].as_str().unwrap_or_default());
    let builder = app.algorithms.iter().find(|b| b.info().name == algorithm).copied();
    let builder =
        builder.ok_or_else(|| Error::invalid(format!("{} names the algorithm '{algorithm}', which is not known", path.display())))?;
    load_frames(app, &dir)?;
    let grid = read_grid(app, &dir.join(key))?;
    app.node.store.put(key, grid.clone())?;
    begin(app, builder, grid, Some(dir))?;
    Reply::schema(&a)
}
