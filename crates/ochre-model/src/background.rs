//! Contributions against a background: what each column adds to a score, when it goes from the value of a row of the
//! background to that of the row that is explained; told for each pair of rows, or as the mean over the background.

use crate::Model;
use crate::adapt::{self, Adapted};
use ochre_core::{Column, Error, Frame, Node, Result};
use ochre_score::{LinkFunction, Scorer, TreeLink};
use rayon::prelude::*;
use std::sync::Arc;

#[derive(Clone)]
pub struct Against {
    pub frame: Arc<Frame>,
    /// Tell shares of the prediction, not of the score before the link.
    pub output_space: bool,
    /// Tell each pair of rows by itself.
    pub per_reference: bool,
    /// Tell categories as one column, not as one a level.
    pub compact: bool,
}

/// How what is added up becomes the score: factor and base of the sum, and the link.
struct Scale {
    factor: f64,
    base: f64,
    link: LinkFunction,
}

/// The rows of a frame, one after the other.
fn rows(data: &Adapted) -> Result<Vec<Vec<f64>>> {
    let columns = data.sources.iter().map(|s| s.all(data.rows)).collect::<Result<Vec<_>>>()?;
    Ok((0..data.rows).map(|r| columns.iter().map(|c| c[r]).collect()).collect())
}

impl Model {
    /// One group of numbers a column: its name, and those of its parts.
    fn parts(&self, compact: bool) -> Vec<(String, Vec<String>)> {
        if let Scorer::Glm(m) = &self.scorer {
            let names = self.coefficient_names();
            let skip = usize::from(!m.all_levels);
            let mut widths: Vec<usize> = m.levels.iter().map(|(n, _)| n - skip).collect();
            widths.resize(self.predictors.len(), 1);
            let mut first = 0;
            let group = |(p, n): (&crate::Predictor, usize)| {
                first += n;
                (p.name.clone(), names[first - n..first].to_vec())
            };
            return self.predictors.iter().zip(widths).map(group).collect();
        }
        let levels = |p: &crate::Predictor| match &p.domain {
            Some(d) if !compact => d.iter().map(String::as_str).chain(["missing(NA)"]).map(|l| format!("{}.{l}", p.name)).collect(),
            _ => vec![p.name.clone()],
        };
        self.predictors.iter().map(|p| (p.name.clone(), levels(p))).collect()
    }

    pub fn contributions_against(&self, node: &Node, frame: &Frame, how: &Against) -> Result<Frame> {
        let refuse = |what: &str| {
            Err(Error::Unsupported(format!("contributions against a background_frame are not told of {what} ({})", self.info.full_name)))
        };
        if let Some(p) = self.predictors.iter().find(|p| p.encoding.is_some()) {
            return refuse(&format!("models that encode categories, such as '{}'", p.name));
        }
        let scale = match &self.scorer {
            Scorer::Trees(m) => {
                let link = match m.link {
                    TreeLink::Mean | TreeLink::FirstShare | TreeLink::Identity => LinkFunction::Identity,
                    TreeLink::Log => LinkFunction::Log,
                    TreeLink::Logit => LinkFunction::Logit,
                    _ => return refuse("several classes, anomalies or uplift"),
                };
                let (factor, base) = m.scale();
                Scale { factor, base: base + factor * m.init, link }
            }
            Scorer::Glm(m) if m.beta.len() == 1 && m.derived.is_empty() && m.places.is_empty() && m.link != LinkFunction::Power => {
                Scale { factor: 1.0, base: 0.0, link: m.link }
            }
            Scorer::Glm(_) => return refuse("several classes, interactions or powers as links"),
            _ => return refuse("models of other kinds than trees and generalized linear models"),
        };
        let (data, background) = (adapt::adapt(frame, &self.predictors)?, adapt::adapt(&how.frame, &self.predictors)?);
        if background.rows == 0 {
            return Err(Error::invalid("the background_frame has no rows to compare with"));
        }
        let parts = self.parts(how.compact);
        let width = if how.compact { parts.len() } else { parts.iter().map(|p| p.1.len()).sum() };
        let out_rows = data.rows * if how.per_reference { background.rows } else { 1 };
        let inner = (data.rows + background.rows) * self.predictors.len();
        let _room = node.ledger.reserve("contributions against a background", ((out_rows * (width + 3) * 2 + inner * 2) * 8) as u64)?;
        let (xs, bs) = (rows(&data)?, rows(&background)?);
        // Each part's place in what is told, for a row.
        let starts: Vec<usize> = parts
            .iter()
            .scan(0, |at, p| {
                *at += if how.compact { 1 } else { p.1.len() };
                Some(*at - if how.compact { 1 } else { p.1.len() })
            })
            .collect();
        let tell = |x: &[f64], b: &[f64], raw: &mut [f64], out: &mut [f64]| {
            let sum = match &self.scorer {
                Scorer::Trees(m) => m.baseline(x, b, raw),
                Scorer::Glm(m) => m.baseline(x, b, raw),
                _ => f64::NAN,
            };
            let before = scale.base + scale.factor * sum;
            let (mut factor, mut bias) = (scale.factor, before);
            if how.output_space {
                bias = scale.link.inverse(before);
                let change = scale.factor * raw.iter().sum::<f64>();
                let told = scale.link.inverse(before + change) - bias;
                factor *= if change.abs() < 1e-6 { 0.0 } else { told / change };
                if matches!(scale.link, LinkFunction::Identity) {
                    factor = scale.factor;
                }
            }
            out.fill(0.0);
            if let Scorer::Glm(_) = &self.scorer {
                let mut at = 0;
                for (g, (_, names)) in parts.iter().enumerate() {
                    for v in &raw[at..at + names.len()] {
                        out[if how.compact { g } else { at }] += factor * v;
                        at += usize::from(!how.compact);
                    }
                    at += if how.compact { names.len() } else { 0 };
                }
            } else {
                for (c, (p, v)) in self.predictors.iter().zip(raw.iter()).enumerate() {
                    let level = match &p.domain {
                        Some(d) if !how.compact => {
                            if x[c].is_nan() || x[c] as usize >= d.len() {
                                d.len()
                            } else {
                                x[c] as usize
                            }
                        }
                        _ => 0,
                    };
                    out[starts[c] + level] += factor * v;
                }
            }
            out[width] = bias;
        };
        let raw_width = match &self.scorer {
            Scorer::Glm(m) => m.beta[0].len() - 1,
            _ => self.predictors.len(),
        };
        let mut names: Vec<String> = match how.compact {
            true => parts.iter().map(|p| p.0.clone()).collect(),
            false => parts.iter().flat_map(|p| p.1.iter().cloned()).collect(),
        };
        names.push("BiasTerm".into());
        let mut values = vec![0.0; out_rows * (width + 1)];
        node.runner.install(|| {
            let per_row = values.len() / data.rows.max(1);
            values.par_chunks_mut(per_row.max(1)).zip(&xs).for_each(|(slot, x)| {
                let (mut raw, mut one) = (vec![0.0; raw_width], vec![0.0; width + 1]);
                for (k, b) in bs.iter().enumerate() {
                    if how.per_reference {
                        tell(x, b, &mut raw, &mut slot[k * (width + 1)..(k + 1) * (width + 1)]);
                    } else {
                        tell(x, b, &mut raw, &mut one);
                        slot.iter_mut().zip(&one).for_each(|(s, v)| *s += v);
                    }
                }
                if !how.per_reference {
                    slot.iter_mut().for_each(|v| *v /= bs.len() as f64);
                }
            });
        });
        let column = |c: usize| Column::from_f64(&node.ledger, &values.iter().skip(c).step_by(width + 1).copied().collect::<Vec<_>>());
        let mut columns = (0..=width).map(column).collect::<Result<Vec<_>>>()?;
        if how.per_reference {
            let n = bs.len();
            for (name, f) in [("RowIdx", (|r, n| r / n) as fn(usize, usize) -> usize), ("BackgroundRowIdx", |r, n| r % n)] {
                names.push(name.into());
                columns.push(Column::from_f64(&node.ledger, &(0..out_rows).map(|r| f(r, n) as f64).collect::<Vec<_>>())?);
            }
        }
        Frame::new(names, columns)
    }
}
