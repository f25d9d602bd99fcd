//! Growing the forest.

use super::{IsolationForestOutput, IsolationForestParams};
use crate::tree::ensemble::{HISTORY_BUDGET, effective, summary};
use ochre_core::rng::draw_rows;
use ochre_core::{CHUNK_ROWS, Column, Error, Result, Rng, Team, f64s, time};
use ochre_model::driver::measure;
use ochre_model::metrics::{Detail, anomaly, has_stopped};
use ochre_model::{Category, Deviance, Fitted, Run, adapt};
use ochre_schema::{Cell, Table};
use ochre_score::{Node, Scorer, Split, Tree, TreeEnsemble, TreeLink};
use rayon::prelude::*;

/// What the splits of a column add up to.
#[derive(Clone, Default)]
struct Splits {
    count: i64,
    /// How uneven they are: the difference of the sides as a share of the rows.
    ratios: f64,
    depths: i64,
}

/// One tree on the drawn rows.
struct Grower<'a> {
    columns: &'a [Vec<f64>],
    levels: &'a [Option<usize>],
    answers: Vec<f64>,
    rng: &'a mut Rng,
    max_depth: usize,
    min_rows: usize,
    tries: usize,
    /// Cuts that each column proposes: numbers, categories.
    cuts: (usize, usize),
    least_gain: f64,
    allowed: &'a [usize],
    splits: &'a mut [Splits],
    nodes: Vec<Node>,
}

impl Grower<'_> {
    fn node(&mut self, rows: &[usize], depth: usize) -> u32 {
        let at = self.nodes.len();
        self.nodes.push(Node {
            split: Split::Leaf,
            column: 0,
            missing_left: false,
            left: 0,
            right: 0,
            value: depth as f32,
            weight: rows.len() as f64,
            gain: 0.0,
        });
        if depth >= self.max_depth || rows.len() < 2 * self.min_rows.max(1) {
            return at as u32;
        }
        let Some((column, split, missing_left)) = self.find(rows) else { return at as u32 };
        let probe = Node { split, column: column as u32, missing_left, left: 0, right: 0, value: 0.0, weight: 0.0, gain: 0.0 };
        let (left, right): (Vec<usize>, Vec<usize>) = rows.iter().partition(|&&r| !self.goes_right(&probe, r));
        let s = &mut self.splits[column];
        s.count += 1;
        s.ratios += (left.len() as f64 - right.len() as f64).abs() / rows.len() as f64;
        s.depths += depth as i64 + 1;
        let (l, r) = (self.node(&left, depth + 1), self.node(&right, depth + 1));
        self.nodes[at] = Node { left: l, right: r, value: depth as f32, weight: rows.len() as f64, ..probe };
        at as u32
    }

    fn goes_right(&self, node: &Node, row: usize) -> bool {
        let v = self.columns[node.column as usize][row];
        match &node.split {
            Split::Less(t) if !v.is_nan() => v >= f64::from(*t),
            Split::Set { bits, .. } if !v.is_nan() => bits.get(v as usize).copied().unwrap_or(!node.missing_left),
            _ => !node.missing_left,
        }
    }

    /// The best of the random cuts that the drawn columns propose.
    fn find(&mut self, rows: &[usize]) -> Option<(usize, Split, bool)> {
        let mut pool = self.allowed.to_vec();
        let mut best: Option<(f64, usize, Split, bool)> = None;
        let mut tried = 0;
        while tried < self.tries && !pool.is_empty() {
            let column = pool.swap_remove(self.rng.below(pool.len() as u32) as usize);
            let values = &self.columns[column];
            let present = || rows.iter().map(|&r| values[r]).filter(|v| !v.is_nan());
            let (low, high) = present().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
            if low >= high {
                continue;
            }
            tried += 1;
            let cuts = if self.levels[column].is_some() { self.cuts.1 } else { self.cuts.0 };
            for _ in 0..cuts.max(1) {
                let missing_left = self.rng.below(2) == 0;
                let split = match self.levels[column] {
                    None => {
                        let cut = (low + self.rng.next_f64() * (high - low)) as f32;
                        // In single precision a cut may fall onto the smallest value, and would set nothing apart.
                        if f64::from(cut) <= low { Split::Less((high as f32).max(cut)) } else { Split::Less(cut) }
                    }
                    Some(levels) => Split::Set { offset: 0, bits: (0..levels).map(|_| self.rng.below(2) == 1).collect() },
                };
                let probe = Node { split, column: column as u32, missing_left, left: 0, right: 0, value: 0.0, weight: 0.0, gain: 0.0 };
                let mut side = [(0.0, 0.0); 2];
                for &r in rows {
                    let s = &mut side[usize::from(self.goes_right(&probe, r))];
                    *s = (s.0 + 1.0, s.1 + self.answers[r]);
                }
                if side.iter().any(|s| s.0 < self.min_rows.max(1) as f64) {
                    continue;
                }
                let all = (side[0].0 + side[1].0, side[0].1 + side[1].1);
                let gain = side.iter().map(|s| s.1 * s.1 / s.0).sum::<f64>() - all.1 * all.1 / all.0;
                if gain > self.least_gain && best.as_ref().is_none_or(|b| gain > b.0) {
                    best = Some((gain, column, probe.split, missing_left));
                }
            }
        }
        best.map(|(_, column, split, missing_left)| (column, split, missing_left))
    }
}

/// Values of some rows of a column, in the rows' order (rising).
fn pick(column: &Column, rows: &[usize]) -> Result<Vec<f64>> {
    let mut out = Vec::with_capacity(rows.len());
    for part in rows.chunk_by(|a, b| a / CHUNK_ROWS == b / CHUNK_ROWS) {
        let data = column.chunks()[part[0] / CHUNK_ROWS].data()?;
        let values = f64s(&data);
        out.extend(part.iter().map(|r| values[r % CHUNK_ROWS]));
    }
    Ok(out)
}

pub fn fit(run: &mut Run<'_, IsolationForestParams>) -> Result<Fitted<IsolationForestOutput>> {
    let (params, train) = (&run.params, &run.train);
    let t = &params.tree;
    let width = train.columns.len();
    let rate = if params.sample_rate > 0.0 { params.sample_rate } else { (params.sample_size as f64 / train.rows as f64).min(1.0) };
    let tries = match params.mtries {
        -2 => width,
        n if n > 0 => n as usize,
        _ => (width as f64).sqrt() as usize,
    };
    let predictors = train.predictors();
    let levels: Vec<Option<usize>> = predictors.iter().map(|p| p.domain.as_ref().map(|d| d.len())).collect();
    let data = adapt::adapt(&train.frame()?, &predictors)?;
    let team = Team::for_rows(train.rows);
    let own = team.rows(train.rows);
    let first = own.start / CHUNK_ROWS;
    let _room = run.node.ledger.reserve("path lengths of rows", (own.len() * 32) as u64)?;
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
    let mut waiting: Vec<(usize, Vec<bool>)> = vec![];
    let mut history: Vec<(i64, usize, f64, f64)> = vec![(time::now_ms(), 0, f64::NAN, f64::NAN)];
    let ntrees = t.ntrees as usize;
    let mut last_scored = 0;
    for iteration in 0..ntrees {
        run.job.check()?;
        if iteration > 0 && run.out_of_time()? {
            run.job.warn(format!("max_runtime_secs ended training after {iteration} of {ntrees} trees"));
            break;
        }
        let tree_seed = rng.next_i64();
        let take = draw_rows(0..train.rows, |_| rate, tree_seed);
        let rows: Vec<usize> = (0..train.rows).filter(|&r| take[r]).collect();
        let columns = train.columns.iter().map(|c| pick(c, &rows)).collect::<Result<Vec<_>>>()?;
        let mut draw = Rng::new(tree_seed);
        let mut allowed: Vec<usize> = (0..width).collect();
        let kept = ((width as f64 * t.col_sample_rate_per_tree) as usize).clamp(1, width);
        while allowed.len() > kept {
            allowed.swap_remove(draw.below(allowed.len() as u32) as usize);
        }
        let answers = (0..rows.len()).map(|_| draw.next_f64()).collect();
        let mut grower = Grower {
            columns: &columns,
            levels: &levels,
            answers,
            rng: &mut draw,
            max_depth: if t.max_depth == 0 { usize::from(u16::MAX) } else { t.max_depth as usize },
            min_rows: t.min_rows.ceil() as usize,
            tries: tries.clamp(1, width),
            cuts: (t.nbins as usize - 1, t.nbins_cats as usize - 1),
            least_gain: t.min_split_improvement,
            allowed: &allowed,
            splits: &mut splits,
            nodes: vec![],
        };
        let all: Vec<usize> = (0..rows.len()).collect();
        grower.node(&all, 0);
        let nodes = grower.nodes;
        ensemble.trees.push(vec![Tree { nodes }]);
        waiting.push((iteration, take[own.clone()].to_vec()));
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
        walk(&ensemble, &mut waiting, &data, first, &mut total, &mut unseen)?;
        last_scored = n;
        ensemble.lengths = extremes(&team, &total)?;
        let (length, score, _) = measured(&team, &ensemble, &unseen)?;
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
    if !waiting.is_empty() {
        walk(&ensemble, &mut waiting, &data, first, &mut total, &mut unseen)?;
        ensemble.lengths = extremes(&team, &total)?;
        let (length, score, _) = measured(&team, &ensemble, &unseen)?;
        history.push((time::now_ms(), ensemble.trees.len(), length, score));
    }
    let (length, score, rows) = measured(&team, &ensemble, &unseen)?;
    let mut training = anomaly(length, score, rows);
    training.description = Some("Metrics reported on Out-Of-Bag training samples".into());
    if params.contamination > 0.0 {
        training.set_anomaly_threshold(cut_off(&team, &ensemble, &total, params.contamination)?);
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

/// Adds the path lengths of the waiting trees to the rows'.
fn walk(
    ensemble: &TreeEnsemble,
    waiting: &mut Vec<(usize, Vec<bool>)>,
    data: &adapt::Adapted,
    first: usize,
    total: &mut [f64],
    unseen: &mut [(f64, f64)],
) -> Result<()> {
    total.par_chunks_mut(CHUNK_ROWS).zip(unseen.par_chunks_mut(CHUNK_ROWS)).enumerate().try_for_each(|(k, (total, unseen))| {
        let columns = data.sources.iter().map(|s| s.chunk(first + k, total.len())).collect::<Result<Vec<_>>>()?;
        let views: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
        for (tree, take) in waiting.iter() {
            let tree = &ensemble.trees[*tree][0];
            for (i, (total, unseen)) in total.iter_mut().zip(unseen.iter_mut()).enumerate() {
                let length = f64::from(tree.leaf(&views, i).value);
                *total += length;
                if !take[k * CHUNK_ROWS + i] {
                    *unseen = (unseen.0 + length, unseen.1 + 1.0);
                }
            }
        }
        Ok::<(), ochre_core::Error>(())
    })?;
    waiting.clear();
    Ok(())
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
        .named("count", "Count", "int", "%d", each(&|s| Cell::Long(s.count)))
        .named("aggregated_split_ratios", "Aggregated Split Ratios", "double", "%.5f", each(&|s| Cell::Double(s.ratios)))
        .named("aggregated_split_depths", "Aggregated Split Depths", "long", "%d", each(&|s| Cell::Long(s.depths)))
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
