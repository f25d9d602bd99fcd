//! Growing one tree, level by level.

use super::bins::{Bins, Edges, Histogram};
use super::data::{TreeColumn, TreeData, Values};
use super::rows::{Row, Seat, part, segments};
use ochre_core::{Job, Reservation, Result, Rng};
use ochre_score::{Node, Split, Tree};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// What decides about splits.
#[derive(Clone, Debug)]
pub struct TreeRules {
    pub max_depth: usize,
    pub min_rows: f64,
    pub nbins: usize,
    pub nbins_top_level: usize,
    pub nbins_cats: usize,
    pub min_split_improvement: f64,
    /// Columns drawn for a tree and for each split.
    pub columns_per_tree: usize,
    pub columns_per_split: usize,
    /// Factor on the columns per split from level to level.
    pub change_per_level: f64,
    /// Per column 1 where responses must rise, -1 where they must fall, 0 otherwise; empty for no constraints.
    pub monotone: Vec<i8>,
    /// Per set of columns that may meet on a way down a tree, which columns it holds; empty when all may.
    pub together: Vec<Vec<bool>>,
    /// Where the edges of bins lie.
    pub histogram: Histogram,
    /// For each column points that divide its rows evenly, where the histogram wants them; no entries otherwise.
    pub points: Vec<Vec<f64>>,
    /// Are values next to an edge put where the edge, in single precision, sends them?
    pub single_edges: bool,
}

impl TreeRules {
    /// May a column split below nodes that were split by another one (or at the root)?
    fn may_meet(&self, column: usize, above: Option<usize>) -> bool {
        self.together.is_empty() || self.together.iter().any(|set| set[column] && above.is_none_or(|a| set[a]))
    }

    /// Would this cut go against what the column is held to?
    fn breaks(&self, column: usize, w: [f64; 2], y: [f64; 2]) -> bool {
        match self.monotone.get(column) {
            Some(1) => y[0] / w[0] > y[1] / w[1],
            Some(-1) => y[0] / w[0] < y[1] / w[1],
            _ => false,
        }
    }
}

/// The next number after `v` (whole columns: the next whole number).
fn exclusive(v: f64, whole: bool) -> f64 {
    let ulp = (f64::from_bits(v.abs().to_bits() + 1) - v.abs()).max(f64::MIN_POSITIVE);
    let r = v + if whole && ulp < 1.0 { 1.0 } else { ulp };
    if r.is_infinite() { v } else { r }
}

/// Are two single-precision numbers equal or neighbours?
fn nearly_equal(a: f32, b: f32) -> bool {
    let ulp = |v: f32| (f32::from_bits(v.abs().to_bits() + 1) - v.abs()).abs();
    let small = ulp(a).min(ulp(b));
    (a - b).abs() <= small || a == b
}

/// Weight and weighted response of a bin, in fixed point.
type Cell = [i64; 2];

/// Counts of one column at one node: by distinct value, missing last, or by bin.
struct Counts {
    cells: Vec<Cell>,
    /// Sum of weighted squares of the rows where the column is missing.
    missing_square: i64,
    /// Smallest and largest value seen, when counted by bin.
    seen: (f64, f64),
}

impl Counts {
    /// Adds the counts of other rows.
    fn add(&mut self, other: &Counts) {
        for (a, b) in self.cells.iter_mut().zip(&other.cells) {
            *a = [a[0] + b[0], a[1] + b[1]];
        }
        self.missing_square += other.missing_square;
        if !self.seen.0.is_nan() {
            self.seen = (self.seen.0.min(other.seen.0), self.seen.1.max(other.seen.1));
        }
    }
}

/// Weights of a tree's rows, and the scales that make fixed-point numbers of them and of residuals.
struct Fixed<'a> {
    w: Option<&'a [f64]>,
    /// Responses without the rounding of residuals, where there are such.
    exact: Option<&'a [f64]>,
    w_scale: f64,
    y_scale: f64,
    yy_scale: f64,
}

/// Adding this rounds a number below 2^51 to a whole one and leaves it in the low bits of the sum.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

/// The nearest whole number, for numbers below 2^51.
#[inline(always)]
pub(super) fn nearest(v: f64) -> i64 {
    ((v + ROUNDER).to_bits() as i64).wrapping_sub(ROUNDER.to_bits() as i64)
}

impl Fixed<'_> {
    #[inline(always)]
    fn plain_weight(&self, row: usize) -> f64 {
        self.w.map_or(1.0, |w| w[row])
    }
    #[inline(always)]
    fn weight(&self, row: usize) -> i64 {
        self.w.map_or(1, |w| nearest(w[row] * self.w_scale))
    }
    #[inline(always)]
    fn response(&self, r: &Row) -> i64 {
        nearest(self.plain_weight(r.at()) * f64::from(r.z) * self.y_scale)
    }
    /// The responses of some rows.
    #[inline(never)]
    fn responses(&self, rows: &[Row], out: &mut [i64; BLOCK]) {
        let scale = self.y_scale;
        match self.w {
            None => out.iter_mut().zip(rows).for_each(|(slot, r)| *slot = nearest(f64::from(r.z) * scale)),
            Some(_) => out.iter_mut().zip(rows).for_each(|(slot, r)| *slot = self.response(r)),
        }
    }
    #[inline(always)]
    fn square(&self, r: &Row) -> i64 {
        let z = f64::from(r.z);
        nearest(self.plain_weight(r.at()) * z * z * self.yy_scale)
    }
}

/// What a split node leaves to its larger child.
struct Parent {
    counts: Vec<Option<Counts>>,
    valued: Vec<bool>,
    square: i64,
}

/// A node that may still be split.
struct Open {
    /// Index in the tree.
    id: usize,
    /// Its rows: a range of the row index.
    start: usize,
    end: usize,
    /// Rows of all nodes of the cluster.
    all_rows: usize,
    bins: Vec<Option<Bins>>,
    /// Of columns that this node adds up; all of them, when there are no others.
    counts: Vec<Option<Counts>>,
    /// What the rows of this node alone gave, where there are others: counts of all columns, and the sum of squares.
    alone: Option<(Vec<Option<Counts>>, i64)>,
    /// Which columns were counted by distinct value.
    valued: Vec<bool>,
    /// Smallest and largest value in each column, where other nodes counted it.
    ranges: Option<Vec<Option<(f64, f64)>>>,
    /// Sum of weighted squares, in fixed point; known once the node is counted.
    square: i64,
    score_columns: Option<Vec<usize>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Where {
    Less(f32),
    Set { offset: u32, bits: Vec<bool> },
    Missing,
}

/// The best cut of some columns: its error, its place in the order in which columns are tried, and the split that it
/// makes, unless it makes none.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Proposal {
    after: f64,
    place: usize,
    choice: Option<Choice>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Choice {
    column: usize,
    at: Where,
    missing_left: bool,
    before: f64,
    after: f64,
    w: [f64; 2],
    error: [f64; 2],
    /// The mean response of each side.
    mean: [f32; 2],
}

/// Cuts whose errors differ by less than this share of the node's sum of squares count as equal at first.
const TIE: f64 = 1e-6;
/// A node whose squared error is below this share of its sum of squares is pure but for rounding.
const PURE: f64 = 1e-12;
/// Up to this many rows the reference sums in row order too; beyond, its threads decide and there is nothing to follow.
pub const ROW_ORDER_MAX: usize = 1 << 16;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Side {
    /// No value is missing.
    None,
    MissingLeft,
    MissingRight,
    /// Present values left, missing ones right.
    MissingAlone,
}

/// A cut of a column: before which bin (in the order of categories, if there is one), and what it achieves.
struct Cut {
    after: f64,
    /// The best error of any other cut.
    second: f64,
    before: f64,
    at: usize,
    side: Side,
    w: [f64; 2],
    y: [f64; 2],
    /// Squared error of each side, as the reference rounds it; NaN when it was not computed that way.
    error: [f64; 2],
    order: Option<Vec<usize>>,
}

impl Cut {
    /// Takes another cut if it is better, or as good and nearer to the middle bin; says whether it did.
    fn offer(&mut self, after: f64, at: usize, bins: usize, side: Side, w: [f64; 2], y: [f64; 2]) -> bool {
        let middle = (bins >> 1) as i64;
        let nearer = (at as i64 - middle).abs() < (self.at as i64 - middle).abs();
        if after < self.after || (after == self.after && nearer) {
            self.second = self.after;
            (self.after, self.at, self.side, self.w, self.y) = (after, at, side, w, y);
            return true;
        }
        self.second = self.second.min(after);
        false
    }
}

/// Row numbers in the order of the leaves, and room to reorder them; kept from tree to tree.
#[derive(Default)]
pub struct RowOrder {
    pub rows: Vec<Row>,
    room: Vec<Row>,
}

/// A finished tree's leaf: node index and its rows in the row order.
pub struct Leaf {
    pub node: usize,
    pub start: usize,
    pub end: usize,
}

pub struct Grown {
    pub tree: Tree,
    pub leaves: Vec<Leaf>,
    /// Decrease of squared error by column.
    pub gains: Vec<f64>,
}

/// What a tree is to explain: a number for each row, in single precision, and without that rounding where the reference does
/// not round either.
pub struct Responses<'a> {
    pub z: &'a [f32],
    pub exact: Option<&'a [f64]>,
}

impl Responses<'_> {
    pub fn rounded(z: &[f32]) -> Responses<'_> {
        Responses { z, exact: None }
    }
}

/// What is drawn for a tree.
pub struct Draw<'a> {
    /// The rows that take part below the root.
    pub take: Option<&'a [bool]>,
    /// The seed of columns and edges.
    pub seed: i64,
    /// With it each node is split by the first column, in an order that this generator draws, that has a cut at all; without
    /// it by the column with the best one.
    pub shuffle: Option<&'a mut Rng>,
}

pub struct TreeGrower<'a> {
    pub data: &'a TreeData,
    pub rules: TreeRules,
}

/// Power of two by which numbers up to `largest`, `n` of them, may be multiplied so that each stays below 2^50 and their
/// sum below 2^62.
pub(super) fn scale_for(largest: f64, n: usize) -> f64 {
    if largest <= 0.0 || !largest.is_finite() {
        return 1.0;
    }
    let bits = (61 - (n.max(1) as f64).log2().ceil() as i32).min(49) - largest.log2().ceil() as i32;
    2f64.powi(bits.clamp(-900, 900))
}

impl TreeGrower<'_> {
    /// Grows a tree on responses with weights `w`; rows that were not drawn, or with weight 0, take no part. Nodes have the mean
    /// that the split above found for them, the root its own when it is a leaf.
    pub fn grow(&self, job: &Job, order: &mut RowOrder, y: Responses<'_>, w: Option<&[f64]>, draw: Draw<'_>) -> Result<Grown> {
        let (z, Draw { take, seed, mut shuffle }) = (y.z, draw);
        // The root's split is chosen on all rows, as in the reference; from there on only drawn rows count.
        let RowOrder { rows: index, room } = order;
        index.clear();
        match w {
            None => z.par_iter().enumerate().map(|(row, z)| Row { row: row as u32, z: *z }).collect_into_vec(index),
            Some(w) => index.extend((0u32..).zip(z).map(|(row, z)| Row { row, z: *z }).filter(|r| w[r.at()] > 0.0)),
        }
        room.resize(index.len(), Row::default());
        let team = &self.data.team;
        let largest_w = w.map_or(1.0, |w| w.iter().copied().fold(0.0, f64::max));
        let fractions = w.is_some_and(|w| w.iter().any(|v| v.fract() != 0.0));
        let largest_z = index.par_iter().map(|r| f64::from(r.z.abs())).reduce(|| 0.0, f64::max);
        let taking_part = index.len();
        let members = team.gather((largest_w, fractions, largest_z, taking_part))?;
        let largest_w = members.iter().map(|m| m.0).fold(0.0, f64::max);
        let whole = !members.iter().any(|m| m.1);
        let largest_z = members.iter().map(|m| m.2).fold(0.0, f64::max);
        let taking_part: usize = members.iter().map(|m| m.3).sum();
        let rows = self.data.all_rows;
        let w_scale = if whole { 1.0 } else { scale_for(largest_w, rows) };
        let (y_scale, yy_scale) = (scale_for(largest_z * largest_w, rows), scale_for(largest_z * largest_z * largest_w, rows));
        // Weights that only leave rows out, such as those of a fold, have done so: nobody needs to read them.
        let fixed = Fixed { w: w.filter(|_| !whole || largest_w != 1.0), exact: y.exact, w_scale, y_scale, yy_scale };

        let mut rng = Rng::new(seed);
        let columns = self.tree_columns(seed);
        let mut tree = Tree::default();
        let mut gains = vec![0.0; self.data.columns.len()];
        let mut leaves = vec![];
        let mut open = vec![self.root(index, taking_part, seed)];
        let root_weight = w.map_or(index.len() as f64, |w| w.iter().filter(|v| **v > 0.0).sum());
        tree.nodes.push(blank(team.gather(root_weight)?.into_iter().sum()));
        // Counts and sums of squares of split nodes, for their larger children.
        let mut parents: Vec<Parent> = vec![];
        // For each open node: (which parent's counts, is it the one to be derived by subtraction).
        let mut family: Vec<Option<(usize, usize)>> = vec![None];
        let mut _held;
        for depth in 0..self.rules.max_depth {
            if open.is_empty() {
                break;
            }
            job.check()?;
            let per_split = tries_at(depth, self.rules.columns_per_split, self.rules.change_per_level, self.data.columns.len());
            for node in &mut open {
                node.score_columns = self.draw(&mut rng, &columns, node, per_split);
            }
            if let Some(rng) = &mut shuffle {
                open.iter_mut().for_each(|node| node.score_columns = Some(shuffled(rng, node)));
            }
            // Those of the level above go when those of this level are there.
            _held = self.count(&fixed, index, &mut open, &parents, &family)?;
            let choices = self.choices(&mut open, index, &fixed, shuffle.is_some())?;
            // Split the rows of every node that found a split.
            let segments = segments(index, room, open.iter().map(|n| n.start..n.end));
            let sides: Vec<Option<[usize; 2]>> =
                segments.into_par_iter().zip(&choices).map(|((rows, room), c)| c.as_ref().map(|c| self.partition(rows, room, c))).collect();
            let (mut next, mut next_family, mut next_parents) = (vec![], vec![], vec![]);
            let drawn = take.filter(|_| depth == 0);
            let mut drawn_sides: Option<[usize; 2]> = None;
            if let (Some(take), Some(Some(all))) = (drawn, sides.first()) {
                let left = index[..all[0]].iter().filter(|r| take[r.at()]).count();
                index.retain(|r| take[r.at()]);
                drawn_sides = Some([left, index.len() - left]);
            }
            // Rows of all nodes on each side; the ranges of the index stay this node's own. Without weights, the sums of
            // the cuts are these numbers.
            let mut all_sides = sides.clone();
            let mut all_drawn = drawn_sides;
            if !team.is_alone() && fixed.w.is_none() && drawn.is_none() {
                all_sides = choices.iter().map(|c| c.as_ref().map(|c| c.w.map(|w| w as usize))).collect();
            } else {
                let mut totals: Vec<i64> =
                    sides.iter().flatten().flatten().chain(drawn_sides.iter().flatten()).map(|n| *n as i64).collect();
                team.sum_i64(&mut totals)?;
                let slots = all_sides.iter_mut().flatten().flatten().chain(all_drawn.iter_mut().flatten());
                slots.zip(totals).for_each(|(slot, n)| *slot = n as usize);
            }
            // The bins of every child, in the order of their numbers in the tree.
            let sides_of = (0..open.len()).filter(|i| choices[*i].is_some()).flat_map(|i| [(i, 0), (i, 1)]);
            let born: Vec<(usize, usize)> = sides_of.collect();
            let deeper = depth + 1 < self.rules.max_depth;
            let mut child_bins = born
                .into_par_iter()
                .map(|(i, way)| {
                    let choice = choices[i].as_ref().filter(|_| deeper)?;
                    self.child_bins(&open[i], choice, way)
                })
                .collect::<Vec<_>>()
                .into_iter();
            for (((node, choice), sides), all_sides) in open.into_iter().zip(choices).zip(sides).zip(all_sides) {
                let (Some(choice), Some(sides), Some(all_sides)) = (choice, sides, all_sides) else {
                    if let Some(take) = drawn {
                        index.retain(|r| take[r.at()]);
                    }
                    leaves.push(Leaf { node: node.id, start: node.start, end: node.end.min(index.len()) });
                    continue;
                };
                gains[choice.column] += choice.before - choice.after;
                let mut ids = [0; 2];
                let mut children = [None, None];
                let mut start = node.start;
                for way in 0..2 {
                    ids[way] = tree.nodes.len();
                    let bins = child_bins.next().flatten();
                    let rows = drawn_sides.as_ref().unwrap_or(&sides)[way];
                    let all_rows = all_drawn.as_ref().unwrap_or(&all_sides)[way];
                    let weight = if drawn_sides.is_some() { all_rows as f64 } else { choice.w[way] };
                    tree.nodes.push(Node { value: choice.mean[way], ..blank(weight) });
                    match bins {
                        Some(bins) => {
                            children[way] = Some(Open {
                                id: ids[way],
                                start,
                                end: start + rows,
                                all_rows,
                                bins,
                                counts: vec![],
                                alone: None,
                                valued: vec![],
                                ranges: None,
                                square: 0,
                                score_columns: None,
                            })
                        }
                        None => leaves.push(Leaf { node: ids[way], start, end: start + rows }),
                    }
                    start += rows;
                }
                let inner = &mut tree.nodes[node.id];
                inner.column = choice.column as u32;
                inner.missing_left = choice.missing_left;
                inner.split = match choice.at {
                    Where::Less(t) => Split::Less(t),
                    Where::Set { offset, bits } => Split::Set { offset, bits },
                    Where::Missing => Split::Missing,
                };
                (inner.left, inner.right) = (ids[0] as u32, ids[1] as u32);
                inner.gain = (choice.before - choice.after) as f32;
                // The larger child's counts are the parent's minus the smaller's.
                let both = children.iter().all(Option::is_some);
                let derive = both && drawn.is_none() && node.bins.iter().any(Option::is_some);
                let smaller = usize::from(all_sides[1] < all_sides[0]);
                if derive {
                    let (counts, square) = node.alone.unwrap_or((node.counts, node.square));
                    next_parents.push(Parent { counts, valued: node.valued, square });
                }
                let mine = next.len();
                for (way, child) in children.into_iter().enumerate() {
                    if let Some(child) = child {
                        next_family.push((derive && way != smaller).then(|| (next_parents.len() - 1, mine + smaller)));
                        next.push(child);
                    }
                }
            }
            open = next;
            family = next_family;
            let done = std::mem::replace(&mut parents, next_parents);
            // Many pieces of memory, which take their time to go.
            done.into_par_iter().for_each(drop);
        }
        if tree.nodes.len() == 1 {
            let mut sums = [0i64; 2];
            for (row, z) in (0u32..).zip(z) {
                let row = Row { row, z: *z };
                sums = [sums[0] + fixed.weight(row.at()), sums[1] + fixed.response(&row)];
            }
            team.sum_i64(&mut sums)?;
            tree.nodes[0].value = ((sums[1] as f64 / y_scale) / (sums[0] as f64 / w_scale)) as f32;
        }
        leaves.extend(open.iter().map(|n| Leaf { node: n.id, start: n.start, end: n.end }));
        // In an order that does not depend on which rows this node holds.
        leaves.sort_by_key(|l| l.node);
        Ok(Grown { tree, leaves, gains })
    }

    fn root(&self, index: &[Row], all_rows: usize, seed: i64) -> Open {
        let top = self.rules.nbins_top_level.max(self.rules.nbins);
        let bins = self.data.columns.iter().enumerate().map(|(j, c)| {
            if c.constant || !self.rules.may_meet(j, None) {
                return None;
            }
            let (min, max_ex) =
                if c.level == 2 { (0.0, c.levels as f64) } else { (c.min.max(-f64::MAX), exclusive(c.max.min(f64::MAX), c.level == 1)) };
            Bins::new(top, &self.rules, j, c, (min, max_ex), seed)
        });
        let bins = bins.collect();
        Open {
            id: 0,
            start: 0,
            end: index.len(),
            all_rows,
            bins,
            counts: vec![],
            alone: None,
            valued: vec![],
            ranges: None,
            square: 0,
            score_columns: None,
        }
    }

    fn tree_columns(&self, seed: i64) -> Vec<usize> {
        let n = self.data.columns.len();
        let mut all: Vec<usize> = (0..n).collect();
        if self.rules.columns_per_tree >= n {
            return all;
        }
        let mut rng = Rng::new(seed.wrapping_mul(0xDA7A));
        draw_last(&mut rng, &mut all, self.rules.columns_per_tree)
    }

    fn draw(&self, rng: &mut Rng, tree_columns: &[usize], node: &Open, per_split: usize) -> Option<Vec<usize>> {
        let n = self.data.columns.len();
        if per_split >= n && tree_columns.len() >= n {
            return None;
        }
        let mut usable: Vec<usize> = tree_columns.iter().copied().filter(|&c| node.bins[c].is_some()).collect();
        Some(draw_last(rng, &mut usable, per_split))
    }

    /// Fills the counts of every open node.
    ///
    /// Cost: each row to be counted is read once a level: 8 bytes of index and residual, and 1 or 2 (coded) or 8 bytes of each
    /// column, and one cell of 16 bytes is added to for each. What counts is how often memory must be waited for: once a row
    /// and 32 columns, from the strips, where rows lie far apart. Of two siblings only the smaller is counted in columns
    /// counted by value.
    fn count(
        &self,
        fixed: &Fixed<'_>,
        index: &[Row],
        open: &mut [Open],
        parents: &[Parent],
        family: &[Option<(usize, usize)>],
    ) -> Result<Reservation> {
        let width = self.data.columns.len();
        // Where few columns are drawn, only those are counted: the others would be for children that draw again.
        let wanted: Vec<Vec<bool>> = open
            .iter()
            .map(|n| {
                let usable = n.bins.iter().flatten().count();
                let drawn = n.score_columns.as_ref().filter(|s| s.len() * 2 <= usable);
                (0..width).map(|c| n.bins[c].is_some() && drawn.is_none_or(|d| d.contains(&c))).collect()
            })
            .collect();
        // Counting by distinct value pays while a node has more rows than twice the values, or has a bin for each.
        let by_value = |n: &Open, c: usize| match &self.data.columns[c].values {
            Values::Coded { distinct, .. } => {
                n.all_rows > 2 * distinct.len() || n.bins[c].as_ref().is_some_and(|b| b.step == 1.0 && b.bins >= distinct.len())
            }
            Values::Plain(_) => false,
        };
        // What is counted where: (column, its bins, by value).
        let mut direct: Vec<Vec<(usize, Bins, bool)>> = vec![vec![]; open.len()];
        let mut derived: Vec<Vec<usize>> = vec![vec![]; open.len()];
        for (n, node) in open.iter().enumerate() {
            for c in (0..width).filter(|c| wanted[n][*c]) {
                let Some(bins) = node.bins[c].clone() else { continue };
                match family[n] {
                    Some((p, _)) if parents[p].valued[c] && by_value(node, c) => derived[n].push(c),
                    _ => direct[n].push((c, bins, by_value(node, c))),
                }
            }
        }
        // The smaller of two siblings is counted by value where the larger is the rest of their parent.
        for n in 0..open.len() {
            let Some((_, smaller)) = family[n] else { continue };
            for &c in &derived[n] {
                match direct[smaller].iter_mut().find(|d| d.0 == c) {
                    Some(d) => d.2 = true,
                    None => direct[smaller].extend(open[n].bins[c].clone().map(|bins| (c, bins, true))),
                }
            }
        }
        // Large nodes are shared out among threads: by rows, whose counts are added up then, where those are fewer than the
        // rows; else by groups of columns. Whole numbers add up to the same either way.
        let threads = rayon::current_num_threads();
        let mut tasks: Vec<(usize, &[(usize, Bins, bool)], std::ops::Range<usize>, bool)> = vec![];
        for n in 0..open.len() {
            let rows = open[n].start..open[n].end;
            let pieces = if rows.len() >= LARGE { threads } else { 1 };
            let mut square = family[n].is_none();
            let cells = direct[n].iter().map(|d| self.cells(d)).sum::<usize>();
            if let Some(by_rows) = rows_a_piece(rows.len(), cells, threads) {
                for start in rows.clone().step_by(by_rows) {
                    tasks.push((n, &direct[n], start..rows.end.min(start + by_rows), square));
                }
                continue;
            }
            for columns in direct[n].chunks(direct[n].len().div_ceil(pieces).max(1)) {
                tasks.push((n, columns, rows.clone(), std::mem::take(&mut square)));
            }
            if square {
                tasks.push((n, &[], rows, true));
            }
        }
        let derived_cells = derived.iter().flatten().filter_map(|c| self.valued_cells(*c)).sum::<usize>();
        let cells = derived_cells + tasks.iter().flat_map(|t| t.1).map(|d| self.cells(d)).sum::<usize>();
        let held = self.data.ledger.reserve(&format!("histograms of {} nodes", open.len()), (cells * size_of::<[i64; 2]>()) as u64)?;
        let built: Vec<(usize, Vec<(usize, Counts)>, i64)> = tasks
            .into_par_iter()
            .map(|(n, columns, rows, square)| {
                let (counts, square) = self.count_columns(columns, &index[rows], fixed, square);
                (n, counts, square)
            })
            .collect();
        for n in open.iter_mut() {
            n.counts = (0..width).map(|_| None).collect();
            n.valued = vec![false; width];
        }
        for (n, counts, square) in built {
            open[n].square += square;
            for (c, counts) in counts {
                match &mut open[n].counts[c] {
                    Some(sum) => sum.add(&counts),
                    empty => *empty = Some(counts),
                }
            }
        }
        for (n, direct) in direct.iter().enumerate() {
            direct.iter().for_each(|d| open[n].valued[d.0] = d.2);
        }
        let rests: Vec<Vec<Option<Counts>>> = derived
            .par_iter()
            .zip(family)
            .map(|(derived, family)| {
                let Some((p, sibling)) = *family else { return vec![] };
                let rest = |c: &usize| {
                    let (parent, other) = parents[p].counts[*c].as_ref().zip(open[sibling].counts[*c].as_ref())?;
                    Some(Counts {
                        cells: parent.cells.iter().zip(&other.cells).map(|(a, b)| [a[0] - b[0], a[1] - b[1]]).collect(),
                        missing_square: parent.missing_square - other.missing_square,
                        seen: (f64::NAN, f64::NAN),
                    })
                };
                derived.iter().map(rest).collect()
            })
            .collect();
        for (n, (derived, rests)) in derived.iter().zip(rests).enumerate() {
            let Some((p, sibling)) = family[n] else { continue };
            for (c, counts) in derived.iter().zip(rests) {
                open[n].counts[*c] = counts;
                open[n].valued[*c] = true;
            }
            open[n].square = parents[p].square - open[sibling].square;
        }
        self.add_up(open, &wanted)?;
        Ok(held)
    }

    /// Adds the counts of all nodes of the cluster: whole numbers, so exactly and in any order. Each column has one node
    /// that adds it up and finds its cuts. What travels are bins, a few dozen for a column of thousands of values: 16 bytes
    /// for each bin of the columns of others a level. Counts by value, from which those of a larger child are derived, stay
    /// each node's own.
    fn add_up(&self, open: &mut [Open], wanted: &[Vec<bool>]) -> Result<()> {
        let data = self.data;
        if data.team.is_alone() {
            return Ok(());
        }
        let me = data.team.rank();
        open.par_iter_mut().zip(wanted).for_each(|(node, wanted)| {
            let own = std::mem::take(&mut node.counts);
            let columns = data.columns.iter().zip(&node.bins).zip(&own).zip(wanted);
            node.counts = columns
                .map(|(((column, bins), counts), wanted)| Some(in_bins(column, bins.as_ref().filter(|_| *wanted)?, counts.as_ref()?)))
                .collect();
            node.alone = Some((own, node.square));
        });
        let squares: Vec<i64> = open.iter().map(|n| n.square).collect();
        let mut parcels: Vec<Vec<u8>> = vec![];
        for rank in 0..data.team.size() {
            let sent = |n: &Open| -> usize {
                let columns = n.counts.iter().enumerate().filter(|(c, _)| rank != me && data.owner[*c] == rank);
                columns.filter_map(|(_, counts)| Some(8 * (3 + 2 * counts.as_ref()?.cells.len()))).sum()
            };
            let mut parcel: Vec<u8> = Vec::with_capacity(8 * squares.len() + open.iter().map(sent).sum::<usize>());
            let mut put = |v: i64| parcel.extend_from_slice(&v.to_le_bytes());
            squares.iter().for_each(|s| put(*s));
            for n in open.iter() {
                for (_, counts) in n.counts.iter().enumerate().filter(|(c, _)| rank != me && data.owner[*c] == rank) {
                    let Some(counts) = counts else { continue };
                    put(counts.missing_square);
                    put(counts.seen.0.to_bits() as i64);
                    put(counts.seen.1.to_bits() as i64);
                    counts.cells.iter().flatten().for_each(|v| put(*v));
                }
            }
            parcels.push(parcel);
        }
        let all = data.team.exchange(parcels)?;
        for n in open.iter_mut() {
            for (c, counts) in n.counts.iter_mut().enumerate() {
                if data.owner[c] != me {
                    *counts = None;
                }
            }
        }
        for (_, parcel) in all.iter().enumerate().filter(|(rank, _)| *rank != me) {
            let mut words = parcel.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().expect("eight bytes")));
            let mut next = || words.next().ok_or_else(|| ochre_core::Error::Internal("nodes counted different things".into()));
            for n in open.iter_mut() {
                n.square += next()?;
            }
            for n in open.iter_mut() {
                for counts in n.counts.iter_mut().flatten() {
                    counts.missing_square += next()?;
                    let (low, high) = (f64::from_bits(next()? as u64), f64::from_bits(next()? as u64));
                    if !counts.seen.0.is_nan() {
                        counts.seen = (counts.seen.0.min(low), counts.seen.1.max(high));
                    }
                    for cell in &mut counts.cells {
                        *cell = [cell[0] + next()?, cell[1] + next()?];
                    }
                }
            }
        }
        Ok(())
    }

    /// The split of each open node. On a cluster each node proposes for the columns that it adds up, and all take the
    /// best of the proposals; with them come the ranges of values, which the bins of the children follow.
    fn choices(&self, open: &mut [Open], index: &[Row], fixed: &Fixed<'_>, first: bool) -> Result<Vec<Option<Choice>>> {
        let mine: Vec<Option<Proposal>> = open.par_iter().map(|n| self.best(n, &index[n.start..n.end], fixed, first)).collect();
        let data = self.data;
        if data.team.is_alone() {
            return Ok(mine.into_iter().map(|p| p.and_then(|p| p.choice)).collect());
        }
        let ranges: Vec<Vec<Option<(f64, f64)>>> = open
            .par_iter()
            .map(|n| n.counts.iter().enumerate().map(|(c, counts)| seen(&data.columns[c], counts.as_ref()?)).collect())
            .collect();
        let all = data.team.gather((mine, ranges))?;
        let mut out = vec![];
        for (i, n) in open.iter_mut().enumerate() {
            n.ranges = Some((0..data.columns.len()).map(|c| all[data.owner[c]].1[i][c]).collect());
            let mut best: Option<&Proposal> = None;
            for p in all.iter().filter_map(|(proposals, _)| proposals[i].as_ref()) {
                if best.is_none_or(|b| (p.after, p.place) < (b.after, b.place)) {
                    best = Some(p);
                }
            }
            out.push(best.and_then(|p| p.choice.clone()));
        }
        Ok(out)
    }

    /// The best split of a node over its columns, the first of equals; or (`first`) that of the first column that has one.
    ///
    /// Cuts that are equally good in exact arithmetic are told apart as the reference tells them: by the rounding of
    /// double-precision sums taken in row order and kept in single precision. Only such ties are computed a second time.
    fn best(&self, node: &Open, rows: &[Row], fixed: &Fixed<'_>, first: bool) -> Option<Proposal> {
        let all: Vec<usize>;
        let columns = match &node.score_columns {
            Some(c) => c,
            None => {
                all = (0..self.data.columns.len()).collect();
                &all
            }
        };
        let mut found: Vec<(usize, Cut)> = vec![];
        for &c in columns {
            let (Some(bins), Some(counts)) = (&node.bins[c], &node.counts[c]) else { continue };
            let missing = counts.cells[counts.cells.len() - 1][0] != 0;
            if bins.bins + usize::from(missing) <= 1 {
                continue;
            }
            if let Some(cut) = self.best_cut(node, c, bins, counts, fixed) {
                found.push((c, cut));
                if first {
                    break;
                }
            }
        }
        let least = found.iter().map(|(_, cut)| cut.after).fold(f64::INFINITY, f64::min);
        let close = node.square as f64 / fixed.yy_scale * TIE;
        found.retain(|(_, cut)| cut.after <= least + close);
        if self.data.all_rows <= ROW_ORDER_MAX && (found.len() > 1 || found.first().is_some_and(|(_, cut)| cut.second <= least + close)) {
            let exact: Vec<(usize, Cut)> = found
                .iter()
                .filter_map(|(c, _)| Some((*c, self.best_cut_in_row_order(*c, node.bins[*c].as_ref()?, rows, fixed)?)))
                .collect();
            if !exact.is_empty() {
                found = exact;
            }
        }
        let mut best: Option<(usize, Cut)> = None;
        for (c, cut) in found {
            if best.as_ref().is_none_or(|b| cut.after < b.1.after) {
                best = Some((c, cut));
            }
        }
        let (c, mut cut) = best?;
        // A child that the reference takes for impure by its rounding draws columns, and so moves the generator on; and where
        // edges of whole numbers are drawn, it may get other rows than were counted for it.
        let matters = node.score_columns.is_some() || self.rules.histogram == Histogram::Drawn;
        if matters && self.data.all_rows <= ROW_ORDER_MAX && cut.error[0].is_nan() {
            cut.error = self.best_cut_in_row_order(c, node.bins[c].as_ref()?, rows, fixed).map_or(cut.error, |exact| exact.error);
        }
        let after = if first { 0.0 } else { cut.after };
        let place = columns.iter().position(|x| *x == c).unwrap_or(0);
        let choice = self.choose(c, node.bins[c].as_ref()?, node.counts[c].as_ref()?, cut);
        Some(Proposal { after, place, choice })
    }

    /// The best cut of one column from its exact counts.
    fn best_cut(&self, node: &Open, c: usize, bins: &Bins, counts: &Counts, fixed: &Fixed<'_>) -> Option<Cut> {
        let column = &self.data.columns[c];
        let n = bins.bins;
        let mut cells = vec![[0i64; 2]; n];
        let missing = fill_bins(column, bins, counts, &mut cells);
        let order = self.order(c, bins, |b| if cells[b][0] == 0 { -f64::MAX } else { cells[b][1] as f64 / cells[b][0] as f64 });
        let at = |b: usize| cells[order.as_ref().map_or(b, |o| o[b])];
        let (ws, ys) = (1.0 / fixed.w_scale, 1.0 / fixed.y_scale);
        let total = (0..n).fold([0i64; 2], |s, b| [s[0] + cells[b][0], s[1] + cells[b][1]]);
        let (w_na, y_na, yy_na) = (missing[0] as f64 * ws, missing[1] as f64 * ys, counts.missing_square as f64 / fixed.yy_scale);
        let min_rows = self.rules.min_rows;
        if total[0] as f64 * ws + w_na < 2.0 * min_rows {
            return None;
        }
        let error = |yy: f64, y: f64, w: f64| (yy - y * y / w).max(0.0);
        let everything = node.square as f64 / fixed.yy_scale;
        let (w_in, y_in) = (total[0] as f64 * ws, total[1] as f64 * ys);
        let whole = error(everything, y_in + y_na, w_in + w_na);
        if whole <= PURE * everything {
            return None;
        }
        let mut before = error(everything - yy_na, y_in, w_in);
        let mut best = Cut {
            after: f64::MAX,
            second: f64::MAX,
            before,
            at: 0,
            side: Side::None,
            w: [0.0; 2],
            y: [0.0; 2],
            error: [f64::NAN; 2],
            order: None,
        };
        if w_na >= min_rows && w_na > 0.0 && w_in > 0.0 {
            best.after = before + error(yy_na, y_na, w_na);
            before = whole;
            (best.side, best.w, best.y) = (Side::MissingAlone, [w_in, w_na], [y_in, y_na]);
        }
        best.before = before;
        let mut low = [0i64; 2];
        for b in 1..n {
            let prev = at(b - 1);
            low = [low[0] + prev[0], low[1] + prev[1]];
            if at(b)[0] == 0 {
                continue;
            }
            let (wl, yl) = (low[0] as f64 * ws, low[1] as f64 * ys);
            if wl + w_na < min_rows {
                continue;
            }
            let (wh, yh) = ((total[0] - low[0]) as f64 * ws, (total[1] - low[1]) as f64 * ys);
            if wh + w_na < min_rows {
                break;
            }
            let mut consider = |w: [f64; 2], y: [f64; 2], side: Side| {
                if w[0] < min_rows || w[1] < min_rows || w[0] <= 0.0 || w[1] <= 0.0 || self.rules.breaks(c, w, y) {
                    return;
                }
                best.offer((everything - y[0] * y[0] / w[0] - y[1] * y[1] / w[1]).max(0.0), b, n, side, w, y);
            };
            if w_na == 0.0 {
                consider([wl, wh], [yl, yh], Side::None);
            } else {
                consider([wl + w_na, wh], [yl + y_na, yh], Side::MissingLeft);
                consider([wl, wh + w_na], [yl, yh + y_na], Side::MissingRight);
            }
        }
        best.order = order;
        self.good_enough(best)
    }

    /// The same with the reference's rounding: double-precision sums in row order, then single precision.
    fn best_cut_in_row_order(&self, c: usize, bins: &Bins, rows: &[Row], fixed: &Fixed<'_>) -> Option<Cut> {
        let column = &self.data.columns[c];
        let n = bins.bins;
        let mut cells = vec![[0.0f64; 3]; n + 1];
        for r in rows {
            let (w, z) = (fixed.plain_weight(r.at()), fixed.exact.map_or(f64::from(r.z), |y| y[r.at()]));
            let v = column.value(r.at());
            let cell = &mut cells[if v.is_nan() { n } else { bins.of(v) }];
            let wy = w * z;
            cell[0] += w;
            cell[1] += wy;
            cell[2] += wy * z;
        }
        for cell in &mut cells {
            (cell[1], cell[2]) = (f64::from(cell[1] as f32), f64::from(cell[2] as f32));
        }
        let order = self.order(c, bins, |b| if cells[b][0] == 0.0 { -f64::MAX } else { cells[b][1] / cells[b][0] });
        let at = |b: usize| cells[order.as_ref().map_or(b, |o| o[b])];
        let plus = |a: [f64; 3], b: [f64; 3]| [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
        let mut low = vec![[0.0; 3]; n + 1];
        let mut high = vec![[0.0; 3]; n + 1];
        for b in 1..=n {
            low[b] = plus(low[b - 1], at(b - 1));
        }
        for b in (0..n).rev() {
            high[b] = plus(high[b + 1], at(b));
        }
        let na = cells[n];
        let error = |s: [f64; 3]| (s[2] - s[1] * s[1] / s[0]).max(0.0);
        let min_rows = self.rules.min_rows;
        let before = error(high[0]);
        let mut best = Cut {
            after: f64::MAX,
            second: f64::MAX,
            before,
            at: 0,
            side: Side::None,
            w: [0.0; 2],
            y: [0.0; 2],
            error: [f64::NAN; 2],
            order: None,
        };
        if na[0] >= min_rows && na[0] > 0.0 {
            best.after = before + error(na);
            best.before = error(plus(high[0], na));
            (best.side, best.w, best.y) = (Side::MissingAlone, [high[0][0], na[0]], [high[0][1], na[1]]);
            best.error = [before, error(na)];
        }
        for b in 1..n {
            if at(b)[0] == 0.0 || low[b][0] + na[0] < min_rows {
                continue;
            }
            if high[b][0] + na[0] < min_rows {
                break;
            }
            let mut consider = |l: [f64; 3], r: [f64; 3], side: Side| {
                if l[0] >= min_rows
                    && r[0] >= min_rows
                    && l[0] > 0.0
                    && r[0] > 0.0
                    && !self.rules.breaks(c, [l[0], r[0]], [l[1], r[1]])
                    && best.offer(error(l) + error(r), b, n, side, [l[0], r[0]], [l[1], r[1]])
                {
                    best.error = [error(l), error(r)];
                }
            };
            if na[0] == 0.0 {
                consider(low[b], high[b], Side::None);
            } else {
                consider(plus(low[b], na), high[b], Side::MissingLeft);
                consider(low[b], plus(high[b], na), Side::MissingRight);
            }
        }
        best.order = order;
        self.good_enough(best)
    }

    /// Categories in the order of their mean response, when each has a bin of its own.
    fn order(&self, c: usize, bins: &Bins, mean: impl Fn(usize) -> f64) -> Option<Vec<usize>> {
        (self.data.columns[c].level == 2 && bins.step == 1.0).then(|| {
            // Bins without rows are first; only the others need sorting.
            let means: Vec<f64> = (0..bins.bins).map(mean).collect();
            let mut o: Vec<usize> = (0..bins.bins).filter(|b| means[*b] == -f64::MAX).collect();
            let empty = o.len();
            o.extend((0..bins.bins).filter(|b| means[*b] != -f64::MAX));
            o[empty..].sort_by(|a, b| means[*a].total_cmp(&means[*b]));
            o
        })
    }

    fn good_enough(&self, cut: Cut) -> Option<Cut> {
        let none = cut.at == 0 && cut.side != Side::MissingAlone;
        let small = cut.after >= cut.before * (1.0 - self.rules.min_split_improvement);
        let same = nearly_equal((cut.y[0] / cut.w[0]) as f32, (cut.y[1] / cut.w[1]) as f32);
        let thin = cut.w[0] < self.rules.min_rows || cut.w[1] < self.rules.min_rows;
        if none || small || same || thin { None } else { Some(cut) }
    }

    /// A cut as a split of the tree.
    fn choose(&self, c: usize, bins: &Bins, counts: &Counts, cut: Cut) -> Option<Choice> {
        let column = &self.data.columns[c];
        let n = bins.bins;
        let mut cells = vec![[0i64; 2]; n];
        fill_bins(column, bins, counts, &mut cells);
        let at = if cut.side == Side::MissingAlone {
            Where::Missing
        } else if let Some(order) = &cut.order {
            let mut bits = vec![false; n];
            order[cut.at..].iter().for_each(|&b| bits[b] = true);
            // Levels that no row here has go with the larger number of levels.
            let (mut left, mut right) = (0, 0);
            for b in (0..n).filter(|&b| cells[b][0] > 0) {
                if bits[b] { right += 1 } else { left += 1 }
            }
            for b in (0..n).filter(|&b| cells[b][0] == 0) {
                bits[b] = left < right;
            }
            if bits.iter().all(|b| *b) || !bits.iter().any(|b| *b) {
                return None;
            }
            Where::Set { offset: bins.min as u32, bits }
        } else {
            let below = (0..cut.at).rev().find(|&b| cells[b][0] != 0).map_or(0, |b| b + 1);
            let above = (cut.at..n).find(|&b| cells[b][0] != 0).unwrap_or(n);
            let (mut lo, mut hi) = (bins.edge(below), bins.edge(above));
            if column.level > 0 {
                lo = if bins.step == 1.0 { lo - 1.0 } else { lo.floor() };
                hi = if bins.step == 1.0 { hi } else { hi.ceil() };
            }
            Where::Less(((lo + hi) / 2.0) as f32)
        };
        let missing_left = match cut.side {
            Side::MissingLeft => true,
            Side::None => cut.w[0] > cut.w[1],
            _ => false,
        };
        let mean = [0, 1].map(|way| (cut.y[way] / cut.w[way]) as f32);
        Some(Choice { column: c, at, missing_left, before: cut.before, after: cut.after, w: cut.w, error: cut.error, mean })
    }

    /// Orders the rows of a node: those going left first, each side in its old order. Returns the rows of each side.
    fn partition(&self, rows: &mut [Row], room: &mut [Row], choice: &Choice) -> [usize; 2] {
        let column = &self.data.columns[choice.column];
        let decide = |v: f64| -> bool {
            match &choice.at {
                Where::Missing => v.is_nan(),
                _ if v.is_nan() => !choice.missing_left,
                Where::Less(t) => v >= f64::from(*t),
                Where::Set { offset, bits } => {
                    if v < f64::from(*offset) {
                        !choice.missing_left
                    } else {
                        bits.get(v as usize - *offset as usize).copied().unwrap_or(!choice.missing_left)
                    }
                }
            }
        };
        // Codes are in the order of their values: a threshold is a code too, and a set a table of codes.
        enum Way {
            From(u16),
            Table(Vec<bool>),
            ByValue,
        }
        let way = match (&column.values, &choice.at) {
            (Values::Coded { distinct, .. }, Where::Less(t)) => Way::From(distinct.partition_point(|v| *v < f64::from(*t)) as u16),
            (Values::Coded { distinct, .. }, Where::Set { .. }) if rows.len() * 2 > distinct.len() => {
                Way::Table(distinct.iter().copied().chain([f64::NAN]).map(decide).collect())
            }
            _ => Way::ByValue,
        };
        let all = rows.len();
        let left = match (&column.values, &way) {
            (Values::Coded { codes, .. }, Way::From(first)) if !column.has_missing => part(rows, room, codes, |row| codes[row] >= *first),
            (Values::Coded { codes, distinct }, Way::From(first)) => part(rows, room, codes, |row| {
                let code = codes[row];
                if usize::from(code) == distinct.len() { !choice.missing_left } else { code >= *first }
            }),
            (Values::Coded { codes, .. }, Way::Table(table)) => part(rows, room, codes, |row| table[usize::from(codes[row])]),
            (Values::Coded { codes, .. }, _) => part(rows, room, codes, |row| decide(column.value(row))),
            (Values::Plain(v), _) => part(rows, room, v, |row| decide(v[row])),
        };
        [left, all - left]
    }

    /// Bins of a child's columns, or `None` when it cannot be split further.
    fn child_bins(&self, node: &Open, choice: &Choice, way: usize) -> Option<Vec<Option<Bins>>> {
        // Pure by the reference's arithmetic; otherwise purity shows when the child is counted.
        if choice.w[way] < self.rules.min_rows || choice.error[way] <= 1e-30 {
            return None;
        }
        if matches!(choice.at, Where::Missing) && way == 1 {
            return None;
        }
        let mut any = false;
        let bins = node
            .bins
            .iter()
            .enumerate()
            .map(|(j, bins)| {
                // What its ancestors ruled out stays out: their bins are gone.
                let bins = bins.as_ref().filter(|_| self.rules.may_meet(j, Some(choice.column)))?;
                let column = &self.data.columns[j];
                let next = (bins.bins >> 1).max(self.rules.nbins);
                // Columns that were not drawn for this node keep their range, and a split by categories keeps all ranges.
                let drawn = node.score_columns.as_ref().is_none_or(|s| s.contains(&j));
                let kept = !drawn || matches!(choice.at, Where::Set { .. });
                let (mut min, mut max_ex) = (bins.min, bins.max_ex);
                if !kept {
                    let range = match &node.ranges {
                        Some(ranges) => ranges[j],
                        None => seen(column, node.counts[j].as_ref().expect("counted")),
                    };
                    let (low, high) = range?;
                    if low == high {
                        return None;
                    }
                    (min, max_ex) = (low, exclusive(high, column.level > 0));
                }
                if j == choice.column
                    && let Where::Less(t) = choice.at
                {
                    let t = if column.level > 0 { f64::from(f64::from(t).ceil() as f32) } else { f64::from(t) };
                    if way == 0 { max_ex = t } else { min = t }
                }
                if min > max_ex
                    || nearly_equal_f64(min, max_ex)
                    || (next as f64 / (max_ex - min)).is_infinite()
                    || (column.level > 0 && min + 1.0 >= max_ex)
                {
                    return None;
                }
                let made = Bins::new(next, &self.rules, j, column, (min, max_ex), bins.child_seed(way))?;
                any = true;
                Some(made)
            })
            .collect();
        any.then_some(bins)
    }
}

fn nearly_equal_f64(a: f64, b: f64) -> bool {
    let ulp = |v: f64| f64::from_bits(v.abs().to_bits() + 1) - v.abs();
    (a - b).abs() <= ulp(a).min(ulp(b))
}

fn blank(weight: f64) -> Node {
    Node { split: Split::Leaf, column: 0, missing_left: false, left: 0, right: 0, value: 0.0, weight, gain: 0.0 }
}

/// Draws `n` by a partial Fisher-Yates shuffle from the end; returns them in the order the reference scans them.
fn draw_last(rng: &mut Rng, from: &mut [usize], n: usize) -> Vec<usize> {
    let all = from.len();
    let mut len = all;
    for _ in 0..n {
        if len == 0 {
            break;
        }
        let i = rng.below(len as u32) as usize;
        len -= 1;
        from.swap(i, len);
    }
    from[len..all].to_vec()
}

/// The columns that may split a node, in an order of the generator's.
fn shuffled(rng: &mut Rng, node: &Open) -> Vec<usize> {
    let mut columns = match &node.score_columns {
        Some(drawn) => drawn.clone(),
        None => (0..node.bins.len()).filter(|c| node.bins[*c].is_some()).collect(),
    };
    for n in (2..=columns.len()).rev() {
        columns.swap(n - 1, rng.below(n as u32) as usize);
    }
    columns
}

/// Rows counted together, so that their residuals stay in the nearest cache for every column.
const BLOCK: usize = 1024;
/// From this many rows on a node's columns are shared out among threads.
const LARGE: usize = 1 << 14;
/// A node's rows are shared out in pieces of at least this many times as many rows as there are cells to count in.
const CELLS: usize = 2;

/// Rows of each piece in which a node is shared out to threads by rows: several for each thread, so that none waits long for
/// the others; or none, where the cells of so many pieces would be more work than the rows.
pub(super) fn rows_a_piece(rows: usize, cells: usize, threads: usize) -> Option<usize> {
    let least = (cells * CELLS).max(LARGE / 2);
    (threads > 1 && rows >= LARGE && rows >= least * threads).then(|| rows.div_ceil(4 * threads).max(least))
}

impl TreeGrower<'_> {
    /// Cells that a column is counted in.
    fn cells(&self, (c, bins, by_value): &(usize, Bins, bool)) -> usize {
        self.valued_cells(*c).filter(|_| *by_value).unwrap_or(bins.bins + 1)
    }

    /// Those of a column that can be counted by distinct value.
    fn valued_cells(&self, c: usize) -> Option<usize> {
        match &self.data.columns[c].values {
            Values::Coded { distinct, .. } => Some(distinct.len() + 1),
            Values::Plain(_) => None,
        }
    }

    /// Counts some columns, each by distinct value or by bin, over the rows of a node.
    fn count_columns(
        &self,
        wanted: &[(usize, Bins, bool)],
        rows: &[Row],
        fixed: &Fixed<'_>,
        with_square: bool,
    ) -> (Vec<(usize, Counts)>, i64) {
        let mut out: Vec<(usize, Counts)> = wanted
            .iter()
            .map(|wanted| {
                let seen = match &self.data.columns[wanted.0].values {
                    Values::Coded { .. } if wanted.2 => (f64::NAN, f64::NAN),
                    _ => (f64::INFINITY, f64::NEG_INFINITY),
                };
                (wanted.0, Counts { cells: vec![[0i64; 2]; self.cells(wanted)], missing_square: 0, seen })
            })
            .collect();
        let reading = self.data.strips.reading(wanted.iter().map(|w| w.0), rows);
        // Codes of a block, column by column; small nodes have small blocks.
        let stride = rows.len().min(BLOCK);
        let mut local = vec![0u16; wanted.len() * stride];
        let (mut y, mut w) = ([0i64; BLOCK], [1i64; BLOCK]);
        let mut square = 0;
        for block in rows.chunks(BLOCK) {
            fixed.responses(block, &mut y);
            if with_square {
                square += block.iter().map(|r| fixed.square(r)).sum::<i64>();
            }
            if fixed.w.is_some() {
                for (slot, r) in w.iter_mut().zip(block) {
                    *slot = fixed.weight(r.at());
                }
            }
            reading.gather(block, &mut local, stride);
            for k in (0..wanted.len()).filter(|k| !reading.brought[*k]) {
                if let Values::Coded { codes, .. } = &self.data.columns[wanted[k].0].values {
                    local[k * stride..].iter_mut().zip(block).for_each(|(slot, r)| *slot = codes[r.at()]);
                }
            }
            for (k, ((c, counts), (_, bins, by_value))) in out.iter_mut().zip(wanted).enumerate() {
                let column = &self.data.columns[*c];
                let codes = &local[k * stride..][..block.len()];
                match &column.values {
                    Values::Coded { distinct, .. } if *by_value => {
                        if fixed.w.is_some() {
                            for ((code, y), w) in codes.iter().zip(&y).zip(&w) {
                                let cell = &mut counts.cells[usize::from(*code)];
                                cell[0] += w;
                                cell[1] += y;
                            }
                        } else {
                            tally(codes, &y, &mut counts.cells);
                        }
                        if column.has_missing {
                            let na = distinct.len() as u16;
                            counts.missing_square +=
                                codes.iter().zip(block).filter(|(c, _)| **c == na).map(|(_, r)| fixed.square(r)).sum::<i64>();
                        }
                    }
                    Values::Coded { distinct, .. } if !column.has_missing && matches!(bins.edges, Edges::Even) && !bins.single => {
                        tally_bins(codes, distinct, bins, (&y, &w), counts);
                    }
                    _ => {
                        for ((r, y), w) in block.iter().zip(&y).zip(&w) {
                            let v = column.value(r.at());
                            let b = if v.is_nan() {
                                counts.missing_square += fixed.square(r);
                                bins.bins
                            } else {
                                counts.seen = (v.min(counts.seen.0), v.max(counts.seen.1));
                                bins.of(v)
                            };
                            counts.cells[b][0] += w;
                            counts.cells[b][1] += y;
                        }
                    }
                }
            }
        }
        (out, square)
    }
}

/// Adds rows to the bins of their values, where none is missing.
#[inline(never)]
fn tally_bins(codes: &[u16], distinct: &[f64], bins: &Bins, (y, w): (&[i64; BLOCK], &[i64; BLOCK]), counts: &mut Counts) {
    let (min, step, last) = (bins.min, bins.step, bins.bins - 1);
    let (mut low, mut high) = (u16::MAX, 0);
    for ((&code, y), w) in codes.iter().zip(y).zip(w) {
        (low, high) = (low.min(code), high.max(code));
        // Infinite values saturate, and so come to the first or last bin.
        let cell = &mut counts.cells[(((distinct[usize::from(code)] - min) * step) as usize).min(last)];
        cell[0] += w;
        cell[1] += y;
    }
    if low <= high {
        counts.seen = (counts.seen.0.min(distinct[usize::from(low)]), counts.seen.1.max(distinct[usize::from(high)]));
    }
}

/// Adds rows of weight 1 to the cells of their codes: the innermost loop of training.
#[inline(never)]
fn tally(codes: &[u16], y: &[i64; BLOCK], cells: &mut [Cell]) {
    for (code, y) in codes.iter().zip(y) {
        debug_assert!(usize::from(*code) < cells.len());
        // SAFETY: a code is at most the number of distinct values, and there is one cell more than those (`TreeData` makes
        // both).
        unsafe {
            let cell = cells.get_unchecked_mut(usize::from(*code));
            cell[0] += 1;
            cell[1] += y;
        }
    }
}

/// The bins' cells from a column's counts; returns the cell of missing values.
fn fill_bins(column: &TreeColumn, bins: &Bins, counts: &Counts, cells: &mut [Cell]) -> Cell {
    let last = counts.cells[counts.cells.len() - 1];
    match &column.values {
        // Categories with a bin each: the bins are the counts from the first one on.
        Values::Coded { distinct, .. }
            if counts.seen.0.is_nan() && column.level == 2 && bins.step == 1.0 && matches!(bins.edges, Edges::Even) =>
        {
            let first = bins.min as usize;
            let n = cells.len().min(distinct.len() - first.min(distinct.len()));
            cells[..n].copy_from_slice(&counts.cells[first..first + n]);
            // Rows of categories outside of the bins come to the nearest one.
            for (i, cell) in counts.cells[..distinct.len()].iter().enumerate().filter(|(i, c)| c[0] != 0 && !(first..first + n).contains(i))
            {
                let b = bins.of(distinct[i]);
                cells[b][0] += cell[0];
                cells[b][1] += cell[1];
            }
        }
        Values::Coded { distinct, .. } if counts.seen.0.is_nan() => {
            for (v, cell) in distinct.iter().zip(&counts.cells) {
                if cell[0] != 0 {
                    let b = bins.of(*v);
                    cells[b][0] += cell[0];
                    cells[b][1] += cell[1];
                }
            }
        }
        _ => cells.copy_from_slice(&counts.cells[..cells.len()]),
    }
    last
}

/// A column's counts as those of its bins, with the range of its values.
fn in_bins(column: &TreeColumn, bins: &Bins, counts: &Counts) -> Counts {
    let mut cells = vec![[0i64; 2]; bins.bins];
    let missing = fill_bins(column, bins, counts, &mut cells);
    cells.push(missing);
    Counts { cells, missing_square: counts.missing_square, seen: seen(column, counts).unwrap_or((f64::INFINITY, f64::NEG_INFINITY)) }
}

/// Smallest and largest value that the node's rows have in a column.
fn seen(column: &TreeColumn, counts: &Counts) -> Option<(f64, f64)> {
    if !counts.seen.0.is_nan() {
        return (counts.seen.0 <= counts.seen.1).then_some(counts.seen);
    }
    let Values::Coded { distinct, .. } = &column.values else { return None };
    let present = |i: &usize| counts.cells[*i][0] != 0;
    let low = (0..distinct.len()).find(present)?;
    let high = (0..distinct.len()).rev().find(present)?;
    Some((distinct[low], distinct[high]))
}

/// How many of the columns a node of a level tries: `col_sample_rate_change_per_level` changes it from the third level on.
pub fn tries_at(depth: usize, tries: usize, change_per_level: f64, columns: usize) -> usize {
    ((tries as f64 * change_per_level.powi(depth.saturating_sub(1) as i32)) as usize).clamp(1, columns)
}
