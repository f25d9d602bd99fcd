//! A script's own process: an interpreter with the script loaded, which answers what the server asks until it asks no
//! more.

use crate::interpreter::{Argument, Loaded};
use crate::{MetricRow, Text, wire};
use ochre_core::{Error, Result};
use rustpython_vm::{Interpreter, Settings};
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::parent_id;
use std::time::Duration;

/// Most bytes of data that the process may have.
pub const MEMORY_MAX: u64 = 256 << 20;
/// Bytes of the interpreter's stack: as deep as the interpreter lets functions call each other.
const STACK: usize = 32 << 20;

/// What a script is asked. Everything is answered with numbers, or with why there are none.
#[derive(Serialize, Deserialize)]
pub enum Question {
    /// Has the class these methods? No numbers are the answer.
    Require(Vec<String>),
    /// `map` of each row, and `reduce` from first to last; at least one row.
    MapReduce(Vec<MetricRow>),
    /// `reduce` from first to last; at least one list.
    Reduce(Vec<Vec<f64>>),
    /// A method of one list.
    OfList(String, Vec<f64>),
    /// A method of each row of these columns, and how many numbers it answers.
    OfRows(String, Vec<Vec<f64>>, usize),
    /// A method of nothing, which answers a text.
    Text(String),
}

pub type Answer = std::result::Result<Reply, String>;

#[derive(Serialize, Deserialize)]
pub enum Reply {
    Numbers(Vec<f64>),
    Text(String),
}

/// The life of the process: the link to the server is its standard input.
pub fn live() -> Result<()> {
    let failed = |e: std::io::Error| Error::Internal(e.to_string());
    let link = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().map_err(failed)?);
    let thread = |name: &str| std::thread::Builder::new().name(name.into());
    // A script in an endless loop does not notice that the server is gone.
    let server = parent_id();
    let watch = move || {
        while parent_id() == server {
            std::thread::sleep(Duration::from_secs(1));
        }
        std::process::exit(0);
    };
    thread("watch").spawn(watch).map_err(failed)?;
    let interpreter = thread("script").stack_size(STACK).spawn(move || answer_all(link)).map_err(failed)?;
    let limit = rustix::process::Rlimit { current: Some(MEMORY_MAX), maximum: Some(MEMORY_MAX) };
    rustix::process::setrlimit(rustix::process::Resource::Data, limit).map_err(|e| failed(e.into()))?;
    interpreter.join().map_err(|_| Error::Internal("the interpreter panicked".into()))?
}

/// The next message; nothing when the server closed the link.
fn next(link: &mut UnixStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    link.read_exact(&mut length).ok()?;
    let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
    link.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

fn answer_all(mut link: UnixStream) -> Result<()> {
    let Some(text) = next(&mut link) else { return Ok(()) };
    let text: Text = wire::read(&text)?;
    let mut settings = Settings::default();
    settings.hash_seed = Some(0);
    Interpreter::without_stdlib(settings).enter(|vm| {
        let loaded = Loaded::load(vm, &text);
        while let Some(question) = next(&mut link) {
            let question: Question = wire::read(&question)?;
            let answer: Answer = match &loaded {
                Ok(l) => answer(l, question),
                Err(why) => Err(why.clone()),
            };
            if link.write_all(&wire::message(&answer)?).is_err() {
                break;
            }
        }
        Ok(())
    })
}

fn answer(loaded: &Loaded<'_>, question: Question) -> Answer {
    let mut out = vec![];
    match question {
        Question::Require(methods) => loaded.require(&methods)?,
        Question::MapReduce(rows) => out = loaded.map_reduce(&rows)?,
        Question::Reduce(parts) => out = loaded.reduce(&parts)?,
        Question::OfList(method, list) => loaded.numbers(&method, &[Argument::List(&list)], 1, &mut out)?,
        Question::OfRows(method, columns, width) => {
            for r in 0..columns.first().map_or(0, Vec::len) {
                let row: Vec<Argument<'_>> = columns.iter().map(|c| Argument::Number(c[r])).collect();
                loaded.numbers(&method, &row, width, &mut out)?;
            }
        }
        Question::Text(method) => return loaded.text(&method).map(Reply::Text),
    }
    Ok(Reply::Numbers(out))
}
