//! Expressions and their answers; each was put to the reference server.

use super::*;
use ochre_core::{Column, Frame, Kind};

fn node() -> Arc<Node> {
    let node = Arc::new(Node::for_tests(2));
    let x = Column::from_f64(&node.ledger, &[1.0, 2.0, f64::NAN, 4.0]).unwrap();
    let c = Column::numeric(&node.ledger, Kind::Enum(Arc::new(vec!["a".into(), "b".into()])), &[0.0, 1.0, 1.0, f64::NAN]).unwrap();
    node.store.put("f", Frame::new(vec!["x".into(), "c".into()], vec![x, c]).unwrap()).unwrap();
    node
}

/// A value as text: numbers, or a frame's columns.
fn show(v: Value) -> String {
    let num = |v: f64| if v.is_nan() { "NaN".into() } else { ochre_core::number_text(v) };
    match v {
        Value::Num(v) => num(v),
        Value::Nums(v) => format!("[{}]", v.into_iter().map(num).collect::<Vec<_>>().join(" ")),
        Value::Str(s) => s,
        Value::Frame(f) => f
            .names()
            .iter()
            .zip(f.columns())
            .map(|(n, c)| {
                format!("{n}: {}", c.to_texts().unwrap().into_iter().map(|t| t.unwrap_or("-".into())).collect::<Vec<_>>().join(" "))
            })
            .collect::<Vec<_>>()
            .join("; "),
        v => v.kind().into(),
    }
}

#[test]
fn scripts() {
    let node = node();
    let session = Session::default();
    for (text, answer) in [
        ("(+ 1 2)", "3"),
        ("(+ (cols_py f 0) 1)", "x: 2 3 - 5"),
        ("(> (cols_py f \"x\") 1)", "x: 0 1 0 1"),
        ("(== (cols_py f 1) \"b\")", "c: 0 1 1 0"),
        ("(is.na f)", "isNA(x): 0 0 1 0; isNA(c): 0 0 0 1"),
        ("(rows f (> (cols_py f 0) 1))", "x: 2 4; c: b -"),
        ("(rows f [0:2])", "x: 1 2; c: a b"),
        ("(ifelse (> (cols_py f 0) 1) \"y\" \"n\")", "C1: n y n y"),
        ("(mean (cols_py f 0) True 0)", "x: 2.3333333333333335"),
        ("(mean (cols_py f 0) False 0)", "x: -"),
        ("(sd (cols_py f 0) True)", "[1.5275252316519465]"),
        ("(cols f [-1])", "c: a b b -"),
        ("(cols_py f -1)", "c: a b b -"),
        ("(:= (cols_py f 0) 9 [0] [2])", "x: 1 2 9 4"),
        ("(append f 7 \"z\")", "x: 1 2 - 4; c: a b b -; z: 7 7 7 7"),
        ("(cbind (cols_py f 0) (cols_py f 0))", "x: 1 2 - 4; x0: 1 2 - 4"),
        ("(rbind (rows f [0]) (rows f [3]))", "x: 1 4; c: a -"),
        ("(as.factor (cols_py f 0))", "x: 1 2 - 4"),
        ("(levels (cols_py f 1))", "C1: a b"),
        ("(table (cols_py f 1) False)", "c: a b; Count: 1 2"),
        ("(unique (cols_py f 0) False)", "C1: 1 2 4"),
        ("(GB f [1] sum 0 \"rm\" nrow 0 \"all\")", "c: - a b; sum_x: 4 1 2; nrow: 1 1 2"),
        ("(quantile (cols_py f 0) [0.5] \"interpolate\" _)", "Probs: 0.5; xQuantiles: 2"),
        ("({x . (* x x)} 3)", "9"),
        ("(apply (cols_py f 0) 2 {v . (sumNA v)})", "x: 7"),
        // The reference's names: plain ones are missing when a value is.
        ("(sum (cols_py f 0))", "NaN"),
        ("(sumNA (cols_py f 0))", "7"),
        ("(min (cols_py f 0))", "NaN"),
        ("(minNA (cols_py f 0))", "1"),
        ("(max (cols_py f 0))", "NaN"),
        ("(maxNA (cols_py f 0) 9)", "4"),
        ("(prod (cols_py f 0))", "NaN"),
        // The reference server was asked each of these dates.
        ("(mktime 2020 1 28 13 45 56 789)", "1582983956789"),
        ("(year 1582983956789)", "2020"),
        ("(month 1582983956789)", "2"),
        ("(day 1582983956789)", "29"),
        ("(week 1582983956789)", "9"),
        ("(week 946598400000)", "52"),
        ("(dayOfWeek 1582983956789)", "5"),
        ("(millis 1582983956789)", "789"),
        ("(moment 2020 2 29 13 45 56 789)", "time: 1582983956789"),
        ("(mktime 2020 1 29 0 0 0 0)", "NaN"),
        ("(which.max (cols_py f 0) True 0)", "x: 3"),
        ("(lstrip (cols_py f 1) \"a\")", "C1:  b b -"),
        ("(substring (cols_py f 1) 0 1)", "C1: a b b -"),
        ("(countmatches (cols_py f 1) [\"a\" \"b\"])", "C1: 1 1 1 -"),
        ("(grep (cols_py f 1) \"^B$\" 1 0 0)", "C1: 1 2"),
        ("(replaceall (cols_py f 1) \"[ab]\" \"<$0>\" 0)", "C1: <a> <b> <b> -"),
        ("(prod.na (cols_py f 0))", "8"),
        ("(flatten (cols_py (rows f [0]) 1))", "a"),
        ("(tmp= t1 (cols_py f 0))", "x: 1 2 - 4"),
        ("(rm t1)", "1"),
        ("(rm t1)", "0"),
        ("(sort f [0] [-1])", "x: - 4 2 1; c: b - b a"),
        ("(& 0 NaN)", "0"),
        ("(colnames= f [0] [\"q\"])", "q: 1 2 - 4; c: a b b -"),
    ] {
        let got = run(&node, &session, text).map_or_else(|e| format!("error: {e}"), show);
        assert_eq!(got, answer, "{text}");
    }
}

#[test]
fn errors_name_the_thing() {
    let node = node();
    let session = Session::default();
    for (text, part) in [
        ("(nope f)", "Name lookup of 'nope' failed"),
        ("(+ 1", "Expected an expression but ran out of text"),
        ("(mean f)", "Incorrect number of arguments; 'mean' expects"),
        ("(cols f [9])", "Column 9 is out of range"),
        ("(+ \"a\" 1)", "cannot be applied"),
        (")", "closes nothing"),
        ("[1 \"a\"]", "not both"),
        ("[0:99999999999]", "too many"),
    ] {
        let e = run(&node, &session, text).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(e.contains(part), "{text}: {e}");
    }
    let deep = "(+ 1 ".repeat(10_000);
    assert!(run(&node, &session, &deep).is_err());
}

/// Columns that do not change are shared: the ledger does not grow.
#[test]
fn selections_copy_nothing() {
    let node = node();
    let session = Session::default();
    let before = node.ledger.used();
    run(&node, &session, "(tmp= a (cbind (cols_py f 0) (cols_py f 1)))").unwrap();
    run(&node, &session, "(tmp= b (colnames= a [0] [\"q\"]))").unwrap();
    assert_eq!(node.ledger.used(), before);
    run(&node, &session, "(tmp= b (append b 1 \"n\"))").unwrap();
    let grown = node.ledger.used() - before;
    assert!(grown > 0 && grown < 200, "{grown}");
}

/// Random text neither panics nor hangs.
#[test]
fn any_text_gets_an_answer() {
    let node = node();
    let session = Session::default();
    let words = [
        "(", ")", "[", "]", "{", "}", "\"", "+", "f", "cols", "1", "x", ".", ":", "-", "_", "rows", "tmp=", "a", "\\", "'", "NaN", "GB",
        "mean",
    ];
    let mut rng = ochre_core::Rng::new(1);
    for _ in 0..20_000 {
        let n = rng.below(12);
        let text: String =
            (0..n).map(|_| words[rng.below(words.len() as u32) as usize].to_string() + if rng.below(2) == 0 { " " } else { "" }).collect();
        let _ = run(&node, &session, &text);
    }
}

#[test]
fn what_does_not_fit_is_sorted_grouped_and_joined_all_the_same() {
    let rows = 300_000;
    let node_of = |memory: u64| {
        let dir = std::env::temp_dir().join(format!("ochre-ranges-{}-{memory}", std::process::id()));
        let node = Arc::new(Node::new(2, memory, &dir).unwrap());
        let column =
            |kind: Kind, f: &dyn Fn(usize) -> f64| Column::numeric(&node.ledger, kind, &(0..rows).map(f).collect::<Vec<_>>()).unwrap();
        let levels = |n: usize, from: usize| Kind::Enum(Arc::new((from..from + n).map(|i| format!("k{i:03}")).collect()));
        let missing = |i: usize, v: f64| if i.is_multiple_of(17) { f64::NAN } else { v };
        let a = column(levels(300, 0), &|i| missing(i, (i * 7919 % 300) as f64));
        let b = column(Kind::Real, &|i| missing(i + 5, (i * 104_729 % 90_001) as f64 - 500.0));
        let c = column(Kind::Real, &|i| i as f64);
        let names = |t: &str| t.split(' ').map(str::to_string).collect::<Vec<_>>();
        node.store.put("f", Frame::new(names("a b c"), vec![a, b, c]).unwrap()).unwrap();
        // Other categories, some of them shared, and every third number.
        let a = column(levels(200, 150), &|i| (i % 200) as f64);
        let b = column(Kind::Real, &|i| (i / 2 * 3) as f64);
        let d = column(Kind::Real, &|i| (i % 1000) as f64);
        node.store.put("g", Frame::new(names("a b d"), vec![a, b, d]).unwrap()).unwrap();
        node
    };
    let (large, small) = (node_of(1 << 32), node_of(24 << 20));
    for text in [
        "(sort f [0 1] [1 -1])",
        "(sort f [1] [1])",
        "(GB f [0] sum 2 \"all\" nrow 0 \"all\" median 1 \"rm\")",
        "(GB f [1 0] max 2 \"all\" mode 2 \"all\")",
        "(merge f g False False [1] [1] \"auto\")",
        "(merge f g True False [1] [1] \"auto\")",
        "(merge f (rows g [0:400]) True False [0] [0] \"auto\")",
        "(merge (rows f [0:250000]) g False True [0 1] [0 1] \"auto\")",
        "(rbind (sort f [1] [1]) (cols_py (merge f g True False [1] [1] \"auto\") [1 0 2]))",
    ] {
        let answer = |node: &Arc<Node>| match run(node, &Session::default(), text) {
            Ok(Value::Frame(f)) => f,
            other => panic!("{text}: {:?}", other.map(|v| v.kind())),
        };
        let (all, ranges) = (answer(&large), answer(&small));
        assert_eq!((all.names(), all.rows()), (ranges.names(), ranges.rows()), "{text}");
        for (x, y) in all.columns().iter().zip(ranges.columns()) {
            assert_eq!(x.domain(), y.domain(), "{text}");
            let same = |(x, y): (&f64, &f64)| x == y || (x.is_nan() && y.is_nan());
            assert!(x.to_f64().unwrap().iter().zip(&y.to_f64().unwrap()).all(same), "{text}");
        }
    }
    assert!(small.ledger.peak() <= 24 << 20 && large.ledger.spilled() == 0);
}
