//! Growing the forest.

use super::{DrfOutput, DrfParams};
use crate::tree::balance;
use crate::tree::ensemble::{
    HISTORY_BUDGET, ROWS, Walk, add_validation, continued, effective_trees, enough_trees, gains_of, history_columns, hold_trees,
    importances, rules, stopping_metric, summary,
};
use crate::tree::{Draw, ROW_ORDER_MAX, Responses, RowOrder, TreeData, TreeGrower, TreeRules};
use ochre_core::rng::draw_rows;
use ochre_core::{Result, Rng, time::now_ms};
use ochre_model::driver::{Answers, measure_shared};
use ochre_model::metrics::Event;
use ochre_model::{Category, Deviance, Fitted, Metrics, Run, ScoringHistory};
use ochre_score::{Scorer, TreeEnsemble, TreeLink};
use rayon::prelude::*;

/// Predictions of rows whose trees add up to `f`, `counts` trees each; a row without trees has none.
fn averages(ensemble: &TreeEnsemble, f: &[f64], counts: &[f64], sums: usize) -> Vec<f64> {
    let width = ensemble.width();
    let mut out = vec![f64::NAN; counts.len() * width];
    out.par_chunks_mut(ROWS * width).zip(f.par_chunks(ROWS * sums)).zip(counts.par_chunks(ROWS)).for_each(|((out, f), counts)| {
        for ((o, f), n) in out.chunks_mut(width).zip(f.chunks(sums)).zip(counts).filter(|(_, n)| **n > 0.0) {
            ensemble.average(f, *n, o);
        }
    });
    out
}

pub fn fit(run: &mut Run<'_, DrfParams>) -> Result<Fitted<DrfOutput>> {
    let correction = balance::weigh(&run.params.tree, &mut run.train);
    let (params, train) = (&run.params, &run.train);
    let category = train.category;
    let classes = train.classes();
    let double = category == Category::Binomial && params.binomial_double_trees;
    let link = match category {
        Category::Binomial if !double => TreeLink::FirstShare,
        Category::Binomial | Category::Multinomial => TreeLink::Shares,
        _ => TreeLink::Mean,
    };
    let sums = if link == TreeLink::Shares { classes } else { 1 };
    let data = TreeData::new(run.node, &train.columns)?;
    // This node's rows; response and weights are there for all.
    let own = data.team.rows(train.rows);
    let rows = own.len();
    let own_y = &train.y[own.clone()];
    let weights = train.w.as_ref().map(|w| &w[own.clone()]);
    let valid_team = ochre_core::Team::for_rows(run.valid.as_ref().map_or(0, |v| v.data.rows));
    let valid_own = run.valid.as_ref().map_or(0..0, |v| valid_team.rows(v.data.rows));
    let _scratch = run.node.ledger.reserve("sums of trees and responses", (rows * (sums * 12 + 40)) as u64)?;
    let mut ensemble = TreeEnsemble {
        link,
        init: 0.0,
        classes: if classes > 1 { classes } else { 1 },
        trees: vec![],
        lengths: [0.0; 2],
        calibration: None,
        correction,
        single: false,
    };

    let width = data.columns.len();
    let t = &params.tree;
    let tries = match params.mtries {
        -2 => width,
        n if n > 0 => n as usize,
        _ if category == Category::Regression => width / 3,
        _ => (width as f64).sqrt() as usize,
    };
    // As the reference's forests have it; where its threads decide about more than that, nobody can follow it anyway.
    let rules = TreeRules { single_edges: train.rows <= ROW_ORDER_MAX, ..rules(t, &train.columns, train.given_weights(), tries)? };
    let grower = TreeGrower { data: &data, rules };
    let mut rng = Rng::new(t.seed);
    let per_class = t.sample_rate_per_class.as_deref().unwrap_or_default();
    let rate = |r: usize| if per_class.is_empty() { params.sample_rate } else { per_class[train.y[r] as usize] };
    let samples = if per_class.is_empty() { params.sample_rate < 1.0 } else { per_class.iter().any(|r| *r < 1.0) };
    let mut gains = vec![0.0f64; width];
    let mut history = ScoringHistory::default();
    let metric = stopping_metric(&params.common, category);
    let domain = train.labels();
    // Sums and numbers of the trees that did not see a row.
    let mut out_of_bag = vec![0.0; rows * sums];
    let mut unseen = vec![0.0; rows];
    // Scores of validation rows, and how many trees they have.
    let mut f_valid = (0, vec![0.0; valid_own.len() * sums]);
    let bins = params.common.detail();
    let score =
        |ensemble: &TreeEnsemble, f: &[f64], unseen: &[f64], f_valid: &mut (usize, Vec<f64>), history: &mut ScoringHistory| -> Result<()> {
            let validation = match &run.valid {
                None => None,
                Some(v) => {
                    let counts = vec![ensemble.trees.len() as f64; valid_own.len()];
                    let (added, f) = &mut *f_valid;
                    add_validation(&ensemble.trees, added, v, (valid_own.start, sums), f)?;
                    let mine = averages(ensemble, f, &counts, sums);
                    let (y, w, detail) = (&v.y, v.w.as_deref(), bins.clone());
                    Some(measure_shared(&valid_team, category, mine, Answers { y, w, domain, deviance: Deviance::Gaussian, detail })?)
                }
            };
            // Rows that every tree saw have no prediction, and are passed over.
            let mine = averages(ensemble, f, unseen, sums);
            let (y, w, detail) = (&train.y, train.w.as_deref(), bins.clone());
            let training = measure_shared(&data.team, category, mine, Answers { y, w, domain, deviance: Deviance::Gaussian, detail })?;
            history.events.push(Event { at_ms: now_ms(), step: ensemble.trees.len(), training, validation });
            Ok(())
        };
    let ntrees = t.ntrees as usize;
    let score_every = t.score_tree_interval.max(0) as usize;
    let add_unseen = |group: &[ochre_score::Tree], take: &[bool], out_of_bag: &mut [f64], unseen: &mut [f64]| {
        let walks: Vec<(usize, Walk<'_>)> =
            group.iter().enumerate().filter(|(_, t)| !t.nodes.is_empty()).map(|(k, t)| (k, Walk::new(t, &data))).collect();
        out_of_bag.par_chunks_mut(ROWS * sums).zip(take.par_chunks(ROWS)).enumerate().for_each(|(c, (f, take))| {
            let rows: Vec<usize> = (0..take.len()).filter(|i| !take[*i]).map(|i| c * ROWS + i).collect();
            for (k, walk) in &walks {
                // Kept in single precision, as the reference keeps them.
                walk.values(&rows, |i, v| {
                    let slot = &mut f[(rows[i] - c * ROWS) * sums + k];
                    *slot = f64::from((*slot + f64::from(v)) as f32);
                });
            }
        });
        unseen.iter_mut().zip(take).filter(|(_, t)| !**t).for_each(|(n, _)| *n += 1.0);
    };
    if let Some(model) = run.checkpoint.as_deref()
        && let Scorer::Trees(trees) = &model.scorer
    {
        // The rows that the earlier trees did not see are drawn again, so that metrics stay those of a run in one go.
        gains = gains_of(model, &train.names);
        let seed = model.parameters.iter().find(|p| p["name"] == "seed").and_then(|p| p["actual_value"].as_i64());
        let mut earlier = Rng::new(seed.unwrap_or(t.seed));
        for group in &trees.trees {
            let tree_seed = earlier.next_i64();
            rng.next_i64();
            if samples {
                add_unseen(group, &draw_rows(own.clone(), rate, tree_seed), &mut out_of_bag, &mut unseen);
            }
        }
        ensemble.trees.clone_from(&trees.trees);
    } else {
        score(&ensemble, &out_of_bag, &unseen, &mut f_valid, &mut history)?;
    }
    let begun = ensemble.trees.len();
    let mut last_scored = begun;
    let mut order = RowOrder::default();
    let mut held_trees = vec![];
    for iteration in begun..ntrees {
        run.job.check()?;
        if iteration > 0 && run.out_of_time()? {
            run.job.warn(format!("max_runtime_secs ended training after {iteration} of {ntrees} trees"));
            break;
        }
        let tree_seed = rng.next_i64();
        let take = samples.then(|| draw_rows(own.clone(), rate, tree_seed));
        let mut group = vec![];
        for k in 0..sums {
            let present = |i: usize| train.y[i] == k as f64 && train.weight(i) > 0.0;
            if link == TreeLink::Shares && !(0..train.rows).any(present) {
                group.push(ochre_score::Tree::default());
                continue;
            }
            let z: Vec<f32> = match category {
                Category::Regression => own_y.par_iter().map(|y| *y as f32).collect(),
                _ => own_y.par_iter().map(|y| f32::from(*y == k as f64)).collect(),
            };
            let draw = Draw { take: take.as_deref(), seed: tree_seed, shuffle: None };
            let grown = grower.grow(run.job, &mut order, Responses::rounded(&z), weights, draw)?;
            for (g, add) in gains.iter_mut().zip(&grown.gains) {
                // Improvements are single precision in the reference.
                *g += f64::from(*add as f32);
            }
            group.push(grown.tree);
        }
        if let Some(take) = &take {
            add_unseen(&group, take, &mut out_of_bag, &mut unseen);
        }
        held_trees.push(hold_trees(&run.node.ledger, &group)?);
        ensemble.trees.push(group);
        let n = iteration + 1;
        run.job.set_progress(n as f64 / ntrees as f64);
        let due = if params.common.score_each_iteration {
            true
        } else if score_every > 0 {
            n.is_multiple_of(score_every)
        } else {
            // Every tree while that is cheap, then ever less often; depends on sizes alone.
            n * train.rows * sums <= HISTORY_BUDGET || n >= 2 * last_scored
        };
        if n == ntrees || due {
            run.job.set_message(format!("Scored the model with {n} trees."));
            score(&ensemble, &out_of_bag, &unseen, &mut f_valid, &mut history)?;
            last_scored = n;
            let rounds = params.common.stopping_rounds as usize;
            if history.stopped(rounds, metric, params.common.stopping_tolerance) {
                // As in boosting; the reference goes back to one score before the best here.
                let best = history.best_of_last(rounds, metric);
                if run.of_fold && best + 1 < history.events.len() {
                    ensemble.trees.truncate(history.events[best.saturating_sub(1)].step.max(1));
                }
                last_scored = ensemble.trees.len();
                break;
            }
        }
    }
    if last_scored != ensemble.trees.len() || history.events.is_empty() {
        score(&ensemble, &out_of_bag, &unseen, &mut f_valid, &mut history)?;
    }
    let last = history.events.last().expect("scored at least once");
    let (training, validation): (Metrics, _) = (last.training.clone(), last.validation.clone());
    let training = Metrics { description: Some("Metrics reported on Out-Of-Bag training samples".into()), ..training };
    let mut output = DrfOutput { variable_importances: Some(importances(&train.names, &gains)), ..DrfOutput::default() };
    let distribution = if category == Category::Regression { "gaussian" } else { "multinomial" };
    output.common.effective = effective_trees(&params.common, t, category, distribution);
    let stopped = history.stopped(params.common.stopping_rounds as usize, metric, params.common.stopping_tolerance);
    output.common.effective.extend(enough_trees(t.ntrees, ensemble.trees.len(), stopped));
    output.common.model_summary = Some(summary(&ensemble));
    let table = history.table(run.started_ms, "Number of Trees", history_columns(category));
    output.common.scoring_history = Some(match run.checkpoint.as_deref() {
        Some(m) => continued(table, &m.output["scoring_history"]),
        None => table,
    });
    ensemble.calibration = crate::calibration::fit(run.node, &params.common, &params.tree, train, &ensemble)?;
    Ok(Fitted { output, scorer: Scorer::Trees(ensemble), deviance: Deviance::Gaussian, training, validation, order: None })
}
