//! The cluster: membership, the log of commands, and the wires between nodes.
//!
//! Everything below floor 3 knows other nodes as a [`ochre_core::Carrier`]; this crate is the only one that knows the
//! network. Nodes find each other by gossip (`gossip`), agree on one order of commands by Raft (`log`), carry each
//! command out side by side (`cluster`), and speak by actions of one Arrow Flight server (`rpc`).
//!
//! This crate must not know REST, algorithms or Rapids: a request is text to it.

mod cluster;
pub mod doctor;
mod gossip;
mod log;
mod rpc;
#[cfg(test)]
mod simulation;

pub use cluster::{Answer, Cluster, Hello, Options, Outcome, Peer, cluster_port};
pub use rpc::Clients;
