//! Tree ensembles: flat arrays of nodes, scored a block of rows at a time.

use crate::flat::Flat;
use crate::isotonic::IsotonicScorer;

/// Where a row goes at an inner node.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Split {
    Leaf,
    /// Left when the value is less.
    Less(f32),
    /// Left when the value, rounded to single precision, is less, as the xgboost package has it.
    Below(f32),
    /// The same where 0 is missing too, as in sparse data.
    SparseBelow(f32),
    /// Right when the bit of the code is set; codes outside the set count as missing.
    Set {
        offset: u32,
        bits: Vec<bool>,
    },
    /// Present values left, missing right.
    Missing,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Node {
    pub split: Split,
    pub column: u32,
    pub missing_left: bool,
    pub left: u32,
    pub right: u32,
    /// What a leaf adds to the score.
    pub value: f32,
    /// Weight of the training rows that came here.
    pub weight: f64,
    /// What the split gained when it was made, in the measure of the one who grew the tree; 0 where it is not known.
    #[serde(default)]
    pub gain: f32,
}

#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Tree {
    /// The root is first.
    pub nodes: Vec<Node>,
}

impl Tree {
    #[inline]
    pub fn leaf(&self, columns: &[&[f64]], row: usize) -> &Node {
        let mut node = &self.nodes[0];
        loop {
            if node.split == Split::Leaf {
                return node;
            }
            node = &self.nodes[if self.goes_right(node, columns, row) { node.right } else { node.left } as usize];
        }
    }

    /// Which way a row goes at an inner node.
    #[inline]
    pub fn goes_right(&self, node: &Node, columns: &[&[f64]], row: usize) -> bool {
        self.sends_right(node, columns[node.column as usize][row])
    }

    /// Which way a value goes at an inner node.
    #[inline]
    pub fn sends_right(&self, node: &Node, v: f64) -> bool {
        match &node.split {
            Split::Leaf => false,
            Split::Less(threshold) => {
                if v.is_nan() {
                    !node.missing_left
                } else {
                    v >= f64::from(*threshold)
                }
            }
            Split::Below(threshold) => {
                if v.is_nan() {
                    !node.missing_left
                } else {
                    v as f32 >= *threshold
                }
            }
            Split::SparseBelow(threshold) => {
                if v.is_nan() || v == 0.0 {
                    !node.missing_left
                } else {
                    v as f32 >= *threshold
                }
            }
            Split::Set { offset, bits } => {
                let bit = if v.is_nan() || v < f64::from(*offset) { None } else { bits.get(v as usize - *offset as usize) };
                bit.copied().unwrap_or(!node.missing_left)
            }
            Split::Missing => v.is_nan(),
        }
    }

    pub fn leaves(&self) -> usize {
        self.nodes.iter().filter(|n| n.split == Split::Leaf).count()
    }

    /// Memory that the nodes take.
    pub fn bytes(&self) -> usize {
        let set = |n: &Node| if let Split::Set { bits, .. } = &n.split { bits.len() } else { 0 };
        self.nodes.iter().map(|n| size_of::<Node>() + set(n)).sum()
    }

    pub fn depth(&self) -> usize {
        let mut levels = vec![0; self.nodes.len()];
        for at in self.downward() {
            let node = &self.nodes[at];
            if node.split != Split::Leaf {
                (levels[node.left as usize], levels[node.right as usize]) = (levels[at] + 1, levels[at] + 1);
            }
        }
        levels.into_iter().max().unwrap_or(0)
    }

    /// The root and the nodes below it, level by level, so that each comes after its parent. What walks trees does so without recursion: a tree may be
    /// deeper than a thread's stack.
    pub fn downward(&self) -> Vec<usize> {
        let mut order: Vec<usize> = if self.nodes.is_empty() { vec![] } else { vec![0] };
        let mut next = 0;
        while let Some(&at) = order.get(next) {
            let node = &self.nodes[at];
            if node.split != Split::Leaf {
                order.extend([node.left as usize, node.right as usize]);
            }
            next += 1;
        }
        order
    }
}

/// How the sum of leaves becomes a prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum TreeLink {
    Identity,
    Log,
    Logit,
    Softmax,
    /// The mean over the trees.
    Mean,
    /// The mean is the share of the first of two classes.
    FirstShare,
    /// Shares of the classes, made to add up to 1.
    Shares,
    /// Response rates of the treated and of the others, with their difference first.
    Uplift,
    /// Isolation: leaves hold their depth; a score, and the mean length of the paths.
    PathLength,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct TreeEnsemble {
    pub link: TreeLink,
    pub init: f64,
    /// Classes of a classification; 1 for a regression.
    pub classes: usize,
    /// Per iteration, one tree (regression, two classes) or one per class.
    pub trees: Vec<Vec<Tree>>,
    /// Longest and shortest sum of path lengths among the training rows of an isolation forest.
    #[serde(default)]
    pub lengths: [f64; 2],
    /// How class probabilities are made to be what they claim, beside those of the trees.
    #[serde(default)]
    pub calibration: Option<Calibration>,
    /// By what each class's probability is multiplied, before all are divided by their sum; empty for nothing.
    #[serde(default)]
    pub correction: Vec<f64>,
    /// Are sums and links computed in single precision, the constant added last, as scorers of the xgboost package do?
    #[serde(default)]
    pub single: bool,
}

/// A map from class probabilities to calibrated ones.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub enum Calibration {
    /// The logistic function of the probability of the first class.
    Platt { slope: f64, intercept: f64 },
    /// A non-decreasing function of that of the second.
    Isotonic(IsotonicScorer),
}

impl Calibration {
    /// The calibrated probability of the second class.
    pub fn second(&self, p: &[f64]) -> f64 {
        match self {
            Calibration::Platt { slope, intercept } => 1.0 / (1.0 + (-(p[0] * slope + intercept)).exp()),
            Calibration::Isotonic(m) => m.value(p[1]),
        }
    }
}

/// Rows scored together, so that a tree and its block stay in the cache.
const BLOCK: usize = 512;

impl TreeEnsemble {
    pub fn width(&self) -> usize {
        match self.link {
            TreeLink::PathLength => 2,
            TreeLink::Uplift => 3,
            _ => self.classes.max(1),
        }
    }

    /// The score of a sum of path lengths: 1 for the shortest of the training rows, 0 for the longest.
    pub fn isolation_score(&self, sum: f64) -> f64 {
        let [longest, shortest] = self.lengths;
        if longest > shortest { (longest - sum) / (longest - shortest) } else { 1.0 }
    }

    pub fn score(&self, flat: Option<&Flat>, columns: &[&[f64]], offset: Option<&[f64]>, out: &mut [f64]) {
        let width = self.width();
        let rows = out.len() / width;
        let sums = if matches!(self.link, TreeLink::Softmax | TreeLink::Shares | TreeLink::Uplift) { self.classes } else { 1 };
        let mut f = vec![0.0; BLOCK.min(rows) * sums];
        for start in (0..rows).step_by(BLOCK) {
            let n = BLOCK.min(rows - start);
            let base = |i: usize| self.init + offset.map_or(0.0, |o| o[start + i]);
            let f = &mut f[..n * sums];
            if self.single {
                f.fill(0.0);
                self.each_leaf(flat, columns, start, n, |i, k, v| f[i * sums + k] = f64::from(f[i * sums + k] as f32 + v));
                for (i, slot) in f.chunks_mut(sums).enumerate() {
                    slot.iter_mut().for_each(|s| *s = f64::from(*s as f32 + base(i) as f32));
                }
            } else {
                f.chunks_mut(sums).enumerate().for_each(|(i, slot)| slot.fill(base(i)));
                self.each_leaf(flat, columns, start, n, |i, k, v| f[i * sums + k] += f64::from(v));
            }
            for (i, slot) in f.chunks(sums).enumerate() {
                self.finish(slot, &mut out[(start + i) * width..(start + i + 1) * width]);
            }
        }
    }

    /// Calls `add(row, class, value)` for the leaf of each row of a block in each tree, tree by tree.
    fn each_leaf(&self, flat: Option<&Flat>, columns: &[&[f64]], start: usize, n: usize, mut add: impl FnMut(usize, usize, f32)) {
        if let Some(flat) = flat {
            return flat.leaves(n, |c, i| columns.get(c).map_or(f64::NAN, |values| values[start + i]), add);
        }
        for (k, tree) in self.trees.iter().flat_map(|g| g.iter().enumerate()).filter(|(_, t)| !t.nodes.is_empty()) {
            for i in 0..n {
                add(i, k, tree.leaf(columns, start + i).value);
            }
        }
    }

    /// Applies the link to one row's sums.
    #[inline]
    pub fn finish(&self, f: &[f64], out: &mut [f64]) {
        if self.single {
            return single_link(self.link, f, out);
        }
        match self.link {
            TreeLink::Identity => out[0] = f[0],
            TreeLink::Log => out[0] = f[0].exp(),
            TreeLink::Logit => {
                out[1] = 1.0 / (1.0 + (-f[0]).exp());
                out[0] = 1.0 - out[1];
                self.correct(out);
            }
            TreeLink::Softmax => {
                softmax(f, out);
                self.correct(out);
            }
            TreeLink::Uplift => {
                let n = self.trees.len() as f64;
                (out[1], out[2]) = (f[0] / n, f[1] / n);
                out[0] = out[1] - out[2];
            }
            TreeLink::PathLength => {
                out[0] = self.isolation_score(f[0]);
                out[1] = f[0] / self.trees.len() as f64;
            }
            _ => self.average(f, self.trees.len() as f64, out),
        }
    }
}

impl TreeEnsemble {
    /// Turns probabilities of balanced classes into those of classes as they were.
    fn correct(&self, p: &mut [f64]) {
        if self.correction.is_empty() {
            return;
        }
        p.iter_mut().zip(&self.correction).for_each(|(p, c)| *p *= c);
        let sum: f64 = p.iter().sum();
        if sum > 0.0 {
            p.iter_mut().for_each(|p| *p /= sum);
        }
    }

    /// The prediction of a forest for a row whose `n` trees add up to `f`.
    #[inline]
    pub fn average(&self, f: &[f64], n: f64, out: &mut [f64]) {
        match self.link {
            TreeLink::FirstShare => {
                out[0] = f[0] / n;
                out[1] = 1.0 - out[0];
            }
            TreeLink::Shares => {
                let sum: f64 = f.iter().sum();
                out.iter_mut().zip(f).for_each(|(o, v)| *o = if sum > 0.0 { v / sum } else { 0.0 });
            }
            _ => {
                out[0] = f[0] / n;
                return;
            }
        }
        self.correct(out);
    }
}

/// Links in single precision; exponentials are rounded once.
pub fn single_link(link: TreeLink, f: &[f64], out: &mut [f64]) {
    let exp = |v: f32| f64::from(v).exp() as f32;
    match link {
        TreeLink::Log => out[0] = f64::from(exp(f[0] as f32)),
        TreeLink::Logit => {
            let p = 1.0 / (1.0 + exp(-(f[0] as f32)));
            (out[0], out[1]) = (f64::from(1.0 - p), f64::from(p));
        }
        TreeLink::Softmax => {
            let top = f.iter().copied().fold(f64::NEG_INFINITY, f64::max) as f32;
            let mut sum = 0.0;
            for (o, v) in out.iter_mut().zip(f) {
                *o = f64::from(exp(*v as f32 - top));
                sum += *o;
            }
            out.iter_mut().for_each(|o| *o = f64::from(*o as f32 / sum as f32));
        }
        _ => out[0] = f64::from(f[0] as f32),
    }
}

/// Class probabilities from scores, shifted by the largest so that nothing overflows.
pub fn softmax(f: &[f64], out: &mut [f64]) {
    let top = f.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for (o, v) in out.iter_mut().zip(f) {
        *o = (v - top).exp();
        sum += *o;
    }
    for o in out.iter_mut() {
        *o /= sum;
    }
}
