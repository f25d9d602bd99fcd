//! Functions that users write in Python, run by an interpreter inside the server: metrics and distributions.
//!
//! A running example: the client uploads an archive with `mm_mae.py` under the key `mae` and names
//! `python:mae=mm_mae.CustomMaeFuncWrapper`; [`Script::read`] takes the source out, checks it, and
//! [`Script::metric`] calls `map` for each row, `reduce` for pairs of results, `metric` for the last one.
//!
//! The interpreter has no files, no network, no processes and no modules but `math` and the names that the client's
//! generated code imports (`java.lang.Math`, `water.udf`). It runs in processes of its own (`pool`), which are this
//! same program started with [`WORKER`], so that a script that crashes or asks for too much memory ends itself and not
//! the server. Work is cut into runs of rows whose length does not depend on how many processes there are, and results
//! are merged in the order of the rows, so the same data give the same bits.
//!
//! This crate must not know frames, models or the network.

mod interpreter;
mod pool;
mod prelude;
mod wire;
mod worker;

use ochre_core::{Error, Job, Result};
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use worker::{Question, Reply};

pub use worker::live as worker;

/// The argument with which a program that runs scripts calls [`worker`] and nothing else.
pub const WORKER: &str = "script-worker";

/// Largest source, in bytes.
const SOURCE_MAX: u64 = 1 << 20;
/// Rows in one run: what one interpreter is given at once.
const RUN_ROWS: usize = 1 << 14;
/// Longest time for work that belongs to no job, such as measuring a model on request.
const UNWATCHED: Duration = Duration::from_secs(600);
/// How long work may go on once its job's time is over: what a job measures last is not refused at once.
const OVERTIME: Duration = Duration::from_secs(60);

/// A class that a user wrote, ready to be called.
#[derive(Clone)]
pub struct Script {
    text: Arc<Text>,
    /// Whose end or deadline ends the script's work.
    job: Option<Arc<Job>>,
}

/// What a script is, as plain data.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Text {
    key: String,
    class: String,
    file: String,
    source: String,
}

/// A row that a metric is told of.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct MetricRow {
    pub predictions: Vec<f64>,
    /// The response; for uplift, whether the row was treated after it.
    pub actual: Vec<f64>,
    pub weight: f64,
    pub offset: f64,
}

/// How a distribution that a user wrote turns scores into means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Identity,
    Log,
    Logit,
}

impl Script {
    /// Reads `python:key=module.Class`: the source out of the archive that was put under the key. `methods` are those
    /// that the class must have.
    pub fn read(reference: &str, methods: &[&str], archive: impl FnOnce(&str) -> Result<Vec<u8>>) -> Result<Script> {
        let form = || Error::invalid(format!("a custom function is named like python:key=module.Class, but this one is '{reference}'"));
        let (language, rest) = reference.split_once(':').ok_or_else(form)?;
        let (key, path) = rest.split_once('=').ok_or_else(form)?;
        let (module, class) = path.rsplit_once('.').ok_or_else(form)?;
        if language != "python" {
            return Err(Error::invalid(format!("custom functions are written in python; '{language}' of '{reference}' cannot be run")));
        }
        let file = format!("{}.py", module.replace('.', "/"));
        let source = source(&archive(key)?, &file).map_err(|why| Error::invalid(format!("custom function '{key}': {why}")))?;
        let script = Script::new(Text { key: key.into(), class: class.into(), file, source });
        script.ask(Question::Require(methods.iter().map(|m| m.to_string()).collect()))?;
        Ok(script)
    }

    fn new(text: Text) -> Script {
        Script { text: Arc::new(text), job: None }
    }

    /// The same, with its work ending when the job does.
    pub fn watched(&self, job: &Arc<Job>) -> Script {
        Script { text: self.text.clone(), job: Some(job.clone()) }
    }

    /// The same, for work that belongs to no job.
    pub fn unwatched(&self) -> Script {
        Script { text: self.text.clone(), job: None }
    }

    /// The key under which it was uploaded.
    pub fn key(&self) -> &str {
        &self.text.key
    }

    /// Of some rows, what `reduce` makes of their results; `None` of no rows.
    pub fn metric_part(&self, rows: usize, row: impl Fn(usize) -> Option<MetricRow> + Sync) -> Result<Option<Vec<f64>>> {
        let parts = self.ask_all(rows.div_ceil(RUN_ROWS), |run| {
            let start = run * RUN_ROWS;
            let told: Vec<MetricRow> = (start..rows.min(start + RUN_ROWS)).filter_map(&row).collect();
            (!told.is_empty()).then_some(Question::MapReduce(told))
        })?;
        self.reduce(parts)
    }

    /// What `reduce` makes of results, from first to last.
    pub fn reduce(&self, parts: Vec<Vec<f64>>) -> Result<Option<Vec<f64>>> {
        if parts.len() < 2 {
            return Ok(parts.into_iter().next());
        }
        self.numbers(Question::Reduce(parts)).map(Some)
    }

    /// What `metric` makes of the last result.
    pub fn metric(&self, last: Vec<f64>) -> Result<f64> {
        Ok(self.numbers(Question::OfList("metric".into(), last))?[0])
    }

    /// The link that the distribution names.
    pub fn link(&self) -> Result<Link> {
        let name = match self.ask(Question::Text("link".into()))? {
            Reply::Text(name) => name,
            Reply::Numbers(_) => String::new(),
        };
        Ok(match name.to_ascii_lowercase().as_str() {
            "identity" => Link::Identity,
            "log" => Link::Log,
            "logit" => Link::Logit,
            _ => {
                let key = self.key();
                return Err(Error::invalid(format!("custom distribution '{key}' has the link '{name}'; use identity, log or logit")));
            }
        })
    }

    /// Calls a method for each row of arguments and gives what it answers: one number, or a list of `width`.
    pub fn call(&self, method: &str, arguments: &[Vec<f64>], width: usize) -> Result<Vec<f64>> {
        let rows = arguments.first().map_or(0, Vec::len);
        let parts = self.ask_all(rows.div_ceil(RUN_ROWS), |run| {
            let start = run * RUN_ROWS;
            let columns = arguments.iter().map(|c| c[start..rows.min(start + RUN_ROWS)].to_vec()).collect();
            Some(Question::OfRows(method.into(), columns, width))
        })?;
        Ok(parts.concat())
    }

    fn numbers(&self, question: Question) -> Result<Vec<f64>> {
        match self.ask(question)? {
            Reply::Numbers(n) => Ok(n),
            Reply::Text(t) => Err(Error::Internal(format!("a custom function answers '{t}' where numbers are wanted"))),
        }
    }

    fn ask(&self, question: Question) -> Result<Reply> {
        let ended = self.ended();
        self.answer(&mut pool::Lease::take(&self.text, &ended)?, question, &ended)
    }

    fn answer(&self, lease: &mut pool::Lease, question: Question, ended: &dyn Fn() -> Result<()>) -> Result<Reply> {
        let key = self.key();
        lease.ask(&question, ended)?.map_err(|why| Error::invalid(format!("custom function '{key}' ({}): {why}", self.text.class)))
    }

    /// The numbers that answer several questions, in their order; those that are `None` are not asked.
    fn ask_all(&self, n: usize, question: impl Fn(usize) -> Option<Question> + Sync) -> Result<Vec<Vec<f64>>> {
        let ended = self.ended();
        let next = AtomicUsize::new(0);
        let work = || -> Result<Vec<(usize, Vec<f64>)>> {
            let mut lease = pool::Lease::take(&self.text, &ended)?;
            let mut out = vec![];
            loop {
                let i = next.fetch_add(1, Relaxed);
                if i >= n {
                    return Ok(out);
                }
                let Some(q) = question(i) else { continue };
                match self.answer(&mut lease, q, &ended) {
                    Ok(Reply::Numbers(v)) => out.push((i, v)),
                    Ok(Reply::Text(_)) => return Err(Error::Internal("a custom function answers no numbers".into())),
                    Err(e) => {
                        // The others need not begin anything more.
                        next.store(n, Relaxed);
                        return Err(e);
                    }
                }
            }
        };
        let mut out: Vec<(usize, Vec<f64>)> = std::thread::scope(|scope| {
            let threads: Vec<_> = (1..n.min(pool::most())).map(|_| scope.spawn(work)).collect();
            let mut all = if n > 0 { work()? } else { vec![] };
            for t in threads {
                all.extend(t.join().map_err(|_| Error::Internal("a thread that waits for a custom function panicked".into()))??);
            }
            Ok::<_, Error>(all)
        })?;
        out.sort_by_key(|o| o.0);
        Ok(out.into_iter().map(|o| o.1).collect())
    }

    /// Says when work that begins now shall end.
    fn ended(&self) -> impl Fn() -> Result<()> + Sync {
        let begun = Instant::now();
        move || {
            let (limit, why) = match &self.job {
                Some(job) => {
                    job.check()?;
                    (if job.out_of_time() { OVERTIME } else { Duration::MAX }, " after max_runtime_secs ended")
                }
                None => (UNWATCHED, ""),
            };
            match begun.elapsed() > limit {
                true => Err(Error::invalid(format!("custom function '{}' was still running {} s{why}", self.key(), limit.as_secs()))),
                false => Ok(()),
            }
        }
    }
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.text.fmt(f)
    }
}
impl PartialEq for Script {
    fn eq(&self, other: &Script) -> bool {
        self.text == other.text
    }
}
impl serde::Serialize for Script {
    fn serialize<S: serde::Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        self.text.serialize(s)
    }
}
impl<'d> serde::Deserialize<'d> for Script {
    fn deserialize<D: serde::Deserializer<'d>>(d: D) -> std::result::Result<Script, D::Error> {
        Text::deserialize(d).map(Script::new)
    }
}

/// A file of an archive, as text.
fn source(archive: &[u8], file: &str) -> std::result::Result<String, String> {
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(archive)).map_err(|e| format!("what was uploaded is no zip archive ({e})"))?;
    let names: Vec<String> = zip.file_names().take(20).map(str::to_string).collect();
    let entry = zip.by_name(file).map_err(|_| format!("the archive has no {file}; it has {}", names.join(", ")))?;
    let mut text = String::new();
    let read = entry.take(SOURCE_MAX + 1).read_to_string(&mut text).map_err(|e| format!("{file} cannot be read ({e})"))?;
    if read as u64 > SOURCE_MAX {
        return Err(format!("{file} is longer than {SOURCE_MAX} bytes"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
