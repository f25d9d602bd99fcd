//! The losses: initial value, half the negative gradient, and the leaf estimate of each distribution.

use ochre_model::Deviance;
use ochre_score::TreeLink;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    Gaussian,
    Bernoulli,
    Multinomial,
    Poisson,
    Gamma,
    Tweedie(f64),
    /// Absolute error.
    Laplace,
    /// Pinball loss of a quantile.
    Quantile(f64),
    /// Squared up to a distance, absolute beyond it.
    Huber(f64),
}

/// Exponents beyond this are cut, as the reference cuts them.
const EXP_MAX: f64 = 19.0;

fn exp(x: f64) -> f64 {
    x.clamp(-EXP_MAX, EXP_MAX).exp()
}

impl Loss {
    pub fn link(self) -> TreeLink {
        match self {
            Loss::Gaussian | Loss::Laplace | Loss::Quantile(_) | Loss::Huber(_) => TreeLink::Identity,
            Loss::Bernoulli => TreeLink::Logit,
            Loss::Multinomial => TreeLink::Softmax,
            Loss::Poisson | Loss::Gamma | Loss::Tweedie(_) => TreeLink::Log,
        }
    }

    pub fn deviance(self) -> Deviance {
        match self {
            Loss::Poisson => Deviance::Poisson,
            Loss::Gamma => Deviance::Gamma,
            Loss::Tweedie(p) => Deviance::Tweedie(p),
            Loss::Laplace => Deviance::Laplace,
            Loss::Quantile(a) => Deviance::Quantile(a),
            Loss::Huber(delta) => Deviance::Huber(delta),
            _ => Deviance::Gaussian,
        }
    }

    /// The constant to begin with: the link of the mean response, offsets taken into account.
    pub fn initial(self, y: &[f64], weight: impl Fn(usize) -> f64, offset: Option<&[f64]>) -> f64 {
        let o = |i: usize| offset.map_or(0.0, |o| o[i]);
        let ratio = |num: &dyn Fn(usize) -> f64, den: &dyn Fn(usize) -> f64| {
            let (mut a, mut b) = (0.0, 0.0);
            for i in 0..y.len() {
                let w = weight(i);
                if w > 0.0 {
                    a += w * num(i);
                    b += w * den(i);
                }
            }
            a / b
        };
        match self {
            Loss::Gaussian => ratio(&|i| y[i] - o(i), &|_| 1.0),
            Loss::Multinomial => 0.0,
            Loss::Laplace | Loss::Quantile(_) | Loss::Huber(_) => {
                let mut pairs: Vec<(f64, f64)> = (0..y.len()).map(|i| (y[i] - o(i), weight(i))).filter(|p| p.1 > 0.0).collect();
                pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
                weighted_quantile(&pairs, if let Loss::Quantile(a) = self { a } else { 0.5 })
            }
            Loss::Bernoulli if offset.is_none() => {
                let p = ratio(&|i| y[i], &|_| 1.0);
                (p / (1.0 - p)).ln()
            }
            Loss::Bernoulli => {
                // Newton's steps on the constant of a logistic model with offsets.
                let mut f = 0.0;
                for _ in 0..50 {
                    let p = |i: usize| 1.0 / (1.0 + (-(f + o(i))).exp());
                    let step = ratio(&|i| y[i] - p(i), &|i| p(i) * (1.0 - p(i)));
                    f += step;
                    if step.abs() < 1e-10 {
                        break;
                    }
                }
                f
            }
            Loss::Poisson => ratio(&|i| y[i], &|i| o(i).exp()).ln(),
            Loss::Gamma => ratio(&|i| y[i] * (-o(i)).exp(), &|_| 1.0).ln(),
            Loss::Tweedie(p) => ratio(&|i| y[i] * exp(o(i) * (1.0 - p)), &|i| exp(o(i) * (2.0 - p))).ln(),
        }
    }

    /// Half the negative gradient of the deviance at score `f` (for many classes see the caller).
    #[inline]
    pub fn residual(self, y: f64, f: f64) -> f64 {
        match self {
            Loss::Gaussian | Loss::Multinomial => y - f,
            Loss::Bernoulli => y - 1.0 / (1.0 + (-f).exp()),
            Loss::Poisson => y - exp(f),
            Loss::Gamma => y * exp(-f) - 1.0,
            Loss::Tweedie(p) => y * exp(f * (1.0 - p)) - exp(f * (2.0 - p)),
            Loss::Laplace => {
                if f > y {
                    -0.5
                } else {
                    0.5
                }
            }
            Loss::Quantile(a) => {
                if y > f {
                    0.5 * a
                } else {
                    0.5 * (a - 1.0)
                }
            }
            Loss::Huber(delta) => (y - f).clamp(-delta, delta),
        }
    }

    /// Are leaves order statistics instead of sums?
    pub fn by_rank(self) -> bool {
        matches!(self, Loss::Laplace | Loss::Quantile(_) | Loss::Huber(_))
    }

    /// A leaf from the sorted differences of responses and scores, with weights (Friedman 2001, algorithm 4 for huber).
    pub fn leaf_of_sorted(self, pairs: &[(f64, f64)]) -> f64 {
        match self {
            Loss::Quantile(a) => weighted_quantile(pairs, a),
            Loss::Huber(delta) => {
                let middle = weighted_quantile(pairs, 0.5);
                let (sum, total) = pairs.iter().fold((0.0, 0.0), |s, (d, w)| (s.0 + w * (d - middle).clamp(-delta, delta), s.1 + w));
                if total > 0.0 { middle + sum / total } else { 0.0 }
            }
            _ => weighted_quantile(pairs, 0.5),
        }
    }

    /// Numerator and denominator that one row adds to its leaf.
    #[inline]
    pub fn leaf_terms(self, w: f64, y: f64, z: f64, f: f64) -> (f64, f64) {
        match self {
            Loss::Gaussian => (w * z, w),
            Loss::Bernoulli => {
                let p = y - z;
                (w * z, w * p * (1.0 - p))
            }
            Loss::Multinomial => {
                let a = z.abs();
                (w * z, w * a * (1.0 - a))
            }
            Loss::Poisson => (w * y, w * (y - z)),
            Loss::Gamma => (w * (z + 1.0), w),
            Loss::Tweedie(p) => (w * y * exp(f * (1.0 - p)), w * exp(f * (2.0 - p))),
            Loss::Laplace | Loss::Quantile(_) | Loss::Huber(_) => (0.0, 0.0),
        }
    }

    /// The leaf's step from the sums of its rows' terms.
    pub fn leaf(self, num: f64, den: f64, classes: usize) -> f64 {
        if den == 0.0 {
            return 0.0;
        }
        match self {
            Loss::Multinomial => num / den * (classes as f64 - 1.0) / classes as f64,
            Loss::Poisson | Loss::Gamma | Loss::Tweedie(_) => (num / den).ln().clamp(-EXP_MAX, EXP_MAX),
            _ => num / den,
        }
    }
}

/// A quantile of sorted values with weights, as if each value stood as often as its weight says (type 7).
pub fn weighted_quantile(pairs: &[(f64, f64)], p: f64) -> f64 {
    let total: f64 = pairs.iter().map(|p| p.1).sum();
    if pairs.is_empty() || total <= 0.0 {
        return 0.0;
    }
    let position = p * (total - 1.0).max(0.0);
    let low = position.floor();
    let at = |index: f64| {
        let mut sum = 0.0;
        for (v, w) in pairs {
            sum += w;
            if sum > index {
                return *v;
            }
        }
        pairs[pairs.len() - 1].0
    };
    let (a, b) = (at(low), at(low + 1.0));
    a + (position - low) * (b - a)
}
