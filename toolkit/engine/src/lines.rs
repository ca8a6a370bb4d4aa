//! Reading a text file line by line in constant memory. Knows nothing of any format.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

use memchr::memchr;

use crate::{Error, Result};

/// Bytes read at a time; large enough that the system calls do not show (1 MiB).
const CHUNK: usize = 1 << 20;

/// A line longer than this is not text of a profiler but some other file (16 MiB).
const LONGEST_LINE: usize = 1 << 24;

/// Calls `each(number, line, complete)` for every line of the file: its number from 1, the line
/// without its line feed and without a carriage return before it, and whether it has its line feed
/// (only the last one may have none). Returns the file's size in bytes.
///
/// # Errors
/// The file cannot be read, a line over 16 MiB, or what `each` returns (with the file's name put
/// in).
pub(crate) fn for_each_line(
    path: &Path,
    each: impl FnMut(u64, &[u8], bool) -> Result<()>,
) -> Result<u64> {
    let file = File::open(path).map_err(Error::read(path))?;
    from_reader(file, each).map_err(|error| error.named(path))
}

fn from_reader(
    reader: impl Read,
    mut each: impl FnMut(u64, &[u8], bool) -> Result<()>,
) -> Result<u64> {
    let mut reader = BufReader::with_capacity(CHUNK, reader);
    // The start of a line whose end is in a later buffer: all other lines are not copied.
    let mut begun = Vec::new();
    let (mut number, mut bytes) = (1, 0);
    loop {
        let buffer = match reader.fill_buf() {
            Ok(buffer) => buffer,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::input(format!("cannot read: {error}"))),
        };
        if buffer.is_empty() {
            break;
        }
        let (read, mut rest) = (buffer.len(), buffer);
        while let Some(end) = memchr(b'\n', rest) {
            let mut line = &rest[..end];
            if !begun.is_empty() {
                begun.extend_from_slice(line);
                line = &begun;
            }
            each(number, without_return(line), true)?;
            begun.clear();
            number += 1;
            rest = &rest[end + 1..];
        }
        begun.extend_from_slice(rest);
        if begun.len() > LONGEST_LINE {
            let message = "a line of more than 16 MiB: this is not text of a profiler";
            return Err(Error::at_line(number, message));
        }
        reader.consume(read);
        bytes += read as u64;
    }
    if !begun.is_empty() {
        each(number, without_return(&begun), false)?;
    }
    Ok(bytes)
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
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
        let bytes = from_reader(Trickle(text), |number, line, complete| {
            assert_eq!(number, all.len() as u64 + 1);
            all.push((String::from_utf8_lossy(line).into_owned(), complete));
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
        let error = from_reader(endless, |_, _, _| Ok(())).expect_err("refused");
        assert!(
            error
                .to_string()
                .starts_with("line 1: a line of more than 16 MiB")
        );
    }
}
