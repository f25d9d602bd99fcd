//! Models that were trained elsewhere, imported from a MOJO. They score, explain and are measured like those trained here.

use ochre_core::{Error, Job, Node, Result};
use ochre_model::params::CommonParams;
use ochre_model::wire::ModelOutput;
use ochre_model::{
    Algorithm, AlgorithmInfo, Builder, Category, Deviance, Fitted, Model, Predictor, PublishedSchema, Refusal, Row, Run, Shape, Started,
};
use ochre_schema::{AnyKey, FieldDecl, FrameKey, Map, ModelKey, Notes, Schema, Table, Value, Wire};
use ochre_score::mojo::{self, Mojo};
use std::sync::Arc;

/// Parameters of the builder.
#[derive(Clone, Debug, Schema)]
#[api(name = "GenericParametersV3", superclass = "ModelParametersSchemaV3", iced = "GenericModelParameters")]
pub struct GenericParams {
    /// What every algorithm has.
    #[api(
        flatten,
        omit(
            training_frame,
            validation_frame,
            nfolds,
            keep_cross_validation_models,
            keep_cross_validation_predictions,
            keep_cross_validation_fold_assignment,
            parallelize_cross_validation,
            distribution,
            tweedie_power,
            quantile_alpha,
            huber_alpha,
            response_column,
            weights_column,
            offset_column,
            fold_column,
            fold_assignment,
            categorical_encoding,
            max_categorical_levels,
            ignored_columns,
            ignore_const_cols,
            score_each_iteration,
            checkpoint,
            stopping_rounds,
            max_runtime_secs,
            stopping_metric,
            stopping_tolerance,
            gainslift_bins,
            custom_metric_func,
            custom_distribution_func,
            export_checkpoints_dir,
            auc_type
        )
    )]
    pub common: CommonParams,
    /// Key of an uploaded MOJO.
    #[api(inout)]
    pub model_key: Option<FrameKey>,
    /// Path of a MOJO on the server's file system.
    pub path: Option<String>,
}

/// Output of an imported model.
#[derive(Clone, Debug, Schema)]
#[api(name = "GenericModelOutputV3", superclass = "ModelOutputSchemaV3", iced = "GenericModelOutput")]
pub struct GenericOutput {
    /// What every model shows.
    #[api(flatten)]
    pub common: ModelOutput,
    /// Variable importances.
    #[api(output, secondary)]
    pub variable_importances: Option<Table>,
    /// Short name of the algorithm that trained the model.
    #[api(output, secondary)]
    pub original_model_identifier: Option<String>,
    /// Full name of the algorithm that trained the model.
    #[api(output, secondary)]
    pub original_model_full_name: Option<String>,
}

struct Generic;

impl Algorithm for Generic {
    const INFO: AlgorithmInfo = AlgorithmInfo {
        name: "generic",
        full_name: "Import MOJO Model",
        stem: "Generic",
        categories: &Category::ALL,
        supervised: false,
        builder_schema: "GenericV3",
        builder_superclass: "ModelBuilderSchema",
        parameters_type: "GenericModelParameters",
        model_schema: "GenericModelV3",
        model_superclass: "ModelSchemaV3",
        model_type: "GenericModel",
        output_type: "GenericModelOutput",
    };
    type Params = GenericParams;
    type Output = GenericOutput;

    fn common(params: &GenericParams) -> &CommonParams {
        &params.common
    }
    fn common_mut(params: &mut GenericParams) -> &mut CommonParams {
        &mut params.common
    }
    fn seed_mut(_: &mut GenericParams) -> Option<&mut i64> {
        None
    }
    fn output_common(output: &mut GenericOutput) -> &mut ModelOutput {
        &mut output.common
    }
    fn check(_: &GenericParams, _: &Shape<'_>, _: &mut Notes) {}
    fn fit(_: &mut Run<'_, GenericParams>) -> Result<Fitted<GenericOutput>> {
        Err(Error::invalid("a MOJO is imported, not trained on a frame"))
    }
}

/// The row of the algorithm table.
pub struct Import(Row<Generic>);

impl Import {
    pub const fn new() -> Self {
        Import(Row::new())
    }

    /// Reads the file that a form names, and makes it the model that the form names.
    fn read(&self, form: &[(String, String)]) -> std::result::Result<(String, Model), Refusal> {
        let (given, _) = self.0.decoded(form)?;
        let text = |name: &str| given.get(name).and_then(Value::as_str).filter(|t| !t.is_empty()).map(str::to_string);
        // An uploaded file stands behind a key, one of an object store behind its address; the floor above says where.
        let uploaded = form.iter().find(|(n, _)| n == "_file_of_model_key" || n == "_file_of_path").map(|(_, v)| v.clone());
        let key_of = |v: Option<&Value>| v.and_then(|v| v["name"].as_str()).filter(|t| !t.is_empty()).map(str::to_string);
        let id = key_of(given.get("model_id"))
            .unwrap_or_else(|| format!("Generic_model_ochre_{}_{:04x}", ochre_core::shared_now_ms(), ochre_core::Rng::fresh_seed() as u16));
        let Some(path) = uploaded.or_else(|| text("path")) else {
            let mut notes = Notes::default();
            match key_of(given.get("model_key")) {
                Some(k) => notes.error("_model_key", format!("there is no uploaded file with the key '{k}'")),
                None => notes.error("_path", "name a MOJO: its path on the server, or the model_key of an uploaded file"),
            }
            return Err(Refusal::Notes { notes, key: id, schema: Box::new(self.describe()) });
        };
        let plain = path.strip_prefix("file://").unwrap_or(&path);
        let open = || -> Result<Mojo> {
            let file = std::fs::File::open(plain).map_err(|e| Error::io(plain, e))?;
            mojo::read(std::io::BufReader::new(file)).map_err(|e| Error::invalid(format!("{plain} cannot be imported: {e}")))
        };
        let mojo = open()?;
        let mut parameters = self.describe()["parameters"].take();
        for p in parameters.as_array_mut().into_iter().flatten() {
            let value = p["name"].as_str().and_then(|n| given.get(n)).cloned().unwrap_or_default();
            (p["actual_value"], p["input_value"]) = (value.clone(), value);
        }
        Ok((id.clone(), model(id, mojo, parameters, plain)?))
    }
}

impl Default for Import {
    fn default() -> Self {
        Self::new()
    }
}

/// A model of the server from a MOJO. `path` is where it came from, for messages.
pub fn model(key: String, mojo: Mojo, parameters: Value, path: &str) -> Result<Model> {
    let Mojo { file, about, proof } = mojo;
    let refuse = |why: String| Error::invalid(format!("{path} cannot be imported: {why}"));
    if let Some(proof) = proof {
        let proof = ochre_score::proof::Proof::from_arrow(&proof, &file).map_err(refuse)?;
        proof.check(&file).map_err(|e| refuse(format!("its scores are not those that it was exported with: {e}")))?;
    }
    let category = Category::ALL.into_iter().find(|c| c.name() == about.category);
    let category = category.ok_or_else(|| refuse(format!("models of the kind {} are not known here", about.category)))?;
    let predictor = |c: ochre_score::Column| Predictor { name: c.name, domain: c.domain.map(Arc::new), encoding: None };
    let details: Value = about.details.as_deref().and_then(|d| serde_json::from_str(d).ok()).unwrap_or_default();
    let now = ochre_core::shared_now_ms();
    let shown: Vec<&ochre_score::Column> = file.predictors.iter().chain(&file.response).collect();
    let mut output = ochre_schema::object(&GenericOutput {
        common: ModelOutput {
            names: Some(shown.iter().map(|c| c.name.clone()).collect()),
            domains: Some(shown.iter().map(|c| c.domain.clone()).collect()),
            model_category: Some(about.category.clone()),
            default_threshold: file.threshold,
            end_time: now,
            ..ModelOutput::default()
        },
        original_model_identifier: Some(about.algorithm.clone()),
        original_model_full_name: Some(about.full_name.clone()),
        ..GenericOutput::default()
    });
    let told = ["model_summary", "scoring_history", "training_metrics", "validation_metrics", "cross_validation_metrics"];
    for name in told.into_iter().chain(["cross_validation_metrics_summary", "variable_importances"]) {
        if let Some(v) = details["output"].get(name) {
            output[name] = v.clone();
        }
    }
    // What metrics of the original say, they say of this model now.
    for name in &told[2..] {
        if output[*name].is_object() {
            output[*name]["model"] = ModelKey(key.clone()).to_json();
        }
    }
    Ok(Model {
        key,
        info: const { &Generic::INFO },
        category,
        training_frame: None,
        predictors: file.predictors.into_iter().map(predictor).collect(),
        response: file.response.map(predictor),
        weights_column: None,
        offset_column: file.offset,
        priors: about.priors,
        threshold: file.threshold,
        deviance: Deviance::by_name(&about.family).unwrap_or(Deviance::Gaussian),
        detail: ochre_model::metrics::Detail::default(),
        scorer: file.scorer,
        parameters: parameters.as_array().cloned().unwrap_or_default(),
        output,
        timestamp_ms: now,
        belongings: vec![],
        metrics: Default::default(),
        held: None,
    })
}

impl Builder for Import {
    fn info(&self) -> &'static AlgorithmInfo {
        self.0.info()
    }
    fn fields(&self) -> Vec<FieldDecl> {
        self.0.fields()
    }
    fn published(&self) -> Vec<PublishedSchema> {
        self.0.published()
    }
    fn describe(&self) -> Value {
        self.0.describe()
    }

    fn start(&self, node: &Arc<Node>, form: &[(String, String)], validate_only: bool) -> std::result::Result<Started, Refusal> {
        let (key, model) = self.read(form)?;
        let (schema, notes) = (self.describe(), Notes::default());
        if validate_only {
            return Ok(Started { job: None, model: key, schema, notes });
        }
        let (node2, made) = (node.clone(), parking_lot::Mutex::new(Some(model)));
        let job = node.jobs.start("Generic", AnyKey::Model(ModelKey(key.clone())), move |_| match made.lock().take() {
            Some(model) => model.keep(&node2),
            None => Ok(()),
        })?;
        Ok(Started { job: Some(job), model: key, schema, notes })
    }

    fn train(&self, node: &Arc<Node>, _: &Arc<Job>, form: &[(String, String)]) -> std::result::Result<(), Refusal> {
        let (_, model) = self.read(form)?;
        model.keep(node).map_err(Refusal::Failed)
    }

    fn decoded(&self, form: &[(String, String)]) -> Result<(Map, Map)> {
        self.0.decoded(form)
    }
}
