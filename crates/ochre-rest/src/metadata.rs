//! Metadata, generated from the declarations: endpoints and schemas.

use crate::route::{Ask, Reply, get};
use crate::wire::{FieldMetadata, Metadata, Route as RouteSchema, SchemaMetadata};
use crate::{App, Failure, wire};
use ochre_core::Error;
use ochre_model::PublishedSchema;
use ochre_model::wire as model_wire;
use ochre_schema::{FieldDecl, Published, Value, Wire, published};

pub const ROUTES: &[crate::Route] = &[
    get("/3/Metadata/endpoints", "listRoutes", ("MetadataV3", "MetadataV3"), endpoints, "All routes."),
    get("/3/Metadata/endpoints/{path}", "getRoute", ("MetadataV3", "MetadataV3"), endpoint, "One route, by number or name."),
    get("/3/Metadata/schemas", "listSchemas", ("MetadataV3", "MetadataV3"), schemas, "All schemas."),
    get("/3/Metadata/schemas/{schemaname}", "getSchema", ("MetadataV3", "MetadataV3"), schema, "One schema."),
];

macro_rules! table {
    ($($t:ty),* $(,)?) => { &[ $( published::<$t>() ),* ] };
}

/// Every declared schema that no algorithm owns.
pub const SCHEMAS: &[Published] = table![
    wire::About,
    wire::SplitFrame,
    wire::Resume,
    wire::Dct,
    wire::Tabulate,
    wire::Find,
    wire::Assembly,
    wire::Storage,
    wire::StorageEntry,
    wire::AboutEntry,
    wire::Cloud,
    wire::Node,
    wire::Ping,
    wire::NodeMemoryInfo,
    wire::Capabilities,
    wire::CapabilityEntry,
    wire::InitID,
    wire::SessionProperty,
    wire::LogAndEcho,
    wire::Logs,
    wire::NetworkTest,
    wire::Timeline,
    wire::Profiler,
    wire::JStack,
    wire::WaterMeterCpuTicks,
    wire::WaterMeterIo,
    wire::CreateFrame,
    wire::FrameSave,
    wire::FrameLoad,
    wire::Job,
    wire::Jobs,
    wire::ImportFiles,
    wire::ImportFilesMulti,
    wire::ImportSqlTable,
    wire::FeatureInteraction,
    wire::Interplay,
    wire::SignificantRules,
    wire::ParseSetup,
    wire::Parse,
    wire::Frames,
    wire::FramesList,
    wire::FrameSynopsis,
    wire::Frame,
    wire::Col,
    wire::FrameChunks,
    wire::FrameChunk,
    wire::Typeahead,
    wire::RapidsSchema,
    wire::RapidsFrame,
    wire::RapidsMapFrame,
    wire::RapidsNumber,
    wire::RapidsNumbers,
    wire::RapidsString,
    wire::RapidsStrings,
    wire::RapidsFunction,
    wire::Remove,
    wire::RemoveAll,
    wire::Models,
    wire::ModelBuilders,
    wire::ModelMetricsListSchema,
    wire::H2OError,
    wire::H2OModelBuilderError,
    wire::Metadata,
    wire::SchemaMetadata,
    wire::FieldMetadata,
    wire::Route,
    wire::Shutdown,
    wire::DownloadData,
    wire::JobKeySchema,
    wire::FrameKeySchema,
    wire::ModelKeySchema,
    wire::KeySchema,
    wire::TableSchema,
    wire::ColumnSpecsBase,
    wire::SessionId,
    wire::RapidsHelp,
    wire::GramRequest,
    wire::DataInfoFrame,
    model_wire::ModelParameterSchema,
    model_wire::ValidationMessage,
    model_wire::ConfusionMatrix,
    model_wire::ModelSynopsis,
    model_wire::MetricsBase,
    model_wire::BinomialMetrics,
    model_wire::MultinomialMetrics,
    model_wire::RegressionMetrics,
    model_wire::ClusteringMetrics,
    model_wire::AnomalyMetrics,
    model_wire::UpliftMetrics,
    model_wire::CoxMetrics,
    model_wire::MixedMetrics,
    model_wire::GlmBinomialMetrics,
    model_wire::GlmMultinomialMetrics,
    model_wire::GlmRegressionMetrics,
];

/// Every schema that is served, those of the algorithms included.
pub fn all(algorithms: &[&dyn ochre_model::Builder]) -> Vec<PublishedSchema> {
    let own = SCHEMAS.iter().map(|p| PublishedSchema {
        name: p.name.into(),
        superclass: p.superclass.into(),
        iced: p.iced.into(),
        request: p.request,
        fields: (p.fields)(),
    });
    own.chain(algorithms.iter().flat_map(|a| a.published())).collect()
}

fn field_json(f: &FieldDecl) -> Value {
    let texts = |v: &[&str]| Some(v.iter().map(|s| s.to_string()).collect());
    FieldMetadata {
        name: Some(f.name.into()),
        r#type: Some(f.type_name.clone()),
        is_schema: f.schema_name.is_some(),
        schema_name: f.schema_name.clone().or_else(|| f.choice_name.clone()),
        value: f.default.clone(),
        help: Some(f.help.into()),
        label: Some(f.name.into()),
        required: f.required,
        level: Some(f.level.into()),
        direction: Some(f.direction.into()),
        is_inherited: f.inherited_from.is_some(),
        inherited_from: f.inherited_from.map(str::to_string),
        is_gridable: f.gridable,
        values: texts(f.values),
        json: f.json,
        is_member_of_frames: texts(f.member_of),
        is_mutually_exclusive_with: texts(f.exclusive_with),
    }
    .to_json()
}

fn version(name: &str) -> i32 {
    name.rsplit('V').next().and_then(|v| v.parse().ok()).unwrap_or(-1)
}

fn schema_json(s: &PublishedSchema) -> Value {
    let fields: Vec<Value> = s.all_fields().iter().map(field_json).collect();
    SchemaMetadata {
        version: version(&s.name),
        name: Some(s.name.clone()),
        label: Some(s.name.clone()),
        superclass: Some(s.superclass.clone()),
        r#type: Some(s.iced.clone()),
        fields: Value::Array(fields),
        markdown: None,
    }
    .to_json()
}

fn route_json(r: &crate::Route) -> Value {
    RouteSchema {
        http_method: Some(r.method.into()),
        url_pattern: Some(r.url.into()),
        summary: Some(r.summary.into()),
        api_name: Some(r.api_name.into()),
        input_schema: Some(r.input.into()),
        output_schema: Some(r.output.into()),
        path_params: Some(r.url.split('/').filter_map(|p| p.strip_prefix('{')?.strip_suffix('}')).map(str::to_string).collect()),
        ..RouteSchema::default()
    }
    .to_json()
}

fn routes() -> impl Iterator<Item = &'static crate::Route> {
    crate::ROUTES.iter().flat_map(|r| r.iter())
}

fn endpoints(_: &App, _: &Ask) -> Result<Reply, Failure> {
    Reply::schema(&Metadata { routes: Value::Array(routes().map(route_json).collect()), ..Metadata::default() })
}

fn endpoint(_: &App, ask: &Ask) -> Result<Reply, Failure> {
    let wanted = ask.path_param("path");
    let found = routes()
        .enumerate()
        .find(|(i, r)| i.to_string() == wanted || r.api_name == wanted || r.url.trim_start_matches('/') == wanted.trim_start_matches('/'));
    let (_, r) = found.ok_or_else(|| Failure::not_found(format!("There is no endpoint '{wanted}'")))?;
    Reply::schema(&Metadata { routes: Value::Array(vec![route_json(r)]), ..Metadata::default() })
}

fn schemas(app: &App, _: &Ask) -> Result<Reply, Failure> {
    Reply::schema(&Metadata { schemas: Value::Array(all(app.algorithms).iter().map(schema_json).collect()), ..Metadata::default() })
}

fn schema(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let name = ask.path_param("schemaname");
    let all = all(app.algorithms);
    let s = all.iter().find(|s| s.name == name).ok_or_else(|| Error::NotFound(format!("There is no schema '{name}'")))?;
    Reply::schema(&Metadata { schemas: Value::Array(vec![schema_json(s)]), ..Metadata::default() })
}
