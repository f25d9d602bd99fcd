//! What goes between the server and a script's process: the length in four bytes, then the value.

use ochre_core::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A value, with its length before it.
pub fn message<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    let mut out = vec![0; 4];
    out = postcard::to_extend(value, out).map_err(|e| Error::Internal(format!("cannot write to a custom function: {e}")))?;
    let length = u32::try_from(out.len() - 4).map_err(|_| Error::invalid("a custom function is given more than 4 GiB at once"))?;
    out[..4].copy_from_slice(&length.to_le_bytes());
    Ok(out)
}

/// A value, without its length.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    postcard::from_bytes(bytes).map_err(|e| Error::Internal(format!("cannot read what a custom function answers: {e}")))
}
