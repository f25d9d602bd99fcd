//! A kernel matrix as the product of a narrow matrix and its transpose.

use ochre_core::{Job, Result};
use ochre_score::{KernelScorer, KernelSpace};
use rayon::prelude::*;

/// Rows that a thread works on at once.
const TILE: usize = 2048;

/// Incomplete Cholesky factor of the gaussian kernel matrix, with the largest rest of the diagonal as the next pivot (Fine
/// and Scheinberg 2001): columns of all rows, at most `rank`. Reads `4 rank^2 n` bytes of the factor.
pub fn incomplete(space: &KernelSpace, points: &[f64], gamma: f64, rank: usize, enough: f64, job: &Job) -> Result<Vec<Vec<f64>>> {
    let k = space.fills.len();
    let n = points.len() / k;
    // What is left of the diagonal; negative once a row was the pivot.
    let mut rest = vec![1.0; n];
    let mut factor: Vec<Vec<f64>> = vec![];
    while factor.len() < rank {
        job.check()?;
        if rest.iter().filter(|d| **d >= 0.0).sum::<f64>() < enough {
            break;
        }
        let mut pivot = 0;
        for (i, d) in rest.iter().enumerate() {
            if *d > rest[pivot] {
                pivot = i;
            }
        }
        // Nothing is left but rounding.
        if rest[pivot] <= 0.0 {
            break;
        }
        let root = rest[pivot].sqrt();
        let at_pivot: Vec<f64> = factor.iter().map(|c| c[pivot]).collect();
        let here = &points[pivot * k..][..k];
        let mut column = vec![0.0; n];
        column.par_chunks_mut(TILE).zip(rest.par_chunks_mut(TILE)).enumerate().for_each(|(tile, (column, rest))| {
            let first = tile * TILE;
            for (i, h) in column.iter_mut().enumerate() {
                *h = (-gamma * space.distance(&points[(first + i) * k..][..k], here)).exp();
            }
            for (earlier, a) in factor.iter().zip(&at_pivot) {
                column.iter_mut().zip(&earlier[first..]).for_each(|(h, e)| *h -= e * a);
            }
            for (i, (h, d)) in column.iter_mut().zip(rest).enumerate() {
                if first + i == pivot {
                    (*h, *d) = (root, -1.0);
                } else if *d < 0.0 {
                    *h = 0.0;
                } else {
                    *h /= root;
                    *d = (*d - *h * *h).max(0.0);
                }
            }
        });
        factor.push(column);
        job.set_progress(0.5 * factor.len() as f64 / rank as f64);
    }
    Ok(factor)
}

/// Support vectors that the constant of the decision is taken from, as in the reference.
const BIAS_VECTORS: usize = 1000;

/// Mean over the first support vectors of what their decision lacks to their sign.
pub fn bias(scorer: &KernelScorer, k: usize, alpha: &[f64], signs: &[f64]) -> f64 {
    let signs: Vec<f64> = alpha.iter().zip(signs).filter(|(a, _)| !a.is_nan()).map(|(_, s)| *s).collect();
    let lacks: Vec<f64> = scorer.vectors.par_chunks_exact(k).take(BIAS_VECTORS).zip(&signs).map(|(v, s)| s - scorer.decision(v)).collect();
    if lacks.is_empty() { 0.0 } else { lacks.iter().sum::<f64>() / lacks.len() as f64 }
}
