//! Metrics of uplift: what a treatment adds to the probability of a response, ranked by prediction (Radcliffe 2007, Gutierrez
//! and Gerardy 2017).

use ochre_schema::{Cell, Table};

/// Curves over the rows in the order of falling predictions, cut at thresholds.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Uplift {
    pub ate: f64,
    pub att: f64,
    pub atc: f64,
    /// Which of the three curves decides: 0 qini, 1 lift, 2 gain.
    pub kind: usize,
    pub domain: Vec<String>,
    pub thresholds: Vec<f64>,
    /// Rows with predictions of at least each threshold.
    pub rows: Vec<i64>,
    /// Qini, lift and gain at each threshold.
    pub curves: [Vec<f64>; 3],
}

pub const KINDS: [&str; 3] = ["qini", "lift", "gain"];
/// Thresholds when the user names no number.
const BINS: usize = 1000;

/// The curve that a user names; the qini curve for AUTO.
pub fn kind_of(name: &str) -> usize {
    KINDS.iter().position(|k| k.eq_ignore_ascii_case(name)).unwrap_or(0)
}

/// Quantiles of predictions, falling, each once.
pub fn thresholds(predictions: &[f64], bins: i32) -> Vec<f64> {
    let mut sorted: Vec<f64> = predictions.iter().copied().filter(|v| !v.is_nan()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    if sorted.is_empty() {
        return vec![];
    }
    let bins = if bins > 0 { bins as usize } else { BINS };
    let quantile = |p: f64| {
        let at = p * (sorted.len() - 1) as f64;
        let (low, share) = (at.floor() as usize, at.fract());
        let next = sorted[(low + 1).min(sorted.len() - 1)];
        sorted[low] + share * (next - sorted[low])
    };
    let mut out: Vec<f64> = (0..bins).rev().map(|i| quantile(i as f64 / bins as f64)).collect();
    out.dedup();
    out
}

impl Uplift {
    /// Measures predictions of rows whose treatment and response are known; rows with a missing one do not count.
    pub fn new(predictions: &[f64], treated: &[f64], y: &[f64], thresholds: Vec<f64>, kind: usize, domain: &[String]) -> Uplift {
        let mut rows: Vec<(f64, bool, bool)> = predictions
            .iter()
            .zip(treated)
            .zip(y)
            .filter(|((p, t), y)| !p.is_nan() && !t.is_nan() && !y.is_nan())
            .map(|((p, t), y)| (*p, *t > 0.0, *y > 0.0))
            .collect();
        rows.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mean = |side: Option<bool>| {
            let kept = || rows.iter().filter(|r| side.is_none_or(|s| r.1 == s));
            kept().map(|r| r.0).sum::<f64>() / kept().count() as f64
        };
        let mut out =
            Uplift { ate: mean(None), att: mean(Some(true)), atc: mean(Some(false)), kind, domain: domain.to_vec(), ..Uplift::default() };
        // Rows and responses so far, with treatment and without.
        let (mut at, mut n, mut yes) = (0, [0.0f64; 2], [0.0f64; 2]);
        for t in &thresholds {
            while at < rows.len() && rows[at].0 >= *t {
                let side = usize::from(!rows[at].1);
                n[side] += 1.0;
                yes[side] += f64::from(u8::from(rows[at].2));
                at += 1;
            }
            // Nothing is compared while only one kind of rows has come.
            let lift = if n[0] > 0.0 && n[1] > 0.0 { yes[0] / n[0] - yes[1] / n[1] } else { 0.0 };
            out.rows.push(at as i64);
            out.curves[0].push(yes[0] - if n[1] > 0.0 { yes[1] * n[0] / n[1] } else { 0.0 });
            out.curves[1].push(lift);
            out.curves[2].push(lift * (n[0] + n[1]));
        }
        out.thresholds = thresholds;
        out
    }

    /// A curve divided by its last value, where that is more than 1.
    fn normalized(&self, kind: usize) -> Vec<f64> {
        let last = self.curves[kind].last().map_or(f64::NAN, |v| v.abs());
        self.curves[kind].iter().map(|v| if last > 1.0 { v / last } else { *v }).collect()
    }

    /// The straight line to a curve's last value.
    fn random(&self, kind: usize) -> Vec<f64> {
        let (last, all) = (self.curves[kind].last().copied().unwrap_or(f64::NAN), self.rows.last().map_or(f64::NAN, |n| *n as f64));
        self.rows.iter().map(|n| *n as f64 / all * last).collect()
    }

    /// The mean of a curve over the rows, each taking the value at its threshold, and one that has none.
    fn area(&self, values: &[f64]) -> f64 {
        let before = std::iter::once(&0).chain(&self.rows);
        let sum: f64 = values.iter().zip(&self.rows).zip(before).map(|((v, n), b)| v * (n - b) as f64).sum();
        self.rows.last().map_or(f64::NAN, |n| sum / (n + 1) as f64)
    }

    pub fn auuc(&self, kind: usize) -> f64 {
        self.area(&self.curves[kind])
    }

    pub fn auuc_normalized(&self, kind: usize) -> f64 {
        self.area(&self.normalized(kind))
    }

    /// What a curve has above the line of a random order.
    pub fn excess(&self, kind: usize) -> f64 {
        self.auuc(kind) - self.area(&self.random(kind))
    }

    pub fn get(&self, name: &str) -> Option<f64> {
        Some(match name.to_ascii_lowercase().as_str() {
            "ate" => self.ate,
            "att" => self.att,
            "atc" => self.atc,
            "auuc" => self.auuc(self.kind),
            "auuc_normalized" => self.auuc_normalized(self.kind),
            "qini" | "qini_value" => self.excess(0),
            "auuc_nbins" => self.thresholds.len() as f64,
            _ => return None,
        })
    }

    pub fn scores_table(&self) -> Table {
        let mut t = Table::new("Metrics for Thresholds", "Cumulative Uplift metrics for a given percentile");
        let doubles = |v: &[f64]| v.iter().map(|v| Cell::Double(*v)).collect::<Vec<_>>();
        t = t.named("thresholds", "thresholds", "double", "%f", doubles(&self.thresholds));
        let sets: [(&str, &dyn Fn(usize) -> Vec<f64>); 3] =
            [("", &|k| self.curves[k].clone()), ("_normalized", &|k| self.normalized(k)), ("_random", &|k| self.random(k))];
        for (suffix, values) in sets {
            for (k, name) in KINDS.iter().enumerate() {
                let name = format!("{name}{suffix}");
                t = t.named(&name, &name, "double", "%f", doubles(&values(k)));
            }
        }
        t.named("n", "n", "long", "%d", self.rows.iter().map(|n| Cell::Long(*n)).collect()).named(
            "idx",
            "idx",
            "int",
            "%d",
            (0..self.rows.len()).map(Cell::from).collect(),
        )
    }

    fn by_kind(&self, name: &str, description: &str, rows: &[(&str, &dyn Fn(usize) -> f64)]) -> Table {
        let labels = || rows.iter().map(|r| Cell::Text(r.0.into())).collect::<Vec<_>>();
        let mut t = Table::new(name, description).named("uplift_type", "uplift_type", "string", "%s", labels());
        for (k, kind) in KINDS.iter().enumerate() {
            t = t.named(kind, kind, "double", "%f", rows.iter().map(|r| Cell::Double(r.1(k))).collect());
        }
        t
    }

    pub fn auuc_table(&self) -> Table {
        self.by_kind(
            &format!("AUUC table (number of bins: {})", self.thresholds.len()),
            "All types of AUUC value",
            &[
                ("AUUC value", &|k| self.auuc(k)),
                ("AUUC normalized", &|k| self.auuc_normalized(k)),
                ("AUUC random value", &|k| self.area(&self.random(k))),
            ],
        )
    }

    pub fn aecu_table(&self) -> Table {
        self.by_kind("AECU values table", "All types of AECU value", &[("AECU value", &|k| self.excess(k))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four rows by hand: treated and untreated in turn, the better half first.
    #[test]
    fn curves_are_cumulative() {
        let p = [0.9, 0.9, 0.1, 0.1];
        let u = Uplift::new(&p, &[1.0, 0.0, 1.0, 0.0], &[1.0, 0.0, 1.0, 1.0], thresholds(&p, 2), 0, &[]);
        assert_eq!(u.thresholds, [0.5, 0.1]);
        assert_eq!(u.rows, [2, 4]);
        assert_eq!(u.curves, [vec![1.0, 1.0], vec![1.0, 0.5], vec![2.0, 2.0]]);
        // Two rows at 1 and two at 1, over five; the line of a random order has 0.5 and 1.
        assert_eq!((u.ate, u.auuc(0)), (0.5, 0.8));
        assert!((u.excess(0) - 0.2).abs() < 1e-15);
        assert_eq!(u.auuc_normalized(2), 0.8);
    }
}
