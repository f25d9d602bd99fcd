//! Grids: one model for each combination of hyper-parameters.
//!
//! Names are taken in the order of the alphabet, and the first varies fastest. Random search draws combinations with the
//! generator of the reference (java.util.Random), so that a seed finds the same models there and here. A grid that exists is
//! gone on with: combinations that it has are not trained again.

use crate::metrics::has_stopped;
use crate::params::StoppingMetric;
use crate::{Builder, Category, Metrics, Model, Refusal};
use ochre_core::{Error, Job, Node, Result, Stored};
use ochre_schema::{Cell, Map, Table, Value, Wire};
use std::collections::HashSet;
use std::sync::Arc;

/// How combinations are chosen.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Criteria {
    pub strategy: Strategy,
    /// Most models to train; 0 for no limit.
    pub max_models: usize,
    /// Longest time for the whole grid; 0 for no limit.
    pub max_runtime_secs: f64,
    pub seed: i64,
    pub stopping_rounds: usize,
    pub stopping_metric: String,
    pub stopping_tolerance: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Strategy {
    Cartesian,
    RandomDiscrete,
    /// The values of each parameter are taken side by side: first with first, second with second.
    Sequential,
}

impl Criteria {
    /// Reads the JSON that clients send; Cartesian when there is none.
    pub fn read(text: Option<&str>) -> Result<Criteria> {
        let mut out = Criteria {
            strategy: Strategy::Cartesian,
            max_models: 0,
            max_runtime_secs: 0.0,
            seed: -1,
            stopping_rounds: 0,
            stopping_metric: "AUTO".into(),
            stopping_tolerance: 0.001,
        };
        let Some(text) = text.filter(|t| !t.trim().is_empty()) else { return Ok(out) };
        let refuse =
            |why: String| Error::Unsupported(format!("Can't parse the search_criteria dictionary; got error: {why} for raw value: {text}"));
        let map: Map = serde_json::from_str(&quoted(text)).map_err(|e| refuse(e.to_string()))?;
        for (name, v) in map {
            let bad = || refuse(format!("{name} cannot be {v}"));
            let number = || v.as_f64().or_else(|| v.as_str().and_then(|t| t.parse().ok())).ok_or_else(bad);
            match name.as_str() {
                "strategy" => {
                    out.strategy = match v.as_str().unwrap_or_default() {
                        "Cartesian" => Strategy::Cartesian,
                        "RandomDiscrete" => Strategy::RandomDiscrete,
                        "Sequential" => Strategy::Sequential,
                        other => return Err(refuse(format!("'{other}' is no strategy; use Cartesian, RandomDiscrete or Sequential"))),
                    }
                }
                "max_models" => out.max_models = number()?.max(0.0) as usize,
                "max_runtime_secs" => out.max_runtime_secs = number()?,
                "seed" => out.seed = v.as_i64().or_else(|| v.as_str().and_then(|t| t.parse().ok())).ok_or_else(bad)?,
                "stopping_rounds" => out.stopping_rounds = number()?.max(0.0) as usize,
                "stopping_tolerance" => out.stopping_tolerance = number()?,
                "stopping_metric" => {
                    let name = v.as_str().ok_or_else(bad)?;
                    StoppingMetric::from_text(name).map_err(&refuse)?;
                    out.stopping_metric = name.into();
                }
                // Sequential grids may be told not to stop early.
                "early_stopping" => {
                    if v.as_bool() == Some(false) {
                        out.stopping_rounds = 0;
                    }
                }
                other => return Err(refuse(format!("unknown criterion '{other}'"))),
            }
        }
        Ok(out)
    }
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Entry {
    pub model: String,
    /// Values of the hyper-parameters, in the order of their names.
    pub values: Vec<Value>,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Failed {
    pub values: Vec<Value>,
    pub message: String,
}

/// A grid in the store. Each model that is done replaces it by a longer one.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Grid {
    pub key: String,
    pub algorithm: String,
    /// Names of the hyper-parameters and the values to try.
    pub hyper: Vec<(String, Vec<Value>)>,
    pub criteria: Criteria,
    /// The other parameters, as they were sent.
    pub form: Vec<(String, String)>,
    pub models: Vec<Entry>,
    pub failures: Vec<Failed>,
    pub warnings: Vec<String>,
    /// Models started so far; the next gets the next number.
    pub started: usize,
}

impl Stored for Grid {
    const TYPE: &'static str = "Grid";
}

/// The generator of java.util.Random, whose algorithm is part of Java's specification.
struct JavaRandom(u64);

impl JavaRandom {
    fn new(seed: i64) -> Self {
        JavaRandom((seed as u64 ^ 0x5DEE_CE66D) & ((1 << 48) - 1))
    }
    fn next31(&mut self) -> i32 {
        self.0 = self.0.wrapping_mul(0x5DEE_CE66D).wrapping_add(0xB) & ((1 << 48) - 1);
        (self.0 >> 17) as i32
    }
    fn below(&mut self, n: i32) -> i32 {
        if n & (n - 1) == 0 {
            return ((i64::from(n) * i64::from(self.next31())) >> 31) as i32;
        }
        loop {
            let bits = self.next31();
            let v = bits % n;
            if bits.wrapping_sub(v).wrapping_add(n - 1) >= 0 {
                return v;
            }
        }
    }
}

/// Combinations, as places in the lists of values.
struct Walk {
    sizes: Vec<usize>,
    strategy: Strategy,
    random: JavaRandom,
    seen: HashSet<Vec<usize>>,
    next: usize,
}

impl Walk {
    fn total(&self) -> usize {
        match self.strategy {
            Strategy::Sequential => self.sizes.iter().copied().max().unwrap_or(0),
            _ => self.sizes.iter().fold(1usize, |a, b| a.saturating_mul(*b)),
        }
    }
}

impl Iterator for Walk {
    type Item = Vec<usize>;

    fn next(&mut self) -> Option<Vec<usize>> {
        if self.next >= self.total() {
            return None;
        }
        self.next += 1;
        match self.strategy {
            Strategy::Cartesian => {
                let mut rest = self.next - 1;
                Some(
                    self.sizes
                        .iter()
                        .map(|n| {
                            let i = rest % n;
                            rest /= n;
                            i
                        })
                        .collect(),
                )
            }
            Strategy::Sequential => Some(vec![self.next - 1; self.sizes.len()]),
            Strategy::RandomDiscrete => loop {
                let draw: Vec<usize> = self.sizes.iter().map(|n| self.random.below(*n as i32) as usize).collect();
                if self.seen.insert(draw.clone()) {
                    return Some(draw);
                }
            },
        }
    }
}

impl Grid {
    /// Reads and checks a request. Names that the algorithm does not have, and parameters given twice, are refused.
    pub fn read(builder: &dyn Builder, form: Vec<(String, String)>, key: String, hyper: &str, criteria: Criteria) -> Result<Grid> {
        let map: Map = serde_json::from_str(&quoted(hyper)).map_err(|e| {
            Error::Unsupported(format!("Can't parse the hyper_parameters dictionary; got error: {e} for raw value: {hyper}"))
        })?;
        let fields = builder.fields();
        let (given, default) = builder.decoded(&form)?;
        let mut hyper: Vec<(String, Vec<Value>)> = vec![];
        for (name, values) in map {
            let name = name.strip_suffix('_').unwrap_or(&name).to_string();
            if !fields.iter().any(|f| f.name == name) {
                return Err(Error::Unsupported(format!(
                    "Illegal argument: {name} of function: grid: Unknown hyper parameter for grid search!"
                )));
            }
            if given.get(&name) != default.get(&name) {
                return Err(Error::Unsupported(format!(
                    "Grid search model parameter '{name}' is set in both the model parameters and in the hyperparameters map.  This is ambiguous; set it in one place or the other, not both."
                )));
            }
            let values = match values {
                Value::Array(v) => v,
                one => vec![one],
            };
            // Whole numbers for a parameter that takes fractions are fractions.
            let fractions = fields.iter().any(|f| f.name == name && matches!(f.type_name.as_str(), "double" | "float"));
            let values: Vec<Value> =
                values.into_iter().map(|v| if fractions { v.as_i64().map_or(v, |i| Value::from(i as f64)) } else { v }).collect();
            if values.is_empty() {
                return Err(Error::Unsupported(format!("hyper-parameter '{name}' has no values to try")));
            }
            hyper.push((name, values));
        }
        hyper.sort_by(|a, b| a.0.cmp(&b.0));
        if criteria.strategy == Strategy::Sequential && hyper.windows(2).any(|w| w[0].1.len() != w[1].1.len()) {
            return Err(Error::Unsupported("a Sequential grid needs as many values of each hyper-parameter as of the others".into()));
        }
        Ok(Grid {
            key,
            algorithm: builder.info().name.into(),
            hyper,
            criteria,
            form,
            models: vec![],
            failures: vec![],
            warnings: vec![],
            started: 0,
        })
    }

    /// What an earlier search of the same name found, in terms of all hyper-parameters of both.
    pub fn take_over(&mut self, old: &Grid, builder: &dyn Builder) -> Result<()> {
        let (own, of_old) = (builder.decoded(&self.form)?.0, builder.decoded(&old.form)?.0);
        let missing: Vec<String> = old.names().into_iter().filter(|n| !self.names().contains(n)).collect();
        for name in missing {
            let value = own.get(&name).cloned().unwrap_or(Value::Null);
            self.hyper.push((name, vec![value]));
        }
        self.hyper.sort_by(|a, b| a.0.cmp(&b.0));
        let names = old.names();
        let value = |values: &[Value], name: &String| match names.iter().position(|n| n == name) {
            Some(i) => values[i].clone(),
            None => of_old.get(name).cloned().unwrap_or(Value::Null),
        };
        let all = |values: &[Value]| self.hyper.iter().map(|h| value(values, &h.0)).collect::<Vec<_>>();
        self.models = old.models.iter().map(|m| Entry { model: m.model.clone(), values: all(&m.values) }).collect();
        self.failures = old.failures.iter().map(|f| Failed { values: all(&f.values), message: f.message.clone() }).collect();
        self.started = old.started;
        Ok(())
    }

    pub fn names(&self) -> Vec<String> {
        self.hyper.iter().map(|h| h.0.clone()).collect()
    }

    /// Trains what is not there yet, one model after the other: each uses all threads. `kept` is told of every model.
    pub fn train(
        mut self,
        builder: &dyn Builder,
        node: &Arc<Node>,
        job: &Arc<Job>,
        kept: &dyn Fn(&Grid, &Model) -> Result<()>,
    ) -> Result<()> {
        job.set_deadline(self.criteria.max_runtime_secs);
        let seed = if self.criteria.seed == -1 { ochre_core::Rng::fresh_seed() } else { self.criteria.seed };
        let mut walk = Walk {
            sizes: self.hyper.iter().map(|h| h.1.len()).collect(),
            strategy: self.criteria.strategy,
            random: JavaRandom::new(seed),
            seen: HashSet::new(),
            next: 0,
        };
        let total = walk.total();
        let planned = if self.criteria.max_models > 0 { total.min(self.criteria.max_models) } else { total };
        let mut trained = 0;
        let mut scores: Vec<f64> = vec![];
        node.store.put(&self.key, self.clone())?;
        for draw in walk.by_ref() {
            if trained >= planned || job.out_of_time() {
                break;
            }
            job.check()?;
            let values: Vec<Value> = draw.iter().zip(&self.hyper).map(|(i, h)| h.1[*i].clone()).collect();
            let known = self.models.iter().map(|m| &m.values).chain(self.failures.iter().map(|f| &f.values)).any(|v| *v == values);
            if known {
                continue;
            }
            self.started += 1;
            let model = format!("{}_model_{}", self.key, self.started);
            let mut form: Vec<(String, String)> =
                self.form.iter().filter(|(n, _)| !self.hyper.iter().any(|h| h.0 == *n)).cloned().collect();
            form.push(("model_id".into(), model.clone()));
            form.extend(self.hyper.iter().zip(&values).map(|(h, v)| (h.0.clone(), text_of(v))));
            let part = Job::part(job, 1.0 / planned as f64);
            if let Some(seconds) = job.seconds_left() {
                part.set_deadline(seconds);
            }
            match builder.train(node, &part, &form) {
                Ok(()) => {
                    trained += 1;
                    let m = node.store.get::<Model>(&model)?;
                    scores.push(deciding(&m).and_then(|d| value_of(&d, &self.stopping_metric(&m))).unwrap_or(f64::NAN));
                    self.models.push(Entry { model, values });
                    kept(&self, &m)?;
                }
                Err(Refusal::Failed(Error::Cancelled)) => return Err(Error::Cancelled),
                Err(Refusal::Failed(e @ Error::ClusterChanged)) => return Err(e),
                Err(refusal) => self.failures.push(Failed { values, message: refusal.message(builder.info().stem) }),
            }
            part.set_progress(1.0);
            node.store.put(&self.key, self.clone())?;
            let c = &self.criteria;
            if c.stopping_rounds > 0 && self.models.first().is_some() {
                let metric = node.store.get::<Model>(&self.models[0].model).map(|m| self.stopping_metric(&m))?;
                if has_stopped(&scores, c.stopping_rounds, &metric, c.stopping_tolerance) {
                    break;
                }
            }
        }
        Ok(())
    }

    fn stopping_metric(&self, model: &Model) -> String {
        match self.criteria.stopping_metric.to_lowercase().as_str() {
            "auto" => default_metric(model.category).unwrap_or("mse").into(),
            other => other.into(),
        }
    }
}

/// JSON in which words may stand without quotes, as the Python client sends them, with the quotes.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let end = if c == '"' {
            // A text in quotes is left as it is.
            let mut escaped = false;
            rest[1..]
                .find(|c| {
                    let over = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    over
                })
                .map_or(rest.len(), |i| i + 2)
        } else if c.is_alphabetic() || c == '_' || c == '/' {
            let end = rest.find([',', ']', '}', ':']).unwrap_or(rest.len());
            let word = rest[..end].trim_end();
            match word.to_ascii_lowercase().as_str() {
                known @ ("true" | "false" | "null") => out.push_str(known),
                "none" => out.push_str("null"),
                _ => out.push_str(&Value::from(word).to_string()),
            }
            rest = &rest[end..];
            continue;
        } else if c.is_ascii_digit() || matches!(c, '-' | '+' | '.') {
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.'))).unwrap_or(rest.len())
        } else {
            c.len_utf8()
        };
        out.push_str(&rest[..end]);
        rest = &rest[end..];
    }
    out
}

/// A JSON value as a form has it.
fn text_of(v: &Value) -> String {
    match v {
        Value::String(s) => s.clone(),
        other => other.to_string(),
    }
}

/// The metrics that models are compared by: of cross-validation, else of validation, else of training.
pub fn deciding(model: &Model) -> Option<Arc<Metrics>> {
    let metrics = model.metrics.read();
    let pooled = metrics.iter().find(|m| m.description.as_ref().is_some_and(|d| d.contains("cross-validation")));
    let validated = metrics.iter().find(|m| m.description.as_deref() == Some("Validation metrics"));
    pooled.or(validated).or(metrics.first()).cloned()
}

fn default_metric(category: Category) -> Option<&'static str> {
    match category {
        Category::Binomial | Category::Multinomial | Category::Ordinal => Some("logloss"),
        Category::Regression => Some("residual_deviance"),
        Category::Clustering | Category::AnomalyDetection | Category::CoxPh | Category::BinomialUplift => None,
    }
}

pub fn value_of(m: &Metrics, name: &str) -> Option<f64> {
    let known = m.summary();
    let find = |n: &str| known.iter().find(|p| p.0 == n).map(|p| p.1);
    match name {
        "residual_deviance" | "deviance" => {
            find("residual_deviance").or_else(|| find("mean_residual_deviance")).or_else(|| find("logloss"))
        }
        "aucpr" => find("pr_auc"),
        "misclassification" => find("err"),
        other => find(other).or_else(|| m.get(other)),
    }
}

/// A grid as it is shown: models in the order of a metric, and tables.
pub struct Sorted {
    pub metric: Option<String>,
    pub decreasing: bool,
    pub models: Vec<Arc<Model>>,
    pub summary: Table,
    pub history: Table,
}

impl Grid {
    pub fn sorted(&self, node: &Node, by: Option<&str>, decreasing: bool) -> Result<Sorted> {
        let mut rows: Vec<(&Entry, Arc<Model>)> =
            self.models.iter().filter_map(|e| Some((e, node.store.get::<Model>(&e.model).ok()?))).collect();
        let metric = match by.map(str::to_lowercase) {
            Some(m) => Some(m),
            None => rows.first().and_then(|r| default_metric(r.1.category)).map(str::to_string),
        };
        let history = history(&rows);
        let mut values: Vec<f64> = vec![];
        if let Some(name) = &metric {
            let mut keyed = vec![];
            for (e, m) in rows {
                let metrics = deciding(&m).ok_or_else(|| Error::invalid(format!("model {} has no metrics", m.key)))?;
                let v = value_of(&metrics, name).ok_or_else(|| {
                    let known: Vec<&str> = metrics.summary().iter().map(|p| p.0).collect();
                    Error::invalid(format!("Invalid argument for sort_by specified. Must be one of: [{}]", known.join(", ")))
                })?;
                keyed.push((v, e, m));
            }
            // Missing values go last; equal ones stay in the order of training.
            keyed.sort_by(|a, b| match (a.0.is_nan(), b.0.is_nan()) {
                (false, false) if decreasing => b.0.total_cmp(&a.0),
                (false, false) => a.0.total_cmp(&b.0),
                (x, y) => x.cmp(&y),
            });
            values = keyed.iter().map(|k| k.0).collect();
            rows = keyed.into_iter().map(|(_, e, m)| (e, m)).collect();
        }
        let order =
            metric.as_ref().map_or(String::new(), |m| format!("ordered by {} {m}", if decreasing { "decreasing" } else { "increasing" }));
        let mut summary = Table::new("Hyper-Parameter Search Summary", &order).row_labels(vec!["".into(); rows.len()]);
        for (i, (name, tried)) in self.hyper.iter().enumerate() {
            let numbers = tried.iter().all(Value::is_number);
            let cells = rows.iter().map(|(e, _)| cell(&e.values[i], numbers)).collect();
            let (kind, format) = if numbers { ("double", "%.5f") } else { ("string", "%s") };
            summary = summary.named(name, name, kind, format, cells);
        }
        summary = summary.named("model_ids", "model_ids", "string", "%s", rows.iter().map(|(e, _)| Cell::from(e.model.clone())).collect());
        if let Some(name) = &metric {
            summary = summary.named(name, name, "double", "%.5f", values.into_iter().map(Cell::Double).collect());
        }
        Ok(Sorted { metric, decreasing, models: rows.into_iter().map(|r| r.1).collect(), summary, history })
    }
}

fn cell(v: &Value, number: bool) -> Cell {
    match v {
        Value::Number(n) if number => n.as_i64().map_or_else(|| Cell::Double(n.as_f64().unwrap_or(f64::NAN)), Cell::Long),
        Value::Array(a) if a.len() == 1 => Cell::Text(text_of(&a[0])),
        Value::Array(a) => Cell::Text(format!("[{}]", a.iter().map(text_of).collect::<Vec<_>>().join(", "))),
        other => Cell::Text(text_of(other)),
    }
}

/// When each model was done, and how good it was.
fn history(rows: &[(&Entry, Arc<Model>)]) -> Table {
    let names: &[(&str, &str)] = match rows.first().map(|r| r.1.category) {
        Some(Category::Binomial) => &[
            ("rmse", "RMSE"),
            ("logloss", "LogLoss"),
            ("r2", "r2"),
            ("auc", "AUC"),
            ("pr_auc", "pr_auc"),
            ("lift", "Lift"),
            ("classification_error", "Classification Error"),
        ],
        Some(Category::Multinomial) => {
            &[("rmse", "RMSE"), ("logloss", "LogLoss"), ("r2", "r2"), ("classification_error", "Classification Error")]
        }
        Some(Category::Regression) => &[("rmse", "RMSE"), ("deviance", "Deviance"), ("mae", "MAE"), ("r2", "r2")],
        _ => &[("rmse", "RMSE")],
    };
    let mut t = Table::new("Scoring History", "")
        .row_labels(vec!["".into(); rows.len()])
        .column("Timestamp", "string", "%s", rows.iter().map(|r| Cell::Text(ochre_core::time::stamp(r.1.timestamp_ms))).collect())
        .column("Duration", "string", "%s", rows.iter().map(|_| Cell::Text(ochre_core::time::duration_text(0))).collect());
    for (name, heading) in names {
        let cells = rows.iter().map(|r| Cell::Double(r.1.metrics.read().first().and_then(|m| m.get(name)).unwrap_or(f64::NAN))).collect();
        t = t.column(&format!("Training {heading}"), "double", "%.5f", cells);
    }
    t
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_get_their_quotes() {
        assert_eq!(quoted(r#"{"strategy": RandomDiscrete,"n": [1, -2.5e3]}"#), r#"{"strategy": "RandomDiscrete","n": [1, -2.5e3]}"#);
        assert_eq!(quoted(r#"{"a": [True,"x, \"y",None, b c ]}"#), r#"{"a": [true,"x, \"y",null, "b c"]}"#);
    }

    /// Drawn by the reference server for seed 1234.
    #[test]
    fn random_search_draws_what_the_reference_draws() {
        let walk =
            Walk { sizes: vec![8, 10], strategy: Strategy::RandomDiscrete, random: JavaRandom::new(1234), seen: HashSet::new(), next: 0 };
        let drawn: Vec<(usize, usize)> = walk.take(12).map(|d| (d[0] + 1, d[1] + 1)).collect();
        let told = [(6, 4), (8, 1), (7, 4), (4, 10), (3, 8), (2, 9), (3, 7), (5, 5), (8, 3), (1, 8), (1, 7), (1, 4)];
        assert_eq!(drawn, told);
    }
}
