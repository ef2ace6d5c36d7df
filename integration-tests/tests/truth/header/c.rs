//! The comparison, as C code that a compiler accepts where both sides agree. It knows C and our side's facts; the
//! header is the compiler's to read.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use nvml_sim::Code;
use syn::{Expr, Lit, Type};

use super::rust::{Function, Interface};

/// Something that has to be true, and how a failure is called.
pub struct Assertion {
    label: String,
    /// C; none where the header does not even have the word.
    condition: Option<String>,
}

/// Our types have this before their names, since the header has the names themselves.
const OURS: &str = "ours_";

impl Assertion {
    fn new(label: String, condition: String) -> Assertion {
        Assertion { label, condition: Some(condition) }
    }

    fn failed(label: String) -> Assertion {
        Assertion { label, condition: None }
    }
}

/// The facts of the bindings.
pub fn of_bindings(bindings: &Interface, words: &BTreeSet<String>) -> Vec<Assertion> {
    let mut all = layouts(bindings, words);
    all.extend(constants(bindings, words));
    all.extend(bindings.functions.iter().map(|function| prototype(function, bindings, words)));
    all
}

/// The facts of our own sources; `bindings` say how their types are called.
pub fn of_own(own: &Interface, bindings: &Interface, words: &BTreeSet<String>) -> Vec<Assertion> {
    let mut all = layouts(own, words);
    all.extend(constants(own, words));
    all.extend(own.functions.iter().map(|function| prototype(function, bindings, words)));
    all
}

/// The simulator's return codes.
pub fn of_codes(codes: &[(Code, &str)]) -> Vec<Assertion> {
    let of = |(code, name): &(Code, &str)| {
        let condition = format!("(int)NVML_ERROR_{name} == {}", code.0);
        Assertion::new(format!("NVML_ERROR_{name} is {}", code.0), condition)
    };
    codes.iter().map(of).collect()
}

/// The labels of the facts that do not hold.
pub fn failing(
    header: &Path,
    bindings: &Interface,
    own: &Interface,
    facts: &[Assertion],
) -> BTreeSet<String> {
    let mut code = String::from("#define NVML_NO_UNVERSIONED_FUNC_DEFS\n#include <stddef.h>\n");
    let _ = writeln!(code, "#include \"{}\"", header.display());
    for interface in [bindings, own] {
        declare_types(interface, &mut code);
    }
    let mut wrong = BTreeSet::new();
    for Assertion { label, condition } in facts {
        match condition {
            Some(condition) => {
                let _ = writeln!(code, "_Static_assert({condition}, \"{label}\");");
            }
            None => {
                wrong.insert(label.clone());
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("check.c");
    fs::write(&file, &code).unwrap();
    let output = Command::new("gcc")
        .args([
            "-std=gnu11",
            "-fsyntax-only",
            "-fmax-errors=0",
            "-Wno-deprecated-declarations",
            "-fno-diagnostics-show-caret",
        ])
        .arg(&file)
        .env("LC_ALL", "C")
        .output()
        .expect("gcc is there");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    for line in said.lines().filter(|line| line.contains(" error: ")) {
        let label =
            line.split_once("static assertion failed: \"").and_then(|(_, rest)| rest.rsplit_once('"'));
        match label {
            Some((label, _)) => wrong.insert(label.to_owned()),
            None => panic!("{line}\n{}", source_line(&code, line)),
        };
    }
    wrong
}

/// The line of the code that a message speaks of.
fn source_line<'a>(code: &'a str, message: &str) -> &'a str {
    let number = message.split(':').nth(1).and_then(|number| number.parse::<usize>().ok());
    number.and_then(|number| code.lines().nth(number - 1)).unwrap_or_default()
}

fn declare_types(interface: &Interface, code: &mut String) {
    for (name, record) in &interface.records {
        let kind = if record.is_union { "union" } else { "struct" };
        let _ = writeln!(code, "typedef {kind} {OURS}{name} {OURS}{name};");
    }
    // Names of numbers and pointers first: a struct may stand before the name of its field's type.
    let is_early = |ty: &Type| is_plain(ty) || matches!(ty, Type::Ptr(_));
    let (early, late): (Vec<_>, Vec<_>) = interface.aliases.iter().partition(|(_, ty)| is_early(ty));
    for (name, ty) in early.iter().chain(&late) {
        let _ = writeln!(code, "typedef {};", declaration(ty, &format!("{OURS}{name}"), &ours));
    }
    let mut done = BTreeSet::new();
    for name in interface.records.keys() {
        define(name, interface, &mut done, code);
    }
}

/// Defines a struct or union after those that it contains.
fn define<'a>(name: &'a str, interface: &'a Interface, done: &mut BTreeSet<&'a str>, code: &mut String) {
    let Some((name, record)) = interface.records.get_key_value(name) else { return };
    if record.fields.is_empty() || !done.insert(name) {
        return;
    }
    for part in record.fields.iter().filter_map(|(_, ty)| contained(ty)) {
        let alias = interface.aliases.iter().find(|(alias, _)| *alias == part);
        let aliased = alias.and_then(|(_, ty)| contained(ty));
        let of = interface.records.get_key_value(&aliased.unwrap_or(part));
        if let Some((of, _)) = of {
            define(of, interface, done, code);
        }
    }
    let kind = if record.is_union { "union" } else { "struct" };
    let fields: String =
        record.fields.iter().map(|(field, ty)| format!(" {};", declaration(ty, field, &ours))).collect();
    let _ = writeln!(code, "{kind} {OURS}{name} {{{fields} }};");
}

/// The name of the type of a field, or of its parts.
fn contained(ty: &Type) -> Option<String> {
    match ty {
        Type::Path(path) => Some(path.path.segments.last()?.ident.to_string()),
        Type::Array(array) => contained(&array.elem),
        _ => None,
    }
}

/// Sizes and offsets of all structs that have a name in C.
fn layouts(interface: &Interface, words: &BTreeSet<String>) -> Vec<Assertion> {
    let mut all = Vec::new();
    for (name, record) in &interface.records {
        // Parts without a name of their own are compared where they stand.
        if record.fields.is_empty() || name.contains("__bindgen") {
            continue;
        }
        let Some(theirs) = name_in_header(name, interface, words) else {
            all.push(Assertion::failed(format!("{name} is a struct of the header")));
            continue;
        };
        all.push(Assertion::new(
            format!("size of {theirs}"),
            format!("sizeof({theirs}) == sizeof({OURS}{name})"),
        ));
        for (field, ty) in record.fields.iter().filter(|(field, _)| !field.starts_with("__bindgen")) {
            let (of_theirs, of_ours) =
                (format!("(({theirs} *)0)->{field}"), format!("(({OURS}{name} *)0)->{field}"));
            all.push(Assertion::new(
                format!("place of {theirs}.{field}"),
                format!(
                    "offsetof({theirs}, {field}) == offsetof({OURS}{name}, {field}) \
                     && sizeof({of_theirs}) == sizeof({of_ours})"
                ),
            ));
            if is_plain(ty) {
                all.push(Assertion::new(
                    format!("type of {theirs}.{field}"),
                    format!("__builtin_types_compatible_p(__typeof__({of_theirs}), __typeof__({of_ours}))"),
                ));
            }
        }
    }
    all
}

/// Constants. Those of an enum have its name before their own: `nvmlReturn_enum_NVML_SUCCESS`.
fn constants(interface: &Interface, words: &BTreeSet<String>) -> Vec<Assertion> {
    let mut all = Vec::new();
    for (name, number) in &interface.constants {
        let name = match name.find("_NVML_") {
            Some(at) if name.starts_with("nvml") => &name[at + 1..],
            _ => name.as_str(),
        };
        let label = format!("{name} is {number}");
        if words.contains(name) {
            all.push(Assertion::new(label, format!("(long long)({name}) == {number}LL")));
        } else {
            all.push(Assertion::failed(label));
        }
    }
    all
}

fn prototype(function: &Function, types: &Interface, words: &BTreeSet<String>) -> Assertion {
    let label = format!("prototype of {}", function.name);
    if !words.contains(&function.name) {
        return Assertion::failed(label);
    }
    let theirs = |name: &str| name_in_header(name, types, words).unwrap_or_else(|| name.to_owned());
    let arguments: Vec<String> = function.arguments.iter().map(|ty| declaration(ty, "", &theirs)).collect();
    let arguments = if arguments.is_empty() { "void".to_owned() } else { arguments.join(", ") };
    let head = format!("({arguments})");
    let ours = match &function.result {
        Some(ty) => declaration(ty, &head, &theirs),
        None => format!("nvmlReturn_t {head}"),
    };
    let is = |ours: &str| format!("__builtin_types_compatible_p(__typeof__({}), {ours})", function.name);
    // Rust's u64 is C's long as well: both are one type of the machine.
    let long = ours.replace("unsigned long long", "unsigned long");
    Assertion::new(label, format!("{} || {}", is(&ours), is(&long)))
}

/// How the header calls a type of ours: by its own name, or by an alias of it.
fn name_in_header(name: &str, types: &Interface, words: &BTreeSet<String>) -> Option<String> {
    let is_of = |ty: &Type| matches!(ty, Type::Path(path) if path.path.is_ident(name));
    let aliases = types.aliases.iter().filter(|(_, ty)| is_of(ty)).map(|(alias, _)| alias.clone());
    // The alias first: a struct's own name stands behind `struct` only.
    aliases.chain([name.to_owned()]).find(|name| words.contains(name))
}

fn ours(name: &str) -> String {
    format!("{OURS}{name}")
}

/// Whether this is a number of C, and not a name for one.
fn is_plain(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if number_type(&path.path).is_some())
}

fn number_type(path: &syn::Path) -> Option<&'static str> {
    let name = path.segments.last()?.ident.to_string();
    Some(match name.as_str() {
        "c_char" => "char",
        "c_uchar" | "u8" => "unsigned char",
        "c_short" | "i16" => "short",
        "c_ushort" | "u16" => "unsigned short",
        "c_int" | "i32" => "int",
        "c_uint" | "u32" => "unsigned int",
        "c_long" => "long",
        "c_ulong" => "unsigned long",
        "c_longlong" | "i64" => "long long",
        "c_ulonglong" | "u64" => "unsigned long long",
        "c_double" | "f64" => "double",
        "c_void" => "void",
        _ => return None,
    })
}

/// A declaration of `inner` as C writes it; other types than numbers are called as `name` says.
fn declaration(ty: &Type, inner: &str, name: &impl Fn(&str) -> String) -> String {
    match ty {
        Type::Path(path) => {
            let base = number_type(&path.path).map_or_else(
                || name(&path.path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default()),
                str::to_owned,
            );
            format!("{base} {inner}")
        }
        Type::Ptr(pointer) => {
            let constant = if pointer.const_token.is_some() { "const " } else { "" };
            declaration(&pointer.elem, &format!("{constant}*{inner}"), name)
        }
        Type::Array(array) => {
            let Expr::Lit(length) = &array.len else { panic!("an array's length is a number") };
            let Lit::Int(length) = &length.lit else { panic!("an array's length is a number") };
            declaration(&array.elem, &format!("{inner}[{}]", length.base10_digits()), name)
        }
        _ => panic!("a type that C has no word for"),
    }
}
