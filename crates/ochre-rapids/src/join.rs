//! Rows of two frames brought together by equal keys.
//!
//! The order of the answer is the reference's: by key ascending, missing keys and keys that the other side does not know
//! first, rows with equal keys in the order they had. A missing key matches nothing.

use crate::frames::Taken;
use crate::ranges::{self, Cuts, Key, Numbers};
use crate::value::columns;
use crate::{Env, Prim, Value, call, shuffle};
use ochre_core::{Column, Error, Frame, Kind, Ledger, Result, Team, WHOLE_ROWS_MAX};
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub const JOINS: &[Prim] = &[call(
    "merge",
    &["left", "right", "all_left", "all_right", "by_left", "by_right", "method"],
    merge,
    "Rows of two frames with equal keys; all_left or all_right keeps rows without a partner. Method hash keeps the left order.",
)];

/// No key: comes first, and has no partner.
pub const NO_KEY: i64 = i64::MIN;

fn merge(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let (left, right) = (args[0].clone().frame()?, args[1].clone().frame()?);
    let (all_left, all_right) = (args[2].truth()?, args[3].truth()?);
    if all_left && all_right {
        return Err(Error::invalid(
            "all.x=TRUE and all.y=TRUE is not supported: merge with one of them, then append the rows of the other side that are missing",
        ));
    }
    let given = |v: &Value| !matches!(v, Value::Nothing) && !matches!(v, Value::Nums(n) if n.is_empty());
    let (by_left, by_right) = if given(&args[4]) || given(&args[5]) {
        (columns(&left, &args[4], false)?, columns(&right, &args[5], false)?)
    } else {
        let both: Vec<(usize, usize)> = left.names().iter().enumerate().filter_map(|(i, n)| right.find(n).map(|j| (i, j))).collect();
        both.into_iter().unzip()
    };
    if by_left.is_empty() || by_left.len() != by_right.len() {
        return Err(Error::invalid(format!(
            "merge needs as many key columns on the left as on the right, but has {} and {}; name them, or let the frames share column names",
            by_left.len(),
            by_right.len()
        )));
    }
    let keep_order = match &args[6] {
        Value::Str(m) if m.eq_ignore_ascii_case("hash") => true,
        Value::Str(m) if !m.eq_ignore_ascii_case("radix") && !m.eq_ignore_ascii_case("auto") => {
            return Err(Error::invalid(format!("unknown method '{m}' to merge; use auto, radix or hash")));
        }
        _ => false,
    };
    let ledger = &env.node.ledger;
    let ranges = ranges::count(ledger, (JOIN_BYTES + 16 * by_left.len() as u64) * (left.rows() + right.rows()) as u64);
    if ranges == 1 || keep_order || left.rows() == 0 || right.rows() == 0 || by_left.iter().any(|c| is_text(left.column(*c))) {
        return Ok(Value::Frame(Arc::new(merged(env, &left, &right, &by_left, &by_right, all_left, all_right, keep_order)?)));
    }
    let (first, second, by_first, by_second) =
        if all_right { (&right, &left, &by_right, &by_left) } else { (&left, &right, &by_left, &by_right) };
    let keys = common_keys(first, second, by_first, by_second)?;
    let cuts = Cuts::new(&Team::alone(), &[&keys.0, &keys.1], ranges, false)?;
    let (first, second) = (cuts.deal(ledger, first, &keys.0)?, cuts.deal(ledger, second, &keys.1)?);
    let mut answers = vec![];
    for (first, second) in first.into_iter().zip(second) {
        let (l, r) = if all_right { (&second, &first) } else { (&first, &second) };
        if first.rows() > 0 || answers.is_empty() {
            answers.push(Arc::new(merged(env, l, r, &by_left, &by_right, all_left, all_right, false)?));
        }
    }
    Ok(Value::Frame(Arc::new(ochre_core::stack(ledger, &answers)?)))
}

/// Scratch of a join for each row of both sides, beside its keys.
const JOIN_BYTES: u64 = 48;

/// For each category the code that it has among others.
fn codes_among(own: &[String], others: &[String]) -> Vec<i64> {
    let place: FxHashMap<&str, i64> = others.iter().enumerate().map(|(i, t)| (t.as_str(), i as i64)).collect();
    own.iter().map(|t| place.get(t.as_str()).copied().unwrap_or(NO_KEY)).collect()
}

fn merged(
    env: &Env<'_>,
    left: &Frame,
    right: &Frame,
    by_left: &[usize],
    by_right: &[usize],
    all_left: bool,
    all_right: bool,
    keep_order: bool,
) -> Result<Frame> {
    // The side whose rows come first, and the other one that is looked up.
    let (first, second, by_first, by_second) = if all_right { (right, left, by_right, by_left) } else { (left, right, by_left, by_right) };
    let (team, texts) = (Team::everybody(), by_first.iter().any(|c| is_text(first.column(*c))));
    let (shared, all) = (first.rows().max(second.rows()) > WHOLE_ROWS_MAX && !team.is_alone(), all_left || all_right);
    let ledger = &env.node.ledger;
    let (from_first, from_second) = if shared && !texts && !keep_order {
        let keys = common_keys(first, second, by_first, by_second)?;
        shuffle::matched(&team, ledger, (&keys.0, first.rows()), (&keys.1, second.rows()), all)?
    } else {
        let mut keys: Vec<(Vec<i64>, Vec<i64>)> = vec![];
        for (&a, &b) in by_first.iter().zip(by_second) {
            keys.push(if is_text(first.column(a)) && is_text(second.column(b)) {
                common_texts(first.column(a), second.column(b))?
            } else {
                let (x, y) = common_keys(first, second, &[a], &[b])?;
                (x[0].of_all()?, y[0].of_all()?)
            });
        }
        let pairs = match_rows(ledger, &keys, first.rows(), second.rows(), all, !keep_order)?;
        (Taken::new(ledger, first.rows(), pairs.first)?, Taken::new(ledger, second.rows(), pairs.second)?)
    };

    let (mut names, mut picked) = (vec![], vec![]);
    for (&l, &k) in by_left.iter().zip(by_first) {
        names.push(if all_right { &right.names()[k] } else { &left.names()[l] }.clone());
        picked.push((first.column(k).clone(), true));
    }
    for (frame, by, from_first) in [(left, by_left, !all_right), (right, by_right, all_right)] {
        for c in (0..frame.width()).filter(|c| !by.contains(c)) {
            names.push(frame.names()[c].clone());
            picked.push((frame.column(c).clone(), from_first));
        }
    }
    let taken = |(c, first): &(Column, bool)| if *first { from_first.column(c) } else { from_second.column(c) };
    let columns = if ochre_core::current_task().is_some() {
        picked.iter().map(taken).collect::<Result<Vec<_>>>()?
    } else {
        picked.par_iter().map(taken).collect::<Result<Vec<_>>>()?
    };
    Frame::new(names, columns)
}

fn is_text(c: &Column) -> bool {
    matches!(c.kind, Kind::Text | Kind::Uuid)
}

/// Keys of two frames as numbers that are equal where the values are; values of the first side that the second does not know,
/// and missing ones, are `NO_KEY`.
fn common_keys<'a>(first: &'a Frame, second: &'a Frame, by_first: &[usize], by_second: &[usize]) -> Result<(Vec<Key<'a>>, Vec<Key<'a>>)> {
    let mut keys = (vec![], vec![]);
    for (&i, &j) in by_first.iter().zip(by_second) {
        let (a, b) = (first.column(i), second.column(j));
        let of = |column, numbers| Key { numbers, ..Key::new(column) };
        let (x, y) = match (a.domain(), b.domain()) {
            (Some(own), Some(others)) if Arc::ptr_eq(own, others) || own == others => (Numbers::Whole, Numbers::Whole),
            // Both sides are told apart by the second one's categories.
            (Some(own), Some(others)) => (Numbers::Codes(codes_among(own, others)), Numbers::Whole),
            _ if a.is_number() && b.is_number() => {
                // Whole numbers stand for themselves, which lets them index tables.
                let small = |r: &ochre_core::Rollup| r.whole && (r.missing == r.rows || r.min.abs().max(r.max.abs()) < 9e15);
                if [a, b].iter().all(|c| c.rollup().is_ok_and(|r| small(&r))) {
                    (Numbers::Whole, Numbers::Whole)
                } else {
                    (Numbers::Ordered, Numbers::Ordered)
                }
            }
            _ => {
                return Err(Error::invalid(format!(
                    "merge cannot compare the columns '{}' and '{}': they are of different types; convert one with asfactor, ascharacter or asnumeric",
                    first.names()[i],
                    second.names()[j]
                )));
            }
        };
        keys.0.push(of(a, x));
        keys.1.push(of(b, y));
    }
    Ok(keys)
}

/// As [`common_keys`], of two columns of texts.
fn common_texts(a: &Column, b: &Column) -> Result<(Vec<i64>, Vec<i64>)> {
    let (x, y) = (a.to_texts()?, b.to_texts()?);
    let mut distinct: Vec<&str> = y.iter().flatten().map(String::as_str).collect();
    distinct.par_sort_unstable();
    distinct.dedup();
    let rank = |t: &Option<String>| t.as_deref().and_then(|t| distinct.binary_search(&t).ok()).map_or(NO_KEY, |i| i as i64);
    Ok((x.par_iter().map(rank).collect(), y.par_iter().map(rank).collect()))
}

/// Rows of two sides that belong together.
pub struct Pairs {
    pub first: Vec<u64>,
    /// Past the end where a row has no partner.
    pub second: Vec<u64>,
}

/// Rows of two sides with equal keys, by key or as the first side has them; with `all`, rows of the first side that have no partner too.
pub fn match_rows(
    ledger: &Arc<Ledger>,
    keys: &[(Vec<i64>, Vec<i64>)],
    rows: usize,
    others: usize,
    all: bool,
    by_key: bool,
) -> Result<Pairs> {
    let _room = ledger.reserve("keys of a merge", 12 * (rows + others) as u64)?;
    if let ([(a, b)], true) = (keys, by_key)
        && let Some(found) = match_close(a, b, all)
    {
        let total = found.iter().map(|f| f.0.len()).sum::<usize>();
        let _room = ledger.reserve("row numbers of a merge", 16 * total as u64)?;
        let wide = |r: &u32| if *r == u32::MAX { u64::MAX } else { u64::from(*r) };
        let flat = |side: fn(&(Vec<u32>, Vec<u32>)) -> &Vec<u32>| found.par_iter().flat_map_iter(|f| side(f).iter().map(wide)).collect();
        return Ok(Pairs { first: flat(|f| &f.0), second: flat(|f| &f.1) });
    }
    let (wanted, known) = dense(keys, rows, others);
    // The rows of the second side, by key: of key k they are `members[starts[k]..starts[k + 1]]`.
    let groups = known.iter().map(|k| k + 1).max().unwrap_or(0).max(0) as usize;
    let mut starts = vec![0usize; groups + 1];
    known.iter().filter(|k| **k >= 0).for_each(|k| starts[*k as usize + 1] += 1);
    for i in 0..groups {
        starts[i + 1] += starts[i];
    }
    let mut members = vec![0u32; starts[groups]];
    let mut next = starts.clone();
    for (r, k) in known.iter().enumerate().filter(|(_, k)| **k >= 0) {
        members[next[*k as usize]] = r as u32;
        next[*k as usize] += 1;
    }
    let order: Vec<u32> = if by_key { sorted_rows(keys, rows) } else { (0..rows as u32).collect() };
    let partners = |r: u32| -> &[u32] {
        let k = wanted[r as usize];
        if k < 0 { &[] } else { &members[starts[k as usize]..starts[k as usize + 1]] }
    };
    const BLOCK: usize = 1 << 16;
    let sizes: Vec<usize> =
        order.par_chunks(BLOCK).map(|rows| rows.iter().map(|r| partners(*r).len().max(usize::from(all))).sum()).collect();
    let total: usize = sizes.iter().sum();
    let _room = ledger.reserve("row numbers of a merge", 16 * total as u64)?;
    let mut pairs = Pairs { first: vec![0; total], second: vec![0; total] };
    // Every block writes its own stretch.
    let (mut stretches, mut first, mut second) = (vec![], pairs.first.as_mut_slice(), pairs.second.as_mut_slice());
    for (rows, size) in order.chunks(BLOCK).zip(sizes) {
        let ((a, rest_a), (b, rest_b)) = (first.split_at_mut(size), second.split_at_mut(size));
        stretches.push((rows, a, b));
        (first, second) = (rest_a, rest_b);
    }
    stretches.into_par_iter().for_each(|(rows, first, second)| {
        let mut at = 0;
        for r in rows {
            let found = partners(*r);
            for p in found {
                (first[at], second[at]) = (u64::from(*r), u64::from(*p));
                at += 1;
            }
            if found.is_empty() && all {
                (first[at], second[at]) = (u64::from(*r), u64::MAX);
                at += 1;
            }
        }
    });
    Ok(pairs)
}

/// Ranges of keys whose rows are matched by themselves: few enough to be written side by side, and narrow enough that the table
/// of a range stays in the cache.
const RANGES: usize = 256;
const DEAL_ROWS: usize = 1 << 17;

/// Rows of both sides with equal keys, in the order of the keys, for whole numbers that lie close together. Rows are dealt out to
/// ranges of keys first: one pass of writes in order instead of many at random places.
fn match_close(first: &[i64], second: &[i64], all: bool) -> Option<Vec<(Vec<u32>, Vec<u32>)>> {
    let ends = |keys: &[i64]| keys.par_iter().filter(|k| **k != NO_KEY).map(|k| (*k, *k)).reduce_with(|a, b| (a.0.min(b.0), a.1.max(b.1)));
    let (low, high) = match (ends(first), ends(second)) {
        (Some(a), Some(b)) => (a.0.min(b.0), a.1.max(b.1)),
        (Some(a), None) | (None, Some(a)) => a,
        (None, None) => (0, 0),
    };
    let span = u64::try_from(high.checked_sub(low)?).ok()? + 1;
    if span > 4 * (first.len() + second.len()) as u64 + 65_536 {
        return None;
    }
    let width = span.div_ceil(RANGES as u64) as usize;
    let ((a, a_starts), (b, b_starts)) = (dealt(first, low, width), dealt(second, low, width));
    let without: Vec<u32> = if all { (0..first.len() as u32).filter(|r| first[*r as usize] == NO_KEY).collect() } else { vec![] };
    let mut found = vec![(without.clone(), vec![u32::MAX; without.len()])];
    let ranges = (0..RANGES).into_par_iter().map(|r| {
        let rows =
            |pairs: &[AtomicU64], starts: &[usize]| -> (Vec<u32>, Vec<u32>) { by_key(&pairs[starts[r]..starts[r + 1]], r * width, width) };
        let ((a_rows, a_ends), (b_rows, b_ends)) = (rows(&a, &a_starts), rows(&b, &b_starts));
        let (mut ours, mut theirs) = (Vec::with_capacity(a_rows.len()), Vec::with_capacity(a_rows.len()));
        for key in 0..width {
            let partners = &b_rows[b_ends[key] as usize..b_ends[key + 1] as usize];
            for row in &a_rows[a_ends[key] as usize..a_ends[key + 1] as usize] {
                if partners.is_empty() && all {
                    ours.push(*row);
                    theirs.push(u32::MAX);
                }
                ours.extend(std::iter::repeat_n(*row, partners.len()));
                theirs.extend_from_slice(partners);
            }
        }
        (ours, theirs)
    });
    found.extend(ranges.collect::<Vec<_>>());
    Some(found)
}

/// Keys, counted from `low`, and their rows, by ranges of `width` keys; where each range begins. Rows keep their order.
fn dealt(keys: &[i64], low: i64, width: usize) -> (Vec<AtomicU64>, Vec<usize>) {
    let counts: Vec<Vec<usize>> = keys
        .par_chunks(DEAL_ROWS)
        .map(|part| {
            let mut n = vec![0; RANGES];
            part.iter().filter(|k| **k != NO_KEY).for_each(|k| n[(k - low) as usize / width] += 1);
            n
        })
        .collect();
    let (mut places, mut starts, mut at) = (vec![vec![0; RANGES]; counts.len()], vec![0], 0);
    for r in 0..RANGES {
        for (place, n) in places.iter_mut().zip(&counts) {
            place[r] = at;
            at += n[r];
        }
        starts.push(at);
    }
    // Each place is written once; atomics let the blocks write side by side.
    let pairs: Vec<AtomicU64> = (0..at).map(|_| AtomicU64::new(0)).collect();
    keys.par_chunks(DEAL_ROWS).zip(places.par_iter_mut()).enumerate().for_each(|(block, (part, place))| {
        for (i, k) in part.iter().enumerate().filter(|(_, k)| **k != NO_KEY) {
            let (key, row) = ((k - low) as u64, (block * DEAL_ROWS + i) as u64);
            let slot = &mut place[key as usize / width];
            pairs[*slot].store(key << 32 | row, Relaxed);
            *slot += 1;
        }
    });
    (pairs, starts)
}

/// Rows of one range in the order of their keys, and where the rows of each key begin.
fn by_key(pairs: &[AtomicU64], from: usize, width: usize) -> (Vec<u32>, Vec<u32>) {
    let place = |p: &AtomicU64| (p.load(Relaxed) >> 32) as usize - from;
    let mut starts = vec![0u32; width + 1];
    pairs.iter().for_each(|p| starts[place(p) + 1] += 1);
    for k in 0..width {
        starts[k + 1] += starts[k];
    }
    let (mut next, mut rows) = (starts.clone(), vec![0u32; pairs.len()]);
    for p in pairs {
        let slot = &mut next[place(p)];
        rows[*slot as usize] = p.load(Relaxed) as u32;
        *slot += 1;
    }
    (rows, starts)
}

/// One number for each distinct key of the second side; -1 where a part is missing or the second side does not know it.
fn dense(keys: &[(Vec<i64>, Vec<i64>)], rows: usize, others: usize) -> (Vec<i32>, Vec<i32>) {
    let (mut wanted, mut known) = (vec![0i32; rows], vec![0i32; others]);
    for (round, (a, b)) in keys.iter().enumerate() {
        let range = || b.par_iter().filter(|k| **k != NO_KEY);
        let (low, high) = (range().min().copied().unwrap_or(0), range().max().copied().unwrap_or(0));
        // Whole numbers close together index a table; anything else goes through a map.
        if round == 0 && high.wrapping_sub(low) >= 0 && high.wrapping_sub(low) < 4 * others as i64 + 65_536 {
            known.par_iter_mut().zip(b).for_each(|(id, k)| *id = if *k == NO_KEY { -1 } else { (k - low) as i32 });
            wanted.par_iter_mut().zip(a).for_each(|(id, k)| *id = if (low..=high).contains(k) { (k - low) as i32 } else { -1 });
            continue;
        }
        let mut map: FxHashMap<(i32, i64), i32> = FxHashMap::default();
        for (id, k) in known.iter_mut().zip(b) {
            *id = if *id < 0 || *k == NO_KEY {
                -1
            } else {
                let next = map.len() as i32;
                *map.entry((*id, *k)).or_insert(next)
            };
        }
        wanted.par_iter_mut().zip(a).for_each(|(id, k)| {
            *id = if *id < 0 || *k == NO_KEY { -1 } else { map.get(&(*id, *k)).copied().unwrap_or(-1) };
        });
    }
    (wanted, known)
}

fn sorted_rows(keys: &[(Vec<i64>, Vec<i64>)], rows: usize) -> Vec<u32> {
    if let [(only, _)] = keys {
        let range = || only.par_iter().filter(|k| **k != NO_KEY);
        let (low, high) = (range().min().copied().unwrap_or(0), range().max().copied().unwrap_or(0));
        let span = high.wrapping_sub(low);
        if (0..4 * rows as i64 + 65_536).contains(&span) {
            // Counted instead of compared.
            let place = |k: i64| if k == NO_KEY { 0 } else { (k - low) as usize + 1 };
            let mut next = vec![0u32; span as usize + 3];
            only.iter().for_each(|k| next[place(*k) + 1] += 1);
            for i in 1..next.len() {
                next[i] += next[i - 1];
            }
            let mut order = vec![0u32; rows];
            for (r, k) in only.iter().enumerate() {
                let slot = &mut next[place(*k)];
                order[*slot as usize] = r as u32;
                *slot += 1;
            }
            return order;
        }
    }
    let mut order: Vec<u32> = (0..rows as u32).collect();
    crate::group::sort_runs(&keys.iter().map(|k| k.0.as_slice()).collect::<Vec<_>>(), &mut order);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_keys_are_matched_as_any_others() {
        let key = |i: usize| if i.is_multiple_of(13) { NO_KEY } else { (i * 7919 % 5000) as i64 - 700 };
        let (a, b): (Vec<i64>, Vec<i64>) = ((0..9000).map(key).collect(), (3..4000).map(key).collect());
        for all in [false, true] {
            let found = match_close(&a, &b, all).unwrap();
            let pairs: Vec<(u32, u32)> = found.iter().flat_map(|f| f.0.iter().copied().zip(f.1.iter().copied())).collect();
            let mut expect = vec![];
            let mut order: Vec<u32> = (0..a.len() as u32).collect();
            order.sort_by_key(|r| a[*r as usize]);
            for r in order {
                let partners: Vec<u32> =
                    (0..b.len() as u32).filter(|o| a[r as usize] != NO_KEY && b[*o as usize] == a[r as usize]).collect();
                if partners.is_empty() && all {
                    expect.push((r, u32::MAX));
                }
                expect.extend(partners.into_iter().map(|o| (r, o)));
            }
            assert_eq!(pairs, expect);
        }
        assert!(match_close(&[0, 1 << 50], &[1], false).is_none());
    }

    #[test]
    fn a_missing_key_matches_nothing() {
        let keys = vec![(vec![NO_KEY, 1, 2, 2], vec![2, NO_KEY, 1, 2])];
        let (wanted, known) = dense(&keys, 4, 4);
        assert_eq!(known, [1, -1, 0, 1]);
        assert_eq!(wanted, [-1, 0, 1, 1]);
        let far = vec![(vec![NO_KEY, 1 << 50], vec![2, 1 << 50]), (vec![3, 4], vec![3, 4])];
        assert_eq!(dense(&far, 2, 2), (vec![-1, 1], vec![0, 1]));
    }
}
