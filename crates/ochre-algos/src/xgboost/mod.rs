//! Gradient boosting with second-order trees, dropped trees or linear terms, as the xgboost package has it (Chen and Guestrin
//! 2016; DART: Rashmi and Gilad-Bachrach 2015), on every platform and in the cluster, without that package.
//!
//! Objectives are in `objective.rs`, trees in the workshop (`tree/newton.rs`), linear boosting in `linear.rs`. Categories
//! are one-hot encoded, with a feature of their own for missing ones. Departures: rows, features and dropped trees are drawn
//! by ochre's own generator; `tree_method` auto means exact up to 65,536 rows and hist beyond; linear boosting goes through
//! the features in their order (the package's default updater races threads and answers differently each time).
//! Distribution: counts are exact in fixed point, so any layout gives the same trees.

mod evaluation;
mod fit;
mod linear;
mod objective;
mod output;
mod params;

use crate::tree::ensemble::check_constraints;
use evaluation::Evaluation;
use ochre_core::{Result, WHOLE_ROWS_MAX};
use ochre_model::params::{CategoricalEncoding, CommonParams, Distribution, StoppingMetric};
use ochre_model::wire::ModelOutput;
use ochre_model::{Algorithm, AlgorithmInfo, Category, Fitted, Model, Run, Shape, Training};
use ochre_schema::Notes;
pub use output::XgBoostOutput;
pub use params::XgBoostParams;
use params::{Backend, Booster, GrowPolicy, MatrixType, TreeMethod};

pub struct XgBoost;

impl<'a> From<&'a XgBoostParams> for crate::calibration::Wish<'a> {
    fn from(p: &'a XgBoostParams) -> Self {
        crate::calibration::Wish { on: p.calibrate_model, frame: p.calibration_frame.as_ref(), method: p.calibration_method }
    }
}

/// Makes two names of a parameter say the same. Where both were changed, the native one wins, or `check` refuses them.
fn alias<T: Copy + PartialEq>(name: &mut T, native: &mut T, default: T, native_wins: bool) {
    if *native == default {
        *native = *name;
    } else if native_wins || *name == default {
        *name = *native;
    }
}

impl Algorithm for XgBoost {
    const INFO: AlgorithmInfo = AlgorithmInfo {
        name: "xgboost",
        full_name: "XGBoost",
        stem: "XGBoost",
        categories: &[Category::Regression, Category::Binomial, Category::Multinomial],
        supervised: true,
        builder_schema: "XGBoostV3",
        builder_superclass: "ModelBuilderSchema",
        parameters_type: "XGBoostParameters",
        model_schema: "XGBoostModelV3",
        model_superclass: "ModelSchemaV3",
        model_type: "XGBoostModel",
        output_type: "XGBoostOutput",
    };
    const FIXED_BY_CHECKPOINT: Option<&'static [&'static str]> =
        Some(&["booster", "grow_policy", "tree_method", "dmatrix_type", "max_depth", "min_rows", "max_bins", "distribution"]);
    type Params = XgBoostParams;
    type Output = XgBoostOutput;

    fn common(params: &XgBoostParams) -> &CommonParams {
        &params.common
    }
    fn common_mut(params: &mut XgBoostParams) -> &mut CommonParams {
        &mut params.common
    }
    fn seed_mut(params: &mut XgBoostParams) -> Option<&mut i64> {
        Some(&mut params.seed)
    }
    fn output_common(output: &mut XgBoostOutput) -> &mut ModelOutput {
        &mut output.common
    }

    fn settle(p: &mut XgBoostParams, training: &Training) {
        alias(&mut p.min_rows, &mut p.min_child_weight, 1.0, true);
        alias(&mut p.learn_rate, &mut p.eta, 0.3, false);
        alias(&mut p.sample_rate, &mut p.subsample, 1.0, false);
        alias(&mut p.col_sample_rate, &mut p.colsample_bylevel, 1.0, false);
        alias(&mut p.col_sample_rate_per_tree, &mut p.colsample_bytree, 1.0, false);
        alias(&mut p.max_abs_leafnode_pred, &mut p.max_delta_step, 0.0, false);
        alias(&mut p.min_split_improvement, &mut p.gamma, 0.0, true);
        if p.common.distribution == Distribution::Auto {
            p.common.distribution = match training.category {
                Category::Binomial => Distribution::Bernoulli,
                Category::Multinomial => Distribution::Multinomial,
                _ => Distribution::Gaussian,
            };
        }
        if p.common.categorical_encoding == CategoricalEncoding::Auto {
            p.common.categorical_encoding = CategoricalEncoding::OneHotInternal;
        }
        if p.tree_method == TreeMethod::Auto {
            let exact = p.grow_policy == GrowPolicy::Depthwise && p.max_leaves == 0 && training.rows <= WHOLE_ROWS_MAX;
            p.tree_method = if exact { TreeMethod::Exact } else { TreeMethod::Hist };
        }
        if p.dmatrix_type == MatrixType::Auto {
            p.dmatrix_type = MatrixType::Dense;
        }
        if p.backend == Backend::Auto {
            p.backend = Backend::Cpu;
        }
    }

    fn names_metric(p: &XgBoostParams) -> bool {
        p.evaluated().is_some()
    }

    fn check(p: &XgBoostParams, shape: &Shape<'_>, notes: &mut Notes) {
        use Distribution::*;
        for (name, given, alias, other, default) in [
            ("learn_rate", p.learn_rate, "eta", p.eta, "0.3"),
            ("sample_rate", p.sample_rate, "subsample", p.subsample, "1.0"),
            ("col_sample_rate", p.col_sample_rate, "colsample_bylevel", p.colsample_bylevel, "1.0"),
            ("col_sample_rate_per_tree", p.col_sample_rate_per_tree, "colsample_bytree", p.colsample_bytree, "1.0"),
            ("max_abs_leafnode_pred", f64::from(p.max_abs_leafnode_pred), "max_delta_step", f64::from(p.max_delta_step), "0.0"),
        ] {
            if given != other {
                notes.error(
                    &format!("_{name}"),
                    format!(
                        "{name} and its alias {alias} are both set to different value than default value. Set {alias} to default value ({default}), to use {name} actual value."
                    ),
                );
            }
        }
        if p.backend == Backend::Gpu {
            notes.error("_backend", "backend gpu is not supported by this version of ochre; use auto or cpu");
        }
        if p.nthread != -1 {
            notes.warn("_nthread", "nthread has no effect: ochre shares its threads among all that is trained");
        }
        if p.grow_policy == GrowPolicy::Lossguide && p.tree_method != TreeMethod::Hist {
            notes.error("_grow_policy", "grow_policy lossguide needs tree_method hist (or auto)");
        }
        if p.tree_method == TreeMethod::Exact && p.max_leaves > 0 {
            notes.error("_max_leaves", "max_leaves is not supported by tree_method exact; use hist or approx");
        }
        if p.tree_method == TreeMethod::Exact && shape.rows > WHOLE_ROWS_MAX && !ochre_core::Team::for_rows(shape.rows).is_alone() {
            notes.error("_tree_method", format!("on a cluster tree_method exact takes up to {WHOLE_ROWS_MAX} rows; use hist or approx"));
        }
        p.common.check_encoding(&["AUTO", "OneHotInternal"], notes);
        if p.score_eval_metric_only && p.evaluated().is_none() {
            notes.warn("_score_eval_metric_only", "score_eval_metric_only has no effect without eval_metric");
        }
        if let Some(name) = p.evaluated() {
            if let Some(Err(e)) = shape.category.map(|c| Evaluation::read(name, c)) {
                notes.error("_eval_metric", e);
            }
            let custom = matches!(p.common.stopping_metric, StoppingMetric::Custom | StoppingMetric::CustomIncreasing);
            if p.score_eval_metric_only && p.common.stopping_rounds > 0 && !custom {
                let what =
                    "score_eval_metric_only leaves early stopping nothing to look at; use stopping_metric custom, which is eval_metric";
                notes.error("_stopping_metric", what);
            }
            if p.common.custom_metric_func.as_deref().is_some_and(|f| !f.is_empty()) {
                notes.error("_eval_metric", "eval_metric and custom_metric_func cannot both be given");
            }
        }
        if p.gpu_id.as_ref().is_some_and(|g| !g.is_empty()) {
            notes.warn("_gpu_id", "gpu_id has no effect: this version of ochre grows trees on the processor");
        }
        if p.booster != Booster::Dart {
            for (field, on) in [("_rate_drop", p.rate_drop > 0.0), ("_one_drop", p.one_drop), ("_skip_drop", p.skip_drop > 0.0)] {
                if on {
                    notes.warn(field, format!("{} has no effect: it is only used by the booster dart", &field[1..]));
                }
            }
        }
        if p.booster == Booster::Gblinear {
            let linear = "the booster gblinear";
            if p.common.checkpoint.as_ref().is_some_and(|k| !k.0.is_empty()) {
                notes.error("_checkpoint", format!("{linear} cannot go on from a checkpoint"));
            }
            if p.calibrate_model {
                notes.error("_calibrate_model", format!("{linear} is not calibrated"));
            }
        }
        crate::calibration::check(p, shape, notes);
        check_constraints(&p.monotone_constraints, &p.interaction_constraints, shape, notes);
        let Some(category) = shape.category else { return };
        let d = p.common.distribution;
        let fits = match category {
            Category::Binomial => d == Bernoulli,
            Category::Multinomial => d == Multinomial,
            _ => matches!(d, Gaussian | Poisson | Gamma | Tweedie),
        };
        if !fits {
            notes.error("_distribution", format!("XGBoost does not fit the distribution {} to this response", d.name()));
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
                    format!("Response must be positive for gamma distribution, but its smallest value is {}.", r.min),
                );
            }
        }
        if p.common.offset_column.is_some() && d == Multinomial {
            notes.error("_offset_column", "Offset is not supported for multinomial distribution.");
        }
    }

    /// As many trees as the folds needed, on average; then nothing is left to stop early.
    fn learn_from_folds(params: &mut XgBoostParams, folds: &[&Model]) -> Option<XgBoostParams> {
        if params.common.stopping_rounds > 0 {
            let trees: usize = folds.iter().map(|m| m.scorer.rounds()).sum();
            params.ntrees = (trees / folds.len()) as i32;
            params.common.stopping_rounds = 0;
        }
        None
    }

    fn fit(run: &mut Run<'_, XgBoostParams>) -> Result<Fitted<XgBoostOutput>> {
        fit::fit(run)
    }
}
