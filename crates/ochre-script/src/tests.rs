use super::*;
use std::io::Write;

/// No test: what the program of these tests does when it is started for a script.
#[test]
#[ignore = "started by the other tests"]
fn worker() {
    crate::worker().unwrap();
}

fn archive(file: &str, source: &str) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(vec![]));
    zip.start_file(file, zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(source.as_bytes()).unwrap();
    zip.finish().unwrap().into_inner()
}

fn script(source: &str, class: &str, methods: &[&str]) -> Result<Script> {
    Script::read(&format!("python:key=m.{class}"), methods, |key| {
        assert_eq!(key, "key");
        Ok(archive("m.py", source))
    })
}

const METRIC: [&str; 3] = ["map", "reduce", "metric"];

const MAE: &str = "
import water.udf.CMetricFunc as MetricFunc
class Mae:
    def map(self, pred, act, w, o, model):
        return [w * abs(act[0] - pred[0]), w]
    def reduce(self, l, r):
        return [l[0] + r[0], l[1] + r[1]]
    def metric(self, l):
        return l[0] / l[1]
class MaeWrapper(Mae, MetricFunc, object):
    pass
";

#[test]
fn a_metric_over_many_rows_equals_the_same_in_rust() {
    let s = script(MAE, "MaeWrapper", &METRIC).unwrap();
    let n = 40_000;
    let value = |r: usize| ((r * 37) % 101) as f64 * 0.25;
    let part = s
        .metric_part(n, |r| Some(MetricRow { predictions: vec![3.0], actual: vec![value(r)], weight: 1.0 + (r % 2) as f64, offset: 0.0 }))
        .unwrap()
        .unwrap();
    let w: f64 = (0..n).map(|r| 1.0 + (r % 2) as f64).sum();
    let sum: f64 = (0..n).map(|r| (1.0 + (r % 2) as f64) * (value(r) - 3.0f64).abs()).sum();
    assert_eq!(part, [sum, w]);
    assert_eq!(s.metric(part).unwrap(), sum / w);
}

#[test]
fn what_is_wrong_is_said() {
    let why = |source: &str, class: &str| script(source, class, &METRIC).unwrap_err().to_string();
    assert!(why(MAE, "Missing").contains("m.py has no class Missing"), "{}", why(MAE, "Missing"));
    assert!(why("class A:\n    pass\n", "A").contains("the class has no method map"));
    assert!(why("class A:\n  def map(self:\n", "A").contains("m.py is not Python"));
    assert!(why("x = 1 / 0\n", "A").contains("ZeroDivisionError: division by zero (line 1 of m.py)"), "{}", why("x = 1 / 0\n", "A"));
    let s = script(&MAE.replace("w * abs", "undefined * abs"), "MaeWrapper", &METRIC).unwrap();
    let row = |_: usize| Some(MetricRow { predictions: vec![1.0], actual: vec![1.0], weight: 1.0, offset: 0.0 });
    let e = s.metric_part(3, row).unwrap_err().to_string();
    assert!(e.contains("NameError") && e.contains("line 5 of m.py"), "{e}");
    for text in ["mae", "python:mae", "python:mae=Mae", "java:mae=m.Mae"] {
        assert!(Script::read(text, &METRIC, |_| Ok(vec![])).is_err(), "{text}");
    }
    assert!(
        Script::read("python:key=other.Mae", &METRIC, |_| Ok(archive("m.py", MAE)))
            .unwrap_err()
            .to_string()
            .contains("no other.py; it has m.py")
    );
    assert!(Script::read("python:key=m.Mae", &METRIC, |_| Ok(b"no zip".to_vec())).unwrap_err().to_string().contains("no zip archive"));
}

#[test]
fn a_script_reaches_nothing_outside() {
    for line in [
        "import os",
        "import sys",
        "import _io",
        "import marshal",
        "import posix",
        "import socket",
        "from os import path",
        "__import__('os')",
        "open('/etc/passwd')",
        "eval('1')",
        "exec('1')",
        "compile('1', '', 'eval')",
        "__builtins__.open('/etc/passwd')",
        "__builtins__['open']('/etc/passwd')",
    ] {
        let e = script(&format!("{line}\n{MAE}"), "MaeWrapper", &METRIC);
        assert!(e.is_err(), "{line}");
    }
}

#[test]
fn mathematics_is_there_as_python_and_as_java_have_it() {
    let source = "
import math
import java.lang.Math as Math
from java.lang import Math as M2
class D(object):
    def link(self):
        return 'log'
    def gamma(self, w, y, z, f):
        return [Math.exp(w) + math.log(y), M2.min(z, f) + math.floor(2.7)]
    def gradient(self, y, f):
        return Math.exp(1000 * y) + math.sqrt(f)
";
    let d = script(source, "D", &["link", "gamma"]).unwrap();
    assert_eq!(d.link().unwrap(), Link::Log);
    let got = d.call("gamma", &[vec![0.0, 1.0], vec![1.0, 1.0], vec![5.0, 7.0], vec![6.0, 3.0]], 2).unwrap();
    assert_eq!(got, [1.0, 7.0, 1f64.exp(), 5.0]);
    assert_eq!(d.call("gradient", &[vec![1.0], vec![4.0]], 1).unwrap(), [f64::INFINITY]);
    assert!(d.call("gradient", &[vec![1.0], vec![-4.0]], 1).unwrap_err().to_string().contains("ValueError"));
    assert!(d.call("gamma", &vec![vec![0.0]; 4], 3).is_err());
}

#[test]
fn an_endless_loop_ends_with_its_job() {
    let s = script(&MAE.replace("return [w", "while True: w = w + 1\n        return [w"), "MaeWrapper", &METRIC).unwrap();
    let job = Job::detached();
    let other = job.clone();
    let watcher = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        other.cancel();
    });
    let started = Instant::now();
    let row = |_: usize| Some(MetricRow { predictions: vec![1.0], actual: vec![1.0], weight: 1.0, offset: 0.0 });
    assert!(s.watched(&job).metric_part(3, row).is_err());
    assert!(started.elapsed() < Duration::from_secs(2));
    watcher.join().unwrap();
}

#[test]
fn a_script_is_kept_as_text() {
    let s = script(MAE, "MaeWrapper", &METRIC).unwrap();
    let text = serde_json::to_string(&s).unwrap();
    let back: Script = serde_json::from_str(&text).unwrap();
    assert_eq!(back, s);
    assert_eq!(back.metric(vec![6.0, 4.0]).unwrap(), 1.5);
}

#[test]
fn memory_and_depth_are_limited() {
    let row = |_: usize| Some(MetricRow { predictions: vec![1.0], actual: vec![1.0], weight: 1.0, offset: 0.0 });
    for (line, why) in [
        ("x = [0] * (10 ** 11)", "more than 256 MiB"),
        ("x = 'a' * (10 ** 10)", "more than 256 MiB"),
        ("x = [[0] * 1000000 for _ in range(1000)]", "more than 256 MiB"),
        ("f = lambda n: f(n + 1)\n        f(0)", "RecursionError"),
    ] {
        let s = script(&MAE.replace("return [w", &format!("{line}\n        return [w")), "MaeWrapper", &METRIC).unwrap();
        let e = s.metric_part(3, row).unwrap_err().to_string();
        assert!(e.contains(why), "{line}: {e}");
        // The next one starts afresh.
        assert_eq!(s.metric(vec![6.0, 4.0]).unwrap(), 1.5);
    }
}

#[test]
fn the_end_of_a_process_is_told_and_survived() {
    let s = script(MAE, "MaeWrapper", &METRIC).unwrap();
    let forever = || Ok(());
    let mut lease = pool::Lease::take(&s.text, &forever).unwrap();
    lease.kill();
    let e = lease.ask(&Question::OfList("metric".into(), vec![6.0, 4.0]), &forever).err().unwrap().to_string();
    assert!(e.contains("the process of custom function 'key' ended"), "{e}");
    drop(lease);
    // One that ends while it waits is not even noticed.
    let mut lease = pool::Lease::take(&s.text, &forever).unwrap();
    lease.kill();
    drop(lease);
    assert_eq!(s.metric(vec![6.0, 4.0]).unwrap(), 1.5);
}
