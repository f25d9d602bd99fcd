//! Growing trees, reading rules from them, and choosing among these.

use super::{RuleFitOutput, RuleFitParams};
use crate::drf::{Drf, DrfParams};
use crate::gbm::{Gbm, GbmParams};
use crate::glm::{GlmOutput, GlmParams, Made, fit_made};
use ochre_core::{Error, Result};
use ochre_model::{Fitted, Run, Training};
use ochre_schema::{Cell, Table};
use ochre_score::rules::{Condition, Test, of_tree};
use ochre_score::{Derived, GlmScorer, Scorer, Split, Tree};
use std::collections::BTreeMap;

/// A leaf as the user reads it.
struct Rule {
    text: String,
    support: f64,
}

/// What a way down a tree asks of one column.
#[derive(Clone, Default)]
struct Ask {
    /// Values are less than the first and not less than the second; each with whether a missing value passes.
    less: Option<(f64, bool)>,
    least: Option<(f64, bool)>,
    levels: Option<(Vec<bool>, bool)>,
    missing: Option<bool>,
}

impl Ask {
    fn texts(&self, name: &str, domain: Option<&[String]>) -> Vec<String> {
        let or = |missing: bool| if missing { format!(" or {name} is NA") } else { String::new() };
        let mut out = vec![];
        if let Some((t, missing)) = self.less {
            out.push(format!("({name} < {t:?}{})", or(missing)));
        }
        if let Some((t, missing)) = self.least {
            out.push(format!("({name} >= {t:?}{})", or(missing)));
        }
        if let Some((levels, missing)) = &self.levels {
            let label = |i: usize| domain.and_then(|d| d.get(i)).cloned().unwrap_or_else(|| i.to_string());
            let kept: Vec<String> = levels.iter().enumerate().filter(|(_, l)| **l).map(|(i, _)| label(i)).collect();
            out.push(format!("({name} in {{{}}}{})", kept.join(", "), or(*missing)));
        }
        match self.missing {
            Some(true) => out.push(format!("({name} is NA)")),
            Some(false) => out.push(format!("({name} is not NA)")),
            None => {}
        }
        out
    }

    /// Adds what a condition asks. `levels` are those of the column.
    fn add(&mut self, asked: &Condition, levels: usize) {
        let missing = asked.missing;
        match &asked.test {
            Test::Less(t) => self.less = Some(self.less.map_or((*t, missing), |(old, m)| (old.min(*t), m && missing))),
            Test::AtLeast(t) => self.least = Some(self.least.map_or((*t, missing), |(old, m)| (old.max(*t), m && missing))),
            Test::In(codes) => {
                let (all, passes) = self.levels.get_or_insert_with(|| (vec![true; levels], true));
                all.iter_mut().enumerate().for_each(|(code, keep)| *keep &= codes.binary_search(&(code as u32)).is_ok());
                *passes &= missing;
            }
            Test::Any | Test::None => self.missing = Some(missing),
        }
    }
}

/// The trees' leaves, as categories of a linear model and as rules by name.
struct Rules {
    derived: Vec<(String, Derived)>,
    rules: BTreeMap<String, Rule>,
    /// Depth and leaves of each tree.
    sizes: Vec<(usize, usize)>,
}

impl Rules {
    fn take(&mut self, train: &Training, label: &str, suffix: &str, tree: &Tree) {
        let mut own = tree.clone();
        let mut names = vec![];
        for (i, leaf) in own.nodes.iter_mut().enumerate().filter(|(_, n)| n.split == Split::Leaf) {
            leaf.value = names.len() as f32;
            names.push(format!("{label}N{i}{suffix}"));
        }
        let domain = |column: usize| train.columns[column].domain().map(|d| d.as_slice());
        let levels = |column: usize| domain(column).map_or(0, <[String]>::len);
        for rule in of_tree(&own, levels) {
            let mut asks: BTreeMap<usize, Ask> = BTreeMap::new();
            rule.conditions.iter().for_each(|c| asks.entry(c.column).or_default().add(c, levels(c.column)));
            let texts = asks.iter().flat_map(|(column, ask)| ask.texts(&train.names[*column], domain(*column)));
            let mut conditions: Vec<String> = texts.collect();
            conditions.sort();
            self.rules.insert(names[rule.code as usize].clone(), Rule { text: conditions.join(" & "), support: 0.0 });
        }
        self.sizes.push((tree.depth(), names.len()));
        // A tree that did not split says nothing.
        if names.len() > 1 {
            self.derived.push((format!("{label}{suffix}"), Derived::Leaf { tree: own, names }));
        }
    }
}

fn grow(run: &Run<'_, RuleFitParams>) -> Result<Rules> {
    let (params, train) = (&run.params, &run.train);
    let mut out = Rules { derived: vec![], rules: BTreeMap::new(), sizes: vec![] };
    let labels = train.response.as_ref().and_then(|r| r.domain.clone()).unwrap_or_default();
    let boosts = params.algorithm.as_deref().is_some_and(|a| a.eq_ignore_ascii_case("GBM"));
    for (m, depth) in (params.min_rule_length..=params.max_rule_length).enumerate() {
        run.job.check()?;
        let scorer = if boosts {
            let mut p = GbmParams::default();
            (p.tree.ntrees, p.tree.max_depth, p.tree.seed) = (params.rule_generation_ntrees, depth, params.seed);
            p.common.distribution = params.common.distribution;
            run.part::<Gbm>(p, train.clone(), None)?.scorer
        } else {
            let mut p = DrfParams::default();
            (p.tree.ntrees, p.tree.max_depth, p.tree.seed) = (params.rule_generation_ntrees, depth, params.seed);
            run.part::<Drf>(p, train.clone(), None)?.scorer
        };
        let Scorer::Trees(ensemble) = scorer else { return Err(Error::Internal("rules are read from trees".into())) };
        for (t, group) in ensemble.trees.iter().enumerate() {
            let many = group.len() > 1;
            for (c, tree) in group.iter().enumerate().filter(|(_, t)| !t.nodes.is_empty()) {
                let suffix = if many { format!("_{}", labels.get(c).cloned().unwrap_or_default()) } else { String::new() };
                out.take(train, &format!("M{m}T{t}"), &suffix, tree);
            }
        }
    }
    // Shares of all rows, whatever sample a tree was grown on.
    let all: Vec<Vec<f64>> = train.columns.iter().map(|c| c.to_f64()).collect::<Result<_>>()?;
    let views: Vec<&[f64]> = all.iter().map(Vec::as_slice).collect();
    let total = train.total_weight();
    for (_, derived) in &out.derived {
        let Derived::Leaf { names, .. } = derived else { continue };
        let mut held = vec![0.0; names.len()];
        (0..train.rows).for_each(|r| held[derived.value(&views, r) as usize] += train.weight(r));
        for (name, held) in names.iter().zip(held) {
            if let Some(rule) = out.rules.get_mut(name) {
                rule.support = held / total;
            }
        }
    }
    Ok(out)
}

/// Fits the lasso, among as many of the steepest rules and predictors as `max_num_rules` allows.
fn choose(run: &mut Run<'_, RuleFitParams>, made: &Made) -> Result<Fitted<GlmOutput>> {
    let mut glm = GlmParams { seed: run.params.seed, alpha: Some(vec![1.0]), ..GlmParams::default() };
    glm.lambda = run.params.lambda.clone().filter(|l| !l.is_empty());
    // The intercept counts as one.
    glm.max_active_predictors = if run.params.max_num_rules > 0 { run.params.max_num_rules + 1 } else { -1 };
    glm.common.training_frame = run.params.common.training_frame.clone();
    glm.common.auc_type = run.params.common.auc_type;
    let valid = run.valid.take();
    let mut inner = run.inner(glm, run.train.clone(), valid);
    fit_made(&mut inner, made)
}

/// A row of the table of rules.
struct Entry {
    variable: String,
    class: Option<String>,
    coefficient: f64,
    support: f64,
    text: String,
}

fn entries(run: &Run<'_, RuleFitParams>, scorer: &GlmScorer, names: &[String], rules: &Rules) -> Vec<Entry> {
    let labels = run.train.response.as_ref().and_then(|r| r.domain.clone()).unwrap_or_default();
    let many = scorer.beta.len() > 1;
    let mut out: Vec<Entry> = vec![];
    for (k, beta) in scorer.beta.iter().enumerate() {
        let class = many.then(|| labels[k].clone());
        for (name, b) in names.iter().zip(beta).filter(|(n, b)| **b != 0.0 && *n != "Intercept") {
            let leaf = rules.derived.iter().find_map(|(column, _)| name.strip_prefix(column.as_str())?.strip_prefix('.'));
            let rule = leaf.and_then(|l| rules.rules.get(l).map(|r| (l, r)));
            let Some((leaf, rule)) = rule else {
                let variable = class.as_ref().map_or(format!("linear.{name}"), |c| format!("linear.{name}_{c}"));
                out.push(Entry { variable, class: class.clone(), coefficient: *b, support: 1.0, text: String::new() });
                continue;
            };
            let same = |e: &&mut Entry| run.params.remove_duplicates && e.class == class && e.text == rule.text;
            match out.iter_mut().find(same) {
                Some(e) => {
                    e.variable = format!("{}, {leaf}", e.variable);
                    e.coefficient += b;
                }
                None => out.push(Entry {
                    variable: leaf.to_string(),
                    class: class.clone(),
                    coefficient: *b,
                    support: rule.support,
                    text: rule.text.clone(),
                }),
            }
        }
    }
    out.sort_by(|a, b| b.coefficient.abs().total_cmp(&a.coefficient.abs()));
    out
}

fn table(entries: &[Entry], many: bool) -> Table {
    let each = |f: &dyn Fn(&Entry) -> Cell| entries.iter().map(f).collect::<Vec<_>>();
    let mut t = Table::new("Rule Importance", "").row_labels(vec![Cell::Text(String::new()); entries.len()]).column(
        "variable",
        "string",
        "%s",
        each(&|e| Cell::Text(e.variable.clone())),
    );
    if many {
        t = t.column("class", "string", "%s", each(&|e| Cell::Text(e.class.clone().unwrap_or_default())));
    }
    t.column("coefficient", "double", "%.5f", each(&|e| Cell::Double(e.coefficient)))
        .column("support", "double", "%.5f", each(&|e| Cell::Double(e.support)))
        .column("rule", "string", "%s", each(&|e| Cell::Text(e.text.clone())))
}

pub fn fit(run: &mut Run<'_, RuleFitParams>) -> Result<Fitted<RuleFitOutput>> {
    let rules = if run.params.is("LINEAR") { Rules { derived: vec![], rules: BTreeMap::new(), sizes: vec![] } } else { grow(run)? };
    run.job.set_progress(0.5);
    let linear = !run.params.is("RULES");
    let made = Made { derived: rules.derived.clone(), given: vec![linear; run.train.columns.len()], ..Made::default() };
    if made.derived.is_empty() && !linear {
        return Err(Error::invalid(
            "no tree found a split, so there are no rules; choose model_type = RULES_AND_LINEAR or give the trees more rows",
        ));
    }
    let _room = run.node.ledger.reserve("leaves of rows", (run.train.rows * made.derived.len() * 8) as u64)?;
    let fitted = choose(run, &made)?;
    let Scorer::Glm(scorer) = &fitted.scorer else { return Err(Error::Internal("rules are weighed by a linear model".into())) };
    let names = fitted.output.coefficient_names.clone().unwrap_or_default();
    let entries = entries(run, scorer, &names, &rules);
    let mut output = RuleFitOutput {
        rule_importance: Some(table(&entries, scorer.beta.len() > 1)),
        intercept: Some(scorer.beta.iter().map(|b| b[b.len() - 1]).collect()),
        ..RuleFitOutput::default()
    };
    let least = |f: &dyn Fn(&(usize, usize)) -> usize| rules.sizes.iter().map(f).min().unwrap_or(0);
    let largest = |f: &dyn Fn(&(usize, usize)) -> usize| rules.sizes.iter().map(f).max().unwrap_or(0);
    let mean = |f: &dyn Fn(&(usize, usize)) -> usize| match rules.sizes.len() {
        0 => 0.0,
        n => rules.sizes.iter().map(f).sum::<usize>() as f64 / n as f64,
    };
    if run.params.algorithm.as_deref().is_none_or(|a| a == "AUTO") {
        output.common.effective.push(("algorithm", "DRF".into()));
    }
    output.common.model_summary = fitted.output.common.model_summary.map(|t| {
        let one = |v: usize| vec![Cell::from(v)];
        let mut t = t;
        t.columns.retain(|c| c.name != "training_frame");
        let mut t = t
            .named("rule_ensemble_size", "Rule Ensemble Size", "long", "%d", one(rules.rules.len()))
            .named("number_of_trees", "Number of Trees", "long", "%d", one(rules.sizes.len()))
            .named("number_of_internal_trees", "Number of Internal Trees", "long", "%d", one(rules.sizes.len()))
            .named("min_depth", "Min. Depth", "long", "%d", one(least(&|s| s.0)))
            .named("max_depth", "Max. Depth", "long", "%d", one(largest(&|s| s.0)))
            .named("mean_depth", "Mean Depth", "double", "%.5f", vec![Cell::Double(mean(&|s| s.0))])
            .named("min_leaves", "Min. Leaves", "long", "%d", one(least(&|s| s.1)))
            .named("max_leaves", "Max. Leaves", "long", "%d", one(largest(&|s| s.1)))
            .named("mean_leaves", "Mean Leaves", "double", "%.5f", vec![Cell::Double(mean(&|s| s.1))]);
        t.name = "Rulefit Model Summary".into();
        t
    });
    output.common.scoring_history = fitted.output.common.scoring_history;
    Ok(Fitted {
        output,
        scorer: fitted.scorer,
        deviance: fitted.deviance,
        training: fitted.training,
        validation: fitted.validation,
        order: fitted.order,
    })
}
