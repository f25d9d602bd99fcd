//! Nodes that work together.
//!
//! Every node of a cluster runs the same commands in the same order, each on its own rows. A [`Task`] is one command or
//! job while it runs; what it puts into the store becomes visible when all nodes have finished it. A [`Team`] is how
//! code inside a task meets the other nodes: it says which chunks are mine, and gathers partial results of all nodes in
//! rank order, so that everybody goes on with the same numbers. Outside a cluster, and for frames that every node holds
//! whole, a team has one member and costs nothing.
//!
//! The network is somebody else's: this module knows it as a [`Carrier`].

use crate::store::Staged;
use crate::{CHUNK_ROWS, Error, Result};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::Any;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// Frames up to this many rows are held whole by every node: sharing them out would cost more than it saves.
pub const WHOLE_ROWS_MAX: usize = 2 * CHUNK_ROWS;

/// Carries bytes between nodes.
pub trait Carrier: Send + Sync {
    /// What every member of the task brought to a step, in rank order. Waits for all; fails for all or for none.
    fn gather(&self, task: &Task, step: u64, mine: Vec<u8>) -> Result<Vec<Arc<Vec<u8>>>>;
    /// As `gather`, but each member brings something else for each other.
    fn exchange(&self, task: &Task, step: u64, parcels: Vec<Vec<u8>>) -> Result<Vec<Arc<Vec<u8>>>>;
    /// Asks one node a question that [`crate::answer`] answers there.
    fn ask(&self, slot: usize, question: &[u8]) -> Result<Vec<u8>>;
    /// Who holds what now.
    fn layout(&self) -> Layout;
}

/// Which node holds which chunk. Chunks are dealt out in even, contiguous runs over the founding nodes (slots); each is
/// kept by the `replicas` living slots nearest to its home, and owned by the nearest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    pub me: usize,
    pub slots: usize,
    pub replicas: usize,
    /// Living slots, ascending.
    pub alive: Vec<usize>,
}

impl Layout {
    fn home(&self, chunk: usize, chunks: usize) -> usize {
        chunk * self.slots / chunks.max(1)
    }
    fn distance(home: usize, slot: usize) -> usize {
        // Nearest first; of two equally near ones the higher.
        if slot >= home { 2 * (slot - home) } else { 2 * (home - slot) + 1 }
    }
    pub fn owner(&self, chunk: usize, chunks: usize) -> usize {
        let home = self.home(chunk, chunks);
        self.alive.iter().copied().min_by_key(|s| Self::distance(home, *s)).unwrap_or(self.me)
    }
    pub fn keeps(&self, slot: usize, chunk: usize, chunks: usize) -> bool {
        let home = self.home(chunk, chunks);
        let nearer = self.alive.iter().filter(|s| Self::distance(home, **s) < Self::distance(home, slot)).count();
        self.alive.contains(&slot) && nearer < self.replicas
    }
    /// The run of chunks that a slot owns.
    pub fn owned(&self, slot: usize, chunks: usize) -> Range<usize> {
        let first = (0..chunks).find(|c| self.owner(*c, chunks) == slot);
        let Some(first) = first else {
            // Nothing: an empty run at the place where it would be.
            let at = (0..chunks).find(|c| self.owner(*c, chunks) > slot).unwrap_or(chunks);
            return at..at;
        };
        let end = (first..chunks).find(|c| self.owner(*c, chunks) != slot).unwrap_or(chunks);
        first..end
    }
}

/// Identity of a column in the whole cluster: the task that made it, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, serde::Deserialize)]
pub struct ColumnId(pub u64, pub u64);

/// One command or job while it runs on this node.
pub struct Task {
    /// Place of the command in the cluster's log, or number of the job; unique with `epoch`.
    pub id: u64,
    /// Which composition of the cluster this attempt runs in.
    pub epoch: u64,
    pub layout: Layout,
    /// The clock that all nodes use for names.
    pub now_ms: i64,
    threads: usize,
    steps: AtomicU64,
    names: AtomicU64,
    columns: AtomicU64,
    carrier: Arc<dyn Carrier>,
    pool: OnceLock<rayon::ThreadPool>,
    pub(crate) staged: Mutex<Staged>,
    /// Keeps what was made alive until every node has finished the task.
    kept: Mutex<Vec<Arc<dyn Any + Send + Sync>>>,
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Task>>> = const { RefCell::new(None) };
}

/// The task that this thread works for, if it works for a cluster's.
pub fn current() -> Option<Arc<Task>> {
    CURRENT.with(|c| c.borrow().clone())
}

/// The nodes of this task, and who I am among them.
impl Task {
    pub fn new(id: u64, epoch: u64, layout: Layout, now_ms: i64, threads: usize, carrier: Arc<dyn Carrier>) -> Arc<Task> {
        Arc::new(Task {
            id,
            epoch,
            layout,
            now_ms,
            threads,
            steps: AtomicU64::new(0),
            names: AtomicU64::new(0),
            columns: AtomicU64::new(0),
            carrier,
            pool: OnceLock::new(),
            staged: Mutex::default(),
            kept: Mutex::default(),
        })
    }

    /// Runs `work` as this task.
    pub fn enter<T>(self: &Arc<Task>, work: impl FnOnce() -> T) -> T {
        struct Leave(Option<Arc<Task>>);
        impl Drop for Leave {
            fn drop(&mut self) {
                CURRENT.with(|c| *c.borrow_mut() = self.0.take());
            }
        }
        let _leave = Leave(CURRENT.with(|c| c.borrow_mut().replace(self.clone())));
        work()
    }

    /// Threads of the task's own: it may wait for other nodes on them without holding up other tasks.
    pub(crate) fn pool(self: &Arc<Task>) -> Result<&rayon::ThreadPool> {
        if let Some(p) = self.pool.get() {
            return Ok(p);
        }
        let weak = Arc::downgrade(self);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(self.threads)
            .thread_name(|i| format!("ochre-task-{i}"))
            .start_handler(move |_| CURRENT.with(|c| *c.borrow_mut() = weak.upgrade()))
            .build()
            .map_err(|e| Error::Internal(format!("cannot start {} worker threads: {e}", self.threads)))?;
        Ok(self.pool.get_or_init(|| pool))
    }

    /// Ends the task's threads; they hold the task that owns them.
    pub fn close(&self) {
        if let Some(pool) = self.pool.get() {
            pool.broadcast(|_| CURRENT.with(|c| *c.borrow_mut() = None));
        }
        self.kept.lock().clear();
    }

    pub(crate) fn next_column(&self) -> ColumnId {
        // The attempt is part of the identity: a repeated command makes its columns anew.
        ColumnId(self.id << 16 | (self.epoch & 0xffff), self.columns.fetch_add(1, Relaxed))
    }
    pub(crate) fn keep(&self, thing: Arc<dyn Any + Send + Sync>) {
        self.kept.lock().push(thing);
    }

    /// A number that is the same on every node, and another at each call.
    pub fn next_name(&self) -> u64 {
        self.id << 20 | self.names.fetch_add(1, Relaxed)
    }

    pub fn members(&self) -> &[usize] {
        &self.layout.alive
    }
    pub fn rank(&self) -> usize {
        self.layout.alive.iter().position(|s| *s == self.layout.me).unwrap_or(0)
    }

    fn gather(&self, mine: Vec<u8>) -> Result<Vec<Arc<Vec<u8>>>> {
        if self.members().len() == 1 {
            return Ok(vec![Arc::new(mine)]);
        }
        let step = self.steps.fetch_add(1, Relaxed);
        self.carrier.gather(self, step, mine)
    }
}

/// The members that share the rows of a frame.
#[derive(Clone, Default)]
pub struct Team(Option<Arc<Task>>);

impl Team {
    /// One member that has everything.
    pub fn alone() -> Team {
        Team(None)
    }
    /// Everybody in the task, whatever they hold.
    pub fn everybody() -> Team {
        Team(current())
    }
    /// Those who share the rows of a frame with so many rows.
    pub fn for_rows(rows: usize) -> Team {
        Team(current().filter(|_| rows > WHOLE_ROWS_MAX))
    }
    pub fn is_alone(&self) -> bool {
        self.0.as_ref().is_none_or(|t| t.members().len() == 1)
    }
    pub fn rank(&self) -> usize {
        self.0.as_ref().map_or(0, |t| t.rank())
    }
    pub(crate) fn task(&self) -> Option<&Arc<Task>> {
        self.0.as_ref()
    }

    /// My chunks, of so many.
    pub fn mine(&self, chunks: usize) -> Range<usize> {
        self.0.as_ref().map_or(0..chunks, |t| t.layout.owned(t.layout.me, chunks))
    }
    /// My rows, of so many.
    pub fn rows(&self, rows: usize) -> Range<usize> {
        let mine = self.mine(rows.div_ceil(CHUNK_ROWS));
        (mine.start * CHUNK_ROWS).min(rows)..(mine.end * CHUNK_ROWS).min(rows)
    }

    /// My part of so many things, in even, contiguous runs.
    pub fn share(&self, things: usize) -> Range<usize> {
        let (rank, size) = (self.rank(), self.0.as_ref().map_or(1, |t| t.members().len()));
        things * rank / size..things * (rank + 1) / size
    }

    /// What each member brings, in rank order.
    pub fn gather<T: Serialize + DeserializeOwned>(&self, mine: T) -> Result<Vec<T>> {
        let Some(task) = self.0.as_ref().filter(|t| t.members().len() > 1) else { return Ok(vec![mine]) };
        let bytes = postcard::to_allocvec(&mine).map_err(|e| Error::Internal(format!("a partial result cannot be written: {e}")))?;
        let all = task.gather(bytes)?;
        all.iter().map(|b| postcard::from_bytes(b).map_err(|e| Error::Internal(format!("a partial result cannot be read: {e}")))).collect()
    }

    pub fn size(&self) -> usize {
        self.0.as_ref().map_or(1, |t| t.members().len())
    }

    /// Gives each member its parcel, by rank; answers what each member had for this one.
    pub fn exchange(&self, mut parcels: Vec<Vec<u8>>) -> Result<Vec<Arc<Vec<u8>>>> {
        match self.0.as_ref().filter(|t| t.members().len() > 1) {
            None => Ok(vec![Arc::new(parcels.pop().unwrap_or_default())]),
            Some(task) => {
                let step = task.steps.fetch_add(1, Relaxed);
                task.carrier.exchange(task, step, parcels)
            }
        }
    }

    /// Adds whole numbers of all members; exact, so in any order.
    pub fn sum_i64(&self, values: &mut [i64]) -> Result<()> {
        let Some(task) = self.0.as_ref().filter(|t| t.members().len() > 1) else { return Ok(()) };
        let mut mine = vec![0u8; values.len() * 8];
        for (b, v) in mine.chunks_exact_mut(8).zip(values.iter()) {
            b.copy_from_slice(&v.to_le_bytes());
        }
        let all = task.gather(mine)?;
        let me = task.rank();
        for (rank, bytes) in all.iter().enumerate().filter(|(r, _)| *r != me) {
            if bytes.len() != values.len() * 8 {
                return Err(Error::Internal(format!(
                    "node {rank} sent {} bytes of counts where this one has {}: the nodes have gone different ways",
                    bytes.len(),
                    values.len() * 8
                )));
            }
            for (v, b) in values.iter_mut().zip(bytes.chunks_exact(8)) {
                *v += i64::from_le_bytes(b.try_into().expect("eight bytes"));
            }
        }
        Ok(())
    }

    /// The rows of all members, one after the other.
    pub fn concat(&self, mine: Vec<f64>) -> Result<Vec<f64>> {
        let Some(task) = self.0.as_ref().filter(|t| t.members().len() > 1) else { return Ok(mine) };
        let mut bytes = vec![0u8; mine.len() * 8];
        for (b, v) in bytes.chunks_exact_mut(8).zip(&mine) {
            b.copy_from_slice(&v.to_le_bytes());
        }
        drop(mine);
        let all = task.gather(bytes)?;
        let mut out = Vec::with_capacity(all.iter().map(|b| b.len() / 8).sum());
        for bytes in all {
            out.extend(bytes.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().expect("eight bytes"))));
        }
        Ok(out)
    }

    /// Sums of parts that belong to chunks, added in the order of the chunks.
    pub fn fold(&self, mine: Vec<Vec<f64>>) -> Result<Vec<f64>> {
        let mut out: Vec<f64> = vec![];
        for part in self.gather(mine)?.into_iter().flatten() {
            if out.is_empty() {
                out = part;
            } else {
                out.iter_mut().zip(part).for_each(|(a, b)| *a += b);
            }
        }
        Ok(out)
    }

    /// What the first member says: for decisions that clocks make.
    pub fn agree(&self, mine: bool) -> Result<bool> {
        Ok(self.gather(mine)?[0])
    }
}

/// A time that is the same on every node, for names.
pub fn shared_now_ms() -> i64 {
    current().map_or_else(crate::time::now_ms, |t| t.now_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chunk_has_one_owner_and_enough_copies_whoever_is_left() {
        for slots in 1..6usize {
            for lost in 0..(1usize << slots) - 1 {
                let alive: Vec<usize> = (0..slots).filter(|s| lost >> s & 1 == 0).collect();
                for chunks in [0, 1, 2, 3, 7, 30, 31] {
                    let at = |me| Layout { me, slots, replicas: 2, alive: alive.clone() };
                    let runs: Vec<_> = alive.iter().map(|&s| at(s).owned(s, chunks)).collect();
                    assert_eq!(runs.iter().map(|r| r.len()).sum::<usize>(), chunks);
                    assert!(runs.windows(2).all(|w| w[0].end <= w[1].start), "{runs:?}");
                    for c in 0..chunks {
                        let copies = alive.iter().filter(|&&s| at(s).keeps(s, c, chunks)).count();
                        assert_eq!(copies, alive.len().min(2));
                        let owner = at(alive[0]).owner(c, chunks);
                        assert!(at(owner).keeps(owner, c, chunks));
                    }
                }
            }
        }
    }
}
