//! What the API shows of a trained model.

use ochre_model::wire::ModelOutput;
use ochre_schema::{FrameKey, Schema, Table};

/// Output of a trained model.
#[derive(Clone, Debug, Schema)]
#[api(name = "GLMModelOutputV3", superclass = "ModelOutputSchemaV3", iced = "GLMOutput")]
pub struct GlmOutput {
    /// What every model shows.
    #[api(flatten)]
    pub common: ModelOutput,
    /// Coefficients table.
    pub coefficients_table: Option<Table>,
    /// Coefficients table multinomials with class names.
    pub coefficients_table_multinomials_with_class_names: Option<Table>,
    /// Standardized coefficient magnitudes.
    pub standardized_coefficient_magnitudes: Option<Table>,
    /// Variable importances.
    #[api(output, secondary)]
    pub variable_importances: Option<Table>,
    /// Lambda best.
    #[api(default = -1.0)]
    pub lambda_best: f64,
    /// Alpha best.
    #[api(default = -1.0)]
    pub alpha_best: f64,
    /// Best submodel index.
    pub best_submodel_index: i32,
    /// Lambda 1se.
    #[api(default = -1.0)]
    pub lambda_1se: f64,
    /// Lambda min.
    #[api(default = -1.0)]
    pub lambda_min: f64,
    /// Lambda max.
    #[api(default = -1.0)]
    pub lambda_max: f64,
    /// Dispersion.
    pub dispersion: f64,
    /// Vif predictor names.
    pub vif_predictor_names: Option<Vec<String>>,
    /// Coefficient names.
    pub coefficient_names: Option<Vec<String>>,
    /// Variable inflation factors.
    pub variable_inflation_factors: Option<Vec<f64>>,
    /// Linear constraint states.
    pub linear_constraint_states: Option<Vec<String>>,
    /// Linear constraints table.
    pub linear_constraints_table: Option<Table>,
    /// Regression influence diagnostics.
    pub regression_influence_diagnostics: Option<FrameKey>,
    /// All constraints satisfied.
    pub all_constraints_satisfied: bool,
    /// Scoring history unrestricted model.
    #[api(output, secondary)]
    pub scoring_history_unrestricted_model: Option<Table>,
}
