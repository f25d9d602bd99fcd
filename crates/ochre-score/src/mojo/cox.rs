//! Proportional hazards in a MOJO: columns of strata stand first there, and centres are told as means of columns.

use super::{Parts, integers, number, numbers};
use crate::CoxScorer;
use crate::file::Column;

/// The mean linear predictor of a stratum, in our own word: the same bits cannot be had from means of columns.
fn centre_key(stratum: usize) -> String {
    format!("centre_{stratum}")
}

pub fn write(m: &CoxScorer, parts: &mut Parts) -> Result<(), String> {
    if m.terms.is_some() {
        return Err("its interactions have no place in the format as this version of ochre writes it".into());
    }
    let skip = usize::from(!m.all_levels);
    let mut offsets = vec![0];
    for levels in &m.levels {
        offsets.push(offsets[offsets.len() - 1] + levels - skip);
    }
    let cats = offsets[offsets.len() - 1];
    // Means whose weighted sum is the centre: all of it in one column that has a coefficient.
    let place = m.beta.iter().position(|b| *b != 0.0);
    let mut means = vec![vec![0.0; m.beta.len()]; m.strata.len()];
    for (slot, (_, centre)) in means.iter_mut().zip(&m.strata) {
        match place {
            Some(i) => slot[i] = centre / m.beta[i],
            None if *centre != 0.0 => return Err("its coefficients are all 0 and its centre is not, which the format cannot tell".into()),
            None => {}
        }
    }
    for (name, from, to) in [("x_mean_cat", 0, cats), ("x_mean_num", cats, m.beta.len())] {
        parts.put(&format!("{name}_size1"), means.len());
        parts.put(&format!("{name}_size2"), to - from);
        parts.blobs.insert(name.into(), means.iter().flat_map(|s| &s[from..to]).flat_map(|v| v.to_be_bytes()).collect());
    }
    parts.put("coef", numbers(&m.beta));
    parts.put("cats", m.levels.len());
    parts.put("cat_offsets", integers(&offsets));
    parts.put("use_all_factor_levels", m.all_levels);
    parts.put("num_numerical_columns", m.numbers);
    parts.put("num_offsets", integers(&(cats..=cats + m.numbers).collect::<Vec<_>>()));
    parts.put("strata_count", if m.strata_columns == 0 { 0 } else { m.strata.len() });
    for (i, (codes, centre)) in m.strata.iter().enumerate() {
        if m.strata_columns > 0 {
            parts.put(&format!("strata_{i}"), numbers(codes));
        }
        parts.put(&centre_key(i), number(*centre));
    }
    Ok(())
}

/// Numbers of a blob, big-endian.
fn means(parts: &Parts, name: &str) -> Result<(usize, usize, Vec<f64>), String> {
    let (rows, columns) = (parts.count(&format!("{name}_size1"))?, parts.count(&format!("{name}_size2"))?);
    let blob = parts.blobs.get(name).map_or(&[][..], Vec::as_slice);
    if rows.checked_mul(columns).and_then(|n| n.checked_mul(8)) != Some(blob.len()) {
        return Err(format!("{name} has {} bytes where {rows} x {columns} numbers are told", blob.len()));
    }
    let values = blob.chunks_exact(8).map(|b| f64::from_be_bytes(b.try_into().expect("eight bytes"))).collect();
    Ok((rows, columns, values))
}

/// Reads the scorer, and puts the columns that it reads into its order: categories, numbers, columns of strata.
pub fn read(parts: &Parts, columns: &mut Vec<Column>) -> Result<CoxScorer, String> {
    if parts.text("interactions_1").is_some() {
        return Err("it has interactions, which this version of ochre does not score".into());
    }
    let beta = parts.list("coef")?;
    let (cats, numerical, all_levels) = (parts.count("cats")?, parts.count("num_numerical_columns")?, parts.flag("use_all_factor_levels"));
    let offsets: Vec<usize> = parts.list("cat_offsets")?.iter().map(|v| *v as usize).collect();
    if offsets.len() != cats + 1 || offsets.windows(2).any(|w| w[0] > w[1]) || offsets[cats] > beta.len() {
        return Err("its offsets of categories are not in order".into());
    }
    // An offset is counted among the numbers, but has no coefficient.
    let numbers = beta.len() - offsets[cats];
    if numbers > numerical {
        return Err(format!("it has {numbers} coefficients of numbers for {numerical} columns"));
    }
    let (rows, width, cat) = means(parts, "x_mean_cat")?;
    let (num_rows, num_width, num) = means(parts, "x_mean_num")?;
    if rows != num_rows || width != offsets[cats] || num_width != numbers {
        return Err("its means are not of the size of its coefficients".into());
    }
    let count = parts.count("strata_count")?;
    if rows != count.max(1) {
        return Err(format!("it has means of {rows} strata where {count} are told"));
    }
    let mut strata = vec![];
    for i in 0..rows {
        let codes = if count > 0 { parts.list(&format!("strata_{i}"))? } else { vec![] };
        let own = parts.text(&centre_key(i)).and_then(super::real);
        let sum = || {
            let all = cat[i * width..(i + 1) * width].iter().chain(&num[i * num_width..(i + 1) * num_width]);
            all.zip(&beta).map(|(x, b)| x * b).sum()
        };
        strata.push((codes, own.unwrap_or_else(sum)));
    }
    let strata_columns = strata[0].0.len();
    if strata.iter().any(|s| s.0.len() != strata_columns) || columns.len() < strata_columns + cats + numbers {
        return Err("its strata do not fit its columns".into());
    }
    columns.truncate(strata_columns + cats + numbers);
    columns.rotate_left(strata_columns);
    let skip = usize::from(!all_levels);
    Ok(CoxScorer {
        levels: offsets.windows(2).map(|w| w[1] - w[0] + skip).collect(),
        all_levels,
        numbers,
        beta,
        strata_columns,
        strata,
        terms: None,
    })
}
