//! The samples of a `perf script` text: read strictly, selected, and equal ones counted once. What a
//! frame is called is decided elsewhere.

use std::path::Path;

use ahash::RandomState;
use hashbrown::{HashMap, HashSet};

use crate::Result;
use crate::collapse::Stats;
use crate::intern::{Names, Sequences, hasher};
use crate::lines::for_each_line;
use crate::naming::{fed, thread_name};
use crate::perf_script::{self, FrameLine, event_line, frame_line, process_and_thread};
use crate::select::{Chains, LeftOut, Selection, is_thread_entry};

/// How a sample lies in [`Capture::samples`]: three numbers, then those of its frames, leaf first.
pub(crate) struct Sample<'a> {
    pub(crate) event: u32,
    pub(crate) thread: u32,
    /// The window of the selection that it lies in.
    pub(crate) window: u32,
    pub(crate) frames: &'a [u32],
}

impl<'a> Sample<'a> {
    pub(crate) fn of(numbers: &'a [u32]) -> Self {
        Self {
            event: numbers[0],
            thread: numbers[1],
            window: numbers[2],
            frames: &numbers[Self::HEAD..],
        }
    }

    /// Numbers before the frames.
    const HEAD: usize = 3;
}

/// The samples of a text, equal ones of one window counted once.
#[derive(Default)]
pub(crate) struct Capture {
    /// Root frames as inferno reads them: `comm PID/TID`.
    pub(crate) threads: Names,
    /// Frames as inferno reads them: `symbol (module)`.
    pub(crate) frames: Names,
    /// By frame: has no name.
    unresolved: Vec<bool>,
    /// By frame: a thread may begin with it.
    entry: Vec<bool>,
    pub(crate) events: Vec<String>,
    /// A [`Sample`] each.
    pub(crate) samples: Sequences,
    pub(crate) stats: Stats,
}

impl Capture {
    /// Counts the samples of the chosen event.
    pub(crate) fn settle(&mut self, event: u32) {
        self.stats.event = self.events.get(event as usize).cloned();
        for (sample, count) in self.samples.iter() {
            let sample = Sample::of(sample);
            if sample.event != event {
                continue;
            }
            let frames = sample.frames;
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
pub(crate) struct Reader<'a> {
    selection: &'a Selection,
    pub(crate) capture: Capture,
    /// The sample that is being read; empty between samples.
    sample: Vec<u32>,
    /// Whether it counts.
    kept: bool,
    /// How the frames of the module with inlined functions end.
    ending: String,
    /// Numbers of the frames inlined at a place of that module.
    inlined: HashMap<u64, Vec<u32>, RandomState>,
    /// Text after the address, as printed, and the number of its frame.
    printed: Names,
    printed_frame: Vec<u32>,
}

/// Where `symoff` is printed almost every line is new: start afresh before that fills the memory.
const MOST_PRINTED_BYTES: usize = 1 << 25;

impl<'a> Reader<'a> {
    pub(crate) fn new(selection: &'a Selection) -> Self {
        let mut reader = Self {
            selection,
            capture: Capture::default(),
            sample: Vec::new(),
            kept: true,
            ending: String::new(),
            inlined: HashMap::with_hasher(hasher()),
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

    pub(crate) fn line(&mut self, _number: u64, line: &[u8]) -> Result<(), &'static str> {
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
        if self.sample.len() == Sample::HEAD && event_line(&String::from_utf8_lossy(line)).is_ok() {
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
            Ok(_) => self.capture.stats.first_pid = self.capture.stats.first_pid.or(process),
            Err(LeftOut::Foreign) => self.capture.stats.foreign += 1,
            Err(LeftOut::Outside) => self.capture.stats.outside += 1,
        }
        let window = checked.unwrap_or_default() as u32;
        let (thread, _) = self.capture.threads.add(thread.as_bytes());
        self.sample = vec![self.event_number(event.event), thread, window];
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
    pub(crate) fn end_of_text(&mut self) {
        if self.sample.len() > Sample::HEAD {
            self.capture.stats.truncated = u64::from(self.kept);
            self.sample.clear();
        } else if !self.sample.is_empty() {
            self.end_of_sample();
        }
    }
}

/// Every address in `module` that a stack of the text holds, in order.
///
/// # Errors
/// [`Error::Read`], or a line of more than 16 MiB.
pub fn perf_places(script: &Path, module: &str) -> Result<Vec<u64>> {
    let ending = format!(" ({module})");
    let mut found = HashSet::with_hasher(hasher());
    for_each_line(script, |_, line| {
        if line.trim_ascii_end().ends_with(ending.as_bytes())
            && line.first().is_some_and(u8::is_ascii_whitespace)
        {
            found.extend(place_and_rest(line).and_then(|(place, _)| place_of(place)));
        }
        Ok(())
    })?;
    let mut places: Vec<u64> = found.into_iter().collect();
    places.sort_unstable();
    Ok(places)
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
