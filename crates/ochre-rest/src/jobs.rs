//! Jobs: watch and cancel.

use crate::route::{Ask, Reply, get, post};
use crate::wire::{Job as JobSchema, Jobs};
use crate::{App, Failure};
use ochre_core::{Error, Job};
use ochre_schema::{JobKey, Value, Wire};
use std::time::Duration;

pub const ROUTES: &[crate::Route] = &[
    get("/3/Jobs", "jobs", ("JobsV3", "JobsV3"), list, "All jobs."),
    get(
        "/3/Jobs/{job_id}",
        "job",
        ("JobsV3", "JobsV3"),
        fetch,
        "One job; answered as soon as it ends, and after a short while at the latest.",
    ),
    post("/3/Jobs/{job_id}/cancel", "cancel_job", ("JobsV3", "JobsV3"), cancel, "Cancels a job."),
];

/// How long a request is held when the job it asks for may end soon: clients sleep between two questions.
const HOLD: Duration = Duration::from_millis(1000);

/// A key for what a request leaves unnamed; on a cluster the task makes it up, so that all nodes have the same.
pub fn fresh_key(what: &str) -> String {
    let n = ochre_core::current_task().map_or_else(|| ochre_core::Rng::fresh_seed() as u32, |t| t.next_name() as u32);
    format!("{what}_{n:08x}")
}

/// The wire form of a job that was just started, after a moment's grace: short work is done in the reply already.
pub fn started(job: &Job) -> Value {
    job.wait(HOLD);
    json(job)
}

pub fn json(job: &Job) -> Value {
    let error = job.error();
    JobSchema {
        key: Some(job.key.clone()),
        description: Some(job.description.clone()),
        status: Some(job.status().name().into()),
        progress: job.progress() as f32,
        progress_msg: Some(job.message()).filter(|m| !m.is_empty()),
        start_time: job.started_ms,
        msec: job.elapsed_ms(),
        dest: Some(job.dest.clone()),
        warnings: Some(job.warnings()).filter(|w| !w.is_empty()),
        exception: error.as_ref().map(|e| format!("\n\nERROR MESSAGE:\n\n{e}\n\n")),
        stacktrace: error.as_ref().map(|e| e.to_string()),
        auto_recoverable: false,
        ready_for_view: true,
    }
    .to_json()
}

fn list(app: &App, _: &Ask) -> Result<Reply, Failure> {
    Reply::schema(&Jobs { job_id: None, jobs: Value::Array(app.node.jobs.all().iter().map(|j| json(j)).collect()) })
}

fn find(app: &App, ask: &Ask) -> Result<std::sync::Arc<Job>, Failure> {
    app.node.jobs.get(ask.path_param("job_id")).map_err(|_| Error::invalid("Job is missing").into())
}

fn fetch(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let job = find(app, ask)?;
    job.wait(HOLD);
    Reply::schema(&Jobs { job_id: Some(job.key.clone()), jobs: Value::Array(vec![json(&job)]) })
}

fn cancel(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let job = find(app, ask)?;
    job.cancel();
    Reply::schema(&Jobs { job_id: Some(JobKey(job.key.0.clone())), jobs: Value::Null })
}
