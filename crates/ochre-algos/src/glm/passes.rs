//! The passes of a generalized linear model.

use super::design::Design;
use super::params::{Family, Link};
use ochre_core::{MapReduce, Rows};
use ochre_schema::Wire;
use serde::{Deserialize, Serialize};

/// Sums of one iteration.
#[derive(Serialize, Deserialize)]
pub struct Gram {
    /// X'WX, row-major, lower half.
    pub xx: Vec<f64>,
    /// X'Wz
    pub xy: Vec<f64>,
    /// Negative log-likelihood (half the deviance for gaussian).
    pub loss: f64,
}

/// The weighted Gram matrix and working response at some coefficients. Columns: predictors in design order, response,
/// weight, offset.
#[derive(Serialize, Deserialize)]
pub struct GramPass {
    pub design: Design,
    #[serde(with = "by_name")]
    pub family: Family,
    #[serde(with = "by_name")]
    pub link: Link,
    /// One coefficient vector, or one per class.
    pub beta: Vec<Vec<f64>>,
    /// The class whose block is summed, for several classes.
    pub class: usize,
    /// Only the loss is wanted.
    pub loss_only: bool,
}

/// Choices travel by their names.
mod by_name {
    use super::Wire;
    pub fn serialize<T: Wire, S: serde::Serializer>(v: &T, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(v.to_json().as_str().unwrap_or_default())
    }
    pub fn deserialize<'d, T: Wire, D: serde::Deserializer<'d>>(d: D) -> Result<T, D::Error> {
        let name: String = serde::Deserialize::deserialize(d)?;
        T::from_text(&name).map_err(serde::de::Error::custom)
    }
}

impl Link {
    pub fn inverse(self, eta: f64) -> f64 {
        match self {
            Link::Logit => 1.0 / (1.0 + (-eta).exp()),
            Link::Log => eta.exp(),
            Link::Inverse => 1.0 / if eta < 0.0 { eta.min(-1e-5) } else { eta.max(1e-5) },
            _ => eta,
        }
    }
    pub fn apply(self, mu: f64) -> f64 {
        match self {
            Link::Logit => (mu / (1.0 - mu)).ln(),
            Link::Log => mu.max(f64::MIN_POSITIVE).ln(),
            Link::Inverse => 1.0 / mu,
            _ => mu,
        }
    }
    /// d eta / d mu
    fn derivative(self, mu: f64) -> f64 {
        match self {
            Link::Logit => 1.0 / (mu * (1.0 - mu)).max(1e-6),
            Link::Log => 1.0 / mu.max(f64::MIN_POSITIVE),
            Link::Inverse => -1.0 / (mu * mu),
            _ => 1.0,
        }
    }
}

impl Family {
    fn variance(self, mu: f64) -> f64 {
        match self {
            Family::Binomial => (mu * (1.0 - mu)).max(1e-6),
            Family::Poisson => mu,
            Family::Gamma => mu * mu,
            _ => 1.0,
        }
    }
    fn loss(self, y: f64, mu: f64, eta: f64) -> f64 {
        match self {
            // log(1 + exp(-|eta|)) form: no overflow, no lost digits.
            Family::Binomial => eta.max(0.0) - y * eta + (-eta.abs()).exp().ln_1p(),
            Family::Poisson => mu - y * eta,
            Family::Gamma => y / mu + mu.ln(),
            _ => 0.5 * (y - mu) * (y - mu),
        }
    }
}

impl MapReduce for GramPass {
    const NAME: &'static str = "glm.gram";
    type Out = Gram;

    fn map(&self, rows: Rows<'_>) -> Gram {
        let p = self.design.len();
        let mut g = Gram { xx: vec![0.0; if self.loss_only { 0 } else { p * p }], xy: vec![0.0; p], loss: 0.0 };
        let columns: Vec<&[f64]> = rows.columns.iter().map(|c| c.as_ref()).collect();
        let k = self.design.order.len();
        let (y, w, offset) = (columns[k], columns[k + 1], columns[k + 2]);
        let mut x = Vec::with_capacity(k + 1);
        let mut eta = vec![0.0; self.beta.len()];
        for r in 0..rows.len {
            if w[r] == 0.0 {
                continue;
            }
            self.design.row(&columns, r, &mut x);
            for (e, beta) in eta.iter_mut().zip(&self.beta) {
                *e = offset[r] + x.iter().map(|(i, v)| beta[*i] * v).sum::<f64>();
            }
            let (weight, z);
            if eta.len() > 1 {
                let top = eta.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let total: f64 = eta.iter().map(|e| (e - top).exp()).sum();
                let c = self.class;
                let mu = (eta[c] - top).exp() / total;
                g.loss -= w[r] * (eta[y[r] as usize] - top - total.ln());
                let d = (mu * (1.0 - mu)).max(1e-6);
                weight = w[r] * d;
                z = eta[c] + (f64::from(y[r] == c as f64) - mu) / d;
            } else {
                let mu = self.link.inverse(eta[0]);
                g.loss += w[r] * self.family.loss(y[r], mu, eta[0]);
                let d = self.link.derivative(mu);
                weight = w[r] / (self.family.variance(mu) * d * d);
                z = eta[0] - offset[r] + (y[r] - mu) * d;
            }
            if self.loss_only {
                continue;
            }
            for (a, &(i, v)) in x.iter().enumerate() {
                let wv = weight * v;
                g.xy[i] += wv * z;
                let row = &mut g.xx[i * p..i * p + i + 1];
                for &(j, u) in &x[..=a] {
                    row[j] += wv * u;
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
