//! Permutation importance (Breiman 2001, 10): how much worse a metric gets when one column's values are shuffled among the
//! rows. Nothing but that column is copied.

use crate::adapt::{self, Adapted, Source};
use crate::{Category, Model};
use ochre_core::{Column, Error, Frame, Node, Result, Rng};
use std::sync::Arc;

pub struct Ask {
    /// Metric by name; AUTO chooses by the kind of response.
    pub metric: String,
    /// Rows to look at; all when it is less than 1.
    pub samples: i64,
    pub repeats: usize,
    /// Columns; all predictors when there are none.
    pub features: Vec<String>,
    pub seed: i64,
}

/// Changes of the metric by column and repeat, in the order of the columns.
pub fn importance(node: &Arc<Node>, model: &Model, frame: &Frame, ask: &Ask) -> Result<Vec<(String, Vec<f64>)>> {
    let metric = match (ask.metric.to_lowercase().as_str(), model.category) {
        ("auto", Category::Binomial) => "auc".to_string(),
        ("auto", Category::Multinomial | Category::Ordinal) => "logloss".into(),
        ("auto", _) => "rmse".into(),
        ("pr_auc", _) => "pr_auc".into(),
        (other, _) => other.into(),
    };
    let mut index: Vec<u64> = (0..frame.rows() as u64).collect();
    if ask.samples > 0 && (ask.samples as usize) < index.len() {
        shuffle(&mut index, ask.seed);
        index.truncate(ask.samples as usize);
        index.sort_unstable();
    }
    let rows = index.len();
    let taken = |c: &Column| c.take(&node.ledger, &index);
    let frame = Frame::new(frame.names().to_vec(), frame.columns().iter().map(taken).collect::<Result<_>>()?)?;
    let data = adapt::adapt(&frame, &model.predictors)?;
    let measured = |sources: Vec<Source>| -> Result<f64> {
        let m = model.measure_adapted(node, &frame, &Adapted { sources, rows, warnings: vec![] })?;
        m.get(&metric).ok_or_else(|| {
            let known: Vec<&str> = m.summary().iter().map(|p| p.0).collect();
            Error::invalid(format!("metric '{metric}' does not apply to model {}; it has {}", model.key, known.join(", ")))
        })
    };
    let base = measured(data.sources.clone())?;
    let wanted: Vec<String> =
        if ask.features.is_empty() { model.predictors.iter().map(|p| p.name.clone()).collect() } else { ask.features.clone() };
    let mut out = vec![];
    for name in wanted {
        let place = model.predictors.iter().position(|p| p.name == name);
        let place = place.ok_or_else(|| Error::invalid(format!("column '{name}' is no predictor of model {}", model.key)))?;
        let mut changes = vec![];
        for repeat in 0..ask.repeats.max(1) {
            let mut order: Vec<u64> = (0..rows as u64).collect();
            shuffle(&mut order, ask.seed ^ (place as i64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15u64 as i64) ^ (repeat as i64) << 40);
            let mut sources = data.sources.clone();
            sources[place] = match &data.sources[place] {
                Source::Direct(c) => Source::Direct(c.take(&node.ledger, &order)?),
                Source::Coded(c, m, v) => Source::Coded(c.take(&node.ledger, &order)?, m.clone(), *v),
                other => other.clone(),
            };
            changes.push((measured(sources)? - base).abs());
        }
        out.push((name, changes));
    }
    Ok(out)
}

/// Fisher and Yates.
fn shuffle(v: &mut [u64], seed: i64) {
    let mut rng = Rng::new(seed);
    for i in (1..v.len()).rev() {
        v.swap(i, rng.below(i as u32 + 1) as usize);
    }
}
