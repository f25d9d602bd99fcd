//! The engine room: keys and typed values, frames of immutable columns, the memory ledger, jobs, and what a pass is.
//!
//! A running example: a parser reserves memory from the [`Ledger`], builds [`Column`]s chunk by chunk, puts a
//! [`Frame`] into the [`Store`]; an algorithm's [`Job`] runs a [`MapReduce`] pass over it with a [`Runner`].
//!
//! This crate must not know REST, parsers, models or the network.

mod admission;
mod collect;
mod column;
mod error;
mod exchange;
mod frame;
mod job;
mod ledger;
mod pass;
pub mod rng;
mod rollup;
mod scratch;
mod store;
mod take;
mod team;
pub mod time;

pub use admission::{Admission, Turn};
pub use collect::{Collector, Levels, Stack, Values, stack};
pub use column::{
    CHUNK_ROWS, Chunk, Column, ColumnBuilder, Data, Kind, Numbers, chunk_lengths, f64s, number_at, number_text, pack_f64, store_data,
    uuid_text,
};
pub use error::{Error, ErrorKind, Result};
pub use exchange::{answer, heal, kept};
pub use frame::{Frame, unique_names};
pub use job::{Job, JobStatus, Jobs, Start, Work};
pub use ledger::{Ledger, Reservation};
pub use pass::{MapReduce, Rows, Runner};
pub use rng::Rng;
pub use rollup::{PERCENTILES, Rollup, histogram, quantile, quantile_at, weighted_quantile};
pub use scratch::Scratch;
pub use store::{Blob, Held, Store, Stored};
pub use take::Picks;
pub use team::{Carrier, ColumnId, Layout, Task, Team, WHOLE_ROWS_MAX, current as current_task, shared_now_ms};

/// What every crate above works with: one node's store, jobs, threads and memory.
pub struct Node {
    pub store: Store,
    pub jobs: Jobs,
    pub runner: Runner,
    pub ledger: std::sync::Arc<Ledger>,
    /// Who may begin to train.
    pub admission: Admission,
    pub started: std::time::Instant,
    /// What the server says of itself and its machine: tables for models to remember where they were made.
    pub about: std::sync::OnceLock<Box<dyn Fn() -> serde_json::Value + Send + Sync>>,
}

impl Node {
    pub fn new(threads: usize, memory_max: u64, ice_root: &std::path::Path) -> Result<Node> {
        let ledger = Ledger::new(memory_max, ice_root)?;
        Ok(Node {
            store: Store::default(),
            jobs: Jobs::default(),
            runner: Runner::new(threads)?,
            ledger,
            admission: Admission::default(),
            started: std::time::Instant::now(),
            about: Default::default(),
        })
    }

    /// A small node for tests.
    pub fn for_tests(threads: usize) -> Node {
        let dir = std::env::temp_dir().join(format!("ochre-test-{}-{threads}", std::process::id()));
        Node::new(threads, 1 << 32, &dir).expect("a test node starts")
    }
}
