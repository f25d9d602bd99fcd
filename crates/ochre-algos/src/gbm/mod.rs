//! Gradient boosting machine (Friedman 2001, "Greedy function approximation"): trees fitted to the gradient of a loss,
//! each leaf set to the step that decreases the loss.
//!
//! Initial values, gradients and leaf estimates are one row per distribution in `loss.rs`. Numbers follow the
//! reference: residuals and leaves are single precision, sums are not. Distribution: trees grow on one node's threads;
//! counts are exact in fixed point, so any layout gives the same tree.

mod fit;
mod loss;
mod output;
mod params;

use crate::tree::ensemble::{check_constraints, constraints};
use ochre_core::{Error, Result};
use ochre_model::params::{CommonParams, Distribution};
use ochre_model::wire::ModelOutput;
use ochre_model::{Algorithm, AlgorithmInfo, Category, Fitted, Model, Run, Shape};
use ochre_schema::Notes;
pub use output::GbmOutput;
pub use params::GbmParams;

pub struct Gbm;

impl Algorithm for Gbm {
    const INFO: AlgorithmInfo = AlgorithmInfo {
        name: "gbm",
        full_name: "Gradient Boosting Machine",
        stem: "GBM",
        categories: &[Category::Regression, Category::Binomial, Category::Multinomial],
        supervised: true,
        builder_schema: "GBMV3",
        builder_superclass: "SharedTreeV3",
        parameters_type: "GBMParameters",
        model_schema: "GBMModelV3",
        model_superclass: "SharedTreeModelV3",
        model_type: "GBMModel",
        output_type: "GBMOutput",
    };
    const FIXED_BY_CHECKPOINT: Option<&'static [&'static str]> =
        Some(&["max_depth", "min_rows", "nbins", "nbins_cats", "nbins_top_level", "sample_rate", "build_tree_one_node", "distribution"]);
    type Params = GbmParams;
    type Output = GbmOutput;

    fn common(params: &GbmParams) -> &CommonParams {
        &params.common
    }
    fn common_mut(params: &mut GbmParams) -> &mut CommonParams {
        &mut params.common
    }
    fn seed_mut(params: &mut GbmParams) -> Option<&mut i64> {
        Some(&mut params.tree.seed)
    }
    fn output_common(output: &mut GbmOutput) -> &mut ModelOutput {
        &mut output.common
    }

    fn check(params: &GbmParams, shape: &Shape<'_>, notes: &mut Notes) {
        use Distribution::*;
        let tree = &params.tree;
        let classes = shape.category.filter(|c| *c != Category::Regression).map(|_| shape.training.classes());
        tree.check_class_rates(classes, notes);
        crate::calibration::check(tree, shape, notes);
        crate::tree::balance::check(tree, shape, notes);
        if shape.weighted_rows < 2.0 * tree.min_rows {
            notes.error(
                "_min_rows",
                format!(
                    "The dataset size is too small to split for min_rows={:?}: must have at least {:?} (weighted) rows, but have only {:?}.",
                    tree.min_rows,
                    2.0 * tree.min_rows,
                    shape.weighted_rows
                ),
            );
        }
        if let Some(dir) = tree.in_training_checkpoints_dir.as_deref().filter(|d| !d.is_empty())
            && let Err(e) = ochre_model::check_local("in_training_checkpoints_dir", dir)
                .and_then(|()| std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, e)))
        {
            notes.error(
                "_in_training_checkpoints_dir",
                format!("In training checkpoints directory path must point to a writable path, but {dir} cannot be made: {e}"),
            );
        }
        check_constraints(&params.monotone_constraints, &params.interaction_constraints, shape, notes);
        let Some(category) = shape.category else { return };
        let d = params.common.distribution;
        match d {
            Custom if params.common.scripts.distribution.is_none() => {
                if params.common.custom_distribution_func.as_deref().unwrap_or_default().is_empty() {
                    notes.error("_distribution", "distribution custom needs a custom_distribution_func");
                }
            }
            Ordinal => {
                notes.error("_distribution", format!("distribution {} is not supported by this version of ochre", d.name()));
            }
            Quasibinomial if shape.response.is_some_and(|c| c.is_enum()) => {
                notes.error("_distribution", "Quasibinomial requires the response to be numeric.");
            }
            Bernoulli | Quasibinomial if category != Category::Binomial => {
                notes.error("_distribution", "Binomial requires the response to be a 2-class categorical");
            }
            Multinomial if category == Category::Regression => {
                notes.error("_distribution", "Multinomial requires an categorical response");
            }
            Gaussian | Poisson | Gamma | Tweedie | Laplace | Quantile | Huber if category != Category::Regression => {
                notes.error("_distribution", format!("{} requires the response to be numeric", d.name()));
            }
            _ => {}
        }
        if let Some(r) = shape.response.and_then(|c| c.rollup().ok()) {
            if matches!(d, Poisson | Tweedie) && r.min < 0.0 {
                notes.error(
                    "_response_column",
                    format!("Response must be non-negative for {} distribution, but its smallest value is {}.", d.name(), r.min),
                );
            }
            if d == Gamma && r.min <= 0.0 {
                notes.error(
                    "_response_column",
                    format!("Response must be positive for Gamma distribution, but its smallest value is {}.", r.min),
                );
            }
        }
        if params.common.offset_column.is_some() && (d == Multinomial || (d == Auto && category == Category::Multinomial)) {
            notes.error("_offset_column", "Offset is not supported for multinomial distribution.");
        }
        if !constraints(&params.monotone_constraints).is_empty() && (d == Multinomial || category == Category::Multinomial) {
            notes.error("_monotone_constraints", "Monotone constraints are not supported for the multinomial distribution");
        }
        params.common.check_encoding(&["AUTO", "Enum", "SortByResponse"], notes);
    }

    /// As many trees as the folds needed, on average; then nothing is left to stop early.
    fn learn_from_folds(params: &mut GbmParams, folds: &[&Model]) -> Option<GbmParams> {
        if params.common.stopping_rounds > 0 {
            let trees: usize = folds.iter().map(|m| m.scorer.rounds()).sum();
            params.tree.ntrees = (trees / folds.len()) as i32;
            params.common.stopping_rounds = 0;
        }
        None
    }

    fn fit(run: &mut Run<'_, GbmParams>) -> Result<Fitted<GbmOutput>> {
        fit::fit(run)
    }
}
