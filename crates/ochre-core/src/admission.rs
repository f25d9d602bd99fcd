//! The queue of jobs that want much memory: who may begin, so that together they stay within the budget.
//!
//! A running example: eight models of 40 MB each are asked for on a node of 144 MB. Three begin; each that ends lets in
//! the next. A job alone is let in whatever it says, since nothing would come free by waiting.

use crate::{Error, Job, Result};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::time::Duration;

/// How often somebody in the queue looks whether the job was cancelled.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Default)]
pub struct Admission {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Sum of what those inside said they need.
    admitted: u64,
    inside: usize,
    /// Grows by one with each that is let in.
    entries: u64,
    /// First come, first served.
    waiting: VecDeque<u64>,
    next: u64,
}

/// A place inside; given back on drop.
pub struct Turn<'a> {
    queue: &'a Admission,
    bytes: u64,
    /// Nobody else was inside, and this is the entry.
    alone_since: Option<u64>,
}

impl Admission {
    /// Is nobody inside or waiting?
    pub fn is_idle(&self) -> bool {
        let s = self.state.lock();
        s.inside == 0 && s.waiting.is_empty()
    }

    /// Waits until `bytes` more fit into the budget, or nobody is inside; the error of a job that is cancelled meanwhile.
    pub fn enter(&self, job: &Job, bytes: u64, budget: u64) -> Result<Turn<'_>> {
        let mut s = self.state.lock();
        let ticket = s.next;
        s.next += 1;
        s.waiting.push_back(ticket);
        let mut told = None;
        loop {
            let before = s.waiting.iter().position(|t| *t == ticket).unwrap_or(0);
            if before == 0 && (s.inside == 0 || s.admitted.saturating_add(bytes) <= budget) {
                break;
            }
            let cancelled: Option<Error> = job.check().err();
            if let Some(e) = cancelled {
                s.waiting.retain(|t| *t != ticket);
                self.changed.notify_all();
                return Err(e);
            }
            if told != Some((before, s.inside)) {
                told = Some((before, s.inside));
                job.set_message(format!("Waiting for memory: jobs that run {}, that wait before this one {before}", s.inside));
            }
            self.changed.wait_for(&mut s, LOOK);
        }
        if told.is_some() {
            job.set_message("");
        }
        s.waiting.pop_front();
        let alone_since = (s.inside == 0).then_some(s.entries + 1);
        s.admitted = s.admitted.saturating_add(bytes);
        s.inside += 1;
        s.entries += 1;
        self.changed.notify_all();
        Ok(Turn { queue: self, bytes, alone_since })
    }
}

impl Turn<'_> {
    /// Was nobody else inside all the time?
    pub fn alone(&self) -> bool {
        self.alone_since == Some(self.queue.state.lock().entries)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut s = self.queue.state.lock();
        s.admitted -= self.bytes;
        s.inside -= 1;
        self.queue.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    #[test]
    fn those_inside_never_need_more_than_the_budget() {
        let (queue, inside, most) = (Admission::default(), AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for i in 0..40 {
                let (queue, inside, most) = (&queue, &inside, &most);
                scope.spawn(move || {
                    let bytes = 20 + i % 3 * 10;
                    let turn = queue.enter(&Job::detached(), bytes, 100).unwrap();
                    most.fetch_max(inside.fetch_add(bytes, SeqCst) + bytes, SeqCst);
                    std::thread::sleep(Duration::from_millis(2));
                    inside.fetch_sub(bytes, SeqCst);
                    drop(turn);
                });
            }
        });
        assert!(queue.is_idle());
        let most = most.load(SeqCst);
        assert!((60..=100).contains(&most), "{most}");
    }

    #[test]
    fn one_that_is_too_large_comes_alone_and_a_cancelled_one_leaves_the_queue() {
        let queue = Admission::default();
        let first = queue.enter(&Job::detached(), 500, 100).unwrap();
        assert!(first.alone());
        let job = Job::detached();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| queue.enter(&job, 1, 100).is_err());
            while job.message().is_empty() {
                std::thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(job.message(), "Waiting for memory: jobs that run 1, that wait before this one 0");
            job.cancel();
            assert!(waits.join().unwrap());
        });
        // The next one is let in as soon as the first has gone.
        drop(first);
        let second = queue.enter(&Job::detached(), 1, 100).unwrap();
        let third = queue.enter(&Job::detached(), 99, 100).unwrap();
        assert!(!second.alone() && !third.alone());
        drop((second, third));
        assert!(queue.is_idle());
    }
}
