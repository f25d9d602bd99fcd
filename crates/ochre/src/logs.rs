//! The log: to standard error, as text or JSON lines, and into a buffer for `/3/Logs`.

use ochre_rest::LogBuffer;
use std::io::Write;
use std::sync::Arc;

#[derive(Clone)]
struct Tee(Arc<LogBuffer>);

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.push(String::from_utf8_lossy(bytes).trim_end().to_string());
        std::io::stderr().write_all(bytes)?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

pub fn start(level: &str, json: bool, buffer: Arc<LogBuffer>) -> Result<(), String> {
    let level = match level.to_ascii_lowercase().as_str() {
        "trace" | "trac" => "trace",
        "debug" | "debg" => "debug",
        "info" => "info",
        "warn" => "warn",
        "error" | "errr" | "fatal" | "fatl" => "error",
        other => return Err(format!("--log-level {other} is unknown; use trace, debug, info, warn or error")),
    };
    let filter = tracing_subscriber::EnvFilter::new(format!("{level},openraft=off,chitchat=warn,h2=warn"));
    let writer = move || Tee(buffer.clone());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(false).with_target(false);
    if json {
        builder.json().init()
    } else {
        builder.init()
    }
    Ok(())
}
