//! Percentiles of a column, without sorting it and without a copy of its values.

use ochre_core::{Column, Node, Result, f64s, quantile_at};

/// Parts that the range of values is cut into at first.
const PARTS: usize = 1 << 16;
/// Parts that a range is cut into which still holds too many values.
const FINER: usize = 1 << 12;
/// So many values are brought together and sorted.
const SORTED_MAX: usize = 1 << 18;

/// The place of a number in the order of all numbers (that of `f64::total_cmp`).
fn key(v: f64) -> u64 {
    let bits = v.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

fn number(key: u64) -> f64 {
    f64::from_bits(if key >> 63 == 1 { key & !(1 << 63) } else { !key })
}

/// A part of a range: how many values it holds, the least and the greatest.
#[derive(Clone)]
struct Part {
    count: usize,
    low: u64,
    high: u64,
}

/// Numbers from `low` to `high`, of which some places are asked for; `before` values are smaller.
struct Range {
    low: u64,
    high: u64,
    before: usize,
    count: usize,
    /// How many bits the width of its parts has.
    shift: u32,
}

/// The values at some probabilities between 0 and 1, interpolated between neighbours; missing values do not count. Reads the
/// column twice as a rule: once to count values by parts of their range, once for those of the parts that matter. Where
/// values crowd, parts are cut again.
pub fn percentiles(node: &Node, column: &Column, probabilities: &[f64]) -> Result<Vec<f64>> {
    let r = column.rollup()?;
    let n = r.rows - r.missing;
    if n == 0 {
        return Ok(vec![f64::NAN; probabilities.len()]);
    }
    let mut places: Vec<usize> =
        probabilities.iter().map(|p| (p * (n - 1) as f64).floor() as usize).flat_map(|low| [low, (low + 1).min(n - 1)]).collect();
    places.sort_unstable();
    places.dedup();
    let mut found = vec![None; places.len()];
    // The ends are known where no value is infinite; otherwise all numbers are the range. Zero has two keys.
    let (low, high) = match r.positive_infinities + r.negative_infinities {
        0 => (if r.min == 0.0 { key(-0.0) } else { key(r.min) }, if r.max == 0.0 { key(0.0) } else { key(r.max) }),
        _ => (0, u64::MAX),
    };
    let (mut ranges, mut parts) = (vec![Range { low, high, before: 0, count: n, shift: 0 }], PARTS);
    let each = |ranges: &[Range], see: &mut dyn FnMut(usize, u64)| -> Result<()> {
        for chunk in column.chunks() {
            for v in f64s(&chunk.data()?).iter().filter(|v| !v.is_nan()) {
                let k = key(*v);
                // Ranges do not overlap and are in order.
                let i = if ranges.len() == 1 { 0 } else { ranges.partition_point(|r| r.high < k) };
                if ranges.get(i).is_some_and(|r| r.low <= k && k <= r.high) {
                    see(i, k);
                }
            }
        }
        Ok(())
    };
    while !ranges.is_empty() && ranges.iter().map(|r| r.count).sum::<usize>() > SORTED_MAX {
        for range in &mut ranges {
            let bits = 64 - (range.high - range.low).leading_zeros();
            range.shift = bits.saturating_sub(parts.ilog2());
        }
        let _held = node.ledger.reserve("percentiles", (ranges.len() * parts * size_of::<Part>()) as u64)?;
        let mut cut = vec![Part { count: 0, low: u64::MAX, high: 0 }; ranges.len() * parts];
        each(&ranges, &mut |i, k| {
            let range = &ranges[i];
            let part = &mut cut[i * parts + ((k - range.low) >> range.shift) as usize];
            *part = Part { count: part.count + 1, low: part.low.min(k), high: part.high.max(k) };
        })?;
        let mut next: Vec<Range> = vec![];
        for (range, cut) in ranges.iter().zip(cut.chunks(parts)) {
            let mut before = range.before;
            for part in cut.iter().filter(|p| p.count > 0) {
                let asked = places.partition_point(|p| *p < before)..places.partition_point(|p| *p < before + part.count);
                if !asked.is_empty() {
                    if part.low == part.high {
                        found[asked].fill(Some(number(part.low)));
                    } else {
                        next.push(Range { low: part.low, high: part.high, before, count: part.count, shift: 0 });
                    }
                }
                before += part.count;
            }
        }
        (ranges, parts) = (next, FINER);
    }
    let wanted: usize = ranges.iter().map(|r| r.count).sum();
    let _held = node.ledger.reserve("percentiles", wanted as u64 * 8)?;
    let mut some = Vec::with_capacity(wanted);
    if wanted > 0 {
        each(&ranges, &mut |_, k| some.push(k))?;
    }
    some.sort_unstable();
    let mut rest = &some[..];
    for range in &ranges {
        let (own, tail) = rest.split_at(range.count.min(rest.len()));
        rest = tail;
        for i in places.partition_point(|p| *p < range.before)..places.partition_point(|p| *p < range.before + range.count) {
            found[i] = own.get(places[i] - range.before).map(|k| number(*k));
        }
    }
    let at = |place: usize| found[places.partition_point(|p| *p < place)].unwrap_or(f64::NAN);
    Ok(probabilities.iter().map(|p| quantile_at(n, *p, "interpolate", at)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ochre_core::quantile;

    /// The same as from all values sorted: few and many values, ties, one far off, both zeros, infinities, missing ones.
    #[test]
    fn as_if_sorted() {
        let node = Node::for_tests(2);
        let mut state = 7u64;
        let mut draw = move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        let mut kinds: Vec<Vec<f64>> = vec![vec![3.5], vec![1.0, f64::NAN, 2.0], vec![0.0; 400_000], vec![f64::NAN; 3]];
        kinds.push((0..600_000).map(|_| draw()).collect());
        kinds.push((0..600_000).map(|_| if draw() < 0.9 { 0.0 } else { draw() - 0.5 }).collect());
        kinds.push((0..600_000).map(|i| if i == 5 { 1e300 } else { 1.0 + draw() * 1e-9 }).collect());
        kinds.push((0..600_000).map(|_| (draw() * 50.0).floor() - 20.0).collect());
        kinds.push((0..600_000).map(|i| [0.0, -0.0, -1.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, draw()][i % 7]).collect());
        for (kind, values) in kinds.into_iter().enumerate() {
            let column = Column::from_f64(&node.ledger, &values).unwrap();
            let probabilities = [0.0, 0.001, 0.1, 1.0 / 3.0, 0.5, 0.75, 0.999, 1.0];
            let mut sorted: Vec<f64> = column.to_f64().unwrap().into_iter().filter(|v| !v.is_nan()).collect();
            sorted.sort_by(f64::total_cmp);
            let want: Vec<u64> = probabilities.iter().map(|p| quantile(&sorted, *p, "interpolate").to_bits()).collect();
            let got: Vec<u64> = percentiles(&node, &column, &probabilities).unwrap().into_iter().map(f64::to_bits).collect();
            assert_eq!(got, want, "kind {kind}");
        }
    }
}
