//! Jobs: work that a client starts, watches and may cancel. A job that panics fails alone.

use crate::{Error, Result, time::now_ms};
use ochre_schema::{AnyKey, JobKey};
use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobStatus {
    Created,
    Running,
    Done,
    Cancelled,
    Failed,
}

impl JobStatus {
    pub fn name(self) -> &'static str {
        match self {
            JobStatus::Created => "CREATED",
            JobStatus::Running => "RUNNING",
            JobStatus::Done => "DONE",
            JobStatus::Cancelled => "CANCELLED",
            JobStatus::Failed => "FAILED",
        }
    }
    pub fn ended(self) -> bool {
        !matches!(self, JobStatus::Created | JobStatus::Running)
    }
}

struct State {
    status: JobStatus,
    message: String,
    warnings: Vec<String>,
    error: Option<Error>,
    ended_ms: i64,
}

pub struct Job {
    pub key: JobKey,
    pub description: String,
    pub dest: AnyKey,
    pub started_ms: i64,
    progress: AtomicU64,
    cancel: AtomicBool,
    /// When the work must end, in milliseconds since the epoch; zero for never.
    deadline_ms: AtomicU64,
    state: Mutex<State>,
    ended: Condvar,
    checkpoint: Mutex<Option<Box<dyn std::any::Any + Send>>>,
    /// The job that this one is a part of, and its share of the work.
    whole: Option<(Arc<Job>, f64)>,
}

impl Job {
    fn new(key: JobKey, description: &str, dest: AnyKey) -> Arc<Job> {
        Arc::new(Job {
            key,
            description: description.into(),
            dest,
            started_ms: now_ms(),
            progress: AtomicU64::new(0),
            cancel: AtomicBool::new(false),
            deadline_ms: AtomicU64::new(0),
            state: Mutex::new(State { status: JobStatus::Running, message: String::new(), warnings: vec![], error: None, ended_ms: 0 }),
            ended: Condvar::new(),
            checkpoint: Mutex::new(None),
            whole: None,
        })
    }

    /// A part of a job's work: ends when the whole is cancelled or out of time, and moves its progress by its share.
    pub fn part(whole: &Arc<Job>, share: f64) -> Arc<Job> {
        let mut part = Job::new(JobKey::default(), &whole.description, whole.dest.clone());
        Arc::get_mut(&mut part).expect("nobody else has it yet").whole = Some((whole.clone(), share));
        part
    }

    /// A job that nobody watches, for work that is not a client's.
    pub fn detached() -> Arc<Job> {
        Job::new(JobKey::default(), "", AnyKey::default())
    }

    /// `Err(Cancelled)` once somebody cancelled the job; call it wherever a tenth of a second may have passed.
    pub fn check(&self) -> Result<()> {
        if self.cancel.load(Relaxed) {
            return Err(Error::Cancelled);
        }
        self.whole.as_ref().map_or(Ok(()), |(whole, _)| whole.check())
    }
    pub fn cancel(&self) {
        self.cancel.store(true, Relaxed);
    }
    pub fn set_deadline(&self, seconds: f64) {
        if seconds > 0.0 {
            self.deadline_ms.store((now_ms() as f64 + seconds * 1000.0) as u64, Relaxed);
        }
    }
    /// Seconds that are left; none when there is no limit.
    pub fn seconds_left(&self) -> Option<f64> {
        let d = self.deadline_ms.load(Relaxed);
        (d > 0).then(|| (d as f64 - now_ms() as f64).max(0.0) / 1000.0)
    }
    pub fn has_deadline(&self) -> bool {
        self.deadline_ms.load(Relaxed) > 0 || self.whole.as_ref().is_some_and(|(whole, _)| whole.has_deadline())
    }
    /// What an earlier attempt left for the next: an algorithm's own progress.
    pub fn checkpoint(&self) -> &Mutex<Option<Box<dyn std::any::Any + Send>>> {
        &self.checkpoint
    }
    pub fn out_of_time(&self) -> bool {
        let d = self.deadline_ms.load(Relaxed);
        (d > 0 && now_ms() as u64 >= d) || self.whole.as_ref().is_some_and(|(whole, _)| whole.out_of_time())
    }
    pub fn set_progress(&self, fraction: f64) {
        let now = fraction.clamp(0.0, 1.0);
        let before = f64::from_bits(self.progress.swap(now.to_bits(), Relaxed));
        if let Some((whole, share)) = &self.whole {
            let _state = whole.state.lock();
            let sum = f64::from_bits(whole.progress.load(Relaxed)) + (now - before) * share;
            whole.progress.store(sum.clamp(0.0, 1.0).to_bits(), Relaxed);
        }
    }
    pub fn progress(&self) -> f64 {
        if self.status().ended() { 1.0 } else { f64::from_bits(self.progress.load(Relaxed)) }
    }
    pub fn set_message(&self, text: impl Into<String>) {
        self.state.lock().message = text.into();
    }
    pub fn message(&self) -> String {
        self.state.lock().message.clone()
    }
    pub fn warn(&self, text: impl Into<String>) {
        match &self.whole {
            Some((whole, _)) => whole.warn(text),
            None => self.state.lock().warnings.push(text.into()),
        }
    }
    pub fn warnings(&self) -> Vec<String> {
        self.state.lock().warnings.clone()
    }
    pub fn status(&self) -> JobStatus {
        self.state.lock().status
    }
    pub fn error(&self) -> Option<Error> {
        self.state.lock().error.clone()
    }
    pub fn elapsed_ms(&self) -> i64 {
        let s = self.state.lock();
        if s.status.ended() { s.ended_ms - self.started_ms } else { now_ms() - self.started_ms }
    }

    /// Ends the job.
    pub fn finish(&self, outcome: Result<()>) {
        let mut s = self.state.lock();
        s.ended_ms = now_ms();
        match outcome {
            Ok(()) => {
                s.status = JobStatus::Done;
                s.message = "Done.".into();
            }
            Err(Error::Cancelled) => {
                s.status = JobStatus::Cancelled;
                s.message = "Cancelled.".into();
            }
            Err(e) => {
                tracing::warn!(job = %self.key, "{} failed: {e}", self.description);
                s.status = JobStatus::Failed;
                s.message = "Failed.".into();
                s.error = Some(e);
            }
        }
        self.ended.notify_all();
    }

    /// Waits until the job has ended, at most `limit`.
    pub fn wait(&self, limit: Duration) -> JobStatus {
        let mut s = self.state.lock();
        if crate::team::current().is_some() {
            // A command of a cluster never waits for a job, which begins when the command has ended.
            return s.status;
        }
        let until = std::time::Instant::now() + limit;
        while !s.status.ended() {
            if self.ended.wait_until(&mut s, until).timed_out() {
                break;
            }
        }
        s.status
    }
}

/// Ended jobs that are remembered, so that their outcome can be read after the fact.
const JOBS_KEPT_MAX: usize = 1000;

#[derive(Default)]
pub struct Jobs {
    list: Mutex<Vec<Arc<Job>>>,
    next: AtomicU64,
    starter: OnceLock<Start>,
}

/// Work of a job.
pub type Work = Arc<dyn Fn(&Arc<Job>) -> Result<()> + Send + Sync>;
/// How a cluster starts jobs: the job, its number, its work.
pub type Start = Box<dyn Fn(Arc<Job>, u64, Work) + Send + Sync>;

impl Jobs {
    /// Starts `work` on a thread of its own.
    ///
    /// A job of a cluster may have to begin again when a node was lost, so its work can be called more than once.
    pub fn start(
        &self,
        description: &str,
        dest: AnyKey,
        work: impl Fn(&Arc<Job>) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Arc<Job>> {
        let task = crate::team::current();
        let n = task.as_ref().map_or_else(|| self.next.fetch_add(1, Relaxed), |t| t.next_name());
        let home = if task.is_some() { 0 } else { std::process::id() };
        let key = JobKey(format!(
            "$0301{home:08x}ffffffff$_{:032x}",
            crate::Rng::new((n as i64).wrapping_shl(20) ^ crate::team::shared_now_ms()).next_i64() as u64
        ));
        let job = Job::new(key, description, dest);
        {
            let mut list = self.list.lock();
            if list.len() >= JOBS_KEPT_MAX
                && let Some(i) = list.iter().position(|j| j.status().ended())
            {
                list.remove(i);
            }
            list.push(job.clone());
        }
        if let (Some(_), Some(start)) = (task, self.starter.get()) {
            start(job.clone(), n, Arc::new(work));
            return Ok(job);
        }
        let running = job.clone();
        let span = tracing::info_span!("job", key = %job.key);
        std::thread::Builder::new()
            .name("ochre-job".into())
            .spawn(move || {
                let _in = span.enter();
                let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&running)));
                running.finish(outcome.unwrap_or_else(|panic| {
                    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
                    Err(Error::Internal(format!("a fault in ochre stopped this job: {}", text.unwrap_or("unknown"))))
                }));
            })
            .map_err(|e| {
                job.finish(Err(Error::Internal("no thread".into())));
                Error::Internal(format!("cannot start a thread for the job: {e}"))
            })?;
        Ok(job)
    }

    /// From now on jobs are started by a cluster.
    pub fn set_starter(&self, start: Start) {
        let _ = self.starter.set(start);
    }
    /// Forgets a job that was never begun.
    pub fn forget(&self, key: &str) {
        self.list.lock().retain(|j| j.key.0 != key);
    }

    pub fn get(&self, key: &str) -> Result<Arc<Job>> {
        self.list.lock().iter().find(|j| j.key.0 == key).cloned().ok_or_else(|| Error::KeyNotFound { key: key.into(), wanted: "job" })
    }
    pub fn all(&self) -> Vec<Arc<Job>> {
        self.list.lock().clone()
    }
    pub fn running(&self) -> usize {
        self.list.lock().iter().filter(|j| !j.status().ended()).count()
    }
}
