//! Which of several equally probable classes a row is told to be of. The reference draws one, by the shares that the classes
//! had in training and with the row's values as the seed, so that the same row is always told the same; so does this.

/// A seed out of a row's predictors: categories as codes, NaN for missing.
pub fn seed(row: impl Iterator<Item = f64>) -> i64 {
    let bits = |v: f64| if v.is_nan() { f64::NAN.to_bits() } else { v.to_bits() };
    row.fold(0, |seed, v| seed ^ (bits(v) as i64 >> 6))
}

/// The first number between 0 and 1 of the linear congruential generator of Java's standard library.
fn draw(seed: i64) -> f64 {
    const FACTOR: u64 = 0x5_DEEC_E66D;
    const MASK: u64 = (1 << 48) - 1;
    let mut state = (seed as u64 ^ FACTOR) & MASK;
    let mut next = |bits: u32| {
        state = (state.wrapping_mul(FACTOR) + 0xB) & MASK;
        state >> (48 - bits)
    };
    let high = next(26) << 27;
    (high + next(27)) as f64 / (1u64 << 53) as f64
}

/// The most probable class; of several, the one drawn with the seed of the row. `shares` are those of the classes in training;
/// without them, the first of several is told.
pub fn most_probable(p: &[f64], shares: &[f64], seed: impl FnOnce() -> i64) -> usize {
    let best = (1..p.len()).fold(0, |best, k| if p[k] > p[best] { k } else { best });
    let equal = |k: &usize| p[*k] == p[best];
    if shares.len() != p.len() || (best + 1..p.len()).all(|k| !equal(&k)) {
        return best;
    }
    let total: f64 = (0..p.len()).filter(equal).map(|k| shares[k]).sum();
    let drawn = draw(seed());
    let mut sum = 0.0;
    let found = (0..p.len()).filter(equal).find(|&k| {
        sum += shares[k] / total;
        drawn <= sum
    });
    found.unwrap_or(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_fall_as_in_the_reference() {
        // What new java.util.Random(0).nextDouble() says.
        assert_eq!(draw(0), 0.730967787376657);
        let quarter = [0.25; 4];
        // Rows of a model that knows nothing, as the reference 3.46.0.11 told them: district and age of the insurance data.
        for (district, age, told) in [(1.0, 2.0, 1), (1.0, 0.0, 1), (1.0, 1.0, 2), (1.0, 3.0, 0), (2.0, 2.0, 2)] {
            assert_eq!(most_probable(&quarter, &quarter, || seed([district, age].into_iter())), told, "{district} {age}");
        }
        assert_eq!(most_probable(&[0.4, 0.2, 0.4], &[0.5, 0.3, 0.2], || 0), 2);
        assert_eq!(most_probable(&[0.4, 0.2, 0.4], &[0.8, 0.1, 0.1], || 0), 0);
        assert_eq!(most_probable(&[0.1, 0.2, 0.7], &[0.8, 0.1, 0.1], || panic!("no tie")), 2);
    }
}
