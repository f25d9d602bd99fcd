//! Linear mixed models: shared coefficients, and coefficients of each group drawn from a normal distribution, fitted by
//! expectation and maximization (Dempster, Laird and Rubin 1977; Raudenbush and Bryk 2002, chapter 14), the shared
//! coefficients by generalized least squares (Liu and Rubin 1994).
//!
//! One pass sums what the likelihood needs, group by group; iterations work on the sums alone, so that their cost does not
//! depend on the number of rows. Distribution: sums over chunks, in their order.
//!
//! Departures from the reference: the variance of the noise takes in that the groups' coefficients are not known exactly
//! (the trace of their posterior covariance), as maximum likelihood demands; the reference leaves it out, so that its
//! estimate is too small where groups are. The log-likelihood is that of the marginal distribution. Where nothing is given
//! to begin with, ordinary least squares begins, where the reference draws at random.

mod fit;

use ochre_core::Result;
use ochre_model::params::CommonParams;
use ochre_model::wire::ModelOutput;
use ochre_model::{Algorithm, AlgorithmInfo, Category, Fitted, Run, Shape};
use ochre_schema::{FrameKey, Notes, Schema, Table};

/// Parameters of the builder.
#[derive(Clone, Debug, Schema)]
#[api(name = "HGLMParametersV3", superclass = "ModelParametersSchemaV3", iced = "HGLMParameters")]
pub struct HglmParams {
    /// What every algorithm has.
    #[api(
        flatten,
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
            fold_column,
            fold_assignment,
            categorical_encoding,
            max_categorical_levels,
            checkpoint,
            stopping_rounds,
            stopping_metric,
            stopping_tolerance,
            gainslift_bins,
            custom_distribution_func,
            export_checkpoints_dir,
            auc_type
        )
    )]
    pub common: CommonParams,
    /// Iterations between two rows of the scoring history.
    #[api(default = 5, secondary)]
    pub score_iteration_interval: i32,
    /// Seed of the noise of made data; -1 for a fresh one.
    #[api(default = -1, gridable)]
    pub seed: i64,
    /// What to do with missing predictors.
    #[api(ty = "enum", choice = "HglmHGLMModelHGLMParametersMissingValuesHandling", default = Some("MeanImputation".to_string()), inout, expert, gridable, values("MeanImputation", "Skip", "PlugValues"))]
    pub missing_values_handling: Option<String>,
    /// Plug values.
    pub plug_values: Option<FrameKey>,
    /// Distribution of the response.
    #[api(ty = "enum", choice = "HglmHGLMModelHGLMParametersFamily", default = Some("gaussian".to_string()), values("gaussian"))]
    pub family: Option<String>,
    /// Distribution of the groups' coefficients.
    #[api(ty = "enum", choice = "HglmHGLMModelHGLMParametersRandFamily", values("gaussian"))]
    pub rand_family: Option<String>,
    /// Most iterations; -1 for 1000, 0 for none.
    #[api(default = -1, secondary)]
    pub max_iterations: i32,
    /// Shared coefficients to begin with, the intercept last.
    #[api(inout, expert, gridable)]
    pub initial_fixed_effects: Option<Vec<f64>>,
    /// Frame of the groups' coefficients to begin with: a row for each group.
    #[api(inout, expert, gridable)]
    pub initial_random_effects: Option<FrameKey>,
    /// Frame of the covariance of the groups' coefficients to begin with.
    #[api(inout, expert, gridable)]
    pub initial_t_matrix: Option<FrameKey>,
    /// Variance of each of the groups' coefficients to begin with.
    #[api(expert, gridable)]
    pub tau_u_var_init: f64,
    /// Variance of the noise to begin with.
    #[api(expert, gridable)]
    pub tau_e_var_init: f64,
    /// Predictors whose coefficients differ from group to group.
    #[api(gridable)]
    pub random_columns: Option<Vec<String>>,
    /// How the model is fitted.
    #[api(ty = "enum", choice = "HglmHGLMModelHGLMParametersMethod", default = Some("EM".to_string()), values("EM"))]
    pub method: Option<String>,
    /// Largest change of any coefficient or variance that counts as none.
    #[api(default = 0.001, expert)]
    pub em_epsilon: f64,
    /// Does each group have an intercept?
    #[api(default = true, gridable)]
    pub random_intercept: bool,
    /// Categorical column whose levels are the groups.
    #[api(gridable)]
    pub group_column: Option<String>,
    /// Make data: keep the coefficients and variances that are given, and add noise to predictions.
    #[api(gridable)]
    pub gen_syn_data: bool,
}

/// Output of a trained model.
#[derive(Clone, Debug, Schema)]
#[api(name = "HGLMModelOutputV3", superclass = "ModelOutputSchemaV3", iced = "HGLMModelOutput")]
pub struct HglmOutput {
    /// What every model shows.
    #[api(flatten)]
    pub common: ModelOutput,
    /// Shared coefficients.
    pub coefficients_table: Option<Table>,
    /// Coefficients of the groups.
    pub random_coefficients_table: Option<Table>,
    /// Steps of the fit, judged on the validation frame.
    pub scoring_history_valid: Option<Table>,
    /// Names of the shared coefficients.
    pub coefficient_names: Option<Vec<String>>,
    /// Names of the coefficients that each group has.
    pub random_coefficient_names: Option<Vec<String>>,
    /// The groups.
    pub group_column_names: Option<Vec<String>>,
    /// Shared coefficients.
    pub beta: Option<Vec<f64>>,
    /// Coefficients of each group.
    pub ubeta: Option<Vec<Vec<f64>>>,
    /// Covariance of the groups' coefficients.
    pub tmat: Option<Vec<Vec<f64>>>,
    /// Share of the variance that each of the groups' coefficients has.
    pub icc: Option<Vec<f64>>,
    /// Variance of the noise.
    pub residual_variance: f64,
    /// Mean squared error of the shared coefficients alone.
    pub mean_residual_fixed: f64,
    /// The same on the validation frame.
    pub mean_residual_fixed_valid: f64,
}

pub struct Hglm;

impl HglmParams {
    fn random(&self) -> Vec<String> {
        self.random_columns.clone().unwrap_or_default()
    }
    fn group(&self) -> &str {
        self.group_column.as_deref().unwrap_or_default()
    }
    fn handles_missing_by(&self, way: &str) -> bool {
        self.missing_values_handling.as_deref().is_some_and(|m| m.eq_ignore_ascii_case(way))
    }
}

impl Algorithm for Hglm {
    const INFO: AlgorithmInfo = AlgorithmInfo {
        name: "hglm",
        full_name: "Hierarchical Generalized Linear Model",
        stem: "HGLM",
        categories: &[Category::Regression],
        supervised: true,
        builder_schema: "HGLMV3",
        builder_superclass: "ModelBuilderSchema",
        parameters_type: "HGLMParameters",
        model_schema: "HGLMModelV3",
        model_superclass: "ModelSchemaV3",
        model_type: "HGLMModel",
        output_type: "HGLMModelOutput",
    };
    type Params = HglmParams;
    type Output = HglmOutput;

    fn common(params: &HglmParams) -> &CommonParams {
        &params.common
    }
    fn common_mut(params: &mut HglmParams) -> &mut CommonParams {
        &mut params.common
    }
    fn seed_mut(params: &mut HglmParams) -> Option<&mut i64> {
        Some(&mut params.seed)
    }
    fn output_common(output: &mut HglmOutput) -> &mut ModelOutput {
        &mut output.common
    }
    fn wants_classes(_: &HglmParams) -> Option<bool> {
        Some(false)
    }
    fn named_predictors(params: &HglmParams) -> Vec<String> {
        let mut names = params.random();
        names.push(params.group().to_string());
        names
    }

    fn check(params: &HglmParams, shape: &Shape<'_>, notes: &mut Notes) {
        let train = shape.training;
        if shape.category.is_some_and(|c| c != Category::Regression) {
            notes.error("_response_column", "HGLM needs a numeric response, but the response is categorical");
        }
        match params.group() {
            "" => notes.error("_group_column", " column used to generate level 2 units is missing"),
            name => match train.names.iter().position(|n| n == name) {
                None => notes
                    .error("_group_column", format!("column '{name}' is not in the training frame, or is constant, or is the response")),
                Some(i) if !train.columns[i].is_enum() => {
                    notes.error(
                        "_group_column",
                        format!(" should be a categorical column, but '{name}' is numeric; convert it with asfactor()"),
                    );
                }
                Some(_) => {}
            },
        }
        for name in params.random() {
            if !train.names.contains(&name) {
                notes.error(
                    "_random_columns",
                    format!(" can only contain columns in the training frame, but '{name}' is none or is constant"),
                );
            } else if name == params.group() {
                notes.error(
                    "_random_columns",
                    format!("'{name}' is the group column, whose coefficients are the groups' intercepts; set random_intercept"),
                );
            }
        }
        if params.random().is_empty() && !params.random_intercept {
            notes.error(
                "_random_columns",
                " should not be null if random_intercept is false.  You must specify predictors in random_columns or set random_intercept to true.",
            );
        }
        for (name, v) in [("tau_u_var_init", params.tau_u_var_init), ("tau_e_var_init", params.tau_e_var_init)] {
            if !(v >= 0.0 && v.is_finite()) {
                notes.error(&format!("_{name}"), format!("{name} must be positive, or 0 for a value that the data suggest, but is {v}"));
            }
        }
        if params.max_iterations < -1 {
            notes
                .error("_max_iterations", format!("max_iterations must be -1 (for 1000), 0 or positive, but is {}", params.max_iterations));
        }
        if params.em_epsilon.is_nan() || params.em_epsilon <= 0.0 {
            notes.error("_em_epsilon", format!("em_epsilon must be positive, but is {}", params.em_epsilon));
        }
        if params.score_iteration_interval < 1 {
            notes.error(
                "_score_iteration_interval",
                format!("score_iteration_interval must be at least 1, but is {}", params.score_iteration_interval),
            );
        }
        if params.handles_missing_by("PlugValues") && params.plug_values.as_ref().is_none_or(|k| k.0.is_empty()) {
            notes.error("_missing_values_handling", "No plug values frame provided for Missing Values Handling = PlugValues.");
        }
    }

    fn fit(run: &mut Run<'_, HglmParams>) -> Result<Fitted<HglmOutput>> {
        fit::fit(run)
    }
}
