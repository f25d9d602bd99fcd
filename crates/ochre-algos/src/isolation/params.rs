//! The declaration of the builder's parameters.

use ochre_model::params::{CommonParams, HistogramType, TreeParams};
use ochre_schema::Schema;

/// Parameters of the builder.
#[derive(Clone, Debug, Schema)]
#[api(name = "IsolationForestParametersV3", superclass = "SharedTreeParametersV3", iced = "IsolationForestParameters")]
pub struct IsolationForestParams {
    /// What every algorithm has.
    #[api(
        flatten,
        default(stopping_tolerance = 0.01, distribution = ochre_model::params::Distribution::Gaussian),
        omit(
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
            gainslift_bins,
            custom_metric_func,
            custom_distribution_func,
            auc_type
        )
    )]
    pub common: CommonParams,
    /// What tree ensembles share.
    #[api(
        flatten,
        default(max_depth = 8, min_rows = 1.0, nbins = 2, nbins_cats = 2, min_split_improvement = 0.0, histogram_type = HistogramType::Random),
        omit(
            balance_classes,
            class_sampling_factors,
            max_after_balance_size,
            max_confusion_matrix_size,
            nbins,
            nbins_top_level,
            nbins_cats,
            r2_stopping,
            sample_rate_per_class,
            min_split_improvement,
            histogram_type,
            calibrate_model,
            calibration_frame,
            calibration_method,
            check_constant_response,
            in_training_checkpoints_dir,
            in_training_checkpoints_tree_interval
        )
    )]
    pub tree: TreeParams,
    /// Rows drawn for each tree, when sample_rate is not given.
    #[api(default = 256, gridable)]
    pub sample_size: i64,
    /// Share of rows drawn for each tree; -1 takes sample_size.
    #[api(default = -1.0, gridable)]
    pub sample_rate: f64,
    /// Columns drawn for each split; -1 for a third of them, -2 for all.
    #[api(default = -1, gridable)]
    pub mtries: i32,
    /// Share of the training rows that count as anomalies; -1 for no flag.
    #[api(default = -1.0)]
    pub contamination: f64,
    /// Column of the validation frame that tells anomalies.
    #[api(ty = "VecSpecifier", schema = "ColSpecifierV3", inout, secondary, member_of("validation_frame"), exclusive("ignored_columns"))]
    pub validation_response_column: Option<String>,
}
