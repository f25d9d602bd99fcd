//! The wire schemas of the REST floor: what requests and replies look like, in the names the clients know.
//!
//! Fields that hold another schema carry it as ready JSON.

use ochre_schema::{AnyKey, FrameKey, JobKey, ModelKey, Schema, Table, Value};

/// About.
#[derive(Clone, Debug, Schema)]
#[api(name = "AboutV3", request)]
pub struct About {
    /// Entries.
    #[api(ty = "Iced[]", schema = "AboutEntryV3", output)]
    pub entries: Value,
}

/// About Entry.
#[derive(Clone, Debug, Schema)]
#[api(name = "AboutEntryV3")]
pub struct AboutEntry {
    /// Name.
    #[api(output)]
    pub name: Option<String>,
    /// Value.
    #[api(output)]
    pub value: Option<String>,
}

/// Cloud.
#[derive(Clone, Debug, Schema)]
#[api(name = "CloudV3", request)]
pub struct Cloud {
    /// Skip ticks.
    pub skip_ticks: bool,
    /// Version.
    #[api(output)]
    pub version: Option<String>,
    /// Branch name.
    #[api(output)]
    pub branch_name: Option<String>,
    /// Last commit hash.
    #[api(output)]
    pub last_commit_hash: Option<String>,
    /// Describe.
    #[api(output)]
    pub describe: Option<String>,
    /// Compiled by.
    #[api(output)]
    pub compiled_by: Option<String>,
    /// Compiled on.
    #[api(output)]
    pub compiled_on: Option<String>,
    /// Build number.
    #[api(output)]
    pub build_number: Option<String>,
    /// Build age.
    #[api(output)]
    pub build_age: Option<String>,
    /// Build too old.
    #[api(output)]
    pub build_too_old: bool,
    /// Node idx.
    #[api(output)]
    pub node_idx: i32,
    /// Cloud name.
    #[api(output)]
    pub cloud_name: Option<String>,
    /// Cloud size.
    #[api(output)]
    pub cloud_size: i32,
    /// Cloud uptime millis.
    #[api(output)]
    pub cloud_uptime_millis: i64,
    /// Cloud internal timezone.
    #[api(output)]
    pub cloud_internal_timezone: Option<String>,
    /// Datafile parser timezone.
    #[api(output)]
    pub datafile_parser_timezone: Option<String>,
    /// Cloud healthy.
    #[api(output)]
    pub cloud_healthy: bool,
    /// Bad nodes.
    #[api(output)]
    pub bad_nodes: i32,
    /// Consensus.
    #[api(output)]
    pub consensus: bool,
    /// Locked.
    #[api(output)]
    pub locked: bool,
    /// Is client.
    #[api(output)]
    pub is_client: bool,
    /// Hadoop version.
    #[api(output)]
    pub hadoop_version: Option<String>,
    /// Telemetry enabled.
    #[api(output)]
    pub telemetry_enabled: bool,
    /// Nodes.
    #[api(ty = "Iced[]", schema = "NodeV3", output)]
    pub nodes: Value,
    /// Internal security enabled.
    #[api(output)]
    pub internal_security_enabled: bool,
    /// Leader idx.
    #[api(default = -1, output)]
    pub leader_idx: i32,
    /// Web ip.
    #[api(output)]
    pub web_ip: Option<String>,
}

/// Node.
#[derive(Clone, Debug, Schema)]
#[api(name = "NodeV3")]
pub struct Node {
    /// H2o.
    #[api(output)]
    pub h2o: Option<String>,
    /// Ip port.
    #[api(output)]
    pub ip_port: Option<String>,
    /// Healthy.
    #[api(output)]
    pub healthy: bool,
    /// Last ping.
    #[api(output)]
    pub last_ping: i64,
    /// Pid.
    #[api(output)]
    pub pid: i32,
    /// Num cpus.
    #[api(output)]
    pub num_cpus: i32,
    /// Cpus allowed.
    #[api(output)]
    pub cpus_allowed: i32,
    /// Nthreads.
    #[api(output)]
    pub nthreads: i32,
    /// Sys load.
    #[api(output)]
    pub sys_load: f32,
    /// My cpu pct.
    #[api(output)]
    pub my_cpu_pct: i32,
    /// Sys cpu pct.
    #[api(output)]
    pub sys_cpu_pct: i32,
    /// Mem value size.
    #[api(output)]
    pub mem_value_size: i64,
    /// Pojo mem.
    #[api(output)]
    pub pojo_mem: i64,
    /// Free mem.
    #[api(output)]
    pub free_mem: i64,
    /// Max mem.
    #[api(output)]
    pub max_mem: i64,
    /// Swap mem.
    #[api(output)]
    pub swap_mem: i64,
    /// Num keys.
    #[api(output)]
    pub num_keys: i32,
    /// Free disk.
    #[api(output)]
    pub free_disk: i64,
    /// Max disk.
    #[api(output)]
    pub max_disk: i64,
    /// Rpcs active.
    #[api(output)]
    pub rpcs_active: i32,
    /// Fjthrds.
    #[api(ty = "short[]", output)]
    pub fjthrds: Value,
    /// Fjqueue.
    #[api(ty = "short[]", output)]
    pub fjqueue: Value,
    /// Tcps active.
    #[api(output)]
    pub tcps_active: i32,
    /// Open fds.
    #[api(output)]
    pub open_fds: i32,
    /// Gflops.
    #[api(output)]
    pub gflops: f64,
    /// Mem bw.
    #[api(output)]
    pub mem_bw: f64,
}

/// Ping.
#[derive(Clone, Debug, Schema)]
#[api(name = "PingV3", request)]
pub struct Ping {
    /// Cloud uptime millis.
    #[api(output)]
    pub cloud_uptime_millis: i64,
    /// Cloud healthy.
    #[api(output)]
    pub cloud_healthy: bool,
    /// Nodes.
    #[api(ty = "Iced[]", schema = "NodeMemoryInfoV3", output)]
    pub nodes: Value,
}

/// Node Memory Info.
#[derive(Clone, Debug, Schema)]
#[api(name = "NodeMemoryInfoV3")]
pub struct NodeMemoryInfo {
    /// Ip port.
    #[api(output)]
    pub ip_port: Option<String>,
    /// Free mem.
    #[api(output)]
    pub free_mem: i64,
}

/// Capabilities.
#[derive(Clone, Debug, Schema)]
#[api(name = "CapabilitiesV3", request)]
pub struct Capabilities {
    /// Capabilities.
    #[api(ty = "Iced[]", schema = "CapabilityEntryV3", output)]
    pub capabilities: Value,
}

/// Capability Entry.
#[derive(Clone, Debug, Schema)]
#[api(name = "CapabilityEntryV3")]
pub struct CapabilityEntry {
    /// Name.
    #[api(output)]
    pub name: Option<String>,
}

/// Init ID.
#[derive(Clone, Debug, Schema)]
#[api(name = "InitIDV3", request)]
pub struct InitID {
    /// Session key.
    #[api(inout)]
    pub session_key: Option<String>,
    /// Session properties allowed.
    #[api(output)]
    pub session_properties_allowed: bool,
}

/// Session Property.
#[derive(Clone, Debug, Schema)]
#[api(name = "SessionPropertyV3", request)]
pub struct SessionProperty {
    /// Session key.
    #[api(inout)]
    pub session_key: Option<String>,
    /// Key.
    #[api(inout)]
    pub key: Option<String>,
    /// Value.
    #[api(inout)]
    pub value: Option<String>,
}

/// Log And Echo.
#[derive(Clone, Debug, Schema)]
#[api(name = "LogAndEchoV3", request)]
pub struct LogAndEcho {
    /// Message.
    pub message: Option<String>,
}

/// Logs.
#[derive(Clone, Debug, Schema)]
#[api(name = "LogsV3", request)]
pub struct Logs {
    /// Nodeidx.
    #[api(required)]
    pub nodeidx: Option<String>,
    /// Name.
    pub name: Option<String>,
    /// Log.
    #[api(output)]
    pub log: Option<String>,
}

/// Job.
#[derive(Clone, Debug, Schema)]
#[api(name = "JobV3", iced = "Job")]
pub struct Job {
    /// Key.
    pub key: Option<JobKey>,
    /// Description.
    pub description: Option<String>,
    /// Status.
    #[api(output)]
    pub status: Option<String>,
    /// Progress.
    #[api(output)]
    pub progress: f32,
    /// Progress msg.
    #[api(output)]
    pub progress_msg: Option<String>,
    /// Start time.
    #[api(output)]
    pub start_time: i64,
    /// Msec.
    #[api(output)]
    pub msec: i64,
    /// Dest.
    #[api(inout)]
    pub dest: Option<AnyKey>,
    /// Warnings.
    #[api(output)]
    pub warnings: Option<Vec<String>>,
    /// Exception.
    #[api(output)]
    pub exception: Option<String>,
    /// Stacktrace.
    #[api(output)]
    pub stacktrace: Option<String>,
    /// Auto recoverable.
    #[api(output)]
    pub auto_recoverable: bool,
    /// Ready for view.
    #[api(output)]
    pub ready_for_view: bool,
}

/// Jobs.
#[derive(Clone, Debug, Schema)]
#[api(name = "JobsV3", request)]
pub struct Jobs {
    /// Job id.
    pub job_id: Option<JobKey>,
    /// Jobs.
    #[api(ty = "Job[]", schema = "JobV3", output)]
    pub jobs: Value,
}

/// Import Files.
#[derive(Clone, Debug, Schema)]
#[api(name = "ImportFilesV3", iced = "ImportFiles", request)]
pub struct ImportFiles {
    /// Path.
    #[api(required)]
    pub path: Option<String>,
    /// Pattern.
    pub pattern: Option<String>,
    /// Files.
    #[api(output)]
    pub files: Option<Vec<String>>,
    /// Destination frames.
    #[api(output)]
    pub destination_frames: Option<Vec<String>>,
    /// Fails.
    #[api(output)]
    pub fails: Option<Vec<String>>,
    /// Dels.
    #[api(output)]
    pub dels: Option<Vec<String>>,
}

/// A table or a query of a database.
#[derive(Clone, Debug, Schema)]
#[api(name = "ImportSQLTableV99", version = "99", iced = "Iced", request)]
pub struct ImportSqlTable {
    /// Name of one of the server's connections, or its URL.
    #[api(required)]
    pub connection_url: Option<String>,
    /// Table to read.
    #[api(default = Some(String::new()))]
    pub table: Option<String>,
    /// SELECT statement whose rows are read.
    #[api(default = Some(String::new()))]
    pub select_query: Option<String>,
    /// Taken and not needed: a query is read once, whatever it is.
    pub use_temp_table: Option<String>,
    /// Names the frame made from a query.
    pub temp_table_name: Option<String>,
    /// User of the database.
    #[api(required)]
    pub username: Option<String>,
    /// Password of that user.
    #[api(required)]
    pub password: Option<String>,
    /// Columns of the table, separated by commas.
    #[api(default = Some("*".to_string()))]
    pub columns: Option<String>,
    /// Taken and not needed: one node reads.
    pub fetch_mode: Option<String>,
    /// Taken and not needed: chunks follow the number of rows.
    pub num_chunks_hint: Option<String>,
}

/// Import Files Multi.
#[derive(Clone, Debug, Schema)]
#[api(name = "ImportFilesMultiV3", iced = "ImportFilesMulti", request)]
pub struct ImportFilesMulti {
    /// Paths.
    #[api(required)]
    pub paths: Option<Vec<String>>,
    /// Pattern.
    pub pattern: Option<String>,
    /// Files.
    #[api(output)]
    pub files: Option<Vec<String>>,
    /// Destination frames.
    #[api(output)]
    pub destination_frames: Option<Vec<String>>,
    /// Fails.
    #[api(output)]
    pub fails: Option<Vec<String>>,
    /// Dels.
    #[api(output)]
    pub dels: Option<Vec<String>>,
}

/// Parse Setup.
#[derive(Clone, Debug, Schema)]
#[api(name = "ParseSetupV3", iced = "ParseSetup", request)]
pub struct ParseSetup {
    /// Source frames.
    #[api(inout, required)]
    pub source_frames: Option<Vec<FrameKey>>,
    /// Parse type.
    #[api(ty = "enum", choice = "ApiParseTypeValuesProvider", default = Some("GUESS".to_string()), inout, values("GUESS", "ARFF", "XLS", "SVMLight", "AVRO", "PARQUET", "CSV"))]
    pub parse_type: Option<String>,
    /// Separator.
    #[api(inout)]
    pub separator: i8,
    /// Single quotes.
    #[api(inout)]
    pub single_quotes: bool,
    /// Check header.
    #[api(inout)]
    pub check_header: i32,
    /// Column names.
    #[api(inout)]
    pub column_names: Option<Vec<String>>,
    /// Skipped columns.
    #[api(inout)]
    pub skipped_columns: Option<Vec<i32>>,
    /// Column types.
    #[api(inout)]
    pub column_types: Option<Vec<String>>,
    /// Na strings.
    #[api(inout)]
    pub na_strings: Option<Vec<Option<Vec<String>>>>,
    /// Column name filter.
    #[api(inout)]
    pub column_name_filter: Option<String>,
    /// Column offset.
    #[api(inout)]
    pub column_offset: i32,
    /// Column count.
    #[api(inout)]
    pub column_count: i32,
    /// Destination frame.
    #[api(output)]
    pub destination_frame: Option<String>,
    /// Header lines.
    #[api(output)]
    pub header_lines: i64,
    /// Number columns.
    #[api(output)]
    pub number_columns: i32,
    /// Data.
    #[api(output)]
    pub data: Option<Vec<Option<Vec<String>>>>,
    /// Warnings.
    #[api(output)]
    pub warnings: Option<Vec<String>>,
    /// Chunk size.
    #[api(default = 4194304, output)]
    pub chunk_size: i32,
    /// Total filtered column count.
    #[api(inout)]
    pub total_filtered_column_count: i32,
    /// Custom non data line markers.
    #[api(inout)]
    pub custom_non_data_line_markers: Option<String>,
    /// Decrypt tool.
    #[api(ty = "Key<DecryptionTool>", schema = "DecryptionToolKeyV3")]
    pub decrypt_tool: Value,
    /// Partition by.
    #[api(inout)]
    pub partition_by: Option<Vec<String>>,
    /// Escapechar.
    #[api(inout)]
    pub escapechar: i8,
    /// Force col types.
    pub force_col_types: bool,
    /// Tz adjust to local.
    pub tz_adjust_to_local: bool,
}

/// Files of sparse rows.
#[derive(Clone, Debug, Schema)]
#[api(name = "ParseSVMLightV3", request)]
pub struct ParseSvmLight {
    /// Key of the frame to make.
    #[api(input)]
    pub destination_frame: Option<FrameKey>,
    /// Keys of the files.
    #[api(input, required)]
    pub source_frames: Option<Vec<FrameKey>>,
}

/// Parse.
#[derive(Clone, Debug, Schema)]
#[api(name = "ParseV3", request)]
pub struct Parse {
    /// Destination frame.
    #[api(required)]
    pub destination_frame: Option<FrameKey>,
    /// Source frames.
    #[api(required)]
    pub source_frames: Option<Vec<FrameKey>>,
    /// Parse type.
    #[api(ty = "enum", choice = "ApiParseTypeValuesProvider", values("GUESS", "ARFF", "XLS", "SVMLight", "AVRO", "PARQUET", "CSV"))]
    pub parse_type: Option<String>,
    /// Separator.
    pub separator: i8,
    /// Single quotes.
    pub single_quotes: bool,
    /// Check header.
    pub check_header: i32,
    /// Number columns.
    pub number_columns: i32,
    /// Column names.
    pub column_names: Option<Vec<String>>,
    /// Column types.
    pub column_types: Option<Vec<String>>,
    /// Skipped columns.
    #[api(inout)]
    pub skipped_columns: Option<Vec<i32>>,
    /// Force col types.
    pub force_col_types: bool,
    /// Domains.
    pub domains: Option<Vec<Option<Vec<String>>>>,
    /// Na strings.
    pub na_strings: Option<Vec<Option<Vec<String>>>>,
    /// Chunk size.
    pub chunk_size: i32,
    /// Delete on done.
    pub delete_on_done: bool,
    /// Blocking.
    pub blocking: bool,
    /// Decrypt tool.
    #[api(ty = "Key<DecryptionTool>", schema = "DecryptionToolKeyV3")]
    pub decrypt_tool: Value,
    /// Custom non data line markers.
    pub custom_non_data_line_markers: Option<String>,
    /// Partition by.
    pub partition_by: Option<Vec<String>>,
    /// Job.
    #[api(ty = "Job", schema = "JobV3", output)]
    pub job: Value,
    /// Rows.
    #[api(output)]
    pub rows: i64,
    /// Escapechar.
    #[api(inout)]
    pub escapechar: i8,
    /// Tz adjust to local.
    pub tz_adjust_to_local: bool,
}

/// Frames.
#[derive(Clone, Debug, Schema)]
#[api(name = "FramesV3", iced = "Frames", request)]
pub struct Frames {
    /// Frame id.
    #[api(nojson)]
    pub frame_id: Option<FrameKey>,
    /// Column.
    #[api(nojson)]
    pub column: Option<String>,
    /// Row offset.
    #[api(inout)]
    pub row_offset: i64,
    /// Row count.
    #[api(default = -1, inout)]
    pub row_count: i32,
    /// Column offset.
    #[api(inout)]
    pub column_offset: i32,
    /// Full column count.
    #[api(default = -1, inout)]
    pub full_column_count: i32,
    /// Column count.
    #[api(default = -1, inout)]
    pub column_count: i32,
    /// Find compatible models.
    #[api(nojson)]
    pub find_compatible_models: bool,
    /// Path.
    #[api(nojson)]
    pub path: Option<String>,
    /// Force.
    #[api(nojson)]
    pub force: bool,
    /// Num parts.
    #[api(default = 1, nojson)]
    pub num_parts: i32,
    /// Parallel.
    #[api(nojson)]
    pub parallel: bool,
    /// Format.
    #[api(ty = "enum", choice = "UtilExportFileFormat", nojson, values("csv", "parquet"))]
    pub format: Option<String>,
    /// Compression.
    pub compression: Option<String>,
    /// Write checksum.
    #[api(default = true)]
    pub write_checksum: bool,
    /// Tz adjust from local.
    pub tz_adjust_from_local: bool,
    /// Separator.
    #[api(default = 44)]
    pub separator: i8,
    /// Header.
    #[api(default = true)]
    pub header: bool,
    /// Quote header.
    #[api(default = true)]
    pub quote_header: bool,
    /// Job.
    #[api(ty = "Job", schema = "JobV3", output)]
    pub job: Value,
    /// Frames.
    #[api(ty = "Frame[]", schema = "FrameV3", output)]
    pub frames: Value,
    /// Compatible models.
    #[api(ty = "Model[]", schema = "ModelSchemaV3", output)]
    pub compatible_models: Value,
    /// Domain.
    #[api(output)]
    pub domain: Option<Vec<Option<Vec<String>>>>,
}

/// Frames List.
#[derive(Clone, Debug, Schema)]
#[api(name = "FramesListV3", iced = "Frames", request)]
pub struct FramesList {
    /// Frame id.
    #[api(nojson)]
    pub frame_id: Option<FrameKey>,
    /// Frames.
    #[api(ty = "Iced[]", schema = "FrameBaseV3", output)]
    pub frames: Value,
}

/// Frame Synopsis.
#[derive(Clone, Debug, Schema)]
#[api(name = "FrameSynopsisV3", superclass = "FrameBaseV3", request)]
pub struct FrameSynopsis {
    /// Rows.
    #[api(output)]
    pub rows: i64,
    /// Columns.
    #[api(output)]
    pub columns: i64,
    /// Frame id.
    #[api(inout, required, inherits = "FrameBaseV3")]
    pub frame_id: Option<FrameKey>,
    /// Byte size.
    #[api(output, inherits = "FrameBaseV3")]
    pub byte_size: i64,
    /// Is text.
    #[api(output, inherits = "FrameBaseV3")]
    pub is_text: bool,
}

/// Frame.
#[derive(Clone, Debug, Schema)]
#[api(name = "FrameV3", superclass = "FrameBaseV3", iced = "Frame", request)]
pub struct Frame {
    /// Row offset.
    pub row_offset: i64,
    /// Row count.
    #[api(inout)]
    pub row_count: i32,
    /// Column offset.
    #[api(inout)]
    pub column_offset: i32,
    /// Column count.
    #[api(inout)]
    pub column_count: i32,
    /// Full column count.
    #[api(inout)]
    pub full_column_count: i32,
    /// Total column count.
    #[api(inout)]
    pub total_column_count: i32,
    /// Checksum.
    #[api(output)]
    pub checksum: i64,
    /// Rows.
    #[api(output)]
    pub rows: i64,
    /// Num columns.
    #[api(output)]
    pub num_columns: i64,
    /// Default percentiles.
    #[api(output)]
    pub default_percentiles: Option<Vec<f64>>,
    /// Columns.
    #[api(ty = "Vec[]", schema = "ColV3", output)]
    pub columns: Value,
    /// Compatible models.
    #[api(output)]
    pub compatible_models: Option<Vec<String>>,
    /// Chunk summary.
    #[api(output)]
    pub chunk_summary: Option<Table>,
    /// Distribution summary.
    #[api(output)]
    pub distribution_summary: Option<Table>,
    /// Frame id.
    #[api(inout, required, inherits = "FrameBaseV3")]
    pub frame_id: Option<FrameKey>,
    /// Byte size.
    #[api(output, inherits = "FrameBaseV3")]
    pub byte_size: i64,
    /// Is text.
    #[api(output, inherits = "FrameBaseV3")]
    pub is_text: bool,
}

/// Col.
#[derive(Clone, Debug, Schema)]
#[api(name = "ColV3", iced = "Vec")]
pub struct Col {
    /// Label.
    #[api(output)]
    pub label: Option<String>,
    /// Missing count.
    #[api(output)]
    pub missing_count: i64,
    /// Zero count.
    #[api(output)]
    pub zero_count: i64,
    /// Positive infinity count.
    #[api(output)]
    pub positive_infinity_count: i64,
    /// Negative infinity count.
    #[api(output)]
    pub negative_infinity_count: i64,
    /// Mins.
    #[api(output)]
    pub mins: Option<Vec<f64>>,
    /// Maxs.
    #[api(output)]
    pub maxs: Option<Vec<f64>>,
    /// Mean.
    #[api(output)]
    pub mean: f64,
    /// Sigma.
    #[api(output)]
    pub sigma: f64,
    /// Type.
    #[api(output)]
    pub r#type: Option<String>,
    /// Domain.
    #[api(output)]
    pub domain: Option<Vec<String>>,
    /// Domain cardinality.
    #[api(output)]
    pub domain_cardinality: i32,
    /// Data.
    #[api(output)]
    pub data: Option<Vec<f64>>,
    /// String data.
    #[api(output)]
    pub string_data: Option<Vec<Option<String>>>,
    /// Precision.
    #[api(output)]
    pub precision: i8,
    /// Histogram bins.
    #[api(output)]
    pub histogram_bins: Option<Vec<i64>>,
    /// Histogram base.
    #[api(output)]
    pub histogram_base: f64,
    /// Histogram stride.
    #[api(output)]
    pub histogram_stride: f64,
    /// Percentiles.
    #[api(output)]
    pub percentiles: Option<Vec<f64>>,
}

/// Frame Chunks.
#[derive(Clone, Debug, Schema)]
#[api(name = "FrameChunksV3")]
pub struct FrameChunks {
    /// Frame id.
    #[api(inout, required)]
    pub frame_id: Option<FrameKey>,
    /// Chunks.
    #[api(ty = "Iced[]", schema = "FrameChunkV3", output)]
    pub chunks: Value,
}

/// Frame Chunk.
#[derive(Clone, Debug, Schema)]
#[api(name = "FrameChunkV3")]
pub struct FrameChunk {
    /// Chunk id.
    #[api(output)]
    pub chunk_id: i32,
    /// Row count.
    #[api(output)]
    pub row_count: i32,
    /// Node idx.
    #[api(output)]
    pub node_idx: i32,
}

/// Keys for S3.
#[derive(Clone, Debug, Schema)]
#[api(name = "PersistS3CredentialsV3")]
pub struct S3Credentials {
    /// The id of the key.
    #[api(input, secondary, required)]
    pub secret_key_id: Option<String>,
    /// The secret of the key.
    #[api(input, secondary, required)]
    pub secret_access_key: Option<String>,
    /// The token of a session, for temporary keys.
    #[api(input, secondary)]
    pub session_token: Option<String>,
}

/// Typeahead.
#[derive(Clone, Debug, Schema)]
#[api(name = "TypeaheadV3", request)]
pub struct Typeahead {
    /// Src.
    #[api(required)]
    pub src: Option<String>,
    /// Limit.
    pub limit: i32,
    /// Matches.
    #[api(output)]
    pub matches: Option<Vec<String>>,
}

/// Rapids Schema.
#[derive(Clone, Debug, Schema)]
#[api(name = "RapidsSchemaV3", request)]
pub struct RapidsSchema {
    /// Ast.
    #[api(required)]
    pub ast: Option<String>,
    /// Session id.
    pub session_id: Option<String>,
    /// Id.
    pub id: Option<String>,
}

/// Rapids Frame.
#[derive(Clone, Debug, Schema)]
#[api(name = "RapidsFrameV3", superclass = "RapidsSchemaV3", request)]
pub struct RapidsFrame {
    /// Key.
    #[api(output)]
    pub key: Option<FrameKey>,
    /// Num rows.
    #[api(output)]
    pub num_rows: i64,
    /// Num cols.
    #[api(output)]
    pub num_cols: i32,
    /// Ast.
    #[api(required, inherits = "RapidsSchemaV3")]
    pub ast: Option<String>,
    /// Session id.
    #[api(inherits = "RapidsSchemaV3")]
    pub session_id: Option<String>,
    /// Id.
    #[api(inherits = "RapidsSchemaV3")]
    pub id: Option<String>,
}

/// Several frames by name.
#[derive(Clone, Debug, Schema)]
#[api(name = "RapidsMapFrameV3", superclass = "RapidsSchemaV3", request)]
pub struct RapidsMapFrame {
    /// The frames.
    #[api(ty = "Iced[]", schema = "RapidsFrameV3", output)]
    pub frames: Option<Vec<RapidsFrame>>,
    /// Their names, in the same order.
    #[api(ty = "Iced", schema = "RapidsStringsV3", output)]
    pub map_keys: Option<RapidsStrings>,
    /// Ast.
    #[api(required, inherits = "RapidsSchemaV3")]
    pub ast: Option<String>,
    /// Session id.
    #[api(inherits = "RapidsSchemaV3")]
    pub session_id: Option<String>,
    /// Id.
    #[api(inherits = "RapidsSchemaV3")]
    pub id: Option<String>,
}

/// Rapids Number.
#[derive(Clone, Debug, Schema)]
#[api(name = "RapidsNumberV3", superclass = "RapidsSchemaV3", request)]
pub struct RapidsNumber {
    /// Scalar.
    #[api(output)]
    pub scalar: f64,
    /// Ast.
    #[api(required, inherits = "RapidsSchemaV3")]
    pub ast: Option<String>,
    /// Session id.
    #[api(inherits = "RapidsSchemaV3")]
    pub session_id: Option<String>,
    /// Id.
    #[api(inherits = "RapidsSchemaV3")]
    pub id: Option<String>,
}

/// Rapids Numbers.
#[derive(Clone, Debug, Schema)]
#[api(name = "RapidsNumbersV3", superclass = "RapidsSchemaV3", request)]
pub struct RapidsNumbers {
    /// Scalar.
    #[api(output)]
    pub scalar: Option<Vec<f64>>,
    /// Ast.
    #[api(required, inherits = "RapidsSchemaV3")]
    pub ast: Option<String>,
    /// Session id.
    #[api(inherits = "RapidsSchemaV3")]
    pub session_id: Option<String>,
    /// Id.
    #[api(inherits = "RapidsSchemaV3")]
    pub id: Option<String>,
}

/// Rapids String.
#[derive(Clone, Debug, Schema)]
#[api(name = "RapidsStringV3", superclass = "RapidsSchemaV3", request)]
pub struct RapidsString {
    /// String.
    #[api(output)]
    pub string: Option<String>,
    /// Ast.
    #[api(required, inherits = "RapidsSchemaV3")]
    pub ast: Option<String>,
    /// Session id.
    #[api(inherits = "RapidsSchemaV3")]
    pub session_id: Option<String>,
    /// Id.
    #[api(inherits = "RapidsSchemaV3")]
    pub id: Option<String>,
}

/// Rapids Strings.
#[derive(Clone, Debug, Schema)]
#[api(name = "RapidsStringsV3", superclass = "RapidsSchemaV3", request)]
pub struct RapidsStrings {
    /// String.
    #[api(output)]
    pub string: Option<Vec<String>>,
    /// Ast.
    #[api(required, inherits = "RapidsSchemaV3")]
    pub ast: Option<String>,
    /// Session id.
    #[api(inherits = "RapidsSchemaV3")]
    pub session_id: Option<String>,
    /// Id.
    #[api(inherits = "RapidsSchemaV3")]
    pub id: Option<String>,
}

/// Rapids Function.
#[derive(Clone, Debug, Schema)]
#[api(name = "RapidsFunctionV3", superclass = "RapidsSchemaV3", request)]
pub struct RapidsFunction {
    /// Funstr.
    #[api(output)]
    pub funstr: Option<String>,
    /// Ast.
    #[api(required, inherits = "RapidsSchemaV3")]
    pub ast: Option<String>,
    /// Session id.
    #[api(inherits = "RapidsSchemaV3")]
    pub session_id: Option<String>,
    /// Id.
    #[api(inherits = "RapidsSchemaV3")]
    pub id: Option<String>,
}

/// Remove.
#[derive(Clone, Debug, Schema)]
#[api(name = "RemoveV3", request)]
pub struct Remove {
    /// Key.
    pub key: Option<AnyKey>,
    /// Cascade.
    pub cascade: bool,
}

/// Remove All.
#[derive(Clone, Debug, Schema)]
#[api(name = "RemoveAllV3", request)]
pub struct RemoveAll {
    /// Retained keys.
    #[api(ty = "Key<Keyed>[]", schema = "KeyV3")]
    pub retained_keys: Value,
}

/// Models.
#[derive(Clone, Debug, Schema)]
#[api(name = "ModelsV3", iced = "Models", request)]
pub struct Models {
    /// Model id.
    #[api(nojson)]
    pub model_id: Option<ModelKey>,
    /// Preview.
    #[api(nojson)]
    pub preview: bool,
    /// Find compatible frames.
    #[api(nojson)]
    pub find_compatible_frames: bool,
    /// Models.
    #[api(ty = "Model[]", schema = "ModelSchemaBaseV3", output)]
    pub models: Value,
    /// Compatible frames.
    #[api(ty = "Frame[]", schema = "FrameV3", output)]
    pub compatible_frames: Value,
    /// Export cross validation predictions.
    #[api(secondary)]
    pub export_cross_validation_predictions: bool,
}

/// Model Builders.
#[derive(Clone, Debug, Schema)]
#[api(name = "ModelBuildersV3", request)]
pub struct ModelBuilders {
    /// Algo.
    #[api(nojson)]
    pub algo: Option<String>,
    /// Model builders.
    #[api(ty = "Map<string,ModelBuilderSchema>", output)]
    pub model_builders: Value,
}

/// Model Metrics List Schema.
#[derive(Clone, Debug, Schema)]
#[api(name = "ModelMetricsListSchemaV3", iced = "ModelMetricsList", request)]
pub struct ModelMetricsListSchema {
    /// Model.
    pub model: Option<ModelKey>,
    /// Frame.
    pub frame: Option<FrameKey>,
    /// Predictions frame.
    #[api(inout)]
    pub predictions_frame: Option<FrameKey>,
    /// Deviances frame.
    #[api(inout)]
    pub deviances_frame: Option<FrameKey>,
    /// Reconstruction error.
    #[api(nojson)]
    pub reconstruction_error: bool,
    /// Reconstruction error per feature.
    #[api(nojson)]
    pub reconstruction_error_per_feature: bool,
    /// Deep features hidden layer.
    #[api(default = -1, nojson)]
    pub deep_features_hidden_layer: i32,
    /// Deep features hidden layer name.
    #[api(nojson)]
    pub deep_features_hidden_layer_name: Option<String>,
    /// Reconstruct train.
    #[api(nojson)]
    pub reconstruct_train: bool,
    /// Project archetypes.
    #[api(nojson)]
    pub project_archetypes: bool,
    /// Reverse transform.
    #[api(nojson)]
    pub reverse_transform: bool,
    /// Leaf node assignment.
    #[api(nojson)]
    pub leaf_node_assignment: bool,
    /// Leaf node assignment type.
    #[api(ty = "enum", choice = "ModelLeafNodeAssignmentLeafNodeAssignmentType", nojson, values("Path", "Node_ID"))]
    pub leaf_node_assignment_type: Option<String>,
    /// Predict staged proba.
    #[api(nojson)]
    pub predict_staged_proba: bool,
    /// Predict contributions.
    #[api(nojson)]
    pub predict_contributions: bool,
    /// Row to tree assignment.
    #[api(nojson)]
    pub row_to_tree_assignment: bool,
    /// Predict contributions output format.
    #[api(ty = "enum", choice = "ModelContributionsContributionsOutputFormat", nojson, values("Original", "Compact"))]
    pub predict_contributions_output_format: Option<String>,
    /// Top n.
    #[api(nojson)]
    pub top_n: i32,
    /// Bottom n.
    #[api(nojson)]
    pub bottom_n: i32,
    /// Compare abs.
    #[api(nojson)]
    pub compare_abs: bool,
    /// Feature frequencies.
    #[api(nojson)]
    pub feature_frequencies: bool,
    /// Exemplar index.
    #[api(default = -1, nojson)]
    pub exemplar_index: i32,
    /// Deviances.
    #[api(nojson)]
    pub deviances: bool,
    /// Custom metric func.
    #[api(nojson)]
    pub custom_metric_func: Option<String>,
    /// Auc type.
    #[api(nojson)]
    pub auc_type: Option<String>,
    /// Auuc type.
    #[api(nojson)]
    pub auuc_type: Option<String>,
    /// Custom auuc thresholds.
    #[api(inout, secondary, gridable)]
    pub custom_auuc_thresholds: Option<Vec<f64>>,
    /// Auuc nbins.
    #[api(nojson)]
    pub auuc_nbins: i32,
    /// Background frame.
    #[api(nojson)]
    pub background_frame: Option<FrameKey>,
    /// Output space.
    #[api(nojson)]
    pub output_space: bool,
    /// Output per reference.
    pub output_per_reference: bool,
    /// Model metrics.
    #[api(ty = "ModelMetrics[]", schema = "ModelMetricsBaseV3", output)]
    pub model_metrics: Value,
}

/// H2OError.
#[derive(Clone, Debug, Schema)]
#[api(name = "H2OErrorV3", iced = "H2OError")]
pub struct H2OError {
    /// Timestamp.
    #[api(output)]
    pub timestamp: i64,
    /// Error url.
    #[api(output)]
    pub error_url: Option<String>,
    /// Msg.
    #[api(output)]
    pub msg: Option<String>,
    /// Dev msg.
    #[api(output)]
    pub dev_msg: Option<String>,
    /// Http status.
    #[api(output)]
    pub http_status: i32,
    /// Values.
    #[api(ty = "Map<string,Object>", output)]
    pub values: Value,
    /// Exception type.
    #[api(output)]
    pub exception_type: Option<String>,
    /// Exception msg.
    #[api(output)]
    pub exception_msg: Option<String>,
    /// Stacktrace.
    #[api(output)]
    pub stacktrace: Option<Vec<String>>,
}

/// H2OModel Builder Error.
#[derive(Clone, Debug, Schema)]
#[api(name = "H2OModelBuilderErrorV3", superclass = "H2OErrorV3", iced = "H2OModelBuilderError")]
pub struct H2OModelBuilderError {
    /// Parameters.
    #[api(ty = "Parameters", schema = "ModelParametersSchemaV3", output)]
    pub parameters: Value,
    /// Messages.
    #[api(ty = "ValidationMessage[]", schema = "ValidationMessageV3", output)]
    pub messages: Value,
    /// Error count.
    #[api(output)]
    pub error_count: i32,
    /// Timestamp.
    #[api(output, inherits = "H2OErrorV3")]
    pub timestamp: i64,
    /// Error url.
    #[api(output, inherits = "H2OErrorV3")]
    pub error_url: Option<String>,
    /// Msg.
    #[api(output, inherits = "H2OErrorV3")]
    pub msg: Option<String>,
    /// Dev msg.
    #[api(output, inherits = "H2OErrorV3")]
    pub dev_msg: Option<String>,
    /// Http status.
    #[api(output, inherits = "H2OErrorV3")]
    pub http_status: i32,
    /// Values.
    #[api(ty = "Map<string,Object>", output, inherits = "H2OErrorV3")]
    pub values: Value,
    /// Exception type.
    #[api(output, inherits = "H2OErrorV3")]
    pub exception_type: Option<String>,
    /// Exception msg.
    #[api(output, inherits = "H2OErrorV3")]
    pub exception_msg: Option<String>,
    /// Stacktrace.
    #[api(output, inherits = "H2OErrorV3")]
    pub stacktrace: Option<Vec<String>>,
}

/// Metadata.
#[derive(Clone, Debug, Schema)]
#[api(name = "MetadataV3", request)]
pub struct Metadata {
    /// Num.
    #[api(nojson)]
    pub num: i32,
    /// Http method.
    #[api(nojson)]
    pub http_method: Option<String>,
    /// Path.
    #[api(nojson)]
    pub path: Option<String>,
    /// Classname.
    #[api(nojson)]
    pub classname: Option<String>,
    /// Schemaname.
    #[api(nojson)]
    pub schemaname: Option<String>,
    /// Routes.
    #[api(ty = "Route[]", schema = "RouteV3", output)]
    pub routes: Value,
    /// Schemas.
    #[api(ty = "SchemaMetadata[]", schema = "SchemaMetadataV3", output)]
    pub schemas: Value,
    /// Markdown.
    #[api(output)]
    pub markdown: Option<String>,
}

/// Schema Metadata.
#[derive(Clone, Debug, Schema)]
#[api(name = "SchemaMetadataV3", iced = "SchemaMetadata")]
pub struct SchemaMetadata {
    /// Version.
    pub version: i32,
    /// Name.
    pub name: Option<String>,
    /// Label.
    #[api(output)]
    pub label: Option<String>,
    /// Superclass.
    pub superclass: Option<String>,
    /// Type.
    pub r#type: Option<String>,
    /// Fields.
    #[api(ty = "FieldMetadata[]", schema = "FieldMetadataV3", output)]
    pub fields: Value,
    /// Markdown.
    #[api(output)]
    pub markdown: Option<String>,
}

/// Field Metadata.
#[derive(Clone, Debug, Schema)]
#[api(name = "FieldMetadataV3", iced = "FieldMetadata")]
pub struct FieldMetadata {
    /// Name.
    #[api(output)]
    pub name: Option<String>,
    /// Type.
    #[api(output)]
    pub r#type: Option<String>,
    /// Is schema.
    #[api(output)]
    pub is_schema: bool,
    /// Schema name.
    pub schema_name: Option<String>,
    /// Value.
    #[api(ty = "Polymorphic", output)]
    pub value: Value,
    /// Help.
    #[api(output)]
    pub help: Option<String>,
    /// Label.
    #[api(output)]
    pub label: Option<String>,
    /// Required.
    #[api(output)]
    pub required: bool,
    /// Level.
    #[api(ty = "enum", choice = "ApiAPILevel", output, values("critical", "secondary", "expert"))]
    pub level: Option<String>,
    /// Direction.
    #[api(ty = "enum", choice = "ApiAPIDirection", output, values("INPUT", "OUTPUT", "INOUT"))]
    pub direction: Option<String>,
    /// Is inherited.
    #[api(output)]
    pub is_inherited: bool,
    /// Inherited from.
    #[api(output)]
    pub inherited_from: Option<String>,
    /// Is gridable.
    #[api(output)]
    pub is_gridable: bool,
    /// Values.
    #[api(output)]
    pub values: Option<Vec<String>>,
    /// Json.
    #[api(output)]
    pub json: bool,
    /// Is member of frames.
    #[api(output)]
    pub is_member_of_frames: Option<Vec<String>>,
    /// Is mutually exclusive with.
    #[api(output)]
    pub is_mutually_exclusive_with: Option<Vec<String>>,
}

/// Route.
#[derive(Clone, Debug, Schema)]
#[api(name = "RouteV3", iced = "Route")]
pub struct Route {
    /// Http method.
    #[api(output)]
    pub http_method: Option<String>,
    /// Url pattern.
    #[api(output)]
    pub url_pattern: Option<String>,
    /// Summary.
    #[api(output)]
    pub summary: Option<String>,
    /// Api name.
    #[api(output)]
    pub api_name: Option<String>,
    /// Handler class.
    #[api(output)]
    pub handler_class: Option<String>,
    /// Handler method.
    #[api(output)]
    pub handler_method: Option<String>,
    /// Input schema.
    #[api(output)]
    pub input_schema: Option<String>,
    /// Output schema.
    #[api(output)]
    pub output_schema: Option<String>,
    /// Path params.
    #[api(output)]
    pub path_params: Option<Vec<String>>,
    /// Markdown.
    #[api(output)]
    pub markdown: Option<String>,
}

/// Shutdown.
#[derive(Clone, Debug, Schema)]
#[api(name = "ShutdownV3", iced = "Shutdown", request)]
pub struct Shutdown {}

/// Download Data.
#[derive(Clone, Debug, Schema)]
#[api(name = "DownloadDataV3", request)]
pub struct DownloadData {
    /// Frame id.
    #[api(required)]
    pub frame_id: Option<FrameKey>,
    /// Hex string.
    pub hex_string: bool,
    /// Csv.
    #[api(output)]
    pub csv: Option<String>,
    /// Filename.
    #[api(output)]
    pub filename: Option<String>,
}

/// Job Key.
#[derive(Clone, Debug, Schema)]
#[api(name = "JobKeyV3", superclass = "KeyV3", iced = "Key<Job>")]
pub struct JobKeySchema {
    /// Name.
    #[api(inout, inherits = "KeyV3")]
    pub name: Option<String>,
    /// Type.
    #[api(inout, inherits = "KeyV3")]
    pub r#type: Option<String>,
    /// URL.
    #[api(name = "URL", inout, inherits = "KeyV3")]
    pub url: Option<String>,
}

/// Frame Key.
#[derive(Clone, Debug, Schema)]
#[api(name = "FrameKeyV3", superclass = "KeyV3", iced = "Key<Frame>")]
pub struct FrameKeySchema {
    /// Name.
    #[api(inout, inherits = "KeyV3")]
    pub name: Option<String>,
    /// Type.
    #[api(inout, inherits = "KeyV3")]
    pub r#type: Option<String>,
    /// URL.
    #[api(name = "URL", inout, inherits = "KeyV3")]
    pub url: Option<String>,
}

/// Model Key.
#[derive(Clone, Debug, Schema)]
#[api(name = "ModelKeyV3", superclass = "KeyV3", iced = "Key<Model>")]
pub struct ModelKeySchema {
    /// Name.
    #[api(inout, inherits = "KeyV3")]
    pub name: Option<String>,
    /// Type.
    #[api(inout, inherits = "KeyV3")]
    pub r#type: Option<String>,
    /// URL.
    #[api(name = "URL", inout, inherits = "KeyV3")]
    pub url: Option<String>,
}

/// Key.
#[derive(Clone, Debug, Schema)]
#[api(name = "KeyV3", iced = "Key<Keyed>")]
pub struct KeySchema {
    /// Name.
    #[api(inout)]
    pub name: Option<String>,
    /// Type.
    #[api(inout)]
    pub r#type: Option<String>,
    /// URL.
    #[api(name = "URL", inout)]
    pub url: Option<String>,
}

/// Two Dim Table.
#[derive(Clone, Debug, Schema)]
#[api(name = "TwoDimTableV3", iced = "TwoDimTable")]
pub struct TableSchema {
    /// Name.
    #[api(output)]
    pub name: Option<String>,
    /// Description.
    #[api(output)]
    pub description: Option<String>,
    /// Columns.
    #[api(ty = "Iced[]", schema = "ColumnSpecsBase", output)]
    pub columns: Value,
    /// Rowcount.
    #[api(output)]
    pub rowcount: i32,
    /// Data.
    #[api(ty = "Polymorphic[][]", output)]
    pub data: Value,
}

/// Column Specs Base.
#[derive(Clone, Debug, Schema)]
#[api(name = "ColumnSpecsBase", version = "-1")]
pub struct ColumnSpecsBase {
    /// Name.
    #[api(output)]
    pub name: Option<String>,
    /// Type.
    #[api(output)]
    pub r#type: Option<String>,
    /// Format.
    #[api(output)]
    pub format: Option<String>,
    /// Description.
    #[api(output)]
    pub description: Option<String>,
}

/// Session Id.
#[derive(Clone, Debug, Schema)]
#[api(name = "SessionIdV4", version = "4", superclass = "OutputSchemaV4")]
pub struct SessionId {
    /// Session key.
    pub session_key: Option<String>,
    /// Schema.
    #[api(name = "__schema", default = Some("/4/schemas/SessionIdV4".to_string()), inherits = "OutputSchemaV4")]
    pub schema: Option<String>,
}

/// Rapids Help.
#[derive(Clone, Debug, Schema)]
#[api(name = "RapidsHelpV3")]
pub struct RapidsHelp {
    /// Expressions.
    #[api(ty = "Iced[]", schema = "RapidsExpressionV3", output)]
    pub expressions: Value,
}

/// Round trips between nodes.
#[derive(Clone, Debug, Schema)]
#[api(name = "NetworkTestV3", iced = "NetworkTest", request)]
pub struct NetworkTest {
    /// Mean microseconds of a round trip, by size of the message.
    #[api(ty = "double[]", output)]
    pub microseconds_collective: Value,
    /// Mean bytes per second, by size of the message.
    #[api(ty = "double[]", output)]
    pub bandwidths_collective: Value,
    /// Microseconds of a round trip, by size of the message and node.
    #[api(ty = "double[][]", output)]
    pub microseconds: Value,
    /// Bytes per second, by size of the message and node.
    #[api(ty = "double[][]", output)]
    pub bandwidths: Value,
    /// Nodes.
    #[api(output)]
    pub nodes: Option<Vec<String>>,
    /// The same as a table.
    #[api(output)]
    pub table: Option<Table>,
}

/// Events of the cluster.
#[derive(Clone, Debug, Schema)]
#[api(name = "TimelineV3", iced = "Timeline", request)]
pub struct Timeline {
    /// Now, in milliseconds since 1970.
    #[api(output)]
    pub now: i64,
    /// This node.
    #[api(name = "self", output)]
    pub this_node: Option<String>,
    /// Events, oldest first.
    #[api(ty = "Iced[]", schema = "EventV3", default = Value::Array(vec![]), output)]
    pub events: Value,
}

/// Threads by the processor time that they use.
#[derive(Clone, Debug, Schema)]
#[api(name = "ProfilerV3", request)]
pub struct Profiler {
    /// Lines of each entry: the thread, then what it waits for.
    #[api(default = 10, required)]
    pub depth: i32,
    /// Nodes.
    #[api(ty = "Iced[]", schema = "ProfilerNodeV3", output)]
    pub nodes: Value,
}

/// Threads and what they wait for.
#[derive(Clone, Debug, Schema)]
#[api(name = "JStackV3", iced = "JStack", request)]
pub struct JStack {
    /// Threads of each node.
    #[api(ty = "DStackTrace[]", schema = "DStackTraceV3", output)]
    pub traces: Value,
}

/// Ticks of processors.
#[derive(Clone, Debug, Schema)]
#[api(name = "WaterMeterCpuTicksV3", iced = "WaterMeterCpuTicks", request)]
pub struct WaterMeterCpuTicks {
    /// Number of the node.
    #[api(required)]
    pub nodeidx: i32,
    /// User, system, other and idle ticks of each processor.
    #[api(ty = "long[][]", output)]
    pub cpu_ticks: Value,
}

/// Bytes read and written.
#[derive(Clone, Debug, Schema)]
#[api(name = "WaterMeterIoV3", iced = "WaterMeterIo", request)]
pub struct WaterMeterIo {
    /// Number of the node.
    pub nodeidx: i32,
    /// Reads and writes by backend.
    #[api(ty = "Iced[]", schema = "IoStatsEntry", output)]
    pub persist_stats: Value,
}

/// A frame to save.
#[derive(Clone, Debug, Schema)]
#[api(name = "FrameSaveV3", iced = "Iced", request)]
pub struct FrameSave {
    /// Key of the frame.
    pub frame_id: Option<FrameKey>,
    /// Directory to save it to.
    pub dir: Option<String>,
    /// Overwrite what is there.
    #[api(default = true)]
    pub force: bool,
    /// Job.
    #[api(ty = "Job", schema = "JobV3", output)]
    pub job: Value,
}

/// A saved frame to read.
#[derive(Clone, Debug, Schema)]
#[api(name = "FrameLoadV3", iced = "Iced", request)]
pub struct FrameLoad {
    /// Key that the frame was saved under.
    pub frame_id: Option<FrameKey>,
    /// Directory that it was saved to.
    pub dir: Option<String>,
    /// Replace a frame with this key.
    #[api(default = true)]
    pub force: bool,
    /// Job.
    #[api(ty = "Job", schema = "JobV3", output)]
    pub job: Value,
}

/// A frame of random data.
#[derive(Clone, Debug, Schema)]
#[api(name = "CreateFrameV3", iced = "CreateFrame", request)]
pub struct CreateFrame {
    /// Key of the frame to make.
    #[api(inout)]
    pub dest: Option<FrameKey>,
    /// Number of rows.
    #[api(default = 10000, inout)]
    pub rows: i64,
    /// Number of columns beside the response.
    #[api(default = 10, inout)]
    pub cols: i32,
    /// Seed of the values; -1 for a random one.
    #[api(default = -1, inout)]
    pub seed: i64,
    /// Seed of the order of the columns' types; -1 for a random one.
    #[api(default = -1, inout)]
    pub seed_for_column_types: i64,
    /// Are the values random?
    #[api(default = true, inout)]
    pub randomize: bool,
    /// The value of every cell, when they are not random.
    #[api(inout)]
    pub value: i64,
    /// Reals lie between minus this and this.
    #[api(default = 100, inout)]
    pub real_range: i64,
    /// Share of the columns that are categorical.
    #[api(default = 0.2, inout)]
    pub categorical_fraction: f64,
    /// Levels of a categorical column.
    #[api(default = 100, inout)]
    pub factors: i32,
    /// Share of the columns that are integers.
    #[api(default = 0.2, inout)]
    pub integer_fraction: f64,
    /// Integers lie between minus this and this.
    #[api(default = 100, inout)]
    pub integer_range: i64,
    /// Share of the columns that are 0 or 1.
    #[api(default = 0.1, inout)]
    pub binary_fraction: f64,
    /// Share of ones in those.
    #[api(default = 0.02, inout)]
    pub binary_ones_fraction: f64,
    /// Share of the columns that are times.
    #[api(inout)]
    pub time_fraction: f64,
    /// Share of the columns that are texts.
    #[api(inout)]
    pub string_fraction: f64,
    /// Share of missing values.
    #[api(default = 0.01, inout)]
    pub missing_fraction: f64,
    /// Is there a response before the other columns?
    #[api(inout)]
    pub has_response: bool,
    /// Levels of the response; 1 for a real number.
    #[api(default = 2, inout)]
    pub response_factors: i32,
    /// Is a response of real numbers positive?
    #[api(inout)]
    pub positive_response: bool,
    /// The job that makes the frame.
    #[api(output)]
    pub key: Option<JobKey>,
}

/// A grid.
#[derive(Clone, Debug, Schema)]
#[api(name = "GridSchemaV99", iced = "Grid")]
pub struct GridSchema {
    /// Key of the grid.
    #[api(ty = "Key<Grid>", schema = "GridKeyV3")]
    pub grid_id: Value,
    /// Metric that the models are sorted by.
    #[api(inout)]
    pub sort_by: Option<String>,
    /// Largest first?
    #[api(inout)]
    pub decreasing: bool,
    /// Models, in order.
    pub model_ids: Option<Vec<ModelKey>>,
    /// Names of the hyper-parameters.
    #[api(output)]
    pub hyper_names: Option<Vec<String>>,
    /// Hyper-parameters of the models that failed.
    #[api(ty = "Parameters[]", schema = "ModelParametersSchemaV3", output)]
    pub failed_params: Value,
    /// Warnings.
    #[api(output)]
    pub warning_details: Option<Vec<String>>,
    /// Why models failed.
    #[api(output)]
    pub failure_details: Option<Vec<String>>,
    /// Where models failed.
    #[api(output)]
    pub failure_stack_traces: Option<Vec<String>>,
    /// Hyper-parameters of the models that failed, as texts.
    #[api(output)]
    pub failed_raw_params: Option<Vec<Option<Vec<String>>>>,
    /// Training metrics of each model.
    #[api(ty = "ModelMetrics[]", schema = "ModelMetricsBaseV3", output)]
    pub training_metrics: Value,
    /// Validation metrics of each model.
    #[api(ty = "ModelMetrics[]", schema = "ModelMetricsBaseV3", output)]
    pub validation_metrics: Value,
    /// Metrics of cross-validation of each model.
    #[api(ty = "ModelMetrics[]", schema = "ModelMetricsBaseV3", output)]
    pub cross_validation_metrics: Value,
    /// Metrics by fold of each model.
    #[api(ty = "TwoDimTable[]", schema = "TwoDimTableV3", output)]
    pub cross_validation_metrics_summary: Value,
    /// Directory that models are written to.
    #[api(output)]
    pub export_checkpoints_dir: Option<String>,
    /// Hyper-parameters and metric of each model.
    #[api(output)]
    pub summary_table: Option<Table>,
    /// When each model was done, and its metrics.
    #[api(output)]
    pub scoring_history: Option<Table>,
}

/// All grids.
#[derive(Clone, Debug, Schema)]
#[api(name = "GridsV99", iced = "Grids")]
pub struct Grids {
    /// Grids.
    #[api(ty = "Grid[]", schema = "GridSchemaV99", output)]
    pub grids: Value,
}

/// Where to write a grid.
#[derive(Clone, Debug, Schema)]
#[api(name = "GridExportV3", iced = "GridExport")]
pub struct GridExport {
    /// Key of the grid.
    pub grid_id: Option<String>,
    /// Directory to write to.
    pub grid_directory: Option<String>,
    /// Write what the parameters refer to.
    pub save_params_references: bool,
    /// Write held-out predictions.
    pub export_cross_validation_predictions: bool,
}

/// Where to read a grid from.
#[derive(Clone, Debug, Schema)]
#[api(name = "GridImportV3", iced = "GridImport")]
pub struct GridImport {
    /// Path of the grid's file.
    pub grid_path: Option<String>,
    /// Read what the parameters refer to.
    pub load_params_references: bool,
}

/// Key of a grid.
#[derive(Clone, Debug, Schema)]
#[api(name = "GridKeyV3", superclass = "KeyV3", iced = "Key<Grid>")]
pub struct GridKeySchema {
    /// Name of the key.
    #[api(inout)]
    pub name: Option<String>,
    /// Type of the key.
    #[api(inout)]
    pub r#type: Option<String>,
    /// Where to find it.
    #[api(name = "URL", inout)]
    pub url: Option<String>,
}

/// Where to write a model.
#[derive(Clone, Debug, Schema)]
#[api(name = "ModelExportV3", iced = "ModelExport", request)]
pub struct ModelExport {
    /// Key of the model.
    pub model_id: Option<ModelKey>,
    /// Path of the file to write.
    pub dir: Option<String>,
    /// Overwrite a file that is there.
    #[api(default = true)]
    pub force: bool,
    /// Write held-out predictions.
    pub export_cross_validation_predictions: bool,
}

/// Where to read a model from.
#[derive(Clone, Debug, Schema)]
#[api(name = "ModelImportV3", iced = "ModelImport", request)]
pub struct ModelImport {
    /// Key of the model.
    pub model_id: Option<ModelKey>,
    /// Path or key of the file.
    pub dir: Option<String>,
    /// Replace a model that is there.
    #[api(default = true)]
    pub force: bool,
}

/// The models along a path of penalties.
#[derive(Clone, Debug, Schema)]
#[api(name = "GLMRegularizationPathV3", iced = "GLMRegularizationPath")]
pub struct RegularizationPath {
    /// Key of the model.
    pub model: Option<ModelKey>,
    /// Strength of the penalty.
    pub lambdas: Option<Vec<f64>>,
    /// Share of the absolute penalty.
    pub alphas: Option<Vec<f64>>,
    /// Share of the null deviance explained on training data.
    pub explained_deviance_train: Option<Vec<f64>>,
    /// Share of the null deviance explained on validation data.
    pub explained_deviance_valid: Option<Vec<f64>>,
    /// Coefficients on the original scale.
    pub coefficients: Option<Vec<Vec<f64>>>,
    /// Coefficients on the standardized scale.
    pub coefficients_std: Option<Vec<Vec<f64>>>,
    /// Names of the coefficients.
    pub coefficient_names: Option<Vec<String>>,
    /// Z values.
    pub z_values: Option<Vec<Vec<f64>>>,
    /// P values.
    pub p_values: Option<Vec<Vec<f64>>>,
    /// Standard errors.
    pub std_errs: Option<Vec<Vec<f64>>>,
}

/// A linear model with other coefficients.
#[derive(Clone, Debug, Schema)]
#[api(name = "MakeGLMModelV3", iced = "MakeGLMModel")]
pub struct MakeLinear {
    /// The model to begin with.
    pub model: Option<ModelKey>,
    /// Key of the new model.
    pub dest: Option<ModelKey>,
    /// Names of the coefficients that are given; others are 0.
    pub names: Option<Vec<String>>,
    /// Coefficients on the original scale.
    pub beta: Option<Vec<f64>>,
    /// Probability from which on a row counts as the second class.
    #[api(default = 0.5_f32)]
    pub threshold: f32,
}

/// A linear model with some of its effects.
#[derive(Clone, Debug, Schema)]
#[api(name = "MakeDerivedGLMModelV3", iced = "Iced")]
pub struct MakeDerived {
    /// The model to begin with.
    #[api(required)]
    pub model: Option<ModelKey>,
    /// Key of the new model.
    pub dest: Option<String>,
    /// Leave the offset out of predictions.
    pub remove_offset_effects: bool,
    /// Leave the control variables out of predictions.
    pub remove_control_variables_effects: bool,
}

/// A linear model with all of its effects.
#[derive(Clone, Debug, Schema)]
#[api(name = "MakeUnrestrictedGLMModelV3", iced = "Iced")]
pub struct MakeUnrestricted {
    /// The model to begin with.
    #[api(required)]
    pub model: Option<ModelKey>,
    /// Key of the new model.
    pub dest: Option<String>,
}

/// Columns that decide one after the other in the trees of a model.
#[derive(Clone, Debug, Schema)]
#[api(name = "FeatureInteractionV3", request)]
pub struct FeatureInteraction {
    /// The model.
    #[api(input, nojson)]
    pub model_id: Option<ModelKey>,
    /// Most columns that follow a first one; negative for any number.
    #[api(input, required)]
    pub max_interaction_depth: i32,
    /// Splits at this depth and below are passed over; negative for none.
    #[api(input, required)]
    pub max_tree_depth: i32,
    /// Depth down to which paths may begin; 0 for the root only, negative for any.
    #[api(input, required)]
    pub max_deepening: i32,
    /// A table for each number of columns, one of the leaves, and one for each column's thresholds.
    #[api(output)]
    pub feature_interaction: Option<Vec<Table>>,
}

/// How strongly variables interact in a model.
#[derive(Clone, Debug, Schema)]
#[api(name = "FriedmanPopescusHV3", request)]
pub struct Interplay {
    /// The model.
    #[api(input, nojson)]
    pub model_id: Option<ModelKey>,
    /// The rows that it is measured on.
    #[api(ty = "Frame", schema = "FrameV3", input, required)]
    pub frame: Option<FrameKey>,
    /// The variables.
    #[api(input, required)]
    pub variables: Option<Vec<String>>,
    /// The H statistic: 0 without interplay.
    #[api(input)]
    pub h: f64,
}

/// Rules of a model.
#[derive(Clone, Debug, Schema)]
#[api(name = "SignificantRulesV3", request)]
pub struct SignificantRules {
    /// The model.
    #[api(input, nojson)]
    pub model_id: Option<ModelKey>,
    /// Its rules, the strongest first.
    #[api(output)]
    pub significant_rules_table: Option<Table>,
}

/// Partial dependence of a model on columns.
#[derive(Clone, Debug, Schema)]
#[api(name = "PartialDependenceV3", iced = "PartialDependence")]
pub struct PartialDependence {
    /// Key of the model.
    #[api(inout)]
    pub model_id: Option<ModelKey>,
    /// Key of the frame.
    #[api(inout)]
    pub frame_id: Option<FrameKey>,
    /// One row alone; -1 for all.
    #[api(inout)]
    pub row_index: i64,
    /// Columns.
    #[api(inout)]
    pub cols: Option<Vec<String>>,
    /// Number of the column of weights; -1 for none.
    #[api(inout)]
    pub weight_column_index: i32,
    /// Look at missing values too.
    #[api(inout)]
    pub add_missing_na: bool,
    /// Values to look at.
    #[api(inout)]
    pub nbins: i32,
    /// Values chosen by the user, those of one column after the other.
    #[api(inout)]
    pub user_splits: Option<Vec<f64>>,
    /// Columns that the chosen values belong to.
    #[api(inout)]
    pub user_cols: Option<Vec<String>>,
    /// How many values belong to each of these columns.
    #[api(inout)]
    pub num_user_splits: Option<Vec<i32>>,
    /// Tables.
    #[api(output)]
    pub partial_dependence_data: Option<Vec<Table>>,
    /// Pairs of columns.
    #[api(inout)]
    pub col_pairs_2dpdp: Option<Vec<Option<Vec<String>>>>,
    /// Key of the result.
    #[api(ty = "Key<PartialDependence>", schema = "PartialDependenceKeyV3")]
    pub destination_key: Option<String>,
    /// Classes to look at.
    pub targets: Option<Vec<String>>,
}

/// Categorical columns to combine.
#[derive(Clone, Debug, Schema)]
#[api(name = "InteractionV3", iced = "Interaction", request)]
pub struct InteractionRequest {
    /// Key of the new frame.
    #[api(inout)]
    pub dest: Option<FrameKey>,
    /// Frame to read.
    #[api(inout)]
    pub source_frame: Option<FrameKey>,
    /// Columns to combine.
    #[api(inout)]
    pub factor_columns: Option<Vec<String>>,
    /// Each pair by itself.
    #[api(inout)]
    pub pairwise: bool,
    /// Most categories of a combination.
    #[api(default = 100, inout)]
    pub max_factors: i32,
    /// Fewest rows of a category.
    #[api(default = 1, inout)]
    pub min_occurrence: i32,
}

/// A frame to take values from.
#[derive(Clone, Debug, Schema)]
#[api(name = "MissingInserterV3", iced = "MissingInserter", request)]
pub struct MissingInserter {
    /// Frame, changed where it stands.
    pub dataset: Option<FrameKey>,
    /// Share of the values to take away.
    pub fraction: f64,
    /// Seed of the random generator.
    #[api(default = -1)]
    pub seed: i64,
}

/// One tree of an ensemble.
#[derive(Clone, Debug, Schema)]
#[api(name = "TreeV3", iced = "Tree")]
pub struct TreeSchema {
    /// Key of the model.
    pub model: Option<ModelKey>,
    /// Number of the tree.
    pub tree_number: i32,
    /// Class of the tree.
    #[api(inout)]
    pub tree_class: Option<String>,
    /// Are rules wanted in words?
    #[api(ty = "enum", choice = "TreeHandlerPlainLanguageRules", values("AUTO", "TRUE", "FALSE"))]
    pub plain_language_rules: Option<String>,
    /// Left child of each node; -1 for leaves.
    #[api(output)]
    pub left_children: Option<Vec<i32>>,
    /// Right child of each node; -1 for leaves.
    #[api(output)]
    pub right_children: Option<Vec<i32>>,
    /// The root.
    #[api(output)]
    pub root_node_id: i32,
    /// Values that columns are compared with.
    #[api(output)]
    pub thresholds: Option<Vec<f32>>,
    /// Columns that nodes are split on.
    #[api(output)]
    pub features: Option<Vec<Option<String>>>,
    /// Where missing values go.
    #[api(output)]
    pub nas: Option<Vec<Option<String>>>,
    /// Nodes in words.
    #[api(output)]
    pub descriptions: Option<Vec<String>>,
    /// Categories that come to each node.
    #[api(output)]
    pub levels: Option<Vec<Option<Vec<i32>>>>,
    /// Values of leaves.
    #[api(output)]
    pub predictions: Option<Vec<f32>>,
    /// The tree in words.
    #[api(output)]
    pub tree_decision_path: Option<String>,
    /// The way to each leaf in words.
    #[api(output)]
    pub decision_paths: Option<Vec<String>>,
}

/// Predictions to measure.
#[derive(Clone, Debug, Schema)]
#[api(name = "ModelMetricsMakerSchemaV3", iced = "ModelMetricsMaker")]
pub struct MetricsMaker {
    /// Predictions.
    #[api(inout)]
    pub predictions_frame: Option<String>,
    /// Actual values.
    #[api(inout)]
    pub actuals_frame: Option<String>,
    /// Weights of the rows.
    #[api(inout)]
    pub weights_frame: Option<String>,
    /// Treatment of the rows, for uplift.
    #[api(inout)]
    pub treatment_frame: Option<String>,
    /// Classes.
    #[api(inout)]
    pub domain: Option<Vec<String>>,
    /// Distribution that the deviance is taken of.
    #[api(
        ty = "enum",
        choice = "GenmodelutilsDistributionFamily",
        inout,
        values(
            "AUTO",
            "bernoulli",
            "quasibinomial",
            "modified_huber",
            "multinomial",
            "ordinal",
            "gaussian",
            "poisson",
            "gamma",
            "tweedie",
            "huber",
            "laplace",
            "quantile",
            "fractionalbinomial",
            "negativebinomial",
            "custom"
        )
    )]
    pub distribution: Option<String>,
    /// How the area under the curve of several classes is averaged.
    #[api(
        ty = "enum",
        choice = "MultinomialAucType",
        inout,
        secondary,
        values("AUTO", "NONE", "MACRO_OVR", "WEIGHTED_OVR", "MACRO_OVO", "WEIGHTED_OVO")
    )]
    pub auc_type: Option<String>,
    /// Kind of the uplift curve.
    #[api(ty = "enum", choice = "AUUCType", inout, secondary, values("AUTO", "qini", "lift", "gain"))]
    pub auuc_type: Option<String>,
    /// Bins of the uplift curve.
    #[api(inout, secondary)]
    pub auuc_nbins: i32,
    /// Thresholds of the uplift curve.
    #[api(inout, secondary)]
    pub custom_auuc_thresholds: Option<Vec<f64>>,
    /// The metrics.
    #[api(ty = "ModelMetrics", schema = "ModelMetricsBaseV3", output)]
    pub model_metrics: Value,
}

/// A frame to cut into parts.
#[derive(Clone, Debug, Schema)]
#[api(name = "SplitFrameV3", iced = "SplitFrame")]
pub struct SplitFrame {
    /// Key.
    pub key: Option<JobKey>,
    /// Frame to read.
    pub dataset: Option<FrameKey>,
    /// Share of the rows of each part but the last.
    pub ratios: Option<Vec<f64>>,
    /// Keys of the parts.
    #[api(inout)]
    pub destination_frames: Option<Vec<FrameKey>>,
}

/// Rows to transform by cosines.
#[derive(Clone, Debug, Schema)]
#[api(name = "DCTTransformerV3", iced = "DCTTransformer", request)]
pub struct Dct {
    /// Frame to read.
    #[api(required)]
    pub dataset: Option<FrameKey>,
    /// Key of the result.
    pub destination_frame: Option<FrameKey>,
    /// Width, height and depth of what a row holds.
    #[api(required)]
    pub dimensions: Option<Vec<i32>>,
    /// Transform back.
    pub inverse: bool,
}

/// Two columns to count together.
#[derive(Clone, Debug, Schema)]
#[api(name = "TabulateV3", iced = "Tabulate")]
pub struct Tabulate {
    /// Frame to read.
    #[api(required)]
    pub dataset: Option<FrameKey>,
    /// Column whose values come down.
    #[api(ty = "VecSpecifier", schema = "ColSpecifierV3", inout, required, member_of("dataset"), exclusive("col_y"))]
    pub predictor: Option<String>,
    /// Column whose values go across.
    #[api(ty = "VecSpecifier", schema = "ColSpecifierV3", inout, required, member_of("dataset"), exclusive("col_x"))]
    pub response: Option<String>,
    /// Column of weights.
    #[api(ty = "VecSpecifier", schema = "ColSpecifierV3", inout, member_of("dataset"), exclusive("col_x"))]
    pub weight: Option<String>,
    /// Bins of a numeric predictor.
    #[api(default = 20)]
    pub nbins_predictor: i32,
    /// Bins of a numeric response.
    #[api(default = 10)]
    pub nbins_response: i32,
    /// Weights of the pairs of values.
    #[api(output)]
    pub count_table: Option<Table>,
    /// Mean of the response by value of the predictor.
    #[api(output)]
    pub response_table: Option<Table>,
}

/// A value to look for.
#[derive(Clone, Debug, Schema)]
#[api(name = "FindV3", request)]
pub struct Find {
    /// Key.
    #[api(ty = "Frame", schema = "FrameV3", required)]
    pub key: Option<FrameKey>,
    /// Column to look in; all where left out.
    pub column: Option<String>,
    /// Row to begin at.
    #[api(required)]
    pub row: i64,
    /// Value to look for; a missing one where left out.
    pub r#match: Option<String>,
    /// Row before with the value; -1 for none.
    #[api(output)]
    pub prev: i64,
    /// Row after with the value; -1 for none.
    #[api(output)]
    pub next: i64,
}

/// Steps that prepare a frame.
#[derive(Clone, Debug, Schema)]
#[api(name = "AssemblyV99", request)]
pub struct Assembly {
    /// Steps, each a name, a kind, an expression, whether it stands in place, and new names.
    pub steps: Option<Vec<String>>,
    /// Frame to read.
    pub frame: Option<FrameKey>,
    /// Name of the file.
    pub file_name: Option<String>,
    /// Key of the assembly.
    pub assembly_id: Option<String>,
    /// Key of the result.
    #[api(output)]
    pub result: Option<FrameKey>,
    /// Key of the steps.
    #[api(ty = "Key<Assembly>", schema = "AssemblyKeyV3", output)]
    pub assembly: Value,
}

/// What clients keep on a node.
#[derive(Clone, Debug, Schema)]
#[api(name = "NodePersistentStorageV3", request)]
pub struct Storage {
    /// Category.
    #[api(inout)]
    pub category: Option<String>,
    /// Name.
    #[api(inout)]
    pub name: Option<String>,
    /// Text that is kept.
    #[api(inout)]
    pub value: Option<String>,
    /// Is there a place to keep it?
    #[api(output)]
    pub configured: bool,
    /// Is it there?
    #[api(output)]
    pub exists: bool,
    /// What is kept.
    #[api(ty = "Iced[]", schema = "NodePersistentStorageEntryV3", output)]
    pub entries: Value,
}

/// One thing that is kept.
#[derive(Clone, Debug, Schema)]
#[api(name = "NodePersistentStorageEntryV3")]
pub struct StorageEntry {
    /// Category.
    #[api(output)]
    pub category: Option<String>,
    /// Name.
    #[api(output)]
    pub name: Option<String>,
    /// Bytes.
    #[api(output)]
    pub size: i64,
    /// When it was written, in milliseconds since 1970.
    #[api(output)]
    pub timestamp_millis: i64,
}

/// Where an interrupted search kept what it needs.
#[derive(Clone, Debug, Schema)]
#[api(name = "ResumeV3")]
pub struct Resume {
    /// Directory that the search was started with.
    pub recovery_dir: Option<String>,
}

/// A frame whose expanded columns are multiplied.
#[derive(Clone, Debug, Schema)]
#[api(name = "GramV3", iced = "Iced", superclass = "Schema")]
pub struct GramRequest {
    /// Frame.
    #[api(name = "X", required)]
    pub x: Option<FrameKey>,
    /// Column of weights.
    #[api(name = "W", ty = "VecSpecifier", schema = "ColSpecifierV3")]
    pub w: Option<String>,
    /// Does the first level of a category get a column?
    pub use_all_factor_levels: bool,
    /// Are numbers standardized?
    pub standardize: bool,
    /// Are rows with missing values left out?
    pub skip_missing: bool,
    /// The Gram matrix.
    #[api(output)]
    pub destination_frame: Option<FrameKey>,
}

/// A frame whose columns are expanded.
#[derive(Clone, Debug, Schema)]
#[api(name = "DataInfoFrameV3", iced = "Iced")]
pub struct DataInfoFrame {
    /// Frame; its last column is the response.
    pub frame: Option<FrameKey>,
    /// Columns whose products in pairs come along.
    pub interactions: Option<Vec<String>>,
    /// Does the first level of a category get a column?
    pub use_all: bool,
    /// Are numbers standardized?
    pub standardize: bool,
    /// Are the products wanted alone?
    pub interactions_only: bool,
    /// The expanded columns.
    #[api(output)]
    pub result: Option<FrameKey>,
}
