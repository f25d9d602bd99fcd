//! Second-order trees: splits and leaves from gradients and hessians (Chen and Guestrin 2016, "XGBoost: a scalable tree
//! boosting system", equations 6 and 7), level by level or best gain first.
//!
//! Sums are kept in fixed point, as in the other grower, so trees do not depend on threads or nodes. A node with many rows
//! is counted bin by bin, the larger of two siblings by subtraction; one with few rows has them sorted instead. Categories
//! are features of their own, one against all others, as if they were encoded one-hot; one pass over their codes counts them
//! all. Cost of a level: 12 bytes of index and gradients a row, 1 to 4 bytes of code a row and column, and a cell of 16 bytes
//! that is added to; memory is waited for once a row and 64 bytes of codes, from the strips, where rows lie far apart.

use super::binned::{BinnedColumn, BinnedData, Codes, Scale};
use super::grow::{Leaf, nearest, rows_a_piece, scale_for};
use super::rows::{GradientRow, Seat, part, segments};
use ochre_core::{Job, Ledger, Result, Rng};
use ochre_score::{Node, Split, Tree};
use rayon::prelude::*;
use std::sync::Arc;

/// What decides about splits and leaves; names as in the xgboost package.
#[derive(Clone, Debug)]
pub struct NewtonRules {
    /// 0 for no limit.
    pub max_depth: usize,
    /// 0 for no limit.
    pub max_leaves: usize,
    /// The split with the largest gain first, wherever it is?
    pub best_first: bool,
    pub min_child_weight: f64,
    pub lambda: f64,
    pub alpha: f64,
    pub gamma: f32,
    pub max_delta_step: f64,
    pub eta: f32,
    /// Shares of the features drawn for a tree, of those for a level, of those for a node.
    pub by_tree: f64,
    pub by_level: f64,
    pub by_node: f64,
    /// Per column 1 where predictions must rise, -1 where they must fall, 0 otherwise; empty for no constraints.
    pub monotone: Vec<i8>,
    /// Per set of columns that may meet on a way down a tree, which columns it holds; empty when all may.
    pub together: Vec<Vec<bool>>,
}

/// Sums of gradients and hessians in fixed point.
type Cell = [i64; 2];

fn plus(a: Cell, b: Cell) -> Cell {
    [a[0] + b[0], a[1] + b[1]]
}
fn minus(a: Cell, b: Cell) -> Cell {
    [a[0] - b[0], a[1] - b[1]]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    /// Codes below go left.
    Below(usize, f32),
    /// This level goes right, all others left.
    Level(usize),
}

/// Where rows go at a node.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    column: usize,
    at: At,
    missing_left: bool,
}

impl Way {
    fn goes_right(&self, columns: &[BinnedColumn], row: usize) -> bool {
        let c = &columns[self.column];
        self.right_of(c.codes.get(row), c.bins)
    }
    #[inline]
    fn right_of(&self, code: usize, bins: usize) -> bool {
        match self.at {
            At::Level(l) => code == l,
            At::Below(..) if code == bins => !self.missing_left,
            At::Below(at, _) => code >= at,
        }
    }
}

#[derive(Clone, Debug)]
struct Best {
    gain: f32,
    feature: usize,
    way: Way,
    sides: [Cell; 2],
}

struct Open {
    id: usize,
    depth: usize,
    start: usize,
    end: usize,
    all_rows: usize,
    /// Which features may split here; all, if nothing says otherwise.
    features: Option<Arc<Vec<bool>>>,
    /// Columns that split above.
    path: Vec<usize>,
    cells: Option<Vec<Cell>>,
    best: Option<Best>,
}

pub struct NewtonTree {
    pub tree: Tree,
    pub ways: Vec<Option<Way>>,
    /// Leaves with their rows in the row order.
    pub leaves: Vec<Leaf>,
    /// Feature, gain and sum of hessians of each split.
    pub splits: Vec<(usize, f64, f64)>,
}

impl NewtonTree {
    /// The leaf of a row.
    pub fn leaf_at(&self, data: &BinnedData, row: usize) -> usize {
        let mut at = 0;
        while let Some(way) = &self.ways[at] {
            let n = &self.tree.nodes[at];
            at = if way.goes_right(&data.columns, row) { n.right } else { n.left } as usize;
        }
        at
    }
}

pub struct NewtonGrower<'a> {
    pub data: &'a BinnedData,
    pub rules: NewtonRules,
    pub ledger: &'a Arc<Ledger>,
}

/// Splits that gain less than this are none (the package's `kRtEps`).
const LEAST_GAIN: f32 = 1e-6;
/// Rows counted together, so that their gradients stay in the nearest cache for every column.
const BLOCK: usize = 1024;
/// Nodes with at least as many rows are shared out to threads.
const LARGE: usize = 1 << 14;

/// What happens in one tree: the scales that make fixed-point numbers of gradients, and what has been found out about nodes.
struct Growth {
    scale: [f64; 2],
    /// Sums and bounds of the value of each node.
    sums: Vec<Cell>,
    bounds: Vec<[f32; 2]>,
}

impl Growth {
    /// A row's gradient and hessian; one that takes part always counts, however small its hessian.
    #[inline(always)]
    fn pair(&self, r: &GradientRow) -> Cell {
        [nearest(f64::from(r.g) * self.scale[0]), nearest(f64::from(r.h) * self.scale[1]).max(1)]
    }

    fn real(&self, c: Cell) -> (f64, f64) {
        (c[0] as f64 / self.scale[0], c[1] as f64 / self.scale[1])
    }
}

impl NewtonGrower<'_> {
    fn threshold(&self, g: f64) -> f64 {
        let a = self.rules.alpha;
        if g > a {
            g - a
        } else if g < -a {
            g + a
        } else {
            0.0
        }
    }

    fn weight(&self, (g, h): (f64, f64), bounds: [f32; 2]) -> f32 {
        if h < self.rules.min_child_weight || h <= 0.0 {
            return 0.0;
        }
        let mut w = -self.threshold(g) / (h + self.rules.lambda);
        let limit = self.rules.max_delta_step;
        if limit != 0.0 && w.abs() > limit {
            w = limit.copysign(w);
        }
        (w as f32).clamp(bounds[0], bounds[1])
    }

    fn gain(&self, (g, h): (f64, f64), bounds: [f32; 2]) -> f32 {
        if h <= 0.0 {
            return 0.0;
        }
        if self.rules.max_delta_step == 0.0 && self.rules.monotone.is_empty() {
            let t = self.threshold(g);
            return (t * t / (h + self.rules.lambda)) as f32;
        }
        let w = f64::from(self.weight((g, h), bounds));
        let alpha = 2.0 * self.rules.alpha * w.abs();
        -(2.0 * g * w + (h + self.rules.lambda) * w * w + alpha) as f32
    }

    /// The gain of two sides, unless the split may not be.
    fn split_gain(&self, growth: &Growth, node: &Open, column: usize, sides: [Cell; 2]) -> Option<f32> {
        let (l, r) = (growth.real(sides[0]), growth.real(sides[1]));
        if l.1 < self.rules.min_child_weight || r.1 < self.rules.min_child_weight || l.1 <= 0.0 || r.1 <= 0.0 {
            return None;
        }
        let bounds = growth.bounds[node.id];
        if let Some(sign @ (1 | -1)) = self.rules.monotone.get(column) {
            let (wl, wr) = (self.weight(l, bounds), self.weight(r, bounds));
            if (*sign > 0 && wl > wr) || (*sign < 0 && wl < wr) {
                return None;
            }
        }
        Some(self.gain(l, bounds) + self.gain(r, bounds))
    }

    /// Grows a tree; rows for which `take` is false, or whose hessian is 0, take no part. `index` and `room` are scratch.
    pub fn grow(
        &self,
        job: &Job,
        index: &mut Vec<GradientRow>,
        room: &mut Vec<GradientRow>,
        (g, h): (&[f32], &[f32]),
        take: Option<&[bool]>,
        seed: i64,
    ) -> Result<NewtonTree> {
        let (data, team) = (self.data, &self.data.team);
        index.clear();
        let all = (0u32..).zip(g.iter().zip(h)).map(|(row, (g, h))| GradientRow { row, g: *g, h: *h });
        index.extend(all.filter(|r| r.h > 0.0 && take.is_none_or(|t| t[r.at()])));
        room.resize(index.len(), GradientRow::default());
        let largest = |v: &[f32]| v.par_iter().map(|v| f64::from(v.abs())).reduce(|| 0.0, f64::max);
        let known = team.gather((largest(g), largest(h), index.len()))?;
        let scale = [
            scale_for(known.iter().map(|k| k.0).fold(0.0, f64::max), data.all_rows),
            scale_for(known.iter().map(|k| k.1).fold(0.0, f64::max), data.all_rows),
        ];
        let mut growth = Growth { scale, sums: vec![], bounds: vec![[f32::NEG_INFINITY, f32::INFINITY]] };
        let mut total = index.par_iter().map(|r| growth.pair(r)).reduce(|| [0; 2], plus);
        team.sum_i64(&mut total)?;
        growth.sums.push(total);
        let mut rng = Rng::new(seed);
        let of_tree = self.draw(&None, self.rules.by_tree, &mut rng);
        let mut of_levels: Vec<Option<Arc<Vec<bool>>>> = vec![];

        let mut tree = Tree { nodes: vec![blank()] };
        let mut ways: Vec<Option<Way>> = vec![None];
        let mut gains = vec![(0usize, 0f32)];
        let mut leaves: Vec<Leaf> = vec![];
        let all_rows = known.iter().map(|k| k.2).sum();
        let mut root =
            Open { id: 0, depth: 0, start: 0, end: index.len(), all_rows, features: None, path: vec![], cells: None, best: None };
        root.features = self.features_of(0, &of_tree, &mut of_levels, &mut rng);
        let mut queue = vec![root];
        let mut held = vec![];
        self.look(&mut growth, index, &mut queue, vec![None], vec![], &mut held)?;
        let mut ends = 1;
        while !queue.is_empty() {
            job.check()?;
            let batch: Vec<Open> = if self.rules.best_first {
                let gain = |o: &Open| o.best.as_ref().map_or(f32::NEG_INFINITY, |b| b.gain);
                let top = (0..queue.len()).reduce(|a, b| if gain(&queue[b]) > gain(&queue[a]) { b } else { a }).unwrap_or(0);
                vec![queue.remove(top)]
            } else {
                held.drain(..held.len().saturating_sub(1));
                std::mem::take(&mut queue)
            };
            let mut batch: Vec<(Open, bool)> = batch
                .into_iter()
                .map(|o| {
                    let splits = o.best.is_some() && (self.rules.max_leaves == 0 || ends < self.rules.max_leaves);
                    ends += usize::from(splits);
                    (o, splits)
                })
                .collect();
            let sides = self.part(index, room, &batch);
            let mut all_sides: Vec<i64> = sides.iter().flat_map(|(l, r)| [*l as i64, *r as i64]).collect();
            team.sum_i64(&mut all_sides)?;
            let (mut fresh, mut family, mut parents) = (vec![], vec![], vec![]);
            for (k, (node, splits)) in batch.iter_mut().enumerate() {
                let Some(best) = node.best.take().filter(|_| *splits) else {
                    leaves.push(Leaf { node: node.id, start: node.start, end: node.end });
                    continue;
                };
                let way = best.way;
                let ids = [tree.nodes.len(), tree.nodes.len() + 1];
                let bounds = self.child_bounds(&growth, node.id, way.column, best.sides);
                for side in 0..2 {
                    tree.nodes.push(blank());
                    ways.push(None);
                    gains.push((0, 0.0));
                    growth.sums.push(best.sides[side]);
                    growth.bounds.push(bounds[side]);
                }
                let inner = &mut tree.nodes[node.id];
                (inner.column, inner.missing_left) = (way.column as u32, way.missing_left);
                (inner.left, inner.right) = (ids[0] as u32, ids[1] as u32);
                inner.split = self.split(way);
                ways[node.id] = Some(way);
                gains[node.id] = (best.feature, best.gain);
                let depth = node.depth + 1;
                let (left, right) = sides[k];
                let deep = self.rules.max_depth > 0 && depth >= self.rules.max_depth;
                let rows = [all_sides[2 * k] as usize, all_sides[2 * k + 1] as usize];
                let mut start = node.start;
                let first = fresh.len();
                for (side, n) in [left, right].into_iter().enumerate() {
                    let mut path = node.path.clone();
                    path.push(way.column);
                    if deep {
                        leaves.push(Leaf { node: ids[side], start, end: start + n });
                    } else {
                        let features = self.features_of(depth, &of_tree, &mut of_levels, &mut rng);
                        fresh.push(Open {
                            id: ids[side],
                            depth,
                            start,
                            end: start + n,
                            all_rows: rows[side],
                            features,
                            path,
                            cells: None,
                            best: None,
                        });
                    }
                    start += n;
                }
                if !deep {
                    let smaller = usize::from(rows[1] < rows[0]);
                    // The larger child's cells are the parent's less the smaller's.
                    let parent = node.cells.take().map(|cells| {
                        parents.push(cells);
                        parents.len() - 1
                    });
                    for side in 0..2 {
                        family.push(parent.filter(|_| side != smaller).map(|p| (p, first + smaller)));
                    }
                }
            }
            self.look(&mut growth, index, &mut fresh, family, parents, &mut held)?;
            queue.extend(fresh);
        }
        for (i, n) in tree.nodes.iter_mut().enumerate() {
            let sums = growth.real(growth.sums[i]);
            n.weight = sums.1;
            n.value = self.weight(sums, growth.bounds[i]) * self.rules.eta;
        }
        if self.data.exact && self.rules.gamma > 0.0 {
            self.prune(&mut tree, &mut ways, &mut leaves, &mut gains);
        }
        tree.nodes.iter_mut().zip(&gains).for_each(|(n, g)| n.gain = g.1);
        let splits = (0..tree.nodes.len()).filter(|i| ways[*i].is_some());
        let splits = splits.map(|i| (gains[i].0, f64::from(gains[i].1), tree.nodes[i].weight)).collect();
        leaves.sort_by_key(|l| (l.node, l.start));
        Ok(NewtonTree { tree, ways, leaves, splits })
    }

    fn split(&self, way: Way) -> Split {
        match way.at {
            At::Below(_, t) if self.data.sparse => Split::SparseBelow(t),
            At::Below(_, t) => Split::Below(t),
            At::Level(l) => {
                let bins = self.data.columns[way.column].bins;
                if l == bins { Split::Missing } else { Split::Set { offset: 0, bits: (0..bins).map(|b| b == l).collect() } }
            }
        }
    }

    fn child_bounds(&self, growth: &Growth, id: usize, column: usize, sides: [Cell; 2]) -> [[f32; 2]; 2] {
        let b = growth.bounds[id];
        let mut out = [b, b];
        if let Some(sign @ (1 | -1)) = self.rules.monotone.get(column) {
            let middle = (self.weight(growth.real(sides[0]), b) + self.weight(growth.real(sides[1]), b)) / 2.0;
            let (low, high) = if *sign > 0 { (0, 1) } else { (1, 0) };
            out[low][1] = middle;
            out[high][0] = middle;
        }
        out
    }

    /// Some of the features, drawn without putting back; at least one.
    fn draw(&self, from: &Option<Arc<Vec<bool>>>, rate: f64, rng: &mut Rng) -> Option<Arc<Vec<bool>>> {
        if rate >= 1.0 {
            return from.clone();
        }
        let n = self.data.features;
        let mut pool: Vec<usize> = (0..n).filter(|f| from.as_ref().is_none_or(|m| m[*f])).collect();
        let wanted = ((pool.len() as f64 * rate) as usize).max(1);
        let mut out = vec![false; n];
        for _ in 0..wanted.min(pool.len()) {
            out[pool.swap_remove(rng.below(pool.len() as u32) as usize)] = true;
        }
        Some(Arc::new(out))
    }

    fn features_of(
        &self,
        depth: usize,
        of_tree: &Option<Arc<Vec<bool>>>,
        of_levels: &mut Vec<Option<Arc<Vec<bool>>>>,
        rng: &mut Rng,
    ) -> Option<Arc<Vec<bool>>> {
        while of_levels.len() <= depth {
            of_levels.push(self.draw(of_tree, self.rules.by_level, rng));
        }
        self.draw(&of_levels[depth], self.rules.by_node, rng)
    }

    /// Reorders the rows of nodes that split, left ones first; answers how many go each way.
    fn part(&self, index: &mut [GradientRow], room: &mut [GradientRow], batch: &[(Open, bool)]) -> Vec<(usize, usize)> {
        segments(index, room, batch.iter().map(|(n, _)| n.start..n.end))
            .into_par_iter()
            .zip(batch)
            .map(|((rows, room), (node, splits))| {
                let Some(best) = node.best.as_ref().filter(|_| *splits) else { return (0, 0) };
                let (way, column) = (best.way, &self.data.columns[best.way.column]);
                let all = rows.len();
                let left = match &column.codes {
                    Codes::Narrow(v) => part(rows, room, v, |row| way.right_of(usize::from(v[row]), column.bins)),
                    Codes::Middle(v) => part(rows, room, v, |row| way.right_of(usize::from(v[row]), column.bins)),
                    Codes::Wide(v) => part(rows, room, v, |row| way.right_of(v[row] as usize, column.bins)),
                };
                (left, all - left)
            })
            .collect()
    }

    /// Counts nodes and finds the best split of each.
    fn look(
        &self,
        growth: &mut Growth,
        index: &[GradientRow],
        nodes: &mut [Open],
        family: Vec<Option<(usize, usize)>>,
        parents: Vec<Vec<Cell>>,
        held: &mut Vec<ochre_core::Reservation>,
    ) -> Result<()> {
        let (data, team) = (self.data, &self.data.team);
        let width = data.columns.len();
        let size: usize = data.columns.iter().map(|c| c.bins + 1).sum();
        // On a cluster cells are what nodes can add up; alone, few rows are sorted faster than many bins are looked through.
        let mut by_cells: Vec<bool> = nodes.iter().map(|n| !team.is_alone() || n.all_rows * 4 >= size).collect();
        for n in 0..nodes.len() {
            if let Some((_, smaller)) = family[n].filter(|_| by_cells[n]) {
                by_cells[smaller] = true;
            }
        }
        let counted = by_cells.iter().filter(|b| **b).count();
        if counted > 0 {
            held.push(self.ledger.reserve("histograms of trees", (counted * size * 16) as u64)?);
        }
        let derived = |n: usize| family[n].filter(|_| by_cells[n]);
        let threads = rayon::current_num_threads();
        let group = width.div_ceil(threads).max(1);
        let mut tasks: Vec<(usize, std::ops::Range<usize>, std::ops::Range<usize>)> = vec![];
        for n in (0..nodes.len()).filter(|n| by_cells[*n] && derived(*n).is_none()) {
            let rows = nodes[n].start..nodes[n].end;
            if let Some(by_rows) = rows_a_piece(rows.len(), size, threads) {
                tasks.extend(rows.clone().step_by(by_rows).map(|r| (n, r..rows.end.min(r + by_rows), 0..width)));
            } else {
                let share = if rows.len() >= LARGE { group } else { width };
                tasks.extend((0..width).step_by(share).map(|c| (n, rows.clone(), c..width.min(c + share))));
            }
        }
        let built: Vec<(usize, usize, Vec<Cell>)> = {
            let growth = &*growth;
            tasks.into_par_iter().map(|(n, rows, columns)| (n, columns.start, self.cells(growth, &index[rows], columns))).collect()
        };
        for (n, first, cells) in built {
            let sum = nodes[n].cells.get_or_insert_default();
            if first == 0 && !sum.is_empty() {
                sum.iter_mut().zip(cells).for_each(|(a, b)| *a = plus(*a, b));
            } else {
                sum.extend(cells);
            }
        }
        if !team.is_alone() {
            for n in nodes.iter_mut() {
                if let Some(cells) = &mut n.cells {
                    team.sum_i64(cells.as_flattened_mut())?;
                }
            }
        }
        let mut parents: Vec<Option<Vec<Cell>>> = parents.into_iter().map(Some).collect();
        for n in 0..nodes.len() {
            if let Some((parent, smaller)) = derived(n)
                && let Some(mut cells) = parents[parent].take()
            {
                let less = nodes[smaller].cells.as_deref().unwrap_or(&[]);
                cells.iter_mut().zip(less).for_each(|(c, l)| *c = minus(*c, *l));
                nodes[n].cells = Some(cells);
            }
        }
        let growth = &*growth;
        let found: Vec<Option<Best>> = nodes.par_iter().map(|n| self.best(growth, index, n)).collect();
        nodes.iter_mut().zip(found).for_each(|(n, b)| n.best = b);
        Ok(())
    }

    /// Sums of each bin of some columns over some rows, one column after the other.
    fn cells(&self, growth: &Growth, rows: &[GradientRow], columns: std::ops::Range<usize>) -> Vec<Cell> {
        let data = self.data;
        let mut out = vec![[0i64; 2]; data.columns[columns.clone()].iter().map(|c| c.bins + 1).sum()];
        let reading = data.strips.reading(columns.clone(), rows);
        let stride = rows.len().min(BLOCK);
        let mut local = vec![0u16; columns.len() * stride];
        let mut pairs = [[0i64; 2]; BLOCK];
        for rows in rows.chunks(BLOCK) {
            pairs.iter_mut().zip(rows).for_each(|(p, r)| *p = growth.pair(r));
            reading.gather(rows, &mut local, stride);
            let mut rest = &mut out[..];
            for (k, c) in data.columns[columns.clone()].iter().enumerate() {
                let (cells, tail) = rest.split_at_mut(c.bins + 1);
                rest = tail;
                if reading.brought[k] {
                    let codes = &local[k * stride..][..rows.len()];
                    add(cells, codes.iter().map(|c| usize::from(*c)), &pairs);
                    continue;
                }
                match &c.codes {
                    Codes::Narrow(v) => add(cells, rows.iter().map(|r| usize::from(v[r.at()])), &pairs),
                    Codes::Middle(v) => add(cells, rows.iter().map(|r| usize::from(v[r.at()])), &pairs),
                    Codes::Wide(v) => add(cells, rows.iter().map(|r| v[r.at()] as usize), &pairs),
                }
            }
        }
        out
    }

    fn best(&self, growth: &Growth, index: &[GradientRow], node: &Open) -> Option<Best> {
        let data = self.data;
        let mut starts = vec![0];
        for c in &data.columns {
            starts.push(starts[starts.len() - 1] + c.bins + 1);
        }
        let together = &self.rules.together;
        // As the package has it: any column may make a tree's first split; below it those of a set with all columns above.
        let may = |j: &usize| {
            let same_set = || together.iter().any(|set| set[*j] && node.path.iter().all(|p| set[*p]));
            together.is_empty() || node.path.is_empty() || same_set() || node.path.contains(j)
        };
        let one = |j: usize| -> Option<Best> {
            let c = &data.columns[j];
            let present: Vec<(usize, Cell)> = match &node.cells {
                Some(cells) => cells[starts[j]..starts[j + 1]].iter().copied().enumerate().filter(|(_, c)| c[1] > 0).collect(),
                None => {
                    let mut rows: Vec<(u32, Cell)> =
                        index[node.start..node.end].iter().map(|r| (c.codes.get(r.at()) as u32, growth.pair(r))).collect();
                    rows.sort_unstable_by_key(|r| r.0);
                    rows.chunk_by(|a, b| a.0 == b.0)
                        .map(|same| (same[0].0 as usize, same.iter().fold([0; 2], |s, r| plus(s, r.1))))
                        .collect()
                }
            };
            self.best_of(growth, node, j, present)
        };
        let better = |a: Option<Best>, b: Option<Best>| match (a, b) {
            (Some(a), Some(b)) => Some(if b.gain > a.gain || (b.gain == a.gain && b.feature < a.feature) { b } else { a }),
            (a, b) => a.or(b),
        };
        let columns: Vec<usize> = (0..data.columns.len()).filter(may).collect();
        let best = if node.all_rows >= LARGE {
            columns.into_par_iter().map(one).reduce(|| None, better)
        } else {
            columns.into_iter().map(one).fold(None, better)
        };
        let least = if data.exact { LEAST_GAIN } else { LEAST_GAIN.max(self.rules.gamma) };
        best.filter(|b| b.gain > LEAST_GAIN && b.gain >= least)
    }

    /// The best split of one column, from the sums of the bins that have rows.
    fn best_of(&self, growth: &Growth, node: &Open, j: usize, mut present: Vec<(usize, Cell)>) -> Option<Best> {
        let c = &self.data.columns[j];
        let may = |f: usize| node.features.as_ref().is_none_or(|m| m[f]);
        let total = growth.sums[node.id];
        let root = self.gain(growth.real(total), growth.bounds[node.id]);
        let mut best: Option<Best> = None;
        let mut offer = |feature: usize, sides: [Cell; 2], missing_left: bool, at: &dyn Fn() -> At| {
            let Some(gain) = self.split_gain(growth, node, j, sides) else { return };
            let gain = gain - root;
            if best.as_ref().is_none_or(|b| gain > b.gain) && !gain.is_nan() {
                best = Some(Best { gain, feature, way: Way { column: j, at: at(), missing_left }, sides });
            }
        };
        match &c.scale {
            Scale::Levels(_) => {
                for (code, cell) in present {
                    if may(c.first + code) {
                        offer(c.first + code, [minus(total, cell), cell], true, &|| At::Level(code));
                    }
                }
            }
            Scale::Numbers { values, low } => {
                if !may(c.first) {
                    return None;
                }
                let missing = present.pop_if(|p| p.0 == c.bins);
                let (first, last) = (present.first()?.0, present.last()?.0);
                let below = |t: f32, cut: usize| -> At {
                    if self.data.exact { At::Below(values.partition_point(|v| *v < t), t) } else { At::Below(cut, t) }
                };
                let middle = |a: usize, b: usize| -> At {
                    if self.data.exact {
                        let m = (values[a] + values[b]) * 0.5;
                        below(if m > values[a] && m.is_finite() { m } else { values[b] }, 0)
                    } else {
                        below(values[a], a + 1)
                    }
                };
                let upward = |offer: &mut dyn FnMut(usize, [Cell; 2], bool, &dyn Fn() -> At)| {
                    let mut left = [0; 2];
                    for pair in present.windows(2) {
                        left = plus(left, pair[0].1);
                        offer(c.first, [left, minus(total, left)], false, &|| middle(pair[0].0, pair[1].0));
                    }
                    if missing.is_some() {
                        left = plus(left, present[present.len() - 1].1);
                        let end = || {
                            if self.data.exact {
                                below(values[last] + values[last].abs() + LEAST_GAIN, 0)
                            } else {
                                below(values[last], last + 1)
                            }
                        };
                        offer(c.first, [left, minus(total, left)], false, &end);
                    }
                };
                let downward = |offer: &mut dyn FnMut(usize, [Cell; 2], bool, &dyn Fn() -> At)| {
                    let mut right = [0; 2];
                    for pair in present.windows(2).rev() {
                        right = plus(right, pair[1].1);
                        let at = || {
                            if self.data.exact { middle(pair[0].0, pair[1].0) } else { below(values[pair[1].0 - 1], pair[1].0) }
                        };
                        offer(c.first, [minus(total, right), right], true, &at);
                    }
                    if missing.is_some() {
                        right = plus(right, present[0].1);
                        let end = || {
                            if self.data.exact {
                                below(values[first] - values[first].abs() - LEAST_GAIN, 0)
                            } else {
                                below(if first == 0 { *low } else { values[first - 1] }, first)
                            }
                        };
                        offer(c.first, [minus(total, right), right], true, &end);
                    }
                };
                // In the order of the package, whose first best split wins.
                if !self.data.exact || c.has_missing {
                    upward(&mut offer);
                }
                if self.data.exact || missing.is_some() {
                    downward(&mut offer);
                }
            }
        }
        best
    }

    /// Takes back splits that end in two leaves and gain less than gamma, from the bottom up.
    fn prune(&self, tree: &mut Tree, ways: &mut Vec<Option<Way>>, leaves: &mut [Leaf], gains: &mut Vec<(usize, f32)>) {
        let n = tree.nodes.len();
        let mut gone = vec![false; n];
        for i in (0..n).rev() {
            let (l, r) = (tree.nodes[i].left as usize, tree.nodes[i].right as usize);
            if ways[i].is_some() && ways[l].is_none() && ways[r].is_none() && gains[i].1 < self.rules.gamma {
                ways[i] = None;
                tree.nodes[i].split = Split::Leaf;
                (gone[l], gone[r]) = (true, true);
            }
        }
        let mut parent = vec![0; n];
        for i in 0..n {
            let (l, r) = (tree.nodes[i].left as usize, tree.nodes[i].right as usize);
            if l > i {
                (parent[l], parent[r]) = (i, i);
            }
        }
        let mut place = vec![0; n];
        let kept: Vec<usize> = (0..n).filter(|i| !gone[*i]).collect();
        kept.iter().enumerate().for_each(|(new, old)| place[*old] = new);
        for leaf in leaves.iter_mut() {
            let mut at = leaf.node;
            while gone[at] {
                at = parent[at];
            }
            leaf.node = place[at];
        }
        let nodes = kept.iter().map(|&i| {
            let node = tree.nodes[i].clone();
            let inner = ways[i].is_some();
            let to = |c: u32| if inner { place[c as usize] as u32 } else { 0 };
            Node { left: to(node.left), right: to(node.right), column: if inner { node.column } else { 0 }, ..node }
        });
        tree.nodes = nodes.collect();
        *ways = kept.iter().map(|&i| ways[i]).collect();
        *gains = kept.iter().map(|&i| gains[i]).collect();
    }
}

/// Adds rows to the cells of their codes.
#[inline(always)]
fn add(cells: &mut [Cell], codes: impl Iterator<Item = usize>, pairs: &[Cell; BLOCK]) {
    for (code, p) in codes.zip(pairs) {
        let c = &mut cells[code];
        *c = plus(*c, *p);
    }
}

fn blank() -> Node {
    Node { split: Split::Leaf, column: 0, missing_left: false, left: 0, right: 0, value: 0.0, weight: 0.0, gain: 0.0 }
}
