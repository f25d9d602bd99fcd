//! Partial dependence (Friedman 2001, 8.2): the mean prediction when a column, or a pair of columns, has one value in every
//! row. Nothing is copied: the column's place is taken by a constant while the frame is scored.

use crate::adapt::{self, Adapted, Source};
use crate::{Model, Predictor};
use ochre_core::{Column, Error, Frame, Job, Node, Result};
use ochre_schema::{Cell, Table};
use std::sync::Arc;

/// What is asked for.
pub struct Ask {
    pub columns: Vec<String>,
    pub pairs: Vec<(String, String)>,
    pub bins: usize,
    /// Values to look at, by column; others are spread evenly.
    pub values: Vec<(String, Vec<f64>)>,
    pub with_missing: bool,
    pub weights: Option<usize>,
    /// One row alone.
    pub row: Option<usize>,
    /// Classes of a response with more than two.
    pub targets: Vec<String>,
}

/// One value of a column: how it is shown, and its code or number for the model.
#[derive(Clone)]
struct Point {
    shown: Cell,
    value: f64,
}

fn points(ask: &Ask, frame: &Frame, model: &Model, name: &str) -> Result<(usize, Vec<Point>)> {
    let column = frame.by_name(name).ok_or_else(|| Error::ColumnNotFound { column: name.into(), frame: "the frame".into() })?;
    let place = model
        .predictors
        .iter()
        .position(|p| p.name == name)
        .ok_or_else(|| Error::invalid(format!("column '{name}' is no predictor of model {}", model.key)))?;
    let asked = ask.values.iter().find(|v| v.0 == name).map(|v| v.1.clone());
    let predictor: &Predictor = &model.predictors[place];
    let mut out = vec![];
    match (column.domain(), &predictor.domain) {
        (Some(own), Some(trained)) => {
            let codes = asked.unwrap_or_else(|| (0..own.len()).map(|i| i as f64).collect());
            for code in codes {
                let label = own.get(code as usize).ok_or_else(|| Error::invalid(format!("column '{name}' has no level number {code}")))?;
                let value = trained.iter().position(|t| t == label).map_or(f64::NAN, |i| i as f64);
                out.push(Point { shown: Cell::Text(label.clone()), value });
            }
            if ask.with_missing {
                out.push(Point { shown: Cell::Text(".missing(NA)".into()), value: f64::NAN });
            }
        }
        (None, None) => {
            let r = column.rollup()?;
            let spread = || {
                let mut n = ask.bins.max(1);
                if r.whole {
                    n = n.min((r.max - r.min) as usize + 1);
                }
                let step = if n > 1 { (r.max - r.min) / (n - 1) as f64 } else { 0.0 };
                (0..n).map(|i| r.min + step * i as f64).collect::<Vec<f64>>()
            };
            out.extend(asked.unwrap_or_else(spread).into_iter().map(|v| Point { shown: Cell::Double(v), value: v }));
            if ask.with_missing {
                out.push(Point { shown: Cell::Double(f64::NAN), value: f64::NAN });
            }
        }
        _ => return Err(Error::invalid(format!("column '{name}' has another type than it had in training"))),
    }
    Ok((place, out))
}

/// Mean, deviation and standard error of the predictions of one class (or the number predicted).
fn moments(preds: &[f64], width: usize, class: usize, w: Option<&[f64]>) -> [f64; 3] {
    let n = preds.len() / width;
    let weight = |i: usize| w.map_or(1.0, |w| w[i]);
    let (mut total, mut sum, mut squares, mut rows) = (0.0, 0.0, 0.0, 0.0);
    for i in (0..n).filter(|&i| weight(i) > 0.0) {
        let p = preds[i * width + class];
        total += weight(i);
        sum += weight(i) * p;
        squares += weight(i) * p * p;
        rows += 1.0;
    }
    let mean = sum / total;
    let variance = (squares / total - mean * mean).max(0.0) * rows / f64::max(rows - 1.0, 1.0);
    [mean, variance.sqrt(), variance.sqrt() / f64::sqrt(n as f64)]
}

/// The classes to look at, by number, with the names that were asked for.
fn shown<'a>(model: &Model, ask: &'a Ask) -> Result<Vec<(usize, Option<&'a str>)>> {
    let classes = model.classes();
    if ask.targets.is_empty() {
        if classes.len() > 2 {
            let what = "Targets parameter has to be set for multinomial classification or ordinal regression.";
            return Err(Error::invalid(format!("{what} The classes are {}", classes.join(", "))));
        }
        return Ok(vec![(usize::from(classes.len() == 2), None)]);
    }
    let place = |t: &'a String| {
        let place = classes.iter().position(|c| c == t);
        let known = || Error::invalid(format!("Incorrect target class: {t}. The classes are {}", classes.join(", ")));
        Ok((place.ok_or_else(known)?, Some(t.as_str())))
    };
    ask.targets.iter().map(place).collect()
}

/// Refuses what cannot be told, before a job begins.
pub fn check(model: &Model, frame: &Frame, ask: &Ask) -> Result<()> {
    if let Some(row) = ask.row.filter(|r| *r >= frame.rows()) {
        return Err(Error::invalid(format!("row {row} is out of range: the frame has {} rows", frame.rows())));
    }
    if let Some(c) = ask.weights.filter(|c| *c >= frame.width()) {
        return Err(Error::invalid(format!("weight column {c} is out of range: the frame has {} columns", frame.width())));
    }
    shown(model, ask)?;
    let names = ask.columns.iter().chain(ask.pairs.iter().flat_map(|(a, b)| [a, b]));
    names.into_iter().try_for_each(|n| points(ask, frame, model, n).map(|_| ()))
}

/// One table per column (or pair) and class.
pub fn partial_dependence(node: &Arc<Node>, job: &Job, model: &Model, frame: &Frame, ask: &Ask) -> Result<Vec<Table>> {
    check(model, frame, ask)?;
    let whole = frame;
    let frame = match ask.row {
        Some(row) => {
            let one = |c: &Column| c.take(&node.ledger, &[row as u64]);
            Frame::new(frame.names().to_vec(), frame.columns().iter().map(one).collect::<Result<_>>()?)?
        }
        None => frame.clone(),
    };
    let data = adapt::adapt(&frame, &model.predictors)?;
    let weights = ask.weights.map(|c| frame.column(c).to_f64()).transpose()?;
    let shown = shown(model, ask)?;
    let width = model.scorer.width();
    let score = |fixed: &[(usize, f64)]| -> Result<Vec<f64>> {
        job.check()?;
        let mut sources = data.sources.clone();
        for (place, value) in fixed {
            sources[*place] = Source::Constant(*value);
        }
        let data = Adapted { sources, rows: data.rows, warnings: vec![] };
        adapt::score(&model.scorer, &data, None)
    };
    let row_text = ask.row.map_or(String::new(), |r| format!("' for row index{r}"));
    let end = if ask.row.is_some() { "" } else { "." };
    let mut out = vec![];
    let work = (ask.columns.len() + ask.pairs.len()).max(1) as f64;
    for (done, name) in ask.columns.iter().enumerate() {
        let (place, points) = points(ask, whole, model, name)?;
        let preds = points.iter().map(|p| score(&[(place, p.value)])).collect::<Result<Vec<_>>>()?;
        for (class, target) in &shown {
            let about = match target {
                Some(t) => format!("Partial Dependence Plot of model {} on column '{name}' and class {t}{row_text}", model.key),
                None => format!("Partial Dependence Plot of model {} on column '{name}'{row_text}{end}", model.key),
            };
            let rows: Vec<[f64; 3]> = preds.iter().map(|p| moments(p, width, *class, weights.as_deref())).collect();
            let head = [(name.as_str(), points.iter().map(|p| p.shown.clone()).collect())];
            out.push(table("PartialDependence", &about, head.to_vec(), &rows));
        }
        job.set_progress((done + 1) as f64 / work);
    }
    for (done, (a, b)) in ask.pairs.iter().enumerate() {
        let ((pa, va), (pb, vb)) = (points(ask, whole, model, a)?, points(ask, whole, model, b)?);
        let grid: Vec<(&Point, &Point)> = va.iter().flat_map(|x| vb.iter().map(move |y| (x, y))).collect();
        let preds = grid.iter().map(|(x, y)| score(&[(pa, x.value), (pb, y.value)])).collect::<Result<Vec<_>>>()?;
        for (class, target) in &shown {
            let mut about = format!("2D Partial Dependence Plot of model {} on 1st column '{a}' and 2nd column '{b}'", model.key);
            if let Some(t) = target {
                about.push_str(&format!(" and class {t}"));
            }
            about.push_str(&row_text);
            let rows: Vec<[f64; 3]> = preds.iter().map(|p| moments(p, width, *class, weights.as_deref())).collect();
            let first = grid.iter().map(|g| g.0.shown.clone()).collect();
            let second = grid.iter().map(|g| g.1.shown.clone()).collect();
            out.push(table("2D-PartialDependence", &about, vec![(a, first), (b, second)], &rows));
        }
        job.set_progress((ask.columns.len() + done + 1) as f64 / work);
    }
    Ok(out)
}

fn table(name: &str, about: &str, heads: Vec<(&str, Vec<Cell>)>, rows: &[[f64; 3]]) -> Table {
    let mut t = Table::new(name, about);
    for (head, cells) in heads {
        let words = cells.iter().any(|c| matches!(c, Cell::Text(_)));
        let (kind, format) = if words { ("string", "%s") } else { ("double", "%5f") };
        t = t.named(&head.to_lowercase(), head, kind, format, cells);
    }
    for (i, name) in ["mean_response", "stddev_response", "std_error_mean_response"].into_iter().enumerate() {
        t = t.named(name, name, "double", "%5f", rows.iter().map(|r| Cell::Double(r[i])).collect());
    }
    t
}
