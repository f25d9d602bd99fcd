//! MOJO: the reference's portable model. A zip of `model.ini` (facts, columns, domains), one text file a domain, and what
//! the algorithm adds. Written so that the reference's own scoring library takes it, read back into the same [`Scorer`]
//! that trained models have.
//!
//! Reading trusts nothing: sizes are bounded, every offset is checked, and no entry is ever written to a disk.

mod additive;
mod boosted;
mod cox;
mod encoded;
mod linear;
mod planes;
mod rulefit;
mod trees;

use crate::file::{Column, ModelFile};
use crate::isotonic::IsotonicScorer;
use crate::{KMeansScorer, Scorer};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{Read, Seek, Write};

/// Bytes that all entries of a model may have together once unpacked.
const UNPACKED_MAX: u64 = 8 << 30;
const ENTRIES_MAX: usize = 4_000_000;
const DETAILS: &str = "experimental/modelDetails.json";
pub const PROOF: &str = "ochre/proof.arrow";

/// What a MOJO says of its model besides how to score.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct About {
    /// `gbm`, and `Gradient Boosting Machine`: the second selects the reader.
    pub algorithm: String,
    pub full_name: String,
    /// `Regression`, `Binomial`, `Multinomial`, `Clustering`, `AnomalyDetection`.
    pub category: String,
    pub supervised: bool,
    /// Decimal text of a checksum.
    pub uuid: String,
    /// Share of each class in the training data.
    pub priors: Vec<f64>,
    /// Distribution of a tree ensemble or family of a linear model.
    pub family: String,
    /// ISO 8601.
    pub timestamp: String,
    /// The model as the API shows it, JSON.
    pub details: Option<String>,
}

/// The entries of a zip, and `model.ini` taken apart.
#[derive(Default)]
struct Parts {
    info: BTreeMap<String, String>,
    /// In the order of writing.
    order: Vec<String>,
    columns: Vec<String>,
    domains: BTreeMap<usize, Vec<String>>,
    blobs: BTreeMap<String, Vec<u8>>,
}

/// A number as Java writes and reads it: always with a point or an exponent, so that lists of them stay lists of doubles.
fn number(v: f64) -> String {
    match v {
        v if v.is_nan() => "NaN".into(),
        v if v.is_infinite() => if v > 0.0 { "Infinity" } else { "-Infinity" }.into(),
        v => format!("{v:?}"),
    }
}

fn numbers(v: &[f64]) -> String {
    format!("[{}]", v.iter().map(|v| number(*v)).collect::<Vec<_>>().join(", "))
}

fn integers<T: Debug>(v: &[T]) -> String {
    format!("{v:?}")
}

impl Parts {
    fn put(&mut self, key: &str, value: impl ToString) {
        self.order.push(key.into());
        self.info.insert(key.into(), value.to_string());
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.info.get(key).map(String::as_str).filter(|v| *v != "null")
    }

    fn need(&self, key: &str) -> Result<&str, String> {
        self.text(key).ok_or_else(|| format!("model.ini has no '{key}'"))
    }

    fn real(&self, key: &str) -> Result<f64, String> {
        real(self.need(key)?).ok_or_else(|| format!("'{key}' of model.ini is '{}', not a number", self.info[key]))
    }

    fn count(&self, key: &str) -> Result<usize, String> {
        self.need(key)?.parse().map_err(|_| format!("'{key}' of model.ini is '{}', not a count", self.info[key]))
    }

    fn flag(&self, key: &str) -> bool {
        self.text(key) == Some("true")
    }

    fn list(&self, key: &str) -> Result<Vec<f64>, String> {
        let text = self.need(key)?;
        let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
        let inner = inner.ok_or_else(|| format!("'{key}' of model.ini is no list in brackets"))?;
        if inner.trim().is_empty() {
            return Ok(vec![]);
        }
        inner.split(',').map(|t| real(t.trim()).ok_or_else(|| format!("'{key}' of model.ini holds '{}', not a number", t.trim()))).collect()
    }

    fn list_or_empty(&self, key: &str) -> Result<Vec<f64>, String> {
        if self.text(key).is_some() { self.list(key) } else { Ok(vec![]) }
    }
}

fn real(text: &str) -> Option<f64> {
    match text {
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        t => t.parse().ok(),
    }
}

fn escape(level: &str) -> String {
    level.replace('\\', "\\\\").replace('\n', "\\n")
}

fn unescape(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => out.push('\n'),
                Some(c) => out.push(c),
                None => out.push('\\'),
            },
            (c, _) => out.push(c),
        }
    }
    out
}

/// Writes a model as a MOJO. `proof` goes along as it is.
pub fn write(file: &ModelFile, about: &About, proof: Option<&[u8]>, out: impl Write + Seek) -> Result<(), String> {
    let mut zip = zip::ZipWriter::new(out);
    let fail = |e: &dyn std::fmt::Display| format!("the model cannot be written: {e}");
    let mut entry = |name: &str, bytes: &[u8]| -> Result<(), String> {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).map_err(|e| fail(&e))?;
        zip.write_all(bytes).map_err(|e| fail(&e))
    };
    for (name, bytes) in entries(file, about)? {
        entry(&name, &bytes)?;
    }
    if let Some(proof) = proof {
        entry(PROOF, proof)?;
    }
    zip.finish().map_err(|e| fail(&e))?;
    Ok(())
}

/// The entries of a model's file: their names and bytes.
fn entries(file: &ModelFile, about: &About) -> Result<Vec<(String, Vec<u8>)>, String> {
    let mut parts = Parts::default();
    let expanded = match &file.scorer {
        Scorer::Glm(m) if about.algorithm == "gam" => additive::columns(m, file),
        _ => vec![],
    };
    let mut columns: Vec<&Column> = if expanded.is_empty() { file.predictors.iter().collect() } else { expanded.iter().collect() };
    let features = columns.len();
    if let Scorer::Cox(m) = &file.scorer {
        // Columns of strata stand first in the file, and last here.
        columns.rotate_right(m.strata_columns);
    }
    columns.extend(&file.response);
    let version = match &file.scorer {
        _ if about.algorithm == "xgboost" => "1.10",
        Scorer::Trees(_) => "1.40",
        _ => "1.00",
    };
    let classes = match &file.scorer {
        Scorer::KMeans(_) => 1,
        Scorer::Trees(m) => m.classes,
        s => s.width(),
    };
    parts.put("h2o_version", "3.46.0.11");
    parts.put("mojo_version", version);
    parts.put("license", "Apache License Version 2.0");
    parts.put("algo", &about.algorithm);
    parts.put("algorithm", &about.full_name);
    parts.put("endianness", "LITTLE_ENDIAN");
    parts.put("category", &about.category);
    parts.put("uuid", &about.uuid);
    parts.put("supervised", about.supervised);
    parts.put("n_features", features);
    parts.put("n_classes", classes);
    parts.put("n_columns", columns.len());
    parts.put("n_domains", columns.iter().filter(|c| c.domain.is_some()).count());
    let ignored = matches!(&file.scorer, Scorer::Glm(m) if m.without_offset);
    if let Some(name) = file.offset.as_ref().filter(|_| !ignored) {
        parts.put("offset_column", name);
    }
    let correction = match &file.scorer {
        Scorer::Trees(m) => &m.correction[..],
        _ => &[],
    };
    parts.put("balance_classes", !correction.is_empty());
    parts.put("default_threshold", number(file.threshold));
    let shares = if about.priors.is_empty() { "null".to_string() } else { numbers(&about.priors) };
    parts.put("prior_class_distrib", &shares);
    if correction.is_empty() {
        parts.put("model_class_distrib", &shares);
    } else {
        // The shares that training saw: those before, over the correction.
        let seen: Vec<f64> = about.priors.iter().zip(correction).map(|(p, c)| p / c).collect();
        let sum: f64 = seen.iter().sum();
        parts.put("model_class_distrib", numbers(&seen.iter().map(|v| v / sum).collect::<Vec<_>>()));
        // Our own word, for the same bits: the two lists above give it only up to rounding.
        parts.put("class_correction", numbers(correction));
    }
    parts.put("timestamp", &about.timestamp);
    parts.put("escape_domain_values", true);
    match &file.scorer {
        Scorer::Trees(m) if about.algorithm == "xgboost" => boosted::write(m, file, about, &mut parts)?,
        Scorer::Glm(m) if about.algorithm == "xgboost" => boosted::write_linear(m, file, about, &mut parts)?,
        Scorer::Trees(m) => trees::write(m, file, about, &mut parts)?,
        Scorer::Glm(m) if about.algorithm == "gam" => additive::write(m, file, about, &mut parts)?,
        Scorer::Glm(m) if about.algorithm == "rulefit" => rulefit::write(m, file, about, &mut parts)?,
        Scorer::Glm(m) => linear::write(m, about, &mut parts)?,
        Scorer::KMeans(m) => write_kmeans(m, &mut parts),
        Scorer::Isotonic(m) => write_isotonic(m, &mut parts),
        Scorer::Cox(m) => cox::write(m, &mut parts)?,
        Scorer::Planes(m) => planes::write(m, &mut parts)?,
        Scorer::Committee(_) => return Err("the MOJO format has no place for AdaBoost; save the model instead".into()),
        Scorer::Mixed(_) => return Err("the MOJO format has no place for mixed models; save the model instead".into()),
        Scorer::Kernel(_) => return Err("the MOJO format has no place for a support vector machine; save the model instead".into()),
        Scorer::Silent => return Err("a model that predicts nothing itself has no MOJO; export the models that it names".into()),
        Scorer::Bayes(_) => return Err("the MOJO format has no place for a naive Bayes model; save the model instead".into()),
    }
    let mut ini = String::from("[info]\n");
    for key in &parts.order {
        ini += &format!("{key} = {}\n", parts.info[key]);
    }
    ini += "\n[columns]\n";
    for c in &columns {
        ini += &format!("{}\n", c.name);
    }
    ini += "\n[domains]\n";
    let mut domains = vec![];
    for (i, c) in columns.iter().enumerate() {
        if let Some(domain) = &c.domain {
            let name = format!("d{:03}.txt", domains.len());
            ini += &format!("{i}: {} {name}\n", domain.len());
            domains.push((format!("domains/{name}"), domain.iter().map(|l| escape(l) + "\n").collect::<String>()));
        }
    }
    let mut out: Vec<(String, Vec<u8>)> = parts.blobs.into_iter().collect();
    out.push(("model.ini".into(), ini.into_bytes()));
    out.extend(domains.into_iter().map(|(name, text)| (name, text.into_bytes())));
    out.extend(about.details.as_ref().map(|d| (DETAILS.into(), d.clone().into_bytes())));
    Ok(out)
}

/// A MOJO that was read.
pub struct Mojo {
    pub file: ModelFile,
    pub about: About,
    /// The vectors that prove the scores, when the file has them.
    pub proof: Option<Vec<u8>>,
}

/// Reads a MOJO of any version that the tree, linear and cluster formats have had since 1.20.
pub fn read(input: impl Read + Seek) -> Result<Mojo, String> {
    let mut parts = unpack(input)?;
    let about = About {
        algorithm: parts.text("algo").unwrap_or_default().to_string(),
        full_name: parts.need("algorithm")?.to_string(),
        category: parts.need("category")?.to_string(),
        supervised: parts.flag("supervised"),
        uuid: parts.need("uuid")?.to_string(),
        priors: parts.list_or_empty("prior_class_distrib")?,
        family: parts.text("distribution").or(parts.text("family")).unwrap_or_default().to_string(),
        timestamp: parts.text("timestamp").unwrap_or_default().to_string(),
        details: parts.blobs.remove(DETAILS).and_then(|b| String::from_utf8(b).ok()),
    };
    let proof = parts.blobs.remove(PROOF);
    let features = parts.count("n_features")?;
    let named = parts.columns.len();
    if features > named || parts.count("n_columns")? != named {
        return Err(format!("model.ini names {named} columns but counts {} with {features} features", parts.need("n_columns")?));
    }
    let encoding = parts.text("_genmodel_encoding").filter(|e| !matches!(*e, "AUTO" | "Enum")).map(str::to_string);
    let mut all: Vec<Column> = vec![];
    for (i, name) in parts.columns.iter().enumerate() {
        all.push(Column { name: name.clone(), domain: parts.domains.remove(&i) });
    }
    let response = if about.supervised && features < all.len() { all.pop() } else { None };
    all.truncate(features);
    let encoded = encoding.map(|e| encoded::inputs(&e, &mut parts, &all, named - features)).transpose()?;
    let scorer = match about.full_name.as_str() {
        "Gradient Boosting Machine" | "Distributed Random Forest" | "Isolation Forest" | "Uplift Distributed Random Forest" => {
            Scorer::Trees(trees::read(&parts, &about, &all)?)
        }
        "XGBoost" => boosted::read(&parts, &all)?,
        "Generalized Linear Modeling" | "Generalized Linear Model" => Scorer::Glm(linear::read(&parts, &about, &all)?),
        "Generalized Additive Model" => Scorer::Glm(additive::read(&parts, &about, &mut all)?),
        "RuleFit" => {
            let labels = response.as_ref().and_then(|r| r.domain.clone()).unwrap_or_default();
            Scorer::Glm(rulefit::read(&parts, &about, &all, &labels)?)
        }
        "K-means" => Scorer::KMeans(read_kmeans(&parts, &all)?),
        "Isotonic Regression" => {
            // The file may name a column of weights between the predictor and the response.
            all.truncate(1);
            Scorer::Isotonic(read_isotonic(&parts)?)
        }
        "Cox Proportional Hazards" => Scorer::Cox(cox::read(&parts, &mut all)?),
        "Extended Isolation Forest" => Scorer::Planes(planes::read(&parts, all.len())?),
        other => return Err(format!("it holds a model of the kind '{other}', which this version of ochre does not score")),
    };
    let corrected = parts.flag("balance_classes") && parts.text("prior_class_distrib") != parts.text("model_class_distrib");
    if corrected && !matches!(scorer, Scorer::Trees(_)) {
        return Err("it was trained with balance_classes, whose correction ochre reads for trees only".into());
    }
    let offset = parts.text("offset_column").map(str::to_string);
    let mut threshold = parts.real("default_threshold").unwrap_or(0.5);
    if matches!(&scorer, Scorer::Trees(m) if m.link == crate::TreeLink::PathLength) && !parts.flag("output_anomaly_flag") {
        threshold = -1.0;
    }
    let mut file = ModelFile { predictors: all, response, offset, threshold, scorer };
    if let Some((inputs, columns)) = encoded {
        file = crate::recode::over_columns(&file, &inputs, columns)?;
    }
    Ok(Mojo { file, about, proof })
}

/// All entries, within bounds.
fn unpack(input: impl Read + Seek) -> Result<Parts, String> {
    let mut zip = zip::ZipArchive::new(input).map_err(|e| format!("this is not a MOJO: {e}"))?;
    if zip.len() > ENTRIES_MAX {
        return Err(format!("the zip has {} entries, more than a model has", zip.len()));
    }
    let mut blobs = BTreeMap::new();
    let mut room = UNPACKED_MAX;
    for i in 0..zip.len() {
        let entry = zip.by_index(i).map_err(|e| format!("entry {i} of the zip is damaged: {e}"))?;
        let name = entry.name().to_string();
        if entry.enclosed_name().is_none() {
            return Err(format!("the zip holds an entry '{name}' that points outside of it"));
        }
        if entry.is_dir() {
            continue;
        }
        let mut bytes = vec![];
        let read = entry.take(room + 1).read_to_end(&mut bytes).map_err(|e| format!("entry {name} is damaged: {e}"))? as u64;
        room = room.checked_sub(read).ok_or_else(|| format!("the model unpacks to more than {} GiB", UNPACKED_MAX >> 30))?;
        blobs.insert(name, bytes);
    }
    parse(blobs)
}

/// The entries of a model, with `model.ini` taken apart.
fn parse(blobs: BTreeMap<String, Vec<u8>>) -> Result<Parts, String> {
    let mut parts = Parts { blobs, ..Parts::default() };
    let ini = parts.blobs.remove("model.ini").ok_or("this zip holds no model.ini, so it is not a MOJO")?;
    let ini = String::from_utf8(ini).map_err(|_| "model.ini is not text")?;
    let mut section = "";
    let mut wanted = vec![];
    for line in ini.lines() {
        let trimmed = line.trim();
        match section {
            _ if matches!(trimmed, "[info]" | "[columns]" | "[domains]") => section = trimmed,
            "[columns]" if !line.is_empty() => parts.columns.push(line.to_string()),
            _ if trimmed.is_empty() || trimmed.starts_with('#') => {}
            "[info]" => {
                let (k, v) = trimmed.split_once('=').ok_or_else(|| format!("model.ini: '{trimmed}' is not of the form key = value"))?;
                parts.info.insert(k.trim().into(), v.trim().into());
            }
            "[domains]" => {
                let parsed = trimmed.split_once(':').and_then(|(i, rest)| {
                    let (n, file) = rest.trim().split_once(' ')?;
                    Some((i.trim().parse::<usize>().ok()?, n.parse::<usize>().ok()?, file.trim().to_string()))
                });
                wanted.push(parsed.ok_or_else(|| format!("model.ini: '{trimmed}' names no domain"))?);
            }
            _ => return Err(format!("model.ini: '{trimmed}' stands outside of any section")),
        }
    }
    let escaped = parts.flag("escape_domain_values");
    for (column, levels, file) in wanted {
        let bytes = parts.blobs.remove(&format!("domains/{file}")).ok_or_else(|| format!("the zip lacks domains/{file}"))?;
        let text = String::from_utf8_lossy(&bytes);
        let mut lines: Vec<&str> = text.split('\n').collect();
        lines.pop_if(|l| l.is_empty());
        if lines.len() != levels || column >= parts.columns.len() {
            return Err(format!("domains/{file} has {} levels where model.ini says {levels}", lines.len()));
        }
        parts.domains.insert(column, lines.into_iter().map(|l| if escaped { unescape(l) } else { l.into() }).collect());
    }
    Ok(parts)
}

fn write_kmeans(m: &KMeansScorer, parts: &mut Parts) {
    // The library fills missing values of standardized models alone, so a model on the plain scale is written as one whose
    // scale is shifted by what fills its gaps.
    let plain = m.means.iter().all(|v| *v == 0.0) && m.mults.iter().all(|v| *v == 1.0);
    let shift = |j: usize| if plain && j >= m.categorical && !m.fills[j].is_nan() { m.fills[j] } else { 0.0 };
    let numeric = |j: usize| j >= m.categorical;
    let filled = m.fills.iter().all(|v| !v.is_nan());
    let order = m.coordinates();
    let each = |value: &dyn Fn(usize) -> f64| numbers(&order.iter().map(|&j| value(j)).collect::<Vec<_>>());
    parts.put("standardize", filled || !plain);
    // The mean is what a missing value becomes; after standardizing it is 0.
    parts.put("standardize_means", each(&|j| if numeric(j) { m.means[j] + shift(j) } else { f64::NAN }));
    parts.put("standardize_mults", each(&|j| if numeric(j) { m.mults[j] } else { 1.0 }));
    parts.put("standardize_modes", integers(&order.iter().map(|&j| if numeric(j) { -1 } else { m.fills[j] as i64 }).collect::<Vec<_>>()));
    parts.put("center_num", m.centers.len());
    for (i, c) in m.centers.iter().enumerate() {
        parts.put(&format!("center_{i}"), each(&|j| c[j] - shift(j)));
    }
}

/// Thresholds as a count and big-endian numbers.
fn write_isotonic(m: &IsotonicScorer, parts: &mut Parts) {
    parts.put("calib_min_x", number(m.xs.first().copied().unwrap_or(f64::NAN)));
    parts.put("calib_max_x", number(m.xs.last().copied().unwrap_or(f64::NAN)));
    // Our own word: the Java library always takes the nearest threshold.
    parts.put("out_of_bounds", if m.clip { "clip" } else { "NA" });
    for (name, values) in [("calib/thresholds_x", &m.xs), ("calib/thresholds_y", &m.ys)] {
        let count = (values.len() as i32).to_be_bytes();
        parts.blobs.insert(name.into(), count.into_iter().chain(values.iter().flat_map(|v| v.to_be_bytes())).collect());
    }
}

fn read_isotonic(parts: &Parts) -> Result<IsotonicScorer, String> {
    let list = |name: &str| -> Result<Vec<f64>, String> {
        let blob = parts.blobs.get(name).ok_or_else(|| format!("it lacks {name}"))?;
        let (count, rest) = blob.split_first_chunk::<4>().ok_or_else(|| format!("{name} is cut short"))?;
        if rest.len() != 8 * usize::try_from(i32::from_be_bytes(*count)).unwrap_or(usize::MAX / 8) {
            return Err(format!("{name} does not have the length that it claims"));
        }
        Ok(rest.as_chunks::<8>().0.iter().map(|b| f64::from_be_bytes(*b)).collect())
    };
    let (xs, ys) = (list("calib/thresholds_x")?, list("calib/thresholds_y")?);
    if xs.len() != ys.len() || xs.is_empty() || !xs.is_sorted() {
        return Err("its thresholds fall, or are not as many as their values".into());
    }
    Ok(IsotonicScorer { xs, ys, clip: parts.text("out_of_bounds") != Some("NA") })
}

fn read_kmeans(parts: &Parts, columns: &[Column]) -> Result<KMeansScorer, String> {
    let mut order: Vec<usize> = (0..columns.len()).collect();
    order.sort_by_key(|&j| columns[j].domain.is_none());
    let d = columns.len();
    let centers = (0..parts.count("center_num")?).map(|i| parts.list(&format!("center_{i}"))).collect::<Result<Vec<_>, _>>()?;
    let categorical = columns.iter().filter(|c| c.domain.is_some()).count();
    let standardized = parts.flag("standardize");
    let (means, mults, modes) = if standardized {
        (parts.list("standardize_means")?, parts.list("standardize_mults")?, parts.list_or_empty("standardize_modes")?)
    } else {
        (vec![0.0; d], vec![1.0; d], vec![])
    };
    if means.len() != d || mults.len() != d || centers.is_empty() || centers.iter().any(|c| c.len() != d) {
        return Err(format!("means, scales or centres do not have the {d} values that the model's columns need"));
    }
    let fill = |j: usize| match (columns[j].domain.is_some(), standardized) {
        (true, _) => modes.get(j).copied().unwrap_or(f64::NAN),
        (false, true) => means[j],
        (false, false) => f64::NAN,
    };
    let ordered = |v: &[f64]| order.iter().map(|&j| v[j]).collect::<Vec<_>>();
    Ok(KMeansScorer {
        categorical,
        fills: order.iter().map(|&j| fill(j)).collect(),
        means: ordered(&means),
        mults: ordered(&mults),
        centers: centers.iter().map(|c| ordered(c)).collect(),
        places: order,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::{Proof, proven_mojo};
    use crate::{Node, Split, Tree, TreeEnsemble, TreeLink};

    fn node(split: Split, column: u32, missing_left: bool, left: u32, right: u32) -> Node {
        Node { split, column, missing_left, left, right, value: 0.0, weight: 3.0, gain: 0.0 }
    }

    fn leaf(value: f32) -> Node {
        Node { value, ..node(Split::Leaf, 0, false, 0, 0) }
    }

    /// Every kind of split, leaves on both sides, a tree that is one leaf, and none.
    fn model() -> ModelFile {
        let wide = Split::Set { offset: 3, bits: (0..60).map(|i| i % 3 == 0).collect() };
        let short = Split::Set { offset: 0, bits: vec![true, false, true] };
        let tree = Tree {
            nodes: vec![
                node(Split::Less(0.25), 0, true, 1, 2),
                node(wide, 1, false, 3, 4),
                node(Split::Missing, 0, false, 5, 6),
                node(short.clone(), 1, false, 7, 8),
                leaf(-1.5),
                leaf(0.125),
                node(short, 2, false, 9, 10),
                leaf(2.0),
                leaf(3.0),
                leaf(4.0),
                leaf(5.0),
            ],
        };
        let trees = vec![vec![tree], vec![Tree { nodes: vec![leaf(0.5)] }], vec![Tree::default()]];
        let levels = |n: usize| Some((0..n).map(|i| format!("a\\\n{i}")).collect());
        ModelFile {
            predictors: vec![
                Column { name: "x = 1".into(), domain: None },
                Column { name: "c".into(), domain: levels(70) },
                Column { name: "d".into(), domain: levels(3) },
            ],
            response: Some(Column { name: "y".into(), domain: levels(2) }),
            offset: Some("o".into()),
            threshold: 0.1,
            scorer: Scorer::Trees(TreeEnsemble {
                link: TreeLink::Logit,
                init: -0.3,
                classes: 2,
                trees,
                lengths: [0.0; 2],
                calibration: None,
                correction: vec![],
                single: false,
            }),
        }
    }

    fn about() -> About {
        About {
            algorithm: "gbm".into(),
            full_name: "Gradient Boosting Machine".into(),
            category: "Binomial".into(),
            supervised: true,
            uuid: "-7".into(),
            family: "bernoulli".into(),
            ..About::default()
        }
    }

    #[test]
    fn a_model_survives_its_file() {
        let (file, about) = (model(), about());
        let bytes = proven_mojo(&file, &about).unwrap();
        let back = read(std::io::Cursor::new(&bytes)).unwrap();
        assert_eq!((back.file.predictors, back.file.response), (file.predictors.clone(), file.response.clone()));
        assert_eq!((back.file.offset, back.file.threshold, back.about), (file.offset.clone(), 0.1, about));
        let proof = Proof::from_arrow(&back.proof.unwrap(), &file).unwrap();
        assert_eq!(proof.check(&file), Ok(512));
        // Another model does not pass for this one.
        let mut other = model();
        let Scorer::Trees(m) = &mut other.scorer else { unreachable!() };
        m.trees[0][0].nodes[0].split = Split::Less(0.25f32.next_up());
        assert!(proof.check(&other).unwrap_err().contains("x = 1=0.25"));
    }

    /// Bytes that are changed at random are refused or read; nothing panics, and nothing takes memory without bound.
    #[test]
    fn damage_is_told() {
        let file = model();
        let Scorer::Trees(m) = &file.scorer else { unreachable!() };
        let mut parts = Parts::default();
        trees::write(m, &file, &about(), &mut parts).unwrap();
        let (blob, aux) = (&parts.blobs["trees/t00_000.bin"], &parts.blobs["trees/t00_000_aux.bin"]);
        let mut state = 12345u64;
        let mut draw = |n: usize| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as usize % n
        };
        let mut refused = 0;
        for _ in 0..20_000 {
            let mut bytes = blob.clone();
            for _ in 0..=draw(3) {
                let at = draw(bytes.len());
                bytes[at] = draw(256) as u8;
            }
            bytes.truncate(bytes.len() - draw(2) * draw(9));
            match trees::decode(&bytes, aux, &file.predictors) {
                Err(_) => refused += 1,
                Ok(t) => {
                    let columns = [[0.3], [5.0], [1.0]];
                    let views: Vec<&[f64]> = columns.iter().map(|c| &c[..]).collect();
                    t.leaf(&views, 0);
                }
            }
        }
        assert!(refused > 5_000, "{refused}");
        for cut in 0..200 {
            let bytes = proven_mojo(&file, &about()).unwrap();
            assert!(read(std::io::Cursor::new(&bytes[..bytes.len() * cut / 200])).is_err());
        }
    }
}
