//! What the API shows of a trained model.

use ochre_model::wire::ModelOutput;
use ochre_schema::{Schema, Table};

/// Output of a trained model.
#[derive(Clone, Debug, Schema)]
#[api(name = "DRFModelOutputV3", superclass = "SharedTreeModelOutputV3", iced = "DRFOutput")]
pub struct DrfOutput {
    /// What every model shows.
    #[api(flatten)]
    pub common: ModelOutput,
    /// Variable importances.
    #[api(output, secondary, inherits = "SharedTreeModelOutputV3")]
    pub variable_importances: Option<Table>,
    /// Init f.
    #[api(output, inherits = "SharedTreeModelOutputV3")]
    pub init_f: f64,
}
