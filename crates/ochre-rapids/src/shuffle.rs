//! Sorting and joining by all nodes of a cluster together: rows are dealt out to the members by ranges of their keys, each member
//! orders or matches what came to it, and the stretches of all members, one after the other, are the answer.
//!
//! Cost: the keys and the number of a row travel once, 8 bytes for each key column and 4; values travel once to each node that keeps
//! them. Answers are those of one node, row by row.

use crate::frames::Taken;
use crate::group::sort_runs;
use crate::join::match_rows;
use crate::ranges::{Cuts, Key};
use ochre_core::{CHUNK_ROWS, Error, Ledger, Picks, Result, Team};
use rayon::prelude::*;
use std::sync::Arc;

/// Rows that came to this member: their keys, column by column, and their numbers, ascending.
struct Dealt {
    keys: Vec<Vec<i64>>,
    rows: Vec<u32>,
}

/// Sends each of this member's rows to the member that has its range.
fn deal(team: &Team, ledger: &Arc<Ledger>, cuts: &Cuts, keys: &[Key<'_>], rows: usize) -> Result<Dealt> {
    let width = 8 * keys.len() + 4;
    let _room = ledger.reserve("keys on their way to other nodes", (2 * width * team.rows(rows).len()) as u64)?;
    let own = team.mine(rows.div_ceil(CHUNK_ROWS)).into_par_iter().map(|k| {
        let columns = keys.iter().map(|key| key.of_chunk(k)).collect::<Result<Vec<_>>>()?;
        let mut to: Vec<Vec<u8>> = vec![vec![]; team.size()];
        for i in 0..columns[0].len() {
            let to = &mut to[cuts.range(&columns, i, k)];
            columns.iter().for_each(|c| to.extend_from_slice(&c[i].to_le_bytes()));
            to.extend_from_slice(&((k * CHUNK_ROWS + i) as u32).to_le_bytes());
        }
        Ok(to)
    });
    let own = own.collect::<Result<Vec<Vec<Vec<u8>>>>>()?;
    let parcels = (0..team.size()).map(|m| own.iter().map(|to| to[m].as_slice()).collect::<Vec<_>>().concat()).collect();
    drop(own);
    let got = team.exchange(parcels)?;
    let mut dealt = Dealt { keys: vec![vec![]; keys.len()], rows: vec![] };
    for bytes in got {
        let tuples = bytes.chunks_exact(width);
        if !tuples.remainder().is_empty() {
            return Err(Error::Internal(format!("{} bytes of keys came where each row has {width}", bytes.len())));
        }
        for tuple in tuples {
            let (words, row) = tuple.split_at(8 * keys.len());
            let words = words.chunks_exact(8).map(|w| i64::from_le_bytes(w.try_into().expect("eight bytes")));
            dealt.keys.iter_mut().zip(words).for_each(|(k, w)| k.push(w));
            dealt.rows.push(u32::from_le_bytes(row.try_into().expect("four bytes")));
        }
    }
    Ok(dealt)
}

/// The rows of a frame in the order of their keys.
pub fn sorted(team: &Team, ledger: &Arc<Ledger>, keys: &[Key<'_>], rows: usize) -> Result<Taken> {
    let cuts = Cuts::new(team, &[keys], team.size(), true)?;
    let Dealt { keys, rows: numbers } = deal(team, ledger, &cuts, keys, rows)?;
    let _room = ledger.reserve("the order of rows", ((16 * keys.len() + 32) * numbers.len()) as u64)?;
    let mut order: Vec<u32> = (0..numbers.len() as u32).collect();
    sort_runs(&keys.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut order);
    order.par_iter_mut().for_each(|r| *r = numbers[*r as usize]);
    Ok(Taken::Together(Picks::stretches(ledger, team, rows, &order)?))
}

/// Rows of two sides with equal keys, as [`match_rows`] pairs them by key.
pub fn matched(
    team: &Team,
    ledger: &Arc<Ledger>,
    (first, first_rows): (&[Key<'_>], usize),
    (second, second_rows): (&[Key<'_>], usize),
    all: bool,
) -> Result<(Taken, Taken)> {
    let cuts = Cuts::new(team, &[first, second], team.size(), false)?;
    let (ours, theirs) = (deal(team, ledger, &cuts, first, first_rows)?, deal(team, ledger, &cuts, second, second_rows)?);
    let came = ours.rows.len() + theirs.rows.len();
    let _room = ledger.reserve("keys of a merge", ((8 * first.len() + 4) * came) as u64)?;
    let keys: Vec<(Vec<i64>, Vec<i64>)> = ours.keys.into_iter().zip(theirs.keys).collect();
    let pairs = match_rows(ledger, &keys, ours.rows.len(), theirs.rows.len(), all, true)?;
    let numbers = |side: Vec<u64>, rows: &[u32]| -> Vec<u32> {
        side.into_par_iter().map(|r| rows.get(r as usize).copied().unwrap_or(u32::MAX)).collect()
    };
    let (from_first, from_second) = (numbers(pairs.first, &ours.rows), numbers(pairs.second, &theirs.rows));
    Ok((
        Taken::Together(Picks::stretches(ledger, team, first_rows, &from_first)?),
        Taken::Together(Picks::stretches(ledger, team, second_rows, &from_second)?),
    ))
}
