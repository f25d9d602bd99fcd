//! Judging subsets and building the models of the best.

use super::{SelectionOutput, SelectionParams};
use crate::glm::{Glm, GlmParams};
use crate::linalg;
use ochre_core::{CHUNK_ROWS, Error, Result, Team};
use ochre_model::driver::form_of;
use ochre_model::{Algorithm, Builder, Deviance, Fitted, Metrics, Model, Refusal, Row, Run, Training};
use ochre_schema::{Cell, ModelKey, Table};
use ochre_score::Scorer;
use rayon::prelude::*;
use std::sync::Arc;

type SelectionRun<'a> = Run<'a, SelectionParams>;

/// Is there anything beside least squares?
pub fn penalised(params: &SelectionParams) -> bool {
    let given = |k: &Option<ochre_schema::FrameKey>| k.as_ref().is_some_and(|k| !k.0.is_empty());
    params.lambda_search
        || params.lambda.iter().flatten().any(|l| *l > 0.0)
        || params.non_negative
        || given(&params.beta_constraints)
        || !params.intercept
}

/// The form of a linear model on some predictors: what both kinds of parameters have, where it was given.
fn form(run: &SelectionRun<'_>, ignored: Vec<String>, more: &[(&str, &str)]) -> Vec<(String, String)> {
    // 0 says "choose" here and -1 there.
    let chosen = ["nlambdas", "prior", "lambda_min_ratio", "max_iterations", "theta", "score_iteration_interval"];
    let own = ["model_id", "ignored_columns", "nfolds", "fold_column", "compute_p_values"];
    let mut form = GlmParams::shared(form_of(&run.params), &own, &chosen);
    form.push(("ignored_columns".into(), serde_json::to_string(&ignored).unwrap_or_default()));
    form.extend(more.iter().map(|(n, v)| (n.to_string(), v.to_string())));
    form
}

/// Trains and publishes the linear model on some predictors.
fn build(run: &mut SelectionRun<'_>, subset: &[usize], more: &[(&str, &str)]) -> Result<Arc<Model>> {
    let key = format!("{}_glm_{}", run.params.common.model_id.clone().unwrap_or_default().0, run.belongings.len() + 1);
    let mut ignored = run.params.common.ignored_columns.clone().unwrap_or_default();
    ignored.extend((0..run.train.names.len()).filter(|i| !subset.contains(i)).map(|i| run.train.names[i].clone()));
    let mut form = form(run, ignored, more);
    form.push(("model_id".into(), key.clone()));
    Row::<Glm>::new().train(run.node, run.job, &form).map_err(|e| match e {
        Refusal::Failed(e) => e,
        refused => Error::invalid(refused.message("GLM")),
    })?;
    run.belongings.push(key.clone());
    run.node.store.get::<Model>(&key)
}

/// What judges subsets of predictors.
enum Judge {
    /// Centred sums of products of all coefficients' columns, of these with the response, and of the response.
    Gram { xx: Vec<f64>, xy: Vec<f64>, yy: f64, n: usize, places: Vec<std::ops::Range<usize>> },
    /// Each candidate is fitted.
    Fits(Box<GlmParams>),
}

impl Judge {
    fn new(run: &SelectionRun<'_>) -> Result<Judge> {
        let imputes = run.params.missing_values_handling.as_deref() == Some("MeanImputation");
        if penalised(&run.params) || !imputes || run.train.offset.is_some() {
            let params = GlmParams::taking(form(run, vec![], &[]), &[], &[])?;
            return Ok(Judge::Fits(Box::new(GlmParams { influence: None, ..params })));
        }
        sums(run)
    }

    /// The share of variance that a subset explains.
    fn explained(&self, run: &SelectionRun<'_>, subset: &[usize]) -> Result<f64> {
        match self {
            Judge::Gram { xx, xy, yy, n, places } => {
                let at: Vec<usize> = subset.iter().flat_map(|j| places[*j].clone()).collect();
                let m = at.len();
                let part: Vec<f64> = (0..m * m).map(|k| xx[at[k / m] * n + at[k % m]]).collect();
                let right: Vec<f64> = at.iter().map(|i| xy[*i]).collect();
                let b = linalg::solve_spd(&part, m, &right).unwrap_or_else(|| vec![0.0; m]);
                Ok(b.iter().zip(&right).map(|(b, r)| b * r).sum::<f64>() / yy)
            }
            Judge::Fits(params) => {
                let mut subset = subset.to_vec();
                subset.sort_unstable();
                let train = Training {
                    names: subset.iter().map(|j| run.train.names[*j].clone()).collect(),
                    columns: subset.iter().map(|j| run.train.columns[*j].clone()).collect(),
                    ..run.train.clone()
                };
                Ok(Glm::fit(&mut run.inner((**params).clone(), train, None))?.training.r2)
            }
        }
    }

    /// The best of some subsets, the first of equals; nothing where there are none.
    fn best(&self, run: &SelectionRun<'_>, candidates: Vec<Vec<usize>>) -> Result<Option<(Vec<usize>, f64)>> {
        run.job.check()?;
        let values = match self {
            Judge::Gram { .. } => candidates.par_iter().map(|c| self.explained(run, c)).collect::<Result<Vec<_>>>()?,
            Judge::Fits(_) => candidates.iter().map(|c| self.explained(run, c)).collect::<Result<Vec<_>>>()?,
        };
        let mut best: Option<(Vec<usize>, f64)> = None;
        for (subset, v) in candidates.into_iter().zip(values) {
            // Sums beyond range explain nothing.
            let v = if v.is_nan() { f64::NEG_INFINITY } else { v };
            if best.as_ref().is_none_or(|b| v > b.1) {
                best = Some((subset, v));
            }
        }
        Ok(best)
    }
}

/// The sums of products of all predictors, expanded as the linear model expands them: chunk by chunk, in a fixed order.
fn sums(run: &SelectionRun<'_>) -> Result<Judge> {
    let train = &run.train;
    let mut places = vec![];
    let mut n = 0;
    for c in &train.columns {
        let width = c.domain().map_or(1, |d| d.len().saturating_sub(1));
        places.push(n..n + width);
        n += width;
    }
    let _room = run.node.ledger.reserve(&format!("sums of products of {n} coefficients"), (n * n * 24) as u64)?;
    let total = train.total_weight();
    let y_mean = (0..train.rows).map(|i| train.weight(i) * train.y[i]).sum::<f64>() / total;
    // What stands for missing values: the mean, or the most frequent level.
    let mut fills = vec![];
    for c in &train.columns {
        let values = c.to_f64()?;
        let known = || values.iter().enumerate().filter(|(_, v)| !v.is_nan()).map(|(i, v)| (train.weight(i), *v));
        fills.push(match c.domain() {
            None => known().map(|(w, v)| w * v).sum::<f64>() / known().map(|(w, _)| w).sum::<f64>(),
            Some(d) => {
                let mut counts = vec![0.0; d.len().max(1)];
                known().for_each(|(w, v)| counts[v as usize] += w);
                ochre_model::metrics::argmax(&counts) as f64
            }
        });
    }
    let team = Team::for_rows(train.rows);
    let first = team.rows(train.rows).start / CHUNK_ROWS;
    let mine = team.mine(train.rows.div_ceil(CHUNK_ROWS)).len();
    // Lower half of the products, then sums, then products with the response.
    let parts: Vec<Vec<f64>> = (first..first + mine)
        .into_par_iter()
        .map(|k| {
            let columns =
                train.columns.iter().map(|c| Ok(ochre_core::f64s(&c.chunks()[k].data()?).into_owned())).collect::<Result<Vec<_>>>()?;
            let rows = columns.first().map_or(0, Vec::len);
            let mut out = vec![0.0; n * n + 2 * n];
            let mut x: Vec<(usize, f64)> = vec![];
            for r in 0..rows {
                let i = k * CHUNK_ROWS + r;
                let w = train.weight(i);
                if w == 0.0 {
                    continue;
                }
                x.clear();
                for (j, c) in columns.iter().enumerate() {
                    let v = if c[r].is_nan() { fills[j] } else { c[r] };
                    match train.columns[j].is_enum() {
                        true if v >= 1.0 => x.push((places[j].start + v as usize - 1, 1.0)),
                        true => {}
                        false => x.push((places[j].start, v - fills[j])),
                    }
                }
                for (a, (p, v)) in x.iter().enumerate() {
                    for (q, u) in &x[..=a] {
                        out[p * n + q] += w * v * u;
                    }
                    out[n * n + p] += w * v;
                    out[n * n + n + p] += w * v * (train.y[i] - y_mean);
                }
            }
            Ok(out)
        })
        .collect::<Result<_>>()?;
    let s = team.fold(parts)?;
    let mut xx = vec![0.0; n * n];
    for p in 0..n {
        for q in 0..=p {
            let v = s[p * n + q] - s[n * n + p] * s[n * n + q] / total;
            (xx[p * n + q], xx[q * n + p]) = (v, v);
        }
    }
    // Sums with the response are centred already.
    let xy = s[n * n + n..].to_vec();
    let yy = (0..train.rows).map(|i| train.weight(i) * (train.y[i] - y_mean).powi(2)).sum();
    Ok(Judge::Gram { xx, xy, yy, n, places })
}

/// All ways to take `k` of `n`, in order.
fn combinations(n: usize, k: usize) -> Vec<Vec<usize>> {
    let mut out = vec![];
    let mut at: Vec<usize> = (0..k).collect();
    loop {
        out.push(at.clone());
        let Some(i) = (0..k).rev().find(|&i| at[i] < n - k + i) else { return out };
        at[i] += 1;
        for j in i + 1..k {
            at[j] = at[j - 1] + 1;
        }
    }
}

/// The best subset of each size up to `most`.
fn forward(run: &SelectionRun<'_>, all: bool, most: usize) -> Result<Vec<Vec<usize>>> {
    let judge = Judge::new(run)?;
    let n = run.train.columns.len();
    let mut out = vec![];
    let mut subset: Vec<usize> = vec![];
    for size in 1..=most {
        if run.out_of_time()? {
            run.job.warn(format!("max_runtime_secs ended the search after models of {} predictors", size - 1));
            break;
        }
        if all {
            let ways: f64 = (0..size).map(|i| (n - i) as f64 / (i + 1) as f64).product();
            if ways > 5e6 {
                return Err(Error::invalid(format!(
                    "there are {ways:.0} subsets of {size} out of {n} predictors, more than allsubsets tries (5000000); lower max_predictor_number or use mode maxr"
                )));
            }
            subset = judge.best(run, combinations(n, size))?.map_or(vec![], |b| b.0);
        } else {
            let added = (0..n).filter(|j| !subset.contains(j)).map(|j| subset.iter().copied().chain([j]).collect()).collect();
            let Some((next, mut value)) = judge.best(run, added)? else { break };
            subset = next;
            // Replace one predictor after the other as long as that helps.
            loop {
                let before = value;
                for place in 0..subset.len() {
                    let others = (0..n).filter(|j| !subset.contains(j));
                    let replaced = others.map(|j| {
                        let mut s = subset.clone();
                        s[place] = j;
                        s
                    });
                    if let Some((better, v)) = judge.best(run, replaced.collect())?.filter(|b| b.1 > value * (1.0 + 1e-12)) {
                        (subset, value) = (better, v);
                    }
                }
                if value <= before {
                    break;
                }
            }
        }
        out.push(subset.clone());
        run.job.set_progress(0.8 * size as f64 / most as f64);
    }
    Ok(out)
}

/// Predictors in the order of the coefficients: categories by falling number of levels, then numbers.
fn sort(train: &Training, subset: &mut [usize]) {
    subset.sort_by_key(|&j| (!train.columns[j].is_enum(), std::cmp::Reverse(train.columns[j].domain().map_or(0, |d| d.len())), j));
}

/// One column of a model's table of coefficients.
fn of_table(model: &Model, column: &str) -> Vec<f64> {
    let table = &model.output["coefficients_table"];
    let place = table["columns"].as_array().and_then(|c| c.iter().position(|c| c["name"] == *column));
    let cells = place.map(|p| &table["data"][p]).and_then(|c| c.as_array());
    cells.into_iter().flatten().map(|v| v.as_f64().unwrap_or(f64::NAN)).collect()
}

fn coefficients(model: &Model) -> Vec<String> {
    let names = model.output["coefficients_table"]["data"][0].as_array();
    names.into_iter().flatten().filter_map(|v| v.as_str().map(str::to_string)).collect()
}

/// Is a coefficient one of a predictor's?
fn belongs(train: &Training, j: usize, coefficient: &str) -> bool {
    let name = &train.names[j];
    coefficient == name || (train.columns[j].is_enum() && coefficient.strip_prefix(name.as_str()).is_some_and(|r| r.starts_with('.')))
}

/// The intercept moved from the front to the end, as this model shows it.
fn last<T: Clone>(values: &[T]) -> Vec<T> {
    values[1..].iter().chain(&values[..1]).cloned().collect()
}

pub fn fit(run: &mut SelectionRun<'_>) -> Result<Fitted<SelectionOutput>> {
    let mode = run.params.mode.clone().unwrap_or_default();
    let mut output = SelectionOutput::default();
    let (mut ids, mut names, mut subsets) = (vec![], vec![], vec![]);
    let metrics: Metrics;
    if mode == "backward" {
        let (mut zs, mut ps, mut removed) = (vec![], vec![], vec![]);
        let mut subset: Vec<usize> = (0..run.train.columns.len()).collect();
        sort(&run.train, &mut subset);
        let most = subset.len();
        let mut latest = None;
        loop {
            let model = build(run, &subset, &[("compute_p_values", "true"), ("lambda", "[0.0]")])?;
            let (coefs, z, p) = (last(&coefficients(&model)), last(&of_table(&model, "z_value")), last(&of_table(&model, "p_value")));
            // A predictor is as significant as the most significant of its coefficients.
            let strength = |j: usize| {
                let own = coefs.iter().zip(&z).filter(|(c, _)| belongs(&run.train, j, c));
                own.fold(0.0f64, |s, (_, z)| s.max(z.abs()))
            };
            let Some(weakest) = subset.iter().copied().min_by(|a, b| strength(*a).total_cmp(&strength(*b))) else { break };
            // All coefficients have to be significant; the intercept, which comes last, is none of a predictor.
            let worst = p[..p.len().saturating_sub(1)].iter().copied().fold(0.0, f64::max);
            names.push(coefs);
            subsets.push(subset.clone());
            ids.push(ModelKey(model.key.clone()));
            zs.push(z);
            ps.push(p);
            removed.push(vec![run.train.names[weakest].clone()]);
            latest = Some(model);
            let threshold = run.params.p_values_threshold;
            run.job.set_progress(names.len() as f64 / most as f64);
            if subset.len() <= run.params.min_predictor_number as usize || (threshold > 0.0 && worst <= threshold) {
                break;
            }
            subset.retain(|j| *j != weakest);
        }
        // Smallest models first.
        names.reverse();
        subsets.reverse();
        ids.reverse();
        zs.reverse();
        ps.reverse();
        removed.reverse();
        (output.z_values, output.coef_p_values, output.predictors_removed_per_step) = (Some(zs), Some(ps), Some(removed));
        metrics = latest.map(|m| (*m.metrics.read()[0]).clone()).ok_or_else(|| Error::Internal("no model was built".into()))?;
    } else {
        let most = run.params.max_predictor_number as usize;
        subsets = forward(run, mode == "allsubsets", most)?;
        let with_models = mode != "maxrsweep" || run.params.build_glm_model;
        let (mut r2, mut values, mut normalized) = (vec![], vec![], vec![]);
        let mut latest = None;
        for subset in &mut subsets {
            let entered = subset.clone();
            sort(&run.train, subset);
            let model = build(run, subset, &[])?;
            let measured = (*model.metrics.read()[0]).clone();
            r2.push(measured.r2);
            let mut coefs = last(&coefficients(&model));
            if with_models {
                ids.push(ModelKey(model.key.clone()));
            } else {
                // In the order in which predictors came in.
                let own = |j: &usize| (0..coefs.len()).filter(|&i| belongs(&run.train, *j, &coefs[i])).collect::<Vec<_>>();
                let order: Vec<usize> = entered.iter().flat_map(own).chain([coefs.len() - 1]).collect();
                let plain = of_table(&model, "coefficients");
                let scaled = of_table(&model, "standardized_coefficients");
                for (out, v) in [(&mut values, &plain), (&mut normalized, if scaled.is_empty() { &plain } else { &scaled })] {
                    let v = last(v);
                    out.push(order.iter().map(|i| v[*i]).collect::<Vec<f64>>());
                }
                coefs = order.iter().map(|i| coefs[*i].clone()).collect();
                *subset = entered;
            }
            names.push(coefs);
            latest = Some(measured);
        }
        if !with_models {
            for key in std::mem::take(&mut run.belongings) {
                run.node.store.remove(&key)?;
            }
            (output.coefficient_values, output.coefficient_values_normalized) = (Some(values), Some(normalized));
        }
        metrics = latest.ok_or_else(|| Error::Internal("no model was built".into()))?;
        output.best_r2_values = Some(r2);
        let mut before: Vec<String> = vec!["Intercept".into()];
        let (mut added, mut removed) = (vec![], vec![]);
        for now in &names {
            let without = |a: &[String], b: &[String]| -> Vec<String> {
                let rest: Vec<String> = a.iter().filter(|n| !b.contains(n)).cloned().collect();
                if rest.is_empty() { vec![String::new()] } else { rest }
            };
            added.push(without(now, &before));
            removed.push(without(&before, now));
            before.clone_from(now);
        }
        (output.predictors_added_per_step, output.predictors_removed_per_step) = (Some(added), Some(removed));
    }
    let shown: Vec<Vec<String>> = subsets.iter().map(|s| s.iter().map(|j| run.train.names[*j].clone()).collect()).collect();
    output.common.effective.push(("fold_assignment", "AUTO".into()));
    output.common.model_summary = Some(summary(&output, &shown, &names));
    output.best_predictors_subset = Some(shown);
    output.coefficient_names = Some(names);
    output.best_model_ids = (!ids.is_empty()).then_some(ids);
    Ok(Fitted { output, scorer: Scorer::Silent, deviance: Deviance::Gaussian, training: metrics, validation: None, order: None })
}

fn summary(output: &SelectionOutput, subsets: &[Vec<String>], names: &[Vec<String>]) -> Table {
    let texts = |v: &[Vec<String>]| v.iter().map(|s| Cell::Text(s.join(", "))).collect::<Vec<_>>();
    let numbers =
        |v: &[Vec<f64>]| v.iter().map(|s| Cell::Text(s.iter().map(|v| format!("{v:?}")).collect::<Vec<_>>().join(", "))).collect();
    let mut t = Table::new("ModelSelection Model Summary", "summary")
        .row_labels(subsets.iter().map(|s| Cell::Text(format!("with {} predictors", s.len()))).collect());
    if let Some(r2) = &output.best_r2_values {
        t = t.named("best_r2_value", "best_r2_value", "double", "%5f", r2.iter().map(|v| Cell::Double(*v)).collect());
    }
    let text = |t: Table, name: &str, cells: Vec<Cell>| t.named(name, name, "string", "%s", cells);
    t = text(t, "coefficient_names", texts(names));
    t = text(t, "predictor_names", texts(subsets));
    if let (Some(z), Some(p)) = (&output.z_values, &output.coef_p_values) {
        t = text(t, "z_values", numbers(z));
        t = text(t, "p_values", numbers(p));
    }
    t = text(t, "predictors_removed", texts(output.predictors_removed_per_step.as_deref().unwrap_or_default()));
    if let Some(added) = &output.predictors_added_per_step {
        t = text(t, "predictors_added", texts(added));
    }
    t
}
