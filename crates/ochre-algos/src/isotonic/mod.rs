//! Isotonic regression: the non-decreasing function of one predictor that is closest to the response in weighted squares,
//! by pooling adjacent violators (Barlow et al. 1972).
//!
//! Distribution: the predictor is fetched whole, as the response is; pooling is one pass over sorted values.

use crate::calibration::pool;
use ochre_core::{Result, time};
use ochre_model::driver::measure;
use ochre_model::params::CommonParams;
use ochre_model::wire::ModelOutput;
use ochre_model::{Algorithm, AlgorithmInfo, Category, Deviance, Fitted, Metrics, Run, Shape, adapt};
use ochre_schema::{Choice, Notes, Schema, Table};
use ochre_score::{IsotonicScorer, Scorer};

/// What happens to values outside of the training data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
#[api(name = "IsotonicIsotonicRegressionModelOutOfBoundsHandling")]
pub enum OutOfBounds {
    #[api(name = "NA")]
    Na,
    #[api(name = "clip")]
    Clip,
}

/// Parameters of the builder.
#[derive(Clone, Debug, Schema)]
#[api(name = "IsotonicRegressionParametersV3", superclass = "ModelParametersSchemaV3", iced = "IsotonicRegressionParameters")]
pub struct IsotonicParams {
    /// What every algorithm has.
    #[api(
        flatten,
        omit(
            parallelize_cross_validation,
            distribution,
            tweedie_power,
            quantile_alpha,
            huber_alpha,
            offset_column,
            categorical_encoding,
            max_categorical_levels,
            ignore_const_cols,
            score_each_iteration,
            checkpoint,
            stopping_rounds,
            max_runtime_secs,
            stopping_metric,
            stopping_tolerance,
            gainslift_bins,
            custom_distribution_func,
            export_checkpoints_dir,
            auc_type
        )
    )]
    pub common: CommonParams,
    /// Predictions outside of the training data: missing, or those of the nearest value.
    #[api(inout)]
    pub out_of_bounds: OutOfBounds,
}

/// Output of a trained model.
#[derive(Clone, Debug, Schema)]
#[api(name = "IsotonicRegressionModelOutputV3", superclass = "ModelOutputSchemaV3", iced = "IsotonicRegressionOutput")]
pub struct IsotonicOutput {
    /// What every model shows.
    #[api(flatten)]
    pub common: ModelOutput,
    /// Response at each threshold.
    pub thresholds_y: Option<Vec<f64>>,
    /// Values of the predictor between which the function is a straight line.
    pub thresholds_x: Option<Vec<f64>>,
    /// Smallest value of the predictor.
    pub min_x: f64,
    /// Largest value of the predictor.
    pub max_x: f64,
}

pub struct IsotonicRegression;

impl Algorithm for IsotonicRegression {
    const INFO: AlgorithmInfo = AlgorithmInfo {
        name: "isotonicregression",
        full_name: "Isotonic Regression",
        stem: "IsotonicRegression",
        categories: &[Category::Regression],
        supervised: true,
        builder_schema: "IsotonicRegressionV3",
        builder_superclass: "ModelBuilderSchema",
        parameters_type: "IsotonicRegressionParameters",
        model_schema: "IsotonicRegressionModelV3",
        model_superclass: "ModelSchemaV3",
        model_type: "IsotonicRegressionModel",
        output_type: "IsotonicRegressionOutput",
    };
    const CLASSES_AS_NUMBERS: bool = true;
    type Params = IsotonicParams;
    type Output = IsotonicOutput;

    fn common(params: &IsotonicParams) -> &CommonParams {
        &params.common
    }
    fn common_mut(params: &mut IsotonicParams) -> &mut CommonParams {
        &mut params.common
    }
    fn seed_mut(_: &mut IsotonicParams) -> Option<&mut i64> {
        None
    }
    fn output_common(output: &mut IsotonicOutput) -> &mut ModelOutput {
        &mut output.common
    }

    fn check(_: &IsotonicParams, shape: &Shape<'_>, notes: &mut Notes) {
        if shape.predictors != 1 {
            let names = shape.training.names.join(", ");
            notes.error("_train", format!("isotonic regression has exactly one predictor, but these are {}: {names}", shape.predictors));
        } else if shape.training.columns[0].is_enum() {
            notes.error("_train", format!("the predictor '{}' must be numeric, but is categorical", shape.training.names[0]));
        }
        if shape.category.is_some_and(|c| c != Category::Regression) {
            notes.error("_response_column", "isotonic regression requires a numeric response, but the response is categorical");
        }
    }

    fn fit(run: &mut Run<'_, IsotonicParams>) -> Result<Fitted<IsotonicOutput>> {
        let train = &run.train;
        let _room = run.node.ledger.reserve("sorted values", (train.rows * 40) as u64)?;
        let x = train.columns[0].to_f64()?;
        let rows = (0..train.rows).filter(|&i| train.weight(i) > 0.0 && !x[i].is_nan());
        let points: Vec<(f64, f64, f64)> = rows.map(|i| (x[i], train.y[i], train.weight(i))).collect();
        let count = points.len();
        let (xs, ys) = pool(points);
        let clip = run.params.out_of_bounds == OutOfBounds::Clip;
        let mut output = IsotonicOutput {
            min_x: xs.first().copied().unwrap_or(f64::NAN),
            max_x: xs.last().copied().unwrap_or(f64::NAN),
            thresholds_x: Some(xs.clone()),
            thresholds_y: Some(ys.clone()),
            ..IsotonicOutput::default()
        };
        output.common.effective.push(("fold_assignment", "AUTO".into()));
        output.common.model_summary = Some(
            Table::new("Isotonic Regression Model", "summary")
                .row_labels(vec!["".into()])
                .column("Number of Observations", "long", "%d", vec![count.into()])
                .column("Number of Thresholds", "int", "%d", vec![xs.len().into()]),
        );
        // Measured inside of the thresholds; missing predictors have no prediction, and do not count.
        let inner = Scorer::Isotonic(IsotonicScorer { xs: xs.clone(), ys: ys.clone(), clip });
        let measured = |data: &adapt::Adapted, y: &[f64], w: Option<&[f64]>| -> Result<Metrics> {
            let p = adapt::score(&inner, data, None)?;
            let w: Vec<f64> = (0..y.len()).map(|i| if p[i].is_nan() { 0.0 } else { w.map_or(1.0, |w| w[i]) }).collect();
            let p: Vec<f64> = p.into_iter().map(|v| if v.is_nan() { 0.0 } else { v }).collect();
            measure(Category::Regression, &p, y, Some(&w), &[], Deviance::Gaussian, run.params.common.detail())
        };
        let data = train.adapted(&train.predictors())?;
        let training = measured(&data, &train.y, train.w.as_deref())?;
        let validation = run.valid.as_ref().map(|v| measured(&v.data, &v.y, v.w.as_deref())).transpose()?;
        output.common.end_time = time::now_ms();
        Ok(Fitted { output, scorer: inner, deviance: Deviance::Gaussian, training, validation, order: None })
    }
}
