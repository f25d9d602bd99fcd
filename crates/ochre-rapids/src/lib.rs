//! Rapids, the expression language in which the clients do their data work.
//!
//! A running example: `(tmp= py_1 (rows prostate (> (cols_py prostate "AGE") 65)))` parses into a call of `tmp=` on a
//! name and a call of `rows`; primitives come from the tables in this crate, names from the store, and the frame is
//! kept under `py_1` until the session ends.
//!
//! This crate must not know REST, nor any algorithm.

pub mod assembly;
mod dates;
mod frames;
mod gaps;
mod group;
mod join;
mod levels;
mod math;
mod models;
mod parse;
mod ranges;
mod reduce;
mod reshape;
mod session;
mod shuffle;
mod special;
mod statistics;
mod text;
mod value;
mod words;

pub use session::{Session, Sessions};
pub use value::Value;

use ochre_core::{Error, Node, Result};
use parse::Ast;
use std::collections::HashMap;
use std::sync::Arc;

/// A primitive: name, arguments, what it does, and an example that the tests run.
pub struct Prim {
    pub name: &'static str,
    /// Argument names; one ending in `?` may be left out, `...` takes any number.
    pub args: &'static [&'static str],
    pub apply: Apply,
    pub help: &'static str,
}

pub enum Apply {
    /// Each value of a frame, or a number.
    Unary(fn(f64) -> f64),
    /// Two frames or numbers, value by value; missing when either is.
    Binary(fn(f64, f64) -> f64),
    /// As `Binary`, but what missing values mean is the function's affair.
    Logical(fn(f64, f64) -> f64),
    Call(fn(&mut Env<'_>, Vec<Value>) -> Result<Value>),
    /// Gets its arguments unevaluated.
    Special(fn(&mut Env<'_>, &[Ast]) -> Result<Value>),
}

pub const fn call(
    name: &'static str,
    args: &'static [&'static str],
    f: fn(&mut Env<'_>, Vec<Value>) -> Result<Value>,
    help: &'static str,
) -> Prim {
    Prim { name, args, apply: Apply::Call(f), help }
}

/// Every primitive, by family.
pub const FAMILIES: &[(&str, &[Prim])] = &[
    ("math", math::UNARY),
    ("operators", math::BINARY),
    ("reducers", reduce::REDUCERS),
    ("frames", frames::FRAMES),
    ("categories", levels::LEVELS),
    ("missing values", gaps::GAPS),
    ("groups", group::GROUPS),
    ("joins", join::JOINS),
    ("shapes", reshape::SHAPES),
    ("statistics", statistics::STATISTICS),
    ("text", text::TEXT),
    ("words", words::WORDS),
    ("dates", dates::DATES),
    ("models", models::MODELS),
    ("session", session::SESSION),
];

pub fn find(name: &str) -> Option<&'static Prim> {
    static BY_NAME: std::sync::OnceLock<HashMap<&'static str, &'static Prim>> = std::sync::OnceLock::new();
    BY_NAME.get_or_init(|| FAMILIES.iter().flat_map(|(_, p)| p.iter()).map(|p| (p.name, p)).collect()).get(name).copied()
}

/// Where an expression is evaluated.
pub struct Env<'a> {
    pub node: &'a Arc<Node>,
    pub session: &'a Session,
    scopes: Vec<HashMap<String, Value>>,
    depth: usize,
    /// Is a function of rows being called, for one row after the other?
    pub by_row: bool,
}

/// Deeper nesting is refused rather than run out of stack.
const DEPTH_MAX: usize = 200;

/// Parses and evaluates one expression.
pub fn run(node: &Arc<Node>, session: &Session, text: &str) -> Result<Value> {
    let ast = parse::parse(text)?;
    let mut env = Env::new(node, session);
    node.runner.install(|| env.eval(&ast))
}

impl<'a> Env<'a> {
    fn new(node: &'a Arc<Node>, session: &'a Session) -> Env<'a> {
        Env { node, session, scopes: vec![], depth: 0, by_row: false }
    }
}

impl Env<'_> {
    pub fn eval(&mut self, ast: &Ast) -> Result<Value> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Error::invalid(format!("the expression is nested deeper than {DEPTH_MAX} levels")));
        }
        let out = self.eval_inner(ast);
        self.depth -= 1;
        out
    }

    fn eval_inner(&mut self, ast: &Ast) -> Result<Value> {
        match ast {
            Ast::Num(v) => Ok(Value::Num(*v)),
            Ast::Str(s) => Ok(Value::Str(s.clone())),
            Ast::Nums(v) => Ok(Value::Nums(v.clone())),
            Ast::Strs(v) => Ok(Value::Strs(v.clone())),
            Ast::Name(n) => self.lookup(n),
            Ast::Lambda { args, body } => Ok(Value::Lambda(Arc::new((args.clone(), (**body).clone())))),
            Ast::Call { function, args } => {
                let f = self.eval(function)?;
                match f {
                    Value::Prim(p) => self.apply(p, args),
                    Value::Lambda(l) => {
                        let values = args.iter().map(|a| self.eval(a)).collect::<Result<Vec<_>>>()?;
                        self.call_lambda(&l, values)
                    }
                    other => Err(Error::invalid(format!("{} is not a function", other.kind()))),
                }
            }
        }
    }

    pub fn call_lambda(&mut self, lambda: &(Vec<String>, Ast), values: Vec<Value>) -> Result<Value> {
        if lambda.0.len() != values.len() {
            return Err(Error::invalid(format!("a function of {} arguments was called with {}", lambda.0.len(), values.len())));
        }
        self.scopes.push(lambda.0.iter().cloned().zip(values).collect());
        let out = self.eval(&lambda.1);
        self.scopes.pop();
        out
    }

    /// Calls a function value with evaluated arguments.
    pub fn call(&mut self, f: &Value, values: Vec<Value>) -> Result<Value> {
        match f {
            Value::Lambda(l) => self.call_lambda(&l.clone(), values),
            Value::Prim(p) => self.apply_values(p, values),
            other => Err(Error::invalid(format!("{} is not a function", other.kind()))),
        }
    }

    fn apply(&mut self, p: &'static Prim, args: &[Ast]) -> Result<Value> {
        if let Apply::Special(f) = p.apply {
            check_count(p, args.len())?;
            return f(self, args);
        }
        let values = args.iter().map(|a| self.eval(a)).collect::<Result<Vec<_>>>()?;
        self.apply_values(p, values)
    }

    fn apply_values(&mut self, p: &'static Prim, mut values: Vec<Value>) -> Result<Value> {
        check_count(p, values.len())?;
        match p.apply {
            Apply::Unary(f) => math::unary(self, p.name, f, values.remove(0)),
            Apply::Binary(f) => math::binary(self, p.name, f, false, values.remove(0), values.remove(0)),
            Apply::Logical(f) => math::binary(self, p.name, f, true, values.remove(0), values.remove(0)),
            Apply::Call(f) => f(self, values),
            Apply::Special(_) => Err(Error::invalid(format!("{} cannot be passed as a function", p.name))),
        }
    }

    pub fn lookup(&self, name: &str) -> Result<Value> {
        match name {
            "True" | "TRUE" | "true" => return Ok(Value::Num(1.0)),
            "False" | "FALSE" | "false" => return Ok(Value::Num(0.0)),
            "NaN" | "NA" | "nan" => return Ok(Value::Num(f64::NAN)),
            "PI" | "Pi" => return Ok(Value::Num(std::f64::consts::PI)),
            "_" => return Ok(Value::Nothing),
            _ => {}
        }
        for scope in self.scopes.iter().rev() {
            if let Some(v) = scope.get(name) {
                return Ok(v.clone());
            }
        }
        if self.node.store.type_of(name) == Some("Frame") {
            return self.node.store.frame(name).map(Value::Frame);
        }
        if let Some(p) = find(name) {
            return Ok(Value::Prim(p));
        }
        if let Some(found) = self.node.store.type_of(name) {
            return Err(Error::WrongType { key: name.into(), wanted: "Frame", found });
        }
        Err(Error::invalid(format!("Name lookup of '{name}' failed")))
    }
}

fn check_count(p: &Prim, given: usize) -> Result<()> {
    let least = p.args.iter().filter(|a| !a.ends_with('?') && **a != "...").count();
    let most = if p.args.contains(&"...") { usize::MAX } else { p.args.len() };
    if given < least || given > most {
        return Err(Error::invalid(format!(
            "Incorrect number of arguments; '{}' expects {} ({}) but was passed {given}",
            p.name,
            least,
            p.args.join(" ")
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
