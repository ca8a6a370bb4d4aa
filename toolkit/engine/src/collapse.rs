//! `perf script` text to folded stacks: one event of a file, written as a folded file, or the
//! refusal of the file.
//!
//! inferno's own collapser reads leniently: it skips lines that it does not know, keeps one kind of
//! event and drops the others, counts periods where they are printed, and panics on some texts.

use std::path::Path;

use hashbrown::HashSet;

use crate::intern::hasher;
use crate::lines::{excerpt, for_each_line};
use crate::perf_script::{Unwound, place_and_rest, place_of};
use crate::samples::{Reader, Stats};
use crate::select::Selection;
use crate::{Error, Result};

/// The end of a refusal: the fields that the text must have.
const HOW_PRINTED: &str = "the text must come from \
    `perf script --no-inline -F comm,pid,tid,time,event,ip,sym,dso`";

/// Collapses the text file `script` into the folded file `output`, which appears whole or not at
/// all.
///
/// # Errors
/// [`Error`] with the line that is not text of `perf script`, or for a capture without samples.
pub fn collapse_perf(script: &Path, output: &Path, selection: &Selection) -> Result<Stats> {
    let mut reader = Reader::new(selection).map_err(Error::input)?;
    let bytes = for_each_line(script, |number, line, complete| {
        let refused = |message: String| {
            let cut = match complete {
                true => "",
                false => "the text ends in the middle of a line; ",
            };
            let line = excerpt(line);
            Error::at_line(number, format!("{cut}{message}: `{line}`; {HOW_PRINTED}"))
        };
        reader.line(line).map_err(refused)
    })?;
    let event = chosen_event(reader.end_of_text(), selection);
    let (folded, mut stats) = reader.of_event(&event.map_err(|error| error.named(script))?);
    stats.bytes = bytes;
    if stats.samples == 0 {
        let message = match stats.no_stack {
            0 => no_samples(&stats),
            samples => format!("none of the {samples} samples has a stack; {HOW_PRINTED}"),
        };
        return Err(Error::in_file(script, message));
    }
    folded.write(output)?;
    Ok(stats)
}

fn chosen_event(seen: &Stats, selection: &Selection) -> Result<String> {
    let events: Vec<&String> = seen.events.keys().collect();
    let listed = || {
        let each = seen.events.iter();
        let each = each.map(|(name, count)| format!("{name} ({count} samples)"));
        each.collect::<Vec<_>>().join(", ")
    };
    match (&selection.event, &events[..]) {
        (_, []) => Err(Error::input(no_samples(seen))),
        (Some(asked), events) if events.contains(&asked) => Ok(asked.clone()),
        (Some(asked), _) => Err(Error::input(format!(
            "no sample of the event `{asked}`; there are {}",
            listed()
        ))),
        (None, [event]) => Ok((*event).clone()),
        (None, _) => Err(Error::input(format!(
            "several kinds of event, which must not be added up: {}; name the one to count",
            listed()
        ))),
    }
}

fn no_samples(seen: &Stats) -> String {
    match seen.foreign + seen.outside {
        0 => "the capture is empty: no sample in it. Did the program run long enough, \
              and was perf allowed to sample it?"
            .to_owned(),
        left_out => format!("none of its {left_out} samples lies inside the measured region"),
    }
}

/// Every instruction in `module` that a stack of the text is at, in order: the one sampled, and the
/// calls of its callers.
///
/// # Errors
/// A file that cannot be read, or a line of more than 16 MiB.
pub fn perf_places(script: &Path, module: &str) -> Result<Vec<u64>> {
    let ending = format!(" ({module})");
    let mut found = HashSet::with_hasher(hasher());
    // `None` between samples, whose first line is no frame although its first word may be a number.
    let mut unwound = None;
    for_each_line(script, |_, text, _| {
        let printed = place_and_rest(text).and_then(|(place, _)| place_of(place));
        match (&mut unwound, printed) {
            _ if text.trim_ascii().is_empty() => unwound = None,
            _ if text.first() == Some(&b'#') => {}
            (Some(unwound), Some(place)) => {
                let place = Unwound::instruction(unwound, place);
                if text.trim_ascii_end().ends_with(ending.as_bytes()) {
                    found.insert(place);
                }
            }
            _ => unwound = Some(Unwound::default()),
        }
        Ok(())
    })?;
    let mut places: Vec<u64> = found.into_iter().collect();
    places.sort_unstable();
    Ok(places)
}
