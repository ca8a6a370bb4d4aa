//! Copies of registers and stacks, as the sampler in the worker takes them, to the text of
//! `perf script`: frames by the modules' unwinding tables (framehop), names by their symbol tables.
//! Whoever reads that text need not know that perf was not there.
//!
//! The file, all numbers in the machine's own order:
//!
//! ```text
//! perfkit-copies 1 x86_64 8628           format, machine, process
//! 7f11fc000000-7f11fc1d5000 r-xp …       lines of /proc/PID/maps
//!                                        an empty line
//! address, size, bytes                   of the vdso; 8 bytes for each number
//! time, tid and overrun, pc, sp, fp, lr, size, bytes of the stack from sp on
//! ```

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use framehop::aarch64::{CacheAarch64, UnwindRegsAarch64, UnwinderAarch64};
use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{ExplicitModuleSectionInfo, FrameAddress, Module, Unwinder};
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

use crate::inlined::{address, executable};
use crate::whole::write_whole;
use crate::{Error, Result};

/// What the samples are of, as the text names it.
pub const EVENT: &str = "thread-cpu";
const FORMAT: &str = "perfkit-copies 1";
/// Periods that one sample stands for at most: with a thread that kept its signals blocked for
/// longer, where it is found tells nothing about where it was.
const MOST_PERIODS: u32 = 32;
/// No stack is deeper; a damaged one may be without end.
const DEEPEST: usize = 4096;
const VDSO: &str = "[vdso]";

/// How many samples were written, and how many periods have none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Samples in the text.
    pub samples: u64,
    /// Ends of sampling periods for which there is no stack.
    pub lost: u64,
}

/// Writes the text of the samples in `raw`, which appears whole or not at all.
///
/// # Errors
/// A file that the sampler did not write, or not to its end; a machine that is not known.
pub fn unwind_copies(raw: &Path, output: &Path) -> Result<Written> {
    let bytes = fs::read(raw).map_err(Error::read(raw))?;
    let copies = Copies::read(&bytes).map_err(|error| error.named(raw))?;
    let mut written = Written::default();
    write_whole(output, |sink| {
        let mut put = |text: &str| {
            sink.write_all(text.as_bytes())
                .map_err(Error::write(output))
        };
        written = match copies.machine {
            "x86_64" => copies.unwind(
                UnwinderX86_64::new(),
                CacheX86_64::new(),
                |sample| UnwindRegsX86_64::new(sample.pc, sample.sp, sample.fp),
                &mut put,
            ),
            "aarch64" => copies.unwind(
                UnwinderAarch64::new(),
                CacheAarch64::new(),
                |sample| UnwindRegsAarch64::new(sample.lr, sample.sp, sample.fp),
                &mut put,
            ),
            other => Err(Error::in_file(
                raw,
                format!("of a machine that is not known: {other}"),
            )),
        }?;
        Ok(())
    })?;
    Ok(written)
}

struct Copies<'a> {
    machine: &'a str,
    pid: u32,
    maps: Vec<Mapping<'a>>,
    vdso: &'a [u8],
    samples: Vec<Sample<'a>>,
}

/// Executable memory.
struct Mapping<'a> {
    span: Range<u64>,
    offset: u64,
    path: &'a str,
}

struct Sample<'a> {
    time_ns: u64,
    tid: u32,
    overrun: u32,
    pc: u64,
    sp: u64,
    fp: u64,
    lr: u64,
    stack: &'a [u8],
}

/// Takes numbers and bytes off the front.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn bytes(&mut self, count: u64) -> Result<&'a [u8]> {
        let count = usize::try_from(count).ok();
        let parts = count.and_then(|count| self.0.split_at_checked(count));
        let (taken, rest) = parts.ok_or_else(|| Error::input("ends within a sample"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u64> {
        let bytes = self.bytes(8)?;
        Ok(u64::from_ne_bytes(bytes.try_into().unwrap_or_default()))
    }
}

impl<'a> Copies<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self> {
        let foreign = || Error::input("not what perfkit's sampler writes");
        let end = bytes.windows(2).position(|two| two == b"\n\n");
        let end = end.ok_or_else(foreign)?;
        let text = str::from_utf8(&bytes[..end]).map_err(|_| foreign())?;
        let mut lines = text.lines();
        let head = lines.next().and_then(|line| line.strip_prefix(FORMAT));
        let mut words = head.ok_or_else(foreign)?.split_whitespace();
        let machine = words.next().ok_or_else(foreign)?;
        let pid = words.next().and_then(|word| word.parse().ok());
        let mut rest = Rest(&bytes[end + 2..]);
        let (_, size) = (rest.number()?, rest.number()?);
        let vdso = rest.bytes(size)?;
        let mut samples = Vec::new();
        while !rest.0.is_empty() {
            samples.push(Sample::read(&mut rest)?);
        }
        Ok(Self {
            machine,
            pid: pid.ok_or_else(foreign)?,
            maps: lines.filter_map(Mapping::read).collect(),
            vdso,
            samples,
        })
    }

    fn unwind<U: Unwinder<Module = Module<Vec<u8>>>>(
        &self,
        unwinder: U,
        cache: U::Cache,
        registers: impl Fn(&Sample<'_>) -> U::UnwindRegs,
        put: &mut impl FnMut(&str) -> Result<()>,
    ) -> Result<Written> {
        let mut process = Process::new(self, unwinder, cache);
        let mut written = Written::default();
        let mut text = String::new();
        for sample in &self.samples {
            let (seconds, rest) = (
                sample.time_ns / 1_000_000_000,
                sample.time_ns % 1_000_000_000,
            );
            text.clear();
            let head = format!("{}/{} {seconds}.{rest:09}: {EVENT}:", self.pid, sample.tid);
            text.push_str("worker ");
            text.push_str(&head);
            text.push('\n');
            for frame in process.stack(sample, registers(sample)) {
                text.push_str(process.line(frame.address_for_lookup()));
            }
            text.push('\n');
            // The thread ran for all these periods, and this is a tick of its time like any other.
            let periods = (1 + sample.overrun).min(MOST_PERIODS);
            for _ in 0..periods {
                put(&text)?;
            }
            written.samples += u64::from(periods);
            written.lost += u64::from(1 + sample.overrun - periods);
        }
        Ok(written)
    }
}

impl<'a> Sample<'a> {
    fn read(rest: &mut Rest<'a>) -> Result<Self> {
        let [time_ns, both, pc, sp] = [
            rest.number()?,
            rest.number()?,
            rest.number()?,
            rest.number()?,
        ];
        let [fp, lr, size] = [rest.number()?, rest.number()?, rest.number()?];
        let [a, b, c, d, e, f, g, h] = both.to_ne_bytes();
        Ok(Self {
            time_ns,
            tid: u32::from_ne_bytes([a, b, c, d]),
            overrun: u32::from_ne_bytes([e, f, g, h]).min(u32::MAX - 1),
            pc,
            sp,
            fp,
            lr,
            stack: rest.bytes(size)?,
        })
    }

    fn word(&self, at: u64) -> Result<u64, ()> {
        let begin = usize::try_from(at.checked_sub(self.sp).ok_or(())?).map_err(|_| ())?;
        let bytes = self
            .stack
            .get(begin..begin.checked_add(8).ok_or(())?)
            .ok_or(())?;
        Ok(u64::from_ne_bytes(bytes.try_into().map_err(|_| ())?))
    }
}

impl<'a> Mapping<'a> {
    /// A line of `/proc/PID/maps`; `None` for memory that is not executable.
    fn read(line: &'a str) -> Option<Self> {
        let mut rest = line;
        let mut word = || {
            let (word, after) = rest.split_once(' ')?;
            rest = after.trim_start_matches(' ');
            Some(word)
        };
        let (first, last) = word()?.split_once('-')?;
        let is_code = word()?.contains('x');
        let offset = u64::from_str_radix(word()?, 16).ok()?;
        let _device = word()?;
        let path = rest
            .split_once(' ')
            .map_or("", |(_, path)| path.trim_start_matches(' '));
        let number = |digits| u64::from_str_radix(digits, 16).ok();
        is_code.then_some(Self {
            span: number(first)?..number(last)?,
            offset,
            path,
        })
    }
}

/// What unwinding and naming know of the process so far; modules are read when a frame is in them.
struct Process<'a, U: Unwinder> {
    copies: &'a Copies<'a>,
    unwinder: U,
    cache: U::Cache,
    known: HashMap<usize, Binary>,
    lines: HashMap<u64, String>,
}

impl<'a, U: Unwinder<Module = Module<Vec<u8>>>> Process<'a, U> {
    fn new(copies: &'a Copies<'a>, unwinder: U, cache: U::Cache) -> Self {
        Self {
            copies,
            unwinder,
            cache,
            known: HashMap::new(),
            lines: HashMap::new(),
        }
    }

    /// The frames of a sample, innermost first, as far as its copy of the stack leads.
    fn stack(&mut self, sample: &Sample<'_>, mut registers: U::UnwindRegs) -> Vec<FrameAddress> {
        let mut frames = vec![FrameAddress::from_instruction_pointer(sample.pc)];
        while let Some(last) = frames.last().copied().filter(|_| frames.len() < DEEPEST) {
            self.binary_at(last.address_for_lookup());
            let mut read = |at| sample.word(at);
            let caller =
                self.unwinder
                    .unwind_frame(last, &mut registers, &mut self.cache, &mut read);
            let caller = caller
                .ok()
                .flatten()
                .and_then(FrameAddress::from_return_address);
            match caller {
                // A caller outside all code is a wrong turn: the stack is cut here.
                Some(frame) if self.mapping_at(frame.address_for_lookup()).is_some() => {
                    frames.push(frame);
                }
                _ => break,
            }
        }
        frames
    }

    fn mapping_at(&self, place: u64) -> Option<usize> {
        let maps = &self.copies.maps;
        let after = maps.partition_point(|mapping| mapping.span.start <= place);
        let index = after.checked_sub(1)?;
        maps[index].span.contains(&place).then_some(index)
    }

    /// The mapping of an address, whose file is read if it was not yet.
    fn binary_at(&mut self, place: u64) -> Option<usize> {
        let index = self.mapping_at(place)?;
        if !self.known.contains_key(&index) {
            let mapping = &self.copies.maps[index];
            let read = match mapping.path {
                VDSO => Some(self.copies.vdso.to_vec()),
                path => path.starts_with('/').then(|| fs::read(path).ok()).flatten(),
            };
            let binary = read.and_then(|bytes| Binary::read(&bytes, mapping));
            let (binary, module) = binary.unzip();
            if let Some(module) = module {
                self.unwinder.add_module(module);
            }
            self.known.insert(index, binary.unwrap_or_default());
        }
        Some(index)
    }

    /// A frame as `perf script` prints it: place in the file, symbol, file.
    fn line(&mut self, place: u64) -> &str {
        if !self.lines.contains_key(&place) {
            let mut line = String::new();
            let _ = match self.binary_at(place) {
                Some(index) => {
                    let mapping = &self.copies.maps[index];
                    let offset = place - mapping.span.start + mapping.offset;
                    let symbol = self.known[&index].symbol(offset).unwrap_or("[unknown]");
                    let path = Some(mapping.path).filter(|path| !path.is_empty());
                    let path = path.unwrap_or("[unknown]");
                    writeln!(line, "\t{offset:>16x} {symbol} ({path})")
                }
                None => writeln!(line, "\t{place:>16x} [unknown] ([unknown])"),
            };
            self.lines.insert(place, line);
        }
        &self.lines[&place]
    }
}

/// The names of one file's code.
#[derive(Default)]
struct Binary {
    /// Executable segments: offset in the file, address, size.
    code: Vec<(u64, u64, u64)>,
    /// By address; of several at one address the best.
    symbols: Vec<Symbol>,
}

struct Symbol {
    span: Range<u64>,
    name: String,
}

/// The stubs through which one module calls another: nobody's own time, as the rules of layers know.
const STUBS: &str = "stub@plt";
/// Where distributions install the symbols that they strip from their files.
const DEBUG_FILES: &str = "/usr/lib/debug/.build-id";
/// Symbols may lie within each other; how many are looked at for the one that holds an address.
const NESTED: usize = 8;

impl Binary {
    fn read(bytes: &[u8], mapping: &Mapping<'_>) -> Option<(Self, Module<Vec<u8>>)> {
        let file = object::File::parse(bytes).ok()?;
        let code = executable(&file);
        let end = mapping.offset + (mapping.span.end - mapping.span.start);
        let overlaps = |(offset, _, size): &&(u64, u64, u64)| {
            *offset < end && mapping.offset < offset.saturating_add(*size)
        };
        let (offset, at, _) = code.iter().find(overlaps)?;
        let base = mapping
            .span
            .start
            .wrapping_sub(mapping.offset)
            .wrapping_add(*offset)
            .wrapping_sub(*at);
        let mut symbols = named(&file);
        if let Ok(Some([first, rest @ ..])) = file.build_id() {
            let hex: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
            let place = PathBuf::from(format!("{DEBUG_FILES}/{first:02x}/{hex}.debug"));
            if let Ok(bytes) = fs::read(place)
                && let Ok(file) = object::File::parse(&*bytes)
            {
                symbols.extend(named(&file));
            }
        }
        let module = Module::new(
            mapping.path.to_owned(),
            mapping.span.clone(),
            base,
            sections(&file),
        );
        let symbols = sorted(symbols);
        Some((Self { code, symbols }, module))
    }

    fn symbol(&self, place: u64) -> Option<&str> {
        let at = address(place, &self.code)?;
        let after = self
            .symbols
            .partition_point(|symbol| symbol.span.start <= at);
        let near = self.symbols[..after].iter().rev().take(NESTED);
        let mut holding = near.filter(|symbol| symbol.span.contains(&at));
        holding.next().map(|symbol| &*symbol.name)
    }
}

/// A symbol with how good a name it is: one with a size, global, with few underscores before it.
type Ranked = (Symbol, (bool, bool, std::cmp::Reverse<usize>, usize));

fn named(file: &object::File<'_>) -> Vec<Ranked> {
    let all = file.symbols().chain(file.dynamic_symbols());
    let text = all.filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.is_definition());
    let symbols = text.filter_map(|symbol| {
        let name = symbol.name().ok().filter(|name| !name.is_empty())?;
        let underscores = name.bytes().take_while(|byte| *byte == b'_').count();
        let rank = (
            symbol.size() > 0,
            symbol.is_global() && !symbol.is_weak(),
            std::cmp::Reverse(underscores),
            name.len(),
        );
        let start = symbol.address();
        let span = start..start.saturating_add(symbol.size());
        let name = name.to_owned();
        Some((Symbol { span, name }, rank))
    });
    let stubs = file.sections().filter_map(|section| {
        let is_stubs = section.name().is_ok_and(|name| name.starts_with(".plt"));
        let span = section.address()..section.address().saturating_add(section.size());
        let name = STUBS.to_owned();
        is_stubs.then_some((
            Symbol { span, name },
            (true, false, std::cmp::Reverse(0), 0),
        ))
    });
    symbols.chain(stubs).collect()
}

fn sorted(mut ranked: Vec<Ranked>) -> Vec<Symbol> {
    ranked.sort_by(|(one, rank), (other, its)| {
        one.span.start.cmp(&other.span.start).then(its.cmp(rank))
    });
    ranked.dedup_by_key(|(symbol, _)| symbol.span.start);
    let mut symbols: Vec<Symbol> = ranked.into_iter().map(|(symbol, _)| symbol).collect();
    // Handwritten code often has no sizes: such a symbol ends where the next one begins.
    for index in 0..symbols.len().saturating_sub(1) {
        let next = symbols[index + 1].span.start;
        let span = &mut symbols[index].span;
        if span.is_empty() {
            span.end = next;
        }
    }
    symbols
}

/// What the unwinder needs of a file.
fn sections(file: &object::File<'_>) -> ExplicitModuleSectionInfo<Vec<u8>> {
    let span = |name: &str| {
        let section = file.section_by_name(name)?;
        Some(section.address()..section.address().checked_add(section.size())?)
    };
    let data = |name: &str| {
        let data = file.section_by_name(name)?.uncompressed_data().ok()?;
        Some(data.into_owned()).filter(|data| !data.is_empty())
    };
    ExplicitModuleSectionInfo {
        base_svma: 0,
        text_svma: span(".text"),
        got_svma: span(".got"),
        eh_frame_svma: span(".eh_frame"),
        eh_frame: data(".eh_frame"),
        eh_frame_hdr_svma: span(".eh_frame_hdr"),
        eh_frame_hdr: data(".eh_frame_hdr"),
        debug_frame: data(".debug_frame"),
        ..ExplicitModuleSectionInfo::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with one sample at `pc`, after which `overrun` more periods had ended.
    fn raw(maps: &str, pc: u64, overrun: u32) -> Vec<u8> {
        let mut bytes = format!("{FORMAT} x86_64 7\n{maps}\n").into_bytes();
        let tid = [8_u32.to_ne_bytes(), overrun.to_ne_bytes()].concat();
        let both = u64::from_ne_bytes(tid.try_into().expect("eight bytes"));
        for number in [0, 0, 2_000_000_003, both, pc, 0x7000, 0, 0, 16, 0, 0] {
            bytes.extend(u64::to_ne_bytes(number));
        }
        bytes
    }

    fn text(bytes: &[u8]) -> (String, Written) {
        let copies = Copies::read(bytes).expect("a file of copies");
        let mut text = String::new();
        let registers =
            |sample: &Sample<'_>| UnwindRegsX86_64::new(sample.pc, sample.sp, sample.fp);
        let mut put = |part: &str| {
            text.push_str(part);
            Ok(())
        };
        let written = copies.unwind(
            UnwinderX86_64::new(),
            CacheX86_64::new(),
            registers,
            &mut put,
        );
        (text, written.expect("written"))
    }

    const MAPS: &str = "1000-3000 r-xp 00000400 fe:00 12      /no/such file.so (deleted)\n\
                        5000-6000 rw-p 00000000 00:00 0 \n";

    #[test]
    fn a_sample_is_written_as_perf_writes_it() {
        let head = "worker 7/8 2.000000003: thread-cpu:\n";
        let line = "\t             510 [unknown] (/no/such file.so (deleted))\n\n";
        let (found, written) = text(&raw(MAPS, 0x1110, 0));
        assert_eq!(found, format!("{head}{line}"));
        assert_eq!(
            written,
            Written {
                samples: 1,
                lost: 0
            }
        );
        // Code that is in no file stays a sample.
        let (found, _) = text(&raw(MAPS, 0x5110, 0));
        assert_eq!(
            found,
            format!("{head}\t            5110 [unknown] ([unknown])\n\n")
        );
    }

    #[test]
    fn a_sample_stands_for_the_periods_that_ended_with_it_but_not_for_any_number() {
        for (overrun, samples, lost) in
            [(0, 1, 0), (2, 3, 0), (31, 32, 0), (32, 32, 1), (99, 32, 68)]
        {
            let (found, written) = text(&raw(MAPS, 0x1110, overrun));
            assert_eq!(written, Written { samples, lost });
            assert_eq!(found.matches("thread-cpu:").count() as u64, samples);
        }
    }

    #[test]
    fn what_the_sampler_did_not_write_to_its_end_is_refused() {
        let whole = raw(MAPS, 0x1110, 0);
        for length in 0..whole.len() {
            let is_whole = length == whole.len() - 72; // without any sample
            assert_eq!(Copies::read(&whole[..length]).is_ok(), is_whole, "{length}");
        }
        assert!(Copies::read(b"PERFILE2\n\n").is_err());
    }

    #[test]
    fn executable_memory_is_read_with_its_file() {
        let read = |line| Mapping::read(line).map(|m| (m.span, m.offset, m.path.to_owned()));
        let vdso = "7ffd1c1b6000-7ffd1c1b8000 r-xp 00000000 00:00 0                  [vdso]";
        let span = 0x7ffd_1c1b_6000..0x7ffd_1c1b_8000;
        assert_eq!(read(vdso), Some((span, 0, VDSO.to_owned())));
        let jit = "7f00-7f10 rwxp 00000000 00:00 0 ";
        assert_eq!(read(jit), Some((0x7f00..0x7f10, 0, String::new())));
        for line in [
            "7f00-7f10 rw-p 00000000 00:00 0 ",
            "",
            "7f00 r-xp",
            "x-y r-xp 0 0 0 a",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }

    #[test]
    fn of_two_names_at_one_address_the_better_one_is_kept() {
        let symbol = |span: Range<u64>, name: &str, global| {
            let rank = (!span.is_empty(), global, std::cmp::Reverse(0), name.len());
            let name = name.to_owned();
            (Symbol { span, name }, rank)
        };
        let binary = Binary {
            code: vec![(0, 0x1000, 0x1000)],
            symbols: sorted(vec![
                symbol(0x1100..0x1200, "outer", true),
                symbol(0x1010..0x1010, "handwritten", true),
                symbol(0x1100..0x1200, "alias", false),
                symbol(0x1120..0x1130, "inner", true),
            ]),
        };
        for (place, name) in [
            (0x0f, None),
            (0x10, Some("handwritten")),
            (0xff, Some("handwritten")),
            (0x100, Some("outer")),
            (0x12f, Some("inner")),
            (0x130, Some("outer")),
            (0x200, None),
            (0x1100, None),
        ] {
            assert_eq!(binary.symbol(place), name, "{place:#x}");
        }
    }
}
