//! Bases of smooth functions, and how much each bends.

use ochre_score::{Plate, Spline};

/// Functions that are polynomials between knots: for each, the coefficients of each interval by rising powers of the
/// distance from the interval's first knot.
pub struct Basis {
    pub knots: Vec<f64>,
    pub functions: Vec<Vec<Vec<f64>>>,
    pub outside: Option<(f64, f64)>,
}

fn derivative(poly: &[f64]) -> Vec<f64> {
    poly.iter().enumerate().skip(1).map(|(d, c)| d as f64 * c).collect()
}

/// Integral from 0 to `h` of a product of polynomials.
fn inner(a: &[f64], b: &[f64], h: f64) -> f64 {
    let term = |(i, x): (usize, &f64)| {
        b.iter().enumerate().map(move |(j, y)| x * y * h.powi((i + j + 1) as i32) / (i + j + 1) as f64).sum::<f64>()
    };
    a.iter().enumerate().map(term).sum()
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

    /// Integrals of products of second derivatives.
    pub fn bending(&self) -> Vec<f64> {
        let n = self.functions.len();
        let second: Vec<Vec<Vec<f64>>> = self.functions.iter().map(|f| f.iter().map(|p| derivative(&derivative(p))).collect()).collect();
        let both = |a: &Vec<Vec<f64>>, b: &Vec<Vec<f64>>| -> f64 {
            (0..self.knots.len() - 1).map(|j| inner(&a[j], &b[j], self.knots[j + 1] - self.knots[j])).sum()
        };
        (0..n * n).map(|k| both(&second[k / n], &second[k % n])).collect()
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
    if order == 1 {
        return vec![f64::from(u8::from(t[i] <= from && to <= t[i + 1]))];
    }
    let left = times(&bspline(t, i, order - 1, from, to), from - t[i], 1.0, t[i + order - 1] - t[i]);
    let right = times(&bspline(t, i + 1, order - 1, from, to), t[i + order] - from, -1.0, t[i + order] - t[i + 1]);
    left.iter().zip(&right).map(|(a, b)| a + b).collect()
}

/// Second derivatives of a natural cubic spline at its inner knots, from its values at all knots.
fn second_derivatives(knots: &[f64]) -> Vec<f64> {
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

/// The reflection that turns a vector to the first axis (Householder), without its first row: combinations whose sum, by
/// the vector's weights, is 0.
pub fn centring(v: &[f64]) -> Vec<f64> {
    let n = v.len();
    let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
    let mut u = v.to_vec();
    u[0] += if v[0] < 0.0 { -norm } else { norm };
    let size: f64 = u.iter().map(|x| x * x).sum();
    let entry = |i: usize, j: usize| f64::from(u8::from(i == j)) - if size > 0.0 { 2.0 * u[i] * u[j] / size } else { 0.0 };
    (n..n * n).map(|k| entry(k / n, k % n)).collect()
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

/// `z` (rows x n) times a symmetric matrix (n x n) times `z` transposed.
pub fn turned(z: &[f64], s: &[f64], n: usize) -> Vec<f64> {
    let rows = z.len() / n;
    let zs = |i: usize, j: usize| (0..n).map(|k| z[i * n + k] * s[k * n + j]).sum::<f64>();
    let half: Vec<f64> = (0..rows * n).map(|k| zs(k / n, k % n)).collect();
    let entry = |i: usize, j: usize| (0..n).map(|k| half[i * n + k] * z[j * n + k]).sum::<f64>();
    (0..rows * rows).map(|k| entry(k / rows, k % rows)).collect()
}

/// Order of the derivatives whose squares a thin plate of `d` numbers penalises.
pub fn plate_order(d: usize) -> usize {
    d.div_ceil(2) + 1
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
        statrs::function::gamma::gamma(half - m as f64) / (2f64.powi(2 * m as i32) * PI.powf(half) * factorial(m - 1))
    };
    (factor, (2 * m - d) as i32)
}

/// A plate that knows its knots but has no weights yet.
pub fn plate(knots: Vec<Vec<f64>>, shifts: Vec<f64>, factors: Vec<f64>) -> Plate {
    let d = shifts.len();
    let powers = exponents(d, plate_order(d)).into_iter().map(|e| (e, 0.0)).collect();
    Plate { shifts, factors, weights: vec![0.0; knots.len()], knots, powers, radial: radial(d) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(basis: &Basis, i: usize, x: f64) -> f64 {
        let mut one = vec![0.0; basis.functions.len()];
        one[i] = 1.0;
        basis.combined(&one, 1)[0].value(x)
    }

    #[test]
    fn cubic_functions_are_one_at_their_knot() {
        let knots = [0.0, 1.0, 2.5, 4.0];
        let basis = Basis::cubic(&knots);
        for i in 0..4 {
            for (j, k) in knots.iter().enumerate() {
                assert!((value(&basis, i, *k) - f64::from(u8::from(i == j))).abs() < 1e-12);
            }
        }
        // A straight line does not bend.
        let s = basis.bending();
        let bend: f64 = (0..16).map(|k| knots[k / 4] * s[k] * knots[k % 4]).sum();
        assert!(bend.abs() < 1e-12);
    }

    #[test]
    fn positive_and_rising_functions() {
        let knots = [0.0, 1.0, 2.5, 4.0, 7.0];
        for order in 1..5 {
            let (m, i) = (Basis::positive(&knots, order), Basis::rising(&knots, order));
            assert_eq!(m.functions.len(), knots.len() + order - 2);
            for f in 0..m.functions.len() {
                assert!((value(&i, f, 7.0) - 1.0).abs() < 1e-12, "order {order} function {f} ends at {}", value(&i, f, 7.0));
                assert_eq!(value(&i, f, -1.0), 0.0);
                assert!((0..70).all(|x| value(&m, f, f64::from(x) / 10.0) >= -1e-12));
            }
        }
        // Values of B-splines from scipy.interpolate.BSpline, times the norm of M-splines: order 3, function 2 at 3.0.
        assert!((value(&Basis::positive(&knots, 3), 2, 3.0) - 0.166_666_666_666_666_66).abs() < 1e-12);
    }

    #[test]
    fn complements_are_orthogonal() {
        let vectors = vec![vec![1.0, 1.0, 1.0, 1.0], vec![0.3, -2.0, 5.0, 0.1]];
        let z = complement(&vectors, 4);
        assert_eq!(z.len(), 8);
        for row in z.chunks(4) {
            for v in &vectors {
                assert!(row.iter().zip(v).map(|(a, b)| a * b).sum::<f64>().abs() < 1e-12);
            }
            assert!((row.iter().map(|a| a * a).sum::<f64>() - 1.0).abs() < 1e-12);
        }
        for row in centring(&vectors[1]).chunks(4) {
            assert!(row.iter().zip(&vectors[1]).map(|(a, b)| a * b).sum::<f64>().abs() < 1e-12);
        }
    }

    #[test]
    fn polynomials_come_in_the_references_order() {
        let said: Vec<String> = exponents(3, 3).iter().map(|e| e.iter().map(|v| v.to_string()).collect::<String>()).collect();
        assert_eq!(said.join(" "), "000 001 010 100 002 020 200 011 101 110");
    }
}
