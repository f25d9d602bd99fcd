//! What models make of their columns: partial dependence, and single trees.

use crate::models::model_at;
use crate::route::{Ask, Reply, get, post};
use crate::wire::{FeatureInteraction, Interplay, PartialDependence, SignificantRules, TreeSchema};
use crate::{App, Failure, jobs};
use ochre_core::{Error, Stored};
use ochre_model::partial;
use ochre_schema::{AnyKey, Table, Value, Wire};

pub const ROUTES: &[crate::Route] = &[
    post("/3/PartialDependence/", "makePDP", ("PartialDependenceV3", "JobV3"), make, "Computes partial dependence of columns, in a job."),
    get("/3/PartialDependence/{name}", "fetchPDP", ("PartialDependenceKeyV3", "PartialDependenceV3"), fetch, "The tables that a job made."),
    post(
        "/3/SignificantRules",
        "makeRules",
        ("SignificantRulesV3", "SignificantRulesV3"),
        significant_rules,
        "The rules of a model, strongest first.",
    ),
    post(
        "/3/FriedmansPopescusH",
        "makeH",
        ("FriedmanPopescusHV3", "FriedmanPopescusHV3"),
        interplay,
        "How strongly variables interact in a model.",
    ),
    post(
        "/3/FeatureInteraction",
        "makeFI",
        ("FeatureInteractionV3", "FeatureInteractionV3"),
        feature_interactions,
        "Which columns decide one after the other in the trees of a model, and what their splits gain.",
    ),
    get("/3/Tree", "get_tree", ("TreeV3", "TreeV3"), tree, "One tree of an ensemble."),
];

fn significant_rules(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: SignificantRules = ask.decode()?;
    let model = model_at(app, &a.model_id.clone().unwrap_or_default().0)?;
    let table = &model.output["rule_importance"];
    if table.is_null() {
        return Err(Error::invalid(format!("model {} ({}) has no rules; train a RuleFit model", model.key, model.info.full_name)).into());
    }
    let mut reply = ochre_schema::object(&a);
    reply["significant_rules_table"] = table.clone();
    Reply::json(&reply)
}

fn interplay(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: Interplay = ask.decode()?;
    let model = model_at(app, &a.model_id.clone().unwrap_or_default().0)?;
    let frame = app.node.store.frame(&a.frame.clone().unwrap_or_default().0)?;
    let h = model.interplay(&app.node, &frame, a.variables.as_deref().unwrap_or_default())?;
    Reply::schema(&Interplay { h, ..a })
}

fn feature_interactions(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: FeatureInteraction = ask.decode()?;
    let model = model_at(app, &a.model_id.clone().unwrap_or_default().0)?;
    let limit = |n: i32| usize::try_from(n).ok();
    let tables = model.feature_interactions(limit(a.max_interaction_depth), limit(a.max_tree_depth), limit(a.max_deepening))?;
    Reply::schema(&FeatureInteraction { feature_interaction: Some(tables), ..a })
}

fn tree(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: TreeSchema = ask.decode()?;
    let model = model_at(app, &a.model.clone().unwrap_or_default().0)?;
    let t = model.tree(a.tree_number, a.tree_class.as_deref())?;
    Reply::schema(&TreeSchema {
        tree_class: t.class,
        left_children: Some(t.left),
        right_children: Some(t.right),
        root_node_id: 0,
        thresholds: Some(t.thresholds),
        features: Some(t.features),
        nas: Some(t.missing),
        descriptions: Some(t.descriptions),
        levels: Some(t.levels),
        predictions: Some(t.predictions),
        tree_decision_path: Some(t.rules),
        decision_paths: Some(t.paths),
        ..a
    })
}

/// Tables under the key that was asked for.
struct Kept {
    request: Value,
    tables: Vec<Table>,
}

impl Stored for Kept {
    const TYPE: &'static str = "PartialDependence";
}

fn make(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: PartialDependence = ask.decode()?;
    let model = model_at(app, &a.model_id.clone().unwrap_or_default().0)?;
    let frame = app.node.store.frame(&a.frame_id.clone().unwrap_or_default().0)?;
    let pairs: Vec<(String, String)> = a
        .col_pairs_2dpdp
        .iter()
        .flatten()
        .map(|p| match p.as_deref() {
            Some([x, y]) => Ok((x.clone(), y.clone())),
            _ => Err(Error::invalid("col_pairs_2dpdp is a list of pairs of columns")),
        })
        .collect::<Result<_, _>>()?;
    let mut columns = a.cols.clone().unwrap_or_default();
    if columns.is_empty() && pairs.is_empty() {
        columns = model.predictors.iter().map(|p| p.name.clone()).collect();
    }
    let mut splits = a.user_splits.clone().unwrap_or_default();
    let mut values = vec![];
    for (name, n) in a.user_cols.iter().flatten().zip(a.num_user_splits.iter().flatten()) {
        let n = (*n).max(0) as usize;
        if n > splits.len() {
            return Err(Error::invalid("num_user_splits counts more values than user_splits has").into());
        }
        values.push((name.clone(), splits.drain(..n).collect()));
    }
    if a.nbins < 2 {
        return Err(Error::invalid("_nbins must be >=2.").into());
    }
    if a.nbins > 100_000 {
        return Err(Error::invalid(format!("_nbins must be at most 100000, but is {}", a.nbins)).into());
    }
    let levels = |name: &String| frame.by_name(name).and_then(|c| c.domain()).map_or(0, |d| d.len());
    let given = |name: &String| values.iter().any(|(n, _): &(String, Vec<f64>)| n == name);
    if let Some(c) = columns.iter().find(|c| levels(c) > a.nbins as usize && !given(c)) {
        return Err(Error::invalid(format!("Column {c}'s cardinality of {} > nbins of {}", levels(c), a.nbins)).into());
    }
    let wanted = partial::Ask {
        columns,
        pairs,
        bins: a.nbins as usize,
        values,
        with_missing: a.add_missing_na,
        // The schema's default is 0, but leaving it out means none.
        weights: (ask.param("weight_column_index").is_some() && a.weight_column_index >= 0).then_some(a.weight_column_index as usize),
        row: (ask.param("row_index").is_some() && a.row_index >= 0).then_some(a.row_index as usize),
        targets: a.targets.clone().unwrap_or_default(),
    };
    partial::check(&model, &frame, &wanted)?;
    let key = a.destination_key.clone().filter(|k| !k.is_empty()).unwrap_or_else(|| jobs::fresh_key("PartialDependence"));
    let request = ochre_schema::object(&PartialDependence { destination_key: None, targets: None, ..a });
    let (node, dest) = (app.node.clone(), key.clone());
    let job = app.node.jobs.start("PartialDependence", AnyKey::Other(key), move |job| {
        let tables = node.runner.install(|| partial::partial_dependence(&node, job, &model, &frame, &wanted))?;
        node.store.put(&dest, Kept { request: request.clone(), tables })?;
        Ok(())
    })?;
    Reply::json(&jobs::started(&job))
}

fn fetch(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let kept = app.node.store.get::<Kept>(ask.path_param("name"))?;
    let mut json = kept.request.clone();
    json["partial_dependence_data"] = kept.tables.to_json();
    Reply::json(&json)
}
