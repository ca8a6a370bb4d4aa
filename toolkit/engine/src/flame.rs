//! Flame graphs and differential flame graphs as SVG, by inferno. The same stacks give the same
//! bytes. What is drawn is decided elsewhere.

use std::io::Write;
use std::path::Path;

use inferno::differential;
use inferno::flamegraph::{self, Options};

use crate::folded::Folded;
use crate::guard::guard;
use crate::whole::write_whole;
use crate::{Error, Result};

/// How a flame graph looks; the names are those of inferno's own options.
#[derive(Debug, Clone, PartialEq)]
pub struct Style {
    /// Headline.
    pub title: String,
    /// Second line, smaller.
    pub subtitle: Option<String>,
    /// What the counts count.
    pub count_name: String,
    /// Frames narrower than this share of the picture, in percent, are left out.
    pub min_width: f64,
}

impl Style {
    fn options(&self) -> Result<Options<'static>> {
        if !(0.0..100.0).contains(&self.min_width) {
            return Err(Error::input(format!(
                "min_width is a percentage from 0 to below 100, not {}",
                self.min_width
            )));
        }
        let texts = [&self.title, &self.count_name];
        for text in texts.into_iter().chain(&self.subtitle) {
            if text.chars().any(char::is_control) {
                return Err(Error::input(format!("a control character in {text:?}")));
            }
        }
        let mut options = Options::default();
        // inferno's random colours go on from the last picture: the same input would give
        // other bytes the second time.
        options.deterministic = true;
        options.title.clone_from(&self.title);
        options.subtitle.clone_from(&self.subtitle);
        options.count_name.clone_from(&self.count_name);
        // inferno sorts by the bytes of whole lines, which puts `a;foo2` between `a;foo` and
        // `a;foo;b` and so draws `foo` as two boxes, each with a part of its samples. In this
        // mode it takes the lines as they come (last one first); `drawable` orders them.
        options.flame_chart = true;
        options.min_width = self.min_width;
        Ok(options)
    }
}

/// Draws folded stacks.
///
/// # Errors
/// A file that cannot be read or is not folded, no samples at all, a text or width that no picture
/// can have, or a panic of inferno's.
pub fn flamegraph(folded: &Path, output: &Path, style: &Style) -> Result<()> {
    let mut options = style.options()?;
    let text = drawable(&with_samples(folded)?, style.min_width);
    draw(text.lines(), output, &mut options)
}

/// Draws `after`, coloured by what changed since `before` (red: more, blue: less). With
/// `normalize`, `before` is scaled to the number of samples of `after`, so that shares are compared.
///
/// # Errors
/// As [`flamegraph`].
pub fn diff_flamegraph(
    before: &Path,
    after: &Path,
    output: &Path,
    style: &Style,
    normalize: bool,
) -> Result<()> {
    let mut options = style.options()?;
    // Whole: what is narrow in one capture may be wide in the other.
    let whole = |path| with_samples(path).map(|folded| drawable(&folded, 0.0));
    let (before, after) = (whole(before)?, whole(after)?);
    let both = guard("comparing two captures", || {
        let mut both = Vec::new();
        let compare = differential::Options {
            normalize,
            ..differential::Options::default()
        };
        differential::from_readers(compare, before.as_bytes(), after.as_bytes(), &mut both)
            .map_err(Error::write(output))?;
        Ok(both)
    })?;
    let text = String::from_utf8_lossy(&both);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable_by(|a, b| stack_of_two(b).split(';').cmp(stack_of_two(a).split(';')));
    draw(lines, output, &mut options)
}

fn with_samples(path: &Path) -> Result<Folded> {
    let folded = Folded::read(path)?;
    if folded.total() == 0 {
        return Err(Error::in_file(path, "no samples: nothing to draw"));
    }
    Ok(folded)
}

/// The stack of a line with two counts.
fn stack_of_two(line: &str) -> &str {
    line.rsplitn(3, ' ').nth(2).unwrap_or(line)
}

fn draw<'a>(
    lines: impl IntoIterator<Item = &'a str>,
    output: &Path,
    options: &mut Options<'_>,
) -> Result<()> {
    write_whole(output, |writer| {
        guard("drawing a flame graph", || {
            flamegraph::from_lines(options, lines, &mut *writer)
                .and_then(|()| writer.flush())
                .map_err(Error::write(output))
        })
    })
}

/// The stacks as text that inferno reads as it is meant, the last one first.
///
/// Frames below `min_width` percent of all samples are left out here, where that costs nothing:
/// inferno would first build all of them. What is left keeps its place in the picture.
fn drawable(folded: &Folded, min_width: f64) -> String {
    let names: Vec<String> = (0..folded.name_count() as u32)
        .map(|id| safe(folded.name(id)))
        .collect();
    // As inferno computes it, so that both leave out the same frames.
    let narrow = min_width / (100.0 / folded.total() as f64);
    let mut text = String::new();
    for (stack, count) in visible(folded, narrow).into_iter().rev() {
        for id in stack {
            text.push_str(&names[*id as usize]);
            text.push(';');
        }
        text.pop();
        text.push_str(&format!(" {count}\n"));
    }
    text
}

/// inferno takes a number before the count for a second count, and skips lines that begin with
/// `# `. In such names the space becomes a no-break space, which looks the same.
fn safe(name: &str) -> String {
    const NO_BREAK_SPACE: &str = "\u{a0}";
    let mut name = name.to_owned();
    let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if let Some(space) = name.rfind(' ')
        && is_number(&name[space + 1..])
    {
        name.replace_range(space..=space, NO_BREAK_SPACE);
    }
    if name.starts_with("# ") {
        name.replace_range(1..2, NO_BREAK_SPACE);
    }
    name
}

/// The stacks in drawing order, cut where their frames have fewer than `narrow` samples.
fn visible(folded: &Folded, narrow: f64) -> Vec<(&[u32], u64)> {
    let order = folded.sorted();
    let stack = |position: usize| folded.stacks().get(order[position]);
    let mut until = vec![0];
    until.extend((0..order.len()).scan(0, |sum, position| {
        *sum += stack(position).1;
        Some(*sum)
    }));
    let mut drawn: Vec<(&[u32], u64)> = Vec::new();
    // Ranges of stacks that share their first `depth` frames, the leftmost on top.
    let mut open = vec![(0, order.len(), 0)];
    while let Some((first, end, depth)) = open.pop() {
        let samples = until[end] - until[first];
        let whole = if first < end { stack(first).0 } else { &[] };
        if depth > 0 && (samples as f64) < narrow {
            // They still take their place in the caller (or, at the root, as a root).
            draw_stack(&mut drawn, &whole[..(depth - 1).max(1)], samples);
        } else if end - first == 1 {
            draw_stack(&mut drawn, whole, samples);
        } else {
            let below = open.len();
            let frame = |number: &u32| folded.stacks().get(*number).0.get(depth);
            let mut from = first;
            for same in order[first..end].chunk_by(|a, b| frame(a) == frame(b)) {
                let to = from + same.len();
                if frame(&same[0]).is_some() {
                    open.push((from, to, depth + 1));
                } else {
                    // The stack that ends here; sorted first, so drawn leftmost.
                    draw_stack(&mut drawn, stack(from).0, until[to] - until[from]);
                }
                from = to;
            }
            open[below..].reverse();
        }
    }
    drawn
}

fn draw_stack<'a>(drawn: &mut Vec<(&'a [u32], u64)>, stack: &'a [u32], samples: u64) {
    match drawn.last_mut() {
        Some((last, count)) if *last == stack => *count += samples,
        _ => drawn.push((stack, samples)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_inferno_would_misread_are_made_safe() {
        let mut folded = Folded::default();
        folded.add(&["main", "worker 3"], 5).expect("good");
        folded.add(&["# note", "x"], 1).expect("good");
        let text = drawable(&folded, 0.0);
        assert_eq!(text, "main;worker\u{a0}3 5\n#\u{a0}note;x 1\n");
    }

    #[test]
    fn what_is_too_narrow_to_be_seen_is_cut_and_keeps_its_place() {
        let mut folded = Folded::default();
        for (stack, count) in [
            ("a", 1),
            ("a;b;c", 4),
            ("a;b;d;e", 1),
            ("a;b;f", 5),
            ("a;g", 88),
            ("z;y", 1),
        ] {
            let stack: Vec<&str> = stack.split(';').collect();
            folded.add(&stack, count).expect("good");
        }
        let text = |percent| drawable(&folded, percent);
        assert_eq!(
            text(0.0),
            "z;y 1\na;g 88\na;b;f 5\na;b;d;e 1\na;b;c 4\na 1\n"
        );
        assert_eq!(text(1.5), "z 1\na;g 88\na;b;f 5\na;b 1\na;b;c 4\na 1\n");
        assert_eq!(text(4.5), "z 1\na;g 88\na;b;f 5\na;b 5\na 1\n");
        assert_eq!(text(50.0), "z 1\na;g 88\na 11\n");
        assert_eq!(drawable(&Folded::default(), 1.0), "");
    }
}
