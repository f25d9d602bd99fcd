//! What linear models work on: expanded predictors and their Gram matrix, as frames.

use crate::frames::frame_at;
use crate::jobs::fresh_key;
use crate::route::{Route, get, post};
use crate::wire::{DataInfoFrame, GramRequest};
use crate::{App, Ask, Failure, Reply};
use ochre_model::Expansion;
use ochre_schema::FrameKey;

pub const ROUTES: &[Route] = &[
    get(
        "/3/ComputeGram",
        "weighted_gram_matrix",
        ("GramV3", "GramV3"),
        compute_gram,
        "The weighted Gram matrix of expanded columns, as a frame.",
    ),
    post("/3/DataInfoFrame", "glm_datainfo_frame", ("DataInfoFrameV3", "DataInfoFrameV3"), expand, "Expanded predictors, as a frame."),
];

fn compute_gram(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: GramRequest = ask.decode()?;
    let source = a.x.clone().unwrap_or_default().0;
    let how = Expansion { all_levels: a.use_all_factor_levels, standardize: a.standardize };
    let made = app.expand.gram(&app.node, &*frame_at(app, &source)?, a.w.as_deref(), a.skip_missing, how)?;
    let key = fresh_key(&format!("{source}_gram"));
    app.node.store.put(&key, made)?;
    Reply::schema(&GramRequest { destination_frame: Some(FrameKey(key)), ..a })
}

fn expand(app: &App, ask: &Ask) -> Result<Reply, Failure> {
    let a: DataInfoFrame = ask.decode()?;
    let source = frame_at(app, &a.frame.clone().unwrap_or_default().0)?;
    let how = Expansion { all_levels: a.use_all, standardize: a.standardize };
    let made = app.expand.expanded(&app.node, &source, a.interactions.as_deref(), a.interactions_only, how)?;
    let key = fresh_key("OneHot");
    app.node.store.put(&key, made)?;
    Reply::schema(&DataInfoFrame { result: Some(FrameKey(key)), ..a })
}
