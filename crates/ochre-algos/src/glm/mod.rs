//! Generalized linear models (Nelder and Wedderburn 1972) with elastic net penalty, fitted by iteratively reweighted
//! least squares.
//!
//! Predictors are expanded as the reference does: categories by falling number of levels, first level dropped, then
//! numbers, standardized. Each iteration is one pass (`GramPass`) that sums the weighted Gram matrix and the working
//! response; the penalised quadratic is solved by Cholesky (no L1) or coordinate descent. Convergence rules are the
//! reference's, so that the same data give the same iterates. Departure: with an L1 penalty the inner problem is
//! solved to 1e-11, where the reference stops its ADMM earlier.

mod choice;
mod constraints;
pub(crate) mod design;
mod fit;
mod history;
mod influence;
pub(crate) mod interactions;
mod likelihood;
pub mod ordinal;
mod output;
mod params;
pub mod passes;
pub mod table;

pub use fit::{family as family_of, fit as fit_made};
pub use interactions::Made;
use ochre_core::Result;
use ochre_model::params::CommonParams;
use ochre_model::wire::ModelOutput;
use ochre_model::{Algorithm, AlgorithmInfo, Category, Fitted, Model, Run, Shape};
use ochre_schema::Notes;
pub use output::GlmOutput;
use params::MissingValues;
pub use params::{Family, GlmParams, Link, Solver};

pub struct Glm;

/// Linear models are fitted to the rows as they are, here as in the reference.
pub fn warn_of_balance(balance_classes: bool, notes: &mut Notes) {
    if balance_classes {
        let text = "balance_classes changes nothing in a linear model; weights_column gives classes other weights";
        notes.warn("_balance_classes", text);
    }
}

impl Algorithm for Glm {
    const INFO: AlgorithmInfo = AlgorithmInfo {
        name: "glm",
        full_name: "Generalized Linear Modeling",
        stem: "GLM",
        categories: &[Category::Regression, Category::Binomial, Category::Multinomial],
        supervised: true,
        builder_schema: "GLMV3",
        builder_superclass: "ModelBuilderSchema",
        parameters_type: "GLMParameters",
        model_schema: "GLMModelV3",
        model_superclass: "ModelSchemaV3",
        model_type: "GLMModel",
        output_type: "GLMOutput",
    };
    const FIXED_BY_CHECKPOINT: Option<&'static [&'static str]> = Some(&["family", "link", "solver", "standardize", "intercept"]);
    type Params = GlmParams;
    type Output = GlmOutput;

    fn common(params: &GlmParams) -> &CommonParams {
        &params.common
    }
    fn common_mut(params: &mut GlmParams) -> &mut CommonParams {
        &mut params.common
    }
    fn seed_mut(params: &mut GlmParams) -> Option<&mut i64> {
        Some(&mut params.seed)
    }
    fn output_common(output: &mut GlmOutput) -> &mut ModelOutput {
        &mut output.common
    }
    fn wants_classes(params: &GlmParams) -> Option<bool> {
        matches!(params.family, Family::Binomial | Family::Quasibinomial | Family::Multinomial | Family::Ordinal).then_some(true)
    }

    fn category(params: &Self::Params, found: Category) -> Category {
        if params.family == Family::Ordinal && found == Category::Multinomial { Category::Ordinal } else { found }
    }

    fn check(params: &GlmParams, shape: &Shape<'_>, notes: &mut Notes) {
        use Family::*;
        warn_of_balance(params.balance_classes, notes);
        match params.solver {
            Solver::Auto | Solver::Irlsm | Solver::CoordinateDescent => {}
            // The optimum is the same whatever the way to it.
            Solver::LBfgs | Solver::CoordinateDescentNaive => {
                notes.info("_solver", format!("ochre reaches the optimum that {} looks for by IRLSM", params.solver.name()));
            }
            // These two are the reference's ways to the proportional odds model.
            Solver::GradientDescentLh | Solver::GradientDescentSqerr if params.family == Ordinal => {
                notes.info("_solver", format!("ochre fits the ordinal family by Fisher scoring instead of {}", params.solver.name()));
            }
            s => notes.error("_solver", format!("solver {} is for the ordinal family only", s.name())),
        }
        if params.non_negative && (params.family == Multinomial || shape.category == Some(Category::Multinomial)) {
            notes.error("_non_negative", "non_negative does not work with multinomial family.");
        }
        if params.compute_p_values {
            if !matches!(params.solver, Solver::Auto | Solver::Irlsm) {
                let text = format!("P values can only be computed with IRLSM solver, go solver = {}", params.solver.name());
                notes.error("_compute_p_values", text);
            }
            if params.non_negative || params.beta_constraints.is_some() {
                notes.error("_compute_p_values", "P-values can not be computed for constrained problems");
            }
            if matches!(params.family, Multinomial | Ordinal) || shape.category == Some(Category::Multinomial) {
                notes.error("_compute_p_values", "P values are currently not supported for family=multinomial or ordinal");
            }
            let shaped = matches!(params.family, Gamma | Tweedie | Negativebinomial);
            if params.dispersion_parameter_method.as_deref() == Some("ml") && !shaped {
                let text = "ml can only be used for family gamma, tweedie, negative binomial.";
                notes.error("_dispersion_parameter_method", text);
            }
        }
        if params.influence.is_some() {
            let penalised = params.lambda.as_ref().is_none_or(|l| l.is_empty() || l.iter().any(|v| *v > 0.0));
            let known = match params.family {
                Auto => matches!(shape.category, Some(Category::Regression | Category::Binomial)),
                f => matches!(f, Gaussian | Binomial),
            };
            if !known {
                notes.error("_influence", "influence can only be specified for the gaussian and binomial families.");
            }
            if penalised || params.lambda_search {
                notes.error("_lambda", "regularization is not allowed when influence is set to dfbetas.  Please set all lambdas to 0.0.");
            }
            if !matches!(params.solver, Solver::Auto | Solver::Irlsm) {
                notes.error("_solver", "regression influence diagnostic is only calculated for IRLSM solver.");
            }
            if params.common.nfolds > 0 || params.common.fold_column.is_some() {
                notes.error("_influence", "cross-validation is not allowed when influence is set to dfbetas.");
            }
        }
        if params.build_null_model {
            if !matches!(params.family, Tweedie | Gamma | Negativebinomial) {
                notes.error("_build_null_model", "build_null_model is for the families tweedie, gamma and negativebinomial");
            }
            if !params.intercept {
                notes.error("_build_null_model", "build_null_model needs the intercept: it is all that the model has");
            }
        }
        if params.prior >= 1.0 {
            notes.error("_prior", format!("prior must be a share between 0 and 1, but is {}", params.prior));
        }
        let given = |k: &Option<ochre_schema::FrameKey>| k.as_ref().is_some_and(|k| !k.0.is_empty());
        if given(&params.linear_constraints) {
            if params.solver != Solver::Irlsm {
                notes.error("_solver", "constrained GLM is only available for IRLSM. Please set solver to IRLSM/irlsm explicitly.");
            }
            let penalised = params.lambda.as_ref().is_none_or(|l| l.is_empty() || l.iter().any(|v| *v > 0.0));
            if penalised || params.lambda_search {
                notes.error("_lambda", "lambda or lambda_search: Regularization is not allowed for constrained GLM. Set lambda to 0.0.");
            }
            if matches!(params.family, Multinomial | Ordinal) || shape.category == Some(Category::Multinomial) {
                notes.error("_linear_constraints", "linear_constraints are not supported for several classes");
            }
            for (on, name) in [(params.init_optimal_glm, "init_optimal_glm"), (params.separate_linear_beta, "separate_linear_beta")] {
                if on {
                    notes.info(&format!("_{name}"), format!("{name} changes nothing: each step solves the constrained problem exactly"));
                }
            }
        }
        if params.remove_collinear_columns && !params.intercept {
            notes.error("_intercept", "Remove colinear columns option is currently not supported without intercept");
        }
        if params.family == Negativebinomial && !(params.theta > 0.0) {
            notes.error("_family", "Illegal Negative Binomial theta value.  Theta must be a positive number.");
        }
        if !(params.obj_reg > 0.0 || params.obj_reg == -1.0) {
            notes.error("obj_reg", "Must be positive or -1 for default");
        }
        if params.lambda_search && params.nlambdas == 0 {
            notes.error("_nlambdas", "nlambdas must be at least 1, or -1 for the default, but is 0");
        }
        if params.max_iterations < -1 {
            notes.error(
                "_max_iterations",
                format!("max_iterations must be at least 0, or -1 for the default, but is {}", params.max_iterations),
            );
        }
        let known = |name: &String| shape.training.names.contains(name);
        for name in params.control_variables.iter().flatten().filter(|n| !known(n)) {
            notes.error("_control_variables", format!("Control variable '{name}' is not in the frame."));
        }
        let wanted = params.control_variables.as_ref().is_some_and(|v| !v.is_empty());
        if wanted && params.common.stopping_rounds > 0 {
            notes.error("_control_variables", "Control variables option cannot be used with early stopping.");
        }
        if params.remove_offset_effects && params.common.offset_column.is_none() {
            notes.error("_remove_offset_effects", "The offset_column must be set to remove its effects.");
        }
        if (wanted || params.remove_offset_effects) && matches!(shape.category, Some(Category::Multinomial | Category::Ordinal)) {
            notes.error("_control_variables", "control_variables and remove_offset_effects are not supported for several classes");
        }
        if let Err(e) = interactions::pairs(params.interactions.as_deref(), &params.interaction_pairs) {
            notes.error("_interactions", e.to_string());
        }
        if params.missing_values_handling == MissingValues::PlugValues && !given(&params.plug_values) {
            notes.error("_missing_values_handling", "No plug values frame provided for Missing Values Handling = PlugValues.");
        }
        if params.family == Tweedie && !(params.tweedie_variance_power == 0.0 || params.tweedie_variance_power >= 1.0) {
            notes.error(
                "_tweedie_variance_power",
                format!("the tweedie variance power must be 0 or at least 1, but is {}", params.tweedie_variance_power),
            );
        }
        if let Some(category) = shape.category {
            let family = fit::family(params, category);
            match (family, category) {
                (Quasibinomial, _) if shape.response.is_some_and(|c| c.is_enum()) => {
                    notes.error("_family", "Quasi_binomial requires the response to be numeric.");
                }
                (Binomial | Quasibinomial, Category::Binomial) | (Multinomial, Category::Multinomial | Category::Binomial) => {}
                (Quasibinomial, _) => notes.error("_family", "Quasi_binomial requires a response with two values"),
                (Binomial, _) => {
                    notes.error("_family", "Binomial requires the response to be a 2-class categorical or a binary column (0/1)")
                }
                (Ordinal, Category::Ordinal) => {}
                (Ordinal, _) => notes.error("_family", "Ordinal requires a categorical response with at least 3 levels"),
                (Multinomial, _) => notes.error("_family", "Multinomial requires a categorical response with at least 3 levels"),
                (f, Category::Binomial | Category::Multinomial) => {
                    notes.error("_family", format!("{} requires a numeric response, but the response is categorical", f.name()));
                }
                _ => {}
            }
            let link = fit::link(params, family);
            let good = match family {
                Gaussian => matches!(link, Link::Identity | Link::Log | Link::Inverse),
                Binomial | Quasibinomial | Fractionalbinomial => link == Link::Logit,
                Tweedie => matches!(params.link, Link::FamilyDefault | Link::Tweedie),
                Negativebinomial => matches!(link, Link::Log | Link::Identity),
                Poisson => matches!(link, Link::Log | Link::Identity),
                Gamma => matches!(link, Link::Inverse | Link::Log | Link::Identity),
                _ => params.link == Link::FamilyDefault,
            };
            if !good {
                notes.error(
                    "_link",
                    format!("Incompatible link function for selected family. link={}, family={}", link.name(), family.name()),
                );
            }
            if let Some(r) = shape.response.and_then(|c| c.rollup().ok()) {
                if family == Poisson && r.min < 0.0 {
                    notes.error("_response_column", format!("Poisson response must be non-negative, but its smallest value is {}", r.min));
                }
                if family == Fractionalbinomial && (r.min < 0.0 || r.max > 1.0) {
                    notes.error(
                        "_response_column",
                        format!("Fractionalbinomial needs a response between 0 and 1, but it spans {} to {}", r.min, r.max),
                    );
                }
                if matches!(family, Tweedie | Negativebinomial) && r.min < 0.0 {
                    notes.error(
                        "_response_column",
                        format!("{} response must be non-negative, but its smallest value is {}", family.name(), r.min),
                    );
                }
                if family == Gamma && r.min <= 0.0 {
                    notes.error("_response_column", format!("Gamma response must be positive, but its smallest value is {}", r.min));
                }
            }
        }
        for a in params.alpha.iter().flatten().filter(|a| !(0.0..=1.0).contains(*a)) {
            notes.error("_alpha", format!("alpha must be between 0 and 1, but is {a}"));
        }
        for l in params.lambda.iter().flatten().filter(|l| **l < 0.0) {
            notes.error("_lambda", format!("lambda must be >= 0, but is {l}"));
        }
    }

    /// All folds go along the penalties that all data ask for.
    fn plan_folds(run: &mut Run<'_, GlmParams>) -> Result<()> {
        if run.params.lambda.as_ref().is_none_or(|l| l.is_empty()) {
            run.params.lambda = Some(fit::penalties(run)?);
        }
        Ok(())
    }

    /// The penalty whose deviance on what the folds held out is least, on average (Friedman, Hastie and Tibshirani 2010).
    fn learn_from_folds(params: &mut GlmParams, folds: &[&Model]) -> Option<GlmParams> {
        choice::choose(params, folds)
    }

    fn fit(run: &mut Run<'_, GlmParams>) -> Result<Fitted<GlmOutput>> {
        fit::fit(run, &Made::default())
    }
}
