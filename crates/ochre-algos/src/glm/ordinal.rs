//! Proportional odds (McCullagh 1980): the logistic function of `a_k + x'b` is the share of classes up to k, with one
//! `b` for all classes and rising `a_k`. Fitted by Fisher scoring.

use super::design::Design;
use super::passes::Gram;
use ochre_core::{MapReduce, Rows};
use serde::{Deserialize, Serialize};

/// Information and score of one step. Parameters: the coefficients without the intercept, then `classes - 1` thresholds.
#[derive(Serialize, Deserialize)]
pub struct OrdinalPass {
    pub design: Design,
    pub classes: usize,
    pub theta: Vec<f64>,
    pub loss_only: bool,
}

/// Parameters from one coefficient vector per class, as scorers have it; the last class has none.
pub fn pack(beta: &[Vec<f64>]) -> Vec<f64> {
    let p = beta[0].len();
    beta[0][..p - 1].iter().copied().chain(beta[..beta.len() - 1].iter().map(|b| b[p - 1])).collect()
}

pub fn unpack(theta: &[f64], p: usize, classes: usize) -> Vec<Vec<f64>> {
    let one = |k: usize| theta[..p - 1].iter().copied().chain([theta[p - 1 + k]]).collect();
    (0..classes - 1).map(one).chain([vec![0.0; p]]).collect()
}

fn logistic(v: f64) -> f64 {
    1.0 / (1.0 + (-v).exp())
}

impl MapReduce for OrdinalPass {
    const NAME: &'static str = "glm.ordinal";
    type Out = Gram;

    fn map(&self, rows: Rows<'_>) -> Gram {
        let (n, last) = (self.theta.len(), self.design.len() - 1);
        let mut g = Gram { xx: vec![0.0; if self.loss_only { 0 } else { n * n }], xy: vec![0.0; n], loss: 0.0 };
        let columns: Vec<&[f64]> = rows.columns.iter().map(|c| c.as_ref()).collect();
        let k = self.design.order.len();
        let (y, w, offset) = (columns[k], columns[k + 1], columns[k + 2]);
        let mut x = Vec::with_capacity(k + 1);
        // What each class's probability changes by: with the linear predictor, and with the thresholds around it.
        let mut slopes: Vec<(usize, f64)> = vec![];
        for r in 0..rows.len {
            if w[r] == 0.0 {
                continue;
            }
            self.design.row(&columns, r, &mut x);
            x.retain(|(i, _)| *i < last);
            let eta = offset[r] + x.iter().map(|(i, v)| self.theta[*i] * v).sum::<f64>();
            let up_to = |c: usize| if c + 1 == self.classes { 1.0 } else { logistic(eta + self.theta[last + c]) };
            let slope = |c: usize| {
                let f = up_to(c);
                if c + 1 == self.classes { 0.0 } else { f * (1.0 - f) }
            };
            let answer = y[r] as usize;
            for c in 0..self.classes {
                let below = if c == 0 { (0.0, 0.0) } else { (up_to(c - 1), slope(c - 1)) };
                let share = (up_to(c) - below.0).max(1e-15);
                let (upper, lower) = (slope(c), below.1);
                if c == answer {
                    g.loss -= w[r] * share.ln();
                }
                if self.loss_only {
                    continue;
                }
                slopes.clear();
                slopes.extend(x.iter().map(|(i, v)| (*i, v * (upper - lower))));
                if c > 0 {
                    slopes.push((last + c - 1, -lower));
                }
                if c + 1 < self.classes {
                    slopes.push((last + c, upper));
                }
                for (a, &(i, v)) in slopes.iter().enumerate() {
                    if c == answer {
                        g.xy[i] += w[r] * v / share;
                    }
                    let wv = w[r] * v / share;
                    for &(j, u) in &slopes[..=a] {
                        g.xx[i * n + j] += wv * u;
                    }
                }
            }
        }
        g
    }

    fn reduce(&self, mut left: Gram, right: Gram) -> Gram {
        left.xx.iter_mut().zip(&right.xx).for_each(|(a, b)| *a += b);
        left.xy.iter_mut().zip(&right.xy).for_each(|(a, b)| *a += b);
        left.loss += right.loss;
        left
    }
}
