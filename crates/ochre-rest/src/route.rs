//! What a route is, how its address is matched, what it gets and what it answers.

use crate::{App, Failure};
use ochre_core::Error;
use ochre_schema::{Schema, Value, Wire};

pub type Handler = fn(&App, &Ask) -> Result<Reply, Failure>;

pub struct Route {
    pub method: &'static str,
    /// `/3/Frames/{frame_id}`
    pub url: &'static str,
    pub api_name: &'static str,
    pub input: &'static str,
    pub output: &'static str,
    pub handler: Handler,
    pub summary: &'static str,
}

const fn route(
    method: &'static str,
    url: &'static str,
    api_name: &'static str,
    io: (&'static str, &'static str),
    handler: Handler,
    summary: &'static str,
) -> Route {
    Route { method, url, api_name, input: io.0, output: io.1, handler, summary }
}

pub const fn get(
    url: &'static str,
    api_name: &'static str,
    io: (&'static str, &'static str),
    handler: Handler,
    summary: &'static str,
) -> Route {
    route("GET", url, api_name, io, handler, summary)
}
pub const fn post(
    url: &'static str,
    api_name: &'static str,
    io: (&'static str, &'static str),
    handler: Handler,
    summary: &'static str,
) -> Route {
    route("POST", url, api_name, io, handler, summary)
}
pub const fn delete(
    url: &'static str,
    api_name: &'static str,
    io: (&'static str, &'static str),
    handler: Handler,
    summary: &'static str,
) -> Route {
    route("DELETE", url, api_name, io, handler, summary)
}

/// A file that goes when it is no longer needed.
pub struct TempFile(pub std::path::PathBuf);

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A request: path parameters, query and form fields, and the file that an upload put aside.
#[derive(Default, Clone, serde::Serialize, serde::Deserialize)]
pub struct Ask {
    pub method: String,
    pub path: String,
    pub path_params: Vec<(String, String)>,
    pub params: Vec<(String, String)>,
    pub upload: Option<std::path::PathBuf>,
}

impl Ask {
    pub fn path_param(&self, name: &str) -> &str {
        self.path_params.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }
    /// The same request with another value of a path parameter.
    pub fn at(&self, name: &str, value: &str) -> Ask {
        Ask { path_params: vec![(name.to_string(), value.to_string())], ..self.clone() }
    }
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
    pub fn parsed<T: Wire + Default>(&self, name: &str) -> Result<T, Failure> {
        match self.param(name) {
            None => Ok(T::default()),
            Some(t) => T::from_text(t).map_err(|e| Error::invalid(format!("Illegal argument for field: {name}: {e}")).into()),
        }
    }

    /// The declared request, with every field decoded and unknown fields refused.
    pub fn decode<S: Schema>(&self) -> Result<S, Failure> {
        let mut s = S::default();
        for (name, text) in self.path_params.iter().chain(&self.params) {
            if name == "_exclude_fields" || name == "session_id" && s.set(name, text).is_none() {
                continue;
            }
            match s.set(name, text) {
                Some(Ok(())) => {}
                Some(Err(e)) => {
                    return Err(Failure::precondition(format!("Illegal argument for field: {name} of schema: {}: {e}", S::META.name)));
                }
                None => return Err(Failure::precondition(format!("Unknown parameter: {name}"))),
            }
        }
        Ok(s)
    }
}

pub enum Body {
    Bytes(Vec<u8>),
    /// Sent chunk by chunk as it is made.
    File(TempFile),
}

pub struct Reply {
    pub status: u16,
    pub content_type: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub body: Body,
}

impl Reply {
    pub fn json(v: &Value) -> Result<Reply, Failure> {
        Ok(Reply {
            status: 200,
            content_type: "application/json",
            headers: vec![],
            body: Body::Bytes(serde_json::to_vec(v).map_err(|e| Error::Internal(e.to_string()))?),
        })
    }
    pub fn schema<S: Schema>(s: &S) -> Result<Reply, Failure> {
        Reply::json(&ochre_schema::object(s))
    }
}

/// The path parameters, when `path` (still percent-encoded) is what `pattern` describes.
pub fn matches(pattern: &str, path: &str) -> Option<Vec<(String, String)>> {
    let decode = |t: &str| percent_encoding::percent_decode_str(t).decode_utf8_lossy().into_owned();
    let (mut p, mut s) = (pattern.split('/').peekable(), path.split('/'));
    let mut out = vec![];
    while let Some(part) = p.next() {
        // A parameter with an ending, such as {frame_id}.arrow, is the last part.
        if let Some((name, ending)) = part.strip_prefix('{').and_then(|n| n.split_once('}')).filter(|n| !n.1.is_empty()) {
            let rest: Vec<&str> = s.by_ref().collect();
            let value = rest.join("/").strip_suffix(ending).filter(|v| !v.is_empty()).map(decode)?;
            out.push((name.to_string(), value));
            return Some(out);
        }
        match part.strip_prefix('{').and_then(|n| n.strip_suffix('}')) {
            // Keys may hold slashes that a client did not encode: the last parameter takes the rest.
            Some(name) if p.peek().is_none() => {
                let rest: Vec<&str> = s.by_ref().collect();
                if rest.is_empty() {
                    return None;
                }
                out.push((name.to_string(), decode(&rest.join("/"))));
                return Some(out);
            }
            Some(name) => out.push((name.to_string(), decode(s.next()?))),
            None if s.next()? == part => {}
            None => return None,
        }
    }
    s.next().is_none().then_some(out)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn addresses() {
        assert_eq!(matches("/3/Frames", "/3/Frames"), Some(vec![]));
        assert_eq!(matches("/3/Frames/{id}", "/3/Frames/nfs:%2F%2Fa"), Some(vec![("id".into(), "nfs://a".into())]));
        assert_eq!(matches("/3/Frames/{id}/summary", "/3/Frames/a/summary"), Some(vec![("id".into(), "a".into())]));
        assert_eq!(matches("/3/Frames/{id}/summary", "/3/Frames/a"), None);
        assert_eq!(matches("/3/Frames", "/3/Frames/a"), None);
        assert_eq!(matches("/3/Frames/{id}.arrow", "/3/Frames/a.b.arrow"), Some(vec![("id".into(), "a.b".into())]));
        assert_eq!(matches("/3/Frames/{id}.arrow", "/3/Frames/a/summary"), None);
    }
}
