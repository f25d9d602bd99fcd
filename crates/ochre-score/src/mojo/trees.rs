//! Tree ensembles in a MOJO: nodes in pre-order as bytes, and the weights of their rows beside them.

use super::{About, Parts, number, numbers, read_isotonic, write_isotonic};
use crate::file::{Column, ModelFile};
use crate::trees::{Calibration, Node, Split, Tree, TreeEnsemble, TreeLink};

const WHOLE_TREE_IS_A_LEAF: u16 = u16::MAX;
const MISSING_RIGHT_REST_LEFT: u8 = 1;
const MISSING_LEFT: u8 = 2;
const MISSING_RIGHT: u8 = 3;
const LEFT_IS_LEAF: u8 = 0x30;
const RIGHT_IS_LEAF: u8 = 0xC0;
const SMALL_SET: u8 = 8;
const SET: u8 = 12;
const AUX_BYTES: usize = 40;
/// Deeper trees than any builder makes are hostile.
const DEPTH_MAX: usize = 1 << 16;

pub fn write(m: &TreeEnsemble, file: &ModelFile, about: &About, parts: &mut Parts) -> Result<(), String> {
    let per_class = m.trees.iter().map(Vec::len).max().unwrap_or(1);
    parts.put("n_trees", m.trees.len());
    parts.put("n_trees_per_class", per_class);
    parts.put("_genmodel_encoding", "AUTO");
    parts.put("_orig_projection_array", "null");
    match m.link {
        TreeLink::Mean | TreeLink::FirstShare | TreeLink::Shares => {
            parts.put("binomial_double_trees", m.link == TreeLink::Shares && m.classes == 2);
        }
        TreeLink::Uplift => parts.put("default_auuc_thresholds", "[]"),
        TreeLink::PathLength => {
            parts.put("max_path_length", m.lengths[0] as i64);
            parts.put("min_path_length", m.lengths[1] as i64);
            parts.put("output_anomaly_flag", file.threshold >= 0.0);
        }
        link => {
            parts.put("distribution", &about.family);
            let name = match link {
                TreeLink::Log | TreeLink::Softmax => "log",
                TreeLink::Logit => "logit",
                _ => "identity",
            };
            parts.put("link_function", name);
            parts.put("init_f", number(m.init));
        }
    }
    write_calibration(m, parts);
    for (t, group) in m.trees.iter().enumerate() {
        for (c, tree) in group.iter().enumerate().filter(|(_, t)| !t.nodes.is_empty()) {
            let (nodes, aux) = encode(tree, &file.predictors)?;
            parts.blobs.insert(format!("trees/t{c:02}_{t:03}.bin"), nodes);
            parts.blobs.insert(format!("trees/t{c:02}_{t:03}_aux.bin"), aux);
        }
    }
    Ok(())
}

pub(super) fn write_calibration(m: &TreeEnsemble, parts: &mut Parts) {
    match &m.calibration {
        None => {}
        Some(Calibration::Platt { slope, intercept }) => {
            parts.put("calib_method", "platt");
            parts.put("calib_glm_beta", numbers(&[*slope, *intercept]));
        }
        Some(Calibration::Isotonic(curve)) => {
            parts.put("calib_method", "isotonic");
            write_isotonic(curve, parts);
        }
    }
}

/// Can the set be written as 32 bits from level 0 on? Levels past its end are missing values, so only when they go the
/// same way as an unset bit or do not exist.
fn is_small(node: &Node, columns: &[Column]) -> bool {
    let Split::Set { offset: 0, bits } = &node.split else { return false };
    let levels = columns.get(node.column as usize).and_then(|c| c.domain.as_ref()).map_or(usize::MAX, Vec::len);
    bits.len() <= 32 && (bits.len() >= levels || node.missing_left)
}

fn split_bytes(node: &Node, columns: &[Column]) -> usize {
    match &node.split {
        Split::Leaf | Split::Missing => 0,
        Split::Less(_) | Split::Below(_) | Split::SparseBelow(_) => 4,
        Split::Set { .. } if is_small(node, columns) => 4,
        Split::Set { bits, .. } => 6 + bits.len().div_ceil(8),
    }
}

fn length_bytes(n: usize) -> usize {
    match n {
        0..256 => 1,
        256..65535 => 2,
        65535..0x100_0000 => 3,
        _ => 4,
    }
}

/// Nodes and their companions, as the reference lays them out.
fn encode(tree: &Tree, columns: &[Column]) -> Result<(Vec<u8>, Vec<u8>), String> {
    let nodes = &tree.nodes;
    let leaf = |n: u32| nodes[n as usize].split == Split::Leaf;
    if leaf(0) {
        let mut out = vec![0];
        out.extend(WHOLE_TREE_IS_A_LEAF.to_le_bytes());
        out.extend(nodes[0].value.to_le_bytes());
        return Ok((out, vec![]));
    }
    // Pre-order, then sizes from the back: children come after their parent.
    let (mut order, mut stack) = (vec![], vec![0u32]);
    while let Some(n) = stack.pop() {
        let node = &nodes[n as usize];
        if node.split != Split::Leaf {
            order.push(n);
            stack.push(node.right);
            stack.push(node.left);
        }
    }
    let (mut size, mut inner) = (vec![0usize; nodes.len()], vec![0usize; nodes.len()]);
    for &n in order.iter().rev() {
        let node = &nodes[n as usize];
        let (l, r) = (node.left as usize, node.right as usize);
        let left = if leaf(node.left) { 4 } else { length_bytes(size[l]) + size[l] };
        let right = if leaf(node.right) { 4 } else { size[r] };
        size[n as usize] = 4 + split_bytes(node, columns) + left + right;
        inner[n as usize] = 1 + inner[l] + inner[r];
    }
    let mut out = Vec::with_capacity(size[0]);
    let mut aux = Vec::with_capacity(order.len() * AUX_BYTES);
    let mut stack = vec![0u32];
    while let Some(n) = stack.pop() {
        let node = &nodes[n as usize];
        if node.split == Split::Leaf {
            out.extend(node.value.to_le_bytes());
            continue;
        }
        let small = is_small(node, columns);
        let column = u16::try_from(node.column).ok().filter(|c| *c != WHOLE_TREE_IS_A_LEAF);
        let column = column.ok_or("a MOJO has room for 65,534 columns, and the model has more")?;
        let kind = match &node.split {
            Split::Set { .. } if small => SMALL_SET,
            Split::Set { .. } => SET,
            _ => 0,
        };
        let length = if leaf(node.left) { LEFT_IS_LEAF } else { length_bytes(size[node.left as usize]) as u8 - 1 };
        out.push(kind | length | if leaf(node.right) { RIGHT_IS_LEAF } else { 0 });
        out.extend(column.to_le_bytes());
        out.push(match (&node.split, node.missing_left) {
            (Split::Missing, _) => MISSING_RIGHT_REST_LEFT,
            (_, true) => MISSING_LEFT,
            (_, false) => MISSING_RIGHT,
        });
        match &node.split {
            Split::Less(t) => out.extend(t.to_le_bytes()),
            Split::Set { offset, bits } => {
                let mut packed = vec![0u8; if small { 4 } else { bits.len().div_ceil(8) }];
                for (i, _) in bits.iter().enumerate().filter(|(_, b)| **b) {
                    packed[i / 8] |= 1 << (i % 8);
                }
                if !small {
                    let offset = u16::try_from(*offset).map_err(|_| "a MOJO has room for 65,535 levels, and a column has more")?;
                    out.extend(offset.to_le_bytes());
                    out.extend((bits.len() as i32).to_le_bytes());
                }
                out.extend(packed);
            }
            _ => {}
        }
        if !leaf(node.left) {
            let bytes = (size[node.left as usize] as u32).to_le_bytes();
            out.extend(&bytes[..length_bytes(size[node.left as usize])]);
        }
        stack.push(node.right);
        stack.push(node.left);
        let (l, r) = (&nodes[node.left as usize], &nodes[node.right as usize]);
        aux.extend((n as i32).to_le_bytes());
        aux.extend((inner[node.left as usize] as i32).to_le_bytes());
        for v in [l.weight as f32, r.weight as f32, l.value, r.value, 0.0, 0.0] {
            aux.extend(v.to_le_bytes());
        }
        aux.extend((node.left as i32).to_le_bytes());
        aux.extend((node.right as i32).to_le_bytes());
    }
    Ok((out, aux))
}

/// A reader of bytes that knows where it stands.
struct Bytes<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(n).filter(|e| *e <= self.all.len());
        let end = end.ok_or_else(|| format!("the tree ends at byte {} in the middle of a node", self.all.len()))?;
        let out = &self.all[self.at..end];
        self.at = end;
        Ok(out)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(self.take(N)?.try_into().expect("as long as asked"))
    }
}

/// What comes next while reading in pre-order.
struct Next {
    parent: usize,
    right: bool,
    leaf: bool,
    depth: usize,
    /// Where the parent says it begins.
    at: Option<usize>,
}

pub(super) fn decode(blob: &[u8], aux: &[u8], columns: &[Column]) -> Result<Tree, String> {
    let mut b = Bytes { all: blob, at: 0 };
    let empty = |weight: f64| Node { split: Split::Leaf, column: 0, missing_left: false, left: 0, right: 0, value: 0.0, weight, gain: 0.0 };
    let mut nodes: Vec<Node> = vec![];
    if blob.len() >= 3 && blob[1..3] == WHOLE_TREE_IS_A_LEAF.to_le_bytes() {
        b.take(3)?;
        return Ok(Tree { nodes: vec![Node { value: f32::from_le_bytes(b.array()?), ..empty(0.0) }] });
    }
    let weights: Vec<(f64, f64)> = aux
        .chunks_exact(AUX_BYTES)
        .map(|r| {
            let f = |at: usize| f64::from(f32::from_le_bytes(r[at..at + 4].try_into().expect("four bytes")));
            (f(8), f(12))
        })
        .collect();
    // Which record of weights a node's children find.
    let (mut records, mut inner) = (vec![], 0);
    let mut stack = vec![Next { parent: usize::MAX, right: false, leaf: false, depth: 0, at: None }];
    while let Some(next) = stack.pop() {
        if next.at.is_some_and(|at| at != b.at) {
            return Err("a left subtree is not as long as the tree says".into());
        }
        if next.depth > DEPTH_MAX {
            return Err(format!("the tree is deeper than {DEPTH_MAX} levels"));
        }
        let me = nodes.len();
        let mut weight = 0.0;
        if let Some(parent) = nodes.get_mut(next.parent) {
            *(if next.right { &mut parent.right } else { &mut parent.left }) = me as u32;
            let (l, r) = weights.get(records[next.parent]).copied().unwrap_or_default();
            weight = if next.right { r } else { l };
        } else if let Some((l, r)) = weights.first() {
            weight = l + r;
        }
        records.push(inner);
        if next.leaf {
            nodes.push(Node { value: f32::from_le_bytes(b.array()?), ..empty(weight) });
            continue;
        }
        let [kind] = b.array()?;
        let column = u16::from_le_bytes(b.array()?);
        let levels = columns.get(column as usize).ok_or_else(|| format!("a node splits column {column} of {}", columns.len()))?;
        let [direction] = b.array()?;
        let split = match (direction, kind & 0x0C) {
            (MISSING_RIGHT_REST_LEFT, _) => Split::Missing,
            (2..=5, 0) => Split::Less(f32::from_le_bytes(b.array()?)),
            (2..=5, k @ (SMALL_SET | SET)) => {
                let (offset, bits) = match k {
                    SMALL_SET => (0, 32),
                    _ => (u32::from(u16::from_le_bytes(b.array()?)), i32::from_le_bytes(b.array()?)),
                };
                let bits = usize::try_from(bits).map_err(|_| "a set of levels has a negative size")?;
                let packed = b.take(bits.div_ceil(8))?;
                let count = levels.domain.as_ref().map_or(bits, |d| bits.min(d.len().saturating_sub(offset as usize)));
                Split::Set { offset, bits: (0..count).map(|i| packed[i / 8] >> (i % 8) & 1 == 1).collect() }
            }
            (d, k) => return Err(format!("a node has the split kind {k} with the missing-value direction {d}")),
        };
        let left_leaf = kind & LEFT_IS_LEAF == LEFT_IS_LEAF;
        let left_bytes = if left_leaf {
            4
        } else {
            let mut four = [0u8; 4];
            let n = (kind & 3) as usize + 1;
            four[..n].copy_from_slice(b.take(n)?);
            u32::from_le_bytes(four) as usize
        };
        let right_leaf = kind & RIGHT_IS_LEAF == RIGHT_IS_LEAF;
        let right_at = b.at.checked_add(left_bytes).ok_or("a subtree is longer than memory")?;
        let depth = next.depth + 1;
        stack.push(Next { parent: me, right: true, leaf: right_leaf, depth, at: Some(right_at) });
        stack.push(Next { parent: me, right: false, leaf: left_leaf, depth, at: None });
        nodes.push(Node { split, column: u32::from(column), missing_left: matches!(direction, 2 | 4), ..empty(weight) });
        inner += 1;
    }
    if b.at != blob.len() {
        return Err(format!("the tree has {} bytes after its last node", blob.len() - b.at));
    }
    Ok(Tree { nodes })
}

pub(super) fn read_calibration(parts: &Parts) -> Result<Option<Calibration>, String> {
    Ok(match parts.text("calib_method") {
        Some("isotonic") => Some(Calibration::Isotonic(read_isotonic(parts)?)),
        // Files of before the second method do not name the first.
        method if method == Some("platt") || parts.text("calib_glm_beta").is_some() => match parts.list("calib_glm_beta")?[..] {
            [slope, intercept] => Some(Calibration::Platt { slope, intercept }),
            ref other => return Err(format!("its calibration has {} coefficients instead of 2", other.len())),
        },
        None => None,
        Some(other) => return Err(format!("its probabilities are calibrated by '{other}', which is not known")),
    })
}

pub fn read(parts: &Parts, about: &About, columns: &[Column]) -> Result<TreeEnsemble, String> {
    let version = parts.real("mojo_version")?;
    if !(1.2..=1.4).contains(&version) {
        return Err(format!("it has version {version} of the tree format; ochre reads 1.20 to 1.40"));
    }
    let (trees, per_class) = (parts.count("n_trees")?, parts.count("n_trees_per_class")?);
    let classes = parts.count("n_classes")?.max(1);
    if per_class > classes || per_class == 0 || trees.saturating_mul(per_class) > 10_000_000 {
        return Err(format!("it claims {trees} trees for {per_class} of {classes} classes"));
    }
    let boosted = about.full_name == "Gradient Boosting Machine";
    let link = match (boosted, classes) {
        (true, n) if n > 2 || about.family == "multinomial" => TreeLink::Softmax,
        (true, _) => match (parts.text("link_function"), about.family.as_str()) {
            (Some("identity"), _) => TreeLink::Identity,
            (Some("logit"), _) | (None, "bernoulli" | "quasibinomial" | "modified_huber") => TreeLink::Logit,
            (Some("log"), _) | (None, "poisson" | "gamma" | "tweedie") => TreeLink::Log,
            (None, _) => TreeLink::Identity,
            (Some(other), _) => return Err(format!("its link function '{other}' is not known")),
        },
        (false, 1) if about.full_name == "Isolation Forest" => TreeLink::PathLength,
        (false, 2) if about.full_name == "Uplift Distributed Random Forest" && per_class == 2 => TreeLink::Uplift,
        (false, 1) => TreeLink::Mean,
        (false, 2) if per_class == 1 => TreeLink::FirstShare,
        (false, _) => TreeLink::Shares,
    };
    let init = if boosted { parts.real("init_f")? } else { 0.0 };
    let mut all = vec![];
    for t in 0..trees {
        let mut group = vec![];
        for c in 0..per_class {
            let name = format!("trees/t{c:02}_{t:03}");
            let tree = match parts.blobs.get(&format!("{name}.bin")) {
                None => Tree::default(),
                Some(blob) => {
                    let aux = parts.blobs.get(&format!("{name}_aux.bin")).map_or(&[][..], Vec::as_slice);
                    decode(blob, aux, columns).map_err(|e| format!("{name}.bin is damaged: {e}"))?
                }
            };
            group.push(tree);
        }
        all.push(group);
    }
    let isolated = link == TreeLink::PathLength;
    let lengths = if isolated { [parts.real("max_path_length")?, parts.real("min_path_length")?] } else { [0.0; 2] };
    let calibration = read_calibration(parts)?;
    let mut correction = vec![];
    if parts.flag("balance_classes") && classes > 1 {
        correction = parts.list_or_empty("class_correction")?;
        let (prior, seen) = (parts.list_or_empty("prior_class_distrib")?, parts.list_or_empty("model_class_distrib")?);
        if correction.is_empty() && prior != seen {
            correction = prior.iter().zip(&seen).map(|(p, s)| if *p > 0.0 && *s > 0.0 { p / s } else { 1.0 }).collect();
        }
        if !correction.is_empty() && correction.len() != classes {
            return Err(format!("its shares of classes are {}, but it has {classes} classes", correction.len()));
        }
    }
    Ok(TreeEnsemble { link, init, classes, trees: all, lengths, calibration, correction, single: false })
}
