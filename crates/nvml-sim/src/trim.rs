//! The library as an older driver has it: the same file, in whose table of symbols the functions that came later are not
//! defined, so that a program does not find them. It knows ELF's tables and which driver branch brought which function.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use thiserror::Error;

use crate::functions;

/// Function -> the oldest branch that has it, as far as it is older than the newest.
const SINCE: &str = include_str!("../symbols-since.txt");

/// A driver branch whose functions are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Branch(u32);

/// The branches.
const BRANCHES: [u32; 4] = [450, 470, 510, 550];

/// Text that is no such branch.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the functions of driver branch `{0}` are not known; write 450, 470, 510 or 550")]
pub struct ParseBranchError(String);

impl FromStr for Branch {
    type Err = ParseBranchError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.parse().ok().filter(|number| BRANCHES.contains(number));
        number.map(Branch).ok_or_else(|| ParseBranchError(text.to_owned()))
    }
}

impl TryFrom<String> for Branch {
    type Error = ParseBranchError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Branch {
    /// The functions that its library lacks.
    pub fn lacks(self) -> BTreeSet<&'static str> {
        let has = |line: &'static str| {
            let (name, since) = line.split_once(' ')?;
            (since.parse().is_ok_and(|since: u32| since <= self.0)).then_some(name)
        };
        let there: BTreeSet<&str> =
            SINCE.lines().filter(|line| !line.starts_with('#')).filter_map(has).collect();
        functions::names().filter(|name| !there.contains(name)).collect()
    }
}

/// A file that is no library with a table of symbols.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("it is no 64-bit ELF library with a table of dynamic symbols")]
pub struct TrimError;

/// Section type of the table of dynamic symbols, and the size of one.
const SHT_DYNSYM: u32 = 11;
const SYMBOL: usize = 24;
/// Binding "weak", type "none": an undefined symbol that nothing has to define.
const WEAK_NOTYPE: u8 = 2 << 4;

/// Takes functions out of a library: the loader passes over a symbol that is not defined there, and gives none.
pub fn without(library: &[u8], functions: &BTreeSet<&str>) -> Result<Vec<u8>, TrimError> {
    let mut trimmed = library.to_vec();
    if library.get(..5) != Some(b"\x7fELF\x02") {
        return Err(TrimError);
    }
    let (table, names) = tables(library).ok_or(TrimError)?;
    let symbols = trimmed.get_mut(table).ok_or(TrimError)?;
    for symbol in symbols.chunks_exact_mut(SYMBOL) {
        let name = number(symbol, 0, 4).and_then(|at| text(library, names.checked_add(at)?));
        if name.is_some_and(|name| functions.contains(name)) {
            // Info, section, value and size; the name stays, for whoever looks at the table.
            symbol.iter_mut().skip(4).for_each(|byte| *byte = 0);
            if let Some(info) = symbol.get_mut(4) {
                *info = WEAK_NOTYPE;
            }
        }
    }
    Ok(trimmed)
}

/// Where the dynamic symbols are, and where their names begin.
fn tables(library: &[u8]) -> Option<(std::ops::Range<usize>, usize)> {
    let (offset, size, count) =
        (number(library, 0x28, 8)?, number(library, 0x3A, 2)?, number(library, 0x3C, 2)?);
    let section = |index: usize| {
        let at = offset.checked_add(index.checked_mul(size)?)?;
        library.get(at..at.checked_add(0x40)?)
    };
    let is_symbols = |section: &&[u8]| number(section, 4, 4) == Some(SHT_DYNSYM as usize);
    let symbols = (0..count).filter_map(section).find(is_symbols)?;
    let begin = number(symbols, 0x18, 8)?;
    let names = section(number(symbols, 0x28, 4)?)?;
    Some((begin..begin.checked_add(number(symbols, 0x20, 8)?)?, number(names, 0x18, 8)?))
}

/// A number of so many bytes, lowest first.
fn number(bytes: &[u8], at: usize, size: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(size)?)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

fn text(bytes: &[u8], at: usize) -> Option<&str> {
    let rest = bytes.get(at..)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    std::str::from_utf8(rest.get(..end)?).ok()
}
