//! Cross-validation: each fold's model learns from the rows of the other folds and is measured on its own.
//!
//! Rows that a fold holds out have weight 0 in its training data, so nothing is copied but the held-out rows, one fold at a
//! time. Fold numbers are those of the reference, bit for bit. Folds of small data train side by side; their results do
//! not depend on it.

use crate::driver::{Category, Training, Validation};
use crate::metrics::{self, GlmExtras, Metrics};
use crate::params::{CommonParams, FoldAssignment};
use crate::{Model, adapt};
use ochre_core::{Column, Error, Frame, Job, Kind, Node, Result, Rng};
use ochre_schema::{Cell, Notes, Table};
use rayon::prelude::*;
use std::sync::Arc;

/// Data of up to this many rows leave threads idle, so that folds gain by training side by side.
const SMALL_ROWS_MAX: usize = 100_000;

/// Which fold each row belongs to.
#[derive(Clone)]
pub struct Folds {
    pub of_row: Vec<u32>,
    pub count: usize,
}

/// Is cross-validation asked for?
pub fn wanted(common: &CommonParams) -> bool {
    common.nfolds > 1 || common.fold_column.as_deref().is_some_and(|c| !c.is_empty())
}

/// Rules between the parameters of cross-validation.
pub fn check(common: &CommonParams, rows: usize, category: Category, notes: &mut Notes) {
    let by_column = common.fold_column.as_deref().is_some_and(|c| !c.is_empty());
    if common.nfolds == 1 {
        notes.error("_nfolds", "nfolds must be either 0 or >1.");
    }
    if common.nfolds > 1 && common.nfolds as usize > rows {
        notes.error("_nfolds", format!("nfolds cannot be larger than the number of rows ({rows})."));
    }
    if by_column && common.nfolds > 1 {
        notes.error("_nfolds", "nfolds cannot be specified at the same time as fold_column.");
    }
    if by_column && common.fold_assignment != FoldAssignment::Auto {
        notes.error("_fold_assignment", "Fold assignment is not allowed in combination with a fold column.");
    }
    if common.nfolds == 0 && !by_column && common.fold_assignment != FoldAssignment::Auto {
        notes.error("_fold_assignment", "Fold assignment is only allowed for cross-validation.");
    }
    let classes = matches!(category, Category::Binomial | Category::Multinomial | Category::Ordinal);
    if common.fold_assignment == FoldAssignment::Stratified && !classes {
        notes.error("_fold_assignment", "Stratified fold assignment needs a categorical response.");
    }
}

/// The folds that the parameters ask for, if they do.
pub fn assign(common: &CommonParams, seed: i64, train: &Training, column: Option<&Column>) -> Result<Option<Folds>> {
    let rows = train.rows;
    if let Some(c) = column {
        let values = c.to_f64()?;
        if let Some(row) = values.iter().position(|v| v.is_nan()) {
            return Err(Error::invalid(format!("the fold column has a missing value in row {row}; every row needs a fold")));
        }
        let mut distinct = values.clone();
        distinct.par_sort_unstable_by(f64::total_cmp);
        distinct.dedup();
        if distinct.len() < 2 {
            return Err(Error::invalid("the fold column has one value only; cross-validation needs at least two folds"));
        }
        let of_row = values.par_iter().map(|v| distinct.partition_point(|d| d < v) as u32).collect();
        return Ok(Some(Folds { of_row, count: distinct.len() }));
    }
    if common.nfolds < 2 {
        return Ok(None);
    }
    let n = common.nfolds as u32;
    let fold = |seed: i64| (Rng::new(seed).next_u32() as i32).unsigned_abs() % n;
    let of_row = match common.fold_assignment {
        FoldAssignment::Modulo => (0..rows as u32).map(|r| r % n).collect(),
        FoldAssignment::Stratified => {
            let of_class: Vec<i64> = (0..train.classes()).map(|c| Rng::new(seed.wrapping_add(c as i64)).next_i64()).collect();
            let known = |r: usize| train.weighted || train.weight(r) > 0.0;
            (0..rows).map(|r| if known(r) { fold(of_class[train.y[r] as usize].wrapping_add(r as i64)) } else { r as u32 % n }).collect()
        }
        FoldAssignment::Auto | FoldAssignment::Random => (0..rows).map(|r| fold(seed.wrapping_add(r as i64))).collect(),
    };
    Ok(Some(Folds { of_row, count: n as usize }))
}

/// One fold's part of the data.
pub struct Part {
    pub train: Training,
    pub valid: Validation,
    /// The held-out rows, by number and as a frame of predictors.
    pub rows: Vec<u64>,
    pub held_out: Frame,
}

pub fn part(node: &Node, train: &Training, folds: &Folds, k: usize) -> Result<Part> {
    let of = |inside: bool| -> Vec<u64> {
        folds.of_row.iter().enumerate().filter(|(_, f)| (**f as usize == k) == inside).map(|(r, _)| r as u64).collect()
    };
    let rows = of(true);
    let pick = |v: &[f64], rows: &[u64]| rows.iter().map(|r| v[*r as usize]).collect::<Vec<f64>>();
    let take = |rows: &[u64]| train.columns.iter().map(|c| c.take(&node.ledger, rows)).collect::<Result<Vec<_>>>();
    let held_out = Frame::new(train.names.clone(), take(&rows)?)?;
    let valid = Validation {
        data: adapt::adapt_encoded(&held_out, &train.predictors())?,
        y: pick(&train.y, &rows[..rows.len().min(train.y.len())]),
        w: train.w.as_ref().map(|w| pick(w, &rows)),
        offset: train.offset.as_ref().map(|o| pick(o, &rows)),
        key: String::new(),
        checksum: 0,
    };
    let mut own = train.clone();
    if train.response.is_none() {
        // Without a response there are no weights to leave rows out by.
        let others = of(false);
        own.columns = take(&others)?;
        own.rows = others.len();
        own.nominal_weight = others.len() as f64;
    } else {
        let w = own.w.get_or_insert_with(|| vec![1.0; train.rows]);
        rows.iter().for_each(|r| w[*r as usize] = 0.0);
        // Rows that are held out do not count in means and deviations; a penalty weighs as it does for all rows.
        own.weighted = true;
    }
    Ok(Part { train: own, valid, rows, held_out })
}

/// What a fold leaves behind.
pub struct FoldResult {
    pub model: Model,
    pub rows: Vec<u64>,
    /// Predictions for the held-out rows, as many numbers per row as the scorer gives.
    pub predictions: Vec<f64>,
}

/// Trains the models of all folds.
pub fn train_all(
    job: &Arc<Job>,
    folds: &Folds,
    rows: usize,
    parallel: bool,
    one: impl Fn(usize, &Arc<Job>) -> Result<FoldResult> + Sync,
) -> Result<Vec<FoldResult>> {
    let share = 1.0 / (folds.count + 1) as f64;
    let run = |k: usize, left: usize| {
        let part = Job::part(job, share);
        if let Some(seconds) = job.seconds_left() {
            part.set_deadline(seconds / (left + 1) as f64);
        }
        let out = one(k, &part);
        part.set_progress(1.0);
        out
    };
    let side_by_side = parallel && rows <= SMALL_ROWS_MAX && ochre_core::current_task().is_none();
    if !side_by_side {
        return (0..folds.count).map(|k| run(k, folds.count - k)).collect();
    }
    let width = rayon::current_num_threads().clamp(1, folds.count);
    let mut out: Vec<Option<Result<FoldResult>>> = (0..folds.count).map(|_| None).collect();
    for wave in out.chunks_mut(width).enumerate() {
        let (first, slots) = (wave.0 * width, wave.1);
        rayon::scope(|s| {
            for (i, slot) in slots.iter_mut().enumerate() {
                let run = &run;
                s.spawn(move |_| *slot = Some(run(first + i, (folds.count - first).div_ceil(width))));
            }
        });
    }
    // What did not fit into memory beside others may fit alone.
    out.into_iter()
        .enumerate()
        .map(|(k, r)| match r.expect("every fold was run") {
            Err(Error::OutOfMemory { .. }) => run(k, 1),
            other => other,
        })
        .collect()
}

/// Predictions of all folds in the order of the rows; 0 where no fold predicted.
pub fn pooled(results: &[FoldResult], rows: usize, width: usize) -> Vec<f64> {
    let mut out = vec![0.0; rows * width];
    for r in results {
        for (row, p) in r.rows.iter().zip(r.predictions.chunks(width)) {
            out[*row as usize * width..(*row as usize + 1) * width].copy_from_slice(p);
        }
    }
    out
}

/// Predictions as a frame; rows that a fold does not hold are 0.
pub fn prediction_frame(node: &Node, models: &[&FoldResult], rows: usize) -> Result<Frame> {
    let first = &models[0].model;
    let (width, classes) = (first.scorer.width(), first.classes());
    let numbers: Vec<f64> = {
        let mut out = vec![0.0; rows * width];
        for m in models {
            for (row, p) in m.rows.iter().zip(m.predictions.chunks(width)) {
                out[*row as usize * width..][..width].copy_from_slice(p);
            }
        }
        out
    };
    if classes.is_empty() {
        let kind = Column::from_f64(&node.ledger, &numbers)?;
        return Frame::new(vec!["predict".into()], vec![kind]);
    }
    let mut labels = vec![0.0; rows];
    for m in models {
        for (row, p) in m.rows.iter().zip(m.predictions.chunks(width)) {
            labels[*row as usize] = m.model.label(p);
        }
    }
    let domain = first.response.as_ref().and_then(|r| r.domain.clone()).unwrap_or_default();
    let mut names = vec!["predict".to_string()];
    let mut columns = vec![Column::numeric(&node.ledger, Kind::Enum(domain), &labels)?];
    for (c, name) in first.probability_names().into_iter().enumerate() {
        names.push(name);
        columns.push(Column::from_f64(&node.ledger, &numbers.chunks(width).map(|p| p[c]).collect::<Vec<_>>())?);
    }
    Frame::new(names, columns)
}

/// Metrics of the pooled held-out predictions.
pub fn pooled_metrics(results: &[FoldResult], train: &Training) -> Result<Metrics> {
    let first = &results[0].model;
    let mut m = if train.response.is_none() {
        metrics::pooled_clusters(results.iter().filter_map(|r| r.model.metrics.read().get(1).cloned()))
    } else {
        let preds = pooled(results, train.rows, first.scorer.width());
        let mut m = crate::driver::measure(
            train.category,
            &preds,
            &train.y,
            train.w.as_deref(),
            first.classes(),
            first.deviance,
            first.detail.clone(),
        )?;
        let fitted = first.metrics.read().first().and_then(|m| Some((m.glm?, m.nobs - m.glm?.null_dof)));
        m.glm = fitted.map(|(g, intercepts)| {
            // Each row's null model is that of the fold which did not see it.
            let of_fold = |r: &FoldResult| r.model.metrics.read().get(1).and_then(|m| m.glm).map_or(f64::NAN, |g| g.null_deviance);
            let null_deviance = results.iter().map(of_fold).sum();
            GlmExtras { null_deviance, ..crate::driver::glm_extras(&m, &preds, &train.y, train.w.as_deref(), first, g, intercepts) }
        });
        m
    };
    m.description =
        Some(format!("{}-fold cross-validation on training data (Metrics computed for combined holdout predictions)", results.len()));
    Ok(m)
}

/// Each metric by fold, with mean and deviation.
pub fn summary(results: &[FoldResult]) -> Table {
    let of_fold: Vec<Vec<(&'static str, f64)>> =
        results.iter().map(|r| r.model.metrics.read().get(1).map_or(vec![], |m| m.summary())).collect();
    // Single precision, written with as many digits as that has.
    let single = |v: f64| Cell::Double((v as f32).to_string().parse().unwrap_or(v));
    let names: Vec<&str> = of_fold.first().map_or(vec![], |f| f.iter().map(|p| p.0).collect());
    let values: Vec<Vec<f64>> = of_fold.iter().map(|f| (0..names.len()).map(|i| f.get(i).map_or(f64::NAN, |p| p.1)).collect()).collect();
    let n = values.len() as f64;
    let mean: Vec<f64> = (0..names.len()).map(|i| values.iter().map(|f| f[i]).sum::<f64>() / n).collect();
    let sd = (0..names.len()).map(|i| (values.iter().map(|f| (f[i] - mean[i]).powi(2)).sum::<f64>() / (n - 1.0)).sqrt());
    let sd = sd.map(|v| single(if v.is_nan() { 0.0 } else { v })).collect();
    let mut table = Table::new("Cross-Validation Metrics Summary", "")
        .row_labels(names.into_iter().map(Cell::from).collect())
        .named("mean", "mean", "float", "%f", mean.into_iter().map(single).collect())
        .named("sd", "sd", "float", "%f", sd);
    for (k, fold) in values.into_iter().enumerate() {
        let name = format!("cv_{}_valid", k + 1);
        table = table.named(&name, &name, "float", "%f", fold.into_iter().map(single).collect());
    }
    table
}

/// The fold of each row: by the categories of a fold column that has them, or by number.
pub fn assignment_frame(node: &Node, folds: &Folds, column: Option<&Column>) -> Result<Frame> {
    if let Some(c) = column.filter(|c| c.is_enum()) {
        return Frame::new(vec!["fold_assignment".into()], vec![c.clone()]);
    }
    let values: Vec<f64> = folds.of_row.iter().map(|f| f64::from(*f)).collect();
    Frame::new(vec!["fold_assignment".into()], vec![Column::from_f64(&node.ledger, &values)?])
}
