//! The compiled core of perfkit: everything that must be fast or needs a real parser.
//!
//! The modules here work on paths and slices and know nothing of Python; [`python`] (feature
//! `python`) is the thin layer that shows them to it. Nothing here prints, decides or judges.

pub mod cfg;
pub mod collapse;
pub mod constants;
pub mod copies;
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
#[cfg(all(test, target_os = "linux"))]
#[path = "../sampler/sampler.rs"]
#[allow(dead_code, missing_docs)] // compiled as a library of its own, see build.rs
mod sampler;
pub mod samples;
pub mod select;
pub mod symbols;
pub mod toml_lines;
pub mod walk;
pub mod whole;

pub use error::{Error, Result};

/// The shared library that a worker loads to sample itself; empty where there is none for the
/// system or the machine.
pub const SAMPLER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sampler.so"));
