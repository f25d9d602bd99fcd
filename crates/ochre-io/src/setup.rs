//! What a file looks like: separator, header, column types, guessed from its first bytes.
//!
//! The rules are the reference's (separator candidates in order, header when line one is all text and line two is
//! not, type by counting what the fields look like); each guess carries its reason.

use crate::csv::{self, Dialect};
use crate::{RawFile, source, timetext};
use ochre_core::{Error, Ledger, Result};
use std::collections::HashSet;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    Numeric,
    Enum,
    Time,
    Text,
    Uuid,
    Unknown,
}

impl ColumnType {
    pub fn name(self) -> &'static str {
        match self {
            ColumnType::Numeric => "Numeric",
            ColumnType::Enum => "Enum",
            ColumnType::Time => "Time",
            ColumnType::Text => "String",
            ColumnType::Uuid => "UUID",
            ColumnType::Unknown => "Unknown",
        }
    }

    pub fn from_name(name: &str) -> Result<ColumnType> {
        Ok(match name.to_ascii_lowercase().as_str() {
            "numeric" | "real" | "double" | "int" | "integer" | "float" | "long" | "bad" => ColumnType::Numeric,
            "enum" | "factor" | "categorical" | "cat" => ColumnType::Enum,
            "time" => ColumnType::Time,
            "string" => ColumnType::Text,
            "uuid" => ColumnType::Uuid,
            "unknown" => ColumnType::Unknown,
            _ => {
                return Err(Error::invalid(format!(
                    "Provided column type {name} is unknown. Use one of: Unknown, UUID, String, Numeric, Enum, Time"
                )));
            }
        })
    }
}

/// What kind of file it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Csv,
    Arff,
    SvmLight,
    Parquet,
    Orc,
    Avro,
    /// A sheet of a workbook, old or new.
    Sheet,
}

impl Format {
    pub fn name(self) -> &'static str {
        match self {
            Format::Csv => "CSV",
            Format::Arff => "ARFF",
            Format::SvmLight => "SVMLight",
            Format::Parquet => "PARQUET",
            Format::Orc => "ORC",
            Format::Avro => "AVRO",
            Format::Sheet => "XLS",
        }
    }

    /// The name that clients know it by. They have none for ORC, whose files are told by their first bytes.
    pub fn told(self) -> &'static str {
        if self == Format::Orc { "GUESS" } else { self.name() }
    }

    /// The format of a file that says itself what it is.
    pub fn by_magic(path: &std::path::Path) -> Option<Format> {
        let mut head = [0; 4];
        std::fs::File::open(path).and_then(|mut f| std::io::Read::read_exact(&mut f, &mut head)).ok()?;
        if &head == b"PAR1" { Some(Format::Parquet) } else { crate::records::format_of(&head) }
    }

    /// The format that a client names; `None` leaves it to the guess.
    pub fn from_name(name: &str) -> Result<Option<Format>> {
        Ok(Some(match name.to_ascii_uppercase().as_str() {
            "" | "GUESS" => return Ok(None),
            "CSV" => Format::Csv,
            "ARFF" => Format::Arff,
            "SVMLIGHT" => Format::SvmLight,
            "PARQUET" => Format::Parquet,
            "ORC" => Format::Orc,
            "AVRO" => Format::Avro,
            "XLS" | "XLSX" => Format::Sheet,
            _ => {
                return Err(Error::Unsupported(format!(
                    "parse_type {name} is not supported by this version of ochre, which reads CSV, ARFF, SVMLight, PARQUET, ORC, AVRO and XLS"
                )));
            }
        }))
    }
}

#[derive(Clone, Debug, Default)]
pub struct ParseSetup {
    pub format: Format,
    pub separator: u8,
    pub single_quotes: bool,
    /// Takes its meaning from the character after it; 0 for none.
    pub escape: u8,
    /// 1: the first line is a header; -1: it is data.
    pub header: i32,
    pub names: Vec<String>,
    pub types: Vec<ColumnType>,
    /// Why each type was chosen.
    pub reasons: Vec<String>,
    /// Texts that mean missing, by column.
    pub na_strings: Vec<Vec<String>>,
    pub skipped: Vec<usize>,
    /// First lines, for the client to show.
    pub preview: Vec<Vec<String>>,
    /// Columns that the paths of files tell: a name, and the value of each file.
    pub partitions: Vec<(String, Vec<String>)>,
}

impl ParseSetup {
    /// Takes columns from the paths of files, which name them as `column=value`.
    pub fn partition_by(&mut self, names: &[String], files: &[Arc<RawFile>]) -> Result<()> {
        for name in names {
            let value = |f: &Arc<RawFile>| {
                let told = |c: std::path::Component<'_>| {
                    let text = c.as_os_str().to_string_lossy().into_owned();
                    text.split_once('=').filter(|(n, _)| n == name).map(|(_, v)| v.to_string())
                };
                f.path.components().rev().find_map(told)
            };
            let values: Vec<Option<String>> = files.iter().map(value).collect();
            let lacking: Vec<String> =
                files.iter().zip(&values).filter(|v| v.1.is_none()).map(|(f, _)| f.path.display().to_string()).collect();
            if !lacking.is_empty() {
                return Err(Error::invalid(format!(
                    "partition_by names the column '{name}', which the path of {} does not tell as {name}=value",
                    lacking.iter().take(3).cloned().collect::<Vec<_>>().join(", ")
                )));
            }
            self.partitions.push((name.clone(), values.into_iter().flatten().collect()));
        }
        Ok(())
    }

    /// The setup with these columns among the others.
    pub fn with_partitions(&self) -> ParseSetup {
        let mut whole = self.clone();
        for (name, _) in &self.partitions {
            whole.names.push(name.clone());
            whole.types.push(ColumnType::Enum);
            whole.na_strings.resize(whole.names.len(), vec![]);
        }
        whole
    }

    pub fn dialect(&self) -> Dialect {
        Dialect { separator: self.separator, quote: if self.single_quotes { b'\'' } else { b'"' }, escape: self.escape }
    }
}

/// What the user already decided.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    pub separator: Option<u8>,
    /// 0: guess.
    pub header: i32,
    pub single_quotes: bool,
    pub escape: u8,
    pub names: Option<Vec<String>>,
    pub na_strings: Vec<Vec<String>>,
    pub format: Option<Format>,
}

/// Enough to tell numbers from words; and what is read when it must be told whether words repeat.
const PREVIEW_BYTES: usize = 1 << 18;
const LONG_PREVIEW_BYTES: usize = 1 << 22;
const LONGEST_PREVIEW_BYTES: usize = 64 << 20;
const PREVIEW_LINES: usize = 10;
const CANDIDATES: [u8; 6] = [1, b',', b';', b'|', b'\t', b' '];

/// Looks at the first bytes of the first file that has any.
pub fn guess(files: &[Arc<RawFile>], wishes: &Wishes, ledger: &Arc<Ledger>) -> Result<ParseSetup> {
    for file in files {
        let bytes = source::bytes(&file.path, ledger, Some(PREVIEW_BYTES))?;
        if bytes.starts_with(b"PAR1") {
            let mut setup = crate::columnar::guess(&file.path, wishes)?;
            // A column without values in the first file is a number there, and may be a text in another.
            for other in files.iter().filter(|f| f.path != file.path).take(FILES_LOOKED_AT) {
                // What cannot be read is told when it is parsed.
                let Ok(texts) = crate::columnar::text_columns(&other.path) else { break };
                let numbers = |c: usize| texts.get(c) == Some(&true) && setup.types.get(c) == Some(&ColumnType::Numeric);
                let here: Vec<usize> = (0..setup.types.len()).filter(|c| numbers(*c)).collect();
                if !here.is_empty() {
                    let theirs = crate::columnar::guess(&other.path, wishes)?;
                    for c in here {
                        (setup.types[c], setup.reasons[c]) = (theirs.types[c], theirs.reasons[c].clone());
                    }
                }
            }
            return Ok(setup);
        }
        if let Some(format) = crate::records::format_of(&bytes).filter(|f| Format::by_magic(&file.path) == Some(*f)) {
            return crate::columnar::guess_records(&file.path, format, wishes);
        }
        if let Some(format @ (Format::Parquet | Format::Orc | Format::Avro)) = wishes.format.filter(|_| !bytes.is_empty()) {
            return Err(Error::invalid(format!("{} is no file of {}: it does not begin like one", file.path.display(), format.name())));
        }
        if !bytes.is_empty() {
            let name = file.path.display().to_string();
            // A line may be longer than the preview.
            let short = |b: &[u8]| memchr::memchr_iter(b'\n', &b[..b.len().min(PREVIEW_BYTES)]).nth(2).is_none();
            if bytes.len() >= PREVIEW_BYTES && short(&bytes) && !bytes[..1 << 16].contains(&0) {
                let longer = source::bytes(&file.path, ledger, Some(LONGEST_PREVIEW_BYTES))?;
                return Ok(guess_head(&longer, LONGEST_PREVIEW_BYTES, wishes, &name)?.0);
            }
            let (mut setup, counts) = guess_head(&bytes, PREVIEW_BYTES, wishes, &name)?;
            if crate::sheet::is_sheet(&file.path) {
                setup.format = Format::Sheet;
                return Ok(setup);
            }
            if bytes.len() >= PREVIEW_BYTES && (setup.types.contains(&ColumnType::Text) || counts.iter().any(Counts::is_thin)) {
                let longer = source::bytes(&file.path, ledger, Some(LONG_PREVIEW_BYTES))?;
                return Ok(guess_head(&longer, LONG_PREVIEW_BYTES, wishes, &name)?.0);
            }
            if setup.format == Format::Csv && files.len() > 1 {
                look_at_more(&mut setup, counts, wishes, files.iter().filter(|f| f.path != file.path), ledger)?;
            }
            return Ok(setup);
        }
    }
    let names: Vec<String> = files.iter().map(|f| f.path.display().to_string()).collect();
    Err(Error::invalid(format!("Cannot parse: {} holds no bytes", names.join(", "))))
}

/// Files beside the first that are looked at before a type is decided on.
const FILES_LOOKED_AT: usize = 32;

/// Counts what the columns look like in other files too: one file may be too short to tell.
fn look_at_more<'a>(
    setup: &mut ParseSetup,
    mut counts: Vec<Counts>,
    wishes: &Wishes,
    files: impl Iterator<Item = &'a Arc<RawFile>>,
    ledger: &Arc<Ledger>,
) -> Result<()> {
    for file in files.take(FILES_LOOKED_AT) {
        let unnamed = wishes.header == 0 && wishes.names.is_none() && setup.header == -1;
        let bytes = source::bytes(&file.path, ledger, Some(PREVIEW_BYTES))?;
        let bytes = without_bom(&bytes);
        let mut head = &bytes[..bytes.len().min(PREVIEW_BYTES)];
        if bytes.len() >= PREVIEW_BYTES
            && let Some(i) = memchr::memrchr(b'\n', head)
        {
            head = &head[..=i];
        }
        if Format::by_magic(&file.path).is_some() || head.contains(&0) {
            continue;
        }
        let mut lines = Lines { bytes: head, at: 0, d: setup.dialect() };
        let begin: Vec<_> = std::iter::from_fn(|| lines.next()).take(2).collect();
        // The first file may be the one without a header.
        if unnamed && header(&begin) == 1 && begin[0].len() == setup.names.len() {
            setup.header = 1;
            setup.names = begin[0].iter().map(|f| String::from_utf8_lossy(f.text.trim_ascii()).into_owned()).collect();
        }
        lines.at = 0;
        let mut first = true;
        while let Some(row) = lines.next() {
            let header = first && setup.header == 1 && row.iter().zip(&setup.names).all(|(f, n)| f.text.trim_ascii() == n.as_bytes());
            first = false;
            if header || row.len() > counts.len() {
                continue;
            }
            counts.iter_mut().enumerate().for_each(|(c, slot)| slot.add(row.get(c), wishes.na_strings.get(c).map_or(&[], |n| n)));
        }
    }
    for (c, counts) in counts.iter().enumerate() {
        let (t, why, zero_is_na) = counts.decide();
        let na = &mut setup.na_strings[c];
        na.truncate(wishes.na_strings.get(c).map_or(0, Vec::len));
        na.extend(zero_is_na.then(|| "0".to_string()));
        (setup.types[c], setup.reasons[c]) = (t, why);
    }
    Ok(())
}

/// Bytes without a byte order mark.
pub fn without_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

pub fn guess_bytes(bytes: &[u8], wishes: &Wishes, name: &str) -> Result<ParseSetup> {
    Ok(guess_head(bytes, PREVIEW_BYTES, wishes, name)?.0)
}

/// The setup, and what the columns of a CSV file look like.
fn guess_head(bytes: &[u8], preview: usize, wishes: &Wishes, name: &str) -> Result<(ParseSetup, Vec<Counts>)> {
    let bytes = without_bom(bytes);
    let complete = bytes.len() <= preview;
    let mut head = &bytes[..bytes.len().min(preview)];
    if let Some(i) = head.iter().take(1 << 16).position(|b| *b == 0) {
        return Err(Error::invalid(format!("Cannot determine file type: {name} is not text (byte {i} is zero)")));
    }
    for (magic, kind) in [(&b"ORC"[..], "ORC"), (b"Obj\x01", "Avro")] {
        if head.starts_with(magic) {
            return Err(Error::Unsupported(format!(
                "{name} is an {kind} file inside an archive, which is not supported by this version of ochre; unpack it first"
            )));
        }
    }
    if wishes.format.is_none_or(|f| f == Format::Arff)
        && let Some(arff) = crate::arff::header(head)
    {
        return Ok((crate::arff::setup(&arff, &head[arff.data..], wishes)?, vec![]));
    }
    // The last line may be cut short by the end of the preview.
    if (!complete || bytes.len() > head.len())
        && let Some(i) = memchr::memrchr(b'\n', head)
    {
        head = &head[..=i];
    }
    let quote = if wishes.single_quotes { b'\'' } else { b'"' };
    let mut firsts = vec![];
    let mut at = 0;
    while firsts.len() < PREVIEW_LINES && at < head.len() {
        let end = memchr::memchr(b'\n', &head[at..]).map_or(head.len(), |i| at + i);
        let text = head[at..end].strip_suffix(b"\r").unwrap_or(&head[at..end]);
        if !is_skipped(text) {
            firsts.push(text);
        }
        at = end + 1;
    }
    if firsts.is_empty() {
        return Err(Error::invalid(format!("Cannot parse: {name} has no lines with data")));
    }
    // The last of these lines may be cut short.
    let whole = if firsts.len() > 1 { &firsts[..firsts.len() - 1] } else { &firsts };
    if wishes.format == Some(Format::SvmLight) || (wishes.format.is_none() && crate::sparse::looks_like(whole)) {
        return Ok((crate::sparse::guess(head), vec![]));
    }
    let undecided = Dialect { separator: b',', quote, escape: wishes.escape };
    let separator = wishes.separator.filter(|s| *s != 0).unwrap_or_else(|| separator(&firsts, undecided));
    let d = Dialect { separator, ..undecided };
    let mut lines = Lines { bytes: head, at: 0, d };
    let rows: Vec<Vec<csv::Field<'_>>> = std::iter::from_fn(|| lines.next()).collect();
    let header = match wishes.header {
        1 | -1 => wishes.header,
        _ => header(&rows),
    };
    let width = wishes.names.as_ref().map_or_else(
        || rows.iter().take(if header == 1 { 2 } else { PREVIEW_LINES }).map(Vec::len).max().unwrap_or(0),
        |n| n.len().max(rows[0].len()),
    );
    let mut names: Vec<String> = (1..=width).map(|i| format!("C{i}")).collect();
    if header == 1 {
        for (slot, f) in names.iter_mut().zip(&rows[0]) {
            let t = String::from_utf8_lossy(&f.text).trim().to_string();
            if !t.is_empty() {
                *slot = t;
            }
        }
    }
    if let Some(given) = &wishes.names {
        for (slot, g) in names.iter_mut().zip(given) {
            slot.clone_from(g);
        }
    }
    let mut na_strings = wishes.na_strings.clone();
    na_strings.resize(width, vec![]);
    let (mut types, mut reasons, mut all) = (vec![], vec![], vec![]);
    let data = &rows[usize::from(header == 1)..];
    for c in 0..width {
        let mut counts = Counts::default();
        for row in data {
            counts.add(row.get(c), &na_strings[c]);
        }
        let (t, why, zero_is_na) = counts.decide();
        if zero_is_na {
            na_strings[c].push("0".into());
        }
        types.push(t);
        reasons.push(why);
        all.push(counts);
    }
    let preview =
        rows.iter().take(PREVIEW_LINES).map(|r| r.iter().map(|f| String::from_utf8_lossy(&f.text).into_owned()).collect()).collect();
    let single_quotes = wishes.single_quotes;
    let setup = ParseSetup {
        format: Format::Csv,
        separator,
        single_quotes,
        escape: wishes.escape,
        header,
        names,
        types,
        reasons,
        na_strings,
        skipped: vec![],
        preview,
        partitions: vec![],
    };
    Ok((setup, all))
}

/// Is a line no data: empty, or a remark?
pub fn is_skipped(line: &[u8]) -> bool {
    line.is_empty() || line[0] == b'#' || line.iter().all(|b| *b == b'\r')
}

struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    d: Dialect,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<Vec<csv::Field<'a>>> {
        loop {
            if self.at >= self.bytes.len() {
                return None;
            }
            let end = memchr::memchr(b'\n', &self.bytes[self.at..]).map_or(self.bytes.len(), |i| self.at + i);
            if is_skipped(&self.bytes[self.at..end]) {
                self.at = end + 1;
                continue;
            }
            let (fields, next) = csv::line(self.bytes, self.at, self.d);
            self.at = next;
            return Some(fields);
        }
    }
}

fn separator(lines: &[&[u8]], d: Dialect) -> u8 {
    let count = |line: &[u8], s: u8| {
        let mut inside = false;
        line.iter()
            .filter(|b| {
                inside ^= **b == d.quote;
                !inside && **b == s
            })
            .count()
    };
    if lines.len() == 1 {
        return [b',', b' '].into_iter().find(|s| count(lines[0], *s) > 0).unwrap_or(b',');
    }
    let tokens = |line: &[u8], s: u8| csv::line(line, 0, Dialect { separator: s, ..d }).0.len();
    let pair = |a: &[u8], b: &[u8]| {
        let mut best = 0;
        CANDIDATES.into_iter().find(|&s| {
            let n = count(a, s);
            best = n.max(best);
            n > 0 && n == count(b, s) && 2 * n >= best && tokens(a, s) == n + 1 && tokens(b, s) == n + 1
        })
    };
    if let Some(s) = pair(lines[0], lines[1]) {
        return s;
    }
    if lines.len() > 2
        && let Some(s) = pair(lines[1], lines[2]).or_else(|| pair(lines[0], lines[2]))
    {
        return s;
    }
    let most = CANDIDATES.into_iter().max_by_key(|s| (count(lines[0], *s), 256 - usize::from(*s)));
    most.filter(|s| count(lines[0], *s) > 0).unwrap_or(b',')
}

fn is_text(f: &csv::Field<'_>) -> bool {
    let t = f.text.trim_ascii();
    !t.is_empty() && csv::number(t).is_none() && timetext::parse(t).is_none() && uuid(t).is_none()
}

fn header(rows: &[Vec<csv::Field<'_>>]) -> i32 {
    let all_text = |r: &[csv::Field<'_>]| r.iter().all(|f| is_text(f) || f.text.is_empty()) && r.iter().any(is_text);
    let yes = match rows {
        [only] => all_text(only) && only.first().is_some_and(|f| !f.text.is_empty()),
        [first, second, ..] => all_text(first) && !second.iter().all(|f| is_text(f)),
        [] => false,
    };
    if yes { 1 } else { -1 }
}

/// The sixteen bytes of a UUID in its usual spelling.
pub fn uuid(t: &[u8]) -> Option<[u8; 16]> {
    if t.len() != 36 || [8, 13, 18, 23].iter().any(|&i| t[i] != b'-') {
        return None;
    }
    let mut out = [0u8; 16];
    let mut nibbles = t.iter().filter(|b| **b != b'-');
    for slot in &mut out {
        let mut digit = || nibbles.next().and_then(|b| (*b as char).to_digit(16));
        *slot = (digit()? * 16 + digit()?) as u8;
    }
    Some(out)
}

/// What the fields of a column look like.
#[derive(Default)]
pub struct Counts {
    numbers: usize,
    zeros: usize,
    texts: usize,
    times: usize,
    uuids: usize,
    empty: usize,
    distinct: HashSet<Vec<u8>>,
}

impl Counts {
    pub fn add(&mut self, field: Option<&csv::Field<'_>>, na: &[String]) {
        let Some(f) = field else {
            self.empty += 1;
            return;
        };
        let t = f.text.trim_ascii();
        if (t.is_empty() && !f.quoted) || na.iter().any(|n| n.as_bytes() == t) {
            self.empty += 1;
        } else if let Some(v) = csv::number(t) {
            if v == 0.0 { self.zeros += 1 } else { self.numbers += 1 }
        } else if timetext::parse(t).is_some() {
            self.times += 1;
        } else if uuid(t).is_some() {
            self.uuids += 1;
        } else {
            self.texts += 1;
            if !self.distinct.contains(t) {
                self.distinct.insert(t.to_vec());
            }
        }
    }

    /// Are more values missing than there are to tell the type by?
    pub fn is_thin(&self) -> bool {
        let words = if self.says_missing() { self.texts } else { 0 };
        self.empty + words > self.numbers + self.zeros + self.times + self.uuids + self.texts - words
    }

    /// Is there one word only, and does it mean that a value is missing?
    fn says_missing(&self) -> bool {
        self.distinct.len() == 1 && self.distinct.iter().all(|w| matches!(w.as_slice(), b"NA" | b"na" | b"Na" | b"N/A"))
    }

    /// Was there any number?
    pub fn has_numbers(&self) -> bool {
        self.numbers + self.zeros > 0
    }

    /// The type, the reason, and whether "0" means missing in this column.
    pub fn decide(&self) -> (ColumnType, String, bool) {
        use ColumnType::*;
        let (n, z, s, t, u) = (self.numbers, self.zeros, self.texts, self.times, self.uuids);
        let distinct = self.distinct.len();
        let few = distinct as f64 <= 0.95 * s as f64;
        let counted = format!("{} numbers, {s} texts ({distinct} different), {t} times, {u} uuids, {} empty", n + z, self.empty);
        let because = |kind, rule: &str| (kind, format!("{rule}: {counted}"), false);
        if s + t + u + n + z == 0 {
            return because(Numeric, "nothing but empty fields");
        }
        if n + z >= t && n + z >= u && n >= s {
            return because(Numeric, "mostly numbers");
        }
        if distinct == 1 && t == 0 {
            return if self.says_missing() || s < n + z {
                because(Numeric, "numbers and one other word")
            } else {
                because(Enum, "one word")
            };
        }
        if distinct <= 1 && n + z > t + u {
            return because(Numeric, "mostly numbers");
        }
        if t > u && t > n + z && (t > s || distinct <= 1) {
            return because(Time, "mostly times");
        }
        if u > t && u > n + z && (u > s || distinct <= 1) {
            return because(Uuid, "mostly uuids");
        }
        if s > n + z && s > t && s > u && !few {
            return because(Text, "nearly every text is different");
        }
        if z > 0 && z + s >= n + z + s + t + u && few {
            return (Enum, format!("texts and zeros, zero meaning missing: {counted}"), true);
        }
        if s >= n + z && few {
            return because(Enum, "texts that repeat");
        }
        because(Numeric, "no other rule applied")
    }
}
