//! Smooth functions of predictors: bases, and what a model keeps of each.

use crate::glm::{Derived, Plate, Spline};

/// What a smooth is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Kind {
    /// Natural cubic splines.
    Cubic,
    /// I-splines.
    Rising,
    /// M-splines.
    Positive,
    /// Thin plates.
    Plate,
}

/// A smooth of a trained model: what its functions are made of.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Smooth {
    pub kind: Kind,
    /// Its predictors, by place.
    pub columns: Vec<usize>,
    /// Positions of the knots in each predictor.
    pub knots: Vec<Vec<f64>>,
    /// Order of the splines; of no meaning for cubic splines and plates.
    pub order: usize,
    /// Plates: what is taken from each predictor, and by what the rest is multiplied.
    pub shifts: Vec<f64>,
    pub factors: Vec<f64>,
    /// The model's functions as combinations of those of the basis, a row each; none where they are those of the basis.
    /// The basis of a plate are combinations of its radial functions, and its polynomials.
    pub centring: Option<Vec<f64>>,
    /// Combinations of radial functions, a row each, where they are not those of `Smooth::free`.
    pub free: Option<Vec<f64>>,
    /// Names of the basis' functions, and of the model's.
    pub plain: Vec<String>,
    pub names: Vec<String>,
}

impl Smooth {
    /// A smooth whose functions are those of its basis, and have no names yet.
    pub fn new(kind: Kind, columns: Vec<usize>, knots: Vec<Vec<f64>>, order: usize) -> Smooth {
        Smooth { kind, columns, knots, order, shifts: vec![], factors: vec![], centring: None, free: None, plain: vec![], names: vec![] }
    }

    /// Coefficients of the basis' functions: those of the model's, each times its combination.
    pub fn of_basis(&self, own: &[f64]) -> Vec<f64> {
        let n = self.size();
        match &self.centring {
            Some(z) => (0..n).map(|i| own.iter().enumerate().map(|(r, b)| b * z[r * n + i]).sum()).collect(),
            None => own.to_vec(),
        }
    }

    /// The basis of splines.
    pub fn basis(&self) -> Basis {
        match self.kind {
            Kind::Positive => Basis::positive(&self.knots[0], self.order),
            Kind::Rising => Basis::rising(&self.knots[0], self.order),
            Kind::Cubic | Kind::Plate => Basis::cubic(&self.knots[0]),
        }
    }

    /// Functions of the basis.
    pub fn size(&self) -> usize {
        let knots = self.knots[0].len();
        if matches!(self.kind, Kind::Cubic | Kind::Plate) { knots } else { (knots + self.order).saturating_sub(2) }
    }

    /// A plate without weights.
    pub fn blank(&self) -> Plate {
        let (d, k) = (self.shifts.len(), self.knots[0].len());
        let scaled = (0..k).map(|j| (0..d).map(|i| (self.knots[i][j] - self.shifts[i]) * self.factors[i]).collect()).collect();
        plate(scaled, self.shifts.clone(), self.factors.clone())
    }

    /// Its combinations of radial functions.
    pub fn radials(&self, blank: &Plate) -> Vec<f64> {
        self.free.clone().unwrap_or_else(|| Smooth::free(blank))
    }

    /// Combinations of radial functions that no polynomial can make, a row each.
    pub fn free(blank: &Plate) -> Vec<f64> {
        let power = |e: &[i32], at: &[f64]| e.iter().zip(at).map(|(e, x)| x.powi(*e)).product::<f64>();
        let polynomials: Vec<Vec<f64>> = blank.powers.iter().map(|(e, _)| blank.knots.iter().map(|at| power(e, at)).collect()).collect();
        complement(&polynomials, blank.knots.len())
    }

    /// The plates that rows of `z` make of a basis: radial functions combined by `free`, then polynomials.
    pub fn plates(blank: &Plate, free: &[f64], z: &[f64]) -> Vec<Plate> {
        let k = blank.knots.len();
        let radial = free.len() / k;
        let one = |row: &[f64]| Plate {
            weights: (0..k).map(|j| (0..radial).map(|c| row[c] * free[c * k + j]).sum()).collect(),
            powers: blank.powers.iter().zip(&row[radial..]).map(|((e, _), w)| (e.clone(), *w)).collect(),
            ..blank.clone()
        };
        z.chunks(k).map(one).collect()
    }

    /// The model's functions.
    pub fn derived(&self) -> Vec<Derived> {
        let n = self.size();
        let identity: Vec<f64> = (0..n * n).map(|k| f64::from(u8::from(k / n == k % n))).collect();
        let z = self.centring.as_ref().unwrap_or(&identity);
        if self.kind == Kind::Plate {
            let blank = self.blank();
            let free = self.radials(&blank);
            let columns = &self.columns;
            return Smooth::plates(&blank, &free, z).into_iter().map(|plate| Derived::Plate { columns: columns.clone(), plate }).collect();
        }
        let column = self.columns[0];
        self.basis().combined(z, z.len() / n).into_iter().map(|spline| Derived::Spline { column, spline }).collect()
    }
}

/// Functions that are polynomials between knots: for each, the coefficients of each interval by rising powers of the
/// distance from the interval's first knot.
pub struct Basis {
    pub knots: Vec<f64>,
    pub functions: Vec<Vec<Vec<f64>>>,
    pub outside: Option<(f64, f64)>,
}

/// `poly * (c + t)`, divided by `by`; nothing where that is 0.
fn times(poly: &[f64], c: f64, sign: f64, by: f64) -> Vec<f64> {
    let mut out = vec![0.0; poly.len() + 1];
    if by != 0.0 {
        for (i, p) in poly.iter().enumerate() {
            out[i] += p * c / by;
            out[i + 1] += p * sign / by;
        }
    }
    out
}

impl Basis {
    /// Natural cubic splines with a function for each knot, which is 1 there and 0 at the others (Wood 2006, 4.1.2).
    pub fn cubic(knots: &[f64]) -> Basis {
        let bent = second_derivatives(knots);
        let k = knots.len();
        let functions = (0..k)
            .map(|i| {
                let at = |j: usize| if j == 0 || j == k - 1 { 0.0 } else { bent[(j - 1) * k + i] };
                let piece = |j: usize| {
                    let h = knots[j + 1] - knots[j];
                    let (left, right) = (f64::from(u8::from(i == j)), f64::from(u8::from(i == j + 1)));
                    let (f, g) = (at(j), at(j + 1));
                    vec![left, (right - left) / h - h * f / 3.0 - h * g / 6.0, f / 2.0, (g - f) / (6.0 * h)]
                };
                (0..k - 1).map(piece).collect()
            })
            .collect();
        Basis { knots: knots.to_vec(), functions, outside: None }
    }

    /// M-splines of an order: splines of degree `order - 1` that are not negative and whose integral is 1 (Ramsay 1988).
    pub fn positive(knots: &[f64], order: usize) -> Basis {
        let (first, last) = (knots[0], knots[knots.len() - 1]);
        let mut t = vec![first; order - 1];
        t.extend(knots);
        t.extend(vec![last; order - 1]);
        let count = knots.len() + order - 2;
        let functions = (0..count)
            .map(|i| {
                let norm = order as f64 / (t[i + order] - t[i]);
                let piece = |j: usize| {
                    let b = bspline(&t, i, order, knots[j], knots[j + 1]);
                    b.into_iter().map(|c| c * norm).collect::<Vec<f64>>()
                };
                (0..knots.len() - 1).map(piece).collect()
            })
            .collect();
        Basis { knots: knots.to_vec(), functions, outside: Some((0.0, 0.0)) }
    }

    /// I-splines: integrals of the M-splines of an order, so that they rise from 0 to 1.
    pub fn rising(knots: &[f64], order: usize) -> Basis {
        let mut basis = Basis::positive(knots, order);
        for function in &mut basis.functions {
            let mut reached = 0.0;
            for (j, piece) in function.iter_mut().enumerate() {
                let mut whole = vec![reached];
                whole.extend(piece.iter().enumerate().map(|(d, c)| c / (d + 1) as f64));
                let h = knots[j + 1] - knots[j];
                reached = whole.iter().rev().fold(0.0, |v, c| v * h + c);
                *piece = whole;
            }
        }
        basis.outside = Some((0.0, 1.0));
        basis
    }

    /// The functions that a matrix of `rows` combinations makes of these.
    pub fn combined(&self, matrix: &[f64], rows: usize) -> Vec<Spline> {
        let n = self.functions.len();
        (0..rows)
            .map(|r| {
                let mut pieces = vec![vec![]; self.knots.len() - 1];
                for (i, function) in self.functions.iter().enumerate() {
                    for (sum, piece) in pieces.iter_mut().zip(function) {
                        sum.resize(piece.len(), 0.0);
                        sum.iter_mut().zip(piece).for_each(|(s, c)| *s += matrix[r * n + i] * c);
                    }
                }
                let outside = self.outside.map(|(below, above)| {
                    let sum: f64 = matrix[r * n..][..n].iter().sum();
                    (below * sum, above * sum)
                });
                Spline { knots: self.knots.clone(), pieces, outside }
            })
            .collect()
    }
}

/// One B-spline on an interval (de Boor's recursion), in powers of the distance from its first knot.
fn bspline(t: &[f64], i: usize, order: usize, from: f64, to: f64) -> Vec<f64> {
    // Those of order 1 that it is made of, then of 2, and so on.
    let mut made: Vec<Vec<f64>> = (i..i + order).map(|i| vec![f64::from(u8::from(t[i] <= from && to <= t[i + 1]))]).collect();
    for order in 2..=order {
        let one = |(at, pair): (usize, &[Vec<f64>])| {
            let i = i + at;
            let left = times(&pair[0], from - t[i], 1.0, t[i + order - 1] - t[i]);
            let right = times(&pair[1], t[i + order] - from, -1.0, t[i + order] - t[i + 1]);
            left.iter().zip(&right).map(|(a, b)| a + b).collect()
        };
        made = made.windows(2).enumerate().map(one).collect();
    }
    made.swap_remove(0)
}

/// Second derivatives of a natural cubic spline at its inner knots, from its values at all knots.
pub fn second_derivatives(knots: &[f64]) -> Vec<f64> {
    let k = knots.len();
    let h: Vec<f64> = knots.windows(2).map(|w| w[1] - w[0]).collect();
    let n = k - 2;
    let mut x = vec![0.0; n * k];
    // The tridiagonal system is solved for all right sides at once (Thomas).
    let (mut diagonal, mut upper) = (vec![0.0; n], vec![0.0; n]);
    for i in 0..n {
        x[i * k + i] = 1.0 / h[i];
        x[i * k + i + 1] = -1.0 / h[i] - 1.0 / h[i + 1];
        x[i * k + i + 2] = 1.0 / h[i + 1];
        diagonal[i] = (h[i] + h[i + 1]) / 3.0;
        upper[i] = h[i + 1] / 6.0;
    }
    for i in 1..n {
        let factor = upper[i - 1] / diagonal[i - 1];
        diagonal[i] -= factor * upper[i - 1];
        (0..k).for_each(|j| x[i * k + j] -= factor * x[(i - 1) * k + j]);
    }
    for i in (0..n).rev() {
        for j in 0..k {
            let above = if i + 1 < n { upper[i] * x[(i + 1) * k + j] } else { 0.0 };
            x[i * k + j] = (x[i * k + j] - above) / diagonal[i];
        }
    }
    x
}

/// Combinations of `n` things that are orthogonal to each of some vectors, as rows.
pub fn complement(vectors: &[Vec<f64>], n: usize) -> Vec<f64> {
    // Q of the QR decomposition, by reflections; its last columns are the complement.
    let mut left: Vec<Vec<f64>> = vectors.to_vec();
    let mut reflections: Vec<Vec<f64>> = vec![];
    let reflect = |u: &[f64], x: &mut [f64]| {
        let dot: f64 = u.iter().zip(&*x).map(|(a, b)| a * b).sum();
        x.iter_mut().zip(u).for_each(|(x, u)| *x -= 2.0 * dot * u);
    };
    for c in 0..left.len() {
        let mut u: Vec<f64> = left[c].iter().enumerate().map(|(i, v)| if i < c { 0.0 } else { *v }).collect();
        let norm = u.iter().map(|x| x * x).sum::<f64>().sqrt();
        u[c] += if u[c] < 0.0 { -norm } else { norm };
        let size = u.iter().map(|x| x * x).sum::<f64>().sqrt();
        if size > 0.0 {
            u.iter_mut().for_each(|x| *x /= size);
        }
        left.iter_mut().for_each(|v| reflect(&u, v));
        reflections.push(u);
    }
    let row = |i: usize| {
        let mut e = vec![0.0; n];
        e[i] = 1.0;
        reflections.iter().rev().for_each(|u| reflect(u, &mut e));
        e
    };
    (vectors.len()..n).flat_map(row).collect()
}

/// Order of the derivatives whose squares a thin plate of `d` numbers penalises.
pub fn plate_order(d: usize) -> usize {
    d.div_ceil(2) + 1
}

/// How many polynomials a thin plate of `d` numbers has: those of a degree below its order.
pub fn polynomials(d: usize) -> usize {
    let m = plate_order(d);
    (1..=d).fold(1usize, |n, i| n.saturating_mul(m - 1 + i) / i)
}

/// Exponents of the polynomials of `d` numbers below a degree: by degree, those of fewest numbers first.
pub fn exponents(d: usize, below: usize) -> Vec<Vec<i32>> {
    fn partitions(degree: i32, most: i32, parts: usize) -> Vec<Vec<i32>> {
        if parts == 0 {
            return if degree == 0 { vec![vec![]] } else { vec![] };
        }
        (0..=degree.min(most))
            .rev()
            .flat_map(|first| {
                partitions(degree - first, first, parts - 1).into_iter().map(move |mut rest| {
                    rest.insert(0, first);
                    rest
                })
            })
            .collect()
    }
    fn arrangements(mut left: Vec<i32>) -> Vec<Vec<i32>> {
        if left.is_empty() {
            return vec![vec![]];
        }
        left.sort();
        let mut heads = left.clone();
        heads.dedup();
        heads
            .into_iter()
            .flat_map(|head| {
                let mut rest = left.clone();
                if let Some(at) = rest.iter().position(|v| *v == head) {
                    rest.remove(at);
                }
                arrangements(rest).into_iter().map(move |mut tail| {
                    tail.insert(0, head);
                    tail
                })
            })
            .collect()
    }
    (0..below as i32).flat_map(|degree| partitions(degree, degree, d)).flat_map(arrangements).collect()
}

/// Factor and exponent of the radial function of thin plates (Wood 2003, eq. 5). With even `d` the factor is twice the
/// paper's, as in the reference.
pub fn radial(d: usize) -> (f64, i32) {
    use std::f64::consts::PI;
    let m = plate_order(d);
    let factorial = |n: usize| (1..=n).map(|i| i as f64).product::<f64>();
    let half = d as f64 / 2.0;
    let factor = if d % 2 == 0 {
        let sign = if (m + 1 + d / 2) % 2 == 0 { 1.0 } else { -1.0 };
        2.0 * sign / (2f64.powi(2 * m as i32 - 1) * PI.powf(half) * factorial(m - 1) * factorial(m - d / 2))
    } else {
        // d/2 - m is -3/2, whose gamma function is 4/3 of the root of pi.
        4.0 / 3.0 * PI.sqrt() / (2f64.powi(2 * m as i32) * PI.powf(half) * factorial(m - 1))
    };
    (factor, (2 * m - d) as i32)
}

/// A plate that knows its knots but has no weights yet.
pub fn plate(knots: Vec<Vec<f64>>, shifts: Vec<f64>, factors: Vec<f64>) -> Plate {
    let d = shifts.len();
    let powers = exponents(d, plate_order(d)).into_iter().map(|e| (e, 0.0)).collect();
    Plate { shifts, factors, weights: vec![0.0; knots.len()], knots, powers, radial: radial(d) }
}
