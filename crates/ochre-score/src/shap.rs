//! Contributions of the columns to a tree ensemble's score: Shapley values of the trees' conditional expectations, by the
//! polynomial algorithm of Lundberg et al. 2018 ("Consistent individualized feature attribution for tree ensembles",
//! algorithm 2). They add up to the score before the link.

use crate::trees::{Node, Split, Tree, TreeEnsemble};

/// One column on the way from the root: the shares of rows that flow on when it is unknown and when it is known, and the
/// weights of the subsets so far.
#[derive(Clone, Copy)]
struct Step {
    column: usize,
    zero: f64,
    one: f64,
    weight: f64,
}

const NO_COLUMN: usize = usize::MAX;

/// 1/k, for the lengths that paths have.
const RECIPROCALS: [f64; 128] = {
    let mut out = [0.0; 128];
    let mut k = 1;
    while k < 128 {
        out[k] = 1.0 / k as f64;
        k += 1;
    }
    out
};

#[inline(always)]
fn over(k: usize) -> f64 {
    if k < RECIPROCALS.len() { RECIPROCALS[k] } else { 1.0 / k as f64 }
}

/// Adds a column to a path whose last place is free.
#[inline]
fn extend(path: &mut [Step], zero: f64, one: f64, column: usize) {
    let depth = path.len() - 1;
    path[depth] = Step { column, zero, one, weight: if depth == 0 { 1.0 } else { 0.0 } };
    let share = over(depth + 1);
    for i in (0..depth).rev() {
        path[i + 1].weight += one * path[i].weight * (i + 1) as f64 * share;
        path[i].weight *= zero * (depth - i) as f64 * share;
    }
}

/// Takes one column out of the path again; its last place is free then.
fn unwind(path: &mut [Step], at: usize) {
    let depth = path.len() - 1;
    let (one, zero) = (path[at].one, path[at].zero);
    let n = (depth + 1) as f64;
    let mut next = path[depth].weight;
    for i in (0..depth).rev() {
        if one != 0.0 {
            let old = path[i].weight;
            path[i].weight = next * n / ((i + 1) as f64 * one);
            next = old - path[i].weight * zero * (depth - i) as f64 / n;
        } else {
            path[i].weight *= n / (zero * (depth - i) as f64);
        }
    }
    for i in at..depth {
        (path[i].column, path[i].zero, path[i].one) = (path[i + 1].column, path[i + 1].zero, path[i + 1].one);
    }
}

/// Sum of the weights that taking out a column on the row's own way would leave.
#[inline]
fn unwound(path: &[Step], zero: f64) -> f64 {
    let depth = path.len() - 1;
    let (n, share) = ((depth + 1) as f64, over(depth + 1));
    let (mut next, mut total) = (path[depth].weight, 0.0);
    for i in (0..depth).rev() {
        let part = next * n * over(i + 1);
        total += part;
        next = path[i].weight - part * zero * (depth - i) as f64 * share;
    }
    total
}

/// The same for a column off the row's way, times its share of rows: no column's share is left in it, so it is one number
/// for all of them.
#[inline]
fn unwound_off(path: &[Step]) -> f64 {
    let depth = path.len() - 1;
    (depth + 1) as f64 * (0..depth).map(|i| path[i].weight * over(depth - i)).sum::<f64>()
}

struct Walk<'a> {
    tree: &'a Tree,
    columns: &'a [&'a [f64]],
    row: usize,
}

impl Walk<'_> {
    /// Goes down from a node. The path so far is `len` steps from `base` on; those of a level lie behind its parent's.
    #[expect(clippy::too_many_arguments, reason = "the state of a recursion")]
    fn descend(&self, at: usize, arena: &mut Vec<Step>, base: usize, len: usize, zero: f64, one: f64, column: usize, out: &mut [f64]) {
        let own = base + len;
        let mut len = len + 1;
        if arena.len() < own + len {
            arena.resize(2 * (own + len), Step { column: NO_COLUMN, zero: 0.0, one: 0.0, weight: 0.0 });
        }
        arena.copy_within(base..own, own);
        let path = &mut arena[own..own + len];
        extend(path, zero, one, column);
        let node = &self.tree.nodes[at];
        if node.split == Split::Leaf {
            let value = f64::from(node.value);
            let off = unwound_off(path) * value;
            for step in &path[1..] {
                if step.one != 0.0 {
                    out[step.column] += unwound(path, step.zero) * (step.one - step.zero) * value;
                } else if step.zero != 0.0 {
                    out[step.column] -= off;
                }
            }
            return;
        }
        let right = self.tree.goes_right(node, self.columns, self.row);
        let (hot, cold) = if right { (node.right, node.left) } else { (node.left, node.right) };
        let column = node.column as usize;
        let (mut zero, mut one) = (1.0, 1.0);
        if let Some(i) = path.iter().position(|s| s.column == column) {
            (zero, one) = (path[i].zero, path[i].one);
            unwind(path, i);
            len -= 1;
        }
        let share = |child: u32| self.tree.share(node, child);
        self.descend(hot as usize, arena, own, len, zero * share(hot), one, column, out);
        self.descend(cold as usize, arena, own, len, zero * share(cold), 0.0, column, out);
    }
}

impl Tree {
    /// The mean of the leaves over the training rows.
    pub fn expected(&self) -> f64 {
        self.expected_below(0)
    }

    /// The mean of the leaves below a node.
    pub fn expected_below(&self, at: usize) -> f64 {
        let node = &self.nodes[at];
        if node.split == Split::Leaf {
            return f64::from(node.value);
        }
        [node.left, node.right].into_iter().map(|c| self.share(node, c) * self.expected_below(c as usize)).sum()
    }

    /// Share of a node's training rows that went on to a child. The children's rows are what counts: with sampling, the root
    /// is split on more rows than go on.
    fn share(&self, node: &Node, child: u32) -> f64 {
        let weight = |c: u32| self.nodes[c as usize].weight;
        let total = weight(node.left) + weight(node.right);
        if total > 0.0 { weight(child) / total } else { 0.5 }
    }
}

impl TreeEnsemble {
    /// Adds up the contributions of all trees for one row: one number per column, and the bias last.
    pub fn contributions(&self, columns: &[&[f64]], row: usize, expected: f64, out: &mut [f64]) {
        out.fill(0.0);
        let bias = out.len() - 1;
        let mut arena = vec![];
        for tree in self.trees.iter().flatten().filter(|t| t.nodes.len() > 1) {
            let walk = Walk { tree, columns, row };
            walk.descend(0, &mut arena, 0, 0, 1.0, 1.0, NO_COLUMN, &mut out[..bias]);
        }
        out[bias] = expected;
    }

    /// The score when no column is known.
    pub fn expected(&self) -> f64 {
        self.init + self.trees.iter().flatten().filter(|t| !t.nodes.is_empty()).map(Tree::expected).sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TreeLink;

    fn leaf(value: f32, weight: f64) -> Node {
        Node { split: Split::Leaf, column: 0, missing_left: false, left: 0, right: 0, value, weight, gain: 0.0 }
    }
    fn inner(column: u32, left: u32, right: u32, weight: f64) -> Node {
        Node { split: Split::Less(0.5), column, missing_left: false, left, right, value: 0.0, weight, gain: 0.0 }
    }

    /// Contributions are the mean over all orders of the columns of what each adds (the definition of Shapley's value).
    #[test]
    fn contributions_are_shapley_values() {
        let nodes = vec![
            inner(0, 1, 2, 10.0),
            inner(1, 3, 4, 6.0),
            inner(2, 5, 6, 4.0),
            leaf(1.0, 2.0),
            inner(0, 7, 8, 4.0),
            leaf(-3.0, 1.0),
            leaf(5.0, 3.0),
            leaf(2.0, 1.0),
            leaf(8.0, 3.0),
        ];
        let tree = Tree { nodes };
        let ensemble = TreeEnsemble {
            link: TreeLink::Identity,
            init: 0.5,
            classes: 1,
            trees: vec![vec![tree.clone()]],
            lengths: [0.0; 2],
            calibration: None,
            correction: vec![],
            single: false,
        };
        for row in [[0.0, 0.0, 0.0], [0.0, 1.0, 1.0], [1.0, 0.0, 0.0], [1.0, 1.0, 1.0]] {
            let columns: Vec<[f64; 1]> = row.iter().map(|v| [*v]).collect();
            let views: Vec<&[f64]> = columns.iter().map(|c| &c[..]).collect();
            // The expected score when only some columns are known.
            fn known(t: &Tree, at: usize, row: &[&[f64]], set: u32) -> f64 {
                let n = &t.nodes[at];
                if n.split == Split::Leaf {
                    return f64::from(n.value);
                }
                if set >> n.column & 1 == 1 {
                    return known(t, if t.goes_right(n, row, 0) { n.right } else { n.left } as usize, row, set);
                }
                [n.left, n.right].into_iter().map(|c| t.share(n, c) * known(t, c as usize, row, set)).sum()
            }
            let mut want = [0.0; 3];
            for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
                let mut set = 0;
                for c in order {
                    let before = known(&tree, 0, &views, set);
                    set |= 1 << c;
                    want[c as usize] += (known(&tree, 0, &views, set) - before) / 6.0;
                }
            }
            let mut got = [0.0; 4];
            ensemble.contributions(&views, 0, ensemble.expected(), &mut got);
            for c in 0..3 {
                assert!((got[c] - want[c]).abs() < 1e-12, "{row:?}: {got:?} {want:?}");
            }
            let mut p = [0.0];
            ensemble.score(None, &views, None, &mut p);
            assert!((got.iter().sum::<f64>() - p[0]).abs() < 1e-12);
        }
    }
}
