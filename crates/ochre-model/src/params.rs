//! Parameters that travel together: what every algorithm has, and what tree ensembles share.
//!
//! An algorithm flattens the groups it needs, changes defaults there, and says which fields it does not offer.

use ochre_core::{Blob, Error, Result, Store};
use ochre_schema::{Choice, FrameKey, ModelKey, Schema};
use ochre_script::Script;

/// Distribution of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
#[api(name = "GenmodelutilsDistributionFamily")]
pub enum Distribution {
    #[api(name = "AUTO")]
    Auto,
    #[api(name = "bernoulli")]
    Bernoulli,
    #[api(name = "quasibinomial")]
    Quasibinomial,
    #[api(name = "ordinal")]
    Ordinal,
    #[api(name = "multinomial")]
    Multinomial,
    #[api(name = "gaussian")]
    Gaussian,
    #[api(name = "poisson")]
    Poisson,
    #[api(name = "gamma")]
    Gamma,
    #[api(name = "tweedie")]
    Tweedie,
    #[api(name = "laplace")]
    Laplace,
    #[api(name = "quantile")]
    Quantile,
    #[api(name = "huber")]
    Huber,
    #[api(name = "custom")]
    Custom,
}

/// How rows are assigned to folds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
#[api(name = "ModelParametersFoldAssignmentScheme")]
pub enum FoldAssignment {
    #[api(name = "AUTO")]
    Auto,
    Random,
    Modulo,
    Stratified,
}

/// How categorical columns are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
#[api(name = "ModelParametersCategoricalEncodingScheme")]
pub enum CategoricalEncoding {
    #[api(name = "AUTO")]
    Auto,
    Enum,
    OneHotInternal,
    OneHotExplicit,
    Binary,
    Eigen,
    LabelEncoder,
    SortByResponse,
    EnumLimited,
}

/// Metric that decides about early stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
#[api(name = "ScoreKeeperStoppingMetric")]
pub enum StoppingMetric {
    #[api(name = "AUTO")]
    Auto,
    #[api(name = "deviance")]
    Deviance,
    #[api(name = "logloss")]
    Logloss,
    #[api(name = "MSE")]
    Mse,
    #[api(name = "RMSE")]
    Rmse,
    #[api(name = "MAE")]
    Mae,
    #[api(name = "RMSLE")]
    Rmsle,
    #[api(name = "AUC")]
    Auc,
    #[api(name = "AUCPR")]
    Aucpr,
    #[api(name = "lift_top_group")]
    LiftTopGroup,
    #[api(name = "misclassification")]
    Misclassification,
    #[api(name = "mean_per_class_error")]
    MeanPerClassError,
    #[api(name = "anomaly_score")]
    AnomalyScore,
    #[api(name = "AUUC")]
    Auuc,
    #[api(name = "ATE")]
    Ate,
    #[api(name = "ATT")]
    Att,
    #[api(name = "ATC")]
    Atc,
    #[api(name = "qini")]
    Qini,
    #[api(name = "custom")]
    Custom,
    #[api(name = "custom_increasing")]
    CustomIncreasing,
}

/// Averaging of the area under the curve of several classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
#[api(name = "MultinomialAucType")]
pub enum AucType {
    #[api(name = "AUTO")]
    Auto,
    #[api(name = "NONE")]
    None,
    #[api(name = "MACRO_OVR")]
    MacroOvr,
    #[api(name = "WEIGHTED_OVR")]
    WeightedOvr,
    #[api(name = "MACRO_OVO")]
    MacroOvo,
    #[api(name = "WEIGHTED_OVO")]
    WeightedOvo,
}

/// Placement of histogram bins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
#[api(name = "TreeSharedTreeModelSharedTreeParametersHistogramType")]
pub enum HistogramType {
    #[api(name = "AUTO")]
    Auto,
    UniformAdaptive,
    Random,
    QuantilesGlobal,
    RoundRobin,
    UniformRobust,
}

/// Calibration of class probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
#[api(name = "TreeCalibrationHelperCalibrationMethod")]
pub enum CalibrationMethod {
    #[api(name = "AUTO")]
    Auto,
    PlattScaling,
    IsotonicRegression,
}

/// Parameters that every algorithm has.
#[derive(Clone, Debug, Schema)]
#[api(name = "ModelParametersSchemaV3")]
pub struct CommonParams {
    /// Key of the model to make; a key is made up when none is given.
    #[api(inout)]
    pub model_id: Option<ModelKey>,
    /// Frame to train on.
    #[api(inout)]
    pub training_frame: Option<FrameKey>,
    /// Frame to compute validation metrics on.
    #[api(inout, gridable)]
    pub validation_frame: Option<FrameKey>,
    /// Number of folds of cross-validation; 0 for none.
    #[api(inout, range = "[0, )")]
    pub nfolds: i32,
    /// Keep the models of the folds.
    #[api(default = true, inout, expert)]
    pub keep_cross_validation_models: bool,
    /// Keep the predictions of the folds.
    #[api(inout, expert)]
    pub keep_cross_validation_predictions: bool,
    /// Keep the fold of each row.
    #[api(inout, expert)]
    pub keep_cross_validation_fold_assignment: bool,
    /// Train folds side by side.
    #[api(default = true, inout, expert)]
    pub parallelize_cross_validation: bool,
    /// Distribution of the response, which decides the loss.
    #[api(secondary, gridable)]
    pub distribution: Distribution,
    /// Variance power of the tweedie distribution, between 1 and 2.
    #[api(default = 1.5, secondary, gridable, range = "(1, 2)")]
    pub tweedie_power: f64,
    /// Quantile to be modelled by the quantile distribution.
    #[api(default = 0.5, secondary, gridable, range = "[0, 1]")]
    pub quantile_alpha: f64,
    /// Quantile of residuals at which the huber loss turns linear.
    #[api(default = 0.9, secondary, gridable, range = "[0, 1]")]
    pub huber_alpha: f64,
    /// Column to be predicted.
    #[api(
        ty = "VecSpecifier",
        schema = "ColSpecifierV3",
        inout,
        gridable,
        member_of("training_frame", "validation_frame"),
        exclusive("ignored_columns")
    )]
    pub response_column: Option<String>,
    /// Column of row weights; a weight of 2 means the same as the row twice, 0 as its absence.
    #[api(
        ty = "VecSpecifier",
        schema = "ColSpecifierV3",
        inout,
        secondary,
        gridable,
        member_of("training_frame", "validation_frame"),
        exclusive("ignored_columns", "response_column")
    )]
    pub weights_column: Option<String>,
    /// Column of known additions to the linear predictor.
    #[api(
        ty = "VecSpecifier",
        schema = "ColSpecifierV3",
        inout,
        secondary,
        gridable,
        member_of("training_frame", "validation_frame"),
        exclusive("ignored_columns", "response_column", "weights_column")
    )]
    pub offset_column: Option<String>,
    /// Column with the fold of each row.
    #[api(
        ty = "VecSpecifier",
        schema = "ColSpecifierV3",
        inout,
        secondary,
        gridable,
        member_of("training_frame"),
        exclusive("ignored_columns", "response_column", "weights_column", "offset_column")
    )]
    pub fold_column: Option<String>,
    /// How rows are assigned to folds.
    #[api(inout, secondary, gridable)]
    pub fold_assignment: FoldAssignment,
    /// How categorical columns are encoded.
    #[api(inout, secondary, gridable)]
    pub categorical_encoding: CategoricalEncoding,
    /// Levels kept by the encoding EnumLimited.
    #[api(default = 10, secondary, gridable)]
    pub max_categorical_levels: i32,
    /// Columns not to be used.
    #[api(inout, member_of("training_frame", "validation_frame"))]
    pub ignored_columns: Option<Vec<String>>,
    /// Ignore columns with one value.
    #[api(default = true, inout)]
    pub ignore_const_cols: bool,
    /// Compute metrics after every iteration.
    #[api(inout, secondary)]
    pub score_each_iteration: bool,
    /// Model to continue from.
    #[api(inout, secondary)]
    pub checkpoint: Option<ModelKey>,
    /// Stop when the moving average of the metric over this many scoring events does not improve; 0 for never.
    #[api(inout, secondary, gridable, range = "[0, )")]
    pub stopping_rounds: i32,
    /// Longest time to train, in seconds; 0 for no limit.
    #[api(inout, secondary, gridable, range = "[0, )")]
    pub max_runtime_secs: f64,
    /// Metric that decides about early stopping.
    #[api(inout, secondary, gridable)]
    pub stopping_metric: StoppingMetric,
    /// Relative improvement below which early stopping ends training.
    #[api(default = 0.001, inout, secondary, gridable, range = "[0, )")]
    pub stopping_tolerance: f64,
    /// Groups of the gains/lift table; -1 chooses, 0 makes no table.
    #[api(default = -1, inout, secondary, range = "[-1, 10000]")]
    pub gainslift_bins: i32,
    /// Reference to a custom metric.
    #[api(inout, secondary)]
    pub custom_metric_func: Option<String>,
    /// Reference to a custom distribution.
    #[api(inout, secondary)]
    pub custom_distribution_func: Option<String>,
    /// What these references stand for, once the driver has read them.
    #[api(skip)]
    pub scripts: Scripts,
    /// Directory to write finished models to.
    #[api(inout, secondary)]
    pub export_checkpoints_dir: Option<String>,
    /// How the area under the curve of several classes is averaged.
    #[api(inout, secondary, gridable)]
    pub auc_type: AucType,
}

/// Functions that the user wrote.
#[derive(Clone, Debug, Default)]
pub struct Scripts {
    pub metric: Option<Script>,
    pub distribution: Option<Script>,
}

/// What a class has to have to be a metric.
pub const METRIC: [&str; 3] = ["map", "reduce", "metric"];

/// The class that a reference names, out of what was uploaded.
pub fn script(store: &Store, reference: &str, methods: &[&str]) -> Result<Script> {
    Script::read(reference, methods, |key| match store.get::<Blob>(key) {
        Ok(blob) => Ok(blob.0.clone()),
        Err(_) => Err(Error::invalid(format!("nothing was uploaded under the key '{key}' of '{reference}'"))),
    })
}

impl CommonParams {
    /// Reads the functions that the user names; what is wrong with them is noted at their parameters.
    /// `names_metric`: is there a custom metric that needs no function?
    pub(crate) fn read_scripts(&mut self, store: &Store, names_metric: bool, notes: &mut ochre_schema::Notes) {
        let mut read = |field: &str, reference: &Option<String>, methods: &[&str]| {
            let reference = reference.as_deref().filter(|r| !r.is_empty())?;
            script(store, reference, methods).map_err(|e| notes.error(field, e.to_string())).ok()
        };
        self.scripts.metric = read("_custom_metric_func", &self.custom_metric_func, &METRIC);
        let methods = ["link", "init", "gamma", "gradient"];
        self.scripts.distribution = read("_custom_distribution_func", &self.custom_distribution_func, &methods);
        let by_custom = matches!(self.stopping_metric, StoppingMetric::Custom | StoppingMetric::CustomIncreasing);
        let there = names_metric || self.custom_metric_func.as_deref().is_some_and(|f| !f.is_empty());
        if self.stopping_rounds > 0 && by_custom && !there {
            let name = self.stopping_metric.name();
            notes.error("_stopping_metric", format!("stopping_metric {name} needs a custom_metric_func"));
        }
    }

    /// A number is not stopped by what is measured on classes.
    pub(crate) fn check_stopping(&self, category: crate::Category, notes: &mut ochre_schema::Notes) {
        use StoppingMetric::*;
        let of_classes = matches!(self.stopping_metric, Logloss | Auc | Aucpr | LiftTopGroup | Misclassification | MeanPerClassError);
        if self.stopping_rounds > 0 && of_classes && category == crate::Category::Regression {
            let text = format!("Stopping metric cannot be {} for regression.", self.stopping_metric.name());
            notes.error("_stopping_metric", text);
        }
    }

    /// The work of the user's functions ends when the job does.
    pub(crate) fn watch_scripts(&mut self, job: &std::sync::Arc<ochre_core::Job>) {
        for script in [&mut self.scripts.metric, &mut self.scripts.distribution].into_iter().flatten() {
            *script = script.watched(job);
        }
    }
}

impl TreeParams {
    /// Notes what is wrong with the rates of the classes.
    pub fn check_class_rates(&self, classes: Option<usize>, notes: &mut ochre_schema::Notes) {
        let rates = self.sample_rate_per_class.as_deref().unwrap_or_default();
        if rates.is_empty() {
            return;
        }
        let field = "_sample_rate_per_class";
        match classes {
            None => notes.error(field, "sample_rate_per_class needs a categorical response"),
            Some(n) if n != rates.len() => {
                notes.error(field, format!("sample_rate_per_class must have one rate for each of {n} classes, but has {}", rates.len()));
            }
            _ => {}
        }
        if let Some(r) = rates.iter().find(|r| !(**r > 0.0 && **r <= 1.0)) {
            notes.error(field, format!("sample_rate_per_class must be in (0, 1], but one rate is {r}"));
        }
    }
}

impl CommonParams {
    /// Notes an encoding of categories that an algorithm does not have; `direct` are those that it deals with itself.
    pub fn check_encoding(&self, direct: &[&str], notes: &mut ochre_schema::Notes) {
        let name = self.categorical_encoding.name();
        if !direct.contains(&name) && !crate::encoding::makes_columns(self.categorical_encoding) {
            notes.error(
                "_categorical_encoding",
                format!(
                    "categorical_encoding {name} is not supported by this version of ochre; use {}, OneHotExplicit, Binary, LabelEncoder or EnumLimited",
                    direct.join(", ")
                ),
            );
        }
    }

    /// How much metrics tell.
    pub fn detail(&self) -> crate::metrics::Detail {
        crate::metrics::Detail { bins: self.gainslift_bins, auc: self.auc_type, custom: self.scripts.metric.clone(), labels: false }
    }
}

/// Parameters that tree ensembles share.
#[derive(Clone, Debug, Schema)]
#[api(name = "SharedTreeParametersV3")]
pub struct TreeParams {
    /// Balance classes by sampling.
    #[api(inout, secondary, gridable)]
    pub balance_classes: bool,
    /// Sampling rate of each class, in lexicographic order.
    #[api(inout, expert, gridable)]
    pub class_sampling_factors: Option<Vec<f32>>,
    /// Largest relative size of the frame after balancing.
    #[api(default = 5.0_f32, inout, expert, gridable)]
    pub max_after_balance_size: f32,
    /// Retired; has no effect.
    #[api(default = 20, inout, secondary)]
    pub max_confusion_matrix_size: i32,
    /// Number of trees.
    #[api(default = 50, gridable, range = "[1, 100000]")]
    pub ntrees: i32,
    /// Deepest level of a tree; 0 for no limit.
    #[api(default = 5, gridable, range = "[0, )")]
    pub max_depth: i32,
    /// Fewest (weighted) rows in a leaf.
    #[api(default = 10.0, gridable, range = "[0, )")]
    pub min_rows: f64,
    /// Histogram bins of a numeric column at the deeper levels.
    #[api(default = 20, gridable, range = "[2, 65536]")]
    pub nbins: i32,
    /// Histogram bins of a numeric column at the root, halved at each level.
    #[api(default = 1024, secondary, gridable, range = "[2, 65536]")]
    pub nbins_top_level: i32,
    /// Most histogram bins of a categorical column.
    #[api(default = 1024, secondary, gridable, range = "[2, )")]
    pub nbins_cats: i32,
    /// Retired; has no effect.
    #[api(default = f64::MAX, secondary, gridable)]
    pub r2_stopping: f64,
    /// Seed of the random generator; -1 for a fresh one.
    #[api(default = -1, gridable)]
    pub seed: i64,
    /// Build each tree on one node.
    #[api(expert)]
    pub build_tree_one_node: bool,
    /// Row sampling rate by class.
    #[api(expert, gridable)]
    pub sample_rate_per_class: Option<Vec<f64>>,
    /// Share of columns drawn for each tree.
    #[api(default = 1.0, secondary, gridable, range = "(0, 1]")]
    pub col_sample_rate_per_tree: f64,
    /// Factor by which the share of columns drawn changes from level to level.
    #[api(default = 1.0, expert, gridable, range = "(0, 2]")]
    pub col_sample_rate_change_per_level: f64,
    /// Compute metrics after this many trees; 0 for a timed schedule.
    #[api(secondary, range = "[0, )")]
    pub score_tree_interval: i32,
    /// Relative decrease of squared error below which a node is not split.
    #[api(default = 1e-05, secondary, gridable, range = "[0, )")]
    pub min_split_improvement: f64,
    /// How histogram bins are placed.
    #[api(secondary, gridable)]
    pub histogram_type: HistogramType,
    /// Calibrate class probabilities on a frame of their own.
    #[api(expert)]
    pub calibrate_model: bool,
    /// Frame to calibrate on.
    #[api(inout, expert)]
    pub calibration_frame: Option<FrameKey>,
    /// How class probabilities are calibrated.
    #[api(inout, expert)]
    pub calibration_method: CalibrationMethod,
    /// Refuse a response with one value.
    #[api(default = true, inout, expert)]
    pub check_constant_response: bool,
    /// Directory to write checkpoints to while training.
    #[api(expert)]
    pub in_training_checkpoints_dir: Option<String>,
    /// Trees between two checkpoints.
    #[api(default = 1, expert, range = "[1, )")]
    pub in_training_checkpoints_tree_interval: i32,
}
