//! `ochre doctor`

use crate::serve::{ClusterFlags, build};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Flags {
    /// Address by which the others reach this machine.
    #[arg(long, default_value = "127.0.0.1")]
    ip: String,
    /// Port of this node's REST API.
    #[arg(long, default_value_t = 54321)]
    port: u16,
    /// Name of the cluster.
    #[arg(long, default_value = "ochre")]
    name: String,
    /// Memory that the node will be given, such as 4g.
    #[arg(long)]
    max_mem: Option<String>,
    #[arg(long)]
    ice_root: Option<PathBuf>,
    #[command(flatten)]
    cluster: ClusterFlags,
}

pub fn run(f: Flags) -> Result<(), String> {
    let memory = crate::memory::budget(f.max_mem.as_deref())?;
    let ice_root = f.ice_root.unwrap_or_else(|| std::env::temp_dir().join("ochre"));
    let options = f
        .cluster
        .options(&f.ip, f.port, &f.name, memory, 1, &ice_root)?
        .ok_or("name the other nodes with --flatfile, or with --seeds and --cluster-size")?;
    debug_assert_eq!(options.build, build());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let findings = runtime.block_on(async {
        // With no server on these ports, listen there for the length of the check, so that the way back is tested too.
        let ports = [f.port, ochre_engine::cluster_port(f.port)];
        let mut held = vec![];
        for port in ports {
            if let Ok(listener) = tokio::net::TcpListener::bind((options.ip, port)).await {
                held.push(tokio::spawn(async move { while listener.accept().await.is_ok() {} }));
            }
        }
        ochre_engine::doctor::examine(&options, &ochre_engine::Clients::default(), true).await
    });
    let mut bad = 0;
    for finding in &findings {
        println!("{} {}", if finding.good { "ok " } else { "BAD" }, finding.what);
        if !finding.good {
            bad += 1;
            println!("    {}", finding.mend);
        }
    }
    if bad > 0 { Err(format!("{bad} of {} checks failed", findings.len())) } else { Ok(()) }
}
