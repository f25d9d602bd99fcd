//! Codes of columns row by row.

use super::rows::{Seat, ask};
use rayon::prelude::*;

/// Where a column's codes stand in the rows of a strip: from which byte on, and whether they take two.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    at: usize,
    wide: bool,
}

/// Codes of some columns once more, row by row: one visit of memory brings all that a row has there. Nodes whose rows lie
/// far apart are counted from these. Codes of columns with few values take one byte.
pub struct Strip {
    /// Bytes of a row.
    width: usize,
    codes: Vec<u8>,
}

impl Strip {
    /// Brings the codes of rows of some of its columns together: `into` has a stretch of `stride` for each column of
    /// `wanted`, which are pairs of a place in a row and a stretch.
    #[inline(never)]
    pub fn gather(&self, rows: &[impl Seat], wanted: &[(Place, usize)], into: &mut [u16], stride: usize) {
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
pub const STRIPS_FROM: usize = 1 << 16;

/// A column's codes.
pub enum Source<'a> {
    Bytes(&'a [u8]),
    /// With the largest code.
    Words(&'a [u16], usize),
}

/// The strips of columns that have codes, and where each column stands in them.
pub fn strips(columns: &[Option<Source<'_>>], rows: usize) -> (Vec<Strip>, Vec<Option<(usize, Place)>>) {
    let mut groups: Vec<Vec<(&Source<'_>, Place)>> = vec![];
    let mut places = vec![None; columns.len()];
    let mut width = STRIP;
    for (c, source) in columns.iter().enumerate() {
        let Some(source) = source else { continue };
        let wide = matches!(source, Source::Words(_, largest) if *largest > usize::from(u8::MAX));
        let size = 1 + usize::from(wide);
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
