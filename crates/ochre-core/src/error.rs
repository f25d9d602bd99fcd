//! The operation failed: one enum, each variant with a kind that the REST floor turns into a status.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    Invalid,
    NotFound,
    Conflict,
    Cancelled,
    Unsupported,
    Unavailable,
    Internal,
}

#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub enum Error {
    /// The request names something in a way that cannot be used: the message says what and how to mend it.
    Invalid(String),
    /// A key that the store does not hold.
    KeyNotFound {
        key: String,
        wanted: &'static str,
    },
    /// A key that holds another type of value.
    WrongType {
        key: String,
        wanted: &'static str,
        found: &'static str,
    },
    /// A column that a frame does not have.
    ColumnNotFound {
        column: String,
        frame: String,
    },
    /// A file or directory that cannot be found.
    FileNotFound {
        path: String,
    },
    /// Reading or writing failed.
    Io {
        path: String,
        cause: String,
    },
    /// A key in use by a job.
    Locked {
        key: String,
        by: String,
        action: &'static str,
    },
    /// The memory budget does not allow it.
    OutOfMemory {
        what: String,
        needed: u64,
        available: u64,
        budget: u64,
    },
    Cancelled,
    /// Other nodes left while they were needed; the work is begun again without them.
    ClusterChanged,
    /// The cluster cannot do this now: the message says why and what to do.
    Unavailable(String),
    Unsupported(String),
    NotFound(String),
    Internal(String),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn invalid(message: impl Into<String>) -> Error {
        Error::Invalid(message.into())
    }
    pub fn io(path: impl std::fmt::Display, cause: impl std::fmt::Display) -> Error {
        Error::Io { path: path.to_string(), cause: cause.to_string() }
    }
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Invalid(_) | Error::Io { .. } => ErrorKind::Invalid,
            Error::KeyNotFound { .. } | Error::ColumnNotFound { .. } | Error::FileNotFound { .. } | Error::NotFound(_) => {
                ErrorKind::NotFound
            }
            Error::WrongType { .. } | Error::Locked { .. } => ErrorKind::Conflict,
            Error::Cancelled => ErrorKind::Cancelled,
            Error::Unsupported(_) => ErrorKind::Unsupported,
            Error::OutOfMemory { .. } | Error::ClusterChanged | Error::Unavailable(_) => ErrorKind::Unavailable,
            Error::Internal(_) => ErrorKind::Internal,
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Invalid(m) | Error::Unavailable(m) | Error::Unsupported(m) | Error::NotFound(m) | Error::Internal(m) => f.write_str(m),
            Error::KeyNotFound { key, wanted } => write!(f, "Object '{key}' not found in function: getFromDKV for argument: {wanted}"),
            Error::WrongType { key, wanted, found } => {
                write!(f, "For Key: {key} expected a value of type {wanted}; found a: {found}")
            }
            Error::ColumnNotFound { column, frame } => write!(f, "Column '{column}' not found in frame '{frame}'"),
            Error::FileNotFound { path } => write!(f, "File {path} does not exist"),
            Error::Io { path, cause } => write!(f, "Cannot read or write {path}: {cause}"),
            Error::Locked { key, by, action } => {
                write!(f, "Cannot {action} '{key}': job {by} is using it; wait for the job or cancel it")
            }
            Error::OutOfMemory { what, needed, available, budget } => write!(
                f,
                "Not enough memory for {what}: {needed} bytes are needed, {available} of the budget of {budget} bytes are free; \
                 remove frames or models that are no longer used, or start ochre with a larger --max-mem"
            ),
            Error::ClusterChanged => f.write_str("The cluster lost a node while this ran"),
            Error::Cancelled => f.write_str("Job was cancelled"),
        }
    }
}

impl std::error::Error for Error {}
