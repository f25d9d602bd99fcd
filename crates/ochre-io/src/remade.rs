//! Frames made from frames: categories combined, values taken away, rows split and transformed; values found.

use ochre_core::{Column, Error, Frame, Job, Kind, Node, Result, Rng};
use rayon::prelude::*;
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
    let (x, y) = (a.numbers()?, b.numbers()?);
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
                let values = c.numbers()?;
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

/// The rows of a frame in their order, cut into parts that hold these shares; the last part holds what remains.
pub fn split(node: &Node, job: &Job, frame: &Frame, shares: &[f64]) -> Result<Vec<Frame>> {
    if shares.iter().any(|s| !(0.0..=1.0).contains(s)) {
        return Err(Error::invalid(format!("shares of a frame lie between 0 and 1, but are {shares:?}")));
    }
    let rows = frame.rows();
    let mut ends: Vec<usize> = shares
        .iter()
        .scan(0.0, |sum, s| {
            *sum += s;
            Some(((*sum * rows as f64).round() as usize).min(rows))
        })
        .collect();
    ends.push(rows);
    let mut first = 0;
    let mut out = vec![];
    for (i, end) in ends.iter().enumerate() {
        job.check()?;
        let index: Vec<u64> = (first as u64..*end as u64).collect();
        let columns = frame.columns().iter().map(|c| c.take(&node.ledger, &index)).collect::<Result<Vec<_>>>()?;
        out.push(Frame::new(frame.names().to_vec(), columns)?);
        first = *end;
        job.set_progress((i + 1) as f64 / ends.len() as f64);
    }
    Ok(out)
}

/// The orthonormal cosine transform of each row (DCT-II; Ahmed, Natarajan and Rao 1974), or its inverse. A row holds
/// `dimensions[0] x dimensions[1] x dimensions[2]` numbers, the last changing fastest.
pub fn cosine_transform(node: &Node, job: &Job, frame: &Frame, dimensions: [usize; 3], inverse: bool) -> Result<Frame> {
    let n: usize = dimensions.iter().product();
    if n != frame.width() {
        return Err(Error::invalid(format!(
            "dimensions {} x {} x {} are {n} numbers, but the frame has {} columns",
            dimensions[0],
            dimensions[1],
            dimensions[2],
            frame.width()
        )));
    }
    if let Some((name, _)) = frame.names().iter().zip(frame.columns()).find(|(_, c)| !c.is_number()) {
        return Err(Error::invalid(format!("column '{name}' holds no numbers, so it cannot be transformed by cosines")));
    }
    let rows = frame.rows();
    let _room = node.ledger.reserve("values of a cosine transform", (rows * n * 16) as u64)?;
    // Basis vectors of each dimension, those of a transform back the other way round.
    let basis = |n: usize| -> Vec<f64> {
        let weight = |k: usize| (if k == 0 { 1.0 } else { 2.0 } / n as f64).sqrt();
        let at = |k: usize, i: usize| weight(k) * (std::f64::consts::PI * k as f64 * (i as f64 + 0.5) / n as f64).cos();
        (0..n * n).map(|p| if inverse { at(p % n, p / n) } else { at(p / n, p % n) }).collect()
    };
    let bases = dimensions.map(basis);
    let columns = frame.columns().iter().map(|c| c.numbers()).collect::<Result<Vec<_>>>()?;
    let mut out = vec![0.0; rows * n];
    out.par_chunks_mut(n).enumerate().for_each(|(r, row)| {
        row.iter_mut().zip(&columns).for_each(|(v, c)| *v = c[r]);
        let mut line = vec![];
        for (d, basis) in bases.iter().enumerate().filter(|(d, _)| dimensions[*d] > 1) {
            let (len, step) = (dimensions[d], dimensions[d + 1..].iter().product::<usize>());
            for first in (0..n).filter(|i| (i / step) % len == 0) {
                line.clear();
                line.extend((0..len).map(|i| row[first + i * step]));
                for k in 0..len {
                    row[first + k * step] = basis[k * len..(k + 1) * len].iter().zip(&line).map(|(b, x)| b * x).sum();
                }
            }
        }
    });
    let mut made = vec![];
    for c in 0..n {
        job.check()?;
        made.push(Column::from_f64(&node.ledger, &out.iter().skip(c).step_by(n).copied().collect::<Vec<_>>())?);
    }
    Frame::new((1..=n).map(|c| format!("C{c}")).collect(), made)
}

/// The nearest rows that hold a value: before `row`, and after it.
pub fn find(frame: &Frame, column: Option<usize>, row: usize, wanted: Option<&str>) -> Result<(Option<usize>, Option<usize>)> {
    let (mut before, mut after) = (None, None);
    let number = wanted.and_then(|w| w.trim().parse::<f64>().ok());
    for (_, c) in frame.columns().iter().enumerate().filter(|(i, _)| column.is_none_or(|c| c == *i)) {
        let is: Box<dyn Fn(usize) -> bool> = match &c.kind {
            Kind::Text | Kind::Uuid => {
                let texts = c.to_texts()?;
                Box::new(move |r| texts[r].as_deref() == wanted)
            }
            Kind::Enum(domain) => {
                let code = wanted.map(|w| domain.iter().position(|l| l == w));
                let values = c.numbers()?;
                Box::new(move |r| match code {
                    None => values[r].is_nan(),
                    Some(code) => code.is_some_and(|k| values[r] == k as f64),
                })
            }
            _ => {
                let values = c.numbers()?;
                Box::new(move |r| match wanted {
                    None => values[r].is_nan(),
                    Some(_) => number.is_some_and(|v| values[r] == v || v.is_nan() && values[r].is_nan()),
                })
            }
        };
        let rows = c.rows();
        before = before.max((0..row.min(rows)).rev().find(|r| is(*r)));
        let next = (row.saturating_add(1)..rows).find(|r| is(*r));
        after = [after, next].into_iter().flatten().min();
    }
    Ok((before, after))
}
