//! The gamma function and its kin.

use std::f64::consts::PI;

/// No value at 0 and the negative whole numbers.
fn is_pole(x: f64) -> bool {
    x <= 0.0 && x == x.trunc()
}

pub fn gamma(x: f64) -> f64 {
    if is_pole(x) { f64::NAN } else { libm::tgamma(x) }
}

pub fn log_gamma(x: f64) -> f64 {
    if x <= 0.0 { f64::NAN } else { libm::lgamma(x) }
}

/// Upwards by recurrence, then the asymptotic series (Abramowitz and Stegun 6.3.5, 6.3.18); reflection below 0 (6.3.7).
pub fn digamma(x: f64) -> f64 {
    if is_pole(x) {
        return f64::NEG_INFINITY;
    }
    if x < 0.0 {
        return digamma(1.0 - x) - PI / (PI * x).tan();
    }
    let (mut x, mut sum) = (x, 0.0);
    while x < 12.0 {
        sum -= 1.0 / x;
        x += 1.0;
    }
    let s = 1.0 / (x * x);
    let series = s * (1.0 / 12.0 - s * (1.0 / 120.0 - s * (1.0 / 252.0 - s * (1.0 / 240.0 - s * (1.0 / 132.0 - s * 691.0 / 32760.0)))));
    sum + x.ln() - 0.5 / x - series
}

/// As `digamma` (Abramowitz and Stegun 6.4.6, 6.4.12; reflection 6.4.7).
pub fn trigamma(x: f64) -> f64 {
    if is_pole(x) {
        return f64::INFINITY;
    }
    if x < 0.0 {
        return (PI / (PI * x).sin()).powi(2) - trigamma(1.0 - x);
    }
    let (mut x, mut sum) = (x, 0.0);
    while x < 12.0 {
        sum += 1.0 / (x * x);
        x += 1.0;
    }
    let s = 1.0 / (x * x);
    let series = 1.0 + s * (1.0 / 6.0 - s * (1.0 / 30.0 - s * (1.0 / 42.0 - s * (1.0 / 30.0 - s * (5.0 / 66.0 - s * 691.0 / 2730.0)))));
    sum + 0.5 * s + series / x
}
