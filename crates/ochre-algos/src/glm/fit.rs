//! Iteratively reweighted least squares.

use super::design::Design;
use super::output::GlmOutput;
use super::params::{Family, GlmParams, Link, MissingValues, Solver};
use super::passes::{Gram, GramPass};
use crate::linalg;
use ochre_core::{Column, Error, Frame, Kind, Result, time};
use ochre_model::driver::measure;
use ochre_model::metrics::{GlmExtras, Kind as MetricKind};
use ochre_model::{Category, Deviance, Fitted, Metrics, Run, Training, adapt};
use ochre_schema::{Cell, Table};
use ochre_score::{GlmScorer, LinkFunction, Scorer};

pub fn family(params: &GlmParams, category: Category) -> Family {
    match params.family {
        Family::Auto => match category {
            Category::Binomial => Family::Binomial,
            Category::Multinomial => Family::Multinomial,
            _ => Family::Gaussian,
        },
        f => f,
    }
}

pub fn link(params: &GlmParams, family: Family) -> Link {
    match (params.link, family) {
        (Link::FamilyDefault, Family::Binomial) => Link::Logit,
        (Link::FamilyDefault, Family::Poisson) => Link::Log,
        (Link::FamilyDefault, Family::Gamma) => Link::Inverse,
        (Link::FamilyDefault, _) => Link::Identity,
        (l, _) => l,
    }
}

/// The problem that the loop works on.
struct Problem<'a> {
    run: &'a Run<'a, GlmParams>,
    frame: Frame,
    columns: Vec<usize>,
    design: Design,
    family: Family,
    link: Link,
    /// 1 / sum of weights.
    scale: f64,
    alpha: f64,
    lambda: f64,
}

impl Problem<'_> {
    fn pass(&self, beta: &[Vec<f64>], class: usize, loss_only: bool) -> Result<Gram> {
        let pass = GramPass { design: self.design.clone(), family: self.family, link: self.link, beta: beta.to_vec(), class, loss_only };
        self.run.node.runner.run(self.run.job, &self.frame, &self.columns, &pass)
    }

    fn penalty(&self, beta: &[Vec<f64>]) -> f64 {
        let free = |b: &Vec<f64>| b[..b.len() - 1].to_vec();
        let (mut l1, mut l2) = (0.0, 0.0);
        for v in beta.iter().flat_map(free) {
            l1 += v.abs();
            l2 += v * v;
        }
        self.lambda * (self.alpha * l1 + 0.5 * (1.0 - self.alpha) * l2)
    }

    fn objective(&self, loss: f64, beta: &[Vec<f64>]) -> f64 {
        loss * self.scale + self.penalty(beta)
    }

    /// Minimises the penalised quadratic of one iteration.
    fn solve(&self, mut g: Gram, start: &[f64]) -> Result<Vec<f64>> {
        let p = self.design.len();
        g.xx.iter_mut().chain(g.xy.iter_mut()).for_each(|v| *v *= self.scale);
        if !self.design.intercept {
            // The intercept's place stays, held at 0.
            g.xx[p * p - 1] = 1.0;
        }
        let (l1, l2) = (self.lambda * self.alpha, self.lambda * (1.0 - self.alpha));
        if l1 > 0.0 || self.run.params.solver == Solver::CoordinateDescent {
            return Ok(linalg::elastic_net(&g.xx, p, &g.xy, l1, l2, start));
        }
        for i in 0..p - 1 {
            g.xx[i * p + i] += l2;
        }
        linalg::solve_spd(&g.xx, p, &g.xy).ok_or_else(|| {
            Error::invalid("the Gram matrix of the predictors cannot be factored: columns are linear combinations of others or have values beyond range; remove them or give lambda > 0")
        })
    }
}

/// What one iteration left for the scoring history.
struct Step {
    at_ms: i64,
    loss: f64,
    objective: f64,
}

pub fn fit(run: &mut Run<'_, GlmParams>) -> Result<Fitted<GlmOutput>> {
    if run.params.missing_values_handling == MissingValues::Skip {
        skip_missing(&mut run.train)?;
    }
    let run = &*run;
    let (params, train) = (&run.params, &run.train);
    let family = family(params, train.category);
    let link = link(params, family);
    let classes = train.classes();
    let many = family == Family::Multinomial;
    let design = Design::new(train, params.standardize, params.intercept)?;
    let p = design.len();
    let blocks = if many { classes } else { 1 };
    let chunks = train.rows.div_ceil(ochre_core::CHUNK_ROWS).min(2 * run.node.runner.threads() + 2).max(1);
    let _room = run.node.ledger.reserve(&format!("Gram matrices of {p} coefficients"), (p * p * 8 * chunks + train.rows * 32) as u64)?;

    // Predictors in design order, response, weight and offset as one frame for the passes.
    let ledger = &run.node.ledger;
    let mut columns: Vec<Column> = design.order.iter().map(|&i| train.columns[i].clone()).collect();
    let ones = || vec![1.0; train.rows];
    columns.push(Column::numeric(ledger, Kind::Real, &train.y)?);
    columns.push(Column::numeric(ledger, Kind::Real, &train.w.clone().unwrap_or_else(ones))?);
    columns.push(Column::numeric(ledger, Kind::Real, &train.offset.clone().unwrap_or_else(|| vec![0.0; train.rows]))?);
    let names = (0..columns.len()).map(|i| i.to_string()).collect();
    let all: Vec<usize> = (0..columns.len()).collect();
    let alpha = params.alpha.as_ref().and_then(|a| a.first().copied()).unwrap_or(0.5);
    let scale = if params.obj_reg > 0.0 { params.obj_reg } else { 1.0 / train.nominal_weight };
    let mut problem = Problem { run, frame: Frame::new(names, columns)?, columns: all, design, family, link, scale, alpha, lambda: 0.0 };

    // The null model: the intercept alone.
    let mut beta = vec![vec![0.0; p]; blocks];
    let mean = |f: &dyn Fn(f64) -> f64| (0..train.rows).map(|i| train.weight(i) * f(train.y[i])).sum::<f64>() / train.total_weight();
    if params.intercept {
        for (k, b) in beta.iter_mut().enumerate() {
            b[p - 1] = if many { mean(&|y| f64::from(y == k as f64)).max(1e-300).ln() } else { link.apply(mean(&|y| y)) };
        }
    }
    let null = beta.clone();
    problem.lambda = match params.lambda.as_ref().and_then(|l| l.first()) {
        Some(l) => *l,
        None => default_lambda(&problem, &null, alpha)?,
    };
    let objective_epsilon = if params.objective_epsilon >= 0.0 {
        params.objective_epsilon
    } else if problem.lambda == 0.0 {
        1e-6
    } else {
        1e-4
    };
    let iterations_max = if params.max_iterations >= 0 { params.max_iterations.max(1) as usize } else { 50 };
    let started = time::now_ms();
    let mut steps: Vec<Step> = vec![];
    let mut iterations = 0;
    let null_loss = problem.pass(&null, 0, true)?.loss;
    let mut state = (beta.clone(), null_loss, problem.objective(null_loss, &null));
    steps.push(Step { at_ms: time::now_ms(), loss: state.1, objective: state.2 });
    let single = family == Family::Gaussian && link == Link::Identity;
    loop {
        run.job.check()?;
        if iterations > 0 && run.out_of_time()? {
            run.job.warn(format!("max_runtime_secs ended training after {iterations} iterations"));
            break;
        }
        let mut next = state.0.clone();
        for k in 0..blocks {
            let g = problem.pass(&next, k, false)?;
            let candidate = problem.solve(g, &next[k])?;
            if !many {
                next[k] = candidate;
                continue;
            }
            // A full Newton step of one class may overshoot: halve it until the objective falls.
            let from = problem.objective(problem.pass(&next, k, true)?.loss, &next);
            let base = next[k].clone();
            for halving in 0..12 {
                let t = 0.5f64.powi(halving);
                next[k] = base.iter().zip(&candidate).map(|(a, b)| a + t * (b - a)).collect();
                if problem.objective(problem.pass(&next, k, true)?.loss, &next) <= from {
                    break;
                }
                if halving == 11 {
                    next[k].clone_from(&base);
                }
            }
        }
        iterations += 1;
        let mut loss = problem.pass(&next, 0, true)?.loss;
        let mut halvings = 0;
        while (loss.is_nan() || problem.objective(loss, &next) > state.2 + objective_epsilon) && halvings < 20 && !single {
            for (n, old) in next.iter_mut().flatten().zip(state.0.iter().flatten()) {
                *n = 0.5 * (*n + old);
            }
            loss = problem.pass(&next, 0, true)?.loss;
            halvings += 1;
        }
        if halvings == 20 {
            run.job.warn("the line search found no step that lowers the objective; training ended early");
            break;
        }
        let objective = problem.objective(loss, &next);
        let moved = next.iter().flatten().zip(state.0.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        let improved = (state.2 - objective) / state.2.abs();
        state = (next, loss, objective);
        steps.push(Step { at_ms: time::now_ms(), loss, objective });
        run.job.set_progress(iterations as f64 / iterations_max as f64);
        if single || moved < params.beta_epsilon || improved < objective_epsilon {
            break;
        }
        if iterations >= iterations_max {
            run.job.warn(format!("training ended at max_iterations = {iterations_max} before it converged"));
            break;
        }
    }
    let beta = state.0;
    let original: Vec<Vec<f64>> = beta.iter().map(|b| problem.design.original(b)).collect();
    if original.iter().flatten().any(|v| !v.is_finite()) {
        run.job.warn("some coefficients are not finite; check the response and the scale of the predictors");
    }
    let design = &problem.design;
    let scorer = GlmScorer {
        link: match (many, link) {
            (true, _) => LinkFunction::Softmax,
            (_, Link::Logit) => LinkFunction::Logit,
            (_, Link::Log) => LinkFunction::Log,
            (_, Link::Inverse) => LinkFunction::Inverse,
            _ => LinkFunction::Identity,
        },
        classes: if classes > 1 { classes } else { 1 },
        levels: design.levels.iter().copied().zip(design.modes.iter().copied()).collect(),
        all_levels: false,
        means: design.means.clone(),
        beta: original.clone(),
    };
    let deviance = match family {
        Family::Poisson => Deviance::Poisson,
        Family::Gamma => Deviance::Gamma,
        _ => Deviance::Gaussian,
    };
    let scorer = Scorer::Glm(scorer);
    let active = beta.iter().map(|b| b.iter().filter(|v| **v != 0.0).count()).sum::<usize>();
    let (training, validation) = metrics(run, &scorer, design, deviance, active, link)?;

    let names = design.names(train);
    let mut output = GlmOutput {
        coefficient_names: Some(names.iter().cloned().chain(["Intercept".to_string()]).collect()),
        lambda_best: problem.lambda,
        alpha_best: alpha,
        lambda_1se: -1.0,
        lambda_min: -1.0,
        lambda_max: -1.0,
        dispersion: 1.0,
        ..GlmOutput::default()
    };
    let labels = train.response.as_ref().and_then(|r| r.domain.clone()).unwrap_or_default();
    if many {
        output.coefficients_table = Some(class_table(&names, &original, &beta, params.standardize, |k| k.to_string()));
        output.coefficients_table_multinomials_with_class_names =
            Some(class_table(&names, &original, &beta, params.standardize, |k| labels[k].clone()));
    } else {
        output.coefficients_table = Some(coefficient_table(&names, &original[0], &beta[0], params.standardize));
    }
    let (magnitudes, importances) = magnitude_tables(&names, &beta);
    output.standardized_coefficient_magnitudes = Some(magnitudes);
    output.variable_importances = Some(importances);
    let regularization = match (problem.lambda, alpha) {
        (0.0, _) => "None".to_string(),
        (l, 0.0) => format!("Ridge ( lambda = {l:.4} )"),
        (l, 1.0) => format!("Lasso (lambda = {l:.4} )"),
        (l, a) => format!("Elastic Net (alpha = {a}, lambda = {l:.4} )"),
    };
    let one = |v: Cell| vec![v];
    let intercepts = if params.intercept { blocks } else { 0 };
    let total = (p - 1) * blocks;
    output.common.model_summary = Some(
        Table::new("GLM Model", "summary")
            .row_labels(vec!["".into()])
            .column("Family", "string", "%s", one(family.name().into()))
            .column("Link", "string", "%s", one(if many { "multinomial" } else { link.name() }.into()))
            .column("Regularization", "string", "%s", one(regularization.into()))
            .column("Number of Predictors Total", "int", "%d", one(total.into()))
            .column("Number of Active Predictors", "int", "%d", one(active.saturating_sub(intercepts).into()))
            .column("Number of Iterations", "int", "%d", one(iterations.into()))
            .column("Training Frame", "string", "%s", one(params.common.training_frame.as_ref().map_or("", |k| &k.0).into())),
    );
    output.common.scoring_history = Some(
        Table::new("Scoring History", "")
            .row_labels(vec!["".into(); steps.len()])
            .named("timestamp", "timestamp", "string", "%s", steps.iter().map(|s| Cell::Text(time::stamp(s.at_ms))).collect())
            .named(
                "duration",
                "duration",
                "string",
                "%s",
                steps.iter().map(|s| Cell::Text(time::duration_text(s.at_ms - started))).collect(),
            )
            .named("iterations", "iterations", "int", "%d", (0..steps.len()).map(Cell::from).collect())
            .named(
                "negative_log_likelihood",
                "negative_log_likelihood",
                "double",
                "%.5f",
                steps.iter().map(|s| Cell::Double(s.loss)).collect(),
            )
            .named("objective", "objective", "double", "%.5f", steps.iter().map(|s| Cell::Double(s.objective)).collect()),
    );
    let order = design.order.clone();
    Ok(Fitted { output, scorer, deviance, training, validation, order: Some(order) })
}

/// Rows with a missing predictor take no part.
fn skip_missing(train: &mut Training) -> Result<()> {
    let mut w = train.w.take().unwrap_or_else(|| vec![1.0; train.rows]);
    for c in &train.columns {
        if c.rollup()?.missing > 0 {
            for (w, v) in w.iter_mut().zip(c.to_f64()?) {
                if v.is_nan() {
                    *w = 0.0;
                }
            }
        }
    }
    if w.iter().all(|v| *v == 0.0) {
        return Err(Error::invalid("missing_values_handling = Skip leaves no rows: every row has a missing predictor; use MeanImputation"));
    }
    train.w = Some(w);
    Ok(())
}

/// The penalty used when none is asked for: a small share of the one that empties the model.
fn default_lambda(problem: &Problem<'_>, null: &[Vec<f64>], alpha: f64) -> Result<f64> {
    let p = problem.design.len();
    let mut largest = 0.0f64;
    for k in 0..null.len() {
        // The gradient at the null model: X'W(z - eta), without the intercept.
        let g = problem.pass(null, k, false)?;
        for i in 0..p - 1 {
            let j = p - 1;
            let eta = null[k][p - 1] * g.xx[j * p + i];
            largest = largest.max((g.xy[i] - eta).abs() * problem.scale);
        }
    }
    let top = largest / alpha.max(1e-2);
    let rows = problem.run.train.nominal_weight as usize;
    let mut ratio = if problem.run.params.lambda_min_ratio > 0.0 {
        problem.run.params.lambda_min_ratio
    } else if rows >> 4 > p - 1 {
        1e-4
    } else {
        1e-2
    };
    if alpha == 0.0 {
        ratio *= 1e-2;
    }
    Ok(10.0 * ratio * top)
}

fn metrics(
    run: &Run<'_, GlmParams>,
    scorer: &Scorer,
    design: &Design,
    deviance: Deviance,
    active: usize,
    link: Link,
) -> Result<(Metrics, Option<Metrics>)> {
    let train = &run.train;
    let domain = train.response.as_ref().and_then(|r| r.domain.as_deref()).map_or(&[][..], |d| d);
    let bins = run.params.common.gainslift_bins;
    let extras = |m: &Metrics, y: &[f64], w: Option<&[f64]>| -> GlmExtras {
        let weight = |i: usize| w.map_or(1.0, |w| w[i]);
        let rows = || (0..y.len()).filter(|&i| !y[i].is_nan() && weight(i) > 0.0);
        let total: f64 = rows().map(weight).sum();
        let train_total = train.total_weight();
        let share = |k: f64| (0..train.rows).filter(|&i| train.y[i] == k).map(|i| train.weight(i)).sum::<f64>() / train_total;
        let train_mean = if run.params.intercept {
            (0..train.rows).map(|i| train.weight(i) * train.y[i]).sum::<f64>() / train_total
        } else {
            // Without an intercept the null model predicts the link's value at 0.
            link.inverse(0.0)
        };
        let (residual, null, aic) = match &m.kind {
            MetricKind::Binomial(b) => {
                let p = share(1.0);
                let null: f64 = rows().map(|i| -2.0 * weight(i) * if y[i] == 1.0 { p.ln() } else { (1.0 - p).ln() }).sum();
                let residual = 2.0 * b.logloss * total;
                (residual, null, residual + 2.0 * active as f64)
            }
            MetricKind::Multinomial(c) => {
                let shares: Vec<f64> = (0..domain.len()).map(|k| share(k as f64)).collect();
                let null: f64 = rows().map(|i| -2.0 * weight(i) * shares[y[i] as usize].max(1e-300).ln()).sum();
                (2.0 * c.logloss * total, null, f64::NAN)
            }
            MetricKind::Regression { mean_residual_deviance, .. } => {
                let null = rows().map(|i| weight(i) * deviance.of(y[i], train_mean)).sum();
                let residual = mean_residual_deviance * total;
                let aic = match deviance {
                    Deviance::Gaussian => total * (residual / total * 2.0 * std::f64::consts::PI).ln() + total + 2.0 + 2.0 * active as f64,
                    _ => f64::NAN,
                };
                (residual, null, aic)
            }
            MetricKind::Clustering(_) => (f64::NAN, f64::NAN, f64::NAN),
        };
        let n = m.nobs - i64::from(run.params.intercept);
        GlmExtras { residual_deviance: residual, null_deviance: null, aic, null_dof: n, residual_dof: m.nobs - active as i64 }
    };
    let frame = train.frame()?;
    let predictors = train.predictors();
    let ordered: Vec<_> = design.order.iter().map(|&i| predictors[i].clone()).collect();
    let data = adapt::adapt(&frame, &ordered)?;
    let preds = adapt::score(scorer, &data, train.offset.as_deref())?;
    let mut training = measure(train.category, &preds, &train.y, train.w.as_deref(), domain, deviance, bins)?;
    training.glm = Some(extras(&training, &train.y, train.w.as_deref()));
    let validation = match &run.valid {
        None => None,
        Some(v) => {
            let mut sources = vec![];
            for &i in &design.order {
                sources.push(match &v.data.sources[i] {
                    adapt::Source::Absent => adapt::Source::Absent,
                    adapt::Source::Direct(c) => adapt::Source::Direct(c.clone()),
                    adapt::Source::Coded(c, m) => adapt::Source::Coded(c.clone(), m.clone()),
                });
            }
            let data = adapt::Adapted { sources, rows: v.data.rows, warnings: vec![] };
            let preds = adapt::score(scorer, &data, v.offset.as_deref())?;
            let mut m = measure(train.category, &preds, &v.y, v.w.as_deref(), domain, deviance, bins)?;
            m.glm = Some(extras(&m, &v.y, v.w.as_deref()));
            Some(m)
        }
    };
    Ok((training, validation))
}

/// Coefficients with the intercept first, as the API lists them.
fn intercept_first(v: &[f64]) -> Vec<Cell> {
    std::iter::once(v[v.len() - 1]).chain(v[..v.len() - 1].iter().copied()).map(Cell::Double).collect()
}

fn name_cells(names: &[String]) -> Vec<Cell> {
    std::iter::once("Intercept".into()).chain(names.iter().map(|n| Cell::Text(n.clone()))).collect()
}

fn coefficient_table(names: &[String], original: &[f64], standardized: &[f64], with_standardized: bool) -> Table {
    let t = Table::new("Coefficients", "glm coefficients").named("names", "names", "string", "%s", name_cells(names)).named(
        "coefficients",
        "Coefficients",
        "double",
        "%5f",
        intercept_first(original),
    );
    if with_standardized {
        t.named("standardized_coefficients", "Standardized Coefficients", "double", "%5f", intercept_first(standardized))
    } else {
        t
    }
}

fn class_table(
    names: &[String],
    original: &[Vec<f64>],
    standardized: &[Vec<f64>],
    with_standardized: bool,
    label: impl Fn(usize) -> String,
) -> Table {
    let mut t = Table::new("Coefficients", "glm multinomial coefficients").named("names", "names", "string", "%s", name_cells(names));
    for (k, b) in original.iter().enumerate() {
        let n = format!("coefs_class_{}", label(k));
        t = t.named(&n, &n, "double", "%5f", intercept_first(b));
    }
    if with_standardized {
        for (k, b) in standardized.iter().enumerate() {
            let n = format!("std_coefs_class_{}", label(k));
            t = t.named(&n, &n, "double", "%5f", intercept_first(b));
        }
    }
    t
}

/// Standardized magnitudes and, from them, importances; largest first.
fn magnitude_tables(names: &[String], beta: &[Vec<f64>]) -> (Table, Table) {
    let size = |i: usize| beta.iter().map(|b| b[i].abs()).sum::<f64>();
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by(|a, b| size(*b).total_cmp(&size(*a)));
    let top = order.first().map_or(0.0, |&i| size(i));
    let sum: f64 = order.iter().map(|&i| size(i)).sum();
    let share = |v: f64, of: f64| if of > 0.0 { v / of } else { 0.0 };
    let labels: Vec<Cell> = order.iter().map(|&i| Cell::Text(names[i].clone())).collect();
    let sizes: Vec<Cell> = order.iter().map(|&i| Cell::Double(size(i))).collect();
    let signs = order.iter().map(|&i| Cell::from(if beta[0][i] < 0.0 { "NEG" } else { "POS" })).collect();
    let magnitudes = Table::new("Standardized Coefficient Magnitudes", "standardized coefficient magnitudes")
        .named("names", "names", "string", "%s", labels.clone())
        .named("coefficients", "Coefficients", "double", "%5f", sizes.clone())
        .named("sign", "Sign", "string", "%s", signs);
    let importances = Table::new("Variable Importances", "")
        .column("Variable", "string", "%s", labels)
        .column("Relative Importance", "double", "%5f", sizes)
        .column("Scaled Importance", "double", "%5f", order.iter().map(|&i| Cell::Double(share(size(i), top))).collect())
        .column("Percentage", "double", "%5f", order.iter().map(|&i| Cell::Double(share(size(i), sum))).collect());
    (magnitudes, importances)
}
