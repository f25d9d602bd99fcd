//! Growing the trees, and measuring them.

use super::{ExtendedOutput, ExtendedParams};
use ochre_core::{CHUNK_ROWS, Error, Result, Rng, Team, f64s, time};
use ochre_model::metrics::anomaly;
use ochre_model::{Deviance, Fitted, Run};
use ochre_schema::{Cell, Table};
use ochre_score::{PlaneForest, PlaneNode, Scorer, goes_left};
use rayon::prelude::*;

/// Shape of a tree.
#[derive(Default)]
struct Shape {
    depth: usize,
    leaves: usize,
    /// Leaves with one row.
    isolated: usize,
    /// Rows in other leaves.
    others: usize,
    /// Planes with all rows on one side.
    zero_splits: usize,
}

struct Grower<'a> {
    rows: &'a [Vec<f64>],
    rng: Rng,
    extension: usize,
    depth_max: usize,
    nodes: Vec<PlaneNode>,
    shape: Shape,
}

impl Grower<'_> {
    fn node(&mut self, rows: &[usize], depth: usize) -> u32 {
        let at = self.nodes.len();
        self.shape.depth = self.shape.depth.max(depth);
        self.nodes.push(PlaneNode::Leaf { rows: rows.len() as u32 });
        if rows.len() <= 1 || depth >= self.depth_max {
            self.shape.leaves += 1;
            if rows.len() == 1 {
                self.shape.isolated += 1
            } else {
                self.shape.others += rows.len()
            }
            return at as u32;
        }
        let terms = self.draw(rows);
        let (left, right): (Vec<usize>, Vec<usize>) = rows.iter().partition(|&&r| goes_left(&terms, &self.rows[r]));
        if left.is_empty() || right.is_empty() {
            self.shape.zero_splits += 1;
        }
        let (left, right) = (self.node(&left, depth + 1), self.node(&right, depth + 1));
        self.nodes[at] = PlaneNode::Plane { terms, left, right };
        at as u32
    }

    /// A direction, and a point within the span of some rows.
    fn draw(&mut self, rows: &[usize]) -> Vec<(u32, f64, f64)> {
        let width = self.rows[0].len();
        let mut columns: Vec<usize> = (0..width).collect();
        while columns.len() > self.extension + 1 {
            columns.swap_remove(self.rng.below(columns.len() as u32) as usize);
        }
        columns.sort_unstable();
        let mut terms = vec![];
        for c in columns {
            let values = || rows.iter().map(|&r| self.rows[r][c]).filter(|v| v.is_finite());
            let (low, high) = values().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
            let (low, high) = if low <= high { (low, high) } else { (0.0, 0.0) };
            let normal = self.rng.next_normal();
            let point = low + self.rng.next_f64() * (high - low);
            // A direction of exactly 0 would look at nothing.
            terms.push((c as u32, if normal == 0.0 { 1.0 } else { normal }, point));
        }
        terms
    }
}

pub fn fit(run: &mut Run<'_, ExtendedParams>) -> Result<Fitted<ExtendedOutput>> {
    let (params, train) = (&run.params, &run.train);
    let width = train.columns.len();
    let sample_size = (params.sample_size as usize).min(train.rows);
    if sample_size < 2 {
        return Err(Error::invalid("an extended isolation forest needs two rows at least"));
    }
    let depth_max = (sample_size as f64).log2().floor() as usize;
    let team = Team::for_rows(train.rows);
    let own = team.rows(train.rows);
    let data = train.adapted(&train.predictors())?;
    let mut forest = PlaneForest { sample_size, columns: width, trees: vec![] };
    let mut shapes = vec![];
    let mut rng = Rng::new(params.seed);
    let mut sums = vec![0.0; own.len()];
    let _room = run.node.ledger.reserve("path lengths of rows", (own.len() * 8) as u64)?;
    let mut history: Vec<(i64, usize, f64, f64)> = vec![(time::now_ms(), 0, f64::NAN, f64::NAN)];
    let ntrees = params.ntrees as usize;
    let mut walked = 0;
    for t in 0..ntrees {
        run.job.check()?;
        let seed = rng.next_i64();
        let mut draw = Rng::new(seed);
        // Floyd's way to draw without repetition (Bentley and Floyd 1987).
        let mut chosen = std::collections::BTreeSet::new();
        for i in train.rows - sample_size..train.rows {
            let r = draw.below(i as u32 + 1) as usize;
            if !chosen.insert(r) {
                chosen.insert(i);
            }
        }
        let chosen: Vec<usize> = chosen.into_iter().collect();
        let mut rows = vec![vec![0.0; width]; sample_size];
        for (c, column) in train.columns.iter().enumerate() {
            let mut at = 0;
            for part in chosen.chunk_by(|a, b| a / CHUNK_ROWS == b / CHUNK_ROWS) {
                let chunk = column.chunks()[part[0] / CHUNK_ROWS].data()?;
                let values = f64s(&chunk);
                for r in part {
                    rows[at][c] = values[r % CHUNK_ROWS];
                    at += 1;
                }
            }
        }
        let mut grower = Grower {
            rows: &rows,
            rng: draw,
            extension: params.extension_level as usize,
            depth_max,
            nodes: vec![],
            shape: Shape::default(),
        };
        grower.node(&(0..sample_size).collect::<Vec<_>>(), 0);
        shapes.push(grower.shape);
        forest.trees.push(grower.nodes);
        run.job.set_progress((t + 1) as f64 / ntrees as f64);
        let every = params.score_tree_interval.max(0) as usize;
        let due = every > 0 && (t + 1).is_multiple_of(every) && !params.disable_training_metrics;
        if due || t + 1 == ntrees {
            let first = own.start / CHUNK_ROWS;
            sums.par_chunks_mut(CHUNK_ROWS).enumerate().try_for_each(|(k, sums)| {
                let columns = data.sources.iter().map(|s| s.chunk(first + k, sums.len())).collect::<Result<Vec<_>>>()?;
                let mut row = vec![0.0; width];
                for (i, sum) in sums.iter_mut().enumerate() {
                    row.iter_mut().zip(&columns).for_each(|(v, c)| *v = c[i]);
                    *sum += forest.trees[walked..].iter().map(|t| forest.length(t, &row)).sum::<f64>();
                }
                Ok::<(), Error>(())
            })?;
            walked = t + 1;
            let parts = sums.chunks(CHUNK_ROWS).map(|s| {
                s.iter().map(|s| forest.score_of(*s, walked)).fold(vec![0.0; 2], |a, [score, length]| vec![a[0] + score, a[1] + length])
            });
            let total = team.fold(parts.collect())?;
            let n = train.rows as f64;
            history.push((time::now_ms(), walked, total[1] / n, total[0] / n));
        }
    }
    let (_, _, length, score) = history[history.len() - 1];
    let mut training = anomaly(length, score, train.rows as i64);
    training.description = Some("Extended Isolation Forest Metrics".into());
    let mut output = ExtendedOutput::default();
    output.common.model_summary = Some(summary(params, sample_size, &shapes));
    if !params.disable_training_metrics {
        let each = |f: &dyn Fn(&(i64, usize, f64, f64)) -> Cell| history.iter().map(f).collect::<Vec<_>>();
        let table = Table::new("Scoring History", "")
            .row_labels(vec!["".into(); history.len()])
            .named("timestamp", "Timestamp", "string", "%s", each(&|h| Cell::Text(time::stamp(h.0))))
            .named("duration", "Duration", "string", "%s", each(&|h| Cell::Text(time::duration_text(h.0 - run.started_ms))))
            .named("number_of_trees", "Number of Trees", "long", "%d", each(&|h| h.1.into()))
            .named("mean_tree_path_length", "Mean Tree Path Length", "double", "%.5f", each(&|h| Cell::Double(h.2)))
            .named("mean_anomaly_score", "Mean Anomaly Score", "double", "%.5f", each(&|h| Cell::Double(h.3)));
        output.common.scoring_history = Some(table);
    }
    Ok(Fitted { output, scorer: Scorer::Planes(forest), deviance: Deviance::Gaussian, training, validation: None, order: None })
}

fn summary(params: &ExtendedParams, sample_size: usize, shapes: &[Shape]) -> Table {
    let long = |v: usize| vec![Cell::from(v)];
    let mut t = Table::new("Model Summary", "")
        .row_labels(vec!["".into()])
        .named("number_of_trees", "Number of Trees", "int", "%d", long(params.ntrees as usize))
        .named("size_of_subsample", "Size of Subsample", "int", "%d", long(sample_size))
        .named("extension_level", "Extension Level", "int", "%d", long(params.extension_level as usize))
        .named("seed", "Seed", "long", "%d", vec![Cell::Long(params.seed)])
        .named("number_of_trained_trees", "Number of trained trees", "int", "%d", long(shapes.len()));
    let of: [(&str, &str, fn(&Shape) -> usize); 5] = [
        ("depth", "Depth", |s| s.depth),
        ("leaves", "Leaves", |s| s.leaves),
        ("isolated_point", "Isolated Point", |s| s.isolated),
        ("not_isolated_point", "Not Isolated Point", |s| s.others),
        ("zero_splits", "Zero Splits", |s| s.zero_splits),
    ];
    for (name, heading, f) in of {
        let values: Vec<usize> = shapes.iter().map(f).collect();
        let mean = values.iter().sum::<usize>() as f64 / values.len().max(1) as f64;
        let mut named = |what: &str, heading: &str, kind: &'static str, cell: Cell| {
            let table = std::mem::replace(&mut t, Table::new("", ""));
            t = table.named(&format!("{what}_{name}"), heading, kind, if kind == "int" { "%d" } else { "%.5f" }, vec![cell]);
        };
        named("min", &format!("Min. {heading}"), "int", values.iter().copied().min().unwrap_or(0).into());
        named("max", &format!("Max. {heading}"), "int", values.iter().copied().max().unwrap_or(0).into());
        named("mean", &format!("Mean {heading}"), "double", Cell::Double(mean));
    }
    t
}
