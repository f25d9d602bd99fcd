//! The passes of a generalized linear model.

use super::design::{Design, NO_PLACE};
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
    /// Numbers that some families and links need.
    pub shape: Shapes,
    /// One coefficient vector, or one per class.
    pub beta: Vec<Vec<f64>>,
    /// The class whose block is summed, for several classes.
    pub class: usize,
    /// Only the loss is wanted.
    pub loss_only: bool,
    /// Only the loss and, in place of X'Wz, its negative gradient are wanted.
    pub gradient_only: bool,
    /// The coefficients that are summed, rising, the intercept last; all others are 0. Empty for all.
    pub within: Vec<u32>,
    /// Weigh rows by the observed information, not the expected one.
    pub observed: bool,
}

/// Numbers that some families and links need.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub struct Shapes {
    /// Variance power of the tweedie family.
    pub variance_power: f64,
    /// Exponent of the tweedie link.
    pub link_power: f64,
    /// Dispersion of the negative binomial family: variance mu + theta mu^2.
    pub theta: f64,
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
    pub fn inverse(self, eta: f64, s: Shapes) -> f64 {
        match self {
            Link::Logit => 1.0 / (1.0 + (-eta).exp()),
            Link::Log => eta.exp(),
            Link::Inverse => 1.0 / if eta < 0.0 { eta.min(-1e-5) } else { eta.max(1e-5) },
            Link::Tweedie => eta.max(1e-300).powf(1.0 / s.link_power),
            _ => eta,
        }
    }
    pub fn apply(self, mu: f64, s: Shapes) -> f64 {
        match self {
            Link::Logit => (mu / (1.0 - mu)).ln(),
            Link::Log => mu.max(f64::MIN_POSITIVE).ln(),
            Link::Inverse => 1.0 / mu,
            Link::Tweedie => mu.powf(s.link_power),
            _ => mu,
        }
    }
    /// d eta / d mu
    pub fn derivative(self, mu: f64, s: Shapes) -> f64 {
        match self {
            Link::Logit => 1.0 / (mu * (1.0 - mu)).max(1e-6),
            Link::Log => 1.0 / mu.max(f64::MIN_POSITIVE),
            Link::Inverse => -1.0 / (mu * mu),
            Link::Tweedie => s.link_power * mu.max(1e-300).powf(s.link_power - 1.0),
            _ => 1.0,
        }
    }
}

impl Link {
    /// d^2 eta / d mu^2
    fn second_derivative(self, mu: f64, s: Shapes) -> f64 {
        let mu = mu.max(1e-300);
        match self {
            Link::Logit => (2.0 * mu - 1.0) / (mu * (1.0 - mu)).powi(2).max(1e-12),
            Link::Log => -1.0 / (mu * mu),
            Link::Inverse => 2.0 / (mu * mu * mu),
            Link::Tweedie => s.link_power * (s.link_power - 1.0) * mu.powf(s.link_power - 2.0),
            _ => 0.0,
        }
    }
}

impl Family {
    /// d variance / d mu, of the families whose statistics rest on the observed information.
    fn variance_slope(self, mu: f64, s: Shapes) -> f64 {
        match self {
            Family::Tweedie => s.variance_power * mu.max(1e-300).powf(s.variance_power - 1.0),
            Family::Negativebinomial => 1.0 + 2.0 * s.theta * mu,
            _ => 0.0,
        }
    }

    /// Is the response a share of two outcomes?
    pub fn is_binomial(self) -> bool {
        matches!(self, Family::Binomial | Family::Quasibinomial | Family::Fractionalbinomial)
    }

    pub fn variance(self, mu: f64, s: Shapes) -> f64 {
        match self {
            Family::Binomial | Family::Quasibinomial | Family::Fractionalbinomial => (mu * (1.0 - mu)).max(1e-6),
            Family::Poisson => mu,
            Family::Gamma => mu * mu,
            Family::Tweedie => mu.max(1e-300).powf(s.variance_power),
            Family::Negativebinomial => mu + s.theta * mu * mu,
            _ => 1.0,
        }
    }
    /// Negative log-likelihood without what does not depend on the mean.
    fn loss(self, y: f64, mu: f64, eta: f64, s: Shapes) -> f64 {
        match self {
            // log(1 + exp(-|eta|)) form: no overflow, no lost digits.
            Family::Binomial | Family::Quasibinomial | Family::Fractionalbinomial => eta.max(0.0) - y * eta + (-eta.abs()).exp().ln_1p(),
            Family::Poisson => mu - y * eta,
            Family::Gamma => y / mu + mu.ln(),
            Family::Tweedie => tweedie(y, mu, s.variance_power),
            Family::Negativebinomial => {
                let t = s.theta;
                (y + 1.0 / t) * (t * mu).ln_1p() - if y > 0.0 { y * mu.max(1e-300).ln() } else { 0.0 }
            }
            _ => 0.5 * (y - mu) * (y - mu),
        }
    }
    /// The loss as a function of the mean alone, for families whose loss is written with the linear predictor.
    pub fn mean_loss(self, y: f64, mu: f64, s: Shapes) -> f64 {
        match self {
            f if f.is_binomial() => -(if y > 0.0 { y * mu.ln() } else { 0.0 }) - if y < 1.0 { (1.0 - y) * (1.0 - mu).ln() } else { 0.0 },
            Family::Poisson => mu - if y > 0.0 { y * mu.ln() } else { 0.0 },
            f => f.loss(y, mu, 0.0, s),
        }
    }
    /// The loss of a model that fits every row.
    pub fn saturated(self, y: f64, s: Shapes) -> f64 {
        let xlogx = |v: f64| if v > 0.0 { v * v.ln() } else { 0.0 };
        match self {
            Family::Quasibinomial | Family::Fractionalbinomial => -xlogx(y) - xlogx(1.0 - y),
            Family::Poisson => y - xlogx(y),
            Family::Gamma => 1.0 + y.ln(),
            Family::Tweedie => tweedie(y, y, s.variance_power),
            Family::Negativebinomial => (y + 1.0 / s.theta) * (s.theta * y).ln_1p() - xlogx(y),
            _ => 0.0,
        }
    }
}

/// Negative quasi-log-likelihood of the tweedie family (Jorgensen 1987), variance power other than 1 and 2.
fn tweedie(y: f64, mu: f64, p: f64) -> f64 {
    let mu = mu.max(1e-300);
    if p == 1.0 {
        return mu - if y > 0.0 { y * mu.ln() } else { 0.0 };
    }
    if p == 2.0 {
        return y / mu + mu.ln();
    }
    if p == 0.0 {
        return 0.5 * (y - mu) * (y - mu);
    }
    let first = if y == 0.0 { 0.0 } else { y * mu.powf(1.0 - p) / (1.0 - p) };
    mu.powf(2.0 - p) / (2.0 - p) - first
}

/// Sets of coefficients up to which linear predictors of a chunk are kept side by side.
const SETS_BY_COLUMN: usize = 32;

impl GramPass {
    /// A row's part of the loss, its weight in the Gram matrix, and its working response.
    #[inline(always)]
    fn respond(&self, eta: &[f64], y: f64, w: f64, offset: f64) -> (f64, f64, f64) {
        if eta.len() > 1 {
            let top = eta.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = eta.iter().map(|e| (e - top).exp()).sum();
            let c = self.class;
            let mu = (eta[c] - top).exp() / total;
            let d = (mu * (1.0 - mu)).max(1e-6);
            return (-(w * (eta[y as usize] - top - total.ln())), w * d, eta[c] + (f64::from(y == c as f64) - mu) / d);
        }
        let mu = self.link.inverse(eta[0], self.shape);
        let loss = w * self.family.loss(y, mu, eta[0], self.shape);
        let d = self.link.derivative(mu, self.shape);
        let v = self.family.variance(mu, self.shape);
        let weight = if self.observed {
            let (v1, d2) = (self.family.variance_slope(mu, self.shape), self.link.second_derivative(mu, self.shape));
            w * (1.0 / (v * d * d) + (y - mu) * (v1 * d + v * d2) / (v * v * d * d * d))
        } else {
            w / (v * d * d)
        };
        (loss, weight, eta[0] - offset + (y - mu) * d)
    }

    /// All sums, column after column as the data lie: codes are taken from the data once, and products of two categories go to a
    /// table of their own that stays in the cache. What is added to each sum, and in which order, is as row by row.
    fn by_column(&self, columns: &[&[f64]], rows: usize, g: &mut Gram) {
        let (design, k, sets) = (&self.design, self.design.order.len(), self.beta.len());
        let (y, w, offset) = (columns[k], columns[k + 1], columns[k + 2]);
        let places = design.places(columns, rows);
        let (at, count) = (design.numbers_at(), design.means.len());
        // Linear predictors, those of a row side by side.
        let mut eta = vec![0.0; rows * sets];
        for (set, beta) in self.beta.iter().enumerate() {
            for (places, first) in places.iter().zip(&design.offsets) {
                let beta = &beta[*first..];
                eta[set..].iter_mut().step_by(sets).zip(places).filter(|(_, i)| **i != NO_PLACE).for_each(|(e, i)| *e += beta[*i as usize]);
            }
            for i in 0..count {
                eta[set..]
                    .iter_mut()
                    .step_by(sets)
                    .zip(columns[design.levels.len() + i])
                    .for_each(|(e, v)| *e += beta[at + i] * design.number(i, *v));
            }
            let intercept = if design.intercept { beta[at + count] } else { 0.0 };
            eta[set..].iter_mut().step_by(sets).zip(offset).for_each(|(e, o)| *e = o + (*e + intercept));
        }
        let products = !self.loss_only;
        let (mut weights, mut pulls) = (vec![0.0; if products { rows } else { 0 }], vec![0.0; if products { rows } else { 0 }]);
        let (size, mut x) = (design.len(), vec![0.0; count]);
        if design.intercept {
            x.push(1.0);
        }
        for r in (0..rows).filter(|r| w[*r] != 0.0) {
            let (loss, weight, z) = self.respond(&eta[r * sets..(r + 1) * sets], y[r], w[r], offset[r]);
            g.loss += loss;
            if !products {
                continue;
            }
            (weights[r], pulls[r]) = (weight, weight * z);
            for (i, v) in x[..count].iter_mut().enumerate() {
                *v = design.number(i, columns[design.levels.len() + i][r]);
            }
            for (a, v) in x.iter().enumerate() {
                let (wv, i) = (weight * v, at + a);
                g.xy[i] += wv * z;
                let row = &mut g.xx[i * size + at..i * size + i + 1];
                row.iter_mut().zip(&x).for_each(|(o, u)| *o += wv * u);
            }
        }
        if products {
            for (places, first) in places.iter().zip(&design.offsets) {
                let sums = &mut g.xy[*first..];
                places.iter().zip(&pulls).filter(|(i, _)| **i != NO_PLACE).for_each(|(i, v)| sums[*i as usize] += v);
            }
            design.category_products(columns, &places, &weights, &mut g.xx);
        }
    }
}

impl MapReduce for GramPass {
    const NAME: &'static str = "glm.gram";
    type Out = Gram;

    fn map(&self, rows: Rows<'_>) -> Gram {
        let p = self.design.len();
        let size = if self.within.is_empty() { p } else { self.within.len() };
        let products = if self.loss_only || self.gradient_only { 0 } else { size * size };
        let mut g = Gram { xx: vec![0.0; products], xy: vec![0.0; size], loss: 0.0 };
        // Where each coefficient is summed.
        let mut places = vec![u32::MAX; if self.within.is_empty() { 0 } else { p }];
        self.within.iter().enumerate().for_each(|(at, i)| places[*i as usize] = at as u32);
        let columns: Vec<&[f64]> = rows.columns.iter().map(|c| c.as_ref()).collect();
        let k = self.design.order.len();
        let (y, w, offset) = (columns[k], columns[k + 1], columns[k + 2]);
        let mut x = Vec::with_capacity(k + 1);
        let mut eta = vec![0.0; self.beta.len()];
        // Of many numbers only those are looked at whose coefficients are summed or are not 0.
        let (first, count) = (self.design.numbers_at(), self.design.means.len());
        let looked = |i: &usize| match places.get(first + i) {
            Some(place) => *place != u32::MAX,
            None => self.beta.iter().any(|b| b[first + i] != 0.0),
        };
        let sparse = self.gradient_only || !self.within.is_empty() || (self.loss_only && count >= 500);
        if !sparse && self.beta.len() <= SETS_BY_COLUMN {
            self.by_column(&columns, rows.len, &mut g);
            return g;
        }
        let numbers: Option<Vec<usize>> = sparse.then(|| (0..count).filter(looked).collect());
        let mut pulls = vec![0.0; if self.gradient_only { rows.len } else { 0 }];
        for r in 0..rows.len {
            if w[r] == 0.0 {
                continue;
            }
            match &numbers {
                None => self.design.row(&columns, r, &mut x),
                Some(numbers) => self.design.row_of(&columns, r, numbers.iter().copied(), &mut x),
            }
            if !places.is_empty() {
                x.retain(|(i, _)| places[*i] != u32::MAX);
            }
            for (e, beta) in eta.iter_mut().zip(&self.beta) {
                *e = offset[r] + x.iter().map(|(i, v)| beta[*i] * v).sum::<f64>();
            }
            let (loss, weight, z) = self.respond(&eta, y[r], w[r], offset[r]);
            g.loss += loss;
            if self.loss_only {
                continue;
            }
            if self.gradient_only {
                let own = if eta.len() > 1 { eta[self.class] } else { eta[0] - offset[r] };
                pulls[r] = weight * (z - own);
                continue;
            }
            if !places.is_empty() {
                x.iter_mut().for_each(|(i, _)| *i = places[*i] as usize);
            }
            for (a, &(i, v)) in x.iter().enumerate() {
                let wv = weight * v;
                g.xy[i] += wv * z;
                let row = &mut g.xx[i * size..i * size + i + 1];
                for &(j, u) in &x[..=a] {
                    row[j] += wv * u;
                }
            }
        }
        if self.gradient_only {
            self.design.weighted_sums(&columns, &pulls, &mut g.xy);
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
