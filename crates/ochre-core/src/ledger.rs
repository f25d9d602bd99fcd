//! One memory budget. Every large allocation reserves from it first; when it is spent, cold chunks go to disk; when
//! that is not enough, the reservation fails with an error that says how much was needed and how much is free.

use crate::team::{Carrier, ColumnId};
use crate::{Chunk, Error, Result, Scratch};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};

pub struct Ledger {
    budget: u64,
    used: AtomicU64,
    peak: AtomicU64,
    spilled: AtomicU64,
    /// Advances at each chunk access; the coldest chunk is the one last used longest ago.
    pub(crate) clock: AtomicU64,
    /// Where cold chunks and other files of this process lie.
    pub scratch: Scratch,
    chunks: Mutex<Vec<Weak<Chunk>>>,
    /// One spiller at a time, or two would count the same bytes as freed.
    spilling: Mutex<()>,
    carrier: OnceLock<Arc<dyn Carrier>>,
    /// Columns that other nodes may ask for.
    pub(crate) shared: Mutex<FxHashMap<ColumnId, Weak<Vec<Arc<Chunk>>>>>,
}

/// How often a reservation looks again when nothing can be spilled.
const PATIENCE: usize = 10;

impl Ledger {
    pub fn new(budget: u64, ice_root: &Path) -> Result<Arc<Ledger>> {
        Ok(Arc::new(Ledger {
            budget,
            used: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            spilled: AtomicU64::new(0),
            clock: AtomicU64::new(1),
            scratch: Scratch::new(ice_root),
            chunks: Mutex::new(vec![]),
            spilling: Mutex::new(()),
            carrier: OnceLock::new(),
            shared: Mutex::default(),
        }))
    }

    pub fn budget(&self) -> u64 {
        self.budget
    }
    pub fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }
    pub fn peak(&self) -> u64 {
        self.peak.load(Relaxed)
    }
    /// Bytes that lie on disk and not in memory.
    pub fn spilled(&self) -> u64 {
        self.spilled.load(Relaxed)
    }
    pub fn free(&self) -> u64 {
        self.budget.saturating_sub(self.used())
    }

    fn take(&self, bytes: u64) -> bool {
        let taken = self.used.fetch_update(Relaxed, Relaxed, |u| u.checked_add(bytes).filter(|n| *n <= self.budget));
        if let Ok(before) = taken {
            self.peak.fetch_max(before + bytes, Relaxed);
        }
        taken.is_ok()
    }

    /// Reserves `bytes` for `what`, spilling cold chunks when the budget is short.
    pub fn reserve(self: &Arc<Self>, what: &str, bytes: u64) -> Result<Reservation> {
        if self.take(bytes) {
            return Ok(Reservation { ledger: self.clone(), bytes });
        }
        let _one = self.spilling.lock();
        let mut patience = PATIENCE;
        loop {
            if self.take(bytes) {
                return Ok(Reservation { ledger: self.clone(), bytes });
            }
            // More than is asked for right now: the next reservations would each look for the coldest chunk again.
            if bytes <= self.budget && self.spill(bytes.saturating_sub(self.free()).max(self.budget / 16)) > 0 {
                continue;
            }
            if patience == 0 || bytes > self.budget {
                return Err(Error::OutOfMemory { what: what.into(), needed: bytes, available: self.free(), budget: self.budget });
            }
            // What others have reserved a moment ago may not be a chunk yet, or still be in their hands.
            patience -= 1;
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    /// Writes the coldest chunks out until `bytes` came free or nothing is left to write; returns what came free.
    fn spill(self: &Arc<Self>, bytes: u64) -> u64 {
        let mut live: Vec<Arc<Chunk>> = {
            let mut chunks = self.chunks.lock();
            chunks.retain(|c| c.strong_count() > 0);
            chunks.iter().filter_map(Weak::upgrade).collect()
        };
        // Copies of what other nodes hold go first: dropping them costs nothing.
        // Other threads go on using chunks meanwhile, so that the keys are read once.
        live.sort_by_cached_key(|c| (c.is_here(), c.last_used()));
        let mut freed = 0;
        for chunk in live {
            if freed >= bytes {
                break;
            }
            match chunk.spill(self) {
                Ok(n) => freed += n,
                Err(e) => {
                    tracing::warn!("cannot write a cold chunk under {}: {e}", self.scratch.root().display());
                    break;
                }
            }
        }
        freed
    }

    /// The other nodes of the cluster, once there are any.
    pub fn carrier(&self) -> Option<&Arc<dyn Carrier>> {
        self.carrier.get()
    }
    pub fn set_carrier(&self, carrier: Arc<dyn Carrier>) {
        let _ = self.carrier.set(carrier);
    }

    pub(crate) fn spill_path(&self) -> Result<PathBuf> {
        self.scratch.file("spilled")
    }

    pub(crate) fn note_spilled(&self, bytes: i64) {
        if bytes >= 0 {
            self.spilled.fetch_add(bytes as u64, Relaxed);
        } else {
            self.spilled.fetch_sub((-bytes) as u64, Relaxed);
        }
    }

    pub(crate) fn watch(&self, chunk: &Arc<Chunk>) {
        let mut chunks = self.chunks.lock();
        // Dead entries go whenever the list would grow, so it stays within twice the living.
        if chunks.len() == chunks.capacity() {
            chunks.retain(|c| c.strong_count() > 0);
        }
        chunks.push(Arc::downgrade(chunk));
    }
}

/// Memory taken from the ledger; given back on drop.
pub struct Reservation {
    ledger: Arc<Ledger>,
    bytes: u64,
}

impl Reservation {
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
    /// Gives back what turned out not to be needed.
    pub fn shrink(&mut self, bytes: u64) {
        if bytes < self.bytes {
            self.ledger.used.fetch_sub(self.bytes - bytes, Relaxed);
            self.bytes = bytes;
        }
    }
    /// Splits off a part as a reservation of its own.
    pub fn split(&mut self, bytes: u64) -> Reservation {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Reservation { ledger: self.ledger.clone(), bytes }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.ledger.used.fetch_sub(self.bytes, Relaxed);
    }
}
