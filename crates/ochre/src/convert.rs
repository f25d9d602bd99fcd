//! `ochre convert`: an exported model in another portable form.

use crate::score;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Flags {
    /// The model: a MOJO, made by ochre or by H2O.
    model: PathBuf,
    /// File to write: an ONNX graph when its name ends in .onnx, the source of a Java class when it ends in .java.
    out: PathBuf,
}

pub fn run(f: Flags) -> Result<(), String> {
    let name = f.out.file_stem().and_then(|s| s.to_str()).unwrap_or("model").to_string();
    let mojo = score::open(&f.model)?;
    let refused = |e: String| format!("{} cannot be converted: {e}", f.model.display());
    let bytes = match f.out.extension().and_then(|e| e.to_str()) {
        Some("onnx") => ochre_score::onnx::write(&mojo.file, &mojo.about).map_err(refused)?,
        Some("java") => {
            let class = ochre_score::pojo::class_name(&name);
            if class != name {
                return Err(format!("'{name}' is no name of a Java class, which its file has to be called after; use {class}.java"));
            }
            ochre_score::pojo::write(&mojo.file, &mojo.about, &name).map_err(refused)?.into_bytes()
        }
        _ => return Err(format!("{} says no format that a model can be converted to; end it in .onnx or .java", f.out.display())),
    };
    std::fs::write(&f.out, bytes).map_err(|e| format!("cannot write {}: {e}", f.out.display()))
}
