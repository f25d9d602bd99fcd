//! Growing the forest.

use super::{IsolationForestOutput, IsolationForestParams};
use crate::tree::ensemble::{HISTORY_BUDGET, ROWS, Walk, effective, hold_trees, rules, summary};
use crate::tree::{Draw, Responses, RowOrder, TreeData, TreeGrower};
use ochre_core::rng::draw_rows;
use ochre_core::{CHUNK_ROWS, Error, Result, Rng, Team, time};
use ochre_model::driver::measure;
use ochre_model::metrics::{Detail, anomaly, has_stopped};
use ochre_model::{Category, Deviance, Fitted, Run, adapt};
use ochre_schema::{Cell, Table};
use ochre_score::{Scorer, Split, Tree, TreeEnsemble, TreeLink};
use rayon::prelude::*;

/// What the splits of a column add up to.
#[derive(Clone, Default)]
struct Splits {
    count: i64,
    /// How uneven they are: the difference of the sides as a share of the rows.
    ratios: f64,
    depths: i64,
}

pub fn fit(run: &mut Run<'_, IsolationForestParams>) -> Result<Fitted<IsolationForestOutput>> {
    let (params, train) = (&run.params, &run.train);
    let t = &params.tree;
    let width = train.columns.len();
    let rate = if params.sample_rate > 0.0 { params.sample_rate } else { params.sample_size as f64 / train.rows as f64 };
    let tries = match params.mtries {
        -2 => width,
        n if n > 0 => n as usize,
        _ => width / 3,
    };
    let data = TreeData::new(run.node, &train.columns)?;
    let grower = TreeGrower { data: &data, rules: rules(t, &train.columns, None, tries)? };
    let own = data.team.rows(train.rows);
    let _room = run.node.ledger.reserve("answers and path lengths of rows", (own.len() * 48) as u64)?;
    let mut ensemble = TreeEnsemble {
        link: TreeLink::PathLength,
        init: 0.0,
        classes: 1,
        trees: vec![],
        lengths: [0.0; 2],
        calibration: None,
        correction: vec![],
        single: false,
    };
    let mut rng = Rng::new(t.seed);
    let mut splits = vec![Splits::default(); width];
    // Sums over all trees, and over those that did not see the row, with their number.
    let mut total = vec![0.0; own.len()];
    let mut unseen = vec![(0.0, 0.0f64); own.len()];
    let mut history: Vec<(i64, usize, f64, f64)> = vec![(time::now_ms(), 0, f64::NAN, f64::NAN)];
    let ntrees = t.ntrees as usize;
    let mut last_scored = 0;
    let mut order = RowOrder::default();
    let mut random = vec![0.0; own.len()];
    let mut held_trees = vec![];
    for iteration in 0..ntrees {
        run.job.check()?;
        if iteration > 0 && run.out_of_time()? {
            run.job.warn(format!("max_runtime_secs ended training after {iteration} of {ntrees} trees"));
            break;
        }
        let tree_seed = rng.next_i64();
        random_answers(t.seed, iteration, own.start, &mut random);
        let z: Vec<f32> = random.par_iter().map(|y| *y as f32).collect();
        let take = (rate < 1.0).then(|| draw_rows(own.clone(), |_| rate, tree_seed));
        let draw = Draw { take: take.as_deref(), seed: tree_seed, shuffle: Some(&mut rng) };
        let mut tree = grower.grow(run.job, &mut order, Responses { z: &z, exact: Some(&random) }, None, draw)?.tree;
        note_depths(&mut tree, &mut splits);
        add_lengths(&tree, &data, take.as_deref(), &mut total, &mut unseen);
        held_trees.push(hold_trees(&run.node.ledger, std::slice::from_ref(&tree))?);
        ensemble.trees.push(vec![tree]);
        let n = iteration + 1;
        run.job.set_progress(n as f64 / ntrees as f64);
        let due = if params.common.score_each_iteration {
            true
        } else if t.score_tree_interval > 0 {
            n.is_multiple_of(t.score_tree_interval as usize)
        } else {
            n * train.rows <= HISTORY_BUDGET || n >= 2 * last_scored
        };
        if !(due || n == ntrees) {
            continue;
        }
        last_scored = n;
        ensemble.lengths = extremes(&data.team, &total)?;
        let (length, score, _) = measured(&data.team, &ensemble, &unseen)?;
        history.push((time::now_ms(), n, length, score));
        let scores: Vec<f64> = history[1..].iter().map(|h| h.3).collect();
        let lengths: Vec<f64> = history[1..].iter().map(|h| h.2).collect();
        let watched = if params.common.stopping_metric.name() == "anomaly_score" || params.common.stopping_metric.name() == "AUTO" {
            &lengths
        } else {
            &scores
        };
        if has_stopped(watched, params.common.stopping_rounds as usize, "anomaly_score", params.common.stopping_tolerance) {
            break;
        }
    }
    ensemble.lengths = extremes(&data.team, &total)?;
    if last_scored != ensemble.trees.len() {
        let (length, score, _) = measured(&data.team, &ensemble, &unseen)?;
        history.push((time::now_ms(), ensemble.trees.len(), length, score));
    }
    if rate >= 1.0 {
        // Every tree saw every row: their own lengths are measured, then.
        let n = ensemble.trees.len() as f64;
        unseen = total.iter().map(|l| (*l, n)).collect();
    }
    let (length, score, rows) = measured(&data.team, &ensemble, &unseen)?;
    let mut training = anomaly(length, score, rows);
    if rate < 1.0 {
        training.description = Some("Metrics reported on Out-Of-Bag training samples".into());
    }
    if params.contamination > 0.0 {
        training.set_anomaly_threshold(cut_off(&data.team, &ensemble, &total, params.contamination)?);
    }
    let scorer = Scorer::Trees(ensemble);
    let validation = match &run.valid {
        None => None,
        Some(v) => {
            let p = adapt::score(&scorer, &v.data, None)?;
            Some(match answers(run, &v.key)? {
                None => measure(train.category, &p, &[], None, &[], Deviance::Gaussian, Detail::default())?,
                Some((y, domain)) => {
                    let shares: Vec<f64> = p.chunks(2).flat_map(|p| [1.0 - p[0], p[0]]).collect();
                    measure(Category::Binomial, &shares, &y, None, &domain, Deviance::Gaussian, Detail::default())?
                }
            })
        }
    };
    let Scorer::Trees(ensemble) = &scorer else { unreachable!("made above") };
    let mut output =
        IsolationForestOutput { variable_splits: Some(split_table(&train.names, &splits)), ..IsolationForestOutput::default() };
    output.common.effective = effective(&params.common, train.category, &[]);
    output.common.effective.push(("sample_rate", rate.into()));
    output.common.model_summary = Some(summary(ensemble));
    output.common.scoring_history = Some(history_table(&history, run.started_ms));
    Ok(Fitted { output, scorer, deviance: Deviance::Gaussian, training, validation, order: None })
}

/// The random answers that a tree splits: each row's depends on the seed and its place alone.
fn random_answers(seed: i64, tree: usize, first: usize, answers: &mut [f64]) {
    answers.par_chunks_mut(CHUNK_ROWS).enumerate().for_each(|(c, answers)| {
        let start = first + c * CHUNK_ROWS;
        let of_chunk = seed.wrapping_add((start * (1 + tree)) as i64);
        let mut rng = Rng::new(0);
        for (i, y) in answers.iter_mut().enumerate() {
            rng.set_seed(of_chunk.wrapping_add(i as i64));
            *y = rng.next_f64();
        }
    });
}

/// Gives leaves their path lengths: the splits above the one that they hang from. Notes what columns split.
fn note_depths(tree: &mut Tree, splits: &mut [Splits]) {
    let mut depths = vec![0i64; tree.nodes.len()];
    for i in 0..tree.nodes.len() {
        let node = &tree.nodes[i];
        if node.split == Split::Leaf {
            tree.nodes[i].value = (depths[i] - 1).max(0) as f32;
            continue;
        }
        let (l, r) = (node.left as usize, node.right as usize);
        (depths[l], depths[r]) = (depths[i] + 1, depths[i] + 1);
        let (left, right) = (tree.nodes[l].weight, tree.nodes[r].weight);
        let s = &mut splits[node.column as usize];
        s.count += 1;
        s.ratios += (left - right).abs() / (left + right);
        s.depths += depths[l];
    }
}

/// Adds the path lengths of a tree to the rows'.
fn add_lengths(tree: &Tree, data: &TreeData, take: Option<&[bool]>, total: &mut [f64], unseen: &mut [(f64, f64)]) {
    let walk = Walk::new(tree, data);
    total.par_chunks_mut(ROWS).zip(unseen.par_chunks_mut(ROWS)).enumerate().for_each(|(c, (total, unseen))| {
        let rows: Vec<usize> = (c * ROWS..c * ROWS + total.len()).collect();
        walk.values(&rows, |i, length| {
            let length = f64::from(length);
            total[i] += length;
            if take.is_some_and(|take| !take[rows[i]]) {
                unseen[i] = (unseen[i].0 + length, unseen[i].1 + 1.0);
            }
        });
    });
}

/// Which rows of the validation frame are anomalies, when the user names a column that tells.
fn answers(run: &Run<'_, IsolationForestParams>, key: &str) -> Result<Option<(Vec<f64>, Vec<String>)>> {
    let Some(name) = run.params.validation_response_column.as_ref().filter(|n| !n.is_empty()) else { return Ok(None) };
    let frame = run.node.store.frame(key)?;
    let column = frame.by_name(name);
    let refuse = |why: &str| Error::invalid(format!("validation_response_column '{name}' {why}"));
    let column = column.ok_or_else(|| refuse(&format!("is not in the validation frame {key}")))?;
    match column.domain() {
        Some(d) if d.len() == 2 => Ok(Some((column.to_f64()?, d.to_vec()))),
        _ => Err(refuse("must be categorical with two levels, the second for anomalies")),
    }
}

/// Longest and shortest sum of path lengths.
fn extremes(team: &Team, total: &[f64]) -> Result<[f64; 2]> {
    let fold = |v: &[f64]| v.iter().fold((f64::NEG_INFINITY, f64::INFINITY), |(h, l), v| (h.max(*v), l.min(*v)));
    let (high, low) = fold(total);
    let all = team.gather(vec![high, low])?.concat();
    let (high, low) = fold(&all);
    Ok([high, low])
}

/// Mean path length and mean score of the rows that some trees did not see, and their number.
fn measured(team: &Team, ensemble: &TreeEnsemble, unseen: &[(f64, f64)]) -> Result<(f64, f64, i64)> {
    let n = ensemble.trees.len() as f64;
    let parts: Vec<Vec<f64>> = unseen
        .par_chunks(CHUNK_ROWS)
        .map(|rows| {
            let mut s = vec![0.0; 3];
            for (sum, count) in rows.iter().filter(|r| r.1 > 0.0) {
                s[0] += sum / count;
                s[1] += ensemble.isolation_score(sum / count * n);
                s[2] += 1.0;
            }
            s
        })
        .collect();
    let s = team.gather(parts)?.concat().iter().fold([0.0; 3], |a, b| [a[0] + b[0], a[1] + b[1], a[2] + b[2]]);
    Ok((s[0] / s[2], s[1] / s[2], s[2] as i64))
}

/// The score that only the given share of rows reaches.
fn cut_off(team: &Team, ensemble: &TreeEnsemble, total: &[f64], share: f64) -> Result<f64> {
    let mut scores = team.concat(total.iter().map(|l| ensemble.isolation_score(*l)).collect())?;
    scores.sort_by(f64::total_cmp);
    // The quantile of the reference's default, interpolated.
    let at = (scores.len() - 1) as f64 * (1.0 - share);
    let (low, part) = (at.floor() as usize, at.fract());
    Ok(scores[low] + part * (scores[(low + 1).min(scores.len() - 1)] - scores[low]))
}

fn split_table(names: &[String], splits: &[Splits]) -> Table {
    let each = |f: &dyn Fn(&Splits) -> Cell| splits.iter().map(f).collect::<Vec<_>>();
    Table::new("Variable Splits", "")
        .named("variable", "Variable", "string", "%s", names.iter().cloned().map(Cell::Text).collect())
        .named("count", "Count", "int", "%10d", each(&|s| Cell::Long(s.count)))
        .named("aggregated_split_ratios", "Aggregated Split Ratios", "double", "%5f", each(&|s| Cell::Double(s.ratios)))
        .named("aggregated_split_depths", "Aggregated Split Depths", "long", "%10d", each(&|s| Cell::Long(s.depths)))
}

fn history_table(history: &[(i64, usize, f64, f64)], started: i64) -> Table {
    let each = |f: &dyn Fn(&(i64, usize, f64, f64)) -> Cell| history.iter().map(f).collect::<Vec<_>>();
    Table::new("Scoring History", "")
        .row_labels(vec!["".into(); history.len()])
        .named("timestamp", "Timestamp", "string", "%s", each(&|h| Cell::Text(time::stamp(h.0))))
        .named("duration", "Duration", "string", "%s", each(&|h| Cell::Text(time::duration_text(h.0 - started))))
        .named("number_of_trees", "Number of Trees", "long", "%d", each(&|h| h.1.into()))
        .named("mean_tree_path_length", "Mean Tree Path Length", "double", "%.5f", each(&|h| Cell::Double(h.2)))
        .named("mean_anomaly_score", "Mean Anomaly Score", "double", "%.5f", each(&|h| Cell::Double(h.3)))
}
