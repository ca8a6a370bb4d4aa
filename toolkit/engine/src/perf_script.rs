//! The text that `perf script` prints: what its lines are. Pure; reads no file.
//!
//! ```text
//! # comments
//! python3  8628/8628    982.886316: cpu-clock:
//!         7f7e17bbd680 _PyEval_EvalFrameDefault+0x550e (/usr/lib/libpython3.11.so.1.0)
//!         7f7e17c129c0 [unknown] ([unknown])
//!
//! python  8628   982.875568:   10101010 cpu-clock:ppp:
//! worker 1  8636/8637 [001]  985.161622: cpu-clock:      7f0dd0 inner (/tmp/a (deleted))
//! ```
//!
//! The first event is what `-F comm,pid,tid,time,event,ip,sym,dso` gives, the second what perf
//! prints by default (thread without process, a period before the event), the third an event
//! with one frame on its line, as in a capture without call chains.

/// The fields that a capture is printed with; named in errors, so that the reader can do it again.
pub const FIELDS: &str = "comm,pid,tid,time,event,ip,sym,dso";

/// The first line of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventLine<'a> {
    /// Name of the thread; may hold spaces.
    pub comm: &'a str,
    /// `PID/TID`, or `TID` alone where the process was not printed.
    pub id: &'a str,
    /// Clock of the sample: seconds and their fraction, as printed.
    pub time: &'a str,
    /// Event without its modifiers: `cpu-clock`, `cycles`.
    pub event: &'a str,
    /// What follows the event: nothing, a frame, or a tracepoint's text.
    pub rest: &'a str,
    /// Whether the event is a tracepoint (`system:name`), which may carry text of its own.
    pub tracepoint: bool,
}

/// One frame of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLine<'a> {
    /// The symbol without its offset; `[unknown]` where there is none.
    pub symbol: &'a str,
    /// The file that it lies in, or `inlined`, or `[unknown]`.
    pub module: &'a str,
}

impl FrameLine<'_> {
    /// Whether no name was found for the address.
    #[must_use]
    pub fn unresolved(&self) -> bool {
        let bare = self.symbol.strip_prefix("0x").unwrap_or(self.symbol);
        self.symbol == "[unknown]"
            || (bare.len() >= 8 && bare.bytes().all(|byte| byte.is_ascii_hexdigit()))
    }
}

/// Reads the first line of a sample.
///
/// # Errors
/// Which field is missing.
pub fn event_line(line: &str) -> Result<EventLine<'_>, &'static str> {
    const NOT_ONE: &str = "neither a sample nor a stack frame of `perf script`";
    let mut words = Words { line, at: 0 };
    let mut saw_id = false;
    let first = words.next().ok_or(NOT_ONE)?.0;
    while let Some((id_start, id)) = words.next() {
        if !is_thread_id(id) {
            continue;
        }
        saw_id = true;
        let mut ahead = words;
        let mut word = ahead.next();
        if word.is_some_and(|(_, word)| is_cpu(word)) {
            word = ahead.next();
        }
        let Some(time) = word.and_then(|(_, word)| time_of(word)) else {
            continue;
        };
        let comm = line[first..id_start].trim_end();
        return event_after_time(ahead).map(|(event, tracepoint, rest)| EventLine {
            comm,
            id,
            time,
            event,
            rest,
            tracepoint,
        });
    }
    Err(if saw_id {
        "a sample without a time field"
    } else {
        NOT_ONE
    })
}

/// Process and thread of an id; no process where it was not printed.
#[must_use]
pub fn process_and_thread(id: &str) -> (Option<i64>, Option<i64>) {
    match id.split_once('/') {
        Some((process, thread)) => (process.parse().ok(), thread.parse().ok()),
        None => (None, id.parse().ok()),
    }
}

fn event_after_time(mut words: Words<'_>) -> Result<(&str, bool, &str), &'static str> {
    const NONE: &str = "a sample without an event field";
    let (_, mut word) = words.next().ok_or(NONE)?;
    if word.bytes().all(|byte| byte.is_ascii_digit()) {
        word = words.next().ok_or(NONE)?.1;
    }
    let full = word.strip_suffix(':').filter(|name| !name.is_empty());
    let full = full.ok_or(NONE)?;
    let event = without_modifiers(full);
    Ok((event, event.contains(':'), words.rest().trim()))
}

/// Reads a frame; `None` when the line is not one.
#[must_use]
pub fn frame_line(line: &str) -> Option<FrameLine<'_>> {
    let line = line.trim();
    let (address, rest) = line.split_once(' ')?;
    if address.is_empty() || !address.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    symbol_and_module(rest)
}

/// Reads what follows the address of a frame.
#[must_use]
pub fn symbol_and_module(rest: &str) -> Option<FrameLine<'_>> {
    let inner = rest.trim_end().strip_suffix(')')?;
    // The module is in the last balanced pair: `f(int) (/tmp/a (1)/lib.so (deleted))`.
    let mut depth = 1_usize;
    let mut open = None;
    for (position, byte) in inner.bytes().enumerate().rev() {
        match byte {
            b')' => depth += 1,
            b'(' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            open = Some(position);
            break;
        }
    }
    let open = open?;
    let before = &inner[..open];
    if !before.is_empty() && !before.ends_with(' ') {
        return None;
    }
    let symbol = without_offset(before.trim());
    Some(FrameLine {
        symbol: if symbol.is_empty() {
            "[unknown]"
        } else {
            symbol
        },
        module: &inner[open + 1..],
    })
}

fn without_offset(symbol: &str) -> &str {
    match symbol.rfind("+0x") {
        Some(at)
            if symbol.len() > at + 3
                && symbol[at + 3..]
                    .bytes()
                    .all(|byte| byte.is_ascii_hexdigit()) =>
        {
            &symbol[..at]
        }
        _ => symbol,
    }
}

/// `cycles:u` and `cpu_core/cycles/P` are both `cycles`: the kinds of core of one processor
/// count the same thing.
fn without_modifiers(event: &str) -> &str {
    let name = match event.rsplit_once([':', '/']) {
        Some((_, modifiers))
            if modifiers.len() <= 6
                && modifiers
                    .bytes()
                    .all(|byte| b"ukhHGpPSDIWeb".contains(&byte)) =>
        {
            &event[..event.len() - modifiers.len()]
        }
        _ => event,
    };
    let name = name.strip_suffix(':').unwrap_or(name);
    name.strip_prefix("cpu_core/")
        .or_else(|| name.strip_prefix("cpu_atom/"))
        .map_or(name, |inner| inner.trim_end_matches('/'))
}

fn is_thread_id(word: &str) -> bool {
    let number = |text: &str| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    match word.split_once('/') {
        Some((process, thread)) => number(process) && number(thread),
        None => number(word),
    }
}

fn is_cpu(word: &str) -> bool {
    let inner = word
        .strip_prefix('[')
        .and_then(|word| word.strip_suffix(']'));
    inner.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

fn time_of(word: &str) -> Option<&str> {
    let time = word.strip_suffix(':')?;
    let (seconds, parts) = time.split_once('.')?;
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (number(seconds) && number(parts)).then_some(time)
}

#[derive(Clone, Copy)]
struct Words<'a> {
    line: &'a str,
    at: usize,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<(usize, &'a str)> {
        let rest = &self.line[self.at..];
        let start = self.at + (rest.len() - rest.trim_start().len());
        let rest = &self.line[start..];
        if rest.is_empty() {
            return None;
        }
        let end = start + rest.find(char::is_whitespace).unwrap_or(rest.len());
        self.at = end;
        Some((start, &self.line[start..end]))
    }

    fn rest(&self) -> &'a str {
        &self.line[self.at..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(line: &str) -> (&str, &str, &str, &str) {
        let event = event_line(line).expect("an event");
        (event.comm, event.id, event.event, event.rest)
    }

    #[test]
    fn the_three_ways_of_printing_a_sample_are_read() {
        let cpu_clock = ("python3", "8628/8629", "cpu-clock", "");
        assert_eq!(
            event("python3  8628/8629    982.886316: cpu-clock: "),
            cpu_clock
        );
        assert_eq!(
            event(" python3  8628/8629 [000] 982.88: cpu-clock:ppp:"),
            cpu_clock
        );
        let default = ("python", "8628", "cycles", "");
        assert_eq!(
            event("python  8628   982.875568:   10101010 cycles:u: "),
            default
        );
        assert_eq!(event("python 8628 982.8: cpu_atom/cycles/P:"), default);
        let flat = event("rayon 1  7/8 [001] 9.1: cpu-clock:      7f0d inner (/tmp/a (deleted))");
        assert_eq!(
            flat,
            (
                "rayon 1",
                "7/8",
                "cpu-clock",
                "7f0d inner (/tmp/a (deleted))"
            )
        );
        let trace = event_line("sh 5/5 1.0: sched:sched_switch: prev_comm=sh").expect("event");
        assert_eq!(
            (trace.event, trace.tracepoint),
            ("sched:sched_switch", true)
        );
    }

    #[test]
    fn a_missing_field_is_named() {
        let told = |line| event_line(line).expect_err("refused");
        assert!(told("python3 12/12 1.0: ").contains("event field"));
        assert!(told("python3 12/12 1.0: 7f00 main (/bin/x)").contains("event field"));
        assert!(told("python3 12/12 cpu-clock: ").contains("time field"));
        assert!(told("hello world").contains("neither"));
        assert!(told("").contains("neither"));
    }

    #[test]
    fn frames_with_odd_symbols_and_modules_are_read() {
        for (line, symbol, module) in [
            ("\t 7f7e _PyEval+0x55 (/lib/a.so)", "_PyEval", "/lib/a.so"),
            ("7f7e [unknown] ([unknown])", "[unknown]", "[unknown]"),
            ("7f7e  (/lib/a.so)", "[unknown]", "/lib/a.so"),
            (
                "7f7e f(int) (/tmp/my dir/a (1).so (deleted))",
                "f(int)",
                "/tmp/my dir/a (1).so (deleted)",
            ),
            (
                "0 <fn(u8) -> u32 as T>::go (inlined)",
                "<fn(u8) -> u32 as T>::go",
                "inlined",
            ),
            (
                "ffffffff8103ce3b do_it+0x7 ([kernel.kallsyms])",
                "do_it",
                "[kernel.kallsyms]",
            ),
            ("7f a+0xyz (b)", "a+0xyz", "b"),
        ] {
            assert_eq!(
                frame_line(line),
                Some(FrameLine { symbol, module }),
                "{line}"
            );
        }
    }

    #[test]
    fn what_is_not_a_frame_is_not_taken_for_one() {
        for line in [
            "",
            "7f7e",
            "7f7e main",
            "xyz main (/bin/x)",
            "7f7e f(int)",
            "7f7e x) (",
            "12 )",
        ] {
            assert_eq!(frame_line(line), None, "{line}");
        }
    }

    #[test]
    fn bare_addresses_and_unknown_are_unresolved() {
        let frame = |symbol| {
            FrameLine {
                symbol,
                module: "m",
            }
            .unresolved()
        };
        assert!(frame("[unknown]") && frame("0x7f7e17bbd680") && frame("00007f7e17bbd680"));
        assert!(!frame("main") && !frame("add") && !frame("0xfeed"));
    }
}
