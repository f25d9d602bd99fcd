//! What the user demands of coefficients: bounds, pulls towards given values, linear relations.

use super::design::Design;
use super::interactions::Made;
use super::params::GlmParams;
use ochre_core::{Column, Error, Frame, Result};
use ochre_model::Run;
use ochre_schema::{Cell, Table};

/// Demands on the standardized coefficients.
#[derive(Default)]
pub struct Limits {
    /// Lower and upper bound of each.
    pub bounds: Option<Vec<(f64, f64)>>,
    /// Value that each is pulled to, and the strength of the pull.
    pub pulls: Option<Vec<(f64, f64)>>,
    /// Where to begin.
    pub start: Option<Vec<f64>>,
    pub linear: Vec<Linear>,
    /// Matrix of second derivatives of a quadratic penalty, row by row.
    pub curvature: Option<Vec<f64>>,
}

impl Limits {
    /// Adds what another room demands of the coefficients of the predictors that it makes.
    pub fn demand(&mut self, made: &Made, design: &Design) {
        let p = design.len();
        let at = |derived: usize| {
            let place = design.order.iter().position(|i| *i == derived).unwrap_or_default();
            design.numbers_at() + place - design.levels.len()
        };
        for (first, matrix) in &made.penalties {
            let q = self.curvature.get_or_insert_with(|| vec![0.0; p * p]);
            let (n, at) = ((matrix.len() as f64).sqrt() as usize, at(*first));
            (0..n * n).for_each(|k| q[(at + k / n) * p + at + k % n] += 2.0 * matrix[k]);
        }
        for (derived, positive) in &made.signs {
            let bounds = self.bounds.get_or_insert_with(|| vec![(f64::NEG_INFINITY, f64::INFINITY); p]);
            let bound = &mut bounds[at(*derived)];
            *bound = if *positive { (bound.0.max(0.0), bound.1) } else { (bound.0, bound.1.min(0.0)) };
        }
    }
}

/// `sum of value * coefficient + constant`, on the original scale, is 0, or at most 0.
pub struct Linear {
    pub equal: bool,
    pub terms: Vec<(usize, f64)>,
    pub constant: f64,
    text: String,
}

/// How far from its limit a relation may be and still count as met.
const MET: f64 = 1e-8;

impl Linear {
    pub fn value(&self, original: &[f64]) -> f64 {
        self.terms.iter().map(|(i, v)| v * original[*i]).sum::<f64>() + self.constant
    }

    pub fn met(&self, original: &[f64]) -> bool {
        let v = self.value(original);
        if self.equal { v.abs() <= MET } else { v <= MET }
    }
}

fn present(key: Option<&ochre_schema::FrameKey>) -> Option<&ochre_schema::FrameKey> {
    key.filter(|k| !k.0.is_empty())
}

/// A column of numbers of a table of demands.
fn column(frame: &Frame, name: &str) -> Result<Option<Vec<f64>>> {
    frame.by_name(name).map(Column::to_f64).transpose()
}

pub fn read(run: &Run<'_, GlmParams>, design: &Design, names: &[String]) -> Result<Limits> {
    let params = &run.params;
    let p = design.len();
    let mut limits = Limits { linear: linear(run, names)?, ..Limits::default() };
    let mut bounds = vec![(f64::NEG_INFINITY, f64::INFINITY); p];
    if params.non_negative {
        bounds[..names.len()].iter_mut().for_each(|b| b.0 = 0.0);
    }
    let key = present(params.beta_constraints.as_ref());
    let mut bounded = params.non_negative;
    if let Some(key) = key {
        let frame = run.node.store.frame(&key.0)?;
        let refuse = |why: String| Error::invalid(format!("beta_constraints {key}: {why}"));
        let labels = frame.by_name("names").ok_or_else(|| refuse("there is no column 'names'".into()))?.to_texts()?;
        let known = ["names", "lower_bounds", "upper_bounds", "beta_given", "beta_start", "rho"];
        if let Some(other) = frame.names().iter().find(|n| !known.contains(&n.as_str())) {
            return Err(refuse(format!("the column '{other}' has no meaning; columns are {}", known.join(", "))));
        }
        let [lower, upper, given, start, rho] =
            ["lower_bounds", "upper_bounds", "beta_given", "beta_start", "rho"].map(|n| column(&frame, n));
        let (lower, upper, given, start, rho) = (lower?, upper?, given?, start?, rho?);
        if given.is_some() != rho.is_some() {
            return Err(refuse("beta_given and rho come together: one is the value, the other the strength of the pull to it".into()));
        }
        bounded |= lower.is_some() || upper.is_some();
        if given.is_some() {
            limits.pulls = Some(vec![(0.0, 0.0); p]);
        }
        if start.is_some() {
            limits.start = Some(vec![0.0; p]);
        }
        for (row, label) in labels.iter().enumerate() {
            let label = label.as_deref().unwrap_or_default();
            let place = if label.eq_ignore_ascii_case("intercept") { Some(names.len()) } else { names.iter().position(|n| n == label) };
            let Some(i) = place else { return Err(refuse(format!("'{label}' is no coefficient of this model"))) };
            let mult = design.mult(i);
            let pick = |v: &Option<Vec<f64>>, none: f64| v.as_ref().map_or(none, |v| if v[row].is_nan() { none } else { v[row] / mult });
            let (low, high) = (pick(&lower, f64::NEG_INFINITY), pick(&upper, f64::INFINITY));
            if low > high {
                return Err(refuse(format!("the lower bound of '{label}' is above its upper bound")));
            }
            bounds[i] = (bounds[i].0.max(low), bounds[i].1.min(high));
            if let (Some(pulls), Some(rho)) = (&mut limits.pulls, &rho) {
                if rho[row] < 0.0 {
                    return Err(refuse(format!("rho of '{label}' is {}, but must be at least 0", rho[row])));
                }
                pulls[i] = (pick(&given, 0.0), if rho[row].is_nan() { 0.0 } else { rho[row] });
            }
            if let Some(starts) = &mut limits.start {
                starts[i] = pick(&start, 0.0);
            }
        }
    }
    limits.bounds = bounded.then_some(bounds);
    if let Some(start) = params.startval.as_ref().filter(|s| !s.is_empty()) {
        if start.len() != p {
            let order = names.join(" ");
            return Err(Error::invalid(format!(
                "startval has {} values, but this model has {p} coefficients; their order is: {order} Intercept",
                start.len()
            )));
        }
        limits.start = Some(start.clone());
    }
    Ok(limits)
}

/// Linear relations, as rows of a frame: name of a coefficient or `constant`, its value, the relation's type and number.
fn linear(run: &Run<'_, GlmParams>, names: &[String]) -> Result<Vec<Linear>> {
    let Some(key) = present(run.params.linear_constraints.as_ref()) else { return Ok(vec![]) };
    let frame = run.node.store.frame(&key.0)?;
    let refuse = |why: String| Error::invalid(format!("linear_constraints {key}: {why}"));
    let need = |name: &str| {
        frame
            .by_name(name)
            .ok_or_else(|| refuse(format!("there is no column '{name}'; columns are names, values, types, constraint_numbers")))
    };
    let (labels, kinds) = (need("names")?.to_texts()?, need("types")?.to_texts()?);
    let (values, numbers) = (need("values")?.to_f64()?, need("constraint_numbers")?.to_f64()?);
    let mut order: Vec<i64> = vec![];
    let mut out: Vec<Linear> = vec![];
    for row in 0..frame.rows() {
        let label = labels[row].as_deref().unwrap_or_default();
        let number = numbers[row] as i64;
        let at = order.iter().position(|n| *n == number).unwrap_or_else(|| {
            order.push(number);
            out.push(Linear { equal: false, terms: vec![], constant: 0.0, text: String::new() });
            out.len() - 1
        });
        let equal = match kinds[row].as_deref().unwrap_or_default().to_ascii_lowercase().as_str() {
            "equal" => true,
            "lessthanequal" => false,
            other => return Err(refuse(format!("Type of linear constraints can only be Equal or LessThanEqual, but is '{other}'"))),
        };
        let one = &mut out[at];
        one.equal = equal;
        if label == "constant" {
            one.constant += values[row];
            one.text += &format!("{:+?}", values[row]);
        } else {
            let Some(i) = names.iter().position(|n| n == label) else {
                return Err(refuse(format!(
                    "Coefficient name {label} is not a valid coefficient name. It must be one of {} or constant",
                    names.join(", ")
                )));
            };
            one.terms.push((i, values[row]));
            one.text += &format!("{:+?}*{label}", values[row]);
        }
    }
    if let Some(one) = out.iter().find(|l| l.terms.len() < 2) {
        let label = one.terms.first().map_or("constant", |(i, _)| names[*i].as_str());
        return Err(refuse(format!(
            "Linear constraint must have at least two coefficients. For constraints on just one coefficient: {label}, use beta_constraints instead"
        )));
    }
    redundant(&out, names.len()).map_or(Ok(out), |text| {
        Err(refuse(format!(
            "redundant linear constraints: This constraint is redundant {text}. Please remove it from your linear constraints"
        )))
    })
}

/// The first relation whose coefficients others determine.
fn redundant(all: &[Linear], p: usize) -> Option<String> {
    let mut basis: Vec<Vec<f64>> = vec![];
    for one in all {
        let mut v = vec![0.0; p];
        one.terms.iter().for_each(|(i, x)| v[*i] += x);
        let size = v.iter().map(|x| x * x).sum::<f64>().sqrt();
        for b in &basis {
            let dot: f64 = v.iter().zip(b).map(|(x, y)| x * y).sum();
            v.iter_mut().zip(b).for_each(|(x, y)| *x -= dot * y);
        }
        let left = v.iter().map(|x| x * x).sum::<f64>().sqrt();
        if left <= 1e-10 * size {
            return Some(format!("{} {} 0", one.text, if one.equal { "==" } else { "<=" }));
        }
        v.iter_mut().for_each(|x| *x /= left);
        basis.push(v);
    }
    None
}

/// Sentences and a table that say which relations hold, and whether all do.
pub fn report(all: &[Linear], original: &[f64]) -> (Vec<String>, Table, bool) {
    let kind = |l: &Linear| if l.equal { "Linear equality constraint" } else { "Linear inequality constraint" };
    let condition = |l: &Linear| if l.equal { "== 0" } else { "<= 0" };
    let said = all
        .iter()
        .map(|l| {
            let v = l.value(original);
            match (l.met(original), l.equal) {
                (true, true) => format!("{}: {} == 0 is satisfied.", kind(l), l.text),
                (true, false) => format!("{}: {} <= {v:?} which satisfies the constraint <= 0.", kind(l), l.text),
                (false, _) => format!("{}: {} = {v:?} and does not satisfy the condition {}", kind(l), l.text, condition(l)),
            }
        })
        .collect();
    let each = |f: &dyn Fn(&Linear) -> Cell| all.iter().map(f).collect::<Vec<_>>();
    let table = Table::new("Linear Constraints Table", "Linear constraints")
        .row_labels(vec!["".into(); all.len()])
        .named(
            "constraint",
            "constraint",
            "string",
            "%s",
            each(&|l| Cell::Text(format!("{}: {} = {:?}", kind(l), l.text, l.value(original)))),
        )
        .named("values", "values", "double", "%.5f", each(&|l| Cell::Double(l.value(original))))
        .named("condition", "condition", "string", "%s", each(&|l| condition(l).into()))
        .named("condition_satisfied", "condition_satisfied", "string", "%s", each(&|l| Cell::Text(l.met(original).to_string())));
    (said, table, all.iter().all(|l| l.met(original)))
}
