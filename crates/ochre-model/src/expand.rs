//! Expanded predictors as frames: what a server asks of the linear rooms, which know how predictors are expanded.

use ochre_core::{Frame, Node, Result};

/// How predictors are expanded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expansion {
    /// Does the first level of a category get a column too?
    pub all_levels: bool,
    /// Are numbers centred and divided by their standard deviations?
    pub standardize: bool,
}

pub trait Expand: Sync {
    /// The expanded predictors of a frame, whose last column is the response and not among them, one column each; rows with a
    /// missing value are left out. With `pairs`, products of all pairs of these columns come along, or alone.
    fn expanded(&self, node: &Node, frame: &Frame, pairs: Option<&[String]>, only_pairs: bool, how: Expansion) -> Result<Frame>;

    /// X'WX of a frame's expanded columns, the intercept last, as a square frame. `weights` names one of its columns, which is
    /// none of the predictors then. Without `skip`, a missing number counts as its column's mean, and a missing category as a
    /// level of its own; with it, such rows are left out.
    fn gram(&self, node: &Node, frame: &Frame, weights: Option<&str>, skip: bool, how: Expansion) -> Result<Frame>;
}
