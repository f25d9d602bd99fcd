//! Categories as numbers or as fewer levels: columns that stand for a categorical one in training and in scoring.

use crate::params::CategoricalEncoding;
use ochre_core::{Column, Kind, Ledger, Result};
use std::sync::Arc;

/// How a predictor comes from a categorical column.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Encoding {
    pub column: String,
    /// Levels of the column in training.
    pub domain: Arc<Vec<String>>,
    /// The predictor's value at each level, and for missing and unseen ones.
    pub values: Vec<f64>,
    pub missing: f64,
}

impl Encoding {
    /// The predictor, from the column.
    pub fn apply(&self, ledger: &Arc<Ledger>, column: &Column, kind: Kind) -> Result<Column> {
        let value = |v: &f64| if v.is_nan() { self.missing } else { self.values[*v as usize] };
        Column::map_chunks(ledger, kind, &[column], |v| v[0].iter().map(value).collect())
    }
}

/// Predictors with how each came about.
#[derive(Default)]
pub struct Encoded {
    pub names: Vec<String>,
    pub columns: Vec<Column>,
    pub encodings: Vec<Option<Encoding>>,
}

/// Does an encoding make other columns? The rest are matters of the algorithms.
pub fn makes_columns(kind: CategoricalEncoding) -> bool {
    use CategoricalEncoding::*;
    matches!(kind, OneHotExplicit | Binary | LabelEncoder | EnumLimited)
}

/// Replaces categorical columns as a scheme has it: each level a column of zeros and ones, the bits of the level's number,
/// the level's number, or the `most` most frequent levels and one for all others.
pub fn encode(
    ledger: &Arc<Ledger>,
    kind: CategoricalEncoding,
    most: usize,
    names: Vec<String>,
    columns: Vec<Column>,
    weight: &dyn Fn(usize) -> f64,
) -> Result<Encoded> {
    // Columns of zeros and ones come last.
    let (mut out, mut last) = (Encoded::default(), Encoded::default());
    for (name, column) in names.into_iter().zip(columns) {
        let Some(domain) = column.domain().cloned() else {
            out.push(name, column, None);
            continue;
        };
        let n = domain.len();
        let encoding = |values: Vec<f64>, missing: f64| Encoding { column: name.clone(), domain: domain.clone(), values, missing };
        match kind {
            CategoricalEncoding::OneHotExplicit => {
                for (level, label) in domain.iter().enumerate() {
                    let values = (0..n).map(|i| f64::from(u8::from(i == level))).collect();
                    last.make(ledger, format!("{name}.{label}"), &column, encoding(values, 0.0))?;
                }
                last.make(ledger, format!("{name}.missing(NA)"), &column, encoding(vec![0.0; n], 1.0))?;
            }
            CategoricalEncoding::Binary => {
                // Level k has the number k + 1; a missing one has 0.
                let bits = (usize::BITS - n.leading_zeros()) as usize;
                for bit in 0..bits {
                    let values = (1..=n).map(|k| (k >> bit & 1) as f64).collect();
                    last.make(ledger, format!("{name}:{bit}"), &column, encoding(values, 0.0))?;
                }
            }
            CategoricalEncoding::LabelEncoder => {
                // Levels that are whole numbers are their own labels.
                let numbers: Option<Vec<f64>> = domain.iter().map(|l| l.parse::<i64>().ok().map(|v| v as f64)).collect();
                let values = numbers.unwrap_or_else(|| (0..n).map(|i| i as f64).collect());
                out.make(ledger, name.clone(), &column, encoding(values, f64::NAN))?;
            }
            CategoricalEncoding::EnumLimited if n > most => {
                let mut counts = vec![0.0; n];
                for (r, v) in column.to_f64()?.into_iter().enumerate().filter(|(_, v)| !v.is_nan()) {
                    counts[v as usize] += weight(r);
                }
                let mut order: Vec<usize> = (0..n).collect();
                order.sort_by(|a, b| counts[*b].total_cmp(&counts[*a]).then(a.cmp(b)));
                // The most frequent first, as the reference has them.
                let kept = &order[..most];
                let levels: Vec<String> = kept.iter().map(|i| domain[*i].clone()).chain(["other".to_string()]).collect();
                let values = (0..n).map(|i| kept.iter().position(|k| *k == i).unwrap_or(most) as f64).collect();
                let encoding = encoding(values, f64::NAN);
                let made = encoding.apply(ledger, &column, Kind::Enum(Arc::new(levels)))?;
                out.push(format!("{name}.top_{most}_levels"), made, Some(encoding));
            }
            _ => out.push(name, column, None),
        }
    }
    out.names.append(&mut last.names);
    out.columns.append(&mut last.columns);
    out.encodings.append(&mut last.encodings);
    Ok(out)
}

impl Encoded {
    fn push(&mut self, name: String, column: Column, encoding: Option<Encoding>) {
        self.names.push(name);
        self.columns.push(column);
        self.encodings.push(encoding);
    }
    fn make(&mut self, ledger: &Arc<Ledger>, name: String, column: &Column, encoding: Encoding) -> Result<()> {
        let made = encoding.apply(ledger, column, Kind::Real)?;
        self.push(name, made, Some(encoding));
        Ok(())
    }
}
