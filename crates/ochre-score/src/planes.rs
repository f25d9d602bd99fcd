//! Extended isolation forests (Hariri, Carrasco Kind, Brunner 2019): trees whose nodes cut by planes of any direction.

/// A node: rows whose distance from a point along a direction is at most 0 go left.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum PlaneNode {
    /// Training rows that ended here.
    Leaf { rows: u32 },
    /// Column, direction and point of each coordinate that counts, columns rising.
    Plane { terms: Vec<(u32, f64, f64)>, left: u32, right: u32 },
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct PlaneForest {
    pub sample_size: usize,
    pub columns: usize,
    /// The root of each tree is first.
    pub trees: Vec<Vec<PlaneNode>>,
}

/// Mean length of a search that fails in a binary tree of `n` values.
pub fn mean_length(n: usize) -> f64 {
    match n {
        0 | 1 => 0.0,
        2 => 1.0,
        _ => 2.0 * ((n as f64 - 1.0).ln() + 0.577_215_664_9) - 2.0 * (n as f64 - 1.0) / n as f64,
    }
}

impl PlaneForest {
    /// Length of a row's way down a tree, with what is expected below its leaf.
    pub fn length(&self, tree: &[PlaneNode], row: &[f64]) -> f64 {
        let (mut at, mut depth) = (0usize, 0.0);
        loop {
            match &tree[at] {
                PlaneNode::Leaf { rows } => return depth + mean_length(*rows as usize),
                PlaneNode::Plane { terms, left, right } => {
                    at = if goes_left(terms, row) { *left } else { *right } as usize;
                    depth += 1.0;
                }
            }
        }
    }

    /// Anomaly score and mean length from the sum of lengths over `trees` trees.
    pub fn score_of(&self, sum: f64, trees: usize) -> [f64; 2] {
        let mean = sum / trees as f64;
        [2f64.powf(-mean / mean_length(self.sample_size)), mean]
    }

    pub fn score(&self, columns: &[&[f64]], out: &mut [f64]) {
        let mut row = vec![0.0; columns.len()];
        for (i, out) in out.chunks_exact_mut(2).enumerate() {
            row.iter_mut().zip(columns).for_each(|(v, c)| *v = c[i]);
            let sum = self.trees.iter().map(|t| self.length(t, &row)).sum::<f64>();
            out.copy_from_slice(&self.score_of(sum, self.trees.len()));
        }
    }
}

/// Does a row lie on the left of a plane? A missing value in any column puts it on the right, whether the plane looks at that
/// column or not: in sums over all columns, as the reference has them, nothing is known then.
pub fn goes_left(terms: &[(u32, f64, f64)], row: &[f64]) -> bool {
    let unseen = |c: usize| !terms.iter().any(|t| t.0 as usize == c);
    if row.iter().enumerate().any(|(c, v)| !v.is_finite() && unseen(c)) {
        return false;
    }
    terms.iter().map(|(c, n, p)| (row[*c as usize] - p) * n).sum::<f64>() <= 0.0
}
