//! Passes: map over chunks of rows, reduce in a fixed tree. The answer does not depend on threads.

use crate::{CHUNK_ROWS, Column, Error, Frame, Job, Result, chunk_lengths};
use std::borrow::Cow;

/// A distributed pass. A named struct that can be serialised, because a closure cannot travel to another node.
pub trait MapReduce: serde::Serialize + serde::de::DeserializeOwned + Send + Sync {
    const NAME: &'static str;
    type Out: Send;
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
        self.pool.install(work)
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
        self.install(|| tree(pass, job, &columns, &lengths, 0, lengths.len()))
    }
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
