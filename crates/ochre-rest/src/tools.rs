//! Tools on frames: split, transform, tabulate, find, and steps that prepare a frame.

use crate::frames::frame_at;
use crate::jobs::fresh_key;
use crate::route::{Ask, Reply, get, post};
use crate::wire::{Assembly as AssemblySchema, Dct, Find, SplitFrame, Tabulate};
use crate::{App, Failure, jobs};
use ochre_core::{Error, Frame};
use ochre_io::{remade, tabulate};
use ochre_rapids::assembly::{self, Assembly, Step};
use ochre_schema::{AnyKey, Cell, FrameKey, Table, Value};
use serde_json::json;

pub const ROUTES: &[crate::Route] = &[
    post("/3/SplitFrame", "splitFrame", ("SplitFrameV3", "SplitFrameV3"), split, "Cuts a frame into parts, in a job."),
    post("/99/DCTTransformer", "_dctTransformer_run", ("DCTTransformerV3", "JobV3"), cosines, "Transforms rows by cosines, in a job."),
    post("/99/Tabulate", "_tabulate_run", ("TabulateV3", "TabulateV3"), tabulated, "Counts how values of two columns occur together."),
    get("/3/Find", "findInFrame", ("FindV3", "FindV3"), find, "The rows next to one that hold a value."),
    post("/99/Assembly", "_assembly_fit", ("AssemblyV99", "AssemblyV99"), fit, "Applies steps that prepare a frame."),
    get(
        "/99/Assembly.java/{assembly_id}/{file_name}",
        "_assembly_toJava",
        ("AssemblyV99", "AssemblyV99"),
        no_java,
        "Steps as Java source: not supported.",
    ),
];

fn split(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: SplitFrame = ask.decode()?;
    let source = a.dataset.clone().unwrap_or_default().0;
    let frame = frame_at(app, &source)?;
    let mut shares = a.ratios.clone().unwrap_or_default();
    if shares.is_empty() {
        return Err(Error::invalid("ratios is required: the share of the rows of each part but the last").into());
    }
    let mut parts = shares.len();
    let whole: f64 = shares.iter().sum();
    // Shares that add up to more than all are taken in proportion; those that add up to all leave no part for the rest.
    if whole >= 1.0 {
        shares.iter_mut().for_each(|s| *s /= whole);
        shares.pop();
    } else {
        parts += 1;
    }
    let keys: Vec<FrameKey> = match a.destination_frames.clone().filter(|k| !k.is_empty()) {
        None => (0..parts).map(|p| FrameKey(format!("{source}_part{p}"))).collect(),
        Some(keys) if keys.len() == parts => keys,
        Some(keys) => {
            return Err(Error::invalid(format!(
                "the ratios {:?} make {parts} parts, but {} keys are given for them",
                a.ratios,
                keys.len()
            ))
            .into());
        }
    };
    let (node, own) = (app.node.clone(), keys.clone());
    let job = app.node.jobs.start("SplitFrame", AnyKey::Frame(keys[0].clone()), move |job| {
        let made = node.runner.install(|| remade::split(&node, job, &frame, &shares))?;
        for (key, part) in own.iter().zip(made) {
            node.store.put(&key.0, part)?;
        }
        Ok(())
    })?;
    Reply::schema(&SplitFrame { key: Some(job.key.clone()), destination_frames: Some(keys), ..a })
}

fn cosines(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: Dct = ask.decode()?;
    let frame = frame_at(app, &a.dataset.clone().unwrap_or_default().0)?;
    let given = a.dimensions.clone().unwrap_or_default();
    let size = |d: i32| usize::try_from(d).ok().filter(|d| *d > 0);
    let dimensions: Option<Vec<usize>> = given.iter().map(|d| size(*d)).collect();
    let Some([w, h, d]) = dimensions.as_deref() else {
        return Err(Failure::precondition(format!("dimensions are three numbers above 0 (width, height, depth), but are {given:?}")));
    };
    let dimensions = [*w, *h, *d];
    if dimensions.iter().product::<usize>() != frame.width() {
        return Err(Failure::precondition(format!(
            "dimensions {given:?} do not match the {} columns of the frame: their product has to be that number",
            frame.width()
        )));
    }
    let dest = a.destination_frame.filter(|k| !k.0.is_empty()).unwrap_or_else(|| FrameKey(fresh_key("dct")));
    let (node, key) = (app.node.clone(), dest.0.clone());
    let job = app.node.jobs.start("DCTTransformer", AnyKey::Frame(dest), move |job| {
        let made = node.runner.install(|| remade::cosine_transform(&node, job, &frame, dimensions, a.inverse))?;
        node.store.put(&key, made).map(|_| ())
    })?;
    Reply::json(&jobs::started(&job))
}

fn column<'a>(frame: &'a Frame, name: &Option<String>, field: &str) -> Result<(String, &'a ochre_core::Column), Failure> {
    let name = name.clone().filter(|n| !n.is_empty());
    let name = name.ok_or_else(|| Failure::precondition(format!("Required field {field} not specified")))?;
    let found = frame.by_name(&name).ok_or_else(|| Failure::not_found(format!("Column: {name} not found in the frame, for {field}")))?;
    Ok((name, found))
}

/// Most cells of a table of two columns' bins.
const TABULATED_MAX: usize = 1_000_000;

fn tabulated(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: Tabulate = ask.decode()?;
    let frame = frame_at(app, &a.dataset.clone().unwrap_or_default().0)?;
    let (x_name, x) = column(&frame, &a.predictor, "predictor")?;
    let (y_name, y) = column(&frame, &a.response, "response")?;
    let weight = a.weight.as_ref().filter(|w| !w.is_empty()).map(|_| column(&frame, &a.weight, "weight")).transpose()?;
    for (name, n) in [("nbins_predictor", a.nbins_predictor), ("nbins_response", a.nbins_response)] {
        if n > TABULATED_MAX as i32 {
            return Err(Error::invalid(format!("{name} must be at most {TABULATED_MAX}, but is {n}")).into());
        }
    }
    let size = |n: i32| n.max(1) as usize;
    let (bx, by) = (tabulate::Bins::of(x, &x_name, size(a.nbins_predictor))?, tabulate::Bins::of(y, &y_name, size(a.nbins_response))?);
    let (nx, ny) = (bx.labels.len(), by.labels.len());
    if nx.saturating_mul(ny) > TABULATED_MAX {
        let what = format!("'{x_name}' has {nx} bins and '{y_name}' {ny}: the table would have more than {TABULATED_MAX} cells");
        return Err(
            Error::invalid(format!("{what}; give smaller nbins_predictor and nbins_response, or columns of fewer categories")).into()
        );
    }
    let counts = tabulate::count((x, &bx), (y, &by), weight.map(|w| w.1))?;
    let text = |t: &String| Cell::Text(t.clone());
    let number = |v: &[f64]| v.iter().map(|v| Cell::Double(*v)).collect::<Vec<_>>();
    let pairs = Table::new(&format!("(Weighted) co-occurrence counts of '{x_name}' and '{y_name}'"), "")
        .column(&x_name, "string", "%s", (0..nx * ny).map(|i| text(&bx.labels[i % nx])).collect())
        .column(&y_name, "string", "%s", (0..nx * ny).map(|i| text(&by.labels[i / nx])).collect())
        .named("counts", "counts", "double", "%f", number(&counts.pairs));
    let means = Table::new(&format!("Mean value of '{y_name}' and (weighted) counts for '{x_name}' values"), "")
        .column(&x_name, "string", "%s", bx.labels.iter().map(text).collect())
        .column(&format!("mean {y_name}"), "double", "%f", number(&counts.means))
        .named("counts", "counts", "double", "%f", number(&counts.weights));
    let mut json = ochre_schema::object(&Tabulate { count_table: Some(pairs), response_table: Some(means), ..a.clone() });
    let named = |name: &Option<String>| match name.as_deref().filter(|n| !n.is_empty()) {
        None => Value::Null,
        Some(n) => json!({
            "__meta": {"schema_version": 3, "schema_name": "ColSpecifierV3", "schema_type": "VecSpecifier"},
            "column_name": n,
            "is_member_of_frames": null,
        }),
    };
    for (field, name) in [("predictor", &a.predictor), ("response", &a.response), ("weight", &a.weight)] {
        json[field] = named(name);
    }
    Reply::json(&json)
}

fn find(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: Find = ask.decode()?;
    let key = a.key.clone().unwrap_or_default().0;
    let frame = frame_at(app, &key)?;
    let at = match a.column.as_deref().filter(|c| !c.is_empty()) {
        None => None,
        Some(c) => Some(frame.find(c).ok_or_else(|| Failure::not_found(format!("Column: {c} not found in frame: {key}")))?),
    };
    let row = usize::try_from(a.row).map_err(|_| Failure::precondition(format!("row is {}, but rows are counted from 0", a.row)))?;
    let (prev, next) = remade::find(&frame, at, row, a.r#match.as_deref())?;
    let told = |r: Option<usize>| r.map_or(-1, |r| r as i64);
    Reply::schema(&Find { prev: told(prev), next: told(next), ..a })
}

fn fit(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: AssemblySchema = ask.decode()?;
    let frame = frame_at(app, &a.frame.clone().unwrap_or_default().0)?;
    let texts = a.steps.clone().unwrap_or_default();
    if texts.is_empty() {
        return Err(Error::invalid("steps is required: what is to be done with the frame").into());
    }
    let steps = texts.iter().map(|t| Step::read(t)).collect::<Result<Vec<_>, _>>()?;
    let session = app.sessions.get(ask.param("session_id").unwrap_or(""));
    let made = assembly::fit(&app.node, &session, frame, &steps)?;
    let (result, key) = (FrameKey(fresh_key("assembly_result")), fresh_key("assembly"));
    app.node.store.put_shared(&result.0, made)?;
    app.node.store.put(&key, Assembly { steps })?;
    let mut json = ochre_schema::object(&AssemblySchema { result: Some(result), ..a });
    json["assembly"] = json!({
        "__meta": {"schema_version": 3, "schema_name": "AssemblyKeyV3", "schema_type": "Key<Assembly>"},
        "name": key, "type": "Key<Assembly>", "URL": null,
    });
    Reply::json(&json)
}

fn no_java(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let steps = app.node.store.get::<Assembly>(ask.path_param("assembly_id"))?;
    let names = steps.steps.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join(", ");
    Err(Error::Unsupported(format!(
        "the steps {names} cannot be told as Java source by this version of ochre; apply them to a frame with POST /99/Assembly"
    ))
    .into())
}
