//! `ochre serve`

use crate::{logs, memory};
use ochre_core::Node;
use ochre_rest::{App, Config, LogBuffer};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(clap::Args)]
pub struct Flags {
    #[command(flatten)]
    node: NodeFlags,
    /// Threads for computation; all cores when not given.
    #[arg(long)]
    nthreads: Option<i64>,
    /// trace, debug, info, warn or error.
    #[arg(long, default_value = "info")]
    log_level: String,
    /// text, or json for one object a line.
    #[arg(long, default_value = "text", value_parser = ["text", "json"])]
    log_format: String,
    /// Version of H2O that clients are told; they check it strictly.
    #[arg(long, default_value = "3.46.0.11")]
    compat_version: String,
    /// A database that clients may read, by a name of your choice: NAME=postgresql://HOST/DATABASE or NAME=sqlite:PATH. May be
    /// given several times.
    #[arg(long, value_name = "NAME=URL")]
    sql: Vec<ochre_io::sql::Connection>,
}

/// Who a node is, what it has, and where the others are.
#[derive(clap::Args)]
pub struct NodeFlags {
    /// Address to listen on, and by which others reach this node. The default lets only programs on this machine in;
    /// 0.0.0.0 lets everybody in.
    #[arg(long, default_value = "127.0.0.1")]
    pub ip: String,
    /// Port to listen on; 0 takes a free one. Nodes of a cluster use the next one too.
    #[arg(long, default_value_t = 54321)]
    pub port: u16,
    /// Name of the cluster.
    #[arg(long, default_value = "ochre")]
    pub name: String,
    /// Memory for frames and models, such as 4g; 80 % of the machine's when not given.
    #[arg(long)]
    pub max_mem: Option<String>,
    /// Directory for uploads and for chunks that do not fit into memory.
    #[arg(long)]
    ice_root: Option<PathBuf>,
    /// h2o-genmodel.jar, to be sent to clients that ask for it along with a MOJO.
    #[arg(long, value_name = "PATH")]
    genmodel_jar: Option<PathBuf>,
    #[command(flatten)]
    cluster: ClusterFlags,
}

impl NodeFlags {
    pub fn ice_root(&self) -> PathBuf {
        self.ice_root.clone().unwrap_or_else(|| std::env::temp_dir().join("ochre"))
    }
    /// What the cluster is started with, when the flags name other nodes.
    pub fn cluster(&self, memory: u64, threads: usize) -> Result<Option<ochre_engine::Options>, String> {
        let options = self.cluster.options(&self.ip, self.port, &self.name, memory, threads, &self.ice_root())?;
        if options.is_some() && self.port == 0 {
            return Err("a node of a cluster needs a --port that the others know; 0 is none".into());
        }
        Ok(options)
    }
}

/// Where the other nodes are.
#[derive(clap::Args, Clone, Default)]
struct ClusterFlags {
    /// File with one host:port a line, by the port of each node's REST API; lines with # are remarks.
    #[arg(long)]
    flatfile: Option<PathBuf>,
    /// Other nodes, host:port,...; names are looked up again and again, so a headless service works.
    #[arg(long, value_delimiter = ',')]
    seeds: Vec<String>,
    /// Number of nodes that make the cluster whole; the lines of the flatfile when not given.
    #[arg(long)]
    cluster_size: Option<usize>,
    /// Seconds after which a node of a cluster that is not whole gives up and says why.
    #[arg(long, default_value_t = 120)]
    cluster_timeout: u64,
    /// Copies of each chunk; 2 from three nodes on, 1 otherwise, when not given.
    #[arg(long)]
    replicas: Option<usize>,
}

impl ClusterFlags {
    /// Seeds and size, when the flags name other nodes.
    fn seeds(&self) -> Result<Option<(Vec<String>, usize)>, String> {
        let mut seeds = self.seeds.clone();
        if let Some(path) = &self.flatfile {
            let text = std::fs::read_to_string(path).map_err(|e| format!("--flatfile {} cannot be read: {e}", path.display()))?;
            let lines = text.lines().map(|l| l.split('#').next().unwrap_or("").trim().trim_start_matches('/')).filter(|l| !l.is_empty());
            seeds.extend(lines.map(str::to_string));
            if seeds.is_empty() {
                return Err(format!("--flatfile {} names no node: write one host:port a line", path.display()));
            }
        }
        if let Some(bad) = seeds.iter().find(|s| s.rsplit_once(':').is_some_and(|(_, p)| p.parse::<u16>().is_err())) {
            return Err(format!("'{bad}' is not host:port"));
        }
        let size = match (self.cluster_size, &self.flatfile) {
            (Some(n), _) => n,
            (None, Some(_)) => seeds.len(),
            (None, None) if seeds.is_empty() => 1,
            (None, None) => return Err("--seeds needs --cluster-size: the number of nodes that make the cluster whole".into()),
        };
        if size == 0 {
            return Err("--cluster-size must be at least 1".into());
        }
        if size > 1 && seeds.is_empty() {
            return Err(format!("--cluster-size {size} needs --seeds or --flatfile: where the other nodes are"));
        }
        Ok((size > 1).then_some((seeds, size)))
    }

    fn options(
        &self,
        ip: &str,
        port: u16,
        name: &str,
        memory: u64,
        threads: usize,
        ice_root: &std::path::Path,
    ) -> Result<Option<ochre_engine::Options>, String> {
        let Some((seeds, size)) = self.seeds()? else { return Ok(None) };
        let ip = std::net::ToSocketAddrs::to_socket_addrs(&(ip, port))
            .ok()
            .and_then(|mut a| a.next())
            .map(|a| a.ip())
            .ok_or_else(|| format!("--ip {ip} is not an address of this machine"))?;
        if ip.is_unspecified() {
            return Err("a node of a cluster needs --ip with the address by which the others reach it; 0.0.0.0 is none".into());
        }
        let replicas = self.replicas.unwrap_or(if size >= 3 { 2 } else { 1 });
        if replicas == 0 || replicas > size {
            return Err(format!("--replicas {replicas} must be between 1 and the number of nodes, {size}"));
        }
        Ok(Some(ochre_engine::Options {
            name: name.into(),
            ip,
            rest_port: port,
            seeds,
            size,
            timeout: std::time::Duration::from_secs(self.cluster_timeout),
            replicas,
            memory,
            version: env!("CARGO_PKG_VERSION").into(),
            build: build(),
            threads,
            ice_root: ice_root.to_path_buf(),
        }))
    }
}

/// Fingerprint of this program: nodes that carry out one log have to be the same program.
fn build() -> String {
    let bytes = std::env::current_exe().and_then(std::fs::read).unwrap_or_default();
    let mut h: u64 = 0xcbf29ce484222325;
    for chunk in bytes.chunks(8) {
        let mut word = [0u8; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        h = (h ^ u64::from_le_bytes(word)).wrapping_mul(0x100000001b3).rotate_left(17);
    }
    format!("{h:016x}")
}

/// Threads for a flag: all cores for none or a number below 1, as H2O reads -1.
pub fn threads(flag: Option<i64>) -> usize {
    match flag {
        Some(n) if n >= 1 => n as usize,
        _ => std::thread::available_parallelism().map_or(1, |n| n.get()),
    }
}

pub fn run(f: Flags) -> Result<(), String> {
    let log = Arc::new(LogBuffer::default());
    logs::start(&f.log_level, f.log_format == "json", log.clone())?;
    let budget = memory::budget(f.node.max_mem.as_deref())?;
    let ice_root = f.node.ice_root();
    let threads = threads(f.nthreads);
    let cluster_options = f.node.cluster(budget, threads)?;
    let root = ice_root.clone();
    std::thread::spawn(move || match ochre_core::Scratch::sweep(&root) {
        0 => {}
        n => tracing::info!("cleared away the files of {n} servers that ended without doing so below {}", root.display()),
    });
    let node = Arc::new(Node::new(threads, budget, &ice_root).map_err(|e| e.to_string())?);
    let cluster = match cluster_options {
        Some(o) => Some(ochre_engine::Cluster::start(o, node.clone()).map_err(|e| e.to_string())?),
        None => None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(256)
        .thread_name("ochre-http")
        .enable_all()
        .build()
        .map_err(|e| format!("cannot start the server's threads: {e}"))?;
    runtime.block_on(async {
        let open_to = if f.node.ip == "127.0.0.1" || f.node.ip == "localhost" || f.node.ip == "::1" { "programs on this machine only" } else { "EVERYBODY who can reach this address: there is no login" };
        // The port is bound before anything is promised.
        let listener_config = Config { ip: f.node.ip.clone(), port: f.node.port, name: f.node.name.clone(), compat_version: f.compat_version, ice_root: ice_root.clone(), genmodel: f.node.genmodel_jar.clone(), sql: f.sql, log };
        let mut app = App {
            node,
            cluster,
            algorithms: ochre_algos::ALGORITHMS,
            expand: ochre_algos::EXPAND,
            sessions: Default::default(),
            objects: Default::default(),
            config: listener_config,
            shutdown: tokio::sync::Notify::new(),
            started_ms: ochre_core::time::now_ms(),
        };
        if app.config.port == 0 {
            app.config.port = std::net::TcpListener::bind((f.node.ip.as_str(), 0)).and_then(|l| l.local_addr()).map_err(|e| format!("cannot find a free port on {}: {e}", f.node.ip))?.port();
        }
        let server = ochre_rest::serve(Arc::new(app)).await.map_err(|e| e.to_string())?;
        let app = server.app.clone();
        ochre_rest::join(&app);
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"), compatible = app.config.compat_version, threads, memory_bytes = budget, ice_root = %ice_root.display(),
            "ochre listens on http://{}:{}, open to {open_to}", f.node.ip, server.port()
        );
        let stop = app.clone();
        tokio::spawn(async move {
            let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).expect("signals can be caught");
            tokio::select! { _ = tokio::signal::ctrl_c() => {}, _ = term.recv() => {} }
            tracing::info!("stopping");
            for job in stop.node.jobs.all() {
                job.cancel();
            }
            stop.shutdown.notify_one();
        });
        let serving = server.run();
        tokio::pin!(serving);
        let ended = app.clone();
        tokio::select! {
            r = &mut serving => r.map_err(|e| e.to_string()),
            _ = async {
                // Open connections get a moment to finish, no more.
                ended.shutdown.notified().await;
                ended.shutdown.notify_one();
                tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            } => Ok(()),
        }
    })?;
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    Ok(())
}
