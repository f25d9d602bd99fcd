//! A single decision tree for two classes, grown on all rows and all columns by the tree workshop.
//!
//! Departure: thresholds are searched on bins that adapt to each node, by the workshop's measure of impurity (variance of
//! the class, which is half of Gini's), where the reference takes ten bins, entropy, and thresholds rounded to two
//! decimals, so that it cannot split a column whose values all lie within 0.01 of each other.

use crate::drf::{Drf, DrfParams};
use ochre_core::Result;
use ochre_model::driver::measure;
use ochre_model::params::CommonParams;
use ochre_model::wire::ModelOutput;
use ochre_model::{Algorithm, AlgorithmInfo, Category, Fitted, Metrics, Run, Shape, adapt};
use ochre_schema::{Notes, Schema};

/// Parameters of the builder.
#[derive(Clone, Debug, Schema)]
#[api(name = "DTParametersV3", superclass = "ModelParametersSchemaV3", iced = "DTParameters")]
pub struct DtParams {
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
            weights_column,
            offset_column,
            fold_column,
            fold_assignment,
            max_categorical_levels,
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
    /// Has no effect: the tree sees all rows and all columns.
    #[api(default = -1, inout, expert, gridable)]
    pub seed: i64,
    /// Most splits between the root and a leaf.
    #[api(default = 20, gridable)]
    pub max_depth: i32,
    /// Fewest rows of a leaf.
    #[api(default = 10, gridable)]
    pub min_rows: i32,
}

/// Output of a trained model.
#[derive(Clone, Debug, Schema)]
#[api(name = "DTModelOutputV3", superclass = "ModelOutputSchemaV3", iced = "DTOutput")]
pub struct DtOutput {
    /// What every model shows.
    #[api(flatten)]
    pub common: ModelOutput,
}

pub struct Dt;

impl Algorithm for Dt {
    const INFO: AlgorithmInfo = AlgorithmInfo {
        name: "dt",
        full_name: "Decision Tree",
        stem: "DT",
        categories: &[Category::Binomial],
        supervised: true,
        builder_schema: "DTV3",
        builder_superclass: "ModelBuilderSchema",
        parameters_type: "DTParameters",
        model_schema: "DTModelV3",
        model_superclass: "ModelSchemaV3",
        model_type: "DTModel",
        output_type: "DTOutput",
    };
    type Params = DtParams;
    type Output = DtOutput;

    fn common(params: &DtParams) -> &CommonParams {
        &params.common
    }
    fn common_mut(params: &mut DtParams) -> &mut CommonParams {
        &mut params.common
    }
    fn seed_mut(params: &mut DtParams) -> Option<&mut i64> {
        Some(&mut params.seed)
    }
    fn output_common(output: &mut DtOutput) -> &mut ModelOutput {
        &mut output.common
    }
    /// A leaf says what most of its rows are.
    fn threshold(_: &Metrics) -> f64 {
        0.5
    }

    fn check(params: &DtParams, shape: &Shape<'_>, notes: &mut Notes) {
        if matches!(shape.category, Some(Category::Regression)) {
            notes.error("_response", "Only categorical response is supported");
        }
        if shape.category.is_some_and(|c| c != Category::Binomial) {
            notes.error("_response", "Only binary response is supported");
        }
        if params.max_depth < 1 {
            notes.error("_max_depth", format!("Max depth has to be at least 1, but is {}", params.max_depth));
        }
        if params.min_rows < 0 {
            notes.error("_min_rows", format!("min_rows must be at least 0, but is {}", params.min_rows));
        }
        params.common.check_encoding(&["AUTO", "Enum"], notes);
    }

    fn fit(run: &mut Run<'_, DtParams>) -> Result<Fitted<DtOutput>> {
        let (params, train) = (&run.params, &run.train);
        let mut forest = DrfParams { sample_rate: 1.0, mtries: -2, ..DrfParams::default() };
        forest.tree.ntrees = 1;
        forest.tree.seed = params.seed;
        forest.tree.max_depth = params.max_depth;
        forest.tree.min_rows = f64::from(params.min_rows.max(1));
        let fitted = run.part::<Drf>(forest, train.clone(), None)?;
        // A forest is measured on rows that its trees did not see; here the tree saw all of them.
        let preds = adapt::score(&fitted.scorer, &train.adapted(&train.predictors())?, None)?;
        let domain = train.labels();
        let detail = params.common.detail();
        let training = measure(train.category, &preds, &train.y, train.w.as_deref(), domain, fitted.deviance, detail)?;
        let mut output = DtOutput { common: fitted.output.common };
        output.common.scoring_history = None;
        Ok(Fitted { output, scorer: fitted.scorer, deviance: fitted.deviance, training, validation: None, order: fitted.order })
    }
}
