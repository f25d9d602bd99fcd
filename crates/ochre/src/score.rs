//! `ochre score`: score files with an exported model, without any server.

use crate::{memory, scorer, serve, train};
use ochre_core::{Frame, Kind, Node};
use ochre_io::export::{Series, SeriesFormat};
use ochre_io::{ColumnType, RawFile, setup};
use ochre_model::Model;
use ochre_model::insight::{Contributions, Insight};
use ochre_score::ModelFile;
use ochre_score::mojo::{self, Mojo};
use ochre_score::proof::Proof;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(clap::Args)]
pub struct Flags {
    /// The model: a MOJO, made by ochre or by H2O.
    model: PathBuf,
    /// Data to score: CSV (also packed), Parquet, Arrow IPC, or any other format that the server imports.
    data: Option<PathBuf>,
    /// File to write the scores to, Parquet or Arrow when its name ends so; CSV on standard output when not given.
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

pub fn open(path: &Path) -> Result<Mojo, String> {
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

/// Hands data to `take`, columns that are categories to the model as such, a bounded number of rows at a time.
fn pieces(node: &Node, path: &Path, categories: &[String], take: &mut dyn FnMut(Frame) -> ochre_core::Result<()>) -> Result<(), String> {
    let text = |e: ochre_core::Error| e.to_string();
    if ochre_io::columnar::is_arrow(path) {
        return ochre_io::columnar::arrow_pieces(path, &node.ledger, take).map_err(text);
    }
    let file = Arc::new(RawFile::open(path).map_err(text)?);
    let mut s = setup::guess(std::slice::from_ref(&file), &setup::Wishes::default(), &node.ledger).map_err(text)?;
    for name in categories {
        if let Some(i) = s.names.iter().position(|n| n == name) {
            s.types[i] = ColumnType::Enum;
        }
    }
    let job = ochre_core::Job::detached();
    ochre_io::parse::in_pieces(node, &job, &file, &s, true, &mut |piece, _| take(piece)).map_err(text)?;
    job.warnings().iter().for_each(|w| eprintln!("note: {}: {w}", path.display()));
    Ok(())
}

/// What is seen of one of the model's columns.
#[derive(Default)]
struct Seen {
    there: bool,
    missing: usize,
    /// Text where the model has a number.
    text: Option<String>,
    is_text: bool,
    /// Levels that the model was not trained on.
    unseen: BTreeSet<String>,
}

/// How data fit a model, as far as they were looked at.
struct Fit<'a> {
    file: &'a ModelFile,
    names: Vec<String>,
    rows: usize,
    columns: Vec<Seen>,
}

impl Fit<'_> {
    fn of(mojo: &Mojo) -> Fit<'_> {
        Fit { file: &mojo.file, names: vec![], rows: 0, columns: mojo.file.predictors.iter().map(|_| Seen::default()).collect() }
    }

    fn look_at(&mut self, frame: &Frame) -> ochre_core::Result<()> {
        self.names = frame.names().to_vec();
        self.rows += frame.rows();
        for (wanted, seen) in self.file.predictors.iter().zip(&mut self.columns) {
            let Some(column) = frame.by_name(&wanted.name) else { continue };
            seen.there = true;
            seen.missing += column.rollup()?.missing;
            match (&wanted.domain, &column.kind) {
                (None, Kind::Enum(_) | Kind::Text | Kind::Uuid) => {
                    seen.is_text = true;
                    if seen.text.is_none() {
                        seen.text = column.to_texts()?.into_iter().flatten().find(|t| t.parse::<f64>().is_err());
                    }
                }
                (Some(domain), Kind::Enum(own)) => seen.unseen.extend(own.iter().filter(|l| !domain.contains(l)).cloned()),
                (Some(domain), Kind::Text) => {
                    seen.unseen.extend(column.to_texts()?.into_iter().flatten().filter(|l| !domain.contains(l)));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What fits and what does not, in plain words. Is there anything that keeps the data from being scored?
    fn explain(&self, out: &mut dyn Write) -> Result<bool, String> {
        let mut lines =
            vec![format!("The model reads {} columns; the data has {} with {} rows.", self.columns.len(), self.names.len(), self.rows)];
        let (mut fatal, before) = (false, 1);
        for (wanted, seen) in self.file.predictors.iter().zip(&self.columns) {
            let name = &wanted.name;
            if !seen.there {
                let near = self.names.iter().find(|n| n.trim().eq_ignore_ascii_case(name.trim()));
                let hint = near.map_or(String::new(), |n| format!(" The data has '{n}', which differs in case or blanks only."));
                lines.push(format!("- '{name}' is missing: every row counts as missing there.{hint}"));
                continue;
            }
            if seen.is_text {
                fatal = true;
                let shown = seen.text.as_ref().map_or(String::new(), |t| format!(", such as '{t}'"));
                lines.push(format!("- '{name}' has to be a number, but holds text{shown}."));
            }
            if !seen.unseen.is_empty() {
                let n = seen.unseen.len();
                let shown = seen.unseen.iter().take(5).map(String::as_str).collect::<Vec<_>>().join("', '");
                let more = if n > 5 { format!(" and {} more", n - 5) } else { String::new() };
                let known = wanted.domain.iter().flatten().take(5).map(|l| format!("'{l}'")).collect::<Vec<_>>().join(", ");
                lines.push(format!(
                    "- '{name}' has {n} levels that the model was not trained on ('{shown}'{more}); they count as missing. It knows {known}."
                ));
            }
            if seen.missing == self.rows && self.rows > 0 {
                lines.push(format!("- '{name}' is missing in every row."));
            }
        }
        if let Some(offset) = self.file.offset.as_ref().filter(|o| !self.names.contains(o)) {
            fatal = true;
            lines.push(format!("- the offset '{offset}' is missing, and the model cannot do without it."));
        }
        if lines.len() == before {
            lines.push("All columns are there, with types and levels that the model knows.".into());
        }
        let known = |n: &String| self.file.predictors.iter().any(|p| p.name == *n) || self.file.offset.as_ref() == Some(n);
        let extra: Vec<&str> = self.names.iter().filter(|n| !known(n)).map(String::as_str).collect();
        if !extra.is_empty() {
            lines.push(format!("Not read by the model: {}.", extra.join(", ")));
        }
        writeln!(out, "{}", lines.join("\n")).map_err(|e| e.to_string())?;
        Ok(fatal)
    }
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
    let node = node(&f)?;
    let categories: Vec<String> = mojo.file.predictors.iter().filter(|c| c.domain.is_some()).map(|c| c.name.clone()).collect();
    if f.explain_schema {
        let mut fit = Fit::of(&mojo);
        pieces(&node, data, &categories, &mut |frame| fit.look_at(&frame))?;
        let mut sink = train::sink(f.out.as_deref())?;
        let fatal = fit.explain(&mut sink)?;
        sink.flush().map_err(|e| e.to_string())?;
        return if fatal { Err(format!("{} cannot be scored as it is", data.display())) } else { Ok(()) };
    }
    let model: Model = ochre_algos::generic::model("model".into(), mojo, serde_json::Value::Null, &f.model.display().to_string())
        .map_err(|e| e.to_string())?;
    let wanted = match (f.contributions, f.leaf) {
        (true, _) => Some(Insight::Contributions(Contributions::default())),
        (_, true) => Some(Insight::LeafPaths),
        _ => None,
    };
    let format = f.out.as_deref().map_or(SeriesFormat::Csv, SeriesFormat::of);
    let mut series = Some(Series::new(format, train::sink(f.out.as_deref())?));
    let mut told = BTreeSet::new();
    pieces(&node, data, &categories, &mut |frame| {
        let out = match &wanted {
            Some(wanted) => model.insight(&node, &frame, wanted)?,
            None => model.predict(&node, &frame, &mut |w| {
                if told.insert(w.to_string()) {
                    eprintln!("note: {w}");
                }
            })?,
        };
        series = series.take().map(|s| s.write(&out)).transpose()?;
        Ok(())
    })?;
    series.map_or(Ok(()), Series::finish).map_err(|e| e.to_string())
}
