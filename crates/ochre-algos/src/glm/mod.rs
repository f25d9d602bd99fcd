//! Generalized linear models (Nelder and Wedderburn 1972) with elastic net penalty, fitted by iteratively reweighted
//! least squares.
//!
//! Predictors are expanded as the reference does: categories by falling number of levels, first level dropped, then
//! numbers, standardized. Each iteration is one pass (`GramPass`) that sums the weighted Gram matrix and the working
//! response; the penalised quadratic is solved by Cholesky (no L1) or coordinate descent. Convergence rules are the
//! reference's, so that the same data give the same iterates. Departure: with an L1 penalty the inner problem is
//! solved to 1e-11, where the reference stops its ADMM earlier.

mod design;
mod fit;
mod output;
mod params;
pub mod passes;

use ochre_core::Result;
use ochre_model::params::CommonParams;
use ochre_model::wire::ModelOutput;
use ochre_model::{Algorithm, AlgorithmInfo, Category, Fitted, Run, Shape};
use ochre_schema::Notes;
pub use output::GlmOutput;
pub use params::{Family, GlmParams, Link};
use params::{MissingValues, Solver};

pub struct Glm;

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
    type Params = GlmParams;
    type Output = GlmOutput;

    fn common(params: &GlmParams) -> &CommonParams {
        &params.common
    }
    fn common_mut(params: &mut GlmParams) -> &mut CommonParams {
        &mut params.common
    }
    fn seed_mut(params: &mut GlmParams) -> &mut i64 {
        &mut params.seed
    }
    fn output_common(output: &mut GlmOutput) -> &mut ModelOutput {
        &mut output.common
    }
    fn wants_classes(params: &GlmParams) -> Option<bool> {
        matches!(params.family, Family::Binomial | Family::Multinomial).then_some(true)
    }

    fn check(params: &GlmParams, shape: &Shape<'_>, notes: &mut Notes) {
        use Family::*;
        let refuse = |notes: &mut Notes, field: &str, name: &str, mend: &str| {
            notes.error(field, format!("{} {name} is not supported by this version of ochre; use {mend}", &field[1..]));
        };
        match params.family {
            Auto | Gaussian | Binomial | Multinomial | Poisson | Gamma => {}
            f => refuse(notes, "_family", f.name(), "gaussian, binomial, multinomial, poisson or gamma"),
        }
        if !matches!(params.solver, Solver::Auto | Solver::Irlsm | Solver::CoordinateDescent) {
            refuse(notes, "_solver", params.solver.name(), "AUTO, IRLSM or COORDINATE_DESCENT");
        }
        if params.missing_values_handling == MissingValues::PlugValues {
            refuse(notes, "_missing_values_handling", "PlugValues", "MeanImputation or Skip");
        }
        if let Some(category) = shape.category {
            let family = fit::family(params, category);
            match (family, category) {
                (Binomial, Category::Binomial) | (Multinomial, Category::Multinomial | Category::Binomial) => {}
                (Binomial, _) => {
                    notes.error("_family", "Binomial requires the response to be a 2-class categorical or a binary column (0/1)")
                }
                (Multinomial, _) => notes.error("_family", "Multinomial requires a categorical response with at least 3 levels"),
                (f, Category::Binomial | Category::Multinomial) => {
                    notes.error("_family", format!("{} requires a numeric response, but the response is categorical", f.name()));
                }
                _ => {}
            }
            let link = fit::link(params, family);
            let good = match family {
                Gaussian => matches!(link, Link::Identity | Link::Log | Link::Inverse),
                Binomial => link == Link::Logit,
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
        for (name, v) in [("_alpha", &params.alpha), ("_lambda", &params.lambda)] {
            if v.as_ref().is_some_and(|v| v.len() > 1) {
                notes.error(name, format!("several values of {} are not supported by this version of ochre; give one", &name[1..]));
            }
        }
    }

    fn fit(run: &mut Run<'_, GlmParams>) -> Result<Fitted<GlmOutput>> {
        fit::fit(run)
    }
}
