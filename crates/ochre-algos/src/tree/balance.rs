//! Balanced classes: rows of rare classes weigh more, so that each class weighs the same (or as the user says).
//!
//! The reference copies rows at random; weighing them has the same expectation, no luck in it, and no copies. What the
//! trees then say is corrected by the shares that the classes had before (Elkan 2001, theorem 2).

use ochre_model::params::TreeParams;
use ochre_model::{Category, Shape, Training};
use ochre_schema::Notes;

pub fn check(tree: &TreeParams, shape: &Shape<'_>, notes: &mut Notes) {
    let factors = tree.class_sampling_factors.as_deref().unwrap_or_default();
    if !tree.balance_classes {
        if !factors.is_empty() {
            notes.warn("_class_sampling_factors", "class_sampling_factors change nothing without balance_classes");
        }
        return;
    }
    if shape.category == Some(Category::Regression) {
        notes.warn("_balance_classes", "balance_classes changes nothing in regression: it requires classes");
        return;
    }
    let field = "_class_sampling_factors";
    let classes = shape.training.classes();
    if !factors.is_empty() && factors.len() != classes {
        notes.error(field, format!("class_sampling_factors must have one factor for each of {classes} classes, but has {}", factors.len()));
    }
    if let Some(f) = factors.iter().find(|f| !(**f > 0.0 && f.is_finite())) {
        notes.error(field, format!("class_sampling_factors must be positive, but one factor is {f}"));
    }
    if !(tree.max_after_balance_size > 0.0) {
        notes.error("_max_after_balance_size", format!("max_after_balance_size must be positive, but is {}", tree.max_after_balance_size));
    }
}

/// Weighs the rows; returns by what each class's probability is to be multiplied.
pub fn weigh(tree: &TreeParams, train: &mut Training) -> Vec<f64> {
    if !tree.balance_classes || train.category == Category::Regression {
        return vec![];
    }
    let mut counts = vec![0.0; train.classes()];
    for r in (0..train.rows).filter(|&r| train.weight(r) > 0.0) {
        counts[train.y[r] as usize] += train.weight(r);
    }
    let total: f64 = counts.iter().sum();
    let largest = counts.iter().copied().fold(0.0, f64::max);
    let mut factors: Vec<f64> = match tree.class_sampling_factors.as_deref() {
        Some(f) if !f.is_empty() => f.iter().map(|f| f64::from(*f)).collect(),
        _ => counts.iter().map(|n| if *n > 0.0 { largest / n } else { 1.0 }).collect(),
    };
    let after: f64 = counts.iter().zip(&factors).map(|(n, f)| n * f).sum();
    let room = f64::from(tree.max_after_balance_size) * total;
    if after > room {
        factors.iter_mut().for_each(|f| *f *= room / after);
    }
    let mut w = train.w.take().unwrap_or_else(|| vec![1.0; train.rows]);
    for (r, w) in w.iter_mut().enumerate().filter(|(_, w)| **w > 0.0) {
        *w *= factors[train.y[r] as usize];
    }
    train.w = Some(w);
    // Share before over share after, up to a factor that dividing by the sum takes away.
    factors.iter().map(|f| 1.0 / f).collect()
}
