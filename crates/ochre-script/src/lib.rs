//! Functions that users write in Python, run by an interpreter inside the server: metrics and distributions.
//!
//! A running example: the client uploads an archive with `mm_mae.py` under the key `mae` and names
//! `python:mae=mm_mae.CustomMaeFuncWrapper`; [`Script::read`] takes the source out, checks it, and
//! [`Script::metric`] calls `map` for each row, `reduce` for pairs of results, `metric` for the last one.
//!
//! The interpreter has no files, no network, no processes and no modules but `math` and the names that the client's
//! generated code imports (`java.lang.Math`, `water.udf`). Each thread of a script has an interpreter of its own, which
//! ends with the script. Work is cut into runs of rows whose length does not depend on the threads, and results are
//! merged in the order of the rows, so the same data give the same bits.
//!
//! This crate must not know frames, models or the network.

mod interpreter;
pub mod limit;
mod prelude;

use interpreter::{Loaded, Workers};
use ochre_core::{Error, Job, Result};
use parking_lot::Mutex;
use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Largest source, in bytes.
const SOURCE_MAX: u64 = 1 << 20;
/// Rows in one run: what one interpreter works through between two looks at whether it shall stop.
const RUN_ROWS: usize = 1 << 14;
/// Longest time for work that belongs to no job, such as measuring a model on request.
const UNWATCHED: Duration = Duration::from_secs(600);

/// A class that a user wrote, ready to be called.
#[derive(Clone)]
pub struct Script {
    text: Arc<Text>,
    workers: Arc<Mutex<Option<Arc<Workers>>>>,
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
        let wanted: Vec<String> = methods.iter().map(|m| m.to_string()).collect();
        script.run(vec![()], move |loaded, ()| loaded.require(&wanted))?;
        Ok(script)
    }

    fn new(text: Text) -> Script {
        Script { text: Arc::new(text), workers: Arc::default(), job: None }
    }

    /// The same, with its work ending when the job does.
    pub fn watched(&self, job: &Arc<Job>) -> Script {
        Script { job: Some(job.clone()), ..self.clone() }
    }

    /// The key under which it was uploaded.
    pub fn key(&self) -> &str {
        &self.text.key
    }

    /// Of some rows, what `reduce` makes of their results; `None` of no rows.
    pub fn metric_part(&self, rows: usize, row: impl Fn(usize) -> Option<MetricRow>) -> Result<Option<Vec<f64>>> {
        let mut runs = vec![];
        for start in (0..rows).step_by(RUN_ROWS) {
            runs.push((start..rows.min(start + RUN_ROWS)).filter_map(&row).collect::<Vec<_>>());
        }
        let parts = self.run(runs, |loaded, run| loaded.map_reduce(&run))?;
        let parts: Vec<Vec<f64>> = parts.into_iter().flatten().collect();
        self.reduce(parts)
    }

    /// What `reduce` makes of results, from first to last.
    pub fn reduce(&self, parts: Vec<Vec<f64>>) -> Result<Option<Vec<f64>>> {
        if parts.len() < 2 {
            return Ok(parts.into_iter().next());
        }
        Ok(self.run(vec![parts], |loaded, parts| loaded.reduce(&parts))?.pop())
    }

    /// What `metric` makes of the last result.
    pub fn metric(&self, last: Vec<f64>) -> Result<f64> {
        Ok(self.run(vec![last], |loaded, last| loaded.number("metric", &[last.as_slice().into()]))?[0])
    }

    /// The link that the distribution names.
    pub fn link(&self) -> Result<Link> {
        let name = self.run(vec![()], |loaded, ()| loaded.text("link"))?.remove(0);
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
    pub fn call(&self, method: &'static str, arguments: Vec<Vec<f64>>, width: usize) -> Result<Vec<f64>> {
        let rows = arguments.first().map_or(0, Vec::len);
        let runs = (0..rows).step_by(RUN_ROWS).map(|s| s..rows.min(s + RUN_ROWS)).collect();
        let arguments = Arc::new(arguments);
        let parts = self.run(runs, move |loaded, run: std::ops::Range<usize>| {
            let mut out = Vec::with_capacity(run.len() * width);
            for r in run {
                let row: Vec<interpreter::Argument<'_>> = arguments.iter().map(|c| c[r].into()).collect();
                loaded.numbers(method, &row, width, &mut out)?;
            }
            Ok(out)
        })?;
        Ok(parts.concat())
    }

    /// Runs pieces of work on the script's threads; the results in the order of the pieces.
    fn run<W: Send + 'static, T: Send + 'static>(
        &self,
        work: Vec<W>,
        f: impl Fn(&Loaded<'_>, W) -> std::result::Result<T, String> + Send + Sync + 'static,
    ) -> Result<Vec<T>> {
        let workers = {
            let mut slot = self.workers.lock();
            match &*slot {
                Some(w) => w.clone(),
                None => {
                    let text = &self.text;
                    let made = Arc::new(Workers::start(text.source.clone(), text.file.clone(), text.class.clone())?);
                    slot.insert(made).clone()
                }
            }
        };
        let started = Instant::now();
        let ended = || -> Result<()> {
            match &self.job {
                Some(job) => {
                    job.check()?;
                    match job.out_of_time() {
                        true => {
                            Err(Error::invalid(format!("custom function '{}' was still running when max_runtime_secs ended", self.key())))
                        }
                        false => Ok(()),
                    }
                }
                None if started.elapsed() > UNWATCHED => {
                    Err(Error::invalid(format!("custom function '{}' ran for more than {} s", self.key(), UNWATCHED.as_secs())))
                }
                None => Ok(()),
            }
        };
        match workers.run(work, f, &ended) {
            Ok(done) => done
                .into_iter()
                .collect::<std::result::Result<Vec<T>, String>>()
                .map_err(|why| Error::invalid(format!("custom function '{}' ({}): {why}", self.key(), self.text.class))),
            Err(e) => {
                // Its threads may be in the middle of something: new ones are started next time.
                *self.workers.lock() = None;
                Err(e)
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
