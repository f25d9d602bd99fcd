//! How much each row moves the coefficients: DFBETAS (Belsley, Kuh and Welsch 1980, equation 2.7), and for the binomial
//! family their one-step approximation (Pregibon 1981).

use super::design::Design;
use rayon::prelude::*;

/// Rows and what was fitted to them.
pub struct Fitted<'a> {
    /// Predictors in design order.
    pub columns: &'a [&'a [f64]],
    pub y: &'a [f64],
    pub mu: &'a [f64],
    pub weight: &'a (dyn Fn(usize) -> f64 + Sync),
    /// Inverse of the weighted Gram matrix on the original scale, the dispersion taken out.
    pub inverse: &'a [f64],
    /// Coefficients that count, rising.
    pub alive: &'a [usize],
    pub binomial: bool,
}

/// For each coefficient that counts, the change by leaving out each row, in standard errors; NaN for rows of weight 0.
pub fn dfbetas(design: &Design, f: &Fitted<'_>) -> Vec<Vec<f64>> {
    let plain = Design { centered: false, mults: vec![1.0; design.mults.len()], ..design.clone() };
    let (p, n) = (design.len(), f.y.len());
    let used: Vec<usize> = (0..n).filter(|&r| (f.weight)(r) > 0.0).collect();
    let free = used.len() as f64 - f.alive.len() as f64 - 1.0;
    let squares: f64 = used.iter().map(|&r| (f.weight)(r) * (f.y[r] - f.mu[r]).powi(2)).sum();
    let rows: Vec<Vec<f64>> = (0..n)
        .into_par_iter()
        .map_init(Vec::new, |row, r| {
            let weight = (f.weight)(r);
            if weight <= 0.0 {
                return vec![f64::NAN; f.alive.len()];
            }
            plain.row(f.columns, r, row);
            let moved = |j: usize| row.iter().map(|(i, v)| f.inverse[j * p + i] * v).sum::<f64>();
            let curvature = weight * if f.binomial { f.mu[r] * (1.0 - f.mu[r]) } else { 1.0 };
            let leverage = curvature * row.iter().map(|(i, v)| moved(*i) * v).sum::<f64>();
            let error = f.y[r] - f.mu[r];
            let scale = match f.binomial {
                true => 1.0,
                false => ((squares - weight * error * error / (1.0 - leverage)) / free).sqrt(),
            };
            let step = weight * error / (1.0 - leverage) / scale;
            f.alive.iter().map(|&j| moved(j) * step / f.inverse[j * p + j].sqrt()).collect()
        })
        .collect();
    (0..f.alive.len()).map(|k| rows.iter().map(|r| r[k]).collect()).collect()
}
