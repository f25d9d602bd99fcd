//! How a model treats groups of people: confusion and areas under the curves for each combination of some protected columns,
//! each beside those of a reference group (the adverse impact ratio, AIR), and whether being selected depends on the group
//! (Fisher's exact test, 1922).

use crate::metrics::{self, CRITERIA, Detail, Kind};
use crate::{Category, Model};
use ochre_core::{Column, Error, Frame, Node, Result};
use std::collections::BTreeMap;

pub struct Ask<'a> {
    pub protected: &'a [String],
    /// A level of each protected column; the largest group when there are none.
    pub reference: &'a [String],
    /// The class of the response that is good to get.
    pub favorable: &'a str,
}

/// Measures of a group, in the order of the table.
const MEASURES: [&str; 19] = [
    "tp",
    "fp",
    "tn",
    "fn",
    "total",
    "relativeSize",
    "accuracy",
    "precision",
    "f1",
    "tpr",
    "tnr",
    "fpr",
    "fnr",
    "auc",
    "aucpr",
    "gini",
    "selected",
    "selectedRatio",
    "logloss",
];
/// Measures of size, of which a ratio says nothing.
const SIZES: [&str; 2] = ["total", "relativeSize"];

struct Group {
    levels: Vec<usize>,
    /// By the order of the measures.
    measures: Vec<f64>,
    curve: metrics::Thresholds,
}

impl Group {
    fn get(&self, name: &str) -> f64 {
        self.measures[MEASURES.iter().position(|m| *m == name).expect("a measure")]
    }
}

/// Logarithms of factorials up to `n`.
fn log_factorials(n: usize) -> Vec<f64> {
    let mut out = vec![0.0; n + 1];
    for i in 1..=n {
        out[i] = out[i - 1] + (i as f64).ln();
    }
    out
}

/// Fisher's exact test of two groups of which `a` and `b` of `m` and `n` were selected: the probability of all tables that are at
/// most as likely as this one.
pub fn fisher(a: usize, m: usize, b: usize, n: usize) -> f64 {
    let log = log_factorials(m + n);
    let choose = |n: usize, k: usize| log[n] - log[k] - log[n - k];
    let selected = a + b;
    let likely = |x: usize| choose(m, x) + choose(n, selected - x) - choose(m + n, selected);
    let own = likely(a);
    let range = selected.saturating_sub(n)..=selected.min(m);
    // Rounding must not tell tables apart that are equally likely.
    range.map(likely).filter(|l| *l <= own + 1e-7).map(f64::exp).sum::<f64>().min(1.0)
}

impl Model {
    /// An overview with a row for each group that occurs, and each group's metrics by thresholds; frames and their names.
    pub fn fairness(&self, node: &Node, frame: &Frame, ask: &Ask<'_>) -> Result<Vec<(String, Frame)>> {
        if self.category != Category::Binomial {
            return Err(Error::invalid("Model has to be a binomial model!"));
        }
        let classes = self.classes();
        let favorable = classes.iter().position(|c| c == ask.favorable);
        let favorable = favorable.ok_or_else(|| {
            Error::invalid(format!(
                "Favourable class is not present in the response! '{}' is none of {}",
                ask.favorable,
                classes.join(", ")
            ))
        })?;
        let mut columns = vec![];
        for name in ask.protected {
            let column = frame.by_name(name).ok_or_else(|| Error::invalid(format!("{name} was not found in the frame!")))?;
            let domain = column.domain().cloned().ok_or_else(|| Error::invalid(format!("{name} has to be a categorical column!")))?;
            columns.push((column, domain));
        }
        if columns.is_empty() {
            return Err(Error::invalid("protected_columns is required: the columns whose groups are compared"));
        }
        if !ask.reference.is_empty() && ask.reference.len() != columns.len() {
            return Err(Error::invalid(format!(
                "the reference names {} levels for {} protected columns; name one of each",
                ask.reference.len(),
                columns.len()
            )));
        }
        let mut reference = vec![];
        for ((level, (_, domain)), name) in ask.reference.iter().zip(&columns).zip(ask.protected) {
            let found = domain.iter().position(|l| l == level);
            reference.push(found.ok_or_else(|| {
                Error::invalid(format!("Reference group is not present in the protected column: '{name}' has no level '{level}'"))
            })?);
        }
        let response = self.response.as_ref().map(|r| r.name.clone()).unwrap_or_default();
        let actual =
            frame.by_name(&response).ok_or_else(|| Error::invalid(format!("the frame has no column '{response}', the response")))?;
        let own = actual.domain().cloned().ok_or_else(|| Error::invalid(format!("the column '{response}' has to be categorical")))?;
        let _room = node.ledger.reserve("groups of rows", (8 * frame.rows() * (columns.len() + 3)) as u64)?;
        let actual = actual.to_f64()?;
        let predicted = self.predict(node, frame, &mut |_| {})?;
        let (labels, chances) = (predicted.column(0).to_f64()?, predicted.column(1 + favorable).to_f64()?);
        let protected = columns.iter().map(|c| c.0.to_f64()).collect::<Result<Vec<_>>>()?;
        // Groups in the order of their levels, the first column's changing fastest.
        let mut rows: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
        for r in 0..frame.rows() {
            if actual[r].is_nan() || protected.iter().any(|p| p[r].is_nan()) {
                continue;
            }
            rows.entry(protected.iter().rev().map(|p| p[r] as usize).collect()).or_default().push(r);
        }
        let counted: usize = rows.values().map(Vec::len).sum();
        let mut groups = vec![];
        for (levels, rows) in rows {
            let is_good: Vec<f64> = rows.iter().map(|&r| f64::from(u8::from(own[actual[r] as usize] == ask.favorable))).collect();
            let chance: Vec<f64> = rows.iter().map(|&r| chances[r]).collect();
            let measured = node.runner.install(|| {
                metrics::binomial(
                    metrics::Scores::all(&chance, 1),
                    &is_good,
                    None,
                    &["0".into(), "1".into()],
                    Detail { bins: 0, ..Detail::default() },
                )
            })?;
            let Kind::Binomial(b) = measured.kind else { return Err(Error::Internal("metrics of another kind".into())) };
            let mut cells = [[0.0; 2]; 2];
            for (&r, y) in rows.iter().zip(&is_good) {
                cells[usize::from(*y == 1.0)][usize::from(labels[r] == favorable as f64)] += 1.0;
            }
            let [[tn, fp], [fn_, tp]] = cells;
            let total = rows.len() as f64;
            let measures = vec![
                tp,
                fp,
                tn,
                fn_,
                total,
                total / counted as f64,
                (tp + tn) / total,
                tp / (tp + fp),
                2.0 * tp / (2.0 * tp + fp + fn_),
                tp / (tp + fn_),
                tn / (tn + fp),
                fp / (tn + fp),
                fn_ / (tp + fn_),
                b.auc,
                b.pr_auc,
                2.0 * b.auc - 1.0,
                tp + fp,
                (tp + fp) / total,
                b.logloss,
            ];
            groups.push(Group { levels: levels.into_iter().rev().collect(), measures, curve: b.curve });
        }
        if reference.is_empty() {
            let largest = groups.iter().max_by(|a, b| a.get("total").total_cmp(&b.get("total")));
            reference = largest.map(|g| g.levels.clone()).unwrap_or_default();
        }
        let base = groups.iter().position(|g| g.levels == reference);
        let base =
            base.ok_or_else(|| Error::invalid(format!("no row of the frame belongs to the reference group {}", ask.reference.join(", "))))?;
        let of = |f: &dyn Fn(&Group) -> f64| Column::from_f64(&node.ledger, &groups.iter().map(f).collect::<Vec<_>>());
        let (mut names, mut out) = (ask.protected.to_vec(), vec![]);
        for (i, (_, domain)) in columns.iter().enumerate() {
            let codes: Vec<f64> = groups.iter().map(|g| g.levels[i] as f64).collect();
            out.push(Column::numeric(&node.ledger, ochre_core::Kind::Enum(domain.clone()), &codes)?);
        }
        for name in MEASURES {
            names.push(name.to_string());
            out.push(of(&|g| g.get(name))?);
        }
        for name in MEASURES.iter().filter(|m| !SIZES.contains(m)) {
            names.push(format!("AIR_{name}"));
            out.push(of(&|g| g.get(name) / groups[base].get(name))?);
        }
        let size = |g: &Group, name: &str| g.get(name) as usize;
        names.push("p.value".into());
        out.push(of(&|g| {
            let b = &groups[base];
            fisher(size(g, "selected"), size(g, "total"), size(b, "selected"), size(b, "total"))
        })?);
        let mut frames = vec![("overview".to_string(), Frame::new(names, out)?)];
        for g in &groups {
            let texts: Vec<&str> = g.levels.iter().zip(&columns).map(|(l, c)| c.1[*l].as_str()).collect();
            let mut out = vec![Column::from_f64(&node.ledger, &g.curve.thresholds)?];
            let mut names = vec!["Threshold".to_string()];
            for (name, _, f) in CRITERIA {
                let values: Vec<f64> = (0..g.curve.tps.len())
                    .map(|i| {
                        let (tp, fp, fn_, tn) = g.curve.counts(i);
                        f(tp, fp, fn_, tn)
                    })
                    .collect();
                names.push(name.to_string());
                out.push(Column::from_f64(&node.ledger, &values)?);
            }
            names.push("idx".into());
            out.push(Column::from_f64(&node.ledger, &(0..g.curve.tps.len()).map(|i| i as f64).collect::<Vec<_>>())?);
            frames.push((format!("thresholds_and_metrics_{}", texts.join(",")), Frame::new(names, out)?));
        }
        Ok(frames)
    }
}

#[cfg(test)]
mod tests {
    use super::fisher;

    /// Values of scipy.stats.fisher_exact.
    #[test]
    fn fishers_test_is_scipys() {
        for (table, expect) in [
            ((2, 2, 142, 307), 0.2163661581137309),
            ((15, 30, 142, 307), 0.7060721978599949),
            ((29, 34, 142, 307), 1.555244113103503e-05),
            ((5, 6, 142, 307), 0.10269831435503289),
        ] {
            let (a, m, b, n) = table;
            assert!((fisher(a, m, b, n) / expect - 1.0).abs() < 1e-9, "{table:?}");
        }
    }
}
