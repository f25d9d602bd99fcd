//! How a fit went, as tables.

use ochre_core::time;
use ochre_model::{Category, Metrics};
use ochre_schema::{Cell, Table};

/// What one iteration left.
#[derive(Clone)]
pub struct Step {
    pub at_ms: i64,
    pub iteration: usize,
    pub loss: f64,
    pub objective: f64,
    pub alpha: f64,
    pub lambda: f64,
    pub beta: Vec<Vec<f64>>,
}

/// Metrics of a step that was scored, on training and validation data.
pub type Scored = Option<(Metrics, Option<Metrics>)>;

pub fn names(category: Category) -> &'static [&'static str] {
    match category {
        Category::Regression => &["rmse", "deviance", "mae", "r2"],
        Category::Binomial => &["rmse", "logloss", "r2", "auc", "pr_auc", "lift", "classification_error"],
        _ => &["rmse", "logloss", "r2", "classification_error", "auc", "pr_auc"],
    }
}

/// Columns of metrics, blank where a row was not scored.
pub fn with_metrics(mut t: Table, category: Category, scored: &[Scored], prefix: &str) -> Table {
    let custom = scored.iter().flatten().any(|m| m.0.custom.is_some()).then_some(&"custom");
    let mut add = |sample: &str, pick: &dyn Fn(&(Metrics, Option<Metrics>)) -> Option<Metrics>| {
        for name in names(category).iter().chain(custom) {
            let cells = scored
                .iter()
                .map(|s| s.as_ref().and_then(pick).map_or(Cell::Missing, |m| Cell::Double(m.get(name).unwrap_or(f64::NAN))))
                .collect();
            let label = format!("{prefix}{sample}_{name}");
            t = std::mem::replace(&mut t, Table::new("", "")).named(&label, &label, "double", "%.5f", cells);
        }
    };
    add("training", &|m| Some(m.0.clone()));
    if scored.iter().flatten().any(|m| m.1.is_some()) {
        add("validation", &|m| m.1.clone());
    }
    t
}

/// Loss and objective of iterations, beside those of the `unrestricted` model where there are two; with `paths` their penalties
/// and deviances too.
pub fn steps(steps: &[Step], unrestricted: Option<&[Step]>, scored: &[Scored], started: i64, category: Category, paths: bool) -> Table {
    let each = |f: &dyn Fn(&Step) -> Cell| steps.iter().map(f).collect::<Vec<_>>();
    let mut t = Table::new("Scoring History", "")
        .row_labels(vec!["".into(); steps.len()])
        .named("timestamp", "timestamp", "string", "%s", each(&|s| Cell::Text(time::stamp(s.at_ms))))
        .named("duration", "duration", "string", "%s", each(&|s| Cell::Text(time::duration_text(s.at_ms - started))))
        .named("iterations", "iterations", "int", "%d", each(&|s| s.iteration.into()))
        .named("negative_log_likelihood", "negative_log_likelihood", "double", "%.5f", each(&|s| Cell::Double(s.loss)))
        .named("objective", "objective", "double", "%.5f", each(&|s| Cell::Double(s.objective)));
    if let Some(whole) = unrestricted {
        let cells = |f: &dyn Fn(&Step) -> f64| whole.iter().map(|s| Cell::Double(f(s))).collect::<Vec<_>>();
        t = t
            .named("unrestricted_negative_log_likelihood", "unrestricted_negative_log_likelihood", "double", "%.5f", cells(&|s| s.loss))
            .named("unrestricted_objective", "unrestricted_objective", "double", "%.5f", cells(&|s| s.objective));
    }
    if paths {
        let deviance = |m: &Metrics| m.glm.map_or(f64::NAN, |g| g.residual_deviance / m.nobs as f64);
        let train = scored.iter().map(|s| s.as_ref().map_or(Cell::Missing, |m| Cell::Double(deviance(&m.0)))).collect();
        t = t
            .named("alpha", "alpha", "double", "%.5f", each(&|s| Cell::Double(s.alpha)))
            .named("lambda", "lambda", "double", "%.5f", each(&|s| Cell::Double(s.lambda)))
            .named("deviance_train", "deviance_train", "double", "%.5f", train);
        if scored.iter().flatten().any(|m| m.1.is_some()) {
            let valid = scored.iter().map(|s| s.as_ref().and_then(|m| m.1.as_ref()).map_or(Cell::Missing, |m| Cell::Double(deviance(m))));
            t = t.named("deviance_test", "deviance_test", "double", "%.5f", valid.collect());
        }
    }
    with_metrics(t, category, scored, "")
}
