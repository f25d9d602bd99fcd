//! Passes: map over chunks of rows, reduce in a fixed tree. The answer does not depend on threads.

use crate::{CHUNK_ROWS, Column, Error, Frame, Job, Result, chunk_lengths};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A distributed pass. A named struct that can be serialised, because a closure cannot travel to another node.
pub trait MapReduce: serde::Serialize + serde::de::DeserializeOwned + Send + Sync {
    const NAME: &'static str;
    type Out: Send + serde::Serialize + serde::de::DeserializeOwned;
    fn map(&self, rows: Rows<'_>) -> Self::Out;
    fn reduce(&self, left: Self::Out, right: Self::Out) -> Self::Out;
}

/// A run of rows lent to a pass: each column as numbers, NaN for missing.
pub struct Rows<'a> {
    /// Absolute index of the first row.
    pub start: usize,
    pub len: usize,
    pub columns: Vec<Cow<'a, [f64]>>,
}

/// Runs passes on this node's threads.
pub struct Runner {
    pool: rayon::ThreadPool,
    threads: usize,
}

impl Runner {
    pub fn new(threads: usize) -> Result<Runner> {
        let threads = threads.max(1);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("ochre-pass-{i}"))
            .build()
            .map_err(|e| Error::Internal(format!("cannot start {threads} worker threads: {e}")))?;
        Ok(Runner { pool, threads })
    }

    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Runs `work` on the pool, so that what it does in parallel uses this node's threads and no others.
    pub fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match crate::team::current() {
            // A task of a cluster waits for other nodes: on threads of its own it holds up nobody.
            Some(task) => match task.pool() {
                Ok(pool) => pool.install(work),
                Err(_) => self.pool.install(work),
            },
            None => self.pool.install(work),
        }
    }

    /// Runs a pass over some columns of a frame.
    ///
    /// The merge tree halves the list of chunks; it is a function of their number alone.
    pub fn run<P: MapReduce>(&self, job: &Job, frame: &Frame, columns: &[usize], pass: &P) -> Result<P::Out> {
        let columns: Vec<&Column> = columns.iter().map(|&c| frame.column(c)).collect();
        let lengths = chunk_lengths(frame.rows());
        if lengths.is_empty() {
            return Ok(pass.map(Rows { start: 0, len: 0, columns: columns.iter().map(|_| Cow::Owned(vec![])).collect() }));
        }
        let team = crate::Team::for_rows(frame.rows());
        if team.is_alone() {
            return self.install(|| tree(pass, job, &columns, &lengths, 0, lengths.len()));
        }
        // Each node computes the largest parts of the tree that lie in its own chunks; everybody joins them.
        let mut mine = vec![];
        self.install(|| parts(pass, job, &columns, &lengths, 0..lengths.len(), &team.mine(lengths.len()), &mut mine))?;
        let all = team.gather(mine)?.into_iter().flatten().map(|(low, high, state)| ((low, high), state)).collect();
        Ok(join(pass, 0, lengths.len(), &mut { all }))
    }
}

/// The partial results of the largest subtrees within `mine`.
fn parts<P: MapReduce>(
    pass: &P,
    job: &Job,
    columns: &[&Column],
    lengths: &[usize],
    at: std::ops::Range<usize>,
    mine: &std::ops::Range<usize>,
    out: &mut Vec<(usize, usize, P::Out)>,
) -> Result<()> {
    let (low, high) = (at.start, at.end);
    if low >= mine.start && high <= mine.end {
        out.push((low, high, tree(pass, job, columns, lengths, low, high)?));
    } else if low < mine.end && mine.start < high {
        let middle = low + (high - low) / 2;
        parts(pass, job, columns, lengths, low..middle, mine, out)?;
        parts(pass, job, columns, lengths, middle..high, mine, out)?;
    }
    Ok(())
}

/// Puts the parts of all nodes together along the same tree.
fn join<P: MapReduce>(pass: &P, low: usize, high: usize, parts: &mut BTreeMap<(usize, usize), P::Out>) -> P::Out {
    if let Some(done) = parts.remove(&(low, high)) {
        return done;
    }
    assert!(high - low > 1, "every chunk is in a part");
    let middle = low + (high - low) / 2;
    let left = join(pass, low, middle, parts);
    let right = join(pass, middle, high, parts);
    pass.reduce(left, right)
}

fn tree<P: MapReduce>(pass: &P, job: &Job, columns: &[&Column], lengths: &[usize], low: usize, high: usize) -> Result<P::Out> {
    if high - low == 1 {
        job.check()?;
        let data = columns.iter().map(|c| c.chunks()[low].data()).collect::<Result<Vec<_>>>()?;
        let rows = Rows { start: low * CHUNK_ROWS, len: lengths[low], columns: data.iter().map(crate::f64s).collect() };
        return Ok(pass.map(rows));
    }
    let middle = low + (high - low) / 2;
    let (left, right) = rayon::join(|| tree(pass, job, columns, lengths, low, middle), || tree(pass, job, columns, lengths, middle, high));
    Ok(pass.reduce(left?, right?))
}
