//! Log-likelihoods, dispersions and what rests on them.

use super::params::{Family, GlmParams};
use super::passes::Shapes;
use ochre_core::{Error, Result};
use rayon::prelude::*;
use statrs::function::gamma::{digamma, ln_gamma};

/// Rows that are summed in one go.
const PART_ROWS: usize = 16_384;

/// Responses, weights and fitted means of the rows that count.
pub struct Fit<'a> {
    pub family: Family,
    pub shape: Shapes,
    pub y: &'a [f64],
    pub w: Option<&'a [f64]>,
    pub mu: &'a [f64],
    /// Coefficients that are not 0, the intercept among them.
    pub active: usize,
}

impl Fit<'_> {
    fn weight(&self, i: usize) -> f64 {
        self.w.map_or(1.0, |w| w[i])
    }

    fn sum(&self, f: impl Fn(f64, f64) -> f64 + Sync) -> f64 {
        let counts = |i: &usize| !self.y[*i].is_nan() && self.weight(*i) > 0.0;
        let part = |first: usize| {
            let rows = first..(first + PART_ROWS).min(self.y.len());
            rows.filter(counts).map(|i| self.weight(i) * f(self.y[i], self.mu[i])).sum::<f64>()
        };
        // Parts are added in their order, whoever summed them.
        let starts: Vec<usize> = (0..self.y.len()).step_by(PART_ROWS).collect();
        starts.into_par_iter().map(part).collect::<Vec<f64>>().into_iter().sum()
    }

    fn rows(&self) -> f64 {
        self.sum(|_, _| 1.0)
    }

    /// Residual degrees of freedom.
    fn free(&self) -> f64 {
        self.rows() - self.active as f64
    }

    /// From Pearson residuals (McCullagh and Nelder 1989, 4.4). For the negative binomial family the reference weighs
    /// them by the observed information.
    pub fn pearson(&self) -> f64 {
        let theta = self.shape.theta;
        let variance = |y: f64, mu: f64| match self.family {
            Family::Negativebinomial => mu * (1.0 + theta * y),
            f => f.variance(mu, self.shape),
        };
        self.sum(|y, mu| (y - mu) * (y - mu) / variance(y, mu)) / self.free()
    }

    pub fn by_deviance(&self) -> f64 {
        let half = self.sum(|y, mu| self.family.mean_loss(y, mu, self.shape) - self.family.saturated(y, self.shape));
        2.0 * half / self.free()
    }

    /// Where the likelihood is largest, and its logarithm there.
    fn best_dispersion(&self) -> (f64, f64) {
        let (t, most) = summit(1e-6f64.ln(), 1e6f64.ln(), 1e-9, |t| self.log_likelihood(t.exp()));
        (t.exp(), most)
    }

    /// The dispersion at which the likelihood is largest.
    pub fn most_likely(&self) -> f64 {
        self.best_dispersion().0
    }

    /// The variance power between 1 and 2 at which the likelihood of the tweedie family is largest, each with its own
    /// dispersion (Dunn and Smyth 2005).
    pub fn likely_power(&self) -> f64 {
        let at = |power: f64| Fit { shape: Shapes { variance_power: power, ..self.shape }, ..*self };
        summit(1.01, 1.99, 1e-7, |power| at(power).best_dispersion().1).0
    }

    /// The theta of the negative binomial family at which the likelihood of these means is largest, by Newton's method on
    /// the logarithm of its reciprocal r. With `S(f) = sum over k < y of f(r + k)`, the slope of a row is
    /// `S(1/x) + ln(r / (r + mu)) + (mu - y) / (r + mu)`.
    pub fn likely_theta(&self) -> f64 {
        let slopes = |r: f64| {
            let mut sums = (0.0, 0.0);
            for i in (0..self.y.len()).filter(|&i| !self.y[i].is_nan() && self.weight(i) > 0.0) {
                let (y, mu, w) = (self.y[i], self.mu[i], self.weight(i));
                // digamma(y + r) - digamma(r) and its slope: sums for whole numbers.
                let (a, b) = if y == y.trunc() && y < 1000.0 {
                    (0..y as usize).fold((0.0, 0.0), |(a, b), k| {
                        let x = 1.0 / (r + k as f64);
                        (a + x, b - x * x)
                    })
                } else {
                    let d = |r: f64| digamma(y + r) - digamma(r);
                    let h = 1e-5 * r;
                    (d(r), (d(r + h) - d(r - h)) / (2.0 * h))
                };
                let sum = r + mu;
                sums.0 += w * (a + (r / sum).ln() + (mu - y) / sum);
                sums.1 += w * (b + 1.0 / r - 2.0 / sum + (y + r) / (sum * sum));
            }
            sums
        };
        let mut t = -(self.shape.theta.clamp(1e-8, 1e8)).ln();
        for _ in 0..100 {
            let r = t.exp();
            let (first, second) = slopes(r);
            // By the logarithm: r f' and r f' + r^2 f''; where the likelihood is not concave, a step uphill.
            let (g, h) = (r * first, r * first + r * r * second);
            let step = if h < 0.0 { (-g / h).clamp(-1.0, 1.0) } else { g.signum() };
            // Beyond these the model is that of Poisson, or has all its mass at 0.
            let next = (t + step).clamp(-23.0, 23.0);
            let still = (next - t).abs() < 1e-12;
            t = next;
            if still {
                break;
            }
        }
        (-t).exp()
    }

    pub fn dispersion(&self, params: &GlmParams) -> f64 {
        if params.fix_dispersion_parameter {
            return params.init_dispersion_parameter;
        }
        match params.dispersion_parameter_method.as_deref() {
            Some("deviance") => self.by_deviance(),
            Some("ml") => self.most_likely(),
            _ => self.pearson(),
        }
    }

    /// The log-likelihood of families with a mean, given the dispersion.
    pub fn log_likelihood(&self, phi: f64) -> f64 {
        match self.family {
            Family::Gaussian => self.sum(|y, mu| -0.5 * (2.0 * std::f64::consts::PI * phi).ln() - (y - mu) * (y - mu) / (2.0 * phi)),
            Family::Poisson => self.sum(|y, mu| if y > 0.0 { y * mu.max(1e-300).ln() } else { 0.0 } - mu - ln_gamma(y + 1.0)),
            Family::Gamma => {
                let k = 1.0 / phi;
                self.sum(|y, mu| k * (k * y / mu).ln() - k * y / mu - y.ln() - ln_gamma(k))
            }
            Family::Negativebinomial => {
                let r = 1.0 / self.shape.theta;
                self.sum(|y, mu| {
                    let choose = ln_gamma(y + r) - ln_gamma(y + 1.0) - ln_gamma(r);
                    let share = mu / (r + mu);
                    choose + r * (1.0 - share).ln() + if y > 0.0 { y * share.ln() } else { 0.0 }
                })
            }
            Family::Tweedie => self.sum(|y, mu| tweedie(y, mu, phi, self.shape.variance_power)),
            _ => self.sum(|y, mu| if y > 0.0 { y * mu.max(1e-300).ln() } else { 0.0 } + if y < 1.0 { (1.0 - y) * (1.0 - mu).max(1e-300).ln() } else { 0.0 }),
        }
    }

    /// Log-likelihood and Akaike's criterion (1974). Families with a dispersion count it as one more parameter.
    pub fn judge(&self, params: &GlmParams) -> (f64, f64) {
        let (phi, more) = match self.family {
            Family::Gaussian => (self.pearson(), 1),
            Family::Gamma => (self.dispersion(params), 1),
            Family::Tweedie => (self.most_likely(), 1 + usize::from(power_is_estimated(params, self.family))),
            Family::Negativebinomial => (1.0, 1),
            _ => (1.0, 0),
        };
        let ll = self.log_likelihood(phi);
        (ll, -2.0 * ll + 2.0 * (self.active + more) as f64)
    }
}

/// The density of the compound Poisson-gamma distribution by its series (Dunn and Smyth 2005), for variance powers
/// between 1 and 2; missing for others.
fn tweedie(y: f64, mu: f64, phi: f64, p: f64) -> f64 {
    if !(p > 1.0 && p < 2.0) {
        return f64::NAN;
    }
    let kappa = mu.powf(2.0 - p) / (2.0 - p);
    if y == 0.0 {
        return -kappa / phi;
    }
    let alpha = (2.0 - p) / (p - 1.0);
    let step = alpha * y.ln() - alpha * (p - 1.0).ln() - (1.0 + alpha) * phi.ln() - (2.0 - p).ln();
    let term = |j: f64| j * step - ln_gamma(j + 1.0) - ln_gamma(j * alpha);
    // Terms rise to the one near the expected number of claims, then fall: go both ways until they no longer matter.
    let top = (y.powf(2.0 - p) / (phi * (2.0 - p))).round().max(1.0);
    let largest = term(top);
    let mut sum = 1.0;
    for direction in [1.0, -1.0] {
        let mut j = top + direction;
        while j >= 1.0 {
            let t = term(j) - largest;
            sum += t.exp();
            if t < -37.0 {
                break;
            }
            j += direction;
        }
    }
    let theta = mu.powf(1.0 - p) / (1.0 - p);
    (y * theta - kappa) / phi + largest + sum.ln() - y.ln()
}

/// The place between two bounds where a function with a single summit is largest, and its value: by golden sections
/// (Kiefer 1953).
fn summit(mut a: f64, mut b: f64, tolerance: f64, f: impl Fn(f64) -> f64) -> (f64, f64) {
    let g = (5f64.sqrt() - 1.0) / 2.0;
    let (mut c, mut d) = (b - g * (b - a), a + g * (b - a));
    let (mut fc, mut fd) = (f(c), f(d));
    while b - a > tolerance {
        if fc > fd {
            (b, d, fd) = (d, c, fc);
            c = b - g * (b - a);
            fc = f(c);
        } else {
            (a, c, fc) = (c, d, fd);
            d = a + g * (b - a);
            fd = f(d);
        }
    }
    ((a + b) / 2.0, fc.max(fd))
}

/// Is the variance power of the tweedie family found along with the coefficients?
pub fn power_is_estimated(params: &GlmParams, family: Family) -> bool {
    family == Family::Tweedie && !params.fix_tweedie_variance_power
}

/// Is theta of the negative binomial family found along with the coefficients?
pub fn theta_is_estimated(params: &GlmParams, family: Family) -> bool {
    family == Family::Negativebinomial && params.dispersion_parameter_method.as_deref() == Some("ml") && !params.fix_dispersion_parameter
}

/// Refuses what has no formula here.
pub fn check(params: &GlmParams, family: Family) -> Result<()> {
    let power = params.tweedie_variance_power;
    let method = params.dispersion_parameter_method.as_deref().unwrap_or("pearson");
    if family == Family::Tweedie
        && (params.calc_like || method == "ml")
        && !power_is_estimated(params, family)
        && !(power > 1.0 && power < 2.0)
    {
        return Err(Error::Unsupported(format!(
            "the tweedie likelihood is computed for variance powers between 1 and 2, but tweedie_variance_power is {power}; leave calc_like off and dispersion_parameter_method at pearson or deviance"
        )));
    }
    if family == Family::Negativebinomial && params.fix_dispersion_parameter && params.init_dispersion_parameter != 1.0 {
        return Err(Error::invalid(format!(
            "init_dispersion_parameter is {}, but the dispersion of the negative binomial family that is fixed is theta; set theta instead",
            params.init_dispersion_parameter
        )));
    }
    if power_is_estimated(params, family) && method != "ml" {
        return Err(Error::invalid(format!(
            "fix_tweedie_variance_power = false looks for the most likely variance power, so dispersion_parameter_method must be ml, but is {method}"
        )));
    }
    if theta_is_estimated(params, family) || power_is_estimated(params, family) {
        let penalised = params.lambda_search || params.lambda.as_ref().is_none_or(|l| l.is_empty() || l.iter().any(|v| *v > 0.0));
        if penalised {
            return Err(Error::invalid(
                "dispersion_parameter_method ml estimates the shape of the family without regularization only; set lambda to 0, or give \
                 the shape (theta, tweedie_variance_power) and fix it",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tweedie_density_integrates_to_one() {
        // Mass at 0 plus a fine sum over positive values.
        let (mu, phi, p) = (2.0, 1.3, 1.5);
        let h = 0.001;
        let rest: f64 = (0..200_000).map(|i| tweedie((f64::from(i) + 0.5) * h, mu, phi, p).exp() * h).sum();
        assert!((tweedie(0.0, mu, phi, p).exp() + rest - 1.0).abs() < 1e-5);
    }
}
