//! What a frame or a thread of `perf script`'s text is called in a folded stack: as inferno's
//! collapser calls it, but for what its rules, made for C++ and Java, get wrong in other names.

use crate::perf_script::FrameLine;
use crate::symbols;

/// The root frame of a thread: `comm-PID/TID`, with `?` for a process that was not printed.
///
/// Blanks in the name become `_`.
pub(crate) fn thread(comm: &str, id: &str) -> String {
    let process = if id.contains('/') { "" } else { "?/" };
    format!("{}-{process}{id}", comm.replace([' ', '\t'], "_"))
}

/// A frame: its symbol, demangled if it is Rust's, without parameters if it is C++'s; the name of
/// its file in brackets where it has no symbol; `_[k]` after a function of the kernel.
pub(crate) fn frame(frame: FrameLine<'_>) -> String {
    let mut name = match symbols::demangle(frame.symbol) {
        Some(rust) => rust,
        // The text of Python's frames holds the path of their file.
        None if frame.symbol.starts_with("py::") => frame.symbol.to_owned(),
        None if frame.symbol == UNKNOWN && frame.module != UNKNOWN => {
            let file = frame
                .module
                .rsplit_once('/')
                .map_or(frame.module, |(_, file)| file);
            format!("[{file}]")
        }
        None => without_parameters(frame.symbol).to_owned(),
    };
    if is_kernel(frame.module) {
        name.push_str("_[k]");
    }
    name
}

/// What perf prints for a symbol or a file that it does not know.
const UNKNOWN: &str = "[unknown]";

/// The name before its parameter list: the first `(` outside brackets, unless the name begins with
/// it, or it is Go's (`net/http.(*Client).Do`) or an anonymous namespace.
fn without_parameters(name: &str) -> &str {
    let (mut depth, mut before) = (0, '(');
    for (at, c) in name.char_indices() {
        match c {
            '<' | '{' | '[' => depth += 1,
            '>' if before == '-' => {} // an arrow
            '>' | '}' | ']' | ')' => depth -= 1,
            '(' => {
                let is_name =
                    at == 0 || before == '.' || name[at..].starts_with("(anonymous namespace)");
                if depth == 0 && !is_name {
                    return &name[..at];
                }
                depth += 1;
            }
            _ => {}
        }
        before = c;
    }
    name
}

/// Whether a module is the kernel's: a name in brackets (`[kernel.kallsyms]`, a kernel module), or
/// a file `vmlinux` or `*.ko`.
fn is_kernel(module: &str) -> bool {
    let is_image = module.rfind("vmlinux").is_some_and(|at| {
        let in_version = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        module[at..].chars().all(in_version)
    });
    module != UNKNOWN && (module.starts_with('[') || module.ends_with(".ko") || is_image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_called_as_inferno_calls_them() {
        for (symbol, module, name) in [
            ("f(int)", "/a/x", "f"),
            (
                "(anonymous namespace)::f(int)",
                "/a/x",
                "(anonymous namespace)::f",
            ),
            (
                "a::(anonymous namespace)::f(int)",
                "/a/x",
                "a::(anonymous namespace)::f",
            ),
            ("net/http.(*Client).Do(x)", "/a/x", "net/http.(*Client).Do"),
            ("v<f(int)>::g(int)", "/a/x", "v<f(int)>::g"),
            (
                "{lambda(int)#1}::operator()",
                "/a/x",
                "{lambda(int)#1}::operator",
            ),
            (
                "<fn(u8) -> u32 as T>::go",
                "/a/x",
                "<fn(u8) -> u32 as T>::go",
            ),
            ("f<g(u8) -> u32>(u8)", "/a/x", "f<g(u8) -> u32>"),
            (
                "py::run:/my (1)/a.py",
                "/tmp/perf-7.map",
                "py::run:/my (1)/a.py",
            ),
            (
                "[unknown]",
                "/opt/x (old).so (deleted)",
                "[x (old).so (deleted)]",
            ),
            ("[unknown]", "[unknown]", "[unknown]"),
            ("[unknown]", "[vdso]", "[[vdso]]_[k]"),
            ("do_it", "[kernel.kallsyms]", "do_it_[k]"),
            ("do_it", "/lib/modules/6.1/build/vmlinux-6.1.2", "do_it_[k]"),
            ("do_it", "/lib/modules/6.1/a.ko", "do_it_[k]"),
            ("do_it", "/home/vmlinux/lib", "do_it"),
        ] {
            assert_eq!(
                frame(FrameLine { symbol, module }),
                name,
                "{symbol} ({module})"
            );
        }
    }

    #[test]
    fn threads_keep_name_and_ids() {
        assert_eq!(thread("rayon 1", "7/8"), "rayon_1-7/8");
        assert_eq!(thread("python3", "8"), "python3-?/8");
    }
}
