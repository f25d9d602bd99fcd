//! Counting.

use super::{BayesOutput, BayesParams};
use crate::glm::design::categories_first;
use ochre_core::{CHUNK_ROWS, Column, Result, Team, f64s};
use ochre_model::driver::measure;
use ochre_model::{Deviance, Fitted, Run, adapt};
use ochre_schema::{Cell, Table};
use ochre_score::{BayesScorer, Conditional, Scorer};
use rayon::prelude::*;

/// What each chunk of a column adds up to, merged in order; `f` gets a class and a value, and where to add.
fn sums(
    team: &Team,
    column: &Column,
    width: usize,
    class: &[Option<usize>],
    f: impl Fn(usize, f64, &mut [f64]) + Sync,
) -> Result<Vec<f64>> {
    let parts = team
        .mine(column.chunks().len())
        .into_par_iter()
        .map(|k| {
            let data = column.chunks()[k].data()?;
            let mut out = vec![0.0; width];
            for (i, v) in f64s(&data).iter().enumerate() {
                if let Some(c) = class[k * CHUNK_ROWS + i] {
                    f(c, *v, &mut out);
                }
            }
            Ok(out)
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(team.gather(parts)?.concat().iter().fold(vec![0.0; width], |mut a, p| {
        a.iter_mut().zip(p).for_each(|(a, v)| *a += v);
        a
    }))
}

pub fn fit(run: &mut Run<'_, BayesParams>) -> Result<Fitted<BayesOutput>> {
    let (params, train) = (&run.params, &run.train);
    let classes = train.classes();
    let team = Team::for_rows(train.rows);
    let _room = run.node.ledger.reserve("classes of rows", (train.rows * 16) as u64)?;
    // The class of each row that takes part.
    let mut class: Vec<Option<usize>> = (0..train.rows).map(|i| (train.weight(i) > 0.0).then(|| train.y[i] as usize)).collect();
    for c in &train.columns {
        if c.rollup()?.missing > 0 {
            class.iter_mut().zip(c.to_f64()?).filter(|(_, v)| v.is_nan()).for_each(|(c, _)| *c = None);
        }
    }
    let mut counts = vec![0.0; classes];
    class.iter().flatten().for_each(|c| counts[*c] += 1.0);
    let rows: f64 = counts.iter().sum();
    let priors: Vec<f64> = counts.iter().map(|n| (n + params.laplace) / (rows + classes as f64 * params.laplace)).collect();
    // Categories first, those with more levels before, as in the reference.
    let levels = |i: usize| train.columns[i].domain().map_or(0, |d| d.len());
    let order = categories_first(&train.columns);
    let mut columns = vec![];
    for (done, &i) in order.iter().enumerate() {
        run.job.check()?;
        let column = &train.columns[i];
        columns.push(if column.is_enum() {
            let n = levels(i);
            let found = sums(&team, column, classes * n, &class, |c, v, out| out[c * n + v as usize] += 1.0)?;
            let share = |c: usize, l: usize| (found[c * n + l] + params.laplace) / (counts[c] + n as f64 * params.laplace);
            Conditional::Levels((0..classes).map(|c| (0..n).map(|l| share(c, l)).collect()).collect())
        } else {
            let totals = sums(&team, column, classes, &class, |c, v, out| out[c] += v)?;
            let means: Vec<f64> = totals.iter().zip(&counts).map(|(s, n)| s / n).collect();
            let squares = sums(&team, column, classes, &class, |c, v, out| out[c] += (v - means[c]) * (v - means[c]))?;
            Conditional::Normal((0..classes).map(|c| (means[c], (squares[c] / (counts[c] - 1.0)).sqrt())).collect())
        });
        run.job.set_progress((done + 1) as f64 / order.len() as f64);
    }
    let domain = train.labels();
    let tables =
        order.iter().zip(&columns).map(|(&i, c)| conditional_table(&train.names[i], train.columns[i].domain().map(|d| &d[..]), domain, c));
    let (low, high) = priors.iter().fold((f64::INFINITY, 0.0f64), |(l, h), p| (l.min(*p), h.max(*p)));
    let mut output = BayesOutput { levels: Some(domain.to_vec()), pcond: Some(tables.collect()), ..BayesOutput::default() };
    let mut apriori = Table::new("A Priori Response Probabilities", "").row_labels(vec!["".into()]);
    for (label, p) in domain.iter().zip(&priors) {
        apriori = apriori.column(label, "double", "%5f", vec![Cell::Double(*p)]);
    }
    output.apriori = Some(apriori);
    output.common.model_summary = Some(
        Table::new("Model Summary", "")
            .row_labels(vec!["".into()])
            .column("Number of Response Levels", "long", "%d", vec![classes.into()])
            .column("Min Apriori Probability", "double", "%.5f", vec![Cell::Double(low)])
            .column("Max Apriori Probability", "double", "%.5f", vec![Cell::Double(high)]),
    );
    let scorer = Scorer::Bayes(BayesScorer {
        priors,
        columns,
        deviations: (params.eps_sdev, params.min_sdev),
        probabilities: (params.eps_prob, params.min_prob),
    });
    let predictors = train.predictors();
    let ordered: Vec<_> = order.iter().map(|&i| predictors[i].clone()).collect();
    let bins = params.common.detail();
    let p = adapt::score(&scorer, &train.adapted(&ordered)?, None)?;
    let training = measure(train.category, &p, &train.y, train.w.as_deref(), domain, Deviance::Gaussian, bins.clone())?;
    let validation = match &run.valid {
        None => None,
        Some(v) => {
            let sources = order.iter().map(|&i| v.data.sources[i].clone()).collect();
            let data = adapt::Adapted { sources, rows: v.data.rows, warnings: vec![] };
            let p = adapt::score(&scorer, &data, None)?;
            Some(measure(train.category, &p, &v.y, v.w.as_deref(), domain, Deviance::Gaussian, bins)?)
        }
    };
    Ok(Fitted { output, scorer, deviance: Deviance::Gaussian, training, validation, order: Some(order) })
}

fn conditional_table(name: &str, levels: Option<&[String]>, classes: &[String], known: &Conditional) -> Table {
    let heading = format!("Y_by_{name}");
    let mut t =
        Table::new(name, "").named(&heading.to_lowercase(), &heading, "string", "%s", classes.iter().cloned().map(Cell::Text).collect());
    match known {
        Conditional::Levels(shares) => {
            for (l, label) in levels.unwrap_or_default().iter().enumerate() {
                t = t.named(label, label, "double", "%5f", shares.iter().map(|s| Cell::Double(s[l])).collect());
            }
            t
        }
        Conditional::Normal(at) => t.named("mean", "Mean", "double", "%5f", at.iter().map(|a| Cell::Double(a.0)).collect()).named(
            "std_dev",
            "Std_Dev",
            "double",
            "%5f",
            at.iter().map(|a| Cell::Double(a.1)).collect(),
        ),
    }
}
