//! Reading a text file line by line in constant memory. Knows nothing of any format.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use memchr::memchr;

use crate::{Error, Result};

/// Bytes read at a time; large enough that the system calls do not show (1 MiB).
const CHUNK: usize = 1 << 20;

/// A line longer than this is not text of a profiler but some other file (16 MiB).
const LONGEST_LINE: usize = 1 << 24;

/// What [`for_each_line`] saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Bytes in the file.
    pub bytes: u64,
    /// Lines, the last one also when it has no line feed.
    pub lines: u64,
    /// Whether the last line has its line feed (true for an empty file).
    pub complete: bool,
}

/// Calls `each(number, line)` for every line of the file: numbers from 1, the line without its
/// line feed and without a carriage return before it.
///
/// # Errors
/// [`Error::Read`], a line over 16 MiB, or what `each` returns (with the file's name put in).
pub fn for_each_line(path: &Path, each: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<Seen> {
    let file = File::open(path).map_err(Error::read(path))?;
    from_reader(file, path, each).map_err(|error| error.named(path))
}

/// [`for_each_line`] for any reader; `path` only names it in errors.
///
/// # Errors
/// As [`for_each_line`].
pub fn from_reader(
    mut reader: impl Read,
    path: &Path,
    mut each: impl FnMut(u64, &[u8]) -> Result<()>,
) -> Result<Seen> {
    let mut buffer = vec![0_u8; CHUNK];
    let mut filled = 0;
    let mut seen = Seen {
        bytes: 0,
        lines: 0,
        complete: true,
    };
    loop {
        if filled == buffer.len() {
            if buffer.len() >= LONGEST_LINE {
                return Err(Error::at_line(
                    seen.lines + 1,
                    "a line of more than 16 MiB: this is not text of a profiler",
                ));
            }
            buffer.resize(buffer.len() * 2, 0);
        }
        let read = match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::read(path)(error)),
        };
        seen.bytes += read as u64;
        let known = filled;
        filled += read;
        let mut start = 0;
        // What was there before this read holds no line feed: look only at the new bytes.
        let mut from = known;
        while let Some(offset) = memchr(b'\n', &buffer[from..filled]) {
            let end = from + offset;
            seen.lines += 1;
            each(seen.lines, without_return(&buffer[start..end]))?;
            start = end + 1;
            from = start;
        }
        buffer.copy_within(start..filled, 0);
        filled -= start;
    }
    if filled > 0 {
        seen.complete = false;
        seen.lines += 1;
        each(seen.lines, without_return(&buffer[..filled]))?;
    }
    Ok(seen)
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// A piece of a line for an error message: at most 80 characters, control characters escaped.
pub fn excerpt(line: &[u8]) -> String {
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

    fn lines(text: &[u8]) -> (Vec<String>, Seen) {
        let mut all = Vec::new();
        let seen = from_reader(Trickle(text), Path::new("x"), |number, line| {
            assert_eq!(number, all.len() as u64 + 1);
            all.push(String::from_utf8_lossy(line).into_owned());
            Ok(())
        })
        .expect("readable");
        (all, seen)
    }

    #[test]
    fn lines_come_whole_however_the_bytes_arrive() {
        let (all, seen) = lines(b"a\r\n\nbc\nd");
        assert_eq!(all, ["a", "", "bc", "d"]);
        assert_eq!((seen.bytes, seen.lines, seen.complete), (8, 4, false));
        assert_eq!(lines(b"").0.len(), 0);
        assert!(lines(b"a\n").1.complete);
    }

    #[test]
    fn an_endless_line_is_refused() {
        let endless = std::io::repeat(b'x');
        let error = from_reader(endless, Path::new("x"), |_, _| Ok(())).expect_err("refused");
        assert!(error.to_string().contains("16 MiB"), "{error}");
    }
}
