//! The declaration of the builder's parameters.

use ochre_model::params::CommonParams;
use ochre_schema::{Choice, FrameKey, Schema};

/// How initial centres are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
#[api(name = "KmeansKMeansInitialization")]
pub enum Init {
    Random,
    PlusPlus,
    #[default]
    Furthest,
    User,
}

/// Parameters of the builder.
#[derive(Clone, Debug, Schema)]
#[api(name = "KMeansParametersV3", superclass = "ClusteringModelParametersSchemaV3", iced = "KMeansParameters")]
pub struct KMeansParams {
    /// What every algorithm has.
    #[api(
        flatten,
        omit(
            parallelize_cross_validation,
            distribution,
            tweedie_power,
            quantile_alpha,
            huber_alpha,
            response_column,
            weights_column,
            offset_column,
            max_categorical_levels,
            checkpoint,
            stopping_rounds,
            stopping_metric,
            stopping_tolerance,
            gainslift_bins,
            custom_metric_func,
            custom_distribution_func,
            auc_type
        )
    )]
    pub common: CommonParams,
    /// Number of clusters.
    #[api(default = 1, range = "[1, 10000000]", inout, gridable, inherits = "ClusteringModelParametersSchemaV3")]
    pub k: i32,
    /// Frame with one row per initial cluster centre.
    #[api(expert)]
    pub user_points: Option<FrameKey>,
    /// Most iterations.
    #[api(default = 10, gridable)]
    pub max_iterations: i32,
    /// Scale columns to mean 0 and standard deviation 1.
    #[api(default = true, gridable)]
    pub standardize: bool,
    /// Seed of the random generator; -1 for a fresh one.
    #[api(default = -1, secondary, gridable)]
    pub seed: i64,
    /// How initial centres are chosen.
    #[api(gridable)]
    pub init: Init,
    /// Find the number of clusters, at most k: starting from one, the widest is split as long as the rows lie clearly
    /// closer to their centres.
    #[api(gridable)]
    pub estimate_k: bool,
    /// Fewest rows in each cluster, one number for each of the k.
    #[api(expert)]
    pub cluster_size_constraints: Option<Vec<i32>>,
}
