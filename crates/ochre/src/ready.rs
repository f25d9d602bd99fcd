//! `ochre ready`: what a health check asks, without a tool of its own in the image.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

#[derive(clap::Args)]
pub struct Flags {
    /// Address of the node, such as http://127.0.0.1:54321
    #[arg(long, default_value = "http://127.0.0.1:54321")]
    url: String,
}

pub fn run(f: Flags) -> Result<(), String> {
    let host = f.url.strip_prefix("http://").unwrap_or(&f.url).trim_end_matches('/');
    // In a container the node listens on the container's address, not on loopback.
    let own = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let port = host.rsplit(':').next().unwrap_or("54321");
    let mut last = String::new();
    for at in [host.to_string(), format!("{}:{port}", own.trim())] {
        match ask(&at) {
            Ok((200, _)) => return Ok(()),
            Ok((status, body)) => return Err(format!("{at} answered {status}: {body}")),
            Err(e) => last = format!("{at}: {e}"),
        }
    }
    Err(last)
}

fn ask(at: &str) -> Result<(u16, String), String> {
    let address = at.to_socket_addrs().map_err(|e| e.to_string())?.next().ok_or("no such address")?;
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).map_err(|e| e.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).map_err(|e| e.to_string())?;
    write!(stream, "GET /3/Ready HTTP/1.0\r\nHost: {at}\r\n\r\n").map_err(|e| e.to_string())?;
    let mut text = String::new();
    stream.read_to_string(&mut text).map_err(|e| e.to_string())?;
    let status = text.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or("not an answer of HTTP")?;
    let body: serde_json::Value = serde_json::from_str(text.split("\r\n\r\n").nth(1).unwrap_or("")).unwrap_or_default();
    Ok((status, body["msg"].as_str().unwrap_or("").trim().to_string()))
}
