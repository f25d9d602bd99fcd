//! Naive Bayes: log-probabilities of the classes, added up over the predictors as if these were independent.

/// What is known of one predictor in each class.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub enum Conditional {
    /// Probability of each level, per class.
    Levels(Vec<Vec<f64>>),
    /// Mean and standard deviation, per class.
    Normal(Vec<(f64, f64)>),
}

/// Mean and standard deviation to count with: a class without values has those of the standard normal distribution, and
/// deviations up to a bound are replaced.
pub(crate) fn normal((mean, sd): (f64, f64), (least, instead): (f64, f64)) -> (f64, f64) {
    let sd = if sd.is_nan() { 1.0 } else { sd };
    (if mean.is_nan() { 0.0 } else { mean }, if sd <= least { instead } else { sd })
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct BayesScorer {
    pub priors: Vec<f64>,
    pub columns: Vec<Conditional>,
    /// Standard deviations up to the first number are replaced by the second, probabilities likewise.
    pub deviations: (f64, f64),
    pub probabilities: (f64, f64),
}

impl BayesScorer {
    /// Missing values and unseen levels say nothing.
    pub fn score(&self, columns: &[&[f64]], out: &mut [f64]) {
        let classes = self.priors.len();
        let (least, instead) = self.probabilities;
        let floor = |p: f64| if p <= least { instead } else { p };
        let mut logs = vec![0.0; classes];
        for (row, slot) in out.chunks_mut(classes).enumerate() {
            logs.iter_mut().zip(&self.priors).for_each(|(l, p)| *l = p.ln());
            for (column, known) in columns.iter().zip(&self.columns) {
                let v = column[row];
                if v.is_nan() {
                    continue;
                }
                for (k, log) in logs.iter_mut().enumerate() {
                    let p = match known {
                        Conditional::Levels(p) => match p[k].get(v as usize) {
                            Some(p) => floor(*p),
                            None => continue,
                        },
                        Conditional::Normal(at) => {
                            let (mean, sd) = normal(at[k], self.deviations);
                            let z = (v - mean) / sd;
                            floor((-0.5 * z * z).exp() / (sd * (2.0 * std::f64::consts::PI).sqrt()))
                        }
                    };
                    *log += p.ln();
                }
            }
            for (k, p) in slot.iter_mut().enumerate() {
                *p = 1.0 / logs.iter().map(|l| (l - logs[k]).exp()).sum::<f64>();
            }
        }
    }
}
