//! Boosting of linear terms: one step of coordinate descent a round, feature after feature (the package's `coord_descent`
//! with a cyclic selector).

use super::fit::{Scores, effective, feature_names, score_now};
use super::objective::Objective;
use super::{XgBoostOutput, XgBoostParams};
use crate::tree::ensemble::{history_columns, stopping_metric};
use ochre_core::{CHUNK_ROWS, Result, Team};
use ochre_model::{Fitted, Run, ScoringHistory};
use ochre_schema::{Cell, Table};
use ochre_score::{GlmScorer, LinkFunction, Scorer, TreeEnsemble, TreeLink};
use rayon::prelude::*;

/// The step of one weight under both penalties (Friedman, Hastie and Tibshirani 2010).
fn step(g: f64, h: f64, w: f64, alpha: f64, lambda: f64) -> f64 {
    if h < 1e-5 {
        return 0.0;
    }
    let (g, h) = (g + lambda * w, h + lambda);
    if w - g / h >= 0.0 { (-(g + alpha) / h).max(-w) } else { (-(g - alpha) / h).min(-w) }
}

pub fn fit(run: &Run<'_, XgBoostParams>, objective: Objective) -> Result<Fitted<XgBoostOutput>> {
    let (p, train) = (&run.params, &run.train);
    let (classes, sums) = (train.classes(), objective.groups());
    let team = Team::for_rows(train.rows);
    let own = team.rows(train.rows);
    let rows = own.len();
    let own_y = &train.y[own.clone()];
    let valid_team = Team::for_rows(run.valid.as_ref().map_or(0, |v| v.data.rows));
    let valid_own = run.valid.as_ref().map_or(0..0, |v| valid_team.rows(v.data.rows));
    let width = train.columns.len();
    let _scratch = run.node.ledger.reserve("linear boosting", (rows * (sums * 12 + width * 8 + 32)) as u64)?;
    let columns = train.columns.iter().map(|c| c.team_f64(&team)).collect::<Result<Vec<_>>>()?;
    let levels: Vec<Option<usize>> = train.columns.iter().map(|c| c.domain().map(|d| d.len())).collect();
    let init = if train.offset.is_some() { 0.0 } else { objective.base() };
    let sizes: Vec<usize> = levels.iter().map(|l| l.map_or(1, |n| n + 1)).collect();
    let mut beta = vec![vec![0.0f64; sizes.iter().sum::<usize>() + 1]; sums];
    let total: f64 = train.total_weight();
    let (alpha, lambda) = (f64::from(p.reg_alpha) * total, f64::from(p.reg_lambda) * total);
    let weight = |row: usize| {
        let w = train.weight(own.start + row) as f32;
        if objective == Objective::Logistic && own_y[row] == 1.0 { w * p.scale_pos_weight } else { w }
    };
    let link = TreeEnsemble {
        link: objective.link(),
        init: f64::from(init),
        classes: if classes > 1 { classes } else { 1 },
        trees: vec![],
        lengths: [0.0; 2],
        calibration: None,
        correction: vec![],
        single: true,
    };
    let scores = Scores { run, objective, team: &team, valid_team: &valid_team, link: &link };
    let scorer = |beta: &[Vec<f64>]| GlmScorer {
        link: match objective.link() {
            TreeLink::Identity => LinkFunction::Identity,
            TreeLink::Logit => LinkFunction::Logit,
            TreeLink::Softmax => LinkFunction::Softmax,
            _ => LinkFunction::Log,
        },
        classes: if classes > 1 { classes } else { 1 },
        levels: levels.iter().flatten().map(|n| (n + 1, *n)).collect(),
        all_levels: true,
        means: levels.iter().filter(|l| l.is_none()).map(|_| 0.0).collect(),
        beta: beta
            .iter()
            .map(|b| {
                // As the package keeps them: in single precision.
                let mut b: Vec<f64> = b.iter().map(|w| f64::from(*w as f32)).collect();
                if let Some(last) = b.last_mut() {
                    *last += f64::from(init);
                }
                b
            })
            .collect(),
        link_power: 0.0,
        path: vec![],
        derived: vec![],
        places: vec![],
        smooths: vec![],
        silent: vec![],
        covariance: vec![],
        skips_missing: false,
        without_offset: false,
    };
    // Margins of rows under the present weights.
    let margins = |beta: &[Vec<f64>], columns: &[&[f64]], offset: Option<&[f64]>, out: &mut [f32]| {
        for (i, m) in out.chunks_mut(sums).enumerate() {
            for (m, b) in m.iter_mut().zip(beta) {
                let mut sum = f64::from(init) + offset.map_or(0.0, |o| o[i]) + b[b.len() - 1];
                let mut at = 0;
                for (j, size) in sizes.iter().enumerate() {
                    let v = columns[j][i];
                    match levels[j] {
                        Some(n) => sum += b[at + if v.is_nan() { n } else { v as usize }],
                        None if !v.is_nan() => sum += b[at] * v,
                        None => {}
                    }
                    at += size;
                }
                *m = sum as f32;
            }
        }
    };
    let mut f = vec![0f32; rows * sums];
    let mut f_valid = run.valid.as_ref().map(|_| vec![0f32; valid_own.len() * sums]);
    let refresh = |beta: &[Vec<f64>], f: &mut [f32], f_valid: Option<&mut Vec<f32>>| -> Result<()> {
        f.par_chunks_mut(CHUNK_ROWS * sums).enumerate().for_each(|(c, f)| {
            let at = c * CHUNK_ROWS;
            let n = f.len() / sums;
            let views: Vec<&[f64]> = columns.iter().map(|v| &v[at..at + n]).collect();
            margins(beta, &views, train.offset.as_ref().map(|o| &o[own.start + at..own.start + at + n]), f);
        });
        if let (Some(v), Some(fv)) = (&run.valid, f_valid) {
            let first = valid_own.start / CHUNK_ROWS;
            fv.par_chunks_mut(CHUNK_ROWS * sums).enumerate().try_for_each(|(c, f)| {
                let n = f.len() / sums;
                let parts = v.data.sources.iter().map(|s| s.chunk(first + c, n)).collect::<Result<Vec<_>>>()?;
                let views: Vec<&[f64]> = parts.iter().map(Vec::as_slice).collect();
                let at = valid_own.start + c * CHUNK_ROWS;
                margins(beta, &views, v.offset.as_ref().map(|o| &o[at..at + n]), f);
                Ok::<(), ochre_core::Error>(())
            })?;
        }
        Ok(())
    };
    refresh(&beta, &mut f, f_valid.as_mut())?;
    let mut history = ScoringHistory::default();
    history.events.push(scores.event(&f, f_valid.as_deref(), 0)?);
    let metric = stopping_metric(&p.common, train.category);
    let mut last_scored = 0;
    let (mut g, mut h) = (vec![0f32; rows * sums], vec![0f32; rows * sums]);
    let ntrees = p.ntrees as usize;
    let mut done = 0;
    for round in 0..ntrees {
        run.job.check()?;
        if round > 0 && run.out_of_time()? {
            run.job.warn(format!("max_runtime_secs ended training after {round} of {ntrees} rounds"));
            break;
        }
        objective.gradients(&f, own_y, weight, &mut g, &mut h);
        for (k, beta) in beta.iter_mut().enumerate() {
            let mut gk: Vec<f64> = g.iter().skip(k).step_by(sums).map(|v| f64::from(*v)).collect();
            let hk: Vec<f64> = h.iter().skip(k).step_by(sums).map(|v| f64::from(*v)).collect();
            // Sums of chunks in their order: the same on any number of threads and nodes.
            let sum_up = |size: usize, one: &(dyn Fn(usize, f64, &mut [f64]) + Sync), g: &[f64]| -> Result<Vec<f64>> {
                let parts: Vec<Vec<f64>> = g
                    .par_chunks(CHUNK_ROWS)
                    .enumerate()
                    .map(|(c, g)| {
                        let mut out = vec![0.0; 2 * size];
                        g.iter().enumerate().for_each(|(i, g)| one(c * CHUNK_ROWS + i, *g, &mut out));
                        out
                    })
                    .collect();
                team.fold(parts)
            };
            let bias = sum_up(
                1,
                &|r, g, out| {
                    out[0] += g;
                    out[1] += hk[r];
                },
                &gk,
            )?;
            let delta = if bias[1] > 0.0 { -bias[0] / bias[1] * p.eta } else { 0.0 };
            if let Some(last) = beta.last_mut() {
                *last += delta;
            }
            gk.par_iter_mut().zip(&hk).for_each(|(g, h)| *g += h * delta);
            let mut at = 0;
            for (j, size) in sizes.iter().enumerate() {
                let values = &columns[j];
                let place = |v: f64| -> (usize, f64) {
                    match levels[j] {
                        Some(n) => (if v.is_nan() { n } else { v as usize }, 1.0),
                        None => (0, if v.is_nan() { 0.0 } else { v }),
                    }
                };
                let sums = sum_up(
                    *size,
                    &|r, g, out| {
                        let (i, v) = place(values[r]);
                        out[2 * i] += g * v;
                        out[2 * i + 1] += hk[r] * v * v;
                    },
                    &gk,
                )?;
                let steps: Vec<f64> = (0..*size).map(|i| p.eta * step(sums[2 * i], sums[2 * i + 1], beta[at + i], alpha, lambda)).collect();
                gk.par_iter_mut().zip(&hk).zip(values).for_each(|((g, h), v)| {
                    let (i, v) = place(*v);
                    *g += h * v * steps[i];
                });
                steps.iter().enumerate().for_each(|(i, s)| beta[at + i] += s);
                at += size;
            }
        }
        refresh(&beta, &mut f, f_valid.as_mut())?;
        done = round + 1;
        run.job.set_progress(done as f64 / ntrees as f64);
        if done == ntrees || score_now(p, train.rows * sums, done, last_scored) {
            history.events.push(scores.event(&f, f_valid.as_deref(), done)?);
            last_scored = done;
            if history.stopped(p.common.stopping_rounds as usize, metric, p.common.stopping_tolerance) {
                break;
            }
        }
    }
    if last_scored != done {
        history.events.push(scores.event(&f, f_valid.as_deref(), done)?);
    }
    scores.complete(&mut history, &f, f_valid.as_deref(), done)?;
    let last = history.events.last().expect("scored at least once");
    let (training, validation) = super::fit::finished(last, p);
    let names = feature_names(run);
    let mut by_size: Vec<(String, f64)> =
        names.into_iter().enumerate().map(|(i, n)| (n, beta.iter().map(|b| b[i].abs()).sum::<f64>())).filter(|v| v.1 > 0.0).collect();
    by_size.sort_by(|a, b| b.1.total_cmp(&a.1));
    let (top, sum) = (by_size.first().map_or(1.0, |v| v.1), by_size.iter().map(|v| v.1).sum::<f64>());
    let column = |f: &dyn Fn(f64) -> f64| by_size.iter().map(|v| Cell::Double(f(v.1))).collect();
    let table = Table::new("Variable Importances", "absolute weights")
        .column("Variable", "string", "%s", by_size.iter().map(|v| Cell::Text(v.0.clone())).collect())
        .column("Relative Importance", "double", "%5f", column(&|v| v))
        .column("Scaled Importance", "double", "%5f", column(&|v| v / top))
        .column("Percentage", "double", "%5f", column(&|v| v / sum));
    let mut output = XgBoostOutput { variable_importances: Some(table), ..XgBoostOutput::default() };
    output.common.effective = effective(&run.params, train.category);
    output.common.model_summary = Some(Table::new("Model Summary", "").row_labels(vec!["".into()]).named(
        "number_of_trees",
        "number_of_trees",
        "long",
        "%d",
        vec![Cell::from(done)],
    ));
    output.common.scoring_history = Some(history.table(run.started_ms, "Number of Trees", history_columns(train.category)));
    Ok(Fitted { output, scorer: Scorer::Glm(scorer(&beta)), deviance: objective.deviance(), training, validation, order: None })
}
