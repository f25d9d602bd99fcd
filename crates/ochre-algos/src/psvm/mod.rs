//! Support vector machine with the gaussian kernel, by a kernel matrix of low rank (Chang et al., PSVM: Parallelizing
//! Support Vector Machines on Distributed Computers, NIPS 2007).
//!
//! The kernel matrix is replaced by an incomplete Cholesky factor (`factor.rs`), with which an interior-point method
//! minimises the dual problem (`dual.rs`). Rows that decide are kept as support vectors; they score with the kernel itself.
//!
//! Distribution: every node fetches the predictors whole, and computes the same. Memory: `8 rows (columns + rank) + 8 rank^2`
//! bytes.

mod dual;
mod factor;

use crate::glm::design::categories_first;
use dual::Dual;
use ochre_core::{Column, Error, Frame, Kind, Result, time};
use ochre_model::driver::measure;
use ochre_model::metrics::Detail;
use ochre_model::params::CommonParams;
use ochre_model::wire::ModelOutput;
use ochre_model::{Algorithm, AlgorithmInfo, Category, Deviance, Fitted, Metrics, Run, Shape, adapt};
use ochre_schema::{Cell, Choice, FrameKey, Notes, Schema, Table};
use ochre_score::{KernelScorer, KernelSpace, Scorer};

/// How alike two rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
#[api(name = "GenmodelalgospsvmKernelType")]
pub enum KernelType {
    #[default]
    #[api(name = "gaussian")]
    Gaussian,
}

/// Parameters of the builder.
#[derive(Clone, Debug, Schema)]
#[api(name = "PSVMParametersV3", superclass = "ModelParametersSchemaV3", iced = "PSVMParameters")]
pub struct PsvmParams {
    /// What every algorithm has.
    #[api(
        flatten,
        omit(
            nfolds,
            keep_cross_validation_models,
            keep_cross_validation_predictions,
            keep_cross_validation_fold_assignment,
            parallelize_cross_validation,
            distribution,
            tweedie_power,
            quantile_alpha,
            huber_alpha,
            weights_column,
            offset_column,
            fold_column,
            fold_assignment,
            categorical_encoding,
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
    /// Penalty of a row on the wrong side of its margin (C).
    #[api(default = 1.0, gridable)]
    pub hyper_param: f64,
    /// Kernel.
    pub kernel_type: KernelType,
    /// Narrowness of the kernel; -1 for 1 / (numbers and levels of the predictors).
    #[api(default = -1.0, gridable)]
    pub gamma: f64,
    /// Rank of the factor, as a share of the rows; -1 for the square root of the rows.
    #[api(default = -1.0, gridable)]
    pub rank_ratio: f64,
    /// Factor of the penalty of rows of the second class.
    #[api(default = 1.0)]
    pub positive_weight: f64,
    /// Factor of the penalty of rows of the first class.
    #[api(default = 1.0)]
    pub negative_weight: f64,
    /// Leave out the metrics on the training data.
    #[api(default = true)]
    pub disable_training_metrics: bool,
    /// Rows with a smaller multiplier are no support vectors.
    #[api(default = 0.0001, secondary)]
    pub sv_threshold: f64,
    /// The factor is complete when the rest of the diagonal adds up to less.
    #[api(default = 1e-05, expert)]
    pub fact_threshold: f64,
    /// Largest primal and dual residual of a solution.
    #[api(default = 0.001, expert)]
    pub feasible_threshold: f64,
    /// Largest surrogate gap of a solution.
    #[api(default = 0.001, expert)]
    pub surrogate_gap_threshold: f64,
    /// By how much a step of the interior-point method aims to lessen the gap.
    #[api(default = 10.0, expert)]
    pub mu_factor: f64,
    /// Most steps of the interior-point method.
    #[api(default = 200, secondary)]
    pub max_iterations: i32,
    /// Seed; nothing is drawn here.
    #[api(default = -1, gridable)]
    pub seed: i64,
}

/// Output of a trained model.
#[derive(Clone, Debug, Schema)]
#[api(name = "PSVMModelOutputV3", superclass = "ModelOutputSchemaV3", iced = "PSVMModelOutput")]
pub struct PsvmOutput {
    /// What every model shows.
    #[api(flatten)]
    pub common: ModelOutput,
    /// Number of support vectors.
    pub svs_count: i64,
    /// Number of support vectors whose multiplier is at its bound.
    pub bsv_count: i64,
    /// Constant of the decision function.
    pub rho: f64,
    /// Signed multiplier of each row; missing where it is no support vector.
    pub alpha_key: Option<FrameKey>,
}

pub struct Psvm;

impl Algorithm for Psvm {
    const INFO: AlgorithmInfo = AlgorithmInfo {
        name: "psvm",
        full_name: "PSVM",
        stem: "PSVM",
        categories: &[Category::Binomial],
        supervised: true,
        builder_schema: "PSVMV3",
        builder_superclass: "ModelBuilderSchema",
        parameters_type: "PSVMParameters",
        model_schema: "PSVMModelV3",
        model_superclass: "ModelSchemaV3",
        model_type: "PSVMModel",
        output_type: "PSVMModelOutput",
    };
    const SIGNS_AS_CLASSES: bool = true;
    type Params = PsvmParams;
    type Output = PsvmOutput;

    fn common(params: &PsvmParams) -> &CommonParams {
        &params.common
    }
    fn common_mut(params: &mut PsvmParams) -> &mut CommonParams {
        &mut params.common
    }
    fn seed_mut(params: &mut PsvmParams) -> Option<&mut i64> {
        Some(&mut params.seed)
    }
    fn output_common(output: &mut PsvmOutput) -> &mut ModelOutput {
        &mut output.common
    }
    fn wants_training_metrics(params: &PsvmParams) -> bool {
        !params.disable_training_metrics
    }
    fn detail(params: &PsvmParams) -> Detail {
        Detail { labels: true, ..params.common.detail() }
    }

    fn check(params: &PsvmParams, shape: &Shape<'_>, notes: &mut Notes) {
        if shape.category == Some(Category::Multinomial) {
            let levels = shape.response.and_then(Column::domain).map_or(0, |d| d.len());
            let text = format!("Expected a binary categorical response, but instead got response with {levels} categories.");
            notes.error("_response", text);
        }
        if shape.response.is_some_and(|r| r.rollup().is_ok_and(|r| r.missing > 0)) {
            notes.error("_response", "the response has missing values; fill them in or drop these rows");
        }
        let mut above = |name: &str, value: f64| {
            if value.is_nan() || value <= 0.0 {
                notes.error(&format!("_{name}"), format!("{name} must be above 0, but is {value}"));
            }
        };
        above("hyper_param", params.hyper_param);
        above("positive_weight", params.positive_weight);
        above("negative_weight", params.negative_weight);
        above("feasible_threshold", params.feasible_threshold);
        above("surrogate_gap_threshold", params.surrogate_gap_threshold);
        above("fact_threshold", params.fact_threshold);
        above("max_iterations", f64::from(params.max_iterations));
        if params.rank_ratio != -1.0 {
            above("rank_ratio", params.rank_ratio);
        }
        if params.mu_factor.is_nan() || params.mu_factor <= 1.0 {
            notes.error("_mu_factor", format!("mu_factor must be above 1, but is {}", params.mu_factor));
        }
        if params.gamma.is_nan() || (params.gamma < 0.0 && params.gamma != -1.0) {
            notes.error("_gamma", format!("gamma must be at least 0, or -1 to choose, but is {}", params.gamma));
        }
        if params.sv_threshold.is_nan() || params.sv_threshold < 0.0 {
            notes.error("_sv_threshold", format!("sv_threshold must be at least 0, but is {}", params.sv_threshold));
        }
    }

    fn fit(run: &mut Run<'_, PsvmParams>) -> Result<Fitted<PsvmOutput>> {
        fit(run)
    }
}

/// The rows as points of the kernel's space, predictors in the order given, and how many numbers a row would have if each
/// level were one.
fn points(run: &Run<'_, PsvmParams>, order: &[usize]) -> Result<(KernelSpace, Vec<f64>, usize)> {
    let train = &run.train;
    let columns = order.iter().map(|&i| train.columns[i].to_f64()).collect::<Result<Vec<_>>>()?;
    let mut space = KernelSpace::default();
    let mut width = 0;
    for (values, column) in columns.iter().zip(order.iter().map(|&i| &train.columns[i])) {
        let known = values.iter().filter(|v| !v.is_nan());
        let (levels, fill) = match &column.kind {
            Kind::Enum(domain) => {
                let mut counts = vec![0usize; domain.len()];
                known.for_each(|v| counts[*v as usize] += 1);
                let most = counts.iter().max().copied().unwrap_or(0);
                (domain.len(), counts.iter().position(|c| *c == most).unwrap_or(0) as f64)
            }
            _ => {
                let (sum, n) = known.fold((0.0, 0usize), |(s, n), v| (s + v, n + 1));
                (1, sum / n as f64)
            }
        };
        width += levels;
        space.categorical.push(matches!(column.kind, Kind::Enum(_)));
        space.fills.push(fill);
    }
    let views: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
    let mut all = vec![0.0; train.rows * columns.len()];
    for (row, point) in all.chunks_exact_mut(columns.len()).enumerate() {
        space.point(&views, row, point);
    }
    if let Some(bad) = all.iter().position(|v| v.is_infinite()) {
        let name = &train.names[order[bad % columns.len()]];
        return Err(Error::invalid(format!("column '{name}' has an infinite value, which has no distance to others; replace it")));
    }
    Ok((space, all, width))
}

fn fit(run: &mut Run<'_, PsvmParams>) -> Result<Fitted<PsvmOutput>> {
    let params = run.params.clone();
    let n = run.train.rows;
    let k = run.train.columns.len();
    let rank = match params.rank_ratio {
        r if r > 0.0 => ((r * n as f64) as usize).clamp(1, n),
        _ => ((n as f64).sqrt() as usize).max(1),
    };
    let _room = run.node.ledger.reserve("kernel matrix", (8 * (n * (2 * k + rank + 16) + rank * rank)) as u64)?;
    // Categorical predictors first, those with most levels in front, as the reference lists them.
    let order = categories_first(&run.train.columns);
    let (space, points, width) = points(run, &order)?;
    let gamma = if params.gamma < 0.0 { 1.0 / width as f64 } else { params.gamma };
    let signs: Vec<f64> = run.train.y.iter().map(|y| if *y == 1.0 { 1.0 } else { -1.0 }).collect();
    let mut factor = factor::incomplete(&space, &points, gamma, rank, params.fact_threshold, run.job)?;
    if factor.is_empty() {
        let threshold = params.fact_threshold;
        return Err(Error::invalid(format!("fact_threshold = {threshold} leaves nothing of the kernel matrix; give a smaller one")));
    }
    factor.iter_mut().for_each(|column| column.iter_mut().zip(&signs).for_each(|(h, s)| *h *= s));
    let bounds: Vec<f64> =
        signs.iter().map(|s| params.hyper_param * if *s > 0.0 { params.positive_weight } else { params.negative_weight }).collect();
    let dual = Dual { factor: &factor, signs: &signs, bounds: &bounds, params: &params, job: run.job };
    let solved = dual.solve()?;
    if !solved.converged {
        run.job.warn(format!("PSVM stopped after max_iterations={} steps, before it converged", params.max_iterations));
    }
    // Multipliers next to a bound are at it.
    let mut alpha = vec![f64::NAN; n];
    let (mut bounded, mut vectors, mut weights) = (0, vec![], vec![]);
    for i in 0..n {
        if solved.alpha[i] > params.sv_threshold {
            let at_bound = bounds[i] - solved.alpha[i] <= params.sv_threshold;
            bounded += i64::from(at_bound);
            alpha[i] = signs[i] * if at_bound { bounds[i] } else { solved.alpha[i] };
            vectors.extend_from_slice(&points[i * k..][..k]);
            weights.push(alpha[i]);
        }
    }
    let mut scorer = KernelScorer { space, gamma, vectors, weights, rho: 0.0 };
    // As the reference has it: also from vectors whose multiplier is at its bound.
    scorer.rho = factor::bias(&scorer, k, &alpha, &signs);
    let count = scorer.weights.len();
    let numbers = scorer.space.categorical.iter().filter(|c| !**c).count();
    let key = format!("{}_alpha", params.common.model_id.clone().unwrap_or_default().0);
    run.node.store.put(&key, Frame::new(vec!["alpha".into()], vec![Column::from_f64(&run.node.ledger, &alpha)?])?)?;
    run.belongings.push(key.clone());
    let mut output = PsvmOutput {
        svs_count: count as i64,
        bsv_count: bounded,
        rho: scorer.rho,
        alpha_key: Some(FrameKey(key)),
        ..PsvmOutput::default()
    };
    output.common.effective.push(("gamma", gamma.into()));
    let column = |v: Cell| vec![v];
    output.common.model_summary = Some(
        Table::new("Model Summary", "")
            .row_labels(vec!["".into()])
            .column("Number of Support Vectors", "long", "%d", column(count.into()))
            .column("Number of Bounded Support Vectors", "long", "%d", column(bounded.into()))
            .column("Raw Model Size in Bytes", "long", "%d", column((count * (16 + 8 * numbers + 4 * (k - numbers))).into()))
            .column("rho", "double", "%.5f", column(scorer.rho.into()))
            .column("Number of Iterations", "long", "%d", column(solved.steps.into()))
            .column("Surrogate Gap", "double", "%.5f", column(solved.gap.into()))
            .column("Primal Residual", "double", "%.5f", column(solved.primal.into()))
            .column("Dual Residual", "double", "%.5f", column(solved.dual.into())),
    );
    let scorer = Scorer::Kernel(scorer);
    let domain = run.train.response.as_ref().and_then(|r| r.domain.clone()).unwrap_or_default();
    let measured = |data: &adapt::Adapted, y: &[f64]| -> Result<Metrics> {
        let sources = order.iter().map(|&i| data.sources[i].clone()).collect();
        let p = adapt::score(&scorer, &adapt::Adapted { sources, rows: data.rows, warnings: vec![] }, None)?;
        measure(Category::Binomial, &p, y, None, &domain, Deviance::Gaussian, Psvm::detail(&params))
    };
    let training = match params.disable_training_metrics {
        true => measure(Category::Binomial, &[], &[], None, &domain, Deviance::Gaussian, Psvm::detail(&params))?,
        false => measured(&run.train.adapted(&run.train.predictors())?, &run.train.y)?,
    };
    let validation = run.valid.as_ref().map(|v| measured(&v.data, &v.y)).transpose()?;
    output.common.end_time = time::now_ms();
    Ok(Fitted { output, scorer, deviance: Deviance::Gaussian, training, validation, order: Some(order) })
}
