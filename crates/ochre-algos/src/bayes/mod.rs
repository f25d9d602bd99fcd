//! Naive Bayes: class shares, and for each class the shares of levels of categorical predictors and the mean and deviation
//! of numeric ones (Hand and Yu 2001). Rows with a missing predictor take no part in training, as in the reference.
//!
//! Distribution: sums over chunks, in their order.

mod fit;

use ochre_core::Result;
use ochre_model::params::CommonParams;
use ochre_model::wire::ModelOutput;
use ochre_model::{Algorithm, AlgorithmInfo, Category, Fitted, Run, Shape};
use ochre_schema::{Notes, Schema, Table};

/// Parameters of the builder.
#[derive(Clone, Debug, Schema)]
#[api(name = "NaiveBayesParametersV3", superclass = "ModelParametersSchemaV3", iced = "NaiveBayesParameters")]
pub struct BayesParams {
    /// What every algorithm has.
    #[api(
        flatten,
        omit(
            parallelize_cross_validation,
            distribution,
            tweedie_power,
            quantile_alpha,
            huber_alpha,
            weights_column,
            offset_column,
            categorical_encoding,
            max_categorical_levels,
            checkpoint,
            stopping_rounds,
            stopping_metric,
            stopping_tolerance,
            custom_metric_func,
            custom_distribution_func
        )
    )]
    pub common: CommonParams,
    /// Balance classes. Weighing classes alike and correcting what is predicted by their shares gives the same model.
    #[api(inout, secondary)]
    pub balance_classes: bool,
    /// Weight of each class, in lexicographic order, when they are balanced.
    #[api(inout, expert)]
    pub class_sampling_factors: Option<Vec<f32>>,
    /// Largest relative size of the frame after balancing.
    #[api(default = 5.0_f32, inout, expert)]
    pub max_after_balance_size: f32,
    /// Retired; has no effect.
    #[api(default = 20, inout, secondary)]
    pub max_confusion_matrix_size: i32,
    /// Count that is added to every count of classes and levels (Laplace smoothing).
    #[api(gridable)]
    pub laplace: f64,
    /// Standard deviation to use where the observed one is too small.
    #[api(default = 0.001, gridable)]
    pub min_sdev: f64,
    /// Largest standard deviation that is too small.
    #[api(gridable)]
    pub eps_sdev: f64,
    /// Probability to use where the observed one is too small.
    #[api(default = 0.001, gridable)]
    pub min_prob: f64,
    /// Largest probability that is too small.
    #[api(gridable)]
    pub eps_prob: f64,
    /// Compute metrics on training data.
    #[api(default = true, gridable)]
    pub compute_metrics: bool,
    /// Seed of the random generator; -1 for a fresh one.
    #[api(default = -1, inout, expert, gridable)]
    pub seed: i64,
}

/// Output of a trained model.
#[derive(Clone, Debug, Schema)]
#[api(name = "NaiveBayesModelOutputV3", superclass = "ModelOutputSchemaV3", iced = "NaiveBayesOutput")]
pub struct BayesOutput {
    /// What every model shows.
    #[api(flatten)]
    pub common: ModelOutput,
    /// Classes of the response.
    pub levels: Option<Vec<String>>,
    /// Shares of the classes.
    pub apriori: Option<Table>,
    /// What is known of each predictor, by class.
    pub pcond: Option<Vec<Table>>,
}

pub struct NaiveBayes;

impl Algorithm for NaiveBayes {
    const INFO: AlgorithmInfo = AlgorithmInfo {
        name: "naivebayes",
        full_name: "Naive Bayes",
        stem: "NaiveBayes",
        categories: &[Category::Binomial, Category::Multinomial],
        supervised: true,
        builder_schema: "NaiveBayesV3",
        builder_superclass: "ModelBuilderSchema",
        parameters_type: "NaiveBayesParameters",
        model_schema: "NaiveBayesModelV3",
        model_superclass: "ModelSchemaV3",
        model_type: "NaiveBayesModel",
        output_type: "NaiveBayesOutput",
    };
    type Params = BayesParams;
    type Output = BayesOutput;

    fn common(params: &BayesParams) -> &CommonParams {
        &params.common
    }
    fn common_mut(params: &mut BayesParams) -> &mut CommonParams {
        &mut params.common
    }
    fn seed_mut(params: &mut BayesParams) -> Option<&mut i64> {
        Some(&mut params.seed)
    }
    fn output_common(output: &mut BayesOutput) -> &mut ModelOutput {
        &mut output.common
    }

    fn wants_training_metrics(params: &BayesParams) -> bool {
        params.compute_metrics
    }

    fn check(params: &BayesParams, shape: &Shape<'_>, notes: &mut Notes) {
        if shape.category == Some(Category::Regression) {
            notes.error("_response", "Response must be a categorical column");
        }
        if params.balance_classes {
            let text = "the predictions of naive Bayes are the same with balanced classes, once they are corrected by the classes' shares";
            notes.info("_balance_classes", text);
        }
        let mut least = |name: &str, value: f64, least: f64, what: &str| {
            if value.is_nan() || value < least {
                let bound = if least == 0.0 { "a number >= 0".to_string() } else { format!("at least {least:e}") };
                notes.error(&format!("_{name}"), format!("{what} must be {bound}, but is {value}"));
            }
        };
        least("laplace", params.laplace, 0.0, "Laplace smoothing");
        least("min_sdev", params.min_sdev, 1e-10, "Min. standard deviation");
        least("eps_sdev", params.eps_sdev, 0.0, "Threshold for standard deviation");
        least("min_prob", params.min_prob, 1e-10, "Min. probability");
        least("eps_prob", params.eps_prob, 0.0, "Threshold for probability");
    }

    fn fit(run: &mut Run<'_, BayesParams>) -> Result<Fitted<BayesOutput>> {
        fit::fit(run)
    }
}
