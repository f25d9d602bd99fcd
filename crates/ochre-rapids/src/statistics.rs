//! Statistics that are more than one number of a column: histograms, distances, splits, isotonic regression.

use crate::value::columns;
use crate::{Env, Prim, Value, call};
use ochre_core::{Column, Error, Frame, Kind, Numbers, Result, Rng, quantile};
use rayon::prelude::*;
use std::sync::Arc;

pub const STATISTICS: &[Prim] = &[
    call(
        "hist",
        &["column", "breaks"],
        histogram,
        "Counts by interval; breaks are given, counted, or found by a rule (sturges, rice, sqrt, doane, scott, fd).",
    ),
    call("distance", &["x", "y", "measure"], distance, "Distance of each row of x to each row of y: l1, l2, cosine, cosine_sq."),
    call("h2o.mad", &["column", "combine?", "constant?"], mad, "Median absolute deviation, times a constant (1.4826)."),
    call("perfectAUC", &["probabilities", "actuals"], perfect_auc, "Area under the ROC curve from all rows, exactly."),
    call(
        "isotonic.pav",
        &["frame"],
        pav,
        "Pool-adjacent-violators: isotonic regression of the first column on the second, weighted by the third.",
    ),
    call("stratified_kfold_column", &["column", "nfolds", "seed"], stratified_kfold, "Random fold numbers, reproducible by seed and row."),
    call(
        "h2o.random_stratified_split",
        &["column", "test_frac", "seed"],
        stratified_split,
        "Marks a part of the rows of each category as test.",
    ),
];

fn only_number(v: &Value, what: &str) -> Result<(Arc<Frame>, Numbers)> {
    let frame = v.clone().frame()?;
    if frame.width() != 1 || !frame.column(0).is_number() {
        return Err(Error::invalid(format!("{what} applies to a single numeric column")));
    }
    let values = frame.column(0).numbers()?;
    Ok((frame, values))
}

fn histogram(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let (frame, values) = only_number(&args[0], "hist")?;
    let r = frame.column(0).rollup()?.clone();
    let n = (r.rows - r.missing) as f64;
    if n == 0.0 || !r.min.is_finite() || !r.max.is_finite() {
        return Err(Error::invalid("hist needs finite values, but the column has none or has infinite ones"));
    }
    let span = r.max - r.min;
    let bins = |k: f64| (k.ceil().clamp(1.0, 1e5)) as usize;
    let by_width = |h: f64| if h > 0.0 { bins(span / h) } else { 1 };
    let k = match &args[1] {
        Value::Nums(v) if v.len() > 1 => 0,
        Value::Num(k) => bins(*k),
        Value::Nums(v) if v.len() == 1 => bins(v[0]),
        rule => match rule.text()?.to_lowercase().as_str() {
            "sturges" => bins(n.log2() + 1.0),
            "rice" => bins(2.0 * n.cbrt()),
            "sqrt" => bins(n.sqrt()),
            // Doane (1976).
            "doane" => {
                let g = crate::reduce::moment(&values, &r, 3);
                let s = (6.0 * (n - 2.0) / ((n + 1.0) * (n + 3.0))).sqrt();
                bins(1.0 + n.log2() + (1.0 + g.abs() / s).log2())
            }
            // Scott (1979), Freedman and Diaconis (1981).
            "scott" => by_width(3.49 * r.sigma / n.cbrt()),
            "fd" => {
                let mut sorted = frame.column(0).numbers()?;
                sorted.retain(|v| !v.is_nan());
                sorted.par_sort_unstable_by(f64::total_cmp);
                by_width(2.0 * (quantile(&sorted, 0.75, "interpolate") - quantile(&sorted, 0.25, "interpolate")) / n.cbrt())
            }
            other => {
                return Err(Error::invalid(format!(
                    "unknown rule '{other}'; use sturges, rice, sqrt, doane, scott, fd, a number or a list of breaks"
                )));
            }
        },
    };
    // As many breaks as were asked for, from the least value to the largest.
    let gaps = k.max(2) - 1;
    let mut breaks = if k == 0 { args[1].nums()? } else { (0..=gaps).map(|i| r.min + span * i as f64 / gaps as f64).collect() };
    breaks.sort_by(f64::total_cmp);
    let last = breaks.len() - 1;
    let (mut counts, mut lows, mut highs) = (vec![0.0; last + 1], vec![f64::INFINITY; last + 1], vec![f64::NEG_INFINITY; last + 1]);
    for v in values.iter().copied().filter(|v| *v >= breaks[0] && *v <= breaks[last]) {
        // Intervals hold their right end; the first one both.
        let i = breaks.partition_point(|b| *b < v).clamp(1, last);
        counts[i] += 1.0;
        (lows[i], highs[i]) = (lows[i].min(v), highs[i].max(v));
    }
    let after_first = |f: &dyn Fn(usize) -> f64| (0..=last).map(|i| if i == 0 { f64::NAN } else { f(i) }).collect::<Vec<f64>>();
    let columns = [
        breaks.clone(),
        after_first(&|i| counts[i]),
        after_first(&|i| if counts[i] > 0.0 { (lows[i] + highs[i]) / 2.0 } else { (breaks[i - 1] + breaks[i]) / 2.0 }),
        after_first(&|i| (breaks[i - 1] + breaks[i]) / 2.0),
    ];
    let columns = columns.iter().map(|c| Column::from_f64(&env.node.ledger, c)).collect::<Result<Vec<_>>>()?;
    Value::new_frame(["breaks", "counts", "mids_true", "mids"].map(str::to_string).to_vec(), columns)
}

fn distance(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let (x, y) = (args[0].clone().frame()?, args[1].clone().frame()?);
    let measure: fn(&[f64], &[f64]) -> f64 = match args[2].text()? {
        "l1" => |a, b| a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum(),
        "l2" => |a, b| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt(),
        "cosine" => cosine,
        "cosine_sq" => |a, b| cosine(a, b).powi(2),
        other => {
            return Err(Error::invalid(format!("Invalid distance measure provided: {other}. Must be one of [cosine, cosine_sq, l1, l2]")));
        }
    };
    if x.width() != y.width() {
        return Err(Error::invalid(format!("Frames must have the same number of cols, found {} and {}", x.width(), y.width())));
    }
    for f in [&x, &y] {
        for (n, c) in f.names().iter().zip(f.columns()) {
            if !c.is_number() {
                return Err(Error::invalid(format!("distances are taken of numeric columns, but '{n}' is none")));
            }
            if c.rollup()?.missing > 0 {
                return Err(Error::invalid(format!(
                    "distances need complete columns, but '{n}' has {} missing values",
                    c.rollup()?.missing
                )));
            }
        }
    }
    let points: Vec<Vec<f64>> = {
        let columns = y.columns().iter().map(Column::to_f64).collect::<Result<Vec<_>>>()?;
        (0..y.rows()).map(|r| columns.iter().map(|c| c[r]).collect()).collect()
    };
    let inputs: Vec<&Column> = x.columns().iter().collect();
    let out = points
        .iter()
        .map(|p| {
            Column::map_chunks(&env.node.ledger, Kind::Real, &inputs, |v| {
                let mut row = vec![0.0; v.len()];
                (0..v[0].len())
                    .map(|r| {
                        row.iter_mut().zip(v).for_each(|(slot, c)| *slot = c[r]);
                        measure(&row, p)
                    })
                    .collect()
            })
        })
        .collect::<Result<Vec<_>>>()?;
    Value::new_frame((1..=out.len()).map(|i| format!("C{i}")).collect(), out)
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt())
}

fn mad(_: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let (_, mut values) = only_number(&args[0], "mad")?;
    let combine = args.get(1).map_or(Ok("interpolate"), |v| v.text())?.to_lowercase();
    let constant = args.get(2).map_or(Ok(1.4826), Value::num)?;
    if values.iter().any(|v| v.is_nan()) {
        return Ok(Value::Num(f64::NAN));
    }
    values.par_sort_unstable_by(f64::total_cmp);
    let middle = quantile(&values, 0.5, &combine);
    values.iter_mut().for_each(|v| *v = (*v - middle).abs());
    values.par_sort_unstable_by(f64::total_cmp);
    Ok(Value::Num(constant * quantile(&values, 0.5, &combine)))
}

/// The Mann-Whitney statistic: ties count half.
fn perfect_auc(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let (_, probabilities) = only_number(&args[0], "perfectAUC")?;
    let actuals = args[1].clone().frame()?;
    if actuals.width() != 1 || actuals.rows() != probabilities.len() {
        return Err(Error::invalid(format!("perfectAUC needs one column of {} actual values", probabilities.len())));
    }
    if let Some(p) = probabilities.iter().find(|p| !(0.0..=1.0).contains(*p)) {
        return Err(Error::invalid(format!("Probabilities are between 0 and 1, but one is {p}")));
    }
    let actuals = actuals.column(0).numbers()?;
    let mut pairs: Vec<(f64, f64)> = probabilities.iter().copied().zip(actuals.iter().copied()).filter(|p| !p.1.is_nan()).collect();
    if let Some((_, a)) = pairs.iter().find(|(_, a)| *a != 0.0 && *a != 1.0) {
        return Err(Error::invalid(format!("actuals are 0 or 1, but one is {a}")));
    }
    pairs.par_sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut wins, mut at) = (0.0, 0.0, 0);
    while at < pairs.len() {
        let end = at + pairs[at..].partition_point(|p| p.0 <= pairs[at].0);
        let positives: f64 = pairs[at..end].iter().map(|p| p.1).sum();
        let negatives = (end - at) as f64 - positives;
        wins += positives * (below + 0.5 * negatives);
        below += negatives;
        at = end;
    }
    let auc = wins / (below * (pairs.len() as f64 - below));
    Value::one("C1", Column::from_f64(&env.node.ledger, &[auc])?)
}

/// Pool adjacent violators (Barlow et al. 1972): rows (y, x, weight); answers the two ends of each block.
fn pav(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    if frame.width() != 3 {
        return Err(Error::invalid(format!("isotonic.pav takes three columns (response, feature, weight), found {}", frame.width())));
    }
    let columns = frame.columns().iter().map(Column::to_f64).collect::<Result<Vec<_>>>()?;
    let mut rows: Vec<[f64; 3]> = (0..frame.rows())
        .map(|r| [columns[0][r], columns[1][r], columns[2][r]])
        .filter(|r| r.iter().all(|v| !v.is_nan()) && r[2] > 0.0)
        .collect();
    rows.sort_by(|a, b| a[1].total_cmp(&b[1]));
    // A block: mean, weight, first and last feature.
    let mut blocks: Vec<[f64; 4]> = vec![];
    for [y, x, w] in rows {
        let mut block = [y, w, x, x];
        while let Some(before) = blocks.last().filter(|b| b[0] >= block[0] || b[3] == block[2]) {
            let weight = before[1] + block[1];
            block = [(before[0] * before[1] + block[0] * block[1]) / weight, weight, before[2], block[3]];
            blocks.pop();
        }
        blocks.push(block);
    }
    let mut out: [Vec<f64>; 3] = Default::default();
    for [y, w, low, high] in blocks {
        let ends: &[f64] = if low == high { &[low] } else { &[low, high] };
        for x in ends {
            [y, *x, w / ends.len() as f64].iter().zip(&mut out).for_each(|(v, c)| c.push(*v));
        }
    }
    let out = out.iter().map(|c| Column::from_f64(&env.node.ledger, c)).collect::<Result<Vec<_>>>()?;
    Value::new_frame((1..=3).map(|i| format!("C{i}")).collect(), out)
}

/// As the reference has it, categories make no difference here: each row's fold comes from the seed and its number.
fn stratified_kfold(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let folds = args[1].num()?;
    if !(1.0..=1e9).contains(&folds) {
        return Err(Error::invalid(format!("the number of folds must be at least 1, but is {folds}")));
    }
    let of_class = Rng::new(crate::frames::seed(&args[2])?).next_i64();
    let column = Column::generate(&env.node.ledger, Kind::Real, frame.rows(), |first, n| {
        (first..first + n)
            .map(|r| f64::from((Rng::new(of_class.wrapping_add(r as i64)).next_u32() as i32).unsigned_abs() % folds as u32))
            .collect()
    })?;
    Value::one("C1", column)
}

fn stratified_split(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let picked = columns(&frame, &Value::Nothing, false)?;
    let c = frame.column(0);
    if picked.len() != 1 || !(c.is_enum() || c.is_number() && c.rollup()?.whole) {
        return Err(Error::invalid("stratification applies to a single categorical or whole-number column"));
    }
    let fraction = args[1].num()?;
    if !(0.0..=1.0).contains(&fraction) {
        return Err(Error::invalid(format!("the fraction of test rows must lie between 0 and 1, but is {fraction}")));
    }
    let seed = crate::frames::seed(&args[2])?;
    let g = crate::group::groups(&[c])?;
    // Within each category, the rows with the smallest random numbers are test rows.
    let mut rows: Vec<Vec<(u32, u32)>> = vec![vec![]; g.first.len()];
    for (r, id) in g.of_row.iter().enumerate() {
        rows[*id as usize].push((Rng::new(seed.wrapping_add(r as i64)).next_u32(), r as u32));
    }
    let mut test = vec![0.0; frame.rows()];
    for mut members in rows {
        members.sort_unstable();
        let n = (members.len() as f64 * fraction).round() as usize;
        members[..n].iter().for_each(|(_, r)| test[*r as usize] = 1.0);
    }
    let domain = Kind::Enum(Arc::new(vec!["train".into(), "test".into()]));
    Value::one("test_train_split", Column::numeric(&env.node.ledger, domain, &test)?)
}
