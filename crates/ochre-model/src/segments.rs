//! Segment models: one model for each group of rows that share the values of some columns.

use crate::driver::{Builder, Refusal};
use ochre_core::{Column, Error, Frame, Job, Kind, Node, Result, Stored};
use std::sync::Arc;

/// How a segment's model came out.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Value in each segment column: a code of its domain, or a number; NaN for missing.
    pub values: Vec<f64>,
    pub model: String,
    pub succeeded: bool,
    pub errors: Option<String>,
    pub warnings: Option<String>,
}

/// The models of all segments, in the order of their values.
pub struct SegmentModels {
    pub key: String,
    /// Name and kind of each segment column.
    pub columns: Vec<(String, Kind)>,
    pub segments: Vec<Segment>,
}

impl Stored for SegmentModels {
    const TYPE: &'static str = "SegmentModels";
}

/// What a request asks for.
pub struct Request {
    pub key: String,
    /// Parameters of the models.
    pub form: Vec<(String, String)>,
    /// The segments are the values of these columns that occur together, or the rows of a frame.
    pub columns: Vec<String>,
    pub given: Option<Arc<Frame>>,
}

fn of_form<'a>(form: &'a [(String, String)], name: &str) -> Option<&'a str> {
    form.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.as_str())
}

/// Key columns of a frame, and their values.
fn keys(frame: &Frame, names: &[String], what: &str) -> Result<Vec<(Kind, Vec<f64>)>> {
    names
        .iter()
        .map(|n| {
            let column = frame.by_name(n).ok_or_else(|| Error::invalid(format!("segment column '{n}' is not in {what}")))?;
            if matches!(column.kind, Kind::Text | Kind::Uuid) {
                return Err(Error::invalid(format!("segment column '{n}' must be categorical or numeric")));
            }
            Ok((column.kind.clone(), column.to_f64()?))
        })
        .collect()
}

/// Equal values, missing ones being equal to each other.
fn same(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()))
}

/// Codes of another frame's domain, told in this one's; levels that are unknown here match nothing.
fn translated(from: &Kind, to: &Kind, values: &[f64]) -> Vec<f64> {
    match (from, to) {
        (Kind::Enum(a), Kind::Enum(b)) => {
            let place: Vec<f64> = a.iter().map(|l| b.iter().position(|m| m == l).map_or(-1.0, |i| i as f64)).collect();
            values.iter().map(|v| if v.is_nan() { f64::NAN } else { place[*v as usize] }).collect()
        }
        _ => values.to_vec(),
    }
}

impl Request {
    /// Trains a model for each segment. A segment whose model fails is told of, and the others go on.
    pub fn train(&self, builder: &dyn Builder, node: &Arc<Node>, job: &Arc<Job>) -> Result<()> {
        let training = node.store.frame(of_form(&self.form, "training_frame").unwrap_or_default())?;
        let names: Vec<String> = self.given.as_ref().map_or_else(|| self.columns.clone(), |f| f.names().to_vec());
        if names.is_empty() {
            return Err(Error::invalid("segment_columns names no columns; name those whose values make the segments"));
        }
        let own = keys(&training, &names, "the training frame")?;
        let rows = training.rows();
        let value = |columns: &[Vec<f64>], r: usize| columns.iter().map(|c| c[r]).collect::<Vec<f64>>();
        let own_values: Vec<Vec<f64>> = own.iter().map(|k| k.1.clone()).collect();
        // Segments with the values as they are in the training frame, and as they are shown.
        let mut segments: Vec<(Vec<f64>, Vec<f64>)> = vec![];
        let kinds: Vec<Kind> = match &self.given {
            Some(frame) => {
                let theirs = keys(frame, &names, "the segments frame")?;
                let told: Vec<Vec<f64>> = theirs.iter().zip(&own).map(|(t, o)| translated(&t.0, &o.0, &t.1)).collect();
                let shown: Vec<Vec<f64>> = theirs.iter().map(|t| t.1.clone()).collect();
                segments.extend((0..frame.rows()).map(|r| (value(&told, r), value(&shown, r))));
                theirs.into_iter().map(|t| t.0).collect()
            }
            None => {
                let mut found: Vec<Vec<f64>> = vec![];
                let mut order: Vec<usize> = (0..rows).collect();
                let compare = |a: &usize, b: &usize| {
                    own_values.iter().map(|c| c[*a].total_cmp(&c[*b])).find(|o| o.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
                };
                order.sort_by(compare);
                for r in order {
                    let v = value(&own_values, r);
                    if found.last().is_none_or(|l| !same(l, &v)) {
                        found.push(v);
                    }
                }
                segments.extend(found.into_iter().map(|v| (v.clone(), v)));
                own.iter().map(|k| k.0.clone()).collect()
            }
        };
        let validation = of_form(&self.form, "validation_frame").map(|k| node.store.frame(k)).transpose()?;
        let mut done = vec![];
        let count = segments.len();
        for (i, (told, shown)) in segments.into_iter().enumerate() {
            job.check()?;
            let model = format!("{}_{i}", self.key);
            let part = format!("{model}_training");
            let part_valid = format!("{model}_validation");
            let mut form: Vec<(String, String)> = self
                .form
                .iter()
                .filter(|(n, _)| !matches!(n.as_str(), "model_id" | "training_frame" | "validation_frame"))
                .cloned()
                .collect();
            form.push(("model_id".into(), model.clone()));
            form.push(("training_frame".into(), part.clone()));
            node.store.put(&part, rows_of(node, &training, &own_values, &told)?)?;
            if let Some(frame) = &validation {
                let theirs = keys(frame, &names, "the validation frame")?;
                let columns: Vec<Vec<f64>> = theirs.iter().zip(&own).map(|(t, o)| translated(&t.0, &o.0, &t.1)).collect();
                node.store.put(&part_valid, rows_of(node, frame, &columns, &told)?)?;
                form.push(("validation_frame".into(), part_valid.clone()));
            }
            let before = job.warnings().len();
            let outcome = builder.train(node, job, &form);
            let warnings: Vec<String> = job.warnings().into_iter().skip(before).collect();
            for key in [&part, &part_valid] {
                if node.store.contains(key) {
                    node.store.remove(key)?;
                }
            }
            let errors = match outcome {
                Ok(()) => None,
                Err(Refusal::Failed(Error::Cancelled)) => return Err(Error::Cancelled),
                Err(Refusal::Notes { notes, .. }) => {
                    Some(notes.errors().map(|n| format!("ERRR on field: _{}: {}\n", n.field.trim_start_matches('_'), n.message)).collect())
                }
                Err(Refusal::Failed(e)) => Some(e.to_string()),
            };
            done.push(Segment {
                values: shown,
                model,
                succeeded: errors.is_none(),
                errors,
                warnings: (!warnings.is_empty()).then(|| warnings.join("\n")),
            });
            job.set_progress((i + 1) as f64 / count as f64);
        }
        let columns = names.into_iter().zip(kinds).collect();
        node.store.put(&self.key, SegmentModels { key: self.key.clone(), columns, segments: done })?;
        Ok(())
    }
}

/// The rows of a frame whose keys have some values.
fn rows_of(node: &Node, frame: &Frame, columns: &[Vec<f64>], values: &[f64]) -> Result<Frame> {
    let mut one = Vec::with_capacity(columns.len());
    let mut index = vec![];
    for r in 0..frame.rows() {
        one.clear();
        one.extend(columns.iter().map(|c| c[r]));
        if same(&one, values) {
            index.push(r as u64);
        }
    }
    let taken = frame.columns().iter().map(|c| c.take(&node.ledger, &index)).collect::<Result<Vec<_>>>()?;
    Frame::new(frame.names().to_vec(), taken)
}

impl SegmentModels {
    /// A row for each segment: its values, its model, how it came out, and what was said.
    pub fn frame(&self, node: &Node) -> Result<Frame> {
        let ledger = &node.ledger;
        let (mut names, mut columns) = (vec![], vec![]);
        for (i, (name, kind)) in self.columns.iter().enumerate() {
            names.push(name.clone());
            columns.push(Column::numeric(ledger, kind.clone(), &self.segments.iter().map(|s| s.values[i]).collect::<Vec<_>>())?);
        }
        let texts = |f: &dyn Fn(&Segment) -> Option<String>| -> Result<Column> {
            let all: Vec<Option<String>> = self.segments.iter().map(f).collect();
            Column::from_texts(ledger, &all)
        };
        let domain = Arc::new(["PENDING", "RUNNING", "SUCCEEDED", "FAILED"].map(String::from).to_vec());
        let status: Vec<f64> = self.segments.iter().map(|s| if s.succeeded { 2.0 } else { 3.0 }).collect();
        names.extend(["model", "status", "errors", "warnings"].map(String::from));
        columns.push(texts(&|s| Some(s.model.clone()))?);
        columns.push(Column::numeric(ledger, Kind::Enum(domain), &status)?);
        columns.push(texts(&|s| s.errors.clone())?);
        columns.push(texts(&|s| s.warnings.clone())?);
        Frame::new(names, columns)
    }
}
