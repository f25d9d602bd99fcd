//! Analysis of variance by generalized linear models: what each predictor and each interaction adds to all others (sums of
//! squares of type III).
//!
//! Categories are coded by their deviation from the mean: one column for each level but the last, whose rows have -1 in
//! all of them. A term's sum of squares is the residual deviance of the model without its columns minus that of the full
//! model; it is compared with the full model's deviance per degree of freedom by the F distribution.

use crate::glm::design::categories_first;
use crate::glm::{Glm, GlmParams, Solver};
use ochre_core::{Column, Error, Frame, Kind, Result};
use ochre_model::driver::form_of;
use ochre_model::params::CommonParams;
use ochre_model::wire::ModelOutput;
use ochre_model::{Algorithm, AlgorithmInfo, Category, Fitted, Run, Shape, Training};
use ochre_schema::{Cell, FrameKey, Notes, Schema, Table};
use ochre_score::Scorer;
use statrs::distribution::{ContinuousCDF, FisherSnedecor};

/// Parameters of the builder.
#[derive(Clone, Debug, Schema)]
#[api(name = "ANOVAGLMParametersV3", superclass = "ModelParametersSchemaV3", iced = "ANOVAGLMParameters")]
pub struct AnovaParams {
    /// What every algorithm has.
    #[api(
        flatten,
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
            fold_column,
            fold_assignment,
            categorical_encoding,
            max_categorical_levels,
            checkpoint,
            gainslift_bins,
            custom_metric_func,
            custom_distribution_func,
            export_checkpoints_dir,
            auc_type
        )
    )]
    pub common: CommonParams,
    /// Seed of the random generator; -1 for a fresh one.
    #[api(default = -1, gridable)]
    pub seed: i64,
    /// Distribution of the response.
    #[api(ty = "enum", choice = "GlmGLMModelGLMParametersFamily", default = Some("AUTO".to_string()), values("AUTO", "gaussian", "binomial", "fractionalbinomial", "quasibinomial", "poisson", "gamma", "tweedie", "negativebinomial"))]
    pub family: Option<String>,
    /// Tweedie variance power.
    #[api(gridable)]
    pub tweedie_variance_power: f64,
    /// Tweedie link power.
    #[api(default = 1.0, gridable)]
    pub tweedie_link_power: f64,
    /// Theta.
    #[api(gridable)]
    pub theta: f64,
    /// Solver.
    #[api(ty = "enum", choice = "GlmGLMModelGLMParametersSolver", default = Some("IRLSM".to_string()), values("AUTO", "IRLSM", "L_BFGS", "COORDINATE_DESCENT_NAIVE", "COORDINATE_DESCENT", "GRADIENT_DESCENT_LH", "GRADIENT_DESCENT_SQERR"))]
    pub solver: Option<String>,
    /// Missing values handling.
    #[api(ty = "enum", choice = "GlmGLMModelGLMParametersMissingValuesHandling", default = Some("MeanImputation".to_string()), inout, expert, gridable, values("MeanImputation", "Skip", "PlugValues"))]
    pub missing_values_handling: Option<String>,
    /// Plug values.
    pub plug_values: Option<FrameKey>,
    /// Compute p values.
    #[api(default = true, secondary)]
    pub compute_p_values: bool,
    /// Standardize.
    #[api(default = true)]
    pub standardize: bool,
    /// Non negative.
    pub non_negative: bool,
    /// Max iterations.
    #[api(secondary)]
    pub max_iterations: i32,
    /// Link function.
    #[api(ty = "enum", choice = "GlmGLMModelGLMParametersLink", default = Some("family_default".to_string()), secondary, values("family_default", "identity", "logit", "log", "inverse", "tweedie", "ologit"))]
    pub link: Option<String>,
    /// Prior.
    #[api(expert)]
    pub prior: f64,
    /// Alpha.
    #[api(gridable)]
    pub alpha: Option<Vec<f64>>,
    /// Lambda.
    #[api(default = Some(vec![0.0]), gridable)]
    pub lambda: Option<Vec<f64>>,
    /// Lambda search.
    pub lambda_search: bool,
    /// Early stopping.
    pub early_stopping: bool,
    /// Balance classes.
    #[api(inout, secondary)]
    pub balance_classes: bool,
    /// Class sampling factors.
    #[api(inout, expert)]
    pub class_sampling_factors: Option<Vec<f32>>,
    /// Max after balance size.
    #[api(default = 5.0_f32, inout, expert)]
    pub max_after_balance_size: f32,
    /// Keep the frame of transformed predictors.
    pub save_transformed_framekeys: bool,
    /// Most predictors that interact; 0 for all.
    pub highest_interaction_term: i32,
    /// Has no effect: each model uses all threads.
    #[api(default = 4)]
    pub nparallelism: i32,
    /// Type of the sums of squares; 3 is the only one.
    pub r#type: i32,
}

/// Output of a trained model.
#[derive(Clone, Debug, Schema)]
#[api(name = "ANOVAGLMModelOutputV3", superclass = "ModelOutputSchemaV3", iced = "ANOVAGLMModelOutput")]
pub struct AnovaOutput {
    /// What every model shows.
    #[api(flatten)]
    pub common: ModelOutput,
    /// Coefficients of the models without each term, and of the full one.
    pub coefficients_table: Option<Vec<Table>>,
    /// Frame of the transformed predictors.
    pub transformed_columns_key: Option<FrameKey>,
    /// Frame of the result.
    pub result_frame_key: Option<FrameKey>,
}

pub struct AnovaGlm;

impl Algorithm for AnovaGlm {
    const INFO: AlgorithmInfo = AlgorithmInfo {
        name: "anovaglm",
        full_name: "ANOVA for Generalized Linear Model",
        stem: "ANOVAGLM",
        categories: &[Category::Regression, Category::Binomial, Category::Multinomial, Category::Ordinal],
        supervised: true,
        builder_schema: "ANOVAGLMV3",
        builder_superclass: "ModelBuilderSchema",
        parameters_type: "ANOVAGLMParameters",
        model_schema: "ANOVAGLMModelV3",
        model_superclass: "ModelSchemaV3",
        model_type: "ANOVAGLMModel",
        output_type: "ANOVAGLMModelOutput",
    };
    type Params = AnovaParams;
    type Output = AnovaOutput;

    fn common(params: &AnovaParams) -> &CommonParams {
        &params.common
    }
    fn common_mut(params: &mut AnovaParams) -> &mut CommonParams {
        &mut params.common
    }
    fn seed_mut(params: &mut AnovaParams) -> Option<&mut i64> {
        Some(&mut params.seed)
    }
    fn output_common(output: &mut AnovaOutput) -> &mut ModelOutput {
        &mut output.common
    }
    fn wants_classes(params: &AnovaParams) -> Option<bool> {
        let family = params.family.as_deref().unwrap_or_default().to_ascii_lowercase();
        matches!(family.as_str(), "binomial" | "quasibinomial").then_some(true)
    }

    fn check(params: &AnovaParams, shape: &Shape<'_>, notes: &mut Notes) {
        crate::glm::warn_of_balance(params.balance_classes, notes);
        if shape.predictors < 2 {
            notes.error("_predictors", " there must be at least two predictors.");
        }
        if params.highest_interaction_term < 0 || params.highest_interaction_term as usize > shape.predictors {
            notes.error(
                "_highest_interaction_term",
                format!(
                    "highest_interaction_term must be between 0 (all) and the number of predictors, {}, but is {}",
                    shape.predictors, params.highest_interaction_term
                ),
            );
        }
        if params.r#type != 0 && params.r#type != 3 {
            notes.error("_type", format!("only sums of squares of type 3 are supported, but type is {}", params.r#type));
        }
        if shape.category == Some(Category::Multinomial) {
            notes.error("_response", "analysis of variance needs a response that is numeric or has two classes");
        }
        match linear(params) {
            Ok(glm) => Glm::check(&glm, shape, notes),
            Err(e) => notes.error("_family", e.to_string()),
        }
    }

    fn fit(run: &mut Run<'_, AnovaParams>) -> Result<Fitted<AnovaOutput>> {
        fit(run)
    }
}

/// The parameters of the linear models.
fn linear(params: &AnovaParams) -> Result<GlmParams> {
    // 0 says "choose" here.
    let chosen = ["max_iterations", "prior", "theta", "tweedie_link_power"];
    let mut glm = GlmParams::taking(form_of(params), &["model_id", "ignored_columns"], &chosen)?;
    // Tests compare deviances; errors of coefficients come beside them where the solver has them.
    glm.compute_p_values &= matches!(glm.solver, Solver::Auto | Solver::Irlsm);
    Ok(glm)
}

/// A predictor or an interaction: its name and its columns.
struct Term {
    name: String,
    columns: Vec<(String, Vec<f64>)>,
}

/// The terms of single predictors, categories first. Missing values are filled by all rows alike, those without a response too, as
/// in the reference.
fn singles(train: &Training) -> Result<Vec<Term>> {
    let term = |j: usize| {
        let (name, values) = (&train.names[j], train.columns[j].to_f64()?);
        let columns = match train.columns[j].domain() {
            None => {
                let known = || values.iter().filter(|v| !v.is_nan());
                let mean = known().sum::<f64>() / known().count() as f64;
                vec![(name.clone(), values.into_iter().map(|v| if v.is_nan() { mean } else { v }).collect())]
            }
            Some(domain) => {
                let mut counts = vec![0.0; domain.len()];
                values.iter().filter(|v| !v.is_nan()).for_each(|v| counts[*v as usize] += 1.0);
                let (mode, last) = (ochre_model::metrics::argmax(&counts), domain.len() - 1);
                let code = |level: usize, v: f64| match if v.is_nan() { mode } else { v as usize } {
                    c if c == level => 1.0,
                    c if c == last => -1.0,
                    _ => 0.0,
                };
                (0..last).map(|l| (format!("{name}_{}", domain[l]), values.iter().map(|v| code(l, *v)).collect())).collect()
            }
        };
        Ok(Term { name: name.clone(), columns })
    };
    categories_first(&train.columns).into_iter().map(term).collect()
}

/// Products of the columns of some terms, the first term's varying slowest.
fn interaction(of: &[&Term]) -> Term {
    let mut columns = of[0].columns.clone();
    for term in &of[1..] {
        let product = |a: &(String, Vec<f64>), b: &(String, Vec<f64>)| {
            (format!("{}:{}", a.0, b.0), a.1.iter().zip(&b.1).map(|(x, y)| x * y).collect::<Vec<f64>>())
        };
        columns = columns.iter().flat_map(|a| term.columns.iter().map(move |b| product(a, b))).collect();
    }
    Term { name: of.iter().map(|t| t.name.as_str()).collect::<Vec<_>>().join(":"), columns }
}

fn fit(run: &mut Run<'_, AnovaParams>) -> Result<Fitted<AnovaOutput>> {
    let mut glm = linear(&run.params)?;
    // Combinations of levels that no row has make columns that others determine.
    glm.remove_collinear_columns = true;
    // Rows with missing values go before anything is multiplied.
    if run.params.missing_values_handling.as_deref().is_some_and(|m| m.eq_ignore_ascii_case("skip")) {
        run.train.leave_out_missing()?;
    }
    let train = &run.train;
    let most = match run.params.highest_interaction_term {
        0 => train.columns.len(),
        n => n as usize,
    };
    let base = singles(train)?;
    // Subsets of each size, in order; every one's size is known before any is made.
    let widths: Vec<usize> = base.iter().map(|t| t.columns.len()).collect();
    let mut subsets: Vec<Vec<usize>> = (0..base.len()).map(|i| vec![i]).collect();
    let mut from = 0;
    for _ in 1..most {
        let next: Vec<Vec<usize>> = subsets[from..]
            .iter()
            .flat_map(|s| (s[s.len() - 1] + 1..base.len()).map(move |j| s.iter().copied().chain([j]).collect()))
            .collect();
        from = subsets.len();
        subsets.extend(next);
        if subsets.len() > 10_000 {
            return Err(Error::invalid(format!(
                "{} predictors have more than 10000 interactions; set highest_interaction_term",
                base.len()
            )));
        }
    }
    let count: usize = subsets.iter().map(|s| s.iter().map(|j| widths[*j]).product::<usize>()).sum();
    let _room = run.node.ledger.reserve(&format!("{count} columns of predictors and interactions"), (count * train.rows * 16) as u64)?;
    let terms: Vec<Term> = subsets.iter().map(|s| interaction(&s.iter().map(|j| &base[*j]).collect::<Vec<_>>())).collect();
    let columns: Vec<(usize, String, Column)> = terms
        .iter()
        .enumerate()
        .flat_map(|(t, term)| term.columns.iter().map(move |(n, v)| (t, n.clone(), v)))
        .map(|(t, n, v)| Ok((t, n, Column::numeric(&run.node.ledger, Kind::Real, v)?)))
        .collect::<Result<_>>()?;
    let model = |without: Option<usize>| {
        let kept = || columns.iter().filter(|c| Some(c.0) != without);
        let train =
            Training { names: kept().map(|c| c.1.clone()).collect(), columns: kept().map(|c| c.2.clone()).collect(), ..train.clone() };
        Glm::fit(&mut run.inner(glm.clone(), train, None))
    };
    let residual = |m: &Fitted<crate::glm::GlmOutput>| -> Result<(f64, f64)> {
        let extras = m.training.glm.ok_or_else(|| Error::Internal("a linear model has no deviance".into()))?;
        Ok((extras.residual_deviance, extras.residual_dof as f64))
    };
    let shown = |table: &Option<Table>, heading: String| {
        let mut table = table.clone().unwrap_or_else(|| Table::new("", ""));
        table.columns.retain(|c| matches!(c.name.as_str(), "names" | "coefficients" | "standardized_coefficients"));
        // The intercept is last.
        for c in table.columns.iter_mut().filter(|c| !c.cells.is_empty()) {
            c.cells.rotate_left(1);
        }
        Table { name: heading, description: String::new(), ..table }
    };
    let full = model(None)?;
    let (deviance, freedom) = residual(&full)?;
    let mut tables = vec![];
    let (mut names, mut ss, mut df, mut f, mut p) = (vec![], vec![], vec![], vec![], vec![]);
    for (t, term) in terms.iter().enumerate() {
        let reduced = model(Some(t))?;
        let what = if term.name.contains(':') { "predictors interactions" } else { "predictor" };
        tables.push(shown(&reduced.output.coefficients_table, format!("Coefficients for GLM model built without {what} {}", term.name)));
        let sum = residual(&reduced)?.0 - deviance;
        let n = term.columns.len() as f64;
        let ratio = sum / n / (deviance / freedom);
        names.push(Cell::Text(term.name.clone()));
        ss.push(sum);
        df.push(n);
        f.push(ratio);
        p.push(FisherSnedecor::new(n, freedom).map_or(f64::NAN, |d| d.sf(ratio.max(0.0))));
        run.job.set_progress((t + 1) as f64 / terms.len() as f64);
    }
    tables.push(shown(&full.output.coefficients_table, "Coefficients for GLM model built with all predictors".into()));
    let doubles = |v: &[f64]| v.iter().map(|v| Cell::Double(*v)).collect::<Vec<_>>();
    let same = |v: &Option<String>| vec![Cell::Text(v.clone().unwrap_or_default()); terms.len()];
    let family = crate::glm::family_of(&glm, train.category).name();
    let mut output = AnovaOutput { coefficients_table: Some(tables), ..AnovaOutput::default() };
    output.common.model_summary = Some(
        Table::new("GLM ANOVA Type III SS", "summary")
            .row_labels(names.clone())
            .named("predictors_interactions", "predictors_interactions", "string", "%s", names)
            .named("family", "family", "string", "%s", same(&Some(family.into())))
            .named("link", "link", "string", "%s", same(&run.params.link))
            .named("ss", "ss", "double", "%5f", doubles(&ss))
            .named("df", "df", "int", "%d", df.iter().map(|v| Cell::from(*v as usize)).collect())
            .named("ms", "ms", "double", "%5f", ss.iter().zip(&df).map(|(s, d)| Cell::Double(s / d)).collect())
            .named("f", "f", "double", "%5f", doubles(&f))
            .named("p_value", "p_value", "double", "%5f", doubles(&p)),
    );
    output.common.scoring_history = full.output.common.scoring_history.clone();
    if run.params.save_transformed_framekeys {
        let key = format!("{}_transformed", run.params.common.model_id.clone().unwrap_or_default().0);
        let (mut names, mut kept): (Vec<String>, Vec<Column>) = columns.iter().map(|c| (c.1.clone(), c.2.clone())).unzip();
        if let Some(r) = &train.response {
            names.push(r.name.clone());
            kept.push(Column::numeric(&run.node.ledger, r.domain.clone().map_or(Kind::Real, Kind::Enum), &train.y)?);
        }
        run.node.store.put(&key, Frame::new(names, kept)?)?;
        run.belongings.push(key.clone());
        output.transformed_columns_key = Some(FrameKey(key));
    }
    let (deviance, training) = (full.deviance, full.training);
    Ok(Fitted { output, scorer: Scorer::Silent, deviance, training, validation: None, order: None })
}
