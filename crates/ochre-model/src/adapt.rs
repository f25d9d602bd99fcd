//! Fitting a frame to a model: the model's predictors in its order, codes in the training domain, and what had to be
//! changed on the way.

use crate::Predictor;
use ochre_core::{CHUNK_ROWS, Column, Error, Frame, Kind, Result, Team, chunk_lengths, f64s};
use rayon::prelude::*;
use rustc_hash::FxHashMap;

/// One predictor's source in a frame.
pub enum Source {
    /// Not in the frame: all missing.
    Absent,
    Direct(Column),
    /// Values at the codes of the frame's domain, such as codes of the training domain, NaN for unseen levels; and the
    /// value of missing ones.
    Coded(Column, Vec<f64>, f64),
    /// The same value in every row.
    Constant(f64),
}

impl Clone for Source {
    /// Shares the column.
    fn clone(&self) -> Self {
        match self {
            Source::Absent => Source::Absent,
            Source::Direct(c) => Source::Direct(c.clone()),
            Source::Coded(c, m, v) => Source::Coded(c.clone(), m.clone(), *v),
            Source::Constant(v) => Source::Constant(*v),
        }
    }
}

pub struct Adapted {
    pub sources: Vec<Source>,
    pub rows: usize,
    pub warnings: Vec<String>,
}

/// The source of one column.
pub fn source(frame: &Frame, wanted: &Predictor, warnings: &mut Vec<String>) -> Result<Source> {
    if let Some(e) = &wanted.encoding {
        let known = |v: f64| if v.is_nan() { e.missing } else { e.values[v as usize] };
        let original = Predictor { name: e.column.clone(), domain: Some(e.domain.clone()), encoding: None };
        return Ok(match source(frame, &original, warnings)? {
            Source::Absent => Source::Constant(e.missing),
            Source::Constant(v) => Source::Constant(known(v)),
            Source::Direct(c) => Source::Coded(c, e.values.clone(), e.missing),
            Source::Coded(c, map, v) => Source::Coded(c, map.into_iter().map(known).collect(), known(v)),
        });
    }
    let Some(column) = frame.by_name(&wanted.name) else {
        warnings.push(format!("Test/Validation dataset is missing column '{}': substituting in a column of NaN", wanted.name));
        return Ok(Source::Absent);
    };
    match (&wanted.domain, &column.kind) {
        (None, Kind::Enum(_) | Kind::Text | Kind::Uuid) => Err(Error::invalid(format!(
            "Test/Validation dataset has categorical column '{}' which is real-valued in the training data",
            wanted.name
        ))),
        (None, _) => Ok(Source::Direct(column.clone())),
        (Some(domain), Kind::Enum(own)) if own == domain => Ok(Source::Direct(column.clone())),
        (Some(domain), Kind::Enum(own)) => {
            let codes: FxHashMap<&str, usize> = domain.iter().enumerate().map(|(i, t)| (t.as_str(), i)).collect();
            let unseen: Vec<&str> = own.iter().map(String::as_str).filter(|t| !codes.contains_key(t)).collect();
            if !unseen.is_empty() {
                let shown = unseen.iter().take(10).map(|t| format!("\"{t}\"")).collect::<Vec<_>>().join(", ");
                warnings.push(format!("Test/Validation dataset column '{}' has levels not trained on: [{shown}]", wanted.name));
            }
            let map = own.iter().map(|t| codes.get(t.as_str()).map_or(f64::NAN, |c| *c as f64)).collect();
            Ok(Source::Coded(column.clone(), map, f64::NAN))
        }
        (Some(_), Kind::Missing) => Ok(Source::Absent),
        (Some(domain), kind @ (Kind::Text | Kind::Real | Kind::Time)) => {
            if matches!(kind, Kind::Real | Kind::Time) && !column.rollup()?.whole {
                return Err(Error::invalid(format!(
                    "Test/Validation dataset has a non-categorical column '{}' which is categorical in the training data",
                    wanted.name
                )));
            }
            // Labels that look like numbers were parsed as numbers: match them by their text.
            let texts = column.to_texts()?;
            let plain = |t: &'_ String| -> String { if *kind == Kind::Text { t.clone() } else { t.trim_start_matches('+').into() } };
            let plain: Vec<String> = domain.iter().map(plain).collect();
            let codes: FxHashMap<&str, usize> = plain.iter().enumerate().map(|(i, t)| (t.as_str(), i)).collect();
            let values: Vec<f64> = texts.iter().map(|t| t.as_deref().and_then(|t| codes.get(t)).map_or(f64::NAN, |c| *c as f64)).collect();
            // Held for the length of one scoring; small next to the frame it came from.
            let ledger = ochre_core::Ledger::new(u64::MAX, std::path::Path::new("/nonexistent"))?;
            Ok(Source::Direct(Column::numeric(&ledger, Kind::Real, &values)?))
        }
        (Some(_), Kind::Uuid) => {
            Err(Error::invalid(format!("column '{}' holds UUIDs where the model was trained on categories", wanted.name)))
        }
    }
}

/// A frame whose columns are encoded already, as those of rows that a fold holds out.
pub fn adapt_encoded(frame: &Frame, predictors: &[Predictor]) -> Result<Adapted> {
    adapt(frame, &predictors.iter().map(|p| Predictor { encoding: None, ..p.clone() }).collect::<Vec<_>>())
}

pub fn adapt(frame: &Frame, predictors: &[Predictor]) -> Result<Adapted> {
    let mut warnings = vec![];
    let sources = predictors.iter().map(|p| source(frame, p, &mut warnings)).collect::<Result<Vec<_>>>()?;
    // Several predictors may come from one column.
    let mut said = std::collections::BTreeSet::new();
    warnings.retain(|w: &String| said.insert(w.clone()));
    let absent = |p: &Predictor| frame.by_name(p.encoding.as_ref().map_or(&p.name, |e| &e.column)).is_none();
    if !predictors.is_empty() && predictors.iter().all(absent) {
        return Err(Error::invalid("Test/Validation dataset has no columns in common with the training set"));
    }
    Ok(Adapted { sources, rows: frame.rows(), warnings })
}

impl Source {
    /// Values of one chunk.
    pub fn chunk(&self, k: usize, len: usize) -> Result<Vec<f64>> {
        Ok(match self {
            Source::Absent => vec![f64::NAN; len],
            Source::Constant(v) => vec![*v; len],
            Source::Direct(c) => f64s(&c.chunks()[k].data()?).into_owned(),
            Source::Coded(c, map, missing) => {
                f64s(&c.chunks()[k].data()?).iter().map(|v| if v.is_nan() { *missing } else { map[*v as usize] }).collect()
            }
        })
    }

    pub fn all(&self, rows: usize) -> Result<Vec<f64>> {
        let parts = chunk_lengths(rows).into_iter().enumerate().map(|(k, n)| self.chunk(k, n)).collect::<Result<Vec<_>>>()?;
        Ok(parts.concat())
    }
}

/// Standard errors of a linear model's predictor, for each row.
pub fn std_errors(scorer: &ochre_score::GlmScorer, data: &Adapted) -> Result<Vec<f64>> {
    by_chunk(data, 1, |_, views, slot| scorer.std_errors(views, slot))
}

/// Scores a whole frame: `width` numbers per row. The nodes of a cluster score their own rows and exchange the results.
pub fn score(scorer: &ochre_score::Scorer, data: &Adapted, offset: Option<&[f64]>) -> Result<Vec<f64>> {
    let flat = scorer.lay_out(data.rows);
    by_chunk(data, scorer.width(), |start, views, slot| {
        let n = slot.len() / scorer.width();
        scorer.score_laid_out(flat.as_ref(), views, offset.map(|o| &o[start..start + n]), slot);
        if let ochre_score::Scorer::Mixed(m) = scorer
            && let Some(seed) = m.noise
        {
            disturb(seed, m.variance.sqrt(), start, slot);
        }
    })
}

/// Adds normal noise that depends on the seed and the row's number only.
fn disturb(seed: u64, deviation: f64, first: usize, out: &mut [f64]) {
    for (i, o) in out.iter_mut().enumerate() {
        let mut rng = ochre_core::Rng::new((seed ^ ((first + i) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)) as i64);
        *o += deviation * rng.next_normal();
    }
}

/// Sums over all rows that a mixed model's likelihood needs. The nodes of a cluster sum their own rows.
pub fn mixed_sums(
    m: &ochre_score::MixedScorer,
    data: &Adapted,
    y: &[f64],
    w: Option<&[f64]>,
    offset: Option<&[f64]>,
) -> Result<ochre_score::Sums> {
    let team = Team::for_rows(data.rows);
    let blank = ochre_score::Sums::new(m.fixed.len(), m.random.len(), m.u.len());
    let part = |k: usize| -> Result<ochre_score::Sums> {
        let rows = k * CHUNK_ROWS..data.rows.min((k + 1) * CHUNK_ROWS);
        let columns = data.sources.iter().map(|s| s.chunk(k, rows.len())).collect::<Result<Vec<_>>>()?;
        let views: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
        let mut sums = blank.clone();
        m.sum(&views, &y[rows.clone()], w.map(|w| &w[rows.clone()]), offset.map(|o| &o[rows.clone()]), &mut sums);
        Ok(sums)
    };
    let parts = team.mine(data.rows.div_ceil(CHUNK_ROWS)).into_par_iter().map(part).collect::<Result<Vec<_>>>()?;
    let mut all = blank.clone();
    team.gather(parts)?.iter().flatten().for_each(|p| all.add(p));
    Ok(all)
}

/// `width` numbers per row from `f`, which gets the first row of each chunk, its columns, and where to write.
fn by_chunk(data: &Adapted, width: usize, f: impl Fn(usize, &[&[f64]], &mut [f64]) + Sync) -> Result<Vec<f64>> {
    let team = Team::for_rows(data.rows);
    let first = team.rows(data.rows).start / CHUNK_ROWS;
    let mut out = vec![0.0; team.rows(data.rows).len() * width];
    out.par_chunks_mut(CHUNK_ROWS * width).enumerate().try_for_each(|(k, slot)| {
        let k = first + k;
        let columns = data.sources.iter().map(|s| s.chunk(k, slot.len() / width)).collect::<Result<Vec<_>>>()?;
        let views: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
        f(k * CHUNK_ROWS, &views, slot);
        Ok::<(), Error>(())
    })?;
    team.concat(out)
}
