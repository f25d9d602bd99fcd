//! The declaration of the builder's parameters.

use ochre_model::params::{CalibrationMethod, CommonParams};
use ochre_schema::{Choice, FrameKey, Schema, Value};

/// How numbers are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
#[api(name = "TreexgboostXGBoostModelXGBoostParametersTreeMethod")]
pub enum TreeMethod {
    #[api(name = "auto")]
    Auto,
    #[api(name = "exact")]
    Exact,
    #[api(name = "approx")]
    Approx,
    #[api(name = "hist")]
    Hist,
}

/// Which split comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
#[api(name = "TreexgboostXGBoostModelXGBoostParametersGrowPolicy")]
pub enum GrowPolicy {
    #[api(name = "depthwise")]
    Depthwise,
    #[api(name = "lossguide")]
    Lossguide,
}

/// What is boosted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
#[api(name = "TreexgboostXGBoostModelXGBoostParametersBooster")]
pub enum Booster {
    #[api(name = "gbtree")]
    Gbtree,
    #[api(name = "gblinear")]
    Gblinear,
    #[api(name = "dart")]
    Dart,
}

/// How dropped trees are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
#[api(name = "TreexgboostXGBoostModelXGBoostParametersDartSampleType")]
pub enum SampleType {
    #[api(name = "uniform")]
    Uniform,
    #[api(name = "weighted")]
    Weighted,
}

/// How a tree is weighed against those that were dropped for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
#[api(name = "TreexgboostXGBoostModelXGBoostParametersDartNormalizeType")]
pub enum NormalizeType {
    #[api(name = "tree")]
    Tree,
    #[api(name = "forest")]
    Forest,
}

/// Is a 0 a value or a missing one?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
#[api(name = "TreexgboostXGBoostModelXGBoostParametersDMatrixType")]
pub enum MatrixType {
    #[api(name = "auto")]
    Auto,
    #[api(name = "dense")]
    Dense,
    #[api(name = "sparse")]
    Sparse,
}

/// Where to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
#[api(name = "TreexgboostXGBoostModelXGBoostParametersBackend")]
pub enum Backend {
    #[api(name = "auto")]
    Auto,
    #[api(name = "gpu")]
    Gpu,
    #[api(name = "cpu")]
    Cpu,
}

/// Parameters of the builder.
#[derive(Clone, Debug, Schema)]
#[api(name = "XGBoostParametersV3", superclass = "ModelParametersSchemaV3", iced = "XGBoostParameters")]
pub struct XgBoostParams {
    /// What every algorithm has.
    #[api(flatten, omit(max_categorical_levels, quantile_alpha, huber_alpha, custom_distribution_func))]
    pub common: CommonParams,
    /// Number of trees (rounds).
    #[api(default = 50, gridable, range = "[1, 100000]")]
    pub ntrees: i32,
    /// Deepest level of a tree; 0 for no limit.
    #[api(default = 6, gridable, range = "[0, )")]
    pub max_depth: i32,
    /// Least sum of hessians in a leaf.
    #[api(default = 1.0, gridable, range = "[0, )")]
    pub min_rows: f64,
    /// The same as min_rows.
    #[api(default = 1.0, expert, gridable, range = "[0, )")]
    pub min_child_weight: f64,
    /// Factor on each tree.
    #[api(default = 0.3, expert, gridable, range = "(0, 1]")]
    pub learn_rate: f64,
    /// The same as learn_rate.
    #[api(default = 0.3, gridable, range = "(0, 1]")]
    pub eta: f64,
    /// Share of rows drawn for each tree.
    #[api(default = 1.0, gridable, range = "(0, 1]")]
    pub sample_rate: f64,
    /// The same as sample_rate.
    #[api(default = 1.0, expert, gridable, range = "(0, 1]")]
    pub subsample: f64,
    /// Share of features drawn for each level of a tree.
    #[api(default = 1.0, gridable, range = "(0, 1]")]
    pub col_sample_rate: f64,
    /// The same as col_sample_rate.
    #[api(default = 1.0, expert, gridable, range = "(0, 1]")]
    pub colsample_bylevel: f64,
    /// Share of features drawn for each tree.
    #[api(default = 1.0, secondary, gridable, range = "(0, 1]")]
    pub col_sample_rate_per_tree: f64,
    /// The same as col_sample_rate_per_tree.
    #[api(default = 1.0, expert, gridable, range = "(0, 1]")]
    pub colsample_bytree: f64,
    /// Share of features drawn for each split.
    #[api(default = 1.0, secondary, gridable, range = "(0, 1]")]
    pub colsample_bynode: f64,
    /// Columns in which predictions must rise (1) or fall (-1).
    #[api(ty = "KeyValue[]", schema = "KeyValueV3", secondary)]
    pub monotone_constraints: Value,
    /// Largest absolute value of a leaf before the learning rate; 0 for no limit.
    #[api(expert, gridable, range = "[0, )")]
    pub max_abs_leafnode_pred: f32,
    /// The same as max_abs_leafnode_pred.
    #[api(expert, gridable, range = "[0, )")]
    pub max_delta_step: f32,
    /// Compute metrics after this many trees; 0 for a schedule by size.
    #[api(secondary, range = "[0, )")]
    pub score_tree_interval: i32,
    /// Seed of the random generator; -1 for a fresh one.
    #[api(default = -1, gridable)]
    pub seed: i64,
    /// Least gain of a split.
    #[api(secondary, gridable, range = "[0, )")]
    pub min_split_improvement: f32,
    /// The same as min_split_improvement.
    #[api(expert, gridable, range = "[0, )")]
    pub gamma: f32,
    /// Threads; ochre shares its own among all jobs, so -1 only means what it always does.
    #[api(default = -1, expert)]
    pub nthread: i32,
    /// Build each tree on one node; results are the same either way.
    #[api(expert)]
    pub build_tree_one_node: bool,
    /// Directory to write the training matrix to.
    #[api(expert, unsupported)]
    pub save_matrix_directory: Option<String>,
    /// Calibrate class probabilities on a frame of their own.
    #[api(expert)]
    pub calibrate_model: bool,
    /// Frame to calibrate on.
    #[api(inout, expert)]
    pub calibration_frame: Option<FrameKey>,
    /// How class probabilities are calibrated.
    #[api(inout, expert)]
    pub calibration_method: CalibrationMethod,
    /// Most bins of a number, for tree_method hist and approx.
    #[api(default = 256, expert, gridable, range = "[2, )")]
    pub max_bins: i32,
    /// Most leaves of a tree; 0 for no limit.
    #[api(secondary, gridable, range = "[0, )")]
    pub max_leaves: i32,
    /// How numbers are cut.
    #[api(secondary, gridable)]
    pub tree_method: TreeMethod,
    /// Which split comes next.
    #[api(secondary, gridable)]
    pub grow_policy: GrowPolicy,
    /// What is boosted.
    #[api(expert, gridable)]
    pub booster: Booster,
    /// Penalty on squared weights.
    #[api(default = 1.0_f32, expert, gridable, range = "[0, )")]
    pub reg_lambda: f32,
    /// Penalty on absolute weights.
    #[api(expert, gridable, range = "[0, )")]
    pub reg_alpha: f32,
    /// Say less; ochre logs no more than a line a model anyway.
    #[api(default = true, expert)]
    pub quiet_mode: bool,
    /// How dropped trees are chosen.
    #[api(expert, gridable)]
    pub sample_type: SampleType,
    /// How a tree is weighed against those that were dropped for it.
    #[api(expert, gridable)]
    pub normalize_type: NormalizeType,
    /// Share of trees dropped in a round.
    #[api(expert, gridable, range = "[0, 1]")]
    pub rate_drop: f32,
    /// Drop at least one tree when any are dropped.
    #[api(expert, gridable)]
    pub one_drop: bool,
    /// Probability of dropping none in a round.
    #[api(expert, gridable, range = "[0, 1]")]
    pub skip_drop: f32,
    /// Is a 0 a value (dense) or a missing one (sparse)?
    #[api(secondary, gridable)]
    pub dmatrix_type: MatrixType,
    /// Where to compute.
    #[api(expert, gridable)]
    pub backend: Backend,
    /// GPUs to use; without effect, since trees are grown on the processor.
    #[api(expert)]
    pub gpu_id: Option<Vec<i32>>,
    /// Groups of columns that may stand in one branch.
    #[api(expert)]
    pub interaction_constraints: Option<Vec<Option<Vec<String>>>>,
    /// Weight of rows of the second class.
    #[api(default = 1.0_f32, expert, gridable, range = "(0, )")]
    pub scale_pos_weight: f32,
    /// A metric of the xgboost package, told beside the others in the scoring history.
    #[api(expert, gridable)]
    pub eval_metric: Option<String>,
    /// While training, compute nothing but eval_metric.
    #[api(expert, gridable)]
    pub score_eval_metric_only: bool,
}

impl XgBoostParams {
    /// The metric of the package that is asked for.
    pub fn evaluated(&self) -> Option<&str> {
        self.eval_metric.as_deref().filter(|n| !n.is_empty())
    }
}
