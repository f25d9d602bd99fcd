//! What the API shows of a trained model.

use ochre_model::wire::ModelOutput;
use ochre_schema::{Schema, Table};

/// Output of a trained model.
#[derive(Clone, Debug, Schema)]
#[api(name = "IsolationForestModelOutputV3", superclass = "SharedTreeModelOutputV3", iced = "IsolationForestOutput")]
pub struct IsolationForestOutput {
    /// What every model shows.
    #[api(flatten)]
    pub common: ModelOutput,
    /// How often and how evenly each column splits.
    #[api(output, secondary)]
    pub variable_splits: Option<Table>,
    /// Variable importances.
    #[api(output, secondary, inherits = "SharedTreeModelOutputV3")]
    pub variable_importances: Option<Table>,
    /// Init f.
    #[api(output, inherits = "SharedTreeModelOutputV3")]
    pub init_f: f64,
}
