//! Values of expressions.

use crate::{Prim, parse::Ast};
use ochre_core::{Column, Error, Frame, Result};
use std::sync::Arc;

#[derive(Clone)]
pub enum Value {
    Num(f64),
    Str(String),
    Nums(Vec<f64>),
    Strs(Vec<String>),
    Frame(Arc<Frame>),
    /// Frames that lie in the store: what each is, its key, and the frame.
    Frames(Vec<(String, String, Arc<Frame>)>),
    Prim(&'static Prim),
    Lambda(Arc<(Vec<String>, Ast)>),
    /// The argument was left out with `_`.
    Nothing,
}

impl Value {
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Num(_) => "a Number",
            Value::Str(_) => "a String",
            Value::Nums(_) => "a list of Numbers",
            Value::Strs(_) => "a list of Strings",
            Value::Frame(_) => "a Frame",
            Value::Frames(_) => "a map of Frames",
            Value::Prim(_) | Value::Lambda(_) => "a Function",
            Value::Nothing => "nothing",
        }
    }

    pub fn frame(self) -> Result<Arc<Frame>> {
        match self {
            Value::Frame(f) => Ok(f),
            other => Err(Error::invalid(format!("Expected a Frame but found {}", other.kind()))),
        }
    }

    pub fn num(&self) -> Result<f64> {
        match self {
            Value::Num(v) => Ok(*v),
            Value::Nums(v) if v.len() == 1 => Ok(v[0]),
            Value::Frame(f) if f.rows() == 1 && f.width() == 1 => f.column(0).value(0),
            other => Err(Error::invalid(format!("Expected a Number but found {}", other.kind()))),
        }
    }

    pub fn truth(&self) -> Result<bool> {
        self.num().map(|v| v != 0.0 && !v.is_nan())
    }

    pub fn text(&self) -> Result<&str> {
        match self {
            Value::Str(s) => Ok(s),
            Value::Strs(v) if v.len() == 1 => Ok(&v[0]),
            other => Err(Error::invalid(format!("Expected a String but found {}", other.kind()))),
        }
    }

    pub fn nums(&self) -> Result<Vec<f64>> {
        match self {
            Value::Num(v) => Ok(vec![*v]),
            Value::Nums(v) => Ok(v.clone()),
            Value::Nothing => Ok(vec![]),
            other => Err(Error::invalid(format!("Expected a list of Numbers but found {}", other.kind()))),
        }
    }

    pub fn texts(&self) -> Result<Vec<String>> {
        match self {
            Value::Str(v) => Ok(vec![v.clone()]),
            Value::Strs(v) => Ok(v.clone()),
            Value::Nums(v) if v.is_empty() => Ok(vec![]),
            Value::Nothing => Ok(vec![]),
            other => Err(Error::invalid(format!("Expected a list of Strings but found {}", other.kind()))),
        }
    }

    pub fn one(name: &str, column: Column) -> Result<Value> {
        Ok(Value::Frame(Arc::new(Frame::new(vec![name.into()], vec![column])?)))
    }

    pub fn new_frame(names: Vec<String>, columns: Vec<Column>) -> Result<Value> {
        Ok(Value::Frame(Arc::new(Frame::new(names, columns)?)))
    }
}

/// Column numbers that a selector names: numbers, names, or all when nothing is given. Negative numbers drop columns,
/// except in `cols_py`, where they count from the end.
pub fn columns(frame: &Frame, selector: &Value, from_end: bool) -> Result<Vec<usize>> {
    let by_name = |n: &str| {
        frame.find(n).ok_or_else(|| Error::invalid(format!("Column {n} not found among the {} of the frame", frame.names().len())))
    };
    match selector {
        Value::Str(n) => Ok(vec![by_name(n)?]),
        Value::Strs(v) => v.iter().map(|n| by_name(n)).collect(),
        Value::Nothing => Ok((0..frame.width()).collect()),
        Value::Num(_) | Value::Nums(_) => {
            let v = selector.nums()?;
            let width = frame.width() as f64;
            if from_end {
                // Numbers beyond the frame name no column, as the reference has it.
                return Ok(v
                    .iter()
                    .map(|i| if *i < 0.0 { i + width } else { *i })
                    .filter(|i| *i >= 0.0 && *i < width)
                    .map(|i| i as usize)
                    .collect());
            }
            if !v.is_empty() && v.iter().all(|i| *i < 0.0) {
                let dropped: Vec<usize> = v.iter().map(|i| (-i - 1.0) as usize).collect();
                return Ok((0..frame.width()).filter(|c| !dropped.contains(c)).collect());
            }
            match v.iter().find(|i| **i < 0.0 || **i >= width) {
                Some(i) => Err(Error::invalid(format!("Column {i} is out of range: the frame has {width} columns"))),
                None => Ok(v.iter().map(|i| *i as usize).collect()),
            }
        }
        other => Err(Error::invalid(format!("Columns are selected by number or name, not by {}", other.kind()))),
    }
}
