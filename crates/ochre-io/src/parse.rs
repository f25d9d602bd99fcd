//! Parsing CSV bytes into a frame, in parallel over blocks of bytes.
//!
//! Cost: every byte is read twice (once to find quotes and line ends, once to parse) and every value is written twice
//! (into block buffers, then into chunks in their narrowest type). Chunk boundaries follow the row count alone, so the
//! frame does not depend on the number of threads or blocks.

use crate::csv::{self, Dialect};
use crate::setup::{self, ColumnType, Format, ParseSetup};
use crate::{RawFile, source, timetext};
use arrow_array::{ArrayRef, FixedSizeBinaryArray, NullArray, StringArray, UInt8Array, UInt16Array, UInt32Array};
use arrow_buffer::NullBuffer;
use ochre_core::{Chunk, Collector, Column, Error, Frame, Job, Kind, Node, Result, Stack, Team, chunk_lengths, pack_f64, store_data};
use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};
use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

const BLOCK_BYTES: usize = 1 << 20;
/// Blocks of text that are handed over together where a file is read in pieces.
const PIECE_BLOCKS: usize = 32;
/// Files smaller than this are parsed by every node for itself.
const SHARED_BYTES_MIN: usize = 1 << 20;
/// A line longer than this is not data.
const LINE_BYTES_MAX: usize = 64 << 20;
const ENUM_LEVELS_MAX: usize = 10_000_000;
pub const MISSING: u32 = u32::MAX;

/// Values of one column in one block.
pub enum Buffer<'a> {
    Numbers(Vec<f64>),
    Codes { codes: Vec<u32>, levels: Levels<'a> },
    Texts { ends: Vec<u32>, bytes: Vec<u8>, valid: Vec<bool> },
    Uuids(Vec<Option<[u8; 16]>>),
    Skipped,
}

impl Buffer<'_> {
    fn of(kind: ColumnType, skipped: bool, estimate: usize) -> Self {
        match kind {
            _ if skipped => Buffer::Skipped,
            ColumnType::Enum => Buffer::Codes { codes: Vec::with_capacity(estimate), levels: Levels::default() },
            ColumnType::Text => Buffer::Texts { ends: vec![], bytes: vec![], valid: vec![] },
            ColumnType::Uuid => Buffer::Uuids(vec![]),
            _ => Buffer::Numbers(Vec::with_capacity(estimate)),
        }
    }
}

/// Distinct texts of a block. Texts of up to seven bytes are looked up by their value, longer ones by hash.
#[derive(Default)]
pub struct Levels<'a> {
    texts: Vec<std::borrow::Cow<'a, [u8]>>,
    short: ShortTexts,
    long: LongTexts,
}

/// Codes of longer texts: an open-addressing table of hashes. The texts themselves lie with the levels.
#[derive(Default)]
struct LongTexts {
    /// (hash, code); 0 marks a free place, which no hash is.
    places: Vec<(u64, u32)>,
    used: usize,
}

impl LongTexts {
    fn hash(text: &[u8]) -> u64 {
        let mut h = rustc_hash::FxHasher::default();
        h.write(text);
        h.finish() | 1
    }

    /// The code of a text among `texts`, or `fresh` for one that is new.
    #[inline(always)]
    fn code(&mut self, text: &[u8], fresh: u32, texts: &[std::borrow::Cow<'_, [u8]>]) -> u32 {
        if self.used * 2 >= self.places.len() {
            self.grow();
        }
        let (hash, mask) = (Self::hash(text), self.places.len() - 1);
        let mut i = (hash >> 20) as usize & mask;
        loop {
            let (found, code) = self.places[i];
            if found == 0 {
                self.places[i] = (hash, fresh);
                self.used += 1;
                return fresh;
            }
            if found == hash && *texts[code as usize] == *text {
                return code;
            }
            i = (i + 1) & mask;
        }
    }

    #[cold]
    fn grow(&mut self) {
        let old = std::mem::take(&mut self.places);
        self.places = vec![(0, 0); (old.len() * 2).max(64)];
        let mask = self.places.len() - 1;
        for p in old.into_iter().filter(|p| p.0 != 0) {
            let mut i = (p.0 >> 20) as usize & mask;
            while self.places[i].0 != 0 {
                i = (i + 1) & mask;
            }
            self.places[i] = p;
        }
    }
}

/// Codes of texts of up to seven bytes: an open-addressing table on the text itself, read as a number.
#[derive(Default)]
struct ShortTexts {
    /// (text and length, code); 0 marks a free place, which no text is, since its length is part of it.
    places: Vec<(u64, u32)>,
    used: usize,
}

impl ShortTexts {
    #[inline(always)]
    fn place(&self, key: u64) -> usize {
        let mask = self.places.len() - 1;
        let mut i = (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize & mask;
        while self.places[i].0 != 0 && self.places[i].0 != key {
            i = (i + 1) & mask;
        }
        i
    }

    /// The code of a text, or `fresh` for one that is new.
    #[inline(always)]
    fn code(&mut self, key: u64, fresh: u32) -> u32 {
        if self.used * 2 >= self.places.len() {
            self.grow();
        }
        let i = self.place(key);
        if self.places[i].0 == 0 {
            self.places[i] = (key, fresh);
            self.used += 1;
        }
        self.places[i].1
    }

    #[cold]
    fn grow(&mut self) {
        let old = std::mem::take(&mut self.places);
        self.places = vec![(0, 0); (old.len() * 2).max(64)];
        for p in old.into_iter().filter(|p| p.0 != 0) {
            let i = self.place(p.0);
            self.places[i] = p;
        }
    }
}

impl<'a> Levels<'a> {
    /// The code of a text of `n` bytes, at most seven, given also as a little-endian number.
    #[inline(always)]
    fn short_code(&mut self, word: u64, n: usize, text: std::borrow::Cow<'a, [u8]>) -> u32 {
        let fresh = self.texts.len() as u32;
        let code = self.short.code(word | (n as u64 + 1) << 56, fresh);
        if code == fresh {
            self.texts.push(text);
        }
        code
    }

    /// The code of a text that is copied only when it is new.
    pub fn code_of(&mut self, text: &[u8]) -> u32 {
        let n = text.len();
        let fresh = self.texts.len() as u32;
        let code = if n <= 7 {
            let mut word = [0u8; 8];
            word[..n].copy_from_slice(text);
            self.short.code(u64::from_le_bytes(word) | (n as u64 + 1) << 56, fresh)
        } else {
            self.long.code(text, fresh, &self.texts)
        };
        if code == fresh {
            self.texts.push(text.to_vec().into());
        }
        code
    }

    #[inline(always)]
    pub fn code(&mut self, text: std::borrow::Cow<'a, [u8]>) -> u32 {
        let n = text.len();
        if n <= 7 {
            let mut word = [0u8; 8];
            word[..n].copy_from_slice(&text);
            return self.short_code(u64::from_le_bytes(word), n, text);
        }
        let fresh = self.texts.len() as u32;
        let code = self.long.code(&text, fresh, &self.texts);
        if code == fresh {
            self.texts.push(text);
        }
        code
    }
}

/// The values of some rows.
pub struct Block<'a> {
    pub rows: usize,
    pub buffers: Vec<Buffer<'a>>,
    extra_fields: usize,
    remarks: usize,
    pub bad_numbers: Vec<usize>,
}

/// Parses files one after the other into one frame.
pub fn parse(node: &Node, job: &Job, files: &[Arc<RawFile>], setup: &ParseSetup) -> Result<Frame> {
    let d = setup.dialect();
    if setup.names.len() != setup.types.len() {
        return Err(Error::invalid(format!("{} column names were given for {} column types", setup.names.len(), setup.types.len())));
    }
    let mut seen = std::collections::HashSet::new();
    let names = setup.names.iter().chain(setup.partitions.iter().map(|p| &p.0));
    if let Some(n) = names.enumerate().find(|(i, n)| !setup.skipped.contains(i) && !seen.insert(n.as_str())) {
        return Err(Error::invalid(format!("Found duplicate column name {}", n.1)));
    }
    if is_large(node, files, setup) {
        return parse_in_pieces(node, job, files, setup);
    }
    match setup.format {
        Format::Parquet => return parse_row_groups(node, job, files, setup),
        Format::Orc | Format::Avro => return parse_records(node, job, files, setup),
        Format::SvmLight => return parse_sparse(node, job, files, setup),
        Format::Csv | Format::Arff | Format::Sheet => {}
    }
    let mut all = vec![];
    for file in files {
        all.push((file, source::bytes(&file.path, &node.ledger, None)?, 0));
    }
    // The first file has a header, unless the names are those of a later one.
    let later = !all.first().is_some_and(|f| repeats_names(&f.1, setup)) && all.iter().skip(1).any(|f| repeats_names(&f.1, setup));
    for (i, (file, bytes, skip)) in all.iter_mut().enumerate() {
        *skip = header_bytes(bytes, setup, i == 0 && !later);
        check_width(&bytes[*skip..], setup, &file.path.display().to_string())?;
    }
    let mut spans = vec![];
    for (i, (file, bytes, skip)) in all.iter().enumerate() {
        for (a, b) in csv::blocks(&bytes[*skip..], BLOCK_BYTES, d) {
            if b - a > LINE_BYTES_MAX {
                return Err(Error::invalid(format!(
                    "{}: the line beginning at byte {} is longer than {LINE_BYTES_MAX} bytes; is a quote ({}) left open, or is this not a text file?",
                    file.path.display(),
                    skip + a,
                    d.quote as char
                )));
            }
            spans.push((i, skip + a, skip + b));
        }
    }
    let total: usize = spans.iter().map(|s| s.2 - s.1).sum();
    let done = AtomicUsize::new(0);
    // On a cluster each node first parses its share of the blocks; from all their row counts follows which rows it
    // keeps, and it parses the few blocks that these reach into besides.
    let team = if total > SHARED_BYTES_MIN { Team::everybody() } else { Team::alone() };
    let share = team.share(spans.len());
    let parse_these = |which: &[usize]| -> Result<Vec<(Block<'_>, _)>> {
        node.runner.install(|| {
            which
                .par_iter()
                .map(|&i| {
                    job.check()?;
                    let (file, a, b) = spans[i];
                    let block = parse_block(&all[file].1[a..b], setup, d).with_partitions(setup, file);
                    let held = node.ledger.reserve("parsed values", block.bytes())?;
                    job.set_progress(0.8 * done.fetch_add(b - a, Relaxed) as f64 / total.max(1) as f64);
                    Ok((block, held))
                })
                .collect::<Result<Vec<_>>>()
        })
    };
    let blocks = parse_these(&share.clone().collect::<Vec<_>>())?;
    let setup = &setup.with_partitions();
    let mut counts = Counts::none(setup);
    blocks.iter().for_each(|(b, _)| counts.add(b));
    counts.of_team(&team)?;
    counts.warn(job, setup);
    let mut domains: Vec<Option<Vec<Vec<u8>>>> = vec![];
    for c in 0..setup.names.len() {
        domains.push(if team.is_alone() { None } else { Some(team.gather(level_texts(blocks.iter().map(|b| &b.0.buffers[c])))?.concat()) });
    }
    let rows: Vec<usize> = team.gather(blocks.iter().map(|b| b.0.rows).collect::<Vec<_>>())?.concat();
    let mut starts = vec![0usize];
    for n in &rows {
        starts.push(starts.last().expect("one") + n);
    }
    let here = ochre_core::kept(*starts.last().expect("one"));
    let (first, end) = (here.start * ochre_core::CHUNK_ROWS, here.end * ochre_core::CHUNK_ROWS);
    let besides: Vec<usize> = (0..spans.len()).filter(|&i| !share.contains(&i) && starts[i] < end && starts[i + 1] > first).collect();
    let more = parse_these(&besides)?;
    let mut held = vec![];
    let mut parts: Vec<Block<'_>> = rows.iter().map(|rows| Block::absent(*rows, setup.names.len())).collect();
    for (i, (b, h)) in share.zip(blocks).chain(besides.into_iter().zip(more)) {
        held.push(h);
        parts[i] = b;
    }
    let frame = joined(node, job, setup, &mut parts, &starts, here, &mut domains)?;
    drop(held);
    Ok(frame)
}

/// Do the values of these files, as numbers of eight bytes, take more than half of the memory? On a cluster each node parses
/// its share only.
fn is_large(node: &Node, files: &[Arc<RawFile>], setup: &ParseSetup) -> bool {
    let bytes: u64 = files.iter().map(|f| f.bytes).sum();
    let pieces = matches!(setup.format, Format::Csv | Format::Parquet) && setup.partitions.is_empty();
    pieces && ochre_core::current_task().is_none() && 2 * bytes > node.ledger.budget() / 2
}

/// Parses one piece after the other, so that chunks can leave for the disk before all is read.
fn parse_in_pieces(node: &Node, job: &Job, files: &[Arc<RawFile>], setup: &ParseSetup) -> Result<Frame> {
    let (mut names, mut stacks): (_, Vec<Stack>) = (vec![], vec![]);
    let _room = node.ledger.reserve("unfinished chunks", setup.names.len() as u64 * Collector::BYTES)?;
    let total: u64 = files.iter().map(|f| f.bytes).sum();
    let mut before = 0;
    for (i, file) in files.iter().enumerate() {
        in_pieces(node, job, file, setup, i == 0, &mut |piece, share| {
            job.check()?;
            if stacks.is_empty() {
                names = piece.names().to_vec();
                stacks = piece.columns().iter().map(|c| Stack::new(&node.ledger, c.kind.clone())).collect();
            }
            job.set_progress(0.9 * (before as f64 + share * file.bytes as f64) / total.max(1) as f64);
            node.runner.install(|| stacks.par_iter_mut().zip(piece.columns()).try_for_each(|(s, c)| s.push(c)))
        })?;
        before += file.bytes;
    }
    let columns = node.runner.install(|| stacks.into_iter().map(|s| s.finish(ochre_core::Levels::Sorted)).collect::<Result<Vec<_>>>())?;
    Frame::new(names, columns)
}

/// Joins the blocks into a frame.
fn joined(
    node: &Node,
    job: &Job,
    setup: &ParseSetup,
    parts: &mut [Block<'_>],
    starts: &[usize],
    here: std::ops::Range<usize>,
    domains: &mut [Option<Vec<Vec<u8>>>],
) -> Result<Frame> {
    let kept: Vec<usize> = (0..setup.names.len()).filter(|c| !setup.skipped.contains(c)).collect();
    let mut columns = vec![];
    for (i, &c) in kept.iter().enumerate() {
        job.check()?;
        let domain = domains[c].take();
        columns.push(node.runner.install(|| build(node, parts, starts, here.clone(), c, setup.types[c] == ColumnType::Time, domain))?);
        job.set_progress(0.8 + 0.2 * (i + 1) as f64 / kept.len() as f64);
    }
    Frame::new(kept.iter().map(|&c| setup.names[c].clone()).collect(), columns)
}

/// What was not taken as it stands.
struct Counts {
    extra_fields: usize,
    remarks: usize,
    bad_numbers: Vec<usize>,
}

impl Counts {
    fn none(setup: &ParseSetup) -> Counts {
        Counts { extra_fields: 0, remarks: 0, bad_numbers: vec![0; setup.names.len()] }
    }

    fn add(&mut self, block: &Block<'_>) {
        self.extra_fields += block.extra_fields;
        self.remarks += block.remarks;
        self.bad_numbers.iter_mut().zip(&block.bad_numbers).for_each(|(a, n)| *a += n);
    }

    /// The sums over all nodes.
    fn of_team(&mut self, team: &Team) -> Result<()> {
        let mut sums: Vec<i64> = [self.extra_fields, self.remarks].iter().chain(&self.bad_numbers).map(|n| *n as i64).collect();
        team.sum_i64(&mut sums)?;
        (self.extra_fields, self.remarks) = (sums[0] as usize, sums[1] as usize);
        self.bad_numbers = sums[2..].iter().map(|n| *n as usize).collect();
        Ok(())
    }

    fn warn(&self, job: &Job, setup: &ParseSetup) {
        let warn = |n: usize, what: &str| {
            if n > 0 {
                job.warn(format!("{n} {what}"));
            }
        };
        warn(self.extra_fields, "fields beyond the last column were dropped");
        warn(self.remarks, "lines beginning with '#' were taken as remarks and skipped");
        for (name, n) in setup.names.iter().zip(&self.bad_numbers) {
            warn(*n, &format!("values of column '{name}' are not numbers and became missing"));
        }
    }
}

/// Joins blocks of which every node has all.
fn all_here(node: &Node, job: &Job, setup: &ParseSetup, mut parts: Vec<Block<'_>>) -> Result<Frame> {
    let mut counts = Counts::none(setup);
    parts.iter().for_each(|p| counts.add(p));
    counts.warn(job, setup);
    in_one_frame(node, job, setup, &mut parts)
}

fn in_one_frame(node: &Node, job: &Job, setup: &ParseSetup, parts: &mut [Block<'_>]) -> Result<Frame> {
    let mut starts = vec![0usize];
    for p in parts.iter() {
        starts.push(starts.last().expect("one") + p.rows);
    }
    let here = ochre_core::kept(*starts.last().expect("one"));
    let mut domains = vec![None; setup.names.len()];
    joined(node, job, setup, parts, &starts, here, &mut domains)
}

/// Hands the rows of a file to `take` in their order, a bounded number at a time, and tells the share of the file that is done:
/// lines of text by their bytes, Parquet by row groups; other formats, which are small or cannot be cut, in one piece. There
/// is always a first piece. `first` says whether a header is there for certain.
pub fn in_pieces(
    node: &Node,
    job: &Job,
    file: &Arc<RawFile>,
    setup: &ParseSetup,
    first: bool,
    take: &mut dyn FnMut(Frame, f64) -> Result<()>,
) -> Result<()> {
    let mut counts = Counts::none(setup);
    let mut hand_over = |mut blocks: Vec<Block<'_>>, share: f64| -> Result<()> {
        blocks.iter().for_each(|b| counts.add(b));
        let frame = in_one_frame(node, job, setup, &mut blocks)?;
        drop(blocks);
        take(frame, share)
    };
    match setup.format {
        Format::SvmLight | Format::Orc | Format::Avro => return take(parse(node, job, std::slice::from_ref(file), setup)?, 1.0),
        Format::Parquet => {
            let groups = crate::columnar::row_groups(&file.path)?;
            if groups.is_empty() {
                hand_over(vec![Block::empty(setup)], 1.0)?;
            }
            for (group, bytes) in groups.iter().enumerate() {
                let _room = node.ledger.reserve(&format!("values of {}", file.path.display()), 3 * bytes)?;
                hand_over(vec![crate::columnar::read(&file.path, group, setup)?], (group + 1) as f64 / groups.len() as f64)?;
            }
        }
        Format::Csv | Format::Arff | Format::Sheet => {
            let (bytes, d) = (source::bytes(&file.path, &node.ledger, None)?, setup.dialect());
            let skip = header_bytes(&bytes, setup, first);
            check_width(&bytes[skip..], setup, &file.path.display().to_string())?;
            let mut spans = csv::blocks(&bytes[skip..], BLOCK_BYTES, d);
            if spans.is_empty() {
                spans.push((0, 0));
            }
            // Values of a piece take about three times its text, while they are read and until they are packed.
            let blocks = (node.ledger.budget() as usize / (20 * BLOCK_BYTES)).clamp(1, PIECE_BLOCKS);
            for (i, piece) in spans.chunks(blocks).enumerate() {
                let parsed: Vec<Block<'_>> =
                    node.runner.install(|| piece.par_iter().map(|(a, b)| parse_block(&bytes[skip + a..skip + b], setup, d)).collect());
                let _held = node.ledger.reserve("parsed values", parsed.iter().map(Block::bytes).sum())?;
                hand_over(parsed, ((i + 1) * blocks).min(spans.len()) as f64 / spans.len() as f64)?;
            }
        }
    }
    counts.warn(job, setup);
    Ok(())
}

/// Parquet: row groups side by side. Every node of a cluster reads all of them, and keeps its rows.
fn parse_row_groups(node: &Node, job: &Job, files: &[Arc<RawFile>], setup: &ParseSetup) -> Result<Frame> {
    let mut groups = vec![];
    for (i, file) in files.iter().enumerate() {
        groups.extend(crate::columnar::row_groups(&file.path)?.into_iter().enumerate().map(|(g, bytes)| ((i, file), g, bytes)));
    }
    let done = AtomicUsize::new(0);
    let blocks = node.runner.install(|| {
        groups
            .par_iter()
            .map(|((i, file), group, bytes)| {
                job.check()?;
                // Pages are unpacked, then values are copied out of them.
                let _pages = node.ledger.reserve(&format!("unpacked pages of {}", file.path.display()), 2 * bytes)?;
                let block = crate::columnar::read(&file.path, *group, setup)?.with_partitions(setup, *i);
                let held = node.ledger.reserve("parsed values", block.bytes())?;
                job.set_progress(0.8 * (done.fetch_add(1, Relaxed) + 1) as f64 / groups.len() as f64);
                Ok((block, held))
            })
            .collect::<Result<Vec<_>>>()
    })?;
    let (blocks, _held): (Vec<_>, Vec<_>) = blocks.into_iter().unzip();
    all_here(node, job, &setup.with_partitions(), blocks)
}

/// ORC and Avro: files side by side.
fn parse_records(node: &Node, job: &Job, files: &[Arc<RawFile>], setup: &ParseSetup) -> Result<Frame> {
    let done = AtomicUsize::new(0);
    let blocks = node.runner.install(|| {
        files
            .par_iter()
            .enumerate()
            .map(|(i, file)| {
                job.check()?;
                let bytes = crate::records::unpacked_bytes(&file.path, setup.format)?;
                let room = node.ledger.reserve(&format!("unpacked values of {}", file.path.display()), bytes)?;
                let block = crate::columnar::read_records(&file.path, setup)?.with_partitions(setup, i);
                drop(room);
                let held = node.ledger.reserve("parsed values", block.bytes())?;
                job.set_progress(0.8 * (done.fetch_add(1, Relaxed) + 1) as f64 / files.len() as f64);
                Ok((block, held))
            })
            .collect::<Result<Vec<_>>>()
    })?;
    let (blocks, _held): (Vec<_>, Vec<_>) = blocks.into_iter().unzip();
    all_here(node, job, &setup.with_partitions(), blocks)
}

/// SVMLight: the files say how many columns there are.
fn parse_sparse(node: &Node, job: &Job, files: &[Arc<RawFile>], setup: &ParseSetup) -> Result<Frame> {
    if !setup.partitions.is_empty() {
        return Err(Error::Unsupported("partition_by is not supported with SVMLight, whose columns are numbers".into()));
    }
    if !setup.skipped.is_empty() {
        return Err(Error::invalid("skipped_columns cannot be used with SVMLight, whose columns are known only when all is read"));
    }
    let texts = files.iter().map(|f| source::bytes(&f.path, &node.ledger, None)).collect::<Result<Vec<_>>>()?;
    let setup = crate::sparse::widened(setup, texts.iter().map(|t| crate::sparse::width(t)).max().unwrap_or(1));
    let rows: usize = texts.iter().map(|t| t.iter().filter(|b| **b == b'\n').count() + 1).sum();
    let _room = node.ledger.reserve("dense values of a sparse file", (rows * setup.names.len() * 8) as u64)?;
    let mut blocks = vec![];
    for (file, text) in files.iter().zip(&texts) {
        job.check()?;
        blocks.push(crate::sparse::read(text, &setup, &file.path.display().to_string())?);
    }
    all_here(node, job, &setup, blocks)
}

/// Does a text begin with a line that names the columns?
fn repeats_names(bytes: &[u8], setup: &ParseSetup) -> bool {
    let start = bytes.len() - setup::without_bom(bytes).len();
    setup.format == Format::Csv && setup.header == 1 && header_bytes(bytes, setup, false) > start
}

/// Length of the header and of what stands before it.
fn header_bytes(bytes: &[u8], setup: &ParseSetup, first: bool) -> usize {
    let start = bytes.len() - setup::without_bom(bytes).len();
    if setup.format == Format::Arff {
        return crate::arff::header(&bytes[start..]).map_or(start, |h| start + h.data);
    }
    if setup.header != 1 {
        return start;
    }
    let mut at = start;
    while at < bytes.len() {
        let end = memchr::memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |i| at + i + 1);
        if setup::is_skipped(bytes[at..end].strip_suffix(b"\n").unwrap_or(&bytes[at..end])) {
            at = end;
            continue;
        }
        let (fields, next) = csv::line(bytes, at, setup.dialect());
        // Later files may or may not repeat the header.
        let same = fields.iter().zip(&setup.names).all(|(f, n)| f.text.trim_ascii() == n.as_bytes());
        return if first || same { next } else { start };
    }
    at
}

fn check_width(bytes: &[u8], setup: &ParseSetup, name: &str) -> Result<()> {
    let Some(at) = bytes.iter().position(|b| !matches!(b, b'\n' | b'\r')) else { return Ok(()) };
    let end = bytes.len().min(at + LINE_BYTES_MAX);
    if bytes[at] == b'#' {
        return Ok(());
    }
    let width = csv::line(&bytes[..end], at, setup.dialect()).0.len();
    if width > setup.names.len() + 1 || (width == 1 && setup.names.len() > 1 && bytes.len() > 200) {
        return Err(Error::invalid(format!(
            "{name} has {width} columns in its first line of data where the parse setup has {}; import files of one format at a time, or state the separator",
            setup.names.len()
        )));
    }
    Ok(())
}

fn parse_block<'a>(bytes: &'a [u8], setup: &ParseSetup, d: Dialect) -> Block<'a> {
    let estimate = bytes.len() / (8 * setup.names.len()).max(1);
    let mut buffers: Vec<Buffer<'a>> =
        setup.types.iter().enumerate().map(|(c, t)| Buffer::of(*t, setup.skipped.contains(&c), estimate)).collect();
    let times: Vec<bool> = setup.types.iter().map(|t| *t == ColumnType::Time).collect();
    let has_na: Vec<bool> = (0..setup.names.len()).map(|c| setup.na_strings.get(c).is_some_and(|n| !n.is_empty())).collect();
    let width = buffers.len();
    let (mut rows, mut extra_fields, mut remarks) = (0, 0, 0);
    let mut bad_numbers = vec![0usize; width];
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\n' => {
                at += 1;
                continue;
            }
            b'\r' if bytes.get(at + 1).is_none_or(|b| *b == b'\n') => {
                at += 1;
                continue;
            }
            b'#' => {
                at = memchr::memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |i| at + i + 1);
                remarks += 1;
                continue;
            }
            _ => {}
        }
        let mut c = 0;
        loop {
            // Most fields are short and plain: found and read as one number.
            if c < width
                && !has_na[c]
                && let Some((n, word)) = csv::short_field(bytes, at, d)
                && push_short(&mut buffers[c], &bytes[at..at + n], word, times[c], &mut bad_numbers[c])
            {
                c += 1;
                at += n;
                // A carriage return may stand before the line end.
                at += usize::from(bytes[at] == b'\r');
                let end = bytes[at] == b'\n';
                at += 1;
                if end {
                    break;
                }
                if d.separator == b' ' {
                    let (next, ended) = csv::after_spaces(bytes, at);
                    at = next;
                    if ended {
                        break;
                    }
                }
                if at >= bytes.len() {
                    break;
                }
                continue;
            }
            let (f, next) = csv::field(bytes, at, d);
            if c < width {
                // Quotes with nothing between them are a text without letters, as the reference has it.
                let na =
                    (f.text.is_empty() && !f.quoted) || (has_na[c] && setup.na_strings[c].iter().any(|n| n.as_bytes() == f.text.as_ref()));
                push(&mut buffers[c], f, na, times[c], &mut bad_numbers[c]);
            } else if !f.text.is_empty() {
                extra_fields += 1;
            }
            c += 1;
            at = next;
            if at >= bytes.len() {
                break;
            }
            at += 1;
            if bytes[next] == b'\n' {
                break;
            }
            if d.separator == b' ' {
                let (next, ended) = csv::after_spaces(bytes, at);
                at = next;
                if ended {
                    break;
                }
            }
        }
        for (b, bad) in buffers[c.min(width)..].iter_mut().zip(&mut bad_numbers[c.min(width)..]) {
            push(b, csv::Field { text: (&[][..]).into(), quoted: false }, true, false, bad);
        }
        rows += 1;
    }
    Block { rows, buffers, extra_fields, remarks, bad_numbers }
}

/// Takes a short field; says no when the column wants the long way.
#[inline(always)]
fn push_short<'a>(buffer: &mut Buffer<'a>, text: &'a [u8], word: u64, time: bool, bad: &mut usize) -> bool {
    match buffer {
        Buffer::Codes { codes, levels } => {
            codes.push(if text.is_empty() { MISSING } else { levels.short_code(word, text.len(), text.into()) })
        }
        Buffer::Numbers(values) if !time => match csv::number(text) {
            Some(v) => values.push(v),
            None if text.is_empty() => values.push(f64::NAN),
            None => {
                push(buffer, csv::Field { text: text.into(), quoted: false }, false, false, bad);
            }
        },
        _ => return false,
    }
    true
}

#[inline(always)]
fn push<'a>(buffer: &mut Buffer<'a>, f: csv::Field<'a>, na: bool, time: bool, bad: &mut usize) {
    match buffer {
        Buffer::Numbers(values) => {
            let v = if na {
                f64::NAN
            } else if time {
                timetext::parse(f.text.trim_ascii()).or_else(|| csv::number(&f.text)).unwrap_or(f64::NAN)
            } else {
                csv::number(&f.text).unwrap_or_else(|| {
                    *bad += usize::from(!matches!(f.text.trim_ascii(), b"" | b"NA" | b"na" | b"N/A" | b"NaN" | b"nan"));
                    f64::NAN
                })
            };
            values.push(v);
        }
        Buffer::Codes { codes, levels } => codes.push(if na { MISSING } else { levels.code(f.text) }),
        Buffer::Texts { ends, bytes, valid } => {
            if !na {
                match std::str::from_utf8(&f.text) {
                    Ok(_) => bytes.extend_from_slice(&f.text),
                    Err(_) => bytes.extend_from_slice(String::from_utf8_lossy(&f.text).as_bytes()),
                }
            }
            ends.push(bytes.len() as u32);
            valid.push(!na);
        }
        Buffer::Uuids(values) => values.push(if na { None } else { setup::uuid(f.text.trim_ascii()) }),
        Buffer::Skipped => {}
    }
}

impl Block<'_> {
    /// Adds what the path of the block's file tells.
    fn with_partitions(mut self, setup: &ParseSetup, file: usize) -> Self {
        for (_, values) in &setup.partitions {
            let mut levels = Levels::default();
            let code = levels.code_of(values[file].as_bytes());
            self.buffers.push(Buffer::Codes { codes: vec![code; self.rows], levels });
            self.bad_numbers.push(0);
        }
        self
    }

    /// A block without rows, with a buffer for each column.
    pub fn empty(setup: &ParseSetup) -> Self {
        let buffers = setup.types.iter().enumerate().map(|(c, t)| Buffer::of(*t, setup.skipped.contains(&c), 0)).collect();
        Block { rows: 0, buffers, extra_fields: 0, remarks: 0, bad_numbers: vec![0; setup.names.len()] }
    }

    /// The place of a block that another node parses.
    fn absent(rows: usize, width: usize) -> Self {
        Block { rows, buffers: (0..width).map(|_| Buffer::Skipped).collect(), extra_fields: 0, remarks: 0, bad_numbers: vec![] }
    }

    fn bytes(&self) -> u64 {
        self.buffers
            .iter()
            .map(|b| match b {
                Buffer::Numbers(v) => v.capacity() * 8,
                Buffer::Codes { codes, levels } => codes.capacity() * 4 + levels.texts.len() * 64,
                Buffer::Texts { ends, bytes, valid } => ends.capacity() * 4 + bytes.capacity() + valid.capacity(),
                Buffer::Uuids(v) => v.capacity() * 17,
                Buffer::Skipped => 0,
            })
            .sum::<usize>() as u64
    }
}

/// The distinct texts of some buffers of categories.
fn level_texts<'a, 'b: 'a>(buffers: impl Iterator<Item = &'a Buffer<'b>>) -> Vec<Vec<u8>> {
    let mut all: std::collections::BTreeSet<&[u8]> = std::collections::BTreeSet::new();
    for b in buffers {
        if let Buffer::Codes { levels, .. } = b {
            all.extend(levels.texts.iter().map(|t| t.as_ref()));
        }
    }
    all.into_iter().map(<[u8]>::to_vec).collect()
}

/// Joins one column's block buffers into the chunks that this node keeps, and frees the buffers.
fn build(
    node: &Node,
    blocks: &mut [Block<'_>],
    starts: &[usize],
    kept: std::ops::Range<usize>,
    c: usize,
    time: bool,
    domain: Option<Vec<Vec<u8>>>,
) -> Result<Column> {
    let rows = *starts.last().expect("one");
    let buffers: Vec<Buffer<'_>> = blocks.iter_mut().map(|b| std::mem::replace(&mut b.buffers[c], Buffer::Skipped)).collect();
    let lengths = chunk_lengths(rows);
    // The pieces of blocks that make up a chunk: (block, from row, to row).
    let pieces = |chunk: usize| {
        let (mut at, end) = (chunk * ochre_core::CHUNK_ROWS, chunk * ochre_core::CHUNK_ROWS + lengths[chunk]);
        let mut b = starts.partition_point(|s| *s <= at) - 1;
        let mut out = vec![];
        while at < end {
            let stop = end.min(starts[b + 1]);
            if stop > at {
                out.push((b, at - starts[b], stop - starts[b]));
            }
            at = stop;
            b += 1;
        }
        out
    };
    let finish = |kind: Kind, make: &(dyn Fn(usize) -> ArrayRef + Sync)| -> Result<Column> {
        let chunks = (0..lengths.len())
            .into_par_iter()
            .map(|k| if kept.contains(&k) { store_data(&node.ledger, make(k)) } else { Ok(Chunk::elsewhere(lengths[k], &node.ledger)) })
            .collect::<Result<Vec<_>>>()?;
        Ok(Column::from_chunks(kind, chunks))
    };
    let kind = if time { Kind::Time } else { Kind::Real };
    match buffers.iter().find(|b| !matches!(b, Buffer::Skipped)) {
        None | Some(Buffer::Skipped) => finish(Kind::Real, &|k| Arc::new(NullArray::new(lengths[k]))),
        Some(Buffer::Numbers(_)) => finish(kind, &|k| {
            let mut values = Vec::with_capacity(lengths[k]);
            for (b, from, to) in pieces(k) {
                if let Buffer::Numbers(v) = &buffers[b] {
                    values.extend_from_slice(&v[from..to]);
                }
            }
            pack_f64(&values)
        }),
        Some(Buffer::Codes { .. }) => {
            let (domain, maps) = merge_levels(&buffers, domain)?;
            let n = domain.len();
            finish(Kind::Enum(Arc::new(domain)), &|k| {
                let mut codes: Vec<u32> = Vec::with_capacity(lengths[k]);
                let mut missing = false;
                for (b, from, to) in pieces(k) {
                    if let Buffer::Codes { codes: local, .. } = &buffers[b] {
                        let map = &maps[b];
                        codes.extend(local[from..to].iter().map(|&x| {
                            if x == MISSING {
                                missing = true;
                                MISSING
                            } else {
                                map[x as usize]
                            }
                        }));
                    }
                }
                pack_codes(&codes, n, missing)
            })
        }
        Some(Buffer::Texts { .. }) => finish(Kind::Text, &|k| {
            let mut out: Vec<Option<&str>> = Vec::with_capacity(lengths[k]);
            for (b, from, to) in pieces(k) {
                if let Buffer::Texts { ends, bytes, valid } = &buffers[b] {
                    for r in from..to {
                        let start = if r == 0 { 0 } else { ends[r - 1] as usize };
                        let text = std::str::from_utf8(&bytes[start..ends[r] as usize]).expect("checked when it was pushed");
                        out.push(valid[r].then_some(text));
                    }
                }
            }
            Arc::new(StringArray::from(out))
        }),
        Some(Buffer::Uuids(_)) => finish(Kind::Uuid, &|k| {
            let mut out: Vec<Option<[u8; 16]>> = Vec::with_capacity(lengths[k]);
            for (b, from, to) in pieces(k) {
                if let Buffer::Uuids(v) = &buffers[b] {
                    out.extend_from_slice(&v[from..to]);
                }
            }
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(out.iter().map(|v| v.as_ref()), 16).expect("16 bytes"))
        }),
    }
}

/// Enum codes in the narrowest unsigned type that holds the domain.
pub fn pack_codes(codes: &[u32], levels: usize, missing: bool) -> ArrayRef {
    let nulls = missing.then(|| NullBuffer::from_iter(codes.iter().map(|c| *c != MISSING)));
    if levels <= usize::from(u8::MAX) {
        Arc::new(UInt8Array::new(codes.iter().map(|c| *c as u8).collect::<Vec<_>>().into(), nulls))
    } else if levels <= usize::from(u16::MAX) {
        Arc::new(UInt16Array::new(codes.iter().map(|c| *c as u16).collect::<Vec<_>>().into(), nulls))
    } else {
        Arc::new(UInt32Array::new(codes.to_vec().into(), nulls))
    }
}

fn with_levels<'a>(mut seen: FxHashSet<&'a [u8]>, b: &'a Buffer<'_>) -> FxHashSet<&'a [u8]> {
    if let Buffer::Codes { levels, .. } = b {
        seen.extend(levels.texts.iter().map(|t| t.as_ref()));
    }
    seen
}

/// The sorted domain of all blocks, and each block's codes in it.
fn merge_levels(buffers: &[Buffer<'_>], everybodys: Option<Vec<Vec<u8>>>) -> Result<(Vec<String>, Vec<Vec<u32>>)> {
    let everybodys = everybodys.unwrap_or_default();
    let mut all: FxHashSet<&[u8]> = buffers.par_iter().fold(FxHashSet::default, with_levels).reduce(FxHashSet::default, |a, b| {
        let (mut to, from) = if a.len() >= b.len() { (a, b) } else { (b, a) };
        to.extend(from);
        to
    });
    all.extend(everybodys.iter().map(Vec::as_slice));
    if all.len() > ENUM_LEVELS_MAX {
        return Err(Error::invalid(format!(
            "a categorical column has {} levels, more than the limit of {ENUM_LEVELS_MAX}; parse it as String",
            all.len()
        )));
    }
    let mut sorted: Vec<&[u8]> = all.into_iter().collect();
    sorted.par_sort_unstable();
    let place: FxHashMap<&[u8], u32> = sorted.iter().copied().zip(0..).collect();
    let maps = buffers
        .par_iter()
        .map(|b| match b {
            Buffer::Codes { levels, .. } => levels.texts.iter().map(|t| place[t.as_ref()]).collect(),
            _ => vec![],
        })
        .collect();
    Ok((sorted.iter().map(|t| String::from_utf8_lossy(t).into_owned()).collect(), maps))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::{Wishes, guess};

    fn parse_text(name: &str, text: &str, threads: usize) -> Result<(Node, Frame)> {
        let node = Node::for_tests(threads);
        let path = std::env::temp_dir().join(format!("ochre-parse-{}-{name}-{threads}.csv", std::process::id()));
        std::fs::write(&path, text).unwrap();
        let mut raw = RawFile::open(&path)?;
        raw.owned = true;
        let files = vec![Arc::new(raw)];
        let setup = guess(&files, &Wishes::default(), &node.ledger)?;
        let frame = parse(&node, &Job::detached(), &files, &setup)?;
        Ok((node, frame))
    }

    fn shape(name: &str, text: &str) -> (Vec<&'static str>, Vec<Vec<Option<String>>>) {
        let (_node, f) = parse_text(name, text, 2).unwrap();
        let types = (0..f.width()).map(|i| f.type_name(i).unwrap()).collect();
        (types, f.columns().iter().map(|c| c.to_texts().unwrap()).collect())
    }

    /// Each case was put to the reference server, which answered the same types and values.
    #[test]
    fn files_are_read_as_the_reference_reads_them() {
        let some = |v: &[&str]| v.iter().map(|t| (!t.is_empty()).then(|| t.to_string())).collect::<Vec<_>>();
        let (t, v) = shape("na", "a,b,c\nx,1,NA\nNA,2,3\n,3,4\ny,NA,5\nna,4,N/A\n");
        assert_eq!(t, ["string", "int", "int"]);
        assert_eq!(v, [some(&["x", "NA", "", "y", "na"]), some(&["1", "2", "3", "", "4"]), some(&["", "3", "4", "5", ""])]);
        let (t, v) = shape("ragged", "a,b,c\n1,2,3\n4,5\n6,7,8,9\n10,11,12\n");
        assert_eq!((t, &v[2]), (vec!["int"; 3], &some(&["3", "", "8", "12"])));
        let (t, _) = shape("time", "d,e,f\n2020-01-02,1/31/99,2020-01-02 03:04:05.678\n2021-12-31,12/1/2001,2021-01-01 23:59:59\n");
        assert_eq!(t, ["time"; 3]);
        let (t, v) = shape("cat01", "v\n0\n0\na\nb\na\nb\n0\n");
        assert_eq!((t, &v[0]), (vec!["enum"], &some(&["", "", "a", "b", "a", "b", ""])));
        let (t, v) = shape("mixed", "a\n1\n2\nx\n3\n4\n5\n6\n");
        assert_eq!((t, &v[0]), (vec!["int"], &some(&["1", "2", "", "3", "4", "5", "6"])));
        let (t, _) = shape("semi", "a;b;c\n1;2,5;x\n2;3,5;y\n");
        assert_eq!(t, ["int", "string", "string"]);
        let (t, v) = shape("trail", "a,b\n1,2\n3,4\n\n\n5,6");
        assert_eq!((t, v[0].len()), (vec!["int"; 2], 3));
        assert_eq!(parse_text("dup", "a,a,b\n1,2,3\n4,5,6\n", 1).err().unwrap().to_string(), "Found duplicate column name a");
    }

    #[test]
    fn the_frame_does_not_depend_on_threads() {
        let mut text = String::from("n,c,s\n");
        for i in 0..120_000 {
            text.push_str(&format!("{},\"k{}\",row {i}\n", i as f64 / 7.0, i * 31 % 977));
        }
        let (_a, one) = parse_text("threads", &text, 1).unwrap();
        let (_b, four) = parse_text("threads", &text, 4).unwrap();
        assert_eq!((one.rows(), one.width()), (120_000, 3));
        for c in 0..3 {
            assert_eq!(one.column(c).to_texts().unwrap(), four.column(c).to_texts().unwrap());
        }
    }

    #[test]
    fn a_file_larger_than_the_memory_is_parsed_to_the_same_frame() {
        let mut text = String::from("n,c,s\n");
        for i in 0..300_000 {
            text.push_str(&format!("{},\"k{}\",row {i}{}\n", i as f64 / 7.0, 300_000 - i / 300, if i == 7 { ",more" } else { "" }));
        }
        let path = std::env::temp_dir().join(format!("ochre-parse-{}-large.csv", std::process::id()));
        std::fs::write(&path, &text).unwrap();
        let parsed = |memory: u64| {
            let node = Node::new(2, memory, &std::env::temp_dir().join(format!("ochre-parse-{}-{memory}", std::process::id()))).unwrap();
            let files = vec![Arc::new(RawFile::open(&path).unwrap())];
            let (setup, job) = (guess(&files, &Wishes::default(), &node.ledger).unwrap(), Job::detached());
            let frame = parse(&node, &job, &files, &setup).unwrap();
            (node, frame, job.warnings())
        };
        let ((_a, all, warnings), (small, pieces, same_warnings)) = (parsed(1 << 30), parsed(6 << 20));
        assert!(small.ledger.spilled() > 0 && small.ledger.peak() <= 6 << 20);
        assert_eq!((warnings.len(), warnings), (1, same_warnings));
        for c in 0..3 {
            assert_eq!(all.column(c).domain(), pieces.column(c).domain());
            assert_eq!(all.column(c).to_texts().unwrap(), pieces.column(c).to_texts().unwrap());
        }
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn formats_are_known_by_their_first_bytes() {
        let some = |v: &[&str]| v.iter().map(|t| (!t.is_empty()).then(|| t.to_string())).collect::<Vec<_>>();
        let (t, v) = shape(
            "arff",
            "% remark\n@RELATION x\n@attribute a NUMERIC\n@ATTRIBUTE 'b c' {yes, 'may be'}\n@attribute d date\n@DATA\n1.5,yes,2020-01-02\n?,'may be',?\n",
        );
        assert_eq!(t, ["real", "enum", "time"]);
        assert_eq!((&v[0], &v[1]), (&some(&["1.5", ""]), &some(&["yes", "may be"])));
        let (t, v) = shape("svm", "1 1:0.5 3:2\n-1 2:1e3 # remark\n1 4:7\n");
        assert_eq!(t, ["int", "real", "int", "int", "int"]);
        assert_eq!((&v[1], &v[4]), (&some(&["0.5", "0", "0"]), &some(&["0", "0", "7"])));
        let e = parse_text("svmbad", "1 1:0.5\n1 3:1\n1 2:1\n2 9:1 4:1\n1 1:1\n", 1).err().unwrap().to_string();
        assert!(e.contains("row 4") && e.contains("indices that rise"), "{e}");
    }

    #[test]
    fn parquet_is_read_by_its_schema() {
        use arrow_array::{BooleanArray, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
        let rows = 1000i64;
        let column = |name: &str, a: ArrayRef| (name.to_string(), a);
        let batch = RecordBatch::try_from_iter([
            column("i", Arc::new(Int64Array::from_iter(0..rows))),
            column("r", Arc::new(Float64Array::from_iter((0..rows).map(|i| (i % 7 != 0).then_some(i as f64 / 3.0))))),
            column("b", Arc::new(BooleanArray::from_iter((0..rows).map(|i| Some(i % 2 == 0))))),
            column("t", Arc::new(TimestampMicrosecondArray::from_iter((0..rows).map(|i| Some(i * 1_000_000 + 1_500))))),
            column("c", Arc::new(StringArray::from_iter((0..rows).map(|i| Some(format!("k{}", i % 5)))))),
            column("s", Arc::new(StringArray::from_iter((0..rows).map(|i| Some(format!("row {i}")))))),
        ])
        .unwrap();
        let path = std::env::temp_dir().join(format!("ochre-parse-{}.parquet", std::process::id()));
        let properties = parquet::file::properties::WriterProperties::builder().set_max_row_group_row_count(Some(300)).build();
        let file = std::fs::File::create(&path).unwrap();
        let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let node = Node::for_tests(2);
        let read = || -> Result<Frame> {
            let files = vec![Arc::new(RawFile::open(&path)?)];
            let setup = guess(&files, &Wishes::default(), &node.ledger)?;
            parse(&node, &Job::detached(), &files, &setup)
        };
        let f = read().unwrap();
        let types: Vec<_> = (0..f.width()).map(|i| f.type_name(i).unwrap()).collect();
        assert_eq!(types, ["int", "real", "enum", "time", "enum", "string"]);
        assert_eq!((f.rows(), f.column(0).value(999).unwrap(), f.column(3).value(2).unwrap()), (1000, 999.0, 2001.0));
        assert!(f.column(1).value(700).unwrap().is_nan() && f.column(1).value(701).unwrap() == 701.0 / 3.0);
        assert_eq!(f.column(2).to_texts().unwrap()[1], Some("False".to_string()));
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let e = read().err().unwrap().to_string();
        assert!(e.contains("damaged or cut short"), "{e}");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_is_not_text_is_refused_by_name() {
        let e = parse_text("noise", "\0\x01\x02\x03", 1).err().unwrap().to_string();
        assert!(e.contains("is not text"), "{e}");
        let e = parse_text("empty", "", 1).err().unwrap().to_string();
        assert!(e.contains("holds no bytes"), "{e}");
    }
}
