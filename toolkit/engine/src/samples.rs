//! The samples of a `perf script` text: read strictly, selected, and the equal ones of each kind of
//! event counted together.

use std::collections::BTreeMap;

use ahash::RandomState;
use hashbrown::HashMap;

use crate::folded::Folded;
use crate::intern::{Names, Stacks, hasher};
use crate::naming;
use crate::perf_script::{
    FrameLine, Unwound, event_line, frame_line, place_and_rest, place_of, process_and_thread,
    symbol_and_module,
};
use crate::select::{Chains, LeftOut, Roots, Selection, is_thread_entry};

/// What was in a capture.
#[cfg_attr(
    feature = "python",
    pyo3::pyclass(frozen, get_all, module = "perfkit._engine", name = "CollapseStats")
)]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// The event that was counted.
    pub event: String,
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

/// The stacks and counts of one kind of event.
#[derive(Default)]
struct Kind {
    stacks: Stacks,
    stats: Stats,
}

/// A frame that was read.
#[derive(Clone, Copy)]
struct Frame {
    name: u32,
    unresolved: bool,
    /// A thread may begin with it.
    entry: bool,
}

/// What the head of the sample that is being read says.
struct Head {
    kind: usize,
    /// Whether the sample counts, and then how its stack begins: the window's number, if the
    /// selection asks for it, and the thread's name.
    begin: Option<(Option<u32>, u32)>,
}

/// Takes the lines of the text.
pub(crate) struct Reader<'a> {
    selection: &'a Selection,
    /// The names of all stacks.
    folded: Folded,
    kinds: Vec<Kind>,
    /// What is counted whatever the event.
    all: Stats,
    /// `None` between samples.
    head: Option<Head>,
    /// Of the sample that is being read, leaf first.
    frames: Vec<Frame>,
    unwound: Unwound,
    stack: Vec<u32>,
    /// How the frames of the module with inlined functions end.
    ending: String,
    /// The frames inlined at an instruction of that module.
    inlined: HashMap<u64, Vec<Frame>, RandomState>,
    /// Text after the address, as printed, and its frame.
    printed: Names,
    printed_frames: Vec<Frame>,
}

/// Where `symoff` is printed almost every line is new: start afresh before that fills the memory.
const MOST_PRINTED_BYTES: usize = 1 << 25;

impl<'a> Reader<'a> {
    /// # Errors
    /// A name of an inlined function that no folded file can hold.
    pub(crate) fn new(selection: &'a Selection) -> Result<Self, String> {
        let mut reader = Self {
            selection,
            folded: Folded::default(),
            kinds: Vec::new(),
            all: Stats::default(),
            head: None,
            frames: Vec::new(),
            unwound: Unwound::default(),
            stack: Vec::new(),
            ending: String::new(),
            inlined: HashMap::with_hasher(hasher()),
            printed: Names::default(),
            printed_frames: Vec::new(),
        };
        if let Some(Chains { module, by_place }) = &selection.chains {
            reader.ending = format!(" ({module})");
            for (place, chain) in by_place {
                let frame = |symbol: &String| reader.frame(FrameLine { symbol, module });
                let frames = chain.iter().map(frame).collect::<Result<_, _>>()?;
                reader.inlined.insert(*place, frames);
            }
        }
        Ok(reader)
    }

    /// # Errors
    /// What is wrong with the line.
    pub(crate) fn line(&mut self, line: &[u8]) -> Result<(), String> {
        if self.head.is_none() {
            if line.first() == Some(&b'#') || line.iter().all(u8::is_ascii_whitespace) {
                return Ok(());
            }
            return self.event(&String::from_utf8_lossy(line));
        }
        let Some((place, rest)) = place_and_rest(line) else {
            return self.not_a_frame(line);
        };
        if !self.inlined.is_empty() {
            let place = place_of(place).map(|place| self.unwound.instruction(place));
            if rest.ends_with(self.ending.as_bytes()) {
                let chain = place.and_then(|place| self.inlined.get(&place));
                self.frames.extend(chain.into_iter().flatten());
            }
        }
        if let (id, false) = self.printed.add(rest) {
            self.frames.push(self.printed_frames[id as usize]);
            return Ok(());
        }
        let text = String::from_utf8_lossy(rest);
        let frame = self.frame(symbol_and_module(&text).ok_or(NOT_A_FRAME)?)?;
        self.printed_frames.push(frame);
        self.frames.push(frame);
        if self.printed.items() > MOST_PRINTED_BYTES {
            self.printed.clear();
            self.printed_frames.clear();
        }
        Ok(())
    }

    fn not_a_frame(&mut self, line: &[u8]) -> Result<(), String> {
        if line.iter().all(u8::is_ascii_whitespace) {
            self.end_of_sample();
            return Ok(());
        }
        if line.first() == Some(&b'#') {
            return Ok(());
        }
        let text = String::from_utf8_lossy(line);
        if self.frames.is_empty() && event_line(&text).is_ok() {
            // A sample without frames need not have an empty line after it.
            self.end_of_sample();
            return self.event(&text);
        }
        Err(NOT_A_FRAME.to_owned())
    }

    fn event(&mut self, line: &str) -> Result<(), String> {
        let event = event_line(line)?;
        let (process, thread) = process_and_thread(event.id);
        let time = event.time.parse().unwrap_or(f64::INFINITY);
        let begin = match self.selection.check(process, time) {
            Ok(window) => {
                self.all.first_pid = self.all.first_pid.or(process);
                let root = match &self.selection.roots {
                    Some(roots) => self.root(roots, thread).to_owned(),
                    None => naming::thread(event.comm, event.id),
                };
                let by_window = self.selection.by_window;
                let window = by_window.then(|| self.name(&window.to_string()));
                Some((window.transpose()?, self.name(&root)?))
            }
            Err(left_out) => {
                match left_out {
                    LeftOut::Foreign => self.all.foreign += 1,
                    LeftOut::Outside => self.all.outside += 1,
                }
                None
            }
        };
        let kind = self.kind(event.event);
        if begin.is_some() {
            *self.all.events.entry(event.event.to_owned()).or_default() += 1;
        }
        self.head = Some(Head { kind, begin });
        if let Some(frame) = frame_line(event.rest) {
            let frame = self.frame(frame)?;
            self.frames.push(frame);
            self.end_of_sample();
        } else if !event.rest.is_empty() && !event.event.contains(':') {
            return Err("text after the event that is not a stack frame".to_owned());
        }
        Ok(())
    }

    /// The name that the caller has for a thread's root frame.
    fn root(&self, roots: &'a Roots, thread: Option<i64>) -> &'a str {
        let main = roots.main.or(self.all.first_pid);
        let is_calling = main.is_none() || thread == main;
        if is_calling {
            &roots.calling
        } else {
            &roots.others
        }
    }

    fn kind(&mut self, event: &str) -> usize {
        let known = self.kinds.iter().position(|kind| kind.stats.event == event);
        known.unwrap_or_else(|| {
            let mut kind = Kind::default();
            event.clone_into(&mut kind.stats.event);
            self.kinds.push(kind);
            self.kinds.len() - 1
        })
    }

    fn frame(&mut self, frame: FrameLine<'_>) -> Result<Frame, String> {
        Ok(Frame {
            name: self.name(&naming::frame(frame))?,
            unresolved: frame.unresolved(),
            entry: is_thread_entry(frame.symbol),
        })
    }

    fn name(&mut self, name: &str) -> Result<u32, String> {
        let interned = self.folded.intern(name);
        interned.map_err(|error| error.to_string())
    }

    /// Counts the sample. One sample per line at most: no sum comes near 2^64.
    fn end_of_sample(&mut self) {
        let frames = std::mem::take(&mut self.frames);
        self.unwound = Unwound::default();
        if let Some(Head {
            kind,
            begin: Some((window, root)),
        }) = self.head.take()
        {
            let Kind { stacks, stats } = &mut self.kinds[kind];
            if let (Some(leaf), Some(outermost)) = (frames.first(), frames.last()) {
                self.stack.clear();
                self.stack.extend(window);
                self.stack.push(root);
                self.stack
                    .extend(frames.iter().rev().map(|frame| frame.name));
                let _ = stacks.add(&self.stack, 1);
                stats.samples += 1;
                stats.frames += frames.len() as u64;
                let unresolved = frames.iter().filter(|frame| frame.unresolved);
                stats.unresolved_frames += unresolved.count() as u64;
                stats.unresolved_leaf += u64::from(leaf.unresolved);
                stats.unrooted += u64::from(!outermost.entry);
            } else {
                stats.no_stack += 1;
            }
        }
        self.frames = frames;
        self.frames.clear();
    }

    /// What was counted whatever the event.
    ///
    /// perf ends every stack with an empty line. Without it the callers may be missing, and a
    /// stack without its root would be shown under the wrong parent.
    pub(crate) fn end_of_text(&mut self) -> &Stats {
        if !self.frames.is_empty() {
            let kept = self.head.take().is_some_and(|head| head.begin.is_some());
            self.all.truncated = u64::from(kept);
        }
        self.end_of_sample();
        &self.all
    }

    /// The stacks of one event, and what was counted.
    pub(crate) fn of_event(mut self, event: &str) -> (Folded, Stats) {
        let kind = self.kind(event);
        let Kind { stacks, stats } = self.kinds.swap_remove(kind);
        let stats = Stats {
            stacks: stacks.len() as u64,
            events: self.all.events,
            truncated: self.all.truncated,
            foreign: self.all.foreign,
            outside: self.all.outside,
            first_pid: self.all.first_pid,
            ..stats
        };
        (self.folded.with_stacks(stacks, stats.samples), stats)
    }
}

const NOT_A_FRAME: &str = "not a stack frame";
