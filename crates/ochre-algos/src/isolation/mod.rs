//! Isolation forest (Liu, Ting and Zhou 2008): trees of random splits on small draws of rows; anomalies are the rows that
//! few splits set apart.
//!
//! As in the reference, each tree splits random answers, by the histograms of the tree workshop: up to `nbins_top_level`
//! random cuts for each column at the root, half as many with each level down to one, and of a column drawn at random the
//! one that decreases the squared error most. A leaf's path length counts the splits above the one that it hangs from. With L the
//! sum over the trees, a row's score is `(max - L) / (max - min)` over the extremes of the training rows.

mod fit;
mod output;
mod params;

use ochre_core::Result;
use ochre_model::params::{CommonParams, HistogramType};
use ochre_model::wire::ModelOutput;
use ochre_model::{Algorithm, AlgorithmInfo, Category, Fitted, Run, Shape};
use ochre_schema::Notes;
pub use output::IsolationForestOutput;
pub use params::IsolationForestParams;

pub struct IsolationForest;

impl Algorithm for IsolationForest {
    const INFO: AlgorithmInfo = AlgorithmInfo {
        name: "isolationforest",
        full_name: "Isolation Forest",
        stem: "IsolationForest",
        categories: &[Category::AnomalyDetection],
        supervised: false,
        builder_schema: "IsolationForestV3",
        builder_superclass: "SharedTreeV3",
        parameters_type: "IsolationForestParameters",
        model_schema: "IsolationForestModelV3",
        model_superclass: "SharedTreeModelV3",
        model_type: "IsolationForestModel",
        output_type: "IsolationForestOutput",
    };
    type Params = IsolationForestParams;
    type Output = IsolationForestOutput;

    fn common(params: &IsolationForestParams) -> &CommonParams {
        &params.common
    }
    fn common_mut(params: &mut IsolationForestParams) -> &mut CommonParams {
        &mut params.common
    }
    fn seed_mut(params: &mut IsolationForestParams) -> Option<&mut i64> {
        Some(&mut params.tree.seed)
    }
    fn output_common(output: &mut IsolationForestOutput) -> &mut ModelOutput {
        &mut output.common
    }

    fn check(params: &IsolationForestParams, shape: &Shape<'_>, notes: &mut Notes) {
        if params.contamination != -1.0 && !(params.contamination > 0.0 && params.contamination <= 0.5) {
            notes.error(
                "_contamination",
                format!("Contamination parameter needs to be in range (0, 0.5] or undefined, but is {}", params.contamination),
            );
        }
        if params.sample_rate != -1.0 && !(params.sample_rate > 0.0 && params.sample_rate <= 1.0) {
            notes
                .error("_sample_rate", format!("sample_rate must be in (0, 1], or -1 for sample_size rows, but is {}", params.sample_rate));
        }
        if params.sample_rate == -1.0 && params.sample_size <= 0 {
            notes.error("_sample_size", format!("sample_size must be a positive number of rows, but is {}", params.sample_size));
        }
        if params.mtries == 0 || params.mtries < -2 || params.mtries > shape.predictors as i32 {
            let n = shape.predictors;
            notes.error("_mtries", format!("Computed mtries should be -1 or -2 or in interval [1,{n}] but it is {}", params.mtries));
        }
        if params.tree.histogram_type != HistogramType::Random {
            notes.error("_histogram_type", "an isolation forest draws its cuts at random; leave histogram_type at Random");
        }
        let named = params.validation_response_column.as_deref().is_some_and(|n| !n.is_empty());
        if named && params.common.validation_frame.as_ref().is_none_or(|k| k.0.is_empty()) {
            notes.error("_validation_response_column", "a validation_frame is needed to look for anomalies in");
        }
        params.common.check_encoding(&["AUTO", "Enum"], notes);
    }

    fn fit(run: &mut Run<'_, IsolationForestParams>) -> Result<Fitted<IsolationForestOutput>> {
        fit::fit(run)
    }
}
