//! The design matrix: which coefficient stands for which level or number.

use ochre_core::{CHUNK_ROWS, Column, Result, Team};
use ochre_model::Training;
use ochre_score::Derived;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Expanded predictors, categorical first. Coefficients: levels in order, then numbers, then the intercept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Design {
    /// Predictor (in the training data) of each place.
    pub order: Vec<usize>,
    /// Number of levels of each categorical place.
    pub levels: Vec<usize>,
    /// First coefficient of each categorical place.
    pub offsets: Vec<usize>,
    /// Level that stands for missing values, per categorical place.
    pub modes: Vec<usize>,
    pub means: Vec<f64>,
    /// What stands for a missing number: its mean, unless the user said otherwise.
    pub fills: Vec<f64>,
    /// 1 / standard deviation, or 1 without standardization.
    pub mults: Vec<f64>,
    /// Standard deviations of the numbers.
    pub sigmas: Vec<f64>,
    /// Are the means taken away?
    pub centered: bool,
    pub intercept: bool,
    /// Does the first level of a categorical predictor have a coefficient? With a penalty it may.
    pub all_levels: bool,
}

/// Puts categories with more levels first, by exchanges as the reference makes them: they say in which order categories stand that
/// have as many.
pub fn by_levels(categories: &mut [usize], levels: impl Fn(usize) -> usize) {
    for i in 0..categories.len() {
        for j in i + 1..categories.len() {
            if levels(categories[i]) < levels(categories[j]) {
                categories.swap(i, j);
            }
        }
    }
}

/// Columns in the order of the reference: categories by their numbers of levels, then the others.
pub fn categories_first(columns: &[Column]) -> Vec<usize> {
    let (mut order, others): (Vec<usize>, Vec<usize>) = (0..columns.len()).partition(|&i| columns[i].is_enum());
    by_levels(&mut order, |i| columns[i].domain().map_or(0, |d| d.len()));
    order.extend(others);
    order
}

/// The place of a level without a coefficient.
pub const NO_PLACE: u32 = u32::MAX;

impl Design {
    /// A design over those of `columns` that enter; they are the predictors of `train`, after those that are `made` from them.
    pub fn new(
        train: &Training,
        columns: &[Column],
        made: &[Derived],
        entering: &[usize],
        standardize: bool,
        intercept: bool,
        all_levels: bool,
    ) -> Result<Design> {
        let skip = usize::from(!all_levels);
        let mut cats: Vec<usize> = entering.iter().copied().filter(|&i| columns[i].is_enum()).collect();
        let count = |i: usize| columns[i].domain().map_or(0, |d| d.len());
        // The level that pairs with a first level share is none.
        let shared = |i: usize| usize::from(!all_levels && matches!(made.get(i), Some(Derived::Pair { .. })));
        by_levels(&mut cats, |i| count(i) - shared(i));
        let nums: Vec<usize> = entering.iter().copied().filter(|&i| !columns[i].is_enum()).collect();
        let levels: Vec<usize> = cats.iter().map(|&i| count(i)).collect();
        let mut offsets = vec![0];
        for l in &levels {
            offsets.push(offsets[offsets.len() - 1] + l.saturating_sub(skip));
        }
        let mut modes = vec![];
        for &i in &cats {
            let mut counts = vec![0.0; count(i).max(1)];
            let parts = by_chunk(&columns[i], |first, values| {
                let mut counts = vec![0.0; count(i).max(1)];
                for (r, v) in values.iter().enumerate().filter(|(_, v)| !v.is_nan()) {
                    counts[*v as usize] += f64::from(fills_gaps(train, first + r));
                }
                counts
            })?;
            for part in parts {
                counts.iter_mut().zip(part).for_each(|(a, b)| *a += b);
            }
            modes.push(ochre_model::metrics::argmax(&counts));
        }
        let (mut means, mut mults, mut sigmas, mut fills) = (vec![], vec![], vec![], vec![]);
        for &i in &nums {
            // What is only told is told of all rows alike, as in the reference.
            let (mean, sigma) = moments(&columns[i], |r| if train.weighted && standardize { train.weight(r) } else { 1.0 })?;
            fills.push(if train.weighted { moments(&columns[i], |r| f64::from(fills_gaps(train, r)))?.0 } else { mean });
            means.push(mean);
            sigmas.push(sigma);
            mults.push(if standardize && sigma > 0.0 { 1.0 / sigma } else { 1.0 });
        }
        let order = cats.into_iter().chain(nums).collect();
        Ok(Design { order, levels, offsets, modes, means, fills, mults, sigmas, centered: standardize, intercept, all_levels })
    }

    /// Number of coefficients, intercept included (its place is kept when there is none).
    pub fn len(&self) -> usize {
        self.offsets[self.levels.len()] + self.means.len() + 1
    }

    /// Names of the coefficients without the intercept, given those of the columns.
    pub fn names(&self, names: &[String], columns: &[Column]) -> Vec<String> {
        let mut out = vec![];
        for (c, &i) in self.order.iter().enumerate() {
            match columns[i].domain().filter(|_| c < self.levels.len()) {
                Some(d) => out.extend(d.iter().skip(usize::from(!self.all_levels)).map(|l| format!("{}.{l}", names[i]))),
                None => out.push(names[i].clone()),
            }
        }
        out
    }

    /// First coefficient that belongs to a number.
    pub fn numbers_at(&self) -> usize {
        self.offsets[self.levels.len()]
    }

    /// By what a coefficient on the standardized scale is multiplied to give that on the original one.
    pub fn mult(&self, i: usize) -> f64 {
        let at = self.numbers_at();
        if (at..at + self.mults.len()).contains(&i) { self.mults[i - at] } else { 1.0 }
    }

    /// Coefficients on the scale of the design, from those on the original one.
    pub fn standardized(&self, original: &[f64]) -> Vec<f64> {
        self.scaled(original, self.centered, &self.mults.iter().map(|m| 1.0 / m).collect::<Vec<_>>())
    }

    /// What the coefficients would be had the numbers been standardized.
    pub fn as_if_standardized(&self, original: &[f64]) -> Vec<f64> {
        self.scaled(original, true, &self.sigmas)
    }

    fn scaled(&self, original: &[f64], centered: bool, factors: &[f64]) -> Vec<f64> {
        let mut out = original.to_vec();
        let (at, last) = (self.numbers_at(), original.len() - 1);
        for (i, (mean, factor)) in self.means.iter().zip(factors).enumerate() {
            out[at + i] = original[at + i] * factor;
            if centered {
                out[last] += original[at + i] * mean;
            }
        }
        out
    }

    /// Coefficients on the original scale.
    pub fn original(&self, beta: &[f64]) -> Vec<f64> {
        let mut out = beta.to_vec();
        let at = self.offsets[self.levels.len()];
        let last = out.len() - 1;
        for (i, (mean, mult)) in self.means.iter().zip(&self.mults).enumerate() {
            out[at + i] = beta[at + i] * mult;
            if self.centered {
                out[last] -= out[at + i] * mean;
            }
        }
        out
    }

    /// The level that a value of a categorical column stands for: missing and unseen ones for the most frequent.
    #[inline(always)]
    fn code(&self, c: usize, v: f64) -> usize {
        if v.is_nan() || v as usize >= self.levels[c] { self.modes[c] } else { v as usize }
    }

    /// The non-zero entries of one row: (coefficient, value), intercept last.
    #[inline]
    pub fn row(&self, columns: &[&[f64]], r: usize, out: &mut Vec<(usize, f64)>) {
        self.row_of(columns, r, 0..self.means.len(), out);
    }

    /// The same, with some of the numbers only.
    #[inline]
    pub fn row_of(&self, columns: &[&[f64]], r: usize, numbers: impl Iterator<Item = usize>, out: &mut Vec<(usize, f64)>) {
        out.clear();
        let skip = usize::from(!self.all_levels);
        for c in 0..self.levels.len() {
            let v = columns[c][r];
            let code = self.code(c, v);
            if code >= skip {
                out.push((self.offsets[c] + code - skip, 1.0));
            }
        }
        let at = self.offsets[self.levels.len()];
        for i in numbers {
            out.push((at + i, self.number(i, columns[self.levels.len() + i][r])));
        }
        if self.intercept {
            out.push((at + self.means.len(), 1.0));
        }
    }

    /// Where each row's level of each categorical column stands among the column's coefficients.
    pub fn places(&self, columns: &[&[f64]], rows: usize) -> Vec<Vec<u32>> {
        let skip = usize::from(!self.all_levels);
        let place = |c: usize, v: f64| {
            let code = self.code(c, v);
            if code >= skip { (code - skip) as u32 } else { NO_PLACE }
        };
        (0..self.levels.len()).map(|c| columns[c][..rows].iter().map(|v| place(c, *v)).collect()).collect()
    }

    /// Adds the weighted products of each categorical column with itself, those before it and all that come after, to the lower
    /// half of a square matrix, row-major. Cost: a read of two codes and a weight for each row and pair, and an addition to a
    /// table of (levels x levels) that stays in the cache, where the whole matrix would not.
    pub fn category_products(&self, columns: &[&[f64]], places: &[Vec<u32>], weights: &[f64], out: &mut [f64]) {
        let (skip, size, at) = (usize::from(!self.all_levels), self.len(), self.numbers_at());
        let widths: Vec<usize> = self.levels.iter().map(|l| l.saturating_sub(skip)).collect();
        let mut table = vec![];
        for (c, own) in places.iter().enumerate() {
            let first = self.offsets[c];
            for (i, w) in own.iter().zip(weights).filter(|(i, _)| **i != NO_PLACE) {
                let i = first + *i as usize;
                out[i * size + i] += w;
            }
            for (b, other) in places[..c].iter().enumerate() {
                let width = widths[b];
                table.clear();
                table.resize(widths[c] * width, 0.0);
                for ((i, j), w) in own.iter().zip(other).zip(weights) {
                    if *i != NO_PLACE && *j != NO_PLACE {
                        table[*i as usize * width + *j as usize] += w;
                    }
                }
                for (i, sums) in table.chunks(width.max(1)).enumerate() {
                    let from = (first + i) * size + self.offsets[b];
                    out[from..from + sums.len()].iter_mut().zip(sums).for_each(|(o, s)| *o += s);
                }
            }
            for k in 0..=self.means.len() {
                if k == self.means.len() && !self.intercept {
                    continue;
                }
                let from = (at + k) * size + first;
                let sums = &mut out[from..from + widths[c]];
                let rows = own.iter().zip(weights).enumerate().filter(|(_, (i, w))| **i != NO_PLACE && **w != 0.0);
                match columns.get(self.levels.len() + k).filter(|_| k < self.means.len()) {
                    Some(values) => rows.for_each(|(r, (i, w))| sums[*i as usize] += w * self.number(k, values[r])),
                    None => rows.for_each(|(_, (i, w))| sums[*i as usize] += w),
                }
            }
        }
    }

    /// A number as it stands in the design.
    #[inline]
    pub fn number(&self, i: usize, v: f64) -> f64 {
        let v = if v.is_nan() { self.fills[i] } else { v };
        (if self.centered { v - self.means[i] } else { v }) * self.mults[i]
    }

    /// Adds the design's columns, each row times its weight, to sums: column by column, as the data lie.
    pub fn weighted_sums(&self, columns: &[&[f64]], weights: &[f64], out: &mut [f64]) {
        let skip = usize::from(!self.all_levels);
        for c in 0..self.levels.len() {
            for (v, w) in columns[c].iter().zip(weights) {
                let code = self.code(c, *v);
                if code >= skip {
                    out[self.offsets[c] + code - skip] += w;
                }
            }
        }
        let at = self.numbers_at();
        for i in 0..self.means.len() {
            let column = columns[self.levels.len() + i];
            out[at + i] += column.iter().zip(weights).map(|(v, w)| w * self.number(i, *v)).sum::<f64>();
        }
        if self.intercept {
            out[at + self.means.len()] += weights.iter().sum::<f64>();
        }
    }
}

/// Does a row count in what stands for missing values? All do, whatever they weigh, as in the reference, but those that a fold
/// holds out.
pub fn fills_gaps(train: &Training, row: usize) -> bool {
    !train.weighted || train.weight(row) > 0.0 || train.y.get(row).is_some_and(|y| y.is_nan())
}

/// Mean and sample standard deviation over present values with weights by row.
pub fn moments(column: &Column, weight: impl Fn(usize) -> f64 + Sync) -> Result<(f64, f64)> {
    let sums = |f: &(dyn Fn(f64, f64) -> [f64; 2] + Sync)| -> Result<[f64; 2]> {
        let parts = by_chunk(column, |first, values| {
            let mut s = [0.0; 2];
            for (r, v) in values.iter().enumerate().filter(|(_, v)| !v.is_nan()) {
                let add = f(*v, weight(first + r));
                s = [s[0] + add[0], s[1] + add[1]];
            }
            s.to_vec()
        })?;
        Ok(parts.iter().fold([0.0; 2], |s, p| [s[0] + p[0], s[1] + p[1]]))
    };
    let [n, sum] = sums(&|v, w| [w, w * v])?;
    let mean = sum / n;
    let [m2, rows] = sums(&|v, w| [w * (v - mean) * (v - mean), f64::from(w > 0.0)])?;
    // The weighted mean of squares, corrected by the number of rows and not by their weight.
    Ok((mean, (m2 / n * rows / (rows - 1.0)).sqrt()))
}

/// What each chunk of a column yields, in order: `f` gets its first row and its values. Nodes take their own chunks.
fn by_chunk(column: &Column, f: impl Fn(usize, &[f64]) -> Vec<f64> + Sync) -> Result<Vec<Vec<f64>>> {
    let team = Team::for_rows(column.rows());
    let mine = team
        .mine(column.chunks().len())
        .into_par_iter()
        .map(|k| Ok(f(k * CHUNK_ROWS, &ochre_core::f64s(&column.chunks()[k].data()?))))
        .collect::<Result<Vec<_>>>()?;
    Ok(team.gather(mine)?.into_iter().flatten().collect())
}
