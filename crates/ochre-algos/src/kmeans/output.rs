//! What the API shows of a trained model.

use ochre_model::wire::ModelOutput;
use ochre_schema::{Schema, Table};

/// Output of a trained model.
#[derive(Clone, Debug, Schema)]
#[api(name = "KMeansModelOutputV3", superclass = "ModelOutputSchemaV3", iced = "KMeansOutput")]
pub struct KMeansOutput {
    /// What every model shows.
    #[api(flatten)]
    pub common: ModelOutput,
    /// Centers.
    pub centers: Option<Table>,
    /// Centers std.
    pub centers_std: Option<Table>,
}
