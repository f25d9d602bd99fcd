//! K-means: the nearest centre.

/// Predictors come categorical first, then numeric.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct KMeansScorer {
    pub categorical: usize,
    /// Which of the model's columns each coordinate is, categorical ones first; empty when they are in that order.
    #[serde(default)]
    pub places: Vec<usize>,
    /// Mode (categorical) or mean (numeric) of each predictor, in place of missing values; NaN to leave them out.
    pub fills: Vec<f64>,
    /// Mean and 1/sigma of each predictor when standardized; mean 0 and 1 otherwise.
    pub means: Vec<f64>,
    pub mults: Vec<f64>,
    /// Centres on the standardized scale; categorical coordinates are codes.
    pub centers: Vec<Vec<f64>>,
}

impl KMeansScorer {
    /// One row on the standardized scale, missing values filled.
    pub fn point(&self, columns: &[&[f64]], row: usize, out: &mut [f64]) {
        for (j, slot) in out.iter_mut().enumerate() {
            *slot = self.coordinate(j, columns[self.place(j)][row]);
        }
    }

    /// Which of the model's columns a coordinate is.
    pub fn place(&self, coordinate: usize) -> usize {
        self.places.get(coordinate).copied().unwrap_or(coordinate)
    }
    /// The coordinate of each of the model's columns.
    pub fn coordinates(&self) -> Vec<usize> {
        let mut out: Vec<usize> = (0..self.fills.len()).collect();
        out.sort_by_key(|&j| self.place(j));
        out
    }

    /// One value on the standardized scale, missing ones filled.
    pub fn coordinate(&self, j: usize, v: f64) -> f64 {
        let v = if v.is_nan() { self.fills[j] } else { v };
        if j < self.categorical { v } else { (v - self.means[j]) * self.mults[j] }
    }

    /// Squared distance: 0 or 1 for a categorical coordinate. Coordinates that are missing are taken to be as far as the others.
    pub fn distance(&self, center: &[f64], point: &[f64]) -> f64 {
        let (cat, num) = (&point[..self.categorical], &point[self.categorical..]);
        let mismatches = cat.iter().zip(center).filter(|(a, b)| a != b).count() as f64;
        let sum = mismatches + squares(num, &center[self.categorical..]);
        if !sum.is_nan() && !cat.iter().any(|v| v.is_nan()) {
            return sum;
        }
        let known = point.iter().filter(|v| !v.is_nan()).count();
        let mismatches = cat.iter().zip(center).filter(|(a, b)| !a.is_nan() && a != b).count() as f64;
        let squares = num.iter().zip(&center[self.categorical..]).filter(|p| !p.0.is_nan()).map(|(a, b)| (a - b) * (a - b));
        (mismatches + squares.sum::<f64>()) * point.len() as f64 / known.max(1) as f64
    }

    /// The nearest centre and its squared distance; the first of equals.
    pub fn nearest(&self, point: &[f64]) -> (usize, f64) {
        let mut best = (0, f64::INFINITY);
        for (k, c) in self.centers.iter().enumerate() {
            let d = self.distance(c, point);
            if d < best.1 {
                best = (k, d);
            }
        }
        best
    }

    pub fn score(&self, columns: &[&[f64]], out: &mut [f64]) {
        let mut point = vec![0.0; columns.len()];
        for (row, slot) in out.iter_mut().enumerate() {
            self.point(columns, row, &mut point);
            *slot = self.nearest(&point).0 as f64;
        }
    }
}

/// The squared distance of two points: four sums side by side, which the processor adds at once.
#[inline]
fn squares(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 4];
    let (a, b) = (a.chunks_exact(4), b.chunks_exact(4));
    let rest: f64 = a.remainder().iter().zip(b.remainder()).map(|(x, y)| (x - y) * (x - y)).sum();
    for (a, b) in a.zip(b) {
        for ((s, x), y) in sums.iter_mut().zip(a).zip(b) {
            *s += (x - y) * (x - y);
        }
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}
