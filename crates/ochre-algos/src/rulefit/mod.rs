//! Rules read from trees, and a lasso over them and over the predictors (Friedman and Popescu 2008).
//!
//! Trees of each depth are grown by `drf` or `gbm`; every leaf is a rule, the conditions on the way to it. The leaves of a
//! tree are a category, which enters a linear model with an L1 penalty beside the predictors themselves. Scoring walks the
//! trees, so a model needs nothing but its predictors.

mod fit;

use ochre_core::Result;
use ochre_model::params::CommonParams;
use ochre_model::wire::ModelOutput;
use ochre_model::{Algorithm, AlgorithmInfo, Category, Fitted, Run, Shape};
use ochre_schema::{Notes, Schema, Table};

/// Parameters of the builder.
#[derive(Clone, Debug, Schema)]
#[api(name = "RuleFitParametersV3", superclass = "ModelParametersSchemaV3", iced = "RuleFitParameters")]
pub struct RuleFitParams {
    /// What every algorithm has.
    #[api(
        flatten,
        omit(
            nfolds,
            keep_cross_validation_models,
            keep_cross_validation_predictions,
            keep_cross_validation_fold_assignment,
            parallelize_cross_validation,
            tweedie_power,
            quantile_alpha,
            huber_alpha,
            offset_column,
            fold_column,
            fold_assignment,
            categorical_encoding,
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
            export_checkpoints_dir
        )
    )]
    pub common: CommonParams,
    /// Seed of the random generator; -1 for a fresh one.
    #[api(default = -1, gridable)]
    pub seed: i64,
    /// What grows the trees that rules are read from; AUTO is DRF.
    #[api(ty = "enum", choice = "RulefitRuleFitModelAlgorithm", default = Some("AUTO".to_string()), values("AUTO", "DRF", "GBM"))]
    pub algorithm: Option<String>,
    /// Least depth of the trees.
    #[api(default = 3)]
    pub min_rule_length: i32,
    /// Largest depth of the trees.
    #[api(default = 3)]
    pub max_rule_length: i32,
    /// Most rules and linear terms that the model keeps; -1 for any number.
    #[api(default = -1)]
    pub max_num_rules: i32,
    /// Are there rules, linear terms, or both?
    #[api(ty = "enum", choice = "RulefitRuleFitModelModelType", default = Some("RULES_AND_LINEAR".to_string()), values("RULES_AND_LINEAR", "RULES", "LINEAR"))]
    pub model_type: Option<String>,
    /// Trees of each depth.
    #[api(default = 50)]
    pub rule_generation_ntrees: i32,
    /// Count rules that say the same as one.
    #[api(default = true)]
    pub remove_duplicates: bool,
    /// Strength of the lasso.
    pub lambda: Option<Vec<f64>>,
}

/// Output of a trained model.
#[derive(Clone, Debug, Schema)]
#[api(name = "RuleFitModelOutputV3", superclass = "ModelOutputSchemaV3", iced = "RuleFitOutput")]
pub struct RuleFitOutput {
    /// What every model shows.
    #[api(flatten)]
    pub common: ModelOutput,
    /// Rules and linear terms that the model keeps, the strongest first.
    pub rule_importance: Option<Table>,
    /// Intercepts.
    pub intercept: Option<Vec<f64>>,
}

pub struct RuleFit;

impl RuleFitParams {
    fn is(&self, wanted: &str) -> bool {
        self.model_type.as_deref().unwrap_or("RULES_AND_LINEAR").eq_ignore_ascii_case(wanted)
    }
}

/// Trees of each length are grown: more conditions than this no rule needs.
const LENGTH_MAX: i32 = 100;

impl Algorithm for RuleFit {
    const INFO: AlgorithmInfo = AlgorithmInfo {
        name: "rulefit",
        full_name: "RuleFit",
        stem: "RuleFit",
        categories: &[Category::Regression, Category::Binomial, Category::Multinomial],
        supervised: true,
        builder_schema: "RuleFitV3",
        builder_superclass: "ModelBuilderSchema",
        parameters_type: "RuleFitParameters",
        model_schema: "RuleFitModelV3",
        model_superclass: "ModelSchemaV3",
        model_type: "RuleFitModel",
        output_type: "RuleFitOutput",
    };
    type Params = RuleFitParams;
    type Output = RuleFitOutput;

    fn common(params: &RuleFitParams) -> &CommonParams {
        &params.common
    }
    fn common_mut(params: &mut RuleFitParams) -> &mut CommonParams {
        &mut params.common
    }
    fn seed_mut(params: &mut RuleFitParams) -> Option<&mut i64> {
        Some(&mut params.seed)
    }
    fn output_common(output: &mut RuleFitOutput) -> &mut ModelOutput {
        &mut output.common
    }

    fn check(params: &RuleFitParams, _: &Shape<'_>, notes: &mut Notes) {
        if !params.is("LINEAR") {
            if params.min_rule_length < 1 {
                notes.error("_min_rule_length", format!("min_rule_length must be at least 1, but is {}", params.min_rule_length));
            }
            if params.max_rule_length > LENGTH_MAX {
                let given = params.max_rule_length;
                notes.error("_max_rule_length", format!("max_rule_length must be at most {LENGTH_MAX}, but is {given}"));
            }
            if params.max_rule_length < params.min_rule_length {
                notes.error(
                    "_max_rule_length",
                    format!(
                        "max_rule_length must be at least min_rule_length, {}, but is {}",
                        params.min_rule_length, params.max_rule_length
                    ),
                );
            }
            if params.rule_generation_ntrees < 1 {
                notes.error(
                    "_rule_generation_ntrees",
                    format!("rule_generation_ntrees must be at least 1, but is {}", params.rule_generation_ntrees),
                );
            }
        }
        if params.max_num_rules < -1 || params.max_num_rules == 0 {
            notes.error("_max_num_rules", format!("max_num_rules must be -1 (any number) or at least 1, but is {}", params.max_num_rules));
        }
        if params.lambda.iter().flatten().any(|l| l.is_nan() || *l < 0.0) {
            notes.error("_lambda", "lambda must be 0 or positive");
        }
    }

    fn fit(run: &mut Run<'_, RuleFitParams>) -> Result<Fitted<RuleFitOutput>> {
        fit::fit(run)
    }
}
