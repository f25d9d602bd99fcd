//! Calendar arithmetic, and the time zone of the cluster (proleptic Gregorian; days algorithm after Hinnant, "chrono-compatible date algorithms").

use chrono::{Offset, TimeZone};
use chrono_tz::OffsetComponents;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Days since 1970-01-01.
pub fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let doy = (153 * ((i64::from(month) + 9) % 12) + 2) / 5 + i64::from(day) - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    era * 146_097 + doe - 719_468
}

/// Year, month, day of a day number.
pub fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = (doy - (153 * mp + 2) / 5 + 1) as u32;
    let month = if mp < 10 { mp + 3 } else { mp - 9 } as u32;
    (yoe + era * 400 + i64::from(month <= 2), month, day)
}

/// Milliseconds since the epoch, now.
pub fn now_ms() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

/// `2026-11-22 16:59:45`
pub fn stamp(ms: i64) -> String {
    let (y, m, d) = civil_from_days(ms.div_euclid(86_400_000));
    let s = ms.rem_euclid(86_400_000) / 1000;
    format!("{y:04}-{m:02}-{d:02} {:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
}

/// A duration as the scoring histories print it.
pub fn duration_text(ms: i64) -> String {
    let (s, rest) = (ms / 1000, ms % 1000);
    if s < 60 {
        format!("{s:2}.{rest:03} sec")
    } else if s < 3600 {
        format!("{:2} min {:2}.{rest:03} sec", s / 60, s % 60)
    } else {
        format!("{:2}:{:02}:{:02}.{rest:03}", s / 3600, s / 60 % 60, s % 60)
    }
}

/// The zone that the cluster reads and takes apart times in; none stands for UTC.
static ZONE: parking_lot::RwLock<Option<chrono_tz::Tz>> = parking_lot::RwLock::new(None);
static IS_UTC: AtomicBool = AtomicBool::new(true);

/// Name of the time zone.
pub fn zone() -> String {
    ZONE.read().map_or_else(|| "UTC".to_string(), |z| z.name().to_string())
}

/// Sets the time zone by its name in the tz database; answers whether there is one of that name.
pub fn set_zone(name: &str) -> bool {
    let Ok(zone) = name.parse::<chrono_tz::Tz>() else { return false };
    let utc = matches!(zone, chrono_tz::UTC | chrono_tz::Etc::UTC | chrono_tz::Etc::GMT | chrono_tz::GMT);
    *ZONE.write() = (!utc).then_some(zone);
    IS_UTC.store(utc, Relaxed);
    true
}

/// Every time zone: its standard offset from UTC in seconds and its name.
pub fn zones() -> Vec<(i32, &'static str)> {
    let winter = chrono::DateTime::UNIX_EPOCH.naive_utc();
    chrono_tz::TZ_VARIANTS.iter().map(|z| (z.offset_from_utc_datetime(&winter).base_utc_offset().num_seconds() as i32, z.name())).collect()
}

/// What a clock on the wall shows at an instant, as milliseconds in the manner of UTC.
pub fn to_local(ms: i64) -> i64 {
    if IS_UTC.load(Relaxed) {
        return ms;
    }
    let (Some(zone), Some(at)) = (*ZONE.read(), chrono::DateTime::from_timestamp_millis(ms)) else { return ms };
    ms + 1000 * i64::from(zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc())
}

/// The instant at which a clock on the wall shows a time; the earlier of two, and past a gap as if it were not there.
pub fn from_local(ms: i64) -> i64 {
    if IS_UTC.load(Relaxed) {
        return ms;
    }
    let (Some(zone), Some(at)) = (*ZONE.read(), chrono::DateTime::from_timestamp_millis(ms)) else { return ms };
    let offset = |ms: i64| {
        chrono::DateTime::from_timestamp_millis(ms).map_or(0, |t| zone.offset_from_utc_datetime(&t.naive_utc()).fix().local_minus_utc())
    };
    match zone.offset_from_local_datetime(&at.naive_utc()).earliest() {
        Some(found) => ms - 1000 * i64::from(found.fix().local_minus_utc()),
        None => ms - 1000 * i64::from(offset(ms - 86_400_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn calendar_round_trips() {
        for day in (-800_000..800_000).step_by(37) {
            let (y, m, d) = civil_from_days(day);
            assert_eq!(days_from_civil(y, m, d), day);
        }
        assert_eq!(days_from_civil(2000, 3, 1), 11_017);
    }
}
