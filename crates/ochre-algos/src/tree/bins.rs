//! The bins that a column's values are counted in at a node.

use super::data::TreeColumn;
use super::grow::TreeRules;
use ochre_core::{Column, Result, Rng};
use std::sync::Arc;

/// Where the edges of a column's bins lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Histogram {
    /// At even distances over the values that the node has.
    Even,
    /// Drawn at random over the range that the node has, as extremely randomized trees have it (Geurts et al. 2006).
    Drawn,
    /// At those points of the rules that lie in the node's range, and at even distances between them.
    Points,
    /// Another of these for each node, dealt by its seed.
    InTurn,
}

impl Histogram {
    /// The kind that a node with this seed has.
    fn dealt(self, seed: i64) -> Histogram {
        match self {
            // As the reference deals its kinds: the first two are one here.
            Histogram::InTurn => {
                let kinds = [Histogram::Even, Histogram::Even, Histogram::Drawn, Histogram::Points];
                kinds[(seed % 4).unsigned_abs() as usize]
            }
            h => h,
        }
    }
}

/// Points of columns, `top` of them where there are values for two: at most `n` that divide the values evenly, the smallest
/// value among them, and others at even distances between those. Of all columns of numbers, or (`skewed`) only of those whose
/// rows would fill few of `top` even bins; and none of columns of so few whole numbers that each is a bin.
/// With weights, values are divided by these (not where `skewed`).
pub fn points(columns: &[Column], n: usize, top: usize, skewed: bool, weights: Option<&[f64]>) -> Result<Vec<Vec<f64>>> {
    columns
        .iter()
        .map(|c| {
            if c.is_enum() {
                return Ok(vec![]);
            }
            let mut v = c.to_f64()?;
            let weighed = weights.map(|w| cumulated(&v, w));
            v.retain(|v| v.is_finite());
            v.sort_by(f64::total_cmp);
            let (Some(&low), Some(&high)) = (v.first(), v.last()) else { return Ok(vec![]) };
            let whole = v.iter().all(|v| v.fract() == 0.0);
            if whole && high - low < n as f64 {
                return Ok(vec![]);
            }
            if skewed {
                let bin = |v: f64| (((v - low) / (high - low) * top as f64) as usize).min(top - 1);
                let distinct = 1 + v.windows(2).filter(|w| w[0] < w[1]).count();
                let filled = 1 + v.windows(2).filter(|w| bin(w[0]) < bin(w[1])).count();
                if filled * SKEWED >= top.min(distinct) {
                    return Ok(vec![]);
                }
            }
            // Type 7 of Hyndman and Fan (1996), in the reference's order of operations: values often lie on these points.
            let last = (v.len() - 1) as f64;
            let quantile = |i: usize| {
                let share = i as f64 * (1.0 / n as f64);
                if let Some(w) = &weighed {
                    return weighted_point(w, share);
                }
                let row = (share * last).floor();
                let (lo, hi) = (v[row as usize], v[(row as usize + 1).min(v.len() - 1)]);
                let (below, above) = (row / last, (row + 1.0) / last);
                if lo == hi { lo } else { lo + (hi - lo) * (share - below) / (above - below) }
            };
            let mut points: Vec<f64> = (0..n).map(quantile).filter(|p| *p < high).collect();
            points.dedup();
            Ok(padded(&points, top))
        })
        .collect()
}

/// Finite values of rows with weight in their order, each with the sum of weights up to it.
fn cumulated(values: &[f64], weights: &[f64]) -> Vec<(f64, f64)> {
    let mut pairs: Vec<(f64, f64)> =
        values.iter().copied().zip(weights.iter().copied()).filter(|(v, w)| v.is_finite() && *w > 0.0).collect();
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut sum = 0.0;
    for p in &mut pairs {
        sum += p.1;
        p.1 = sum;
    }
    pairs
}

/// A quantile as if each value stood as often as its weight says.
fn weighted_point(cumulated: &[(f64, f64)], share: f64) -> f64 {
    let Some(last) = cumulated.last() else { return f64::NAN };
    let position = share * (last.1 - 1.0).max(0.0);
    let at = |rank: f64| cumulated[cumulated.partition_point(|p| p.1 <= rank + 1e-12).min(cumulated.len() - 1)].0;
    let (low, high) = (at(position.floor()), at(position.floor() + 1.0));
    low + (high - low) * (position - position.floor())
}

/// A column is skewed when its rows fill less than one in so many bins.
const SKEWED: usize = 4;

/// The bins of a column at a node: `bins` of them over [min, max_ex).
#[derive(Clone, Debug)]
pub(super) struct Bins {
    pub bins: usize,
    pub min: f64,
    pub max_ex: f64,
    /// Bins (of equal width) for a unit of the column.
    pub step: f64,
    pub edges: Edges,
    /// Do edges count in single precision, in which thresholds are kept?
    pub single: bool,
    /// What the node's children draw their edges from.
    seed: i64,
}

#[derive(Clone, Debug)]
pub(super) enum Edges {
    Even,
    /// Lower edges of the bins, in units of even bins from `min`.
    Drawn(Arc<[f64]>),
    /// Lower edges of the bins.
    Points(Arc<[f64]>),
}

impl Bins {
    /// Up to `nbins` bins of column `c` (`nbins_cats` of the rules for categories), or none, where the range is too narrow
    /// for numbers.
    pub fn new(nbins: usize, rules: &TreeRules, c: usize, column: &TreeColumn, (min, max_ex): (f64, f64), seed: i64) -> Option<Bins> {
        let wanted = if column.level == 2 { rules.nbins_cats } else { nbins };
        let (bins, step) = if column.level > 0 && max_ex - min <= wanted as f64 {
            ((max_ex - min) as usize, 1.0)
        } else {
            (wanted, wanted as f64 / (max_ex - min))
        };
        let (bins, edges) = match rules.histogram.dealt(seed) {
            Histogram::Drawn if bins > 1 => (bins, Edges::Drawn(drawn(bins, step, (min, max_ex), column.level, seed))),
            Histogram::Points => match between(&rules.points[c], bins, (min, max_ex)) {
                points if points.len() > 1 => (points.len(), Edges::Points(points.into())),
                _ => (bins, Edges::Even),
            },
            _ => (bins, Edges::Even),
        };
        (step > 0.0 && step.is_finite()).then_some(Bins { bins, min, max_ex, step, edges, single: rules.single_edges, seed })
    }

    /// The seed of the histograms of one of a node's children.
    pub fn child_seed(&self, way: usize) -> i64 {
        self.seed.wrapping_mul(0xDECAF).wrapping_add(way as i64 + 1)
    }

    #[inline]
    pub fn of(&self, v: f64) -> usize {
        if v.is_infinite() {
            return if v < 0.0 { 0 } else { self.bins - 1 };
        }
        let position = (v - self.min) * self.step;
        let b = match &self.edges {
            Edges::Even => (position as usize).min(self.bins - 1),
            Edges::Drawn(p) => p.partition_point(|p| *p <= position).max(1) - 1,
            Edges::Points(p) => p.partition_point(|p| *p <= v).max(1) - 1,
        };
        let edge = |b: usize| f64::from(self.edge(b) as f32);
        match self.single {
            true if b + 1 < self.bins && v >= edge(b + 1) => b + 1,
            true if b > 0 && v < edge(b) => b - 1,
            _ => b,
        }
    }

    /// The lower edge of a bin.
    pub fn edge(&self, b: usize) -> f64 {
        match &self.edges {
            Edges::Drawn(p) if b < self.bins => self.min + p[b] / self.step,
            Edges::Points(p) if b < self.bins => p[b],
            Edges::Even => self.min + b as f64 / self.step,
            _ => self.max_ex,
        }
    }
}

/// The reference's draw of edges: the first one at the lower end, the others uniform over the range. Nodes with the same
/// range and seed draw the same ones.
fn drawn(bins: usize, step: f64, (min, max_ex): (f64, f64), level: u8, seed: i64) -> Arc<[f64]> {
    let of_range = (((step + 0.324) * min + 8.3425) + 89.342 * max_ex).to_bits() as i64;
    let of_kind = 0xDECAF * bins as i64 + 0xC0FFEE * i64::from(level);
    let mut rng = Rng::new(of_range.wrapping_add(of_kind).wrapping_add(seed));
    let mut edges: Vec<f64> = std::iter::once(0.0).chain((1..bins).map(|_| f64::from(rng.next_f32() * bins as f32))).collect();
    edges.sort_by(f64::total_cmp);
    edges.into()
}

/// The points that lie in a range, with the last one below it, `bins` of them at least.
fn between(points: &[f64], bins: usize, (min, max_ex): (f64, f64)) -> Vec<f64> {
    let first = points.partition_point(|p| *p <= min).max(1) - 1;
    let inside = &points[first.min(points.len())..points.partition_point(|p| *p < max_ex).max(first.min(points.len()))];
    padded(inside, bins)
}

/// Points with others at even distances between them, where they are fewer than `n`.
fn padded(points: &[f64], n: usize) -> Vec<f64> {
    if points.len() <= 1 || points.len() >= n {
        return points.to_vec();
    }
    let gaps = points.len() - 1;
    let (more, rest) = ((n - points.len()) / gaps, (n - points.len()) % gaps);
    let mut out = Vec::with_capacity(n);
    for (i, pair) in points.windows(2).enumerate() {
        out.push(pair[0]);
        let n = more + usize::from(i < rest);
        out.extend((0..n).map(|j| pair[0] + (j as f64 + 0.5) / n as f64 * (pair[1] - pair[0])));
    }
    out.push(points[gaps]);
    out
}
