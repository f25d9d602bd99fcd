//! What the nodes are doing: network, threads, processors, files, events; figures for Prometheus.

use crate::cluster::{ip_port, node_json};
use crate::route::{Ask, Body, Reply, get};
use crate::wire::{JStack, NetworkTest, Profiler, Timeline, WaterMeterCpuTicks, WaterMeterIo};
use crate::{App, Failure};
use ochre_core::{Error, time};
use ochre_schema::{Cell, Table, Value};
use serde_json::json;
use std::fmt::Write;

pub const ROUTES: &[crate::Route] = &[
    get(
        "/3/NetworkTest",
        "testNetwork",
        ("NetworkTestV3", "NetworkTestV3"),
        network_test,
        "Round trips of messages between this node and the others.",
    ),
    get("/3/Timeline", "timeline", ("TimelineV3", "TimelineV3"), timeline, "Events of the cluster: who came, who went, what began again."),
    get(
        "/3/Profiler",
        "profiler",
        ("ProfilerV3", "ProfilerV3"),
        profiler,
        "Threads of each node by the processor time that they used just now.",
    ),
    get("/3/JStack", "stacktraces", ("JStackV3", "JStackV3"), threads, "Threads of each node and what they wait for."),
    get(
        "/3/WaterMeterCpuTicks/{nodeidx}",
        "waterMeterCpuTicks",
        ("WaterMeterCpuTicksV3", "WaterMeterCpuTicksV3"),
        cpu_ticks,
        "Ticks of each processor: user, system, other, idle.",
    ),
    get(
        "/3/WaterMeterIo",
        "waterMeterIoForCluster",
        ("WaterMeterIoV3", "WaterMeterIoV3"),
        io_all,
        "Bytes read and written, all nodes together.",
    ),
    get(
        "/3/WaterMeterIo/{nodeidx}",
        "waterMeterIoForNode",
        ("WaterMeterIoV3", "WaterMeterIoV3"),
        io_node,
        "Bytes read and written by a node.",
    ),
];

/// Beside the contract: for Prometheus and for whoever starts and stops nodes.
pub const METRICS: &[crate::Route] = &[
    get("/3/Ready", "ready", ("RequestSchemaV3", "RequestSchemaV3"), ready, "Does this node take requests? 503 with the reason when not."),
    get("/metrics", "metrics", ("RequestSchemaV3", "RequestSchemaV3"), metrics, "Figures of this node for Prometheus."),
];

/// Names of all nodes by number.
fn names(app: &App) -> Vec<String> {
    match app.cluster.as_ref().filter(|c| c.is_whole()) {
        Some(c) => c.peers().iter().map(|p| p.rest.to_string()).collect(),
        None => vec![ip_port(app)],
    }
}

/// A node's number, as requests spell it; none for this node.
fn other_node(app: &App, text: &str) -> Result<Option<usize>, Failure> {
    if matches!(text, "self" | "-1") {
        return Ok(None);
    }
    let names = names(app);
    let me = app.cluster.as_ref().filter(|c| c.is_whole()).map_or(0, |c| c.me());
    // By number, or by address.
    let found = text.parse::<usize>().ok().or_else(|| names.iter().position(|n| n == text)).filter(|i| *i < names.len());
    match found {
        Some(i) if i == me => Ok(None),
        Some(i) => Ok(Some(i)),
        None => {
            Err(Error::invalid(format!("There is no node {text}: the nodes are 0 to {} ({})", names.len() - 1, names.join(", "))).into())
        }
    }
}

/// Answers a question about one node: there, when it is another.
pub fn on_node(app: &App, ask: &Ask, here: impl FnOnce() -> Result<Reply, Failure>) -> Result<Reply, Failure> {
    let wanted = other_node(app, ask.path_param("nodeidx"))?;
    let (Some(slot), Some(cluster)) = (wanted, &app.cluster) else { return here() };
    let mut asked = ask.clone();
    asked.path = asked.path.replacen(&format!("/{}", ask.path_param("nodeidx")), "/self", 1);
    asked.path_params.clear();
    let request = serde_json::to_string(&asked).map_err(|e| Error::Internal(e.to_string()))?;
    let body = cluster.ask_node(slot, &request)?;
    Ok(Reply { status: 200, content_type: "application/json", headers: vec![], body: Body::Bytes(body.into_bytes()) })
}

const SIZES: [usize; 3] = [1, 1024, 1 << 20];

fn network_test(app: &App, _: &Ask) -> Result<Reply, Failure> {
    let names = names(app);
    let (mut micros, mut widths) = (vec![], vec![]);
    for size in SIZES {
        let mut row = vec![f64::NAN; names.len()];
        match app.cluster.as_ref().filter(|c| c.is_whole()) {
            None => row[0] = 0.0,
            Some(c) => {
                row[c.me()] = 0.0;
                for (slot, outcome) in c.network_test(size) {
                    row[slot] = outcome.map_or(f64::NAN, |ms| ms * 1e3);
                }
            }
        }
        // A round trip carries the bytes twice.
        widths.push(row.iter().map(|us| if *us > 0.0 { 2.0 * size as f64 / (us / 1e6) } else { f64::NAN }).collect::<Vec<_>>());
        micros.push(row);
    }
    let table = SIZES.iter().enumerate().fold(
        Table::new("Network Test", "Round trips from this node").column(
            "Destination",
            "string",
            "%s",
            names.iter().map(|n| Cell::Text(n.clone())).collect(),
        ),
        |t, (i, size)| {
            t.column(&format!("{size} bytes, microseconds"), "double", "%f", micros[i].iter().map(|v| Cell::Double(*v)).collect())
        },
    );
    let rows =
        |m: &[Vec<f64>]| Value::Array(m.iter().map(|r| Value::Array(r.iter().map(|v| ochre_schema::number_json(*v)).collect())).collect());
    let mean = |r: &Vec<f64>| {
        let there: Vec<f64> = r.iter().copied().filter(|v| *v > 0.0).collect();
        if there.is_empty() { 0.0 } else { there.iter().sum::<f64>() / there.len() as f64 }
    };
    Reply::schema(&NetworkTest {
        microseconds_collective: Value::Array(micros.iter().map(|r| ochre_schema::number_json(mean(r))).collect()),
        bandwidths_collective: Value::Array(widths.iter().map(|r| ochre_schema::number_json(mean(r))).collect()),
        microseconds: rows(&micros),
        bandwidths: rows(&widths),
        nodes: Some(names.iter().map(|n| format!("/{n}")).collect()),
        table: Some(table),
    })
}

fn timeline(app: &App, _: &Ask) -> Result<Reply, Failure> {
    let events = app.cluster.as_ref().map_or(vec![], |c| c.events.lock().clone());
    let me = ip_port(app);
    let events = events
        .into_iter()
        .map(|(at_ms, text)| {
            json!({
                "__meta": {"schema_version": -1, "schema_name": "IOEvent", "schema_type": "Iced"},
                "date": time::stamp(at_ms).split(' ').nth(1).unwrap_or(""), "nanos": at_ms * 1_000_000, "type": "io",
                "io_flavor": "cluster", "node": me, "data": text,
            })
        })
        .collect();
    Reply::schema(&Timeline { now: time::now_ms(), this_node: Some(ip_port(app)), events: Value::Array(events) })
}

/// Name, state and ticks of each thread of this process.
fn own_threads() -> Vec<(String, String, u64)> {
    let Ok(dir) = std::fs::read_dir("/proc/self/task") else { return vec![] };
    dir.flatten()
        .filter_map(|t| {
            let stat = std::fs::read_to_string(t.path().join("stat")).ok()?;
            let (name, rest) = (stat.split_once('(')?.1.rsplit_once(')')?.0.to_string(), stat.rsplit_once(')')?.1);
            let words: Vec<&str> = rest.split_whitespace().collect();
            let ticks = words.get(11)?.parse::<u64>().ok()? + words.get(12)?.parse::<u64>().ok()?;
            let waits = std::fs::read_to_string(t.path().join("wchan")).unwrap_or_default();
            let state = match *words.first()? {
                "R" => "running".to_string(),
                "D" => "waiting for a disk".to_string(),
                _ if waits.is_empty() || waits == "0" => "waiting".to_string(),
                _ => format!("waiting in {waits}"),
            };
            Some((name, state, ticks))
        })
        .collect()
}

fn profiler(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let depth: i32 = ask.parsed("depth")?;
    if ask.param("depth").is_some() && depth < 1 {
        return Err(Error::invalid(format!("depth must be at least 1, but is {depth}")).into());
    }
    let depth = if depth > 0 { depth } else { 10 };
    let before = own_threads();
    std::thread::sleep(std::time::Duration::from_millis(100));
    let mut entries: Vec<(String, u64)> = vec![];
    for (i, (name, state, ticks)) in own_threads().into_iter().enumerate() {
        let used = ticks - before.get(i).filter(|b| b.0 == name).map_or(ticks, |b| b.2);
        let lines = [name, state].into_iter().take(depth as usize).map(|l| l + "\n").collect();
        entries.push((lines, used));
    }
    entries.sort_by(|a, b| b.1.cmp(&a.1));
    let entries: Vec<Value> = entries
        .into_iter()
        .map(|(t, n)| json!({"__meta": {"schema_version": 3, "schema_name": "ProfilerNodeEntryV3", "schema_type": "Iced"}, "stacktrace": t, "count": n}))
        .collect();
    let node = json!({
        "__meta": {"schema_version": 3, "schema_name": "ProfilerNodeV3", "schema_type": "Iced"},
        "node_name": ip_port(app), "timestamp": time::now_ms(), "entries": entries,
    });
    Reply::schema(&Profiler { depth, nodes: Value::Array(vec![node]) })
}

fn threads(app: &App, _: &Ask) -> Result<Reply, Failure> {
    let traces: Vec<String> =
        own_threads().into_iter().map(|(name, state, ticks)| format!("\"{name}\" {state}, {ticks} ticks of processor time")).collect();
    let node = json!({
        "__meta": {"schema_version": 3, "schema_name": "DStackTraceV3", "schema_type": "DStackTrace"},
        "node": ip_port(app), "time": time::now_ms(), "thread_traces": traces,
    });
    Reply::schema(&JStack { traces: Value::Array(vec![node]) })
}

fn cpu_ticks(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    on_node(app, ask, || {
        let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let ticks = text
            .lines()
            .filter(|l| l.starts_with("cpu") && !l.starts_with("cpu "))
            .map(|l| {
                let n: Vec<i64> = l.split_whitespace().skip(1).filter_map(|w| w.parse().ok()).collect();
                let at = |i: usize| n.get(i).copied().unwrap_or(0);
                json!([at(0) + at(1), at(2), at(4) + at(5) + at(6) + at(7), at(3)])
            })
            .collect();
        let nodeidx = app.cluster.as_ref().map_or(0, |c| c.me() as i32);
        Reply::schema(&WaterMeterCpuTicks { nodeidx, cpu_ticks: Value::Array(ticks) })
    })
}

/// Calls and bytes of reading and writing by this process.
fn own_io() -> [i64; 4] {
    let text = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let of = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0);
    [of("syscw:"), of("wchar:"), of("syscr:"), of("rchar:")]
}

fn io_reply(nodeidx: i32, io: [i64; 4]) -> Result<Reply, Failure> {
    let entry = json!({
        "__meta": {"schema_version": -1, "schema_name": "IoStatsEntry", "schema_type": "Iced"},
        "backend": "local", "store_count": io[0], "store_bytes": io[1], "delete_count": 0, "load_count": io[2], "load_bytes": io[3],
    });
    Reply::schema(&WaterMeterIo { nodeidx, persist_stats: Value::Array(vec![entry]) })
}

fn io_node(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    on_node(app, ask, || io_reply(app.cluster.as_ref().map_or(0, |c| c.me() as i32), own_io()))
}

fn io_all(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let mut sum = own_io();
    if let Some(cluster) = app.cluster.as_ref().filter(|c| c.is_whole()) {
        for slot in cluster.alive().into_iter().filter(|s| *s != cluster.me()) {
            let asked = Ask { method: "GET".into(), path: "/3/WaterMeterIo/self".into(), ..ask.clone() };
            let request = serde_json::to_string(&asked).map_err(|e| Error::Internal(e.to_string()))?;
            let reply: Value = serde_json::from_str(&cluster.ask_node(slot, &request)?).unwrap_or_default();
            for (s, name) in sum.iter_mut().zip(["store_count", "store_bytes", "load_count", "load_bytes"]) {
                *s += reply["persist_stats"][0][name].as_i64().unwrap_or(0);
            }
        }
    }
    io_reply(0, sum)
}

fn ready(app: &App, _: &Ask) -> Result<Reply, Failure> {
    match app.cluster.as_ref().and_then(|c| c.why_not()) {
        Some(why) => Err(Error::Unavailable(why).into()),
        None => Reply::json(&json!({"ready": true})),
    }
}

fn metrics(app: &App, _: &Ask) -> Result<Reply, Failure> {
    let (ledger, node) = (&app.node.ledger, node_json(app));
    let mut out = String::new();
    let mut gauge = |name: &str, help: &str, value: f64| {
        let _ = write!(out, "# HELP ochre_{name} {help}\n# TYPE ochre_{name} gauge\nochre_{name} {value}\n");
    };
    gauge("memory_budget_bytes", "Memory that frames and models may use.", ledger.budget() as f64);
    gauge("memory_used_bytes", "Memory that is reserved now.", ledger.used() as f64);
    gauge("memory_peak_bytes", "Most memory that was ever reserved.", ledger.peak() as f64);
    gauge("memory_spilled_bytes", "Chunks that lie on disk now.", ledger.spilled() as f64);
    gauge("keys", "Keys in the store.", app.node.store.len() as f64);
    gauge("jobs_running", "Jobs that run now.", app.node.jobs.running() as f64);
    gauge("load", "Load average of the machine over one minute.", node["sys_load"].as_f64().unwrap_or(0.0));
    gauge("open_files", "Open files of the process.", node["open_fds"].as_f64().unwrap_or(0.0));
    gauge("uptime_seconds", "Seconds since the process started.", app.node.started.elapsed().as_secs_f64());
    let cluster = app.cluster.as_ref();
    gauge("cluster_nodes", "Nodes that belong to the cluster now.", cluster.map_or(1, |c| c.alive().len()) as f64);
    gauge("cluster_size", "Nodes that make the cluster whole.", cluster.map_or(1, |c| c.options.size) as f64);
    gauge("cluster_epoch", "Number of the cluster's composition; 0 before it is whole.", cluster.map_or(1, |c| c.epoch()) as f64);
    gauge("cluster_ready", "1 when this node takes requests.", f64::from(cluster.is_none_or(|c| c.why_not().is_none())));
    gauge("cluster_leads", "1 on the node that orders the cluster's log.", f64::from(cluster.is_none_or(|c| c.leader() == Some(c.me()))));
    Ok(Reply { status: 200, content_type: "text/plain; version=0.0.4", headers: vec![], body: Body::Bytes(out.into_bytes()) })
}
