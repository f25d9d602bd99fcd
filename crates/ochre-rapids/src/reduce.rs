//! From columns to numbers: sums, means, quantiles, and questions about a frame.

use crate::value::columns;
use crate::{Env, Prim, Value, call};
use ochre_core::{CHUNK_ROWS, Column, Error, Frame, Kind, Numbers, Result, quantile, weighted_quantile};
use rayon::prelude::*;

pub const REDUCERS: &[Prim] = &[
    call("mean", &["frame", "na_rm", "axis?"], |e, a| axis(e, a, "mean", |s, n| s / n), "Mean of each column, or of each row (axis 1)."),
    call("sumaxis", &["frame", "na_rm", "axis?"], |e, a| axis(e, a, "sum", |s, _| s), "Sum of each column, or of each row (axis 1)."),
    // As in the reference: the plain name is missing when a value is, the name with NA leaves missing values out.
    call("sum", &["frame", "..."], |_, a| total(a, false, 0.0, |x, y| x + y), "Sum of all values; missing when one is."),
    call("sumNA", &["frame", "..."], |_, a| total(a, true, 0.0, |x, y| x + y), "Sum of all values, missing ones left out."),
    call("min", &["frame", "..."], |_, a| total(a, false, f64::INFINITY, f64::min), "Smallest value; missing when one is."),
    call("minNA", &["frame", "..."], |_, a| total(a, true, f64::INFINITY, f64::min), "Smallest value, missing ones left out."),
    call("max", &["frame", "..."], |_, a| total(a, false, f64::NEG_INFINITY, f64::max), "Largest value; missing when one is."),
    call("maxNA", &["frame", "..."], |_, a| total(a, true, f64::NEG_INFINITY, f64::max), "Largest value, missing ones left out."),
    call("prod", &["frame", "..."], |_, a| total(a, false, 1.0, |x, y| x * y), "Product of all values; missing when one is."),
    call("prod.na", &["frame", "..."], |_, a| total(a, true, 1.0, |x, y| x * y), "Product of all values, missing ones left out."),
    call(
        "skewness",
        &["frame", "na_rm"],
        |_, a| moments(a, 3),
        "Skewness of each column: third central moment over the cube of the deviation.",
    ),
    call(
        "kurtosis",
        &["frame", "na_rm"],
        |_, a| moments(a, 4),
        "Kurtosis of each column: fourth central moment over that power of the deviation.",
    ),
    call(
        "which.max",
        &["frame", "na_rm", "axis"],
        |e, a| place(e, a, "which.max", |v, best| v > best),
        "Row of the largest value of each column.",
    ),
    call(
        "which.min",
        &["frame", "na_rm", "axis"],
        |e, a| place(e, a, "which.min", |v, best| v < best),
        "Row of the smallest value of each column.",
    ),
    call("all", &["frame"], |_, a| truth(a, true), "1 when no value is 0."),
    call("any", &["frame"], |_, a| truth(a, false), "1 when a value is not 0."),
    call("any.na", &["frame"], any_na, "1 when a value is missing."),
    call(
        "any.factor",
        &["frame"],
        |_, a| Ok(Value::Num(f64::from(a[0].clone().frame()?.columns().iter().any(Column::is_enum)))),
        "1 when a column is categorical.",
    ),
    call("naCnt", &["frame"], na_count, "Missing values of each column."),
    call("sd", &["frame", "na_rm?"], |_, a| deviations(a), "Sample standard deviation of each column."),
    call("median", &["frame", "na_rm?"], median, "Median of each column."),
    call("var", &["x", "y", "use", "symmetric"], |e, a| covariance(e, a, false), "Variance of a column, or the covariance matrix."),
    call("cor", &["x", "y", "use", "method"], |e, a| covariance(e, a, true), "Correlation of columns (Pearson or Spearman)."),
    call(
        "quantile",
        &["frame", "probs", "method", "weights"],
        quantiles,
        "Quantiles of each numeric column (type 7); missing for other columns.",
    ),
    call("nrow", &["frame"], |_, a| Ok(Value::Num(a[0].clone().frame()?.rows() as f64)), "Number of rows."),
    call("ncol", &["frame"], |_, a| Ok(Value::Num(a[0].clone().frame()?.width() as f64)), "Number of columns."),
    call("nlevels", &["frame"], nlevels, "Number of categories of a column."),
    call("is.factor", &["frame"], |_, a| each(a, |c| c.is_enum()), "1 for each categorical column."),
    call("is.numeric", &["frame"], |_, a| each(a, |c| matches!(c.kind, Kind::Real | Kind::Missing)), "1 for each numeric column."),
    call("is.character", &["frame"], |_, a| each(a, |c| matches!(c.kind, Kind::Text)), "1 for each column of texts."),
    call("columnsByType", &["frame", "type"], columns_by_type, "Numbers of the columns of a type."),
    call("mode", &["frame"], |_, a| mode(a), "Code of the most frequent category."),
    call("cumsum", &["frame", "axis?"], |e, a| cumulative(e, a, 0.0, |x, y| x + y), "Running sum."),
    call("cumprod", &["frame", "axis?"], |e, a| cumulative(e, a, 1.0, |x, y| x * y), "Running product."),
    call("cummin", &["frame", "axis?"], |e, a| cumulative(e, a, f64::INFINITY, f64::min), "Running minimum."),
    call("cummax", &["frame", "axis?"], |e, a| cumulative(e, a, f64::NEG_INFINITY, f64::max), "Running maximum."),
];

fn readable(c: &Column) -> bool {
    c.is_number()
}

fn axis(env: &mut Env<'_>, args: Vec<Value>, name: &str, finish: fn(f64, f64) -> f64) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let skip = args[1].truth()?;
    // The mean of a row is one number.
    if env.by_row && frame.rows() == 1 && frame.width() > 1 {
        let numbers = frame.columns().iter().filter(|c| readable(c) || c.is_enum());
        let values = numbers.map(|c| c.value(0)).collect::<Result<Vec<f64>>>()?;
        let known: Vec<f64> = values.iter().copied().filter(|v| !(skip && v.is_nan())).collect();
        return Ok(Value::Num(if known.is_empty() { f64::NAN } else { finish(known.iter().sum(), known.len() as f64) }));
    }
    if args.get(2).map_or(Ok(0.0), Value::num)? == 1.0 {
        let (columns, others, kind) = across(&frame);
        let columns = columns.into_iter().map(Column::numbers).collect::<Result<Vec<_>>>()?;
        let rows: Vec<f64> = (0..frame.rows())
            .into_par_iter()
            .map(|r| {
                let (mut s, mut n) = (if others && !skip { f64::NAN } else { 0.0 }, 0.0);
                for c in &columns {
                    if !(skip && c[r].is_nan()) {
                        s += c[r];
                        n += 1.0;
                    }
                }
                if n == 0.0 { f64::NAN } else { finish(s, n) }
            })
            .collect();
        return Value::one(name, Column::from_f64(&env.node.ledger, &rows)?.with_kind(kind));
    }
    let mut out = vec![];
    for c in frame.columns() {
        let v = if !readable(c) && !two_levels(c) {
            f64::NAN
        } else {
            let r = c.rollup()?;
            let n = (r.rows - r.missing) as f64;
            if (r.missing > 0 && !skip) || n == 0.0 { f64::NAN } else { finish(sum(c)?, n) }
        };
        out.push(one_of(env, c, v)?);
    }
    Value::new_frame(frame.names().to_vec(), out)
}

/// What is told of a column as one value; of times, a time.
fn one_of(env: &Env<'_>, c: &Column, v: f64) -> Result<Column> {
    let answer = Column::from_f64(&env.node.ledger, &[v])?;
    Ok(if matches!(c.kind, Kind::Time) { answer.with_kind(Kind::Time) } else { answer })
}

/// Of two categories, the second counts as 1.
fn two_levels(c: &Column) -> bool {
    c.domain().is_some_and(|d| (1..=2).contains(&d.len()))
}

/// Columns whose values are put together row by row, whether there are others that hold no numbers, and what the answer is: times
/// take part only among themselves.
fn across(frame: &Frame) -> (Vec<&Column>, bool, Kind) {
    let times = frame.width() > 0 && frame.columns().iter().all(|c| matches!(c.kind, Kind::Time));
    let (mut used, mut others) = (vec![], false);
    for c in frame.columns() {
        match c.kind {
            Kind::Time if !times => {}
            _ if readable(c) => used.push(c),
            _ => others = true,
        }
    }
    (used, others, if times { Kind::Time } else { Kind::Real })
}

/// The sum of a column's present values, chunk by chunk.
fn sum(c: &Column) -> Result<f64> {
    let parts = c
        .chunks()
        .par_iter()
        .map(|k| Ok(ochre_core::f64s(&k.data()?).iter().filter(|v| !v.is_nan()).sum::<f64>()))
        .collect::<Result<Vec<_>>>()?;
    Ok(parts.iter().sum())
}

/// Of a frame, its values alone: what the client writes behind it (whether to skip missing values, the axis) is no number
/// among them.
fn total(mut args: Vec<Value>, skip: bool, start: f64, f: fn(f64, f64) -> f64) -> Result<Value> {
    let ordered = start.is_infinite();
    if matches!(args.first(), Some(Value::Frame(_))) {
        args.truncate(1);
    }
    let mut out = start;
    for arg in args {
        let frame = match arg {
            Value::Num(v) if v.is_nan() && skip => continue,
            Value::Num(v) if v.is_nan() => return Ok(Value::Num(v)),
            Value::Num(v) => {
                out = f(out, v);
                continue;
            }
            Value::Nums(v) => {
                if !skip && v.iter().any(|v| v.is_nan()) {
                    return Ok(Value::Num(f64::NAN));
                }
                out = v.into_iter().filter(|v| !v.is_nan()).fold(out, f);
                continue;
            }
            v => v.frame()?,
        };
        for c in frame.columns() {
            if !readable(c) && !(c.is_enum() && (ordered || two_levels(c))) {
                // Texts have no sum, nor have categories that are more than yes and no.
                return Ok(Value::Num(f64::NAN));
            }
            if c.rollup()?.missing > 0 && !skip {
                return Ok(Value::Num(f64::NAN));
            }
            let values = c.numbers()?;
            let parts: Vec<f64> = values.par_chunks(CHUNK_ROWS).map(|k| k.iter().copied().filter(|v| !v.is_nan()).fold(start, f)).collect();
            out = parts.into_iter().fold(out, f);
        }
    }
    Ok(Value::Num(out))
}

/// Central moments over powers of the deviation. As in the reference, sums are divided by the number of all rows, missing
/// ones included.
fn moments(args: Vec<Value>, power: i32) -> Result<Value> {
    let (frame, skip) = (args[0].clone().frame()?, args[1].truth()?);
    let mut out = vec![];
    for c in frame.columns() {
        let r = c.rollup()?;
        if !matches!(c.kind, Kind::Real) || (r.missing > 0 && !skip) {
            out.push(f64::NAN);
            continue;
        }
        out.push(moment(&c.numbers()?, r, power));
    }
    Ok(Value::Nums(out))
}

/// A standardized central moment; rows with missing values count, as in the reference.
pub fn moment(values: &[f64], r: &ochre_core::Rollup, power: i32) -> f64 {
    let (mean, n) = (r.mean, r.rows as f64);
    let mut sums = (0.0, 0.0);
    for chunk in values.chunks(CHUNK_ROWS) {
        let part = chunk
            .iter()
            .filter(|v| !v.is_nan())
            .fold((0.0, 0.0), |s: (f64, f64), v| (s.0 + (v - mean).powi(2), s.1 + (v - mean).powi(power)));
        sums = (sums.0 + part.0, sums.1 + part.1);
    }
    sums.1 / n / (sums.0 / n).powf(f64::from(power) / 2.0)
}

fn place(env: &mut Env<'_>, args: Vec<Value>, name: &str, better: fn(f64, f64) -> bool) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let skip = args[1].truth()?;
    let best = |values: &mut dyn Iterator<Item = f64>| {
        let mut best: Option<(usize, f64)> = None;
        for (at, v) in values.enumerate() {
            if v.is_nan() {
                if skip {
                    continue;
                }
                return f64::NAN;
            }
            if best.is_none_or(|b| better(v, b.1)) {
                best = Some((at, v));
            }
        }
        best.map_or(f64::NAN, |b| b.0 as f64)
    };
    let ledger = &env.node.ledger;
    if args[2].num()? != 0.0 {
        let (used, others, _) = across(&frame);
        if used.is_empty() || (others && !skip) {
            return Value::one(name, Column::generate(ledger, Kind::Real, frame.rows(), |_, n| vec![f64::NAN; n])?);
        }
        // Columns are counted without those that take no part.
        let column =
            Column::map_chunks(ledger, Kind::Real, &used, |v| (0..v[0].len()).map(|r| best(&mut v.iter().map(|c| c[r]))).collect())?;
        return Value::one(name, column);
    }
    let mut out = vec![];
    for (c, n) in frame.columns().iter().zip(frame.names()) {
        if matches!(c.kind, Kind::Text | Kind::Uuid) {
            return Err(Error::invalid(format!("{name} has no order for the text column '{n}'; leave it out")));
        }
        let at = if readable(c) || two_levels(c) { best(&mut c.numbers()?.iter().copied()) } else { f64::NAN };
        out.push(one_of(env, c, at)?);
    }
    Value::new_frame(frame.names().to_vec(), out)
}

fn truth(args: Vec<Value>, all: bool) -> Result<Value> {
    let frame = match &args[0] {
        Value::Num(v) => return Ok(Value::Num(f64::from(*v != 0.0))),
        v => v.clone().frame()?,
    };
    for c in frame.columns() {
        let values = c.numbers()?;
        let found = if all { values.par_iter().any(|v| *v == 0.0) } else { values.par_iter().any(|v| *v != 0.0 && !v.is_nan()) };
        if found {
            return Ok(Value::Num(f64::from(!all)));
        }
    }
    Ok(Value::Num(f64::from(all)))
}

fn any_na(_: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    for c in args[0].clone().frame()?.columns() {
        if c.rollup()?.missing > 0 {
            return Ok(Value::Num(1.0));
        }
    }
    Ok(Value::Num(0.0))
}

fn na_count(_: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    args[0].clone().frame()?.columns().iter().map(|c| Ok(c.rollup()?.missing as f64)).collect::<Result<Vec<_>>>().map(Value::Nums)
}

fn deviations(args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let skip = args.get(1).map_or(Ok(true), Value::truth)?;
    let one = |c: &Column| -> Result<f64> {
        let r = c.rollup()?;
        if !readable(c) || (r.missing > 0 && !skip) {
            return Ok(f64::NAN);
        }
        Ok(r.sigma)
    };
    frame.columns().iter().map(one).collect::<Result<Vec<_>>>().map(Value::Nums)
}

fn sorted(c: &Column) -> Result<Numbers> {
    let mut v = c.numbers()?;
    v.retain(|x| !x.is_nan());
    v.par_sort_unstable_by(f64::total_cmp);
    Ok(v)
}

fn median(_: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let skip = args.get(1).map_or(Ok(true), Value::truth)?;
    let one = |c: &Column| -> Result<f64> {
        if !readable(c) || matches!(c.kind, Kind::Time) || (c.rollup()?.missing > 0 && !skip) {
            return Ok(f64::NAN);
        }
        Ok(quantile(&sorted(c)?, 0.5, "interpolate"))
    };
    frame.columns().iter().map(one).collect::<Result<Vec<_>>>().map(Value::Nums)
}

fn quantiles(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let probs = args[1].nums()?;
    let method = args[2].text()?.to_lowercase();
    if let Some(p) = probs.iter().find(|p| !(0.0..=1.0).contains(*p)) {
        return Err(Error::invalid(format!("a probability must lie between 0 and 1, but one is {p}")));
    }
    let weights = match &args[3] {
        Value::Str(n) if !n.is_empty() && n != "_" => {
            let i = columns(&frame, &args[3], false)?[0];
            Some((i, frame.column(i).numbers()?, n.clone()))
        }
        _ => None,
    };
    let mut names = vec!["Probs".to_string()];
    let mut out = vec![Column::from_f64(&env.node.ledger, &probs)?];
    for (i, (n, c)) in frame.names().iter().zip(frame.columns()).enumerate() {
        if weights.as_ref().is_some_and(|w| w.0 == i) {
            continue;
        }
        let values: Vec<f64> = match &weights {
            _ if !readable(c) => vec![f64::NAN; probs.len()],
            None => {
                let s = sorted(c)?;
                probs.iter().map(|p| quantile(&s, *p, &method)).collect()
            }
            Some((_, w, _)) => {
                let mut pairs: Vec<(f64, f64)> =
                    c.numbers()?.iter().copied().zip(w.iter().copied()).filter(|(v, w)| !v.is_nan() && *w > 0.0).collect();
                pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
                probs.iter().map(|p| weighted_quantile(&pairs, *p, &method)).collect()
            }
        };
        names.push(format!("{n}Quantiles"));
        out.push(Column::from_f64(&env.node.ledger, &values)?);
    }
    Value::new_frame(names, out)
}

fn covariance(env: &mut Env<'_>, args: Vec<Value>, correlation: bool) -> Result<Value> {
    let x = args[0].clone().frame()?;
    let y = match &args[1] {
        Value::Nothing => x.clone(),
        v => v.clone().frame()?,
    };
    if x.rows() != y.rows() {
        return Err(Error::invalid(format!("frames must have the same number of rows, found {} and {}", x.rows(), y.rows())));
    }
    let how = args[2].text()?.to_string();
    let by_rank = correlation
        && match args[3].text()?.to_lowercase().as_str() {
            "pearson" => false,
            "spearman" => true,
            other => return Err(Error::invalid(format!("unknown correlation method '{other}'; use Pearson or Spearman"))),
        };
    let read = |f: &Frame| {
        f.columns()
            .iter()
            .map(|c| if c.is_number() || c.is_enum() { c.numbers() } else { Err(Error::invalid("only numeric columns have a covariance")) })
            .collect::<Result<Vec<_>>>()
    };
    let (mut a, mut b) = (read(&x)?, read(&y)?);
    if how == "complete.obs" || how == "na.or.complete" {
        let keep: Vec<bool> = (0..x.rows()).map(|r| a.iter().chain(&b).all(|c| !c[r].is_nan())).collect();
        for c in a.iter_mut().chain(b.iter_mut()) {
            let mut k = keep.iter();
            c.retain(|_| *k.next().expect("as many"));
        }
    } else if how == "all.obs" && a.iter().chain(&b).flatten().any(|v| v.is_nan()) {
        return Err(Error::invalid("Mode is 'all.obs' but NAs are present"));
    }
    if by_rank {
        a.iter_mut().chain(b.iter_mut()).for_each(|c| **c = ranks(c));
    }
    let one = |p: &[f64], q: &[f64]| {
        let pairwise = how == "pairwise.complete.obs";
        let both: Vec<(f64, f64)> =
            p.iter().copied().zip(q.iter().copied()).filter(|(u, v)| !pairwise || !(u.is_nan() || v.is_nan())).collect();
        let n = both.len() as f64;
        let (mx, my) = (both.iter().map(|t| t.0).sum::<f64>() / n, both.iter().map(|t| t.1).sum::<f64>() / n);
        let sxy: f64 = both.iter().map(|t| (t.0 - mx) * (t.1 - my)).sum();
        if !correlation {
            return sxy / (n - 1.0);
        }
        let sxx: f64 = both.iter().map(|t| (t.0 - mx) * (t.0 - mx)).sum();
        let syy: f64 = both.iter().map(|t| (t.1 - my) * (t.1 - my)).sum();
        sxy / (sxx * syy).sqrt()
    };
    if a.len() == 1 && b.len() == 1 {
        return Ok(Value::Num(one(&a[0], &b[0])));
    }
    // Codes of more than two categories have no order that could go with anything.
    let nominal = |f: &Frame| f.columns().iter().map(|c| correlation && c.domain().is_some_and(|d| d.len() > 2)).collect::<Vec<_>>();
    let (no_a, no_b) = (nominal(&x), nominal(&y));
    let columns = b
        .par_iter()
        .zip(&no_b)
        .map(|(q, no_q)| {
            let each = a.iter().zip(&no_a).map(|(p, no_p)| if *no_p || *no_q { f64::NAN } else { one(p, q) });
            Column::from_f64(&env.node.ledger, &each.collect::<Vec<_>>())
        })
        .collect::<Result<Vec<_>>>()?;
    let numbered = || (1..=y.width()).map(|i| format!("C{i}")).collect();
    Value::new_frame(if by_rank { numbered() } else { y.names().to_vec() }, columns)
}

/// Ranks from 1; equal values share the mean of theirs, missing ones have none.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).filter(|i| !values[*i].is_nan()).collect();
    order.par_sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut out = vec![f64::NAN; values.len()];
    let mut at = 0;
    while at < order.len() {
        let end = at + order[at..].partition_point(|i| values[*i] <= values[order[at]]);
        order[at..end].iter().for_each(|i| out[*i] = (at + 1 + end) as f64 / 2.0);
        at = end;
    }
    out
}

fn nlevels(_: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    if frame.width() != 1 {
        return Err(Error::invalid(format!("nlevels applies to a single column. Got: {}", frame.width())));
    }
    Ok(Value::Num(frame.column(0).domain().map_or(0.0, |d| d.len() as f64)))
}

fn each(args: Vec<Value>, f: fn(&Column) -> bool) -> Result<Value> {
    Ok(Value::Nums(args[0].clone().frame()?.columns().iter().map(|c| f64::from(f(c))).collect()))
}

fn columns_by_type(_: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let wanted = args[1].text()?.to_lowercase();
    let is = |c: &Column| match wanted.as_str() {
        "numeric" => matches!(c.kind, Kind::Real | Kind::Missing),
        "categorical" => c.is_enum(),
        "string" => matches!(c.kind, Kind::Text),
        "time" => matches!(c.kind, Kind::Time),
        "uuid" => matches!(c.kind, Kind::Uuid),
        "bad" => matches!(c.kind, Kind::Missing),
        _ => false,
    };
    if !["numeric", "categorical", "string", "time", "uuid", "bad"].contains(&wanted.as_str()) {
        return Err(Error::invalid(format!("unknown column type '{wanted}'; use numeric, categorical, string, time, uuid or bad")));
    }
    Ok(Value::Nums(frame.columns().iter().enumerate().filter(|(_, c)| is(c)).map(|(i, _)| i as f64).collect()))
}

fn mode(args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let Some(domain) = frame.columns().first().and_then(|c| c.domain()).filter(|_| frame.width() == 1) else {
        return Err(Error::invalid("mode only works on a single categorical column"));
    };
    let mut counts = vec![0usize; domain.len()];
    frame.column(0).numbers()?.iter().filter(|v| !v.is_nan()).for_each(|v| counts[*v as usize] += 1);
    let top = counts.iter().copied().max().unwrap_or(0);
    Ok(Value::Num(counts.iter().position(|c| *c == top).unwrap_or(0) as f64))
}

fn cumulative(env: &mut Env<'_>, args: Vec<Value>, start: f64, f: fn(f64, f64) -> f64) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    if args.get(1).map_or(Ok(0.0), Value::num)? == 1.0 {
        let mut last = vec![start; frame.rows()];
        let mut out = vec![];
        for c in frame.columns() {
            for (l, v) in last.iter_mut().zip(c.numbers()?.iter().copied()) {
                *l = f(*l, v);
            }
            out.push(Column::from_f64(&env.node.ledger, &last)?);
        }
        return Value::new_frame(frame.names().to_vec(), out);
    }
    let mut out = vec![];
    for c in frame.columns() {
        let mut at = start;
        let values: Vec<f64> = c
            .numbers()?
            .iter()
            .copied()
            .map(|v| {
                at = if v.is_nan() || at.is_nan() { f64::NAN } else { f(at, v) };
                at
            })
            .collect();
        out.push(Column::from_f64(&env.node.ledger, &values)?);
    }
    let names = if frame.width() == 1 { vec!["C1".into()] } else { frame.names().to_vec() };
    Value::new_frame(names, out)
}
