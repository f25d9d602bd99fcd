//! Linear mixed models: coefficients that all rows share, and coefficients of each group that are drawn from a normal
//! distribution.

/// One column of a design: a level of a category, a number, or 1.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Term {
    /// The predictor's place; none for the intercept.
    pub column: Option<usize>,
    /// The level that it marks, for a category.
    pub level: Option<usize>,
    /// What stands for a missing value: a level or a number.
    pub fill: f64,
}

impl Term {
    pub fn value(&self, columns: &[&[f64]], row: usize) -> f64 {
        let Some(column) = self.column else { return 1.0 };
        let v = columns[column][row];
        let v = if v.is_nan() { self.fill } else { v };
        match self.level {
            Some(level) => f64::from(u8::from(v == level as f64)),
            None => v,
        }
    }
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct MixedScorer {
    pub fixed: Vec<Term>,
    pub random: Vec<Term>,
    /// Place of the predictor whose levels are the groups.
    pub group: usize,
    pub beta: Vec<f64>,
    /// Coefficients of each group.
    pub u: Vec<Vec<f64>>,
    /// Covariance of the groups' coefficients, row by row.
    pub t: Vec<f64>,
    /// Variance of the noise.
    pub variance: f64,
    pub iterations: usize,
    /// Seed of noise that is added to predictions, to make data that follow the model.
    pub noise: Option<u64>,
}

/// What the likelihood needs of some rows.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Sums {
    /// Sum of weights.
    pub n: f64,
    pub yy: f64,
    pub xy: Vec<f64>,
    pub xx: Vec<f64>,
    pub groups: Vec<Group>,
}

/// Sums over the rows of one group.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Group {
    pub n: f64,
    pub zy: Vec<f64>,
    pub zx: Vec<f64>,
    pub zz: Vec<f64>,
}

impl Sums {
    pub fn new(p: usize, q: usize, groups: usize) -> Sums {
        let group = Group { n: 0.0, zy: vec![0.0; q], zx: vec![0.0; q * p], zz: vec![0.0; q * q] };
        Sums { n: 0.0, yy: 0.0, xy: vec![0.0; p], xx: vec![0.0; p * p], groups: vec![group; groups] }
    }

    pub fn add(&mut self, other: &Sums) {
        let add = |a: &mut [f64], b: &[f64]| a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        self.n += other.n;
        self.yy += other.yy;
        add(&mut self.xy, &other.xy);
        add(&mut self.xx, &other.xx);
        for (a, b) in self.groups.iter_mut().zip(&other.groups) {
            a.n += b.n;
            add(&mut a.zy, &b.zy);
            add(&mut a.zx, &b.zx);
            add(&mut a.zz, &b.zz);
        }
    }

    /// Sum of squares of what the shared coefficients leave.
    pub fn fixed_residual(&self, beta: &[f64]) -> f64 {
        let p = beta.len();
        let quadratic: f64 = (0..p * p).map(|k| beta[k / p] * self.xx[k] * beta[k % p]).sum();
        (self.yy - 2.0 * dot(beta, &self.xy) + quadratic).max(0.0)
    }
}

pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl Group {
    /// `Z'(y - X beta)`.
    pub fn left(&self, beta: &[f64]) -> Vec<f64> {
        let p = beta.len();
        self.zy.iter().enumerate().map(|(i, v)| v - dot(&self.zx[i * p..(i + 1) * p], beta)).collect()
    }

    /// The posterior of the group's coefficients given the shared ones: mean and covariance over the noise's variance, and
    /// the logarithm of the determinant of `I + Z'Z T / variance`.
    pub fn posterior(&self, beta: &[f64], t: &[f64], variance: f64) -> (Vec<f64>, Vec<f64>, f64) {
        let q = self.zy.len();
        // C = T (Z'Z T + variance I)^-1 = (Z'Z + variance T^-1)^-1, without the inverse of T, which may be singular.
        let mut a = vec![0.0; q * q];
        for i in 0..q {
            for j in 0..q {
                a[i * q + j] = (0..q).map(|k| t[i * q + k] * self.zz[k * q + j]).sum::<f64>() + if i == j { variance } else { 0.0 };
            }
        }
        let (c, log) = solve(a, q, t.to_vec());
        let left = self.left(beta);
        let u = (0..q).map(|i| dot(&c[i * q..(i + 1) * q], &left)).collect();
        (u, c, log - q as f64 * variance.ln())
    }
}

/// Solves `A X = B` for square `A` and as wide `B`, by elimination with pivots; also the logarithm of the determinant of
/// `A`. A singular `A` gives 0 where its pivots vanish.
fn solve(mut a: Vec<f64>, n: usize, mut b: Vec<f64>) -> (Vec<f64>, f64) {
    let mut log = 0.0;
    for c in 0..n {
        let best = (c..n).max_by(|i, j| a[i * n + c].abs().total_cmp(&a[j * n + c].abs())).unwrap_or(c);
        if best != c {
            for k in 0..n {
                a.swap(c * n + k, best * n + k);
                b.swap(c * n + k, best * n + k);
            }
        }
        let pivot = a[c * n + c];
        log += pivot.abs().max(1e-300).ln();
        if pivot == 0.0 {
            continue;
        }
        for r in (0..n).filter(|r| *r != c) {
            let factor = a[r * n + c] / pivot;
            if factor != 0.0 {
                for k in 0..n {
                    a[r * n + k] -= factor * a[c * n + k];
                    b[r * n + k] -= factor * b[c * n + k];
                }
            }
        }
    }
    for i in 0..n {
        let pivot = a[i * n + i];
        (0..n).for_each(|k| b[i * n + k] = if pivot == 0.0 { 0.0 } else { b[i * n + k] / pivot });
    }
    (b, log)
}

impl MixedScorer {
    /// The group of a row; none for missing and unseen ones.
    fn group_of(&self, columns: &[&[f64]], row: usize) -> Option<usize> {
        let g = columns[self.group][row];
        (g >= 0.0 && (g as usize) < self.u.len()).then_some(g as usize)
    }

    /// Rows of a group that training did not see have the shared coefficients only.
    pub fn score(&self, columns: &[&[f64]], offset: Option<&[f64]>, out: &mut [f64]) {
        for (row, o) in out.iter_mut().enumerate() {
            let mut eta = offset.map_or(0.0, |o| o[row]);
            for (t, b) in self.fixed.iter().zip(&self.beta) {
                eta += b * t.value(columns, row);
            }
            if let Some(g) = self.group_of(columns, row) {
                for (t, u) in self.random.iter().zip(&self.u[g]) {
                    eta += u * t.value(columns, row);
                }
            }
            *o = eta;
        }
    }

    /// Adds the sums of some rows; those with weight 0 or without an answer do not count.
    pub fn sum(&self, columns: &[&[f64]], y: &[f64], w: Option<&[f64]>, offset: Option<&[f64]>, sums: &mut Sums) {
        let (p, q) = (self.fixed.len(), self.random.len());
        let (mut x, mut z) = (vec![0.0; p], vec![0.0; q]);
        for row in 0..y.len() {
            let w = w.map_or(1.0, |w| w[row]);
            let y = y[row] - offset.map_or(0.0, |o| o[row]);
            if w.is_nan() || w <= 0.0 || y.is_nan() {
                continue;
            }
            x.iter_mut().zip(&self.fixed).for_each(|(v, t)| *v = t.value(columns, row));
            sums.n += w;
            sums.yy += w * y * y;
            for i in 0..p {
                sums.xy[i] += w * x[i] * y;
                (0..p).for_each(|j| sums.xx[i * p + j] += w * x[i] * x[j]);
            }
            let Some(g) = self.group_of(columns, row) else { continue };
            z.iter_mut().zip(&self.random).for_each(|(v, t)| *v = t.value(columns, row));
            let group = &mut sums.groups[g];
            group.n += w;
            for i in 0..q {
                group.zy[i] += w * z[i] * y;
                (0..p).for_each(|j| group.zx[i * p + j] += w * z[i] * x[j]);
                (0..q).for_each(|j| group.zz[i * q + j] += w * z[i] * z[j]);
            }
        }
    }

    /// Logarithm of the density of the answers, the groups' coefficients integrated out.
    pub fn likelihood(&self, sums: &Sums) -> f64 {
        let s = self.variance;
        let mut of_groups = 0.0;
        for g in sums.groups.iter().filter(|g| g.n > 0.0) {
            let (u, _, log) = g.posterior(&self.beta, &self.t, s);
            of_groups += log - dot(&u, &g.left(&self.beta)) / s;
        }
        let square = sums.fixed_residual(&self.beta);
        -0.5 * (sums.n * (2.0 * std::f64::consts::PI * s).ln() + square / s + of_groups)
    }

    /// Share of the variance that each of the groups' coefficients has.
    pub fn shares(&self) -> Vec<f64> {
        let q = self.random.len();
        let all: f64 = (0..q).map(|i| self.t[i * q + i]).sum::<f64>() + self.variance;
        (0..q).map(|i| self.t[i * q + i] / all).collect()
    }

    pub fn covariance(&self) -> Vec<Vec<f64>> {
        self.t.chunks(self.random.len().max(1)).map(<[f64]>::to_vec).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn posterior_is_the_ridge_solution() {
        let g = Group { n: 3.0, zy: vec![2.0, 1.0], zx: vec![], zz: vec![4.0, 1.0, 1.0, 3.0] };
        let (u, c, log) = g.posterior(&[], &[2.0, 0.0, 0.0, 1.0], 0.5);
        // (Z'Z + 0.5 T^-1) = [4.25 1; 1 3.5], determinant 13.875.
        assert!((c[0] - 3.5 / 13.875).abs() < 1e-12 && (c[1] + 1.0 / 13.875).abs() < 1e-12);
        assert!((u[0] - (3.5 * 2.0 - 1.0) / 13.875).abs() < 1e-12);
        // det(I + Z'Z T / 0.5) = (1 + 16)(1 + 6) - 2 * 4.
        assert!((log - 111f64.ln()).abs() < 1e-12);
    }
}
