//! Facts about a compiled extension (ELF), read from its sections: the hash of its machine code
//! for the proof of a parameter, and what a profiler will find in it. Judges nothing.

use std::fs;
use std::path::Path;

use object::elf;
use object::read::elf::{Dyn, ElfFile, FileHeader};
use object::{BinaryFormat, FileKind, Object, ObjectSection};
use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// What the sections of an ELF file tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElfInfo {
    /// A symbol table beyond the exported names.
    pub has_symtab: bool,
    /// `.debug_info`: types, inlining, local symbols.
    pub has_debug_info: bool,
    /// `.debug_line`: addresses to source lines.
    pub has_debug_line: bool,
    /// `.eh_frame`: what unwinding without frame pointers needs.
    pub has_eh_frame: bool,
    /// The build id as hexadecimal digits.
    pub build_id: Option<String>,
    /// Libraries that it asks the loader for.
    pub needed: Vec<String>,
    /// What compilers and linkers wrote into `.comment`, one entry each.
    pub comments: Vec<String>,
}

impl ElfInfo {
    /// Neither a symbol table nor debug information: a profiler sees exported names only.
    #[must_use]
    pub fn stripped(&self) -> bool {
        !self.has_symtab && !self.has_debug_info
    }

    /// Whether lld says in `.comment` that it linked the file.
    #[must_use]
    pub fn linked_by_lld(&self) -> bool {
        self.comments.iter().any(|comment| comment.contains("LLD"))
    }
}

/// SHA-256 of the machine code (`.text`), as hexadecimal digits.
///
/// # Errors
/// [`Error::Read`]; a file that is not ELF, or has no code.
pub fn text_hash(path: &Path) -> Result<String> {
    section_hash(path, ".text")
}

/// SHA-256 of one section's bytes, as hexadecimal digits.
///
/// # Errors
/// [`Error::Read`]; a file that is not ELF, or without that section.
pub fn section_hash(path: &Path, section: &str) -> Result<String> {
    let bytes = fs::read(path).map_err(Error::read(path))?;
    let file = parse(path, &bytes)?;
    let found = file.section_by_name(section);
    let found = found.ok_or_else(|| Error::in_file(path, format!("no section {section}")))?;
    let data = found.data().map_err(|error| damaged(path, error))?;
    if data.is_empty() {
        return Err(Error::in_file(path, format!("section {section} is empty")));
    }
    Ok(hex(&Sha256::digest(data)))
}

/// SHA-256 of the machine code, and of everything else that is loaded, each as hexadecimal digits.
///
/// A value can reach a program without changing its machine code: a float constant is read from
/// `.rodata`. The second hash covers names and contents of all loaded sections but `.text` and the
/// build id.
///
/// # Errors
/// As [`text_hash`].
pub fn loaded_hashes(path: &Path) -> Result<(String, String)> {
    let text = text_hash(path)?;
    let bytes = fs::read(path).map_err(Error::read(path))?;
    let file = parse(path, &bytes)?;
    let mut others = Sha256::new();
    for section in file.sections() {
        let object::SectionFlags::Elf { sh_type, sh_flags } = section.flags() else {
            continue;
        };
        let name = section.name_bytes().map_err(|error| damaged(path, error))?;
        // `.bss` and its like have a size but no bytes in the file.
        let loaded = sh_flags.0 & elf::SHF_ALLOC.0 != 0 && sh_type != elf::SHT_NOBITS;
        if !loaded || name == b".text" || name == b".note.gnu.build-id" {
            continue;
        }
        others.update(name);
        others.update([0]);
        others.update(section.data().map_err(|error| damaged(path, error))?);
    }
    Ok((text, hex(&others.finalize())))
}

/// Reads the facts about an ELF file.
///
/// # Errors
/// [`Error::Read`]; a file that is not ELF, or damaged.
pub fn elf_info(path: &Path) -> Result<ElfInfo> {
    let bytes = fs::read(path).map_err(Error::read(path))?;
    let file = parse(path, &bytes)?;
    let has = |name: &str| file.section_by_name(name).is_some_and(|s| s.size() > 0);
    let build_id = file.build_id().map_err(|error| damaged(path, error))?;
    let comment = match file.section_by_name(".comment") {
        Some(section) => section.data().map_err(|error| damaged(path, error))?,
        None => &[],
    };
    let needed = match &file {
        object::File::Elf64(file) => needed(file),
        object::File::Elf32(file) => needed(file),
        _ => Ok(Vec::new()),
    };
    Ok(ElfInfo {
        has_symtab: has(".symtab"),
        has_debug_info: has(".debug_info"),
        has_debug_line: has(".debug_line"),
        has_eh_frame: has(".eh_frame"),
        build_id: build_id.map(hex),
        needed: needed.map_err(|error| damaged(path, error))?,
        comments: comment
            .split(|byte| *byte == 0)
            .filter(|text| !text.is_empty())
            .map(|text| String::from_utf8_lossy(text).into_owned())
            .collect(),
    })
}

fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<object::File<'a>> {
    match FileKind::parse(bytes) {
        Ok(FileKind::Elf32 | FileKind::Elf64) => {}
        _ => return Err(Error::in_file(path, "not an ELF file (Linux's format)")),
    }
    let file = object::File::parse(bytes).map_err(|error| damaged(path, error))?;
    debug_assert_eq!(file.format(), BinaryFormat::Elf);
    Ok(file)
}

fn needed<E: FileHeader>(file: &ElfFile<'_, E>) -> object::Result<Vec<String>> {
    let (endian, data) = (file.endian(), file.data());
    let sections = file.elf_section_table();
    let Some((entries, link)) = sections.dynamic(endian, data)? else {
        return Ok(Vec::new());
    };
    let strings = sections.strings(endian, data, link)?;
    let mut names = Vec::new();
    for entry in entries {
        if entry.is_string(endian) && entry.tag(endian) == elf::DT_NEEDED {
            let name = entry.string(endian, strings)?;
            names.push(String::from_utf8_lossy(name).into_owned());
        }
    }
    Ok(names)
}

fn damaged(path: &Path, error: object::Error) -> Error {
    Error::in_file(path, format!("a damaged ELF file: {error}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
