//! `ochre score`: score files with an exported model, without any server.

use crate::{memory, scorer, serve, train};
use ochre_core::{Frame, Kind, Node};
use ochre_io::{ColumnType, RawFile, setup};
use ochre_model::Model;
use ochre_model::insight::{Contributions, Insight};
use ochre_score::mojo::{self, Mojo};
use ochre_score::proof::Proof;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(clap::Args)]
pub struct Flags {
    /// The model: a MOJO, made by ochre or by H2O.
    model: PathBuf,
    /// Data to score: a CSV file, also in gzip or zip.
    data: Option<PathBuf>,
    /// File to write the scores to; standard output when not given.
    #[arg(long, short)]
    out: Option<PathBuf>,
    /// Write what each column contributed to the score (tree models).
    #[arg(long, conflicts_with = "leaf")]
    contributions: bool,
    /// Write the leaf of each tree that a row comes to (tree models).
    #[arg(long)]
    leaf: bool,
    /// Score the vectors that the model was exported with again, and compare bit by bit.
    #[arg(long, conflicts_with_all = ["contributions", "leaf", "explain_schema"])]
    verify: bool,
    /// Say which columns of the data are missing, too many, of another type or hold levels that the model does not know.
    #[arg(long)]
    explain_schema: bool,
    /// Answer requests to score rows, told as JSON, instead of scoring a file.
    #[arg(long, conflicts_with_all = ["data", "out", "contributions", "leaf", "verify", "explain_schema"])]
    serve: bool,
    /// Address to serve at.
    #[arg(long, default_value = "127.0.0.1", requires = "serve")]
    ip: std::net::IpAddr,
    /// Port to serve at; 0 for any that is free.
    #[arg(long, default_value_t = 8080, requires = "serve")]
    port: u16,
    /// Threads for computation; all cores when not given.
    #[arg(long)]
    nthreads: Option<i64>,
    /// Memory for data, such as 4g; 80 % of the machine's when not given.
    #[arg(long)]
    max_mem: Option<String>,
}

fn open(path: &Path) -> Result<Mojo, String> {
    let file = std::fs::File::open(path).map_err(|e| format!("{} cannot be opened: {e}", path.display()))?;
    mojo::read(std::io::BufReader::new(file)).map_err(|e| format!("{} cannot be read: {e}", path.display()))
}

fn verify(path: &Path) -> Result<(), String> {
    let Mojo { file, about, proof } = open(path)?;
    let proof = proof.ok_or_else(|| {
        format!("{} carries no vectors to verify: it was not exported by ochre. It reads well: {}.", path.display(), about.full_name)
    })?;
    let rows = Proof::from_arrow(&proof, &file).and_then(|p| p.check(&file)).map_err(|e| format!("{}: {e}", path.display()))?;
    println!(
        "{}: {} ({}), {rows} rows score the same bits as in the server that exported it",
        path.display(),
        about.full_name,
        about.category
    );
    Ok(())
}

/// Reads data with the types that the model wants.
fn load(node: &Node, path: &Path, mojo: &Mojo) -> Result<Frame, String> {
    let text = |e: ochre_core::Error| e.to_string();
    let files = vec![Arc::new(RawFile::open(path).map_err(text)?)];
    let mut s = setup::guess(&files, &setup::Wishes::default(), &node.ledger).map_err(text)?;
    for column in mojo.file.predictors.iter().filter(|c| c.domain.is_some()) {
        if let Some(i) = s.names.iter().position(|n| *n == column.name) {
            s.types[i] = ColumnType::Enum;
        }
    }
    let job = ochre_core::Job::detached();
    let frame = ochre_io::parse::parse(node, &job, &files, &s).map_err(text)?;
    job.warnings().iter().for_each(|w| eprintln!("note: {}: {w}", path.display()));
    Ok(frame)
}

/// What fits and what does not, in plain words. Is there anything that keeps the data from being scored?
fn explain(frame: &Frame, mojo: &Mojo, out: &mut dyn Write) -> Result<bool, String> {
    let file = &mojo.file;
    let mut lines =
        vec![format!("The model reads {} columns; the data has {} with {} rows.", file.predictors.len(), frame.width(), frame.rows())];
    let (mut fatal, before) = (false, 1);
    for wanted in &file.predictors {
        let Some(column) = frame.by_name(&wanted.name) else {
            let near = frame.names().iter().find(|n| n.trim().eq_ignore_ascii_case(wanted.name.trim()));
            let hint = near.map_or(String::new(), |n| format!(" The data has '{n}', which differs in case or blanks only."));
            lines.push(format!("- '{}' is missing: every row counts as missing there.{hint}", wanted.name));
            continue;
        };
        match (&wanted.domain, &column.kind) {
            (None, Kind::Enum(_) | Kind::Text | Kind::Uuid) => {
                fatal = true;
                let first =
                    column.to_texts().ok().and_then(|t| t.iter().flatten().find(|t| t.parse::<f64>().is_err()).map(|t| t.to_string()));
                let shown = first.map_or(String::new(), |t| format!(", such as '{t}'"));
                lines.push(format!("- '{}' has to be a number, but holds text{shown}.", wanted.name));
            }
            (Some(domain), Kind::Enum(own)) => {
                let unseen: Vec<&str> = own.iter().filter(|l| !domain.contains(l)).map(String::as_str).collect();
                if !unseen.is_empty() {
                    let shown = unseen.iter().take(5).copied().collect::<Vec<_>>().join("', '");
                    let more = if unseen.len() > 5 { format!(" and {} more", unseen.len() - 5) } else { String::new() };
                    lines.push(format!(
                        "- '{}' has {} levels that the model was not trained on ('{shown}'{more}); they count as missing. It knows {}.",
                        wanted.name,
                        unseen.len(),
                        domain.iter().take(5).map(|l| format!("'{l}'")).collect::<Vec<_>>().join(", ")
                    ));
                }
            }
            _ => {}
        }
        let missing = column.rollup().map_err(|e| e.to_string())?.missing;
        if missing == frame.rows() && frame.rows() > 0 {
            lines.push(format!("- '{}' is missing in every row.", wanted.name));
        }
    }
    if let Some(offset) = file.offset.as_ref().filter(|o| frame.by_name(o).is_none()) {
        fatal = true;
        lines.push(format!("- the offset '{offset}' is missing, and the model cannot do without it."));
    }
    if lines.len() == before {
        lines.push("All columns are there, with types and levels that the model knows.".into());
    }
    let known = |n: &String| file.predictors.iter().any(|p| p.name == *n) || file.offset.as_ref() == Some(n);
    let extra: Vec<&str> = frame.names().iter().filter(|n| !known(n)).map(String::as_str).collect();
    if !extra.is_empty() {
        lines.push(format!("Not read by the model: {}.", extra.join(", ")));
    }
    writeln!(out, "{}", lines.join("\n")).map_err(|e| e.to_string())?;
    Ok(fatal)
}

fn node(f: &Flags) -> Result<Arc<Node>, String> {
    let ice = std::env::temp_dir().join("ochre");
    Node::new(serve::threads(f.nthreads), memory::budget(f.max_mem.as_deref())?, &ice).map(Arc::new).map_err(|e| e.to_string())
}

pub fn run(f: Flags) -> Result<(), String> {
    if f.verify {
        return verify(&f.model);
    }
    let mojo = open(&f.model)?;
    if f.serve {
        let (node, name) = (node(&f)?, f.model.display().to_string());
        let model = ochre_algos::generic::model("model".into(), mojo, serde_json::Value::Null, &name).map_err(|e| e.to_string())?;
        return scorer::serve(scorer::Scorer::new(node, model), (f.ip, f.port).into());
    }
    let Some(data) = &f.data else {
        return Err(
            "name the data to score: ochre score MODEL DATA (or --serve to answer requests, --verify to check the model alone)".into()
        );
    };
    let text = |e: ochre_core::Error| e.to_string();
    let node = node(&f)?;
    let frame = load(&node, data, &mojo)?;
    let mut sink = train::sink(f.out.as_deref())?;
    if f.explain_schema {
        let fatal = explain(&frame, &mojo, &mut sink)?;
        sink.flush().map_err(|e| e.to_string())?;
        return if fatal { Err(format!("{} cannot be scored as it is", data.display())) } else { Ok(()) };
    }
    let model: Model =
        ochre_algos::generic::model("model".into(), mojo, serde_json::Value::Null, &f.model.display().to_string()).map_err(text)?;
    let wanted = match (f.contributions, f.leaf) {
        (true, _) => Some(Insight::Contributions(Contributions::default())),
        (_, true) => Some(Insight::LeafPaths),
        _ => None,
    };
    let out = match wanted {
        Some(wanted) => model.insight(&node, &frame, &wanted).map_err(text)?,
        None => model.predict(&node, &frame, &mut |w| eprintln!("note: {w}")).map_err(text)?,
    };
    ochre_io::export::csv(&out, b',', true, false, &mut sink).map_err(text)?;
    sink.flush().map_err(|e| e.to_string())
}
