//! A model with everything that the server knows of it, as a file: a line that names format and version, then one CBOR
//! document (RFC 8949) of plain data. Reading one runs nothing. Files of every released version stay readable; what the
//! document holds is the struct below.

use crate::driver::Category;
use crate::metrics::{Deviance, Metrics};
use crate::{Builder, Model, Predictor};
use ochre_core::{Error, Result};
use ochre_schema::Value;
use ochre_score::{Column, Scorer};
use parking_lot::RwLock;
use std::io::{BufRead, Read, Write};
use std::sync::Arc;

const MAGIC: &str = "ochre model";
const VERSION: u32 = 1;

#[derive(serde::Serialize, serde::Deserialize)]
struct Saved {
    key: String,
    algorithm: String,
    category: String,
    training_frame: Option<String>,
    predictors: Vec<Column>,
    #[serde(default)]
    encodings: Vec<Option<Box<crate::encoding::Encoding>>>,
    response: Option<Column>,
    weights_column: Option<String>,
    offset_column: Option<String>,
    priors: Vec<f64>,
    threshold: f64,
    deviance: Deviance,
    #[serde(default)]
    detail: crate::metrics::Detail,
    scorer: Scorer,
    parameters: Vec<Value>,
    output: Value,
    timestamp_ms: i64,
    belongings: Vec<String>,
    metrics: Vec<Metrics>,
}

impl Model {
    /// Writes the model and all that is known of it.
    pub fn save(&self, mut out: impl Write) -> Result<()> {
        let column = |p: &Predictor| Column { name: p.name.clone(), domain: p.domain.as_ref().map(|d| d.to_vec()) };
        let saved = Saved {
            key: self.key.clone(),
            algorithm: self.info.name.into(),
            category: self.category.name().into(),
            training_frame: self.training_frame.clone(),
            predictors: self.predictors.iter().map(column).collect(),
            encodings: self.predictors.iter().map(|p| p.encoding.clone()).collect(),
            response: self.response.as_ref().map(column),
            weights_column: self.weights_column.clone(),
            offset_column: self.offset_column.clone(),
            priors: self.priors.clone(),
            threshold: self.threshold,
            deviance: self.deviance,
            detail: self.detail.clone(),
            scorer: self.scorer.clone(),
            parameters: self.parameters.clone(),
            output: self.output.clone(),
            timestamp_ms: self.timestamp_ms,
            belongings: self.belongings.clone(),
            metrics: self.metrics.read().iter().map(|m| m.as_ref().clone()).collect(),
        };
        let fail = |e: &dyn std::fmt::Display| Error::io("the model file", e);
        writeln!(out, "{MAGIC} {VERSION}").map_err(|e| fail(&e))?;
        ciborium::into_writer(&saved, &mut out).map_err(|e| fail(&e))?;
        out.flush().map_err(|e| fail(&e))
    }

    /// Writes the model to a file, all of it or nothing.
    pub fn save_to(&self, path: &std::path::Path, force: bool) -> Result<()> {
        write_whole(path, force, |out| self.save(out))
    }

    /// Reads what `save` wrote. `name` is the file's, for messages.
    pub fn load(input: impl Read, builders: &[&dyn Builder], name: &str) -> Result<Model> {
        let refuse = |why: String| Error::invalid(format!("{name} cannot be loaded: {why}"));
        let mut input = std::io::BufReader::new(input);
        let mut line = String::new();
        input.by_ref().take(64).read_line(&mut line).map_err(|e| refuse(format!("it does not begin like a saved model ({e})")))?;
        let version = line.strip_prefix(MAGIC).and_then(|v| v.trim().parse::<u32>().ok());
        match version {
            None => {
                return Err(refuse(
                    "it is not a model saved by ochre (the reference's binary models are Java objects; import a MOJO)".into(),
                ));
            }
            Some(v) if v > VERSION => {
                return Err(refuse(format!("its format has version {v}, and this ochre reads versions up to {VERSION}")));
            }
            Some(_) => {}
        }
        let saved: Saved = ciborium::from_reader(input).map_err(|e| refuse(format!("it is damaged or cut short ({e})")))?;
        let info = builders
            .iter()
            .map(|b| b.info())
            .find(|i| i.name == saved.algorithm)
            .ok_or_else(|| refuse(format!("it holds a model of algorithm '{}', which this ochre does not have", saved.algorithm)))?;
        let category = Category::ALL
            .into_iter()
            .find(|c| c.name() == saved.category)
            .ok_or_else(|| refuse(format!("'{}' is no kind of model", saved.category)))?;
        let predictor = |c: Column| Predictor { name: c.name, domain: c.domain.map(Arc::new), encoding: None };
        let mut encodings = saved.encodings.into_iter();
        Ok(Model {
            key: saved.key,
            info,
            category,
            training_frame: saved.training_frame,
            predictors: saved.predictors.into_iter().map(|c| Predictor { encoding: encodings.next().flatten(), ..predictor(c) }).collect(),
            response: saved.response.map(predictor),
            weights_column: saved.weights_column,
            offset_column: saved.offset_column,
            priors: saved.priors,
            threshold: saved.threshold,
            deviance: saved.deviance,
            detail: saved.detail,
            scorer: saved.scorer,
            parameters: saved.parameters,
            output: saved.output,
            timestamp_ms: saved.timestamp_ms,
            belongings: saved.belongings,
            metrics: RwLock::new(saved.metrics.into_iter().map(Arc::new).collect()),
            held: None,
        })
    }
}

/// Refuses an address where a path of the server itself is needed; to a file system it would be a directory of that name.
pub fn check_local(field: &str, path: &str) -> Result<()> {
    match path.split_once("://") {
        Some((scheme, _)) => Err(Error::Unsupported(format!(
            "{field} must be a path of the server, but {path} is an address ({scheme}); write there and copy the files"
        ))),
        None => Ok(()),
    }
}

/// Writes a file, all of it or nothing.
pub fn write_whole(path: &std::path::Path, force: bool, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    if path.exists() && !force {
        return Err(Error::invalid(format!("file {} exists already; set force to overwrite it", path.display())));
    }
    let fail = |e: std::io::Error| Error::io(path.display(), e);
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(fail)?;
    }
    let part = path.with_extension(format!("part{}", std::process::id()));
    let mut file = std::io::BufWriter::new(std::fs::File::create(&part).map_err(fail)?);
    let written = write(&mut file).and_then(|()| file.flush().map_err(fail));
    written.and_then(|()| std::fs::rename(&part, path).map_err(fail)).inspect_err(|_| {
        let _ = std::fs::remove_file(&part);
    })
}
