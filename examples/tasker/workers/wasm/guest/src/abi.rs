//! How host and guest pass texts: the host writes into memory that the guest allocated, and reads what the guest points to. Each
//! instance does one step, so nothing is ever given back.

/// Memory for a text of `length` bytes that the host will write.
#[no_mangle]
extern "C" fn allocate(length: usize) -> *mut u8 {
    vec![0; length].leak().as_mut_ptr()
}

/// Does the step whose JSON the host wrote to `start`; see `place` for what it returns.
///
/// # Safety
/// `start` and `length` are those of an `allocate`.
#[no_mangle]
unsafe extern "C" fn handle(start: *const u8, length: usize) -> u64 {
    // SAFETY: the host's promise. A host that breaks it reads and writes the memory of this instance only.
    let input = unsafe { std::slice::from_raw_parts(start, length) };
    place(crate::handle(input))
}

/// The names of the handlers; see `place` for what it returns.
#[no_mangle]
extern "C" fn handlers() -> u64 {
    place(crate::names())
}

/// Where a text lies and how long it is, in the upper and the lower half of one number.
fn place(text: Vec<u8>) -> u64 {
    let text = text.leak();
    ((text.as_ptr() as usize as u64) << 32) | text.len() as u64
}
