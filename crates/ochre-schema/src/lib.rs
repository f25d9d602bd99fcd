//! What crosses the wire, declared once.
//!
//! A struct deriving [`Schema`] is at the same time the REST metadata, the JSON encoding, the form decoder and the
//! range checks of one wire schema; an enum deriving [`Choice`] is a set of named options. Everything above reads
//! these declarations: `/3/Metadata`, `/3/ModelBuilders`, parameter decoding, the command line.
//!
//! This crate must not know frames, jobs, models or HTTP.

mod keys;
mod notes;
mod table;
mod wire;

pub use keys::{AnyKey, FrameKey, JobKey, Key, ModelKey};
pub use notes::{Note, Notes, Severity, check_range, check_supported, in_range, one_of, option_of};
pub use ochre_macros::{Choice, Schema};
pub use serde_json::Value;
pub use table::{Cell, Column, Table};
pub use wire::{Wire, number_json, parse_list};

pub type Map = serde_json::Map<String, Value>;

// The derives name this crate from outside; inside it, it names itself.
extern crate self as ochre_schema;

/// Identity of a schema on the wire.
pub struct Meta {
    pub name: &'static str,
    pub version: i32,
    pub superclass: &'static str,
    pub iced: &'static str,
    /// Requests carry the client's `_exclude_fields` as well.
    pub request: bool,
}

impl Meta {
    /// The name under which fields of a flattened group are published as inherited; groups without one have none.
    pub fn inherits(&self) -> Option<&'static str> {
        if self.name.is_empty() { None } else { Some(self.name) }
    }

    pub fn json(&self) -> Value {
        serde_json::json!({"schema_version": self.version, "schema_name": self.name, "schema_type": self.iced})
    }
}

/// One declared field.
#[derive(Clone, Debug)]
pub struct FieldDecl {
    pub name: &'static str,
    pub type_name: String,
    pub schema_name: Option<String>,
    /// Published name of the option set, for enums.
    pub choice_name: Option<String>,
    pub default: Value,
    pub help: &'static str,
    pub level: &'static str,
    pub direction: &'static str,
    pub required: bool,
    pub gridable: bool,
    /// Part of the schema but not offered in a model builder's parameter list.
    pub internal: bool,
    pub json: bool,
    pub supported: bool,
    pub inherited_from: Option<&'static str>,
    pub range: Option<&'static str>,
    pub values: &'static [&'static str],
    pub member_of: &'static [&'static str],
    pub exclusive_with: &'static [&'static str],
}

/// A declared wire schema. Derive it; do not write it.
pub trait Schema: Default {
    const META: Meta;
    fn fields_of(this: &Self) -> Vec<FieldDecl>;
    fn put(&self, out: &mut Map);
    /// Reads one form field; `None` when the schema has no field of that name.
    fn set(&mut self, name: &str, text: &str) -> Option<Result<(), String>>;
    /// Checks declared ranges and refuses parameters that are declared but not built yet.
    fn check(&self, notes: &mut Notes);

    fn fields() -> Vec<FieldDecl> {
        Self::fields_of(&Self::default())
    }
}

/// A schema as a JSON object, with its `__meta`.
pub fn object<S: Schema>(schema: &S) -> Value {
    let mut out = Map::new();
    out.insert("__meta".into(), S::META.json());
    if S::META.request {
        out.insert("_exclude_fields".into(), Value::String(String::new()));
    }
    schema.put(&mut out);
    Value::Object(out)
}

/// A published schema: what `/3/Metadata/schemas` answers from.
pub struct Published {
    pub name: &'static str,
    pub version: i32,
    pub superclass: &'static str,
    pub iced: &'static str,
    pub request: bool,
    pub fields: fn() -> Vec<FieldDecl>,
}

/// The row of a schema table for type `S`.
pub const fn published<S: Schema>() -> Published {
    Published {
        name: S::META.name,
        version: S::META.version,
        superclass: S::META.superclass,
        iced: S::META.iced,
        request: S::META.request,
        fields: S::fields,
    }
}

/// The fields that every message (`__meta`) or request (`_exclude_fields`) carries.
pub fn common_fields(name: &str, iced: &str, request: bool) -> Vec<FieldDecl> {
    let plain = |name, type_name: &str, default, direction, from| FieldDecl {
        name,
        type_name: type_name.into(),
        schema_name: None,
        choice_name: None,
        default,
        help: "Part of every message.",
        level: "critical",
        direction,
        required: false,
        gridable: false,
        internal: true,
        json: true,
        supported: true,
        inherited_from: Some(from),
        range: None,
        values: &[],
        member_of: &[],
        exclusive_with: &[],
    };
    let version: i32 = name.rsplit('V').next().and_then(|v| v.parse().ok()).unwrap_or(-1);
    let meta = serde_json::json!({"schema_version": version, "schema_name": name, "schema_type": iced});
    let mut fields = vec![];
    if request {
        fields.push(plain("_exclude_fields", "string", Value::String(String::new()), "INPUT", "RequestSchemaV3"));
    }
    // The few schemas of version 4 name themselves in another way.
    if version != 4 {
        fields.push(plain("__meta", "Schema.Meta", meta, "OUTPUT", "SchemaV3"));
    }
    fields
}
