//! Proportional hazards (Cox 1972): how predictors multiply the risk of an event, whatever that risk is over time.
//!
//! The partial likelihood, with ties after Efron (1977) or Breslow (1974), is maximised by Newton's method. Rows may be
//! observed from a start on; strata have risks of their own. Rows with a missing value take no part.
//!
//! Distribution: rows are fetched whole on every node, which then do the same sums; they are sorted by time, so there is
//! no order of chunks to keep.

mod fit;

use crate::glm::interactions;
use ochre_core::{Node, Result};
use ochre_model::params::CommonParams;
use ochre_model::wire::ModelOutput;
use ochre_model::{Algorithm, AlgorithmInfo, Category, Fitted, Run, Shape};
use ochre_schema::{Choice, FrameKey, Notes, Schema, Table, Value};

/// How events at the same time share the risk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
#[api(name = "CoxphCoxPHModelCoxPHParametersCoxPHTies")]
pub enum Ties {
    #[api(name = "efron")]
    Efron,
    #[api(name = "breslow")]
    Breslow,
}

/// Parameters of the builder.
#[derive(Clone, Debug, Schema)]
#[api(name = "CoxPHParametersV3", superclass = "ModelParametersSchemaV3", iced = "CoxPHParameters")]
pub struct CoxParams {
    /// What every algorithm has.
    #[api(
        flatten,
        omit(
            validation_frame,
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
            ignore_const_cols,
            score_each_iteration,
            checkpoint,
            stopping_rounds,
            max_runtime_secs,
            stopping_metric,
            stopping_tolerance,
            gainslift_bins,
            custom_metric_func,
            custom_distribution_func,
            auc_type
        )
    )]
    pub common: CommonParams,
    /// Column of the times from which rows are observed.
    #[api(ty = "VecSpecifier", schema = "ColSpecifierV3", inout, member_of("training_frame"), exclusive("ignored_columns"))]
    pub start_column: Option<String>,
    /// Column of the times of events, or of the end of observation.
    #[api(ty = "VecSpecifier", schema = "ColSpecifierV3", inout, member_of("training_frame"), exclusive("ignored_columns"))]
    pub stop_column: Option<String>,
    /// Categorical columns whose values make strata.
    #[api(inout)]
    pub stratify_by: Option<Vec<String>>,
    /// How events at the same time are treated.
    #[api(inout)]
    pub ties: Ties,
    /// Coefficients to begin with.
    #[api(inout)]
    pub init: f64,
    /// Converged when the log relative error of the likelihood is above this.
    #[api(default = 9.0, inout)]
    pub lre_min: f64,
    /// Most iterations.
    #[api(default = 20, inout, range = "[1, )")]
    pub max_iterations: i32,
    /// Columns for interactions that are no predictors themselves.
    #[api(expert)]
    pub interactions_only: Option<Vec<String>>,
    /// Columns of which all pairs interact.
    #[api(expert)]
    pub interactions: Option<Vec<String>>,
    /// Pairs of columns that interact.
    #[api(ty = "StringPair[]", schema = "StringPairV3", expert)]
    pub interaction_pairs: Value,
    /// Give the first level of categorical predictors a coefficient too.
    #[api(expert, gridable)]
    pub use_all_factor_levels: bool,
    /// Has no effect: the sums are small and every node does them.
    #[api(inout, expert)]
    pub single_node_mode: bool,
}

/// Output of a trained model.
#[derive(Clone, Debug, Schema)]
#[api(name = "CoxPHModelOutputV3", superclass = "ModelOutputSchemaV3", iced = "CoxPHOutput")]
pub struct CoxOutput {
    /// What every model shows.
    #[api(flatten)]
    pub common: ModelOutput,
    /// Coefficients, their exponentials, standard errors and z values.
    pub coefficients_table: Option<Table>,
    /// Covariance of the coefficients.
    pub var_coef: Option<Vec<Vec<f64>>>,
    /// Log-likelihood at the coefficients that training began with.
    pub null_loglik: f64,
    /// Log-likelihood.
    pub loglik: f64,
    /// Likelihood ratio test.
    pub loglik_test: f64,
    /// Wald test.
    pub wald_test: f64,
    /// Score test.
    pub score_test: f64,
    /// R squared.
    pub rsq: f64,
    /// Largest possible R squared.
    pub maxrsq: f64,
    /// Log relative error of the last iteration.
    pub lre: f64,
    /// Iterations.
    pub iter: i32,
    /// Means of categorical predictors, by stratum.
    pub x_mean_cat: Option<Vec<Vec<f64>>>,
    /// Means of numeric predictors, by stratum.
    pub x_mean_num: Option<Vec<Vec<f64>>>,
    /// Means of offsets.
    pub mean_offset: Option<Vec<f64>>,
    /// Names of offsets.
    pub offset_names: Option<Vec<String>>,
    /// Rows that took part.
    pub n: i64,
    /// Rows with missing values.
    pub n_missing: i64,
    /// Events.
    pub total_event: i64,
    /// Times at which something happened, stratum by stratum.
    pub time: Option<Vec<f64>>,
    /// Rows at risk at each time.
    pub n_risk: Option<Vec<f64>>,
    /// Events at each time.
    pub n_event: Option<Vec<f64>>,
    /// Ends of observation at each time.
    pub n_censor: Option<Vec<f64>>,
    /// Cumulative baseline hazard at each time.
    pub cumhaz_0: Option<Vec<f64>>,
    /// Variance of the cumulative hazard.
    pub var_cumhaz_1: Option<Vec<f64>>,
    /// Variance of the cumulative hazard from the coefficients.
    pub var_cumhaz_2: Option<FrameKey>,
    /// Baseline hazard.
    pub baseline_hazard: Option<FrameKey>,
    /// Baseline survival.
    pub baseline_survival: Option<FrameKey>,
    /// The model as a formula.
    pub formula: Option<String>,
    /// How ties were treated.
    pub ties: Ties,
    /// Share of comparable pairs that are ordered rightly.
    pub concordance: f64,
}

pub struct CoxPh;

impl Algorithm for CoxPh {
    const INFO: AlgorithmInfo = AlgorithmInfo {
        name: "coxph",
        full_name: "Cox Proportional Hazards",
        stem: "CoxPH",
        categories: &[Category::CoxPh],
        supervised: true,
        builder_schema: "CoxPHV3",
        builder_superclass: "ModelBuilderSchema",
        parameters_type: "CoxPHParameters",
        model_schema: "CoxPHModelV3",
        model_superclass: "ModelSchemaV3",
        model_type: "CoxPHModel",
        output_type: "CoxPHOutput",
    };
    type Params = CoxParams;
    type Output = CoxOutput;

    fn common(params: &CoxParams) -> &CommonParams {
        &params.common
    }
    fn common_mut(params: &mut CoxParams) -> &mut CommonParams {
        &mut params.common
    }
    fn seed_mut(_: &mut CoxParams) -> Option<&mut i64> {
        None
    }
    fn output_common(output: &mut CoxOutput) -> &mut ModelOutput {
        &mut output.common
    }

    fn check_frames(params: &CoxParams, node: &Node, _: &Shape<'_>, notes: &mut Notes) {
        if let Err(e) = fit::strata(node, params) {
            notes.error("_stratify_by", e.to_string());
        }
    }

    fn check(params: &CoxParams, shape: &Shape<'_>, notes: &mut Notes) {
        if params.stop_column.as_deref().is_none_or(str::is_empty) {
            notes.error("_stop_column", "The stop_column must be given: the times of events and of the end of observation.");
        }
        if params.start_column.is_some() && params.start_column == params.stop_column {
            notes.error("_start_column", "start_column and stop_column must be different columns");
        }
        if params.lre_min < 0.0 {
            notes.error("_lre_min", format!("lre_min must be a positive number, but is {}", params.lre_min));
        }
        let apart: Vec<&String> =
            params.start_column.iter().chain(&params.stop_column).chain(params.stratify_by.iter().flatten()).collect();
        if shape.training.names.iter().all(|n| apart.contains(&n)) {
            let what = "Training data must have at least 1 feature that is not a response and is not used for stratification.";
            notes.error("_train", what);
        }
        if shape.response.is_some_and(|c| !c.is_enum() && c.rollup().is_ok_and(|r| !r.whole)) {
            notes.error("_response_column", "response/event column must be of type integer or factor");
        }
        match interactions::pairs(params.interactions.as_deref(), &params.interaction_pairs) {
            Err(e) => notes.error("_interactions", e.to_string()),
            Ok(pairs) => {
                let strata = params.stratify_by.as_deref().unwrap_or_default();
                let known = |n: &String| shape.training.names.contains(n) || strata.contains(n);
                let mut named: Vec<&String> =
                    pairs.iter().flat_map(|(a, b)| [a, b]).chain(params.interactions_only.iter().flatten()).collect();
                named.sort();
                named.dedup();
                for n in named.into_iter().filter(|n| !known(n)) {
                    notes.error(
                        "_interactions",
                        format!("{n} not found in the training frame, or no predictor; it has to be listed among them"),
                    );
                }
                for n in params.interactions.iter().flatten().filter(|n| strata.contains(n)) {
                    let what = "cannot be used in an implicit interaction. Use explicit (pair-wise) interactions instead";
                    notes.error("_stratify_by", format!("stratification column '{n}' {what}"));
                }
            }
        }
        if shape.category == Some(Category::Multinomial) {
            notes.error("_response_column", "The event column must be numeric, 0 or 1, or categorical with two levels");
        }
    }

    fn fit(run: &mut Run<'_, CoxParams>) -> Result<Fitted<CoxOutput>> {
        fit::fit(run)
    }
}
