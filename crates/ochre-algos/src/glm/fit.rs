//! Iteratively reweighted least squares.

use super::constraints::{self, Limits};
use super::design::Design;
use super::history::{self, Scored, Step};
use super::likelihood::{self, Fit};
use super::ordinal::{self, OrdinalPass};
use super::output::GlmOutput;
use super::params::{Family, GlmParams, Link, MissingValues, Solver};
use super::passes::{Gram, GramPass, Shapes};
use super::{influence, interactions};
use crate::linalg;
use ochre_core::{Column, Error, Frame, Kind, Result, time};
use ochre_model::driver::{Plugs, measure};
use ochre_model::metrics::{GlmExtras, Kind as MetricKind};
use ochre_model::{Category, Deviance, Fitted, Metrics, Run, adapt};
use ochre_schema::{Cell, FrameKey, Table, Value};
use ochre_score::{GlmScorer, LinkFunction, PathStep, Scorer};
use std::sync::Arc;

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
        (Link::FamilyDefault, f) if f.is_binomial() => Link::Logit,
        (Link::FamilyDefault | Link::Tweedie, Family::Tweedie) => match params.tweedie_link_power {
            0.0 => Link::Log,
            1.0 => Link::Identity,
            _ => Link::Tweedie,
        },
        (Link::FamilyDefault, Family::Poisson | Family::Negativebinomial) => Link::Log,
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
    /// Of the coefficients, without the intercept.
    names: Vec<String>,
    family: Family,
    link: Link,
    shape: Shapes,
    limits: Limits,
    /// Coefficients of columns that others determine; they stay 0.
    dead: Vec<bool>,
    /// The predictors' order in the data, for scoring.
    raw: Vec<usize>,
    /// 1 / sum of weights.
    scale: f64,
    alpha: f64,
    lambda: f64,
    /// The coefficients that may be other than 0, rising, the intercept last; empty for all.
    within: Vec<u32>,
    /// Sums of a quadratic loss, which are the same wherever they are taken.
    quadratic: parking_lot::Mutex<Option<Arc<Quadratic>>>,
    /// Sums at the coefficients that were looked at last, with which the next step begins.
    ahead: parking_lot::Mutex<Option<(Vec<Vec<f64>>, Vec<u32>, Gram)>>,
}

/// A quadratic loss: its sums, and the coefficients where its value was taken.
struct Quadratic {
    sums: Gram,
    at: Vec<f64>,
}

impl Quadratic {
    /// The loss elsewhere. None where nearly all of it is gone, and with it the digits.
    fn loss(&self, beta: &[f64]) -> Option<f64> {
        let p = beta.len();
        let step: Vec<f64> = beta.iter().zip(&self.at).map(|(b, a)| b - a).collect();
        let mut gain = 0.0;
        for i in 0..p {
            let row = |v: &[f64]| (0..p).map(|j| self.sums.xx[i.max(j) * p + i.min(j)] * v[j]).sum::<f64>();
            gain += step[i] * (self.sums.xy[i] - row(&self.at) - 0.5 * row(&step));
        }
        Some(self.sums.loss - gain).filter(|l| *l > 1e-6 * self.sums.loss)
    }
}

/// Coefficients from which on a lasso looks only at those that may be other than 0.
const SCREENED_FROM: usize = 500;

impl Problem<'_> {
    fn pass(&self, beta: &[Vec<f64>], class: usize, loss_only: bool) -> Result<Gram> {
        self.weighted_pass(beta, class, loss_only, false)
    }

    fn weighted_pass(&self, beta: &[Vec<f64>], class: usize, loss_only: bool, observed: bool) -> Result<Gram> {
        let within = if loss_only { vec![] } else { self.within.clone() };
        if self.is_quadratic() && within.is_empty() && self.design.len() <= SCREENED_FROM {
            let q = self.quadratic(beta)?;
            match q.loss(&beta[0]) {
                Some(loss) if loss_only => return Ok(Gram { xx: vec![], xy: vec![], loss }),
                Some(loss) => return Ok(Gram { xx: q.sums.xx.clone(), xy: q.sums.xy.clone(), loss }),
                None => {}
            }
        }
        self.sum(GramPass { loss_only, observed, within, ..self.gram_pass(beta, class) })
    }

    /// Is the loss a quadratic of the coefficients? One pass says all of it then.
    fn is_quadratic(&self) -> bool {
        self.family == Family::Gaussian && self.link == Link::Identity
    }

    fn quadratic(&self, beta: &[Vec<f64>]) -> Result<Arc<Quadratic>> {
        let mut kept = self.quadratic.lock();
        match &*kept {
            Some(q) => Ok(q.clone()),
            None => {
                let made = Quadratic { sums: self.sum(self.gram_pass(beta, 0))?, at: beta[0].clone() };
                Ok(kept.insert(Arc::new(made)).clone())
            }
        }
    }

    /// The pass that sums everything of all coefficients.
    fn gram_pass(&self, beta: &[Vec<f64>], class: usize) -> GramPass {
        GramPass {
            design: self.design.clone(),
            family: self.family,
            link: self.link,
            shape: self.shape,
            beta: beta.to_vec(),
            class,
            loss_only: false,
            gradient_only: false,
            within: vec![],
            observed: false,
        }
    }

    fn sum(&self, pass: GramPass) -> Result<Gram> {
        self.run.node.runner.run(self.run.job, &self.frame, &self.columns, &pass)
    }

    /// The largest slope of the loss along each coefficient, over the classes.
    fn slopes(&self, beta: &[Vec<f64>]) -> Result<Vec<f64>> {
        let mut slopes = vec![0.0f64; self.design.len()];
        for class in 0..beta.len() {
            let falling = self.descent(beta, class)?;
            slopes.iter_mut().zip(&falling).for_each(|(s, v)| *s = s.max(v.abs()));
        }
        Ok(slopes)
    }

    /// The way down of the loss along each coefficient of a class: its gradient with the other sign.
    fn descent(&self, beta: &[Vec<f64>], class: usize) -> Result<Vec<f64>> {
        let g = self.sum(GramPass { gradient_only: true, ..self.gram_pass(beta, class) })?;
        Ok(g.xy.iter().map(|v| v * self.scale).collect())
    }

    /// The largest slope of the objective, over all coefficients: of the loss and both penalties, where at 0 the lasso
    /// withstands a slope of up to its own.
    fn steepest(&self, beta: &[Vec<f64>]) -> Result<f64> {
        let (lasso, ridge) = (self.lambda * self.alpha, self.lambda * (1.0 - self.alpha));
        let mut steepest = 0.0f64;
        for (class, beta_k) in beta.iter().enumerate() {
            let penalised = beta_k.len() - 1;
            for (i, (v, b)) in self.descent(beta, class)?.iter().zip(beta_k).enumerate() {
                let slope = match i < penalised {
                    true if *b == 0.0 => v.abs() - lasso,
                    true => (v - ridge * b - lasso * b.signum()).abs(),
                    false => v.abs(),
                };
                steepest = steepest.max(slope);
            }
        }
        Ok(steepest)
    }

    /// [`Problem::solve`] where only some coefficients may be other than 0.
    fn solve_within(&self, g: &Gram, start: &[f64]) -> Vec<f64> {
        let start: Vec<f64> = self.within.iter().map(|&i| start[i as usize]).collect();
        let (l1, l2) = (self.lambda * self.alpha, self.lambda * (1.0 - self.alpha));
        let found = linalg::elastic_net(&g.xx, self.within.len(), &g.xy, l1, l2, &start, None, 1);
        let mut out = vec![0.0; self.design.len()];
        self.within.iter().zip(found).for_each(|(&i, v)| out[i as usize] = v);
        out
    }

    /// Information and score of the proportional odds model.
    fn ordinal(&self, theta: &[f64], loss_only: bool) -> Result<Gram> {
        let classes = self.run.train.classes();
        let pass = OrdinalPass { design: self.design.clone(), classes, theta: theta.to_vec(), loss_only };
        self.run.node.runner.run(self.run.job, &self.frame, &self.columns, &pass)
    }

    fn loss(&self, beta: &[Vec<f64>]) -> Result<f64> {
        if self.family == Family::Ordinal {
            return Ok(self.ordinal(&ordinal::pack(beta), true)?.loss);
        }
        Ok(self.pass(beta, 0, true)?.loss)
    }

    /// The loss, with the sums that the next step needs if it begins here: one pass in place of two.
    fn loss_ahead(&self, beta: &[Vec<f64>]) -> Result<f64> {
        if beta.len() > 1 || self.is_quadratic() {
            return self.loss(beta);
        }
        let g = self.pass(beta, 0, false)?;
        let loss = g.loss;
        *self.ahead.lock() = Some((beta.to_vec(), self.within.clone(), g));
        Ok(loss)
    }

    /// Sums to step from.
    fn sums(&self, beta: &[Vec<f64>], class: usize) -> Result<Gram> {
        match self.ahead.lock().take() {
            Some((at, within, g)) if at == beta && within == self.within => Ok(g),
            _ => self.pass(beta, class, false),
        }
    }

    fn penalty(&self, beta: &[Vec<f64>]) -> f64 {
        // Classes of a proportional odds model share their coefficients.
        let sets = if self.family == Family::Ordinal { 1 } else { beta.len() };
        let (mut l1, mut l2) = (0.0, 0.0);
        for v in beta[..sets].iter().flat_map(|b| &b[..b.len() - 1]) {
            l1 += v.abs();
            l2 += v * v;
        }
        let pull =
            self.limits.pulls.as_ref().map_or(0.0, |pulls| {
                beta.iter().flat_map(|b| b.iter().zip(pulls)).map(|(b, (to, rho))| 0.5 * rho * (b - to) * (b - to)).sum()
            });
        let curved = self.limits.curvature.as_ref().map_or(0.0, |q| {
            let p = self.design.len();
            let of = |b: &Vec<f64>| (0..p * p).map(|k| b[k / p] * q[k] * b[k % p]).sum::<f64>();
            0.5 * beta.iter().map(of).sum::<f64>()
        });
        self.lambda * (self.alpha * l1 + 0.5 * (1.0 - self.alpha) * l2) + pull + curved
    }

    fn objective(&self, loss: f64, beta: &[Vec<f64>]) -> f64 {
        loss * self.scale + self.penalty(beta)
    }

    /// Minimises the penalised quadratic of one iteration.
    fn solve(&self, mut g: Gram, start: &[f64]) -> Result<Vec<f64>> {
        let p = self.design.len();
        g.xx.iter_mut().chain(g.xy.iter_mut()).for_each(|v| *v *= self.scale);
        if !self.within.is_empty() {
            let m = self.within.len();
            if !self.design.intercept {
                g.xx[m * m - 1] = 1.0;
            }
            return Ok(self.solve_within(&g, start));
        }
        if !self.design.intercept {
            // The intercept's place stays, held at 0.
            g.xx[p * p - 1] = 1.0;
        }
        self.silence(&mut g);
        if let Some(pulls) = &self.limits.pulls {
            for (i, (to, rho)) in pulls.iter().enumerate() {
                g.xx[i * p + i] += rho;
                g.xy[i] += rho * to;
            }
        }
        if let Some(q) = &self.limits.curvature {
            g.xx.iter_mut().zip(q).for_each(|(x, q)| *x += q);
        }
        let (l1, l2) = (self.lambda * self.alpha, self.lambda * (1.0 - self.alpha));
        if !self.limits.linear.is_empty() {
            return self.constrained(&g);
        }
        let bounds = self.limits.bounds.as_deref();
        if l1 > 0.0 || bounds.is_some() || self.run.params.solver == Solver::CoordinateDescent {
            return Ok(linalg::elastic_net(&g.xx, p, &g.xy, l1, l2, start, bounds, 1));
        }
        for i in 0..p - 1 {
            g.xx[i * p + i] += l2;
        }
        linalg::solve_spd(&g.xx, p, &g.xy).ok_or_else(|| {
            Error::invalid("the Gram matrix of the predictors cannot be factored: columns are linear combinations of others or have values beyond range; remove them or give lambda > 0")
        })
    }

    /// Takes the rows and columns of dead coefficients out.
    fn silence(&self, g: &mut Gram) {
        if !self.dead.is_empty() {
            silence(g, &self.dead);
        }
    }

    /// Minimises the quadratic under the linear constraints, which are on the original scale.
    fn constrained(&self, g: &Gram) -> Result<Vec<f64>> {
        let mut conditions: Vec<linalg::Condition> = (self.limits.linear.iter())
            .map(|l| linalg::Condition {
                equal: l.equal,
                terms: l.terms.iter().map(|(i, v)| (*i, v * self.design.mult(*i))).collect(),
                limit: -l.constant,
            })
            .collect();
        for (i, (low, high)) in self.limits.bounds.iter().flatten().enumerate() {
            let side = |sign: f64, limit: f64| linalg::Condition { equal: false, terms: vec![(i, sign)], limit };
            conditions.extend(high.is_finite().then(|| side(1.0, *high)));
            conditions.extend(low.is_finite().then(|| side(-1.0, -low)));
        }
        linalg::constrained(&g.xx, self.design.len(), &g.xy, &conditions).ok_or_else(|| {
            Error::invalid("no coefficients meet all of linear_constraints and beta_constraints; remove one that contradicts others")
        })
    }
}

/// What a fit at one penalty came to.
struct Found {
    beta: Vec<Vec<f64>>,
    loss: f64,
    iterations: usize,
}

/// Iterates to the optimum at the problem's penalty, from some coefficients, whose loss may be known.
fn descend(problem: &Problem<'_>, from: &[Vec<f64>], known: Option<f64>, steps: &mut Vec<Step>) -> Result<Found> {
    let (run, params) = (problem.run, &problem.run.params);
    let many = problem.family == Family::Multinomial;
    let classes = run.train.classes();
    let p = problem.design.len();
    let objective_epsilon = if params.objective_epsilon >= 0.0 {
        params.objective_epsilon
    } else if problem.lambda == 0.0 {
        1e-6
    } else {
        1e-4
    };
    let iterations_max = if params.max_iterations >= 0 { params.max_iterations.max(1) as usize } else { 50 };
    let loss = known.map_or_else(|| problem.loss(from), Ok)?;
    let mut state = (from.to_vec(), loss, problem.objective(loss, from));
    let mut iterations = 0;
    let single = problem.is_quadratic();
    // Asked for, the largest slope of the objective says when it is enough.
    let flat = params.gradient_epsilon >= 0.0 && params.solver == Solver::LBfgs && problem.family != Family::Ordinal;
    loop {
        run.job.check()?;
        if flat && problem.steepest(&state.0)? <= params.gradient_epsilon {
            break;
        }
        if iterations > 0 && run.out_of_time()? {
            run.job.warn(format!("max_runtime_secs ended training after {iterations} iterations"));
            break;
        }
        let mut next = state.0.clone();
        let sets = if problem.family == Family::Ordinal { 0 } else { next.len() };
        if sets == 0 {
            let theta = ordinal::pack(&next);
            let mut g = problem.ordinal(&theta, false)?;
            let n = theta.len();
            // The quadratic whose least is one step of scoring away.
            for i in 0..n {
                g.xy[i] += (0..n).map(|j| g.xx[i.max(j) * n + i.min(j)] * theta[j]).sum::<f64>();
            }
            g.xx.iter_mut().chain(g.xy.iter_mut()).for_each(|v| *v *= problem.scale);
            let (l1, l2) = (problem.lambda * problem.alpha, problem.lambda * (1.0 - problem.alpha));
            let found = linalg::elastic_net(&g.xx, n, &g.xy, l1, l2, &theta, None, classes - 1);
            next = ordinal::unpack(&found, p, classes);
        }
        // Loss where the classes that had their turn have come to.
        let mut loss = None;
        for k in 0..sets {
            let g = problem.sums(&next, k)?;
            let candidate = problem.solve(g, &next[k])?;
            if !many {
                next[k] = candidate;
                continue;
            }
            // A full Newton step of one class may overshoot: halve it until the objective falls.
            let here = loss.unwrap_or(state.1);
            let from = problem.objective(here, &next);
            let base = next[k].clone();
            for halving in 0..12 {
                let t = 0.5f64.powi(halving);
                next[k] = base.iter().zip(&candidate).map(|(a, b)| a + t * (b - a)).collect();
                let there = problem.loss(&next)?;
                if problem.objective(there, &next) <= from {
                    loss = Some(there);
                    break;
                }
                if halving == 11 {
                    next[k].clone_from(&base);
                    loss = Some(here);
                }
            }
        }
        iterations += 1;
        let mut loss = loss.map_or_else(|| problem.loss_ahead(&next), Ok)?;
        let mut halvings = 0;
        while (loss.is_nan() || problem.objective(loss, &next) > state.2 + objective_epsilon) && halvings < 20 && !single {
            for (n, old) in next.iter_mut().flatten().zip(state.0.iter().flatten()) {
                *n = 0.5 * (*n + old);
            }
            loss = problem.loss(&next)?;
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
        let iteration = steps.last().map_or(0, |s| s.iteration) + 1;
        let (alpha, lambda, beta) = (problem.alpha, problem.lambda, state.0.clone());
        steps.push(Step { at_ms: time::now_ms(), iteration, loss, objective, alpha, lambda, beta });
        if single || moved < params.beta_epsilon || improved < objective_epsilon {
            break;
        }
        if iterations >= iterations_max {
            run.job.warn(format!("training ended at max_iterations = {iterations_max} before it converged"));
            break;
        }
    }
    Ok(Found { beta: state.0, loss: state.1, iterations })
}

/// The coefficients not yet `inside` whose slopes are above a limit, the steepest first.
fn steepest_first(slopes: &[f64], limit: f64, inside: &[bool]) -> Vec<usize> {
    let mut steep: Vec<usize> = (0..slopes.len()).filter(|&i| !inside[i] && slopes[i] > limit).collect();
    steep.sort_by(|a, b| slopes[*b].total_cmp(&slopes[*a]).then(a.cmp(b)));
    steep
}

/// Which coefficients may be other than 0 where `max_active_predictors` bounds their number: once in, they may stay, and
/// as the penalty falls the steepest come in until there is no room (by the sequential strong rule, Tibshirani et al. 2012,
/// and where that rule was wrong, by the conditions of Karush, Kuhn and Tucker).
struct Entrants {
    most: usize,
    /// Of each coefficient; the intercept, the last, is always in.
    inside: Vec<bool>,
    /// Alpha times the penalty before.
    before: f64,
}

impl Entrants {
    fn room(&self) -> usize {
        (self.most + 1).saturating_sub(self.inside.iter().filter(|i| **i).count())
    }

    /// Lets the steepest in whose slopes are above a limit; were there any?
    fn admit(&mut self, slopes: &[f64], limit: f64) -> bool {
        let steep = steepest_first(slopes, limit, &self.inside);
        let room = self.room();
        steep.iter().take(room).for_each(|&i| self.inside[i] = true);
        room > 0 && !steep.is_empty()
    }
}

/// [`descend`] with at most so many coefficients other than 0.
fn descend_bounded(
    problem: &mut Problem<'_>,
    from: &[Vec<f64>],
    entrants: &mut Entrants,
    chunks: usize,
    steps: &mut Vec<Step>,
) -> Result<Found> {
    let held = problem.lambda * problem.alpha;
    if entrants.room() > 0 {
        entrants.admit(&problem.slopes(from)?, (2.0 * held - entrants.before).max(0.0));
    }
    entrants.before = held;
    let mut state = Found { beta: from.to_vec(), loss: 0.0, iterations: 0 };
    loop {
        let found = descend_within(problem, &state.beta, &entrants.inside, chunks, steps)?;
        state = Found { iterations: state.iterations + found.iterations, ..found };
        if entrants.room() == 0 || !entrants.admit(&problem.slopes(&state.beta)?, held * (1.0 + 1e-9)) {
            return Ok(state);
        }
    }
}

/// [`descend`] where only some coefficients may be other than 0, in memory that grows with the square of their number.
fn descend_within(problem: &mut Problem<'_>, from: &[Vec<f64>], inside: &[bool], chunks: usize, steps: &mut Vec<Step>) -> Result<Found> {
    problem.within = (0..inside.len()).filter(|&i| inside[i]).map(|i| i as u32).collect();
    let m = problem.within.len();
    let _room = problem.run.node.ledger.reserve(&format!("Gram matrices of {m} coefficients"), (m * m * 8 * chunks) as u64)?;
    let found = descend(problem, from, None, steps);
    problem.within.clear();
    found
}

/// [`descend`] among many coefficients of which few are other than 0: fits those that may be, looks at the slopes of all
/// others, and takes in the steepest of those that the penalty does not hold back, until it holds back all (the conditions
/// of Karush, Kuhn and Tucker; Friedman, Hastie, Tibshirani 2010, 2.6).
fn descend_screened(problem: &mut Problem<'_>, from: &[Vec<f64>], chunks: usize, steps: &mut Vec<Step>) -> Result<Found> {
    let p = problem.design.len();
    let mut taken: Vec<bool> = (0..p).map(|i| i == p - 1 || from.iter().any(|b| b[i] != 0.0)).collect();
    let mut state = Found { beta: from.to_vec(), loss: 0.0, iterations: 0 };
    loop {
        let slopes = problem.slopes(&state.beta)?;
        let steep = steepest_first(&slopes, problem.lambda * problem.alpha * (1.0 + 1e-9), &taken);
        if steep.is_empty() && state.iterations > 0 {
            return Ok(state);
        }
        let count = taken.iter().filter(|t| **t).count();
        steep.iter().take(count.max(64)).for_each(|&i| taken[i] = true);
        let found = descend_within(problem, &state.beta, &taken, chunks, steps)?;
        state = Found { iterations: state.iterations + found.iterations, ..found };
    }
}

/// One model of the path, and when it was there.
struct Submodel {
    alpha: f64,
    lambda: f64,
    beta: Vec<Vec<f64>>,
    explained_train: f64,
    explained_valid: Option<f64>,
    /// Iterations up to here.
    iterations: usize,
    deviance_train: f64,
    at_ms: i64,
}

/// Steps of a search without progress after which it ends, and what counts as progress: as in the reference.
const IDLE_STEPS_MAX: usize = 5;
const PROGRESS_MIN: f64 = 1e-4;

/// Fits, with the predictors that another room makes.
pub fn fit(run: &mut Run<'_, GlmParams>, made: &interactions::Made) -> Result<Fitted<GlmOutput>> {
    fit_along(run, made, None)?.ok_or_else(|| Error::Internal("a fit ended with its plan".into()))
}

/// The penalties that a fit would go along, the largest first.
pub fn penalties(run: &mut Run<'_, GlmParams>) -> Result<Vec<f64>> {
    let mut planned = vec![];
    fit_along(run, &interactions::Made::default(), Some(&mut planned))?;
    Ok(planned)
}

/// Fits, or ends once the penalties are known, where only they are wanted.
fn fit_along(run: &mut Run<'_, GlmParams>, made: &interactions::Made, planned: Option<&mut Vec<f64>>) -> Result<Option<Fitted<GlmOutput>>> {
    if run.params.missing_values_handling == MissingValues::Skip {
        run.train.leave_out_missing()?;
        // Such rows do not count in means and deviations either.
        run.train.weighted = true;
    }
    if run.params.build_null_model {
        run.train.names.clear();
        run.train.columns.clear();
        run.train.encodings.clear();
        if let Some(v) = &mut run.valid {
            v.data.sources.clear();
        }
    }
    let run = &*run;
    let (params, train) = (&run.params, &run.train);
    let family = family(params, train.category);
    let link = link(params, family);
    let mut shape = Shapes { variance_power: params.tweedie_variance_power, link_power: params.tweedie_link_power, theta: params.theta };
    let classes = train.classes();
    likelihood::check(params, family)?;
    let many = matches!(family, Family::Multinomial | Family::Ordinal);
    // With a penalty, or without an intercept, every level has a coefficient; otherwise the first level is the baseline.
    let given = params.lambda.clone().unwrap_or_default();
    let all_levels = !params.intercept || params.lambda_search || given.is_empty() || given.iter().any(|l| *l > 0.0);
    let pairs = interactions::pairs(params.interactions.as_deref(), &params.interaction_pairs)?;
    let expanded = interactions::expand(&run.node.ledger, train, &pairs, made, all_levels)?;
    let mut design =
        Design::new(train, &expanded.columns, &expanded.derived, &expanded.entering, params.standardize, params.intercept, all_levels)?;
    if params.missing_values_handling == MissingValues::PlugValues {
        plug(run, &mut design, &expanded)?;
    }
    let names = design.names(&expanded.names, &expanded.columns);
    let p = design.len();
    // What is derived is made at scoring, from predictors in their own order.
    let raw: Vec<usize> = if expanded.derived.is_empty() { design.order.clone() } else { (0..train.columns.len()).collect() };
    let blocks = if many { classes } else { 1 };
    let chunks = train.rows.div_ceil(ochre_core::CHUNK_ROWS).min(2 * run.node.runner.threads() + 2).max(1);
    let mut limits = constraints::read(run, &design, &names)?;
    limits.demand(made, &design);
    let penalised = params.lambda_search || given.is_empty() || given.iter().any(|l| *l > 0.0);
    let lasso = penalised && params.alpha.as_ref().is_none_or(|a| a.iter().all(|a| *a > 0.0)) && params.solver != Solver::LBfgs;
    let free = limits.bounds.is_none() && limits.pulls.is_none() && limits.linear.is_empty() && limits.curvature.is_none();
    let whole = params.compute_p_values || params.remove_collinear_columns || family == Family::Ordinal;
    let screened = p > SCREENED_FROM && lasso && free && !whole;
    // Where all may be other than 0, or conditions on them rule, the number of coefficients is not bounded.
    let bound = usize::try_from(params.max_active_predictors).ok().filter(|m| *m > 0 && *m < p - 1);
    let most = bound.filter(|_| lasso && free && !whole);
    if bound != most {
        let what = "it bounds models with a lasso and without constraints, p-values and removal of collinear columns";
        run.job.warn(format!("max_active_predictors has no effect: {what}"));
    }
    let products = if screened { p } else { p * p };
    let _room = run.node.ledger.reserve(&format!("Gram matrices of {p} coefficients"), (products * 8 * chunks + train.rows * 32) as u64)?;

    // Predictors in design order, response, weight and offset as one frame for the passes.
    let ledger = &run.node.ledger;
    let mut columns: Vec<Column> = design.order.iter().map(|&i| expanded.columns[i].clone()).collect();
    let ones = || vec![1.0; train.rows];
    columns.push(Column::numeric(ledger, Kind::Real, &train.y)?);
    columns.push(Column::numeric(ledger, Kind::Real, &train.w.clone().unwrap_or_else(ones))?);
    columns.push(Column::numeric(ledger, Kind::Real, &train.offset.clone().unwrap_or_else(|| vec![0.0; train.rows]))?);
    let labels = (0..columns.len()).map(|i| i.to_string()).collect();
    let all: Vec<usize> = (0..columns.len()).collect();
    let alphas = match params.alpha.clone().unwrap_or_default() {
        a if !a.is_empty() => a,
        _ if params.solver == Solver::LBfgs => vec![0.0],
        _ => vec![0.5],
    };
    let scale = if params.obj_reg > 0.0 { params.obj_reg } else { 1.0 / train.nominal_weight };
    let silent = silent(run, &design, &expanded)?;
    // Of smooth functions only the first counts for the largest penalty, as in the reference.
    let counting = if made.penalties.is_empty() { p } else { p - made.derived.len() };
    let mut problem = Problem {
        run,
        frame: Frame::new(labels, columns)?,
        columns: all,
        design,
        names: names.clone(),
        family,
        link,
        shape,
        limits,
        dead: vec![],
        raw,
        scale,
        alpha: alphas[0],
        lambda: 0.0,
        within: vec![],
        quadratic: Default::default(),
        ahead: Default::default(),
    };

    // The null model: the intercept alone.
    let mut beta = vec![vec![0.0; p]; blocks];
    let mean = |f: &dyn Fn(f64) -> f64| (0..train.rows).map(|i| train.weight(i) * f(train.y[i])).sum::<f64>() / train.total_weight();
    if params.intercept {
        for (k, b) in beta.iter_mut().enumerate() {
            b[p - 1] = if family == Family::Ordinal {
                let up_to = mean(&|y| f64::from(y <= k as f64)).clamp(1e-10, 1.0 - 1e-10);
                if k + 1 == blocks { 0.0 } else { (up_to / (1.0 - up_to)).ln() }
            } else if many {
                mean(&|y| f64::from(y == k as f64)).max(1e-300).ln()
            } else {
                link.apply(mean(&|y| y), shape)
            };
        }
        if !many && train.offset.is_some() {
            beta[0][p - 1] = null_constant(&problem);
        }
    }
    let null = beta.clone();
    let scorer_of = |problem: &Problem<'_>, beta: &[Vec<f64>]| GlmScorer {
        link: match (many, link) {
            (true, _) if family == Family::Ordinal => LinkFunction::Ordinal,
            (true, _) => LinkFunction::Softmax,
            (_, Link::Logit) => LinkFunction::Logit,
            (_, Link::Log) => LinkFunction::Log,
            (_, Link::Inverse) => LinkFunction::Inverse,
            (_, Link::Tweedie) => LinkFunction::Power,
            _ => LinkFunction::Identity,
        },
        classes: if classes > 1 { classes } else { 1 },
        levels: problem.design.levels.iter().copied().zip(problem.design.modes.iter().copied()).collect(),
        all_levels,
        means: problem.design.fills.clone(),
        beta: beta.iter().map(|b| problem.design.original(b)).collect(),
        link_power: params.tweedie_link_power,
        path: vec![],
        derived: expanded.derived.clone(),
        smooths: vec![],
        places: if expanded.derived.is_empty() { vec![] } else { problem.design.order.clone() },
        silent: vec![],
        covariance: vec![],
        skips_missing: params.missing_values_handling == MissingValues::Skip,
        without_offset: false,
    };
    let estimated = likelihood::theta_is_estimated(params, family);
    if estimated || likelihood::power_is_estimated(params, family) {
        shape = likely_shape(&mut problem, &null, &scorer_of)?;
    }
    let started = time::now_ms();
    let null_loss = problem.loss(&null)?;
    if params.remove_collinear_columns {
        let g = problem.pass(&null, 0, false)?;
        problem.dead = dead_columns(&g.xx, p, params.intercept);
        let gone: Vec<&str> = (0..p - 1).filter(|&i| problem.dead[i]).map(|i| names[i].as_str()).collect();
        if !gone.is_empty() {
            run.job.warn(format!("Removed collinear columns {}", gone.join(", ")));
        }
    }
    let saturated: f64 =
        (0..train.rows).filter(|&i| train.weight(i) > 0.0).map(|i| train.weight(i) * family.saturated(train.y[i], shape)).sum();
    let null_deviance = 2.0 * (null_loss - saturated);
    let deviance = match family {
        Family::Poisson => Deviance::Poisson,
        Family::Gamma => Deviance::Gamma,
        Family::Negativebinomial => Deviance::NegativeBinomial(shape.theta),
        Family::Fractionalbinomial => Deviance::Shares,
        Family::Tweedie => match shape.variance_power {
            0.0 => Deviance::Gaussian,
            1.0 => Deviance::Poisson,
            2.0 => Deviance::Gamma,
            p => Deviance::Tweedie(p),
        },
        _ => Deviance::Gaussian,
    };
    let first = start(run, &problem, &null)?;
    let first_loss = if first == null { null_loss } else { problem.loss(&first)? };
    let objective = problem.objective(first_loss, &first);
    let begin =
        Step { at_ms: time::now_ms(), iteration: 0, loss: first_loss, objective, alpha: alphas[0], lambda: 0.0, beta: first.clone() };
    let mut steps: Vec<Step> = vec![begin];
    let mut found: Vec<Submodel> = vec![];
    let mut iterations = 0;
    let (mut lambda_max, mut lambda_min) = (-1.0, -1.0);
    // One path for all mixtures: that of the first, as in the reference.
    let path: Vec<f64> = if !given.is_empty() {
        let mut l = given.clone();
        l.sort_by(|a, b| b.total_cmp(a));
        if params.lambda_search {
            (lambda_max, lambda_min) = match &params.chosen {
                Some(c) => (c.largest, c.smallest),
                None => (l[0], l[l.len() - 1]),
            };
        }
        l
    } else {
        problem.alpha = alphas[0];
        let (top, ratio) = largest_lambda(&problem, &null, alphas[0], counting, screened)?;
        if params.lambda_search {
            (lambda_max, lambda_min) = (top, top * ratio);
            let n = if params.nlambdas > 0 {
                params.nlambdas as usize
            } else if alphas[0] == 0.0 {
                30
            } else {
                100
            };
            (0..n).map(|i| top * ratio.powf(i as f64 / (n.max(2) - 1) as f64)).collect()
        } else {
            vec![10.0 * ratio * top]
        }
    };
    if let Some(planned) = planned {
        *planned = path;
        return Ok(None);
    }
    for (round, &alpha) in alphas.iter().enumerate() {
        problem.alpha = alpha;
        let lambdas = path.clone();
        let (mut warm, mut warm_loss) = (first.clone(), first_loss);
        let (mut idle, mut before) = (0, f64::INFINITY);
        let count = lambdas.len();
        let mut entrants = match most {
            Some(most) => {
                let steepest = problem.slopes(&null)?[..p - 1].iter().copied().fold(0.0, f64::max);
                Some(Entrants { most, inside: (0..p).map(|i| i == p - 1).collect(), before: steepest })
            }
            None => None,
        };
        for (i, lambda) in lambdas.into_iter().enumerate() {
            problem.lambda = lambda;
            let from = if params.cold_start { &first } else { &warm };
            let done = if let Some(entrants) = &mut entrants {
                descend_bounded(&mut problem, from, entrants, chunks, &mut steps)?
            } else if screened {
                descend_screened(&mut problem, from, chunks, &mut steps)?
            } else {
                let known = if params.cold_start { first_loss } else { warm_loss };
                descend(&problem, from, Some(known), &mut steps)?
            };
            if screened {
                // Coefficients of all steps would take more memory than the data.
                steps.drain(1..steps.len().saturating_sub(1).max(1));
            }
            iterations += done.iterations;
            warm.clone_from(&done.beta);
            warm_loss = done.loss;
            let deviance_train = 2.0 * (done.loss - saturated);
            let explained_valid = match &run.valid {
                None => None,
                Some(v) => Some(explained(v, &scorer_of(&problem, &done.beta), &problem.raw, deviance, &null, p, link, shape)?),
            };
            let at_ms = time::now_ms();
            let explained_train = 1.0 - deviance_train / null_deviance;
            found.push(Submodel { alpha, lambda, beta: done.beta, explained_train, explained_valid, iterations, deviance_train, at_ms });
            run.job.set_progress((round as f64 + (i + 1) as f64 / count as f64) / alphas.len() as f64);
            let now = 1.0 - explained_valid.unwrap_or(explained_train);
            idle = if (before - now) / now.abs() < PROGRESS_MIN { idle + 1 } else { 0 };
            before = now;
            if params.lambda_search && params.early_stopping && idle >= IDLE_STEPS_MAX {
                break;
            }
            if run.out_of_time()? {
                break;
            }
        }
    }
    let quality = |m: &Submodel| m.explained_valid.unwrap_or(m.explained_train);
    let best = match &params.chosen {
        // The path ends with what the folds chose.
        Some(_) => found.len() - 1,
        None => (0..found.len()).fold(0, |b, i| if quality(&found[i]) > quality(&found[b]) { i } else { b }),
    };
    (problem.alpha, problem.lambda) = (found[best].alpha, found[best].lambda);
    let alpha = problem.alpha;
    let mut beta = found[best].beta.clone();
    if params.prior > 0.0 && family == Family::Binomial {
        // King and Zeng 2001, eq. 7: the intercept that belongs to the true share of the second class.
        let share = mean(&|y| y);
        beta[0][p - 1] += ((1.0 - share) / share * params.prior / (1.0 - params.prior)).ln();
    }
    let original: Vec<Vec<f64>> = beta.iter().map(|b| problem.design.original(b)).collect();
    if original.iter().flatten().any(|v| !v.is_finite()) {
        run.job.warn("some coefficients are not finite; check the response and the scale of the predictors");
    }
    // A likelihood with a dispersion brings the statistics that rest on it, as in the reference.
    let implied = params.calc_like && problem.lambda == 0.0 && matches!(family, Family::Gaussian | Family::Gamma | Family::Tweedie);
    let told = params.compute_p_values || implied;
    let spread = match told || params.influence.is_some() {
        true => Some(statistics(&problem, &beta[0], &scorer_of(&problem, &beta))?),
        false => None,
    };
    let statistics = spread.as_ref().filter(|_| told);
    let mut scorer = scorer_of(&problem, &beta);
    scorer.covariance = statistics.as_ref().map_or(vec![], |s| s.covariance.clone());
    scorer.path = found
        .iter()
        .map(|m| PathStep {
            alpha: m.alpha,
            lambda: m.lambda,
            explained_train: m.explained_train,
            explained_valid: m.explained_valid,
            beta: m.beta.iter().flat_map(|b| problem.design.original(b)).collect(),
            standardized: m.beta.concat(),
            statistics: statistics.as_ref().map(|s| s.values.clone()),
        })
        .collect();
    let active = beta.iter().map(|b| b.iter().filter(|v| **v != 0.0).count()).sum::<usize>();
    let zero = link.inverse(0.0, shape);
    let judge = |s: &GlmScorer, active: usize| metrics(&problem, &Scorer::Glm(s.clone()), deviance, active, zero);
    scorer.silent = silent;
    scorer.without_offset = params.remove_offset_effects;
    let restricted = !scorer.silent.is_empty() || scorer.without_offset;
    let (training, validation) = judge(&scorer, active)?;
    let (rows, scored) = scored_steps(&problem, &steps, &|beta| {
        let mut s = scorer_of(&problem, beta);
        (s.silent, s.without_offset) = (scorer.silent.clone(), scorer.without_offset);
        judge(&s, beta.iter().map(|b| b.iter().filter(|v| **v != 0.0).count()).sum())
    })?;

    // The history tells these two families' likelihoods as deviances, as the reference does.
    let as_deviance = matches!(family, Family::Poisson | Family::Gamma);
    let told_loss = |s: Step| {
        let loss = if as_deviance { 2.0 * (s.loss - saturated) } else { s.loss };
        Step { loss, objective: s.objective + (loss - s.loss) * problem.scale, ..s }
    };
    let rows: Vec<Step> = rows.into_iter().map(told_loss).collect();

    let mut output = GlmOutput {
        coefficient_names: Some(names.iter().cloned().chain(["Intercept".to_string()]).collect()),
        lambda_best: problem.lambda,
        alpha_best: alpha,
        // Folds that have one penalty only choose it.
        lambda_1se: match &params.chosen {
            Some(c) => c.within_one_error,
            None if params.common.nfolds > 1 || params.common.fold_column.is_some() => problem.lambda,
            None => -1.0,
        },
        lambda_min,
        lambda_max,
        best_submodel_index: best as i32,
        dispersion: statistics.as_ref().map_or(0.0, |s| if estimated { shape.theta } else { s.dispersion }),
        ..GlmOutput::default()
    };
    let inflation = if params.generate_variable_inflation_factors { Some(inflation_factors(&problem)?) } else { None };
    if let Some((labels, factors)) = &inflation {
        output.vif_predictor_names = Some(labels.clone());
        output.variable_inflation_factors = Some(factors.clone());
    }
    let inflation = inflation.map(|(labels, factors)| {
        let of = |n: &String| labels.iter().position(|l| l == n).map_or(f64::NAN, |i| factors[i]);
        names.iter().map(of).chain([f64::NAN]).collect::<Vec<f64>>()
    });
    if !problem.limits.linear.is_empty() {
        let (said, table, all) = constraints::report(&problem.limits.linear, &original[0]);
        output.linear_constraint_states = Some(said);
        output.linear_constraints_table = Some(table);
        output.all_constraints_satisfied = all;
    }
    let labels = train.response.as_ref().and_then(|r| r.domain.clone()).unwrap_or_default();
    let shown: Vec<Vec<f64>> =
        if params.standardize { beta.clone() } else { original.iter().map(|b| problem.design.as_if_standardized(b)).collect() };
    if many {
        let inflation = inflation.as_deref();
        output.coefficients_table = Some(class_table(&names, &original, &shown, inflation, |k| k.to_string()));
        output.coefficients_table_multinomials_with_class_names =
            Some(class_table(&names, &original, &shown, inflation, |k| labels[k].clone()));
    } else {
        let numbers = statistics.as_ref().map(|s| &s.values);
        output.coefficients_table = Some(coefficient_table(&names, &original[0], &shown[0], numbers, inflation.as_deref()));
    }
    // What predicting leaves out is no importance.
    let mut weighed = shown.clone();
    weighed.iter_mut().for_each(|b| scorer.silent.iter().for_each(|&i| b[i] = 0.0));
    let (magnitudes, importances) = magnitude_tables(&names, &weighed);
    output.standardized_coefficient_magnitudes = Some(magnitudes);
    output.variable_importances = Some(importances);
    let regularization = match (problem.lambda, alpha) {
        (0.0, _) => "None".to_string(),
        (l, 0.0) => format!("Ridge ( lambda = {} )", short(l)),
        (l, 1.0) => format!("Lasso (lambda = {} )", short(l)),
        (l, a) => format!("Elastic Net (alpha = {a}, lambda = {} )", short(l)),
    };
    let one = |v: Cell| vec![v];
    let intercepts = if params.intercept { blocks } else { 0 };
    // Of several classes the reference counts the intercepts too.
    let total = if many { (p - 1) * blocks + intercepts } else { p - 1 };
    let link_name = match family {
        Family::Multinomial => "multinomial",
        Family::Ordinal => "ologit",
        Family::Tweedie => "tweedie",
        _ => link.name(),
    };
    let mut heading = Table::new("GLM Model", "summary")
        .row_labels(vec!["".into()])
        .column("Family", "string", "%s", one(family.name().into()))
        .column("Link", "string", "%s", one(link_name.into()))
        .column("Regularization", "string", "%s", one(regularization.into()));
    if params.lambda_search {
        let said = format!(
            "nlambda = {}, lambda.max = {}, lambda.min = {}, lambda.1se = {}",
            if params.nlambdas > 0 { params.nlambdas } else { 100 },
            short(lambda_max),
            short(problem.lambda),
            params.chosen.as_ref().map_or("-1.0".into(), |c| short(c.within_one_error))
        );
        heading = heading.named("lambda_search", "Lambda Search", "string", "%s", one(said.into()));
    }
    output.common.model_summary = Some(
        heading
            .column("Number of Predictors Total", "int", "%d", one(total.into()))
            .column("Number of Active Predictors", "int", "%d", one(active.saturating_sub(intercepts).into()))
            .column("Number of Iterations", "int", "%d", one(iterations.into()))
            .column("Training Frame", "string", "%s", one(params.common.training_frame.as_ref().map_or("", |k| &k.0).into())),
    );
    let asked = params.generate_scoring_history || params.common.score_each_iteration;
    let paths = params.generate_scoring_history;
    output.common.scoring_history = Some(if params.lambda_search {
        let scored: Vec<Scored> = (0..found.len())
            .map(|i| {
                if !asked && i != best {
                    return Ok(None);
                }
                let mut s = scorer_of(&problem, &found[i].beta);
                (s.silent, s.without_offset) = (scorer.silent.clone(), scorer.without_offset);
                judge(&s, active).map(Some)
            })
            .collect::<Result<_>>()?;
        let table = search_history(&found, params.chosen.as_ref(), started, train.total_weight(), p, asked.then_some(iterations));
        if asked { history::with_metrics(table, train.category, &scored, "") } else { table }
    } else {
        history::steps(&rows, None, &scored, started, train.category, paths)
    });
    if restricted && !params.lambda_search {
        let (rows, full) = scored_steps(&problem, &steps, &|beta| judge(&scorer_of(&problem, beta), active))?;
        let heard = |s: &Step| -> Result<Step> {
            let mut g = scorer_of(&problem, &s.beta);
            g.silent = scorer.silent.clone();
            let beta: Vec<Vec<f64>> = g.heard().iter().map(|b| problem.design.standardized(b)).collect();
            let loss = problem.loss(&beta)?;
            Ok(Step { loss, objective: problem.objective(loss, &beta), ..s.clone() })
        };
        let silenced = rows.iter().map(heard).collect::<Result<Vec<_>>>()?;
        let table = history::steps(&silenced, Some(&rows), &scored, started, train.category, paths);
        // Rows count as the second class from where the whole model is best at telling them.
        let whole = judge(&scorer_of(&problem, &beta), active)?;
        output.common.default_threshold = whole.1.as_ref().unwrap_or(&whole.0).threshold();
        output.common.scoring_history = Some(history::with_metrics(table, train.category, &full, "unrestricted_"));
        output.scoring_history_unrestricted_model = Some(history::steps(&rows, None, &full, started, train.category, paths));
    }
    if let (Some(s), true) = (&spread, params.influence.is_some()) {
        let key = format!("{}_regression_influence_diagnostics", run.params.common.model_id.clone().unwrap_or_default().0);
        run.node.store.put(&key, influences(&problem, s, &scorer, &names)?)?;
        output.common.belongings.push(key.clone());
        output.regression_influence_diagnostics = Some(FrameKey(key));
    }
    output.common.effective = effective(&problem, &alphas, path, p, blocks);
    let order = problem.raw.clone();
    Ok(Some(Fitted { output, scorer: Scorer::Glm(scorer), deviance, training, validation, order: Some(order) }))
}

/// What parameters that were left to the server stand for. Bounds on iterations and tolerances are told as the
/// reference's defaults; those that ochre works with are tighter.
fn effective(problem: &Problem<'_>, alphas: &[f64], lambdas: Vec<f64>, p: usize, blocks: usize) -> Vec<(&'static str, Value)> {
    let params = &problem.run.params;
    let search = params.lambda_search;
    let bfgs = params.solver == Solver::LBfgs;
    let rows = problem.run.train.nominal_weight;
    let single = lambdas.len() == 1 && lambdas[0] == 0.0;
    let mut out: Vec<(&'static str, Value)> = vec![("alpha", alphas.into()), ("lambda", lambdas.into())];
    if params.family == Family::Auto {
        out.push(("family", problem.family.name().into()));
    }
    if params.link == Link::FamilyDefault {
        let name = match problem.family {
            Family::Multinomial => "multinomial",
            Family::Ordinal => "ologit",
            _ => problem.link.name(),
        };
        out.push(("link", name.into()));
    }
    if params.solver == Solver::Auto {
        let by_coordinates = search && problem.family != Family::Multinomial;
        out.push(("solver", if by_coordinates { "COORDINATE_DESCENT" } else { "IRLSM" }.into()));
    }
    let nlambdas = match params.nlambdas {
        n if n > 0 || !search => n,
        _ if alphas[0] == 0.0 => 30,
        _ => 100,
    };
    let blocks = blocks as i32;
    let most = match (params.max_iterations, bfgs, search) {
        (n, ..) if n >= 0 => n,
        (_, true, true) => nlambdas * 100 * blocks,
        (_, true, false) => blocks * (p as i32 >> 2).max(20),
        (_, false, true) => 10 * nlambdas,
        (_, false, false) => 50,
    };
    let asked = problem.run.asked().unwrap_or(params);
    let ratio = match asked.lambda_min_ratio {
        r if r > 0.0 => r,
        _ => (if rows as usize >> 4 > p { 1e-4 } else { 1e-2 }) * if alphas[0] == 0.0 { 1e-2 } else { 1.0 },
    };
    let given = |v: f64, or: f64| if v >= 0.0 { v } else { or };
    let gradient = if single { 1e-6 } else { 1e-4 };
    out.extend([
        ("nlambdas", nlambdas.into()),
        ("max_iterations", most.into()),
        ("early_stopping", asked.early_stopping.into()),
        ("lambda_min_ratio", ratio.into()),
        ("obj_reg", given(params.obj_reg, 1.0 / rows).into()),
        ("objective_epsilon", given(params.objective_epsilon, gradient).into()),
        ("gradient_epsilon", given(params.gradient_epsilon, if search { gradient * 1e-2 } else { gradient }).into()),
    ]);
    if likelihood::theta_is_estimated(params, problem.family) {
        out.push(("theta", problem.shape.theta.into()));
    }
    if likelihood::power_is_estimated(params, problem.family) {
        out.push(("tweedie_variance_power", problem.shape.variance_power.into()));
    }
    if params.max_active_predictors < 0 && !bfgs {
        out.push(("max_active_predictors", 5000.into()));
    }
    out
}

/// The shape of a family at which the likelihood is largest, with the coefficients that belong to it: in turn the
/// coefficients given the shape, and the shape given the means (Venables and Ripley 2002, 7.4).
fn likely_shape(
    problem: &mut Problem<'_>,
    null: &[Vec<f64>],
    scorer_of: &dyn Fn(&Problem<'_>, &[Vec<f64>]) -> GlmScorer,
) -> Result<Shapes> {
    let params = &problem.run.params;
    let most = if params.max_iterations_dispersion > 0 { params.max_iterations_dispersion as usize } else { 3000 };
    let binomial = problem.family == Family::Negativebinomial;
    if binomial && params.theta < 1e-6 {
        problem.shape.theta = 1.0;
    }
    if !binomial && problem.shape.variance_power <= 1.0 {
        problem.shape.variance_power = 1.5;
    }
    problem.lambda = 0.0;
    let mut beta = null.to_vec();
    let mut last = f64::INFINITY;
    for round in 0..most {
        problem.run.job.check()?;
        // Sums that were taken with another shape.
        *problem.ahead.lock() = None;
        beta = descend(problem, &beta, None, &mut vec![])?.beta;
        let mu = fitted_means(problem, &scorer_of(problem, &beta))?;
        let train = &problem.run.train;
        let fit = Fit { family: problem.family, shape: problem.shape, y: &train.y, w: train.w.as_deref(), mu: &mu, active: 0 };
        let (moved, enough) = if binomial {
            let next = fit.likely_theta();
            ((std::mem::replace(&mut problem.shape.theta, next) - next).abs(), 1e-10 * next)
        } else {
            let next = fit.likely_power((round > 0).then_some(problem.shape.variance_power));
            ((std::mem::replace(&mut problem.shape.variance_power, next) - next).abs(), params.dispersion_epsilon.max(1e-6))
        };
        // Once steps no longer get shorter, what is left is rounding of the likelihood.
        let still = moved <= enough || (round > 1 && moved >= last);
        last = moved;
        if still || problem.run.out_of_time()? {
            break;
        }
    }
    *problem.ahead.lock() = None;
    Ok(problem.shape)
}

/// A penalty in few digits, as tables show it.
fn short(lambda: f64) -> String {
    let digits = if lambda >= 1.0 { 4 } else { 3 };
    let rounded: f64 = format!("{lambda:.digits$e}").parse().unwrap_or(lambda);
    if rounded == 0.0 || (1e-3..1e7).contains(&rounded) {
        return format!("{rounded:?}");
    }
    let (mantissa, exponent) = (rounded / 10f64.powi(rounded.log10().floor() as i32), rounded.log10().floor());
    let mantissa: f64 = format!("{mantissa:.digits$}").parse().unwrap_or(mantissa);
    format!("{mantissa:?}E{exponent}")
}

/// Where the iterations begin: at given coefficients, at those of a checkpoint, or at the null model.
fn start(run: &Run<'_, GlmParams>, problem: &Problem<'_>, null: &[Vec<f64>]) -> Result<Vec<Vec<f64>>> {
    if let Some(Scorer::Glm(before)) = run.checkpoint.as_ref().map(|m| &m.scorer) {
        let given: Vec<Vec<f64>> = before.beta.iter().map(|b| problem.design.standardized(b)).collect();
        if given.len() != null.len() || given[0].len() != null[0].len() {
            return Err(Error::invalid(
                "the checkpoint has other coefficients than this model; lambda, interactions and missing_values_handling must be as they were",
            ));
        }
        return Ok(given);
    }
    Ok(match &problem.limits.start {
        Some(s) if null.len() == 1 => vec![s.clone()],
        Some(_) => {
            return Err(Error::Unsupported(
                "startval and beta_start are not supported for several classes by this version of ochre".into(),
            ));
        }
        None => null.to_vec(),
    })
}

/// Values that stand for missing ones, as the user gives them.
fn plug(run: &Run<'_, GlmParams>, design: &mut Design, expanded: &interactions::Expanded) -> Result<()> {
    let plugs = Plugs::new(run.node, run.params.plug_values.as_ref())?;
    if !expanded.derived.is_empty() {
        return Err(Error::Unsupported(
            "plug values together with interactions are not supported by this version of ochre; use MeanImputation".into(),
        ));
    }
    for (place, &i) in design.order.clone().iter().enumerate() {
        let value = plugs.value(&expanded.names[i], &expanded.columns[i])?;
        match place.checked_sub(design.levels.len()) {
            None => design.modes[place] = value as usize,
            Some(number) => design.fills[number] = value,
        }
    }
    Ok(())
}

/// Coefficients of the control variables.
fn silent(run: &Run<'_, GlmParams>, design: &Design, expanded: &interactions::Expanded) -> Result<Vec<usize>> {
    let wanted = run.params.control_variables.as_deref().unwrap_or_default();
    let mut out = vec![];
    let mut at = 0;
    let skip = usize::from(!design.all_levels);
    for (place, &i) in design.order.iter().enumerate() {
        let width = design.levels.get(place).map_or(1, |l| l.saturating_sub(skip));
        if wanted.contains(&expanded.names[i]) {
            out.extend(at..at + width);
        }
        at += width;
    }
    Ok(out)
}

/// Takes columns out of a Gram matrix: each becomes one by itself.
fn silence(g: &mut Gram, gone: &[bool]) {
    let p = gone.len();
    for i in (0..p).filter(|&i| gone[i]) {
        (0..=i).for_each(|j| g.xx[i * p + j] = 0.0);
        (i..p).for_each(|j| g.xx[j * p + i] = 0.0);
        g.xx[i * p + i] = 1.0;
        g.xy[i] = 0.0;
    }
}

/// Columns that those before them determine, the intercept being the first of all.
fn dead_columns(xx: &[f64], p: usize, intercept: bool) -> Vec<bool> {
    let from = |i: usize| if i == 0 { p - 1 } else { i - 1 };
    let mut turned = vec![0.0; p * p];
    for i in 0..p {
        for j in 0..=i {
            let (a, b) = (from(i), from(j));
            turned[i * p + j] = xx[a.max(b) * p + a.min(b)];
        }
    }
    let mut dead = linalg::collinear(&turned, p);
    dead.rotate_left(1);
    dead[p - 1] &= intercept;
    dead
}

/// Variance inflation factors of the numeric predictors (Marquardt 1970): the diagonal of the inverse of the predictors'
/// centred Gram matrix, times the sum of squares.
fn inflation_factors(problem: &Problem<'_>) -> Result<(Vec<String>, Vec<f64>)> {
    let (run, train) = (problem.run, &problem.run.train);
    let all: Vec<usize> = (0..train.columns.len()).collect();
    let design = Design::new(train, &train.columns, &[], &all, true, true, false)?;
    let names = design.names(&train.names, &train.columns);
    let ledger = &run.node.ledger;
    let mut columns: Vec<Column> = design.order.iter().map(|&i| train.columns[i].clone()).collect();
    let k = problem.columns.len();
    columns.extend((k - 3..k).map(|i| problem.frame.columns()[i].clone()));
    let labels = (0..columns.len()).map(|i| i.to_string()).collect();
    let all: Vec<usize> = (0..columns.len()).collect();
    let p = design.len();
    let _room = ledger.reserve("Gram matrix of inflation factors", (p * p * 16) as u64)?;
    let at = design.numbers_at();
    let pass = GramPass {
        design,
        family: Family::Gaussian,
        link: Link::Identity,
        shape: problem.shape,
        beta: vec![vec![0.0; p]],
        class: 0,
        loss_only: false,
        gradient_only: false,
        within: vec![],
        observed: false,
    };
    let g: Gram = run.node.runner.run(run.job, &Frame::new(labels, columns)?, &all, &pass)?;
    let dead = dead_columns(&g.xx, p, true);
    let inverse = if dead.iter().any(|d| *d) { None } else { linalg::inverse_spd(&g.xx, p) };
    let factor = |i: usize| {
        let (own, cross) = (g.xx[i * p + i], g.xx[(p - 1) * p + i]);
        inverse.as_ref().map_or(f64::INFINITY, |v| v[i * p + i] * (own - cross * cross / g.xx[p * p - 1]))
    };
    Ok((names[at..].to_vec(), (at..p - 1).map(factor).collect()))
}

/// The steps that the history shows, and the metrics of those that are scored: the last, and more when asked for.
fn scored_steps(
    problem: &Problem<'_>,
    steps: &[Step],
    judge: &dyn Fn(&[Vec<f64>]) -> Result<(Metrics, Option<Metrics>)>,
) -> Result<(Vec<Step>, Vec<Scored>)> {
    let params = &problem.run.params;
    let every = match params.score_iteration_interval {
        n if n > 0 => n as usize,
        _ if params.common.score_each_iteration => 1,
        _ => usize::MAX,
    };
    let last = steps.len() - 1;
    let wanted = |i: usize| i > 0 && (i == last || steps[i].iteration % every == 0);
    let shown: Vec<usize> = (0..=last).filter(|&i| !params.generate_scoring_history || wanted(i)).collect();
    let scored = shown.iter().map(|&i| if wanted(i) { judge(&steps[i].beta).map(Some) } else { Ok(None) }).collect::<Result<_>>()?;
    Ok((shown.iter().map(|&i| steps[i].clone()).collect(), scored))
}

/// Deviance along the path of penalties.
fn search_history(
    found: &[Submodel],
    chosen: Option<&super::choice::Choice>,
    started: i64,
    total: f64,
    p: usize,
    iterations: Option<usize>,
) -> Table {
    let each = |f: &dyn Fn(&Submodel) -> Cell| found.iter().map(f).collect::<Vec<_>>();
    let mut t = Table::new("Scoring History", "")
        .row_labels(vec!["".into(); found.len()])
        .named("timestamp", "timestamp", "string", "%s", each(&|m| Cell::Text(time::stamp(m.at_ms))))
        .named("duration", "duration", "string", "%s", each(&|m| Cell::Text(time::duration_text(m.at_ms - started))))
        .named("iteration", "iteration", "int", "%d", each(&|m| m.iterations.into()))
        .named("lambda", "lambda", "string", "%s", each(&|m| Cell::Text(format!("{:.2E}", m.lambda))))
        .named(
            "predictors",
            "predictors",
            "int",
            "%d",
            each(&|m| (m.beta.iter().flat_map(|b| &b[..p - 1]).filter(|v| **v != 0.0).count() + 1).into()),
        )
        .named("deviance_train", "deviance_train", "double", "%.3f", each(&|m| Cell::Double(m.deviance_train / total)));
    if let Some(c) = chosen {
        let cells = |f: &dyn Fn(&(f64, f64)) -> f64| c.held_out.iter().take(found.len()).map(|v| Cell::Double(f(v))).collect::<Vec<_>>();
        t = t.named("deviance_xval", "deviance_xval", "double", "%.3f", cells(&|v| v.0)).named(
            "deviance_se",
            "deviance_se",
            "double",
            "%.3f",
            cells(&|v| v.1),
        );
    }
    if found.iter().any(|m| m.explained_valid.is_some()) {
        t = t.named(
            "explained_deviance_test",
            "explained_deviance_test",
            "double",
            "%.3f",
            each(&|m| Cell::Double(m.explained_valid.unwrap_or(f64::NAN))),
        );
    }
    t = t.named("alpha", "alpha", "double", "%.6f", each(&|m| Cell::Double(m.alpha)));
    if iterations.is_some() { t.named("iterations", "iterations", "int", "%d", each(&|m| m.iterations.into())) } else { t }
}

/// Standard errors, z and p values on the original scale, and the dispersion that they rest on.
struct Statistics {
    values: [Vec<f64>; 3],
    covariance: Vec<f64>,
    dispersion: f64,
}

/// The covariance of the coefficients is the dispersion times the inverse of the weighted Gram matrix (McCullagh and
/// Nelder 1989, 4.4). Dispersion is 1 for binomial and poisson, otherwise estimated from Pearson residuals; then p values
/// are Student's, else normal.
fn statistics(problem: &Problem<'_>, beta: &[f64], scorer: &GlmScorer) -> Result<Statistics> {
    use statrs::distribution::{ContinuousCDF, Normal, StudentsT};
    let (train, design) = (&problem.run.train, &problem.design);
    let p = design.len();
    // As the reference: these two families by the observed information, the others by the expected one.
    let observed = matches!(problem.family, Family::Tweedie | Family::Negativebinomial);
    let mut g = problem.weighted_pass(std::slice::from_ref(&beta.to_vec()), 0, false, observed)?;
    if !design.intercept {
        g.xx[p * p - 1] = 1.0;
    }
    // A penalty may have put coefficients to 0: they have no error, and the others are as without them.
    let penalised = problem.lambda > 0.0;
    let gone: Vec<bool> = (0..p).map(|i| problem.dead.get(i).is_some_and(|d| *d) || (penalised && i + 1 < p && beta[i] == 0.0)).collect();
    silence(&mut g, &gone);
    let dead = if design.intercept { dead_columns(&g.xx, p, true) } else { vec![false; p] };
    if dead.iter().any(|d| *d) {
        let which: Vec<&str> = problem.names.iter().zip(&dead).filter(|(_, d)| **d).map(|(n, _)| n.as_str()).collect();
        return Err(Error::invalid(format!(
            "Found collinear columns in the dataset. P-values can not be computed with collinear columns in the dataset. Set remove_collinear_columns flag to true to remove collinear columns automatically. Found collinear columns [{}]",
            which.join(", ")
        )));
    }
    let inverse = linalg::inverse_spd(&g.xx, p)
        .ok_or_else(|| Error::invalid("p-values cannot be computed: some predictors are linear combinations of others; remove them"))?;
    let rows = (0..train.rows).filter(|&i| train.weight(i) > 0.0).count();
    let active = p - usize::from(!design.intercept) - gone.iter().filter(|d| **d).count();
    let free = rows as f64 - active as f64;
    // Given theta, the negative binomial family has no other dispersion.
    let estimated = likelihood::theta_is_estimated(&problem.run.params, problem.family);
    let known = problem.family.is_binomial() || problem.family == Family::Poisson || estimated;
    let dispersion = if known {
        1.0
    } else {
        let mu = fitted_means(problem, scorer)?;
        let fit = Fit { family: problem.family, shape: problem.shape, y: &train.y, w: train.w.as_deref(), mu: &mu, active };
        let params = &problem.run.params;
        if params.calc_like && problem.family == Family::Tweedie { fit.most_likely() } else { fit.dispersion(params) }
    };
    // original = T standardized: each coefficient by its factor, the intercept less what the centres take.
    let at = design.numbers_at();
    let mut t = vec![vec![]; p];
    for i in (0..p).filter(|&i| !gone[i]) {
        t[i].push((i, design.mult(i)));
        if design.centered && (at..p - 1).contains(&i) {
            t[p - 1].push((i, -design.mults[i - at] * design.means[i - at]));
        }
    }
    let part = |i: usize, j: usize| -> f64 {
        t[i].iter().map(|(a, u)| t[j].iter().map(|(b, v)| u * inverse[a * p + b] * v).sum::<f64>()).sum::<f64>() * dispersion
    };
    let covariance: Vec<f64> = (0..p * p).map(|k| part(k / p, k % p)).collect();
    let original = design.original(beta);
    let errors: Vec<f64> = (0..p).map(|i| if gone[i] { f64::NAN } else { covariance[i * p + i].sqrt() }).collect();
    let z: Vec<f64> = original.iter().zip(&errors).map(|(b, e)| b / e).collect();
    let normal = Normal::standard();
    let student = StudentsT::new(0.0, 1.0, free.max(1.0)).map_err(|e| Error::Internal(e.to_string()))?;
    let tail = |z: f64| {
        if z.is_nan() {
            z
        } else if known {
            2.0 * normal.sf(z.abs())
        } else {
            2.0 * student.sf(z.abs())
        }
    };
    let values = z.iter().map(|z| tail(*z)).collect();
    Ok(Statistics { values: [errors, z, values], covariance, dispersion })
}

/// The predictors, what leaving out each row would change in each coefficient, weights and offsets, and the response.
fn influences(problem: &Problem<'_>, s: &Statistics, scorer: &GlmScorer, names: &[String]) -> Result<Frame> {
    let (train, design) = (&problem.run.train, &problem.design);
    let ledger = &problem.run.node.ledger;
    let values =
        problem.columns[..problem.columns.len() - 3].iter().map(|&i| problem.frame.column(i).to_f64()).collect::<Result<Vec<_>>>()?;
    let views: Vec<&[f64]> = values.iter().map(Vec::as_slice).collect();
    let counts = |i: usize| !problem.dead.get(i).is_some_and(|d| *d) && (design.intercept || i + 1 < design.len());
    let alive: Vec<usize> = (0..design.len()).filter(|&i| counts(i)).collect();
    let inverse: Vec<f64> = s.covariance.iter().map(|v| v / s.dispersion).collect();
    let fitted = influence::Fitted {
        columns: &views,
        y: &train.y,
        mu: &positive_shares(problem, scorer)?,
        weight: &|r| train.weight(r),
        inverse: &inverse,
        alive: &alive,
        binomial: problem.family.is_binomial(),
    };
    let changes = influence::dfbetas(design, &fitted);
    let mut columns: Vec<(String, Column)> = problem.raw.iter().map(|&i| (train.names[i].clone(), train.columns[i].clone())).collect();
    for (i, change) in alive.iter().zip(changes) {
        let name = names.get(*i).map_or("Intercept", String::as_str);
        columns.push((format!("DFBETA_{name}"), Column::numeric(ledger, Kind::Real, &change)?));
    }
    let common = &problem.run.params.common;
    for (name, values) in [(&common.weights_column, &train.w), (&common.offset_column, &train.offset)] {
        if let (Some(name), Some(values)) = (name, values) {
            columns.push((name.clone(), Column::numeric(ledger, Kind::Real, values)?));
        }
    }
    if let Some(r) = &train.response {
        let kind = r.domain.clone().map_or(Kind::Real, Kind::Enum);
        columns.push((r.name.clone(), Column::numeric(ledger, kind, &train.y)?));
    }
    let (names, columns) = columns.into_iter().unzip();
    Frame::new(names, columns)
}

/// What the model predicts for the training rows; of two classes the second one's probability.
fn positive_shares(problem: &Problem<'_>, scorer: &GlmScorer) -> Result<Vec<f64>> {
    let p = fitted_means(problem, scorer)?;
    Ok(match problem.run.train.classes() {
        2 => p.chunks(2).map(|p| p[1]).collect(),
        _ => p,
    })
}

/// What the model predicts for the training rows.
fn fitted_means(problem: &Problem<'_>, scorer: &GlmScorer) -> Result<Vec<f64>> {
    let train = &problem.run.train;
    let predictors = train.predictors();
    let ordered: Vec<_> = problem.raw.iter().map(|&i| predictors[i].clone()).collect();
    let mut data = train.adapted(&ordered)?;
    // Without predictors the frame has no rows.
    data.rows = train.rows;
    adapt::score(&Scorer::Glm(scorer.clone()), &data, train.offset.as_deref())
}

/// Share of the null deviance of a validation frame that a model explains.
#[expect(clippy::too_many_arguments, reason = "one call; a struct would repeat the list")]
fn explained(
    v: &ochre_model::Validation,
    scorer: &GlmScorer,
    raw: &[usize],
    deviance: Deviance,
    null: &[Vec<f64>],
    p: usize,
    link: Link,
    shape: Shapes,
) -> Result<f64> {
    let data = reordered(v, raw);
    let preds = adapt::score(&Scorer::Glm(scorer.clone()), &data, v.offset.as_deref())?;
    let width = scorer.width();
    let weight = |i: usize| v.w.as_ref().map_or(1.0, |w| if w[i].is_nan() { 0.0 } else { w[i] });
    let top: f64 = null.iter().map(|b| b[p - 1].exp()).sum();
    let (mut residual, mut base) = (0.0, 0.0);
    for i in (0..v.y.len()).filter(|&i| !v.y[i].is_nan() && weight(i) > 0.0) {
        let (d, d0) = if width > 1 {
            let k = v.y[i] as usize;
            let share = if scorer.link == LinkFunction::Ordinal {
                let up_to = |c: usize| if c + 1 == width { 1.0 } else { 1.0 / (1.0 + (-null[c][p - 1]).exp()) };
                up_to(k) - if k == 0 { 0.0 } else { up_to(k - 1) }
            } else if null.len() > 1 {
                null[k][p - 1].exp() / top
            } else {
                let one = link.inverse(null[0][p - 1], shape);
                if k == 1 { one } else { 1.0 - one }
            };
            (-2.0 * preds[i * width + k].max(1e-300).ln(), -2.0 * share.max(1e-300).ln())
        } else {
            (deviance.of(v.y[i], preds[i]), deviance.of(v.y[i], link.inverse(null[0][p - 1], shape)))
        };
        residual += weight(i) * d;
        base += weight(i) * d0;
    }
    Ok(1.0 - residual / base)
}

/// Validation data in the order that the scorer wants.
fn reordered(v: &ochre_model::Validation, raw: &[usize]) -> adapt::Adapted {
    let sources = raw.iter().map(|&i| v.data.sources[i].clone()).collect();
    adapt::Adapted { sources, rows: v.data.rows, warnings: vec![] }
}

/// The penalty that empties the model, judged by the first `counting` coefficients, and the share of it at which a search
/// ends.
fn largest_lambda(problem: &Problem<'_>, null: &[Vec<f64>], alpha: f64, counting: usize, screened: bool) -> Result<(f64, f64)> {
    let p = problem.design.len();
    let mut largest = 0.0f64;
    let ordinal = problem.family == Family::Ordinal;
    if ordinal {
        let g = problem.ordinal(&ordinal::pack(null), false)?;
        largest = g.xy[..p - 1].iter().map(|v| v.abs() * problem.scale).fold(0.0, f64::max);
    }
    if screened {
        largest = problem.slopes(null)?[..counting.min(p - 1)].iter().copied().fold(0.0, f64::max);
    }
    for k in 0..if ordinal || screened { 0 } else { null.len() } {
        // The gradient at the null model: X'W(z - eta), without the intercept.
        let g = problem.pass(null, k, false)?;
        for i in 0..counting.min(p - 1) {
            let j = p - 1;
            let eta = null[k][p - 1] * g.xx[j * p + i];
            largest = largest.max((g.xy[i] - eta).abs() * problem.scale);
        }
    }
    let top = largest / alpha.max(1e-2);
    let rows = (problem.run.train.nominal_weight as usize).min(problem.run.train.rows);
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
    Ok((top, ratio))
}

/// The intercept of the null model when there is an offset, by scoring.
fn null_constant(problem: &Problem<'_>) -> f64 {
    let train = &problem.run.train;
    let Some(offset) = train.offset.as_ref().filter(|_| problem.run.params.intercept && train.classes() <= 2) else { return 0.0 };
    let total = train.total_weight();
    let mean = (0..train.rows).map(|i| train.weight(i) * train.y[i]).sum::<f64>() / total;
    let mut b = problem.link.apply(mean, problem.shape);
    for _ in 0..50 {
        let (mut score, mut information) = (0.0, 0.0);
        for i in (0..train.rows).filter(|&i| train.weight(i) > 0.0) {
            let mu = problem.link.inverse(b + offset[i], problem.shape);
            let (d, v) = (problem.link.derivative(mu, problem.shape), problem.family.variance(mu, problem.shape));
            score += train.weight(i) * (train.y[i] - mu) / (v * d);
            information += train.weight(i) / (v * d * d);
        }
        let step = score / information;
        if !step.is_finite() {
            break;
        }
        b += step;
        if step.abs() < 1e-12 * b.abs().max(1.0) {
            break;
        }
    }
    b
}

fn metrics(
    problem: &Problem<'_>,
    scorer: &Scorer,
    deviance: Deviance,
    active: usize,
    without_intercept: f64,
) -> Result<(Metrics, Option<Metrics>)> {
    let run = problem.run;
    let train = &run.train;
    let domain = train.labels();
    let bins = run.params.common.detail();
    let constant = null_constant(problem);
    let extras = |m: &Metrics, preds: &[f64], y: &[f64], w: Option<&[f64]>, offset: Option<&[f64]>| -> GlmExtras {
        let with_offset = |i: usize| offset.map(|o| problem.link.inverse(constant + o[i], problem.shape));
        let weight = |i: usize| w.map_or(1.0, |w| w[i]);
        let rows = || (0..y.len()).filter(|&i| !y[i].is_nan() && weight(i) > 0.0);
        let total: f64 = rows().map(weight).sum();
        let train_total = train.total_weight();
        let share = |k: f64| (0..train.rows).filter(|&i| train.y[i] == k).map(|i| train.weight(i)).sum::<f64>() / train_total;
        let train_mean = if run.params.intercept {
            (0..train.rows).map(|i| train.weight(i) * train.y[i]).sum::<f64>() / train_total
        } else {
            // Without an intercept the null model predicts the link's value at 0.
            without_intercept
        };
        let (residual, null, aic) = match &m.kind {
            MetricKind::Binomial(b) => {
                let one = if run.params.intercept { share(1.0) } else { without_intercept };
                let p = |i: usize| with_offset(i).unwrap_or(one);
                let null: f64 = rows().map(|i| -2.0 * weight(i) * if y[i] == 1.0 { p(i).ln() } else { (1.0 - p(i)).ln() }).sum();
                let residual = 2.0 * b.logloss * total;
                (residual, null, residual + 2.0 * active as f64)
            }
            MetricKind::Multinomial(c) => {
                let shares: Vec<f64> = (0..domain.len()).map(|k| share(k as f64)).collect();
                let null: f64 = rows().map(|i| -2.0 * weight(i) * shares[y[i] as usize].max(1e-300).ln()).sum();
                (2.0 * c.logloss * total, null, f64::NAN)
            }
            MetricKind::Regression { mean_residual_deviance, .. } => {
                let null = rows().map(|i| weight(i) * deviance.of(y[i], with_offset(i).unwrap_or(train_mean))).sum();
                let residual = mean_residual_deviance * total;
                let n = m.nobs as f64;
                let aic = match deviance {
                    Deviance::Gaussian => n * (residual / n * 2.0 * std::f64::consts::PI).ln() + n + 2.0 + 2.0 * active as f64,
                    _ => f64::NAN,
                };
                (residual, null, aic)
            }
            MetricKind::Clustering(_)
            | MetricKind::Anomaly { .. }
            | MetricKind::Survival(_)
            | MetricKind::Uplift(_)
            | MetricKind::Mixed(_) => (f64::NAN, f64::NAN, f64::NAN),
        };
        let n = m.nobs - i64::from(run.params.intercept);
        let likely = |mu: &[f64]| Fit { family: problem.family, shape: problem.shape, y, w, mu, active }.judge(&run.params);
        let (loglikelihood, aic) = match &m.kind {
            MetricKind::Regression { .. } if run.params.calc_like || problem.family == Family::Poisson => likely(preds),
            MetricKind::Binomial(_) | MetricKind::Multinomial(_) if run.params.calc_like => {
                (-residual / 2.0, residual + 2.0 * active as f64)
            }
            _ => (f64::NAN, aic),
        };
        // As the reference tells a likelihood that nobody asked for.
        let loglikelihood = if run.params.calc_like { loglikelihood } else { 0.0 };
        GlmExtras {
            loglikelihood,
            residual_deviance: residual,
            null_deviance: null,
            aic,
            null_dof: n,
            residual_dof: m.nobs - active as i64,
            null_mean: match &m.kind {
                MetricKind::Binomial(_) if run.params.intercept => share(1.0),
                MetricKind::Binomial(_) => without_intercept,
                _ => train_mean,
            },
        }
    };
    let predictors = train.predictors();
    let ordered: Vec<_> = problem.raw.iter().map(|&i| predictors[i].clone()).collect();
    let mut data = train.adapted(&ordered)?;
    // Without predictors the frame has no rows.
    data.rows = train.rows;
    let preds = adapt::score(scorer, &data, train.offset.as_deref())?;
    let mut training = measure(train.category, &preds, &train.y, train.w.as_deref(), domain, deviance, bins.clone())?;
    training.glm = Some(extras(&training, &preds, &train.y, train.w.as_deref(), train.offset.as_deref()));
    let validation = match &run.valid {
        None => None,
        Some(v) => {
            let data = reordered(v, &problem.raw);
            let preds = adapt::score(scorer, &data, v.offset.as_deref())?;
            let mut m = measure(train.category, &preds, &v.y, v.w.as_deref(), domain, deviance, bins.clone())?;
            m.glm = Some(extras(&m, &preds, &v.y, v.w.as_deref(), v.offset.as_deref()));
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

fn coefficient_table(
    names: &[String],
    original: &[f64],
    standardized: &[f64],
    statistics: Option<&[Vec<f64>; 3]>,
    inflation: Option<&[f64]>,
) -> Table {
    let mut t = Table::new("Coefficients", "glm coefficients").named("names", "names", "string", "%s", name_cells(names)).named(
        "coefficients",
        "Coefficients",
        "double",
        "%5f",
        intercept_first(original),
    );
    if let Some([errors, z, p]) = statistics {
        t = t
            .named("std_error", "Std. Error", "double", "%5f", intercept_first(errors))
            .named("z_value", "z value", "double", "%5f", intercept_first(z))
            .named("p_value", "p value", "double", "%5f", intercept_first(p));
    }
    if let Some(v) = inflation {
        t = t.named("variable_inflation_factor", "variable inflation factor", "double", "%5f", intercept_first(v));
    }
    t.named("standardized_coefficients", "Standardized Coefficients", "double", "%5f", intercept_first(standardized))
}

fn class_table(
    names: &[String],
    original: &[Vec<f64>],
    standardized: &[Vec<f64>],
    inflation: Option<&[f64]>,
    label: impl Fn(usize) -> String,
) -> Table {
    let mut t = Table::new("Coefficients", "glm multinomial coefficients").named("names", "names", "string", "%s", name_cells(names));
    for (k, b) in original.iter().enumerate() {
        let n = format!("coefs_class_{}", label(k));
        t = t.named(&n, &n, "double", "%5f", intercept_first(b));
    }
    for (k, b) in standardized.iter().enumerate() {
        let n = format!("std_coefs_class_{}", label(k));
        t = t.named(&n, &n, "double", "%5f", intercept_first(b));
    }
    match inflation {
        Some(v) => t.named("variable_inflation_factor", "variable inflation factor", "double", "%5f", intercept_first(v)),
        None => t,
    }
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
