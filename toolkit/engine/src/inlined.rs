//! Where in the sources the code at an address comes from: the functions that the compiler put
//! there, with file and line, from the module's own debug information.

use std::path::Path;

use addr2line::Loader;
use object::{Object, ObjectSection, ObjectSegment, SegmentFlags, elf};

use crate::elf::with_elf;
use crate::{Error, Result};

/// One function of those whose code is at an address.
#[cfg_attr(
    feature = "python",
    pyo3::pyclass(frozen, get_all, eq, module = "perfkit._engine")
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFrame {
    /// Its name as the debug information has it: bare, or mangled with its path.
    pub function: Option<String>,
    /// The source file.
    pub file: Option<String>,
    /// The line in it, from 1: of the address in the innermost function, of the call in the others.
    pub line: Option<u32>,
}

/// The functions at each of many places of a module, the innermost first and the frame's own last;
/// `None` for a module without debug information. Nothing is known of a place that is no code.
///
/// `places` are offsets in the file, as perf prints them.
///
/// # Errors
/// A file that cannot be read, is not ELF, or is damaged.
pub fn source_frames(module: &Path, places: &[u64]) -> Result<Option<Vec<Vec<SourceFrame>>>> {
    let code = with_elf(module, |file| {
        let has_lines = file
            .section_by_name(".debug_line")
            .is_some_and(|s| s.size() > 0);
        Ok(has_lines.then(|| executable(file)))
    })?;
    let Some(code) = code else {
        return Ok(None);
    };
    let refused = |error| Error::in_file(module, format!("debug information: {error}"));
    let loader = Loader::new(module).map_err(refused)?;
    let frames = places.iter().map(|place| match address(*place, &code) {
        Some(address) => frames_at(&loader, address).map_err(refused),
        None => Ok(Vec::new()),
    });
    frames.collect::<Result<_>>().map(Some)
}

/// Executable segments: offset in the file, address, size.
pub(crate) fn executable(file: &object::File<'_>) -> Vec<(u64, u64, u64)> {
    let segments = file.segments().filter(|segment| {
        matches!(segment.flags(), SegmentFlags::Elf { p_flags, .. } if p_flags.0 & elf::PF_X.0 != 0)
    });
    let row = |segment: object::Segment<'_, '_>| {
        let (offset, size) = segment.file_range();
        (offset, segment.address(), size)
    };
    segments.map(row).collect()
}

/// The address of a place in the file, if it is code.
pub(crate) fn address(place: u64, code: &[(u64, u64, u64)]) -> Option<u64> {
    code.iter().find_map(|(offset, address, size)| {
        let inside = place.checked_sub(*offset).filter(|inside| inside < size)?;
        address.checked_add(inside)
    })
}

type Refused = Box<dyn std::error::Error>;

fn frames_at(loader: &Loader, address: u64) -> Result<Vec<SourceFrame>, Refused> {
    let mut found = Vec::new();
    let mut frames = loader.find_frames(address)?;
    while let Some(frame) = frames.next()? {
        let function = frame.function.as_ref();
        let name = function.map(|name| name.raw_name()).transpose()?;
        let place = frame.location.as_ref();
        found.push(SourceFrame {
            function: name.map(std::borrow::Cow::into_owned),
            file: place.and_then(|place| place.file).map(str::to_owned),
            line: place.and_then(|place| place.line),
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_the_file_become_addresses() {
        let code = [(0x1000, 0x2000, 0x100), (0x3000, u64::MAX, 0x100)];
        assert_eq!(address(0x1010, &code), Some(0x2010));
        for place in [0xfff, 0x1100, 0x3001] {
            assert_eq!(address(place, &code), None, "{place:#x}");
        }
    }
}
