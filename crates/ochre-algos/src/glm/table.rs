//! The design matrix as a frame, and its Gram matrix: what linear models work on, for whoever wants to compute with it.

use super::design::{Design, moments};
use super::interactions::{self, Expanded, Made};
use ochre_core::{Column, Error, Frame, Kind, Node, Result, f64s};
use ochre_model::{Category, Expand, Expansion, Training};
use ochre_schema::Value;
use rayon::prelude::*;
use std::sync::Arc;

/// The linear rooms' way to expand predictors.
pub struct Tables;

fn training(names: &[String], columns: Vec<Column>, w: Option<Vec<f64>>) -> Training {
    let rows = columns.first().map_or(0, Column::rows);
    let nominal_weight = w.as_ref().map_or(rows as f64, |w| w.iter().sum());
    Training {
        names: names.to_vec(),
        columns,
        encodings: vec![],
        original_names: vec![],
        rows,
        response: None,
        y: vec![],
        weighted: w.is_some(),
        w,
        offset: None,
        category: Category::Regression,
        nominal_weight,
    }
}

fn check(names: &[String], columns: &[Column]) -> Result<()> {
    let other = |c: &&Column| !c.is_enum() && !c.is_number();
    match columns.iter().position(|c| other(&c)) {
        Some(i) => Err(Error::invalid(format!("column '{}' holds neither numbers nor categories; drop it or convert it", names[i]))),
        None => Ok(()),
    }
}

/// Rows of some columns without a missing value among them.
fn whole_rows(columns: &[Column]) -> Result<Vec<u64>> {
    let rows = columns.first().map_or(0, Column::rows);
    let mut whole = vec![true; rows];
    for c in columns {
        if c.rollup()?.missing > 0 {
            c.to_f64()?.iter().zip(&mut whole).filter(|(v, _)| v.is_nan()).for_each(|(_, w)| *w = false);
        }
    }
    Ok((0..rows as u64).filter(|r| whole[*r as usize]).collect())
}

fn design(train: &Training, e: &Expanded, entering: &[usize], how: Expansion) -> Result<(Design, Vec<String>)> {
    let design = Design::new(train, &e.columns, &e.derived, entering, how.standardize, true, how.all_levels)?;
    let names = design.names(&e.names, &e.columns);
    Ok((design, names))
}

impl Expand for Tables {
    fn expanded(&self, node: &Node, frame: &Frame, pairs: Option<&[String]>, only_pairs: bool, how: Expansion) -> Result<Frame> {
        let (names, columns) = (frame.names(), frame.columns());
        check(names, columns)?;
        let kept = whole_rows(columns)?;
        let given = names.len().saturating_sub(1);
        let mut taken = vec![];
        for c in &columns[..given] {
            taken.push(if kept.len() == frame.rows() { c.clone() } else { c.take(&node.ledger, &kept)? });
        }
        let train = training(&names[..given], taken, None);
        let pairs = interactions::pairs(pairs, &Value::Null)?;
        let e = interactions::expand(&node.ledger, &train, &pairs, &Made::default(), how.all_levels)?;
        let made = e.columns.len() - given;
        let entering: Vec<usize> = e.entering.iter().copied().filter(|i| !only_pairs || *i < made).collect();
        let (mut design, names) = design(&train, &e, &entering, how)?;
        if how.standardize {
            // Numbers are standardized by all rows that have them, those left out too.
            let all = training(&names[..0], columns[..given].to_vec(), None);
            for (slot, &i) in design.order[design.levels.len()..].iter().enumerate().filter(|(_, i)| **i >= made) {
                let (mean, sigma) = moments(&columns[i - made], |r| if all.weighted { all.weight(r) } else { 1.0 })?;
                (design.means[slot], design.mults[slot]) = (mean, if sigma > 0.0 { 1.0 / sigma } else { 1.0 });
            }
        }
        let rows = train.rows;
        node.runner.install(|| {
            let sources: Vec<Vec<f64>> = design.order.iter().map(|&i| e.columns[i].to_f64()).collect::<Result<_>>()?;
            let views: Vec<&[f64]> = sources.iter().map(Vec::as_slice).collect();
            let _held = node.ledger.reserve("the expanded predictors", (names.len() * rows * 8) as u64)?;
            let mut out = vec![vec![0.0; rows]; names.len()];
            let mut x = vec![];
            for r in 0..rows {
                design.row(&views, r, &mut x);
                x.iter().filter(|(i, _)| *i < names.len()).for_each(|(i, v)| out[*i][r] = *v);
            }
            let columns = out.iter().map(|v| Column::numeric(&node.ledger, Kind::Real, v)).collect::<Result<Vec<_>>>()?;
            Frame::new(names, columns)
        })
    }

    fn gram(&self, node: &Node, frame: &Frame, weights: Option<&str>, skip: bool, how: Expansion) -> Result<Frame> {
        let place = match weights.filter(|w| !w.is_empty()) {
            None => None,
            Some(w) => {
                let place = frame.names().iter().position(|n| n == w);
                Some(place.ok_or_else(|| Error::invalid(format!("the weights '{w}' are no column of the frame")))?)
            }
        };
        let of = |i: &usize| Some(*i) != place;
        let names: Vec<String> = (0..frame.names().len()).filter(of).map(|i| frame.names()[i].clone()).collect();
        let mut columns: Vec<Column> = (0..frame.names().len()).filter(of).map(|i| frame.columns()[i].clone()).collect();
        check(&names, &columns)?;
        let mut w = match place {
            None => vec![1.0; frame.rows()],
            Some(i) => frame.columns()[i].to_f64()?,
        };
        if let Some(r) = w.iter().position(|v| !(v.is_finite() && *v >= 0.0)) {
            return Err(Error::invalid(format!("the weight of row {} is {}; weights are numbers of at least 0", r + 1, w[r])));
        }
        if skip {
            let mut kept = vec![0.0; w.len()];
            whole_rows(&columns)?.iter().for_each(|r| kept[*r as usize] = w[*r as usize]);
            w = kept;
        } else {
            for c in columns.iter_mut() {
                let Some(domain) = c.domain().cloned() else { continue };
                let missing = domain.len() as f64;
                let levels: Vec<String> = domain.iter().cloned().chain(["missing(NA)".to_string()]).collect();
                let known = |v: &f64| if v.is_nan() { missing } else { *v };
                *c = Column::map_chunks(&node.ledger, Kind::Enum(Arc::new(levels)), &[c], |v| v[0].iter().map(known).collect())?;
            }
        }
        let train = training(&names, columns, place.map(|_| w.clone()));
        let e = interactions::expand(&node.ledger, &train, &[], &Made::default(), how.all_levels)?;
        let (design, mut names) = design(&train, &e, &e.entering, how)?;
        names.push("Intercept".into());
        let p = names.len();
        node.runner.install(|| {
            let chunks = e.columns.first().map_or(0, |c| c.chunks().len());
            let _held = node.ledger.reserve("a Gram matrix", (p * p * 8 * (chunks + 1)) as u64)?;
            let part = |k: usize| -> Result<Vec<f64>> {
                let data = design.order.iter().map(|&i| e.columns[i].chunks()[k].data()).collect::<Result<Vec<_>>>()?;
                let values: Vec<_> = data.iter().map(f64s).collect();
                let views: Vec<&[f64]> = values.iter().map(|v| v.as_ref()).collect();
                let mut sums = vec![0.0; p * p];
                let mut x = vec![];
                let first = k * ochre_core::CHUNK_ROWS;
                for r in 0..views.first().map_or(0, |v| v.len()) {
                    design.row(&views, r, &mut x);
                    for (i, a) in &x {
                        let a = a * w[first + r];
                        x.iter().for_each(|(j, b)| sums[i * p + j] += a * b);
                    }
                }
                Ok(sums)
            };
            // Chunks are added in their order.
            let parts = (0..chunks).into_par_iter().map(part).collect::<Result<Vec<_>>>()?;
            let mut all = vec![0.0; p * p];
            parts.iter().for_each(|s| all.iter_mut().zip(s).for_each(|(a, b)| *a += b));
            let column = |j: usize| (0..p).map(|i| all[i * p + j]).collect::<Vec<_>>();
            let columns = (0..p).map(|j| Column::numeric(&node.ledger, Kind::Real, &column(j))).collect::<Result<Vec<_>>>()?;
            Frame::new(names, columns)
        })
    }
}
