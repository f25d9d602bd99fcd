//! The objectives: gradient and hessian of each loss at a margin, in single precision as the xgboost package has them.

use ochre_model::{Deviance, params::Distribution};
use ochre_score::TreeLink;
use rayon::prelude::*;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Objective {
    Squared,
    Logistic,
    Softprob(usize),
    Poisson { max_delta_step: f32 },
    Gamma,
    Tweedie { power: f32 },
}

/// Hessians of probabilities stay above this.
const LEAST: f32 = 1e-16;

impl Objective {
    pub fn new(distribution: Distribution, classes: usize, power: f64, max_delta_step: f32) -> Objective {
        match distribution {
            Distribution::Poisson => Objective::Poisson { max_delta_step },
            Distribution::Gamma => Objective::Gamma,
            Distribution::Tweedie => Objective::Tweedie { power: power as f32 },
            _ if classes == 2 => Objective::Logistic,
            _ if classes > 2 => Objective::Softprob(classes),
            _ => Objective::Squared,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Objective::Squared => "reg:squarederror",
            Objective::Logistic => "binary:logistic",
            Objective::Softprob(_) => "multi:softprob",
            Objective::Poisson { .. } => "count:poisson",
            Objective::Gamma => "reg:gamma",
            Objective::Tweedie { .. } => "reg:tweedie",
        }
    }

    pub fn link(self) -> TreeLink {
        match self {
            Objective::Squared => TreeLink::Identity,
            Objective::Logistic => TreeLink::Logit,
            Objective::Softprob(_) => TreeLink::Softmax,
            _ => TreeLink::Log,
        }
    }

    pub fn deviance(self) -> Deviance {
        match self {
            Objective::Poisson { .. } => Deviance::Poisson,
            Objective::Gamma => Deviance::Gamma,
            Objective::Tweedie { power } => Deviance::Tweedie(f64::from(power)),
            _ => Deviance::Gaussian,
        }
    }

    /// Trees of a round.
    pub fn groups(self) -> usize {
        if let Objective::Softprob(n) = self { n } else { 1 }
    }

    /// The margin of the prediction 0.5, from which boosting starts.
    pub fn base(self) -> f32 {
        match self {
            Objective::Squared | Objective::Softprob(_) => 0.5,
            Objective::Logistic => 0.0,
            _ => 0.5f32.ln(),
        }
    }

    /// Gradients and hessians of rows at their margins, one row's groups after another.
    pub fn gradients(self, margin: &[f32], y: &[f64], weight: impl Fn(usize) -> f32 + Sync, g: &mut [f32], h: &mut [f32]) {
        let k = self.groups();
        const ROWS: usize = 1 << 14;
        let parts = g.par_chunks_mut(ROWS * k).zip(h.par_chunks_mut(ROWS * k)).zip(margin.par_chunks(ROWS * k)).enumerate();
        parts.for_each(|(c, ((g, h), margin))| {
            for (i, m) in margin.chunks_exact(k).enumerate() {
                let row = c * ROWS + i;
                let (w, y) = (weight(row), y[row]);
                if let Objective::Softprob(_) = self {
                    let top = m.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    let sum: f32 = m.iter().map(|v| (v - top).exp()).sum();
                    for (j, v) in m.iter().enumerate() {
                        let p = (v - top).exp() / sum;
                        g[i * k + j] = (p - f32::from(u8::from(y == j as f64))) * w;
                        h[i * k + j] = (2.0 * p * (1.0 - p)).max(LEAST) * w;
                    }
                } else {
                    let (a, b) = self.one(m[0], y as f32);
                    g[i] = a * w;
                    h[i] = b * w;
                }
            }
        });
    }

    fn one(self, m: f32, y: f32) -> (f32, f32) {
        match self {
            Objective::Squared | Objective::Softprob(_) => (m - y, 1.0),
            Objective::Logistic => {
                let p = 1.0 / (1.0 + (-m).min(88.7).exp() + LEAST);
                (p - y, (p * (1.0 - p)).max(LEAST))
            }
            Objective::Poisson { max_delta_step } => (m.exp() - y, (m + max_delta_step).exp()),
            Objective::Gamma => (1.0 - y / m.exp(), y / m.exp()),
            Objective::Tweedie { power } => {
                let (a, b) = (((1.0 - power) * m).exp(), ((2.0 - power) * m).exp());
                (b - y * a, (2.0 - power) * b - y * (1.0 - power) * a)
            }
        }
    }
}
