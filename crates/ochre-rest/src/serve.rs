//! The HTTP edge: one handler that reads a request, finds its route, and runs it on a blocking thread.

use crate::frames::scratch_file;
use crate::route::{Body, matches};
use crate::{App, Ask, EXTRA, Failure, ROUTES, Reply};
use axum::body::Body as HttpBody;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::serve::ListenerExt;
use ochre_core::Error;
use ochre_schema::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::io::AsyncWriteExt;

/// Forms larger than this are refused; files are uploaded by PostFile, which has no such limit.
const FORM_BYTES_MAX: usize = 256 << 20;

pub struct Server {
    pub app: Arc<App>,
    listener: tokio::net::TcpListener,
}

/// Binds the port; the server answers once `run` is awaited.
pub async fn serve(app: Arc<App>) -> Result<Server, Error> {
    let address = format!("{}:{}", app.config.ip, app.config.port);
    let listener = tokio::net::TcpListener::bind(&address).await.map_err(|e| {
        let mend = if e.kind() == std::io::ErrorKind::AddrInUse {
            "another program uses this port; stop it or choose another with --port"
        } else {
            "check --ip and --port"
        };
        Error::invalid(format!("Cannot listen on {address}: {e}; {mend}"))
    })?;
    // The node belongs to the app, not the other way round.
    let known = Arc::downgrade(&app);
    let about = move || known.upgrade().map_or(Value::Null, |app| crate::cluster::birthplace(&app));
    let _ = app.node.about.set(Box::new(about));
    Ok(Server { app, listener })
}

impl Server {
    pub fn port(&self) -> u16 {
        self.listener.local_addr().map_or(0, |a| a.port())
    }

    pub async fn run(self) -> Result<(), Error> {
        let stop = self.app.clone();
        let router = axum::Router::new().fallback(handle).with_state(self.app);
        // Without it, the end of a long answer may wait 40 ms for an acknowledgement.
        let listener = self.listener.tap_io(|connection| {
            let _ = connection.set_nodelay(true);
        });
        axum::serve(listener, router)
            .with_graceful_shutdown(async move { stop.shutdown.notified().await })
            .await
            .map_err(|e| Error::Internal(format!("the server stopped: {e}")))
    }
}

async fn handle(State(app): State<Arc<App>>, request: Request) -> Response {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let id = NEXT.fetch_add(1, Relaxed);
    let path = request.uri().path().to_string();
    let method = request.method().as_str().to_string();
    let url = path.clone();
    let outcome = match read(&app, request).await {
        Ok(ask) => {
            let app2 = app.clone();
            let run = tokio::task::spawn_blocking(move || {
                let span = tracing::info_span!("request", id);
                let _in = span.enter();
                crate::everywhere::dispatch(&app2, ask)
            });
            // A handler that panics fails alone.
            run.await.unwrap_or_else(|e| Err(Error::Internal(format!("a fault in ochre stopped this request: {e}")).into()))
        }
        Err(e) => Err(e),
    };
    tracing::debug!(id, method, path, "answered");
    let reply = outcome.unwrap_or_else(|f| f.reply(&url));
    render(&app, reply).await
}

async fn read(app: &App, request: Request) -> Result<Ask, Failure> {
    let mut ask = Ask { method: request.method().as_str().to_string(), path: request.uri().path().to_string(), ..Ask::default() };
    let pairs = |text: &[u8]| form_urlencoded::parse(text).into_owned().collect::<Vec<_>>();
    if let Some(q) = request.uri().query() {
        ask.params = pairs(q.as_bytes());
    }
    let kind = request.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or("").to_string();
    let is_upload = ask.path.starts_with("/3/PostFile") || ask.path.starts_with("/3/PostFrame") || ask.path.starts_with("/3/PutKey");
    let body = request.into_body();
    if is_upload {
        ask.upload = Some(store_upload(app, body, &kind).await?);
        return Ok(ask);
    }
    let bytes = axum::body::to_bytes(body, FORM_BYTES_MAX)
        .await
        .map_err(|e| Error::invalid(format!("the request's body could not be read: {e}")))?;
    if kind.starts_with("application/json") {
        if let Ok(serde_json::Value::Object(map)) = serde_json::from_slice(&bytes) {
            for (k, v) in map {
                ask.params.push((k, v.as_str().map_or_else(|| v.to_string(), str::to_string)));
            }
        } else if !bytes.is_empty() {
            return Err(Error::invalid("the request's body is not a JSON object").into());
        }
    } else {
        ask.params.extend(pairs(&bytes));
    }
    Ok(ask)
}

/// Streams an upload to a file of its own. A multipart form is unwrapped to the file it holds.
async fn store_upload(app: &App, body: HttpBody, kind: &str) -> Result<std::path::PathBuf, Failure> {
    let path = scratch_file(app, "upload")?;
    let stored = store_body(&path, body, kind).await;
    if stored.is_err() {
        let _ = tokio::fs::remove_file(&path).await;
        let _ = tokio::fs::remove_file(path.with_extension("part")).await;
    }
    stored.map(|()| path)
}

async fn store_body(path: &std::path::Path, body: HttpBody, kind: &str) -> Result<(), Failure> {
    let fail = |e: &dyn std::fmt::Display| Failure::from(Error::io(path.display(), e));
    let mut file = tokio::fs::File::create(path).await.map_err(|e| fail(&e))?;
    let mut stream = body.into_data_stream();
    use std::pin::Pin;
    loop {
        let next = std::future::poll_fn(|cx| futures_core::Stream::poll_next(Pin::new(&mut stream), cx)).await;
        match next {
            None => break,
            Some(Ok(chunk)) => file.write_all(&chunk).await.map_err(|e| fail(&e))?,
            Some(Err(e)) => return Err(Error::invalid(format!("the upload broke off: {e}")).into()),
        }
    }
    file.flush().await.map_err(|e| fail(&e))?;
    if let Some(boundary) = kind.split("boundary=").nth(1).filter(|_| kind.starts_with("multipart/")) {
        let boundary = boundary.split(';').next().unwrap_or("").trim().trim_matches('"').to_string();
        let path = path.to_path_buf();
        tokio::task::spawn_blocking(move || unwrap_multipart(&path, &boundary)).await.map_err(|e| fail(&e))??;
    }
    Ok(())
}

/// What is read of a multipart file at a time; its header has to fit.
const PIECE: usize = 1 << 20;

/// Keeps the content of the first part of a multipart file, piece by piece: uploads may be larger than memory.
fn unwrap_multipart(path: &std::path::Path, boundary: &str) -> Result<(), Failure> {
    use std::io::{Read, Write};
    let fail = |e: &dyn std::fmt::Display| Failure::from(Error::io(path.display(), e));
    let mut file = std::fs::File::open(path).map_err(|e| fail(&e))?;
    let mut held = vec![];
    let mut more = |held: &mut Vec<u8>| (&mut file).take(PIECE as u64).read_to_end(held).map_err(|e| fail(&e));
    more(&mut held)?;
    let find = |bytes: &[u8], what: &[u8]| memchr::memmem::find(bytes, what);
    let open = find(&held, format!("--{boundary}").as_bytes()).ok_or_else(|| fail(&"the multipart boundary is missing"))?;
    let header = find(&held[open..], b"\r\n\r\n").ok_or_else(|| fail(&"the multipart header is not closed"))?;
    held.drain(..open + header + 4);
    let closing = format!("\r\n--{boundary}");
    let content = path.with_extension("part");
    let mut out = std::fs::File::create(&content).map_err(|e| fail(&e))?;
    loop {
        if let Some(end) = find(&held, closing.as_bytes()) {
            out.write_all(&held[..end]).map_err(|e| fail(&e))?;
            break;
        }
        // What may be the beginning of the closing line waits for the next piece.
        let sure = held.len().saturating_sub(closing.len());
        out.write_all(&held[..sure]).map_err(|e| fail(&e))?;
        held.drain(..sure);
        if more(&mut held)? == 0 {
            out.write_all(&held).map_err(|e| fail(&e))?;
            break;
        }
    }
    std::fs::rename(&content, path).map_err(|e| fail(&e))
}

pub(crate) fn dispatch(app: &App, mut ask: Ask) -> Result<Reply, Failure> {
    if !matches!(ask.method.as_str(), "GET" | "POST" | "DELETE" | "HEAD") {
        return Err(Failure::Told {
            status: 400,
            exception: "java.net.MalformedURLException",
            message: format!("Bad HTTP method: {}", ask.method),
        });
    }
    let method = if ask.method == "HEAD" { "GET" } else { ask.method.as_str() };
    let path = if ask.path.len() > 1 { ask.path.trim_end_matches('/') } else { &ask.path };
    // The route with the longest address wins: /3/Frames/{id}/summary before /3/Frames/{id}.
    let search = |path: &str| {
        let mut found: Option<(&crate::Route, Vec<(String, String)>)> = None;
        for r in EXTRA.iter().chain(ROUTES).flat_map(|r| r.iter()).filter(|r| r.method == method) {
            if let Some(p) = matches(r.url, path)
                && found.as_ref().is_none_or(|f| {
                    f.0.url.split('/').count() < r.url.split('/').count() || (f.0.url.contains('{') && !r.url.contains('{'))
                })
            {
                found = Some((r, p));
            }
        }
        found
    };
    // A slash at the end means nothing, unless a key was left out after it.
    let found = search(path).or_else(|| search(&ask.path));
    let Some((route, params)) = found else {
        return Err(Failure::not_found(if ask.method == "GET" {
            format!("Resource {} not found", ask.path)
        } else {
            format!("{} {} not found", ask.method, ask.path)
        }));
    };
    ask.path_params = params;
    (route.handler)(app, &ask)
}

async fn render(app: &App, reply: Reply) -> Response {
    let mut builder = Response::builder()
        .status(reply.status)
        .header("Content-Type", reply.content_type)
        .header("X-h2o-build-project-version", &app.config.compat_version)
        .header("X-h2o-rest-api-version-max", "3")
        .header("X-h2o-cluster-id", app.started_ms.to_string())
        .header("X-h2o-cluster-good", "true")
        .header("X-ochre-version", env!("CARGO_PKG_VERSION"))
        .header("X-Frame-Options", "deny")
        .header("X-Content-Type-Options", "nosniff");
    for (k, v) in reply.headers {
        builder = builder.header(k, v);
    }
    let body = match reply.body {
        Body::Bytes(b) => HttpBody::from(b),
        // Unlinked when `path` goes: the open handle is all that is needed.
        Body::File(path) => match tokio::fs::File::open(&path.0).await {
            Ok(file) => HttpBody::from_stream(FileStream { file, buffer: vec![0; 256 << 10] }),
            Err(e) => HttpBody::from(format!("cannot read {}: {e}", path.0.display())),
        },
    };
    builder.body(body).unwrap_or_else(|e| Response::new(HttpBody::from(e.to_string())))
}

struct FileStream {
    file: tokio::fs::File,
    buffer: Vec<u8>,
}

impl futures_core::Stream for FileStream {
    type Item = std::io::Result<Vec<u8>>;
    fn poll_next(self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Option<Self::Item>> {
        let me = self.get_mut();
        let mut read = tokio::io::ReadBuf::new(&mut me.buffer);
        match tokio::io::AsyncRead::poll_read(std::pin::Pin::new(&mut me.file), cx, &mut read) {
            std::task::Poll::Pending => std::task::Poll::Pending,
            std::task::Poll::Ready(Err(e)) => std::task::Poll::Ready(Some(Err(e))),
            std::task::Poll::Ready(Ok(())) if read.filled().is_empty() => std::task::Poll::Ready(None),
            std::task::Poll::Ready(Ok(())) => std::task::Poll::Ready(Some(Ok(read.filled().to_vec()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_of_an_upload_is_kept_whatever_its_size() {
        let dir = std::env::temp_dir().join(format!("ochre-upload-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a folder");
        for size in [0, 1, 100, PIECE - 150, PIECE - 100, PIECE - 1, PIECE, PIECE + 7, 3 * PIECE + 11] {
            let content: Vec<u8> = (0..size)
                .map(|i| {
                    if i % 61 == 0 {
                        b'\r'
                    } else if i % 61 == 1 {
                        b'\n'
                    } else {
                        (i % 251) as u8
                    }
                })
                .collect();
            let path = dir.join("upload");
            let head = b"--here\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n".to_vec();
            std::fs::write(&path, [head, content.clone(), b"\r\n--here--\r\n".to_vec()].concat()).expect("written");
            unwrap_multipart(&path, "here").unwrap_or_else(|_| panic!("{size} bytes are unwrapped"));
            assert!(std::fs::read(&path).expect("read") == content, "{size} bytes");
        }
        let path = dir.join("broken");
        std::fs::write(&path, b"no boundary").expect("written");
        assert!(unwrap_multipart(&path, "here").is_err());
        std::fs::remove_dir_all(&dir).expect("removed");
    }
}
