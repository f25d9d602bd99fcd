//! Frames: named columns of equal length. Columns are shared between frames, never copied.

use crate::{Column, Error, Kind, Result, Stored};
use std::collections::HashMap;

#[derive(Clone)]
pub struct Frame {
    names: Vec<String>,
    columns: Vec<Column>,
    rows: usize,
}

impl Stored for Frame {
    const TYPE: &'static str = "Frame";
}

impl Frame {
    pub fn new(names: Vec<String>, columns: Vec<Column>) -> Result<Frame> {
        if names.len() != columns.len() {
            return Err(Error::Internal(format!("{} names for {} columns", names.len(), columns.len())));
        }
        let rows = columns.first().map_or(0, Column::rows);
        if let Some((n, c)) = names.iter().zip(&columns).find(|(_, c)| c.rows() != rows) {
            return Err(Error::invalid(format!("column '{n}' has {} rows where the first column has {rows}", c.rows())));
        }
        Ok(Frame { names, columns, rows })
    }

    pub fn rows(&self) -> usize {
        self.rows
    }
    pub fn width(&self) -> usize {
        self.columns.len()
    }
    pub fn names(&self) -> &[String] {
        &self.names
    }
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }
    pub fn column(&self, i: usize) -> &Column {
        &self.columns[i]
    }
    pub fn find(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| n == name)
    }
    pub fn by_name(&self, name: &str) -> Option<&Column> {
        self.find(name).map(|i| &self.columns[i])
    }
    pub fn bytes(&self) -> u64 {
        self.columns.iter().map(Column::bytes).sum()
    }

    /// The columns at `index`, shared.
    pub fn select(&self, index: &[usize]) -> Frame {
        Frame {
            names: index.iter().map(|&i| self.names[i].clone()).collect(),
            columns: index.iter().map(|&i| self.columns[i].clone()).collect(),
            rows: self.rows,
        }
    }

    pub fn with_names(&self, names: Vec<String>) -> Result<Frame> {
        Frame::new(names, self.columns.clone())
    }

    /// Type of a column as the clients name it.
    pub fn type_name(&self, i: usize) -> Result<&'static str> {
        Ok(match &self.columns[i].kind {
            Kind::Real if self.columns[i].rollup()?.whole => "int",
            Kind::Real => "real",
            Kind::Time => "time",
            Kind::Enum(_) => "enum",
            Kind::Text => "string",
            Kind::Uuid => "uuid",
            Kind::Missing => "int",
        })
    }

    /// A fingerprint of names, kinds and shape plus rollups; equal data give equal fingerprints.
    pub fn checksum(&self) -> Result<i64> {
        let mut h: u64 = 0xcbf29ce484222325;
        let mut mix = |bytes: &[u8]| {
            for b in bytes {
                h = (h ^ u64::from(*b)).wrapping_mul(0x100000001b3);
            }
        };
        for (name, column) in self.names.iter().zip(&self.columns) {
            mix(name.as_bytes());
            let r = column.rollup()?;
            mix(&r.mean.to_bits().to_le_bytes());
            mix(&r.sigma.to_bits().to_le_bytes());
            mix(&(r.missing as u64).to_le_bytes());
        }
        mix(&(self.rows as u64).to_le_bytes());
        Ok(h as i64)
    }
}

/// Names made unique by appending 0, 1, ... as the reference does when frames are bound together.
pub fn unique_names(names: Vec<String>) -> Vec<String> {
    let mut seen: HashMap<String, ()> = HashMap::new();
    names
        .into_iter()
        .map(|n| {
            let mut candidate = n.clone();
            let mut i = 0;
            while seen.contains_key(&candidate) {
                candidate = format!("{n}{i}");
                i += 1;
            }
            seen.insert(candidate.clone(), ());
            candidate
        })
        .collect()
}
