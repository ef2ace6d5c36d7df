//! What our side says of NVML's C interface, read from Rust sources: the bindings that every exported function is
//! checked against at compile time, and the exports themselves. It compares nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use serde_json::Value;
use syn::{Expr, Fields, GenericArgument, Item, Lit, PathArguments, ReturnType, Type, UnOp, UseTree};

use super::sources;
use integration_tests::fetch::{finish, workspace};

/// Types, constants and functions.
#[derive(Default)]
pub struct Interface {
    /// Other names of types, in the order of the source.
    pub aliases: Vec<(String, Type)>,
    /// Structs and unions by name.
    pub records: BTreeMap<String, Record>,
    /// Whole numbers by name.
    pub constants: BTreeMap<String, i128>,
    /// Functions.
    pub functions: Vec<Function>,
}

/// A struct or union.
pub struct Record {
    /// Whether its fields share their memory.
    pub is_union: bool,
    /// Its fields; none of an opaque one.
    pub fields: Vec<(String, Type)>,
}

/// A function.
pub struct Function {
    /// Its name.
    pub name: String,
    /// What it takes.
    pub arguments: Vec<Type>,
    /// What it returns, if that is not `nvmlReturn_t`.
    pub result: Option<Type>,
}

impl Interface {
    /// Reads Rust code, and exports as in the simulated library's macro.
    pub fn parse(code: &str, exports: &str) -> Interface {
        let mut interface = Interface::default();
        interface.items(&syn::parse_file(code).expect("Rust code").items);
        interface.functions.extend(exported(exports));
        interface
    }

    fn items(&mut self, items: &[Item]) {
        for item in items {
            match item {
                Item::Struct(item) if item.ident == "NvmlLib" => self.functions.extend(loaded(&item.fields)),
                Item::Struct(item) if is_c(&item.attrs) => {
                    self.record(item.ident.to_string(), false, fields(&item.fields));
                }
                Item::Union(item) if is_c(&item.attrs) => {
                    self.record(item.ident.to_string(), true, named(&item.fields));
                }
                Item::Type(item) => {
                    self.aliases.push((item.ident.to_string(), (*item.ty).clone()));
                }
                // `pub use self::name_enum as name_t;`
                Item::Use(item) => self.aliases.extend(renamed(&item.tree)),
                Item::Const(item) => {
                    if let Some(number) = number(&item.expr) {
                        self.constants.insert(item.ident.to_string(), number);
                    }
                }
                Item::Mod(item) => {
                    if let Some((_, items)) = &item.content {
                        self.items(items);
                    }
                }
                _ => {}
            }
        }
    }

    fn record(&mut self, name: String, is_union: bool, fields: Vec<(String, Type)>) {
        self.records.insert(name, Record { is_union, fields });
    }
}

/// The bindings: `nvml-wrapper-sys` as the workspace uses it.
pub fn bindings() -> Interface {
    let told = finish(
        Command::new(env!("CARGO"))
            .args(["metadata", "--format-version=1", "--locked", "--offline"])
            .current_dir(workspace()),
    );
    let metadata: Value = serde_json::from_slice(&told.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == "nvml-wrapper-sys").unwrap();
    let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap());
    let file = manifest.with_file_name("src").join("bindings.rs");
    Interface::parse(&fs::read_to_string(&file).unwrap(), "")
}

/// The simulated library's own sources: its exports, and types and constants with the names of NVML.
pub fn own() -> Interface {
    let mut own = Interface::default();
    for file in files(&sources()) {
        let text = fs::read_to_string(&file).unwrap();
        let is_export = file.starts_with(sources().join("exports"));
        let part = Interface::parse(&text, if is_export { &text } else { "" });
        own.aliases.extend(part.aliases.into_iter().filter(|(name, _)| name.starts_with("nvml")));
        own.records.extend(part.records.into_iter().filter(|(name, _)| name.starts_with("nvml")));
        own.constants.extend(part.constants.into_iter().filter(|(name, _)| name.starts_with("NVML")));
        own.functions.extend(part.functions);
    }
    own
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn renamed(tree: &UseTree) -> Option<(String, Type)> {
    match tree {
        UseTree::Path(path) if path.ident == "self" => renamed(&path.tree),
        UseTree::Rename(rename) => {
            let old = rename.ident.to_string();
            Some((rename.rename.to_string(), syn::parse_str(&old).expect("a type")))
        }
        _ => None,
    }
}

fn is_c(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("repr") && attribute.parse_args::<syn::Ident>().is_ok_and(|is| is == "C")
    })
}

fn fields(fields: &Fields) -> Vec<(String, Type)> {
    if let Fields::Named(fields) = fields { named(fields) } else { Vec::new() }
}

/// Fields under their names in C; the mark of an opaque struct is none.
fn named(fields: &syn::FieldsNamed) -> Vec<(String, Type)> {
    let named = fields.named.iter().filter_map(|field| Some((field.ident.as_ref()?.to_string(), &field.ty)));
    let real = named.filter(|(name, _)| !name.starts_with('_') || name.starts_with("__bindgen_anon"));
    real.map(|(name, ty)| (name.trim_end_matches('_').to_owned(), ty.clone())).collect()
}

fn number(expression: &Expr) -> Option<i128> {
    match expression {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Int(number) => number.base10_parse().ok(),
            _ => None,
        },
        Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => Some(-number(&unary.expr)?),
        _ => None,
    }
}

/// The functions of a loaded library: `name: Result<unsafe extern "C" fn(…) -> …, …>`.
fn loaded(fields: &Fields) -> Vec<Function> {
    let functions = fields.iter().filter_map(|field| {
        let Type::Path(path) = &field.ty else { return None };
        let PathArguments::AngleBracketed(of) = &path.path.segments.last()?.arguments else { return None };
        let Some(GenericArgument::Type(Type::BareFn(function))) = of.args.first() else { return None };
        let arguments = function.inputs.iter().map(|input| input.ty.clone()).collect();
        let result = match &function.output {
            ReturnType::Type(_, ty) => Some((**ty).clone()),
            ReturnType::Default => None,
        };
        Some(Function { name: field.ident.as_ref()?.to_string(), arguments, result })
    });
    functions.collect()
}

/// The functions in the simulated library's own words: `fn nvmlName(argument: Type, …) =>`.
fn exported(text: &str) -> Vec<Function> {
    let functions = text.split("fn nvml").skip(1).filter_map(|rest| {
        let (name, rest) = rest.split_once('(')?;
        let (arguments, rest) = rest.split_once(')')?;
        rest.trim_start().strip_prefix("=>")?;
        let arguments = arguments.split(',').filter_map(|argument| argument.split_once(':'));
        let arguments = arguments.map(|(_, ty)| syn::parse_str(ty).expect("a type")).collect();
        Some(Function { name: format!("nvml{name}"), arguments, result: None })
    });
    functions.collect()
}
