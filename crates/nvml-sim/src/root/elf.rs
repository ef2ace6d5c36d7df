//! The smallest ELF files that a dynamic loader loads and a kernel runs, for x86-64: no compiler is needed where
//! a root is laid. It knows the ELF format, not whom the files stand for.

const HEADER: u64 = 64;
const PROGRAM_HEADER: u64 = 56;
const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_GNU_STACK: u32 = 0x6474_E551;
const EXECUTE: u32 = 1;
const WRITE: u32 = 2;
const READ: u32 = 4;
const EXEC_BASE: u64 = 0x40_0000;
const PAGE: u64 = 0x1000;

/// A shared object with a SONAME, no symbols and no needs.
pub fn shared_object(soname: &str) -> Vec<u8> {
    const DYNAMIC_ENTRIES: u64 = 7;
    let dynamic = HEADER + 3 * PROGRAM_HEADER;
    let hash = dynamic + DYNAMIC_ENTRIES * 16;
    let symbols = hash + 16;
    let strings = symbols + 24;
    let names = [b"\0", soname.as_bytes(), b"\0"].concat();
    let size = strings + names.len() as u64;

    let mut file = header(ET_DYN, 0, 3);
    // Writable, since a loader may store addresses in the dynamic section.
    program_header(&mut file, PT_LOAD, READ | WRITE, 0, 0, size, PAGE);
    program_header(&mut file, PT_DYNAMIC, READ | WRITE, dynamic, dynamic, DYNAMIC_ENTRIES * 16, 8);
    // Without this a loader would have to make the stack executable.
    program_header(&mut file, PT_GNU_STACK, READ | WRITE, 0, 0, 0, 16);
    let entries = [
        (14, 1),                  // DT_SONAME: offset in the strings
        (4, hash),                // DT_HASH
        (5, strings),             // DT_STRTAB
        (6, symbols),             // DT_SYMTAB
        (10, names.len() as u64), // DT_STRSZ
        (11, 24),                 // DT_SYMENT
        (0, 0),                   // DT_NULL
    ];
    for (tag, value) in entries {
        put64(&mut file, tag);
        put64(&mut file, value);
    }
    // A hash table of one bucket for the one symbol that every table begins with, the undefined one.
    for word in [1_u32, 1, 0, 0] {
        put32(&mut file, word);
    }
    file.extend([0; 24]);
    file.extend(names);
    file
}

/// A program that writes a text to standard output and ends with 0. It needs no loader and no library.
pub fn program(text: &str) -> Vec<u8> {
    let code_at = HEADER + 2 * PROGRAM_HEADER;
    let mut code = Vec::new();
    code.extend([0xB8, 1, 0, 0, 0]); // mov eax, 1 (write)
    code.extend([0xBF, 1, 0, 0, 0]); // mov edi, 1 (standard output)
    code.extend([0x48, 0x8D, 0x35, 16, 0, 0, 0]); // lea rsi, [rip + 16] (the text behind the code)
    code.push(0xBA); // mov edx, length
    code.extend((text.len() as u32).to_le_bytes());
    code.extend([0x0F, 0x05]); // syscall
    code.extend([0xB8, 60, 0, 0, 0]); // mov eax, 60 (exit)
    code.extend([0x31, 0xFF]); // xor edi, edi
    code.extend([0x0F, 0x05]); // syscall
    let size = code_at + (code.len() + text.len()) as u64;

    let mut file = header(ET_EXEC, EXEC_BASE + code_at, 2);
    program_header(&mut file, PT_LOAD, READ | EXECUTE, 0, EXEC_BASE, size, PAGE);
    program_header(&mut file, PT_GNU_STACK, READ | WRITE, 0, 0, 0, 16);
    file.extend(code);
    file.extend(text.bytes());
    file
}

fn header(kind: u16, entry: u64, program_headers: u16) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(b"\x7fELF\x02\x01\x01"); // 64 bit, little endian, version 1
    file.extend([0; 9]);
    put16(&mut file, kind);
    put16(&mut file, 62); // x86-64
    put32(&mut file, 1);
    put64(&mut file, entry);
    put64(&mut file, HEADER); // program headers follow
    put64(&mut file, 0); // no section headers
    put32(&mut file, 0);
    put16(&mut file, HEADER as u16);
    put16(&mut file, PROGRAM_HEADER as u16);
    put16(&mut file, program_headers);
    put16(&mut file, 64);
    put16(&mut file, 0);
    put16(&mut file, 0);
    file
}

fn program_header(
    file: &mut Vec<u8>,
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    size: u64,
    align: u64,
) {
    put32(file, kind);
    put32(file, flags);
    for word in [offset, address, address, size, size, align] {
        put64(file, word);
    }
}

fn put16(file: &mut Vec<u8>, word: u16) {
    file.extend(word.to_le_bytes());
}

fn put32(file: &mut Vec<u8>, word: u32) {
    file.extend(word.to_le_bytes());
}

fn put64(file: &mut Vec<u8>, word: u64) {
    file.extend(word.to_le_bytes());
}
