//! A trained model in the store.

use crate::driver::{AlgorithmInfo, Category};
use crate::metrics::Metrics;
use ochre_core::Stored;
use ochre_schema::Value;
use ochre_score::Scorer;
use parking_lot::RwLock;
use std::sync::Arc;

/// A column that the model reads, as it was in training.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictor {
    pub name: String,
    pub domain: Option<Arc<Vec<String>>>,
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
    pub gainslift_bins: i32,
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
}

impl Stored for Model {
    const TYPE: &'static str = "Model";
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
        self.response.as_ref().and_then(|r| r.domain.as_deref()).map_or(&[], |d| d)
    }

    /// The predicted class of a row: by the threshold for two classes, otherwise the most probable.
    pub fn label(&self, p: &[f64]) -> f64 {
        if p.len() == 2 { f64::from(p[1] >= self.threshold) } else { crate::metrics::argmax(p) as f64 }
    }

    /// Names of the columns of class probabilities. Labels that are numbers get a letter, or they would not be names.
    pub fn probability_names(&self) -> Vec<String> {
        let named = |c: &String| if c.parse::<f64>().is_ok() { format!("p{c}") } else { c.clone() };
        self.classes().iter().take(self.scorer.width()).map(named).collect()
    }

    pub fn file(&self) -> ochre_score::ModelFile {
        let column = |p: &Predictor| ochre_score::Column { name: p.name.clone(), domain: p.domain.as_ref().map(|d| d.to_vec()) };
        ochre_score::ModelFile {
            format: "ochre-model".into(),
            version: 1,
            algorithm: self.info.name.into(),
            predictors: self.predictors.iter().map(column).collect(),
            response: self.response.as_ref().map(column),
            offset: self.offset_column.clone(),
            threshold: self.threshold,
            scorer: self.scorer.clone(),
        }
    }
}
