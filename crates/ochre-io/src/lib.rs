//! Reading data from outside and writing it out: sources, parse setup, the CSV parser, the CSV writer.
//!
//! A running example: [`source::import`] turns a path into [`RawFile`]s, [`setup::guess`] looks at their first bytes
//! and proposes a [`ParseSetup`], [`parse::parse`] turns bytes into a frame.
//!
//! This crate must not know REST or models.

pub mod csv;
pub mod export;
pub mod parse;
pub mod remade;
pub mod setup;
pub mod source;
pub mod synthetic;
pub mod timetext;

pub use setup::{ColumnType, ParseSetup};
pub use source::RawFile;
