//! How good predictions are: regression, two classes, many classes, clusters.
//!
//! Everything is computed from predictions, actuals and weights, chunk by chunk in a fixed order. The threshold
//! sketch follows the reference: at most 400 bins, exact below that, adjacent bins with the least added squared
//! error merged.

use crate::params::AucType;
use crate::wire::*;
use ochre_core::{CHUNK_ROWS, Result, Team, quantile_at, time, weighted_quantile};
use ochre_schema::{Cell, FrameKey, ModelKey, Table, Value, Wire};
use rayon::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

const BINS: usize = 400;
/// Probabilities are kept this far from 0 when their logarithm is taken.
const LOG_FLOOR: f64 = 1e-15;

/// Deviance of one prediction, by distribution.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Deviance {
    Gaussian,
    Poisson,
    Gamma,
    Tweedie(f64),
    Laplace,
    Quantile(f64),
    Huber(f64),
    /// With the dispersion theta: the variance is `mu + theta mu^2`.
    NegativeBinomial(f64),
    /// Of a share between 0 and 1.
    Shares,
    /// Huber's, linear beyond this quantile of the distances that are being measured.
    HuberAt(f64),
}

impl Deviance {
    /// The deviance of a distribution by its name.
    pub fn by_name(name: &str) -> Option<Deviance> {
        Some(match name.to_ascii_lowercase().as_str() {
            "" | "auto" | "gaussian" => Deviance::Gaussian,
            "poisson" => Deviance::Poisson,
            "gamma" => Deviance::Gamma,
            "tweedie" => Deviance::Tweedie(1.5),
            "laplace" => Deviance::Laplace,
            "quantile" => Deviance::Quantile(0.5),
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Deviance::Gaussian => "gaussian",
            Deviance::Poisson => "poisson",
            Deviance::Gamma => "gamma",
            Deviance::Tweedie(_) => "tweedie",
            Deviance::Laplace => "laplace",
            Deviance::Quantile(_) => "quantile",
            Deviance::Huber(_) | Deviance::HuberAt(_) => "huber",
            Deviance::NegativeBinomial(_) => "negativebinomial",
            Deviance::Shares => "fractionalbinomial",
        }
    }

    /// Unit deviance of observing `y` where `mu` was predicted.
    pub fn of(self, y: f64, mu: f64) -> f64 {
        match self {
            Deviance::Gaussian => (y - mu) * (y - mu),
            Deviance::Poisson => 2.0 * (if y == 0.0 { 0.0 } else { y * (y / mu).ln() } - (y - mu)),
            Deviance::Gamma => -2.0 * ((if y == 0.0 { 1.0 } else { y } / mu).ln() - (y - mu) / mu),
            Deviance::Tweedie(p) => {
                2.0 * (y.powf(2.0 - p) / ((1.0 - p) * (2.0 - p)) - y * mu.powf(1.0 - p) / (1.0 - p) + mu.powf(2.0 - p) / (2.0 - p))
            }
            Deviance::Laplace => (y - mu).abs(),
            Deviance::Quantile(a) => {
                if y > mu {
                    a * (y - mu)
                } else {
                    (1.0 - a) * (mu - y)
                }
            }
            Deviance::Huber(delta) => {
                let d = (y - mu).abs();
                if d <= delta { d * d } else { 2.0 * d * delta - delta * delta }
            }
            // Of all rows together only.
            Deviance::HuberAt(_) => f64::NAN,
            Deviance::Shares => {
                let part = |y: f64, mu: f64| if y == 0.0 { 0.0 } else { y * (y / mu).ln() };
                2.0 * (part(y, mu) + part(1.0 - y, 1.0 - mu))
            }
            Deviance::NegativeBinomial(t) => {
                2.0 * (if y == 0.0 { 0.0 } else { y * (y / mu).ln() } - (y + 1.0 / t) * ((1.0 + t * y) / (1.0 + t * mu)).ln())
            }
        }
    }
}

/// One row of the threshold sketch, highest threshold first, with counts accumulated.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Thresholds {
    pub thresholds: Vec<f64>,
    pub tps: Vec<f64>,
    pub fps: Vec<f64>,
    pub positives: f64,
    pub negatives: f64,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Binomial {
    pub logloss: f64,
    pub auc: f64,
    pub pr_auc: f64,
    pub mean_per_class_error: f64,
    pub domain: Vec<String>,
    pub curve: Thresholds,
    /// Index of the threshold with the highest F1, when there is one.
    pub best: Option<usize>,
    pub gains_lift: Option<Table>,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Multinomial {
    pub logloss: f64,
    pub mean_per_class_error: f64,
    pub domain: Vec<String>,
    /// Weights by actual (row) and predicted (column) class.
    pub confusion: Vec<Vec<f64>>,
    /// Share of rows whose class is among the k most probable.
    pub hit_ratios: Vec<f64>,
    /// Areas under curves, when they were asked for.
    #[serde(default)]
    pub areas: Option<ClassAreas>,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Clustering {
    pub tot_withinss: f64,
    pub totss: f64,
    pub sizes: Vec<f64>,
    pub withinss: Vec<f64>,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub enum Kind {
    Regression {
        mae: f64,
        rmsle: f64,
        mean_residual_deviance: f64,
    },
    Binomial(Binomial),
    Multinomial(Multinomial),
    Clustering(Clustering),
    /// Mean path length and mean score; the score from which on a row counts as an anomaly, or -1.
    Anomaly {
        mean_length: f64,
        mean_score: f64,
        threshold: f64,
    },
    Survival(Survival),
    Uplift(Box<crate::uplift::Uplift>),
    Mixed(Box<Mixed>),
}

/// What a mixed model is, and how likely it makes the rows.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Mixed {
    pub beta: Vec<f64>,
    pub ubeta: Vec<Vec<f64>>,
    pub log_likelihood: f64,
    /// Share of the variance that each of the groups' coefficients has.
    pub icc: Vec<f64>,
    pub iterations: i32,
    pub tmat: Vec<Vec<f64>>,
    pub var_residual: f64,
    /// Mean squared error of the shared coefficients alone.
    pub mse_fixed: f64,
}

/// How well pairs of lifetimes are ordered.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Survival {
    pub concordance: f64,
    pub concordant: i64,
    pub discordant: i64,
    /// Pairs with equal predictions.
    pub tied: i64,
}

/// Lifetimes to be ordered: columns of the same rows.
pub struct Lifetimes<'a> {
    pub start: Option<&'a [f64]>,
    pub stop: &'a [f64],
    pub event: &'a [bool],
    /// Pairs are compared within a stratum; rows of stratum -1 take no part.
    pub stratum: &'a [f64],
}

/// Harrell's concordance (1982) of risks with lifetimes: of the pairs whose shorter lifetime ended in an event, the share
/// in which that row has the higher risk, equal risks counting half. As in the reference, of two events after the same
/// time the row that comes first counts as the shorter.
pub fn survival(risk: &[f64], lives: &Lifetimes<'_>) -> Metrics {
    let length = |r: usize| lives.stop[r] - lives.start.map_or(0.0, |s| s[r]);
    let mut rows: Vec<usize> = (0..risk.len()).filter(|&r| !risk[r].is_nan() && !length(r).is_nan() && lives.stratum[r] >= 0.0).collect();
    rows.sort_by(|&a, &b| {
        let by = lives.stratum[a].total_cmp(&lives.stratum[b]).then(length(a).total_cmp(&length(b)));
        by.then(lives.event[b].cmp(&lives.event[a])).then(a.cmp(&b))
    });
    let mut levels: Vec<f64> = rows.iter().map(|&r| risk[r]).collect();
    levels.sort_by(f64::total_cmp);
    levels.dedup();
    let place = |r: usize| levels.partition_point(|v| *v < risk[r]);
    let (mut concordant, mut discordant, mut tied) = (0i64, 0i64, 0i64);
    for same in rows.chunk_by(|&a, &b| lives.stratum[a] == lives.stratum[b]) {
        // A binary indexed tree (Fenwick 1994) counts the later rows by risk.
        let mut tree = vec![0i64; levels.len() + 1];
        let below = |tree: &[i64], mut i: usize| {
            let mut sum = 0;
            while i > 0 {
                sum += tree[i];
                i &= i - 1;
            }
            sum
        };
        for (later, &r) in same.iter().rev().enumerate() {
            let at = place(r);
            if lives.event[r] {
                let (lower, to) = (below(&tree, at), below(&tree, at + 1));
                (concordant, tied) = (concordant + lower, tied + to - lower);
                discordant += later as i64 - to;
            }
            let mut i = at + 1;
            while i < tree.len() {
                tree[i] += 1;
                i += i & i.wrapping_neg();
            }
        }
    }
    let all = (concordant + discordant + tied) as f64;
    let concordance = (concordant as f64 + 0.5 * tied as f64) / all;
    let mut m = blank(Kind::Survival(Survival { concordance, concordant, discordant, tied }), &Sums::default());
    (m.mse, m.r2) = (f64::NAN, f64::NAN);
    m
}

/// What generalized linear models add.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub struct GlmExtras {
    pub residual_deviance: f64,
    pub null_deviance: f64,
    pub aic: f64,
    /// NaN unless it was asked for.
    #[serde(default)]
    pub loglikelihood: f64,
    pub null_dof: i64,
    pub residual_dof: i64,
    /// What the model without predictors says of every row: a mean, or the probability of the second class.
    #[serde(default = "unknown")]
    pub null_mean: f64,
}

fn unknown() -> f64 {
    f64::NAN
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Metrics {
    pub model: String,
    pub model_checksum: i64,
    pub frame: Option<String>,
    pub frame_checksum: i64,
    pub description: Option<String>,
    pub time_ms: i64,
    pub mse: f64,
    pub r2: f64,
    pub nobs: i64,
    pub kind: Kind,
    pub glm: Option<GlmExtras>,
    /// Name and value of the metric that the user wrote.
    #[serde(default)]
    pub custom: Option<(String, f64)>,
}

/// The metric that the user wrote, over rows with known answers; `predictions` as predicting gives them, the label of
/// classes first.
pub fn custom(
    script: &ochre_script::Script,
    rows: usize,
    row: impl Fn(usize) -> Option<ochre_script::MetricRow> + Sync,
) -> Result<(String, f64)> {
    let value = match script.metric_part(rows, row)? {
        Some(last) => script.metric(last)?,
        None => f64::NAN,
    };
    Ok((script.key().into(), value))
}

/// Sums that every supervised metric needs.
#[derive(Clone, Copy, Default, Serialize, serde::Deserialize)]
struct Sums {
    n: i64,
    w: f64,
    wy: f64,
    wyy: f64,
    sse: f64,
    abs: f64,
    log2: f64,
    extra: f64,
}

fn add(a: Sums, b: Sums) -> Sums {
    Sums {
        n: a.n + b.n,
        w: a.w + b.w,
        wy: a.wy + b.wy,
        wyy: a.wyy + b.wyy,
        sse: a.sse + b.sse,
        abs: a.abs + b.abs,
        log2: a.log2 + b.log2,
        extra: a.extra + b.extra,
    }
}

/// Runs `part` over chunks of rows in parallel, each node of a cluster over its own, and merges the results in order.
fn by_chunk<T: Send + Serialize + DeserializeOwned>(
    rows: usize,
    part: impl Fn(std::ops::Range<usize>) -> T + Sync,
    merge: impl Fn(T, T) -> T,
) -> Result<Option<T>> {
    let team = Team::for_rows(rows);
    let mine = team.mine(rows.div_ceil(CHUNK_ROWS));
    let parts: Vec<T> = mine.into_par_iter().map(|k| part(k * CHUNK_ROWS..rows.min((k + 1) * CHUNK_ROWS))).collect();
    Ok(team.gather(parts)?.into_iter().flatten().reduce(merge))
}

fn weight(weights: Option<&[f64]>, row: usize) -> f64 {
    weights.map_or(1.0, |w| if w[row].is_nan() { 0.0 } else { w[row] })
}

fn r2(s: &Sums) -> f64 {
    let variance = s.wyy / s.w - (s.wy / s.w) * (s.wy / s.w);
    if variance > 0.0 { 1.0 - s.sse / s.w / variance } else { f64::NAN }
}

fn blank(kind: Kind, s: &Sums) -> Metrics {
    Metrics {
        model: String::new(),
        model_checksum: 0,
        frame: None,
        frame_checksum: 0,
        description: None,
        time_ms: time::now_ms(),
        mse: s.sse / s.w,
        r2: r2(s),
        nobs: s.n,
        kind,
        glm: None,
        custom: None,
    }
}

/// Predictions as they are measured: some values a row, of all rows or of those that this node measures.
#[derive(Clone, Copy)]
pub struct Scores<'a> {
    values: &'a [f64],
    /// Row of the first value.
    first: usize,
    width: usize,
    column: usize,
    /// Shares of the classes, by which ties between them are decided.
    shares: &'a [f64],
}

impl<'a> Scores<'a> {
    /// Of all rows, `width` values each.
    pub fn all(values: &'a [f64], width: usize) -> Scores<'a> {
        Scores { values, first: 0, width, column: 0, shares: &[] }
    }
    /// Of a member's own rows, of so many in all.
    pub fn own(team: &Team, rows: usize, values: &'a [f64], width: usize) -> Scores<'a> {
        Scores { first: team.rows(rows).start, ..Scores::all(values, width) }
    }
    pub fn with_shares(self, shares: &'a [f64]) -> Scores<'a> {
        Scores { shares, ..self }
    }
    /// With another column as the one that `at` tells.
    pub fn column(self, column: usize) -> Scores<'a> {
        Scores { column, ..self }
    }
    #[inline]
    fn at(&self, row: usize) -> f64 {
        self.values[(row - self.first) * self.width + self.column]
    }
    #[inline]
    fn row(&self, row: usize) -> &'a [f64] {
        &self.values[(row - self.first) * self.width..][..self.width]
    }
}

/// The quantile of distances between responses and predictions beyond which the huber loss is linear; 0 of none. Each member of a
/// team brings the distances and weights of its rows.
pub fn huber_distance(alpha: f64, team: &Team, own: impl Iterator<Item = (f64, f64)>) -> Result<f64> {
    let mut all = team.gather(own.filter(|(d, w)| !d.is_nan() && *w > 0.0).collect::<Vec<_>>())?.concat();
    all.par_sort_by(|a, b| a.0.total_cmp(&b.0));
    let q = weighted_quantile(&all, alpha, "interpolate");
    Ok(if q.is_nan() { 0.0 } else { q })
}

/// Regression metrics; rows with a missing actual, prediction or weight 0 are passed over.
pub fn regression(predicted: Scores<'_>, actual: &[f64], weights: Option<&[f64]>, deviance: Deviance) -> Result<Metrics> {
    let deviance = match deviance {
        Deviance::HuberAt(alpha) => {
            let team = Team::for_rows(actual.len());
            let distance = |i: usize| ((actual[i] - predicted.at(i)).abs(), weight(weights, i));
            Deviance::Huber(huber_distance(alpha, &team, team.rows(actual.len()).map(distance))?)
        }
        other => other,
    };
    let s = by_chunk(
        actual.len(),
        |rows| {
            let mut s = Sums::default();
            for i in rows {
                let (p, y, w) = (predicted.at(i), actual[i], weight(weights, i));
                if p.is_nan() || y.is_nan() || w == 0.0 {
                    continue;
                }
                let e = y - p;
                let log = (y + 1.0).ln() - (p + 1.0).ln();
                s = add(
                    s,
                    Sums {
                        n: 1,
                        w,
                        wy: w * y,
                        wyy: w * y * y,
                        sse: w * e * e,
                        abs: w * e.abs(),
                        log2: w * log * log,
                        extra: w * deviance.of(y, p),
                    },
                );
            }
            s
        },
        add,
    )?
    .unwrap_or_default();
    let kind = Kind::Regression { mae: s.abs / s.w, rmsle: (s.log2 / s.w).sqrt(), mean_residual_deviance: s.extra / s.w };
    Ok(blank(kind, &s))
}

/// Metrics of two classes. `p1` is the probability of the second class, `actual` its code.
pub fn binomial(p1: Scores<'_>, actual: &[f64], weights: Option<&[f64]>, domain: &[String], detail: Detail) -> Result<Metrics> {
    let (s, sketch) = by_chunk(
        actual.len(),
        |rows| {
            let (mut s, mut sketch) = (Sums::default(), Sketch::default());
            for i in rows {
                let (p, y, w) = (p1.at(i), actual[i], weight(weights, i));
                if p.is_nan() || y.is_nan() || w == 0.0 {
                    continue;
                }
                let of_actual = if y == 1.0 { p } else { 1.0 - p };
                let e = 1.0 - of_actual;
                s = add(
                    s,
                    Sums {
                        n: 1,
                        w,
                        wy: w * y,
                        wyy: w * y * y,
                        sse: w * e * e,
                        extra: -w * of_actual.max(LOG_FLOOR).ln(),
                        ..Sums::default()
                    },
                );
                sketch.push(p, y == 1.0, w);
            }
            (s, sketch)
        },
        |mut a, b| {
            a.1.merge(&b.1);
            (add(a.0, b.0), a.1)
        },
    )?
    .unwrap_or_default();
    let mut curve = sketch.curve();
    if detail.labels {
        curve.keep_labels();
    }
    let best = match detail.labels {
        true => (!curve.thresholds.is_empty()).then_some(0),
        false => curve.argmax(criterion("f1")),
    };
    let mean_per_class_error = best.map_or(f64::NAN, |i| {
        let (tp, fp, fn_, tn) = curve.counts(i);
        0.5 * (fp / (fp + tn) + fn_ / (fn_ + tp))
    });
    let gains_lift = if detail.bins == 0 || detail.labels { None } else { gains_lift(p1, actual, weights, detail.bins)? };
    let ordered = |v: f64| if detail.labels { f64::NAN } else { v };
    let kind = Kind::Binomial(Binomial {
        logloss: ordered(s.extra / s.w),
        auc: ordered(curve.auc()),
        pr_auc: ordered(curve.pr_auc()),
        mean_per_class_error,
        domain: domain.to_vec(),
        curve,
        best,
        gains_lift,
    });
    Ok(blank(kind, &s))
}

/// How much is measured beyond the basics.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Detail {
    /// Groups of the gains/lift table; -1 chooses, 0 makes no table.
    pub bins: i32,
    /// Average of the areas under the curves of several classes.
    #[serde(with = "auc_name")]
    pub auc: AucType,
    /// A metric that the user wrote.
    #[serde(default)]
    pub custom: Option<ochre_script::Script>,
    /// The predictions are labels and no probabilities: what needs an order of the rows cannot be told.
    #[serde(default)]
    pub labels: bool,
}

impl Default for Detail {
    fn default() -> Self {
        Detail { bins: -1, auc: AucType::Auto, custom: None, labels: false }
    }
}

/// Choices are kept by their names.
mod auc_name {
    use super::{AucType, Wire};
    pub fn serialize<S: serde::Serializer>(v: &AucType, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(v.name())
    }
    pub fn deserialize<'d, D: serde::Deserializer<'d>>(d: D) -> Result<AucType, D::Error> {
        let name: String = serde::Deserialize::deserialize(d)?;
        AucType::from_text(&name).map_err(serde::de::Error::custom)
    }
}

/// Areas under the curves of several classes (Hand and Till 2001): each class against the rest, and each pair, where
/// both classes are taken as the positive one in turn.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct ClassAreas {
    /// Area under the ROC and under the precision-recall curve, by class, then by pair in lexicographic order.
    pub rest: Vec<(f64, f64)>,
    pub pairs: Vec<(f64, f64)>,
    /// Weight of each class.
    pub weights: Vec<f64>,
    #[serde(with = "auc_name")]
    pub kind: AucType,
}

/// Beyond this many classes the areas of pairs are too many to be of use.
const AREA_CLASSES_MAX: usize = 50;

impl ClassAreas {
    fn of(probabilities: Scores<'_>, actual: &[f64], weights: Option<&[f64]>, k: usize, kind: AucType) -> Result<Option<ClassAreas>> {
        if matches!(kind, AucType::Auto | AucType::None) || k > AREA_CLASSES_MAX {
            return Ok(None);
        }
        // By class against the rest, then by (positive, other).
        let made = || (vec![Sketch::default(); k + k * k], vec![0.0; k]);
        let (sketches, weights) = by_chunk(
            actual.len(),
            |rows| {
                let (mut sketches, mut of_class) = made();
                for i in rows {
                    let (p, y, w) = (probabilities.row(i), actual[i], weight(weights, i));
                    if y.is_nan() || p[0].is_nan() || w == 0.0 {
                        continue;
                    }
                    let y = y as usize;
                    of_class[y] += w;
                    for c in 0..k {
                        sketches[c].push(p[c], c == y, w);
                        if c != y {
                            sketches[k + y * k + c].push(p[y], true, w);
                            sketches[k + c * k + y].push(p[c], false, w);
                        }
                    }
                }
                (sketches, of_class)
            },
            |mut a, b| {
                a.0.iter_mut().zip(&b.0).for_each(|(a, b)| a.merge(b));
                a.1.iter_mut().zip(&b.1).for_each(|(a, b)| *a += b);
                a
            },
        )?
        .unwrap_or_else(made);
        let areas: Vec<(f64, f64)> = sketches
            .into_iter()
            .map(|s| {
                let curve = s.curve();
                (curve.auc(), curve.pr_auc())
            })
            .collect();
        let pair = |i: usize, j: usize| {
            let (a, b) = (areas[k + i * k + j], areas[k + j * k + i]);
            (0.5 * (a.0 + b.0), 0.5 * (a.1 + b.1))
        };
        let pairs = (0..k).flat_map(|i| (i + 1..k).map(move |j| (i, j))).map(|(i, j)| pair(i, j)).collect();
        Ok(Some(ClassAreas { rest: areas[..k].to_vec(), pairs, weights, kind }))
    }

    fn mean(&self, values: &[(f64, f64)], weights: impl Iterator<Item = f64>) -> (f64, f64) {
        let (mut a, mut b, mut total) = (0.0, 0.0, 0.0);
        for (v, w) in values.iter().zip(weights) {
            (a, b, total) = (a + w * v.0, b + w * v.1, total + w);
        }
        (a / total, b / total)
    }

    fn average(&self, kind: AucType) -> (f64, f64) {
        let k = self.rest.len();
        let w = &self.weights;
        match kind {
            AucType::MacroOvr => self.mean(&self.rest, std::iter::repeat(1.0)),
            AucType::WeightedOvr => self.mean(&self.rest, w.iter().copied()),
            AucType::WeightedOvo => self.mean(&self.pairs, (0..k).flat_map(|i| (i + 1..k).map(move |j| (i, j))).map(|(i, j)| w[i] + w[j])),
            _ => self.mean(&self.pairs, std::iter::repeat(1.0)),
        }
    }

    /// The average that was asked for: ROC, precision-recall.
    pub fn value(&self) -> (f64, f64) {
        self.average(self.kind)
    }

    /// One table of all areas and averages.
    fn table(&self, domain: &[String], heading: &str, name: &str, pick: fn((f64, f64)) -> f64) -> Table {
        let k = domain.len();
        let mut rows: Vec<(String, Cell, Cell, f64)> = vec![];
        for (c, v) in self.rest.iter().enumerate() {
            rows.push((format!("{} vs Rest", domain[c]), Cell::Text(domain[c].clone()), Cell::Missing, pick(*v)));
        }
        let average = |rows: &mut Vec<(String, Cell, Cell, f64)>, label: &str, kind| {
            rows.push((label.into(), Cell::Missing, Cell::Missing, pick(self.average(kind))));
        };
        average(&mut rows, "Macro OVR", AucType::MacroOvr);
        average(&mut rows, "Weighted OVR", AucType::WeightedOvr);
        for ((i, j), v) in (0..k).flat_map(|i| (i + 1..k).map(move |j| (i, j))).zip(&self.pairs) {
            let (a, b) = (domain[i].clone(), domain[j].clone());
            rows.push((format!("Class {a} vs. {b}"), Cell::Text(a), Cell::Text(b), pick(*v)));
        }
        average(&mut rows, "Macro OVO", AucType::MacroOvo);
        average(&mut rows, "Weighted OVO", AucType::WeightedOvo);
        Table::new(heading, "")
            .named("type", "type", "string", "%s", rows.iter().map(|r| Cell::Text(r.0.clone())).collect())
            .named("first_class_domain", "first_class_domain", "string", "%s", rows.iter().map(|r| r.1.clone()).collect())
            .named("second_class_domain", "second_class_domain", "string", "%s", rows.iter().map(|r| r.2.clone()).collect())
            .named(name, name, "double", "%d", rows.iter().map(|r| Cell::Double(r.3)).collect())
    }
}

/// Metrics of many classes. `probabilities` holds one per class and row.
pub fn multinomial(
    probabilities: Scores<'_>,
    actual: &[f64],
    weights: Option<&[f64]>,
    domain: &[String],
    detail: Detail,
) -> Result<Metrics> {
    let k = domain.len();
    let top = k.min(10);
    let (s, confusion, hits) = by_chunk(
        actual.len(),
        |rows| {
            let (mut s, mut confusion, mut hits) = (Sums::default(), vec![vec![0.0; k]; k], vec![0.0; top]);
            for i in rows {
                let (p, y, w) = (probabilities.row(i), actual[i], weight(weights, i));
                if y.is_nan() || p[0].is_nan() || w == 0.0 {
                    continue;
                }
                let of_actual = p[y as usize];
                let e = 1.0 - of_actual;
                s = add(
                    s,
                    Sums {
                        n: 1,
                        w,
                        wy: w * y,
                        wyy: w * y * y,
                        sse: w * e * e,
                        extra: -w * of_actual.max(LOG_FLOOR).ln(),
                        ..Sums::default()
                    },
                );
                confusion[y as usize][ochre_score::ties::most_probable(p, probabilities.shares, || 0)] += w;
                let rank = p.iter().enumerate().filter(|(c, v)| **v > of_actual || (**v == of_actual && *c < y as usize)).count();
                for h in hits.iter_mut().skip(rank) {
                    *h += w;
                }
            }
            (s, confusion, hits)
        },
        |mut a, b| {
            for (x, y) in a.1.iter_mut().flatten().zip(b.1.iter().flatten()) {
                *x += y;
            }
            for (x, y) in a.2.iter_mut().zip(&b.2) {
                *x += y;
            }
            (add(a.0, b.0), a.1, a.2)
        },
    )?
    .unwrap_or((Sums::default(), vec![vec![0.0; k]; k], vec![0.0; top]));
    // A class without rows has no errors, and counts.
    let errors: Vec<f64> = confusion
        .iter()
        .enumerate()
        .map(|(i, row)| (row.iter().sum::<f64>(), row[i]))
        .map(|(all, right)| if all > 0.0 { 1.0 - right / all } else { 0.0 })
        .collect();
    let kind = Kind::Multinomial(Multinomial {
        logloss: s.extra / s.w,
        mean_per_class_error: errors.iter().sum::<f64>() / errors.len() as f64,
        domain: domain.to_vec(),
        confusion,
        hit_ratios: hits.iter().map(|h| h / s.w).collect(),
        areas: ClassAreas::of(probabilities, actual, weights, k, detail.auc)?,
    });
    Ok(blank(kind, &s))
}

pub fn clustering(c: Clustering, nobs: i64) -> Metrics {
    let mut m = blank(Kind::Clustering(c), &Sums { n: nobs, ..Sums::default() });
    (m.mse, m.r2) = (f64::NAN, f64::NAN);
    m
}

/// Clusterings of parts of the data, added up.
pub fn pooled_clusters(parts: impl Iterator<Item = std::sync::Arc<Metrics>>) -> Metrics {
    let (mut sum, mut nobs) = (Clustering { tot_withinss: 0.0, totss: 0.0, sizes: vec![], withinss: vec![] }, 0);
    for m in parts {
        if let Kind::Clustering(c) = &m.kind {
            sum.tot_withinss += c.tot_withinss;
            sum.totss += c.totss;
        }
        nobs += m.nobs;
    }
    clustering(sum, nobs)
}

/// Index of the largest; the first of equals.
pub fn argmax(p: &[f64]) -> usize {
    let mut best = 0;
    for (i, v) in p.iter().enumerate() {
        if *v > p[best] {
            best = i;
        }
    }
    best
}

/// The threshold sketch of one stream of (probability, class, weight).
#[derive(Serialize, serde::Deserialize, Clone, Default)]
struct Sketch {
    /// Ascending thresholds.
    at: Vec<f64>,
    error: Vec<f64>,
    tps: Vec<f64>,
    fps: Vec<f64>,
    /// What merging each with its next would cost: the errors that stand, and what is added; -1 where nothing is.
    costs: Vec<f64>,
    /// The pair that merging would cost least, when it is known.
    cheapest: Option<usize>,
}

impl Sketch {
    fn weight(&self, i: usize) -> f64 {
        self.tps[i] + self.fps[i]
    }

    /// Squared error added by joining two centres (in single precision, as the reference compares them).
    fn added(a: f64, wa: f64, b: f64, wb: f64) -> f64 {
        let d = f64::from(a as f32) - f64::from(b as f32);
        let d = f64::from(d as f32);
        if d == 0.0 { 0.0 } else { d * d * wa * wb / (wa + wb) }
    }

    fn pair_cost(&self, i: usize) -> f64 {
        Self::added(self.at[i + 1], self.weight(i + 1), self.at[i], self.weight(i))
    }

    /// Prices the pairs that a bin is in.
    fn price(&mut self, i: usize) {
        for k in i.saturating_sub(1)..=i {
            if k + 1 < self.at.len() {
                let added = self.pair_cost(k);
                let cost = self.error[k] + self.error[k + 1] + added;
                self.costs[k] = if added == 0.0 { -1.0 } else { cost };
            }
        }
    }

    fn center(a: f64, wa: f64, b: f64, wb: f64) -> f64 {
        let c = (b * wb + a * wa) / (wb + wa);
        if c.is_finite() { c } else { 0.5 * (a + b) }
    }

    fn push(&mut self, p: f64, positive: bool, w: f64) {
        let i = match self.at.binary_search_by(|t| t.total_cmp(&p)) {
            Ok(i) => {
                if positive {
                    self.tps[i] += w
                } else {
                    self.fps[i] += w
                }
                self.price(i);
                self.cheapest = None;
                return;
            }
            Err(i) => i,
        };
        let n = self.at.len();
        if n == BINS && i > 0 && i < n && self.at[i - 1] != self.at[i] {
            // Full: join the newcomer with a neighbour when that is cheaper than any merge of two bins.
            let s = self.find_cheapest();
            let merge = self.error[s] + self.error[s + 1] + self.pair_cost(s);
            let left = self.error[i - 1] + Self::added(p, w, self.at[i - 1], self.weight(i - 1));
            let right = self.error[i] + Self::added(self.at[i], self.weight(i), p, w);
            if left < merge || right < merge {
                let i = if left <= right { i - 1 } else { i };
                if s + 1 == i || s == i {
                    self.cheapest = None;
                }
                let k = self.weight(i);
                if positive {
                    self.tps[i] += w
                } else {
                    self.fps[i] += w
                }
                self.error[i] += Self::added(p, w, self.at[i], k);
                self.at[i] = Self::center(self.at[i], k, p, w);
                self.price(i);
                return;
            }
        }
        match self.cheapest {
            _ if i == 0 || i == n => self.cheapest = None,
            Some(c) if i == c => self.cheapest = None,
            Some(c) if i < c => self.cheapest = Some(c + 1),
            _ => {}
        }
        self.at.insert(i, p);
        self.error.insert(i, 0.0);
        self.tps.insert(i, if positive { w } else { 0.0 });
        self.fps.insert(i, if positive { 0.0 } else { w });
        self.costs.insert(i, 0.0);
        self.price(i);
        if self.at.len() > BINS {
            self.merge_cheapest();
        }
    }

    fn find_cheapest(&mut self) -> usize {
        if let Some(c) = self.cheapest {
            return c;
        }
        // The first of the least; one that costs nothing is less than any other.
        let (mut best, mut least) = (None, f64::MAX);
        for (i, cost) in self.costs[..self.at.len().saturating_sub(1)].iter().enumerate() {
            if *cost < least {
                (best, least) = (Some(i), *cost);
            }
        }
        let best = best.unwrap_or_else(|| {
            // Every cost overflowed: the closest pair.
            (0..self.at.len().saturating_sub(1))
                .min_by(|a, b| (self.at[a + 1] - self.at[*a]).total_cmp(&(self.at[b + 1] - self.at[*b])))
                .unwrap_or(0)
        });
        self.cheapest = Some(best);
        best
    }

    fn merge_cheapest(&mut self) {
        let s = self.find_cheapest();
        let (a, b) = (self.weight(s), self.weight(s + 1));
        self.error[s] += self.error[s + 1] + self.pair_cost(s);
        self.at[s] = Self::center(self.at[s], a, self.at[s + 1], b);
        self.tps[s] += self.tps[s + 1];
        self.fps[s] += self.fps[s + 1];
        for v in [&mut self.at, &mut self.error, &mut self.tps, &mut self.fps, &mut self.costs] {
            v.remove(s + 1);
        }
        self.price(s);
        self.cheapest = None;
    }

    fn merge(&mut self, other: &Sketch) {
        let mut all = Sketch::default();
        let (mut i, mut j) = (0, 0);
        while i < self.at.len() || j < other.at.len() {
            // Of equals the other's comes first, as in a merge from the top that prefers its own.
            let mine = j >= other.at.len() || (i < self.at.len() && self.at[i] < other.at[j]);
            let (from, k) = if mine { (&*self, i) } else { (other, j) };
            all.at.push(from.at[k]);
            all.error.push(from.error[k]);
            all.tps.push(from.tps[k]);
            all.fps.push(from.fps[k]);
            if mine { i += 1 } else { j += 1 }
        }
        all.costs = vec![0.0; all.at.len()];
        (0..all.at.len()).for_each(|i| all.price(i));
        loop {
            if all.at.len() <= BINS {
                match all.costs[..all.at.len().saturating_sub(1)].iter().position(|c| *c == -1.0) {
                    Some(i) => all.cheapest = Some(i),
                    None => break,
                }
            }
            all.merge_cheapest();
        }
        all.cheapest = None;
        *self = all;
    }

    fn curve(&self) -> Thresholds {
        let sum = |v: &[f64]| {
            v.iter()
                .rev()
                .scan(0.0, |s, x| {
                    *s += x;
                    Some(*s)
                })
                .collect::<Vec<f64>>()
        };
        let (tps, fps) = (sum(&self.tps), sum(&self.fps));
        Thresholds {
            thresholds: self.at.iter().rev().copied().collect(),
            positives: tps.last().copied().unwrap_or(0.0),
            negatives: fps.last().copied().unwrap_or(0.0),
            tps,
            fps,
        }
    }
}

/// A criterion as a function of true and false positives, false and true negatives.
pub(crate) type Criterion = fn(f64, f64, f64, f64) -> f64;

fn f_beta(beta2: f64, tp: f64, fp: f64, fn_: f64) -> f64 {
    let (precision, recall) = (tp / (tp + fp), tp / (tp + fn_));
    (1.0 + beta2) * (precision * recall) / (beta2 * precision + recall)
}

/// Every criterion, in the order of the tables; those marked true are counts.
pub(crate) const CRITERIA: [(&str, bool, Criterion); 18] = [
    ("f1", false, |tp, fp, fn_, _| f_beta(1.0, tp, fp, fn_)),
    ("f2", false, |tp, fp, fn_, _| f_beta(4.0, tp, fp, fn_)),
    ("f0point5", false, |tp, fp, fn_, _| f_beta(0.25, tp, fp, fn_)),
    ("accuracy", false, |tp, fp, fn_, tn| (tn + tp) / (tp + fn_ + tn + fp)),
    ("precision", false, |tp, fp, _, _| tp / (tp + fp)),
    ("recall", false, |tp, _, fn_, _| tp / (tp + fn_)),
    ("specificity", false, |_, fp, _, tn| tn / (tn + fp)),
    ("absolute_mcc", false, |tp, fp, fn_, tn| {
        let m = tp * tn - fp * fn_;
        if m == 0.0 { 0.0 } else { (m / ((tp + fp) * (tp + fn_) * (tn + fp) * (tn + fn_)).sqrt()).abs().min(1.0) }
    }),
    ("min_per_class_accuracy", false, |tp, fp, fn_, tn| (tp / (tp + fn_)).min(tn / (tn + fp))),
    ("mean_per_class_accuracy", false, |tp, fp, fn_, tn| 0.5 * (tp / (tp + fn_) + tn / (tn + fp))),
    ("tns", true, |_, _, _, tn| tn),
    ("fns", true, |_, _, fn_, _| fn_),
    ("fps", true, |_, fp, _, _| fp),
    ("tps", true, |tp, _, _, _| tp),
    ("tnr", false, |_, fp, _, tn| tn / (fp + tn)),
    ("fnr", false, |tp, _, fn_, _| fn_ / (fn_ + tp)),
    ("fpr", false, |_, fp, _, tn| fp / (fp + tn)),
    ("tpr", false, |tp, _, fn_, _| tp / (tp + fn_)),
];

fn criterion(name: &str) -> Criterion {
    CRITERIA.iter().find(|c| c.0 == name).expect("a known criterion").2
}

impl Thresholds {
    /// tp, fp, fn, tn at a threshold.
    pub fn counts(&self, i: usize) -> (f64, f64, f64, f64) {
        (self.tps[i], self.fps[i], self.positives - self.tps[i], self.negatives - self.fps[i])
    }

    /// Of rows whose predictions are 0 or 1, what counts as 1.
    fn keep_labels(&mut self) {
        if self.thresholds.is_empty() {
            return;
        }
        let seconds = self.thresholds.iter().position(|t| *t == 1.0);
        let (tp, fp) = seconds.map_or((0.0, 0.0), |i| (self.tps[i], self.fps[i]));
        (self.thresholds, self.tps, self.fps) = (vec![1.0], vec![tp], vec![fp]);
    }

    fn argmax(&self, f: Criterion) -> Option<usize> {
        let (mut best, mut top) = (None, -f64::MAX);
        for i in 0..self.tps.len() {
            let (tp, fp, fn_, tn) = self.counts(i);
            let v = f(tp, fp, fn_, tn);
            if v > top {
                (best, top) = (Some(i), v);
            }
        }
        best
    }

    /// Area under the receiver operating characteristic, by trapezoids.
    pub fn auc(&self) -> f64 {
        if self.tps.is_empty() {
            return f64::NAN;
        }
        if self.negatives == 0.0 {
            return 1.0;
        }
        if self.positives == 0.0 {
            return 0.0;
        }
        let (mut area, mut tp, mut fp) = (0.0, 0.0, 0.0);
        for i in 0..self.tps.len() {
            area += (self.fps[i] - fp) * (self.tps[i] + tp) / 2.0;
            (tp, fp) = (self.tps[i], self.fps[i]);
        }
        area / self.positives / self.negatives
    }

    /// Area under precision and recall with the interpolation of Davis and Goadrich (2006), integrated exactly.
    pub fn pr_auc(&self) -> f64 {
        if self.tps.is_empty() {
            return f64::NAN;
        }
        if self.negatives == 0.0 {
            return 1.0;
        }
        if self.positives == 0.0 {
            return 0.0;
        }
        let p = self.positives;
        let (mut area, mut tp0, mut fp0) = (0.0, 0.0, 0.0);
        for i in 0..self.tps.len() {
            let (tp, fp) = (self.tps[i], self.fps[i]);
            // Between two points false positives rise linearly with true positives: precision is r / (a r + b).
            let (a, b) = if tp == tp0 {
                (1.0, 0.0)
            } else {
                let h = (fp - fp0) / (tp - tp0);
                (1.0 + h, (fp0 - h * tp0) / p)
            };
            let (r, r0) = (tp / p, tp0 / p);
            area += if b == 0.0 { (r - r0) / a } else { (r - r0 - b / a * ((a * r + b).ln() - (a * r0 + b).ln())) / a };
            (tp0, fp0) = (tp, fp);
        }
        area
    }

    fn tables(&self) -> (Table, Table) {
        let n = self.tps.len();
        // Counts are whole in this table, so weighted ones are cut.
        let cell = |count: bool, v: f64| if count && v.is_finite() { Cell::Long(v as i64) } else { Cell::Double(v) };
        let mut all = Table::new("Metrics for Thresholds", "Binomial metrics as a function of classification thresholds").named(
            "threshold",
            "Threshold",
            "double",
            "%f",
            self.thresholds.iter().map(|t| Cell::Double(*t)).collect(),
        );
        let (mut names, mut at, mut values, mut index) = (vec![], vec![], vec![], vec![]);
        for (name, count, f) in CRITERIA {
            let column = (0..n).map(|i| {
                let (tp, fp, fn_, tn) = self.counts(i);
                cell(count, f(tp, fp, fn_, tn))
            });
            let type_name = if count { "long" } else { "double" };
            all = all.named(name, name, type_name, if count { "%d" } else { "%f" }, column.collect());
            let best = self.argmax(f);
            names.push(Cell::Text(format!("max {name}")));
            at.push(Cell::Double(best.map_or(f64::NAN, |i| self.thresholds[i])));
            let value = best.map_or(f64::NAN, |i| {
                let (tp, fp, fn_, tn) = self.counts(i);
                f(tp, fp, fn_, tn)
            });
            values.push(Cell::Double(value));
            index.push(Cell::Long(best.map_or(-1, |i| i as i64)));
        }
        all = all.named("idx", "idx", "int", "%d", (0..n).map(Cell::from).collect());
        let best = Table::new("Maximum Metrics", "Maximum metrics at their respective thresholds")
            .named("metric", "Metric", "string", "%s", names)
            .named("threshold", "Threshold", "double", "%f", at)
            .named("value", "Value", "double", "%f", values)
            .named("idx", "idx", "long", "%d", index);
        (all, best)
    }
}

/// Buckets that values are dealt to, to find those at some places without sorting all.
const BUCKETS: usize = 1 << 14;

/// The values of all members that would stand at `places` (ascending) if they were sorted. Only values that share a bucket with
/// one of these are brought together.
fn at_places(team: &Team, mine: &[f64], places: &[usize]) -> Result<Vec<f64>> {
    let ends = |a: (f64, f64), b: (f64, f64)| (a.0.min(b.0), a.1.max(b.1));
    let none = (f64::INFINITY, f64::NEG_INFINITY);
    let of_mine = mine.par_chunks(CHUNK_ROWS).map(|c| c.iter().fold(none, |e, v| ends(e, (*v, *v)))).reduce(|| none, ends);
    let (low, high) = team.gather(of_mine)?.into_iter().fold(none, ends);
    if low == high {
        return Ok(vec![low; places.len()]);
    }
    let scale = BUCKETS as f64 / (high - low);
    let bucket = |v: f64| (((v - low) * scale) as usize).min(BUCKETS - 1);
    let mut counts = mine
        .par_chunks(8 * CHUNK_ROWS)
        .map(|values| {
            let mut counts = vec![0i64; BUCKETS];
            values.iter().for_each(|v| counts[bucket(*v)] += 1);
            counts
        })
        .reduce(
            || vec![0; BUCKETS],
            |mut a, b| {
                a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
                a
            },
        );
    team.sum_i64(&mut counts)?;
    // Of each place: its bucket, and where in what is brought together it stands.
    let (mut wanted, mut at) = (vec![false; BUCKETS], vec![]);
    let (mut b, mut before, mut kept) = (0, 0, 0);
    for &place in places {
        while before + counts[b] as usize <= place {
            before += counts[b] as usize;
            kept += if wanted[b] { counts[b] as usize } else { 0 };
            b += 1;
        }
        wanted[b] = true;
        at.push(kept + place - before);
    }
    let some: Vec<f64> = mine.par_iter().copied().filter(|v| wanted[bucket(*v)]).collect();
    let mut some = team.concat(some)?;
    some.par_sort_unstable_by(f64::total_cmp);
    Ok(at.into_iter().map(|i| some[i]).collect())
}

/// Gains and lift by groups of falling probability.
fn gains_lift(p1: Scores<'_>, actual: &[f64], weights: Option<&[f64]>, bins: i32) -> Result<Option<Table>> {
    let counts = |i: &usize| !p1.at(*i).is_nan() && !actual[*i].is_nan() && weight(weights, *i) > 0.0;
    let rows = actual.len();
    let team = Team::for_rows(rows);
    let own: Vec<usize> = team.rows(rows).into_par_iter().filter(counts).collect();
    let probs: Vec<f64> = if bins > 0 {
        (0..bins).map(|i| f64::from(bins - i - 1) / f64::from(bins)).collect()
    } else {
        vec![0.99, 0.98, 0.97, 0.96, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0]
    };
    let units = own.iter().all(|i| weight(weights, *i) == 1.0);
    let members = team.gather((own.len(), units))?;
    let counted: usize = members.iter().map(|m| m.0).sum();
    if counted == 0 {
        return Ok(None);
    }
    let mut cuts: Vec<f64> = if members.iter().all(|m| m.1) {
        let last = counted - 1;
        let mut places: Vec<usize> =
            probs.iter().map(|p| (p * last as f64).floor() as usize).flat_map(|i| [i, (i + 1).min(last)]).collect();
        places.sort_unstable();
        places.dedup();
        let mine: Vec<f64> = own.par_iter().map(|i| p1.at(*i)).collect();
        let values = at_places(&team, &mine, &places)?;
        let at = |place: usize| values[places.partition_point(|p| *p < place)];
        probs.iter().map(|p| quantile_at(counted, *p, "interpolate", at)).collect()
    } else {
        let mut pairs = team.gather(own.iter().map(|&i| (p1.at(i), weight(weights, i))).collect::<Vec<_>>())?.concat();
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        probs.iter().map(|p| weighted_quantile(&pairs, *p, "interpolate")).collect()
    };
    cuts.sort_by(|a, b| b.total_cmp(a));
    cuts.dedup();
    let g = cuts.len();
    let sums = by_chunk(
        rows,
        |rows| {
            let mut sums = vec![[0.0; 3]; g];
            for i in rows {
                let (p, y, w) = (p1.at(i), actual[i], weight(weights, i));
                if p.is_nan() || y.is_nan() || w == 0.0 {
                    continue;
                }
                let t = cuts.partition_point(|c| *c > p);
                if t < g {
                    // Counts are whole, as the reference's are, so a fractional weight is cut.
                    let event = if y == 1.0 { w.trunc() } else { 0.0 };
                    sums[t] = [sums[t][0] + event, sums[t][1] + w.trunc(), sums[t][2] + w * p];
                }
            }
            sums
        },
        |mut a, b| {
            for (x, y) in a.iter_mut().flatten().zip(b.iter().flatten()) {
                *x += y;
            }
            a
        },
    )?
    .unwrap_or_default();
    let column = |k: usize| sums.iter().map(|s| s[k]).collect::<Vec<f64>>();
    let (events, counts, scores) = (column(0), column(1), column(2));
    let (n, e) = (counts.iter().sum::<f64>(), events.iter().sum::<f64>());
    let rate = e / n;
    if !rate.is_finite() || rate == 0.0 {
        return Ok(None);
    }
    let mean_score = scores.iter().sum::<f64>() / n;
    let percent = |v: f64| format!("{:5.2} %", 100.0 * v);
    let mut columns: Vec<Vec<Cell>> = vec![vec![]; 14];
    let (mut sum_e, mut sum_n, mut sum_s) = (0.0, 0.0, 0.0);
    for i in 0..g {
        let response = if counts[i] == 0.0 { 0.0 } else { events[i] / counts[i] };
        let score = if counts[i] == 0.0 { 0.0 } else { scores[i] / counts[i] };
        sum_e += events[i];
        sum_n += counts[i];
        sum_s += counts[i] * score;
        let (lift, cumulative) = (response / rate, sum_e / sum_n / rate);
        let others = n - e;
        let ks = sum_e / e - if others == 0.0 { 0.0 } else { (sum_n - sum_e) / others };
        let row = [
            f64::NAN,
            sum_n / n,
            cuts[i],
            lift,
            cumulative,
            response,
            score,
            sum_e / sum_n,
            sum_s / sum_n,
            events[i] / e,
            sum_e / e,
            100.0 * (lift - 1.0),
            100.0 * (cumulative - 1.0),
            ks,
        ];
        for (c, v) in columns.iter_mut().zip(row) {
            c.push(Cell::Double(v));
        }
        columns[0][i] = Cell::Long(i as i64 + 1);
    }
    let headings = [
        "Group",
        "Cumulative Data Fraction",
        "Lower Threshold",
        "Lift",
        "Cumulative Lift",
        "Response Rate",
        "Score",
        "Cumulative Response Rate",
        "Cumulative Score",
        "Capture Rate",
        "Cumulative Capture Rate",
        "Gain",
        "Cumulative Gain",
        "Kolmogorov Smirnov",
    ];
    let mut table = Table::new("Gains/Lift Table", &format!("Avg response rate: {}, avg score: {}", percent(rate), percent(mean_score)));
    for (i, (heading, cells)) in headings.into_iter().zip(columns).enumerate() {
        let (type_name, format) = if i == 0 { ("int", "%d") } else { ("double", if i == 1 { "%.8f" } else { "%5f" }) };
        table = table.column(heading, type_name, format, cells);
    }
    Ok(Some(table))
}

/// A confusion matrix as the clients print it.
pub fn confusion_table(domain: &[String], matrix: &[Vec<f64>]) -> Table {
    let k = domain.len();
    let whole = matrix.iter().flatten().all(|v| *v == v.trunc());
    let cell = |v: f64| if whole { Cell::Long(v as i64) } else { Cell::Double(v) };
    let mut table = Table::new("Confusion Matrix", "Row labels: Actual class; Column labels: Predicted class");
    for c in 0..k {
        let mut cells: Vec<Cell> = matrix.iter().map(|row| cell(row[c])).collect();
        cells.push(cell(matrix.iter().map(|row| row[c]).sum()));
        table = table.named(&domain[c], &domain[c], if whole { "long" } else { "double" }, if whole { "%d" } else { "%.2f" }, cells);
    }
    let (mut errors, mut rates) = (vec![], vec![]);
    let (mut wrong, mut all) = (0.0, 0.0);
    // Weighted counts are told with decimals.
    let show = |v: f64, places: usize| {
        if !whole {
            return format!("{v:.places$}");
        }
        let text = format!("{}", v.round() as i64);
        let mut out = String::new();
        for (i, ch) in text.chars().enumerate() {
            if i > 0 && (text.len() - i).is_multiple_of(3) {
                out.push(',');
            }
            out.push(ch);
        }
        out
    };
    for (i, row) in matrix.iter().enumerate() {
        let total: f64 = row.iter().sum();
        let bad = total - row[i];
        wrong += bad;
        all += total;
        errors.push(Cell::Double(if total > 0.0 { bad / total } else { f64::NAN }));
        rates.push(format!("{} / {}", show(bad, 4), show(total, 4)));
    }
    errors.push(Cell::Double(if all > 0.0 { wrong / all } else { f64::NAN }));
    rates.push(format!("{} / {}", show(wrong, 2), show(all, 2)));
    let width = rates.iter().map(String::len).max().unwrap_or(0);
    table.named("Error", "Error", "double", "%.4f", errors).named(
        "Rate",
        "Rate",
        "string",
        &format!("= {width}s").replace("= ", "= %"),
        rates.into_iter().map(Cell::from).collect(),
    )
}

/// Metrics of an isolation forest.
pub fn anomaly(mean_length: f64, mean_score: f64, rows: i64) -> Metrics {
    let mut m = blank(Kind::Anomaly { mean_length, mean_score, threshold: -1.0 }, &Sums { n: rows, ..Sums::default() });
    (m.mse, m.r2) = (f64::NAN, f64::NAN);
    m
}

/// Metrics of uplift.
/// The same for uplift: three numbers predicted for each row, the response, and whether it was treated.
pub fn custom_uplift(script: &ochre_script::Script, predictions: &[f64], treated: &[f64], y: &[f64]) -> Result<(String, f64)> {
    custom(script, y.len(), |r| {
        let (p, actual) = (&predictions[3 * r..][..3], [y[r], treated[r]]);
        let known = !p.iter().chain(&actual).any(|v| v.is_nan());
        known.then(|| ochre_script::MetricRow { predictions: p.to_vec(), actual: actual.to_vec(), weight: 1.0, offset: 0.0 })
    })
}

pub fn uplift_metrics(u: crate::uplift::Uplift) -> Metrics {
    let rows = u.rows.last().copied().unwrap_or(0);
    let mut m = blank(Kind::Uplift(Box::new(u)), &Sums { n: rows, ..Sums::default() });
    (m.mse, m.r2) = (0.0, f64::NAN);
    m
}

/// The same, from the score and mean path length of each row.
pub fn anomalies(preds: &[f64]) -> Metrics {
    let n = preds.len() / 2;
    let parts: Vec<(f64, f64)> =
        preds.par_chunks(2 * ochre_core::CHUNK_ROWS).map(|p| p.chunks(2).fold((0.0, 0.0), |s, p| (s.0 + p[0], s.1 + p[1]))).collect();
    let (score, length) = parts.into_iter().fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
    anomaly(length / n as f64, score / n as f64, n as i64)
}

impl Metrics {
    /// Gives an isolation forest the score from which on a row counts as an anomaly.
    pub fn set_anomaly_threshold(&mut self, cut: f64) {
        if let Kind::Anomaly { threshold, .. } = &mut self.kind {
            *threshold = cut;
        }
    }

    pub fn rmse(&self) -> f64 {
        self.mse.sqrt()
    }

    /// A metric by the name that early stopping and histories use.
    pub fn get(&self, name: &str) -> Option<f64> {
        Some(match (name, &self.kind) {
            ("custom" | "custom_increasing", _) => return self.custom.as_ref().map(|c| c.1),
            (name, Kind::Uplift(u)) => return u.get(name),
            ("mse", _) => self.mse,
            ("rmse", _) => self.rmse(),
            ("r2", _) => self.r2,
            ("mae", Kind::Regression { mae, .. }) => *mae,
            ("rmsle", Kind::Regression { rmsle, .. }) => *rmsle,
            ("deviance", Kind::Regression { mean_residual_deviance, .. }) => *mean_residual_deviance,
            ("logloss" | "deviance", Kind::Binomial(b)) => b.logloss,
            ("auc", Kind::Binomial(b)) => b.auc,
            ("pr_auc" | "aucpr", Kind::Binomial(b)) => b.pr_auc,
            ("mean_per_class_error", Kind::Binomial(b)) => b.mean_per_class_error,
            ("classification_error" | "misclassification", Kind::Binomial(b)) => {
                let (_, fp, fn_, _) = b.curve.counts(b.best?);
                (fp + fn_) / (b.curve.positives + b.curve.negatives)
            }
            ("lift" | "lift_top_group", Kind::Binomial(b)) => match b.gains_lift.as_ref()?.get("cumulative_lift", 0)? {
                Cell::Double(v) => *v,
                _ => return None,
            },
            ("logloss" | "deviance", Kind::Multinomial(m)) => m.logloss,
            ("mean_per_class_error", Kind::Multinomial(m)) => m.mean_per_class_error,
            ("classification_error" | "misclassification", Kind::Multinomial(m)) => (1.0 - m.hit_ratios[0]).max(0.0),
            ("auc", Kind::Multinomial(m)) => m.areas.as_ref().map_or(f64::NAN, |a| a.value().0),
            ("pr_auc" | "aucpr", Kind::Multinomial(m)) => m.areas.as_ref().map_or(f64::NAN, |a| a.value().1),
            ("anomaly_score" | "mean_score", Kind::Anomaly { mean_length, .. }) => *mean_length,
            ("mean_normalized_score", Kind::Anomaly { mean_score, .. }) => *mean_score,
            ("concordance", Kind::Survival(s)) => s.concordance,
            ("tot_withinss", Kind::Clustering(c)) => c.tot_withinss,
            _ => return None,
        })
    }

    /// What the summary of cross-validation lists, by name in the order of the alphabet.
    pub fn summary(&self) -> Vec<(&'static str, f64)> {
        let mut out = vec![("mse", self.mse), ("rmse", self.rmse())];
        if let Some((_, value)) = &self.custom {
            out.extend([("custom", *value), ("custom_increasing", *value)]);
        }
        if let Some(g) = self.glm {
            out.extend([
                ("aic", g.aic),
                ("loglikelihood", 0.0),
                ("null_deviance", g.null_deviance),
                ("residual_deviance", g.residual_deviance),
            ]);
        } else if !matches!(self.kind, Kind::Clustering(_) | Kind::Anomaly { .. } | Kind::Survival(_) | Kind::Uplift(_)) {
            out.extend([("aic", f64::NAN), ("loglikelihood", f64::NAN)]);
        }
        match &self.kind {
            Kind::Regression { mae, rmsle, mean_residual_deviance } => {
                out.extend([("mae", *mae), ("rmsle", *rmsle), ("mean_residual_deviance", *mean_residual_deviance), ("r2", self.r2)]);
                if self.glm.is_none() {
                    out.push(("residual_deviance", *mean_residual_deviance));
                }
            }
            Kind::Binomial(b) => {
                out.extend([("auc", b.auc), ("logloss", b.logloss), ("pr_auc", b.pr_auc), ("r2", self.r2)]);
                out.push(("lift_top_group", self.get("lift_top_group").unwrap_or(f64::NAN)));
                let (tp, fp, fn_, tn) = b.best.map_or((f64::NAN, f64::NAN, f64::NAN, f64::NAN), |i| b.curve.counts(i));
                let at = |name: &str| criterion(name)(tp, fp, fn_, tn);
                for name in ["accuracy", "f0point5", "f1", "f2", "mean_per_class_accuracy", "precision", "recall", "specificity"] {
                    out.push((name, at(name)));
                }
                out.push(("mcc", at("absolute_mcc")));
                out.push(("err", 1.0 - at("accuracy")));
                out.push(("err_count", fp + fn_));
                out.push(("max_per_class_error", 1.0 - at("min_per_class_accuracy")));
                out.push(("mean_per_class_error", 1.0 - at("mean_per_class_accuracy")));
            }
            Kind::Multinomial(m) => {
                let of_class: Vec<(f64, f64)> = m.confusion.iter().enumerate().map(|(i, row)| (row.iter().sum::<f64>(), row[i])).collect();
                let (total, right) = of_class.iter().fold((0.0, 0.0), |s, c| (s.0 + c.0, s.1 + c.1));
                let worst = of_class.iter().filter(|c| c.0 > 0.0).map(|c| 1.0 - c.1 / c.0).fold(0.0, f64::max);
                out.extend([("accuracy", right / total), ("err", 1.0 - right / total), ("err_count", total - right)]);
                out.extend([
                    ("auc", self.get("auc").unwrap_or(f64::NAN)),
                    ("pr_auc", self.get("pr_auc").unwrap_or(f64::NAN)),
                    ("logloss", m.logloss),
                    ("r2", self.r2),
                    ("max_per_class_error", worst),
                ]);
                out.push(("mean_per_class_error", m.mean_per_class_error));
                out.push(("mean_per_class_accuracy", 1.0 - m.mean_per_class_error));
            }
            Kind::Survival(s) => out.push(("concordance", s.concordance)),
            Kind::Mixed(m) => out.extend([("log_likelihood", m.log_likelihood), ("mse_fixed", m.mse_fixed)]),
            Kind::Uplift(u) => {
                out.extend([("ate", u.ate), ("att", u.att), ("atc", u.atc), ("auuc", u.auuc(u.kind)), ("qini", u.excess(0))]);
            }
            Kind::Anomaly { mean_length, mean_score, .. } => {
                out.extend([("mean_score", *mean_length), ("mean_normalized_score", *mean_score)]);
            }
            Kind::Clustering(c) => {
                out.extend([("betweenss", c.totss - c.tot_withinss), ("tot_withinss", c.tot_withinss), ("totss", c.totss)]);
            }
        }
        out.sort_by_key(|p| p.0);
        out
    }

    /// The probability from which on a row counts as the second class.
    pub fn threshold(&self) -> f64 {
        match &self.kind {
            Kind::Binomial(b) => b.best.map_or(0.5, |i| b.curve.thresholds[i]),
            Kind::Anomaly { threshold, .. } => *threshold,
            _ => 0.5,
        }
    }

    pub fn category(&self) -> &'static str {
        match self.kind {
            Kind::Regression { .. } => "Regression",
            Kind::Binomial(_) => "Binomial",
            Kind::Multinomial(_) => "Multinomial",
            Kind::Clustering(_) => "Clustering",
            Kind::Anomaly { .. } => "AnomalyDetection",
            Kind::Survival(_) => "CoxPH",
            Kind::Uplift(_) => "BinomialUplift",
            Kind::Mixed(_) => "Regression",
        }
    }

    pub fn json(&self, predictions: Value) -> Value {
        let base = MetricsBase {
            model: Some(ModelKey(self.model.clone())).filter(|k| !k.0.is_empty()),
            model_checksum: self.model_checksum,
            frame: self.frame.clone().map(FrameKey),
            frame_checksum: self.frame_checksum,
            description: self.description.clone(),
            model_category: Some(self.category().into()),
            scoring_time: self.time_ms,
            predictions,
            mse: self.mse,
            rmse: self.rmse(),
            nobs: self.nobs,
            custom_metric_name: self.custom.as_ref().map(|c| c.0.clone()),
            custom_metric_value: self.custom.as_ref().map_or(0.0, |c| c.1),
            ..MetricsBase::default()
        };
        let confusion = |t: Table| ConfusionMatrix { table: Some(t) }.to_json();
        match &self.kind {
            Kind::Regression { mae, rmsle, mean_residual_deviance } => {
                let m = RegressionMetrics {
                    r2: self.r2,
                    mae: *mae,
                    rmsle: *rmsle,
                    mean_residual_deviance: *mean_residual_deviance,
                    loglikelihood: f64::NAN,
                    aic: f64::NAN,
                    base,
                };
                match self.glm {
                    None => m.to_json(),
                    Some(g) => GlmRegressionMetrics {
                        residual_deviance: g.residual_deviance,
                        null_deviance: g.null_deviance,
                        aic: g.aic,
                        loglikelihood: g.loglikelihood,
                        null_degrees_of_freedom: g.null_dof,
                        residual_degrees_of_freedom: g.residual_dof,
                        base: m,
                    }
                    .to_json(),
                }
            }
            Kind::Binomial(b) => {
                let (all, best) = b.curve.tables();
                let cm = b.best.map(|i| {
                    let (tp, fp, fn_, tn) = b.curve.counts(i);
                    confusion_table(&b.domain, &[vec![tn, fp], vec![fn_, tp]])
                });
                let m = BinomialMetrics {
                    r2: self.r2,
                    logloss: b.logloss,
                    loglikelihood: f64::NAN,
                    aic: f64::NAN,
                    auc: b.auc,
                    pr_auc: b.pr_auc,
                    gini: 2.0 * b.auc - 1.0,
                    mean_per_class_error: b.mean_per_class_error,
                    domain: Some(b.domain.clone()),
                    cm: cm.map_or(Value::Null, confusion),
                    thresholds_and_metric_scores: Some(all),
                    max_criteria_and_metric_scores: Some(best),
                    gains_lift_table: b.gains_lift.clone(),
                    base,
                };
                match self.glm {
                    None => m.to_json(),
                    Some(g) => GlmBinomialMetrics {
                        residual_deviance: g.residual_deviance,
                        null_deviance: g.null_deviance,
                        aic: g.aic,
                        loglikelihood: g.loglikelihood,
                        null_degrees_of_freedom: g.null_dof,
                        residual_degrees_of_freedom: g.residual_dof,
                        base: m,
                    }
                    .to_json(),
                }
            }
            Kind::Multinomial(c) => {
                let k = c.hit_ratios.len();
                let hits = Table::new(&format!("Top-{k} Hit Ratios"), "")
                    .named("k", "K", "string", "%s", (1..=k).map(|i| Cell::Text(i.to_string())).collect())
                    .named("hit_ratio", "Hit Ratio", "float", "%f", c.hit_ratios.iter().map(|h| Cell::Double(*h)).collect());
                let m = MultinomialMetrics {
                    r2: self.r2,
                    hit_ratio_table: Some(hits),
                    cm: confusion(confusion_table(&c.domain, &c.confusion)),
                    logloss: c.logloss,
                    loglikelihood: f64::NAN,
                    aic: f64::NAN,
                    mean_per_class_error: c.mean_per_class_error,
                    auc: self.get("auc").unwrap_or(f64::NAN),
                    pr_auc: self.get("pr_auc").unwrap_or(f64::NAN),
                    multinomial_auc_table: c.areas.as_ref().map(|a| a.table(&c.domain, "Multinomial AUC values", "auc", |v| v.0)),
                    multinomial_aucpr_table: c.areas.as_ref().map(|a| a.table(&c.domain, "Multinomial auc_pr values", "auc_pr", |v| v.1)),
                    base,
                };
                match self.glm {
                    None => m.to_json(),
                    Some(g) => GlmMultinomialMetrics {
                        residual_deviance: g.residual_deviance,
                        null_deviance: g.null_deviance,
                        aic: g.aic,
                        loglikelihood: g.loglikelihood,
                        null_degrees_of_freedom: g.null_dof,
                        residual_degrees_of_freedom: g.residual_dof,
                        base: m,
                    }
                    .to_json(),
                }
            }
            Kind::Uplift(u) => UpliftMetrics {
                ate: u.ate,
                att: u.att,
                atc: u.atc,
                auuc: u.auuc(u.kind),
                auuc_normalized: u.auuc_normalized(u.kind),
                qini: u.excess(0),
                domain: Some(u.domain.clone()),
                thresholds_and_metric_scores: Some(u.scores_table()),
                auuc_table: Some(u.auuc_table()),
                aecu_table: Some(u.aecu_table()),
                base,
            }
            .to_json(),
            Kind::Mixed(m) => MixedMetrics {
                beta: Some(m.beta.clone()),
                ubeta: Some(m.ubeta.clone()),
                log_likelihood: m.log_likelihood,
                icc: Some(m.icc.clone()),
                iterations: m.iterations,
                tmat: Some(m.tmat.clone()),
                var_residual: m.var_residual,
                mse_fixed: m.mse_fixed,
                base,
            }
            .to_json(),
            Kind::Survival(s) => CoxMetrics {
                concordance: s.concordance,
                concordant: s.concordant,
                discordant: s.discordant,
                tied_y: s.tied,
                base: RegressionMetrics {
                    r2: f64::NAN,
                    mae: f64::NAN,
                    rmsle: f64::NAN,
                    mean_residual_deviance: f64::NAN,
                    loglikelihood: f64::NAN,
                    aic: f64::NAN,
                    base,
                },
            }
            .to_json(),
            Kind::Anomaly { mean_length, mean_score, .. } => {
                AnomalyMetrics { mean_score: *mean_length, mean_normalized_score: *mean_score, base }.to_json()
            }
            Kind::Clustering(c) => {
                let k = c.sizes.len();
                let stats = Table::new("Centroid Statistics", "")
                    .row_labels(vec!["".into(); k])
                    .column("Centroid", "long", "%d", (1..=k).map(Cell::from).collect())
                    .column("Size", "double", "%.5f", c.sizes.iter().map(|v| Cell::Double(*v)).collect())
                    .column("Within Cluster Sum of Squares", "double", "%.5f", c.withinss.iter().map(|v| Cell::Double(*v)).collect());
                ClusteringMetrics {
                    tot_withinss: c.tot_withinss,
                    totss: c.totss,
                    betweenss: c.totss - c.tot_withinss,
                    centroid_stats: Some(stats),
                    base,
                }
                .to_json()
            }
        }
    }

    /// The main figures for a terminal.
    pub fn text(&self) -> String {
        let names = [
            "mse",
            "rmse",
            "r2",
            "mae",
            "rmsle",
            "deviance",
            "logloss",
            "auc",
            "pr_auc",
            "mean_per_class_error",
            "classification_error",
            "tot_withinss",
        ];
        let mut out = String::new();
        for n in names {
            if let Some(v) = self.get(n).filter(|v| !v.is_nan()) {
                out.push_str(&format!("  {n:<22} {v:.12}\n"));
            }
        }
        out
    }
}

/// Training events and the metrics at each, for histories and early stopping.
#[derive(Default)]
pub struct ScoringHistory {
    pub events: Vec<Event>,
}

#[derive(Clone)]
pub struct Event {
    pub at_ms: i64,
    pub step: usize,
    pub training: Metrics,
    pub validation: Option<Metrics>,
}

impl ScoringHistory {
    /// The history as a table; `step` heads the column of steps, `names` the metrics.
    pub fn table(&self, started_ms: i64, step: &str, names: &[(&str, &str)]) -> Table {
        let mut t = Table::new("Scoring History", "")
            .row_labels(vec!["".into(); self.events.len()])
            .column("Timestamp", "string", "%s", self.events.iter().map(|e| Cell::Text(time::stamp(e.at_ms))).collect())
            .column("Duration", "string", "%s", self.events.iter().map(|e| Cell::Text(time::duration_text(e.at_ms - started_ms))).collect())
            .column(step, "long", "%d", self.events.iter().map(|e| Cell::from(e.step)).collect());
        let custom = self.events.iter().any(|e| e.training.custom.is_some()).then_some(&("custom", "Custom"));
        let mut side = |prefix: &str, pick: &dyn Fn(&Event) -> Option<&Metrics>| {
            for (name, heading) in names.iter().chain(custom) {
                let cells = self.events.iter().map(|e| Cell::Double(pick(e).and_then(|m| m.get(name)).unwrap_or(f64::NAN))).collect();
                let heading = format!("{prefix} {heading}");
                t = std::mem::take(&mut t).column(&heading, "double", "%.5f", cells);
            }
        };
        side("Training", &|e| Some(&e.training));
        if self.events.iter().any(|e| e.validation.is_some()) {
            side("Validation", &|e| e.validation.as_ref());
        }
        t
    }

    /// The best of the last `rounds` events, the first of several, as its place among all.
    pub fn best_of_last(&self, rounds: usize, metric: &str) -> usize {
        let value = |i: usize| self.events[i].validation.as_ref().unwrap_or(&self.events[i].training).get(metric).unwrap_or(f64::NAN);
        let (first, last) = (self.events.len().saturating_sub(rounds), self.events.len().saturating_sub(1));
        let better = |a: f64, b: f64| if rises(metric) { a > b } else { a < b };
        (first..=last).fold(last.min(first), |best, i| if better(value(i), value(best)) { i } else { best })
    }

    /// Has the moving average of the metric stopped improving (windows of `rounds` events)?
    pub fn stopped(&self, rounds: usize, metric: &str, tolerance: f64) -> bool {
        let values = self.events.iter().filter_map(|e| e.validation.as_ref().unwrap_or(&e.training).get(metric));
        // Events that measured nothing do not count (forests without trees); of the others, the first is where all begins.
        let values: Vec<f64> = values.filter(|v| !v.is_nan()).collect();
        has_stopped(&values[1.min(values.len())..], rounds, metric, tolerance)
    }
}

/// Is more of this metric better?
fn rises(metric: &str) -> bool {
    matches!(metric, "auc" | "aucpr" | "pr_auc" | "lift_top_group" | "r2" | "custom_increasing")
}

/// Has the moving average of a metric stopped improving (windows of `rounds` values)?
pub fn has_stopped(values: &[f64], rounds: usize, metric: &str, tolerance: f64) -> bool {
    if rounds == 0 || values.len() < 2 * rounds {
        return false;
    }
    let averages: Vec<f64> =
        (0..=rounds).map(|i| values[values.len() - 2 * rounds + i..][..rounds].iter().sum::<f64>() / rounds as f64).collect();
    let (before, after) = (averages[0], &averages[1..]);
    if averages.iter().any(|v| v.is_nan()) || averages.iter().any(|v| v.signum() != before.signum()) {
        return false;
    }
    if rises(metric) {
        let best = after.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        before == 0.0 || best / before <= 1.0 + tolerance
    } else {
        let best = after.iter().copied().fold(f64::INFINITY, f64::min);
        before == 0.0 || best / before >= 1.0 - tolerance
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perfect_and_useless_classifiers() {
        let domain = ["n".to_string(), "y".to_string()];
        let y = [0.0, 0.0, 1.0, 1.0];
        let m = binomial(Scores::all(&[0.1, 0.2, 0.8, 0.9], 1), &y, None, &domain, Detail::default()).unwrap();
        assert_eq!((m.get("auc"), m.get("pr_auc")), (Some(1.0), Some(1.0)));
        assert_eq!(m.threshold(), 0.8);
        let m = binomial(Scores::all(&[0.5; 4], 1), &y, None, &domain, Detail::default()).unwrap();
        assert_eq!(m.get("auc"), Some(0.5));
        assert!((m.get("logloss").unwrap() - 2f64.ln()).abs() < 1e-15);
    }

    #[test]
    fn weight_two_is_a_row_twice() {
        let domain = ["n".to_string(), "y".to_string()];
        let a = binomial(Scores::all(&[0.1, 0.6, 0.7], 1), &[0.0, 1.0, 0.0], Some(&[1.0, 2.0, 0.0]), &domain, Detail::default()).unwrap();
        let b = binomial(Scores::all(&[0.1, 0.6, 0.6], 1), &[0.0, 1.0, 1.0], None, &domain, Detail::default()).unwrap();
        for name in ["auc", "logloss", "mse", "r2"] {
            assert_eq!(a.get(name), b.get(name), "{name}");
        }
    }

    #[test]
    fn values_at_places_are_those_of_a_full_sort() {
        let mut rng = ochre_core::Rng::new(3);
        for (n, kinds) in [(1, 1.0), (2, 1.0), (5, 2.0), (1000, 3.0), (1000, 1e9), (200_000, 7.0), (200_000, 1e12)] {
            let mut values: Vec<f64> = (0..n).map(|_| (rng.next_f64() * kinds).floor().powi(3) - 5.0).collect();
            if n > 10 {
                (values[7], values[8], values[9]) = (-1e12, 0.0, -0.0);
            }
            let places = [0, n / 3, n / 2, n - 1];
            let found = at_places(&Team::alone(), &values, &places).unwrap();
            values.sort_by(f64::total_cmp);
            assert_eq!(found, places.map(|p| values[p]), "{n} values of {kinds} kinds");
        }
    }

    #[test]
    fn the_sketch_stays_close_to_the_exact_area() {
        let n = 100_000;
        let mut rng = ochre_core::Rng::new(7);
        let p: Vec<f64> = (0..n).map(|_| rng.next_f64()).collect();
        let y: Vec<f64> = p.iter().map(|p| f64::from(rng.next_f64() < *p)).collect();
        let m = binomial(Scores::all(&p, 1), &y, None, &["n".into(), "y".into()], Detail { bins: 0, ..Detail::default() }).unwrap();
        // Mann-Whitney on the ranks.
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
        let pos: f64 = y.iter().sum();
        let ranks: f64 = order.iter().enumerate().filter(|(_, i)| y[**i] == 1.0).map(|(r, _)| r as f64 + 1.0).sum();
        let exact = (ranks - pos * (pos + 1.0) / 2.0) / (pos * (n as f64 - pos));
        assert!((m.get("auc").unwrap() - exact).abs() < 1e-4, "{} {exact}", m.get("auc").unwrap());
    }
}
