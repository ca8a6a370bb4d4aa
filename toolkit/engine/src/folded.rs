//! Folded stacks: one line per stack, root first, and how often it was seen.
//!
//! ```text
//! python3-12/12;_PyEval_EvalFrameDefault;kernel::call_price 17
//! main;<[f64; 3] as core::fmt::Debug>::fmt 2
//! ```
//!
//! The count is what follows the last space; names may hold spaces. A `;` divides frames, except
//! inside `[T; N]` (a Rust array type, which py-spy writes as it is): such a `;` is kept in the
//! name as `:`, as the collapsers of perf output do. Nothing here knows what a frame means.

use std::io::Write;
use std::path::Path;

use memchr::{memchr_iter, memrchr};

use crate::intern::{Names, Sequences};
use crate::lines::{excerpt, for_each_line, from_reader};
use crate::whole::write_whole;
use crate::{Error, Result};

/// A set of stacks with their counts. Equal stacks are one stack.
#[derive(Debug, Clone, Default)]
pub struct Folded {
    names: Names,
    stacks: Sequences,
    total: u64,
}

/// One row of [`Folded::frames`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameTotals<'a> {
    /// The frame's name.
    pub name: &'a str,
    /// Samples in which it was the innermost frame.
    pub own: u64,
    /// Samples in which it was anywhere on the stack, once each however often it recurs.
    pub total: u64,
}

impl Folded {
    /// Reads a file of folded stacks.
    ///
    /// # Errors
    /// [`Error::Read`], or [`Error::Input`] with the line that is not a folded stack.
    pub fn read(path: &Path) -> Result<Self> {
        let mut parser = Parser::default();
        for_each_line(path, |number, line| parser.line(number, line))?;
        parser.finish().map_err(|error| error.named(path))
    }

    /// Reads folded stacks from memory; `name` stands for the file in errors.
    ///
    /// # Errors
    /// As [`Folded::read`].
    pub fn parse(text: &[u8], name: &Path) -> Result<Self> {
        let mut parser = Parser::default();
        from_reader(text, name, |number, line| parser.line(number, line))
            .and_then(|_| parser.finish())
            .map_err(|error| error.named(name))
    }

    /// Adds the stacks of a text that a collapser has just made, and that therefore has one count
    /// per line whatever the names look like.
    ///
    /// # Errors
    /// As [`Folded::read`].
    pub(crate) fn extend(&mut self, text: &[u8], name: &Path) -> Result<()> {
        let mut parser = Parser {
            folded: std::mem::take(self),
            ..Parser::default()
        };
        from_reader(text, name, |number, line| parser.line(number, line))?;
        *self = parser.folded;
        Ok(())
    }

    /// Adds one stack, root first.
    ///
    /// # Errors
    /// An empty stack or name, a control character in a name, or a total beyond `u64`.
    pub fn add<S: AsRef<str>>(&mut self, stack: &[S], count: u64) -> Result<()> {
        let mut ids = Vec::with_capacity(stack.len());
        for name in stack {
            ids.push(self.intern(name.as_ref().as_bytes())?);
        }
        self.push(&ids, count)
    }

    /// Adds all stacks of another set, under the frame `root` when one is given.
    ///
    /// # Errors
    /// As [`Folded::add`].
    pub fn merge(&mut self, other: &Self, root: Option<&str>) -> Result<()> {
        let mut map = Vec::with_capacity(other.names.len());
        for id in 0..other.names.len() {
            map.push(self.names.add(other.names.get(id as u32)).0);
        }
        let root = match root {
            Some(name) => Some(self.intern(name.as_bytes())?),
            None => None,
        };
        let mut ids = Vec::new();
        for (stack, count) in other.stacks.iter() {
            ids.clear();
            ids.extend(root);
            ids.extend(stack.iter().map(|id| map[*id as usize]));
            self.push(&ids, count)?;
        }
        Ok(())
    }

    /// The same stacks leaf first.
    ///
    /// # Errors
    /// None for stacks that were read or added; the signature is that of the adding.
    pub fn reversed(&self) -> Result<Self> {
        let mut turned = Self {
            names: self.names.clone(),
            ..Self::default()
        };
        let mut ids = Vec::new();
        for (stack, count) in self.stacks.iter() {
            ids.clear();
            ids.extend(stack.iter().rev());
            turned.push(&ids, count)?;
        }
        Ok(turned)
    }

    /// Sum of all counts.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Number of different stacks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.stacks.len()
    }

    /// Whether there is no stack at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stacks.is_empty()
    }

    /// Number of different frame names.
    #[must_use]
    pub fn name_count(&self) -> usize {
        self.names.len()
    }

    /// The name of a frame by its number.
    #[must_use]
    pub fn name(&self, id: u32) -> &str {
        // Only checked text is ever stored.
        std::str::from_utf8(self.names.get(id)).expect("names are UTF-8")
    }

    /// The stacks as numbers of names, with their counts, in order of first appearance.
    #[must_use]
    pub fn sequences(&self) -> &Sequences {
        &self.stacks
    }

    /// Self and total count of every frame, the largest self first, then by total and name.
    #[must_use]
    pub fn frames(&self) -> Vec<FrameTotals<'_>> {
        let mut own = vec![0_u64; self.names.len()];
        let mut total = vec![0_u64; self.names.len()];
        let mut last_seen = vec![u32::MAX; self.names.len()];
        for (number, (stack, count)) in self.stacks.iter().enumerate() {
            for id in stack {
                // Recursion: a frame counts once per stack. The sums stay below `self.total`.
                if std::mem::replace(&mut last_seen[*id as usize], number as u32) != number as u32 {
                    total[*id as usize] += count;
                }
            }
            if let Some(leaf) = stack.last() {
                own[*leaf as usize] += count;
            }
        }
        let used = (0..self.names.len()).filter(|id| last_seen[*id] != u32::MAX);
        let mut rows: Vec<_> = used
            .map(|id| FrameTotals {
                name: self.name(id as u32),
                own: own[id],
                total: total[id],
            })
            .collect();
        rows.sort_unstable_by(|a, b| {
            (b.own, b.total)
                .cmp(&(a.own, a.total))
                .then_with(|| a.name.cmp(b.name))
        });
        rows
    }

    /// Appends one stack's line, without count and line feed, to `line`.
    pub fn render(&self, stack: &[u32], line: &mut Vec<u8>) {
        for (position, id) in stack.iter().enumerate() {
            if position > 0 {
                line.push(b';');
            }
            line.extend_from_slice(self.names.get(*id));
        }
    }

    /// Numbers of the stacks in the order of their names, frame by frame: an order that does not
    /// depend on how the stacks came in.
    #[must_use]
    pub fn sorted(&self) -> Vec<u32> {
        let mut by_name: Vec<u32> = (0..self.names.len() as u32).collect();
        by_name.sort_unstable_by_key(|id| self.names.get(*id));
        let mut rank = vec![0_u32; by_name.len()];
        for (position, id) in by_name.iter().enumerate() {
            rank[*id as usize] = position as u32;
        }
        let key = |number: u32| {
            self.stacks
                .get(number)
                .0
                .iter()
                .map(|id| rank[*id as usize])
        };
        let mut order: Vec<u32> = (0..self.stacks.len() as u32).collect();
        order.sort_unstable_by(|a, b| key(*a).cmp(key(*b)));
        order
    }

    /// Writes the stacks as a folded file, sorted; the file appears whole or not at all.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn write(&self, path: &Path) -> Result<()> {
        write_whole(path, |writer| {
            let mut line = Vec::new();
            for number in self.sorted() {
                let (stack, count) = self.stacks.get(number);
                line.clear();
                self.render(stack, &mut line);
                line.push(b' ');
                line.extend_from_slice(count.to_string().as_bytes());
                line.push(b'\n');
                writer.write_all(&line).map_err(Error::write(path))?;
            }
            Ok(())
        })
    }

    /// Adds a stack of numbers that [`Folded::intern`] gave.
    pub(crate) fn push(&mut self, stack: &[u32], count: u64) -> Result<()> {
        if stack.is_empty() {
            return Err(Error::input("a stack without frames"));
        }
        let total = self.total.checked_add(count);
        self.total = total.ok_or_else(|| Error::input("the counts add up to more than 2^64"))?;
        self.stacks
            .add(stack, count)
            .ok_or_else(|| Error::input("the counts add up to more than 2^64"))
    }

    /// The number of a name, made safe for a folded line.
    pub(crate) fn intern(&mut self, name: &[u8]) -> Result<u32> {
        if name.is_empty() {
            return Err(Error::input(
                "a frame without a name (two `;` side by side?)",
            ));
        }
        if let Some(byte) = name.iter().find(|byte| is_control(**byte)) {
            return Err(Error::input(format!(
                "a frame name with the control character 0x{byte:02x}: `{}`",
                excerpt(name)
            )));
        }
        if memchr::memchr(b';', name).is_some() {
            let safe: Vec<u8> = name
                .iter()
                .map(|byte| if *byte == b';' { b':' } else { *byte })
                .collect();
            return Ok(self.names.add(&safe).0);
        }
        Ok(self.names.add(name).0)
    }
}

fn is_control(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t') || byte == 0x7f
}

/// Takes lines, gives a [`Folded`].
#[derive(Default)]
struct Parser {
    folded: Folded,
    ids: Vec<u32>,
    /// Lines with a stack, and how many of them end in two numbers.
    lines: u64,
    two_counts: u64,
}

impl Parser {
    fn line(&mut self, number: u64, line: &[u8]) -> Result<()> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        self.stack(line).map_err(|error| match error {
            Error::Input { message, .. } => Error::at_line(number, message),
            other => other,
        })
    }

    fn stack(&mut self, line: &[u8]) -> Result<()> {
        if std::str::from_utf8(line).is_err() {
            let message = format!("not UTF-8 text: `{}`", excerpt(line));
            return Err(Error::input(message));
        }
        let space = memrchr(b' ', line).ok_or_else(|| no_count(line))?;
        let (text, count) = (&line[..space], number(&line[space + 1..], line)?);
        self.lines += 1;
        if let Some(before) = memrchr(b' ', text)
            && before + 1 < text.len()
            && text[before + 1..].iter().all(u8::is_ascii_digit)
        {
            self.two_counts += 1;
        }
        self.ids.clear();
        let mut start = 0;
        for divider in memchr_iter(b';', text) {
            if text.get(divider + 1) == Some(&b' ') && in_brackets(&text[start..divider]) {
                continue;
            }
            self.ids.push(self.folded.intern(&text[start..divider])?);
            start = divider + 1;
        }
        self.ids.push(self.folded.intern(&text[start..])?);
        self.folded.push(&self.ids, count)
    }

    fn finish(self) -> Result<Folded> {
        if self.lines > 1 && self.two_counts == self.lines {
            return Err(Error::input(
                "every line ends in two numbers: this is a differential folded file; \
                 give the two folded files that it was made from",
            ));
        }
        Ok(self.folded)
    }
}

/// Whether a `[` is still open: then `; ` belongs to a Rust array type such as `[f64; 3]`.
fn in_brackets(name: &[u8]) -> bool {
    let open = memchr_iter(b'[', name).count();
    open > memchr_iter(b']', name).count()
}

fn number(digits: &[u8], line: &[u8]) -> Result<u64> {
    if digits.is_empty() {
        return Err(no_count(line));
    }
    if digits.iter().all(u8::is_ascii_digit) {
        let text = std::str::from_utf8(digits).map_err(|_| no_count(line))?;
        return text
            .parse()
            .map_err(|_| Error::input(format!("the count `{text}` is larger than 2^64 - 1")));
    }
    let text = String::from_utf8_lossy(digits);
    let like_a_number =
        |b: &u8| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E');
    if digits.iter().all(like_a_number) && text.parse::<f64>().is_ok() {
        return Err(Error::input(format!(
            "the count `{text}` is not a whole number of samples; \
             fractional or negative weights are not rounded away"
        )));
    }
    Err(no_count(line))
}

fn no_count(line: &[u8]) -> Error {
    Error::input(format!(
        "no count after the last space: `{}`",
        excerpt(line)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Folded> {
        Folded::parse(text.as_bytes(), Path::new("t.folded"))
    }

    fn refusal(text: &str) -> String {
        parse(text).expect_err("refused").to_string()
    }

    fn stacks(folded: &Folded) -> Vec<(Vec<&str>, u64)> {
        let names = |(stack, count): (&[u32], u64)| {
            (stack.iter().map(|id| folded.name(*id)).collect(), count)
        };
        folded.sequences().iter().map(names).collect()
    }

    #[test]
    fn equal_stacks_are_added_up() {
        let folded = parse("a;b 3\n\na 1\r\na;b 4").expect("good");
        assert_eq!(stacks(&folded), [(vec!["a", "b"], 7), (vec!["a"], 1)]);
        assert_eq!((folded.total(), folded.len()), (8, 2));
    }

    #[test]
    fn names_may_hold_spaces_and_array_types() {
        let folded = parse("<module> (a b.py:1);<[f64; 3] as X>::y;z 2").expect("good");
        assert_eq!(
            stacks(&folded),
            [(vec!["<module> (a b.py:1)", "<[f64: 3] as X>::y", "z"], 2)]
        );
        let spaced = parse("[unknown]; b 1").expect("good");
        assert_eq!(stacks(&spaced), [(vec!["[unknown]", " b"], 1)]);
    }

    #[test]
    fn what_is_not_a_folded_stack_is_refused_with_its_line() {
        for (text, told) in [
            (
                "a;b 3\nno count\n",
                "t.folded:2: no count after the last space",
            ),
            ("a;b", "t.folded:1: no count"),
            ("a ", "t.folded:1: no count"),
            (
                "a;b 1.5\n",
                "t.folded:1: the count `1.5` is not a whole number",
            ),
            (
                "a;b -1\n",
                "t.folded:1: the count `-1` is not a whole number",
            ),
            ("a;b 18446744073709551616", "is larger than 2^64"),
            (
                "a 18446744073709551615\nb 1",
                "t.folded:2: the counts add up",
            ),
            ("a;;b 1", "t.folded:1: a frame without a name"),
            (" 1", "t.folded:1: a frame without a name"),
            ("a\u{1} 1", "control character 0x01"),
            (
                "a;b 1 2\na;c 3 4\n",
                "t.folded: every line ends in two numbers",
            ),
        ] {
            let message = refusal(text);
            assert!(message.contains(told), "{text:?}: {message}");
        }
        let binary = Folded::parse(b"\xff\xfe 1", Path::new("b")).expect_err("refused");
        assert!(binary.to_string().starts_with("b:1: not UTF-8"));
    }

    #[test]
    fn recursion_counts_a_frame_once_per_stack() {
        let folded = parse("a;b;a;b 5\na 2\nb 1\n").expect("good");
        let row = |name, own, total| FrameTotals { name, own, total };
        assert_eq!(folded.frames(), [row("b", 6, 6), row("a", 2, 7)]);
    }

    #[test]
    fn merging_puts_stacks_under_a_root() {
        let mut all = parse("a 1").expect("good");
        all.merge(&parse("a;b 2").expect("good"), Some("size=10"))
            .expect("fits");
        all.merge(&parse("a 3").expect("good"), None).expect("fits");
        assert_eq!(
            stacks(&all),
            [(vec!["a"], 4), (vec!["size=10", "a", "b"], 2)]
        );
    }
}
