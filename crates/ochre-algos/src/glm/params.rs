//! The declaration of the builder's parameters.

use ochre_core::{Error, Result};
use ochre_model::params::CommonParams;
use ochre_schema::{Choice, FrameKey, Schema, Value};

/// Distribution of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
#[api(name = "GlmGLMModelGLMParametersFamily")]
pub enum Family {
    #[api(name = "AUTO")]
    Auto,
    #[api(name = "gaussian")]
    Gaussian,
    #[api(name = "binomial")]
    Binomial,
    #[api(name = "fractionalbinomial")]
    Fractionalbinomial,
    #[api(name = "quasibinomial")]
    Quasibinomial,
    #[api(name = "ordinal")]
    Ordinal,
    #[api(name = "multinomial")]
    Multinomial,
    #[api(name = "poisson")]
    Poisson,
    #[api(name = "gamma")]
    Gamma,
    #[api(name = "tweedie")]
    Tweedie,
    #[api(name = "negativebinomial")]
    Negativebinomial,
}

/// Link function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
#[api(name = "GlmGLMModelGLMParametersLink")]
pub enum Link {
    #[api(name = "family_default")]
    FamilyDefault,
    #[api(name = "identity")]
    Identity,
    #[api(name = "logit")]
    Logit,
    #[api(name = "log")]
    Log,
    #[api(name = "inverse")]
    Inverse,
    #[api(name = "tweedie")]
    Tweedie,
    #[api(name = "ologit")]
    Ologit,
}

/// How the optimum is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
#[api(name = "GlmGLMModelGLMParametersSolver")]
pub enum Solver {
    #[api(name = "AUTO")]
    Auto,
    #[api(name = "IRLSM")]
    Irlsm,
    #[api(name = "L_BFGS")]
    LBfgs,
    #[api(name = "COORDINATE_DESCENT_NAIVE")]
    CoordinateDescentNaive,
    #[api(name = "COORDINATE_DESCENT")]
    CoordinateDescent,
    #[api(name = "GRADIENT_DESCENT_LH")]
    GradientDescentLh,
    #[api(name = "GRADIENT_DESCENT_SQERR")]
    GradientDescentSqerr,
}

/// What to do with missing predictors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
#[api(name = "GlmGLMModelGLMParametersMissingValuesHandling")]
pub enum MissingValues {
    MeanImputation,
    Skip,
    PlugValues,
}

/// Parameters of the builder.
#[derive(Clone, Debug, Schema)]
#[api(name = "GLMParametersV3", superclass = "ModelParametersSchemaV3", iced = "GLMParameters")]
pub struct GlmParams {
    /// What every algorithm has.
    #[api(
        flatten,
        omit(
            parallelize_cross_validation,
            distribution,
            tweedie_power,
            quantile_alpha,
            huber_alpha,
            categorical_encoding,
            max_categorical_levels,
            custom_distribution_func
        )
    )]
    pub common: CommonParams,
    /// Seed of the random generator; -1 for a fresh one.
    #[api(default = -1, gridable)]
    pub seed: i64,
    /// Distribution of the response.
    pub family: Family,
    /// Tweedie variance power.
    #[api(gridable)]
    pub tweedie_variance_power: f64,
    /// Dispersion learning rate.
    #[api(default = 0.5, expert, gridable)]
    pub dispersion_learning_rate: f64,
    /// Tweedie link power.
    #[api(default = 1.0, gridable)]
    pub tweedie_link_power: f64,
    /// Theta.
    #[api(default = 1e-10, gridable)]
    pub theta: f64,
    /// How the optimum is found.
    pub solver: Solver,
    /// Share of the L1 penalty, 0 (ridge) to 1 (lasso).
    #[api(gridable)]
    pub alpha: Option<Vec<f64>>,
    /// Lambda.
    #[api(gridable)]
    pub lambda: Option<Vec<f64>>,
    /// Search over a path of penalties.
    pub lambda_search: bool,
    /// Stop the path when the deviance no longer improves.
    #[api(default = true)]
    pub early_stopping: bool,
    /// Number of penalties on the path.
    #[api(default = -1, range = "[-1, 10000]")]
    pub nlambdas: i32,
    /// Score iteration interval.
    #[api(default = -1, secondary)]
    pub score_iteration_interval: i32,
    /// Scale columns to mean 0 and standard deviation 1.
    #[api(default = true, gridable)]
    pub standardize: bool,
    /// Cold start.
    pub cold_start: bool,
    /// What to do with missing predictors.
    #[api(inout, expert, gridable)]
    pub missing_values_handling: MissingValues,
    /// What is told of each row's influence on the coefficients.
    #[api(ty = "enum", choice = "GlmGLMModelGLMParametersInfluence", expert, values("dfbetas"))]
    pub influence: Option<String>,
    /// Plug values.
    pub plug_values: Option<FrameKey>,
    /// Restrict coefficients to be at least 0.
    pub non_negative: bool,
    /// Most iterations.
    #[api(default = -1, secondary)]
    pub max_iterations: i32,
    /// Converged when no coefficient changes by more than this.
    #[api(default = 0.0001, expert)]
    pub beta_epsilon: f64,
    /// Converged when the objective improves by less than this share; -1 chooses.
    #[api(default = -1.0, expert)]
    pub objective_epsilon: f64,
    /// Converged when the largest gradient is below this; -1 chooses.
    #[api(default = -1.0, expert)]
    pub gradient_epsilon: f64,
    /// Obj reg.
    #[api(default = -1.0)]
    pub obj_reg: f64,
    /// Link function.
    #[api(secondary)]
    pub link: Link,
    /// Dispersion parameter method.
    #[api(ty = "enum", choice = "GlmGLMModelGLMParametersDispersionMethod", default = Some("pearson".to_string()), secondary, values("deviance", "pearson", "ml"))]
    pub dispersion_parameter_method: Option<String>,
    /// Startval.
    #[api(gridable)]
    pub startval: Option<Vec<f64>>,
    /// Calc like.
    pub calc_like: bool,
    /// Generate variable inflation factors.
    #[api(expert)]
    pub generate_variable_inflation_factors: bool,
    /// Include a constant term.
    #[api(default = true, expert)]
    pub intercept: bool,
    /// Fit the constant alone, without predictors.
    #[api(expert)]
    pub build_null_model: bool,
    /// Fix dispersion parameter.
    #[api(expert)]
    pub fix_dispersion_parameter: bool,
    /// Init dispersion parameter.
    #[api(default = 1.0, expert, gridable)]
    pub init_dispersion_parameter: f64,
    /// Prior.
    #[api(default = -1.0, expert)]
    pub prior: f64,
    /// Smallest penalty on the path as a share of the largest; -1 chooses.
    #[api(default = -1.0, expert)]
    pub lambda_min_ratio: f64,
    /// Beta constraints.
    pub beta_constraints: Option<FrameKey>,
    /// Linear constraints.
    pub linear_constraints: Option<FrameKey>,
    /// Max active predictors.
    #[api(default = -1, expert)]
    pub max_active_predictors: i32,
    /// Interactions.
    #[api(expert)]
    pub interactions: Option<Vec<String>>,
    /// Interaction pairs.
    #[api(ty = "StringPair[]", schema = "StringPairV3", expert)]
    pub interaction_pairs: Value,
    /// Control variables.
    #[api(expert)]
    pub control_variables: Option<Vec<String>>,
    /// Remove offset effects.
    #[api(expert)]
    pub remove_offset_effects: bool,
    /// What cross-validation chose.
    #[api(skip)]
    pub chosen: Option<super::choice::Choice>,
    /// Balance classes by sampling.
    #[api(inout, secondary)]
    pub balance_classes: bool,
    /// Sampling rate of each class, in lexicographic order.
    #[api(inout, expert)]
    pub class_sampling_factors: Option<Vec<f32>>,
    /// Largest relative size of the frame after balancing.
    #[api(default = 5.0_f32, inout, expert)]
    pub max_after_balance_size: f32,
    /// Retired; has no effect.
    #[api(default = 20, inout, secondary)]
    pub max_confusion_matrix_size: i32,
    /// Compute p-values; where a penalty leaves coefficients at 0, of the others.
    #[api(secondary)]
    pub compute_p_values: bool,
    /// Fix tweedie variance power.
    #[api(default = true, secondary)]
    pub fix_tweedie_variance_power: bool,
    /// Drop columns that others determine.
    #[api(secondary)]
    pub remove_collinear_columns: bool,
    /// Dispersion epsilon.
    #[api(default = 0.0001, inout, secondary)]
    pub dispersion_epsilon: f64,
    /// Tweedie epsilon.
    #[api(default = 8e-17, inout, secondary)]
    pub tweedie_epsilon: f64,
    /// Max iterations dispersion.
    #[api(default = 3000, inout, secondary)]
    pub max_iterations_dispersion: i32,
    /// Generate scoring history.
    #[api(secondary)]
    pub generate_scoring_history: bool,
    /// Init optimal glm.
    #[api(inout, secondary, gridable)]
    pub init_optimal_glm: bool,
    /// Separate linear beta.
    #[api(inout, secondary, gridable)]
    pub separate_linear_beta: bool,
    /// Constraint eta0.
    #[api(default = 0.1258925, inout, expert, gridable)]
    pub constraint_eta0: f64,
    /// Constraint tau.
    #[api(default = 10.0, inout, expert, gridable)]
    pub constraint_tau: f64,
    /// Constraint alpha.
    #[api(default = 0.1, inout, expert, gridable)]
    pub constraint_alpha: f64,
    /// Constraint beta.
    #[api(default = 0.9, inout, expert, gridable)]
    pub constraint_beta: f64,
    /// Constraint c0.
    #[api(default = 10.0, inout, expert, gridable)]
    pub constraint_c0: f64,
}

impl GlmParams {
    /// What another builder's form has in common with this one's, but for `own`. Where a parameter is in `chosen`, 0 leaves
    /// the choice to the linear model.
    pub fn shared(mut form: Vec<(String, String)>, own: &[&str], chosen: &[&str]) -> Vec<(String, String)> {
        let known = GlmParams::fields();
        form.retain(|(n, v)| {
            let zero = chosen.contains(&n.as_str()) && v.parse() == Ok(0.0);
            known.iter().any(|f| f.name == n) && !own.contains(&n.as_str()) && !zero
        });
        form
    }

    /// The parameters of such a form.
    pub fn taking(form: Vec<(String, String)>, own: &[&str], chosen: &[&str]) -> Result<GlmParams> {
        let mut glm = GlmParams::default();
        for (name, text) in GlmParams::shared(form, own, chosen) {
            if let Some(Err(e)) = glm.set(&name, &text) {
                return Err(Error::invalid(format!("{name}: {e}")));
            }
        }
        Ok(glm)
    }
}
