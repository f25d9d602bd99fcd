//! Extended isolation forest (Hariri, Carrasco Kind, Brunner 2019): what is far from the rest is set apart by few cuts, here
//! by planes of any direction.
//!
//! Each tree is grown on a few rows, drawn without repetition. A node draws a direction (normal in each coordinate, of which
//! all but `extension_level` + 1 are set to 0) and a point within the span of its rows. Categories count as their codes.
//!
//! Distribution: the rows of a tree are fetched by every node, which then grow the same trees; each measures its own rows.

mod fit;

use ochre_core::Result;
use ochre_model::params::CommonParams;
use ochre_model::wire::ModelOutput;
use ochre_model::{Algorithm, AlgorithmInfo, Category, Fitted, Run, Shape};
use ochre_schema::{Notes, Schema};

/// Parameters of the builder.
#[derive(Clone, Debug, Schema)]
#[api(name = "ExtendedIsolationForestParametersV3", superclass = "ModelParametersSchemaV3", iced = "ExtendedIsolationForestParameters")]
pub struct ExtendedParams {
    /// What every algorithm has.
    #[api(
        flatten,
        omit(
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
            max_categorical_levels,
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
    /// Trees between scorings; 0 for none but the last.
    #[api(secondary)]
    pub score_tree_interval: i32,
    /// Number of trees.
    #[api(default = 100, gridable)]
    pub ntrees: i32,
    /// Rows drawn for each tree.
    #[api(default = 256, gridable)]
    pub sample_size: i32,
    /// Columns beside one that a plane may look at: 0 for cuts along axes, up to the number of columns less one.
    #[api(gridable)]
    pub extension_level: i32,
    /// Seed of the random generator; -1 for a fresh one.
    #[api(default = -1, gridable)]
    pub seed: i64,
    /// Leave out the metrics on the way.
    #[api(default = true)]
    pub disable_training_metrics: bool,
}

/// Output of a trained model.
#[derive(Clone, Debug, Schema)]
#[api(name = "ExtendedIsolationForestModelOutputV3", superclass = "ModelOutputSchemaV3", iced = "ExtendedIsolationForestOutput")]
pub struct ExtendedOutput {
    /// What every model shows.
    #[api(flatten)]
    pub common: ModelOutput,
}

pub struct ExtendedIsolationForest;

impl Algorithm for ExtendedIsolationForest {
    const INFO: AlgorithmInfo = AlgorithmInfo {
        name: "extendedisolationforest",
        full_name: "Extended Isolation Forest",
        stem: "ExtendedIsolationForest",
        categories: &[Category::AnomalyDetection],
        supervised: false,
        builder_schema: "ExtendedIsolationForestV3",
        builder_superclass: "ModelBuilderSchema",
        parameters_type: "ExtendedIsolationForestParameters",
        model_schema: "ExtendedIsolationForestModelV3",
        model_superclass: "ModelSchemaV3",
        model_type: "ExtendedIsolationForestModel",
        output_type: "ExtendedIsolationForestOutput",
    };
    type Params = ExtendedParams;
    type Output = ExtendedOutput;

    fn common(params: &ExtendedParams) -> &CommonParams {
        &params.common
    }
    fn common_mut(params: &mut ExtendedParams) -> &mut CommonParams {
        &mut params.common
    }
    fn seed_mut(params: &mut ExtendedParams) -> Option<&mut i64> {
        Some(&mut params.seed)
    }
    fn output_common(output: &mut ExtendedOutput) -> &mut ModelOutput {
        &mut output.common
    }

    fn check(params: &ExtendedParams, shape: &Shape<'_>, notes: &mut Notes) {
        let mut within = |name: &str, value: i32, low: usize, high: usize| {
            if !(low as i64..=high as i64).contains(&i64::from(value)) {
                let message = format!("Parameter {name} must be in interval [{low}, {high}] but it is {value}");
                notes.error(&format!("_{name}"), message);
            }
        };
        within("ntrees", params.ntrees, 1, 100_000);
        // As many rows as there are would do as well: fewer are taken then.
        within("sample_size", params.sample_size, 2, 100_000);
        within("extension_level", params.extension_level, 0, shape.predictors.saturating_sub(1));
        params.common.check_encoding(&["AUTO", "Enum"], notes);
    }

    fn fit(run: &mut Run<'_, ExtendedParams>) -> Result<Fitted<ExtendedOutput>> {
        fit::fit(run)
    }
}
