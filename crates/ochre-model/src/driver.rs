//! From a request to a stored model: decoding and checking parameters, preparing training data, running `fit` in a
//! job, scoring, publishing. An algorithm supplies only what is its own.

use crate::adapt::{self, Source};
use crate::folds;
use crate::metrics::{self, Detail, Deviance, Metrics, Scores};
use crate::params::{CommonParams, FoldAssignment};
use crate::wire::{ModelBuilderSchema, ModelOutput, ModelParameterSchema, ModelSchema};
use crate::{Model, Predictor};
use ochre_core::{Column, Error, Frame, Job, Kind, Node, Result, Rng, Team, time::now_ms};
use ochre_schema::{AnyKey, Cell, FieldDecl, FrameKey, Key, ModelKey, Note, Notes, Schema, Severity, Table, Value, Wire};
use ochre_score::Scorer;
use parking_lot::RwLock;
use rayon::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    Regression,
    Binomial,
    Multinomial,
    Clustering,
    AnomalyDetection,
    CoxPh,
    Ordinal,
    BinomialUplift,
}

impl Category {
    pub const ALL: [Category; 8] = [
        Category::Regression,
        Category::Binomial,
        Category::Multinomial,
        Category::Clustering,
        Category::AnomalyDetection,
        Category::CoxPh,
        Category::Ordinal,
        Category::BinomialUplift,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Category::Regression => "Regression",
            Category::Binomial => "Binomial",
            Category::Multinomial => "Multinomial",
            Category::Clustering => "Clustering",
            Category::AnomalyDetection => "AnomalyDetection",
            Category::CoxPh => "CoxPH",
            Category::Ordinal => "Ordinal",
            Category::BinomialUplift => "BinomialUplift",
        }
    }
}

/// Identity of an algorithm and the names of its schemas.
pub struct AlgorithmInfo {
    /// `gbm`, as in `/3/ModelBuilders/gbm`.
    pub name: &'static str,
    pub full_name: &'static str,
    /// `GBM`: what job descriptions, error messages and schema names begin with.
    pub stem: &'static str,
    pub categories: &'static [Category],
    pub supervised: bool,
    pub builder_schema: &'static str,
    pub builder_superclass: &'static str,
    pub parameters_type: &'static str,
    pub model_schema: &'static str,
    pub model_superclass: &'static str,
    pub model_type: &'static str,
    pub output_type: &'static str,
}

/// What rules between parameters and data may look at.
pub struct Shape<'a> {
    pub rows: usize,
    pub category: Option<Category>,
    pub response: Option<&'a Column>,
    pub weighted_rows: f64,
    pub predictors: usize,
    pub training: &'a Training,
}

/// An algorithm: declarations, rules, and the fit.
pub trait Algorithm: Send + Sync + 'static {
    const INFO: AlgorithmInfo;
    /// Parameters that must stay as they were when training goes on from a model (`checkpoint`); `None` where it cannot.
    const FIXED_BY_CHECKPOINT: Option<&'static [&'static str]> = None;
    /// Is a response of two categories taken as the numbers 0 and 1?
    const CLASSES_AS_NUMBERS: bool = false;
    /// Is a response of the numbers -1 and 1 taken as two classes, and no other number?
    const SIGNS_AS_CLASSES: bool = false;
    type Params: Schema + Clone + Send + Sync;
    type Output: Schema;

    fn common(params: &Self::Params) -> &CommonParams;
    fn common_mut(params: &mut Self::Params) -> &mut CommonParams;
    /// The seed, for algorithms that draw random numbers.
    fn seed_mut(params: &mut Self::Params) -> Option<&mut i64>;
    fn output_common(output: &mut Self::Output) -> &mut ModelOutput;
    /// Does the request make a numeric response a class (`true`) or forbid it (`false`)?
    fn wants_classes(_params: &Self::Params) -> Option<bool> {
        None
    }
    /// Does the user want metrics on the training data?
    fn wants_training_metrics(_params: &Self::Params) -> bool {
        true
    }
    /// How much metrics tell.
    fn detail(params: &Self::Params) -> Detail {
        Self::common(params).detail()
    }
    /// Do the parameters name a metric of the room's own, which then is the custom one?
    fn names_metric(_params: &Self::Params) -> bool {
        false
    }
    /// Predictors that the parameters name, whether or not they are among the ignored columns.
    fn named_predictors(_params: &Self::Params) -> Vec<String> {
        vec![]
    }
    /// Fills in what the data decide or another name of the same parameter says; the model shows the result.
    fn settle(_params: &mut Self::Params, _training: &Training) {}
    /// The kind of model, given what the response says.
    fn category(_params: &Self::Params, found: Category) -> Category {
        found
    }
    /// Probability from which on a row counts as the second class, given the metrics that decide: where F1 is best.
    fn threshold(metrics: &Metrics) -> f64 {
        metrics.threshold()
    }
    /// Rules between fields, each noted on its field.
    fn check(params: &Self::Params, shape: &Shape<'_>, notes: &mut Notes);
    /// Rules for other frames that parameters name, each noted on its field.
    fn check_frames(_params: &Self::Params, _node: &Node, _shape: &Shape<'_>, _notes: &mut Notes) {}
    /// What all data decide for the models of the folds, before these are trained.
    fn plan_folds(_run: &mut Run<'_, Self::Params>) -> Result<()> {
        Ok(())
    }
    /// What the models of cross-validation say about the model of all data: when to stop, for one. Parameters come back when
    /// the folds are to be trained once more, with what they chose together.
    fn learn_from_folds(_params: &mut Self::Params, _folds: &[&Model]) -> Option<Self::Params> {
        None
    }
    fn fit(run: &mut Run<'_, Self::Params>) -> Result<Fitted<Self::Output>>;
}

/// Prepared training data. A copy shares the predictors.
///
/// On a cluster the predictors' rows are shared out; response, weights and offset are here for all rows.
#[derive(Clone)]
pub struct Training {
    pub names: Vec<String>,
    pub columns: Vec<Column>,
    /// How each predictor comes from another column; empty when none does.
    pub encodings: Vec<Option<crate::encoding::Encoding>>,
    /// The predictors before they were encoded; empty when none was.
    pub original_names: Vec<String>,
    pub rows: usize,
    pub response: Option<Predictor>,
    /// Response values or class codes; meaningless where the weight is 0.
    pub y: Vec<f64>,
    /// Row weights; `None` when all are 1.
    pub w: Option<Vec<f64>>,
    pub offset: Option<Vec<f64>>,
    pub category: Category,
    /// Did the user give weights? Otherwise weights only leave out rows without a response.
    pub weighted: bool,
    /// Sum of the weights of all rows, those without a response included.
    pub nominal_weight: f64,
}

impl Training {
    pub fn classes(&self) -> usize {
        self.response.as_ref().and_then(|r| r.domain.as_ref()).map_or(1, |d| d.len())
    }
    /// The weights that the user or a fold gave; none where rows weigh nothing only for want of a response.
    pub fn given_weights(&self) -> Option<&[f64]> {
        self.w.as_deref().filter(|_| self.weighted)
    }
    /// Labels of the response's classes; empty for a number.
    pub fn labels(&self) -> &[String] {
        self.response.as_ref().and_then(|r| r.domain.as_deref()).map_or(&[], |d| d)
    }
    /// Takes the rows with a missing predictor out, by their weight.
    pub fn leave_out_missing(&mut self) -> Result<()> {
        let mut w = self.w.take().unwrap_or_else(|| vec![1.0; self.rows]);
        for c in &self.columns {
            if c.rollup()?.missing > 0 {
                c.to_f64()?.iter().zip(&mut w).filter(|(v, _)| v.is_nan()).for_each(|(_, w)| *w = 0.0);
            }
        }
        if w.iter().all(|v| *v == 0.0) {
            return Err(Error::invalid(
                "missing_values_handling = Skip leaves no rows: every row has a missing predictor; use MeanImputation",
            ));
        }
        self.w = Some(w);
        Ok(())
    }
    pub fn weight(&self, row: usize) -> f64 {
        self.w.as_ref().map_or(1.0, |w| w[row])
    }
    pub fn total_weight(&self) -> f64 {
        self.w.as_ref().map_or(self.rows as f64, |w| w.iter().sum())
    }
    pub fn predictors(&self) -> Vec<Predictor> {
        let encoding = |i: usize| self.encodings.get(i).cloned().flatten().map(Box::new);
        let one =
            |(i, (n, c)): (usize, (&String, &Column))| Predictor { name: n.clone(), domain: c.domain().cloned(), encoding: encoding(i) };
        self.names.iter().zip(&self.columns).enumerate().map(one).collect()
    }
    pub fn frame(&self) -> Result<Frame> {
        Frame::new(self.names.clone(), self.columns.clone())
    }
    /// The rows as scorers read them, by these of the predictors. What was encoded is so already.
    pub fn adapted(&self, predictors: &[Predictor]) -> Result<adapt::Adapted> {
        adapt::adapt_encoded(&self.frame()?, predictors)
    }
}

/// Values that the user gives for missing ones.
pub struct Plugs {
    key: String,
    frame: Arc<Frame>,
}

impl Plugs {
    /// From a frame of one row, with a column for each predictor.
    pub fn new(node: &Node, key: Option<&FrameKey>) -> Result<Plugs> {
        let key = key.filter(|k| !k.0.is_empty());
        let key = key.ok_or_else(|| Error::invalid("No plug values frame provided for Missing Values Handling = PlugValues."))?;
        let frame = node.store.frame(&key.0)?;
        if frame.rows() != 1 {
            return Err(Error::invalid(format!(
                "plug_values {key} has {} rows, but must have one, with a value for each predictor",
                frame.rows()
            )));
        }
        Ok(Plugs { key: key.0.clone(), frame })
    }

    /// What stands for a missing value of a predictor: a number, or a level's code.
    pub fn value(&self, name: &str, column: &Column) -> Result<f64> {
        let undefined = || format!("Plug value for column `{name}` is not defined! plug_values {} needs it", self.key);
        let given = self.frame.by_name(name).ok_or_else(|| Error::invalid(undefined()))?;
        let wrong = |value: &str| Error::invalid(format!("the plug value {value} of column '{name}' is none of its values"));
        if let Some(domain) = column.domain() {
            let text = given.to_texts()?.remove(0).unwrap_or_default();
            let code = domain.iter().position(|l| *l == text);
            return code.map(|c| c as f64).ok_or_else(|| wrong(&format!("'{text}'")));
        }
        let value = given.value(0)?;
        if value.is_finite() && given.is_number() { Ok(value) } else { Err(wrong(&value.to_string())) }
    }
}

/// A frame prepared for scoring against known answers.
pub struct Validation {
    pub data: adapt::Adapted,
    pub y: Vec<f64>,
    pub w: Option<Vec<f64>>,
    pub offset: Option<Vec<f64>>,
    pub key: String,
    pub checksum: i64,
}

/// What a fit works with.
pub struct Run<'a, P> {
    pub params: P,
    pub train: Training,
    pub valid: Option<Validation>,
    pub job: &'a Arc<Job>,
    pub node: &'a Arc<Node>,
    /// Frame named by a key-valued parameter of the algorithm.
    pub started_ms: i64,
    /// Is this the model of one fold of several?
    pub of_fold: bool,
    /// The model that training goes on from.
    pub checkpoint: Option<Arc<Model>>,
    /// Keys of frames that `fit` put into the store and that go when the model goes.
    pub belongings: Vec<String>,
    /// Names of the model, and its parameters as they were asked for; nothing for a part of a model.
    about: Option<(Identity, &'a P)>,
}

impl<P: Clone> Run<'_, P> {
    /// Writes the model as it is after so many steps to `directory`, so that training can go on from there one day.
    pub fn save_part_way<A: Algorithm<Params = P>>(&self, directory: &str, steps: usize, fitted: Fitted<A::Output>) -> Result<()> {
        let Some((identity, _)) = &self.about else { return Ok(()) };
        let (file, key) = (format!("{}.ntrees_{steps}", identity.key), format!("{}.{steps}", identity.key));
        assemble::<A>(self, key, fitted)?.save_to(&std::path::Path::new(directory).join(file), true)
    }
}

impl<P> Run<'_, P> {
    /// Is the time that the user allows spent? On a cluster one node's clock decides for all.
    pub fn out_of_time(&self) -> Result<bool> {
        if self.job.has_deadline() { Team::everybody().agree(self.job.out_of_time()) } else { Ok(false) }
    }

    /// The parameters as they were asked for; nothing for a part of a model.
    pub fn asked(&self) -> Option<&P> {
        self.about.as_ref().map(|a| a.1)
    }

    /// Trains a model that is a part of this one, under the rules of its own builder.
    pub fn part<A: Algorithm>(&self, params: A::Params, train: Training, valid: Option<Validation>) -> Result<Fitted<A::Output>> {
        let notes = part_notes::<A>(&params, &train);
        if notes.errors().next().is_some() {
            return Err(Error::invalid(Refusal::text(&notes, A::INFO.full_name, "a part of this model")));
        }
        A::fit(&mut self.inner(params, train, valid))
    }

    /// What a fit within this one works with.
    pub fn inner<Q>(&self, params: Q, train: Training, valid: Option<Validation>) -> Run<'_, Q> {
        let (job, node, started_ms) = (self.job, self.node, self.started_ms);
        Run { params, train, valid, job, node, started_ms, of_fold: self.of_fold, checkpoint: None, belongings: vec![], about: None }
    }
}

/// What a builder says about parameters for prepared data.
pub fn part_notes<A: Algorithm>(params: &A::Params, train: &Training) -> Notes {
    let mut notes = Notes::default();
    params.check(&mut notes);
    let shape = Shape {
        rows: train.rows,
        category: Some(train.category),
        response: None,
        weighted_rows: train.total_weight(),
        predictors: train.columns.len(),
        training: train,
    };
    A::check(params, &shape, &mut notes);
    notes
}

/// Sets parameters from a form; a name that there is not is refused.
pub fn set_all<P: Schema>(params: &mut P, form: &[(String, String)]) -> Result<()> {
    for (name, text) in form {
        match params.set(name, text) {
            None => return Err(Error::invalid(format!("Unknown parameter: {name}"))),
            Some(Err(e)) => {
                return Err(Error::invalid(format!("Illegal argument for field: {name} of schema: {}: {e}", P::META.name)));
            }
            Some(Ok(())) => {}
        }
    }
    Ok(())
}

pub struct Fitted<O> {
    pub output: O,
    pub scorer: Scorer,
    pub deviance: Deviance,
    pub training: Metrics,
    pub validation: Option<Metrics>,
    /// Order in which the scorer wants its predictors, when it is not that of the training data.
    pub order: Option<Vec<usize>>,
}

/// Why a request did not start a job.
pub enum Refusal {
    /// Parameters are wrong: the notes say which.
    Notes {
        notes: Notes,
        key: String,
        schema: Box<Value>,
    },
    Failed(Error),
}

impl Refusal {
    /// The refusal as one text, as error replies and grids show it.
    pub fn message(&self, stem: &str) -> String {
        match self {
            Refusal::Notes { notes, key, .. } => Self::text(notes, stem, key),
            Refusal::Failed(e) => e.to_string(),
        }
    }

    fn text(notes: &Notes, stem: &str, key: &str) -> String {
        let details: String =
            notes.errors().map(|n| format!("ERRR on field: _{}: {}\n", n.field.trim_start_matches('_'), n.message)).collect();
        format!("Illegal argument(s) for {stem} model: {key}.  Details: {details}")
    }
}

impl From<Error> for Refusal {
    fn from(e: Error) -> Self {
        Refusal::Failed(e)
    }
}

pub struct Started {
    pub job: Option<Arc<Job>>,
    pub model: String,
    /// The builder's reply.
    pub schema: Value,
    pub notes: Notes,
}

/// A row of the algorithm table.
pub trait Builder: Send + Sync {
    fn info(&self) -> &'static AlgorithmInfo;
    fn fields(&self) -> Vec<FieldDecl>;
    fn published(&self) -> Vec<PublishedSchema>;
    /// The builder with default parameters, as `/3/ModelBuilders` lists it.
    fn describe(&self) -> Value;
    /// Decodes, checks and, unless only asked to validate, starts training.
    fn start(&self, node: &Arc<Node>, form: &[(String, String)], validate_only: bool) -> std::result::Result<Started, Refusal>;
    /// Trains and publishes within a job that is somebody else's, such as a grid's.
    fn train(&self, node: &Arc<Node>, job: &Arc<Job>, form: &[(String, String)]) -> std::result::Result<(), Refusal>;
    /// The parameters of a form as JSON, and the defaults.
    fn decoded(&self, form: &[(String, String)]) -> Result<(ochre_schema::Map, ochre_schema::Map)>;
}

/// A schema with names known only at run time.
pub struct PublishedSchema {
    pub name: String,
    pub superclass: String,
    pub iced: String,
    pub request: bool,
    pub fields: Vec<FieldDecl>,
}

impl PublishedSchema {
    /// All fields, with those that every message or request carries.
    pub fn all_fields(&self) -> Vec<FieldDecl> {
        let mut fields = self.fields.clone();
        fields.extend(ochre_schema::common_fields(&self.name, &self.iced, self.request));
        // The root of all schemas tells nothing of itself.
        fields.retain(|f| f.name != "__meta" || self.superclass != "Schema");
        fields
    }
}

/// Parameters as the form that would ask for them.
pub fn form_of<P: Schema>(params: &P) -> Vec<(String, String)> {
    let mut map = ochre_schema::Map::new();
    params.put(&mut map);
    let text = |v: Value| match v {
        Value::Null => None,
        Value::String(s) => Some(s),
        Value::Object(o) => o.get("name").and_then(Value::as_str).map(str::to_string),
        v => Some(v.to_string()),
    };
    map.into_iter().filter_map(|(n, v)| Some((n, text(v)?))).collect()
}

/// Makes a [`Builder`] of an [`Algorithm`].
pub struct Row<A>(pub std::marker::PhantomData<A>);

impl<A> Row<A> {
    pub const fn new() -> Self {
        Row(std::marker::PhantomData)
    }
}

impl<A> Default for Row<A> {
    fn default() -> Self {
        Self::new()
    }
}

static NEXT_MODEL: AtomicU64 = AtomicU64::new(1);

/// The parameter list of a builder, or of a model with what the user gave, as the API shows it.
fn parameter_list<P: Schema>(actual: &P, input: Option<&P>) -> Vec<Value> {
    let defaults = P::fields();
    let (mut now, mut asked) = (ochre_schema::Map::new(), ochre_schema::Map::new());
    actual.put(&mut now);
    if let Some(input) = input {
        input.put(&mut asked);
    }
    // A column has one role.
    let roles: Vec<&str> =
        defaults.iter().filter(|f| f.name == "ignored_columns" || !f.exclusive_with.is_empty()).map(|f| f.name).collect();
    defaults
        .iter()
        .filter(|f| !f.internal)
        .map(|f| {
            let column = |v: Option<&Value>| -> Value {
                // A column is published as a specifier object.
                match (f.type_name.as_str(), v) {
                    ("VecSpecifier", Some(Value::String(name))) => serde_json::json!({
                        "__meta": {"schema_version": 3, "schema_name": "ColSpecifierV3", "schema_type": "VecSpecifier"},
                        "column_name": name, "is_member_of_frames": null,
                    }),
                    (_, v) => v.cloned().unwrap_or(Value::Null),
                }
            };
            let texts = |v: &[&str]| v.iter().map(|s| s.to_string()).collect::<Vec<_>>();
            ModelParameterSchema {
                name: Some(f.name.into()),
                label: Some(f.name.into()),
                help: Some(f.help.into()),
                required: f.required,
                r#type: Some(f.type_name.clone()),
                default_value: f.default.clone(),
                actual_value: column(now.get(f.name)),
                input_value: column(asked.get(f.name)),
                level: Some(f.level.into()),
                values: Some(texts(f.values)),
                is_member_of_frames: Some(texts(f.member_of)),
                is_mutually_exclusive_with: Some(match roles.contains(&f.name) {
                    true => roles.iter().filter(|r| **r != f.name).map(|r| r.to_string()).collect(),
                    false => vec![],
                }),
                gridable: f.gridable,
            }
            .to_json()
        })
        .collect()
}

fn messages(notes: &Notes) -> Value {
    let one = |n: &Note| {
        serde_json::json!({
            "__meta": {"schema_version": 3, "schema_name": "ValidationMessageV3", "schema_type": "ValidationMessage"},
            "message_type": match n.severity { Severity::Error => "ERRR", Severity::Warn => "WARN", Severity::Info => "INFO" },
            "field_name": n.field, "message": n.message,
        })
    };
    Value::Array(notes.0.iter().map(one).collect())
}

fn renamed(mut v: Value, name: &str, type_name: &str) -> Value {
    v["__meta"] = serde_json::json!({"schema_version": 3, "schema_name": name, "schema_type": type_name});
    v
}

impl<A: Algorithm> Row<A> {
    const INFO: AlgorithmInfo = A::INFO;

    fn schema(params: &A::Params, notes: &Notes) -> Value {
        let s = ModelBuilderSchema {
            parameters: Value::Array(parameter_list(params, None)),
            algo: Some(Self::INFO.name.into()),
            algo_full_name: Some(Self::INFO.full_name.into()),
            can_build: Some(Self::INFO.categories.iter().map(|c| c.name().to_string()).collect()),
            supervised: Self::INFO.supervised,
            visibility: Some("Stable".into()),
            messages: messages(notes),
            error_count: notes.errors().count() as i32,
            ..ModelBuilderSchema::default()
        };
        renamed(s.to_json(), Self::INFO.builder_schema, Self::INFO.stem)
    }
}

impl<A: Algorithm> Builder for Row<A> {
    fn info(&self) -> &'static AlgorithmInfo {
        const { &A::INFO }
    }

    fn fields(&self) -> Vec<FieldDecl> {
        A::Params::fields()
    }

    fn describe(&self) -> Value {
        Self::schema(&A::Params::default(), &Notes::default())
    }

    fn published(&self) -> Vec<PublishedSchema> {
        let info = &Self::INFO;
        let typed = |mut fields: Vec<FieldDecl>| {
            for f in &mut fields {
                if f.name == "parameters" {
                    f.type_name = info.parameters_type.into();
                    f.schema_name = Some(A::Params::META.name.into());
                    let name = f.schema_name.clone();
                    f.default =
                        serde_json::json!({"__meta": {"schema_version": 3, "schema_name": name, "schema_type": info.parameters_type}});
                } else if f.name == "output" {
                    f.type_name = info.output_type.into();
                    f.schema_name = Some(A::Output::META.name.into());
                }
            }
            fields
        };
        let from = |fields: Vec<FieldDecl>, base: &'static str| {
            fields
                .into_iter()
                .map(|mut f| {
                    f.inherited_from = f.inherited_from.or(Some(base));
                    f
                })
                .collect::<Vec<_>>()
        };
        vec![
            PublishedSchema {
                name: info.builder_schema.into(),
                superclass: info.builder_superclass.into(),
                iced: info.stem.into(),
                request: true,
                fields: typed(from(ModelBuilderSchema::fields(), "ModelBuilderSchema")),
            },
            PublishedSchema {
                name: A::Params::META.name.into(),
                superclass: A::Params::META.superclass.into(),
                iced: A::Params::META.iced.into(),
                request: false,
                fields: A::Params::fields(),
            },
            PublishedSchema {
                name: info.model_schema.into(),
                superclass: info.model_superclass.into(),
                iced: info.model_type.into(),
                request: false,
                fields: typed(from(ModelSchema::fields(), "ModelSchemaV3")),
            },
            PublishedSchema {
                name: A::Output::META.name.into(),
                superclass: A::Output::META.superclass.into(),
                iced: A::Output::META.iced.into(),
                request: false,
                fields: A::Output::fields(),
            },
        ]
    }

    fn start(&self, node: &Arc<Node>, form: &[(String, String)], validate_only: bool) -> std::result::Result<Started, Refusal> {
        let (prepared, notes, schema) = Self::ready(node, form)?;
        let key = A::common(&prepared.params).model_id.clone().unwrap_or_default();
        if validate_only {
            return Ok(Started { job: None, model: key.0, schema, notes });
        }
        if prepared.train.is_none() || notes.has_errors() {
            return Err(Refusal::Notes { schema: Box::new(schema), notes, key: key.0 });
        }
        let prepared = match node.admission.is_idle() {
            true => prepared,
            // It may have to wait, and waits without data.
            false => prepared.again(),
        };
        let prepared = Arc::new(parking_lot::Mutex::new(prepared));
        let warnings: Vec<String> = notes.0.iter().filter(|n| n.severity == Severity::Warn).map(|n| n.message.clone()).collect();
        let node2 = node.clone();
        let job = node.jobs.start(Self::INFO.stem, AnyKey::Model(key.clone()), move |job| {
            let ready = {
                let mut p = prepared.lock();
                // On a cluster each attempt prepares its own: the members that share the rows may be others by then.
                let train = p.train.take().filter(|_| ochre_core::current_task().is_none());
                Ready { train, ..p.again() }
            };
            for w in &warnings {
                job.warn(w.clone());
            }
            ready.run(&node2, job)
        })?;
        Ok(Started { job: Some(job), model: key.0, schema, notes })
    }

    fn train(&self, node: &Arc<Node>, job: &Arc<Job>, form: &[(String, String)]) -> std::result::Result<(), Refusal> {
        let (ready, notes, schema) = Self::ready(node, form)?;
        if notes.has_errors() || ready.train.is_none() {
            let key = A::common(&ready.params).model_id.clone().unwrap_or_default().0;
            return Err(Refusal::Notes { notes, key, schema: Box::new(schema) });
        }
        Ok(ready.run(node, job)?)
    }

    fn decoded(&self, form: &[(String, String)]) -> Result<(ochre_schema::Map, ochre_schema::Map)> {
        let (mut given, mut default) = (ochre_schema::Map::new(), ochre_schema::Map::new());
        Self::decode(form)?.put(&mut given);
        A::Params::default().put(&mut default);
        Ok((given, default))
    }
}

/// What training is taken to need for each row and predictor, and for each row beside them (response, weight, offset,
/// predictions, residuals); what an algorithm really takes it reserves itself.
const COLUMN_BYTES: usize = 8;
const ROW_BYTES: usize = 96;

/// Data are prepared for one request at a time: to be checked, before anybody may train on them.
static PREPARING: parking_lot::Mutex<()> = parking_lot::Mutex::new(());

/// Everything that training needs.
struct Ready<A: Algorithm> {
    params: A::Params,
    input: A::Params,
    frame: Arc<Frame>,
    frame_key: FrameKey,
    valid: Option<(Arc<Frame>, String)>,
    train: Option<Training>,
}

impl<A: Algorithm> Ready<A> {
    /// The same, without the prepared data.
    fn again(&self) -> Self {
        Ready {
            params: self.params.clone(),
            input: self.input.clone(),
            frame: self.frame.clone(),
            frame_key: self.frame_key.clone(),
            valid: self.valid.clone(),
            train: None,
        }
    }

    /// Waits until there is memory, trains and publishes. What does not fit beside others is tried again alone.
    fn run(mut self, node: &Arc<Node>, job: &Arc<Job>) -> Result<()> {
        A::common_mut(&mut self.params).watch_scripts(job);
        // The nodes of a cluster would let in their jobs in different orders, and then wait for each other.
        if ochre_core::current_task().is_some() {
            return self.attempt(node, job);
        }
        let budget = node.ledger.budget();
        let mut bytes = (self.frame.rows() * (self.frame.width() * COLUMN_BYTES + ROW_BYTES)) as u64;
        loop {
            let turn = node.admission.enter(job, bytes, budget)?;
            match self.attempt(node, job) {
                Err(Error::OutOfMemory { .. }) if !turn.alone() => bytes = budget,
                outcome => return outcome,
            }
        }
    }

    fn attempt(&mut self, node: &Arc<Node>, job: &Arc<Job>) -> Result<()> {
        let Ready { params, input, frame, frame_key, valid, train } = self;
        let _room = node.ledger.reserve(&format!("responses and weights of {} rows", frame.rows()), (frame.rows() * 24) as u64)?;
        let train = match train.take() {
            Some(t) => t,
            None => prepare::<A>(node, params, frame, &mut Notes::default())?
                .ok_or_else(|| Error::Internal("the training data cannot be prepared again".into()))?,
        };
        job.set_deadline(A::common(params).max_runtime_secs);
        let frames: Vec<&str> = std::iter::once(frame_key.text()).chain(valid.as_ref().map(|v| v.1.as_str())).collect();
        let _held = node.store.hold(&frames, &job.key.0);
        let key = A::common(params).model_id.clone().unwrap_or_default().0;
        let made = node.runner.install(|| {
            let valid = match &valid {
                Some((f, k)) => Some(validation(f, k, &train, A::common(params), job)?),
                None => None,
            };
            build::<A>(node, job, &key, params.clone(), input, frame, frame_key, train, valid)
        })?;
        job.check()?;
        if let Some(dir) = A::common(params).export_checkpoints_dir.as_deref().filter(|d| !d.is_empty()) {
            for model in &made.models {
                model.save_to(&std::path::Path::new(dir).join(&model.key), true)?;
            }
        }
        made.publish(node)
    }
}

impl<A: Algorithm> Row<A> {
    fn decode(form: &[(String, String)]) -> Result<A::Params> {
        let mut params = A::Params::default();
        let own: Vec<(String, String)> = form.iter().filter(|(n, _)| !n.starts_with('_')).cloned().collect();
        set_all(&mut params, &own)?;
        Ok(params)
    }

    /// Decodes, checks and prepares. With errors in the notes there may be no prepared data.
    fn ready(node: &Arc<Node>, form: &[(String, String)]) -> std::result::Result<(Ready<A>, Notes, Value), Refusal> {
        let mut params = Self::decode(form)?;
        let input = params.clone();
        let mut notes = Notes::default();
        params.check(&mut notes);
        let names_metric = A::names_metric(&params);
        let common = A::common_mut(&mut params);
        common.read_scripts(&node.store, names_metric, &mut notes);
        let key = common.model_id.clone().unwrap_or_else(|| {
            let n = ochre_core::current_task().map_or_else(|| NEXT_MODEL.fetch_add(1, Relaxed), |t| t.next_name());
            ModelKey(format!("{}_model_ochre_{}_{n}", Self::INFO.stem, ochre_core::shared_now_ms()))
        });
        common.model_id = Some(key.clone());
        let Some(frame_key) = common.training_frame.clone() else {
            notes.error("training_frame", "Missing training frame");
            return Err(Refusal::Notes { schema: Box::new(Self::schema(&params, &notes)), notes, key: key.0 });
        };
        let frame = node.store.frame(frame_key.text()).map_err(|e| missing_key(e, frame_key.text()))?;
        let valid_key = common.validation_frame.clone().filter(|k| !k.0.is_empty());
        let valid = match valid_key {
            Some(k) => Some((node.store.frame(k.text()).map_err(|e| missing_key(e, k.text()))?, k.0)),
            None => None,
        };
        if let Some(seed) = A::seed_mut(&mut params).filter(|s| **s == -1) {
            *seed = Rng::fresh_seed();
        }
        // On a cluster the nodes prepare together, request by request.
        let _one = ochre_core::current_task().is_none().then(|| PREPARING.lock());
        let train = prepare::<A>(node, &params, &frame, &mut notes)?;
        if let Some(train) = &train {
            A::settle(&mut params, train);
            let shape = Shape {
                rows: train.rows,
                category: Some(train.category),
                response: A::common(&params).response_column.as_deref().and_then(|n| frame.by_name(n)),
                weighted_rows: train.total_weight(),
                predictors: train.columns.len(),
                training: train,
            };
            A::check(&params, &shape, &mut notes);
            A::check_frames(&params, node, &shape, &mut notes);
            folds::check(A::common(&params), train.rows, train.category, &mut notes);
            A::common(&params).check_stopping(train.category, &mut notes);
            if let Some(Err(e)) =
                A::common(&params).export_checkpoints_dir.as_deref().map(|d| crate::check_local("export_checkpoints_dir", d))
            {
                notes.error("_export_checkpoints_dir", e.to_string());
            }
            check_checkpoint::<A>(node, &params, train, &mut notes)?;
        }
        let schema = Self::schema(&params, &notes);
        Ok((Ready { params, input, frame, frame_key, valid, train }, notes, schema))
    }
}

/// May training go on from the model that the request names?
fn check_checkpoint<A: Algorithm>(node: &Node, params: &A::Params, train: &Training, notes: &mut Notes) -> Result<()> {
    let common = A::common(params);
    let Some(key) = common.checkpoint.as_ref().filter(|k| !k.0.is_empty()) else { return Ok(()) };
    let Some(fixed) = A::FIXED_BY_CHECKPOINT else {
        notes.error("_checkpoint", format!("checkpoint is not supported for {} by this version of ochre", A::INFO.full_name));
        return Ok(());
    };
    let Ok(model) = node.store.get::<Model>(key.text()) else {
        notes.error("_checkpoint", format!("there is no model with the key '{}' to go on from", key.0));
        return Ok(());
    };
    if model.info.name != A::INFO.name {
        notes.error(
            "_checkpoint",
            format!("model '{}' is a {}, and training of a {} cannot go on from it", key.0, model.info.full_name, A::INFO.full_name),
        );
        return Ok(());
    }
    if folds::wanted(common) {
        notes.error("_checkpoint", "checkpoint cannot be used together with cross-validation");
    }
    let mut now = ochre_schema::Map::new();
    params.put(&mut now);
    for field in fixed {
        let value = now.get(*field);
        let same = |before: &Value| Some(before) == value || before.as_f64().is_some() && before.as_f64() == value.and_then(Value::as_f64);
        // As it was asked for, or as the server understood it.
        let before = model.parameters.iter().find(|p| p["name"] == *field);
        if before.is_some_and(|p| !same(&p["actual_value"]) && !same(&p["input_value"])) {
            notes.error(&format!("_{field}"), format!("Field _{field} cannot be modified if checkpoint is specified!"));
        }
    }
    if let Some(n) = now.get("ntrees").and_then(Value::as_u64).filter(|n| *n as usize <= model.scorer.rounds()) {
        let least = model.scorer.rounds() + 1;
        notes.error("_ntrees", format!("If checkpoint is specified then requested ntrees must be higher than {least}, but is {n}"));
    }
    if model.response != train.response {
        return Err(Error::invalid("Response type must be the same as for the checkpointed model."));
    }
    // A model may keep its predictors in another order than the frame has them.
    let by_name = |mut p: Vec<Predictor>| {
        p.sort_by(|a, b| a.name.cmp(&b.name));
        p
    };
    if by_name(model.predictors.clone()) != by_name(train.predictors()) {
        return Err(Error::invalid("The columns of the training data must be the same as for the checkpointed model"));
    }
    Ok(())
}

/// A frame that a builder names and the store does not hold is answered as a wrong argument.
fn missing_key(e: Error, key: &str) -> Error {
    match e {
        Error::KeyNotFound { .. } => Error::invalid(format!("Object with key='{key}' doesn't exist in DKV.")),
        e => e,
    }
}

/// Codes 0 and 1 of a numeric two-valued column, with its domain.
fn as_classes(node: &Node, column: &Column) -> Result<Option<Column>> {
    let r = column.rollup()?;
    let (a, b) = (r.min, r.max);
    if !r.whole || a == b || r.rows == r.missing {
        return Ok(None);
    }
    let team = Team::for_rows(column.rows());
    let other = column.team_f64(&team)?.iter().any(|v| !v.is_nan() && *v != a && *v != b);
    if team.gather(other)?.contains(&true) {
        return Ok(None);
    }
    let domain = Arc::new(vec![ochre_core::number_text(a), ochre_core::number_text(b)]);
    let code = |v: &f64| if v.is_nan() { *v } else { f64::from(*v == b) };
    Ok(Some(Column::map_chunks(&node.ledger, Kind::Enum(domain), &[column], |v| v[0].iter().map(code).collect())?))
}

fn prepare<A: Algorithm>(node: &Node, params: &A::Params, frame: &Frame, notes: &mut Notes) -> Result<Option<Training>> {
    let common = A::common(params);
    let rows = frame.rows();
    let mut used: Vec<String> = vec![];
    let mut named = |field: &str, name: &Option<String>, notes: &mut Notes| -> Option<Column> {
        let name = name.as_deref().filter(|n| !n.is_empty())?;
        used.push(name.to_string());
        let found = frame.by_name(name).cloned();
        if found.is_none() {
            let what = field.trim_end_matches("_column");
            let heading = format!("{}{}", what[..1].to_uppercase(), &what[1..]);
            notes.error(&format!("_{field}"), format!("{heading} column '{name}' not found in the training frame"));
        }
        found
    };
    let weights = named("weights_column", &common.weights_column, notes);
    let offset = named("offset_column", &common.offset_column, notes);
    if let Some(c) = named("fold_column", &common.fold_column, notes) {
        let (name, r) = (common.fold_column.as_deref().unwrap_or_default(), c.rollup()?);
        if !c.is_enum() && !(c.is_number() && r.whole) {
            notes.error("_fold_column", format!("Invalid fold column '{name}', fold must be integer or categorical"));
        }
        if r.min == r.max {
            notes.error("_fold_column", format!("Invalid fold column '{name}', fold cannot be constant"));
        }
    }
    let mut response = None;
    if A::INFO.supervised {
        match named("response_column", &common.response_column, notes) {
            Some(c) => response = Some((common.response_column.clone().unwrap_or_default(), c)),
            None if common.response_column.as_deref().is_none_or(str::is_empty) => {
                notes.error("_response_column", "Response column parameter not set.")
            }
            None => {}
        }
    }
    // Columns that only this algorithm asks for.
    let mut given = ochre_schema::Map::new();
    params.put(&mut given);
    const OF_ALL: [&str; 5] = ["weights_column", "offset_column", "fold_column", "response_column", "ignored_columns"];
    for f in A::Params::fields().iter().filter(|f| f.member_of.contains(&"training_frame") && !OF_ALL.contains(&f.name)) {
        let absent = |v: &Value| v.as_str().filter(|n| !n.is_empty() && frame.by_name(n).is_none()).map(str::to_string);
        let Some(name) = given.get(f.name).and_then(absent) else { continue };
        let what = match f.name {
            "treatment_column" => format!("Treatment column '{name}'"),
            field => format!("{field} {name}"),
        };
        notes.error(&format!("_{}", f.name), format!("{what} not found in the training frame"));
    }
    for (field, c) in [("_weights_column", &weights), ("_offset_column", &offset)] {
        if c.as_ref().is_some_and(|c| !c.is_number()) {
            notes.error(field, "the column must be numeric");
        }
    }
    let ignored = common.ignored_columns.clone().unwrap_or_default();
    for name in ignored.iter().filter(|n| frame.find(n).is_none()) {
        notes.error("_ignored_columns", format!("column '{name}' is not in the training frame"));
    }
    let wanted = A::named_predictors(params);
    let (mut names, mut columns, mut dropped) = (vec![], vec![], vec![]);
    for (name, column) in frame.names().iter().zip(frame.columns()) {
        if used.contains(name) || (ignored.contains(name) && !wanted.contains(name)) {
            continue;
        }
        let unusable = matches!(column.kind, Kind::Text | Kind::Uuid) || column.rollup()?.missing == rows;
        if unusable || (common.ignore_const_cols && column.rollup()?.is_constant()) {
            dropped.push(name.clone());
            continue;
        }
        names.push(name.clone());
        columns.push(column.clone());
    }
    if !dropped.is_empty() {
        notes.warn("_train", format!("Dropping bad and constant columns: [{}]", dropped.join(", ")));
    }
    if columns.is_empty() {
        notes.error("_train", "There are no usable columns to generate model");
    }
    if rows == 0 {
        notes.error("_train", "the training frame has no rows");
    }
    let mut category = if A::INFO.supervised { Category::Regression } else { A::INFO.categories[0] };
    let (mut y, mut predictor) = (vec![], None);
    if let Some((name, mut column)) = response {
        if matches!(column.kind, Kind::Text | Kind::Uuid | Kind::Time) && A::INFO.supervised {
            notes.error("_response_column", format!("the response '{name}' must be numeric or categorical"));
            return Ok(None);
        }
        if A::wants_classes(params) == Some(true)
            && !column.is_enum()
            && let Some(c) = as_classes(node, &column)?
        {
            column = c;
        }
        if A::SIGNS_AS_CLASSES && !column.is_enum() {
            match as_classes(node, &column)? {
                Some(c) if c.domain().is_some_and(|d| d[..] == ["-1", "1"]) => {
                    let signs = Arc::new(vec!["-1".to_string(), "+1".to_string()]);
                    column = Column::map_chunks(&node.ledger, Kind::Enum(signs), &[&c], |v| v[0].to_vec())?;
                }
                _ => notes.error(
                    "_response",
                    format!("the response '{name}' must be categorical with two levels, or have the values -1 and 1 only"),
                ),
            }
        }
        let r = column.rollup()?;
        if r.missing == rows {
            notes.error("_response_column", format!("Response cannot be constant: every value of '{name}' is missing"));
            return Ok(None);
        }
        if common_checks_constant(params) && r.is_constant() {
            notes.error("_response", "Response cannot be constant.");
        }
        category = match column.domain().map(|d| d.len()) {
            None => Category::Regression,
            Some(0..=2) if A::CLASSES_AS_NUMBERS => Category::Regression,
            Some(0..=2) => Category::Binomial,
            Some(_) => Category::Multinomial,
        };
        category = A::category(params, category);
        y = column.to_f64()?;
        predictor = Some(Predictor { name, domain: column.domain().cloned(), encoding: None });
    } else if A::INFO.supervised {
        return Ok(None);
    }
    if notes.has_errors() && columns.is_empty() {
        return Ok(None);
    }
    let mut w = weights.filter(Column::is_number).map(|c| c.to_f64()).transpose()?;
    if let Some(w) = &w
        && let Some(bad) = w.iter().find(|v| **v < 0.0)
    {
        notes.error("_weights_column", format!("weights must be zero or positive, but one is {bad}"));
    }
    let weighted = w.is_some();
    let nominal_weight = w.as_ref().map_or(rows as f64, |w| w.iter().filter(|v| !v.is_nan()).sum());
    // A row without a response takes no part.
    if y.iter().any(|v| v.is_nan()) || w.as_ref().is_some_and(|w| w.iter().any(|v| v.is_nan())) {
        let w = w.get_or_insert_with(|| vec![1.0; rows]);
        for (i, slot) in w.iter_mut().enumerate() {
            if slot.is_nan() || y.get(i).is_some_and(|v| v.is_nan()) {
                *slot = 0.0;
            }
        }
        for v in y.iter_mut().filter(|v| v.is_nan()) {
            *v = 0.0;
        }
    }
    let offset = offset.filter(Column::is_number).map(|c| c.to_f64()).transpose()?;
    if offset.as_ref().is_some_and(|o| o.iter().any(|v| v.is_nan())) {
        notes.error("_offset_column", "the offset column has missing values; fill or drop them");
    }
    let (mut encodings, mut original_names) = (vec![], vec![]);
    if crate::encoding::makes_columns(common.categorical_encoding) {
        let most = common.max_categorical_levels.max(1) as usize;
        let weight = |r: usize| w.as_ref().map_or(1.0, |w| w[r]);
        original_names = names.clone();
        let made = crate::encoding::encode(&node.ledger, common.categorical_encoding, most, names, columns, &weight)?;
        (names, columns, encodings) = (made.names, made.columns, made.encodings);
    }
    Ok(Some(Training {
        names,
        columns,
        encodings,
        original_names,
        rows,
        response: predictor,
        y,
        w,
        offset,
        category,
        weighted,
        nominal_weight,
    }))
}

/// `check_constant_response`, for the algorithms that offer it.
fn common_checks_constant<P: Schema>(params: &P) -> bool {
    let mut map = ochre_schema::Map::new();
    params.put(&mut map);
    map.get("check_constant_response").and_then(Value::as_bool).unwrap_or(true)
}

fn validation(frame: &Frame, key: &str, train: &Training, common: &CommonParams, job: &Job) -> Result<Validation> {
    let data = adapt::adapt(frame, &train.predictors())?;
    for w in &data.warnings {
        job.warn(w.clone());
    }
    let (y, w) = answers(frame, train.response.as_ref(), common.weights_column.as_deref())?;
    let offset = column_values(frame, common.offset_column.as_deref())?;
    Ok(Validation { data, y, w, offset, key: key.into(), checksum: frame.checksum()? })
}

fn column_values(frame: &Frame, name: Option<&str>) -> Result<Option<Vec<f64>>> {
    let Some(name) = name.filter(|n| !n.is_empty()) else { return Ok(None) };
    let column = frame
        .by_name(name)
        .ok_or_else(|| Error::invalid(format!("Test/Validation dataset is missing column '{name}', which the model needs")))?;
    Ok(Some(column.to_f64()?))
}

/// Response (as codes of the training domain) and weights of a frame.
/// The response of a frame in the model's terms, and its weights.
pub fn answers(frame: &Frame, response: Option<&Predictor>, weights: Option<&str>) -> Result<(Vec<f64>, Option<Vec<f64>>)> {
    let Some(response) = response else { return Ok((vec![], None)) };
    if frame.by_name(&response.name).is_none() {
        return Err(Error::invalid(format!("Test/Validation dataset is missing response column '{}'", response.name)));
    }
    let y = match adapt::source(frame, response, &mut vec![])? {
        Source::Absent => vec![f64::NAN; frame.rows()],
        s => s.all(frame.rows())?,
    };
    let w = match weights.and_then(|n| frame.by_name(n)) {
        Some(c) => Some(c.to_f64()?),
        None => None,
    };
    Ok((y, w))
}

/// What training made, before it becomes visible.
struct Made {
    models: Vec<Model>,
    frames: Vec<(String, Frame)>,
}

impl Made {
    fn publish(mut self, node: &Node) -> Result<()> {
        // All or none: what does not fit is told before anything is there.
        self.models.iter_mut().try_for_each(|m| m.hold(node))?;
        for (key, frame) in self.frames {
            node.store.put(&key, frame)?;
        }
        for model in self.models {
            let key = model.key.clone();
            node.store.put(&key, model)?;
        }
        Ok(())
    }
}

/// Trains a model, after the models of its folds when cross-validation is asked for.
#[expect(clippy::too_many_arguments, reason = "one call; a struct would repeat the list")]
fn build<A: Algorithm>(
    node: &Arc<Node>,
    job: &Arc<Job>,
    key: &str,
    mut params: A::Params,
    input: &A::Params,
    frame: &Frame,
    frame_key: &FrameKey,
    train: Training,
    valid: Option<Validation>,
) -> Result<Made> {
    let common = A::common(&params).clone();
    // Builders without a seed draw the same folds every time.
    let seed = A::seed_mut(&mut params).map_or(0, |s| *s);
    let fold_column = common.fold_column.as_deref().and_then(|n| frame.by_name(n));
    let checksum = frame.checksum()?;
    let about = |key: String, train_key: &FrameKey| Identity {
        key,
        frame_key: train_key.clone(),
        frame_checksum: checksum,
        priors: vec![],
        of_fold: false,
    };
    let Some(folds) = folds::assign(&common, seed, &train, fold_column)? else {
        let model = train_model::<A>(node, job, about(key.into(), frame_key), params, input, train, valid)?;
        return Ok(Made { models: vec![model], frames: vec![] });
    };
    if A::common(&params).fold_assignment == FoldAssignment::Auto && fold_column.is_none() {
        A::common_mut(&mut params).fold_assignment = FoldAssignment::Random;
    }
    let name = |k: usize| format!("{key}_cv_{}", k + 1);
    let train_copy = train.clone();
    let started_ms = now_ms();
    let mut plan = Run {
        params,
        train: train_copy,
        valid: None,
        job,
        node,
        started_ms,
        of_fold: false,
        checkpoint: None,
        belongings: vec![],
        about: None::<(Identity, &A::Params)>,
    };
    A::plan_folds(&mut plan)?;
    let mut params = plan.params;
    let one_fold = |params: &A::Params, k: usize, job: &Arc<Job>| {
        let part = folds::part(node, &train, &folds, k)?;
        let mut params = params.clone();
        let c = A::common_mut(&mut params);
        (c.model_id, c.nfolds, c.fold_column, c.validation_frame) = (Some(ModelKey(name(k))), 0, None, None);
        let about = Identity { of_fold: true, ..about(name(k), &FrameKey(format!("{}_train", name(k)))) };
        let offset = part.valid.offset.clone();
        let model = train_model::<A>(node, job, about, params, input, part.train, Some(part.valid))?;
        let data = adapt::adapt_encoded(&part.held_out, &model.predictors)?;
        let predictions = adapt::score(&model.scorer, &data, offset.as_deref())?;
        Ok(folds::FoldResult { model, rows: part.rows, predictions })
    };
    let side_by_side = common.parallelize_cross_validation;
    let mut results = folds::train_all(job, &folds, train.rows, side_by_side, |k, job| one_fold(&params, k, job))?;
    if let Some(chosen) = A::learn_from_folds(&mut params, &results.iter().map(|r| &r.model).collect::<Vec<_>>()) {
        let again = Job::part(job, 0.0);
        results = folds::train_all(&again, &folds, train.rows, side_by_side, |k, job| one_fold(&chosen, k, job))?;
    }
    let mut metrics = folds::pooled_metrics(&results, &train)?;
    let summary = folds::summary(&results);
    let rows = train.rows;
    let last = Job::part(job, 1.0 / (folds.count + 1) as f64);
    let mut main = train_model::<A>(node, &last, about(key.into(), frame_key), params, input, train, valid)?;
    metrics.model = key.into();
    metrics.model_checksum = main.checksum();
    metrics.frame = Some(frame_key.0.clone());
    metrics.frame_checksum = checksum;
    main.output["cross_validation_metrics"] = metrics.json(Value::Null);
    main.output["cross_validation_metrics_summary"] = summary.to_json();
    main.metrics.write().push(Arc::new(metrics));
    let mut made = Made { models: vec![], frames: vec![] };
    if common.keep_cross_validation_predictions {
        let mut keys = vec![];
        for (k, r) in results.iter().enumerate() {
            let key = format!("prediction_{}", name(k));
            made.frames.push((key.clone(), folds::prediction_frame(node, &[r], rows)?));
            keys.push(FrameKey(key));
        }
        let all = format!("cv_holdout_prediction_{key}");
        made.frames.push((all.clone(), folds::prediction_frame(node, &results.iter().collect::<Vec<_>>(), rows)?));
        main.output["cross_validation_predictions"] = keys.to_json();
        main.output["cross_validation_holdout_predictions_frame_id"] = FrameKey(all).to_json();
    }
    if common.keep_cross_validation_fold_assignment {
        let key = format!("cv_fold_assignment_{key}");
        made.frames.push((key.clone(), folds::assignment_frame(node, &folds, fold_column)?));
        main.output["cross_validation_fold_assignment_frame_id"] = FrameKey(key).to_json();
    }
    let histories: Vec<Value> = results.iter().map(|r| r.model.output["scoring_history"].clone()).filter(|h| !h.is_null()).collect();
    if !histories.is_empty() {
        main.output["cv_scoring_history"] = Value::Array(histories);
    }
    if common.keep_cross_validation_models {
        let keys: Vec<ModelKey> = results.iter().map(|r| ModelKey(r.model.key.clone())).collect();
        main.output["cross_validation_models"] = keys.to_json();
        made.models.extend(results.into_iter().map(|r| r.model));
    }
    let frames = std::mem::take(&mut main.belongings).into_iter();
    main.belongings = frames.chain(made.frames.iter().map(|f| f.0.clone())).chain(made.models.iter().map(|m| m.key.clone())).collect();
    made.models.push(main);
    Ok(made)
}

/// Names that a model goes by.
struct Identity {
    key: String,
    frame_key: FrameKey,
    frame_checksum: i64,
    /// Shares of the classes in the data, before a fit weighs them otherwise.
    priors: Vec<f64>,
    of_fold: bool,
}

/// Fits, and makes a model of it.
fn train_model<A: Algorithm>(
    node: &Arc<Node>,
    job: &Arc<Job>,
    about: Identity,
    params: A::Params,
    input: &A::Params,
    train: Training,
    valid: Option<Validation>,
) -> Result<Model> {
    let started_ms = now_ms();
    let checkpoint = match A::common(&params).checkpoint.as_ref().filter(|k| !k.0.is_empty()) {
        Some(k) => Some(node.store.get::<Model>(k.text())?),
        None => None,
    };
    let key = about.key.clone();
    let about = Identity { priors: class_shares(&train), ..about };
    let mut run = Run {
        params,
        train,
        valid,
        job,
        node,
        started_ms,
        of_fold: about.of_fold,
        checkpoint,
        belongings: vec![],
        about: Some((about, input)),
    };
    let fitted = A::fit(&mut run)?;
    assemble::<A>(&run, key, fitted)
}

/// A model of what was fitted, with all that is told of it.
fn assemble<A: Algorithm>(run: &Run<'_, A::Params>, key: String, fitted: Fitted<A::Output>) -> Result<Model> {
    let (identity, input) = run.about.as_ref().ok_or_else(|| Error::Internal("a part of a model is no model".into()))?;
    let (frame_key, frame_checksum) = (&identity.frame_key, identity.frame_checksum);
    let common = A::common(&run.params);
    let order = fitted.order.unwrap_or_else(|| (0..run.train.columns.len()).collect());
    let all = run.train.predictors();
    let predictors: Vec<Predictor> = order.iter().map(|&i| all[i].clone()).collect();
    let (mut training, mut valid_metrics) = (fitted.training, fitted.validation);
    if let (Scorer::KMeans(km), None, Some(v)) = (&fitted.scorer, &valid_metrics, &run.valid) {
        valid_metrics = Some(cluster_metrics(km, &v.data, None)?);
    }
    let mut output = fitted.output;
    // A room that knows better has said so.
    let threshold = match A::output_common(&mut output).default_threshold {
        t if t > 0.0 => t,
        _ => A::threshold(valid_metrics.as_ref().unwrap_or(&training)),
    };
    let shown: Vec<&Predictor> = predictors.iter().chain(run.train.response.as_ref()).collect();
    let out = A::output_common(&mut output);
    out.names = Some(shown.iter().map(|p| p.name.clone()).collect());
    if predictors.iter().any(|p| p.encoding.is_some()) {
        out.original_names = Some(run.train.original_names.iter().chain(run.train.response.as_ref().map(|r| &r.name)).cloned().collect());
    }
    out.column_types = Some(shown.iter().map(|p| if p.domain.is_some() { "Enum" } else { "Numeric" }.to_string()).collect());
    out.domains = Some(shown.iter().map(|p| p.domain.as_ref().map(|d| d.to_vec())).collect());
    out.model_category = Some(run.train.category.name().into());
    out.start_time = run.started_ms;
    out.end_time = now_ms();
    out.run_time = out.end_time - run.started_ms;
    out.default_threshold = threshold;
    let mut help = ochre_schema::Map::new();
    for f in A::Output::fields() {
        help.insert(f.name.into(), Value::String(f.help.into()));
    }
    out.help = Value::Object(help);
    let belongings = run.belongings.iter().cloned().chain(std::mem::take(&mut out.belongings)).collect();
    let mut effective = std::mem::take(&mut out.effective);
    if common.nfolds == 0 && common.fold_column.is_none() {
        effective.insert(0, ("fold_assignment", Value::Null));
    }
    let mut parameters = parameter_list(&run.params, Some(input));
    for (name, value) in effective {
        parameters.iter_mut().filter(|p| p["name"] == name).for_each(|p| p["actual_value"] = value.clone());
    }
    let model = Model {
        info: const { &A::INFO },
        category: run.train.category,
        training_frame: Some(frame_key.0.clone()),
        predictors,
        response: run.train.response.clone(),
        weights_column: common.weights_column.clone(),
        offset_column: common.offset_column.clone(),
        priors: identity.priors.clone(),
        threshold,
        deviance: fitted.deviance,
        detail: Detail { custom: common.scripts.metric.as_ref().map(ochre_script::Script::unwatched), ..A::detail(&run.params) },
        scorer: fitted.scorer,
        parameters,
        output: ochre_schema::object(&output),
        timestamp_ms: now_ms(),
        metrics: RwLock::new(vec![]),
        belongings,
        held: None,
        key,
    };
    let sum = model.checksum();
    training.frame = Some(frame_key.0.clone());
    training.frame_checksum = frame_checksum;
    for m in std::iter::once(&mut training).chain(valid_metrics.as_mut()) {
        m.model = model.key.clone();
        m.model_checksum = sum;
    }
    if let (Some(m), Some(v)) = (valid_metrics.as_mut(), &run.valid) {
        // Held-out rows of a fold are no frame of their own.
        m.frame = (!v.key.is_empty()).then(|| v.key.clone());
        m.frame_checksum = v.checksum;
        m.description = Some("Validation metrics".into());
    }
    *model.metrics.write() = std::iter::once(training).chain(valid_metrics).map(Arc::new).collect();
    let mut output = model.output.clone();
    {
        let metrics = model.metrics.read();
        if A::wants_training_metrics(&run.params) {
            output["training_metrics"] = metrics[0].json(Value::Null);
        }
        output["validation_metrics"] = metrics.get(1).map_or(Value::Null, |m| m.json(Value::Null));
    }
    if let Some(Value::Array(mut tables)) = run.node.about.get().map(|about| about()) {
        tables.push(input_frames(run.node, &model, frame_checksum, run.valid.as_ref().filter(|v| !v.key.is_empty()))?.to_json());
        output["reproducibility_information_table"] = Value::Array(tables);
    }
    Ok(Model { output, ..model })
}

/// What a model was trained on, by fingerprint and first row of each chunk.
fn input_frames(node: &Node, model: &Model, training: i64, valid: Option<&Validation>) -> Result<Table> {
    let chunks = |rows: usize| {
        let starts = (0..rows).step_by(ochre_core::CHUNK_ROWS).chain([rows]).map(|r| r.to_string()).collect::<Vec<_>>();
        Cell::Text(format!("[{}]", starts.join(", ")))
    };
    let absent = || (Cell::Long(-1), Cell::from("-1"));
    let rows_of = |key: &str| node.store.frame(key).ok().map(|f| f.rows());
    let train = rows_of(model.training_frame.as_deref().unwrap_or_default());
    let calibration = model.parameters.iter().find(|p| p["name"] == "calibration_frame").and_then(|p| p["actual_value"]["name"].as_str());
    let calibration =
        calibration.and_then(|key| node.store.frame(key).ok()).map(|f| Ok::<_, Error>((f.checksum()?, f.rows()))).transpose()?;
    let given = [train.map(|rows| (training, rows)), valid.and_then(|v| Some((v.checksum, rows_of(&v.key)?))), calibration];
    let (sums, starts) = given.into_iter().map(|g| g.map_or_else(absent, |(sum, rows)| (Cell::Long(sum), chunks(rows)))).unzip();
    let names = ["training_frame", "validation_frame", "calibration_frame"].map(Cell::from).to_vec();
    Ok(Table::new("Input Frames Information", "")
        .row_labels(vec![Cell::Text(String::new()); 3])
        .column("Input Frame", "string", "%s", names)
        .column("Checksum", "long", "%d", sums)
        .column("ESPC", "string", "%d", starts))
}

fn class_shares(train: &Training) -> Vec<f64> {
    let k = train.classes();
    let mut shares = vec![0.0; if train.response.is_some() { k } else { 0 }];
    if k > 1 {
        match train.w {
            // Whole numbers, in any order.
            None => {
                let counts = |rows: &[f64]| {
                    let mut counts = vec![0u64; k];
                    rows.iter().for_each(|y| counts[*y as usize] += 1);
                    counts
                };
                let parts: Vec<Vec<u64>> = train.y.par_chunks(ochre_core::CHUNK_ROWS).map(counts).collect();
                parts.iter().for_each(|p| shares.iter_mut().zip(p).for_each(|(s, n)| *s += *n as f64));
            }
            Some(_) => train.y.iter().enumerate().for_each(|(i, y)| shares[*y as usize] += train.weight(i)),
        }
        let total: f64 = shares.iter().sum();
        shares.iter_mut().for_each(|s| *s /= total);
    }
    shares
}

/// Metrics of predictions of all rows against known answers, by category.
pub fn measure(
    category: Category,
    preds: &[f64],
    y: &[f64],
    w: Option<&[f64]>,
    domain: &[String],
    deviance: Deviance,
    detail: Detail,
) -> Result<Metrics> {
    let script = detail.custom.clone();
    let mut m = match category {
        Category::AnomalyDetection => metrics::anomalies(preds),
        _ => measure_scores(category, Scores::all(preds, width(category, domain)), Answers { y, w, domain, deviance, detail })?,
    };
    if let Some(script) = script {
        let width = preds.len() / y.len().max(1);
        m.custom = Some(metrics::custom(&script, y.len(), |r| custom_row(&preds[r * width..][..width], y[r], w.map_or(1.0, |w| w[r])))?);
    }
    Ok(m)
}

/// Predictions of a row.
fn width(category: Category, domain: &[String]) -> usize {
    match category {
        Category::Binomial => 2,
        Category::Multinomial | Category::Ordinal => domain.len(),
        _ => 1,
    }
}

/// What predictions are measured against: answers and weights of all rows, the classes, and how.
pub struct Answers<'a> {
    pub y: &'a [f64],
    pub w: Option<&'a [f64]>,
    pub domain: &'a [String],
    pub deviance: Deviance,
    pub detail: Detail,
}

fn measure_scores(category: Category, scores: Scores<'_>, answers: Answers<'_>) -> Result<Metrics> {
    let Answers { y, w, domain, deviance, detail } = answers;
    match category {
        Category::Regression | Category::Clustering | Category::CoxPh => metrics::regression(scores, y, w, deviance),
        Category::Binomial => metrics::binomial(scores.column(1), y, w, domain, detail),
        Category::Multinomial | Category::Ordinal => {
            // Of equally probable classes one is drawn, the same for all rows, since their values are not known here.
            let mut shares = vec![0.0; domain.len()];
            let known = (0..y.len()).filter(|&i| !y[i].is_nan());
            known.for_each(|i| shares[y[i] as usize] += w.map_or(1.0, |w| w[i]));
            metrics::multinomial(scores.with_shares(&shares), y, w, domain, detail)
        }
        Category::AnomalyDetection => Err(Error::Internal("anomalies have no answers".into())),
        Category::BinomialUplift => Err(Error::Internal("uplift is measured with its treatments".into())),
    }
}

/// Metrics of predictions of which each member of a team has those of its own rows.
pub fn measure_shared(team: &Team, category: Category, mine: Vec<f64>, answers: Answers<'_>) -> Result<Metrics> {
    if answers.detail.custom.is_some() {
        // What a user wrote reads all rows.
        let Answers { y, w, domain, deviance, detail } = answers;
        return measure(category, &team.concat(mine)?, y, w, domain, deviance, detail);
    }
    let scores = Scores::own(team, answers.y.len(), &mine, width(category, answers.domain));
    measure_scores(category, scores, answers)
}

/// A row as a metric that the user wrote sees it: classes have their label before their probabilities. Rows without an
/// answer, a prediction or a weight are left out.
fn custom_row(p: &[f64], y: f64, weight: f64) -> Option<ochre_script::MetricRow> {
    let known = !y.is_nan() && weight > 0.0 && !p.iter().any(|v| v.is_nan());
    let label = match p.len() {
        1 => None,
        2 => Some(f64::from(p[1] >= 0.5)),
        _ => Some(metrics::argmax(p) as f64),
    };
    let predictions = label.into_iter().chain(p.iter().copied()).collect();
    known.then_some(ochre_script::MetricRow { predictions, actual: vec![y], weight, offset: 0.0 })
}

impl Model {
    /// Refuses to predict where the model lists other models and predicts nothing itself.
    fn speaks(&self) -> Result<()> {
        match &self.scorer {
            Scorer::Silent => Err(Error::invalid(format!(
                "model '{}' ({}) predicts nothing itself; score one of the models that it names",
                self.key, self.info.full_name
            ))),
            _ => Ok(()),
        }
    }

    /// The model as `/3/Models` shows it.
    pub fn json(&self) -> Value {
        let s = ModelSchema {
            parameters: Value::Array(self.parameters.clone()),
            output: self.output.clone(),
            model_id: Some(ModelKey(self.key.clone())),
            algo: Some(self.info.name.into()),
            algo_full_name: Some(self.info.full_name.into()),
            response_column_name: self.response.as_ref().map(|r| r.name.clone()),
            treatment_column_name: self.treatment_column().map(str::to_string),
            data_frame: self.training_frame.clone().map(FrameKey),
            timestamp: self.timestamp_ms,
            checksum: self.checksum(),
            have_mojo: self.scorer.has_mojo() && self.is_portable(),
            have_pojo: ochre_score::pojo::is_possible(&self.scorer) && self.is_portable(),
            ..ModelSchema::default()
        };
        renamed(s.to_json(), self.info.model_schema, self.info.model_type)
    }

    /// Draws a class for each row that has several most probable ones.
    fn break_ties(&self, data: &adapt::Adapted, preds: &[f64], labels: &mut [f64]) -> Result<()> {
        let width = self.scorer.width();
        let at = |r: usize| &preds[r * width..][..width];
        let has_tie = |r: &usize| !labels[*r].is_nan() && at(*r).iter().filter(|v| **v == at(*r)[labels[*r] as usize]).count() > 1;
        let tied: Vec<usize> = (0..labels.len()).into_par_iter().filter(has_tie).collect();
        if tied.is_empty() {
            return Ok(());
        }
        let columns = data.sources.iter().map(|s| s.all(data.rows)).collect::<Result<Vec<_>>>()?;
        for r in tied {
            let seed = || ochre_score::ties::seed(columns.iter().map(|c| c[r]));
            labels[r] = ochre_score::ties::most_probable(at(r), &self.priors, seed) as f64;
        }
        Ok(())
    }

    /// Predictions for a frame: label and class probabilities, a number, or a cluster.
    pub fn predict(&self, node: &Node, frame: &Frame, warn: &mut dyn FnMut(String)) -> Result<Frame> {
        self.speaks()?;
        let data = adapt::adapt(frame, &self.predictors)?;
        for w in &data.warnings {
            warn(w.clone());
        }
        let offset = column_values(frame, self.offset_column.as_deref())?;
        let _room = node.ledger.reserve("predictions", (data.rows * self.scorer.width() * 16) as u64)?;
        node.runner.install(|| {
            let preds = adapt::score(&self.scorer, &data, offset.as_deref())?;
            let classes = self.classes();
            let errors = match &self.scorer {
                Scorer::Glm(g) if !g.covariance.is_empty() => Some(Column::from_f64(&node.ledger, &adapt::std_errors(g, &data)?)?),
                _ => None,
            };
            if self.category == Category::BinomialUplift {
                let column = |k: usize| Column::from_f64(&node.ledger, &preds.chunks(3).map(|p| p[k]).collect::<Vec<_>>());
                let names = ["uplift_predict", "p_y1_with_treatment", "p_y1_without_treatment"];
                return Frame::new(names.map(String::from).to_vec(), vec![column(0)?, column(1)?, column(2)?]);
            }
            if self.category == Category::AnomalyDetection {
                return self.anomaly_frame(node, &preds);
            }
            if classes.is_empty() {
                let label = if self.category == Category::CoxPh { "lp" } else { "predict" };
                let names = std::iter::once(label.to_string()).chain(errors.is_some().then(|| "StdErr".into()));
                let columns = std::iter::once(Column::from_f64(&node.ledger, &preds)?).chain(errors);
                return Frame::new(names.collect(), columns.collect());
            }
            let width = self.scorer.width();
            let mut labels: Vec<f64> = preds.par_chunks(width).map(|p| self.label(p)).collect();
            if width > 2 {
                self.break_ties(&data, &preds, &mut labels)?;
            }
            let domain = self.response.as_ref().and_then(|r| r.domain.clone()).unwrap_or_default();
            let mut names = vec!["predict".to_string()];
            let mut columns = vec![Column::numeric(&node.ledger, Kind::Enum(domain), &labels)?];
            for (c, name) in self.probability_names().into_iter().enumerate() {
                let p: Vec<f64> = preds.par_chunks(width).map(|p| p[c]).collect();
                names.push(name);
                columns.push(Column::from_f64(&node.ledger, &p)?);
            }
            if let Scorer::Trees(trees) = &self.scorer
                && let Some(calibration) = &trees.calibration
            {
                let p: Vec<f64> = preds.par_chunks(width).map(|p| calibration.second(p)).collect();
                let labels = self.probability_names();
                for (label, values) in [(&labels[0], p.iter().map(|p| 1.0 - p).collect()), (&labels[1], p)] {
                    names.push(format!("cal_{label}"));
                    columns.push(Column::from_f64(&node.ledger, &values)?);
                }
            }
            if let Some(errors) = errors {
                names.push("StdErr".into());
                columns.push(errors);
            }
            Frame::new(names, columns)
        })
    }

    /// How well a proportional hazards model orders the lifetimes of a frame.
    fn concordance(&self, frame: &Frame, data: &adapt::Adapted, cox: &ochre_score::CoxScorer, lp: &[f64], y: &[f64]) -> Result<Metrics> {
        let column = |parameter: &str| -> Result<Option<Vec<f64>>> {
            let given = self.parameters.iter().find(|p| p["name"] == parameter).map(|p| &p["actual_value"]);
            let Some(name) = given.and_then(|v| v["column_name"].as_str().or(v.as_str())) else { return Ok(None) };
            let found = frame.by_name(name).ok_or_else(|| Error::invalid(format!("the frame lacks the column '{name}' ({parameter})")))?;
            found.to_f64().map(Some)
        };
        let (start, stop) = (column("start_column")?, column("stop_column")?.unwrap_or_default());
        let first = data.sources.len() - cox.strata_columns;
        let codes = data.sources[first..].iter().map(|s| s.all(data.rows)).collect::<Result<Vec<_>>>()?;
        let stratum = |r: usize| cox.strata.iter().position(|s| s.0.iter().zip(&codes).all(|(a, c)| *a == c[r])).map_or(-1.0, |k| k as f64);
        let stratum: Vec<f64> = (0..data.rows).map(stratum).collect();
        let event: Vec<bool> = y.iter().map(|y| *y > 0.0).collect();
        Ok(metrics::survival(lp, &metrics::Lifetimes { start: start.as_deref(), stop: &stop, event: &event, stratum: &stratum }))
    }

    /// The column that tells who was treated.
    pub fn treatment_column(&self) -> Option<&str> {
        self.actual("treatment_column")?.as_str()
    }

    fn actual(&self, parameter: &str) -> Option<&Value> {
        self.parameters.iter().find(|p| p["name"] == parameter).map(|p| &p["actual_value"])
    }

    /// Metrics of uplift on a frame that has response and treatment, by a curve and at thresholds of the caller's choice.
    pub fn evaluate_uplift(
        &self,
        node: &Node,
        frame_key: &str,
        frame: &Frame,
        kind: Option<usize>,
        thresholds: Option<Vec<f64>>,
    ) -> Result<Metrics> {
        let data = adapt::adapt(frame, &self.predictors)?;
        let (y, _) = answers(frame, self.response.as_ref(), None)?;
        let preds = node.runner.install(|| adapt::score(&self.scorer, &data, None))?;
        let mut m = self.measure_uplift(frame, &preds, &y, kind, thresholds)?;
        (m.model, m.model_checksum) = (self.key.clone(), self.checksum());
        (m.frame, m.frame_checksum) = (Some(frame_key.into()), frame.checksum()?);
        Ok(m)
    }

    fn measure_uplift(
        &self,
        frame: &Frame,
        preds: &[f64],
        y: &[f64],
        kind: Option<usize>,
        thresholds: Option<Vec<f64>>,
    ) -> Result<Metrics> {
        let name = self.treatment_column().unwrap_or_default();
        let levels = frame.by_name(name).and_then(|c| c.domain().cloned());
        let wanted = Predictor { name: name.into(), domain: levels, encoding: None };
        let treated = match adapt::source(frame, &wanted, &mut vec![])? {
            Source::Absent => {
                return Err(Error::invalid(format!(
                    "the frame lacks the treatment column '{name}', without which uplift cannot be measured"
                )));
            }
            s => s.all(frame.rows())?,
        };
        let p: Vec<f64> = preds.chunks(3).map(|p| p[0]).collect();
        let known = |field: &str| self.output[field].as_array().map(|v| v.iter().filter_map(Value::as_f64).collect::<Vec<_>>());
        let kind = kind.unwrap_or_else(|| crate::uplift::kind_of(self.actual("auuc_type").and_then(Value::as_str).unwrap_or_default()));
        let thresholds = thresholds
            .or_else(|| known("default_auuc_thresholds"))
            .filter(|t| !t.is_empty())
            .unwrap_or_else(|| crate::uplift::thresholds(&p, -1));
        let mut m = metrics::uplift_metrics(crate::uplift::Uplift::new(&p, &treated, y, thresholds, kind, self.classes()));
        if let Some(script) = &self.detail.custom {
            m.custom = Some(metrics::custom_uplift(script, preds, &treated, y)?);
        }
        Ok(m)
    }

    fn anomaly_frame(&self, node: &Node, preds: &[f64]) -> Result<Frame> {
        let column = |k: usize| Column::from_f64(&node.ledger, &preds.chunks(2).map(|p| p[k]).collect::<Vec<_>>());
        let (score, length) = (column(0)?, column(1)?);
        if matches!(self.scorer, Scorer::Planes(_)) {
            return Frame::new(vec!["anomaly_score".into(), "mean_length".into()], vec![score, length]);
        }
        if self.threshold < 0.0 {
            return Frame::new(vec!["predict".into(), "mean_length".into()], vec![score, length]);
        }
        let flags: Vec<f64> = preds.chunks(2).map(|p| f64::from(p[0] >= self.threshold)).collect();
        let flag = Column::numeric(&node.ledger, Kind::Enum(Arc::new(vec!["0".into(), "1".into()])), &flags)?;
        Frame::new(["predict", "score", "mean_length"].map(String::from).to_vec(), vec![flag, score, length])
    }

    /// Metrics on a frame that has the response (clusterings need none).
    pub fn evaluate(&self, node: &Node, frame_key: &str, frame: &Frame) -> Result<Metrics> {
        self.evaluate_in(node, frame_key, frame, self.detail.clone())
    }

    /// The same, in other detail than the model was trained with.
    pub fn evaluate_in(&self, node: &Node, frame_key: &str, frame: &Frame, detail: Detail) -> Result<Metrics> {
        let data = adapt::adapt(frame, &self.predictors)?;
        let mut m = self.measure_in(node, frame, &data, detail)?;
        m.model = self.key.clone();
        m.model_checksum = self.checksum();
        m.frame = Some(frame_key.into());
        m.frame_checksum = frame.checksum()?;
        Ok(m)
    }

    /// Metrics of predictions for adapted data; the frame has the answers.
    pub fn measure_adapted(&self, node: &Node, frame: &Frame, data: &adapt::Adapted) -> Result<Metrics> {
        self.measure_in(node, frame, data, self.detail.clone())
    }

    fn measure_in(&self, node: &Node, frame: &Frame, data: &adapt::Adapted, detail: Detail) -> Result<Metrics> {
        self.speaks()?;
        let offset = column_values(frame, self.offset_column.as_deref())?;
        let (y, w) = answers(frame, self.response.as_ref(), self.weights_column.as_deref())?;
        node.runner.install(|| {
            if let Scorer::KMeans(km) = &self.scorer {
                return cluster_metrics(km, data, None);
            }
            let preds = adapt::score(&self.scorer, data, offset.as_deref())?;
            if let Scorer::Mixed(m) = &self.scorer {
                return mixed_of(m, data, &preds, &y, w.as_deref(), offset.as_deref());
            }
            if let Scorer::Cox(cox) = &self.scorer {
                return self.concordance(frame, data, cox, &preds, &y);
            }
            if self.category == Category::BinomialUplift {
                return self.measure_uplift(frame, &preds, &y, None, None);
            }
            let mut m = measure(self.category, &preds, &y, w.as_deref(), self.classes(), self.deviance, detail)?;
            if let Scorer::Glm(g) = &self.scorer
                && matches!(m.kind, metrics::Kind::Regression { .. } | metrics::Kind::Binomial(_) | metrics::Kind::Multinomial(_))
            {
                // A model of given coefficients was never fitted; its coefficients count as if it had been.
                let active = g.beta.iter().flatten().filter(|b| **b != 0.0).count() as i64;
                let blank = metrics::GlmExtras {
                    residual_deviance: f64::NAN,
                    null_deviance: f64::NAN,
                    aic: f64::NAN,
                    loglikelihood: f64::NAN,
                    null_dof: m.nobs - 1,
                    residual_dof: m.nobs - active,
                    null_mean: f64::NAN,
                };
                let fitted = self.metrics.read().first().map_or(Some((blank, 1)), |m| m.glm.map(|g| (g, m.nobs - g.null_dof)));
                m.glm = fitted.map(|(g, intercepts)| glm_extras(&m, &preds, &y, w.as_deref(), self, g, intercepts));
            }
            Ok(m)
        })
    }
}

/// Metrics of a mixed model's predictions.
pub fn mixed_of(
    m: &ochre_score::MixedScorer,
    data: &adapt::Adapted,
    preds: &[f64],
    y: &[f64],
    w: Option<&[f64]>,
    offset: Option<&[f64]>,
) -> Result<Metrics> {
    let sums = adapt::mixed_sums(m, data, y, w, offset)?;
    let mut metrics = metrics::regression(Scores::all(preds, 1), y, w, Deviance::Gaussian)?;
    metrics.kind = metrics::Kind::Mixed(Box::new(metrics::Mixed {
        beta: m.beta.clone(),
        ubeta: m.u.clone(),
        log_likelihood: m.likelihood(&sums),
        icc: m.shares(),
        iterations: m.iterations as i32,
        tmat: m.covariance(),
        var_residual: m.variance,
        mse_fixed: sums.fixed_residual(&m.beta) / sums.n,
    }));
    Ok(metrics)
}

/// Deviances of a generalized linear model on another frame, of the rows that have a prediction. `intercepts` is 0 for a model
/// without one.
pub(crate) fn glm_extras(
    m: &Metrics,
    preds: &[f64],
    y: &[f64],
    w: Option<&[f64]>,
    model: &Model,
    fitted: metrics::GlmExtras,
    intercepts: i64,
) -> metrics::GlmExtras {
    let weight = |i: usize| w.map_or(1.0, |w| w[i]);
    let width = preds.len() / y.len().max(1);
    let counts = |i: &usize| !y[*i].is_nan() && !preds[i * width].is_nan() && weight(*i) > 0.0;
    let rows: Vec<usize> = (0..y.len()).filter(counts).collect();
    let total: f64 = rows.iter().map(|&i| weight(i)).sum();
    // A model of given coefficients knows nothing of the rows it may have been trained on.
    let own_mean = || rows.iter().map(|&i| weight(i) * y[i]).sum::<f64>() / total;
    let null_mean = if fitted.null_mean.is_nan() { own_mean() } else { fitted.null_mean };
    let (residual, null) = match &m.kind {
        metrics::Kind::Binomial(b) => {
            let p = null_mean;
            let ll: f64 = rows.iter().map(|&i| weight(i) * if y[i] == 1.0 { p.ln() } else { (1.0 - p).ln() }).sum();
            (2.0 * b.logloss * total, -2.0 * ll)
        }
        metrics::Kind::Multinomial(c) => {
            let ll: f64 = rows.iter().map(|&i| weight(i) * model.priors[y[i] as usize].max(1e-300).ln()).sum();
            (2.0 * c.logloss * total, -2.0 * ll)
        }
        metrics::Kind::Regression { mean_residual_deviance, .. } => {
            (mean_residual_deviance * total, rows.iter().map(|&i| weight(i) * model.deviance.of(y[i], null_mean)).sum())
        }
        metrics::Kind::Clustering(_)
        | metrics::Kind::Anomaly { .. }
        | metrics::Kind::Survival(_)
        | metrics::Kind::Uplift(_)
        | metrics::Kind::Mixed(_) => (f64::NAN, f64::NAN),
    };
    let used = fitted.null_dof - fitted.residual_dof;
    let rank = (used + intercepts) as f64;
    let aic = match (&m.kind, model.deviance) {
        (metrics::Kind::Binomial(_), _) => residual + 2.0 * rank,
        (metrics::Kind::Regression { .. }, Deviance::Gaussian) => {
            total * (residual / total * 2.0 * std::f64::consts::PI).ln() + total + 2.0 + 2.0 * rank
        }
        _ => f64::NAN,
    };
    metrics::GlmExtras {
        residual_deviance: residual,
        null_deviance: null,
        aic,
        // As the reference tells a likelihood that nobody asked for.
        loglikelihood: if fitted.loglikelihood == 0.0 { 0.0 } else { f64::NAN },
        null_dof: m.nobs - intercepts,
        residual_dof: m.nobs - intercepts - used,
        null_mean,
    }
}

/// Metrics of predicted uplift (the first column), actual responses and treatments, row by row.
pub fn uplift_of(
    predicted: &Frame,
    actual: &Frame,
    treatment: &Frame,
    kind: usize,
    bins: i32,
    thresholds: Option<Vec<f64>>,
) -> Result<Metrics> {
    if predicted.rows() != actual.rows() || predicted.rows() != treatment.rows() {
        return Err(Error::invalid(format!(
            "predictions, actual responses and treatments must have as many rows, but have {}, {} and {}",
            predicted.rows(),
            actual.rows(),
            treatment.rows()
        )));
    }
    let first = |f: &Frame, what: &str| -> Result<(Vec<f64>, Vec<String>)> {
        let c = f.columns().first().ok_or_else(|| Error::invalid(format!("the frame of {what} has no column")))?;
        Ok((c.to_f64()?, c.domain().map_or(vec![], |d| d.to_vec())))
    };
    let (p, _) = first(predicted, "predictions")?;
    let (y, domain) = first(actual, "actual responses")?;
    let (treated, _) = first(treatment, "treatments")?;
    // No more thresholds than rows, unless the caller wants them.
    let bins = if bins > 0 { bins } else { p.len().clamp(1, 1000) as i32 };
    let thresholds = thresholds.unwrap_or_else(|| crate::uplift::thresholds(&p, bins));
    Ok(metrics::uplift_metrics(crate::uplift::Uplift::new(&p, &treated, &y, thresholds, kind, &domain)))
}

/// Sizes and squared distances of clusters; of the nearest centres, or of those that the rows were given.
pub fn cluster_metrics(km: &ochre_score::KMeansScorer, data: &adapt::Adapted, given: Option<&[u32]>) -> Result<Metrics> {
    let k = km.centers.len();
    let d = km.fills.len();
    let team = Team::for_rows(data.rows);
    let lengths = ochre_core::chunk_lengths(data.rows);
    let parts: Vec<(Vec<f64>, Vec<f64>, f64)> = team
        .mine(lengths.len())
        .into_par_iter()
        .map(|i| (i, lengths[i]))
        .map(|(i, n)| {
            let columns = data.sources.iter().map(|s| s.chunk(i, n)).collect::<Result<Vec<_>>>()?;
            let views: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
            let (mut sizes, mut within, mut total) = (vec![0.0; k], vec![0.0; k], 0.0);
            let mut point = vec![0.0; d];
            // The grand centre: the fills themselves, standardized.
            let grand: Vec<f64> =
                (0..d).map(|j| if j < km.categorical { km.fills[j] } else { (km.fills[j] - km.means[j]) * km.mults[j] }).collect();
            for r in 0..n {
                km.point(&views, r, &mut point);
                let (c, dist) = match given {
                    None => km.nearest(&point),
                    Some(given) => {
                        let c = given[i * ochre_core::CHUNK_ROWS + r] as usize;
                        (c, km.distance(&km.centers[c], &point))
                    }
                };
                sizes[c] += 1.0;
                within[c] += dist;
                total += km.distance(&grand, &point);
            }
            Ok((sizes, within, total))
        })
        .collect::<Result<Vec<_>>>()?;
    let (mut sizes, mut within, mut total) = (vec![0.0; k], vec![0.0; k], 0.0);
    for p in team.gather(parts)?.into_iter().flatten() {
        sizes.iter_mut().zip(&p.0).for_each(|(a, b)| *a += b);
        within.iter_mut().zip(&p.1).for_each(|(a, b)| *a += b);
        total += p.2;
    }
    Ok(metrics::clustering(
        metrics::Clustering { tot_withinss: within.iter().sum(), totss: total, sizes, withinss: within },
        data.rows as i64,
    ))
}

/// Metrics of predictions that somebody else made: a number or the second class's probability in one column, or the
/// probabilities of all classes.
pub fn metrics_of(
    node: &Node,
    predicted: &Frame,
    actual: &Frame,
    weights: Option<&Frame>,
    domain: Option<Vec<String>>,
    deviance: Deviance,
    detail: Detail,
) -> Result<Metrics> {
    if actual.width() != 1 || actual.rows() != predicted.rows() {
        return Err(Error::invalid(format!(
            "the actual values have to be one column of {} rows, but there are {} columns of {} rows",
            predicted.rows(),
            actual.width(),
            actual.rows()
        )));
    }
    let domain = domain.filter(|d| !d.is_empty()).or_else(|| actual.column(0).domain().map(|d| d.to_vec()));
    let category = match domain.as_ref().map(Vec::len) {
        None => Category::Regression,
        Some(2) => Category::Binomial,
        Some(_) => Category::Multinomial,
    };
    let width = match category {
        Category::Multinomial => domain.as_ref().map_or(0, Vec::len),
        _ => 1,
    };
    if predicted.width() != width {
        return Err(Error::invalid(format!("{} predictions need {width} columns, but there are {}", category.name(), predicted.width())));
    }
    let predictor = Predictor { name: actual.names()[0].clone(), domain: domain.clone().map(Arc::new), encoding: None };
    let (y, _) = answers(actual, Some(&predictor), None)?;
    let w = weights.map(|f| f.column(0).to_f64()).transpose()?;
    let columns = predicted.columns().iter().map(Column::to_f64).collect::<Result<Vec<_>>>()?;
    let rows = predicted.rows();
    let preds: Vec<f64> = match category {
        Category::Binomial => columns[0].iter().flat_map(|p| [1.0 - p, *p]).collect(),
        _ => (0..rows).flat_map(|r| columns.iter().map(move |c| c[r])).collect(),
    };
    let mut m =
        node.runner.install(|| measure(category, &preds, &y, w.as_deref(), domain.as_deref().unwrap_or_default(), deviance, detail))?;
    m.description = Some(match category {
        Category::Binomial => {
            format!("Computed on user-given predictions and labels, using F1-optimal threshold: {}.", m.threshold())
        }
        Category::Multinomial => "Computed on user-given predictions and labels.".into(),
        _ => format!("Computed on user-given predictions and targets, distribution: {}.", deviance.name()),
    });
    Ok(m)
}
