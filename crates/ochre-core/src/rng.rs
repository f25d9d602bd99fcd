//! The reference's generator, so that the same seed means the same draws: PCG XSH-RR 64/32 (O'Neill 2014).

use rayon::prelude::*;

#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
    inc: u64,
}

const MULTIPLIER: u64 = 6364136223846793005;

impl Rng {
    pub fn new(seed: i64) -> Rng {
        let mut rng = Rng { state: 0, inc: 3 };
        rng.set_seed(seed);
        rng
    }

    pub fn set_seed(&mut self, seed: i64) {
        self.state = 0;
        self.next_u32();
        self.state = self.state.wrapping_add(seed as u64);
        self.next_u32();
    }

    pub fn next_u32(&mut self) -> u32 {
        let old = self.state;
        self.state = old.wrapping_mul(MULTIPLIER).wrapping_add(self.inc);
        let x = (((old >> 18) ^ old) >> 27) as u32;
        x.rotate_right((old >> 59) as u32)
    }

    pub fn next_i64(&mut self) -> i64 {
        let high = u64::from(self.next_u32());
        ((high << 32) | u64::from(self.next_u32())) as i64
    }

    fn next_bits(&mut self, bits: u32) -> u64 {
        (self.next_i64() as u64) & ((1 << bits) - 1)
    }

    /// A number of the standard normal distribution (Box and Muller 1958).
    pub fn next_normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.next_f64(), self.next_f64());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    pub fn next_f32(&mut self) -> f32 {
        self.next_bits(24) as f32 / (1u32 << 24) as f32
    }

    pub fn next_f64(&mut self) -> f64 {
        let high = self.next_bits(26) << 27;
        (high + self.next_bits(27)) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in `0..bound`, without modulo bias.
    pub fn below(&mut self, bound: u32) -> u32 {
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let r = self.next_u32();
            if r >= threshold {
                return r % bound;
            }
        }
    }

    /// A seed for a user who gave none.
    pub fn fresh_seed() -> i64 {
        if let Some(task) = crate::team::current() {
            // The nodes of a cluster have to draw the same one.
            let mut rng = Rng::new(task.now_ms ^ (task.next_name() as i64).wrapping_mul(0x9E37_79B9_7F4A_7C15u64 as i64));
            return (rng.next_i64() as u64 >> 11) as i64;
        }
        use std::hash::{BuildHasher, Hasher};
        let mut h = std::collections::hash_map::RandomState::new().build_hasher();
        h.write_u64(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64));
        // Clients read it through a double: 53 bits survive that.
        (h.finish() >> 11) as i64
    }
}

/// Rows drawn for a tree: each with its own draw, so that the choice does not depend on the layout. `rate` is the share of
/// rows like this one that are drawn.
pub fn draw_rows(rows: std::ops::Range<usize>, rate: impl Fn(usize) -> f64 + Sync, seed: i64) -> Vec<bool> {
    rows.into_par_iter()
        .map_init(
            || Rng::new(0),
            |rng, i| {
                rng.set_seed(seed.wrapping_add(i as i64));
                f64::from(rng.next_f32()) < rate(i)
            },
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows (from 0) that `split_frame(ratios=[0.8], seed=0)` puts into part two, as the reference was seen to do.
    #[test]
    fn runif_is_the_references() {
        let mut rng = Rng::new(0);
        let mut second = vec![];
        for row in 0..50 {
            rng.set_seed(row);
            if f64::from(rng.next_f32()) > 0.8 {
                second.push(row);
            }
        }
        assert_eq!(&second[..4], [3, 10, 21, 38]);
    }
}
