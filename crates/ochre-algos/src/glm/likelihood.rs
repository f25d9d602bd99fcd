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

    /// The dispersion at which the likelihood is largest.
    pub fn most_likely(&self) -> f64 {
        summit(1e-6f64.ln(), 1e6f64.ln(), 1e-9, |t| self.log_likelihood(t.exp())).0.exp()
    }

    /// The variance power at which the likelihood of the tweedie family is largest, each with its own dispersion (Dunn and
    /// Smyth 2005): between 1 and 2, or, where no response is 0, beyond too. Looked for near `known`, if there is one.
    pub fn likely_power(&self, known: Option<f64>) -> f64 {
        // The dispersion lies near that of Pearson's residuals.
        let profile = |power: f64| {
            let fit = Fit { shape: Shapes { variance_power: power, ..self.shape }, ..*self };
            let near = fit.pearson().ln();
            summit(near - 1.5, near + 1.5, 1e-4, |t| fit.log_likelihood(t.exp())).1
        };
        if let Some(power) = known {
            let (from, to) = if power < 2.0 { (1.01, 1.99) } else { (2.05, 10.0) };
            return summit((power - 0.02).max(from), (power + 0.02).min(to), 1e-6, profile).0;
        }
        let low = summit(1.01, 1.99, 3e-3, profile);
        if self.y.contains(&0.0) {
            return low.0;
        }
        let high = summit(2.05, 10.0, 3e-3, profile);
        if high.1 > low.1 { high.0 } else { low.0 }
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
            Family::Tweedie => {
                let density = Tweedie::new(self.shape.variance_power);
                self.sum(|y, mu| density.log(y, mu, phi))
            }
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

/// The density of the tweedie family with variance power p (Dunn and Smyth 2005): between 1 and 2 the compound
/// Poisson-gamma distribution by its series, the gamma distribution for 2, and stable distributions beyond.
struct Tweedie {
    p: f64,
    alpha: f64,
    /// Of each term of the series what depends on p alone: a logarithm, and for p > 2 its sign and sine.
    terms: Vec<(f64, f64)>,
}

/// Terms that are kept; others are computed when they are met.
const TERMS_KEPT: usize = 512;
/// Largest logarithm of a term of the series for p > 2 with which its sum still has half of its digits.
const TERM_MAX: f64 = 18.0;

impl Tweedie {
    fn new(p: f64) -> Tweedie {
        let alpha = (2.0 - p) / if p > 2.0 { 1.0 - p } else { p - 1.0 };
        let mut out = Tweedie { p, alpha, terms: vec![] };
        if p > 1.0 && p != 2.0 {
            out.terms = (0..TERMS_KEPT).map(|k| out.fresh(k as f64)).collect();
        }
        out
    }

    fn fresh(&self, k: f64) -> (f64, f64) {
        if self.p < 2.0 {
            return (-ln_gamma(k + 1.0) - ln_gamma(k * self.alpha), 1.0);
        }
        let sign = if k % 2.0 == 0.0 { 1.0 } else { -1.0 };
        (ln_gamma(1.0 + self.alpha * k) - ln_gamma(1.0 + k), sign * (-k * std::f64::consts::PI * self.alpha).sin())
    }

    fn term(&self, k: f64) -> (f64, f64) {
        self.terms.get(k as usize).copied().unwrap_or_else(|| self.fresh(k))
    }

    /// Logarithm of the density; missing for powers of 1 and less.
    fn log(&self, y: f64, mu: f64, phi: f64) -> f64 {
        let p = self.p;
        if p == 2.0 {
            let k = 1.0 / phi;
            return k * (k * y / mu).ln() - k * y / mu - y.ln() - ln_gamma(k);
        }
        if p > 2.0 {
            return self.stable(y, mu, phi);
        }
        if p.is_nan() || p <= 1.0 {
            return f64::NAN;
        }
        let kappa = mu.powf(2.0 - p) / (2.0 - p);
        if y == 0.0 {
            return -kappa / phi;
        }
        let alpha = self.alpha;
        let step = alpha * y.ln() - alpha * (p - 1.0).ln() - (1.0 + alpha) * phi.ln() - (2.0 - p).ln();
        let term = |j: f64| j * step + self.term(j).0;
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

    /// For p > 2. With y = 1 (which only scales mu and phi) the part that does not depend on mu is an alternating series in
    /// 1 / phi (Dunn and Smyth 2005, eq. 13); where its terms grow too large, phi is small, and the saddlepoint approximation
    /// with its next term, `1 + phi p (p - 3) / 24`, takes over (Daniels 1954). It is exact for p = 3.
    fn stable(&self, y: f64, mu: f64, phi: f64) -> f64 {
        let p = self.p;
        if y <= 0.0 {
            return f64::NEG_INFINITY;
        }
        let (mu, phi) = (mu / y, phi * y.powf(p - 2.0));
        let step = (self.alpha - 1.0) * phi.ln() + self.alpha * (p - 1.0).ln() - (p - 2.0).ln();
        let exponent = |theta: f64, kappa: f64| (theta - kappa) / phi;
        let own = exponent(mu.powf(1.0 - p) / (1.0 - p), mu.powf(2.0 - p) / (2.0 - p));
        let (mut sum, mut largest, mut k) = (0.0, f64::NEG_INFINITY, 1.0);
        if p != 3.0 {
            loop {
                let (t, sine) = self.term(k);
                let t = t + k * step;
                largest = f64::max(largest, t);
                if largest > TERM_MAX || (t < largest && t < -40.0) {
                    break;
                }
                sum += t.exp() * sine;
                k += 1.0;
            }
        }
        let free = if p != 3.0 && largest <= TERM_MAX && sum > 0.0 {
            (sum / std::f64::consts::PI).ln()
        } else {
            // At y = mu = 1 the exponent is that of the deviance 0.
            let flat = exponent(1.0 / (1.0 - p), 1.0 / (2.0 - p));
            -0.5 * (2.0 * std::f64::consts::PI * phi).ln() - flat + (1.0 + phi * p * (p - 3.0) / 24.0).max(1e-3).ln()
        };
        free + own - y.ln()
    }
}

/// The place between two bounds where a function with a single summit is largest, and its value: by parabolas through the
/// best three places, and golden sections where those do not help (Brent 1973, ch. 5).
fn summit(mut a: f64, mut b: f64, tolerance: f64, f: impl Fn(f64) -> f64) -> (f64, f64) {
    const GOLDEN: f64 = 0.381_966_011_250_105_1;
    let mut x = a + GOLDEN * (b - a);
    let (mut v, mut w) = (x, x);
    let mut fx = -f(x);
    let (mut fv, mut fw) = (fx, fx);
    let (mut step, mut before) = (0.0f64, 0.0f64);
    for _ in 0..200 {
        let middle = 0.5 * (a + b);
        if (x - middle).abs() <= 2.0 * tolerance - 0.5 * (b - a) {
            break;
        }
        let (mut p, mut q, mut r) = (0.0, 0.0, 0.0);
        if before.abs() > tolerance {
            r = (x - w) * (fx - fv);
            q = (x - v) * (fx - fw);
            p = (x - v) * q - (x - w) * r;
            q = 2.0 * (q - r);
            if q > 0.0 {
                p = -p;
            }
            q = q.abs();
            r = before;
            before = step;
        }
        if p.abs() < (0.5 * q * r).abs() && p > q * (a - x) && p < q * (b - x) {
            step = p / q;
            let u = x + step;
            if u - a < 2.0 * tolerance || b - u < 2.0 * tolerance {
                step = if x < middle { tolerance } else { -tolerance };
            }
        } else {
            before = if x < middle { b - x } else { a - x };
            step = GOLDEN * before;
        }
        let u = x + if step.abs() >= tolerance { step } else { tolerance.copysign(step) };
        let fu = -f(u);
        if fu <= fx {
            if u < x {
                b = x
            } else {
                a = x
            }
            (v, fv, w, fw, x, fx) = (w, fw, x, fx, u, fu);
        } else {
            if u < x {
                a = u
            } else {
                b = u
            }
            if fu <= fw || w == x {
                (v, fv, w, fw) = (w, fw, u, fu);
            } else if fu <= fv || v == x || v == w {
                (v, fv) = (u, fu);
            }
        }
    }
    (x, -fx)
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
    if family == Family::Tweedie && (params.calc_like || method == "ml") && !power_is_estimated(params, family) && power <= 1.0 {
        return Err(Error::Unsupported(format!(
            "the tweedie likelihood is computed for variance powers above 1, but tweedie_variance_power is {power}; leave calc_like \
             off and dispersion_parameter_method at pearson or deviance"
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

    /// Beyond 2: by series and by saddlepoint, and the inverse Gaussian distribution for 3.
    #[test]
    fn the_stable_density_integrates_to_one() {
        for (mu, phi, p) in [(1.5, 0.8, 3.0), (2.0, 0.5, 2.5), (1.0, 1.0, 5.0), (0.7, 0.2, 4.0), (1.3, 2.0, 2.1)] {
            // Over the logarithm of y.
            let h = 1e-2;
            let density = Tweedie::new(p);
            let sum: f64 = (-1_200..1_200).map(|i| f64::from(i) * h).map(|t| (density.log(t.exp(), mu, phi) + t).exp() * h).sum();
            assert!((sum - 1.0).abs() < 1e-4, "p {p} phi {phi}: {sum}");
        }
        let (y, mu, phi) = (0.4f64, 1.5f64, 0.8f64);
        let inverse_gaussian = -0.5 * (2.0 * std::f64::consts::PI * phi * y.powi(3)).ln() - (y - mu).powi(2) / (2.0 * phi * mu * mu * y);
        assert!((Tweedie::new(3.0).log(y, mu, phi) - inverse_gaussian).abs() < 1e-12);
    }

    #[test]
    fn the_tweedie_density_integrates_to_one() {
        // Mass at 0 plus a fine sum over positive values.
        let (mu, phi, p) = (2.0, 1.3, 1.5);
        let h = 0.001;
        let density = Tweedie::new(p);
        let rest: f64 = (0..200_000).map(|i| density.log((f64::from(i) + 0.5) * h, mu, phi).exp() * h).sum();
        assert!((density.log(0.0, mu, phi).exp() + rest - 1.0).abs() < 1e-5);
    }
}
