//! Generalized additive models in a MOJO.
//!
//! The Java library makes the functions of each smooth from the knots and adds them to the row, behind the other
//! predictors. What it cannot score right is refused at writing: it takes the combinations of M-splines from the wrong
//! smooth when others stand before them, counts the functions of I-splines and M-splines as those of cubic splines when
//! others stand behind them, and fails on standardized plates.

use super::{About, Parts, integers, linear, numbers};
use crate::file::{Column, ModelFile};
use crate::glm::{Derived, GlmScorer, LinkFunction};
use crate::smooth::{Kind, Smooth, plate_order, polynomials, second_derivatives};

/// Our own entries: the predictors in the order of the model, and of plates that were read the combinations of radial
/// functions, which their scaling for the Java library would round. Our own word: the last knot of M-splines is moved, and
/// plates have these combinations or those of `Smooth::free`.
const PREDICTORS: &str = "ochre/predictors.json";
const RADIALS: &str = "ochre/radials";
const OWN_BASES: &str = "own_bases";

fn code(kind: Kind) -> usize {
    match kind {
        Kind::Cubic => 0,
        Kind::Plate => 1,
        Kind::Rising => 2,
        Kind::Positive => 3,
    }
}

fn big(values: impl IntoIterator<Item = f64>) -> Vec<u8> {
    values.into_iter().flat_map(f64::to_be_bytes).collect()
}

fn lines<'a>(names: impl IntoIterator<Item = &'a String>) -> Vec<u8> {
    names.into_iter().flat_map(|n| format!("{n}\n").into_bytes()).collect()
}

/// Exponents of a plate's polynomials, and its radial factor over that of the Java library.
fn java_plate(s: &Smooth) -> (Vec<Vec<i32>>, f64) {
    let blank = s.blank();
    let (d, m) = (s.columns.len(), plate_order(s.columns.len()));
    let theirs = if d % 2 == 0 {
        blank.radial.0
    } else {
        let factorial: f64 = (1..=2 * m).map(|i| i as f64).product();
        let sign = if m % 2 == 0 { 1.0 } else { -1.0 };
        sign * m as f64 / (factorial * std::f64::consts::PI.powf((d - 1) as f64 / 2.0))
    };
    (blank.powers.into_iter().map(|p| p.0).collect(), blank.radial.0 / theirs)
}

/// What keeps the Java library from scoring these smooths right.
fn obstacle(smooths: &[Smooth]) -> Option<String> {
    let last = smooths.len().saturating_sub(1);
    for (i, s) in smooths.iter().enumerate() {
        let name = s.names.first().map_or("", String::as_str);
        let standard = s.shifts.iter().all(|v| *v == 0.0) && s.factors.iter().all(|v| *v == 1.0);
        let moved = match s.kind {
            Kind::Rising => s.order != 1,
            Kind::Positive => s.order != 2,
            _ => false,
        };
        if s.kind == Kind::Positive && i > 0 {
            return Some(format!("it fails on M-splines ({name}) that stand beside other splines"));
        }
        if moved && i < last {
            return Some(format!("it counts the functions of I-splines and M-splines ({name}) wrongly when another smooth follows"));
        }
        if !standard {
            return Some(format!("it fails on thin plates of standardized predictors ({name}); train with standardize_tp_gam_cols=False"));
        }
    }
    None
}

/// The columns of the file: given predictors that have coefficients, then the functions.
pub fn columns(m: &GlmScorer, file: &ModelFile) -> Vec<Column> {
    let names: Vec<&String> = m.smooths.iter().flat_map(|s| &s.names).collect();
    let column = |&i: &usize| match names.get(i) {
        Some(name) => Column { name: (*name).clone(), domain: None },
        None => file.predictors.get(i - names.len()).cloned().unwrap_or_else(|| Column { name: String::new(), domain: None }),
    };
    m.places.iter().map(column).collect()
}

/// Adds a model's facts.
pub fn write(m: &GlmScorer, file: &ModelFile, about: &About, parts: &mut Parts) -> Result<(), String> {
    let made: usize = m.smooths.iter().map(|s| s.names.len()).sum();
    if made != m.derived.len() || m.places.len() < made || m.places[m.places.len() - made..].iter().any(|p| *p >= made) {
        return Err("the model was saved by a version of ochre that did not keep its smooths; train it again".into());
    }
    if let Some(why) = obstacle(&m.smooths) {
        return Err(format!("the Java library h2o-genmodel would score such a file wrongly: {why}; or save the model instead"));
    }
    if file.offset.is_some() && !m.without_offset {
        return Err("a MOJO of a generalized additive model has no place for an offset; save the model instead".into());
    }
    let s = &m.smooths;
    let (cats, plain_nums) = (m.levels.len(), m.means.len() - made);
    // A plate has its knots' functions and then, as in the reference, places for its polynomials.
    let spare = |s: &Smooth| if s.kind == Kind::Plate { polynomials(s.columns.len()) } else { 0 };
    let plain_of = |s: &Smooth| {
        let names: Vec<String> = s.plain.iter().cloned().chain((0..spare(s)).map(|i| format!("{}_power_{i}", s.names[0]))).collect();
        names
    };
    let plain: Vec<Vec<String>> = s.iter().map(plain_of).collect();
    let expanded: usize = plain.iter().map(Vec::len).sum();
    let each = |f: &dyn Fn(&Smooth) -> usize| integers(&s.iter().map(f).collect::<Vec<_>>());
    let of = |kind: Kind| s.iter().filter(move |s| s.kind == kind);
    let heard = m.heard();
    // Coefficients of the functions of the bases: those of the model's, each times its combination.
    let bases = |beta: &[f64]| {
        let mut out = beta[..beta.len() - 1 - made].to_vec();
        let mut at = out.len();
        for s in s {
            out.extend(s.of_basis(&beta[at..at + s.names.len()]));
            out.extend(vec![0.0; spare(s)]);
            at += s.names.len();
        }
        out.push(beta[beta.len() - 1]);
        out
    };
    linear::put_design(m, &linear::ADDITIVE, parts);
    parts.put(OWN_BASES, true);
    parts.put("num", plain_nums + expanded);
    parts.put("family", if about.family == "binomial" { "bernoulli" } else { &about.family });
    linear::put_link(m, parts);
    parts.put("num_knots", each(&|s| s.knots[0].len()));
    parts.put("num_knots_sorted", each(&|s| s.knots[0].len()));
    parts.put("gam_column_dim", each(&|s| s.columns.len()));
    parts.put("gam_column_dim_sorted", each(&|s| s.columns.len()));
    parts.put("num_expanded_gam_columns", expanded);
    parts.put("num_expanded_gam_columns_center", made);
    parts.put("total feature size", cats + plain_nums + expanded);
    parts.put("gamColName_dim", integers(&plain.iter().map(Vec::len).collect::<Vec<_>>()));
    let without: Vec<Vec<f64>> = heard.iter().map(|b| bases(b)).collect();
    if m.link == LinkFunction::Softmax || m.link == LinkFunction::Ordinal {
        parts.blobs.insert("beta_multinomial".into(), big(without.concat()));
        parts.blobs.insert("beta_multinomial_centering".into(), big(heard.concat()));
    } else {
        parts.put("beta", numbers(&without[0]));
        parts.put("beta_center", numbers(&heard[0]));
    }
    parts.put("beta length per class", without[0].len());
    parts.put("beta center length per class", heard[0].len());
    parts.put("bs", each(&|s| code(s.kind)));
    parts.put("bs_sorted", each(&|s| code(s.kind)));
    parts.put("_d", each(&|s| s.columns.len()));
    parts.put("num_CS_col", of(Kind::Cubic).count());
    parts.put("num_IS_col", of(Kind::Rising).count());
    parts.put("num_MS_col", of(Kind::Positive).count());
    if of(Kind::Rising).chain(of(Kind::Positive)).next().is_some() {
        let orders = each(&|s| if matches!(s.kind, Kind::Rising | Kind::Positive) { s.order } else { 0 });
        parts.put("spline_orders_sorted", &orders);
        parts.put("spline_orders", &orders);
    }
    let plates: Vec<(&Smooth, Vec<Vec<i32>>, f64)> = of(Kind::Plate)
        .map(|s| {
            let (powers, factor) = java_plate(s);
            (s, powers, factor)
        })
        .collect();
    if !plates.is_empty() {
        parts.put("_M", integers(&plates.iter().map(|p| p.1.len()).collect::<Vec<_>>()));
        parts.put("_m", integers(&plates.iter().map(|p| plate_order(p.0.columns.len())).collect::<Vec<_>>()));
        parts.put("num_knots_TP", integers(&plates.iter().map(|p| p.0.knots[0].len()).collect::<Vec<_>>()));
        parts.put("standardize", false);
        let powers = plates.iter().flat_map(|p| p.1.iter().flatten()).flat_map(|e| e.to_be_bytes()).collect();
        parts.blobs.insert("polynomialBasisList".into(), powers);
        let free = plates.iter().flat_map(|(s, _, factor)| s.radials(&s.blank()).into_iter().map(move |v| v * factor));
        parts.blobs.insert("zTransposeCS".into(), big(free));
        if plates.iter().any(|p| p.0.free.is_some()) {
            parts.blobs.insert(RADIALS.into(), big(plates.iter().flat_map(|p| p.0.radials(&p.0.blank()))));
        }
        parts.blobs.insert("gamColMeansRaw".into(), big(plates.iter().flat_map(|p| p.0.shifts.clone())));
        parts.blobs.insert("gamColStdRaw".into(), big(plates.iter().flat_map(|p| p.0.factors.clone())));
    }
    parts.put("num_TP_col", plates.len());
    let used: Vec<String> = s.iter().flat_map(|s| s.columns.iter().map(|&c| file.predictors[c].name.clone())).collect();
    parts.blobs.insert("gam_columns".into(), lines(&used));
    parts.blobs.insert("gam_columns_sorted".into(), lines(&used));
    let own = columns(m, file);
    let given: Vec<String> = own[..own.len() - made].iter().map(|c| c.name.clone()).collect();
    parts.blobs.insert("_names_no_centering".into(), lines(given.iter().chain(plain.iter().flatten())));
    parts.blobs.insert("gamColNamesCenter".into(), lines(s.iter().flat_map(|s| &s.names)));
    parts.blobs.insert("gamColNames".into(), lines(plain.iter().flatten()));
    // The Java library takes M-splines for 0 at their last knot, where the server does not: it is moved by the least step.
    let knots = |s: &Smooth| {
        let mut all = s.knots.concat();
        if let Some(last) = all.last_mut().filter(|_| s.kind == Kind::Positive) {
            *last = last.next_up();
        }
        all
    };
    parts.blobs.insert("knots".into(), big(s.iter().flat_map(knots)));
    // I-splines are not centred, so they have none.
    parts.blobs.insert("zTranspose".into(), big(s.iter().flat_map(|s| s.centring.clone().unwrap_or_default())));
    if of(Kind::Cubic).next().is_some() {
        parts.blobs.insert("_binvD".into(), big(of(Kind::Cubic).flat_map(|s| second_derivatives(&s.knots[0]))));
    }
    parts.blobs.insert(PREDICTORS.into(), serde_json::to_vec(&file.predictors).map_err(|e| e.to_string())?);
    Ok(())
}

/// Numbers of a blob, taken from its start.
struct Big<'a>(&'a str, &'a [u8]);

impl Big<'_> {
    fn take(&mut self, n: usize) -> Result<Vec<f64>, String> {
        let bytes = n.checked_mul(8).and_then(|b| self.1.split_at_checked(b));
        let (head, rest) = bytes.ok_or_else(|| format!("{} is cut short", self.0))?;
        self.1 = rest;
        Ok(head.as_chunks::<8>().0.iter().map(|b| f64::from_be_bytes(*b)).collect())
    }
}

fn blob<'a>(parts: &'a Parts, name: &'a str) -> Result<Big<'a>, String> {
    Ok(Big(name, parts.blobs.get(name).ok_or_else(|| format!("it lacks {name}"))?))
}

fn text(parts: &Parts, name: &str) -> Result<Vec<String>, String> {
    let bytes = blob(parts, name)?.1;
    Ok(String::from_utf8_lossy(bytes).lines().filter(|l| !l.is_empty()).map(str::to_string).collect())
}

fn counts(parts: &Parts, key: &str) -> Result<Vec<usize>, String> {
    let list = parts.list(key)?;
    let whole = |v: &f64| (0.0..1e6).contains(v) && v.fract() == 0.0;
    match list.iter().all(whole) {
        true => Ok(list.iter().map(|v| *v as usize).collect()),
        false => Err(format!("'{key}' of model.ini holds something that is no count")),
    }
}

/// Reads a model. `all` are the file's columns before the response; they become the model's predictors.
pub fn read(parts: &Parts, about: &About, all: &mut Vec<Column>) -> Result<GlmScorer, String> {
    let (kinds, dims, knots) = (counts(parts, "bs_sorted")?, counts(parts, "gam_column_dim_sorted")?, counts(parts, "num_knots_sorted")?);
    let orders = if parts.text("spline_orders_sorted").is_some() { counts(parts, "spline_orders_sorted")? } else { vec![0; kinds.len()] };
    let made = parts.count("num_expanded_gam_columns_center")?;
    if dims.len() != kinds.len() || knots.len() != kinds.len() || orders.len() != kinds.len() || made > all.len() {
        return Err("its lists of smooths do not have the same length".into());
    }
    let given = all[..all.len() - made].to_vec();
    let names: Vec<String> = all[all.len() - made..].iter().map(|c| c.name.clone()).collect();
    let mut m = linear::read_as(parts, about, all, &linear::ADDITIVE)?;
    let used = text(parts, "gam_columns_sorted")?;
    if used.len() != dims.iter().sum::<usize>() {
        return Err("gam_columns_sorted does not name the columns that its smooths need".into());
    }
    // The predictors: ours in their order, or the given ones and then those of smooths.
    let known: Option<Vec<Column>> = parts.blobs.get(PREDICTORS).and_then(|b| serde_json::from_slice(b).ok());
    let predictors = known.unwrap_or_else(|| {
        let mut out = given.clone();
        for name in &used {
            if !out.iter().any(|c| c.name == *name) {
                out.push(Column { name: name.clone(), domain: None });
            }
        }
        out
    });
    let place = |name: &String| {
        predictors.iter().position(|c| c.name == *name).ok_or_else(|| format!("it has no predictor '{name}', which it uses"))
    };
    let own = parts.flag(OWN_BASES);
    let mut exact = parts.blobs.get(RADIALS).filter(|_| own).map(|b| Big(RADIALS, b));
    let plain_dims = counts(parts, "gamColName_dim")?;
    let mut plain = text(parts, "gamColNames")?.into_iter();
    let (mut knot, mut z, mut free) =
        (blob(parts, "knots")?, blob(parts, "zTranspose")?, parts.blobs.get("zTransposeCS").map(|b| Big("zTransposeCS", b)));
    let mut centre = parts.blobs.get("gamColMeansRaw").map(|b| Big("gamColMeansRaw", b));
    let mut scale = parts.blobs.get("gamColStdRaw").map(|b| Big("gamColStdRaw", b));
    let standardized = parts.flag("standardize");
    let (mut first, mut named) = (0, 0);
    let (mut smooths, mut derived) = (vec![], vec![]);
    for i in 0..kinds.len() {
        let kind = match kinds[i] {
            0 => Kind::Cubic,
            1 => Kind::Plate,
            2 => Kind::Rising,
            3 => Kind::Positive,
            other => return Err(format!("it has a smooth of the kind {other}; 0 to 3 are known")),
        };
        let (d, k, order) = (dims[i], knots[i], orders[i]);
        let splines = matches!(kind, Kind::Rising | Kind::Positive);
        if d == 0
            || d > 20
            || (kind != Kind::Plate && d != 1)
            || k < 2
            || (kind == Kind::Cubic && k < 3)
            || (splines && !(1..=20).contains(&order))
        {
            return Err(format!("its smooth {i} has {d} predictors, {k} knots and the order {order}, which cannot be"));
        }
        let columns = used[first..first + d].iter().map(place).collect::<Result<Vec<_>, _>>()?;
        first += d;
        let mut s = Smooth::new(kind, columns, (0..d).map(|_| knot.take(k)).collect::<Result<_, _>>()?, order);
        if own
            && kind == Kind::Positive
            && let Some(last) = s.knots[0].last_mut()
        {
            *last = last.next_down();
        }
        if kind != Kind::Plate && s.knots[0].windows(2).any(|w| w[0] >= w[1] || w[0].is_nan() || w[1].is_nan()) {
            return Err(format!("the knots of its smooth {i} do not rise"));
        }
        let n = s.size();
        let rows = if kind == Kind::Rising { n } else { n - 1 };
        s.centring = if kind == Kind::Rising { None } else { Some(z.take(rows * n)?) };
        if kind == Kind::Plate {
            let missing = "it lacks what its thin plates need";
            let (shifts, factors) = (centre.as_mut().ok_or(missing)?.take(d)?, scale.as_mut().ok_or(missing)?.take(d)?);
            (s.shifts, s.factors) = (vec![0.0; d], vec![1.0; d]);
            if standardized {
                // Radial functions are of scaled distances, but polynomials of the predictor less the scaled mean, as the
                // reference has it.
                s.shifts = shifts.iter().zip(&factors).map(|(m, f)| m * f).collect();
                s.factors = factors;
            }
            let radial = k.checked_sub(polynomials(d)).filter(|r| *r > 0);
            let radial = radial.ok_or_else(|| format!("its plate {i} has {k} knots and {} polynomials", polynomials(d)))?;
            let (powers, factor) = java_plate(&s);
            let combined = free.as_mut().ok_or(missing)?.take(radial * k)?.into_iter().map(|v| v / factor).collect();
            s.free = match &mut exact {
                Some(exact) => Some(exact.take(radial * k)?),
                None => (!own).then_some(combined),
            };
            for row in s.centring.iter_mut().flat_map(|z| z.chunks_mut(k)) {
                for (w, e) in row[radial..].iter_mut().zip(&powers) {
                    *w /= s.factors.iter().zip(e).map(|(f, e)| f.powi(*e)).product::<f64>();
                }
            }
        }
        s.names = names.get(named..named + rows).ok_or("it names fewer functions than its smooths have")?.to_vec();
        named += rows;
        // Names of a plate's polynomials may follow.
        s.plain = plain.by_ref().take(plain_dims.get(i).copied().unwrap_or(0)).collect();
        s.plain.truncate(n);
        if s.plain.len() != n {
            return Err(format!("gamColNames has {} names for the {n} functions of its smooth {i}", s.plain.len()));
        }
        derived.extend(s.derived());
        smooths.push(s);
    }
    if derived.len() != made || named != made {
        return Err(format!("its smooths have {} functions where model.ini counts {made}", derived.len()));
    }
    let derived_ok = |d: &Derived| d.sources().iter().all(|&c| predictors.get(c).is_some_and(|p| p.domain.is_none()));
    if !derived.iter().all(derived_ok) {
        return Err("a smooth is made of a categorical column".into());
    }
    let mut places: Vec<usize> = given.iter().map(|c| place(&c.name).map(|p| p + made)).collect::<Result<_, _>>()?;
    places.extend(0..made);
    (m.derived, m.places, m.smooths) = (derived, places, smooths);
    *all = predictors;
    Ok(m)
}
