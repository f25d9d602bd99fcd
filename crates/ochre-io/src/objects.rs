//! Object stores: Amazon S3 and what speaks like it, Google Cloud Storage, Azure Blob Storage.
//!
//! Who may read what is the operator's to say, by the environment of the server (`AWS_*`, `GOOGLE_*`, `AZURE_*`, the
//! credentials file of the AWS tools, or the role of the machine or pod); clients may give keys for S3 besides.

use crate::RawFile;
use futures::{StreamExt, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{
    BackoffConfig, ClientOptions, Error as StoreError, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, RetryConfig,
    WriteMultipart, path::Path as Key,
};
use ochre_core::{Error, Result};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Bytes that are asked for at a time, and how many such requests are under way for one object.
const PIECE: u64 = 8 << 20;
const PIECES_AT_ONCE: usize = 8;
/// Objects that one address may name.
const OBJECTS_MAX: usize = 100_000;

/// Keys for S3 that a client gave.
#[derive(Clone)]
pub struct Credentials {
    pub key_id: String,
    pub secret: String,
    pub token: Option<String>,
}

/// The object stores that were asked so far.
#[derive(Default)]
pub struct Objects {
    given: Mutex<Option<Credentials>>,
    stores: Mutex<HashMap<String, Arc<dyn ObjectStore>>>,
    runtime: OnceLock<tokio::runtime::Runtime>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    S3,
    Google,
    Azure,
}

/// The parts of `scheme://bucket/key`.
fn parts(url: &str) -> Option<(Kind, &str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let kind = match scheme.to_ascii_lowercase().as_str() {
        "s3" | "s3a" | "s3n" => Kind::S3,
        "gs" => Kind::Google,
        "az" | "azure" | "adl" | "abfs" | "abfss" => Kind::Azure,
        _ => return None,
    };
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    Some((kind, bucket, key))
}

/// Is this an address in an object store?
pub fn is_object(path: &str) -> bool {
    parts(path).is_some()
}

impl Objects {
    /// Keys for S3 from now on; `None` goes back to the server's own.
    pub fn set_credentials(&self, given: Option<Credentials>) {
        *self.given.lock() = given;
        self.stores.lock().clear();
    }

    fn run<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let runtime = match self.runtime.get() {
            Some(r) => r,
            None => {
                let made = tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("ochre-objects").enable_all().build();
                let made = made.map_err(|e| Error::invalid(format!("no threads for object stores: {e}")))?;
                self.runtime.get_or_init(|| made)
            }
        };
        runtime.block_on(work)
    }

    fn store(&self, url: &str) -> Result<(Arc<dyn ObjectStore>, Key)> {
        let (kind, bucket, key) = parts(url).ok_or_else(|| Error::invalid(format!("{url} is no address of an object")))?;
        if bucket.is_empty() {
            return Err(Error::invalid(format!("{url} names no bucket: write {}://BUCKET/KEY", url.split(':').next().unwrap_or("s3"))));
        }
        let key = Key::parse(key.trim_end_matches('/')).map_err(|e| Error::invalid(format!("{url} is no address of an object: {e}")))?;
        let root = url[..url.len() - url.split_once("://").map_or(0, |p| p.1.len())].to_string() + bucket;
        if let Some(store) = self.stores.lock().get(&root) {
            return Ok((store.clone(), key));
        }
        let options = ClientOptions::new().with_connect_timeout(Duration::from_secs(10)).with_timeout(Duration::from_secs(120));
        let retry = RetryConfig {
            backoff: BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(5), base: 2.0 },
            max_retries: 4,
            retry_timeout: Duration::from_secs(60),
        };
        let fail = |e: StoreError| Error::invalid(format!("{root} cannot be asked: {}", told(&e)));
        let store: Arc<dyn ObjectStore> = match kind {
            Kind::S3 => Arc::new(self.s3(bucket, options).with_retry(retry).build().map_err(fail)?),
            Kind::Google => {
                let b = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket).with_client_options(options).with_retry(retry);
                Arc::new(b.build().map_err(fail)?)
            }
            Kind::Azure => {
                let b = MicrosoftAzureBuilder::from_env().with_url(&root).with_client_options(options).with_retry(retry);
                Arc::new(b.build().map_err(fail)?)
            }
        };
        self.stores.lock().insert(root, store.clone());
        Ok((store, key))
    }

    fn s3(&self, bucket: &str, options: ClientOptions) -> AmazonS3Builder {
        let plain =
            ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"].iter().find_map(|n| set(n)).filter(|e| e.starts_with("http://"));
        let mut builder =
            AmazonS3Builder::from_env().with_bucket_name(bucket).with_client_options(options.with_allow_http(plain.is_some()));
        if let Some(endpoint) = set("AWS_ENDPOINT_URL_S3") {
            builder = builder.with_endpoint(endpoint);
        }
        let profile = Profile::read();
        if let Some(region) = set("AWS_REGION").or_else(|| set("AWS_DEFAULT_REGION")).or(profile.region) {
            builder = builder.with_region(region);
        }
        let given = self.given.lock().clone();
        // The environment has been looked at; the file of the AWS tools comes before the roles of machines, as with them.
        let elsewhere = ["AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_SKIP_SIGNATURE"].iter().any(|n| set(n).is_some());
        if let Some(c) = given.or(profile.credentials.filter(|_| !elsewhere)) {
            builder = builder.with_access_key_id(c.key_id).with_secret_access_key(c.secret);
            // An empty token would be signed for.
            builder = match c.token {
                Some(token) => builder.with_token(token),
                None => builder,
            };
        }
        builder
    }

    /// The addresses of the objects that an address names: itself, those below it, or those that a glob matches.
    /// `pattern` is a regular expression that the whole name has to match.
    pub fn list(&self, url: &str, pattern: Option<&str>) -> Result<Vec<String>> {
        let (_, bucket, key) = parts(url).ok_or_else(|| Error::invalid(format!("{url} is no address of an object")))?;
        let root = format!("{}://{bucket}", url.split("://").next().unwrap_or_default());
        let glob = key.find(['*', '?', '[']);
        // Everything below the last folder before the first special character.
        let below = match glob {
            Some(at) => &key[..key[..at].rfind('/').unwrap_or(0)],
            None => key,
        };
        let (store, key_below) = self.store(&format!("{root}/{below}"))?;
        let regex = |p: &str| regex::Regex::new(&format!("^(?:{p})$")).map_err(|e| Error::invalid(format!("pattern '{p}': {e}")));
        let pattern = pattern.filter(|p| !p.is_empty()).map(regex).transpose()?;
        let glob = glob
            .map(|_| glob::Pattern::new(key).map_err(|e| Error::invalid(format!("'{url}' is not a valid pattern: {e}"))))
            .transpose()?;
        let mut found = self.run(async {
            if glob.is_none() && !below.is_empty() && !below.ends_with('/') {
                match store.head(&key_below).await {
                    Ok(meta) => return Ok(vec![meta]),
                    Err(StoreError::NotFound { .. }) => {}
                    Err(e) => return Err(failed(url, &e)),
                }
            }
            let mut objects = store.list(Some(&key_below));
            let mut all: Vec<ObjectMeta> = vec![];
            while let Some(meta) = objects.try_next().await.map_err(|e| failed(url, &e))? {
                if all.len() == OBJECTS_MAX {
                    return Err(Error::invalid(format!("{url} names more than {OBJECTS_MAX} objects; name a folder further down")));
                }
                all.push(meta);
            }
            Ok(all)
        })?;
        let separators = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
        found.retain(|m| {
            let name = m.location.filename().unwrap_or_default();
            let address = format!("{root}/{}", m.location);
            glob.as_ref().is_none_or(|g| g.matches_with(m.location.as_ref(), separators))
                && pattern.as_ref().is_none_or(|p| p.is_match(&address) || p.is_match(name))
                // Marks of folders, and what is hidden.
                && !(name.starts_with('.') || m.size == 0 && m.location.as_ref().ends_with('/'))
        });
        if found.is_empty() {
            return Err(Error::FileNotFound { path: url.to_string() });
        }
        let mut addresses: Vec<String> = found.iter().map(|m| format!("{root}/{}", m.location)).collect();
        addresses.sort();
        Ok(addresses)
    }

    /// Copies an object to `to`, pieces of it side by side; the file belongs to the server and goes with its key.
    pub fn fetch(&self, url: &str, to: &Path) -> Result<RawFile> {
        let (store, key) = self.store(url)?;
        let copied = self.run(async {
            let meta = store.head(&key).await.map_err(|e| failed(url, &e))?;
            let file = std::fs::File::create(to).map_err(|e| Error::io(to.display(), e))?;
            let (store, key, file) = (&store, &key, &file);
            let tag = &meta.e_tag;
            let copy = |start: u64| async move {
                let range = start..(start + PIECE).min(meta.size);
                // An object that changes meanwhile is not mixed with what it was.
                let ask = GetOptions { range: Some(GetRange::Bounded(range)), if_match: tag.clone(), ..GetOptions::default() };
                let got = store.get_opts(key, ask).await.map_err(|e| failed(url, &e))?.bytes().await.map_err(|e| failed(url, &e))?;
                file.write_all_at(&got, start).map_err(|e| Error::io(to.display(), e))?;
                Ok(got.len() as u64)
            };
            let pieces = futures::stream::iter((0..meta.size).step_by(PIECE as usize)).map(copy).buffer_unordered(PIECES_AT_ONCE);
            let bytes: u64 = pieces.try_fold(0, |sum, n| std::future::ready(Ok(sum + n))).await?;
            if bytes != meta.size {
                return Err(Error::invalid(format!("{url} cannot be read: {bytes} of {} bytes came", meta.size)));
            }
            Ok(())
        });
        RawFile::made(to, copied)
    }

    pub fn exists(&self, url: &str) -> Result<bool> {
        let (store, key) = self.store(url)?;
        self.run(async {
            match store.head(&key).await {
                Ok(_) => Ok(true),
                Err(StoreError::NotFound { .. }) => {
                    let mut below = store.list(Some(&key));
                    Ok(below.try_next().await.map_err(|e| failed(url, &e))?.is_some())
                }
                Err(e) => Err(failed(url, &e)),
            }
        })
    }

    /// Copies a file to an object, which is there whole or not at all.
    pub fn put(&self, from: &Path, url: &str) -> Result<()> {
        let (store, key) = self.store(url)?;
        let fail = |e: std::io::Error| Error::io(from.display(), e);
        self.run(async {
            let file = std::fs::File::open(from).map_err(fail)?;
            let bytes = file.metadata().map_err(fail)?.len();
            let read = |at: u64| -> Result<Vec<u8>> {
                let mut piece = vec![0; PIECE.min(bytes - at) as usize];
                file.read_exact_at(&mut piece, at).map_err(fail)?;
                Ok(piece)
            };
            if bytes <= PIECE {
                store.put(&key, read(0)?.into()).await.map_err(|e| failed(url, &e))?;
                return Ok(());
            }
            let upload = store.put_multipart(&key).await.map_err(|e| failed(url, &e))?;
            let mut writer = WriteMultipart::new_with_chunk_size(upload, PIECE as usize);
            for at in (0..bytes).step_by(PIECE as usize) {
                let piece = read(at);
                let sent = writer.wait_for_capacity(PIECES_AT_ONCE).await.map_err(|e| failed(url, &e));
                match piece.and_then(|p| sent.map(|()| p)) {
                    Ok(p) => writer.put(p.into()),
                    Err(e) => {
                        let _ = writer.abort().await;
                        return Err(e);
                    }
                }
            }
            writer.finish().await.map_err(|e| failed(url, &e))?;
            Ok(())
        })
    }

    /// Names that go on from what a user has typed, at most `limit` of them.
    pub fn complete(&self, typed: &str, limit: usize) -> Result<Vec<String>> {
        let Some((_, bucket, key)) = parts(typed).filter(|p| !p.1.is_empty()) else { return Ok(vec![]) };
        let root = format!("{}://{bucket}", typed.split("://").next().unwrap_or_default());
        let folder = &key[..key.rfind('/').unwrap_or(0)];
        let (store, below) = self.store(&format!("{root}/{folder}"))?;
        let found = self.run(async { store.list_with_delimiter(Some(&below)).await.map_err(|e| failed(typed, &e)) })?;
        let all = found.common_prefixes.into_iter().chain(found.objects.into_iter().map(|m| m.location));
        let mut names: Vec<String> = all.map(|k| format!("{root}/{k}")).filter(|n| n.starts_with(typed)).collect();
        names.sort();
        names.truncate(limit);
        Ok(names)
    }
}

/// A variable of the environment that says something.
fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

/// What the files of the AWS tools say for the chosen profile.
#[derive(Default)]
struct Profile {
    credentials: Option<Credentials>,
    region: Option<String>,
}

impl Profile {
    fn read() -> Profile {
        let home = set("HOME").unwrap_or_default();
        let text = |variable: &str, file: &str| {
            std::fs::read_to_string(set(variable).unwrap_or_else(|| format!("{home}/.aws/{file}"))).unwrap_or_default()
        };
        let name = set("AWS_PROFILE").unwrap_or_else(|| "default".into());
        Profile::of(&text("AWS_SHARED_CREDENTIALS_FILE", "credentials"), &text("AWS_CONFIG_FILE", "config"), &name)
    }

    fn of(credentials: &str, config: &str, name: &str) -> Profile {
        let mut values: HashMap<String, String> = HashMap::new();
        for (text, section) in [(config, format!("profile {name}")), (credentials, name.to_string())] {
            let mut inside = false;
            for line in text.lines().map(str::trim) {
                if let Some(head) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                    inside = head.trim() == section || head.trim() == name;
                } else if let Some((k, v)) = line.split_once('=').filter(|_| inside && !line.starts_with(['#', ';'])) {
                    values.insert(k.trim().to_string(), v.trim().to_string());
                }
            }
        }
        let token = values.remove("aws_session_token");
        let keys = values.remove("aws_access_key_id").zip(values.remove("aws_secret_access_key"));
        Profile { credentials: keys.map(|(key_id, secret)| Credentials { key_id, secret, token }), region: values.remove("region") }
    }
}

/// An error and what lies behind it, each said once.
fn told(e: &StoreError) -> String {
    let mut text = e.to_string();
    let mut next = std::error::Error::source(e);
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    // Stores answer with pages; their first lines say what is the matter.
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(600).collect()
}

fn failed(url: &str, e: &StoreError) -> Error {
    let own = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_SKIP_SIGNATURE=true for public buckets) in the server's environment, or \
               h2o.persist.set_s3_credentials";
    let mend = match parts(url).map(|p| p.0) {
        Some(Kind::S3) => own,
        Some(Kind::Google) => "GOOGLE_APPLICATION_CREDENTIALS in the server's environment",
        _ => "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY in the server's environment",
    };
    let text = told(e);
    match e {
        StoreError::NotFound { .. } => Error::FileNotFound { path: url.to_string() },
        StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => {
            Error::invalid(format!("{url} may not be used with these credentials; check {mend}. The store says: {text}"))
        }
        StoreError::Precondition { .. } => Error::invalid(format!("{url} changed while it was read; import it again")),
        // What the client of the store says when it finds no credentials and the machine has no role.
        StoreError::Generic { .. } if text.contains("169.254.169.254") || text.contains("metadata.google.internal") => {
            Error::invalid(format!("{url} cannot be used: there are no credentials for it; give {mend}"))
        }
        _ => Error::invalid(format!("{url} cannot be used: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_fall_into_parts() {
        assert!(parts("s3a://b/k/x.csv").is_some_and(|p| p.0 == Kind::S3 && p.1 == "b" && p.2 == "k/x.csv"));
        assert!(parts("GS://b").is_some_and(|p| p.0 == Kind::Google && p.1 == "b" && p.2.is_empty()));
        assert!(!is_object("/a/b") && !is_object("http://a/b") && !is_object("hdfs://a/b"));
    }

    #[test]
    fn profiles_are_read_as_the_aws_tools_do() {
        let credentials = "[default]\naws_access_key_id = A\naws_secret_access_key = B\n# x = y\n[other]\naws_access_key_id=C\naws_secret_access_key=D\naws_session_token=E\n";
        let config = "[default]\nregion = eu-west-1\n[profile other]\nregion=us-west-2\n";
        let p = Profile::of(credentials, config, "default");
        let c = p.credentials.unwrap();
        assert_eq!((c.key_id.as_str(), c.secret.as_str(), c.token, p.region.as_deref()), ("A", "B", None, Some("eu-west-1")));
        let p = Profile::of(credentials, config, "other");
        assert_eq!((p.credentials.unwrap().token.as_deref(), p.region.as_deref()), (Some("E"), Some("us-west-2")));
        assert!(Profile::of(credentials, config, "absent").credentials.is_none());
    }
}
