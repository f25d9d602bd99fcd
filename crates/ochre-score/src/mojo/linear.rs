//! Generalized linear models in a MOJO.

use super::{About, Parts, integers, number, numbers};
use crate::file::Column;
use crate::glm::{GlmScorer, LinkFunction};

pub fn write(m: &GlmScorer, about: &About, parts: &mut Parts) -> Result<(), String> {
    if !m.derived.is_empty() {
        return Err(
            "the MOJO format has no place for interactions of predictors; make their columns before training, or save the model".into()
        );
    }
    put_design(m, &PLAIN, parts);
    parts.put("beta", numbers(&m.heard().concat()));
    parts.put("family", &about.family);
    put_link(m, parts);
    parts.put("dispersion_estimated", number(1.0));
    Ok(())
}

/// What the coefficients belong to, and what stands for missing values.
pub fn put_design(m: &GlmScorer, words: &Words, parts: &mut Parts) {
    let skip = usize::from(!m.all_levels);
    let mut offsets = vec![0];
    for (levels, _) in &m.levels {
        offsets.push(offsets[offsets.len() - 1] + levels - skip);
    }
    parts.put("use_all_factor_levels", m.all_levels);
    parts.put("cats", m.levels.len());
    parts.put("cat_offsets", integers(&offsets));
    parts.put(words.numerics, m.means.len());
    parts.put("mean_imputation", true);
    if m.skips_missing {
        // Our own word: the Java library fills missing values in all the same.
        parts.put("skip_missing", true);
    }
    parts.put(words.means, numbers(&m.means));
    parts.put(words.modes, integers(&m.levels.iter().map(|l| l.1).collect::<Vec<_>>()));
}

pub fn put_link(m: &GlmScorer, parts: &mut Parts) {
    let link = match m.link {
        LinkFunction::Identity => "identity",
        LinkFunction::Logit => "logit",
        LinkFunction::Log => "log",
        LinkFunction::Inverse => "inverse",
        LinkFunction::Softmax => "multinomial",
        LinkFunction::Ordinal => "ologit",
        LinkFunction::Power => "tweedie",
    };
    parts.put("link", link);
    if m.link == LinkFunction::Power {
        parts.put("tweedie_link_power", number(m.link_power));
    }
}

/// The names of a kind's facts in `model.ini`.
pub struct Words {
    numerics: &'static str,
    modes: &'static str,
    means: &'static str,
    beta: &'static str,
    /// Entry with the coefficients of several classes, where they do not stand in `model.ini`.
    of_classes: Option<&'static str>,
}

const PLAIN: Words = Words { numerics: "nums", modes: "cat_modes", means: "num_means", beta: "beta", of_classes: None };
pub const ADDITIVE: Words = Words {
    numerics: "numsCenter",
    modes: "catNAFills",
    means: "numNAFillsCenter",
    beta: "beta_center",
    of_classes: Some("beta_multinomial_centering"),
};

pub fn read(parts: &Parts, about: &About, columns: &[Column]) -> Result<GlmScorer, String> {
    read_as(parts, about, columns, &PLAIN)
}

/// The linear model that `words` name, over columns that are categorical first.
pub fn read_as(parts: &Parts, about: &About, columns: &[Column], words: &Words) -> Result<GlmScorer, String> {
    let (cats, nums) = (parts.count("cats")?, parts.count(words.numerics)?);
    if cats + nums != columns.len() {
        return Err(format!("it has {cats} categorical and {nums} numeric columns, but names {}", columns.len()));
    }
    let classes = parts.count("n_classes")?.max(1);
    let several = matches!(about.family.as_str(), "multinomial" | "ordinal");
    let link = match (several, parts.need("link")?) {
        (true, _) if about.family == "ordinal" => LinkFunction::Ordinal,
        (true, _) => LinkFunction::Softmax,
        (_, "identity") => LinkFunction::Identity,
        (_, "logit") => LinkFunction::Logit,
        (_, "log") => LinkFunction::Log,
        (_, "inverse") => LinkFunction::Inverse,
        (_, "tweedie") => LinkFunction::Power,
        (_, other) => {
            return Err(format!("its link '{other}' of the family {} is not one that this version of ochre scores", about.family));
        }
    };
    let all_levels = parts.flag("use_all_factor_levels");
    let skip = usize::from(!all_levels);
    let offsets: Vec<usize> = parts.list("cat_offsets")?.iter().map(|v| *v as usize).collect();
    if offsets.len() != cats + 1 || offsets.windows(2).any(|w| w[0] > w[1]) {
        return Err("its offsets of categories are not in order".into());
    }
    let (modes, means) = (parts.list_or_empty(words.modes)?, parts.list_or_empty(words.means)?);
    let filled = parts.flag("mean_imputation");
    if filled && (modes.len() != cats || means.len() != nums) {
        return Err("it lacks values for missing entries of some columns".into());
    }
    let levels = (0..cats)
        .map(|c| {
            let n = offsets[c + 1] - offsets[c] + skip;
            (n, if filled { modes[c] as usize } else { n })
        })
        .collect();
    let beta = match words.of_classes.filter(|_| several) {
        Some(name) => {
            let bytes = parts.blobs.get(name).ok_or_else(|| format!("it lacks {name}"))?;
            bytes.as_chunks::<8>().0.iter().map(|b| f64::from_be_bytes(*b)).collect()
        }
        None => parts.list(words.beta)?,
    };
    let per_class = offsets[cats] + nums + 1;
    let sets = if several { classes } else { 1 };
    if beta.len() != per_class * sets {
        return Err(format!("it has {} coefficients where its columns need {}", beta.len(), per_class * sets));
    }
    let link_power = if link == LinkFunction::Power { parts.real("tweedie_link_power")? } else { 0.0 };
    let link = if link == LinkFunction::Power && link_power == 0.0 { LinkFunction::Log } else { link };
    Ok(GlmScorer {
        link,
        classes,
        levels,
        all_levels,
        means: if filled { means } else { vec![f64::NAN; nums] },
        beta: beta.chunks(per_class).map(<[f64]>::to_vec).collect(),
        link_power,
        path: vec![],
        derived: vec![],
        places: vec![],
        smooths: vec![],
        silent: vec![],
        covariance: vec![],
        skips_missing: parts.flag("skip_missing"),
        without_offset: false,
    })
}
