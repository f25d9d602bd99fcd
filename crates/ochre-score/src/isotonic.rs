//! Isotonic regression: straight lines between thresholds that never fall.

#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct IsotonicScorer {
    /// Rising values of the predictor, and the response at each.
    pub xs: Vec<f64>,
    pub ys: Vec<f64>,
    /// Do values outside of the thresholds count as the nearest? Otherwise they have no prediction.
    pub clip: bool,
}

impl IsotonicScorer {
    pub fn value(&self, x: f64) -> f64 {
        let (Some(&low), Some(&high)) = (self.xs.first(), self.xs.last()) else { return f64::NAN };
        if x.is_nan() || (!self.clip && (x < low || x > high)) {
            return f64::NAN;
        }
        let x = x.clamp(low, high);
        // Halving as Java does it: where a threshold stands twice, the one that is met first counts.
        let (mut from, mut to) = (0, self.xs.len());
        while from < to {
            let middle = (from + to - 1) / 2;
            if self.xs[middle] == x {
                return self.ys[middle];
            }
            if self.xs[middle] < x { from = middle + 1 } else { to = middle }
        }
        let at = from;
        let (x0, x1, y0, y1) = (self.xs[at - 1], self.xs[at], self.ys[at - 1], self.ys[at]);
        y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    }

    pub fn score(&self, columns: &[&[f64]], out: &mut [f64]) {
        out.iter_mut().zip(columns[0]).for_each(|(o, x)| *o = self.value(*x));
    }
}
