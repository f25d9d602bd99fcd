//! Columns as second-order trees read them: a bin for each value (exact), or bins between quantiles.
//!
//! Quantiles follow the summary of the xgboost package (Chen and Guestrin 2016, appendix A): ranks with a lower and an upper
//! bound, pruned to the wanted size. Up to 65,536 rows cuts are those of the package with one thread; beyond that each chunk
//! has a summary of its own and they are merged two by two, so that the cuts depend on the rows alone and not on who holds
//! them.

use super::strip::{Source, Strips};
use ochre_core::{Column, Error, Node, Reservation, Result, Team, WHOLE_ROWS_MAX, f64s};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Points that a summary keeps for each bin that is wanted, until the last step.
const FINER: usize = 8;

/// How numbers are binned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Binning {
    /// Every distinct value, cut in the middle between neighbours.
    Exact,
    /// At most this many bins, with about as much weight in each.
    Quantiles(usize),
}

/// Bin numbers of the rows, as narrow as they fit.
pub enum Codes {
    Narrow(Vec<u8>),
    Middle(Vec<u16>),
    Wide(Vec<u32>),
}

impl Codes {
    #[inline]
    pub fn get(&self, row: usize) -> usize {
        match self {
            Codes::Narrow(v) => v[row] as usize,
            Codes::Middle(v) => v[row] as usize,
            Codes::Wide(v) => v[row] as usize,
        }
    }
    fn width(bins: usize) -> usize {
        if bins < 1 << 8 {
            1
        } else if bins < 1 << 16 {
            2
        } else {
            4
        }
    }
    fn new(codes: Vec<u32>, bins: usize) -> Codes {
        match Codes::width(bins) {
            1 => Codes::Narrow(codes.into_iter().map(|c| c as u8).collect()),
            2 => Codes::Middle(codes.into_iter().map(|c| c as u16).collect()),
            _ => Codes::Wide(codes),
        }
    }
}

pub enum Scale {
    /// `values[b]` is the number of bin b (exact), or the cut above it (quantiles); `low` lies below all numbers.
    Numbers { values: Vec<f32>, low: f32 },
    /// Categories; the bin after the last is that of missing ones, a category of its own.
    Levels(usize),
}

pub struct BinnedColumn {
    pub codes: Codes,
    /// Bins of present values; the code `bins` means missing.
    pub bins: usize,
    pub scale: Scale,
    pub has_missing: bool,
    /// Place of the column among the features: a number is one, categories are one each and one for missing.
    pub first: usize,
}

impl BinnedColumn {
    fn source(&self) -> Option<Source<'_>> {
        match &self.codes {
            Codes::Narrow(codes) => Some(Source::Bytes(codes)),
            Codes::Middle(codes) => Some(Source::Words(codes, self.bins)),
            Codes::Wide(_) => None,
        }
    }
    pub fn features(&self) -> usize {
        match self.scale {
            Scale::Numbers { .. } => 1,
            Scale::Levels(n) => n + 1,
        }
    }
}

pub struct BinnedData {
    pub columns: Vec<BinnedColumn>,
    pub exact: bool,
    /// Is 0 the same as missing, as in a sparse matrix?
    pub sparse: bool,
    pub features: usize,
    /// Rows of all nodes.
    pub all_rows: usize,
    pub team: Team,
    pub strips: Strips,
    _held: Reservation,
}

/// A point of a summary: a value, bounds of its rank, its own weight.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Point {
    value: f32,
    low: f64,
    high: f64,
    weight: f64,
}

fn summary(mut values: Vec<(f32, f64)>) -> Vec<Point> {
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut out, mut rank): (Vec<Point>, f64) = (vec![], 0.0);
    for same in values.chunk_by(|a, b| a.0 == b.0) {
        let weight: f64 = same.iter().map(|v| v.1).sum();
        out.push(Point { value: same[0].0, low: rank, high: rank + weight, weight });
        rank += weight;
    }
    out
}

/// At most `size` points, at ranks as even as they come; the first and the last always stay.
fn prune(points: &[Point], size: usize) -> Vec<Point> {
    if points.len() <= size {
        return points.to_vec();
    }
    let end = points.len() - 1;
    let (begin, range) = (points[0].high, points[end].low - points[0].high);
    let steps = size - 1;
    let (mut out, mut at, mut last) = (vec![points[0]], 1, 0);
    for k in 1..steps {
        let twice = 2.0 * (k as f64 * range / steps as f64 + begin);
        while at < end && twice >= points[at + 1].high + points[at + 1].low {
            at += 1;
        }
        if at == end {
            break;
        }
        let (a, b) = (&points[at], &points[at + 1]);
        let pick = if twice < a.low + a.weight + b.high - b.weight { at } else { at + 1 };
        if pick != last {
            out.push(points[pick]);
            last = pick;
        }
    }
    if last != end {
        out.push(points[end]);
    }
    out
}

/// The summary of the values of two (Greenwald and Khanna 2001).
fn combine(a: &[Point], b: &[Point]) -> Vec<Point> {
    let (mut out, mut i, mut j) = (Vec::with_capacity(a.len() + b.len()), 0, 0);
    // Bounds of the rank of a point of one summary in the other: what lies below for sure, and what may.
    let below = |s: &[Point], next: usize| if next == 0 { 0.0 } else { s[next - 1].low + s[next - 1].weight };
    let above = |s: &[Point], next: usize| match s.get(next) {
        Some(p) => p.high - p.weight,
        None => s.last().map_or(0.0, |p| p.high),
    };
    while i < a.len() || j < b.len() {
        match (a.get(i), b.get(j)) {
            (Some(p), Some(q)) if p.value == q.value => {
                out.push(Point { value: p.value, low: p.low + q.low, high: p.high + q.high, weight: p.weight + q.weight });
                i += 1;
                j += 1;
            }
            (Some(p), q) if q.is_none_or(|q| p.value < q.value) => {
                out.push(Point { low: p.low + below(b, j), high: p.high + above(b, j), ..*p });
                i += 1;
            }
            (_, Some(q)) => {
                out.push(Point { low: q.low + below(a, i), high: q.high + above(a, i), ..*q });
                j += 1;
            }
            _ => break,
        }
    }
    out
}

/// Points that a sketch of `n` values keeps, so that ranks are right to `1 / finest`.
fn sketch_size(n: usize, finest: usize) -> usize {
    let mut levels = 1;
    loop {
        let size = (levels * finest + 1).min(n);
        if (size << levels) >= n || levels > 40 {
            return size.max(1);
        }
        levels += 1;
    }
}

/// The summary of values as they come, in the memory of a few of its size: full buffers are pruned and merged level by
/// level, in the package's order.
fn sketch(values: &[(f32, f64)], bins: usize) -> Vec<Point> {
    let size = sketch_size(values.len(), bins.min(values.len()).max(1) * FINER);
    let mut levels: Vec<Vec<Point>> = vec![];
    let mut queue: Vec<(f32, f64)> = vec![];
    for v in values {
        if queue.last().is_some_and(|l| l.0 == v.0) {
            let end = queue.len() - 1;
            queue[end].1 += v.1;
            continue;
        }
        if queue.len() == 2 * size {
            let mut temp = summary(std::mem::take(&mut queue));
            for level in 0.. {
                if level == levels.len() {
                    levels.push(vec![]);
                }
                if levels[level].is_empty() {
                    levels[level] = prune(&temp, size);
                    break;
                }
                temp = combine(&prune(&temp, size), &levels[level]);
                if temp.len() <= size {
                    levels[level] = temp;
                    break;
                }
                levels[level].clear();
            }
        }
        queue.push(*v);
    }
    let mut out = prune(&summary(queue), size);
    for level in levels.iter().filter(|l| !l.is_empty()) {
        out = if out.is_empty() { level.clone() } else { prune(&combine(&out, level), size) };
    }
    out
}

/// Summaries of chunks as one, two by two.
fn merge(mut parts: Vec<Vec<Point>>, size: usize) -> Vec<Point> {
    while parts.len() > 1 {
        parts = parts.chunks(2).map(|p| if p.len() == 2 { prune(&combine(&p[0], &p[1]), size) } else { p[0].clone() }).collect();
    }
    parts.pop().unwrap_or_default()
}

/// Cuts between at most `bins` bins, the last above all values; and a number below all.
fn cuts(points: &[Point], bins: usize) -> (Vec<f32>, f32) {
    let fine = prune(points, bins * FINER);
    let points = prune(&fine, bins + 1);
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return (vec![1e-5], -1e-5) };
    let mut out: Vec<f32> = vec![];
    for p in points.iter().take(bins).skip(1) {
        if out.last().is_none_or(|l| p.value > *l) {
            out.push(p.value);
        }
    }
    let beyond = |v: f32| v.abs() + 1e-5;
    out.push(last.value + beyond(last.value));
    (out, first.value - beyond(first.value))
}

impl BinnedData {
    /// Columns with the rows' weights, of which none of this node's may be asked for but its own.
    pub fn new(
        node: &Node,
        columns: &[Column],
        weight: &(dyn Fn(usize) -> f64 + Sync),
        binning: Binning,
        sparse: bool,
    ) -> Result<BinnedData> {
        let all_rows = columns.first().map_or(0, Column::rows);
        let team = Team::for_rows(all_rows);
        let own = team.rows(all_rows);
        let rows = own.len();
        let needed = columns.len() * rows * 4 + rows * 40;
        let mut held = node.ledger.reserve(&format!("boosting on {rows} rows and {} columns", columns.len()), needed as u64)?;
        let whole = all_rows <= WHOLE_ROWS_MAX;
        let chunk_rows = ochre_core::CHUNK_ROWS;
        let found = columns
            .par_iter()
            .map(|c| {
                if c.is_enum() {
                    return Ok(vec![]);
                }
                let mut parts: Vec<Vec<Point>> = vec![];
                let mut all = vec![];
                for i in team.mine(c.chunks().len()) {
                    let data = c.chunks()[i].data()?;
                    let weight = |k: usize| weight(i * chunk_rows + k);
                    let values = f64s(&data);
                    let present = values.iter().enumerate().filter(|(k, v)| !v.is_nan() && !(sparse && **v == 0.0) && weight(*k) > 0.0);
                    all.extend(present.map(|(k, v)| (*v as f32 + 0.0, weight(k))));
                    if !whole {
                        let own = summary(std::mem::take(&mut all));
                        parts.push(match binning {
                            Binning::Exact => own,
                            Binning::Quantiles(bins) => prune(&own, bins * FINER + 1),
                        });
                    }
                }
                if whole {
                    parts.push(match binning {
                        Binning::Exact => summary(all),
                        Binning::Quantiles(bins) => sketch(&all, bins),
                    });
                }
                Ok::<_, Error>(parts)
            })
            .collect::<Result<Vec<_>>>()?;
        let found = team.gather(found)?;
        let mut built: Vec<BinnedColumn> = columns
            .par_iter()
            .enumerate()
            .map(|(j, c)| {
                let mut codes = vec![0u32; rows];
                let (scale, bins) = match c.domain() {
                    Some(d) => (Scale::Levels(d.len()), d.len()),
                    None => {
                        let parts: Vec<Vec<Point>> = found.iter().flat_map(|n| n[j].iter().cloned()).collect();
                        let points = match binning {
                            _ if parts.len() == 1 => parts.into_iter().next().unwrap_or_default(),
                            Binning::Exact => summary(parts.into_iter().flatten().map(|p| (p.value, p.weight)).collect()),
                            Binning::Quantiles(bins) => merge(parts, bins * FINER + 1),
                        };
                        let (values, low) = match binning {
                            Binning::Quantiles(bins) => cuts(&points, bins),
                            Binning::Exact => {
                                let low = points.first().map_or(0.0, |p| p.value - p.value.abs() - 1e-6);
                                (points.iter().map(|p| p.value).collect(), low)
                            }
                        };
                        let bins = values.len();
                        (Scale::Numbers { values, low }, bins)
                    }
                };
                let mut has_missing = false;
                let mut at = 0;
                for i in team.mine(c.chunks().len()) {
                    let data = c.chunks()[i].data()?;
                    for v in f64s(&data).iter() {
                        let code = match &scale {
                            _ if v.is_nan() => bins,
                            Scale::Levels(_) => *v as usize,
                            Scale::Numbers { .. } if sparse && *v == 0.0 => bins,
                            Scale::Numbers { values, .. } => {
                                let v = *v as f32 + 0.0;
                                let at = match binning {
                                    Binning::Exact => values.partition_point(|c| *c < v),
                                    Binning::Quantiles(_) => values.partition_point(|c| *c <= v),
                                };
                                at.min(bins.max(1) - 1)
                            }
                        };
                        has_missing |= code == bins;
                        codes[at] = code as u32;
                        at += 1;
                    }
                }
                Ok(BinnedColumn { codes: Codes::new(codes, bins), bins, scale, has_missing, first: 0 })
            })
            .collect::<Result<Vec<_>>>()?;
        let mut missing: Vec<i64> = built.iter().map(|c| i64::from(c.has_missing)).collect();
        team.sum_i64(&mut missing)?;
        let mut features = 0;
        for (c, missing) in built.iter_mut().zip(missing) {
            c.has_missing = missing > 0;
            c.first = features;
            features += c.features();
        }
        let used: usize = built.iter().map(|c| rows * Codes::width(c.bins)).sum();
        held.shrink((used + rows * 40) as u64);
        let strips = Strips::new(node, &built.iter().map(BinnedColumn::source).collect::<Vec<_>>(), rows);
        let exact = binning == Binning::Exact;
        Ok(BinnedData { columns: built, exact, sparse, features, all_rows, team, strips, _held: held })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With fewer values than bins each value but the first is a cut; the last cut is above all.
    #[test]
    fn few_values_are_their_own_cuts() {
        let points = summary(vec![(3.0, 1.0), (1.0, 1.0), (2.0, 2.0), (1.0, 1.0)]);
        let (c, low) = cuts(&points, 256);
        assert_eq!(c[..2], [2.0, 3.0]);
        assert!(c[2] > 3.0 && low < 1.0);
    }

    /// Cuts of many values divide the weight evenly.
    #[test]
    fn cuts_divide_the_weight() {
        let points = summary((0..10_000).map(|i| (i as f32, 1.0)).collect());
        let (c, _) = cuts(&points, 16);
        assert_eq!(c.len(), 16);
        for pair in c[..15].windows(2) {
            assert!((pair[1] - pair[0] - 625.0).abs() < 625.0 / FINER as f32 * 1.1, "{pair:?}");
        }
    }
}
