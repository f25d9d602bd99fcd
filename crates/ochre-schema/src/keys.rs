//! Names of things in the store, by the type they point to.

use crate::{Value, Wire};

/// A key on the wire: what it is called and where it is fetched.
pub trait Key: Clone + std::fmt::Display {
    const SCHEMA: &'static str;
    const TYPE: &'static str;
    const URL: &'static str;
    fn text(&self) -> &str;
}

fn key_json(schema: &str, type_name: &str, url: &str, name: &str) -> Value {
    let url = if url.is_empty() { Value::Null } else { Value::String(format!("{url}{name}")) };
    serde_json::json!({
        "__meta": {"schema_version": 3, "schema_name": schema, "schema_type": type_name},
        "name": name, "type": type_name, "URL": url,
    })
}

macro_rules! key {
    ($(#[$doc:meta])* $name:ident, $schema:literal, $type:literal, $url:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub String);
        impl Key for $name {
            const SCHEMA: &'static str = $schema;
            const TYPE: &'static str = $type;
            const URL: &'static str = $url;
            fn text(&self) -> &str { &self.0 }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(&self.0) }
        }
        impl From<&str> for $name { fn from(s: &str) -> Self { $name(s.to_string()) } }
        impl From<String> for $name { fn from(s: String) -> Self { $name(s) } }
        impl Wire for $name {
            fn type_name() -> String { $type.to_string() }
            fn schema_name() -> Option<String> { Some($schema.to_string()) }
            fn to_json(&self) -> Value { key_json($schema, $type, $url, &self.0) }
            fn from_text(text: &str) -> Result<Self, String> { Ok($name(key_text(text))) }
        }
    };
}

/// A key arrives bare, quoted, or as the JSON object that was sent out.
fn key_text(text: &str) -> String {
    let text = text.trim();
    if text.starts_with('{')
        && let Ok(v) = serde_json::from_str::<Value>(text)
        && let Some(name) = v.get("name").and_then(Value::as_str)
    {
        return name.to_string();
    }
    text.trim_matches('"').to_string()
}

key!(/// A frame.
    FrameKey, "FrameKeyV3", "Key<Frame>", "/3/Frames/");
key!(/// A trained model.
    ModelKey, "ModelKeyV3", "Key<Model>", "/3/Models/");
key!(/// A job.
    JobKey, "JobKeyV3", "Key<Job>", "/3/Jobs/");

/// A key whose kind is known only when it is used: a job's destination, an argument of `DELETE /3/DKV`.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyKey {
    Frame(FrameKey),
    Model(ModelKey),
    Other(String),
}

impl AnyKey {
    pub fn text(&self) -> &str {
        match self {
            AnyKey::Frame(k) => &k.0,
            AnyKey::Model(k) => &k.0,
            AnyKey::Other(k) => k,
        }
    }
}

impl Default for AnyKey {
    fn default() -> Self {
        AnyKey::Other(String::new())
    }
}

impl Wire for AnyKey {
    fn type_name() -> String {
        "Key<Keyed>".into()
    }
    fn schema_name() -> Option<String> {
        Some("KeyV3".into())
    }
    fn to_json(&self) -> Value {
        match self {
            AnyKey::Frame(k) => k.to_json(),
            AnyKey::Model(k) => k.to_json(),
            AnyKey::Other(k) => key_json("KeyV3", "Key<Keyed>", "", k),
        }
    }
    fn from_text(text: &str) -> Result<Self, String> {
        Ok(AnyKey::Other(key_text(text)))
    }
}
