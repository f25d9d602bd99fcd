//! AdaBoost (Freund and Schapire 1997, discrete): weak learners trained in turn, each on weights that grow where those
//! before it were wrong.
//!
//! A learner's weighted share of errors `e` gives its vote `a = learn_rate * ln((1 - e) / e)`; weights of rows that it got
//! wrong are multiplied by `exp(a)`, of the others by `exp(-a)`. The reference does the same, but from the second model on
//! its learners get mixed up with those of models trained before; equality was checked on a fresh server.

use crate::drf::{Drf, DrfParams};
use crate::gbm::{Gbm, GbmParams};
use crate::glm::{Glm, GlmParams};
use ochre_core::{Error, Result};
use ochre_model::driver::{measure, part_notes, set_all};
use ochre_model::params::CommonParams;
use ochre_model::wire::ModelOutput;
use ochre_model::{Algorithm, AlgorithmInfo, Category, Deviance, Fitted, Metrics, Run, Shape, Training, adapt};
use ochre_schema::{Cell, Notes, Schema, Table};
use ochre_score::{Committee, Member, Scorer};

/// Parameters of the builder.
#[derive(Clone, Debug, Schema)]
#[api(name = "AdaBoostParametersV3", superclass = "ModelParametersSchemaV3", iced = "AdaBoostParameters")]
pub struct AdaBoostParams {
    /// What every algorithm has.
    #[api(
        flatten,
        hide(response_column),
        omit(
            validation_frame,
            nfolds,
            keep_cross_validation_models,
            keep_cross_validation_predictions,
            keep_cross_validation_fold_assignment,
            parallelize_cross_validation,
            distribution,
            tweedie_power,
            quantile_alpha,
            huber_alpha,
            offset_column,
            fold_column,
            fold_assignment,
            max_categorical_levels,
            score_each_iteration,
            checkpoint,
            stopping_rounds,
            max_runtime_secs,
            stopping_metric,
            stopping_tolerance,
            gainslift_bins,
            custom_metric_func,
            custom_distribution_func,
            export_checkpoints_dir,
            auc_type
        )
    )]
    pub common: CommonParams,
    /// Number of weak learners.
    #[api(default = 50, gridable)]
    pub nlearners: i32,
    /// Algorithm of the weak learners; AUTO is DRF.
    #[api(ty = "enum", choice = "AdaBoostAdaBoostModelAdaBoostParametersWeakLearner", default = Some("AUTO".to_string()), gridable, values("AUTO", "DRF", "GLM", "GBM", "DEEP_LEARNING"))]
    pub weak_learner: Option<String>,
    /// Share of each vote that counts.
    #[api(default = 0.5, gridable)]
    pub learn_rate: f64,
    /// Parameters of the weak learner, as JSON. Without it trees are stumps.
    #[api(default = Some(String::new()), gridable)]
    pub weak_learner_params: Option<String>,
    /// Seed of the random generator; -1 for a fresh one.
    #[api(default = -1, gridable)]
    pub seed: i64,
}

/// Output of a trained model.
#[derive(Clone, Debug, Schema)]
#[api(name = "AdaBoostModelOutputV3", superclass = "ModelOutputSchemaV3", iced = "AdaBoostOutput")]
pub struct AdaBoostOutput {
    /// What every model shows.
    #[api(flatten)]
    pub common: ModelOutput,
}

pub struct AdaBoost;

impl Algorithm for AdaBoost {
    const INFO: AlgorithmInfo = AlgorithmInfo {
        name: "adaboost",
        full_name: "AdaBoost",
        stem: "AdaBoost",
        categories: &[Category::Binomial],
        supervised: true,
        builder_schema: "AdaBoostV3",
        builder_superclass: "ModelBuilderSchema",
        parameters_type: "AdaBoostParameters",
        model_schema: "AdaBoostModelV3",
        model_superclass: "ModelSchemaV3",
        model_type: "AdaBoostModel",
        output_type: "AdaBoostOutput",
    };
    type Params = AdaBoostParams;
    type Output = AdaBoostOutput;

    fn common(params: &AdaBoostParams) -> &CommonParams {
        &params.common
    }
    fn common_mut(params: &mut AdaBoostParams) -> &mut CommonParams {
        &mut params.common
    }
    fn seed_mut(params: &mut AdaBoostParams) -> Option<&mut i64> {
        Some(&mut params.seed)
    }
    fn output_common(output: &mut AdaBoostOutput) -> &mut ModelOutput {
        &mut output.common
    }
    /// What most votes say.
    fn threshold(_: &Metrics) -> f64 {
        0.5
    }

    fn check(params: &AdaBoostParams, shape: &Shape<'_>, notes: &mut Notes) {
        if shape.category.is_some_and(|c| c != Category::Binomial) {
            notes.error("_response_column", "AdaBoost needs a categorical response with two levels; convert the response with asfactor()");
        }
        if !(1..=100_000).contains(&params.nlearners) {
            notes.error("_nlearners", format!("Parameter nlearners must be in interval [1, 100000] but it is {}", params.nlearners));
        }
        if !(params.learn_rate > 0.0 && params.learn_rate <= 1.0) {
            notes.error("_learn_rate", format!("learn_rate must be above 0 and at most 1, but is {}", params.learn_rate));
        }
        params.common.check_encoding(&["AUTO", "Enum"], notes);
        if notes.errors().next().is_some() {
            return;
        }
        match Learner::new(params) {
            Ok(learner) => {
                for n in learner.notes(shape.training).errors() {
                    notes.error("_weak_learner_params", format!("{}: {}", n.field.trim_start_matches('_'), n.message));
                }
            }
            Err(e) => notes.error("_weak_learner_params", e.to_string()),
        }
    }

    fn fit(run: &mut Run<'_, AdaBoostParams>) -> Result<Fitted<AdaBoostOutput>> {
        fit(run)
    }
}

/// A weak learner with its parameters.
enum Learner {
    Drf(Box<DrfParams>),
    Gbm(Box<GbmParams>),
    Glm(Box<GlmParams>),
}

impl Learner {
    fn new(params: &AdaBoostParams) -> Result<Learner> {
        let given = params.weak_learner_params.as_deref().map(str::trim).filter(|t| !t.is_empty());
        let mut form = vec![];
        if let Some(text) = given {
            let map: ochre_schema::Map = serde_json::from_str(text)
                .map_err(|e| Error::invalid(format!("weak_learner_params must be a JSON object of parameters, but is '{text}': {e}")))?;
            form.extend(map.into_iter().filter(|(_, v)| !v.is_null()).map(|(n, v)| match v {
                ochre_schema::Value::String(s) => (n, s),
                v => (n, v.to_string()),
            }));
        }
        let own = ["model_id", "training_frame", "validation_frame", "response_column", "weights_column", "nfolds", "checkpoint"];
        if let Some((name, _)) = form.iter().find(|(n, _)| own.contains(&n.as_str())) {
            return Err(Error::invalid(format!("{name} cannot be given to the weak learner; give it to AdaBoost")));
        }
        // One tree of one split, unless the user says what the trees are.
        let stump = given.is_none();
        match params.weak_learner.as_deref().unwrap_or("AUTO").to_ascii_uppercase().as_str() {
            "AUTO" | "DRF" => {
                let mut p = DrfParams::default();
                p.tree.seed = params.seed;
                if stump {
                    (p.mtries, p.sample_rate) = (1, 1.0);
                    (p.tree.ntrees, p.tree.max_depth, p.tree.min_rows) = (1, 1, 1.0);
                }
                set_all(&mut p, &form)?;
                Ok(Learner::Drf(Box::new(p)))
            }
            "GBM" => {
                let mut p = GbmParams::default();
                p.tree.seed = params.seed;
                if stump {
                    p.sample_rate = 1.0;
                    (p.tree.ntrees, p.tree.max_depth, p.tree.min_rows) = (1, 1, 1.0);
                }
                set_all(&mut p, &form)?;
                Ok(Learner::Gbm(Box::new(p)))
            }
            "GLM" => {
                let mut p = GlmParams { seed: params.seed, ..GlmParams::default() };
                set_all(&mut p, &form)?;
                Ok(Learner::Glm(Box::new(p)))
            }
            other => Err(Error::invalid(format!("weak_learner {other} is not supported by this version of ochre; use DRF, GBM or GLM"))),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Learner::Drf(_) => "DRF",
            Learner::Gbm(_) => "GBM",
            Learner::Glm(_) => "GLM",
        }
    }

    fn notes(&self, train: &Training) -> Notes {
        match self {
            Learner::Drf(p) => part_notes::<Drf>(p, train),
            Learner::Gbm(p) => part_notes::<Gbm>(p, train),
            Learner::Glm(p) => part_notes::<Glm>(p, train),
        }
    }

    /// A member that has no vote yet.
    fn train(&self, run: &Run<'_, AdaBoostParams>, train: Training) -> Result<Member> {
        fn member<O>(f: Fitted<O>, width: usize) -> Member {
            let order = f.order.unwrap_or_else(|| (0..width).collect());
            Member { weight: 0.0, threshold: f.training.threshold(), order, scorer: f.scorer }
        }
        let width = train.columns.len();
        Ok(match self {
            Learner::Drf(p) => member(run.part::<Drf>((**p).clone(), train, None)?, width),
            Learner::Gbm(p) => member(run.part::<Gbm>((**p).clone(), train, None)?, width),
            Learner::Glm(p) => member(run.part::<Glm>((**p).clone(), train, None)?, width),
        })
    }
}

fn fit(run: &mut Run<'_, AdaBoostParams>) -> Result<Fitted<AdaBoostOutput>> {
    let (params, train) = (&run.params, &run.train);
    let learner = Learner::new(params)?;
    let _scratch = run.node.ledger.reserve("weights and votes of rows", train.rows as u64 * 48)?;
    let data = train.adapted(&train.predictors())?;
    let mut w: Vec<f64> = (0..train.rows).map(|r| train.weight(r)).collect();
    let mut committee = Committee { members: vec![] };
    for k in 0..params.nlearners as usize {
        run.job.check()?;
        if run.out_of_time()? {
            break;
        }
        let mut member = learner.train(run, Training { w: Some(w.clone()), weighted: true, ..train.clone() })?;
        // Alone, its vote says what it predicts.
        member.weight = 1.0;
        let alone = Scorer::Committee(Committee { members: vec![member.clone()] });
        let preds = adapt::score(&alone, &data, None)?;
        let wrong = |r: usize| f64::from(preds[r * 2 + 1] > 0.5) != train.y[r];
        let (mut missed, mut total) = (0.0, 0.0);
        for (r, w) in w.iter().enumerate().filter(|(_, w)| **w > 0.0) {
            total += w;
            missed += if wrong(r) { *w } else { 0.0 };
        }
        // A learner without errors would outvote all others by any measure.
        let e = (missed / total).clamp(1e-10, 1.0 - 1e-10);
        let vote = params.learn_rate * ((1.0 - e) / e).ln();
        member.weight = vote;
        committee.members.push(member);
        for (r, w) in w.iter_mut().enumerate() {
            *w *= if wrong(r) { vote.exp() } else { (-vote).exp() };
        }
        run.job.set_progress((k + 1) as f64 / f64::from(params.nlearners));
    }
    let count = committee.members.len();
    let scorer = Scorer::Committee(committee);
    let preds = adapt::score(&scorer, &data, None)?;
    let domain = train.labels();
    let training = measure(Category::Binomial, &preds, &train.y, train.w.as_deref(), domain, Deviance::Gaussian, params.common.detail())?;
    let mut output = AdaBoostOutput::default();
    if params.weak_learner.as_deref().is_none_or(|l| l == "AUTO") {
        output.common.effective.push(("weak_learner", "DRF".into()));
    }
    output.common.model_summary = Some(
        Table::new("Model Summary", "")
            .row_labels(vec![Cell::Text(String::new())])
            .column("number_of_weak_learners", "int", "%d", vec![Cell::from(count)])
            .column("learn_rate", "double", "%5f", vec![Cell::Double(params.learn_rate)])
            .column("weak_learner", "string", "%s", vec![Cell::Text(learner.name().into())])
            .column("seed", "long", "%d", vec![Cell::from(params.seed)]),
    );
    Ok(Fitted { output, scorer, deviance: Deviance::Gaussian, training, validation: None, order: None })
}
