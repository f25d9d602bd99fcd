//! What every algorithm of the table promises, checked for each row.

use ochre_core::{Column, Error, Frame, JobStatus, Kind, Node, Rng};
use ochre_model::{Builder, Model, Refusal};
use ochre_schema::Value;
use std::sync::Arc;
use std::time::Duration;

/// Several chunks; fewer where time grows faster than the rows.
fn rows(b: &dyn Builder) -> usize {
    if b.info().name == "psvm" { 5_000 } else { 100_000 }
}

/// The rows of the table that train on a frame; an import does not.
fn algorithms() -> impl Iterator<Item = &'static dyn Builder> {
    ochre_algos::ALGORITHMS.iter().copied().filter(|b| b.fields().iter().any(|f| f.name == "training_frame" && !f.internal))
}

/// Numbers, categories and missing values over several chunks, with a two-class and a numeric answer.
fn data(node: &Node, rows: usize) -> Frame {
    let mut rng = Rng::new(5);
    let (mut a, mut b, mut c, mut y, mut z, mut s) = (vec![], vec![], vec![], vec![], vec![], vec![]);
    for _ in 0..rows {
        let (u, v) = (rng.next_f64(), f64::from(rng.below(7)));
        a.push(if rng.below(20) == 0 { f64::NAN } else { u });
        b.push((u * 100.0 + f64::from(rng.below(50))).floor());
        c.push(if rng.below(30) == 0 { f64::NAN } else { v });
        let score = 3.0 * u - 0.5 * v + rng.next_f64();
        y.push(f64::from(score > 0.5));
        z.push(score);
        s.push((b[b.len() - 1] / 3.0_f64).floor() % 2.0);
    }
    let domain = |n: usize| Arc::new((0..n).map(|i| format!("l{i}")).collect::<Vec<_>>());
    let ledger = &node.ledger;
    let columns = vec![
        Column::from_f64(ledger, &a).unwrap(),
        Column::from_f64(ledger, &b).unwrap(),
        Column::numeric(ledger, Kind::Enum(domain(7)), &c).unwrap(),
        Column::numeric(ledger, Kind::Enum(domain(2)), &y).unwrap(),
        Column::from_f64(ledger, &z).unwrap(),
        Column::numeric(ledger, Kind::Enum(domain(2)), &s).unwrap(),
    ];
    Frame::new(["a", "b", "c", "y", "z", "s"].map(String::from).to_vec(), columns).unwrap()
}

fn form(b: &dyn Builder, extra: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut out = vec![("training_frame", "train"), ("model_id", "m"), ("seed", "3")];
    if b.info().name == "isotonicregression" {
        out.retain(|(name, _)| *name != "seed");
        out.extend([("response_column", "z"), ("ignored_columns", "[\"a\",\"c\",\"y\",\"s\"]")]);
    } else if b.info().name == "coxph" {
        // The larger numbers are times, and those are rarely equal.
        out.retain(|(name, _)| *name != "seed");
        out.extend([("response_column", "y"), ("stop_column", "z"), ("ignored_columns", "[\"z\",\"s\"]")]);
    } else if b.info().name == "upliftdrf" {
        out.extend([
            ("response_column", "y"),
            ("treatment_column", "s"),
            ("ignored_columns", "[\"z\",\"s\"]"),
            ("ntrees", "5"),
            ("max_depth", "8"),
        ]);
    } else if b.info().name == "gam" {
        let smooths = [("gam_columns", "[[\"a\"],[\"b\"]]"), ("num_knots", "[5,6]"), ("bs", "[0,1]")];
        out.extend(
            [("response_column", "y"), ("ignored_columns", "[\"z\",\"s\",\"a\"]"), ("lambda", "[0.001]")].into_iter().chain(smooths),
        );
    } else if b.info().name == "hglm" {
        out.extend([("response_column", "z"), ("ignored_columns", "[\"y\",\"s\"]")]);
        out.extend([("group_column", "c"), ("random_columns", "[\"a\"]"), ("em_epsilon", "1e-9")]);
    } else if b.info().name == "rulefit" {
        out.extend([("response_column", "y"), ("ignored_columns", "[\"z\",\"s\"]")]);
        out.extend([("algorithm", "GBM"), ("rule_generation_ntrees", "3"), ("lambda", "[0.001]")]);
    } else if b.info().name == "modelselection" {
        out.extend([("response_column", "z"), ("ignored_columns", "[\"y\",\"s\"]"), ("max_predictor_number", "2")]);
    } else if b.info().supervised {
        out.extend([("response_column", "y"), ("ignored_columns", "[\"z\",\"s\"]")]);
    }
    if b.info().name == "gbm" {
        out.push(("ntrees", "5"));
    }
    if b.info().name == "kmeans" {
        out.push(("k", "4"));
    }
    let mut out: Vec<(String, String)> = out.into_iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    for (k, v) in extra {
        out.retain(|(name, _)| name != k);
        out.push((k.to_string(), v.to_string()));
    }
    out
}

fn start(node: &Arc<Node>, b: &dyn Builder, extra: &[(&str, &str)]) -> Result<Arc<Model>, String> {
    let started = b.start(node, &form(b, extra), false).map_err(|r| match r {
        Refusal::Failed(e) => e.to_string(),
        Refusal::Notes { notes, .. } => notes.errors().map(|n| format!("{}: {}", n.field, n.message)).collect::<Vec<_>>().join("; "),
    })?;
    let job = started.job.expect("a job");
    assert_eq!(job.wait(Duration::from_secs(300)), JobStatus::Done, "{:?}", job.error());
    Ok(node.store.get::<Model>("m").unwrap())
}

/// What a model says of a frame, or of its training data if it predicts nothing: labels are left out.
fn said(node: &Node, model: &Model, frame: &Frame) -> Vec<f64> {
    if matches!(model.scorer, ochre_score::Scorer::Silent) {
        let columns = model.output["model_summary"]["data"].as_array().unwrap();
        let numbers: Vec<f64> = columns.iter().flat_map(|c| c.as_array().unwrap()).filter_map(Value::as_f64).collect();
        assert!(!numbers.is_empty());
        return numbers;
    }
    let predicted = model.predict(node, frame, &mut |_| {}).unwrap();
    let columns = if predicted.width() > 1 { &predicted.columns()[1..] } else { predicted.columns() };
    columns.iter().flat_map(|c| c.to_f64().unwrap()).collect()
}

/// The same seed gives the same bits on any number of threads.
#[test]
fn threads_change_nothing() {
    for b in algorithms() {
        let mut first: Option<(String, Vec<u64>)> = None;
        for threads in [1, 2, 5] {
            let node = Arc::new(Node::for_tests(threads));
            node.store.put("train", data(&node, rows(b))).unwrap();
            for extra in [&[][..], &[("sample_rate", "0.6"), ("col_sample_rate", "0.7")][..]] {
                if !extra.is_empty() && b.info().name != "gbm" {
                    continue;
                }
                let model = start(&node, b, extra).unwrap();
                let frame = node.store.frame("train").unwrap();
                let bits = said(&node, &model, &frame).into_iter().map(f64::to_bits).collect();
                let scorer = serde_json::to_string(&model.scorer).unwrap();
                if extra.is_empty() {
                    match &first {
                        None => first = Some((scorer, bits)),
                        Some(f) => assert!(f.0 == scorer && f.1 == bits, "{} differs with {threads} threads", b.info().name),
                    }
                }
            }
        }
    }
}

/// A value just outside a declared range is refused by a note on its field.
#[test]
fn ranges_hold_and_unsupported_parameters_are_refused() {
    let node = Arc::new(Node::for_tests(2));
    node.store.put("train", data(&node, 1000)).unwrap();
    for b in algorithms() {
        for f in b.fields().iter().filter(|f| !f.internal) {
            if let Some(range) = f.range {
                let inner = &range[1..range.len() - 1];
                let low: f64 = inner.split(',').next().unwrap().trim().parse().unwrap();
                let bad = if range.starts_with('(') { low } else { low - 1.0 };
                let text = if f.type_name == "int" { format!("{}", bad as i64) } else { format!("{bad}") };
                let e = start(&node, b, &[(f.name, &text)])
                    .err()
                    .unwrap_or_else(|| panic!("{} {} = {text} was accepted", b.info().name, f.name));
                assert!(e.contains(f.name), "{e}");
            }
            if !f.supported {
                let text = match (f.type_name.as_str(), &f.default) {
                    ("boolean", Value::Bool(v)) => (!v).to_string(),
                    ("int" | "long" | "double" | "float", _) => "7".into(),
                    (t, _) if t.ends_with("[]") => "[\"1\"]".into(),
                    _ => "something".into(),
                };
                match start(&node, b, &[(f.name, &text)]) {
                    Err(e) => assert!(e.contains(f.name), "{}: {e}", f.name),
                    Ok(_) => panic!("{} {} = {text} was accepted and ignored", b.info().name, f.name),
                }
            }
        }
    }
}

/// Everything that training took from the ledger comes back, and no key is left.
#[test]
fn nothing_leaks() {
    let node = Arc::new(Node::for_tests(2));
    for b in algorithms() {
        node.store.put("train", data(&node, rows(b))).unwrap();
        let before = node.ledger.used();
        let model = start(&node, b, &[]).unwrap();
        // What was made along with a model goes with it.
        let belongings = model.belongings.clone();
        drop(model);
        node.store.remove("m").unwrap();
        for key in &belongings {
            node.store.remove(key).unwrap();
        }
        assert_eq!(node.store.keys(), ["train"]);
        assert_eq!(node.ledger.used(), before, "{} kept memory", b.info().name);
    }
}

/// Weight 2 is a row twice, weight 0 its absence: the same trees and coefficients up to rounding.
#[test]
fn weights_count_rows() {
    // Degrees of freedom of an analysis of variance count rows, whatever they weigh; so do the quantiles that knots are.
    let weighted = |b: &&dyn Builder| {
        b.info().supervised
            && !matches!(b.info().name, "anovaglm" | "gam")
            && b.fields().iter().any(|f| f.name == "weights_column" && !f.internal)
    };
    for b in algorithms().filter(weighted) {
        let node = Arc::new(Node::for_tests(2));
        let once = data(&node, 3000);
        let mut twice: Vec<u64> = vec![];
        let mut weights = vec![];
        for i in 0..3000u64 {
            let w = i % 3;
            weights.push(w as f64);
            twice.extend(std::iter::repeat_n(i, w as usize));
        }
        let repeated: Vec<Column> = once.columns().iter().map(|c| c.take(&node.ledger, &twice).unwrap()).collect();
        let mut names = once.names().to_vec();
        let mut columns = once.columns().to_vec();
        names.push("w".into());
        columns.push(Column::from_f64(&node.ledger, &weights).unwrap());
        node.store.put("train", Frame::new(names, columns).unwrap()).unwrap();
        let extra: &[(&str, &str)] = match b.info().name {
            // What stands for missing values is a mean of rows, whatever they weigh, as in the reference.
            "glm" => &[("lambda", "[0]"), ("missing_values_handling", "Skip"), ("weights_column", "w")],
            "modelselection" => &[("missing_values_handling", "Skip"), ("weights_column", "w")],
            "rulefit" => &[("model_type", "rules"), ("weights_column", "w")],
            // Efron's ties are between rows, not between weights.
            "coxph" => &[("ties", "breslow"), ("weights_column", "w")],
            // Rows that are drawn are drawn by their number.
            "drf" => &[("sample_rate", "1"), ("max_depth", "3"), ("min_rows", "10"), ("weights_column", "w")],
            _ => &[("weights_column", "w")],
        };
        let weighted = start(&node, b, extra).unwrap();
        node.store.put("train", Frame::new(once.names().to_vec(), repeated).unwrap()).unwrap();
        let plain = start(&node, b, &extra[..extra.len() - 1]).unwrap();
        let p = |m: &Model| said(&node, m, &once);
        let worst = p(&weighted).iter().zip(p(&plain)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        // A lasso ends when its objective falls by less than a ten thousandth.
        let most = if b.info().name == "rulefit" { 1e-4 } else { 1e-6 };
        assert!(worst < most, "{}: {worst}", b.info().name);
    }
}

/// A cancelled job stops soon and leaves no model.
#[test]
fn cancellation_stops() {
    let node = Arc::new(Node::for_tests(2));
    node.store.put("train", data(&node, 100_000)).unwrap();
    let gbm = algorithms().find(|b| b.info().name == "gbm").unwrap();
    let Ok(started) = gbm.start(&node, &form(gbm, &[("ntrees", "100000")]), false) else { panic!("refused") };
    let job = started.job.unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert!(matches!(node.store.remove("train"), Err(Error::Locked { .. })), "a frame in use is not removed");
    let asked = std::time::Instant::now();
    job.cancel();
    assert_eq!(job.wait(Duration::from_secs(10)), JobStatus::Cancelled);
    assert!(asked.elapsed() < Duration::from_secs(2));
    assert!(!node.store.contains("m"));
}
