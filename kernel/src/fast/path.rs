//! Which instruction set the loop uses: the best that the processor has, or a requested one.

use std::sync::atomic::{AtomicU8, Ordering};

use super::blocks::Run;
use super::{Kind, portable};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// An instruction set that the loop exists in, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// AVX-512 F and DQ, eight lanes.
    Avx512,
    /// AVX2 with FMA, four lanes.
    Avx2,
    /// What every processor of the target has.
    Portable,
}

impl Path {
    const ALL: [Self; 3] = [Self::Avx512, Self::Avx2, Self::Portable];

    /// The name that Python sees.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
        }
    }

    /// The paths that this processor can take, best first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|path| path.is_available())
    }

    #[cfg(target_arch = "x86_64")]
    fn is_available(self) -> bool {
        match self {
            Self::Avx512 => avx512::is_available(),
            Self::Avx2 => avx2::is_available(),
            Self::Portable => true,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn is_available(self) -> bool {
        self == Self::Portable
    }
}

/// The index of the path in use plus one; zero until the first check.
static CHOSEN: AtomicU8 = AtomicU8::new(0);

/// The path that calls use.
#[must_use]
pub fn chosen_path() -> Path {
    match CHOSEN.load(Ordering::Relaxed) {
        0 => {
            let best = Path::available().next().unwrap_or(Path::Portable);
            CHOSEN.store(best as u8 + 1, Ordering::Relaxed);
            best
        }
        index => Path::ALL[usize::from(index) - 1],
    }
}

/// Makes all later calls use `path`, or the best one again. Returns whether the processor has it.
pub fn set_path(path: Option<Path>) -> bool {
    let index = match path {
        None => 0,
        Some(path) if path.is_available() => path as u8 + 1,
        Some(_) => return false,
    };
    CHOSEN.store(index, Ordering::Relaxed);
    true
}

/// The loop of the chosen path for calls or puts, with one rate or one per option.
#[cfg(target_arch = "x86_64")]
pub(super) fn runner(kind: Kind, rates: bool) -> Run {
    let put = kind == Kind::Put;
    match chosen_path() {
        Path::Avx512 => avx512::runner(put, rates),
        Path::Avx2 => avx2::runner(put, rates),
        Path::Portable => portable::runner(put, rates),
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn runner(kind: Kind, rates: bool) -> Run {
    portable::runner(kind == Kind::Put, rates)
}
