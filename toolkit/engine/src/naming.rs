//! What inferno calls a thread or a frame: each different one is handed over once, in a form that it
//! reads without loss, and what is put in for that is taken out again.

use std::io::{self, Read};

use crate::intern::Names;
use crate::lines::excerpt;
use crate::perf_script::FrameLine;
use crate::symbols;
use crate::{Error, Result};

// Stand-ins for what inferno would take for something else. They are code points that Unicode
// keeps for a program's own use inside itself; no text has them.
const ARROW: char = '\u{fdd0}';
const OPEN: char = '\u{fdd1}';
const CLOSE: char = '\u{fdd2}';
const SPACE: char = '\u{fdd3}';
const NOTHING: char = '\u{fdd4}';

/// Begins the numbers that stand for a thread or a frame.
const NUMBERED: char = '\u{fdd5}';

/// The thread as inferno reads it.
pub(crate) fn thread_name(comm: &str, id: &str) -> String {
    // In a name such as `rayon 1` inferno would take the 1 for the thread's number.
    let name: String = comm
        .chars()
        .map(|c| match c {
            ' ' | '\t' => '_',
            ';' => ':',
            other => other,
        })
        .collect();
    format!("{NOTHING}{name} {id}")
}

/// The frame as inferno reads it.
pub(crate) fn fed(frame: FrameLine<'_>) -> String {
    let symbol = symbols::demangle(frame.symbol);
    // inferno would split at `->` (its sign for Java's inlined calls), and cut at the first `(`
    // as at a C++ parameter list: right for C++, wrong for a path in a Python frame.
    let mut symbol = symbol.replace("->", ARROW.encode_utf8(&mut [0; 4]));
    if symbol.starts_with("py::") || symbols::is_rust(frame.symbol) {
        symbol = symbol.replace('(', OPEN.encode_utf8(&mut [0; 4]));
    }
    let anonymous = format!("{OPEN}anonymous namespace{CLOSE}");
    symbol = symbol.replace("(anonymous namespace)", &anonymous);
    if let Some(rest) = symbol.strip_prefix('(') {
        symbol = format!("{OPEN}{rest}");
    }
    let module = frame.module.replace(' ', SPACE.encode_utf8(&mut [0; 4]));
    format!("{symbol} ({module})")
}

/// Puts back what [`fed`] and [`thread_name`] replaced.
fn restore(text: &str) -> String {
    let mut restored = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            ARROW => restored.push_str("->"),
            OPEN => restored.push('('),
            CLOSE => restored.push(')'),
            SPACE => restored.push(' '),
            NOTHING => {}
            other => restored.push(other),
        }
    }
    restored
}

/// Reads inferno's answer to a [`Feed`]: `NUMBER;NAME 1` in any order.
pub(crate) fn names_by_number(text: &str, count: u32) -> Result<Vec<String>> {
    let broken = |line: &str| Error::Panic {
        doing: "collapsing perf's text",
        message: format!(
            "inferno's answer is not one name: `{}`",
            excerpt(line.as_bytes())
        ),
    };
    let mut names = vec![None; count as usize];
    for line in text.lines() {
        let (stack, seen) = line.rsplit_once(' ').ok_or_else(|| broken(line))?;
        let mut parts = stack.split(';');
        let (Some(first), Some(second), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(broken(line));
        };
        let number = |part: &str| {
            part.strip_prefix(NUMBERED)
                .and_then(|n| n.parse::<usize>().ok())
        };
        let (number, name) = match (number(first), number(second)) {
            (Some(number), None) => (number, second),
            (None, Some(number)) => (number, first),
            _ => return Err(broken(line)),
        };
        let slot = names.get_mut(number).ok_or_else(|| broken(line))?;
        if seen != "1" || slot.replace(restore(name)).is_some() {
            return Err(broken(line));
        }
    }
    let all: Option<Vec<String>> = names.into_iter().collect();
    all.ok_or_else(|| broken("a name is missing"))
}

/// Threads or frames as text for inferno: one sample each, in which the other part is a number.
pub(crate) struct Feed<'a> {
    names: &'a Names,
    pub(crate) are_threads: bool,
    pub(crate) count: u32,
    next: u32,
    text: Vec<u8>,
    taken: usize,
}

impl<'a> Feed<'a> {
    pub(crate) fn of_threads(names: &'a Names) -> Self {
        Self::new(names, true)
    }

    pub(crate) fn of_frames(names: &'a Names) -> Self {
        Self::new(names, false)
    }

    fn new(names: &'a Names, are_threads: bool) -> Self {
        Self {
            names,
            are_threads,
            count: names.len() as u32,
            next: 0,
            text: Vec::new(),
            taken: 0,
        }
    }

    fn refill(&mut self) {
        self.text.clear();
        self.taken = 0;
        if self.next == self.count {
            return;
        }
        let name = self.names.get(self.next);
        let number = format!("{NUMBERED}{}", self.next);
        self.next += 1;
        let (thread, frame) = if self.are_threads {
            (name, format!("{number} (m)").into_bytes())
        } else {
            (&*format!("{number} 0/0").into_bytes(), name.to_vec())
        };
        self.text.extend_from_slice(thread);
        self.text.extend_from_slice(b" 0.0: e: \n\t0 ");
        self.text.extend_from_slice(&frame);
        self.text.extend_from_slice(b"\n\n");
    }
}

impl Read for Feed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.text.len() {
            self.refill();
        }
        let rest = &self.text[self.taken..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.taken += length;
        Ok(length)
    }
}
