//! Clusters of at least so many rows (Bradley, Bennett and Demiriz 2000, "Constrained K-means clustering").
//!
//! Given the centres, the assignment of least total distance under lower bounds is a flow of least cost. It starts from
//! every row at its nearest centre, which is the least cost without bounds; then each row that a cluster lacks arrives
//! along the cheapest chain of moves between clusters, which keeps the cost least at every step (Ahuja, Magnanti and
//! Orlin 1993, chapter 9.7). A chain is found among k clusters, not among the rows: what one move costs is known from a
//! heap for each pair of clusters.
//!
//! Cost: k heaps over each row (16 k bytes), O(k^3) a missing row. The result does not depend on threads or nodes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A saving or cost that can be ordered; rows break ties, so that the result is the same everywhere.
#[derive(PartialEq)]
struct Move(f64, u32);

impl Eq for Move {}
impl PartialOrd for Move {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Move {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0).then(self.1.cmp(&other.1))
    }
}

/// The cluster of each row; `distances` holds k numbers a row, and `fewest` adds up to no more than the rows.
pub fn assign(distances: &[f64], fewest: &[usize]) -> Vec<u32> {
    let k = fewest.len();
    let mut sizes = vec![0usize; k];
    let mut assigned: Vec<u32> = distances
        .chunks_exact(k)
        .map(|d| {
            let nearest = (1..k).fold(0, |best, c| if d[c] < d[best] { c } else { best });
            sizes[nearest] += 1;
            nearest as u32
        })
        .collect();
    if sizes.iter().zip(fewest).all(|(n, f)| n >= f) {
        return assigned;
    }
    let cost = |row: usize, from: usize, to: usize| distances[row * k + to] - distances[row * k + from];
    // Moves out of cluster a into cluster b, cheapest first; rows that have left are skipped when they come up.
    let mut moves: Vec<BinaryHeap<Reverse<Move>>> = (0..k * k).map(|_| BinaryHeap::new()).collect();
    let enter = |moves: &mut Vec<BinaryHeap<Reverse<Move>>>, row: usize, at: usize| {
        for b in (0..k).filter(|b| *b != at) {
            moves[at * k + b].push(Reverse(Move(cost(row, at, b), row as u32)));
        }
    };
    for (row, a) in assigned.iter().enumerate() {
        enter(&mut moves, row, *a as usize);
    }
    while let Some(poor) = (0..k).find(|&c| sizes[c] < fewest[c]) {
        let mut price = vec![f64::INFINITY; k * k];
        for a in 0..k {
            for b in (0..k).filter(|b| *b != a) {
                let heap = &mut moves[a * k + b];
                while heap.peek().is_some_and(|m| assigned[m.0.1 as usize] as usize != a) {
                    heap.pop();
                }
                if let Some(m) = heap.peek() {
                    price[a * k + b] = m.0.0;
                }
            }
        }
        // The cheapest chains into the poor cluster (Bellman and Ford; costs may be negative, cycles are not).
        let (mut far, mut next) = (vec![f64::INFINITY; k], vec![poor; k]);
        far[poor] = 0.0;
        for _ in 1..k {
            let mut changed = false;
            for a in (0..k).filter(|a| *a != poor) {
                for b in (0..k).filter(|b| *b != a) {
                    let through = price[a * k + b] + far[b];
                    if through < far[a] {
                        (far[a], next[a], changed) = (through, b, true);
                    }
                }
            }
            if !changed {
                break;
            }
        }
        let rich = (0..k).filter(|&c| sizes[c] > fewest[c] && far[c] < f64::INFINITY).min_by(|a, b| far[*a].total_cmp(&far[*b]));
        let Some(rich) = rich else { break };
        let (mut at, mut steps) = (rich, 0);
        let mut movers = vec![];
        while at != poor && steps < k {
            let to = next[at];
            if let Some(Reverse(Move(_, row))) = moves[at * k + to].pop() {
                movers.push((row as usize, to));
            }
            (at, steps) = (to, steps + 1);
        }
        for (row, to) in movers {
            assigned[row] = to as u32;
            enter(&mut moves, row, to);
        }
        sizes[rich] -= 1;
        sizes[poor] += 1;
    }
    assigned
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every assignment of eight rows to three clusters.
    fn best(distances: &[f64], fewest: &[usize]) -> f64 {
        let (n, k) = (distances.len() / 3, 3usize);
        (0..k.pow(n as u32))
            .filter_map(|mut code| {
                let (mut sizes, mut total) = ([0; 3], 0.0);
                for r in 0..n {
                    sizes[code % k] += 1;
                    total += distances[r * k + code % k];
                    code /= k;
                }
                sizes.iter().zip(fewest).all(|(s, f)| s >= f).then_some(total)
            })
            .fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn the_cost_is_the_least_of_all_assignments() {
        let mut rng = ochre_core::Rng::new(5);
        for fewest in [[0, 0, 8], [2, 3, 3], [1, 6, 0], [4, 0, 4], [0, 0, 0]] {
            for _ in 0..20 {
                let d: Vec<f64> = (0..24).map(|_| (rng.next_f64() * 20.0).round()).collect();
                let got = assign(&d, &fewest);
                let cost: f64 = got.iter().enumerate().map(|(r, c)| d[r * 3 + *c as usize]).sum();
                assert!((0..3).all(|c| got.iter().filter(|g| **g == c as u32).count() >= fewest[c]), "{got:?} {fewest:?}");
                assert_eq!(cost, best(&d, &fewest), "{d:?} {fewest:?} {got:?}");
            }
        }
    }
}
