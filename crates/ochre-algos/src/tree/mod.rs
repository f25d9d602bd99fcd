//! The tree workshop: growing one tree on residuals with histograms, level by level; and, in `newton`, on gradients and
//! hessians.
//!
//! Split rule and histogram layouts are the reference's: at each node and column, bins over the values its parent saw, of
//! equal width or with edges that are drawn or are quantiles; squared error decides; categorical levels are ordered by their
//! mean response.
//!
//! Two departures. Sums are kept in fixed point (64-bit integers), so they are exact and do not depend on the order of
//! rows, threads or chunks; `docs/decisions/fixed-point-histograms.md` says what precision that keeps. And a column
//! with few distinct values is counted by value, not by bin: the bins of any node follow from those counts, and the
//! larger child's counts are the parent's minus the smaller child's.

pub mod balance;
mod binned;
mod bins;
mod data;
pub mod ensemble;
mod grow;
mod newton;
mod rows;
mod strip;

pub use binned::{BinnedData, Binning};
pub use data::TreeData;
pub use grow::{Draw, ROW_ORDER_MAX, Responses, RowOrder, TreeGrower, TreeRules, tries_at};
pub use newton::{NewtonGrower, NewtonRules};
pub use rows::{GradientRow, Row, Seat};
