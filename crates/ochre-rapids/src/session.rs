//! Sessions and what they own; the primitives that name, change and remove frames.

use crate::parse::Ast;
use crate::{Apply, Env, Prim, Value, call};
use ochre_core::{Error, Frame, Node, Result};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A client's session: the temporaries it made.
#[derive(Default)]
pub struct Session {
    pub key: String,
    temporaries: Mutex<BTreeSet<String>>,
    pub properties: Mutex<BTreeMap<String, String>>,
}

#[derive(Default)]
pub struct Sessions {
    map: Mutex<BTreeMap<String, Arc<Session>>>,
}

impl Sessions {
    pub fn open(&self) -> Arc<Session> {
        let key = format!("_sid_{:04x}", ochre_core::Rng::fresh_seed() as u16);
        let mut map = self.map.lock();
        if let Some(s) = map.get(&key) {
            // Sixteen bits may repeat: then the name grows.
            let key = format!("{}{:x}", s.key, map.len());
            return map.entry(key.clone()).or_insert_with(|| Arc::new(Session { key, ..Session::default() })).clone();
        }
        map.entry(key.clone()).or_insert_with(|| Arc::new(Session { key, ..Session::default() })).clone()
    }

    /// The session of that key; made when there is none, since a client may outlive the server.
    pub fn get(&self, key: &str) -> Arc<Session> {
        self.map.lock().entry(key.into()).or_insert_with(|| Arc::new(Session { key: key.into(), ..Session::default() })).clone()
    }

    /// Ends a session and removes its temporaries.
    pub fn close(&self, node: &Node, key: &str) {
        if let Some(s) = self.map.lock().remove(key) {
            for name in s.temporaries.lock().iter() {
                let _ = node.store.remove(name);
            }
        }
    }

    pub fn clear(&self) {
        for s in self.map.lock().values() {
            s.temporaries.lock().clear();
        }
    }
}

pub const SESSION: &[Prim] = &[
    Prim { name: "tmp=", args: &["id", "frame"], apply: Apply::Special(tmp), help: "Names a frame that lives as long as its session." },
    Prim { name: "assign", args: &["id", "frame"], apply: Apply::Special(assign), help: "Names a frame for good." },
    Prim { name: "rm", args: &["id"], apply: Apply::Special(rm), help: "Removes a frame." },
    Prim { name: ",", args: &["..."], apply: Apply::Call(last), help: "Evaluates all, answers the last." },
    Prim { name: "rename", args: &["old", "new"], apply: Apply::Special(rename), help: "Gives something in the store another key." },
    call(
        "s3.generate.presigned.URL",
        &["path", "duration_ms"],
        |_, _| Err(Error::Unsupported("presigned URLs are not supported by this version of ochre".into())),
        "A URL that lets its holder read an object; not supported yet.",
    ),
    call(
        "mojo.pipeline.transform",
        &["pipeline", "frame", "allow_timestamps"],
        |_, _| Err(Error::Unsupported("pipelines of other products are not supported by this version of ochre".into())),
        "Scores a frame by a pipeline of Driverless AI; not supported.",
    ),
    call("ls", &[], ls, "Keys of everything in the store."),
    call("setproperty", &["name", "value"], set_property, "Sets a property of the session; answers the old value."),
    call("run_tool", &["tool", "arguments"], |_, _| Err(unsafe_tool("run_tool")), "Refused: it would run any code on the server."),
    call(
        "testing.setreadforbidden",
        &["paths"],
        |_, _| Err(unsafe_tool("testing.setreadforbidden")),
        "Refused: it would let any client change what the server may read.",
    ),
];

fn name(ast: &Ast) -> Result<String> {
    match ast {
        Ast::Name(n) | Ast::Str(n) => Ok(n.clone()),
        _ => Err(Error::invalid("a frame is named by an identifier")),
    }
}

fn put(env: &mut Env<'_>, args: &[Ast]) -> Result<(String, Arc<Frame>)> {
    let name = name(&args[0])?;
    let frame = match env.eval(&args[1])? {
        Value::Frame(f) => f,
        other => return Err(Error::invalid(format!("Expected a Frame but found {}", other.kind()))),
    };
    env.node.store.put_shared(&name, frame.clone())?;
    Ok((name, frame))
}

fn tmp(env: &mut Env<'_>, args: &[Ast]) -> Result<Value> {
    let (name, frame) = put(env, args)?;
    env.session.temporaries.lock().insert(name);
    Ok(Value::Frame(frame))
}

fn assign(env: &mut Env<'_>, args: &[Ast]) -> Result<Value> {
    let (name, frame) = put(env, args)?;
    env.session.temporaries.lock().remove(&name);
    Ok(Value::Frame(frame))
}

fn rename(env: &mut Env<'_>, args: &[Ast]) -> Result<Value> {
    let (old, new) = (name(&args[0])?, name(&args[1])?);
    match env.node.store.get::<ochre_model::Model>(&old) {
        // A model knows its own key.
        Ok(model) => {
            env.node.store.put(&new, model.copy(new.clone()))?;
            env.node.store.remove(&old)?;
        }
        Err(_) => env.node.store.rename(&old, &new)?,
    }
    let mut temporaries = env.session.temporaries.lock();
    if temporaries.remove(&old) {
        temporaries.insert(new);
    }
    Ok(Value::Num(f64::NAN))
}

fn rm(env: &mut Env<'_>, args: &[Ast]) -> Result<Value> {
    let name = name(&args[0])?;
    env.session.temporaries.lock().remove(&name);
    Ok(Value::Num(f64::from(ochre_model::remove_whole(&env.node.store, &name)?)))
}

fn last(_: &mut Env<'_>, mut values: Vec<Value>) -> Result<Value> {
    Ok(values.pop().unwrap_or(Value::Nothing))
}

fn ls(env: &mut Env<'_>, _: Vec<Value>) -> Result<Value> {
    let keys: Vec<Option<String>> = env.node.store.keys().into_iter().map(Some).collect();
    let column = crate::frames::to_enum(env, &keys)?;
    Value::one("key", column)
}

fn set_property(env: &mut Env<'_>, values: Vec<Value>) -> Result<Value> {
    let (name, value) = (values[0].text()?.to_string(), values[1].text()?.to_string());
    let old = env.session.properties.lock().insert(name.clone(), value);
    Ok(Value::Str(format!("Old values of {name} (per node): {}", old.unwrap_or_else(|| "null".into()))))
}

fn unsafe_tool(name: &str) -> Error {
    Error::Unsupported(format!("{name} is not supported: it would open the server to whoever can reach it"))
}
