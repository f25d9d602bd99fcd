//! Files from web servers, copied to a file of this machine before they are parsed.

use crate::RawFile;
use ochre_core::{Error, Result};
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// Looks names up and leaves out addresses at which machines of a cloud find their own passwords.
#[derive(Debug, Default)]
struct Outside(DefaultResolver);

fn is_refused(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(a) => a.is_link_local(),
        IpAddr::V6(a) => a.is_unicast_link_local() || a.to_ipv4_mapped().is_some_and(|a| a.is_link_local()),
    }
}

impl Resolver for Outside {
    fn resolve(
        &self,
        uri: &Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> std::result::Result<ResolvedSocketAddrs, ureq::Error> {
        let all = self.0.resolve(uri, config, timeout)?;
        let mut kept = self.empty();
        all.iter().filter(|a| !is_refused(a.ip())).for_each(|a| kept.push(*a));
        if kept.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(kept) }
    }
}

/// Is this the address of a file on a web server?
pub fn is_remote(path: &str) -> bool {
    let scheme = path.split_once("://").map(|p| p.0.to_ascii_lowercase());
    matches!(scheme.as_deref(), Some("http" | "https"))
}

/// Copies the file at `url` to `to`, which belongs to the server and goes with its key.
pub fn fetch(url: &str, to: &Path) -> Result<RawFile> {
    let config = ureq::Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(10)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .max_redirects(5)
        .http_status_as_error(false)
        .user_agent(concat!("ochre/", env!("CARGO_PKG_VERSION")))
        .build();
    let agent = ureq::Agent::with_parts(config, DefaultConnector::default(), Outside::default());
    let fail = |what: &dyn std::fmt::Display| Error::invalid(format!("{url} cannot be read: {what}"));
    let mut reply = agent.get(url).call().map_err(|e| match e {
        ureq::Error::HostNotFound => fail(&"its host has no address that may be asked (link-local addresses are never asked)"),
        e => fail(&e),
    })?;
    if !reply.status().is_success() {
        return Err(match reply.status().as_u16() {
            404 | 410 => Error::FileNotFound { path: url.to_string() },
            _ => fail(&format!("the server answered {}", reply.status())),
        });
    }
    let expected = reply.body().content_length();
    let mut copy = |to: &Path| -> std::io::Result<u64> {
        let mut file = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(to)?);
        let mut body = reply.body_mut().as_reader();
        let (mut buffer, mut bytes) = (vec![0; 1 << 16], 0);
        loop {
            let n = body.read(&mut buffer)?;
            if n == 0 {
                break;
            }
            std::io::Write::write_all(&mut file, &buffer[..n])?;
            bytes += n as u64;
        }
        std::io::Write::flush(&mut file)?;
        Ok(bytes)
    };
    let copied = copy(to).map_err(|e| fail(&e)).and_then(|bytes| match expected {
        Some(all) if all != bytes => Err(fail(&format!("{bytes} of {all} bytes came"))),
        _ => Ok(()),
    });
    RawFile::made(to, copied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// Answers one request with `reply` and ends.
    fn server(reply: String) -> (String, std::thread::JoinHandle<()>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/data.csv", listener.local_addr().unwrap());
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 4096];
            let _ = stream.read(&mut asked).unwrap();
            stream.write_all(reply.as_bytes()).unwrap();
        });
        (url, serving)
    }

    #[test]
    fn files_come_whole_or_with_a_reason() {
        let to = std::env::temp_dir().join(format!("ochre-remote-{}.csv", std::process::id()));
        let told = |reply: &str| {
            let (url, serving) = server(reply.to_string());
            let got = fetch(&url, &to);
            serving.join().unwrap();
            got
        };
        let raw = told("HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\na,b\n1,2\n").unwrap();
        assert_eq!((raw.bytes, std::fs::read_to_string(&to).unwrap().as_str()), (8, "a,b\n1,2\n"));
        drop(raw);
        assert!(!to.exists());
        let e = told("HTTP/1.1 200 OK\r\nContent-Length: 80\r\nConnection: close\r\n\r\na,b\n").err().unwrap().to_string();
        assert!(e.contains("cannot be read") && !to.exists(), "{e}");
        assert!(matches!(
            told("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
            Err(Error::FileNotFound { .. })
        ));
        let e = told("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").err().unwrap().to_string();
        assert!(e.contains("503"), "{e}");
        let e = fetch("http://169.254.169.254/latest/meta-data", &to).err().unwrap().to_string();
        assert!(e.contains("link-local"), "{e}");
    }
}
