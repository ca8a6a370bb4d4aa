//! `perf script` text to folded stacks, by inferno.
//!
//! inferno reads leniently: it skips lines that it does not know, keeps one kind of event and
//! drops the others, counts periods where they are printed, cuts names at `->` and at `(`, and
//! panics on some texts. So the text is read strictly here and its samples are counted here; what
//! a frame and a thread are called is decided by inferno, which gets each different one once, in
//! a form that it reads without loss.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use inferno::collapse::Collapse;
use inferno::collapse::perf::{Folder, Options};

use crate::folded::Folded;
use crate::guard::guard;
use crate::lines::{excerpt, for_each_line};
use crate::naming::{Feed, names_by_number};
use crate::perf_script::{FIELDS, process_and_thread};
use crate::samples::{Capture, Reader, Sample};
use crate::select::{Roots, Selection};
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
    let feeds = [
        Feed::of_threads(&capture.threads),
        Feed::of_frames(&capture.frames),
    ];
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
        let sample = Sample::of(sample);
        if sample.event != event || sample.frames.is_empty() {
            continue;
        }
        stack.clear();
        if settings.selection.by_window {
            stack.push(folded.intern(sample.window.to_string().as_bytes())?);
        }
        stack.push(numbers[0][sample.thread as usize]);
        let frames = sample.frames.iter().rev();
        stack.extend(frames.map(|id| numbers[1][*id as usize]));
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
