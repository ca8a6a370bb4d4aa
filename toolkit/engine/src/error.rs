//! The one error type of the engine. Wording lives where the error is made; exit codes and
//! remedies are the business of the Python side.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What every fallible function of the engine returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the engine did not do what it was asked for.
#[derive(Debug)]
pub enum Error {
    /// The input is not what it should be.
    Input {
        /// The file it came from, when it came from one.
        path: Option<PathBuf>,
        /// Line in that file, counted from 1, when the fault has one.
        line: Option<u64>,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// A file could not be read.
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file could not be written; nothing was left in its place.
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A library that the engine uses panicked, or broke a promise that the engine checks.
    Panic {
        /// What the engine was doing.
        doing: &'static str,
        /// The panic's own text and place.
        message: String,
    },
}

impl Error {
    /// An input error without a file.
    pub fn input(message: impl Into<String>) -> Self {
        Self::Input {
            path: None,
            line: None,
            message: message.into(),
        }
    }

    /// An input error about a file as a whole.
    pub fn in_file(path: &Path, message: impl Into<String>) -> Self {
        Self::Input {
            path: Some(path.to_path_buf()),
            line: None,
            message: message.into(),
        }
    }

    /// An input error at one line (counted from 1) of a text that has no name yet;
    /// see [`Error::named`].
    pub fn at_line(line: u64, message: impl Into<String>) -> Self {
        Self::Input {
            path: None,
            line: Some(line),
            message: message.into(),
        }
    }

    /// The same error, with the file's name where it had none.
    #[must_use]
    pub fn named(self, name: &Path) -> Self {
        match self {
            Self::Input {
                path: None,
                line,
                message,
            } => Self::Input {
                path: Some(name.to_path_buf()),
                line,
                message,
            },
            other => other,
        }
    }

    /// Turns a system error into "could not read this file".
    pub fn read(path: &Path) -> impl FnOnce(io::Error) -> Self + use<'_> {
        move |source| Self::Read {
            path: path.to_path_buf(),
            source,
        }
    }

    /// Turns a system error into "could not write this file".
    pub fn write(path: &Path) -> impl FnOnce(io::Error) -> Self + use<'_> {
        move |source| Self::Write {
            path: path.to_path_buf(),
            source,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input {
                path,
                line,
                message,
            } => {
                match (path, line) {
                    (Some(path), Some(line)) => write!(f, "{}:{line}: ", path.display())?,
                    (Some(path), None) => write!(f, "{}: ", path.display())?,
                    (None, Some(line)) => write!(f, "line {line}: ")?,
                    (None, None) => {}
                }
                f.write_str(message)
            }
            Self::Read { path, source } => write!(f, "{}: cannot read: {source}", path.display()),
            Self::Write { path, source } => write!(f, "{}: cannot write: {source}", path.display()),
            Self::Panic { doing, message } => {
                write!(f, "a library panicked while {doing}: {message}")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } => Some(source),
            Self::Input { .. } | Self::Panic { .. } => None,
        }
    }
}

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
