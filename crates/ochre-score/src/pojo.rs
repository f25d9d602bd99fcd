//! A model as Java source: a class that the reference's scoring library takes as it takes its own, without any file beside it.
//!
//! Java limits a method to 64 KiB of code and a class to 65,535 constants, so long arrays and large trees are cut into
//! methods and nested classes. Comparisons are written so that NaN, which is missing, goes where the model sends it.

use crate::Scorer;
use crate::bayes::{BayesScorer, Conditional};
use crate::file::ModelFile;
use crate::glm::{GlmScorer, LinkFunction};
use crate::kmeans::KMeansScorer;
use crate::mojo::About;
use crate::trees::{Calibration, Split, Tree, TreeEnsemble, TreeLink};
use std::fmt::Write;

/// Array elements that one method fills, and that one class holds.
const METHOD_VALUES: usize = 1000;
const CLASS_VALUES: usize = 10_000;
/// Nodes of a tree in one method, and of trees in one class.
const METHOD_NODES: usize = 600;
const CLASS_NODES: usize = 6_000;

/// The name of the class for a model's key.
pub fn class_name(key: &str) -> String {
    let mut name: String = key.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
    if name.chars().next().is_none_or(|c| c.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name
}

fn text(t: &str) -> String {
    let mut out = String::from("\"");
    for c in t.chars() {
        match c {
            '"' => out += "\\\"",
            '\\' => out += "\\\\",
            '\n' => out += "\\n",
            '\r' => out += "\\r",
            '\t' => out += "\\t",
            c if (' '..='~').contains(&c) => out.push(c),
            c => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out + "\""
}

fn double(v: f64) -> String {
    match v {
        v if v.is_nan() => "Double.NaN".into(),
        v if v.is_infinite() => if v > 0.0 { "Double.POSITIVE_INFINITY" } else { "Double.NEGATIVE_INFINITY" }.into(),
        v => format!("{v:?}"),
    }
}

fn float(v: f32) -> String {
    match v {
        v if v.is_nan() => "Float.NaN".into(),
        v if v.is_infinite() => if v > 0.0 { "Float.POSITIVE_INFINITY" } else { "Float.NEGATIVE_INFINITY" }.into(),
        v => format!("{v:?}f"),
    }
}

/// Nested classes, as they are made.
#[derive(Default)]
struct Java {
    classes: String,
    arrays: usize,
}

impl Java {
    /// An array of constants; answers the expression that names it.
    fn array(&mut self, kind: &str, values: &[String]) -> String {
        let n = self.arrays;
        self.arrays += 1;
        let parts: Vec<&[String]> = values.chunks(CLASS_VALUES).collect();
        let c = &mut self.classes;
        let (base, nested) = kind.strip_suffix("[]").map_or((kind, ""), |b| (b, "[]"));
        let _ = writeln!(
            c,
            "\n  static final class Array{n} {{\n    static final {kind}[] VALUES = new {base}[{}]{nested};\n    static {{",
            values.len()
        );
        for p in 0..parts.len() {
            let _ = writeln!(c, "      Array{n}_{p}.fill(VALUES);");
        }
        *c += "    }\n  }\n";
        for (p, part) in parts.iter().enumerate() {
            let _ = writeln!(c, "\n  static final class Array{n}_{p} {{\n    static void fill({kind}[] a) {{");
            let methods = part.chunks(METHOD_VALUES).count();
            for m in 0..methods {
                let _ = writeln!(c, "      fill{m}(a);");
            }
            *c += "    }\n";
            for (m, values) in part.chunks(METHOD_VALUES).enumerate() {
                let _ = writeln!(c, "    static void fill{m}({kind}[] a) {{");
                for (i, v) in values.iter().enumerate() {
                    let _ = writeln!(c, "      a[{}] = {v};", p * CLASS_VALUES + m * METHOD_VALUES + i);
                }
                *c += "    }\n";
            }
            *c += "  }\n";
        }
        format!("Array{n}.VALUES")
    }

    fn doubles(&mut self, values: &[f64]) -> String {
        self.array("double", &values.iter().map(|v| double(*v)).collect::<Vec<_>>())
    }

    fn ints(&mut self, values: impl Iterator<Item = usize>) -> String {
        self.array("int", &values.map(|v| v.to_string()).collect::<Vec<_>>())
    }

    fn texts(&mut self, values: &[String]) -> String {
        self.array("String", &values.iter().map(|v| text(v)).collect::<Vec<_>>())
    }
}

/// The condition under which a row goes left.
fn goes_left(n: &crate::Node, java: &mut Java) -> String {
    let v = format!("d[{}]", n.column);
    match (&n.split, n.missing_left) {
        (Split::Less(t), true) => format!("!({v} >= {})", float(*t)),
        (Split::Less(t), false) => format!("{v} < {}", float(*t)),
        (Split::Below(t), true) => format!("!((float) {v} >= {})", float(*t)),
        (Split::Below(t), false) => format!("(float) {v} < {}", float(*t)),
        (Split::SparseBelow(t), true) => format!("{v} == 0 || !((float) {v} >= {})", float(*t)),
        (Split::SparseBelow(t), false) => format!("{v} != 0 && (float) {v} < {}", float(*t)),
        (Split::Missing, _) => format!("!Double.isNaN({v})"),
        (Split::Set { offset, bits }, missing_left) => {
            let words: Vec<String> = bits
                .chunks(64)
                .map(|w| format!("{}L", w.iter().enumerate().fold(0u64, |s, (i, b)| s | u64::from(*b) << i) as i64))
                .collect();
            // Most sets are short enough to stand where they are used.
            let words = if words.len() <= 4 { format!("new long[] {{{}}}", words.join(", ")) } else { java.array("long", &words) };
            format!("!right({words}, {offset}, {}, {}, {v})", bits.len(), !missing_left)
        }
        (Split::Leaf, _) => unreachable!("a leaf sends rows nowhere"),
    }
}

struct Method {
    name: String,
    root: u32,
}

/// A tree as methods: the first is the whole tree, the others are parts that it calls.
fn tree_methods(tree: &Tree, name: &str, java: &mut Java) -> Vec<(String, usize)> {
    // Nodes below each, itself among them.
    let mut size = vec![1usize; tree.nodes.len()];
    let mut apart = vec![false; tree.nodes.len()];
    for i in tree.downward().into_iter().rev() {
        let n = &tree.nodes[i];
        if n.split != Split::Leaf {
            let below = |c: u32| if apart[c as usize] { 1 } else { size[c as usize] };
            let (left, right) = (below(n.left), below(n.right));
            size[i] = 1 + left + right;
            if size[i] > METHOD_NODES {
                // The larger child goes into a method of its own.
                apart[if left >= right { n.left } else { n.right } as usize] = true;
                size[i] = 2 + left.min(right);
            }
        }
    }
    let mut out = vec![];
    let mut open = vec![Method { name: name.into(), root: 0 }];
    while let Some(m) = open.pop() {
        let mut code = format!("    static float {}(double[] d) {{\n", m.name);
        // What is still to be written: a node to be put at a depth, or text.
        enum Todo {
            Node(u32, usize),
            Text(String),
        }
        let mut todo = vec![Todo::Node(m.root, 3)];
        while let Some(next) = todo.pop() {
            match next {
                Todo::Text(t) => code += &t,
                Todo::Node(i, depth) => {
                    let n = &tree.nodes[i as usize];
                    let pad = "  ".repeat(depth.min(40));
                    if apart[i as usize] && i != m.root {
                        let name = format!("{name}_{i}");
                        let _ = writeln!(code, "{pad}return {name}(d);");
                        open.push(Method { name, root: i });
                    } else if n.split == Split::Leaf {
                        let _ = writeln!(code, "{pad}return {};", float(n.value));
                    } else {
                        let _ = writeln!(code, "{pad}if ({}) {{", goes_left(n, java));
                        todo.push(Todo::Node(n.right, depth));
                        todo.push(Todo::Text(format!("{pad}}}\n")));
                        todo.push(Todo::Node(n.left, depth + 1));
                    }
                }
            }
        }
        code += "    }\n";
        out.push((code, size[m.root as usize].min(METHOD_NODES * 2)));
    }
    out
}

/// Classes of trees, and the lines that add their leaves up in `f`.
fn trees(m: &TreeEnsemble, java: &mut Java) -> Result<String, String> {
    let sums = if matches!(m.link, TreeLink::Softmax | TreeLink::Shares | TreeLink::Uplift) { m.classes } else { 1 };
    let mut classes = String::new();
    let (mut open, mut held, mut number) = (String::new(), 0, 0);
    let mut calls: Vec<String> = vec![];
    for (round, group) in m.trees.iter().enumerate() {
        for (k, tree) in group.iter().enumerate().filter(|(_, t)| !t.nodes.is_empty()) {
            let name = format!("tree{round}_{k}");
            let methods = tree_methods(tree, &name, java);
            let nodes: usize = methods.iter().map(|m| m.1).sum();
            if held > 0 && held + nodes > CLASS_NODES {
                let _ = writeln!(classes, "\n  static final class Trees{number} {{\n{open}  }}");
                (open, held, number) = (String::new(), 0, number + 1);
            }
            // A tree too large for a class lends its parts to the classes that follow.
            for (code, n) in methods {
                open += &code;
                held += n;
            }
            if held > 4 * CLASS_NODES {
                return Err(format!("tree {round} of class {k} is too large for a Java class; export a MOJO instead"));
            }
            calls.push(match m.single {
                true => format!("f[{k}] = (float) f[{k}] + Trees{number}.{name}(d);"),
                false => format!("f[{k}] += Trees{number}.{name}(d);"),
            });
        }
    }
    let _ = writeln!(classes, "\n  static final class Trees{number} {{\n{open}  }}");
    java.classes += &classes;
    // Many trees are many calls, which again have to fit into methods.
    let mut adders = String::new();
    for (i, part) in calls.chunks(METHOD_VALUES).enumerate() {
        let _ = writeln!(java.classes, "\n  static void add{i}(double[] d, double[] f) {{");
        part.iter().for_each(|c| java.classes += &format!("    {c}\n"));
        java.classes += "  }\n";
        let _ = writeln!(adders, "    add{i}(data, f);");
    }
    let rounds = double(m.trees.len() as f64);
    let base = format!("{} + offset", double(m.init));
    let mut body = format!("    double[] f = new double[{sums}];\n");
    if m.single {
        body += &adders;
        let _ = writeln!(body, "    for (int k = 0; k < f.length; k++) f[k] = (float) f[k] + (float) ({base});");
    } else {
        let _ = writeln!(body, "    java.util.Arrays.fill(f, {base});");
        body += &adders;
    }
    body += &match m.link {
        TreeLink::Identity => "    preds[0] = f[0];\n".to_string(),
        TreeLink::Log => "    preds[0] = exp(f[0]);\n".into(),
        TreeLink::Mean => format!("    preds[0] = f[0] / {rounds};\n"),
        TreeLink::Logit if m.single => {
            "    float p = 1f / (1f + (float) Math.exp(-f[0]));\n    preds[1] = 1f - p;\n    preds[2] = p;\n".into()
        }
        TreeLink::Logit => "    preds[2] = 1 / (1 + exp(-f[0]));\n    preds[1] = 1 - preds[2];\n".into(),
        TreeLink::FirstShare => format!("    preds[1] = f[0] / {rounds};\n    preds[2] = 1 - preds[1];\n"),
        TreeLink::Softmax => "    softmax(f, preds);\n".into(),
        TreeLink::Shares => {
            "    double sum = 0;\n    for (double v : f) sum += v;\n    for (int k = 0; k < f.length; k++) preds[k + 1] = sum > 0 ? f[k] / sum : 0;\n".into()
        }
        TreeLink::Uplift | TreeLink::PathLength => {
            return Err("Java source is for regressions and classifications; export a MOJO instead".into());
        }
    };
    if !m.correction.is_empty() {
        let c = java.doubles(&m.correction);
        let _ = writeln!(body, "    correct({c}, preds);");
    }
    match &m.calibration {
        None => {}
        Some(Calibration::Platt { .. } | Calibration::Isotonic(_)) => {
            return Err("its probabilities are calibrated, which Java source does not tell; export a MOJO instead".into());
        }
    }
    Ok(body)
}

fn linear(m: &GlmScorer, java: &mut Java) -> Result<String, String> {
    if !m.derived.is_empty() || !m.places.is_empty() {
        return Err("it makes predictors from others, which Java source does not tell; save the model instead".into());
    }
    let skip = usize::from(!m.all_levels);
    let beta = m.heard();
    let names: Vec<String> = beta.iter().map(|b| java.doubles(b)).collect();
    let levels = java.ints(m.levels.iter().map(|l| l.0));
    let fills = java.ints(m.levels.iter().map(|l| l.1));
    let means = java.doubles(&m.means);
    let missing = if m.skips_missing { "if (Double.isNaN(v)) return Double.NaN;" } else { "" };
    let offset = if m.without_offset { "" } else { " + offset" };
    let _ = write!(
        java.classes,
        "
  static double eta(double[] beta, double[] d) {{
    double eta = 0;
    int at = 0;
    for (int c = 0; c < {cats}; c++) {{
      double v = d[c];
      {missing}
      int code = Double.isNaN(v) || (int) v >= {levels}[c] ? {fills}[c] : (int) v;
      if (code >= {skip} && code < {levels}[c]) eta += beta[at + code - {skip}];
      at += {levels}[c] - {skip};
    }}
    for (int i = 0; i < {nums}; i++) {{
      double v = d[{cats} + i];
      {missing}
      eta += beta[at + i] * (Double.isNaN(v) ? {means}[i] : v);
    }}
    return eta + beta[beta.length - 1];
  }}
",
        cats = m.levels.len(),
        nums = m.means.len()
    );
    let mut body = format!("    double[] f = new double[{}];\n", beta.len());
    for (k, name) in names.iter().enumerate() {
        let _ = writeln!(body, "    f[{k}] = eta({name}, data){offset};");
    }
    let inverse = |f: &str| match m.link {
        LinkFunction::Logit => format!("1 / (1 + Math.exp(-{f}))"),
        LinkFunction::Log => format!("Math.exp({f})"),
        LinkFunction::Inverse => format!("1 / ({f} < 0 ? Math.min(-1e-5, {f}) : Math.max(1e-5, {f}))"),
        _ => f.to_string(),
    };
    body += &match (m.link, m.width()) {
        (LinkFunction::Softmax, _) => "    softmax(f, preds);\n".to_string(),
        (LinkFunction::Ordinal, width) => format!(
            "    double below = 0;\n    for (int k = 0; k < {width}; k++) {{\n      double upTo = k + 1 < {width} ? 1 / (1 + Math.exp(-f[k])) : 1;\n      preds[k + 1] = upTo - below;\n      below = upTo;\n    }}\n"
        ),
        (LinkFunction::Power, _) => format!("    preds[0] = Math.pow(Math.max(f[0], 1e-300), {});\n", double(1.0 / m.link_power)),
        (_, 2) => format!("    preds[2] = {};\n    preds[1] = 1 - preds[2];\n", inverse("f[0]")),
        _ => format!("    preds[0] = {};\n", inverse("f[0]")),
    };
    Ok(body)
}

fn kmeans(m: &KMeansScorer, java: &mut Java) -> String {
    let n = m.fills.len();
    let centers: Vec<String> = m.centers.iter().map(|c| java.doubles(c)).collect();
    let places = java.ints((0..n).map(|j| m.place(j)));
    let (fills, means, mults) = (java.doubles(&m.fills), java.doubles(&m.means), java.doubles(&m.mults));
    format!(
        "    double[][] centers = {{{}}};
    double[] point = new double[{n}];
    for (int j = 0; j < {n}; j++) {{
      double v = data[{places}[j]];
      if (Double.isNaN(v)) v = {fills}[j];
      point[j] = j < {cats} ? v : (v - {means}[j]) * {mults}[j];
    }}
    double nearest = Double.POSITIVE_INFINITY;
    preds[0] = 0;
    for (int k = 0; k < centers.length; k++) {{
      double sum = 0;
      int known = 0;
      for (int j = 0; j < {n}; j++) {{
        if (Double.isNaN(point[j])) continue;
        known++;
        double by = point[j] - centers[k][j];
        sum += j < {cats} ? (by == 0 ? 0 : 1) : by * by;
      }}
      if (known < {n}) sum *= {n}.0 / Math.max(known, 1);
      if (sum < nearest) {{
        nearest = sum;
        preds[0] = k;
      }}
    }}
",
        centers.join(", "),
        cats = m.categorical
    )
}

fn bayes(m: &BayesScorer, java: &mut Java) -> String {
    let classes = m.priors.len();
    let logs = java.doubles(&m.priors.iter().map(|p| p.ln()).collect::<Vec<_>>());
    let _ = write!(
        java.classes,
        "\n  static double floor(double p) {{\n    return p <= {} ? {} : p;\n  }}\n",
        double(m.probabilities.0),
        double(m.probabilities.1)
    );
    let mut body = format!("    double[] log = {logs}.clone();\n");
    for (c, known) in m.columns.iter().enumerate() {
        match known {
            Conditional::Levels(p) => {
                // Row by row as the classes are; every class has as many levels.
                let n = p.first().map_or(0, Vec::len);
                let table = java.doubles(&p.concat());
                let _ = writeln!(
                    body,
                    "    if (!Double.isNaN(data[{c}]) && data[{c}] < {n})\n      for (int k = 0; k < {classes}; k++) log[k] += Math.log(floor({table}[k * {n} + (int) data[{c}]]));"
                );
            }
            Conditional::Normal(at) => {
                let (means, sds): (Vec<f64>, Vec<f64>) = at.iter().map(|a| crate::bayes::normal(*a, m.deviations)).unzip();
                let (means, sds) = (java.doubles(&means), java.doubles(&sds));
                let _ = writeln!(
                    body,
                    "    if (!Double.isNaN(data[{c}]))\n      for (int k = 0; k < {classes}; k++) {{\n        double z = (data[{c}] - {means}[k]) / {sds}[k];\n        log[k] += Math.log(floor(Math.exp(-0.5 * z * z) / ({sds}[k] * Math.sqrt(2 * Math.PI))));\n      }}"
                );
            }
        }
    }
    let _ = write!(
        body,
        "    for (int k = 0; k < {classes}; k++) {{\n      double sum = 0;\n      for (double l : log) sum += Math.exp(l - log[k]);\n      preds[k + 1] = 1 / sum;\n    }}\n"
    );
    body
}

/// Does such a model have Java source?
pub fn is_possible(scorer: &Scorer) -> bool {
    match scorer {
        Scorer::Trees(m) => m.calibration.is_none() && !matches!(m.link, TreeLink::Uplift | TreeLink::PathLength),
        Scorer::Glm(m) => m.derived.is_empty() && m.places.is_empty(),
        Scorer::KMeans(_) | Scorer::Bayes(_) => true,
        _ => false,
    }
}

/// The model as the source of a Java class.
pub fn write(file: &ModelFile, about: &About, key: &str) -> Result<String, String> {
    let mut java = Java::default();
    let body = match &file.scorer {
        Scorer::Trees(m) => trees(m, &mut java)?,
        Scorer::Glm(m) => linear(m, &mut java)?,
        Scorer::KMeans(m) => kmeans(m, &mut java),
        Scorer::Bayes(m) => bayes(m, &mut java),
        _ => return Err(format!("models of the kind {} have no Java source; export a MOJO, or save the model", about.full_name)),
    };
    let name = class_name(key);
    let columns: Vec<_> = file.predictors.iter().chain(&file.response).collect();
    let names = java.texts(&columns.iter().map(|c| c.name.clone()).collect::<Vec<_>>());
    let domains: Vec<String> = columns.iter().map(|c| c.domain.as_ref().map_or("null".into(), |d| java.texts(d))).collect();
    let domains = java.array("String[]", &domains);
    let classes = match &file.scorer {
        _ if !matches!(about.category.as_str(), "Binomial" | "Multinomial" | "Ordinal") => 1,
        s => s.width(),
    };
    let label = match classes {
        1 => String::new(),
        2 => format!("    preds[0] = preds[2] >= {} ? 1 : 0;\n", double(file.threshold)),
        _ => "    int best = 1;\n    for (int k = 2; k < preds.length; k++) if (preds[k] > preds[best]) best = k;\n    preds[0] = best - 1;\n".into(),
    };
    let optional = |t: Option<&str>| t.map_or("null".to_string(), text);
    let response = optional(file.response.as_ref().map(|r| r.name.as_str()));
    let ignored = matches!(&file.scorer, Scorer::Glm(m) if m.without_offset);
    let offset = optional(file.offset.as_deref().filter(|_| !ignored));
    Ok(format!(
        "// {full} ({category}), exported by ochre. Compile with h2o-genmodel.jar on the class path:
//   javac -cp h2o-genmodel.jar {name}.java

import hex.ModelCategory;
import hex.genmodel.GenModel;
import hex.genmodel.annotations.ModelPojo;

@ModelPojo(name = {quoted}, algorithm = {algorithm})
public class {name} extends GenModel {{
  public {name}() {{
    super({names}, {domains}, {response});
    _offsetColumn = {offset};
  }}

  @Override public ModelCategory getModelCategory() {{ return ModelCategory.{category}; }}
  @Override public String getUUID() {{ return {uuid}; }}
  @Override public boolean isSupervised() {{ return {supervised}; }}
  @Override public boolean requiresOffset() {{ return _offsetColumn != null; }}
  @Override public int nfeatures() {{ return {features}; }}
  @Override public int nclasses() {{ return {classes}; }}

  @Override public double[] score0(double[] data, double[] preds) {{ return score0(data, 0, preds); }}

  /** Columns in the order of getNames(), categories as numbers of their levels, NaN for missing. */
  @Override public double[] score0(double[] data, double offset, double[] preds) {{
{body}{label}    return preds;
  }}

  static double exp(double x) {{ return Math.exp(x); }}

  /** Is the bit of a level set? Levels outside the set count as missing. */
  static boolean right(long[] bits, int offset, int levels, boolean missing, double v) {{
    if (Double.isNaN(v) || v < offset) return missing;
    int i = (int) v - offset;
    return i >= levels ? missing : (bits[i >> 6] >>> (i & 63) & 1) != 0;
  }}

  static void softmax(double[] f, double[] preds) {{
    double top = Double.NEGATIVE_INFINITY, sum = 0;
    for (double v : f) top = Math.max(top, v);
    for (int k = 0; k < f.length; k++) sum += preds[k + 1] = Math.exp(f[k] - top);
    for (int k = 0; k < f.length; k++) preds[k + 1] /= sum;
  }}

  static void correct(double[] by, double[] preds) {{
    double sum = 0;
    for (int k = 0; k < by.length; k++) sum += preds[k + 1] *= by[k];
    if (sum > 0) for (int k = 0; k < by.length; k++) preds[k + 1] /= sum;
  }}
{nested}}}
",
        full = about.full_name,
        category = about.category,
        quoted = text(&name),
        algorithm = text(&about.algorithm),
        uuid = text(&about.uuid),
        supervised = about.supervised,
        features = file.predictors.len(),
        nested = java.classes,
    ))
}
