//! The native part of the Python package `ochre_score`: models, and streams of Arrow in and out.

use arrow_array::ffi_stream::{ArrowArrayStreamReader, FFI_ArrowArrayStream};
use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, SchemaRef};
use ochre_score::BatchScorer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use std::ffi::CStr;
use std::path::PathBuf;
use std::sync::Arc;

const STREAM: &CStr = c"arrow_array_stream";

/// An exported model.
#[pyclass(frozen)]
struct Model {
    scorer: Arc<BatchScorer>,
}

#[derive(Clone, Copy)]
enum Wanted {
    Predictions,
    Contributions,
}

/// Rows that are worth a thread of their own.
const ROWS_MIN: usize = 4096;

/// Scores a batch on several threads; the parts come back in their order.
fn scored(scorer: &BatchScorer, batch: &RecordBatch, wanted: Wanted) -> Result<Vec<RecordBatch>, String> {
    let one = |b: &RecordBatch| match wanted {
        Wanted::Predictions => scorer.score(b),
        Wanted::Contributions => scorer.contributions(b),
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(batch.num_rows() / ROWS_MIN).max(1);
    if threads == 1 {
        return Ok(vec![one(batch)?]);
    }
    let step = batch.num_rows().div_ceil(threads);
    let parts: Vec<RecordBatch> =
        (0..batch.num_rows()).step_by(step).map(|from| batch.slice(from, step.min(batch.num_rows() - from))).collect();
    std::thread::scope(|s| {
        let running: Vec<_> = parts.iter().map(|p| s.spawn(|| one(p))).collect();
        running.into_iter().map(|r| r.join().unwrap_or_else(|_| Err("scoring failed inside; please report it".into()))).collect()
    })
}

/// Scores batches as they are pulled.
struct Scored {
    scorer: Arc<BatchScorer>,
    wanted: Wanted,
    schema: SchemaRef,
    input: ArrowArrayStreamReader,
    ready: std::collections::VecDeque<RecordBatch>,
}

impl Iterator for Scored {
    type Item = Result<RecordBatch, ArrowError>;
    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() {
            let batch = match self.input.next()? {
                Ok(b) => b,
                Err(e) => return Some(Err(e)),
            };
            match scored(&self.scorer, &batch, self.wanted) {
                Ok(parts) => self.ready.extend(parts),
                Err(e) => return Some(Err(ArrowError::ComputeError(e))),
            }
        }
        self.ready.pop_front().map(Ok)
    }
}

impl RecordBatchReader for Scored {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

impl Model {
    fn stream<'py>(&self, py: Python<'py>, capsule: &Bound<'py, PyCapsule>, wanted: Wanted) -> PyResult<Bound<'py, PyCapsule>> {
        let wrong = |e: String| PyValueError::new_err(e);
        let pointer = capsule.pointer_checked(Some(STREAM))?.as_ptr().cast::<FFI_ArrowArrayStream>();
        // SAFETY: the capsule's name says that it holds such a stream, which is taken over.
        let input = unsafe { ArrowArrayStreamReader::from_raw(pointer) }.map_err(|e| wrong(format!("the data cannot be read: {e}")))?;
        let schema = match wanted {
            Wanted::Predictions => self.scorer.output(),
            Wanted::Contributions => {
                let nothing = RecordBatch::new_empty(input.schema());
                self.scorer.contributions(&nothing).map_err(wrong)?.schema()
            }
        };
        let stream = Scored { scorer: self.scorer.clone(), wanted, schema, input, ready: Default::default() };
        let stream = FFI_ArrowArrayStream::new(Box::new(stream));
        PyCapsule::new_with_value_and_destructor(py, stream, STREAM, |_, _| {})
    }
}

#[pymethods]
impl Model {
    /// Reads a model; when vectors that prove its scores travel in it, they are scored first.
    #[new]
    fn new(py: Python<'_>, path: PathBuf) -> PyResult<Model> {
        let scorer = py.detach(|| BatchScorer::open(&path)).map_err(PyValueError::new_err)?;
        Ok(Model { scorer: Arc::new(scorer) })
    }

    #[getter]
    fn algorithm(&self) -> &str {
        &self.scorer.mojo.about.full_name
    }

    #[getter]
    fn category(&self) -> &str {
        &self.scorer.mojo.about.category
    }

    /// Names of the columns that the model reads, with their levels; None for numbers.
    #[getter]
    fn columns(&self) -> Vec<(String, Option<Vec<String>>)> {
        self.scorer.mojo.file.predictors.iter().map(|p| (p.name.clone(), p.domain.clone())).collect()
    }

    #[getter]
    fn response(&self) -> Option<&str> {
        self.scorer.mojo.file.response.as_ref().map(|r| r.name.as_str())
    }

    #[getter]
    fn offset(&self) -> Option<&str> {
        self.scorer.mojo.file.offset.as_deref()
    }

    /// A stream of predictions for a stream of batches.
    fn predict<'py>(&self, py: Python<'py>, data: &Bound<'py, PyCapsule>) -> PyResult<Bound<'py, PyCapsule>> {
        self.stream(py, data, Wanted::Predictions)
    }

    /// A stream of contributions for a stream of batches.
    fn contributions<'py>(&self, py: Python<'py>, data: &Bound<'py, PyCapsule>) -> PyResult<Bound<'py, PyCapsule>> {
        self.stream(py, data, Wanted::Contributions)
    }
}

#[pymodule]
fn _native(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Model>()
}
