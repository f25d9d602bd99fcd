//! Model selection: the best linear model of each number of predictors (Miller 2002).
//!
//! Going forward, a subset is judged by the share of variance that it explains. Where there is no penalty, constraint or
//! offset, that follows from one Gram matrix of all predictors, so the data are read once; otherwise each candidate is
//! fitted. Going backward, the predictor that is least significant is taken away, model by model. Models stand on the
//! room of generalized linear models and are published beside this one.

mod fit;

use ochre_core::Result;
use ochre_model::params::CommonParams;
use ochre_model::wire::ModelOutput;
use ochre_model::{Algorithm, AlgorithmInfo, Category, Fitted, Run, Shape};
use ochre_schema::{FrameKey, ModelKey, Notes, Schema};

/// Parameters of the builder.
#[derive(Clone, Debug, Schema)]
#[api(name = "ModelSelectionParametersV3", superclass = "ModelParametersSchemaV3", iced = "ModelSelectionParameters")]
pub struct SelectionParams {
    /// What every algorithm has.
    #[api(
        flatten,
        omit(
            keep_cross_validation_models,
            keep_cross_validation_predictions,
            keep_cross_validation_fold_assignment,
            parallelize_cross_validation,
            distribution,
            tweedie_power,
            quantile_alpha,
            huber_alpha,
            categorical_encoding,
            max_categorical_levels,
            checkpoint,
            gainslift_bins,
            custom_metric_func,
            custom_distribution_func,
            export_checkpoints_dir,
            auc_type
        )
    )]
    pub common: CommonParams,
    /// Seed of the random generator; -1 for a fresh one.
    #[api(default = -1, gridable)]
    pub seed: i64,
    /// Iterations between scorings.
    #[api(secondary)]
    pub score_iteration_interval: i32,
    /// Distribution of the response.
    #[api(ty = "enum", choice = "GlmGLMModelGLMParametersFamily", default = Some("AUTO".to_string()), values("AUTO", "gaussian", "binomial", "fractionalbinomial", "quasibinomial", "poisson", "gamma", "tweedie", "negativebinomial"))]
    pub family: Option<String>,
    /// Link function.
    #[api(ty = "enum", choice = "GlmGLMModelGLMParametersLink", default = Some("family_default".to_string()), secondary, values("family_default", "identity", "logit", "log", "inverse", "tweedie", "ologit"))]
    pub link: Option<String>,
    /// Tweedie variance power.
    #[api(gridable)]
    pub tweedie_variance_power: f64,
    /// Tweedie link power.
    #[api(gridable)]
    pub tweedie_link_power: f64,
    /// Theta.
    #[api(gridable)]
    pub theta: f64,
    /// Solver.
    #[api(ty = "enum", choice = "GlmGLMModelGLMParametersSolver", default = Some("IRLSM".to_string()), values("AUTO", "IRLSM", "L_BFGS", "COORDINATE_DESCENT_NAIVE", "COORDINATE_DESCENT", "GRADIENT_DESCENT_LH", "GRADIENT_DESCENT_SQERR"))]
    pub solver: Option<String>,
    /// Share of the L1 penalty.
    #[api(gridable)]
    pub alpha: Option<Vec<f64>>,
    /// Weights of the penalty.
    #[api(default = Some(vec![0.0]), gridable)]
    pub lambda: Option<Vec<f64>>,
    /// Lambda search.
    pub lambda_search: bool,
    /// Early stopping.
    pub early_stopping: bool,
    /// Nlambdas.
    pub nlambdas: i32,
    /// Scale columns to mean 0 and standard deviation 1.
    #[api(default = true)]
    pub standardize: bool,
    /// Missing values handling.
    #[api(ty = "enum", choice = "GlmGLMModelGLMParametersMissingValuesHandling", default = Some("MeanImputation".to_string()), inout, expert, gridable, values("MeanImputation", "Skip", "PlugValues"))]
    pub missing_values_handling: Option<String>,
    /// Plug values.
    pub plug_values: Option<FrameKey>,
    /// Compute p values.
    #[api(secondary)]
    pub compute_p_values: bool,
    /// Remove collinear columns.
    #[api(secondary)]
    pub remove_collinear_columns: bool,
    /// Intercept.
    #[api(default = true, expert)]
    pub intercept: bool,
    /// Non negative.
    pub non_negative: bool,
    /// Most iterations of each model; 0 chooses.
    #[api(secondary)]
    pub max_iterations: i32,
    /// Objective epsilon.
    #[api(default = -1.0, expert)]
    pub objective_epsilon: f64,
    /// Beta epsilon.
    #[api(default = 0.0001, expert)]
    pub beta_epsilon: f64,
    /// Gradient epsilon.
    #[api(default = -1.0, expert)]
    pub gradient_epsilon: f64,
    /// Startval.
    #[api(gridable)]
    pub startval: Option<Vec<f64>>,
    /// Prior.
    #[api(expert)]
    pub prior: f64,
    /// Cold start.
    pub cold_start: bool,
    /// Lambda min ratio.
    #[api(expert)]
    pub lambda_min_ratio: f64,
    /// Beta constraints.
    pub beta_constraints: Option<FrameKey>,
    /// Max active predictors.
    #[api(default = -1, expert)]
    pub max_active_predictors: i32,
    /// Obj reg.
    #[api(default = -1.0)]
    pub obj_reg: f64,
    /// Balance classes.
    #[api(inout, secondary)]
    pub balance_classes: bool,
    /// Class sampling factors.
    #[api(inout, expert)]
    pub class_sampling_factors: Option<Vec<f32>>,
    /// Max after balance size.
    #[api(default = 5.0_f32, inout, expert)]
    pub max_after_balance_size: f32,
    /// Max confusion matrix size.
    #[api(default = 20, inout, secondary)]
    pub max_confusion_matrix_size: i32,
    /// Has no effect: candidates are judged from one matrix of sums.
    #[api(secondary, gridable)]
    pub nparallelism: i32,
    /// Largest number of predictors to look for the best model of.
    #[api(default = 1, secondary)]
    pub max_predictor_number: i32,
    /// Number of predictors at which going backward ends.
    #[api(default = 1, secondary)]
    pub min_predictor_number: i32,
    /// How subsets are tried: all of them, by adding and replacing (with or without sweeping), or by taking away.
    #[api(ty = "enum", choice = "GlmGLMModelGLMParametersMode", default = Some("maxr".to_string()), inout, values("allsubsets", "maxr", "maxrsweep", "backward"))]
    pub mode: Option<String>,
    /// Build the models of a sweep too, not only their coefficients.
    pub build_glm_model: bool,
    /// Going backward ends when no predictor has a larger p-value; 0 for never.
    #[api(expert)]
    pub p_values_threshold: f64,
    /// What is told of each row's influence on the coefficients of the models that are built.
    #[api(ty = "enum", choice = "GlmGLMModelGLMParametersInfluence", expert, values("dfbetas"))]
    pub influence: Option<String>,
    /// Has no effect: sums are made where the rows are.
    pub multinode_mode: bool,
    /// Compute likelihoods too; not a parameter of this builder.
    #[api(internal)]
    pub calc_like: bool,
}

/// Output of a trained model.
#[derive(Clone, Debug, Schema)]
#[api(name = "ModelSelectionModelOutputV3", superclass = "ModelOutputSchemaV3", iced = "ModelSelectionModelOutput")]
pub struct SelectionOutput {
    /// What every model shows.
    #[api(flatten)]
    pub common: ModelOutput,
    /// Predictors of the best model of each size.
    pub best_predictors_subset: Option<Vec<Vec<String>>>,
    /// Share of variance that the best model of each size explains.
    pub best_r2_values: Option<Vec<f64>>,
    /// Coefficients that came with each size.
    pub predictors_added_per_step: Option<Vec<Vec<String>>>,
    /// Coefficients that went with each size.
    pub predictors_removed_per_step: Option<Vec<Vec<String>>>,
    /// P-values of the coefficients of each model, going backward.
    pub coef_p_values: Option<Vec<Vec<f64>>>,
    /// Z values of the coefficients of each model, going backward.
    pub z_values: Option<Vec<Vec<f64>>>,
    /// The best models.
    pub best_model_ids: Option<Vec<ModelKey>>,
    /// Names of the coefficients of each model.
    pub coefficient_names: Option<Vec<Vec<String>>>,
    /// Coefficients of each model, where no models were built.
    pub coefficient_values: Option<Vec<Vec<f64>>>,
    /// The same for standardized predictors.
    pub coefficient_values_normalized: Option<Vec<Vec<f64>>>,
}

pub struct ModelSelection;

impl Algorithm for ModelSelection {
    const INFO: AlgorithmInfo = AlgorithmInfo {
        name: "modelselection",
        full_name: "Model Selection",
        stem: "ModelSelection",
        categories: &[Category::Regression],
        supervised: true,
        builder_schema: "ModelSelectionV3",
        builder_superclass: "ModelBuilderSchema",
        parameters_type: "ModelSelectionParameters",
        model_schema: "ModelSelectionModelV3",
        model_superclass: "ModelSchemaV3",
        model_type: "ModelSelectionModel",
        output_type: "ModelSelectionModelOutput",
    };
    type Params = SelectionParams;
    type Output = SelectionOutput;

    fn common(params: &SelectionParams) -> &CommonParams {
        &params.common
    }
    fn common_mut(params: &mut SelectionParams) -> &mut CommonParams {
        &mut params.common
    }
    fn seed_mut(params: &mut SelectionParams) -> Option<&mut i64> {
        Some(&mut params.seed)
    }
    fn output_common(output: &mut SelectionOutput) -> &mut ModelOutput {
        &mut output.common
    }
    fn wants_training_metrics(_: &SelectionParams) -> bool {
        false
    }

    fn check(params: &SelectionParams, shape: &Shape<'_>, notes: &mut Notes) {
        crate::glm::warn_of_balance(params.balance_classes, notes);
        let backward = params.mode.as_deref() == Some("backward");
        if !backward && shape.category.is_some_and(|c| c != Category::Regression) {
            notes.error("_response", "'allsubsets', 'maxr', 'maxrsweep' only works with regression.");
        }
        let family = params.family.as_deref().unwrap_or("AUTO");
        if !backward && !["AUTO", "gaussian"].iter().any(|f| f.eq_ignore_ascii_case(family)) {
            notes.error(
                "_family",
                format!("mode {} needs the gaussian family, but family is {family}", params.mode.as_deref().unwrap_or("")),
            );
        }
        let within = |n: i32| n > 0 && n as usize <= shape.predictors;
        if !backward && !within(params.max_predictor_number) {
            notes.error(
                "_max_predictor_number",
                "max_predictor_number must exceed 0 and be no greater than the number of predictors of the training frame.",
            );
        }
        if backward && !within(params.min_predictor_number) {
            notes.error("_min_predictor_number", "min_predictor_number must be >= 1 and <= number of predictors of the training frame.");
        }
        if !(0.0..=1.0).contains(&params.p_values_threshold) {
            notes.error("_p_values_threshold", format!("p_values_threshold must be between 0 and 1, but is {}", params.p_values_threshold));
        }
        if params.p_values_threshold > 0.0 && !backward {
            notes.error("_p_values_threshold", "p_values_threshold only works with mode backward");
        }
        if params.mode.as_deref() == Some("maxrsweep") && fit::penalised(params) {
            notes.error("_lambda", "mode maxrsweep needs models without penalty and constraints: set lambda to 0, or use mode maxr");
        }
        if params.common.nfolds > 0 || params.common.fold_column.is_some() {
            notes.error(
                "_nfolds",
                "cross-validation is not supported for model selection by this version of ochre: subsets are judged on the training data",
            );
        }
    }

    fn fit(run: &mut Run<'_, SelectionParams>) -> Result<Fitted<SelectionOutput>> {
        fit::fit(run)
    }
}
