//! One pass: each row to its nearest centre, or to the one it is given.

use ochre_core::{MapReduce, Rows};
use ochre_score::KMeansScorer;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub struct AssignPass {
    pub centers: KMeansScorer,
    /// Number of levels of each categorical predictor.
    pub levels: Vec<usize>,
    /// The cluster of each row of the frame, when it is not to be the nearest.
    pub given: Option<Vec<u32>>,
}

/// Sums by cluster.
#[derive(Serialize, Deserialize)]
pub struct ClusterSums {
    pub rows: Vec<f64>,
    /// Sums of the numeric coordinates.
    pub sums: Vec<Vec<f64>>,
    /// Counts by level of the categorical coordinates.
    pub counts: Vec<Vec<Vec<f64>>>,
    /// Lowest and highest of each numeric coordinate.
    pub ranges: Vec<Vec<(f64, f64)>>,
    pub within: f64,
    /// The row farthest from its centre, and its squared distance.
    pub worst: (f64, usize),
    pub assigned: Vec<u32>,
}

impl MapReduce for AssignPass {
    const NAME: &'static str = "kmeans.assign";
    type Out = ClusterSums;

    fn map(&self, rows: Rows<'_>) -> ClusterSums {
        let (k, d, cats) = (self.centers.centers.len(), self.centers.fills.len(), self.centers.categorical);
        let columns: Vec<&[f64]> = rows.columns.iter().map(|c| c.as_ref()).collect();
        let mut out = ClusterSums {
            rows: vec![0.0; k],
            sums: vec![vec![0.0; d - cats]; k],
            counts: vec![self.levels.iter().map(|l| vec![0.0; *l]).collect(); k],
            ranges: vec![vec![(f64::INFINITY, f64::NEG_INFINITY); d - cats]; k],
            within: 0.0,
            worst: (-1.0, 0),
            assigned: Vec::with_capacity(rows.len),
        };
        let mut point = vec![0.0; d];
        for r in 0..rows.len {
            self.centers.point(&columns, r, &mut point);
            let (c, distance) = match &self.given {
                None => self.centers.nearest(&point),
                Some(given) => {
                    let c = given[rows.start + r] as usize;
                    (c, self.centers.distance(&self.centers.centers[c], &point))
                }
            };
            out.rows[c] += 1.0;
            out.within += distance;
            for (s, v) in out.sums[c].iter_mut().zip(&point[cats..]) {
                *s += v;
            }
            for (r, v) in out.ranges[c].iter_mut().zip(&point[cats..]) {
                *r = (r.0.min(*v), r.1.max(*v));
            }
            for (n, v) in out.counts[c].iter_mut().zip(&point[..cats]) {
                n[*v as usize] += 1.0;
            }
            if distance > out.worst.0 {
                out.worst = (distance, rows.start + r);
            }
            out.assigned.push(c as u32);
        }
        out
    }

    fn reduce(&self, mut left: ClusterSums, right: ClusterSums) -> ClusterSums {
        fn add(a: &mut [f64], b: &[f64]) {
            a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        }
        add(&mut left.rows, &right.rows);
        for (a, b) in left.sums.iter_mut().zip(&right.sums) {
            add(a, b);
        }
        for (a, b) in left.counts.iter_mut().flatten().zip(right.counts.iter().flatten()) {
            add(a, b);
        }
        for (a, b) in left.ranges.iter_mut().flatten().zip(right.ranges.iter().flatten()) {
            *a = (a.0.min(b.0), a.1.max(b.1));
        }
        left.within += right.within;
        if right.worst.0 > left.worst.0 {
            left.worst = right.worst;
        }
        left.assigned.extend(right.assigned);
        left
    }
}
