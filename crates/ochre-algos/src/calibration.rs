//! Calibration workshop: class probabilities made to be what they claim, on data that training did not see.
//!
//! Platt scaling (Platt 1999) fits a logistic curve to the probability of the first class; isotonic regression a
//! non-decreasing function to that of the second (Zadrozny and Elkan 2002).

use ochre_core::{Error, Node, Result};
use ochre_model::driver::answers;
use ochre_model::params::{CalibrationMethod, CommonParams, TreeParams};
use ochre_model::{Category, Shape, Training, adapt};
use ochre_schema::{FrameKey, Notes};
use ochre_score::{Calibration, IsotonicScorer, Scorer, TreeEnsemble};

/// What the user asks for.
pub struct Wish<'a> {
    pub on: bool,
    pub frame: Option<&'a FrameKey>,
    pub method: CalibrationMethod,
}

impl<'a> From<&'a TreeParams> for Wish<'a> {
    fn from(p: &'a TreeParams) -> Wish<'a> {
        Wish { on: p.calibrate_model, frame: p.calibration_frame.as_ref(), method: p.calibration_method }
    }
}

pub fn check<'a>(wish: impl Into<Wish<'a>>, shape: &Shape<'_>, notes: &mut Notes) {
    let wish = wish.into();
    if !wish.on {
        return;
    }
    if wish.frame.is_none_or(|k| k.0.is_empty()) {
        notes.error("_calibrate_model", "Calibration frame was not specified.");
    }
    if shape.category.is_some_and(|c| c != Category::Binomial) {
        notes.error("_calibrate_model", "Model calibration is only currently supported for binomial models.");
    }
}

/// The calibration that the user asks for, from the frame that was named for it.
pub fn fit<'a>(
    node: &Node,
    common: &CommonParams,
    wish: impl Into<Wish<'a>>,
    train: &Training,
    ensemble: &TreeEnsemble,
) -> Result<Option<Calibration>> {
    let wish = wish.into();
    let Some(key) = wish.frame.filter(|k| wish.on && !k.0.is_empty()) else { return Ok(None) };
    let frame = node.store.frame(&key.0)?;
    let data = adapt::adapt(&frame, &train.predictors())?;
    let (y, w) = answers(&frame, train.response.as_ref(), common.weights_column.as_deref())?;
    let p = adapt::score(&Scorer::Trees(ensemble.clone()), &data, None)?;
    let rows = (0..y.len()).map(|i| (p[2 * i], p[2 * i + 1], y[i], w.as_ref().map_or(1.0, |w| w[i])));
    let rows: Vec<(f64, f64, f64, f64)> = rows.filter(|r| !r.2.is_nan() && r.3 > 0.0).collect();
    if !rows.iter().any(|r| r.2 == 0.0) || !rows.iter().any(|r| r.2 == 1.0) {
        return Err(Error::invalid(format!("the calibration frame {key} has rows of one class only; calibration needs both")));
    }
    Ok(Some(if wish.method == CalibrationMethod::IsotonicRegression {
        let (xs, ys) = pool(rows.into_iter().map(|r| (r.1, r.2, r.3)).collect());
        Calibration::Isotonic(IsotonicScorer { xs, ys, clip: true })
    } else {
        let (slope, intercept) = platt(&rows);
        Calibration::Platt { slope, intercept }
    }))
}

/// The most likely logistic curve of the second class over the probability of the first, by Newton's method.
fn platt(rows: &[(f64, f64, f64, f64)]) -> (f64, f64) {
    let (mut a, mut b) = (0.0, 0.0);
    for _ in 0..100 {
        let (mut ga, mut gb, mut haa, mut hab, mut hbb) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (x, _, y, w) in rows {
            let p = 1.0 / (1.0 + (-(a * x + b)).exp());
            let (r, v) = (w * (y - p), w * (p * (1.0 - p)).max(1e-12));
            (ga, gb) = (ga + r * x, gb + r);
            (haa, hab, hbb) = (haa + v * x * x, hab + v * x, hbb + v);
        }
        let det = haa * hbb - hab * hab;
        if det <= 0.0 || !det.is_finite() {
            break;
        }
        let (da, db) = ((hbb * ga - hab * gb) / det, (haa * gb - hab * ga) / det);
        // Where the classes are apart the curve would grow ever steeper.
        let scale = 1.0 / (1.0f64).max((da.abs() + db.abs()) / 100.0);
        (a, b) = (a + scale * da, b + scale * db);
        if da.abs().max(db.abs()) < 1e-10 {
            break;
        }
    }
    (a, b)
}

/// Thresholds of the non-decreasing fit of (x, y, weight): the ends of each pool of neighbours. As in the reference, points
/// with the same x are taken in the order of their y, so that x may be a threshold twice.
pub fn pool(mut points: Vec<(f64, f64, f64)>) -> (Vec<f64>, Vec<f64>) {
    points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    /// Neighbours with one value: first and last x, weighted sum and weight.
    struct Block {
        from: f64,
        to: f64,
        sum: f64,
        weight: f64,
    }
    impl Block {
        fn mean(&self) -> f64 {
            self.sum / self.weight
        }
    }
    let mut blocks: Vec<Block> = vec![];
    for (x, y, weight) in points {
        blocks.push(Block { from: x, to: x, sum: y * weight, weight });
        while let [.., a, b] = &blocks[..] {
            if a.mean() < b.mean() {
                break;
            }
            let merged = Block { from: a.from, to: b.to, sum: a.sum + b.sum, weight: a.weight + b.weight };
            blocks.truncate(blocks.len() - 2);
            blocks.push(merged);
        }
    }
    let (mut xs, mut ys) = (vec![], vec![]);
    for b in blocks {
        let ends = if b.from == b.to { &[b.from][..] } else { &[b.from, b.to][..] };
        xs.extend(ends);
        ys.extend(ends.iter().map(|_| b.mean()));
    }
    (xs, ys)
}

#[cfg(test)]
mod tests {
    #[test]
    fn violators_are_pooled() {
        let (x, y) = super::pool(vec![(1.0, 1.0, 1.0), (2.0, 3.0, 1.0), (3.0, 2.0, 1.0), (4.0, 4.0, 2.0), (4.0, 7.0, 1.0)]);
        assert_eq!(x, [1.0, 2.0, 3.0, 4.0, 4.0]);
        assert_eq!(y, [1.0, 2.5, 2.5, 4.0, 7.0]);
    }
}
