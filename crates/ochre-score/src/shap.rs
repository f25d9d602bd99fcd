//! Contributions of the columns to a tree ensemble's score: Shapley values of the trees' conditional expectations (Lundberg
//! et al. 2018, "Consistent individualized feature attribution for tree ensembles"). They add up to the score before the
//! link.
//!
//! The value of a leaf counts with the product, over the columns on its way, of 1 or 0 (the row does or does not go that way)
//! where the column is known and of the share z of the training rows that do where it is not. Shapley's value is an integral
//! over the share t of known columns (Owen 1972, "Multilinear extensions of games"): with f(o, z) = (1 - t) z + t o, that of
//! column c is the integral from 0 to 1 of the sum over the leaves of value (o_c - z_c) times the product of f over the other
//! columns. These are polynomials in t, so that Gauss's quadrature gives them exactly with half as many points as there are
//! columns on the longest way.
//!
//! Cost: for each node and point a dozen multiplications for eight rows at once, whatever the depth; the polynomial algorithm
//! of the paper takes the square of the depth for each leaf and row.

use crate::trees::{Node, Split, Tree, TreeEnsemble, TreeLink};

/// Rows that go through a tree side by side.
pub const LANES: usize = 8;
type Lane = [f64; LANES];

/// Points and weights of Gauss's quadrature on [0, 1]: roots of Legendre's polynomial by Newton's method.
fn quadrature(n: usize) -> Vec<(f64, f64)> {
    (0..n)
        .map(|i| {
            let mut x = (std::f64::consts::PI * (i as f64 + 0.75) / (n as f64 + 0.5)).cos();
            let mut slope = 1.0;
            for _ in 0..100 {
                let (mut p, mut before) = (1.0, 0.0);
                for k in 0..n {
                    let k = k as f64;
                    (p, before) = (((2.0 * k + 1.0) * x * p - k * before) / (k + 1.0), p);
                }
                slope = n as f64 * (x * p - before) / (x * x - 1.0);
                let step = p / slope;
                x -= step;
                if step.abs() < 1e-15 {
                    break;
                }
            }
            ((1.0 + x) / 2.0, 1.0 / ((1.0 - x * x) * slope * slope))
        })
        .collect()
}

const NOWHERE: usize = usize::MAX;

/// A node whose children are being visited.
#[derive(Clone, Copy)]
struct Frame {
    node: usize,
    /// The level of the edge above that its column has, if it has one.
    before: usize,
    /// 1 for rows that go right here, 0 for others.
    right: Lane,
    /// Is the right child being visited?
    second: bool,
}

/// The state of a walk through one tree. Level k belongs to the k-th node on the way: its edge, and the sums below it.
struct Walk<'a> {
    tree: &'a Tree,
    columns: &'a [&'a [f64]],
    rows: [usize; LANES],
    points: &'a [(f64, f64)],
    /// For each level: at each point the product of f over the way's columns, the inverse of the edge's f, and the sum of the
    /// leaves below; then which rows go the way of the edge's column.
    lanes: Vec<Lane>,
    /// For each level: the share of training rows that go the way of the edge's column.
    zeros: Vec<f64>,
    /// For each column the level of its last edge on the way.
    held: Vec<usize>,
    /// The nodes above, that of level 0 first; not the program's stack, which a deep tree would overflow.
    above: Vec<Frame>,
}

impl Walk<'_> {
    fn level(&self, level: usize) -> usize {
        level * (3 * self.points.len() + 1)
    }

    /// The share and the rows that came to a column's last edge; everything where it has none.
    fn came(&self, edge: usize) -> (f64, Lane) {
        if edge == NOWHERE { (1.0, [1.0; LANES]) } else { (self.zeros[edge], self.lanes[self.level(edge) + 3 * self.points.len()]) }
    }

    /// Visits all nodes, children before their parents are done, and adds what their edges are worth.
    fn run(mut self, out: &mut [Lane]) -> (Vec<Lane>, Vec<f64>) {
        let (tree, n) = (self.tree, self.points.len());
        let mut at = 0;
        loop {
            let node = &tree.nodes[at];
            let own = self.level(self.above.len());
            if node.split != Split::Leaf {
                self.lanes[own + 2 * n..own + 3 * n].fill([0.0; LANES]);
                let right = self.rows.map(|row| if tree.goes_right(node, self.columns, row) { 1.0 } else { 0.0 });
                self.above.push(Frame { node: at, before: self.held[node.column as usize], right, second: false });
                at = self.enter();
                continue;
            }
            let value = f64::from(node.value);
            for k in 0..n {
                self.lanes[own + 2 * n + k] = self.lanes[own + k].map(|p| p * value);
            }
            loop {
                let Some(frame) = self.above.last() else { return (self.lanes, self.zeros) };
                let second = frame.second;
                self.leave(out);
                if !second {
                    self.above.last_mut().expect("it is still there").second = true;
                    at = self.enter();
                    break;
                }
                self.above.pop();
            }
        }
    }

    /// Goes along an edge of the last node above; answers the child.
    fn enter(&mut self) -> usize {
        let level = self.above.len();
        let (own, below, n) = (self.level(level - 1), self.level(level), self.points.len());
        let Frame { node, before, right, second } = self.above[level - 1];
        let node = &self.tree.nodes[node];
        let child = if second { node.right } else { node.left };
        let (zero_before, mut one) = self.came(before);
        let zero = zero_before * self.tree.share(node, child);
        for (one, right) in one.iter_mut().zip(right) {
            *one *= if second { right } else { 1.0 - right };
        }
        self.zeros[level] = zero;
        self.lanes[below + 3 * n] = one;
        for k in 0..n {
            let t = self.points[k].0;
            // f where the row goes this way and where it does not; nothing is left of a leaf whose f is 0.
            let (with, without) = ((1.0 - t) * zero + t, (1.0 - t) * zero);
            let inverse = |f: f64| if f > 0.0 { 1.0 / f } else { 0.0 };
            let (over_with, over_without) = (inverse(with), inverse(without));
            let mut product = self.lanes[own + k];
            if before != NOWHERE {
                let over = self.lanes[self.level(before) + n + k];
                product.iter_mut().zip(over).for_each(|(p, o)| *p *= o);
            }
            let mut over = [0.0; LANES];
            for l in 0..LANES {
                let goes = one[l] > 0.5;
                product[l] *= if goes { with } else { without };
                over[l] = if goes { over_with } else { over_without };
            }
            self.lanes[below + k] = product;
            self.lanes[below + n + k] = over;
        }
        self.held[node.column as usize] = level;
        child as usize
    }

    /// Comes back along the edge that was entered last, and adds what it is worth to its column. The leaves below counted with
    /// the column's edge above until now.
    fn leave(&mut self, out: &mut [Lane]) {
        let level = self.above.len();
        let (own, below, n) = (self.level(level - 1), self.level(level), self.points.len());
        let Frame { node, before, .. } = self.above[level - 1];
        let column = self.tree.nodes[node].column as usize;
        self.held[column] = before;
        let (zero, one) = (self.zeros[level], self.lanes[below + 3 * n]);
        let (zero_before, one_before) = self.came(before);
        let (mut worth, mut counted) = ([0.0; LANES], [0.0; LANES]);
        for k in 0..n {
            let (sum, over) = (self.lanes[below + 2 * n + k], self.lanes[below + n + k]);
            let weight = self.points[k].1;
            for l in 0..LANES {
                self.lanes[own + 2 * n + k][l] += sum[l];
                worth[l] += weight * sum[l] * over[l];
            }
            if before != NOWHERE {
                let over = self.lanes[self.level(before) + n + k];
                for l in 0..LANES {
                    counted[l] += weight * sum[l] * over[l];
                }
            }
        }
        for l in 0..LANES {
            out[column][l] += worth[l] * (one[l] - zero) - counted[l] * (one_before[l] - zero_before);
        }
    }
}

impl Tree {
    /// The mean of the leaves over the training rows.
    pub fn expected(&self) -> f64 {
        self.means()[0]
    }

    /// For each node the mean of the leaves below it over the training rows.
    pub fn means(&self) -> Vec<f64> {
        let mut means = vec![0.0; self.nodes.len()];
        for at in self.downward().into_iter().rev() {
            let node = &self.nodes[at];
            means[at] = if node.split == Split::Leaf {
                f64::from(node.value)
            } else {
                [node.left, node.right].into_iter().map(|c| self.share(node, c) * means[c as usize]).sum()
            };
        }
        means
    }

    /// Share of a node's training rows that went on to a child. The children's rows are what counts: with sampling, the root
    /// is split on more rows than go on.
    fn share(&self, node: &Node, child: u32) -> f64 {
        let weight = |c: u32| self.nodes[c as usize].weight;
        let total = weight(node.left) + weight(node.right);
        if total > 0.0 { weight(child) / total } else { 0.5 }
    }
}

/// A tree, its levels, and the quadrature that its longest way asks for.
struct Explained<'a> {
    tree: &'a Tree,
    levels: usize,
    points: Vec<(f64, f64)>,
}

/// An ensemble that tells what columns contribute.
pub struct Explainer<'a> {
    trees: Vec<Explained<'a>>,
    columns: usize,
    /// What the sum of the leaves is multiplied by to become a score.
    factor: f64,
    /// The score when no column is known.
    bias: f64,
}

impl<'a> Explainer<'a> {
    pub fn new(ensemble: &'a TreeEnsemble, columns: usize) -> Explainer<'a> {
        let trees = ensemble.trees.iter().flatten().filter(|t| t.nodes.len() > 1);
        let trees = trees
            .map(|tree| {
                let (levels, distinct) = tree.extent(columns);
                Explained { tree, levels, points: quadrature(distinct.div_ceil(2).max(1)) }
            })
            .collect();
        let (factor, base) = ensemble.scale();
        Explainer { trees, columns, factor, bias: ensemble.expected() * factor + base }
    }

    /// Adds up the contributions of all trees for some rows: for each row one number per column, and the bias last. Each row's
    /// are the same whatever other rows are told with it.
    pub fn contributions(&self, columns: &[&[f64]], rows: std::ops::Range<usize>, out: &mut [f64]) {
        let width = self.columns + 1;
        let (mut lanes, mut zeros) = (vec![], vec![]);
        for (first, out) in rows.step_by(LANES).zip(out.chunks_mut(width * LANES)) {
            let count = out.len() / width;
            // Lanes without a row of their own repeat the last one.
            let rows = std::array::from_fn(|l| first + l.min(count - 1));
            let mut told = vec![[0.0; LANES]; self.columns];
            for Explained { tree, levels, points } in &self.trees {
                lanes.clear();
                lanes.resize((levels + 1) * (3 * points.len() + 1), [0.0; LANES]);
                lanes[..points.len()].fill([1.0; LANES]);
                zeros.resize(levels + 1, 1.0);
                let held = vec![NOWHERE; self.columns];
                (lanes, zeros) = Walk { tree, columns, rows, points, lanes, zeros, held, above: vec![] }.run(&mut told);
            }
            for (l, out) in out.chunks_mut(width).enumerate() {
                out.iter_mut().zip(&told).for_each(|(o, t)| *o = t[l] * self.factor);
                out[self.columns] = self.bias;
            }
        }
    }
}

impl Tree {
    /// Levels below the root, and the most columns that a way down has.
    fn extent(&self, columns: usize) -> (usize, usize) {
        let (mut levels, mut most) = (0, 0);
        let (mut seen, mut distinct) = (vec![0u32; columns], 0);
        // A node with its level, and whether it is met on the way back.
        let mut todo = vec![(0, 0, false)];
        while let Some((at, level, back)) = todo.pop() {
            let node = &self.nodes[at];
            (levels, most) = (levels.max(level), most.max(distinct));
            if node.split == Split::Leaf {
                continue;
            }
            let column = node.column as usize;
            if back {
                seen[column] -= 1;
                distinct -= usize::from(seen[column] == 0);
            } else {
                distinct += usize::from(seen[column] == 0);
                seen[column] += 1;
                todo.extend([(at, level, true), (node.left as usize, level + 1, false), (node.right as usize, level + 1, false)]);
            }
        }
        (levels, most)
    }
}

impl TreeEnsemble {
    /// Factor and base that make a score before the link of the sum of leaves and `init`. A forest's score is the mean of its
    /// trees; of two classes it scores the first, and the second is told.
    pub fn scale(&self) -> (f64, f64) {
        let n = self.trees.len() as f64;
        match self.link {
            TreeLink::Mean => (1.0 / n, 0.0),
            TreeLink::FirstShare => (-1.0 / n, 1.0),
            _ => (1.0, 0.0),
        }
    }

    /// The sum of leaves and `init` when no column is known.
    pub fn expected(&self) -> f64 {
        self.init + self.trees.iter().flatten().filter(|t| !t.nodes.is_empty()).map(Tree::expected).sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            Explainer::new(&ensemble, 3).contributions(&views, 0..1, &mut got);
            for c in 0..3 {
                assert!((got[c] - want[c]).abs() < 1e-12, "{row:?}: {got:?} {want:?}");
            }
            let mut p = [0.0];
            ensemble.score(None, &views, None, &mut p);
            assert!((got.iter().sum::<f64>() - p[0]).abs() < 1e-12);
        }
    }

    /// A tree that is deeper than a thread's stack: nothing recurses.
    #[test]
    fn deep_trees() {
        let depth = 60_000u32;
        let mut nodes = vec![];
        for i in 0..depth {
            nodes.push(inner(i % 3, 2 * i + 1, 2 * i + 2, f64::from(depth - i + 1)));
            nodes.push(leaf(0.25, 1.0));
        }
        nodes.push(leaf(1.0, 1.0));
        let tree = Tree { nodes };
        assert_eq!(tree.depth(), depth as usize);
        let ensemble = TreeEnsemble {
            link: TreeLink::Identity,
            init: 0.0,
            classes: 1,
            trees: vec![vec![tree]],
            lengths: [0.0; 2],
            calibration: None,
            correction: vec![],
            single: false,
        };
        let columns = [[1.0], [1.0], [1.0]];
        let views: Vec<&[f64]> = columns.iter().map(|c| &c[..]).collect();
        let mut got = [0.0; 4];
        Explainer::new(&ensemble, 3).contributions(&views, 0..1, &mut got);
        assert!((got.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{got:?}");
        let mut against = [0.0; 3];
        let reference = ensemble.baseline(&[1.0; 3], &[1.0, 0.0, 1.0], &mut against);
        assert_eq!((reference, against), (0.25, [0.0, 0.75, 0.0]));
    }
}
