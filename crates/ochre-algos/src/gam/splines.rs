//! How much smooth functions bend, and combinations of them that are 0 on average.

use ochre_score::smooth::Basis;

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

/// Integrals of products of second derivatives.
pub fn bending(basis: &Basis) -> Vec<f64> {
    let n = basis.functions.len();
    let second: Vec<Vec<Vec<f64>>> = basis.functions.iter().map(|f| f.iter().map(|p| derivative(&derivative(p))).collect()).collect();
    let both = |a: &Vec<Vec<f64>>, b: &Vec<Vec<f64>>| -> f64 {
        (0..basis.knots.len() - 1).map(|j| inner(&a[j], &b[j], basis.knots[j + 1] - basis.knots[j])).sum()
    };
    (0..n * n).map(|k| both(&second[k / n], &second[k % n])).collect()
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

/// `z` (rows x n) times a symmetric matrix (n x n) times `z` transposed.
pub fn turned(z: &[f64], s: &[f64], n: usize) -> Vec<f64> {
    let rows = z.len() / n;
    let zs = |i: usize, j: usize| (0..n).map(|k| z[i * n + k] * s[k * n + j]).sum::<f64>();
    let half: Vec<f64> = (0..rows * n).map(|k| zs(k / n, k % n)).collect();
    let entry = |i: usize, j: usize| (0..n).map(|k| half[i * n + k] * z[j * n + k]).sum::<f64>();
    (0..rows * rows).map(|k| entry(k / rows, k % rows)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ochre_score::smooth::{complement, exponents};

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
        let s = bending(&basis);
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
