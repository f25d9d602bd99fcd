//! What a browser sees first. Clients of H2O ask for this page too, to learn whether a server is there.

use crate::route::{Ask, Body, Reply, Route, get};
use crate::{App, Failure};

pub const PAGE: &[Route] = &[
    get("/", "welcome", ("", ""), welcome, "The page of this server: nodes, frames, jobs, and how to connect."),
    get("/flow/index.html", "flow", ("", ""), welcome, "The same page, where clients say that the notebook is."),
];

fn welcome(_: &App, _: &Ask) -> Result<Reply, Failure> {
    Ok(Reply {
        status: 200,
        content_type: "text/html; charset=utf-8",
        headers: vec![("Content-Security-Policy", "default-src 'self' 'unsafe-inline'".into())],
        body: Body::Bytes(include_bytes!("welcome.html").to_vec()),
    })
}
