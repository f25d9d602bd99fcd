//! Rollups of a column: computed once, lazily, merged in chunk order.

use crate::column::is_whole;
use crate::{Column, Kind, Result, f64s};
use arrow_array::{Array, cast::AsArray};
use rayon::prelude::*;

/// Probabilities at which summaries report percentiles.
pub const PERCENTILES: [f64; 17] =
    [0.001, 0.01, 0.1, 0.2, 0.25, 0.3, 1.0 / 3.0, 0.4, 0.5, 0.6, 2.0 / 3.0, 0.7, 0.75, 0.8, 0.9, 0.99, 0.999];

/// Smallest and largest values kept.
const EXTREMES: usize = 5;
const HISTOGRAM_BINS: usize = 1000;

#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Rollup {
    pub rows: usize,
    pub missing: usize,
    pub zeros: usize,
    pub positive_infinities: usize,
    pub negative_infinities: usize,
    pub min: f64,
    pub max: f64,
    /// Up to five smallest values, ascending.
    pub mins: Vec<f64>,
    /// Up to five largest values, descending.
    pub maxs: Vec<f64>,
    pub mean: f64,
    /// Sample standard deviation.
    pub sigma: f64,
    /// Are all values whole numbers?
    pub whole: bool,
}

/// Mean and sum of squared deviations of one chunk (Chan, Golub, LeVeque 1979 for the merge).
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct Part {
    n: f64,
    mean: f64,
    m2: f64,
    roll: Rollup,
}

impl Rollup {
    pub fn compute(column: &Column) -> Result<Rollup> {
        let mut parts: Vec<(usize, Part)> = column
            .chunks()
            .par_iter()
            .enumerate()
            .filter(|(_, c)| c.is_here())
            .map(|(i, c)| Ok((i, part(&column.kind, &c.data()?))))
            .collect::<Result<Vec<_>>>()?;
        parts.extend(crate::exchange::parts(column)?);
        parts.sort_by_key(|p| p.0);
        let mut all = Part { n: 0.0, mean: 0.0, m2: 0.0, roll: Rollup { min: f64::NAN, max: f64::NAN, whole: true, ..Rollup::default() } };
        for (_, p) in parts {
            all = merge(all, p);
        }
        let mut r = all.roll;
        let numeric = match &column.kind {
            Kind::Real | Kind::Time => true,
            Kind::Enum(d) => d.len() <= 2,
            _ => false,
        };
        r.mean = if numeric && all.n > 0.0 { all.mean } else { f64::NAN };
        r.sigma = match (numeric, all.n) {
            (false, _) => f64::NAN,
            (true, 0.0) => f64::NAN,
            (true, 1.0) => 0.0,
            (true, n) => (all.m2 / (n - 1.0)).sqrt(),
        };
        if matches!(column.kind, Kind::Missing) {
            (r.mean, r.sigma) = (f64::NAN, f64::NAN);
        }
        Ok(r)
    }

    /// Is every present value the same?
    pub fn is_constant(&self) -> bool {
        self.missing == self.rows || self.min == self.max
    }
}

pub(crate) fn part(kind: &Kind, data: &crate::Data) -> Part {
    let mut r = Rollup { rows: data.len(), min: f64::NAN, max: f64::NAN, whole: true, ..Rollup::default() };
    if matches!(kind, Kind::Text | Kind::Uuid) {
        r.missing = data.null_count();
        r.zeros = 0;
        if let Kind::Text = kind {
            let _ = data.as_string::<i32>();
        }
        r.whole = false;
        return Part { n: 0.0, mean: 0.0, m2: 0.0, roll: r };
    }
    if let Some(counts) = byte_counts(data).or_else(|| code_counts(kind, data)) {
        return from_counts(&counts, data.len(), kind);
    }
    let values = f64s(data);
    let mut sum = 0.0f64;
    let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
    for &v in values.iter() {
        if v.is_nan() {
            r.missing += 1;
            continue;
        }
        r.zeros += usize::from(v == 0.0);
        r.whole &= is_whole(v);
        min = if v < min { v } else { min };
        max = if v > max { v } else { max };
        sum += v;
    }
    let n = (values.len() - r.missing) as f64;
    if max == f64::INFINITY || min == f64::NEG_INFINITY {
        let count = |of: f64| values.iter().filter(|v| **v == of).count();
        (r.positive_infinities, r.negative_infinities) = (count(f64::INFINITY), count(f64::NEG_INFINITY));
    }
    let mean = if n > 0.0 { sum / n } else { 0.0 };
    // Categories beyond two have no spread.
    let spread = !matches!(kind, Kind::Enum(d) if d.len() > 2);
    let m2 = if spread { values.iter().filter(|v| !v.is_nan()).map(|v| (v - mean) * (v - mean)).sum() } else { 0.0 };
    if n > 0.0 {
        (r.min, r.max) = (min, max);
    }
    r.mins = extremes(&values, |a, b| a < b);
    r.maxs = extremes(&values, |a, b| a > b);
    Part { n, mean, m2, roll: r }
}

/// How often each value occurs, for chunks stored in bytes: (value, count), ascending.
fn byte_counts(data: &crate::Data) -> Option<Vec<(f64, usize)>> {
    use arrow_array::types::{Int8Type, UInt8Type};
    let signed = match data.data_type() {
        arrow_schema::DataType::Int8 => true,
        arrow_schema::DataType::UInt8 => false,
        _ => return None,
    };
    let mut counts = [0usize; 256];
    let nulls = data.nulls();
    let mut add = |i: usize, byte: u8| counts[byte as usize] += usize::from(nulls.is_none_or(|n| n.is_valid(i)));
    if signed {
        data.as_primitive::<Int8Type>().values().iter().enumerate().for_each(|(i, v)| add(i, *v as u8));
    } else {
        data.as_primitive::<UInt8Type>().values().iter().enumerate().for_each(|(i, v)| add(i, *v));
    }
    let value = |byte: usize| if signed { f64::from(byte as u8 as i8) } else { byte as f64 };
    let mut out: Vec<(f64, usize)> = (0..256).filter(|b| counts[*b] > 0).map(|b| (value(b), counts[b])).collect();
    out.sort_by(|a, b| a.0.total_cmp(&b.0));
    Some(out)
}

/// How often each code occurs, for categories stored in two bytes.
fn code_counts(kind: &Kind, data: &crate::Data) -> Option<Vec<(f64, usize)>> {
    const LEVELS_MAX: usize = 8192;
    let Kind::Enum(domain) = kind else { return None };
    if *data.data_type() != arrow_schema::DataType::UInt16 || domain.len() > LEVELS_MAX {
        return None;
    }
    let array = data.as_primitive::<arrow_array::types::UInt16Type>();
    let mut counts = vec![0usize; domain.len()];
    for (i, code) in array.values().iter().enumerate() {
        if array.is_valid(i) {
            *counts.get_mut(usize::from(*code))? += 1;
        }
    }
    Some(counts.into_iter().enumerate().filter(|c| c.1 > 0).map(|(v, n)| (v as f64, n)).collect())
}

/// The same as counting value by value: sums of small whole numbers are exact in any order.
fn from_counts(counts: &[(f64, usize)], rows: usize, kind: &Kind) -> Part {
    let present: usize = counts.iter().map(|c| c.1).sum();
    let repeat = |c: &(f64, usize)| std::iter::repeat_n(c.0, c.1.min(EXTREMES)).collect::<Vec<_>>();
    let n = present as f64;
    let mean = if present > 0 { counts.iter().map(|(v, k)| v * *k as f64).sum::<f64>() / n } else { 0.0 };
    let spread = !matches!(kind, Kind::Enum(d) if d.len() > 2);
    let m2 = if spread { counts.iter().map(|(v, k)| (v - mean) * (v - mean) * *k as f64).sum() } else { 0.0 };
    let roll = Rollup {
        rows,
        missing: rows - present,
        zeros: counts.iter().find(|c| c.0 == 0.0).map_or(0, |c| c.1),
        min: counts.first().map_or(f64::NAN, |c| c.0),
        max: counts.last().map_or(f64::NAN, |c| c.0),
        mins: counts.iter().flat_map(repeat).take(EXTREMES).collect(),
        maxs: counts.iter().rev().flat_map(repeat).take(EXTREMES).collect(),
        whole: true,
        ..Rollup::default()
    };
    Part { n, mean, m2, roll }
}

/// Values that are looked at together for whether one of the extremes is among them.
const BLOCK: usize = 64;

/// The first few values, repeated ones included, in the order given by `before`.
///
/// Sorted values would displace one another at every step; so the first of each block says how far the search must go: all that
/// come before the fifth of these lie in four blocks.
fn extremes(values: &[f64], before: impl Fn(f64, f64) -> bool) -> Vec<f64> {
    if values.len() <= EXTREMES * BLOCK || values.iter().any(|v| v.is_nan()) {
        return first_of(values, &before);
    }
    let one = |block: &[f64]| {
        // Four at a time, which no value waits for.
        let mut firsts = [block[0]; 4];
        for four in block.chunks(4) {
            firsts.iter_mut().zip(four).for_each(|(f, v)| *f = if before(*v, *f) { *v } else { *f });
        }
        firsts.into_iter().fold(firsts[0], |f, v| if before(v, f) { v } else { f })
    };
    let heads: Vec<f64> = values.chunks(BLOCK).map(one).collect();
    let ends = first_of(&heads, &before);
    let Some(&last) = ends.get(EXTREMES - 1) else { return first_of(values, &before) };
    let mut near = vec![];
    for (block, head) in values.chunks(BLOCK).zip(heads).filter(|(_, head)| *head == last || before(*head, last)) {
        if before(head, last) {
            near.extend_from_slice(block);
        } else if near.len() < EXTREMES * BLOCK {
            near.push(head);
        }
    }
    first_of(&near, &before)
}

fn first_of(values: &[f64], before: &impl Fn(f64, f64) -> bool) -> Vec<f64> {
    let mut out: Vec<f64> = Vec::with_capacity(EXTREMES + 1);
    for &v in values {
        if v.is_nan() || (out.len() == EXTREMES && !before(v, out[EXTREMES - 1])) {
            continue;
        }
        let at = out.iter().position(|&o| before(v, o)).unwrap_or(out.len());
        out.insert(at, v);
        out.truncate(EXTREMES);
    }
    out
}

fn merge(a: Part, b: Part) -> Part {
    let n = a.n + b.n;
    let (mut mean, mut m2) = (a.mean, a.m2 + b.m2);
    if n > 0.0 {
        let delta = b.mean - a.mean;
        mean = (a.mean * a.n + b.mean * b.n) / n;
        if a.n > 0.0 && b.n > 0.0 {
            m2 += delta * delta * a.n * b.n / n;
        }
    }
    let (x, y) = (a.roll, b.roll);
    let both = |p: &[f64], q: &[f64]| p.iter().chain(q).copied().collect::<Vec<_>>();
    let roll = Rollup {
        rows: x.rows + y.rows,
        missing: x.missing + y.missing,
        zeros: x.zeros + y.zeros,
        positive_infinities: x.positive_infinities + y.positive_infinities,
        negative_infinities: x.negative_infinities + y.negative_infinities,
        min: x.min.min(y.min),
        max: x.max.max(y.max),
        mins: extremes(&both(&x.mins, &y.mins), |p, q| p < q),
        maxs: extremes(&both(&x.maxs, &y.maxs), |p, q| p > q),
        mean: 0.0,
        sigma: 0.0,
        whole: x.whole && y.whole,
    };
    Part { n, mean, m2, roll }
}

/// A histogram of a numeric column: first edge, stride, counts.
pub fn histogram(column: &Column) -> Result<(f64, f64, Vec<i64>)> {
    let r = column.rollup()?;
    if !r.min.is_finite() || !r.max.is_finite() || r.missing == r.rows {
        return Ok((0.0, 0.0, vec![]));
    }
    let (base, stride, bins) = if let Kind::Enum(d) = &column.kind {
        (0.0, 1.0, d.len())
    } else if r.whole && r.max - r.min < HISTOGRAM_BINS as f64 {
        (r.min, 1.0, (r.max - r.min) as usize + 1)
    } else {
        (r.min, (r.max - r.min) / HISTOGRAM_BINS as f64, HISTOGRAM_BINS)
    };
    let mut counts = vec![0i64; bins.max(1)];
    for chunk in column.chunks() {
        for &v in f64s(&chunk.data()?).iter().filter(|v| !v.is_nan()) {
            let i = if stride > 0.0 { ((v - base) / stride) as usize } else { 0 };
            let i = i.min(counts.len() - 1);
            counts[i] += 1;
        }
    }
    Ok((base, stride, counts))
}

/// A quantile of values with weights, as if each stood as often as its weight says: positions lie on the cumulated weights,
/// between 0 and their sum less 1. Pairs of value and weight must be sorted and free of NaN.
pub fn weighted_quantile(pairs: &[(f64, f64)], p: f64, combine: &str) -> f64 {
    let total: f64 = pairs.iter().map(|x| x.1).sum();
    if pairs.is_empty() || total <= 0.0 {
        return f64::NAN;
    }
    let position = p * (total - 1.0).max(0.0);
    let at = |rank: f64| {
        let mut cumulated = 0.0;
        for (v, w) in pairs {
            cumulated += w;
            if cumulated > rank + 1e-12 {
                return *v;
            }
        }
        pairs[pairs.len() - 1].0
    };
    let low = position.floor();
    quantile(&[at(low), at(low + 1.0)], position - low, combine)
}

/// Quantiles (type 7 of Hyndman and Fan 1996: position p (n - 1)).
///
/// `sorted` must be sorted and free of NaN; `combine` decides between the two neighbours of a fractional position.
pub fn quantile(sorted: &[f64], p: f64, combine: &str) -> f64 {
    quantile_at(sorted.len(), p, combine, |i| sorted[i])
}

/// The same of `n` values, of which `at` tells those that are needed: the value at a place in ascending order.
pub fn quantile_at(n: usize, p: f64, combine: &str, at: impl Fn(usize) -> f64) -> f64 {
    if n == 0 {
        return f64::NAN;
    }
    let position = p * (n - 1) as f64;
    let low = position.floor() as usize;
    let fraction = position - low as f64;
    let (a, b) = (at(low), at((low + 1).min(n - 1)));
    if fraction == 0.0 {
        return a;
    }
    match combine {
        "low" => a,
        "high" => b,
        "average" => 0.5 * (a + b),
        _ => a + fraction * (b - a),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_are_the_ends_of_what_is_sorted() {
        let mut state = 3u64;
        let mut draw = |n: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % n
        };
        for (rows, kinds) in [(5, 9), (319, 4), (321, 3), (1000, 2), (1000, 1_000_000), (65_536, 30), (65_536, 1 << 31)] {
            let mut values: Vec<f64> = (0..rows).map(|_| draw(kinds) as f64 - 3.5).collect();
            for turn in 0..4 {
                let mut sorted: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
                sorted.sort_by(f64::total_cmp);
                let wanted: Vec<f64> = sorted.iter().take(EXTREMES).copied().collect();
                assert_eq!(extremes(&values, |a, b| a < b), wanted, "{rows} rows of {kinds}, turn {turn}");
                let wanted: Vec<f64> = sorted.iter().rev().take(EXTREMES).copied().collect();
                assert_eq!(extremes(&values, |a, b| a > b), wanted, "{rows} rows of {kinds}, turn {turn}");
                match turn {
                    0 => values.sort_by(f64::total_cmp),
                    1 => values.reverse(),
                    _ => values[rows / 2] = f64::NAN,
                }
            }
        }
    }

    #[test]
    fn whole_numbers_are_told_from_others() {
        let big = 2f64.powi(51);
        for v in [0.0, -0.0, 1.0, -7.0, 1e15, big, big + 1.0, 2.0 * big + 1.0, 1e300, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(is_whole(v), "{v}");
        }
        for v in [0.5, -0.5, 1.0 + f64::EPSILON, big - 0.5, big + 0.5, f64::MIN_POSITIVE, f64::NAN] {
            assert!(!is_whole(v), "{v}");
        }
    }
}
