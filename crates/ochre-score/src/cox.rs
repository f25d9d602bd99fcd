//! Proportional hazards: the linear predictor, less its mean in the row's stratum.

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct CoxScorer {
    /// Number of levels of each categorical predictor; numbers come after these, columns of strata last.
    pub levels: Vec<usize>,
    /// Does the first level of a categorical predictor have a coefficient?
    pub all_levels: bool,
    pub numbers: usize,
    pub beta: Vec<f64>,
    /// Columns that make the strata, and the codes of each stratum with its mean linear predictor.
    pub strata_columns: usize,
    pub strata: Vec<(Vec<f64>, f64)>,
}

impl CoxScorer {
    /// A row with a missing value, or of an unknown stratum, has no prediction.
    pub fn value(&self, columns: &[&[f64]], row: usize) -> f64 {
        let skip = usize::from(!self.all_levels);
        let (mut eta, mut at) = (0.0, 0);
        for (c, levels) in self.levels.iter().enumerate() {
            let v = columns[c][row];
            if v.is_nan() {
                return f64::NAN;
            }
            if (skip..*levels).contains(&(v as usize)) {
                eta += self.beta[at + v as usize - skip];
            }
            at += levels - skip;
        }
        let first = self.levels.len();
        for i in 0..self.numbers {
            eta += self.beta[at + i] * columns[first + i][row];
        }
        let mine = &columns[first + self.numbers..][..self.strata_columns];
        let stratum = self.strata.iter().find(|s| s.0.iter().zip(mine).all(|(code, c)| *code == c[row]));
        stratum.map_or(f64::NAN, |s| eta - s.1)
    }

    pub fn score(&self, columns: &[&[f64]], offset: Option<&[f64]>, out: &mut [f64]) {
        for (row, slot) in out.iter_mut().enumerate() {
            *slot = self.value(columns, row) + offset.map_or(0.0, |o| o[row]);
        }
    }
}
