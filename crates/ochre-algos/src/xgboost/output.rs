//! What the API shows of a trained model.

use ochre_model::wire::ModelOutput;
use ochre_schema::{Schema, Table};

/// Output of a trained model.
#[derive(Clone, Debug, Schema)]
#[api(name = "XGBoostModelOutputV3", superclass = "ModelOutputSchemaV3", iced = "XGBoostOutput")]
pub struct XgBoostOutput {
    /// What every model shows.
    #[api(flatten)]
    pub common: ModelOutput,
    /// Importances: the gains of each feature's splits, added up.
    #[api(output, secondary)]
    pub variable_importances: Option<Table>,
    /// Importances: the sums of hessians that each feature's splits saw.
    #[api(output, secondary)]
    pub variable_importances_cover: Option<Table>,
    /// Importances: how often each feature splits.
    #[api(output, secondary)]
    pub variable_importances_frequency: Option<Table>,
    /// The parameters as the xgboost package would be given them.
    #[api(output, secondary)]
    pub native_parameters: Option<Table>,
    /// Was 0 taken as missing?
    #[api(output, secondary)]
    pub sparse: bool,
}
