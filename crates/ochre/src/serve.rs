//! `ochre serve`

use crate::{logs, memory};
use ochre_core::Node;
use ochre_rest::{App, Config, LogBuffer};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(clap::Args)]
pub struct Flags {
    /// Address to listen on. The default lets only programs on this machine in; 0.0.0.0 lets everybody in.
    #[arg(long, default_value = "127.0.0.1")]
    ip: String,
    /// Port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 54321)]
    port: u16,
    /// Name of the cluster.
    #[arg(long, default_value = "ochre")]
    name: String,
    /// Threads for computation; all cores when not given.
    #[arg(long)]
    nthreads: Option<i64>,
    /// Memory for frames and models, such as 4g; 80 % of the machine's when not given.
    #[arg(long)]
    max_mem: Option<String>,
    /// Directory for uploads and for chunks that do not fit into memory.
    #[arg(long)]
    ice_root: Option<PathBuf>,
    /// trace, debug, info, warn or error.
    #[arg(long, default_value = "info")]
    log_level: String,
    /// text, or json for one object a line.
    #[arg(long, default_value = "text", value_parser = ["text", "json"])]
    log_format: String,
    /// Version of H2O that clients are told; they check it strictly.
    #[arg(long, default_value = "3.46.0.11")]
    compat_version: String,
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
    let budget = memory::budget(f.max_mem.as_deref())?;
    let ice_root = f.ice_root.unwrap_or_else(|| std::env::temp_dir().join("ochre"));
    let threads = threads(f.nthreads);
    let node = Node::new(threads, budget, &ice_root).map_err(|e| e.to_string())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(256)
        .thread_name("ochre-http")
        .enable_all()
        .build()
        .map_err(|e| format!("cannot start the server's threads: {e}"))?;
    runtime.block_on(async {
        let open_to = if f.ip == "127.0.0.1" || f.ip == "localhost" || f.ip == "::1" { "programs on this machine only" } else { "EVERYBODY who can reach this address: there is no login" };
        // The port is bound before anything is promised.
        let listener_config = Config { ip: f.ip.clone(), port: f.port, name: f.name.clone(), compat_version: f.compat_version, ice_root: ice_root.clone(), log };
        let mut app = App {
            node: Arc::new(node),
            algorithms: ochre_algos::ALGORITHMS,
            sessions: Default::default(),
            config: listener_config,
            shutdown: tokio::sync::Notify::new(),
            started_ms: ochre_core::time::now_ms(),
        };
        if app.config.port == 0 {
            app.config.port = std::net::TcpListener::bind((f.ip.as_str(), 0)).and_then(|l| l.local_addr()).map_err(|e| format!("cannot find a free port on {}: {e}", f.ip))?.port();
        }
        let server = ochre_rest::serve(Arc::new(app)).await.map_err(|e| e.to_string())?;
        let app = server.app.clone();
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"), compatible = app.config.compat_version, threads, memory_bytes = budget, ice_root = %ice_root.display(),
            "ochre listens on http://{}:{}, open to {open_to}", f.ip, server.port()
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
