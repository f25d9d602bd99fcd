//! Distributed random forest (Breiman 2001, "Random forests"): deep trees on draws of rows and columns, averaged.
//!
//! Each leaf is the mean of the response of its drawn rows (under the root, of all rows), as the split above counted it.
//! Training metrics are those of the rows that a tree did not see (out of bag). Rows are drawn without putting back, columns
//! anew at each split, both with the reference's generator.
//! Distribution: as in the tree workshop; every number is a sum over chunks in their order.

mod fit;
mod output;
mod params;

use ochre_core::Result;
use ochre_model::params::{CommonParams, Distribution};
use ochre_model::wire::ModelOutput;
use ochre_model::{Algorithm, AlgorithmInfo, Category, Fitted, Model, Run, Shape};
use ochre_schema::Notes;
pub use output::DrfOutput;
pub use params::DrfParams;

pub struct Drf;

impl Algorithm for Drf {
    const INFO: AlgorithmInfo = AlgorithmInfo {
        name: "drf",
        full_name: "Distributed Random Forest",
        stem: "DRF",
        categories: &[Category::Regression, Category::Binomial, Category::Multinomial],
        supervised: true,
        builder_schema: "DRFV3",
        builder_superclass: "SharedTreeV3",
        parameters_type: "DRFParameters",
        model_schema: "DRFModelV3",
        model_superclass: "SharedTreeModelV3",
        model_type: "DRFModel",
        output_type: "DRFOutput",
    };
    const FIXED_BY_CHECKPOINT: Option<&'static [&'static str]> = Some(&[
        "max_depth",
        "min_rows",
        "nbins",
        "nbins_cats",
        "nbins_top_level",
        "sample_rate",
        "build_tree_one_node",
        "binomial_double_trees",
    ]);
    type Params = DrfParams;
    type Output = DrfOutput;

    fn common(params: &DrfParams) -> &CommonParams {
        &params.common
    }
    fn common_mut(params: &mut DrfParams) -> &mut CommonParams {
        &mut params.common
    }
    fn seed_mut(params: &mut DrfParams) -> Option<&mut i64> {
        Some(&mut params.tree.seed)
    }
    fn output_common(output: &mut DrfOutput) -> &mut ModelOutput {
        &mut output.common
    }

    fn check(params: &DrfParams, shape: &Shape<'_>, notes: &mut Notes) {
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
        if params.mtries == 0 || params.mtries > shape.predictors as i32 {
            notes.error(
                "_mtries",
                format!("Computed mtries should be -1 or -2 or in interval [1,{}] but it is {}", shape.predictors, params.mtries),
            );
        }
        if params.common.offset_column.is_some() {
            notes.error("_offset_column", "Offsets are not yet supported for DRF.");
        }
        let Some(category) = shape.category else { return };
        if params.binomial_double_trees && category != Category::Binomial {
            notes.warn("_binomial_double_trees", "binomial_double_trees is only used for a response with two classes");
        }
        match params.common.distribution {
            Auto => {}
            Bernoulli if category == Category::Binomial => {}
            Multinomial if category != Category::Regression => {}
            Gaussian if category == Category::Regression => {}
            d => notes.error("_distribution", format!("DRF does not fit the distribution {} to this response; leave it at AUTO", d.name())),
        }
        params.common.check_encoding(&["AUTO", "Enum", "SortByResponse"], notes);
    }

    /// As many trees as the folds needed, on average; then nothing is left to stop early.
    fn learn_from_folds(params: &mut DrfParams, folds: &[&Model]) -> Option<DrfParams> {
        if params.common.stopping_rounds > 0 {
            let trees: usize = folds.iter().map(|m| m.scorer.rounds()).sum();
            params.tree.ntrees = (trees / folds.len()) as i32;
            params.common.stopping_rounds = 0;
        }
        None
    }

    fn fit(run: &mut Run<'_, DrfParams>) -> Result<Fitted<DrfOutput>> {
        fit::fit(run)
    }
}
