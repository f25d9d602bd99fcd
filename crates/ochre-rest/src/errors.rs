//! Errors as the clients read them.

use crate::Reply;
use crate::route::Body;
use crate::wire::H2OError;
use ochre_core::{Error, ErrorKind, time};
use ochre_schema::{Notes, Severity, Value};

/// What went wrong with a request, and how it is told.
pub enum Failure {
    Error(Error),
    /// As `Error`, with the reference's status and exception for this case.
    Told {
        status: u16,
        exception: &'static str,
        message: String,
    },
    /// What the request names by its `argument` is not there.
    Missing {
        key: String,
        argument: &'static str,
    },
    /// A model's parameters are wrong.
    Parameters {
        notes: Notes,
        stem: &'static str,
        key: String,
        schema: Box<Value>,
    },
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Failure::Error(e)
    }
}

impl Failure {
    pub fn precondition(message: impl Into<String>) -> Failure {
        Failure::Told { status: 412, exception: "water.exceptions.H2OIllegalArgumentException", message: message.into() }
    }
    pub fn not_found(message: impl Into<String>) -> Failure {
        Failure::Told { status: 404, exception: "water.exceptions.H2ONotFoundArgumentException", message: message.into() }
    }

    fn told(&self) -> (u16, &'static str, String) {
        match self {
            Failure::Told { status, exception, message } => (*status, exception, message.clone()),
            Failure::Missing { key, argument } => {
                (404, "water.exceptions.H2OKeyNotFoundArgumentException", format!("Object '{key}' not found for argument: {argument}"))
            }
            Failure::Error(e) => {
                let (status, exception) = match e.kind() {
                    ErrorKind::Invalid => (400, "java.lang.IllegalArgumentException"),
                    ErrorKind::NotFound => match e {
                        Error::KeyNotFound { .. } => (404, "water.exceptions.H2OKeyNotFoundArgumentException"),
                        Error::ColumnNotFound { .. } => (404, "water.exceptions.H2OColumnNotFoundArgumentException"),
                        _ => (404, "water.exceptions.H2ONotFoundArgumentException"),
                    },
                    ErrorKind::Conflict | ErrorKind::Unsupported => (412, "water.exceptions.H2OIllegalArgumentException"),
                    ErrorKind::Cancelled => (400, "water.Job$JobCancelledException"),
                    ErrorKind::Unavailable => (503, "water.exceptions.H2OFailException"),
                    ErrorKind::Internal => (500, "java.lang.RuntimeException"),
                };
                (status, exception, e.to_string())
            }
            Failure::Parameters { notes, stem, key, .. } => {
                let details: String =
                    notes.errors().map(|n| format!("ERRR on field: _{}: {}\n", n.field.trim_start_matches('_'), n.message)).collect();
                (
                    412,
                    "water.exceptions.H2OModelBuilderIllegalArgumentException",
                    format!("Illegal argument(s) for {stem} model: {key}.  Details: {details}"),
                )
            }
        }
    }

    /// What clients may read of an error without parsing its message.
    fn values(&self) -> Value {
        match self {
            Failure::Missing { key, argument } | Failure::Error(Error::KeyNotFound { key, wanted: argument }) => {
                serde_json::json!({"argument": argument, "name": key})
            }
            Failure::Error(Error::ColumnNotFound { column, frame }) => {
                serde_json::json!({"argument": "column", "column_name": column, "frame_name": format!("Key<Frame> {frame}")})
            }
            _ => serde_json::json!({}),
        }
    }

    pub fn reply(&self, url: &str) -> Reply {
        let (status, exception, message) = self.told();
        if status >= 500 {
            tracing::error!(status, url, "{message}");
        } else {
            tracing::info!(status, url, "{}", message.trim_end());
        }
        let wrapped = format!("\n\nERROR MESSAGE:\n\n{message}\n\n");
        let base = H2OError {
            timestamp: time::now_ms(),
            error_url: Some(url.to_string()),
            msg: Some(wrapped.clone()),
            dev_msg: Some(wrapped.clone()),
            http_status: i32::from(status),
            values: self.values(),
            exception_type: Some(exception.into()),
            exception_msg: Some(wrapped),
            stacktrace: Some(vec![format!("{exception}: {message}")]),
        };
        let mut json = ochre_schema::object(&base);
        if let Failure::Parameters { notes, schema, .. } = self {
            json["__meta"] =
                serde_json::json!({"schema_version": 3, "schema_name": "H2OModelBuilderErrorV3", "schema_type": "H2OModelBuilderError"});
            json["parameters"] = schema["parameters"].clone();
            json["messages"] = schema["messages"].clone();
            json["error_count"] = Value::from(notes.errors().count());
            let logged: Vec<Value> = notes
                .0
                .iter()
                .map(|n| {
                    let level = match n.severity {
                        Severity::Error => 1,
                        Severity::Warn => 2,
                        Severity::Info => 3,
                    };
                    serde_json::json!({"_log_level": level, "_field_name": n.field, "_message": n.message})
                })
                .collect();
            json["values"] = serde_json::json!({"messages": logged, "error_count": notes.errors().count()});
        }
        Reply { status, content_type: "application/json", headers: vec![], body: Body::Bytes(json.to_string().into_bytes()) }
    }
}
