//! The CSV tokenizer: fields of a line, quotes, and cutting a file into blocks at line ends.

use std::borrow::Cow;

/// How lines are cut into fields.
#[derive(Clone, Copy, Debug)]
pub struct Dialect {
    pub separator: u8,
    /// `"` or, when single quotes are asked for, `'`.
    pub quote: u8,
    /// Takes its meaning from the character after it; 0 for none.
    pub escape: u8,
}

/// Cuts `bytes` into blocks of about `size` bytes that end at line ends outside quotes.
pub fn blocks(bytes: &[u8], size: usize, d: Dialect) -> Vec<(usize, usize)> {
    if d.escape != 0 {
        return escaped_blocks(bytes, size, d);
    }
    let quote = d.quote;
    let mut cuts = vec![0];
    let mut at = size;
    let has_quotes = memchr::memchr(quote, bytes).is_some();
    let mut counted = (0, 0usize);
    while at < bytes.len() {
        // A position lies inside quotes when an odd number of quotes stands before it.
        let mut inside = false;
        if has_quotes {
            counted = (at, counted.1 + memchr::memchr_iter(quote, &bytes[counted.0..at]).count());
            inside = counted.1 % 2 == 1;
        }
        let mut cut = bytes.len();
        if has_quotes {
            for i in memchr::memchr2_iter(quote, b'\n', &bytes[at..]) {
                if bytes[at + i] == quote {
                    inside = !inside;
                } else if !inside {
                    cut = at + i + 1;
                    break;
                }
            }
        } else if let Some(i) = memchr::memchr(b'\n', &bytes[at..]) {
            cut = at + i + 1;
        }
        if cut >= bytes.len() {
            break;
        }
        cuts.push(cut);
        at = cut + size;
    }
    cuts.push(bytes.len());
    cuts.windows(2).map(|w| (w[0], w[1])).filter(|(a, b)| a < b).collect()
}

/// The same where quotes may be escaped: one pass over all that matters.
fn escaped_blocks(bytes: &[u8], size: usize, d: Dialect) -> Vec<(usize, usize)> {
    let (mut out, mut start, mut inside, mut skip) = (vec![], 0, false, usize::MAX);
    for i in memchr::memchr3_iter(d.quote, b'\n', d.escape, bytes) {
        if i == skip {
            continue;
        }
        match bytes[i] {
            b if b == d.escape => skip = i + 1,
            b if b == d.quote => inside = !inside,
            _ if !inside && i + 1 - start >= size => {
                out.push((start, i + 1));
                start = i + 1;
            }
            _ => {}
        }
    }
    if start < bytes.len() {
        out.push((start, bytes.len()));
    }
    out
}

/// One field of a line.
pub struct Field<'a> {
    pub text: Cow<'a, [u8]>,
    pub quoted: bool,
}

/// A field of at most seven bytes with nothing special about it, and its bytes as a little-endian number.
///
/// Eight bytes are looked at together: subtracting 1 from each byte of `x ^ separator` borrows into the top bit of the
/// first one that is zero.
#[inline(always)]
pub fn short_field(bytes: &[u8], at: usize, d: Dialect) -> Option<(usize, u64)> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    if d.escape != 0 {
        return None;
    }
    let eight = bytes.get(at..at + 9)?;
    if eight[0] == d.quote || eight[0] == b' ' {
        return None;
    }
    let w = u64::from_le_bytes(eight[..8].try_into().expect("eight bytes"));
    let zeros = |x: u64| x.wrapping_sub(ONES) & !x & TOPS;
    let hits = zeros(w ^ (ONES * u64::from(d.separator))) | zeros(w ^ (ONES * u64::from(b'\n')));
    if hits == 0 {
        return None;
    }
    let mut n = hits.trailing_zeros() as usize / 8;
    if n > 0 && eight[n - 1] == b'\r' && eight[n] == b'\n' {
        n -= 1;
    }
    Some((n, if n == 0 { 0 } else { w & (u64::MAX >> (64 - 8 * n)) }))
}

/// Reads one field starting at `at`. Returns the field and the position of the separator or line end after it.
#[inline(always)]
pub fn field<'a>(bytes: &'a [u8], mut at: usize, d: Dialect) -> (Field<'a>, usize) {
    while at < bytes.len() && bytes[at] == b' ' && d.separator != b' ' {
        at += 1;
    }
    if at < bytes.len() && bytes[at] == d.quote {
        return quoted_field(bytes, at, d);
    }
    let start = at;
    while at < bytes.len() {
        let b = bytes[at];
        if b == d.separator || b == b'\n' {
            break;
        }
        at += 1;
    }
    let mut end = at;
    if end > start && bytes[end - 1] == b'\r' && (at == bytes.len() || bytes[at] == b'\n') {
        end -= 1;
    }
    let text = &bytes[start..end];
    let text = if d.escape != 0 && text.contains(&d.escape) { Cow::Owned(unescaped(text, d.escape)) } else { Cow::Borrowed(text) };
    (Field { text, quoted: false }, at)
}

/// A text without its escapes; what they stand before stays as it is.
fn unescaped(text: &[u8], escape: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(&b) = bytes.next() {
        if b == escape { out.extend(bytes.next()) } else { out.push(b) }
    }
    out
}

#[cold]
#[inline(never)]
fn quoted_field(bytes: &[u8], at: usize, d: Dialect) -> (Field<'_>, usize) {
    let mut start = at + 1;
    let mut owned: Option<Vec<u8>> = None;
    loop {
        // An escape before the next quote: the text up to it, and the character behind it as it is.
        if d.escape != 0
            && let Some(i) = memchr::memchr2(d.quote, d.escape, &bytes[start..]).filter(|i| bytes[start + i] == d.escape)
            && let Some(&plain) = bytes.get(start + i + 1)
        {
            let text = owned.get_or_insert_default();
            text.extend_from_slice(&bytes[start..start + i]);
            text.push(plain);
            start += i + 2;
            continue;
        }
        let Some(i) = memchr::memchr(d.quote, &bytes[start..]) else {
            // The quote is never closed: the rest is the field.
            let mut v = owned.unwrap_or_default();
            v.extend_from_slice(&bytes[start..]);
            return (Field { text: Cow::Owned(v), quoted: true }, bytes.len());
        };
        let end = start + i;
        if bytes.get(end + 1) == Some(&d.quote) {
            owned.get_or_insert_default().extend_from_slice(&bytes[start..=end]);
            start = end + 2;
            continue;
        }
        let mut next = end + 1;
        // What stands between the closing quote and the separator is dropped.
        while next < bytes.len() && bytes[next] != d.separator && bytes[next] != b'\n' {
            next += 1;
        }
        let text = match owned {
            Some(mut v) => {
                v.extend_from_slice(&bytes[start..end]);
                Cow::Owned(v)
            }
            None => Cow::Borrowed(&bytes[start..end]),
        };
        return (Field { text, quoted: true }, next);
    }
}

/// The fields of the line at `at`, and where the next line begins.
pub fn line<'a>(bytes: &'a [u8], mut at: usize, d: Dialect) -> (Vec<Field<'a>>, usize) {
    let mut out = vec![];
    loop {
        let (f, next) = field(bytes, at, d);
        out.push(f);
        if next >= bytes.len() {
            return (out, bytes.len());
        }
        if bytes[next] == b'\n' {
            return (out, next + 1);
        }
        at = next + 1;
        // With a space as separator, runs of spaces separate once.
        if d.separator == b' ' {
            match after_spaces(bytes, at) {
                (next, true) => return (out, next),
                (next, false) => at = next,
            }
        }
    }
}

/// Where the next field begins behind some spaces, or, said by `true`, the next line.
#[inline]
pub fn after_spaces(bytes: &[u8], mut at: usize) -> (usize, bool) {
    while bytes.get(at) == Some(&b' ') {
        at += 1;
    }
    match (bytes.get(at), bytes.get(at + 1)) {
        (Some(b'\n'), _) => (at + 1, true),
        (Some(b'\r'), Some(b'\n')) => (at + 2, true),
        (None, _) => (at, true),
        _ => (at, false),
    }
}

/// A number, when `text` is one: sign, digits, one point, exponent. Correctly rounded.
#[inline(always)]
pub fn number(text: &[u8]) -> Option<f64> {
    let (mut i, n) = (0, text.len());
    if n == 0 {
        return None;
    }
    let negative = text[0] == b'-';
    i += usize::from(negative || text[0] == b'+');
    let (mut mantissa, mut digits, mut scale) = (0u64, 0, 0usize);
    while i < n && text[i].is_ascii_digit() {
        mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(text[i] - b'0'));
        digits += 1;
        i += 1;
    }
    if i < n && text[i] == b'.' {
        i += 1;
        while i < n && text[i].is_ascii_digit() {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(text[i] - b'0'));
            digits += 1;
            scale += 1;
            i += 1;
        }
    }
    // Fifteen digits and powers up to 22 are exact in a double, so one division rounds correctly (Clinger 1990).
    if i == n && (1..=15).contains(&digits) {
        let v = mantissa as f64 / POW10[scale];
        return Some(if negative { -v } else { v });
    }
    slow_number(text, digits)
}

const POW10: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

#[cold]
#[inline(never)]
fn slow_number(text: &[u8], digits: usize) -> Option<f64> {
    let trimmed = text.trim_ascii();
    if trimmed.len() != text.len() {
        return number(trimmed);
    }
    // Words such as inf and nan are text, not numbers.
    if digits == 0 || !text.iter().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'+' | b'-' | b'e' | b'E')) {
        return None;
    }
    let text = text.strip_prefix(b"+").unwrap_or(text);
    fast_float2::parse::<f64, _>(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    const D: Dialect = Dialect { separator: b',', quote: b'"', escape: 0 };
    const ESCAPED: Dialect = Dialect { escape: b'\\', ..D };

    fn texts(line_text: &str) -> Vec<String> {
        line(line_text.as_bytes(), 0, D).0.iter().map(|f| String::from_utf8_lossy(&f.text).into_owned()).collect()
    }

    #[test]
    fn fields_and_quotes() {
        assert_eq!(texts("a,b,\n"), ["a", "b", ""]);
        assert_eq!(texts("\"x, y\",\"li\"\"ne\nbreak\",  z \r\n"), ["x, y", "li\"ne\nbreak", "z "]);
        assert_eq!(texts("\"open"), ["open"]);
        let spaced = |t: &str| line(t.as_bytes(), 0, Dialect { separator: b' ', ..D }).0.len();
        assert_eq!([spaced("a  b \nc"), spaced("a b \r\n"), spaced("a b "), spaced("a b\n")], [2; 4]);
    }

    #[test]
    fn escapes() {
        let texts = |t: &str| -> Vec<String> {
            line(t.as_bytes(), 0, ESCAPED).0.iter().map(|f| String::from_utf8_lossy(&f.text).into_owned()).collect()
        };
        assert_eq!(texts(r#""x\"y",1"#), ["x\"y", "1"]);
        assert_eq!(texts(r#""a\\","it""s",p\q,abc\"d"#), ["a\\", "it\"s", "pq", "abc\"d"]);
        // As the reference has it, a separator outside of quotes separates whatever stands before it.
        assert_eq!(texts(r"u\,v"), ["u", "v"]);
        let text = b"\"a\\\"\nb\",1\nc,2\nd\\\",3\n";
        for size in 1..text.len() {
            for (_, end) in blocks(text, size, ESCAPED) {
                assert!([10, 14, 20].contains(&end), "cut at {end}");
            }
        }
    }

    #[test]
    fn numbers() {
        for t in ["1", "-0.5", "5.", ".25", "1e3", "1.5E-2", "123456789012345678901", "0.1", "+7", "9007199254740993", " 3 "] {
            assert_eq!(number(t.as_bytes()), Some(t.trim().parse::<f64>().unwrap()), "{t}");
        }
        for t in ["", "-", ".", "1x", "inf", "nan", "0x1", "1_000", "1e", "--1"] {
            assert_eq!(number(t.as_bytes()), None, "{t}");
        }
    }

    #[test]
    fn blocks_end_outside_quotes() {
        let text = b"a,\"x\ny\nz\nw\"\nb,c\nd,e\n";
        for size in 1..text.len() {
            for (_, end) in blocks(text, size, D) {
                assert!([12, 16, 20, text.len()].contains(&end) || end == text.len(), "cut at {end}");
            }
        }
    }
}
