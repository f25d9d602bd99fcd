//! The C interface of `ochre-score`; `include/ochre_score.h` says what each function does and who owns what.

use arrow_array::ffi_stream::{ArrowArrayStreamReader, FFI_ArrowArrayStream};
use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, SchemaRef};
use ochre_score::BatchScorer;
use std::ffi::{CStr, CString, c_char, c_int, c_long};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

pub struct OchreModel {
    scorer: std::sync::Arc<BatchScorer>,
    category: CString,
    algorithm: CString,
    names: Vec<CString>,
}

/// Texts of models hold no zero bytes, or are cut there.
fn c_text(t: &str) -> CString {
    CString::new(t.split('\0').next().unwrap_or_default()).expect("no zero is left")
}

/// Runs `work`; a failure or a panic becomes a message.
///
/// # Safety
/// `error` is null or points to a place for a pointer.
unsafe fn guarded<T>(error: *mut *mut c_char, work: impl FnOnce() -> Result<T, String>) -> Option<T> {
    let outcome = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err("an internal error; please report it".into()));
    match outcome {
        Ok(v) => Some(v),
        Err(message) => {
            if !error.is_null() {
                // SAFETY: the caller's promise.
                unsafe { *error = c_text(&message).into_raw() };
            }
            None
        }
    }
}

/// # Safety
/// `path` is a text that ends in a zero byte; `error` is null or points to a place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ochre_model_open(path: *const c_char, error: *mut *mut c_char) -> *mut OchreModel {
    let open = || {
        if path.is_null() {
            return Err("no path was given".to_string());
        }
        // SAFETY: the caller's promise.
        let path = unsafe { CStr::from_ptr(path) }.to_str().map_err(|_| "the path is not UTF-8")?;
        let scorer = BatchScorer::open(Path::new(path))?;
        let (about, file) = (&scorer.mojo.about, &scorer.mojo.file);
        let (category, algorithm) = (c_text(&about.category), c_text(&about.full_name));
        let names = file.predictors.iter().map(|p| c_text(&p.name)).collect();
        Ok(Box::into_raw(Box::new(OchreModel { scorer: scorer.into(), category, algorithm, names })))
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(error, open) }.unwrap_or(std::ptr::null_mut())
}

/// # Safety
/// `model` is null or came from `ochre_model_open`, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ochre_model_free(model: *mut OchreModel) {
    if !model.is_null() {
        // SAFETY: the caller's promise.
        drop(unsafe { Box::from_raw(model) });
    }
}

/// # Safety
/// `model` is one that is open, as for all that follow.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ochre_model_category(model: *const OchreModel) -> *const c_char {
    // SAFETY: the caller's promise.
    unsafe { &*model }.category.as_ptr()
}

/// # Safety
/// `model` is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ochre_model_algorithm(model: *const OchreModel) -> *const c_char {
    // SAFETY: the caller's promise.
    unsafe { &*model }.algorithm.as_ptr()
}

/// # Safety
/// `model` is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ochre_model_inputs(model: *const OchreModel) -> usize {
    // SAFETY: the caller's promise.
    unsafe { &*model }.names.len()
}

/// # Safety
/// `model` is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ochre_model_outputs(model: *const OchreModel) -> usize {
    // SAFETY: the caller's promise.
    unsafe { &*model }.scorer.mojo.file.scorer.width()
}

/// # Safety
/// `model` is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ochre_model_input_name(model: *const OchreModel, input: usize) -> *const c_char {
    // SAFETY: the caller's promise.
    unsafe { &*model }.names.get(input).map_or(std::ptr::null(), |n| n.as_ptr())
}

/// # Safety
/// `model` is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ochre_model_levels(model: *const OchreModel, input: usize) -> usize {
    // SAFETY: the caller's promise.
    let predictors = &unsafe { &*model }.scorer.mojo.file.predictors;
    predictors.get(input).and_then(|p| p.domain.as_ref()).map_or(0, Vec::len)
}

/// # Safety
/// `model` is open; `level` is a text that ends in a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ochre_model_level_code(model: *const OchreModel, input: usize, level: *const c_char) -> c_long {
    if level.is_null() {
        return -1;
    }
    // SAFETY: the caller's promise.
    let (model, level) = unsafe { (&*model, CStr::from_ptr(level)) };
    let domain = model.scorer.mojo.file.predictors.get(input).and_then(|p| p.domain.as_ref());
    domain.and_then(|d| d.iter().position(|l| l.as_bytes() == level.to_bytes())).map_or(-1, |c| c as c_long)
}

/// # Safety
/// `model` is open; `inputs` and `outputs` are as long as it says; `error` is null or points to a place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ochre_model_score_row(
    model: *const OchreModel,
    inputs: *const f64,
    offset: f64,
    outputs: *mut f64,
    error: *mut *mut c_char,
) -> c_int {
    let work = || {
        // SAFETY: the caller's promise.
        let model = unsafe { &*model };
        let (n, width) = (model.names.len(), model.scorer.mojo.file.scorer.width());
        // SAFETY: the caller's promise.
        let (row, out) = unsafe { (std::slice::from_raw_parts(inputs, n), std::slice::from_raw_parts_mut(outputs, width)) };
        model.scorer.score_row(row, offset, out)
    };
    // SAFETY: the caller's promise.
    if unsafe { guarded(error, work) }.is_some() { 0 } else { 1 }
}

/// Scores batches as they are pulled.
struct Scored {
    scorer: std::sync::Arc<BatchScorer>,
    input: ArrowArrayStreamReader,
}

impl Iterator for Scored {
    type Item = Result<RecordBatch, ArrowError>;
    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.input.next()?;
        Some(batch.and_then(|b| self.scorer.score(&b).map_err(ArrowError::ComputeError)))
    }
}

impl RecordBatchReader for Scored {
    fn schema(&self) -> SchemaRef {
        self.scorer.output()
    }
}

/// # Safety
/// `model` is open; `input` is a stream that is given away; `output` is a place for one; `error` is null or points to a
/// place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ochre_model_score_stream(
    model: *const OchreModel,
    input: *mut FFI_ArrowArrayStream,
    output: *mut FFI_ArrowArrayStream,
    error: *mut *mut c_char,
) -> c_int {
    let work = || {
        // SAFETY: the caller's promise.
        let (model, input) = unsafe { (&*model, ArrowArrayStreamReader::from_raw(input)) };
        let scorer = model.scorer.clone();
        let input = input.map_err(|e| format!("the stream cannot be read: {e}"))?;
        let stream = FFI_ArrowArrayStream::new(Box::new(Scored { scorer, input }));
        // SAFETY: the caller's promise; what lies there is not a stream yet, so nothing is dropped.
        unsafe { std::ptr::write(output, stream) };
        Ok(())
    };
    // SAFETY: the caller's promise.
    if unsafe { guarded(error, work) }.is_some() { 0 } else { 1 }
}

/// # Safety
/// `text` is null or a message that one of the functions made, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ochre_free_text(text: *mut c_char) {
    if !text.is_null() {
        // SAFETY: the caller's promise.
        drop(unsafe { CString::from_raw(text) });
    }
}
