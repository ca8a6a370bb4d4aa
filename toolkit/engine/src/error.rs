//! The one error type of the engine. Wording lives where the error is made; exit codes and
//! remedies are the business of the Python side.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What every fallible function of the engine returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The input cannot be read, or is not what it should be.
    Input,
    /// A file could not be written; nothing was left in its place.
    Write,
    /// A library that the engine uses panicked.
    Panic,
}

/// Why the engine did not do what it was asked for.
#[derive(Debug)]
pub struct Error {
    /// Whose fault it is.
    pub kind: Kind,
    /// The file that it is about, when it is about one.
    pub path: Option<PathBuf>,
    /// Line in that file, counted from 1, when the fault has one.
    pub line: Option<u64>,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Error {
    /// An input error without a file.
    pub fn input(message: impl Into<String>) -> Self {
        Self {
            kind: Kind::Input,
            path: None,
            line: None,
            message: message.into(),
        }
    }

    /// An input error about a file as a whole.
    pub fn in_file(path: &Path, message: impl Into<String>) -> Self {
        Self::input(message).named(path)
    }

    /// An input error at one line (counted from 1) of a text that has no name yet;
    /// see [`Error::named`].
    pub fn at_line(line: u64, message: impl Into<String>) -> Self {
        Self {
            line: Some(line),
            ..Self::input(message)
        }
    }

    /// A panic's own text and place, and what the engine was doing.
    pub(crate) fn panic(doing: &str, message: &str) -> Self {
        Self {
            kind: Kind::Panic,
            ..Self::input(format!("a library panicked while {doing}: {message}"))
        }
    }

    /// The same error, with the file's name where it had none. A panic is about no file.
    #[must_use]
    pub fn named(mut self, name: &Path) -> Self {
        if self.kind != Kind::Panic {
            self.path.get_or_insert_with(|| name.to_path_buf());
        }
        self
    }

    /// Turns a system error into "could not read this file".
    pub fn read(path: &Path) -> impl FnOnce(io::Error) -> Self + use<'_> {
        move |source| Self::in_file(path, format!("cannot read: {source}"))
    }

    /// Turns a system error into "could not write this file".
    pub fn write(path: &Path) -> impl FnOnce(io::Error) -> Self + use<'_> {
        move |source| Self {
            kind: Kind::Write,
            ..Self::in_file(path, format!("cannot write: {source}"))
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.path, self.line) {
            (Some(path), Some(line)) => write!(f, "{}:{line}: ", path.display())?,
            (Some(path), None) => write!(f, "{}: ", path.display())?,
            (None, Some(line)) => write!(f, "line {line}: ")?,
            (None, None) => {}
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_file_and_line_as_compilers_do() {
        let error = Error::at_line(7, "no count").named(Path::new("a.folded"));
        assert_eq!(error.to_string(), "a.folded:7: no count");
        let kept = error.named(Path::new("other"));
        assert_eq!(kept.to_string(), "a.folded:7: no count");
    }
}
