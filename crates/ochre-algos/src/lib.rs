//! The learning algorithms, one room each, and the workshops they share.
//!
//! [`ALGORITHMS`] is the product: read it top to bottom. This crate must not know REST, files or the network, and the
//! rooms do not import each other; what two of them share is a workshop (`tree`, `linalg`, `calibration`). One
//! exception: rooms that make models of models stand on those: `selection`, `anova` and `gam` on `glm`, `adaboost` on `drf`,
//! `gbm` and `glm`, `dt` on `drf`, `rulefit` on `drf`, `gbm` and `glm`.

pub mod adaboost;
pub mod anova;
pub mod bayes;
mod calibration;
pub mod coxph;
pub mod drf;
pub mod dt;
pub mod extended;
pub mod gam;
pub mod gbm;
pub mod generic;
pub mod glm;
pub mod hglm;
pub mod isolation;
pub mod isotonic;
pub mod kmeans;
mod linalg;
pub mod psvm;
pub mod rulefit;
pub mod selection;
mod tree;
pub mod uplift;
pub mod xgboost;

use ochre_model::{Builder, Row};

/// Every algorithm, in the order the API lists them.
pub const ALGORITHMS: &[&dyn Builder] = &[
    &Row::<glm::Glm>::new(),
    &Row::<gam::Gam>::new(),
    &Row::<hglm::Hglm>::new(),
    &Row::<kmeans::KMeans>::new(),
    &Row::<drf::Drf>::new(),
    &Row::<gbm::Gbm>::new(),
    &Row::<xgboost::XgBoost>::new(),
    &Row::<uplift::UpliftDrf>::new(),
    &Row::<isolation::IsolationForest>::new(),
    &Row::<extended::ExtendedIsolationForest>::new(),
    &Row::<dt::Dt>::new(),
    &Row::<adaboost::AdaBoost>::new(),
    &Row::<rulefit::RuleFit>::new(),
    &Row::<bayes::NaiveBayes>::new(),
    &Row::<isotonic::IsotonicRegression>::new(),
    &Row::<coxph::CoxPh>::new(),
    &Row::<psvm::Psvm>::new(),
    &Row::<selection::ModelSelection>::new(),
    &Row::<anova::AnovaGlm>::new(),
    &generic::Import::new(),
];

/// How predictors are expanded, for the server's endpoints.
pub const EXPAND: &dyn ochre_model::Expand = &glm::table::Tables;

/// Every pass that can be sent to a node, by name.
pub const TASKS: &[&str] = &[
    <glm::passes::GramPass as ochre_core::MapReduce>::NAME,
    <glm::ordinal::OrdinalPass as ochre_core::MapReduce>::NAME,
    <kmeans::passes::AssignPass as ochre_core::MapReduce>::NAME,
];
