//! The store: keys to typed values, with read and write locks that jobs hold.

use crate::{Error, Frame, Result, team};
use parking_lot::RwLock;
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A type that the store can hold.
pub trait Stored: Any + Send + Sync {
    const TYPE: &'static str;
}

/// Bytes that somebody put under a key.
pub struct Blob(pub Vec<u8>);
impl Stored for Blob {
    const TYPE: &'static str = "Blob";
}

#[derive(Clone)]
struct Entry {
    value: Arc<dyn Any + Send + Sync>,
    type_name: &'static str,
    readers: Vec<String>,
}

/// What a task of a cluster has put and removed, before every node has finished it.
#[derive(Default)]
pub struct Staged {
    changes: BTreeMap<String, Option<Entry>>,
    /// Everything was cleared but these, before the changes.
    cleared: Option<Vec<String>>,
}

impl Staged {
    fn hides(&self, key: &str) -> bool {
        self.cleared.as_ref().is_some_and(|keep| !keep.iter().any(|k| k == key))
    }
}

#[derive(Default)]
pub struct Store {
    entries: RwLock<BTreeMap<String, Entry>>,
}

impl Store {
    /// Puts a value, replacing what was there unless a job reads it.
    pub fn put<T: Stored>(&self, key: &str, value: T) -> Result<Arc<T>> {
        let value = Arc::new(value);
        self.put_shared(key, value.clone())?;
        Ok(value)
    }

    pub fn put_shared<T: Stored>(&self, key: &str, value: Arc<T>) -> Result<()> {
        if key.is_empty() || key.len() > 4096 {
            return Err(Error::invalid(format!("a key must have between 1 and 4096 bytes, this one has {}", key.len())));
        }
        let mut entries = self.entries.write();
        if let Some(by) = entries.get(key).and_then(|e| e.readers.first()) {
            return Err(Error::Locked { key: key.into(), by: by.clone(), action: "replace" });
        }
        let entry = Entry { value, type_name: T::TYPE, readers: vec![] };
        if let Some(task) = team::current() {
            task.staged.lock().changes.insert(key.into(), Some(entry));
        } else {
            entries.insert(key.into(), entry);
        }
        Ok(())
    }

    /// Makes visible what a task staged.
    pub fn publish(&self, task: &team::Task) {
        let staged = std::mem::take(&mut *task.staged.lock());
        let mut entries = self.entries.write();
        if let Some(keep) = &staged.cleared {
            entries.retain(|k, _| keep.contains(k));
        }
        for (key, change) in staged.changes {
            match change {
                Some(entry) => entries.insert(key, entry),
                None => entries.remove(&key),
            };
        }
    }

    /// What lies under a key, as the current task sees it.
    fn entry(&self, key: &str) -> Option<Entry> {
        if let Some(task) = team::current() {
            let staged = task.staged.lock();
            if let Some(change) = staged.changes.get(key) {
                return change.clone();
            }
            if staged.hides(key) {
                return None;
            }
        }
        self.entries.read().get(key).cloned()
    }

    /// Everything, as the current task sees it.
    fn view(&self) -> BTreeMap<String, Entry> {
        let mut all = self.entries.read().clone();
        if let Some(task) = team::current() {
            let staged = task.staged.lock();
            all.retain(|k, _| !staged.hides(k));
            for (key, change) in &staged.changes {
                match change {
                    Some(entry) => all.insert(key.clone(), entry.clone()),
                    None => all.remove(key),
                };
            }
        }
        all
    }

    pub fn get<T: Stored>(&self, key: &str) -> Result<Arc<T>> {
        let entry = self.entry(key).ok_or_else(|| Error::KeyNotFound { key: key.into(), wanted: "key" })?;
        entry.value.downcast::<T>().map_err(|_| Error::WrongType { key: key.into(), wanted: T::TYPE, found: entry.type_name })
    }

    pub fn frame(&self, key: &str) -> Result<Arc<Frame>> {
        self.get(key)
    }

    pub fn type_of(&self, key: &str) -> Option<&'static str> {
        self.entry(key).map(|e| e.type_name)
    }
    pub fn contains(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// Removes a key; says whether it was there. A key that a job reads is not removed.
    pub fn remove(&self, key: &str) -> Result<bool> {
        let mut entries = self.entries.write();
        if let Some(by) = entries.get(key).and_then(|e| e.readers.first()) {
            return Err(Error::Locked { key: key.into(), by: by.clone(), action: "delete" });
        }
        if let Some(task) = team::current() {
            let mut staged = task.staged.lock();
            let was = match staged.changes.get(key) {
                Some(change) => change.is_some(),
                None => !staged.hides(key) && entries.contains_key(key),
            };
            staged.changes.insert(key.into(), None);
            return Ok(was);
        }
        Ok(entries.remove(key).is_some())
    }

    /// Gives what lies under one key another.
    pub fn rename(&self, old: &str, new: &str) -> Result<()> {
        let entry = self.entry(old).ok_or_else(|| Error::KeyNotFound { key: old.into(), wanted: "key" })?;
        if old == new {
            return Ok(());
        }
        self.remove(old)?;
        let entry = Entry { readers: vec![], ..entry };
        match team::current() {
            Some(task) => task.staged.lock().changes.insert(new.into(), Some(entry)).map(|_| ()),
            None => self.entries.write().insert(new.into(), entry).map(|_| ()),
        };
        Ok(())
    }

    /// Removes everything but `keep`. Values in use by running jobs live until those end, but are no longer listed.
    pub fn clear(&self, keep: &[String]) {
        if let Some(task) = team::current() {
            let mut staged = task.staged.lock();
            staged.changes.retain(|k, _| keep.contains(k));
            staged.cleared = Some(keep.to_vec());
            return;
        }
        self.entries.write().retain(|k, _| keep.contains(k));
    }

    pub fn keys(&self) -> Vec<String> {
        self.view().into_keys().collect()
    }
    pub fn len(&self) -> usize {
        self.view().len()
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All values of one type, by key.
    pub fn all<T: Stored>(&self) -> Vec<(String, Arc<T>)> {
        self.view().into_iter().filter_map(|(k, e)| Some((k, e.value.downcast::<T>().ok()?))).collect()
    }

    /// Locks keys for reading by a job, until the guard drops. Keys that are not there are passed over.
    pub fn hold<'a>(&'a self, keys: &[&str], by: &str) -> Held<'a> {
        let mut entries = self.entries.write();
        for key in keys {
            if let Some(e) = entries.get_mut(*key) {
                e.readers.push(by.to_string());
            }
        }
        Held { store: self, keys: keys.iter().map(|k| k.to_string()).collect(), by: by.to_string() }
    }
}

pub struct Held<'a> {
    store: &'a Store,
    keys: Vec<String>,
    by: String,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut entries = self.store.entries.write();
        for key in &self.keys {
            if let Some(e) = entries.get_mut(key)
                && let Some(i) = e.readers.iter().position(|r| *r == self.by)
            {
                e.readers.remove(i);
            }
        }
    }
}
