//! Files that go when their server ends, however it ends: spilled chunks, uploads, downloads.

use crate::{Error, Result};
use std::fs::{File, TryLockError};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const PREFIX: &str = "ochre-scratch-";

/// A directory of one process below a root that several processes may share, be they in containers of their own. A lock file
/// beside it is held for as long as the process lives; whoever finds one that nobody holds may clear the directory away.
pub struct Scratch {
    root: PathBuf,
    made: OnceLock<(PathBuf, File)>,
    next_file: AtomicU64,
}

impl Scratch {
    /// Nothing is created until a file is asked for.
    pub fn new(root: &Path) -> Scratch {
        Scratch { root: root.to_path_buf(), made: OnceLock::new(), next_file: AtomicU64::new(0) }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory, which is made at the first call.
    pub fn dir(&self) -> Result<&Path> {
        if let Some((dir, _)) = self.made.get() {
            return Ok(dir);
        }
        let made = self.create().map_err(|e| Error::io(self.root.display(), e))?;
        // Two threads may have made one each; the one that is not kept goes at once.
        if let Err((dir, lock)) = self.made.set(made) {
            clear(&dir, lock);
        }
        Ok(&self.made.get().expect("made").0)
    }

    fn create(&self) -> std::io::Result<(PathBuf, File)> {
        std::fs::create_dir_all(&self.root)?;
        loop {
            // No number of a task: the nodes of a cluster would all draw the same, and make their directories at different times.
            let dir = self.root.join(format!("{PREFIX}{:016x}", RandomState::new().build_hasher().finish()));
            let path = lock_path(&dir);
            let lock = match File::create_new(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => continue,
                made => made?,
            };
            match lock.try_lock() {
                // Some file systems have no locks; then nobody clears this directory away after a crash.
                Ok(()) | Err(TryLockError::Error(_)) => {}
                Err(TryLockError::WouldBlock) => continue,
            }
            // A sweep between the file's making and its locking may have taken it.
            if path.exists() {
                std::fs::create_dir(&dir)?;
                return Ok((dir, lock));
            }
        }
    }

    /// A name for a new file, with this ending.
    pub fn file(&self, ending: &str) -> Result<PathBuf> {
        Ok(self.dir()?.join(format!("{}.{ending}", self.next_file.fetch_add(1, Relaxed))))
    }

    /// Clears away what processes that ended without doing so have left below `root`; returns how many.
    pub fn sweep(root: &Path) -> usize {
        let Ok(entries) = std::fs::read_dir(root) else { return 0 };
        let mut swept = 0;
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name();
            let is_lock = name.to_str().is_some_and(|n| n.starts_with(PREFIX) && n.ends_with(".lock"));
            let Some(lock) = is_lock.then(|| File::open(&path).ok()).flatten() else { continue };
            if lock.try_lock().is_ok() {
                clear(&path.with_extension(""), lock);
                swept += 1;
            }
        }
        swept
    }
}

fn lock_path(dir: &Path) -> PathBuf {
    dir.with_extension("lock")
}

/// The lock goes last, so that an end in the middle leaves something to find.
fn clear(dir: &Path, lock: File) {
    let gone = std::fs::remove_dir_all(dir);
    if gone.is_ok() || !dir.exists() {
        let _ = std::fs::remove_file(lock_path(dir));
    }
    drop(lock);
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some((dir, lock)) = self.made.take() {
            clear(&dir, lock);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_holds_is_swept() {
        let root = std::env::temp_dir().join(format!("ochre-sweep-test-{}", std::process::id()));
        let (alive, dead) = (Scratch::new(&root), Scratch::new(&root));
        std::fs::write(alive.file("csv").unwrap(), "a").unwrap();
        std::fs::write(dead.file("csv").unwrap(), "b").unwrap();
        let left = dead.dir().unwrap().to_path_buf();
        assert_eq!(Scratch::sweep(&root), 0);
        // As the kernel does at an end that nobody foresaw: the lock is let go, the files stay.
        dead.made.get().unwrap().1.unlock().unwrap();
        assert_eq!(Scratch::sweep(&root), 1);
        assert!(!left.exists() && !lock_path(&left).exists());
        let here = alive.dir().unwrap().to_path_buf();
        assert!(here.exists());
        drop((alive, dead));
        assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0);
        std::fs::remove_dir(&root).unwrap();
    }
}
