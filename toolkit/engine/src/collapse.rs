//! `perf script` text to folded stacks, by inferno.
//!
//! inferno reads leniently: it skips lines that it does not know, keeps one kind of event and
//! drops the others, counts periods where they are printed, cuts names at `->` and at `(`, and
//! panics on some texts. So the text is read strictly here and its samples are counted here; what
//! a frame and a thread are called is decided by inferno, which gets each different one once, in
//! a form that it reads without loss.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use inferno::collapse::Collapse;
use inferno::collapse::perf::{Folder, Options};

use crate::folded::Folded;
use crate::guard::guard;
use crate::intern::{Names, Sequences};
use crate::lines::{excerpt, for_each_line};
use crate::perf_script::{self, FIELDS, FrameLine, event_line, frame_line, process_and_thread};
use crate::select::{Chains, LeftOut, Roots, Selection, is_thread_entry};
use crate::symbols;
use crate::{Error, Result};

/// How a capture is collapsed.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Process and thread in the root frame: `python3-12/13` instead of `python3`.
    pub include_tid: bool,
    /// The event to count. Without one, a capture with several kinds of event is refused.
    pub event: Option<String>,
    /// Refuse what is not text of `perf script`. Without it inferno gets the text as it is.
    pub strict: bool,
    /// What counts of the text; asks for `strict`.
    pub selection: Selection,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            include_tid: true,
            event: None,
            strict: true,
            selection: Selection::default(),
        }
    }
}

/// What was in a capture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// The event that was counted; `None` when the text was not read strictly.
    pub event: Option<String>,
    /// Samples of every kind of event in what was selected of the text.
    pub events: BTreeMap<String, u64>,
    /// Samples in the folded file: the sum of its counts.
    pub samples: u64,
    /// Different stacks in the folded file.
    pub stacks: u64,
    /// Frames of all samples, a stack seen twice counted twice.
    pub frames: u64,
    /// Those of `frames` for which no name was found.
    pub unresolved_frames: u64,
    /// Samples whose innermost frame has no name.
    pub unresolved_leaf: u64,
    /// Samples without any frame; not in the folded file.
    pub no_stack: u64,
    /// Samples cut off by the end of the text (0 or 1); not in the folded file.
    pub truncated: u64,
    /// Samples of other processes than the one selected.
    pub foreign: u64,
    /// Samples of the process that lie outside all windows.
    pub outside: u64,
    /// Samples whose outermost frame is no thread's entry.
    pub unrooted: u64,
    /// Process of the first sample that counts.
    pub first_pid: Option<i64>,
    /// Size of the text in bytes.
    pub bytes: u64,
}

/// Collapses the text file `script` into the folded file `output`, which appears whole or not at
/// all.
///
/// # Errors
/// [`Error::Input`] with the line that is not text of `perf script`, or for a capture without
/// samples; [`Error::Panic`] where inferno panics.
pub fn collapse_perf(script: &Path, output: &Path, settings: &Settings) -> Result<Stats> {
    let (folded, mut stats) = if settings.strict {
        strictly(script, settings)?
    } else if settings.selection == Selection::default() {
        as_inferno_does(script, settings)?
    } else {
        return Err(Error::input("samples are selected from strictly read text"));
    };
    stats.stacks = folded.len() as u64;
    folded.write(output)?;
    Ok(stats)
}

fn folder(include_tid: bool, event: Option<&str>) -> Folder {
    let mut options = Options::default();
    options.annotate_kernel = true;
    options.include_tid = include_tid;
    options.event_filter = event.map(str::to_owned);
    options.nthreads = 1;
    options.into()
}

fn as_inferno_does(script: &Path, settings: &Settings) -> Result<(Folded, Stats)> {
    let file = File::open(script).map_err(Error::read(script))?;
    let bytes = file.metadata().map_err(Error::read(script))?.len();
    let mut folder = folder(settings.include_tid, settings.event.as_deref());
    let mut text = Vec::new();
    guard("collapsing perf's text", || {
        folder
            .collapse(BufReader::with_capacity(1 << 17, file), &mut text)
            .map_err(Error::read(script))
    })?;
    let mut folded = Folded::default();
    folded.extend(&text, script)?;
    if folded.total() == 0 {
        return Err(no_samples(script, &Stats::default()));
    }
    let mut stats = Stats {
        samples: folded.total(),
        bytes,
        ..Stats::default()
    };
    for (stack, count) in folded.sequences().iter() {
        let unresolved = |id: &u32| folded.name(*id).starts_with('[');
        let frames = &stack[1..];
        stats.frames += frames.len() as u64 * count;
        stats.unresolved_frames += frames.iter().filter(|id| unresolved(id)).count() as u64 * count;
        stats.unresolved_leaf += u64::from(frames.last().is_some_and(unresolved)) * count;
    }
    Ok((folded, stats))
}

fn strictly(script: &Path, settings: &Settings) -> Result<(Folded, Stats)> {
    let mut reader = Reader::new(&settings.selection);
    let seen = for_each_line(script, |number, line| {
        reader.line(number, line).map_err(|message| {
            Error::at_line(
                number,
                format!(
                    "{message}: `{}`; the text must come from \
                     `perf script --no-inline -F {FIELDS}`",
                    excerpt(line)
                ),
            )
        })
    });
    let seen = match seen {
        Err(Error::Input { line, message, .. }) if ends_at(script, line) => {
            return Err(Error::Input {
                path: Some(script.to_path_buf()),
                line,
                message: format!("the text ends in the middle of a line; {message}"),
            });
        }
        other => other?,
    };
    reader.end_of_text();
    let mut capture = reader.capture;
    capture.stats.bytes = seen.bytes;
    let event = chosen_event(&capture, settings, script)?;
    capture.settle(event);
    let stats = capture.stats.clone();
    if stats.samples == 0 {
        return Err(if stats.no_stack > 0 {
            Error::in_file(
                script,
                format!(
                    "none of the {} samples has a stack; the text must come from \
                     `perf script --no-inline -F {FIELDS}`",
                    stats.no_stack
                ),
            )
        } else {
            no_samples(script, &stats)
        });
    }
    let folded = named_by_inferno(&capture, event, settings, script)?;
    Ok((folded, stats))
}

/// Builds the stacks from what inferno makes of each different frame and thread.
///
/// inferno's rules look at one line at a time, so a frame has the same name in every stack: handed
/// over once, it need not be handed over with each sample.
fn named_by_inferno(
    capture: &Capture,
    event: u32,
    settings: &Settings,
    script: &Path,
) -> Result<Folded> {
    let feeds = [Feed::of_threads(capture), Feed::of_frames(capture)];
    let mut folded = Folded::default();
    let mut numbers = Vec::new();
    for feed in feeds {
        let count = feed.count;
        let with_id = feed.are_threads && settings.include_tid;
        let mut text = Vec::new();
        guard("collapsing perf's text", || {
            folder(with_id, None)
                .collapse(BufReader::new(feed), &mut text)
                .map_err(Error::read(script))
        })?;
        let names = names_by_number(&String::from_utf8_lossy(&text), count)?;
        let interned: Result<Vec<u32>> = names
            .iter()
            .map(|name| folded.intern(name.as_bytes()))
            .collect();
        numbers.push(interned.map_err(|error| error.named(script))?);
    }
    if let Some(roots) = &settings.selection.roots {
        numbers[0] = named_roots(capture, roots, &mut folded)?;
    }
    let mut stack = Vec::new();
    for (sample, count) in capture.samples.iter() {
        if sample[0] != event || sample.len() == 2 {
            continue;
        }
        stack.clear();
        stack.push(numbers[0][sample[1] as usize]);
        stack.extend(sample[2..].iter().rev().map(|id| numbers[1][*id as usize]));
        folded.push(&stack, count)?;
    }
    Ok(folded)
}

/// The number of each thread's root frame, where the caller has names for them.
fn named_roots(capture: &Capture, roots: &Roots, folded: &mut Folded) -> Result<Vec<u32>> {
    let main = roots.main.or(capture.stats.first_pid);
    let mut numbers = Vec::new();
    for number in 0..capture.threads.len() as u32 {
        let name = String::from_utf8_lossy(capture.threads.get(number));
        let id = name.rsplit_once(' ').map_or("", |(_, id)| id);
        let own = main.is_none() || process_and_thread(id).1 == main;
        let root = if own { &roots.calling } else { &roots.others };
        numbers.push(folded.intern(root.as_bytes())?);
    }
    Ok(numbers)
}

/// Every address in `module` that a stack of the text holds, in order.
///
/// # Errors
/// [`Error::Read`], or a line of more than 16 MiB.
pub fn perf_places(script: &Path, module: &str) -> Result<Vec<u64>> {
    let ending = format!(" ({module})");
    let mut found = BTreeSet::new();
    for_each_line(script, |_, line| {
        if line.trim_ascii_end().ends_with(ending.as_bytes())
            && line.first().is_some_and(u8::is_ascii_whitespace)
        {
            found.extend(place_and_rest(line).and_then(|(place, _)| place_of(place)));
        }
        Ok(())
    })?;
    Ok(found.into_iter().collect())
}

/// Reads inferno's answer to a [`Feed`]: `NUMBER;NAME 1` in any order.
fn names_by_number(text: &str, count: u32) -> Result<Vec<String>> {
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

/// Whether the fault is in a last line that has no line feed.
fn ends_at(script: &Path, line: Option<u64>) -> bool {
    let seen = for_each_line(script, |_, _| Ok(()));
    seen.is_ok_and(|seen| !seen.complete && Some(seen.lines) == line)
}

fn no_samples(script: &Path, stats: &Stats) -> Error {
    let left_out = stats.foreign + stats.outside;
    if left_out > 0 {
        let message = format!("none of its {left_out} samples lies inside the measured region");
        return Error::in_file(script, message);
    }
    Error::in_file(
        script,
        "the capture is empty: no sample in it. Did the program run long enough, \
         and was perf allowed to sample it?",
    )
}

fn chosen_event(capture: &Capture, settings: &Settings, script: &Path) -> Result<u32> {
    let events = &capture.stats.events;
    let listed = || {
        let each = events
            .iter()
            .map(|(name, count)| format!("{name} ({count} samples)"));
        each.collect::<Vec<_>>().join(", ")
    };
    let name = match (&settings.event, events.len()) {
        (_, 0) => return Err(no_samples(script, &capture.stats)),
        (Some(asked), _) => events.keys().find(|name| *name == asked).ok_or_else(|| {
            let message = format!("no sample of the event `{asked}`; there are {}", listed());
            Error::in_file(script, message)
        })?,
        (None, 1) => events
            .keys()
            .next()
            .ok_or_else(|| no_samples(script, &capture.stats))?,
        (None, _) => {
            let message = format!(
                "several kinds of event, which must not be added up: {}; name the one to count",
                listed()
            );
            return Err(Error::in_file(script, message));
        }
    };
    let position = capture.events.iter().position(|known| known == name);
    Ok(position.unwrap_or_default() as u32)
}

/// The samples of a text, equal ones counted once.
#[derive(Default)]
struct Capture {
    /// Root frames as inferno reads them: `comm PID/TID`.
    threads: Names,
    /// Frames as inferno reads them: `symbol (module)`.
    frames: Names,
    /// By frame: has no name.
    unresolved: Vec<bool>,
    /// By frame: a thread may begin with it.
    entry: Vec<bool>,
    events: Vec<String>,
    /// Event, thread, frames with the leaf first.
    samples: Sequences,
    stats: Stats,
}

impl Capture {
    /// Counts the samples of the chosen event.
    fn settle(&mut self, event: u32) {
        self.stats.event = self.events.get(event as usize).cloned();
        for (sample, count) in self.samples.iter() {
            if sample[0] != event {
                continue;
            }
            let frames = &sample[2..];
            if frames.is_empty() {
                self.stats.no_stack += count;
                continue;
            }
            let unresolved = |id: &u32| self.unresolved[*id as usize];
            self.stats.samples += count;
            self.stats.frames += frames.len() as u64 * count;
            self.stats.unresolved_frames +=
                frames.iter().filter(|id| unresolved(id)).count() as u64 * count;
            self.stats.unresolved_leaf += u64::from(unresolved(&frames[0])) * count;
            let rooted = frames.last().is_some_and(|id| self.entry[*id as usize]);
            self.stats.unrooted += u64::from(!rooted) * count;
        }
    }
}

/// Takes the lines of the text, fills a [`Capture`].
struct Reader<'a> {
    selection: &'a Selection,
    capture: Capture,
    /// The sample that is being read; empty between samples.
    sample: Vec<u32>,
    /// Whether it counts.
    kept: bool,
    /// How the frames of the module with inlined functions end.
    ending: String,
    /// Numbers of the frames inlined at a place of that module.
    inlined: HashMap<u64, Vec<u32>>,
    /// Text after the address, as printed, and the number of its frame.
    printed: Names,
    printed_frame: Vec<u32>,
}

/// Where `symoff` is printed almost every line is new: start afresh before that fills the memory.
const MOST_PRINTED_BYTES: usize = 1 << 25;

impl<'a> Reader<'a> {
    fn new(selection: &'a Selection) -> Self {
        let mut reader = Self {
            selection,
            capture: Capture::default(),
            sample: Vec::new(),
            kept: true,
            ending: String::new(),
            inlined: HashMap::new(),
            printed: Names::default(),
            printed_frame: Vec::new(),
        };
        if let Some(chains) = &selection.chains {
            reader.take_chains(chains);
        }
        reader
    }

    fn take_chains(&mut self, chains: &Chains) {
        self.ending = format!(" ({})", chains.module);
        for (place, chain) in &chains.by_place {
            let frame = |symbol: &String| {
                self.frame(FrameLine {
                    symbol,
                    module: &chains.module,
                })
            };
            let ids = chain.iter().map(frame).collect();
            self.inlined.insert(*place, ids);
        }
    }

    fn line(&mut self, _number: u64, line: &[u8]) -> Result<(), &'static str> {
        if self.sample.is_empty() {
            if line.first() == Some(&b'#') || line.iter().all(u8::is_ascii_whitespace) {
                return Ok(());
            }
            return self.event(line);
        }
        let Some((place, rest)) = place_and_rest(line) else {
            return self.not_a_frame(line);
        };
        if !self.inlined.is_empty() && rest.ends_with(self.ending.as_bytes()) {
            let chain = place_of(place).and_then(|place| self.inlined.get(&place));
            self.sample.extend(chain.into_iter().flatten());
        }
        if let (id, false) = self.printed.add(rest) {
            self.sample.push(self.printed_frame[id as usize]);
            return Ok(());
        }
        let text = String::from_utf8_lossy(rest);
        let Some(frame) = perf_script::symbol_and_module(&text) else {
            return Err("not a stack frame");
        };
        let id = self.frame(frame);
        self.printed_frame.push(id);
        self.sample.push(id);
        if self.printed.text_bytes() > MOST_PRINTED_BYTES {
            self.printed.clear();
            self.printed_frame.clear();
        }
        Ok(())
    }

    fn not_a_frame(&mut self, line: &[u8]) -> Result<(), &'static str> {
        if line.iter().all(u8::is_ascii_whitespace) {
            self.end_of_sample();
            return Ok(());
        }
        if line.first() == Some(&b'#') {
            return Ok(());
        }
        if self.sample.len() == 2 && event_line(&String::from_utf8_lossy(line)).is_ok() {
            // A sample without frames need not have an empty line after it.
            self.end_of_sample();
            return self.event(line);
        }
        Err("not a stack frame")
    }

    fn event(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let text = String::from_utf8_lossy(line);
        let event = event_line(&text)?;
        let thread = thread_name(event.comm, event.id);
        let (process, _) = process_and_thread(event.id);
        let time = event.time.parse().unwrap_or(f64::INFINITY);
        let checked = self.selection.check(process, time);
        self.kept = checked.is_ok();
        match checked {
            Ok(()) => self.capture.stats.first_pid = self.capture.stats.first_pid.or(process),
            Err(LeftOut::Foreign) => self.capture.stats.foreign += 1,
            Err(LeftOut::Outside) => self.capture.stats.outside += 1,
        }
        let (thread, _) = self.capture.threads.add(thread.as_bytes());
        self.sample = vec![self.event_number(event.event), thread];
        let single = frame_line(event.rest);
        if let Some(frame) = single {
            let id = self.frame(frame);
            self.sample.push(id);
            self.end_of_sample();
        } else if !event.rest.is_empty() && !event.tracepoint {
            self.sample.clear();
            return Err("text after the event that is not a stack frame");
        }
        Ok(())
    }

    fn event_number(&mut self, name: &str) -> u32 {
        let known = self.capture.events.iter().position(|event| event == name);
        let number = known.unwrap_or_else(|| {
            self.capture.events.push(name.to_owned());
            self.capture.events.len() - 1
        });
        if self.kept {
            let counts = &mut self.capture.stats.events;
            *counts.entry(name.to_owned()).or_default() += 1;
        }
        number as u32
    }

    fn frame(&mut self, frame: FrameLine<'_>) -> u32 {
        let (id, new) = self.capture.frames.add(fed(frame).as_bytes());
        if new {
            self.capture.unresolved.push(frame.unresolved());
            self.capture.entry.push(is_thread_entry(frame.symbol));
        }
        id
    }

    fn end_of_sample(&mut self) {
        // One sample per line at most: the sum stays far below 2^64.
        if self.kept {
            let _ = self.capture.samples.add(&self.sample, 1);
        }
        self.sample.clear();
    }

    /// perf ends every stack with an empty line. Without it the callers may be missing, and a
    /// stack without its root would be shown under the wrong parent.
    fn end_of_text(&mut self) {
        if self.sample.len() > 2 {
            self.capture.stats.truncated = u64::from(self.kept);
            self.sample.clear();
        } else if !self.sample.is_empty() {
            self.end_of_sample();
        }
    }
}

/// The address of a frame's line and what follows it, without blanks around; `None` when there is
/// no address.
fn place_and_rest(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.trim_ascii();
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    (digits > 0 && line.get(digits) == Some(&b' ')).then(|| (&line[..digits], &line[digits + 1..]))
}

/// The address as a number; `None` for one that no machine has.
fn place_of(digits: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

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
fn thread_name(comm: &str, id: &str) -> String {
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
fn fed(frame: FrameLine<'_>) -> String {
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

/// Threads or frames as text for inferno: one sample each, in which the other part is a number.
struct Feed<'a> {
    names: &'a Names,
    are_threads: bool,
    count: u32,
    next: u32,
    text: Vec<u8>,
    taken: usize,
}

impl<'a> Feed<'a> {
    fn of_threads(capture: &'a Capture) -> Self {
        Self::new(&capture.threads, true)
    }

    fn of_frames(capture: &'a Capture) -> Self {
        Self::new(&capture.frames, false)
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
