//! `ochre doctor`

use crate::serve::NodeFlags;

#[derive(clap::Args)]
pub struct Flags {
    #[command(flatten)]
    node: NodeFlags,
}

pub fn run(Flags { node: f }: Flags) -> Result<(), String> {
    let memory = crate::memory::budget(f.max_mem.as_deref())?;
    let options = f.cluster(memory, 1)?.ok_or("name the other nodes with --flatfile, or with --seeds and --cluster-size")?;
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
