//! `POST /99/Rapids`.

use crate::route::{Ask, Reply, get, post};
use crate::wire::*;
use crate::{App, Failure};
use ochre_core::Error;
use ochre_rapids::{FAMILIES, Value as Answer};
use ochre_schema::{FrameKey, Value};

pub const ROUTES: &[crate::Route] = &[
    post("/99/Rapids", "rapidsExec", ("RapidsSchemaV3", "RapidsSchemaV3"), exec, "Evaluates an expression."),
    get("/99/Rapids/help", "rapidsHelp", ("RapidsHelpV3", "RapidsHelpV3"), help, "Every primitive with its arguments."),
];

fn exec(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: RapidsSchema = ask.decode()?;
    if let Some(id) = a.id.as_deref().filter(|i| !i.is_empty()) {
        return Err(Failure::precondition(format!("Field RapidsSchemaV3.id is deprecated and should not be set {id}")));
    }
    let text = a.ast.clone().ok_or_else(|| Error::invalid("ast is required: the expression to evaluate"))?;
    let session = app.sessions.get(a.session_id.or_else(|| ask.param("session_id").map(str::to_string)).as_deref().unwrap_or(""));
    match ochre_rapids::run(&app.node, &session, &text)? {
        Answer::Num(v) => Reply::schema(&RapidsNumber { scalar: v, ..RapidsNumber::default() }),
        Answer::Nums(v) => {
            let mut json = ochre_schema::object(&RapidsNumbers::default());
            json["scalar"] = Value::Array(v.into_iter().map(ochre_schema::number_json).collect());
            Reply::json(&json)
        }
        Answer::Str(s) => Reply::schema(&RapidsString { string: Some(s), ..RapidsString::default() }),
        Answer::Strs(s) => Reply::schema(&RapidsStrings { string: Some(s), ..RapidsStrings::default() }),
        Answer::Frame(f) => {
            // The key under which the frame lies, when it has one.
            let name = app.node.store.all::<ochre_core::Frame>().into_iter().find(|(_, g)| std::sync::Arc::ptr_eq(g, &f)).map(|(k, _)| k);
            let named = text
                .trim_start()
                .strip_prefix("(tmp= ")
                .or_else(|| text.trim_start().strip_prefix("(assign "))
                .and_then(|t| t.split_whitespace().next());
            let key = named
                .map(|n| n.trim_matches('"').to_string())
                .filter(|n| app.node.store.contains(n))
                .or(name)
                .unwrap_or_else(|| "None".into());
            Reply::schema(&RapidsFrame {
                key: Some(FrameKey(key)),
                num_rows: f.rows() as i64,
                num_cols: f.width() as i32,
                ..RapidsFrame::default()
            })
        }
        Answer::Frames(frames) => {
            let one = |(_, key, f): &(String, String, std::sync::Arc<ochre_core::Frame>)| RapidsFrame {
                key: Some(FrameKey(key.clone())),
                num_rows: f.rows() as i64,
                num_cols: f.width() as i32,
                ..RapidsFrame::default()
            };
            Reply::schema(&RapidsMapFrame {
                frames: Some(frames.iter().map(one).collect()),
                map_keys: Some(RapidsStrings { string: Some(frames.into_iter().map(|f| f.0).collect()), ..RapidsStrings::default() }),
                ..RapidsMapFrame::default()
            })
        }
        Answer::Nothing => Reply::schema(&RapidsNumber { scalar: f64::NAN, ..RapidsNumber::default() }),
        f => Reply::schema(&RapidsFunction {
            funstr: Some(match f {
                Answer::Prim(p) => p.name.to_string(),
                _ => text,
            }),
            ..RapidsFunction::default()
        }),
    }
}

fn help(_: &App, _: &Ask) -> Result<Reply, Failure> {
    let rows: Vec<Value> = FAMILIES
        .iter()
        .flat_map(|(family, prims)| {
            prims.iter().map(move |p| serde_json::json!({"name": p.name, "family": family, "args": p.args, "description": p.help}))
        })
        .collect();
    Reply::json(&serde_json::json!({"__meta": {"schema_version": 3, "schema_name": "RapidsHelpV3", "schema_type": "Iced"}, "syntax": rows}))
}
