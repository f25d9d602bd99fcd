//! Trees over encoded categories, told over the categories themselves.
//!
//! An encoding gives each level of a column a number, so that where a row goes at a node depends on its level alone: the
//! node becomes one that splits the levels. Scores are the same bits, and every form that tells sets of levels (MOJO, Java,
//! ONNX, the scorers of files) tells such models without knowing of encodings.

use crate::proof::Proof;
use crate::{Column, ModelFile, Scorer, Split, TreeEnsemble};

/// Where what a model reads comes from.
#[derive(Clone, Debug)]
pub struct Input {
    /// The column, by its place.
    pub column: usize,
    /// What the column's levels become; none where its values are read as they are.
    pub levels: Option<Levels>,
}

/// A number for each level of a column, and for missing and unseen ones.
#[derive(Clone, Debug)]
pub struct Levels {
    pub values: Vec<f64>,
    pub missing: f64,
}

/// Levels that all nodes of a model may split together.
const LEVELS_MAX: usize = 1 << 30;

impl Input {
    fn values(&self, columns: &[Vec<f64>]) -> Vec<f64> {
        let column = &columns[self.column];
        match &self.levels {
            None => column.clone(),
            Some(l) => column.iter().map(|v| l.values.get(*v as usize).filter(|_| !v.is_nan()).copied().unwrap_or(l.missing)).collect(),
        }
    }
}

/// The same model over `columns`, of which its own predictors come as `inputs` says. What cannot be told so is refused, and
/// so is what would not score the same.
pub fn over_columns(file: &ModelFile, inputs: &[Input], columns: Vec<Column>) -> Result<ModelFile, String> {
    let Scorer::Trees(m) = &file.scorer else {
        return Err("it encodes categories, which is told in files of models of trees only; save the model instead".into());
    };
    let scorer = Scorer::Trees(ensemble(m, inputs)?);
    let told = ModelFile { predictors: columns, scorer, ..file.clone() };
    let proof = Proof::of(&told);
    let encoded: Vec<Vec<f64>> = inputs.iter().map(|i| i.values(&proof.columns)).collect();
    Proof { columns: encoded, ..proof }.check(file).map_err(|e| format!("its categories cannot be told without their encoding: {e}"))?;
    Ok(told)
}

fn ensemble(m: &TreeEnsemble, inputs: &[Input]) -> Result<TreeEnsemble, String> {
    let mut out = m.clone();
    let mut levels = 0;
    for tree in out.trees.iter_mut().flatten() {
        for i in 0..tree.nodes.len() {
            let node = &tree.nodes[i];
            if node.split == Split::Leaf {
                continue;
            }
            let input = &inputs[node.column as usize];
            let told = match &input.levels {
                None => None,
                Some(l) => {
                    levels += l.values.len();
                    if levels > LEVELS_MAX {
                        return Err(format!("its nodes split more than {LEVELS_MAX} levels"));
                    }
                    let bits = l.values.iter().map(|v| tree.sends_right(node, *v)).collect();
                    Some((Split::Set { offset: 0, bits }, !tree.sends_right(node, l.missing)))
                }
            };
            let node = &mut tree.nodes[i];
            node.column = input.column as u32;
            if let Some((split, missing_left)) = told {
                (node.split, node.missing_left) = (split, missing_left);
            }
        }
    }
    Ok(out)
}
