//! Reading a text file line by line in constant memory. Knows nothing of any format.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::{Error, Result};

/// Bytes read at a time; large enough that the system calls do not show (1 MiB).
const CHUNK: usize = 1 << 20;

/// A line longer than this is not text of a profiler but some other file (16 MiB).
const LONGEST_LINE: usize = 1 << 24;

/// One line of a text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    /// Its number, from 1.
    pub(crate) number: u64,
    /// Without its line feed and without a carriage return before it.
    pub(crate) text: &'a [u8],
    /// Whether it has its line feed; only the last one may have none.
    pub(crate) complete: bool,
}

/// Calls `each` for every line of the file; returns the file's size in bytes.
///
/// # Errors
/// [`Error::Input`]: the file cannot be read, a line over 16 MiB, or what `each` returns (with the
/// file's name put in).
pub(crate) fn for_each_line(path: &Path, each: impl FnMut(Line<'_>) -> Result<()>) -> Result<u64> {
    let file = File::open(path).map_err(Error::read(path))?;
    from_reader(file, each).map_err(|error| error.named(path))
}

fn from_reader(reader: impl Read, mut each: impl FnMut(Line<'_>) -> Result<()>) -> Result<u64> {
    let mut reader = BufReader::with_capacity(CHUNK, reader);
    let (mut line, mut number, mut bytes) = (Vec::new(), 0, 0);
    loop {
        line.clear();
        let read = reader
            .by_ref()
            .take(LONGEST_LINE as u64)
            .read_until(b'\n', &mut line)
            .map_err(|error| Error::input(format!("cannot read: {error}")))?;
        if read == 0 {
            return Ok(bytes);
        }
        bytes += read as u64;
        number += 1;
        let bare = line.strip_suffix(b"\n");
        let complete = bare.is_some();
        if !complete && read == LONGEST_LINE {
            return Err(Error::at_line(
                number,
                "a line of more than 16 MiB: this is not text of a profiler",
            ));
        }
        let text = bare.unwrap_or(&line);
        each(Line {
            number,
            text: text.strip_suffix(b"\r").unwrap_or(text),
            complete,
        })?;
    }
}

/// A piece of a line for an error message: at most 80 characters, control characters escaped.
pub(crate) fn excerpt(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let mut short: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().nth(80).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out one byte at a time, as a slow pipe might.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else {
                return Ok(0);
            };
            buffer[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    fn lines(text: &[u8]) -> (Vec<(String, bool)>, u64) {
        let mut all = Vec::new();
        let bytes = from_reader(Trickle(text), |line| {
            assert_eq!(line.number, all.len() as u64 + 1);
            all.push((
                String::from_utf8_lossy(line.text).into_owned(),
                line.complete,
            ));
            Ok(())
        });
        (all, bytes.expect("readable"))
    }

    #[test]
    fn lines_come_whole_however_the_bytes_arrive() {
        let (all, bytes) = lines(b"a\r\n\nbc\nd");
        let each = [("a", true), ("", true), ("bc", true), ("d", false)];
        assert_eq!(
            all,
            each.map(|(text, complete)| (text.to_owned(), complete))
        );
        assert_eq!(bytes, 8);
        assert_eq!(lines(b""), (Vec::new(), 0));
    }

    #[test]
    fn an_endless_line_is_refused() {
        let endless = std::io::repeat(b'x');
        let error = from_reader(endless, |_| Ok(())).expect_err("refused");
        assert!(error.to_string().contains("16 MiB"), "{error}");
    }
}
