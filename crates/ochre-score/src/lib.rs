//! Trained models as plain data: score rows, write to a file, read back.
//!
//! Scoring is written once, here; the server and the command line call it. A model file holds data only, so reading
//! one runs nothing.
//!
//! This crate must know no cluster, no frames and no REST.

mod baseline;
mod batch;
mod bayes;
mod committee;
mod cox;
mod file;
mod flat;
mod glm;
mod isotonic;
mod kernel;
mod kmeans;
mod mixed;
pub mod mojo;
pub mod onnx;
mod planes;
pub mod pojo;
pub mod proof;
pub mod recode;
pub mod rules;
mod shap;
pub mod smooth;
pub mod ties;
mod trees;

pub use batch::BatchScorer;
pub use bayes::{BayesScorer, Conditional};
pub use committee::{Committee, Member};
pub use cox::{CoxScorer, CoxTerms};
pub use file::{Column, ModelFile};
pub use flat::Flat;
pub use glm::{Derived, GlmScorer, LinkFunction, PathStep, Plate, Spline};
pub use isotonic::IsotonicScorer;
pub use kernel::{KernelScorer, KernelSpace};
pub use kmeans::KMeansScorer;
pub use mixed::{Group, MixedScorer, Sums, Term, dot};
pub use planes::{PlaneForest, PlaneNode, goes_left};
pub use shap::{Explainer, LANES};
pub use trees::{Calibration, Node, Split, Tree, TreeEnsemble, TreeLink};

/// A trained model of any kind.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Scorer {
    Trees(TreeEnsemble),
    Glm(GlmScorer),
    KMeans(KMeansScorer),
    Bayes(BayesScorer),
    Isotonic(IsotonicScorer),
    Cox(CoxScorer),
    Planes(PlaneForest),
    Committee(Committee),
    Mixed(MixedScorer),
    Kernel(KernelScorer),
    /// A model that predicts nothing itself, such as one that lists others.
    Silent,
}

impl Scorer {
    /// Numbers per row: one for a regression or a cluster, one per class for a classification.
    pub fn width(&self) -> usize {
        match self {
            Scorer::Trees(m) => m.width(),
            Scorer::Glm(m) => m.width(),
            Scorer::Planes(_) | Scorer::Committee(_) | Scorer::Kernel(_) => 2,
            Scorer::Bayes(m) => m.priors.len(),
            Scorer::KMeans(_) | Scorer::Isotonic(_) | Scorer::Cox(_) | Scorer::Mixed(_) | Scorer::Silent => 1,
        }
    }

    /// Has the MOJO format a place for such a model?
    pub fn has_mojo(&self) -> bool {
        !matches!(self, Scorer::Bayes(_) | Scorer::Committee(_) | Scorer::Mixed(_) | Scorer::Kernel(_) | Scorer::Silent)
    }

    /// Rounds of training that the model keeps: trees (per class), or 1.
    pub fn rounds(&self) -> usize {
        match self {
            Scorer::Trees(m) => m.trees.len(),
            _ => 1,
        }
    }

    /// Scores rows. `columns` are the model's predictors in its order, categorical values as codes of the training
    /// domain, NaN for missing or unseen; `out` holds `width` numbers per row.
    pub fn score(&self, columns: &[&[f64]], offset: Option<&[f64]>, out: &mut [f64]) {
        self.score_laid_out(self.lay_out(out.len() / self.width()).as_ref(), columns, offset, out);
    }

    /// What is made once for scoring `rows` rows, in one piece or in many.
    pub fn lay_out(&self, rows: usize) -> Option<Flat> {
        match self {
            Scorer::Trees(m) => Flat::new(m.trees.iter().map(Vec::as_slice), rows),
            _ => None,
        }
    }

    /// Scores rows with what [`Scorer::lay_out`] made.
    pub fn score_laid_out(&self, flat: Option<&Flat>, columns: &[&[f64]], offset: Option<&[f64]>, out: &mut [f64]) {
        match self {
            Scorer::Trees(m) => m.score(flat, columns, offset, out),
            Scorer::Glm(m) => m.score(columns, offset, out),
            Scorer::KMeans(m) => m.score(columns, out),
            Scorer::Bayes(m) => m.score(columns, out),
            Scorer::Isotonic(m) => m.score(columns, out),
            Scorer::Cox(m) => m.score(columns, offset, out),
            Scorer::Planes(m) => m.score(columns, out),
            Scorer::Committee(m) => m.score(columns, out),
            Scorer::Mixed(m) => m.score(columns, offset, out),
            Scorer::Kernel(m) => m.score(columns, out),
            Scorer::Silent => out.fill(f64::NAN),
        }
    }
}
