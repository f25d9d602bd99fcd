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

/// Minimises `x'ax/2 - b'x + l1 |x|_1 + l2 |x|^2/2` with the last `free` coordinates unpenalised, by cyclic coordinate
/// descent (Friedman, Hastie, Tibshirani 2010) from `start`. `bounds` hold each coordinate between two values.
///
/// Which coordinates are 0 shows long before the others settle; from then on those are the solution of linear equations,
/// which is taken once it meets the conditions of an optimum. A sweep reads `a` once at most: `8 n^2` bytes.
#[expect(clippy::too_many_arguments, reason = "a quadratic, its two penalties and its limits")]
pub fn elastic_net(
    a: &[f64],
    n: usize,
    b: &[f64],
    l1: f64,
    l2: f64,
    start: &[f64],
    bounds: Option<&[(f64, f64)]>,
    free: usize,
) -> Vec<f64> {
    // Both halves, so that rows are read in order.
    let full: Vec<f64> = (0..n * n).map(|k| (k / n, k % n)).map(|(i, j)| a[i.max(j) * n + i.min(j)]).collect();
    let at = |i: usize, j: usize| full[i * n + j];
    let mut x = start.to_vec();
    // gradient of the smooth part without l2: a x - b
    let mut g: Vec<f64> = (0..n).map(|i| (0..n).map(|j| at(i, j) * x[j]).sum::<f64>() - b[i]).collect();
    let mut next_guess = 4;
    for sweep in 0..100_000 {
        let mut largest = 0.0f64;
        for i in 0..n {
            let d = at(i, i);
            if d <= 0.0 {
                continue;
            }
            let r = d * x[i] - g[i];
            let new = if i >= n - free {
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
                g.iter_mut().zip(&full[i * n..(i + 1) * n]).for_each(|(g, a)| *g += step * a);
                largest = largest.max(step.abs() * d.sqrt());
            }
        }
        if largest < 1e-11 {
            break;
        }
        if bounds.is_none() && sweep == next_guess {
            next_guess *= 3;
            if let Some(found) = with_known_zeros(&full, n, b, l1, l2, &x, free) {
                return found;
            }
        }
    }
    x
}

/// The optimum of [`elastic_net`] if its zeros and signs are those of `x`.
fn with_known_zeros(full: &[f64], n: usize, b: &[f64], l1: f64, l2: f64, x: &[f64], free: usize) -> Option<Vec<f64>> {
    let penalised = |i: usize| i < n - free;
    let active: Vec<usize> = (0..n).filter(|&i| x[i] != 0.0 || !penalised(i)).collect();
    let m = active.len();
    let mut system = vec![0.0; m * m];
    for (r, &i) in active.iter().enumerate() {
        for (c, &j) in active.iter().enumerate() {
            system[r * m + c] = full[i * n + j] + if r == c && penalised(i) { l2 } else { 0.0 };
        }
    }
    let right: Vec<f64> = active.iter().map(|&i| b[i] - if penalised(i) { l1 * x[i].signum() } else { 0.0 }).collect();
    let matrix = Mat::from_fn(m, m, |i, j| system[i * m + j]);
    let factor = matrix.llt(Side::Lower).ok()?;
    let solve = |v: &[f64]| -> Vec<f64> {
        let solved = factor.solve(&Mat::from_fn(m, 1, |i, _| v[i]));
        (0..m).map(|i| solved[(i, 0)]).collect()
    };
    let mut found = solve(&right);
    // One step of refinement takes away what rounding left.
    let left: Vec<f64> = (0..m).map(|r| right[r] - (0..m).map(|c| system[r * m + c] * found[c]).sum::<f64>()).collect();
    found.iter_mut().zip(solve(&left)).for_each(|(f, d)| *f += d);
    let mut out = vec![0.0; n];
    for (&i, v) in active.iter().zip(&found) {
        if !v.is_finite() || (penalised(i) && v.signum() != x[i].signum()) {
            return None;
        }
        out[i] = *v;
    }
    let fits = |i: usize| {
        let gradient = active.iter().map(|&j| full[i * n + j] * out[j]).sum::<f64>() - b[i];
        gradient.abs() <= l1 * (1.0 + 1e-12) + 1e-13 * b[i].abs()
    };
    (0..n).filter(|&i| penalised(i) && x[i] == 0.0 && full[i * n + i] > 0.0).all(fits).then_some(out)
}

/// A side condition of [`constrained`]: `sum of value * x[i]` is `limit`, or at most that.
pub struct Condition {
    pub equal: bool,
    pub terms: Vec<(usize, f64)>,
    pub limit: f64,
}

/// Minimises `x'ax/2 - b'x` under linear conditions, by an interior-point method; `None` when no `x` meets them all.
pub fn constrained(a: &[f64], n: usize, b: &[f64], conditions: &[Condition]) -> Option<Vec<f64>> {
    use clarabel::algebra::CscMatrix;
    use clarabel::solver::{DefaultSettingsBuilder, DefaultSolver, IPSolver, SolverStatus, SupportedConeT};
    // Scaled so that tolerances mean the same for every size of data.
    let scale = (0..n).map(|i| a[i * n + i].abs()).fold(f64::MIN_POSITIVE, f64::max);
    let (mut rows, mut cols, mut values) = (vec![], vec![], vec![]);
    for i in 0..n {
        for j in 0..=i {
            rows.push(j);
            cols.push(i);
            values.push(a[i * n + j] / scale);
        }
    }
    let p = CscMatrix::new_from_triplets(n, n, rows, cols, values);
    let q: Vec<f64> = b.iter().map(|v| -v / scale).collect();
    let ordered: Vec<&Condition> = conditions.iter().filter(|c| c.equal).chain(conditions.iter().filter(|c| !c.equal)).collect();
    let (mut rows, mut cols, mut values) = (vec![], vec![], vec![]);
    for (r, c) in ordered.iter().enumerate() {
        for (i, v) in &c.terms {
            rows.push(r);
            cols.push(*i);
            values.push(*v);
        }
    }
    let left = CscMatrix::new_from_triplets(ordered.len(), n, rows, cols, values);
    let right: Vec<f64> = ordered.iter().map(|c| c.limit).collect();
    let equal = conditions.iter().filter(|c| c.equal).count();
    let cones = [SupportedConeT::ZeroConeT(equal), SupportedConeT::NonnegativeConeT(ordered.len() - equal)];
    let tight = 1e-13;
    let settings = DefaultSettingsBuilder::default()
        .verbose(false)
        .max_iter(200)
        .tol_gap_abs(tight)
        .tol_gap_rel(tight)
        .tol_feas(tight)
        .max_threads(1u32)
        .build()
        .ok()?;
    let mut solver = DefaultSolver::new(&p, &q, &left, &right, &cones, settings).ok()?;
    solver.solve();
    let good = matches!(solver.solution.status, SolverStatus::Solved | SolverStatus::AlmostSolved | SolverStatus::InsufficientProgress);
    (good && solver.solution.x.iter().all(|v| v.is_finite())).then(|| solver.solution.x.clone())
}

/// Which columns of a Gram matrix are, up to rounding, combinations of those before them.
pub fn collinear(a: &[f64], n: usize) -> Vec<bool> {
    let mut l = vec![0.0; n * n];
    let mut dead = vec![false; n];
    for i in 0..n {
        for j in 0..=i {
            if dead[j] {
                continue;
            }
            let dot: f64 = (0..j).filter(|k| !dead[*k]).map(|k| l[i * n + k] * l[j * n + k]).sum();
            let v = a[i * n + j] - dot;
            if i != j {
                l[i * n + j] = v / l[j * n + j];
            } else if v <= 1e-9 * a[i * n + i].abs() || v <= 0.0 {
                dead[i] = true;
            } else {
                l[i * n + i] = v.sqrt();
            }
        }
    }
    dead
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
        let free = elastic_net(&a, 2, &[1.0, 2.0], 0.0, 0.0, &[0.0, 0.0], None, 1);
        assert!((free[0] - x[0]).abs() < 1e-10);
        let lasso = elastic_net(&a, 2, &[1.0, 2.0], 10.0, 0.0, &[0.0, 0.0], None, 1);
        assert_eq!(lasso[0], 0.0);
        assert!((lasso[1] - 2.0 / 3.0).abs() < 1e-12);
    }

    /// At the optimum the gradient is against the penalty's: for each kind of coordinate.
    #[test]
    fn penalised_solutions_are_optimal() {
        let n = 30;
        let row = |r: usize, j: usize| (((r * 31 + j * 17) % 23) as f64 - 11.0) / 7.0 + f64::from(r % (j + 2) == 0);
        let gram = |i: usize, j: usize| (0..200).map(|r| row(r, i) * row(r, j)).sum::<f64>();
        let a: Vec<f64> = (0..n * n).map(|k| gram(k / n, k % n)).collect();
        let b: Vec<f64> =
            (0..n).map(|i| (0..200).map(|r| row(r, i) * (row(r, 3) - row(r, 7) + ((r * 7) % 11) as f64 / 5.0)).sum()).collect();
        let (l1, l2) = (20.0, 3.0);
        let x = elastic_net(&a, n, &b, l1, l2, &vec![0.0; n], None, 1);
        assert!(x.iter().filter(|v| **v == 0.0).count() > 3 && x.iter().filter(|v| **v != 0.0).count() > 3, "{x:?}");
        for i in 0..n {
            let g: f64 = (0..n).map(|j| a[i * n + j] * x[j]).sum::<f64>() - b[i] + if i < n - 1 { l2 * x[i] } else { 0.0 };
            let off = if i == n - 1 {
                g.abs()
            } else if x[i] == 0.0 {
                g.abs() - l1
            } else {
                (g + l1 * x[i].signum()).abs()
            };
            assert!(off < 1e-8, "coordinate {i}: {off}");
        }
    }

    #[test]
    fn conditions_are_met() {
        let a = [4.0, 0.0, 1.0, 3.0];
        // On the line x + y = 1 the least of 2x^2 + xy + 1.5y^2 - x - 2y is at x = 1/5.
        let sum = |equal| Condition { equal, terms: vec![(0, 1.0), (1, 1.0)], limit: 1.0 };
        let x = constrained(&a, 2, &[1.0, 2.0], &[sum(true)]).unwrap();
        assert!((x[0] - 0.2).abs() < 1e-9 && (x[1] - 0.8).abs() < 1e-9, "{x:?}");
        let free = constrained(&a, 2, &[1.0, 2.0], &[sum(false)]).unwrap();
        assert!((free[0] - 1.0 / 11.0).abs() < 1e-9, "{free:?}");
        let never = [sum(true), Condition { equal: true, terms: vec![(0, 1.0), (1, 1.0)], limit: 2.0 }];
        assert!(constrained(&a, 2, &[1.0, 2.0], &never).is_none());
        assert_eq!(collinear(&[1.0, 0.0, 0.0, 2.0, 4.0, 0.0, 1.0, 2.0, 3.0], 3), [false, true, false]);
    }
}
