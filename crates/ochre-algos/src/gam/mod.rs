//! Generalized additive models: linear models of predictors and of smooth functions of them (Wood 2006).
//!
//! A smooth is a basis of functions whose coefficients are fitted with those of the other predictors; how much the sum bends is
//! penalised. Bases are combined so that each smooth is 0 on average. The linear model is `glm`'s, which gets the
//! functions as derived predictors, so that scoring computes them from the predictors themselves.
//!
//! Departures from the reference: thin plates have a basis of their own (any other turns into it; predictions are the
//! same), and of three numbers they have the sign of the paper, where the reference's penalty is negative and its fit
//! fails. Where quantiles are equal, knots are quantiles of the different values; the reference moves equal knots apart by
//! 1e-12. `names` lists the predictors, not the functions made of them.

mod fit;
mod splines;

use crate::glm::{Glm, GlmParams};
use ochre_core::Result;
use ochre_model::driver::form_of;
use ochre_model::params::CommonParams;
use ochre_model::wire::ModelOutput;
use ochre_model::{Algorithm, AlgorithmInfo, Category, Fitted, Run, Shape};
use ochre_schema::{FrameKey, Notes, Schema, Table, Value};
use ochre_score::smooth::{Kind, polynomials};

/// Parameters of the builder.
#[derive(Clone, Debug, Schema)]
#[api(name = "GAMParametersV3", superclass = "ModelParametersSchemaV3", iced = "GAMParameters")]
pub struct GamParams {
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
            checkpoint,
            custom_metric_func,
            custom_distribution_func
        )
    )]
    pub common: CommonParams,
    /// Seed of the random generator; -1 for a fresh one.
    #[api(default = -1, gridable)]
    pub seed: i64,
    /// Distribution of the response.
    #[api(ty = "enum", choice = "GlmGLMModelGLMParametersFamily", default = Some("AUTO".to_string()), values("AUTO", "gaussian", "binomial", "quasibinomial", "ordinal", "multinomial", "poisson", "gamma", "tweedie", "negativebinomial", "fractionalbinomial"))]
    pub family: Option<String>,
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
    #[api(ty = "enum", choice = "GlmGLMModelGLMParametersSolver", default = Some("AUTO".to_string()), values("AUTO", "IRLSM", "L_BFGS", "COORDINATE_DESCENT_NAIVE", "COORDINATE_DESCENT", "GRADIENT_DESCENT_LH", "GRADIENT_DESCENT_SQERR"))]
    pub solver: Option<String>,
    /// Alpha.
    #[api(gridable)]
    pub alpha: Option<Vec<f64>>,
    /// Lambda.
    #[api(gridable)]
    pub lambda: Option<Vec<f64>>,
    /// Lambda search.
    pub lambda_search: bool,
    /// Early stopping.
    #[api(default = true)]
    pub early_stopping: bool,
    /// Nlambdas.
    #[api(default = -1)]
    pub nlambdas: i32,
    /// Standardize.
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
    /// Do rising splines (bs=2) rise (true, as where nothing is said) or fall? One answer for each, in the order of gam_columns.
    #[api(gridable)]
    pub splines_non_negative: Option<Vec<bool>>,
    /// Intercept.
    #[api(default = true, expert)]
    pub intercept: bool,
    /// Non negative.
    pub non_negative: bool,
    /// Max iterations.
    #[api(default = -1, secondary)]
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
    /// Link function.
    #[api(ty = "enum", choice = "GlmGLMModelGLMParametersLink", default = Some("family_default".to_string()), secondary, values("family_default", "identity", "logit", "log", "inverse", "tweedie", "ologit"))]
    pub link: Option<String>,
    /// Startval.
    #[api(gridable)]
    pub startval: Option<Vec<f64>>,
    /// Prior.
    #[api(default = -1.0, expert)]
    pub prior: f64,
    /// Cold start.
    pub cold_start: bool,
    /// Lambda min ratio.
    #[api(default = -1.0, expert)]
    pub lambda_min_ratio: f64,
    /// Beta constraints.
    pub beta_constraints: Option<FrameKey>,
    /// Max active predictors.
    #[api(default = -1, expert)]
    pub max_active_predictors: i32,
    /// Interactions.
    #[api(expert, unsupported)]
    pub interactions: Option<Vec<String>>,
    /// Interaction pairs.
    #[api(ty = "StringPair[]", schema = "StringPairV3", expert, unsupported)]
    pub interaction_pairs: Value,
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
    /// Retired; has no effect.
    #[api(default = 20, inout, secondary)]
    pub max_confusion_matrix_size: i32,
    /// Number of knots of each smooth; 10 where nothing is said.
    #[api(gridable)]
    pub num_knots: Option<Vec<i32>>,
    /// Order of each smooth, counted where bs is 2 or 3; 3 where nothing is said.
    #[api(gridable)]
    pub spline_orders: Option<Vec<i32>>,
    /// Frames that hold the knots of each smooth.
    #[api(secondary)]
    pub knot_ids: Option<Vec<String>>,
    /// Predictors of each smooth.
    #[api(gridable, required)]
    pub gam_columns: Option<Vec<Option<Vec<String>>>>,
    /// Standardize the predictors of thin plates.
    #[api(secondary)]
    pub standardize_tp_gam_cols: bool,
    /// Scale the penalty of thin plates as that of the other smooths.
    #[api(secondary)]
    pub scale_tp_penalty_mat: bool,
    /// Kind of each smooth: 0 cubic regression spline, 1 thin plate, 2 rising splines (I-splines), 3 M-splines.
    #[api(gridable)]
    pub bs: Option<Vec<i32>>,
    /// Weight of the penalty of each smooth; 1 where nothing is said.
    #[api(gridable)]
    pub scale: Option<Vec<f64>>,
    /// Keep the frame of transformed predictors.
    #[api(secondary)]
    pub keep_gam_cols: bool,
    /// Show the knots.
    #[api(secondary)]
    pub store_knot_locations: bool,
}

/// Output of a trained model.
#[derive(Clone, Debug, Schema)]
#[api(name = "GAMModelOutputV3", superclass = "ModelOutputSchemaV3", iced = "GAMModelOutput")]
pub struct GamOutput {
    /// What every model shows.
    #[api(flatten)]
    pub common: ModelOutput,
    /// Coefficients of the centred functions.
    pub coefficients_table: Option<Table>,
    /// Coefficients of the functions as they are.
    pub coefficients_table_no_centering: Option<Table>,
    /// Steps of the fit.
    pub glm_scoring_history: Option<Table>,
    /// The linear model.
    pub glm_model_summary: Option<Table>,
    /// Sizes of standardized coefficients.
    pub standardized_coefficient_magnitudes: Option<Table>,
    /// Variable importances.
    #[api(output, secondary)]
    pub variable_importances: Option<Table>,
    /// Frame of the transformed predictors.
    pub gam_transformed_center_key: Option<String>,
    /// z values.
    pub glm_zvalues: Option<Vec<f64>>,
    /// p values.
    pub glm_pvalues: Option<Vec<f64>>,
    /// Standard errors.
    pub glm_std_err: Option<Vec<f64>>,
    /// Knots of each smooth.
    pub knot_locations: Option<Vec<Vec<f64>>>,
    /// The predictor that each list of knots belongs to.
    pub gam_knot_column_names: Option<Vec<String>>,
}

/// What the user says of one smooth.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub columns: Vec<String>,
    pub kind: Kind,
    pub knots: usize,
    pub order: usize,
    pub scale: f64,
    pub non_negative: bool,
    /// Frame that holds the knots.
    pub given: Option<String>,
}

impl GamParams {
    /// The predictors of each smooth.
    fn smooths(&self) -> Vec<Vec<String>> {
        self.gam_columns.iter().flatten().map(|c| c.clone().unwrap_or_default()).filter(|c| !c.is_empty()).collect()
    }

    /// The smooths, by their kind as in the reference; what is wrong is noted on its field.
    fn wanted(&self, notes: &mut Notes) -> Vec<Wanted> {
        let smooths = self.smooths();
        let n = smooths.len();
        let mut sized = |field: &str, len: Option<usize>| {
            if let Some(len) = len.filter(|l| *l != n && *l != 0) {
                notes.error(
                    &format!("_{field}"),
                    format!("{field} has {len} values, but gam_columns names {n} smooths; give one value for each"),
                );
            }
        };
        sized("num_knots", self.num_knots.as_ref().map(Vec::len));
        sized("bs", self.bs.as_ref().map(Vec::len));
        sized("scale", self.scale.as_ref().map(Vec::len));
        sized("knot_ids", self.knot_ids.as_ref().map(Vec::len));
        let kind = |i: usize| match self.bs.as_ref().and_then(|b| b.get(i)) {
            None | Some(0) => Some(Kind::Cubic),
            Some(1) => Some(Kind::Plate),
            Some(2) => Some(Kind::Rising),
            Some(3) => Some(Kind::Positive),
            _ => None,
        };
        // Some lists say something of certain kinds only, and may leave out the others.
        let of_kinds = |i: usize, len: Option<usize>, kinds: &[Kind]| {
            let before = (0..i).filter(|&j| kind(j).is_some_and(|k| kinds.contains(&k))).count();
            if len == Some(n) { i } else { before }
        };
        let mut out = vec![];
        for (i, columns) in smooths.into_iter().enumerate() {
            let name = columns.join(", ");
            let Some(kind) = kind(i) else {
                notes.error("_bs", format!("bs of '{name}' must be 0, 1, 2 or 3, but is {}", self.bs.as_deref().unwrap_or_default()[i]));
                continue;
            };
            let mut columns = columns;
            if kind == Kind::Plate {
                let d = columns.len();
                columns.dedup();
                if columns.len() != d {
                    notes.error("_gam_columns", format!("the thin plate of {name} names a column twice"));
                }
            } else if columns.len() != 1 {
                notes.error("_gam_columns", format!("the smooth of {name} has several columns; only thin plates (bs=1) may"));
                continue;
            }
            let order = self.spline_orders.as_ref().and_then(|o| o.get(of_kinds(i, Some(o.len()), &[Kind::Rising, Kind::Positive])));
            let order = *order.unwrap_or(&3);
            if kind != Kind::Plate && kind != Kind::Cubic && !(1..=20).contains(&order) {
                notes.error("_spline_orders", format!("spline_orders of '{name}' must be from 1 to 20, but is {order}"));
                continue;
            }
            let knots = self.num_knots.as_ref().and_then(|k| k.get(i)).copied().filter(|k| *k != 0).unwrap_or(10);
            let least = match kind {
                Kind::Plate => i32::try_from(polynomials(columns.len())).unwrap_or(i32::MAX - 1).saturating_add(1),
                Kind::Cubic => 3,
                _ => 2,
            };
            let given = self.knot_ids.as_ref().and_then(|k| k.get(i)).filter(|k| !k.is_empty() && *k != "None").cloned();
            if knots < least && given.is_none() {
                notes.error("_num_knots", format!("num_knots of '{name}' must be at least {least}, but is {knots}"));
                continue;
            }
            let scale = self.scale.as_ref().and_then(|s| s.get(i)).copied().unwrap_or(1.0);
            if !(scale >= 0.0 && scale.is_finite()) {
                notes.error("_scale", format!("scale of '{name}' must be 0 or positive, but is {scale}"));
            }
            let positive = self.splines_non_negative.as_ref();
            let non_negative = positive.and_then(|p| p.get(of_kinds(i, Some(p.len()), &[Kind::Rising]))).copied().unwrap_or(true);
            out.push(Wanted { columns, kind, knots: knots.max(0) as usize, order: order.max(1) as usize, scale, non_negative, given });
        }
        out.sort_by_key(|w| w.kind);
        out
    }

    /// The parameters of the linear model.
    fn linear(&self) -> Result<GlmParams> {
        // 0 says "choose" here.
        let chosen = ["theta"];
        GlmParams::taking(form_of(self), &["model_id", "ignored_columns", "nfolds", "fold_column"], &chosen)
    }
}

pub struct Gam;

impl Algorithm for Gam {
    const INFO: AlgorithmInfo = AlgorithmInfo {
        name: "gam",
        full_name: "Generalized Additive Model",
        stem: "GAM",
        categories: &[Category::Regression, Category::Binomial, Category::Multinomial, Category::Ordinal],
        supervised: true,
        builder_schema: "GAMV3",
        builder_superclass: "ModelBuilderSchema",
        parameters_type: "GAMParameters",
        model_schema: "GAMModelV3",
        model_superclass: "ModelSchemaV3",
        model_type: "GAMModel",
        output_type: "GAMModelOutput",
    };
    type Params = GamParams;
    type Output = GamOutput;

    fn common(params: &GamParams) -> &CommonParams {
        &params.common
    }
    fn common_mut(params: &mut GamParams) -> &mut CommonParams {
        &mut params.common
    }
    fn seed_mut(params: &mut GamParams) -> Option<&mut i64> {
        Some(&mut params.seed)
    }
    fn output_common(output: &mut GamOutput) -> &mut ModelOutput {
        &mut output.common
    }
    fn wants_classes(params: &GamParams) -> Option<bool> {
        params.linear().ok().and_then(|glm| Glm::wants_classes(&glm))
    }
    fn named_predictors(params: &GamParams) -> Vec<String> {
        params.smooths().concat()
    }

    fn check(params: &GamParams, shape: &Shape<'_>, notes: &mut Notes) {
        crate::glm::warn_of_balance(params.balance_classes, notes);
        if params.smooths().is_empty() {
            notes.error("_gam_columns", "gam_columns must name at least one column; without a smooth the model is a GLM");
        }
        for name in params.smooths().concat() {
            match shape.training.names.iter().position(|n| *n == name) {
                None => {
                    notes.error("_gam_columns", format!("column '{name}' is not in the training frame, or is constant, or is the response"))
                }
                Some(i) if shape.training.columns[i].is_enum() => {
                    notes.error("_gam_columns", format!("column '{name}' is categorical; smooths need numbers"));
                }
                Some(_) => {}
            }
        }
        params.wanted(notes);
        if params.family.as_deref().is_some_and(|f| f.eq_ignore_ascii_case("ordinal")) {
            notes.error("_family", "family ordinal is not supported for GAM by this version of ochre");
        }
        match params.linear() {
            Ok(glm) => Glm::check(&glm, shape, notes),
            Err(e) => notes.error("_family", e.to_string()),
        }
    }

    fn fit(run: &mut Run<'_, GamParams>) -> Result<Fitted<GamOutput>> {
        fit::fit(run)
    }
}
