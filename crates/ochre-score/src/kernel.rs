//! Support vector machines: a weighted sum of kernels, one for each support vector, and the side on which it lies.

/// Binary classifier `sign(sum_i weight_i k(v_i, x) + rho)` with the gaussian kernel `k(v, x) = exp(-gamma |v - x|^2)`.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct KernelScorer {
    pub space: KernelSpace,
    pub gamma: f64,
    /// Support vectors as points of the space, one after the other.
    pub vectors: Vec<f64>,
    /// Signed multiplier of each vector.
    pub weights: Vec<f64>,
    pub rho: f64,
}

/// How rows lie to each other. A categorical predictor is a point with a 1 for its level and 0 for the others.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct KernelSpace {
    /// Of each predictor: is it categorical?
    pub categorical: Vec<bool>,
    /// What stands for a missing value: the mean, or the most frequent level.
    pub fills: Vec<f64>,
}

impl KernelSpace {
    pub fn point(&self, columns: &[&[f64]], row: usize, out: &mut [f64]) {
        for ((o, c), fill) in out.iter_mut().zip(columns).zip(&self.fills) {
            *o = if c[row].is_nan() { *fill } else { c[row] };
        }
    }

    /// Squared distance: two different levels are 2 apart.
    pub fn distance(&self, a: &[f64], b: &[f64]) -> f64 {
        let mut sum = 0.0;
        for ((x, y), categorical) in a.iter().zip(b).zip(&self.categorical) {
            sum += match categorical {
                true if x == y => 0.0,
                true => 2.0,
                false => (x - y) * (x - y),
            };
        }
        sum
    }
}

impl KernelScorer {
    /// Positive for the second class.
    pub fn decision(&self, point: &[f64]) -> f64 {
        let kernel = |v: &[f64]| (-self.gamma * self.space.distance(v, point)).exp();
        let sum: f64 = self.vectors.chunks_exact(point.len()).zip(&self.weights).map(|(v, w)| w * kernel(v)).sum();
        sum + self.rho
    }

    /// 1 for the class, 0 for the other: a support vector machine has no probabilities.
    pub fn score(&self, columns: &[&[f64]], out: &mut [f64]) {
        let mut point = vec![0.0; columns.len()];
        for (row, o) in out.chunks_exact_mut(2).enumerate() {
            self.space.point(columns, row, &mut point);
            let second = self.decision(&point) > 0.0;
            o.copy_from_slice(&[f64::from(!second), f64::from(second)]);
        }
    }
}
