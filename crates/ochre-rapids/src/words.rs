//! Texts compared, taken apart into words, and weighed.

use crate::{Env, Prim, Value, call};
use ochre_core::{Column, Error, Kind, Result};
use std::collections::{BTreeMap, BTreeSet, HashSet};

pub const WORDS: &[Prim] = &[
    call(
        "strDistance",
        &["x", "y", "measure", "compare_empty"],
        similarity,
        "Similarity of texts, 1 for equal: lv, lcs, qgram, jaccard, jw, soundex.",
    ),
    call(
        "tokenize",
        &["frame", "pattern"],
        tokenize,
        "Words between matches of a regular expression, one a row, with an empty row after each text.",
    ),
    call(
        "num_valid_substrings",
        &["frame", "path"],
        valid_substrings,
        "How many substrings of two and more characters are words of a file.",
    ),
    call(
        "tf-idf",
        &["frame", "document", "text", "preprocess", "case_sensitive"],
        tf_idf,
        "Words by document: term frequency, inverse document frequency ln((N + 1) / (n + 1)), and their product.",
    ),
];

fn texts(c: &Column, what: &str) -> Result<Vec<Option<String>>> {
    match c.kind {
        Kind::Text | Kind::Enum(_) => c.to_texts(),
        _ => Err(Error::invalid(format!("{what}() requires string or categorical columns"))),
    }
}

fn similarity(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let (x, y) = (args[0].clone().frame()?, args[1].clone().frame()?);
    if x.width() != y.width() || x.rows() != y.rows() {
        return Err(Error::invalid(format!(
            "strDistance compares frames of equal shape, found {} by {} and {} by {}",
            x.rows(),
            x.width(),
            y.rows(),
            y.width()
        )));
    }
    let measure: fn(&[char], &[char]) -> f64 = match args[2].text()?.to_lowercase().as_str() {
        "lv" => levenshtein,
        "lcs" => common_substrings,
        "qgram" => bigrams,
        "jaccard" => jaccard,
        "jw" => jaro_winkler,
        "soundex" => |a, b| if soundex(a) == soundex(b) { 0.9 } else { 0.0 },
        other => return Err(Error::invalid(format!("unknown measure '{other}'; use lv, lcs, qgram, jaccard, jw or soundex"))),
    };
    let compare_empty = args[3].truth()?;
    let mut out = vec![];
    for (a, b) in x.columns().iter().zip(y.columns()) {
        let values: Vec<f64> = texts(a, "strDistance")?
            .into_iter()
            .zip(texts(b, "strDistance")?)
            .map(|pair| match pair {
                (Some(a), Some(b)) if !compare_empty && (a.is_empty() || b.is_empty()) => f64::NAN,
                (Some(a), Some(b)) if a == b => 1.0,
                (Some(a), Some(b)) => measure(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>()),
                _ => f64::NAN,
            })
            .collect();
        out.push(Column::from_f64(&env.node.ledger, &values)?);
    }
    Value::new_frame((1..=out.len()).map(|i| format!("C{i}")).collect(), out)
}

/// 1 - edits / length of the longer text.
fn levenshtein(a: &[char], b: &[char]) -> f64 {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let edits = (corner + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            corner = row[j + 1];
            row[j + 1] = edits;
        }
    }
    1.0 - row[b.len()] as f64 / a.len().max(b.len()) as f64
}

/// Characters in common substrings of two and more, longest first, over the length of the shorter text.
fn common_substrings(a: &[char], b: &[char]) -> f64 {
    let shorter = a.len().min(b.len());
    if shorter == 0 {
        return 0.0;
    }
    let (mut a, mut b, mut common) = (a.to_vec(), b.to_vec(), 0);
    loop {
        let (mut best, mut at) = (0, (0, 0));
        let mut before = vec![0; b.len() + 1];
        for (i, x) in a.iter().enumerate() {
            let mut now = vec![0; b.len() + 1];
            for (j, y) in b.iter().enumerate() {
                if x == y {
                    now[j + 1] = before[j] + 1;
                    if now[j + 1] > best {
                        (best, at) = (now[j + 1], (i + 1 - now[j + 1], j + 1 - now[j + 1]));
                    }
                }
            }
            before = now;
        }
        if best < 2 {
            return common as f64 / shorter as f64;
        }
        common += best;
        a.drain(at.0..at.0 + best);
        b.drain(at.1..at.1 + best);
    }
}

fn overlap<T: Ord>(a: BTreeSet<T>, b: BTreeSet<T>) -> f64 {
    if a.is_empty() || b.is_empty() { 0.0 } else { a.intersection(&b).count() as f64 / a.len().min(b.len()) as f64 }
}

fn bigrams(a: &[char], b: &[char]) -> f64 {
    let grams = |t: &[char]| t.windows(2).map(<[char]>::to_vec).collect::<BTreeSet<_>>();
    overlap(grams(a), grams(b))
}

fn jaccard(a: &[char], b: &[char]) -> f64 {
    let words = |t: &[char]| t.split(|c| *c == ' ').filter(|w| !w.is_empty()).map(<[char]>::to_vec).collect::<BTreeSet<_>>();
    let (a, b) = (words(a), words(b));
    a.intersection(&b).count() as f64 / a.union(&b).count().max(1) as f64
}

/// Winkler (1990), with a prefix of up to four characters weighing 0.1 each. As in the reference, characters of the shorter text
/// are looked for up to half of the longer one's length before their place, and less than that after it.
fn jaro_winkler(a: &[char], b: &[char]) -> f64 {
    if a == b {
        return 1.0;
    }
    let (a, b) = if a.len() > b.len() { (b, a) } else { (a, b) };
    let reach = b.len() / 2;
    let (mut used, mut places) = (vec![false; b.len()], vec![]);
    for (i, x) in a.iter().enumerate() {
        let window = i.saturating_sub(reach)..(i + reach).min(b.len());
        if let Some(j) = window.into_iter().find(|j| !used[*j] && b[*j] == *x) {
            used[j] = true;
            places.push(j);
        }
    }
    if places.is_empty() {
        return 0.0;
    }
    let m = places.len() as f64;
    // Steps back count as transpositions, as in the reference; Winkler counts half of the differing pairs.
    let swapped = places.windows(2).filter(|p| p[1] < p[0]).count() as f64;
    let jaro = (m / a.len() as f64 + m / b.len() as f64 + (m - swapped) / m) / 3.0;
    let prefix = a.iter().zip(b).take(4).take_while(|(x, y)| x == y).count() as f64;
    jaro + prefix * 0.1 * (1.0 - jaro)
}

/// American Soundex of the first word.
fn soundex(t: &[char]) -> String {
    let code = |c: char| match c.to_ascii_uppercase() {
        'B' | 'F' | 'P' | 'V' => Some('1'),
        'C' | 'G' | 'J' | 'K' | 'Q' | 'S' | 'X' | 'Z' => Some('2'),
        'D' | 'T' => Some('3'),
        'L' => Some('4'),
        'M' | 'N' => Some('5'),
        'R' => Some('6'),
        _ => None,
    };
    let Some(first) = t.first() else { return String::new() };
    let mut out = first.to_ascii_uppercase().to_string();
    let mut last = code(*first);
    for c in &t[1..] {
        let now = code(*c);
        if let Some(digit) = now.filter(|_| now != last) {
            out.push(digit);
        }
        // H and W do not part equal codes.
        if !matches!(c.to_ascii_uppercase(), 'H' | 'W') {
            last = now;
        }
    }
    out.push_str("000");
    out.chars().take(4).collect()
}

fn tokenize(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let re = crate::text::pattern(args[1].text()?, false)?;
    let columns = frame.columns().iter().map(|c| texts(c, "tokenize")).collect::<Result<Vec<_>>>()?;
    let mut out: Vec<Option<String>> = vec![];
    for r in 0..frame.rows() {
        for c in &columns {
            if let Some(t) = &c[r] {
                let mut pieces: Vec<&str> = re.split(t).collect();
                while pieces.len() > 1 && pieces.last().is_some_and(|p| p.is_empty()) {
                    pieces.pop();
                }
                out.extend(pieces.into_iter().map(|p| Some(p.to_string())));
            }
        }
        out.push(None);
    }
    Value::one("C1", Column::from_texts(&env.node.ledger, &out)?)
}

fn valid_substrings(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let path = args[1].text()?;
    let file = std::fs::read_to_string(path).map_err(|e| Error::invalid(format!("the list of words {path} cannot be read: {e}")))?;
    let words: HashSet<&str> = file.lines().collect();
    let mut out = vec![];
    for c in frame.columns() {
        let count = |t: &String| {
            let ends: Vec<usize> = t.char_indices().map(|(i, _)| i).chain([t.len()]).collect();
            let mut n = 0.0;
            for (i, &from) in ends.iter().enumerate() {
                n += ends.iter().skip(i + 2).filter(|to| words.contains(&t[from..**to])).count() as f64;
            }
            n
        };
        let values: Vec<f64> = texts(c, "num_valid_substrings")?.iter().map(|t| t.as_ref().map_or(f64::NAN, count)).collect();
        out.push(Column::from_f64(&env.node.ledger, &values)?);
    }
    Value::new_frame((1..=out.len()).map(|i| format!("C{i}")).collect(), out)
}

fn tf_idf(env: &mut Env<'_>, args: Vec<Value>) -> Result<Value> {
    let frame = args[0].clone().frame()?;
    let place = |v: &Value, what: &str| -> Result<usize> {
        let i = v.num()?;
        if (0.0..frame.width() as f64).contains(&i) {
            return Ok(i as usize);
        }
        Err(Error::invalid(format!("the {what} column {i} is out of range: the frame has {} columns", frame.width())))
    };
    let (document, text) = (place(&args[1], "document")?, place(&args[2], "text")?);
    let (split, case) = (args[3].truth()?, args[4].truth()?);
    if !frame.column(document).is_number() {
        return Err(Error::invalid(format!("the document column '{}' has to be numeric", frame.names()[document])));
    }
    let documents = frame.column(document).numbers()?;
    let mut counts: BTreeMap<(String, i64), (f64, f64)> = BTreeMap::new();
    let mut all: BTreeSet<i64> = BTreeSet::new();
    for (t, d) in texts(frame.column(text), "tf_idf")?.into_iter().zip(documents.iter().copied()) {
        let key = crate::group::ordered(d);
        all.insert(key);
        let Some(mut t) = t else { continue };
        if !case {
            t = t.to_lowercase();
        }
        let words: Vec<&str> = if split { t.split_whitespace().collect() } else { vec![t.as_str()] };
        for w in words {
            counts.entry((w.to_string(), key)).or_insert((d, 0.0)).1 += 1.0;
        }
    }
    let mut spread: BTreeMap<&str, f64> = BTreeMap::new();
    counts.keys().for_each(|(w, _)| *spread.entry(w).or_default() += 1.0);
    let n = all.len() as f64;
    let words: Vec<Option<&str>> = counts.keys().map(|(w, _)| Some(w.as_str())).collect();
    let idf: Vec<f64> = counts.keys().map(|(w, _)| ((n + 1.0) / (spread[w.as_str()] + 1.0)).ln()).collect();
    let tf: Vec<f64> = counts.values().map(|c| c.1).collect();
    let both: Vec<f64> = tf.iter().zip(&idf).map(|(a, b)| a * b).collect();
    let ledger = &env.node.ledger;
    let columns = vec![
        Column::from_f64(ledger, &counts.values().map(|c| c.0).collect::<Vec<_>>())?,
        Column::from_texts(ledger, &words)?,
        Column::from_f64(ledger, &tf)?,
        Column::from_f64(ledger, &idf)?,
        Column::from_f64(ledger, &both)?,
    ];
    Value::new_frame(["DocID", "Word", "TF", "IDF", "TF-IDF"].map(str::to_string).to_vec(), columns)
}
