//! ONNX: tree ensembles and linear models as a graph that onnxruntime and its kin run.
//!
//! A numeric column is an input of doubles `[rows, 1]`, a categorical one an input of strings; NaN and unknown texts are
//! missing. A classification answers `label` and `probabilities`, a regression `prediction`, an isolation forest `score` and
//! `mean_length`; calibrated models answer `calibrated_probabilities` too. Everything is computed in double precision (ai.onnx.ml 5), so that answers agree with the server's up to the
//! order of additions; models that add in single precision agree within its rounding.
//!
//! Sets of levels become columns of their own: a table of 0, 1 and NaN by level, looked up by the level's number.

use crate::file::{Column, ModelFile};
use crate::glm::{GlmScorer, LinkFunction};
use crate::trees::{Calibration, Split, TreeEnsemble, TreeLink};
use crate::{IsotonicScorer, Scorer, mojo};
use prost::Message;
use std::collections::HashMap;

/// The messages of the format, as far as they are written here.
mod wire {
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Model {
        #[prost(int64, tag = "1")]
        pub ir_version: i64,
        #[prost(string, tag = "2")]
        pub producer_name: String,
        #[prost(string, tag = "3")]
        pub producer_version: String,
        #[prost(string, tag = "6")]
        pub doc_string: String,
        #[prost(message, optional, tag = "7")]
        pub graph: Option<Graph>,
        #[prost(message, repeated, tag = "8")]
        pub opset_import: Vec<Opset>,
        #[prost(message, repeated, tag = "14")]
        pub metadata_props: Vec<Entry>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Opset {
        #[prost(string, tag = "1")]
        pub domain: String,
        #[prost(int64, tag = "2")]
        pub version: i64,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Entry {
        #[prost(string, tag = "1")]
        pub key: String,
        #[prost(string, tag = "2")]
        pub value: String,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Graph {
        #[prost(message, repeated, tag = "1")]
        pub node: Vec<Node>,
        #[prost(string, tag = "2")]
        pub name: String,
        #[prost(message, repeated, tag = "5")]
        pub initializer: Vec<Tensor>,
        #[prost(message, repeated, tag = "11")]
        pub input: Vec<ValueInfo>,
        #[prost(message, repeated, tag = "12")]
        pub output: Vec<ValueInfo>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Node {
        #[prost(string, repeated, tag = "1")]
        pub input: Vec<String>,
        #[prost(string, repeated, tag = "2")]
        pub output: Vec<String>,
        #[prost(string, tag = "3")]
        pub name: String,
        #[prost(string, tag = "4")]
        pub op_type: String,
        #[prost(message, repeated, tag = "5")]
        pub attribute: Vec<Attribute>,
        #[prost(string, tag = "7")]
        pub domain: String,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Attribute {
        #[prost(string, tag = "1")]
        pub name: String,
        #[prost(int64, optional, tag = "3")]
        pub i: Option<i64>,
        #[prost(bytes = "vec", optional, tag = "4")]
        pub s: Option<Vec<u8>>,
        #[prost(message, optional, tag = "5")]
        pub t: Option<Tensor>,
        #[prost(int64, repeated, packed = "false", tag = "8")]
        pub ints: Vec<i64>,
        #[prost(bytes = "vec", repeated, tag = "9")]
        pub strings: Vec<Vec<u8>>,
        /// What of the above it is: 2 an integer, 3 a string, 4 a tensor, 7 integers, 8 strings.
        #[prost(int32, tag = "20")]
        pub kind: i32,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Tensor {
        #[prost(int64, repeated, packed = "false", tag = "1")]
        pub dims: Vec<i64>,
        #[prost(int32, tag = "2")]
        pub data_type: i32,
        #[prost(string, tag = "8")]
        pub name: String,
        #[prost(bytes = "vec", tag = "9")]
        pub raw_data: Vec<u8>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ValueInfo {
        #[prost(string, tag = "1")]
        pub name: String,
        #[prost(message, optional, tag = "2")]
        pub kind: Option<Type>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Type {
        #[prost(message, optional, tag = "1")]
        pub tensor: Option<TensorType>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct TensorType {
        #[prost(int32, tag = "1")]
        pub elem: i32,
        #[prost(message, optional, tag = "2")]
        pub shape: Option<Shape>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Shape {
        #[prost(message, repeated, tag = "1")]
        pub dim: Vec<Dim>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Dim {
        #[prost(int64, optional, tag = "1")]
        pub value: Option<i64>,
        #[prost(string, optional, tag = "2")]
        pub name: Option<String>,
    }
}

const FLOAT: i32 = 1;
const UINT8: i32 = 2;
const INT64: i32 = 7;
const TEXT: i32 = 8;
const DOUBLE: i32 = 11;

const IR_VERSION: i64 = 10;
const OPSET: i64 = 21;
const OPSET_ML: i64 = 5;
const ML: &str = "ai.onnx.ml";

/// How a node compares: at most, less.
const LEQ: u8 = 0;
const LT: u8 = 1;

/// Numbers in the sets of all nodes together that a graph may hold.
const TABLE_MAX: usize = 1 << 27;

#[derive(Default)]
struct Maker {
    nodes: Vec<wire::Node>,
    initializers: Vec<wire::Tensor>,
    inputs: Vec<wire::ValueInfo>,
    outputs: Vec<wire::ValueInfo>,
    fresh: usize,
}

fn tensor(name: &str, dims: &[usize], data_type: i32, raw_data: Vec<u8>) -> wire::Tensor {
    wire::Tensor { dims: dims.iter().map(|d| *d as i64).collect(), data_type, name: name.into(), raw_data }
}

fn doubles(name: &str, dims: &[usize], values: &[f64]) -> wire::Tensor {
    tensor(name, dims, DOUBLE, values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

fn int(name: &str, i: i64) -> wire::Attribute {
    wire::Attribute { name: name.into(), i: Some(i), kind: 2, ..Default::default() }
}

fn ints(name: &str, ints: Vec<i64>) -> wire::Attribute {
    wire::Attribute { name: name.into(), ints, kind: 7, ..Default::default() }
}

fn texts(name: &str, texts: &[String]) -> wire::Attribute {
    wire::Attribute { name: name.into(), strings: texts.iter().map(|t| t.clone().into_bytes()).collect(), kind: 8, ..Default::default() }
}

fn data(name: &str, t: wire::Tensor) -> wire::Attribute {
    wire::Attribute { name: name.into(), t: Some(t), kind: 4, ..Default::default() }
}

fn value(name: &str, elem: i32, width: Option<usize>) -> wire::ValueInfo {
    let mut dim = vec![wire::Dim { name: Some("rows".into()), value: None }];
    dim.extend(width.map(|w| wire::Dim { value: Some(w as i64), name: None }));
    let tensor = wire::TensorType { elem, shape: Some(wire::Shape { dim }) };
    wire::ValueInfo { name: name.into(), kind: Some(wire::Type { tensor: Some(tensor) }) }
}

impl Maker {
    fn name(&mut self) -> String {
        self.fresh += 1;
        format!("ochre_{}", self.fresh)
    }

    /// A node; answers the name of what it makes.
    fn op(&mut self, op: &str, inputs: &[&str], attribute: Vec<wire::Attribute>) -> String {
        let out = self.name();
        self.op_as(op, inputs, attribute, &out);
        out
    }

    fn op_as(&mut self, op: &str, inputs: &[&str], attribute: Vec<wire::Attribute>, out: &str) {
        let domain = if matches!(op, "TreeEnsemble" | "LabelEncoder") { ML } else { "" };
        self.nodes.push(wire::Node {
            input: inputs.iter().map(|s| s.to_string()).collect(),
            output: vec![out.into()],
            name: format!("n{}", self.nodes.len()),
            op_type: op.into(),
            attribute,
            domain: domain.into(),
        });
    }

    fn constant(&mut self, dims: &[usize], values: &[f64]) -> String {
        let name = self.name();
        self.initializers.push(doubles(&name, dims, values));
        name
    }

    fn number(&mut self, v: f64) -> String {
        self.constant(&[], &[v])
    }

    fn whole(&mut self, values: &[i64]) -> String {
        let name = self.name();
        self.initializers.push(tensor(&name, &[values.len()], INT64, values.iter().flat_map(|v| v.to_le_bytes()).collect()));
        name
    }

    /// The columns of some tensors side by side.
    fn beside(&mut self, parts: &[String]) -> String {
        match parts {
            [one] => one.clone(),
            _ => self.op("Concat", &parts.iter().map(String::as_str).collect::<Vec<_>>(), vec![int("axis", 1)]),
        }
    }

    /// The numbers of the levels of a categorical input; the number of levels for missing and unknown ones. `[rows]`.
    fn codes(&mut self, input: &str, domain: &[String]) -> String {
        let keys = texts("keys_strings", domain);
        let values = ints("values_int64s", (0..domain.len() as i64).collect());
        let code = self.op("LabelEncoder", &[input], vec![keys, values, int("default_int64", domain.len() as i64)]);
        let all = self.whole(&[-1]);
        self.op("Reshape", &[&code, &all], vec![])
    }

    /// Columns `first..first + n` of a tensor.
    fn part(&mut self, of: &str, first: usize, n: usize) -> String {
        let (from, to, axis) = (self.whole(&[first as i64]), self.whole(&[(first + n) as i64]), self.whole(&[1]));
        self.op("Slice", &[of, &from, &to, &axis], vec![])
    }

    fn one_minus(&mut self, p: &str) -> String {
        let one = self.number(1.0);
        self.op("Sub", &[&one, p], vec![])
    }

    fn sigmoid(&mut self, f: &str) -> String {
        let (minus, one) = (self.op("Neg", &[f], vec![]), self.number(1.0));
        let e = self.op("Exp", &[&minus], vec![]);
        let sum = self.op("Add", &[&one, &e], vec![]);
        self.op("Div", &[&one, &sum], vec![])
    }

    fn softmax(&mut self, f: &str) -> String {
        let axis = self.whole(&[1]);
        let top = self.op("ReduceMax", &[f, &axis], vec![int("keepdims", 1)]);
        let shifted = self.op("Sub", &[f, &top], vec![]);
        let e = self.op("Exp", &[&shifted], vec![]);
        self.shares(&e)
    }

    /// Each row over its sum.
    fn shares(&mut self, f: &str) -> String {
        let axis = self.whole(&[1]);
        let sum = self.op("ReduceSum", &[f, &axis], vec![int("keepdims", 1)]);
        self.op("Div", &[f, &sum], vec![])
    }
}

/// Calibrated probabilities of both classes, from those of the trees.
fn calibrated(by: &Calibration, p: &str, maker: &mut Maker) -> String {
    let second = match by {
        Calibration::Platt { slope, intercept } => {
            let (first, slope, intercept) = (maker.part(p, 0, 1), maker.number(*slope), maker.number(*intercept));
            let product = maker.op("Mul", &[&first, &slope], vec![]);
            let sum = maker.op("Add", &[&product, &intercept], vec![]);
            maker.sigmoid(&sum)
        }
        Calibration::Isotonic(curve) => {
            let x = maker.part(p, 1, 1);
            isotonic(curve, &x, maker)
        }
    };
    let first = maker.one_minus(&second);
    maker.beside(&[first, second])
}

/// Values this close to a threshold are on it: the last bit of a probability depends on who computes it, and where a threshold
/// stands twice the curve jumps.
const ON_THRESHOLD: f64 = 1e-12;

/// Straight lines between thresholds: the number of thresholds below a value says which line.
fn isotonic(curve: &IsotonicScorer, x: &str, maker: &mut Maker) -> String {
    let n = curve.xs.len();
    let (Some(low), Some(high)) = (curve.xs.first(), curve.xs.last()) else {
        let nan = maker.number(f64::NAN);
        return maker.op("Mul", &[x, &nan], vec![]);
    };
    let (low, high) = (maker.number(*low), maker.number(*high));
    let within = maker.op("Clip", &[x, &low, &high], vec![]);
    let value = if n == 1 {
        let (zero, only) = (maker.number(0.0), maker.number(curve.ys[0]));
        let none = maker.op("Mul", &[&within, &zero], vec![]);
        maker.op("Add", &[&none, &only], vec![])
    } else {
        let (xs, ys) = (maker.constant(&[n], &curve.xs), maker.constant(&[n], &curve.ys));
        let on = maker.constant(&[n], &curve.xs.iter().map(|x| curve.value(*x)).collect::<Vec<_>>());
        let below = maker.op("Less", &[&xs, &within], vec![]);
        let below = maker.op("Cast", &[&below], vec![int("to", i64::from(INT64))]);
        let axis = maker.whole(&[1]);
        let count = maker.op("ReduceSum", &[&below, &axis], vec![int("keepdims", 1)]);
        let (one, last) = (maker.whole(&[1]), maker.whole(&[n as i64 - 1]));
        let at = maker.op("Max", &[&count, &one], vec![]);
        let at = maker.op("Min", &[&at, &last], vec![]);
        let before = maker.op("Sub", &[&at, &one], vec![]);
        let mut pick = |of: &str, at: &str| maker.op("Gather", &[of, at], vec![int("axis", 0)]);
        let [x0, x1, y0, y1] = [pick(&xs, &before), pick(&xs, &at), pick(&ys, &before), pick(&ys, &at)];
        let (on0, on1) = (pick(&on, &before), pick(&on, &at));
        let near = maker.number(ON_THRESHOLD);
        let mut pair = |op: &str, a: &str, b: &str| maker.op(op, &[a, b], vec![]);
        let (run, rise, step) = (pair("Sub", &x1, &x0), pair("Sub", &y1, &y0), pair("Sub", &within, &x0));
        let product = pair("Mul", &rise, &step);
        let part = pair("Div", &product, &run);
        let (line, left) = (pair("Add", &y0, &part), pair("Sub", &x1, &within));
        let (at0, at1) = (pair("Less", &step, &near), pair("Less", &left, &near));
        let right = maker.op("Where", &[&at1, &on1, &line], vec![]);
        maker.op("Where", &[&at0, &on0, &right], vec![])
    };
    if curve.clip {
        return value;
    }
    let same = maker.op("Equal", &[x, &within], vec![]);
    let nan = maker.number(f64::NAN);
    maker.op("Where", &[&same, &value, &nan], vec![])
}

/// A column that nodes of trees look at.
#[derive(PartialEq, Eq, Hash, Clone)]
enum Feature {
    Plain(u32),
    /// Rounded to single precision.
    Nearest(u32),
    /// The same, 0 as missing.
    Sparse(u32),
    /// 0, 1 or missing by level: `None` where the level counts as missing.
    Set(u32, Vec<Option<bool>>),
}

/// All trees as one node, with one sum for each class.
fn trees(m: &TreeEnsemble, columns: &[Column], maker: &mut Maker) -> Result<String, String> {
    let mut places: HashMap<Feature, usize> = HashMap::new();
    let mut order: Vec<Feature> = vec![];
    let mut place = |f: Feature| {
        *places.entry(f.clone()).or_insert_with(|| {
            order.push(f);
            order.len() - 1
        })
    };
    let (mut ids, mut modes, mut splits, mut missing) = (vec![], vec![], vec![], vec![]);
    let (mut yes, mut no, mut yes_leaf, mut no_leaf) = (vec![], vec![], vec![], vec![]);
    let (mut roots, mut targets, mut weights) = (vec![], vec![], vec![]);
    for (class, tree) in m.trees.iter().flat_map(|g| g.iter().enumerate()).filter(|(_, t)| !t.nodes.is_empty()) {
        // Numbers of inner nodes and of leaves in the whole graph.
        let (mut inner, mut leaves) = (ids.len(), targets.len());
        let mut number = vec![0i64; tree.nodes.len()];
        for (n, slot) in tree.nodes.iter().zip(&mut number) {
            let next = if n.split == Split::Leaf { &mut leaves } else { &mut inner };
            *slot = *next as i64;
            *next += 1;
        }
        roots.push(ids.len() as i64);
        if tree.nodes[0].split == Split::Leaf {
            // A tree that is one leaf: a test whose ways both lead there.
            ids.push(0);
            modes.push(LEQ);
            splits.push(0.0);
            missing.push(0);
            yes.push(number[0]);
            no.push(number[0]);
            yes_leaf.push(1);
            no_leaf.push(1);
        }
        for n in &tree.nodes {
            let (feature, mode, at) = match &n.split {
                Split::Leaf => {
                    targets.push(class as i64);
                    weights.push(f64::from(n.value));
                    continue;
                }
                Split::Less(t) => (Feature::Plain(n.column), LT, f64::from(*t)),
                Split::Below(t) => (Feature::Nearest(n.column), LT, f64::from(*t)),
                Split::SparseBelow(t) => (Feature::Sparse(n.column), LT, f64::from(*t)),
                Split::Missing => (Feature::Plain(n.column), LEQ, f64::INFINITY),
                Split::Set { offset, bits } => {
                    let levels = columns[n.column as usize].domain.as_ref().map_or(0, Vec::len);
                    let side = (0..levels).map(|l| l.checked_sub(*offset as usize).and_then(|i| bits.get(i).copied())).collect();
                    (Feature::Set(n.column, side), LT, 0.5)
                }
            };
            let leaf = |child: u32| i64::from(tree.nodes[child as usize].split == Split::Leaf);
            ids.push(place(feature) as i64);
            modes.push(mode);
            splits.push(at);
            // Missing values of such a node go to the right, whatever it says.
            missing.push(i64::from(n.missing_left && n.split != Split::Missing));
            yes.push(number[n.left as usize]);
            no.push(number[n.right as usize]);
            yes_leaf.push(leaf(n.left));
            no_leaf.push(leaf(n.right));
        }
    }
    if order.is_empty() {
        let plain = columns.iter().position(|c| c.domain.is_none());
        order.push(
            plain.map_or_else(|| Feature::Set(0, vec![None; columns[0].domain.as_ref().map_or(0, Vec::len)]), |c| Feature::Plain(c as u32)),
        );
    }
    if order.iter().map(|f| if let Feature::Set(_, s) = f { s.len() } else { 0 }).sum::<usize>() > TABLE_MAX {
        return Err("its sets of levels are too many for an ONNX graph; export a MOJO instead".into());
    }
    // Sets of one column are looked up together, so they have to lie side by side.
    let mut sorted: Vec<usize> = (0..order.len()).collect();
    let column = |f: &Feature| match f {
        Feature::Set(c, _) => (1, *c),
        Feature::Plain(c) | Feature::Nearest(c) | Feature::Sparse(c) => (0, *c),
    };
    sorted.sort_by_key(|&i| column(&order[i]));
    let mut moved = vec![0i64; order.len()];
    sorted.iter().enumerate().for_each(|(to, &from)| moved[from] = to as i64);
    ids.iter_mut().for_each(|i| *i = moved[*i as usize]);
    let mut parts = vec![];
    let numbers_of = |maker: &mut Maker, c: usize| match &columns[c].domain {
        None => columns[c].name.clone(),
        // A category that is compared with numbers counts as the number of its level.
        Some(domain) => {
            let codes: Vec<f64> = (0..domain.len()).map(|l| l as f64).chain([f64::NAN]).collect();
            let table = maker.constant(&[codes.len(), 1], &codes);
            let code = maker.codes(&columns[c].name, domain);
            maker.op("Gather", &[&table, &code], vec![int("axis", 0)])
        }
    };
    for group in sorted.chunk_by(|&a, &b| matches!(order[a], Feature::Set(..)) && column(&order[a]) == column(&order[b])) {
        let first = &order[group[0]];
        let name = &columns[column(first).1 as usize].name;
        parts.push(match first {
            Feature::Plain(c) => numbers_of(maker, *c as usize),
            Feature::Nearest(c) | Feature::Sparse(c) => {
                let plain = numbers_of(maker, *c as usize);
                let single = maker.op("Cast", &[&plain], vec![int("to", i64::from(FLOAT))]);
                let rounded = maker.op("Cast", &[&single], vec![int("to", i64::from(DOUBLE))]);
                if matches!(first, Feature::Sparse(_)) {
                    let (zero, nan) = (maker.number(0.0), maker.number(f64::NAN));
                    let none = maker.op("Equal", &[&rounded, &zero], vec![]);
                    maker.op("Where", &[&none, &nan, &rounded], vec![])
                } else {
                    rounded
                }
            }
            Feature::Set(c, side) => {
                let domain = columns[*c as usize].domain.clone().unwrap_or_default();
                let mut table = vec![f64::NAN; (side.len() + 1) * group.len()];
                for (j, &g) in group.iter().enumerate() {
                    let Feature::Set(_, side) = &order[g] else { continue };
                    for (l, right) in side.iter().enumerate() {
                        table[l * group.len() + j] = right.map_or(f64::NAN, |r| f64::from(u8::from(r)));
                    }
                }
                let table = maker.constant(&[side.len() + 1, group.len()], &table);
                let code = maker.codes(name, &domain);
                maker.op("Gather", &[&table, &code], vec![int("axis", 0)])
            }
        });
    }
    let x = maker.beside(&parts);
    let n = splits.len();
    let sums = if matches!(m.link, TreeLink::Softmax | TreeLink::Shares | TreeLink::Uplift) { m.classes } else { 1 };
    let attributes = vec![
        int("aggregate_function", 1),
        int("post_transform", 0),
        int("n_targets", sums as i64),
        ints("nodes_featureids", ids),
        data("nodes_modes", tensor("", &[n], UINT8, modes)),
        data("nodes_splits", doubles("", &[n], &splits)),
        ints("nodes_missing_value_tracks_true", missing),
        ints("nodes_truenodeids", yes),
        ints("nodes_trueleafs", yes_leaf),
        ints("nodes_falsenodeids", no),
        ints("nodes_falseleafs", no_leaf),
        ints("tree_roots", roots),
        ints("leaf_targetids", targets),
        data("leaf_weights", doubles("", &[weights.len()], &weights)),
    ];
    Ok(maker.op("TreeEnsemble", &[&x], attributes))
}

/// From sums of leaves to what the model answers.
fn tree_link(m: &TreeEnsemble, sums: String, offset: Option<&str>, maker: &mut Maker) -> Result<String, String> {
    let rounds = if matches!(m.link, TreeLink::Mean | TreeLink::FirstShare | TreeLink::Uplift | TreeLink::PathLength) {
        maker.number(m.trees.len() as f64)
    } else {
        String::new()
    };
    let mut f = sums;
    if m.init != 0.0 {
        let init = maker.number(m.init);
        f = maker.op("Add", &[&f, &init], vec![]);
    }
    if let Some(o) = offset {
        f = maker.op("Add", &[&f, o], vec![]);
    }
    let out = match m.link {
        TreeLink::Identity => f,
        TreeLink::Log => maker.op("Exp", &[&f], vec![]),
        TreeLink::Mean => maker.op("Div", &[&f, &rounds], vec![]),
        TreeLink::Logit => {
            let second = maker.sigmoid(&f);
            let first = maker.one_minus(&second);
            maker.beside(&[first, second])
        }
        TreeLink::FirstShare => {
            let first = maker.op("Div", &[&f, &rounds], vec![]);
            let second = maker.one_minus(&first);
            maker.beside(&[first, second])
        }
        TreeLink::Softmax => maker.softmax(&f),
        TreeLink::Shares => maker.shares(&f),
        TreeLink::Uplift => {
            let rates = maker.op("Div", &[&f, &rounds], vec![]);
            let (treated, others) = (maker.part(&rates, 0, 1), maker.part(&rates, 1, 1));
            let uplift = maker.op("Sub", &[&treated, &others], vec![]);
            maker.beside(&[uplift, rates])
        }
        TreeLink::PathLength => {
            let [longest, shortest] = m.lengths;
            let mean = maker.op("Div", &[&f, &rounds], vec![]);
            let score = if longest > shortest {
                let (top, width) = (maker.number(longest), maker.number(longest - shortest));
                let rest = maker.op("Sub", &[&top, &f], vec![]);
                maker.op("Div", &[&rest, &width], vec![])
            } else {
                // The same for every row.
                let zero = maker.number(0.0);
                let nothing = maker.op("Mul", &[&mean, &zero], vec![]);
                maker.one_minus(&nothing)
            };
            maker.beside(&[score, mean])
        }
    };
    if m.correction.is_empty() {
        return Ok(out);
    }
    let by = maker.constant(&[1, m.correction.len()], &m.correction);
    let weighed = maker.op("Mul", &[&out, &by], vec![]);
    Ok(maker.shares(&weighed))
}

fn linear(m: &GlmScorer, columns: &[Column], offset: Option<&str>, maker: &mut Maker) -> Result<String, String> {
    if !m.derived.is_empty() || !m.places.is_empty() {
        return Err("it makes predictors from others, which ochre does not tell ONNX; save the model instead".into());
    }
    let beta = m.heard();
    let (sets, skip, mut at) = (beta.len(), usize::from(!m.all_levels), 0);
    let mut terms = vec![];
    for ((levels, missing), column) in m.levels.iter().zip(columns) {
        let domain = column.domain.clone().unwrap_or_default();
        // The coefficients of each level; the last row is for missing and unknown ones.
        let mut table = vec![0.0; (domain.len() + 1) * sets];
        for l in 0..=domain.len() {
            let unknown = l >= domain.len() || l >= *levels;
            let code = if unknown { *missing } else { l };
            for (k, b) in beta.iter().enumerate() {
                table[l * sets + k] = match (skip..*levels).contains(&code) {
                    _ if m.skips_missing && l == domain.len() => f64::NAN,
                    true => b[at + code - skip],
                    false => 0.0,
                };
            }
        }
        let table = maker.constant(&[domain.len() + 1, sets], &table);
        let code = maker.codes(&column.name, &domain);
        terms.push(maker.op("Gather", &[&table, &code], vec![int("axis", 0)]));
        at += levels - skip;
    }
    let numeric = &columns[m.levels.len()..];
    if !numeric.is_empty() {
        let x = maker.beside(&numeric.iter().map(|c| c.name.clone()).collect::<Vec<_>>());
        let missing = maker.op("IsNaN", &[&x], vec![]);
        let means: Vec<f64> = m.means.iter().map(|v| if m.skips_missing { f64::NAN } else { *v }).collect();
        let fill = maker.constant(&[1, means.len()], &means);
        let filled = maker.op("Where", &[&missing, &fill, &x], vec![]);
        let weights: Vec<f64> = (0..means.len()).flat_map(|i| beta.iter().map(move |b| b[at + i])).collect();
        let weights = maker.constant(&[means.len(), sets], &weights);
        terms.push(maker.op("MatMul", &[&filled, &weights], vec![]));
    }
    let constants: Vec<f64> = beta.iter().map(|b| b[b.len() - 1]).collect();
    let mut eta = maker.constant(&[1, sets], &constants);
    for t in terms.iter().map(String::as_str).chain(offset.filter(|_| !m.without_offset)) {
        eta = maker.op("Add", &[&eta, t], vec![]);
    }
    Ok(match (m.link, m.width()) {
        (LinkFunction::Softmax, _) => maker.softmax(&eta),
        (LinkFunction::Ordinal, width) => {
            let up_to = maker.sigmoid(&eta);
            let mut shares = vec![maker.part(&up_to, 0, 1)];
            for k in 1..width - 1 {
                let (a, b) = (maker.part(&up_to, k, 1), maker.part(&up_to, k - 1, 1));
                shares.push(maker.op("Sub", &[&a, &b], vec![]));
            }
            let last = maker.part(&up_to, width - 2, 1);
            shares.push(maker.one_minus(&last));
            maker.beside(&shares)
        }
        (LinkFunction::Power, _) => {
            let (least, power) = (maker.number(1e-300), maker.number(1.0 / m.link_power));
            let base = maker.op("Max", &[&eta, &least], vec![]);
            maker.op("Pow", &[&base, &power], vec![])
        }
        (link, width) => {
            let mean = match link {
                LinkFunction::Logit => maker.sigmoid(&eta),
                LinkFunction::Log => maker.op("Exp", &[&eta], vec![]),
                LinkFunction::Inverse => {
                    let (zero, low, high, one) = (maker.number(0.0), maker.number(-1e-5), maker.number(1e-5), maker.number(1.0));
                    let negative = maker.op("Less", &[&eta, &zero], vec![]);
                    let (a, b) = (maker.op("Min", &[&eta, &low], vec![]), maker.op("Max", &[&eta, &high], vec![]));
                    let kept = maker.op("Where", &[&negative, &a, &b], vec![]);
                    maker.op("Div", &[&one, &kept], vec![])
                }
                _ => eta,
            };
            if width == 2 {
                let first = maker.one_minus(&mean);
                maker.beside(&[first, mean])
            } else {
                mean
            }
        }
    })
}

/// The model as an ONNX graph.
pub fn write(file: &ModelFile, about: &mojo::About) -> Result<Vec<u8>, String> {
    let refuse = |what: &str| Err(format!("models of the kind {what} have no ONNX form here: trees and linear models have"));
    let mut maker = Maker::default();
    let ignored = matches!(&file.scorer, Scorer::Glm(m) if m.without_offset);
    let offset = file.offset.as_deref().filter(|_| !ignored);
    let used: Vec<&Column> = file.predictors.iter().collect();
    for c in &used {
        maker.inputs.push(value(&c.name, if c.domain.is_some() { TEXT } else { DOUBLE }, Some(1)));
    }
    if let Some(o) = offset {
        maker.inputs.push(value(o, DOUBLE, Some(1)));
    }
    if file.predictors.is_empty() {
        return Err("it reads no columns, so an ONNX graph of it would not know how many rows there are".into());
    }
    let out = match &file.scorer {
        Scorer::Trees(m) => {
            let sums = trees(m, &file.predictors, &mut maker)?;
            tree_link(m, sums, offset, &mut maker)?
        }
        Scorer::Glm(m) => linear(m, &file.predictors, offset, &mut maker)?,
        _ => return refuse(&about.full_name),
    };
    let width = file.scorer.width();
    match file.response.as_ref().and_then(|r| r.domain.as_ref()).filter(|d| about.category != "Regression" && d.len() == width) {
        Some(domain) => {
            let code = if width == 2 {
                let second = maker.part(&out, 1, 1);
                let threshold = maker.number(file.threshold);
                let is = maker.op("GreaterOrEqual", &[&second, &threshold], vec![]);
                let code = maker.op("Cast", &[&is], vec![int("to", i64::from(INT64))]);
                let all = maker.whole(&[-1]);
                maker.op("Reshape", &[&code, &all], vec![])
            } else {
                maker.op("ArgMax", &[&out], vec![int("axis", 1), int("keepdims", 0)])
            };
            let keys = ints("keys_int64s", (0..width as i64).collect());
            let none = wire::Attribute { name: "default_string".into(), s: Some(vec![]), kind: 3, ..Default::default() };
            maker.op_as("LabelEncoder", &[&code], vec![keys, texts("values_strings", domain), none], "label");
            maker.op_as("Identity", &[&out], vec![], "probabilities");
            maker.outputs = vec![value("label", TEXT, None), value("probabilities", DOUBLE, Some(width))];
            if let Scorer::Trees(TreeEnsemble { calibration: Some(by), .. }) = &file.scorer {
                let told = calibrated(by, &out, &mut maker);
                maker.op_as("Identity", &[&told], vec![], "calibrated_probabilities");
                maker.outputs.push(value("calibrated_probabilities", DOUBLE, Some(2)));
            }
        }
        None if width > 1 => {
            let names = match &file.scorer {
                Scorer::Trees(m) if m.link == TreeLink::PathLength => ["score", "mean_length", ""],
                _ => ["uplift", "treated", "untreated"],
            };
            for (k, name) in names.iter().enumerate().take(width) {
                let part = maker.part(&out, k, 1);
                maker.op_as("Identity", &[&part], vec![], name);
                maker.outputs.push(value(name, DOUBLE, Some(1)));
            }
        }
        None => {
            maker.op_as("Identity", &[&out], vec![], "prediction");
            maker.outputs = vec![value("prediction", DOUBLE, Some(1))];
        }
    }
    let taken = |n: &str| n.starts_with("ochre_") || maker.outputs.iter().any(|o| o.name == n);
    if let Some(c) = used.iter().find(|c| taken(&c.name)) {
        return Err(format!("its column '{}' has a name that the graph needs for itself; rename it and train again", c.name));
    }
    let entry = |key: &str, value: &str| wire::Entry { key: key.into(), value: value.into() };
    let model = wire::Model {
        ir_version: IR_VERSION,
        producer_name: "ochre".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        doc_string: format!("{} ({})", about.full_name, about.category),
        graph: Some(wire::Graph {
            node: maker.nodes,
            name: about.algorithm.clone(),
            initializer: maker.initializers,
            input: maker.inputs,
            output: maker.outputs,
        }),
        opset_import: vec![wire::Opset { domain: String::new(), version: OPSET }, wire::Opset { domain: ML.into(), version: OPSET_ML }],
        metadata_props: vec![entry("ochre.uuid", &about.uuid), entry("ochre.threshold", &file.threshold.to_string())],
    };
    Ok(model.encode_to_vec())
}
