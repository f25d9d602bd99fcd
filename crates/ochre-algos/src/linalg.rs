//! Linear algebra behind one door: faer for factorizations, and nothing else above it.

use faer::linalg::solvers::Solve;
use faer::{Mat, Side};

/// Solves the symmetric positive definite system `a x = b`; `a` is row-major, its lower half is read.
///
/// A singular matrix gets ever more weight on its diagonal until it factors, beginning far below rounding.
pub fn solve_spd(a: &[f64], n: usize, b: &[f64]) -> Option<Vec<f64>> {
    let top = (0..n).map(|i| a[i * n + i].abs()).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let rhs = Mat::from_fn(n, 1, |i, _| b[i]);
    let mut added = 0.0;
    for _ in 0..16 {
        let m = Mat::from_fn(n, n, |i, j| a[i.max(j) * n + i.min(j)] + if i == j { added } else { 0.0 });
        if let Ok(factor) = m.llt(Side::Lower) {
            let x = factor.solve(&rhs);
            let out: Vec<f64> = (0..n).map(|i| x[(i, 0)]).collect();
            if out.iter().all(|v| v.is_finite()) {
                return Some(out);
            }
        }
        added = if added == 0.0 { top * 1e-12 } else { added * 10.0 };
    }
    None
}

/// Minimises `x'ax/2 - b'x + l1 |x|_1 + l2 |x|^2/2` with the last coordinate unpenalised, by cyclic coordinate descent
/// (Friedman, Hastie, Tibshirani 2010) from `start`. `bounds` hold each coordinate between two values.
pub fn elastic_net(a: &[f64], n: usize, b: &[f64], l1: f64, l2: f64, start: &[f64], bounds: Option<&[(f64, f64)]>) -> Vec<f64> {
    let at = |i: usize, j: usize| a[i.max(j) * n + i.min(j)];
    let mut x = start.to_vec();
    // gradient of the smooth part without l2: a x - b
    let mut g: Vec<f64> = (0..n).map(|i| (0..n).map(|j| at(i, j) * x[j]).sum::<f64>() - b[i]).collect();
    for _ in 0..100_000 {
        let mut largest = 0.0f64;
        for i in 0..n {
            let d = at(i, i);
            if d <= 0.0 {
                continue;
            }
            let r = d * x[i] - g[i];
            let new = if i == n - 1 {
                r / d
            } else {
                let soft = r.signum() * (r.abs() - l1).max(0.0);
                // Without a sign where there is nothing.
                soft / (d + l2) + 0.0
            };
            let new = bounds.map_or(new, |b| new.clamp(b[i].0, b[i].1));
            let step = new - x[i];
            if step != 0.0 {
                x[i] = new;
                for (j, g) in g.iter_mut().enumerate() {
                    *g += step * at(i, j);
                }
                largest = largest.max(step.abs() * d.sqrt());
            }
        }
        if largest < 1e-11 {
            break;
        }
    }
    x
}

/// The inverse of a symmetric positive definite matrix, row-major; nothing when it has none.
pub fn inverse_spd(a: &[f64], n: usize) -> Option<Vec<f64>> {
    let m = Mat::from_fn(n, n, |i, j| a[i.max(j) * n + i.min(j)]);
    let factor = m.llt(Side::Lower).ok()?;
    let x = factor.solve(&Mat::<f64>::identity(n, n));
    let out: Vec<f64> = (0..n * n).map(|k| x[(k / n, k % n)]).collect();
    out.iter().all(|v| v.is_finite()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solves_and_shrinks() {
        // Lower half of [[4, 1], [1, 3]].
        let a = [4.0, 0.0, 1.0, 3.0];
        let x = solve_spd(&a, 2, &[1.0, 2.0]).unwrap();
        assert!((x[0] - 1.0 / 11.0).abs() < 1e-14 && (x[1] - 7.0 / 11.0).abs() < 1e-14);
        let free = elastic_net(&a, 2, &[1.0, 2.0], 0.0, 0.0, &[0.0, 0.0], None);
        assert!((free[0] - x[0]).abs() < 1e-10);
        let lasso = elastic_net(&a, 2, &[1.0, 2.0], 10.0, 0.0, &[0.0, 0.0], None);
        assert_eq!(lasso[0], 0.0);
        assert!((lasso[1] - 2.0 / 3.0).abs() < 1e-12);
    }
}
