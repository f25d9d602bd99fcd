//! What expressions ask of models.

use crate::parse::Ast;
use crate::{Apply, Env, Prim, Value};
use ochre_core::{Column, Error, Kind, Result};
use ochre_model::leaderboard as board;
use ochre_model::{Model, permute};
use std::sync::Arc;

pub const MODELS: &[Prim] = &[
    Prim {
        name: "model.reset.threshold",
        args: &["model", "threshold"],
        apply: Apply::Special(reset_threshold),
        help: "Sets the probability from which on a row counts as the second class; answers the old one.",
    },
    Prim {
        name: "set.calibration.model",
        args: &["model", "calibration"],
        apply: Apply::Special(calibrate),
        help: "Lets a model of trees tell probabilities that an isotonic regression calibrates.",
    },
    Prim {
        name: "makeLeaderboard",
        args: &["models", "leaderboardFrame", "sortMetric", "extensions", "scoringData"],
        apply: Apply::Special(leaderboard),
        help: "A row for each of some models with its metrics, the best first.",
    },
    Prim {
        name: "tree.update.weights",
        args: &["model", "frame", "weights"],
        apply: Apply::Special(weigh),
        help: "Lets the nodes of a model's trees weigh what comes to them of a frame; answers OK, or which nodes nothing comes to.",
    },
    Prim {
        name: "PermutationVarImp",
        args: &["model", "frame", "metric", "n_samples", "n_repeats", "features", "seed"],
        apply: Apply::Special(permutation),
        help: "How much a metric changes when the values of a column are shuffled.",
    },
    Prim {
        name: "result",
        args: &["model"],
        apply: Apply::Special(result),
        help: "The summary of a model that compares others, as a frame: a row for each of them.",
    },
    Prim {
        name: "predicted.vs.actual.by.var",
        args: &["model", "frame", "variable", "predicted"],
        apply: Apply::Special(by_variable),
        help: "Means of predictions and of answers for each level of a categorical column.",
    },
    Prim {
        name: "rulefit.predict.rules",
        args: &["model", "frame", "rules"],
        apply: Apply::Special(rules),
        help: "For each row and each of some rules, whether the rule holds.",
    },
    Prim {
        name: "fairnessMetrics",
        args: &["model", "test_frame", "protected_columns", "reference", "favourable_class"],
        apply: Apply::Special(fairness),
        help: "How a model of two classes treats groups: a frame that compares them, and one by thresholds for each group.",
    },
    Prim {
        name: "segment_models_as_frame",
        args: &["models"],
        apply: Apply::Special(segments),
        help: "A row for each segment, with its model.",
    },
];

fn segments(env: &mut Env<'_>, args: &[Ast]) -> Result<Value> {
    let (Ast::Name(key) | Ast::Str(key)) = &args[0] else { return Err(Error::invalid("segment models are named by their key")) };
    let models = env.node.store.get::<ochre_model::segments::SegmentModels>(key)?;
    Ok(Value::Frame(models.frame(env.node)?.into()))
}

fn model(env: &Env<'_>, ast: &Ast) -> Result<Arc<Model>> {
    match ast {
        Ast::Name(n) | Ast::Str(n) => env.node.store.get::<Model>(n),
        _ => Err(Error::invalid("a model is named by its key")),
    }
}

fn fairness(env: &mut Env<'_>, args: &[Ast]) -> Result<Value> {
    let model = model(env, &args[0])?;
    let name = match &args[1] {
        Ast::Name(n) | Ast::Str(n) => n.clone(),
        _ => format!("frame_{:016x}", ochre_core::Rng::fresh_seed()),
    };
    let frame = env.eval(&args[1])?.frame()?;
    let (protected, reference) = (env.eval(&args[2])?.texts()?, env.eval(&args[3])?.texts()?);
    let favorable = env.eval(&args[4])?.text()?.to_string();
    let ask = ochre_model::fairness::Ask { protected: &protected, reference: &reference, favorable: &favorable };
    let mut out = vec![];
    for (what, made) in model.fairness(env.node, &frame, &ask)? {
        let key = match what.as_str() {
            "overview" => format!("fairness_metrics_{name}_for_model_{}", model.key),
            _ => format!("{what}_for_model_{}_for_frame_{name}", model.key),
        };
        env.node.store.put(&key, made)?;
        let stored = env.node.store.frame(&key)?;
        out.push((what, key, stored));
    }
    Ok(Value::Frames(out))
}

fn rules(env: &mut Env<'_>, args: &[Ast]) -> Result<Value> {
    let model = model(env, &args[0])?;
    let frame = env.eval(&args[1])?.frame()?;
    let wanted = env.eval(&args[2])?.texts()?;
    Ok(Value::Frame(model.rules(env.node, &frame, &wanted)?.into()))
}

/// Rows without an answer or without a level take no part; weights are those that the model was trained with.
fn by_variable(env: &mut Env<'_>, args: &[Ast]) -> Result<Value> {
    let model = model(env, &args[0])?;
    let frame = env.eval(&args[1])?.frame()?;
    let variable = env.eval(&args[2])?.text()?.to_string();
    let predicted = env.eval(&args[3])?.frame()?;
    let column = |name: &str| frame.by_name(name).ok_or_else(|| Error::invalid(format!("Frame doesn't contain column '{name}'.")));
    let Some(response) = &model.response else {
        return Err(Error::invalid(format!("model '{}' ({}) has no response to compare with", model.key, model.info.full_name)));
    };
    let by = column(&variable)?;
    let Some(levels) = by.domain() else {
        return Err(Error::invalid(format!("the column '{variable}' has no levels; make it categorical first")));
    };
    if predicted.rows() != frame.rows() {
        let (n, m) = (frame.rows(), predicted.rows());
        return Err(Error::invalid(format!("the frame has {n} rows and the predictions have {m}; they must be of the same rows")));
    }
    let actual = column(&response.name)?;
    if actual.domain().is_some() && predicted.column(0).domain() != actual.domain() {
        return Err(Error::invalid("Actual and predicted need to have identical domain."));
    }
    let weights = model.weights_column.as_deref().map(column).transpose()?.map(|c| c.numbers()).transpose()?;
    let (code, y, p) = (by.numbers()?, actual.numbers()?, predicted.column(0).numbers()?);
    let mut sums = vec![[0.0; 3]; levels.len()];
    for r in (0..y.len()).filter(|&r| !y[r].is_nan() && !code[r].is_nan()) {
        let w = weights.as_ref().map_or(1.0, |w| w[r]);
        let slot = &mut sums[code[r] as usize];
        for (s, v) in slot.iter_mut().zip([w, w * p[r], w * y[r]]) {
            *s += v;
        }
    }
    let ledger = &env.node.ledger;
    let mean = |i: usize| Column::from_f64(ledger, &sums.iter().map(|s| s[i] / s[0]).collect::<Vec<_>>());
    let codes: Vec<f64> = (0..levels.len()).map(|k| k as f64).collect();
    let labels = Column::numeric(ledger, Kind::Enum(levels.clone()), &codes)?;
    Value::new_frame(vec![variable, "predict".into(), "actual".into()], vec![labels, mean(1)?, mean(2)?])
}

fn result(env: &mut Env<'_>, args: &[Ast]) -> Result<Value> {
    let model = model(env, &args[0])?;
    let table = &model.output["model_summary"];
    let (Some(columns), Some(data)) = (table["columns"].as_array(), table["data"].as_array()) else {
        return Err(Error::invalid(format!("model '{}' ({}) has no result that is a table", model.key, model.info.full_name)));
    };
    let ledger = &env.node.ledger;
    let text = |v: &ochre_schema::Value| v.as_str().map(str::to_string);
    let texts = |cells: Vec<Option<String>>| Column::from_texts(ledger, &cells.iter().map(Option::as_deref).collect::<Vec<_>>());
    let (mut names, mut out) = (vec![], vec![]);
    // Tests of coefficients stand before their names here, behind them in the summary.
    let mut order: Vec<_> = columns.iter().zip(data).enumerate().collect();
    order.sort_by_key(|(i, (c, _))| (*i > 0, !matches!(c["name"].as_str(), Some("z_values" | "p_values"))));
    for (i, (c, cells)) in order {
        let cells = cells.as_array().map_or(&[][..], Vec::as_slice);
        let name = c["name"].as_str().unwrap_or_default();
        if i == 0 && name.is_empty() {
            // Rows of subsets are told by their size here, and have a model each.
            let labels: Vec<Option<String>> =
                cells.iter().map(|v| Some(format!("best {} model", text(v)?.strip_prefix("with ")?))).collect();
            if labels.iter().any(Option::is_some) {
                names.push("model_name".to_string());
                out.push(texts(labels)?);
            }
            if let Some(ids) = model.output["best_model_ids"].as_array() {
                names.push("model_id".into());
                out.push(texts(ids.iter().map(|k| text(&k["name"])).collect())?);
            }
            continue;
        }
        names.push(name.to_string());
        out.push(match c["type"] == "string" {
            true => texts(cells.iter().map(text).collect())?,
            false => Column::from_f64(ledger, &cells.iter().map(|v| v.as_f64().unwrap_or(f64::NAN)).collect::<Vec<_>>())?,
        });
    }
    Value::new_frame(names, out)
}

fn reset_threshold(env: &mut Env<'_>, args: &[Ast]) -> Result<Value> {
    let old = model(env, &args[0])?;
    let threshold = env.eval(&args[1])?.num()?;
    if !(0.0..=1.0).contains(&threshold) {
        return Err(Error::invalid(format!("a threshold lies between 0 and 1, but {threshold} was given")));
    }
    if old.classes().len() != 2 {
        return Err(Error::invalid(format!("model {} has no threshold: its response has not two classes", old.key)));
    }
    env.node.store.put(&old.key, old.with_threshold(threshold))?;
    Value::one("C1", Column::from_f64(&env.node.ledger, &[old.threshold])?)
}

fn calibrate(env: &mut Env<'_>, args: &[Ast]) -> Result<Value> {
    let (old, by) = (model(env, &args[0])?, model(env, &args[1])?);
    env.node.store.put(&old.key, old.with_calibration(&by)?)?;
    Ok(Value::Str("OK".into()))
}

fn leaderboard(env: &mut Env<'_>, args: &[Ast]) -> Result<Value> {
    let keys = env.eval(&args[0])?.texts()?;
    let mut models: Vec<Arc<Model>> = vec![];
    for key in keys {
        match env.node.store.get::<Model>(&key) {
            Ok(m) => models.push(m),
            // A grid stands for its models.
            Err(e) => match env.node.store.get::<ochre_model::grid::Grid>(&key) {
                Ok(grid) => {
                    for entry in &grid.models {
                        models.push(env.node.store.get::<Model>(&entry.model)?);
                    }
                }
                Err(_) => return Err(e),
            },
        }
    }
    let key = match &args[1] {
        Ast::Name(n) | Ast::Str(n) => n.clone(),
        _ => String::new(),
    };
    let frame = if key.is_empty() || key == "_" { None } else { Some(env.node.store.frame(&key)?) };
    let (sort, scoring) = (env.eval(&args[2])?, env.eval(&args[4])?);
    let ask = board::Ask {
        frame: frame.as_deref().map(|f| (key.as_str(), f)),
        sort_metric: sort.text()?,
        extensions: &env.eval(&args[3])?.texts()?,
        scoring: board::Scoring::read(scoring.text()?)?,
    };
    Ok(Value::Frame(board::leaderboard(env.node, &models, &ask)?.into()))
}

fn weigh(env: &mut Env<'_>, args: &[Ast]) -> Result<Value> {
    let old = model(env, &args[0])?;
    let frame = env.eval(&args[1])?.frame()?;
    let column = env.eval(&args[2])?;
    let (new, told) = old.with_tree_weights(env.node, &frame, column.text()?)?;
    env.node.store.put(&old.key, new)?;
    Ok(Value::Str(told.unwrap_or_else(|| "OK".into())))
}

fn permutation(env: &mut Env<'_>, args: &[Ast]) -> Result<Value> {
    let model = model(env, &args[0])?;
    let frame = env.eval(&args[1])?.frame()?;
    let metric = env.eval(&args[2])?;
    let seed = env.eval(&args[6])?.num()? as i64;
    let ask = permute::Ask {
        metric: metric.text()?.to_string(),
        samples: env.eval(&args[3])?.num()? as i64,
        repeats: match env.eval(&args[4])?.num()?.max(1.0) {
            n if n <= 10_000.0 => n as usize,
            n => return Err(Error::invalid(format!("n_repeats must be at most 10000, but is {n}"))),
        },
        features: env.eval(&args[5])?.texts()?,
        seed: if seed == -1 { ochre_core::Rng::fresh_seed() } else { seed },
    };
    let mut found = permute::importance(env.node, &model, &frame, &ask)?;
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    found.sort_by(|a, b| mean(&b.1).total_cmp(&mean(&a.1)));
    let ledger = &env.node.ledger;
    let mut names = vec!["Variable".to_string()];
    let mut columns = vec![Column::from_texts(ledger, &found.iter().map(|f| Some(f.0.as_str())).collect::<Vec<_>>())?];
    if ask.repeats == 1 {
        let sizes: Vec<f64> = found.iter().map(|f| f.1[0]).collect();
        let (top, sum) = (sizes.iter().copied().fold(0.0, f64::max), sizes.iter().sum::<f64>());
        let share = |of: f64| sizes.iter().map(|v| if of > 0.0 { v / of } else { 0.0 }).collect::<Vec<f64>>();
        for (name, values) in [("Relative Importance", sizes.clone()), ("Scaled Importance", share(top)), ("Percentage", share(sum))] {
            names.push(name.into());
            columns.push(Column::from_f64(ledger, &values)?);
        }
    } else {
        for run in 0..ask.repeats {
            names.push(format!("Run {}", run + 1));
            columns.push(Column::from_f64(ledger, &found.iter().map(|f| f.1[run]).collect::<Vec<_>>())?);
        }
    }
    Value::new_frame(names, columns)
}
