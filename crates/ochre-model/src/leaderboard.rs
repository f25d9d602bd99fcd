//! Models side by side: a row for each with its metrics, the best first.

use crate::Model;
use crate::driver::Category;
use crate::grid::{deciding, value_of};
use crate::metrics::Metrics;
use ochre_core::{Column, Error, Frame, Node, Result};
use std::sync::Arc;

/// Which metrics are compared where no frame is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scoring {
    /// Those of cross-validation, else of validation, else of training.
    Auto,
    Train,
    Valid,
    Xval,
}

impl Scoring {
    pub fn read(text: &str) -> Result<Scoring> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "" | "auto" => Scoring::Auto,
            "train" => Scoring::Train,
            "valid" => Scoring::Valid,
            "xval" => Scoring::Xval,
            _ => return Err(Error::invalid(format!("scoring_data is one of AUTO, train, valid and xval, not {text}"))),
        })
    }
}

pub struct Ask<'a> {
    /// A frame that all models are measured on, and its key; those that were trained on it show what was measured then.
    pub frame: Option<(&'a str, &'a Frame)>,
    /// The metric that decides; AUTO for the first of the category.
    pub sort_metric: &'a str,
    /// Columns beside the metrics: training_time_ms, predict_time_per_row_ms, algo, or ALL.
    pub extensions: &'a [String],
    pub scoring: Scoring,
}

/// Metrics of a category, the deciding one first.
fn metrics_of(category: Category) -> Option<&'static [&'static str]> {
    Some(match category {
        Category::Binomial => &["auc", "logloss", "aucpr", "mean_per_class_error", "rmse", "mse"],
        Category::Multinomial | Category::Ordinal => &["mean_per_class_error", "logloss", "rmse", "mse"],
        Category::Regression => &["rmse", "mse", "mae", "rmsle", "mean_residual_deviance"],
        _ => return None,
    })
}

fn grows_better(metric: &str) -> bool {
    matches!(metric, "auc" | "aucpr" | "pr_auc" | "r2" | "accuracy" | "f1" | "mcc")
}

/// The metrics of a model that are asked for, or the nearest that it has.
fn own_metrics(model: &Model, scoring: Scoring) -> Option<Arc<Metrics>> {
    let metrics = model.metrics.read();
    let has = |word: &str| metrics.iter().find(|m| m.description.as_ref().is_some_and(|d| d.contains(word))).cloned();
    match scoring {
        Scoring::Train => metrics.first().cloned(),
        Scoring::Valid => has("Validation metrics"),
        Scoring::Xval => has("cross-validation"),
        Scoring::Auto => None,
    }
    .or_else(|| {
        drop(metrics);
        deciding(model)
    })
}

/// What cross-validation measured on the training frame, or else training.
fn on_training(model: &Model) -> Option<Arc<Metrics>> {
    let metrics = model.metrics.read();
    let folds = metrics.iter().find(|m| m.description.as_ref().is_some_and(|d| d.contains("cross-validation")));
    folds.or(metrics.first()).cloned()
}

pub fn leaderboard(node: &Node, models: &[Arc<Model>], ask: &Ask<'_>) -> Result<Frame> {
    let first = models.first().ok_or_else(|| Error::invalid("a leaderboard needs at least one model"))?;
    if let Some(m) = models.iter().find(|m| m.category != first.category) {
        return Err(Error::invalid(format!("Models don't have the same metrics (e.g. model \"{}\" and model \"{}\").", first.key, m.key)));
    }
    let known = metrics_of(first.category).ok_or_else(|| {
        Error::Unsupported(format!("leaderboards compare regressions and classifications, but model {} is of another kind", first.key))
    })?;
    let auto = ask.sort_metric.is_empty() || ask.sort_metric.eq_ignore_ascii_case("auto");
    let by = if auto { known[0].to_string() } else { ask.sort_metric.to_lowercase() };
    let names: Vec<String> = std::iter::once(by.clone()).chain(known.iter().filter(|n| **n != by).map(|n| n.to_string())).collect();
    let mut rows: Vec<(&Arc<Model>, Vec<f64>)> = vec![];
    for m in models {
        let metrics = match ask.frame {
            // On its own training frame a model is not asked again for what it has learnt by heart.
            Some((key, _)) if m.training_frame.as_deref() == Some(key) => on_training(m),
            Some((key, frame)) => Some(Arc::new(m.evaluate(node, key, frame)?)),
            None => own_metrics(m, ask.scoring),
        };
        let metrics = metrics.ok_or_else(|| Error::invalid(format!("model {} has no metrics; name a leaderboard_frame", m.key)))?;
        let value = |n: &String| value_of(&metrics, n);
        if value(&by).is_none() {
            return Err(Error::invalid(format!("Failed to find ModelMetrics for criterion: {by} for model_id: {}", m.key)));
        }
        rows.push((m, names.iter().map(|n| value(n).unwrap_or(f64::NAN)).collect()));
    }
    // What has no value comes last.
    let rank = |v: f64| {
        if v.is_nan() {
            f64::INFINITY
        } else if grows_better(&by) {
            -v
        } else {
            v
        }
    };
    rows.sort_by(|a, b| rank(a.1[0]).total_cmp(&rank(b.1[0])));
    let ledger = &node.ledger;
    let texts = |cells: Vec<&str>| Column::from_texts(ledger, &cells.into_iter().map(Some).collect::<Vec<_>>());
    let mut columns = vec![texts(rows.iter().map(|r| r.0.key.as_str()).collect())?];
    for c in 0..names.len() {
        columns.push(Column::from_f64(ledger, &rows.iter().map(|r| r.1[c]).collect::<Vec<_>>())?);
    }
    let mut shown = vec!["model_id".to_string()];
    shown.extend(names);
    let wants = |name: &str| ask.extensions.iter().any(|e| e.eq_ignore_ascii_case(name) || e.eq_ignore_ascii_case("all"));
    if wants("training_time_ms") {
        shown.push("training_time_ms".into());
        let times: Vec<f64> = rows.iter().map(|r| r.0.output["run_time"].as_f64().unwrap_or(f64::NAN)).collect();
        columns.push(Column::from_f64(ledger, &times)?);
    }
    if wants("predict_time_per_row_ms") {
        shown.push("predict_time_per_row_ms".into());
        let mut times = vec![];
        for (m, _) in &rows {
            let frame = match ask.frame {
                Some((_, f)) => Some(Arc::new(f.select(&(0..f.width()).collect::<Vec<_>>()))),
                None => m.training_frame.as_deref().and_then(|k| node.store.frame(k).ok()),
            };
            // Nodes of a cluster would measure different times, and frames have to be the same on all.
            let measured = frame.filter(|f| f.rows() > 0 && ochre_core::current_task().is_none()).map(|f| {
                let started = std::time::Instant::now();
                m.predict(node, &f, &mut |_| {}).map(|_| started.elapsed().as_secs_f64() * 1000.0 / f.rows() as f64)
            });
            times.push(measured.transpose()?.unwrap_or(f64::NAN));
        }
        columns.push(Column::from_f64(ledger, &times)?);
    }
    if wants("algo") {
        shown.push("algo".into());
        columns.push(texts(rows.iter().map(|r| r.0.info.stem).collect())?);
    }
    Frame::new(shown, columns)
}
