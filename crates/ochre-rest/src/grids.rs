//! Grids: search hyper-parameters, look at what was found, write to a directory and read back.

use crate::models::builder_of;
use crate::route::{Ask, Reply, get, post};
use crate::wire::{GridExport, GridImport, GridKeySchema, GridSchema, Grids};
use crate::{App, Failure, jobs};
use ochre_core::Error;
use ochre_model::Model;
use ochre_model::grid::{Criteria, Grid, Strategy};
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
    if ask.param("recovery_dir").is_some_and(|d| !d.is_empty() && d != "None") {
        return Err(Error::Unsupported("recovery_dir is not supported by this version of ochre; export the grid instead".into()).into());
    }
    let form: Vec<(String, String)> = ask.params.iter().filter(|(n, _)| !OF_SEARCH.contains(&n.as_str())).cloned().collect();
    let key = ask.param("grid_id").filter(|k| !k.is_empty()).map_or_else(
        || {
            let n = ochre_core::current_task().map_or_else(|| app.node.store.len() as u64 + 1, |t| t.next_name());
            format!("Grid_{}_{}_{n}", builder.info().stem, ochre_core::shared_now_ms())
        },
        str::to_string,
    );
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
    begin(app, ask, grid)
}

fn resume(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let key = ask.param("grid_id").unwrap_or_default();
    let grid = grid_at(app, key)?;
    begin(app, ask, grid.as_ref().clone())
}

fn begin(app: &App, ask: &Ask, grid: Grid) -> Result<Reply, Failure> {
    let builder = builder_of(app, ask, "POST")?;
    let (node, key, criteria) = (app.node.clone(), grid.key.clone(), grid.criteria.clone());
    // The combinations are checked when their turn comes; what all of them need is checked now.
    if !grid.form.iter().any(|(n, v)| n == "training_frame" && !v.is_empty()) {
        return Err(Failure::precondition("a grid needs a training_frame"));
    }
    let parameters = builder.decoded(&grid.form)?.0;
    let job = app.node.jobs.start(&format!("{} Grid Search", builder.info().stem), AnyKey::Other(key.clone()), move |job| {
        // A later attempt goes on where an earlier one was interrupted.
        let grid =
            node.store.get::<Grid>(&grid.key).ok().filter(|g| g.hyper == grid.hyper).map_or_else(|| grid.clone(), |g| g.as_ref().clone());
        grid.train(builder, &node, job)
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
        "parallelism": 1, "recovery_dir": null, "job_id": null, "total_models": 0, "job": jobs::started(&job),
    }))
}

fn grid_at(app: &App, key: &str) -> Result<Arc<Grid>, Failure> {
    app.node.store.get::<Grid>(key).map_err(|e| match e {
        Error::KeyNotFound { .. } => Failure::Told {
            status: 404,
            exception: "water.exceptions.H2OKeyNotFoundArgumentException",
            message: format!("Object '{key}' not found for argument: grid_id"),
        },
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
    if a.save_params_references {
        return Err(Error::Unsupported(
            "save_params_references is not supported by this version of ochre; save the frames by themselves".into(),
        )
        .into());
    }
    let fail = |path: &Path, e: std::io::Error| Error::io(path.display(), e);
    std::fs::create_dir_all(&dir).map_err(|e| fail(&dir, e))?;
    for entry in &grid.models {
        let model = app.node.store.get::<Model>(&entry.model)?;
        model.save_to(&dir.join(&entry.model), true)?;
    }
    let path = dir.join(&grid.key);
    let text = serde_json::to_vec(grid.as_ref()).map_err(|e| Error::Internal(e.to_string()))?;
    std::fs::write(&path, text).map_err(|e| fail(&path, e))?;
    Reply::schema(&GridKeySchema { name: Some(grid.key.clone()), r#type: Some("Key<Grid>".into()), url: None })
}

fn import(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: GridImport = ask.decode()?;
    let path = PathBuf::from(a.grid_path.filter(|p| !p.is_empty()).ok_or_else(|| Error::invalid("grid_path is required"))?);
    let text = std::fs::read(&path).map_err(|e| Error::io(path.display(), e))?;
    let grid: Grid =
        serde_json::from_slice(&text).map_err(|e| Error::invalid(format!("{} is not a grid exported by ochre: {e}", path.display())))?;
    let dir = path.parent().unwrap_or(Path::new("."));
    for entry in &grid.models {
        let model = crate::models::load_from(app, &dir.join(&entry.model))?;
        app.node.store.put(&entry.model, model)?;
    }
    let key = grid.key.clone();
    app.node.store.put(&key, grid)?;
    Reply::schema(&GridKeySchema { name: Some(key), r#type: Some("Key<Grid>".into()), url: None })
}
