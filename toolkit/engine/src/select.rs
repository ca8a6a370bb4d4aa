//! Which samples of a capture count, and what is put in their stacks: one process, the windows of
//! the clock in which the profiler looked, the functions inlined into one module, and roots whose
//! names do not change from run to run. Pure; reads no line.

use std::collections::HashMap;

/// What to keep of a capture, and how to name it. The default keeps everything as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selection {
    /// The event to count. Without one, a capture with several kinds of event is refused.
    pub event: Option<String>,
    /// The process to keep.
    pub pid: Option<i64>,
    /// Spans of the clock that the samples carry, seconds, in order.
    pub windows: Option<Vec<(f64, f64)>>,
    /// Begin each stack with the number of its window, from zero, before the thread's root frame.
    pub by_window: bool,
    /// Functions inlined into one module.
    pub chains: Option<Chains>,
    /// Names for the root frames.
    pub roots: Option<Roots>,
}

/// The functions inlined at places of one module, innermost first, without the frame's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chains {
    /// The module as perf prints it.
    pub module: String,
    /// By the address of the instruction, see `collapse::perf_places`.
    pub by_place: HashMap<u64, Vec<String>>,
}

/// What root frames are called: process and thread ids differ from run to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roots {
    /// The calling thread.
    pub calling: String,
    /// All others.
    pub others: String,
    /// The calling thread's id; the first kept sample's process when there is none.
    pub main: Option<i64>,
}

/// Why a sample is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut {
    /// It is of another process.
    Foreign,
    /// It lies in no window.
    Outside,
}

impl Selection {
    /// The window that a sample of this process (or thread, where perf printed no process) at this
    /// time counts in, from zero; zero for all where there are no windows.
    ///
    /// # Errors
    /// Why it does not count.
    pub fn check(&self, process: Option<i64>, time: f64) -> Result<usize, LeftOut> {
        if self.pid.is_some() && self.pid != process {
            return Err(LeftOut::Foreign);
        }
        let Some(windows) = &self.windows else {
            return Ok(0);
        };
        let after = windows.partition_point(|(begin, _)| *begin <= time);
        match after.checked_sub(1) {
            Some(index) if time <= windows[index].1 => Ok(index),
            _ => Err(LeftOut::Outside),
        }
    }
}

/// Whether a stack may begin with this function: one with another root was cut by the unwinder.
#[must_use]
pub fn is_thread_entry(symbol: &str) -> bool {
    let name = symbol.split_once("@@").map_or(symbol, |(name, _)| name);
    let name = name.strip_suffix("_[k]").unwrap_or(name);
    name.starts_with("__libc_start_main")
        || matches!(
            name,
            "_start"
                | "__libc_start_call_main"
                | "start_thread"
                | "clone"
                | "clone3"
                | "__clone"
                | "__clone3"
                | "_clone"
                | "_clone3"
                | "__GI___clone"
                | "__GI___clone3"
                | "ret_from_fork"
                | "ret_from_fork_asm"
                | "_dl_start_user"
                | "thread_start"
                | "main"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_hold_their_ends_and_nothing_between_them() {
        let selection = Selection {
            pid: Some(7),
            windows: Some(vec![(1.0, 2.0), (3.0, 4.0)]),
            ..Selection::default()
        };
        for (time, window) in [(1.0, 0), (1.5, 0), (2.0, 0), (3.0, 1), (4.0, 1)] {
            assert_eq!(selection.check(Some(7), time), Ok(window), "{time}");
        }
        for time in [0.9, 2.1, 4.1] {
            assert_eq!(selection.check(Some(7), time), Err(LeftOut::Outside));
        }
        assert_eq!(selection.check(Some(8), 1.5), Err(LeftOut::Foreign));
        assert_eq!(selection.check(None, 1.5), Err(LeftOut::Foreign));
        assert_eq!(Selection::default().check(None, 1.5), Ok(0));
    }

    #[test]
    fn entries_of_threads_are_known_by_name() {
        for name in ["_start", "__libc_start_main@@GLIBC_2.34", "clone3", "main"] {
            assert!(is_thread_entry(name), "{name}");
        }
        for name in ["price", "cyclone3", "mainly", "[unknown]"] {
            assert!(!is_thread_entry(name), "{name}");
        }
    }
}
