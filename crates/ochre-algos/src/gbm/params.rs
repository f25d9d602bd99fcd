//! The declaration of the builder's parameters.

use ochre_model::params::{CommonParams, TreeParams};
use ochre_schema::{Schema, Value};

/// Parameters of the builder.
#[derive(Clone, Debug, Schema)]
#[api(name = "GBMParametersV3", superclass = "SharedTreeParametersV3", iced = "GBMParameters")]
pub struct GbmParams {
    /// What every algorithm has.
    #[api(flatten, omit(parallelize_cross_validation, max_categorical_levels))]
    pub common: CommonParams,
    /// What tree ensembles share.
    #[api(flatten)]
    pub tree: TreeParams,
    /// Learning rate.
    #[api(default = 0.1, gridable, range = "(0, 1]")]
    pub learn_rate: f64,
    /// Factor on the learning rate after each tree.
    #[api(default = 1.0, secondary, gridable, range = "(0, 1]")]
    pub learn_rate_annealing: f64,
    /// Share of rows drawn for each tree.
    #[api(default = 1.0, gridable, range = "(0, 1]")]
    pub sample_rate: f64,
    /// Share of columns drawn for each split.
    #[api(default = 1.0, gridable, range = "(0, 1]")]
    pub col_sample_rate: f64,
    /// Columns in which predictions must rise (1) or fall (-1).
    #[api(ty = "KeyValue[]", schema = "KeyValueV3", secondary)]
    pub monotone_constraints: Value,
    /// Largest absolute value of a leaf.
    #[api(default = f64::MAX, expert, gridable, range = "(0, )")]
    pub max_abs_leafnode_pred: f64,
    /// Standard deviation of the noise, normal about 1, that leaves are multiplied by; 0 for none.
    #[api(expert, gridable, range = "[0, )")]
    pub pred_noise_bandwidth: f64,
    /// Groups of columns that may stand in one branch.
    #[api(expert)]
    pub interaction_constraints: Option<Vec<Option<Vec<String>>>>,
    /// Rebalance the training frame before training; ochre's chunks never need it.
    #[api(default = true, expert)]
    pub auto_rebalance: bool,
}
