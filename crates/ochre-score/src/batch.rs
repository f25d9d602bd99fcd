//! Scoring batches of Arrow: columns are found by name and fitted to the model, predictions come back as columns.
//!
//! What comes back has the names and values of the server's predictions: `predict`, then the probability of each class.

use crate::mojo::{self, Mojo};
use crate::{Explainer, Flat, LANES, Scorer, TreeLink};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type, TimestampMillisecondType};
use arrow_array::{Array, ArrayRef, DictionaryArray, Float64Array, Int32Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// An exported model, ready to score.
pub struct BatchScorer {
    pub mojo: Mojo,
    flat: Option<Flat>,
    /// Codes of the levels of each categorical predictor.
    codes: Vec<Option<HashMap<String, u32>>>,
    output: SchemaRef,
    labels: Option<ArrayRef>,
}

/// Any number of rows: trees are laid out for the largest.
const ROWS: usize = 1 << 30;

impl BatchScorer {
    /// Reads an exported model. When vectors that prove its scores travel in it, they are scored first.
    pub fn open(path: &Path) -> Result<BatchScorer, String> {
        let file = std::fs::File::open(path).map_err(|e| format!("{} cannot be opened: {e}", path.display()))?;
        let mojo = mojo::read(std::io::BufReader::new(file)).map_err(|e| format!("{} cannot be read: {e}", path.display()))?;
        BatchScorer::new(mojo).map_err(|e| format!("{}: {e}", path.display()))
    }

    pub fn new(mojo: Mojo) -> Result<BatchScorer, String> {
        if let Some(proof) = &mojo.proof {
            crate::proof::Proof::from_arrow(proof, &mojo.file)?
                .check(&mojo.file)
                .map_err(|e| format!("its scores are not those that it was exported with: {e}"))?;
        }
        let code = |d: &Vec<String>| d.iter().enumerate().map(|(i, l)| (l.clone(), i as u32)).collect();
        let codes = mojo.file.predictors.iter().map(|p| p.domain.as_ref().map(code)).collect();
        let domain = mojo.file.response.as_ref().and_then(|r| r.domain.clone());
        let classes = domain.filter(|d| matches!(mojo.about.category.as_str(), "Binomial" | "Multinomial" | "Ordinal") && d.len() > 1);
        let number = |n: &str| Field::new(n, DataType::Float64, true);
        let label = Field::new("predict", DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)), true);
        let mut fields = match (mojo.about.category.as_str(), &classes) {
            (_, Some(domain)) => {
                let named = |c: &String| if c.parse::<f64>().is_ok() { format!("p{c}") } else { c.clone() };
                let mut fields = vec![label];
                fields.extend(domain.iter().map(|c| number(&named(c))));
                fields
            }
            ("BinomialUplift", _) => ["uplift_predict", "p_y1_with_treatment", "p_y1_without_treatment"].map(number).to_vec(),
            ("AnomalyDetection", _) => match &mojo.file.scorer {
                Scorer::Trees(_) if mojo.file.threshold >= 0.0 => {
                    vec![label, number("score"), number("mean_length")]
                }
                Scorer::Planes(_) => ["anomaly_score", "mean_length"].map(number).to_vec(),
                _ => ["predict", "mean_length"].map(number).to_vec(),
            },
            ("CoxPH", _) => vec![number("lp")],
            _ => vec![number("predict")],
        };
        if matches!(&mojo.file.scorer, Scorer::Trees(m) if m.calibration.is_some()) {
            let names: Vec<String> = fields[1..].iter().map(|f| format!("cal_{}", f.name())).collect();
            fields.extend(names.iter().map(|n| number(n)));
        }
        let flat = mojo.file.scorer.lay_out(ROWS);
        let flagged = fields.len() == 3 && fields[1].name() == "score";
        let labels = classes.or_else(|| flagged.then(|| vec!["0".into(), "1".into()]));
        let labels = labels.map(|d| Arc::new(StringArray::from(d)) as ArrayRef);
        Ok(BatchScorer { flat, codes, output: Arc::new(Schema::new(fields)), labels, mojo })
    }

    /// The columns that come back.
    pub fn output(&self) -> SchemaRef {
        self.output.clone()
    }

    /// The model's predictors in its order: a column that is not there is missing, levels that are not known too.
    fn fitted(&self, batch: &RecordBatch) -> Result<Vec<Vec<f64>>, String> {
        let file = &self.mojo.file;
        if !file.predictors.is_empty() && file.predictors.iter().all(|p| batch.column_by_name(&p.name).is_none()) {
            return Err("the data have no columns in common with the model".into());
        }
        let column = |(p, codes): (&crate::Column, &Option<HashMap<String, u32>>)| match batch.column_by_name(&p.name) {
            None => Ok(vec![f64::NAN; batch.num_rows()]),
            Some(array) => match codes {
                Some(codes) => coded(array, codes).map_err(|e| format!("column '{}': {e}", p.name)),
                None => numbers(array).map_err(|e| format!("column '{}' is a number to the model: {e}", p.name)),
            },
        };
        file.predictors.iter().zip(&self.codes).map(column).collect()
    }

    fn offset(&self, batch: &RecordBatch) -> Result<Option<Vec<f64>>, String> {
        let Some(name) = &self.mojo.file.offset else { return Ok(None) };
        let array =
            batch.column_by_name(name).ok_or_else(|| format!("the data lack the offset '{name}', which the model was trained with"))?;
        numbers(array).map(Some).map_err(|e| format!("the offset '{name}': {e}"))
    }

    /// The predictions of a batch's rows.
    pub fn score(&self, batch: &RecordBatch) -> Result<RecordBatch, String> {
        let columns = self.fitted(batch)?;
        let offset = self.offset(batch)?;
        let views: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
        let (scorer, width) = (&self.mojo.file.scorer, self.mojo.file.scorer.width());
        let mut scores = vec![0.0; batch.num_rows() * width];
        scorer.score_laid_out(self.flat.as_ref(), &views, offset.as_deref(), &mut scores);
        let part = |k: usize| Arc::new(scores.chunks(width).map(|s| s[k]).collect::<Float64Array>()) as ArrayRef;
        let mut out = vec![];
        if let Some(labels) = &self.labels {
            let keys = scores.chunks(width).enumerate().map(|(r, p)| self.label(p, || crate::ties::seed(views.iter().map(|c| c[r]))));
            let keys: Int32Array = keys.map(|k| k.map(|k| k as i32)).collect();
            out.push(Arc::new(DictionaryArray::<Int32Type>::new(keys, labels.clone())) as ArrayRef);
        }
        out.extend((0..width).map(part));
        if let Scorer::Trees(m) = scorer
            && let Some(calibration) = &m.calibration
        {
            let second: Vec<f64> = scores.chunks(width).map(|p| calibration.second(p)).collect();
            out.push(Arc::new(second.iter().map(|p| 1.0 - p).collect::<Float64Array>()));
            out.push(Arc::new(Float64Array::from(second)));
        }
        RecordBatch::try_new(self.output.clone(), out).map_err(|e| e.to_string())
    }

    /// The class of a row; none where no probability is known.
    fn label(&self, p: &[f64], seed: impl FnOnce() -> i64) -> Option<usize> {
        let known = p.iter().any(|p| !p.is_nan());
        known.then(|| match p {
            [score, _] if self.mojo.about.category == "AnomalyDetection" => usize::from(*score >= self.mojo.file.threshold),
            [_, second] => usize::from(*second >= self.mojo.file.threshold),
            _ => crate::ties::most_probable(p, &self.mojo.about.priors, seed),
        })
    }

    /// One row told as numbers: the predictors in the model's order, categories as codes, NaN for missing.
    pub fn score_row(&self, row: &[f64], offset: f64, out: &mut [f64]) -> Result<(), String> {
        let (file, width) = (&self.mojo.file, self.mojo.file.scorer.width());
        if row.len() != file.predictors.len() || out.len() != width {
            return Err(format!(
                "the model reads {} numbers and answers {width}, but {} and {} were given",
                file.predictors.len(),
                row.len(),
                out.len()
            ));
        }
        let views: Vec<&[f64]> = row.chunks(1).collect();
        let offset = [offset];
        file.scorer.score_laid_out(self.flat.as_ref(), &views, file.offset.is_some().then_some(&offset[..]), out);
        Ok(())
    }

    /// What each column adds to the score of each row, and last what is there without any (`BiasTerm`); trees only.
    pub fn contributions(&self, batch: &RecordBatch) -> Result<RecordBatch, String> {
        let Scorer::Trees(m) = &self.mojo.file.scorer else {
            return Err(format!("a model of the kind {} has no contributions of columns: models of trees have", self.mojo.about.full_name));
        };
        if !matches!(m.link, TreeLink::Mean | TreeLink::FirstShare | TreeLink::Identity | TreeLink::Log | TreeLink::Logit) {
            return Err("contributions are told of regressions and of two classes only".into());
        }
        let columns = self.fitted(batch)?;
        let views: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
        let p = columns.len();
        let explainer = Explainer::new(m, p);
        let mut out = vec![vec![0.0; batch.num_rows()]; p + 1];
        let mut told = vec![0.0; (p + 1) * LANES];
        for first in (0..batch.num_rows()).step_by(LANES) {
            let rows = first..batch.num_rows().min(first + LANES);
            let told = &mut told[..(p + 1) * rows.len()];
            explainer.contributions(&views, rows.clone(), told);
            for (row, told) in rows.zip(told.chunks(p + 1)) {
                out.iter_mut().zip(told).for_each(|(out, v)| out[row] = f64::from(*v as f32));
            }
        }
        let names = self.mojo.file.predictors.iter().map(|p| p.name.as_str()).chain(["BiasTerm"]);
        let schema = Schema::new(names.map(|n| Field::new(n, DataType::Float64, true)).collect::<Vec<_>>());
        let arrays = out.into_iter().map(|v| Arc::new(Float64Array::from(v)) as ArrayRef).collect();
        RecordBatch::try_new(Arc::new(schema), arrays).map_err(|e| e.to_string())
    }
}

fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, String> {
    arrow_cast::cast_with_options(array, to, &arrow_cast::CastOptions { safe: false, ..Default::default() }).map_err(|e| e.to_string())
}

/// Any numeric, boolean, time or missing column as numbers; times are milliseconds since 1970.
fn numbers(array: &ArrayRef) -> Result<Vec<f64>, String> {
    let values = match array.data_type() {
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, _) => {
            let ms = cast(array, &DataType::Timestamp(TimeUnit::Millisecond, None))?;
            return Ok(ms.as_primitive::<TimestampMillisecondType>().iter().map(|v| v.map_or(f64::NAN, |v| v as f64)).collect());
        }
        DataType::Null => return Ok(vec![f64::NAN; array.len()]),
        // Text is a number where it reads as one.
        _ => cast(array, &DataType::Float64)?,
    };
    Ok(values.as_primitive::<Float64Type>().iter().map(|v| v.unwrap_or(f64::NAN)).collect())
}

/// Codes of a categorical column, NaN for missing and unknown levels.
fn coded(array: &ArrayRef, codes: &HashMap<String, u32>) -> Result<Vec<f64>, String> {
    let code = |t: &str| codes.get(t).map_or(f64::NAN, |c| f64::from(*c));
    match array.data_type() {
        DataType::Null => Ok(vec![f64::NAN; array.len()]),
        DataType::Dictionary(_, _) => {
            let any = array.as_any_dictionary();
            let known = coded(any.values(), codes)?;
            let keys = any.normalized_keys();
            Ok(keys.into_iter().enumerate().map(|(i, k)| if array.is_null(i) { f64::NAN } else { known[k] }).collect())
        }
        // Levels that look like numbers: whole ones have no point.
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            let text = |v: f64| if v == v.trunc() && v.abs() < 1e15 { format!("{}", v as i64) } else { v.to_string() };
            Ok(numbers(array)?.into_iter().map(|v| if v.is_nan() { v } else { code(&text(v)) }).collect())
        }
        DataType::Boolean => {
            // As the server reads them from files, or as Python writes them.
            let named =
                |b: bool| [["False", "false", "0"], ["True", "true", "1"]][usize::from(b)].iter().map(|t| code(t)).find(|v| !v.is_nan());
            Ok(array.as_boolean().iter().map(|v| v.and_then(named).unwrap_or(f64::NAN)).collect())
        }
        kind if kind.is_integer() => {
            let values = cast(array, &DataType::Int64)?;
            Ok(values.as_primitive::<Int64Type>().iter().map(|v| v.map_or(f64::NAN, |v| code(&v.to_string()))).collect())
        }
        _ => {
            let texts = cast(array, &DataType::Utf8)?;
            Ok(texts.as_string::<i32>().iter().map(|v| v.map_or(f64::NAN, code)).collect())
        }
    }
}
