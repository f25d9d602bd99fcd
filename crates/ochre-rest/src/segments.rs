//! Models for segments of a frame.

use crate::models::builder_of;
use crate::route::{Ask, Reply, post};
use crate::{App, Failure, jobs};
use ochre_core::Error;
use ochre_model::segments::Request;
use ochre_schema::{AnyKey, Wire};

pub const ROUTES: &[crate::Route] = &[post(
    "/3/SegmentModelsBuilders/{algo}",
    "segment_train",
    ("ModelBuilderSchema", "ModelBuilderSchema"),
    train,
    "Trains a model for each segment of the training frame.",
)];

/// What belongs to the segments and not to their models.
const OF_SEGMENTS: [&str; 4] = ["segment_models_id", "segments", "segment_columns", "parallelism"];

fn train(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let builder = builder_of(app, ask, "POST")?;
    let asked = |name: &str| ask.param(name).filter(|v| !v.is_empty() && *v != "None");
    let form: Vec<(String, String)> = ask.params.iter().filter(|(n, _)| !OF_SEGMENTS.contains(&n.as_str())).cloned().collect();
    let parameters = builder.decoded(&form)?.0;
    if !form.iter().any(|(n, v)| n == "training_frame" && !v.is_empty()) {
        return Err(Failure::precondition("segment models need a training_frame"));
    }
    let given = asked("segments").map(|k| app.node.store.frame(k.trim_matches('"'))).transpose()?;
    let columns = Vec::<String>::from_text(asked("segment_columns").unwrap_or_default()).map_err(Error::invalid)?;
    if given.is_none() && columns.is_empty() {
        return Err(Failure::precondition("segment models need segment_columns, or a frame of segments"));
    }
    // Models are trained one after the other, each on all threads: more at once would not end sooner.
    let parallelism = asked("parallelism").map_or(Ok(1), i32::from_text).map_err(Error::invalid)?;
    if parallelism < 1 {
        return Err(Error::invalid(format!("parallelism must be at least 1, but is {parallelism}")).into());
    }
    let key = asked("segment_models_id").map_or_else(
        || {
            let n = ochre_core::current_task().map_or_else(|| app.node.store.len() as u64 + 1, |t| t.next_name());
            format!("{}_segment_models_{}_{n}", builder.info().stem, ochre_core::shared_now_ms())
        },
        str::to_string,
    );
    let request = Request { key: key.clone(), form, columns, given };
    let node = app.node.clone();
    let about = format!("{} Segment Models Build", builder.info().stem);
    let job = app.node.jobs.start(&about, AnyKey::Other(key), move |job| request.train(builder, &node, job))?;
    Reply::json(&serde_json::json!({
        "__meta": {"schema_version": 3, "schema_name": "SegmentModelsBuilderV3", "schema_type": "SegmentModelsBuilder"},
        "parameters": parameters, "messages": [], "error_count": 0, "job": jobs::started(&job),
    }))
}
