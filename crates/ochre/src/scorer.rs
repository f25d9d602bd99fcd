//! `ochre score --serve`: a small service that scores rows told as JSON.
//!
//! `POST /score` takes `{"rows": [{"column": value, ...}, ...]}` and answers `{"predictions": [{...}, ...], "notes": [...]}`.
//! A column that is left out or null is missing; a level that the model does not know counts as missing and is noted.
//! What cannot be meant, such as text where the model has a number, is refused with the row, the column and the value.
//! Rows go the same way as those of a file, so the scores are the same bits.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use ochre_core::{Column, Frame, Kind, Node};
use ochre_model::Model;
use ochre_model::insight::{Contributions, Insight};
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Largest request, in bytes, and most rows in one.
const BODY_MAX: usize = 64 << 20;
const ROWS_MAX: usize = 100_000;
/// Upper bounds of the buckets that durations are counted in, in seconds.
const BUCKETS: [f64; 8] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0];

pub struct Scorer {
    pub node: Arc<Node>,
    pub model: Model,
    counts: Counts,
}

/// What Prometheus is told.
#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    refused: AtomicU64,
    rows: AtomicU64,
    microseconds: AtomicU64,
    buckets: [AtomicU64; BUCKETS.len()],
}

impl Scorer {
    pub fn new(node: Arc<Node>, model: Model) -> Scorer {
        Scorer { node, model, counts: Counts::default() }
    }

    /// The rows of a request as a frame of the model's columns, and what is to be noted about them.
    fn frame(&self, rows: &[Value]) -> Result<(Frame, Vec<String>), String> {
        let mut names: Vec<(&str, Option<&Arc<Vec<String>>>)> =
            self.model.predictors.iter().map(|p| (p.name.as_str(), p.domain.as_ref())).collect();
        if let Some(offset) = &self.model.offset_column {
            names.push((offset, None));
        }
        let mut notes = vec![];
        let mut values = vec![Vec::with_capacity(rows.len()); names.len()];
        for (r, row) in rows.iter().enumerate() {
            let row = row.as_object().ok_or_else(|| format!("row {r} is {row}; a row is an object of columns and values"))?;
            for ((name, domain), out) in names.iter().zip(&mut values) {
                let value = row.get(*name).unwrap_or(&Value::Null);
                out.push(match (domain, value) {
                    (_, Value::Null) => f64::NAN,
                    (None, v) => number(v).ok_or_else(|| format!("row {r}: '{name}' is a number to the model, but {v} was given"))?,
                    (Some(levels), v) => {
                        let text = match v {
                            Value::String(s) => s.clone(),
                            Value::Number(n) => n.to_string(),
                            Value::Bool(b) => b.to_string(),
                            v => return Err(format!("row {r}: '{name}' is a category to the model, but {v} was given")),
                        };
                        match levels.iter().position(|l| *l == text) {
                            Some(code) => code as f64,
                            None => {
                                notes.push(format!("row {r}: the model does not know '{text}' in '{name}'; it counts as missing"));
                                f64::NAN
                            }
                        }
                    }
                });
            }
            if let Some(extra) = row.keys().find(|k| !names.iter().any(|n| n.0 == k.as_str())) {
                let note = format!("the model does not read '{extra}'");
                if !notes.contains(&note) {
                    notes.push(note);
                }
            }
        }
        let kind = |d: Option<&Arc<Vec<String>>>| d.map_or(Kind::Real, |d| Kind::Enum(d.clone()));
        let columns = names.iter().zip(&values).map(|((_, d), v)| Column::numeric(&self.node.ledger, kind(*d), v));
        let columns = columns.collect::<ochre_core::Result<Vec<_>>>().map_err(|e| e.to_string())?;
        let frame = Frame::new(names.iter().map(|n| n.0.to_string()).collect(), columns).map_err(|e| e.to_string())?;
        Ok((frame, notes))
    }

    /// The answer to a request's body, and the number of its rows.
    fn score(&self, body: &[u8]) -> Result<(Value, usize), String> {
        let body: Value = serde_json::from_slice(body).map_err(|e| format!("the body is not JSON: {e}"))?;
        let rows = body["rows"].as_array().ok_or("the body needs \"rows\": a list of objects of columns and values")?;
        if rows.len() > ROWS_MAX {
            return Err(format!("{} rows are too many for one request; send at most {ROWS_MAX} at a time", rows.len()));
        }
        if rows.is_empty() {
            return Ok((json!({"predictions": [], "notes": []}), 0));
        }
        let (frame, mut notes) = self.frame(rows)?;
        let contributions = body["contributions"].as_bool().unwrap_or(false);
        let scored = match contributions {
            true => self.model.insight(&self.node, &frame, &Insight::Contributions(Contributions::default())),
            false => self.model.predict(&self.node, &frame, &mut |w| notes.push(w)),
        };
        let scored = scored.map_err(|e| e.to_string())?;
        let columns = scored.columns().iter().map(|c| Ok((c.domain().cloned(), c.to_f64()?))).collect::<ochre_core::Result<Vec<_>>>();
        let columns = columns.map_err(|e| e.to_string())?;
        let told = |r: usize| -> Value {
            let cell = |(d, v): &(Option<Arc<Vec<String>>>, Vec<f64>)| match d {
                Some(d) if !v[r].is_nan() => json!(d[v[r] as usize]),
                // JSON has no words for what is no number.
                _ => json!(v[r]),
            };
            scored.names().iter().cloned().zip(columns.iter().map(cell)).collect::<Map<_, _>>().into()
        };
        Ok((json!({"predictions": (0..rows.len()).map(told).collect::<Vec<_>>(), "notes": notes}), rows.len()))
    }

    /// Counts and durations in Prometheus' text format.
    fn metrics(&self) -> String {
        let c = &self.counts;
        let mut out = String::new();
        let mut put = |name: &str, help: &str, value: u64| {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}");
        };
        put("ochre_score_requests_total", "Requests to score.", c.requests.load(Relaxed));
        put("ochre_score_refused_total", "Requests that were refused.", c.refused.load(Relaxed));
        put("ochre_score_rows_total", "Rows scored.", c.rows.load(Relaxed));
        let name = "ochre_score_duration_seconds";
        let _ = writeln!(out, "# HELP {name} Time to answer a request.\n# TYPE {name} histogram");
        for (bound, n) in BUCKETS.iter().zip(&c.buckets) {
            let _ = writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {}", n.load(Relaxed));
        }
        let (n, sum) = (c.requests.load(Relaxed), c.microseconds.load(Relaxed) as f64 / 1e6);
        let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {n}\n{name}_sum {sum}\n{name}_count {n}");
        out
    }

    /// What the service takes and gives, in the words of OpenAPI 3.1.
    fn openapi(&self) -> Value {
        let column = |p: &ochre_model::Predictor| match &p.domain {
            Some(d) if d.len() <= 1000 => {
                json!({"type": ["string", "null"], "examples": d.iter().take(3).collect::<Vec<_>>(), "description": format!("one of {} levels", d.len())})
            }
            Some(_) => json!({"type": ["string", "null"]}),
            None => json!({"type": ["number", "null"]}),
        };
        let mut row: Map<String, Value> = self.model.predictors.iter().map(|p| (p.name.clone(), column(p))).collect();
        if let Some(o) = &self.model.offset_column {
            row.insert(o.clone(), json!({"type": "number", "description": "the offset"}));
        }
        let list = |items: Value| json!({"type": "array", "items": items});
        let content = |schema: Value| json!({"application/json": {"schema": schema}});
        let request = json!({"type": "object", "required": ["rows"], "properties": {
            "rows": list(json!({"type": "object", "properties": row})),
            "contributions": {"type": "boolean", "default": false, "description": "what each column adds to the score, of tree models"},
        }});
        let reply = json!({"type": "object", "properties": {"predictions": list(json!({"type": "object"})), "notes": list(json!({"type": "string"}))}});
        let refusal = json!({"type": "object", "properties": {"error": {"type": "string"}}});
        json!({
            "openapi": "3.1.0",
            "info": {"title": format!("{} ({})", self.model.info.full_name, self.model.category.name()), "version": env!("CARGO_PKG_VERSION")},
            "paths": {
                "/score": {"post": {
                    "summary": "Scores rows.",
                    "requestBody": {"required": true, "content": content(request)},
                    "responses": {"200": {"description": "a prediction for each row", "content": content(reply)},
                                  "400": {"description": "what is wrong with the request", "content": content(refusal)}},
                }},
                "/ready": {"get": {"summary": "Answers once the model is loaded.", "responses": {"200": {"description": "ready"}}}},
                "/metrics": {"get": {"summary": "Counts for Prometheus.", "responses": {"200": {"description": "text"}}}},
            },
        })
    }
}

/// A number, also when it is told as text.
fn number(v: &Value) -> Option<f64> {
    match v {
        Value::Number(n) => n.as_f64(),
        Value::Bool(b) => Some(f64::from(u8::from(*b))),
        Value::String(s) => s.trim().parse().ok(),
        _ => None,
    }
}

fn answer(status: StatusCode, kind: &'static str, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}

async fn scored(State(scorer): State<Arc<Scorer>>, body: Bytes) -> Response {
    let started = Instant::now();
    let own = scorer.clone();
    let outcome = tokio::task::spawn_blocking(move || own.score(&body)).await.unwrap_or_else(|e| Err(format!("scoring failed: {e}")));
    let (c, took) = (&scorer.counts, started.elapsed());
    c.requests.fetch_add(1, Relaxed);
    c.microseconds.fetch_add(took.as_micros() as u64, Relaxed);
    for (bound, n) in BUCKETS.iter().zip(&c.buckets) {
        n.fetch_add(u64::from(took.as_secs_f64() <= *bound), Relaxed);
    }
    match outcome {
        Ok((body, rows)) => {
            c.rows.fetch_add(rows as u64, Relaxed);
            answer(StatusCode::OK, "application/json", body.to_string())
        }
        Err(why) => {
            c.refused.fetch_add(1, Relaxed);
            answer(StatusCode::BAD_REQUEST, "application/json", json!({ "error": why }).to_string())
        }
    }
}

/// Serves until the process is asked to end.
pub fn serve(scorer: Scorer, address: SocketAddr) -> Result<(), String> {
    let scorer = Arc::new(scorer);
    let router = Router::new()
        .route("/score", post(scored))
        .route("/ready", get(|| async { "ready" }))
        .route(
            "/metrics",
            get(|State(s): State<Arc<Scorer>>| async move { answer(StatusCode::OK, "text/plain; version=0.0.4", s.metrics()) }),
        )
        .route(
            "/openapi.json",
            get(|State(s): State<Arc<Scorer>>| async move { answer(StatusCode::OK, "application/json", s.openapi().to_string()) }),
        )
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(scorer.clone());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .map_err(|e| format!("{address} cannot be listened on: {e}; choose another with --port or --ip"))?;
        let bound = listener.local_addr().map_err(|e| e.to_string())?;
        eprintln!("{} ({}) scores at http://{bound}/score", scorer.model.info.full_name, scorer.model.category.name());
        let ended = async {
            let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).expect("signals can be caught");
            tokio::select! { _ = tokio::signal::ctrl_c() => {}, _ = term.recv() => {} }
        };
        axum::serve(listener, router).with_graceful_shutdown(ended).await.map_err(|e| e.to_string())
    })
}
