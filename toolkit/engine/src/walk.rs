//! Finding the Rust sources of a project: what git would not ignore, without needing git.

use std::path::{Path, PathBuf};

use ignore::WalkBuilder;

use crate::{Error, Result};

/// All `*.rs` files below `root` that no ignore file of git leaves out, sorted. Works in a copy
/// without `.git` too; links are not followed.
///
/// # Errors
/// `root` is not a folder, or a folder below cannot be read.
pub fn rust_sources(root: &Path) -> Result<Vec<PathBuf>> {
    if !root.is_dir() {
        return Err(Error::in_file(root, "not a folder"));
    }
    let walk = WalkBuilder::new(root)
        // Git does not leave out what only begins with a dot, nor know of `.ignore` files.
        .hidden(false)
        .ignore(false)
        .require_git(false)
        .filter_entry(|entry| entry.file_name() != ".git")
        .build();
    let mut found = Vec::new();
    for entry in walk {
        let entry = entry.map_err(|error| Error::in_file(root, error.to_string()))?;
        let is_file = entry.file_type().is_some_and(|kind| kind.is_file());
        if is_file
            && entry
                .path()
                .extension()
                .is_some_and(|suffix| suffix == "rs")
        {
            found.push(entry.into_path());
        }
    }
    found.sort_unstable();
    Ok(found)
}
