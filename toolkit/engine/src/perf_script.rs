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
    /// What follows the event: nothing, a frame, or the text of a tracepoint (`system:name`).
    pub rest: &'a str,
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
    let line = line.trim_start();
    let (_, mut rest) = word(line).ok_or(NOT_ONE)?;
    let mut saw_id = false;
    while let Some((id, after)) = word(rest) {
        let comm = line[..line.len() - rest.len()].trim_end();
        rest = after;
        if !is_thread_id(id) {
            continue;
        }
        saw_id = true;
        let mut clock = word(after);
        if let Some((cpu, after)) = clock
            && is_cpu(cpu)
        {
            clock = word(after);
        }
        if let Some((clock, after)) = clock
            && let Some(time) = time_of(clock)
        {
            let (event, rest) = event_after_time(after)?;
            return Ok(EventLine {
                comm,
                id,
                time,
                event,
                rest,
            });
        }
    }
    Err(if saw_id {
        "a sample without a time field"
    } else {
        NOT_ONE
    })
}

/// The first word of a text, and what follows it.
fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// Process and thread of an id; no process where it was not printed.
#[must_use]
pub fn process_and_thread(id: &str) -> (Option<i64>, Option<i64>) {
    match id.split_once('/') {
        Some((process, thread)) => (process.parse().ok(), thread.parse().ok()),
        None => (None, id.parse().ok()),
    }
}

/// The event, without its modifiers, and what follows it.
fn event_after_time(text: &str) -> Result<(&str, &str), &'static str> {
    const NONE: &str = "a sample without an event field";
    let (mut event, mut rest) = word(text).ok_or(NONE)?;
    if is_digits(event) {
        (event, rest) = word(rest).ok_or(NONE)?; // the first was the period
    }
    let full = event.strip_suffix(':').filter(|name| !name.is_empty());
    Ok((without_modifiers(full.ok_or(NONE)?), rest.trim()))
}

/// Reads a frame; `None` when the line is not one.
#[must_use]
pub fn frame_line(line: &str) -> Option<FrameLine<'_>> {
    let (_, rest) = place_and_rest(line.as_bytes())?;
    symbol_and_module(std::str::from_utf8(rest).ok()?)
}

/// The address of a frame's line and what follows it, without blanks around; `None` when there is
/// no address.
pub(crate) fn place_and_rest(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.trim_ascii();
    let is_digit = |byte: &&u8| byte.is_ascii_hexdigit();
    let digits = line.iter().take_while(is_digit).count();
    (digits > 0 && line.get(digits) == Some(&b' ')).then(|| (&line[..digits], &line[digits + 1..]))
}

/// The address as a number; `None` for one that no machine has.
pub(crate) fn place_of(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |place, digit| {
        let value = char::from(*digit).to_digit(16)?;
        (place >> 60 == 0).then_some(place << 4 | u64::from(value))
    })
}

/// Which instruction each frame of a sample is at, from the leaf on.
///
/// A caller's address is the one that the call returns to, which can be another line's or the next
/// function's: the call itself ends one byte before it. With stack copies perf has taken one byte
/// off already; two are still inside the call. What the kernel interrupted stands where it says.
#[derive(Debug, Default)]
pub(crate) struct Unwound {
    is_call: bool,
}

impl Unwound {
    /// The instruction's address, by what perf prints for the next frame.
    pub(crate) fn instruction(&mut self, place: u64) -> u64 {
        let before = u64::from(self.is_call);
        let is_kernel = place >> 63 == 1;
        self.is_call = !is_kernel;
        place.saturating_sub(before)
    }
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

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_thread_id(word: &str) -> bool {
    let is_number = |text: &str| is_digits(text.strip_prefix('-').unwrap_or(text));
    match word.split_once('/') {
        Some((process, thread)) => is_number(process) && is_number(thread),
        None => is_number(word),
    }
}

fn is_cpu(word: &str) -> bool {
    let inner = word.strip_prefix('[');
    inner
        .and_then(|word| word.strip_suffix(']'))
        .is_some_and(is_digits)
}

fn time_of(word: &str) -> Option<&str> {
    let time = word.strip_suffix(':')?;
    let (seconds, parts) = time.split_once('.')?;
    (is_digits(seconds) && is_digits(parts)).then_some(time)
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
            (trace.event, trace.rest),
            ("sched:sched_switch", "prev_comm=sh")
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
    fn a_caller_is_at_its_call_and_what_the_kernel_interrupted_where_it_was() {
        let mut unwound = Unwound::default();
        let asked = [0x100, 0x200, 0, 0xffff_ffff_8103_ce3b, 0x300, 0x400];
        let found = asked.map(|place| unwound.instruction(place));
        assert_eq!(
            found,
            [0x100, 0x1ff, 0, 0xffff_ffff_8103_ce3a, 0x300, 0x3ff]
        );
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
