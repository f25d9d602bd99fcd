//! K-means (Lloyd 1982) with k-means|| seeding (Bahmani et al. 2012, "Scalable k-means++").
//!
//! Numbers are standardized, categories count 0 or 1, missing values are filled with the mean or mode. Each iteration is
//! one pass (`AssignPass`). Departure from the reference: its seeding draws depend on how rows lie in chunks; ochre
//! draws by row number, so seeded centres do not depend on the layout. From user points the two agree. Bounds on the
//! clusters' sizes (`sizes`) are met at the least cost, where the reference's heuristic also moves rows that need not.

mod fit;
mod output;
mod params;
pub mod passes;
mod sizes;

use ochre_core::{Node, Result};
use ochre_model::params::CommonParams;
use ochre_model::wire::ModelOutput;
use ochre_model::{Algorithm, AlgorithmInfo, Category, Fitted, Run, Shape};
use ochre_schema::Notes;
pub use output::KMeansOutput;
use params::Init;
pub use params::KMeansParams;

pub struct KMeans;

impl Algorithm for KMeans {
    const INFO: AlgorithmInfo = AlgorithmInfo {
        name: "kmeans",
        full_name: "K-means",
        stem: "KMeans",
        categories: &[Category::Clustering],
        supervised: false,
        builder_schema: "KMeansV3",
        builder_superclass: "ClusteringModelBuilderSchema",
        parameters_type: "KMeansParameters",
        model_schema: "KMeansModelV3",
        model_superclass: "ModelSchemaV3",
        model_type: "KMeansModel",
        output_type: "KMeansOutput",
    };
    type Params = KMeansParams;
    type Output = KMeansOutput;

    fn common(params: &KMeansParams) -> &CommonParams {
        &params.common
    }
    fn common_mut(params: &mut KMeansParams) -> &mut CommonParams {
        &mut params.common
    }
    fn seed_mut(params: &mut KMeansParams) -> Option<&mut i64> {
        Some(&mut params.seed)
    }
    fn output_common(output: &mut KMeansOutput) -> &mut ModelOutput {
        &mut output.common
    }

    fn check_frames(params: &KMeansParams, node: &Node, shape: &Shape<'_>, notes: &mut Notes) {
        let key = params.user_points.as_ref().filter(|k| !k.0.is_empty());
        if let Some(Err(e)) = key.map(|k| fit::user_points(node, &k.0, params.k as usize, shape.predictors)) {
            notes.error("_user_y", e.to_string());
        }
    }

    fn check(params: &KMeansParams, shape: &Shape<'_>, notes: &mut Notes) {
        if params.max_iterations < 1 || params.max_iterations > 1_000_000 {
            notes.error("_max_iterations", format!("max_iterations must be between 1 and 1e6, but is {}", params.max_iterations));
        }
        if params.k as usize > shape.rows && params.user_points.is_none() {
            notes.error("_k", format!("k = {} is larger than the number of rows, {}", params.k, shape.rows));
        }
        if params.user_points.is_some() && params.init != Init::User && params.init != Init::Furthest {
            notes.warn("_init", "user_points are given, so init is taken as User");
        }
        if params.init == Init::User && params.user_points.is_none() {
            notes.error("_user_y", "Must specify user_points when init is User");
        }
        if params.estimate_k && params.user_points.is_some() {
            notes.error("_estimate_k", "Cannot estimate k if user_points are provided.");
        }
        if let Some(fewest) = &params.cluster_size_constraints {
            let field = "_cluster_size_constraints";
            if params.estimate_k {
                notes.error("_estimate_k", "Cannot estimate k if cluster_size_constraints are provided.");
            }
            if fewest.len() != params.k as usize {
                let n = fewest.len();
                notes.error(
                    field,
                    format!("cluster_size_constraints must have one number for each of the k = {} clusters, but has {n}", params.k),
                );
            }
            if let Some(n) = fewest.iter().find(|n| **n < 0) {
                notes.error(field, format!("cluster_size_constraints must not be negative, but one is {n}"));
            }
            let wanted: i64 = fewest.iter().map(|n| i64::from(*n)).sum();
            if wanted > shape.rows as i64 {
                notes.error(field, format!("cluster_size_constraints ask for {wanted} rows in all, but there are {}", shape.rows));
            }
        }
        params.common.check_encoding(&["AUTO", "Enum"], notes);
    }

    fn fit(run: &mut Run<'_, KMeansParams>) -> Result<Fitted<KMeansOutput>> {
        fit::fit(run)
    }
}
