//! Value by value: functions of one number, operators on two.

use crate::{Apply, Env, Prim, Value, special};
use ochre_core::{Column, Error, Frame, Kind, Result};
use std::sync::Arc;

const fn unary_row(name: &'static str, f: fn(f64) -> f64, help: &'static str) -> Prim {
    Prim { name, args: &["x"], apply: Apply::Unary(f), help }
}

const fn binary_row(name: &'static str, f: fn(f64, f64) -> f64, help: &'static str) -> Prim {
    Prim { name, args: &["left", "right"], apply: Apply::Binary(f), help }
}

const fn logical_row(name: &'static str, f: fn(f64, f64) -> f64, help: &'static str) -> Prim {
    Prim { name, args: &["left", "right"], apply: Apply::Logical(f), help }
}

pub const UNARY: &[Prim] = &[
    unary_row("abs", f64::abs, "Absolute value."),
    unary_row("acos", f64::acos, "Arc cosine."),
    unary_row("acosh", f64::acosh, "Inverse hyperbolic cosine."),
    unary_row("asin", f64::asin, "Arc sine."),
    unary_row("asinh", f64::asinh, "Inverse hyperbolic sine."),
    unary_row("atan", f64::atan, "Arc tangent."),
    unary_row("atanh", f64::atanh, "Inverse hyperbolic tangent."),
    unary_row("ceiling", f64::ceil, "The next whole number above."),
    unary_row("cos", f64::cos, "Cosine."),
    unary_row("cosh", f64::cosh, "Hyperbolic cosine."),
    unary_row("cospi", |v| (v * std::f64::consts::PI).cos(), "Cosine of pi times a value."),
    unary_row("digamma", special::digamma, "Derivative of the logarithm of the gamma function."),
    unary_row("exp", f64::exp, "Exponential."),
    unary_row("expm1", f64::exp_m1, "Exponential minus 1."),
    unary_row("floor", f64::floor, "The next whole number below."),
    unary_row("gamma", special::gamma, "Gamma function; missing for whole numbers below 1."),
    unary_row("lgamma", special::log_gamma, "Logarithm of the gamma function; missing below 0."),
    unary_row("log", f64::ln, "Natural logarithm."),
    unary_row("log10", f64::log10, "Logarithm to base 10."),
    unary_row("log1p", f64::ln_1p, "Natural logarithm of 1 plus a value."),
    unary_row("log2", f64::log2, "Logarithm to base 2."),
    unary_row("none", |v| v, "The value itself."),
    unary_row("not", |v| if v.is_nan() { v } else { f64::from(v == 0.0) }, "1 for 0, 0 for anything else."),
    unary_row("!!", |v| if v.is_nan() { v } else { f64::from(v == 0.0) }, "1 for 0, 0 for anything else."),
    unary_row("sgn", |v| if v == 0.0 || v.is_nan() { v } else { v.signum() }, "Sign."),
    unary_row("sign", |v| if v == 0.0 || v.is_nan() { v } else { v.signum() }, "Sign."),
    unary_row("sin", f64::sin, "Sine."),
    unary_row("sinh", f64::sinh, "Hyperbolic sine."),
    unary_row("sinpi", |v| (v * std::f64::consts::PI).sin(), "Sine of pi times a value."),
    unary_row("sqrt", f64::sqrt, "Square root."),
    unary_row("tan", f64::tan, "Tangent."),
    unary_row("tanh", f64::tanh, "Hyperbolic tangent."),
    unary_row("tanpi", |v| (v * std::f64::consts::PI).tan(), "Tangent of pi times a value."),
    unary_row("trigamma", special::trigamma, "Second derivative of the logarithm of the gamma function."),
    unary_row("trunc", f64::trunc, "The whole part."),
];

fn and(a: f64, b: f64) -> f64 {
    if a == 0.0 || b == 0.0 {
        0.0
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        1.0
    }
}

/// As in the reference, only 1 is true here; `&` takes any number but 0.
fn or(a: f64, b: f64) -> f64 {
    if a == 1.0 || b == 1.0 {
        1.0
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        0.0
    }
}

pub const BINARY: &[Prim] = &[
    binary_row("+", |a, b| a + b, "Sum."),
    binary_row("-", |a, b| a - b, "Difference."),
    binary_row("*", |a, b| a * b, "Product."),
    binary_row("/", |a, b| a / b, "Quotient."),
    logical_row("^", power, "Power; 1 where the exponent is 0, whatever the base."),
    logical_row("**", power, "Power; 1 where the exponent is 0, whatever the base."),
    binary_row("%", |a, b| a % b, "Remainder, with the sign of the left side."),
    binary_row("mod", |a, b| a % b, "Remainder, with the sign of the left side."),
    binary_row("%%", |a, b| a % b, "Remainder, with the sign of the left side."),
    logical_row("intDiv", whole_quotient, "Quotient of the whole parts, without its fraction."),
    // An order compared with a missing value is false, as in the reference.
    logical_row("%/%", |a, b| f64::from((a / b) as i32), "Quotient without its fraction; 0 when a side is missing."),
    logical_row("<", |a, b| f64::from(a < b), "Is the left side less?"),
    logical_row("<=", |a, b| f64::from(a <= b), "Is the left side less or equal?"),
    logical_row(">", |a, b| f64::from(a > b), "Is the left side greater?"),
    logical_row(">=", |a, b| f64::from(a >= b), "Is the left side greater or equal?"),
    logical_row("==", |a, b| f64::from(same(a, b)), "Are both sides equal, within one step of rounding? Missing values are."),
    logical_row("!=", |a, b| f64::from(!same(a, b)), "Do the sides differ by more than one step of rounding?"),
    binary_row("round", round, "Rounded to some digits after the point, halves away from 0; without digits to even."),
    binary_row("signif", signif, "Rounded to some significant digits, halves to even."),
    logical_row("&", and, "Are both true? A missing side leaves it open unless the other is false."),
    logical_row("&&", and, "Are both true? A missing side leaves it open unless the other is false."),
    logical_row("|", or, "Is one true? A missing side leaves it open unless the other is true."),
    logical_row("||", or, "Is one true? A missing side leaves it open unless the other is true."),
];

/// Equal as the reference has it: by the distance of the smaller one to the next number, so that 0.1 + 0.2 is 0.3.
fn same(a: f64, b: f64) -> bool {
    let smaller = a.abs().min(b.abs());
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= smaller.next_up() - smaller
}

fn power(a: f64, b: f64) -> f64 {
    if b == 0.0 {
        1.0
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.powf(b)
    }
}

/// In whole numbers; a missing side counts as 0, and nothing is divided by 0.
fn whole_quotient(a: f64, b: f64) -> f64 {
    match (a as i64, b as i64) {
        (_, 0) => f64::NAN,
        (a, b) => (a / b) as f64,
    }
}

fn round(v: f64, digits: f64) -> f64 {
    let digits = digits.trunc();
    if digits == 0.0 || !v.is_finite() {
        return v.round_ties_even() + 0.0;
    }
    let scale = 10f64.powf(digits.abs());
    let scaled = if digits > 0.0 { v * scale } else { v / scale };
    let back = |r: f64| if digits > 0.0 { r / scale } else { r * scale };
    if digits < 0.0 || scaled.fract().abs() == 0.5 && scaled / scale == v {
        return back(scaled.round());
    }
    // The decimal expansion is exact, where multiplying would round first.
    format!("{v:.*}", digits.min(300.0) as usize).parse().unwrap_or(v)
}

fn signif(v: f64, digits: f64) -> f64 {
    if v == 0.0 || !v.is_finite() {
        return v;
    }
    format!("{v:.*e}", (digits.clamp(1.0, 22.0) - 1.0) as usize).parse().unwrap_or(v)
}

fn numeric(name: &str, column: &Column) -> Result<()> {
    match column.kind {
        Kind::Text => Err(Error::invalid(format!("Operator {name} not allowed on string column"))),
        Kind::Uuid => Err(Error::invalid(format!("Operator {name} not allowed on UUID column"))),
        _ => Ok(()),
    }
}

pub fn unary(env: &mut Env<'_>, name: &'static str, f: fn(f64) -> f64, v: Value) -> Result<Value> {
    match v {
        Value::Num(x) => Ok(Value::Num(f(x))),
        Value::Nums(v) => Ok(Value::Nums(v.into_iter().map(f).collect())),
        Value::Frame(frame) => {
            let mut columns = vec![];
            for c in frame.columns() {
                numeric(name, c)?;
                // Categories have no arithmetic: all missing.
                columns.push(if c.is_enum() {
                    missing(env, c.rows())?
                } else {
                    Column::map_chunks(&env.node.ledger, Kind::Real, &[c], |v| v[0].iter().map(|x| f(*x)).collect())?
                });
            }
            let names = frame.names().iter().map(|n| if name == "!!" { n.clone() } else { format!("{name}({n})") }).collect();
            Value::new_frame(names, columns)
        }
        other => Err(Error::invalid(format!("{name} takes a number or a frame, not {}", other.kind()))),
    }
}

/// One side of an operator, per column.
enum Side {
    Scalar(f64),
    Label(String),
    Column(Column),
}

fn equality(name: &str) -> bool {
    matches!(name, "==" | "!=")
}

pub fn binary(env: &mut Env<'_>, name: &'static str, f: fn(f64, f64) -> f64, logical: bool, a: Value, b: Value) -> Result<Value> {
    let apply = |x: f64, y: f64| if !logical && (x.is_nan() || y.is_nan()) { f64::NAN } else { f(x, y) };
    let row = |v: Value| match v {
        // A row of numbers acts on a frame column by column.
        Value::Nums(v) if v.len() == 1 => Value::Num(v[0]),
        v => v,
    };
    match (row(a), row(b)) {
        (Value::Num(x), Value::Num(y)) => Ok(Value::Num(apply(x, y))),
        (Value::Str(x), Value::Str(y)) if equality(name) => Ok(Value::Num(f64::from((x == y) == (name == "==")))),
        (Value::Nums(x), Value::Nums(y)) if x.len() == y.len() => Ok(Value::Nums(x.into_iter().zip(y).map(|(x, y)| apply(x, y)).collect())),
        (Value::Nums(x), Value::Num(y)) => Ok(Value::Nums(x.into_iter().map(|x| apply(x, y)).collect())),
        (Value::Num(x), Value::Nums(y)) => Ok(Value::Nums(y.into_iter().map(|y| apply(x, y)).collect())),
        (Value::Frame(l), Value::Frame(r)) => frames(env, name, &apply, &l, &r),
        (Value::Frame(l), other) => scalar(env, name, &apply, &l, other, false),
        (other, Value::Frame(r)) => scalar(env, name, &apply, &r, other, true),
        (a, b) => Err(Error::invalid(format!("{name} cannot be applied to {} and {}", a.kind(), b.kind()))),
    }
}

fn scalar(
    env: &mut Env<'_>,
    name: &str,
    apply: &(dyn Fn(f64, f64) -> f64 + Sync),
    frame: &Arc<Frame>,
    other: Value,
    flipped: bool,
) -> Result<Value> {
    let mut columns = vec![];
    for (i, c) in frame.columns().iter().enumerate() {
        let side = match &other {
            Value::Num(v) => Side::Scalar(*v),
            Value::Str(s) => Side::Label(s.clone()),
            Value::Nums(v) if v.len() == frame.width() => Side::Scalar(v[i]),
            other => return Err(Error::invalid(format!("{name} cannot be applied to a Frame and {}", other.kind()))),
        };
        columns.push(if flipped {
            pair(env, name, apply, side, Side::Column(c.clone()), c.rows())?
        } else {
            pair(env, name, apply, Side::Column(c.clone()), side, c.rows())?
        });
    }
    // The reference names the columns anew in this one case.
    let renamed = equality(name) && !flipped && matches!(other, Value::Num(_));
    let names = if renamed { (1..=frame.width()).map(|i| format!("C{i}")).collect() } else { frame.names().to_vec() };
    Value::new_frame(names, columns)
}

fn frames(env: &mut Env<'_>, name: &str, apply: &(dyn Fn(f64, f64) -> f64 + Sync), l: &Arc<Frame>, r: &Arc<Frame>) -> Result<Value> {
    // A frame of one row acts as a row, a frame of one column as that column for each.
    if l.rows() != r.rows() {
        if r.rows() == 1 && r.width() == l.width() {
            let row = r.columns().iter().map(|c| c.value(0)).collect::<Result<Vec<_>>>()?;
            return scalar(env, name, apply, l, Value::Nums(row), false);
        }
        if l.rows() == 1 && l.width() == r.width() {
            let row = l.columns().iter().map(|c| c.value(0)).collect::<Result<Vec<_>>>()?;
            return scalar(env, name, apply, r, Value::Nums(row), true);
        }
        return Err(Error::invalid(format!("Frames must have same number of rows, found {} and {}", l.rows(), r.rows())));
    }
    let (lw, rw) = (l.width(), r.width());
    if lw != rw && lw != 1 && rw != 1 {
        return Err(Error::invalid(format!("Frames must have same columns, found {lw} columns and {rw} columns.")));
    }
    let mut columns = vec![];
    for i in 0..lw.max(rw) {
        let (a, b) = (l.column(if lw == 1 { 0 } else { i }), r.column(if rw == 1 { 0 } else { i }));
        columns.push(pair(env, name, apply, Side::Column(a.clone()), Side::Column(b.clone()), l.rows())?);
    }
    Value::new_frame(if lw >= rw { l } else { r }.names().to_vec(), columns)
}

fn pair(env: &mut Env<'_>, name: &str, apply: &(dyn Fn(f64, f64) -> f64 + Sync), a: Side, b: Side, rows: usize) -> Result<Column> {
    let texts = |s: &Side| matches!(s, Side::Label(_)) || matches!(s, Side::Column(c) if matches!(c.kind, Kind::Text | Kind::Uuid));
    let categories = |s: &Side| matches!(s, Side::Column(c) if c.is_enum());
    if equality(name) && (texts(&a) || texts(&b) || (categories(&a) && categories(&b))) {
        return compare_texts(env, name == "==", &a, &b, rows);
    }
    if texts(&a) || texts(&b) {
        return Err(Error::invalid(format!("Operator {name} is not defined for texts")));
    }
    // As in the reference: categories on the left equal no number, and give nothing else, nor do they beside a number on the left;
    // beside a column they are their codes.
    if categories(&a) && equality(name) && matches!(b, Side::Scalar(_)) {
        return Column::generate(&env.node.ledger, Kind::Real, rows, |_, n| vec![f64::from(name != "=="); n]);
    }
    if !equality(name) && (categories(&a) || (categories(&b) && matches!(a, Side::Scalar(_)))) {
        return missing(env, rows);
    }
    let ledger = &env.node.ledger;
    match (a, b) {
        (Side::Column(x), Side::Column(y)) => {
            Column::map_chunks(ledger, Kind::Real, &[&x, &y], |v| v[0].iter().zip(v[1].iter()).map(|(x, y)| apply(*x, *y)).collect())
        }
        (Side::Scalar(x), Side::Column(y)) => {
            Column::map_chunks(ledger, Kind::Real, &[&y], |v| v[0].iter().map(|y| apply(x, *y)).collect())
        }
        (Side::Column(x), Side::Scalar(y)) => {
            Column::map_chunks(ledger, Kind::Real, &[&x], |v| v[0].iter().map(|x| apply(*x, y)).collect())
        }
        _ => Err(Error::Internal("an operator on two scalars is no column's affair".into())),
    }
}

/// A column of missing values.
fn missing(env: &Env<'_>, rows: usize) -> Result<Column> {
    Column::generate(&env.node.ledger, Kind::Real, rows, |_, n| vec![f64::NAN; n])
}

fn compare_texts(env: &mut Env<'_>, equal: bool, a: &Side, b: &Side, rows: usize) -> Result<Column> {
    if let (Side::Column(c), Side::Label(label)) | (Side::Label(label), Side::Column(c)) = (a, b)
        && let Some(domain) = c.domain()
    {
        let code = domain.iter().position(|d| d == label).map_or(-1.0, |i| i as f64);
        let test = |v: &f64| f64::from((*v == code) == equal);
        return Column::map_chunks(&env.node.ledger, Kind::Real, &[c], |v| v[0].iter().map(test).collect());
    }
    let texts = |s: &Side| -> Result<Vec<Option<String>>> {
        match s {
            Side::Label(l) => Ok(vec![Some(l.clone()); rows]),
            Side::Scalar(v) => Ok(vec![(!v.is_nan()).then(|| ochre_core::number_text(*v)); rows]),
            Side::Column(c) => c.to_texts(),
        }
    };
    let out: Vec<f64> = texts(a)?.into_iter().zip(texts(b)?).map(|(x, y)| f64::from((x == y) == equal)).collect();
    Column::from_f64(&env.node.ledger, &out)
}
