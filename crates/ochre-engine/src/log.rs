//! The order of things: a log that all nodes agree on, kept by Raft (openraft).
//!
//! Commands, changes of who belongs to the cluster, and ends of jobs are entries of one log. A majority of the founding
//! nodes has to take an entry before anybody acts on it, so of two halves that cannot see each other at most one goes on.
//! The log lives in memory: a node that was restarted is another node.

use crate::rpc::{CallError, Clients};
use openraft::error::{InstallSnapshotError, NetworkError, RPCError, RaftError, Unreachable};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::storage::{LogFlushed, LogState, RaftLogStorage, RaftStateMachine, Snapshot};
use openraft::{
    BasicNode, Entry, EntryPayload, LogId, OptionalSend, RaftLogReader, RaftSnapshotBuilder, SnapshotMeta, StorageError, StoredMembership,
    Vote,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::Cursor;
use std::ops::RangeBounds;
use std::sync::Arc;

/// What the log holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Item {
    /// Who belongs to the cluster from here on.
    Members { epoch: u64, alive: Vec<usize>, why: String },
    /// A request that every node carries out.
    Command { origin: usize, ticket: u64, now_ms: i64, request: String },
    /// All members finished a job; its results become visible.
    JobDone { job: u64 },
}

openraft::declare_raft_types!(
    pub Types:
        D = Item,
        R = u64,
        NodeId = u64,
        Node = BasicNode,
        Entry = Entry<Types>,
        SnapshotData = Cursor<Vec<u8>>,
);

pub type Raft = openraft::Raft<Types>;

#[derive(Default)]
struct Lines {
    vote: Option<Vote<u64>>,
    entries: BTreeMap<u64, Entry<Types>>,
    purged: Option<LogId<u64>>,
}

/// The log of this process.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<Lines>>);

impl RaftLogReader<Types> for Memory {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry<Types>>, StorageError<u64>> {
        Ok(self.0.lock().entries.range(range).map(|(_, e)| e.clone()).collect())
    }
}

impl RaftLogStorage<Types> for Memory {
    type LogReader = Memory;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, StorageError<u64>> {
        let lines = self.0.lock();
        let last = lines.entries.last_key_value().map(|(_, e)| e.log_id).or(lines.purged);
        Ok(LogState { last_purged_log_id: lines.purged, last_log_id: last })
    }
    async fn get_log_reader(&mut self) -> Memory {
        self.clone()
    }
    async fn save_vote(&mut self, vote: &Vote<u64>) -> Result<(), StorageError<u64>> {
        self.0.lock().vote = Some(*vote);
        Ok(())
    }
    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>, StorageError<u64>> {
        Ok(self.0.lock().vote)
    }
    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), StorageError<u64>>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.0.lock().entries.extend(entries.into_iter().map(|e| (e.log_id.index, e)));
        callback.log_io_completed(Ok(()));
        Ok(())
    }
    async fn truncate(&mut self, from: LogId<u64>) -> Result<(), StorageError<u64>> {
        self.0.lock().entries.split_off(&from.index);
        Ok(())
    }
    async fn purge(&mut self, upto: LogId<u64>) -> Result<(), StorageError<u64>> {
        let mut lines = self.0.lock();
        lines.purged = Some(upto);
        lines.entries = lines.entries.split_off(&(upto.index + 1));
        Ok(())
    }
}

/// Gets committed items, in order, with their place in the log.
pub type Applied = Box<dyn FnMut(u64, Item) + Send + Sync>;

/// Hands committed items on. Keeps nothing itself: the state of the cluster is what the nodes hold.
pub struct Machine {
    pub applied: Applied,
    last: Option<LogId<u64>>,
    membership: StoredMembership<u64, BasicNode>,
}

impl Machine {
    pub fn new(applied: Applied) -> Machine {
        Machine { applied, last: None, membership: StoredMembership::default() }
    }
}

/// Marks a place in the log up to which entries may be forgotten.
pub struct Mark {
    last: Option<LogId<u64>>,
    membership: StoredMembership<u64, BasicNode>,
}

impl Mark {
    fn snapshot(&self) -> Snapshot<Types> {
        let id = format!("{}", self.last.map_or(0, |l| l.index));
        Snapshot {
            meta: SnapshotMeta { last_log_id: self.last, last_membership: self.membership.clone(), snapshot_id: id },
            snapshot: Box::new(Cursor::new(vec![])),
        }
    }
}

impl RaftSnapshotBuilder<Types> for Mark {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, StorageError<u64>> {
        Ok(self.snapshot())
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotBuilder = Mark;

    async fn applied_state(&mut self) -> Result<(Option<LogId<u64>>, StoredMembership<u64, BasicNode>), StorageError<u64>> {
        Ok((self.last, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<u64>, StorageError<u64>>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut out = vec![];
        for entry in entries {
            self.last = Some(entry.log_id);
            out.push(entry.log_id.index);
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Membership(m) => self.membership = StoredMembership::new(Some(entry.log_id), m),
                EntryPayload::Normal(item) => (self.applied)(entry.log_id.index, item),
            }
        }
        Ok(out)
    }

    async fn get_snapshot_builder(&mut self) -> Mark {
        Mark { last: self.last, membership: self.membership.clone() }
    }
    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError<u64>> {
        Ok(Box::default())
    }
    async fn install_snapshot(&mut self, meta: &SnapshotMeta<u64, BasicNode>, _: Box<Cursor<Vec<u8>>>) -> Result<(), StorageError<u64>> {
        // This node was away so long that the others forgot what it missed. It cannot catch up, and says so.
        self.last = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        (self.applied)(
            meta.last_log_id.map_or(0, |l| l.index),
            Item::Members { epoch: u64::MAX, alive: vec![], why: "it was away longer than the others remember".into() },
        );
        Ok(())
    }
    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, StorageError<u64>> {
        Ok(self.last.map(|_| Mark { last: self.last, membership: self.membership.clone() }.snapshot()))
    }
}

/// Raft's messages as actions.
#[derive(Clone)]
pub struct Network {
    pub clients: Clients,
}

pub struct Line {
    clients: Clients,
    to: std::net::SocketAddr,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Line;
    async fn new_client(&mut self, _: u64, node: &BasicNode) -> Line {
        Line { clients: self.clients.clone(), to: node.addr.parse().expect("members are known by their addresses") }
    }
}

impl Line {
    async fn send<Q: Serialize, R: for<'a> Deserialize<'a>, E: std::error::Error>(
        &self,
        action: &str,
        request: &Q,
        option: RPCOption,
    ) -> Result<R, RPCError<u64, BasicNode, E>> {
        let body = serde_json::to_vec(request).map_err(|e| RPCError::Network(NetworkError::new(&e)))?;
        let io = |m: String| std::io::Error::other(m);
        match self.clients.call(self.to, action, body, option.hard_ttl()).await {
            Ok(reply) => serde_json::from_slice(&reply).map_err(|e| RPCError::Network(NetworkError::new(&e))),
            Err(CallError::Told(m)) => Err(RPCError::Network(NetworkError::new(&io(m)))),
            Err(CallError::Refused(m) | CallError::Unreachable(m)) => Err(RPCError::Unreachable(Unreachable::new(&io(m)))),
        }
    }
}

impl RaftNetwork<Types> for Line {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, RPCError<u64, BasicNode, RaftError<u64>>> {
        self.send("raft/append", &rpc, option).await
    }
    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<Types>,
        option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, RPCError<u64, BasicNode, RaftError<u64, InstallSnapshotError>>> {
        self.send("raft/snapshot", &rpc, option).await
    }
    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<VoteResponse<u64>, RPCError<u64, BasicNode, RaftError<u64>>> {
        self.send("raft/vote", &rpc, option).await
    }
}

/// Answers a message of Raft from another node.
pub async fn answer(raft: &Raft, action: &str, body: &[u8]) -> Result<Vec<u8>, String> {
    fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
        serde_json::from_slice(body).map_err(|e| e.to_string())
    }
    fn text<T: Serialize, E: std::fmt::Display>(reply: Result<T, E>) -> Result<Vec<u8>, String> {
        serde_json::to_vec(&reply.map_err(|e| e.to_string())?).map_err(|e| e.to_string())
    }
    match action {
        "raft/append" => text(raft.append_entries(parse(body)?).await),
        "raft/vote" => text(raft.vote(parse(body)?).await),
        "raft/snapshot" => text(raft.install_snapshot(parse(body)?).await),
        other => Err(format!("unknown action {other}")),
    }
}

/// How long nodes wait for a leader's sign of life before they choose another.
pub fn config(cluster: &str) -> openraft::Config {
    openraft::Config {
        cluster_name: cluster.into(),
        heartbeat_interval: 200,
        election_timeout_min: 1200,
        election_timeout_max: 2400,
        snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(20_000),
        max_in_snapshot_log_to_keep: 10_000,
        ..openraft::Config::default()
    }
}
