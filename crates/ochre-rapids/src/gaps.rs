//! Missing values, and what lies between one row and the next.

use crate::{Env, Prim, Value, call};
use ochre_core::{Column, Error, Kind, Result};
use std::sync::Arc;

pub const GAPS: &[Prim] = &[
    call(
        "h2o.fillna",
        &["frame", "method", "axis", "limit"],
        fill,
        "Fills missing values from the row (axis 0) or column (axis 1) before or after, at most `limit` in a run.",
    ),
    call("filterNACols", &["frame", "fraction"], complete_columns, "Numbers of the columns in which less than a fraction is missing."),
    call("difflag1", &["column"], difference, "Each value minus the one before."),
];

/// Fills one run of values from the front.
fn carry<'a>(values: impl Iterator<Item = &'a mut f64>, limit: f64) {
    let (mut last, mut run) = (f64::NAN, 0.0);
    for v in values {
        if !v.is_nan() {
            (last, run) = (*v, 0.0);
        } else if run < limit {
            *v = last;
            run += 1.0;
        }
    }
}

fn fill(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let forward = match args[1].text()?.to_lowercase().as_str() {
        "forward" => true,
        "backward" => false,
        other => return Err(Error::invalid(format!("the method must be 'forward' or 'backward', but is '{other}'"))),
    };
    let by_row = match args[2].num()? {
        0.0 => false,
        1.0 => true,
        other => return Err(Error::invalid(format!("the axis must be 0 (along columns) or 1 (along rows), but is {other}"))),
    };
    let limit = args[3].num()?;
    if limit.is_nan() || limit < 0.0 {
        return Err(Error::invalid(format!("the limit must not be negative, but is {limit}")));
    }
    if limit == 0.0 {
        return Ok(Value::Frame(frame));
    }
    if let Some(i) = frame.columns().iter().position(|c| matches!(c.kind, Kind::Text | Kind::Uuid)) {
        return Err(Error::invalid(format!("fillna fills numbers and categories, but the column '{}' holds texts", frame.names()[i])));
    }
    let _room = env.node.ledger.reserve("columns to fill", 8 * (frame.rows() * frame.width()) as u64)?;
    let mut values = frame.columns().iter().map(Column::to_f64).collect::<Result<Vec<_>>>()?;
    if by_row {
        for r in 0..frame.rows() {
            let row = values.iter_mut().map(|c| &mut c[r]);
            if forward { carry(row, limit) } else { carry(row.rev(), limit) }
        }
    } else {
        for column in &mut values {
            if forward { carry(column.iter_mut(), limit) } else { carry(column.iter_mut().rev(), limit) }
        }
    }
    let out = values
        .iter()
        .zip(frame.columns())
        // A row may mix kinds: then all are numbers.
        .map(|(v, c)| Column::numeric(&env.node.ledger, if by_row { Kind::Real } else { c.kind.clone() }, v))
        .collect::<Result<Vec<_>>>()?;
    let kinds = out.into_iter().map(|c| if matches!(c.kind, Kind::Missing) { c.with_kind(Kind::Real) } else { c }).collect();
    Value::new_frame((1..=frame.width()).map(|i| format!("C{i}")).collect(), kinds)
}

fn complete_columns(_: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let fraction = args[1].num()?;
    let mut kept = vec![];
    for (i, c) in frame.columns().iter().enumerate() {
        if (c.rollup()?.missing as f64) < frame.rows() as f64 * fraction {
            kept.push(i as f64);
        }
    }
    Ok(Value::Nums(kept))
}

fn difference(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    if frame.width() != 1 {
        return Err(Error::invalid(format!("Expected a single column for diff. Got: {} columns.", frame.width())));
    }
    let c = frame.column(0);
    if !c.is_number() {
        return Err(Error::invalid("Expected a numeric column for diff."));
    }
    let values = Arc::new(c.numbers()?);
    let column = Column::generate(&env.node.ledger, Kind::Real, frame.rows(), |first, n| {
        (first..first + n).map(|r| if r == 0 { f64::NAN } else { values[r] - values[r - 1] }).collect()
    })?;
    Value::one(&frame.names()[0], column)
}
