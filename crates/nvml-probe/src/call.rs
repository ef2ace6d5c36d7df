//! One call of a getter: its words and memory laid out as the table says, and its answer as JSON. It knows no node and
//! chooses no arguments.

use std::mem::offset_of;

use nvml_wrapper_sys::bindings::nvmlFieldValue_t;
use serde_json::{Map, Value, json};

use crate::code::Code;
use crate::ffi::{Behind, Block, Function, WORDS};
use crate::layout::{Kind, number, text};
use crate::table::{Argument, Getter, Identity};

/// How many words a mask has: CPUs of the largest machines.
const MASK_WORDS: usize = 16;
/// One more than the highest field number asked for; NVML 13.3 has fewer.
pub const FIELDS_END: u32 = 300;
const FIELD_BYTES: usize = size_of::<nvmlFieldValue_t>();

/// What a call is about.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The handle of GPU, MIG device or instance.
    pub handle: u64,
    /// The handle of another GPU.
    pub other: u64,
    /// By what the GPU is known.
    pub known: Known,
}

/// The texts by which a GPU is known, as far as it told them.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// UUID.
    pub uuid: Option<String>,
    /// Serial number of the board.
    pub serial: Option<String>,
    /// PCI address.
    pub pci: Option<String>,
}

impl Known {
    fn text(&self, identity: Identity) -> Option<&str> {
        match identity {
            Identity::Uuid => self.uuid.as_deref(),
            Identity::Serial => self.serial.as_deref(),
            Identity::Pci => self.pci.as_deref(),
        }
    }
}

/// A call that is ready to be made.
#[derive(Debug)]
pub struct Call {
    function: Function,
    /// What the parameters are.
    pub words: [u64; WORDS],
    /// The memory that they point to.
    pub slots: Vec<Slot>,
}

/// Memory of a call.
#[derive(Debug)]
pub struct Slot {
    /// Which of the call's words points to it.
    pub word: usize,
    /// Its name in the prototype; none for what only goes in.
    name: Option<&'static str>,
    /// What lies there.
    pub form: Form,
    /// The memory.
    pub block: Block,
}

/// What lies in a slot.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// Text for the library.
    Input,
    /// How many values the next slot has room for, and has afterwards.
    Count,
    /// One value.
    One(&'static Kind),
    /// A struct with a version word, at the place that its layout leaves free.
    Struct(&'static crate::layout::Layout),
    /// Text.
    Text,
    /// Words of a mask.
    Mask,
    /// Values, and where among the slots their count lies.
    Many(&'static Kind, usize),
    /// So many values, of which each may be meant.
    All(&'static Kind),
    /// Field values.
    Fields,
}

/// The word with which a struct of a version begins.
pub fn version_word(size: usize, version: u32) -> u32 {
    (size as u32) | version << 24
}

/// Lays slots out one after another.
struct Layer {
    words: [u64; WORDS],
    next: usize,
    slots: Vec<Slot>,
    behind: Behind,
}

impl Layer {
    fn word(&mut self, word: u64) {
        if let Some(place) = self.words.get_mut(self.next) {
            *place = word;
        }
        self.next += 1;
    }

    fn slot(&mut self, name: Option<&'static str>, form: Form, size: usize, content: &[u8]) -> Option<()> {
        let mut block = Block::new(size, self.behind)?;
        for (place, byte) in block.bytes_mut().iter_mut().zip(content) {
            *place = *byte;
        }
        let address = block.address();
        self.slots.push(Slot { word: self.next, name, form, block });
        self.word(address);
        Some(())
    }

    fn many(&mut self, name: &'static str, kind: &'static Kind, most: u32, count: usize) -> Option<()> {
        self.slot(Some(name), Form::Many(kind, count), kind.size() * most as usize, &[])
    }

    fn argument(
        &mut self,
        argument: &Argument,
        about: &About,
        choices: &mut impl Iterator<Item = u32>,
        version: usize,
    ) -> Option<()> {
        match argument {
            Argument::Gpu | Argument::GpuInstance | Argument::ComputeInstance => self.word(about.handle),
            Argument::OtherGpu => self.word(about.other),
            Argument::Choice(..) | Argument::Pid => self.word(choices.next()?.into()),
            Argument::Given(number) => self.word(*number),
            Argument::Known(identity) => {
                let text = about.known.text(*identity)?;
                self.slot(None, Form::Input, text.len() + 1, text.as_bytes())?;
            }
            Argument::Out(name, kind) => self.slot(Some(name), Form::One(kind), kind.size(), &[])?,
            Argument::Versioned(name, versions) => {
                let (layout, version) = versions.get(version).or(versions.last())?;
                let word = version_word(layout.size, *version);
                self.slot(Some(name), Form::Struct(layout), layout.size, &word.to_ne_bytes())?;
            }
            Argument::Text(name, bytes) => {
                self.slot(Some(name), Form::Text, *bytes as usize, &[])?;
                self.word((*bytes).into());
            }
            Argument::UnsizedText(name, bytes) => self.slot(Some(name), Form::Text, *bytes, &[])?,
            Argument::Mask(name) => {
                self.word(MASK_WORDS as u64);
                self.slot(Some(name), Form::Mask, MASK_WORDS * 8, &[])?;
            }
            Argument::List(name, kind, most) => {
                let count = self.slots.len();
                self.slot(None, Form::Count, 4, &most.to_ne_bytes())?;
                self.many(name, kind, *most, count)?;
            }
            Argument::ListBefore(name, kind, most) => {
                let count = self.slots.len() + 1;
                self.many(name, kind, *most, count)?;
                self.slot(None, Form::Count, 4, &most.to_ne_bytes())?;
            }
            Argument::Sized(name, kind, most) => {
                let size = kind.size() * *most as usize;
                self.slot(Some(name), Form::All(kind), size, &[])?;
                self.word(size as u64);
            }
            Argument::Fields => {
                self.word((FIELDS_END - 1).into());
                let mut fields = Vec::new();
                for field in 1..FIELDS_END {
                    let mut value = [0; FIELD_BYTES];
                    let id = value.iter_mut().skip(offset_of!(nvmlFieldValue_t, fieldId));
                    id.zip(field.to_ne_bytes()).for_each(|(place, byte)| *place = byte);
                    fields.extend(value);
                }
                self.slot(Some("values"), Form::Fields, fields.len(), &fields)?;
            }
        }
        Some(())
    }
}

impl Call {
    /// Lays a call out. `choices` are its numbers of the caller's choice in order, and `version` counts from the newest that
    /// its structs have. Nothing where the GPU told no text by which it is known, or memory is at its end.
    pub fn prepare(
        function: Function,
        getter: &Getter,
        about: &About,
        choices: &[u32],
        version: usize,
        behind: Behind,
    ) -> Option<Call> {
        let mut layer = Layer { words: [0; WORDS], next: 0, slots: Vec::new(), behind };
        let mut choices = choices.iter().copied();
        for argument in getter.arguments {
            layer.argument(argument, about, &mut choices, version)?;
        }
        Some(Call { function, words: layer.words, slots: layer.slots })
    }

    /// Makes the call.
    pub fn make(&mut self) -> Code {
        Code(self.function.call(&self.words))
    }

    /// Whether the library kept within the memory that it was given.
    pub fn is_intact(&mut self) -> bool {
        self.slots.iter_mut().all(|slot| slot.block.is_intact())
    }

    /// The handle that a successful call gave.
    pub fn handle(&self) -> Option<u64> {
        let is_handle = |slot: &&Slot| matches!(slot.form, Form::One(Kind::Handle));
        self.slots.iter().find(is_handle).map(|slot| number(slot.block.bytes(), 8))
    }

    /// What a successful call answered: the value itself where there is one, else all by name.
    pub fn answer(&self, name_of: &dyn Fn(u64) -> Value) -> Value {
        let mut answers: Vec<(&str, Value)> = Vec::new();
        for slot in &self.slots {
            let Some(name) = slot.name else { continue };
            answers.push((name, self.read(slot, name_of)));
        }
        match answers.pop() {
            Some((_, value)) if answers.is_empty() => value,
            last => {
                let named = answers.into_iter().chain(last);
                Value::Object(named.map(|(name, value)| (name.to_owned(), value)).collect())
            }
        }
    }

    fn read(&self, slot: &Slot, name_of: &dyn Fn(u64) -> Value) -> Value {
        let bytes = slot.block.bytes();
        let many = |kind: &Kind, count: usize| {
            bytes.chunks_exact(kind.size()).take(count).map(|part| kind.read(part, name_of)).collect()
        };
        match slot.form {
            Form::Input | Form::Count => Value::Null,
            Form::One(kind) => kind.read(bytes, name_of),
            Form::Struct(layout) => Kind::Struct(layout).read(bytes, name_of),
            Form::Text => text(bytes, bytes.len()).into(),
            Form::Mask => mask(bytes),
            Form::Many(kind, count) => {
                let count = self.slots.get(count).map_or(0, |slot| number(slot.block.bytes(), 4));
                many(kind, count as usize)
            }
            Form::All(kind) => many(kind, bytes.len()),
            Form::Fields => fields(bytes),
        }
    }
}

/// A mask as the numbers of its bits, in the way that Linux writes lists of CPUs.
fn mask(bytes: &[u8]) -> Value {
    let is_set = |bit: &usize| bytes.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1);
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for bit in (0..bytes.len() * 8).filter(is_set) {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == bit => *last = bit,
            _ => ranges.push((bit, bit)),
        }
    }
    let write = |(first, last): &(usize, usize)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    ranges.iter().map(write).collect::<Vec<_>>().join(",").into()
}

/// Field values by number; those that the GPU does not have are left out.
fn fields(bytes: &[u8]) -> Value {
    let mut values = Map::new();
    for field in bytes.chunks_exact(FIELD_BYTES) {
        let at = |offset: usize, count: usize| number(field.get(offset..).unwrap_or_default(), count);
        let code = Code(at(offset_of!(nvmlFieldValue_t, nvmlReturn), 4) as u32);
        let raw = at(offset_of!(nvmlFieldValue_t, value), 8);
        let value = match (code, at(offset_of!(nvmlFieldValue_t, valueType), 4)) {
            (Code::NOT_SUPPORTED | Code::INVALID_ARGUMENT, _) => continue,
            (Code::SUCCESS, 0) => json!(f64::from_bits(raw)),
            (Code::SUCCESS, 1) => json!(raw as u32),
            (Code::SUCCESS, 4) => json!(raw as i64),
            (Code::SUCCESS, 5) => json!(raw as u32 as i32),
            (Code::SUCCESS, 6) => json!(raw as u16),
            (Code::SUCCESS, _) => json!(raw),
            (code, _) => failure(code),
        };
        values.insert(format!("{:03}", at(offset_of!(nvmlFieldValue_t, fieldId), 4)), value);
    }
    Value::Object(values)
}

/// The answer of a call that failed.
pub fn failure(code: Code) -> Value {
    json!({ "code": code.to_string() })
}

/// The code of an answer that is a failure.
pub fn code_of(answer: &Value) -> Option<&str> {
    let fields = answer.as_object().filter(|fields| fields.len() == 1)?;
    fields.get("code").and_then(Value::as_str)
}
