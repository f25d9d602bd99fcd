//! XGBoost models in a MOJO: the package's own binary format of trees or linear weights, over one-hot encoded features.

use super::{About, Parts};
use crate::file::{Column, ModelFile};
use crate::trees::{Node, Split, Tree, TreeEnsemble, TreeLink};
use crate::{GlmScorer, LinkFunction, Scorer};

const MAGIC: &[u8] = b"binf";
/// The version of the package that wrote this layout.
const VERSION: [u32; 2] = [1, 6];
const DEFAULT_LEFT: u32 = 1 << 31;
/// A prediction of one half, where boosting starts.
const BASE: f32 = 0.5;

fn objective(link: TreeLink, family: &str) -> &'static str {
    match (link, family) {
        (TreeLink::Logit, _) => "binary:logistic",
        (TreeLink::Softmax, _) => "multi:softprob",
        (TreeLink::Log, "gamma") => "reg:gamma",
        (TreeLink::Log, "tweedie") => "reg:tweedie",
        (TreeLink::Log, _) => "count:poisson",
        _ => "reg:squarederror",
    }
}

fn link_of(objective: &str) -> Result<TreeLink, String> {
    Ok(match objective {
        "binary:logistic" | "reg:logistic" => TreeLink::Logit,
        "multi:softprob" => TreeLink::Softmax,
        "count:poisson" | "reg:gamma" | "reg:tweedie" => TreeLink::Log,
        "reg:squarederror" | "reg:linear" => TreeLink::Identity,
        other => return Err(format!("it has the objective '{other}', which this version of ochre does not score")),
    })
}

/// The margin of a prediction.
fn margin(link: TreeLink, p: f32) -> f64 {
    match link {
        TreeLink::Logit => f64::from((p / (1.0 - p)).ln()),
        TreeLink::Log => f64::from(p.ln()),
        _ => f64::from(p),
    }
}

/// First feature of each column, and their number; categories must come first.
fn places(columns: &[Column]) -> Result<(Vec<usize>, usize), String> {
    let (mut out, mut at, mut numbers) = (vec![], 0, false);
    for c in columns {
        out.push(at);
        numbers |= c.domain.is_none();
        if numbers && c.domain.is_some() {
            return Err(format!("column '{}' is categorical but comes after numbers", c.name));
        }
        at += c.domain.as_ref().map_or(1, |d| d.len() + 1);
    }
    Ok((out, at))
}

struct Out(Vec<u8>);

impl Out {
    fn u32(&mut self, v: u32) {
        self.0.extend(v.to_le_bytes());
    }
    fn f32(&mut self, v: f32) {
        self.0.extend(v.to_le_bytes());
    }
    fn text(&mut self, t: &str) {
        self.0.extend((t.len() as u64).to_le_bytes());
        self.0.extend(t.as_bytes());
    }
    fn zeros(&mut self, words: usize) {
        self.0.extend(std::iter::repeat_n(0, words * 4));
    }
}

/// What both kinds of booster have: facts in `model.ini`, names of features, the head of the blob.
fn head(
    file: &ModelFile,
    parts: &mut Parts,
    booster: &str,
    objective: &str,
    classes: usize,
    rounds: usize,
    sparse: bool,
) -> Result<Out, String> {
    let (places, features) = places(&file.predictors)?;
    let cats = file.predictors.iter().filter(|c| c.domain.is_some()).count();
    parts.put("nums", file.predictors.len() - cats);
    parts.put("cats", cats);
    let mut offsets = places[..cats].to_vec();
    offsets.push(places.get(cats).copied().unwrap_or(features));
    parts.put("cat_offsets", super::integers(&offsets));
    parts.put("use_all_factor_levels", true);
    parts.put("sparse", sparse);
    parts.put("booster", booster);
    parts.put("ntrees", rounds);
    parts.put("use_java_scoring_by_default", true);
    parts.put("has_offset", file.offset.is_some());
    let mut map = String::new();
    let mut at = 0;
    for c in &file.predictors {
        match &c.domain {
            Some(d) => {
                for level in d.iter().map(String::as_str).chain(["missing(NA)"]) {
                    map += &format!("{at} {}.{level} i\n", c.name);
                    at += 1;
                }
            }
            None => {
                map += &format!("{at} {} q\n", c.name);
                at += 1;
            }
        }
    }
    parts.blobs.insert("feature_map".into(), map.into_bytes());
    let mut out = Out(MAGIC.to_vec());
    out.f32(BASE);
    out.u32(features as u32);
    out.u32(if classes > 2 { classes as u32 } else { 0 });
    out.u32(1);
    out.u32(0);
    out.u32(VERSION[0]);
    out.u32(VERSION[1]);
    out.u32(1);
    out.zeros(26);
    out.text(objective);
    out.text(booster);
    Ok(out)
}

/// The objective's own parameters come last.
fn tail(out: &mut Out, objective: &str, classes: usize) {
    let own = match objective {
        "multi:softprob" => format!("\"softmax_multiclass_param\":{{\"num_class\":\"{classes}\"}}"),
        "count:poisson" => "\"poisson_regression_param\":{\"max_delta_step\":\"0\"}".into(),
        "reg:tweedie" => "\"tweedie_regression_param\":{\"tweedie_variance_power\":\"1.5\"}".into(),
        "reg:gamma" => return tail_text(out, "{\"name\":\"reg:gamma\"}"),
        _ => "\"reg_loss_param\":{\"scale_pos_weight\":\"1\"}".into(),
    };
    tail_text(out, &format!("{{\"name\":\"{objective}\",{own}}}"));
}

fn tail_text(out: &mut Out, json: &str) {
    out.0.extend(1u64.to_le_bytes());
    out.text("objective");
    out.text(json);
}

pub fn write(m: &TreeEnsemble, file: &ModelFile, about: &About, parts: &mut Parts) -> Result<(), String> {
    let objective = objective(m.link, &about.family);
    let base = if file.offset.is_some() { 0.0 } else { margin(m.link, BASE) };
    if m.init != base {
        return Err(format!("its constant {} is not that of the package, {base}", m.init));
    }
    let sparse = m.trees.iter().flatten().flat_map(|t| &t.nodes).any(|n| matches!(n.split, Split::SparseBelow(_)));
    let mut out = head(file, parts, "gbtree", objective, m.classes, m.trees.len(), sparse)?;
    let (places, features) = places(&file.predictors)?;
    let trees: Vec<(usize, &Tree)> = m.trees.iter().flat_map(|g| g.iter().enumerate()).collect();
    out.u32(trees.len() as u32);
    out.u32(1);
    out.zeros(6 + 32);
    for (_, tree) in &trees {
        let nodes = &tree.nodes;
        if nodes.is_empty() {
            return Err("a class without trees has no place in the package's format".into());
        }
        for v in [1, nodes.len() as u32, 0, 0, features as u32, 0] {
            out.u32(v);
        }
        out.zeros(31);
        let mut parent = vec![u32::MAX; nodes.len()];
        for (i, n) in nodes.iter().enumerate().filter(|(_, n)| n.split != Split::Leaf) {
            parent[n.left as usize] = i as u32 | DEFAULT_LEFT;
            parent[n.right as usize] = i as u32;
        }
        for (i, n) in nodes.iter().enumerate() {
            out.u32(parent[i]);
            let place = places.get(n.column as usize).copied().unwrap_or(0) as u32;
            let (feature, threshold, left) = match &n.split {
                Split::Leaf => {
                    out.u32(u32::MAX);
                    out.u32(u32::MAX);
                    out.u32(0);
                    out.f32(n.value);
                    continue;
                }
                Split::Below(t) | Split::SparseBelow(t) => (place, *t, n.missing_left),
                Split::Missing => {
                    let levels = file.predictors[n.column as usize].domain.as_ref().map_or(0, Vec::len);
                    (place + levels as u32, 0.5, true)
                }
                Split::Set { offset: 0, bits } if bits.iter().filter(|b| **b).count() == 1 => {
                    (place + bits.iter().position(|b| *b).unwrap_or(0) as u32, 0.5, true)
                }
                Split::Less(_) | Split::Set { .. } => {
                    return Err("a tree splits in a way that the package's format has no place for".into());
                }
            };
            out.u32(n.left);
            out.u32(n.right);
            out.u32(feature | if left { DEFAULT_LEFT } else { 0 });
            out.f32(threshold);
        }
        for n in nodes {
            for v in [n.gain, n.weight as f32, n.value, 0.0] {
                out.f32(v);
            }
        }
    }
    trees.iter().for_each(|(k, _)| out.u32(*k as u32));
    tail(&mut out, objective, m.classes);
    parts.blobs.insert("boosterBytes".into(), out.0);
    super::trees::write_calibration(m, parts);
    Ok(())
}

/// Linear weights, the margin of one half taken out of the intercept again.
pub fn write_linear(m: &GlmScorer, file: &ModelFile, about: &About, parts: &mut Parts) -> Result<(), String> {
    let link = match m.link {
        LinkFunction::Identity => TreeLink::Identity,
        LinkFunction::Logit => TreeLink::Logit,
        LinkFunction::Softmax => TreeLink::Softmax,
        _ => TreeLink::Log,
    };
    let objective = objective(link, &about.family);
    let mut out = head(file, parts, "gblinear", objective, m.classes, 1, false)?;
    let base = if file.offset.is_some() { 0.0 } else { margin(link, BASE) };
    let width = m.beta.first().map_or(0, Vec::len);
    out.zeros(34);
    out.0.extend(((width * m.beta.len()) as u64).to_le_bytes());
    for i in 0..width {
        for b in &m.beta {
            out.f32((b[i] - if i + 1 == width { base } else { 0.0 }) as f32);
        }
    }
    tail(&mut out, objective, m.classes);
    parts.blobs.insert("boosterBytes".into(), out.0);
    Ok(())
}

/// A reader of bytes that trusts nothing.
struct In<'a>(&'a [u8]);

impl<'a> In<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        let (head, rest) = self.0.split_at_checked(n).ok_or("the booster ends too early")?;
        self.0 = rest;
        Ok(head)
    }
    fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().expect("four bytes")))
    }
    fn f32(&mut self) -> Result<f32, String> {
        Ok(f32::from_bits(self.u32()?))
    }
    fn u64(&mut self) -> Result<u64, String> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into().expect("eight bytes")))
    }
    fn text(&mut self) -> Result<String, String> {
        let n = usize::try_from(self.u64()?).map_err(|_| "a text is longer than memory")?;
        String::from_utf8(self.take(n)?.to_vec()).map_err(|_| "a text of the booster is none".into())
    }
}

pub fn read(parts: &Parts, columns: &[Column]) -> Result<Scorer, String> {
    let blob = parts.blobs.get("boosterBytes").ok_or("the zip holds no boosterBytes")?;
    if !parts.flag("use_all_factor_levels") {
        return Err("its categories leave out a level, which this version of ochre does not read".into());
    }
    let sparse = parts.flag("sparse");
    let (places, features) = places(columns)?;
    let mut b = In(blob.strip_prefix(MAGIC).unwrap_or(blob));
    let base = b.f32()?;
    let (count, classes) = (b.u32()? as usize, b.u32()? as usize);
    if count > features {
        return Err(format!("the booster has {count} features, the columns make {features}"));
    }
    b.take(4 * 31)?;
    let (objective, booster) = (b.text()?, b.text()?);
    let link = link_of(&objective)?;
    let groups = if link == TreeLink::Softmax { classes } else { 1 };
    if groups == 0 || groups > 1 << 20 {
        return Err(format!("the booster claims {groups} classes"));
    }
    let init = if parts.flag("has_offset") { 0.0 } else { margin(link, base) };
    let classes = if link == TreeLink::Logit { 2 } else { groups };
    if booster == "gblinear" {
        b.take(4 * 34)?;
        let n = b.u64()?;
        if n != (features as u64 + 1) * groups as u64 {
            return Err(format!("the booster has {n} weights for {features} features and {groups} classes"));
        }
        let mut beta = vec![vec![]; groups];
        for i in 0..n as usize {
            let w = f64::from(b.f32()?);
            beta[i % groups].push(if i / groups == features { w + init } else { w });
        }
        return Ok(Scorer::Glm(GlmScorer {
            link: match link {
                TreeLink::Identity => LinkFunction::Identity,
                TreeLink::Logit => LinkFunction::Logit,
                TreeLink::Softmax => LinkFunction::Softmax,
                _ => LinkFunction::Log,
            },
            classes,
            levels: columns.iter().filter_map(|c| c.domain.as_ref()).map(|d| (d.len() + 1, d.len())).collect(),
            all_levels: true,
            means: columns.iter().filter(|c| c.domain.is_none()).map(|_| 0.0).collect(),
            beta,
            link_power: 0.0,
            path: vec![],
            derived: vec![],
            places: vec![],
            smooths: vec![],
            silent: vec![],
            covariance: vec![],
            skips_missing: false,
            without_offset: false,
        }));
    }
    if booster != "gbtree" && booster != "dart" {
        return Err(format!("it has the booster '{booster}', which this version of ochre does not score"));
    }
    let n = b.u32()? as usize;
    b.take(4 * 39)?;
    let mut trees = vec![];
    for _ in 0..n {
        trees.push(tree(&mut b, columns, &places, sparse)?);
    }
    let groups_of = (0..n).map(|_| b.u32()).collect::<Result<Vec<_>, _>>()?;
    if booster == "dart" {
        if b.u64()? != n as u64 {
            return Err("the booster has not one weight for each tree".into());
        }
        for t in &mut trees {
            let w = b.f32()?;
            t.nodes.iter_mut().for_each(|n| n.value *= w);
        }
    }
    let mut rounds: Vec<Vec<Tree>> = vec![];
    for (i, (t, k)) in trees.into_iter().zip(groups_of).enumerate() {
        if k as usize != i % groups {
            return Err(format!("tree {i} is for class {k}, out of turn"));
        }
        if i % groups == 0 {
            rounds.push(vec![]);
        }
        rounds.last_mut().expect("just begun").push(t);
    }
    let calibration = super::trees::read_calibration(parts)?;
    Ok(Scorer::Trees(TreeEnsemble { link, init, classes, trees: rounds, lengths: [0.0; 2], calibration, correction: vec![], single: true }))
}

fn tree(b: &mut In<'_>, columns: &[Column], places: &[usize], sparse: bool) -> Result<Tree, String> {
    b.u32()?;
    let n = b.u32()? as usize;
    b.take(4 * 35)?;
    let mut raw = In(b.take(n.checked_mul(20).ok_or("a tree is longer than memory")?)?);
    let mut stats = In(b.take(n * 16)?);
    let raw = (0..n).map(|_| Ok((raw.u32()?, raw.u32()?, raw.u32()?, raw.u32()?, raw.f32()?))).collect::<Result<Vec<_>, String>>()?;
    let known = (0..n)
        .map(|_| {
            let (gain, weight) = (stats.f32()?, stats.f32()?);
            stats.take(8)?;
            Ok((f64::from(weight), gain))
        })
        .collect::<Result<Vec<_>, String>>()?;
    if n == 0 {
        return Err("a tree has no nodes".into());
    }
    // From the root down, so that nodes that were cut off are left behind, and no node is met twice.
    let mut nodes: Vec<Node> = vec![];
    let mut stack = vec![(0usize, usize::MAX, false)];
    while let Some((at, parent, right)) = stack.pop() {
        if nodes.len() >= n {
            return Err("a tree runs in a circle".into());
        }
        let me = nodes.len();
        if let Some(p) = nodes.get_mut(parent) {
            *(if right { &mut p.right } else { &mut p.left }) = me as u32;
        }
        let (_, left, other, index, value) = *raw.get(at).ok_or("a node has a child that is not there")?;
        let (weight, gain) = known[at];
        let mut node = Node { split: Split::Leaf, column: 0, missing_left: false, left: 0, right: 0, value: 0.0, weight, gain };
        if left == u32::MAX {
            node.value = value;
        } else {
            let feature = (index & !DEFAULT_LEFT) as usize;
            let column = places.partition_point(|p| *p <= feature).wrapping_sub(1);
            let c = columns.get(column).ok_or("a node splits a feature that is not there")?;
            node.column = column as u32;
            node.missing_left = index & DEFAULT_LEFT != 0;
            node.split = match &c.domain {
                None if sparse => Split::SparseBelow(value),
                None => Split::Below(value),
                Some(d) => {
                    // The indicator is 1 at this level and 0 elsewhere; in sparse data 0 is missing.
                    let level = feature - places[column];
                    let here = value <= 1.0;
                    let elsewhere = if sparse { !node.missing_left } else { value <= 0.0 };
                    node.missing_left = !(if level == d.len() { here } else { elsewhere });
                    if level == d.len() && here && !elsewhere {
                        Split::Missing
                    } else {
                        Split::Set { offset: 0, bits: (0..d.len()).map(|l| if l == level { here } else { elsewhere }).collect() }
                    }
                }
            };
            stack.push((other as usize, me, true));
            stack.push((left as usize, me, false));
        }
        nodes.push(node);
    }
    Ok(Tree { nodes })
}
