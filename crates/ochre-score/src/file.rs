//! A model file: a zip with one JSON document, `model.json`, holding data only.

use crate::Scorer;
use std::io::{Read, Write};

pub const FORMAT: &str = "ochre-model";
pub const VERSION: u32 = 1;
const JSON_BYTES_MAX: u64 = 4 << 30;

/// A column that a model reads.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Column {
    pub name: String,
    pub domain: Option<Vec<String>>,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct ModelFile {
    pub format: String,
    pub version: u32,
    pub algorithm: String,
    pub predictors: Vec<Column>,
    pub response: Option<Column>,
    pub offset: Option<String>,
    /// Probability from which on a row counts as the second class.
    pub threshold: f64,
    pub scorer: Scorer,
}

impl ModelFile {
    pub fn write(&self, out: impl Write + std::io::Seek) -> std::io::Result<()> {
        let mut zip = zip::ZipWriter::new(out);
        zip.start_file("model.json", zip::write::SimpleFileOptions::default()).map_err(std::io::Error::other)?;
        serde_json::to_writer(&mut zip, self).map_err(std::io::Error::other)?;
        zip.finish().map_err(std::io::Error::other)?;
        Ok(())
    }

    pub fn read(input: impl Read + std::io::Seek) -> Result<ModelFile, String> {
        let mut zip = zip::ZipArchive::new(input).map_err(|e| format!("this is not a model file: {e}"))?;
        let entry = zip.by_name("model.json").map_err(|_| "this zip holds no model.json, so it is not an ochre model".to_string())?;
        if entry.size() > JSON_BYTES_MAX {
            return Err(format!("model.json claims {} bytes, more than a model has", entry.size()));
        }
        let file: ModelFile = serde_json::from_reader(std::io::BufReader::new(entry.take(JSON_BYTES_MAX)))
            .map_err(|e| format!("model.json is damaged: {e}"))?;
        if file.format != FORMAT || file.version > VERSION {
            return Err(format!(
                "model format {} version {} is newer than this ochre reads ({FORMAT} up to {VERSION})",
                file.format, file.version
            ));
        }
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{KMeansScorer, Scorer};

    #[test]
    fn a_model_survives_its_file() {
        let scorer = KMeansScorer {
            categorical: 0,
            fills: vec![0.1],
            means: vec![1.0],
            mults: vec![1.0 / 3.0],
            centers: vec![vec![0.1], vec![-2.0]],
        };
        let file = ModelFile {
            format: FORMAT.into(),
            version: VERSION,
            algorithm: "kmeans".into(),
            predictors: vec![Column { name: "x".into(), domain: None }],
            response: None,
            offset: None,
            threshold: 0.5,
            scorer: Scorer::KMeans(scorer),
        };
        let mut bytes = std::io::Cursor::new(vec![]);
        file.write(&mut bytes).unwrap();
        let back = ModelFile::read(bytes).unwrap();
        let x = [1.5, -9.0, f64::NAN];
        let (mut a, mut b) = ([0.0; 3], [0.0; 3]);
        file.scorer.score(&[&x], None, &mut a);
        back.scorer.score(&[&x], None, &mut b);
        assert_eq!(a, b);
        assert!(ModelFile::read(std::io::Cursor::new(b"not a zip".to_vec())).is_err());
    }
}
