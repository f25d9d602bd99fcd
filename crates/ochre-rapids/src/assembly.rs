//! Assemblies: steps that prepare a frame, each an expression over a frame that it calls `dummy`.
//!
//! A step selects columns, or computes one from the frame, which then takes the place of the column it was computed from or
//! is added under a name of its own.

use crate::parse::{self, Ast};
use crate::{Env, Session, Value};
use ochre_core::{Error, Frame, Node, Result, Stored};
use std::sync::Arc;

/// The frame in a step's expression.
const FRAME: &str = "dummy";

pub struct Step {
    pub name: String,
    selects: bool,
    expression: Ast,
    in_place: bool,
    new_names: Vec<String>,
}

/// Steps that were applied to a frame, under the key that they are asked for by.
pub struct Assembly {
    pub steps: Vec<Step>,
}

impl Stored for Assembly {
    const TYPE: &'static str = "Assembly";
}

/// The columns that an expression takes from the frame, in the order in which it names them.
fn columns_of(ast: &Ast, out: &mut Vec<String>) {
    if let Ast::Call { function, args } = ast {
        if **function == Ast::Name("cols_py".into()) {
            match args.get(1) {
                Some(Ast::Str(s)) => out.push(s.clone()),
                Some(Ast::Strs(s)) => out.extend(s.iter().cloned()),
                _ => {}
            }
        }
        args.iter().for_each(|a| columns_of(a, out));
    }
}

impl Step {
    /// A step as clients tell it: `name__kind__expression__in place__names`, with `|` between names and for none.
    pub fn read(text: &str) -> Result<Step> {
        let parts: Vec<&str> = text.split("__").collect();
        let [name, kind, expression, in_place, names] = parts[..] else {
            return Err(Error::invalid(format!(
                "the step '{text}' is not told as name__kind__expression__inplace__names; names must not hold two underlines in a row"
            )));
        };
        let selects = match kind {
            "H2OColSelect" => true,
            "H2OColOp" | "H2OBinaryOp" => false,
            _ => {
                return Err(Error::Unsupported(format!(
                    "step '{name}' is of the kind {kind}, which is not supported by this version of ochre: H2OColSelect, H2OColOp and H2OBinaryOp are"
                )));
            }
        };
        let new_names = names.split('|').filter(|n| !n.is_empty()).map(str::to_string).collect();
        Ok(Step { name: name.into(), selects, expression: parse::parse(expression)?, in_place: in_place == "True", new_names })
    }

    fn apply(&self, env: &mut Env<'_>, frame: Arc<Frame>) -> Result<Arc<Frame>> {
        let made = env.call_lambda(&(vec![FRAME.into()], self.expression.clone()), vec![Value::Frame(frame.clone())])?.frame()?;
        if self.selects {
            return Ok(made);
        }
        if made.rows() != frame.rows() {
            return Err(Error::invalid(format!(
                "step '{}' makes {} rows of {}; a step keeps the number of rows",
                self.name,
                made.rows(),
                frame.rows()
            )));
        }
        let mut used = vec![];
        columns_of(&self.expression, &mut used);
        let (mut names, mut columns) = (frame.names().to_vec(), frame.columns().to_vec());
        for (i, column) in made.columns().iter().enumerate() {
            let from = used.get(i).or(used.first()).cloned().unwrap_or_else(|| made.names()[i].clone());
            match names.iter().position(|n| *n == from).filter(|_| self.in_place) {
                Some(at) => columns[at] = column.clone(),
                None => {
                    let fresh = || (0..).map(|k| format!("{from}{k}")).find(|n| !names.contains(n)).expect("some number is free");
                    let name = self.new_names.get(i).cloned().unwrap_or_else(fresh);
                    names.push(name);
                    columns.push(column.clone());
                }
            }
        }
        Ok(Arc::new(Frame::new(names, columns)?))
    }
}

/// Applies the steps one after the other.
pub fn fit(node: &Arc<Node>, session: &Session, frame: Arc<Frame>, steps: &[Step]) -> Result<Arc<Frame>> {
    let mut env = Env::new(node, session);
    node.runner.install(|| {
        steps.iter().try_fold(frame, |frame, step| {
            step.apply(&mut env, frame).map_err(|e| Error::invalid(format!("step '{}' of the assembly: {e}", step.name)))
        })
    })
}
