//! Frames of random data, for trying things out.
//!
//! Shapes, types, names and ranges are the reference's; the random values themselves are ours: each chunk of each column
//! has a generator of its own, so that they do not depend on threads or nodes.

use arrow_array::StringArray;
use ochre_core::{CHUNK_ROWS, Chunk, Column, Error, Frame, Job, Kind, Node, Result, Rng, chunk_lengths, kept, store_data};
use std::sync::Arc;

/// What to make.
#[derive(Clone, Debug)]
pub struct Recipe {
    pub rows: usize,
    /// Columns beside the response.
    pub cols: usize,
    pub seed: i64,
    pub type_seed: i64,
    /// Otherwise every value is `value`.
    pub randomize: bool,
    pub value: f64,
    pub real_range: f64,
    pub integer_range: i64,
    pub factors: usize,
    /// Shares of the columns; the rest are reals.
    pub categorical: f64,
    pub integer: f64,
    pub binary: f64,
    pub time: f64,
    pub string: f64,
    pub binary_ones: f64,
    pub missing: f64,
    pub response: bool,
    /// Levels of the response; 1 for a number.
    pub response_factors: usize,
    pub positive_response: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Real { low: f64, high: f64 },
    Integer(i64),
    Binary,
    Categories(usize),
    Time,
    Text,
    Constant,
}

const TEXT_LENGTH: usize = 8;
/// Random times lie between 1970 and 2020.
const TIME_MAX_MS: f64 = 1_577_836_800_000.0;

/// Most columns of a made frame, and most levels of its categories.
const COLS_MAX: usize = 1_000_000;
const FACTORS_MAX: usize = 10_000_000;

impl Recipe {
    pub fn check(&self) -> Result<()> {
        let fail = |m: String| Err(Error::invalid(m));
        if self.rows == 0 || self.cols == 0 {
            return fail(format!("rows and cols must be greater than 0, but are {} and {}", self.rows, self.cols));
        }
        if self.cols > COLS_MAX {
            return fail(format!("cols must be at most {COLS_MAX}, but is {}", self.cols));
        }
        for (name, n) in [("factors", self.factors), ("response_factors", self.response_factors)] {
            if n > FACTORS_MAX {
                return fail(format!("{name} must be at most {FACTORS_MAX}, but is {n}"));
            }
        }
        for (name, share) in [
            ("categorical_fraction", self.categorical),
            ("integer_fraction", self.integer),
            ("binary_fraction", self.binary),
            ("time_fraction", self.time),
            ("string_fraction", self.string),
            ("binary_ones_fraction", self.binary_ones),
            ("missing_fraction", self.missing),
        ] {
            if !(0.0..=1.0).contains(&share) {
                return fail(format!("{name} must be between 0 and 1, but is {share}"));
            }
        }
        let sum = self.categorical + self.integer + self.binary + self.time + self.string;
        if sum > 1.000_001 {
            return fail(format!("the fractions of categorical, integer, binary, time and string columns add up to {sum}, more than 1"));
        }
        if self.categorical > 0.0 && self.factors < 2 {
            return fail("Factors must be larger than 2 for categorical data.".into());
        }
        if self.response && self.response_factors < 1 {
            return fail("response_factors must be at least 1".into());
        }
        if self.real_range < 0.0 || self.integer_range < 0 {
            return fail(format!("ranges must not be negative, but are {} and {}", self.real_range, self.integer_range));
        }
        if !self.randomize && sum > 0.0 {
            return fail("randomize must be true when there are columns other than reals".into());
        }
        Ok(())
    }

    /// Types of the columns, shuffled (Fisher and Yates) by their own seed.
    fn types(&self) -> Vec<What> {
        let count = |share: f64| (share * self.cols as f64 + 1e-9) as usize;
        let mut types = vec![];
        let mut add = |n: usize, what: What| types.extend(std::iter::repeat_n(what, n));
        add(count(self.categorical), What::Categories(self.factors));
        add(count(self.integer), What::Integer(self.integer_range));
        add(count(self.binary), What::Binary);
        add(count(self.time), What::Time);
        add(count(self.string), What::Text);
        let real = if self.randomize { What::Real { low: -self.real_range, high: self.real_range } } else { What::Constant };
        types.resize(self.cols, real);
        let mut rng = Rng::new(self.type_seed);
        for i in (1..types.len()).rev() {
            types.swap(i, rng.below(i as u32 + 1) as usize);
        }
        types
    }
}

/// Makes the frame.
pub fn create(node: &Node, job: &Job, recipe: &Recipe) -> Result<Frame> {
    recipe.check()?;
    let (mut names, mut types) = (vec![], vec![]);
    if recipe.response {
        names.push("response".to_string());
        types.push(match recipe.response_factors {
            _ if !recipe.randomize => What::Constant,
            1 => What::Real { low: if recipe.positive_response { 0.0 } else { -recipe.real_range }, high: recipe.real_range },
            n => What::Categories(n),
        });
    }
    names.extend((1..=recipe.cols).map(|i| format!("C{i}")));
    types.extend(recipe.types());
    let mut columns = vec![];
    for (i, what) in types.iter().enumerate() {
        job.check()?;
        columns.push(node.runner.install(|| column(node, recipe, i, *what))?);
        job.set_progress((i + 1) as f64 / types.len() as f64);
    }
    Frame::new(names, columns)
}

fn column(node: &Node, recipe: &Recipe, i: usize, what: What) -> Result<Column> {
    let generator =
        |first: usize| Rng::new(recipe.seed ^ (i as i64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15u64 as i64) ^ (first as i64) << 20);
    let kind = match what {
        What::Categories(n) if recipe.response && i == 0 => Kind::Enum(Arc::new((0..n).map(|l| l.to_string()).collect())),
        What::Categories(n) => Kind::Enum(Arc::new((0..n).map(|l| format!("c{i}.l{l}")).collect())),
        What::Time => Kind::Time,
        What::Text => return texts(node, recipe, &generator),
        _ => Kind::Real,
    };
    Column::generate(&node.ledger, kind, recipe.rows, |first, n| {
        let mut rng = generator(first);
        (0..n)
            .map(|_| {
                if rng.next_f64() < recipe.missing {
                    return f64::NAN;
                }
                match what {
                    What::Constant => recipe.value,
                    What::Real { low, high } => low + (high - low) * rng.next_f64(),
                    What::Integer(range) => (rng.next_f64() * (2 * range + 1) as f64).floor() - range as f64,
                    What::Binary => f64::from(rng.next_f64() < recipe.binary_ones),
                    What::Categories(levels) => f64::from(rng.below(levels as u32)),
                    What::Time => (rng.next_f64() * TIME_MAX_MS).floor(),
                    What::Text => f64::NAN,
                }
            })
            .collect()
    })
}

fn texts(node: &Node, recipe: &Recipe, generator: &dyn Fn(usize) -> Rng) -> Result<Column> {
    let here = kept(recipe.rows);
    let mut chunks = vec![];
    for (k, n) in chunk_lengths(recipe.rows).into_iter().enumerate() {
        if !here.contains(&k) {
            chunks.push(Chunk::elsewhere(n, &node.ledger));
            continue;
        }
        let mut rng = generator(k * CHUNK_ROWS);
        let values: StringArray = (0..n)
            .map(|_| {
                let missing = rng.next_f64() < recipe.missing;
                let text: String = (0..TEXT_LENGTH).map(|_| char::from(b'A' + rng.below(26) as u8)).collect();
                (!missing).then_some(text)
            })
            .collect();
        chunks.push(store_data(&node.ledger, Arc::new(values))?);
    }
    Ok(Column::from_chunks(Kind::Text, chunks))
}
