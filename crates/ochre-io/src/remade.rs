//! Frames made from frames: categories combined, values taken away.

use ochre_core::{Column, Error, Frame, Job, Kind, Node, Result, Rng};
use std::collections::HashMap;
use std::sync::Arc;

/// How categorical columns are combined.
pub struct Interaction {
    pub columns: Vec<String>,
    /// Each pair by itself, or all together, one after the other.
    pub pairwise: bool,
    /// Most categories of a combination; the rarest become `other`.
    pub max_levels: usize,
    /// Combinations rarer than this become `other`.
    pub min_rows: usize,
}

/// Columns of combined categories, the most frequent first.
pub fn interaction(node: &Node, job: &Job, frame: &Frame, ask: &Interaction) -> Result<Frame> {
    let mut picked = vec![];
    for name in &ask.columns {
        let c = frame.by_name(name).ok_or_else(|| Error::ColumnNotFound { column: name.clone(), frame: "the source frame".into() })?;
        if !c.is_enum() {
            return Err(Error::invalid(format!(
                "interactions are made of categorical columns, but '{name}' is none; convert it with asfactor"
            )));
        }
        picked.push((name.clone(), c.clone()));
    }
    if picked.len() < 2 {
        return Err(Error::invalid("an interaction needs at least two columns"));
    }
    let combine = |a: &(String, Column), b: &(String, Column)| -> Result<(String, Column)> {
        job.check()?;
        Ok((format!("{}_{}", a.0, b.0), combined(node, &a.1, &b.1, ask)?))
    };
    let mut out = vec![];
    if ask.pairwise {
        for (i, a) in picked.iter().enumerate() {
            for b in &picked[i + 1..] {
                out.push(combine(a, b)?);
            }
        }
    } else {
        let mut all = picked[0].clone();
        for next in &picked[1..] {
            all = combine(&all, next)?;
        }
        out.push(all);
    }
    let (names, columns) = out.into_iter().unzip();
    Frame::new(names, columns)
}

fn combined(node: &Node, a: &Column, b: &Column, ask: &Interaction) -> Result<Column> {
    let (da, db) = (a.domain().cloned().unwrap_or_default(), b.domain().cloned().unwrap_or_default());
    let (x, y) = (a.to_f64()?, b.to_f64()?);
    // A missing part is a category of its own.
    let code = |v: f64, d: &[String]| if v.is_nan() { d.len() } else { v as usize };
    let label = |i: usize, d: &[String]| d.get(i).cloned().unwrap_or_else(|| "NA".into());
    let pairs: Vec<(usize, usize)> = x.iter().zip(&y).map(|(x, y)| (code(*x, &da), code(*y, &db))).collect();
    let mut counts: HashMap<(usize, usize), usize> = HashMap::new();
    pairs.iter().for_each(|p| *counts.entry(*p).or_default() += 1);
    let mut order: Vec<((usize, usize), usize)> = counts.into_iter().collect();
    // Of equally frequent ones the last comes first, as in the reference.
    order.sort_by(|a, b| b.1.cmp(&a.1).then(b.0.cmp(&a.0)));
    let kept = order.iter().take(ask.max_levels.max(1)).take_while(|p| p.1 >= ask.min_rows).count();
    let place: HashMap<(usize, usize), usize> = order.iter().take(kept).enumerate().map(|(i, p)| (p.0, i)).collect();
    let mut domain: Vec<String> = order[..kept].iter().map(|(p, _)| format!("{}_{}", label(p.0, &da), label(p.1, &db))).collect();
    if kept < order.len() {
        domain.push("other".into());
    }
    let codes: Vec<f64> = pairs.iter().map(|p| place.get(p).copied().unwrap_or(kept) as f64).collect();
    Column::numeric(&node.ledger, Kind::Enum(Arc::new(domain)), &codes)
}

/// The same frame with a share of its values taken away at random; the same seed takes the same.
pub fn with_missing(node: &Node, job: &Job, frame: &Frame, fraction: f64, seed: i64) -> Result<Frame> {
    if !(0.0..=1.0).contains(&fraction) {
        return Err(Error::invalid(format!("the fraction must lie between 0 and 1, but is {fraction}")));
    }
    let mut out = vec![];
    for (i, c) in frame.columns().iter().enumerate() {
        job.check()?;
        let goes = |row: usize| {
            let mut rng = Rng::new(seed ^ (i as i64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15u64 as i64) ^ row as i64);
            rng.next_f64() < fraction
        };
        out.push(match &c.kind {
            Kind::Text | Kind::Uuid => {
                let texts: Vec<Option<String>> = c.to_texts()?.into_iter().enumerate().map(|(r, t)| t.filter(|_| !goes(r))).collect();
                Column::from_texts(&node.ledger, &texts)?
            }
            kind => {
                let values = c.to_f64()?;
                let kind = if matches!(kind, Kind::Missing) { Kind::Real } else { kind.clone() };
                Column::generate(&node.ledger, kind, c.rows(), |first, n| {
                    (first..first + n).map(|r| if goes(r) { f64::NAN } else { values[r] }).collect()
                })?
            }
        });
        job.set_progress((i + 1) as f64 / frame.width() as f64);
    }
    Frame::new(frame.names().to_vec(), out)
}
