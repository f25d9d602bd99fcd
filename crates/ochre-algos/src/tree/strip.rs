//! Codes of columns row by row.

use super::rows::{Seat, ask};
use ochre_core::{Node, Reservation};
use rayon::prelude::*;

/// Where a column's codes stand in the rows of a strip: from which byte on, and whether they take two.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: usize,
    wide: bool,
}

/// Codes of some columns once more, row by row: one visit of memory brings all that a row has there. Codes of columns with few
/// values take one byte.
struct Strip {
    /// Bytes of a row.
    width: usize,
    codes: Vec<u8>,
}

impl Strip {
    /// Brings the codes of rows of some of its columns together: `into` has a stretch of `stride` for each column of
    /// `wanted`, which are pairs of a place in a row and a stretch.
    #[inline(never)]
    fn gather(&self, rows: &[impl Seat], wanted: &[(Place, usize)], into: &mut [u16], stride: usize) {
        let width = self.width;
        let last = rows.iter().map(Seat::at).max().map_or(0, |r| (r + 1) * width);
        let fits = |(p, s): &(Place, usize)| p.at + usize::from(p.wide) < width && (s + 1) * stride <= into.len();
        assert!(rows.len() <= stride && last <= self.codes.len() && wanted.iter().all(fits));
        // While some rows are sorted into their columns, memory is asked for the next ones.
        for (at, tile) in rows.chunks(TILE).enumerate() {
            if at == 0 {
                tile.iter().for_each(|r| self.ask(r));
            }
            rows.iter().skip((at + 1) * TILE).take(TILE).for_each(|r| self.ask(r));
            for &(place, stretch) in wanted {
                let out = &mut into[stretch * stride + at * TILE..][..tile.len()];
                let codes = self.codes.as_ptr().wrapping_add(place.at);
                // SAFETY: the largest row lies within the codes, and the place within a row; both asserted above.
                if place.wide {
                    for (slot, r) in out.iter_mut().zip(tile) {
                        *slot = unsafe { codes.add(r.at() * width).cast::<u16>().read_unaligned() };
                    }
                } else {
                    for (slot, r) in out.iter_mut().zip(tile) {
                        *slot = u16::from(unsafe { *codes.add(r.at() * width) });
                    }
                }
            }
        }
    }

    /// Asks memory for a row, which may lie in two lines of the cache.
    #[inline(always)]
    fn ask(&self, r: &impl Seat) {
        ask(&self.codes, r.at() * self.width);
        ask(&self.codes, r.at() * self.width + self.width - 1);
    }
}

/// Rows sorted into their columns at once.
const TILE: usize = 32;

/// Bytes of a strip's row: as many as one line of the cache holds.
const STRIP: usize = 64;
/// From this many rows on columns have strips: fewer stay in the cache as they are.
const STRIPS_FROM: usize = 1 << 16;
/// Rows lie far apart where they are fewer than one in so many of those between the first and the last.
const SPARSE: usize = 2;

/// A column's codes.
pub enum Source<'a> {
    Bytes(&'a [u8]),
    /// With the largest code.
    Words(&'a [u16], usize),
}

impl Source<'_> {
    fn is_wide(&self) -> bool {
        matches!(self, Source::Words(_, largest) if *largest > usize::from(u8::MAX))
    }
    /// Bytes that a code takes in a strip.
    fn size(&self) -> usize {
        1 + usize::from(self.is_wide())
    }
}

/// The strips of a training frame's columns that have codes, and where each column stands in them. Nodes whose rows lie far
/// apart are counted from these.
pub struct Strips {
    strips: Vec<Strip>,
    places: Vec<Option<(usize, Place)>>,
    _held: Option<Reservation>,
}

/// What some rows read from the strips.
pub struct Reading<'a> {
    strips: &'a [Strip],
    /// For each strip, the places and the stretches that they fill.
    wanted: Vec<Vec<(Place, usize)>>,
    /// Which of the columns come from the strips.
    pub brought: Vec<bool>,
}

impl Reading<'_> {
    /// Brings the codes of some of the rows: column after column, `stride` apart.
    pub fn gather(&self, rows: &[impl Seat], into: &mut [u16], stride: usize) {
        for (strip, wanted) in self.strips.iter().zip(&self.wanted).filter(|s| !s.1.is_empty()) {
            strip.gather(rows, wanted, into, stride);
        }
    }
}

impl Strips {
    /// None where there are few rows, and none where memory is short: training goes without, only slower.
    pub fn new(node: &Node, columns: &[Option<Source<'_>>], rows: usize) -> Strips {
        let bytes: usize = columns.iter().flatten().map(Source::size).sum();
        let held = if rows >= STRIPS_FROM { node.ledger.reserve("codes of training rows", (bytes * rows) as u64).ok() } else { None };
        let (strips, places) = if held.is_some() { strips(columns, rows) } else { (vec![], vec![None; columns.len()]) };
        Strips { strips, places, _held: held }
    }

    /// What rows in ascending order read of some columns.
    pub fn reading(&self, columns: impl Iterator<Item = usize>, rows: &[impl Seat]) -> Reading<'_> {
        let span = rows.last().zip(rows.first()).map_or(0, |(last, first)| last.at() + 1 - first.at());
        let sparse = rows.len() * SPARSE < span;
        let mut wanted = vec![vec![]; self.strips.len()];
        let brought = columns.enumerate().map(|(stretch, c)| match self.places[c].filter(|_| sparse) {
            Some((strip, place)) => {
                wanted[strip].push((place, stretch));
                true
            }
            None => false,
        });
        let brought = brought.collect();
        Reading { strips: &self.strips, wanted, brought }
    }
}

fn strips(columns: &[Option<Source<'_>>], rows: usize) -> (Vec<Strip>, Vec<Option<(usize, Place)>>) {
    let mut groups: Vec<Vec<(&Source<'_>, Place)>> = vec![];
    let mut places = vec![None; columns.len()];
    let mut width = STRIP;
    for (c, source) in columns.iter().enumerate() {
        let Some(source) = source else { continue };
        let (wide, size) = (source.is_wide(), source.size());
        if width + size > STRIP {
            groups.push(vec![]);
            width = 0;
        }
        let place = Place { at: width, wide };
        width += size;
        places[c] = Some((groups.len() - 1, place));
        groups.last_mut().expect("just made").push((source, place));
    }
    let block = 4096;
    let strips = groups
        .iter()
        .map(|group| {
            let width = group.last().map_or(0, |(_, p)| p.at + 1 + usize::from(p.wide));
            let mut all = vec![0u8; rows * width];
            all.par_chunks_mut(width * block).enumerate().for_each(|(b, out)| {
                for (source, place) in group {
                    let rows = out.chunks_exact_mut(width);
                    match source {
                        Source::Words(codes, _) if place.wide => rows
                            .zip(&codes[b * block..])
                            .for_each(|(row, code)| row[place.at..place.at + 2].copy_from_slice(&code.to_ne_bytes())),
                        Source::Words(codes, _) => rows.zip(&codes[b * block..]).for_each(|(row, code)| row[place.at] = *code as u8),
                        Source::Bytes(codes) => rows.zip(&codes[b * block..]).for_each(|(row, code)| row[place.at] = *code),
                    }
                }
            });
            Strip { width, codes: all }
        })
        .collect();
    (strips, places)
}
