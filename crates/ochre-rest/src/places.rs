//! Where a client wants something written or read: a path of the server, or an address in an object store, for which a
//! scratch file stands.

use crate::{App, Failure};
use ochre_core::{Error, Result, Team};
use ochre_io::objects::{self, Objects};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub struct Place {
    path: PathBuf,
    /// The folder of the scratch files and the address of what is in it.
    remote: Option<Remote>,
}

struct Remote {
    objects: Arc<Objects>,
    folder: PathBuf,
    url: String,
    above: String,
}

impl Place {
    pub fn of(app: &App, path: &str) -> Result<Place> {
        if !objects::is_object(path) {
            ochre_model::check_local("the path", path)?;
            return Ok(Place { path: path.into(), remote: None });
        }
        let url = path.trim_end_matches('/');
        let named = url.rsplit_once('/').filter(|(above, name)| !above.ends_with('/') && !name.is_empty());
        let (above, name) = named.ok_or_else(|| Error::invalid(format!("{url} names no object: write s3://BUCKET/KEY")))?;
        let folder = app.node.ledger.scratch.file("d")?;
        std::fs::create_dir_all(&folder).map_err(|e| Error::io(folder.display(), e))?;
        let path = folder.join(name);
        let remote = Remote { objects: app.objects.clone(), folder, url: url.into(), above: above.into() };
        Ok(Place { path, remote: Some(remote) })
    }

    /// A place from which is read: what an object holds is copied here.
    pub fn fetched(app: &App, path: &str) -> Result<Place, Failure> {
        let place = Place::of(app, path)?;
        if let Some(r) = &place.remote {
            let mut file = r.objects.fetch(&r.url, &place.path)?;
            file.owned = false;
        }
        Ok(place)
    }

    /// The file or directory of the server to write to or read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Is something there already? `here` says it of a path of the server.
    pub fn is_taken(&self, here: impl FnOnce(&Path) -> bool) -> Result<bool> {
        match &self.remote {
            None => Ok(here(&self.path)),
            Some(r) => first_says(|| r.objects.exists(&r.url)),
        }
    }

    /// Sends what was written where it belongs. On a cluster, where every node has written the same, one of them does.
    pub fn finish(&self) -> Result<()> {
        let Some(r) = &self.remote else { return Ok(()) };
        first_says(|| {
            let mut folders = vec![r.folder.clone()];
            while let Some(folder) = folders.pop() {
                let fail = |e: std::io::Error| Error::io(folder.display(), e);
                for entry in std::fs::read_dir(&folder).map_err(fail)? {
                    let path = entry.map_err(fail)?.path();
                    if path.is_dir() {
                        folders.push(path);
                        continue;
                    }
                    let below = path.strip_prefix(&r.folder).expect("it lies there").display();
                    r.objects.put(&path, &format!("{}/{below}", r.above))?;
                }
            }
            Ok(())
        })
    }
}

/// What the first node of a cluster finds, told to all.
fn first_says<T: serde::Serialize + serde::de::DeserializeOwned + Default>(ask: impl FnOnce() -> Result<T>) -> Result<T> {
    let team = Team::everybody();
    let mine = if team.rank() == 0 { ask() } else { Ok(T::default()) };
    if team.is_alone() {
        return mine;
    }
    let told = team.gather(mine.map_err(|e| e.to_string()))?;
    told.into_iter().next().expect("the first").map_err(Error::invalid)
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(r) = &self.remote {
            let _ = std::fs::remove_dir_all(&r.folder);
        }
    }
}
