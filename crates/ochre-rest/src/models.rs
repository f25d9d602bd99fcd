//! Models: build, look at, score, measure, remove.

use crate::frames::frame_at;
use crate::jobs;
use crate::places::Place;
use crate::route::{Ask, Reply, delete, get, post};
use crate::wire::{
    MakeDerived, MakeLinear, MakeUnrestricted, MetricsMaker, ModelBuilders, ModelExport, ModelImport, ModelMetricsListSchema, Models,
    RegularizationPath,
};
use crate::{App, Failure};
use ochre_core::Error;
use ochre_model::background::Against;
use ochre_model::insight::{Contributions, Insight};
use ochre_model::metrics::Detail;
use ochre_model::params::{METRIC, script};
use ochre_model::wire::ModelSynopsis;
use ochre_model::{Builder, Category, Deviance, Metrics, Model, Refusal, write_whole};
use ochre_schema::{AnyKey, FrameKey, ModelKey, Value, Wire};
use std::sync::Arc;

pub const ROUTES: &[crate::Route] = &[
    get("/3/ModelBuilders", "model_builders", ("ModelBuildersV3", "ModelBuildersV3"), builders, "All algorithms with their parameters."),
    get("/3/ModelBuilders/{algo}", "model_builder", ("ModelBuildersV3", "ModelBuildersV3"), builder, "One algorithm with its parameters."),
    post("/3/ModelBuilders/{algo}", "train", ("ModelBuildersV3", "ModelBuilderSchema"), train, "Trains a model."),
    post(
        "/3/ModelBuilders/{algo}/parameters",
        "validate_parameters",
        ("ModelBuildersV3", "ModelBuilderSchema"),
        validate,
        "Checks parameters without training.",
    ),
    post("/3/ModelBuilders/{algo}/model_id", "calcModelId", ("ModelIdV3", "ModelIdV3"), model_id, "A free key for a model."),
    get("/3/Models", "models", ("ModelsV3", "ModelsV3"), list, "All models."),
    get("/3/Models/{model_id}", "model", ("ModelsV3", "ModelsV3"), fetch, "One model."),
    get("/99/Models/{model_id}", "model99", ("ModelsV3", "ModelsV3"), fetch, "One model."),
    delete("/3/Models/{model_id}", "deleteModel", ("ModelsV3", "ModelsV3"), remove, "Removes a model."),
    delete("/3/Models", "deleteAllModels", ("ModelsV3", "ModelsV3"), remove_all, "Removes all models."),
    post(
        "/3/Predictions/models/{model}/frames/{frame}",
        "predict",
        ("ModelMetricsListSchemaV3", "ModelMetricsListSchemaV3"),
        predict,
        "Scores a frame and waits.",
    ),
    post(
        "/4/Predictions/models/{model}/frames/{frame}",
        "predict_async",
        ("ModelMetricsListSchemaV3", "JobV3"),
        predict_job,
        "Scores a frame in a job.",
    ),
    get("/3/ModelMetrics", "modelMetrics", ("ModelMetricsListSchemaV3", "ModelMetricsListSchemaV3"), metrics_list, "All metrics."),
    get(
        "/3/ModelMetrics/models/{model}",
        "modelMetricsForModel",
        ("ModelMetricsListSchemaV3", "ModelMetricsListSchemaV3"),
        metrics_list,
        "Metrics of a model.",
    ),
    get(
        "/3/ModelMetrics/frames/{frame}",
        "modelMetricsForFrame",
        ("ModelMetricsListSchemaV3", "ModelMetricsListSchemaV3"),
        metrics_list,
        "Metrics on a frame.",
    ),
    get(
        "/3/ModelMetrics/models/{model}/frames/{frame}",
        "modelMetricsForModelAndFrame",
        ("ModelMetricsListSchemaV3", "ModelMetricsListSchemaV3"),
        metrics_list,
        "Metrics of a model on a frame.",
    ),
    get(
        "/3/ModelMetrics/frames/{frame}/models/{model}",
        "_mmFetch3",
        ("ModelMetricsListSchemaV3", "ModelMetricsListSchemaV3"),
        metrics_list,
        "Metrics of a model on a frame.",
    ),
    delete(
        "/3/ModelMetrics/models/{model}/frames/{frame}",
        "_mmDelete1",
        ("ModelMetricsListSchemaV3", "ModelMetricsListSchemaV3"),
        forget_metrics,
        "Drops a model's metrics on a frame.",
    ),
    delete(
        "/3/ModelMetrics/frames/{frame}/models/{model}",
        "_mmDelete2",
        ("ModelMetricsListSchemaV3", "ModelMetricsListSchemaV3"),
        forget_metrics,
        "Drops a model's metrics on a frame.",
    ),
    post(
        "/3/ModelMetrics/models/{model}/frames/{frame}",
        "score",
        ("ModelMetricsListSchemaV3", "ModelMetricsListSchemaV3"),
        score,
        "Measures a model on a frame.",
    ),
    get("/99/Models.bin/{model_id}", "exportModel", ("ModelExportV3", "ModelExportV3"), export, "Writes a model to a file of the server."),
    post("/99/Models.bin/{model_id}", "importModel", ("ModelImportV3", "ModelsV3"), import, "Reads a model from a file of the server."),
    get("/3/Models.fetch.bin/{model_id}", "fetchBinaryModel", ("ModelsV3", "StreamingSchema"), download, "Sends a model as a file."),
    get(
        "/3/GetGLMRegPath",
        "glm_regularization_path",
        ("GLMRegularizationPathV3", "GLMRegularizationPathV3"),
        regularization_path,
        "The models along a linear model's path of penalties.",
    ),
    post(
        "/3/ModelMetrics/predictions_frame/{predictions_frame}/actuals_frame/{actuals_frame}",
        "makeMetrics",
        ("ModelMetricsMakerSchemaV3", "ModelMetricsMakerSchemaV3"),
        make_metrics,
        "Measures predictions that are given as a frame.",
    ),
    post("/3/MakeGLMModel", "make_glm_model", ("MakeGLMModelV3", "GLMModelV3"), make_linear, "A linear model with other coefficients."),
    post(
        "/3/MakeDerivedGLMModel",
        "make_derived_model",
        ("MakeDerivedGLMModelV3", "GLMModelV3"),
        make_derived,
        "A linear model with some of the effects that it was trained to leave out.",
    ),
    post(
        "/3/MakeUnrestrictedGLMModel",
        "make_unrestricted_model",
        ("MakeUnrestrictedGLMModelV3", "GLMModelV3"),
        make_unrestricted,
        "A linear model with all of its effects.",
    ),
    get("/3/Models/{model_id}/mojo", "fetchMojo", ("ModelsV3", "StreamingSchema"), mojo, "Sends a model as a MOJO."),
    get(
        "/99/Models.mojo/{model_id}",
        "exportMojo",
        ("ModelExportV3", "ModelExportV3"),
        export_mojo,
        "Writes a MOJO to a file of the server.",
    ),
    get(
        "/99/Models/{model_id}/json",
        "exportModelDetails",
        ("ModelExportV3", "ModelExportV3"),
        export_json,
        "Writes what is known of a model to a file of the server, as JSON.",
    ),
    get("/3/Models.java/{model_id}", "fetchPojo", ("ModelsV3", "StreamingSchema"), pojo, "Sends a model as the source of a Java class."),
    get(
        "/3/Models.java/{model_id}/preview",
        "fetchPojoPreview",
        ("ModelsV3", "StreamingSchema"),
        pojo_preview,
        "The beginning of a model's Java source.",
    ),
    get("/3/h2o-genmodel.jar", "genmodel", ("ModelsV3", "StreamingSchema"), scoring_library, "The Java library that scores MOJOs."),
    post("/99/Models.upload.bin/{model_id}", "uploadModel", ("ModelImportV3", "ModelsV3"), upload, "Reads a model from an uploaded file."),
];

pub fn builder_of(app: &App, ask: &Ask, verb: &str) -> Result<&'static dyn Builder, Failure> {
    let name = ask.path_param("algo");
    let row = app.algorithms.iter().find(|a| a.info().name == name).copied();
    row.ok_or_else(|| {
        let known: Vec<&str> = app.algorithms.iter().map(|a| a.info().name).collect();
        Failure::not_found(format!("{verb} {} not found; this version of ochre has the algorithms {}", ask.path, known.join(", ")))
    })
}

fn builders(app: &App, _: &Ask) -> Result<Reply, Failure> {
    let map: ochre_schema::Map = app.algorithms.iter().map(|a| (a.info().name.to_string(), a.describe())).collect();
    Reply::schema(&ModelBuilders { algo: None, model_builders: Value::Object(map) })
}

fn builder(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let b = builder_of(app, ask, "GET")?;
    let map: ochre_schema::Map = [(b.info().name.to_string(), b.describe())].into_iter().collect();
    Reply::schema(&ModelBuilders { algo: Some(b.info().name.into()), model_builders: Value::Object(map) })
}

fn start(app: &App, ask: &Ask, validate_only: bool) -> Result<Reply, Failure> {
    let b = builder_of(app, ask, "POST")?;
    // A builder that wants an uploaded file is told where it lies.
    let mut form = ask.params.clone();
    for f in b.fields().iter().filter(|f| f.type_name == "Key<Frame>") {
        if let Some(file) = ask.param(f.name).and_then(|key| app.node.store.get::<ochre_io::source::RawFile>(key).ok()) {
            form.push((format!("_file_of_{}", f.name), file.path.display().to_string()));
        }
    }
    // A path in an object store is read from a copy.
    let path = b.fields().iter().any(|f| f.name == "path").then(|| ask.param("path")).flatten();
    let copy = path.filter(|p| ochre_io::objects::is_object(p)).map(|p| Place::fetched(app, p)).transpose()?;
    form.extend(copy.as_ref().map(|c| ("_file_of_path".to_string(), c.path().display().to_string())));
    match b.start(&app.node, &form, validate_only) {
        Ok(s) => {
            let mut schema = s.schema;
            if let Some(job) = &s.job {
                schema["job"] = jobs::started(job);
            }
            Reply::json(&schema)
        }
        // Asked only to check, wrong parameters are the answer and no failure.
        Err(Refusal::Notes { schema, .. }) if validate_only => Reply::json(&schema),
        Err(Refusal::Notes { notes, key, schema }) => Err(Failure::Parameters { notes, stem: b.info().stem, key, schema }),
        Err(Refusal::Failed(Error::Invalid(m))) if m.starts_with("Unknown parameter") || m.starts_with("Illegal argument") => {
            Err(Failure::precondition(m))
        }
        Err(Refusal::Failed(e)) => Err(e.into()),
    }
}

fn train(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    start(app, ask, false)
}

fn validate(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    start(app, ask, true)
}

fn model_id(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let b = builder_of(app, ask, "POST")?;
    let id = format!("{}-{:016x}", b.info().name, ochre_core::Rng::fresh_seed());
    Reply::json(&serde_json::json!({"__meta": {"schema_version": 3, "schema_name": "ModelIdV3", "schema_type": "Iced"}, "model_id": id}))
}

pub fn model_at(app: &App, key: &str) -> Result<Arc<Model>, Failure> {
    match app.node.store.get::<Model>(key) {
        Err(Error::KeyNotFound { .. }) => Err(Failure::Missing { key: key.into(), argument: "key" }),
        other => Ok(other?),
    }
}

fn list(app: &App, _: &Ask) -> Result<Reply, Failure> {
    let rows = app.node.store.all::<Model>().into_iter().map(|(key, m)| {
        ModelSynopsis {
            model_id: Some(ModelKey(key)),
            algo: Some(m.info.name.into()),
            algo_full_name: Some(m.info.full_name.into()),
            response_column_name: m.response.as_ref().map(|r| r.name.clone()),
            data_frame: m.training_frame.clone().map(FrameKey),
            timestamp: m.timestamp_ms,
            ..ModelSynopsis::default()
        }
        .to_json()
    });
    Reply::schema(&Models { models: Value::Array(rows.collect()), ..Models::default() })
}

fn fetch(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: Models = ask.decode()?;
    let model = model_at(app, ask.path_param("model_id"))?;
    Reply::schema(&Models { models: Value::Array(vec![model.json()]), ..a })
}

fn remove(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let key = ask.path_param("model_id");
    model_at(app, key)?;
    ochre_model::remove_whole(&app.node.store, key)?;
    Reply::schema(&Models::default())
}

fn remove_all(app: &App, _: &Ask) -> Result<Reply, Failure> {
    for (key, _) in app.node.store.all::<Model>() {
        app.node.store.remove(&key)?;
    }
    Reply::schema(&Models::default())
}

fn missing(kind: &str, key: &str, function: &str) -> Failure {
    Failure::Told {
        status: 404,
        exception: "water.exceptions.H2OKeyNotFoundArgumentException",
        message: format!("Object '{key}' not found in function: {function} for argument: {kind}"),
    }
}

/// Model and frame of a scoring request, and where its result goes.
fn scoring(app: &App, ask: &Ask) -> Result<(ModelMetricsListSchema, Arc<Model>, Arc<ochre_core::Frame>, String, String), Failure> {
    let a: ModelMetricsListSchema = ask.decode()?;
    let (m, f) = (ask.path_param("model").to_string(), ask.path_param("frame").to_string());
    let model = app
        .node
        .store
        .get::<Model>(&m)
        .map_err(|e| if matches!(e, Error::KeyNotFound { .. }) { missing("model", &m, "predict") } else { e.into() })?;
    let frame = app
        .node
        .store
        .frame(&f)
        .map_err(|e| if matches!(e, Error::KeyNotFound { .. }) { missing("frame", &f, "predict") } else { e.into() })?;
    let asked: [(&str, bool); 4] = [
        ("reconstruction_error", a.reconstruction_error),
        ("deep_features_hidden_layer", a.deep_features_hidden_layer > 0 || a.deep_features_hidden_layer_name.is_some()),
        ("project_archetypes", a.project_archetypes),
        ("exemplar_index", a.exemplar_index >= 0 && ask.param("exemplar_index").is_some()),
    ];
    if let Some((name, _)) = asked.iter().find(|x| x.1) {
        return Err(Error::Unsupported(format!("{name} is not supported by this version of ochre")).into());
    }
    let dest = match &a.predictions_frame {
        Some(k) if !k.0.is_empty() => k.0.clone(),
        _ => format!("transformation_{:04x}_{m}_on_{f}", ochre_core::Rng::fresh_seed() as u16),
    };
    Ok((a, model, frame, f, dest))
}

/// What a scoring request wants instead of predictions.
fn insight(app: &App, a: &ModelMetricsListSchema) -> Result<Option<Insight>, Failure> {
    Ok(if a.row_to_tree_assignment {
        Some(Insight::Drawn)
    } else if a.leaf_node_assignment {
        let numbers = a.leaf_node_assignment_type.as_deref().is_some_and(|t| t.eq_ignore_ascii_case("Node_ID"));
        Some(if numbers { Insight::LeafNumbers } else { Insight::LeafPaths })
    } else if a.predict_staged_proba {
        Some(Insight::Staged)
    } else if a.feature_frequencies {
        Some(Insight::Frequencies)
    } else if a.predict_contributions {
        if let Some(key) = a.background_frame.as_ref().filter(|k| !k.0.is_empty()) {
            if a.top_n != 0 || a.bottom_n != 0 {
                return Err(Error::Unsupported(
                    "top_n and bottom_n are not supported together with a background_frame; sort the columns".into(),
                )
                .into());
            }
            let compact = a.predict_contributions_output_format.as_deref().is_some_and(|f| f.eq_ignore_ascii_case("compact"));
            return Ok(Some(Insight::Against(Against {
                frame: app.node.store.frame(&key.0)?,
                output_space: a.output_space,
                per_reference: a.output_per_reference,
                compact,
            })));
        }
        if a.output_space || a.output_per_reference {
            return Err(
                Error::invalid("output_space and output_per_reference tell contributions against a background_frame; name one").into()
            );
        }
        Some(Insight::Contributions(Contributions { top: a.top_n, bottom: a.bottom_n, absolute: a.compare_abs }))
    } else {
        None
    })
}

/// What is measured: as the model was trained with, and what the request asks for.
fn detail(app: &App, a: &ModelMetricsListSchema, model: &Model) -> Result<Detail, Failure> {
    let auc = auc_type(a.auc_type.as_deref())?.unwrap_or(model.detail.auc);
    let custom = match a.custom_metric_func.as_deref().filter(|c| !c.is_empty()) {
        Some(reference) => Some(script(&app.node.store, reference, &METRIC)?),
        None => model.detail.custom.clone(),
    };
    Ok(Detail { auc, custom, ..model.detail.clone() })
}

fn predict_job(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let (a, model, frame, frame_key, dest) = scoring(app, ask)?;
    let wanted = insight(app, &a)?;
    // A metric that the request names is told of where the frame has the answers.
    let known = model.response.as_ref().is_some_and(|r| frame.by_name(&r.name).is_some());
    let named = a.custom_metric_func.as_deref().is_some_and(|c| !c.is_empty());
    let measured = if named && known { Some(detail(app, &a, &model)?) } else { None };
    let node = app.node.clone();
    let key = dest.clone();
    let job = app.node.jobs.start("transformation", AnyKey::Frame(FrameKey(dest)), move |job| {
        let _held = node.store.hold(&[&model.key, &frame_key], &job.key.0);
        let out = match &wanted {
            Some(wanted) => model.insight(&node, &frame, wanted)?,
            None => model.predict(&node, &frame, &mut |w| job.warn(w))?,
        };
        job.check()?;
        node.store.put(&key, out)?;
        if let Some(detail) = measured.clone() {
            keep(&model, model.evaluate_in(&node, &frame_key, &frame, detail)?);
        }
        Ok(())
    })?;
    Reply::json(&jobs::started(&job))
}

fn predict(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let (a, model, frame, frame_key, dest) = scoring(app, ask)?;
    if let Some(wanted) = insight(app, &a)? {
        let out = model.insight(&app.node, &frame, &wanted)?;
        app.node.store.put(&dest, out)?;
        let mut json = ochre_schema::object(&ModelMetricsListSchema {
            model: Some(ModelKey(model.key.clone())),
            frame: Some(FrameKey(frame_key)),
            predictions_frame: Some(FrameKey(dest.clone())),
            ..a
        });
        json["model_metrics"] = serde_json::json!([{"predictions": {"frame_id": FrameKey(dest).to_json()}}]);
        return Reply::json(&json);
    }
    let out = model.predict(&app.node, &frame, &mut |_| {})?;
    app.node.store.put(&dest, out)?;
    // Metrics come along when the frame has the answers.
    let known = model.response.as_ref().is_none_or(|r| frame.by_name(&r.name).is_some());
    let metrics = if known {
        vec![keep(&model, model.evaluate_in(&app.node, &frame_key, &frame, detail(app, &a, &model)?)?).json(Value::Null)]
    } else {
        vec![]
    };
    let shown = FrameKey(dest);
    let mut json = ochre_schema::object(&ModelMetricsListSchema {
        model: Some(ModelKey(model.key.clone())),
        frame: Some(FrameKey(frame_key)),
        predictions_frame: Some(shown.clone()),
        ..a
    });
    json["model_metrics"] = if metrics.is_empty() { serde_json::json!([{}]) } else { Value::Array(metrics) };
    json["model_metrics"][0]["predictions"] = serde_json::json!({"frame_id": shown.to_json()});
    Reply::json(&json)
}

/// Remembers metrics with their model, replacing older ones on the same frame.
fn keep(model: &Model, m: Metrics) -> Arc<Metrics> {
    let m = Arc::new(m);
    let mut all = model.metrics.write();
    all.retain(|old| old.frame != m.frame || old.description.is_some() || std::ptr::eq(&**old, &*m));
    all.push(m.clone());
    m
}

fn score(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let (a, model, frame, frame_key, _) = scoring(app, ask)?;
    if model.category == Category::BinomialUplift {
        let kind = a.auuc_type.as_deref().filter(|t| !t.is_empty()).map(ochre_model::uplift::kind_of);
        let thresholds = a.custom_auuc_thresholds.clone().filter(|t| !t.is_empty());
        let m = keep(&model, model.evaluate_uplift(&app.node, &frame_key, &frame, kind, thresholds)?);
        let mut json = ochre_schema::object(&ModelMetricsListSchema {
            model: Some(ModelKey(model.key.clone())),
            frame: Some(FrameKey(frame_key)),
            ..a
        });
        json["model_metrics"] = Value::Array(vec![m.json(Value::Null)]);
        return Reply::json(&json);
    }
    let m = keep(&model, model.evaluate_in(&app.node, &frame_key, &frame, detail(app, &a, &model)?)?);
    let mut json =
        ochre_schema::object(&ModelMetricsListSchema { model: Some(ModelKey(model.key.clone())), frame: Some(FrameKey(frame_key)), ..a });
    json["model_metrics"] = Value::Array(vec![m.json(Value::Null)]);
    Reply::json(&json)
}

fn metrics_list(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: ModelMetricsListSchema = ask.decode()?;
    let (m, f) = (ask.path_param("model"), ask.path_param("frame"));
    if !m.is_empty() {
        model_at(app, m)?;
    }
    if !f.is_empty() && app.node.store.contains(f) {
        frame_at(app, f)?;
    }
    let mut out = vec![];
    for (key, model) in app.node.store.all::<Model>() {
        for x in model.metrics.read().iter().filter(|x| (m.is_empty() || key == m) && (f.is_empty() || x.frame.as_deref() == Some(f))) {
            out.push(x.json(Value::Null));
        }
    }
    let mut json = ochre_schema::object(&a);
    json["model_metrics"] = Value::Array(out);
    Reply::json(&json)
}

/// Drops what was measured later on; metrics of training, validation and folds belong to the model itself.
fn forget_metrics(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: ModelMetricsListSchema = ask.decode()?;
    let (model, frame) = (model_at(app, ask.path_param("model"))?, ask.path_param("frame"));
    model.metrics.write().retain(|m| m.description.is_some() || m.frame.as_deref() != Some(frame));
    Reply::schema(&a)
}

/// A file for the client to keep; the official one finds its name only between quotes.
fn attachment(name: String, bytes: Vec<u8>) -> Reply {
    Reply {
        status: 200,
        content_type: "application/octet-stream",
        headers: vec![("Content-Disposition", format!("attachment; filename=\"{name}\""))],
        body: crate::route::Body::Bytes(bytes),
    }
}

fn mojo(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let model = model_at(app, ask.path_param("model_id"))?;
    let plain: String = model.key.chars().map(|c| if c.is_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' }).collect();
    Ok(attachment(format!("{plain}.zip"), model.mojo()?))
}

fn pojo(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let model = model_at(app, ask.path_param("model_id"))?;
    Ok(attachment(format!("{}.java", model.pojo_name()), model.pojo()?.into_bytes()))
}

/// Lines of a model's source that are shown.
const PREVIEW_LINES: usize = 1000;

fn pojo_preview(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let source = model_at(app, ask.path_param("model_id"))?.pojo()?;
    let mut shown: String = source.lines().take(PREVIEW_LINES).flat_map(|l| [l, "\n"]).collect();
    let more = source.lines().count().saturating_sub(PREVIEW_LINES);
    if more > 0 {
        shown += &format!("// ... and {more} lines more\n");
    }
    Ok(Reply {
        status: 200,
        content_type: "text/plain; charset=utf-8",
        headers: vec![],
        body: crate::route::Body::Bytes(shown.into_bytes()),
    })
}

fn onnx(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let model = model_at(app, ask.path_param("model_id"))?;
    Ok(attachment(format!("{}.onnx", model.key), model.onnx()?))
}

/// Formats that are ochre's own to offer.
pub const PORTABLE: &[crate::Route] =
    &[get("/3/Models/{model_id}/onnx", "fetchOnnx", ("ModelsV3", "StreamingSchema"), onnx, "Sends a model as an ONNX graph.")];

/// Where an export goes.
fn target(app: &App, a: &ModelExport) -> Result<Place, Failure> {
    let path = a.dir.as_deref().filter(|d| !d.is_empty());
    let place = Place::of(app, path.ok_or_else(|| Error::invalid("dir is required: the path of the file to write"))?)?;
    if !a.force && place.is_taken(|_| false)? {
        return Err(Error::invalid(format!("{} exists already; set force to overwrite it", path.unwrap_or_default())).into());
    }
    Ok(place)
}

/// Writes some bytes where an export goes.
fn write_target(app: &App, a: &ModelExport, bytes: &[u8]) -> Result<(), Failure> {
    let place = target(app, a)?;
    write_whole(place.path(), a.force, |out| out.write_all(bytes).map_err(|e| Error::io(place.path().display(), e)))?;
    Ok(place.finish()?)
}

fn export_mojo(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: ModelExport = ask.decode()?;
    let model = model_at(app, ask.path_param("model_id"))?;
    write_target(app, &a, &model.mojo()?)?;
    Reply::schema(&ModelExport { model_id: Some(ModelKey(model.key.clone())), ..a })
}

fn export_json(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: ModelExport = ask.decode()?;
    let model = model_at(app, ask.path_param("model_id"))?;
    write_target(app, &a, model.json().to_string().as_bytes())?;
    Reply::schema(&ModelExport { model_id: Some(ModelKey(model.key.clone())), ..a })
}

fn scoring_library(app: &App, _: &Ask) -> Result<Reply, Failure> {
    let Some(path) = &app.config.genmodel else {
        return Err(Failure::not_found(
            "this server has no h2o-genmodel.jar to send: start it with --genmodel-jar PATH (the jar is on Maven Central as \
             ai.h2o:h2o-genmodel, and inside the h2o.jar of the Python package h2o); `ochre score` needs none"
                .to_string(),
        ));
    };
    Ok(attachment("h2o-genmodel.jar".into(), std::fs::read(path).map_err(|e| Error::io(path.display(), e))?))
}

pub fn load_from(app: &App, path: &std::path::Path) -> Result<Model, Failure> {
    let file = std::fs::File::open(path).map_err(|e| Error::io(path.display(), e))?;
    let model = Model::load(file, app.algorithms, &path.display().to_string())?;
    // Frames of cross-validation that were written with it lie beside it.
    let dir = path.parent().unwrap_or(std::path::Path::new("."));
    for key in model.belongings.iter().filter(|k| !app.node.store.contains(k)) {
        let file = crate::frames::frame_file(dir, key);
        if file.is_file() {
            app.node.store.put(key, ochre_io::columnar::arrow_frame(&file, &app.node.ledger)?)?;
        }
    }
    Ok(model)
}

/// Writes a model to a file, and what it keeps of cross-validation beside it when asked to.
pub fn save_with_frames(app: &App, model: &Model, path: &std::path::Path, force: bool, frames: bool) -> Result<(), Failure> {
    model.save_to(path, force)?;
    let dir = path.parent().unwrap_or(std::path::Path::new("."));
    for key in model.belongings.iter().filter(|k| frames && app.node.store.type_of(k) == Some("Frame")) {
        ochre_io::export::arrow(app.node.store.frame(key)?.as_ref(), &crate::frames::frame_file(dir, key))?;
    }
    Ok(())
}

fn export(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: ModelExport = ask.decode()?;
    let model = model_at(app, ask.path_param("model_id"))?;
    let place = target(app, &a)?;
    save_with_frames(app, &model, place.path(), a.force, a.export_cross_validation_predictions)?;
    place.finish()?;
    Reply::schema(&ModelExport { model_id: Some(ModelKey(model.key.clone())), ..a })
}

/// Keeps a model that was read and answers it.
fn loaded(app: &App, model: Model) -> Result<Reply, Failure> {
    let key = model.key.clone();
    model.keep(&app.node)?;
    let model = app.node.store.get::<Model>(&key)?;
    Reply::schema(&Models { models: Value::Array(vec![model.json()]), ..Models::default() })
}

fn import(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: ModelImport = ask.decode()?;
    let path = a.dir.filter(|d| !d.is_empty()).ok_or_else(|| Error::invalid("dir is required: the path of the saved model"))?;
    loaded(app, load_from(app, Place::fetched(app, &path)?.path())?)
}

fn download(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let model = model_at(app, ask.path_param("model_id"))?;
    let mut bytes = vec![];
    model.save(&mut bytes)?;
    Ok(attachment(model.key.clone(), bytes))
}

fn upload(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: ModelImport = ask.decode()?;
    let key = a.dir.filter(|d| !d.is_empty()).ok_or_else(|| Error::invalid("dir is required: the key of the uploaded file"))?;
    let raw = app.node.store.get::<ochre_io::source::RawFile>(&key)?;
    let model = load_from(app, &raw.path)?;
    app.node.store.remove(&key)?;
    loaded(app, model)
}

fn regularization_path(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let key = ask.param("model").unwrap_or_default();
    let model = model_at(app, key)?;
    let path = model
        .path()
        .ok_or_else(|| Error::invalid(format!("model {key} is no generalized linear model, so it has no regularization path")))?;
    let statistic = |i: usize| {
        let all: Option<Vec<Vec<f64>>> = path.iter().map(|s| s.statistics.as_ref().map(|v| v[i].clone())).collect();
        all.filter(|v| !v.is_empty())
    };
    let valid: Option<Vec<f64>> = path.iter().map(|s| s.explained_valid).collect();
    Reply::schema(&RegularizationPath {
        model: Some(ModelKey(key.into())),
        lambdas: Some(path.iter().map(|s| s.lambda).collect()),
        alphas: Some(path.iter().map(|s| s.alpha).collect()),
        explained_deviance_train: Some(path.iter().map(|s| s.explained_train).collect()),
        explained_deviance_valid: valid.filter(|v| !v.is_empty()),
        coefficients: Some(path.iter().map(|s| s.beta.clone()).collect()),
        coefficients_std: Some(path.iter().map(|s| s.standardized.clone()).collect()),
        coefficient_names: Some(model.coefficient_names()),
        std_errs: statistic(0),
        z_values: statistic(1),
        p_values: statistic(2),
    })
}

fn make_linear(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: MakeLinear = ask.decode()?;
    let key = a.model.clone().unwrap_or_default();
    let model = model_at(app, &key.0)?;
    let (names, beta) = (a.names.clone().unwrap_or_default(), a.beta.clone().unwrap_or_default());
    let fresh = || format!("{}_{:08x}", key.0, ochre_core::Rng::fresh_seed() as u32);
    let dest = a.dest.map(|d| d.0).filter(|d| !d.is_empty()).unwrap_or_else(fresh);
    let needed: Vec<&str> = model.output["coefficient_names"].as_array().map_or(vec![], |n| n.iter().filter_map(Value::as_str).collect());
    if !needed.is_empty() && needed.len() != names.len() {
        return Err(Error::invalid(format!(
            "model coefficient length {} is different from coefficient provided by user {}. model coefficients needed are: {}",
            needed.len(),
            names.len(),
            needed.join(", ")
        ))
        .into());
    }
    let made = model.with_coefficients(dest.clone(), &names, &beta, f64::from(a.threshold))?;
    made.keep(&app.node)?;
    Reply::json(&app.node.store.get::<Model>(&dest)?.json())
}

fn make_derived(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: MakeDerived = ask.decode()?;
    derived(app, &a.model.unwrap_or_default(), a.dest, a.remove_control_variables_effects, a.remove_offset_effects)
}

fn make_unrestricted(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: MakeUnrestricted = ask.decode()?;
    derived(app, &a.model.unwrap_or_default(), a.dest, false, false)
}

fn derived(app: &App, key: &ochre_schema::ModelKey, dest: Option<String>, controls: bool, offset: bool) -> Result<Reply, Failure> {
    let model = model_at(app, &key.0)?;
    let fresh = || format!("{}_{:08x}", key.0, ochre_core::Rng::fresh_seed() as u32);
    let dest = dest.filter(|d| !d.is_empty()).unwrap_or_else(fresh);
    model.with_effects(&app.node, dest.clone(), controls, offset)?.keep(&app.node)?;
    Reply::json(&app.node.store.get::<Model>(&dest)?.json())
}

/// The average of areas that a request asks for; clients write it in any case.
fn auc_type(text: Option<&str>) -> Result<Option<ochre_model::params::AucType>, Failure> {
    let Some(text) = text.filter(|t| !t.is_empty()) else { return Ok(None) };
    let found = ochre_schema::Wire::from_text(&text.to_ascii_uppercase());
    found.map(Some).map_err(|e| Error::invalid(format!("auc_type: {e}")).into())
}

fn make_metrics(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: MetricsMaker = ask.decode()?;
    let frame = |key: &str| app.node.store.frame(key);
    let (predicted, actual) = (frame(ask.path_param("predictions_frame"))?, frame(ask.path_param("actuals_frame"))?);
    if let Some(key) = a.treatment_frame.as_deref().filter(|k| !k.is_empty()) {
        let kind = ochre_model::uplift::kind_of(a.auuc_type.as_deref().unwrap_or_default());
        let thresholds = a.custom_auuc_thresholds.clone().filter(|t| !t.is_empty());
        let m = ochre_model::driver::uplift_of(&predicted, &actual, &*frame(key)?, kind, a.auuc_nbins, thresholds)?;
        return Reply::schema(&MetricsMaker { model_metrics: m.json(Value::Null), ..a });
    }
    let weights = a.weights_frame.as_deref().filter(|k| !k.is_empty()).map(frame).transpose()?;
    let detail = Detail { auc: auc_type(a.auc_type.as_deref())?.unwrap_or(Detail::default().auc), ..Detail::default() };
    let name = a.distribution.as_deref().filter(|d| !matches!(d.to_ascii_lowercase().as_str(), "bernoulli" | "multinomial"));
    let deviance = Deviance::by_name(name.unwrap_or_default())
        .ok_or_else(|| Error::Unsupported(format!("metrics for the distribution {} are not supported", name.unwrap_or_default())))?;
    let m = ochre_model::driver::metrics_of(&app.node, &predicted, &actual, weights.as_deref(), a.domain.clone(), deviance, detail)?;
    Reply::schema(&MetricsMaker { model_metrics: m.json(Value::Null), ..a })
}
