//! How much of a model's dependence on some variables only their interplay explains (Friedman and Popescu 2008, 8.1).

use crate::{Model, adapt};
use ochre_core::{Error, Frame, Node, Result};
use ochre_score::{Scorer, Split, Tree};
use rayon::prelude::*;
use rustc_hash::FxHashMap;

/// Most variables at once: every set of them has its own partial dependence.
const VARIABLES_MAX: usize = 12;

/// Partial dependence of a tree: where it splits on a column without a value, both sides count by their weights
/// (Friedman 2001, 8.2).
fn dependence(tree: &Tree, value: &dyn Fn(usize) -> Option<f64>, stack: &mut Vec<(u32, f64)>) -> f64 {
    let mut sum = 0.0;
    stack.clear();
    stack.push((0, 1.0));
    while let Some((at, share)) = stack.pop() {
        let node = &tree.nodes[at as usize];
        if node.split == Split::Leaf {
            sum += share * f64::from(node.value);
            continue;
        }
        match value(node.column as usize) {
            Some(v) => stack.push((if tree.sends_right(node, v) { node.right } else { node.left }, share)),
            None => {
                let (left, right) = (tree.nodes[node.left as usize].weight, tree.nodes[node.right as usize].weight);
                let part = if left + right > 0.0 { left / (left + right) } else { 0.5 };
                stack.push((node.right, share * (1.0 - part)));
                stack.push((node.left, share * part));
            }
        }
    }
    sum
}

impl Model {
    /// The H statistic of some variables on a frame: 0 where they do not interact, NaN where rounding errors are larger
    /// than what there is to measure.
    pub fn interplay(&self, node: &Node, frame: &Frame, variables: &[String]) -> Result<f64> {
        let Scorer::Trees(trees) = &self.scorer else {
            return Err(Error::invalid(format!(
                "model {} ({}) is not made of trees; the H statistic is told of gradient boosted trees",
                self.key, self.info.full_name
            )));
        };
        if trees.trees.iter().any(|g| g.len() != 1) {
            return Err(Error::Unsupported(format!(
                "model {} has a tree for each class; the H statistic is told of regressions and of two classes",
                self.key
            )));
        }
        if variables.is_empty() || variables.len() > VARIABLES_MAX {
            return Err(Error::invalid(format!(
                "the H statistic is of 1 to {VARIABLES_MAX} variables, but {} were given",
                variables.len()
            )));
        }
        let places: Vec<usize> = variables
            .iter()
            .map(|v| {
                let known = || self.predictors.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ");
                self.predictors
                    .iter()
                    .position(|p| p.name == *v)
                    .ok_or_else(|| Error::invalid(format!("'{v}' is no predictor of model {}; its predictors are {}", self.key, known())))
            })
            .collect::<Result<_>>()?;
        if (1..places.len()).any(|i| places[..i].contains(&places[i])) {
            return Err(Error::invalid("a variable is named twice"));
        }
        let data = adapt::adapt(frame, &self.predictors)?;
        let columns: Vec<Vec<f64>> = places.iter().map(|&p| data.sources[p].all(data.rows)).collect::<Result<_>>()?;
        node.runner.install(|| {
            let k = places.len();
            let mut combined = vec![0.0; data.rows];
            let mut whole = vec![];
            for set in 1..1usize << k {
                let own: Vec<usize> = (0..k).filter(|i| set >> i & 1 == 1).collect();
                // Rows with the same values share what is computed for one of them.
                let mut seen: FxHashMap<Vec<u64>, usize> = FxHashMap::default();
                let mut first = vec![];
                let which: Vec<usize> = (0..data.rows)
                    .map(|r| {
                        let key: Vec<u64> = own.iter().map(|&i| columns[i][r].to_bits()).collect();
                        *seen.entry(key).or_insert_with(|| {
                            first.push(r);
                            first.len() - 1
                        })
                    })
                    .collect();
                let values: Vec<f64> = first
                    .par_iter()
                    .map_init(Vec::new, |stack, &r| {
                        let value = |column: usize| own.iter().find(|&&i| places[i] == column).map(|&i| columns[i][r]);
                        trees.trees.iter().flatten().filter(|t| !t.nodes.is_empty()).map(|t| dependence(t, &value, stack)).sum()
                    })
                    .collect();
                let mean = which.iter().map(|&w| values[w]).sum::<f64>() / data.rows as f64;
                let sign = if (k - own.len()) % 2 == 0 { 1.0 } else { -1.0 };
                for (c, &w) in combined.iter_mut().zip(&which) {
                    *c += sign * (values[w] - mean);
                }
                if own.len() == k {
                    whole = which.iter().map(|&w| values[w] - mean).collect();
                }
            }
            let square = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>();
            let (top, bottom) = (square(&combined), square(&whole));
            Ok(if top < bottom { (top / bottom).sqrt() } else { f64::NAN })
        })
    }
}
