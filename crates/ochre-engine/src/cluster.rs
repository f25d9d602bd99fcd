//! A cluster: nodes that find each other, agree on one log of commands, and carry each command out together.
//!
//! A running example: a client sends `POST /99/Rapids` to node 2. The node offers it to the log; when a majority has
//! taken it, every node runs the same handler in a [`Task`], each on its own rows, meeting at the steps where partial
//! results are gathered. At the end all vote; only when every node has finished do the results become visible
//! everywhere, and node 2 answers. When a node is lost, an entry of the log names who is left (a new epoch), whatever was
//! running begins again without it, and nothing half done was ever seen.

use crate::log::{self, Item, Machine, Memory, Network, Raft};
use crate::rpc::{self, CallError, Clients};
use bytes::Bytes;
use ochre_core::{Carrier, Error, Frame, Job, Layout, Node, Result, Task, Work};
use openraft::BasicNode;
use parking_lot::{Condvar, Mutex, RwLock};
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// What a cluster is started with.
#[derive(Clone, Debug)]
pub struct Options {
    pub name: String,
    /// Address under which the others reach this node.
    pub ip: std::net::IpAddr,
    pub rest_port: u16,
    /// `host:port` of other nodes, by the port of their REST API.
    pub seeds: Vec<String>,
    /// Nodes that make the cluster whole.
    pub size: usize,
    pub timeout: Duration,
    pub replicas: usize,
    pub memory: u64,
    pub version: String,
    /// Fingerprint of what this build can do; nodes of one cluster have the same.
    pub build: String,
    pub threads: usize,
    pub ice_root: std::path::PathBuf,
}

/// Nodes speak to each other on the port after the one of the REST API.
pub fn cluster_port(rest_port: u16) -> u16 {
    rest_port.wrapping_add(1)
}

impl Options {
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, cluster_port(self.rest_port))
    }
}

/// What carrying out a request brought.
pub struct Answer {
    /// The request's failure, in a form that another node can pass on.
    pub failed: Option<String>,
    pub reply: Box<dyn Any + Send>,
}

/// Carries out a request on this node.
pub type Handler = Box<dyn Fn(&str) -> Answer + Send + Sync>;

/// How a request ended.
pub enum Outcome {
    Done(Box<dyn Any + Send>),
    /// It failed on a node: that node's failure.
    Failed(String),
}

/// Who belongs to the cluster now.
#[derive(Clone, Debug, Default)]
struct View {
    epoch: u64,
    alive: Vec<usize>,
    /// Set when this node was left out.
    left_out: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Peer {
    pub address: SocketAddr,
    pub rest: SocketAddr,
}

/// Task, epoch, step.
type Meeting = (u64, u64, u64);

#[derive(Default)]
struct Mail {
    pieces: HashMap<Meeting, BTreeMap<usize, Arc<Vec<u8>>>>,
    /// Tasks that a node gave up, and why.
    aborted: HashMap<(u64, u64), Error>,
    /// Jobs whose end is in the log.
    finished: HashSet<u64>,
}

/// The vote at the end of a task, and the meeting at the beginning of an epoch.
const VOTE: u64 = u64::MAX;
const HANDSHAKE: u64 = u64::MAX - 1;
/// The task of the executor itself.
const EXECUTOR: u64 = u64::MAX;
/// Numbers of jobs have this bit, places in the log do not.
const JOB: u64 = 1 << 62;

/// How long a request waits for a majority to take it.
const COMMIT: Duration = Duration::from_secs(15);
/// How long a broken connection may last before the cluster has to have changed because of it.
const PATIENCE: Duration = Duration::from_secs(40);
/// A node that cannot reach another for so long says so to the leader, who ends it.
const CUT_LINK: Duration = Duration::from_secs(6);
const PIECE: Duration = Duration::from_secs(120);

struct JobSlot {
    job: Arc<Job>,
    work: Work,
    /// Finished by this node and not yet visible.
    staged: Mutex<Option<Arc<Task>>>,
    done: AtomicBool,
}

pub struct Cluster {
    pub options: Options,
    node: Arc<Node>,
    clients: Clients,
    runtime: tokio::runtime::Runtime,
    me: AtomicU64,
    peers: RwLock<Vec<Peer>>,
    raft: OnceLock<Raft>,
    view: RwLock<View>,
    epoch: AtomicU64,
    mail: Mutex<Mail>,
    arrived: Condvar,
    tickets: Mutex<HashMap<u64, Sender<Outcome>>>,
    next_ticket: AtomicU64,
    handler: OnceLock<Handler>,
    local: OnceLock<Box<dyn Fn(&str) -> String + Send + Sync>>,
    starting: Mutex<Vec<(Arc<Job>, u64, Work)>>,
    jobs: Mutex<HashMap<u64, Arc<JobSlot>>>,
    items: Mutex<Option<Sender<(u64, Item)>>>,
    /// What stands between this node and a whole cluster, in words.
    pub(crate) obstacles: Mutex<Vec<String>>,
    /// Failed calls to other nodes: since when, and when last.
    suspects: Mutex<HashMap<usize, (Instant, Instant)>>,
    /// What nodes told about others that they cannot reach.
    reports: Mutex<HashMap<(usize, usize), (Instant, Instant)>>,
    pub(crate) stats: Mutex<Option<Box<dyn Fn() -> serde_json::Value + Send + Sync>>>,
    pub events: Mutex<Vec<(i64, String)>>,
    formed: OnceLock<i64>,
}

/// What a node says of itself to another that asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    pub name: String,
    pub version: String,
    pub build: String,
    pub memory: u64,
    pub now_ms: i64,
    pub rest: SocketAddr,
    pub size: usize,
    pub formed: bool,
}

impl Cluster {
    /// Takes the cluster's port and begins to look for the other nodes.
    pub fn start(options: Options, node: Arc<Node>) -> Result<Arc<Cluster>> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(64)
            .thread_name("ochre-cluster")
            .enable_all()
            .build()
            .map_err(|e| Error::Internal(format!("cannot start the cluster's threads: {e}")))?;
        let listen = SocketAddr::new(if options.ip.is_loopback() { options.ip } else { [0, 0, 0, 0].into() }, options.address().port());
        let listener = runtime.block_on(tokio::net::TcpListener::bind(listen)).map_err(|e| {
            Error::invalid(format!(
                "Cannot listen on {listen}, the port after --port, on which nodes speak to each other: {e}; stop the program that uses it or choose another --port"
            ))
        })?;
        let cluster = Arc::new(Cluster {
            options,
            node: node.clone(),
            clients: Clients::default(),
            runtime,
            me: AtomicU64::new(0),
            peers: RwLock::default(),
            raft: OnceLock::new(),
            view: RwLock::default(),
            epoch: AtomicU64::new(0),
            mail: Mutex::default(),
            arrived: Condvar::new(),
            tickets: Mutex::default(),
            next_ticket: AtomicU64::new(1),
            handler: OnceLock::new(),
            local: OnceLock::new(),
            starting: Mutex::default(),
            jobs: Mutex::default(),
            items: Mutex::default(),
            obstacles: Mutex::new(vec!["looking for the other nodes".into()]),
            suspects: Mutex::default(),
            reports: Mutex::default(),
            stats: Mutex::default(),
            events: Mutex::default(),
            formed: OnceLock::new(),
        });
        let (tx, rx) = channel();
        *cluster.items.lock() = Some(tx);
        let me = cluster.clone();
        let handler: rpc::Handler = Arc::new(move |action, body| {
            let me = me.clone();
            Box::pin(async move { me.act(&action, body).await })
        });
        cluster.runtime.spawn(async move {
            if let Err(e) = rpc::serve(listener, handler).await {
                tracing::error!("the cluster's server stopped: {e}");
            }
        });
        node.ledger.set_carrier(cluster.clone());
        let me = cluster.clone();
        node.jobs.set_starter(Box::new(move |job, n, work| me.starting.lock().push((job, n, work))));
        let me = cluster.clone();
        std::thread::Builder::new()
            .name("ochre-log".into())
            .spawn(move || Executor { cluster: me, epoch: 0, done: 0, furthest: 0, tickets: VecDeque::new() }.run(rx))
            .map_err(|e| Error::Internal(format!("cannot start the cluster's thread: {e}")))?;
        let me = cluster.clone();
        cluster.runtime.spawn(async move { crate::gossip::form(me).await });
        Ok(cluster)
    }

    /// How a question about this node alone is answered.
    pub fn set_local(&self, local: Box<dyn Fn(&str) -> String + Send + Sync>) {
        let _ = self.local.set(local);
    }

    /// Has one other node answer a request by itself.
    pub fn ask_node(&self, slot: usize, request: &str) -> Result<String> {
        let peer = self.peer(slot)?;
        let call = self.clients.call(peer.address, "local", request.to_string(), Duration::from_secs(20));
        let body =
            self.runtime.handle().block_on(call).map_err(|e| Error::Unavailable(format!("node {} does not answer: {e}", peer.rest)))?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// From now on requests can be carried out.
    pub fn set_handler(&self, handler: Handler) {
        let _ = self.handler.set(handler);
    }
    pub fn set_stats(&self, stats: Box<dyn Fn() -> serde_json::Value + Send + Sync>) {
        *self.stats.lock() = Some(stats);
    }

    pub(crate) fn clients(&self) -> &Clients {
        &self.clients
    }
    pub fn me(&self) -> usize {
        self.me.load(SeqCst) as usize
    }
    pub fn peers(&self) -> Vec<Peer> {
        self.peers.read().clone()
    }
    pub fn is_whole(&self) -> bool {
        self.epoch.load(SeqCst) > 0
    }
    pub fn alive(&self) -> Vec<usize> {
        self.view.read().alive.clone()
    }
    pub fn epoch(&self) -> u64 {
        self.epoch.load(SeqCst)
    }
    pub fn leader(&self) -> Option<usize> {
        self.raft.get().and_then(|r| r.metrics().borrow().current_leader).map(|l| l as usize)
    }
    pub(crate) fn event(&self, text: String) {
        let mut events = self.events.lock();
        if events.len() >= 1000 {
            events.remove(0);
        }
        events.push((ochre_core::time::now_ms(), text));
    }

    /// Why this node can take no request now; nothing when it can.
    pub fn why_not(&self) -> Option<String> {
        if let Some(why) = &self.view.read().left_out {
            return Some(why.clone());
        }
        if !self.is_whole() {
            let obstacles = self.obstacles.lock().join("; ");
            return Some(format!(
                "The cluster '{}' is not whole yet: {obstacles}. It takes its first request when all {} nodes are there",
                self.options.name, self.options.size
            ));
        }
        None
    }

    pub fn hello(&self) -> Hello {
        Hello {
            name: self.options.name.clone(),
            version: self.options.version.clone(),
            build: self.options.build.clone(),
            memory: self.options.memory,
            now_ms: ochre_core::time::now_ms() + clock_offset_ms(),
            rest: SocketAddr::new(self.options.ip, self.options.rest_port),
            size: self.options.size,
            formed: self.formed.get().is_some(),
        }
    }

    /// The nodes agreed on who they are: slots are places in the sorted list of addresses.
    pub(crate) async fn formed(self: &Arc<Self>, peers: Vec<Peer>) -> std::result::Result<(), String> {
        let me = peers.iter().position(|p| p.address == self.options.address()).ok_or("this node is not in its own list")?;
        self.me.store(me as u64, SeqCst);
        *self.peers.write() = peers.clone();
        let cluster = self.clone();
        let items = self.items.lock().clone().ok_or("the cluster is closing")?;
        let machine = Machine::new(Box::new(move |place, item| {
            cluster.peek(&item);
            let _ = items.send((place, item));
        }));
        let config = Arc::new(log::config(&self.options.name).validate().map_err(|e| e.to_string())?);
        let raft = Raft::new(me as u64, config, Network { clients: self.clients.clone() }, Memory::default(), machine)
            .await
            .map_err(|e| e.to_string())?;
        let _ = self.raft.set(raft.clone());
        let _ = self.formed.set(ochre_core::time::now_ms());
        if me == 0 {
            let members: BTreeMap<u64, BasicNode> =
                peers.iter().enumerate().map(|(i, p)| (i as u64, BasicNode { addr: p.address.to_string() })).collect();
            raft.initialize(members).await.map_err(|e| e.to_string())?;
            let _ = raft.trigger().elect().await;
            let alive = (0..peers.len()).collect();
            self.write(Item::Members { epoch: 1, alive, why: "the cluster is whole".into() }, Duration::from_secs(30)).await?;
        }
        let watch = self.clone();
        self.runtime.spawn(async move { watch.watch().await });
        Ok(())
    }

    /// Learns of a change of members as soon as it is in the log, so that nobody waits for a lost node.
    fn peek(&self, item: &Item) {
        let Item::Members { epoch, alive, why } = item else { return };
        if *epoch <= self.epoch() {
            return;
        }
        {
            let mut view = self.view.write();
            view.epoch = *epoch;
            view.alive = alive.clone();
            if !alive.contains(&self.me()) {
                view.left_out = Some(format!(
                    "This node was left out of the cluster '{}' because {why}; the others went on without it. Restart it to use it again",
                    self.options.name
                ));
            }
        }
        self.epoch.store(*epoch, SeqCst);
        let names: Vec<String> = alive.iter().filter_map(|s| self.peers.read().get(*s).map(|p| p.rest.to_string())).collect();
        tracing::info!(epoch, "the cluster '{}' is now {} ({why})", self.options.name, names.join(", "));
        self.event(format!("epoch {epoch}: {} ({why})", names.join(", ")));
        let mut mail = self.mail.lock();
        mail.pieces.retain(|m, _| m.1 >= *epoch);
        mail.aborted.retain(|m, _| m.1 >= *epoch);
        self.arrived.notify_all();
    }

    fn peer(&self, slot: usize) -> Result<Peer> {
        self.peers.read().get(slot).cloned().ok_or_else(|| Error::Internal(format!("there is no node {slot}")))
    }

    /// Answers an action of another node.
    async fn act(self: Arc<Self>, action: &str, body: Bytes) -> std::result::Result<Vec<u8>, String> {
        match action {
            "hello" => serde_json::to_vec(&self.hello()).map_err(|e| e.to_string()),
            "reach" => {
                // Can this node reach the one that asks?
                let to: SocketAddr = serde_json::from_slice(&body).map_err(|e| e.to_string())?;
                let tried = tokio::time::timeout(Duration::from_secs(2), tokio::net::TcpStream::connect(to)).await;
                match tried {
                    Ok(Ok(_)) => Ok(vec![]),
                    Ok(Err(e)) => Err(format!("{e}")),
                    Err(_) => Err("no answer within 2 seconds".into()),
                }
            }
            "piece" => self.take_piece(&body).map(|()| vec![]),
            "abort" => {
                let (id, epoch, text): (u64, u64, String) = postcard::from_bytes(&body).map_err(|e| e.to_string())?;
                self.mail.lock().aborted.insert((id, epoch), if text == CANCELLED { Error::Cancelled } else { Error::Unavailable(text) });
                self.arrived.notify_all();
                Ok(vec![])
            }
            "ask" => {
                let node = self.node.clone();
                tokio::task::spawn_blocking(move || ochre_core::answer(&node.ledger, &body))
                    .await
                    .map_err(|e| e.to_string())?
                    .map_err(|e| e.to_string())
            }
            "submit" => {
                let item: Item = serde_json::from_slice(&body).map_err(|e| e.to_string())?;
                let raft = self.raft.get().ok_or("not formed")?;
                let place = raft.client_write(item).await.map_err(|e| e.to_string())?;
                Ok(place.data.to_le_bytes().to_vec())
            }
            "file" => {
                let (name, offset, bytes): (String, u64, Vec<u8>) = postcard::from_bytes(&body).map_err(|e| e.to_string())?;
                self.take_file(&name, offset, &bytes).map_err(|e| e.to_string())?;
                Ok(vec![])
            }
            "suspect" => {
                let (from, about): (usize, usize) = postcard::from_bytes(&body).map_err(|e| e.to_string())?;
                let now = Instant::now();
                self.reports.lock().entry((from, about)).and_modify(|r| r.1 = now).or_insert((now, now));
                Ok(vec![])
            }
            "stats" => {
                let stats = self.stats.lock();
                let v = stats.as_ref().map_or(serde_json::Value::Null, |s| s());
                serde_json::to_vec(&v).map_err(|e| e.to_string())
            }
            "local" => {
                let me = self.clone();
                tokio::task::spawn_blocking(move || {
                    let local = me.local.get().ok_or("not ready")?;
                    Ok(local(&String::from_utf8_lossy(&body)).into_bytes())
                })
                .await
                .map_err(|e| e.to_string())?
            }
            "echo" => Ok(body.to_vec()),
            _ if action.starts_with("raft/") => {
                let raft = self.raft.get().ok_or("not formed")?;
                log::answer(raft, action, &body).await
            }
            other => Err(format!("unknown action {other}")),
        }
    }

    /// Offers an item to the log, through whoever leads; answers its place.
    async fn write(&self, item: Item, limit: Duration) -> std::result::Result<u64, String> {
        let until = Instant::now() + limit;
        let body = serde_json::to_vec(&item).map_err(|e| e.to_string())?;
        let mut last = String::from("no leader was chosen");
        while Instant::now() < until {
            let Some(raft) = self.raft.get() else { return Err("the cluster has not formed".into()) };
            match self.leader() {
                Some(l) if l == self.me() => match tokio::time::timeout(Duration::from_secs(5), raft.client_write(item.clone())).await {
                    Ok(Ok(place)) => return Ok(place.data),
                    Ok(Err(e)) => last = e.to_string(),
                    Err(_) => last = "no majority answered".into(),
                },
                Some(l) => {
                    let to = self.peer(l).map_err(|e| e.to_string())?.address;
                    match self.clients.call(to, "submit", body.clone(), Duration::from_secs(6)).await {
                        Ok(place) => return Ok(u64::from_le_bytes(place.try_into().unwrap_or_default())),
                        Err(e) => last = e.to_string(),
                    }
                }
                None => {}
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(last)
    }

    /// Has every node carry out a request, and answers what it brought here.
    pub fn submit(&self, request: String) -> Result<Outcome> {
        if let Some(why) = self.why_not() {
            return Err(Error::Unavailable(why));
        }
        let ticket = self.next_ticket.fetch_add(1, SeqCst);
        let (tx, rx) = channel();
        self.tickets.lock().insert(ticket, tx);
        let item = Item::Command { origin: self.me(), ticket, now_ms: ochre_core::time::now_ms(), request };
        if let Err(cause) = self.runtime.handle().block_on(self.write(item, COMMIT)) {
            self.tickets.lock().remove(&ticket);
            let founding = self.options.size;
            let away: Vec<String> =
                self.suspects.lock().keys().filter_map(|s| self.peers.read().get(*s).map(|p| p.rest.to_string())).collect();
            return Err(Error::Unavailable(format!(
                "The request was not taken by a majority of the {founding} nodes within {} seconds, so none carries it out (not reached: {}; {cause}). Bring nodes back or restart the cluster",
                COMMIT.as_secs(),
                if away.is_empty() { "unknown".into() } else { away.join(", ") }
            )));
        }
        loop {
            match rx.recv_timeout(Duration::from_millis(500)) {
                Ok(outcome) => return Ok(outcome),
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                    if let Some(why) = self.view.read().left_out.clone() {
                        return Err(Error::Unavailable(why));
                    }
                }
                Err(_) => return Err(Error::Internal("the cluster is closing".into())),
            }
        }
    }

    /// Brings an uploaded file to every other node, under a name in the ice root; answers the path here.
    pub fn spread_file(&self, path: &std::path::Path, name: &str) -> Result<std::path::PathBuf> {
        use std::io::Read;
        const PART: usize = 8 << 20;
        let target = self.file_path(name)?;
        std::fs::rename(path, &target).map_err(|e| Error::io(target.display(), e))?;
        let fail = |e: &dyn std::fmt::Display| Error::io(target.display(), e);
        let mut file = std::fs::File::open(&target).map_err(|e| fail(&e))?;
        let others: Vec<SocketAddr> =
            self.alive().into_iter().filter(|s| *s != self.me()).filter_map(|s| self.peers.read().get(s).map(|p| p.address)).collect();
        let mut offset = 0u64;
        let mut buffer = vec![0u8; PART];
        loop {
            let mut n = 0;
            while n < PART {
                match file.read(&mut buffer[n..]).map_err(|e| fail(&e))? {
                    0 => break,
                    k => n += k,
                }
            }
            let body = postcard::to_allocvec(&(name, offset, &buffer[..n])).map_err(|e| Error::Internal(e.to_string()))?;
            let calls = others.iter().map(|to| self.clients.call(*to, "file", body.clone(), PIECE));
            for (to, outcome) in others.iter().zip(self.runtime.handle().block_on(futures::future::join_all(calls))) {
                // A node that is lost meanwhile needs no copy; one that is full does.
                if let Err(CallError::Told(e)) = outcome {
                    return Err(Error::Unavailable(format!("node {to} could not take a copy of the upload: {e}")));
                }
            }
            offset += n as u64;
            if n < PART {
                return Ok(target);
            }
        }
    }

    pub fn file_path(&self, name: &str) -> Result<std::path::PathBuf> {
        let dir = self.options.ice_root.join(format!("cluster-{}", self.options.rest_port));
        std::fs::create_dir_all(&dir).map_err(|e| Error::io(dir.display(), e))?;
        let plain: String = name.chars().map(|c| if c.is_alphanumeric() || c == '-' || c == '_' { c } else { '_' }).collect();
        Ok(dir.join(plain))
    }

    fn take_file(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<()> {
        use std::io::{Seek, Write};
        let path = self.file_path(name)?;
        let fail = |e: std::io::Error| Error::io(path.display(), e);
        let mut file = std::fs::OpenOptions::new().create(true).write(true).truncate(offset == 0).open(&path).map_err(fail)?;
        file.seek(std::io::SeekFrom::Start(offset)).map_err(fail)?;
        file.write_all(bytes).map_err(fail)
    }

    fn take_piece(&self, body: &[u8]) -> std::result::Result<(), String> {
        let number =
            |i: usize| body.get(i * 8..i * 8 + 8).map(|b| u64::from_le_bytes(b.try_into().expect("eight bytes"))).ok_or("too short");
        let (meeting, slot) = ((number(0)?, number(1)?, number(2)?), number(3)? as usize);
        if meeting.1 < self.epoch() {
            return Err(format!("late: this is epoch {}, the message is from epoch {}", self.epoch(), meeting.1));
        }
        self.mail.lock().pieces.entry(meeting).or_default().insert(slot, Arc::new(body[32..].to_vec()));
        self.arrived.notify_all();
        Ok(())
    }

    /// Meets the other members at a step: everybody's bytes, in rank order.
    fn meet(&self, meeting: Meeting, members: &[usize], mine: Vec<u8>) -> Result<Vec<Arc<Vec<u8>>>> {
        let body = letter(meeting, self.me(), &mine);
        self.meet_with(meeting, members, |_| body.clone(), mine)
    }

    /// The same, with something else for each member.
    fn meet_with(&self, meeting: Meeting, members: &[usize], body: impl Fn(usize) -> Bytes, mine: Vec<u8>) -> Result<Vec<Arc<Vec<u8>>>> {
        let me = self.me();
        for (rank, &slot) in members.iter().enumerate().filter(|(_, s)| **s != me) {
            let Ok(peer) = self.peer(slot) else { continue };
            self.runtime.spawn(send_piece(self.clients.clone(), peer.address, body(rank)));
        }
        let mine = Arc::new(mine);
        let mut mail = self.mail.lock();
        mail.pieces.entry(meeting).or_default().insert(me, mine);
        loop {
            let pieces = mail.pieces.entry(meeting).or_default();
            if members.iter().all(|s| pieces.contains_key(s)) {
                let mut pieces = mail.pieces.remove(&meeting).unwrap_or_default();
                return Ok(members.iter().filter_map(|s| pieces.remove(s)).collect());
            }
            if self.epoch() != meeting.1 || mail.finished.contains(&meeting.0) {
                return Err(Error::ClusterChanged);
            }
            if meeting.2 < HANDSHAKE
                && let Some(e) = mail.aborted.get(&(meeting.0, meeting.1))
            {
                return Err(e.clone());
            }
            self.arrived.wait_for(&mut mail, Duration::from_millis(100));
        }
    }

    /// Tells the other members that this node gives a task up.
    fn abort(&self, task: &Task, why: &str) {
        let Ok(body) = postcard::to_allocvec(&(task.id, task.epoch, why)) else { return };
        for &slot in task.members().iter().filter(|s| **s != self.me()) {
            let Ok(peer) = self.peer(slot) else { continue };
            let (clients, body) = (self.clients.clone(), body.clone());
            self.runtime.spawn(async move { clients.call(peer.address, "abort", body, Duration::from_secs(5)).await });
        }
    }

    fn task(self: &Arc<Self>, id: u64, epoch: u64, now_ms: i64) -> Arc<Task> {
        let layout = Layout { alive: self.view.read().alive.clone(), ..self.layout() };
        Task::new(id, epoch, layout, now_ms, self.options.threads, self.clone())
    }

    /// Waits until the composition differs from that of `epoch`.
    fn await_change(&self, epoch: u64, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let mut mail = self.mail.lock();
        while self.epoch() == epoch && Instant::now() < until {
            self.arrived.wait_for(&mut mail, Duration::from_millis(100));
        }
        self.epoch() != epoch
    }

    fn left_out(&self) -> bool {
        self.view.read().left_out.is_some()
    }

    /// Watches the other nodes: tells the leader whom it cannot reach; as the leader, ends the membership of the lost.
    async fn watch(self: Arc<Self>) {
        let mut refused: HashMap<usize, usize> = HashMap::new();
        loop {
            tokio::time::sleep(Duration::from_millis(250)).await;
            if !self.is_whole() || self.left_out() {
                continue;
            }
            let alive = self.alive();
            let me = self.me();
            let others: Vec<usize> = alive.iter().copied().filter(|s| *s != me).collect();
            let calls = others.iter().map(|s| {
                let address = self.peers.read()[*s].address;
                let clients = self.clients.clone();
                async move { clients.call(address, "hello", Bytes::new(), Duration::from_millis(1500)).await }
            });
            let outcomes = futures::future::join_all(calls).await;
            let now = Instant::now();
            self.suspects.lock().retain(|s, _| others.contains(s));
            for (slot, outcome) in others.iter().zip(&outcomes) {
                match outcome {
                    Ok(_) | Err(CallError::Told(_)) => {
                        refused.remove(slot);
                        self.suspects.lock().remove(slot);
                    }
                    Err(e) => {
                        if matches!(e, CallError::Refused(_)) {
                            *refused.entry(*slot).or_default() += 1;
                        }
                        self.suspects.lock().entry(*slot).and_modify(|s| s.1 = now).or_insert((now, now));
                    }
                }
            }
            let Some(leader) = self.leader() else { continue };
            let suspects: Vec<(usize, Duration)> = self.suspects.lock().iter().map(|(s, t)| (*s, now - t.0)).collect();
            if leader != me {
                for (slot, since) in &suspects {
                    if *since >= CUT_LINK
                        && let Ok(body) = postcard::to_allocvec(&(me, *slot))
                    {
                        let to = self.peers.read()[leader].address;
                        let _ = self.clients.call(to, "suspect", body, Duration::from_secs(2)).await;
                    }
                }
                continue;
            }
            let gossip_dead = crate::gossip::dead(&self).await;
            let mut lost: Vec<(usize, String)> = vec![];
            for (slot, since) in &suspects {
                let rest = self.peers.read()[*slot].rest;
                if refused.get(slot).is_some_and(|n| *n >= 2) {
                    lost.push((*slot, format!("the process at {rest} is gone")));
                } else if *since >= Duration::from_secs(2) && gossip_dead.contains(slot) {
                    lost.push((
                        *slot,
                        format!("{rest} has not answered for {:.0} seconds (stopped, overloaded or cut off)", since.as_secs_f64()),
                    ));
                } else if *since >= CUT_LINK {
                    lost.push((*slot, format!("{rest} cannot be reached from the leader, though it still gossips")));
                }
            }
            self.reports.lock().retain(|_, r| now - r.1 < Duration::from_secs(5));
            for ((from, about), (first, _)) in self.reports.lock().iter() {
                if now - *first >= Duration::from_secs(1) && alive.contains(from) && alive.contains(about) {
                    let (a, b) = (self.peers.read()[*from].rest, self.peers.read()[*about].rest);
                    let out = if *about == me { *from } else { *about };
                    lost.push((out, format!("the link from {a} to {b} is cut")));
                }
            }
            if lost.is_empty() {
                continue;
            }
            let left: Vec<usize> = alive.iter().copied().filter(|s| lost.iter().all(|l| l.0 != *s)).collect();
            let why = lost.into_iter().map(|l| l.1).collect::<Vec<_>>().join("; ");
            let item = Item::Members { epoch: self.epoch() + 1, alive: left, why };
            if let Err(e) = self.write(item, Duration::from_secs(5)).await {
                tracing::warn!("the change of members was not taken: {e}");
            }
        }
    }

    /// Runs a job until all members have finished it or one has failed.
    fn run_job(self: &Arc<Self>, n: u64, slot: &Arc<JobSlot>) {
        let id = JOB | n;
        let mut first = true;
        loop {
            let epoch = self.epoch();
            if self.left_out() {
                slot.job.finish(Err(Error::Unavailable(self.why_not().unwrap_or_default())));
                return;
            }
            // After a change of members: has everybody finished already?
            let alive = self.alive();
            if !first {
                let have = slot.staged.lock().is_some();
                match self.meet((id, epoch, HANDSHAKE), &alive, vec![u8::from(have)]) {
                    Err(_) if slot.done.load(SeqCst) => return,
                    Err(_) => {
                        self.await_change(epoch, Duration::from_millis(50));
                        continue;
                    }
                    Ok(all) if all.iter().all(|b| b[0] == 1) => {
                        self.publish_job(n, slot, epoch);
                        if slot.done.load(SeqCst) {
                            return;
                        }
                        continue;
                    }
                    Ok(_) => *slot.staged.lock() = None,
                }
                tracing::info!(job = %slot.job.key, "begins again from where all remaining nodes were");
                self.event(format!("job {} begins again in epoch {epoch}", slot.job.key));
            }
            first = false;
            let task = self.task(id, epoch, slot.job.started_ms);
            let outcome = task
                .enter(|| catch_unwind(AssertUnwindSafe(|| (slot.work)(&slot.job))))
                .unwrap_or_else(|p| Err(Error::Internal(format!("a fault in ochre stopped this job: {}", panic_text(&*p)))));
            if self.epoch() != epoch {
                if outcome.is_ok() {
                    *slot.staged.lock() = Some(task);
                } else {
                    task.close();
                }
                continue;
            }
            if let Err(e) = &outcome {
                if *e == Error::ClusterChanged {
                    task.close();
                    self.await_change(epoch, PATIENCE);
                    continue;
                }
                self.abort(&task, &if *e == Error::Cancelled { CANCELLED.to_string() } else { self.named(e) });
            }
            let mine = outcome.as_ref().err().map(|e| if *e == Error::Cancelled { CANCELLED.to_string() } else { e.to_string() });
            let body = postcard::to_allocvec(&mine).unwrap_or_default();
            *slot.staged.lock() = outcome.is_ok().then(|| task.clone());
            match self.meet((id, epoch, VOTE), task.members(), body) {
                Err(_) if slot.done.load(SeqCst) => return,
                Err(_) => continue,
                Ok(votes) => {
                    let failures: Vec<String> =
                        votes.iter().filter_map(|v| postcard::from_bytes::<Option<String>>(v).ok().flatten()).collect();
                    if let Some(failure) = failures.into_iter().next() {
                        task.close();
                        self.forget_job(n);
                        slot.job.finish(match outcome {
                            Err(e) => Err(e),
                            Ok(()) if failure == CANCELLED => Err(Error::Cancelled),
                            Ok(()) => Err(Error::Unavailable(failure)),
                        });
                        return;
                    }
                    self.publish_job(n, slot, epoch);
                    if slot.done.load(SeqCst) {
                        return;
                    }
                }
            }
        }
    }

    /// A failure with the node it happened on.
    fn named(&self, e: &Error) -> String {
        format!("on node {}:{}: {e}", self.options.ip, self.options.rest_port)
    }

    /// All members have finished: the first of them says so to the log, and all wait until it says so to them.
    fn publish_job(&self, n: u64, slot: &JobSlot, epoch: u64) {
        while self.epoch() == epoch && !slot.done.load(SeqCst) {
            if self.alive().first() == Some(&self.me())
                && let Err(e) = self.runtime.handle().block_on(self.write(Item::JobDone { job: n }, COMMIT))
            {
                tracing::warn!(job = %slot.job.key, "the end of the job was not taken by a majority: {e}");
            }
            let mut mail = self.mail.lock();
            if !slot.done.load(SeqCst) {
                self.arrived.wait_for(&mut mail, Duration::from_secs(1));
            }
        }
    }

    fn forget_job(&self, n: u64) {
        self.jobs.lock().remove(&n);
        let mut mail = self.mail.lock();
        mail.pieces.retain(|m, _| m.0 != JOB | n);
        mail.aborted.retain(|m, _| m.0 != JOB | n);
    }

    /// Time of a round trip of so many bytes to each living node, in milliseconds.
    pub fn network_test(&self, bytes: usize) -> Vec<(usize, std::result::Result<f64, String>)> {
        self.alive()
            .into_iter()
            .filter(|s| *s != self.me())
            .map(|s| {
                let at = Instant::now();
                let outcome = self.peer(s).map_err(|e| e.to_string()).and_then(|p| {
                    self.runtime.handle().block_on(self.clients.call(p.address, "echo", vec![0; bytes], PIECE)).map_err(|e| e.to_string())
                });
                (s, outcome.map(|_| at.elapsed().as_secs_f64() * 1e3))
            })
            .collect()
    }

    /// What each founding node says of itself; nothing for those that are gone or do not answer.
    pub fn all_stats(&self) -> Vec<Option<serde_json::Value>> {
        let alive = self.alive();
        let calls = self.peers().into_iter().enumerate().map(|(slot, peer)| {
            let (clients, alive) = (self.clients.clone(), alive.contains(&slot));
            async move {
                if !alive {
                    return None;
                }
                let body = clients.call(peer.address, "stats", Bytes::new(), Duration::from_secs(2)).await.ok()?;
                serde_json::from_slice(&body).ok()
            }
        });
        self.runtime.handle().block_on(futures::future::join_all(calls))
    }
}

/// A wrong clock, for tests of what nodes say about one.
fn clock_offset_ms() -> i64 {
    std::env::var("OCHRE_CLOCK_OFFSET_MS").ok().and_then(|v| v.parse().ok()).unwrap_or(0)
}

const CANCELLED: &str = "\u{0}cancelled";

fn panic_text(p: &(dyn Any + Send)) -> String {
    p.downcast_ref::<String>().cloned().or_else(|| p.downcast_ref::<&str>().map(|s| s.to_string())).unwrap_or_else(|| "unknown".into())
}

/// A piece with where it belongs.
fn letter(meeting: Meeting, from: usize, piece: &[u8]) -> Bytes {
    let mut body = Vec::with_capacity(32 + piece.len());
    for n in [meeting.0, meeting.1, meeting.2, from as u64] {
        body.extend_from_slice(&n.to_le_bytes());
    }
    body.extend_from_slice(piece);
    Bytes::from(body)
}

/// Sends a piece until it arrives or is no longer wanted.
async fn send_piece(clients: Clients, to: SocketAddr, body: Bytes) {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        match clients.call(to, "piece", body.clone(), PIECE).await {
            Ok(_) | Err(CallError::Told(_)) => return,
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

impl Carrier for Cluster {
    fn gather(&self, task: &Task, step: u64, mine: Vec<u8>) -> Result<Vec<Arc<Vec<u8>>>> {
        self.meet((task.id, task.epoch, step), task.members(), mine)
    }

    fn exchange(&self, task: &Task, step: u64, mut parcels: Vec<Vec<u8>>) -> Result<Vec<Arc<Vec<u8>>>> {
        let (meeting, me, rank) = ((task.id, task.epoch, step), self.me(), task.rank());
        let mine = std::mem::take(&mut parcels[rank]);
        let letters: Vec<Bytes> = parcels.iter().map(|p| letter(meeting, me, p)).collect();
        drop(parcels);
        self.meet_with(meeting, task.members(), |rank| letters[rank].clone(), mine)
    }

    fn ask(&self, slot: usize, question: &[u8]) -> Result<Vec<u8>> {
        let epoch = self.epoch();
        let peer = self.peer(slot)?;
        let until = Instant::now() + PATIENCE;
        loop {
            match self.runtime.handle().block_on(self.clients.call(peer.address, "ask", question.to_vec(), PIECE)) {
                Ok(answer) => return Ok(answer),
                Err(CallError::Told(m)) => return Err(Error::Unavailable(m)),
                Err(e) => {
                    if self.await_change(epoch, Duration::from_millis(300)) {
                        return Err(Error::ClusterChanged);
                    }
                    if Instant::now() > until {
                        return Err(Error::Unavailable(format!("node {} cannot be reached: {e}", peer.rest)));
                    }
                }
            }
        }
    }

    fn layout(&self) -> Layout {
        let view = self.view.read();
        Layout { me: self.me(), slots: self.peers.read().len().max(1), replicas: self.options.replicas, alive: view.alive.clone() }
    }
}

/// Carries out the log's items, one after the other.
struct Executor {
    cluster: Arc<Cluster>,
    epoch: u64,
    /// The last command whose results are visible here, and on the node that is furthest.
    done: u64,
    furthest: u64,
    /// Requests seen lately: one that was offered twice is carried out once.
    tickets: VecDeque<(usize, u64)>,
}

const TICKETS_KEPT: usize = 4096;

impl Executor {
    fn run(mut self, items: Receiver<(u64, Item)>) {
        while let Ok((place, item)) = items.recv() {
            if self.cluster.left_out() {
                continue;
            }
            match item {
                Item::Members { epoch, .. } => {
                    self.enter_epoch();
                    if epoch > 1 {
                        self.heal();
                    }
                }
                Item::Command { origin, ticket, now_ms, request } => {
                    if !self.tickets.contains(&(origin, ticket)) {
                        self.tickets.push_back((origin, ticket));
                        if self.tickets.len() > TICKETS_KEPT {
                            self.tickets.pop_front();
                        }
                        self.command(place, origin, ticket, now_ms, &request);
                    }
                }
                Item::JobDone { job } => self.job_done(job),
            }
        }
    }

    /// Meets the executors of the other members whenever their composition has changed.
    fn enter_epoch(&mut self) {
        while self.epoch != self.cluster.epoch() && !self.cluster.left_out() {
            let epoch = self.cluster.epoch();
            let alive = self.cluster.alive();
            if let Ok(all) = self.cluster.meet((EXECUTOR, epoch, HANDSHAKE), &alive, self.done.to_le_bytes().to_vec()) {
                self.furthest = all.iter().map(|b| u64::from_le_bytes(b.as_slice().try_into().unwrap_or_default())).max().unwrap_or(0);
                self.epoch = epoch;
            }
        }
    }

    fn command(&mut self, place: u64, origin: usize, ticket: u64, now_ms: i64, request: &str) {
        let cluster = self.cluster.clone();
        // What this node finished in an epoch that ended before all had voted.
        let mut pending: Option<(Arc<Task>, Answer)> = None;
        let (task, answer, failure) = loop {
            self.enter_epoch();
            if cluster.left_out() {
                return;
            }
            if let Some((task, answer)) = pending.take() {
                if self.furthest >= place {
                    // Somebody saw everybody's vote, so all had finished well.
                    break (task, answer, None);
                }
                self.discard(&task);
            }
            let task = cluster.task(place, self.epoch, now_ms);
            let Some(handler) = cluster.handler.get() else { return };
            // The same on every node.
            let trace = format!("{origin}-{ticket}");
            let span = tracing::info_span!("command", trace, epoch = self.epoch);
            let _in = span.enter();
            let answer = task.enter(|| catch_unwind(AssertUnwindSafe(|| handler(request)))).unwrap_or_else(|p| Answer {
                failed: Some(format!("a fault in ochre stopped this request: {}", panic_text(&*p))),
                reply: Box::new(()),
            });
            if cluster.epoch() != self.epoch {
                pending = Some((task, answer));
                continue;
            }
            if answer.failed.is_some() {
                cluster.abort(&task, "another node failed");
            }
            let body = postcard::to_allocvec(&answer.failed).unwrap_or_default();
            match cluster.meet((place, self.epoch, VOTE), task.members(), body) {
                Err(_) => pending = Some((task, answer)),
                Ok(votes) => {
                    let first = votes.iter().find_map(|v| postcard::from_bytes::<Option<String>>(v).ok().flatten());
                    break (task, answer, first);
                }
            }
        };
        let good = failure.is_none();
        if good {
            cluster.node.store.publish(&task);
            task.close();
            for (job, n, work) in cluster.starting.lock().drain(..) {
                self.start_job(job, n, work);
            }
        } else {
            self.discard(&task);
        }
        self.done = place;
        self.furthest = self.furthest.max(place);
        {
            let mut mail = cluster.mail.lock();
            mail.pieces.retain(|m, _| m.0 > place || m.0 == 0);
            mail.aborted.retain(|m, _| m.0 > place);
        }
        if origin == cluster.me()
            && let Some(waiting) = cluster.tickets.lock().remove(&ticket)
        {
            let outcome = match (good, answer.failed.is_some(), failure) {
                (true, ..) | (false, true, _) => Outcome::Done(answer.reply),
                (false, false, f) => Outcome::Failed(f.unwrap_or_default()),
            };
            let _ = waiting.send(outcome);
        }
    }

    fn discard(&self, task: &Task) {
        for (job, ..) in self.cluster.starting.lock().drain(..) {
            self.cluster.node.jobs.forget(&job.key.0);
        }
        task.close();
    }

    fn start_job(&self, job: Arc<Job>, n: u64, work: Work) {
        let slot = Arc::new(JobSlot { job, work, staged: Mutex::new(None), done: AtomicBool::new(false) });
        self.cluster.jobs.lock().insert(n, slot.clone());
        let cluster = self.cluster.clone();
        let span = tracing::info_span!("job", key = %slot.job.key);
        let running = slot.clone();
        let spawned = std::thread::Builder::new().name("ochre-job".into()).spawn(move || {
            let _in = span.enter();
            cluster.run_job(n, &running);
        });
        if let Err(e) = spawned {
            slot.job.finish(Err(Error::Internal(format!("cannot start a thread for the job: {e}"))));
        }
    }

    /// A job's end is in the log: its results become visible here.
    fn job_done(&mut self, n: u64) {
        let cluster = &self.cluster;
        let Some(slot) = cluster.jobs.lock().get(&n).cloned() else { return };
        let Some(task) = slot.staged.lock().take() else { return };
        cluster.node.store.publish(&task);
        task.close();
        slot.done.store(true, SeqCst);
        slot.job.finish(Ok(()));
        cluster.mail.lock().finished.insert(JOB | n);
        cluster.arrived.notify_all();
        cluster.forget_job(n);
    }

    /// Restores the number of copies of every chunk.
    fn heal(&self) {
        let layout = self.cluster.layout();
        let at = Instant::now();
        let mut rows = 0;
        for (key, frame) in self.cluster.node.store.all::<Frame>() {
            for column in frame.columns() {
                match ochre_core::heal(column, &layout) {
                    Ok(n) => rows += n,
                    Err(e) => tracing::warn!("frame {key}: chunks could not be copied: {e}"),
                }
            }
        }
        if rows > 0 {
            tracing::info!("copied {rows} values of lost nodes' chunks in {:.1} s", at.elapsed().as_secs_f64());
            self.cluster.event(format!("copied {rows} values of lost nodes' chunks"));
        }
    }
}
