//! An interpreter that has loaded a script.

use crate::{MetricRow, Text, prelude};
use rustpython_vm as py;
use rustpython_vm::builtins::{PyBaseExceptionRef, PyList, PyTuple};
use rustpython_vm::function::FuncArgs;
use rustpython_vm::{AsObject, PyObjectRef, VirtualMachine};

/// An instance of the user's class.
pub struct Loaded<'a> {
    vm: &'a VirtualMachine,
    object: PyObjectRef,
    file: &'a str,
}

/// What a method is called with.
#[derive(Clone, Copy)]
pub enum Argument<'a> {
    Number(f64),
    List(&'a [f64]),
}
type Answer<T> = std::result::Result<T, String>;

impl<'a> Loaded<'a> {
    pub fn load(vm: &'a VirtualMachine, text: &'a Text) -> Answer<Loaded<'a>> {
        let Text { source, file, class, .. } = text;
        let told = |e: PyBaseExceptionRef| told(vm, file, e);
        prelude::install(vm).map_err(told)?;
        let scope = vm.new_scope_with_builtins();
        scope.globals.set_item("__name__", vm.ctx.new_str("script").into(), vm).map_err(told)?;
        let code = vm.compile(source, py::compiler::Mode::Exec, file.to_string()).map_err(|e| format!("{file} is not Python: {e}"))?;
        vm.run_code_obj(code, scope.clone()).map_err(told)?;
        let class_object = scope.globals.get_item(class.as_str(), vm).map_err(|_| format!("{file} has no class {class}"))?;
        let object = class_object.call((), vm).map_err(told)?;
        Ok(Loaded { vm, object, file })
    }

    /// Has the class these methods?
    pub fn require(&self, methods: &[String]) -> Answer<()> {
        match methods.iter().find(|m| !self.object.get_attr(&self.vm.ctx.new_str(m.as_str()), self.vm).is_ok_and(|m| m.is_callable())) {
            Some(m) => Err(format!("the class has no method {m}; it needs {}", methods.join(", "))),
            None => Ok(()),
        }
    }

    fn method(&self, name: &str) -> Answer<PyObjectRef> {
        self.object.get_attr(&self.vm.ctx.new_str(name), self.vm).map_err(|e| told(self.vm, self.file, e))
    }

    fn list(&self, values: &[f64]) -> PyObjectRef {
        self.vm.ctx.new_list(values.iter().map(|v| self.vm.ctx.new_float(*v).into()).collect()).into()
    }

    fn ask(&self, method: &PyObjectRef, arguments: &[Argument<'_>]) -> Answer<PyObjectRef> {
        let arguments: Vec<PyObjectRef> = arguments
            .iter()
            .map(|a| match a {
                Argument::Number(v) => self.vm.ctx.new_float(*v).into(),
                Argument::List(v) => self.list(v),
            })
            .collect();
        method.call(FuncArgs::from(arguments), self.vm).map_err(|e| told(self.vm, self.file, e))
    }

    /// A number, or the numbers of a list.
    fn read(&self, value: &PyObjectRef, method: &str, out: &mut Vec<f64>) -> Answer<usize> {
        let number = |v: &PyObjectRef| -> Answer<f64> {
            v.try_float(self.vm)
                .map(|f| f.to_f64())
                .map_err(|_| format!("{method} answers a value of type {}, which is no number", v.class().name()))
        };
        let before = out.len();
        if let Some(list) = value.downcast_ref::<PyList>() {
            for v in list.borrow_vec().iter() {
                out.push(number(v)?);
            }
        } else if let Some(tuple) = value.downcast_ref::<PyTuple>() {
            for v in tuple.iter() {
                out.push(number(v)?);
            }
        } else {
            out.push(number(value)?);
        }
        Ok(out.len() - before)
    }

    /// `map` of each row, and `reduce` from first to last.
    pub fn map_reduce(&self, rows: &[MetricRow]) -> Answer<Vec<f64>> {
        let (map, reduce) = (self.method("map")?, self.method("reduce")?);
        let none = self.vm.ctx.none();
        let mut total: Option<PyObjectRef> = None;
        for row in rows {
            let arguments = vec![
                self.list(&row.predictions),
                self.list(&row.actual),
                self.vm.ctx.new_float(row.weight).into(),
                self.vm.ctx.new_float(row.offset).into(),
                none.clone(),
            ];
            let one = map.call(FuncArgs::from(arguments), self.vm).map_err(|e| told(self.vm, self.file, e))?;
            total = Some(match total {
                None => one,
                Some(t) => reduce.call((t, one), self.vm).map_err(|e| told(self.vm, self.file, e))?,
            });
        }
        let mut out = vec![];
        if let Some(total) = total {
            self.read(&total, "map", &mut out)?;
        }
        Ok(out)
    }

    pub fn reduce(&self, parts: &[Vec<f64>]) -> Answer<Vec<f64>> {
        let reduce = self.method("reduce")?;
        let mut total = parts[0].clone();
        for p in &parts[1..] {
            let answer = self.ask(&reduce, &[Argument::List(&total), Argument::List(p)])?;
            total.clear();
            self.read(&answer, "reduce", &mut total)?;
        }
        Ok(total)
    }

    pub fn numbers(&self, method: &str, arguments: &[Argument<'_>], width: usize, out: &mut Vec<f64>) -> Answer<()> {
        let answer = self.ask(&self.method(method)?, arguments)?;
        match self.read(&answer, method, out)? {
            n if n == width => Ok(()),
            n => Err(format!("{method} answers {n} numbers where {width} are wanted")),
        }
    }

    pub fn text(&self, method: &str) -> Answer<String> {
        let answer = self.ask(&self.method(method)?, &[])?;
        answer.str(self.vm).map(|s| s.to_string()).map_err(|e| told(self.vm, self.file, e))
    }
}

/// An exception in words: kind, text, and the line of the script.
fn told(vm: &VirtualMachine, file: &str, e: PyBaseExceptionRef) -> String {
    let text = e.as_object().str(vm).map_or_else(|_| String::new(), |s| s.to_string());
    let mut line = None;
    let mut at = e.__traceback__();
    while let Some(t) = at {
        line = Some(t.lineno.get());
        at = t.next.lock().clone();
    }
    let place = line.map_or(String::new(), |l| format!(" (line {l} of {file})"));
    format!("{}: {text}{place}", e.class().name())
}
