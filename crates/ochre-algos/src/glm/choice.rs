//! Which penalty cross-validation chooses.

use super::params::GlmParams;
use ochre_model::Model;
use ochre_score::Scorer;

/// What the folds said of the penalties, for the model of all data.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Mean deviance per row that a fold held out, and its standard error, by penalty.
    pub held_out: Vec<(f64, f64)>,
    /// The largest penalty whose deviance is within one standard error of the least.
    pub within_one_error: f64,
    /// The whole path of which the model goes along a part.
    pub largest: f64,
    pub smallest: f64,
}

/// Leaves in `params` the penalties down to the best one, and returns those that the folds are trained with once more. Nothing
/// to choose between changes nothing.
pub fn choose(params: &mut GlmParams, folds: &[&Model]) -> Option<GlmParams> {
    // Deviances by penalty, of the folds in turn. A search may have ended early in some.
    let paths: Vec<Vec<(f64, f64, f64)>> = folds.iter().map(|m| path(m)).collect::<Option<_>>()?;
    let count = paths.iter().map(Vec::len).min().unwrap_or(0);
    if count < 2 {
        return None;
    }
    let k = folds.len() as f64;
    let mean = |i: usize| -> (f64, f64) {
        let values = || paths.iter().map(|p| p[i].2);
        let (sum, squares) = (values().sum::<f64>(), values().map(|v| v * v).sum::<f64>());
        (sum / k, ((squares - sum * sum / k).max(0.0) / ((k - 1.0) * k)).sqrt())
    };
    let all: Vec<(f64, f64)> = (0..count).map(mean).collect();
    let best = (0..count).fold(0, |b, i| if all[i].0 < all[b].0 { i } else { b });
    let (alpha, lambda, _) = paths[0][best];
    // Penalties of the same mixture, the largest first.
    let same: Vec<usize> = (0..count).filter(|&i| paths[0][i].0 == alpha).collect();
    let limit = all[best].0 + all[best].1;
    let path: Vec<f64> = same.iter().filter(|&&i| i <= best).map(|&i| paths[0][i].1).collect();
    let within = same.iter().rev().filter(|&&i| i <= best).take_while(|&&i| all[i].0 <= limit).last().map_or(lambda, |&i| paths[0][i].1);
    let given = params.lambda.clone().unwrap_or_default();
    params.alpha = Some(vec![alpha]);
    params.chosen = Some(Choice {
        held_out: same.iter().filter(|&&i| i <= best).map(|&i| all[i]).collect(),
        within_one_error: within,
        largest: given.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        smallest: given.iter().copied().fold(f64::INFINITY, f64::min),
    });
    params.early_stopping = false;
    params.lambda = Some(if params.lambda_search { path } else { vec![lambda] });
    Some(GlmParams { lambda: Some(vec![lambda]), lambda_search: false, chosen: None, ..params.clone() })
}

/// (alpha, lambda, deviance per held-out row) of each penalty that a fold tried.
fn path(model: &Model) -> Option<Vec<(f64, f64, f64)>> {
    let Scorer::Glm(glm) = &model.scorer else { return None };
    let metrics = model.metrics.read();
    let held_out = metrics.iter().rev().find_map(|m| m.glm.map(|g| (g.residual_deviance, m.nobs as f64)))?;
    // The deviance of the best one is known, and which share of the null deviance that leaves.
    let best = glm.path.iter().filter_map(|s| s.explained_valid).fold(f64::NEG_INFINITY, f64::max);
    let null = held_out.0 / (1.0 - best);
    if !(null.is_finite() && null > 0.0) {
        return None;
    }
    glm.path.iter().map(|s| Some((s.alpha, s.lambda, (1.0 - s.explained_valid?) * null / held_out.1))).collect()
}
