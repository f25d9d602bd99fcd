//! Threads that each have an interpreter with the script loaded.

use crate::{MetricRow, limit, prelude};
use ochre_core::{Error, Result};
use rustpython_vm as py;
use rustpython_vm::builtins::{PyBaseExceptionRef, PyList, PyTuple};
use rustpython_vm::function::FuncArgs;
use rustpython_vm::{AsObject, Interpreter, PyObjectRef, PyResult, VirtualMachine};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// How often somebody who waits for a script looks whether it shall still run.
const LOOK: Duration = Duration::from_millis(50);
/// Most threads of one script.
const THREADS_MAX: usize = 16;

type Task = Box<dyn FnOnce(&std::result::Result<Loaded<'_>, String>) + Send>;

/// The threads of a script. They end when it does.
pub struct Workers {
    tasks: Sender<Task>,
    stop: Arc<AtomicBool>,
    /// A thread asked for more memory than it may have, and is lost.
    greedy: Arc<AtomicBool>,
}

impl Drop for Workers {
    fn drop(&mut self) {
        // Whoever still runs is not waited for by anybody.
        self.stop.store(true, Relaxed);
    }
}

impl Workers {
    pub fn start(source: String, file: String, class: String) -> Result<Workers> {
        let (tasks, queue) = channel::<Task>();
        let queue = Arc::new(parking_lot::Mutex::new(queue));
        let (stop, greedy) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(THREADS_MAX);
        for _ in 0..threads {
            let (queue, stop, greedy) = (queue.clone(), stop.clone(), greedy.clone());
            let (source, file, class) = (source.clone(), file.clone(), class.clone());
            std::thread::Builder::new()
                .name("ochre-script".into())
                .stack_size(16 << 20)
                .spawn(move || limit::within(&greedy, || serve(&queue, &stop, &source, &file, &class)))
                .map_err(|e| Error::Internal(format!("cannot start a thread for a custom function: {e}")))?;
        }
        Ok(Workers { tasks, stop, greedy })
    }

    /// Runs pieces of work; gives up when `ended` says so.
    pub fn run<W: Send + 'static, T: Send + 'static>(
        &self,
        work: Vec<W>,
        f: impl Fn(&Loaded<'_>, W) -> std::result::Result<T, String> + Send + Sync + 'static,
        ended: &dyn Fn() -> Result<()>,
    ) -> Result<Vec<std::result::Result<T, String>>> {
        let (done, results) = channel();
        let f = Arc::new(f);
        let n = work.len();
        for (i, w) in work.into_iter().enumerate() {
            let (f, done) = (f.clone(), done.clone());
            let task: Task = Box::new(move |loaded| {
                let answer = match loaded {
                    Ok(l) => f(l, w),
                    Err(why) => Err(why.clone()),
                };
                let _ = done.send((i, answer));
            });
            self.tasks.send(task).map_err(|_| gone())?;
        }
        drop(done);
        let mut out: Vec<Option<std::result::Result<T, String>>> = (0..n).map(|_| None).collect();
        for _ in 0..n {
            let (i, answer) = loop {
                match results.recv_timeout(LOOK) {
                    Ok(r) => break r,
                    Err(RecvTimeoutError::Disconnected) => return Err(gone()),
                    Err(RecvTimeoutError::Timeout) if self.greedy.load(Relaxed) => {
                        let most = limit::BYTES_MAX >> 20;
                        return Err(Error::invalid(format!("a custom function asked for more than {most} MiB of memory")));
                    }
                    Err(RecvTimeoutError::Timeout) => {
                        if let Err(e) = ended() {
                            self.stop.store(true, Relaxed);
                            return Err(e);
                        }
                    }
                }
            };
            out[i] = Some(answer);
        }
        Ok(out.into_iter().flatten().collect())
    }
}

fn gone() -> Error {
    Error::Internal("a thread of a custom function died".into())
}

/// Loads the script and does what is asked until nobody asks any more.
fn serve(queue: &parking_lot::Mutex<Receiver<Task>>, stop: &Arc<AtomicBool>, source: &str, file: &str, class: &str) {
    let mut settings = py::Settings::default();
    settings.hash_seed = Some(0);
    let interpreter = Interpreter::without_stdlib(settings);
    interpreter.enter(|vm| {
        let loaded = Loaded::load(vm, stop, source, file, class);
        loop {
            // One waits for the next task with the lock held, the others for the lock.
            let task = queue.lock().recv();
            let Ok(task) = task else { break };
            task(&loaded);
        }
    });
}

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
impl From<f64> for Argument<'_> {
    fn from(v: f64) -> Self {
        Argument::Number(v)
    }
}
impl<'a> From<&'a [f64]> for Argument<'a> {
    fn from(v: &'a [f64]) -> Self {
        Argument::List(v)
    }
}

type Answer<T> = std::result::Result<T, String>;

impl<'a> Loaded<'a> {
    fn load(vm: &'a VirtualMachine, stop: &Arc<AtomicBool>, source: &str, file: &'a str, class: &str) -> Answer<Loaded<'a>> {
        let told = |e: PyBaseExceptionRef| told(vm, file, e);
        prelude::install(vm).map_err(told)?;
        watch(vm, stop);
        let scope = vm.new_scope_with_builtins();
        scope.globals.set_item("__name__", vm.ctx.new_str("script").into(), vm).map_err(told)?;
        let code = vm.compile(source, py::compiler::Mode::Exec, file.to_string()).map_err(|e| format!("{file} is not Python: {e}"))?;
        vm.run_code_obj(code, scope.clone()).map_err(told)?;
        let class_object = scope.globals.get_item(class, vm).map_err(|_| format!("{file} has no class {class}"))?;
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
    pub fn map_reduce(&self, rows: &[MetricRow]) -> Answer<Option<Vec<f64>>> {
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
        total
            .map(|t| {
                let mut out = vec![];
                self.read(&t, "map", &mut out).map(|_| out)
            })
            .transpose()
    }

    pub fn reduce(&self, parts: &[Vec<f64>]) -> Answer<Vec<f64>> {
        let reduce = self.method("reduce")?;
        let mut total = parts[0].clone();
        for p in &parts[1..] {
            let answer = self.ask(&reduce, &[total.as_slice().into(), p.as_slice().into()])?;
            total.clear();
            self.read(&answer, "reduce", &mut total)?;
        }
        Ok(total)
    }

    pub fn number(&self, method: &str, arguments: &[Argument<'_>]) -> Answer<f64> {
        let mut out = vec![];
        self.numbers(method, arguments, 1, &mut out)?;
        Ok(out[0])
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

/// Ends the script between two lines once somebody wants it to end.
fn watch(vm: &VirtualMachine, stop: &Arc<AtomicBool>) {
    let stop = stop.clone();
    let ticks = Cell::new(0u32);
    let look = move |_: FuncArgs, vm: &VirtualMachine| -> PyResult<bool> {
        ticks.set(ticks.get().wrapping_add(1));
        if ticks.get() % 64 == 0 && stop.load(Relaxed) {
            return Err(vm.new_runtime_error("stopped".to_string()));
        }
        Ok(true)
    };
    *vm.trace_func.borrow_mut() = vm.new_function("watch", look).into();
    vm.use_tracing.set(true);
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
