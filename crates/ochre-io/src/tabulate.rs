//! How the values of two columns occur together: weights by pairs of bins, and the mean of one by bins of the other.

use ochre_core::{Column, Error, Kind, Result};

/// The bins of a column. The first is for missing values, where there are any.
pub struct Bins {
    pub labels: Vec<String>,
    missing: bool,
    kind: Binning,
}

enum Binning {
    /// A category in the bin of its code.
    Codes,
    /// One bin a value, for whole numbers that are few.
    Values(Vec<f64>),
    /// Bins of equal width, by their lowest end.
    Widths(f64, f64),
}

impl Bins {
    /// At most `most` bins for numbers; as many as there are categories.
    pub fn of(column: &Column, name: &str, most: usize) -> Result<Bins> {
        let rollup = column.rollup()?;
        let (missing, most) = (rollup.missing > 0, most.max(1));
        let (low, high) = if rollup.min <= rollup.max { (rollup.min, rollup.max) } else { (0.0, 0.0) };
        let (kind, labels): (_, Vec<String>) = match &column.kind {
            Kind::Enum(domain) => (Binning::Codes, domain.to_vec()),
            Kind::Text | Kind::Uuid => {
                return Err(Error::invalid(format!("column '{name}' holds texts, which have no bins; make it categorical first")));
            }
            _ if rollup.whole && high - low < most as f64 => {
                let mut values = column.numbers()?;
                values.retain(|v| !v.is_nan());
                values.sort_unstable_by(f64::total_cmp);
                values.dedup();
                let labels = values.iter().map(|v| format!("{v}")).collect();
                (Binning::Values(values.into_vec()), labels)
            }
            _ => {
                let step = (high - low) / most as f64;
                (Binning::Widths(low, step), (0..most).map(|b| format!("{:.6}", low + (b as f64 + 0.5) * step)).collect())
            }
        };
        let labels = missing.then(|| "missing(NA)".to_string()).into_iter().chain(labels).collect();
        Ok(Bins { labels, missing, kind })
    }

    /// The bin of a value, and what the value counts as in a mean.
    fn place(&self, v: f64) -> (usize, f64) {
        let first = usize::from(self.missing);
        match &self.kind {
            _ if v.is_nan() => (0, v),
            Binning::Codes => (first + v as usize, v),
            Binning::Values(values) => {
                let code = values.partition_point(|x| *x < v);
                (first + code, code as f64)
            }
            Binning::Widths(low, step) => {
                let at = if *step > 0.0 { ((v - low) / step) as usize } else { 0 };
                (first + at.min(self.labels.len() - first - 1), v)
            }
        }
    }
}

/// Weights of all pairs of bins, those of the first column side by side; and for each bin of the first column the mean of the
/// second and its weight. A category or one of few whole numbers counts as its place, as the reference has it.
pub struct Counts {
    pub pairs: Vec<f64>,
    pub means: Vec<f64>,
    pub weights: Vec<f64>,
}

pub fn count(x: (&Column, &Bins), y: (&Column, &Bins), weight: Option<&Column>) -> Result<Counts> {
    let (xs, ys) = (x.0.numbers()?, y.0.numbers()?);
    let weights = weight.map(|w| w.numbers()).transpose()?;
    let (nx, ny) = (x.1.labels.len(), y.1.labels.len());
    let mut pairs = vec![0.0; nx * ny];
    let (mut sums, mut seen) = (vec![0.0; nx], vec![0.0; nx]);
    for r in 0..xs.len() {
        let w = weights.as_ref().map_or(1.0, |w| w[r]);
        if w.is_nan() {
            continue;
        }
        let ((i, _), (j, value)) = (x.1.place(xs[r]), y.1.place(ys[r]));
        pairs[j * nx + i] += w;
        if !value.is_nan() {
            sums[i] += w * value;
            seen[i] += w;
        }
    }
    let means = sums.iter().zip(&seen).map(|(s, n)| s / n).collect();
    Ok(Counts { pairs, means, weights: seen })
}
