//! Shapley values against one row of reference: what each column adds when it goes from the reference's value to the row's, on
//! average over the orders in which columns do so ("interventional", Lundberg et al. 2020; Sundararajan and Najmi 2020).
//!
//! Cost: a leaf is visited when each test on its way is passed by the row or by the reference; at most every leaf of every tree,
//! for each pair of a row and a reference.

use crate::glm::GlmScorer;
use crate::trees::{Split, Tree, TreeEnsemble};

/// Whose value a column has on the way down.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Open,
    Row,
    Reference,
}

struct Walk<'a> {
    tree: &'a Tree,
    row: &'a [f64],
    reference: &'a [f64],
    sides: Vec<Side>,
    /// Columns whose side is decided.
    decided: Vec<usize>,
    out: &'a mut [f64],
}

/// `a! b! / (a + b + 1)!`: how often `a` columns come before one and `b` after it.
fn share(a: usize, b: usize) -> f64 {
    let mut v = 1.0 / (a + b + 1) as f64;
    for i in 1..=b {
        v *= i as f64 / (a + i) as f64;
    }
    v
}

/// What is left to do of a walk; kept here, since a deep tree would overflow the program's stack.
enum Todo {
    /// Go down from a node; so many columns are decided for the row, and for the reference.
    Visit(u32, usize, usize),
    /// The same from the reference's side of a column.
    Turn(usize, u32, usize, usize),
    /// The column decided last is open again.
    Close(usize),
}

impl Walk<'_> {
    fn run(&mut self) {
        let mut todo = vec![Todo::Visit(0, 0, 0)];
        while let Some(next) = todo.pop() {
            match next {
                Todo::Visit(at, of_row, of_reference) => self.down(at, of_row, of_reference, &mut todo),
                Todo::Turn(c, at, of_row, of_reference) => {
                    self.sides[c] = Side::Reference;
                    todo.push(Todo::Visit(at, of_row, of_reference));
                }
                Todo::Close(c) => {
                    self.sides[c] = Side::Open;
                    self.decided.pop();
                }
            }
        }
    }

    /// Goes down to a leaf, or to a column that sends the row and the reference different ways.
    fn down(&mut self, mut at: u32, of_row: usize, of_reference: usize, todo: &mut Vec<Todo>) {
        loop {
            let node = &self.tree.nodes[at as usize];
            if node.split == Split::Leaf {
                let v = f64::from(node.value);
                let gain = if of_row > 0 { v * share(of_row - 1, of_reference) } else { 0.0 };
                let loss = if of_reference > 0 { v * share(of_row, of_reference - 1) } else { 0.0 };
                for &c in &self.decided {
                    self.out[c] += if self.sides[c] == Side::Row { gain } else { -loss };
                }
                return;
            }
            let c = node.column as usize;
            let to = |v: f64| if self.tree.sends_right(node, v) { node.right } else { node.left };
            let (row, reference) = (to(self.row[c]), to(self.reference[c]));
            at = match self.sides[c] {
                Side::Row => row,
                Side::Reference => reference,
                Side::Open if row == reference => row,
                Side::Open => {
                    self.decided.push(c);
                    self.sides[c] = Side::Row;
                    let turn = Todo::Turn(c, reference, of_row, of_reference + 1);
                    todo.extend([Todo::Close(c), turn, Todo::Visit(row, of_row + 1, of_reference)]);
                    return;
                }
            };
        }
    }
}

impl TreeEnsemble {
    /// Adds up, over all trees, what each column adds to the sum of leaves; answers the sum of the reference's leaves.
    pub fn baseline(&self, row: &[f64], reference: &[f64], out: &mut [f64]) -> f64 {
        out.fill(0.0);
        let mut sum = 0.0;
        let columns: Vec<&[f64]> = reference.chunks(1).collect();
        for tree in self.trees.iter().flatten().filter(|t| !t.nodes.is_empty()) {
            sum += f64::from(tree.leaf(&columns, 0).value);
            let sides = vec![Side::Open; row.len()];
            Walk { tree, row, reference, sides, decided: vec![], out }.run();
        }
        sum
    }
}

impl GlmScorer {
    /// What each coefficient but the constant adds to the linear predictor of a row, when its column goes from the reference's
    /// value to the row's; answers the reference's linear predictor. One set of coefficients, predictors as they are.
    pub fn baseline(&self, row: &[f64], reference: &[f64], out: &mut [f64]) -> f64 {
        out.fill(0.0);
        let beta = &self.heard()[0];
        let skip = usize::from(!self.all_levels);
        let (mut at, mut eta) = (0, beta[beta.len() - 1]);
        for (c, (levels, missing)) in self.levels.iter().enumerate() {
            let place = |v: f64| {
                let code = if v.is_nan() || v as usize >= *levels { *missing } else { v as usize };
                (skip..*levels).contains(&code).then(|| at + code - skip)
            };
            if let Some(i) = place(reference[c]) {
                out[i] -= beta[i];
                eta += beta[i];
            }
            if let Some(i) = place(row[c]) {
                out[i] += beta[i];
            }
            at += levels - skip;
        }
        for (i, mean) in self.means.iter().enumerate() {
            let value = |v: f64| if v.is_nan() { *mean } else { v };
            let (x, b) = (value(row[self.levels.len() + i]), value(reference[self.levels.len() + i]));
            out[at + i] = beta[at + i] * (x - b);
            eta += beta[at + i] * b;
        }
        eta
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Node, TreeLink};

    /// Against all orders, one by one.
    #[test]
    fn equals_the_definition() {
        let node =
            |split, column, left, right, value| Node { split, column, missing_left: true, left, right, value, weight: 1.0, gain: 0.0 };
        let nodes = vec![
            node(Split::Less(0.5), 0, 1, 2, 0.0),
            node(Split::Less(0.5), 1, 3, 4, 0.0),
            node(Split::Less(0.5), 2, 5, 6, 0.0),
            node(Split::Leaf, 0, 0, 0, 1.0),
            node(Split::Less(0.5), 2, 7, 8, 0.0),
            node(Split::Leaf, 0, 0, 0, -2.0),
            node(Split::Less(0.8), 0, 9, 10, 0.0),
            node(Split::Leaf, 0, 0, 0, 5.0),
            node(Split::Leaf, 0, 0, 0, 7.0),
            node(Split::Leaf, 0, 0, 0, 11.0),
            node(Split::Leaf, 0, 0, 0, 13.0),
        ];
        let forest = TreeEnsemble {
            link: TreeLink::Identity,
            init: 0.0,
            classes: 1,
            trees: vec![vec![Tree { nodes }]],
            lengths: [0.0; 2],
            calibration: None,
            correction: vec![],
            single: false,
        };
        let score = |x: &[f64]| {
            let columns: Vec<&[f64]> = x.chunks(1).collect();
            f64::from(forest.trees[0][0].leaf(&columns, 0).value)
        };
        let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        for (x, b) in [([0.9, 0.9, 0.9], [0.1, 0.1, 0.1]), ([0.6, 0.1, 0.9], [0.1, 0.9, 0.1]), ([0.1, 0.9, 0.9], [0.9, 0.1, 0.9])] {
            let mut want = [0.0; 3];
            for order in orders {
                let mut at = b;
                for c in order {
                    let before = score(&at);
                    at[c] = x[c];
                    want[c] += (score(&at) - before) / 6.0;
                }
            }
            let mut got = [0.0; 3];
            assert_eq!(forest.baseline(&x, &b, &mut got), score(&b));
            got.iter().zip(want).for_each(|(g, w)| assert!((g - w).abs() < 1e-12, "{got:?} {want:?}"));
        }
    }
}
