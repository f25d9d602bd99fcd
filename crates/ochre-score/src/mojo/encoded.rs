//! Reading of models that encode their categories: the columns before encoding, and what became of their levels.

use super::Parts;
use crate::file::Column;
use crate::recode::{Input, Levels};

/// The columns that a model was given, and where its own (`read`) come from; `others` columns are no predictors. An encoding is known by its name in the file.
pub fn inputs(encoding: &str, parts: &mut Parts, read: &[Column], others: usize) -> Result<(Vec<Input>, Vec<Column>), String> {
    let count = parts.count("_n_orig_names")?;
    let mut given: Vec<Column> = vec![];
    let names = lines(parts, "_orig_names")?;
    if names.len() != count || parts.count("_n_orig_domain_values")? != count {
        return Err(format!("_orig_names has {} lines where model.ini says {count}", names.len()));
    }
    for (i, name) in names.into_iter().enumerate() {
        let domain = match parts.count(&format!("_m_orig_domain_values_{i}"))? {
            0 => None,
            n => {
                let levels = lines(parts, &format!("_orig_domain_values_{i}"))?;
                if levels.len() != n {
                    return Err(format!("_orig_domain_values_{i} has {} levels where model.ini says {n}", levels.len()));
                }
                Some(levels)
            }
        };
        given.push(Column { name, domain });
    }
    // The response, weights, offset and folds come last.
    given.truncate(count.saturating_sub(others));
    let mut weights = parts.list_or_empty("_orig_projection_array")?.into_iter();
    let made =
        |column: usize, name: String, values: Vec<f64>, missing: f64| (name, Input { column, levels: Some(Levels { values, missing }) });
    let (mut first, mut last) = (vec![], vec![]);
    for (i, c) in given.iter().enumerate() {
        let Some(domain) = &c.domain else {
            first.push((c.name.clone(), Input { column: i, levels: None }));
            continue;
        };
        let n = domain.len();
        let codes = || (0..n).map(|k| k as f64);
        match encoding {
            "OneHotExplicit" => {
                for (level, label) in domain.iter().enumerate() {
                    let values = (0..n).map(|k| f64::from(u8::from(k == level))).collect();
                    last.push(made(i, format!("{}.{label}", c.name), values, 0.0));
                }
                last.push(made(i, format!("{}.missing(NA)", c.name), vec![0.0; n], 1.0));
            }
            "Binary" => {
                for bit in 0..usize::BITS - n.leading_zeros() {
                    last.push(made(i, format!("{}:{bit}", c.name), (1..=n).map(|k| (k >> bit & 1) as f64).collect(), 0.0));
                }
            }
            "LabelEncoder" => {
                let whole: Option<Vec<f64>> = domain.iter().map(|l| l.parse::<i64>().ok().map(|v| v as f64)).collect();
                first.push(made(i, c.name.clone(), whole.unwrap_or_else(|| codes().collect()), f64::NAN));
            }
            "Eigen" => {
                let values: Vec<f64> = weights.by_ref().take(n).collect();
                if values.len() != n {
                    return Err("_orig_projection_array is shorter than the levels of its columns".into());
                }
                first.push(made(i, format!("{}.Eigen", c.name), values, f64::NAN));
            }
            "EnumLimited" => {
                let kept =
                    read.iter().find(|r| r.name.strip_prefix(&c.name).is_some_and(|t| t.starts_with(".top_") && t.ends_with("_levels")));
                match kept.and_then(|r| Some((r, r.domain.as_ref()?))) {
                    None => first.push((c.name.clone(), Input { column: i, levels: None })),
                    Some((r, levels)) => {
                        let other = levels.len().saturating_sub(1);
                        let code = |l: &String| levels[..other].iter().position(|k| k == l).unwrap_or(other) as f64;
                        first.push(made(i, r.name.clone(), domain.iter().map(code).collect(), f64::NAN));
                    }
                }
            }
            other => return Err(format!("it encodes categories as '{other}', which this version of ochre does not read")),
        }
    }
    first.append(&mut last);
    if first.len() != read.len() {
        return Err(format!("encoding {encoding} makes {} columns, but the model reads {}", first.len(), read.len()));
    }
    if let Some((wanted, have)) = first.iter().map(|(n, _)| n).zip(read).find(|(a, b)| **a != b.name) {
        return Err(format!("encoding {encoding} makes column '{wanted}' where the model reads '{}'", have.name));
    }
    Ok((first.into_iter().map(|(_, i)| i).collect(), given))
}

/// The lines of a text file of the model.
fn lines(parts: &mut Parts, name: &str) -> Result<Vec<String>, String> {
    let bytes = parts.blobs.remove(name).ok_or_else(|| format!("the zip lacks {name}"))?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines: Vec<String> = text.split('\n').map(str::to_string).collect();
    lines.pop_if(|l| l.is_empty());
    Ok(lines)
}
