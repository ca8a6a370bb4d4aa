//! Facts about a compiled extension (ELF), read from its sections: the hashes of what it loads, for
//! the proof of a parameter, and what a profiler will find in it. Judges nothing.

use std::fs;
use std::path::Path;

use object::{FileKind, Object, ObjectSection, SectionFlags, elf};
use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// What the sections of an ELF file tell.
#[cfg_attr(
    feature = "python",
    pyo3::pyclass(frozen, get_all, module = "perfkit._engine")
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElfInfo {
    /// A symbol table beyond the exported names.
    pub has_symtab: bool,
    /// `.debug_info`: types, inlining, local symbols.
    pub has_debug_info: bool,
    /// `.debug_line`: addresses to source lines.
    pub has_debug_line: bool,
    /// Neither a symbol table nor debug information: a profiler sees exported names only.
    pub stripped: bool,
}

/// Reads the facts about an ELF file.
///
/// # Errors
/// A file that cannot be read, is not ELF, or is damaged.
pub fn elf_info(path: &Path) -> Result<ElfInfo> {
    with_elf(path, |file| {
        let has = |name: &str| file.section_by_name(name).is_some_and(|s| s.size() > 0);
        let (has_symtab, has_debug_info) = (has(".symtab"), has(".debug_info"));
        Ok(ElfInfo {
            has_symtab,
            has_debug_info,
            has_debug_line: has(".debug_line"),
            stripped: !has_symtab && !has_debug_info,
        })
    })
}

/// SHA-256 of the machine code (`.text`), and of everything else that is loaded, each as
/// hexadecimal digits.
///
/// A value can reach a program without changing its machine code: a float constant is read from
/// `.rodata`. The second hash covers names and contents of all loaded sections but `.text` and the
/// build id.
///
/// # Errors
/// As [`elf_info`]; a file without machine code.
pub fn loaded_hashes(path: &Path) -> Result<(String, String)> {
    with_elf(path, |file| {
        let text = file.section_by_name(".text");
        let text = text.ok_or_else(|| Error::in_file(path, "no section .text"))?;
        let code = text.data().map_err(damaged)?;
        if code.is_empty() {
            return Err(Error::in_file(path, "section .text is empty"));
        }
        let mut others = Sha256::new();
        for section in file.sections() {
            let SectionFlags::Elf { sh_type, sh_flags } = section.flags() else {
                continue;
            };
            let name = section.name_bytes().map_err(damaged)?;
            // `.bss` and its like have a size but no bytes in the file.
            let loaded = sh_flags.0 & elf::SHF_ALLOC.0 != 0 && sh_type != elf::SHT_NOBITS;
            if !loaded || name == b".text" || name == b".note.gnu.build-id" {
                continue;
            }
            others.update(name);
            others.update([0]);
            others.update(section.data().map_err(damaged)?);
        }
        Ok((hex(&Sha256::digest(code)), hex(&others.finalize())))
    })
}

/// Lets `ask` look into an ELF file; its errors get the file's name.
pub(crate) fn with_elf<T>(
    path: &Path,
    ask: impl FnOnce(&object::File<'_>) -> Result<T>,
) -> Result<T> {
    let bytes = fs::read(path).map_err(Error::read(path))?;
    if !matches!(
        FileKind::parse(&*bytes),
        Ok(FileKind::Elf32 | FileKind::Elf64)
    ) {
        return Err(Error::in_file(path, "not an ELF file (Linux's format)"));
    }
    let file = object::File::parse(&*bytes).map_err(damaged);
    file.and_then(|file| ask(&file))
        .map_err(|error| error.named(path))
}

fn damaged(error: object::Error) -> Error {
    Error::input(format!("a damaged ELF file: {error}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
