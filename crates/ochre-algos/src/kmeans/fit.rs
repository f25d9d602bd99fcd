//! Seeding and Lloyd's iterations.

use super::output::KMeansOutput;
use super::params::{Init, KMeansParams};
use super::passes::{AssignPass, ClusterSums};
use super::sizes;
use ochre_core::{CHUNK_ROWS, Error, Frame, Node, Result, Rng, Team, time};
use ochre_model::metrics::{Kind, argmax};
use ochre_model::params::CategoricalEncoding;
use ochre_model::{Deviance, Fitted, Run, adapt, driver::cluster_metrics};
use ochre_schema::{Cell, Table};
use ochre_score::{KMeansScorer, Scorer};
use rayon::prelude::*;
use std::sync::Arc;

/// Converged when fewer than this share of the rows changes its cluster.
const REASSIGNED: f64 = 1e-4;
const SEEDING_ROUNDS: usize = 5;

struct Step {
    at_ms: i64,
    clusters: usize,
    reassigned: f64,
    within: f64,
}

pub fn fit(run: &mut Run<'_, KMeansParams>) -> Result<Fitted<KMeansOutput>> {
    let run = &*run;
    let (params, train) = (&run.params, &run.train);
    // Categorical predictors first.
    let mut order: Vec<usize> = (0..train.columns.len()).collect();
    order.sort_by_key(|&i| !train.columns[i].is_enum());
    let cats = order.iter().filter(|&&i| train.columns[i].is_enum()).count();
    let levels: Vec<usize> = order[..cats].iter().map(|&i| train.columns[i].domain().map_or(0, |d| d.len())).collect();
    let (mut fills, mut means, mut mults) = (vec![], vec![], vec![]);
    for (place, &i) in order.iter().enumerate() {
        let column = &train.columns[i];
        if place < cats {
            let team = Team::for_rows(column.rows());
            let mut counts = vec![0i64; levels[place]];
            column.team_f64(&team)?.iter().filter(|v| !v.is_nan()).for_each(|v| counts[*v as usize] += 1);
            team.sum_i64(&mut counts)?;
            let counts: Vec<f64> = counts.into_iter().map(|n| n as f64).collect();
            fills.push(argmax(&counts) as f64);
            means.push(0.0);
            mults.push(1.0);
            continue;
        }
        let r = column.rollup()?;
        fills.push(r.mean);
        means.push(if params.standardize { r.mean } else { 0.0 });
        mults.push(if params.standardize && r.sigma > 0.0 { 1.0 / r.sigma } else { 1.0 });
    }
    let frame =
        Frame::new(order.iter().map(|&i| train.names[i].clone()).collect(), order.iter().map(|&i| train.columns[i].clone()).collect())?;
    let mut scorer = KMeansScorer { categorical: cats, places: vec![], fills, means, mults, centers: vec![] };
    let most = params.k as usize;
    scorer.centers = match &params.user_points {
        Some(key) => user_centers(run, &frame, &scorer, key.0.as_str(), most)?,
        None => seed_centers(run, &frame, &scorer, params, if params.estimate_k { 1 } else { most })?,
    };
    let rows = train.rows;
    let fewest: Option<Vec<usize>> = params.cluster_size_constraints.as_ref().map(|c| c.iter().map(|n| *n as usize).collect());
    let _room = match &fewest {
        // Distances of every row to every centre, and the moves between clusters.
        Some(f) => {
            Some(run.node.ledger.reserve(&format!("distances of {rows} rows to {} centres", f.len()), (rows * f.len() * 24) as u64)?)
        }
        None => None,
    };
    let started = time::now_ms();
    let mut lloyd = Lloyd {
        run,
        frame: &frame,
        levels,
        fewest,
        steps: vec![Step { at_ms: started, clusters: 0, reassigned: f64::NAN, within: f64::NAN }],
        assigned: vec![],
        ranges: vec![],
        late: false,
        scorer,
    };
    let mut within = lloyd.converge()?;
    if params.estimate_k {
        // Of the distance that is left, so much has to go for another cluster to be worth it.
        let enough = (0.02 + 10.0 / rows as f64 + 2.5 / (frame.width() as f64).powi(2)).min(0.8);
        while lloyd.scorer.centers.len() < most && !lloyd.late {
            let before = (lloyd.scorer.centers.clone(), lloyd.assigned.clone(), lloyd.steps.len());
            if !lloyd.split_widest()? {
                break;
            }
            let now = lloyd.converge()?;
            if (within - now) / within < enough {
                (lloyd.scorer.centers, lloyd.assigned) = (before.0, before.1);
                lloyd.steps.truncate(before.2);
                break;
            }
            within = now;
        }
    }
    let Lloyd { mut scorer, steps, assigned, fewest, .. } = lloyd;
    scorer.places = order;
    let iterations = steps.len() - 1;
    let predictors = train.predictors();
    let given = fewest.map(|_| assigned.as_slice());
    let training = cluster_metrics(&scorer, &train.adapted(&predictors)?, given)?;
    let validation = match &params.common.validation_frame {
        Some(key) => {
            let valid = run.node.store.frame(&key.0)?;
            Some(cluster_metrics(&scorer, &adapt::adapt(&valid, &predictors)?, None)?)
        }
        None => None,
    };
    let Kind::Clustering(c) = &training.kind else { unreachable!("clusters were measured") };
    let k = scorer.centers.len();
    let one = |v: Cell| vec![v];
    let mut output = KMeansOutput::default();
    if params.common.categorical_encoding == CategoricalEncoding::Auto {
        output.common.effective.push(("categorical_encoding", "Enum".into()));
    }
    output.common.model_summary = Some(
        Table::new("Model Summary", "")
            .row_labels(vec!["".into()])
            .column("Number of Rows", "long", "%d", one(rows.into()))
            .column("Number of Clusters", "long", "%d", one(k.into()))
            .column("Number of Categorical Columns", "long", "%d", one(cats.into()))
            .column("Number of Iterations", "long", "%d", one(iterations.into()))
            .column("Within Cluster Sum of Squares", "double", "%.5f", one(c.tot_withinss.into()))
            .column("Total Sum of Squares", "double", "%.5f", one(c.totss.into()))
            .column("Between Cluster Sum of Squares", "double", "%.5f", one((c.totss - c.tot_withinss).into())),
    );
    let mut history = Table::new("Scoring History", "")
        .row_labels(vec!["".into(); steps.len()])
        .column("Timestamp", "string", "%s", steps.iter().map(|s| Cell::Text(time::stamp(s.at_ms))).collect())
        .column("Duration", "string", "%s", steps.iter().map(|s| Cell::Text(time::duration_text(s.at_ms - started))).collect())
        .column("Iterations", "long", "%d", (0..steps.len()).map(Cell::from).collect());
    if params.estimate_k {
        history = history.column("Number of Clusters", "long", "%d", steps.iter().map(|s| Cell::from(s.clusters)).collect());
    }
    output.common.scoring_history = Some(
        history
            .column("Number of Reassigned Observations", "long", "%d", steps.iter().map(|s| Cell::Double(s.reassigned)).collect())
            .column("Within Cluster Sum Of Squares", "double", "%.5f", steps.iter().map(|s| Cell::Double(s.within)).collect()),
    );
    let centers = |name: &str, standardized: bool| {
        let mut t = Table::new(name, "").column("Centroid", "string", "%s", (1..=k).map(|i| Cell::Text(i.to_string())).collect());
        for (n, j) in train.names.iter().zip(scorer.coordinates()) {
            let values: Vec<f64> = scorer
                .centers
                .iter()
                .map(|c| if standardized || j < cats { c[j] } else { c[j] / scorer.mults[j] + scorer.means[j] })
                .collect();
            t = match frame.column(j).domain() {
                Some(d) => t.column(n, "string", "%s", values.iter().map(|v| Cell::Text(d[*v as usize].clone())).collect()),
                None => t.column(n, "double", "%f", values.into_iter().map(Cell::Double).collect()),
            };
        }
        t
    };
    output.centers = Some(centers("Cluster Means", false));
    output.centers_std = params.standardize.then(|| centers("Standardized Cluster Means", true));
    Ok(Fitted { output, scorer: Scorer::KMeans(scorer), deviance: Deviance::Gaussian, training, validation, order: None })
}

/// Lloyd's iterations: rows to centres, centres to the middle of their rows.
struct Lloyd<'a> {
    run: &'a Run<'a, KMeansParams>,
    frame: &'a Frame,
    levels: Vec<usize>,
    fewest: Option<Vec<usize>>,
    scorer: KMeansScorer,
    steps: Vec<Step>,
    assigned: Vec<u32>,
    /// Lowest and highest of each numeric coordinate, by cluster.
    ranges: Vec<Vec<(f64, f64)>>,
    /// Time is over.
    late: bool,
}

impl Lloyd<'_> {
    fn sums(&self, given: Option<Vec<u32>>) -> Result<ClusterSums> {
        let all: Vec<usize> = (0..self.frame.width()).collect();
        let pass = AssignPass { centers: self.scorer.clone(), levels: self.levels.clone(), given };
        self.run.node.runner.run(self.run.job, self.frame, &all, &pass)
    }

    /// Until few rows change their cluster; the sum of squared distances in the last iteration.
    fn converge(&mut self) -> Result<f64> {
        let (params, rows, k) = (&self.run.params, self.frame.rows(), self.scorer.centers.len());
        let mut within = f64::NAN;
        for iteration in 0..params.max_iterations as usize {
            self.run.job.check()?;
            if iteration > 0 && self.run.out_of_time()? {
                self.run.job.warn(format!("max_runtime_secs ended training after {} iterations", self.steps.len() - 1));
                self.late = true;
                break;
            }
            let given = self.fewest.as_ref().map(|f| Ok::<_, Error>(sizes::assign(&self.distances()?, f))).transpose()?;
            let sums = self.sums(given)?;
            let before = &self.assigned;
            let reassigned = if before.is_empty() { rows } else { before.iter().zip(&sums.assigned).filter(|(a, b)| a != b).count() };
            self.move_centers(&sums);
            // An empty cluster gets the row that is worst served.
            if let Some(empty) = sums.rows.iter().position(|n| *n == 0.0) {
                self.scorer.centers[empty] = point_at(self.frame, &self.scorer, sums.worst.1)?;
            }
            within = sums.within;
            (self.assigned, self.ranges) = (sums.assigned, sums.ranges);
            self.steps.push(Step { at_ms: time::now_ms(), clusters: k, reassigned: reassigned as f64, within });
            let share = (iteration + 1) as f64 / f64::from(params.max_iterations);
            self.run.job.set_progress(if params.estimate_k { (k as f64 - 1.0 + share) / f64::from(params.k) } else { share });
            if (reassigned as f64) < (rows as f64 * REASSIGNED).max(1.0) {
                break;
            }
        }
        Ok(within)
    }

    fn move_centers(&mut self, sums: &ClusterSums) {
        let cats = self.scorer.categorical;
        for (c, center) in self.scorer.centers.iter_mut().enumerate().filter(|(c, _)| sums.rows[*c] > 0.0) {
            for (j, n) in sums.counts[c].iter().enumerate() {
                center[j] = argmax(n) as f64;
            }
            for (slot, s) in center[cats..].iter_mut().zip(&sums.sums[c]) {
                *slot = s / sums.rows[c];
            }
        }
    }

    /// Splits the cluster that is widest in one numeric coordinate, at its centre; false when none has any width.
    fn split_widest(&mut self) -> Result<bool> {
        let mut widest = (0.0f32, 0, 0);
        for (c, ranges) in self.ranges.iter().enumerate() {
            for (j, (low, high)) in ranges.iter().enumerate() {
                let width = (high - low) as f32;
                if width > widest.0 {
                    widest = (width, c, j + self.scorer.categorical);
                }
            }
        }
        let (width, cluster, place) = widest;
        if width == 0.0 {
            return Ok(false);
        }
        let (fresh, at) = (self.scorer.centers.len(), self.scorer.centers[cluster][place]);
        let team = Team::for_rows(self.frame.rows());
        let own = team.rows(self.frame.rows());
        let values = self.frame.column(place).team_f64(&team)?;
        let split = own.zip(values.iter()).map(|(r, v)| {
            let above = self.scorer.coordinate(place, *v) > at;
            if self.assigned[r] as usize == cluster && above { fresh as u32 } else { self.assigned[r] }
        });
        self.assigned = team.gather(split.collect::<Vec<u32>>())?.concat();
        self.scorer.centers.push(self.scorer.centers[cluster].clone());
        let sums = self.sums(Some(self.assigned.clone()))?;
        self.move_centers(&sums);
        Ok(true)
    }

    /// Of each row to each centre, row by row.
    fn distances(&self) -> Result<Vec<f64>> {
        let (k, width) = (self.scorer.centers.len(), self.frame.width());
        let team = Team::for_rows(self.frame.rows());
        let own = team.rows(self.frame.rows()).len();
        let columns = self.frame.columns().iter().map(|c| c.team_f64(&team)).collect::<Result<Vec<_>>>()?;
        let views: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
        let mut out = vec![0.0; own * k];
        out.par_chunks_mut(k * CHUNK_ROWS).enumerate().for_each(|(chunk, part)| {
            let mut point = vec![0.0; width];
            for (r, row) in part.chunks_exact_mut(k).enumerate() {
                self.scorer.point(&views, chunk * CHUNK_ROWS + r, &mut point);
                row.iter_mut().zip(&self.scorer.centers).for_each(|(d, c)| *d = self.scorer.distance(c, &point));
            }
        });
        team.concat(out)
    }
}

/// One row on the standardized scale.
fn point_at(frame: &Frame, scorer: &KMeansScorer, row: usize) -> Result<Vec<f64>> {
    let values = frame.columns().iter().map(|c| c.value(row)).collect::<Result<Vec<_>>>()?;
    let columns: Vec<&[f64]> = values.iter().map(std::slice::from_ref).collect();
    let mut point = vec![0.0; values.len()];
    scorer.point(&columns, 0, &mut point);
    Ok(point)
}

/// The frame that `user_points` names, with a row for each cluster and a column for each predictor.
pub fn user_points(node: &Node, key: &str, k: usize, predictors: usize) -> Result<Arc<Frame>> {
    let points = node.store.frame(key)?;
    let refuse = |what: String| Err(Error::invalid(format!("user_points '{key}' has {what}")));
    match (points.rows(), points.width()) {
        (rows, _) if rows != k => refuse(format!("{rows} rows where k is {k}: give one row per cluster")),
        (_, width) if width != predictors => refuse(format!("{width} columns where the model has {predictors}: give one per predictor")),
        _ => Ok(points),
    }
}

fn user_centers(run: &Run<'_, KMeansParams>, frame: &Frame, scorer: &KMeansScorer, key: &str, k: usize) -> Result<Vec<Vec<f64>>> {
    let points = user_points(run.node, key, k, frame.width())?;
    // By name when the names are there, by place otherwise.
    let by_name: Option<Vec<usize>> = frame.names().iter().map(|n| points.find(n)).collect();
    let places = by_name.unwrap_or_else(|| {
        let train = &run.train.names;
        frame.names().iter().map(|n| train.iter().position(|t| t == n).expect("a predictor")).collect()
    });
    let wanted: Vec<_> = run.train.predictors();
    let mut columns = vec![];
    for (n, &place) in frame.names().iter().zip(&places) {
        let p = wanted.iter().find(|p| p.name == *n).expect("a predictor");
        let one = Frame::new(vec![n.clone()], vec![points.column(place).clone()])?;
        columns.push(adapt::source(&one, p, &mut vec![])?.all(k)?);
    }
    let views: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
    Ok((0..k)
        .map(|r| {
            let mut point = vec![0.0; views.len()];
            scorer.point(&views, r, &mut point);
            point
        })
        .collect())
}

/// Where Lloyd's iterations begin, drawn as the reference draws: k random rows, or a random row and, round by round (Bahmani
/// et al. 2012, k-means||), rows with three times k times their share of the squared distance, of which k are then chosen.
fn seed_centers(
    run: &Run<'_, KMeansParams>,
    frame: &Frame,
    scorer: &KMeansScorer,
    params: &KMeansParams,
    k: usize,
) -> Result<Vec<Vec<f64>>> {
    let rows = frame.rows();
    let mut rng = Rng::new(params.seed.wrapping_sub(1));
    let random_row = |rng: &mut Rng| point_at(frame, scorer, ((rng.next_f64() * rows as f64) as usize).saturating_sub(1));
    if params.init == Init::Random {
        return (0..k).map(|_| random_row(&mut rng)).collect();
    }
    let team = Team::for_rows(rows);
    let own = team.rows(rows);
    let columns = frame.columns().iter().map(|c| c.team_f64(&team)).collect::<Result<Vec<_>>>()?;
    let views: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
    let mut point = vec![0.0; views.len()];
    let mut candidates = vec![random_row(&mut rng)?];
    let mut distance: Vec<f64> = vec![f64::INFINITY; own.len()];
    let mut fresh = candidates.clone();
    for _ in 0..SEEDING_ROUNDS {
        run.job.check()?;
        // Summed chunk by chunk, so that the total does not depend on who holds which.
        let parts = distance.par_chunks_mut(CHUNK_ROWS).enumerate().map(|(k, chunk)| {
            let mut point = vec![0.0; views.len()];
            let mut sum = 0.0;
            for (i, d) in chunk.iter_mut().enumerate() {
                scorer.point(&views, k * CHUNK_ROWS + i, &mut point);
                for c in &fresh {
                    *d = d.min(scorer.distance(c, &point));
                }
                sum += *d;
            }
            vec![sum]
        });
        let sums: Vec<Vec<f64>> = parts.collect();
        let total = team.fold(sums)?.first().copied().unwrap_or(0.0);
        if total == 0.0 {
            break;
        }
        fresh.clear();
        let mut draw = Rng::new(0);
        for (r, d) in distance.iter().enumerate() {
            draw.set_seed(params.seed.wrapping_add((own.start + r) as i64));
            if 3.0 * k as f64 * d > draw.next_f64() * total {
                scorer.point(&views, r, &mut point);
                fresh.push(point.clone());
            }
        }
        fresh = team.gather(fresh)?.concat();
        candidates.extend(fresh.iter().cloned());
    }
    // The first candidate, then the furthest or one by its distance, until there are k.
    let mut centers = vec![candidates[0].clone()];
    let mut left: Vec<f64> = candidates.iter().map(|c| scorer.distance(&centers[0], c)).collect();
    while centers.len() < k {
        let total: f64 = left.iter().sum();
        let center = if total == 0.0 {
            // Fewer distinct candidates than clusters: any row will do.
            random_row(&mut rng)?
        } else if params.init == Init::Furthest {
            candidates[argmax(&left)].clone()
        } else {
            // One number is drawn for each candidate that is looked at, as often as it takes.
            match left.iter().position(|d| *d >= rng.next_f64() * total) {
                Some(pick) => candidates[pick].clone(),
                // Distances that are infinite or no numbers could be drawn for without end.
                None if !total.is_finite() => random_row(&mut rng)?,
                None => continue,
            }
        };
        for (d, x) in left.iter_mut().zip(&candidates) {
            *d = d.min(scorer.distance(&center, x));
        }
        centers.push(center);
    }
    Ok(centers)
}
