//! The store: keys to typed values, with read and write locks that jobs hold.

use crate::{Error, Frame, Result};
use parking_lot::RwLock;
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A type that the store can hold.
pub trait Stored: Any + Send + Sync {
    const TYPE: &'static str;
}

#[derive(Clone)]
struct Entry {
    value: Arc<dyn Any + Send + Sync>,
    type_name: &'static str,
    readers: Vec<String>,
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
        entries.insert(key.into(), Entry { value, type_name: T::TYPE, readers: vec![] });
        Ok(())
    }

    pub fn get<T: Stored>(&self, key: &str) -> Result<Arc<T>> {
        let entries = self.entries.read();
        let entry = entries.get(key).ok_or_else(|| Error::KeyNotFound { key: key.into(), wanted: "key" })?;
        entry.value.clone().downcast::<T>().map_err(|_| Error::WrongType { key: key.into(), wanted: T::TYPE, found: entry.type_name })
    }

    pub fn frame(&self, key: &str) -> Result<Arc<Frame>> {
        self.get(key)
    }

    pub fn type_of(&self, key: &str) -> Option<&'static str> {
        self.entries.read().get(key).map(|e| e.type_name)
    }
    pub fn contains(&self, key: &str) -> bool {
        self.entries.read().contains_key(key)
    }

    /// Removes a key; says whether it was there. A key that a job reads is not removed.
    pub fn remove(&self, key: &str) -> Result<bool> {
        let mut entries = self.entries.write();
        if let Some(by) = entries.get(key).and_then(|e| e.readers.first()) {
            return Err(Error::Locked { key: key.into(), by: by.clone(), action: "delete" });
        }
        Ok(entries.remove(key).is_some())
    }

    /// Removes everything but `keep`. Values in use by running jobs live until those end, but are no longer listed.
    pub fn clear(&self, keep: &[String]) {
        self.entries.write().retain(|k, _| keep.contains(k));
    }

    pub fn keys(&self) -> Vec<String> {
        self.entries.read().keys().cloned().collect()
    }
    pub fn len(&self) -> usize {
        self.entries.read().len()
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All values of one type, by key.
    pub fn all<T: Stored>(&self) -> Vec<(String, Arc<T>)> {
        let entries = self.entries.read();
        entries.iter().filter_map(|(k, e)| Some((k.clone(), e.value.clone().downcast::<T>().ok()?))).collect()
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
