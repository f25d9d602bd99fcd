//! Columns that decide one after the other on the way down a tree, and what their splits gain: the statistics of the XGBFI tool
//! of F. Mataigne. A path is a run of splits from a node to one below it; it is named by the columns on it, whatever their
//! order, and counted once for each place in a tree.

use crate::Model;
use ochre_core::{Error, Result};
use ochre_schema::{Cell, Table};
use ochre_score::{Scorer, Split, Tree};
use std::collections::{BTreeMap, HashMap};

/// Sums over the paths of one name.
#[derive(Clone, Debug, Default, PartialEq)]
struct Sums {
    gain: f64,
    count: f64,
    /// Shares of the training rows that came to the ends of the paths.
    share: f64,
    /// Gains times those shares.
    expected: f64,
    trees: f64,
    depths: f64,
    /// Values and weights of leaves right below paths that begin at the root, left and right.
    leaves: Option<[f64; 4]>,
}

#[derive(Default)]
struct Found {
    /// By the number of columns and their names.
    paths: HashMap<Vec<String>, Sums>,
    /// How often each threshold of a column was chosen.
    thresholds: HashMap<String, BTreeMap<u32, (f64, i64)>>,
}

struct Limits {
    interaction: usize,
    tree: usize,
    deepening: usize,
}

impl Found {
    fn add(&mut self, tree: &Tree, number: usize, name: &dyn Fn(&ochre_score::Node) -> String, limits: &Limits) {
        let root = tree.nodes[0].weight;
        let mut starts = vec![(0usize, 0usize)];
        while let Some((start, depth)) = starts.pop() {
            if tree.nodes[start].split == Split::Leaf || depth >= limits.tree {
                continue;
            }
            if depth < limits.deepening {
                let n = &tree.nodes[start];
                starts.extend([(n.left as usize, depth + 1), (n.right as usize, depth + 1)]);
            }
            let mut open = vec![(start, depth, vec![], 0.0)];
            while let Some((at, depth, mut names, gain)) = open.pop() {
                let n = &tree.nodes[at];
                if n.split == Split::Leaf || depth >= limits.tree {
                    continue;
                }
                let own = name(n);
                if at == start
                    && let Split::Less(t) | Split::Below(t) | Split::SparseBelow(t) = n.split
                {
                    self.thresholds.entry(own.clone()).or_default().entry(ordered(t)).or_insert((f64::from(t), 0)).1 += 1;
                }
                let place = names.partition_point(|x| *x <= own);
                names.insert(place, own);
                let (gain, share) = (gain + f64::from(n.gain), if root > 0.0 { n.weight / root } else { 0.0 });
                let last = names.len() > limits.interaction;
                let s = self.paths.entry(names.clone()).or_default();
                s.gain += gain;
                s.count += 1.0;
                s.share += share;
                s.expected += gain * share;
                s.trees += number as f64;
                s.depths += depth as f64;
                if last {
                    continue;
                }
                for (way, child) in [n.left, n.right].into_iter().enumerate() {
                    let c = &tree.nodes[child as usize];
                    if start == 0 && c.split == Split::Leaf {
                        let leaves = s.leaves.get_or_insert_default();
                        leaves[way] += f64::from(c.value);
                        leaves[2 + way] += c.weight;
                    }
                    open.push((child as usize, depth + 1, names.clone(), gain));
                }
            }
        }
    }
}

/// A number that orders like a threshold.
fn ordered(t: f32) -> u32 {
    let b = t.to_bits();
    if b >> 31 == 1 { !b } else { b | 1 << 31 }
}

/// Places of values, the largest first.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
    let mut out = vec![0.0; values.len()];
    order.iter().enumerate().for_each(|(place, i)| out[*i] = place as f64 + 1.0);
    out
}

fn table(depth: usize, rows: &[(String, Sums)]) -> Table {
    let of = |f: fn(&Sums) -> f64| rows.iter().map(|r| f(&r.1)).collect::<Vec<f64>>();
    let numbers = |v: &[f64]| v.iter().map(|v| Cell::Double(*v)).collect::<Vec<_>>();
    let measures: [(&str, fn(&Sums) -> f64); 6] = [
        ("Gain", |s| s.gain),
        ("FScore", |s| s.count),
        ("wFScore", |s| s.share),
        ("Average wFScore", |s| s.share / s.count),
        ("Average Gain", |s| s.gain / s.count),
        ("Expected Gain", |s| s.expected),
    ];
    let mut out = Table::new(&format!("Interaction Depth {depth}"), "").row_labels(vec![Cell::Text(String::new()); rows.len()]).column(
        "Interaction",
        "string",
        "%s",
        rows.iter().map(|r| Cell::Text(r.0.clone())).collect(),
    );
    for (name, f) in measures {
        out = out.column(name, "double", "%.5f", numbers(&of(f)));
    }
    let placed: Vec<Vec<f64>> = measures.iter().map(|(_, f)| ranks(&of(*f))).collect();
    for (name, r) in
        ["Gain Rank", "FScore Rank", "wFScore Rank", "Avg wFScore Rank", "Avg Gain Rank", "Expected Gain Rank"].iter().zip(&placed)
    {
        out = out.column(name, "double", "%.5f", numbers(r));
    }
    let average: Vec<f64> = (0..rows.len()).map(|i| placed.iter().map(|r| r[i]).sum::<f64>() / placed.len() as f64).collect();
    out.column("Average Rank", "double", "%.5f", numbers(&average))
        .column("Average Tree Index", "double", "%.5f", numbers(&of(|s| s.trees / s.count)))
        .column("Average Tree Depth", "double", "%.5f", numbers(&of(|s| s.depths / s.count)))
}

impl Model {
    /// Tables of paths by their number of columns, the one that gains most first; of the leaves below them; and of the
    /// thresholds of each column. What is not given is not limited.
    pub fn feature_interactions(&self, interaction: Option<usize>, tree: Option<usize>, deepening: Option<usize>) -> Result<Vec<Table>> {
        let Scorer::Trees(trees) = &self.scorer else {
            return Err(Error::invalid(format!(
                "model {} ({}) has no trees in which columns could interact",
                self.key, self.info.full_name
            )));
        };
        let limit = |n: Option<usize>| n.unwrap_or(usize::MAX);
        let limits = Limits { interaction: limit(interaction), tree: limit(tree), deepening: limit(deepening) };
        let all = || trees.trees.iter().flatten().filter(|t| !t.nodes.is_empty());
        if all().any(|t| t.nodes[0].split != Split::Leaf) && all().flat_map(|t| &t.nodes).all(|n| n.gain == 0.0) {
            return Err(Error::Unsupported(format!(
                "model {} does not tell what its splits gained, as models do that were imported or saved by an earlier version; train it again",
                self.key
            )));
        }
        let name = |n: &ochre_score::Node| {
            let p = &self.predictors[n.column as usize];
            match (&n.split, &p.domain) {
                // One level against all others is how boosted trees of second order split categories.
                (Split::Set { bits, .. }, Some(levels)) if trees.single => {
                    let alone = [true, false].map(|way| bits.iter().filter(|b| **b == way).count() == 1);
                    let level = bits.iter().position(|b| *b == alone[0]).and_then(|i| levels.get(i));
                    level.map_or(p.name.clone(), |l| format!("{}.{l}", p.name))
                }
                (Split::Missing, Some(_)) if trees.single => format!("{}.missing(NA)", p.name),
                _ => p.name.clone(),
            }
        };
        let mut found = Found::default();
        for (number, round) in trees.trees.iter().enumerate() {
            round.iter().filter(|t| !t.nodes.is_empty()).for_each(|t| found.add(t, number, &name, &limits));
        }
        let mut by_size: BTreeMap<usize, Vec<(String, Sums)>> = BTreeMap::new();
        for (names, sums) in found.paths {
            by_size.entry(names.len()).or_default().push((names.join("|"), sums));
        }
        by_size.values_mut().for_each(|rows| rows.sort_by(|a, b| b.1.gain.total_cmp(&a.1.gain).then_with(|| a.0.cmp(&b.0))));
        let mut tables: Vec<Table> = by_size.iter().map(|(size, rows)| table(size - 1, rows)).collect();
        let below: Vec<(&String, [f64; 4])> =
            by_size.values().flatten().filter_map(|(name, sums)| sums.leaves.map(|l| (name, l))).collect();
        let mut leaves = Table::new("Leaf Statistics", "").row_labels(vec![Cell::Text(String::new()); below.len()]).column(
            "Interaction",
            "string",
            "%s",
            below.iter().map(|l| Cell::Text(l.0.clone())).collect(),
        );
        for (i, heading) in
            ["Sum Leaf Values Left", "Sum Leaf Values Right", "Sum Leaf Covers Left", "Sum Leaf Covers Right"].iter().enumerate()
        {
            leaves = leaves.column(heading, "double", "%.5f", below.iter().map(|l| Cell::Double(l.1[i])).collect());
        }
        tables.push(leaves);
        for (name, _) in by_size.get(&1).into_iter().flatten() {
            let Some(counts) = found.thresholds.get(name) else { continue };
            tables.push(
                Table::new(&format!("{name} Split Value Histogram"), "")
                    .row_labels(vec![Cell::Text(String::new()); counts.len()])
                    .column("Split Value", "double", "%.5f", counts.values().map(|c| Cell::Double(c.0)).collect())
                    .column("Count", "int", "%d", counts.values().map(|c| Cell::Long(c.1)).collect()),
            );
        }
        Ok(tables)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ochre_score::Node;

    #[test]
    fn paths_are_counted_once_for_each_place() {
        let node =
            |split, column, left, right, weight, gain| Node { split, column, missing_left: false, left, right, value: 0.5, weight, gain };
        let less = || Split::Less(1.0);
        let tree = Tree {
            nodes: vec![
                node(less(), 0, 1, 2, 10.0, 4.0),
                node(less(), 1, 3, 4, 6.0, 2.0),
                node(Split::Leaf, 0, 0, 0, 4.0, 0.0),
                node(Split::Leaf, 0, 0, 0, 5.0, 0.0),
                node(Split::Leaf, 0, 0, 0, 1.0, 0.0),
            ],
        };
        let name = |n: &Node| ["b", "a"][n.column as usize].to_string();
        let found = |interaction, deepening| {
            let mut f = Found::default();
            f.add(&tree, 3, &name, &Limits { interaction, tree: usize::MAX, deepening });
            f
        };
        let f = found(usize::MAX, usize::MAX);
        let sums = |names: &[&str]| f.paths.get(&names.iter().map(|n| n.to_string()).collect::<Vec<_>>()).cloned().unwrap();
        let first = Sums { gain: 4.0, count: 1.0, share: 1.0, expected: 4.0, trees: 3.0, depths: 0.0, leaves: Some([0.0, 0.5, 0.0, 4.0]) };
        assert_eq!(sums(&["b"]), first);
        assert_eq!((sums(&["a"]).gain, sums(&["a"]).share, sums(&["a"]).leaves), (2.0, 0.6, None));
        let both = sums(&["a", "b"]);
        assert!((both.expected - 3.6).abs() < 1e-12);
        assert_eq!((both.gain, both.depths, both.leaves), (6.0, 1.0, Some([0.5, 0.5, 5.0, 1.0])));
        assert_eq!(found(0, 0).paths.len(), 1);
        assert_eq!(f.thresholds["a"].values().map(|c| c.1).sum::<i64>(), 1);
    }
}
