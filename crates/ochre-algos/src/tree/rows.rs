//! Rows on their way down a tree: the order in which they stand, and how they part at a node.

use rayon::prelude::*;

/// A row that grows a tree.
pub trait Seat: Copy + Send + Sync {
    fn at(&self) -> usize;
}

/// A row with its residual: the two go from node to node together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Row {
    pub row: u32,
    pub z: f32,
}

/// A row with its gradient and hessian.
#[derive(Clone, Copy, Debug, Default)]
pub struct GradientRow {
    pub row: u32,
    pub g: f32,
    pub h: f32,
}

impl Seat for Row {
    #[inline(always)]
    fn at(&self) -> usize {
        self.row as usize
    }
}

impl Seat for GradientRow {
    #[inline(always)]
    fn at(&self) -> usize {
        self.row as usize
    }
}

/// Asks memory for a value that will be read soon.
#[inline(always)]
pub fn ask<T>(values: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing, so that any address will do.
        unsafe { _mm_prefetch(values.as_ptr().wrapping_add(at).cast(), _MM_HINT_T0) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, at);
}

/// Asks memory for what a row some places later has among `values`: rows lie far apart, and waiting for each in turn is
/// most of the time of training.
#[inline(always)]
fn ask_ahead<T, R: Seat>(values: &[T], rows: &[R], i: usize) {
    if let Some(ahead) = rows.get(i + AHEAD) {
        ask(values, ahead.at());
    }
}

/// Rows between asking for a row's values and reading them.
const AHEAD: usize = 24;
/// Rows that one thread parts.
const PIECE: usize = 1 << 14;

/// The rows of nodes, and room to part them in; `ranges` are the nodes' places in the order of rows, ascending.
pub fn segments<'a, R>(
    mut rows: &'a mut [R],
    mut room: &'a mut [R],
    ranges: impl Iterator<Item = std::ops::Range<usize>>,
) -> Vec<(&'a mut [R], &'a mut [R])> {
    let mut at = 0;
    let mut out = vec![];
    for range in ranges {
        let cut = |all: &mut &'a mut [R]| {
            let (own, rest) = std::mem::take(all).split_at_mut(range.start - at).1.split_at_mut(range.len());
            *all = rest;
            own
        };
        out.push((cut(&mut rows), cut(&mut room)));
        at = range.end;
    }
    out
}

/// Orders the rows of a node: those going left first, each side in its old order; says how many go left. `values` are those
/// that `goes_right` looks at.
pub fn part<T: Sync, R: Seat>(rows: &mut [R], room: &mut [R], values: &[T], goes_right: impl Fn(usize) -> bool + Sync) -> usize {
    // Each piece keeps its left rows in place and puts its right ones aside.
    let pieces = rows.par_chunks_mut(PIECE).zip(room.par_chunks_mut(PIECE));
    let lefts: Vec<usize> = pieces.map(|(piece, right)| separate(piece, right, values, &goes_right)).collect();
    let (all, mut at) = (rows.len(), 0);
    for (k, l) in lefts.iter().enumerate() {
        rows.copy_within(k * PIECE..k * PIECE + l, at);
        at += l;
    }
    let left = at;
    for (k, l) in lefts.iter().enumerate() {
        let n = PIECE.min(all - k * PIECE) - l;
        rows[at..at + n].copy_from_slice(&room[k * PIECE..k * PIECE + n]);
        at += n;
    }
    left
}

/// Moves the rows that go right into `right`, the others to the front; returns how many those are. Without branches:
/// which way a row goes cannot be foreseen.
#[inline(never)]
fn separate<T, R: Seat>(rows: &mut [R], right: &mut [R], values: &[T], goes_right: impl Fn(usize) -> bool) -> usize {
    assert!(right.len() == rows.len());
    let (mut l, mut r) = (0, 0);
    for i in 0..rows.len() {
        ask_ahead(values, rows, i);
        let row = rows[i];
        let go = goes_right(row.at());
        // SAFETY: both counters are at most i, and i is below the common length.
        unsafe {
            *rows.get_unchecked_mut(l) = row;
            *right.get_unchecked_mut(r) = row;
        }
        l += usize::from(!go);
        r += usize::from(go);
    }
    l
}
