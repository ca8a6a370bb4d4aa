//! The compiled core of perfkit: everything that must be fast or needs a real parser.
//!
//! The modules here work on paths and slices and know nothing of Python; [`python`] (feature
//! `python`) is the thin layer that shows them to it. Nothing here prints, decides or judges.

pub mod cfg;
pub mod collapse;
pub mod constants;
pub mod elf;
pub mod error;
pub mod flame;
pub mod folded;
pub mod guard;
pub mod inlined;
mod intern;
mod lines;
mod naming;
pub mod perf_script;
#[cfg(feature = "python")]
pub mod python;
pub mod samples;
pub mod select;
pub mod symbols;
pub mod toml_lines;
pub mod walk;
pub mod whole;

pub use error::{Error, Result};
