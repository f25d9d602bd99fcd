//! The log under bad networks: real nodes of Raft, a network and clocks made here, one seed a run.
//!
//! Time is simulated, so a thousand runs take seconds. What is drawn from the seed: sizes, delays, lost messages, who is
//! cut off from whom and when, who asks for what. (Raft's own election time-outs are drawn by its library.)

use crate::log::{Item, Machine, Memory, Raft, Types, config};
use ochre_core::Rng;
use openraft::BasicNode;
use openraft::error::{InstallSnapshotError, RPCError, RaftError, Unreachable};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest, VoteResponse,
};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// The wires between the nodes of one run.
struct Wires {
    rafts: Vec<Option<Raft>>,
    /// Directed links that carry nothing.
    cut: HashSet<(usize, usize)>,
    rng: Rng,
    slowest_ms: u32,
    lost_in_100: u32,
}

#[derive(Clone)]
struct Network {
    me: usize,
    wires: Arc<Mutex<Wires>>,
}

struct Line {
    network: Network,
    to: usize,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Line;
    async fn new_client(&mut self, to: u64, _: &BasicNode) -> Line {
        Line { network: self.clone(), to: to as usize }
    }
}

impl Line {
    /// One way: takes its time, may get lost.
    async fn travel<E: std::error::Error>(&self, from: usize, to: usize) -> Result<Raft, RPCError<u64, BasicNode, E>> {
        let gone = || RPCError::Unreachable(Unreachable::new(&std::io::Error::other("lost")));
        let (delay, lost) = {
            let mut w = self.network.wires.lock();
            let (slowest, lost_in_100) = (w.slowest_ms, w.lost_in_100);
            (w.rng.below(slowest), w.rng.below(100) < lost_in_100)
        };
        tokio::time::sleep(Duration::from_millis(u64::from(delay))).await;
        let w = self.network.wires.lock();
        if lost || w.cut.contains(&(from, to)) {
            return Err(gone());
        }
        w.rafts[self.to].clone().ok_or_else(gone)
    }
}

macro_rules! call {
    ($line:expr, $method:ident, $rpc:expr) => {{
        let (me, to) = ($line.network.me, $line.to);
        let raft = $line.travel(me, to).await?;
        let reply = raft.$method($rpc).await.map_err(|e| RPCError::Unreachable(Unreachable::new(&std::io::Error::other(e.to_string()))))?;
        $line.travel(to, me).await?;
        Ok(reply)
    }};
}

impl RaftNetwork<Types> for Line {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, RPCError<u64, BasicNode, RaftError<u64>>> {
        call!(self, append_entries, rpc)
    }
    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<Types>,
        _: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, RPCError<u64, BasicNode, RaftError<u64, InstallSnapshotError>>> {
        call!(self, install_snapshot, rpc)
    }
    async fn vote(&mut self, rpc: VoteRequest<u64>, _: RPCOption) -> Result<VoteResponse<u64>, RPCError<u64, BasicNode, RaftError<u64>>> {
        call!(self, vote, rpc)
    }
}

/// What a node has carried out, in order, and whether it was left out.
#[derive(Default)]
struct Seen {
    items: Vec<(u64, Item)>,
    epoch: u64,
    left_out: bool,
}

struct Accepted {
    round: usize,
    by: usize,
    place: u64,
    ticket: u64,
}

/// One run; answers how many requests were accepted, or what went wrong.
async fn run(seed: i64) -> Result<usize, String> {
    let mut rng = Rng::new(seed);
    let n = 3 + rng.below(3) as usize;
    let wires = Arc::new(Mutex::new(Wires {
        rafts: vec![None; n],
        cut: HashSet::new(),
        rng: Rng::new(seed ^ 0x5eed),
        slowest_ms: 2 + rng.below(120),
        lost_in_100: rng.below(6),
    }));
    let seen: Vec<Arc<Mutex<Seen>>> = (0..n).map(|_| Arc::default()).collect();
    let cfg = Arc::new(config("simulated").validate().map_err(|e| e.to_string())?);
    for me in 0..n {
        let mine = seen[me].clone();
        let machine = Machine::new(Box::new(move |place, item| {
            let mut s = mine.lock();
            if let Item::Members { epoch, alive, .. } = &item
                && *epoch > s.epoch
            {
                s.epoch = *epoch;
                s.left_out |= !alive.contains(&me);
            }
            s.items.push((place, item));
        }));
        let network = Network { me, wires: wires.clone() };
        let raft = Raft::new(me as u64, cfg.clone(), network, Memory::default(), machine).await.map_err(|e| e.to_string())?;
        wires.lock().rafts[me] = Some(raft);
    }
    let rafts: Vec<Raft> = wires.lock().rafts.iter().flatten().cloned().collect();
    let members: BTreeMap<u64, BasicNode> = (0..n).map(|i| (i as u64, BasicNode::default())).collect();
    rafts[0].initialize(members).await.map_err(|e| e.to_string())?;

    let mut accepted: Vec<Accepted> = vec![];
    let mut halves_of: Vec<Option<Vec<bool>>> = vec![];
    let mut ticket = 0;
    for round in 0..4 {
        // A new state of the network: two halves, one link cut in one direction, one node cut off, or all well.
        let side: Vec<bool> = (0..n).map(|_| rng.below(2) == 1).collect();
        let (a, b) = (rng.below(n as u32) as usize, rng.below(n as u32) as usize);
        let mut cut = HashSet::new();
        let mut halves = None;
        match rng.below(4) {
            0 => {
                cut.extend((0..n).flat_map(|i| (0..n).map(move |j| (i, j))).filter(|(i, j)| side[*i] != side[*j]));
                halves = Some(side);
            }
            1 => {
                cut.insert((a, b));
            }
            2 => {
                cut.extend((0..n).flat_map(|j| [(a, j), (j, a)]));
                halves = Some((0..n).map(|i| i == a).collect());
            }
            _ => {}
        }
        wires.lock().cut = cut.clone();
        halves_of.push(halves);
        // Messages that were on their way arrive or get lost before anything is asked in the new state.
        tokio::time::sleep(Duration::from_millis(400)).await;
        let mut asked = vec![];
        for _ in 0..3 {
            for by in 0..n {
                ticket += 1;
                let (raft, seen, t) = (rafts[by].clone(), seen[by].clone(), ticket);
                let lost: Vec<usize> = (0..n).filter(|j| cut.contains(&(by, *j)) || cut.contains(&(*j, by))).collect();
                let start = Duration::from_millis(u64::from(rng.below(4000)));
                let watches = rng.below(3) == 0;
                asked.push(tokio::spawn(async move {
                    tokio::time::sleep(start).await;
                    if seen.lock().left_out {
                        return None;
                    }
                    // Whoever leads also ends the membership of those it cannot reach, as the cluster's watch does.
                    if watches && !lost.is_empty() {
                        let epoch = seen.lock().epoch + 1;
                        let alive = (0..n).filter(|i| !lost.contains(i)).collect();
                        let item = Item::Members { epoch, alive, why: String::new() };
                        let _ = tokio::time::timeout(Duration::from_secs(2), raft.client_write(item)).await;
                    }
                    let item = Item::Command { origin: by, ticket: t, now_ms: 0, request: String::new() };
                    let reply = tokio::time::timeout(Duration::from_secs(2), raft.client_write(item)).await.ok()?.ok()?;
                    (!seen.lock().left_out).then_some((by, reply.data, t))
                }));
            }
        }
        for a in asked {
            if let Some((by, place, ticket)) = a.await.map_err(|e| e.to_string())? {
                accepted.push(Accepted { round, by, place, ticket });
            }
        }
    }
    wires.lock().cut.clear();
    tokio::time::sleep(Duration::from_secs(8)).await;

    for (round, halves) in halves_of.iter().enumerate() {
        let Some(side) = halves else { continue };
        let sides: HashSet<bool> = accepted.iter().filter(|a| a.round == round).map(|a| side[a.by]).collect();
        if sides.len() > 1 {
            return Err(format!("round {round}: both halves of {side:?} accepted requests"));
        }
    }
    let logs: Vec<Vec<(u64, Item)>> = seen.iter().map(|s| s.lock().items.clone()).collect();
    let longest = logs.iter().max_by_key(|l| l.len()).ok_or("no node")?;
    for (i, log) in logs.iter().enumerate() {
        if log[..] != longest[..log.len()] {
            return Err(format!("node {i} carried out another order than the others"));
        }
    }
    for a in &accepted {
        let there =
            longest.iter().any(|(place, item)| *place == a.place && matches!(item, Item::Command { ticket, .. } if *ticket == a.ticket));
        if !there {
            return Err(format!("request {} was accepted by node {} and then lost", a.ticket, a.by));
        }
    }
    for raft in &rafts {
        let _ = raft.shutdown().await;
    }
    Ok(accepted.len())
}

#[test]
fn two_halves_never_both_accept() {
    let (mut accepted, mut idle) = (0, 0);
    for seed in 0..1000 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        match runtime.block_on(run(seed)) {
            Ok(0) => idle += 1,
            Ok(n) => accepted += n,
            Err(e) => panic!("seed {seed}: {e}"),
        }
    }
    // The test would prove nothing if nothing were ever accepted.
    assert!(accepted > 3000 && idle < 100, "{accepted} requests were accepted, {idle} runs accepted none");
}
