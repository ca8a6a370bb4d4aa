//! Turns a panic of a library into an an error of the kind `Panic`, quietly: while a guarded call runs, its
//! panic text goes into the error and not to stderr, where it would look like a crash of perfkit.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use crate::{Error, Result};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    static TEXT: RefCell<Option<String>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// Runs `work`; a panic inside becomes one of the kind `Panic` with the panic's text and place.
///
/// The panic hook that was there before still sees every panic of other threads and of
/// unguarded code.
///
/// # Errors
/// Whatever `work` returns, or an error of the kind `Panic`.
pub fn guard<T>(doing: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    HOOK.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if GUARDED.get() {
                TEXT.set(Some(info.to_string().replace('\n', " ")));
            } else {
                previous(info);
            }
        }));
    });
    let outer = GUARDED.replace(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    outcome.unwrap_or_else(|_| {
        let message = TEXT.take();
        Err(Error::panic(
            doing,
            message.as_deref().unwrap_or("no panic text"),
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_with_its_text() {
        let outcome: Result<()> = guard("testing", || panic!("the cat is out"));
        let text = outcome.expect_err("a panic is an error").to_string();
        assert!(text.contains("the cat is out"), "{text}");
        assert!(text.contains("guard.rs"), "{text}");
    }

    #[test]
    fn what_the_work_returns_passes_through() {
        assert_eq!(guard("testing", || Ok(3)).expect("no panic"), 3);
        let refused: Result<()> = guard("testing", || Err(Error::input("no")));
        assert_eq!(refused.expect_err("refused").to_string(), "no");
    }
}
