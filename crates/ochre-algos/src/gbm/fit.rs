//! The boosting loop.

use super::loss::{Custom, Loss};
use super::{Gbm, GbmOutput, GbmParams};
use crate::tree::balance;
use crate::tree::ensemble::{
    HISTORY_BUDGET, OUTSIDE, ROWS, Walk, add_validation, bound_leaves, continued, effective_trees, enough_trees, gains_of, history_columns,
    hold_trees, importances, leaf_at, mark_leaves, monotone, rules, stopping_metric, summary, together,
};
use crate::tree::{Draw, Responses, Row, RowOrder, TreeData, TreeGrower, TreeRules};
use ochre_core::rng::draw_rows;
use ochre_core::{Result, Rng, time::now_ms};
use ochre_model::driver::{Answers, measure_shared};
use ochre_model::metrics::{Event, huber_distance};
use ochre_model::params::Distribution;
use ochre_model::{Category, Deviance, Fitted, Run, ScoringHistory};
use ochre_score::{Scorer, TreeEnsemble};
use rayon::prelude::*;

fn loss_of(params: &GbmParams, category: Category) -> Loss {
    match params.common.distribution {
        Distribution::Poisson => Loss::Poisson,
        Distribution::Gamma => Loss::Gamma,
        Distribution::Tweedie => Loss::Tweedie(params.common.tweedie_power),
        Distribution::Laplace => Loss::Laplace,
        Distribution::Quantile => Loss::Quantile(params.common.quantile_alpha),
        // How far the squares reach is found before each tree.
        Distribution::Huber => Loss::Huber(0.0),
        _ => match category {
            Category::Binomial if params.common.distribution != Distribution::Multinomial => Loss::Bernoulli,
            Category::Binomial | Category::Multinomial => Loss::Multinomial,
            _ => Loss::Gaussian,
        },
    }
}

/// Scores at the current number of trees: one row's sums after another.
struct State<'a> {
    ensemble: &'a TreeEnsemble,
    f: &'a [f64],
    sums: usize,
}

impl State<'_> {
    fn predictions(&self) -> Vec<f64> {
        let width = self.ensemble.width();
        let mut out = vec![0.0; self.f.len() / self.sums * width];
        out.par_chunks_mut(ROWS * width).zip(self.f.par_chunks(ROWS * self.sums)).for_each(|(out, f)| {
            for (o, f) in out.chunks_mut(width).zip(f.chunks(self.sums)) {
                self.ensemble.finish(f, o);
            }
        });
        out
    }
}

pub fn fit(run: &mut Run<'_, GbmParams>) -> Result<Fitted<GbmOutput>> {
    let correction = balance::weigh(&run.params.tree, &mut run.train);
    let (params, train) = (&run.params, &run.train);
    let category = train.category;
    let classes = train.classes();
    let custom = match &params.common.scripts.distribution {
        Some(script) if params.common.distribution == Distribution::Custom => Some(Custom::new(script, classes)?),
        _ => None,
    };
    let mut loss = custom.as_ref().map_or_else(|| loss_of(params, category), |c| c.loss);
    let sums = if loss.by_class() { classes } else { 1 };
    let data = TreeData::new(run.node, &train.columns)?;
    // This node's rows; `y`, weights and offsets are there for all.
    let own = data.team.rows(train.rows);
    let rows = own.len();
    let own_y = &train.y[own.clone()];
    let weight = |row: usize| train.weight(own.start + row);
    let valid_team = ochre_core::Team::for_rows(run.valid.as_ref().map_or(0, |v| v.data.rows));
    let valid_own = run.valid.as_ref().map_or(0..0, |v| valid_team.rows(v.data.rows));
    let _scratch = run.node.ledger.reserve("boosting scores and residuals", (rows * (sums * 12 + 40)) as u64)?;

    let mut init = match &custom {
        Some(c) => c.initial(&train.y, |i| train.weight(i), train.offset.as_deref())?,
        None => loss.initial(&train.y, |i| train.weight(i), train.offset.as_deref()),
    };
    let before = run.checkpoint.as_deref().and_then(|m| if let Scorer::Trees(t) = &m.scorer { Some((m, t)) } else { None });
    if let Some((_, trees)) = before {
        init = trees.init;
    }
    let mut ensemble = TreeEnsemble {
        link: loss.link(),
        init,
        classes: if classes > 1 { classes } else { 1 },
        trees: vec![],
        lengths: [0.0; 2],
        calibration: None,
        correction,
        single: false,
    };
    let start =
        |offset: Option<&[f64]>, n: usize| -> Vec<f64> { (0..n * sums).map(|i| init + offset.map_or(0.0, |o| o[i / sums])).collect() };
    let mut f = start(train.offset.as_ref().map(|o| &o[own.clone()]), rows);
    // Scores of validation rows, and how many trees they have.
    let mut f_valid = run.valid.as_ref().map(|v| (0, start(v.offset.as_ref().map(|o| &o[valid_own.clone()]), valid_own.len())));

    let width = data.columns.len();
    let t = &params.tree;
    let per_split = (params.col_sample_rate * t.col_sample_rate_per_tree * width as f64) as usize;
    let rules = TreeRules {
        monotone: monotone(&params.monotone_constraints, &train.names),
        together: together(&params.interaction_constraints, &train.names),
        ..rules(t, &train.columns, train.given_weights(), per_split)?
    };
    let grower = TreeGrower { data: &data, rules };
    let mut rng = Rng::new(t.seed);
    let per_class = t.sample_rate_per_class.as_deref().unwrap_or_default();
    let share = |r: usize| if per_class.is_empty() { params.sample_rate } else { per_class[train.y[r] as usize] };
    let samples = if per_class.is_empty() { params.sample_rate < 1.0 } else { per_class.iter().any(|r| *r < 1.0) };
    let mut gains = vec![0.0f64; width];
    let mut history = ScoringHistory::default();
    let metric = stopping_metric(&params.common, category);
    let score_every = t.score_tree_interval.max(0) as usize;
    let score_now = |n: usize, last: usize| {
        if params.common.score_each_iteration {
            return true;
        }
        if score_every > 0 {
            return n.is_multiple_of(score_every);
        }
        // No interval given: every tree while that is cheap, then ever less often. Depends on sizes alone, so that
        // early stopping gives the same model on any machine.
        n * train.rows * sums <= HISTORY_BUDGET || n >= 2 * last
    };
    let mut last_scored;
    let deviance = loss.deviance(params.common.huber_alpha);
    let score =
        |ensemble: &TreeEnsemble, f: &[f64], valid: &mut Option<(usize, Vec<f64>)>, n: usize, history: &mut ScoringHistory| -> Result<()> {
            let detail = params.common.detail();
            let valid = match run.valid.as_ref().zip(valid.as_mut()) {
                None => None,
                Some((v, (added, f))) => {
                    add_validation(&ensemble.trees, added, v, (valid_own.start, sums), f)?;
                    let mine = State { ensemble, f, sums }.predictions();
                    let (y, w, domain) = (&v.y, v.w.as_deref(), train.labels());
                    let answers = Answers { y, w, domain, deviance, detail: detail.clone() };
                    Some(measure_shared(&valid_team, category, mine, answers)?)
                }
            };
            let mine = State { ensemble, f, sums }.predictions();
            let (y, w, domain) = (&train.y, train.w.as_deref(), train.labels());
            let training = measure_shared(&data.team, category, mine, Answers { y, w, domain, deviance, detail })?;
            history.events.push(Event { at_ms: now_ms(), step: n, training, validation: valid });
            Ok(())
        };

    // Annealed from the second tree on, as the reference does it: the first one's rate is larger than the second's, which is
    // `learn_rate`.
    let rate_of = |tree: usize| params.learn_rate * params.learn_rate_annealing.powf(tree as f64 - 1.0);
    let ntrees = t.ntrees as usize;
    let weights = train.w.as_ref().map(|w| &w[own.clone()]);
    // Residuals of every class, before any of this iteration's trees is added.
    let mut z = vec![0f32; rows * sums];
    let mut order = RowOrder::default();
    let mut leaf_of = vec![OUTSIDE; rows];
    let mut begun = resume(run, &mut ensemble, &mut gains, &mut history)?;
    if let (Some((model, trees)), 0) = (before, begun) {
        ensemble.trees.clone_from(&trees.trees);
        gains = gains_of(model, &train.names);
        begun = ensemble.trees.len();
        // Kept for an attempt that may have to go on without a node that is here now.
        progress(run, |p| {
            p.trees.clone_from(&ensemble.trees);
            p.gains = vec![gains.clone(); begun];
        });
    }
    for group in &ensemble.trees {
        // What the trees of an earlier attempt add to the scores, in the order and the precision of training.
        for (k, tree) in group.iter().enumerate().filter(|(_, t)| !t.nodes.is_empty()) {
            let walk = Walk::new(tree, &data);
            f.par_chunks_mut(ROWS * sums).enumerate().for_each(|(c, f)| {
                let rows: Vec<usize> = (c * ROWS..c * ROWS + f.len() / sums).collect();
                walk.values(&rows, |i, v| f[i * sums + k] = f64::from((f[i * sums + k] + f64::from(v)) as f32));
            });
        }
        rng.next_i64();
    }
    if begun == 0 {
        history.events.clear();
        score(&ensemble, &f, &mut f_valid, 0, &mut history)?;
        note_events(run, &history);
    }
    last_scored = history.events.last().map_or(begun, |e| e.step);
    let mut held_trees = vec![];
    for iteration in begun..ntrees {
        run.job.check()?;
        if iteration > 0 && run.out_of_time()? {
            run.job.warn(format!("max_runtime_secs ended training after {iteration} of {ntrees} trees"));
            break;
        }
        if let Loss::Huber(delta) = &mut loss {
            let distance = |r: usize| ((own_y[r] - f[r]).abs(), weight(r));
            *delta = huber_distance(params.common.huber_alpha, &data.team, (0..rows).map(distance))?;
        }
        match &custom {
            Some(c) => z = c.gradients(own_y, &f, sums)?,
            None => residuals(loss, own_y, &f, sums, &mut z),
        }
        let tree_seed = rng.next_i64();
        let take = samples.then(|| draw_rows(own.clone(), share, tree_seed));
        let mut group = vec![];
        for k in 0..sums {
            if loss.by_class() && !train.y.iter().enumerate().any(|(i, y)| *y == k as f64 && train.weight(i) > 0.0) {
                group.push(ochre_score::Tree::default());
                continue;
            }
            let zk: Vec<f32>;
            let zk = if sums == 1 {
                &z[..]
            } else {
                zk = z.par_iter().skip(k).step_by(sums).copied().collect();
                &zk
            };
            let draw = Draw { take: take.as_deref(), seed: tree_seed, shuffle: None };
            let mut grown = grower.grow(run.job, &mut order, Responses::rounded(zk), weights, draw)?;
            for (g, add) in gains.iter_mut().zip(&grown.gains) {
                // Improvements are single precision in the reference.
                *g += f64::from(*add as f32);
            }
            let pieces: Vec<(u32, &[Row])> = grown
                .leaves
                .iter()
                .enumerate()
                .flat_map(|(l, leaf)| order.rows[leaf.start..leaf.end].chunks(ROWS).map(move |rows| (l as u32, rows)))
                .collect();
            mark_leaves(&pieces, &mut leaf_of);
            if samples && loss.by_rank() {
                // Medians and the like are of all rows of a leaf, drawn or not, as in the reference.
                let mut number = vec![OUTSIDE; grown.tree.nodes.len()];
                grown.leaves.iter().enumerate().for_each(|(l, leaf)| number[leaf.node] = l as u32);
                let outside = leaf_of.par_iter_mut().enumerate().filter(|(r, l)| **l == OUTSIDE && weight(*r) > 0.0);
                outside.for_each(|(r, l)| *l = number[leaf_at(&grown.tree, &data, r)]);
            }
            // Leaf sums run over the rows in order, chunk by chunk: they do not depend on threads.
            let n = grown.leaves.len();
            let terms = match &custom {
                Some(c) => {
                    let weights = (0..rows).map(weight).collect();
                    c.leaf_terms(weights, own_y, zk, f.iter().skip(k).step_by(sums).copied().collect())?
                }
                None => vec![],
            };
            let parts: Vec<Vec<(f64, f64)>> = leaf_of
                .par_chunks(ROWS)
                .enumerate()
                .map(|(c, leaf_of)| {
                    let mut sums_of = vec![(0.0, 0.0); n];
                    for (i, &l) in leaf_of.iter().enumerate().filter(|(_, l)| **l != OUTSIDE) {
                        let r = c * ROWS + i;
                        let (num, den) = match terms.get(2 * r) {
                            Some(num) => (*num, terms[2 * r + 1]),
                            None => loss.leaf_terms(weight(r), own_y[r], f64::from(zk[r]), f[r * sums + k]),
                        };
                        let slot = &mut sums_of[l as usize];
                        slot.0 += num;
                        slot.1 += den;
                    }
                    sums_of
                })
                .collect();
            let parts = data.team.gather(parts)?.concat();
            let ranked = if loss.by_rank() { ranked_leaves(loss, &data.team, n, &leaf_of, own_y, &f, weights)? } else { vec![] };
            let mut values = vec![0f32; n];
            let bandwidth = params.pred_noise_bandwidth;
            let mut noise = (bandwidth > 0.0).then(|| Rng::new(tree_seed.wrapping_add(1 + k as i64)));
            for (l, leaf) in grown.leaves.iter().enumerate() {
                let (num, den) = parts.iter().fold((0.0, 0.0), |s, p| (s.0 + p[l].0, s.1 + p[l].1));
                let mut g = rate_of(iteration) * ranked.get(l).copied().unwrap_or_else(|| loss.leaf(num, den, classes));
                if let Some(noise) = &mut noise {
                    g *= 1.0 + bandwidth * noise.next_normal();
                }
                if loss.by_class() || g.is_infinite() {
                    g = g.clamp(-1e4, 1e4);
                }
                let limit = params.max_abs_leafnode_pred;
                // A tree that is nothing but its root adds nothing, as in the reference.
                values[l] = if g.is_nan() || n == 1 { 0.0 } else { g.clamp(-limit, limit) as f32 };
                grown.tree.nodes[leaf.node].value = values[l];
            }
            if !grower.rules.monotone.is_empty() {
                bound_leaves(&mut grown.tree, &grower.rules.monotone);
                grown.leaves.iter().zip(&mut values).for_each(|(leaf, v)| *v = grown.tree.nodes[leaf.node].value);
            }
            let walk = Walk::new(&grown.tree, &data);
            f.par_chunks_mut(ROWS * sums).zip(leaf_of.par_chunks(ROWS)).enumerate().for_each(|(c, (f, leaf_of))| {
                // Scores in training are kept in single precision, as the reference keeps them; nobody asks for those of rows
                // without weight, such as a fold's.
                let mut add = |i: usize, v: f32| f[i * sums + k] = f64::from((f[i * sums + k] + f64::from(v)) as f32);
                let mut outside = vec![];
                for (i, &l) in leaf_of.iter().enumerate() {
                    if l != OUTSIDE {
                        add(i, values[l as usize])
                    } else if weight(c * ROWS + i) > 0.0 {
                        outside.push(c * ROWS + i)
                    }
                }
                walk.values(&outside, |i, v| add(outside[i] - c * ROWS, v));
            });
            group.push(grown.tree);
        }
        let stalled = group.iter().all(|t| t.nodes.len() <= 1 && t.nodes.first().is_none_or(|n| n.value == 0.0));
        held_trees.push(hold_trees(&run.node.ledger, &group)?);
        ensemble.trees.push(group);
        let n = iteration + 1;
        remember(run, &ensemble, &gains);
        run.job.set_progress(n as f64 / ntrees as f64);
        let deterministic = params.sample_rate >= 1.0 && params.col_sample_rate >= 1.0 && t.col_sample_rate_per_tree >= 1.0;
        let done = n == ntrees || (stalled && deterministic) || rate_of(n) < 1e-6;
        if done || score_now(n, last_scored) {
            run.job.set_message(format!("Scored the model with {n} trees."));
            score(&ensemble, &f, &mut f_valid, n, &mut history)?;
            note_events(run, &history);
            last_scored = n;
            let rounds = params.common.stopping_rounds as usize;
            if history.stopped(rounds, metric, params.common.stopping_tolerance) {
                // The model of a fold keeps the trees up to its best score of late: their number is what the folds tell.
                if run.of_fold {
                    let best = history.best_of_last(rounds, metric);
                    ensemble.trees.truncate(history.events[best].step);
                }
                last_scored = ensemble.trees.len();
                break;
            }
        }
        if done {
            break;
        }
        let checkpoints = t.in_training_checkpoints_dir.as_deref().filter(|d| !d.is_empty());
        if let Some(dir) = checkpoints.filter(|_| n.is_multiple_of(t.in_training_checkpoints_tree_interval as usize)) {
            run.save_part_way::<Gbm>(dir, n, finished(run, ensemble.clone(), &gains, &history, deviance))?;
        }
    }
    let n = ensemble.trees.len();
    if last_scored != n || history.events.is_empty() {
        score(&ensemble, &f, &mut f_valid, n, &mut history)?;
    }
    ensemble.calibration = crate::calibration::fit(run.node, &params.common, &params.tree, train, &ensemble)?;
    Ok(finished(run, ensemble, &gains, &history, deviance))
}

/// What is known of a model with these trees.
fn finished(
    run: &Run<'_, GbmParams>,
    ensemble: TreeEnsemble,
    gains: &[f64],
    history: &ScoringHistory,
    deviance: Deviance,
) -> Fitted<GbmOutput> {
    let train = &run.train;
    let last = history.events.last().expect("scored at least once");
    let (training, validation) = (last.training.clone(), last.validation.clone());
    let mut output =
        GbmOutput { init_f: ensemble.init, variable_importances: Some(importances(&train.names, gains)), ..GbmOutput::default() };
    let distribution = match train.category {
        Category::Binomial => "bernoulli",
        Category::Multinomial => "multinomial",
        _ => "gaussian",
    };
    output.common.effective = effective_trees(&run.params.common, &run.params.tree, train.category, distribution);
    let common = &run.params.common;
    let metric = stopping_metric(common, train.category);
    let stopped = history.stopped(common.stopping_rounds as usize, metric, common.stopping_tolerance);
    let stalled = ensemble.trees.last().is_some_and(|group| group.iter().all(|t| t.nodes.len() <= 1));
    output.common.effective.extend(enough_trees(run.params.tree.ntrees, ensemble.trees.len(), stopped || stalled));
    output.common.model_summary = Some(summary(&ensemble));
    let table = history.table(run.started_ms, "Number of Trees", history_columns(train.category));
    output.common.scoring_history = Some(match run.checkpoint.as_deref() {
        Some(m) => continued(table, &m.output["scoring_history"]),
        None => table,
    });
    Fitted { output, scorer: Scorer::Trees(ensemble), deviance, training, validation, order: None }
}

/// Trees done, and what belongs to them: kept with the job, so that an attempt that lost a node goes on where it was.
#[derive(Default)]
struct Progress {
    trees: Vec<Vec<ochre_score::Tree>>,
    /// Gains of each column after each iteration.
    gains: Vec<Vec<f64>>,
    events: Vec<Event>,
}

fn progress<T>(run: &Run<'_, GbmParams>, f: impl FnOnce(&mut Progress) -> T) -> Option<T> {
    ochre_core::current_task()?;
    let mut slot = run.job.checkpoint().lock();
    slot.get_or_insert_with(|| Box::new(Progress::default())).downcast_mut::<Progress>().map(f)
}

fn remember(run: &Run<'_, GbmParams>, ensemble: &TreeEnsemble, gains: &[f64]) {
    progress(run, |p| {
        p.trees.push(ensemble.trees.last().cloned().unwrap_or_default());
        p.gains.push(gains.to_vec());
    });
}

fn note_events(run: &Run<'_, GbmParams>, history: &ScoringHistory) {
    progress(run, |p| p.events.clone_from(&history.events));
}

/// Takes up the iterations that every remaining node has done; answers how many those are.
fn resume(run: &Run<'_, GbmParams>, ensemble: &mut TreeEnsemble, gains: &mut Vec<f64>, history: &mut ScoringHistory) -> Result<usize> {
    let Some(have) = progress(run, |p| p.trees.len()) else { return Ok(0) };
    let common = ochre_core::Team::everybody().gather(have)?.into_iter().min().unwrap_or(0);
    progress(run, |p| {
        p.trees.truncate(common);
        p.gains.truncate(common);
        p.events.retain(|e| e.step <= common);
        ensemble.trees.clone_from(&p.trees);
        if let Some(g) = p.gains.last() {
            gains.clone_from(g);
        }
        history.events.clone_from(&p.events);
    });
    Ok(common)
}

/// Leaves that are order statistics of their rows: all nodes bring theirs, in the order of the rows.
fn ranked_leaves(
    loss: Loss,
    team: &ochre_core::Team,
    leaves: usize,
    leaf_of: &[u32],
    y: &[f64],
    f: &[f64],
    weights: Option<&[f64]>,
) -> Result<Vec<f64>> {
    let weight = |r: usize| weights.map_or(1.0, |w| w[r]);
    let inside = |r: &usize| leaf_of[*r] != OUTSIDE && weight(*r) > 0.0;
    let mine: Vec<(u32, f64, f64)> = (0..y.len()).filter(inside).map(|r| (leaf_of[r], y[r] - f[r], weight(r))).collect();
    let mut lists: Vec<Vec<(f64, f64)>> = vec![vec![]; leaves];
    for (leaf, d, w) in team.gather(mine)?.into_iter().flatten() {
        lists[leaf as usize].push((d, w));
    }
    Ok(lists
        .par_iter_mut()
        .map(|l| {
            l.sort_by(|a, b| a.0.total_cmp(&b.0));
            loss.leaf_of_sorted(l)
        })
        .collect())
}

fn residuals(loss: Loss, y: &[f64], f: &[f64], sums: usize, z: &mut [f32]) {
    z.par_chunks_mut(ROWS * sums).zip(f.par_chunks(ROWS * sums)).zip(y.par_chunks(ROWS)).for_each(|((z, f), y)| {
        if loss == Loss::Multinomial {
            for ((z, f), y) in z.chunks_mut(sums).zip(f.chunks(sums)).zip(y) {
                let top = f.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let total: f64 = f.iter().map(|v| (v - top).exp()).sum();
                for (k, (z, f)) in z.iter_mut().zip(f).enumerate() {
                    let p = f64::from(((f - top).exp() / total) as f32);
                    *z = (f64::from(*y == k as f64) - p) as f32;
                }
            }
        } else {
            for ((z, f), y) in z.iter_mut().zip(f).zip(y) {
                *z = loss.residual(*y, *f) as f32;
            }
        }
    });
}
