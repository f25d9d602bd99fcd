//! Categories: their names, order and number.

use crate::frames::to_enum;
use crate::{Env, Prim, Value, call};
use ochre_core::{Column, Error, Frame, Kind, Result};
use std::sync::Arc;

pub const LEVELS: &[Prim] = &[
    call("levels", &["frame"], levels, "Categories of each column."),
    call("setDomain", &["frame", "in_place", "domain"], set_domain, "Renames all categories of a column."),
    call("setLevel", &["frame", "level"], set_level, "A column that has one of its categories in every row."),
    call("appendLevels", &["frame", "in_place", "levels"], append_levels, "Adds categories that no row has yet."),
    call("relevel", &["frame", "level"], relevel, "Makes a category the first."),
    call(
        "relevel.by.freq",
        &["frame", "weights", "topn"],
        relevel_by_frequency,
        "Orders categories by how often they occur, or moves the `topn` most frequent ones to the front.",
    ),
];

fn levels(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let longest = frame.columns().iter().filter_map(|c| c.domain()).map(|d| d.len()).max().unwrap_or(0);
    let mut out = vec![];
    for c in frame.columns() {
        out.push(match c.domain() {
            Some(d) => {
                let codes: Vec<f64> = (0..longest).map(|i| if i < d.len() { i as f64 } else { f64::NAN }).collect();
                Column::numeric(&env.node.ledger, Kind::Enum(d.clone()), &codes)?
            }
            None => Column::from_f64(&env.node.ledger, &vec![f64::NAN; longest])?,
        });
    }
    Value::new_frame((1..=out.len()).map(|i| format!("C{i}")).collect(), out)
}

fn only_enum(frame: &Frame, what: &str) -> Result<Arc<Vec<String>>> {
    frame
        .columns()
        .first()
        .and_then(|c| c.domain())
        .filter(|_| frame.width() == 1)
        .cloned()
        .ok_or_else(|| Error::invalid(format!("{what} applies to a single categorical column")))
}

fn set_domain(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let old = only_enum(&frame, "setDomain")?;
    let new = args[2].texts()?;
    if new.is_empty() {
        // Without names: only the categories that occur stay.
        return Value::one(&frame.names()[0], to_enum(env, &frame.column(0).to_texts()?)?);
    }
    if new.len() != old.len() {
        return Err(Error::invalid(format!(
            "Number of replacement factors must equal current number of levels. Current number of levels: {} != {}",
            old.len(),
            new.len()
        )));
    }
    Value::one(&frame.names()[0], frame.column(0).with_kind(Kind::Enum(Arc::new(new))))
}

fn relevel(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let domain = only_enum(&frame, "relevel")?;
    let level = args[1].text()?;
    let Some(first) = domain.iter().position(|d| d == level) else {
        return Err(Error::invalid(format!("Did not find level '{level}' in column.")));
    };
    let mut new = vec![level.to_string()];
    new.extend(domain.iter().filter(|d| *d != level).cloned());
    let values: Vec<f64> = frame
        .column(0)
        .numbers()?
        .iter()
        .copied()
        .map(|v| {
            if v.is_nan() {
                v
            } else if v as usize == first {
                0.0
            } else if (v as usize) < first {
                v + 1.0
            } else {
                v
            }
        })
        .collect();
    Value::one(&frame.names()[0], Column::numeric(&env.node.ledger, Kind::Enum(Arc::new(new)), &values)?)
}

fn set_level(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let domain = only_enum(&frame, "setLevel")?;
    let level = args[1].text()?;
    let Some(code) = domain.iter().position(|d| d == level) else {
        return Err(Error::invalid(format!(
            "Did not find level '{level}' in column; it has {} levels, such as {}",
            domain.len(),
            some(&domain)
        )));
    };
    let column = Column::generate(&env.node.ledger, Kind::Enum(domain), frame.rows(), |_, n| vec![code as f64; n])?;
    Value::one(&frame.names()[0], column)
}

/// The first few categories, for messages.
fn some(domain: &[String]) -> String {
    domain.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn append_levels(_: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let mut domain = only_enum(&frame, "appendLevels")?.as_ref().clone();
    for level in args[2].texts()? {
        if !domain.contains(&level) {
            domain.push(level);
        }
    }
    Value::one(&frame.names()[0], frame.column(0).with_kind(Kind::Enum(Arc::new(domain))))
}

fn relevel_by_frequency(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let top = args[2].num()?;
    let weights = match args[1].texts()?.first() {
        Some(name) => {
            let c = frame.by_name(name).ok_or_else(|| Error::invalid(format!("Column {name} not found in the frame to relevel")))?;
            if c.rollup()?.missing > 0 {
                return Err(Error::invalid(format!(
                    "The vector of weights cannot contain any NAs, but '{name}' has {}",
                    c.rollup()?.missing
                )));
            }
            Some(c.numbers()?)
        }
        None => None,
    };
    let mut out = vec![];
    for c in frame.columns() {
        let Some(domain) = c.domain() else {
            out.push(c.clone());
            continue;
        };
        let codes = c.numbers()?;
        let mut counts = vec![0.0; domain.len()];
        for (r, v) in codes.iter().enumerate().filter(|(_, v)| !v.is_nan()) {
            counts[*v as usize] += weights.as_ref().map_or(1.0, |w| w[r]);
        }
        // Equally frequent ones stay in their order.
        let mut order: Vec<usize> = (0..domain.len()).collect();
        order.sort_by(|a, b| counts[*b].total_cmp(&counts[*a]));
        if top >= 0.0 {
            let front: Vec<usize> = order.iter().copied().take(top as usize).collect();
            order = front.iter().copied().chain((0..domain.len()).filter(|i| !front.contains(i))).collect();
        }
        let mut place = vec![0.0; order.len()];
        order.iter().enumerate().for_each(|(new, old)| place[*old] = new as f64);
        let renamed = Arc::new(order.iter().map(|i| domain[*i].clone()).collect());
        let place = |v: &f64| if v.is_nan() { *v } else { place[*v as usize] };
        out.push(Column::map_chunks(&env.node.ledger, Kind::Enum(renamed), &[c], |v| v[0].iter().map(place).collect())?);
    }
    Value::new_frame(frame.names().to_vec(), out)
}
