//! What the ensembles of trees share beside growing: drawing rows, the leaf of each row, scores of validation data, tables.

use super::Seat;
use super::TreeData;
use super::bins::{Histogram, points};
use super::grow::TreeRules;
use ochre_core::{Column, Ledger, Reservation, Result};
use ochre_model::params::{CalibrationMethod, CategoricalEncoding, CommonParams, Distribution, HistogramType, StoppingMetric, TreeParams};
use ochre_model::{Category, adapt};
use ochre_schema::{Cell, Table, Value};
use ochre_score::{Flat, Split, Tree, TreeEnsemble};
use rayon::prelude::*;
use std::sync::Arc;

/// Monotone constraints as the API has them: the sign by name of column.
pub fn constraints(list: &ochre_schema::Value) -> Vec<(String, f64)> {
    let list = list.as_array().map_or(&[][..], |v| v);
    list.iter().filter_map(|c| Some((c["key"].as_str()?.to_string(), c["value"].as_f64().unwrap_or(f64::NAN)))).collect()
}

/// Per column 1, -1 or 0; empty when there are no constraints.
pub fn monotone(list: &ochre_schema::Value, names: &[String]) -> Vec<i8> {
    let wanted = constraints(list);
    if wanted.iter().all(|(_, v)| *v == 0.0) {
        return vec![];
    }
    names.iter().map(|n| wanted.iter().find(|(k, _)| k == n).map_or(0, |(_, v)| *v as i8)).collect()
}

/// Per set of columns that may interact, which columns it holds.
pub fn together(sets: &Option<Vec<Option<Vec<String>>>>, names: &[String]) -> Vec<Vec<bool>> {
    sets.iter().flatten().flatten().map(|set| names.iter().map(|n| set.contains(n)).collect()).collect()
}

/// Notes constraints on columns that are not there, not numeric, or of no sign.
pub fn check_constraints(
    list: &ochre_schema::Value,
    sets: &Option<Vec<Option<Vec<String>>>>,
    shape: &ochre_model::Shape<'_>,
    notes: &mut ochre_schema::Notes,
) {
    let known = |n: &&String| shape.training.names.contains(n);
    for name in sets.iter().flatten().flatten().flatten().filter(|n| !known(n)) {
        let text = format!("Invalid interaction constraint - there is no column '{name}' in the training frame.");
        notes.error("_interaction_constraints", text);
    }
    for (name, sign) in constraints(list) {
        let field = "_monotone_constraints";
        match shape.training.names.iter().position(|n| *n == name) {
            None => notes.error(field, format!("Invalid constraint - there is no column '{name}' in the training frame.")),
            Some(c) if shape.training.columns[c].is_enum() => {
                notes.error(
                    field,
                    format!("Invalid constraint - column '{name}' has type Enum. Only numeric columns can have monotonic constraints."),
                );
            }
            _ if !matches!(sign, -1.0 | 0.0 | 1.0) => {
                notes.error(field, format!("the constraint of column '{name}' must be 1 (rising), -1 (falling) or 0, but is {sign}"));
            }
            _ => {}
        }
    }
}

/// Row scorings that histories may cost beyond the last one when no interval is asked for.
pub const HISTORY_BUDGET: usize = 3_000_000;
/// Asks the ledger for trees that were grown. It holds for the training; a model that is kept asks for all of its own.
pub fn hold_trees(ledger: &Arc<Ledger>, trees: &[Tree]) -> Result<Reservation> {
    ledger.reserve("trees", trees.iter().map(Tree::bytes).sum::<usize>() as u64)
}

/// Rows handled together.
pub const ROWS: usize = 1 << 15;
/// The leaf of rows that took no part in a tree.
pub const OUTSIDE: u32 = u32::MAX;

pub fn history_columns(category: Category) -> &'static [(&'static str, &'static str)] {
    match category {
        Category::Regression => &[("rmse", "RMSE"), ("mae", "MAE"), ("deviance", "Deviance")],
        Category::Binomial => &[
            ("rmse", "RMSE"),
            ("logloss", "LogLoss"),
            ("auc", "AUC"),
            ("pr_auc", "pr_auc"),
            ("lift", "Lift"),
            ("classification_error", "Classification Error"),
        ],
        _ => &[
            ("rmse", "RMSE"),
            ("logloss", "LogLoss"),
            ("classification_error", "Classification Error"),
            ("auc", "AUC"),
            ("pr_auc", "pr_auc"),
        ],
    }
}

/// The leaf of each row, written by threads that never touch the same row.
struct LeafOf(*mut u32);
// SAFETY: every row is in one piece only, so no two threads write the same place.
unsafe impl Sync for LeafOf {}

/// Notes the leaf of each row; rows that took no part in the tree stay outside.
pub fn mark_leaves<R: Seat>(pieces: &[(u32, &[R])], leaf_of: &mut [u32]) {
    let covered: usize = pieces.iter().map(|(_, rows)| rows.len()).sum();
    if covered < leaf_of.len() {
        leaf_of.fill(OUTSIDE);
    }
    let n = leaf_of.len();
    let target = LeafOf(leaf_of.as_mut_ptr());
    let target = &target;
    pieces.par_iter().for_each(|(leaf, rows)| {
        for r in *rows {
            let r = r.at();
            assert!(r < n);
            // SAFETY: in bounds by the assertion; see `LeafOf` for why nobody else writes here.
            unsafe { *target.0.add(r) = *leaf };
        }
    });
}

/// A tree, asked about rows that did not grow it.
pub struct Walk<'a> {
    tree: &'a ochre_score::Tree,
    data: &'a TreeData,
    flat: Option<Flat>,
}

impl<'a> Walk<'a> {
    pub fn new(tree: &'a ochre_score::Tree, data: &'a TreeData) -> Self {
        let flat = Flat::new(std::iter::once(std::slice::from_ref(tree)), data.rows);
        Walk { tree, data, flat }
    }

    /// Calls `add(i, value)` with the value of the leaf of the `i`-th of some rows.
    pub fn values(&self, rows: &[usize], mut add: impl FnMut(usize, f32)) {
        match &self.flat {
            Some(flat) => flat.leaves(rows.len(), |c, i| self.data.columns[c].value(rows[i]), |i, _, v| add(i, v)),
            None => rows.iter().enumerate().for_each(|(i, r)| add(i, self.tree.nodes[leaf_at(self.tree, self.data, *r)].value)),
        }
    }
}

/// The leaf that a row comes to.
pub fn leaf_at(tree: &ochre_score::Tree, data: &TreeData, row: usize) -> usize {
    let mut at = 0;
    loop {
        let node = &tree.nodes[at];
        if node.split == Split::Leaf {
            return at;
        }
        let v = data.columns[node.column as usize].value(row);
        let right = match &node.split {
            Split::Missing => v.is_nan(),
            _ if v.is_nan() => !node.missing_left,
            Split::Less(t) => v >= f64::from(*t),
            Split::Set { offset, bits } if v >= f64::from(*offset) => {
                bits.get(v as usize - *offset as usize).copied().unwrap_or(!node.missing_left)
            }
            _ => !node.missing_left,
        };
        at = if right { node.right } else { node.left } as usize;
    }
}

/// Adds what the trees from `added` on give to a validation frame's rows: those of one scoring together, since reading the
/// rows takes longer than going down a tree.
pub fn add_validation(
    groups: &[Vec<ochre_score::Tree>],
    added: &mut usize,
    v: &ochre_model::Validation,
    (first, sums): (usize, usize),
    f: &mut [f64],
) -> Result<()> {
    let groups = &groups[(*added).min(groups.len())..];
    *added += groups.len();
    if groups.is_empty() {
        return Ok(());
    }
    let size = ochre_core::CHUNK_ROWS;
    let flat = Flat::new(groups.iter().map(Vec::as_slice), f.len() / sums);
    f.par_chunks_mut(size * sums).enumerate().try_for_each(|(c, f)| {
        let (c, n) = (first / size + c, f.len() / sums);
        let columns = v.data.sources.iter().map(|s: &adapt::Source| s.chunk(c, n)).collect::<Result<Vec<_>>>()?;
        let views: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
        if let Some(flat) = &flat {
            flat.leaves(n, |c, i| views[c][i], |i, k, v| f[i * sums + k] += f64::from(v));
            return Ok(());
        }
        for (k, tree) in groups.iter().flat_map(|g| g.iter().enumerate()).filter(|(_, t)| !t.nodes.is_empty()) {
            for (i, f) in f.chunks_mut(sums).enumerate() {
                f[k] += f64::from(tree.leaf(&views, i).value);
            }
        }
        Ok(())
    })
}

/// Importances: the decrease of squared error by column, largest first.
pub fn importances(names: &[String], gains: &[f64]) -> Table {
    let gains: Vec<f64> = gains.iter().map(|g| f64::from(*g as f32)).collect();
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by(|a, b| gains[*b].total_cmp(&gains[*a]));
    let (top, sum) = (gains.iter().copied().fold(0.0, f64::max), gains.iter().sum::<f64>());
    let share = |v: f64, of: f64| if of > 0.0 { v / of } else { 0.0 };
    let column = |f: &dyn Fn(f64) -> f64| order.iter().map(|&i| Cell::Double(f(gains[i]))).collect();
    Table::new("Variable Importances", "")
        .column("Variable", "string", "%s", order.iter().map(|&i| Cell::Text(names[i].clone())).collect())
        .column("Relative Importance", "double", "%5f", column(&|v| v))
        .column("Scaled Importance", "double", "%5f", column(&|v| share(v, top)))
        .column("Percentage", "double", "%5f", column(&|v| share(v, sum)))
}

pub fn summary(ensemble: &TreeEnsemble) -> Table {
    let trees: Vec<&ochre_score::Tree> = ensemble.trees.iter().flatten().filter(|t| !t.nodes.is_empty()).collect();
    let depths: Vec<usize> = trees.iter().map(|t| t.depth()).collect();
    let leaves: Vec<usize> = trees.iter().map(|t| t.leaves()).collect();
    let mean = |v: &[usize]| v.iter().sum::<usize>() as f64 / v.len().max(1) as f64;
    let bytes: usize = trees
        .iter()
        .map(|t| t.nodes.iter().map(|n| 28 + if let Split::Set { bits, .. } = &n.split { bits.len() / 8 } else { 0 }).sum::<usize>())
        .sum();
    let long = |v: usize| vec![Cell::from(v)];
    let low = |v: &[usize]| v.iter().copied().min().unwrap_or(0);
    let high = |v: &[usize]| v.iter().copied().max().unwrap_or(0);
    Table::new("Model Summary", "")
        .row_labels(vec!["".into()])
        .column("Number of Trees", "long", "%d", long(ensemble.trees.len()))
        .column("Number of Internal Trees", "long", "%d", long(trees.len()))
        .column("Model Size in Bytes", "long", "%d", long(bytes))
        .named("min_depth", "Min. Depth", "long", "%d", long(low(&depths)))
        .named("max_depth", "Max. Depth", "long", "%d", long(high(&depths)))
        .column("Mean Depth", "double", "%.5f", vec![Cell::Double(mean(&depths))])
        .named("min_leaves", "Min. Leaves", "long", "%d", long(low(&leaves)))
        .named("max_leaves", "Max. Leaves", "long", "%d", long(high(&leaves)))
        .column("Mean Leaves", "double", "%.5f", vec![Cell::Double(mean(&leaves))])
}

/// The rules of trees that draw `per_split` columns for each split. Robust histograms are even ones but for skewed columns,
/// whose bins hold as many rows each (the reference looks at each node's bins instead, and divides those that are full).
pub fn rules(tree: &TreeParams, columns: &[Column], weights: Option<&[f64]>, per_split: usize) -> Result<TreeRules> {
    let width = columns.len();
    let (nbins, top) = (tree.nbins as usize, tree.nbins_top_level.max(tree.nbins) as usize);
    let (histogram, points) = match tree.histogram_type {
        HistogramType::Auto | HistogramType::UniformAdaptive => (Histogram::Even, vec![]),
        HistogramType::Random => (Histogram::Drawn, vec![]),
        HistogramType::QuantilesGlobal => (Histogram::Points, points(columns, nbins, top, false, weights)?),
        HistogramType::RoundRobin => (Histogram::InTurn, points(columns, nbins, top, false, weights)?),
        HistogramType::UniformRobust => (Histogram::Points, points(columns, top, top, true, None)?),
    };
    Ok(TreeRules {
        max_depth: if tree.max_depth == 0 { usize::from(u16::MAX) } else { tree.max_depth as usize },
        min_rows: tree.min_rows,
        nbins,
        nbins_top_level: tree.nbins_top_level as usize,
        nbins_cats: tree.nbins_cats as usize,
        min_split_improvement: tree.min_split_improvement,
        columns_per_tree: ((width as f64 * tree.col_sample_rate_per_tree) as usize).clamp(1, width),
        columns_per_split: per_split.clamp(1, width),
        change_per_level: tree.col_sample_rate_change_per_level,
        monotone: vec![],
        together: vec![],
        histogram,
        points,
        single_edges: false,
    })
}

/// What parameters that were left to the server stand for: the metric of early stopping, and the choices in `named`.
pub fn effective(common: &CommonParams, category: Category, named: &[(&'static str, &str)]) -> Vec<(&'static str, Value)> {
    let mut out: Vec<(&'static str, Value)> = named.iter().map(|(n, v)| (*n, Value::from(*v))).collect();
    if common.stopping_metric == StoppingMetric::Auto {
        let metric = match category {
            Category::AnomalyDetection => "anomaly_score",
            _ => stopping_metric(common, category),
        };
        out.push(("stopping_metric", if common.stopping_rounds > 0 { metric.into() } else { Value::Null }));
    }
    if common.categorical_encoding == CategoricalEncoding::Auto {
        out.push(("categorical_encoding", "Enum".into()));
    }
    out
}

/// The number of trees that a model which stopped growing by itself was in effect asked for.
pub fn enough_trees(asked: i32, grown: usize, stopped: bool) -> Option<(&'static str, Value)> {
    (stopped && grown < asked as usize).then(|| ("ntrees", grown.into()))
}

/// The same for the forests' and boosters' own choices.
pub fn effective_trees(common: &CommonParams, tree: &TreeParams, category: Category, distribution: &str) -> Vec<(&'static str, Value)> {
    let mut named = vec![];
    if common.distribution == Distribution::Auto {
        named.push(("distribution", distribution));
    }
    if tree.histogram_type == HistogramType::Auto {
        named.push(("histogram_type", "UniformAdaptive"));
    }
    if tree.calibration_method == CalibrationMethod::Auto {
        named.push(("calibration_method", "PlattScaling"));
    }
    effective(common, category, &named)
}

/// The name under which metrics are looked up for early stopping.
pub fn stopping_metric(common: &CommonParams, category: Category) -> &'static str {
    match common.stopping_metric {
        StoppingMetric::Auto if category == Category::Regression => "deviance",
        StoppingMetric::Auto | StoppingMetric::Logloss => "logloss",
        StoppingMetric::Deviance => "deviance",
        StoppingMetric::Rmse => "rmse",
        StoppingMetric::Mse => "mse",
        StoppingMetric::Mae => "mae",
        StoppingMetric::Rmsle => "rmsle",
        StoppingMetric::Auc => "auc",
        StoppingMetric::Aucpr => "aucpr",
        StoppingMetric::LiftTopGroup => "lift_top_group",
        StoppingMetric::Misclassification => "misclassification",
        StoppingMetric::MeanPerClassError => "mean_per_class_error",
        StoppingMetric::Custom => "custom",
        StoppingMetric::CustomIncreasing => "custom_increasing",
        _ => "logloss",
    }
}

/// Keeps a tree monotone: on each side of a split on a constrained column, leaves stay on their side of the middle between
/// the two sides' means. `signs` has 1 for columns in which predictions must rise, -1 where they must fall.
pub fn bound_leaves(tree: &mut ochre_score::Tree, signs: &[i8]) {
    let n = tree.nodes.len();
    let mut means = vec![0.0; n];
    for i in (0..n).rev() {
        let node = &tree.nodes[i];
        means[i] = if node.split == Split::Leaf {
            f64::from(node.value)
        } else {
            let (l, r) = (node.left as usize, node.right as usize);
            let (wl, wr) = (tree.nodes[l].weight, tree.nodes[r].weight);
            if wl + wr > 0.0 { (wl * means[l] + wr * means[r]) / (wl + wr) } else { (means[l] + means[r]) / 2.0 }
        };
    }
    let mut bounds = vec![(f64::NEG_INFINITY, f64::INFINITY); n];
    for i in 0..n {
        let (low, high) = bounds[i];
        let node = &mut tree.nodes[i];
        if node.split == Split::Leaf {
            node.value = f64::from(node.value).clamp(low, high) as f32;
            continue;
        }
        let (l, r) = (node.left as usize, node.right as usize);
        (bounds[l], bounds[r]) = ((low, high), (low, high));
        if let (Split::Less(_), sign @ (1 | -1)) = (&node.split, signs[node.column as usize]) {
            // In single precision, so that rounding a leaf does not carry it over.
            let middle = f64::from(((means[l].clamp(low, high) + means[r].clamp(low, high)) / 2.0) as f32);
            let (below, above) = if sign > 0 { (l, r) } else { (r, l) };
            bounds[below].1 = middle.clamp(low, high);
            bounds[above].0 = middle.clamp(low, high);
        }
    }
}

/// The table of a model that training went on from, with the rows of the table that was made since.
pub fn continued(table: Table, before: &ochre_schema::Value) -> Table {
    let old = before["data"].as_array().map_or(&[][..], |d| d);
    if old.len() != table.columns.len() {
        return table;
    }
    let mut table = table;
    for (column, old) in table.columns.iter_mut().zip(old) {
        let cells = old.as_array().into_iter().flatten().map(|v| match (v.as_i64(), v.as_f64(), v.as_str()) {
            (Some(i), _, _) if column.type_name == "long" || column.type_name == "int" => Cell::Long(i),
            (_, Some(x), _) => Cell::Double(x),
            (_, _, Some(t)) if column.type_name == "string" => Cell::Text(t.into()),
            _ => Cell::Missing,
        });
        column.cells = cells.chain(std::mem::take(&mut column.cells)).collect();
    }
    table
}

/// Gains of columns as a model's table of importances shows them.
pub fn gains_of(model: &ochre_model::Model, names: &[String]) -> Vec<f64> {
    let data = &model.output["variable_importances"]["data"];
    let named = data[0].as_array().into_iter().flatten().zip(data[1].as_array().into_iter().flatten());
    let known: Vec<(&str, f64)> = named.filter_map(|(n, v)| Some((n.as_str()?, v.as_f64()?))).collect();
    names.iter().map(|n| known.iter().find(|(k, _)| k == n).map_or(0.0, |(_, v)| *v)).collect()
}
