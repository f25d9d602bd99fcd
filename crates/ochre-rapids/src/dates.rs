//! Parts of dates and times, and times from their parts. Times are milliseconds since 1970 in UTC; their parts are those of the
//! cluster's time zone.

use crate::{Env, Prim, Value, call};
use chrono::format::{Parsed, StrftimeItems};
use ochre_core::time::{civil_from_days, days_from_civil, from_local, to_local};
use ochre_core::{Column, Error, Kind, Result};
use std::sync::Arc;

const DAY_MS: i64 = 86_400_000;

pub const DATES: &[Prim] = &[
    call("year", &["time"], |e, a| part(e, a, |d| d.year as f64), "Year of each time."),
    call("month", &["time"], |e, a| part(e, a, |d| f64::from(d.month)), "Month of each time, from 1."),
    call("day", &["time"], |e, a| part(e, a, |d| f64::from(d.day)), "Day of the month of each time, from 1."),
    call("week", &["time"], |e, a| part(e, a, week), "Week of the year of each time (ISO 8601)."),
    call("dayOfWeek", &["time"], day_of_week, "Day of the week of each time, as a category."),
    call("hour", &["time"], |e, a| part(e, a, |d| (d.ms / 3_600_000) as f64), "Hour of each time."),
    call("minute", &["time"], |e, a| part(e, a, |d| (d.ms / 60_000 % 60) as f64), "Minute of each time."),
    call("second", &["time"], |e, a| part(e, a, |d| (d.ms / 1000 % 60) as f64), "Second of each time."),
    call("millis", &["time"], |e, a| part(e, a, |d| (d.ms % 1000) as f64), "Milliseconds of each time."),
    call(
        "mktime",
        &["year", "month", "day", "hour", "minute", "second", "msec"],
        |e, a| compose(e, a, 1, "msec"),
        "Times from their parts; months and days count from 0.",
    ),
    call(
        "moment",
        &["year", "month", "day", "hour", "minute", "second", "msec"],
        |e, a| compose(e, a, 0, "time"),
        "Times from their parts; months and days count from 1.",
    ),
    call("as.Date", &["texts", "format"], as_date, "Times from texts, by a pattern such as %Y-%m-%d %H:%M:%S."),
    call("listTimeZones", &[], list_zones, "Time zones with their standard offset from UTC."),
    call("getTimeZone", &[], |_, _| Ok(Value::Str(ochre_core::time::zone())), "Time zone in which times are read and taken apart."),
    call("setTimeZone", &["zone"], set_zone, "Sets the time zone, for all sessions."),
];

/// A time taken apart.
struct Moment {
    /// Days since 1970-01-01.
    days: i64,
    year: i64,
    month: u32,
    day: u32,
    /// Milliseconds since midnight.
    ms: i64,
}

fn apart(v: f64) -> Moment {
    let local = to_local(v as i64);
    let (days, ms) = (local.div_euclid(DAY_MS), local.rem_euclid(DAY_MS));
    let (year, month, day) = civil_from_days(days);
    Moment { days, year, month, day, ms }
}

/// Monday is 0.
fn weekday(days: i64) -> i64 {
    (days + 3).rem_euclid(7)
}

/// The week belongs to the year that its Thursday lies in.
fn week(d: &Moment) -> f64 {
    let thursday = d.days - weekday(d.days) + 3;
    let (year, ..) = civil_from_days(thursday);
    ((thursday - days_from_civil(year, 1, 1)) / 7 + 1) as f64
}

fn each(env: &Env<'_>, args: &[Value], kind: impl Fn() -> Kind, f: impl Fn(&Moment) -> f64 + Sync) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let value = |v: &f64| if v.is_nan() { *v } else { f(&apart(*v)) };
    let mut out = vec![];
    for c in frame.columns() {
        if !c.is_number() {
            return Err(Error::invalid("parts of dates are taken of time columns, but one of another type was given; parse it as time"));
        }
        out.push(Column::map_chunks(&env.node.ledger, kind(), &[c], |v| v[0].iter().map(value).collect())?);
    }
    Value::new_frame(frame.names().to_vec(), out)
}

fn part(env: &mut Env<'_>, args: Vec<Value>, f: fn(&Moment) -> f64) -> Result<Value> {
    if let Value::Num(v) = &args[0] {
        return Ok(Value::Num(if v.is_nan() { *v } else { f(&apart(*v)) }));
    }
    each(env, &args, || Kind::Real, f)
}

fn day_of_week(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let names = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    if let Value::Num(v) = &args[0] {
        return Ok(Value::Num(if v.is_nan() { *v } else { weekday(apart(*v).days) as f64 }));
    }
    let domain = Arc::new(names.map(str::to_string).to_vec());
    each(env, &args, || Kind::Enum(domain.clone()), |d| weekday(d.days) as f64)
}

/// One time from its parts; missing when the date does not exist.
fn time_of(p: &[f64], first: f64) -> f64 {
    if p.iter().any(|v| v.is_nan()) {
        return f64::NAN;
    }
    let (month, day) = (p[1] + first, p[2] + first);
    if !(1.0..=12.0).contains(&month) || !(1.0..=31.0).contains(&day) {
        return f64::NAN;
    }
    let days = days_from_civil(p[0] as i64, month as u32, day as u32);
    if civil_from_days(days).2 != day as u32 {
        return f64::NAN;
    }
    let local = days as f64 * DAY_MS as f64 + p[3] * 3_600_000.0 + p[4] * 60_000.0 + p[5] * 1000.0 + p[6];
    from_local(local as i64) as f64
}

fn compose(env: &mut Env<'_>, args: Vec<Value>, first: i32, name: &str) -> Result<Value> {
    let first = f64::from(first);
    let rows = args.iter().find_map(|a| if let Value::Frame(f) = a { Some(f.rows()) } else { None });
    let Some(rows) = rows else {
        let parts = args.iter().map(Value::num).collect::<Result<Vec<_>>>()?;
        let time = time_of(&parts, first);
        // The reference answers a number here and a frame there.
        return if name == "time" {
            Value::one(name, Column::numeric(&env.node.ledger, Kind::Time, &[time])?)
        } else {
            Ok(Value::Num(time))
        };
    };
    let mut parts = vec![];
    for a in args {
        parts.push(match a {
            Value::Frame(f) if f.width() == 1 && f.rows() == rows => f.column(0).numbers()?,
            Value::Frame(f) => {
                return Err(Error::invalid(format!(
                    "parts of times must be single columns of {rows} rows, found {} by {}",
                    f.rows(),
                    f.width()
                )));
            }
            other => vec![other.num()?; rows].into(),
        });
    }
    let times: Vec<f64> = (0..rows).map(|r| time_of(&parts.iter().map(|p| p[r]).collect::<Vec<_>>(), first)).collect();
    let kind = if name == "time" { Kind::Time } else { Kind::Real };
    Value::one(name, Column::numeric(&env.node.ledger, kind, &times)?)
}

/// One text as milliseconds; what a pattern leaves open is the beginning: of the year, the month, the day.
fn read_date(text: &str, pattern: &str) -> Option<i64> {
    let mut p = Parsed::new();
    chrono::format::parse(&mut p, text, StrftimeItems::new(pattern)).ok()?;
    if p.day().is_none() && p.ordinal().is_none() {
        p.set_day(1).ok()?;
        if p.month().is_none() {
            p.set_month(1).ok()?;
        }
    }
    let date = p.to_naive_date().ok()?;
    let time = p.to_naive_time().unwrap_or_default();
    Some(from_local(date.and_time(time).and_utc().timestamp_millis()))
}

fn as_date(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let (frame, pattern) = (args[0].clone().frame()?, args[1].text()?);
    if pattern.is_empty() {
        return Err(Error::invalid("as.Date requires a non-empty format string, such as %Y-%m-%d"));
    }
    let mut out = vec![];
    for c in frame.columns() {
        if !matches!(c.kind, Kind::Text | Kind::Enum(_)) {
            return Err(Error::invalid("as.Date reads texts and categories, but a column of numbers was given"));
        }
        let mut values = vec![];
        for (row, t) in c.to_texts()?.into_iter().enumerate() {
            values.push(match t {
                None => f64::NAN,
                Some(t) => read_date(&t, pattern).ok_or_else(|| {
                    Error::invalid(format!("Invalid format: row {row} holds \"{t}\", which is no date of the form {pattern}"))
                })? as f64,
            });
        }
        out.push(Column::from_f64(&env.node.ledger, &values)?);
    }
    Value::new_frame(frame.names().to_vec(), out)
}

/// One category and one row for each zone, under a heading, as the reference has it.
fn list_zones(env: &mut Env<'_>, _: Vec<Value>) -> Result<Value> {
    let mut zones = ochre_core::time::zones();
    zones.sort();
    let mut lines = vec!["StandardOffset CanonicalID, Aliases".to_string()];
    for (offset, name) in zones {
        let (sign, s) = (if offset < 0 { '-' } else { '+' }, offset.abs());
        lines.push(format!("{sign}{:02}:{:02} {name}", s / 3600, s / 60 % 60));
    }
    let codes: Vec<f64> = (0..lines.len()).map(|i| i as f64).collect();
    Value::one("Timezones", Column::numeric(&env.node.ledger, Kind::Enum(Arc::new(lines)), &codes)?)
}

fn set_zone(_: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let name = args[0].text()?;
    if !ochre_core::time::set_zone(name) {
        return Err(Error::invalid(format!("Unacceptable timezone {name}; use a name that listTimeZones shows, such as Europe/Vienna")));
    }
    Ok(Value::Str(name.into()))
}
