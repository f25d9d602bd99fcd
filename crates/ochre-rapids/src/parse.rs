//! From text to a tree.

use ochre_core::{Error, Result};

#[derive(Clone, Debug, PartialEq)]
pub enum Ast {
    Num(f64),
    Str(String),
    Nums(Vec<f64>),
    Strs(Vec<String>),
    Name(String),
    Call { function: Box<Ast>, args: Vec<Ast> },
    Lambda { args: Vec<String>, body: Box<Ast> },
}

const DEPTH_MAX: usize = 300;
const LIST_MAX: usize = 100_000_000;

pub fn parse(text: &str) -> Result<Ast> {
    let mut p = Parser { text: text.as_bytes(), at: 0, depth: 0 };
    let ast = p.expression()?;
    p.space();
    if p.at < p.text.len() {
        return Err(Error::invalid(format!("Illegal Rapids expression: unexpected text after the end, beginning with '{}'", p.rest())));
    }
    Ok(ast)
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn rest(&self) -> String {
        String::from_utf8_lossy(&self.text[self.at..self.text.len().min(self.at + 20)]).into_owned()
    }
    fn space(&mut self) {
        while self.at < self.text.len() && (self.text[self.at].is_ascii_whitespace() || self.text[self.at] == b',') {
            self.at += 1;
        }
    }
    fn peek(&mut self) -> Result<u8> {
        self.space();
        self.text.get(self.at).copied().ok_or_else(|| Error::invalid("Expected an expression but ran out of text"))
    }

    fn expression(&mut self) -> Result<Ast> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Error::invalid(format!("the expression is nested deeper than {DEPTH_MAX} levels")));
        }
        let out = match self.peek()? {
            b'(' => self.call(),
            b'{' => self.lambda(),
            b'[' => self.list(),
            b'"' | b'\'' => self.string().map(Ast::Str),
            b')' | b'}' | b']' => {
                Err(Error::invalid(format!("Illegal Rapids expression: '{}' closes nothing", self.text[self.at] as char)))
            }
            _ => Ok(self.atom()),
        };
        self.depth -= 1;
        out
    }

    fn call(&mut self) -> Result<Ast> {
        self.at += 1;
        // A comma is the name of a primitive here and white space elsewhere.
        let function = if self.text.get(self.at) == Some(&b',') {
            self.at += 1;
            Ast::Name(",".into())
        } else {
            self.expression()?
        };
        let mut args = vec![];
        while self.peek()? != b')' {
            args.push(self.expression()?);
        }
        self.at += 1;
        Ok(Ast::Call { function: Box::new(function), args })
    }

    fn lambda(&mut self) -> Result<Ast> {
        self.at += 1;
        let mut args = vec![];
        loop {
            if self.peek()? == b'.' {
                self.at += 1;
                break;
            }
            match self.atom() {
                Ast::Name(n) => args.push(n),
                other => return Err(Error::invalid(format!("a function's arguments are names, not {other:?}"))),
            }
        }
        let body = self.expression()?;
        if self.peek()? != b'}' {
            return Err(Error::invalid("a function's body must end with '}'"));
        }
        self.at += 1;
        Ok(Ast::Lambda { args, body: Box::new(body) })
    }

    /// `[1 2 3]`, ranges `[start:count:step]`, or texts.
    fn list(&mut self) -> Result<Ast> {
        self.at += 1;
        let (mut numbers, mut texts) = (vec![], vec![]);
        loop {
            match self.peek()? {
                b']' => {
                    self.at += 1;
                    break;
                }
                b'"' | b'\'' => texts.push(self.string()?),
                _ => {
                    let word = self.word();
                    if word.is_empty() {
                        return Err(Error::invalid(format!("Illegal Rapids expression: unexpected '{}' in a list", self.rest())));
                    }
                    let parts: Vec<&str> = word.split(':').collect();
                    let number = |t: &str| number(t).ok_or_else(|| Error::invalid(format!("Illegal number '{t}' in a list")));
                    let (start, count, step) = match parts[..] {
                        [a] => (number(a)?, 1.0, 1.0),
                        [a, n] => (number(a)?, number(n)?, 1.0),
                        [a, n, s] => (number(a)?, number(n)?, number(s)?),
                        _ => return Err(Error::invalid(format!("'{word}' is not a range start:count:step"))),
                    };
                    if parts.len() == 1 {
                        numbers.push(start);
                        continue;
                    }
                    let count = if count.is_nan() { 0.0 } else { count };
                    if count < 0.0 || count + numbers.len() as f64 > LIST_MAX as f64 {
                        return Err(Error::invalid(format!("the range '{word}' has too many or fewer than no numbers")));
                    }
                    numbers.extend((0..count as usize).map(|i| start + i as f64 * step));
                }
            }
        }
        match (numbers.is_empty(), texts.is_empty()) {
            (_, true) => Ok(Ast::Nums(numbers)),
            (true, false) => Ok(Ast::Strs(texts)),
            _ => Err(Error::invalid("a list holds numbers or texts, not both")),
        }
    }

    fn string(&mut self) -> Result<String> {
        let quote = self.text[self.at];
        self.at += 1;
        let mut out = vec![];
        loop {
            let Some(&b) = self.text.get(self.at) else {
                return Err(Error::invalid(format!("a text is not closed by {}", quote as char)));
            };
            self.at += 1;
            if b == quote {
                return String::from_utf8(out).map_err(|_| Error::invalid("a text is not valid UTF-8"));
            }
            if b != b'\\' {
                out.push(b);
                continue;
            }
            let Some(&e) = self.text.get(self.at) else { continue };
            self.at += 1;
            match e {
                b'n' => out.push(b'\n'),
                b't' => out.push(b'\t'),
                b'r' => out.push(b'\r'),
                b'b' => out.push(8),
                b'f' => out.push(12),
                b'x' | b'u' => {
                    let n = if e == b'x' { 2 } else { 4 };
                    let digits = self.text.get(self.at..self.at + n).and_then(|d| std::str::from_utf8(d).ok());
                    let c = digits.and_then(|d| u32::from_str_radix(d, 16).ok()).and_then(char::from_u32);
                    let c = c.ok_or_else(|| Error::invalid(format!("\\{} needs {n} hexadecimal digits", e as char)))?;
                    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    self.at += n;
                }
                other => out.push(other),
            }
        }
    }

    fn word(&mut self) -> String {
        let start = self.at;
        while self.at < self.text.len() && !self.text[self.at].is_ascii_whitespace() && !b"()[]{}\"',".contains(&self.text[self.at]) {
            self.at += 1;
        }
        String::from_utf8_lossy(&self.text[start..self.at]).into_owned()
    }

    /// A word outside of lists: there the name of a thing may hold commas, as in `(rm thresholds_2,2)`.
    fn name(&mut self) -> String {
        let mut out = self.word();
        let named = out.starts_with(|c: char| c.is_alphabetic() || c == '_');
        while named && self.text.get(self.at) == Some(&b',') && self.text.get(self.at + 1).is_some_and(u8::is_ascii_alphanumeric) {
            self.at += 1;
            out = format!("{out},{}", self.word());
        }
        out
    }

    fn atom(&mut self) -> Ast {
        let word = self.name();
        if word.is_empty() {
            // A character that begins nothing: take it, so that parsing goes on.
            self.at += 1;
            return Ast::Name(String::new());
        }
        number(&word).filter(|v| !v.is_nan()).map_or(Ast::Name(word), Ast::Num)
    }
}

/// A number as Rapids writes it; `NaN` counts, `inf` and names do not.
fn number(word: &str) -> Option<f64> {
    if word == "NaN" || word == "nan" || word == "NA" {
        return Some(f64::NAN);
    }
    let digits = word.strip_prefix(['-', '+']).unwrap_or(word);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    word.parse().ok()
}
