//! The dual problem of a support vector machine: minimise `a'Qa/2 - sum a` with `0 <= a <= c` and `sum s a = 0`, where
//! `Q = HH'` is known by its factor; a primal-dual interior-point method (Boyd and Vandenberghe 2004, algorithm 11.2).

use super::PsvmParams;
use crate::linalg::solve_spd;
use ochre_core::{Error, Job, Result};
use rayon::prelude::*;

/// Rows of the factor that are looked at together, so that they stay in the cache.
const TILE: usize = 2048;
/// Columns of the small matrix that are made in one walk over the rows.
const BLOCK: usize = 8;
/// Share of the way to a bound that a step may take.
const SHARE: f64 = 0.99;
/// Distances to the bounds count as at least this.
const CLOSE: f64 = 1e-9;

pub struct Dual<'a> {
    /// Columns of `H`, signs included.
    pub factor: &'a [Vec<f64>],
    pub signs: &'a [f64],
    pub bounds: &'a [f64],
    pub params: &'a PsvmParams,
    pub job: &'a Job,
}

pub struct Solved {
    pub alpha: Vec<f64>,
    /// Steps taken before the last look.
    pub steps: usize,
    pub gap: f64,
    pub primal: f64,
    pub dual: f64,
    pub converged: bool,
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a8.remainder().iter().zip(b8.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a8.zip(b8) {
        for ((s, x), y) in sums.iter_mut().zip(x).zip(y) {
            *s += x * y;
        }
    }
    sums.iter().sum::<f64>() + rest
}

impl Dual<'_> {
    pub fn solve(&self) -> Result<Solved> {
        let (p, c, s) = (self.params, self.bounds, self.signs);
        let n = s.len();
        let mut x = vec![0.0; n];
        // Multipliers of x <= c and of x >= 0.
        let (mut upper, mut lower): (Vec<f64>, Vec<f64>) = (c.iter().map(|c| c / 10.0).collect(), c.iter().map(|c| c / 10.0).collect());
        let mut nu = 0.0;
        let mut step = 0;
        loop {
            self.job.check()?;
            let gap: f64 = (0..n).map(|i| upper[i] * c[i] + x[i] * (lower[i] - upper[i])).sum();
            let t = p.mu_factor * (2 * n) as f64 / gap;
            let mut z = self.times(&self.transposed_times(&x));
            z.iter_mut().for_each(|z| *z -= 1.0);
            let dual = (0..n).map(|i| (z[i] + upper[i] - lower[i] + nu * s[i]).powi(2)).sum::<f64>().sqrt();
            let primal = dot(s, &x).abs();
            let converged = primal <= p.feasible_threshold && dual <= p.feasible_threshold && gap <= p.surrogate_gap_threshold;
            if converged || step + 1 >= p.max_iterations as usize {
                return Ok(Solved { alpha: x, steps: step, gap, primal, dual, converged });
            }
            let inside: Vec<(f64, f64)> = (0..n).map(|i| (x[i].max(CLOSE), (c[i] - x[i]).max(CLOSE))).collect();
            let gradient: Vec<f64> = (0..n).map(|i| z[i] + nu * s[i] + 1.0 / (t * inside[i].1) - 1.0 / (t * inside[i].0)).collect();
            let diagonal: Vec<f64> = (0..n).map(|i| lower[i] / inside[i].0 + upper[i] / inside[i].1).collect();
            let inner = self.inner(&diagonal);
            let by_gradient = self.solve_with(&inner, &diagonal, &gradient)?;
            let by_signs = self.solve_with(&inner, &diagonal, s)?;
            let dnu = (dot(s, &x) - dot(s, &by_gradient)) / dot(s, &by_signs);
            let dx: Vec<f64> = (0..n).map(|i| -(by_gradient[i] + dnu * by_signs[i])).collect();
            let dupper: Vec<f64> = (0..n).map(|i| -upper[i] + 1.0 / (t * inside[i].1) + upper[i] / inside[i].1 * dx[i]).collect();
            let dlower: Vec<f64> = (0..n).map(|i| -lower[i] + 1.0 / (t * inside[i].0) - lower[i] / inside[i].0 * dx[i]).collect();
            let room = |value: f64, change: f64| if change < 0.0 { -value / change } else { f64::INFINITY };
            let primal_step = SHARE * (0..n).map(|i| room(x[i], dx[i]).min(room(c[i] - x[i], -dx[i]))).fold(1.0, f64::min);
            let dual_step = SHARE * (0..n).map(|i| room(upper[i], dupper[i]).min(room(lower[i], dlower[i]))).fold(1.0, f64::min);
            for i in 0..n {
                x[i] += primal_step * dx[i];
                upper[i] += dual_step * dupper[i];
                lower[i] += dual_step * dlower[i];
            }
            nu += dual_step * dnu;
            step += 1;
            self.job.set_progress(0.5 + 0.5 * step as f64 / p.max_iterations as f64);
        }
    }

    /// `H'v`.
    fn transposed_times(&self, v: &[f64]) -> Vec<f64> {
        self.factor.par_iter().map(|h| dot(h, v)).collect()
    }

    /// `Hv`.
    fn times(&self, v: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; self.signs.len()];
        out.par_chunks_mut(TILE).enumerate().for_each(|(tile, out)| {
            for (h, v) in self.factor.iter().zip(v) {
                out.iter_mut().zip(&h[tile * TILE..]).for_each(|(o, h)| *o += h * v);
            }
        });
        out
    }

    /// `1 + H'D^-1 H`, its lower half. Reads the factor `rank / 16` times: `rank^2 n / 2` bytes.
    fn inner(&self, diagonal: &[f64]) -> Vec<f64> {
        let (p, n) = (self.factor.len(), self.signs.len());
        let mut out = vec![0.0; p * p];
        out.par_chunks_mut(BLOCK * p).enumerate().for_each(|(block, out)| {
            let first = block * BLOCK;
            let mut scaled = vec![0.0; TILE];
            for start in (0..n).step_by(TILE) {
                let rows = start..n.min(start + TILE);
                for (i, out) in out.chunks_exact_mut(p).enumerate() {
                    let a = first + i;
                    for ((s, h), d) in scaled.iter_mut().zip(&self.factor[a][rows.clone()]).zip(&diagonal[rows.clone()]) {
                        *s = h / d;
                    }
                    for (o, h) in out[..=a].iter_mut().zip(self.factor) {
                        *o += dot(&scaled[..rows.len()], &h[rows.clone()]);
                    }
                }
            }
            out.chunks_exact_mut(p).enumerate().for_each(|(i, out)| out[first + i] += 1.0);
        });
        out
    }

    /// `(D + HH')^-1 v`, by the formula of Sherman, Morrison and Woodbury.
    fn solve_with(&self, inner: &[f64], diagonal: &[f64], v: &[f64]) -> Result<Vec<f64>> {
        let by_diagonal: Vec<f64> = v.iter().zip(diagonal).map(|(v, d)| v / d).collect();
        let small = solve_spd(inner, self.factor.len(), &self.transposed_times(&by_diagonal))
            .ok_or_else(|| Error::invalid("the support vector machine's equations have no solution; try a smaller hyper_param"))?;
        let back = self.times(&small);
        Ok((0..v.len()).map(|i| by_diagonal[i] - back[i] / diagonal[i]).collect())
    }
}
