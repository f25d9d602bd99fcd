//! Models that vote with weights (Freund and Schapire 1997).

use crate::Scorer;

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Member {
    /// Weight of its vote.
    pub weight: f64,
    /// Probability of the second class from which on it votes for it.
    pub threshold: f64,
    /// Its predictors, in its order, by their places among the committee's.
    pub order: Vec<usize>,
    pub scorer: Scorer,
}

/// Members that tell two classes apart.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Committee {
    pub members: Vec<Member>,
}

impl Member {
    /// Adds its vote, plus or minus its weight, to each row's sum.
    fn vote(&self, columns: &[&[f64]], sums: &mut [f64]) {
        let own: Vec<&[f64]> = self.order.iter().map(|&i| columns[i]).collect();
        let mut p = vec![0.0; sums.len() * 2];
        self.scorer.score(&own, None, &mut p);
        for (sum, p) in sums.iter_mut().zip(p.chunks(2)) {
            *sum += if p[1] >= self.threshold { self.weight } else { -self.weight };
        }
    }
}

impl Committee {
    /// Probabilities of the two classes: the logistic function of twice the sum of votes.
    pub fn score(&self, columns: &[&[f64]], out: &mut [f64]) {
        let mut sums = vec![0.0; out.len() / 2];
        self.members.iter().for_each(|m| m.vote(columns, &mut sums));
        for (o, sum) in out.chunks_mut(2).zip(sums) {
            o[1] = 1.0 / (1.0 + (-2.0 * sum).exp());
            o[0] = 1.0 - o[1];
        }
    }
}
