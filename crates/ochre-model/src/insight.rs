//! What tree models tell about single rows: the leaves they come to, predictions tree by tree, how often columns decided, and
//! what each column contributed.

use crate::adapt::{self, Adapted};
use crate::{Category, Model};
use ochre_core::{CHUNK_ROWS, Column, Error, Frame, Kind, Node, Result};
use ochre_score::{Explainer, LANES, Scorer, Split, TreeEnsemble, TreeLink};
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;

/// How contributions are shown.
#[derive(Clone, Debug, Default)]
pub struct Contributions {
    /// Only so many of the largest and of the smallest, with their names; 0 and 0 for all columns. Negative for all.
    pub top: i32,
    pub bottom: i32,
    /// Compare sizes without signs.
    pub absolute: bool,
}

#[derive(Clone)]
pub enum Insight {
    LeafPaths,
    LeafNumbers,
    Staged,
    Frequencies,
    Contributions(Contributions),
    Against(crate::background::Against),
    /// Which trees each row of the training data was drawn for.
    Drawn,
}

impl Model {
    /// For each row its number, and for each round of trees whether the row was drawn: the draws are made again.
    fn drawn(&self, node: &Node, trees: &TreeEnsemble, rows: usize) -> Result<Frame> {
        let parameter = |name: &str| self.parameters.iter().find(|p| p["name"] == name).map(|p| &p["actual_value"]);
        let rate = parameter("sample_rate").and_then(|v| v.as_f64()).unwrap_or(1.0);
        let by_class = parameter("sample_rate_per_class").is_some_and(|v| v.as_array().is_some_and(|a| !a.is_empty()));
        if by_class {
            return Err(Error::Unsupported(
                "row_to_tree_assignment with sample_rate_per_class is not supported by this version of ochre".into(),
            ));
        }
        let seed = parameter("seed").and_then(|v| v.as_i64());
        let seed =
            seed.ok_or_else(|| Error::invalid(format!("model {} does not tell its seed, so draws cannot be made again", self.key)))?;
        let mut rng = ochre_core::Rng::new(seed);
        let domain = Arc::new(vec!["0".to_string(), "1".to_string()]);
        let mut names = vec!["row_id".to_string()];
        let mut columns = vec![Column::from_f64(&node.ledger, &(0..rows).map(|r| r as f64).collect::<Vec<_>>())?];
        for t in 0..trees.trees.len() {
            let taken = ochre_core::rng::draw_rows(0..rows, |_| if rate < 1.0 { rate } else { 2.0 }, rng.next_i64());
            names.push(format!("tree_{}", t + 1));
            let flags: Vec<f64> = taken.into_iter().map(f64::from).collect();
            columns.push(Column::numeric(&node.ledger, Kind::Enum(domain.clone()), &flags)?);
        }
        Frame::new(names, columns)
    }

    /// For each row and each of some rules, 1 where the rule holds. A name may list rules that say the same.
    pub fn rules(&self, node: &Node, frame: &Frame, wanted: &[String]) -> Result<Frame> {
        let derived = match &self.scorer {
            Scorer::Glm(m) => m.derived.as_slice(),
            _ => &[],
        };
        let place = |name: &str| {
            let first = name.split(',').next().unwrap_or_default().trim();
            derived.iter().find_map(|d| match d {
                ochre_score::Derived::Leaf { names, .. } | ochre_score::Derived::Rules { names, .. } => {
                    names.iter().position(|n| n == first).map(|code| (d, code as f64))
                }
                _ => None,
            })
        };
        let found = wanted
            .iter()
            .map(|n| {
                place(n).ok_or_else(|| Error::invalid(format!("model {} has no rule '{n}'; rule_importance lists its rules", self.key)))
            })
            .collect::<Result<Vec<_>>>()?;
        let data = adapt::adapt(frame, &self.predictors)?;
        node.runner.install(|| {
            let values = rows(&data, found.len(), |columns, row, out| {
                for (o, (d, code)) in out.iter_mut().zip(&found) {
                    *o = f64::from(u8::from(d.value(columns, row) == *code));
                }
            })?;
            frame_of(node, wanted.to_vec(), &values)
        })
    }

    /// The same model of trees, whose nodes weigh what comes to them of another frame: contributions then explain it against
    /// those rows. Also tells of nodes that no row comes to.
    pub fn with_tree_weights(&self, node: &Node, frame: &Frame, weights_column: &str) -> Result<(Model, Option<String>)> {
        let Scorer::Trees(trees) = &self.scorer else {
            return Err(Error::invalid(format!(
                "model {} ({}) has no trees whose weights could be updated",
                self.key, self.info.full_name
            )));
        };
        let weights = frame.by_name(weights_column);
        let weights = weights.ok_or_else(|| Error::invalid(format!("Input frame doesn't contain weights column `{weights_column}`")))?;
        let data = adapt::adapt(frame, &self.predictors)?;
        let _room = node.ledger.reserve("columns of a frame that weighs trees", (data.rows * (data.sources.len() + 1) * 8) as u64)?;
        let weights = weights.to_f64()?;
        let columns = data.sources.iter().map(|s| s.all(data.rows)).collect::<Result<Vec<_>>>()?;
        let views: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
        let mut trees = trees.clone();
        node.runner.install(|| {
            trees.trees.par_iter_mut().flatten().filter(|t| !t.nodes.is_empty()).for_each(|tree| {
                let mut sums = vec![0.0; tree.nodes.len()];
                for (row, w) in weights.iter().enumerate().filter(|(_, w)| !w.is_nan()) {
                    let mut at = 0;
                    loop {
                        sums[at] += w;
                        let n = &tree.nodes[at];
                        if n.split == Split::Leaf {
                            break;
                        }
                        at = if tree.goes_right(n, &views, row) { n.right } else { n.left } as usize;
                    }
                }
                tree.nodes.iter_mut().zip(sums).for_each(|(n, w)| n.weight = w);
            });
        });
        let empty = |t: &ochre_score::Tree| t.nodes.iter().any(|n| n.weight == 0.0);
        let first = trees.trees.iter().enumerate().find_map(|(i, g)| g.iter().position(empty).map(|k| (i + 1, k + 1)));
        let told = first.map(|(i, k)| format!("Some of the updated nodes have zero weights (eg.: tree #{i}, class #{k})."));
        Ok((Model { scorer: Scorer::Trees(trees), ..self.copy(self.key.clone()) }, told))
    }

    pub fn insight(&self, node: &Node, frame: &Frame, wanted: &Insight) -> Result<Frame> {
        if let Insight::Against(how) = wanted {
            return self.contributions_against(node, frame, how);
        }
        let Scorer::Trees(trees) = &self.scorer else {
            let mend = match (wanted, &self.scorer) {
                (Insight::Contributions(_), Scorer::Glm(_)) => "; contributions of a generalized linear model need a background_frame",
                _ => "",
            };
            return Err(Error::invalid(format!("model {} is not made of trees, so it cannot tell this{mend}", self.key)));
        };
        let data = adapt::adapt(frame, &self.predictors)?;
        node.runner.install(|| match wanted {
            Insight::LeafPaths => self.leaf_paths(node, trees, &data),
            Insight::LeafNumbers => {
                let names = tree_names(trees);
                let values = rows(&data, names.len(), |columns, row, out| {
                    for (slot, tree) in out.iter_mut().zip(trees.trees.iter().flatten().filter(|t| !t.nodes.is_empty())) {
                        let leaf = tree.leaf(columns, row);
                        *slot = tree.nodes.iter().position(|n| std::ptr::eq(n, leaf)).unwrap_or(0) as f64;
                    }
                })?;
                frame_of(node, names, &values)
            }
            Insight::Drawn => self.drawn(node, trees, frame.rows()),
            Insight::Staged => self.staged(node, trees, &data),
            Insight::Frequencies => {
                let names: Vec<String> = self.predictors.iter().map(|p| p.name.clone()).collect();
                let values = rows(&data, names.len(), |columns, row, out| {
                    for tree in trees.trees.iter().flatten().filter(|t| !t.nodes.is_empty()) {
                        let mut at = &tree.nodes[0];
                        while at.split != Split::Leaf {
                            out[at.column as usize] += 1.0;
                            at = &tree.nodes[if tree.goes_right(at, columns, row) { at.right } else { at.left } as usize];
                        }
                    }
                })?;
                frame_of(node, names, &values)
            }
            Insight::Contributions(how) => self.contributions(node, trees, &data, how),
            Insight::Against(_) => unreachable!("answered above"),
        })
    }

    fn leaf_paths(&self, node: &Node, trees: &TreeEnsemble, data: &Adapted) -> Result<Frame> {
        let mut names = tree_names(trees).into_iter();
        let (mut shown, mut columns) = (vec![], vec![]);
        for tree in trees.trees.iter().flatten().filter(|t| !t.nodes.is_empty()) {
            // The path to each leaf, by its place among the nodes.
            let mut paths = vec![String::new(); tree.nodes.len()];
            for (i, n) in tree.nodes.iter().enumerate().filter(|(_, n)| n.split != Split::Leaf) {
                paths[n.left as usize] = format!("{}L", paths[i]);
                paths[n.right as usize] = format!("{}R", paths[i]);
            }
            let leaves = tree.nodes.iter().enumerate().filter(|(_, n)| n.split == Split::Leaf).map(|(i, _)| i);
            let domain: Vec<String> = leaves.map(|i| paths[i].clone()).collect::<BTreeSet<_>>().into_iter().collect();
            let code: Vec<f64> = paths.iter().map(|p| domain.binary_search(p).map_or(f64::NAN, |i| i as f64)).collect();
            let values = rows(data, 1, |columns, row, out| {
                let leaf = tree.leaf(columns, row);
                out[0] = tree.nodes.iter().position(|n| std::ptr::eq(n, leaf)).map_or(f64::NAN, |i| code[i]);
            })?;
            shown.extend(names.next());
            columns.push(Column::numeric(&node.ledger, Kind::Enum(Arc::new(domain)), &values)?);
        }
        Frame::new(shown, columns)
    }

    /// Predictions of the first tree, the first two, and so on; of the first class for two classes.
    fn staged(&self, node: &Node, trees: &TreeEnsemble, data: &Adapted) -> Result<Frame> {
        if matches!(trees.link, TreeLink::Mean | TreeLink::FirstShare | TreeLink::Shares) {
            return Err(Error::Unsupported(format!("Model type {} doesn't support Staged Predictions.", self.info.stem)));
        }
        let per_round = if trees.link == TreeLink::Softmax { trees.classes } else { 1 };
        let names: Vec<String> = (1..=trees.trees.len())
            .flat_map(|t| (1..=per_round).map(move |c| (t, c)))
            .map(|(t, c)| if self.category == Category::Regression { format!("T{t}") } else { format!("T{t}.C{c}") })
            .collect();
        let width = trees.width();
        let values = rows(data, names.len(), |columns, row, out| {
            let mut f = vec![trees.init; per_round];
            let mut p = vec![0.0; width];
            for (group, slot) in trees.trees.iter().zip(out.chunks_mut(per_round)) {
                for (f, tree) in f.iter_mut().zip(group).filter(|(_, t)| !t.nodes.is_empty()) {
                    *f += f64::from(tree.leaf(columns, row).value);
                }
                trees.finish(&f, &mut p);
                slot.copy_from_slice(&p[..per_round]);
            }
        })?;
        frame_of(node, names, &values)
    }

    fn contributions(&self, node: &Node, trees: &TreeEnsemble, data: &Adapted, how: &Contributions) -> Result<Frame> {
        if self.category == Category::Multinomial || trees.link == TreeLink::Shares {
            return Err(Error::Unsupported(
                "Calculating contributions is currently not supported for multinomial models; train one model per class".into(),
            ));
        }
        let p = self.predictors.len();
        let explainer = Explainer::new(trees, p);
        let values = blocks(data, (p + 1, LANES), |columns, rows, out| {
            explainer.contributions(columns, rows, out);
            out.iter_mut().for_each(|v| *v = f64::from(*v as f32));
        })?;
        let names: Vec<String> = self.predictors.iter().map(|p| p.name.clone()).chain(["BiasTerm".to_string()]).collect();
        if how.top == 0 && how.bottom == 0 {
            return frame_of(node, names, &values);
        }
        let count = |n: i32, left: usize| if n < 0 { left } else { (n as usize).min(left) };
        let top = count(how.top, p);
        let bottom = count(how.bottom, p - top);
        let key = |v: f64| if how.absolute { v.abs() } else { v };
        let orders: Vec<Vec<usize>> = values
            .par_chunks(p + 1)
            .map(|row| {
                let mut order: Vec<usize> = (0..p).collect();
                order.sort_by(|a, b| key(row[*b]).total_cmp(&key(row[*a])));
                order
            })
            .collect();
        let mut domain: Vec<String> = names[..p].to_vec();
        domain.sort();
        let code: Vec<f64> = names[..p].iter().map(|n| domain.binary_search(n).map_or(f64::NAN, |i| i as f64)).collect();
        let domain = Arc::new(domain);
        let (mut shown, mut columns) = (vec![], vec![]);
        let places = (0..top).map(|k| ("top", k + 1, k)).chain((0..bottom).map(|k| ("bottom", k + 1, p - 1 - k)));
        for (side, number, place) in places {
            let features: Vec<f64> = orders.iter().map(|o| code[o[place]]).collect();
            let sizes: Vec<f64> = orders.iter().zip(values.chunks(p + 1)).map(|(o, row)| row[o[place]]).collect();
            shown.push(format!("{side}_feature_{number}"));
            columns.push(Column::numeric(&node.ledger, Kind::Enum(domain.clone()), &features)?);
            shown.push(format!("{side}_value_{number}"));
            columns.push(Column::from_f64(&node.ledger, &sizes)?);
        }
        shown.push("BiasTerm".into());
        columns.push(Column::from_f64(&node.ledger, &values.chunks(p + 1).map(|r| r[p]).collect::<Vec<_>>())?);
        Frame::new(shown, columns)
    }
}

/// Trees as columns are named: by number, and by class where there are classes.
fn tree_names(trees: &TreeEnsemble) -> Vec<String> {
    let mut out = vec![];
    for (t, group) in trees.trees.iter().enumerate() {
        for (c, _) in group.iter().enumerate().filter(|(_, t)| !t.nodes.is_empty()) {
            out.push(if trees.classes > 1 { format!("T{}.C{}", t + 1, c + 1) } else { format!("T{}", t + 1) });
        }
    }
    out
}

/// `width` numbers for each row, row by row.
fn rows(data: &Adapted, width: usize, f: impl Fn(&[&[f64]], usize, &mut [f64]) + Sync) -> Result<Vec<f64>> {
    blocks(data, (width, 1), |columns, rows, out| f(columns, rows.start, out))
}

/// `width` numbers for each row, so many rows at once.
fn blocks(
    data: &Adapted,
    (width, size): (usize, usize),
    f: impl Fn(&[&[f64]], std::ops::Range<usize>, &mut [f64]) + Sync,
) -> Result<Vec<f64>> {
    let width = width.max(1);
    let mut out = vec![0.0; data.rows * width];
    out.par_chunks_mut(CHUNK_ROWS * width).enumerate().try_for_each(|(k, slot)| {
        let n = slot.len() / width;
        let columns = data.sources.iter().map(|s| s.chunk(k, n)).collect::<Result<Vec<_>>>()?;
        let views: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
        let parts = slot.par_chunks_mut(width * size).enumerate();
        parts.for_each(|(b, out)| f(&views, b * size..b * size + out.len() / width, out));
        Ok::<(), Error>(())
    })?;
    Ok(out)
}

fn frame_of(node: &Node, names: Vec<String>, values: &[f64]) -> Result<Frame> {
    let width = names.len();
    let columns = (0..width)
        .map(|c| Column::from_f64(&node.ledger, &values.iter().skip(c).step_by(width).copied().collect::<Vec<_>>()))
        .collect::<Result<Vec<_>>>()?;
    Frame::new(names, columns)
}

/// One tree as lists of nodes, level by level; a node is named by its place.
pub struct TreeView {
    pub class: Option<String>,
    pub left: Vec<i32>,
    pub right: Vec<i32>,
    pub thresholds: Vec<f32>,
    pub features: Vec<Option<String>>,
    /// Where missing values go.
    pub missing: Vec<Option<String>>,
    /// Categories of the parent's column that come here.
    pub levels: Vec<Option<Vec<i32>>>,
    /// Values of leaves; of inner nodes the mean that the split above found for them, which the root has not (0) and gradients do
    /// not have (NaN).
    pub predictions: Vec<f32>,
    pub descriptions: Vec<String>,
    pub paths: Vec<String>,
    pub rules: String,
}

/// What the splits above let come to a node, by the columns that they ask for.
#[derive(Clone, Default)]
struct Coming(std::collections::BTreeMap<u32, (bool, Option<Vec<i32>>)>);

impl Coming {
    fn missing(&self, column: u32) -> bool {
        self.0.get(&column).is_none_or(|c| c.0)
    }

    fn levels(&self, column: u32, all: usize) -> Vec<i32> {
        self.0.get(&column).and_then(|c| c.1.clone()).unwrap_or_else(|| (0..all as i32).collect())
    }

    /// Below a split of a column that lets pass these.
    fn with(&self, column: u32, missing: bool, levels: Option<Vec<i32>>) -> Coming {
        let mut below = self.clone();
        let known = below.0.remove(&column);
        let levels = levels.or(known.as_ref().and_then(|k| k.1.clone()));
        below.0.insert(column, (missing && known.is_none_or(|k| k.0), levels));
        below
    }
}

impl Model {
    pub fn tree(&self, number: i32, class: Option<&str>) -> Result<TreeView> {
        let Scorer::Trees(trees) = &self.scorer else {
            return Err(Error::invalid(format!("model {} is not made of trees", self.key)));
        };
        let count = trees.trees.len() as i32;
        if !(0..count).contains(&number) {
            return Err(Error::invalid(format!("Invalid tree index: {number}. Tree index must be in range [0, {}].", count - 1)));
        }
        let group = &trees.trees[number as usize];
        let classes = self.classes();
        let class = class.filter(|c| !c.is_empty());
        let k = match (self.category, class) {
            (Category::Multinomial, c) => classes.iter().position(|x| Some(x.as_str()) == c).ok_or_else(|| {
                Error::invalid(format!(
                    "There is no such tree class. Given categorical level does not exist in response column: {}",
                    c.unwrap_or_default()
                ))
            })?,
            (Category::Binomial, Some(c)) if group.len() == 1 && classes.first().is_some_and(|f| f != c) => {
                return Err(Error::invalid(format!(
                    "For binomial, only one tree class has been built per each iteration: {}",
                    classes.first().map_or("", String::as_str)
                )));
            }
            (Category::Binomial, Some(c)) => classes.iter().position(|x| x == c).unwrap_or(0).min(group.len() - 1),
            (Category::Regression, Some(_)) => return Err(Error::invalid("There are no tree classes for regression.")),
            _ => 0,
        };
        let tree = group.get(k).filter(|t| !t.nodes.is_empty());
        let tree = tree.ok_or_else(|| Error::invalid("no tree was built for this class: training had no rows of it"))?;
        Ok(self.view(tree, (!classes.is_empty()).then(|| classes[k].clone())))
    }

    fn view(&self, tree: &ochre_score::Tree, class: Option<String>) -> TreeView {
        // Level by level: each node's place among the nodes that are shown.
        let order = tree.downward();
        let n = order.len();
        let mut place = vec![-1i32; tree.nodes.len()];
        order.iter().enumerate().for_each(|(i, o)| place[*o] = i as i32);
        let mut v = TreeView {
            class,
            left: vec![-1; n],
            right: vec![-1; n],
            thresholds: vec![f32::NAN; n],
            features: vec![None; n],
            missing: vec![None; n],
            levels: vec![None; n],
            predictions: vec![],
            descriptions: vec![],
            paths: vec![String::new(); n],
            rules: String::new(),
        };
        let mut came = vec![Coming::default(); n];
        // Trees that were grown on gradients have no predictions but in their leaves.
        let inner = matches!(&self.scorer, Scorer::Trees(t) if t.single).then_some(f32::NAN);
        for (i, &o) in order.iter().enumerate() {
            let node = &tree.nodes[o];
            v.predictions.push(match node.split {
                Split::Leaf => node.value,
                _ if i == 0 => 0.0,
                _ => inner.unwrap_or(node.value),
            });
            if node.split == Split::Leaf {
                let path = if i == 0 { String::new() } else { format!("If ({}) -> ", v.paths[i]) };
                v.paths[i] = format!("{path}Prediction: {}", node.value);
                v.descriptions.push(format!("Node {i} is a leaf that predicts {}.", node.value));
                continue;
            }
            let predictor = &self.predictors[node.column as usize];
            let (l, r) = (place[node.left as usize] as usize, place[node.right as usize] as usize);
            (v.left[i], v.right[i]) = (l as i32, r as i32);
            v.features[i] = Some(predictor.name.clone());
            v.missing[i] = came[i].missing(node.column).then(|| if node.missing_left { "LEFT" } else { "RIGHT" }.into());
            let name = &predictor.name;
            let missing = |here: bool| if here { format!(" or {name} is NaN") } else { String::new() };
            let (left, right) = match &node.split {
                Split::Less(t) | Split::Below(t) | Split::SparseBelow(t) => {
                    v.thresholds[i] = *t;
                    if let Some(domain) = &predictor.domain {
                        // Neighbouring categories that share a bin are cut like numbers.
                        let (a, b) = came[i].levels(node.column, domain.len()).into_iter().partition(|c| (*c as f32) < *t);
                        (v.levels[l], v.levels[r]) = (Some(a), Some(b));
                    }
                    (format!("{name} < {t}{}", missing(node.missing_left)), format!("{name} >= {t}{}", missing(!node.missing_left)))
                }
                Split::Set { offset, bits } => {
                    let label = |c: &i32| predictor.domain.as_ref().and_then(|d| d.get(*c as usize)).cloned();
                    let right = |c: &i32| usize::try_from(c - *offset as i32).ok().and_then(|i| bits.get(i)).copied();
                    let here = came[i].levels(node.column, predictor.domain.as_ref().map_or(0, |d| d.len()));
                    let side = |way: bool| here.iter().copied().filter(|c| right(c) == Some(way)).collect::<Vec<i32>>();
                    let (a, b) = (side(false), side(true));
                    let words = |c: &[i32]| c.iter().filter_map(label).collect::<Vec<_>>().join(" ");
                    let texts = (
                        format!("{name} is in [ {} ]{}", words(&a), missing(node.missing_left)),
                        format!("{name} is in [ {} ]{}", words(&b), missing(!node.missing_left)),
                    );
                    (v.levels[l], v.levels[r]) = (Some(a), Some(b));
                    texts
                }
                _ => (format!("{name} is not NaN"), format!("{name} is NaN")),
            };
            let (sent, taken) = match node.split {
                Split::Missing => ([false, true], [None, None]),
                _ => ([node.missing_left, !node.missing_left], [v.levels[l].clone(), v.levels[r].clone()]),
            };
            for ((child, missing), levels) in [l, r].into_iter().zip(sent).zip(taken) {
                came[child] = came[i].with(node.column, missing, levels);
            }
            let so_far = if i == 0 { String::new() } else { format!("{}) -> If (", v.paths[i]) };
            (v.paths[l], v.paths[r]) = (format!("{so_far} {left} "), format!("{so_far} {right} "));
            v.descriptions.push(format!("Node {i} splits on column '{name}': {left} to node {l}, {right} to node {r}."));
        }
        for i in 0..n {
            if v.left[i] >= 0 {
                v.paths[i] = String::new();
            }
        }
        v.rules = v.paths.iter().filter(|p| !p.is_empty()).cloned().collect::<Vec<_>>().join("\n");
        v
    }
}
