//! Rules: what a way down a tree asks of a row.

use crate::{Split, Tree};

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Test {
    Less(f64),
    AtLeast(f64),
    /// The code is one of these.
    In(Vec<u32>),
    /// Every value that is not missing, or none.
    Any,
    None,
}

/// A missing value passes or not whatever the test.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Condition {
    pub column: usize,
    pub test: Test,
    pub missing: bool,
}

/// A row for which all conditions hold has the code.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Rule {
    pub conditions: Vec<Condition>,
    pub code: u32,
}

impl Condition {
    pub fn holds(&self, v: f64) -> bool {
        if v.is_nan() {
            return self.missing;
        }
        match &self.test {
            Test::Less(t) => v < *t,
            Test::AtLeast(t) => v >= *t,
            Test::In(codes) => codes.iter().any(|c| f64::from(*c) == v),
            Test::Any => true,
            Test::None => false,
        }
    }
}

impl Rule {
    pub fn holds(&self, value: impl Fn(usize) -> f64) -> bool {
        self.conditions.iter().all(|c| c.holds(value(c.column)))
    }
}

/// The ways to the leaves of a tree whose leaves hold codes. `levels` says how many levels a column has; 0 for a number.
pub fn of_tree(tree: &Tree, levels: impl Fn(usize) -> usize) -> Vec<Rule> {
    let mut ways: Vec<Vec<Condition>> = vec![vec![]; tree.nodes.len()];
    let mut out = vec![];
    for (i, node) in tree.nodes.iter().enumerate() {
        let way = std::mem::take(&mut ways[i]);
        if node.split == Split::Leaf {
            out.push(Rule { conditions: way, code: node.value as u32 });
            continue;
        }
        let column = node.column as usize;
        for (child, right) in [(node.left, false), (node.right, true)] {
            let (test, missing) = match (&node.split, levels(column)) {
                (Split::Missing, _) => (if right { Test::None } else { Test::Any }, right),
                (Split::Less(t) | Split::Below(t) | Split::SparseBelow(t), 0) => {
                    let t = f64::from(*t);
                    (if right { Test::AtLeast(t) } else { Test::Less(t) }, node.missing_left != right)
                }
                (_, n) => {
                    let codes = (0..n as u32).filter(|c| tree.sends_right(node, f64::from(*c)) == right);
                    (Test::In(codes.collect()), tree.sends_right(node, f64::NAN) == right)
                }
            };
            let mut way = way.clone();
            way.push(Condition { column, test, missing });
            ways[child as usize] = way;
        }
    }
    out
}
