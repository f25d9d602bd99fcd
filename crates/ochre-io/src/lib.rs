//! Reading data from outside and writing it out: sources, parse setup, parsers of CSV (and of what is told as CSV: ARFF,
//! workbooks), SVMLight and Parquet, the CSV writer.
//!
//! A running example: [`source::import`] turns a path into [`RawFile`]s, [`setup::guess`] looks at their first bytes
//! and proposes a [`ParseSetup`], [`parse::parse`] turns bytes into a frame.
//!
//! This crate must not know REST or models.

mod arff;
pub mod columnar;
pub mod csv;
pub mod export;
pub mod objects;
pub mod parse;
mod records;
pub mod remade;
pub mod remote;
pub mod setup;
mod sheet;
pub mod source;
mod sparse;
pub mod sql;
pub mod synthetic;
pub mod tabulate;
pub mod timetext;

pub use setup::{ColumnType, Format, ParseSetup};
pub use source::RawFile;
