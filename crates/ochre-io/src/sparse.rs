//! SVMLight: a label and `index:value` pairs a line; what is not named is 0. The label becomes the first column, index i
//! the column after the i-th.

use crate::parse::{Block, Buffer};
use crate::setup::{ColumnType, Format, ParseSetup};
use ochre_core::{Error, Result};

/// More columns than this are a damaged index.
const COLUMNS_MAX: usize = 10_000_000;

/// Do the first lines look like labels with pairs?
pub fn looks_like(lines: &[&[u8]]) -> bool {
    let fits = |line: &&[u8]| {
        let mut words = text(line).split_ascii_whitespace();
        words.next().is_some_and(|w| w.parse::<f64>().is_ok()) && words.clone().next().is_some() && words.all(|w| pair(w).is_some())
    };
    !lines.is_empty() && lines.iter().all(fits)
}

/// A line without its remark.
fn text(line: &[u8]) -> &str {
    let end = line.iter().position(|b| *b == b'#').unwrap_or(line.len());
    std::str::from_utf8(&line[..end]).unwrap_or_default()
}

fn pair(word: &str) -> Option<(usize, f64)> {
    let (index, value) = word.split_once(':')?;
    Some((index.parse().ok().filter(|i| (1..COLUMNS_MAX).contains(i))?, value.parse().ok()?))
}

fn names(width: usize) -> Vec<String> {
    (1..=width).map(|i| format!("C{i}")).collect()
}

pub fn guess(head: &[u8]) -> ParseSetup {
    let width = 1 + lines(head).flat_map(|l| text(l).split_ascii_whitespace().skip(1).filter_map(pair)).map(|p| p.0).max().unwrap_or(0);
    ParseSetup {
        format: Format::SvmLight,
        separator: b' ',
        header: -1,
        names: names(width),
        types: vec![ColumnType::Numeric; width],
        reasons: vec!["a number, as all of SVMLight".into(); width],
        na_strings: vec![vec![]; width],
        ..ParseSetup::default()
    }
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|b| *b == b'\n').filter(|l| !text(l).trim().is_empty())
}

/// The columns that a file needs, label included.
pub fn width(bytes: &[u8]) -> usize {
    1 + lines(bytes).filter_map(|l| text(l).split_ascii_whitespace().skip(1).filter_map(pair).map(|p| p.0).max()).max().unwrap_or(0)
}

/// The setup for as many columns as the files turn out to have.
pub fn widened(setup: &ParseSetup, width: usize) -> ParseSetup {
    let mut out = setup.clone();
    let more = names(width.max(out.names.len()));
    out.names.extend_from_slice(&more[out.names.len()..]);
    out.types.resize(out.names.len(), ColumnType::Numeric);
    out.na_strings.resize(out.names.len(), vec![]);
    out
}

/// The values of a file.
pub fn read(bytes: &[u8], setup: &ParseSetup, name: &str) -> Result<Block<'static>> {
    let mut block = Block::empty(setup);
    let rows = lines(bytes).count();
    for b in &mut block.buffers {
        if let Buffer::Numbers(v) = b {
            v.resize(rows, 0.0);
        }
    }
    let mut put = |c: usize, row: usize, v: f64| {
        if let Some(Buffer::Numbers(values)) = block.buffers.get_mut(c) {
            values[row] = v;
        }
    };
    for (row, line) in lines(bytes).enumerate() {
        let bad = |word: &str, want: &str| Error::invalid(format!("{name}: row {} has '{word}' where SVMLight has {want}", row + 1));
        let mut words = text(line).split_ascii_whitespace();
        let label = words.next().unwrap_or_default();
        put(0, row, label.parse().map_err(|_| bad(label, "a label, which is a number"))?);
        let mut before = 0;
        for word in words {
            let (i, v) = pair(word).ok_or_else(|| bad(word, "a pair such as 3:1.5"))?;
            if i <= before {
                return Err(bad(word, "indices that rise"));
            }
            before = i;
            put(i, row, v);
        }
    }
    block.rows = rows;
    Ok(block)
}
