//! Interactions: predictors that are products of two others.
//!
//! Two numbers give their product. A number and a category give one number a level. Two categories give a category of
//! the pairs that occur. They stand before what they are made of, as in the reference.

use ochre_core::{Column, Error, Kind, Ledger, Result};
use ochre_model::Training;
use ochre_schema::Value;
use ochre_score::Derived;
use rayon::prelude::*;
use std::sync::Arc;

/// The predictors with what is made of them in front.
pub struct Expanded {
    pub names: Vec<String>,
    pub columns: Vec<Column>,
    pub derived: Vec<Derived>,
    /// Those of them that have coefficients, in their order.
    pub entering: Vec<usize>,
}

/// Predictors that another room makes, with what it demands of their coefficients.
#[derive(Default)]
pub struct Made {
    pub derived: Vec<(String, Derived)>,
    /// Do the given predictors themselves have coefficients?
    pub given: Vec<bool>,
    /// Quadratic penalties: the first of the derived predictors, and half the matrix of second derivatives, row by row.
    pub penalties: Vec<(usize, Vec<f64>)>,
    /// Derived predictors whose coefficients must not be negative (`true`) or not positive.
    pub signs: Vec<(usize, bool)>,
}

/// The pairs of predictors that the user asks for, by name: all pairs of `listed`, and `explicit` ones.
pub fn pairs(listed: Option<&[String]>, explicit: &Value) -> Result<Vec<(String, String)>> {
    let mut out = vec![];
    let listed = listed.unwrap_or_default();
    if listed.len() == 1 {
        return Err(Error::invalid(format!("interactions needs at least two columns, but has only '{}'", listed[0])));
    }
    for (i, a) in listed.iter().enumerate() {
        out.extend(listed[i + 1..].iter().map(|b| (a.clone(), b.clone())));
    }
    for pair in explicit.as_array().map_or(&[][..], Vec::as_slice) {
        let name = |key: &str| pair.get(key).and_then(|v| v.as_str()).map(str::to_string);
        match (name("a"), name("b")) {
            (Some(a), Some(b)) => out.push((a, b)),
            _ => {
                return Err(Error::invalid(format!(
                    "interaction_pairs has the entry {pair}; each needs two columns, as {{a: AGE, b: RACE}}"
                )));
            }
        }
    }
    Ok(out)
}

pub fn expand(ledger: &Arc<Ledger>, train: &Training, pairs: &[(String, String)], made: &Made, all_levels: bool) -> Result<Expanded> {
    let mut out = Expanded { names: vec![], columns: vec![], derived: vec![], entering: vec![] };
    for (name, derived) in &made.derived {
        let kind = match derived {
            Derived::Leaf { names, .. } | Derived::Rules { names, .. } => Kind::Enum(Arc::new(names.clone())),
            _ => Kind::Real,
        };
        out.push(ledger, train, name.clone(), kind, derived.clone())?;
    }
    for (a, b) in pairs {
        let find = |name: &str| {
            let known = || train.names.join(", ");
            let at = train.names.iter().position(|n| n == name);
            at.ok_or_else(|| {
                Error::invalid(format!("interactions name the column '{name}', which is no predictor; predictors are {}", known()))
            })
        };
        let (i, j) = (find(a)?, find(b)?);
        if i == j {
            return Err(Error::invalid(format!("interactions pair the column '{a}' with itself")));
        }
        let name = format!("{a}_{b}");
        let (first, second) = (&train.columns[i], &train.columns[j]);
        match (first.is_enum(), second.is_enum()) {
            (false, false) => out.push(ledger, train, name, Kind::Real, Derived::Product(i, j))?,
            (true, true) => {
                let (kind, derived) = pair(train, i, j, all_levels)?;
                out.push(ledger, train, name, kind, derived)?;
            }
            (first_is_enum, _) => {
                let (category, number) = if first_is_enum { (i, j) } else { (j, i) };
                let levels = train.columns[category].domain().map_or(&[][..], |d| d.as_slice());
                let mode = mode(train, category)?;
                // A number without a term of its own is the baseline of no level.
                let whole = all_levels || made.given.get(number) == Some(&false);
                for (level, label) in levels.iter().enumerate().skip(usize::from(!whole)) {
                    let derived = Derived::At { category, mode, level, number };
                    out.push(ledger, train, format!("{name}.{label}"), Kind::Real, derived)?;
                }
            }
        }
    }
    let first = out.columns.len();
    out.names.extend(train.names.iter().cloned());
    out.columns.extend(train.columns.iter().cloned());
    let given = (first..out.columns.len()).filter(|i| made.given.get(i - first).is_none_or(|g| *g));
    // What another room makes comes after what is given; interactions come before.
    out.entering = if made.derived.is_empty() { (0..first).chain(given).collect() } else { given.chain(0..first).collect() };
    Ok(out)
}

impl Expanded {
    fn push(&mut self, ledger: &Arc<Ledger>, train: &Training, name: String, kind: Kind, derived: Derived) -> Result<()> {
        let used = derived.sources();
        let sources = used.iter().map(|&i| train.columns[i].to_f64()).collect::<Result<Vec<_>>>()?;
        let mut given: Vec<&[f64]> = vec![&[]; train.columns.len()];
        used.iter().zip(&sources).for_each(|(i, s)| given[*i] = s);
        let values: Vec<f64> = (0..train.rows).into_par_iter().map(|r| derived.value(&given, r)).collect();
        self.columns.push(Column::numeric(ledger, kind, &values)?);
        self.names.push(name);
        self.derived.push(derived);
        Ok(())
    }
}

/// The most frequent level of a category.
fn mode(train: &Training, i: usize) -> Result<usize> {
    let mut counts = vec![0.0; train.columns[i].domain().map_or(1, |d| d.len().max(1))];
    for (row, v) in train.columns[i].to_f64()?.into_iter().enumerate().filter(|(_, v)| !v.is_nan()) {
        counts[v as usize] += f64::from(super::design::fills_gaps(train, row));
    }
    Ok(ochre_model::metrics::argmax(&counts))
}

/// The category of the pairs that occur. Without coefficients for first levels, pairs with a first level share one level
/// that comes first, so that it is the baseline.
fn pair(train: &Training, first: usize, second: usize, all_levels: bool) -> Result<(Kind, Derived)> {
    let labels = |i: usize| train.columns[i].domain().cloned().unwrap_or_default();
    let (a, b) = (labels(first), labels(second));
    let mut seen = vec![false; a.len() * b.len()];
    for (x, y) in train.columns[first].to_f64()?.into_iter().zip(train.columns[second].to_f64()?) {
        if !x.is_nan() && !y.is_nan() {
            seen[x as usize * b.len() + y as usize] = true;
        }
    }
    let mut domain = if all_levels { vec![] } else { vec!["baseline".to_string()] };
    let codes = seen.iter().enumerate().map(|(i, seen)| {
        let (x, y) = (i / b.len(), i % b.len());
        if !all_levels && (x == 0 || y == 0) {
            return Some(0);
        }
        seen.then(|| {
            domain.push(format!("{}_{}", a[x], b[y]));
            domain.len() as u32 - 1
        })
    });
    let codes = codes.collect();
    Ok((Kind::Enum(Arc::new(domain)), Derived::Pair { first, second, width: b.len(), codes }))
}
