//! Rows of two frames brought together by equal keys.
//!
//! The order of the answer is the reference's: by key ascending, missing keys and keys that the other side does not know
//! first, rows with equal keys in the order they had. A missing key matches nothing.

use crate::group::ordered;
use crate::value::columns;
use crate::{Env, Prim, Value, call};
use ochre_core::{Column, Error, Kind, Result};
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::sync::Arc;

pub const JOINS: &[Prim] = &[call(
    "merge",
    &["left", "right", "all_left", "all_right", "by_left", "by_right", "method"],
    merge,
    "Rows of two frames with equal keys; all_left or all_right keeps rows without a partner. Method hash keeps the left order.",
)];

/// No key, and no partner.
const NONE: i64 = i64::MIN;

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
    let keep_order = matches!(&args[6], Value::Str(m) if m.eq_ignore_ascii_case("hash"));
    // The side whose rows come first, and the other one that is looked up.
    let (first, second, by_first, by_second) =
        if all_right { (&right, &left, &by_right, &by_left) } else { (&left, &right, &by_left, &by_right) };
    let keys = by_first
        .iter()
        .zip(by_second)
        .map(|(&a, &b)| common_keys(first.column(a), second.column(b), &first.names()[a], &second.names()[b]))
        .collect::<Result<Vec<_>>>()?;
    let pairs = match_rows(env, &keys, first.rows(), second.rows(), all_left || all_right, !keep_order)?;

    let (mut names, mut picked) = (vec![], vec![]);
    for (&l, &k) in by_left.iter().zip(by_first) {
        names.push(left.names()[l].clone());
        picked.push((first.column(k).clone(), true));
    }
    for (frame, by) in [(&left, &by_left), (&right, &by_right)] {
        for c in (0..frame.width()).filter(|c| !by.contains(c)) {
            names.push(frame.names()[c].clone());
            picked.push((frame.column(c).clone(), Arc::ptr_eq(frame, first)));
        }
    }
    let ledger = &env.node.ledger;
    let one = |(c, from_first): &(Column, bool)| c.take(ledger, if *from_first { &pairs.first } else { &pairs.second });
    let columns = if ochre_core::current_task().is_some() {
        picked.iter().map(one).collect::<Result<Vec<_>>>()?
    } else {
        picked.par_iter().map(one).collect::<Result<Vec<_>>>()?
    };
    Value::new_frame(names, columns)
}

/// Keys of two columns as numbers that are equal where the values are; values of the first side that the second does not
/// know, and missing ones, are `NONE`.
fn common_keys(a: &Column, b: &Column, a_name: &str, b_name: &str) -> Result<(Vec<i64>, Vec<i64>)> {
    let codes = |c: &Column, map: &[i64]| -> Result<Vec<i64>> {
        Ok(c.to_f64()?.into_par_iter().map(|v| if v.is_nan() { NONE } else { map[v as usize] }).collect())
    };
    match (&a.kind, &b.kind) {
        (Kind::Enum(x), Kind::Enum(y)) => {
            let own: Vec<i64> = (0..y.len() as i64).collect();
            if Arc::ptr_eq(x, y) || x == y {
                return Ok((codes(a, &own)?, codes(b, &own)?));
            }
            let place: FxHashMap<&str, i64> = y.iter().enumerate().map(|(i, t)| (t.as_str(), i as i64)).collect();
            let map: Vec<i64> = x.iter().map(|t| place.get(t.as_str()).copied().unwrap_or(NONE)).collect();
            Ok((codes(a, &map)?, codes(b, &own)?))
        }
        (Kind::Text | Kind::Uuid, Kind::Text | Kind::Uuid) => {
            let (x, y) = (a.to_texts()?, b.to_texts()?);
            let mut distinct: Vec<&str> = y.iter().flatten().map(String::as_str).collect();
            distinct.par_sort_unstable();
            distinct.dedup();
            let rank = |t: &Option<String>| t.as_deref().and_then(|t| distinct.binary_search(&t).ok()).map_or(NONE, |i| i as i64);
            Ok((x.par_iter().map(rank).collect(), y.par_iter().map(rank).collect()))
        }
        _ if (a.is_number() && b.is_number()) => {
            // Whole numbers stand for themselves, which lets them index tables.
            let whole =
                [a, b].iter().all(|c| c.rollup().is_ok_and(|r| r.whole && (r.missing == r.rows || r.min.abs().max(r.max.abs()) < 9e15)));
            let key = |v: f64| {
                if !whole {
                    ordered(v)
                } else if v.is_nan() {
                    NONE
                } else {
                    v as i64
                }
            };
            let numbers = |c: &Column| -> Result<Vec<i64>> { Ok(c.to_f64()?.into_par_iter().map(key).collect()) };
            Ok((numbers(a)?, numbers(b)?))
        }
        _ => Err(Error::invalid(format!(
            "merge cannot compare the columns '{a_name}' and '{b_name}': they are of different types; convert one with asfactor, ascharacter or asnumeric"
        ))),
    }
}

struct Pairs {
    first: Vec<u64>,
    /// Past the end where a row has no partner.
    second: Vec<u64>,
}

fn match_rows(env: &Env<'_>, keys: &[(Vec<i64>, Vec<i64>)], rows: usize, others: usize, all: bool, by_key: bool) -> Result<Pairs> {
    let _room = env.node.ledger.reserve("keys of a merge", 12 * (rows + others) as u64)?;
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
    let _room = env.node.ledger.reserve("row numbers of a merge", 16 * total as u64)?;
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

/// One number for each distinct key of the second side; -1 where a part is missing or the second side does not know it.
fn dense(keys: &[(Vec<i64>, Vec<i64>)], rows: usize, others: usize) -> (Vec<i32>, Vec<i32>) {
    let (mut wanted, mut known) = (vec![0i32; rows], vec![0i32; others]);
    for (round, (a, b)) in keys.iter().enumerate() {
        let range = || b.par_iter().filter(|k| **k != NONE);
        let (low, high) = (range().min().copied().unwrap_or(0), range().max().copied().unwrap_or(0));
        // Whole numbers close together index a table; anything else goes through a map.
        if round == 0 && high.wrapping_sub(low) >= 0 && high.wrapping_sub(low) < 4 * others as i64 + 65_536 {
            known.par_iter_mut().zip(b).for_each(|(id, k)| *id = if *k == NONE { -1 } else { (k - low) as i32 });
            wanted.par_iter_mut().zip(a).for_each(|(id, k)| *id = if (low..=high).contains(k) { (k - low) as i32 } else { -1 });
            continue;
        }
        let mut map: FxHashMap<(i32, i64), i32> = FxHashMap::default();
        for (id, k) in known.iter_mut().zip(b) {
            *id = if *id < 0 || *k == NONE {
                -1
            } else {
                let next = map.len() as i32;
                *map.entry((*id, *k)).or_insert(next)
            };
        }
        wanted.par_iter_mut().zip(a).for_each(|(id, k)| {
            *id = if *id < 0 || *k == NONE { -1 } else { map.get(&(*id, *k)).copied().unwrap_or(-1) };
        });
    }
    (wanted, known)
}

fn sorted_rows(keys: &[(Vec<i64>, Vec<i64>)], rows: usize) -> Vec<u32> {
    if let [(only, _)] = keys {
        let range = || only.par_iter().filter(|k| **k != NONE);
        let (low, high) = (range().min().copied().unwrap_or(0), range().max().copied().unwrap_or(0));
        let span = high.wrapping_sub(low);
        if (0..4 * rows as i64 + 65_536).contains(&span) {
            // Counted instead of compared.
            let place = |k: i64| if k == NONE { 0 } else { (k - low) as usize + 1 };
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
    fn a_missing_key_matches_nothing() {
        let keys = vec![(vec![NONE, 1, 2, 2], vec![2, NONE, 1, 2])];
        let (wanted, known) = dense(&keys, 4, 4);
        assert_eq!(known, [1, -1, 0, 1]);
        assert_eq!(wanted, [-1, 0, 1, 1]);
        let far = vec![(vec![NONE, 1 << 50], vec![2, 1 << 50]), (vec![3, 4], vec![3, 4])];
        assert_eq!(dense(&far, 2, 2), (vec![-1, 1], vec![0, 1]));
    }
}
