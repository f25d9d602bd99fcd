//! Growing the forest.

use super::{UpliftOutput, UpliftParams};
use crate::tree::ensemble::{HISTORY_BUDGET, hold_trees, importances, summary};
use crate::tree::tries_at;
use ochre_core::rng::draw_rows;
use ochre_core::{Column, Error, Result, Rng, time::now_ms};
use ochre_model::metrics::{Event, custom_uplift, uplift_metrics};
use ochre_model::params::StoppingMetric;
use ochre_model::uplift::{self, Uplift};
use ochre_model::{Category, Deviance, Fitted, Metrics, Run, ScoringHistory, adapt};
use ochre_schema::Table;
use ochre_score::{Node, Scorer, Split, Tree, TreeEnsemble, TreeLink};
use rayon::prelude::*;
use std::sync::Arc;

/// Rows and positive responses of the treated, then of the others.
type Counts = [i64; 4];

fn plus(a: Counts, b: Counts) -> Counts {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]]
}

fn minus(a: Counts, b: Counts) -> Counts {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2], a[3] - b[3]]
}

fn rows_of(c: Counts) -> f64 {
    (c[0] + c[2]) as f64
}

/// A share, smoothed by one row of each kind.
fn smooth(some: i64, all: i64) -> f64 {
    (some as f64 + 1.0) / (all as f64 + 2.0)
}

#[derive(Clone, Copy)]
enum Divergence {
    KullbackLeibler,
    Euclidean,
    ChiSquared,
}

impl Divergence {
    /// Of two distributions over two outcomes, given by the probability of one (equations 1 to 3 of the paper).
    fn of(self, p: f64, q: f64) -> f64 {
        let both = |f: fn(f64, f64) -> f64| f(p, q) + f(1.0 - p, 1.0 - q);
        match self {
            Divergence::KullbackLeibler => both(|p, q| p * (p / q).ln()),
            Divergence::Euclidean => both(|p, q| (p - q) * (p - q)),
            Divergence::ChiSquared => both(|p, q| (p - q) * (p - q) / q),
        }
    }

    /// How uncertain a distribution is: entropy, or the Gini index.
    fn impurity(self, p: f64) -> f64 {
        match self {
            Divergence::KullbackLeibler => -p * p.ln() - (1.0 - p) * (1.0 - p).ln(),
            _ => 2.0 * p * (1.0 - p),
        }
    }

    /// Of the two groups' response rates.
    fn rates(self, c: Counts) -> f64 {
        self.of(smooth(c[1], c[0]), smooth(c[3], c[2]))
    }

    /// Gain of a split over its norm (equations 5, 8 and 10 of the paper).
    fn gain(self, left: Counts, right: Counts) -> f64 {
        let all = plus(left, right);
        let share = smooth(left[0] + left[2], all[0] + all[2]);
        let gain = share * self.rates(left) + (1.0 - share) * self.rates(right) - self.rates(all);
        let treated = smooth(all[0], all[0] + all[2]);
        // Shares of the two groups that go left.
        let (t, c) = (smooth(left[0], all[0]), smooth(left[2], all[2]));
        let norm = self.impurity(treated) * self.of(t, c) + treated * self.impurity(t) + (1.0 - treated) * self.impurity(c) + 0.5;
        gain / norm
    }
}

/// A predictor, whole.
struct Predictor {
    values: Vec<f64>,
    /// 0: real, 1: whole numbers, 2: categories.
    level: u8,
    levels: usize,
}

/// The bins of a column at a node.
#[derive(Clone, Copy)]
struct Span {
    bins: usize,
    min: f64,
    max_ex: f64,
    step: f64,
}

impl Span {
    fn new(level: u8, wanted: usize, min: f64, max_ex: f64) -> Option<Span> {
        if level > 0 && max_ex - min <= wanted as f64 {
            return (max_ex - min >= 2.0).then_some(Span { bins: (max_ex - min) as usize, min, max_ex, step: 1.0 });
        }
        let step = wanted as f64 / (max_ex - min);
        (step > 0.0 && step.is_finite()).then_some(Span { bins: wanted, min, max_ex, step })
    }

    fn of(&self, v: f64) -> usize {
        (((v - self.min) * self.step) as usize).min(self.bins - 1)
    }
}

/// The next number after `v`; for whole columns the next whole one.
fn after(v: f64, whole: bool) -> f64 {
    if whole { v + 1.0 } else { v.next_up() }
}

struct Cut {
    gain: f64,
    column: usize,
    split: Split,
    missing_left: bool,
    /// The threshold, for the spans of the children.
    at: Option<f64>,
}

struct Open {
    id: usize,
    rows: Vec<u32>,
    counts: Counts,
    spans: Vec<Option<Span>>,
    /// Values seen in each drawn column.
    seen: Vec<Option<(f64, f64)>>,
}

struct Grower<'a> {
    predictors: &'a [Predictor],
    /// Which of the four counts a row adds to: bit 0 for the response, bit 1 for the untreated.
    group: &'a [u8],
    divergence: Divergence,
    max_depth: usize,
    min_rows: f64,
    nbins: usize,
    nbins_cats: usize,
    tries: usize,
    change_per_level: f64,
    allowed: Vec<usize>,
    seed: i64,
}

impl Grower<'_> {
    fn add(counts: &mut Counts, group: u8) {
        let side = usize::from(group & 2);
        counts[side] += 1;
        counts[side + 1] += i64::from(group & 1);
    }

    /// The trees of the two groups, of one structure, and the gains of the columns.
    fn grow(&self, rows: Vec<u32>, top: usize) -> (Tree, Tree, Vec<f64>) {
        let mut counts = [0; 4];
        rows.iter().for_each(|r| Self::add(&mut counts, self.group[*r as usize]));
        let span = |p: &Predictor| {
            if p.level == 2 {
                return Span::new(2, self.nbins_cats, 0.0, p.levels as f64);
            }
            let known = || p.values.iter().filter(|v| v.is_finite());
            let (low, high) = known().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
            if low < high { Span::new(p.level, top, low, after(high, p.level > 0)) } else { None }
        };
        let spans = self.predictors.iter().map(span).collect();
        let mut trees = [Tree::default(), Tree::default()];
        let push = |trees: &mut [Tree; 2], counts: Counts| {
            let values = [smooth(counts[1], counts[0]) as f32, smooth(counts[3], counts[2]) as f32];
            for (t, value) in trees.iter_mut().zip(values) {
                t.nodes.push(Node {
                    split: Split::Leaf,
                    column: 0,
                    missing_left: false,
                    left: 0,
                    right: 0,
                    value,
                    weight: rows_of(counts),
                    gain: 0.0,
                });
            }
        };
        push(&mut trees, counts);
        let mut gains = vec![0.0; self.predictors.len()];
        let mut open = vec![Open { id: 0, rows, counts, spans, seen: vec![] }];
        for depth in 0..self.max_depth {
            let cuts: Vec<Option<Cut>> = open.par_iter_mut().map(|n| self.cut(n, depth)).collect();
            let mut next = vec![];
            for (node, cut) in open.into_iter().zip(cuts) {
                let Some(cut) = cut else { continue };
                gains[cut.column] += cut.gain * rows_of(node.counts);
                let probe = Node {
                    split: cut.split.clone(),
                    column: 0,
                    missing_left: cut.missing_left,
                    left: 0,
                    right: 0,
                    value: 0.0,
                    weight: 0.0,
                    gain: 0.0,
                };
                let values: [&[f64]; 1] = [&self.predictors[cut.column].values];
                let (right, left): (Vec<u32>, Vec<u32>) =
                    node.rows.iter().partition(|r| trees[0].goes_right(&probe, &values, **r as usize));
                let mut ids = [0; 2];
                for (way, rows) in [left, right].into_iter().enumerate() {
                    let mut counts = [0; 4];
                    rows.iter().for_each(|r| Self::add(&mut counts, self.group[*r as usize]));
                    ids[way] = trees[0].nodes.len();
                    push(&mut trees, counts);
                    if depth + 1 < self.max_depth && rows_of(counts) >= 2.0 * self.min_rows {
                        let spans = self.child_spans(&node.spans, &node.seen, &cut, way);
                        next.push(Open { id: ids[way], rows, counts, spans, seen: vec![] });
                    }
                }
                for tree in &mut trees {
                    let n = &mut tree.nodes[node.id];
                    (n.column, n.split, n.missing_left) = (cut.column as u32, cut.split.clone(), cut.missing_left);
                    (n.left, n.right) = (ids[0] as u32, ids[1] as u32);
                }
            }
            open = next;
            if open.is_empty() {
                break;
            }
        }
        let [treated, others] = trees;
        (treated, others, gains)
    }

    fn child_spans(&self, spans: &[Option<Span>], seen: &[Option<(f64, f64)>], cut: &Cut, way: usize) -> Vec<Option<Span>> {
        let child = |(j, span): (usize, &Option<Span>)| {
            let span = (*span)?;
            let p = &self.predictors[j];
            let wanted = if p.level == 2 { self.nbins_cats } else { (span.bins >> 1).max(self.nbins) };
            let (mut min, mut max_ex) = (span.min, span.max_ex);
            if let (Some((low, high)), Some(_)) = (seen[j], cut.at) {
                (min, max_ex) = (low, after(high, p.level > 0));
            }
            if let Some(t) = cut.at.filter(|_| j == cut.column) {
                let t = if p.level > 0 { t.ceil() } else { t };
                if way == 0 { max_ex = t } else { min = t }
            }
            if min >= max_ex || (p.level > 0 && min + 1.0 >= max_ex) {
                return None;
            }
            Span::new(p.level, wanted, min, max_ex)
        };
        spans.iter().enumerate().map(child).collect()
    }

    /// The best cut of a node over the columns that it draws.
    fn cut(&self, node: &mut Open, depth: usize) -> Option<Cut> {
        node.seen = vec![None; self.predictors.len()];
        if rows_of(node.counts) < 2.0 * self.min_rows {
            return None;
        }
        let mut pool: Vec<usize> = self.allowed.iter().copied().filter(|c| node.spans[*c].is_some()).collect();
        let tries = tries_at(depth, self.tries, self.change_per_level, self.predictors.len());
        if tries < pool.len() {
            let mut rng = Rng::new(self.seed.wrapping_mul(31).wrapping_add(node.id as i64));
            while pool.len() > tries {
                pool.swap_remove(rng.below(pool.len() as u32) as usize);
            }
            pool.sort_unstable();
        }
        let mut best: Option<Cut> = None;
        for c in pool {
            let (found, seen) = self.cut_of(node, c, node.spans[c]?);
            node.seen[c] = seen;
            if let Some(found) = found.filter(|f| best.as_ref().is_none_or(|b| f.gain > b.gain)) {
                best = Some(found);
            }
        }
        best
    }

    fn cut_of(&self, node: &Open, c: usize, span: Span) -> (Option<Cut>, Option<(f64, f64)>) {
        let p = &self.predictors[c];
        let mut cells = vec![[0i64; 4]; span.bins + 1];
        let mut seen = (f64::INFINITY, f64::NEG_INFINITY);
        for &r in &node.rows {
            let v = p.values[r as usize];
            let b = if v.is_nan() {
                span.bins
            } else {
                seen = (seen.0.min(v), seen.1.max(v));
                span.of(v)
            };
            Self::add(&mut cells[b], self.group[r as usize]);
        }
        let missing = cells[span.bins];
        let known = minus(node.counts, missing);
        // Categories in the order of their uplift.
        let mut order: Vec<usize> = (0..span.bins).filter(|b| rows_of(cells[*b]) > 0.0).collect();
        let category = p.level == 2 && span.step == 1.0;
        if category {
            let lift = |b: usize| smooth(cells[b][1], cells[b][0]) - smooth(cells[b][3], cells[b][2]);
            order.sort_by(|a, b| lift(*a).total_cmp(&lift(*b)));
        }
        let mut best: Option<(f64, usize, bool)> = None;
        let mut offer = |left: Counts, right: Counts, at: usize, missing_left: bool| {
            if rows_of(left) < self.min_rows || rows_of(right) < self.min_rows {
                return;
            }
            let gain = self.divergence.gain(left, right);
            if gain > 0.0 && best.is_none_or(|b| gain > b.0) {
                best = Some((gain, at, missing_left));
            }
        };
        let mut low = [0; 4];
        for at in 1..order.len() {
            low = plus(low, cells[order[at - 1]]);
            let high = minus(known, low);
            if rows_of(missing) == 0.0 {
                offer(low, high, at, rows_of(low) > rows_of(high));
            } else {
                offer(plus(low, missing), high, at, true);
                offer(low, plus(high, missing), at, false);
            }
        }
        if rows_of(missing) > 0.0 {
            offer(known, missing, order.len(), false);
        }
        let seen = (seen.0 <= seen.1).then_some(seen);
        let Some((gain, at, missing_left)) = best else { return (None, seen) };
        let cut = |split: Split, at: Option<f64>| Some(Cut { gain, column: c, split, missing_left, at });
        if at == order.len() {
            return (cut(Split::Missing, None), seen);
        }
        if category {
            let mut bits = vec![false; span.bins];
            order[at..].iter().for_each(|b| bits[*b] = true);
            // Categories that no row here has go with the larger number of categories.
            let right = order.len() - at > at;
            (0..span.bins).filter(|b| rows_of(cells[*b]) == 0.0).for_each(|b| bits[b] = right);
            return (cut(Split::Set { offset: span.min as u32, bits }, None), seen);
        }
        let edge = |b: usize| span.min + b as f64 / span.step;
        let (mut lo, mut hi) = (edge(order[at - 1] + 1), edge(order[at]));
        if p.level > 0 {
            lo = if span.step == 1.0 { lo - 1.0 } else { lo.floor() };
            hi = if span.step == 1.0 { hi } else { hi.ceil() };
        }
        let threshold = ((lo + hi) / 2.0) as f32;
        (cut(Split::Less(threshold), Some(f64::from(threshold))), seen)
    }
}

/// Rates and uplift from sums over trees: uplift, rate of the treated, rate of the others.
fn predictions(sums: &[[f64; 2]], counts: &[f64]) -> Vec<f64> {
    sums.iter().zip(counts).map(|(s, n)| if *n > 0.0 { (s[0] - s[1]) / n } else { f64::NAN }).collect()
}

/// The column of treatments in the training frame, and its two levels.
pub fn treatment(node: &ochre_core::Node, params: &UpliftParams) -> Result<(Column, Arc<Vec<String>>)> {
    let name = params.treatment_column.as_deref().unwrap_or_default();
    let frame = node.store.frame(params.common.training_frame.as_ref().map_or("", |k| k.0.as_str()))?;
    let column =
        frame.by_name(name).ok_or_else(|| Error::Internal(format!("Treatment column '{name}' not found in the training frame")))?;
    match column.domain() {
        Some(d) if d.len() == 2 => Ok((column.clone(), d.clone())),
        Some(d) => Err(Error::invalid(format!("treatment column '{name}' must have two levels, but has {}", d.len()))),
        None => Err(Error::invalid(format!("Invalid treatment column '{name}', treatment column must be categorical"))),
    }
}

pub fn fit(run: &mut Run<'_, UpliftParams>) -> Result<Fitted<UpliftOutput>> {
    let name = run.params.treatment_column.clone().unwrap_or_default();
    // The treatment is no predictor, whether or not the request says so.
    if let Some(place) = run.train.names.iter().position(|n| *n == name) {
        run.train.names.remove(place);
        run.train.columns.remove(place);
        if let Some(v) = &mut run.valid {
            v.data.sources.remove(place);
        }
    }
    let (column, levels) = treatment(run.node, &run.params)?;
    let treated = column.to_f64()?;
    let valid_treated = match &run.valid {
        Some(v) => {
            let wanted = ochre_model::Predictor { name: name.clone(), domain: Some(levels), encoding: None };
            Some(adapt::source(&*run.node.store.frame(&v.key)?, &wanted, &mut vec![])?.all(v.data.rows)?)
        }
        None => None,
    };
    run.train.category = Category::BinomialUplift;
    let (params, train) = (&run.params, &run.train);
    let t = &params.tree;
    let width = train.columns.len();
    let domain = train.response.as_ref().and_then(|r| r.domain.as_ref()).map_or(vec![], |d| d.to_vec());
    let _room = run.node.ledger.reserve(&format!("predictors of {} rows", train.rows), (train.rows * (width * 8 + 48)) as u64)?;
    let predictors = train
        .columns
        .iter()
        .map(|c| {
            let level = if c.is_enum() { 2 } else { u8::from(c.rollup()?.whole) };
            Ok(Predictor { values: c.to_f64()?, level, levels: c.domain().map_or(0, |d| d.len()) })
        })
        .collect::<Result<Vec<_>>>()?;
    let known = |r: usize| train.weight(r) > 0.0 && !treated[r].is_nan();
    let group: Vec<u8> = (0..train.rows).map(|r| u8::from(train.y[r] > 0.0) | if treated[r] > 0.0 { 0 } else { 2 }).collect();
    if !(0..train.rows).any(|r| known(r) && group[r] & 2 == 0) || !(0..train.rows).any(|r| known(r) && group[r] & 2 == 2) {
        return Err(Error::invalid(format!("the treatment column '{name}' has rows of one kind only; uplift compares two")));
    }
    let tries = match params.mtries {
        -2 => width,
        n if n > 0 => n as usize,
        _ => ((width as f64).sqrt() as usize).max(1),
    };
    let divergence = match params.uplift_metric.as_deref().unwrap_or_default().to_ascii_lowercase().as_str() {
        "euclidean" => Divergence::Euclidean,
        "chisquared" => Divergence::ChiSquared,
        _ => Divergence::KullbackLeibler,
    };
    let kind = uplift::kind_of(params.auuc_type.as_deref().unwrap_or_default());
    let mut ensemble = TreeEnsemble {
        link: TreeLink::Uplift,
        init: 0.0,
        classes: 2,
        trees: vec![],
        lengths: [0.0; 2],
        calibration: None,
        correction: vec![],
        single: false,
    };
    let views: Vec<&[f64]> = predictors.iter().map(|p| p.values.as_slice()).collect();
    let valid_columns: Option<Vec<Vec<f64>>> = match &run.valid {
        Some(v) => Some(v.data.sources.iter().map(|s| s.all(v.data.rows)).collect::<Result<_>>()?),
        None => None,
    };
    let mut gains = vec![0.0; width];
    let mut unseen = vec![[0.0; 2]; train.rows];
    let mut unseen_trees = vec![0.0; train.rows];
    let mut valid_sums = vec![[0.0; 2]; run.valid.as_ref().map_or(0, |v| v.data.rows)];
    let mut history = ScoringHistory::default();
    let mut thresholds: Vec<f64> = vec![];
    let custom = |sums: &[[f64; 2]], counts: &[f64], treated: &[f64], y: &[f64]| -> Result<Option<(String, f64)>> {
        let Some(script) = &params.common.scripts.metric else { return Ok(None) };
        let rates = |(s, n): (&[f64; 2], &f64)| [(s[0] - s[1]) / n, s[0] / n, s[1] / n];
        let predictions: Vec<f64> = sums.iter().zip(counts).flat_map(rates).collect();
        custom_uplift(script, &predictions, treated, y).map(Some)
    };
    let mut score = |n: usize, sums: &[[f64; 2]], counts: &[f64], valid: &[[f64; 2]]| -> Result<Event> {
        let own = predictions(sums, counts);
        let of_valid = run.valid.as_ref().map(|_| predictions(valid, &vec![n as f64; valid.len()]));
        thresholds = uplift::thresholds(of_valid.as_ref().unwrap_or(&own), params.auuc_nbins);
        let own_y: Vec<f64> = (0..train.rows).map(|r| if known(r) { train.y[r] } else { f64::NAN }).collect();
        let own_thresholds = if run.valid.is_some() { uplift::thresholds(&own, params.auuc_nbins) } else { thresholds.clone() };
        let mut training = uplift_metrics(Uplift::new(&own, &treated, &own_y, own_thresholds, kind, &domain));
        training.custom = custom(sums, counts, &treated, &own_y)?;
        let mut validation = run
            .valid
            .as_ref()
            .zip(of_valid)
            .zip(valid_treated.as_ref())
            .map(|((v, p), treated)| uplift_metrics(Uplift::new(&p, treated, &v.y, thresholds.clone(), kind, &domain)));
        if let (Some(m), Some(v), Some(treated)) = (&mut validation, &run.valid, &valid_treated) {
            m.custom = custom(valid, &vec![n as f64; valid.len()], treated, &v.y)?;
        }
        Ok(Event { at_ms: now_ms(), step: n, training, validation })
    };
    history.events.push(score(0, &unseen, &unseen_trees, &valid_sums)?);
    let metric = match params.common.stopping_metric {
        StoppingMetric::Custom => "custom",
        StoppingMetric::CustomIncreasing => "custom_increasing",
        StoppingMetric::Ate => "ate",
        StoppingMetric::Att => "att",
        StoppingMetric::Atc => "atc",
        StoppingMetric::Qini => "qini",
        _ => "auuc",
    };
    let mut rng = Rng::new(t.seed);
    let ntrees = t.ntrees as usize;
    let mut last_scored = 0;
    let mut held_trees = vec![];
    for iteration in 0..ntrees {
        run.job.check()?;
        if iteration > 0 && run.out_of_time()? {
            run.job.warn(format!("max_runtime_secs ended training after {iteration} of {ntrees} trees"));
            break;
        }
        let seed = rng.next_i64();
        let rates = t.sample_rate_per_class.clone().unwrap_or_default();
        let rate = |r: usize| rates.get(train.y[r] as usize).copied().unwrap_or(params.sample_rate);
        let all_rows = params.sample_rate >= 1.0 && rates.is_empty();
        let take = if all_rows { vec![true; train.rows] } else { draw_rows(0..train.rows, rate, seed) };
        let rows: Vec<u32> = (0..train.rows).filter(|&r| take[r] && known(r)).map(|r| r as u32).collect();
        let mut draw = Rng::new(seed);
        let mut allowed: Vec<usize> = (0..width).collect();
        let kept = ((width as f64 * t.col_sample_rate_per_tree) as usize).clamp(1, width);
        while allowed.len() > kept {
            allowed.swap_remove(draw.below(allowed.len() as u32) as usize);
        }
        let grower = Grower {
            predictors: &predictors,
            group: &group,
            divergence,
            max_depth: if t.max_depth == 0 { usize::from(u16::MAX) } else { t.max_depth as usize },
            min_rows: t.min_rows,
            nbins: t.nbins as usize,
            nbins_cats: t.nbins_cats as usize,
            tries: tries.clamp(1, width),
            change_per_level: t.col_sample_rate_change_per_level,
            allowed,
            seed,
        };
        let (with, without, gain) = grower.grow(rows, t.nbins_top_level.max(t.nbins) as usize);
        gains.iter_mut().zip(gain).for_each(|(g, v)| *g += v);
        let both = |views: &[&[f64]], r: usize| [f64::from(with.leaf(views, r).value), f64::from(without.leaf(views, r).value)];
        unseen.par_iter_mut().zip(unseen_trees.par_iter_mut()).enumerate().filter(|(r, _)| !take[*r]).for_each(|(r, (s, n))| {
            let v = both(&views, r);
            *s = [s[0] + v[0], s[1] + v[1]];
            *n += 1.0;
        });
        if let Some(columns) = &valid_columns {
            let views: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
            valid_sums.par_iter_mut().enumerate().for_each(|(r, s)| {
                let v = both(&views, r);
                *s = [s[0] + v[0], s[1] + v[1]];
            });
        }
        let pair = vec![with, without];
        held_trees.push(hold_trees(&run.node.ledger, &pair)?);
        ensemble.trees.push(pair);
        let n = iteration + 1;
        run.job.set_progress(n as f64 / ntrees as f64);
        let every = t.score_tree_interval.max(0) as usize;
        let due = if params.common.score_each_iteration {
            true
        } else if every > 0 {
            n.is_multiple_of(every)
        } else {
            n * train.rows <= HISTORY_BUDGET || n >= 2 * last_scored
        };
        if n == ntrees || due {
            history.events.push(score(n, &unseen, &unseen_trees, &valid_sums)?);
            last_scored = n;
            if history.stopped(params.common.stopping_rounds as usize, metric, params.common.stopping_tolerance) {
                break;
            }
        }
    }
    if last_scored != ensemble.trees.len() {
        let n = ensemble.trees.len();
        history.events.push(score(n, &unseen, &unseen_trees, &valid_sums)?);
    }
    let last = history.events.last().ok_or_else(|| Error::Internal("nothing was scored".into()))?;
    let training = Metrics { description: Some("Metrics reported on Out-Of-Bag training samples".into()), ..last.training.clone() };
    let validation = last.validation.clone();
    let columns = [
        ("ate", "ATE"),
        ("att", "ATT"),
        ("atc", "ATC"),
        ("auuc_nbins", "AUUC nbins"),
        ("auuc", "AUUC"),
        ("auuc_normalized", "AUUC normalized"),
        ("qini", "Qini value"),
    ];
    let table: Table = history.table(run.started_ms, "Number of Trees", &columns);
    let mut output = UpliftOutput {
        variable_importances: Some(importances(&train.names, &gains)),
        default_auuc_thresholds: Some(thresholds),
        ..UpliftOutput::default()
    };
    output.common.model_summary = Some(summary(&ensemble));
    output.common.scoring_history = Some(table);
    Ok(Fitted { output, scorer: Scorer::Trees(ensemble), deviance: Deviance::Gaussian, training, validation, order: None })
}
