//! The processes that run scripts: started when a script has work, kept a while for the next work, ended when it shall
//! end. One may crash or ask for too much memory; whoever waits for its answer is told, and nobody else notices.

use crate::worker::{Answer, MEMORY_MAX, Question};
use crate::{Text, wire};
use ochre_core::{Error, Result};
use parking_lot::{Condvar, Mutex};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often somebody who waits for a script looks whether it shall still run.
const LOOK: Duration = Duration::from_millis(50);
/// How long a process waits for more work of its script.
const REST: Duration = Duration::from_secs(10);
/// Most bytes of an answer.
const ANSWER_MAX: usize = 1 << 28;

/// A process that has loaded a script. It ends when this is dropped.
struct Worker {
    text: Arc<Text>,
    process: Child,
    link: UnixStream,
    /// When it last had work.
    used: Instant,
}

struct Pool {
    /// Waiting for work; the one that waits longest first.
    idle: Vec<Worker>,
    busy: usize,
    /// A thread ends those that waited long enough.
    cleaned: bool,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { idle: vec![], busy: 0, cleaned: false });
static FREE: Condvar = Condvar::new();

/// Most processes at once.
pub fn most() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get()).min(16)
}

/// A process at work, which counts as one of the busy ones until this is dropped.
pub struct Lease(Option<Worker>);

impl Lease {
    /// A process with this script, as soon as one may run; gives up when `ended` says so.
    pub fn take(text: &Arc<Text>, ended: &dyn Fn() -> Result<()>) -> Result<Lease> {
        let mut surplus = None;
        let mut pool = POOL.lock();
        let kept = loop {
            // One that was ended from outside meanwhile is passed over.
            if let Some(i) = pool.idle.iter().position(|w| w.text == *text) {
                let mut worker = pool.idle.remove(i);
                match worker.process.try_wait() {
                    Ok(None) => break Some(worker),
                    _ => continue,
                }
            }
            if pool.busy < most() {
                if pool.busy + pool.idle.len() >= most() {
                    surplus = Some(pool.idle.remove(0));
                }
                break None;
            }
            if FREE.wait_for(&mut pool, LOOK).timed_out() {
                ended()?;
            }
        };
        pool.busy += 1;
        drop(pool);
        drop(surplus);
        let mut lease = Lease(kept);
        if lease.0.is_none() {
            lease.0 = Some(Worker::start(text)?);
        }
        Ok(lease)
    }

    /// What the script answers; when there is no answer, its process ends.
    pub fn ask(&mut self, question: &Question, ended: &dyn Fn() -> Result<()>) -> Result<Answer> {
        let Some(worker) = &mut self.0 else { return Err(Error::Internal("a custom function's process is gone".into())) };
        let answer = worker.ask(question, ended);
        if answer.is_err() {
            self.0 = None;
        }
        answer
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut pool = POOL.lock();
        pool.busy -= 1;
        if let Some(mut worker) = self.0.take() {
            worker.used = Instant::now();
            pool.idle.push(worker);
            if !pool.cleaned {
                pool.cleaned = std::thread::Builder::new().name("ochre-script".into()).spawn(clean).is_ok();
            }
        }
        FREE.notify_one();
    }
}

/// Ends processes that nobody needed for a while, until there is none.
fn clean() {
    loop {
        std::thread::sleep(REST / 4);
        let mut pool = POOL.lock();
        let (tired, idle) = std::mem::take(&mut pool.idle).into_iter().partition::<Vec<Worker>, _>(|w| w.used.elapsed() > REST);
        pool.idle = idle;
        pool.cleaned = !pool.idle.is_empty();
        let more = pool.cleaned;
        drop(pool);
        drop(tired);
        if !more {
            return;
        }
    }
}

impl Worker {
    /// Starts this program again, as [`crate::worker`].
    fn start(text: &Arc<Text>) -> Result<Worker> {
        let failed = |e: std::io::Error| Error::Internal(format!("cannot start a process for custom function '{}': {e}", text.key));
        let (link, theirs) = UnixStream::pair().map_err(failed)?;
        link.set_read_timeout(Some(LOOK)).map_err(failed)?;
        // The file may have been replaced since this process began.
        let program = match cfg!(target_os = "linux") {
            true => "/proc/self/exe".into(),
            false => std::env::current_exe().map_err(failed)?,
        };
        let mut command = Command::new(program);
        command.arg0("ochre").args(COMMAND).env_clear();
        // The allocator is not to take a large piece of address space before the limit holds.
        command.env("MIMALLOC_ARENA_RESERVE", "0");
        command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::piped());
        let process = command.spawn().map_err(failed)?;
        let mut worker = Worker { text: text.clone(), process, link, used: Instant::now() };
        worker.send(&wire::message(&**text)?).map_err(|e| worker.gone(e))?;
        Ok(worker)
    }

    fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.link.write_all(bytes)
    }

    fn ask(&mut self, question: &Question, ended: &dyn Fn() -> Result<()>) -> Result<Answer> {
        self.send(&wire::message(question)?).map_err(|e| self.gone(e))?;
        let mut length = [0; 4];
        self.receive(&mut length, ended)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > ANSWER_MAX {
            return Err(Error::Internal(format!("a custom function answers {length} bytes")));
        }
        let mut answer = vec![0; length];
        self.receive(&mut answer, ended)?;
        wire::read(&answer)
    }

    fn receive(&mut self, into: &mut [u8], ended: &dyn Fn() -> Result<()>) -> Result<()> {
        let mut at = 0;
        while at < into.len() {
            match self.link.read(&mut into[at..]) {
                Ok(0) => return Err(self.gone(ErrorKind::UnexpectedEof.into())),
                Ok(n) => at += n,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => ended()?,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(self.gone(e)),
            }
        }
        Ok(())
    }

    /// Why the process went: by what it wrote last, and how it ended.
    fn gone(&mut self, e: std::io::Error) -> Error {
        let _ = self.process.kill();
        let end = self.process.wait().map_or_else(|e| e.to_string(), |s| s.to_string());
        let mut last = vec![];
        if let Some(stderr) = &mut self.process.stderr {
            let _ = stderr.take(1 << 12).read_to_end(&mut last);
        }
        let last = String::from_utf8_lossy(&last);
        let key = &self.text.key;
        match last.contains("memory allocation of") {
            true => Error::invalid(format!("custom function '{key}' asked for more than {} MiB of memory", MEMORY_MAX >> 20)),
            false => Error::Internal(format!("the process of custom function '{key}' ended ({end}; {e}): {}", last.trim())),
        }
    }
}

#[cfg(test)]
impl Lease {
    pub fn kill(&mut self) {
        let process = &mut self.0.as_mut().unwrap().process;
        process.kill().unwrap();
        process.wait().unwrap();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What this program is called with to become a worker.
#[cfg(not(test))]
const COMMAND: [&str; 1] = [crate::WORKER];
/// The program of this crate's tests becomes one by a test of its own.
#[cfg(test)]
const COMMAND: [&str; 4] = ["--exact", "tests::worker", "--ignored", "--nocapture"];
