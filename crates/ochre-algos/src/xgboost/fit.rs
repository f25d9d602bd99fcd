//! The boosting loop.

use super::evaluation::Evaluation;
use super::objective::Objective;
use super::params::{Booster, GrowPolicy, MatrixType, NormalizeType, SampleType, TreeMethod};
use super::{XgBoostOutput, XgBoostParams, linear};
use crate::tree::ensemble::{self, HISTORY_BUDGET, ROWS, continued, history_columns, mark_leaves, monotone, stopping_metric, together};
use crate::tree::{BinnedData, Binning, GradientRow, NewtonGrower, NewtonRules};
use ochre_core::rng::draw_rows;
use ochre_core::{CHUNK_ROWS, Result, Rng, Team, time::now_ms};
use ochre_model::driver::measure;
use ochre_model::metrics::Event;
use ochre_model::params::CalibrationMethod;
use ochre_model::{Category, Fitted, Metrics, Run, ScoringHistory, adapt};
use ochre_schema::{Cell, Table, Value};
use ochre_score::{Scorer, Tree, TreeEnsemble};
use rayon::prelude::*;

/// Names of the features: categories level by level and one for missing ones, then numbers.
pub fn feature_names(run: &Run<'_, XgBoostParams>) -> Vec<String> {
    let mut out = vec![];
    for (name, c) in run.train.names.iter().zip(&run.train.columns) {
        match c.domain() {
            Some(d) => {
                out.extend(d.iter().map(|l| format!("{name}.{l}")));
                out.push(format!("{name}.missing(NA)"));
            }
            None => out.push(name.clone()),
        }
    }
    out
}

/// Importances of the features that have any, largest first.
fn importances(title: &str, names: &[String], values: &[f64]) -> Table {
    let mut order: Vec<usize> = (0..names.len()).filter(|i| values[*i] > 0.0).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
    let (top, sum) = (values.iter().copied().fold(0.0, f64::max), values.iter().sum::<f64>());
    let column = |f: &dyn Fn(f64) -> f64| order.iter().map(|&i| Cell::Double(f(values[i]))).collect();
    Table::new(title, "")
        .column("Variable", "string", "%s", order.iter().map(|&i| Cell::Text(names[i].clone())).collect())
        .column("Relative Importance", "double", "%5f", column(&|v| v))
        .column("Scaled Importance", "double", "%5f", column(&|v| v / top))
        .column("Percentage", "double", "%5f", column(&|v| v / sum))
}

fn native(p: &XgBoostParams, objective: Objective) -> Table {
    let mut pairs: Vec<(&str, Cell)> = vec![
        ("silent", "true".into()),
        ("eta", Cell::Double(p.eta)),
        ("colsample_bylevel", Cell::Double(p.colsample_bylevel)),
        ("objective", objective.name().into()),
        ("min_child_weight", Cell::Double(p.min_child_weight)),
        ("nthread", rayon::current_num_threads().into()),
        ("seed", Cell::Long(p.seed)),
        ("max_depth", Cell::Long(p.max_depth.into())),
        ("colsample_bytree", Cell::Double(p.colsample_bytree)),
        ("lambda", Cell::Double(p.reg_lambda.into())),
        ("gamma", Cell::Double(p.gamma.into())),
        ("alpha", Cell::Double(p.reg_alpha.into())),
        ("booster", p.booster.name().into()),
        ("grow_policy", p.grow_policy.name().into()),
        ("nround", Cell::Long(p.ntrees.into())),
        ("subsample", Cell::Double(p.subsample)),
        ("max_delta_step", Cell::Double(p.max_delta_step.into())),
        ("tree_method", p.tree_method.name().into()),
    ];
    // Told only where they say something, as the reference does.
    if p.colsample_bynode != 1.0 {
        pairs.push(("colsample_bynode", Cell::Double(p.colsample_bynode)));
    }
    if p.max_leaves > 0 {
        pairs.push(("max_leaves", Cell::Long(p.max_leaves.into())));
    }
    let (names, values): (Vec<Cell>, Vec<Cell>) = pairs.into_iter().map(|(n, v)| (n.into(), v)).unzip();
    Table::new("Native XGBoost Parameters", "")
        .row_labels(vec!["".into(); names.len()])
        .named("name", "name", "string", "%s", names)
        .named("value", "value", "string", "%s", values)
}

/// Adds a tree, times a factor, to margins of rows from chunk `first` on.
fn add_tree(tree: &Tree, factor: f32, sources: &[adapt::Source], first: usize, (k, sums): (usize, usize), f: &mut [f32]) -> Result<()> {
    if tree.nodes.is_empty() {
        return Ok(());
    }
    f.par_chunks_mut(CHUNK_ROWS * sums).enumerate().try_for_each(|(c, f)| {
        let n = f.len() / sums;
        let columns = sources.iter().map(|s| s.chunk(first + c, n)).collect::<Result<Vec<_>>>()?;
        let views: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
        for (i, f) in f.chunks_mut(sums).enumerate() {
            f[k] += factor * tree.leaf(&views, i).value;
        }
        Ok(())
    })
}

/// What a round's scores are computed from, and how they are measured.
pub struct Scores<'a, 'r> {
    pub run: &'a Run<'r, XgBoostParams>,
    pub objective: Objective,
    pub team: &'a Team,
    pub valid_team: &'a Team,
    /// Sums to predictions.
    pub link: &'a TreeEnsemble,
}

impl Scores<'_, '_> {
    fn predictions(&self, f: &[f32]) -> Vec<f64> {
        let (width, sums) = (self.link.width(), self.objective.groups());
        let mut out = vec![0.0; f.len() / sums * width];
        out.par_chunks_mut(ROWS * width).zip(f.par_chunks(ROWS * sums)).for_each(|(out, f)| {
            let mut row = vec![0.0; sums];
            for (o, f) in out.chunks_mut(width).zip(f.chunks(sums)) {
                row.iter_mut().zip(f).for_each(|(r, f)| *r = f64::from(*f));
                self.link.finish(&row, o);
            }
        });
        out
    }

    /// What is told while training.
    pub fn event(&self, f: &[f32], f_valid: Option<&[f32]>, step: usize) -> Result<Event> {
        let p = &self.run.params;
        self.measured(f, f_valid, step, !p.score_eval_metric_only || p.evaluated().is_none())
    }

    /// The last event, with all metrics.
    pub fn complete(&self, history: &mut ScoringHistory, f: &[f32], f_valid: Option<&[f32]>, step: usize) -> Result<()> {
        if self.run.params.score_eval_metric_only {
            history.events.pop_if(|e| e.step == step);
            history.events.push(self.measured(f, f_valid, step, true)?);
        }
        Ok(())
    }

    fn measured(&self, f: &[f32], f_valid: Option<&[f32]>, step: usize, whole: bool) -> Result<Event> {
        let (train, detail) = (&self.run.train, self.run.params.common.detail());
        let domain = train.labels();
        let asked = evaluation(&self.run.params, train.category);
        let one = |p: &[f64], y: &[f64], w: Option<&[f64]>| -> Result<Metrics> {
            let of = |p: &[f64], y: &[f64], w: Option<&[f64]>| {
                measure(train.category, p, y, w, domain, self.objective.deviance(), detail.clone())
            };
            // Metrics of no rows have no values.
            let none = || of(&[], &[], None);
            let Some((name, e)) = &asked else { return of(p, y, w) };
            let m = if whole || e.needs_metrics() { of(p, y, w)? } else { none()? };
            let custom = Some((name.clone(), e.value(p, y, w, &m)));
            Ok(Metrics { custom, ..if whole { m } else { none()? } })
        };
        let validation = match self.run.valid.as_ref().zip(f_valid) {
            Some((v, f)) => Some(one(&self.valid_team.concat(self.predictions(f))?, &v.y, v.w.as_deref())?),
            None => None,
        };
        let training = one(&self.team.concat(self.predictions(f))?, &train.y, train.w.as_deref())?;
        Ok(Event { at_ms: now_ms(), step, training, validation })
    }
}

/// The metric that eval_metric names.
fn evaluation(p: &XgBoostParams, category: Category) -> Option<(String, Evaluation)> {
    let name = p.evaluated()?;
    Evaluation::read(name, category).ok().map(|e| (name.to_string(), e))
}

/// Metrics of the finished model: eval_metric is told in the history only.
pub fn finished(event: &Event, p: &XgBoostParams) -> (Metrics, Option<Metrics>) {
    let (mut training, mut validation) = (event.training.clone(), event.validation.clone());
    if p.evaluated().is_some() {
        training.custom = None;
        validation.iter_mut().for_each(|v| v.custom = None);
    }
    (training, validation)
}

/// When to score: at the interval that was asked for; otherwise every round while that is cheap, then ever less often.
pub fn score_now(p: &XgBoostParams, cells: usize, n: usize, last: usize) -> bool {
    let every = p.score_tree_interval.max(0) as usize;
    if p.common.score_each_iteration {
        true
    } else if every > 0 {
        n.is_multiple_of(every)
    } else {
        n * cells <= HISTORY_BUDGET || n >= 2 * last
    }
}

pub fn fit(run: &mut Run<'_, XgBoostParams>) -> Result<Fitted<XgBoostOutput>> {
    // Categories first, those with many levels before those with few; then numbers: the order of the features.
    let width = run.train.columns.len();
    let mut order: Vec<usize> = (0..width).collect();
    order.sort_by_key(|j| run.train.columns[*j].domain().map_or(1, |d| -(d.len() as i64)));
    run.train.names = order.iter().map(|j| run.train.names[*j].clone()).collect();
    run.train.columns = order.iter().map(|j| run.train.columns[*j].clone()).collect();
    if let Some(v) = &mut run.valid {
        v.data.sources = order.iter().map(|j| v.data.sources[*j].clone()).collect();
    }
    let (params, train) = (&run.params, &run.train);
    let objective = Objective::new(params.common.distribution, train.classes(), params.common.tweedie_power, params.max_delta_step);
    let mut fitted = if params.booster == Booster::Gblinear { linear::fit(run, objective)? } else { trees(run, objective)? };
    fitted.output.native_parameters = Some(native(params, objective));
    fitted.output.sparse = params.dmatrix_type == MatrixType::Sparse;
    Ok(fitted)
}

fn trees(run: &Run<'_, XgBoostParams>, objective: Objective) -> Result<Fitted<XgBoostOutput>> {
    let (p, train) = (&run.params, &run.train);
    let (classes, sums) = (train.classes(), objective.groups());
    let team = Team::for_rows(train.rows);
    let own = team.rows(train.rows);
    let rows = own.len();
    let own_y = &train.y[own.clone()];
    let valid_team = Team::for_rows(run.valid.as_ref().map_or(0, |v| v.data.rows));
    let valid_own = run.valid.as_ref().map_or(0..0, |v| valid_team.rows(v.data.rows));
    let _scratch = run.node.ledger.reserve("boosting margins and gradients", (rows * (sums * 12 + 32)) as u64)?;
    // Margins given for each row take the place of the constant.
    let init = if train.offset.is_some() { 0.0 } else { objective.base() };
    let mut ensemble = TreeEnsemble {
        link: objective.link(),
        init: f64::from(init),
        classes: if classes > 1 { classes } else { 1 },
        trees: vec![],
        lengths: [0.0; 2],
        calibration: None,
        correction: vec![],
        single: true,
    };
    let start = |offset: Option<&[f64]>, n: usize| -> Vec<f32> {
        (0..n * sums).map(|i| init + offset.map_or(0.0, |o| o[i / sums] as f32)).collect()
    };
    let mut f = start(train.offset.as_ref().map(|o| &o[own.clone()]), rows);
    let mut f_valid = run.valid.as_ref().map(|v| start(v.offset.as_ref().map(|o| &o[valid_own.clone()]), valid_own.len()));
    let sources = train.adapted(&train.predictors())?.sources;
    let (first, valid_first) = (own.start / CHUNK_ROWS, valid_own.start / CHUNK_ROWS);

    let sparse = p.dmatrix_type == MatrixType::Sparse;
    let weight = |row: usize| {
        let w = train.weight(own.start + row) as f32;
        if objective == Objective::Logistic && own_y[row] == 1.0 { w * p.scale_pos_weight } else { w }
    };
    let binning = if p.tree_method == TreeMethod::Exact { Binning::Exact } else { Binning::Quantiles(p.max_bins as usize) };
    let plain = |row: usize| train.weight(row);
    let bin = |w: &(dyn Fn(usize) -> f64 + Sync)| BinnedData::new(run.node, &train.columns, w, binning, sparse);
    // By the hessian's weight (approx) bins are made anew for each tree.
    let fixed = if p.tree_method == TreeMethod::Approx { None } else { Some(bin(&plain)?) };
    let rules = NewtonRules {
        max_depth: p.max_depth as usize,
        max_leaves: p.max_leaves as usize,
        best_first: p.grow_policy == GrowPolicy::Lossguide,
        min_child_weight: p.min_child_weight,
        lambda: f64::from(p.reg_lambda),
        alpha: f64::from(p.reg_alpha),
        gamma: p.gamma,
        max_delta_step: f64::from(p.max_delta_step),
        eta: p.eta as f32,
        by_tree: p.colsample_bytree,
        by_level: p.colsample_bylevel,
        by_node: p.colsample_bynode,
        monotone: monotone(&p.monotone_constraints, &train.names),
        together: together(&p.interaction_constraints, &train.names),
    };
    let names = feature_names(run);
    let mut tables = [vec![0.0; names.len()], vec![0.0; names.len()], vec![0.0; names.len()]];
    let mut rng = Rng::new(p.seed);
    let mut history = ScoringHistory::default();
    let metric = stopping_metric(&p.common, train.category);
    // How much each tree counts (of the booster dart; otherwise 1).
    let mut weights: Vec<Vec<f32>> = vec![];
    let before = run.checkpoint.as_deref().and_then(|m| if let Scorer::Trees(t) = &m.scorer { Some((m, t)) } else { None });
    if let Some((model, trees)) = before {
        ensemble.trees.clone_from(&trees.trees);
        weights = trees.trees.iter().map(|g| vec![1.0; g.len()]).collect();
        for (table, name) in tables.iter_mut().zip(["variable_importances", "variable_importances_cover", "variable_importances_frequency"])
        {
            let data = &model.output[name]["data"];
            for (n, v) in data[0].as_array().into_iter().flatten().zip(data[1].as_array().into_iter().flatten()) {
                if let (Some(at), Some(v)) = (names.iter().position(|x| Some(x.as_str()) == n.as_str()), v.as_f64()) {
                    table[at] = v;
                }
            }
        }
    }
    let begun = ensemble.trees.len();
    for group in &ensemble.trees {
        rng.next_i64();
        for (k, tree) in group.iter().enumerate() {
            add_tree(tree, 1.0, &sources, first, (k, sums), &mut f)?;
            if let (Some(v), Some(fv)) = (&run.valid, f_valid.as_mut()) {
                add_tree(tree, 1.0, &v.data.sources, valid_first, (k, sums), fv)?;
            }
        }
    }
    let link = TreeEnsemble { trees: vec![], ..ensemble.clone() };
    let scores = Scores { run, objective, team: &team, valid_team: &valid_team, link: &link };
    history.events.push(scores.event(&f, f_valid.as_deref(), begun)?);
    let mut last_scored = begun;
    let (mut g, mut h) = (vec![0f32; rows * sums], vec![0f32; rows * sums]);
    let (mut index, mut room, mut leaf_of) = (vec![], vec![], vec![0u32; rows]);
    let ntrees = p.ntrees as usize;
    let mut held_trees = vec![];
    for round in begun..ntrees {
        run.job.check()?;
        if round > 0 && run.out_of_time()? {
            run.job.warn(format!("max_runtime_secs ended training after {round} of {ntrees} trees"));
            break;
        }
        let seed = rng.next_i64();
        // DART: some trees are left out while the next one is fitted.
        let dropped = if p.booster == Booster::Dart { drop(p, &weights, seed) } else { vec![] };
        let mut absent = vec![];
        for &(t, k) in &dropped {
            let mut part = vec![0f32; rows * sums];
            add_tree(&ensemble.trees[t][k], 1.0, &sources, first, (k, sums), &mut part)?;
            f.iter_mut().zip(&part).for_each(|(f, part)| *f -= weights[t][k] * part);
            absent.push(part);
        }
        objective.gradients(&f, own_y, weight, &mut g, &mut h);
        let take = (p.subsample < 1.0).then(|| draw_rows(own.clone(), |_| p.subsample, seed));
        let mut group = vec![];
        let mut steps = vec![];
        for k in 0..sums {
            let one = |v: &[f32]| -> Vec<f32> { v.par_iter().skip(k).step_by(sums).copied().collect() };
            let (gk, hk) = if sums == 1 { (g.clone(), h.clone()) } else { (one(&g), one(&h)) };
            let anew;
            let data = match &fixed {
                Some(d) => d,
                None => {
                    anew = bin(&|row| f64::from(hk[row - own.start]))?;
                    &anew
                }
            };
            let grower = NewtonGrower { data, rules: rules.clone(), ledger: &run.node.ledger };
            let tree_seed = seed.wrapping_add(k as i64).wrapping_mul(0x5DEE_CE66D);
            let grown = grower.grow(run.job, &mut index, &mut room, (&gk, &hk), take.as_deref(), tree_seed)?;
            for (feature, gain, cover) in &grown.splits {
                tables[0][*feature] += gain;
                tables[1][*feature] += cover;
                tables[2][*feature] += 1.0;
            }
            let pieces: Vec<(u32, &[GradientRow])> = grown
                .leaves
                .iter()
                .flat_map(|leaf| index[leaf.start..leaf.end].chunks(ROWS).map(move |rows| (leaf.node as u32, rows)))
                .collect();
            mark_leaves(&pieces, &mut leaf_of);
            let mut step = vec![0f32; rows];
            step.par_iter_mut().zip(&leaf_of).enumerate().for_each(|(r, (s, leaf))| {
                let at = if *leaf == crate::tree::ensemble::OUTSIDE { grown.leaf_at(data, r) } else { *leaf as usize };
                *s = grown.tree.nodes[at].value;
            });
            steps.push(step);
            group.push(grown.tree);
        }
        // What the new trees count, and those that were left out for them.
        let n = dropped.len() as f32;
        let (new, old) = match p.normalize_type {
            _ if dropped.is_empty() => (1.0, 1.0),
            NormalizeType::Tree => (1.0 / (n + rules.eta), n / (n + rules.eta)),
            NormalizeType::Forest => (1.0 / (1.0 + rules.eta), 1.0 / (1.0 + rules.eta)),
        };
        for (&(t, k), part) in dropped.iter().zip(&absent) {
            let was = weights[t][k];
            weights[t][k] *= old;
            f.iter_mut().zip(part).for_each(|(f, part)| *f += weights[t][k] * part);
            if let (Some(v), Some(fv)) = (&run.valid, f_valid.as_mut()) {
                add_tree(&ensemble.trees[t][k], weights[t][k] - was, &v.data.sources, valid_first, (k, sums), fv)?;
            }
        }
        for (k, step) in steps.iter().enumerate() {
            f.par_chunks_mut(sums).zip(step).for_each(|(f, s)| f[k] += new * s);
            if let (Some(v), Some(fv)) = (&run.valid, f_valid.as_mut()) {
                add_tree(&group[k], new, &v.data.sources, valid_first, (k, sums), fv)?;
            }
        }
        weights.push(vec![new; sums]);
        held_trees.push(ensemble::hold_trees(&run.node.ledger, &group)?);
        ensemble.trees.push(group);
        let done = round + 1;
        run.job.set_progress(done as f64 / ntrees as f64);
        if done == ntrees || score_now(p, train.rows * sums, done, last_scored) {
            run.job.set_message(format!("Scored the model with {done} trees."));
            history.events.push(scores.event(&f, f_valid.as_deref(), done)?);
            last_scored = done;
            if history.stopped(p.common.stopping_rounds as usize, metric, p.common.stopping_tolerance) {
                break;
            }
        }
    }
    let n = ensemble.trees.len();
    if last_scored != n {
        history.events.push(scores.event(&f, f_valid.as_deref(), n)?);
    }
    scores.complete(&mut history, &f, f_valid.as_deref(), n)?;
    for (group, weights) in ensemble.trees.iter_mut().zip(&weights) {
        for (tree, w) in group.iter_mut().zip(weights).filter(|(_, w)| **w != 1.0) {
            tree.nodes.iter_mut().for_each(|n| n.value *= w);
        }
    }
    let last = history.events.last().expect("scored at least once");
    let (training, validation) = finished(last, p);
    let mut output = XgBoostOutput {
        variable_importances: Some(importances("Variable Importances", &names, &tables[0])),
        variable_importances_cover: Some(importances("Variable Importances - Cover", &names, &tables[1])),
        variable_importances_frequency: Some(importances("Variable Importances - Frequency", &names, &tables[2])),
        ..XgBoostOutput::default()
    };
    output.common.effective = effective(&run.params, train.category);
    let p = &run.params;
    let stopped = history.stopped(p.common.stopping_rounds as usize, metric, p.common.stopping_tolerance);
    output.common.effective.extend(ensemble::enough_trees(p.ntrees, n, stopped));
    output.common.model_summary = Some(Table::new("Model Summary", "").row_labels(vec!["".into()]).named(
        "number_of_trees",
        "number_of_trees",
        "long",
        "%d",
        vec![Cell::from(n)],
    ));
    let table = history.table(run.started_ms, "Number of Trees", history_columns(train.category));
    output.common.scoring_history = Some(match run.checkpoint.as_deref() {
        Some(m) => continued(table, &m.output["scoring_history"]),
        None => table,
    });
    ensemble.calibration = crate::calibration::fit(run.node, &p.common, p, train, &ensemble)?;
    Ok(Fitted { output, scorer: Scorer::Trees(ensemble), deviance: objective.deviance(), training, validation, order: None })
}

/// Trees (round and group) that are left out in a round of DART.
fn drop(p: &XgBoostParams, weights: &[Vec<f32>], seed: i64) -> Vec<(usize, usize)> {
    let mut rng = Rng::new(seed ^ 0x0DA2_7000);
    if p.skip_drop > 0.0 && rng.next_f32() < p.skip_drop {
        return vec![];
    }
    let all: Vec<(usize, usize)> = weights.iter().enumerate().flat_map(|(t, g)| (0..g.len()).map(move |k| (t, k))).collect();
    let sum: f32 = weights.iter().flatten().sum();
    let rate = |(t, k): (usize, usize)| match p.sample_type {
        SampleType::Uniform => p.rate_drop,
        // By weight, so that as many are dropped on average.
        SampleType::Weighted => p.rate_drop * weights[t][k] * all.len() as f32 / sum,
    };
    let mut out: Vec<(usize, usize)> = all.iter().copied().filter(|i| rng.next_f32() < rate(*i)).collect();
    if p.one_drop && out.is_empty() && !all.is_empty() {
        out.push(all[rng.below(all.len() as u32) as usize]);
    }
    out
}

/// What parameters that were left to the server stand for.
pub fn effective(params: &XgBoostParams, category: Category) -> Vec<(&'static str, Value)> {
    let platt = (params.calibration_method == CalibrationMethod::Auto).then_some(("calibration_method", "PlattScaling"));
    ensemble::effective(&params.common, category, platt.as_slice())
}
