//! A trained model in the store.

use crate::driver::{AlgorithmInfo, Category};
use crate::metrics::Metrics;
use ochre_core::{Error, Node, Reservation, Result, Store, Stored};
use ochre_schema::{Cell, Table, Value, Wire};
use ochre_score::Scorer;
use parking_lot::RwLock;
use std::sync::Arc;

/// A column that the model reads, as it was in training.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictor {
    pub name: String,
    pub domain: Option<Arc<Vec<String>>>,
    /// How it comes from another column, when it does.
    pub encoding: Option<Box<crate::encoding::Encoding>>,
}

pub struct Model {
    pub key: String,
    pub info: &'static AlgorithmInfo,
    pub category: Category,
    pub training_frame: Option<String>,
    pub predictors: Vec<Predictor>,
    pub response: Option<Predictor>,
    pub weights_column: Option<String>,
    pub offset_column: Option<String>,
    /// Share of each class in the training data.
    pub priors: Vec<f64>,
    /// Probability from which on a row counts as the second class.
    pub threshold: f64,
    /// How the deviance of a prediction is computed, for metrics on other frames.
    pub deviance: crate::metrics::Deviance,
    pub detail: crate::metrics::Detail,
    pub scorer: Scorer,
    /// The declared parameters as the API lists them.
    pub parameters: Vec<Value>,
    /// The declared output, without metrics.
    pub output: Value,
    pub timestamp_ms: i64,
    /// Keys of what was made along with the model and goes with it: models and frames of cross-validation.
    pub belongings: Vec<String>,
    /// Metrics by frame key, newest last; training and validation come first.
    pub metrics: RwLock<Vec<Arc<Metrics>>>,
    /// Its memory, once it is in the store.
    pub held: Option<Reservation>,
}

/// What a model takes beside its scorer and output: metrics with their tables.
const METRICS_BYTES: usize = 1 << 16;

/// Counts what is written to it.
struct Counted(usize);

impl std::io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn written(value: &impl serde::Serialize) -> usize {
    let mut counted = Counted(0);
    serde_json::to_writer(&mut counted, value).map_or(0, |()| counted.0)
}

impl Model {
    /// Memory that the model takes, to within a small factor: of trees their nodes; of anything else its text.
    pub fn bytes(&self) -> u64 {
        let scorer = match &self.scorer {
            Scorer::Trees(t) => t.trees.iter().flatten().map(ochre_score::Tree::bytes).sum(),
            other => written(other),
        };
        (METRICS_BYTES + scorer + 2 * written(&self.output)) as u64
    }

    /// Asks the ledger for the model's memory, which it gives back when it goes.
    pub fn hold(&mut self, node: &Node) -> Result<()> {
        self.held = Some(node.ledger.reserve(&format!("model {}", self.key), self.bytes())?);
        Ok(())
    }

    /// Puts the model into the store.
    pub fn keep(mut self, node: &Node) -> Result<()> {
        self.hold(node)?;
        let key = self.key.clone();
        node.store.put(&key, self).map(|_| ())
    }
}

impl Stored for Model {
    const TYPE: &'static str = "Model";
}

/// Removes what a key names; with a model goes what was made along with it, such as models of folds and their
/// predictions. Was there anything?
pub fn remove_whole(store: &Store, key: &str) -> Result<bool> {
    let belongings = store.get::<Model>(key).map_or(vec![], |m| m.belongings.clone());
    let there = store.remove(key)?;
    for key in belongings.iter().filter(|k| store.contains(k)) {
        remove_whole(store, key)?;
    }
    Ok(there)
}

impl Model {
    pub fn checksum(&self) -> i64 {
        let mut h: u64 = 0xcbf29ce484222325;
        for b in self.output.to_string().bytes() {
            h = (h ^ u64::from(b)).wrapping_mul(0x100000001b3);
        }
        h as i64
    }

    /// Class labels; empty for regressions and clusterings.
    pub fn classes(&self) -> &[String] {
        if self.category == Category::Regression {
            return &[];
        }
        self.response.as_ref().and_then(|r| r.domain.as_deref()).map_or(&[], |d| d)
    }

    /// The path of penalties of a generalized linear model.
    pub fn path(&self) -> Option<&[ochre_score::PathStep]> {
        match &self.scorer {
            Scorer::Glm(g) => Some(&g.path),
            _ => None,
        }
    }

    /// Names of a linear model's coefficients, the intercept last; with several classes those of one class after the other.
    pub fn coefficient_names(&self) -> Vec<String> {
        let names: Vec<String> = self.output["coefficient_names"]
            .as_array()
            .map_or(vec![], |v| v.iter().filter_map(Value::as_str).map(str::to_string).collect());
        match &self.scorer {
            Scorer::Glm(g) if g.beta.len() > 1 => {
                self.classes().iter().flat_map(|c| names.iter().map(move |n| format!("{n}_{c}"))).collect()
            }
            _ => names,
        }
    }

    /// The same linear model with coefficients given by name; those that are not named are 0.
    pub fn with_coefficients(&self, key: String, names: &[String], beta: &[f64], threshold: f64) -> Result<Model> {
        let Scorer::Glm(scorer) = &self.scorer else {
            return Err(Error::invalid(format!("model {} is no generalized linear model; its coefficients cannot be replaced", self.key)));
        };
        if names.len() != beta.len() {
            return Err(Error::invalid(format!("{} names were given for {} coefficients", names.len(), beta.len())));
        }
        let known = self.coefficient_names();
        let mut flat = vec![0.0; known.len()];
        for (name, value) in names.iter().zip(beta) {
            let place = known.iter().position(|n| n == name);
            let place = place.ok_or_else(|| Error::invalid(format!("model '{}' has no coefficient '{name}'", self.key)))?;
            flat[place] = *value;
        }
        let per_class = known.len() / scorer.beta.len();
        let mut scorer = scorer.clone();
        scorer.beta = flat.chunks(per_class).map(<[f64]>::to_vec).collect();
        scorer.path.clear();
        let mut output = self.output.clone();
        for name in ["training_metrics", "validation_metrics", "cross_validation_metrics"] {
            output[name] = Value::Null;
        }
        output["default_threshold"] = Value::from(threshold);
        if let [beta] = &scorer.beta[..] {
            let cells = || std::iter::once(beta[beta.len() - 1]).chain(beta[..beta.len() - 1].iter().copied()).map(Cell::Double).collect();
            let labels = std::iter::once("Intercept".to_string()).chain(known[..known.len() - 1].iter().cloned());
            let table = Table::new("Coefficients", "glm coefficients")
                .named("names", "names", "string", "%s", labels.map(Cell::Text).collect())
                .named("coefficients", "Coefficients", "double", "%5f", cells())
                .named("standardized_coefficients", "Standardized Coefficients", "double", "%5f", cells());
            output["coefficients_table"] = table.to_json();
        }
        let scorer = Scorer::Glm(scorer);
        Ok(Model { threshold, scorer, output, belongings: vec![], metrics: RwLock::new(vec![]), ..self.copy(key) })
    }

    /// The same linear model with other effects in its predictions: those of the control variables and of the offset may be
    /// taken out, as far as the model was trained to.
    pub fn with_effects(&self, node: &Node, key: String, without_controls: bool, without_offset: bool) -> Result<Model> {
        let Scorer::Glm(scorer) = &self.scorer else {
            return Err(Error::invalid(format!("model {} is no generalized linear model; effects cannot be taken out of it", self.key)));
        };
        if scorer.silent.is_empty() && !scorer.without_offset {
            return Err(Error::invalid(format!("model {} was trained with neither control_variables nor remove_offset_effects", self.key)));
        }
        let mut scorer = scorer.clone();
        if !without_controls {
            scorer.silent.clear();
        }
        scorer.without_offset &= without_offset;
        let mut made = Model { scorer: Scorer::Glm(scorer), belongings: vec![], ..self.copy(key) };
        for name in ["training_metrics", "validation_metrics", "cross_validation_metrics"] {
            made.output[name] = Value::Null;
        }
        let training = self.training_frame.as_deref().and_then(|key| Some((key, node.store.frame(key).ok()?)));
        if let Some((frame_key, frame)) = training {
            let m = made.evaluate(node, frame_key, &frame)?;
            if let crate::metrics::Kind::Binomial(b) = &m.kind
                && let Some(best) = b.best
            {
                made.threshold = b.curve.thresholds[best];
                made.output["default_threshold"] = Value::from(made.threshold);
            }
            made.output["training_metrics"] = m.json(Value::Null);
            made.metrics = RwLock::new(vec![m.into()]);
        }
        Ok(made)
    }

    /// The same model under another key.
    pub fn copy(&self, key: String) -> Model {
        Model {
            key,
            info: self.info,
            category: self.category,
            training_frame: self.training_frame.clone(),
            predictors: self.predictors.clone(),
            response: self.response.clone(),
            weights_column: self.weights_column.clone(),
            offset_column: self.offset_column.clone(),
            priors: self.priors.clone(),
            threshold: self.threshold,
            deviance: self.deviance,
            detail: self.detail.clone(),
            scorer: self.scorer.clone(),
            parameters: self.parameters.clone(),
            output: self.output.clone(),
            timestamp_ms: self.timestamp_ms,
            belongings: self.belongings.clone(),
            metrics: RwLock::new(self.metrics.read().clone()),
            held: None,
        }
    }

    /// The same model, which tells probabilities calibrated by another: isotonic regression of the answers on its probability
    /// of the second class.
    pub fn with_calibration(&self, by: &Model) -> Result<Model> {
        let Scorer::Isotonic(curve) = &by.scorer else {
            return Err(Error::invalid(format!(
                "model {} ({}) is no isotonic regression; only these calibrate",
                by.key, by.info.full_name
            )));
        };
        let Scorer::Trees(trees) = &self.scorer else {
            return Err(Error::invalid(format!(
                "model {} ({}) is not made of trees; only these are calibrated",
                self.key, self.info.full_name
            )));
        };
        if self.category != Category::Binomial {
            return Err(Error::invalid(format!("model {} does not tell two classes apart, so there is nothing to calibrate", self.key)));
        }
        let mut trees = trees.clone();
        trees.calibration = Some(ochre_score::Calibration::Isotonic(curve.clone()));
        Ok(Model { scorer: Scorer::Trees(trees), ..self.copy(self.key.clone()) })
    }

    /// The same model with another probability from which on a row counts as the second class.
    pub fn with_threshold(&self, threshold: f64) -> Model {
        let mut output = self.output.clone();
        output["default_threshold"] = Value::from(threshold);
        Model { threshold, output, ..self.copy(self.key.clone()) }
    }

    /// The predicted class of a row: by the threshold for two classes, otherwise the most probable.
    pub fn label(&self, p: &[f64]) -> f64 {
        // What has no probabilities is of no class.
        if p.iter().all(|p| p.is_nan()) {
            return f64::NAN;
        }
        if p.len() == 2 { f64::from(p[1] >= self.threshold) } else { crate::metrics::argmax(p) as f64 }
    }

    /// Names of the columns of class probabilities. Labels that are numbers get a letter, or they would not be names.
    pub fn probability_names(&self) -> Vec<String> {
        let named = |c: &String| if c.parse::<f64>().is_ok() { format!("p{c}") } else { c.clone() };
        self.classes().iter().take(self.scorer.width()).map(named).collect()
    }

    /// The value of a declared parameter, as text.
    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|p| p["name"] == name).and_then(|p| p["actual_value"].as_str())
    }

    /// What a portable file says of the model besides how to score.
    pub fn about(&self) -> ochre_score::mojo::About {
        let auto = match self.category {
            Category::Binomial => "bernoulli",
            Category::Multinomial => "multinomial",
            _ => self.deviance.name(),
        };
        let family = match &self.scorer {
            Scorer::Glm(_) if self.category == Category::Binomial => {
                self.parameter("family").filter(|f| *f != "AUTO").unwrap_or("binomial")
            }
            Scorer::Glm(_) => self.parameter("family").filter(|f| *f != "AUTO").unwrap_or(auto),
            _ => self.parameter("distribution").filter(|f| *f != "AUTO").unwrap_or(auto),
        };
        // An imported model goes by the name of what trained it.
        let original = |name: &str, own: &str| self.output[name].as_str().unwrap_or(own).to_string();
        // The MOJO format knows a single tree as a forest of one.
        let (name, full_name) = match self.info.name {
            "dt" => ("drf", "Distributed Random Forest"),
            name => (name, self.info.full_name),
        };
        ochre_score::mojo::About {
            algorithm: original("original_model_identifier", name),
            full_name: original("original_model_full_name", full_name),
            category: self.category.name().into(),
            supervised: self.response.is_some(),
            uuid: self.checksum().to_string(),
            priors: self.priors.clone(),
            family: family.into(),
            timestamp: ochre_core::time::stamp(self.timestamp_ms).replace(' ', "T") + "Z",
            details: Some(self.json().to_string()),
        }
    }

    /// Can the model be told as a file? Encodings of categories are told of trees alone.
    pub fn is_portable(&self) -> bool {
        self.predictors.iter().all(|p| p.encoding.is_none()) || (matches!(self.scorer, Scorer::Trees(_)) && self.info.name != "xgboost")
    }

    fn not_exported(&self, why: String) -> Error {
        Error::invalid(format!("model {} cannot be exported: {why}", self.key))
    }

    /// The model as a MOJO whose scores have been proven equal to the server's.
    pub fn mojo(&self) -> Result<Vec<u8>> {
        ochre_score::proof::proven_mojo(&self.file()?, &self.about()).map_err(|e| self.not_exported(e))
    }

    /// The name of the class that the model's Java source is.
    pub fn pojo_name(&self) -> String {
        ochre_score::pojo::class_name(&self.key)
    }

    /// The model as the source of a Java class.
    pub fn pojo(&self) -> Result<String> {
        ochre_score::pojo::write(&self.file()?, &self.about(), &self.key).map_err(|e| self.not_exported(e))
    }

    /// The model as an ONNX graph.
    pub fn onnx(&self) -> Result<Vec<u8>> {
        ochre_score::onnx::write(&self.file()?, &self.about()).map_err(|e| self.not_exported(e))
    }

    /// The model with the columns that it is given; what encodes their categories becomes a part of the scorer.
    pub fn file(&self) -> Result<ochre_score::ModelFile> {
        let column = |p: &Predictor| ochre_score::Column { name: p.name.clone(), domain: p.domain.as_ref().map(|d| d.to_vec()) };
        let file = ochre_score::ModelFile {
            predictors: self.predictors.iter().map(column).collect(),
            response: self.response.as_ref().map(column),
            offset: self.offset_column.clone(),
            threshold: self.threshold,
            scorer: self.scorer.clone(),
        };
        let Some(encoding) = self.predictors.iter().find_map(|p| p.encoding.as_ref()) else { return Ok(file) };
        if !self.is_portable() {
            return Err(Error::Unsupported(format!(
                "model {} encodes the categories of '{}', which files of {} models do not tell in this version of ochre: train with \
                 categorical_encoding = AUTO, or save the model instead",
                self.key, encoding.column, self.info.full_name
            )));
        }
        let (mut columns, mut inputs): (Vec<ochre_score::Column>, _) = (vec![], vec![]);
        for p in &self.predictors {
            let given = match &p.encoding {
                None => column(p),
                Some(e) => ochre_score::Column { name: e.column.clone(), domain: Some(e.domain.to_vec()) },
            };
            let place = columns.iter().position(|c| c.name == given.name).unwrap_or(columns.len());
            if place == columns.len() {
                columns.push(given);
            }
            let levels = p.encoding.as_ref().map(|e| ochre_score::recode::Levels { values: e.values.clone(), missing: e.missing });
            inputs.push(ochre_score::recode::Input { column: place, levels });
        }
        ochre_score::recode::over_columns(&file, &inputs, columns).map_err(|e| self.not_exported(e))
    }
}
