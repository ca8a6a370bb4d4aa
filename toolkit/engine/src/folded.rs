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

use std::borrow::Cow;
use std::cmp::Reverse;
use std::io::Write;
use std::path::Path;

use memchr::{memchr, memchr_iter, memrchr};

use crate::intern::{Names, Stacks};
use crate::lines::{excerpt, for_each_line};
use crate::whole::write_whole;
use crate::{Error, Result};

/// A set of stacks with their counts. Equal stacks are one stack.
#[derive(Debug, Clone, Default)]
pub struct Folded {
    names: Names,
    stacks: Stacks,
    total: u64,
}

impl Folded {
    /// Reads a file of folded stacks.
    ///
    /// # Errors
    /// A file that cannot be read, or the line that is not a folded stack.
    pub fn read(path: &Path) -> Result<Self> {
        let mut parser = Parser::default();
        for_each_line(path, |number, line, _| {
            let read = parser.line(line);
            read.map_err(|error| Error::at_line(number, error.message))
        })?;
        parser.finish().map_err(|error| error.named(path))
    }

    /// Adds one stack, root first.
    ///
    /// # Errors
    /// An empty stack or name, a control character in a name, or a total beyond `u64`.
    pub fn add<S: AsRef<str>>(&mut self, stack: &[S], count: u64) -> Result<()> {
        let mut ids = Vec::with_capacity(stack.len());
        for name in stack {
            ids.push(self.intern(name.as_ref())?);
        }
        self.push(&ids, count)
    }

    /// Sum of all counts.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
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
    pub(crate) fn stacks(&self) -> &Stacks {
        &self.stacks
    }

    /// Name, self count and total count of every frame: the largest self count first, then by total
    /// and name. A frame that recurs in a stack counts once for it.
    #[must_use]
    pub fn frames(&self) -> Vec<(&str, u64, u64)> {
        let mut rows: Vec<_> = (0..self.names.len() as u32)
            .map(|id| (self.name(id), 0, 0))
            .collect();
        let mut last_seen = vec![u32::MAX; rows.len()];
        for (number, (stack, count)) in (0_u32..).zip(self.stacks.iter()) {
            for id in stack {
                // The sums stay below `self.total`.
                if std::mem::replace(&mut last_seen[*id as usize], number) != number {
                    rows[*id as usize].2 += count;
                }
            }
            if let Some(leaf) = stack.last() {
                rows[*leaf as usize].1 += count;
            }
        }
        rows.sort_unstable_by_key(|(name, own, total)| (Reverse((*own, *total)), *name));
        rows
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
            let (stack, _) = self.stacks.get(number);
            stack.iter().map(|id| rank[*id as usize])
        };
        let mut order: Vec<u32> = (0..self.stacks.len() as u32).collect();
        order.sort_unstable_by(|a, b| key(*a).cmp(key(*b)));
        order
    }

    /// Writes the stacks as a folded file, sorted; the file appears whole or not at all.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_whole(path, |writer| {
            let mut line = Vec::new();
            for number in self.sorted() {
                let (stack, count) = self.stacks.get(number);
                line.clear();
                for id in stack {
                    line.extend_from_slice(self.names.get(*id));
                    line.push(b';');
                }
                line.pop();
                let written = writer.write_all(&line);
                let written = written.and_then(|()| writeln!(writer, " {count}"));
                written.map_err(Error::write(path))?;
            }
            Ok(())
        })
    }

    /// The same names with other stacks, whose numbers [`Folded::intern`] gave.
    pub(crate) fn with_stacks(self, stacks: Stacks, total: u64) -> Self {
        Self {
            names: self.names,
            stacks,
            total,
        }
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
    pub(crate) fn intern(&mut self, name: &str) -> Result<u32> {
        // Only checked names are stored, so what is known needs no check: most names come often.
        if let Some(id) = self.names.find(name.as_bytes()) {
            return Ok(id);
        }
        if name.is_empty() {
            return Err(Error::input(
                "a frame without a name (two `;` side by side?)",
            ));
        }
        let is_control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
        if let Some(byte) = name.bytes().find(is_control) {
            return Err(Error::input(format!(
                "a frame name with the control character 0x{byte:02x}: `{}`",
                excerpt(name.as_bytes())
            )));
        }
        let mut name = Cow::Borrowed(name);
        if memchr(b';', name.as_bytes()).is_some() {
            name = Cow::Owned(name.replace(';', ":"));
        }
        Ok(self.names.add(name.as_bytes()).0)
    }
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
    fn line(&mut self, line: &[u8]) -> Result<()> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let told = |what: &str| Error::input(format!("{what}: `{}`", excerpt(line)));
        let line = std::str::from_utf8(line).map_err(|_| told("not UTF-8 text"))?;
        let last_word = |text: &str| memrchr(b' ', text.as_bytes());
        let space = last_word(line).ok_or_else(|| told(NO_COUNT))?;
        let text = &line[..space];
        let count = number(&line[space + 1..])?.ok_or_else(|| told(NO_COUNT))?;
        self.lines += 1;
        let is_second = |before: usize| is_digits(&text[before + 1..]);
        self.two_counts += u64::from(last_word(text).is_some_and(is_second));
        self.ids.clear();
        let mut start = 0;
        for divider in memchr_iter(b';', text.as_bytes()) {
            if text[divider + 1..].starts_with(' ') && in_brackets(&text[start..divider]) {
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

const NO_COUNT: &str = "no count after the last space";

/// Whether a `[` is still open: then `; ` belongs to a Rust array type such as `[f64; 3]`.
fn in_brackets(name: &str) -> bool {
    name.matches('[').count() > name.matches(']').count()
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A count; `None` for what is no number.
fn number(text: &str) -> Result<Option<u64>> {
    if is_digits(text) {
        let too_large = |_| Error::input(format!("the count `{text}` is larger than 2^64 - 1"));
        return text.parse().map(Some).map_err(too_large);
    }
    let like_a_number = |byte: u8| byte.is_ascii_digit() || b".-+eE".contains(&byte);
    if text.bytes().all(like_a_number) && text.parse::<f64>().is_ok() {
        return Err(Error::input(format!(
            "the count `{text}` is not a whole number of samples; \
             fractional or negative weights are not rounded away"
        )));
    }
    Ok(None)
}
