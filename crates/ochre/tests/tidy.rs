//! Tidiness: formatting, and nothing private or local in what is committed.

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn sources_are_formatted() {
    let out = Command::new(env!("CARGO")).args(["fmt", "--check"]).current_dir(root()).output().unwrap();
    assert!(out.status.success(), "run `cargo fmt`:\n{}", String::from_utf8_lossy(&out.stdout));
}

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            sources(&path, out);
        } else if matches!(path.extension().and_then(|e| e.to_str()), Some("rs" | "py" | "md" | "sh" | "toml")) {
            out.push(path);
        }
    }
}

/// What a crate must not know, by the names it would use.
#[test]
fn floors_know_only_what_lies_below() {
    for (krate, forbidden) in [
        ("ochre-core", &["ochre_rest", "ochre_io", "ochre_model", "ochre_algos", "ochre_engine", "axum", "tonic"][..]),
        ("ochre-engine", &["ochre_rest", "ochre_io", "ochre_model", "ochre_algos", "ochre_rapids"]),
        ("ochre-score", &["ochre_core", "ochre_model", "tokio"]),
        ("ochre-script", &["ochre_schema", "ochre_model", "ochre_score", "ochre_engine", "ochre_rest", "ochre_io", "axum", "tonic"]),
        ("ochre-model", &["ochre_engine", "ochre_algos", "ochre_rest", "ochre_rapids", "ochre_io"]),
        ("ochre-algos", &["ochre_engine", "ochre_rest", "ochre_io", "ochre_rapids", "axum", "tokio"]),
        ("ochre-rapids", &["ochre_engine", "ochre_algos", "ochre_rest"]),
        ("ochre-rest", &["ochre_algos", "gbm", "kmeans"]),
    ] {
        let mut files = vec![];
        sources(&root().join("crates").join(krate).join("src"), &mut files);
        assert!(!files.is_empty());
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            for word in forbidden {
                assert!(!text.contains(word), "{} must not know {word}", file.display());
            }
        }
    }
}
