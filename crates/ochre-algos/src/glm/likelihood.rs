//! Log-likelihoods, dispersions and what rests on them.

use super::params::{Family, GlmParams};
use super::passes::Shapes;
use ochre_core::{Error, Result};
use statrs::function::gamma::ln_gamma;

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

    fn sum(&self, f: impl Fn(f64, f64) -> f64) -> f64 {
        let counts = |i: &usize| !self.y[*i].is_nan() && self.weight(*i) > 0.0;
        (0..self.y.len()).filter(counts).map(|i| self.weight(i) * f(self.y[i], self.mu[i])).sum()
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

    /// Where the likelihood is largest.
    pub fn most_likely(&self) -> f64 {
        // By golden sections on the logarithm, between 1e-6 and 1e6.
        let f = |t: f64| self.log_likelihood(t.exp());
        let g = (5f64.sqrt() - 1.0) / 2.0;
        let (mut a, mut b) = (1e-6f64.ln(), 1e6f64.ln());
        let (mut c, mut d) = (b - g * (b - a), a + g * (b - a));
        let (mut fc, mut fd) = (f(c), f(d));
        while b - a > 1e-9 {
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
        ((a + b) / 2.0).exp()
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
            Family::Tweedie => (self.most_likely(), 1),
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

/// Refuses what has no formula here.
pub fn check(params: &GlmParams, family: Family) -> Result<()> {
    let power = params.tweedie_variance_power;
    let method = params.dispersion_parameter_method.as_deref().unwrap_or("pearson");
    if family == Family::Tweedie && (params.calc_like || method == "ml") && !(power > 1.0 && power < 2.0) {
        return Err(Error::Unsupported(format!(
            "the tweedie likelihood is computed for variance powers between 1 and 2, but tweedie_variance_power is {power}; leave calc_like off and dispersion_parameter_method at pearson or deviance"
        )));
    }
    if family == Family::Negativebinomial && method == "ml" && params.compute_p_values {
        return Err(Error::Unsupported(
            "dispersion_parameter_method ml is not supported for negativebinomial by this version of ochre; use pearson or deviance".into(),
        ));
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
