//! The wire schemas of models and metrics.

use ochre_schema::{FrameKey, ModelKey, Schema, Table, Value};

/// Model Parameter Schema.
#[derive(Clone, Debug, Schema)]
#[api(name = "ModelParameterSchemaV3")]
pub struct ModelParameterSchema {
    /// Name.
    #[api(output)]
    pub name: Option<String>,
    /// Label.
    #[api(output)]
    pub label: Option<String>,
    /// Help.
    #[api(output)]
    pub help: Option<String>,
    /// Required.
    #[api(output)]
    pub required: bool,
    /// Type.
    #[api(output)]
    pub r#type: Option<String>,
    /// Default value.
    #[api(ty = "Polymorphic", output)]
    pub default_value: Value,
    /// Actual value.
    #[api(ty = "Polymorphic", output)]
    pub actual_value: Value,
    /// Input value.
    #[api(ty = "Polymorphic", output)]
    pub input_value: Value,
    /// Level.
    #[api(output)]
    pub level: Option<String>,
    /// Values.
    #[api(output)]
    pub values: Option<Vec<String>>,
    /// Is member of frames.
    pub is_member_of_frames: Option<Vec<String>>,
    /// Is mutually exclusive with.
    pub is_mutually_exclusive_with: Option<Vec<String>>,
    /// Gridable.
    #[api(output)]
    pub gridable: bool,
}

/// Validation Message.
#[derive(Clone, Debug, Schema)]
#[api(name = "ValidationMessageV3", iced = "ValidationMessage")]
pub struct ValidationMessage {
    /// Message type.
    #[api(output)]
    pub message_type: Option<String>,
    /// Field name.
    #[api(output)]
    pub field_name: Option<String>,
    /// Message.
    #[api(output)]
    pub message: Option<String>,
}

/// Confusion Matrix.
#[derive(Clone, Debug, Schema)]
#[api(name = "ConfusionMatrixV3", iced = "ConfusionMatrix")]
pub struct ConfusionMatrix {
    /// Table.
    #[api(output)]
    pub table: Option<Table>,
}

/// Model Synopsis.
#[derive(Clone, Debug, Schema)]
#[api(name = "ModelSynopsisV3", superclass = "ModelSchemaBaseV3", iced = "Model")]
pub struct ModelSynopsis {
    /// Model id.
    #[api(inout, required, inherits = "ModelSchemaBaseV3")]
    pub model_id: Option<ModelKey>,
    /// Algo.
    #[api(output, inherits = "ModelSchemaBaseV3")]
    pub algo: Option<String>,
    /// Algo full name.
    #[api(output, inherits = "ModelSchemaBaseV3")]
    pub algo_full_name: Option<String>,
    /// Response column name.
    #[api(output, inherits = "ModelSchemaBaseV3")]
    pub response_column_name: Option<String>,
    /// Treatment column name.
    #[api(output, inherits = "ModelSchemaBaseV3")]
    pub treatment_column_name: Option<String>,
    /// Data frame.
    #[api(output, inherits = "ModelSchemaBaseV3")]
    pub data_frame: Option<FrameKey>,
    /// Timestamp.
    #[api(output, inherits = "ModelSchemaBaseV3")]
    pub timestamp: i64,
    /// Have pojo.
    #[api(output, inherits = "ModelSchemaBaseV3")]
    pub have_pojo: bool,
    /// Have mojo.
    #[api(output, inherits = "ModelSchemaBaseV3")]
    pub have_mojo: bool,
}

/// Model Schema.
#[derive(Clone, Debug, Schema)]
#[api(name = "ModelSchemaV3", superclass = "ModelSchemaBaseV3", iced = "Model")]
pub struct ModelSchema {
    /// Parameters.
    #[api(ty = "Parameters", schema = "ModelParametersSchemaV3", output)]
    pub parameters: Value,
    /// Output.
    #[api(ty = "Output", schema = "ModelOutputSchemaV3", output)]
    pub output: Value,
    /// Compatible frames.
    #[api(output)]
    pub compatible_frames: Option<Vec<String>>,
    /// Checksum.
    #[api(output)]
    pub checksum: i64,
    /// Model id.
    #[api(inout, required, inherits = "ModelSchemaBaseV3")]
    pub model_id: Option<ModelKey>,
    /// Algo.
    #[api(output, inherits = "ModelSchemaBaseV3")]
    pub algo: Option<String>,
    /// Algo full name.
    #[api(output, inherits = "ModelSchemaBaseV3")]
    pub algo_full_name: Option<String>,
    /// Response column name.
    #[api(output, inherits = "ModelSchemaBaseV3")]
    pub response_column_name: Option<String>,
    /// Treatment column name.
    #[api(output, inherits = "ModelSchemaBaseV3")]
    pub treatment_column_name: Option<String>,
    /// Data frame.
    #[api(output, inherits = "ModelSchemaBaseV3")]
    pub data_frame: Option<FrameKey>,
    /// Timestamp.
    #[api(output, inherits = "ModelSchemaBaseV3")]
    pub timestamp: i64,
    /// Have pojo.
    #[api(output, inherits = "ModelSchemaBaseV3")]
    pub have_pojo: bool,
    /// Have mojo.
    #[api(output, inherits = "ModelSchemaBaseV3")]
    pub have_mojo: bool,
}

/// GBM.
#[derive(Clone, Debug, Schema)]
#[api(name = "ModelBuilderSchema", request)]
pub struct ModelBuilderSchema {
    /// Parameters.
    #[api(ty = "Parameters", schema = "ParametersV3", inherits = "ModelBuilderSchema")]
    pub parameters: Value,
    /// Algo.
    #[api(output, inherits = "ModelBuilderSchema")]
    pub algo: Option<String>,
    /// Algo full name.
    #[api(output, inherits = "ModelBuilderSchema")]
    pub algo_full_name: Option<String>,
    /// Can build.
    #[api(
        ty = "enum[]",
        choice = "ModelCategory",
        output,
        inherits = "ModelBuilderSchema",
        values("Unknown", "Binomial", "Ordinal", "Multinomial", "Regression", "Clustering", "AutoEncoder", "DimReduction")
    )]
    pub can_build: Option<Vec<String>>,
    /// Supervised.
    #[api(output, inherits = "ModelBuilderSchema")]
    pub supervised: bool,
    /// Visibility.
    #[api(
        ty = "enum",
        choice = "ModelBuilderBuilderVisibility",
        output,
        inherits = "ModelBuilderSchema",
        values("Experimental", "Beta", "AlwaysVisible")
    )]
    pub visibility: Option<String>,
    /// Job.
    #[api(ty = "Job", schema = "JobV3", output, inherits = "ModelBuilderSchema")]
    pub job: Value,
    /// Messages.
    #[api(ty = "ValidationMessage[]", schema = "ValidationMessageV3", output, inherits = "ModelBuilderSchema")]
    pub messages: Value,
    /// Error count.
    #[api(output, inherits = "ModelBuilderSchema")]
    pub error_count: i32,
    /// Http status.
    #[api(name = "__http_status", output, nojson, inherits = "ModelBuilderSchema")]
    pub http_status: i32,
}

/// GBMModel Output.
#[derive(Clone, Debug, Schema)]
#[api(name = "ModelOutputSchemaV3", iced = "Output")]
pub struct ModelOutput {
    /// Values that parameters left to the server took, by name.
    #[api(skip)]
    pub effective: Vec<(&'static str, Value)>,
    /// Keys of frames that were made with the model and go with it, beside those of the run.
    #[api(skip)]
    pub belongings: Vec<String>,
    /// Names.
    #[api(output)]
    pub names: Option<Vec<String>>,
    /// Original names.
    #[api(output)]
    pub original_names: Option<Vec<String>>,
    /// Column types.
    #[api(output)]
    pub column_types: Option<Vec<String>>,
    /// Domains.
    #[api(output, expert)]
    pub domains: Option<Vec<Option<Vec<String>>>>,
    /// Cross validation models.
    #[api(output, expert)]
    pub cross_validation_models: Option<Vec<ModelKey>>,
    /// Cross validation predictions.
    #[api(output, expert)]
    pub cross_validation_predictions: Option<Vec<FrameKey>>,
    /// Cross validation holdout predictions frame id.
    #[api(output, expert)]
    pub cross_validation_holdout_predictions_frame_id: Option<FrameKey>,
    /// Cross validation fold assignment frame id.
    #[api(output, expert)]
    pub cross_validation_fold_assignment_frame_id: Option<FrameKey>,
    /// Model category.
    #[api(
        ty = "enum",
        choice = "ModelCategory",
        output,
        values(
            "Unknown",
            "Binomial",
            "Ordinal",
            "Multinomial",
            "Regression",
            "Clustering",
            "AutoEncoder",
            "DimReduction",
            "WordEmbedding"
        )
    )]
    pub model_category: Option<String>,
    /// Model summary.
    #[api(output)]
    pub model_summary: Option<Table>,
    /// Scoring history.
    #[api(output, secondary)]
    pub scoring_history: Option<Table>,
    /// Cv scoring history.
    #[api(output, secondary)]
    pub cv_scoring_history: Option<Vec<Table>>,
    /// Reproducibility information table.
    #[api(output, secondary)]
    pub reproducibility_information_table: Option<Vec<Table>>,
    /// Training metrics.
    #[api(ty = "ModelMetrics", schema = "ModelMetricsBaseV3", output)]
    pub training_metrics: Value,
    /// Validation metrics.
    #[api(ty = "ModelMetrics", schema = "ModelMetricsBaseV3", output)]
    pub validation_metrics: Value,
    /// Cross validation metrics.
    #[api(ty = "ModelMetrics", schema = "ModelMetricsBaseV3", output)]
    pub cross_validation_metrics: Value,
    /// Cross validation metrics summary.
    #[api(output)]
    pub cross_validation_metrics_summary: Option<Table>,
    /// Status.
    #[api(output, secondary)]
    pub status: Option<String>,
    /// Start time.
    #[api(output, secondary)]
    pub start_time: i64,
    /// End time.
    #[api(output, secondary)]
    pub end_time: i64,
    /// Run time.
    #[api(output, secondary)]
    pub run_time: i64,
    /// Default threshold.
    #[api(output)]
    pub default_threshold: f64,
    /// Help.
    #[api(ty = "Map<string,string>", output)]
    pub help: Value,
}

/// Model Metrics Base.
#[derive(Clone, Debug, Schema)]
#[api(name = "ModelMetricsBaseV3", iced = "ModelMetrics")]
pub struct MetricsBase {
    /// Model.
    #[api(inout)]
    pub model: Option<ModelKey>,
    /// Model checksum.
    #[api(inout)]
    pub model_checksum: i64,
    /// Frame.
    #[api(inout)]
    pub frame: Option<FrameKey>,
    /// Frame checksum.
    #[api(inout)]
    pub frame_checksum: i64,
    /// Description.
    #[api(output)]
    pub description: Option<String>,
    /// Model category.
    #[api(
        ty = "enum",
        choice = "ModelCategory",
        output,
        values("Unknown", "Binomial", "BinomialUplift", "Ordinal", "Multinomial", "Regression", "Clustering")
    )]
    pub model_category: Option<String>,
    /// Scoring time.
    #[api(output)]
    pub scoring_time: i64,
    /// Predictions.
    #[api(ty = "Frame", schema = "FrameV3", output)]
    pub predictions: Value,
    /// MSE.
    #[api(name = "MSE", output)]
    pub mse: f64,
    /// RMSE.
    #[api(name = "RMSE", output)]
    pub rmse: f64,
    /// Nobs.
    pub nobs: i64,
    /// Custom metric name.
    #[api(output)]
    pub custom_metric_name: Option<String>,
    /// Custom metric value.
    #[api(output)]
    pub custom_metric_value: f64,
}

/// Model Metrics Binomial V3.
#[derive(Clone, Debug, Schema)]
#[api(name = "ModelMetricsBinomialV3", superclass = "ModelMetricsBaseV3", iced = "ModelMetricsBinomial")]
pub struct BinomialMetrics {
    /// R2.
    #[api(output)]
    pub r2: f64,
    /// Logloss.
    #[api(output)]
    pub logloss: f64,
    /// Loglikelihood.
    #[api(output)]
    pub loglikelihood: f64,
    /// AIC.
    #[api(name = "AIC", output)]
    pub aic: f64,
    /// AUC.
    #[api(name = "AUC", output)]
    pub auc: f64,
    /// Pr auc.
    #[api(output)]
    pub pr_auc: f64,
    /// Gini.
    #[api(name = "Gini", output)]
    pub gini: f64,
    /// Mean per class error.
    #[api(output)]
    pub mean_per_class_error: f64,
    /// Domain.
    #[api(output)]
    pub domain: Option<Vec<String>>,
    /// Cm.
    #[api(ty = "ConfusionMatrix", schema = "ConfusionMatrixV3", output)]
    pub cm: Value,
    /// Thresholds and metric scores.
    #[api(output, expert)]
    pub thresholds_and_metric_scores: Option<Table>,
    /// Max criteria and metric scores.
    #[api(output, secondary)]
    pub max_criteria_and_metric_scores: Option<Table>,
    /// Gains lift table.
    #[api(output, secondary)]
    pub gains_lift_table: Option<Table>,
    /// What it builds on.
    #[api(flatten)]
    pub base: MetricsBase,
}

/// Model Metrics Multinomial V3.
#[derive(Clone, Debug, Schema)]
#[api(name = "ModelMetricsMultinomialV3", superclass = "ModelMetricsBaseV3", iced = "ModelMetricsMultinomial")]
pub struct MultinomialMetrics {
    /// R2.
    #[api(output)]
    pub r2: f64,
    /// Hit ratio table.
    #[api(output, expert)]
    pub hit_ratio_table: Option<Table>,
    /// Cm.
    #[api(ty = "ConfusionMatrix", schema = "ConfusionMatrixV3", output)]
    pub cm: Value,
    /// Logloss.
    #[api(output)]
    pub logloss: f64,
    /// Loglikelihood.
    #[api(output)]
    pub loglikelihood: f64,
    /// AIC.
    #[api(name = "AIC", output)]
    pub aic: f64,
    /// Mean per class error.
    #[api(output)]
    pub mean_per_class_error: f64,
    /// AUC.
    #[api(name = "AUC", output)]
    pub auc: f64,
    /// Pr auc.
    #[api(output)]
    pub pr_auc: f64,
    /// Multinomial auc table.
    #[api(output, expert)]
    pub multinomial_auc_table: Option<Table>,
    /// Multinomial aucpr table.
    #[api(output, expert)]
    pub multinomial_aucpr_table: Option<Table>,
    /// What it builds on.
    #[api(flatten)]
    pub base: MetricsBase,
}

/// Model Metrics Regression V3.
#[derive(Clone, Debug, Schema)]
#[api(name = "ModelMetricsRegressionV3", superclass = "ModelMetricsBaseV3", iced = "ModelMetricsRegression")]
pub struct RegressionMetrics {
    /// R2.
    #[api(output)]
    pub r2: f64,
    /// Mean residual deviance.
    #[api(output)]
    pub mean_residual_deviance: f64,
    /// Mae.
    #[api(output)]
    pub mae: f64,
    /// Rmsle.
    #[api(output)]
    pub rmsle: f64,
    /// Loglikelihood.
    #[api(output)]
    pub loglikelihood: f64,
    /// AIC.
    #[api(name = "AIC", output)]
    pub aic: f64,
    /// What it builds on.
    #[api(flatten)]
    pub base: MetricsBase,
}

/// Model Metrics Regression CoxPHV3.
#[derive(Clone, Debug, Schema)]
#[api(name = "ModelMetricsRegressionCoxPHV3", superclass = "ModelMetricsRegressionV3", iced = "ModelMetricsRegressionCoxPH")]
pub struct CoxMetrics {
    /// Share of comparable pairs that are ordered rightly.
    #[api(output)]
    pub concordance: f64,
    /// Pairs that are ordered rightly.
    #[api(output)]
    pub concordant: i64,
    /// Pairs that are ordered wrongly.
    #[api(output)]
    pub discordant: i64,
    /// Pairs with equal predictions.
    #[api(output)]
    pub tied_y: i64,
    /// What it builds on.
    #[api(flatten)]
    pub base: RegressionMetrics,
}

/// Metrics of a mixed model.
#[derive(Clone, Debug, Schema)]
#[api(name = "ModelMetricsRegressionHGLMV3", superclass = "ModelMetricsBaseV3", iced = "ModelMetricsRegressionHGLM")]
pub struct MixedMetrics {
    /// Shared coefficients.
    #[api(output)]
    pub beta: Option<Vec<f64>>,
    /// Coefficients of each group.
    #[api(output)]
    pub ubeta: Option<Vec<Vec<f64>>>,
    /// Log-likelihood of the rows, the groups' coefficients integrated out.
    #[api(output)]
    pub log_likelihood: f64,
    /// Share of the variance that each of the groups' coefficients has.
    #[api(output)]
    pub icc: Option<Vec<f64>>,
    /// Iterations of training.
    #[api(output)]
    pub iterations: i32,
    /// Covariance of the groups' coefficients.
    #[api(output)]
    pub tmat: Option<Vec<Vec<f64>>>,
    /// Variance of the noise.
    #[api(output)]
    pub var_residual: f64,
    /// Mean squared error of the shared coefficients alone.
    #[api(output)]
    pub mse_fixed: f64,
    /// What it builds on.
    #[api(flatten)]
    pub base: MetricsBase,
}

/// Model Metrics Anomaly V3.
#[derive(Clone, Debug, Schema)]
#[api(name = "ModelMetricsAnomalyV3", superclass = "ModelMetricsBaseV3", iced = "ModelMetricsAnomaly")]
pub struct AnomalyMetrics {
    /// Mean length of the paths to the leaves.
    #[api(output)]
    pub mean_score: f64,
    /// Mean of the scores.
    #[api(output)]
    pub mean_normalized_score: f64,
    /// What it builds on.
    #[api(flatten)]
    pub base: MetricsBase,
}

/// Model Metrics Binomial Uplift V3.
#[derive(Clone, Debug, Schema)]
#[api(name = "ModelMetricsBinomialUpliftV3", superclass = "ModelMetricsBaseV3", iced = "ModelMetricsBinomialUplift")]
pub struct UpliftMetrics {
    /// Mean predicted uplift.
    #[api(output)]
    pub ate: f64,
    /// Mean predicted uplift of the treated.
    #[api(output)]
    pub att: f64,
    /// Mean predicted uplift of the others.
    #[api(output)]
    pub atc: f64,
    /// Area under the chosen uplift curve.
    #[api(name = "AUUC", output)]
    pub auuc: f64,
    /// The same of the normalized curve.
    #[api(output)]
    pub auuc_normalized: f64,
    /// What the Qini curve has above the line of a random order.
    #[api(output)]
    pub qini: f64,
    /// Classes.
    #[api(output)]
    pub domain: Option<Vec<String>>,
    /// The curves at each threshold.
    #[api(output, expert)]
    pub thresholds_and_metric_scores: Option<Table>,
    /// Areas under the three curves.
    #[api(output, secondary)]
    pub auuc_table: Option<Table>,
    /// What the three curves have above the line of a random order.
    #[api(output, secondary)]
    pub aecu_table: Option<Table>,
    /// What it builds on.
    #[api(flatten)]
    pub base: MetricsBase,
}

/// Model Metrics Clustering V3.
#[derive(Clone, Debug, Schema)]
#[api(name = "ModelMetricsClusteringV3", superclass = "ModelMetricsBaseV3", iced = "ModelMetricsClustering")]
pub struct ClusteringMetrics {
    /// Tot withinss.
    pub tot_withinss: f64,
    /// Totss.
    pub totss: f64,
    /// Betweenss.
    pub betweenss: f64,
    /// Centroid stats.
    pub centroid_stats: Option<Table>,
    /// What it builds on.
    #[api(flatten)]
    pub base: MetricsBase,
}

/// Model Metrics Binomial GLMV3.
#[derive(Clone, Debug, Schema)]
#[api(name = "ModelMetricsBinomialGLMV3", superclass = "ModelMetricsBinomialV3", iced = "ModelMetricsBinomialGLM")]
pub struct GlmBinomialMetrics {
    /// Residual deviance.
    #[api(output)]
    pub residual_deviance: f64,
    /// Null deviance.
    #[api(output)]
    pub null_deviance: f64,
    /// AIC.
    #[api(name = "AIC", output)]
    pub aic: f64,
    /// Loglikelihood.
    #[api(output)]
    pub loglikelihood: f64,
    /// Null degrees of freedom.
    #[api(output)]
    pub null_degrees_of_freedom: i64,
    /// Residual degrees of freedom.
    #[api(output)]
    pub residual_degrees_of_freedom: i64,
    /// What it builds on.
    #[api(flatten)]
    pub base: BinomialMetrics,
}

/// Model Metrics Multinomial GLMV3.
#[derive(Clone, Debug, Schema)]
#[api(name = "ModelMetricsMultinomialGLMV3", superclass = "ModelMetricsMultinomialV3", iced = "ModelMetricsMultinomialGLM")]
pub struct GlmMultinomialMetrics {
    /// Residual deviance.
    #[api(output)]
    pub residual_deviance: f64,
    /// Null deviance.
    #[api(output)]
    pub null_deviance: f64,
    /// AIC.
    #[api(name = "AIC", output)]
    pub aic: f64,
    /// Loglikelihood.
    #[api(output)]
    pub loglikelihood: f64,
    /// Null degrees of freedom.
    #[api(output)]
    pub null_degrees_of_freedom: i64,
    /// Residual degrees of freedom.
    #[api(output)]
    pub residual_degrees_of_freedom: i64,
    /// What it builds on.
    #[api(flatten)]
    pub base: MultinomialMetrics,
}

/// Model Metrics Regression GLMV3.
#[derive(Clone, Debug, Schema)]
#[api(name = "ModelMetricsRegressionGLMV3", superclass = "ModelMetricsRegressionV3", iced = "ModelMetricsRegressionGLM")]
pub struct GlmRegressionMetrics {
    /// Residual deviance.
    #[api(output)]
    pub residual_deviance: f64,
    /// Null deviance.
    #[api(output)]
    pub null_deviance: f64,
    /// AIC.
    #[api(name = "AIC", output)]
    pub aic: f64,
    /// Loglikelihood.
    #[api(output)]
    pub loglikelihood: f64,
    /// Null degrees of freedom.
    #[api(output)]
    pub null_degrees_of_freedom: i64,
    /// Residual degrees of freedom.
    #[api(output)]
    pub residual_degrees_of_freedom: i64,
    /// What it builds on.
    #[api(flatten)]
    pub base: RegressionMetrics,
}
