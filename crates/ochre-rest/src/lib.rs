//! The REST floor: routes, decoding, replies and errors, in the shapes that the official clients expect.
//!
//! A running example: `GET /3/Frames/prostate.hex?row_count=10` finds its row in [`ROUTES`], the handler in `frames.rs`
//! decodes the declared request, asks the store, and renders the declared reply; an error becomes the reference's
//! error body with its status. Handlers compute nothing; they run on blocking threads, the server itself is async.
//!
//! This crate must name no algorithm.

mod cluster;
mod design;
mod errors;
mod everywhere;
mod explain;
mod frames;
mod grids;
mod import;
mod jobs;
mod metadata;
mod models;
mod percentiles;
mod places;
mod rapids;
mod route;
mod segments;
mod serve;
mod storage;
mod tools;
mod watch;
mod welcome;
pub mod wire;

pub use errors::Failure;
pub use everywhere::join;
pub use metadata::all as schemas;
pub use route::{Ask, Reply, Route};
pub use serve::{Server, serve};

/// Does an address have the shape of a route's?
pub fn address_matches(pattern: &str, path: &str) -> bool {
    route::matches(pattern, path).is_some()
}

use ochre_core::Node;
use ochre_model::Builder;
use ochre_rapids::Sessions;
use std::path::PathBuf;
use std::sync::Arc;

/// What a server is started with.
pub struct Config {
    pub ip: String,
    pub port: u16,
    pub name: String,
    /// The version told to clients.
    pub compat_version: String,
    pub ice_root: PathBuf,
    /// The Java library for MOJOs that clients may ask for.
    pub genmodel: Option<PathBuf>,
    /// The databases that clients may ask.
    pub sql: Vec<ochre_io::sql::Connection>,
    pub log: Arc<LogBuffer>,
}

pub struct App {
    pub node: Arc<Node>,
    pub algorithms: &'static [&'static dyn Builder],
    pub expand: &'static dyn ochre_model::Expand,
    pub sessions: Sessions,
    pub objects: Arc<ochre_io::objects::Objects>,
    pub config: Config,
    pub shutdown: tokio::sync::Notify,
    pub started_ms: i64,
    /// The other nodes, when there are any.
    pub cluster: Option<Arc<ochre_engine::Cluster>>,
}

/// The last lines of the log, for `/3/Logs`.
#[derive(Default)]
pub struct LogBuffer(parking_lot::Mutex<std::collections::VecDeque<String>>);

const LOG_LINES_MAX: usize = 10_000;

impl LogBuffer {
    pub fn push(&self, line: String) {
        let mut lines = self.0.lock();
        if lines.len() >= LOG_LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line);
    }
    pub fn text(&self) -> String {
        self.0.lock().iter().flat_map(|l| [l.as_str(), "\n"]).collect()
    }
}

/// Routes beside the contract; they are looked at first.
pub const EXTRA: &[&[Route]] = &[welcome::PAGE, watch::METRICS, import::UPLOADS, import::ARROW, models::PORTABLE];

/// Every route of the contract, resource by resource.
pub const ROUTES: &[&[Route]] = &[
    cluster::ROUTES,
    watch::ROUTES,
    jobs::ROUTES,
    import::ROUTES,
    frames::ROUTES,
    rapids::ROUTES,
    models::ROUTES,
    grids::ROUTES,
    segments::ROUTES,
    design::ROUTES,
    explain::ROUTES,
    tools::ROUTES,
    storage::ROUTES,
    metadata::ROUTES,
];
