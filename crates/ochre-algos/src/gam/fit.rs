//! Making the smooths' functions of the training data, and fitting.

use super::splines;
use super::{GamOutput, GamParams, Wanted};
use crate::glm::{Made, fit_made};
use ochre_core::{Column, Error, Frame, Result};
use ochre_model::{Fitted, Run, Training};
use ochre_schema::{Cell, Notes, Table};
use ochre_score::Scorer;
use ochre_score::smooth::{Kind, Smooth};
use rayon::prelude::*;

/// A smooth, and what is asked of its coefficients.
struct Asked {
    smooth: Smooth,
    /// Half the second derivatives of the penalty.
    penalty: Vec<f64>,
    /// Must the coefficients be positive or negative?
    sign: Option<bool>,
}

/// A predictor's place, and its values.
fn values(train: &Training, name: &str) -> Result<(usize, Vec<f64>)> {
    let at = train.names.iter().position(|n| n == name).ok_or_else(|| Error::Internal(format!("there is no predictor '{name}'")))?;
    Ok((at, train.columns[at].to_f64()?))
}

/// Knots that the user gives, one list for each predictor.
fn given_knots(run: &Run<'_, GamParams>, wanted: &Wanted, key: &str) -> Result<Vec<Vec<f64>>> {
    let frame = run.node.store.frame(key)?;
    let (need, have) = (wanted.columns.len(), frame.names().len());
    if need != have {
        return Err(Error::invalid(format!("knot_ids: frame {key} has {have} columns, but the smooth has {need} predictors")));
    }
    let lists: Vec<Vec<f64>> = frame.columns().iter().map(Column::to_f64).collect::<Result<_>>()?;
    if lists.iter().flatten().any(|v| !v.is_finite()) {
        return Err(Error::invalid(format!("knot_ids: frame {key} has missing values; every knot needs a place")));
    }
    if wanted.kind != Kind::Plate && lists[0].windows(2).any(|w| w[0] >= w[1]) {
        return Err(Error::invalid(format!("knot_ids: the knots of frame {key} must rise")));
    }
    Ok(lists)
}

/// Quantiles at even shares, by linear interpolation; of the different values, where some quantiles of all are equal.
fn quantiles(x: &[f64], count: usize, name: &str) -> Result<Vec<f64>> {
    let mut sorted: Vec<f64> = x.iter().copied().filter(|v| !v.is_nan()).collect();
    sorted.par_sort_unstable_by(f64::total_cmp);
    let spread = |sorted: &[f64]| -> Vec<f64> {
        let last = sorted.len().saturating_sub(1);
        let at = |i: usize| {
            let place = i as f64 * last as f64 / (count - 1) as f64;
            let (low, part) = (place.floor() as usize, place.fract());
            if part == 0.0 { sorted[low] } else { sorted[low] + part * (sorted[low + 1] - sorted[low]) }
        };
        (0..count).map(at).collect()
    };
    let rises = |knots: &[f64]| knots.windows(2).all(|w| w[0] < w[1]);
    let knots = spread(&sorted);
    if rises(&knots) {
        return Ok(knots);
    }
    sorted.dedup();
    if sorted.len() < count {
        return Err(Error::invalid(format!(
            "column '{name}' has {} different values, too few for {count} knots; give fewer num_knots",
            sorted.len()
        )));
    }
    Ok(spread(&sorted))
}

fn largest_row(matrix: &[f64], width: usize) -> f64 {
    matrix.par_chunks(width).map(|r| r.iter().map(|v| v.abs()).sum::<f64>()).reduce(|| 0.0, f64::max)
}

/// Means of the columns, by chunks in their order.
fn means(matrix: &[f64], width: usize) -> Vec<f64> {
    let parts: Vec<Vec<f64>> = matrix
        .par_chunks(width * 65_536)
        .map(|part| {
            let mut sums = vec![0.0; width];
            part.chunks(width).for_each(|r| sums.iter_mut().zip(r).for_each(|(s, v)| *s += v));
            sums
        })
        .collect();
    let rows = (matrix.len() / width).max(1) as f64;
    (0..width).map(|i| parts.iter().map(|p| p[i]).sum::<f64>() / rows).collect()
}

fn spline(run: &Run<'_, GamParams>, wanted: &Wanted) -> Result<Asked> {
    let name = &wanted.columns[0];
    let (column, x) = values(&run.train, name)?;
    let knots = match &wanted.given {
        Some(key) => given_knots(run, wanted, key)?.remove(0),
        None => quantiles(&x, wanted.knots, name)?,
    };
    let mut smooth = Smooth::new(wanted.kind, vec![column], vec![knots], wanted.order);
    let basis = smooth.basis();
    let n = basis.functions.len();
    let _room = run.node.ledger.reserve(&format!("{n} functions of '{name}'"), (x.len() * n * 8) as u64)?;
    let plain = basis.combined(&identity(n), n);
    let known: Vec<f64> = (0..x.len()).filter(|&r| !x[r].is_nan() && run.train.weight(r) > 0.0).map(|r| x[r]).collect();
    let matrix: Vec<f64> = known.par_iter().flat_map_iter(|x| plain.iter().map(|s| s.value(*x))).collect();
    let bending = splines::bending(&basis);
    let factor = scale_of(largest_row(&matrix, n), &bending, n) * wanted.scale;
    let (centring, rows) = match wanted.kind {
        Kind::Rising => (None, n),
        _ => (Some(splines::centring(&means(&matrix, n))), n - 1),
    };
    let turned = centring.as_ref().map_or_else(|| bending.clone(), |z| splines::turned(z, &bending, n));
    let (mark, centred) = match wanted.kind {
        Kind::Cubic => ("cr", "0_center_cs_"),
        Kind::Positive => ("ms", "3_center"),
        _ => ("is", "is"),
    };
    smooth.centring = centring;
    smooth.plain = (0..n).map(|i| format!("{name}_{mark}_{i}")).collect();
    smooth.names = (0..rows).map(|i| format!("{name}_{centred}_{i}")).collect();
    Ok(Asked {
        smooth,
        penalty: turned.into_iter().map(|v| v * factor).collect(),
        sign: (wanted.kind == Kind::Rising).then_some(wanted.non_negative),
    })
}

fn identity(n: usize) -> Vec<f64> {
    (0..n * n).map(|k| f64::from(u8::from(k / n == k % n))).collect()
}

/// What a penalty is multiplied by so that its size is that of the functions: the square of their largest row of absolute
/// values over that of the penalty.
fn scale_of(largest: f64, bending: &[f64], n: usize) -> f64 {
    let most = largest_row(bending, n);
    if most > 0.0 { largest * largest / most } else { 1.0 }
}

fn plate(run: &Run<'_, GamParams>, wanted: &Wanted) -> Result<Asked> {
    let train = &run.train;
    let label = wanted.columns.join("_");
    let (places, xs): (Vec<usize>, Vec<Vec<f64>>) =
        wanted.columns.iter().map(|n| values(train, n)).collect::<Result<Vec<_>>>()?.into_iter().unzip();
    let d = xs.len();
    let known: Vec<usize> = (0..train.rows).filter(|&r| xs.iter().all(|x| !x[r].is_nan())).collect();
    let raw = match &wanted.given {
        Some(key) => given_knots(run, wanted, key)?,
        None => {
            // Rows at even steps along the first predictor.
            let mut rows = known.clone();
            rows.par_sort_by(|a, b| xs[0][*a].total_cmp(&xs[0][*b]).then(a.cmp(b)));
            let step = rows.len() / wanted.knots;
            if step == 0 {
                return Err(Error::invalid(format!(
                    "the thin plate of {label} has {} knots, but only {} rows have values; give fewer num_knots",
                    wanted.knots,
                    rows.len()
                )));
            }
            xs.iter().map(|x| (0..wanted.knots).map(|i| x[rows[i * step]]).collect()).collect()
        }
    };
    let k = raw[0].len();
    let (mut shifts, mut factors) = (vec![0.0; d], vec![1.0; d]);
    if run.params.standardize_tp_gam_cols {
        for i in 0..d {
            let r = train.columns[places[i]].rollup()?;
            (shifts[i], factors[i]) = (r.mean, if r.sigma > 0.0 { 1.0 / r.sigma } else { 1.0 });
        }
    }
    let mut smooth = Smooth::new(wanted.kind, places, raw, wanted.order);
    (smooth.shifts, smooth.factors) = (shifts, factors);
    smooth.plain = (0..k).map(|i| format!("{label}_1_{i}")).collect();
    smooth.names = (0..k - 1).map(|i| format!("{label}_1_center_tp_{i}")).collect();
    let blank = smooth.blank();
    let m = blank.powers.len();
    if k <= m {
        return Err(Error::invalid(format!("the thin plate of {label} needs at least {} knots, but has {k}", m + 1)));
    }
    let (free, knots) = (Smooth::free(&blank), &blank.knots);
    let near = |a: &[f64], b: &[f64]| blank.radial(a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum());
    let between: Vec<f64> = (0..k * k).map(|c| near(&knots[c / k], &knots[c % k])).collect();
    let own = splines::turned(&free, &between, k);
    let mut bending = vec![0.0; k * k];
    (0..(k - m) * (k - m)).for_each(|c| bending[(c / (k - m)) * k + c % (k - m)] = own[c]);
    let _room = run.node.ledger.reserve(&format!("{k} functions of {label}"), (known.len() * k * 8) as u64)?;
    let plain = Smooth::plates(&blank, &free, &identity(k));
    let counted: Vec<usize> = known.into_iter().filter(|&r| train.weight(r) > 0.0).collect();
    let matrix: Vec<f64> = counted.par_iter().flat_map_iter(|&r| plain.iter().map(|p| p.value(|i| xs[i][r])).collect::<Vec<_>>()).collect();
    let factor = wanted.scale * if run.params.scale_tp_penalty_mat { scale_of(largest_row(&matrix, k), &bending, k) } else { 1.0 };
    let centring = splines::centring(&means(&matrix, k));
    let turned = splines::turned(&centring, &bending, k);
    smooth.centring = Some(centring);
    Ok(Asked { smooth, penalty: turned.into_iter().map(|v| v * factor).collect(), sign: None })
}

pub fn fit(run: &mut Run<'_, GamParams>) -> Result<Fitted<GamOutput>> {
    let glm = run.params.linear()?;
    let wanted = run.params.wanted(&mut Notes::default());
    let smooths: Vec<Asked> = wanted
        .iter()
        .map(|w| {
            run.job.check()?;
            if w.kind == Kind::Plate { plate(run, w) } else { spline(run, w) }
        })
        .collect::<Result<_>>()?;
    let train = &run.train;
    let ignored = run.params.common.ignored_columns.clone().unwrap_or_default();
    let mut made = Made { given: train.names.iter().map(|n| !ignored.contains(n)).collect(), ..Made::default() };
    for s in &smooths {
        let first = made.derived.len();
        made.derived.extend(s.smooth.names.iter().cloned().zip(s.smooth.derived()));
        made.penalties.push((first, s.penalty.clone()));
        made.signs.extend(s.sign.into_iter().flat_map(|sign| (first..first + s.smooth.names.len()).map(move |i| (i, sign))));
    }
    let valid = run.valid.take();
    let mut fitted = fit_made(&mut run.inner(glm, run.train.clone(), valid), &made)?;
    if let Scorer::Glm(m) = &mut fitted.scorer {
        m.smooths = smooths.iter().map(|s| s.smooth.clone()).collect();
    }
    let train = &run.train;
    let table = fitted.output.coefficients_table.unwrap_or_else(|| Table::new("", ""));
    let table = listed(&table, if train.classes() > 2 { train.classes() } else { 1 });
    let numbers = |names: &[&str]| -> Option<Vec<f64>> {
        let c = table.columns.iter().find(|c| names.contains(&c.name.as_str()))?;
        Some(c.cells.iter().map(|v| if let Cell::Double(v) = v { *v } else { f64::NAN }).collect())
    };
    let mut output = GamOutput {
        coefficients_table: Some(shown(&table)),
        coefficients_table_no_centering: Some(uncentred(&table, &smooths)),
        glm_scoring_history: fitted.output.common.scoring_history.clone().map(|t| named(t, "glm scoring history")),
        glm_model_summary: fitted.output.common.model_summary.clone().map(|t| named(t, "glm model summary")),
        standardized_coefficient_magnitudes: fitted.output.standardized_coefficient_magnitudes,
        variable_importances: fitted.output.variable_importances,
        glm_std_err: numbers(&["std_error"]),
        glm_zvalues: numbers(&["z_value", "t_value"]),
        glm_pvalues: numbers(&["p_value"]),
        ..GamOutput::default()
    };
    let told = fitted.output.common.effective.into_iter();
    output.common.effective = told.filter(|e| ["family", "link", "lambda", "solver"].contains(&e.0)).collect();
    if run.params.store_knot_locations {
        output.knot_locations = Some(smooths.iter().flat_map(|s| s.smooth.knots.clone()).collect());
        output.gam_knot_column_names = Some(smooths.iter().flat_map(|s| &s.smooth.columns).map(|c| train.names[*c].clone()).collect());
    }
    if run.params.keep_gam_cols {
        output.gam_transformed_center_key = Some(keep(run, &made)?);
    }
    Ok(Fitted {
        output,
        scorer: fitted.scorer,
        deviance: fitted.deviance,
        training: fitted.training,
        validation: fitted.validation,
        order: fitted.order,
    })
}

/// A table of the linear model under another name, its labels under theirs.
fn named(mut table: Table, name: &str) -> Table {
    (table.name, table.description) = (name.into(), String::new());
    table.columns[0].name = "names".into();
    table.columns[0].description = "names".into();
    table
}

/// Coefficients with the intercept last; those of several classes one below the other.
fn listed(table: &Table, classes: usize) -> Table {
    let mut out = table.clone();
    for c in out.columns.iter_mut().filter(|c| !c.cells.is_empty()) {
        c.cells.rotate_left(1);
    }
    if classes > 1 {
        let columns = std::mem::take(&mut out.columns);
        let labels = |k: usize| columns[0].cells.iter().map(move |c| Cell::Text(format!("{}_class_{k}", text(c))));
        let stacked = |first: usize, name: &str| {
            let mut c = columns[first].clone();
            c.cells = (0..classes).flat_map(|k| columns[first + k].cells.clone()).collect();
            (c.name, c.description) = (name.into(), name.into());
            c
        };
        let mut names = columns[0].clone();
        names.cells = (0..classes).flat_map(labels).collect();
        out.columns = vec![names, stacked(1, "coefficients"), stacked(1 + classes, "standardized_coefficients")];
    }
    out
}

fn shown(table: &Table) -> Table {
    let mut out = Table { name: "GAM Coefficients".into(), description: String::new(), ..table.clone() };
    out.columns.retain(|c| !STATISTICS.contains(&c.name.as_str()));
    out
}

const STATISTICS: [&str; 4] = ["std_error", "z_value", "t_value", "p_value"];

fn text(cell: &Cell) -> String {
    if let Cell::Text(t) = cell { t.clone() } else { String::new() }
}

/// The coefficients of the functions as they are: those of the centred ones, each times its combination.
fn uncentred(table: &Table, smooths: &[Asked]) -> Table {
    let number = |c: &Cell| if let Cell::Double(v) = c { *v } else { f64::NAN };
    let labels: Vec<String> = table.columns[0].cells.iter().map(text).collect();
    // Rows of the table, or a smooth's first row.
    let mut out = Table { name: "GAM Coefficients No Centering".into(), description: String::new(), ..table.clone() };
    out.columns.retain(|c| !STATISTICS.contains(&c.name.as_str()));
    for (at, column) in out.columns.iter_mut().enumerate() {
        let mut cells: Vec<Cell> = vec![];
        let mut row = 0;
        while row < labels.len() {
            let Some((s, mark)) = smooths
                .iter()
                .find_map(|s| Some((s, labels[row].strip_prefix(&s.smooth.names[0])?)))
                .filter(|(_, m)| m.is_empty() || m.starts_with("_class_"))
            else {
                cells.push(column.cells[row].clone());
                row += 1;
                continue;
            };
            if at == 0 {
                cells.extend(s.smooth.plain.iter().map(|t| Cell::Text(format!("{t}{mark}"))));
            } else {
                let own: Vec<f64> = column.cells[row..row + s.smooth.names.len()].iter().map(number).collect();
                cells.extend(s.smooth.of_basis(&own).into_iter().map(Cell::Double));
            }
            row += s.smooth.names.len();
        }
        column.cells = cells;
        if at > 0 {
            column.name = column.name.replacen("coefficients", "coefficients_no_centering", 1);
            column.description.clone_from(&column.name);
        }
    }
    out
}

/// The frame of predictors that enter and of the smooths' functions.
fn keep(run: &mut Run<'_, GamParams>, made: &Made) -> Result<String> {
    let train = &run.train;
    let key = format!("{}_gam_columns", run.params.common.model_id.clone().unwrap_or_default().0);
    let (mut names, mut columns): (Vec<String>, Vec<Column>) =
        (0..train.columns.len()).filter(|&i| made.given[i]).map(|i| (train.names[i].clone(), train.columns[i].clone())).unzip();
    let all: Vec<Vec<f64>> = train.columns.iter().map(Column::to_f64).collect::<Result<_>>()?;
    let views: Vec<&[f64]> = all.iter().map(Vec::as_slice).collect();
    for (name, derived) in &made.derived {
        let values: Vec<f64> = (0..train.rows).into_par_iter().map(|r| derived.value(&views, r)).collect();
        names.push(name.clone());
        columns.push(Column::numeric(&run.node.ledger, ochre_core::Kind::Real, &values)?);
    }
    if let Some(r) = &train.response {
        names.push(r.name.clone());
        columns.push(Column::numeric(&run.node.ledger, r.domain.clone().map_or(ochre_core::Kind::Real, ochre_core::Kind::Enum), &train.y)?);
    }
    run.node.store.put(&key, Frame::new(names, columns)?)?;
    run.belongings.push(key.clone());
    Ok(key)
}
