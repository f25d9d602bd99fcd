//! Sums, and iterations on them.

use super::{HglmOutput, HglmParams};
use crate::linalg;
use ochre_core::{Column, Error, Result, time};
use ochre_model::driver::{Plugs, mixed_of};
use ochre_model::{Deviance, Fitted, Metrics, Run, Training, adapt};
use ochre_schema::{Cell, FrameKey, Table};
use ochre_score::{MixedScorer, Scorer, Sums, Term, dot};

/// The columns of a design that some predictors make, with their names: levels of categories but the first, then
/// numbers, then the intercept.
fn design(train: &Training, places: &[usize], intercept: bool, plugs: Option<&Plugs>) -> Result<(Vec<Term>, Vec<String>)> {
    let (mut terms, mut names) = (vec![], vec![]);
    let mut ordered = places.to_vec();
    ordered.sort_by_key(|&i| (!train.columns[i].is_enum(), i));
    for i in ordered {
        let (c, name) = (&train.columns[i], &train.names[i]);
        let plug = plugs.map(|p| p.value(name, c)).transpose()?;
        match c.domain() {
            Some(domain) => {
                let mut counts = vec![0.0; domain.len().max(1)];
                let values = c.to_f64()?;
                values.iter().enumerate().filter(|(_, v)| !v.is_nan()).for_each(|(r, v)| counts[*v as usize] += train.weight(r));
                let fill = plug.unwrap_or(ochre_model::metrics::argmax(&counts) as f64);
                for (level, label) in domain.iter().enumerate().skip(1) {
                    terms.push(Term { column: Some(i), level: Some(level), fill });
                    names.push(format!("{name}.{label}"));
                }
            }
            None => {
                let (mut sum, mut n) = (0.0, 0.0);
                for (r, v) in c.to_f64()?.into_iter().enumerate().filter(|(_, v)| !v.is_nan()) {
                    sum += train.weight(r) * v;
                    n += train.weight(r);
                }
                terms.push(Term { column: Some(i), level: None, fill: plug.unwrap_or(if n > 0.0 { sum / n } else { 0.0 }) });
                names.push(name.clone());
            }
        }
    }
    if intercept {
        terms.push(Term { column: None, level: None, fill: 0.0 });
        names.push("intercept".into());
    }
    Ok((terms, names))
}

/// A frame of numbers of a given size, row by row.
fn given(run: &Run<'_, HglmParams>, field: &str, key: &Option<FrameKey>, rows: usize, columns: usize) -> Result<Option<Vec<f64>>> {
    let Some(key) = key.as_ref().filter(|k| !k.0.is_empty()) else { return Ok(None) };
    let frame = run.node.store.frame(&key.0)?;
    if (frame.rows(), frame.names().len()) != (rows, columns) {
        return Err(Error::invalid(format!(
            "{field}: frame {key} has {} rows and {} columns, but must have {rows} and {columns}",
            frame.rows(),
            frame.names().len()
        )));
    }
    let lists: Vec<Vec<f64>> = frame.columns().iter().map(Column::to_f64).collect::<Result<_>>()?;
    if lists.iter().flatten().any(|v| !v.is_finite()) {
        return Err(Error::invalid(format!("{field}: frame {key} has missing values")));
    }
    Ok(Some((0..rows * columns).map(|k| lists[k % columns][k / columns]).collect()))
}

const INDISTINCT: &str = "the shared coefficients cannot be told apart: some predictors are linear combinations of others; remove them";

/// Coefficients and variances to begin with.
fn begin(run: &Run<'_, HglmParams>, m: &mut MixedScorer, sums: &Sums) -> Result<()> {
    let params = &run.params;
    let (p, q, groups) = (m.fixed.len(), m.random.len(), m.u.len());
    m.beta = match params.initial_fixed_effects.as_ref().filter(|b| !b.is_empty()) {
        Some(b) if b.len() != p => {
            return Err(Error::invalid(format!("initial_fixed_effects must have {p} values, the intercept last, but has {}", b.len())));
        }
        Some(b) => b.clone(),
        None => linalg::solve_spd(&sums.xx, p, &sums.xy).ok_or_else(|| Error::invalid(INDISTINCT))?,
    };
    let rest = sums.fixed_residual(&m.beta) / sums.n;
    m.variance = if params.tau_e_var_init > 0.0 { params.tau_e_var_init } else { rest.max(1e-12) };
    m.t = match given(run, "initial_t_matrix", &params.initial_t_matrix, q, q)? {
        Some(t) => {
            if (0..q * q).any(|k| (t[k] - t[(k % q) * q + k / q]).abs() > 1e-8 * (1.0 + t[k].abs())) {
                return Err(Error::invalid("initial_t_matrix must be symmetric"));
            }
            if (0..q).any(|i| t[i * q + i] < 0.0) {
                return Err(Error::invalid("initial_t_matrix must have variances that are 0 or positive on its diagonal"));
            }
            t
        }
        None => {
            let each = if params.tau_u_var_init > 0.0 { params.tau_u_var_init } else { m.variance };
            (0..q * q).map(|k| if k / q == k % q { each } else { 0.0 }).collect()
        }
    };
    if let Some(u) = given(run, "initial_random_effects", &params.initial_random_effects, groups, q)? {
        m.u = u.chunks(q).map(<[f64]>::to_vec).collect();
    } else if params.gen_syn_data {
        return Err(Error::invalid("gen_syn_data needs initial_random_effects: the coefficients of each group, a row for each"));
    }
    if params.gen_syn_data && params.tau_e_var_init <= 0.0 {
        return Err(Error::invalid("gen_syn_data needs tau_e_var_init: the variance of the noise"));
    }
    Ok(())
}

/// One iteration; the largest change of anything. The shared coefficients are those of generalized least squares at the
/// current variances, the groups' coefficients integrated out (Liu and Rubin 1994), which takes far fewer iterations than
/// least squares at the groups' current coefficients.
fn step(m: &mut MixedScorer, sums: &Sums) -> Result<f64> {
    let (p, q) = (m.fixed.len(), m.random.len());
    let (mut xx, mut xy) = (sums.xx.clone(), sums.xy.clone());
    for g in sums.groups.iter().filter(|g| g.n > 0.0) {
        let (_, c, _) = g.posterior(&m.beta, &m.t, m.variance);
        let cx: Vec<f64> = (0..q * p).map(|k| (0..q).map(|j| c[k / p * q + j] * g.zx[j * p + k % p]).sum()).collect();
        for a in 0..p {
            (0..p).for_each(|b| xx[a * p + b] -= (0..q).map(|i| g.zx[i * p + a] * cx[i * p + b]).sum::<f64>());
            xy[a] -= (0..q).map(|i| cx[i * p + a] * g.zy[i]).sum::<f64>();
        }
    }
    let beta = linalg::solve_spd(&xx, p, &xy).ok_or_else(|| Error::invalid(INDISTINCT))?;
    let (mut t, mut trace, mut seen) = (vec![0.0; q * q], 0.0, 0.0);
    let mut u = vec![vec![0.0; q]; m.u.len()];
    let mut square = sums.fixed_residual(&beta);
    for (g, own) in sums.groups.iter().zip(&mut u).filter(|(g, _)| g.n > 0.0) {
        let (mean, c, _) = g.posterior(&beta, &m.t, m.variance);
        seen += 1.0;
        for i in 0..q {
            (0..q).for_each(|j| t[i * q + j] += mean[i] * mean[j] + m.variance * c[i * q + j]);
            trace += (0..q).map(|j| c[i * q + j] * g.zz[j * q + i]).sum::<f64>();
        }
        let quadratic: f64 = (0..q * q).map(|k| mean[k / q] * g.zz[k] * mean[k % q]).sum();
        square += quadratic - 2.0 * dot(&mean, &g.left(&beta));
        *own = mean;
    }
    t.iter_mut().for_each(|v| *v /= f64::max(seen, 1.0));
    let variance = ((square.max(0.0) + m.variance * trace) / sums.n).max(1e-300);
    let far = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let moved = far(&beta, &m.beta).max(far(&t, &m.t)).max(far(&u.concat(), &m.u.concat())).max((variance - m.variance).abs());
    (m.beta, m.t, m.u, m.variance) = (beta, t, u, variance);
    Ok(moved)
}

/// A row of the scoring history.
struct Event {
    at_ms: i64,
    iteration: usize,
    likelihood: f64,
    variance: f64,
}

fn history(events: &[Event]) -> Table {
    let each = |f: &dyn Fn(&Event) -> Cell| events.iter().map(f).collect::<Vec<_>>();
    Table::new("Scoring History", "")
        .row_labels(vec![Cell::Text(String::new()); events.len()])
        .column("timestamp", "string", "%s", each(&|e| Cell::Text(time::stamp(e.at_ms))))
        .column("number_of_iterations", "int", "%d", each(&|e| e.iteration.into()))
        .column("loglikelihood", "double", "%.5f", each(&|e| Cell::Double(e.likelihood)))
        .column("noise_variance", "double", "%.5f", each(&|e| Cell::Double(e.variance)))
}

pub fn fit(run: &mut Run<'_, HglmParams>) -> Result<Fitted<HglmOutput>> {
    if run.params.handles_missing_by("Skip") {
        run.train.leave_out_missing()?;
    }
    let (params, train) = (&run.params, &run.train);
    let place = |name: &str| train.names.iter().position(|n| n == name);
    let group = place(params.group()).ok_or_else(|| Error::Internal("there is no group column".into()))?;
    let ignored = params.common.ignored_columns.clone().unwrap_or_default();
    let shared: Vec<usize> = (0..train.columns.len()).filter(|&i| i != group && !ignored.contains(&train.names[i])).collect();
    let own: Vec<usize> = params.random().iter().filter_map(|n| place(n)).collect();
    let plugs = params.handles_missing_by("PlugValues").then(|| Plugs::new(run.node, params.plug_values.as_ref())).transpose()?;
    let (fixed, fixed_names) = design(train, &shared, true, plugs.as_ref())?;
    let (random, random_names) = design(train, &own, params.random_intercept, plugs.as_ref())?;
    let domain = train.columns[group].domain().cloned().unwrap_or_default();
    let (p, q, groups) = (fixed.len(), random.len(), domain.len());
    let each = (p * p + p + groups * (q * q + q * p + q)) * 8;
    let chunks = train.rows.div_ceil(ochre_core::CHUNK_ROWS) + 2;
    let _room = run.node.ledger.reserve(&format!("sums of {groups} groups with {q} coefficients each"), (each * chunks) as u64)?;
    let mut m = MixedScorer {
        fixed,
        random,
        group,
        beta: vec![0.0; p],
        u: vec![vec![0.0; q]; groups],
        t: vec![0.0; q * q],
        variance: 1.0,
        iterations: 0,
        noise: params.gen_syn_data.then_some(params.seed as u64),
    };
    let data = train.adapted(&train.predictors())?;
    let sums = adapt::mixed_sums(&m, &data, &train.y, train.w.as_deref(), train.offset.as_deref())?;
    let valid_sums = match &run.valid {
        Some(v) => Some(adapt::mixed_sums(&m, &v.data, &v.y, v.w.as_deref(), v.offset.as_deref())?),
        None => None,
    };
    begin(run, &mut m, &sums)?;
    let most = match params.max_iterations {
        _ if params.gen_syn_data => 0,
        -1 => 1000,
        n => n as usize,
    };
    let every = if params.common.score_each_iteration { 1 } else { params.score_iteration_interval as usize };
    let (mut events, mut judged) = (vec![], vec![]);
    let note = |m: &MixedScorer, events: &mut Vec<Event>, sums: &Sums| {
        events.push(Event { at_ms: time::now_ms(), iteration: m.iterations, likelihood: m.likelihood(sums), variance: m.variance });
    };
    let mut settled = most == 0;
    while m.iterations < most {
        run.job.check()?;
        if run.out_of_time()? {
            break;
        }
        settled = step(&mut m, &sums)? <= params.em_epsilon;
        m.iterations += 1;
        if settled || m.iterations == 1 || m.iterations == most || m.iterations.is_multiple_of(every) {
            note(&m, &mut events, &sums);
            if let Some(v) = &valid_sums {
                note(&m, &mut judged, v);
            }
        }
        if settled {
            break;
        }
        run.job.set_progress(m.iterations as f64 / most as f64);
    }
    if events.is_empty() {
        note(&m, &mut events, &sums);
    }
    if !settled {
        run.job.warn(format!("training ended after {} iterations before it converged to em_epsilon = {}", m.iterations, params.em_epsilon));
    }
    let measured = |data: &adapt::Adapted, y: &[f64], w: Option<&[f64]>, offset: Option<&[f64]>| -> Result<Metrics> {
        let preds = adapt::score(&Scorer::Mixed(m.clone()), data, offset)?;
        mixed_of(&m, data, &preds, y, w, offset)
    };
    let training = measured(&data, &train.y, train.w.as_deref(), train.offset.as_deref())?;
    let validation = run.valid.as_ref().map(|v| measured(&v.data, &v.y, v.w.as_deref(), v.offset.as_deref())).transpose()?;
    let labels: Vec<String> = domain.iter().map(|l| format!("{}.{l}", train.names[group])).collect();
    let texts = |v: Vec<String>| v.into_iter().map(Cell::Text).collect::<Vec<_>>();
    let doubles = |v: &mut dyn Iterator<Item = &f64>| v.map(|b| Cell::Double(*b)).collect::<Vec<_>>();
    let pairs = || labels.iter().flat_map(|g| random_names.iter().map(move |r| (g.clone(), r.clone())));
    let mut output = HglmOutput {
        coefficients_table: Some(
            Table::new("fixed effect coefficients", "HGLM fixed effect coefficients")
                .column("names", "string", "%s", texts(fixed_names.clone()))
                .column("coefficients", "double", "%.5f", doubles(&mut m.beta.iter())),
        ),
        random_coefficients_table: Some(
            Table::new("random effect coefficients", "HGLM random effect coefficients")
                .column("names", "string", "%s", texts(pairs().map(|p| p.0).collect()))
                .named("coefficient_names", "coefficient names", "string", "%s", texts(pairs().map(|p| p.1).collect()))
                .column("coefficients", "double", "%.5f", doubles(&mut m.u.iter().flatten())),
        ),
        scoring_history_valid: run.valid.is_some().then(|| history(&judged)),
        coefficient_names: Some(fixed_names.clone()),
        random_coefficient_names: Some(random_names.clone()),
        group_column_names: Some(labels.clone()),
        beta: Some(m.beta.clone()),
        ubeta: Some(m.u.clone()),
        tmat: Some(m.covariance()),
        icc: Some(m.shares()),
        residual_variance: m.variance,
        mean_residual_fixed: sums.fixed_residual(&m.beta) / sums.n,
        mean_residual_fixed_valid: valid_sums.as_ref().map_or(0.0, |v| v.fixed_residual(&m.beta) / v.n),
        ..HglmOutput::default()
    };
    output.common.model_summary = Some(
        Table::new("HGLM Model", "summary")
            .row_labels(vec![Cell::Text(String::new())])
            .column("number_of_iterations", "int", "%d", vec![Cell::from(m.iterations)])
            .column("loglikelihood", "double", "%.5f", vec![Cell::Double(m.likelihood(&sums))])
            .column("noise_variance", "double", "%.5f", vec![Cell::Double(m.variance)]),
    );
    output.common.scoring_history = Some(history(&events));
    Ok(Fitted { output, scorer: Scorer::Mixed(m), deviance: Deviance::Gaussian, training, validation, order: None })
}
