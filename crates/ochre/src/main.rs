//! The `ochre` binary: flags, logs, and the commands.

mod convert;
mod doctor;
mod logs;
mod memory;
mod ready;
mod score;
mod scorer;
mod serve;
mod train;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Machine learning server that the official H2O clients speak to, and a command line that trains without any server.
#[derive(Parser)]
#[command(name = "ochre", version, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a server for H2O's Python and R clients.
    Serve(serve::Flags),
    /// Check what a cluster needs, from this machine, and say what is missing.
    Doctor(doctor::Flags),
    /// Ask a node whether it takes requests; ends with 1 and the reason when not.
    Ready(ready::Flags),
    /// Train a model on a CSV file, without any server.
    Train(train::Flags),
    /// Score a file with an exported model (MOJO), without any server.
    Score(score::Flags),
    /// Turn an exported model (MOJO) into an ONNX graph or the source of a Java class.
    Convert(convert::Flags),
}

/// H2O's spelling of flags, `-port 54321`, as this command line spells them.
fn h2o_spelling(args: impl Iterator<Item = String>) -> Vec<String> {
    let known = [
        "ip",
        "port",
        "name",
        "nthreads",
        "ice_root",
        "ice-root",
        "log_level",
        "log-level",
        "log-format",
        "max-mem",
        "compat-version",
        "flatfile",
    ];
    args.map(|a| match a.strip_prefix('-') {
        Some(n) if known.contains(&n) => format!("--{}", n.replace('_', "-")),
        _ => a,
    })
    .collect()
}

fn main() {
    memory::return_what_is_freed();
    // How a server starts the processes of users' functions; nothing for people.
    let outcome = if std::env::args().nth(1).as_deref() == Some(ochre_script::WORKER) {
        ochre_script::worker().map_err(|e| e.to_string())
    } else {
        match Cli::parse_from(h2o_spelling(std::env::args())).command {
            Command::Serve(f) => serve::run(f),
            Command::Doctor(f) => doctor::run(f),
            Command::Ready(f) => ready::run(f),
            Command::Train(f) => train::run(f),
            Command::Score(f) => score::run(f),
            Command::Convert(f) => convert::run(f),
        }
    };
    if let Err(message) = outcome {
        eprintln!("error: {message}");
        std::process::exit(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_mean_the_same() {
        let args = |t: &str| h2o_spelling(t.split(' ').map(str::to_string));
        assert_eq!(args("ochre serve -port 1 -ice_root /x"), args("ochre serve --port 1 --ice-root /x"));
    }
}
