//! Proof that a written model scores like the one it was written from: rows at the edges of what it distinguishes, with the
//! scores that the server gives them. They travel with the model as Arrow IPC, one column a predictor, `offset` and the
//! scores `score_0`, `score_1`, ... after them, so that anybody can check.

use crate::{ModelFile, Scorer, Split};
use arrow_array::{Array, Float64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use std::sync::Arc;

const ROWS: usize = 512;
/// Values tried per column.
const VALUES: usize = 96;

pub struct Proof {
    /// The predictors in their order, categorical values as codes, NaN for missing and unseen.
    pub columns: Vec<Vec<f64>>,
    pub offset: Option<Vec<f64>>,
    pub scores: Vec<f64>,
}

/// SplitMix64 (Steele et al. 2014): one number for each row and column.
fn mix(row: usize, column: usize) -> u64 {
    let mut z = (row as u64 * 0x1_0000_0001 + column as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Values of each column that are worth trying: thresholds and their neighbours, levels, missing, the ends of the scale.
fn candidates(file: &ModelFile) -> Vec<Vec<f64>> {
    let mut out: Vec<Vec<f64>> = vec![vec![]; file.predictors.len()];
    if let Scorer::Trees(m) = &file.scorer {
        for node in m.trees.iter().flatten().flat_map(|t| &t.nodes) {
            if let Split::Less(t) | Split::Below(t) | Split::SparseBelow(t) = node.split {
                out[node.column as usize].push(f64::from(t));
            }
        }
    }
    for (values, column) in out.iter_mut().zip(&file.predictors) {
        values.sort_by(f64::total_cmp);
        values.dedup();
        let step = values.len().div_ceil(VALUES / 3).max(1);
        let near: Vec<f64> = values.iter().step_by(step).flat_map(|t| [t.next_down(), *t, t.next_up()]).collect();
        *values = match &column.domain {
            Some(d) => (0..d.len()).step_by(d.len().div_ceil(VALUES).max(1)).map(|c| c as f64).collect(),
            None if near.is_empty() => vec![-1000.0, -1.5, -1e-9, 0.25, 1.0, 3.0, 17.0, 2000.0],
            None => near,
        };
        values.push(f64::NAN);
        if column.domain.is_none() {
            values.push(0.0);
            if !matches!(file.scorer, Scorer::KMeans(_)) {
                values.extend([f64::INFINITY, f64::NEG_INFINITY, 1e30, -1e30]);
            }
        }
    }
    out
}

impl Proof {
    /// Edge rows and what the model in the server makes of them.
    pub fn of(file: &ModelFile) -> Proof {
        let columns: Vec<Vec<f64>> = candidates(file)
            .iter()
            .enumerate()
            .map(|(c, values)| {
                (0..ROWS).map(|r| if r == 0 { f64::NAN } else { values[(mix(r, c) % values.len() as u64) as usize] }).collect()
            })
            .collect();
        let offset = file.offset.as_ref().map(|_| (0..ROWS).map(|r| (mix(r, usize::MAX / 2) % 200) as f64 / 100.0 - 1.0).collect());
        let mut proof = Proof { columns, offset, scores: vec![] };
        proof.scores = proof.score(file);
        proof
    }

    fn score(&self, file: &ModelFile) -> Vec<f64> {
        let rows = self.columns.first().map_or(0, Vec::len);
        let views: Vec<&[f64]> = self.columns.iter().map(Vec::as_slice).collect();
        let mut out = vec![0.0; rows * file.scorer.width()];
        file.scorer.score(&views, self.offset.as_deref(), &mut out);
        out
    }

    /// Scores the rows again: bit by bit the same, or the row that is not.
    pub fn check(&self, file: &ModelFile) -> Result<usize, String> {
        if self.columns.len() != file.predictors.len() {
            return Err(format!("the proof has {} columns and the model {}", self.columns.len(), file.predictors.len()));
        }
        let (now, width) = (self.score(file), file.scorer.width());
        if now.len() != self.scores.len() {
            return Err(format!("the proof has {} scores, and the model makes {}", self.scores.len(), now.len()));
        }
        let differs = |(a, b): (&f64, &f64)| a.to_bits() != b.to_bits() && !(a.is_nan() && b.is_nan());
        match now.iter().zip(&self.scores).position(differs) {
            None => Ok(now.len() / width),
            Some(at) => {
                let row = at / width;
                let shown: Vec<String> =
                    file.predictors.iter().zip(&self.columns).map(|(p, c)| format!("{}={:?}", p.name, c[row])).collect();
                Err(format!("row {row} ({}) scores {:?} where {:?} is expected", shown.join(", "), now[at], self.scores[at]))
            }
        }
    }

    pub fn to_arrow(&self, file: &ModelFile) -> Result<Vec<u8>, String> {
        let width = file.scorer.width();
        let mut fields: Vec<Field> = file.predictors.iter().map(|p| Field::new(&p.name, DataType::Float64, true)).collect();
        let mut arrays: Vec<Vec<f64>> = self.columns.clone();
        if let Some(o) = &self.offset {
            fields.push(Field::new("offset", DataType::Float64, true));
            arrays.push(o.clone());
        }
        for k in 0..width {
            fields.push(Field::new(format!("score_{k}"), DataType::Float64, true));
            arrays.push(self.scores.chunks(width).map(|s| s[k]).collect());
        }
        let schema = Arc::new(Schema::new(fields));
        let arrays = arrays.into_iter().map(|a| Arc::new(Float64Array::from(a)) as Arc<dyn Array>).collect();
        let batch = RecordBatch::try_new(schema.clone(), arrays).map_err(|e| e.to_string())?;
        let mut out = arrow_ipc::writer::FileWriter::try_new(vec![], &schema).map_err(|e| e.to_string())?;
        out.write(&batch).map_err(|e| e.to_string())?;
        out.into_inner().map_err(|e| e.to_string())
    }

    pub fn from_arrow(bytes: &[u8], file: &ModelFile) -> Result<Proof, String> {
        let fail = |e: &dyn std::fmt::Display| format!("the proof cannot be read: {e}");
        let reader = arrow_ipc::reader::FileReader::try_new(std::io::Cursor::new(bytes), None).map_err(|e| fail(&e))?;
        let mut all: Vec<Vec<f64>> = vec![vec![]; reader.schema().fields().len()];
        for batch in reader {
            let batch = batch.map_err(|e| fail(&e))?;
            for (slot, array) in all.iter_mut().zip(batch.columns()) {
                let array = array.as_any().downcast_ref::<Float64Array>().ok_or("the proof holds a column that is no number")?;
                slot.extend(array.values());
            }
        }
        let (p, o, k) = (file.predictors.len(), usize::from(file.offset.is_some()), file.scorer.width());
        if all.len() != p + o + k {
            return Err(format!("the proof has {} columns where the model needs {}", all.len(), p + o + k));
        }
        let scores = all.split_off(p + o);
        let offset = if o == 1 { all.pop() } else { None };
        let rows = scores[0].len();
        Ok(Proof { columns: all, offset, scores: (0..rows).flat_map(|r| scores.iter().map(move |s| s[r])).collect() })
    }
}

/// The model as a MOJO, after its scores have been proven equal to those of the model it was written from.
pub fn proven_mojo(file: &ModelFile, about: &crate::mojo::About) -> Result<Vec<u8>, String> {
    let proof = Proof::of(file);
    let mut bytes = std::io::Cursor::new(vec![]);
    crate::mojo::write(file, about, Some(&proof.to_arrow(file)?), &mut bytes)?;
    let back = crate::mojo::read(std::io::Cursor::new(bytes.get_ref()))?;
    proof
        .check(&back.file)
        .map_err(|e| format!("the exported model would not score like the model in the server, so it is not written: {e}"))?;
    Ok(bytes.into_inner())
}
