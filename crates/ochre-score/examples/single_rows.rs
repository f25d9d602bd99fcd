//! Times single rows of a model: `cargo run --release --example single_rows -- model.zip`.
//!
//! Prints the median and the 99th percentile in microseconds, over 200,000 rows of random levels and numbers.

use ochre_score::mojo;
use std::time::Instant;

const ROWS: usize = 200_000;

fn main() {
    let path = std::env::args().nth(1).expect("the model's file");
    let file = std::fs::File::open(&path).expect("the model can be opened");
    let model = mojo::read(std::io::BufReader::new(file)).expect("the model can be read").file;
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let columns = &model.predictors;
    let rows: Vec<Vec<[f64; 1]>> = (0..ROWS)
        .map(|_| {
            let value = |c: &ochre_score::Column, u: f64| c.domain.as_ref().map_or(u * 3000.0, |d| (u * d.len() as f64).floor());
            columns.iter().map(|c| [value(c, random())]).collect()
        })
        .collect();
    // Laid out once, as a program that scores row by row does.
    let flat = model.scorer.lay_out(ROWS);
    let mut out = vec![0.0; model.scorer.width()];
    let mut sum = 0.0;
    let mut took: Vec<f64> = rows
        .iter()
        .map(|row| {
            let begun = Instant::now();
            let views: Vec<&[f64]> = row.iter().map(|v| &v[..]).collect();
            model.scorer.score_laid_out(flat.as_ref(), &views, None, &mut out);
            sum += out[0];
            begun.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    took.sort_by(f64::total_cmp);
    println!("{:.2} {:.2} {sum:.3}", took[ROWS / 2], took[ROWS * 99 / 100]);
}
