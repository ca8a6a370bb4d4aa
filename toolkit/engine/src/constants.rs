//! Finding and editing constants in Rust source text, by a real parser.
//!
//! An edit replaces the bytes of one initialiser and nothing else; the result is parsed again and
//! must differ from the source in that initialiser alone. Which constant to edit, and what it
//! means, is decided elsewhere.

use std::ops::Range;

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::guard::guard;
use crate::{Error, Result};

/// The parser recurses; this is enough for any source that a person wrote (256 MiB, of which only
/// what is touched is taken).
const STACK: usize = 256 << 20;

/// Brackets or prefix operators nested deeper than this are refused: the parser recurses for each,
/// and a stack that overflows cannot be caught. rustc itself gives up at 128 levels of most things.
const DEEPEST: usize = 1_000;

/// Longest source text that is parsed, in bytes. The largest generated sources are below this.
const LONGEST_SOURCE: usize = 32 << 20;

/// What kind of item a constant is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `const NAME: T = …;`
    Const,
    /// `static NAME: T = …;`
    Static,
    /// Written inside a macro call, where it can be seen but not edited.
    InMacro,
}

impl Kind {
    /// The word for it, as the Python side knows it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Const => "const",
            Self::Static => "static",
            Self::InMacro => "macro",
        }
    }
}

/// One place where a constant gets its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConstantSite {
    /// Name of the constant.
    pub name: String,
    /// Modules, impl blocks and functions round it, joined by `::`; empty at the top.
    pub module: String,
    /// Its type as written; empty inside a macro call.
    pub ty: String,
    /// Its initialiser as written; empty inside a macro call.
    pub value: String,
    /// Line of the name, from 1.
    pub line: u64,
    /// Bytes of the initialiser in the source text.
    pub span: Range<usize>,
    /// What kind of item it is.
    pub kind: Kind,
}

impl ConstantSite {
    /// Whether `name` means this constant: its bare name, or the end of its path
    /// (`small::CHUNK` for `CHUNK` in `mod small`).
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        let Some((path, bare)) = name.rsplit_once("::") else {
            return self.name == name;
        };
        self.name == bare
            && self
                .module
                .strip_suffix(path)
                .is_some_and(|before| before.is_empty() || before.ends_with("::"))
    }
}

/// All constants of a source text that have an initialiser, in order of appearance.
///
/// # Errors
/// [`Error::Input`] with the line at which the text is not Rust.
pub fn list_constants(source: &str) -> Result<Vec<ConstantSite>> {
    with_stack(|| list(source))
}

/// The source with the initialiser of the constant `name` replaced by `value`; everything else
/// stays byte for byte. `line` chooses between constants of one name. Equal to `source` when the
/// initialiser is written so already.
///
/// # Errors
/// [`Error::Input`]: no such constant or more than one (all lines are named), a value that is not
/// a Rust expression, or an edit that would change more than the initialiser.
pub fn replace_constant(
    source: &str,
    name: &str,
    value: &str,
    line: Option<u64>,
) -> Result<String> {
    with_stack(|| replace(source, name, value, line))
}

/// The parser runs on a thread of its own: it needs the stack, and what it remembers about
/// positions is given back with the thread.
fn with_stack<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, || guard("parsing Rust source", work))
            .map_err(|error| Error::input(format!("cannot start a thread: {error}")))?;
        thread.join().unwrap_or_else(|_| {
            Err(Error::Panic {
                doing: "parsing Rust source",
                message: "outside the guard".to_owned(),
            })
        })
    })
}

fn replace(source: &str, name: &str, value: &str, line: Option<u64>) -> Result<String> {
    let value = value.trim();
    let wanted = expression(value)?;
    let sites = list(source)?;
    let position = choose(&sites, name, line)?;
    let site = &sites[position];
    if site.value == value {
        return Ok(source.to_owned());
    }
    let mut edited = String::with_capacity(source.len() + value.len());
    edited.push_str(&source[..site.span.start]);
    edited.push_str(value);
    edited.push_str(&source[site.span.end..]);
    let spoiled = || {
        Error::at_line(
            site.line,
            format!("`{value}` would change more than {name}"),
        )
    };
    let again = list(&edited).map_err(|_| spoiled())?;
    let others_kept = again.len() == sites.len()
        && again
            .iter()
            .zip(&sites)
            .enumerate()
            .all(|(at, (new, old))| {
                (&new.name, &new.module, &new.ty, new.kind)
                    == (&old.name, &old.module, &old.ty, old.kind)
                    && (at == position || new.value == old.value)
            });
    if !others_kept {
        return Err(spoiled());
    }
    let now = expression(&again[position].value)?;
    if again[position].value != value || now != wanted {
        return Err(spoiled());
    }
    Ok(edited)
}

fn choose(sites: &[ConstantSite], name: &str, line: Option<u64>) -> Result<usize> {
    let matching = |site: &&(usize, &ConstantSite)| {
        site.1.is_named(name) && line.is_none_or(|line| site.1.line == line)
    };
    let all: Vec<_> = sites.iter().enumerate().collect();
    let found: Vec<_> = all.iter().filter(matching).collect();
    let lines = || {
        let each = found.iter().map(|(_, site)| site.line.to_string());
        each.collect::<Vec<_>>().join(", ")
    };
    match found[..] {
        [] => Err(Error::input(match line {
            None => format!("no constant or static `{name}` with a value"),
            Some(line) => format!("no constant or static `{name}` with a value at line {line}"),
        })),
        [(_, site)] if site.kind == Kind::InMacro => Err(Error::at_line(
            site.line,
            format!("`{name}` is written inside a macro call, where its value cannot be edited"),
        )),
        [(position, _)] => Ok(*position),
        _ => Err(Error::input(format!(
            "`{name}` has {} definitions, at lines {}; name the module (`module::{name}`) \
             or the line",
            found.len(),
            lines()
        ))),
    }
}

/// The tokens of `value`, when it is one Rust expression.
fn expression(value: &str) -> Result<String> {
    if deepest(value) > DEEPEST {
        return Err(Error::input("a value nested too deep for the parser"));
    }
    let refused =
        |error: syn::Error| Error::input(format!("`{value}` is not a Rust expression: {error}"));
    let parsed: syn::Expr = syn::parse_str(value).map_err(refused)?;
    Ok(parsed.to_token_stream().to_string())
}

fn list(source: &str) -> Result<Vec<ConstantSite>> {
    if source.len() > LONGEST_SOURCE {
        return Err(Error::input("more than 32 MiB: this is not a source file"));
    }
    if deepest(source) > DEEPEST {
        return Err(Error::input(format!(
            "nested more than {DEEPEST} levels deep: this is not a source that a person wrote"
        )));
    }
    let (text, offset) = plain(source);
    let file = syn::parse_str::<syn::File>(&text).map_err(|error| {
        Error::at_line(
            error.span().start().line as u64,
            format!("not Rust that can be parsed: {error}"),
        )
    })?;
    let mut finder = Finder {
        text: &text,
        offset,
        path: Vec::new(),
        found: Vec::new(),
        lost: None,
    };
    finder.visit_file(&file);
    if let Some(name) = finder.lost {
        return Err(Error::input(format!("the place of `{name}` is not known")));
    }
    let mut found = finder.found;
    found.sort_by_key(|site| (site.line, site.span.start));
    Ok(found)
}

/// An upper bound of how deep the text nests: open brackets, and prefix operators in a row.
fn deepest(text: &str) -> usize {
    let (mut open, mut run, mut deepest) = (0_usize, 0_usize, 0_usize);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => open += 1,
            // More closed than opened is for the parser to refuse.
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        run = match byte {
            b'!' | b'-' | b'&' | b'*' | b'|' => run + 1,
            byte if byte.is_ascii_whitespace() => run,
            _ => 0,
        };
        deepest = deepest.max(open).max(run);
    }
    deepest
}

/// The source as the parser wants it, and how many bytes were taken away in front: without a byte
/// order mark, and with a `#!` line blanked out.
fn plain(source: &str) -> (String, usize) {
    let text = source.strip_prefix('\u{feff}').unwrap_or(source);
    let offset = source.len() - text.len();
    let is_script = text
        .strip_prefix("#!")
        .is_some_and(|rest| !rest.trim_start().starts_with('['));
    let mut text = text.to_owned();
    if is_script {
        let end = text.find('\n').unwrap_or(text.len());
        text.replace_range(..end, &" ".repeat(end));
    }
    (text, offset)
}

struct Finder<'a> {
    text: &'a str,
    offset: usize,
    path: Vec<String>,
    found: Vec<ConstantSite>,
    lost: Option<String>,
}

impl Finder<'_> {
    fn site(&mut self, name: &syn::Ident, ty: &syn::Type, value: &syn::Expr, kind: Kind) {
        if name == "_" {
            return;
        }
        let (ty, value) = (ty.span().byte_range(), value.span().byte_range());
        let (Some(ty), Some(initialiser)) = (self.text.get(ty), self.text.get(value.clone()))
        else {
            self.lost = Some(name.to_string());
            return;
        };
        self.found.push(ConstantSite {
            name: name.to_string(),
            module: self.path.join("::"),
            ty: ty.to_owned(),
            value: initialiser.to_owned(),
            line: name.span().start().line as u64,
            span: value.start + self.offset..value.end + self.offset,
            kind,
        });
    }

    fn within(&mut self, name: String, visit: impl FnOnce(&mut Self)) {
        self.path.push(name);
        visit(self);
        self.path.pop();
    }

    /// Notes constants inside a macro call. It may be `cfg_if!`, whose content is real items, or
    /// anything else: nobody but rustc can tell.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut before = String::new();
        for token in tokens {
            match token {
                TokenTree::Group(group) => {
                    self.tokens(group.stream());
                    before.clear();
                }
                TokenTree::Ident(name) if before == "const" || before == "static" => {
                    if name == "mut" {
                        continue;
                    }
                    before.clear();
                    if name == "fn" || name == "unsafe" || name == "extern" || name == "_" {
                        continue;
                    }
                    let place = name.span().byte_range();
                    self.found.push(ConstantSite {
                        name: name.to_string(),
                        module: self.path.join("::"),
                        ty: String::new(),
                        value: String::new(),
                        line: name.span().start().line as u64,
                        span: place.end + self.offset..place.end + self.offset,
                        kind: Kind::InMacro,
                    });
                }
                TokenTree::Ident(name) => before = name.to_string(),
                TokenTree::Punct(_) | TokenTree::Literal(_) => before.clear(),
            }
        }
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.site(&item.ident, &item.ty, &item.expr, Kind::Const);
        visit::visit_item_const(self, item);
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.site(&item.ident, &item.ty, &item.expr, Kind::Static);
        visit::visit_item_static(self, item);
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.site(&item.ident, &item.ty, &item.expr, Kind::Const);
        visit::visit_impl_item_const(self, item);
    }

    fn visit_trait_item_const(&mut self, item: &'ast syn::TraitItemConst) {
        if let Some((_, value)) = &item.default {
            self.site(&item.ident, &item.ty, value, Kind::Const);
        }
        visit::visit_trait_item_const(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.within(item.ident.to_string(), |this| {
            visit::visit_item_mod(this, item)
        });
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let range = item.self_ty.span().byte_range();
        let name = self.text.get(range).unwrap_or("impl").to_owned();
        self.within(name, |this| visit::visit_item_impl(this, item));
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.within(item.ident.to_string(), |this| {
            visit::visit_item_trait(this, item)
        });
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.within(item.sig.ident.to_string(), |this| {
            visit::visit_item_fn(this, item)
        });
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.within(item.sig.ident.to_string(), |this| {
            visit::visit_impl_item_fn(this, item)
        });
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.tokens(call.tokens.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "\u{feff}#!/usr/bin/env run-cargo-script\r\n\
        // const CHUNK: usize = 1;\r\n\
        pub const CHUNK: usize = L1 / 8 / 4; // keep\r\n\
        const L1: usize = 32 * 1024;\r\n\
        static GREETING: &str = \"const CHUNK: usize = 2;\";\r\n\
        mod small {\r\n\tpub const CHUNK: usize = { 7 };\r\n}\r\n\
        impl Thing<u8> { const UNROLL: usize = 4; }\r\n\
        trait Has { const NONE: u8; const SOME: u8 = 3; }\r\n\
        fn run() { const LOCAL: u8 = 9; const _: () = (); }\r\n\
        cfg_if! { if #[cfg(a)] { const HIDDEN: u8 = 1; const fn f() {} } }\r\n";

    fn summary() -> Vec<(String, String, String, u64, &'static str)> {
        let sites = list_constants(SOURCE).expect("parses");
        let row = |s: ConstantSite| (s.module, s.name, s.value, s.line, s.kind.word());
        sites.into_iter().map(row).collect()
    }

    #[test]
    fn every_constant_is_found_wherever_it_stands() {
        let row = |module: &str, name: &str, value: &str, line, kind| {
            (
                module.to_owned(),
                name.to_owned(),
                value.to_owned(),
                line,
                kind,
            )
        };
        assert_eq!(
            summary(),
            [
                row("", "CHUNK", "L1 / 8 / 4", 3, "const"),
                row("", "L1", "32 * 1024", 4, "const"),
                row("", "GREETING", "\"const CHUNK: usize = 2;\"", 5, "static"),
                row("small", "CHUNK", "{ 7 }", 7, "const"),
                row("Thing<u8>", "UNROLL", "4", 9, "const"),
                row("Has", "SOME", "3", 10, "const"),
                row("run", "LOCAL", "9", 11, "const"),
                row("", "HIDDEN", "", 12, "macro"),
            ]
        );
    }

    #[test]
    fn spans_point_at_the_initialiser_in_the_original_bytes() {
        for site in list_constants(SOURCE).expect("parses") {
            assert_eq!(&SOURCE[site.span.clone()], site.value, "{site:?}");
        }
    }

    #[test]
    fn an_edit_touches_the_initialiser_and_nothing_else() {
        let edited = replace_constant(SOURCE, "small::CHUNK", " 1_024 ", None).expect("edited");
        assert_eq!(edited, SOURCE.replace("{ 7 }", "1_024"));
        let edited = replace_constant(SOURCE, "UNROLL", "{ 2 + 2 }", None).expect("edited");
        assert_eq!(edited, SOURCE.replace("= 4;", "= { 2 + 2 };"));
        let edited = replace_constant(SOURCE, "CHUNK", "512", Some(3)).expect("edited");
        assert_eq!(edited, SOURCE.replace("L1 / 8 / 4", "512"));
        let same = replace_constant(SOURCE, "L1", "32 * 1024", None).expect("same");
        assert_eq!(same, SOURCE);
    }

    #[test]
    fn what_is_ambiguous_missing_or_not_an_expression_is_refused() {
        let told = |name, value| {
            let refused = replace_constant(SOURCE, name, value, None).expect_err("refused");
            refused.to_string()
        };
        assert!(told("CHUNK", "1").contains("2 definitions, at lines 3, 7"));
        assert!(told("MISSING", "1").contains("no constant or static `MISSING`"));
        assert!(told("NONE", "1").contains("no constant or static `NONE`"));
        assert!(told("l::CHUNK", "1").contains("no constant or static `l::CHUNK`"));
        assert!(told("HIDDEN", "1").contains("line 12: `HIDDEN` is written inside a macro"));
        assert!(told("L1", "1; const X: u8 = 2").contains("not a Rust expression"));
        assert!(told("L1", "").contains("not a Rust expression"));
        assert!(told("L1", "1 // half").contains("would change more than L1"));
        assert!(told("L1", "1 /* whole */").contains("would change more than L1"));
    }

    #[test]
    fn source_that_is_not_rust_is_refused_with_its_line() {
        let refused = list_constants("const A: u8 = 1;\nconst B u8 = 2;\n").expect_err("refused");
        assert!(
            refused.to_string().starts_with("line 2: not Rust"),
            "{refused}"
        );
        assert!(list_constants("\"open").is_err());
    }

    #[test]
    fn deep_nesting_is_refused_before_it_can_crash() {
        let nested = |depth| format!("const A: u8 = {}1{};", "(".repeat(depth), ")".repeat(depth));
        assert_eq!(list_constants(&nested(900)).expect("parses").len(), 1);
        for deep in [
            nested(20_000),
            format!("const A: u8 = {}1;", "! ".repeat(20_000)),
        ] {
            let refused = list_constants(&deep).expect_err("refused").to_string();
            assert!(refused.contains("levels deep"), "{refused}");
        }
    }
}
