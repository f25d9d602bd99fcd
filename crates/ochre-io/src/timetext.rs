//! Dates and times as text. Month comes before day in slashed dates; two-digit years from 69 on are 19xx.

use ochre_core::time::{days_from_civil, from_local};

const MONTHS: [&str; 12] =
    ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"];

/// Milliseconds since the epoch (UTC), when `text` is a time in one of the accepted forms.
pub fn parse(text: &[u8]) -> Option<f64> {
    if text.len() < 5 || text.len() > 40 || !text.iter().any(|b| matches!(b, b'-' | b'/' | b':')) {
        return None;
    }
    let mut c = Cursor { text, at: 0 };
    let (date, has_date) = match date(&mut c) {
        Some(d) => (d, true),
        None => {
            c.at = 0;
            (0, false)
        }
    };
    let mut ms = date * 86_400_000;
    if has_date && c.done() {
        return Some(from_local(ms) as f64);
    }
    if has_date && !c.eat_any(b" T-:") {
        return None;
    }
    ms += clock(&mut c)?;
    c.done().then(|| from_local(ms) as f64)
}

struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }
    fn done(&self) -> bool {
        self.at == self.text.len()
    }
    fn eat(&mut self, b: u8) -> bool {
        let hit = self.peek() == Some(b);
        self.at += usize::from(hit);
        hit
    }
    fn eat_any(&mut self, set: &[u8]) -> bool {
        let hit = self.peek().is_some_and(|b| set.contains(&b));
        self.at += usize::from(hit);
        hit
    }
    /// Digits, between `min` and `max` of them.
    fn digits(&mut self, min: usize, max: usize) -> Option<(i64, usize)> {
        let start = self.at;
        let mut v = 0i64;
        while self.at - start < max && self.peek().is_some_and(|b| b.is_ascii_digit()) {
            v = v * 10 + i64::from(self.text[self.at] - b'0');
            self.at += 1;
        }
        let n = self.at - start;
        (n >= min).then_some((v, n))
    }
    /// The name of a month, in full or its first three letters.
    fn month_name(&mut self) -> Option<u32> {
        let word = &self.text[self.at.min(self.text.len())..];
        let begins = |with: &str| word.get(..with.len()).is_some_and(|w| w.eq_ignore_ascii_case(with.as_bytes()));
        let i = MONTHS.iter().position(|m| begins(&m[..3]))?;
        self.at += if begins(MONTHS[i]) { MONTHS[i].len() } else { 3 };
        Some(i as u32 + 1)
    }
}

fn full_year(year: i64, digits: usize) -> Option<i64> {
    match digits {
        4 => Some(year),
        2 => Some(if year >= 69 { 1900 + year } else { 2000 + year }),
        _ => None,
    }
}

fn checked(year: i64, month: u32, day: u32) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    (day >= 1 && day <= last).then(|| days_from_civil(year, month, day))
}

/// A date as days since the epoch: yyyy-M[-d], yyyyMMdd, d-MMM-yy[yy], yy-MMM, M/d/yy[yy], M-d-yy[yy].
fn date(c: &mut Cursor<'_>) -> Option<i64> {
    if let Some(month) = c.month_name() {
        let _ = month;
        return None;
    }
    let (first, n) = c.digits(1, 8)?;
    if n == 8 {
        // Without dashes a time must follow, or every eight-digit number would be a date.
        return if c.peek() == Some(b'-') { checked(first / 10_000, (first / 100 % 100) as u32, (first % 100) as u32) } else { None };
    }
    if n == 4 {
        if !c.eat(b'-') {
            return None;
        }
        let month = match c.month_name() {
            Some(m) => m,
            None => c.digits(1, 2)?.0 as u32,
        };
        let day = if c.peek() == Some(b'-') {
            c.at += 1;
            c.digits(1, 2)?.0 as u32
        } else {
            1
        };
        return checked(first, month, day);
    }
    if n > 2 {
        return None;
    }
    let separator = c.peek()?;
    if !matches!(separator, b'-' | b'/') {
        return None;
    }
    c.at += 1;
    if let Some(month) = c.month_name() {
        if c.eat(separator) {
            let (year, yn) = c.digits(2, 4)?;
            return checked(full_year(year, yn)?, month, first as u32);
        }
        return checked(full_year(first, n)?, month, 1);
    }
    let day = c.digits(1, 2)?.0 as u32;
    if !c.eat(separator) {
        return None;
    }
    let (year, yn) = c.digits(2, 4)?;
    checked(full_year(year, yn)?, first as u32, day)
}

/// H:m[:s[.SSS]] with an optional AM or PM, in milliseconds.
fn clock(c: &mut Cursor<'_>) -> Option<i64> {
    let (mut hour, _) = c.digits(1, 2)?;
    if !c.eat_any(b":.") {
        return None;
    }
    let (minute, _) = c.digits(1, 2)?;
    let (mut second, mut ms) = (0, 0);
    if c.eat_any(b":.") {
        second = c.digits(1, 2)?.0;
        if c.eat_any(b":.") {
            let (f, n) = c.digits(1, 9)?;
            ms = (f as f64 / 10f64.powi(n as i32) * 1000.0) as i64;
        }
    }
    while c.eat(b' ') {}
    if let Some(word) = c.text.get(c.at..c.at + 2) {
        match word.to_ascii_uppercase().as_slice() {
            b"AM" if (1..=12).contains(&hour) => {
                hour %= 12;
                c.at += 2;
            }
            b"PM" if (1..=12).contains(&hour) => {
                hour = hour % 12 + 12;
                c.at += 2;
            }
            _ => {}
        }
    }
    (hour < 24 && minute < 60 && second < 60).then_some(((hour * 60 + minute) * 60 + second) * 1000 + ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_forms() {
        let day = |t: &str| parse(t.as_bytes()).map(|v| v / 86_400_000.0);
        assert_eq!(day("2020-01-02"), Some(18263.0));
        assert_eq!(day("1/31/99"), Some(10622.0));
        assert_eq!(day("31-Dec-1999"), Some(10956.0));
        assert_eq!((day("3-January-2006"), day("1-MAY-06")), (Some(13151.0), Some(13269.0)));
        assert_eq!(parse(b"2020-01-02 03:04:05.678"), Some(1577934245678.0));
        assert_eq!(parse(b"20200102-03:04:05"), Some(1577934245000.0));
        assert_eq!(parse(b"1/2/2020 3:04 PM"), Some(1577977440000.0));
        for bad in ["12345678", "13/31/99", "2020-02-30", "1.2.3.4", "5:99", "abc-def", "1-2", "3-Janu-2006"] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
