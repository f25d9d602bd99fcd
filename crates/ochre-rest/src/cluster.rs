//! The cluster as clients see it: who is there, sessions, logs, shutdown.

use crate::route::{Ask, Body, Reply, delete, get, post};
use crate::wire::*;
use crate::{App, Failure};
use ochre_core::{Error, time};
use ochre_schema::{Cell, Table, Value, Wire};

pub const ROUTES: &[crate::Route] = &[
    get("/3/Cloud", "cloud", ("CloudV3", "CloudV3"), cloud, "State of the cluster and its nodes."),
    crate::Route {
        method: "HEAD",
        url: "/3/Cloud",
        api_name: "cloud_head",
        input: "CloudV3",
        output: "CloudV3",
        handler: cloud,
        summary: "Is the cluster there?",
    },
    get("/3/Ping", "ping", ("PingV3", "PingV3"), ping, "Is the cluster there?"),
    get("/3/About", "about", ("AboutV3", "AboutV3"), about, "Versions."),
    get("/3/Capabilities", "list_all_capabilities", ("CapabilitiesV3", "CapabilitiesV3"), capabilities, "Extensions that are present."),
    get(
        "/3/Capabilities/API",
        "list_rest_capabilities",
        ("CapabilitiesV3", "CapabilitiesV3"),
        capabilities,
        "REST extensions that are present.",
    ),
    get(
        "/3/Capabilities/Core",
        "list_core_capabilities",
        ("CapabilitiesV3", "CapabilitiesV3"),
        capabilities,
        "Core extensions that are present.",
    ),
    get("/3/InitID", "newSession", ("InitIDV3", "InitIDV3"), new_session, "Opens a session."),
    delete("/3/InitID", "endSession3", ("InitIDV3", "InitIDV3"), end_session, "Ends a session."),
    post("/4/sessions", "newSession4", ("InitIDV3", "SessionIdV4"), new_session4, "Opens a session."),
    delete("/4/sessions/{session_key}", "endSession", ("InitIDV3", "InitIDV3"), end_session, "Ends a session and removes its temporaries."),
    get(
        "/3/SessionProperties",
        "getSessionProperty",
        ("SessionPropertyV3", "SessionPropertyV3"),
        get_property,
        "Reads a property of a session.",
    ),
    post(
        "/3/SessionProperties",
        "setSessionProperty",
        ("SessionPropertyV3", "SessionPropertyV3"),
        set_property,
        "Sets a property of a session.",
    ),
    post("/3/LogAndEcho", "logAndEcho", ("LogAndEchoV3", "LogAndEchoV3"), log_and_echo, "Writes a line to the log and answers it."),
    get("/3/Logs/nodes/{nodeidx}/files/{name}", "logs", ("LogsV3", "LogsV3"), logs, "The log of a node."),
    get("/3/Logs/download", "downloadLogs", ("LogsV3", "LogsV3"), download_logs, "The log as a text file in an archive."),
    get(
        "/3/Logs/download/{container}",
        "downloadLogs",
        ("LogsV3", "LogsV3"),
        download_logs,
        "The log in an archive (ZIP) or as it is (LOG).",
    ),
    post("/3/Shutdown", "shutdown", ("ShutdownV3", "ShutdownV3"), shutdown, "Stops the server."),
    post(
        "/3/GarbageCollect",
        "garbageCollect",
        ("GarbageCollectV3", "GarbageCollectV3"),
        garbage_collect,
        "Nothing to collect: memory is freed when it is no longer used.",
    ),
];

fn uptime(app: &App) -> i64 {
    app.node.started.elapsed().as_millis() as i64
}

pub(crate) fn ip_port(app: &App) -> String {
    format!("{}:{}", app.config.ip, app.config.port)
}

/// Bytes free and total of the file system that holds a directory, from `df`-like counters; zeros when unknown.
fn disk(path: &std::path::Path) -> (i64, i64) {
    // `statvfs` has no safe wrapper in the standard library; the figures are informational.
    let out = std::process::Command::new("df").arg("-Pk").arg(path).output();
    let text = out.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    let mut words = text.lines().nth(1).unwrap_or("").split_whitespace().skip(1);
    let mut kib = || words.next().and_then(|w| w.parse::<i64>().ok()).unwrap_or(0) * 1024;
    let total = kib();
    let _used = kib();
    (kib(), total)
}

fn load() -> f32 {
    std::fs::read_to_string("/proc/loadavg").ok().and_then(|t| t.split(' ').next()?.parse().ok()).unwrap_or(0.0)
}

/// This node, as `/3/Cloud` lists it.
pub(crate) fn node_json(app: &App) -> Value {
    let ledger = &app.node.ledger;
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get() as i32);
    // The disk is asked once: `df` takes longer than all the rest of this reply.
    static DISK: std::sync::OnceLock<(i64, i64)> = std::sync::OnceLock::new();
    let (free_disk, max_disk) = *DISK.get_or_init(|| disk(&app.config.ice_root));
    let open_fds = std::fs::read_dir("/proc/self/fd").map_or(0, |d| d.count() as i32);
    let node = Node {
        h2o: Some(format!("/{}", ip_port(app))),
        ip_port: Some(ip_port(app)),
        healthy: true,
        last_ping: time::now_ms(),
        pid: std::process::id() as i32,
        num_cpus: cpus,
        cpus_allowed: cpus,
        nthreads: app.node.runner.threads() as i32,
        sys_load: load(),
        my_cpu_pct: -1,
        sys_cpu_pct: -1,
        mem_value_size: ledger.used() as i64,
        free_mem: ledger.free() as i64,
        max_mem: ledger.budget() as i64,
        swap_mem: ledger.spilled() as i64,
        num_keys: app.node.store.len() as i32,
        free_disk,
        max_disk,
        open_fds,
        fjthrds: Value::Array(vec![]),
        fjqueue: Value::Array(vec![]),
        ..Node::default()
    };
    node.to_json()
}

/// All nodes: this one, and what the others say of themselves; those that are gone are listed as not healthy.
fn nodes(app: &App) -> Vec<Value> {
    let Some(cluster) = app.cluster.as_ref().filter(|c| c.is_whole()) else { return vec![node_json(app)] };
    let peers = cluster.peers();
    let stats = cluster.all_stats();
    peers
        .iter()
        .zip(stats)
        .enumerate()
        .map(|(slot, (peer, stats))| match stats {
            _ if slot == cluster.me() => node_json(app),
            Some(v) if !v.is_null() => v,
            _ => Node {
                h2o: Some(format!("/{}", peer.rest)),
                ip_port: Some(peer.rest.to_string()),
                healthy: false,
                fjthrds: Value::Array(vec![]),
                fjqueue: Value::Array(vec![]),
                ..Node::default()
            }
            .to_json(),
        })
        .collect()
}

/// This node and its cluster as models remember them. What only a JVM has is told as absent.
pub(crate) fn birthplace(app: &App) -> Value {
    let node = node_json(app);
    let text = |name: &str, value: String| (name.to_string(), "string", "%s", Cell::Text(value));
    let whole = |name: &str| (name.to_string(), "long", "%d", Cell::Long(node[name].as_i64().unwrap_or(0)));
    let small = |name: &str, value: i64| (name.to_string(), "int", "%d", Cell::Long(value));
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory.split_whitespace().nth(1).and_then(|n| n.parse::<i64>().ok()).unwrap_or(0);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let locale = ["LC_ALL", "LANG"].iter().find_map(|n| std::env::var(n).ok()).unwrap_or_else(|| "C".into());
    let me = app.cluster.as_ref().map_or(0, |c| c.me());
    let leads = app.cluster.as_ref().is_none_or(|c| c.leader() == Some(me));
    let of_node = vec![
        small("node", me as i64),
        text("h2o", ip_port(app)),
        text("healthy", "true".into()),
        text("last_ping", node["last_ping"].to_string()),
        small("num_cpus", node["num_cpus"].as_i64().unwrap_or(0)),
        ("sys_load".into(), "double", "%.5f", Cell::Double(f64::from(load()))),
        whole("mem_value_size"),
        whole("free_mem"),
        whole("pojo_mem"),
        whole("swap_mem"),
        ("free_disc".into(), "long", "%d", Cell::Long(node["free_disk"].as_i64().unwrap_or(0))),
        ("max_disc".into(), "long", "%d", Cell::Long(node["max_disk"].as_i64().unwrap_or(0))),
        small("pid", i64::from(std::process::id())),
        small("num_keys", app.node.store.len() as i64),
        text("tcps_active", String::new()),
        small("open_fds", node["open_fds"].as_i64().unwrap_or(0)),
        text("rpcs_active", String::new()),
        small("nthreads", app.node.runner.threads() as i64),
        text("is_leader", leads.to_string()),
        ("total_mem".into(), "long", "%d", Cell::Long(app.node.ledger.budget() as i64)),
        whole("max_mem"),
        text("java_version", format!("none: ochre {}", env!("CARGO_PKG_VERSION"))),
        text("jvm_launch_parameters", "[]".into()),
        text("os_version", format!("{} {} ({})", std::env::consts::OS, kernel.trim(), std::env::consts::ARCH)),
        ("machine_physical_mem".into(), "long", "%d", Cell::Long(kib * 1024)),
        text("machine_locale", locale),
    ];
    let nodes = app.cluster.as_ref().map_or(1, |c| c.peers().len() as i64);
    let cores = nodes * node["num_cpus"].as_i64().unwrap_or(0);
    let healthy = app.cluster.as_ref().is_none_or(|c| c.why_not().is_none());
    let extensions = app.algorithms.iter().map(|a| a.info().name).collect::<Vec<_>>().join(", ");
    let of_cluster = vec![
        ("H2O_cluster_uptime".to_string(), "long", "%d", Cell::Long(uptime(app))),
        text("H2O_cluster_timezone", "UTC".into()),
        text("H2O_data_parsing_timezone", "UTC".into()),
        text("H2O_cluster_version", app.config.compat_version.clone()),
        text("H2O_cluster_version_age", "0 days".into()),
        text("H2O_cluster_name", app.config.name.clone()),
        small("H2O_cluster_total_nodes", nodes),
        ("H2O_cluster_free_memory".into(), "long", "%d", Cell::Long(app.node.ledger.free() as i64)),
        small("H2O_cluster_total_cores", cores),
        small("H2O_cluster_allowed_cores", cores),
        text("H2O_cluster_status", if healthy { "locked, healthy" } else { "locked, unhealthy" }.into()),
        text("H2O_internal_security", "false".into()),
        text("H2O_API_Extensions", extensions),
    ];
    let table = |title: &str, columns: Vec<(String, &'static str, &str, Cell)>| {
        let begun = Table::new(title, "").row_labels(vec![Cell::Text(String::new())]);
        let add = |t: Table, (name, kind, format, cell): (String, &'static str, &str, Cell)| {
            t.named(&name.to_lowercase(), &name.replace('_', " "), kind, format, vec![cell])
        };
        columns.into_iter().fold(begun, add).to_json()
    };
    Value::Array(vec![table("Node Information", of_node), table("Cluster Configuration", of_cluster)])
}

fn cloud(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let version = &app.config.compat_version;
    let nodes = nodes(app);
    let bad = nodes.iter().filter(|n| n["healthy"] != true).count() as i32;
    let whole = app.cluster.as_ref().is_none_or(|c| c.is_whole());
    let why_not = app.cluster.as_ref().and_then(|c| c.why_not());
    let reply = Cloud {
        version: Some(version.clone()),
        branch_name: Some(format!("ochre-{}", env!("CARGO_PKG_VERSION"))),
        describe: Some(format!("ochre {} (compatible with H2O {version})", env!("CARGO_PKG_VERSION"))),
        compiled_by: Some("ochre".into()),
        build_number: version.rsplit('.').next().map(str::to_string),
        build_age: Some("0 days".into()),
        cloud_name: Some(app.config.name.clone()),
        cloud_size: nodes.len() as i32,
        bad_nodes: bad,
        cloud_uptime_millis: uptime(app),
        cloud_internal_timezone: Some("UTC".into()),
        datafile_parser_timezone: Some("UTC".into()),
        cloud_healthy: why_not.is_none() && bad == 0,
        consensus: whole,
        locked: whole,
        is_client: false,
        nodes: Value::Array(nodes),
        skip_ticks: ask.parsed("skip_ticks")?,
        ..Cloud::default()
    };
    let mut json = ochre_schema::object(&reply);
    if let Some(cluster) = &app.cluster {
        json["node_idx"] = serde_json::json!(cluster.me());
        // Beside what the reference answers: the composition's number, who leads, and why nothing can be done yet.
        json["epoch"] = serde_json::json!(cluster.epoch());
        json["leader_idx"] = serde_json::json!(cluster.leader());
        json["why_not_whole"] = serde_json::json!(why_not);
    }
    Reply::json(&json)
}

fn ping(app: &App, _: &Ask) -> Result<Reply, Failure> {
    let node = NodeMemoryInfo { ip_port: Some(ip_port(app)), free_mem: app.node.ledger.free() as i64 };
    Reply::schema(&Ping { cloud_uptime_millis: uptime(app), cloud_healthy: true, nodes: Value::Array(vec![node.to_json()]) })
}

fn about(app: &App, _: &Ask) -> Result<Reply, Failure> {
    let entry = |name: &str, value: String| AboutEntry { name: Some(name.into()), value: Some(value) }.to_json();
    let entries = vec![
        entry("Build project version", app.config.compat_version.clone()),
        entry("ochre version", env!("CARGO_PKG_VERSION").into()),
        entry("Process", std::process::id().to_string()),
        entry("Threads", app.node.runner.threads().to_string()),
        entry("Memory budget in bytes", app.node.ledger.budget().to_string()),
    ];
    Reply::schema(&About { entries: Value::Array(entries) })
}

fn capabilities(app: &App, _: &Ask) -> Result<Reply, Failure> {
    // Clients look for this one before they train a model of the kind.
    let boosted = app.algorithms.iter().find(|a| a.info().name == "xgboost");
    let named = boosted.map(|_| CapabilityEntry { name: Some("XGBoost".into()) }.to_json());
    let served = app.algorithms.iter().map(|a| CapabilityEntry { name: Some(format!("Algos: {}", a.info().name)) }.to_json());
    let entries = named.into_iter().chain(served).collect();
    Reply::schema(&Capabilities { capabilities: Value::Array(entries) })
}

fn new_session(app: &App, _: &Ask) -> Result<Reply, Failure> {
    Reply::schema(&InitID { session_key: Some(app.sessions.open().key.clone()), session_properties_allowed: true })
}

fn new_session4(app: &App, _: &Ask) -> Result<Reply, Failure> {
    Reply::json(&serde_json::json!({"__schema": "/4/schemas/SessionIdV4", "session_key": app.sessions.open().key}))
}

fn end_session(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let key = match ask.path_param("session_key") {
        "" => ask.param("session_key").unwrap_or("").to_string(),
        k => k.to_string(),
    };
    app.sessions.close(&app.node, &key);
    Reply::schema(&InitID { session_key: Some(key), session_properties_allowed: true })
}

fn get_property(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let p: SessionProperty = ask.decode()?;
    let session = app.sessions.get(p.session_key.as_deref().unwrap_or(""));
    let value = session.properties.lock().get(p.key.as_deref().unwrap_or("")).cloned();
    Reply::schema(&SessionProperty { value, ..p })
}

fn set_property(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let p: SessionProperty = ask.decode()?;
    let Some(key) = p.key.clone() else { return Err(Error::invalid("a session property needs a key").into()) };
    let session = app.sessions.get(p.session_key.as_deref().unwrap_or(""));
    match &p.value {
        Some(v) => session.properties.lock().insert(key, v.clone()),
        None => session.properties.lock().remove(&key),
    };
    Reply::schema(&p)
}

fn log_and_echo(_: &App, ask: &Ask) -> Result<Reply, Failure> {
    let m: LogAndEcho = ask.decode()?;
    tracing::info!("{}", m.message.as_deref().unwrap_or(""));
    Reply::schema(&m)
}

fn logs(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let node = ask.path_param("nodeidx");
    crate::watch::on_node(app, ask, || own_log(app, ask, node))
}

/// Names of logs that clients ask for; there is one log, and each is that.
const LOGS: [&str; 11] = ["default", "trace", "debug", "info", "warn", "error", "fatal", "httpd", "stdout", "stderr", ""];

fn own_log(app: &App, ask: &Ask, node: &str) -> Result<Reply, Failure> {
    let name = ask.path_param("name");
    if !LOGS.contains(&name) {
        let known = LOGS[..LOGS.len() - 1].join(", ");
        return Err(Error::invalid(format!("there is no log '{name}'; the names are {known}")).into());
    }
    Reply::schema(&Logs { nodeidx: Some(node.into()), name: Some(ask.path_param("name").into()), log: Some(app.config.log.text()) })
}

fn download_logs(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let (name, text) = (format!("ochre_{}.log", app.config.port), app.config.log.text().into_bytes());
    let (content_type, file, bytes) = match ask.path_param("container") {
        "LOG" => ("text/plain", name, text),
        "" | "ZIP" => {
            let failed = |e: &dyn std::fmt::Display| Error::Internal(format!("the log cannot be put into an archive: {e}"));
            let mut zip = zip::ZipWriter::new(std::io::Cursor::new(vec![]));
            zip.start_file(name.as_str(), zip::write::SimpleFileOptions::default()).map_err(|e| failed(&e))?;
            std::io::Write::write_all(&mut zip, &text).map_err(|e| failed(&e))?;
            ("application/zip", format!("{name}.zip"), zip.finish().map_err(|e| failed(&e))?.into_inner())
        }
        other => return Err(Error::invalid(format!("a log comes as ZIP or LOG, but '{other}' was asked for")).into()),
    };
    let headers = vec![("Content-Disposition", format!("attachment; filename={file}"))];
    Ok(Reply { status: 200, content_type, headers, body: Body::Bytes(bytes) })
}

fn shutdown(app: &App, _: &Ask) -> Result<Reply, Failure> {
    tracing::info!("shutting down at a client's request");
    for job in app.node.jobs.all() {
        job.cancel();
    }
    app.shutdown.notify_one();
    Reply::schema(&Shutdown::default())
}

fn garbage_collect(_: &App, _: &Ask) -> Result<Reply, Failure> {
    Reply::json(&serde_json::json!({"__meta": {"schema_version": 3, "schema_name": "GarbageCollectV3", "schema_type": "Iced"}}))
}
