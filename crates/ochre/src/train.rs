//! `ochre train`: the main job on files, without a server.

use crate::{memory, serve};
use ochre_core::{Frame, JobStatus, Node};
use ochre_io::{ColumnType, RawFile, setup};
use ochre_model::{Model, Refusal};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

#[derive(clap::Args)]
pub struct Flags {
    /// Algorithm: gbm, glm or kmeans.
    algo: String,
    /// Training data: a CSV file, also in gzip or zip.
    data: PathBuf,
    /// Column to predict.
    #[arg(long)]
    response: Option<String>,
    /// Data to measure the model on.
    #[arg(long)]
    valid: Option<PathBuf>,
    /// A parameter as name=value; may be given many times.
    #[arg(long = "set", value_name = "PARAM=VALUE")]
    set: Vec<String>,
    /// Columns to be taken as categories although they hold numbers, separated by commas.
    #[arg(long)]
    factors: Option<String>,
    /// File to write the model to, as a MOJO.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Data to score with the trained model.
    #[arg(long)]
    predict: Option<PathBuf>,
    /// File to write the scores to; standard output when not given.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Threads for computation; all cores when not given.
    #[arg(long)]
    nthreads: Option<i64>,
    /// Memory for data and models, such as 4g; 80 % of the machine's when not given.
    #[arg(long)]
    max_mem: Option<String>,
}

fn load(node: &Node, path: &Path, factors: &[&str]) -> Result<Frame, String> {
    let text = |e: ochre_core::Error| e.to_string();
    let files = vec![Arc::new(RawFile::open(path).map_err(text)?)];
    let mut s = setup::guess(&files, &setup::Wishes::default(), &node.ledger).map_err(text)?;
    for f in factors {
        if let Some(i) = s.names.iter().position(|n| n == f) {
            s.types[i] = ColumnType::Enum;
        }
    }
    let job = ochre_core::Job::detached();
    let frame = ochre_io::parse::parse(node, &job, &files, &s).map_err(text)?;
    for w in job.warnings() {
        eprintln!("note: {}: {w}", path.display());
    }
    Ok(frame)
}

/// Where results go: a file, or standard output.
pub fn sink(path: Option<&Path>) -> Result<Box<dyn Write + Send>, String> {
    Ok(match path {
        Some(p) => Box::new(std::io::BufWriter::new(std::fs::File::create(p).map_err(|e| format!("cannot write {}: {e}", p.display()))?)),
        None => Box::new(std::io::BufWriter::new(std::io::stdout())),
    })
}

pub fn run(f: Flags) -> Result<(), String> {
    let text = |e: ochre_core::Error| e.to_string();
    let ice = std::env::temp_dir().join("ochre");
    let node = Arc::new(Node::new(serve::threads(f.nthreads), memory::budget(f.max_mem.as_deref())?, &ice).map_err(text)?);
    let known: Vec<&str> = ochre_algos::ALGORITHMS.iter().map(|a| a.info().name).collect();
    let Some(builder) = ochre_algos::ALGORITHMS.iter().find(|a| a.info().name == f.algo) else {
        return Err(format!("there is no algorithm '{}'; choose one of {}", f.algo, known.join(", ")));
    };
    let factors: Vec<&str> = f.factors.as_deref().unwrap_or("").split(',').filter(|s| !s.is_empty()).collect();
    let train = load(&node, &f.data, &factors)?;
    if let Some(r) = f.response.as_deref().filter(|r| train.find(r).is_none()) {
        return Err(format!("{} has no column '{r}'; its columns are {}", f.data.display(), train.names().join(", ")));
    }
    eprintln!("{}: {} rows, {} columns", f.data.display(), train.rows(), train.width());
    node.store.put("train", train).map_err(text)?;
    let mut form = vec![("training_frame".to_string(), "train".to_string()), ("model_id".into(), "model".into())];
    if let Some(r) = &f.response {
        form.push(("response_column".into(), r.clone()));
    }
    if let Some(v) = &f.valid {
        node.store.put("valid", load(&node, v, &factors)?).map_err(text)?;
        form.push(("validation_frame".into(), "valid".into()));
    }
    for s in &f.set {
        let (name, value) = s.split_once('=').ok_or_else(|| format!("--set {s} is not of the form parameter=value"))?;
        form.push((name.into(), value.into()));
    }
    let started = builder.start(&node, &form, false).map_err(|r| match r {
        Refusal::Failed(e) => e.to_string(),
        Refusal::Notes { notes, .. } => {
            notes.errors().map(|n| format!("{}: {}", n.field.trim_start_matches('_'), n.message)).collect::<Vec<_>>().join("\n       ")
        }
    })?;
    let job = started.job.expect("training was asked for");
    let bar = std::io::stderr().is_terminal();
    while !job.wait(Duration::from_millis(100)).ended() {
        if bar {
            let done = (job.progress() * 40.0) as usize;
            eprint!("\r{} [{}{}] {:3.0} %", builder.info().full_name, "#".repeat(done), ".".repeat(40 - done), job.progress() * 100.0);
            let _ = std::io::stderr().flush();
        }
    }
    if bar {
        eprint!("\r{}\r", " ".repeat(100));
    }
    for w in job.warnings() {
        eprintln!("note: {w}");
    }
    if job.status() != JobStatus::Done {
        return Err(job.error().map_or("training was cancelled".into(), |e| e.to_string()));
    }
    let model = node.store.get::<Model>("model").map_err(text)?;
    println!("{} trained in {:.3} s", builder.info().full_name, job.elapsed_ms() as f64 / 1000.0);
    for (name, m) in ["training", "validation"].iter().zip(model.metrics.read().iter()) {
        println!("{name} metrics ({} rows)", m.nobs);
        print!("{}", m.text());
    }
    if let Some(path) = &f.model {
        let bytes = model.mojo().map_err(text)?;
        std::fs::write(path, bytes).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
        eprintln!("model written to {}", path.display());
    }
    if let Some(path) = &f.predict {
        let test = load(&node, path, &factors)?;
        let out = model.predict(&node, &test, &mut |w| eprintln!("note: {w}")).map_err(text)?;
        let mut sink = sink(f.out.as_deref())?;
        ochre_io::export::csv(&out, b',', true, false, &mut sink).map_err(text)?;
        sink.flush().map_err(|e| e.to_string())?;
    }
    Ok(())
}
