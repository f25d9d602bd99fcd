//! Uplift random forest (Rzepakowski and Jaroszewicz 2012): what a treatment adds to the probability of a response.
//!
//! A split is good when it drives apart, on each of its sides, the response rates of the treated and of the others: the
//! weighted divergence of the sides less that of the node, over a norm that punishes splits of uneven treatment. Rates are
//! smoothed by one row of each kind. Leaves hold both rates; a forest's are the means over its trees.
//!
//! Distribution: the rows are fetched whole on every node, which then grow the same trees.

mod fit;

use ochre_core::{Error, Node, Result};
use ochre_model::params::{CommonParams, Distribution, HistogramType, TreeParams};
use ochre_model::wire::ModelOutput;
use ochre_model::{Algorithm, AlgorithmInfo, Category, Fitted, Run, Shape};
use ochre_schema::{Notes, Schema, Table};

/// Parameters of the builder.
#[derive(Clone, Debug, Schema)]
#[api(name = "UpliftDRFParametersV3", superclass = "SharedTreeParametersV3", iced = "UpliftDRFParameters")]
pub struct UpliftParams {
    /// What every algorithm has.
    #[api(
        flatten,
        omit(
            nfolds,
            keep_cross_validation_models,
            keep_cross_validation_predictions,
            keep_cross_validation_fold_assignment,
            parallelize_cross_validation,
            tweedie_power,
            quantile_alpha,
            huber_alpha,
            weights_column,
            offset_column,
            fold_column,
            fold_assignment,
            max_categorical_levels,
            checkpoint,
            gainslift_bins,
            custom_distribution_func,
            export_checkpoints_dir,
            auc_type
        )
    )]
    pub common: CommonParams,
    /// What tree ensembles share.
    #[api(
        flatten,
        default(max_depth = 20, min_rows = 1.0),
        omit(
            balance_classes,
            class_sampling_factors,
            max_after_balance_size,
            max_confusion_matrix_size,
            r2_stopping,
            build_tree_one_node,
            min_split_improvement,
            calibrate_model,
            calibration_frame,
            calibration_method,
            in_training_checkpoints_dir,
            in_training_checkpoints_tree_interval
        )
    )]
    pub tree: TreeParams,
    /// Columns drawn for each split; -1 for the square root of their number, -2 for all.
    #[api(default = -2, gridable)]
    pub mtries: i32,
    /// Share of the rows drawn for each tree.
    #[api(default = 0.632, gridable)]
    pub sample_rate: f64,
    /// Categorical column with two levels: the second was treated.
    #[api(default = Some("treatment".to_string()), secondary, required, member_of("training_frame", "validation_frame"), exclusive("ignored_columns", "response_column", "weights_column"))]
    pub treatment_column: Option<String>,
    /// Divergence of the two groups that splits look for.
    #[api(ty = "enum", choice = "TreeUpliftUpliftDRFModelUpliftDRFParametersUpliftMetric", default = Some("AUTO".to_string()), secondary, gridable, values("AUTO", "KL", "Euclidean", "ChiSquared"))]
    pub uplift_metric: Option<String>,
    /// Curve that the area is taken of.
    #[api(ty = "enum", choice = "TreeUpliftUpliftDRFModelUpliftDRFParametersAuucType", default = Some("AUTO".to_string()), secondary, values("AUTO", "qini", "lift", "gain"))]
    pub auuc_type: Option<String>,
    /// Number of thresholds of the curves; -1 for 1000.
    #[api(default = -1, secondary)]
    pub auuc_nbins: i32,
}

/// Output of a trained model.
#[derive(Clone, Debug, Schema)]
#[api(name = "UpliftDRFModelOutputV3", superclass = "SharedTreeModelOutputV3", iced = "UpliftDRFOutput")]
pub struct UpliftOutput {
    /// What every model shows.
    #[api(flatten)]
    pub common: ModelOutput,
    /// Predictions at which the curves are cut.
    pub default_auuc_thresholds: Option<Vec<f64>>,
    /// Variable importances.
    #[api(output, secondary, inherits = "SharedTreeModelOutputV3")]
    pub variable_importances: Option<Table>,
    /// Init f.
    #[api(output, inherits = "SharedTreeModelOutputV3")]
    pub init_f: f64,
}

pub struct UpliftDrf;

impl Algorithm for UpliftDrf {
    const INFO: AlgorithmInfo = AlgorithmInfo {
        name: "upliftdrf",
        full_name: "Uplift Distributed Random Forest",
        stem: "UpliftDRF",
        categories: &[Category::BinomialUplift],
        supervised: true,
        builder_schema: "UpliftDRFV3",
        builder_superclass: "SharedTreeV3",
        parameters_type: "UpliftDRFParameters",
        model_schema: "UpliftDRFModelV3",
        model_superclass: "SharedTreeModelV3",
        model_type: "UpliftDRFModel",
        output_type: "UpliftDRFOutput",
    };
    type Params = UpliftParams;
    type Output = UpliftOutput;

    fn common(params: &UpliftParams) -> &CommonParams {
        &params.common
    }
    fn common_mut(params: &mut UpliftParams) -> &mut CommonParams {
        &mut params.common
    }
    fn seed_mut(params: &mut UpliftParams) -> Option<&mut i64> {
        Some(&mut params.tree.seed)
    }
    fn output_common(output: &mut UpliftOutput) -> &mut ModelOutput {
        &mut output.common
    }
    fn wants_classes(_: &UpliftParams) -> Option<bool> {
        Some(true)
    }

    fn check_frames(params: &UpliftParams, node: &Node, _: &Shape<'_>, notes: &mut Notes) {
        // A column that is not there is told with all others.
        if let Err(e @ Error::Invalid(_)) = fit::treatment(node, params) {
            notes.error("_treatment_column", e.to_string());
        }
    }

    fn check(params: &UpliftParams, shape: &Shape<'_>, notes: &mut Notes) {
        if shape.category.is_some_and(|c| c != Category::Binomial)
            || !matches!(params.common.distribution, Distribution::Auto | Distribution::Bernoulli)
        {
            notes.error("_distribution", "UpliftDRF currently support binomial classification problems only.");
        }
        let name = params.treatment_column.as_deref().unwrap_or_default();
        if name.is_empty() {
            notes.error("_treatment_column", "Treatment column parameter not set");
        }
        let predictors = shape.training.names.iter().filter(|n| *n != name).count();
        if predictors == 0 {
            notes.error("_train", "there is no predictor beside the treatment");
        }
        if params.mtries == 0 || params.mtries < -2 || params.mtries > predictors as i32 {
            notes.error(
                "_mtries",
                format!("Computed mtries should be -1 or -2 or in interval [1,{}[ but it is {}", predictors + 1, params.mtries),
            );
        }
        if !(params.sample_rate > 0.0 && params.sample_rate <= 1.0) {
            notes.error("_sample_rate", format!("sample_rate should be in interval ]0,1] but it is {}.", params.sample_rate));
        }
        if params.auuc_nbins < -1 || params.auuc_nbins == 0 || params.auuc_nbins > 100_000 {
            notes.error("_auuc_nbins", format!("auuc_nbins must be -1 (for 1000) or from 1 to 100000, but is {}", params.auuc_nbins));
        }
        let tree = &params.tree;
        if !matches!(tree.histogram_type, HistogramType::Auto | HistogramType::UniformAdaptive) {
            let name = tree.histogram_type.name();
            notes.error(
                "_histogram_type",
                format!("histogram_type {name} is not supported by this version of ochre; use AUTO or UniformAdaptive"),
            );
        }
        tree.check_class_rates(Some(2), notes);
        params.common.check_encoding(&["AUTO", "Enum"], notes);
    }

    fn fit(run: &mut Run<'_, UpliftParams>) -> Result<Fitted<UpliftOutput>> {
        fit::fit(run)
    }
}
