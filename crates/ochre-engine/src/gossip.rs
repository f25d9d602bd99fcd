//! How nodes find each other (chitchat: gossip with a phi-accrual failure detector), and why they do not.

use crate::cluster::{Cluster, Hello, Peer, cluster_port};
use chitchat::transport::UdpTransport;
use chitchat::{ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, spawn_chitchat};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Memory of two nodes may differ by this factor.
pub const MEMORY_FACTOR: f64 = 4.0;
/// Clocks of two nodes may differ by this much.
pub const CLOCK_MS_MAX: i64 = 60_000;

/// When a cluster is not whole by then, the causes are looked into.
const CLOSER: Duration = Duration::from_secs(3);

static HANDLE: OnceLock<ChitchatHandle> = OnceLock::new();

fn gossip_seed(seed: &str) -> String {
    match seed.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?))) {
        Some((host, port)) => format!("{host}:{}", cluster_port(port)),
        None => format!("{seed}:{}", cluster_port(54321)),
    }
}

/// Reasons why two nodes cannot be in one cluster, as the first one tells them.
pub fn differences(me: &Hello, other: &Hello, offset_ms: i64) -> Vec<String> {
    let mut out = vec![];
    let mut differ = |what: &str, mine: &str, theirs: &str, mend: &str| {
        if mine != theirs {
            out.push(format!("{what} differs: {theirs} there, {mine} here; {mend}"));
        }
    };
    differ("the version of ochre", &me.version, &other.version, "install the same version on both");
    if me.version == other.version {
        differ("the build", &me.build, &other.build, "use the same binary on both");
    }
    differ("the cluster's size", &me.size.to_string(), &other.size.to_string(), "give both the same --cluster-size");
    let ratio = me.memory.max(other.memory) as f64 / me.memory.min(other.memory).max(1) as f64;
    if ratio > MEMORY_FACTOR {
        out.push(format!(
            "memory differs too much: {} bytes there, {} here (at most a factor of {MEMORY_FACTOR}); give both a similar --max-mem",
            other.memory, me.memory
        ));
    }
    if offset_ms.abs() > CLOCK_MS_MAX {
        out.push(format!(
            "its clock is {:.0} seconds {} this node's (at most {} allowed); set both by NTP",
            offset_ms.abs() as f64 / 1e3,
            if offset_ms > 0 { "ahead of" } else { "behind" },
            CLOCK_MS_MAX / 1000
        ));
    }
    out
}

/// Says hello to a node; answers what it said and how far its clock is ahead.
pub async fn greet(clients: &crate::rpc::Clients, to: SocketAddr) -> Result<(Hello, i64), String> {
    let before = ochre_core::time::now_ms();
    let body = clients.call(to, "hello", bytes::Bytes::new(), Duration::from_secs(3)).await.map_err(|e| e.to_string())?;
    let after = ochre_core::time::now_ms();
    let hello: Hello = serde_json::from_slice(&body).map_err(|e| format!("{to} is not a node of ochre: {e}"))?;
    let offset = hello.now_ms - (before + after) / 2;
    Ok((hello, offset))
}

/// Looks for the other nodes until the cluster is whole; ends the process when that takes longer than the time-out.
pub async fn form(cluster: Arc<Cluster>) {
    let o = &cluster.options;
    let address = o.address();
    let listen = SocketAddr::new(if o.ip.is_loopback() { o.ip } else { [0, 0, 0, 0].into() }, address.port());
    let config = ChitchatConfig {
        chitchat_id: ChitchatId::new(address.to_string(), ochre_core::time::now_ms() as u64, address),
        cluster_id: "ochre".into(),
        gossip_interval: Duration::from_millis(200),
        listen_addr: listen,
        seed_nodes: o.seeds.iter().map(|s| gossip_seed(s)).collect(),
        failure_detector_config: FailureDetectorConfig {
            initial_interval: Duration::from_millis(500),
            max_interval: Duration::from_secs(3),
            ..FailureDetectorConfig::default()
        },
        marked_for_deletion_grace_period: Duration::from_secs(3600),
        catchup_callback: None,
        extra_liveness_predicate: None,
        protocol_version: chitchat::ProtocolVersion::V0,
    };
    let about = vec![("name".to_string(), o.name.clone()), ("rest".to_string(), SocketAddr::new(o.ip, o.rest_port).to_string())];
    let handle = match spawn_chitchat(config, about, &UdpTransport).await {
        Ok(h) => HANDLE.get_or_init(|| h),
        Err(e) => {
            tracing::error!("cannot gossip on {listen} (UDP): {e:#}; is another program using the port?");
            std::process::exit(1);
        }
    };
    let (mut told, mut last_told) = (String::new(), Instant::now());
    let mut greeted: HashMap<SocketAddr, (Instant, Result<(Hello, i64), String>)> = HashMap::new();
    let (started, mut examined) = (Instant::now(), false);
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let me = cluster.hello();
        let (mut good, mut obstacles): (BTreeMap<SocketAddr, SocketAddr>, Vec<String>) = (BTreeMap::new(), vec![]);
        good.insert(address, SocketAddr::new(o.ip, o.rest_port));
        let mut sees: HashMap<SocketAddr, String> = HashMap::new();
        let found: Vec<(SocketAddr, BTreeMap<String, String>)> = handle
            .with_chitchat(|c| {
                let live: Vec<ChitchatId> = c.live_nodes().filter(|n| n.gossip_advertise_addr != address).cloned().collect();
                live.iter()
                    .filter_map(|n| {
                        let state = c.node_state(n)?;
                        Some((n.gossip_advertise_addr, state.key_values().map(|(k, v)| (k.to_string(), v.to_string())).collect()))
                    })
                    .collect()
            })
            .await;
        for (peer, about) in &found {
            let name = about.get("name").cloned().unwrap_or_default();
            if name.is_empty() {
                continue;
            }
            if name != o.name {
                obstacles.push(format!("{peer} belongs to another cluster, named '{name}' where this node has --name '{}'", o.name));
                continue;
            }
            let fresh = greeted.get(peer).is_some_and(|(at, g)| at.elapsed() < Duration::from_secs(if g.is_ok() { 5 } else { 1 }));
            if !fresh {
                greeted.insert(*peer, (Instant::now(), greet(cluster.clients(), *peer).await));
            }
            match &greeted[peer].1 {
                Err(e) => obstacles.push(format!("{peer} gossips but cannot be reached on TCP: {e}; open port {} both ways", peer.port())),
                Ok((hello, offset)) => {
                    let reasons = differences(&me, hello, *offset);
                    if reasons.is_empty() {
                        if hello.formed && !cluster.is_whole() {
                            obstacles.push(format!(
                                "{peer} is in a cluster that formed without this node and has begun to work; it takes no more nodes. Restart its nodes to include this one"
                            ));
                        }
                        good.insert(*peer, hello.rest);
                    } else {
                        obstacles.push(format!("{} is refused: {}", hello.rest, reasons.join("; ")));
                    }
                }
            }
            if let Some(refuses) = about.get(&format!("refuses {address}")) {
                obstacles.push(format!("{peer} refuses this node: {refuses}"));
            }
            sees.insert(*peer, about.get("sees").cloned().unwrap_or_default());
        }
        // The others learn why they are refused.
        let refusals: Vec<(SocketAddr, String)> = greeted
            .iter()
            .filter_map(|(peer, (_, g))| {
                let (hello, offset) = g.as_ref().ok()?;
                let reasons = differences(&me, hello, *offset);
                (!reasons.is_empty()).then(|| (*peer, reasons.join("; ")))
            })
            .collect();
        let mine = good.keys().map(SocketAddr::to_string).collect::<Vec<_>>().join(" ");
        handle
            .with_chitchat(|c| {
                let state = c.self_node_state();
                if state.get("sees") != Some(mine.as_str()) {
                    state.set("sees", &mine);
                }
                for (peer, why) in &refusals {
                    let key = format!("refuses {peer}");
                    if state.get(&key) != Some(why.as_str()) {
                        state.set(&key, why);
                    }
                }
            })
            .await;
        if good.len() > o.size {
            obstacles.push(format!(
                "{} nodes are there where --cluster-size is {}: {mine}; stop some or raise it on all",
                good.len(),
                o.size
            ));
        } else if good.len() < o.size {
            obstacles.push(format!(
                "{} of {} nodes are there: {}",
                good.len(),
                o.size,
                good.values().map(|a| a.to_string()).collect::<Vec<_>>().join(", ")
            ));
        } else if obstacles.is_empty() && good.keys().filter(|a| **a != address).all(|a| sees.get(a) == Some(&mine)) {
            let peers: Vec<Peer> = good.iter().map(|(address, rest)| Peer { address: *address, rest: *rest }).collect();
            match cluster.formed(peers).await {
                Ok(()) => {
                    cluster.obstacles.lock().clear();
                    tracing::info!("found all {} nodes after {:.1} s", o.size, started.elapsed().as_secs_f64());
                    return;
                }
                Err(e) => {
                    tracing::error!("the cluster could not begin: {e}");
                    std::process::exit(1);
                }
            }
        }
        let text = obstacles.join("; ");
        cluster.obstacles.lock().clone_from(&obstacles);
        // After a moment, look closer: names, ports, both ways.
        let closer = started.elapsed() > CLOSER && !examined;
        examined |= closer;
        if closer || text != told && last_told.elapsed() > Duration::from_millis(500) || last_told.elapsed() > Duration::from_secs(10) {
            if started.elapsed() > CLOSER {
                for line in crate::doctor::examine(&cluster.options, cluster.clients(), true).await.iter().filter(|l| !l.good) {
                    obstacles.push(line.text());
                }
                cluster.obstacles.lock().clone_from(&obstacles);
                tracing::warn!("the cluster '{}' is not whole: {}", o.name, obstacles.join("; "));
            } else {
                tracing::info!("the cluster '{}' is not whole: {text}", o.name);
            }
            told = text;
            last_told = Instant::now();
        }
        if started.elapsed() > o.timeout {
            tracing::error!(
                "the cluster '{}' did not become whole within {} seconds: {}. This node stops; see `ochre doctor`",
                o.name,
                o.timeout.as_secs(),
                cluster.obstacles.lock().join("; ")
            );
            std::process::exit(1);
        }
    }
}

/// Slots that gossip takes for dead.
pub async fn dead(cluster: &Cluster) -> HashSet<usize> {
    let Some(handle) = HANDLE.get() else { return HashSet::new() };
    let live: HashSet<SocketAddr> = handle.with_chitchat(|c| c.live_nodes().map(|n| n.gossip_advertise_addr).collect()).await;
    cluster.peers().iter().enumerate().filter(|(_, p)| !live.contains(&p.address)).map(|(s, _)| s).collect()
}
