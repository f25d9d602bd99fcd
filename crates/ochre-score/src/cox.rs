//! Proportional hazards: the linear predictor, less its mean in the row's stratum.

use crate::Derived;

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct CoxScorer {
    /// Number of levels of each categorical term; numbers come after these.
    pub levels: Vec<usize>,
    /// Does the first level of a categorical term have a coefficient?
    pub all_levels: bool,
    pub numbers: usize,
    pub beta: Vec<f64>,
    /// Columns that make the strata, which come after the predictors, and the codes of each stratum with its mean linear
    /// predictor.
    pub strata_columns: usize,
    pub strata: Vec<(Vec<f64>, f64)>,
    /// What the terms are, where they are not the predictors themselves.
    #[serde(default)]
    pub terms: Option<CoxTerms>,
}

/// Terms that are made of predictors.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct CoxTerms {
    pub derived: Vec<Derived>,
    /// Number of predictors, before the columns of strata.
    pub predictors: usize,
    /// Where each term is: among what is derived, or, counted on, among the columns.
    pub places: Vec<usize>,
}

impl CoxScorer {
    fn predictors(&self) -> usize {
        self.terms.as_ref().map_or(self.levels.len() + self.numbers, |t| t.predictors)
    }

    fn term(&self, columns: &[&[f64]], row: usize, i: usize) -> f64 {
        let Some(t) = &self.terms else { return columns[i][row] };
        match t.derived.get(t.places[i]) {
            Some(d) => d.value(columns, row),
            None => columns[t.places[i] - t.derived.len()][row],
        }
    }

    /// A row with a missing value, or of an unknown stratum, has no prediction.
    pub fn value(&self, columns: &[&[f64]], row: usize) -> f64 {
        let skip = usize::from(!self.all_levels);
        let predictors = self.predictors();
        if columns[..predictors].iter().any(|c| c[row].is_nan()) {
            return f64::NAN;
        }
        let (mut eta, mut at) = (0.0, 0);
        for (c, levels) in self.levels.iter().enumerate() {
            let v = self.term(columns, row, c);
            // A pair of levels that never occurred has no coefficient.
            if !v.is_nan() && (skip..*levels).contains(&(v as usize)) {
                eta += self.beta[at + v as usize - skip];
            }
            at += levels - skip;
        }
        for i in 0..self.numbers {
            eta += self.beta[at + i] * self.term(columns, row, self.levels.len() + i);
        }
        let mine = &columns[predictors..][..self.strata_columns];
        let stratum = self.strata.iter().find(|s| s.0.iter().zip(mine).all(|(code, c)| *code == c[row]));
        stratum.map_or(f64::NAN, |s| eta - s.1)
    }

    pub fn score(&self, columns: &[&[f64]], offset: Option<&[f64]>, out: &mut [f64]) {
        for (row, slot) in out.iter_mut().enumerate() {
            *slot = self.value(columns, row) + offset.map_or(0.0, |o| o[row]);
        }
    }
}
