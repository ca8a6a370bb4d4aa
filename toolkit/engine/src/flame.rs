//! Flame graphs and differential flame graphs as SVG, by inferno. The same stacks give the same
//! bytes. What is drawn is decided elsewhere.

use std::io::Write;
use std::path::Path;
use std::str::FromStr;

use inferno::differential;
use inferno::flamegraph::{self, Direction, Options, Palette};

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
    /// Leaf first: stacks merged from the innermost frame.
    pub reverse: bool,
    /// Root at the top (an icicle graph).
    pub inverted: bool,
    /// Frames narrower than this share of the picture, in percent, are left out.
    pub min_width: f64,
    /// One of inferno's palettes, such as `hot`, `rust`, `python`, `aqua`.
    pub palette: String,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            title: flamegraph::defaults::TITLE.to_owned(),
            subtitle: None,
            count_name: flamegraph::defaults::COUNT_NAME.to_owned(),
            reverse: false,
            inverted: false,
            min_width: flamegraph::defaults::MIN_WIDTH,
            palette: flamegraph::defaults::COLORS.to_owned(),
        }
    }
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
        options.colors = Palette::from_str(&self.palette).map_err(|_| {
            Error::input(format!(
                "unknown palette `{}`; there are {}",
                self.palette,
                Palette::VARIANTS.join(", ")
            ))
        })?;
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
        if self.inverted {
            options.direction = Direction::Inverted;
        }
        Ok(options)
    }
}

/// Draws the stacks of all `files` together.
///
/// # Errors
/// A file that cannot be read or is not folded, no samples at all, a style that inferno does not
/// know, or [`Error::Panic`].
pub fn flamegraph(files: &[&Path], output: &Path, style: &Style) -> Result<()> {
    let mut options = style.options()?;
    let mut files = files.iter();
    let first = files
        .next()
        .ok_or_else(|| Error::input("no folded file to draw"))?;
    let mut all = Folded::read(first)?;
    for path in files {
        all.merge(&Folded::read(path)?, None)?;
    }
    if all.total() == 0 {
        return Err(Error::in_file(first, "no samples: nothing to draw"));
    }
    let text = drawable(&all, style.reverse)?;
    drop(all);
    draw(text.lines(), output, &mut options)
}

/// How two captures are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Difference {
    /// Scales `before` to the number of samples of `after`, so that only shares are compared.
    pub normalize: bool,
    /// Colours by `before - after`: for the picture with the two files given the other way round,
    /// which shows the frames that have vanished.
    pub negate: bool,
}

/// Draws `after`, coloured by what changed since `before` (red: more, blue: less).
///
/// # Errors
/// As [`flamegraph`]; either file without samples.
pub fn diff_flamegraph(
    before: &Path,
    after: &Path,
    output: &Path,
    style: &Style,
    how: Difference,
) -> Result<()> {
    let mut options = style.options()?;
    options.negate_differentials = how.negate;
    let mut texts = Vec::new();
    for path in [before, after] {
        let folded = Folded::read(path)?;
        if folded.total() == 0 {
            return Err(Error::in_file(path, "no samples: nothing to compare"));
        }
        texts.push(drawable(&folded, style.reverse)?);
    }
    let text = guard("comparing two captures", || {
        let mut both = Vec::new();
        let compare = differential::Options {
            normalize: how.normalize,
            ..differential::Options::default()
        };
        differential::from_readers(compare, texts[0].as_bytes(), texts[1].as_bytes(), &mut both)
            .map_err(Error::write(output))?;
        String::from_utf8(both).map_err(|_| Error::in_file(after, "not UTF-8 text"))
    })?;
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable_by(|a, b| stack_of_two(b).split(';').cmp(stack_of_two(a).split(';')));
    draw(lines, output, &mut options)
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

/// The stacks as text that inferno reads as it is meant, the last one first. It takes a number
/// before the count for a second count and skips lines that begin with `# `, so in such names the
/// space becomes a no-break space, which looks the same.
fn drawable(folded: &Folded, leaf_first: bool) -> Result<String> {
    let turned = leaf_first.then(|| folded.reversed()).transpose()?;
    let folded = turned.as_ref().unwrap_or(folded);
    let mut text = Vec::new();
    for number in folded.sorted().into_iter().rev() {
        let (stack, count) = folded.sequences().get(number);
        let start = text.len();
        folded.render(stack, &mut text);
        if text[start..].starts_with(b"# ") {
            text.splice(start + 1..start + 2, NO_BREAK_SPACE);
        }
        if let Some(space) = memchr::memrchr(b' ', &text[start..])
            && text[start + space + 1..]
                .iter()
                .all(|b| b.is_ascii_digit() || *b == b'.')
        {
            text.splice(start + space..=start + space, NO_BREAK_SPACE);
        }
        text.push(b' ');
        text.extend_from_slice(count.to_string().as_bytes());
        text.push(b'\n');
    }
    String::from_utf8(text).map_err(|_| Error::input("not UTF-8 text"))
}

const NO_BREAK_SPACE: [u8; 2] = [0xc2, 0xa0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_inferno_would_misread_are_made_safe() {
        let mut folded = Folded::default();
        folded.add(&["main", "worker 3"], 5).expect("good");
        folded.add(&["# note", "x"], 1).expect("good");
        let text = drawable(&folded, false).expect("text");
        assert_eq!(text, "main;worker\u{a0}3 5\n#\u{a0}note;x 1\n");
        let text = drawable(&folded, true).expect("text");
        assert_eq!(text, "x;# note 1\nworker 3;main 5\n");
    }

    #[test]
    fn an_unknown_palette_names_the_known_ones() {
        let style = Style {
            palette: "pink".to_owned(),
            ..Style::default()
        };
        let message = style.options().expect_err("refused").to_string();
        assert!(
            message.contains("pink") && message.contains("python"),
            "{message}"
        );
        let wide = Style {
            min_width: f64::NAN,
            ..Style::default()
        };
        assert!(wide.options().is_err());
    }
}
