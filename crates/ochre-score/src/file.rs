//! A model with the columns that it reads: what a portable file holds.

use crate::Scorer;

/// A column that a model reads.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Column {
    pub name: String,
    pub domain: Option<Vec<String>>,
}

#[derive(Clone, Debug)]
pub struct ModelFile {
    pub predictors: Vec<Column>,
    pub response: Option<Column>,
    pub offset: Option<String>,
    /// Probability from which on a row counts as the second class.
    pub threshold: f64,
    pub scorer: Scorer,
}
