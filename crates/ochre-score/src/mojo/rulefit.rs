//! RuleFit in a MOJO: the conditions of all rules, and a linear model over the rules and the predictors as a MOJO within.
//!
//! The Java library takes a row through the rules of each tree (of each class, when there are more than two), and hands
//! the linear model the name of the rule that holds.

use super::{About, Parts, entries, linear, number, parse};
use crate::file::{Column, ModelFile};
use crate::glm::{Derived, GlmScorer};
use crate::rules::{Condition, Rule, Test, of_tree};
use std::collections::BTreeMap;

/// Rules of one tree, as the file has them.
struct Group {
    names: Vec<String>,
    rules: Vec<Rule>,
}

/// Number of the forest and of the tree of a rule's name, `M0T3N7` or `M0T3N7_class`.
fn place_of(rule: &str) -> Option<(usize, usize)> {
    let (m, rest) = rule.strip_prefix('M')?.split_once('T')?;
    let (t, _) = rest.split_once('N')?;
    Some((m.parse().ok()?, t.parse().ok()?))
}

/// Where a derived predictor stands among the trees: forest, tree, class.
fn address(names: &[String], labels: &[String]) -> Result<(usize, usize, usize), String> {
    let odd = || format!("its rules have names such as '{}', which ochre does not give", names.first().map_or("", String::as_str));
    let first = names.first().ok_or_else(odd)?;
    let (m, t) = place_of(first).ok_or_else(odd)?;
    let class = if labels.len() > 2 {
        let label = first.split_once('_').map(|p| p.1).ok_or_else(odd)?;
        labels.iter().position(|l| l == label).ok_or_else(odd)?
    } else {
        0
    };
    Ok((m, t, class))
}

/// The column that the linear model has for a tree.
fn code_of(m: usize, t: usize, class: usize, many: bool) -> String {
    if many { format!("M{m}T{t}C{class}") } else { format!("M{m}T{t}") }
}

pub fn write(m: &GlmScorer, file: &ModelFile, about: &About, parts: &mut Parts) -> Result<(), String> {
    let labels = file.response.as_ref().and_then(|r| r.domain.clone()).unwrap_or_default();
    let many = labels.len() > 2;
    let classes = if many { labels.len() } else { 1 };
    if let Some((a, b)) = labels
        .iter()
        .enumerate()
        .filter(|_| many)
        .find_map(|(i, a)| labels.iter().enumerate().find(|(j, b)| *j != i && b.ends_with(a.as_str())).map(|(_, b)| (a, b)))
    {
        return Err(format!(
            "the Java library h2o-genmodel takes rules of the class '{b}' for rules of '{a}', with which its name ends; rename one, or \
             save the model instead"
        ));
    }
    let mut groups: BTreeMap<(usize, usize, usize), Group> = BTreeMap::new();
    for d in &m.derived {
        let (names, rules) = match d {
            Derived::Leaf { tree, names } => (names, of_tree(tree, |c| file.predictors[c].domain.as_ref().map_or(0, Vec::len))),
            Derived::Rules { rules, names } => (names, rules.clone()),
            _ => return Err("the MOJO format has no place for derived predictors that are no rules; save the model instead".into()),
        };
        groups.insert(address(names, &labels)?, Group { names: names.clone(), rules });
    }
    let forests = groups.keys().map(|k| k.0 + 1).max().unwrap_or(0);
    let trees = groups.keys().map(|k| k.1 + 1).max().unwrap_or(0);
    let linear_terms = m.places.is_empty() || m.places.iter().any(|p| *p >= m.derived.len());
    // The linear model, with a column for every tree; one that did not split has a single level without effect.
    let mut columns: Vec<Column> = vec![];
    let places: Vec<usize> = if m.places.is_empty() { (0..file.predictors.len()).collect() } else { m.places.clone() };
    for &p in &places {
        columns.push(match m.derived.get(p) {
            Some(Derived::Leaf { names, .. } | Derived::Rules { names, .. }) => {
                let (f, t, k) = address(names, &labels)?;
                Column { name: code_of(f, t, k, many), domain: Some(names.clone()) }
            }
            _ => {
                let c = &file.predictors[p - m.derived.len()];
                Column { name: format!("linear.{}", c.name), domain: c.domain.clone() }
            }
        });
    }
    let mut inner = m.clone();
    (inner.derived, inner.places) = (vec![], vec![]);
    let mut whole: Vec<String> = vec![];
    for f in 0..forests {
        for t in 0..trees {
            for k in 0..classes {
                let name = code_of(f, t, k, many);
                groups.entry((f, t, k)).or_insert_with(|| {
                    // A tree that did not split: one rule, which always holds and has no effect.
                    let only = if many { format!("M{f}T{t}N0_{}", labels[k]) } else { format!("M{f}T{t}N0") };
                    let at = inner.levels.iter().map(|l| l.0 - usize::from(!m.all_levels)).sum::<usize>();
                    columns.insert(inner.levels.len(), Column { name: name.clone(), domain: Some(vec![only.clone()]) });
                    inner.levels.push((1, 0));
                    inner.beta.iter_mut().filter(|_| m.all_levels).for_each(|b| b.insert(at, 0.0));
                    Group { names: vec![only], rules: vec![Rule { conditions: vec![], code: 0 }] }
                });
                whole.push(name);
            }
        }
    }
    if linear_terms {
        whole.extend(file.predictors.iter().map(|p| format!("linear.{}", p.name)));
    }
    if whole.len() != columns.len() {
        return Err("some of its predictors have no coefficient, which the MOJO format has no place for; save the model instead".into());
    }
    let response = file.response.as_ref().map(|r| Column { name: format!("linear.{}", r.name), domain: r.domain.clone() });
    let key = format!("GLM_{}", about.uuid.trim_start_matches('-'));
    let dir = format!("models/GLM/{key}/");
    let nested = ModelFile {
        predictors: columns,
        response: response.clone(),
        offset: None,
        threshold: file.threshold,
        scorer: crate::Scorer::Glm(inner),
    };
    let told = About {
        algorithm: "glm".into(),
        full_name: "Generalized Linear Modeling".into(),
        details: None,
        family: match (labels.len(), about.family.as_str()) {
            (2, _) => "binomial".into(),
            (n, _) if n > 2 => "multinomial".into(),
            _ => "gaussian".into(),
        },
        ..about.clone()
    };
    for (name, bytes) in entries(&nested, &told)? {
        parts.blobs.insert(format!("{dir}{name}"), bytes);
    }
    parts.put("submodel_count", 1);
    parts.put("submodel_key_0", &key);
    parts.put("submodel_dir_0", &dir);
    parts.put("linear_model", &key);
    let label = |c: usize, code: u32| {
        let domain = file.predictors[c].domain.as_deref().unwrap_or_default();
        domain.get(code as usize).cloned().unwrap_or_else(|| code.to_string())
    };
    for f in 0..forests {
        for t in 0..trees {
            let of: Vec<&Group> = (0..classes).filter_map(|k| groups.get(&(f, t, k))).collect();
            parts.put(&format!("num_rules_M{f}T{t}"), of.iter().map(|g| g.rules.len()).sum::<usize>());
            for (r, (group, rule)) in of.iter().flat_map(|g| g.rules.iter().map(move |r| (g, r))).enumerate() {
                let id = format!("{f}_{t}_{r}");
                parts.put(&format!("num_conditions_rule_id_{id}"), rule.conditions.len());
                for (i, c) in rule.conditions.iter().enumerate() {
                    let at = format!("{i}_{id}");
                    parts.put(&format!("feature_index_{at}"), c.column);
                    let all = || file.predictors[c.column].domain.as_ref().map(|d| (0..d.len() as u32).collect());
                    // The format has no word for all values and none.
                    let test = match &c.test {
                        Test::Any => all().map_or(Test::AtLeast(f64::NEG_INFINITY), Test::In),
                        Test::None => all().map_or(Test::Less(f64::NEG_INFINITY), |_| Test::In(vec![])),
                        test => test.clone(),
                    };
                    let operator = match &test {
                        Test::Less(_) => 0,
                        Test::AtLeast(_) => 1,
                        _ => 2,
                    };
                    match &test {
                        Test::Less(v) | Test::AtLeast(v) => {
                            parts.put(&format!("type_{at}"), 1);
                            parts.put(&format!("num_treshold{at}"), number(*v));
                        }
                        Test::In(codes) => {
                            parts.put(&format!("type_{at}"), 0);
                            parts.put(&format!("language_cat_treshold_length_{at}"), codes.len());
                            parts.put(&format!("cat_treshold_length_{at}"), codes.len());
                            for (j, code) in codes.iter().enumerate() {
                                parts.put(&format!("language_cat_treshold_{j}_{at}"), label(c.column, *code).replace('\n', " "));
                                parts.put(&format!("cat_treshold_length_{j}_{at}"), code);
                            }
                        }
                        Test::Any | Test::None => {}
                    }
                    parts.put(&format!("operator_{at}"), operator);
                    parts.put(&format!("feature_name_{at}"), file.predictors[c.column].name.replace('\n', " "));
                    parts.put(&format!("nas_included_{at}"), c.missing);
                    parts.put(&format!("language_condition{at}"), "null");
                }
                parts.put(&format!("prediction_value_rule_id_{id}"), number(0.0));
                parts.put(&format!("language_rule_rule_id_{id}"), "null");
                parts.put(&format!("coefficient_rule_id_{id}"), number(0.0));
                let name = group.names.get(rule.code as usize).ok_or("a rule has no name")?;
                parts.put(&format!("var_name_rule_id_{id}"), name);
                parts.put(&format!("support_rule_id_{id}"), number(0.0));
            }
        }
    }
    parts.put(
        "model_type",
        if forests == 0 {
            0
        } else if linear_terms {
            1
        } else {
            2
        },
    );
    parts.put("type", &key);
    parts.put("depth", forests);
    parts.put("ntrees", trees);
    whole.extend(response.map(|r| r.name));
    for what in ["data_from_rules_codes", "linear_names"] {
        parts.put(&format!("{what}_len"), whole.len());
        for (i, name) in whole.iter().enumerate() {
            parts.put(&format!("{what}_{i}"), name);
        }
    }
    Ok(())
}

fn read_rule(parts: &Parts, id: &str, all: &[Column]) -> Result<(String, Vec<Condition>), String> {
    let mut conditions = vec![];
    for i in 0..parts.count(&format!("num_conditions_rule_id_{id}"))? {
        let at = format!("{i}_{id}");
        let column = parts.count(&format!("feature_index_{at}"))?;
        if column >= all.len() {
            return Err(format!("a rule asks for the column {column}, but there are {}", all.len()));
        }
        let test = match (parts.count(&format!("type_{at}"))?, parts.count(&format!("operator_{at}"))?) {
            (0, _) => {
                let n = parts.count(&format!("cat_treshold_length_{at}"))?;
                let code = |j: usize| parts.count(&format!("cat_treshold_length_{j}_{at}")).map(|c| c as u32);
                Test::In((0..n).map(code).collect::<Result<_, _>>()?)
            }
            (_, 0) => Test::Less(parts.real(&format!("num_treshold{at}"))?),
            _ => Test::AtLeast(parts.real(&format!("num_treshold{at}"))?),
        };
        conditions.push(Condition { column, test, missing: parts.flag(&format!("nas_included_{at}")) });
    }
    Ok((parts.need(&format!("var_name_rule_id_{id}"))?.to_string(), conditions))
}

pub fn read(parts: &Parts, about: &About, all: &[Column], labels: &[String]) -> Result<GlmScorer, String> {
    let key = parts.need("linear_model")?;
    let dir = (0..parts.count("submodel_count")?)
        .find(|i| parts.text(&format!("submodel_key_{i}")) == Some(key))
        .ok_or_else(|| format!("it does not hold its linear model {key}"))?;
    let dir = parts.need(&format!("submodel_dir_{dir}"))?;
    let within = parts.blobs.iter().filter_map(|(n, b)| Some((n.strip_prefix(dir)?.to_string(), b.clone()))).collect();
    let mut inner = parse(within)?;
    let features = inner.count("n_features")?;
    if features > inner.columns.len() {
        return Err("its linear model counts more columns than it names".into());
    }
    let columns: Vec<Column> = (0..features).map(|i| Column { name: inner.columns[i].clone(), domain: inner.domains.remove(&i) }).collect();
    let told = About { family: inner.text("family").unwrap_or_default().to_string(), ..about.clone() };
    let mut m = linear::read(&inner, &told, &columns)?;
    let many = labels.len() > 2;
    let classes = if many { labels.len() } else { 1 };
    // The rules of each column.
    let mut rules: BTreeMap<String, Vec<Rule>> = BTreeMap::new();
    let domain = |name: &str| columns.iter().find(|c| c.name == name).and_then(|c| c.domain.as_ref());
    let (forests, trees) = (parts.count("depth")?, parts.count("ntrees")?);
    let linear_alone = parts.text("model_type") == Some("0");
    if !linear_alone && forests.saturating_mul(trees) > parts.info.len() {
        return Err(format!("it counts {forests} x {trees} trees, more than it has facts"));
    }
    for f in 0..if linear_alone { 0 } else { forests } {
        for t in 0..trees {
            for r in 0..parts.count(&format!("num_rules_M{f}T{t}"))? {
                let (name, conditions) = read_rule(parts, &format!("{f}_{t}_{r}"), all)?;
                // As in the Java library, a rule belongs to every class with whose label its name ends.
                for k in (0..classes).filter(|k| !many || name.ends_with(labels[*k].as_str())) {
                    let column = code_of(f, t, k, many);
                    let code = domain(&column).and_then(|d| d.iter().position(|l| *l == name));
                    if let Some(code) = code {
                        rules.entry(column).or_default().push(Rule { conditions: conditions.clone(), code: code as u32 });
                    }
                }
            }
        }
    }
    let mut derived = vec![];
    // A place among the derived predictors, or among those given.
    let mut places: Vec<Result<usize, usize>> = vec![];
    for c in &columns {
        if let Some(name) = c.name.strip_prefix("linear.") {
            let at = all.iter().position(|a| a.name == name);
            places.push(Err(at.ok_or_else(|| format!("its linear model uses the column '{name}', which it does not name"))?));
        } else {
            places.push(Ok(derived.len()));
            let names = c.domain.clone().ok_or_else(|| format!("the rules of {} have no names", c.name))?;
            derived.push(Derived::Rules { rules: rules.remove(&c.name).unwrap_or_default(), names });
        }
    }
    m.places = places.into_iter().map(|p| p.unwrap_or_else(|given| given + derived.len())).collect();
    m.derived = derived;
    Ok(m)
}
