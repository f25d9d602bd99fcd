//! Metrics by the names of the xgboost package (its documentation, "Learning Task Parameters"), for `eval_metric`.

use ochre_model::Category;
use ochre_model::metrics::Metrics;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Evaluation {
    Rmse,
    Rmsle,
    Mae,
    /// Of two classes or of several.
    Logloss,
    /// Areas under curves, which need all rows in order.
    Auc,
    Aucpr,
    /// Share of rows on the wrong side of a probability, and of rows whose most probable class is another.
    Error(f64),
    Merror,
    /// Mean absolute error relative to the answer.
    Mape,
    PoissonNloglik,
    GammaDeviance,
}

/// Names and the kinds of response that they are for.
const NAMES: [(&str, Evaluation, &[Category]); 12] = [
    ("rmse", Evaluation::Rmse, &[Category::Regression, Category::Binomial]),
    ("rmsle", Evaluation::Rmsle, &[Category::Regression]),
    ("mae", Evaluation::Mae, &[Category::Regression]),
    ("mape", Evaluation::Mape, &[Category::Regression]),
    ("poisson-nloglik", Evaluation::PoissonNloglik, &[Category::Regression]),
    ("gamma-deviance", Evaluation::GammaDeviance, &[Category::Regression]),
    ("logloss", Evaluation::Logloss, &[Category::Binomial]),
    ("error", Evaluation::Error(0.5), &[Category::Binomial]),
    ("auc", Evaluation::Auc, &[Category::Binomial]),
    ("aucpr", Evaluation::Aucpr, &[Category::Binomial]),
    ("mlogloss", Evaluation::Logloss, &[Category::Multinomial]),
    ("merror", Evaluation::Merror, &[Category::Multinomial]),
];

impl Evaluation {
    pub fn read(name: &str, category: Category) -> Result<Evaluation, String> {
        let (stem, at) = name.split_once('@').map_or((name, None), |(s, t)| (s, Some(t)));
        let found = NAMES.iter().find(|n| n.0 == stem && n.2.contains(&category)).map(|n| n.1);
        match (found, at) {
            (Some(Evaluation::Error(_)), Some(t)) => {
                let cut = t.parse::<f64>().ok().filter(|t| t.is_finite());
                cut.map(Evaluation::Error).ok_or_else(|| format!("eval_metric {name}: '{t}' is not a number"))
            }
            (Some(e), None) => Ok(e),
            _ => {
                let fit: Vec<&str> = NAMES.iter().filter(|n| n.2.contains(&category)).map(|n| n.0).collect();
                Err(format!(
                    "eval_metric '{name}' is not supported for this response by this version of ochre; use one of {} (error also as error@0.3)",
                    fit.join(", ")
                ))
            }
        }
    }

    /// Can it only be told from the metrics that every model is measured by?
    pub fn needs_metrics(self) -> bool {
        matches!(self, Evaluation::Auc | Evaluation::Aucpr)
    }

    /// The value over rows with known answers; `predictions` are probabilities of all classes, or numbers.
    pub fn value(self, predictions: &[f64], y: &[f64], w: Option<&[f64]>, measured: &Metrics) -> f64 {
        let width = predictions.len() / y.len().max(1);
        let mean = |f: &dyn Fn(&[f64], f64) -> f64| {
            let (mut sum, mut weight) = (0.0, 0.0);
            for (r, (p, y)) in predictions.chunks(width.max(1)).zip(y).enumerate() {
                let own = w.map_or(1.0, |w| w[r]);
                if !y.is_nan() && own > 0.0 {
                    (sum, weight) = (sum + own * f(p, *y), weight + own);
                }
            }
            sum / weight
        };
        let wrong = |is: bool| f64::from(u8::from(is));
        match self {
            Evaluation::Auc => measured.get("auc").unwrap_or(f64::NAN),
            Evaluation::Aucpr => measured.get("aucpr").unwrap_or(f64::NAN),
            // Of classes the probability of the second is what is told.
            Evaluation::Rmse => mean(&|p, y| (p[p.len().min(2) - 1] - y).powi(2)).sqrt(),
            Evaluation::Rmsle => mean(&|p, y| (p[0].ln_1p() - y.ln_1p()).powi(2)).sqrt(),
            Evaluation::Mae => mean(&|p, y| (p[0] - y).abs()),
            Evaluation::Logloss => mean(&|p, y| -p[y as usize].max(1e-16).ln()),
            Evaluation::Error(cut) => mean(&|p, y| wrong((p[1] > cut) != (y == 1.0))),
            Evaluation::Merror => mean(&|p, y| wrong(ochre_model::metrics::argmax(p) as f64 != y)),
            Evaluation::Mape => mean(&|p, y| ((y - p[0]) / y).abs()),
            Evaluation::PoissonNloglik => mean(&|p, y| {
                let mu = p[0].max(1e-16);
                statrs::function::gamma::ln_gamma(y + 1.0) + mu - y * mu.ln()
            }),
            Evaluation::GammaDeviance => mean(&|p, y| 2.0 * ((p[0] / y).ln() + y / p[0] - 1.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_kind_of_response() {
        assert_eq!(Evaluation::read("error@0.3", Category::Binomial), Ok(Evaluation::Error(0.3)));
        assert_eq!(Evaluation::read("mlogloss", Category::Multinomial), Ok(Evaluation::Logloss));
        for (name, why) in
            [("error@x", "'x' is not a number"), ("mae", "use one of rmse, logloss, error"), ("auc@3", "'auc@3'"), ("", "''")]
        {
            let e = Evaluation::read(name, Category::Binomial).unwrap_err();
            assert!(e.contains(why), "{e}");
        }
    }
}
