//! Requests on a cluster: which are answered by the node that gets them, and which all nodes carry out together.
//!
//! What changes something (or computes on frames) goes through the cluster's log, so that every node does it in the same
//! order; what only reads is answered at once, chunks of other nodes being fetched as they are needed.

use crate::route::{Body, TempFile};
use crate::{App, Ask, Failure, Reply};
use ochre_engine::{Answer, Outcome};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A failure as one node passes it on to another.
#[derive(Serialize, Deserialize)]
struct Told {
    status: u16,
    content_type: String,
    body: String,
}

/// Does every node have to carry the request out?
fn concerns_all(ask: &Ask) -> bool {
    match ask.method.as_str() {
        "GET" | "HEAD" => ask.path.starts_with("/3/InitID") || ask.path.starts_with("/3/ImportFiles"),
        _ => !matches!(ask.path.as_str(), "/3/LogAndEcho" | "/3/ParseSetup" | "/3/GarbageCollect"),
    }
}

/// Carries a request out here, or on all nodes.
pub(crate) fn dispatch(app: &App, mut ask: Ask) -> Result<Reply, Failure> {
    let Some(cluster) = app.cluster.as_ref().filter(|_| concerns_all(&ask)) else { return crate::serve::dispatch(app, ask) };
    if ask.path == "/3/Shutdown" && cluster.why_not().is_some() {
        return crate::serve::dispatch(app, ask);
    }
    if let Some(why) = cluster.why_not() {
        return Err(ochre_core::Error::Unavailable(why).into());
    }
    if let Some(path) = &ask.upload {
        let name = format!("upload-{}-{:x}", cluster.me(), ochre_core::Rng::fresh_seed());
        cluster.spread_file(path, &name)?;
        ask.upload = Some(name.into());
    }
    let request = serde_json::to_string(&ask).map_err(|e| ochre_core::Error::Internal(e.to_string()))?;
    match cluster.submit(request)? {
        Outcome::Done(reply) => {
            Ok(*reply.downcast::<Reply>().map_err(|_| ochre_core::Error::Internal("a reply of another kind".into()))?)
        }
        Outcome::Failed(text) => {
            let told: Told = serde_json::from_str(&text).unwrap_or(Told { status: 500, content_type: "text/plain".into(), body: text });
            Ok(Reply {
                status: told.status,
                content_type: if told.content_type == "application/json" { "application/json" } else { "text/plain" },
                headers: vec![],
                body: Body::Bytes(told.body.into_bytes()),
            })
        }
    }
}

/// Lets the cluster's log carry out requests on this node.
pub fn join(app: &Arc<App>) {
    let Some(cluster) = &app.cluster else { return };
    let app2 = app.clone();
    cluster.set_handler(Box::new(move |request| {
        let outcome = serde_json::from_str::<Ask>(request)
            .map_err(|e| Failure::from(ochre_core::Error::Internal(format!("a request of another node cannot be read: {e}"))))
            .and_then(|mut ask| {
                if let (Some(name), Some(cluster)) = (&ask.upload, &app2.cluster) {
                    ask.upload = Some(cluster.file_path(&name.display().to_string())?);
                }
                let url = ask.path.clone();
                Ok(crate::serve::dispatch(&app2, ask).unwrap_or_else(|f| f.reply(&url)))
            });
        let reply = outcome.unwrap_or_else(|f| f.reply(""));
        let failed = (reply.status >= 400).then(|| {
            let body = match &reply.body {
                Body::Bytes(b) => String::from_utf8_lossy(b).into_owned(),
                Body::File(TempFile(_)) => String::new(),
            };
            serde_json::to_string(&Told { status: reply.status, content_type: reply.content_type.into(), body }).unwrap_or_default()
        });
        Answer { failed, reply: Box::new(reply) }
    }));
    let app4 = app.clone();
    cluster.set_local(Box::new(move |request| {
        let reply = serde_json::from_str::<Ask>(request)
            .map_err(|e| Failure::from(ochre_core::Error::Internal(format!("a request of another node cannot be read: {e}"))))
            .and_then(|ask| crate::serve::dispatch(&app4, ask))
            .unwrap_or_else(|f| f.reply(""));
        match reply.body {
            Body::Bytes(b) => String::from_utf8_lossy(&b).into_owned(),
            Body::File(_) => String::new(),
        }
    }));
    let app3 = app.clone();
    cluster.set_stats(Box::new(move || crate::cluster::node_json(&app3)));
}
