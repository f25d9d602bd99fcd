//! What training is: the [`Algorithm`] trait, parameter groups, the driver that turns a request into a stored model,
//! adapting frames to models, and metrics.
//!
//! A running example: a [`Builder`] of the table decodes the form into declared parameters, checks them against the
//! frame, starts a job; the job runs the algorithm's `fit`, scores the frames, and puts a [`Model`] into the store.
//!
//! This crate must not know any algorithm, nor REST.

pub mod adapt;
pub mod background;
pub mod driver;
pub mod encoding;
mod expand;
pub mod fairness;
mod folds;
pub mod grid;
pub mod insight;
mod interactions;
mod interplay;
pub mod leaderboard;
pub mod metrics;
mod model;
pub mod params;
pub mod partial;
pub mod permute;
mod saved;
pub mod segments;
pub mod uplift;
pub mod wire;

pub use driver::{
    Algorithm, AlgorithmInfo, Builder, Category, Fitted, PublishedSchema, Refusal, Row, Run, Shape, Started, Training, Validation,
};
pub use expand::{Expand, Expansion};
pub use metrics::{Deviance, Metrics, ScoringHistory};
pub use model::{Model, Predictor, remove_whole};
pub use saved::{check_local, write_whole};
