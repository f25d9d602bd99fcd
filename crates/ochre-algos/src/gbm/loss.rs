//! The losses: initial value, half the negative gradient, and the leaf estimate of each distribution.

use ochre_core::Result;
use ochre_model::Deviance;
use ochre_score::TreeLink;
use ochre_script::{Link, Script};

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
    /// The user's own, of one score or of one for each class.
    Custom(Link),
    CustomClasses,
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
            Loss::Multinomial | Loss::CustomClasses => TreeLink::Softmax,
            Loss::Poisson | Loss::Gamma | Loss::Tweedie(_) | Loss::Custom(Link::Log) => TreeLink::Log,
            Loss::Custom(Link::Identity) => TreeLink::Identity,
            Loss::Custom(Link::Logit) => TreeLink::Logit,
        }
    }

    /// What metrics tell; that of huber with the quantile of distances beyond which it is linear.
    pub fn deviance(self, huber_alpha: f64) -> Deviance {
        match self {
            Loss::Poisson => Deviance::Poisson,
            Loss::Gamma => Deviance::Gamma,
            Loss::Tweedie(p) => Deviance::Tweedie(p),
            Loss::Laplace => Deviance::Laplace,
            Loss::Quantile(a) => Deviance::Quantile(a),
            Loss::Huber(_) => Deviance::HuberAt(huber_alpha),
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
            Loss::Multinomial | Loss::Custom(_) | Loss::CustomClasses => 0.0,
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
                // One step of Newton from 0, as R's gbm has it; the trees put right what it leaves.
                let p = |i: usize| 1.0 / (1.0 + (-o(i)).exp());
                let step = ratio(&|i| y[i] - p(i), &|i| p(i) * (1.0 - p(i)));
                if step.is_finite() { step } else { 0.0 }
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
            Loss::Gaussian | Loss::Multinomial | Loss::Custom(_) | Loss::CustomClasses => y - f,
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

    /// Is there a score for each class?
    pub fn by_class(self) -> bool {
        matches!(self, Loss::Multinomial | Loss::CustomClasses)
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
            Loss::Laplace | Loss::Quantile(_) | Loss::Huber(_) | Loss::Custom(_) | Loss::CustomClasses => (0.0, 0.0),
        }
    }

    /// The leaf's step from the sums of its rows' terms.
    pub fn leaf(self, num: f64, den: f64, classes: usize) -> f64 {
        if den == 0.0 {
            return 0.0;
        }
        match self {
            Loss::Multinomial | Loss::CustomClasses => num / den * (classes as f64 - 1.0) / classes as f64,
            Loss::Poisson | Loss::Gamma | Loss::Tweedie(_) => (num / den).ln().clamp(-EXP_MAX, EXP_MAX),
            _ => num / den,
        }
    }
}

/// A quantile of sorted values with weights; 0 of none.
pub fn weighted_quantile(pairs: &[(f64, f64)], p: f64) -> f64 {
    let q = ochre_core::weighted_quantile(pairs, p, "interpolate");
    if q.is_nan() { 0.0 } else { q }
}

/// A loss that the user wrote.
pub struct Custom {
    pub script: Script,
    pub loss: Loss,
}

impl Custom {
    pub fn new(script: &Script, classes: usize) -> Result<Custom> {
        let loss = match (script.link()?, classes) {
            (_, 3..) => Loss::CustomClasses,
            (link, _) => Loss::Custom(link),
        };
        Ok(Custom { script: script.clone(), loss })
    }

    /// The constant to begin with: the link of the ratio that `init` adds up.
    pub fn initial(&self, y: &[f64], weight: impl Fn(usize) -> f64, offset: Option<&[f64]>) -> Result<f64> {
        let Loss::Custom(link) = self.loss else { return Ok(0.0) };
        let rows: Vec<usize> = (0..y.len()).filter(|&i| weight(i) > 0.0).collect();
        let each = |f: &dyn Fn(usize) -> f64| rows.iter().map(|&i| f(i)).collect::<Vec<f64>>();
        let arguments = vec![each(&weight), each(&|i| offset.map_or(0.0, |o| o[i])), each(&|i| y[i])];
        let (mut num, mut den) = (0.0, 0.0);
        for pair in self.script.call("init", &arguments, 2)?.chunks_exact(2) {
            (num, den) = (num + pair[0], den + pair[1]);
        }
        let mean = num / den;
        Ok(match link {
            Link::Log => mean.ln(),
            Link::Logit => (mean / (1.0 - mean)).ln(),
            _ => mean,
        })
    }

    /// Half the negative gradients at scores `f`; of classes at their probabilities.
    pub fn gradients(&self, y: &[f64], f: &[f64], sums: usize) -> Result<Vec<f32>> {
        let arguments = match self.loss.by_class() {
            false => vec![y.to_vec(), f.to_vec()],
            true => {
                let mut p = f.to_vec();
                for row in p.chunks_mut(sums) {
                    let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    row.iter_mut().for_each(|v| *v = (*v - top).exp());
                    let total: f64 = row.iter().sum();
                    row.iter_mut().for_each(|v| *v /= total);
                }
                let actual = y.iter().flat_map(|y| std::iter::repeat_n(*y, sums)).collect();
                let class = (0..f.len()).map(|i| (i % sums) as f64).collect();
                vec![actual, p, class]
            }
        };
        Ok(self.script.call("gradient", &arguments, 1)?.into_iter().map(|v| v as f32).collect())
    }

    /// Numerators and denominators that rows add to their leaves.
    pub fn leaf_terms(&self, w: Vec<f64>, y: &[f64], z: &[f32], f: Vec<f64>) -> Result<Vec<f64>> {
        let z = z.iter().map(|v| f64::from(*v)).collect();
        self.script.call("gamma", &[w, y.to_vec(), z, f], 2)
    }
}
