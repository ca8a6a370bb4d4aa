//! Finding, reading and editing constants in Rust source text, by a real parser.
//!
//! An edit replaces the bytes of one initialiser and nothing else; the result is parsed again and
//! must differ from the source in that initialiser alone. Which constant to edit, and what it
//! means, is decided elsewhere.

use std::collections::HashMap;

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::Parse;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{BinOp, Expr, Lit};

use crate::guard::guard;
use crate::lines::excerpt;
use crate::{Error, Result};

/// The parser recurses; this is enough for [`DEEPEST`] levels (of the memory, only what is touched
/// is taken).
const STACK: usize = 1 << 30;

/// A text nested deeper than this is refused: the parser recurses for each level, and a stack that
/// overflows cannot be caught. See [`too_deep`].
const DEEPEST: usize = 20_000;

/// Longest source text that is parsed, in bytes. The largest generated sources are below this.
const LONGEST_SOURCE: usize = 32 << 20;

/// How many constants may be looked up for the value of one: enough for any source, and an end for
/// constants that refer to each other.
const MOST_LOOKUPS: usize = 1_000;

/// One place where a constant gets its value.
#[cfg_attr(
    feature = "python",
    pyo3::pyclass(frozen, get_all, eq, module = "perfkit._engine")
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConstantSite {
    /// Name of the constant.
    pub name: String,
    /// The name after modules, impl blocks and functions round it, joined by `::`.
    pub path: String,
    /// Its type as written; empty inside a macro call.
    pub r#type: String,
    /// Its initialiser as written; empty inside a macro call.
    pub value: String,
    /// Line of the name, from 1.
    pub line: u64,
    /// First and last-plus-one byte of the initialiser in the source text.
    pub span: (usize, usize),
    /// `const`, `static`, or `macro` inside a macro call, where it can be seen but not edited.
    pub kind: &'static str,
}

/// A literal's value.
#[cfg_attr(feature = "python", derive(pyo3::IntoPyObject))]
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// `true`.
    Bool(bool),
    /// `-1_000`, `0xff_u8`, `1_f64`.
    Int(i128),
    /// `1.5e3`.
    Float(f64),
}

/// All constants of a source text that have an initialiser, in order of appearance.
///
/// # Errors
/// [`Error`] with the line at which the text is not Rust, or nests too deep.
pub fn list_constants(source: &str) -> Result<Vec<ConstantSite>> {
    with_stack(|| list(source))
}

/// The source with the initialiser of the constant `name` replaced by `value`; everything else
/// stays byte for byte. Equal to `source` when the initialiser is written so already.
///
/// # Errors
/// No such constant or more than one (all lines are named), a value that is not a Rust expression,
/// or an edit that would change more than the initialiser.
pub fn replace_constant(source: &str, name: &str, value: &str) -> Result<String> {
    with_stack(|| replace(source, name, value))
}

/// The value of a text that is one literal, of a number or a truth value, with or without a sign.
///
/// # Errors
/// None but a panic of the parser.
pub fn literal(text: &str) -> Result<Option<Value>> {
    with_stack(|| {
        Ok(match parsed::<Lit>(text) {
            Ok(Lit::Bool(value)) => Some(Value::Bool(value.value)),
            Ok(Lit::Int(value)) => value.base10_parse().ok().map(Value::Int),
            Ok(Lit::Float(value)) => {
                let whole = value.base10_digits().parse().map(Value::Int);
                whole
                    .or_else(|_| value.base10_parse().map(Value::Float))
                    .ok()
            }
            _ => None,
        })
    })
}

/// What an expression comes to that is whole-number arithmetic over constants of `source` and never
/// negative; `None` for any other, which takes a compiler.
///
/// # Errors
/// As [`list_constants`].
pub fn evaluate(expression: &str, source: &str) -> Result<Option<u64>> {
    with_stack(|| {
        let mut known = HashMap::new();
        for site in list(source)? {
            let value = Some(site.value);
            known
                .entry(site.name)
                .and_modify(|twice| *twice = None)
                .or_insert(value);
        }
        let mut evaluator = Evaluator { known, lookups: 0 };
        Ok(evaluator.text(expression, 0))
    })
}

/// The parser runs on a thread of its own: it needs the stack, and what it remembers about
/// positions is given back with the thread.
fn with_stack<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    const DOING: &str = "parsing Rust source";
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, || guard(DOING, work))
            .map_err(|error| Error::input(format!("cannot start a thread: {error}")))?;
        let ended = thread.join();
        ended.unwrap_or_else(|_| Err(Error::panic(DOING, "outside the guard")))
    })
}

fn replace(source: &str, name: &str, value: &str) -> Result<String> {
    let value = value.trim();
    let wanted = expression(value)?;
    let sites = list(source)?;
    let site = choose(&sites, name)?;
    if site.value == value {
        return Ok(source.to_owned());
    }
    let (start, end) = site.span;
    let edited = [&source[..start], value, &source[end..]].concat();
    let spoiled = || {
        let message = format!("`{value}` would change more than {name}");
        Error::at_line(site.line, message)
    };
    let again = list(&edited).map_err(|_| spoiled())?;
    let is_kept = |(new, old): (&ConstantSite, &ConstantSite)| {
        let value = if old == site { value } else { &old.value };
        (&new.path, &new.r#type, new.kind, &*new.value) == (&old.path, &old.r#type, old.kind, value)
            && (old != site || expression(value).is_ok_and(|now| now == wanted))
    };
    if again.len() != sites.len() || !again.iter().zip(&sites).all(is_kept) {
        return Err(spoiled());
    }
    Ok(edited)
}

/// The only constant that `name` means: its bare name, or the end of its path (`small::CHUNK`).
fn choose<'a>(sites: &'a [ConstantSite], name: &str) -> Result<&'a ConstantSite> {
    let end = format!("::{name}");
    let is_named = |site: &&ConstantSite| site.path == name || site.path.ends_with(&end);
    let found: Vec<_> = sites.iter().filter(is_named).collect();
    match found[..] {
        [] => Err(Error::input(format!(
            "no constant or static `{name}` with a value"
        ))),
        [site] if site.kind == IN_MACRO => Err(Error::at_line(
            site.line,
            format!("`{name}` is written inside a macro call, where its value cannot be edited"),
        )),
        [site] => Ok(site),
        _ => {
            let lines: Vec<_> = found.iter().map(|site| site.line.to_string()).collect();
            Err(Error::input(format!(
                "`{name}` has {} definitions, at lines {}; name the module (`module::{name}`)",
                found.len(),
                lines.join(", ")
            )))
        }
    }
}

/// The tokens of `value`, when it is one Rust expression.
fn expression(value: &str) -> Result<String> {
    let parsed: Expr = parsed(value).map_err(|error| {
        let shown = excerpt(value.as_bytes());
        Error::input(format!("`{shown}` is not a Rust expression: {error}"))
    })?;
    Ok(parsed.to_token_stream().to_string())
}

fn list(source: &str) -> Result<Vec<ConstantSite>> {
    if source.len() > LONGEST_SOURCE {
        return Err(Error::input("more than 32 MiB: this is not a source file"));
    }
    let (text, offset) = plain(source);
    let file: syn::File = parsed(&text).map_err(|error| {
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
    found.sort_by_key(|site| (site.line, site.span.0));
    Ok(found)
}

/// Parses a text, unless that could overflow the stack.
fn parsed<T: Parse>(text: &str) -> syn::Result<T> {
    let tokens: TokenStream = text.parse()?;
    if let Some(place) = too_deep(tokens.clone()) {
        let message = format!("nested too deep, more than {DEEPEST} levels");
        return Err(syn::Error::new(place, message));
    }
    syn::parse2(tokens)
}

/// Where a text nests deeper than [`DEEPEST`], by an upper bound of how deep the parser recurses:
/// each level takes at least one token that no `;`, no `,`, no `=>` and no block has ended.
/// `A<A<A<`, `return return` and `if a {} else if b {}` are as deep as they are long, and so, for
/// what walks through the parsed tree, is `1 + 1 + 1`.
fn too_deep(tokens: TokenStream) -> Option<Span> {
    let mut depth = 0;
    // Of each group that is open: the tokens to come, how many of those before still count, and
    // how many of these a `,` does not end, for it may be one of `A<'a, A<` or of `|a, b| |c, d|`.
    let mut open = vec![(tokens.into_iter(), 0, 0)];
    let (mut before, mut after_block) = (' ', false);
    while let Some((rest, counted, kept)) = open.last_mut() {
        let Some(token) = rest.next() else {
            depth -= *counted;
            open.pop();
            continue;
        };
        let mark = match &token {
            TokenTree::Punct(mark) => mark.as_char(),
            _ => ' ',
        };
        let ends = match &token {
            TokenTree::Punct(_) => match mark {
                ';' => true,
                '>' => before == '=',
                '#' => after_block,
                _ => false,
            },
            TokenTree::Ident(name) => after_block && name != "else" && name != "as",
            TokenTree::Group(_) | TokenTree::Literal(_) => after_block,
        };
        if ends {
            *kept = 0;
        }
        if ends || mark == ',' {
            depth -= *counted - *kept;
            *counted = *kept;
        }
        depth += 1;
        *counted += 1;
        *kept += usize::from(matches!(mark, '<' | '|'));
        if depth > DEEPEST {
            return Some(token.span());
        }
        (before, after_block) = (mark, false);
        if let TokenTree::Group(group) = token {
            after_block = group.delimiter() == Delimiter::Brace;
            open.push((group.stream().into_iter(), 0, 0));
        }
    }
    None
}

/// Works out whole numbers.
struct Evaluator {
    /// The initialiser of each constant; `None` for a name that is there twice.
    known: HashMap<String, Option<String>>,
    lookups: usize,
}

impl Evaluator {
    fn text(&mut self, text: &str, depth: usize) -> Option<u64> {
        self.value(&parsed(text).ok()?, depth)
    }

    fn value(&mut self, expression: &Expr, depth: usize) -> Option<u64> {
        if depth > DEEPEST {
            return None;
        }
        match expression {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Int(number) => number.base10_parse().ok(),
                _ => None,
            },
            Expr::Paren(inner) => self.value(&inner.expr, depth + 1),
            Expr::Path(path) => {
                self.lookups += 1;
                if self.lookups > MOST_LOOKUPS {
                    return None;
                }
                let name = path.path.get_ident()?.to_string();
                let text = self.known.get(&name)?.clone()?;
                self.text(&text, depth + 1)
            }
            Expr::Binary(both) => {
                let left = self.value(&both.left, depth + 1)?;
                let right = self.value(&both.right, depth + 1)?;
                match both.op {
                    BinOp::Add(_) => left.checked_add(right),
                    BinOp::Sub(_) => left.checked_sub(right),
                    BinOp::Mul(_) => left.checked_mul(right),
                    BinOp::Div(_) => left.checked_div(right),
                    BinOp::Rem(_) => left.checked_rem(right),
                    BinOp::Shl(_) => left.checked_mul(2_u64.checked_pow(right.try_into().ok()?)?),
                    BinOp::Shr(_) => left.checked_shr(right.try_into().ok()?),
                    _ => None,
                }
            }
            _ => None,
        }
    }
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

const IN_MACRO: &str = "macro";

struct Finder<'a> {
    text: &'a str,
    offset: usize,
    path: Vec<String>,
    found: Vec<ConstantSite>,
    lost: Option<String>,
}

impl Finder<'_> {
    fn site(&mut self, name: &syn::Ident, ty: &syn::Type, value: &Expr, kind: &'static str) {
        if name == "_" {
            return;
        }
        let (ty, value) = (ty.span().byte_range(), value.span().byte_range());
        match (self.text.get(ty), self.text.get(value.clone())) {
            (Some(ty), Some(text)) => self.add(name, (ty, text), (value.start, value.end), kind),
            _ => self.lost = Some(name.to_string()),
        }
    }

    fn add(
        &mut self,
        name: &syn::Ident,
        (ty, value): (&str, &str),
        (start, end): (usize, usize),
        kind: &'static str,
    ) {
        let name_alone = name.to_string();
        let within = self.path.iter().chain([&name_alone]);
        self.found.push(ConstantSite {
            path: within.cloned().collect::<Vec<_>>().join("::"),
            name: name_alone,
            r#type: ty.to_owned(),
            value: value.to_owned(),
            line: name.span().start().line as u64,
            span: (start + self.offset, end + self.offset),
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
                    let end = name.span().byte_range().end;
                    self.add(&name, ("", ""), (end, end), IN_MACRO);
                }
                TokenTree::Ident(name) => before = name.to_string(),
                TokenTree::Punct(_) | TokenTree::Literal(_) => before.clear(),
            }
        }
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.site(&item.ident, &item.ty, &item.expr, "const");
        visit::visit_item_const(self, item);
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.site(&item.ident, &item.ty, &item.expr, "static");
        visit::visit_item_static(self, item);
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.site(&item.ident, &item.ty, &item.expr, "const");
        visit::visit_impl_item_const(self, item);
    }

    fn visit_trait_item_const(&mut self, item: &'ast syn::TraitItemConst) {
        if let Some((_, value)) = &item.default {
            self.site(&item.ident, &item.ty, value, "const");
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

    /// Texts that nest in each way that the grammar has, `levels` deep by [`too_deep`]'s count.
    fn nested(levels: usize) -> Vec<String> {
        let around = |open: &str, inner: &str, close: &str, tokens: usize| {
            let times = levels / tokens;
            let (open, close) = (open.repeat(times), close.repeat(times));
            format!("{open}{inner}{close}")
        };
        let expressions = [
            around("(", "1", ")", 1),
            around("[", "1", "]", 1),
            around("{", "1", "}", 1),
            around("! ", "1", "", 1),
            around("&", "1", "", 1),
            around("return ", "1", "", 1),
            around("|a, b| ", "1", "", 2),
            around("a = ", "1", "", 2),
            around("1 + ", "1", "", 2),
            around("a", ".a", ".a", 2),
            around("f", "()", "()", 1),
            around("if a {} else ", "{}", "", 4),
            around("if ", "a", "{}", 2),
            around("1", " as u8", " as u8", 2),
            around("", "a", "?", 1),
        ];
        let types = [
            around("A<", "u8", ">", 3),
            around("A<'a, ", "u8", ">", 2),
            around("&", "u8", "", 1),
            around("&'a ", "u8", "", 3),
            around("*const ", "u8", "", 2),
            around("[", "u8", "]", 1),
            around("fn() -> ", "u8", "", 4),
            around("impl Fn() -> ", "u8", "", 5),
        ];
        let expressions = expressions.map(|text| format!("const A: u8 = {text};"));
        let types = types.map(|text| format!("const A: {text} = 1;"));
        let others = [
            format!("fn f() {{ {} }}", around("mod a {", "", "}", 3)),
            format!("fn f() {{ let {} = 1; }}", around("Some(", "a", ")", 2)),
            format!("use {};", around("a::", "a", "", 3)),
        ];
        expressions.into_iter().chain(types).chain(others).collect()
    }

    #[test]
    fn deep_nesting_is_refused_before_it_can_crash() {
        for text in nested(DEEPEST * 9 / 10) {
            let found = list_constants(&text);
            assert!(found.is_ok(), "{}: {found:?}", excerpt(text.as_bytes()));
        }
        for text in nested(2 * DEEPEST) {
            let refused = list_constants(&text).expect_err("refused").to_string();
            assert!(refused.contains("nested too deep"), "{refused}");
        }
    }

    #[test]
    fn numbers_are_worked_out() {
        let value = |text: &str| literal(text).expect("no panic");
        assert_eq!(value("0xff_u8"), Some(Value::Int(255)));
        assert_eq!(value("-1_f64"), Some(Value::Int(-1)));
        assert_eq!(value("2.5e1f32"), Some(Value::Float(25.0)));
        assert_eq!(value("false"), Some(Value::Bool(false)));
        assert_eq!(
            (value("A"), value("1 + 1"), value("'a'")),
            (None, None, None)
        );
        let source = "const A: u8 = B + 1; const B: u8 = (3 << 2) % 7; const L: u8 = L + L;\
            const D: u8 = 1; mod m { const D: u8 = 2; }";
        let number = |text: &str| evaluate(text, source).expect("parses");
        assert_eq!(number("A * 2"), Some(12));
        for text in [
            "L", "D", "NONE", "1 - 2", "8 / 0", "f(3)", "1 << 64", "-1", "1.5",
        ] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
