//! `ochre doctor`: checks what a cluster needs, from where it stands, and says for each failed check why and what to do.

use crate::cluster::{Hello, Options, cluster_port};
use crate::gossip::{differences, greet};
use crate::rpc::Clients;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

/// One finding.
pub struct Finding {
    pub good: bool,
    pub what: String,
    /// What to do when it is not good.
    pub mend: String,
}

impl Finding {
    fn good(what: impl Into<String>) -> Finding {
        Finding { good: true, what: what.into(), mend: String::new() }
    }
    fn bad(what: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { good: false, what: what.into(), mend: mend.into() }
    }
    pub fn text(&self) -> String {
        if self.good { self.what.clone() } else { format!("{}; {}", self.what, self.mend) }
    }
}

const OPEN_FILES_MIN: u64 = 4096;
const WAIT: Duration = Duration::from_secs(2);

async fn connects(to: SocketAddr) -> Result<(), String> {
    match tokio::time::timeout(WAIT, tokio::net::TcpStream::connect(to)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(e)) => Err(e.to_string()),
        Err(_) => Err("no answer within 2 seconds".into()),
    }
}

fn why_closed(error: &str) -> &'static str {
    if error.contains("refused") {
        "nothing listens there: start ochre on it, or correct the address"
    } else {
        "packets do not arrive: look for a firewall or network policy between the nodes"
    }
}

/// Examines this machine and each seed. `serving`: a server runs here, so that others can be asked to connect back.
pub async fn examine(o: &Options, clients: &Clients, serving: bool) -> Vec<Finding> {
    let mut out = vec![];
    let me = Hello {
        name: o.name.clone(),
        version: o.version.clone(),
        build: o.build.clone(),
        memory: o.memory,
        now_ms: ochre_core::time::now_ms(),
        rest: SocketAddr::new(o.ip, o.rest_port),
        size: o.size,
        formed: false,
    };
    for seed in &o.seeds {
        let with_port =
            if seed.rsplit_once(':').is_some_and(|(_, p)| p.parse::<u16>().is_ok()) { seed.clone() } else { format!("{seed}:54321") };
        let lookup = with_port.clone();
        let found = tokio::task::spawn_blocking(move || lookup.to_socket_addrs().map(|a| a.collect::<Vec<_>>())).await;
        let addresses = match found {
            Ok(Ok(a)) if !a.is_empty() => a,
            Ok(Err(e)) => {
                out.push(Finding::bad(
                    format!("the name in '{seed}' cannot be resolved: {e}"),
                    "correct it in --seeds or --flatfile, or add it to DNS (on Kubernetes: a headless service with publishNotReadyAddresses)",
                ));
                continue;
            }
            _ => {
                out.push(Finding::bad(
                    format!("the name in '{seed}' has no address"),
                    "no pod or host stands behind it yet: start the nodes",
                ));
                continue;
            }
        };
        out.push(Finding::good(format!("{seed} is {}", addresses.iter().map(|a| a.ip().to_string()).collect::<Vec<_>>().join(", "))));
        for rest in addresses {
            let peer = SocketAddr::new(rest.ip(), cluster_port(rest.port()));
            if peer == o.address() {
                continue;
            }
            for (port, what) in [(rest, "REST API"), (peer, "cluster")] {
                match connects(port).await {
                    Ok(()) => out.push(Finding::good(format!("{port} ({what}) can be reached"))),
                    Err(e) => out.push(Finding::bad(format!("{port} ({what}) cannot be reached: {e}"), why_closed(&e))),
                }
            }
            match greet(clients, peer).await {
                Err(e) => out.push(Finding::bad(
                    format!("{peer} does not answer as a node of ochre: {e}"),
                    "is the port right? It is the one after --port",
                )),
                Ok((hello, offset)) => {
                    if hello.name != o.name {
                        out.push(Finding::bad(
                            format!("{} belongs to the cluster '{}', this node to '{}'", hello.rest, hello.name, o.name),
                            "give both the same --name",
                        ));
                    }
                    let mut own = me.clone();
                    if o.size == 0 {
                        own.size = hello.size;
                    }
                    for reason in differences(&own, &hello, offset) {
                        out.push(Finding::bad(
                            format!("{}: {}", hello.rest, reason.split("; ").next().unwrap_or_default()),
                            reason.split("; ").nth(1).unwrap_or_default(),
                        ));
                    }
                    out.push(Finding::good(format!("{} runs ochre {}; its clock is {offset} ms ahead", hello.rest, hello.version)));
                    if serving {
                        for port in [o.rest_port, cluster_port(o.rest_port)] {
                            let back = SocketAddr::new(o.ip, port);
                            let body = serde_json::to_vec(&back).unwrap_or_default();
                            match clients.call(peer, "reach", body, Duration::from_secs(4)).await {
                                Ok(_) => out.push(Finding::good(format!("{} reaches this node at {back}", hello.rest))),
                                Err(e) => out.push(Finding::bad(
                                    format!("{} cannot reach this node at {back}: {e}", hello.rest),
                                    "set --ip to an address that the others can reach, and open both ports",
                                )),
                            }
                        }
                    }
                }
            }
        }
    }
    out.extend(machine(o));
    out
}

/// What the machine itself has to offer.
fn machine(o: &Options) -> Vec<Finding> {
    let mut out = vec![];
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = limits
        .lines()
        .find(|l| l.starts_with("Max open files"))
        .and_then(|l| l.split_whitespace().nth(3))
        .and_then(|n| n.parse::<u64>().ok());
    match files {
        Some(n) if n < OPEN_FILES_MIN => out.push(Finding::bad(
            format!("only {n} files may be open at once"),
            format!("raise the limit to {OPEN_FILES_MIN} (ulimit -n, or LimitNOFILE= in systemd)"),
        )),
        Some(n) => out.push(Finding::good(format!("{n} files may be open at once"))),
        None => {}
    }
    match std::fs::create_dir_all(&o.ice_root).and_then(|()| {
        let probe = o.ice_root.join(format!("probe-{}", std::process::id()));
        std::fs::write(&probe, vec![0u8; 1 << 20]).and_then(|()| std::fs::remove_file(&probe))
    }) {
        Ok(()) => out.push(Finding::good(format!("{} can be written", o.ice_root.display()))),
        Err(e) => out.push(Finding::bad(
            format!("--ice-root {} cannot be written: {e}", o.ice_root.display()),
            "free space on the disk, correct its rights, or choose another directory",
        )),
    }
    out.push(Finding::good(format!("{} bytes of memory for frames and models", o.memory)));
    out
}
