//! The declaration of the builder's parameters.

use ochre_model::params::{CommonParams, TreeParams};
use ochre_schema::Schema;

/// Parameters of the builder.
#[derive(Clone, Debug, Schema)]
#[api(name = "DRFParametersV3", superclass = "SharedTreeParametersV3", iced = "DRFParameters")]
pub struct DrfParams {
    /// What every algorithm has.
    #[api(
        flatten,
        omit(parallelize_cross_validation, max_categorical_levels, quantile_alpha, tweedie_power, huber_alpha, custom_distribution_func)
    )]
    pub common: CommonParams,
    /// What tree ensembles share.
    #[api(flatten, default(max_depth = 20, min_rows = 1.0), omit(in_training_checkpoints_dir, in_training_checkpoints_tree_interval))]
    pub tree: TreeParams,
    /// Columns drawn for each split; -1 for the square root (classification) or a third (regression) of them, -2 for all.
    #[api(default = -1, gridable, range = "[-2, )")]
    pub mtries: i32,
    /// Grow a tree for each of two classes instead of one for the first.
    #[api(expert)]
    pub binomial_double_trees: bool,
    /// Share of rows drawn for each tree, without putting back.
    #[api(default = 0.632, gridable, range = "(0, 1]")]
    pub sample_rate: f64,
}
