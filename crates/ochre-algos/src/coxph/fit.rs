//! Maximising the partial likelihood.

use super::{CoxOutput, CoxParams, Ties};
use crate::glm::design::by_levels;
use crate::glm::interactions;
use crate::linalg;
use ochre_core::{Column, Error, Frame, Node, Result, time};
use ochre_model::metrics::{Lifetimes, survival};
use ochre_model::{Category, Deviance, Fitted, Run};
use ochre_schema::{Cell, FrameKey, Table};
use ochre_score::{CoxScorer, CoxTerms, Scorer};

/// Rows of one stratum, in the order of the data.
struct Stratum {
    codes: Vec<f64>,
    rows: Vec<usize>,
    /// Places in `rows` by falling stop, and by falling start.
    by_stop: Vec<usize>,
    by_start: Vec<usize>,
}

struct Problem {
    p: usize,
    /// Predictors, row by row, less their means.
    x: Vec<f64>,
    start: Vec<f64>,
    stop: Vec<f64>,
    event: Vec<bool>,
    w: Vec<f64>,
    offset: Vec<f64>,
    strata: Vec<Stratum>,
    ties: Ties,
}

/// Log-likelihood, its gradient and the information.
struct Step {
    loglik: f64,
    gradient: Vec<f64>,
    information: Vec<f64>,
}

/// Sums over a set of rows: of risks, of risks times predictors, and times their products (lower half).
#[derive(Clone)]
struct Sums {
    s0: f64,
    s1: Vec<f64>,
    s2: Vec<f64>,
}

impl Sums {
    fn new(p: usize) -> Sums {
        Sums { s0: 0.0, s1: vec![0.0; p], s2: vec![0.0; p * p] }
    }
    fn add(&mut self, risk: f64, x: &[f64]) {
        let p = x.len();
        self.s0 += risk;
        for i in 0..p {
            self.s1[i] += risk * x[i];
            for j in 0..=i {
                self.s2[i * p + j] += risk * x[i] * x[j];
            }
        }
    }
}

impl Problem {
    fn row(&self, r: usize) -> &[f64] {
        &self.x[r * self.p..(r + 1) * self.p]
    }

    fn step(&self, beta: &[f64]) -> Step {
        let p = self.p;
        let mut out = Step { loglik: 0.0, gradient: vec![0.0; p], information: vec![0.0; p * p] };
        let eta = |r: usize| self.offset[r] + self.row(r).iter().zip(beta).map(|(x, b)| x * b).sum::<f64>();
        for s in &self.strata {
            let (mut stopped, mut started) = (Sums::new(p), Sums::new(p));
            let (mut a, mut b) = (0, 0);
            while a < s.by_stop.len() {
                let now = self.stop[s.rows[s.by_stop[a]]];
                let mut dead = Sums::new(p);
                let (mut deaths, mut weight) = (0usize, 0.0);
                while a < s.by_stop.len() && self.stop[s.rows[s.by_stop[a]]] == now {
                    let r = s.rows[s.by_stop[a]];
                    let e = eta(r);
                    let risk = self.w[r] * e.exp();
                    stopped.add(risk, self.row(r));
                    if self.event[r] {
                        deaths += 1;
                        weight += self.w[r];
                        dead.add(risk, self.row(r));
                        out.loglik += self.w[r] * e;
                        out.gradient.iter_mut().zip(self.row(r)).for_each(|(g, x)| *g += self.w[r] * x);
                    }
                    a += 1;
                }
                // At risk are those that were observed before now and not since.
                while b < s.by_start.len() && self.start[s.rows[s.by_start[b]]] >= now {
                    let r = s.rows[s.by_start[b]];
                    started.add(self.w[r] * eta(r).exp(), self.row(r));
                    b += 1;
                }
                if deaths == 0 {
                    continue;
                }
                let shares = if self.ties == Ties::Efron { deaths } else { 1 };
                for l in 0..shares {
                    let gone = if self.ties == Ties::Efron { l as f64 / deaths as f64 } else { 0.0 };
                    let each = weight / shares as f64;
                    let s0 = stopped.s0 - started.s0 - gone * dead.s0;
                    let s1: Vec<f64> = (0..p).map(|i| (stopped.s1[i] - started.s1[i] - gone * dead.s1[i]) / s0).collect();
                    out.loglik -= each * s0.ln();
                    for i in 0..p {
                        out.gradient[i] -= each * s1[i];
                        for j in 0..=i {
                            let k = i * p + j;
                            let s2 = (stopped.s2[k] - started.s2[k] - gone * dead.s2[k]) / s0;
                            out.information[k] += each * (s2 - s1[i] * s1[j]);
                        }
                    }
                }
            }
        }
        out
    }
}

/// A column of the training frame by the name that a parameter gives.
fn named<'a>(frame: &'a Frame, parameter: &str, name: &str) -> Result<&'a Column> {
    frame.by_name(name).ok_or_else(|| Error::invalid(format!("{parameter} {name} not found in the training frame")))
}

/// The columns whose values make strata.
pub fn strata(node: &Node, params: &CoxParams) -> Result<Vec<Column>> {
    let frame = node.store.frame(params.common.training_frame.as_ref().map_or("", |k| k.0.as_str()))?;
    let categorical = |n: &String| {
        let column = frame.by_name(n).ok_or_else(|| Error::invalid(format!("column '{n}' not found in the training frame")))?;
        if !column.is_enum() {
            return Err(Error::invalid(format!("non-categorical column '{n}' cannot be used for stratification")));
        }
        Ok(column.clone())
    };
    params.stratify_by.iter().flatten().map(categorical).collect()
}

pub fn fit(run: &mut Run<'_, CoxParams>) -> Result<Fitted<CoxOutput>> {
    let started_ms = time::now_ms();
    let params = run.params.clone();
    let key = params.common.training_frame.clone().unwrap_or_default();
    let frame = run.node.store.frame(&key.0)?;
    let stop_name = params.stop_column.clone().unwrap_or_default();
    let start_name = params.start_column.clone().filter(|n| !n.is_empty());
    let strata_names = params.stratify_by.clone().unwrap_or_default();
    let train = &mut run.train;
    // Times and strata are no predictors.
    let apart = |n: &String| *n == stop_name || Some(n) == start_name.as_ref() || strata_names.contains(n);
    let kept: Vec<usize> = (0..train.names.len()).filter(|&i| !apart(&train.names[i])).collect();
    let mut cats: Vec<usize> = kept.iter().copied().filter(|&i| train.columns[i].is_enum()).collect();
    let levels_of = |c: &Column| c.domain().map_or(0, |d| d.len());
    let as_listed: Vec<String> = cats.iter().map(|&i| train.names[i].clone()).collect();
    by_levels(&mut cats, |i| levels_of(&train.columns[i]));
    let nums: Vec<usize> = kept.iter().copied().filter(|&i| !train.columns[i].is_enum()).collect();
    // Columns of which only interactions are wanted have no terms of their own.
    let alone = |n: &String| params.interactions_only.as_ref().is_none_or(|o| !o.contains(n));
    let listed: Vec<String> = kept.iter().map(|&i| train.names[i].clone()).filter(alone).collect();
    let mut names: Vec<String> = cats.iter().chain(&nums).map(|&i| train.names[i].clone()).collect();
    let mut columns: Vec<Column> = cats.iter().chain(&nums).map(|&i| train.columns[i].clone()).collect();
    let predictors = columns.len();
    names.extend(strata_names.iter().cloned());
    columns.extend(strata(run.node, &params)?);
    (train.names, train.columns) = (names, columns);
    let pairs = interactions::pairs(params.interactions.as_deref(), &params.interaction_pairs)?;
    let with_terms = interactions::Made { given: train.names.iter().map(alone).collect(), ..Default::default() };
    let expanded = interactions::expand(&run.node.ledger, train, &pairs, &with_terms, params.use_all_factor_levels)?;
    let made = expanded.derived.len();
    // Categories before numbers, those that are made in front as far as the numbers of levels do not say otherwise.
    let place = |name: &String| made + expanded.names[made..].iter().position(|n| n == name).unwrap_or(0);
    let given = as_listed.iter().filter(|n| alone(n)).map(place);
    let mut cats: Vec<usize> = (0..made).filter(|&i| expanded.columns[i].is_enum()).chain(given).collect();
    by_levels(&mut cats, |i| levels_of(&expanded.columns[i]) - usize::from(i < made && !params.use_all_factor_levels));
    let has_term = |i: &usize| *i < made || alone(&expanded.names[*i]);
    let nums: Vec<usize> = (0..made + predictors).filter(|&i| !expanded.columns[i].is_enum()).filter(has_term).collect();
    let places: Vec<usize> = cats.iter().chain(&nums).copied().collect();
    if places.is_empty() {
        return Err(Error::invalid("there are no predictors besides the columns of times and strata, and of those in interactions_only"));
    }
    let skip = usize::from(!params.use_all_factor_levels);
    let levels: Vec<usize> = cats.iter().map(|&i| levels_of(&expanded.columns[i])).collect();
    let mut labels: Vec<String> = vec![];
    for &i in &cats {
        let domain = expanded.columns[i].domain().map_or(&[][..], |d| d.as_slice());
        labels.extend(domain.iter().skip(skip).map(|l| format!("{}.{l}", expanded.names[i])));
    }
    let in_cats = labels.len();
    labels.extend(nums.iter().map(|&i| expanded.names[i].clone()));
    let p = labels.len();
    let rows = train.rows;
    let _room = run.node.ledger.reserve("expanded predictors", (rows * (p + 8) * 8 + p * p * 64) as u64)?;
    let stop = named(&frame, "stop_column", &stop_name)?.to_f64()?;
    let start = match &start_name {
        Some(n) => named(&frame, "start_column", n)?.to_f64()?,
        None => vec![f64::NEG_INFINITY; rows],
    };
    let values = train.columns.iter().map(Column::to_f64).collect::<Result<Vec<_>>>()?;
    let terms = places.iter().map(|&i| if i < made { expanded.columns[i].to_f64() } else { Ok(values[i - made].clone()) });
    let terms = terms.collect::<Result<Vec<_>>>()?;
    let complete = |r: usize| {
        train.weight(r) > 0.0 && !train.y[r].is_nan() && !stop[r].is_nan() && !start[r].is_nan() && values.iter().all(|v| !v[r].is_nan())
    };
    let used: Vec<usize> = (0..rows).filter(|&r| complete(r)).collect();
    if let Some(r) = used.iter().find(|&&r| start[r] >= stop[r]) {
        return Err(Error::invalid(format!(
            "start times must be strictly less than stop times, but row {} has start {} and stop {}",
            r + 1,
            start[*r],
            stop[*r]
        )));
    }
    let event: Vec<bool> = train.y.iter().map(|y| *y > 0.0).collect();
    let total_event = used.iter().filter(|&&r| event[r]).count();
    if total_event == 0 {
        return Err(Error::invalid("the event column has no events"));
    }
    let mut x = vec![0.0; rows * p];
    for &r in &used {
        let mut at = r * p;
        for (c, n) in levels.iter().enumerate() {
            let code = terms[c][r] as usize;
            if code >= skip {
                x[at + code - skip] = 1.0;
            }
            at += n - skip;
        }
        for i in 0..nums.len() {
            x[at + i] = terms[cats.len() + i][r];
        }
    }
    let w: Vec<f64> = (0..rows).map(|r| train.weight(r)).collect();
    // Strata, in the order of their codes.
    let codes = |r: usize| values[predictors..].iter().map(|v| v[r]).collect::<Vec<f64>>();
    let mut all_codes: Vec<Vec<f64>> = used.iter().map(|&r| codes(r)).collect();
    let compare =
        |a: &Vec<f64>, b: &Vec<f64>| a.iter().zip(b).map(|(a, b)| a.total_cmp(b)).find(|o| o.is_ne()).unwrap_or(std::cmp::Ordering::Equal);
    all_codes.sort_by(compare);
    all_codes.dedup();
    let mut strata = vec![];
    let mut stratum_of = vec![0usize; rows];
    for (k, one) in all_codes.into_iter().enumerate() {
        let mine: Vec<usize> = used.iter().copied().filter(|&r| codes(r) == one).collect();
        mine.iter().for_each(|&r| stratum_of[r] = k);
        let falling = |of: &[f64]| {
            let mut order: Vec<usize> = (0..mine.len()).collect();
            order.sort_by(|a, b| of[mine[*b]].total_cmp(&of[mine[*a]]));
            order
        };
        let (by_stop, by_start) = (falling(&stop), falling(&start));
        strata.push(Stratum { codes: one, rows: mine, by_stop, by_start });
    }
    let means: Vec<Vec<f64>> = strata
        .iter()
        .map(|s| {
            let total: f64 = s.rows.iter().map(|&r| w[r]).sum();
            (0..p).map(|i| s.rows.iter().map(|&r| w[r] * x[r * p + i]).sum::<f64>() / total).collect()
        })
        .collect();
    // Centred: the likelihood does not change, and exponentials stay small.
    let total: f64 = used.iter().map(|&r| w[r]).sum();
    let center: Vec<f64> = (0..p).map(|i| used.iter().map(|&r| w[r] * x[r * p + i]).sum::<f64>() / total).collect();
    for &r in &used {
        for (x, c) in x[r * p..(r + 1) * p].iter_mut().zip(&center) {
            *x -= c;
        }
    }
    // As the reference has it: of all rows alike, also those that take no part.
    let mean_offset = train.offset.iter().map(|o| o.iter().filter(|v| !v.is_nan()).sum::<f64>() / rows as f64).collect();
    let offset = train.offset.clone().unwrap_or_else(|| vec![0.0; rows]);
    let problem = Problem { p, x, start, stop, event, w, offset, strata, ties: params.ties };

    let mut beta = vec![params.init; p];
    let mut step = problem.step(&beta);
    // What earlier predictors determine has no effect of its own, as in R's survival: its coefficient stays 0.
    let aliased = linalg::collinear(&step.information, p);
    if aliased.contains(&true) {
        let names: Vec<&str> = (0..p).filter(|&i| aliased[i]).map(|i| labels[i].as_str()).collect();
        let what = "linear combinations of the predictors before them, have coefficients of 0 and no standard errors";
        run.job.warn(format!("these, {what}: {}", names.join(", ")));
        beta.iter_mut().zip(&aliased).filter(|(_, a)| **a).for_each(|(b, _)| *b = 0.0);
        step = problem.step(&beta);
    }
    let invert = |information: &[f64]| {
        let kept = |k: usize| !aliased[k / p] && !aliased[k % p];
        let alone: Vec<f64> = (0..p * p).map(|k| if kept(k) { information[k] } else { f64::from(k / p == k % p) }).collect();
        let inverse = linalg::inverse_spd(&alone, p).ok_or_else(|| Error::invalid("the information matrix cannot be inverted"))?;
        Ok::<_, Error>((0..p * p).map(|k| if kept(k) { inverse[k] } else { 0.0 }).collect::<Vec<f64>>())
    };
    let start = beta.clone();
    let (null, null_gradient, null_information) = (step.loglik, step.gradient.clone(), step.information.clone());
    let mut history = vec![(time::now_ms(), null)];
    let mut lre = f64::NAN;
    for i in 0..params.max_iterations {
        run.job.check()?;
        let inverse = invert(&step.information)?;
        let direction: Vec<f64> = (0..p).map(|i| (0..p).map(|j| inverse[i * p + j] * step.gradient[j]).sum()).collect();
        // A full step may overshoot: halve it until the likelihood rises.
        let mut share = 1.0;
        let mut next;
        loop {
            let candidate: Vec<f64> = beta.iter().zip(&direction).map(|(b, d)| b + share * d).collect();
            next = problem.step(&candidate);
            if next.loglik >= step.loglik - 1e-12 * step.loglik.abs() || share < 1e-6 {
                beta = candidate;
                break;
            }
            share *= 0.5;
        }
        lre = if next.loglik == step.loglik { f64::INFINITY } else { -((next.loglik - step.loglik).abs() / next.loglik.abs()).log10() };
        step = next;
        history.push((time::now_ms(), step.loglik));
        run.job.set_progress(f64::from(i + 1) / f64::from(params.max_iterations));
        if lre >= params.lre_min {
            break;
        }
    }
    if lre < params.lre_min {
        run.job.warn(format!("training ended at max_iterations = {} before it converged", params.max_iterations));
    }
    let (covariance, null_covariance) = (invert(&step.information)?, invert(&null_information)?);
    let form =
        |m: &dyn Fn(usize, usize) -> f64, v: &[f64]| -> f64 { (0..p).map(|i| (0..p).map(|j| v[i] * m(i, j) * v[j]).sum::<f64>()).sum() };
    let away: Vec<f64> = beta.iter().zip(&start).map(|(b, s)| b - s).collect();
    let information = |i: usize, j: usize| step.information[i.max(j) * p + i.min(j)];

    let lp_mean = |k: usize| means[k].iter().zip(&beta).map(|(m, b)| m * b).sum::<f64>();
    let scorer = CoxScorer {
        levels,
        all_levels: params.use_all_factor_levels,
        numbers: nums.len(),
        beta: beta.clone(),
        strata_columns: strata_names.len(),
        strata: problem.strata.iter().enumerate().map(|(k, s)| (s.codes.clone(), lp_mean(k))).collect(),
        terms: (made > 0 || places.len() < predictors).then(|| CoxTerms { derived: expanded.derived.clone(), predictors, places }),
    };
    let views: Vec<&[f64]> = values.iter().map(Vec::as_slice).collect();
    let mut lp = vec![f64::NAN; rows];
    used.iter().for_each(|&r| lp[r] = scorer.value(&views, r) + problem.offset[r]);
    let strata_numbers: Vec<f64> = stratum_of.iter().map(|s| *s as f64).collect();
    let lifetimes = Lifetimes {
        start: start_name.as_ref().map(|_| &problem.start[..]),
        stop: &problem.stop,
        event: &problem.event,
        stratum: &strata_numbers,
    };
    let training = survival(&lp, &lifetimes);

    let mut output = CoxOutput {
        coefficients_table: Some(coefficients(&labels, &beta, &covariance)),
        var_coef: Some((0..p).map(|i| covariance[i * p..(i + 1) * p].to_vec()).collect()),
        null_loglik: null,
        loglik: step.loglik,
        loglik_test: 2.0 * (step.loglik - null),
        wald_test: form(&information, &away),
        score_test: form(&|i, j| null_covariance[i * p + j], &null_gradient),
        rsq: 1.0 - (-2.0 * (step.loglik - null) / used.len() as f64).exp(),
        maxrsq: 1.0 - (2.0 * null / used.len() as f64).exp(),
        lre,
        iter: history.len() as i32 - 1,
        x_mean_cat: Some(means.iter().map(|m| m[..in_cats].to_vec()).collect()),
        x_mean_num: Some(means.iter().map(|m| m[in_cats..].to_vec()).collect()),
        mean_offset: Some(mean_offset),
        offset_names: Some(params.common.offset_column.iter().cloned().collect()),
        n: used.len() as i64,
        n_missing: (rows - used.len()) as i64,
        total_event: total_event as i64,
        ties: params.ties,
        concordance: training.get("concordance").unwrap_or(f64::NAN),
        ..CoxOutput::default()
    };
    let strata_part = strata_names.iter().map(|n| format!("strata({n})"));
    let products = pairs.iter().map(|(a, b)| format!("{a}:{b}"));
    let terms =
        listed.iter().cloned().chain(products).chain(params.common.offset_column.iter().map(|o| format!("offset({o})"))).chain(strata_part);
    let times = start_name.iter().chain([&stop_name]).cloned().collect::<Vec<_>>().join(", ");
    let formula = format!(
        "Surv({times}, {}) ~ {}",
        params.common.response_column.as_deref().unwrap_or_default(),
        terms.collect::<Vec<_>>().join(" + ")
    );
    output.formula = Some(formula.clone());
    // Hazards are told for the mean of all rows, also where strata have means of their own.
    let overall: f64 = center.iter().zip(&beta).map(|(m, b)| m * b).sum();
    let centred: Vec<f64> = (0..rows).map(|r| lp[r] + lp_mean(stratum_of[r]) - overall).collect();
    baseline(run, &problem, &centred, &mut output)?;
    let one = |c: Cell| vec![c];
    output.common.model_summary = Some(
        Table::new("CoxPH Model", "summary")
            .row_labels(vec!["".into()])
            .column("Formula", "string", "%s", one(formula.into()))
            .column("Likelihood ratio test", "double", "%.3f", one(Cell::Double(output.loglik_test)))
            .column("Concordance", "double", "%.3f", one(Cell::Double(output.concordance)))
            .column("Number of Observations", "long", "%d", one(Cell::Long(output.n)))
            .column("Number of Events", "long", "%d", one(Cell::Long(output.total_event))),
    );
    output.common.scoring_history = Some(
        Table::new("Scoring History", "")
            .row_labels(vec!["".into(); history.len()])
            .named("timestamp", "timestamp", "string", "%s", history.iter().map(|h| Cell::Text(time::stamp(h.0))).collect())
            .named(
                "duration",
                "duration",
                "string",
                "%s",
                history.iter().map(|h| Cell::Text(time::duration_text(h.0 - started_ms))).collect(),
            )
            .named("iterations", "iterations", "int", "%d", (0..history.len()).map(Cell::from).collect())
            .named("loglik", "logLik", "double", "%.5f", history.iter().map(|h| Cell::Double(h.1)).collect()),
    );
    let train = &mut run.train;
    train.category = Category::CoxPh;
    if let Some(r) = &mut train.response {
        r.domain = None;
    }
    Ok(Fitted { output, scorer: Scorer::Cox(scorer), deviance: Deviance::Gaussian, training, validation: None, order: None })
}

fn coefficients(labels: &[String], beta: &[f64], covariance: &[f64]) -> Table {
    let p = beta.len();
    let se = |i: usize| Some(covariance[i * p + i]).filter(|v| *v > 0.0).map_or(f64::NAN, f64::sqrt);
    let each = |f: &dyn Fn(usize) -> f64| (0..p).map(|i| Cell::Double(f(i))).collect::<Vec<_>>();
    Table::new("Coefficients", "CoxPH Coefficients")
        .named("names", "names", "string", "%s", labels.iter().cloned().map(Cell::Text).collect())
        .named("coefficients", "coefficients", "double", "%5f", each(&|i| beta[i]))
        .named("exp_coef", "exp_coef", "double", "%5f", each(&|i| beta[i].exp()))
        .named("exp_neg_coef", "exp_neg_coef", "double", "%5f", each(&|i| (-beta[i]).exp()))
        .named("se_coef", "se_coef", "double", "%5f", each(&se))
        .named("z_coef", "z_coef", "double", "%5f", each(&|i| beta[i] / se(i)))
}

/// What happens over time where predictors are at their means: counts, hazards and survival, by stratum. Departure from the
/// reference: its baseline hazard and survival count rows as at risk before they are observed.
fn baseline(run: &mut Run<'_, CoxParams>, problem: &Problem, lp: &[f64], output: &mut CoxOutput) -> Result<()> {
    let mut times: Vec<f64> = problem.strata.iter().flat_map(|s| &s.rows).map(|&r| problem.stop[r]).collect();
    times.sort_by(f64::total_cmp);
    times.dedup();
    let (mut at_risk, mut events, mut censored, mut cumulative, mut variance) = (vec![], vec![], vec![], vec![], vec![]);
    let mut hazards: Vec<Vec<f64>> = vec![];
    for s in &problem.strata {
        let (mut sum, mut var) = (0.0, 0.0);
        let mut hazard = vec![];
        // From the last time to the first, as rows at risk are found; then turned.
        let mut found = vec![];
        let (mut a, mut b) = (0, 0);
        let (mut risk, mut count) = (0.0, 0.0);
        for &now in times.iter().rev() {
            let (mut died, mut weight, mut left, mut dead) = (0usize, 0.0, 0.0, 0.0);
            let before = a;
            while a < s.by_stop.len() && problem.stop[s.rows[s.by_stop[a]]] == now {
                let r = s.rows[s.by_stop[a]];
                let own = problem.w[r] * lp[r].exp();
                (risk, count) = (risk + own, count + problem.w[r]);
                if problem.event[r] {
                    (died, weight, dead) = (died + 1, weight + problem.w[r], dead + own);
                } else {
                    left += problem.w[r];
                }
                a += 1;
            }
            while b < s.by_start.len() && problem.start[s.rows[s.by_start[b]]] >= now {
                let r = s.rows[s.by_start[b]];
                (risk, count) = (risk - problem.w[r] * lp[r].exp(), count - problem.w[r]);
                b += 1;
            }
            let shares = if problem.ties == Ties::Efron { died } else { died.min(1) };
            let (mut step, mut step_var) = (0.0, 0.0);
            for l in 0..shares {
                let gone = if problem.ties == Ties::Efron { l as f64 / died as f64 } else { 0.0 };
                let (each, left) = (weight / shares as f64, risk - gone * dead);
                (step, step_var) = (step + each / left, step_var + each / (left * left));
            }
            found.push((if a > before { count } else { 0.0 }, weight, left, step, step_var));
        }
        for (n, died, left, step, step_var) in found.into_iter().rev() {
            (sum, var) = (sum + step, var + step_var);
            at_risk.push(n);
            events.push(died);
            censored.push(left);
            hazard.push(step);
            cumulative.push(sum);
            variance.push(var);
        }
        hazards.push(hazard);
    }
    let ledger = &run.node.ledger;
    let model = run.params.common.model_id.clone().unwrap_or_default().0;
    let label = |s: &Stratum| format!("({})", s.codes.iter().map(|c| c.to_string()).collect::<Vec<_>>().join(", "));
    let stratified = run.params.stratify_by.as_ref().is_some_and(|s| !s.is_empty());
    let mut make = |what: &str, title: &str, of: &dyn Fn(&[f64]) -> Vec<f64>| -> Result<FrameKey> {
        let mut names = vec!["t".to_string()];
        let mut columns = vec![Column::from_f64(ledger, &times)?];
        for (s, h) in problem.strata.iter().zip(&hazards) {
            names.push(if stratified { label(s) } else { title.to_string() });
            columns.push(Column::from_f64(ledger, &of(h))?);
        }
        let key = format!("{model}_{what}");
        run.node.store.put(&key, Frame::new(names, columns)?)?;
        run.belongings.push(key.clone());
        Ok(FrameKey(key))
    };
    output.baseline_hazard = Some(make("baseline_hazard", "baseline hazard", &|h| h.to_vec())?);
    output.baseline_survival = Some(make("baseline_survival", "baseline survival", &|h| {
        let mut sum = 0.0;
        h.iter()
            .map(|v| {
                sum += v;
                (-sum).exp()
            })
            .collect()
    })?);
    output.time = Some(times.clone());
    output.n_risk = Some(at_risk);
    output.n_event = Some(events);
    output.n_censor = Some(censored);
    output.cumhaz_0 = Some(cumulative);
    output.var_cumhaz_1 = Some(variance);
    Ok(())
}
