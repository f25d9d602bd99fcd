//! Generalized linear models: the linear predictor over expanded columns, and the inverse link.

use crate::trees::softmax;

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum LinkFunction {
    Identity,
    Logit,
    Log,
    Inverse,
    /// Multinomial: one linear predictor per class.
    Softmax,
    /// Proportional odds: the share of classes up to each but the last is the logistic function of its predictor.
    Ordinal,
    /// A power of the mean.
    Power,
}

impl LinkFunction {
    pub fn inverse(self, eta: f64) -> f64 {
        match self {
            LinkFunction::Identity | LinkFunction::Softmax | LinkFunction::Ordinal | LinkFunction::Power => eta,
            LinkFunction::Logit => 1.0 / (1.0 + (-eta).exp()),
            LinkFunction::Log => eta.exp(),
            LinkFunction::Inverse => {
                let x = if eta < 0.0 { eta.min(-1e-5) } else { eta.max(1e-5) };
                1.0 / x
            }
        }
    }
}

/// Predictors come categorical first, then numeric.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct GlmScorer {
    pub link: LinkFunction,
    /// Classes of a classification; 1 for a regression.
    pub classes: usize,
    /// Per categorical predictor: number of levels, and the level that stands for missing and unseen values; one past the
    /// last for none.
    pub levels: Vec<(usize, usize)>,
    /// Whether the first level of each categorical predictor has a coefficient.
    pub all_levels: bool,
    /// Value that stands for missing, per numeric predictor.
    pub means: Vec<f64>,
    /// Coefficients on the original scale, intercept last; one set, or one per class.
    pub beta: Vec<Vec<f64>>,
    /// Exponent of the tweedie link.
    #[serde(default)]
    pub link_power: f64,
    /// The models along the path of penalties, this one among them.
    #[serde(default)]
    pub path: Vec<PathStep>,
    /// Predictors made from others. When there are any, predictors come in any order, and `places` says which of these
    /// (derived ones first, then those given) stands in each place.
    #[serde(default)]
    pub derived: Vec<Derived>,
    #[serde(default)]
    pub places: Vec<usize>,
    /// What derived predictors that are smooth functions are made of, in their order.
    #[serde(default)]
    pub smooths: Vec<crate::smooth::Smooth>,
    /// Coefficients that were fitted but do not count in predictions.
    #[serde(default)]
    pub silent: Vec<usize>,
    /// Covariance of the coefficients, row by row, when their statistics were asked for.
    #[serde(default)]
    pub covariance: Vec<f64>,
    /// Rows with a missing predictor get no prediction.
    #[serde(default)]
    pub skips_missing: bool,
    /// The offset was used in fitting, but does not count in predictions.
    #[serde(default)]
    pub without_offset: bool,
}

/// A predictor made from others, which it names by their places among those given.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub enum Derived {
    /// The product of two numbers.
    Product(usize, usize),
    /// A number where a category is at a level, else 0. A missing category is at its most frequent level, `mode`.
    At { category: usize, mode: usize, level: usize, number: usize },
    /// A pair of levels of two categories, as a category: the code of each pair, by `first * width + second`.
    Pair { first: usize, second: usize, width: usize, codes: Vec<Option<u32>> },
    /// A spline of a number.
    Spline { column: usize, spline: Spline },
    /// A thin plate of numbers.
    Plate { columns: Vec<usize>, plate: Plate },
    /// The leaf of a tree that a row comes to, as a category: the code and the name of each.
    Leaf { tree: crate::Tree, names: Vec<String> },
    /// The last of some rules that holds, as a category: their names by code.
    Rules { rules: Vec<crate::rules::Rule>, names: Vec<String> },
}

/// A polynomial for each interval between knots.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Spline {
    pub knots: Vec<f64>,
    /// Coefficients by rising powers of the distance from the interval's first knot.
    pub pieces: Vec<Vec<f64>>,
    /// Values below the first and above the last knot; without them the outer polynomials go on.
    pub outside: Option<(f64, f64)>,
}

impl Spline {
    pub fn value(&self, x: f64) -> f64 {
        if x.is_nan() {
            return f64::NAN;
        }
        let (first, last) = (self.knots[0], self.knots[self.knots.len() - 1]);
        if let Some((below, above)) = self.outside {
            if x < first {
                return below;
            }
            if x > last {
                return above;
            }
        }
        let at = self.knots[1..self.knots.len() - 1].partition_point(|k| *k <= x);
        let t = x - self.knots[at];
        self.pieces[at].iter().rev().fold(0.0, |v, c| v * t + c)
    }
}

/// A weighted sum of radial functions of the distances to knots, and of products of powers (Wood 2003, eq. 4).
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Plate {
    /// What is taken from each number, and by what the rest is multiplied.
    pub shifts: Vec<f64>,
    pub factors: Vec<f64>,
    /// Positions of the knots, on that scale.
    pub knots: Vec<Vec<f64>>,
    pub weights: Vec<f64>,
    /// Exponents of each number, and the weight of their product.
    pub powers: Vec<(Vec<i32>, f64)>,
    /// Factor of the radial function, and its exponent; even exponents come with a logarithm.
    pub radial: (f64, i32),
}

impl Plate {
    pub fn radial(&self, squared: f64) -> f64 {
        let (factor, exponent) = self.radial;
        if squared == 0.0 {
            return 0.0;
        }
        let r = squared.sqrt();
        factor * r.powi(exponent) * if exponent % 2 == 0 { r.ln() } else { 1.0 }
    }

    pub fn value(&self, x: impl Fn(usize) -> f64) -> f64 {
        let at: Vec<f64> = (0..self.shifts.len()).map(|i| (x(i) - self.shifts[i]) * self.factors[i]).collect();
        let near = |knot: &Vec<f64>| knot.iter().zip(&at).map(|(k, x)| (x - k) * (x - k)).sum::<f64>();
        let radial: f64 = self.knots.iter().zip(&self.weights).map(|(k, w)| w * self.radial(near(k))).sum();
        radial + self.powers.iter().map(|(e, w)| w * e.iter().zip(&at).map(|(e, x)| x.powi(*e)).product::<f64>()).sum::<f64>()
    }
}

impl Derived {
    /// The predictors that it is made of.
    pub fn sources(&self) -> Vec<usize> {
        match self {
            Derived::Product(a, b) => vec![*a, *b],
            Derived::At { category, number, .. } => vec![*category, *number],
            Derived::Pair { first, second, .. } => vec![*first, *second],
            Derived::Spline { column, .. } => vec![*column],
            Derived::Plate { columns, .. } => columns.clone(),
            Derived::Rules { rules, .. } => {
                let all = rules.iter().flat_map(|r| &r.conditions).map(|c| c.column);
                all.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
            }
            Derived::Leaf { tree, .. } => {
                let inner = tree.nodes.iter().filter(|n| n.split != crate::Split::Leaf);
                inner.map(|n| n.column as usize).collect::<std::collections::BTreeSet<_>>().into_iter().collect()
            }
        }
    }

    pub fn value(&self, columns: &[&[f64]], row: usize) -> f64 {
        match self {
            Derived::Product(a, b) => columns[*a][row] * columns[*b][row],
            Derived::At { category, mode, level, number } => {
                let v = columns[*category][row];
                let at = if v.is_nan() { *mode } else { v as usize };
                if at == *level { columns[*number][row] } else { 0.0 }
            }
            Derived::Pair { first, second, width, codes } => {
                let (a, b) = (columns[*first][row], columns[*second][row]);
                if a.is_nan() || b.is_nan() || b as usize >= *width {
                    return f64::NAN;
                }
                codes.get(a as usize * width + b as usize).copied().flatten().map_or(f64::NAN, f64::from)
            }
            Derived::Spline { column, spline } => spline.value(columns[*column][row]),
            Derived::Plate { columns: own, plate } => plate.value(|i| columns[own[i]][row]),
            // The value of a leaf is its code here.
            Derived::Leaf { tree, .. } => f64::from(tree.leaf(columns, row).value),
            Derived::Rules { rules, .. } => {
                rules.iter().rev().find(|r| r.holds(|c| columns[c][row])).map_or(f64::NAN, |r| f64::from(r.code))
            }
        }
    }
}

/// One model of a regularization path.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct PathStep {
    pub alpha: f64,
    pub lambda: f64,
    /// Share of the null deviance that is explained.
    pub explained_train: f64,
    pub explained_valid: Option<f64>,
    /// Coefficients, those of one class after the other; on the original and on the standardized scale.
    pub beta: Vec<f64>,
    pub standardized: Vec<f64>,
    /// Standard errors, z and p values, when they were asked for.
    pub statistics: Option<[Vec<f64>; 3]>,
}

impl GlmScorer {
    pub fn width(&self) -> usize {
        self.classes.max(1)
    }

    /// The coefficients that predictions use.
    pub fn heard(&self) -> Vec<Vec<f64>> {
        let mut beta = self.beta.clone();
        for b in &mut beta {
            self.silent.iter().for_each(|&i| b[i] = 0.0);
        }
        beta
    }

    fn eta(&self, beta: &[f64], columns: &[&[f64]], row: usize) -> f64 {
        let skip = usize::from(!self.all_levels);
        let (mut eta, mut at) = (0.0, 0);
        for (c, (levels, missing)) in self.levels.iter().enumerate() {
            let v = columns[c][row];
            if v.is_nan() && self.skips_missing {
                return f64::NAN;
            }
            let code = if v.is_nan() || v as usize >= *levels { *missing } else { v as usize };
            if (skip..*levels).contains(&code) {
                eta += beta[at + code - skip];
            }
            at += levels - skip;
        }
        for (i, mean) in self.means.iter().enumerate() {
            let v = columns[self.levels.len() + i][row];
            if v.is_nan() && self.skips_missing {
                return f64::NAN;
            }
            eta += beta[at + i] * if v.is_nan() { *mean } else { v };
        }
        // Last, as the reference adds it: the same bits come out.
        eta + beta[beta.len() - 1]
    }

    /// Hands the predictors, in the order of their places, to `f`.
    fn placed<R>(&self, columns: &[&[f64]], rows: usize, f: impl FnOnce(&[&[f64]]) -> R) -> R {
        if self.places.is_empty() {
            return f(columns);
        }
        let derived: Vec<Vec<f64>> = self.derived.iter().map(|d| (0..rows).map(|r| d.value(columns, r)).collect()).collect();
        let all: Vec<&[f64]> = derived.iter().map(Vec::as_slice).chain(columns.iter().copied()).collect();
        f(&self.places.iter().map(|&i| all[i]).collect::<Vec<_>>())
    }

    /// Standard errors of the linear predictor of each row: the root of `x'Cx` with the coefficients' covariance C.
    pub fn std_errors(&self, columns: &[&[f64]], out: &mut [f64]) {
        let p = self.beta[0].len();
        let skip = usize::from(!self.all_levels);
        self.placed(columns, out.len(), |columns| {
            let mut x: Vec<(usize, f64)> = vec![];
            for (row, slot) in out.iter_mut().enumerate() {
                x.clear();
                let mut at = 0;
                for (c, (levels, missing)) in self.levels.iter().enumerate() {
                    let v = columns[c][row];
                    let code = if v.is_nan() || v as usize >= *levels { *missing } else { v as usize };
                    x.extend((skip..*levels).contains(&code).then(|| (at + code - skip, 1.0)));
                    at += levels - skip;
                }
                for (i, mean) in self.means.iter().enumerate() {
                    let v = columns[self.levels.len() + i][row];
                    x.push((at + i, if v.is_nan() { *mean } else { v }));
                }
                x.push((p - 1, 1.0));
                let sum: f64 =
                    x.iter().flat_map(|a| x.iter().map(move |b| (a, b))).map(|(a, b)| a.1 * b.1 * self.covariance[a.0 * p + b.0]).sum();
                *slot = sum.max(0.0).sqrt();
            }
        });
    }

    pub fn score(&self, columns: &[&[f64]], offset: Option<&[f64]>, out: &mut [f64]) {
        let rows = out.len() / self.width();
        self.placed(columns, rows, |columns| self.score_placed(columns, offset, out));
    }

    fn score_placed(&self, columns: &[&[f64]], offset: Option<&[f64]>, out: &mut [f64]) {
        let width = self.width();
        let heard;
        let beta = if self.silent.is_empty() {
            &self.beta
        } else {
            heard = self.heard();
            &heard
        };
        let offset = offset.filter(|_| !self.without_offset);
        let mut f = vec![0.0; self.beta.len()];
        for (row, slot) in out.chunks_mut(width).enumerate() {
            for (e, beta) in f.iter_mut().zip(beta) {
                *e = self.eta(beta, columns, row) + offset.map_or(0.0, |o| o[row]);
            }
            match (self.link, width) {
                (LinkFunction::Softmax, _) => softmax(&f, slot),
                (LinkFunction::Ordinal, _) => {
                    let mut below = 0.0;
                    for (k, p) in slot.iter_mut().enumerate() {
                        let up_to = if k + 1 < width { LinkFunction::Logit.inverse(f[k]) } else { 1.0 };
                        *p = up_to - below;
                        below = up_to;
                    }
                }
                (LinkFunction::Power, _) => slot[0] = f[0].max(1e-300).powf(1.0 / self.link_power),
                (link, 2) => {
                    slot[1] = link.inverse(f[0]);
                    slot[0] = 1.0 - slot[1];
                }
                (link, _) => slot[0] = link.inverse(f[0]),
            }
        }
    }
}
